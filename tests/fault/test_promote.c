/* test_promote.c: the primary dies in the middle of a job and its standby is
 * promoted; the daemon, which was given both addresses, finds the new one.
 * With asynchronous replication batches that were committed are lost with the
 * old primary, and so is whatever the daemon remembers of them: it believes
 * the checkpoint of the new one, row for row. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "effects.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 60, ROWS = 3000, BATCH_ROWS = 10 };

static struct cluster *primary, *standby;
static struct daemon *d;
static PGconn *db, *app; /* to the primary of the moment */
static int64_t job;

static const char SPEED_SQL[] =
	"CREATE TABLE speed (ms double precision);"
	"INSERT INTO speed VALUES (1);"
	"CREATE FUNCTION drag() RETURNS integer LANGUAGE plpgsql"
	" VOLATILE AS $$ BEGIN"
	"  PERFORM pg_catalog.pg_sleep(ms / 1000) FROM public.speed"
	"   WHERE ms > 0;"
	"  RETURN 0; END $$";

static void connect_to(struct cluster *c)
{
	PQfinish(app);
	PQfinish(db);
	db = cluster_connect(c, "t", "postgres");
	app = cluster_connect(c, "t", "app");
}

/* Each test has servers of its own. */
static int start(void **state)
{
	(void)state;
	primary = cluster_start();
	backfill_install(primary, "t");
	connect_to(primary);
	effects_install(db);
	sql_exec(app, "%s", SPEED_SQL);
	effects_make_table(app, "t", ROWS);
	standby = cluster_start_standby(primary, "standby1");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	daemon_free(d);
	d = NULL;
	PQfinish(app);
	PQfinish(db);
	app = db = NULL;
	cluster_stop(standby);
	cluster_stop(primary);
	return 0;
}

/* ---- the daemon and its job */

static struct daemon *start_daemon(void)
{
	struct daemon *started;
	struct text yaml;

	text_init(&yaml);
	text_add(&yaml, "databases:\n  - name: t\n");
	for (int is_runner = 0; is_runner < 2; is_runner++) {
		text_addf(&yaml,
			"    %s: \"host=%s,%s port=%s,%s dbname=t%s"
			" target_session_attrs=read-write\"\n",
			is_runner ? "runner" : "dsn", cluster_dir(primary),
			cluster_dir(standby), cluster_port(primary),
			cluster_port(standby),
			is_runner ? "" : " user=backfilld");
	}
	text_add(&yaml,
		"    workers: 2\n"
		"    expected_standbys: []\n"
		"daemon: {lease: 10s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 100ms}\n");
	started = daemon_start_yaml(standby, yaml.data);
	text_close(&yaml);
	daemon_wait_log(started, "-> serving", WAIT_SECONDS);
	return started;
}

static void submit(void)
{
	job = effects_submit(app, "promoted", "t", BATCH_ROWS, "drag()");
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

/* What the standby has of the job, whatever the primary has. */
static int64_t rows_on_standby(void)
{
	PGconn *conn = cluster_connect(standby, "t", "postgres");
	int64_t rows = sql_int(conn,
		"SELECT coalesce(sum(rows_done), 0) FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job);

	PQfinish(conn);
	return rows;
}

/* From the death of the old primary on, what counts is on the new one. */
static void fail_over(void)
{
	cluster_halt(primary);
	cluster_promote(standby);
	connect_to(standby);
}

static void finish(void)
{
	pid_t pid = daemon_pid(d);

	effects_check(db, "t", job);
	wait_batches(3);
	effects_check(db, "t", job);
	assert_true(column("rows_done") < ROWS);
	sql_exec(app, "UPDATE speed SET ms = 0");
	sql_exec(app,
		"UPDATE backfill.jobs SET batch_rows = 1000, max_batch_rows ="
		" 1000 WHERE id = %lld",
		(long long)job);
	while (!sql_true(db,
		"SELECT state IN ('succeeded', 'failed') FROM"
		" backfill.jobs WHERE id = %lld",
		(long long)job)) {
		effects_check(db, "t", job);
	}
	effects_check_done(db, "t", job, ROWS);
	/* The same life of the same daemon. */
	assert_true(daemon_alive(d));
	assert_int_equal(daemon_pid(d), pid);
	assert_int_equal(daemon_stop(d), 0);
}

/* ---- asynchronous: what the standby lacks is lost */

static void test_lost_batches(void **state)
{
	int64_t kept, done;

	(void)state;
	d = start_daemon();
	submit();
	wait_batches(5);
	cluster_catch_up(standby, primary);
	cluster_cut_off(standby);
	wait_batches(10);
	kept = rows_on_standby();
	done = column("rows_done");
	assert_true(kept > 0);
	assert_true(done >= kept + 5 * BATCH_ROWS);
	fail_over();
	finish();
}

/* Rows that somebody held: the new primary knows the holes, and the holder
 * died with the old one. Batches and holes in them are lost. */
static void test_lost_holes(void **state)
{
	PGconn *holder = cluster_connect(primary, "t", "app");

	(void)state;
	sql_exec(holder,
		"BEGIN; SELECT FROM t WHERE id < 2000 AND id %% 7 = 3"
		" FOR UPDATE");
	d = start_daemon();
	submit();
	wait_batches(5);
	cluster_catch_up(standby, primary);
	cluster_cut_off(standby);
	wait_batches(5);
	assert_true(sql_true(db, "SELECT count(*) > 5 FROM backfill.holes"));
	fail_over();
	PQfinish(holder);
	finish();
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.holes"), 0);
}

/* The new primary knows the job, and not that anybody began it. */
static void test_lost_beginning(void **state)
{
	(void)state;
	d = start_daemon();
	sql_exec(db, "SELECT backfill.stop_all('for a moment')");
	submit();
	cluster_catch_up(standby, primary);
	cluster_cut_off(standby);
	sql_exec(db, "SELECT backfill.start_all()");
	wait_batches(5);
	fail_over();
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.ranges"
				 " WHERE job_id = %lld",
				 (long long)job),
		0);
	sql_exec(db, "SELECT backfill.start_all()");
	finish();
}

