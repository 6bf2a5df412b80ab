/* How a run finds the one row that spoils a batch, as golden traces. */

#include "run_drive.h"

#include <stdio.h>
#include <stdlib.h>

/* A table of keys 1 to 5000, of which some cannot be changed. */
struct table {
	const int *bad; /* ends with 0 */
	const char *sqlstate;
};

static int number_of(const struct key *k)
{
	return k->count == 0 ? 0 : atoi(k->values[0]);
}

static void window_from(struct drive *d, int after, int end, int64_t limit)
{
	int rows = end - after < limit ? end - after : (int)limit;
	char hi[16] = "";

	if (rows > 0) {
		(void)snprintf(hi, sizeof hi, "{%d}", after + rows);
	}
	window(d, rows, hi);
}

/* A bad row in (lo, hi]; 0: none. */
static int is_bad(const struct table *t, int lo, int hi)
{
	for (const int *b = t->bad; *b != 0; b++) {
		if (*b > lo && *b <= hi) {
			return 1;
		}
	}
	return 0;
}

/* From a batch on, until the run does neither. */
static void walk(struct drive *d, const struct table *t)
{
	int steps = 0;

	while (run_current(&d->r) == RUN_BATCH ||
		run_current(&d->r) == RUN_READ_WINDOW) {
		int lo = number_of(&d->r.cursor);
		int hi = number_of(&d->r.window_hi);

		assert_true(++steps < 200);
		if (run_current(&d->r) == RUN_READ_WINDOW) {
			window_from(d, lo, 5000, d->r.limit);
		} else if (is_bad(t, lo, hi)) {
			job_fails(d, t->sqlstate);
		} else {
			window_from(d, hi, 5000, d->r.next_limit);
		}
	}
}

/* ---- one row of a thousand ---- */

static void test_one_bad_row(void **state)
{
	static const int bad[] = { 300, 0 };
	const struct table t = { bad, "23514" };
	struct drive d;

	(void)state;
	start_recording(&d);
	walk(&d, &t);
	expect(&d,
		"23514 -> read window (..] limit 500\n"
		"ok -> batch (..500] seq 0 next 250\n"
		"23514 -> read window (..] limit 250\n"
		"ok -> batch (..250] seq 0 next 125\n"
		"ok -> batch (250..375] seq 1 next 63\n"
		"23514 -> read window (250..] limit 63\n"
		"ok -> batch (250..313] seq 1 next 31\n"
		"23514 -> read window (250..] limit 32\n"
		"ok -> batch (250..282] seq 1 next 16\n"
		"ok -> batch (282..298] seq 2 next 8\n"
		"ok -> batch (298..306] seq 3 next 4\n"
		"23514 -> read window (298..] limit 4\n"
		"ok -> batch (298..302] seq 3 next 2\n"
		"23514 -> read window (298..] limit 2\n"
		"ok -> batch (298..300] seq 3 next 1\n"
		"23514 -> read window (298..] limit 1\n"
		"ok -> batch (298..299] seq 3 next 1\n"
		"ok -> batch (299..300] seq 4\n"
		"23514 -> set aside (300) of hole 0 seq 4: 23514\n");
	assert_int_equal(d.r.aside.error.code, BFE_SQL);
	assert_string_equal(d.r.aside.error.message, "oh");
	assert_int_equal(d.r.size.rows, 1000);
	ok(&d);
	walk(&d, &t);
	expect(&d,
		"ok -> read window (300..] limit 1000\n"
		"ok -> batch (300..1300] seq 5\n"
		"ok -> batch (1300..2300] seq 6\n"
		"ok -> batch (2300..3300] seq 7\n"
		"ok -> batch (3300..4300] seq 8\n"
		"ok -> batch (4300..5000] seq 9\n"
		"ok -> next hole after 0\n");
	end(&d);
}

static void test_first_row_is_bad(void **state)
{
	static const int bad[] = { 1, 0 };
	const struct table t = { bad, "23514" };
	struct drive d;

	(void)state;
	start_recording(&d);
	walk(&d, &t);
	expect(&d,
		"23514 -> read window (..] limit 500\n"
		"ok -> batch (..500] seq 0 next 250\n"
		"23514 -> read window (..] limit 250\n"
		"ok -> batch (..250] seq 0 next 125\n"
		"23514 -> read window (..] limit 125\n"
		"ok -> batch (..125] seq 0 next 63\n"
		"23514 -> read window (..] limit 63\n"
		"ok -> batch (..63] seq 0 next 31\n"
		"23514 -> read window (..] limit 32\n"
		"ok -> batch (..32] seq 0 next 16\n"
		"23514 -> read window (..] limit 16\n"
		"ok -> batch (..16] seq 0 next 8\n"
		"23514 -> read window (..] limit 8\n"
		"ok -> batch (..8] seq 0 next 4\n"
		"23514 -> read window (..] limit 4\n"
		"ok -> batch (..4] seq 0 next 2\n"
		"23514 -> read window (..] limit 2\n"
		"ok -> batch (..2] seq 0 next 1\n"
		"23514 -> read window (..] limit 1\n"
		"ok -> batch (..1] seq 0 next 1\n"
		"23514 -> set aside (1) of hole 0 seq 0: 23514\n");
	end(&d);
}

