/* test_ctl_install.c: backfillctl install and uninstall. Each test has a
 * database "shop" of its own in one cluster, with these logins: app owns a
 * table, dba has CREATEROLE and owns the database in some tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "child.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "pgdata.h"
#include "sql.h"
#include "store/scripts.h"

enum { OUTPUT_BYTES = 1 << 18 };

#define CTL(...)                                                               \
	program_run(cluster, output, sizeof output, "backfillctl", "-d",       \
		"shop", __VA_ARGS__, NULL)

static struct cluster *cluster;
static char output[OUTPUT_BYTES];
static PGconn *server; /* as postgres, database postgres */
static PGconn *shop;   /* as postgres, database shop */

static int start_cluster(void **state)
{
	(void)state;
	cluster = cluster_start();
	server = cluster_connect(cluster, "postgres", "postgres");
	sql_exec(server, "SET client_min_messages = warning");
	return 0;
}

static int stop_cluster(void **state)
{
	(void)state;
	PQfinish(server);
	cluster_stop(cluster);
	return 0;
}

static int create_shop(void **state)
{
	(void)state;
	sql_exec(server, "CREATE ROLE app LOGIN");
	sql_exec(server, "CREATE ROLE dba LOGIN CREATEROLE");
	sql_exec(server, "CREATE DATABASE shop");
	shop = cluster_connect(cluster, "shop", "postgres");
	sql_exec(shop,
		"SET client_min_messages = warning;"
		"CREATE TABLE users (id bigint PRIMARY KEY);"
		"ALTER TABLE users OWNER TO app");
	return 0;
}

static int drop_shop(void **state)
{
	static const char *const roles[] = { "backfill_admin",
		"backfill_submit", "backfill_daemon", "backfill_owner",
		"backfilld", "app", "dba", "\"App 2\"" };

	(void)state;
	PQfinish(shop);
	sql_exec(server, "DROP DATABASE IF EXISTS other WITH (FORCE)");
	sql_exec(server, "DROP DATABASE shop WITH (FORCE)");
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		sql_exec(server, "DROP ROLE IF EXISTS %s", roles[i]);
	}
	return 0;
}

/* ---- helpers */

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* In a shell with the server's programs in its path, and ours in $BUILD. */
static int shell(const char *format, ...)
{
	char command[1024], path[512];
	const char *const env[] = { "PGHOST", cluster_dir(cluster), "PGPORT",
		cluster_port(cluster), "PGUSER", "postgres", "PGDATABASE",
		"shop", "PATH", path, "BUILD", pgdata_build_dir(), "DIR",
		cluster_dir(cluster), NULL };
	char *const argv[] = { "/bin/sh", "-c", command, NULL };
	struct child child = { .argv = argv, .env = env, .output = -1 };
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof command, format, args);
	va_end(args);
	(void)snprintf(path, sizeof path, "%s", getenv("PATH"));
	return child_run(&child, output, sizeof output);
}

/* All that the catalogs say of roles and of the database; the caller frees
 * it. Newer pg_dumps frame it with a random \restrict key. */
static char *dump(void)
{
	char dumpall[256], dumpdb[256];

	pgdata_program(dumpall, sizeof dumpall, "pg_dumpall");
	pgdata_program(dumpdb, sizeof dumpdb, "pg_dump");
	assert_int_equal(shell("{ %s --globals-only && %s -s -C; }"
			       " | grep -v restrict",
				 dumpall, dumpdb),
		0);
	assert_non_null(strstr(output, "CREATE TABLE public.users"));
	assert_non_null(strstr(output, "CREATE ROLE app"));
	assert_true(strlen(output) + 1 < sizeof output);
	return mem_strdup(output);
}

static void assert_dump_is(char *wanted)
{
	char *found = dump();

	if (strcmp(found, wanted) != 0) {
		fprintf(stderr, "---- wanted\n%s---- found\n%s", wanted, found);
		fail_msg("the catalogs differ");
	}
	free(found);
}

static void assert_output(const char *wanted)
{
	if (strcmp(output, wanted) != 0) {
		fprintf(stderr, "---- wanted\n%s---- found\n%s", wanted,
			output);
		fail_msg("the output differs");
	}
}

static void assert_has(const char *part)
{
	if (strstr(output, part) == NULL) {
		fprintf(stderr, "---- wanted\n%s\n---- in\n%s", part, output);
		fail_msg("the output lacks a part");
	}
}

