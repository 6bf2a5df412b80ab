/* A row alone that takes longer than a statement may, as golden traces. */

#include "run_drive.h"

/* One row that always takes too long is told like any other that cannot be
 * changed; for a while the server may be to blame. */
static void test_row_that_is_too_slow(void **state)
{
	struct drive d;
	int failures = 0;

	(void)state;
	start_batches(&d);
	while (run_current(&d.r) != RUN_DISCONNECT) {
		assert_true(failures < 40);
		switch (run_current(&d.r)) {
		case RUN_READ_WINDOW:
			window(&d, d.r.limit, d.r.limit == 1 ? "{1}" : "{9}");
			break;
		case RUN_BATCH:
			job_fails(&d, "57014");
			failures++;
			break;
		default:
			ok(&d);
			break;
		}
	}
	/* 1000, 500, 250, 125, 62, 31, 15, 7, 3, 1; that one ten times more. */
	assert_int_equal(failures, 20);
	text_reset(&d.trace);
	ok(&d);
	expect(&d, "ok -> fail 57014: oh\n");
	assert_string_equal(d.r.error.detail, "It is the row with key (1).");
	end(&d);
}

/* As far as one row that timed out alone, seq 1; the trace is empty. */
static void start_slow_hole(struct drive *d)
{
	start_holes(d);
	window_hole(d, 5, "{10}", "{300}");
	window(d, 1, "{20}");
	job_fails(d, "57014");
	assert_true(d->r.is_slow);
	text_reset(&d->trace);
}

/* More time from the second try on, and no longer than for that row. */
static void test_slow_row_of_the_walk(void **state)
{
	struct run_limits limits = usual;
	struct drive d;

	(void)state;
	limits.size.first_rows = 1;
	limits.size.max_rows = 1;
	start(&d, &limits);
	ok(&d);
	attach(&d, 1, "{1}");
	job_fails(&d, "57014");
	ok(&d);
	window(&d, 1, "{2}");
	/* The fence is no row, and a lock none that is slow. */
	fails(&d, "57014");
	ok(&d);
	d.ev.blockers = "pid 5 (joe)";
	job_fails(&d, "57014");
	ok(&d);
	job_fails(&d, "53200");
	ok(&d);
	expect(&d,
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n"
		"ok -> batch (..1] seq 0 slow\n"
		"ok -> batch (1..2] seq 1\n"
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n"
		"ok -> batch (1..2] seq 1\n"
		"57014 -> wait 100 ms: held up by pid 5 (joe)"
		" -> again in 100 ms\n"
		"ok -> batch (1..2] seq 1\n"
		"53200 -> wait 200 ms: 53200: oh -> again in 200 ms\n"
		"ok -> batch (1..2] seq 1 slow\n");
	end(&d);
}

/* Behind a new connection the batch may be a large one. */
static void test_slow_row_and_a_lost_connection(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.batch_rows = 1;
	attach(&d, 1, "{1}");
	job_fails(&d, "57014");
	ok(&d);
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	taken(&d, 8);
	ok(&d);
	attached(&d, 0, "", "{5000}");
	ok(&d);
	text_reset(&d.trace);
	window(&d, 1000, "{1000}");
	expect(&d, "ok -> batch (..1000] seq 0\n");
	assert_int_equal(d.r.timeouts_of_row, 0);
	end(&d);
}

/* Ten times, then it is an error of the row, in a drain too. */
static void test_slow_row_of_a_drain(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	window(&d, 0, "");
	hole(&d, 5, "{17}", 1000);
	text_reset(&d.trace);
	for (int i = 0; i < 10; i++) {
		job_fails(&d, "57014");
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		ok(&d);
		hole(&d, 5, "{17}", 1000);
		assert_true(d.r.is_slow);
		if (i == 0) {
			expect(&d,
				"57014 -> wait 50 ms: 57014: oh"
				" -> again in 50 ms\n"
				"ok -> next hole after 4\n"
				"ok -> drain hole 5 (17) seq 1 slow\n");
		}
	}
	text_reset(&d.trace);
	job_fails(&d, "57014");
	ok(&d);
	hole(&d, 6, "{18}", 1000);
	expect(&d,
		"57014 -> set aside (17) of hole 5 seq 1: 57014\n"
		"ok -> next hole after 5\n"
		"ok -> drain hole 6 (18) seq 2\n");
	assert_int_equal(d.r.timeouts_of_row, 0);
	end(&d);
}

/* A fence that is slow is no row's error, however often. */
static void test_slow_fence_of_a_drain(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	window(&d, 0, "");
	hole(&d, 5, "{17}", 1000);
	for (int i = 0; i < 12; i++) {
		fails(&d, "57014");
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		ok(&d);
		hole(&d, 5, "{17}", 1000);
		assert_int_equal(run_current(&d.r), RUN_DRAIN_HOLE);
		assert_false(d.r.is_slow);
	}
	end(&d);
}

/* Given its time, it meets a lock: held, and the next hole is none that is
 * slow. */
static void test_slow_row_that_is_held(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	hole(&d, 5, "{17}", 1000);
	text_reset(&d.trace);
	job_fails(&d, "57014");
	ok(&d);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "55P03");
	hole(&d, 6, "{18}", 1000);
	expect(&d,
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n"
		"ok -> next hole after 4\n"
		"ok -> drain hole 5 (17) seq 1 slow\n"
		"55P03 -> next hole after 5\n"
		"ok -> drain hole 6 (18) seq 1\n");
	assert_int_equal(d.r.timeouts_of_row, 0);
	end(&d);
}

/* One row of a window hole; with more rows the bound is back. */
static void test_slow_row_of_a_window_hole(void **state)
{
	struct drive d;

	(void)state;
	start_slow_hole(&d);
	ok(&d);
	job_fails(&d, "BF013");
	ok(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 2, "{30}");
	expect(&d,
		"ok -> batch hole 5 (10..300] seq 1 slow\n"
		"BF013 -> wait 100 ms: BF013: oh -> again in 100 ms\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..300] seq 1\n");
	end(&d);

	start_slow_hole(&d);
	ok(&d);
	d.ev.blockers = "pid 5 (joe)";
	job_fails(&d, "57014");
	window_hole(&d, 6, "{310}", "{400}");
	window(&d, 1, "{320}");
	expect(&d,
		"ok -> batch hole 5 (10..300] seq 1 slow\n"
		"57014 -> next hole after 5\n"
		"ok -> read hole 6 (310..400]\n"
		"ok -> batch hole 6 (310..400] seq 1\n");
	end(&d);
}

/* Rows came into a hole that was read as empty: it is read again. */
static void test_empty_hole_that_is_slow(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 0, "");
	job_fails(&d, "57014");
	ok(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..300] seq 1\n"
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..120] seq 1\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_row_that_is_too_slow),
		cmocka_unit_test(test_slow_row_of_the_walk),
		cmocka_unit_test(test_slow_row_and_a_lost_connection),
		cmocka_unit_test(test_slow_row_of_a_drain),
		cmocka_unit_test(test_slow_fence_of_a_drain),
		cmocka_unit_test(test_slow_row_that_is_held),
		cmocka_unit_test(test_slow_row_of_a_window_hole),
		cmocka_unit_test(test_empty_hole_that_is_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
