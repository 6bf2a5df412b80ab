/* test_submit.c: what INSERT INTO backfill.jobs decides, and what may be
 * changed later and by whom. No daemon runs. */
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db;  /* postgres */
static PGconn *app; /* may submit; owns schema shop */

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	sql_exec(db,
		"CREATE ROLE low LOGIN; CREATE ROLE high LOGIN;"
		"GRANT backfill_submit TO low, high;"
		"CREATE ROLE worker LOGIN; GRANT backfill_submit TO worker;"
		"GRANT worker TO app;"
		"CREATE ROLE batch NOLOGIN; GRANT batch TO app;"
		"CREATE ROLE stranger LOGIN; GRANT stranger TO app;"
		"CREATE SCHEMA shop AUTHORIZATION app;"
		"CREATE SCHEMA app AUTHORIZATION app;"
		"CREATE SCHEMA \"My Shop\" AUTHORIZATION app");
	app = cluster_connect(cluster, "t", "app");
	sql_exec(app,
		"CREATE TABLE shop.users (id bigint PRIMARY KEY, n integer);"
		"CREATE TABLE shop.\"Odd, Name\" (LIKE shop.users)");
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

static int clean(void **state)
{
	(void)state;
	sql_exec(app, "ROLLBACK; RESET ALL");
	sql_exec(db,
		"RESET ALL; DELETE FROM backfill.jobs;"
		"DELETE FROM backfill.events; DELETE FROM backfill.stop");
	return 0;
}

/* ---- helpers */

static void assert_failure(const struct sql_failure *f, const char *sqlstate,
	const char *message, const char *detail, const char *hint)
{
	assert_string_equal(f->message, message);
	assert_string_equal(f->sqlstate, sqlstate);
	assert_string_equal(f->detail, detail);
	assert_string_equal(f->hint, hint);
}

/* The SQL comes last, as it may have arguments. */
#define FAILS(conn, sqlstate, message, detail, hint, ...)                      \
	do {                                                                   \
		struct sql_failure failure;                                    \
                                                                               \
		sql_fails(conn, &failure, __VA_ARGS__);                        \
		assert_failure(&failure, sqlstate, message, detail, hint);     \
	} while (0)

#define SUBMIT                                                                 \
	"INSERT INTO backfill.jobs (name, target, set_clause) VALUES"          \
	" ('%s', 'shop.users', 'n = 1') RETURNING id"

static long long submit(const char *name)
{
	return sql_int(app, SUBMIT, name);
}

static const char *of_job(const char *column, long long id)
{
	return sql_text(
		db, "SELECT %s FROM backfill.jobs WHERE id = %lld", column, id);
}

/* A message with the job's number in it; lives until the next call. */
static const char *about(const char *format, long long id)
	__attribute__((format(printf, 1, 0)));

static const char *about(const char *format, long long id)
{
	static char text[256];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(text, sizeof text, format, id);
#pragma GCC diagnostic pop
	return text;
}

/* ---- what the row becomes */

static void test_defaults(void **state)
{
	long long id;

	(void)state;
	sql_exec(app,
		"SET search_path = shop, public;"
		"SET TimeZone = 'Europe/Berlin'; SET DateStyle = 'SQL, DMY'");
	id = sql_int(app,
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('users', 'n = 1') RETURNING id");
	assert_string_equal(
		of_job("name", id), about("update shop.users %lld", id));
	assert_string_equal(
		of_job("concat_ws('|', kind, target, run_as, search_path,"
		       " timezone, datestyle, state, submitted_by)",
			id),
		"update|shop.users|app|shop, public, pg_temp|Europe/Berlin|"
		"SQL, DMY|queued|app");
	assert_string_equal(
		of_job("target_oid = 'shop.users'::regclass AND"
		       " submitted_at BETWEEN now() - interval '1min'"
		       " AND clock_timestamp()",
			id),
		"t");
	assert_string_equal(
		of_job("num_nonnulls(where_clause, key_columns, batch_rows,"
		       " max_batch_rows, target_batch_time, lock_timeout,"
		       " statement_timeout, synchronous_commit, reason,"
		       " error_sqlstate, error_message, error_detail,"
		       " error_hint, started_at, finished_at)",
			id),
		"0");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws('|', actor, event, detail)"
			" FROM backfill.events WHERE job_id = %lld",
			id),
		"app|submitted|run_as app");
}

