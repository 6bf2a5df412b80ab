#include "rules/retry.h"

#include "cmocka_all.h"

/* random 0: the whole pause; UINT32_MAX: half of it. */
static void test_doubles_up_to_the_cap(void **state)
{
	static const uint64_t whole[] = { 50, 100, 200, 400, 800, 1600, 3200,
		6400, 10000, 10000, 10000 };
	struct retry longest, shortest;

	(void)state;
	retry_init(&longest, 50, 10000, 60000);
	retry_init(&shortest, 50, 10000, 60000);
	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
		assert_int_equal(retry_pause_ms(&longest, 0, 0), whole[i]);
		assert_int_equal(
			retry_pause_ms(&shortest, 0, UINT32_MAX), whole[i] / 2);
	}
	for (int i = 0; i < 100; i++) {
		assert_int_equal(retry_pause_ms(&longest, 0, 0), 10000);
	}
}

static void test_jitter_is_spread_between_half_and_whole(void **state)
{
	int quarters[4] = { 0 };

	(void)state;
	for (uint64_t random = 0; random <= UINT32_MAX; random += 4294967) {
		struct retry r;
		uint64_t pause;

		retry_init(&r, 1000, 10000, 60000);
		pause = retry_pause_ms(&r, 5, (uint32_t)random);
		assert_in_range(pause, 500, 1000);
		if (pause < 1000) {
			quarters[(pause - 500) / 125]++;
		}
	}
	for (int i = 0; i < 4; i++) {
		assert_in_range(quarters[i], 240, 260);
	}
}

static void test_odd_and_small_pauses(void **state)
{
	struct retry r;

	(void)state;
	retry_init(&r, 1, 3, 1000);
	assert_int_equal(retry_pause_ms(&r, 0, UINT32_MAX), 1);
	assert_int_equal(retry_pause_ms(&r, 0, 0), 2);
	assert_int_equal(retry_pause_ms(&r, 0, UINT32_MAX), 2);
	assert_int_equal(retry_pause_ms(&r, 0, 0), 3);

	retry_init(&r, 500, 100, 1000); /* the cap wins at once */
	assert_int_equal(retry_pause_ms(&r, 0, 0), 100);
}

static void test_budget_counts_from_the_first_failure(void **state)
{
	struct retry r;

	(void)state;
	retry_init(&r, 50, 10000, 60000);
	assert_false(retry_is_spent(&r, UINT64_C(1) << 40));

	(void)retry_pause_ms(&r, 1000000, 0);
	assert_false(retry_is_spent(&r, 1000000));
	(void)retry_pause_ms(&r, 1030000, 0);
	assert_false(retry_is_spent(&r, 1060000));
	assert_true(retry_is_spent(&r, 1060001));
}

static void test_reset_begins_anew(void **state)
{
	struct retry r;

	(void)state;
	retry_init(&r, 50, 10000, 60000);
	for (int i = 0; i < 5; i++) {
		(void)retry_pause_ms(&r, 1000, 0);
	}
	assert_true(retry_is_spent(&r, 70000));

	retry_reset(&r);
	assert_false(retry_is_spent(&r, 70000));
	assert_int_equal(retry_pause_ms(&r, 70000, 0), 50);
	assert_false(retry_is_spent(&r, 130000));
	assert_true(retry_is_spent(&r, 130001));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doubles_up_to_the_cap),
		cmocka_unit_test(test_jitter_is_spread_between_half_and_whole),
		cmocka_unit_test(test_odd_and_small_pauses),
		cmocka_unit_test(test_budget_counts_from_the_first_failure),
		cmocka_unit_test(test_reset_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
