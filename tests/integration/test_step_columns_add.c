/* test_step_columns_add.c: add_column: what is added, what is there already,
 * and what is refused before the table is touched. */
#include "column_drive.h"

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO %s SELECT g, g FROM generate_series(1, 10) g",
		name, name);
}

/* ---- what is added */

static void add(const char *table, const char *definition, const char *told)
{
	make_table(table);
	column_submit(table, table, "c", definition);
	column_done(table, told);
}

static void test_adds(void **state)
{
	int64_t before;

	(void)state;
	add("bare", "text", "ADD COLUMN c text");
	assert_true(has_column("bare", "c"));
	assert_string_equal(
		job_events("bare"), "submitted,started,step,succeeded");

	make_table("filled");
	before = sql_int(shop.db, "SELECT pg_relation_filenode('filled')");
	column_submit("filled", "filled", "c", "integer NOT NULL DEFAULT 7;\n");
	column_done("filled", "ADD COLUMN c integer NOT NULL DEFAULT 7");
	assert_int_equal(sql_int(shop.app, "SELECT sum(c) FROM filled"), 70);
	assert_int_equal(
		sql_int(shop.db, "SELECT pg_relation_filenode('filled')"),
		before);

	add("stable", "timestamptz DEFAULT now() -- of the step",
		"ADD COLUMN c timestamp with time zone DEFAULT now()");
	add("collated", "varchar(20) COLLATE \"C\" DEFAULT 'a;b, DROP c'",
		"ADD COLUMN c character varying(20) COLLATE pg_catalog.\"C\""
		" DEFAULT 'a;b, DROP c'::character varying");
}

static void test_again_there_is_nothing_to_do(void **state)
{
	(void)state;
	add("again", "numeric(10,2) NOT NULL DEFAULT 1.50",
		"ADD COLUMN c numeric(10,2) NOT NULL DEFAULT 1.50");
	column_submit("again 2", "again", "c",
		"decimal(10, 2) DEFAULT 1.50 NOT NULL");
	column_done("again 2", NULL);
	/* Also of what the job would not add itself. */
	sql_exec(shop.app,
		"ALTER TABLE again ADD COLUMN g integer GENERATED ALWAYS AS"
		" (n + 1) STORED, ADD COLUMN i integer GENERATED ALWAYS AS"
		" IDENTITY, ADD COLUMN o timestamptz DEFAULT"
		" clock_timestamp()");
	column_submit("again g", "again", "g",
		"integer GENERATED ALWAYS AS (again.n + 1) STORED");
	column_done("again g", NULL);
	column_submit("again i", "again", "i",
		"integer GENERATED ALWAYS AS IDENTITY");
	column_done("again i", NULL);
	column_submit("again o", "again", "o",
		"timestamptz DEFAULT clock_timestamp()");
	column_done("again o", NULL);
}

/* The job has made it, and what comes after has changed it. */
static void test_made_by_the_job_itself(void **state)
{
	(void)state;
	add("own", "integer", "ADD COLUMN c integer");
	sql_exec(shop.app,
		"ALTER TABLE own ALTER c SET DEFAULT 3;"
		"UPDATE own SET c = 3; ALTER TABLE own ALTER c SET NOT NULL");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT s.way FROM backfill.jobs j, LATERAL"
			" backfill.step_add_column(j, '{\"changed\": true}') s"
			" WHERE j.name = 'own'"),
		"(null)");
	column_submit("own too", "own", "c", "integer");
	job_fails("own too", "BF034",
		"column \"c\" of table \"public.own\" exists and is not what"
		" the job is to add",
		"It is integer NOT NULL DEFAULT 3. Asked for: integer.",
		"Name another column in object_name, or change this one"
		" first.");
}

static void test_another_column_of_the_name(void **state)
{
	struct sql_failure failure;
	char *before;

	(void)state;
	make_table("another");
	before = column_table("another");
	column_submit("another", "another", "n", "text COLLATE \"C\"");
	job_fails("another", "BF034",
		"column \"n\" of table \"public.another\" exists and is not"
		" what the job is to add",
		"It is integer. Asked for: text COLLATE pg_catalog.\"C\".",
		"Name another column in object_name, or change this one"
		" first.");
	column_untouched("another", before);
	sql_fails(shop.db, &failure,
		"SELECT s.way FROM backfill.jobs j, LATERAL"
		" backfill.step_add_column(j, '{\"changed\": true}') s"
		" WHERE j.name = 'another'");
	assert_string_equal(failure.sqlstate, "BF034");
}

/* ---- names */

static void test_odd_identifiers(void **state)
{
	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA \"Odd, S\" AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TABLE \"Odd, S\".\"Odd, \"\"Name\" (id bigint PRIMARY"
		" KEY, \"drop\" integer)");
	for (int i = 0; i < 2; i++) {
		column_submit(i == 0 ? "odd" : "odd 2",
			"\"Odd, S\".\"Odd, \"\"Name\"", "C \"q\" %I; --",
			"text DEFAULT '%s'");
	}
	column_done("odd",
		"ADD COLUMN \"C \"\"q\"\" %I; --\" text DEFAULT '%s'::text");
	column_done("odd 2", NULL);
	assert_true(
		has_column("\"Odd, S\".\"Odd, \"\"Name\"", "C \"q\" %I; --"));
}

