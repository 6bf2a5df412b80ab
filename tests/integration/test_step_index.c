/* test_step_index.c: create_index: what a definition means, what is there
 * already, and what is refused before the table is touched. */
#include "index_drive.h"

static int has_nulls_not_distinct(void)
{
	return PQserverVersion(db) >= 150000;
}

/* ---- what a definition means */

/* An index made by hand is what the definition asks for, and the job makes
 * one that is the same to the last letter of the server's own words. */
static void check(const char *definition, const char *by_hand)
{
	char wanted[1024];

	sql_exec(app, "%s", by_hand);
	(void)snprintf(wanted, sizeof wanted, "%s",
		sql_text(db, "SELECT pg_get_indexdef('i'::regclass)"));
	submit("create_index", "i", definition);
	assert_string_equal(examine(), "nothing");
	sql_exec(app, "DROP INDEX i");
	assert_non_null(strstr(drive(), "INDEX CONCURRENTLY i\n"));
	assert_string_equal(
		sql_text(db, "SELECT pg_get_indexdef('i'::regclass)"), wanted);
	assert_true(is_valid("i"));
	assert_string_equal(examine(), "nothing");
	sql_exec(app, "DROP INDEX i");
}

static void test_definitions(void **state)
{
	(void)state;
	check("(n)", "CREATE INDEX i ON t (n)");
	check("USING btree (N ASC NULLS LAST)", "CREATE INDEX i ON t (n)");
	check("( n desc,b )", "CREATE INDEX i ON t (n DESC NULLS FIRST, b)");
	check("(b text_pattern_ops) INCLUDE (n)",
		"CREATE INDEX i ON t (b text_pattern_ops) INCLUDE (n)");
	check("(b COLLATE \"C\")", "CREATE INDEX i ON t (b COLLATE \"C\")");
	check("(b COLLATE \"default\")", "CREATE INDEX i ON t (b)");
	check("(lower(t.b), (n+1)) WHERE n>10 AND t.b IS NOT NULL",
		"CREATE INDEX i ON t (lower(b), (n + 1))"
		" WHERE (n > 10) AND (b IS NOT NULL)");
	check("USING hash (b) WITH (fillfactor = 70)",
		"CREATE INDEX i ON t USING hash (b) WITH (fillfactor='70')");
	check("USING gin (to_tsvector('simple', b)) WITH (fastupdate = off)",
		"CREATE INDEX i ON t USING gin "
		"(to_tsvector('simple'::regconfig,"
		" b)) WITH (fastupdate=off)");
	check("UNIQUE (id)", "CREATE UNIQUE INDEX i ON t (id)");
	check(" -- the one\n /* and ** only */ unique(n)-- one",
		"CREATE UNIQUE INDEX i ON t (n)");
	check("(n);", "CREATE INDEX i ON t (n)");
	sql_exec(app,
		"ALTER TABLE t ADD g integer GENERATED ALWAYS AS (n + 1)"
		" STORED");
	check("(g)", "CREATE INDEX i ON t (g)");
	if (has_nulls_not_distinct()) {
		check("UNIQUE (n) NULLS NOT DISTINCT",
			"CREATE UNIQUE INDEX i ON t (n) NULLS NOT DISTINCT");
	}
}

/* Names in it are the submitter's, and the search_path of whoever examines
 * or carries out is of no account. */
static void test_names_of_the_submitter(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE SCHEMA mine; CREATE FUNCTION mine.fold(text) RETURNS"
		" text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';"
		"SET search_path = public, mine");
	submit("create_index", "i", "(fold(b) COLLATE \"C\")");
	sql_exec(app, "SET search_path = public");
	assert_string_equal(drive(), "CREATE INDEX CONCURRENTLY i\n");
	assert_string_equal(statement(), "(null)");
	assert_string_equal(
		sql_text(db, "SELECT pg_get_indexdef('i'::regclass)"),
		"CREATE INDEX i ON public.t USING btree (mine.fold(b) COLLATE"
		" \"C\")");
	sql_exec(app, "DROP SCHEMA mine CASCADE");
}