static void test_last_row_is_bad(void **state)
{
	static const int bad[] = { 1000, 0 };
	const struct table t = { bad, "23514" };
	struct drive d;

	(void)state;
	start_recording(&d);
	walk(&d, &t);
	expect(&d,
		"23514 -> read window (..] limit 500\n"
		"ok -> batch (..500] seq 0 next 250\n"
		"ok -> batch (500..750] seq 1 next 125\n"
		"ok -> batch (750..875] seq 2 next 63\n"
		"ok -> batch (875..938] seq 3 next 31\n"
		"ok -> batch (938..969] seq 4 next 16\n"
		"ok -> batch (969..985] seq 5 next 8\n"
		"ok -> batch (985..993] seq 6 next 4\n"
		"ok -> batch (993..997] seq 7 next 2\n"
		"ok -> batch (997..999] seq 8 next 1\n"
		"ok -> batch (999..1000] seq 9\n"
		"23514 -> set aside (1000) of hole 0 seq 9: 23514\n");
	end(&d);
}

/* The second is found after the first, in what is left. */
static void test_two_bad_rows(void **state)
{
	static const int bad[] = { 3, 999, 0 };
	const struct table t = { bad, "23514" };
	struct drive d;

	(void)state;
	start_recording(&d);
	walk(&d, &t);
	assert_int_equal(run_current(&d.r), RUN_SET_ASIDE);
	assert_string_equal(d.r.aside.key.values[0], "3");
	ok(&d);
	text_reset(&d.trace);
	walk(&d, &t);
	assert_int_equal(run_current(&d.r), RUN_SET_ASIDE);
	assert_string_equal(d.r.aside.key.values[0], "999");
	assert_null(strstr(d.trace.data, "limit 1000"));
	assert_non_null(strstr(d.trace.data, "batch (3..1003]"));
	ok(&d);
	walk(&d, &t);
	assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
	assert_int_equal(number_of(&d.r.cursor), 5000);
	end(&d);
}

/* Each row alone, each pair: the right keys are set aside, and the rest is
 * changed. */
static void test_any_bad_rows(void **state)
{
	(void)state;
	for (int first = 1; first <= 1100; first += 7) {
		int bad[] = { first, first + first % 5 + 1, 0 };
		const struct table t = { bad, "P0001" };
		struct drive d;

		start_recording(&d);
		for (int i = 0; i < 2; i++) {
			char key[16];

			walk(&d, &t);
			assert_int_equal(run_current(&d.r), RUN_SET_ASIDE);
			(void)snprintf(key, sizeof key, "%d", bad[i]);
			assert_string_equal(d.r.aside.key.values[0], key);
			assert_int_equal(d.r.aside.hole, 0);
			ok(&d);
			assert_int_equal(number_of(&d.r.cursor), bad[i]);
			assert_int_equal(d.r.size.rows, 1000);
		}
		walk(&d, &t);
		assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
		end(&d);
	}
}

/* It was gone when its half was tried: the walk goes on, at full size. */
static void test_error_that_does_not_recur(void **state)
{
	static const int bad[] = { 0 };
	const struct table t = { bad, "" };
	struct drive d;

	(void)state;
	start_recording(&d);
	job_fails(&d, "23514");
	walk(&d, &t);
	expect(&d,
		"23514 -> read window (..] limit 500\n"
		"ok -> batch (..500] seq 0 next 250\n"
		"ok -> batch (500..750] seq 1 next 125\n"
		"ok -> batch (750..875] seq 2 next 63\n"
		"ok -> batch (875..938] seq 3 next 31\n"
		"ok -> batch (938..969] seq 4 next 16\n"
		"ok -> batch (969..985] seq 5 next 8\n"
		"ok -> batch (985..993] seq 6 next 4\n"
		"ok -> batch (993..997] seq 7 next 2\n"
		"ok -> batch (997..999] seq 8 next 1\n"
		"ok -> batch (999..1000] seq 9\n"
		"ok -> batch (1000..2000] seq 10\n"
		"ok -> batch (2000..3000] seq 11\n"
		"ok -> batch (3000..4000] seq 12\n"
		"ok -> batch (4000..5000] seq 13\n"
		"ok -> next hole after 0\n");
	end(&d);
}

/* Batches that are small by our own wish teach no size: neither their speed
 * nor that they are short. */
