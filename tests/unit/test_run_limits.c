/* What bounds the batches of a run: sizes, pause_after_rows, the time that a
 * statement may wait, a dry run. */

#include "run_drive.h"

static void start_canary(struct drive *d, int64_t left)
{
	start_job(d);
	d->ev.rows_left = left;
	attached(d, 0, "", "");
	ok(d);
	ok(d);
	begun(d, "{5000}");
}

/* ---- sizes ---- */

/* The job's own sizes count from the first window on, and a change of them
 * from the next. */
static void test_sizes_of_the_job(void **state)
{
	struct drive d;

	(void)state;
	start(&d, &usual);
	ok(&d);
	d.ev.batch_rows = 50;
	d.ev.max_batch_rows = 200;
	attached(&d, 0, "", "");
	ok(&d);
	ok(&d);
	begun(&d, "{5000}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"ok -> read window (..] limit 50\n");
	window(&d, 50, "{50}");
	d.ev.batch_rows = 30;
	d.ev.max_batch_rows = 20;
	window(&d, 50, "{100}");
	expect(&d,
		"ok -> batch (..50] seq 0\n"
		"ok -> read window (50..] limit 20\n");
	window(&d, 20, "{70}");
	d.ev.batch_rows = 30;
	d.ev.max_batch_rows = 100;
	d.ev.target_us = 1000; /* 20 rows take 5000 */
	window(&d, 20, "{90}");
	expect(&d,
		"ok -> batch (50..70] seq 1\n"
		"ok -> read window (70..] limit 4\n");
	end(&d);
}

/* New ones of the configuration count with the next batch; a job's own go
 * before them. */
static void test_sizes_of_a_reload(void **state)
{
	struct run_limits fewer = usual;
	struct drive d;

	(void)state;
	fewer.size.first_rows = 100;
	fewer.size.max_rows = 100;
	start_batches(&d);
	run_set_limits(&d.r, &fewer);
	window(&d, 1000, "{2000}");
	expect(&d, "ok -> read window (1000..] limit 100\n");
	window(&d, 100, "{1100}");
	run_set_limits(&d.r, &usual);
	d.ev.batch_rows = 30;
	d.ev.max_batch_rows = 30;
	window(&d, 100, "{1200}");
	expect(&d,
		"ok -> batch (1000..1100] seq 1\n"
		"ok -> read window (1100..] limit 30\n");
	end(&d);
}

/* A window that was read before the size fell is read again, if it is much
 * too large. */
static void test_window_that_became_too_large(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	d.r.size.rows = 700; /* grows to 841 */
	window(&d, 1000, "{2000}");
	expect(&d, "ok -> batch (1000..2000] seq 1\n");
	d.r.size.rows = 600;
	window(&d, 1000, "{3000}");
	expect(&d, "ok -> read window (2000..] limit 721\n");
	window(&d, 1000, "{3000}");
	expect(&d, "ok -> batch (2000..3000] seq 2\n");
	end(&d);
}

static void test_too_much_at_once(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "57014");
	window(&d, 500, "{500}");
	fails(&d, "53200");
	window(&d, 250, "{250}");
	expect(&d,
		"57014 -> read window (..] limit 500\n"
		"ok -> batch (..500] seq 0\n"
		"53200 -> read window (..] limit 250\n"
		"ok -> batch (..250] seq 0\n");
	d.r.size.rows = 1;
	fails(&d, "57014");
	ok(&d);
	expect(&d,
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n"
		"ok -> batch (..250] seq 0 next 250\n");
	end(&d);
}

/* ---- pause_after_rows ---- */

/* Windows count as if all their rows were changed, so that the limit is
 * never overrun; the last one runs into the fence, which says so. */
static void test_canary(void **state)
{
	struct drive d;

	(void)state;
	start_canary(&d, 1500);
	window(&d, 1000, "{1000}");
	batch_done(&d, 1000, 1500, 500, "{1500}");
	batch_done(&d, 500, 500, 1, "{1501}");
	fails(&d, "BF011");
	expect_end(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> batch (..1000] seq 0 next 500\n"
		"ok -> batch (1000..1500] seq 1 next 1\n"
		"ok -> batch (1500..1501] seq 2\n"
		"BF011 -> disconnect\n"
		"ok -> release: oh\n"
		"ok -> end\n");
	end(&d);

	/* Less than a window. */
	start_canary(&d, 10);
	window(&d, 10, "{10}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"ok -> read window (..] limit 10\n"
		"ok -> batch (..10] seq 0 next 1\n");
	end(&d);
}

/* Rows that were read and not changed do not count. */
static void test_canary_of_a_sparse_table(void **state)
{
	struct drive d;

	(void)state;
	start_canary(&d, 1500);
	window(&d, 1000, "{1000}");
	text_reset(&d.trace);
	batch_done(&d, 10, 1500, 500, "{1500}");
	batch_done(&d, 10, 1490, 990, "{2490}");
	expect(&d,
		"ok -> batch (1000..1500] seq 1 next 990\n"
		"ok -> batch (1500..2490] seq 2 next 490\n");
	end(&d);
}

