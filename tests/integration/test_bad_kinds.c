/* test_bad_kinds.c: what a job of each kind must have and may not have is said
 * at INSERT, in PostgreSQL's style, and leaves nothing behind; an archive_table
 * is the one that the submitter named. What the server is asked is in
 * sql/015. */
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db, *app;

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	db = cluster_connect(cluster, "shop", "postgres");
	app = cluster_connect(cluster, "shop", "app");
	sql_exec(app,
		"CREATE TABLE t (id bigint PRIMARY KEY);"
		"CREATE TABLE old (id bigint);"
		"CREATE TEMPORARY TABLE passing (id bigint)");
	sql_exec(db,
		"CREATE SCHEMA attic AUTHORIZATION app;"
		"CREATE SCHEMA closed; CREATE TABLE closed.old (id bigint)");
	sql_exec(app, "CREATE TABLE attic.\"Old\" (id bigint)");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

struct refusal {
	const char *columns, *values; /* beyond kind and target */
	const char *sqlstate, *message, *detail, *hint;
};

static void assert_refused(const char *kind, const struct refusal *r)
{
	struct sql_failure f;

	sql_fails(app, &f,
		"INSERT INTO backfill.jobs (kind, target%s%s) VALUES ('%s',"
		" 't'%s%s)",
		r->columns[0] != '\0' ? ", " : "", r->columns, kind,
		r->values[0] != '\0' ? ", " : "", r->values);
	assert_string_equal(f.message, r->message);
	assert_string_equal(f.sqlstate, r->sqlstate);
	assert_string_equal(f.detail, r->detail);
	assert_string_equal(f.hint, r->hint);
	assert_int_equal(sql_int(db,
				 "SELECT (SELECT count(*) FROM backfill.jobs)"
				 " + (SELECT count(*) FROM backfill.events)"),
		0);
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* ---- jobs that change rows */

static void test_rows_have_no_steps(void **state)
{
#define NO(what)                                                               \
	"22023", "a job of kind \"update\" has no " what,                      \
		"It changes rows, and not the schema.", ""
	static const struct refusal of_update[] = {
		{ "set_clause, object_name", "'id = 1', 'x'",
			NO("object_name") },
		{ "set_clause, definition", "'id = 1', ''", NO("definition") },
		{ "set_clause, undo", "'id = 1', 'x'", NO("undo") },
		{ "set_clause, archive_table", "'id = 1', 'old'", "22023",
			"a job of kind \"update\" has no archive_table",
			"It deletes no rows.", "" },
	};
#undef NO
	static const struct refusal of_delete[] = {
		{ "where_clause, object_name", "'true', 'x'", "22023",
			"a job of kind \"delete\" has no object_name",
			"It changes rows, and not the schema.", "" },
		{ "set_clause", "'id = 1'", "22023",
			"a job of kind \"delete\" has no set_clause", "",
			"Leave it NULL, or submit a job of kind \"update\"." },
		{ "", "", "22023",
			"a job of kind \"delete\" needs a where_clause", "",
			"Write true to delete all rows." },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(of_update); i++) {
		assert_refused("update", &of_update[i]);
	}
	for (size_t i = 0; i < COUNT(of_delete); i++) {
		assert_refused("delete", &of_delete[i]);
	}
}

/* ---- the archive of a delete */

static void test_archive_table(void **state)
{
#define EMPTY                                                                  \
	"22023", "archive_table is empty", "",                                 \
		"Leave it NULL when the deleted rows are not kept."
	static const struct refusal bad[] = {
		{ "where_clause, archive_table", "'true', ''", EMPTY },
		{ "where_clause, archive_table", "'true', '  '", EMPTY },
		{ "where_clause, archive_table", "'true', '\"x'", "42602",
			"invalid name syntax", "", "" },
		{ "where_clause, archive_table", "'true', 'closed.old'",
			"42501", "permission denied for schema closed", "",
			"" },
		{ "where_clause, archive_table", "'true', 'passing'", "42809",
			"\"passing\" is a temporary table",
			"The daemon's session cannot see it.", "" },
		{ "where_clause, archive_table", "'true', repeat('x', 1001)",
			"22023", "archive_table is longer than 1000 bytes",
			"It has 1001.", "" },
	};
#undef EMPTY

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_refused("delete", &bad[i]);
	}
}

