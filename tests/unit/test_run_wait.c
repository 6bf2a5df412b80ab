/* A run whose batches others keep waiting, or whose holes have rows that
 * cannot be changed, as golden traces. */

#include "run_drive.h"

/* ---- batches that wait ---- */

static void is_kept_waiting(struct drive *d, const char *sqlstate)
{
	d->ev.blockers = "pid 5 (joe)";
	job_fails(d, sqlstate);
}

/* Three times patiently, then it is left for later. */
static void test_waiting_batch_is_left(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	attach(&d, 3, "{30}");
	is_kept_waiting(&d, "55P03");
	ok(&d);
	is_kept_waiting(&d, "57014");
	ok(&d);
	is_kept_waiting(&d, "40P01");
	ok(&d);
	is_kept_waiting(&d, "57014");
	ok(&d);
	assert_string_equal(d.r.reason, "");
	assert_int_equal(d.r.size.rows, 1000);
	window(&d, 1000, "{1030}");
	is_kept_waiting(&d, "55P03");
	expect(&d,
		"55P03 -> wait 50 ms: held up by pid 5 (joe)"
		" -> again in 50 ms\n"
		"ok -> batch (..30] seq 0\n"
		"57014 -> wait 100 ms: held up by pid 5 (joe)"
		" -> again in 100 ms\n"
		"ok -> batch (..30] seq 0\n"
		"40P01 -> wait 200 ms: held up by pid 5 (joe)"
		" -> again in 200 ms\n"
		"ok -> batch (..30] seq 0\n"
		"57014 -> skip window (..30] seq 0\n"
		"ok -> read window (30..] limit 1000\n"
		"ok -> batch (30..1030] seq 1\n"
		/* Patient anew. */
		"55P03 -> wait 50 ms: held up by pid 5 (joe)"
		" -> again in 50 ms\n");
	end(&d);
}

/* A half that waits: the rows that were suspected in it are behind us. */
static void test_waiting_half_is_left(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	job_fails(&d, "23514");
	window(&d, 500, "{500}");
	job_fails(&d, "23514");
	window(&d, 250, "{250}");
	for (int i = 0; i < 3; i++) {
		is_kept_waiting(&d, "55P03");
		ok(&d);
	}
	text_reset(&d.trace);
	is_kept_waiting(&d, "55P03");
	ok(&d);
	window(&d, 125, "{375}");
	window(&d, 63, "{438}");
	window(&d, 62, "{500}");
	window(&d, 1000, "{1500}");
	expect(&d,
		"55P03 -> skip window (..250] seq 0\n"
		"ok -> read window (250..] limit 125\n"
		"ok -> batch (250..375] seq 1 next 63\n"
		"ok -> batch (375..438] seq 2 next 31\n"
		"ok -> read window (438..] limit 31\n"
		"ok -> batch (438..1500] seq 3\n");
	end(&d);
}

/* A timeout with nobody in the way is a matter of size. */
static void test_timeout_without_blockers(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	job_fails(&d, "57014");
	assert_int_equal(d.r.size.rows, 500);
	expect(&d, "57014 -> read window (..] limit 500\n");
	/* Of halves too. */
	window(&d, 500, "{500}");
	job_fails(&d, "23514");
	window(&d, 250, "{250}");
	job_fails(&d, "57014");
	window(&d, 250, "{250}");
	job_fails(&d, "57014");
	expect(&d,
		"ok -> batch (..500] seq 0\n"
		"23514 -> read window (..] limit 250\n"
		"ok -> batch (..250] seq 0 next 125\n"
		"57014 -> read window (..] limit 250\n"
		"ok -> batch (..250] seq 0 next 125\n"
		"57014 -> read window (..] limit 125\n");
	end(&d);
}

/* A lock of the whole table is waited for, and no row of the batch pays. */
static void test_lock_of_the_table(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	for (int i = 0; i < 8; i++) {
		d.ev.blockers = "pid 5 (joe)";
		d.ev.waits_for_table = 1;
		job_fails(&d, "55P03");
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_BATCH);
		assert_int_equal(d.r.window_rows, 1000);
	}
	end(&d);
}

