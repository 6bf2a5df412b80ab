/* statement.h: SQL text, cut into its statements at each ";" that ends one:
 * not those in quotes, comments, parentheses, or the body of a function that
 * BEGIN ATOMIC opens. Pure. */
#ifndef BACKFILL_RULES_STATEMENT_H
#define BACKFILL_RULES_STATEMENT_H

#include "base/text.h"

/* Add the statements as a literal of type text[], the blank ones left out; of
 * NULL "{}". Returns how many there are. */
int statement_split(struct text *array, const char *sql);

#endif
