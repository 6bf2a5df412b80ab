/* test_counters.c: what is counted for /metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/counters.h"

static void test_buckets(void **state)
{
	struct counters c = { 0 };

	(void)state;
	counters_batch(&c, 7, 10000);	 /* at the first bound */
	counters_batch(&c, 7, 10001);	 /* above it */
	counters_batch(&c, 7, 40000000); /* above the last */
	assert_int_equal(c.jobs_count, 1);
	assert_int_equal(c.jobs[0].job_id, 7);
	assert_int_equal(c.jobs[0].buckets[0], 1);
	assert_int_equal(c.jobs[0].buckets[1], 1);
	assert_int_equal(c.jobs[0].buckets[COUNTERS_BOUNDS], 1);
	assert_int_equal(c.jobs[0].count, 3);
	assert_true(c.jobs[0].sum_seconds > 40.02 &&
		c.jobs[0].sum_seconds < 40.021);
	counters_close(&c);
}

/* The job that was heard of last longest ago makes room. */
static void test_room_for_jobs(void **state)
{
	struct counters c = { 0 };
	int has_first = 0, has_second = 0;

	(void)state;
	for (int i = 1; i <= COUNTERS_JOBS; i++) {
		counters_batch(&c, i, 1);
	}
	counters_batch(&c, 1, 1);
	counters_batch(&c, 1000, 1);
	assert_int_equal(c.jobs_count, COUNTERS_JOBS);
	for (size_t i = 0; i < c.jobs_count; i++) {
		has_first |= c.jobs[i].job_id == 1 && c.jobs[i].count == 2;
		has_second |= c.jobs[i].job_id == 2;
	}
	assert_true(has_first);
	assert_false(has_second);
	counters_close(&c);
}

static void count(struct counters *c, const char *sqlstate)
{
	struct err e;

	err_set(&e, sqlstate[0] != '\0' ? BFE_SQL : BFE_LOST, "x");
	(void)strcpy(e.sqlstate, sqlstate);
	counters_error(c, &e);
}

static void test_errors(void **state)
{
	struct counters c = { 0 };

	(void)state;
	count(&c, "40001");
	count(&c, "40P01");
	count(&c, "");
	count(&c, "23505");
	assert_int_equal(c.errors_count, 3);
	assert_string_equal(c.errors[0].sqlstate_class, "40");
	assert_int_equal(c.errors[0].count, 2);
	assert_string_equal(c.errors[1].sqlstate_class, "08");
	assert_int_equal(c.errors[1].count, 1);
	assert_string_equal(c.errors[2].sqlstate_class, "23");
	counters_close(&c);
}

static void test_more_classes_than_there_are(void **state)
{
	struct counters c = { 0 };
	char sqlstate[6] = "00000";

	(void)state;
	for (int i = 0; i < 100; i++) {
		sqlstate[0] = (char)('0' + i / 10);
		sqlstate[1] = (char)('0' + i % 10);
		count(&c, sqlstate);
	}
	assert_int_equal(c.errors_count, COUNTERS_CLASSES);
	counters_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_room_for_jobs),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_more_classes_than_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
