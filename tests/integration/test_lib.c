/* The tests' own library. What must fail, or die, does it in a child: this
 * program again with the name of a case. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "cluster.h"
#include "daemon.h"
#include "pgdata.h"
#include "sql.h"
#include "wait.h"

enum { OUTPUT_BYTES = 65536 };

static struct cluster *cluster;
static PGconn *conn;
static char output[OUTPUT_BYTES];

/* The programs that a daemon test starts, until it says otherwise. */
static const char fake_daemon[] = "#!/bin/sh\n"
				  "trap 'echo leaving; exit 3' TERM\n"
				  "echo started with $1\n"
				  "cat \"$2\"\n"
				  "while :; do sleep 0.01; done\n";

static void write_program(const char *name, const char *text)
{
	char dir[PATH_MAX / 2], path[PATH_MAX];
	FILE *file;

	(void)snprintf(dir, sizeof dir, "%s/build", cluster_dir(cluster));
	(void)mkdir(dir, 0755);
	(void)setenv("BACKFILL_BUILD_DIR", dir, 1);
	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_return_code(chmod(path, 0755), errno);

	/* What a daemon of root's runs is a copy of this. */
	(void)snprintf(path, sizeof path, "%s/%s", cluster_dir(cluster), name);
	(void)unlink(path);
}

/* ---- what fails, in a child */

static void fails_on_success(void **state)
{
	(void)state;
	sql_fails(conn, NULL, "SELECT 1");
}

static void exec_of_an_error(void **state)
{
	(void)state;
	sql_exec(conn, "SELECT 1; SELECT 1 / %d; SELECT 2", 0);
}

static void int_of_a_text(void **state)
{
	(void)state;
	(void)sql_int(conn, "SELECT '12x'");
}

static void int_of_two_rows(void **state)
{
	(void)state;
	(void)sql_int(conn, "SELECT generate_series(1, 2)");
}

static void async_of_an_error(void **state)
{
	(void)state;
	sql_async(conn, "SELECT nothing");
	sql_async_wait(conn);
}

static void wait_for_no_row(void **state)
{
	(void)state;
	sql_wait(conn, 0, "SELECT true WHERE false");
}

static void sanitizer_report(void **state)
{
	(void)state;
	write_program(
		"backfilld", "#!/bin/sh\necho 'x.c:1: runtime error: shift'\n");
	daemon_wait_log(daemon_start_yaml(cluster, ""), "shift", 10);
	cluster_stop(cluster);
}

static void crashed_daemon(void **state)
{
	struct daemon *d;

	(void)state;
	write_program("backfilld", "#!/bin/sh\necho so; kill -SEGV $$\n");
	d = daemon_start_yaml(cluster, "");
	for (uint64_t end = wait_deadline(10); daemon_alive(d);) {
		assert_true(wait_again(end));
	}
	daemon_free(d);
}

static void silent_daemon(void **state)
{
	(void)state;
	write_program("backfilld", "#!/bin/sh\necho other\n");
	daemon_wait_log(daemon_start_yaml(cluster, ""), "expected", 60);
}

/* No function of the server's makes one, so it is written by hand. */
static void panic_in_log(void **state)
{
	char path[PATH_MAX];
	FILE *file;

	(void)state;
	(void)snprintf(
		path, sizeof path, "%s/server.log", cluster_dir(cluster));
	file = fopen(path, "ae");
	assert_non_null(file);
	fputs("12:00 [1] PANIC:  could not write\n", file);
	fclose(file);
}

static void fails_itself(void **state)
{
	(void)state;
	fail();
}

static void starts_daemon(void)
{
	write_program("backfilld", fake_daemon);
	daemon_wait_log(daemon_start_yaml(cluster, ""), "started with -c", 10);
}

static void aborts(void **state)
{
	const struct rlimit no_core = { 0, 0 };

	(void)state;
	starts_daemon();
	(void)setrlimit(RLIMIT_CORE, &no_core);
	abort();
}

static void is_killed(void **state)
{
	(void)state;
	starts_daemon();
	(void)kill(getpid(), SIGKILL);
}

static void stops_nothing(void **state)
{
	(void)state;
	starts_daemon();
}

