/* test_ctl_check_config.c: backfillctl check --config: by the connections
 * that the daemon will use, where pg_hba.conf and the connection strings
 * show what the catalogs do not. */
#include <stdio.h>
#include <unistd.h>

#include "ctl_check_lines.h"

static PGconn *shop; /* as postgres */
static char yaml_path[512];

static int start_cluster(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	shop = cluster_connect(cluster, "shop", "postgres");
	(void)snprintf(yaml_path, sizeof yaml_path, "%s/check.yaml",
		cluster_dir(cluster));
	return 0;
}

static int stop_cluster(void **state)
{
	(void)state;
	(void)unlink(yaml_path);
	PQfinish(shop);
	cluster_stop(cluster);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Check a configuration of one database, whose control login connects with
 * dsn and whose jobs with runner; more are its other lines. */
static int check(const char *dsn, const char *runner, const char *more)
{
	char yaml[4096];

	(void)snprintf(yaml, sizeof yaml,
		"databases:\n"
		"  - name: the_shop\n"
		"    dsn: \"%s\"\n"
		"    runner: \"%s\"\n"
		"    expected_standbys: []\n"
		"%s",
		dsn, runner, more);
	write_file(yaml_path, yaml);
	return program_run(cluster, output, sizeof output, "backfillctl",
		"check", "-c", yaml_path, NULL);
}

static const char *dsn(void)
{
	return cluster_conninfo(cluster, "shop", "backfilld");
}

static void test_both_logins_connect(void **state)
{
	(void)state;
	assert_int_equal(check(dsn(), "", ""), 0);
	tells("database \"the_shop\":");
	tells("ok    control login \"backfilld\": connects");
	tells("ok    control login \"backfilld\": is a member of *");
	tells("ok    runner login \"app\": may log in, and run jobs");
	tells("ok    runner login \"app\": connects to this database");
	tells("15 ok, 1 warning, 0 to mend");

	/* Without a user, which is added per job. */
	assert_int_equal(
		check(dsn(), cluster_conninfo(cluster, "shop", NULL), ""), 0);
	tells("ok    runner login \"app\": connects to this database");
}

/* The file's own numbers count. */
static void test_settings_of_the_file(void **state)
{
	(void)state;
	assert_int_equal(check(dsn(), "",
				 "    workers: 60\n"
				 "batch:\n"
				 "  lock_timeout: 2s\n"),
		0);
	tells("ok    connections: * of 97 used, a daemon needs 62");
	tells("warn  deadlock_timeout: 1s, not longer than lock_timeout 2000 ms"
	      " of batches");
}

static void test_pg_hba_refuses_the_runner(void **state)
{
	char hba[512];

	(void)state;
	(void)snprintf(
		hba, sizeof hba, "%s/data/pg_hba.conf", cluster_dir(cluster));
	write_file(hba,
		"local all postgres,backfilld trust\n"
		"local all nobody trust\n");
	sql_exec(shop, "SELECT pg_reload_conf()");
	sql_wait(shop, 30,
		"SELECT pg_conf_load_time() > now() - interval '1 minute'"
		" AND (SELECT count(*) = 2 FROM pg_hba_file_rules)");
	assert_int_equal(check(dsn(), "", ""), 3);
	tells("ok    control login \"backfilld\": connects");
	tells("ok    runner login \"app\": may log in, and run jobs");
	tells_with("FAIL  runner login \"app\": cannot connect: *: FATAL:  no"
		   " pg_hba.conf entry for host \"\\[local\\]\", user \"app\","
		   " database \"shop\", no encryption",
		"pg_hba.conf:  local  shop  app  peer map=backfilld");
	tells_not("*app\": connects*");

	/* Nobody else is user app here. */
	write_file(hba,
		"local all postgres,backfilld trust\n"
		"local all app peer map=backfilld\n");
	sql_exec(shop, "SELECT pg_reload_conf()");
	sql_wait(shop, 30,
		"SELECT EXISTS (SELECT FROM pg_hba_file_rules"
		" WHERE auth_method = 'peer')");
	assert_int_equal(check(dsn(), "", ""), 3);
	tells_with("FAIL  runner login \"app\": cannot connect: *: FATAL:  Peer"
		   " authentication failed for user \"app\"",
		"pg_ident.conf:  backfilld  OS-USER  app  (OS-USER is who runs"
		" backfilld, and should run this check)");

	write_file(hba,
		"local all postgres,backfilld trust\n"
		"local all app scram-sha-256\n");
	sql_exec(shop, "SELECT pg_reload_conf()");
	sql_wait(shop, 30,
		"SELECT EXISTS (SELECT FROM pg_hba_file_rules"
		" WHERE auth_method = 'scram-sha-256')");
	assert_int_equal(check(dsn(), "", ""), 3);
	tells_with("FAIL  runner login \"app\": cannot connect: *: fe_sendauth:"
		   " no password supplied",
		"password file:  localhost:*:shop:app:PASSWORD");

	write_file(hba, "local all all trust\n");
	sql_exec(shop, "SELECT pg_reload_conf()");
	sql_wait(shop, 30, "SELECT count(*) = 1 FROM pg_hba_file_rules");
	assert_int_equal(check(dsn(), "", ""), 0);
	tells("ok    runner login \"app\": connects to this database");
}

/* In another database the job would find tables of the same names. */
static void test_runner_of_another_database(void **state)
{
	(void)state;
	assert_int_equal(
		check(dsn(), cluster_conninfo(cluster, "postgres", NULL), ""),
		3);
	tells_with("FAIL  runner login \"app\": connects to another server or"
		   " database, or under another name",
		"Let \"runner\" and \"dsn\" of the configuration name the same"
		" server and database.");
}

static void test_the_control_login_cannot_connect(void **state)
{
	(void)state;
	assert_int_equal(
		check("host=/nowhere dbname=shop user=backfilld", "", ""), 3);
	tells("FAIL  control login \"backfilld\": cannot connect: connection to"
	      " server on socket \"/nowhere/.s.PGSQL.5432\" failed: *");
	tells("0 ok, 0 warnings, 1 to mend");

	assert_int_equal(check("host=x password='se cret", "", ""), 3);
	tells_with("FAIL  control login: its connection string could not be"
		   " parsed",
		"Check its keywords and its quoting. It is not shown here"
		" because it may hold a password.");
	assert_lacks("se cret");
}

/* A superuser as control login is told as the daemon would. */
static void test_a_superuser_as_control_login(void **state)
{
	(void)state;
	assert_int_equal(
		check(cluster_conninfo(cluster, "shop", "postgres"), "", ""),
		3);
	tells_with("FAIL  control login \"postgres\": is a superuser",
		"ALTER ROLE postgres NOSUPERUSER;");
}

static void test_every_database_is_checked(void **state)
{
	char yaml[4096];

	(void)state;
	(void)snprintf(yaml, sizeof yaml,
		"databases:\n"
		"  - {name: one, dsn: \"host=/nowhere\","
		" expected_standbys: []}\n"
		"  - {name: two, dsn: \"%s\", expected_standbys: []}\n",
		dsn());
	write_file(yaml_path, yaml);
	assert_int_equal(
		program_run(cluster, output, sizeof output, "backfillctl",
			"check", "--config", yaml_path, NULL),
		3);
	tells("database \"one\":");
	tells("FAIL  control login *");
	tells("database \"two\":");
	tells("ok    runner login \"app\": connects to this database");
}

static void test_usage(void **state)
{
	(void)state;
	assert_int_equal(CTL("check", "-c", "/nowhere"), 1);
	assert_output("backfillctl: error: --config does not go with -h, -p,"
		      " -U, -d, --control or --standby\n"
		      "DETAIL:  The file says how to connect, and what to"
		      " expect.\n");
	assert_int_equal(
		program_run(cluster, output, sizeof output, "backfillctl",
			"check", "-c", "/nowhere", NULL),
		1);
	assert_output("could not read configuration file \"/nowhere\": No such"
		      " file or directory\n");
	assert_int_equal(CTL("list", "--runner=app"), 1);
	assert_output("backfillctl: error: --runner is not an option of"
		      " \"list\"\n"
		      "HINT:  Try \"backfillctl --help\" for more"
		      " information.\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_logins_connect),
		cmocka_unit_test(test_settings_of_the_file),
		cmocka_unit_test(test_pg_hba_refuses_the_runner),
		cmocka_unit_test(test_runner_of_another_database),
		cmocka_unit_test(test_the_control_login_cannot_connect),
		cmocka_unit_test(test_a_superuser_as_control_login),
		cmocka_unit_test(test_every_database_is_checked),
		cmocka_unit_test(test_usage),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
