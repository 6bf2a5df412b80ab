/* The standbys of the tests' own library. */
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "cluster.h"
#include "sql.h"
#include "wait.h"

static struct cluster *primary;
static PGconn *conn;

static int start(void **state)
{
	(void)state;
	primary = cluster_start();
	conn = cluster_connect(primary, "postgres", "postgres");
	sql_exec(conn, "CREATE TABLE kept (n int)");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(conn);
	cluster_stop(primary);
	return 0;
}

/* ---- one that streams */

static void test_standby_streams(void **state)
{
	struct cluster *standby = cluster_start_standby(primary, "one");
	struct sql_failure failure;
	PGconn *there;

	(void)state;
	assert_int_equal(sql_int(conn,
				 "SELECT count(*) FROM pg_stat_replication r"
				 " JOIN pg_replication_slots s"
				 " ON s.active_pid = r.pid"
				 " WHERE r.application_name = 'one' AND"
				 " s.slot_name = 'one'"),
		1);
	there = cluster_connect(standby, "postgres", "postgres");
	assert_string_not_equal(cluster_dir(standby), cluster_dir(primary));
	assert_string_equal(sql_text(there, "SHOW unix_socket_directories"),
		cluster_dir(standby));
	sql_exec(conn, "INSERT INTO kept VALUES (1)");
	cluster_catch_up(standby, primary);
	assert_int_equal(sql_int(there, "SELECT count(*) FROM kept"), 1);
	sql_fails(there, &failure, "INSERT INTO kept VALUES (2)");
	assert_string_equal(failure.sqlstate, "25006");
	PQfinish(there);

	cluster_restart(standby);
	sql_exec(conn, "INSERT INTO kept VALUES (2)");
	cluster_catch_up(standby, primary);
	cluster_stop(standby);

	/* Its slot is free for the next of the name. */
	standby = cluster_start_standby(primary, "one");
	there = cluster_connect(standby, "postgres", "postgres");
	assert_int_equal(sql_int(there, "SELECT count(*) FROM kept"), 2);
	PQfinish(there);
	cluster_stop(standby);
}

static void test_two_standbys(void **state)
{
	struct cluster *standbys[] = {
		cluster_start_standby(primary, "one"),
		cluster_start_standby(primary, "two"),
	};

	(void)state;
	assert_int_equal(
		sql_int(conn, "SELECT count(*) FROM pg_stat_replication"), 2);
	cluster_stop(standbys[0]);
	cluster_stop(standbys[1]);
}

/* ---- one that lags */

static int sees(PGconn *there, int n)
{
	return sql_true(
		there, "SELECT EXISTS (SELECT FROM kept WHERE n = %d)", n);
}

static void wait_sent(const char *name)
{
	sql_wait(conn, 60,
		"SELECT write_lsn >= '%s' FROM pg_stat_replication"
		" WHERE application_name = '%s'",
		sql_text(conn, "SELECT pg_current_wal_flush_lsn()"), name);
}

/* Each of the ways leaves the row unseen for as long as the test likes. */
static void test_standby_lags(void **state)
{
	struct cluster *standby = cluster_start_standby(primary, "slow");
	PGconn *there = cluster_connect(standby, "postgres", "postgres");
	pid_t receiver = cluster_walreceiver(standby);

	(void)state;
	cluster_pause_replay(standby);
	sql_exec(conn, "INSERT INTO kept VALUES (11)");
	wait_sent("slow");
	assert_false(sees(there, 11));
	cluster_resume_replay(standby);
	cluster_catch_up(standby, primary);
	assert_true(sees(there, 11));

	assert_int_equal(kill(receiver, SIGSTOP), 0);
	sql_exec(conn, "INSERT INTO kept VALUES (12)");
	assert_false(sees(there, 12));
	assert_int_equal(kill(receiver, SIGCONT), 0);
	cluster_catch_up(standby, primary);
	assert_true(sees(there, 12));

	cluster_delay_replay(standby, "10min");
	sql_wait(there, 60,
		"SELECT current_setting('recovery_min_apply_delay') ="
		" '10min'");
	sql_exec(conn, "INSERT INTO kept VALUES (13)");
	wait_sent("slow");
	assert_false(sees(there, 13));
	cluster_delay_replay(standby, "0");
	cluster_catch_up(standby, primary);
	assert_true(sees(there, 13));

	/* It stops, and comes again. */
	cluster_halt(standby);
	PQfinish(there);
	sql_wait(conn, 60,
		"SELECT NOT active FROM pg_replication_slots"
		" WHERE slot_name = 'slow'");
	cluster_crash(standby);
	assert_int_not_equal(cluster_walreceiver(standby), receiver);
	sql_exec(conn, "INSERT INTO kept VALUES (14)");
	cluster_catch_up(standby, primary);
	cluster_stop(standby);
}

/* ---- a failover */

