/* test_lost.c: backends that are terminated, servers that stop or crash, a
 * login that is locked out, replies that never arrive. A lost connection
 * proves nothing: the daemon reads the checkpoint again and goes on, the
 * same process all the time. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 30, ROWS = 3000 };

static struct cluster *cluster;
static PGconn *db, *app;
static struct daemon *d;
static pid_t pid; /* of the daemon, from first to last */

static void connect_all(void)
{
	PQfinish(app);
	PQfinish(db);
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
}

static int start(void **state)
{
	const char *seed = getenv("BACKFILL_SEED");

	(void)state;
	seed = seed != NULL && *seed != '\0' ? seed : "20240229";
	printf("BACKFILL_SEED=%s\n", seed);
	srand((unsigned)atoi(seed));
	cluster = cluster_start();
	backfill_install(cluster, "t");
	connect_all();
	sql_exec(app,
		"CREATE TABLE speed (ms double precision);"
		"INSERT INTO speed VALUES (1);"
		"CREATE FUNCTION drag() RETURNS integer LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  PERFORM pg_catalog.pg_sleep(ms / 1000) FROM public.speed"
		"   WHERE ms > 0;"
		"  RETURN 0; END $$");
	d = daemon_start(cluster, "t",
		"daemon: {lease: 2s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 100ms}\n");
	pid = daemon_pid(d);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* ---- the job */

static int64_t job;
static const char *table;

static void make_job(const char *name)
{
	table = name;
	sql_exec(app,
		"UPDATE speed SET ms = 1;"
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		name, name, ROWS);
	job = sql_int(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('%s', '%s',"
		" 'n = n + 1 + drag()', 10, 10) RETURNING id",
		name, name);
}

static int64_t column(const char *name)
{
	return sql_int(db,
		"SELECT coalesce(max(%s), 0) FROM backfill.ranges"
		" WHERE job_id = %lld",
		name, (long long)job);
}

static void wait_batches(int more)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT seq >= %lld FROM backfill.ranges WHERE job_id = %lld",
		(long long)column("seq") + more, (long long)job);
}

/* A snapshot is consistent, whatever was lost before. */
static void assert_checkpoint(void)
{
	assert_true(sql_true(db,
		"SELECT (SELECT sum(rows_done) FROM backfill.ranges WHERE"
		" job_id = %lld) = count(*) FILTER (WHERE n = 1) AND"
		" count(*) FILTER (WHERE n NOT IN (0, 1)) = 0 FROM %s",
		(long long)job, table));
}

static void finish(void)
{
	sql_exec(app, "UPDATE speed SET ms = 0");
	sql_exec(app,
		"UPDATE backfill.jobs SET batch_rows = 1000, max_batch_rows ="
		" 1000 WHERE id = %lld",
		(long long)job);
	sql_wait(db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', state, reason)"
				    " FROM backfill.jobs WHERE id = %lld",
				    (long long)job),
		"succeeded");
	assert_checkpoint();
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM %s WHERE n = 1", table),
		ROWS);
	assert_int_equal(column("rows_read"), ROWS);
	/* The same life of the same daemon: nobody took over. */
	assert_true(daemon_alive(d));
	assert_int_equal(daemon_pid(d), pid);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.events WHERE"
				 " job_id = %lld AND event IN ('taken_over',"
				 " 'released', 'failed')",
				 (long long)job),
		0);
}

/* ---- backends that are terminated */

/* The runner's backend, in the middle of a batch or between two of them. */
static void wait_runner(const char *condition)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT bool_or(%s) FROM backfill.ranges r JOIN"
		" pg_stat_activity a ON a.pid = r.runner_pid AND"
		" a.backend_start = r.runner_backend_start"
		" WHERE r.job_id = %lld",
		condition, (long long)job);
}

static void terminate_runner(void)
{
	sql_exec(db,
		"SELECT pg_terminate_backend(runner_pid) FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job);
}

static void wait_epoch_above(int64_t epoch)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT epoch > %lld FROM backfill.ranges WHERE job_id = %lld",
		(long long)epoch, (long long)job);
}

