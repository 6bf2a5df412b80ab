/* The statements that change rows: batches over a window and over one key,
 * and those that only have to parse. */

#include "keyset_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One of several rows of from_clause is enough. */
static void add_exists(struct text *sql, const struct keyset *k)
{
	text_addf(sql, "EXISTS (SELECT FROM\n%s\n\tWHERE (\n%s\n))",
		k->from_clause,
		k->where_clause != NULL ? k->where_clause : "true");
}

/* What makes a row of the target eligible, within its window. */
static void add_eligible(struct text *sql, const struct keyset *k)
{
	if (k->from_clause != NULL) {
		text_add(sql, "\n\t\tAND ");
		add_exists(sql, k);
	} else if (k->where_clause != NULL) {
		text_addf(sql, "\n\t\tAND (\n%s\n)", k->where_clause);
	}
}

/* In the index's collation: by the column's own, a locked row could meet a
 * neighbour that is not ours. */
static void add_key_match(struct text *sql, const struct keyset *k, int i)
{
	keyset_add_column(sql, k, i);
	text_addf(sql, " %s %sc.%sk%d", k->columns[i].equal, k->prefix,
		k->prefix, i + 1);
}

/* The keys, and where the row stands that was read: a version of a row is
 * nowhere else, which tells rows apart whatever the key's equality. */
static void add_select(struct text *sql, const struct keyset *k)
{
	keyset_add_select_keys(sql, k);
	text_addf(sql, ", %s.ctid AS %sat", k->relation, k->prefix);
}

/* w: eligible keys. */
static void add_wanted(
	struct text *sql, const struct keyset *k, const char *guard)
{
	text_addf(sql, "%sw AS MATERIALIZED (\n\tSELECT ", k->prefix);
	add_select(sql, k);
	text_addf(sql, "\n\tFROM ONLY %s\n\tWHERE %s", k->table, guard);
	add_eligible(sql, k);
	keyset_add_order(sql, k);
	text_add(sql, "),\n");
}

/* c: those of w that can be locked at once. */
static void add_locked(
	struct text *sql, const struct keyset *k, const char *guard)
{
	const char *p = k->prefix;

	text_addf(sql, "%sc AS MATERIALIZED (\n\tSELECT ", p);
	add_select(sql, k);
	text_addf(sql,
		"\n\tFROM ONLY %s\n\tWHERE EXISTS (SELECT FROM %sw)"
		"\n\t\tAND %s",
		k->table, p, guard);
	add_eligible(sql, k);
	keyset_add_order(sql, k);
	text_addf(sql, "\n\tFOR %s OF %s SKIP LOCKED),\n",
		k->lock_for_update ? "UPDATE" : "NO KEY UPDATE", k->relation);
}

/* The rows of c within the guard, without which the change reads the key's
 * index from its start. */
static void add_where_locked(
	struct text *sql, const struct keyset *k, const char *guard)
{
	text_addf(sql, "\tWHERE %s", guard);
	for (int i = 0; i < k->count; i++) {
		text_add(sql, "\n\t\tAND ");
		add_key_match(sql, k, i);
	}
}

/* The keys as c read them: a trigger may have put an equal one of another
 * text in place (citext, numeric), and by their texts add_held() tells the
 * rows apart. */
static void add_returning_keys(struct text *sql, const struct keyset *k)
{
	const char *p = k->prefix;

	text_add(sql, "\n\tRETURNING ");
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%s%sc.%sk%d", i > 0 ? ", " : "", p, p, i + 1);
	}
}

/* SET may read from_clause, so it stands here too; of several matches the
 * server takes one. */
static void add_update(
	struct text *sql, const struct keyset *k, const char *guard)
{
	const char *p = k->prefix;

	text_addf(sql, "\tUPDATE ONLY %s SET\n%s\n\tFROM %sc", k->table,
		k->set_clause, p);
	if (k->from_clause != NULL) {
		text_addf(sql, ",\n%s", k->from_clause);
	}
	text_add(sql, "\n");
	add_where_locked(sql, k, guard);
	if (k->from_clause != NULL && k->where_clause != NULL) {
		text_addf(sql, "\n\t\tAND (\n%s\n)", k->where_clause);
	}
	add_returning_keys(sql, k);
	text_add(sql, ",\n\t\t(");
	for (int i = 0; i < k->count; i++) {
		text_add(sql, i > 0 ? " AND " : "");
		add_key_match(sql, k, i);
	}
	text_addf(sql, ") AS %ssame,\n\t\t", p);
	if (k->from_clause != NULL) {
		add_exists(sql, k);
	} else {
		text_addf(sql, "(\n%s\n) IS TRUE",
			k->where_clause != NULL ? k->where_clause : "true");
	}
	text_addf(sql, " AS %sstill", p);
}

