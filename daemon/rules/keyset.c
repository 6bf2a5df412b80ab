/* The statements that read keys: bounds, windows, and the order of a key.
 * Those that change rows are in keyset_batch.c. */

#include "keyset_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void keyset_close(struct keyset *k)
{
	for (int i = 0; i < k->count; i++) {
		struct keyset_column *c = &k->columns[i];

		free(c->name);
		free(c->type);
		free(c->collate);
		free(c->less);
		free(c->less_equal);
		free(c->equal);
		free(c->greater_equal);
		free(c->greater);
		free(c->nulls);
	}
	free(k->table);
	free(k->relation);
	free(k->set_clause);
	free(k->from_clause);
	free(k->where_clause);
	free(k->prefix);
	for (int i = 0; i < k->archive_count; i++) {
		free(k->archive_columns[i]);
	}
	free(k->archive_columns);
	free(k->archive);
	memset(k, 0, sizeof *k);
}

static int mentions(const char *text, const char *name)
{
	return text != NULL && strcasestr(text, name) != NULL;
}

void keyset_choose_prefix(struct keyset *k)
{
	struct text t;

	text_init(&t);
	text_add(&t, "__backfill_");
	while (mentions(k->set_clause, t.data) ||
		mentions(k->from_clause, t.data) ||
		mentions(k->where_clause, t.data) ||
		mentions(k->relation, t.data)) {
		text_add(&t, "_");
	}
	free(k->prefix);
	k->prefix = text_take(&t);
}

void keyset_add_literal(struct text *sql, const char *value)
{
	text_add(sql, strchr(value, '\\') != NULL ? "E'" : "'");
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '\'' || *c == '\\') {
			text_add_bytes(sql, c, 1);
		}
		text_add_bytes(sql, c, 1);
	}
	text_add(sql, "'");
}

static void add_typed_literal(
	struct text *sql, const struct keyset_column *c, const char *value)
{
	keyset_add_literal(sql, value);
	text_addf(sql, "::%s", c->type);
}

void keyset_add_column(struct text *sql, const struct keyset *k, int i)
{
	const struct keyset_column *c = &k->columns[i];

	if (c->collate[0] != '\0') {
		text_addf(sql, "(%s.%s%s)", k->relation, c->name, c->collate);
	} else {
		text_addf(sql, "%s.%s", k->relation, c->name);
	}
}

static void add_comparison(struct text *sql, const struct keyset *k, int i,
	const char *operator, const char * value)
{
	keyset_add_column(sql, k, i);
	text_addf(sql, " %s ", operator);
	add_typed_literal(sql, &k->columns[i], value);
}

/* ROW(a, b) > ROW(x, y): one index condition. */
static void add_row_comparison(struct text *sql, const struct keyset *k,
	const char *operator, const struct key * key)
{
	text_add(sql, "ROW(");
	for (int i = 0; i < k->count; i++) {
		text_add(sql, i > 0 ? ", " : "");
		keyset_add_column(sql, k, i);
	}
	text_addf(sql, ") %s ROW(", operator);
	for (int i = 0; i < k->count; i++) {
		text_add(sql, i > 0 ? ", " : "");
		add_typed_literal(sql, &k->columns[i], key->values[i]);
	}
	text_add(sql, ")");
}

/* Operators of different names: a >= x AND (a > x OR (b > y)), nested. The
 * first column bounds the index scan, the rest is a filter. */
static void add_nested_comparison(struct text *sql, const struct keyset *k,
	int is_lower_bound, const struct key *key)
{
	for (int i = 0; i < k->count; i++) {
		const struct keyset_column *c = &k->columns[i];
		int last = i == k->count - 1;
		const char *strict = is_lower_bound ? c->greater : c->less;
		const char *wide =
			is_lower_bound ? c->greater_equal : c->less_equal;

		if (last) {
			add_comparison(sql, k, i,
				is_lower_bound ? strict : wide, key->values[i]);
		} else {
			add_comparison(sql, k, i, wide, key->values[i]);
			text_add(sql, " AND (");
			add_comparison(sql, k, i, strict, key->values[i]);
			text_add(sql, " OR (");
		}
	}
	for (int i = 0; i < k->count - 1; i++) {
		text_add(sql, "))");
	}
}

static void add_bound(struct text *sql, const struct keyset *k,
	int is_lower_bound, const struct key *key)
{
	const struct keyset_column *c = &k->columns[0];

	text_add(sql, "\n\t\tAND ");
	if (k->count == 1) {
		add_comparison(sql, k, 0,
			is_lower_bound ? c->greater : c->less_equal,
			key->values[0]);
	} else if (k->row_comparison) {
		add_row_comparison(sql, k,
			is_lower_bound ? c->greater : c->less_equal, key);
	} else {
		add_nested_comparison(sql, k, is_lower_bound, key);
	}
}