static void test_sizes_do_not_learn(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	job_fails(&d, "23514");
	window(&d, 500, "{500}");
	/* Ten batches make up for the rows that were suspected. */
	for (int i = 0; i < 11; i++) {
		assert_int_equal(run_current(&d.r), RUN_BATCH);
		assert_int_equal(d.r.size.rows, 1000);
		d.ev.window_rows = d.r.next_limit;
		d.ev.sample = (struct size_sample){ 500, 500, 60000000, 0 };
		set_key(&d.window_hi, "{1000}");
		step(&d, "ok");
	}
	assert_int_equal(d.r.size.rows, 2);
	end(&d);
}

/* ---- what is told ---- */

static void test_error_of_a_row(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	attach(&d, 1, "{17,\"a b\"}");
	err_set(&d.error, BFE_SQL, "violates it");
	memcpy(d.error.sqlstate, "23514", 6);
	memcpy(d.error.constraint, "n_check", 8);
	err_set_detail(&d.error, "Failing row contains (secret).");
	d.ev.error = &d.error;
	d.ev.of_job = 1;
	step(&d, "23514");
	expect_end(&d,
		"23514 -> disconnect\n"
		"ok -> fail 23514: violates it\n"
		"ok -> end\n");
	assert_int_equal(d.r.error.code, BFE_SQL);
	assert_string_equal(d.r.error.detail,
		"It is the row with key (17, a b), constraint \"n_check\".");
	assert_string_equal(d.r.error.hint,
		"Mend the row, then backfill.retry(job) goes on from there. A"
		" job with on_row_error = 'record' sets such rows aside and"
		" goes on.");
	assert_string_equal(d.r.error.constraint, "n_check");
	end(&d);

	/* Without a constraint, with a hint of its own. */
	start_job(&d);
	attach(&d, 1, "{17}");
	err_set(&d.error, BFE_SQL, "oh");
	memcpy(d.error.sqlstate, "P0001", 6);
	err_set_hint(&d.error, "Ask joe.");
	d.ev.error = &d.error;
	d.ev.of_job = 1;
	step(&d, "P0001");
	assert_int_equal(run_current(&d.r), RUN_DISCONNECT);
	assert_string_equal(d.r.error.detail, "It is the row with key (17).");
	assert_string_equal(d.r.error.hint, "Ask joe.");
	end(&d);

	/* Recorded: the row is told by its key, not by what it holds. */
	start_recording(&d);
	job_fails(&d, "23514");
	window(&d, 1, "{17}");
	job_fails(&d, "23514");
	assert_int_equal(run_current(&d.r), RUN_SET_ASIDE);
	assert_string_equal(
		d.r.aside.error.detail, "It is the row with key (17).");
	end(&d);
}

static void test_too_many_row_errors(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.records_errors = 1;
	attach(&d, 1, "{17}");
	job_fails(&d, "23514");
	fails(&d, "BF026");
	expect_end(&d,
		"23514 -> set aside (17) of hole 0 seq 0: 23514\n"
		"BF026 -> disconnect\n"
		"ok -> fail BF026: oh\n"
		"ok -> end\n");
	end(&d);
}

static void test_trouble_while_setting_aside(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.records_errors = 1;
	attach(&d, 1, "{17}");
	job_fails(&d, "23514");
	fails(&d, "55P03");
	ok(&d);
	ok(&d);
	assert_string_equal(d.r.reason, "");
	expect(&d,
		"23514 -> set aside (17) of hole 0 seq 0: 23514\n"
		"55P03 -> wait 50 ms: 55P03: oh -> again in 50 ms\n"
		"ok -> set aside (17) of hole 0 seq 0: 23514\n"
		"ok -> read window (17..] limit 1000\n");
	end(&d);
}

/* After a lost answer the checkpoint tells whether it was set aside: either
 * way the halving begins anew. */
static void test_lost_while_halving(void **state)
{
	struct drive d;

	(void)state;
	start_recording(&d);
	job_fails(&d, "23514");
	window(&d, 500, "{500}");
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	taken(&d, 8);
	ok(&d);
	text_reset(&d.trace);
	d.ev.last_batch_rows = 1000;
	attached(&d, 0, "", "{5000}");
	ok(&d);
	window(&d, 1000, "{1000}");
	expect(&d,
		"ok -> preflight\n"
		"ok -> read window (..] limit 1000\n"
		"ok -> batch (..1000] seq 0\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_bad_row),
		cmocka_unit_test(test_first_row_is_bad),
		cmocka_unit_test(test_last_row_is_bad),
		cmocka_unit_test(test_two_bad_rows),
		cmocka_unit_test(test_any_bad_rows),
		cmocka_unit_test(test_error_that_does_not_recur),
		cmocka_unit_test(test_sizes_do_not_learn),
		cmocka_unit_test(test_error_of_a_row),
		cmocka_unit_test(test_too_many_row_errors),
		cmocka_unit_test(test_trouble_while_setting_aside),
		cmocka_unit_test(test_lost_while_halving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
