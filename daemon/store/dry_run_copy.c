/* The copy of a dry run, and what the job does to it: see store/dry_run.h
 * for the whole.
 *
 * Statements with a clause in them, or with a generated column to compute,
 * run under the submitter's search_path: all that is ours in them is
 * qualified. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dry_run_internal.h"

enum { SAMPLE_ROWS = 5, VALUE_CHARS = 200 };

/* ---- copy ---- */

static void add_copy_name(struct text *sql, const struct keyset *k)
{
	text_addf(sql, "pg_temp.%scopy", k->prefix);
}

/* The names of the columns, v1, … or orders.id, …; all or those that take a
 * value. */
static void add_columns(struct text *sql, const struct dry_run *d,
	const char *of, const char *prefix, int with_made)
{
	const char *comma = "";

	for (int i = 0; i < d->count; i++) {
		if (d->columns[i].is_made && !with_made) {
			continue;
		}
		text_add(sql, comma);
		comma = ", ";
		if (prefix != NULL) {
			text_addf(sql, "%sv%d", prefix, i + 1);
		} else {
			text_addf(sql, "%s%s%s", of != NULL ? of : "",
				of != NULL ? "." : "", d->columns[i].name);
		}
	}
}

static void add_order(struct text *sql, const struct keyset *k)
{
	text_add(sql, "\nORDER BY ");
	for (int i = 0; i < k->count; i++) {
		const struct keyset_column *c = &k->columns[i];

		text_addf(sql, "%s(%s.%s%s) USING %s %s", i > 0 ? ", " : "",
			k->relation, c->name, c->collate, c->less, c->nulls);
	}
}

/* The first rows by key, while what comes before them has not max_bytes. A
 * batch reads no value that its clauses do not name, this reads all. Sizes
 * come without the values; a sum over rows in the order in which they come,
 * and in any other order it would bound them as well. */
static void add_fill(
	struct text *sql, const struct dry_run *d, const struct keyset *k)
{
	const char *p = k->prefix;

	text_add(sql, "INSERT INTO ");
	add_copy_name(sql, k);
	text_add(sql, " (");
	add_columns(sql, d, NULL, NULL, 0);
	text_add(sql, ") OVERRIDING SYSTEM VALUE\nSELECT ");
	add_columns(sql, d, NULL, p, 0);
	text_add(sql, "\nFROM (SELECT ");
	add_columns(sql, d, NULL, p, 0);
	text_addf(sql,
		",\n\tpg_catalog.sum(%ssize) OVER (ROWS BETWEEN UNBOUNDED"
		" PRECEDING AND 1 PRECEDING) AS %sbefore\nFROM (SELECT ",
		p, p);
	add_columns(sql, d, k->relation, NULL, 0);
	text_add(sql, ", 0");
	for (int i = 0; i < d->count; i++) {
		if (!d->columns[i].is_made) {
			text_addf(sql,
				" OPERATOR(pg_catalog.+) COALESCE("
				"pg_catalog.pg_column_size(%s.%s), 0)",
				k->relation, d->columns[i].name);
		}
	}
	text_addf(sql,
		"\nFROM ONLY %s\nWHERE %s.tableoid OPERATOR(pg_catalog.=)"
		" '%" PRIu32 "'::pg_catalog.oid",
		k->table, k->relation, k->table_oid);
	add_order(sql, k);
	text_addf(sql, "\nLIMIT %" PRId64 ") s (", d->max_rows);
	add_columns(sql, d, NULL, p, 0);
	text_addf(sql,
		", %ssize)) s\nWHERE COALESCE(%sbefore, 0)"
		" OPERATOR(pg_catalog.<) %" PRId64,
		p, p, d->max_bytes);
}

/* actions may be NULL: nothing to do. */
static void add_on_copy(struct pgc_request *r, const struct keyset *k,
	const char *command, const char *actions)
{
	struct text sql;

	if (actions == NULL) {
		return;
	}
	text_init(&sql);
	text_addf(&sql, "%s ", command);
	add_copy_name(&sql, k);
	text_addf(&sql, " %s", actions);
	work_add_text(r, &sql);
}

