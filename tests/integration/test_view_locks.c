/* test_view_locks.c: the view backfill.locks names who waits for whom, where
 * a job is one of the two, and to nobody who may not see the job. */
#include <stdio.h>

#include "cmocka_all.h"
#include "shop.h"

/* Nobody's wait ends while we look. */
static const char YAML[] = "daemon: {lease: 1s, poll_interval: 500ms}\n"
			   "batch: {lock_timeout: 10s}\n"
			   "pace: {max_blocking_time: 1min}\n";

static PGconn *front;

static int start(void **state)
{
	(void)shop_start(state);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	daemon_free(shop.daemon);
	shop.daemon = daemon_start(shop.cluster, "shop", YAML);
	daemon_wait_log(shop.daemon, "-> serving", SHOP_WAIT_SECONDS);
	sql_exec(shop.db,
		"CREATE ROLE stranger LOGIN; GRANT backfill_submit TO stranger;"
		"CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher;"
		"CREATE ROLE chief LOGIN; GRANT backfill_submit, backfill_admin"
		" TO chief; CREATE ROLE nobody LOGIN");
	sql_exec(shop.app,
		"CREATE TABLE \"Big Orders\" (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO \"Big Orders\" SELECT generate_series(1, 50)");
	front = cluster_connect(shop.cluster, "shop", "chief");
	sql_exec(shop.app, "GRANT ALL ON \"Big Orders\" TO chief");
	sql_exec(front, "SET application_name = 'front'");
	return 0;
}

static int stop(void **state)
{
	PQfinish(front);
	return shop_stop(state);
}

static int runner_pid(void)
{
	return (int)sql_int(
		shop.db, "SELECT max(runner_pid) FROM backfill.ranges");
}

/* All that it shows, but for the time. */
static const char *locks(PGconn *conn)
{
	return sql_text(conn,
		"SELECT coalesce(string_agg(concat_ws('|', job_id, job_name,"
		" direction, waiting_pid, waiting_user, waiting_application,"
		" blocking_pid, blocking_user, blocking_application, locktype,"
		" mode, relation, CASE WHEN wait_time >= '0' AND wait_time <"
		" '10min' THEN 'a while' END), E'\n'), '') FROM "
		"backfill.locks");
}

static void wait_for_rows(int count)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) = %d FROM backfill.locks", count);
}

/* What those see who may see the job, and nobody else. */
static void assert_seen_by(const char *role, const char *wanted)
{
	PGconn *conn = cluster_connect(shop.cluster, "shop", role);

	assert_string_equal(locks(conn), wanted);
	PQfinish(conn);
}

static void assert_shows(const char *wanted)
{
	struct sql_failure failure;
	PGconn *nobody = cluster_connect(shop.cluster, "shop", "nobody");

	assert_seen_by("postgres", wanted);
	assert_seen_by("app", wanted);
	assert_seen_by("watcher", wanted);
	assert_seen_by("chief", wanted);
	assert_seen_by("backfilld", wanted);
	assert_seen_by("stranger", "");
	sql_fails(nobody, &failure, "SELECT FROM backfill.locks");
	assert_string_equal(failure.sqlstate, "42501");
	PQfinish(nobody);
}

/* Two wait: for the row, and behind the first one, which is not our matter. */
static void test_job_blocks(void **state)
{
	PGconn *second = cluster_connect(shop.cluster, "shop", "app");
	char wanted[400];

	(void)state;
	gate_close(0);
	job_submit("blocks", "\"Big Orders\"", 50, "n = n + 1 + gate_pass(id)",
		NULL, NULL);
	gate_wait("blocks");
	assert_string_equal(locks(shop.db), "");
	sql_async(front, "UPDATE \"Big Orders\" SET n = n WHERE id = 7");
	wait_for_rows(1);
	sql_async(second, "UPDATE \"Big Orders\" SET n = n WHERE id = 7");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT %d = ANY (pg_blocking_pids(%d))", PQbackendPID(front),
		PQbackendPID(second));
	(void)snprintf(wanted, sizeof wanted,
		"%lld|blocks|blocks|%d|chief|front|%d|app|backfilld %lld/1|"
		"transactionid|ShareLock|public.\"Big Orders\"|a while",
		(long long)job_id("blocks"), PQbackendPID(front), runner_pid(),
		(long long)job_id("blocks"));
	assert_shows(wanted);
	gate_open();
	sql_async_wait(front);
	sql_async_wait(second);
	job_wait("blocks", "succeeded");
	assert_string_equal(locks(shop.db), "");
	PQfinish(second);
}

