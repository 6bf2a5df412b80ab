#include "base/err.h"

#include <string.h>

#include "cmocka_all.h"

static void test_set_clears_the_rest(void **state)
{
	struct err e;

	(void)state;
	memset(&e, 'x', sizeof e);
	assert_int_equal(err_set(&e, BFE_INPUT, "no %s", "file"), BFE_INPUT);
	assert_int_equal(e.code, BFE_INPUT);
	assert_string_equal(e.message, "no file");
	assert_string_equal(e.sqlstate, "");
	assert_string_equal(e.detail, "");
	assert_string_equal(e.hint, "");
}

static void test_detail_and_hint(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, BFE_SQL, "message");
	err_set_detail(&e, "Detail %d.", 1);
	err_set_hint(&e, "Hint %d.", 2);
	assert_string_equal(e.message, "message");
	assert_string_equal(e.detail, "Detail 1.");
	assert_string_equal(e.hint, "Hint 2.");
}

static void test_wrap_puts_context_before(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, BFE_LOST, "connection reset");
	err_set_detail(&e, "Detail.");
	assert_int_equal(err_wrap(&e, "database \"%s\"", "shop"), BFE_LOST);
	assert_string_equal(e.message, "database \"shop\": connection reset");
	assert_string_equal(e.detail, "Detail.");
}

static void test_long_text_is_cut(void **state)
{
	char text[2000];
	struct err e;

	(void)state;
	memset(text, 'm', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	err_set(&e, BFE_SQL, "%s", text);
	err_set_detail(&e, "%s", text);
	err_set_hint(&e, "%s", text);
	assert_int_equal(strlen(e.message), sizeof e.message - 1);
	assert_int_equal(strlen(e.detail), sizeof e.detail - 1);
	assert_int_equal(strlen(e.hint), sizeof e.hint - 1);

	/* The context stays whole. */
	err_wrap(&e, "context");
	assert_int_equal(strlen(e.message), sizeof e.message - 1);
	assert_memory_equal(e.message, "context: mmm", 12);

	err_wrap(&e, "%s", text);
	assert_int_equal(strlen(e.message), sizeof e.message - 1);
}

static void test_clear(void **state)
{
	struct err e, zero;

	(void)state;
	memset(&zero, 0, sizeof zero);
	err_set(&e, BFE_SQL, "message");
	err_set_hint(&e, "Hint.");
	err_clear(&e);
	assert_memory_equal(&e, &zero, sizeof e);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(err_name(BFE_OK), "ok");
	assert_string_equal(err_name(BFE_INPUT), "input");
	assert_string_equal(err_name(BFE_SYSTEM), "system");
	assert_string_equal(err_name(BFE_CONNECT), "connect");
	assert_string_equal(err_name(BFE_LOST), "lost");
	assert_string_equal(err_name(BFE_TIMEOUT), "timeout");
	assert_string_equal(err_name(BFE_CLOSED), "closed");
	assert_string_equal(err_name(BFE_SQL), "sql");
	assert_string_equal(err_name(BFE_PROTOCOL), "protocol");
	assert_string_equal(err_name(BFE_PROTOCOL + 1), "unknown");
	assert_string_equal(err_name(-1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_clears_the_rest),
		cmocka_unit_test(test_detail_and_hint),
		cmocka_unit_test(test_wrap_puts_context_before),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_clear),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
