/* The closing sweeps of a run, as golden traces. */

#include "run_drive.h"

static void test_three_sweeps(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	ok(&d);
	next_pass(&d, 1);
	ok(&d);
	window(&d, 1000, "{1000}");
	window(&d, 0, "");
	hole(&d, 9, "{17}", 1000);
	ok(&d);
	ok(&d);
	next_pass(&d, 2);
	waits(&d, "pid 12");
	ok(&d);
	ok(&d);
	window(&d, 0, "");
	ok(&d);
	next_pass(&d, 3);
	ok(&d);
	window(&d, 0, "");
	ok(&d);
	finished(&d);
	expect_end(&d,
		"ok -> finish range seq 1\n"
		"ok -> barrier new pass 1\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> batch (..1000] seq 2\n"
		"ok -> next hole after 0\n"
		"ok -> drain hole 9 (17) seq 3\n"
		"ok -> next hole after 9\n"
		"ok -> finish range seq 4\n"
		"ok -> barrier new pass 2\n"
		"waits -> wait 20 ms: waits for transactions that write the"
		" table: pid 12\n"
		"ok -> barrier known pass 2\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> next hole after 0\n"
		"ok -> finish range seq 5\n"
		"ok -> barrier new pass 3\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> next hole after 0\n"
		"ok -> finish range seq 6\n"
		"finished -> disconnect\n"
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);
}

static void test_resume_in_a_sweep(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.pass = 2;
	attached(&d, 41, "", "{5000}");
	ok(&d);
	ok(&d);
	window(&d, 1000, "{1000}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new pass 2\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> batch (..1000] seq 41\n");
	end(&d);

	/* Begun: its barrier is behind it. */
	start_job(&d);
	d.ev.pass = 2;
	attached(&d, 41, "{1000}", "{5000}");
	ok(&d);
	window(&d, 1000, "{2000}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> read window (1000..] limit 1000\n"
		"ok -> batch (1000..2000] seq 41\n");
	end(&d);
}

/* The answer about the range was lost: its checkpoint tells the pass. */
static void test_lost_between_passes(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	ok(&d);
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	taken(&d, 8);
	ok(&d);
	d.ev.pass = 1;
	attached(&d, 2, "", "{5000}");
	ok(&d);
	expect(&d,
		"ok -> finish range seq 1\n"
		"lost -> disconnect\n"
		"ok -> wait 50 ms: gone -> again in 50 ms\n"
		"ok -> take\n"
		"ok -> connect epoch 8\n"
		"ok -> attach epoch 8\n"
		"ok -> preflight\n"
		"ok -> barrier new pass 1\n");
	end(&d);
}

static void test_stop_between_passes(void **state)
{
	struct drive d;

	(void)state;
	start_holes(&d);
	ok(&d);
	d.ev.stop_asked = 1;
	next_pass(&d, 1);
	expect_end(&d,
		"ok -> finish range seq 1\n"
		"ok -> disconnect\n"
		"ok -> release: the daemon stops\n"
		"ok -> end\n");
	end(&d);
}

/* ---- recorded rows first ---- */

static void test_recorded_rows_come_first(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.holes_first = 1;
	attached(&d, 41, "{1000}", "{5000}");
	ok(&d);
	hole(&d, 5, "{17}", 1000);
	ok(&d);
	hole(&d, 6, "{18}", 1000);
	d.ev.blockers = "pid 5";
	fails(&d, "55P03");
	ok(&d); /* no more: what is held comes after the walk */
	window(&d, 1000, "{2000}");
	window(&d, 0, "");
	assert_string_equal(d.r.reason, "");
	hole(&d, 6, "{18}", 2000);
	fails(&d, "55P03");
	ok(&d);
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> next hole after 0\n"
		"ok -> drain hole 5 (17) seq 41\n"
		"ok -> next hole after 5\n"
		"ok -> drain hole 6 (18) seq 42\n"
		"55P03 -> next hole after 6\n"
		"ok -> read window (1000..] limit 1000\n"
		"ok -> batch (1000..2000] seq 42\n"
		"ok -> next hole after 0\n"
		"ok -> drain hole 6 (18) seq 43\n"
		"55P03 -> next hole after 6\n"
		"ok -> wait 100 ms: waits for 2 rows held by others: key (18)"
		" for 2 s\n");
	end(&d);
}

/* A job that failed in a sweep begins the first one anew. */
static void test_recorded_rows_before_a_sweep(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.holes_first = 1;
	d.ev.pass = 1;
	attached(&d, 41, "", "{5000}");
	ok(&d);
	hole(&d, 5, "{17}", 1000);
	ok(&d);
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> next hole after 0\n"
		"ok -> drain hole 5 (17) seq 41\n"
		"ok -> next hole after 5\n"
		"ok -> barrier new pass 1\n"
		"ok -> read window (..] limit 1000\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_sweeps),
		cmocka_unit_test(test_resume_in_a_sweep),
		cmocka_unit_test(test_lost_between_passes),
		cmocka_unit_test(test_stop_between_passes),
		cmocka_unit_test(test_recorded_rows_come_first),
		cmocka_unit_test(test_recorded_rows_before_a_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
