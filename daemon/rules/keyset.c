#include "rules/keyset.h"

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
	free(k->where_clause);
	free(k->prefix);
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

/* The column of the target, in the index's collation. */
static void add_column(struct text *sql, const struct keyset *k, int i)
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
	add_column(sql, k, i);
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
		add_column(sql, k, i);
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

/* tableoid, and lo < key <= hi; a key that is none bounds nothing. */
static void add_guard(struct text *sql, const struct keyset *k,
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

static void add_guard_one(
	struct text *sql, const struct keyset *k, const struct key *key)
{
	add_guard(sql, k, NULL, NULL);
	for (int i = 0; i < k->count; i++) {
		text_add(sql, "\n\t\tAND ");
		add_comparison(sql, k, i, k->columns[i].equal, key->values[i]);
	}
}

static void add_where(struct text *sql, const struct keyset *k)
{
	if (k->where_clause != NULL) {
		text_addf(sql, "\n\t\tAND (\n%s\n)", k->where_clause);
	}
}

/* id AS __backfill_k1, … */
static void add_select_keys(struct text *sql, const struct keyset *k)
{
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%s%s.%s AS %sk%d", i > 0 ? ", " : "",
			k->relation, k->columns[i].name, k->prefix, i + 1);
	}
}

/* The texts of the keys of one of our CTEs: output functions, as the
 * literals will be read by input functions. */
static void add_key_texts(struct text *sql, const struct keyset *k)
{
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%spg_catalog.format('%%s', %sk%d)",
			i > 0 ? ", " : "", k->prefix, i + 1);
	}
}

