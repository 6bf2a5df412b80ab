/* test_step_constraints_rights.c: who does not own a table is told so before
 * anything is read, though it may read all of it. */
#include "constraint_drive.h"

static void refused(
	const char *kind, const char *object_name, const char *definition)
{
	submit(kind, kind, "theirs", object_name, definition);
	job_fails(kind, "42501", "must be owner of table public.theirs", NULL,
		NULL);
	assert_string_equal(in_the_way(kind), "");
}

static void test_owner_only(void **state)
{
	(void)state;
	sql_exec(shop.db,
		"CREATE TABLE theirs (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO theirs VALUES (1, -1), (2, NULL);"
		"ALTER TABLE theirs ADD CONSTRAINT v CHECK (n > 0) NOT VALID;"
		"GRANT ALL ON theirs TO app");
	refused("add_check", "c", "CHECK (n > 0)");
	refused("add_foreign_key", "f",
		"FOREIGN KEY (n) REFERENCES theirs (id)");
	refused("validate_constraint", "v", NULL);
	refused("set_not_null", "n", NULL);
	assert_string_equal(constraint("theirs", "c"), "(null)");
	assert_string_equal(constraint("theirs", "f"), "(null)");
	assert_string_equal(
		constraint("theirs", "v"), "CHECK ((n > 0)) NOT VALID");
	assert_false(is_not_null("theirs", "n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner_only),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