static const char *archive_of(const char *path, const char *archive)
{
	sql_exec(app, "BEGIN; SET LOCAL search_path = %s", path);
	archive = sql_text(app,
		"INSERT INTO backfill.jobs (kind, target, where_clause,"
		" archive_table) VALUES ('delete', 'public.t', 'true', '%s')"
		" RETURNING archive_table",
		archive);
	sql_exec(app, "ROLLBACK");
	return archive;
}

static void test_archive_is_resolved(void **state)
{
	(void)state;
	assert_string_equal(archive_of("public", "old"), "public.old");
	assert_string_equal(
		archive_of("attic, public", "\"Old\""), "attic.\"Old\"");
	assert_string_equal(archive_of("attic, public", "OLD"), "public.old");
	assert_string_equal(archive_of("attic", "old"), "old");
	assert_string_equal(archive_of("public", "attic.none"), "attic.none");
}

/* ---- jobs that change the schema */

static const char *const kinds[] = { "add_column", "drop_column", "add_check",
	"add_foreign_key", "validate_constraint", "set_not_null",
	"create_index", "drop_index", "reindex", "ddl" };

static void test_steps_have_no_rows(void **state)
{
	static const char *const pieces[][2] = {
		{ "set_clause", "'id = 1'" },
		{ "from_clause", "'x'" },
		{ "where_clause", "'true'" },
		{ "key_columns", "'{id}'" },
		{ "archive_table", "'old'" },
		{ "pause_after_rows", "5" },
	};
	char message[128];

	(void)state;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		for (size_t n = 0; n < 6; n++) {
			const struct refusal r = { pieces[n][0], pieces[n][1],
				"22023", message,
				"It changes the schema, and no rows.", "" };

			(void)snprintf(message, sizeof message,
				"a job of kind \"%s\" has no %s", kinds[i],
				pieces[n][0]);
			assert_refused(kinds[i], &r);
		}
	}
}

static void test_steps_are_no_dry_runs(void **state)
{
	char message[128];

	(void)state;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		const struct refusal r = { "object_name, dry_run", "'x', true",
			"22023", message, "",
			"Submit it with hold: what depends on it is in"
			" backfill.events, and it waits for"
			" approve()." };

		(void)snprintf(message, sizeof message,
			"a job of kind \"%s\" cannot be a dry run", kinds[i]);
		assert_refused(kinds[i], &r);
	}
}

static void test_object_name(void **state)
{
	static const char *const hints[] = { "Name the column.",
		"Name the column.", "Name the constraint.",
		"Name the constraint.", "Name the constraint.",
		"Name the column.", "Name the index.", "Name the index.",
		"Name the index." };
	static const struct refusal of_ddl = { "object_name, definition",
		"'x', 'SELECT 1'", "22023",
		"a job of kind \"ddl\" has no object_name", "",
		"Its definition names what it changes." };
	static const struct refusal too_long = { "object_name",
		"repeat('x', 64)", "22023",
		"object_name is longer than 63 bytes", "It has 64.", "" };
	char message[128];

	(void)state;
	for (size_t i = 0; i < COUNT(hints); i++) {
		const struct refusal none = { "", "", "22023", message, "",
			hints[i] };
		const struct refusal empty = { "object_name", "''", "22023",
			message, "", hints[i] };

		(void)snprintf(message, sizeof message,
			"a job of kind \"%s\" needs an object_name", kinds[i]);
		assert_refused(kinds[i], &none);
		assert_refused(kinds[i], &empty);
		assert_refused(kinds[i], &too_long);
	}
	assert_refused("ddl", &of_ddl);
}

