/* test_archive_preflight.c: an archive_table that cannot have the rows ends
 * the job before the first one is touched, and says why. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static int start(void **state)
{
	int code = shop_start(state);

	sql_exec(shop.db,
		"CREATE SCHEMA theirs; GRANT USAGE ON SCHEMA theirs"
		" TO app");
	sql_exec(shop.app,
		"CREATE TABLE t (id bigint PRIMARY KEY, n integer,"
		" \"A b\" numeric(9, 2), at timestamptz, made bigint"
		" GENERATED ALWAYS AS (id * 2) STORED);"
		"INSERT INTO t SELECT generate_series(1, 100)");
	return code;
}

/* Submit NAME, which deletes all of target, after a preparation. */
static void submit(const char *name, const char *target, const char *archive)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (kind, name, target, archive_table,"
		" where_clause) VALUES ('delete', '%s', '%s', '%s', 'true')",
		name, target, archive);
}

static void assert_untouched(const char *name)
{
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM t"), 100);
	assert_string_equal(job_events(name), "submitted,started,failed");
}

static void refuses(const char *name, const char *archive, const char *sqlstate,
	const char *message, const char *detail, const char *hint)
{
	submit(name, "t", archive);
	job_fails(name, sqlstate, message, detail, hint);
	assert_untouched(name);
}

/* ---- what it is */

static void test_not_there(void **state)
{
	(void)state;
	refuses("gone", "\"No such\"", "42P01",
		"archive table \"\"No such\"\" does not exist", NULL,
		"Create it with the columns of public.t, then call"
		" backfill.retry(job); its search_path is public,"
		" pg_temp.");
	sql_exec(shop.app,
		"CREATE TABLE later (id bigint PRIMARY KEY);"
		"INSERT INTO later VALUES (1), (2)");
	submit("later", "later", "later_old");
	job_wait("later", "failed");
	sql_exec(shop.app,
		"CREATE TABLE later_old (id bigint);"
		"SELECT backfill.retry('later')");
	job_wait("later", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT archive_table || ' ' || (SELECT count(*) FROM"
			" later_old) FROM backfill.jobs WHERE name = 'later'"),
		"public.later_old 2");
}

static void test_not_a_table(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE VIEW t_view AS SELECT * FROM t;"
		"CREATE SEQUENCE t_sequence");
	refuses("view", "t_view", "42809",
		"archive_table: public.t_view is not a table", NULL,
		"Name a table of this database.");
	refuses("sequence", "t_sequence", "42809",
		"archive_table: public.t_sequence is not a table", NULL,
		"Name a table of this database.");
	refuses("system", "pg_class", "42809",
		"archive_table: pg_catalog.pg_class is a system table", NULL,
		"Name a table of your own.");
	refuses("ours", "backfill.events", "42809",
		"archive_table: backfill.events is a system table", NULL,
		"Name a table of your own.");
}

static void test_itself_and_its_kin(void **state)
{
	(void)state;
	refuses("itself", "t", "42P17",
		"table public.t cannot be the archive of public.t",
		"It is the table itself.", "Name a table that stands alone.");

	sql_exec(shop.app,
		"CREATE TABLE grand (id bigint NOT NULL, k int NOT NULL)"
		" PARTITION BY RANGE (id);"
		"CREATE TABLE middle PARTITION OF grand FOR VALUES FROM (0)"
		" TO (100) PARTITION BY LIST (k);"
		"CREATE TABLE leaf PARTITION OF middle (PRIMARY KEY (id))"
		" FOR VALUES IN (1);"
		"CREATE TABLE parent (id bigint);"
		"CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)");
	submit("up", "leaf", "middle");
	job_fails("up", "42P17",
		"table public.middle cannot be the archive of public.leaf",
		"It is the partitioned table that it belongs to.",
		"Name a table that stands alone.");
	submit("top", "leaf", "grand");
	job_fails("top", "42P17",
		"table public.grand cannot be the archive of public.leaf",
		"It is the partitioned table that it belongs to.",
		"Name a table that stands alone.");
	submit("kin", "child", "parent");
	job_fails("kin", "42P17",
		"table public.parent cannot be the archive of public.child",
		"It is its parent.", "Name a table that stands alone.");
}

/* A child of the target: a target that has one is refused anyway. */
static void test_its_child(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE mother (id bigint PRIMARY KEY);"
		"CREATE TABLE daughter () INHERITS (mother)");
	submit("down", "mother", "daughter");
	job_fails("down", "0A000", "public.mother has inheritance children",
		"A key may stand in the parent and in a child, so one walk"
		" cannot serve both.",
		"Submit a job for each child; the parent's own rows need a"
		" DELETE ONLY.");
}

static void test_what_does_not_last(void **state)
{
	(void)state;
	sql_exec(shop.app, "CREATE UNLOGGED TABLE t_unlogged (LIKE t)");
	refuses("unlogged", "t_unlogged", "0A000",
		"archive table public.t_unlogged is unlogged",
		"A crash of the server would empty it, when the rows are"
		" deleted.",
		"ALTER TABLE public.t_unlogged SET LOGGED;");

	sql_exec(shop.db,
		"CREATE EXTENSION postgres_fdw;"
		"CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;"
		"CREATE TABLE t_far (LIKE t) PARTITION BY RANGE (id);"
		"CREATE FOREIGN TABLE far_1 PARTITION OF t_far"
		" FOR VALUES FROM (1) TO (9) SERVER far;"
		"GRANT INSERT ON t_far TO app");
	refuses("far", "t_far", "0A000",
		"archive table public.t_far has a foreign table as partition",
		"What goes into public.far_1 does not commit together with the"
		" delete.",
		"Name a table of this database.");
}