static void assert_lacks(const char *part)
{
	if (strstr(output, part) != NULL) {
		fprintf(stderr, "---- not wanted\n%s\n---- in\n%s", part,
			output);
		fail_msg("the output has a part");
	}
}

static int newest(void)
{
	return scripts[scripts_count - 1].version;
}

static void assert_installed(void)
{
	assert_int_equal(sql_int(shop,
				 "SELECT max(version)"
				 " FROM backfill.schema_version"),
		newest());
	assert_int_equal(
		sql_int(shop, "SELECT count(*) FROM backfill.schema_version"),
		(int64_t)scripts_count);
}

static void own_by_dba(void)
{
	sql_exec(shop, "ALTER DATABASE shop OWNER TO dba");
}

static const char *add_running_job(void)
{
	sql_exec(shop,
		"GRANT backfill_submit TO app;"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" run_as) VALUES ('one', 'users', 'id = id', 'app');"
		"UPDATE backfill.jobs SET state = 'running'");
	return sql_text(shop, "SELECT id FROM backfill.jobs");
}

/* ---- install */

static void test_install_prints_what_remains(void **state)
{
	char wanted[1024];

	(void)state;
	assert_int_equal(CTL("install"), 0);
	(void)snprintf(wanted, sizeof wanted,
		"-- backfill is installed in database \"shop\" (schema version"
		" %d)\n"
		"CREATE ROLE backfilld LOGIN; GRANT backfill_daemon,"
		" pg_monitor, pg_signal_backend TO backfilld;\n"
		"-- Owners of tables who submit jobs, or whom jobs run as:\n"
		"-- GRANT backfill_submit TO app;\n"
		"-- pg_hba.conf, when the daemon runs on the server's host as"
		" user backfilld:\n"
		"--   local  shop  backfilld  peer map=backfilld\n"
		"--   local  shop  app  peer map=backfilld\n"
		"--   and a line for every other role that jobs run as\n"
		"-- pg_ident.conf:\n"
		"--   backfilld  backfilld  backfilld\n"
		"--   backfilld  backfilld  app\n",
		newest());
	assert_output(wanted);
	assert_installed();
}

static void test_what_remains_can_be_run(void **state)
{
	char psql[256];

	(void)state;
	pgdata_program(psql, sizeof psql, "psql");
	assert_int_equal(shell("$BUILD/backfillctl install | %s -qX"
			       " -v ON_ERROR_STOP=1",
				 psql),
		0);
	assert_output("");
	assert_true(sql_true(shop,
		"SELECT rolcanlogin AND"
		" pg_has_role(oid, 'backfill_daemon',"
		" 'USAGE') FROM pg_roles"
		" WHERE rolname = 'backfilld'"));
}

static void test_install_again_is_up_to_date(void **state)
{
	char wanted[128];
	char *before;

	(void)state;
	assert_int_equal(CTL("install"), 0);
	sql_exec(shop,
		"CREATE ROLE backfilld LOGIN;"
		"GRANT backfill_daemon, pg_monitor, pg_signal_backend"
		" TO backfilld; GRANT backfill_submit TO app");
	before = dump();
	assert_int_equal(CTL("install"), 0);
	(void)snprintf(wanted, sizeof wanted,
		"-- backfill is up to date in database \"shop\" (schema"
		" version %d)\n-- pg_hba.conf",
		newest());
	assert_has(wanted);
	assert_lacks("GRANT");
	assert_dump_is(before);
	free(before);
}

static void test_only_what_is_missing_remains(void **state)
{
	(void)state;
	sql_exec(shop,
		"CREATE ROLE backfilld; CREATE ROLE \"App 2\" LOGIN;"
		"CREATE TABLE t2 (); ALTER TABLE t2 OWNER TO \"App 2\";"
		"GRANT pg_monitor TO backfilld;"
		"REVOKE CONNECT ON DATABASE shop FROM PUBLIC");
	assert_int_equal(CTL("install"), 0);
	assert_has("\nALTER ROLE backfilld LOGIN;\n"
		   "GRANT backfill_daemon, pg_signal_backend TO backfilld;\n"
		   "GRANT CONNECT ON DATABASE shop TO backfilld;\n");
	assert_has("-- GRANT backfill_submit TO \"App 2\";\n");
	assert_has("--   local  shop  \"App 2\"  peer map=backfilld\n");
	assert_lacks("CREATE ROLE");
}

