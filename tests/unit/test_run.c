/* What a run decides on its ways, as golden traces. */

#include "run_drive.h"

static void test_happy_path(void **state)
{
	struct drive d;

	(void)state;
	start(&d, &usual);
	assert_int_equal(run_current(&d.r), RUN_CONNECT);
	ok(&d);
	attached(&d, 0, "", "");
	ok(&d);
	ok(&d);
	begun(&d, "{2500}");
	window(&d, 1000, "{1000}");
	window(&d, 1000, "{2000}");
	window(&d, 500, "{2500}");
	window(&d, 0, "");
	ok(&d);
	finished(&d);
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> batch (..1000] seq 0\n"
		"ok -> batch (1000..2000] seq 1\n"
		"ok -> batch (2000..2500] seq 2\n"
		"ok -> next hole after 0\n"
		"ok -> finish range seq 3\n"
		"finished -> disconnect\n"
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);
}

static void test_empty_table(void **state)
{
	struct drive d;

	(void)state;
	start(&d, &usual);
	ok(&d);
	attached(&d, 0, "", "");
	ok(&d);
	ok(&d);
	begun(&d, "");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"ok -> disconnect\n");
	expect_end(&d,
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);
}

static void test_resume(void **state)
{
	struct drive d;

	(void)state;
	start(&d, &usual);
	ok(&d);
	d.ev.last_batch_rows = 345;
	attached(&d, 41, "{7,\"a b\"}", "{9,z}");
	ok(&d);
	window(&d, 345, "{8,x}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> read window (7, a b..] limit 345\n"
		"ok -> batch (7, a b..8, x] seq 41\n");
	assert_string_equal(d.r.hi.values[1], "z");
	end(&d);
}

static void test_finished_range(void **state)
{
	struct drive d;

	(void)state;
	start(&d, &usual);
	ok(&d);
	d.ev.finished = 1;
	attached(&d, 41, "{9}", "{9}");
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> disconnect\n");
	expect_end(&d,
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);
}

static void test_trouble_is_tried_again(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "40P01");
	ok(&d);
	fails(&d, "40001");
	ok(&d);
	d.ev.blockers = "pid 5 (joe)";
	fails(&d, "55P03");
	assert_string_equal(
		d.r.reason, "held up by pid 5 (joe) -> again in 200 ms");
	ok(&d);
	window(&d, 1000, "{2000}");
	assert_string_equal(d.r.reason, "");
	fails(&d, "53300");
	expect(&d,
		"40P01 -> wait 50 ms: 40P01: oh -> again in 50 ms\n"
		"ok -> batch (..1000] seq 0\n"
		"40001 -> wait 100 ms: 40001: oh -> again in 100 ms\n"
		"ok -> batch (..1000] seq 0\n"
		"55P03 -> wait 200 ms: held up by pid 5 (joe)"
		" -> again in 200 ms\n"
		"ok -> batch (..1000] seq 0\n"
		"ok -> batch (1000..2000] seq 1\n"
		"53300 -> wait 50 ms: 53300: oh -> again in 50 ms\n");
	end(&d);
}

static void test_trouble_before_the_first_batch(void **state)
{
	struct drive d;

	(void)state;
	start(&d, &usual);
	fails(&d, "53300");
	ok(&d);
	ok(&d);
	fails(&d, "55P03");
	ok(&d);
	attached(&d, 0, "", "");
	fails(&d, "55P03");
	ok(&d);
	ok(&d);
	fails(&d, "55P03");
	ok(&d);
	ok(&d);
	fails(&d, "55P03");
	ok(&d);
	begun(&d, "{5000}");
	fails(&d, "55P03");
	ok(&d);
	expect(&d,
		"53300 -> wait 50 ms: 53300: oh -> again in 50 ms\n"
		"ok -> connect epoch 7\n"
		"ok -> attach epoch 7\n"
		"55P03 -> wait 100 ms: 55P03: oh -> again in 100 ms\n"
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"55P03 -> wait 200 ms: 55P03: oh -> again in 200 ms\n"
		"ok -> preflight\n"
		"ok -> barrier new\n"
		"55P03 -> wait 400 ms: 55P03: oh -> again in 400 ms\n"
		"ok -> barrier new\n"
		"ok -> begin\n"
		"55P03 -> wait 800 ms: 55P03: oh -> again in 800 ms\n"
		"ok -> begin\n"
		"ok -> read window (..] limit 1000\n"
		"55P03 -> wait 1600 ms: 55P03: oh -> again in 1600 ms\n"
		"ok -> read window (..] limit 1000\n");
	end(&d);
}