static void test_odd_identifiers(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE SCHEMA \"Odd s.\"; CREATE TABLE \"Odd s.\".\"T ON \"\"x"
		" USING\" (\"a USING\" text, \"WHERE\" integer);"
		"INSERT INTO \"Odd s.\".\"T ON \"\"x USING\" VALUES ('a', 1)");
	job.kind = "create_index";
	for (int i = 0; i < 2; i++) {
		job.id = sql_int(app,
			"INSERT INTO backfill.jobs (kind, target, object_name,"
			" definition) VALUES ('create_index', '\"Odd s.\".\"T"
			" ON \"\"x USING\"', 'I \" USING 100%% ; ',"
			" 'UNIQUE (\"a USING\") WHERE \"WHERE\" > 0')"
			" RETURNING id");
		(void)snprintf(job.notes, sizeof job.notes, "{}");
		/* It is a format. */
		if (i == 0) {
			assert_string_equal(examine(), "look");
			assert_string_equal(of_step("violation_message"),
				"index \"I \" USING 100%% ; \" cannot be"
				" unique: %s keys of table \"\"Odd s.\".\"T"
				" ON \"\"x USING\"\" have duplicates");
		}
		assert_string_equal(drive(),
			i > 0 ? ""
			      : "look for duplicates for \"I \"\" USING 100% ;"
				" \"\nCREATE UNIQUE INDEX CONCURRENTLY \"I"
				" \"\" USING 100% ; \"\n");
	}
	assert_string_equal(
		sql_text(db,
			"SELECT pg_get_indexdef('\"Odd s.\".\"I \"\" USING"
			" 100%% ; \"'::regclass)"),
		"CREATE UNIQUE INDEX \"I \"\" USING 100% ; \" ON \"Odd s.\"."
		"\"T ON \"\"x USING\" USING btree (\"a USING\") WHERE "
		"(\"WHERE\""
		" > 0)");
	sql_exec(app, "DROP SCHEMA \"Odd s.\" CASCADE");
}

/* It goes before WHERE, which may hold a CASE of several lines. An index
 * elsewhere is another one only when the definition names a tablespace. */
static void test_tablespace(void **state)
{
	char place[512];

	(void)state;
	(void)snprintf(place, sizeof place, "%s/space", cluster_dir(cluster));
	sql_exec(db, "COPY (SELECT 1) TO PROGRAM 'mkdir %s'", place);
	sql_exec(db, "CREATE TABLESPACE \"a space\" LOCATION '%s'", place);
	sql_exec(db, "GRANT CREATE ON TABLESPACE \"a space\" TO app");
	submit("create_index", "i",
		"(b) TABLESPACE \"a space\" WHERE CASE WHEN n > 1 THEN true"
		" ELSE b = ' WHERE ' END");
	assert_string_equal(drive(), "CREATE INDEX CONCURRENTLY i\n");
	assert_string_equal(
		sql_text(db,
			"SELECT tablespace FROM pg_indexes WHERE indexname"
			" = 'i'"),
		"a space");
	submit("create_index", "i",
		"(b) WHERE CASE WHEN n > 1 THEN true ELSE b = ' WHERE ' END");
	assert_string_equal(examine(), "nothing");
	submit("create_index", "j", "(b) TABLESPACE \"a space\"");
	sql_exec(app, "CREATE INDEX j ON t (b)");
	EXAMINE_FAILS("BF034",
		"index \"public.j\" exists and is defined differently",
		"It is: USING btree (b). Asked for: USING btree (b) TABLESPACE"
		" \"a space\".",
		"Name another index in object_name, or submit a job of kind"
		" \"drop_index\" first.");
	sql_exec(app, "DROP INDEX i, j; SET temp_tablespaces = 'a space'");
	submit("create_index", "i", "(b)");
	assert_string_equal(drive(), "CREATE INDEX CONCURRENTLY i\n");
	assert_string_equal(
		sql_text(db,
			"SELECT tablespace FROM pg_indexes WHERE indexname"
			" = 'i'"),
		"(null)");
	sql_exec(app, "DROP INDEX i");
	sql_exec(db, "DROP TABLESPACE \"a space\"");
}

