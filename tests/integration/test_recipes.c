/* test_recipes.c: the recipes of columns: what they insert, and what they
 * refuse. */
#include "recipe_drive.h"

static void test_add_nullable_column(void **state)
{
	(void)state;
	submit("plan_add_column('users', 'phone', 'text')");
	assert_steps("add_column shop.users.phone",
		"1_add|add_column|shop.users|phone|text");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws('|', run_as, submitted_by,"
			" search_path, state) FROM backfill.jobs"),
		"app|app|shop, pg_temp|queued");
}

static void test_add_column_with_default(void **state)
{
	(void)state;
	submit("plan_add_column('users', 'a', 'text', '''x''',"
	       " prefix => 'a')");
	assert_steps("a", "1_add|add_column|shop.users|a|text DEFAULT 'x'");
	submit("plan_add_column('users', 'b', 'text', '''x''',"
	       " not_null => true, prefix => 'b')");
	assert_steps(
		"b", "1_add|add_column|shop.users|b|text NOT NULL DEFAULT 'x'");
	/* STABLE: the same for all rows that are there. */
	submit("plan_add_column(target => 'users', \"column\" => 'c',"
	       " type => 'timestamptz', \"default\" => 'now()',"
	       " prefix => 'c')");
	assert_steps(
		"c", "1_add|add_column|shop.users|c|timestamptz DEFAULT now()");
}

static const char FILLED[] =
	"1_add|add_column|shop.users|token|uuid\n"
	"2_default|ddl|shop.users|ALTER TABLE shop.users ALTER COLUMN token"
	" SET DEFAULT gen_random_uuid()|undo ALTER TABLE shop.users ALTER"
	" COLUMN token DROP DEFAULT|after 1\n"
	"3_fill|update|shop.users|SET token = gen_random_uuid()|"
	"WHERE token IS NULL|after 2";
static const char NOT_NULL[] =
	"\n4_check|add_check|shop.users|users_token_backfill_check|"
	"CHECK (token IS NOT NULL)|after 3\n"
	"5_sweep|update|shop.users|SET token = gen_random_uuid()|"
	"WHERE token IS NULL|after 4\n"
	"6_validate|validate_constraint|shop.users|"
	"users_token_backfill_check|after 5\n"
	"7_not_null|set_not_null|shop.users|token|"
	"users_token_backfill_check|after 6";

static void test_volatile_default(void **state)
{
	char all[2048];

	(void)state;
	submit("plan_add_column('users', 'token', 'uuid',"
	       " 'gen_random_uuid()', prefix => 'a')");
	assert_steps("a", FILLED);
	submit("plan_add_column('users', 'token', 'uuid',"
	       " 'gen_random_uuid()', not_null => true, prefix => 'b')");
	(void)snprintf(all, sizeof all, "%s%s", FILLED, NOT_NULL);
	assert_steps("b", all);
	/* What the trial made is gone. */
	assert_int_equal(sql_int(app,
				 "SELECT count(*) FROM pg_class WHERE relname"
				 " LIKE 'backfill_trial%%'"),
		0);
	/* Done in part, it is the same plan. */
	sql_exec(app, "ALTER TABLE users ADD COLUMN token uuid DEFAULT NULL");
	submit("plan_add_column('users', 'token', 'uuid',"
	       " 'gen_random_uuid()', not_null => true, prefix => 'b')");
}

static void test_fill(void **state)
{
	(void)state;
	submit("plan_add_column('users', 'low', 'text',"
	       " fill => 'lower(email)', prefix => 'a')");
	assert_steps("a",
		"1_add|add_column|shop.users|low|text\n"
		"2_fill|update|shop.users|SET low = lower(email)|"
		"WHERE low IS NULL|after 1");
	/* With ADD COLUMN the rows would have the default. */
	submit("plan_add_column('users', 'low', 'text', '''''',"
	       " 'lower(email)', prefix => 'b')");
	assert_steps("b",
		"1_add|add_column|shop.users|low|text\n"
		"2_default|ddl|shop.users|ALTER TABLE shop.users ALTER COLUMN"
		" low SET DEFAULT ''|undo ALTER TABLE shop.users ALTER COLUMN"
		" low DROP DEFAULT|after 1\n"
		"3_fill|update|shop.users|SET low = lower(email)|"
		"WHERE low IS NULL|after 2");
}

