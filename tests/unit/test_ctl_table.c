/* The printer of tables. */
#include "ctl/ctl_table.h"

#include <stdlib.h>

#include "cmocka_all.h"

static const char *const headers[] = { "ID", "NAME", "REASON" };

/* What the table prints at this width; the caller frees it. */
static char *print(struct ctl_table *t, size_t width)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	assert_non_null(file);
	ctl_table_print(t, file, width);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void fill(struct ctl_table *t)
{
	ctl_table_init(t, headers, "rll");
	ctl_table_add(t, "7");
	ctl_table_add(t, "名前");
	ctl_table_add(t, "waits");
	ctl_table_add(t, "1234");
	ctl_table_add(t, "a\x1b[1m");
	ctl_table_add(t, NULL);
}

static void assert_prints(size_t width, const char *wanted)
{
	struct ctl_table t;
	char *text;

	fill(&t);
	text = print(&t, width);
	assert_string_equal(text, wanted);
	free(text);
	ctl_table_close(&t);
}

static void test_columns_are_aligned(void **state)
{
	(void)state;
	assert_prints(0,
		"  ID  NAME   REASON\n"
		"   7  名前   waits\n"
		"1234  a?[1m  -\n");
}

static void test_lines_are_cut_at_the_width(void **state)
{
	(void)state;
	assert_prints(15,
		"  ID  NAME   RE\n"
		"   7  名前   wa\n"
		"1234  a?[1m  -\n");
}

static void test_wide_character_is_not_split(void **state)
{
	(void)state;
	assert_prints(9,
		"  ID  NAM\n"
		"   7  名\n"
		"1234  a?[\n");
}

static void test_headers_may_be_missing(void **state)
{
	struct ctl_table t;
	char *text;

	(void)state;
	ctl_table_init(&t, NULL, "ll");
	ctl_table_add(&t, "name");
	ctl_table_add(&t, "x  ");
	ctl_table_add(&t, "unfinished row");
	text = print(&t, 0);
	assert_string_equal(text, "name            x\n");
	free(text);
	ctl_table_close(&t);
}

static void test_no_rows(void **state)
{
	struct ctl_table t;
	char *text;

	(void)state;
	ctl_table_init(&t, headers, "rll");
	text = print(&t, 0);
	assert_string_equal(text, "ID  NAME  REASON\n");
	free(text);
	ctl_table_close(&t);
}

/* Rows that come later are aligned with the first, or make it wider. */
static void test_rows_go_on(void **state)
{
	struct ctl_table t;
	char *text;

	(void)state;
	fill(&t);
	text = print(&t, 0);
	free(text);
	ctl_table_go_on(&t);
	ctl_table_add(&t, "5");
	ctl_table_add(&t, "n");
	ctl_table_add(&t, "late");
	text = print(&t, 0);
	assert_string_equal(text, "   5  n      late\n");
	free(text);
	ctl_table_go_on(&t);
	text = print(&t, 0);
	assert_string_equal(text, "");
	free(text);
	ctl_table_close(&t);
}

static void test_a_file_has_no_width(void **state)
{
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	assert_int_equal(ctl_table_width(file), 0);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns_are_aligned),
		cmocka_unit_test(test_lines_are_cut_at_the_width),
		cmocka_unit_test(test_wide_character_is_not_split),
		cmocka_unit_test(test_headers_may_be_missing),
		cmocka_unit_test(test_no_rows),
		cmocka_unit_test(test_rows_go_on),
		cmocka_unit_test(test_a_file_has_no_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
