#include "rules/size.h"

#include "cmocka_all.h"

static const struct size_limits usual = {
	.first_rows = 1000,
	.max_rows = 20000,
	.target_us = 250000,
	.max_wal_bytes = 16 << 20,
};

/* A batch of as many rows as were asked for, all of them changed. */
static void batch(struct size *s, int64_t elapsed_us)
{
	const struct size_sample sample = {
		.rows_read = s->rows,
		.rows_changed = s->rows,
		.elapsed_us = elapsed_us,
	};

	size_batch_done(s, &sample);
}

static void test_first_size(void **state)
{
	struct size_limits limits = usual;
	struct size s;

	(void)state;
	size_init(&s, &limits, 0);
	assert_int_equal(s.rows, 1000);
	size_init(&s, &limits, 4321);
	assert_int_equal(s.rows, 4321);
	size_init(&s, &limits, 1000000);
	assert_int_equal(s.rows, 20000);
	limits.first_rows = 30000;
	size_init(&s, &limits, 0);
	assert_int_equal(s.rows, 20000);
}

static void test_grows_by_a_fifth_at_most(void **state)
{
	struct size s;

	(void)state;
	size_init(&s, &usual, 0);
	batch(&s, 1000); /* 250 times faster than the target */
	assert_int_equal(s.rows, 1201);
	batch(&s, 1000);
	assert_int_equal(s.rows, 1442);
	for (int i = 0; i < 30; i++) {
		batch(&s, 1000);
	}
	assert_int_equal(s.rows, 20000);
}

static void test_leaves_one_row(void **state)
{
	struct size s;

	(void)state;
	size_init(&s, &usual, 1);
	batch(&s, 10);
	assert_int_equal(s.rows, 2);
	batch(&s, 10);
	assert_int_equal(s.rows, 3);
}