/* What the standby had not received is lost with the primary. */
static void test_failover(void **state)
{
	struct cluster *standby = cluster_start_standby(primary, "next");
	PGconn *there;

	(void)state;
	sql_exec(conn, "TRUNCATE kept; INSERT INTO kept VALUES (1)");
	cluster_catch_up(standby, primary);
	cluster_cut_off(standby);
	sql_exec(conn, "INSERT INTO kept VALUES (2)");

	cluster_halt(primary);
	assert_int_equal(
		PQping(cluster_conninfo(primary, "postgres", "postgres")),
		PQPING_NO_RESPONSE);
	cluster_promote(standby);
	there = cluster_connect(standby, "postgres", "postgres");
	assert_string_equal(
		sql_text(there, "SELECT string_agg(n::text, ',') FROM kept"),
		"1");
	sql_exec(there, "INSERT INTO kept VALUES (3)");
	PQfinish(there);

	/* A primary like any other, and the old one can be had again. */
	cluster_crash(standby);
	there = cluster_connect(standby, "postgres", "postgres");
	assert_int_equal(sql_int(there, "SELECT count(*) FROM kept"), 2);
	PQfinish(there);
	cluster_crash(primary);
	PQfinish(conn);
	conn = cluster_connect(primary, "postgres", "postgres");
	assert_int_equal(sql_int(conn, "SELECT sum(n) FROM kept"), 3);
	cluster_stop(standby);
}

/* ---- what ends badly, in a child: this program with the name of a case */

static void bad_name(void **state)
{
	(void)state;
	(void)cluster_start_standby(primary, "Not a name of a slot");
}

static void is_killed(void **state)
{
	(void)state;
	(void)cluster_start_standby(primary, "one");
	(void)kill(getpid(), SIGKILL);
}

static void stops_nothing(void **state)
{
	(void)state;
	(void)cluster_start_standby(primary, "one");
	(void)cluster_start_standby(primary, "two");
}

static void stops_primary_first(void **state)
{
	struct cluster *standby = cluster_start_standby(primary, "one");

	(void)state;
	cluster_stop(primary);
	cluster_stop(standby);
}

static const struct {
	const char *name;
	void (*function)(void **state);
	int code;	    /* 1: a test failed */
	const char *output; /* has this */
} cases[] = {
	{ "bad_name", bad_name, 1, "pg_basebackup ended with 1" },
	{ "is_killed", is_killed, 128 + SIGKILL,
		"started streaming WAL from primary" },
	{ "stops_nothing", stops_nothing, 0, "[  PASSED  ] 1 test" },
	{ "stops_primary_first", stops_primary_first, 0,
		"[  PASSED  ] 1 test" },
};

static int start_for_case(void **state)
{
	(void)state;
	primary = cluster_start();
	return 0;
}

static int run_case(const char *name)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct CMUnitTest tests[] = {
			{ name, cases[i].function, NULL, NULL, NULL },
		};

		if (strcmp(cases[i].name, name) == 0) {
			return cmocka_run_group_tests(
				tests, start_for_case, NULL);
		}
	}
	return 127;
}

/* As a subreaper this program inherits whatever its children leave, so that
 * no child means no process at all. */
static int run_in_child(
	const char *name, const char *tmpdir, char *output, size_t size)
{
	const char *const env[] = { "TMPDIR", tmpdir, NULL };
	char *const argv[] = { "/proc/self/exe", (char *)name, NULL };
	FILE *file = tmpfile();
	struct child child = {
		.argv = argv,
		.env = env,
		.uid = geteuid(),
		.output = fileno(file),
	};
	uint64_t deadline = wait_deadline(60);
	int code = 0;

	assert_true(child_wait(child_start(&child), deadline, &code));
	while (waitpid(-1, NULL, WNOHANG) >= 0) {
		if (!wait_again(deadline)) {
			fail_msg("a process is left");
		}
	}
	rewind(file);
	output[fread(output, 1, size - 1, file)] = '\0';
	fclose(file);
	return code;
}

static void test_nothing_is_left(void **state)
{
	static char output[1 << 18];
	char dir[] = "/tmp/backfill-lib-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int code =
			run_in_child(cases[i].name, dir, output, sizeof output);

		if (code != cases[i].code ||
			strstr(output, cases[i].output) == NULL) {
			fprintf(stderr, "%s\n", output);
			fail_msg("%s ended with %d, expected %d and: %s",
				cases[i].name, code, cases[i].code,
				cases[i].output);
		}
	}
	/* Fails unless it is empty. */
	assert_int_equal(rmdir(dir), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(test_nothing_is_left),
	};
	const struct CMUnitTest with_cluster[] = {
		cmocka_unit_test(test_standby_streams),
		cmocka_unit_test(test_two_standbys),
		cmocka_unit_test(test_standby_lags),
		cmocka_unit_test(test_failover),
	};

	if (argc > 1) {
		return run_case(argv[1]);
	}
	return cmocka_run_group_tests(alone, NULL, NULL) +
		cmocka_run_group_tests(with_cluster, start, stop);
}
