/* constraint_drive.h: jobs of the kinds that make constraints, and words for
 * what they leave. A job has its own name; so has its table. */
#ifndef BACKFILL_TESTS_CONSTRAINT_DRIVE_H
#define BACKFILL_TESTS_CONSTRAINT_DRIVE_H

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

#define MEND_CHECK                                                             \
	"Change the rows, then retry the job; backfill.plan_add_check() with"  \
	" repair does both."
#define MEND_KEY                                                               \
	"Delete or change them, or insert the rows that they reference; then"  \
	" retry the job."

/* definition may be NULL. */
static inline void submit(const char *name, const char *kind,
	const char *target, const char *object_name, const char *definition)
{
	char text[1024];

	(void)snprintf(text, sizeof text, "$sql$%s$sql$",
		definition == NULL ? "" : definition);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" definition) VALUES ($n$%s$n$, '%s', $t$%s$t$, $o$%s$o$, %s)",
		name, kind, target, object_name,
		definition == NULL ? "NULL" : text);
}

static inline void succeeds(const char *name, const char *kind,
	const char *target, const char *object_name, const char *definition)
{
	submit(name, kind, target, object_name, definition);
	job_wait(name, "succeeded");
}

/* What was done, a | between; without what tells the end. */
static inline const char *steps(const char *name)
{
	return sql_text(shop.db,
		"SELECT coalesce(string_agg(e.detail, '|' ORDER BY e.id), '')"
		" FROM backfill.events e JOIN backfill.jobs j"
		" ON j.id = e.job_id WHERE j.name = '%s' AND e.event = 'step'",
		name);
}

static inline void did_nothing(const char *name)
{
	assert_string_equal(
		sql_text(shop.db,
			"SELECT e.detail FROM backfill.events e"
			" JOIN backfill.jobs j ON j.id = e.job_id"
			" WHERE j.name = '%s' AND e.event = 'succeeded'",
			name),
		"there was nothing to do: it is so already");
}

/* The server's words; "(null)": the table has no such constraint. */
static inline const char *constraint(const char *table, const char *name)
{
	return sql_text(shop.db,
		"SELECT (SELECT pg_get_constraintdef(oid) FROM pg_constraint"
		" WHERE conrelid = $t$%s$t$::regclass AND conname = $n$%s$n$)",
		table, name);
}

static inline int is_not_null(const char *table, const char *column)
{
	return sql_true(shop.db,
		"SELECT attnotnull FROM pg_attribute"
		" WHERE attrelid = '%s'::regclass AND attname = '%s'",
		table, column);
}

/* Keys of rows in the way that are not resolved, in order. */
static inline const char *in_the_way(const char *name)
{
	return sql_text(shop.db,
		"SELECT coalesce(string_agg(key::text || ' ' || sqlstate, ', '"
		" ORDER BY key), '') FROM backfill.row_errors"
		" WHERE job_id = %lld AND resolved_at IS NULL",
		(long long)job_id(name));
}

static inline void retry(const char *name)
{
	sql_exec(shop.app, "SELECT backfill.retry('%s')", name);
	job_wait(name, "succeeded");
}

/* Whatever the job is asked of a file that it may not write anew. */
static inline int64_t file_of(const char *table)
{
	return sql_int(shop.db, "SELECT pg_relation_filenode('%s')", table);
}

#endif