static void test_runner_in_a_batch(void **state)
{
	int64_t epoch;

	(void)state;
	make_job("in_batch");
	wait_batches(3);
	epoch = column("epoch");
	sql_exec(app, "UPDATE speed SET ms = 20");
	wait_runner("a.wait_event = 'PgSleep'");
	terminate_runner();
	assert_checkpoint();
	wait_epoch_above(epoch);
	assert_checkpoint();
	sql_exec(app, "UPDATE speed SET ms = 1");
	wait_batches(3);
	finish();
}

/* While it waits for the row of a hole, its connection is idle at times. */
static void test_runner_between_batches(void **state)
{
	PGconn *holder = cluster_connect(cluster, "t", "app");
	int64_t epoch;

	(void)state;
	make_job("between");
	sql_exec(holder, "BEGIN; SELECT FROM between WHERE id = 5 FOR UPDATE");
	sql_exec(app, "UPDATE speed SET ms = 0");
	sql_wait(db, WAIT_SECONDS,
		"SELECT cursor = hi FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
	for (int i = 0; i < 2; i++) {
		epoch = column("epoch");
		wait_runner("a.state = 'idle'");
		terminate_runner();
		wait_epoch_above(epoch);
	}
	assert_checkpoint();
	sql_exec(holder, "ROLLBACK");
	PQfinish(holder);
	finish();
}

static int64_t incarnation(void)
{
	return sql_int(db, "SELECT max(incarnation) FROM backfill.daemons");
}

/* Returns which it was, once it is gone. */
static int64_t terminate_control(void)
{
	int64_t backend = sql_int(db,
		"SELECT pid FROM pg_stat_activity WHERE usename ="
		" 'backfilld'");

	assert_true(sql_true(db, "SELECT pg_terminate_backend(%lld, 10000)",
		(long long)backend));
	return backend;
}

static void wait_control(int64_t other_than)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT count(*) = 1 AND min(pid) <> %lld"
		" FROM pg_stat_activity WHERE usename = 'backfilld'",
		(long long)other_than);
}

static void test_control(void **state)
{
	int64_t life = incarnation();
	int64_t epoch, ended;

	(void)state;
	make_job("control");
	wait_batches(3);
	epoch = column("epoch");
	for (int i = 0; i < 3; i++) {
		ended = terminate_control();
		wait_batches(3);
		wait_control(ended);
	}
	/* Its runner did not notice. */
	assert_int_equal(column("epoch"), epoch);
	assert_int_equal(incarnation(), life);
	finish();
}

/* Somebody removed its row while it was away: a new life. The job, which is
 * nobody's then, is claimed by it. */