/* It may be set, raised and taken away at any time. */
static void test_canary_that_changes(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	batch_done(&d, 1000, 1900, 1000, "{2000}");
	window(&d, 900, "{1900}");
	batch_done(&d, 900, 0, 1, "{1901}");
	expect(&d,
		"ok -> read window (1000..] limit 900\n"
		"ok -> batch (1000..1900] seq 1 next 1\n"
		"ok -> batch (1900..1901] seq 2\n");
	assert_int_equal(d.r.next_limit, d.r.size.rows);
	end(&d);
}

/* Halves are limited too, and the limit does not end the halving. */
static void test_canary_while_halving(void **state)
{
	struct drive d;

	(void)state;
	start_canary(&d, 300);
	window(&d, 300, "{300}");
	text_reset(&d.trace);
	job_fails(&d, "23514");
	window(&d, 150, "{150}");
	batch_done(&d, 150, 300, 75, "{225}");
	expect(&d,
		"23514 -> read window (..] limit 150\n"
		"ok -> batch (..150] seq 0 next 75\n"
		"ok -> batch (150..225] seq 1 next 38\n");
	end(&d);
}

/* Rows of holes count as any other. */
static void test_canary_in_holes(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.holes_first = 1;
	d.ev.rows_left = 60;
	attached(&d, 41, "{1000}", "{5000}");
	ok(&d);
	text_reset(&d.trace);
	window_hole(&d, 5, "{10}", "{300}");
	window(&d, 60, "{70}");
	batch_done(&d, 50, 60, 0, "");
	hole(&d, 6, "{400}", 1000);
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> read hole 5 (10..300] limit 60\n"
		"ok -> batch hole 5 (10..70] seq 41\n"
		"ok -> next hole after 4\n"
		"ok -> drain hole 6 (400) seq 42\n"
		"ok -> next hole after 6\n"
		"ok -> read window (1000..] limit 9\n");
	end(&d);

	/* The last one: the fence tells, not a window without a limit. */
	start_job(&d);
	d.ev.holes_first = 1;
	d.ev.rows_left = 1;
	attached(&d, 41, "{1000}", "{5000}");
	ok(&d);
	hole(&d, 6, "{400}", 1000);
	ok(&d);
	text_reset(&d.trace);
	ok(&d);
	expect(&d, "ok -> read window (1000..] limit 1\n");
	end(&d);
}

/* ---- statements that may wait ---- */

/* Half of what would cancel them is the target. */
static void test_wait_cap(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	d.ev.wait_cap_us = 450000;
	batch_done(&d, 1000, 0, 1000, "{2000}");
	assert_int_equal(d.r.size.limits.target_us, 225000);
	assert_int_equal(d.r.size.rows, 900);
	d.ev.wait_cap_us = 450000;
	d.ev.target_us = 100000; /* less as it is */
	batch_done(&d, 1000, 0, 1000, "{3000}");
	assert_int_equal(d.r.size.limits.target_us, 100000);
	window(&d, 400, "{2400}");
	d.ev.wait_cap_us = 450000;
	d.ev.target_us = 400000;
	batch_done(&d, 400, 0, 400, "{2800}");
	assert_int_equal(d.r.size.limits.target_us, 225000);
	batch_done(&d, 400, 0, 400, "{3200}");
	assert_int_equal(d.r.size.limits.target_us, usual.size.target_us);
	end(&d);
}

/* ---- dry run ---- */

static void start_dry_run(struct drive *d)
{
	start_job(d);
	d->ev.is_dry_run = 1;
	attached(d, 0, "", "");
	text_reset(&d->trace);
}

static void test_dry_run(void **state)
{
	struct drive d;

	(void)state;
	start_dry_run(&d);
	ok(&d);
	fails(&d, "55P03");
	ok(&d);
	ok(&d);
	expect_end(&d,
		"ok -> dry run\n"
		"55P03 -> wait 50 ms: 55P03: oh -> again in 50 ms\n"
		"ok -> dry run\n"
		"ok -> disconnect\n"
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);

	/* An error of a row is one of the job: nothing is halved. */
	start_dry_run(&d);
	ok(&d);
	job_fails(&d, "22012");
	expect_end(&d,
		"ok -> dry run\n"
		"22012 -> disconnect\n"
		"ok -> fail 22012: oh\n"
		"ok -> end\n");
	end(&d);

	/* Too much at once: after a pause, with half the rows. */
	start_dry_run(&d);
	ok(&d);
	job_fails(&d, "57014");
	assert_int_equal(d.r.size.rows, 500);
	ok(&d);
	expect(&d,
		"ok -> dry run\n"
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n"
		"ok -> dry run\n");
	end(&d);

	/* It is done, whoever stops. */
	start_dry_run(&d);
	ok(&d);
	d.ev.stop_asked = 1;
	ok(&d);
	expect_end(&d,
		"ok -> dry run\n"
		"ok -> disconnect\n"
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_of_the_job),
		cmocka_unit_test(test_sizes_of_a_reload),
		cmocka_unit_test(test_window_that_became_too_large),
		cmocka_unit_test(test_too_much_at_once),
		cmocka_unit_test(test_canary),
		cmocka_unit_test(test_canary_of_a_sparse_table),
		cmocka_unit_test(test_canary_that_changes),
		cmocka_unit_test(test_canary_while_halving),
		cmocka_unit_test(test_canary_in_holes),
		cmocka_unit_test(test_wait_cap),
		cmocka_unit_test(test_dry_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
