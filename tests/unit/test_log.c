#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/text.h"
#include "cmocka_all.h"

static struct text seen;

static void sink(enum log_level level, const char *line)
{
	text_addf(&seen, "%s|%s\n", log_level_name(level), line);
}

static int setup(void **state)
{
	(void)state;
	text_init(&seen);
	log_set_sink(sink);
	log_init(LOG_INFO);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	log_end();
	text_close(&seen);
	log_set_sink(NULL);
	log_set_format(LOG_TEXT);
	log_init(LOG_INFO);
	return 0;
}

static void log_each(void)
{
	log_error("e %d", 1);
	log_warning("w %d", 2);
	log_notice("n %d", 3);
	log_info("i %d", 4);
	log_debug("d %d", 5);
}

#define UP_TO_INFO "error|e 1\nwarning|w 2\nnotice|n 3\ninfo|i 4\n"

static void test_info_drops_debug(void **state)
{
	(void)state;
	log_each();
	assert_string_equal(seen.data, UP_TO_INFO);
}

static void test_every_level_drops_what_is_less_urgent(void **state)
{
	static const char *const expected[] = {
		[LOG_ERROR] = "error|e 1\n",
		[LOG_WARNING] = "error|e 1\nwarning|w 2\n",
		[LOG_NOTICE] = "error|e 1\nwarning|w 2\nnotice|n 3\n",
		[LOG_INFO] = UP_TO_INFO,
		[LOG_DEBUG] = (UP_TO_INFO "debug|d 5\n"),
	};

	(void)state;
	for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
		text_reset(&seen);
		log_init((enum log_level)level);
		log_each();
		assert_string_equal(seen.data, expected[level]);
	}
}

static void test_message_is_one_line(void **state)
{
	(void)state;
	log_info("ERROR:  a\nDETAIL:  b\r\n");
	assert_string_equal(seen.data, "info|ERROR:  a DETAIL:  b  \n");
}

static void test_long_message_is_cut(void **state)
{
	char text[5000];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_info("%s", text);
	assert_int_equal(seen.length, strlen("info|") + 2047 + 1);
}

/* ESC, a C1 control, a direction of writing; a byte that is no UTF-8. */
static void test_nothing_acts_on_a_terminal(void **state)
{
	(void)state;
	log_info("a\x1b[31m\x07 b\xc2\x9b c\xe2\x80\xae\xc3\xa9 \xff.");
	assert_string_equal(
		seen.data, "info|a?[31m? b? c?\xc3\xa9 \xef\xbf\xbd.\n");
}

static const struct log_about about_job = {
	.database = "shop",
	.job = 42,
	.job_name = "a\n\"b\"",
	.sqlstate = "40001",
};

static void test_a_line_begins_with_what_it_is_about(void **state)
{
	const struct log_about about_database = { .database = "sh\x1bop" };
	const struct log_about unnamed = { .database = "shop", .job = 42 };

	(void)state;
	log_about(LOG_INFO, &about_job, "%d rows -> done", 5);
	log_about(LOG_INFO, &about_database, "connected -> serving");
	log_about(LOG_INFO, &unnamed, "fact -> decision");
	log_about(LOG_DEBUG, &unnamed, "too little");
	assert_string_equal(seen.data,
		"info|job 42 (a \"b\"): 5 rows -> done\n"
		"info|sh?op: connected -> serving\n"
		"info|job 42: fact -> decision\n");
}

static int count_lines(void)
{
	int lines = 0;

	for (size_t i = 0; i < seen.length; i++) {
		lines += seen.data[i] == '\n';
	}
	return lines;
}

static void log_storm(enum log_level level)
{
	for (int i = 0; i < 500; i++) {
		log_about(level, &about_job, "%d -> again", i);
	}
}

static void test_a_storm_is_counted(void **state)
{
	static const char end[] =
		"info|job 42 (a \"b\"): 499 -> again (the last of 490 like this"
		" that were left out in ";

	(void)state;
	log_storm(LOG_INFO);
	assert_int_equal(count_lines(), 10);
	log_tick();
	assert_int_equal(count_lines(), 10);
	log_info("something else");
	assert_non_null(strstr(seen.data, "info|something else\n"));
	text_reset(&seen);
	log_end();
	assert_int_equal(count_lines(), 1);
	assert_memory_equal(seen.data, end, sizeof end - 1);
	log_end();
	assert_int_equal(count_lines(), 1);
}

static void test_debug_is_never_left_out(void **state)
{
	(void)state;
	log_init(LOG_DEBUG);
	log_storm(LOG_DEBUG);
	assert_int_equal(count_lines(), 500);
}

static void test_why_it_ends_is_never_left_out(void **state)
{
	struct err e;

	(void)state;
	(void)err_set(&e, BFE_SQL, "it is so");
	for (int i = 0; i < 50; i++) {
		log_fatal(&e);
	}
	assert_int_equal(count_lines(), 50);
}

static void test_level_names(void **state)
{
	(void)state;
	for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
		const char *name = log_level_name((enum log_level)level);

		assert_int_equal(log_level_by_name(name), level);
	}
	assert_int_equal(log_level_by_name("warning"), LOG_WARNING);
	assert_int_equal(log_level_by_name("Warning"), -1);
	assert_int_equal(log_level_by_name(""), -1);
}

