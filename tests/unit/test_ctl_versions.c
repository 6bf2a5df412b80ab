/* Which versions of the server and of libpq are fine, and why not. */
#include "cmocka_all.h"
#include "ctl/ctl_check.h"

static void expect_server(int version, enum check_level level, const char *why)
{
	const char *told = "";

	assert_int_equal(ctl_check_server_version(version, &told), level);
	if (why == NULL) {
		assert_null(told);
	} else {
		assert_string_equal(told, why);
	}
}

static void test_server(void **state)
{
	static const char lag[] = "before 15.18 the lag of a standby may be"
				  " NULL while it has one";

	(void)state;
	expect_server(120022, CHECK_FAILURE, "13 or later is needed");
	expect_server(130000, CHECK_WARNING, "15.4 or later is recommended");
	expect_server(150003, CHECK_WARNING, "15.4 or later is recommended");
	expect_server(150004, CHECK_WARNING, lag);
	expect_server(150017, CHECK_WARNING, lag);
	expect_server(150018, CHECK_OK, NULL);
	expect_server(160000, CHECK_OK, NULL);
}

static void test_libpq(void **state)
{
	const char *why = "";

	(void)state;
	assert_int_equal(ctl_check_libpq_version(150014, &why), CHECK_OK);
	assert_null(why);
	assert_int_equal(ctl_check_libpq_version(150013, &why), CHECK_WARNING);
	assert_string_equal(why,
		"before 15.14 a connection over TLS may break with"
		" \"bad length\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_libpq),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