static void test_grows_less_where_few_were_changed(void **state)
{
	static const struct {
		int64_t changed;
		int64_t rows;
	} cases[] = { { 1000, 1201 }, { 500, 1101 }, { 100, 1021 },
		{ 50, 1021 }, { 0, 1021 }, { 2000, 1201 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct size_sample sample = {
			.rows_read = 1000,
			.rows_changed = cases[i].changed,
			.elapsed_us = 1000,
		};
		struct size s;

		size_init(&s, &usual, 0);
		size_batch_done(&s, &sample);
		assert_int_equal(s.rows, cases[i].rows);
	}
}

static void test_short_window_does_not_grow(void **state)
{
	struct size_sample sample = {
		.rows_read = 799,
		.rows_changed = 799,
		.elapsed_us = 1000,
	};
	struct size s;

	(void)state;
	size_init(&s, &usual, 0);
	size_batch_done(&s, &sample);
	assert_int_equal(s.rows, 1000);
	sample.rows_read = sample.rows_changed = 800;
	size_batch_done(&s, &sample);
	assert_int_equal(s.rows, 1201);
}

/* Nine batches of 100 us per row and one of 180: the one is not looked at.
 * Two of them in ten are. A mean would have moved by the first. */
static void test_follows_the_ninth_of_ten(void **state)
{
	struct size s;

	(void)state;
	size_init(&s, &usual, 2500);
	for (int i = 0; i < SIZE_SAMPLES; i++) {
		batch(&s, 250000);
		assert_int_equal(s.rows, 2500);
	}
	batch(&s, 450000);
	assert_int_equal(s.rows, 2500);
	batch(&s, 450000);
	assert_int_equal(s.rows, 1388);

	/* Old samples go: after nine more the slow ones say nothing. */
	for (int i = 0; i < SIZE_SAMPLES - 2; i++) {
		batch(&s, s.rows * 100);
		assert_int_equal(s.rows, 1388);
	}
	batch(&s, s.rows * 100);
	assert_int_equal(s.rows, 1666);
}

/* More than twice the target: one batch is enough. */
static void test_shrinks_at_once_when_far_over(void **state)
{
	struct size s;

	(void)state;
	size_init(&s, &usual, 2500);
	for (int i = 0; i < SIZE_SAMPLES; i++) {
		batch(&s, 250000);
	}
	batch(&s, 500000);
	assert_int_equal(s.rows, 2500);

	size_init(&s, &usual, 2500);
	for (int i = 0; i < SIZE_SAMPLES; i++) {
		batch(&s, 250000);
	}
	batch(&s, 2500000);
	assert_int_equal(s.rows, 250);

	batch(&s, INT64_C(3600) * 1000000);
	assert_int_equal(s.rows, 1);
	batch(&s, INT64_C(3600) * 1000000);
	assert_int_equal(s.rows, 1);
}

static void test_wal_is_capped(void **state)
{
	struct size_sample sample = {
		.rows_read = 1000,
		.rows_changed = 1000,
		.elapsed_us = 1000,
		.wal_bytes = 16 << 20,
	};
	struct size s;

	(void)state;
	size_init(&s, &usual, 0);
	size_batch_done(&s, &sample);
	assert_int_equal(s.rows, 1201);

	size_init(&s, &usual, 0);
	sample.wal_bytes = 64 << 20;
	size_batch_done(&s, &sample);
	assert_int_equal(s.rows, 250);

	size_init(&s, &usual, 0);
	sample.wal_bytes = INT64_MAX;
	size_batch_done(&s, &sample);
	assert_int_equal(s.rows, 1);
}

static void test_fixed_size(void **state)
{
	const struct size_limits fixed = {
		.first_rows = 500,
		.max_rows = 500,
		.target_us = 250000,
		.max_wal_bytes = 16 << 20,
	};
	const struct size_sample huge = {
		.rows_read = 500,
		.rows_changed = 500,
		.elapsed_us = 10000000,
		.wal_bytes = INT64_C(1) << 40,
	};
	struct size s;

	(void)state;
	size_init(&s, &fixed, 7000);
	assert_int_equal(s.rows, 500);
	size_init(&s, &fixed, 20);
	assert_int_equal(s.rows, 500);
	size_batch_done(&s, &huge);
	assert_int_equal(s.rows, 500);
	batch(&s, 1);
	assert_int_equal(s.rows, 500);

	/* What the server refuses is law, and comes back in small steps. */
	assert_true(size_halve(&s));
	assert_int_equal(s.rows, 250);
	size_set_limits(&s, &fixed); /* as after every batch */
	assert_int_equal(s.rows, 250);
	batch(&s, 1);
	assert_int_equal(s.rows, 301);
	for (int i = 0; i < 10; i++) {
		size_set_limits(&s, &fixed);
		batch(&s, 1);
	}
	assert_int_equal(s.rows, 500);
}

static void test_new_limits(void **state)
{
	struct size_limits limits = usual;
	struct size s;

	(void)state;
	size_init(&s, &limits, 0);
	batch(&s, 1000);
	size_set_limits(&s, &limits);
	assert_int_equal(s.rows, 1201);

	limits.max_rows = 1100;
	size_set_limits(&s, &limits);
	assert_int_equal(s.rows, 1100);

	limits.first_rows = limits.max_rows = 3000; /* now fixed */
	size_set_limits(&s, &limits);
	assert_int_equal(s.rows, 3000);

	limits = usual;
	size_set_limits(&s, &limits);
	assert_int_equal(s.rows, 3000);
	limits.target_us = 1000;
	size_set_limits(&s, &limits);
	batch(&s, 3000);
	assert_int_equal(s.rows, 1000);
}

static void test_halve(void **state)
{
	struct size s;

	(void)state;
	size_init(&s, &usual, 7);
	assert_true(size_halve(&s));
	assert_int_equal(s.rows, 3);
	assert_true(size_halve(&s));
	assert_int_equal(s.rows, 1);
	assert_false(size_halve(&s));
	assert_int_equal(s.rows, 1);

	/* What was learnt about larger batches is forgotten. */
	size_init(&s, &usual, 1000);
	batch(&s, 1000000);
	assert_int_equal(s.rows, 250);
	assert_true(size_halve(&s));
	for (int i = 0; i < 5; i++) {
		batch(&s, s.rows);
	}
	assert_int_equal(s.rows, 316);
}

static void test_empty_windows_say_nothing(void **state)
{
	const struct size_sample none = { .elapsed_us = 900000000 };
	const struct size_sample no_time = { .rows_read = 1000 };
	struct size s;

	(void)state;
	size_init(&s, &usual, 0);
	size_batch_done(&s, &none);
	assert_int_equal(s.rows, 1000);
	size_batch_done(&s, &no_time);
	assert_int_equal(s.rows, 1000);
}

static uint32_t next_random(uint64_t *random)
{
	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*random >> 33);
}

/* Whether a batch of that duration is about what was asked for. Between one
 * row and two lies much time, hence the fraction. */
static int is_good(int64_t rows, double us)
{
	const double target = 250000;

	if (us > 1.1 * target) {
		return rows == 1;
	}
	return rows == 20000 ||
		us > 0.75 * target * (double)rows / (double)(rows + 1);
}

/* A batch costs overhead_us + rows * us_per_row, give or take noise / 2 per
 * cent. From some batch on each takes about the target; the bounds hold on
 * the way. */
