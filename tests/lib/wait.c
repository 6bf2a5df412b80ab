#include "wait.h"

#include <stdlib.h>
#include <time.h>

enum { PAUSE_MS = 10, WRAPPER_FACTOR = 10 };

uint64_t wait_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t wait_deadline(int seconds)
{
	const char *wrapper = getenv("BACKFILL_WRAPPER");
	uint64_t length_ms = (uint64_t)seconds * 1000;

	if (wrapper != NULL && *wrapper != '\0') {
		length_ms *= WRAPPER_FACTOR;
	}
	return wait_now_ms() + length_ms;
}

int wait_left_ms(uint64_t deadline_ms)
{
	uint64_t now = wait_now_ms();

	return now < deadline_ms ? (int)(deadline_ms - now) : 0;
}

int wait_again(uint64_t deadline_ms)
{
	struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };

	if (wait_now_ms() >= deadline_ms) {
		return 0;
	}
	(void)nanosleep(&pause, NULL);
	return 1;
}
