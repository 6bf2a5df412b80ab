/* recipe_drive.h: what the tests of recipes and plans share: a database with
 * the schema, app, who may submit, and what a plan's jobs say. No daemon
 * runs: what a step does is the business of the tests of its kind. */
#ifndef BACKFILL_TESTS_RECIPE_DRIVE_H
#define BACKFILL_TESTS_RECIPE_DRIVE_H

#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db;  /* postgres */
static PGconn *app; /* may submit; owns schema shop */
static char notices[4096];

static inline void keep_notice(void *arg, const PGresult *result)
{
	const int fields[] = { PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL,
		PG_DIAG_MESSAGE_HINT };

	(void)arg;
	for (int i = 0; i < 3; i++) {
		const char *text = PQresultErrorField(result, fields[i]);
		size_t used = strlen(notices);

		if (text != NULL) {
			(void)snprintf(notices + used, sizeof notices - used,
				"%s|", text);
		}
	}
}

static inline int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	sql_exec(db,
		"CREATE ROLE admin LOGIN; GRANT backfill_admin TO admin;"
		"CREATE ROLE stranger LOGIN; GRANT backfill_submit TO stranger;"
		"CREATE ROLE worker LOGIN; GRANT backfill_submit TO worker;"
		"GRANT worker TO app");
	app = cluster_connect(cluster, "t", "app");
	(void)PQsetNoticeReceiver(app, keep_notice, NULL);
	return 0;
}

static inline int stop(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* Each test has the tables of its own, and no job. */
static inline int create_shop(void **state)
{
	(void)state;
	sql_exec(db,
		"CREATE SCHEMA shop AUTHORIZATION app;"
		"ALTER SEQUENCE backfill.jobs_id_seq RESTART");
	sql_exec(app,
		"SET search_path = shop;"
		"CREATE TABLE users (id bigint PRIMARY KEY, email varchar(20)"
		" NOT NULL DEFAULT 'none', n integer);"
		"CREATE TABLE orders (id bigint PRIMARY KEY, owner text);"
		"CREATE TABLE \"Odd, Name\" (id int PRIMARY KEY,"
		" \"Odd, Column\" text COLLATE \"C\")");
	notices[0] = '\0';
	return 0;
}

static inline int drop_shop(void **state)
{
	(void)state;
	sql_exec(app, "ROLLBACK; RESET ALL");
	sql_exec(db,
		"DROP SCHEMA shop CASCADE; DELETE FROM backfill.jobs;"
		"DELETE FROM backfill.events; DELETE FROM backfill.row_errors");
	return 0;
}

/* The SQL comes last, as it may have arguments. */
#define FAILS(conn, state, text, told, advice, ...)                            \
	do {                                                                   \
		struct sql_failure failure;                                    \
                                                                               \
		sql_fails(conn, &failure, __VA_ARGS__);                        \
		assert_string_equal(failure.message, text);                    \
		assert_string_equal(failure.sqlstate, state);                  \
		assert_string_equal(failure.detail, told);                     \
		assert_string_equal(failure.hint, advice);                     \
	} while (0)

/* A line per job of the plan that is not taken back: what the job is, and
 * last the place in the plan of the job that it depends on, and "held". */
static const char STEPS[] =
	"SELECT string_agg(concat_ws('|', right(name, -length(plan) - 1), kind,"
	" target, object_name, definition, 'SET ' || set_clause,"
	" 'FROM ' || from_clause, 'WHERE ' || where_clause,"
	" 'INTO ' || archive_table, 'undo ' || undo,"
	" 'after ' || (SELECT string_agg(substring(right(d.name,"
	" -length(d.plan) - 1) FROM '\\d+'), ',') FROM backfill.jobs d"
	" WHERE d.id = ANY (j.depends_on)), CASE WHEN hold THEN 'held' END),"
	" E'\\n' ORDER BY id) FROM backfill.jobs j WHERE plan = '%s'"
	" AND undoes IS NULL AND name NOT LIKE '%%(undone%%'";

static inline void assert_steps(const char *plan, const char *steps)
{
	assert_string_equal(sql_text(db, STEPS, plan), steps);
}

/* Submit, and once more: the same ids, and no job more. */
static inline void submit(const char *call)
{
	char ids[256];
	int64_t count;

	(void)snprintf(ids, sizeof ids, "%s",
		sql_text(app, "SELECT backfill.%s", call));
	count = sql_int(db, "SELECT count(*) FROM backfill.jobs");
	assert_string_equal(sql_text(app, "SELECT backfill.%s", call), ids);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM backfill.jobs"), count);
	assert_string_equal(
		sql_text(db,
			"SELECT array_agg(id ORDER BY id) FROM backfill.jobs"
			" WHERE plan = (SELECT plan FROM backfill.jobs WHERE id"
			" = ('%s'::bigint[])[1]) AND undoes IS NULL"
			" AND name NOT LIKE '%%(undone%%'",
			ids),
		ids);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, create_shop, drop_shop)

#endif
