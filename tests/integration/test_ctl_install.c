/* test_ctl_install.c: backfillctl install. */
#include "ctl_shop.h"

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
		"-- pg_hba.conf, above its other lines, when the daemon runs"
		" on the server's host as user backfilld:\n"
		"--   local  shop  backfilld  peer map=backfilld\n"
		"--   local  shop  app  peer map=backfilld\n"
		"--   and a line for every other role that jobs run as\n"
		"-- pg_ident.conf:\n"
		"--   backfilld  backfilld  backfilld\n"
		"--   backfilld  backfilld  app\n"
		"-- Then reload the server, start the daemon and, as user"
		" backfilld:\n"
		"--   backfillctl check -c /etc/backfilld/backfilld.yaml\n",
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
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
