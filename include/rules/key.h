/* key.h: a key as texts, one per key column, and its form as a PostgreSQL
 * text[] literal (PostgreSQL docs, 8.15.2 "Array Value Input"), which is
 * how backfill.ranges stores it. Pure. */
#ifndef BACKFILL_RULES_KEY_H
#define BACKFILL_RULES_KEY_H

#include "base/text.h"

enum { KEY_MAX_COLUMNS = 32 }; /* PostgreSQL's INDEX_MAX_KEYS */

struct key {
	int count;		       /* 0: no key */
	char *values[KEY_MAX_COLUMNS]; /* owned */
};

void key_init(struct key *k);
void key_close(struct key *k); /* leaves no key */
void key_add(struct key *k, const char *value);
void key_copy(struct key *to, const struct key *from);
int key_equals(const struct key *a, const struct key *b);

/* Read a one-dimensional literal such as {5,"a \"b\""}; the empty string is
 * no key. Returns 0, or -1 when it is no such literal (k is left empty). */
int key_parse(struct key *k, const char *literal);

/* The literal; the caller free()s it. */
char *key_format(const struct key *k);

/* An element of a text[] literal, quoted. */
void key_add_element(struct text *out, const char *value);

/* For people: 5, a "b" */
void key_describe(const struct key *k, struct text *out);

#endif
