/* test_step_constraints_null.c: set_not_null, which never reads the table. A
 * CHECK that lies, marked valid over a row that violates it, tells: who reads
 * the table fails, and who trusts the CHECK does not. */
#include "constraint_drive.h"

static PGconn *fresh; /* app: a session that has not cached the catalog */

static void lie(const char *table, const char *check)
{
	sql_exec(shop.db,
		"UPDATE pg_constraint SET convalidated = true"
		" WHERE conrelid = '%s'::regclass AND conname = '%s'",
		table, check);
}

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO %s VALUES (1, 1), (2, NULL);"
		"ALTER TABLE %s ADD CONSTRAINT proof CHECK (n IS NOT NULL)"
		" NOT VALID",
		name, name, name);
}

static void test_does_not_read_the_table(void **state)
{
	struct sql_failure failure;
	int64_t file;

	(void)state;
	make_table("lied");
	lie("lied", "proof");
	/* In one ALTER TABLE the proof goes first, wherever it stands. */
	fresh = cluster_connect(shop.cluster, "shop", "app");
	sql_fails(fresh, &failure,
		"ALTER TABLE lied ALTER COLUMN n SET NOT NULL,"
		" DROP CONSTRAINT proof");
	assert_string_equal(failure.sqlstate, "23502");
	PQfinish(fresh);
	assert_false(is_not_null("lied", "n"));

	file = file_of("lied");
	succeeds("lied", "set_not_null", "lied", "n", "proof");
	assert_true(is_not_null("lied", "n"));
	assert_string_equal(constraint("lied", "proof"), "(null)");
	assert_string_equal(steps("lied"), "SET NOT NULL of n");
	assert_int_equal(file_of("lied"), file);
	succeeds("lied again", "set_not_null", "lied", "n", "proof");
	did_nothing("lied again");
}

/* Without definition any CHECK is a proof, and stays. */
static void test_keeps_what_it_is_not_told(void **state)
{
	(void)state;
	make_table("kept");
	lie("kept", "proof");
	succeeds("kept", "set_not_null", "kept", "n", NULL);
	assert_true(is_not_null("kept", "n"));
	assert_string_equal(
		constraint("kept", "proof"), "CHECK ((n IS NOT NULL))");
	succeeds("kept again", "set_not_null", "kept", "n", NULL);
	did_nothing("kept again");
	/* NOT NULL already, by whomever: the rest is done. */
	succeeds("kept drop", "set_not_null", "kept", "n", "proof");
	assert_string_equal(constraint("kept", "proof"), "(null)");
	assert_string_equal(steps("kept drop"), "DROP CONSTRAINT proof");
}

static void unproven(const char *name, const char *table, const char *culprit)
{
	char message[256];
	char hint[256];

	submit(name, "set_not_null", table, "n", NULL);
	(void)snprintf(message, sizeof message,
		"no valid CHECK proves that column \"n\" of table"
		" \"public.%s\" is not NULL",
		culprit);
	(void)snprintf(hint, sizeof hint,
		"SELECT backfill.plan_set_not_null('public.%s', 'n'); makes and"
		" validates one first.",
		table);
	job_fails(name, "BF032", message,
		"SET NOT NULL would read the whole table under"
		" AccessExclusiveLock.",
		hint);
	assert_false(is_not_null(table, "n"));
}

static void test_refuses_without_proof(void **state)
{
	(void)state;
	make_table("unproven");
	sql_exec(shop.app, "DELETE FROM unproven WHERE n IS NULL");
	/* One that is not valid, and others that say something else. */
	sql_exec(shop.app,
		"ALTER TABLE unproven ADD CHECK (n > 0),"
		" ADD CHECK (n IS NOT NULL OR id = 0)");
	unproven("unproven", "unproven", "unproven");
	sql_exec(shop.app, "ALTER TABLE unproven VALIDATE CONSTRAINT proof");
	retry("unproven");
	assert_true(is_not_null("unproven", "n"));

	/* A child that the CHECK does not speak of would be read. */
	sql_exec(shop.app,
		"CREATE TABLE elder (id integer, n integer,"
		" CONSTRAINT proof CHECK (n IS NOT NULL) NO INHERIT);"
		"CREATE TABLE younger () INHERITS (elder)");
	unproven("elder", "elder", "younger");
}

