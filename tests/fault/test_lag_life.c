/* test_lag_life.c: what may happen to a job while it is held: it is paused,
 * cancelled, stopped, its hours end, its daemon ends, dies or freezes. Each
 * acts at once, though nothing of the hold has changed, and gives the job
 * back with its checkpoint; whoever has the job next holds it too. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "effects.h"
#include "lag.h"

static struct daemon *d;
static int64_t job;
static const char *table;

/* Three batches are committed; the standby lags from now on. */
static void start_held(const char *name, const char *sections)
{
	table = name;
	d = lag_daemon(LAG_EXPECTED, sections);
	job = lag_submit_at_gate(name);
	cluster_pause_replay(lag_standby);
	lag_wait_signal("standby1", "value > limit_value");
	gate_open();
	lag_wait_held(job, LAG_ABOVE("standby1"));
}

static void wait_released(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT r.owner IS NULL AND NOT EXISTS (SELECT FROM"
		" pg_stat_activity a WHERE a.application_name ="
		" format('backfilld %%s/1', r.job_id))"
		" FROM backfill.ranges r WHERE r.job_id = %lld",
		(long long)job);
}

/* Nothing was done but the three batches. */
static void assert_job(const char *wanted)
{
	assert_string_equal(sql_text(shop.db,
				    "SELECT format('%%s: %%s', state, reason)"
				    " FROM backfill.progress WHERE id = %lld",
				    (long long)job),
		wanted);
	assert_int_equal(sql_int(shop.db,
				 "SELECT seq FROM backfill.ranges"
				 " WHERE job_id = %lld",
				 (long long)job),
		3);
	effects_check(shop.db, table, job);
}

static void finish(void)
{
	cluster_resume_replay(lag_standby);
	lag_finish(table, job);
}

/* ---- a person */

static void test_pause(void **state)
{
	(void)state;
	start_held("paused", LAG_DAEMON LAG_PACE);
	sql_exec(shop.app, "SELECT backfill.pause('paused', 'lunch')");
	wait_released();
	assert_job("paused: paused by app: lunch");
	/* Resumed while the standby lags still, it is held again. */
	sql_exec(shop.app, "SELECT backfill.resume('paused')");
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	finish();
}

static void test_cancel(void **state)
{
	(void)state;
	start_held("cancelled", LAG_DAEMON LAG_PACE);
	sql_exec(shop.app, "SELECT backfill.cancel('cancelled', 'enough')");
	wait_released();
	assert_job("cancelled: cancelled by app: enough");
	assert_true(sql_true(shop.db,
		"SELECT finished_at IS NOT NULL FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job));
}

static void test_stop_all(void **state)
{
	(void)state;
	start_held("stopped", LAG_DAEMON LAG_PACE);
	sql_exec(shop.db, "SELECT backfill.stop_all('incident 4711')");
	wait_released();
	assert_job("queued: all work is stopped by postgres: incident 4711");
	sql_exec(shop.db, "SELECT backfill.start_all()");
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	finish();
}

/* An hour that has not come, in a zone of the test's. */
static void test_run_window_ends(void **state)
{
	(void)state;
	start_held("hours", LAG_DAEMON LAG_PACE);
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET run_window ="
		" (SELECT to_char(t, 'HH24:MI') || '-'"
		"  || to_char(t + '2h'::interval, 'HH24:MI') || ' Asia/Tokyo'"
		"  FROM (SELECT clock_timestamp() AT TIME ZONE 'Asia/Tokyo'"
		"  + '3h'::interval AS t) AS z)"
		" WHERE id = %lld",
		(long long)job);
	wait_released();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'queued' AND reason ~ '^waits for its"
		" run_window [0-9:-]+ Asia/Tokyo, which opens at '"
		" FROM backfill.jobs WHERE id = %lld",
		(long long)job);
	assert_job(sql_text(shop.db,
		"SELECT 'queued: ' || reason FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job));
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET run_window = NULL WHERE id = %lld",
		(long long)job);
	lag_wait_held(job, LAG_ABOVE("standby1"));
	finish();
}

/* ---- the daemon */

/* No batch is in flight, so there is nothing to wait for. */
static void test_sigterm(void **state)
{
	(void)state;
	start_held("sigterm", LAG_DAEMON LAG_PACE);
	assert_int_equal(daemon_stop(d), 0);
	wait_released();
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws(' ', j.state, e.event,"
				    " e.detail) FROM backfill.jobs j"
				    " JOIN backfill.events e ON e.job_id = j.id"
				    " WHERE j.id = %lld"
				    " ORDER BY e.id DESC LIMIT 1",
				    (long long)job),
		"queued released the daemon stops");
	daemon_restart(d);
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	finish();
}

