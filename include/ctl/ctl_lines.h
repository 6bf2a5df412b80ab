/* ctl_lines.h: what is watched where nothing can be drawn: lines, which of
 * them and when. Pure. */
#ifndef BACKFILL_CTL_CTL_LINES_H
#define BACKFILL_CTL_CTL_LINES_H

#include <stdint.h>

#include "ctl/ctl_screen.h"

struct lines {
	uint64_t began_ms, due_ms;
	int has_every; /* all looks, not less and less */
	int has_first;
	struct text said; /* state and wait of each job, as said last */
	int has_trouble;
};

void lines_init(struct lines *l, uint64_t now_ms, int has_every);
void lines_close(struct lines *l);

/* Add what is to be said of a look: a line per job when that is due (every
 * second for a minute, every five until three, then every thirty), else of
 * those whose state or wait is another than before. */
void lines_add(struct lines *l, struct text *t, const struct screen *s,
	uint64_t now_ms);

/* Add that there is no answer, once until there is one. at is now, since the
 * epoch. */
void lines_add_trouble(
	struct lines *l, struct text *t, double at, const char *trouble);

/* Whether the job that is asked for has ended, or is gone. */
int lines_is_over(const struct screen *s);

#endif
