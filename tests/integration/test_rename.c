/* test_rename.c: the recipe that renames a column: its steps, and what its
 * trigger does while applications of both versions write. */
#include "recipe_drive.h"

/* The place of the step in the plan "p". */
static void carry_out(int step, const char *column)
{
	sql_exec(app, "%s",
		sql_text(db,
			"SELECT %s FROM backfill.jobs WHERE plan = 'p'"
			" AND name LIKE 'p.%d\\_%%'",
			column, step));
}

static void fill(void)
{
	sql_exec(app, "%s",
		sql_text(db,
			"SELECT format('UPDATE %%s SET %%s WHERE %%s', target,"
			" set_clause, where_clause) FROM backfill.jobs"
			" WHERE plan = 'p' AND name = 'p.3_fill'"));
}

static void test_steps(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE VIEW mails AS SELECT email FROM users;"
		"CREATE INDEX ON users (email)");
	submit("plan_rename_column('users', 'email', 'mail',"
	       " prefix => 'p')");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws('|', substr(name, 3),"
			" kind, object_name, CASE WHEN kind <> 'ddl' THEN"
			" definition END, set_clause, where_clause,"
			" CASE WHEN kind <> 'ddl' THEN undo END,"
			" id - depends_on[1],"
			" cardinality(depends_on),"
			" CASE WHEN hold THEN 'held' END), E'\\n' ORDER BY id)"
			" FROM backfill.jobs"),
		"1_add|add_column|mail|character varying(20)\n"
		"2_sync|ddl|1|1\n"
		"3_fill|update|mail = email|mail IS DISTINCT FROM email|1|1\n"
		"4_check|add_check|users_mail_backfill_check|"
		"CHECK (mail IS NOT NULL)|1|1\n"
		"5_sweep|update|mail = email|mail IS DISTINCT FROM email|1|1\n"
		"6_validate|validate_constraint|users_mail_backfill_check|"
		"1|1\n"
		"7_not_null|set_not_null|mail|users_mail_backfill_check|1|1\n"
		"8_cut|ddl|1|1|held\n"
		"9_drop|drop_column|email|character varying(20)|1|1");
	assert_string_equal(
		sql_text(db,
			"SELECT definition FROM backfill.jobs WHERE name ="
			" 'p.8_cut'"),
		"DROP TRIGGER IF EXISTS zz_email_mail_backfill_sync"
		" ON shop.users;\n"
		"DROP FUNCTION IF EXISTS"
		" shop.users_email_mail_backfill_sync();\n"
		"ALTER TABLE shop.users ALTER COLUMN email DROP NOT NULL;\n"
		"ALTER TABLE shop.users ALTER COLUMN mail SET DEFAULT"
		" 'none'::character varying, ALTER COLUMN email DROP DEFAULT;");
	assert_true(sql_true(db,
		"SELECT c.undo = s.definition || E'\\nALTER TABLE shop.users"
		" ALTER COLUMN email SET DEFAULT ''none''::character varying,"
		" ALTER COLUMN mail DROP DEFAULT;'"
		" AND starts_with(c.definition, s.undo)"
		" FROM backfill.jobs c, backfill.jobs s"
		" WHERE c.name = 'p.8_cut' AND s.name = 'p.2_sync'"));
	assert_string_equal(notices,
		"what uses column \"email\" must be made anew for column"
		" \"mail\"|index shop.users_email_idx\nview shop.mails|Do so"
		" before the last steps are approved.|");
	/* When the old column is gone, it is still the same plan. */
	sql_exec(app,
		"ALTER TABLE users DROP email CASCADE;"
		"ALTER TABLE users ADD mail varchar(20)");
	submit("plan_rename_column('users', 'email', 'mail',"
	       " prefix => 'p')");
}

static void test_other_forms(void **state)
{
	(void)state;
	sql_exec(app, "ALTER TABLE users ADD j json");
	submit("plan_rename_column('users', 'j', 'k', false, 'p')");
	assert_steps("p",
		"1_add|add_column|shop.users|k|json\n"
		"2_fill|update|shop.users|SET k = j|"
		"WHERE pg_catalog.record_image_ne(ROW(k), ROW(j))|after 1\n"
		"3_drop|drop_column|shop.users|j|undo json|after 2|held");
	/* A sequence goes on with the new column. */
	sql_exec(app, "CREATE TABLE s (id int PRIMARY KEY, v serial)");
	submit("plan_rename_column('s', 'v', 'w', prefix => 's')");
	assert_true(sql_true(db,
		"SELECT definition LIKE '%%ALTER SEQUENCE shop.s_v_seq OWNED"
		" BY shop.s.w;' AND undo LIKE '%%ALTER SEQUENCE shop.s_v_seq"
		" OWNED BY shop.s.v;' FROM backfill.jobs"
		" WHERE name = 's.8_cut'"));
}