/* Rows, bytes of their pages, bytes with TOAST. */
static void add_size(struct pgc_request *r, const struct keyset *k)
{
	struct text sql;

	text_init(&sql);
	text_addf(&sql,
		"SELECT pg_catalog.count(*),"
		" pg_catalog.pg_relation_size('pg_temp.%scopy'),"
		" pg_catalog.pg_table_size('pg_temp.%scopy') FROM ",
		k->prefix, k->prefix);
	add_copy_name(&sql, k);
	work_add_text(r, &sql);
}

static void add_create(struct pgc_request *r, const struct keyset *k)
{
	struct text sql;

	text_init(&sql);
	text_addf(&sql,
		"CREATE TEMPORARY TABLE %scopy (LIKE %s INCLUDING DEFAULTS"
		" INCLUDING GENERATED INCLUDING IDENTITY) ON COMMIT DROP",
		k->prefix, k->table);
	work_add_text(r, &sql);
}

/* A function that takes a row of the table takes one of the copy. */
static void add_cast(
	struct pgc_request *r, const struct dry_run *d, const struct keyset *k)
{
	struct text sql;

	if (!d->may_cast) {
		return;
	}
	text_init(&sql);
	text_add(&sql, "CREATE CAST (");
	add_copy_name(&sql, k);
	text_addf(&sql, " AS %s) WITH INOUT AS IMPLICIT", k->table);
	work_add_text(r, &sql);
}

/* The first rows are found through the key's index, never by sorting all of
 * the table: the planner may choose again when the clauses' turn comes. */
struct pgc_request *dry_run_copy(
	const struct dry_run *d, const struct keyset *k)
{
	struct pgc_request *r = work_begin(d->deadline_ms);
	struct text sql;

	dry_run_add_setting(r, "statement_timeout", d->statement_timeout);
	dry_run_add_setting(r, "enable_seqscan", "off");
	add_create(r, k);
	add_on_copy(r, k, "ALTER TABLE", d->drop_not_null);
	text_init(&sql);
	add_fill(&sql, d, k);
	work_add_text(r, &sql);
	add_size(r, k);
	add_on_copy(r, k, "ALTER TABLE", d->checks);
	add_cast(r, d, k);
	add_on_copy(r, k, "ANALYZE", "");
	dry_run_add_setting(r, "enable_seqscan", d->seqscan);
	pgc_add(r, "SET TRANSACTION READ ONLY");
	return r;
}

void dry_run_read_copy(const struct pgc_request *r, struct dry_run *d)
{
	const PGresult *size = pgc_result(r, d->drop_not_null != NULL ? 6 : 5);

	d->rows = pgc_int(size, 0, 0);
	d->bytes = pgc_int(size, 0, 1);
	d->size_before = pgc_int(size, 0, 2);
}

/* ---- change ---- */

/* The key of a row as texts, by which the row before and the row after find
 * each other: no key column is assigned. */
static void add_key(struct text *sql, const struct keyset *k)
{
	text_add(sql, "ARRAY[");
	for (int i = 0; i < k->count; i++) {
		text_addf(sql, "%spg_catalog.format('%%s', %s.%s)",
			i > 0 ? ", " : "", k->relation, k->columns[i].name);
	}
	text_add(sql, "]");
}

static void add_clause(
	struct text *sql, const char *keyword, const char *clause)
{
	if (clause != NULL) {
		text_addf(sql, "\n\t%s\n%s", keyword, clause);
	}
}

/* u: the changed rows, new ones of an update, old ones of a delete. */
static void add_statement(
	struct text *sql, const struct dry_run *d, const struct keyset *k)
{
	const char *p = k->prefix;