static const struct {
	const char *name;
	void (*function)(void **state);
	int code;	    /* 1: a test failed */
	const char *output; /* has this */
} cases[] = {
	{ "fails_on_success", fails_on_success, 1, "SQL: SELECT 1\n" },
	{ "exec_of_an_error", exec_of_an_error, 1,
		"division by zero\n\nSQL: SELECT 1; SELECT 1 / 0; SELECT 2" },
	{ "int_of_a_text", int_of_a_text, 1, "an integer was expected: 12x" },
	{ "int_of_two_rows", int_of_two_rows, 1,
		"one value was expected: 2 rows of 1 columns" },
	{ "async_of_an_error", async_of_an_error, 1,
		"column \"nothing\" does not exist" },
	{ "wait_for_no_row", wait_for_no_row, 1,
		"id=7  name=seven  state=queued  reason=NULL" },
	{ "sanitizer_report", sanitizer_report, 1,
		"x.c:1: runtime error: shift" },
	{ "crashed_daemon", crashed_daemon, 1,
		"the daemon's log tells of faults" },
	{ "silent_daemon", silent_daemon, 1,
		"the daemon ended without logging \"expected\"" },
	{ "panic_in_log", panic_in_log, 1, "PANIC:  could not write" },
	{ "fails_itself", fails_itself, 1, "/server.log\n" },
	{ "aborts", aborts, 128 + SIGABRT, "/daemon-1.log\n" },
	{ "is_killed", is_killed, 128 + SIGKILL, "/server.log\n" },
	{ "stops_nothing", stops_nothing, 0, "[  PASSED  ] 1 test" },
};

static int start_for_case(void **state)
{
	(void)state;
	cluster = cluster_start();
	conn = cluster_connect(cluster, "postgres", "postgres");
	sql_exec(conn,
		"CREATE SCHEMA backfill; "
		"CREATE TABLE backfill.jobs (id int, name text, state text, "
		"reason text, error_sqlstate text, error_message text, "
		"error_detail text, error_hint text); "
		"INSERT INTO backfill.jobs (id, name, state) "
		"VALUES (7, 'seven', 'queued')");
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

/* ---- and nothing is left */

/* As a subreaper this program inherits whatever its children leave, so that
 * no child means no process at all. */
static void wait_until_childless(void)
{
	uint64_t deadline = wait_deadline(60);

	while (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) {
		if (!wait_again(deadline)) {
			fail_msg("a process is left");
		}
	}
}

/* What is written after its death, by the keeper, counts. */
static int run_in_child(const char *name, const char *tmpdir)
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
	int code = 0;

	assert_true(child_wait(child_start(&child), wait_deadline(60), &code));
	wait_until_childless();
	rewind(file);
	output[fread(output, 1, sizeof output - 1, file)] = '\0';
	fclose(file);
	return code;
}

static void test_failures_in_children(void **state)
{
	char dir[] = "/tmp/backfill-lib-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_return_code(chmod(dir, 0755), errno);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int code = run_in_child(cases[i].name, dir);

		if (code != cases[i].code ||
			strstr(output, cases[i].output) == NULL) {
			fprintf(stderr, "%s\n", output);
			fail_msg("%s ended with %d, expected %d and: %s",
				cases[i].name, code, cases[i].code,
				cases[i].output);
		}
	}
	/* Fails unless it is empty. */
	assert_return_code(rmdir(dir), errno);
}

/* ---- one cluster for the rest */

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	conn = cluster_connect(cluster, "postgres", "postgres");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(conn);
	cluster_stop(cluster);
	return 0;
}

static void reconnect(void)
{
	PQfinish(conn);
	conn = cluster_connect(cluster, "postgres", "postgres");
}

