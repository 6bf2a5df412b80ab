/* ctl_block.h: lines of a screen, none wider than the block. Pure. A line
 * carries marks (control characters, which no inert text has) for what is
 * coloured; only block_print() makes them what a terminal knows. */
#ifndef BACKFILL_CTL_CTL_BLOCK_H
#define BACKFILL_CTL_CTL_BLOCK_H

#include <stddef.h>

#include "base/text.h"

/* An accent lasts from its mark to MARK_END. */
#define MARK_GOOD "\x01"
#define MARK_WAIT "\x02"
#define MARK_REST "\x03"
#define MARK_BAD "\x04"
#define MARK_BOLD "\x05"
#define MARK_END "\x0e"

/* At the beginning of a line: it is not dimmed with the others. */
#define MARK_LIVE "\x06"

enum block_look { BLOCK_PLAIN, BLOCK_COLOUR, BLOCK_DIM };

struct block {
	size_t width; /* columns; at least 20 */
	char **lines;
	size_t count;
	struct text row; /* being written */
	size_t column;	 /* where it is */
	size_t indent;	 /* of its next lines */
	int is_open;
};

void block_init(struct block *b, size_t width);
void block_close(struct block *b);

/* Begin a row: what follows belongs to it, and where it is too long goes on
 * under its first field. indent is the columns that the label takes. */
void block_row(struct block *b, const char *label);

/* Add a field, gap columns after the last one, or on a line of its own when
 * the rest of this one is too narrow; broken at words when a line is. Empties
 * field. */
void block_field(struct block *b, size_t gap, struct text *field);

/* End the row. Called before the lines are read. */
void block_end(struct block *b);

/* A line as it stands, cut at the width; copies. */
void block_line(struct block *b, const char *line);

/* Columns of a line, marks aside. */
size_t block_columns(const char *line);

/* Spaces to the line until it has so many columns. */
void block_pad(struct text *line, size_t columns);

/* Add s, cut at so many columns: its end is then "..". Marks stay paired. */
void block_add_cut(struct text *line, const char *s, size_t columns);

/* Add the lines as a terminal takes them, each ended by end. */
void block_print(struct text *out, const struct block *b, enum block_look look,
	const char *end);

#endif
