/* test_pauses.c: what the checkpoint keeps of the time of batches and of the
 * pauses between them, and what limits of the job a batch is told. As a runner
 * would, in SQL. */
#include "queue_drive.h"

static const char *times(void)
{
	return of_range("pause_ms BETWEEN 5000 AND 60000, paced_ms BETWEEN"
			" 5000 AND 60000, batch_ms BETWEEN 0 AND 4999");
}

/* From the batch before, or since a daemon has it. */
static void test_pauses_of_a_job(void **state)
{
	(void)state;
	make_table();
	job = submit("times", "max_rows_per_second, max_replication_lag",
		"7, '2.5s'");
	assert_string_equal(
		sql_text(app, "SELECT paced FROM backfill.progress"),
		"00:00:00");
	begin();
	sql_exec(db,
		"UPDATE backfill.ranges SET attached_at = attached_at -"
		" '7s'::interval");
	batch(10, 10, 0);
	assert_string_equal(times(), "t t t");
	sql_exec(db,
		"UPDATE backfill.ranges SET attached_at = attached_at"
		" - '1d'::interval, checkpoint_at = checkpoint_at"
		" - '9s'::interval");
	batch(20, 10, 0);
	assert_string_equal(times(), "t t t");
	assert_string_equal(of_range("paced_ms BETWEEN pause_ms + 7000 AND"
				     " 60000"),
		"t");
	assert_true(sql_true(app,
		"SELECT pause BETWEEN '9s' AND '60s' AND paced > pause"
		" FROM backfill.progress WHERE id = %lld",
		job));

	/* The days between are nobody's pause. */
	release("once more");
	assert_true(sql_true(app,
		"SELECT pause IS NULL AND paced > '16s'"
		" FROM backfill.progress WHERE id = %lld",
		job));
	sql_exec(db,
		"UPDATE backfill.ranges SET attached_at = attached_at"
		" - '1d'::interval, checkpoint_at = checkpoint_at"
		" - '1d'::interval");
	assert_string_equal(claim(), "times");
	attach();
	batch(30, 10, 0);
	assert_string_equal(
		of_range("pause_ms < 5000, paced_ms < 60000"), "t t");
}

/* Between two checkpoints there is a pause, and a batch. */
static void test_time_of_a_batch(void **state)
{
	char before[64];

	(void)state;
	make_table();
	job = submit("batch", "", "");
	begin();
	batch(10, 10, 0);
	(void)snprintf(before, sizeof before, "%s", of_range("checkpoint_at"));
	sql_exec(app, "BEGIN");
	sql_wait(db, 60,
		"SELECT clock_timestamp() > '%s'::timestamptz + '200 ms'"
		"::interval",
		sql_text(app, "SELECT clock_timestamp()"));
	batch(20, 10, 0);
	assert_true(sql_true(db,
		"SELECT batch_ms >= 200 AND abs(1000 * extract(epoch FROM"
		" checkpoint_at - '%s'::timestamptz) - batch_ms - pause_ms)"
		" < 5 FROM backfill.ranges WHERE job_id = %lld",
		before, job));
	assert_string_equal(
		sql_text(app, "SELECT batch_time FROM backfill.progress"),
		of_range("make_interval(secs => batch_ms / 1000.0)"));
}

/* As the batch finds it, and who takes the job over. */
static void test_limits_of_a_job(void **state)
{
	(void)state;
	make_table();
	job = submit("limits", "max_rows_per_second, max_replication_lag",
		"7, '2.5s'");
	begin();
	assert_string_equal(sql_text(app,
				    "SELECT concat_ws(' ', max_rows_per_second,"
				    " max_replication_lag_ms) FROM"
				    " backfill.attach(%lld, 1, %lld, NULL)",
				    job, epoch_of_job()),
		"7 2500");
	sql_exec(app,
		"UPDATE backfill.jobs SET max_rows_per_second = 8,"
		" max_replication_lag = '100ms' WHERE id = %lld",
		job);
	assert_string_equal(sql_text(app,
				    "SELECT concat_ws(' ', max_rows_per_second,"
				    " max_replication_lag_ms) FROM"
				    " backfill.begin_batch(%lld, 1, %lld, 0)",
				    job, epoch_of_job()),
		"8 100");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, queue_clean)
	const struct CMUnitTest tests[] = {
		TEST(test_pauses_of_a_job),
		TEST(test_time_of_a_batch),
		TEST(test_limits_of_a_job),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
