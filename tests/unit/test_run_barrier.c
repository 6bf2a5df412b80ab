/* A run at the barrier, as golden traces. */

#include "run_drive.h"

/* As far as the barrier before the walk. */
static void start_barrier(struct drive *d)
{
	start_job(d);
	attached(d, 0, "", "");
	ok(d);
	assert_int_equal(run_current(&d->r), RUN_BARRIER);
	text_reset(&d->trace);
}

static void test_barrier_waits(void **state)
{
	struct drive d;

	(void)state;
	start_barrier(&d);
	assert_true(d.r.is_barrier_new);
	waits(&d, "pid 12 (joe, psql, idle)");
	ok(&d);
	waits(&d, "pid 12 (joe, psql, idle)");
	ok(&d);
	waits(&d, "pid 13 (joe, psql, idle)");
	ok(&d);
	ok(&d);
	assert_string_equal(d.r.reason, "");
	expect(&d,
		"waits -> wait 20 ms: waits for transactions that write the"
		" table: pid 12 (joe, psql, idle)\n"
		"ok -> barrier known\n"
		"waits -> wait 40 ms: waits for transactions that write the"
		" table: pid 12 (joe, psql, idle)\n"
		"ok -> barrier known\n"
		"waits -> wait 80 ms: waits for transactions that write the"
		" table: pid 13 (joe, psql, idle)\n"
		"ok -> barrier known\n"
		"ok -> begin\n");
	end(&d);
}

static void test_polls_grow_up_to_a_second(void **state)
{
	static const uint64_t pauses[] = { 20, 40, 80, 160, 320, 640, 1000,
		1000 };
	struct drive d;

	(void)state;
	start_barrier(&d);
	for (size_t i = 0; i < COUNT(pauses); i++) {
		waits(&d, "pid 12");
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		assert_int_equal(d.r.pause_ms, pauses[i]);
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_BARRIER);
	}
	end(&d);
}

static void test_barrier_timeout(void **state)
{
	struct drive d;

	(void)state;
	start_barrier(&d);
	waits(&d, "pid 12 (joe)");
	d.now_ms += usual.barrier_timeout_ms - d.r.pause_ms;
	ok(&d);
	waits(&d, "pid 12 (joe)"); /* just within */
	ok(&d);
	text_reset(&d.trace);
	waits(&d, "pid 12 (joe)");
	expect_end(&d,
		"waits -> disconnect\n"
		"ok -> fail BF025: transactions that write the table did not"
		" end within barrier_timeout (1800 s)\n"
		"ok -> end\n");
	assert_int_equal(d.r.error.code, BFE_SQL);
	assert_string_equal(d.r.error.detail,
		"The job waits for transactions that write the table:"
		" pid 12 (joe).");
	assert_string_equal(
		d.r.error.hint, "End them, then backfill.retry(job) goes on.");
	end(&d);
}

/* A reload gives another one to the barrier that waits. */
static void test_barrier_timeout_of_a_reload(void **state)
{
	struct run_limits shorter = usual;
	struct drive d;

	(void)state;
	shorter.barrier_timeout_ms = 60000;
	start_barrier(&d);
	waits(&d, "pid 12 (joe)");
	d.now_ms += 60000;
	run_set_limits(&d.r, &shorter);
	ok(&d);
	text_reset(&d.trace);
	waits(&d, "pid 12 (joe)");
	expect_end(&d,
		"waits -> disconnect\n"
		"ok -> fail BF025: transactions that write the table did not"
		" end within barrier_timeout (60 s)\n"
		"ok -> end\n");
	end(&d);
}

/* Each barrier has its own clock and its own pauses. */
static void test_clock_of_the_next_barrier(void **state)
{
	struct drive d;

	(void)state;
	start_barrier(&d);
	waits(&d, "pid 12");
	d.now_ms += usual.barrier_timeout_ms - 100;
	ok(&d);
	ok(&d);
	begun(&d, "{5000}");
	window(&d, 0, "");
	ok(&d);
	next_pass(&d, 1);
	text_reset(&d.trace);
	d.now_ms += 1000;
	waits(&d, "pid 13");
	expect(&d,
		"waits -> wait 20 ms: waits for transactions that write the"
		" table: pid 13\n");
	end(&d);
}

/* Who writes is found out anew after any error. */
static void test_barrier_errors(void **state)
{
	struct drive d;

	(void)state;
	start_barrier(&d);
	waits(&d, "pid 12");
	ok(&d);
	fails(&d, "53300");
	ok(&d);
	waits(&d, "pid 12");
	ok(&d);
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	expect(&d,
		"waits -> wait 20 ms: waits for transactions that write the"
		" table: pid 12\n"
		"ok -> barrier known\n"
		"53300 -> wait 50 ms: 53300: oh -> again in 50 ms\n"
		"ok -> barrier new\n"
		"waits -> wait 40 ms: waits for transactions that write the"
		" table: pid 12\n"
		"ok -> barrier known\n"
		"lost -> wait 100 ms: gone -> again in 100 ms\n"
		"ok -> barrier new\n"
		"ok -> begin\n");
	end(&d);

	start_barrier(&d);
	fails(&d, "BF010");
	expect_end(&d,
		"BF010 -> disconnect\n"
		"ok -> end\n");
	end(&d);

	start_barrier(&d);
	fails(&d, "BF011");
	expect_end(&d,
		"BF011 -> disconnect\n"
		"ok -> release: oh\n"
		"ok -> end\n");
	end(&d);

	start_barrier(&d);
	fails(&d, "42883");
	expect_end(&d,
		"42883 -> disconnect\n"
		"ok -> fail 42883: oh\n"
		"ok -> end\n");
	end(&d);
}

