/* Deletes of a table that refers to itself, as golden traces: rows that
 * others refer to are met from the last hole to the first, whole windows at
 * first, then row by row, until a pass makes no progress. */

#include "run_drive.h"

static void test_reference_in_the_walk(void **state)
{
	struct drive d;

	(void)state;
	start_tree(&d, 1000, 1);
	job_fails(&d, "23503");
	ok(&d);
	expect(&d,
		"23503 -> skip window (..1000] seq 0\n"
		"ok -> read window (1000..] limit 1000\n");
	end(&d);

	/* Another error is an error, and so is that of an update. */
	start_tree(&d, 1, 1);
	job_fails(&d, "23505");
	expect(&d, "23505 -> disconnect\n");
	end(&d);

	start_tree(&d, 1, 0);
	job_fails(&d, "23503");
	expect(&d, "23503 -> disconnect\n");
	end(&d);

	start_tree(&d, 1, 1);
	fails(&d, "23503"); /* of our own statement */
	expect(&d, "23503 -> disconnect\n");
	end(&d);

	/* Referred to by another table. */
	start_job(&d);
	d.ev.is_delete = 1;
	attach(&d, 1, "{1}");
	job_fails(&d, "23503");
	expect(&d, "23503 -> disconnect\n");
	end(&d);
}

/* Windows whole, from the last one; what a window left comes in a pass of its
 * own. */
static void test_holes_from_last_to_first(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	hole(&d, 9, "{900}", 1000);
	ok(&d);
	window_hole(&d, 7, "{10}", "{300}");
	window(&d, 20000, "{250}");
	ok(&d);
	window_hole(&d, 7, "{250}", "{300}");
	window(&d, 20, "{290}");
	ok(&d);
	hole(&d, 4, "{5}", 1000);
	fails(&d, "53100");
	ok(&d);
	hole(&d, 4, "{5}", 1000);
	ok(&d);
	ok(&d);
	hole(&d, 10, "{20}", 1000); /* held when its window went */
	ok(&d);
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> drain hole 9 (900) seq 1\n"
		"ok -> next hole before 9\n"
		"ok -> read hole 7 (10..300] limit 20000\n"
		"ok -> batch hole 7 (10..250] seq 2\n"
		"ok -> next hole before 8\n"
		"ok -> read hole 7 (250..300] limit 20000\n"
		"ok -> batch hole 7 (250..300] seq 3\n"
		"ok -> next hole before 8\n"
		"ok -> drain hole 4 (5) seq 4\n"
		"53100 -> wait 50 ms: 53100: oh -> again in 50 ms\n"
		"ok -> next hole before 5\n"
		"ok -> drain hole 4 (5) seq 4\n"
		"ok -> next hole before 4\n"
		"ok -> next hole from the last\n"
		"ok -> drain hole 10 (20) seq 5\n"
		"ok -> next hole before 10\n"
		"ok -> next hole from the last\n"
		"ok -> finish range seq 6\n");
	end(&d);
}

/* An update of such a table asks as ever. */
static void test_update_of_a_tree(void **state)
{
	struct drive d;

	(void)state;
	start_tree(&d, 1000, 0);
	window(&d, 0, "");
	text_reset(&d.trace);
	window_hole(&d, 7, "{10}", "{300}");
	window(&d, 20, "{250}");
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> read hole 7 (10..300]\n"
		"ok -> batch hole 7 (10..300] seq 1\n"
		"ok -> next hole after 6\n"
		"ok -> finish range seq 2\n");
	end(&d);
}

/* The next request fails before any hole is known. */
static void test_trouble_at_the_last_hole(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	fails(&d, "53100");
	ok(&d);
	ok(&d);
	expect(&d,
		"53100 -> wait 50 ms: 53100: oh -> again in 50 ms\n"
		"ok -> next hole from the last\n"
		"ok -> finish range seq 1\n");
	end(&d);
}

/* A window with many held rows is read in small parts; the others whole. */
static void test_held_window_of_a_tree(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	window_hole(&d, 7, "{400}", "{700}");
	window(&d, 300, "{700}");
	job_fails(&d, "BF013");
	ok(&d);
	window_hole(&d, 7, "{400}", "{700}");
	window(&d, 100, "{500}");
	job_fails(&d, "23503");
	window_hole(&d, 6, "{10}", "{300}");
	window(&d, 300, "{300}");
	ok(&d);
	ok(&d);
	window_hole(&d, 7, "{400}", "{700}");
	expect(&d,
		"ok -> read hole 7 (400..700] limit 20000\n"
		"ok -> batch hole 7 (400..700] seq 1\n"
		"BF013 -> wait 50 ms: BF013: oh -> again in 50 ms\n"
		"ok -> next hole before 8\n"
		"ok -> read hole 7 (400..700]\n"
		"ok -> batch hole 7 (400..500] seq 1\n"
		"23503 -> next hole before 7\n"
		"ok -> read hole 6 (10..300] limit 20000\n"
		"ok -> batch hole 6 (10..300] seq 1\n"
		"ok -> next hole before 7\n"
		"ok -> next hole from the last\n"
		"ok -> read hole 7 (400..700] limit 20000\n");
	end(&d);
}

