/* test_ctl_check.c: backfillctl check by a connection: the server, the
 * schema and the logins, each right and wrong. What it prints as SQL is run
 * as it stands, and mends. */
#include <stdlib.h>

#include "ctl_check_lines.h"
#include "store/scripts.h"

enum { WAIT_SECONDS = 30, CROWD = 96 };

static PGconn *shop; /* as postgres */

static int start_cluster(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	shop = cluster_connect(cluster, "shop", "postgres");
	sql_exec(shop, "CREATE ROLE low LOGIN");
	return 0;
}

static int stop_cluster(void **state)
{
	(void)state;
	PQfinish(shop);
	cluster_stop(cluster);
	return 0;
}

/* ---- all of it */

static void test_all_is_fine(void **state)
{
	struct daemon *d = daemon_start(cluster, "shop", NULL);

	(void)state;
	daemon_wait_log(d, "-> serving", WAIT_SECONDS);
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells("ok    server: PostgreSQL *");
	tells("ok    libpq: *.*");
	tells("ok    deadlock_timeout: 1s, longer than lock_timeout 500 ms of"
	      " batches");
	tells("ok    connections: * of 97 used, a daemon needs 4");
	tells("ok    prepared transactions: none older than 1h");
	tells("ok    oldest snapshot: *");
	tells("ok    schema: version *");
	tells("ok    roles: backfill_owner, backfill_daemon, backfill_submit,"
	      " backfill_admin");
	tells("ok    daemon: *, pid *, version *, for *s");
	tells("ok    stop_all: not in force");
	tells("ok    control login \"backfilld\": may log in, and is no"
	      " superuser");
	tells("ok    control login \"backfilld\": is a member of"
	      " backfill_daemon, pg_monitor, pg_signal_backend");
	tells("ok    runner login \"app\": may log in, and run jobs");
	tells("ok    standbys: none is expected, none is seen");
	tells("14 ok, 0 warnings, 0 to mend");
	tells_not("warn*");
	tells_not("FAIL*");
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

/* Whoever checks, what it cannot see is not told as fine. */
static void test_what_cannot_be_seen_is_unknown(void **state)
{
	(void)state;
	assert_int_equal(CTL("-U", "low", "check"), 0);
	tells_with("warn  oldest snapshot: unknown: needs pg_monitor",
		"GRANT pg_monitor TO low; -- or check as a role that has it");
	tells("warn  schema: unknown: needs pg_monitor");
	tells_not("*schema: version*");
	tells_not("*stop_all*");
	tells_not("*daemon: *");
}

/* ---- the server */

static void test_deadlock_timeout(void **state)
{
	(void)state;
	sql_exec(shop, "ALTER DATABASE shop SET deadlock_timeout = '500ms'");
	assert_int_equal(CTL("check"), 0);
	tells_with("warn  deadlock_timeout: 500ms, not longer than lock_timeout"
		   " 500 ms of batches",
		"ALTER SYSTEM SET deadlock_timeout = '1s';"
		" SELECT pg_reload_conf();");
	sql_exec(shop, "ALTER DATABASE shop RESET deadlock_timeout");
}

static void test_connections(void **state)
{
	PGconn *crowd[CROWD];

	(void)state;
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = cluster_connect(cluster, "shop", "postgres");
	}
	assert_int_equal(CTL("check"), 3);
	tells_with("FAIL  connections: * of 97 used, a daemon needs 4",
		"Raise max_connections (ALTER SYSTEM, restart), or end"
		" connections.");
	for (int i = 0; i < CROWD; i++) {
		PQfinish(crowd[i]);
	}
}

/* ---- the schema */

static void test_schema_version(void **state)
{
	int newest = scripts[scripts_count - 1].version;
	char line[128];

	(void)state;
	sql_exec(shop,
		"INSERT INTO backfill.schema_version (version, script)"
		" VALUES (9999, 'future')");
	assert_int_equal(CTL("check"), 3);
	(void)snprintf(line, sizeof line,
		"FAIL  schema: version 9999, this program needs %d", newest);
	tells_with(line,
		"Use the backfillctl and the backfilld of the newer release.");

	sql_exec(shop,
		"DELETE FROM backfill.schema_version WHERE version IN"
		" (9999, %d)",
		newest);
	assert_int_equal(CTL("check"), 3);
	(void)snprintf(line, sizeof line,
		"FAIL  schema: version %d, this program needs %d", newest - 1,
		newest);
	tells_with(line, "backfillctl -d shop install");
	assert_int_equal(CTL("install"), 0);
	assert_int_equal(CTL("check"), 0);
}

