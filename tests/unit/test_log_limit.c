#include "base/log_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

static struct log_limit limit; /* closed after each test */
static const int here, there;  /* statements of the program */

static int teardown(void **state)
{
	(void)state;
	log_limit_close(&limit);
	return 0;
}

static struct log_line line_of(const char *text)
{
	struct log_line line = {
		.level = LOG_INFO,
		.about = { .database = "shop", .job = 42, .sqlstate = "" },
		.text = text,
	};

	return line;
}

/* How many of count pass at now_ms. */
static int pass(const char *text, int count, uint64_t now_ms)
{
	int passed = 0;

	for (int i = 0; i < count; i++) {
		struct log_line line = line_of(text);

		passed += log_limit_take(&limit, &here, &line, now_ms);
	}
	return passed;
}

static void assert_none_due(uint64_t now_ms, int is_end)
{
	assert_null(log_limit_due(&limit, now_ms, is_end));
}

/* ---- rates ---- */

static void test_a_burst_passes_then_one_a_period(void **state)
{
	uint64_t t = 500;

	(void)state;
	assert_int_equal(pass("a", 15, t), LOG_LIMIT_BURST);
	assert_int_equal(pass("a", 5, t + LOG_LIMIT_PERIOD_MS - 1), 0);
	assert_int_equal(pass("a", 5, t + LOG_LIMIT_PERIOD_MS), 1);
	assert_int_equal(pass("a", 5, t + 2 * LOG_LIMIT_PERIOD_MS), 1);
	assert_int_equal(pass("a", 5, t + 5 * LOG_LIMIT_PERIOD_MS), 3);
}

static void test_after_silence_the_burst_is_there_again(void **state)
{
	uint64_t t = 500;

	(void)state;
	assert_int_equal(pass("a", 15, t), LOG_LIMIT_BURST);
	t += LOG_LIMIT_BURST * LOG_LIMIT_PERIOD_MS;
	assert_int_equal(pass("a", 15, t), LOG_LIMIT_BURST);
	t += 100 * LOG_LIMIT_BURST * LOG_LIMIT_PERIOD_MS;
	assert_int_equal(pass("a", 15, t), LOG_LIMIT_BURST);
}

/* One line for each of more kinds than there is room for. */
static void test_many_words_of_a_statement_pass_slowly(void **state)
{
	enum { WORDS = 20 * 26 };
	int passed = 0;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < WORDS; i++) {
			char text[3] = { (char)('a' + i / 26),
				(char)('a' + i % 26), '\0' };

			passed += pass(text, 1, 500);
		}
	}
	assert_int_equal(passed, LOG_LIMIT_SITE_BURST);
	passed = pass("x", 1, 500 + 3 * LOG_LIMIT_SITE_PERIOD_MS) +
		pass("y", 1, 500 + 3 * LOG_LIMIT_SITE_PERIOD_MS) +
		pass("z", 1, 500 + 3 * LOG_LIMIT_SITE_PERIOD_MS) +
		pass("w", 1, 500 + 3 * LOG_LIMIT_SITE_PERIOD_MS);
	assert_int_equal(passed, 3);
}

/* ---- kinds ---- */

static void test_numbers_make_no_kind(void **state)
{
	(void)state;
	assert_int_equal(pass("1 of 20 rows", 6, 500), 6);
	assert_int_equal(pass("333 of 4 rows", 6, 500), 4);
	assert_int_equal(pass("1 of rows", 1, 500), 1);
}

static int passes(const struct log_line *line, const void *site)
{
	struct log_line copy = *line;

	return log_limit_take(&limit, site, &copy, 500);
}

static void test_all_else_makes_a_kind(void **state)
{
	struct log_line line = line_of("a 1");

	(void)state;
	assert_int_equal(pass("a 1", 11, 500), 10);
	assert_false(passes(&line, &here));
	assert_true(passes(&line, &there));
	line.text = "b 1";
	assert_true(passes(&line, &here));
	line = line_of("a 1");
	line.about.job = 43;
	assert_true(passes(&line, &here));
	line = line_of("a 1");
	line.about.database = "crm";
	assert_true(passes(&line, &here));
	line = line_of("a 1");
	line.about.sqlstate = "40001";
	assert_true(passes(&line, &here));
	line = line_of("a 1");
	line.level = LOG_WARNING;
	assert_true(passes(&line, &here));
	line = line_of("a 1");
	assert_false(passes(&line, &here));
}

