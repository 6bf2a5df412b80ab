/* ctl_table.h: the one printer of tables. Cells are made harmless to a
 * terminal when they are added. */
#ifndef BACKFILL_CTL_CTL_TABLE_H
#define BACKFILL_CTL_CTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

struct ctl_table {
	size_t columns;
	const char *const *headers; /* borrowed; NULL: print none */
	const char *align;	    /* borrowed; "l" or "r" per column */
	char **cells;		    /* rows of columns */
	size_t count;		    /* cells */
	size_t *widths;		    /* of the columns, printed so far */
};

void ctl_table_init(
	struct ctl_table *t, const char *const *headers, const char *align);
void ctl_table_close(struct ctl_table *t);

/* The next cell, row by row; copies. NULL shows as "-". */
void ctl_table_add(struct ctl_table *t, const char *cell);

/* Forget the rows and print no headers any more: rows that are added later go
 * on below those that were printed. */
void ctl_table_go_on(struct ctl_table *t);

/* A line per row, two spaces between columns, no spaces at the end. Lines
 * are cut at width columns of the terminal; 0: never. Whole rows only. */
void ctl_table_print(struct ctl_table *t, FILE *file, size_t width);

/* The terminal's width; 0 when file is none. */
size_t ctl_table_width(FILE *file);

/* Columns that s takes on a terminal. */
size_t ctl_table_columns(const char *s);

/* The same of its first character, and the bytes that this has. s is inert
 * UTF-8 and not empty; a control character takes none. */
size_t ctl_table_measure(const char *s, size_t *bytes);

#endif