static void test_no_schema(void **state)
{
	(void)state;
	assert_int_equal(
		program_run(cluster, output, sizeof output, "backfillctl", "-d",
			"postgres", "check", NULL),
		3);
	tells_with("FAIL  schema: not installed",
		"backfillctl -d postgres install");
}

static void test_owner_is_no_login(void **state)
{
	(void)state;
	sql_exec(shop, "ALTER ROLE backfill_owner LOGIN");
	assert_int_equal(CTL("check"), 3);
	mends(shop, "FAIL  roles: backfill_owner may log in or is a superuser",
		"ALTER ROLE backfill_owner NOLOGIN NOSUPERUSER;");
	assert_int_equal(CTL("check"), 0);
}

static void test_nobody_serves(void **state)
{
	(void)state;
	sql_exec(shop,
		"INSERT INTO backfill.daemons (host, pid, version, lease,"
		" lease_until) VALUES ('gone', 1, '1', '1s', now())");
	assert_int_equal(CTL("check"), 0);
	tells_with("warn  daemon: none serves this database",
		"systemctl start backfilld");
	tells_not("*gone*");
}

static void test_stop_all(void **state)
{
	(void)state;
	sql_exec(shop, "SELECT backfill.stop_all('incident 4711')");
	assert_int_equal(CTL("check"), 0);
	mends(shop,
		"warn  stop_all: in force for *s, by postgres: incident 4711",
		"SELECT backfill.start_all();");
	assert_int_equal(CTL("check"), 0);
	tells("ok    stop_all: not in force");
}

/* ---- the control login */

