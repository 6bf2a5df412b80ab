/* An application waits for a batch for too long: golden traces, and where
 * the sizes of the batches settle. */

#include "run_drive.h"

#define WAITED                                                                 \
	"pid 7 (joe) has waited 1.0 s for the batch (max_blocking_time 1s)"

/* A batch that is made smaller gives way before it comes back. */
static void is_cut(struct drive *d, int64_t elapsed_ms)
{
	blocks(d, elapsed_ms);
	assert_int_equal(run_current(&d->r), RUN_WAIT);
	ok(d);
}

/* Half the rows; what is left of the size is what was found. */
static void test_window_is_halved(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	is_cut(&d, 1000);
	assert_string_equal(
		d.r.reason, WAITED " -> cancelled, again with 250 rows");
	window(&d, 250, "{250}");
	assert_string_equal(
		d.r.reason, WAITED " -> cancelled, again with 250 rows");
	is_cut(&d, 700);
	window(&d, 89, "{89}");
	batch_done(&d, 89, 0, 89, "{178}");
	assert_string_equal(d.r.reason, "");
	expect(&d,
		"57014 -> wait 50 ms: " WAITED
		" -> cancelled, again with 250 rows\n"
		"ok -> read window (..] limit 250\n"
		"ok -> batch (..250] seq 0\n"
		"57014 -> wait 50 ms: " WAITED
		" -> cancelled, again with 89 rows\n"
		"ok -> read window (..] limit 89\n"
		"ok -> batch (..89] seq 0\n"
		"ok -> batch (89..178] seq 1\n");
	end(&d);
}

/* Of what was in the window, though the size allowed for more. */
static void test_half_of_the_window(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	attach(&d, 40, "{40}");
	is_cut(&d, 10);
	expect(&d,
		"57014 -> wait 50 ms: " WAITED
		" -> cancelled, again with 20 rows\n"
		"ok -> read window (..] limit 20\n");
	end(&d);
}

/* Never an error of the row, however often, until the clock runs out. */
static void test_one_row(void **state)
{
	struct drive d;
	uint64_t began;

	(void)state;
	start_recording(&d);
	while (d.r.limit != 1) {
		is_cut(&d, 10000);
		window(&d, d.r.limit, d.r.limit == 1 ? "{1}" : "{9}");
	}
	text_reset(&d.trace);
	began = d.now_ms;
	blocks(&d, 1000);
	ok(&d);
	blocks(&d, 1000);
	ok(&d);
	expect(&d,
		"57014 -> wait 50 ms: " WAITED " -> cancelled, again in 50 ms\n"
		"ok -> batch (..1] seq 0\n"
		"57014 -> wait 100 ms: " WAITED
		" -> cancelled, again in 100 ms\n"
		"ok -> batch (..1] seq 0\n");
	while (d.now_ms - began <= usual.trouble_timeout_ms) {
		blocks(&d, 1000);
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		assert_int_equal(d.r.timeouts_of_row, 0);
		assert_false(d.r.is_slow);
		ok(&d);
	}
	text_reset(&d.trace);
	blocks(&d, 1000);
	ok(&d);
	expect(&d,
		"57014 -> disconnect\n"
		"ok -> fail BF031: a batch of one row blocked others for"
		" longer than max_blocking_time whenever it was tried\n");
	assert_string_equal(
		d.r.error.detail, WAITED ". It was tried again for 600 s.");
	assert_string_equal(d.r.error.hint,
		"What makes the row slow, a trigger or an expression? Mend it,"
		" or raise max_blocking_time; then backfill.retry(job) goes"
		" on.");
	end(&d);
}

/* What worked ends the trouble, and the next row has its own. */
static void test_one_row_that_works_at_last(void **state)
{
	struct run_limits limits = usual;
	struct drive d;

	(void)state;
	limits.size.first_rows = 1;
	limits.size.max_rows = 1;
	start(&d, &limits);
	ok(&d);
	attach(&d, 1, "{1}");
	blocks(&d, 1000);
	ok(&d);
	window(&d, 1, "{2}");
	blocks(&d, 1000);
	expect(&d,
		"57014 -> wait 50 ms: " WAITED " -> cancelled, again in 50 ms\n"
		"ok -> batch (..1] seq 0\n"
		"ok -> batch (1..2] seq 1\n"
		"57014 -> wait 50 ms: " WAITED
		" -> cancelled, again in 50 ms\n");
	end(&d);
}

