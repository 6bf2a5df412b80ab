/* test_ctl_check_old.c: backfillctl check and what has been there for hours.
 * The server's clock is libfaketime's, which a file sets forward. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl_check_lines.h"

static const char LIBRARY[] = "/usr/lib/*/faketime/libfaketime.so.1";

static char clock_path[] = "/tmp/backfill-clock-XXXXXX";
static PGconn *shop; /* as postgres */

static void set_clock(const char *offset)
{
	FILE *file = fopen(clock_path, "w");

	assert_non_null(file);
	assert_true(fputs(offset, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Only the server: our own programs keep the true time. */
static void start_server(const char *library)
{
	int fd = mkstemp(clock_path);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0644), 0);
	assert_int_equal(close(fd), 0);
	set_clock("+0h");
	assert_int_equal(setenv("LD_PRELOAD", library, 1), 0);
	assert_int_equal(setenv("FAKETIME_TIMESTAMP_FILE", clock_path, 1), 0);
	assert_int_equal(setenv("FAKETIME_NO_CACHE", "1", 1), 0);
	assert_int_equal(setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1), 0);
	cluster = cluster_start();
	assert_int_equal(unsetenv("LD_PRELOAD"), 0);
}

static int start_cluster(void **state)
{
	glob_t found;

	(void)state;
	if (glob(LIBRARY, 0, NULL, &found) == 0) {
		start_server(found.gl_pathv[0]);
		globfree(&found);
		backfill_install(cluster, "shop");
		shop = cluster_connect(cluster, "shop", "postgres");
	}
	return 0;
}

static int stop_cluster(void **state)
{
	(void)state;
	PQfinish(shop);
	cluster_stop(cluster);
	(void)unlink(clock_path);
	return 0;
}

static int need_library(void **state)
{
	(void)state;
	if (cluster == NULL) {
		printf("skip: libfaketime (package faketime) is not here\n");
		skip();
	}
	set_clock("+0h");
	return 0;
}

static void test_prepared_transaction(void **state)
{
	(void)state;
	sql_exec(shop,
		"BEGIN; CREATE TABLE t ();"
		"PREPARE TRANSACTION 'it''s mine'");
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells("ok    prepared transactions: none older than 1h");

	set_clock("+2h");
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells_with("warn  prepared transaction: 'it''s mine' of \"postgres\" is"
		   " 2h00m old: a job on a table that it wrote waits for it",
		"COMMIT PREPARED 'it''s mine'; -- or ROLLBACK PREPARED");
	tells_not("ok    prepared*");
	sql_exec(shop, "ROLLBACK PREPARED 'it''s mine'");
}

static void test_oldest_snapshot(void **state)
{
	PGconn *reader = cluster_connect(cluster, "shop", "app");
	char line[256], mend[128];

	(void)state;
	sql_exec(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
	(void)snprintf(line, sizeof line,
		"ok    oldest snapshot: * transactions and *s old (pid %d,"
		" role \"app\")",
		PQbackendPID(reader));
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells(line);

	set_clock("+2h");
	(void)snprintf(line, sizeof line,
		"warn  oldest snapshot: * transactions and 2h00m old (pid %d,"
		" role \"app\"): VACUUM cannot remove what jobs leave behind",
		PQbackendPID(reader));
	(void)snprintf(mend, sizeof mend, "SELECT pg_terminate_backend(%d);",
		PQbackendPID(reader));
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	mends(shop, line, mend);
	sql_wait(shop, 30,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE pid = %d)",
		PQbackendPID(reader));
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells_not("warn  oldest*");
	PQfinish(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_prepared_transaction, need_library),
		cmocka_unit_test_setup(test_oldest_snapshot, need_library),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
