/* test_ctl_nearest.c: which name somebody may have meant. */
#include <string.h>

#include "cmocka_all.h"

#include "ctl/ctl_nearest.h"

static const char *nearest(const char *wanted)
{
	static const char *const names[] = { "submit", "list", "status", "set",
		"stop-all", "start-all", "max_rows_per_second" };
	struct ctl_nearest n;

	ctl_nearest_init(&n, wanted, strlen(wanted));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		ctl_nearest_try(&n, names[i]);
	}
	return n.name != NULL ? n.name : "";
}

static void test_slips(void **state)
{
	(void)state;
	assert_string_equal(nearest("submti"), "submit");
	assert_string_equal(nearest("sumbit"), "submit");
	assert_string_equal(nearest("sbmit"), "submit");
	assert_string_equal(nearest("submitt"), "submit");
	assert_string_equal(nearest("lits"), "list");
	assert_string_equal(nearest("stat-all"), "start-all");
	assert_string_equal(
		nearest("max_row_per_secnd"), "max_rows_per_second");
}

static void test_beginnings(void **state)
{
	(void)state;
	assert_string_equal(nearest("max_rows"), "max_rows_per_second");
	assert_string_equal(nearest("stat"), "status");
	assert_string_equal(nearest("ma"), "");
}

static void test_what_is_not_near(void **state)
{
	static const char longer[] = "a_name_that_is_longer_than_any_of_ours";

	(void)state;
	assert_string_equal(nearest("frobnicate"), "");
	assert_string_equal(nearest("cat"), "");
	assert_string_equal(nearest(""), "");
	assert_string_equal(nearest("x"), "");
	assert_string_equal(nearest(longer), "");
}

/* Only so many bytes of the word count. */
static void test_a_part_of_a_word(void **state)
{
	struct ctl_nearest n;

	(void)state;
	ctl_nearest_init(&n, "statsu=value", 6);
	ctl_nearest_try(&n, "status");
	assert_string_equal(n.name, "status");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slips),
		cmocka_unit_test(test_beginnings),
		cmocka_unit_test(test_what_is_not_near),
		cmocka_unit_test(test_a_part_of_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
