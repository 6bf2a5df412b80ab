/* What a dry run has to know of its table, and the plan of its batch: see
 * store/dry_run.h for the whole. dry_run_copy.c makes the copy,
 * dry_run_report.c the report. */

#include "dry_run_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void dry_run_close(struct dry_run *d)
{
	for (int i = 0; i < d->count; i++) {
		free(d->columns[i].name);
		free(d->columns[i].plain);
	}
	free(d->columns);
	free(d->checks);
	free(d->drop_not_null);
	free(d->unchecked);
	free(d->seqscan);
	free(d->statement_timeout);
	free(d->facts);
	free(d->estimate);
	free(d->plan);
	free(d->sample);
	key_close(&d->hi);
	memset(d, 0, sizeof *d);
}

void dry_run_add_setting(
	struct pgc_request *r, const char *name, const char *value)
{
	const char *const values[] = { name, value };

	pgc_add_params(
		r, "SELECT pg_catalog.set_config($1, $2, true)", 2, values);
}

char *dry_run_copy_text(const PGresult *row, int column)
{
	return pgc_is_null(row, 0, column)
		? NULL
		: mem_strdup(pgc_text(row, 0, column));
}

/* ---- look: what has to be known of the table ---- */

enum { LOOK_COLUMNS = 2, LOOK_FACTS = 3, LOOK_ESTIMATE = 4, LOOK_WINDOW = 5 };

/* $1: OID. A row per column. */
static const char COLUMNS_SQL[] =
	"SELECT quote_ident(a.attname), a.attname, a.attgenerated <> '',\n"
	"	t.typcategory IN ('N', 'B')\n"
	"FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid\n"
	"WHERE a.attrelid = $1::oid AND a.attnum > 0\n"
	"	AND NOT a.attisdropped\n"
	"ORDER BY a.attnum";

/* $1: OID, $2: of the key's index, $3: columns that SET names. One row: what
 * is missing to make a copy; the constraints that act on it; facts.
 *
 * Constraints come onto the copy when it has its rows, as NOT VALID: rows
 * that violate one which is not valid yet may be what the job is to mend. An
 * update meets such a constraint nevertheless, here as in a batch. One that
 * refers to the whole row names the table in its text, and is left out.
 *
 * hot: the share of changed rows that need no index entries, by the room that
 * fillfactor leaves. A generated column counts as changed. */
