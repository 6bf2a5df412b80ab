/* test_bad_inserts.c: what cannot be a job is refused at INSERT, with the
 * whole error, and leaves nothing behind. No daemon takes part. */
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db;
static PGconn *app;

/* manager may become every other role but stranger and postgres. */
static const char ROLES_SQL[] =
	"CREATE ROLE stranger LOGIN IN ROLE backfill_submit;"
	"CREATE ROLE nobody_logs_in IN ROLE backfill_submit;"
	"CREATE ROLE replicator LOGIN REPLICATION IN ROLE backfill_submit;"
	"CREATE ROLE file_writer LOGIN IN ROLE backfill_submit,"
	" pg_write_server_files;"
	"CREATE ROLE outsider LOGIN;"
	"CREATE ROLE manager LOGIN IN ROLE backfill_submit,"
	" nobody_logs_in, replicator, file_writer, outsider, backfilld, app;"
	"CREATE SCHEMA closed; CREATE TABLE closed.t (id int PRIMARY KEY)";

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	db = cluster_connect(cluster, "shop", "postgres");
	app = cluster_connect(cluster, "shop", "app");
	sql_exec(db, "%s", ROLES_SQL);
	sql_exec(app,
		"CREATE TABLE victim (id bigint PRIMARY KEY, n int);"
		"CREATE TEMPORARY TABLE temporary (id int PRIMARY KEY, n int)");
	sql_exec(db, "CREATE TABLE by_postgres (id int PRIMARY KEY, n int)");
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

struct bad_insert {
	const char *columns, *values; /* beyond a good target and set_clause */
	const char *sqlstate, *message, *detail, *hint;
};

static void assert_refused(PGconn *conn, const struct bad_insert *bad)
{
	struct sql_failure failure;

	sql_fails(conn, &failure, "INSERT INTO backfill.jobs (%s) VALUES (%s)",
		bad->columns, bad->values);
	assert_string_equal(failure.message, bad->message);
	assert_string_equal(failure.sqlstate, bad->sqlstate);
	assert_string_equal(failure.detail, bad->detail);
	assert_string_equal(failure.hint, bad->hint);
	assert_int_equal(sql_int(db,
				 "SELECT (SELECT count(*) FROM backfill.jobs)"
				 " + (SELECT count(*) FROM backfill.events)"),
		0);
}

static void assert_all_refused(
	PGconn *conn, const struct bad_insert *bad, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_refused(conn, &bad[i]);
	}
}

#define ALL(list) (list), sizeof(list) / sizeof((list)[0])
#define JOB "target, set_clause"
#define GOOD "'victim', 'n = 1'"

/* ---- the job itself */

static void test_pieces(void **state)
{
#define NO_SET                                                                 \
	"22023", "a job of kind \"update\" needs a set_clause", "",            \
		"Write what follows SET, such as $$ phone = '' $$."
#define NO_TARGET                                                              \
	"22023", "a job needs a target", "",                                   \
		"Name a table in column \"target\"."
#define NO_WHERE                                                               \
	"22023", "where_clause is empty", "",                                  \
		"Leave it NULL to change all rows."
#define KINDS                                                                  \
	"Available values: update, delete, add_column, drop_column, "          \
	"add_check,"                                                           \
	" add_foreign_key, validate_constraint, set_not_null, create_index,"   \
	" drop_index, reindex, ddl."
#define BAD_KEYS                                                               \
	"22023", "key_columns must name columns", "",                          \
		"Leave it NULL to walk the primary key."
	static const struct bad_insert bad[] = {
		{ "kind, " JOB, "'delte', " GOOD, "22023",
			"unknown kind \"delte\"", "", KINDS },
		{ "target", "'victim'", NO_SET },
		{ JOB, "'victim', ''", NO_SET },
		{ JOB, "'victim', E' \\t\\n\\r'", NO_SET },
		{ JOB, "NULL, 'n = 1'", NO_TARGET },
		{ JOB, "' ', 'n = 1'", NO_TARGET },
		{ JOB, "'\"victim', 'n = 1'", "42602", "invalid name syntax",
			"", "" },
		{ JOB, "'a.b.c.d', 'n = 1'", "42601",
			"improper relation name (too many dotted names):"
			" a.b.c.d",
			"", "" },
		{ JOB, "'other.public.victim', 'n = 1'", "0A000",
			"cross-database references are not implemented:"
			" \"other.public.victim\"",
			"", "" },
		{ JOB, "'closed.t', 'n = 1'", "42501",
			"permission denied for schema closed", "", "" },
		{ JOB, "'temporary', 'n = 1'", "42809",
			"\"temporary\" is a temporary table",
			"The daemon's session cannot see it.", "" },
		{ JOB ", where_clause", GOOD ", ''", NO_WHERE },
		{ JOB ", where_clause", GOOD ", E' \\n'", NO_WHERE },
		{ JOB ", key_columns", GOOD ", '{}'", BAD_KEYS },
		{ JOB ", key_columns", GOOD ", '{id,NULL}'", BAD_KEYS },
		{ "name, " JOB, "'', " GOOD, "22023", "name is empty", "",
			"Leave it NULL for a default." },
		{ "name, " JOB, "'42', " GOOD, "22023",
			"name \"42\" is a number",
			"Commands take a job's id or its name.", "" },
	};

	(void)state;
	assert_all_refused(app, ALL(bad));
}