/* The runner lost its connection, and the daemon took the range once more:
 * the new primary has an epoch that the daemon has left behind. */
static void test_lost_epoch(void **state)
{
	int64_t epoch;

	(void)state;
	d = start_daemon();
	submit();
	wait_batches(5);
	epoch = column("epoch");
	cluster_catch_up(standby, primary);
	cluster_cut_off(standby);
	sql_exec(db,
		"SELECT pg_terminate_backend(runner_pid) FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job);
	sql_wait(db, WAIT_SECONDS,
		"SELECT epoch > %lld FROM backfill.ranges WHERE job_id = %lld",
		(long long)epoch, (long long)job);
	wait_batches(5);
	fail_over();
	finish();
}

/* The standby was cut off before the daemon came: the new primary has never
 * heard of it, nor of its job. Another daemon, which comes first, gets the
 * number that the lost one had, and so does another's job, on another
 * table. */
static void test_lost_life(void **state)
{
	struct daemon *other;
	int64_t life;

	(void)state;
	cluster_cut_off(standby);
	d = start_daemon();
	submit();
	wait_batches(5);
	life = column("owner");
	assert_int_equal(kill(daemon_pid(d), SIGSTOP), 0);
	fail_over();
	effects_make_table(app, "another", ROWS);
	assert_int_equal(
		effects_submit(app, "another", "another", BATCH_ROWS, "drag()"),
		job);
	other = start_daemon();
	wait_batches(5);
	assert_int_equal(column("owner"), life);
	assert_int_equal(kill(daemon_pid(d), SIGCONT), 0);
	daemon_wait_log(d, "is not registered -> connect again", WAIT_SECONDS);
	sql_wait(db, WAIT_SECONDS,
		"SELECT count(*) = 2 FROM backfill.daemons"
		" WHERE lease_until > clock_timestamp()");
	wait_batches(3);
	effects_check(db, "another", job);
	sql_exec(app, "UPDATE speed SET ms = 0");
	sql_wait(db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
	effects_check_done(db, "another", job, ROWS);
	/* The woken one has left it alone. */
	assert_int_equal(column("epoch"), 1);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM t WHERE n <> 0"), 0);
	assert_int_equal(daemon_stop(other), 0);
	daemon_free(other);
	assert_int_equal(daemon_stop(d), 0);
}

/* ---- synchronous: what the client was told is kept */

static void make_synchronous(void)
{
	sql_exec(db, "ALTER SYSTEM SET synchronous_standby_names = 'standby1'");
	sql_exec(db, "SELECT pg_reload_conf()");
	sql_wait(db, WAIT_SECONDS,
		"SELECT sync_state = 'sync' FROM pg_stat_replication");
	sql_exec(app,
		"UPDATE backfill.jobs SET synchronous_commit = 'on'"
		" WHERE id = %lld",
		(long long)job);
}

static void test_synchronous(void **state)
{
	int64_t seen;

	(void)state;
	d = start_daemon();
	submit();
	wait_batches(5);
	make_synchronous();
	wait_batches(10);
	/* Visible to others: the standby has it. */
	seen = column("rows_done");
	cluster_halt(primary);
	cluster_promote(standby);
	connect_to(standby);
	assert_true(column("rows_done") >= seen);
	finish();
}

/* A COMMIT that waits for the standby: the old primary has it, the new one
 * has not. */
static void test_commit_in_doubt(void **state)
{
	int64_t seen;

	(void)state;
	d = start_daemon();
	submit();
	wait_batches(5);
	make_synchronous();
	wait_batches(3);
	cluster_cut_off(standby);
	sql_wait(db, WAIT_SECONDS,
		"SELECT bool_or(a.wait_event = 'SyncRep') FROM"
		" backfill.ranges r JOIN pg_stat_activity a"
		" ON a.pid = r.runner_pid");
	seen = column("rows_done");
	fail_over();
	assert_true(column("rows_done") >= seen);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lost_batches, start, stop),
		cmocka_unit_test_setup_teardown(test_lost_holes, start, stop),
		cmocka_unit_test_setup_teardown(
			test_lost_beginning, start, stop),
		cmocka_unit_test_setup_teardown(test_lost_epoch, start, stop),
		cmocka_unit_test_setup_teardown(test_lost_life, start, stop),
		cmocka_unit_test_setup_teardown(test_synchronous, start, stop),
		cmocka_unit_test_setup_teardown(
			test_commit_in_doubt, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
