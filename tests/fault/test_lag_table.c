/* test_lag_table.c: what pg_stat_replication shows of a standby that lags,
 * is not there, or is no standby at all, and what a job makes of it: it is
 * held, with the reason in full; no batch begins; it goes on when the lag is
 * known and below half of the limit; each row is changed exactly once. What
 * the server shows is asserted too: a case that shows something else is not
 * the one that is meant. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "effects.h"
#include "lag.h"

static void wait_shown(const char *standby, const char *condition)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(%s) FROM pg_stat_replication"
		" WHERE application_name = '%s'",
		condition, standby);
}

/* The log has the reason too, as it is told in SQL, but for the number: there
 * each sample tells another one. */
static void assert_logged(struct daemon *d, int64_t job)
{
	static const char before[] = "replay lag ";
	const char *reason = sql_text(shop.db,
		"SELECT reason FROM backfill.jobs WHERE id = %lld",
		(long long)job);
	const char *number = strstr(reason, before);
	char line[512];

	assert_non_null(number);
	number += strlen(before);
	(void)snprintf(line, sizeof line, "%s%.*s", job_in_log(job),
		(int)(number - reason), reason);
	daemon_wait_log(d, line, SHOP_WAIT_SECONDS);
	daemon_wait_log(
		d, number + strspn(number, "0123456789."), SHOP_WAIT_SECONDS);
}

/* ---- lags, or does not */

/* Nothing is written, so the server knows no lag; that is not unknown. */
static void test_idle_and_caught_up(void **state)
{
	int64_t job;

	(void)state;
	effects_make_table(shop.app, "idle", LAG_ROWS);
	(void)lag_daemon(LAG_EXPECTED,
		"daemon: {lease: 10min, poll_interval: 10min}\n" LAG_PACE);
	wait_shown("standby1", "replay_lag IS NULL AND state = 'streaming'");
	job = effects_submit(shop.app, "idle", "idle", LAG_BATCH, NULL);
	job_wait("idle", "succeeded");
	effects_check_done(shop.db, "idle", job, LAG_ROWS);
}

/* The lag is there before the job is. */
static void test_replay_paused_before(void **state)
{
	int64_t job;

	(void)state;
	lag_let_lag();
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	job = lag_submit("before");
	lag_wait_held(job, LAG_ABOVE("standby1"));
	lag_assert_still(job, 0);
	cluster_resume_replay(lag_standby);
	lag_finish("before", job);
}

/* What harms the standby does so while the third batch stands at the gate,
 * and is known before it passes: that one ends, and no other begins. */
static int64_t hold_in_mid_job(const char *name, void (*harm)(void),
	const char *signal, const char *pattern)
{
	struct daemon *d = lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	int64_t job = lag_submit_at_gate(name);

	harm();
	lag_wait_signal("standby1", signal);
	gate_open();
	lag_wait_held(job, pattern);
	assert_logged(d, job);
	lag_assert_still(job, 3);
	lag_wait_signal("standby1",
		"holding AND resume_value = 1 AND"
		" limit_value = 2 AND detail IS NOT NULL");
	return job;
}

static void pause_replay(void)
{
	cluster_pause_replay(lag_standby);
}

static void test_replay_paused_in_mid_job(void **state)
{
	int64_t job = hold_in_mid_job("mid", pause_replay,
		"value > limit_value", LAG_ABOVE("standby1"));

	(void)state;
	cluster_resume_replay(lag_standby);
	lag_finish("mid", job);
	lag_wait_signal("standby1", "NOT holding AND value < resume_value");
}

/* The server says no lag at all, or an old one, until the receiver has not
 * spoken for so long that nothing it said counts. */
static void test_frozen_receiver(void **state)
{
	int64_t job = hold_in_mid_job("frozen", lag_freeze_receiver,
		"value > limit_value", LAG_ABOVE("standby1"));

	(void)state;
	wait_shown("standby1", "state = 'streaming'");
	lag_wait_held(job,
		LAG_UNKNOWN("standby1", "no reply for [0-9]+(\\.[0-9])? s"));
	wait_shown("standby1", "clock_timestamp() - reply_time > '19s'");
	lag_assert_still(job, 3);
	lag_thaw_receiver();
	lag_finish("frozen", job);
}

/* Whether the server said no lag while the job was held. */
static int is_held_unsaid(const char *name)
{
	int64_t job;
	int is_unsaid;

	effects_make_table(shop.app, name, LAG_ROWS);
	wait_shown("standby1", "replay_lag IS NULL AND state = 'streaming'");
	lag_freeze_receiver();
	job = effects_submit(shop.app, name, name, LAG_BATCH, NULL);
	lag_wait_held(job, LAG_ABOVE("standby1"));
	is_unsaid = sql_true(shop.db,
		"SELECT bool_and(replay_lag IS NULL AND state = 'streaming')"
		" FROM pg_stat_replication"
		" WHERE application_name = 'standby1'");
	lag_assert_still(job, 0);
	lag_thaw_receiver();
	lag_finish(name, job);
	return is_unsaid;
}

/* Frozen while nothing was replayed, so that the server says no lag at all,
 * and goes on to say none: only our own measure tells. Where it was frozen
 * right after a reply, the server goes on to say that one's. */
static void test_receiver_frozen_while_idle(void **state)
{
	char name[] = "unsaid0";

	(void)state;
	(void)lag_daemon(LAG_EXPECTED,
		"daemon: {lease: 10min, poll_interval: 10min}\n" LAG_PACE);
	while (!is_held_unsaid(name)) {
		assert_int_not_equal(name[6]++, '9');
	}
}

/* ---- is not there */