static void add_order(struct text *sql, const struct keyset *k)
{
	text_add(sql, "\n\tORDER BY ");
	for (int i = 0; i < k->count; i++) {
		text_add(sql, i > 0 ? ", " : "");
		add_column(sql, k, i);
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
	add_guard(sql, k, NULL, NULL);
	text_add(sql, "\nORDER BY ");
	for (int i = 0; i < k->count; i++) {
		const struct keyset_column *c = &k->columns[i];

		text_add(sql, i > 0 ? ", " : "");
		add_column(sql, k, i);
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
	add_select_keys(sql, k);
	text_addf(sql, "\n\tFROM ONLY %s\n\tWHERE ", k->table);
	add_guard(sql, k, lo, hi);
	add_order(sql, k);
	text_addf(sql, "\n\tLIMIT %" PRId64 ")\n", limit);
	text_addf(sql, "SELECT (SELECT pg_catalog.count(*) FROM %sq), ", p);
	add_key_texts(sql, k);
	/* A CTE keeps its order; were it not so, any key ahead is correct. */
	text_addf(sql,
		"\nFROM %sq\nOFFSET (SELECT GREATEST(0, pg_catalog.count(*)"
		" OPERATOR(pg_catalog.-) 1) FROM %sq)",
		p, p);
}

/* In the index's collation: by the column's own, a locked row could meet a
 * neighbour that is not ours. */
static void add_key_match(struct text *sql, const struct keyset *k, int i)
{
	add_column(sql, k, i);
	text_addf(sql, " %s %sc.%sk%d", k->columns[i].equal, k->prefix,
		k->prefix, i + 1);
}

/* w: eligible keys; c: those of them that can be locked at once; u: those
 * of them that were updated. guard is given three times: without it in u
 * the update reads the key's index from its start. */
static void add_batch_ctes(
	struct text *sql, const struct keyset *k, const char *guard)
{
	const char *p = k->prefix;

	text_addf(sql, "WITH %sw AS MATERIALIZED (\n\tSELECT ", p);
	add_select_keys(sql, k);
	text_addf(sql, "\n\tFROM ONLY %s\n\tWHERE %s", k->table, guard);
	add_where(sql, k);
	add_order(sql, k);

	text_addf(sql, "),\n%sc AS MATERIALIZED (\n\tSELECT ", p);
	add_select_keys(sql, k);
	text_addf(sql,
		"\n\tFROM ONLY %s\n\tWHERE EXISTS (SELECT FROM %sw)"
		"\n\t\tAND %s",
		k->table, p, guard);
	add_where(sql, k);
	add_order(sql, k);
	text_addf(sql, "\n\tFOR %s OF %s SKIP LOCKED),\n",
		k->lock_for_update ? "UPDATE" : "NO KEY UPDATE", k->relation);

	text_addf(sql, "%su AS (\n\tUPDATE ONLY %s SET\n%s\n", p, k->table,
		k->set_clause);
	text_addf(sql, "\tFROM %sc\n\tWHERE %s", p, guard);
	for (int i = 0; i < k->count; i++) {
		text_add(sql, "\n\t\tAND ");
		add_key_match(sql, k, i);
	}
	/* The keys as c read them: a trigger may have put an equal one of
	 * another text in place (citext, numeric), and by their texts
	 * add_held() tells the rows apart. */
	text_add(sql, "\n\tRETURNING ");
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%s%sc.%sk%d", i > 0 ? ", " : "", p, p, i + 1);
	}
	text_add(sql, ",\n\t\t(");
	for (int i = 0; i < k->count; i++) {
		text_add(sql, i > 0 ? " AND " : "");
		add_key_match(sql, k, i);
	}
	text_addf(sql, ") AS %ssame,\n\t\t(\n%s\n) IS TRUE AS %sstill)\n", p,
		k->where_clause != NULL ? k->where_clause : "true", p);
}

static void add_count(struct text *sql, const struct keyset *k, const char *of)
{
	text_addf(sql, "(SELECT pg_catalog.count(*) FROM %s%s)", k->prefix, of);
}

/* locked, updated, re-keyed, still matching */
static void add_counts(struct text *sql, const struct keyset *k)
{
	const char *p = k->prefix;

	add_count(sql, k, "c");
	text_add(sql, ",\n\t");
	add_count(sql, k, "u");
	text_addf(sql,
		",\n\t(SELECT pg_catalog.count(*) FROM %su WHERE NOT %ssame)",
		p, p);
	text_addf(sql,
		",\n\t(SELECT pg_catalog.count(*) FROM %su WHERE %sstill)", p,
		p);
}

/* Keys of w that are not in u, in key order, at most 101; NULL when the
 * counts agree, which the server finds out first. By hashing their texts:
 * a join of the two could be planned as a quadratic loop. */
static void add_held(struct text *sql, const struct keyset *k)
{
	const char *p = k->prefix;

	text_add(sql, "CASE WHEN ");
	add_count(sql, k, "w");
	text_add(sql, " OPERATOR(pg_catalog.<>) ");
	add_count(sql, k, "u");
	text_addf(sql,
		" THEN (\n\tSELECT pg_catalog.array_agg(h.held ORDER BY h.at)"
		"\n\tFROM (SELECT g.held, pg_catalog.max(g.at) AS at"
		"\n\t\tFROM (SELECT ARRAY[");
	add_key_texts(sql, k);
	text_addf(sql,
		"] AS held,\n\t\t\t\tpg_catalog.row_number() OVER () AS at"
		"\n\t\t\tFROM %sw\n\t\t\tUNION ALL SELECT ARRAY[",
		p);
	add_key_texts(sql, k);
	text_addf(sql,
		"], NULL FROM %su) g"
		"\n\t\tGROUP BY g.held HAVING pg_catalog.count(*)"
		" OPERATOR(pg_catalog.=) 1"
		"\n\t\t\tAND pg_catalog.max(g.at) IS NOT NULL"
		"\n\t\tORDER BY 2 LIMIT 101) h) END",
		p);
}

static void add_key_array(struct text *sql, const struct key *key)
{
	char *literal = key_format(key);

	keyset_add_literal(sql, literal);
	text_add(sql, "::pg_catalog.text[]");
	free(literal);
}

static void add_fence(struct text *sql, const struct fence *f)
{
	text_addf(sql, "%" PRId64 ", %" PRId32 ", %" PRId64 ", %" PRId64,
		f->job_id, f->range, f->epoch, f->seq);
}

static void add_result(struct text *sql, const struct keyset *k)
{
	text_add(sql, "SELECT ");
	add_count(sql, k, "w");
	text_add(sql, ", ");
	add_count(sql, k, "c");
	text_add(sql, ", ");
	add_count(sql, k, "u");
}

void keyset_batch_sql(const struct keyset *k, struct text *sql,
	const struct fence *fence, const struct keyset_window *window)
{
	struct text guard;

	text_init(&guard);
	add_guard(&guard, k, window->lo, window->hi);
	add_batch_ctes(sql, k, guard.data);
	text_close(&guard);

	add_result(sql, k);
	text_add(sql, ",\n\tbackfill.checkpoint(");
	add_fence(sql, fence);
	text_add(sql, ",\n\t");
	add_key_array(sql, window->hi);
	text_addf(sql, ", %" PRId64 ", %" PRId64 ",\n\t", window->rows_read,
		window->size);
	add_counts(sql, k);
	text_add(sql, ",\n\t");
	add_held(sql, k);
	if (window->hole != 0) {
		text_addf(sql, ", %" PRId64 ")", window->hole);
	} else {
		text_add(sql, ", NULL)");
	}
}

void keyset_lock_sql(
	const struct keyset *k, struct text *sql, const struct key *key)
{
	text_addf(sql, "SELECT FROM ONLY %s\nWHERE ", k->table);
	add_guard_one(sql, k, key);
	text_addf(sql, "\nFOR %s",
		k->lock_for_update ? "UPDATE" : "NO KEY UPDATE");
}

void keyset_hole_sql(const struct keyset *k, struct text *sql,
	const struct fence *fence, const struct key *key, int64_t hole)
{
	struct text guard;

	text_init(&guard);
	add_guard_one(&guard, k, key);
	add_batch_ctes(sql, k, guard.data);
	text_close(&guard);

	add_result(sql, k);
	text_add(sql, ",\n\tbackfill.close_hole(");
	add_fence(sql, fence);
	text_addf(sql, ", %" PRId64 ",\n\t", hole);
	add_count(sql, k, "w");
	text_add(sql, ",\n\t");
	add_counts(sql, k);
	text_add(sql, ")");
}

void keyset_where_check_sql(
	const struct keyset *k, struct text *sql, int as_array)
{
	text_addf(sql, "SELECT %s\n%s\n%s FROM ONLY %s",
		as_array ? "ARRAY[" : "(", k->where_clause,
		as_array ? "]" : ")", k->table);
}

void keyset_set_check_sql(const struct keyset *k, struct text *sql)
{
	text_addf(sql, "UPDATE ONLY %s SET\n%s\nWHERE false", k->table,
		k->set_clause);
}
