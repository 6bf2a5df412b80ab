/* discreet.h: what the log may tell of texts that quote: no value of a row, no
 * literal of a clause, no key. Whoever may read backfill.jobs finds the whole
 * text there. Pure. */
#ifndef BACKFILL_RULES_DISCREET_H
#define BACKFILL_RULES_DISCREET_H

#include "base/err.h"
#include "base/text.h"

struct run;

/* Whether the server's own message of this SQLSTATE may quote a value of a row
 * or a piece of a clause: "invalid input syntax for type integer: \"x\"". The
 * others name objects, roles and limits. */
int discreet_is_message_quoting(const char *sqlstate);

/* SQL, or a message with SQL in it, without what stands in its literals: '…';
 * and without the rest from a $, a comment, or a backslash in a literal on. */
void discreet_add_sql(struct text *out, const char *sql);

/* "23505: duplicate key …"; or of an error that may quote its SQLSTATE and
 * condition alone, "22P02 (data_exception)". */
void discreet_add_error(struct text *out, const struct err *e);

/* The reason of the run, "..." in place of what may not be told. */
void discreet_add_reason(struct text *out, const struct run *r);

#endif
