/* test_lag_limits.c: which limit counts and until when: a hold ends below
 * half of it, a job may have one of its own, a standby that is optional is
 * left out when nothing was known of it for long. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "effects.h"
#include "lag.h"

static struct cluster *reporting;
static PGconn *trickle; /* NULL: none */

/* Commits, whether or not the daemon writes: a standby that replays each of
 * them late always has something to replay. */
static void start_trickle(void)
{
	trickle = cluster_connect(shop.cluster, "shop", "postgres");
	sql_async(trickle,
		"DO $$ BEGIN LOOP"
		" PERFORM pg_logical_emit_message(true, 'trickle', '');"
		" COMMIT; PERFORM pg_sleep(0.1); END LOOP; END $$");
}

static void stop_trickle(void)
{
	if (trickle != NULL) {
		sql_exec(shop.db, "SELECT pg_terminate_backend(%d, 10000)",
			PQbackendPID(trickle));
		PQfinish(trickle);
		trickle = NULL;
	}
}

static int clean(void **state)
{
	stop_trickle();
	cluster_stop(reporting);
	reporting = NULL;
	return lag_clean(state);
}

/* ---- until when */

/* A reason never claims what is not so, but for what is rounded. */
static void assert_true_reason(int64_t job)
{
	assert_true(sql_true(shop.db,
		"SELECT coalesce(m[1]::numeric >= m[2]::numeric, true)"
		" FROM backfill.jobs,"
		" regexp_match(reason, 'lag ([0-9.]+) s > ([0-9.]+) s') AS m"
		" WHERE id = %lld",
		(long long)job));
}

/* Between the half and the whole limit no hold begins, and none ends. */
static void test_hold_ends_below_half(void **state)
{
	static const char between[] = "holding AND value < limit_value AND"
				      " value > resume_value";
	int64_t job;

	(void)state;
	(void)lag_daemon(
		LAG_EXPECTED, LAG_DAEMON "pace: {max_replication_lag: 4s}\n");
	job = lag_submit_at_gate("half");
	cluster_pause_replay(lag_standby);
	lag_wait_signal("standby1", "value > limit_value");
	gate_open();
	lag_wait_held(job,
		"^held: replay lag [0-9]+(\\.[0-9])? s > 4 s on standby"
		" \"standby1\" -> goes on below 2 s$");
	cluster_delay_replay(lag_standby, "3s");
	start_trickle();
	cluster_resume_replay(lag_standby);
	for (int i = 0; i < 3; i++) {
		lag_wait_signal("standby1", between);
		lag_assert_still(job, 3);
		assert_true_reason(job);
	}
	cluster_delay_replay(lag_standby, "0");
	lag_finish("half", job);
}

/* The same lag, and no hold before: it is no reason to begin one. */
static void test_no_hold_below_the_limit(void **state)
{
	int64_t job;
	struct daemon *d;

	(void)state;
	d = lag_daemon(
		LAG_EXPECTED, LAG_DAEMON "pace: {max_replication_lag: 20s}\n");
	job = lag_submit_at_gate("below");
	cluster_delay_replay(lag_standby, "11s");
	lag_wait_signal("standby1", "value > resume_value");
	lag_finish("below", job);
	assert_null(strstr(daemon_log(d), " s > 20 s on standby "));
}

/* ---- the job's own limit */

static void set_limit(int64_t job, const char *limit)
{
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET max_replication_lag = %s"
		" WHERE id = %lld",
		limit, (long long)job);
}

/* One job is held, the other one is not. */
static void test_limit_of_the_job(void **state)
{
	int64_t strict, other;

	(void)state;
	(void)lag_daemon(
		LAG_EXPECTED, LAG_DAEMON "pace: {max_replication_lag: 1h}\n");
	cluster_pause_replay(lag_standby);
	gate_close(LAG_GATE);
	strict = lag_submit("strict");
	gate_wait("strict");
	set_limit(strict, "'3s'");
	other = lag_submit("other");
	gate_wait("other");

	/* The lowest of those at work, from when it is told. */
	lag_wait_signal("standby1", "value > 3 AND limit_value = 3");
	set_limit(other, "'2500ms'");
	lag_wait_signal("standby1", "limit_value = 2.5");
	set_limit(other, "NULL");
	lag_wait_signal("standby1", "limit_value = 3");
	gate_open();
	lag_wait_held(strict,
		"^held: replay lag [0-9]+(\\.[0-9])? s > 3 s on standby"
		" \"standby1\" -> goes on below 1.5 s$");
	lag_finish("other", other);
	lag_assert_still(strict, 3);

	/* While it is held its limit is raised. */
	set_limit(strict, "NULL");
	lag_finish("strict", strict);
}

