/* A run that the pacer holds or slows down. */

#include "run_drive.h"

#include <stdio.h>

static const char LAG[] = "held: lag";

static void paced(struct drive *d, uint64_t ms)
{
	d->ev.pace_ms = ms;
	d->ev.paced_by = "120 kB/s";
}

static void held(struct drive *d, const char *why)
{
	d->ev.held_by = why;
}

/* Held before the first batch, and again after it: the batch that waited is
 * the one that goes. */
static void test_held_and_resumed(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	attached(&d, 0, "", "");
	ok(&d);
	ok(&d);
	begun(&d, "{5000}");
	text_reset(&d.trace);
	held(&d, LAG);
	window(&d, 1000, "{1000}");
	held(&d, "held: more lag");
	ok(&d);
	ok(&d);
	held(&d, LAG);
	window(&d, 1200, "{2200}");
	ok(&d);
	expect(&d,
		"ok -> pace 1000 ms: held: lag\n"
		"ok -> pace 1000 ms: held: more lag\n"
		"ok -> batch (..1000] seq 0\n"
		"ok -> pace 1000 ms: held: lag\n"
		"ok -> batch (1000..2200] seq 1\n");
	assert_string_equal(d.r.reason, "");
	end(&d);
}

/* Reading is no batch. */
static void test_reads_are_not_held(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	held(&d, LAG);
	attached(&d, 0, "", "");
	held(&d, LAG);
	ok(&d);
	held(&d, LAG);
	ok(&d);
	held(&d, LAG);
	begun(&d, "{5000}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"ok -> read window (..] limit 1000\n");
	end(&d);
}

static void test_every_write_is_held(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	held(&d, LAG);
	fails(&d, "BF013");
	ok(&d);
	expect(&d,
		"BF013 -> pace 1000 ms: held: lag\n"
		"ok -> skip window (..1000] seq 0\n");
	end(&d);

	start_holes(&d);
	held(&d, LAG);
	hole(&d, 5, "{17}", 1000);
	ok(&d);
	expect(&d,
		"ok -> pace 1000 ms: held: lag\n"
		"ok -> drain hole 5 (17) seq 1\n");
	end(&d);

	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	held(&d, LAG);
	window(&d, 100, "{120}");
	ok(&d);
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> pace 1000 ms: held: lag\n"
		"ok -> batch hole 5 (10..120] seq 1\n");
	end(&d);

	start_job(&d);
	d.ev.records_errors = 1;
	attach(&d, 1, "{1}");
	held(&d, LAG);
	job_fails(&d, "23514");
	ok(&d);
	expect(&d,
		"23514 -> pace 1000 ms: held: lag\n"
		"ok -> set aside (1) of hole 0 seq 0: 23514\n");
	end(&d);
}

static void test_stops_while_held(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	held(&d, LAG);
	window(&d, 1000, "{2000}");
	held(&d, LAG);
	d.ev.stop_asked = 1;
	ok(&d);
	expect_end(&d,
		"ok -> pace 1000 ms: held: lag\n"
		"ok -> disconnect\n"
		"ok -> release: the daemon stops\n"
		"ok -> end\n");
	end(&d);

	start_batches(&d);
	held(&d, LAG);
	window(&d, 1000, "{2000}");
	held(&d, LAG);
	d.ev.stopped_by = "job 7 is paused";
	ok(&d);
	expect_end(&d,
		"ok -> pace 1000 ms: held: lag\n"
		"ok -> disconnect\n"
		"ok -> release: job 7 is paused\n"
		"ok -> end\n");
	end(&d);

	/* Heard of in another wait, after which it would be held. */
	start_batches(&d);
	job_fails(&d, "55P03");
	text_reset(&d.trace);
	held(&d, LAG);
	d.ev.stopped_by = "job 7 is paused";
	ok(&d);
	expect_end(&d,
		"ok -> disconnect\n"
		"ok -> release: job 7 is paused\n"
		"ok -> end\n");
	end(&d);
}

/* What it waited for before is told again afterwards. */
static void test_reason_comes_back(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	hole(&d, 5, "{17}", 1000);
	d.ev.blockers = "pid 1";
	job_fails(&d, "55P03");
	held(&d, LAG);
	hole(&d, 6, "{18}", 1000);
	assert_string_equal(d.r.reason, LAG);
	ok(&d);
	assert_string_equal(d.r.reason,
		"waits for 2 rows held by others: key (17) for 1 s by pid 1");
	end(&d);
}

