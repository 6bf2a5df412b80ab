/* dry_run_look.h: dry runs and what they leave behind, for test_dry_run*.c. */
#ifndef BACKFILL_TESTS_DRY_RUN_LOOK_H
#define BACKFILL_TESTS_DRY_RUN_LOOK_H

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

/* NULL: as the column's default. */
struct dry {
	const char *name;
	const char *target;
	const char *set;
	const char *from;
	const char *where;
	int rows; /* of a batch; 0: the configuration's */
};

static inline const char *quote(const char *clause)
{
	return clause == NULL
		? "NULL"
		: sql_text(shop.db, "SELECT quote_literal($q$%s$q$)", clause);
}

static inline void submit(const struct dry *d)
{
	char rows[16] = "NULL";

	if (d->rows > 0) {
		(void)snprintf(rows, sizeof rows, "%d", d->rows);
	}
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, set_clause,"
		" from_clause, where_clause, batch_rows, dry_run)"
		" VALUES ('%s', '%s', %s, %s, %s, %s, %s, true)",
		d->name, d->set != NULL ? "update" : "delete", quote(d->target),
		quote(d->set), quote(d->from), quote(d->where), rows);
}

static inline void run(const struct dry *d)
{
	submit(d);
	job_wait(d->name, "succeeded");
}

static inline void assert_texts(
	const char *found, const char *want, const char *what)
{
	if (strcmp(found, want) != 0) {
		fail_msg("%s\nwanted: %s\nfound:  %s", what, want, found);
	}
}

/* A part of the report, by its path. */
static inline void assert_report(
	const char *name, const char *path, const char *want)
{
	assert_texts(sql_text(shop.db,
			     "SELECT report #>> '{%s}' FROM backfill.jobs"
			     " WHERE name = '%s'",
			     path, name),
		want, path);
}

/* A line per row of the sample: key, before -> after. */
static inline void assert_sample(const char *name, const char *want)
{
	assert_texts(sql_text(shop.db,
			     "SELECT string_agg(concat(s -> 'key', ' ',"
			     " s -> 'before', ' -> ', s -> 'after'), E'\\n'"
			     " ORDER BY n) FROM backfill.jobs,"
			     " jsonb_array_elements(report -> 'sample')"
			     " WITH ORDINALITY AS t (s, n) WHERE name = '%s'",
			     name),
		want, "sample");
}

static inline int has_line(
	const char *name, const char *part, const char *pattern)
{
	return sql_true(shop.db,
		"SELECT bool_or(l LIKE $q$%s$q$) FROM backfill.jobs,"
		" jsonb_array_elements_text(report -> '%s') l"
		" WHERE name = '%s'",
		pattern, part, name);
}

/* ---- what must not change */

/* From here on a reader finds no hint bit to set. */
static inline void settle(const char *table)
{
	sql_exec(shop.db, "VACUUM (FREEZE, ANALYZE) %s", table);
	sql_exec(shop.db, "CHECKPOINT");
}

/* The rows with their system columns; of the table, its TOAST and all
 * indexes: file, size of each fork, contents, time of the last write. */
static inline void look(const char *table, char *state, size_t size)
{
	sql_exec(shop.db, "CHECKPOINT");
	(void)snprintf(state, size, "%s\n%s",
		sql_text(shop.db,
			"SELECT md5(string_agg(concat_ws(' ', ctid, xmin, xmax,"
			" t), ',' ORDER BY ctid)) FROM %s t",
			table),
		sql_text(shop.db,
			"WITH RECURSIVE r (oid, toast) AS ("
			" SELECT c.oid, c.reltoastrelid FROM pg_class c"
			" WHERE c.oid = '%s'::regclass"
			" UNION ALL SELECT c.oid, c.reltoastrelid FROM r"
			" JOIN pg_class c ON c.oid = r.toast"
			" OR c.oid IN (SELECT i.indexrelid FROM pg_index i"
			" WHERE i.indrelid = r.oid))"
			" SELECT string_agg(concat_ws(' ', r.oid,"
			" pg_relation_filenode(r.oid), pg_relation_size(r.oid),"
			" pg_relation_size(r.oid, 'fsm'),"
			" pg_relation_size(r.oid, 'vm'),"
			" md5(pg_read_binary_file(pg_relation_filepath(r.oid)))"
			","
			" (pg_stat_file(pg_relation_filepath(r.oid)))"
			".modification), E'\\n' ORDER BY r.oid) FROM r",
			table));
}

static inline void assert_untouched(const char *table, const char *state)
{
	char now[4096];

	look(table, now, sizeof now);
	assert_texts(now, state, table);
}

#endif