static void say_decision(void)
{
	log_warning("fact -> decision");
}

static void say_odd(void)
{
	log_error("user \"a\\b\"\nand \xff");
}

static void say_fatal(void)
{
	struct err e;

	(void)err_set(&e, BFE_SQL, "it is so");
	err_set_detail(&e, "Since yesterday.");
	err_set_hint(&e, "Mend it.");
	log_fatal(&e);
}

/* What say writes to a standard error of our own. */
static void capture(
	const char *journal_stream, void (*say)(void), char *line, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(2);
	char stream[64];
	struct stat st;
	size_t length;

	assert_non_null(file);
	assert_true(saved >= 0);
	assert_int_equal(fstat(fileno(file), &st), 0);
	(void)snprintf(stream, sizeof stream, "%llu:%llu",
		(unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM",
		journal_stream != NULL ? journal_stream : stream, 1);

	assert_int_equal(dup2(fileno(file), 2), 2);
	log_set_sink(NULL);
	log_init(LOG_INFO);
	say();
	assert_int_equal(dup2(saved, 2), 2);
	close(saved);
	unsetenv("JOURNAL_STREAM");

	rewind(file);
	length = fread(line, 1, size - 1, file);
	line[length] = '\0';
	fclose(file);
}

static void test_journal_gets_priorities(void **state)
{
	char line[256];

	(void)state;
	capture(NULL, say_decision, line, sizeof line);
	assert_string_equal(line, "<4>fact -> decision\n");
}

static void test_file_gets_the_time(void **state)
{
	char line[256], rest[128];
	int year, month, day, hour, minute, second, ms;

	(void)state;
	capture("1:2", say_decision, line, sizeof line);
	assert_int_equal(
		sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%127[^\n]", &year,
			&month, &day, &hour, &minute, &second, &ms, rest),
		8);
	assert_string_equal(rest, " warning: fact -> decision");
}

/* The time is that of the text, whose form another test knows. */
static void check_json(const char *line, const char *level, const char *message)
{
	char expected[512];
	char stamp[32];
	int length = 0;

	(void)sscanf(line, "{\"time\":\"%31[0-9TZ:.-]\"%n", stamp, &length);
	assert_int_equal(
		length, strlen("{\"time\":\"YYYY-MM-DDTHH:MM:SS.mmmZ\""));
	(void)snprintf(expected, sizeof expected,
		",\"level\":\"%s\",\"message\":\"%s\"}\n", level, message);
	assert_string_equal(line + length, expected);
}

static void test_json(void **state)
{
	char line[512];

	(void)state;
	log_set_format(LOG_JSON);
	capture("1:2", say_decision, line, sizeof line);
	check_json(line, "warning", "fact -> decision");
	capture("1:2", say_odd, line, sizeof line);
	check_json(line, "error", "user \\\"a\\\\b\\\" and \xef\xbf\xbd");
}

static void say_about_job(void)
{
	log_about(LOG_WARNING, &about_job, "fact -> decision");
}

static void test_json_has_fields(void **state)
{
	static const char end[] =
		",\"level\":\"warning\""
		",\"message\":\"job 42 (a \\\"b\\\"): fact -> decision\""
		",\"database\":\"shop\",\"job\":42"
		",\"job_name\":\"a\\n\\\"b\\\"\",\"sqlstate\":\"40001\"}\n";
	char line[512];

	(void)state;
	log_set_format(LOG_JSON);
	capture("1:2", say_about_job, line, sizeof line);
	assert_string_equal(strchr(line, ','), end);
}

/* journald takes the priority off and keeps the rest as the message. */
static void test_json_in_the_journal(void **state)
{
	char line[512];

	(void)state;
	log_set_format(LOG_JSON);
	capture(NULL, say_decision, line, sizeof line);
	assert_memory_equal(line, "<4>", 3);
	check_json(line + 3, "warning", "fact -> decision");
}

#define FATAL_LINE "it is so; detail: Since yesterday.; hint: Mend it."

static void test_fatal(void **state)
{
	char line[512];

	(void)state;
	capture("1:2", say_fatal, line, sizeof line);
	assert_string_equal(line,
		"backfilld: error: it is so\n"
		"DETAIL:  Since yesterday.\n"
		"HINT:  Mend it.\n");
	capture(NULL, say_fatal, line, sizeof line);
	assert_string_equal(line, "<3>" FATAL_LINE "\n");
	log_set_format(LOG_JSON);
	capture("1:2", say_fatal, line, sizeof line);
	check_json(line, "error", FATAL_LINE);
}

static void test_format_names(void **state)
{
	(void)state;
	assert_int_equal(log_format_by_name("text"), LOG_TEXT);
	assert_int_equal(log_format_by_name("json"), LOG_JSON);
	assert_int_equal(log_format_by_name("JSON"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_info_drops_debug, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_every_level_drops_what_is_less_urgent, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_message_is_one_line, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_long_message_is_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_nothing_acts_on_a_terminal, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_line_begins_with_what_it_is_about, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_a_storm_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_debug_is_never_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_why_it_ends_is_never_left_out, setup, teardown),
		cmocka_unit_test(test_level_names),
		cmocka_unit_test_setup_teardown(
			test_journal_gets_priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_file_gets_the_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_json_has_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_json_in_the_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fatal, setup, teardown),
		cmocka_unit_test(test_format_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