/* An outage of the control connection has no budget; other errors have. */
static void test_budget_at_the_barrier(void **state)
{
	struct drive d;

	(void)state;
	start_barrier(&d);
	for (int i = 0; i < 20; i++) {
		breaks(&d, BFE_LOST);
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		d.now_ms += usual.trouble_timeout_ms;
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_BARRIER);
		assert_true(d.r.is_barrier_new);
	}
	end(&d);

	start_barrier(&d);
	fails(&d, "53300");
	d.now_ms += usual.trouble_timeout_ms;
	ok(&d);
	text_reset(&d.trace);
	fails(&d, "53300");
	expect(&d, "53300 -> disconnect\n");
	end(&d);

	/* Not so while it waits: those were errors now and then. */
	start_barrier(&d);
	fails(&d, "53300");
	ok(&d);
	waits(&d, "pid 12");
	d.now_ms += usual.trouble_timeout_ms;
	ok(&d);
	fails(&d, "53300");
	assert_int_equal(run_current(&d.r), RUN_WAIT);
	end(&d);
}

/* Who writes after an error is waited for anew. */
static void test_clock_after_an_error(void **state)
{
	struct drive d;

	(void)state;
	start_barrier(&d);
	for (int i = 0; i < 3; i++) {
		waits(&d, "pid 12");
		d.now_ms += usual.barrier_timeout_ms - 100;
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_BARRIER);
		breaks(&d, BFE_LOST);
		ok(&d);
	}
	end(&d);
}

/* Errors between the polls add up: else it would go on for ever. */
static void test_errors_between_polls_are_bounded(void **state)
{
	struct drive d;
	int rounds = 0;

	(void)state;
	start_barrier(&d);
	while (run_current(&d.r) == RUN_BARRIER && rounds++ < 1000) {
		waits(&d, "pid 12");
		ok(&d);
		fails(&d, "53300");
		ok(&d);
	}
	assert_in_range(rounds, 50, 200);
	assert_int_equal(run_current(&d.r), RUN_FAIL);
	end(&d);
}

/* What fails behind each barrier is not tried for ever: a barrier that
 * cleared mends nothing. Its waiting is not counted, though. */
static void test_trouble_behind_the_barrier_is_bounded(void **state)
{
	int rounds = 0;
	uint64_t waited_ms = 0;
	uint64_t began_ms;
	struct drive d;

	(void)state;
	start_barrier(&d);
	began_ms = d.now_ms;
	while (rounds < 1000) {
		waits(&d, "pid 12");
		waited_ms += d.r.pause_ms + 100000;
		d.now_ms += 100000;
		ok(&d);
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_BEGIN);
		breaks(&d, BFE_LOST);
		ok(&d);
		if (run_current(&d.r) == RUN_FAIL) {
			break;
		}
		ok(&d); /* the pause */
		taken(&d, 8);
		ok(&d);
		attached(&d, 0, "", "");
		ok(&d);
		rounds++;
	}
	assert_int_equal(run_current(&d.r), RUN_FAIL);
	assert_true(rounds > 10);
	assert_true(d.now_ms - began_ms - waited_ms > usual.trouble_timeout_ms);
	end(&d);
}

static void test_stop_at_the_barrier(void **state)
{
	struct drive d;

	(void)state;
	start_barrier(&d);
	d.ev.stop_asked = 1;
	waits(&d, "pid 12");
	expect_end(&d,
		"waits -> disconnect\n"
		"ok -> release: the daemon stops\n"
		"ok -> end\n");
	end(&d);

	start_barrier(&d);
	waits(&d, "pid 12");
	text_reset(&d.trace);
	d.ev.stop_asked = 1;
	ok(&d);
	expect_end(&d,
		"ok -> disconnect\n"
		"ok -> release: the daemon stops\n"
		"ok -> end\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_barrier_waits),
		cmocka_unit_test(test_polls_grow_up_to_a_second),
		cmocka_unit_test(test_barrier_timeout),
		cmocka_unit_test(test_barrier_timeout_of_a_reload),
		cmocka_unit_test(test_clock_of_the_next_barrier),
		cmocka_unit_test(test_barrier_errors),
		cmocka_unit_test(test_budget_at_the_barrier),
		cmocka_unit_test(test_clock_after_an_error),
		cmocka_unit_test(test_errors_between_polls_are_bounded),
		cmocka_unit_test(test_trouble_behind_the_barrier_is_bounded),
		cmocka_unit_test(test_stop_at_the_barrier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
