/* ctl_drive.h: backfillctl over a cluster of its own, with a schema and no
 * daemon: the tests put jobs into the states that a daemon would. For the
 * test_ctl*.c only. Logins: app submits, mon is only in pg_monitor, low is in
 * nothing, steward is in backfill_submit but not in app. */
#ifndef BACKFILL_TESTS_CTL_DRIVE_H
#define BACKFILL_TESTS_CTL_DRIVE_H

#include "child.h"
#include "ctl_output.h"
#include "pgdata.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 30 };

static PGconn *shop; /* as postgres */
static PGconn *app;

static inline int start_cluster(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	shop = cluster_connect(cluster, "shop", "postgres");
	app = cluster_connect(cluster, "shop", "app");
	sql_exec(shop,
		"CREATE ROLE mon LOGIN IN ROLE pg_monitor;"
		"CREATE ROLE low LOGIN;"
		"CREATE ROLE steward LOGIN IN ROLE backfill_submit");
	sql_exec(app, "CREATE TABLE users (id bigint PRIMARY KEY, a text)");
	return 0;
}

static inline int stop_cluster(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(shop);
	cluster_stop(cluster);
	return 0;
}

/* Ids begin at 1 in each test, so that whole screens can be compared. */
static inline int empty_queue(void **state)
{
	(void)state;
	sql_exec(shop,
		"SET client_min_messages = warning;"
		"TRUNCATE backfill.jobs, backfill.ranges, backfill.holes,"
		" backfill.row_errors, backfill.events, backfill.daemons,"
		" backfill.stop"
		" RESTART IDENTITY");
	return 0;
}

/* ---- helpers */

static inline void submit(const char *name)
{
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause) VALUES ('%s', 'users', 'a = ''x''',"
		" 'a IS NULL')",
		name);
}

/* A live daemon claims the first job that may run. */
static inline void claim(void)
{
	sql_exec(shop,
		"SELECT backfill.register('db1', 4711, '1', '10min');"
		"SELECT * FROM backfill.claim(1)");
}

/* The first job is more than half done. */
static inline void run_for_an_hour(void)
{
	submit("orders.amount_cents");
	claim();
	sql_exec(shop,
		"UPDATE backfill.ranges SET hi = '{119412887}',"
		" cursor = '{64120331}', rows_total_estimate = 119200000,"
		" rows_read = 64120331, rows_done = 64000001,"
		" batches = 15202, rows_per_second = 18400,"
		" rows_per_second_5min = 18400,"
		" batch_rows = 4200, begun_at = now(),"
		" checkpoint_at = now() - interval '130 min';"
		"UPDATE backfill.jobs SET"
		" started_at = now() - interval '62min 10s'");
}

static inline int shell(const char *command)
{
	const char *const env[] = { "PGHOST", cluster_dir(cluster), "PGPORT",
		cluster_port(cluster), "PGUSER", "postgres", "PGDATABASE",
		"shop", "BUILD", pgdata_build_dir(), NULL };
	char *const argv[] = { "/bin/sh", "-c", (char *)command, NULL };
	struct child child = { .argv = argv, .env = env, .output = -1 };

	return child_run(&child, output, sizeof output);
}

/* Start backfillctl, its output to a file descriptor. */
static inline pid_t start(int fd, const char *command, const char *job)
{
	char program[512];
	const char *const env[] = { "PGHOST", cluster_dir(cluster), "PGPORT",
		cluster_port(cluster), "PGUSER", "postgres", "PGDATABASE",
		"shop", NULL };
	char *const argv[] = { program, (char *)command, (char *)job, NULL };
	struct child child = { .argv = argv, .env = env, .output = fd };

	(void)snprintf(
		program, sizeof program, "%s/backfillctl", pgdata_build_dir());
	return child_start(&child);
}

#define TEST(name) cmocka_unit_test_setup(name, empty_queue)

#endif