/* A type is the submitter's, also when the table is called like it. */
static void test_means_what_it_meant(void **state)
{
	(void)state;
	sql_exec(shop.db,
		"CREATE SCHEMA types AUTHORIZATION app;"
		"CREATE SCHEMA tables AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TYPE types.mood AS ENUM ('good', 'bad');"
		"CREATE TYPE public.mood AS ENUM ('none');"
		"CREATE TABLE tables.mood (id bigint PRIMARY KEY);"
		"SET search_path = types, public");
	column_submit("mood", "tables.mood", "m", "mood DEFAULT 'bad'");
	column_submit("mood 2", "tables.mood", "m", "mood DEFAULT 'bad'");
	sql_exec(shop.app, "RESET search_path");
	column_done(
		"mood", "ADD COLUMN m types.mood DEFAULT 'bad'::types.mood");
	column_done("mood 2", NULL);
}

/* The whole family has it, and is locked for it. */
static void test_partitions_and_children(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE parts (id bigint, n integer) PARTITION BY RANGE"
		" (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES"
		" FROM (1) TO (100) PARTITION BY RANGE (n);"
		"CREATE TABLE parts_1_1 PARTITION OF parts_1 DEFAULT;"
		"INSERT INTO parts VALUES (1, 1);"
		"CREATE TABLE heir () INHERITS (bare)");
	column_submit("parts", "parts", "c", "integer NOT NULL DEFAULT 5");
	column_done("parts", "ADD COLUMN c integer NOT NULL DEFAULT 5");
	assert_int_equal(sql_int(shop.app, "SELECT c FROM parts_1_1"), 5);
	column_submit("parts 2", "parts", "c", "integer NOT NULL DEFAULT 5");
	column_done("parts 2", NULL);
	column_submit("heir", "bare", "d", "integer");
	column_done("heir", "ADD COLUMN d integer");
	assert_true(has_column("heir", "d"));
	sql_exec(shop.app, "ALTER TABLE parts DROP COLUMN c");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', s.way, s.is_last, s.is_long,"
			" s.lock_mode, (SELECT string_agg(t::regclass::text,"
			" ',' ORDER BY t::regclass::text) FROM"
			" unnest(s.lock_tables) t), s.statements)"
			" FROM backfill.jobs j, LATERAL"
			" backfill.step_add_column(j, '{}') s"
			" WHERE j.name = 'parts'"),
		"transaction t f AccessExclusiveLock"
		" parts,parts_1,parts_1_1 {\"ALTER TABLE public.parts ADD"
		" COLUMN c integer NOT NULL DEFAULT 5\"}");
}

/* ---- what is refused */

static void refuse(const char *name, const char *definition,
	const char *sqlstate, const char *message, const char *detail,
	const char *hint)
{
	char *before = column_table("refused");

	column_submit(name, "refused", "c", definition);
	job_fails(name, sqlstate, message, detail, hint);
	column_untouched("refused", before);
}

static void refuse_rewrite(
	const char *name, const char *definition, const char *form)
{
	char detail[256];

	(void)snprintf(detail, sizeof detail,
		"Nobody could read or write it meanwhile. The column: %s.",
		form);
	refuse(name, definition, "BF032",
		"adding column \"c\" would rewrite table \"public.refused\"",
		detail,
		"backfill.plan_add_column() adds it without values, sets the"
		" default, and fills the rows in small batches.");
}

static void test_refuses_to_rewrite(void **state)
{
	int64_t before;

	(void)state;
	make_table("naive");
	before = sql_int(shop.db, "SELECT pg_relation_filenode('naive')");
	sql_exec(shop.app,
		"ALTER TABLE naive ADD c timestamptz DEFAULT "
		"clock_timestamp()");
	assert_int_not_equal(
		sql_int(shop.db, "SELECT pg_relation_filenode('naive')"),
		before);

	make_table("refused");
	sql_exec(shop.app,
		"CREATE DOMAIN positive AS integer CHECK (VALUE > 0)");
	refuse_rewrite("volatile", "timestamptz DEFAULT clock_timestamp()",
		"timestamp with time zone DEFAULT clock_timestamp()");
	refuse_rewrite("stored", "bigint GENERATED ALWAYS AS (n * 2) STORED",
		"bigint GENERATED ALWAYS AS ((n * 2)) STORED");
	refuse_rewrite("serial", "bigserial",
		"bigint NOT NULL DEFAULT"
		" nextval('refused_c_seq'::regclass)");
	refuse_rewrite("identity", "bigint GENERATED BY DEFAULT AS IDENTITY",
		"bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL");
	refuse_rewrite("domain", "positive", "public.positive");
}