/* A day of holding uses up no timeout of what is tried again. */
static void test_held_time_does_not_count(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	job_fails(&d, "55P03");
	held(&d, LAG);
	ok(&d);
	assert_int_equal(run_current(&d.r), RUN_PACE);
	d.now_ms += 86400000;
	ok(&d);
	assert_int_equal(run_current(&d.r), RUN_BATCH);
	job_fails(&d, "55P03");
	assert_int_equal(run_current(&d.r), RUN_WAIT);
	end(&d);

	start_holes(&d);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "55P03");
	ok(&d);
	ok(&d);
	held(&d, LAG);
	hole(&d, 5, "{17}", 2000);
	d.now_ms += 86400000;
	ok(&d);
	job_fails(&d, "55P03");
	assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
	end(&d);
}

/* Short pauses are the usual; long ones are told. */
static void test_paused_by_the_rate(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	paced(&d, 120);
	window(&d, 1000, "{2000}");
	ok(&d);
	paced(&d, 5000);
	window(&d, 1000, "{3000}");
	paced(&d, 100);
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> pace 120 ms: \n"
		"ok -> batch (1000..2000] seq 1\n"
		"ok -> pace 1000 ms: paced: the next batch in 5 s (120 kB/s)\n"
		"ok -> pace 100 ms: paced: the next batch in 5 s (120 kB/s)\n"
		"ok -> batch (2000..3000] seq 2\n");
	end(&d);
}

/* A pause that was long at the moment of the worst lag: it is asked again, and
 * the queue is told of it now and then. */
static void test_long_pause_is_looked_at_again(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	for (int i = 0; i < 6; i++) {
		paced(&d, 320000 - (uint64_t)i * 1000);
		if (i == 0) {
			window(&d, 1000, "{2000}");
		} else {
			ok(&d);
		}
	}
	ok(&d);
	expect(&d,
		"ok -> pace 1000 ms: paced: the next batch in 320 s"
		" (120 kB/s)\n"
		"ok -> pace 1000 ms: paced: the next batch in 320 s"
		" (120 kB/s)\n"
		"ok -> pace 1000 ms: paced: the next batch in 320 s"
		" (120 kB/s)\n"
		"ok -> pace 1000 ms: paced: the next batch in 320 s"
		" (120 kB/s)\n"
		"ok -> pace 1000 ms: paced: the next batch in 320 s"
		" (120 kB/s)\n"
		"ok -> pace 1000 ms: paced: the next batch in 315 s"
		" (120 kB/s)\n"
		"ok -> batch (1000..2000] seq 1\n");
	end(&d);
}

/* A second's rows at a time, and the pause is from the batch's end. */
static void test_max_rows_per_second(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.max_rows_per_second = 400;
	attached(&d, 0, "", "");
	ok(&d);
	ok(&d);
	begun(&d, "{5000}");
	window(&d, 400, "{400}");
	text_reset(&d.trace);
	d.ev.max_rows_per_second = 400;
	batch_done(&d, 400, 0, 400, "{800}");
	ok(&d);
	/* A sparse stretch is not slowed down; a new rate counts at once. */
	d.ev.max_rows_per_second = 10;
	batch_done(&d, 40, 0, 400, "{1200}");
	window(&d, 10, "{810}");
	for (int i = 0; i < 4; i++) {
		ok(&d);
	}
	expect(&d,
		"ok -> pace 1000 ms: \n"
		"ok -> batch (400..800] seq 1 next 400\n"
		"ok -> read window (800..] limit 10\n"
		"ok -> pace 1000 ms: paced: the next batch in 4 s"
		" (max_rows_per_second 10)\n"
		"ok -> pace 1000 ms: paced: the next batch in 4 s"
		" (max_rows_per_second 10)\n"
		"ok -> pace 1000 ms: paced: the next batch in 4 s"
		" (max_rows_per_second 10)\n"
		"ok -> pace 1000 ms: paced: the next batch in 4 s"
		" (max_rows_per_second 10)\n"
		"ok -> batch (800..810] seq 2 next 10\n");
	end(&d);
}

/* Held for long: what it waited for before is what comes back, and all of the
 * time is left out. */
