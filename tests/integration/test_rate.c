/* test_rate.c: max_rows_per_second, and where the time of a paced job goes.
 * The rows that are done never run ahead of the rate by more than a batch,
 * at whatever moment an observer looks, by the server's clock; the pause
 * between two batches is shown, and ends when it shall. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static int64_t job;

static void submit(
	const char *name, int rows, int batch_rows, int rate, const char *where)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		name, name, rows);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, batch_rows, max_batch_rows,"
		" max_rows_per_second) VALUES ('%s', '%s', 'n = n + 1', %s,"
		" %d, %d, %d)",
		name, name, where, batch_rows, batch_rows, rate);
	job = job_id(name);
}

static int is_over(void)
{
	return sql_true(shop.db,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
}

/* The clock is read after the snapshot was taken. */
static void assert_within_rate(int batch_rows, int rate)
{
	assert_true(sql_true(shop.db,
		"SELECT coalesce(bool_and(rows_done <= %d + %d *"
		" extract(epoch FROM clock_timestamp() - begun_at)), true)"
		" FROM backfill.ranges WHERE job_id = %lld",
		batch_rows, rate, (long long)job));
}

static int64_t rows_done(void)
{
	return sql_int(shop.db,
		"SELECT coalesce(sum(rows_done), 0) FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job);
}

/* Looked at all the while. Returns how often the count had moved. */
static int watch(int batch_rows, int rate)
{
	int64_t seen = 0;
	int moves = 0;

	while (!is_over()) {
		assert_within_rate(batch_rows, rate);
		moves += rows_done() > seen;
		seen = rows_done();
	}
	assert_within_rate(batch_rows, rate);
	return moves;
}

static void test_many_batches_a_second(void **state)
{
	(void)state;
	submit("many", 800, 20, 200, "NULL");
	assert_true(watch(20, 200) > 5);
	job_wait("many", "succeeded");
	assert_int_equal(rows_done(), 800);
}

static void test_less_than_a_batch_a_second(void **state)
{
	(void)state;
	submit("few", 300, 100, 70, "NULL");
	(void)watch(100, 70);
	job_wait("few", "succeeded");
	assert_int_equal(rows_done(), 300);
}

/* Counted are rows that are changed. Of those that are read there are a
 * hundred times as many: they would take minutes. */
static void test_rows_that_are_only_read_do_not_count(void **state)
{
	(void)state;
	submit("sparse", 2000, 100, 5, "$$mod(id, 100) = 0$$");
	(void)watch(1, 5);
	job_wait("sparse", "succeeded");
	assert_int_equal(rows_done(), 20);
}

/* ---- what is shown */

static void test_pauses_are_shown(void **state)
{
	(void)state;
	submit("shown", 100, 20, 20, "NULL");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT batch_time > '0' AND pause > '0' AND paced >= pause"
		" FROM backfill.progress WHERE id = %lld",
		(long long)job);
	job_wait("shown", "succeeded");
	assert_true(sql_true(shop.db,
		"SELECT batch_time > '0' AND paced > '2s' AND paced <"
		" finished_at - started_at FROM backfill.progress"
		" WHERE id = %lld",
		(long long)job));
	/* Nothing made this one wait. */
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('free', 'shown',"
		" 'n = n + 1', 20, 20)");
	job_wait("free", "succeeded");
	assert_true(sql_true(shop.db,
		"SELECT paced < finished_at - started_at AND paced < '2s'"
		" FROM backfill.progress WHERE name = 'free'"));
}

/* ---- how it ends: it would take most of an hour */

static void start_pausing(const char *name)
{
	submit(name, 3000, 1000, 1, "NULL");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done BETWEEN 2 AND 100 AND state = 'running'"
		" FROM backfill.progress WHERE id = %lld",
		(long long)job);
}

static void wait_released(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT r.owner IS NULL AND r.rows_done < 1000"
		" FROM backfill.ranges r WHERE r.job_id = %lld",
		(long long)job);
}

static void set_rate(const char *rate)
{
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET max_rows_per_second = %s"
		" WHERE id = %lld",
		rate, (long long)job);
}

static void finish(const char *name)
{
	set_rate("NULL");
	job_wait(name, "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM %s WHERE n = 1", name),
		3000);
}

static void test_rate_is_changed_in_a_pause(void **state)
{
	(void)state;
	start_pausing("changed");
	set_rate("1000000");
	job_wait("changed", "succeeded");
	start_pausing("lifted");
	finish("lifted");
}

static void test_control_in_a_pause(void **state)
{
	(void)state;
	start_pausing("control");
	sql_exec(shop.app, "SELECT backfill.pause('control')");
	wait_released();
	sql_exec(shop.app, "SELECT backfill.resume('control')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'running' FROM backfill.jobs WHERE id = %lld",
		(long long)job);
	sql_exec(shop.db, "SELECT backfill.stop_all()");
	wait_released();
	sql_exec(shop.db, "SELECT backfill.start_all()");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'running' FROM backfill.jobs WHERE id = %lld",
		(long long)job);
	sql_exec(shop.app, "SELECT backfill.cancel('control')");
	wait_released();
}

static void test_stop_in_a_pause(void **state)
{
	(void)state;
	start_pausing("sigterm");
	assert_int_equal(daemon_stop(shop.daemon), 0);
	wait_released();
	assert_string_equal(sql_text(shop.db,
				    "SELECT state FROM backfill.jobs"
				    " WHERE id = %lld",
				    (long long)job),
		"queued");
	shop_restart_daemon();
	finish("sigterm");
}

/* Each life of a daemon begins with a batch, which is of a second's rows at
 * most, and no more than that. */
static void test_rate_of_a_daemon_that_is_restarted(void **state)
{
	(void)state;
	submit("restarted", 400, 100, 50, "NULL");
	for (int i = 1; i <= 3; i++) {
		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT rows_done >= %d FROM backfill.progress"
			" WHERE id = %lld",
			100 * i, (long long)job);
		assert_int_equal(daemon_stop(shop.daemon), 0);
		assert_within_rate(50 * i, 50);
		shop_restart_daemon();
	}
	(void)watch(50 * 4, 50);
	job_wait("restarted", "succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_batches_a_second),
		cmocka_unit_test(test_less_than_a_batch_a_second),
		cmocka_unit_test(test_rows_that_are_only_read_do_not_count),
		cmocka_unit_test(test_pauses_are_shown),
		cmocka_unit_test(test_rate_is_changed_in_a_pause),
		cmocka_unit_test(test_control_in_a_pause),
		cmocka_unit_test(test_stop_in_a_pause),
		cmocka_unit_test(test_rate_of_a_daemon_that_is_restarted),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
