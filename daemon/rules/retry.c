#include "rules/retry.h"

void retry_init(
	struct retry *r, uint64_t base_ms, uint64_t cap_ms, uint64_t budget_ms)
{
	r->base_ms = base_ms;
	r->cap_ms = cap_ms;
	r->budget_ms = budget_ms;
	retry_reset(r);
}

void retry_reset(struct retry *r)
{
	r->first_failure_ms = 0;
	r->failures = 0;
}

uint64_t retry_pause_ms(struct retry *r, uint64_t now_ms, uint32_t random)
{
	uint64_t whole = r->base_ms;

	if (r->failures == 0) {
		r->first_failure_ms = now_ms;
	}
	for (unsigned i = 0; i < r->failures && whole < r->cap_ms; i++) {
		whole *= 2;
	}
	if (whole > r->cap_ms) {
		whole = r->cap_ms;
	}
	r->failures++;
	return whole - (uint64_t)(((double)whole / 2) * random / UINT32_MAX);
}

int retry_is_spent(const struct retry *r, uint64_t now_ms)
{
	return r->failures > 0 && now_ms - r->first_failure_ms > r->budget_ms;
}

void retry_skip_ms(struct retry *r, uint64_t ms)
{
	if (r->failures > 0) {
		r->first_failure_ms += ms;
	}
}
