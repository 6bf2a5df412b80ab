/* problem.h: what is wrong with a file, collected so that one run tells
 * all of it, each with its place. */
#ifndef BACKFILL_CONFIG_PROBLEM_H
#define BACKFILL_CONFIG_PROBLEM_H

#include <stddef.h>

#include "base/err.h"
#include "base/text.h"

/* A place in a file, counted from 1; columns are characters. */
struct place {
	size_t line;
	size_t column;
};

struct problems {
	struct problem *items;
	size_t count;
};

void problems_init(struct problems *p);
void problems_close(struct problems *p);

/* A new error for the caller to fill in, valid until the next is added. */
struct err *problems_add(struct problems *p, struct place at);

/* Forget what was collected. */
void problems_reset(struct problems *p);

/* Write them in the order of their places:
 *
 *	FILE:LINE:COLUMN: message
 *	    detail: …
 *	    hint: …
 */
void problems_print(struct problems *p, const char *path, struct text *out);

#endif