/* Nor does it end a comment: the lines after it would be run. */
static void test_hostile_role_is_inert(void **state)
{
	(void)state;
	sql_exec(shop,
		"CREATE ROLE \"App 2\" LOGIN;"
		"ALTER ROLE \"App 2\" RENAME TO"
		" \"x\033[1m\nDROP TABLE users; \";"
		"ALTER TABLE users OWNER TO"
		" \"x\033[1m\nDROP TABLE users; \"");
	(void)CTL("install");
	sql_exec(shop,
		"ALTER ROLE \"x\033[1m\nDROP TABLE users; \""
		" RENAME TO \"App 2\"");
	assert_has("\n-- GRANT backfill_submit TO \"x?[1m DROP TABLE users;"
		   " \";\n");
	assert_lacks("\nDROP");
	assert_lacks("\x1b");
}

static void test_print_is_what_install_does(void **state)
{
	char psql[256];
	char *installed, *before = dump();

	(void)state;
	pgdata_program(psql, sizeof psql, "psql");
	own_by_dba();
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	installed = dump();
	assert_int_equal(CTL("-U", "dba", "uninstall"), 0);

	/* Without a connection: PGHOST leads nowhere. */
	assert_int_equal(shell("PGHOST=/nowhere $BUILD/backfillctl install"
			       " --print > $DIR/all.sql && %s -qX -U dba"
			       " -v ON_ERROR_STOP=1 -f $DIR/all.sql",
				 psql),
		0);
	assert_output("");
	assert_dump_is(installed);
	assert_installed();
	free(installed);
	free(before);
}

static void test_install_twice_at_once(void **state)
{
	(void)state;
	assert_int_equal(shell("$BUILD/backfillctl install > $DIR/a & one=$!;"
			       "$BUILD/backfillctl install > $DIR/b & two=$!;"
			       "wait $one && wait $two && cat $DIR/a $DIR/b"),
		0);
	assert_has("-- backfill is installed in");
	assert_has("-- backfill is up to date in");
	assert_installed();
}

/* As after a release that brought the last script. */
static void test_older_schema_is_upgraded(void **state)
{
	const struct script *last = &scripts[scripts_count - 1];
	char *before;

	(void)state;
	own_by_dba();
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	before = dump();
	sql_exec(shop, "%s", last->down);
	sql_exec(shop, "DELETE FROM backfill.schema_version WHERE version = %d",
		last->version);
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	assert_has("-- backfill is installed in");
	assert_dump_is(before);
	assert_installed();
	free(before);
}

static void test_newer_schema_is_refused(void **state)
{
	char wanted[256];

	(void)state;
	assert_int_equal(CTL("install"), 0);
	sql_exec(shop,
		"INSERT INTO backfill.schema_version (version, script)"
		" VALUES (9999, 'future')");
	(void)snprintf(wanted, sizeof wanted,
		"backfillctl: error: schema version 9999 of database \"shop\""
		" is newer than this program's, %d\n"
		"HINT:  Use a newer backfillctl.\n",
		newest());
	assert_int_equal(CTL("install"), 1);
	assert_output(wanted);
	assert_int_equal(CTL("uninstall"), 1);
	assert_output(wanted);
}

static void test_install_needs_rights(void **state)
{
	char *before = dump();

	(void)state;
	assert_int_equal(CTL("-U", "dba", "install"), 1);
	assert_output(
		"backfillctl: error: role \"dba\" may not install backfill in"
		" database \"shop\"\n"
		"DETAIL:  This takes a superuser, or a role with CREATEROLE"
		" that owns the database.\n"
		"HINT:  ALTER ROLE dba CREATEROLE; ALTER DATABASE shop OWNER"
		" TO dba;\n");
	assert_dump_is(before);
	free(before);
}

static void test_foreign_schema_is_left_alone(void **state)
{
	char *before;

	(void)state;
	sql_exec(shop,
		"CREATE SCHEMA backfill AUTHORIZATION app;"
		"CREATE TABLE backfill.schema_version (version int);"
		"INSERT INTO backfill.schema_version VALUES (7)");
	before = dump();
	assert_int_equal(CTL("install"), 3);
	assert_output("backfillctl: error: 42P06: script 001_schema: schema"
		      " \"backfill\" already exists and is not ours\n"
		      "HINT:  Rename it, or install into another database.\n");
	assert_dump_is(before);
	assert_int_equal(CTL("uninstall"), 1);
	assert_output("backfillctl: error: backfill is not installed in"
		      " database \"shop\"\n");
	assert_dump_is(before);
	free(before);
}

