/* test_step_constraints_18.c: constraints that only PostgreSQL 18 and newer
 * have: NOT NULL that is NOT VALID, keys with PERIOD, and foreign keys of
 * partitioned tables that are NOT VALID. */
#include "constraint_drive.h"

static void skip_before_18(void)
{
	if (PQserverVersion(shop.db) < 180000) {
		print_message("skip: the server is older than 18\n");
		skip();
	}
}

/* A CHECK that lies would let it pass where the server takes a proof. */
static void test_not_null_not_valid(void **state)
{
	(void)state;
	skip_before_18();
	sql_exec(shop.app,
		"CREATE TABLE late (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO late VALUES (1, 1), (2, NULL);"
		"ALTER TABLE late ADD CONSTRAINT nn NOT NULL n NOT VALID");
	submit("late", "validate_constraint", "late", "nn", NULL);
	job_fails("late", "BF033",
		"not-null constraint \"nn\" of table \"public.late\" is"
		" violated by 1 rows",
		"Keys: (2).",
		"Change the rows, then retry the job;"
		" backfill.plan_set_not_null() with fill does both.");
	assert_string_equal(in_the_way("late"), "{2} 23502");
	sql_exec(shop.app, "UPDATE late SET n = 2");
	retry("late");
	assert_string_equal(steps("late"), "VALIDATE CONSTRAINT nn");
	assert_string_equal(constraint("late", "nn"), "NOT NULL n");
	succeeds("late again", "validate_constraint", "late", "nn", NULL);
	did_nothing("late again");
}

/* SET NOT NULL would read the table, whatever a CHECK says. */
static void test_set_not_null_validates(void **state)
{
	(void)state;
	skip_before_18();
	sql_exec(shop.app,
		"CREATE TABLE half (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO half VALUES (1, 1);"
		"ALTER TABLE half ADD CONSTRAINT nn NOT NULL n NOT VALID,"
		" ADD CONSTRAINT proof CHECK (n IS NOT NULL)");
	succeeds("half", "set_not_null", "half", "n", "proof");
	assert_string_equal(
		steps("half"), "VALIDATE CONSTRAINT nn|DROP CONSTRAINT proof");
	assert_string_equal(constraint("half", "nn"), "NOT NULL n");
	assert_string_equal(constraint("half", "proof"), "(null)");
}

/* That of a partition, too, and each of them in turn. */
static void test_set_not_null_of_partitions(void **state)
{
	(void)state;
	skip_before_18();
	sql_exec(shop.app,
		"CREATE TABLE tree (id integer PRIMARY KEY, n integer)"
		" PARTITION BY RANGE (id);"
		"CREATE TABLE tree_1 PARTITION OF tree"
		" FOR VALUES FROM (0) TO (10);"
		"CREATE TABLE tree_2 PARTITION OF tree"
		" FOR VALUES FROM (10) TO (20);"
		"INSERT INTO tree VALUES (1, 1), (11, 11);"
		"ALTER TABLE tree_1 ADD CONSTRAINT n1 NOT NULL n NOT VALID;"
		"ALTER TABLE tree_2 ADD CONSTRAINT n2 NOT NULL n NOT VALID");
	succeeds("tree", "set_not_null", "tree", "n", NULL);
	assert_string_equal(steps("tree"),
		"VALIDATE CONSTRAINT n1|VALIDATE CONSTRAINT n2"
		"|SET NOT NULL of n");
	assert_true(is_not_null("tree", "n"));
}

/* A period may be that of two rows together. */
static void test_key_with_period(void **state)
{
	(void)state;
	skip_before_18();
	sql_exec(shop.app,
		"CREATE TABLE terms (id int4range, at daterange,"
		" PRIMARY KEY (id, at WITHOUT OVERLAPS));"
		"INSERT INTO terms VALUES"
		" ('[1,2)', '[2020-01-01,2021-01-01)'),"
		" ('[1,2)', '[2021-01-01,2022-01-01)');"
		"CREATE TABLE stays (id int4range, at daterange);"
		"INSERT INTO stays VALUES ('[1,2)', '[2020-06-01,2021-06-01)');"
		"ALTER TABLE stays ADD CONSTRAINT f FOREIGN KEY (id, PERIOD at)"
		" REFERENCES terms (id, PERIOD at) NOT VALID");
	succeeds("stays", "validate_constraint", "stays", "f", NULL);
	assert_string_equal(constraint("stays", "f"),
		"FOREIGN KEY (id, PERIOD at) REFERENCES"
		" terms(id, PERIOD at)");
}

static void test_key_of_a_partitioned_table(void **state)
{
	(void)state;
	skip_before_18();
	sql_exec(shop.app,
		"CREATE TABLE owners (id integer PRIMARY KEY);"
		"INSERT INTO owners VALUES (1);"
		"CREATE TABLE owned (id integer PRIMARY KEY, owner_id integer)"
		" PARTITION BY RANGE (id); CREATE TABLE owned_1 PARTITION OF"
		" owned FOR VALUES FROM (0) TO (10);"
		"INSERT INTO owned VALUES (1, 1), (2, 9)");
	succeeds("owned add", "add_foreign_key", "owned", "f",
		"FOREIGN KEY (owner_id) REFERENCES owners");
	submit("owned", "validate_constraint", "owned", "f", NULL);
	job_fails("owned", "BF033",
		"foreign key \"f\" of table \"public.owned\" has 1 orphans",
		"Keys: (2).", MEND_KEY);
	sql_exec(shop.app, "UPDATE owned SET owner_id = 1");
	retry("owned");
	assert_string_equal(constraint("owned", "f"),
		"FOREIGN KEY (owner_id) REFERENCES owners(id)");
	assert_string_equal(constraint("owned_1", "f"),
		"FOREIGN KEY (owner_id) REFERENCES owners(id)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_null_not_valid),
		cmocka_unit_test(test_set_not_null_validates),
		cmocka_unit_test(test_set_not_null_of_partitions),
		cmocka_unit_test(test_key_with_period),
		cmocka_unit_test(test_key_of_a_partitioned_table),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
