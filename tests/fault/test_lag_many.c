/* test_lag_many.c: several daemons on one database that has a standby. As
 * many jobs run as one daemon may run, over all of them; when the standby
 * lags no batch begins anywhere; each row is changed exactly once. */
#include <signal.h>
#include <stdio.h>

#include "cmocka_all.h"
#include "effects.h"
#include "lag.h"

enum { WORKERS = 2, JOBS = 12, MOST_DAEMONS = 3 };

static struct daemon *daemons[MOST_DAEMONS];
static int64_t jobs[JOBS];
static char names[JOBS][32];

/* When a job began to run and when it did so no more, as the transactions
 * say that did it: an end that is told before a beginning was over then. */
static int start(void **state)
{
	(void)lag_start(state);
	sql_exec(shop.db,
		"CREATE TABLE runs (job bigint, at timestamptz, is_begin"
		" boolean);"
		"CREATE FUNCTION note_run() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.runs VALUES (NEW.id,"
		"   pg_catalog.clock_timestamp(), NEW.state = 'running');"
		"  RETURN NULL; END $$;"
		"CREATE TRIGGER note_run AFTER UPDATE ON backfill.jobs"
		" FOR EACH ROW WHEN (OLD.state <> NEW.state AND 'running' IN"
		" (OLD.state, NEW.state)) EXECUTE FUNCTION note_run()");
	return 0;
}

static void submit(const char *prefix)
{
	sql_exec(shop.db, "TRUNCATE runs");
	for (int i = 0; i < JOBS; i++) {
		(void)snprintf(names[i], sizeof names[i], "%s_%d", prefix, i);
		jobs[i] = lag_submit(names[i]);
	}
}

static void start_daemons(int count)
{
	for (int i = 0; i < count; i++) {
		daemons[i] = lag_daemon(LAG_EXPECTED,
			"daemon: {lease: 1s, poll_interval: 100ms}\n" LAG_PACE);
	}
}

static int64_t running(void)
{
	return sql_int(shop.db,
		"SELECT count(*) FROM backfill.jobs WHERE state = 'running'");
}

/* Of all moments, the one with the most. */
static int64_t most_running(void)
{
	return sql_int(shop.db,
		"SELECT max(n) FROM (SELECT sum(CASE WHEN is_begin THEN 1"
		" ELSE -1 END) OVER (ORDER BY at) AS n FROM runs) AS s");
}

static void wait_workers_busy(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) = %d FROM backfill.ranges r"
		" JOIN pg_stat_activity a ON a.pid = r.runner_pid"
		" WHERE a.state = 'active' AND a.wait_event = 'PgSleep'",
		WORKERS);
}

/* Each daemon has asked for work several times. */
static void wait_looks(void)
{
	for (int i = 0; i < 2; i++) {
		sql_exec(shop.db, "NOTIFY backfill");
		lag_assert_still(jobs[0], 2);
	}
}

static void finish(void)
{
	gate_open();
	for (int i = 0; i < JOBS; i++) {
		lag_finish(names[i], jobs[i]);
	}
}

static void share_the_workers(const char *prefix, int count)
{
	start_daemons(count);
	gate_close(LAG_GATE);
	submit(prefix);
	wait_workers_busy();
	wait_looks();
	assert_int_equal(running(), WORKERS);
	finish();
	assert_int_equal(most_running(), WORKERS);
	/* Each ran once, from first to last. */
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM runs"), 2 * JOBS);
}

static void test_two_daemons(void **state)
{
	(void)state;
	share_the_workers("two", 2);
}

static void test_three_daemons(void **state)
{
	(void)state;
	share_the_workers("three", 3);
}

/* The owner of two jobs dies: another takes both over, and no third one
 * begins before that, nor after. */
static void test_one_of_three_dies(void **state)
{
	int64_t owner;

	(void)state;
	start_daemons(3);
	gate_close(LAG_GATE);
	submit("dies");
	wait_workers_busy();
	owner = sql_int(shop.db,
		"SELECT owner FROM backfill.ranges WHERE job_id = %lld",
		(long long)jobs[0]);
	for (int i = 0; i < MOST_DAEMONS; i++) {
		if (sql_true(shop.db,
			    "SELECT pid = %d FROM backfill.daemons"
			    " WHERE incarnation = %lld",
			    (int)daemon_pid(daemons[i]), (long long)owner)) {
			daemon_kill(daemons[i]);
		}
	}
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT owner <> %lld FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)owner, (long long)jobs[0]);
	wait_workers_busy();
	assert_int_equal(running(), WORKERS);
	finish();
	assert_int_equal(most_running(), WORKERS);
}