/* No window goes whole: row by row, in single holes; then it is an error. */
static void test_references_are_split(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	window_hole(&d, 7, "{10}", "{300}");
	window(&d, 2, "{250}");
	job_fails(&d, "23503");
	ok(&d);
	window_hole(&d, 7, "{10}", "{300}");
	window(&d, 2, "{250}");
	job_fails(&d, "23503");
	window(&d, 1, "{20}");
	job_fails(&d, "23503");
	ok(&d);
	window_hole(&d, 7, "{20}", "{300}");
	window(&d, 1, "{250}");
	job_fails(&d, "23503");
	ok(&d);
	window_hole(&d, 7, "{250}", "{300}");
	window(&d, 0, "");
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> read hole 7 (10..300] limit 20000\n"
		"ok -> batch hole 7 (10..300] seq 1\n"
		"23503 -> next hole before 7\n"
		"ok -> next hole from the last\n"
		"ok -> read hole 7 (10..300] limit 20000\n"
		"ok -> batch hole 7 (10..300] seq 1\n"
		"23503 -> read hole 7 (10..300] limit 1\n"
		"ok -> batch hole 7 (10..20] seq 1\n"
		"23503 -> set aside (20) of hole 7 seq 1: later\n"
		"ok -> next hole before 8\n"
		"ok -> read hole 7 (20..300] limit 20000\n"
		"ok -> batch hole 7 (20..300] seq 2\n"
		"23503 -> set aside (250) of hole 7 seq 2: later\n"
		"ok -> next hole before 8\n"
		"ok -> read hole 7 (250..300] limit 20000\n"
		"ok -> batch hole 7 (250..300] seq 3\n"
		"ok -> next hole before 8\n"
		"ok -> next hole from the last\n");
	/* Of those two, one refers to the other, and a stranger to both. */
	hole(&d, 9, "{250}", 1000);
	job_fails(&d, "23503");
	hole(&d, 8, "{20}", 1000);
	job_fails(&d, "23503");
	ok(&d);
	hole(&d, 9, "{250}", 1000);
	text_reset(&d.trace);
	job_fails(&d, "23503");
	expect_end(&d,
		"23503 -> disconnect\n"
		"ok -> fail 23503: oh\n"
		"ok -> end\n");
	assert_string_equal(d.r.error.detail, "It is the row with key (250).");
	end(&d);
}

/* The last row of a window is split off: its hole lies behind the pass. */
static void test_split_ends_a_window(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	window_hole(&d, 7, "{10}", "{20}");
	window(&d, 1, "{20}");
	job_fails(&d, "23503");
	ok(&d);
	window_hole(&d, 7, "{10}", "{20}");
	window(&d, 1, "{20}");
	text_reset(&d.trace);
	job_fails(&d, "23503");
	ok(&d);
	ok(&d);
	expect(&d,
		"23503 -> set aside (20) of hole 7 seq 1: later\n"
		"ok -> next hole before 8\n"
		"ok -> next hole from the last\n");
	end(&d);
}

/* As far as the pass in which a reference is an error. */
static void start_last_word(struct drive *d)
{
	start_job(d);
	d->ev.is_delete = 1;
	d->ev.records_errors = 1;
	attached(d, 41, "{5000}", "{5000}");
	d->ev.refers_to_itself = 1;
	ok(d);
	window(d, 0, "");
	for (int i = 0; i < 2; i++) {
		hole(d, 5, "{17}", 1000);
		job_fails(d, "23503");
		ok(d);
	}
	assert_int_equal(d->r.references, RUN_REFERENCES_FINAL);
	text_reset(&d->trace);
}