static void test_bad_input(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE made (id int PRIMARY KEY, a int,"
		" b int GENERATED ALWAYS AS (a + 1) STORED,"
		" c int GENERATED ALWAYS AS IDENTITY)");
	FAILS(app, "42703", "column \"x\" of relation \"users\" does not exist",
		"", "",
		"SELECT backfill.plan_rename_column('users', 'x', 'y')");
	FAILS(app, "42701", "column \"n\" of relation \"users\" already exists",
		"", "",
		"SELECT backfill.plan_rename_column('users', 'email', 'n')");
	FAILS(app, "0A000",
		"cannot rename column \"id\" of relation \"users\" in steps",
		"It is in the primary key.", "",
		"SELECT backfill.plan_rename_column('users', 'id', 'key')");
	FAILS(app, "0A000",
		"cannot rename column \"b\" of relation \"made\" in steps",
		"It is a generated column.", "",
		"SELECT backfill.plan_rename_column('made', 'b', 'd')");
	FAILS(app, "0A000",
		"cannot rename column \"c\" of relation \"made\" in steps",
		"It is an identity column.", "",
		"SELECT backfill.plan_rename_column('made', 'c', 'd')");
	FAILS(app, "22023", "new is NULL", "", "",
		"SELECT backfill.plan_rename_column('users', 'n', NULL)");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 0);
}

/* What another role has written must not be run by who calls the recipe. */
static void test_text_of_others_is_not_run(void **state)
{
	PGconn *stranger = cluster_connect(cluster, "t", "stranger");

	(void)state;
	sql_exec(db,
		"GRANT USAGE ON SCHEMA shop TO stranger;"
		"CREATE SEQUENCE shop.fired; CREATE FUNCTION shop.fire(varchar)"
		" RETURNS boolean LANGUAGE sql AS 'SELECT"
		" nextval(''shop.fired'') > 0'; CREATE DOMAIN shop.armed AS"
		" varchar DEFAULT 'd' CHECK"
		" (shop.fire(VALUE))");
	sql_exec(stranger,
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" definition, plan) VALUES ('p.1_add', 'add_column',"
		" 'shop.users', 'mail', 'integer; SELECT"
		" nextval(''shop.fired''); SELECT NULL::integer', 'p')");
	FAILS(db, "BF035", "plan \"p\" exists and is another one",
		"run_as of job \"p.1_add\" is stranger, and not app.",
		"Give another prefix, or take that plan back first:"
		" SELECT backfill.plan_down('p');",
		"SELECT backfill.plan_rename_column('shop.users', 'email',"
		" 'mail', prefix => 'p', run_as => 'app')");
	sql_exec(app,
		"CREATE TABLE a (id int PRIMARY KEY, v shop.armed DEFAULT "
		"'e')");
	sql_exec(db,
		"SELECT backfill.plan_rename_column('shop.a', 'v', 'w',"
		" prefix => 'q', run_as => 'app')");
	/* A default of the table's is tried when its column is dropped. */
	sql_exec(db,
		"ALTER FUNCTION shop.fire STABLE; ALTER TABLE shop.users ADD"
		" b boolean; ALTER TABLE shop.users ALTER b SET DEFAULT"
		" shop.fire('x'); SELECT backfill.plan_drop_column("
		"'shop.users', 'b', prefix => 'r', run_as => 'app'),"
		" backfill.plan_drop_column('shop.a', 'v', prefix => 's',"
		" run_as => 'app')");
	assert_string_equal(
		sql_text(db, "SELECT undo FROM backfill.jobs WHERE plan = 'r'"),
		"boolean");
	assert_false(sql_true(db, "SELECT is_called FROM shop.fired"));
	PQfinish(stranger);
}

/* ---- the trigger */

