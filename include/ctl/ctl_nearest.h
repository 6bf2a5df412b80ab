/* ctl_nearest.h: which name somebody may have meant. Pure. */
#ifndef BACKFILL_CTL_CTL_NEAREST_H
#define BACKFILL_CTL_CTL_NEAREST_H

#include <stddef.h>

struct ctl_nearest {
	const char *wanted; /* borrowed, as the names */
	size_t length;
	const char *name; /* the nearest so far; NULL: none is near */
	size_t distance;
};

/* Of wanted only so many bytes count. */
void ctl_nearest_init(struct ctl_nearest *n, const char *wanted, size_t length);

/* A name that there is. Of two that are as near the first stays. */
void ctl_nearest_try(struct ctl_nearest *n, const char *name);

#endif