void keyset_add_guard(struct text *sql, const struct keyset *k,
	const struct key *lo, const struct key *hi)
{
	text_addf(sql,
		"%s.tableoid OPERATOR(pg_catalog.=) '%" PRIu32
		"'::pg_catalog.oid",
		k->relation, k->table_oid);
	if (lo != NULL && lo->count > 0) {
		add_bound(sql, k, 1, lo);
	}
	if (hi != NULL && hi->count > 0) {
		add_bound(sql, k, 0, hi);
	}
}

void keyset_add_guard_one(
	struct text *sql, const struct keyset *k, const struct key *key)
{
	keyset_add_guard(sql, k, NULL, NULL);
	for (int i = 0; i < k->count; i++) {
		text_add(sql, "\n\t\tAND ");
		add_comparison(sql, k, i, k->columns[i].equal, key->values[i]);
	}
}

void keyset_add_select_keys(struct text *sql, const struct keyset *k)
{
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%s%s.%s AS %sk%d", i > 0 ? ", " : "",
			k->relation, k->columns[i].name, k->prefix, i + 1);
	}
}

void keyset_add_key_texts(struct text *sql, const struct keyset *k)
{
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%spg_catalog.format('%%s', %sk%d)",
			i > 0 ? ", " : "", k->prefix, i + 1);
	}
}

void keyset_add_order(struct text *sql, const struct keyset *k)
{
	text_add(sql, "\n\tORDER BY ");
	for (int i = 0; i < k->count; i++) {
		text_add(sql, i > 0 ? ", " : "");
		keyset_add_column(sql, k, i);
		text_addf(sql, " USING %s %s", k->columns[i].less,
			k->columns[i].nulls);
	}
}

void keyset_bound_sql(const struct keyset *k, struct text *sql)
{
	text_add(sql, "SELECT ");
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%spg_catalog.format('%%s', %s.%s)",
			i > 0 ? ", " : "", k->relation, k->columns[i].name);
	}
	text_addf(sql, "\nFROM ONLY %s\nWHERE ", k->table);
	keyset_add_guard(sql, k, NULL, NULL);
	text_add(sql, "\nORDER BY ");
	for (int i = 0; i < k->count; i++) {
		const struct keyset_column *c = &k->columns[i];

		text_add(sql, i > 0 ? ", " : "");
		keyset_add_column(sql, k, i);
		text_addf(sql, " USING %s %s", c->greater,
			strcmp(c->nulls, "NULLS LAST") == 0 ? "NULLS FIRST"
							    : "NULLS LAST");
	}
	text_add(sql, "\nLIMIT 1");
}

void keyset_window_sql(const struct keyset *k, struct text *sql,
	const struct key *lo, const struct key *hi, int64_t limit)
{
	const char *p = k->prefix;

	text_addf(sql, "WITH %sq AS MATERIALIZED (\n\tSELECT ", p);
	keyset_add_select_keys(sql, k);
	text_addf(sql, "\n\tFROM ONLY %s\n\tWHERE ", k->table);
	keyset_add_guard(sql, k, lo, hi);
	keyset_add_order(sql, k);
	text_addf(sql, "\n\tLIMIT %" PRId64 ")\n", limit);
	text_addf(sql, "SELECT %sn.%sn, ", p, p);
	keyset_add_key_texts(sql, k);
	/* A CTE keeps its order; were it not so, any key ahead is correct. */
	text_addf(sql,
		"\nFROM (SELECT pg_catalog.count(*) AS %sn FROM %sq) AS %sn,"
		"\n\tLATERAL (SELECT * FROM %sq\n\t\tOFFSET GREATEST(0,"
		" %sn.%sn OPERATOR(pg_catalog.-) 1)) AS %sl",
		p, p, p, p, p, p, p);
}

void keyset_matches_sql(const struct keyset *k, struct text *sql,
	const struct key *lo, const struct key *hi)
{
	text_addf(sql, "SELECT EXISTS (SELECT FROM ONLY %s,\n%s\n\tWHERE ",
		k->table, k->from_clause);
	keyset_add_guard(sql, k, lo, hi);
	if (k->where_clause != NULL) {
		text_addf(sql, "\n\t\tAND (\n%s\n)", k->where_clause);
	}
	text_addf(sql,
		"\n\tGROUP BY %s.ctid\n\tHAVING pg_catalog.count(*)"
		" OPERATOR(pg_catalog.>) 1)",
		k->relation);
}