/* Rows 1 to 3 are there before the new column: 'a', the default 'd', NULL. */
static void begin_rename(void)
{
	sql_exec(app,
		"CREATE TABLE \"T t\" (id int PRIMARY KEY,"
		" \"O o\" text DEFAULT 'd', k int);"
		"INSERT INTO \"T t\" VALUES (1, 'a'), (3, NULL);"
		"INSERT INTO \"T t\" (id) VALUES (2)");
	submit("plan_rename_column('\"T t\"', 'O o', 'N n', prefix => 'p')");
	sql_exec(app, "ALTER TABLE \"T t\" ADD \"N n\" text");
	carry_out(2, "definition");
}

/* What is in both columns of the row after the statement, "old/new". */
static const char *after(int id, const char *statement)
{
	sql_exec(app, "%s", statement);
	return sql_text(app,
		"SELECT coalesce(\"O o\"::text, '-') || '/' ||"
		" coalesce(\"N n\"::text, '-') FROM \"T t\" WHERE id = %d",
		id);
}

static void test_inserts(void **state)
{
	static const struct {
		const char *columns, *values, *both;
	} cases[] = {
		/* The old version. */
		{ "\"O o\"", "'x'", "x/x" },
		{ "\"O o\"", "NULL", "-/-" },
		{ "k", "1", "d/d" },
		/* The new one: the old column has its default, which loses. */
		{ "\"N n\"", "'y'", "y/y" },
		{ "\"N n\"", "''", "/" },
		/* Both columns. */
		{ "\"O o\", \"N n\"", "'x', 'y'", "y/y" },
		{ "\"O o\", \"N n\"", "'x', NULL", "x/x" },
		{ "\"O o\", \"N n\"", "NULL, 'y'", "y/y" },
		{ "\"O o\", \"N n\"", "NULL, NULL", "-/-" },
	};

	(void)state;
	begin_rename();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char sql[256];

		(void)snprintf(sql, sizeof sql,
			"INSERT INTO \"T t\" (id, %s) VALUES (%zu, %s)",
			cases[i].columns, i + 10, cases[i].values);
		assert_string_equal(after((int)i + 10, sql), cases[i].both);
	}
	/* An upsert of each version. */
	assert_string_equal(
		after(10,
			"INSERT INTO \"T t\" (id, \"O o\") VALUES (10, 'u') ON"
			" CONFLICT (id) DO UPDATE SET \"O o\" ="
			" excluded.\"O o\""),
		"u/u");
	assert_string_equal(
		after(10,
			"INSERT INTO \"T t\" (id, \"N n\") VALUES (10, 'w') ON"
			" CONFLICT (id) DO UPDATE SET \"N n\" ="
			" excluded.\"N n\""),
		"w/w");
}

static void test_updates(void **state)
{
	/* The row before, not filled or filled; what is set; the row after. */
	static const struct {
		const char *before, *set, *both;
	} cases[] = {
		{ "'a', NULL", "k = 1", "a/a" },
		{ "'a', NULL", "\"O o\" = 'x'", "x/x" },
		{ "'a', NULL", "\"O o\" = NULL", "-/-" },
		{ "'a', NULL", "\"N n\" = 'y'", "y/y" },
		{ "'a', NULL", "\"N n\" = NULL", "a/a" },
		{ "'a', NULL", "\"O o\" = 'x', \"N n\" = 'y'", "y/y" },
		{ "'a', NULL", "\"N n\" = \"O o\"", "a/a" },
		{ "NULL, NULL", "k = 1", "-/-" },
		{ "NULL, NULL", "\"O o\" = 'x'", "x/x" },
		{ "NULL, NULL", "\"N n\" = 'y'", "y/y" },
		{ "'a', 'a'", "k = 1", "a/a" },
		{ "'a', 'a'", "\"O o\" = 'x'", "x/x" },
		{ "'a', 'a'", "\"O o\" = NULL", "-/-" },
		{ "'a', 'a'", "\"N n\" = 'y'", "y/y" },
		{ "'a', 'a'", "\"N n\" = NULL", "-/-" },
		{ "'a', 'a'", "\"O o\" = 'x', \"N n\" = 'y'", "y/y" },
		/* An ORM writes all columns, changed or not. */
		{ "'a', 'a'", "\"O o\" = 'x', \"N n\" = 'a'", "x/x" },
		{ "'a', 'a'", "\"O o\" = 'a', \"N n\" = 'y'", "y/y" },
		{ "'a', 'a'", "\"O o\" = 'a', \"N n\" = NULL", "-/-" },
		{ "'a', 'a'", "\"O o\" = NULL, \"N n\" = 'y'", "y/y" },
		{ "'a', 'a'", "\"O o\" = 'x', \"N n\" = NULL", "-/-" },
	};

	(void)state;
	begin_rename();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char sql[256];

		sql_exec(app, "DELETE FROM \"T t\" WHERE id = 9");
		sql_exec(db,
			"SET session_replication_role = replica;"
			"INSERT INTO shop.\"T t\" (id, \"O o\", \"N n\")"
			" VALUES (9, %s); RESET session_replication_role",
			cases[i].before);
		(void)snprintf(sql, sizeof sql,
			"UPDATE \"T t\" SET %s WHERE id = 9", cases[i].set);
		assert_string_equal(after(9, sql), cases[i].both);
	}
}