/* Who was not seen may have locked the table: looked for twice as often. Once
 * somebody was seen, it is a row. */
static void test_lock_of_somebody_unseen(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	for (int i = 0; i < 6; i++) {
		job_fails(&d, "55P03");
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		ok(&d);
	}
	text_reset(&d.trace);
	job_fails(&d, "55P03");
	expect(&d, "55P03 -> skip window (..1000] seq 0\n");
	ok(&d);
	window(&d, 1000, "{2000}");
	for (int i = 0; i < 4; i++) {
		job_fails(&d, "55P03");
		ok(&d);
	}
	text_reset(&d.trace);
	is_kept_waiting(&d, "55P03");
	expect(&d, "55P03 -> skip window (1000..2000] seq 1\n");
	end(&d);
}

/* What waits before the job's own statement is no matter of a row. */
static void test_fence_that_waits(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	for (int i = 0; i < 6; i++) {
		fails(&d, "55P03");
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_BATCH);
	}
	end(&d);
}

/* ---- window holes ---- */

static void test_bad_row_of_a_window_hole(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	window(&d, 0, "");
	text_reset(&d.trace);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 4, "{50}"); /* less than asked for: to its end */
	job_fails(&d, "23514");
	window(&d, 2, "{30}");
	ok(&d);
	window_hole(&d, 5, "{30}", "{300}");
	window(&d, 1, "{40}");
	job_fails(&d, "23514");
	ok(&d);
	window_hole(&d, 5, "{40}", "{300}");
	window(&d, 1, "{50}");
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..300] seq 1\n"
		"23514 -> read hole 5 (10..300] limit 2\n"
		"ok -> batch hole 5 (10..30] seq 1\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (30..300] limit 1\n"
		"ok -> batch hole 5 (30..40] seq 2\n"
		"23514 -> set aside (40) of hole 5 seq 2: 23514\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (40..300]\n"
		"ok -> batch hole 5 (40..300] seq 3\n"
		"ok -> next hole after 4\n"
		"ok -> finish range seq 4\n");
	end(&d);
}

/* Passed over at once: the next pass comes after a pause. */
static void test_window_hole_that_waits(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	is_kept_waiting(&d, "57014");
	window_hole(&d, 6, "{310}", "{400}");
	window(&d, 20, "{390}");
	ok(&d);
	ok(&d);
	ok(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	d.now_ms += usual.hole_timeout_ms;
	is_kept_waiting(&d, "40P01");
	expect_end(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..120] seq 1\n"
		"57014 -> next hole after 5\n"
		"ok -> read hole 6 (310..400]\n"
		"ok -> batch hole 6 (310..400] seq 1\n"
		"ok -> next hole after 5\n"
		"ok -> wait 100 ms: waits for 1 rows held by others: keys up"
		" to (300) for 1 s by pid 5 (joe)\n"
		"ok -> next hole after 0\n"
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..120] seq 2\n"
		"40P01 -> disconnect\n"
		"ok -> fail BF023: rows were held by others for longer"
		" than hole_timeout (3600 s)\n"
		"ok -> end\n");
	end(&d);
}

/* What was suspected in a hole is no matter of the next one. */
static void test_half_of_a_hole_that_waits(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	window(&d, 0, "");
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	text_reset(&d.trace);
	job_fails(&d, "23514");
	window(&d, 50, "{60}");
	is_kept_waiting(&d, "55P03");
	window_hole(&d, 6, "{310}", "{400}");
	expect(&d,
		"23514 -> read hole 5 (10..300] limit 50\n"
		"ok -> batch hole 5 (10..60] seq 1\n"
		"55P03 -> next hole after 5\n"
		"ok -> read hole 6 (310..400]\n");
	end(&d);
}

/* A hundred rows may be too much for one statement. */
static void test_window_hole_that_takes_too_long(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	job_fails(&d, "57014");
	window(&d, 50, "{60}");
	ok(&d);
	window_hole(&d, 5, "{60}", "{300}");
	window(&d, 1, "{61}");
	job_fails(&d, "57014");
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..120] seq 1\n"
		"57014 -> read hole 5 (10..300] limit 50\n"
		"ok -> batch hole 5 (10..60] seq 1\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (60..300] limit 25\n"
		"ok -> batch hole 5 (60..61] seq 2\n"
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n");
	end(&d);
}

