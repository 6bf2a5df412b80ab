#include "base/json.h"

#include "cmocka_all.h"

static void check(const char *s, const char *expected)
{
	struct text t;

	text_init(&t);
	json_add_string(&t, s);
	assert_string_equal(t.data, expected);
	text_close(&t);
}

static void test_plain_text_stays(void **state)
{
	(void)state;
	check("", "\"\"");
	check("a -> b, 'c' /d/", "\"a -> b, 'c' /d/\"");
	check("caf\xc3\xa9 \xf0\x9f\x90\x98",
		"\"caf\xc3\xa9 \xf0\x9f\x90\x98\"");
}

static void test_what_json_demands(void **state)
{
	(void)state;
	check("say \"a\\b\"", "\"say \\\"a\\\\b\\\"\"");
	check("1\n2\r3\t4", "\"1\\n2\\r3\\t4\"");
	check("\x01\x1b[0m\x1f", "\"\\u0001\\u001b[0m\\u001f\"");
}

/* RFC 8259 allows them; those who split at line ends may not. */
static void test_other_line_ends(void **state)
{
	(void)state;
	check("\x7f", "\"\\u007f\"");
	check("\xc2\x85", "\"\\u0085\"");
	check("\xe2\x80\xa8\xe2\x80\xa9", "\"\\u2028\\u2029\"");
	check("\xc2\xa0\xe2\x80\xa7", "\"\xc2\xa0\xe2\x80\xa7\"");
}

#define UNKNOWN "\xef\xbf\xbd"

static void test_bytes_that_are_no_utf8(void **state)
{
	(void)state;
	check("a\xff"
	      "b",
		"\"a" UNKNOWN "b\"");
	check("\xc3", "\"" UNKNOWN "\""); /* cut off */
	check("\xc3\"", "\"" UNKNOWN "\\\"\"");
	check("\xc0\xaf", "\"" UNKNOWN UNKNOWN "\""); /* not the shortest */
	check("\xed\xa0\x80",
		"\"" UNKNOWN UNKNOWN UNKNOWN "\""); /* surrogate */
	check("\xf4\x90\x80\x80", "\"" UNKNOWN UNKNOWN UNKNOWN UNKNOWN "\"");
}

static void test_it_is_added(void **state)
{
	struct text t;

	(void)state;
	text_init(&t);
	text_add(&t, "{\"a\":");
	json_add_string(&t, "b");
	text_add(&t, "}");
	assert_string_equal(t.data, "{\"a\":\"b\"}");
	text_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_text_stays),
		cmocka_unit_test(test_what_json_demands),
		cmocka_unit_test(test_other_line_ends),
		cmocka_unit_test(test_bytes_that_are_no_utf8),
		cmocka_unit_test(test_it_is_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
