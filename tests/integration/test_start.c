/* test_start.c: how the daemon starts and ends: what a bad configuration or
 * a login that may not serve is told, and that nothing was started. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"
#include "wait.h"

enum { OUTPUT_BYTES = 8192 };

static struct cluster *cluster;
static PGconn *db;

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	db = cluster_connect(cluster, "shop", "postgres");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* Run "backfilld -c FILE" with this text, as whoever runs the tests; returns
 * the exit code. */
static int run_with(const char *yaml, char *output, const char *option)
{
	char path[4096];
	FILE *file;
	int rc;

	(void)snprintf(
		path, sizeof path, "%s/test_start.yaml", cluster_dir(cluster));
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(yaml, file) >= 0);
	assert_int_equal(fclose(file), 0);
	rc = program_run(cluster, output, OUTPUT_BYTES, "backfilld", "-c", path,
		option, NULL);
	(void)unlink(path);
	return rc;
}

static int daemons_seen(void)
{
	return (int)sql_int(db, "SELECT count(*) FROM backfill.daemons");
}

/* What stands before the first colon is the file's name. */
static void assert_told(const char *output, const char *expected)
{
	if (strstr(output, expected) == NULL) {
		fail_msg("not told: %s\nin: %s", expected, output);
	}
}

static void test_every_error_of_the_file_is_told(void **state)
{
	char output[OUTPUT_BYTES];
	int before = daemons_seen();

	(void)state;
	assert_int_equal(run_with("databases:\n"
				  "  - name: shop\n"
				  "    dsn: \"dbname=shop password=secret\"\n"
				  "    wrokers: 2\n"
				  "    expected_standbys: []\n"
				  "daemon:\n"
				  "  lease: 5m\n"
				  "batch:\n"
				  "  batch_rows: 0\n"
				  "  lock_timeout: 500\n",
				 output, NULL),
		1);
	assert_told(output, "test_start.yaml:4:5: ");
	assert_told(output, "wrokers");
	assert_told(output, "test_start.yaml:7:10: ");
	assert_told(output, "test_start.yaml:9:15: ");
	assert_told(output, "test_start.yaml:10:17: ");
	assert_null(strstr(output, "secret"));
	assert_null(strstr(output, "-> start"));
	assert_int_equal(daemons_seen(), before);
}

static void test_check_config(void **state)
{
	char output[OUTPUT_BYTES];
	char expected[OUTPUT_BYTES];

	(void)state;
	assert_int_equal(run_with("databases:\n"
				  "  - name: shop\n"
				  "    dsn: \"dbname=shop\"\n"
				  "    expected_standbys: []\n",
				 output, "--check-config"),
		0);
	(void)snprintf(expected, sizeof expected,
		"%s/test_start.yaml: the configuration is valid\n",
		cluster_dir(cluster));
	assert_string_equal(output, expected);
	assert_int_equal(
		run_with("databases: []\n", output, "--check-config"), 1);
}

static void refuses(const char *dbname, const char *user, const char *told)
{
	char yaml[OUTPUT_BYTES];
	char output[OUTPUT_BYTES];

	(void)snprintf(yaml, sizeof yaml,
		"databases:\n"
		"  - name: shop\n"
		"    dsn: \"%s\"\n"
		"    expected_standbys: []\n",
		cluster_conninfo(cluster, dbname, user));
	assert_int_equal(run_with(yaml, output, "--allow-root"), 1);
	assert_told(output, told);
}

#define NOT_INHERITED                                                          \
	"backfilld: error: database \"shop\": the control login \"stiff\""     \
	" does not inherit backfill_daemon, pg_monitor, pg_signal_backend\n"   \
	"DETAIL:  It is a member, but would have to SET ROLE, which the"       \
	" daemon does not.\n"

static void test_a_login_without_the_grants_is_refused(void **state)
{
	(void)state;
	sql_exec(db, "CREATE ROLE weak LOGIN");
	sql_exec(db, "GRANT backfill_daemon TO weak");
	refuses("shop", "weak",
		"backfilld: error: database \"shop\": the control login"
		" \"weak\" lacks membership in pg_monitor, pg_signal_backend\n"
		"DETAIL:  It needs all three: backfill_daemon for the queue,"
		" pg_monitor to see other backends, pg_signal_backend to end a"
		" dead owner's.\n"
		"HINT:  GRANT pg_monitor, pg_signal_backend TO weak;\n");
}

static void test_a_login_without_pg_monitor_is_refused(void **state)
{
	(void)state;
	sql_exec(db,
		"CREATE ROLE \"Blind\" LOGIN;"
		"GRANT backfill_daemon, pg_signal_backend TO \"Blind\"");
	refuses("shop", "Blind",
		"backfilld: error: database \"shop\": the control login"
		" \"Blind\" lacks membership in pg_monitor\n"
		"DETAIL:  It needs all three: backfill_daemon for the queue,"
		" pg_monitor to see other backends, pg_signal_backend to end a"
		" dead owner's.\n"
		"HINT:  GRANT pg_monitor TO \"Blind\";\n");
}

