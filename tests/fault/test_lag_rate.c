/* test_lag_rate.c: below the limit the jobs share a rate of WAL, which
 * outlives the daemon and is that of all daemons; who has no job takes no part
 * in it and asks nothing. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "lag.h"

enum { ROWS = 8000 };

/* Of an hour ago it would be a guess. */
static void set_budget(double rate)
{
	sql_exec(shop.db,
		"UPDATE backfill.budget SET wal_rate = %f, wal_spent = 0,"
		" set_at = clock_timestamp()",
		rate);
}

static void start_daemon(double rate)
{
	set_budget(rate);
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
}

static int64_t submit(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		name, name, ROWS);
	return sql_int(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('%s', '%s', 'n = n + 1') RETURNING id",
		name, name);
}

static void wait_left(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT coalesce(sum(jobs), 0) = 0 FROM backfill.daemons"
		" WHERE lease_until > clock_timestamp()");
}

/* The least rate, to begin with: the job waits, in batches of 64 kB, and the
 * rate grows, since it is what makes it wait. */
static void test_paced_by_the_rate(void **state)
{
	char before[32];
	int64_t job;

	(void)state;
	start_daemon(64e3);
	(void)snprintf(before, sizeof before, "%s",
		sql_text(shop.db, "SELECT pg_current_wal_insert_lsn()"));
	job = submit("paced");
	job_wait("paced", "succeeded");
	assert_true(sql_true(shop.db,
		"SELECT paced > '1s' AND batches >= 10"
		" FROM backfill.progress WHERE id = %lld",
		(long long)job));
	wait_left();
	assert_true(sql_true(shop.db,
		"SELECT wal_rate > 128000 AND wal_spent > %d * 60 AND"
		" wal_spent < pg_current_wal_insert_lsn() - '%s'::pg_lsn"
		" FROM backfill.budget",
		ROWS, before));
}

/* Hardly anything is left for it beside a daemon with so many jobs; all of it
 * when that one is dead. */
static void test_shared_with_another_daemon(void **state)
{
	long long other = sql_int(
		shop.db, "SELECT backfill.register('there', 1, '0', '1h')");
	int64_t job;

	(void)state;
	sql_exec(shop.db,
		"UPDATE backfill.daemons SET jobs = 99999"
		" WHERE incarnation = %lld",
		other);
	start_daemon(1e6);
	job = submit("shared");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '^paced: the next batch in [0-9]+ s \\(the"
		" standbys allow [0-9]+ kB/s of WAL: replay lag [0-9.]+ s,"
		" limit [0-9.]+ s\\)$' AND waits_for = 'paced'"
		" FROM backfill.progress"
		" WHERE id = %lld",
		(long long)job);
	sql_exec(shop.db,
		"UPDATE backfill.daemons SET lease_until = clock_timestamp()"
		" WHERE incarnation = %lld",
		other);
	job_wait("shared", "succeeded");
}

/* What others have made of it meanwhile is not overwritten by what the daemon
 * knew of another hour. */
static void test_next_job_takes_the_rate(void **state)
{
	(void)state;
	start_daemon(1e6);
	(void)submit("first");
	job_wait("first", "succeeded");
	wait_left();
	set_budget(1e9);
	(void)submit("second");
	job_wait("second", "succeeded");
	wait_left();
	assert_true(sql_true(
		shop.db, "SELECT wal_rate > 5e8 FROM backfill.budget"));
}

/* Each sample writes WAL: without a job there is none. */
static void test_idle_daemon_asks_nothing(void **state)
{
	static const char row[] = "SELECT xmin FROM backfill.budget";
	char before[32];

	(void)state;
	start_daemon(1e6);
	(void)submit("alone");
	job_wait("alone", "succeeded");
	wait_left();
	(void)snprintf(before, sizeof before, "%s", sql_text(shop.db, row));
	for (int i = 0; i < 2; i++) {
		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT max(lease_until) > '%s'"
			" FROM backfill.daemons",
			sql_text(shop.db,
				"SELECT max(lease_until)"
				" FROM backfill.daemons"));
	}
	assert_string_equal(sql_text(shop.db, row), before);
}

/* Once, unless the lag was unknown in between, as it is when the daemon could
 * not ask for a moment: each of the two is another cause. */
static void assert_told_once(const char *log, const char *cause)
{
	const char *told = strstr(log, cause), *again, *unknown;

	assert_non_null(told);
	while ((again = strstr(told + 1, cause)) != NULL) {
		unknown = strstr(told, "replay lag is unknown: no sample for");
		assert_true(unknown != NULL && unknown < again);
		told = again;
	}
}

/* In SQL the numbers are told anew, in the log only other causes. */
static void test_a_hold_is_logged_once(void **state)
{
	struct daemon *d = lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	int64_t job = lag_submit_at_gate("once");

	(void)state;
	cluster_pause_replay(lag_standby);
	lag_wait_signal("standby1", "value > limit_value");
	gate_open();
	lag_wait_held(job, LAG_ABOVE("standby1"));
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason <> '%s' FROM backfill.jobs WHERE id = %lld",
		sql_text(shop.db,
			"SELECT reason FROM backfill.jobs WHERE id = %lld",
			(long long)job),
		(long long)job);
	lag_wait_held(job, LAG_ABOVE("standby1"));
	assert_told_once(daemon_log(d), " s > 2 s on standby \"standby1\" -> ");
	cluster_resume_replay(lag_standby);
	lag_finish("once", job);
}

/* Somebody holds what the daemons share: each sample fails, which is said
 * once, and no batch begins on an old one. */
static void test_failing_samples_are_logged_once(void **state)
{
	static const char text[] = ": the standbys could not be looked at:"
				   " 55P03: ";
	struct daemon *d = lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	int64_t job = lag_submit_at_gate("failing");
	const char *first;
	char before[256];

	(void)state;
	sql_exec(shop.db, "BEGIN; SELECT FROM backfill.budget FOR UPDATE");
	daemon_wait_log(d, text, SHOP_WAIT_SECONDS);
	lag_wait_signal("standby1", "age > '3s'");
	gate_open();
	lag_wait_held(job,
		"^held: replay lag is unknown: no sample for [0-9.]+ s"
		" -> goes on when it is known and below 1 s$");
	(void)snprintf(before, sizeof before, "%s",
		sql_text(shop.db,
			"SELECT reason FROM backfill.jobs WHERE id = %lld",
			(long long)job));
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason <> '%s' FROM backfill.jobs WHERE id = %lld",
		before, (long long)job);
	first = strstr(daemon_log(d), text);
	assert_non_null(first);
	assert_null(strstr(first + 1, text));
	sql_exec(shop.db, "COMMIT");
	lag_finish("failing", job);
}

#define TEST(test) cmocka_unit_test_teardown(test, lag_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_paced_by_the_rate),
		TEST(test_shared_with_another_daemon),
		TEST(test_next_job_takes_the_rate),
		TEST(test_idle_daemon_asks_nothing),
		TEST(test_a_hold_is_logged_once),
		TEST(test_failing_samples_are_logged_once),
	};

	return cmocka_run_group_tests(tests, lag_start, lag_stop);
}
