/* retry.h: when to try again. Pure: randomness and time are arguments. */
#ifndef BACKFILL_RULES_RETRY_H
#define BACKFILL_RULES_RETRY_H

#include <stdint.h>

struct retry {
	uint64_t base_ms;
	uint64_t cap_ms;
	uint64_t budget_ms; /* since the first failure of a row of them */
	/* private */
	uint64_t first_failure_ms;
	unsigned failures;
};

void retry_init(
	struct retry *r, uint64_t base_ms, uint64_t cap_ms, uint64_t budget_ms);

/* What we tried worked. */
void retry_reset(struct retry *r);

/* One more failure at now_ms: the pause before the next try, between half
 * and the whole of base_ms * 2^n, at most cap_ms. The jitter keeps daemons
 * that lost the same server from returning in step. random is uniform over
 * its type. */
uint64_t retry_pause_ms(struct retry *r, uint64_t now_ms, uint32_t random);

/* Time in which nothing could be tried does not count. */
void retry_skip_ms(struct retry *r, uint64_t ms);

/* Whether the failures have lasted longer than the budget. */
int retry_is_spent(const struct retry *r, uint64_t now_ms);

#endif
