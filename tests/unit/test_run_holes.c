/* How a run works off what others held, as golden traces. */

#include "run_drive.h"

static void test_many_held_rows_become_a_window_hole(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "BF013");
	fails(&d, "55P03");
	ok(&d);
	ok(&d);
	window(&d, 1000, "{2000}");
	expect(&d,
		"BF013 -> skip window (..1000] seq 0\n"
		"55P03 -> wait 50 ms: 55P03: oh -> again in 50 ms\n"
		"ok -> skip window (..1000] seq 0\n"
		"ok -> read window (1000..] limit 1000\n"
		"ok -> batch (1000..2000] seq 1\n");
	end(&d);
}

static void test_window_hole_is_peeled(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	ok(&d);
	window_hole(&d, 5, "{120}", "{300}");
	window(&d, 99, "{290}"); /* fewer than asked for: all of it */
	ok(&d);
	window_hole(&d, 6, "", "{5}");
	window(&d, 0, "");
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..120] seq 1\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (120..300]\n"
		"ok -> batch hole 5 (120..300] seq 2\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 6 (..5]\n"
		"ok -> batch hole 6 (..5] seq 3\n"
		"ok -> next hole after 5\n"
		"ok -> finish range seq 4\n");
	end(&d);
}

static void test_held_row_is_waited_for(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	hole(&d, 5, "{17}", 61000);
	d.ev.blockers = "pid 5 (joe)";
	fails(&d, "55P03");
	hole(&d, 6, "{18}", 61000);
	ok(&d);
	ok(&d);
	ok(&d);
	hole(&d, 5, "{17}", 62000);
	d.ev.blockers = "pid 5 (joe)";
	job_fails(&d, "57014");
	ok(&d);
	ok(&d);
	hole(&d, 5, "{17}", 63000);
	ok(&d);
	assert_string_equal(d.r.reason, "");
	ok(&d);
	expect(&d,
		"ok -> drain hole 5 (17) seq 1\n"
		"55P03 -> next hole after 5\n"
		"ok -> drain hole 6 (18) seq 1\n"
		"ok -> next hole after 6\n"
		"ok -> wait 100 ms: waits for 2 rows held by others:"
		" key (17) for 61 s by pid 5 (joe)\n"
		"ok -> next hole after 0\n"
		"ok -> drain hole 5 (17) seq 2\n"
		"57014 -> next hole after 5\n"
		"ok -> wait 200 ms: waits for 2 rows held by others:"
		" key (17) for 62 s by pid 5 (joe)\n"
		"ok -> next hole after 0\n"
		"ok -> drain hole 5 (17) seq 2\n"
		"ok -> next hole after 5\n"
		"ok -> finish range seq 3\n");
	end(&d);
}

/* The pauses grow from pass to pass, and begin anew when a row came free. */
static void test_pauses_between_passes(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	for (int pass = 0; pass < 9; pass++) {
		static const uint64_t pauses[] = { 100, 200, 400, 800, 1600,
			3200, 5000, 100, 200 };

		hole(&d, 5, "{17}", 1000);
		fails(&d, "55P03");
		if (pass == 7) {
			hole(&d, 6, "{18}", 1000);
			ok(&d);
		}
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		assert_int_equal(d.r.pause_ms, pauses[pass]);
		ok(&d);
	}
	end(&d);
}

/* The clock runs from the first pass that had to wait, whatever the age of the
 * hole, until one is drained. */
static void test_row_held_too_long(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	hole(&d, 5, "{17,\"a b\"}", 9000000);
	fails(&d, "55P03");
	ok(&d);
	d.now_ms += usual.hole_timeout_ms - d.r.pause_ms;
	ok(&d);
	hole(&d, 5, "{17,\"a b\"}", 3600000);
	fails(&d, "55P03");
	assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
	ok(&d);
	ok(&d);
	hole(&d, 5, "{17,\"a b\"}", 3600001);
	text_reset(&d.trace);
	d.ev.blockers = "pid 5 (joe)";
	fails(&d, "55P03");
	expect_end(&d,
		"55P03 -> disconnect\n"
		"ok -> fail BF023: rows were held by others for longer"
		" than hole_timeout (3600 s)\n"
		"ok -> end\n");
	assert_int_equal(d.r.error.code, BFE_SQL);
	assert_string_equal(d.r.error.detail,
		"The job waits for 2 rows held by others: key (17, a b) for"
		" 3600 s by pid 5 (joe).");
	assert_string_equal(d.r.error.hint,
		"End the transaction that holds them, then"
		" backfill.retry(job) goes on with the rows that are left (see"
		" backfill.holes).");
	end(&d);
}