static void test_settings(void **state)
{
	static const struct bad_insert bad[] = {
#define RANGE(column, value, shown, range)                                     \
	{ JOB ", " column, GOOD ", " value, "22023",                           \
		column " " shown " is outside the valid range (" range ")",    \
		"", "" }
		RANGE("batch_rows", "0", "0", "1 .. 1000000"),
		RANGE("batch_rows", "1000001", "1000001", "1 .. 1000000"),
		RANGE("max_batch_rows", "0", "0", "1 .. 1000000"),
		RANGE("max_batch_rows", "1000001", "1000001", "1 .. 1000000"),
		RANGE("target_batch_time", "'9ms'", "00:00:00.009",
			"00:00:00.01 .. 00:01:00"),
		RANGE("target_batch_time", "'61s'", "00:01:01",
			"00:00:00.01 .. 00:01:00"),
		RANGE("lock_timeout", "'9ms'", "00:00:00.009",
			"00:00:00.01 .. 00:00:10"),
		RANGE("lock_timeout", "'10.001s'", "00:00:10.001",
			"00:00:00.01 .. 00:00:10"),
		RANGE("statement_timeout", "'99ms'", "00:00:00.099",
			"00:00:00.1 .. 01:00:00"),
		RANGE("statement_timeout", "'01:00:01'", "01:00:01",
			"00:00:00.1 .. 01:00:00"),
		{ JOB ", batch_rows, max_batch_rows", GOOD ", 11, 10", "22023",
			"batch_rows 11 is greater than max_batch_rows 10", "",
			"" },
		{ JOB ", synchronous_commit", GOOD ", 'maybe'", "22023",
			"invalid synchronous_commit \"maybe\"", "",
			"Available values: off, local, remote_write, on,"
			" remote_apply." },
	};

	(void)state;
	assert_all_refused(app, ALL(bad));
}

static void test_what_only_the_system_writes(void **state)
{
	static const struct {
		const char *column, *value;
	} columns[] = {
		{ "state", "'succeeded'" },
		{ "reason", "'x'" },
		{ "error_sqlstate", "'00000'" },
		{ "submitted_by", "'postgres'" },
		{ "submitted_at", "now()" },
		{ "started_at", "now()" },
		{ "finished_at", "now()" },
		{ "target_oid", "1259" },
		{ "search_path", "'pg_catalog'" },
		{ "timezone", "'UTC'" },
		{ "datestyle", "'ISO'" },
	};
	struct sql_failure failure;

	(void)state;
	for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
		sql_fails(app, &failure,
			"INSERT INTO backfill.jobs (%s, target, set_clause)"
			" VALUES (%s, 'victim', 'n = 1')",
			columns[i].column, columns[i].value);
		assert_string_equal(failure.sqlstate, "42501");
		assert_string_equal(
			failure.message, "permission denied for table jobs");
	}
	sql_fails(app, &failure,
		"INSERT INTO backfill.jobs (id, target, set_clause)"
		" OVERRIDING SYSTEM VALUE VALUES (7, 'victim', 'n = 1')");
	assert_string_equal(failure.sqlstate, "42501");
	assert_string_equal(
		failure.message, "permission denied for table jobs");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 0);
}

/* ---- run_as */

#define BEYOND_TABLES                                                          \
	"The role has rights beyond tables: REPLICATION, or membership in"     \
	" backfill_daemon, backfill_owner, pg_execute_server_program,"         \
	" pg_read_server_files or pg_write_server_files."
#define SUPERUSER                                                              \
	"42501", "a job cannot run as superuser \"postgres\"",                 \
		"A job has the rights of its run_as, and nothing bounds those" \
		" of a superuser."

static void test_run_as_of_a_superuser(void **state)
{
	static const struct bad_insert bad[] = {
		{ JOB, GOOD, SUPERUSER,
			"Name another role in run_as, such as the table's owner"
			" \"app\"." },
		{ JOB, "'by_postgres', 'n = 1'", SUPERUSER,
			"Name another role in run_as." },
		{ JOB ", run_as", GOOD ", 'nosuch'", "42704",
			"role \"nosuch\" does not exist", "", "" },
	};

	(void)state;
	assert_all_refused(db, ALL(bad));
	assert_refused(app, &bad[2]);
}

