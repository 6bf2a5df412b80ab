/* test_blocked.c: applications that want what a batch in flight has locked.
 * They get it after max_blocking_time, not after the batch: it is cancelled,
 * comes back smaller, and each row is changed exactly once all the same.
 * effects.h is the oracle. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "effects.h"
#include "shop.h"

enum { ROWS = 100, XIDS = 120000 };

static const char YAML[] = "daemon: {lease: 5s, poll_interval: 10min}\n"
			   "batch: {}\n"
			   "pace: {max_blocking_time: 300ms}\n";

static PGconn *front; /* the application */
static int64_t job;
static const char *table;

static int start(void **state)
{
	(void)shop_start(state);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	daemon_free(shop.daemon);
	sql_exec(shop.db, "ALTER SYSTEM SET autovacuum_naptime = '1s'");
	shop_set_deadlock_timeout("5min");
	effects_install(shop.db);
	sql_exec(shop.app,
		"CREATE TABLE speed (ms double precision);"
		"INSERT INTO speed VALUES (0);"
		"CREATE FUNCTION nap() RETURNS integer LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  PERFORM pg_catalog.pg_sleep(ms / 1000) FROM public.speed"
		"   WHERE ms > 0;"
		"  RETURN 0; END $$");
	shop.daemon = daemon_start(shop.cluster, "shop", YAML);
	daemon_wait_log(shop.daemon, "-> serving", SHOP_WAIT_SECONDS);
	front = cluster_connect(shop.cluster, "shop", "app");
	sql_exec(front, "SET application_name = 'front'");
	return 0;
}

static int stop(void **state)
{
	PQfinish(front);
	return shop_stop(state);
}

/* What a test that failed left behind is not the next one's. */
static int clean_up(void **state)
{
	(void)state;
	(void)kill(daemon_pid(shop.daemon), SIGCONT);
	gate_open();
	sql_exec(shop.db,
		"SELECT backfill.cancel(id, 'the test has ended')"
		" FROM backfill.jobs WHERE state IN ('queued', 'running')");
	return 0;
}

/* ---- the job and the application */

/* What the application writes is no effect of the job's. */
static void make_table(const char *name, int rows)
{
	table = name;
	effects_make_table(shop.app, name, rows);
	sql_exec(shop.app,
		"DROP TRIGGER note ON %s; CREATE TRIGGER note AFTER UPDATE OF n"
		" ON %s FOR EACH ROW EXECUTE FUNCTION note_effect();"
		"UPDATE %s SET pad = ''",
		name, name, name);
}

static void submit(int batch_rows, const char *with)
{
	job = effects_submit(shop.app, table, table, batch_rows, with);
}

/* A batch at the gate, with rows above id locked. */
static void hold_batch(const char *name, int rows)
{
	make_table(name, rows);
	gate_close(0);
	submit(rows, "gate_pass(id)");
	gate_wait(name);
}

static void finish(int rows)
{
	gate_open();
	job_wait(table, "succeeded");
	effects_check_done(shop.db, table, job, rows);
}

/* It gets what it wants, though the batch is at the gate and stays there. */
static void wants_row(PGconn *who, int id)
{
	sql_async(
		who, "UPDATE %s SET pad = pad || 'x' WHERE id = %d", table, id);
	sql_async_wait(who);
}

static int64_t changed(void)
{
	return sql_int(shop.db, "SELECT sum(n) FROM %s", table);
}

/* Of one batch. */
static int64_t most_rows(void)
{
	return sql_int(shop.db,
		"SELECT max(done - old_done) FROM audit WHERE job = %lld",
		(long long)job);
}

/* "… -> cancelled, again with 25 rows", or in some milliseconds. */
static void assert_logged(PGconn *who, const char *login, const char *with)
{
	char text[200];

	(void)snprintf(text, sizeof text, "%spid %d (%s) has waited ",
		job_in_log(job), PQbackendPID(who), login);
	daemon_wait_log(shop.daemon, text, SHOP_WAIT_SECONDS);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT substr(t, strpos(t, ' s for'), length('%s'))"
			" FROM (SELECT regexp_replace(substr(l, strpos(l, "
			"$$%s$$"
			"  )), '^[^\n]*has waited [0-9]+\\.[0-9]( "
			"s[^\n]*)\n.*$',"
			"  '\\1') AS t FROM (VALUES ($log$%s$log$)) v(l)) x",
			with, text, daemon_log(shop.daemon)),
		with);
}

#define BATCH " s for the batch (max_blocking_time 300ms) -> cancelled, again "

/* ---- */

/* The application has its row while no row of the batch is changed; with the
 * next ones it waits for nobody. */
