/* wait.h: deadlines on the monotonic clock, for waiting until something is
 * so instead of sleeping for as long as it usually takes:
 *
 *	uint64_t deadline = wait_deadline(10);
 *
 *	while (!is_so()) {
 *		if (!wait_again(deadline)) {
 *			fail_msg("it is not so");
 *		}
 *	}
 */
#ifndef BACKFILL_TESTS_WAIT_H
#define BACKFILL_TESTS_WAIT_H

#include <stdint.h>

uint64_t wait_now_ms(void);

/* The time in so many seconds; ten times as many where the daemon runs under
 * $BACKFILL_WRAPPER (valgrind). */
uint64_t wait_deadline(int seconds);

/* Milliseconds left, 0 when the deadline passed; fits poll(2). */
int wait_left_ms(uint64_t deadline_ms);

/* Pause for 10 ms and return 1, or return 0 when the deadline passed. */
int wait_again(uint64_t deadline_ms);

#endif