/* A job that may go further than the others. */
static void test_limit_above_the_configured(void **state)
{
	int64_t job, held;

	(void)state;
	lag_let_lag();
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	sql_exec(shop.db, "SELECT backfill.stop_all()");
	job = lag_submit("lax");
	set_limit(job, "'1h'");
	held = lag_submit("held");
	sql_exec(shop.db, "SELECT backfill.start_all()");
	lag_wait_held(held, LAG_ABOVE("standby1"));
	lag_finish("lax", job);
	lag_assert_still(held, 0);
}

/* ---- optional standbys */

#define OPTIONAL                                                               \
	"expected_standbys: [standby1]\n"                                      \
	"    optional_standbys: [reporting]"
#define OPTIONAL_PACE                                                          \
	"pace: {max_replication_lag: 2s, optional_standby_timeout: 5s}\n"

/* It holds the job like any other at first. */
static void test_optional_standby_that_never_comes(void **state)
{
	struct daemon *d;
	int64_t job;

	(void)state;
	job = lag_submit("missing");
	d = lag_daemon(OPTIONAL, LAG_DAEMON OPTIONAL_PACE);
	lag_finish("missing", job);
	assert_non_null(strstr(daemon_log(d),
		"held: replay lag of standby \"reporting\" is unknown:"
		" not connected -> goes on when it is known and below 1 s"));

	/* After an idle while nobody knows, and it may come again. */
	job = lag_submit("missing_again");
	lag_wait_held(job, LAG_UNKNOWN("reporting", "not connected"));
	lag_finish("missing_again", job);
}

/* While it is there its lag counts; when it is gone it does for a while. */
static void test_optional_standby_that_goes(void **state)
{
	int64_t job;

	(void)state;
	reporting = cluster_start_standby(shop.cluster, "reporting");
	(void)lag_daemon(OPTIONAL, LAG_DAEMON OPTIONAL_PACE);
	job = lag_submit_at_gate("going");
	cluster_pause_replay(reporting);
	lag_wait_signal("reporting", "value > limit_value");
	gate_open();
	lag_wait_held(job, LAG_ABOVE("reporting"));
	lag_assert_still(job, 3);
	cluster_halt(reporting);
	lag_wait_held(job, LAG_UNKNOWN("reporting", "not connected"));
	lag_finish("going", job);
}

/* Left out, it counts again as soon as it is back. */
static void test_optional_standby_that_comes_back(void **state)
{
	int64_t job;

	(void)state;
	(void)lag_daemon(OPTIONAL, LAG_DAEMON OPTIONAL_PACE);
	job = lag_submit_at_gate("back");
	reporting = cluster_start_standby(shop.cluster, "reporting");
	cluster_pause_replay(reporting);
	lag_wait_signal("reporting", "value > limit_value");
	gate_open();
	lag_wait_held(job, LAG_ABOVE("reporting"));
	lag_assert_still(job, 3);
	cluster_resume_replay(reporting);
	lag_finish("back", job);
}

/* What may be missing is not what must be there. */
static void test_expected_standby_has_no_timeout(void **state)
{
	int64_t job;

	(void)state;
	cluster_halt(lag_standby);
	(void)lag_daemon(LAG_EXPECTED,
		LAG_DAEMON "pace: {max_replication_lag: 2s,"
			   " optional_standby_timeout: 1s}\n");
	job = lag_submit("no_timeout");
	lag_wait_held(job, LAG_UNKNOWN("standby1", "not connected"));
	for (int i = 0; i < 2; i++) {
		lag_assert_still(job, 0);
	}
	lag_wait_held(job, LAG_UNKNOWN("standby1", "not connected"));
}

#define TEST(test) cmocka_unit_test_teardown(test, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hold_ends_below_half),
		TEST(test_no_hold_below_the_limit),
		TEST(test_limit_of_the_job),
		TEST(test_limit_above_the_configured),
		TEST(test_optional_standby_that_never_comes),
		TEST(test_optional_standby_that_goes),
		TEST(test_optional_standby_that_comes_back),
		TEST(test_expected_standby_has_no_timeout),
	};

	return cmocka_run_group_tests(tests, lag_start, lag_stop);
}