static void test_job_waits(void **state)
{
	char wanted[400];

	(void)state;
	gate_close(10);
	job_submit("waits", "\"Big Orders\"", 10, "n = n + 1 + gate_pass(id)",
		NULL, NULL);
	gate_wait("waits");
	sql_async(front, "BEGIN; LOCK TABLE \"Big Orders\" IN SHARE MODE");
	gate_open_to(20);
	sql_async_wait(front);
	wait_for_rows(1);
	(void)snprintf(wanted, sizeof wanted,
		"%lld|waits|waits|%d|app|backfilld %lld/1|%d|chief|front|"
		"relation|RowExclusiveLock|public.\"Big Orders\"|a while",
		(long long)job_id("waits"), runner_pid(),
		(long long)job_id("waits"), PQbackendPID(front));
	assert_shows(wanted);
	gate_open();
	sql_exec(front, "COMMIT");
	job_wait("waits", "succeeded");
}

/* It has no pid; the row's table is known all the same. */
static void test_prepared_transaction(void **state)
{
	char wanted[400];

	(void)state;
	gate_close(10);
	job_submit("prepared", "\"Big Orders\"", 10,
		"n = n + 1 + gate_pass(id)", NULL, NULL);
	gate_wait("prepared");
	sql_exec(front,
		"BEGIN; UPDATE \"Big Orders\" SET n = n WHERE id = 47;"
		"PREPARE TRANSACTION 'prepared'");
	gate_open();
	wait_for_rows(1);
	(void)snprintf(wanted, sizeof wanted,
		"%lld|prepared|waits|%d|app|backfilld %lld/1|0|transactionid|"
		"ShareLock|public.\"Big Orders\"|a while",
		(long long)job_id("prepared"), runner_pid(),
		(long long)job_id("prepared"));
	assert_seen_by("postgres", wanted);
	sql_exec(front, "COMMIT PREPARED 'prepared'");
	job_wait("prepared", "succeeded");
}

/* The daemon died, and the pid that it left is another session's by now. */
static void test_pid_of_another(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "chief");

	(void)state;
	gate_close(0);
	job_submit("died", "\"Big Orders\"", 50, "n = n + 1 + gate_pass(id)",
		NULL, NULL);
	gate_wait("died");
	sql_async(front, "BEGIN; LOCK TABLE \"Big Orders\"");
	wait_for_rows(1);
	daemon_kill(shop.daemon);
	sql_exec(shop.db, "SELECT pg_terminate_backend(%d)", runner_pid());
	sql_async_wait(front);
	sql_exec(shop.db,
		"UPDATE backfill.ranges SET runner_pid = %d"
		" WHERE job_id = %lld",
		PQbackendPID(front), (long long)job_id("died"));
	sql_async(other, "SELECT FROM \"Big Orders\"");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT %d = ANY (pg_blocking_pids(%d))", PQbackendPID(front),
		PQbackendPID(other));
	assert_string_equal(locks(shop.db), "");
	sql_exec(front, "COMMIT");
	sql_async_wait(other);
	gate_open();
	shop_restart_daemon();
	job_wait("died", "succeeded");
	PQfinish(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job_blocks),
		cmocka_unit_test(test_job_waits),
		cmocka_unit_test(test_prepared_transaction),
		cmocka_unit_test(test_pid_of_another),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
