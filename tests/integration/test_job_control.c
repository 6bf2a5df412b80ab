/* test_job_control.c: pause, resume, cancel, stop_all, start_all and changed
 * settings, each given while a batch of ten rows is in flight and stands at
 * the gate: what commits after it is what the promise is about. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

enum { ROWS = 100, BATCH = 10 };

/* The fourth batch is in flight; three are committed. */
static void start_job(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, tx bigint, seen text);"
		"INSERT INTO %s (id) SELECT generate_series(1, %d)",
		name, name, ROWS);
	gate_close(35);
	job_submit(name, name, BATCH,
		"n = n + 1 + gate_pass(id), tx = txid_current(),"
		" seen = current_setting('lock_timeout')",
		NULL, NULL);
	gate_wait(name);
	assert_int_equal(sql_int(shop.db,
				 "SELECT r.seq FROM backfill.ranges r"
				 " WHERE r.job_id = %lld",
				 (long long)job_id(name)),
		3);
}

/* The daemon has let go of the job: no batch of it can follow. */
static void wait_released(const char *name)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT r.owner IS NULL AND NOT EXISTS (SELECT FROM"
		" pg_stat_activity a WHERE a.application_name ="
		" format('backfilld %%s/1', r.job_id))"
		" FROM backfill.ranges r WHERE r.job_id = %lld",
		(long long)job_id(name));
}

static void assert_job(const char *name, const char *wanted)
{
	assert_string_equal(sql_text(shop.db,
				    "SELECT format('%%s: %%s', state, reason)"
				    " FROM backfill.progress WHERE name = '%s'",
				    name),
		wanted);
}

/* So many batches are committed, with all that belongs to them. */
static void assert_batches(const char *name, int batches)
{
	char wanted[64];

	(void)snprintf(wanted, sizeof wanted, "%d %d %d %d %d", batches,
		batches * BATCH, batches * BATCH, batches * BATCH,
		batches * BATCH);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', r.seq, r.rows_read,"
			" r.rows_done, r.cursor[1],"
			" (SELECT count(*) FROM %s WHERE n = 1"
			"  AND id <= r.cursor[1]::bigint))"
			" FROM backfill.ranges r WHERE r.job_id = %lld",
			name, (long long)job_id(name)),
		wanted);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM %s WHERE n <>"
				 " (id <= %d)::integer",
				 name, batches * BATCH),
		0);
}

/* Every row once, and by as many batches as without any trouble. */
static void assert_whole(const char *name)
{
	job_wait(name, "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM %s WHERE n = 1", name),
		ROWS);
	assert_int_equal(sql_int(shop.db,
				 "SELECT rows_read FROM backfill.progress"
				 " WHERE name = '%s'",
				 name),
		ROWS);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(DISTINCT tx) FROM %s", name),
		ROWS / BATCH);
}

/* ---- pause and resume */

static void test_pause_and_resume(void **state)
{
	(void)state;
	start_job("paused");
	sql_exec(shop.app, "SELECT backfill.pause('paused', 'lunch')");
	assert_job("paused", "paused: paused by app: lunch");
	gate_open();
	wait_released("paused");
	/* The batch in flight ended, and no other began. */
	assert_batches("paused", 4);
	assert_job("paused", "paused: paused by app: lunch");

	sql_exec(shop.app, "SELECT backfill.resume('paused')");
	assert_whole("paused");
	assert_job("paused", "succeeded: ");
	assert_string_equal(job_events("paused"),
		"submitted,started,preflight,begun,pause,resume,started,"
		"succeeded");
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws(' ', actor, detail)"
				    " FROM backfill.events WHERE job_id = %lld"
				    " AND event = 'pause'",
				    (long long)job_id("paused")),
		"app lunch");
}

static void test_pause_of_a_queued_job(void **state)
{
	(void)state;
	start_job("first");
	job_submit("second", "first", BATCH, "n = n * 10", NULL, NULL);
	sql_exec(shop.db, "SELECT backfill.pause(%lld)",
		(long long)job_id("second"));
	gate_open();
	assert_whole("first");
	assert_job("second", "paused: paused by postgres");
	sql_exec(shop.db, "SELECT backfill.resume(%lld)",
		(long long)job_id("second"));
	job_wait("second", "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM first WHERE n = 10"),
		ROWS);
}

/* ---- cancel */

static void test_cancel_ends_the_batch_in_flight(void **state)
{
	struct sql_failure failure;

	(void)state;
	start_job("cancelled");
	sql_exec(shop.app, "SELECT backfill.cancel('cancelled', 'a mistake')");
	/* The gate stays closed: the batch can only end by being ended. */
	wait_released("cancelled");
	gate_open();
	assert_batches("cancelled", 3);
	assert_job("cancelled", "cancelled: cancelled by app: a mistake");
	assert_true(sql_true(shop.db,
		"SELECT finished_at IS NOT NULL FROM backfill.jobs"
		" WHERE name = 'cancelled'"));
	assert_string_equal(job_events("cancelled"),
		"submitted,started,preflight,begun,cancel");

	sql_fails(shop.app, &failure, "SELECT backfill.resume('cancelled')");
	assert_string_equal(failure.sqlstate, "BF003");
	assert_string_equal(failure.message,
		sql_text(shop.db,
			"SELECT 'cannot resume job %lld: it is cancelled'",
			(long long)job_id("cancelled")));
	assert_string_equal(failure.detail, "");
	assert_string_equal(
		failure.hint, "Submit a new job to change the table again.");
}