/* The rows that were suspected are gone: the next hole starts afresh. */
static void test_suspects_that_are_gone(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	job_fails(&d, "23514");
	window(&d, 0, "");
	ok(&d);
	window_hole(&d, 6, "{400}", "{700}");
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..120] seq 1\n"
		"23514 -> read hole 5 (10..300] limit 50\n"
		"ok -> batch hole 5 (10..300] seq 1\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 6 (400..700]\n");
	end(&d);

	start_job(&d);
	attach(&d, 100, "{100}");
	job_fails(&d, "23514");
	window(&d, 0, "");
	window_hole(&d, 6, "{400}", "{700}");
	expect(&d,
		"23514 -> read window (..] limit 50\n"
		"ok -> next hole after 0\n"
		"ok -> read hole 6 (400..700]\n");
	end(&d);

	/* Or skipped. */
	start_batches(&d);
	job_fails(&d, "23514");
	window(&d, 500, "{500}");
	job_fails(&d, "BF013");
	ok(&d);
	expect(&d,
		"23514 -> read window (..] limit 500\n"
		"ok -> batch (..500] seq 0 next 250\n"
		"BF013 -> skip window (..500] seq 0\n"
		"ok -> read window (500..] limit 250\n");
	end(&d);
}

/* ---- holes of one row ---- */

static void test_row_that_stays_as_it_was(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "BF014");
	expect_end(&d,
		"ok -> drain hole 5 (17) seq 1\n"
		"BF014 -> disconnect\n"
		"ok -> fail BF014: oh\n"
		"ok -> end\n");
	assert_string_equal(d.r.error.detail, "It is the row with key (17).");
	end(&d);

	start_recording(&d);
	window(&d, 0, "");
	text_reset(&d.trace);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "BF014");
	ok(&d);
	expect(&d,
		"ok -> drain hole 5 (17) seq 1\n"
		"BF014 -> set aside (17) of hole 5 seq 1: BF014\n"
		"ok -> next hole after 5\n");
	assert_int_equal(d.r.seq, 2);
	end(&d);
}

/* Whatever happens to other holes, the pause tells who holds the one. */
static void test_pause_keeps_its_reason(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	window(&d, 0, "");
	hole(&d, 5, "{17}", 1000);
	fails(&d, "55P03");
	hole(&d, 6, "{18}", 1000);
	job_fails(&d, "23514");
	ok(&d);
	assert_string_equal(d.r.reason,
		"waits for 2 rows held by others: key (17) for 1 s");
	text_reset(&d.trace);
	ok(&d);
	expect(&d,
		"ok -> wait 100 ms: waits for 2 rows held by others: key (17)"
		" for 1 s\n");
	ok(&d);
	hole(&d, 5, "{17}", 1000);
	fails(&d, "55P03");
	hole(&d, 6, "{18}", 1000);
	fails(&d, "53100");
	assert_string_equal(d.r.reason, "53100: oh -> again in 50 ms");
	ok(&d);
	hole(&d, 6, "{18}", 1000);
	ok(&d);
	fails(&d, "53100");
	ok(&d);
	text_reset(&d.trace);
	ok(&d);
	expect(&d,
		"ok -> wait 100 ms: waits for 2 rows held by others: key (17)"
		" for 1 s\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waiting_batch_is_left),
		cmocka_unit_test(test_waiting_half_is_left),
		cmocka_unit_test(test_window_hole_that_waits),
		cmocka_unit_test(test_half_of_a_hole_that_waits),
		cmocka_unit_test(test_timeout_without_blockers),
		cmocka_unit_test(test_lock_of_the_table),
		cmocka_unit_test(test_lock_of_somebody_unseen),
		cmocka_unit_test(test_fence_that_waits),
		cmocka_unit_test(test_bad_row_of_a_window_hole),
		cmocka_unit_test(test_window_hole_that_takes_too_long),
		cmocka_unit_test(test_suspects_that_are_gone),
		cmocka_unit_test(test_row_that_stays_as_it_was),
		cmocka_unit_test(test_pause_keeps_its_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