static void test_run_as_of_others(void **state)
{
	static const struct bad_insert bad[] = {
		{ JOB ", run_as", GOOD ", 'postgres'", SUPERUSER,
			"Name another role in run_as, such as the table's owner"
			" \"app\"." },
		{ JOB ", run_as", GOOD ", 'stranger'", "42501",
			"role \"manager\" may not submit a job that runs as"
			" \"stranger\"",
			"", "Name a role that \"manager\" is a member of." },
		{ JOB ", run_as", GOOD ", 'nobody_logs_in'", "42501",
			"role \"nobody_logs_in\" is not permitted to log in",
			"A job's batches run on a connection that logs in as"
			" its run_as.",
			"Name a role with LOGIN." },
		{ JOB ", run_as", GOOD ", 'replicator'", "42501",
			"a job cannot run as \"replicator\"", BEYOND_TABLES,
			"Name another role in run_as." },
		{ JOB ", run_as", GOOD ", 'file_writer'", "42501",
			"a job cannot run as \"file_writer\"", BEYOND_TABLES,
			"Name another role in run_as." },
		{ JOB ", run_as", GOOD ", 'backfilld'", "42501",
			"a job cannot run as \"backfilld\"", BEYOND_TABLES,
			"Name another role in run_as." },
		{ JOB ", run_as", GOOD ", 'outsider'", "42501",
			"role \"outsider\" may not use backfill", "",
			"GRANT backfill_submit TO outsider;" },
	};
	PGconn *manager = cluster_connect(cluster, "shop", "manager");

	(void)state;
	assert_all_refused(manager, ALL(bad));
	PQfinish(manager);
}

static void test_who_may_not_submit_at_all(void **state)
{
	static const struct bad_insert bad = { JOB, GOOD, "42501",
		"permission denied for schema backfill", "", "" };
	PGconn *outsider = cluster_connect(cluster, "shop", "outsider");

	(void)state;
	assert_refused(outsider, &bad);
	PQfinish(outsider);
}

/* ---- names, and changes afterwards */

static void test_a_name_is_taken_once(void **state)
{
	struct sql_failure failure;

	(void)state;
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, " JOB ") VALUES"
		" ('one', " GOOD ")");
	sql_fails(app, &failure,
		"INSERT INTO backfill.jobs (name, " JOB ") VALUES"
		" ('one', " GOOD ")");
	assert_string_equal(failure.sqlstate, "23505");
	assert_string_equal(failure.message,
		"duplicate key value violates unique constraint"
		" \"jobs_name_key\"");
	/* Row-level security: the server tells no values. */
	assert_string_equal(failure.detail, "");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, " JOB ") VALUES"
		" ('one', 'victim', 'n = 2') ON CONFLICT (name) DO NOTHING");
	assert_string_equal(sql_text(db,
				    "SELECT string_agg(set_clause, ',')"
				    " FROM backfill.jobs WHERE name = 'one'"),
		"n = 1");
}

static void test_updates_are_bounded_too(void **state)
{
	static const char *const refused[] = { "state = 'succeeded'",
		"set_clause = 'n = 2'", "where_clause = 'true'",
		"target = 'other'", "run_as = 'app'", "name = 'two'",
		"reason = NULL", "target_oid = 1259" };
	struct sql_failure failure;

	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		sql_fails(app, &failure, "UPDATE backfill.jobs SET %s",
			refused[i]);
		assert_string_equal(failure.sqlstate, "42501");
		assert_string_equal(
			failure.message, "permission denied for table jobs");
	}
	sql_fails(app, &failure,
		"UPDATE backfill.jobs SET lock_timeout = '1min'"
		" WHERE name = 'one'");
	assert_string_equal(failure.sqlstate, "22023");
	assert_string_equal(failure.message,
		"lock_timeout 00:01:00 is outside the valid range"
		" (00:00:00.01 .. 00:00:10)");
	sql_fails(app, NULL, "DELETE FROM backfill.jobs");
	sql_fails(app, NULL, "TRUNCATE backfill.jobs");
	assert_true(sql_true(db,
		"SELECT lock_timeout IS NULL AND state = 'queued'"
		" FROM backfill.jobs WHERE name = 'one'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_what_only_the_system_writes),
		cmocka_unit_test(test_run_as_of_a_superuser),
		cmocka_unit_test(test_run_as_of_others),
		cmocka_unit_test(test_who_may_not_submit_at_all),
		cmocka_unit_test(test_a_name_is_taken_once),
		cmocka_unit_test(test_updates_are_bounded_too),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
