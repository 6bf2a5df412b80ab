/* test_lag_cut.c: the lag is asked over the control connection. When that is
 * cut, what was known is old within two seconds, and no batch begins on it,
 * though the jobs' own connections are well and the lease lasts; when it is
 * back, or the server is, nothing goes on before the lag was measured. */
#include <signal.h>
#include <stdio.h>

#include "base/text.h"
#include "cmocka_all.h"
#include "lag.h"
#include "proxy.h"
#include "wait.h"

/* Two thirds of it are longer than any test: only the lag holds a job. */
#define PATIENT "daemon: {lease: 10min, poll_interval: 500ms}\n"

static const char CONTROL[] = "usename = 'backfilld'";

static pid_t frozen; /* 0: none */
static struct proxy *proxy;
static struct daemon *far; /* its control connection is the proxy's */

static int clean(void **state)
{
	if (frozen != 0) {
		(void)kill(frozen, SIGCONT);
		frozen = 0;
	}
	if (far != NULL) {
		daemon_kill(far);
		daemon_free(far);
		far = NULL;
	}
	proxy_stop(proxy);
	proxy = NULL;
	sql_exec(shop.db, "ALTER ROLE backfilld LOGIN");
	return lag_clean(state);
}

/* So many more attempts of the daemon to connect have failed. */
static void wait_attempts(struct daemon *d, int more)
{
	static const char text[] = "-> connect again";
	int target = daemon_count_log(d, text) + more;
	uint64_t deadline = wait_deadline(SHOP_WAIT_SECONDS);

	while (daemon_count_log(d, text) < target) {
		if (!wait_again(deadline)) {
			fail_msg("no %d attempts", more);
		}
	}
}

static int64_t batches(int64_t job)
{
	return sql_int(shop.db,
		"SELECT seq FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
}

/* Nobody can log in as the daemon does, and it has no connection. */
static void cut(void)
{
	sql_exec(shop.db, "ALTER ROLE backfilld NOLOGIN");
	sql_exec(shop.db,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		" WHERE %s",
		CONTROL);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE %s)",
		CONTROL);
}

/* Until then the standby was well, and nothing else is known now. */
static void test_control_connection_stays_away(void **state)
{
	struct daemon *d;
	int64_t job;

	(void)state;
	d = lag_daemon(LAG_EXPECTED, PATIENT LAG_PACE);
	job = lag_submit_at_gate("away");
	lag_wait_signal("standby1", "value < limit_value");
	cut();
	/* Of the lag as it was when it was cut nothing is left. */
	lag_wait_signal("standby1", "age > '3s'");
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT seq = 3 FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
	wait_attempts(d, 2);
	assert_int_equal(batches(job), 3);
	lag_let_lag();

	sql_exec(shop.db, "ALTER ROLE backfilld LOGIN");
	lag_wait_signal("standby1", "value > limit_value");
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	cluster_resume_replay(lag_standby);
	lag_finish("away", job);
}

/* The connection is there, and no answer comes: the server's process of it is
 * frozen, as a server is that stands still. */
static void test_control_connection_is_silent(void **state)
{
	struct daemon *d;
	char line[128];
	int64_t job;

	(void)state;
	d = lag_daemon(LAG_EXPECTED, PATIENT LAG_PACE);
	job = lag_submit_at_gate("silent");
	lag_wait_signal("standby1", "value < limit_value");
	frozen = (pid_t)sql_int(
		shop.db, "SELECT pid FROM pg_stat_activity WHERE %s", CONTROL);
	assert_int_equal(kill(frozen, SIGSTOP), 0);
	/* Before the daemon gives up waiting, and asks anew. */
	lag_let_lag();
	lag_wait_signal("standby1", "age > '3s'");
	gate_open();
	(void)snprintf(line, sizeof line,
		"%sheld: replay lag is unknown: no sample for ",
		job_in_log(job));
	daemon_wait_log(d, line, SHOP_WAIT_SECONDS);
	assert_int_equal(batches(job), 3);
	assert_int_equal(kill(frozen, SIGCONT), 0);
	frozen = 0;
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	cluster_resume_replay(lag_standby);
	lag_finish("silent", job);
}