/* Whoever has the two jobs. */
static void test_all_are_held(void **state)
{
	(void)state;
	start_daemons(2);
	gate_close(LAG_GATE);
	submit("held");
	wait_workers_busy();
	cluster_pause_replay(lag_standby);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) = %d AND bool_and(s.value > s.limit_value)"
		" FROM backfill.ranges r JOIN backfill.signals s"
		" ON s.daemon = r.owner WHERE s.target = 'standby1' AND"
		" r.finished_at IS NULL",
		WORKERS);
	gate_open();
	for (int i = 0; i < WORKERS; i++) {
		lag_wait_held(jobs[i], LAG_ABOVE("standby1"));
	}
	lag_assert_still(jobs[0], 3);
	lag_assert_still(jobs[1], 3);
	assert_int_equal(running(), WORKERS);
	cluster_resume_replay(lag_standby);
	finish();
	assert_int_equal(most_running(), WORKERS);
}

/* The last word of a daemon whose jobs have ended is that it has none: the
 * others have its part of the rate then. It is said until it is heard. */
static void test_part_is_given_back(void **state)
{
	int64_t job;

	(void)state;
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	job = lag_submit_at_gate("part");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT jobs = 1 FROM backfill.daemons"
		" ORDER BY incarnation DESC LIMIT 1");
	sql_exec(shop.db, "BEGIN; SELECT FROM backfill.budget FOR UPDATE");
	sql_exec(shop.app, "SELECT backfill.cancel(%lld)", (long long)job);
	/* Long enough for the last word to be lost. */
	sql_wait(shop.app, SHOP_WAIT_SECONDS,
		"SELECT r.owner IS NULL AND j.finished_at + interval '3 s' <"
		" clock_timestamp() FROM backfill.ranges r JOIN backfill.jobs j"
		" ON j.id = r.job_id WHERE j.id = %lld",
		(long long)job);
	sql_exec(shop.db, "COMMIT");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT jobs = 0 FROM backfill.daemons"
		" ORDER BY incarnation DESC LIMIT 1");
}

/* Who may run a job may also lock its range, and have the daemons look at the
 * queue all the time: what waits for it are not the samples of the lag. A
 * machine that stalls keeps a sample back as well, but not again and again. */
static void test_locked_range_holds_up_no_sample(void **state)
{
	PGconn *evil = cluster_connect(shop.cluster, "shop", "app");
	struct daemon *d;
	int64_t locked, job;

	(void)state;
	d = lag_daemon(LAG_EXPECTED,
		"daemon: {lease: 20s, poll_interval: 500ms}\n" LAG_PACE);
	locked = lag_submit_at_gate("locked");
	sql_exec(shop.app, "SELECT backfill.pause(%lld)", (long long)locked);
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT owner IS NULL FROM backfill.ranges WHERE job_id = %lld",
		(long long)locked);
	sql_exec(evil,
		"BEGIN; SELECT backfill.attach(r.job_id, 1, r.epoch, now())"
		" FROM backfill.ranges r WHERE job_id = %lld",
		(long long)locked);
	job = lag_submit("beside");
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET max_rows_per_second = 10"
		" WHERE id = %lld",
		(long long)job);
	sql_exec(shop.app, "SELECT backfill.resume(%lld)", (long long)locked);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"NOTIFY backfill; SELECT state = 'succeeded' FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
	assert_in_range(daemon_count_log(d, "no sample for"), 0, 2);
	PQfinish(evil);
	lag_finish("locked", locked);
}

#define TEST(test) cmocka_unit_test_teardown(test, lag_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_two_daemons),
		TEST(test_three_daemons),
		TEST(test_one_of_three_dies),
		TEST(test_all_are_held),
		TEST(test_part_is_given_back),
		TEST(test_locked_range_holds_up_no_sample),
	};

	return cmocka_run_group_tests(tests, start, lag_stop);
}