static void test_control_of_an_unknown_job(void **state)
{
	struct sql_failure failure;

	(void)state;
	sql_fails(shop.app, &failure, "SELECT backfill.pause('nosuch')");
	assert_string_equal(failure.sqlstate, "BF002");
	assert_string_equal(failure.message, "job \"nosuch\" does not exist");
	assert_string_equal(failure.detail,
		"Or its run_as is a role that you may not become.");
	assert_string_equal(failure.hint, "");
}

/* ---- stop_all and start_all */

static void test_stop_all_and_start_all(void **state)
{
	struct sql_failure failure;

	(void)state;
	start_job("stopped_a");
	start_job("stopped_b");
	sql_fails(shop.app, &failure, "SELECT backfill.stop_all('mine')");
	assert_string_equal(failure.sqlstate, "42501");
	assert_string_equal(
		failure.message, "permission denied for function stop_all");

	sql_exec(shop.db, "SELECT backfill.stop_all('disk is full')");
	gate_open();
	wait_released("stopped_a");
	wait_released("stopped_b");
	/* Submitted meanwhile, it does not begin at all. */
	job_submit("stopped_c", "stopped_a", BATCH, "n = n * 10", NULL, NULL);
	assert_batches("stopped_a", 4);
	assert_batches("stopped_b", 4);
	assert_job("stopped_a",
		"queued: all work is stopped by postgres: disk is full");
	assert_job("stopped_b",
		"queued: all work is stopped by postgres: disk is full");
	assert_job("stopped_c",
		"queued: all work is stopped by postgres: disk is full");
	assert_string_equal(sql_text(shop.db,
				    "SELECT reason FROM backfill.jobs"
				    " WHERE name = 'stopped_a'"),
		"all work is stopped by postgres: disk is full");

	sql_exec(shop.db, "SELECT backfill.start_all()");
	assert_whole("stopped_b");
	job_wait("stopped_a", "succeeded");
	job_wait("stopped_c", "succeeded");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM stopped_a"
				 " WHERE n = 10"),
		ROWS);
	assert_string_equal(job_events("stopped_b"),
		"submitted,started,preflight,begun,released,started,succeeded");
}

/* ---- settings of a running job */

/* The sizes of the batches, in order. */
static const char *sizes(const char *table)
{
	return sql_text(shop.db,
		"SELECT string_agg(rows::text, ' ' ORDER BY first) FROM"
		" (SELECT count(*) AS rows, min(id) AS first FROM %s"
		" GROUP BY tx) b",
		table);
}

/* Two windows of the old size were read ahead at the time: that of the batch
 * in flight, and the next one. */
static void test_larger_batches(void **state)
{
	(void)state;
	start_job("larger");
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET batch_rows = 20, max_batch_rows = 20"
		" WHERE name = 'larger'");
	gate_open();
	job_wait("larger", "succeeded");
	assert_string_equal(sizes("larger"), "10 10 10 10 10 10 20 20");
	assert_int_equal(sql_int(shop.db,
				 "SELECT batch_rows FROM backfill.progress"
				 " WHERE name = 'larger'"),
		20);
}

/* What is too large is not taken, though it was read ahead. */
static void test_smaller_batches(void **state)
{
	(void)state;
	start_job("smaller");
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET batch_rows = 3, max_batch_rows = 5"
		" WHERE name = 'smaller'");
	gate_open();
	job_wait("smaller", "succeeded");
	assert_memory_equal(
		sizes("smaller"), "10 10 10 10 10 5 5 5 5 5 5 5 5 5 5", 33);
}

static void test_lock_timeout_of_the_next_batch(void **state)
{
	(void)state;
	start_job("lock_timed");
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET lock_timeout = '1234ms'"
		" WHERE name = 'lock_timed'");
	gate_open();
	assert_whole("lock_timed");
	/* The configuration's before. */
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(DISTINCT"
			" CASE WHEN id > 40 THEN 'after ' ELSE 'before ' END"
			" || seen, ', ') FROM lock_timed"),
		"after 1234ms, before 500ms");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pause_and_resume),
		cmocka_unit_test(test_pause_of_a_queued_job),
		cmocka_unit_test(test_cancel_ends_the_batch_in_flight),
		cmocka_unit_test(test_control_of_an_unknown_job),
		cmocka_unit_test(test_stop_all_and_start_all),
		cmocka_unit_test(test_larger_batches),
		cmocka_unit_test(test_smaller_batches),
		cmocka_unit_test(test_lock_timeout_of_the_next_batch),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