static void test_settings(void **state)
{
	static const char *const settings[][2] = {
		{ "listen_addresses", "" },
		{ "fsync", "off" },
		{ "max_connections", "100" },
		{ "max_prepared_transactions", "10" },
		{ "log_statement", "all" },
		{ "unix_socket_directories", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		const char *expected = settings[i][1];

		assert_string_equal(sql_text(conn, "SHOW %s", settings[i][0]),
			expected != NULL ? expected : cluster_dir(cluster));
	}
	assert_string_equal(cluster_conninfo(cluster, "shop", NULL) +
			strlen("host=") + strlen(cluster_dir(cluster)),
		" port=5432 dbname=shop");
	assert_ptr_equal(cluster_conninfo(cluster, "shop", "app"),
		cluster_conninfo(cluster, "shop", "app"));
}

static void test_restart_and_crash(void **state)
{
	(void)state;
	sql_exec(conn, "CREATE TABLE kept (n int)");
	cluster_restart(cluster);
	reconnect();
	sql_exec(conn, "INSERT INTO kept VALUES (1)");
	cluster_crash(cluster);
	reconnect();
	assert_int_equal(sql_int(conn, "SELECT count(*) FROM kept"), 1);
	/* Brackets: the log has this statement too. */
	assert_int_equal(sql_int(conn,
				 "SELECT count(*) FROM regexp_matches("
				 "pg_read_file('../server.log'), "
				 "'was not properly shut [d]own', 'g')"),
		1);
}

static void test_sql_values(void **state)
{
	const char *first = sql_text(conn, "SELECT 'first'");

	(void)state;
	for (int i = 0; i < 15; i++) {
		(void)sql_text(conn, "SELECT %d", i);
	}
	assert_string_equal(first, "first");
	assert_string_equal(sql_text(conn, "SELECT NULL"), "(null)");
	assert_true(sql_int(conn, "SELECT %s", "-9223372036854775808") ==
		INT64_MIN);
	assert_true(sql_true(conn, "SELECT 'a%%' LIKE 'a%%'"));
	assert_false(sql_true(conn, "SELECT NULL::boolean"));
}

static void test_sql_fails(void **state)
{
	struct sql_failure failure;

	(void)state;
	sql_fails(conn, &failure,
		"DO $$BEGIN RAISE 'no' USING ERRCODE = 'BF001', "
		"DETAIL = 'd', HINT = 'h'; END$$");
	assert_string_equal(failure.sqlstate, "BF001");
	assert_string_equal(failure.message, "no");
	assert_string_equal(failure.detail, "d");
	assert_string_equal(failure.hint, "h");
	sql_fails(conn, &failure, "SELECT pg_terminate_backend(%d)",
		PQbackendPID(conn));
	assert_string_equal(failure.sqlstate, "57P01");
	reconnect();
}

static void test_sql_async(void **state)
{
	PGconn *other = cluster_connect(cluster, "postgres", "postgres");
	struct sql_failure failure;

	(void)state;
	sql_exec(conn, "SELECT pg_advisory_lock(1)");
	sql_async(other, "SELECT pg_advisory_lock(1)");
	sql_wait(conn, 10,
		"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
	sql_exec(conn, "SELECT pg_advisory_unlock(1)");
	sql_async_wait(other);
	sql_async(conn, "SELECT pg_advisory_lock(1)");
	sql_wait(other, 10,
		"SELECT pg_cancel_backend(pid) FROM pg_locks "
		"WHERE NOT granted");
	sql_async_fails(conn, &failure);
	assert_string_equal(failure.sqlstate, "57014");
	PQfinish(other);
}

static void test_daemon(void **state)
{
	struct daemon *d;
	struct stat st;
	char path[64];

	(void)state;
	write_program("backfilld", fake_daemon);
	d = daemon_start(cluster, "shop", NULL);
	daemon_wait_log(d, "batch: {}", 10);
	assert_non_null(
		strstr(daemon_log(d), "dbname=shop user=backfilld\"\n"));
	assert_non_null(strstr(daemon_log(d), "port=5432 dbname=shop\"\n"));
	(void)snprintf(path, sizeof path, "/proc/%d", (int)daemon_pid(d));
	assert_return_code(stat(path, &st), errno);
	assert_int_equal(st.st_uid, cluster_run_as(cluster));

	daemon_kill(d);
	assert_false(daemon_alive(d));
	assert_int_equal(stat(path, &st), -1);

	daemon_restart(d);
	daemon_wait_log(d, "batch: {}", 10);
	assert_true(daemon_alive(d));
	assert_int_equal(daemon_stop(d), 3);
	assert_int_equal(daemon_pid(d), 0);
	daemon_wait_log(d, "leaving", 0);
	assert_non_null(
		strstr(strstr(daemon_log(d), "started") + 1, "started"));
	daemon_free(d);
}

static void test_wrapper(void **state)
{
	struct daemon *d;

	(void)state;
	write_program("backfilld", "#!/bin/sh\necho $WRAPPED\n");
	(void)setenv("BACKFILL_WRAPPER", "env  WRAPPED=so", 1);
	d = daemon_start(cluster, "shop", "pace: {}\n");
	(void)unsetenv("BACKFILL_WRAPPER");
	daemon_wait_log(d, "so\n", 10);
	daemon_free(d);
}

/* An installer that makes as much as the logins need. */
static void test_install(void **state)
{
	char psql[512], script[2048];

	(void)state;
	pgdata_program(psql, sizeof psql, "psql");
	(void)snprintf(script, sizeof script,
		"#!/bin/sh\n"
		"[ \"$1 $2\" = 'install -d' ] || exit 1\n"
		"%s -qXAt -v ON_ERROR_STOP=1 -d \"$3\" <<'END'\n"
		"SELECT format('CREATE ROLE %%I', r)\n"
		"FROM unnest(array['backfill_daemon', 'backfill_submit']) r\n"
		"WHERE to_regrole(r) IS NULL \\gexec\n"
		"CREATE SCHEMA backfill;\n"
		"END\n",
		psql);
	write_program("backfillctl", script);
	backfill_install(cluster, "shop");
	backfill_install(cluster, "postgres");
	assert_true(sql_true(conn,
		"SELECT pg_has_role('backfilld', 'pg_monitor', 'member') "
		"AND pg_has_role('app', 'backfill_submit', 'member')"));
	PQfinish(cluster_connect(cluster, "shop", "app"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(test_failures_in_children),
	};
	const struct CMUnitTest with_cluster[] = {
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_restart_and_crash),
		cmocka_unit_test(test_sql_values),
		cmocka_unit_test(test_sql_fails),
		cmocka_unit_test(test_sql_async),
		cmocka_unit_test(test_daemon),
		cmocka_unit_test(test_wrapper),
		cmocka_unit_test(test_install),
	};

	if (argc > 1) {
		return run_case(argv[1]);
	}
	return cmocka_run_group_tests(alone, NULL, NULL) +
		cmocka_run_group_tests(with_cluster, start, stop);
}