static void test_row_of_the_batch(void **state)
{
	(void)state;
	make_table("orders", ROWS);
	sql_exec(shop.app, "UPDATE speed SET ms = 120");
	submit(ROWS, "nap()");
	gate_wait("orders");
	sql_async(front,
		"BEGIN; UPDATE orders SET pad = 'mine' WHERE id = 50;"
		"CREATE TEMP TABLE seen AS SELECT sum(n) AS n FROM orders");
	sql_async_wait(front);
	assert_int_equal(sql_int(front, "SELECT n FROM seen"), 0);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '^pid %d \\(app, front\\) has waited"
		" [0-9]+\\.[0-9] s for the batch \\(max_blocking_time 300ms\\)"
		" -> cancelled, again with [0-9]+ rows$'"
		" FROM backfill.progress WHERE name = 'orders'",
		PQbackendPID(front));
	assert_logged(front, "app, front", BATCH "with ");

	/* It may keep the row for as long as it likes. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done > 0 AND reason IS NULL"
		" FROM backfill.progress WHERE name = 'orders'");
	sql_exec(front, "COMMIT");
	sql_exec(shop.app, "UPDATE speed SET ms = 0");
	finish(ROWS);
	assert_in_range(most_rows(), 1, ROWS / 2);
	assert_string_equal(
		sql_text(shop.db, "SELECT pad FROM orders WHERE id = 50"),
		"mine");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT regexp_replace(string_agg(actor || ': ' ||"
			" detail, '; '), '[0-9]+ ms for', 'so many ms for')"
			" FROM backfill.events WHERE job_id = %lld"
			" AND event = 'batch_cancelled'",
			(long long)job),
		sql_text(shop.db,
			"SELECT 'backfilld: pid %d (app, front) had waited so"
			" many ms for the batch (max_blocking_time 300 ms)'",
			PQbackendPID(front)));
}

/* Nothing is changed by then, and nothing while it has the table. */
static void test_lock_of_the_table(void **state)
{
	(void)state;
	hold_batch("ddl", ROWS);
	sql_async(front, "BEGIN; LOCK TABLE ddl IN ACCESS EXCLUSIVE MODE");
	sql_async_wait(front);
	assert_int_equal(sql_int(front, "SELECT sum(n) FROM ddl"), 0);
	assert_logged(front, "app, front", BATCH "with ");
	gate_open();
	sql_exec(front, "COMMIT");
	finish(ROWS);
	assert_in_range(most_rows(), 1, ROWS / 2);
}

/* Whatever a superuser may do, it is no daemon. */
static void test_superuser(void **state)
{
	PGconn *root = cluster_connect(shop.cluster, "shop", "postgres");

	(void)state;
	hold_batch("root", ROWS);
	wants_row(root, 50);
	assert_int_equal(changed(), 0);
	assert_logged(root, "postgres", BATCH "with ");
	finish(ROWS);
	PQfinish(root);
}

/* ---- who does not count */

static void wait_for_lock(int pid)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT waitstart < clock_timestamp() - '1s'::interval"
		" FROM pg_locks WHERE pid = %d AND NOT granted",
		pid);
}

static int runner_pid(const char *name)
{
	return (int)sql_int(shop.db,
		"SELECT runner_pid FROM backfill.progress WHERE name = '%s'",
		name);
}

/* In microseconds: it tells one batch from the next. */
static int64_t batch_began(int runner)
{
	return sql_int(shop.db,
		"SELECT (1000000 * extract(epoch FROM xact_start))::bigint"
		" FROM pg_stat_activity WHERE pid = %d",
		runner);
}

/* Another job, whose batch wants a row that this one's has changed. */
static int start_second_job(void)
{
	effects_make_table(shop.app, "second", 1);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" lock_timeout) VALUES ('second', 'second',"
		" 'n = n + 1 + grab()', '10s')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT a.wait_event_type = 'Lock' FROM backfill.progress p"
		" JOIN pg_stat_activity a ON a.pid = p.runner_pid"
		" WHERE p.name = 'second'");
	return runner_pid("second");
}

/* It vacuums a table whose ids are about to be too old, and then waits for
 * its lock. */
static void wait_for_autovacuum(int runner)
{
	sql_exec(shop.db, "CALL burn(%d)", XIDS);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_or(l.waitstart < clock_timestamp()"
		"  - '1s'::interval)"
		" FROM pg_stat_activity a JOIN pg_locks l USING (pid)"
		" WHERE a.backend_type = 'autovacuum worker'"
		" AND NOT l.granted AND %d = ANY (pg_blocking_pids(pid))",
		runner);
}

/* An autovacuum, the daemon's own login and another job wait for the batch,
 * and an application for somebody else: it stays. Then one waits for it. */