static void test_definition_names_another(void **state)
{
	(void)state;
	make_table("misnamed");
	sql_exec(shop.app,
		"ALTER TABLE misnamed ADD CONSTRAINT wrong CHECK (id > 0)");
	lie("misnamed", "proof");
	submit("misnamed", "set_not_null", "misnamed", "n", "wrong");
	job_fails("misnamed", "BF034",
		"constraint \"wrong\" of table \"public.misnamed\" is not a"
		" CHECK that proves that \"n\" is not NULL",
		"It is: CHECK ((id > 0)). Asked for: CHECK ((n IS NOT NULL)).",
		"definition names the CHECK that is dropped; leave it NULL to"
		" drop none.");
	sql_exec(shop.app, "ALTER TABLE misnamed ALTER COLUMN id SET NOT NULL");
	succeeds("misnamed id", "set_not_null", "misnamed", "id", "wrong");
	did_nothing("misnamed id");
	assert_string_equal(
		constraint("misnamed", "wrong"), "CHECK ((id > 0))");

	submit("misnamed x", "set_not_null", "misnamed", "x", NULL);
	job_fails("misnamed x", "42703",
		"column \"x\" of table \"public.misnamed\" does not exist",
		NULL, NULL);
}

/* Of a composite type IS NOT NULL says that no field is NULL: the server
 * does not take it for a proof. */
static void test_composite_type(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TYPE pair AS (a integer, b integer);"
		"CREATE DOMAIN pairs AS pair;"
		"CREATE TABLE rows (id integer PRIMARY KEY, n pairs,"
		" CONSTRAINT wrong CHECK (n IS NOT NULL))");
	unproven("rows", "rows", "rows");
	sql_exec(shop.app,
		"ALTER TABLE rows DROP CONSTRAINT wrong;"
		"INSERT INTO rows VALUES (1, NULL);"
		"ALTER TABLE rows ADD CONSTRAINT proof"
		" CHECK (n IS DISTINCT FROM NULL) NOT VALID");
	lie("rows", "proof");
	retry("rows");
	assert_true(is_not_null("rows", "n"));
}

static void test_partitions_and_odd_names(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE \"P %%s\" (id integer PRIMARY KEY, \"N \"\"\""
		" integer) PARTITION BY RANGE (id);"
		"CREATE TABLE p_1 PARTITION OF \"P %%s\""
		" FOR VALUES FROM (0) TO (10);"
		"INSERT INTO \"P %%s\" VALUES (1, NULL);"
		"ALTER TABLE \"P %%s\" ADD CONSTRAINT \"C %%I\""
		" CHECK (\"N \"\"\" IS NOT NULL) NOT VALID");
	lie("\"P %s\"", "C %I");
	lie("p_1", "C %I");
	succeeds("odd", "set_not_null", "\"P %s\"", "N \"", "C %I");
	assert_true(is_not_null("p_1", "N \""));
	assert_string_equal(constraint("p_1", "C %I"), "(null)");
}

/* A partition that is NOT NULL already needs no proof: the server does not
 * read it. */
static void test_partition_that_is_so_already(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE mixed (id integer PRIMARY KEY, n integer)"
		" PARTITION BY RANGE (id);"
		"CREATE TABLE mixed_1 PARTITION OF mixed"
		" FOR VALUES FROM (0) TO (10);"
		"CREATE TABLE mixed_2 PARTITION OF mixed"
		" FOR VALUES FROM (10) TO (20);"
		"INSERT INTO mixed VALUES (1, 1), (11, NULL);"
		"ALTER TABLE mixed_1 ALTER n SET NOT NULL;"
		"ALTER TABLE mixed_2 ADD CONSTRAINT proof CHECK"
		" (n IS NOT NULL) NOT VALID");
	submit("mixed", "set_not_null", "mixed", "n", NULL);
	job_fails("mixed", "BF032",
		"no valid CHECK proves that column \"n\" of table"
		" \"public.mixed_2\" is not NULL",
		"SET NOT NULL would read the whole table under"
		" AccessExclusiveLock.",
		"SELECT backfill.plan_set_not_null('public.mixed', 'n');"
		" makes and validates one first.");
	lie("mixed_2", "proof");
	retry("mixed");
	assert_true(is_not_null("mixed", "n"));
	assert_true(is_not_null("mixed_2", "n"));
}

/* From rows with NULL to NOT NULL, as the recipe goes. */
static void test_recipe(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE whole (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO whole SELECT i FROM generate_series(1, 100) i;"
		"SELECT backfill.plan_set_not_null('whole', 'n', 'id')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state = 'succeeded') FROM backfill.jobs"
		" WHERE name LIKE 'set_not_null public.whole.n%%'");
	assert_true(is_not_null("whole", "n"));
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM pg_constraint"
				 " WHERE conrelid = 'whole'::regclass"
				 " AND contype = 'c'"),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_does_not_read_the_table),
		cmocka_unit_test(test_keeps_what_it_is_not_told),
		cmocka_unit_test(test_refuses_without_proof),
		cmocka_unit_test(test_definition_names_another),
		cmocka_unit_test(test_composite_type),
		cmocka_unit_test(test_partitions_and_odd_names),
		cmocka_unit_test(test_partition_that_is_so_already),
		cmocka_unit_test(test_recipe),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