static void test_control_login(void **state)
{
	static const char *const broken[][3] = {
		{ "", "does not exist",
			"CREATE ROLE \"Odd one\" LOGIN; GRANT backfill_daemon,"
			" pg_monitor, pg_signal_backend TO \"Odd one\";" },
		{ "ALTER ROLE \"Odd one\" NOLOGIN", "may not log in",
			"ALTER ROLE \"Odd one\" LOGIN;" },
		{ "ALTER ROLE \"Odd one\" SUPERUSER", "is a superuser",
			"ALTER ROLE \"Odd one\" NOSUPERUSER;" },
		{ "ALTER ROLE \"Odd one\" CONNECTION LIMIT 0",
			"its connection limit is too small",
			"ALTER ROLE \"Odd one\" CONNECTION LIMIT 1;" },
		{ "REVOKE CONNECT ON DATABASE shop FROM PUBLIC",
			"may not connect to this database",
			"GRANT CONNECT ON DATABASE shop TO \"Odd one\";" },
		{ "REVOKE pg_monitor FROM \"Odd one\"",
			"lacks membership in pg_monitor",
			"GRANT pg_monitor TO \"Odd one\";" },
		{ "REVOKE pg_signal_backend, backfill_daemon"
		  " FROM \"Odd one\"",
			"lacks membership in backfill_daemon,"
			" pg_signal_backend",
			"GRANT backfill_daemon, pg_signal_backend TO"
			" \"Odd one\";" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		char line[256];

		sql_exec(shop, "%s", broken[i][0]);
		(void)CTL("check", "--control=Odd one");
		(void)snprintf(line, sizeof line,
			"FAIL  control login \"Odd one\": %s", broken[i][1]);
		mends(shop, line, broken[i][2]);
		(void)CTL("check", "--control=Odd one");
		tells("ok    control login \"Odd one\": may log in, and is no"
		      " superuser");
		tells("ok    control login \"Odd one\": is a member of"
		      " backfill_daemon, pg_monitor, pg_signal_backend");
		tells_not("FAIL  control login*");
	}
	sql_exec(shop,
		"GRANT CONNECT ON DATABASE shop TO PUBLIC;"
		"REVOKE CONNECT ON DATABASE shop FROM \"Odd one\";"
		"DROP ROLE \"Odd one\"");
}

/* Seen from itself too: it may look at its own memberships. */
static void test_control_login_checks_itself(void **state)
{
	(void)state;
	sql_exec(shop,
		"CREATE ROLE stiff LOGIN NOINHERIT;"
		"GRANT backfill_daemon, pg_monitor, pg_signal_backend"
		" TO stiff; GRANT pg_monitor TO low");
	assert_int_equal(CTL("-U", "stiff", "check", "--control=stiff"), 3);
	tells("warn  oldest snapshot: unknown: needs pg_monitor");
	assert_int_equal(CTL("-U", "low", "check", "--control=stiff"), 3);
	mends(shop,
		"FAIL  control login \"stiff\": does not inherit"
		" backfill_daemon, pg_monitor, pg_signal_backend",
		"ALTER ROLE stiff INHERIT;");
	assert_int_equal(CTL("-U", "stiff", "check", "--control=stiff"), 0);
	tells("ok    control login \"stiff\": is a member of backfill_daemon,"
	      " pg_monitor, pg_signal_backend");
	sql_exec(shop, "DROP ROLE stiff; REVOKE pg_monitor FROM low");
}

/* ---- the runner logins */

static void test_runner_login(void **state)
{
	static const char *const broken[][3] = {
		{ "", "does not exist",
			"CREATE ROLE \"Odd one\" LOGIN;"
			" GRANT backfill_submit TO \"Odd one\";" },
		{ "ALTER ROLE \"Odd one\" NOLOGIN", "may not log in",
			"ALTER ROLE \"Odd one\" LOGIN;" },
		{ "ALTER ROLE \"Odd one\" CONNECTION LIMIT 1",
			"its connection limit is too small",
			"ALTER ROLE \"Odd one\" CONNECTION LIMIT 2;" },
		{ "REVOKE CONNECT ON DATABASE shop FROM PUBLIC",
			"may not connect to this database",
			"GRANT CONNECT ON DATABASE shop TO \"Odd one\";" },
		{ "REVOKE backfill_submit FROM \"Odd one\"",
			"lacks membership in backfill_submit",
			"GRANT backfill_submit TO \"Odd one\";" },
		{ "ALTER ROLE \"Odd one\" NOINHERIT",
			"does not inherit backfill_submit",
			"ALTER ROLE \"Odd one\" INHERIT;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		char line[256];

		sql_exec(shop, "%s", broken[i][0]);
		(void)CTL("check", "--runner=app", "--runner=Odd one");
		(void)snprintf(line, sizeof line,
			"FAIL  runner login \"Odd one\": %s", broken[i][1]);
		mends(shop, line, broken[i][2]);
		(void)CTL("check", "--runner=app", "--runner=Odd one");
		tells("ok    runner login \"Odd one\": may log in, and run"
		      " jobs");
		tells_not("FAIL  runner login \"Odd*");
	}
	sql_exec(shop,
		"GRANT CONNECT ON DATABASE shop TO PUBLIC;"
		"REVOKE CONNECT ON DATABASE shop FROM \"Odd one\";"
		"DROP ROLE \"Odd one\"");
}

/* No job may run as one of these, but they may submit: only a role that is
 * named is one that must be mended. */
static void test_runner_with_rights_beyond_tables(void **state)
{
	static const char *const roles[][2] = {
		{ "ALTER ROLE strong REPLICATION", "REPLICATION" },
		{ "ALTER ROLE strong NOREPLICATION;"
		  "GRANT pg_read_server_files, backfill_daemon TO strong",
			"backfill_daemon, pg_read_server_files" },
		{ "ALTER ROLE strong SUPERUSER", "SUPERUSER" },
	};

	(void)state;
	sql_exec(shop, "CREATE ROLE strong LOGIN IN ROLE backfill_submit");
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		char line[256];

		sql_exec(shop, "%s", roles[i][0]);
		(void)snprintf(line, sizeof line,
			"FAIL  runner login \"strong\": no job may run as it:"
			" it has %s",
			roles[i][1]);
		assert_int_equal(CTL("check", "--runner=strong"), 3);
		tells_with(line, "Run jobs as a role that has less.");
		memcpy(line, "warn", 4);
		assert_int_equal(CTL("check"), 0);
		if (strcmp(roles[i][1], "SUPERUSER") != 0) {
			tells(line);
		}
		tells("ok    runner login \"app\": may log in, and run jobs");
	}
	sql_exec(shop, "DROP ROLE strong");
}

static void test_nobody_may_submit(void **state)
{
	(void)state;
	sql_exec(shop, "REVOKE backfill_submit FROM app");
	assert_int_equal(CTL("check"), 0);
	mends(shop,
		"warn  runner logins: no login is a member of"
		" backfill_submit",
		"GRANT backfill_submit TO app;");
	assert_int_equal(CTL("check"), 0);
	tells("ok    runner login \"app\": may log in, and run jobs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_fine),
		cmocka_unit_test(test_what_cannot_be_seen_is_unknown),
		cmocka_unit_test(test_deadlock_timeout),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_schema_version),
		cmocka_unit_test(test_no_schema),
		cmocka_unit_test(test_owner_is_no_login),
		cmocka_unit_test(test_nobody_serves),
		cmocka_unit_test(test_stop_all),
		cmocka_unit_test(test_control_login),
		cmocka_unit_test(test_control_login_checks_itself),
		cmocka_unit_test(test_runner_login),
		cmocka_unit_test(test_runner_with_rights_beyond_tables),
		cmocka_unit_test(test_nobody_may_submit),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