static const char FACTS_SQL[] =
	"WITH checks AS (\n"
	"	SELECT n.conname, n.conkey, n.contype = 'n' AS is_not_null,\n"
	"	(0 = ANY (n.conkey)) IS TRUE AS is_of_row,\n"
	"	pg_get_constraintdef(n.oid) || CASE WHEN n.convalidated\n"
	"	THEN ' NOT VALID' ELSE '' END AS definition\n"
	"	FROM pg_constraint n\n"
	"	WHERE n.conrelid = $1::oid AND (n.contype = 'c'\n"
	"	OR n.contype = 'n' AND NOT n.convalidated)),\n"
	"actions AS (\n"
	"	SELECT n.conname, format('ADD CONSTRAINT %I %s', n.conname,\n"
	"	n.definition) AS action\n"
	"	FROM checks n WHERE NOT n.is_of_row\n"
	"	UNION ALL SELECT c.relname, format(\n"
	"	'ADD CONSTRAINT %I CHECK (%s) NOT VALID', 'partition "
	"constraint',\n"
	"	pg_get_partition_constraintdef(c.oid))\n"
	"	FROM pg_class c WHERE c.oid = $1::oid AND c.relispartition),\n"
	"indexes AS (\n"
	"	SELECT i.indexrelid, EXISTS (SELECT FROM pg_attribute a\n"
	"	WHERE a.attrelid = i.indrelid AND a.attnum > 0\n"
	"	AND (a.attname = ANY ($3::text[]) OR a.attgenerated <> '')\n"
	"	AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM "
	"pg_depend d\n"
	"	WHERE d.classid = 'pg_class'::regclass AND d.objid = "
	"i.indexrelid\n"
	"	AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))\n"
	"	AS is_changed\n"
	"	FROM pg_index i WHERE i.indrelid = $1::oid AND i.indisready)\n"
	"SELECT has_database_privilege(current_database(), 'TEMP'),\n"
	"	current_database(), quote_ident(current_database()),\n"
	"	quote_ident(current_user),\n"
	"	has_type_privilege(c.reltype, 'USAGE'),\n"
	"	(SELECT string_agg(s.action, ', ' ORDER BY s.conname)\n"
	"	FROM actions s),\n"
	"	(SELECT string_agg(format('ALTER COLUMN %I DROP NOT NULL',\n"
	"	a.attname), ', ') FROM checks n\n"
	"	JOIN pg_attribute a ON a.attrelid = c.oid\n"
	"	AND a.attnum = ANY (n.conkey) WHERE n.is_not_null),\n"
	"	(SELECT string_agg(format('constraint %I refers to the whole "
	"row:'\n"
	"	' the dry run did not check it', n.conname), E'\\n'\n"
	"	ORDER BY n.conname) FROM checks n WHERE n.is_of_row),\n"
	"	current_setting('enable_seqscan'),\n"
	"	current_setting('statement_timeout'),\n"
	"	jsonb_build_object(\n"
	"	'key', (SELECT jsonb_build_object(\n"
	"	'index', format('%I.%I', m.nspname, x.relname),\n"
	"	'columns', (SELECT jsonb_agg(a.attname ORDER BY n)\n"
	"	FROM generate_series(0, i.indnkeyatts - 1) n\n"
	"	JOIN pg_attribute a ON a.attrelid = c.oid\n"
	"	AND a.attnum = i.indkey[n]))\n"
	"	FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid\n"
	"	JOIN pg_namespace m ON m.oid = x.relnamespace\n"
	"	WHERE i.indexrelid = $2::oid),\n"
	"	'table_pages', pg_relation_size(c.oid)\n"
	"	/ current_setting('block_size')::bigint,\n"
	"	'indexes', (SELECT count(*) FROM indexes),\n"
	"	'index_pages', (SELECT sum(pg_relation_size(i.indexrelid))\n"
	"	FROM indexes i) / current_setting('block_size')::bigint,\n"
	"	'hot', CASE WHEN (SELECT bool_or(i.is_changed) FROM indexes "
	"i)\n"
	"	THEN 0 ELSE least(1, 100.0 / coalesce((\n"
	"	SELECT o.option_value::numeric\n"
	"	FROM pg_options_to_table(c.reloptions) o\n"
	"	WHERE o.option_name = 'fillfactor'), 100) - 1) END)\n"
	"FROM pg_class c WHERE c.oid = $1::oid";

