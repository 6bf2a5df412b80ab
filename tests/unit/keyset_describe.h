/* keyset_describe.h: two keys to write statements over. For the tests of
 * rules/keyset.h only. */
#ifndef BACKFILL_TESTS_KEYSET_DESCRIBE_H
#define BACKFILL_TESTS_KEYSET_DESCRIBE_H

#include "rules/keyset.h"

#include <string.h>

#include "base/mem.h"
#include "cmocka_all.h"

static inline void add_key_column(struct keyset *k, const char *name,
	const char *type, const char *collate)
{
	struct keyset_column *c = &k->columns[k->count++];

	c->name = mem_strdup(name);
	c->type = mem_strdup(type);
	c->collate = mem_strdup(collate);
	c->less = mem_strdup("<");
	c->less_equal = mem_strdup("<=");
	c->equal = mem_strdup("=");
	c->greater_equal = mem_strdup(">=");
	c->greater = mem_strdup(">");
	c->nulls = mem_strdup("NULLS LAST");
}

static inline void describe(
	struct keyset *k, const char *set, const char *where)
{
	memset(k, 0, sizeof *k);
	k->table = mem_strdup("public.t");
	k->relation = mem_strdup("t");
	k->table_oid = 4000000000;
	k->set_clause = mem_strdup(set);
	k->where_clause = mem_strdup(where);
	keyset_choose_prefix(k);
}

/* One column. */
static inline void describe_plain(struct keyset *k, const char *where)
{
	describe(k, "a = 1 -- one", where);
	add_key_column(k, "id", "bigint", "");
}

/* Two, of which one has the index's collation; the SET clause touches a
 * unique index. */
static inline void describe_composite(struct keyset *k)
{
	describe(k, "a = 1", "b");
	k->row_comparison = 1;
	k->lock_for_update = 1;
	add_key_column(k, "region", "text", " COLLATE pg_catalog.\"C\"");
	add_key_column(k, "\"Id\"", "bigint", "");
}

/* The same key, joined with another table. */
static inline void describe_join(struct keyset *k, const char *where)
{
	describe(k, "a = o.a -- one", where);
	k->from_clause = mem_strdup("other o -- and no more");
	add_key_column(k, "id", "bigint", "");
}

static inline void describe_delete(
	struct keyset *k, const char *from, const char *where)
{
	describe(k, NULL, where);
	k->is_delete = 1;
	k->lock_for_update = 1;
	k->from_clause = mem_strdup(from);
	add_key_column(k, "id", "bigint", "");
}

static inline void set_key(struct key *k, const char *literal)
{
	key_init(k);
	assert_int_equal(key_parse(k, literal), 0);
}

static inline void expect(struct text *sql, const char *expected)
{
	assert_string_equal(sql->data, expected);
	text_reset(sql);
}

#endif