/* Whoever waits for us waits for those: as any wait for a lock. */
static void test_held_up_by_others(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	d.ev.blockers = "pid 5 (sue)";
	blocks(&d, 1000);
	ok(&d);
	expect(&d,
		"57014 -> wait 50 ms: held up by pid 5 (sue) -> again in"
		" 50 ms\n"
		"ok -> batch (..1000] seq 0\n");
	assert_int_equal(d.r.size.rows, 1000);
	end(&d);
}

/* It had failed, or committed, before the cancel came. */
static void test_too_late(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	d.ev.waiting = WAITED;
	window(&d, 1000, "{2000}");
	d.ev.waiting = WAITED;
	job_fails(&d, "40001");
	ok(&d);
	d.ev.waiting = WAITED;
	fails(&d, "BF011");
	expect(&d,
		"ok -> batch (1000..2000] seq 1\n"
		"40001 -> wait 50 ms: 40001: oh -> again in 50 ms\n"
		"ok -> batch (1000..2000] seq 1\n"
		"BF011 -> disconnect\n");
	end(&d);
}

/* A person cancels the job: its next batch may not begin. */
static void test_job_that_is_cancelled(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	is_cut(&d, 1000);
	window(&d, 250, "{250}");
	fails(&d, "BF011");
	ok(&d);
	expect(&d,
		"57014 -> wait 50 ms: " WAITED
		" -> cancelled, again with 250 rows\n"
		"ok -> read window (..] limit 250\n"
		"ok -> batch (..250] seq 0\n"
		"BF011 -> disconnect\n"
		"ok -> release: oh\n");
	end(&d);
}

/* ---- holes */

static void test_window_hole(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 100, "{120}");
	is_cut(&d, 2000);
	window(&d, 12, "{22}");
	batch_done(&d, 12, 0, 0, "");
	window_hole(&d, 5, "{22}", "{300}");
	assert_string_equal(d.r.reason, "");
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..120] seq 1\n"
		"57014 -> wait 50 ms: " WAITED
		" -> cancelled, again with 12 rows\n"
		"ok -> read hole 5 (10..300] limit 12\n"
		"ok -> batch hole 5 (10..22] seq 1\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (22..300] limit 12\n");
	end(&d);
}

/* One row, or nobody knows how many: the same hole, later. */
static void test_hole_that_cannot_be_smaller(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 0, "");
	blocks(&d, 2000);
	ok(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 1, "{20}");
	blocks(&d, 2000);
	expect(&d,
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..300] seq 1\n"
		"57014 -> wait 50 ms: " WAITED " -> cancelled, again in 50 ms\n"
		"ok -> next hole after 4\n"
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..300] seq 1\n"
		"57014 -> wait 100 ms: " WAITED
		" -> cancelled, again in 100 ms\n");
	end(&d);
}

static void test_drain(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	window(&d, 0, "");
	hole(&d, 5, "{17}", 1000);
	text_reset(&d.trace);
	for (int i = 0; i < 12; i++) {
		blocks(&d, 1000);
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		ok(&d);
		hole(&d, 5, "{17}", 1000);
		assert_false(d.r.is_slow);
		if (i == 0) {
			expect(&d,
				"57014 -> wait 50 ms: " WAITED
				" -> cancelled, again in 50 ms\n"
				"ok -> next hole after 4\n"
				"ok -> drain hole 5 (17) seq 1\n");
		}
	}
	text_reset(&d.trace);
	ok(&d);
	expect(&d, "ok -> next hole after 5\n");
	end(&d);
}

/* Rows that refer to each other may have to go together: half of them now,
 * the usual number later. */