struct pgc_request *dry_run_look(const struct dry_run *d,
	const struct keyset *k, const struct setlist *columns)
{
	struct pgc_request *r = work_begin(d->deadline_ms);
	struct text names, sql;
	char table[16], index[16];
	const char *const values[] = { table, index, NULL };
	const char *facts_values[3];

	(void)snprintf(table, sizeof table, "%" PRIu32, k->table_oid);
	(void)snprintf(index, sizeof index, "%" PRIu32, k->index_oid);
	text_init(&names);
	text_add(&names, "{");
	for (size_t i = 0; i < columns->count; i++) {
		text_add(&names, i > 0 ? "," : "");
		key_add_element(&names, columns->columns[i]);
	}
	text_add(&names, "}");
	memcpy(facts_values, values, sizeof facts_values);
	facts_values[2] = names.data;

	dry_run_add_setting(r, "search_path", "pg_catalog, pg_temp");
	pgc_add_params(r, COLUMNS_SQL, 1, values);
	pgc_add_params(r, FACTS_SQL, 3, facts_values);
	text_close(&names);

	text_init(&sql);
	text_addf(&sql, "EXPLAIN (FORMAT JSON) SELECT FROM ONLY %s", k->table);
	work_add_text(r, &sql);
	text_init(&sql);
	keyset_window_sql(k, &sql, NULL, NULL, d->max_rows);
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

static void read_columns(const PGresult *rows, struct dry_run *d)
{
	d->count = PQntuples(rows);
	d->columns = mem_new((size_t)d->count, sizeof *d->columns);
	for (int i = 0; i < d->count; i++) {
		d->columns[i].name = mem_strdup(pgc_text(rows, i, 0));
		d->columns[i].plain = mem_strdup(pgc_text(rows, i, 1));
		d->columns[i].is_made = pgc_bool(rows, i, 2);
		d->columns[i].is_json = pgc_bool(rows, i, 3);
	}
}

static int refuse(struct err *e, const char *sqlstate)
{
	memcpy(e->sqlstate, sqlstate, sizeof e->sqlstate);
	return e->code;
}

static int check_rights(
	const PGresult *facts, const struct keyset *k, struct err *e)
{
	if (PQntuples(facts) == 0) {
		err_set(e, BFE_SQL, "table %s was dropped meanwhile", k->table);
		return refuse(e, "42P01");
	}
	if (!pgc_bool(facts, 0, 0)) {
		err_set(e, BFE_SQL,
			"permission denied to create temporary tables in"
			" database \"%s\"",
			pgc_text(facts, 0, 1));
		err_set_detail(e,
			"A dry run changes a temporary copy of the table's"
			" first rows.");
		err_set_hint(e, "GRANT TEMPORARY ON DATABASE %s TO %s;",
			pgc_text(facts, 0, 2), pgc_text(facts, 0, 3));
		return refuse(e, "42501");
	}
	return 0;
}

int dry_run_read_look(const struct pgc_request *r, struct dry_run *d,
	const struct keyset *k, struct err *e)
{
	const PGresult *facts = pgc_result(r, LOOK_FACTS);
	const PGresult *window = pgc_result(r, LOOK_WINDOW);

	if (check_rights(facts, k, e) != 0) {
		return e->code;
	}
	read_columns(pgc_result(r, LOOK_COLUMNS), d);
	d->may_cast = pgc_bool(facts, 0, 4);
	d->checks = dry_run_copy_text(facts, 5);
	d->drop_not_null = dry_run_copy_text(facts, 6);
	d->unchecked = dry_run_copy_text(facts, 7);
	d->seqscan = dry_run_copy_text(facts, 8);
	if (d->statement_timeout == NULL) {
		d->statement_timeout = dry_run_copy_text(facts, 9);
	}
	d->facts = dry_run_copy_text(facts, 10);
	d->estimate = dry_run_copy_text(pgc_result(r, LOOK_ESTIMATE), 0);
	d->window_rows = PQntuples(window) > 0 ? pgc_int(window, 0, 0) : 0;
	for (int i = 1; i < PQnfields(window) && PQntuples(window) > 0; i++) {
		key_add(&d->hi, pgc_text(window, 0, i));
	}
	return 0;
}

/* ---- explain ---- */

/* EXPLAIN takes the locks of the statement: not within the transaction that
 * keeps its own until the sample is done. */
struct pgc_request *dry_run_explain(const struct dry_run *d,
	const struct keyset *k, const struct fence *fence)
{
	struct pgc_request *r = pgc_request_new(d->deadline_ms);
	const struct keyset_window window = {
		.hi = &d->hi, .rows_read = d->max_rows, .size = d->max_rows
	};
	struct text sql;

	text_init(&sql);
	text_add(&sql, "EXPLAIN ");
	keyset_batch_sql(k, &sql, fence, &window);
	work_add_text(r, &sql);
	return r;
}

void dry_run_read_explain(const struct pgc_request *r, struct dry_run *d)
{
	const PGresult *rows = pgc_result(r, 0);
	struct text plan;

	text_init(&plan);
	for (int i = 0; i < PQntuples(rows); i++) {
		text_addf(
			&plan, "%s%s", i > 0 ? "\n" : "", pgc_text(rows, i, 0));
	}
	d->plan = text_take(&plan);
}