static void test_set_not_null(void **state)
{
	(void)state;
	submit("plan_set_not_null('users', 'n')");
	assert_steps("set_not_null shop.users.n",
		"1_check|add_check|shop.users|users_n_backfill_check|"
		"CHECK (n IS NOT NULL)\n"
		"2_validate|validate_constraint|shop.users|"
		"users_n_backfill_check|after 1\n"
		"3_not_null|set_not_null|shop.users|n|users_n_backfill_check|"
		"after 2");
	submit("plan_set_not_null('users', 'n', '0', 'a')");
	assert_steps("a",
		"1_fill|update|shop.users|SET n = 0|WHERE n IS NULL\n"
		"2_check|add_check|shop.users|users_n_backfill_check|"
		"CHECK (n IS NOT NULL)|after 1\n"
		"3_sweep|update|shop.users|SET n = 0|WHERE n IS NULL|after 2\n"
		"4_validate|validate_constraint|shop.users|"
		"users_n_backfill_check|after 3\n"
		"5_not_null|set_not_null|shop.users|n|users_n_backfill_check|"
		"after 4");
}

static void test_drop_column(void **state)
{
	(void)state;
	submit("plan_drop_column('users', 'n')");
	assert_steps("drop_column shop.users.n",
		"1_drop|drop_column|shop.users|n|undo integer|held");
	submit("plan_drop_column('users', 'email')");
	assert_steps("drop_column shop.users.email",
		"1_drop|drop_column|shop.users|email|undo character varying(20)"
		" NOT NULL DEFAULT 'none'::character varying|held");
	/* When it is done, the plan is still the same. */
	sql_exec(app, "ALTER TABLE users DROP COLUMN email");
	submit("plan_drop_column('users', 'email')");
	assert_string_equal(notices, "");

	sql_exec(app,
		"ALTER TABLE users ADD t timestamptz NOT NULL"
		" DEFAULT clock_timestamp()");
	submit("plan_drop_column('users', 't')");
	assert_steps("drop_column shop.users.t",
		"1_drop|drop_column|shop.users|t|undo timestamp with time zone|"
		"held");
	assert_string_equal(notices,
		"plan_down() will give back column \"t\" without what makes its"
		" values|Its default, clock_timestamp(), would rewrite the"
		" table.|");
}

/* Names are those of the catalog; the target is SQL. */
static void test_odd_names(void **state)
{
	(void)state;
	submit("plan_set_not_null('\"Odd, Name\"', 'Odd, Column', '''''',"
	       " 'it''s')");
	assert_steps("it''s",
		"1_fill|update|shop.\"Odd, Name\"|SET \"Odd, Column\" = ''|"
		"WHERE \"Odd, Column\" IS NULL\n"
		"2_check|add_check|shop.\"Odd, Name\"|"
		"Odd, Name_Odd, Column_backfill_check|"
		"CHECK (\"Odd, Column\" IS NOT NULL)|after 1\n"
		"3_sweep|update|shop.\"Odd, Name\"|SET \"Odd, Column\" = ''|"
		"WHERE \"Odd, Column\" IS NULL|after 2\n"
		"4_validate|validate_constraint|shop.\"Odd, Name\"|"
		"Odd, Name_Odd, Column_backfill_check|after 3\n"
		"5_not_null|set_not_null|shop.\"Odd, Name\"|Odd, Column|"
		"Odd, Name_Odd, Column_backfill_check|after 4");
	submit("plan_drop_column('\"Odd, Name\"', 'Odd, Column')");
	assert_steps("drop_column shop.\"Odd, Name\".\"Odd, Column\"",
		"1_drop|drop_column|shop.\"Odd, Name\"|Odd, Column|"
		"undo text COLLATE pg_catalog.\"C\"|held");
	FAILS(app, "42703",
		"column \"odd, column\" of relation \"Odd, Name\" does not"
		" exist",
		"", "",
		"SELECT backfill.plan_drop_column('\"Odd, Name\"',"
		" 'odd, column')");
}