static void test_step(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	assert_string_equal(examine(), "alone");
	assert_string_equal(statement(),
		"CREATE INDEX CONCURRENTLY i ON public.t USING btree (n)");
	assert_string_equal(of_step("told"), "CREATE INDEX CONCURRENTLY i");
	assert_string_equal(of_step("is_long"), "true");
	assert_string_equal(of_step("is_last"), "false");
	assert_string_equal(of_step("lock_mode"), "ShareUpdateExclusiveLock");
	assert_string_equal(of_step("lock_tables"),
		sql_text(db, "SELECT format('[\"%%s\"]', 't'::regclass::oid)"));
	assert_string_equal(of_step("warnings"), "(null)");
	assert_string_equal(of_step("notes"), "(null)");
	/* The trial has left nothing, and locks nobody out. */
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM pg_class"
				 " WHERE relname IN ('t', 'i')"),
		1);
	sql_exec(builder, "BEGIN; LOCK TABLE t IN EXCLUSIVE MODE");
	assert_string_equal(examine(), "alone");
}

static void test_same_definition(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX twin ON t (n)");
	submit("create_index", "i", "(n)");
	fail_build("CREATE INDEX CONCURRENTLY \"Dead\" ON t (n)");
	assert_string_equal(examine(), "alone");
	assert_string_equal(of_step("warnings"),
		"index \"public.\"Dead\"\" has the same definition, and is"
		" invalid; index \"public.twin\" has the same definition");
}

/* ---- what is refused */

static void test_other_relations(void **state)
{
	static const char hint[] = "Name another index in object_name.";

	(void)state;
	sql_exec(app, "CREATE INDEX of_other ON other (n)");
	submit("create_index", "other", "(n)");
	EXAMINE_FAILS("BF034",
		"relation \"public.other\" exists and is not an index of table"
		" \"public.t\"",
		"It is a table.", hint);
	submit("create_index", "of_other", "(n)");
	EXAMINE_FAILS("BF034",
		"relation \"public.of_other\" exists and is not an index of"
		" table \"public.t\"",
		"It is an index of table \"public.other\".", hint);
	submit("create_index", "t", "(n)");
	EXAMINE_FAILS("BF034",
		"relation \"public.t\" exists and is not an index of table"
		" \"public.t\"",
		"It is a table.", hint);
	/* Who leaves has nothing to say about it. */
	assert_string_equal(examine_as("true"), "nothing");
	add_note("'{\"attempts\": 1}'");
	assert_string_equal(examine_as("true"), "nothing");
}

static void test_other_definitions(void **state)
{
	static const char message[] =
		"index \"public.i\" exists and is defined differently";

	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n) WHERE n > 5");
	submit("create_index", "i", "UNIQUE (n) WHERE n > 6");
	EXAMINE_FAILS("BF034", message,
		"It is: USING btree (n) WHERE (n > 5). Asked for: UNIQUE USING"
		" btree (n) WHERE (n > 6).",
		"Name another index in object_name, or submit a job of kind"
		" \"drop_index\" first.");
	sql_exec(app, "DROP INDEX i");
	fail_build("CREATE INDEX CONCURRENTLY i ON t (b)");
	EXAMINE_FAILS("BF034", message,
		"It is invalid, and: USING btree (b). Asked for: UNIQUE USING"
		" btree (n) WHERE (n > 6).",
		"If nobody builds it: DROP INDEX CONCURRENTLY public.i;");
	add_note("'{\"attempts\": 1}'");
	assert_string_equal(examine_as("true"), "nothing");
	sql_exec(app,
		"DROP INDEX i; ALTER TABLE t ADD CONSTRAINT i UNIQUE (n)"
		" DEFERRABLE");
	submit("create_index", "i", "UNIQUE (n)");
	EXAMINE_FAILS("BF034", message,
		"It is: UNIQUE USING btree (n) DEFERRABLE. Asked for: UNIQUE"
		" USING btree (n).",
		"Name another index in object_name, or submit a job of kind"
		" \"drop_index\" first.");
}

static void check_two(const char *definition)
{
	submit("create_index", "i", definition);
	EXAMINE_FAILS("42601",
		"the definition of index \"i\" is more than one statement", "",
		"Submit a job for each index.");
}