	text_addf(sql, "WITH %su (%skey, %sstill, ", p, p, p);
	add_columns(sql, d, NULL, p, 1);
	text_addf(
		sql, ") AS (\n\t%s ", k->is_delete ? "DELETE FROM" : "UPDATE");
	add_copy_name(sql, k);
	text_addf(sql, " AS %s", k->relation);
	add_clause(sql, "SET", k->set_clause);
	add_clause(sql, k->is_delete ? "USING" : "FROM", k->from_clause);
	if (k->where_clause != NULL) {
		text_addf(sql, "\n\tWHERE (\n%s\n)", k->where_clause);
	}
	text_add(sql, "\n\tRETURNING ");
	add_key(sql, k);
	text_addf(sql, ", (\n%s\n) IS TRUE, ",
		!k->is_delete && k->where_clause != NULL ? k->where_clause
							 : "false");
	add_columns(sql, d, k->relation, NULL, 1);
	text_addf(sql, "),\n%sb (%sat, %skey, ", p, p, p);
	add_columns(sql, d, NULL, p, 1);
	text_add(sql,
		") AS MATERIALIZED (\n\tSELECT pg_catalog.row_number()"
		" OVER (), ");
	add_key(sql, k);
	text_add(sql, ", ");
	add_columns(sql, d, k->relation, NULL, 1);
	text_add(sql, "\n\tFROM ");
	add_copy_name(sql, k);
	text_addf(sql, " AS %s)\n", k->relation);
}

/* The value of a column in one of the two rows, as JSON; a long text is
 * cut. IS DISTINCT FROM NULL needs no operator, and a row of NULLs is not
 * NULL to it. */
static void add_value(struct text *sql, const struct keyset *k,
	const struct dry_run_column *c, const char *row, int number)
{
	char value[128];

	(void)snprintf(
		value, sizeof value, "(s.%s).%sv%d", row, k->prefix, number);
	if (c->is_json) {
		text_addf(sql, "pg_catalog.to_jsonb(%s)", value);
	} else {
		text_addf(sql,
			"CASE WHEN %s IS DISTINCT FROM NULL THEN"
			" pg_catalog.to_jsonb(pg_catalog.left("
			"pg_catalog.format('%%s', %s), %d)) END",
			value, value, VALUE_CHARS);
	}
}

/* A row per column: name, whether it changed, before, after. Images are
 * compared, since not every type has an equality. */
static void add_values(
	struct text *sql, const struct dry_run *d, const struct keyset *k)
{
	text_add(sql, "(VALUES ");
	for (int i = 0; i < d->count; i++) {
		text_add(sql, i > 0 ? ",\n\t(" : "(");
		keyset_add_literal(sql, d->columns[i].plain);
		if (k->is_delete) {
			text_add(sql, ", true, ");
		} else {
			text_addf(sql,
				", pg_catalog.record_image_ne("
				"ROW((s.b).%sv%d), ROW((s.u).%sv%d)), ",
				k->prefix, i + 1, k->prefix, i + 1);
		}
		add_value(sql, k, &d->columns[i], "b", i + 1);
		text_add(sql, ", ");
		if (k->is_delete) {
			text_add(sql, "NULL::pg_catalog.jsonb");
		} else {
			add_value(sql, k, &d->columns[i], "u", i + 1);
		}
		text_add(sql, ")");
	}
	text_add(sql, ") v (name, is_changed, before, after)");
}

static void add_sample(
	struct text *sql, const struct dry_run *d, const struct keyset *k)
{
	const char *p = k->prefix;

