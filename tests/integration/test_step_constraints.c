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
		"Keys: (7).", MEND_CHECK);
	assert_string_equal(in_the_way("trap"), "{7} 23514");
	sql_exec(shop.app, "UPDATE trap SET b = 'x' WHERE id = 7");
	assert_string_equal(constraint("trap", "c"), "(null)");

	sql_exec(shop.app, "UPDATE trap SET n = 0 WHERE n IS NULL");
	retry("trap");
	assert_string_equal(in_the_way("trap"), "");
	assert_string_equal(
		constraint("trap", "c"), "CHECK ((n IS NOT NULL)) NOT VALID");
}

/* ---- which rows are told */

static void in_the_way_of_c(const char *name, const char *table,
	const char *count, const char *keys)
{
	char message[256];
	char detail[256];

	(void)snprintf(message, sizeof message,
		"check constraint \"c\" of table \"public.%s\" is violated by"
		" %s rows",
		table, count);
	(void)snprintf(detail, sizeof detail, "Keys: %s.", keys);
	job_fails(name, "BF033", message, detail, MEND_CHECK);
}

static void test_composite_key_and_none(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE two (\"B x\" text, a integer, n integer,"
		" PRIMARY KEY (a, \"B x\"));"
		"INSERT INTO two VALUES ('x, y', 1, -1), ('z', 1, 1),"
		" ('z', 2, -1); CREATE TABLE bare (n integer);"
		"INSERT INTO bare VALUES (1), (-1)");
	submit("two", "add_check", "two", "c", "CHECK (n > 0)");
	in_the_way_of_c("two", "two", "2", "(1, x, y), (2, z)");
	assert_string_equal(
		in_the_way("two"), "{1,\"x, y\"} 23514, {2,z} 23514");
	submit("bare", "add_check", "bare", "c", "CHECK (n > 0)");
	in_the_way_of_c("bare", "bare", "1", "(bare, (0,2))");
}

static void test_more_than_a_hundred(void **state)
{
	(void)state;
	make_table("many");
	submit("many", "add_check", "many", "c", "CHECK (n > 101)");
	in_the_way_of_c("many", "many", "more than 100",
		"(1), (2), (3), (4), (5), ...; the first 100 are in"
		" backfill.row_errors");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.row_errors"
				 " WHERE job_id = %lld AND sqlstate = '23514'"
				 " AND constraint_name = 'c'",
				 (long long)job_id("many")),
		100);
}

static void test_null_is_no_violation(void **state)
{
	(void)state;
	make_table("unknown");
	sql_exec(shop.app, "UPDATE unknown SET n = NULL WHERE id < 9");
	succeeds("unknown", "add_check", "unknown", "c", "CHECK (n > 0)");
	succeeds("unknown v", "validate_constraint", "unknown", "c", NULL);
	assert_string_equal(constraint("unknown", "c"), "CHECK ((n > 0))");
}

/* ---- what the definition means */

/* Names are those of the submitter, even one that hides the server's own. */
static void test_names_of_the_submitter(void **state)
{
	(void)state;
	make_table("named");
	sql_exec(shop.db, "CREATE SCHEMA mine AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE FUNCTION mine.is_fine(text) RETURNS boolean"
		" LANGUAGE sql IMMUTABLE AS $$ SELECT $1 <> 'b7' $$;"
		"CREATE FUNCTION mine.lower(text) RETURNS text LANGUAGE sql"
		" IMMUTABLE AS $$ SELECT pg_catalog.upper($1) $$;"
		"SET search_path = mine, public, pg_catalog");
	submit("named", "add_check", "named", "c",
		"CHECK (is_fine(b) AND lower(b) LIKE 'B%' AND"
		" pg_catalog.lower(b) LIKE 'b%')");
	sql_exec(shop.app, "RESET search_path");
	in_the_way_of_c("named", "named", "1", "(7)");
	sql_exec(shop.app, "UPDATE named SET b = 'b' WHERE id = 7");
	retry("named");
	succeeds("named v", "validate_constraint", "named", "c", NULL);
	assert_string_equal(constraint("named", "c"),
		"CHECK ((mine.is_fine(b) AND (mine.lower(b) ~~ 'B%'::text) AND"
		" (lower(b) ~~ 'b%'::text)))");
}

static void test_odd_identifiers(void **state)
{
	const char *table = "\"Odd s.\".\"T %s \"\" ONLY\"";

	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA \"Odd s.\" AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TABLE %s (\"i %%s\" integer PRIMARY KEY,"
		" \"CHECK (\" integer); INSERT INTO %s VALUES (1, -1)",
		table, table);
	submit("odd", "add_check", table, "c %s; \"%I",
		"CHECK (\"T %s \"\" ONLY\".\"CHECK (\" > 0)");
	job_fails("odd", "BF033",
		"check constraint \"c %s; \"%I\" of table \"\"Odd s.\".\"T %s"
		" \"\" ONLY\"\" is violated by 1 rows",
		"Keys: (1).", MEND_CHECK);
	sql_exec(shop.app, "DELETE FROM %s", table);
	retry("odd");
	succeeds("odd v", "validate_constraint", table, "c %s; \"%I", NULL);
	assert_string_equal(
		constraint(table, "c %s; \"%I"), "CHECK ((\"CHECK (\" > 0))");
}