/* A reload gives another hole_timeout to the job that waits. */
static void test_hole_timeout_of_a_reload(void **state)
{
	struct run_limits shorter = usual;
	struct drive d;

	(void)state;
	shorter.hole_timeout_ms = 60000;
	start_holes(&d);
	hole(&d, 5, "{17}", 0);
	fails(&d, "55P03");
	ok(&d);
	d.now_ms += 60000;
	run_set_limits(&d.r, &shorter);
	ok(&d);
	hole(&d, 5, "{17}", 60000);
	text_reset(&d.trace);
	fails(&d, "55P03");
	expect_end(&d,
		"55P03 -> disconnect\n"
		"ok -> fail BF023: rows were held by others for longer"
		" than hole_timeout (60 s)\n"
		"ok -> end\n");
	end(&d);
}

/* One pass that waits and, after hole_timeout, one more try. */
static void wait_too_long(struct drive *d)
{
	ok(d);
	assert_int_equal(run_current(&d->r), RUN_WAIT);
	d->now_ms += usual.hole_timeout_ms;
	ok(d);
}

/* Whatever made a hole smaller starts the clock and the pauses anew. */
static void test_progress_starts_the_clock_anew(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	window(&d, 0, "");
	for (int i = 0; i < 3; i++) {
		hole(&d, 5, "{17}", 1000);
		fails(&d, "55P03");
		wait_too_long(&d);
		if (i == 0) {
			hole(&d, 4, "{16}", 1000);
			ok(&d);
		} else if (i == 1) {
			window_hole(&d, 4, "{1}", "{300}");
			window(&d, 100, "{100}");
			ok(&d);
		} else {
			hole(&d, 4, "{16}", 1000);
			job_fails(&d, "23514");
			ok(&d);
		}
		hole(&d, 5, "{17}", 1000);
		fails(&d, "55P03");
		assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
		ok(&d);
		assert_int_equal(d.r.pause_ms, 100);
		ok(&d);
		hole(&d, 5, "{17}", 1000);
		ok(&d);
	}
	end(&d);
}

/* Trouble now and then between long waits for a held row is no trouble that
 * lasts. */
static void test_held_row_and_rare_trouble(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	for (int i = 0; i < 5; i++) {
		fails(&d, "40001");
		ok(&d);
		hole(&d, 5, "{17}", 1000);
		fails(&d, "55P03");
		ok(&d);
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
		d.now_ms += usual.trouble_timeout_ms;
	}
	end(&d);
}

/* A hole that could not be tried at all is not passed over. */
static void test_hole_is_not_lost_to_trouble(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	hole(&d, 5, "{17}", 1000);
	fails(&d, "53100");
	ok(&d);
	hole(&d, 5, "{17}", 1100);
	fails(&d, "BF013"); /* as a trigger could say */
	ok(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 99, "{290}");
	fails(&d, "BF013"); /* rows came into it */
	ok(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{40}");
	fails(&d, "55P03");
	ok(&d);
	expect(&d,
		"ok -> drain hole 5 (17) seq 1\n"
		"53100 -> wait 50 ms: 53100: oh -> again in 50 ms\n"
		"ok -> next hole after 4\n"
		"ok -> drain hole 5 (17) seq 1\n"
		"BF013 -> wait 100 ms: BF013: oh -> again in 100 ms\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..300] seq 1\n"
		"BF013 -> wait 200 ms: BF013: oh -> again in 200 ms\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..40] seq 1\n"
		"55P03 -> wait 400 ms: 55P03: oh -> again in 400 ms\n"
		"ok -> batch hole 5 (10..40] seq 1\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_held_rows_become_a_window_hole),
		cmocka_unit_test(test_window_hole_is_peeled),
		cmocka_unit_test(test_held_row_is_waited_for),
		cmocka_unit_test(test_pauses_between_passes),
		cmocka_unit_test(test_row_held_too_long),
		cmocka_unit_test(test_hole_timeout_of_a_reload),
		cmocka_unit_test(test_progress_starts_the_clock_anew),
		cmocka_unit_test(test_held_row_and_rare_trouble),
		cmocka_unit_test(test_hole_is_not_lost_to_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