static void halt(void)
{
	cluster_halt(lag_standby);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT active AND NOT EXISTS"
		" (SELECT FROM pg_stat_replication)"
		" FROM pg_replication_slots WHERE slot_name = 'standby1'");
}

static void test_vanished_and_rejoined(void **state)
{
	int64_t job = hold_in_mid_job("vanished", halt, "value IS NULL",
		LAG_UNKNOWN("standby1", "not connected"));

	(void)state;
	cluster_crash(lag_standby);
	lag_finish("vanished", job);
}

/* Gone before the daemon came: there is no lag that it could remember. */
static void test_stopped_before(void **state)
{
	int64_t job;

	(void)state;
	halt();
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	job = lag_submit("stopped");
	lag_wait_held(job, LAG_UNKNOWN("standby1", "not connected"));
	lag_assert_still(job, 0);
	cluster_crash(lag_standby);
	lag_finish("stopped", job);
}

/* standby1 is well, and that is not enough. */
static void test_name_that_never_appears(void **state)
{
	int64_t job;

	(void)state;
	(void)lag_daemon(
		"expected_standbys: [standby1, nosuch]", LAG_DAEMON LAG_PACE);
	job = lag_submit("never");
	lag_wait_held(job, LAG_UNKNOWN("nosuch", "not connected"));
	lag_assert_still(job, 0);
	lag_wait_signal("standby1", "NOT holding AND value < limit_value");
	lag_wait_signal("nosuch", "holding AND value IS NULL");
}

/* ---- others */

static void test_standby_that_is_not_expected(void **state)
{
	struct cluster *other = cluster_start_standby(shop.cluster, "standby2");
	int64_t job;

	(void)state;
	cluster_pause_replay(other);
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	job = lag_submit("other");
	lag_finish("other", job);
	wait_shown("standby2", "replay_lsn < sent_lsn");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.signals"
				 " WHERE target = 'standby2'"),
		0);
	cluster_stop(other);
}

static void test_none_expected(void **state)
{
	int64_t job;

	(void)state;
	cluster_pause_replay(lag_standby);
	(void)lag_daemon("expected_standbys: []", LAG_DAEMON LAG_PACE);
	job = lag_submit("none");
	lag_finish("none", job);
	wait_shown("standby1", "replay_lsn < sent_lsn");
}

/* By its slot, where its application_name is another. */
static void test_standby_known_by_its_slot(void **state)
{
	static const char rename[] =
		"SELECT format('ALTER SYSTEM SET primary_conninfo = %%L',"
		" regexp_replace(current_setting('primary_conninfo'),"
		" 'application_name=\\w+', 'application_name=%s'))";
	PGconn *there = cluster_connect(lag_standby, "postgres", "postgres");
	int64_t job;

	(void)state;
	sql_exec(there, "%s", sql_text(there, rename, "another"));
	sql_exec(there, "SELECT pg_reload_conf()");
	wait_shown("another", "state = 'streaming'");
	job = hold_in_mid_job("slot", pause_replay, "value > limit_value",
		LAG_ABOVE("standby1"));
	cluster_resume_replay(lag_standby);
	lag_finish("slot", job);

	sql_exec(there, "%s", sql_text(there, rename, "standby1"));
	sql_exec(there, "SELECT pg_reload_conf()");
	wait_shown("standby1", "state = 'streaming'");
	PQfinish(there);
}

/* ---- where it is told */

static void test_signals_are_readable_by_pg_monitor(void **state)
{
	struct sql_failure failure;
	PGconn *watcher, *stranger;

	(void)state;
	sql_exec(shop.db,
		"CREATE ROLE stranger LOGIN; CREATE ROLE watcher LOGIN;"
		"GRANT pg_monitor TO watcher");
	watcher = cluster_connect(shop.cluster, "shop", "watcher");
	stranger = cluster_connect(shop.cluster, "shop", "stranger");
	assert_string_equal(
		sql_text(watcher,
			"SELECT string_agg(attname || ' ' || format_type"
			"(atttypid, atttypmod), ', ' ORDER BY attnum)"
			" FROM pg_attribute WHERE attrelid ="
			" 'backfill.signals'::regclass AND attnum > 0"),
		"daemon bigint, daemon_host text, signal text, target text,"
		" value double precision, limit_value double precision,"
		" resume_value double precision, age interval,"
		" holding boolean, detail text");
	(void)hold_in_mid_job("told", pause_replay, "value > limit_value",
		LAG_ABOVE("standby1"));
	assert_true(sql_true(watcher,
		"SELECT s.daemon_host = d.host AND s.value > 2 AND"
		" s.age < '10s' FROM backfill.signals s, backfill.daemons d"
		" WHERE d.incarnation = s.daemon"));
	sql_fails(stranger, &failure, "SELECT * FROM backfill.signals");
	assert_string_equal(failure.sqlstate, "42501");
	PQfinish(stranger);
	PQfinish(watcher);
}

#define TEST(test) cmocka_unit_test_teardown(test, lag_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_idle_and_caught_up),
		TEST(test_replay_paused_before),
		TEST(test_replay_paused_in_mid_job),
		TEST(test_frozen_receiver),
		TEST(test_receiver_frozen_while_idle),
		TEST(test_vanished_and_rejoined),
		TEST(test_stopped_before),
		TEST(test_name_that_never_appears),
		TEST(test_standby_that_is_not_expected),
		TEST(test_none_expected),
		TEST(test_standby_known_by_its_slot),
		TEST(test_signals_are_readable_by_pg_monitor),
	};

	return cmocka_run_group_tests(tests, lag_start, lag_stop);
}