/* ---- what is told ---- */

static void test_the_count_comes_with_the_next_line(void **state)
{
	struct log_line line = line_of("a 9");

	(void)state;
	assert_int_equal(pass("a 1", 10, 500), 10);
	assert_int_equal(pass("a 2", 3, 600), 0);
	assert_int_equal(pass("a 3", 34, 700), 0);
	assert_true(log_limit_take(&limit, &here, &line, 10500));
	assert_int_equal(line.left_out, 37);
	assert_int_equal(line.over_ms, 10500 - 600);
	assert_true(log_limit_take(&limit, &here, &line, 20500));
	assert_int_equal(line.left_out, 0);
	assert_int_equal(line.over_ms, 0);
	assert_none_due(1000000, 1);
}

static void test_the_last_line_comes_when_no_other_does(void **state)
{
	struct log_line *line;

	(void)state;
	(void)pass("a 1", 12, 500);
	(void)pass("a 77", 1, 800);
	assert_none_due(500 + LOG_LIMIT_TELL_MS - 1, 0);
	line = log_limit_due(&limit, 500 + LOG_LIMIT_TELL_MS, 0);
	assert_non_null(line);
	assert_string_equal(line->text, "a 77");
	assert_int_equal(line->left_out, 3);
	assert_int_equal(line->over_ms, LOG_LIMIT_TELL_MS);
	assert_int_equal(line->level, LOG_INFO);
	assert_int_equal(line->about.job, 42);
	assert_string_equal(line->about.database, "shop");
	assert_null(line->about.job_name);
	log_line_free(line);
	assert_none_due(500 + LOG_LIMIT_TELL_MS, 1);
}

static void test_the_end_tells_of_all(void **state)
{
	struct log_line *line;
	unsigned left_out = 0;

	(void)state;
	(void)pass("a", 12, 500);
	(void)pass("b", 13, 500);
	assert_none_due(600, 0);
	while ((line = log_limit_due(&limit, 600, 1)) != NULL) {
		left_out += line->left_out;
		log_line_free(line);
	}
	assert_int_equal(left_out, 5);
}

/* Random storms, with pauses: no line vanishes uncounted, and the first of a
 * kind is never left out while its statement is not the noisy one. */
static void test_every_line_is_written_or_counted(void **state)
{
	uint64_t now_ms = 1;
	unsigned told = 0, lines = 200000, passed = 0;
	struct log_line *due;

	(void)state;
	srand(1);
	for (unsigned i = 0; i < lines; i++) {
		char text[] = { (char)('a' + rand() % 26), '\0' };
		struct log_line line = line_of(text);

		line.about.job = rand() % 50;
		if (log_limit_take(&limit, rand() % 2 ? &here : &there, &line,
			    now_ms)) {
			passed++;
			told += 1 + line.left_out;
		}
		now_ms += rand() % 10000 == 0 ? (uint64_t)(rand() % 30000) : 1;
		while ((due = log_limit_due(&limit, now_ms, 0)) != NULL) {
			told += due->left_out;
			log_line_free(due);
		}
	}
	while ((due = log_limit_due(&limit, now_ms, 1)) != NULL) {
		told += due->left_out;
		log_line_free(due);
	}
	assert_int_equal(told, lines);
	assert_true(passed < lines / 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_burst_passes_then_one_a_period),
		TEST(test_after_silence_the_burst_is_there_again),
		TEST(test_many_words_of_a_statement_pass_slowly),
		TEST(test_numbers_make_no_kind),
		TEST(test_all_else_makes_a_kind),
		TEST(test_the_count_comes_with_the_next_line),
		TEST(test_the_last_line_comes_when_no_other_does),
		TEST(test_the_end_tells_of_all),
		TEST(test_every_line_is_written_or_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