static void test_row_of_the_daemon_removed(void **state)
{
	int64_t life = incarnation();

	(void)state;
	make_job("removed");
	wait_batches(3);
	sql_exec(db,
		"BEGIN; DELETE FROM backfill.daemons;"
		" SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		" WHERE usename = 'backfilld'; COMMIT");
	sql_wait(db, WAIT_SECONDS,
		"SELECT owner > %lld FROM backfill.ranges WHERE job_id = %lld",
		(long long)life, (long long)job);
	wait_batches(3);
	assert_checkpoint();
	assert_true(daemon_alive(d));
	sql_exec(db, "DELETE FROM backfill.events WHERE event = 'taken_over'");
	finish();
}

/* The server claimed a job for the daemon, whose connection broke before it
 * read the reply: the job is its own, and nobody runs it. */
static void test_lost_reply_of_a_claim(void **state)
{
	PGconn *ctl = cluster_connect(cluster, "t", "backfilld");

	(void)state;
	sql_exec(db, "SELECT backfill.stop_all('for a moment')");
	make_job("lost_reply");
	assert_int_equal(kill(pid, SIGSTOP), 0);
	sql_exec(db,
		"SELECT backfill.start_all();"
		"UPDATE backfill.daemons SET lease_until ="
		" clock_timestamp() + interval '1min'");
	/* Unless the server does it on a request that was sent before. */
	(void)sql_int(ctl, "SELECT count(*) FROM backfill.claim(%lld)",
		(long long)incarnation());
	sql_wait(db, WAIT_SECONDS,
		"SELECT state = 'running' AND owner = %lld FROM backfill.jobs j"
		" JOIN backfill.ranges r ON r.job_id = j.id WHERE j.id = %lld",
		(long long)incarnation(), (long long)job);
	PQfinish(ctl);
	assert_int_equal(kill(pid, SIGCONT), 0);
	wait_batches(3);
	sql_exec(db, "DELETE FROM backfill.events WHERE event = 'released'");
	finish();
}

/* Any of our backends, at any moment. */
static void test_random_terminations(void **state)
{
	(void)state;
	make_job("random");
	for (int i = 0; i < 15; i++) {
		wait_batches(1 + rand() % 4);
		(void)usleep((useconds_t)(rand() % 30000));
		sql_exec(db,
			"SELECT pg_terminate_backend(pid) FROM"
			" pg_stat_activity WHERE application_name ~"
			" '^backfilld' AND (%d = 0 OR usename = '%s')",
			rand() % 4, rand() % 3 == 0 ? "backfilld" : "app");
		assert_checkpoint();
	}
	assert_true(column("rows_done") < ROWS);
	finish();
}

/* COMMIT waits for a standby that is not there. A backend that is terminated
 * then has committed, and says nothing but that it ends (pitfall of
 * PostgreSQL's synchronous replication): the batch must not be sent again. */
static void test_runner_while_committing(void **state)
{
	int64_t epoch, done;

	(void)state;
	make_job("committing");
	wait_batches(3);
	sql_exec(db, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	sql_exec(db,
		"SET synchronous_commit = local;"
		" SELECT pg_reload_conf()");
	sql_exec(db,
		"UPDATE backfill.jobs SET synchronous_commit = 'on'"
		" WHERE id = %lld",
		(long long)job);
	for (int i = 0; i < 4; i++) {
		wait_runner("a.wait_event = 'SyncRep'");
		epoch = column("epoch");
		done = column("rows_done");
		terminate_runner();
		wait_epoch_above(epoch);
		/* It had committed, unseen so far. */
		assert_int_equal(column("rows_done"), done + 10);
		assert_checkpoint();
	}
	sql_exec(db, "ALTER SYSTEM RESET synchronous_standby_names");
	sql_exec(db, "SELECT pg_reload_conf()");
	wait_batches(3);
	finish();
}

/* ---- the server */

static void test_server_crash(void **state)
{
	(void)state;
	make_job("crash");
	for (int i = 0; i < 2; i++) {
		wait_batches(3);
		cluster_crash(cluster);
		connect_all();
		assert_checkpoint();
	}
	wait_batches(3);
	assert_true(column("rows_done") < ROWS);
	finish();
}

static void test_server_restart(void **state)
{
	(void)state;
	make_job("restart");
	wait_batches(3);
	cluster_restart(cluster);
	connect_all();
	assert_checkpoint();
	wait_batches(3);
	finish();
}

/* ---- the login */

static void test_runner_may_not_log_in(void **state)
{
	(void)state;
	sql_exec(db, "SELECT backfill.stop_all()");
	make_job("nologin");
	sql_exec(db, "ALTER ROLE app NOLOGIN; SELECT backfill.start_all()");
	sql_wait(db, WAIT_SECONDS,
		"SELECT state = 'running' AND reason ~ '^08001: could not"
		" connect as \"app\": connection to server on socket \"[^\"]*\""
		" failed: FATAL:  role \"app\" is not permitted to log in ->"
		" again in [0-9]+ ms$' FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
	sql_exec(db, "ALTER ROLE app LOGIN");
	wait_batches(3);
	/* It moves: no reason is left. */
	sql_wait(db, WAIT_SECONDS,
		"SELECT reason IS NULL FROM backfill.jobs WHERE id = %lld",
		(long long)job);

	/* The same in mid-job. */
	sql_exec(db, "ALTER ROLE app NOLOGIN");
	terminate_runner();
	sql_wait(db, WAIT_SECONDS,
		"SELECT state = 'running' AND reason ~ '^08001: could not'"
		" FROM backfill.jobs WHERE id = %lld",
		(long long)job);
	assert_checkpoint();
	sql_exec(db, "ALTER ROLE app LOGIN");
	wait_batches(3);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runner_in_a_batch),
		cmocka_unit_test(test_runner_between_batches),
		cmocka_unit_test(test_runner_while_committing),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_row_of_the_daemon_removed),
		cmocka_unit_test(test_lost_reply_of_a_claim),
		cmocka_unit_test(test_random_terminations),
		cmocka_unit_test(test_server_crash),
		cmocka_unit_test(test_server_restart),
		cmocka_unit_test(test_runner_may_not_log_in),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