/* c found and locked the rows by from_clause: their keys are enough here. */
static void add_delete(
	struct text *sql, const struct keyset *k, const char *guard)
{
	const char *p = k->prefix;

	text_addf(sql, "\tDELETE FROM ONLY %s\n\tUSING %sc\n", k->table, p);
	add_where_locked(sql, k, guard);
	add_returning_keys(sql, k);
	text_addf(sql, ",\n\t\ttrue AS %ssame, false AS %sstill", p, p);
	for (int i = 0; i < k->archive_count; i++) {
		text_addf(sql, ",\n\t\t%s.%s AS %sa%d", k->relation,
			k->archive_columns[i], p, i + 1);
	}
}

/* a: a row for each that is in the archive by now. What its identity columns
 * would count anew is kept as it was. */
static void add_archived(struct text *sql, const struct keyset *k)
{
	const char *p = k->prefix;

	text_addf(sql, "%sa AS (\n\tINSERT INTO %s (", p, k->archive);
	for (int i = 0; i < k->archive_count; i++) {
		text_addf(
			sql, "%s%s", i > 0 ? ", " : "", k->archive_columns[i]);
	}
	text_add(sql, ")\n\tOVERRIDING SYSTEM VALUE\n\tSELECT ");
	for (int i = 0; i < k->archive_count; i++) {
		text_addf(sql, "%s%sa%d", i > 0 ? ", " : "", p, i + 1);
	}
	text_addf(sql, "\n\tFROM %su\n\tRETURNING 1 AS %sone)\n", p, p);
}

/* w, c and u: those of c that were changed; and a. */
static void add_batch_ctes(
	struct text *sql, const struct keyset *k, const char *guard)
{
	text_add(sql, "WITH ");
	add_wanted(sql, k, guard);
	add_locked(sql, k, guard);
	text_addf(sql, "%su AS (\n", k->prefix);
	if (k->is_delete) {
		add_delete(sql, k, guard);
	} else {
		add_update(sql, k, guard);
	}
	text_add(sql, k->archive != NULL ? "),\n" : ")\n");
	if (k->archive != NULL) {
		add_archived(sql, k);
	}
}

/* n: what w, c, u and a found, each read once, in this order: what is to be
 * changed is locked before any of it is, and OFFSET 0 keeps the planner from
 * taking the parts to where they are used. */
static void add_found(struct text *sql, const struct keyset *k)
{
	const char *p = k->prefix;

	text_addf(sql,
		"\nFROM (SELECT ARRAY(SELECT %sat FROM %sw) AS %sw,"
		"\n\t\tARRAY(SELECT %sat FROM %sc) AS %sc,\n",
		p, p, p, p, p, p);
	text_addf(sql,
		"\t\t(SELECT ARRAY[pg_catalog.count(*),"
		"\n\t\t\tpg_catalog.count(*) FILTER (WHERE NOT %ssame),"
		"\n\t\t\tpg_catalog.count(*) FILTER (WHERE %sstill)]"
		" FROM %su) AS %su",
		p, p, p, p);
	if (k->archive != NULL) {
		text_addf(sql,
			",\n\t\t(SELECT pg_catalog.count(*) FROM %sa)"
			" AS %sa",
			p, p);
	}
	text_addf(sql, "\n\tOFFSET 0) AS %sn", p);
}

static void add_count(struct text *sql, const struct keyset *k, const char *of)
{
	text_addf(sql, "pg_catalog.cardinality(%sn.%s%s)", k->prefix, k->prefix,
		of);
}

/* locked, updated, re-keyed, still matching */
static void add_counts(struct text *sql, const struct keyset *k)
{
	const char *p = k->prefix;

	add_count(sql, k, "c");
	for (int i = 1; i <= 3; i++) {
		text_addf(sql, ", %sn.%su[%d]", p, p, i);
	}
}

/* The last arguments of the functions that count. */
static void add_archive_counts(struct text *sql, const struct keyset *k)
{
	if (k->archive != NULL) {
		text_addf(sql, ",\n\t%sn.%sa, %d", k->prefix, k->prefix,
			k->attributes);
	}
	text_add(sql, ")");
}