static void converge(int64_t overhead_us, double us_per_row, uint32_t noise,
	int64_t first, uint64_t seed)
{
	enum { STEPS = 120, WATCHED = 200 };
	struct size s;
	uint64_t random = seed;

	size_init(&s, &usual, first);
	for (int i = 0; i < STEPS + WATCHED; i++) {
		double us = (double)overhead_us + (double)s.rows * us_per_row;
		int64_t before = s.rows;
		double percent = 100 - noise / 2.0 +
			(noise > 0 ? next_random(&random) % noise : 0);

		if (i >= STEPS && !is_good(s.rows, us)) {
			fail_msg("%lld + %g us, first %lld: %lld rows in %g us"
				 " after %d batches",
				(long long)overhead_us, us_per_row,
				(long long)first, (long long)s.rows, us, i);
		}
		batch(&s, (int64_t)(us * percent / 100) + 1);
		assert_in_range(s.rows, 1, 20000);
		assert_true((double)s.rows <= (double)before * 1.2 + 1);
	}
}

static void test_converges(void **state)
{
	static const int64_t overheads[] = { 0, 1000, 20000, 100000 };
	static const double costs[] = { 2, 12.5, 20, 100, 1000, 25000, 600000 };
	static const int64_t firsts[] = { 1, 1000, 20000 };

	(void)state;
	for (int i = 0; i < 4; i++) {
		for (int j = 0; j < 7; j++) {
			for (int k = 0; k < 3; k++) {
				converge(overheads[i], costs[j], 0, firsts[k],
					1);
				converge(overheads[i], costs[j], 20, firsts[k],
					(uint64_t)(i * 100 + j * 10 + k));
			}
		}
	}
}

/* Whatever the samples are, the size stays in its bounds. */
static void test_stays_in_bounds(void **state)
{
	uint64_t random = 3;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct size_limits limits = usual;
		struct size s;

		limits.max_rows = 1 + next_random(&random) % 5000;
		limits.first_rows = 1 + next_random(&random) % 5000;
		size_init(&s, &limits, next_random(&random) % 9000);
		for (int j = 0; j < 50; j++) {
			const struct size_sample sample = {
				.rows_read =
					next_random(&random) % (s.rows + 1),
				.rows_changed = next_random(&random) % 6000,
				.elapsed_us = next_random(&random) >>
					next_random(&random) % 32,
				.wal_bytes = next_random(&random),
			};
			int64_t before = s.rows;

			if (next_random(&random) % 10 == 0) {
				(void)size_halve(&s);
			}
			size_batch_done(&s, &sample);
			assert_in_range(s.rows, 1, limits.max_rows);
			assert_true((double)s.rows <= (double)before * 1.2 + 1);
		}
	}
}

/* At most half of what was cancelled, less where its time says so, and what
 * was thought of a row's time before is gone. */
static void test_cut(void **state)
{
	struct size_limits limits = usual;
	struct size s;

	(void)state;
	size_init(&s, &limits, 0);
	batch(&s, 1000);
	assert_int_equal(s.rows, 1201);
	size_cut(&s, 1201, 1000);
	assert_int_equal(s.rows, 600);
	size_cut(&s, 600, 2000000);
	assert_int_equal(s.rows, 75);
	/* The window was the last one, and short. */
	size_init(&s, &limits, 0);
	size_cut(&s, 10, 0);
	assert_int_equal(s.rows, 5);
	size_cut(&s, 2, 10000000);
	assert_int_equal(s.rows, 1);
	/* However many were fast before. */
	size_init(&s, &limits, 0);
	for (int i = 0; i < SIZE_SAMPLES; i++) {
		batch(&s, 1000);
	}
	size_cut(&s, s.rows, s.rows * 1000);
	assert_int_equal(s.rows, 250);
	/* It grows no further than the time of the one cancelled. */
	for (int i = 0; i < 5; i++) {
		batch(&s, 1000);
		assert_int_equal(s.rows, 250);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_size),
		cmocka_unit_test(test_grows_by_a_fifth_at_most),
		cmocka_unit_test(test_leaves_one_row),
		cmocka_unit_test(test_grows_less_where_few_were_changed),
		cmocka_unit_test(test_short_window_does_not_grow),
		cmocka_unit_test(test_follows_the_ninth_of_ten),
		cmocka_unit_test(test_shrinks_at_once_when_far_over),
		cmocka_unit_test(test_wal_is_capped),
		cmocka_unit_test(test_fixed_size),
		cmocka_unit_test(test_new_limits),
		cmocka_unit_test(test_halve),
		cmocka_unit_test(test_empty_windows_say_nothing),
		cmocka_unit_test(test_converges),
		cmocka_unit_test(test_stays_in_bounds),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