static void test_bad_definitions(void **state)
{
	(void)state;
	check_two("(n); DROP TABLE other");
	check_two("(n); SELECT 1;");
	check_two("UNIQUE (n); CREATE INDEX j ON t (b)");
	check_two("(b) WHERE b = E'\\';' ; SELECT $$;$$");
	submit("create_index", "i", "(b) WHERE b = ';' /* ; */ -- ;");
	assert_string_equal(examine(), "alone");
	submit("create_index", "i", "(n");
	EXAMINE_FAILS("42601", "syntax error at end of input", "", "");
	submit("create_index", "i", "UNIQUE UNIQUE (n)");
	EXAMINE_FAILS("42601", "syntax error at or near \"UNIQUE\"", "", "");
	submit("create_index", "i", "(nowhere)");
	EXAMINE_FAILS("42703", "column \"nowhere\" does not exist", "", "");
	submit("create_index", "i", "(random())");
	EXAMINE_FAILS("42P17",
		"functions in index expression must be marked IMMUTABLE", "",
		"");
	sql_exec(app, "BEGIN ISOLATION LEVEL REPEATABLE READ");
	fail_build("CREATE INDEX CONCURRENTLY i ON t (n)");
	submit("create_index", "i", "(n)");
	EXAMINE_FAILS("25001",
		"an index can be examined in isolation level READ COMMITTED"
		" only",
		"", "");
}

/* ---- duplicates */

static void check_duplicates(const char *definition, const char *keys)
{
	submit("create_index", "i", definition);
	assert_string_equal(examine(), "look");
	assert_string_equal(
		sql_text(app,
			"SELECT coalesce(string_agg(d.array::text, ' ' ORDER BY"
			" d.array), 'none') FROM (%s) d",
			statement()),
		keys);
}

static void test_duplicates(void **state)
{
	(void)state;
	sql_exec(app,
		"INSERT INTO t VALUES (101, 7, 'B8'), (102, NULL, 'x y'),"
		" (103, NULL, 'x y'), (104, 8, 'b8')");
	check_duplicates("UNIQUE (n)", "{7} {8}");
	check_duplicates("UNIQUE (n, b)", "{8,b8}");
	check_duplicates("UNIQUE (lower(b)) INCLUDE (id)", "{b8} {\"x y\"}");
	check_duplicates("UNIQUE (lower(b)) WHERE n IS NOT NULL", "{b8}");
	check_duplicates("UNIQUE ((n % 100)) WHERE n > 90", "none");
	if (has_nulls_not_distinct()) {
		check_duplicates(
			"UNIQUE (n) NULLS NOT DISTINCT", "{7} {8} {NULL}");
	}
	submit("create_index", "i", "UNIQUE (n)");
	assert_string_equal(examine(), "look");
	assert_string_equal(of_step("told"), "look for duplicates for i");
	assert_string_equal(of_step("is_long"), "true");
	assert_string_equal(of_step("lock_mode"), "AccessShareLock");
	assert_string_equal(of_step("violation_sqlstate"), "23505");
	assert_string_equal(of_step("violation_message"),
		"index \"i\" cannot be unique: %s keys of table \"public.t\""
		" have duplicates");
	assert_string_equal(of_step("violation_hint"),
		"The keys are in backfill.row_errors. Remove the duplicates,"
		" then retry the job.");
	assert_string_equal(drive(), "look for duplicates for i\n");
	assert_int_equal(invalid_indexes(), 0);
	sql_exec(app, "DELETE FROM t WHERE id > 100");
	assert_string_equal(drive(),
		"look for duplicates for i\n"
		"CREATE UNIQUE INDEX CONCURRENTLY i\n");
	assert_true(is_valid("i"));
}

/* Who inherits has an index of its own. What is equal is the index's
 * collation's to say. */
static void test_duplicates_of_children(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE child () INHERITS (t);"
		"INSERT INTO child VALUES (1, 1, 'b1')");
	check_duplicates("UNIQUE (n)", "none");
	sql_exec(app,
		"CREATE COLLATION blind (provider = icu, locale ="
		" 'und-u-ks-level2', deterministic = false);"
		"INSERT INTO t VALUES (101, 101, 'B1')");
	check_duplicates("UNIQUE (b)", "none");
	submit("create_index", "i", "UNIQUE (b COLLATE blind)");
	assert_string_equal(drive(), "look for duplicates for i\n");
	sql_exec(app, "DROP TABLE child; DROP COLLATION blind");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		drive_test(test_definitions),
		drive_test(test_names_of_the_submitter),
		drive_test(test_odd_identifiers),
		drive_test(test_tablespace),
		drive_test(test_step),
		drive_test(test_same_definition),
		drive_test(test_other_relations),
		drive_test(test_other_definitions),
		drive_test(test_bad_definitions),
		drive_test(test_duplicates),
		drive_test(test_duplicates_of_children),
	};

	return cmocka_run_group_tests(tests, drive_start, drive_stop);
}