	text_addf(sql,
		"(SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object("
		"'key', (SELECT pg_catalog.jsonb_agg(pg_catalog.left(t, %d)"
		" ORDER BY n) FROM pg_catalog.unnest((s.b).%skey)"
		" WITH ORDINALITY AS t (t, n)),"
		" 'before', COALESCE(c.before, '{}'), 'after', %s)"
		" ORDER BY (s.b).%sat)\n",
		VALUE_CHARS, p,
		k->is_delete ? "NULL" : "COALESCE(c.after, '{}')", p);
	text_addf(sql,
		"FROM (SELECT b, u FROM %sb b JOIN %su u ON b.%skey"
		" OPERATOR(pg_catalog.=) u.%skey\n\tORDER BY b.%sat LIMIT %d)"
		" s\nCROSS JOIN LATERAL (SELECT"
		" pg_catalog.jsonb_object_agg(v.name, v.before) AS before,"
		" pg_catalog.jsonb_object_agg(v.name, v.after) AS after\n"
		"\tFROM ",
		p, p, p, p, p, SAMPLE_ROWS);
	add_values(sql, d, k);
	text_add(sql, "\n\tWHERE v.is_changed) c)");
}

/* One statement, so that it sees the rows as they were, too. */
struct pgc_request *dry_run_change(
	const struct dry_run *d, const struct keyset *k)
{
	struct pgc_request *r = pgc_request_new(d->deadline_ms);
	struct text sql;
	const char *p = k->prefix;

	text_init(&sql);
	add_statement(&sql, d, k);
	text_addf(&sql,
		"SELECT (SELECT pg_catalog.count(*) FROM %su),\n"
		"(SELECT pg_catalog.count(*) FROM %su WHERE %sstill),\n",
		p, p, p);
	add_sample(&sql, d, k);
	work_add_text(r, &sql);
	return r;
}

void dry_run_read_change(const struct pgc_request *r, struct dry_run *d)
{
	const PGresult *row = pgc_result(r, 0);

	d->changed = pgc_int(row, 0, 0);
	d->matching = pgc_int(row, 0, 1);
	d->sample = dry_run_copy_text(row, 2);
	d->elapsed_us = pgc_elapsed_us(r);
}

/* ---- errors ---- */

/* As messages have it: of quotes, every other one is the name's. */
static char *plain_relation(const struct keyset *k)
{
	struct text t;

	text_init(&t);
	for (const char *c = k->relation; *c != '\0'; c++) {
		if (*c == '"' && *++c == '\0') {
			break;
		}
		text_add_bytes(&t, c, 1);
	}
	return text_take(&t);
}

static void replace_all(
	char *s, size_t size, const char *name, const char *with)
{
	struct text t;
	const char *rest = s;
	const char *at;

	text_init(&t);
	while ((at = strstr(rest, name)) != NULL) {
		text_add_bytes(&t, rest, (size_t)(at - rest));
		text_add(&t, with);
		rest = at + strlen(name);
	}
	text_add(&t, rest);
	(void)snprintf(s, size, "%s", t.data);
	(void)text_trim(s);
	text_close(&t);
}

void dry_run_mend_error(const struct keyset *k, struct err *e)
{
	char *relation = plain_relation(k);
	struct text copy;

	text_init(&copy);
	text_addf(&copy, "%scopy", k->prefix);
	replace_all(e->message, sizeof e->message, copy.data, relation);
	replace_all(e->hint, sizeof e->hint, copy.data, relation);
	text_close(&copy);
	free(relation);
	e->detail[0] = '\0';
	/* By its own SQLSTATE it would be a server that is to be waited for. */
	if (strcmp(e->sqlstate, "25006") == 0) {
		err_wrap(e, "the clauses of a dry run may write nothing");
		memcpy(e->sqlstate, "0A000", sizeof e->sqlstate);
		err_set_hint(e,
			"A job with pause_after_rows tries them on so many"
			" rows.");
	}
	if (e->hint[0] == '\0') {
		err_set_hint(e,
			"Nothing was changed: it was a dry run on a copy of"
			" the table's first rows.");
	}
}

/* ---- undo ---- */

struct pgc_request *dry_run_undo(
	const struct dry_run *d, const struct keyset *k)
{
	struct pgc_request *r = pgc_request_new(d->deadline_ms);

	add_size(r, k);
	pgc_add(r, "ROLLBACK");
	return r;
}

void dry_run_read_undo(const struct pgc_request *r, struct dry_run *d)
{
	d->size_after = pgc_int(pgc_result(r, 0), 0, 2);
}
