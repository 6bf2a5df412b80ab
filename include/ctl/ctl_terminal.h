/* ctl_terminal.h: the terminal on standard output, if that is one. */
#ifndef BACKFILL_CTL_CTL_TERMINAL_H
#define BACKFILL_CTL_CTL_TERMINAL_H

#include <stddef.h>

#include "ctl/ctl_block.h"

/* Whether a screen may be drawn there again and again. */
int terminal_can_draw(void);

/* As NO_COLOR, PG_COLOR and TERM say: no-color.org; PostgreSQL docs, psql,
 * "PG_COLOR", which wins since it is about such programs. */
enum block_look terminal_look(void);

/* Its size; 80 columns and no limit of lines when there is none. */
void terminal_size(size_t *width, size_t *height);

/* Go to the other screen, without a cursor, keys as they are typed. What it
 * was comes back with terminal_leave(), which may be called at any time. */
void terminal_enter(void);
void terminal_leave(void);

/* Draw from the top; what was there and is no more is cleared as it goes, so
 * that nothing flickers. */
void terminal_draw(const struct block *b, enum block_look look);

#endif