static void test_spent_budget_fails_with_the_error(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "55P03");
	d.now_ms += usual.trouble_timeout_ms - 50;
	ok(&d);
	fails(&d, "55P03"); /* just within */
	ok(&d);
	fails(&d, "40P01");
	expect(&d,
		"55P03 -> wait 50 ms: 55P03: oh -> again in 50 ms\n"
		"ok -> batch (..1000] seq 0\n"
		"55P03 -> wait 100 ms: 55P03: oh -> again in 100 ms\n"
		"ok -> batch (..1000] seq 0\n"
		"40P01 -> disconnect\n");
	expect_end(&d,
		"ok -> fail 40P01: oh\n"
		"ok -> end\n");
	assert_string_equal(d.r.error.detail, "It was tried again for 600 s.");
	end(&d);

	start_batches(&d);
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	taken(&d, 8);
	d.now_ms += usual.trouble_timeout_ms + 1;
	text_reset(&d.trace);
	breaks(&d, BFE_CONNECT);
	expect_end(&d,
		"connect -> disconnect\n"
		"ok -> fail 08006: gone\n"
		"ok -> end\n");
	end(&d);
}

static void test_another_owner(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "BF010");
	expect_end(&d,
		"BF010 -> disconnect\n"
		"ok -> end\n");
	end(&d);
}

static void test_stopped(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "BF011");
	expect_end(&d,
		"BF011 -> disconnect\n"
		"ok -> release: oh\n"
		"ok -> end\n");
	end(&d);
}

static void test_real_fault(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "22012");
	expect_end(&d,
		"22012 -> disconnect\n"
		"ok -> fail 22012: oh\n"
		"ok -> end\n");
	assert_string_equal(d.r.error.detail, "");
	end(&d);

	start_batches(&d);
	breaks(&d, BFE_PROTOCOL);
	expect_end(&d,
		"protocol -> disconnect\n"
		"ok -> fail XX000: gone\n"
		"ok -> end\n");
	end(&d);
}

/* The batch was committed and nobody told: the checkpoint does. */
static void test_lost_connection(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	taken(&d, 8);
	breaks(&d, BFE_CONNECT);
	ok(&d);
	ok(&d);
	taken(&d, 9);
	ok(&d);
	d.ev.last_batch_rows = 900;
	attached(&d, 1, "{1000}", "{5000}");
	ok(&d);
	window(&d, 900, "{1900}");
	expect(&d,
		"lost -> disconnect\n"
		"ok -> wait 50 ms: gone -> again in 50 ms\n"
		"ok -> take\n"
		"ok -> connect epoch 8\n"
		"connect -> disconnect\n"
		"ok -> wait 100 ms: gone -> again in 100 ms\n"
		"ok -> take\n"
		"ok -> connect epoch 9\n"
		"ok -> attach epoch 9\n"
		"ok -> preflight\n"
		"ok -> read window (1000..] limit 900\n"
		"ok -> batch (1000..1900] seq 1\n");
	end(&d);
}

/* While the control connection is down nothing can be recorded: there is no
 * budget for that. */
static void test_control_is_down(void **state)
{
	struct drive d;

	(void)state;
	start_batches(&d);
	fails(&d, "22012");
	ok(&d);
	text_reset(&d.trace);
	for (int i = 0; i < 50; i++) {
		breaks(&d, BFE_LOST);
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		d.now_ms += usual.trouble_timeout_ms;
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_FAIL);
	}
	assert_int_equal(d.r.pause_ms, 10000);
	text_reset(&d.trace);
	ok(&d);
	expect(&d, "ok -> end\n");
	end(&d);
}

static void test_finish_is_refused(void **state)
{
	struct drive d;

	(void)state;
	finish(&d);
	fails(&d, "BF010");
	expect(&d, "BF010 -> end\n");
	end(&d);

	finish(&d);
	fails(&d, "BF011");
	ok(&d);
	expect(&d,
		"BF011 -> release: \n"
		"ok -> end\n");
	end(&d);

	finish(&d);
	fails(&d, "BF012");
	ok(&d);
	expect(&d,
		"BF012 -> fail BF012: oh\n"
		"ok -> end\n");
	end(&d);

	finish(&d);
	fails(&d, "55P03");
	ok(&d);
	expect(&d,
		"55P03 -> wait 50 ms: 55P03: oh -> again in 50 ms\n"
		"ok -> finish job\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_happy_path),
		cmocka_unit_test(test_empty_table),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_finished_range),
		cmocka_unit_test(test_trouble_is_tried_again),
		cmocka_unit_test(test_trouble_before_the_first_batch),
		cmocka_unit_test(test_spent_budget_fails_with_the_error),
		cmocka_unit_test(test_another_owner),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_real_fault),
		cmocka_unit_test(test_lost_connection),
		cmocka_unit_test(test_control_is_down),
		cmocka_unit_test(test_finish_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