static void test_who_does_not_count(void **state)
{
	PGconn *control = cluster_connect(shop.cluster, "shop", "backfilld");
	PGconn *holder = cluster_connect(shop.cluster, "shop", "app");
	PGconn *waiter = cluster_connect(shop.cluster, "shop", "app");
	int64_t began;
	int runner;

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE common (n integer);"
		"INSERT INTO common VALUES (0);"
		"CREATE TABLE other (n integer);"
		"CREATE TABLE old (n integer)"
		" WITH (autovacuum_freeze_max_age = 100000);"
		"CREATE FUNCTION grab() RETURNS integer LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  UPDATE public.common SET n = n + 1;"
		"  LOCK TABLE public.old IN SHARE UPDATE EXCLUSIVE MODE;"
		"  RETURN 0; END $$");
	sql_exec(shop.db,
		"CREATE PROCEDURE burn(xids integer) LANGUAGE plpgsql AS $$"
		" BEGIN FOR i IN 1..xids LOOP PERFORM pg_current_xact_id();"
		" COMMIT; END LOOP; END $$");
	make_table("busy", ROWS);
	gate_close(0);
	submit(ROWS, "grab() + gate_pass(id)");
	gate_wait("busy");
	runner = runner_pid("busy");
	began = batch_began(runner);

	sql_async(control,
		"SELECT FROM backfill.ranges WHERE job_id = %lld FOR UPDATE",
		(long long)job);
	wait_for_lock(PQbackendPID(control));
	wait_for_lock(start_second_job());
	sql_exec(holder, "BEGIN; LOCK TABLE other");
	sql_async(waiter, "BEGIN; LOCK TABLE other");
	wait_for_lock(PQbackendPID(waiter));
	wait_for_autovacuum(runner);
	assert_int_equal(batch_began(runner), began);

	wants_row(front, 50);
	assert_int_equal(changed(), 0);
	sql_exec(holder, "COMMIT");
	sql_async_wait(waiter);
	finish(ROWS);
	sql_async_wait(control);
	job_wait("second", "succeeded");
	assert_int_equal(sql_int(shop.db, "SELECT sum(n) FROM second"), 1);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE event = 'batch_cancelled'"
				 " AND job_id IN (%lld, %lld)",
				 (long long)job, (long long)job_id("second")),
		1);
	PQfinish(waiter);
	PQfinish(holder);
	PQfinish(control);
}

/* Whether the batch is cancelled when the daemon asks for it. */
static int unblock(PGconn *control, int longest_ms)
{
	return sql_true(control,
		"SELECT u FROM backfill.ranges r,"
		" backfill.unblock(r.owner, r.job_id, r.epoch, %d) u"
		" WHERE r.job_id = %lld",
		longest_ms, (long long)job);
}

/* Asked for, and over by then, or not yet for long: the batch stays. The
 * daemon, which would ask with another limit, stands still meanwhile. */
static void test_nobody_has_waited(void **state)
{
	PGconn *control = cluster_connect(shop.cluster, "shop", "backfilld");
	int64_t began;

	(void)state;
	hold_batch("patient", ROWS);
	began = batch_began(runner_pid("patient"));
	assert_false(unblock(control, 0));
	assert_int_equal(kill(daemon_pid(shop.daemon), SIGSTOP), 0);
	sql_async(front, "UPDATE patient SET pad = 'mine' WHERE id = 50");
	assert_false(unblock(control, 600000));
	assert_int_equal(batch_began(runner_pid("patient")), began);
	assert_int_equal(kill(daemon_pid(shop.daemon), SIGCONT), 0);
	sql_async_wait(front);
	assert_int_equal(changed(), 0);
	finish(ROWS);
	PQfinish(control);
}

/* ---- rows and holes */

/* Each time it wants the row, and each time the row is tried again: no error
 * of the row's. */
static void test_row_alone(void **state)
{
	(void)state;
	make_table("alone", 3);
	gate_close(1);
	job = sql_int(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows, on_row_error)"
		" VALUES ('alone', 'alone', 'n = n + 1 + gate_pass(id)', 1, 1,"
		" 'record') RETURNING id");
	for (int i = 0; i < 4; i++) {
		gate_wait("alone");
		wants_row(front, 2);
		assert_int_equal(changed(), 1);
	}
	assert_logged(front, "app, front", BATCH "in ");
	finish(3);
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws(' ', p.row_errors,"
				    " t.pad) FROM backfill.progress p,"
				    " alone t WHERE name = 'alone'"
				    " AND t.id = 2"),
		"0 xxxx");
}

