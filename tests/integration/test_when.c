/* test_when.c: when a daemon runs a job, and when not: the hours of its
 * run_window, its canary, its turn after other jobs, a person's approval. The
 * rules themselves are in test_queue.c. Notifications alone wake the daemon
 * here: it polls every ten minutes. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static void make_table(const char *table, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		table, table, rows);
}

static void assert_each_once(const char *table, int rows)
{
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(n), max(n))"
			" FROM %s",
			table),
		sql_text(shop.db, "SELECT '%d 1 1'", rows));
}

/* Two hours that begin so many hours from now, in a zone of the test's. */
static const char *hours_from_now(int hours)
{
	return sql_text(shop.db,
		"SELECT to_char(t, 'HH24:MI') || '-'"
		" || to_char(t + '2h'::interval, 'HH24:MI') || ' Asia/Tokyo'"
		" FROM (SELECT clock_timestamp() AT TIME ZONE 'Asia/Tokyo'"
		" + make_interval(hours => %d) AS t) AS z",
		hours);
}

/* The window closes while a batch is in flight: that one ends, and no other
 * begins before it opens again. */
static void test_window_closes_in_mid_job(void **state)
{
	char pattern[200];
	int64_t done;

	(void)state;
	make_table("closes", 1000);
	gate_close(100);
	job_submit("closes", "closes", 50, "n = n + 1 + gate_pass(id)", NULL,
		NULL);
	gate_wait("closes");
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET run_window = '%s'"
		" WHERE name = 'closes'",
		hours_from_now(3));
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'queued' FROM backfill.jobs"
		" WHERE name = 'closes'");
	(void)snprintf(pattern, sizeof pattern,
		"^waits for its run_window %s, which opens at .*\\+09$",
		sql_text(shop.db,
			"SELECT run_window FROM backfill.jobs"
			" WHERE name = 'closes'"));
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ replace('%s', '+', '\\+')"
		" OR reason ~ '%s' FROM backfill.jobs WHERE name = 'closes'",
		pattern, pattern);
	done = sql_int(shop.db, "SELECT sum(n) FROM closes");
	assert_int_equal(done, 150);

	sql_exec(shop.app,
		"UPDATE backfill.jobs SET run_window = '%s'"
		" WHERE name = 'closes'",
		hours_from_now(-1));
	job_wait("closes", "succeeded");
	assert_each_once("closes", 1000);
}

/* Exactly so many rows, whatever the size of the batches; after a person's
 * resume the rest. */
static void test_canary(void **state)
{
	(void)state;
	make_table("canary", 1000);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" pause_after_rows) VALUES ('canary', 'canary', 'n = n + 1',"
		" 137)");
	job_wait("canary", "paused");
	assert_string_equal(sql_text(shop.db,
				    "SELECT reason FROM backfill.jobs"
				    " WHERE name = 'canary'"),
		"paused after 137 rows (pause_after_rows); look, then resume");
	assert_int_equal(sql_int(shop.db, "SELECT sum(n) FROM canary"), 137);
	sql_exec(shop.app, "SELECT backfill.resume('canary')");
	job_wait("canary", "succeeded");
	assert_each_once("canary", 1000);
}

/* Three steps in a row, the second one held. */
static void test_depends_on_and_approve(void **state)
{
	char after[80];

	(void)state;
	make_table("steps", 300);
	gate_close(0);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('step one', 'steps', 'n = n + 1 + gate_pass(id)');"
		"INSERT INTO backfill.jobs (name, target, set_clause, hold,"
		" depends_on) SELECT 'step two', 'steps', 'n = n * 10', true,"
		" ARRAY[id] FROM backfill.jobs WHERE name = 'step one';"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" depends_on) SELECT 'step three', 'steps', 'n = n + 5',"
		" ARRAY[id] FROM backfill.jobs WHERE name = 'step two'");
	gate_wait("step one");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason = 'waits for approve(): it was submitted with"
		" hold' FROM backfill.jobs WHERE name = 'step two'");
	(void)snprintf(after, sizeof after,
		"waits: job %lld (step two) is queued",
		(long long)job_id("step two"));
	assert_string_equal(sql_text(shop.db,
				    "SELECT reason FROM backfill.jobs"
				    " WHERE name = 'step three'"),
		after);

	gate_open();
	job_wait("step one", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(state, ' ' ORDER BY id)"
			" FROM backfill.jobs WHERE name LIKE 'step %%'"),
		"succeeded queued queued");
	sql_exec(shop.app, "SELECT backfill.approve('step two')");
	job_wait("step three", "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM steps WHERE n = 15"),
		300);
}

/* Of the jobs that wait for one table the urgent one is first, also when it
 * became so while it waited. */
static void test_priority(void **state)
{
	(void)state;
	make_table("urgent", 100);
	gate_close(0);
	job_submit(
		"first", "urgent", 50, "n = n + 1 + gate_pass(id)", NULL, NULL);
	gate_wait("first");
	job_submit("low", "urgent", 50, "n = n * 2", NULL, NULL);
	job_submit("high", "urgent", 50, "n = n + 10", NULL, NULL);
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET priority = 7 WHERE name = 'high'");
	gate_open();
	job_wait("low", "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM urgent WHERE n = 22"),
		100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window_closes_in_mid_job),
		cmocka_unit_test(test_canary),
		cmocka_unit_test(test_depends_on_and_approve),
		cmocka_unit_test(test_priority),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