/* Progress, and rows that others hold, give hope even then. */
static void test_hope_in_the_last_pass(void **state)
{
	struct drive d;

	(void)state;
	start_last_word(&d);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "23503");
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> drain hole 5 (17) seq 41\n"
		"23503 -> set aside (17) of hole 5 seq 41: 23503\n"
		"ok -> next hole before 5\n"
		"ok -> finish range seq 42\n");
	end(&d);

	start_last_word(&d);
	hole(&d, 6, "{18}", 1000);
	ok(&d);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "23503");
	ok(&d);
	expect(&d,
		"ok -> drain hole 6 (18) seq 41\n"
		"ok -> next hole before 6\n"
		"ok -> drain hole 5 (17) seq 42\n"
		"23503 -> next hole before 5\n"
		"ok -> next hole from the last\n");
	end(&d);

	start_last_word(&d);
	hole(&d, 6, "{18}", 1000);
	job_fails(&d, "55P03");
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "23503");
	ok(&d);
	expect(&d,
		"ok -> drain hole 6 (18) seq 41\n"
		"55P03 -> next hole before 6\n"
		"ok -> drain hole 5 (17) seq 41\n"
		"23503 -> next hole before 5\n"
		"ok -> wait 100 ms: waits for 2 rows held by others: key (18)"
		" for 1 s\n");
	end(&d);
}

/* A row that was recorded is still there: no progress, but its rest is met. */
static void test_bad_row_in_a_window_of_a_tree(void **state)
{
	struct drive d;

	(void)state;
	start_last_word(&d);
	window_hole(&d, 6, "{20}", "{300}");
	window(&d, 1, "{30}");
	job_fails(&d, "P0001");
	ok(&d);
	window_hole(&d, 6, "{30}", "{300}");
	expect(&d,
		"ok -> read hole 6 (20..300] limit 20000\n"
		"ok -> batch hole 6 (20..300] seq 41\n"
		"P0001 -> set aside (30) of hole 6 seq 41: P0001\n"
		"ok -> next hole before 7\n"
		"ok -> read hole 6 (30..300] limit 20000\n");
	end(&d);
}

/* What was slow or suspected is forgotten with a hole that is passed over. */
static void test_slow_row_that_is_referred_to(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "57014");
	ok(&d);
	hole(&d, 5, "{17}", 1000);
	text_reset(&d.trace);
	job_fails(&d, "23503");
	window_hole(&d, 4, "{1}", "{9}");
	window(&d, 8, "{9}");
	job_fails(&d, "57014");
	window(&d, 4, "{5}");
	job_fails(&d, "23503");
	window_hole(&d, 3, "{0}", "{1}");
	fails(&d, "53100");
	expect(&d,
		"23503 -> next hole before 5\n"
		"ok -> read hole 4 (1..9] limit 20000\n"
		"ok -> batch hole 4 (1..9] seq 1\n"
		"57014 -> read hole 4 (1..9] limit 4\n"
		"ok -> batch hole 4 (1..5] seq 1\n"
		"23503 -> next hole before 4\n"
		"ok -> read hole 3 (0..1] limit 20000\n"
		"53100 -> wait 50 ms: 53100: oh -> again in 50 ms\n");
	assert_int_equal(d.r.timeouts_of_row, 0);
	end(&d);
}

/* What others hold may be what refers: with a pause, and no last word. */
static void test_references_and_held_rows(void **state)
{
	struct drive d;

	(void)state;
	start_tree_holes(&d);
	for (int i = 0; i < 3; i++) {
		hole(&d, 6, "{18}", 1000);
		fails(&d, "55P03");
		hole(&d, 5, "{17}", 1000);
		job_fails(&d, "23503");
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		ok(&d);
	}
	assert_int_equal(d.r.references, RUN_REFERENCES_LATER);
	end(&d);
}

/* Before the walk they wait for it. */
static void test_references_of_recorded_rows(void **state)
{
	struct drive d;

	(void)state;
	start_job(&d);
	d.ev.is_delete = 1;
	d.ev.holes_first = 1;
	attached(&d, 41, "{1000}", "{5000}");
	d.ev.refers_to_itself = 1;
	ok(&d);
	hole(&d, 5, "{17}", 1000);
	job_fails(&d, "23503");
	ok(&d);
	expect(&d,
		"ok -> attach epoch 7\n"
		"ok -> preflight\n"
		"ok -> next hole from the last\n"
		"ok -> drain hole 5 (17) seq 41\n"
		"23503 -> next hole before 5\n"
		"ok -> read window (1000..] limit 1000\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference_in_the_walk),
		cmocka_unit_test(test_holes_from_last_to_first),
		cmocka_unit_test(test_update_of_a_tree),
		cmocka_unit_test(test_trouble_at_the_last_hole),
		cmocka_unit_test(test_held_window_of_a_tree),
		cmocka_unit_test(test_references_are_split),
		cmocka_unit_test(test_split_ends_a_window),
		cmocka_unit_test(test_hope_in_the_last_pass),
		cmocka_unit_test(test_bad_row_in_a_window_of_a_tree),
		cmocka_unit_test(test_slow_row_that_is_referred_to),
		cmocka_unit_test(test_references_and_held_rows),
		cmocka_unit_test(test_references_of_recorded_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