/* Keys of w that are not in u, in key order, at most 101; NULL when w and c
 * read the same rows in the same order and u changed all of them, which is
 * cheap to find out. Counts would not do: a volatile where_clause may choose
 * as many rows for c, and others. By hashing their texts: a join of the two
 * could be planned as a quadratic loop. */
static void add_held(struct text *sql, const struct keyset *k)
{
	const char *p = k->prefix;

	text_add(sql, "CASE WHEN ");
	add_count(sql, k, "c");
	text_addf(sql,
		" OPERATOR(pg_catalog.<>) %sn.%su[1]"
		"\n\t\tOR %sn.%sw OPERATOR(pg_catalog.<>) %sn.%sc",
		p, p, p, p, p, p);
	text_addf(sql,
		" THEN (\n\tSELECT pg_catalog.array_agg(h.held ORDER BY h.at)"
		"\n\tFROM (SELECT g.held, pg_catalog.max(g.at) AS at"
		"\n\t\tFROM (SELECT ARRAY[");
	keyset_add_key_texts(sql, k);
	text_addf(sql,
		"] AS held,\n\t\t\t\tpg_catalog.row_number() OVER () AS at"
		"\n\t\t\tFROM %sw\n\t\t\tUNION ALL SELECT ARRAY[",
		p);
	keyset_add_key_texts(sql, k);
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
	text_addf(sql, ", %sn.%su[1]", k->prefix, k->prefix);
}

void keyset_batch_sql(const struct keyset *k, struct text *sql,
	const struct fence *fence, const struct keyset_window *window)
{
	struct text guard;

	text_init(&guard);
	keyset_add_guard(&guard, k, window->lo, window->hi);
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
		text_addf(sql, ", %" PRId64, window->hole);
	} else {
		text_add(sql, ", NULL");
	}
	add_archive_counts(sql, k);
	add_found(sql, k);
}

void keyset_lock_sql(
	const struct keyset *k, struct text *sql, const struct key *key)
{
	text_addf(sql, "SELECT FROM ONLY %s\nWHERE ", k->table);
	keyset_add_guard_one(sql, k, key);
	text_addf(sql, "\nFOR %s",
		k->lock_for_update ? "UPDATE" : "NO KEY UPDATE");
}

void keyset_hole_sql(const struct keyset *k, struct text *sql,
	const struct fence *fence, const struct key *key, int64_t hole)
{
	struct text guard;

	text_init(&guard);
	keyset_add_guard_one(&guard, k, key);
	add_batch_ctes(sql, k, guard.data);
	text_close(&guard);

	add_result(sql, k);
	text_add(sql, ",\n\tbackfill.close_hole(");
	add_fence(sql, fence);
	text_addf(sql, ", %" PRId64 ",\n\t", hole);
	add_count(sql, k, "w");
	text_add(sql, ",\n\t");
	add_counts(sql, k);
	add_archive_counts(sql, k);
	add_found(sql, k);
}

/* ---- statements that only have to parse ---- */

void keyset_from_check_sql(const struct keyset *k, struct text *sql)
{
	text_addf(sql, "DELETE FROM ONLY %s USING\n%s\nWHERE ", k->table,
		k->from_clause);
	keyset_add_guard(sql, k, NULL, NULL);
}

void keyset_set_check_sql(const struct keyset *k, struct text *sql)
{
	text_addf(sql, "UPDATE ONLY %s SET\n%s\n", k->table, k->set_clause);
	if (k->from_clause != NULL) {
		text_addf(sql, "FROM\n%s\n", k->from_clause);
	}
	text_add(sql, "WHERE false");
}

void keyset_where_check_sql(
	const struct keyset *k, struct text *sql, enum keyset_form form)
{
	if (form == KEYSET_IN_WHERE) {
		text_addf(sql, "SELECT FROM ONLY %s\nWHERE ", k->table);
		keyset_add_guard(sql, k, NULL, NULL);
		add_eligible(sql, k);
		return;
	}
	text_addf(sql, "SELECT %s\n%s\n%s FROM ONLY %s",
		form == KEYSET_IN_ARRAY ? "ARRAY[" : "(", k->where_clause,
		form == KEYSET_IN_ARRAY ? "]" : ")", k->table);
	if (k->from_clause != NULL) {
		text_addf(sql, ",\n%s", k->from_clause);
	}
}