static void test_killed(void **state)
{
	(void)state;
	start_held("killed",
		"daemon: {lease: 1s, poll_interval: 100ms}\n" LAG_PACE);
	daemon_kill(d);
	daemon_restart(d);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT epoch = 2 FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	finish();
}

/* Killed while it was held, and nobody comes before the standby is well: the
 * reason that is told then is not the old one. */
static void test_killed_and_left_alone(void **state)
{
	(void)state;
	start_held("alone",
		"daemon: {lease: 1s, poll_interval: 100ms}\n" LAG_PACE);
	daemon_kill(d);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '^its daemon \\(.*, pid [0-9]+\\) was last"
		" heard of [0-9]+ s ago: waits for a daemon to take over$'"
		" FROM backfill.progress WHERE id = %lld",
		(long long)job);
	/* Nor is a signal of a dead daemon a signal. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) = 0 FROM backfill.signals");
	cluster_resume_replay(lag_standby);
	daemon_restart(d);
	lag_finish("alone", job);
}

/* Another daemon has the job, and the same standby. */
static void test_frozen(void **state)
{
	static const char quick[] =
		"daemon: {lease: 1s, poll_interval: 100ms}\n" LAG_PACE;

	(void)state;
	start_held("frozen", quick);
	(void)lag_daemon(LAG_EXPECTED, quick);
	assert_int_equal(kill(daemon_pid(d), SIGSTOP), 0);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT epoch = 2 FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	assert_int_equal(kill(daemon_pid(d), SIGCONT), 0);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT lease_until > clock_timestamp() FROM backfill.daemons"
		" WHERE pid = %d",
		(int)daemon_pid(d));
	lag_assert_still(job, 3);
	finish();
	daemon_wait_log(d, "has another owner -> another daemon has it",
		SHOP_WAIT_SECONDS);
}

/* Somebody locks the daemon's own row, so that its lease ends while samples
 * come. Renewed, it does not begin with what it knew before. */
static void test_lease_is_not_renewed(void **state)
{
	(void)state;
	table = "lease";
	d = lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	job = lag_submit_at_gate(table);
	sql_exec(shop.db, "BEGIN; SELECT FROM backfill.daemons FOR UPDATE");
	sql_wait(shop.app, SHOP_WAIT_SECONDS,
		"SELECT lease_until - lease * 0.3 < clock_timestamp()"
		" FROM backfill.daemons ORDER BY incarnation DESC LIMIT 1");
	gate_open();
	lag_wait_held(job,
		"^held: the daemon''s lease was not renewed for"
		" [0-9]+\\.[0-9] s -> goes on when it is$");
	lag_let_lag();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT value > limit_value FROM backfill.samples"
		" ORDER BY incarnation DESC LIMIT 1");
	sql_exec(shop.db, "COMMIT");
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	finish();
}

#define TEST(test) cmocka_unit_test_teardown(test, lag_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pause),
		TEST(test_cancel),
		TEST(test_stop_all),
		TEST(test_run_window_ends),
		TEST(test_sigterm),
		TEST(test_killed),
		TEST(test_killed_and_left_alone),
		TEST(test_frozen),
		TEST(test_lease_is_not_renewed),
	};

	return cmocka_run_group_tests(tests, lag_start, lag_stop);
}