/* ---- uninstall */

static void test_uninstall_leaves_nothing(void **state)
{
	char *before = dump();

	(void)state;
	assert_int_equal(CTL("install"), 0);
	assert_int_equal(CTL("uninstall"), 0);
	assert_output("backfill is removed from database \"shop\"\n");
	assert_dump_is(before);
	assert_int_equal(CTL("uninstall"), 1);
	free(before);
}

static void test_owner_of_the_database_may_do_both(void **state)
{
	char *before;

	(void)state;
	own_by_dba();
	before = dump();
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	assert_installed();
	assert_false(sql_true(
		shop, "SELECT pg_has_role('dba', 'backfill_owner', 'MEMBER')"));
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	assert_has("-- backfill is up to date in");
	assert_false(sql_true(
		shop, "SELECT pg_has_role('dba', 'backfill_owner', 'MEMBER')"));
	assert_int_equal(CTL("-U", "dba", "uninstall"), 0);
	assert_dump_is(before);
	free(before);
}

static void test_uninstall_spares_running_jobs(void **state)
{
	char wanted[256];
	char *before;

	(void)state;
	assert_int_equal(CTL("install"), 0);
	(void)snprintf(wanted, sizeof wanted,
		"backfillctl: error: 1 job is running in database \"shop\"\n"
		"DETAIL:  #%s one\n"
		"HINT:  Pause or cancel them, or uninstall with --force: what"
		" was changed stays changed.\n",
		add_running_job());
	before = dump();
	assert_int_equal(CTL("uninstall"), 3);
	assert_output(wanted);
	assert_dump_is(before);
	assert_int_equal(CTL("uninstall", "--force"), 0);
	assert_false(sql_true(shop,
		"SELECT EXISTS (SELECT FROM pg_namespace"
		" WHERE nspname = 'backfill')"));
	free(before);
}

static void test_uninstall_names_a_dependent_view(void **state)
{
	char *before;

	(void)state;
	assert_int_equal(CTL("install"), 0);
	sql_exec(shop, "CREATE VIEW mine AS SELECT * FROM backfill.progress");
	before = dump();
	assert_int_equal(CTL("uninstall"), 3);
	assert_output("backfillctl: error: 2BP01: cannot drop view"
		      " backfill.progress because other objects depend on it\n"
		      "DETAIL:  view public.mine depends on view"
		      " backfill.progress\n"
		      "HINT:  Drop what depends on the schema first.\n");
	assert_dump_is(before);
	free(before);
}

static void test_roles_of_another_database_stay(void **state)
{
	(void)state;
	own_by_dba();
	sql_exec(server, "CREATE DATABASE other OWNER dba");
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	assert_int_equal(
		program_run(cluster, output, sizeof output, "backfillctl", "-d",
			"other", "-U", "dba", "install", NULL),
		0);
	assert_int_equal(CTL("-U", "dba", "uninstall"), 0);
	assert_output("backfill is removed from database \"shop\"\n"
		      "roles that are still used elsewhere stay:"
		      " backfill_admin, backfill_daemon, backfill_owner,"
		      " backfill_submit\n");
	assert_false(sql_true(
		shop, "SELECT pg_has_role('dba', 'backfill_owner', 'MEMBER')"));
	assert_int_equal(
		program_run(cluster, output, sizeof output, "backfillctl", "-d",
			"other", "-U", "dba", "uninstall", NULL),
		0);
	assert_output("backfill is removed from database \"other\"\n");
	assert_int_equal(sql_int(server,
				 "SELECT count(*) FROM pg_roles"
				 " WHERE rolname ~ '^backfill'"),
		0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, create_shop, drop_shop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_install_prints_what_remains),
		TEST(test_what_remains_can_be_run),
		TEST(test_install_again_is_up_to_date),
		TEST(test_only_what_is_missing_remains),
		TEST(test_hostile_role_is_inert),
		TEST(test_print_is_what_install_does),
		TEST(test_install_twice_at_once),
		TEST(test_older_schema_is_upgraded),
		TEST(test_newer_schema_is_refused),
		TEST(test_install_needs_rights),
		TEST(test_foreign_schema_is_left_alone),
		TEST(test_uninstall_leaves_nothing),
		TEST(test_owner_of_the_database_may_do_both),
		TEST(test_uninstall_spares_running_jobs),
		TEST(test_uninstall_names_a_dependent_view),
		TEST(test_roles_of_another_database_stay),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