/* A row that somebody held when the job passed. */
static void test_drain(void **state)
{
	PGconn *holder = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	make_table("drained", 3);
	sql_exec(holder, "BEGIN; SELECT FROM drained WHERE id = 3 FOR UPDATE");
	gate_close(2);
	submit(3, "gate_pass(id)");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT holes = 1 AND rows_done = 2 FROM backfill.progress"
		" WHERE name = 'drained'");
	sql_exec(holder, "COMMIT");
	for (int i = 0; i < 2; i++) {
		gate_wait("drained");
		wants_row(front, 3);
		assert_int_equal(changed(), 2);
	}
	assert_logged(front, "app, front", BATCH "in ");
	finish(3);
	PQfinish(holder);
}

/* More rows than are noted one by one. The window after them stands at the
 * gate until they are free again. */
static void test_window_hole(void **state)
{
	PGconn *holder = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	make_table("windowed", 240);
	sql_exec(holder,
		"BEGIN; SELECT FROM windowed WHERE id <= 120 FOR UPDATE");
	gate_close(0);
	submit(120, "gate_pass(CASE WHEN id > 120 THEN 1 ELSE 2 END)");
	gate_wait("windowed");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.holes"
				 " WHERE job_id = %lld AND is_window",
				 (long long)job),
		1);
	sql_exec(holder, "COMMIT");
	gate_open_to(1);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 120 FROM backfill.progress"
		" WHERE name = 'windowed'");
	gate_wait("windowed");
	wants_row(front, 50);
	assert_int_equal(changed(), 120);
	assert_logged(front, "app, front", BATCH "with ");
	finish(240);
	assert_true(sql_true(shop.db,
		"SELECT max(done - old_done) <= 50 FROM audit"
		" WHERE job = %lld AND old_done > 0",
		(long long)job));
	PQfinish(holder);
}

/* ---- others who cancel, and what cannot be cancelled */

static void test_job_that_is_cancelled(void **state)
{
	(void)state;
	hold_batch("given_up", ROWS);
	sql_async(front, "UPDATE given_up SET pad = 'mine' WHERE id = 50");
	sql_exec(shop.db, "SELECT backfill.cancel('given_up', 'no more')");
	sql_async_wait(front);
	job_wait("given_up", "cancelled");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT r.owner IS NULL FROM backfill.ranges r"
		" WHERE job_id = %lld",
		(long long)job);
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws('|', state, reason,"
				    " error_message) FROM backfill.jobs"
				    " WHERE name = 'given_up'"),
		"cancelled|cancelled by postgres: no more");
	assert_int_equal(changed(), 0);
	effects_check(shop.db, table, job);
}

/* A batch that is committed and waits for a standby: the operator asked for
 * that wait, and a cancel would only end it early. */
static void test_committed_already(void **state)
{
	int runner;

	(void)state;
	make_table("synced", ROWS);
	sql_exec(shop.db, "ALTER SYSTEM SET synchronous_commit = 'local'");
	sql_exec(shop.db,
		"ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	sql_exec(shop.db, "SELECT pg_reload_conf()");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT current_setting('synchronous_standby_names') ="
		" 'nobody' AND current_setting('synchronous_commit') ="
		" 'local'");
	cluster_await_sync(shop.cluster);
	job = sql_int(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows, synchronous_commit)"
		" VALUES ('synced', 'synced', 'n = n + 1', %d, %d, 'on')"
		" RETURNING id",
		ROWS, ROWS);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT a.wait_event = 'SyncRep' AND p.batches = 0"
		" FROM backfill.progress p JOIN pg_stat_activity a"
		" ON a.pid = p.runner_pid WHERE p.name = 'synced'");
	runner = runner_pid("synced");
	sql_async(front, "UPDATE synced SET pad = 'mine' WHERE id = 50");
	wait_for_lock(PQbackendPID(front));
	assert_string_equal(sql_text(shop.db,
				    "SELECT wait_event FROM pg_stat_activity"
				    " WHERE pid = %d",
				    runner),
		"SyncRep");
	assert_int_equal(changed(), 0);

	sql_exec(shop.db, "ALTER SYSTEM RESET synchronous_standby_names");
	sql_exec(shop.db, "ALTER SYSTEM RESET synchronous_commit");
	sql_exec(shop.db, "SELECT pg_reload_conf()");
	sql_async_wait(front);
	finish(ROWS);
	assert_int_equal(most_rows(), ROWS);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE job_id = %lld AND event ="
				 " 'batch_cancelled'",
				 (long long)job),
		0);
}

#define TEST(f) cmocka_unit_test_teardown(f, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_row_of_the_batch),
		TEST(test_lock_of_the_table),
		TEST(test_superuser),
		TEST(test_who_does_not_count),
		TEST(test_nobody_has_waited),
		TEST(test_row_alone),
		TEST(test_drain),
		TEST(test_window_hole),
		TEST(test_job_that_is_cancelled),
		TEST(test_committed_already),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