static void test_looked_at_again(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	hole(&d, 5, "{17}", 1000);
	d.ev.blockers = "pid 1";
	job_fails(&d, "55P03");
	held(&d, LAG);
	hole(&d, 6, "{18}", 1000);
	for (int i = 0; i < 8; i++) {
		d.now_ms += 3600000;
		held(&d, LAG);
		ok(&d);
	}
	ok(&d);
	assert_int_equal(run_current(&d.r), RUN_DRAIN_HOLE);
	assert_string_equal(d.r.reason,
		"waits for 2 rows held by others: key (17) for 1 s by pid 1");
	job_fails(&d, "55P03");
	assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
	end(&d);

	start_batches(&d);
	job_fails(&d, "55P03");
	held(&d, LAG);
	ok(&d);
	for (int i = 0; i < 8; i++) {
		d.now_ms += 3600000;
		held(&d, LAG);
		ok(&d);
	}
	ok(&d);
	job_fails(&d, "55P03");
	assert_int_equal(run_current(&d.r), RUN_WAIT);
	end(&d);
}

static void test_shortest_pause_that_is_told(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	paced(&d, 1999);
	window(&d, 1000, "{2000}");
	assert_string_equal(d.r.reason, "");
	paced(&d, 2000);
	ok(&d);
	assert_string_equal(
		d.r.reason, "paced: the next batch in 2 s (120 kB/s)");
	/* That of the next batch is another one. */
	ok(&d);
	paced(&d, 2500);
	window(&d, 1000, "{3000}");
	assert_string_equal(
		d.r.reason, "paced: the next batch in 2 s (120 kB/s)");
	end(&d);
}

/* The server takes no half of a character. */
static void test_long_reason_is_cut(void **state)
{
	char name[1400];
	struct drive d;

	(void)state;
	for (size_t i = 0; i + 2 < sizeof name; i += 2) {
		memcpy(&name[i], "\xc3\xa4", 3);
	}
	start_batches(&d);
	held(&d, name);
	window(&d, 1000, "{2000}");
	assert_int_equal(strlen(d.r.reason), sizeof d.r.reason - 2);
	end(&d);
}

/* A batch writes no more than the standbys can take at once. */
static void test_batches_follow_the_pacer(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	d.ev.sample.wal_bytes = 4 << 20;
	d.ev.max_batch_wal_bytes = 1 << 20;
	d.ev.window_rows = 1000;
	d.ev.sample.rows_read = 1000;
	d.ev.sample.rows_changed = 1000;
	d.ev.sample.elapsed_us = 250000;
	set_key(&d.window_hi, "{2000}");
	ok(&d);
	assert_true(d.r.size.rows < 500);
	end(&d);

	/* It has no wish to make them larger. */
	start_batches(&d);
	d.ev.max_batch_wal_bytes = INT64_MAX;
	window(&d, 1000, "{2000}");
	assert_int_equal(d.r.size.limits.max_wal_bytes, 16 << 20);
	end(&d);
}

/* To the millisecond, and a high rate asks for no large batch. */
static void test_rate_above_the_size_of_batches(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.max_rows_per_second = 400000;
	attached(&d, 0, "", "");
	ok(&d);
	ok(&d);
	begun(&d, "{5000}");
	window(&d, 1000, "{1000}");
	d.ev.max_rows_per_second = 400000;
	batch_done(&d, 900, 0, 1000, "{2000}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> batch (..1000] seq 0\n"
		"ok -> pace 2 ms: \n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_held_and_resumed),
		cmocka_unit_test(test_reads_are_not_held),
		cmocka_unit_test(test_every_write_is_held),
		cmocka_unit_test(test_stops_while_held),
		cmocka_unit_test(test_reason_comes_back),
		cmocka_unit_test(test_held_time_does_not_count),
		cmocka_unit_test(test_paused_by_the_rate),
		cmocka_unit_test(test_long_pause_is_looked_at_again),
		cmocka_unit_test(test_max_rows_per_second),
		cmocka_unit_test(test_looked_at_again),
		cmocka_unit_test(test_shortest_pause_that_is_told),
		cmocka_unit_test(test_long_reason_is_cut),
		cmocka_unit_test(test_batches_follow_the_pacer),
		cmocka_unit_test(test_rate_above_the_size_of_batches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
