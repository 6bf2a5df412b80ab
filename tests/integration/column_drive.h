/* column_drive.h: jobs of add_column and drop_column, as app submits them and
 * the daemon carries them out. */
#ifndef BACKFILL_TESTS_COLUMN_DRIVE_H
#define BACKFILL_TESTS_COLUMN_DRIVE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

/* definition may be NULL: then the column is dropped. */
static inline void column_submit(const char *name, const char *target,
	const char *column, const char *definition)
{
	char *literal = definition == NULL
		? NULL
		: PQescapeLiteral(shop.app, definition, strlen(definition));

	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" definition) VALUES ($j$%s$j$, '%s', $j$%s$j$, $j$%s$j$, %s)",
		name, definition == NULL ? "drop_column" : "add_column", target,
		column, literal == NULL ? "NULL" : literal);
	PQfreemem(literal);
}

/* The details of the job's events of one kind, or "(null)". */
static inline const char *column_told(const char *name, const char *event)
{
	return sql_text(shop.db,
		"SELECT string_agg(e.detail, '|' ORDER BY e.id)"
		" FROM backfill.events e JOIN backfill.jobs j"
		" ON j.id = e.job_id WHERE j.name = '%s' AND e.event = '%s'",
		name, event);
}

/* It succeeds in this one step; or, NULL, without any. */
static inline void column_done(const char *name, const char *told)
{
	job_wait(name, "succeeded");
	assert_string_equal(
		column_told(name, "step"), told == NULL ? "(null)" : told);
	assert_string_equal(column_told(name, "succeeded"),
		told == NULL ? "there was nothing to do: it is so already"
			     : "the schema was changed");
}

static inline int has_column(const char *table, const char *column)
{
	return sql_true(shop.db,
		"SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid ="
		" '%s'::regclass AND attname = $j$%s$j$ AND NOT attisdropped)",
		table, column);
}

/* What of a table a refused job must leave as it was; the caller frees it. */
static inline char *column_table(const char *table)
{
	return strdup(sql_text(shop.db,
		"SELECT concat_ws(' ', pg_relation_filenode(c.oid), (SELECT"
		" string_agg(format('%%s:%%s:%%s', a.attname, a.atttypid,"
		" a.attnotnull), ' ' ORDER BY a.attnum) FROM pg_attribute a"
		" WHERE a.attrelid = c.oid), (SELECT count(*) FROM"
		" pg_constraint k WHERE k.conrelid = c.oid), (SELECT count(*)"
		" FROM pg_class t JOIN pg_namespace n ON n.oid ="
		" t.relnamespace WHERE n.nspname ~ '^pg_temp'))"
		" FROM pg_class c WHERE c.oid = '%s'::regclass",
		table));
}

static inline void column_untouched(const char *table, char *before)
{
	char *after = column_table(table);

	assert_string_equal(after, before);
	free(after);
	free(before);
}

#endif