/* The fill fires the trigger, too; a hostile search_path changes nothing. */
static void test_fill_and_cut(void **state)
{
	(void)state;
	begin_rename();
	sql_exec(app,
		"CREATE FUNCTION no(text, text) RETURNS boolean LANGUAGE"
		" sql AS 'SELECT false'; CREATE OPERATOR = (FUNCTION = no,"
		" LEFTARG = text, RIGHTARG = text);"
		"SET search_path = shop, pg_catalog");
	assert_string_equal(
		after(1, "UPDATE \"T t\" SET \"O o\" = 'b' WHERE id = 1"),
		"b/b");
	sql_exec(app, "SET search_path = shop");
	fill();
	assert_string_equal(
		sql_text(app,
			"SELECT string_agg(concat_ws('/', id, \"O o\","
			" \"N n\"), ' ' ORDER BY id) FROM \"T t\""),
		"1/b/b 2/d/d 3");
	/* The last steps, and back: the default goes along. */
	carry_out(4, "definition");
	assert_string_equal(
		after(20, "INSERT INTO \"T t\" (id) VALUES (20)"), "-/d");
	carry_out(4, "undo");
	assert_string_equal(
		after(21, "INSERT INTO \"T t\" (id) VALUES (21)"), "d/d");
	carry_out(2, "undo");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM pg_proc WHERE proname"
				 " LIKE '%%backfill_sync'"),
		0);
}

/* Of types without =, and where what is equal is not the same. */
static void test_other_types(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE \"T t\" (id int PRIMARY KEY, \"O o\" json,"
		" v numeric NOT NULL); INSERT INTO \"T t\" VALUES (1, '{}', "
		"1)");
	submit("plan_rename_column('\"T t\"', 'O o', 'N n', prefix => 'p')");
	sql_exec(app, "ALTER TABLE \"T t\" ADD \"N n\" json");
	carry_out(2, "definition");
	fill();
	assert_string_equal(after(1, "SELECT"), "{}/{}");
	assert_string_equal(
		after(1, "UPDATE \"T t\" SET \"N n\" = '[ ]'"), "[ ]/[ ]");
	assert_string_equal(
		after(1, "UPDATE \"T t\" SET \"O o\" = '[]'"), "[]/[]");
	sql_exec(db, "DELETE FROM backfill.jobs");
	submit("plan_rename_column('\"T t\"', 'v', 'w', prefix => 'p')");
	sql_exec(app, "ALTER TABLE \"T t\" ADD w numeric");
	carry_out(2, "definition");
	sql_exec(app, "UPDATE \"T t\" SET v = 1.00");
	assert_string_equal(sql_text(app, "SELECT w FROM \"T t\""), "1.00");
	sql_exec(app, "UPDATE \"T t\" SET w = 1.0");
	assert_string_equal(sql_text(app, "SELECT v FROM \"T t\""), "1.0");
	/* NOT NULL is looked at after the trigger. */
	sql_exec(app, "INSERT INTO \"T t\" (id, w) VALUES (2, 3)");
	assert_string_equal(
		sql_text(app, "SELECT v FROM \"T t\" WHERE id = 2"), "3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_steps),
		TEST(test_other_forms),
		TEST(test_bad_input),
		TEST(test_text_of_others_is_not_run),
		TEST(test_inserts),
		TEST(test_updates),
		TEST(test_fill_and_cut),
		TEST(test_other_types),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