static void refused(const char *name, const char *definition)
{
	submit(name, "add_check", "one", "c", definition);
	job_fails(name, "42601",
		"the definition of constraint \"c\" is not one CHECK", NULL,
		"Write: CHECK (expression).");
}

/* A comma would begin another action of ALTER TABLE. */
static void test_one_check(void **state)
{
	char message[128];

	(void)state;
	make_table("one");
	refused("one 1", "CHECK (n > 0), CHECK (n > 1)");
	refused("one 2", "CHECK (n > 0), x integer");
	refused("one 3", "UNIQUE (b)");
	submit("one 4", "add_check", "one", "c",
		"CHECK (n > 0), DROP COLUMN b");
	job_fails("one 4", "42601", "syntax error at or near \"COLUMN\"", NULL,
		NULL);
	submit("one 5", "add_check", "one", "c", "CHECK (m > 0)");
	job_fails("one 5", "42703", "column \"m\" does not exist", NULL, NULL);
	submit("one 6", "add_check", "one", "c", "CHECK (n > 0); SELECT 1");
	(void)snprintf(message, sizeof message,
		"definition of job %lld is more than one statement",
		(long long)job_id("one 6"));
	job_fails("one 6", "42601", message, NULL,
		"Only a job of kind \"ddl\" has several.");
	assert_string_equal(constraint("one", "c"), "(null)");
}

static void another(const char *name, const char *definition, const char *asked)
{
	char detail[256];

	submit(name, "add_check", "other", "c", definition);
	(void)snprintf(detail, sizeof detail,
		"It is: CHECK ((n > '-1'::integer)). Asked for: %s.", asked);
	job_fails(name, "BF034",
		"constraint \"c\" of table \"public.other\" exists and is"
		" defined differently",
		detail,
		"Name another constraint in object_name, or drop this one"
		" first.");
}

static void test_another_of_the_name(void **state)
{
	(void)state;
	make_table("other");
	sql_exec(shop.app, "ALTER TABLE other ADD CONSTRAINT c CHECK (n > -1)");
	another("other 1", "CHECK (n > 0)", "CHECK ((n > 0))");
	another("other 2", "CHECK (n > -1) NO INHERIT",
		"CHECK ((n > '-1'::integer)) NO INHERIT");
	succeeds("other 3", "add_check", "other", "c", "CHECK (n > -1)");
	did_nothing("other 3");
}

/* ---- more than one table */

static void test_partitions(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE parts (id integer PRIMARY KEY, n integer)"
		" PARTITION BY RANGE (id);"
		"CREATE TABLE parts_1 PARTITION OF parts"
		" FOR VALUES FROM (0) TO (10);"
		"CREATE TABLE parts_2 PARTITION OF parts"
		" FOR VALUES FROM (10) TO (20);"
		"INSERT INTO parts VALUES (1, 1), (11, -1)");
	submit("parts", "add_check", "parts", "c", "CHECK (n > 0)");
	in_the_way_of_c("parts", "parts", "1", "(11)");
	sql_exec(shop.app, "UPDATE parts SET n = 1");
	retry("parts");
	succeeds("parts v", "validate_constraint", "parts", "c", NULL);
	assert_string_equal(constraint("parts_2", "c"), "CHECK ((n > 0))");
}

/* Children count, unless NO INHERIT says that they do not. */
static void test_children(void **state)
{
	(void)state;
	make_table("parent");
	sql_exec(shop.app,
		"CREATE TABLE child () INHERITS (parent);"
		"INSERT INTO child VALUES (1000, -1, 'c')");
	submit("parent", "add_check", "parent", "c", "CHECK (n > 0)");
	in_the_way_of_c("parent", "parent", "1", "(1000)");
	succeeds("parent 2", "add_check", "parent", "only",
		"CHECK (n > 0) NO INHERIT");
	succeeds("parent 3", "validate_constraint", "parent", "only", NULL);
	assert_string_equal(
		constraint("parent", "only"), "CHECK ((n > 0)) NO INHERIT");
	assert_string_equal(constraint("child", "only"), "(null)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_added_not_valid_then_validated),
		cmocka_unit_test(test_rows_in_the_way_are_not_trapped),
		cmocka_unit_test(test_composite_key_and_none),
		cmocka_unit_test(test_more_than_a_hundred),
		cmocka_unit_test(test_null_is_no_violation),
		cmocka_unit_test(test_names_of_the_submitter),
		cmocka_unit_test(test_odd_identifiers),
		cmocka_unit_test(test_one_check),
		cmocka_unit_test(test_another_of_the_name),
		cmocka_unit_test(test_partitions),
		cmocka_unit_test(test_children),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
