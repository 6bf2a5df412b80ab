/* test_step_constraints.c: add_check: what a definition means, rows in the
 * way, and what is there already. */
#include "constraint_drive.h"

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer, b text);"
		"INSERT INTO %s SELECT i, i, 'b' || i"
		" FROM generate_series(1, 200) i",
		name, name);
}

static void test_added_not_valid_then_validated(void **state)
{
	int64_t file;

	(void)state;
	make_table("happy");
	file = file_of("happy");
	succeeds("happy", "add_check", "happy", "happy_check", "CHECK (n > 0)");
	assert_string_equal(constraint("happy", "happy_check"),
		"CHECK ((n > 0)) NOT VALID");
	assert_string_equal(
		steps("happy"), "ADD CONSTRAINT happy_check CHECK NOT VALID");
	succeeds(
		"happy v", "validate_constraint", "happy", "happy_check", NULL);
	assert_string_equal(
		constraint("happy", "happy_check"), "CHECK ((n > 0))");
	assert_string_equal(
		steps("happy v"), "VALIDATE CONSTRAINT happy_check");
	assert_int_equal(file_of("happy"), file);

	succeeds("happy again", "add_check", "happy", "happy_check",
		"check(happy.n>0) NOT VALID -- as it was");
	did_nothing("happy again");
	succeeds("happy v again", "validate_constraint", "happy", "happy_check",
		NULL);
	did_nothing("happy v again");
}

/* The server adds a NOT VALID check over a row that violates it, and then
 * refuses whatever changes that row: not so the job. */
static void test_rows_in_the_way_are_not_trapped(void **state)
{
	struct sql_failure failure;

	(void)state;
	make_table("trap");
	sql_exec(shop.app, "UPDATE trap SET n = NULL WHERE id = 7");
	sql_exec(shop.app,
		"ALTER TABLE trap ADD CONSTRAINT c CHECK (n IS NOT NULL)"
		" NOT VALID");
	sql_fails(shop.app, &failure, "UPDATE trap SET b = 'x' WHERE id = 7");
	assert_string_equal(failure.sqlstate, "23514");
	sql_exec(shop.app, "ALTER TABLE trap DROP CONSTRAINT c");

	submit("trap", "add_check", "trap", "c", "CHECK (n IS NOT NULL)");
	job_fails("trap", "BF033",
		"check constraint \"c\" of table \"public.trap\" is violated"
		" by 1 rows",
		"Keys: (7). The first 100 are in backfill.row_errors.",
		MEND_CHECK);
	assert_string_equal(in_the_way("trap"), "{7} 23514");
	sql_exec(shop.app, "UPDATE trap SET b = 'x' WHERE id = 7");
	assert_string_equal(constraint("trap", "c"), "(null)");

	sql_exec(shop.app, "UPDATE trap SET n = 0 WHERE n IS NULL");
	retry("trap");
	assert_string_equal(in_the_way("trap"), "");
	assert_string_equal(
		constraint("trap", "c"), "CHECK ((n IS NOT NULL)) NOT VALID");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_added_not_valid_then_validated),
		cmocka_unit_test(test_rows_in_the_way_are_not_trapped),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