static const char *captured_path(const char *path)
{
	sql_exec(app, "SET search_path = %s", path);
	return sql_text(app,
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('shop.users', 'n = 1') RETURNING search_path");
}

/* Temporary schemas are those of the submitter's session. */
static void test_search_path_is_kept_without_temporary_schemas(void **state)
{
	(void)state;
	sql_exec(app, "CREATE TEMP TABLE mine (id int)");
	assert_string_equal(captured_path("pg_temp, shop"), "shop, pg_temp");
	assert_string_equal(captured_path("\"$user\", nowhere, \"My Shop\""),
		"app, \"My Shop\", pg_temp");
	assert_string_equal(captured_path("''"), "pg_temp");
	assert_string_equal(
		captured_path("shop, pg_catalog"), "shop, pg_catalog, pg_temp");
	sql_exec(app, "DROP TABLE pg_temp.mine");
}

static const char *target_of(const char *target)
{
	return sql_text(app,
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('%s', 'n = 1') RETURNING target || ' '"
		" || coalesce(target_oid::regclass::text, 'unknown')",
		target);
}

static void test_target_is_resolved(void **state)
{
	(void)state;
	sql_exec(app, "SET search_path = public");
	assert_string_equal(target_of("shop.users"), "shop.users shop.users");
	assert_string_equal(target_of("users"), "users unknown");
	sql_exec(app, "SET search_path = shop");
	assert_string_equal(target_of("USERS"), "shop.users users");
	assert_string_equal(
		target_of("\"Odd, Name\""), "shop.\"Odd, Name\" \"Odd, Name\"");
	assert_string_equal(target_of("later.table"), "later.table unknown");
	/* A table that run_as may not change is not kept from its owner. */
	sql_exec(db,
		"CREATE TABLE public.locked (id int PRIMARY KEY, n int);"
		"GRANT SELECT ON public.locked TO app");
	sql_exec(app, "SET search_path = public");
	assert_string_equal(target_of("locked"), "public.locked unknown");
	sql_exec(db, "GRANT UPDATE (n) ON public.locked TO app");
	assert_string_equal(target_of("locked"), "public.locked locked");
	sql_exec(db, "DROP TABLE public.locked");

	sql_exec(app, "CREATE TEMP TABLE users (id int)");
	FAILS(app, "42809", "\"users\" is a temporary table",
		"The daemon's session cannot see it.", "",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('users', 'n = 1')");
	sql_exec(app, "DROP TABLE pg_temp.users");
}

static void test_submitting_twice(void **state)
{
	long long id = submit("once");

	(void)state;
	assert_string_equal(
		sql_text(app,
			"WITH i AS (INSERT INTO backfill.jobs (name, target,"
			" set_clause) VALUES ('once', 'other', 'n = 2')"
			" ON CONFLICT (name) DO NOTHING RETURNING id)"
			" SELECT count(*) FROM i"),
		"0");
	FAILS(app, "23505",
		"duplicate key value violates unique constraint"
		" \"jobs_name_key\"",
		"", "", SUBMIT, "once");
	assert_string_equal(of_job("target", id), "shop.users");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 1);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM backfill.events"), 1);
}

/* ---- what is refused */

static void test_bad_input_is_refused(void **state)
{
	static const struct {
		const char *columns, *values;
		const char *message, *detail, *hint;
	} cases[] = {
#define KINDS                                                                  \
	"Available values: update, delete, add_column, drop_column, "          \
	"add_check,"                                                           \
	" add_foreign_key, validate_constraint, set_not_null, create_index,"   \
	" drop_index, reindex, ddl."
		{ "kind", "'upsert'", "unknown kind \"upsert\"", "", KINDS },
		{ "kind", "NULL", "unknown kind \"\"", "", KINDS },
		{ "name", "'  '", "name is empty", "",
			"Leave it NULL for a default." },
		{ "name", "'42'", "name \"42\" is a number",
			"Commands take a job's id or its name.", "" },
		{ "name", "repeat('x', 1001)", "name is longer than 1000 bytes",
			"It has 1001.", "" },
		{ "where_clause", "E' \\n'", "where_clause is empty", "",
			"Leave it NULL to change all rows." },
		{ "where_clause", "repeat('x', 1000001)",
			"where_clause is longer than 1000000 bytes",
			"It has 1000001.", "" },
		{ "key_columns", "'{}'", "key_columns must name columns", "",
			"Leave it NULL to walk the primary key." },
		{ "key_columns", "'{id,NULL}'", "key_columns must name columns",
			"", "Leave it NULL to walk the primary key." },
		{ "key_columns", "ARRAY[repeat('x', 10000)]",
			"key_columns is longer than 10000 bytes",
			"It has 10002.", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		FAILS(app, "22023", cases[i].message, cases[i].detail,
			cases[i].hint,
			"INSERT INTO backfill.jobs (target, set_clause, %s)"
			" VALUES ('shop.users', 'n = 1', %s)",
			cases[i].columns, cases[i].values);
	}
	FAILS(app, "22023", "a job needs a target", "",
		"Name a table in column \"target\".",
		"INSERT INTO backfill.jobs (set_clause) VALUES ('n = 1')");
	FAILS(app, "22023", "a job needs a target", "",
		"Name a table in column \"target\".",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES (' ', 'n = 1')");
	FAILS(app, "42602", "invalid name syntax", "", "",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('a; DROP TABLE a', 'n = 1')");
	FAILS(app, "22023", "target is longer than 1000 bytes", "It has 1001.",
		"",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES (repeat('x', 1001), 'n = 1')");
	FAILS(app, "22023", "a job of kind \"update\" needs a set_clause", "",
		"Write what follows SET, such as $$ phone = '' $$.",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('shop.users', E'\\t \\n')");
	FAILS(app, "22023", "set_clause is longer than 1000000 bytes",
		"It has 1000001.", "",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('shop.users', repeat('x', 1000001))");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 0);
}

/* Each setting at its ends, and beyond. */
static void test_settings_have_ranges(void **state)
{
	static const struct {
		const char *column, *good[2], *bad[2], *message[2], *hint;
	} cases[] = {
		{ "batch_rows", { "1", "1000000" }, { "0", "1000001" },
			{ "batch_rows 0 is outside the valid range"
			  " (1 .. 1000000)",
				"batch_rows 1000001 is outside the valid range"
				" (1 .. 1000000)" },
			"" },
		{ "max_batch_rows", { "1", "1000000" }, { "-5", "1000001" },
			{ "max_batch_rows -5 is outside the valid range"
			  " (1 .. 1000000)",
				"max_batch_rows 1000001 is outside the valid"
				" range (1 .. 1000000)" },
			"" },
		{ "target_batch_time", { "'10ms'", "'1min'" },
			{ "'9ms'", "'1 day'" },
			{ "target_batch_time 00:00:00.009 is outside the valid"
			  " range (00:00:00.01 .. 00:01:00)",
				"target_batch_time 1 day is outside the valid"
				" range (00:00:00.01 .. 00:01:00)" },
			"" },
		{ "lock_timeout", { "'10ms'", "'10s'" }, { "'0'", "'11s'" },
			{ "lock_timeout 00:00:00 is outside the valid range"
			  " (00:00:00.01 .. 00:00:10)",
				"lock_timeout 00:00:11 is outside the valid"
				" range (00:00:00.01 .. 00:00:10)" },
			"" },
		{ "statement_timeout", { "'100ms'", "'1h'" },
			{ "'99ms'", "'-1s'" },
			{ "statement_timeout 00:00:00.099 is outside the valid"
			  " range (00:00:00.1 .. 01:00:00)",
				"statement_timeout -00:00:01 is outside the"
				" valid range (00:00:00.1 .. 01:00:00)" },
			"" },
		{ "synchronous_commit", { "'off'", "'remote_apply'" },
			{ "'yes'", "''" },
			{ "invalid synchronous_commit \"yes\"",
				"invalid synchronous_commit \"\"" },
			"Available values: off, local, remote_write, on,"
			" remote_apply." },
	};
	long long id = submit("tuned");

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (int n = 0; n < 2; n++) {
			FAILS(app, "22023", cases[i].message[n], "",
				cases[i].hint,
				"INSERT INTO backfill.jobs (target, set_clause,"
				" %s) VALUES ('shop.users', 'n = 1', %s)",
				cases[i].column, cases[i].bad[n]);
			FAILS(app, "22023", cases[i].message[n], "",
				cases[i].hint,
				"UPDATE backfill.jobs SET %s = %s"
				" WHERE id = %lld",
				cases[i].column, cases[i].bad[n], id);
			assert_string_equal(
				of_job(cases[i].column, id), "(null)");
			sql_exec(app,
				"INSERT INTO backfill.jobs (target,"
				" set_clause, %s) VALUES ('shop.users',"
				" 'n = 1', %s);"
				"UPDATE backfill.jobs SET %s = %s"
				" WHERE id = %lld",
				cases[i].column, cases[i].good[n],
				cases[i].column, cases[i].good[n], id);
			assert_true(sql_true(db,
				"SELECT %s = %s FROM backfill.jobs"
				" WHERE id = %lld",
				cases[i].column, cases[i].good[n], id));
			sql_exec(app,
				"UPDATE backfill.jobs SET %s = NULL"
				" WHERE id = %lld",
				cases[i].column, id);
		}
	}
	FAILS(app, "22023", "batch_rows 10 is greater than max_batch_rows 9",
		"", "",
		"UPDATE backfill.jobs SET batch_rows = 10, max_batch_rows = 9");
}

/* Only the settings are a person's to change, only what a person says is a
 * person's to insert; everything else is the system's. */
static void test_other_columns_are_the_systems(void **state)
{
	static const char columns[] =
		"SELECT attname FROM pg_attribute WHERE attrelid ="
		" 'backfill.jobs'::regclass AND attnum > 0 AND NOT"
		" attisdropped ORDER BY attname OFFSET %d LIMIT 1";
	static const char settings[] =
		"|batch_rows|max_batch_rows|target_batch_time|lock_timeout|"
		"statement_timeout|synchronous_commit|run_window|priority|"
		"pause_after_rows|max_rows_per_second|max_replication_lag|";
	static const char persons[] =
		"|name|kind|target|set_clause|from_clause|where_clause|"
		"key_columns|run_as|depends_on|hold|run_after|on_row_error|"
		"max_row_errors|on_residue|dry_run|archive_table|object_name|"
		"definition|plan|undo|undoes|";
	int count = (int)sql_int(db,
		"SELECT count(*) FROM pg_attribute WHERE attrelid ="
		" 'backfill.jobs'::regclass AND attnum > 0"
		" AND NOT attisdropped");
	long long id = submit("kept");

	(void)state;
	assert_true(count > 25);
	for (int i = 0; i < count; i++) {
		char between[80];
		const char *column = sql_text(db, columns, i);

		(void)snprintf(between, sizeof between, "|%s|", column);
		if (strstr(settings, between) != NULL) {
			continue;
		}
		FAILS(app, "42501", "permission denied for table jobs", "", "",
			"UPDATE backfill.jobs SET %s = DEFAULT WHERE id = %lld",
			column, id);
		if (strstr(persons, between) != NULL ||
			strcmp(column, "id") == 0) {
			continue;
		}
		FAILS(app, "42501", "permission denied for table jobs", "", "",
			"INSERT INTO backfill.jobs (target, set_clause, %s)"
			" VALUES ('shop.users', 'n = 1', NULL)",
			column);
	}
	FAILS(app, "428C9",
		"cannot insert a non-DEFAULT value into column \"id\"",
		"Column \"id\" is an identity column defined as GENERATED"
		" ALWAYS.",
		"Use OVERRIDING SYSTEM VALUE to override.",
		"INSERT INTO backfill.jobs (id, target, set_clause)"
		" VALUES (1, 'shop.users', 'n = 1')");
	FAILS(app, "42501", "permission denied for table jobs", "", "",
		"INSERT INTO backfill.jobs (id, target, set_clause)"
		" OVERRIDING SYSTEM VALUE VALUES (1, 'shop.users', 'n = 1')");
	FAILS(app, "42501", "permission denied for table jobs", "", "",
		"DELETE FROM backfill.jobs");
	FAILS(app, "42501", "permission denied for table jobs", "", "",
		"TRUNCATE backfill.jobs");
}

/* ---- run_as */

#define SUBMIT_AS                                                              \
	"INSERT INTO backfill.jobs (target, set_clause, run_as)"               \
	" VALUES ('shop.users', 'n = 1', '%s')"

static void test_run_as_is_a_login_that_one_may_become(void **state)
{
	(void)state;
	sql_exec(app, SUBMIT_AS, "worker");
	assert_string_equal(sql_text(db,
				    "SELECT run_as || ' by ' || submitted_by"
				    " FROM backfill.jobs"),
		"worker by app");
	FAILS(app, "42704", "role \"nobody\" does not exist", "", "", SUBMIT_AS,
		"nobody");
	FAILS(app, "42501",
		"role \"app\" may not submit a job that runs as \"high\"", "",
		"Name a role that \"app\" is a member of.", SUBMIT_AS, "high");
	FAILS(app, "42501", "role \"batch\" is not permitted to log in",
		"A job's batches run on a connection that logs in as its"
		" run_as.",
		"Name a role with LOGIN.", SUBMIT_AS, "batch");
	FAILS(app, "42501", "role \"stranger\" may not use backfill", "",
		"GRANT backfill_submit TO stranger;", SUBMIT_AS, "stranger");
	FAILS(app, "42501", "a job cannot run as superuser \"postgres\"",
		"A job has the rights of its run_as, and nothing bounds those"
		" of a superuser.",
		"Name another role in run_as, such as the table's owner"
		" \"app\".",
		SUBMIT_AS, "postgres");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 1);
}

static void test_superuser_names_a_run_as(void **state)
{
	(void)state;
	FAILS(db, "42501", "a job cannot run as superuser \"postgres\"",
		"A job has the rights of its run_as, and nothing bounds those"
		" of a superuser.",
		"Name another role in run_as, such as the table's owner"
		" \"app\".",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('shop.users', 'n = 1')");
	FAILS(db, "42501", "a job cannot run as superuser \"postgres\"",
		"A job has the rights of its run_as, and nothing bounds those"
		" of a superuser.",
		"Name another role in run_as.",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('pg_class', 'n = 1')");
	sql_exec(db, SUBMIT_AS, "app");
	assert_string_equal(sql_text(db,
				    "SELECT run_as || ' by ' || submitted_by"
				    " FROM backfill.jobs"),
		"app by postgres");
}

static void test_rights_beyond_tables_are_refused(void **state)
{
	static const char *const give[] = { "ALTER ROLE worker REPLICATION",
		"GRANT backfill_daemon TO worker",
		"GRANT backfill_owner TO worker",
		"GRANT pg_execute_server_program TO worker",
		"GRANT pg_read_server_files TO worker",
		"GRANT pg_write_server_files TO worker" };
	static const char *const take[] = { "ALTER ROLE worker NOREPLICATION",
		"REVOKE backfill_daemon FROM worker",
		"REVOKE backfill_owner FROM worker",
		"REVOKE pg_execute_server_program FROM worker",
		"REVOKE pg_read_server_files FROM worker",
		"REVOKE pg_write_server_files FROM worker" };

	(void)state;
	for (size_t i = 0; i < sizeof give / sizeof give[0]; i++) {
		sql_exec(db, "%s", give[i]);
		FAILS(app, "42501", "a job cannot run as \"worker\"",
			"The role has rights beyond tables: REPLICATION, or"
			" membership in backfill_daemon, backfill_owner,"
			" pg_execute_server_program, pg_read_server_files or"
			" pg_write_server_files.",
			"Name another role in run_as.", SUBMIT_AS, "worker");
		sql_exec(db, "%s", take[i]);
	}
	sql_exec(app, SUBMIT_AS, "worker");
}

/* A function of a low role, called by a high one, is the low role's deed. */
static void test_definers_function_submits_as_the_definer(void **state)
{
	PGconn *low = cluster_connect(cluster, "t", "low");
	PGconn *high = cluster_connect(cluster, "t", "high");

	(void)state;
	sql_exec(db, "GRANT CREATE ON SCHEMA public TO low");
	sql_exec(low,
		"CREATE FUNCTION public.trap(who text) RETURNS void"
		" LANGUAGE sql SECURITY DEFINER AS $$"
		" INSERT INTO backfill.jobs (name, target, set_clause, run_as)"
		" VALUES ('trap', 'later', 'n = 6', who) $$;"
		"CREATE FUNCTION public.trap_pause(id bigint) RETURNS void"
		" LANGUAGE sql SECURITY DEFINER AS $$"
		" SELECT backfill.pause(id) $$");
	sql_exec(high, "SELECT public.trap(NULL)");
	assert_string_equal(sql_text(db,
				    "SELECT run_as || ' by ' || submitted_by"
				    " FROM backfill.jobs WHERE name = 'trap'"),
		"low by high");
	FAILS(high, "42501",
		"role \"low\" may not submit a job that runs as \"high\"", "",
		"Name a role that \"low\" is a member of.",
		"SELECT public.trap('high')");

	sql_exec(high,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('highs', 'later', 'n = 1')");
	FAILS(high, "BF002",
		about("job \"%lld\" does not exist",
			sql_int(db,
				"SELECT id FROM backfill.jobs"
				" WHERE name = 'highs'")),
		"Or its run_as is a role that you may not become.", "",
		"SELECT public.trap_pause(id) FROM backfill.jobs"
		" WHERE name = 'highs'");
	PQfinish(high);
	PQfinish(low);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),
		TEST(test_search_path_is_kept_without_temporary_schemas),
		TEST(test_target_is_resolved),
		TEST(test_submitting_twice),
		TEST(test_bad_input_is_refused),
		TEST(test_settings_have_ranges),
		TEST(test_other_columns_are_the_systems),
		TEST(test_run_as_is_a_login_that_one_may_become),
		TEST(test_superuser_names_a_run_as),
		TEST(test_rights_beyond_tables_are_refused),
		TEST(test_definers_function_submits_as_the_definer),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