#define LONG_NAME "ünüsüälly_long_ünüsüälly_long_ünüsüälly_l"

/* Two long names that begin alike have two CHECKs, of 63 bytes at most. */
static void test_long_names(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE long (id int PRIMARY KEY, %s1 int, %s2 int)",
		LONG_NAME, LONG_NAME);
	for (int i = 1; i <= 2; i++) {
		sql_exec(app,
			"SELECT backfill.plan_set_not_null('long', '%s%d',"
			" prefix => 'l%d')",
			LONG_NAME, i, i);
	}
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', count(DISTINCT object_name),"
			" max(octet_length(object_name)) BETWEEN 62 AND 63,"
			" bool_and(object_name LIKE"
			" 'long_ünüsüälly%%_backfill_check'))"
			" FROM backfill.jobs WHERE kind = 'add_check'"),
		"2 t t");
}

/* What the names in expressions mean is known at INSERT. */
static void test_search_path(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE FUNCTION random() RETURNS double precision IMMUTABLE"
		" LANGUAGE sql AS 'SELECT 1.0::double precision'");
	sql_exec(app, "SET search_path = shop, pg_catalog");
	submit("plan_add_column('users', 'r', 'float8', 'random()',"
	       " prefix => 'mine')");
	assert_steps("mine",
		"1_add|add_column|shop.users|r|float8 DEFAULT random()");
	assert_string_equal(
		sql_text(app, "SHOW search_path"), "shop, pg_catalog");
	assert_string_equal(
		sql_text(db, "SELECT search_path FROM backfill.jobs"),
		"shop, pg_catalog, pg_temp");
	sql_exec(app, "SET search_path = shop");
	submit("plan_add_column('users', 'r', 'float8', 'random()',"
	       " prefix => 'theirs')");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE plan = 'theirs'"),
		3);
	sql_exec(app, "SET search_path = public");
	FAILS(app, "42P01", "relation \"users\" does not exist", "", "",
		"SELECT backfill.plan_drop_column('users', 'n')");
}

static void test_another_plan_of_the_name(void **state)
{
	static const char hint[] =
		"Give another prefix, or take that plan back first:"
		" SELECT backfill.plan_down('p');";
	static const char message[] = "plan \"p\" exists and is another one";

	(void)state;
	submit("plan_set_not_null('users', 'n', '0', 'p')");
	FAILS(app, "BF035", message,
		"set_clause of job \"p.1_fill\" is n = 0, and not n = 1.", hint,
		"SELECT backfill.plan_set_not_null('users', 'n', '1', 'p')");
	FAILS(app, "BF035", message,
		"target of job \"p.1_fill\" is shop.users, and not"
		" shop.orders.",
		hint,
		"SELECT backfill.plan_set_not_null('orders', 'owner', '0',"
		" 'p')");
	FAILS(app, "BF035", message,
		"run_as of job \"p.1_fill\" is app, and not worker.", hint,
		"SELECT backfill.plan_set_not_null('users', 'n', '0', 'p',"
		" 'worker')");
	submit("plan_add_column('users', 'a', 'int', prefix => 'q')");
	FAILS(app, "BF035", "plan \"q\" exists and is another one",
		"It has no job \"q.2_fill\".",
		"Give another prefix, or take that plan back first:"
		" SELECT backfill.plan_down('q');",
		"SELECT backfill.plan_add_column('users', 'a', 'int',"
		" fill => '1', prefix => 'q')");
	submit("plan_add_column('users', 'a', 'int', fill => '1',"
	       " prefix => 'r')");
	FAILS(app, "BF035", "plan \"r\" exists and is another one",
		"It has another job, \"r.2_fill\".",
		"Give another prefix, or take that plan back first:"
		" SELECT backfill.plan_down('r');",
		"SELECT backfill.plan_add_column('users', 'a', 'int',"
		" prefix => 'r')");
	/* Of one who may not see it. */
	sql_exec(db, "GRANT USAGE ON SCHEMA shop TO stranger");
	{
		PGconn *stranger = cluster_connect(cluster, "t", "stranger");

		FAILS(stranger, "BF035", message,
			"The run_as of job \"p.1_fill\" is a role that you may"
			" not become.",
			hint,
			"SELECT backfill.plan_set_not_null('shop.users', 'n',"
			" '0', 'p')");
		PQfinish(stranger);
	}
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 8);
}