static void test_refuses_not_null_alone(void **state)
{
	(void)state;
	refuse("not null", "integer NOT NULL", "BF032",
		"column \"c\" of table \"public.refused\" cannot be NOT NULL"
		" at once",
		"PostgreSQL would look for NULL in all rows, and let nobody"
		" use the table meanwhile.",
		"Give a constant default, or use backfill.plan_add_column(...,"
		" fill => ..., not_null => true).");
}

static void test_refuses_constraints(void **state)
{
	static const char *const definitions[] = {
		"integer CHECK (c > 0)",
		"integer DEFAULT 1 CONSTRAINT few CHECK (c < 10)",
		"integer UNIQUE",
		"bigint REFERENCES referenced (id) -- (",
		"integer PRIMARY KEY",
	};
	char name[32];

	(void)state;
	make_table("referenced");
	/* To find it out, no lock is taken on the table referred to. */
	sql_exec(shop.db, "BEGIN; LOCK TABLE referenced");
	for (size_t i = 0; i < sizeof definitions / sizeof *definitions; i++) {
		(void)snprintf(name, sizeof name, "constraint %zu", i);
		refuse(name, definitions[i], "0A000",
			"the definition of column \"c\" brings a constraint",
			"With CHECK, UNIQUE, PRIMARY KEY or REFERENCES the"
			" server would read the table, and let nobody use it"
			" meanwhile.",
			"Add the column alone, and then submit jobs of kind"
			" \"add_check\", \"create_index\" or"
			" \"add_foreign_key\".");
	}
	sql_exec(shop.db, "COMMIT");
}

/* Neither in the trial nor on the table. */
static void test_refuses_more_than_a_column(void **state)
{
	static const char *const definitions[] = {
		"integer, DROP COLUMN n",
		"integer, ADD COLUMN d text",
		"integer, ALTER COLUMN n TYPE bigint",
		"integer, DROP CONSTRAINT IF EXISTS refused_pkey",
		"integer, DISABLE TRIGGER ALL",
		"integer, SET (fillfactor = 50)",
		"integer, INHERIT forebear",
		"integer, OF kin",
	};
	char message[128];
	char name[32];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE forebear (n integer);"
		"CREATE TYPE kin AS (id bigint, n integer, c integer)");
	for (size_t i = 0; i < sizeof definitions / sizeof *definitions; i++) {
		(void)snprintf(name, sizeof name, "more %zu", i);
		refuse(name, definitions[i], "42601",
			"the definition of column \"c\" is of more than a"
			" column",
			NULL,
			"Submit a job for each change, or one of kind"
			" \"ddl\".");
	}
	column_submit("two", "refused", "c",
		"integer; DROP TABLE referenced; CREATE TABLE loot (n int)");
	(void)snprintf(message, sizeof message,
		"definition of job %lld is more than one statement",
		(long long)job_id("two"));
	job_fails("two", "42601", message, NULL,
		"Only a job of kind \"ddl\" has several.");
	assert_true(has_column("referenced", "n"));
	assert_false(has_column("refused", "c"));
	assert_true(sql_true(shop.db, "SELECT to_regclass('loot') IS NULL"));
}

/* What is wrong, the server says in its own words. */
static void test_errors_of_the_server(void **state)
{
	(void)state;
	refuse("no type", "no_such_type", "42704",
		"type \"no_such_type\" does not exist", NULL, NULL);
	refuse("no syntax", "integer DEFAULT", "42601",
		"syntax error at end of input", NULL, NULL);
	refuse("no parenthesis", "integer) INHERITS (naive", "42601",
		"syntax error at or near \")\"", NULL, NULL);
	refuse("pseudo", "anyelement", "42P16",
		"column \"c\" has pseudo-type anyelement", NULL, NULL);
}

static void test_owner_only(void **state)
{
	(void)state;
	sql_exec(shop.db,
		"CREATE TABLE theirs (id bigint PRIMARY KEY, n integer);"
		"GRANT ALL ON theirs TO app");
	column_submit("theirs", "theirs", "c", "text");
	job_fails("theirs", "42501", "must be owner of table public.theirs",
		NULL, NULL);
	column_submit("theirs too", "theirs", "n", NULL);
	job_fails("theirs too", "42501", "must be owner of table public.theirs",
		NULL, NULL);
	assert_true(has_column("theirs", "n"));
	assert_false(has_column("theirs", "c"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adds),
		cmocka_unit_test(test_again_there_is_nothing_to_do),
		cmocka_unit_test(test_made_by_the_job_itself),
		cmocka_unit_test(test_another_column_of_the_name),
		cmocka_unit_test(test_odd_identifiers),
		cmocka_unit_test(test_means_what_it_meant),
		cmocka_unit_test(test_partitions_and_children),
		cmocka_unit_test(test_refuses_to_rewrite),
		cmocka_unit_test(test_refuses_not_null_alone),
		cmocka_unit_test(test_refuses_constraints),
		cmocka_unit_test(test_refuses_more_than_a_column),
		cmocka_unit_test(test_errors_of_the_server),
		cmocka_unit_test(test_owner_only),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