/* The grants would not mend it. */
static void test_a_login_that_does_not_inherit_is_refused(void **state)
{
	(void)state;
	sql_exec(db,
		"CREATE ROLE stiff LOGIN NOINHERIT;"
		"GRANT backfill_daemon, pg_monitor, pg_signal_backend"
		" TO stiff");
	refuses("shop", "stiff",
		sql_true(db,
			"SELECT current_setting('server_version_num')::integer"
			" >= 160000")
			? NOT_INHERITED
			"HINT:  GRANT backfill_daemon, pg_monitor,"
			" pg_signal_backend TO stiff WITH INHERIT TRUE;\n"
			: NOT_INHERITED "HINT:  ALTER ROLE stiff INHERIT;\n");
}

/* Nothing was asked of the database by then. */
static void test_root_is_refused(void **state)
{
	char yaml[OUTPUT_BYTES];
	char output[OUTPUT_BYTES];
	int before = daemons_seen();

	(void)state;
	if (geteuid() != 0) {
		printf("skip: only root can see that root is refused\n");
		skip();
	}
	(void)snprintf(yaml, sizeof yaml,
		"databases:\n"
		"  - name: shop\n"
		"    dsn: \"%s\"\n"
		"    expected_standbys: []\n",
		cluster_conninfo(cluster, "shop", "backfilld"));
	assert_int_equal(run_with(yaml, output, NULL), 1);
	assert_string_equal(output,
		"backfilld: error: will not run as root\n"
		"DETAIL:  It makes connections and reads its files, for which"
		" any other user will do.\n"
		"HINT:  Start it as a user of its own, as backfilld.service"
		" does; where there is no other user, with --allow-root.\n");
	assert_int_equal(daemons_seen(), before);
}

static void test_a_superuser_is_refused(void **state)
{
	(void)state;
	refuses("shop", "postgres",
		"backfilld: error: database \"shop\": the control login"
		" \"postgres\" is a superuser\n");
}

static void test_a_database_without_the_schema_is_refused(void **state)
{
	(void)state;
	refuses("template1", "backfilld",
		"backfilld: error: database \"shop\": database \"template1\""
		" has no schema \"backfill\"\n"
		"HINT:  Run: backfillctl install -d template1\n");
}

static void test_another_schema_version_is_refused(void **state)
{
	(void)state;
	sql_exec(db,
		"INSERT INTO backfill.schema_version (version, script)"
		" VALUES (9999, 'from the future')");
	refuses("shop", "backfilld",
		"schema \"backfill\" has version 9999, this program needs ");
	sql_exec(db,
		"DELETE FROM backfill.schema_version"
		" WHERE version = 9999");
}

/* Somebody's lock is no reason not to serve. */
static void test_a_lock_is_waited_for(void **state)
{
	struct daemon *d;

	(void)state;
	sql_exec(db, "BEGIN; LOCK TABLE backfill.daemons");
	d = daemon_start(cluster, "shop", NULL);
	daemon_wait_log(d,
		" warning: t: login: 55P03: canceling statement due to lock "
		"timeout"
		" -> connect again\n",
		30);
	sql_exec(db, "COMMIT");
	daemon_wait_log(d, "-> serving", 30);
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

/* A signal ends an idle daemon with 0, and its lease with it. */
static void test_a_signal_ends_it(void **state)
{
	struct daemon *d = daemon_start(cluster, "shop", NULL);

	(void)state;
	daemon_wait_log(d, "-> serving", 30);
	assert_int_equal(daemon_stop(d), 0);
	assert_true(sql_true(db,
		"SELECT stopped_at IS NOT NULL"
		" AND lease_until <= clock_timestamp()"
		" FROM backfill.daemons ORDER BY incarnation DESC LIMIT 1"));
	daemon_free(d);
}

/* The first signal waits for the batch in flight, a second one does not;
 * what the batch did is undone by the server. */
static void test_a_second_signal_ends_it_at_once(void **state)
{
	struct daemon *d = daemon_start(cluster, "shop", NULL);

	(void)state;
	sql_exec(db,
		"CREATE TABLE slow (id int PRIMARY KEY, n int DEFAULT 0);"
		"ALTER TABLE slow OWNER TO app;"
		"INSERT INTO slow VALUES (1)");
	sql_exec(db,
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as)"
		" VALUES ('slow', 'slow',"
		" 'n = n + 1 + length(pg_sleep(600)::text)', 'app')");
	sql_wait(db, 30,
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE wait_event = 'PgSleep')");
	assert_int_equal(kill(daemon_pid(d), SIGTERM), 0);
	daemon_wait_log(d, "SIGTERM -> finish the batches in flight", 30);
	assert_true(daemon_alive(d));
	assert_int_equal(daemon_stop(d), 0);
	sql_wait(db, 30,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE wait_event = 'PgSleep')");
	assert_int_equal(sql_int(db, "SELECT n FROM slow"), 0);
	daemon_free(d);
	sql_exec(db, "SELECT backfill.cancel('slow')");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error_of_the_file_is_told),
		cmocka_unit_test(test_check_config),
		cmocka_unit_test(test_a_login_without_the_grants_is_refused),
		cmocka_unit_test(test_a_login_without_pg_monitor_is_refused),
		cmocka_unit_test(test_a_login_that_does_not_inherit_is_refused),
		cmocka_unit_test(test_root_is_refused),
		cmocka_unit_test(test_a_superuser_is_refused),
		cmocka_unit_test(test_a_database_without_the_schema_is_refused),
		cmocka_unit_test(test_another_schema_version_is_refused),
		cmocka_unit_test(test_a_lock_is_waited_for),
		cmocka_unit_test(test_a_signal_ends_it),
		cmocka_unit_test(test_a_second_signal_ends_it_at_once),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