static void test_bad_input(void **state)
{
	static const struct {
		const char *call, *sqlstate, *message, *detail, *hint;
	} cases[] = {
		{ "set_not_null('users', 'x')", "42703",
			"column \"x\" of relation \"users\" does not exist", "",
			"" },
		{ "set_not_null('nowhere', 'x')", "42P01",
			"relation \"nowhere\" does not exist", "", "" },
		{ "set_not_null('users_pkey', 'x')", "42809",
			"\"users_pkey\" is not a table", "", "" },
		{ "set_not_null('users', 'n', ' ')", "22023", "fill is empty",
			"", "Leave it NULL when there is none." },
		{ "set_not_null('users', NULL)", "22023", "column is NULL", "",
			"" },
		{ "set_not_null('users', 'n', prefix => ' ')", "22023",
			"prefix is empty", "", "" },
		{ "set_not_null('users', 'n', prefix => '12')", "22023",
			"prefix \"12\" is a number",
			"Commands take a job's id or the name of its plan.",
			"" },
		{ "set_not_null('users', 'n', prefix => repeat('x', 901))",
			"22023", "prefix is longer than 900 bytes",
			"It has 901.", "" },
		{ "set_not_null('users', 'n', run_as => 'postgres')", "42501",
			"a job cannot run as superuser \"postgres\"",
			"A job has the rights of its run_as, and nothing bounds"
			" those of a superuser.",
			"Name another role in run_as, such as the table's owner"
			" \"app\"." },
		{ "drop_column('users', 'x')", "42703",
			"column \"x\" of relation \"users\" does not exist", "",
			"" },
		{ "drop_column(' ', 'x')", "22023", "target is empty", "", "" },
		{ "add_column('users', '', 'text')", "22023", "column is empty",
			"", "" },
		{ "add_column('users', 'x', ' ')", "22023", "type is empty", "",
			"" },
		{ "add_column('users', 'x', 'text', E'\\n')", "22023",
			"default is empty", "",
			"Leave it NULL when there is none." },
		{ "add_column('users', 'x', 'text', 'nothing()')", "42883",
			"function nothing() does not exist", "",
			"No function matches the given name and argument types."
			" You might need to add explicit type casts." },
		{ "add_column('users', 'x', 'text', not_null => true)", "22023",
			"column \"x\" can be NOT NULL only with a default or a"
			" fill",
			"The rows that are there would have NULL.",
			"Fill it with a job of your own, and then call"
			" backfill.plan_set_not_null()." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		FAILS(app, cases[i].sqlstate, cases[i].message, cases[i].detail,
			cases[i].hint, "SELECT backfill.plan_%s",
			cases[i].call);
	}
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 0);
	/* A table that is to come. */
	sql_exec(app, "SELECT backfill.plan_add_column('later', 'x', 'text')");
	assert_steps("add_column later.x", "1_add|add_column|later|x|text");
	/* A superuser names who is to do it. */
	sql_exec(db,
		"SELECT backfill.plan_drop_column('shop.users', 'n',"
		" run_as => 'app')");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_add_nullable_column),
		TEST(test_add_column_with_default),
		TEST(test_volatile_default),
		TEST(test_fill),
		TEST(test_set_not_null),
		TEST(test_drop_column),
		TEST(test_odd_names),
		TEST(test_long_names),
		TEST(test_search_path),
		TEST(test_another_plan_of_the_name),
		TEST(test_bad_input),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
