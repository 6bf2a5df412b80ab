/* examples_drive.h: the very files of conf/examples, run by psql as the owner
 * of the shop, app, and carried out by a daemon. */
#ifndef BACKFILL_TESTS_EXAMPLES_DRIVE_H
#define BACKFILL_TESTS_EXAMPLES_DRIVE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "cmocka_all.h"
#include "pgdata.h"
#include "shop.h"

enum { DUMP_BYTES = 65536 };

static const struct example {
	const char *name; /* of its files, and its prefix */
	const char *held; /* the job that waits to be approved; NULL: none */
} examples[] = {
	{ "01_add_column", NULL },
	{ "02_add_column_default", NULL },
	{ "03_add_column_fill", NULL },
	{ "04_add_column_volatile", NULL },
	{ "05_drop_column", "1_drop" },
	{ "06_rename_column", "4_cut" },
	{ "07_set_not_null", NULL },
	{ "08_add_check", NULL },
	{ "09_add_foreign_key", NULL },
	{ "10_create_index", NULL },
	{ "11_create_unique_index", NULL },
	{ "12_create_partitioned_index", NULL },
	{ "13_drop_index", NULL },
	{ "14_reindex", NULL },
	{ "15_delete_archive", NULL },
	{ "16_statements", NULL },
};

enum { EXAMPLES = sizeof examples / sizeof examples[0] };

/* The file, and then more, an SQL command, in one transaction. */
static inline void psql_file(const char *name, const char *more)
{
	char program[512], path[256], output[16384];
	char *const argv[] = { program, "-X", "-q", "-1", "-v",
		"ON_ERROR_STOP=1", "-f", path, "-c", (char *)more,
		(char *)cluster_conninfo(shop.cluster, "shop", "app"), NULL };
	struct child child = { .argv = argv, .uid = geteuid() };

	pgdata_program(program, sizeof program, "psql");
	(void)snprintf(path, sizeof path, "conf/examples/%s.sql", name);
	if (child_run(&child, output, sizeof output) != 0) {
		fail_msg("%s: %s", path, output);
	}
}

static inline void run_up(const char *name, const char *more)
{
	char file[128];

	(void)snprintf(file, sizeof file, "%s.up", name);
	psql_file(file, more);
}

static inline void run_down(const char *name)
{
	char file[128];

	(void)snprintf(file, sizeof file, "%s.down", name);
	psql_file(file, "");
}

/* The definition of the shop, which the caller frees. */
static inline char *dump_shop(void)
{
	char program[512];
	char *const argv[] = { program, "-s", "-n", "shop", "-d",
		(char *)cluster_conninfo(shop.cluster, "shop", "postgres"),
		NULL };
	struct child child = { .argv = argv, .uid = geteuid() };
	char *output = calloc(1, DUMP_BYTES), *line;

	assert_non_null(output);
	pgdata_program(program, sizeof program, "pg_dump");
	if (child_run(&child, output, DUMP_BYTES) != 0) {
		fail_msg("%s", output);
	}
	assert_true(strlen(output) < DUMP_BYTES - 1);
	/* Newer ones write a key of their own into each: \restrict KEY. */
	while ((line = strstr(output, "restrict ")) != NULL) {
		memset(line, '-', strcspn(line, "\n"));
	}
	return output;
}

/* A shop as new, and no job. */
static inline void make_shop(void)
{
	sql_exec(shop.db,
		"DROP SCHEMA IF EXISTS shop CASCADE;"
		"DELETE FROM backfill.jobs; DELETE FROM backfill.events;"
		"DELETE FROM backfill.row_errors");
	psql_file("00_shop", "");
}

static inline int examples_start(void **state)
{
	int code = shop_start(state);

	sql_exec(shop.db,
		"GRANT CREATE ON DATABASE shop TO app;"
		"SET client_min_messages = warning");
	return code;
}

/* ---- the jobs of a plan */

static inline int64_t count_jobs(void)
{
	return sql_int(shop.db, "SELECT count(*) FROM backfill.jobs");
}

/* Until all have succeeded; a failure of one is the test's at once. */
static inline void jobs_wait(const char *plan, const char *jobs)
{
	const char *found;

	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state = 'succeeded') OR bool_or(state IN"
		" ('failed', 'cancelled')) FROM (%s) j",
		jobs);
	found = sql_text(shop.db,
		"SELECT string_agg(concat_ws(' ', name, state, error_sqlstate,"
		" error_message, error_detail), E'\\n' ORDER BY id)"
		" FROM (%s) j WHERE state <> 'succeeded'",
		jobs);
	if (strcmp(found, "(null)") != 0) {
		fail_msg("plan %s: %s", plan, found);
	}
}

static inline void wait_up(const char *plan)
{
	char jobs[512];

	(void)snprintf(jobs, sizeof jobs,
		"SELECT * FROM backfill.jobs WHERE plan = '%s'"
		" AND undoes IS NULL AND name NOT LIKE '%%(undone%%'",
		plan);
	jobs_wait(plan, jobs);
}

/* A plan of which nothing is to be taken back has none. */
static inline void wait_down(const char *plan)
{
	char jobs[512];

	(void)snprintf(jobs, sizeof jobs,
		"SELECT * FROM backfill.jobs WHERE plan = '%s'"
		" AND undoes IS NOT NULL UNION ALL (SELECT * FROM"
		" backfill.jobs WHERE plan = '%s' AND state = 'succeeded'"
		" LIMIT 1)",
		plan, plan);
	jobs_wait(plan, jobs);
}

/* Until the job stands there and waits for somebody, and all before it is
 * done. */
static inline void wait_held(const struct example *e)
{
	char jobs[512];

	(void)snprintf(jobs, sizeof jobs,
		"SELECT * FROM backfill.jobs WHERE plan = '%s'"
		" AND undoes IS NULL AND id < (SELECT id FROM backfill.jobs"
		" WHERE name = '%s.%s') AND name NOT LIKE '%%(undone%%'",
		e->name, e->name, e->held);
	if (sql_true(shop.db, "SELECT EXISTS (%s)", jobs)) {
		jobs_wait(e->name, jobs);
	}
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'queued' AND reason ="
		" 'waits for approve(): it was submitted with hold'"
		" FROM backfill.jobs WHERE name = '%s.%s'",
		e->name, e->held);
}

static inline void approve(const struct example *e)
{
	sql_exec(
		shop.app, "SELECT backfill.approve('%s.%s')", e->name, e->held);
}

/* Up, all of it. */
static inline void go_up(const struct example *e)
{
	run_up(e->name, "");
	if (e->held != NULL) {
		wait_held(e);
		approve(e);
	}
	wait_up(e->name);
}

/* What is left of the plan that was called off is taken back. */
static inline void assert_down(const struct example *e, const char *before)
{
	char *now;

	sql_exec(shop.app, "SELECT backfill.cancel_plan('%s')", e->name);
	assert_true(sql_true(shop.db,
		"SELECT bool_and(state IN ('succeeded', 'cancelled'))"
		" FROM backfill.jobs"));
	run_down(e->name);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state NOT IN ('queued', 'running'))"
		" FROM backfill.jobs");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE undoes IS NOT NULL"
				 " AND state <> 'succeeded'"),
		0);
	now = dump_shop();
	assert_string_equal(now, before);
	free(now);
}

#endif
