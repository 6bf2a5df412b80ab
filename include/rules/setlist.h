/* setlist.h: which columns a SET clause assigns. Pure.
 *
 * The server has parsed the clause before this reads it; the lexer follows
 * PostgreSQL docs, 4.1 "Lexical Structure", as far as is needed to find the
 * names left of each assignment. A column that it missed is still caught
 * by the batch, which compares keys before and after. */
#ifndef BACKFILL_RULES_SETLIST_H
#define BACKFILL_RULES_SETLIST_H

#include <stddef.h>

enum { SETLIST_MAX_COLUMNS = 1600 }; /* PostgreSQL's MaxTupleAttributeNumber */

struct setlist {
	char **columns; /* owned; names as in pg_attribute, UTF-8 */
	size_t count;
};

/* Returns 0, or -1 when the clause is not of the form "column = …, …" or
 * names a column by Unicode escapes (U&"…"). setlist_close() in any case. */
int setlist_parse(struct setlist *s, const char *set_clause);
void setlist_close(struct setlist *s);

#endif