static void test_definition(void **state)
{
	/* NULL: it has none; "": it may have one. */
	static const char *const hints[] = {
		"Write what follows the column's name, such as: text DEFAULT"
		" ''.",
		NULL,
		"Write: CHECK (expression).",
		"Write: FOREIGN KEY (column) REFERENCES table (column).",
		NULL,
		"",
		"Write what is indexed, such as: UNIQUE (email).",
		NULL,
		NULL,
		"Write the statements, with ; between them.",
	};
	char message[128];

	(void)state;
	for (size_t i = 0; i < COUNT(hints); i++) {
		int is_ddl = strcmp(kinds[i], "ddl") == 0;
		const char *name = is_ddl ? "NULL" : "'x'";
		char with_none[32], with_one[32], with_blanks[32];
		struct refusal r = { "object_name, definition", NULL, "22023",
			message, "", hints[i] };

		(void)snprintf(with_none, sizeof with_none, "%s, NULL", name);
		(void)snprintf(with_one, sizeof with_one, "%s, 'x'", name);
		(void)snprintf(
			with_blanks, sizeof with_blanks, "%s, E' \\n'", name);
		if (hints[i] == NULL) {
			(void)snprintf(message, sizeof message,
				"a job of kind \"%s\" has no"
				" definition",
				kinds[i]);
			r.values = with_one;
			r.hint = "";
			assert_refused(kinds[i], &r);
		} else if (hints[i][0] != '\0') {
			(void)snprintf(message, sizeof message,
				"a job of kind \"%s\" needs a"
				" definition",
				kinds[i]);
			r.values = with_none;
			assert_refused(kinds[i], &r);
			r.values = with_blanks;
			assert_refused(kinds[i], &r);
		}
	}
}

static void test_undo(void **state)
{
	static const char *const good[][2] = {
		{ "add_column", "text" },
		{ "add_check", "CHECK (true)" },
		{ "add_foreign_key", "FOREIGN KEY (a) REFERENCES b" },
		{ "create_index", "(a)" },
		{ "validate_constraint", NULL },
		{ "set_not_null", NULL },
		{ "reindex", NULL },
	};
	char message[128], values[128];

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		const struct refusal r = { "object_name, undo, definition",
			values, "22023", message, "",
			"plan_down() knows how to take it back." };

		(void)snprintf(message, sizeof message,
			"a job of kind \"%s\" has no undo", good[i][0]);
		(void)snprintf(values, sizeof values, "'x', 'y', %s%s%s",
			good[i][1] != NULL ? "'" : "",
			good[i][1] != NULL ? good[i][1] : "NULL",
			good[i][1] != NULL ? "'" : "");
		assert_refused(good[i][0], &r);
	}
}

/* Each kind with all that it needs, and all that it may have. */
static void test_good_ones(void **state)
{
	static const char *const good[] = {
		"'update', NULL, NULL, NULL",
		"'add_column', 'x', 'text', NULL",
		"'drop_column', 'x', NULL, 'text'",
		"'add_check', 'x', 'CHECK (true)', NULL",
		"'add_foreign_key', 'x', 'FOREIGN KEY (a) REFERENCES b', NULL",
		"'validate_constraint', 'x', NULL, NULL",
		"'set_not_null', 'x', NULL, NULL",
		"'set_not_null', 'x', 'x_check', NULL",
		"'create_index', 'x', '(a)', NULL",
		"'drop_index', 'x', NULL, '(a)'",
		"'reindex', 'x', NULL, NULL",
		"'ddl', NULL, 'SELECT 1', 'SELECT 2'",
	};

	(void)state;
	sql_exec(app, "BEGIN");
	for (size_t i = 0; i < COUNT(good); i++) {
		sql_exec(app,
			"INSERT INTO backfill.jobs (kind, object_name,"
			" definition, undo, target, set_clause)"
			" SELECT v.*, 't', CASE v.kind WHEN 'update'"
			" THEN 'id = 1' END FROM (VALUES (%s)) v"
			" (kind, object_name, definition, undo)",
			good[i]);
	}
	sql_exec(app, "ROLLBACK");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_have_no_steps),
		cmocka_unit_test(test_archive_table),
		cmocka_unit_test(test_archive_is_resolved),
		cmocka_unit_test(test_steps_have_no_rows),
		cmocka_unit_test(test_steps_are_no_dry_runs),
		cmocka_unit_test(test_object_name),
		cmocka_unit_test(test_definition),
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_good_ones),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
