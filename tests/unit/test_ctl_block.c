/* Rows of fields in a width, and what a terminal gets of them. */
#include "ctl/ctl_block.h"

#include <string.h>

#include "cmocka_all.h"

static void field(struct block *b, size_t gap, const char *s)
{
	struct text t;

	text_init(&t);
	text_add(&t, s);
	block_field(b, gap, &t);
	text_close(&t);
}

static void assert_lines(struct block *b, const char *wanted)
{
	struct text t;

	text_init(&t);
	block_end(b);
	block_print(&t, b, BLOCK_PLAIN, "\n");
	assert_string_equal(t.data, wanted);
	text_close(&t);
	block_close(b);
}

static void test_fields_go_on_under_the_first(void **state)
{
	struct block b;

	(void)state;
	block_init(&b, 20);
	block_row(&b, "  ab ");
	field(&b, 3, "one");
	field(&b, 3, "two");
	field(&b, 3, "12345");
	field(&b, 1, "x");
	assert_lines(&b, "  ab one   two\n     12345 x\n");
}

static void test_a_field_that_just_fits(void **state)
{
	struct block b;

	(void)state;
	block_init(&b, 20);
	block_row(&b, "  ab ");
	field(&b, 3, "123456789012345");
	block_row(&b, "");
	field(&b, 3, "12345678901");
	field(&b, 3, "123456");
	block_row(&b, "");
	field(&b, 3, "12345678901");
	field(&b, 3, "1234567");
	assert_lines(&b,
		"  ab 123456789012345\n12345678901   123456\n"
		"12345678901\n1234567\n");
}

static void test_long_fields_break_at_words(void **state)
{
	struct block b;

	(void)state;
	block_init(&b, 20);
	block_row(&b, "why ");
	field(&b, 3, "one two three four five six");
	block_row(&b, "why ");
	field(&b, 3, "a 1234567890123456789012345679 b");
	assert_lines(&b,
		"why one two three\n    four five six\n"
		"why a 12345678901234\n    56789012345679 b\n");
}

static void test_cut(void **state)
{
	static const struct {
		const char *s;
		size_t columns;
		const char *wanted;
	} cases[] = {
		{ "abcdef", 6, "abcdef" },
		{ "abcdefg", 6, "abcd.." },
		{ "abc", 2, "ab" },
		{ "\xe9\xa1\xa7\xe5\xae\xa2\xe8\xa8\x98", 6,
			"\xe9\xa1\xa7\xe5\xae\xa2\xe8\xa8\x98" },
		{ "\xe9\xa1\xa7\xe5\xae\xa2\xe8\xa8\x98", 5, "\xe9\xa1\xa7.." },
		{ MARK_BAD "abcdefg" MARK_END, 6, MARK_BAD "abcd.." MARK_END },
		{ MARK_BAD "ab" MARK_END "cdefg", 6,
			MARK_BAD "ab" MARK_END "cd.." },
	};
	struct text t;

	(void)state;
	text_init(&t);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		text_reset(&t);
		block_add_cut(&t, cases[i].s, cases[i].columns);
		assert_string_equal(t.data, cases[i].wanted);
	}
	text_close(&t);
}

static void test_marks_take_no_columns(void **state)
{
	(void)state;
	assert_int_equal(
		block_columns(MARK_BAD "abc" MARK_END MARK_GOOD MARK_WAIT), 3);
}

static void test_print(void **state)
{
	struct block b;
	struct text t;

	(void)state;
	block_init(&b, 40);
	block_line(&b, MARK_GOOD "g" MARK_END MARK_WAIT "w" MARK_END);
	block_line(&b,
		MARK_REST "r" MARK_END MARK_BAD "b" MARK_END MARK_BOLD
			  "o" MARK_END);
	block_line(&b, MARK_LIVE MARK_BAD "l" MARK_END);
	text_init(&t);
	block_print(&t, &b, BLOCK_PLAIN, ";");
	assert_string_equal(t.data, "gw;rbo;l;");
	text_reset(&t);
	block_print(&t, &b, BLOCK_COLOUR, ";");
	assert_string_equal(t.data,
		"\x1b[32mg\x1b[0m\x1b[33mw\x1b[0m;"
		"\x1b[36mr\x1b[0m\x1b[1;31mb\x1b[0m\x1b[1mo\x1b[0m;"
		"\x1b[1;31ml\x1b[0m;");
	text_reset(&t);
	block_print(&t, &b, BLOCK_DIM, ";");
	assert_string_equal(t.data,
		"\x1b[2mgw\x1b[0m;\x1b[2mrbo\x1b[0m;"
		"\x1b[1;31ml\x1b[0m;");
	text_close(&t);
	block_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_go_on_under_the_first),
		cmocka_unit_test(test_a_field_that_just_fits),
		cmocka_unit_test(test_long_fields_break_at_words),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_marks_take_no_columns),
		cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