static void test_hole_of_a_tree(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 200, "{210}");
	text_reset(&d.trace);
	is_cut(&d, 2000);
	window(&d, 100, "{110}");
	batch_done(&d, 100, 0, 0, "");
	window_hole(&d, 5, "{110}", "{300}");
	window(&d, 50, "{160}");
	batch_done(&d, 50, 0, 0, "");
	window_hole(&d, 5, "{160}", "{300}");
	window(&d, 25, "{185}");
	batch_done(&d, 25, 0, 0, "");
	expect(&d,
		"57014 -> wait 50 ms: " WAITED
		" -> cancelled, again with 100 rows\n"
		"ok -> read hole 5 (10..300]\n"
		"ok -> batch hole 5 (10..110] seq 1\n"
		"ok -> next hole before 6\n"
		"ok -> read hole 5 (110..300] limit 50\n"
		"ok -> batch hole 5 (110..160] seq 2\n"
		"ok -> next hole before 6\n"
		"ok -> read hole 5 (160..300] limit 25\n"
		"ok -> batch hole 5 (160..185] seq 3\n"
		"ok -> next hole before 6\n");
	end(&d);
}

/* ---- where it settles */

enum { US_PER_ROW = 10000, BATCHES = 200, SETTLED = 40 };

/* A server on which each row takes 10 ms, and an application that always
 * waits: it is told who blocks after a second. Returns how many of the last
 * batches blocked it, and into rows the size of the last one. */
static int64_t settle(
	int64_t first, int64_t max, int64_t target_us, int64_t *rows)
{
	struct drive d;
	int late = 0;

	start_job(&d);
	d.ev.batch_rows = first;
	d.ev.max_batch_rows = max;
	d.ev.target_us = target_us;
	attach(&d, first, "{1000}");
	for (int i = 0; i < BATCHES; i++) {
		int64_t elapsed_us = d.r.window_rows * US_PER_ROW;

		if (elapsed_us > usual.max_blocking_us) {
			late += i >= SETTLED;
			is_cut(&d, usual.max_blocking_us / 1000);
			window(&d, d.r.limit, "{1000}");
			continue;
		}
		d.ev.batch_rows = first;
		d.ev.max_batch_rows = max;
		d.ev.target_us = target_us;
		d.ev.window_rows = d.r.next_limit;
		d.ev.sample = (struct size_sample){
			.rows_read = d.r.window_rows,
			.rows_changed = d.r.window_rows,
			.elapsed_us = elapsed_us,
		};
		set_key(&d.window_hi, "{1000}");
		step(&d, "ok");
		if (run_current(&d.r) == RUN_READ_WINDOW) {
			window(&d, d.r.limit, "{1000}");
		}
	}
	*rows = d.r.window_rows;
	end(&d);
	return late;
}

/* Half a second's worth, however long a batch was asked to take and whether
 * its size was fixed; a shorter target stays what it was. */
static void test_it_settles(void **state)
{
	int64_t rows;

	(void)state;
	assert_int_equal(settle(1000, 20000, 60000000, &rows), 0);
	assert_int_equal(rows, 50);
	assert_int_equal(settle(1000, 1000, 0, &rows), 0);
	assert_int_equal(rows, 50);
	assert_int_equal(settle(1000, 20000, 250000, &rows), 0);
	assert_int_equal(rows, 25);
	/* Nobody was blocked: as fixed as it was. */
	assert_int_equal(settle(90, 90, 0, &rows), 0);
	assert_int_equal(rows, 90);
}

/* It lasts behind a new connection. */
static void test_it_is_kept(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.batch_rows = 1000;
	d.ev.max_batch_rows = 1000;
	attach(&d, 1000, "{1000}");
	is_cut(&d, 1000);
	window(&d, 500, "{500}");
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	taken(&d, 8);
	ok(&d);
	d.ev.batch_rows = 1000;
	d.ev.max_batch_rows = 1000;
	d.ev.last_batch_rows = 60;
	attached(&d, 1, "{60}", "{5000}");
	text_reset(&d.trace);
	ok(&d);
	expect(&d, "ok -> read window (60..] limit 60\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window_is_halved),
		cmocka_unit_test(test_half_of_the_window),
		cmocka_unit_test(test_one_row),
		cmocka_unit_test(test_one_row_that_works_at_last),
		cmocka_unit_test(test_held_up_by_others),
		cmocka_unit_test(test_too_late),
		cmocka_unit_test(test_job_that_is_cancelled),
		cmocka_unit_test(test_window_hole),
		cmocka_unit_test(test_hole_that_cannot_be_smaller),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_hole_of_a_tree),
		cmocka_unit_test(test_it_settles),
		cmocka_unit_test(test_it_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
