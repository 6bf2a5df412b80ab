/* keyset_internal.h: pieces of statements that keyset*.c share. */
#ifndef BACKFILL_RULES_KEYSET_INTERNAL_H
#define BACKFILL_RULES_KEYSET_INTERNAL_H

#include "rules/keyset.h"

/* The column of the target, in the index's collation. */
void keyset_add_column(struct text *sql, const struct keyset *k, int i);

/* tableoid, and lo < key <= hi; a key that is none bounds nothing. */
void keyset_add_guard(struct text *sql, const struct keyset *k,
	const struct key *lo, const struct key *hi);

/* tableoid, and the one key. */
void keyset_add_guard_one(
	struct text *sql, const struct keyset *k, const struct key *key);

/* id AS __backfill_k1, … */
void keyset_add_select_keys(struct text *sql, const struct keyset *k);

/* The texts of the keys of one of our CTEs: output functions, as the
 * literals will be read by input functions. */
void keyset_add_key_texts(struct text *sql, const struct keyset *k);

/* ORDER BY the index's order, ascending. */
void keyset_add_order(struct text *sql, const struct keyset *k);

#endif