static void test_rule(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE t_ruled (LIKE t);"
		"CREATE RULE \"lose it\" AS ON INSERT TO t_ruled"
		" DO INSTEAD NOTHING");
	refuses("ruled", "t_ruled", "0A000",
		"archive table public.t_ruled has a rule \"lose it\" ON INSERT",
		"A rule puts other statements in the place of a batch, which"
		" could not tell what became of its rows.",
		"Use a trigger instead.");
}

/* ---- its columns */

static void test_columns_missing(void **state)
{
	(void)state;
	sql_exec(shop.app, "CREATE TABLE narrow (\"a b\" int, id bigint)");
	refuses("narrow", "narrow", "42703",
		"archive table public.narrow lacks columns of table public.t",
		"It has no n, \"A b\", at.",
		"ALTER TABLE public.narrow ADD COLUMN n integer, ADD COLUMN"
		" \"A b\" numeric(9,2), ADD COLUMN at timestamp with time"
		" zone;");
	/* The hint helps. */
	sql_exec(shop.app, "%s",
		sql_text(shop.db,
			"SELECT error_hint FROM backfill.jobs WHERE name ="
			" 'narrow'"));
	sql_exec(shop.app, "ALTER TABLE narrow DROP \"a b\"");
	submit("narrow 2", "t", "narrow");
	sql_exec(shop.app, "SELECT backfill.cancel('narrow 2')");
}

static void test_columns_of_no_kin(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE t_typed (LIKE t);"
		"ALTER TABLE t_typed DROP n, ADD n point");
	refuses("typed", "t_typed", "42804",
		"archive_table: column \"n\" is of type point but expression is"
		" of type integer",
		NULL, "You will need to rewrite or cast the expression.");
}

/* ---- rights */

static void test_may_not_insert(void **state)
{
	(void)state;
	sql_exec(shop.db, "CREATE TABLE theirs.old (LIKE t)");
	refuses("denied", "theirs.old", "42501",
		"permission denied for archive table theirs.old", NULL,
		"GRANT INSERT ON theirs.old TO app;");
	sql_exec(
		shop.db, "GRANT INSERT (id, n, at, made) ON theirs.old TO app");
	refuses("denied 2", "theirs.old", "42501",
		"permission denied for archive table theirs.old", NULL,
		"GRANT INSERT ON theirs.old TO app;");
	sql_exec(shop.db,
		"ALTER TABLE theirs.old ENABLE ROW LEVEL SECURITY;"
		"GRANT INSERT (\"A b\") ON theirs.old TO app");
	refuses("policies", "theirs.old", "42501",
		"query would be affected by row-level security policy for"
		" archive table \"old\"",
		NULL,
		"Let the job run as the table's owner, unless row-level"
		" security is forced on it, or as a role with BYPASSRLS.");
}

/* INSERT column by column is enough, and no SELECT is needed. */
static void test_may_insert(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE few (id bigint PRIMARY KEY);"
		"INSERT INTO few VALUES (1), (2), (3)");
	sql_exec(shop.db,
		"CREATE TABLE theirs.few (id bigint, more text DEFAULT 'x');"
		"GRANT INSERT (id) ON theirs.few TO app");
	submit("few", "few", "theirs.few");
	job_wait("few", "succeeded");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM theirs.few WHERE more ="
				 " 'x'"),
		3);
}

/* ---- foreign keys */

static void test_cascades(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE tree (id bigint PRIMARY KEY, up bigint"
		" CONSTRAINT tree_up REFERENCES tree ON DELETE CASCADE);"
		"CREATE INDEX ON tree (up);"
		"INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);"
		"CREATE TABLE tree_old (LIKE tree)");
	submit("tree", "tree", "tree_old");
	job_fails("tree", "0A000",
		"foreign key tree_up deletes rows of table public.tree without"
		" archiving them",
		"It is ON DELETE CASCADE.", NULL);
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM tree"), 3);

	sql_exec(shop.app,
		"ALTER TABLE tree DROP CONSTRAINT tree_up;"
		"CREATE TABLE apple (id bigint PRIMARY KEY, tree bigint"
		" CONSTRAINT apple_tree REFERENCES tree ON DELETE CASCADE);"
		"CREATE INDEX ON apple (tree);"
		"INSERT INTO apple SELECT 1, 2;"
		"SELECT backfill.retry('tree')");
	job_wait("tree", "succeeded");
	assert_true(sql_true(shop.db,
		"SELECT strpos(detail, 'foreign key apple_tree of public.apple"
		" refers to what the job deletes: ON DELETE CASCADE; what it"
		" deletes is not archived') > 0 FROM backfill.events"
		" WHERE job_id = %lld AND event = 'preflight'",
		(long long)job_id("tree")));
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM tree_old"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_not_a_table),
		cmocka_unit_test(test_itself_and_its_kin),
		cmocka_unit_test(test_its_child),
		cmocka_unit_test(test_what_does_not_last),
		cmocka_unit_test(test_rule),
		cmocka_unit_test(test_columns_missing),
		cmocka_unit_test(test_columns_of_no_kin),
		cmocka_unit_test(test_may_not_insert),
		cmocka_unit_test(test_may_insert),
		cmocka_unit_test(test_cascades),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