static void start_far_daemon(void)
{
	struct text yaml;

	text_init(&yaml);
	text_addf(&yaml,
		"databases:\n"
		"  - name: shop\n"
		"    dsn: \"host=127.0.0.1 port=%d dbname=shop"
		" user=backfilld\"\n"
		"    runner: \"%s\"\n"
		"    " LAG_EXPECTED "\n" PATIENT LAG_PACE,
		proxy_port(proxy),
		cluster_conninfo(shop.cluster, "shop", NULL));
	far = daemon_start_yaml(shop.cluster, yaml.data);
	text_close(&yaml);
}

/* All answers come, each of them when what it tells is old: after a while to
 * the server and the same back. */
static void test_every_answer_is_late(void **state)
{
	static const char looks[] = "SELECT xmin FROM backfill.budget";
	const struct proxy_rule rule = { .fault = PROXY_DELAY,
		.side = PROXY_CLIENT,
		.words = "backfill.standbys",
		.delay_ms = 1200 };
	int64_t job = lag_submit("late");

	(void)state;
	proxy = proxy_start(
		cluster_dir(shop.cluster), cluster_port(shop.cluster));
	proxy_arm(proxy, &rule);
	start_far_daemon();
	lag_wait_held(job,
		"^held: replay lag is unknown: (not measured yet|no sample for"
		" [0-9.]+ s) -> goes on when it is known and below 1 s$");
	for (int i = 0; i < 3; i++) {
		sql_wait(shop.db, SHOP_WAIT_SECONDS, "SELECT (%s) <> '%s'",
			looks, sql_text(shop.db, "%s", looks));
		assert_int_equal(batches(job), 0);
	}
	assert_int_equal(proxy_count(proxy), 1);
}

/* It comes back each time, to a standby that lags as before. */
static void test_control_connection_is_cut_again_and_again(void **state)
{
	int64_t job;

	(void)state;
	(void)lag_daemon(LAG_EXPECTED, PATIENT LAG_PACE);
	job = lag_submit_at_gate("again");
	cluster_pause_replay(lag_standby);
	lag_wait_signal("standby1", "value > limit_value");
	gate_open();
	lag_wait_held(job, LAG_ABOVE("standby1"));
	for (int i = 0; i < 15; i++) {
		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT bool_or(pg_terminate_backend(pid))"
			" FROM pg_stat_activity WHERE %s",
			CONTROL);
		assert_int_equal(batches(job), 3);
	}
	lag_wait_signal("standby1", "age < '2s' AND value > limit_value");
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 3);
	cluster_resume_replay(lag_standby);
	lag_finish("again", job);
}

/* A job that is under way, not held: it goes on over many short cuts, and is
 * done exactly once. */
static void test_cuts_while_the_job_runs(void **state)
{
	int64_t job;
	int cuts = 0;

	(void)state;
	(void)lag_daemon(LAG_EXPECTED, PATIENT LAG_PACE);
	job = lag_submit_at_gate("cuts");
	while (cuts < 10) {
		cuts += sql_true(shop.db,
			"SELECT bool_or(pg_terminate_backend(pid))"
			" FROM pg_stat_activity WHERE %s",
			CONTROL);
		gate_open_to(LAG_GATE + 5 * cuts);
	}
	lag_finish("cuts", job);
}

/* The server itself was away. A standby whose replay is paused does not come
 * back before that ends (the startup process asks for WAL, which waits). */
static void test_server_restarted(void **state)
{
	int64_t job;

	(void)state;
	(void)lag_daemon(LAG_EXPECTED, PATIENT LAG_PACE);
	job = lag_submit_at_gate("restarted");
	cluster_pause_replay(lag_standby);
	lag_wait_signal("standby1", "value > limit_value");
	gate_open();
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_restart_primary();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s)",
		CONTROL);
	lag_wait_signal("standby1", "age < '2s' AND value IS NULL");
	lag_wait_held(job, LAG_UNKNOWN("standby1", "not connected"));
	lag_assert_still(job, 3);
	cluster_resume_replay(lag_standby);
	lag_finish("restarted", job);
}

#define TEST(test) cmocka_unit_test_teardown(test, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_control_connection_stays_away),
		TEST(test_control_connection_is_silent),
		TEST(test_every_answer_is_late),
		TEST(test_control_connection_is_cut_again_and_again),
		TEST(test_cuts_while_the_job_runs),
		TEST(test_server_restarted),
	};

	return cmocka_run_group_tests(tests, lag_start, lag_stop);
}
