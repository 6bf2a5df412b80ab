/* test_lag_strange.c: connections under an expected name that are no standby
 * that replays: a receiver that stores WAL, a base backup, one that is still
 * catching up; and a server that does not tell us. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "cmocka_all.h"
#include "lag.h"
#include "pgdata.h"

static pid_t program; /* 0: none */

/* What a test that failed left running. */
static int clean(void **state)
{
	if (program != 0) {
		child_kill(program);
		program = 0;
	}
	return lag_clean(state);
}

static void wait_shown(const char *name, const char *condition)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_or(%s) FROM pg_stat_replication"
		" WHERE application_name = '%s'",
		condition, name);
}

/* ---- programs of PostgreSQL's */

/* name -D DIRECTORY -d CONNECTION and up to three arguments, as the server's
 * user, under an application_name. */
static void run_program(const char *name, const char *application_name,
	const char *const arguments[3])
{
	static int number;
	char path[PATH_MAX], to[PATH_MAX], from[PATH_MAX];
	char *const argv[] = { path, "-D", to, "-d", from, (char *)arguments[0],
		(char *)arguments[1], (char *)arguments[2], NULL };
	struct child child = {
		.argv = argv,
		.directory = cluster_dir(shop.cluster),
		.uid = cluster_run_as(shop.cluster),
		.output = open("/dev/null", O_WRONLY | O_CLOEXEC),
	};

	assert_true(child.output >= 0);
	pgdata_program(path, sizeof path, name);
	(void)snprintf(to, sizeof to, "%s/%s-%d", cluster_dir(shop.cluster),
		name, ++number);
	(void)snprintf(from, sizeof from, "%s application_name=%s",
		cluster_conninfo(shop.cluster, "postgres", "postgres"),
		application_name);
	assert_return_code(mkdir(to, 0777), errno);
	assert_return_code(
		chown(to, cluster_run_as(shop.cluster), (gid_t)-1), errno);
	program = child_start(&child);
	close(child.output);
}

/* It receives and keeps WAL, says so, and replays nothing. */
static void receives_only(
	const char *name, const char *application_name, const char *slot)
{
	const char *const arguments[3] = { "--no-loop", slot };
	char standbys[80];
	int64_t job;

	run_program("pg_receivewal", application_name, arguments);
	wait_shown(application_name,
		"state = 'streaming' AND write_lsn IS NOT NULL"
		" AND replay_lsn IS NULL");
	(void)snprintf(standbys, sizeof standbys,
		"expected_standbys: [standby1, %s]", name);
	(void)lag_daemon(standbys, LAG_DAEMON LAG_PACE);
	job = lag_submit(name);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason = format('held: replay lag of standby \"%%s\" is"
		" unknown: it tells no replay position -> goes on when it is"
		" known and below 1 s', '%s') FROM backfill.jobs"
		" WHERE id = %lld",
		name, (long long)job);
	lag_assert_still(job, 0);
}

static void test_receiver_by_application_name(void **state)
{
	(void)state;
	receives_only("archive1", "archive1", NULL);
}

static void test_receiver_by_slot(void **state)
{
	(void)state;
	sql_exec(shop.db,
		"SELECT pg_create_physical_replication_slot('archive2')");
	receives_only("archive2", "pg_receivewal", "--slot=archive2");
}

/* It takes longer than any test. */
static void start_backup(const char *application_name)
{
	static const char *const arguments[3] = { "-Xnone", "--max-rate=32",
		"--checkpoint=fast" };

	run_program("pg_basebackup", application_name, arguments);
	wait_shown(application_name, "state = 'backup'");
}

/* Under the standby's own name, beside it: the job minds the standby. */
static void test_backup_beside_the_standby(void **state)
{
	int64_t job;

	(void)state;
	start_backup("standby1");
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	job = lag_submit_at_gate("backed_up");
	cluster_pause_replay(lag_standby);
	lag_wait_signal("standby1", "value > limit_value");
	gate_open();
	lag_wait_held(job, LAG_ABOVE("standby1"));
	cluster_resume_replay(lag_standby);
	lag_finish("backed_up", job);
	wait_shown("standby1", "state = 'backup'");
}

static void test_backup_alone_is_no_standby(void **state)
{
	int64_t job;

	(void)state;
	start_backup("backup1");
	(void)lag_daemon(
		"expected_standbys: [standby1, backup1]", LAG_DAEMON LAG_PACE);
	job = lag_submit("backup_alone");
	lag_wait_held(job, LAG_UNKNOWN("backup1", "not connected"));
	lag_assert_still(job, 0);
	wait_shown("backup1", "state = 'backup'");
}

/* ---- one that catches up */

/* The message of a standby that tells how far it is (PostgreSQL docs, 55.4,
 * "Standby status update"). */
static void tell_position(PGconn *conn, uint64_t lsn)
{
	char message[34] = { 'r' };
	uint64_t position = htobe64(lsn);

	for (size_t i = 0; i < 3; i++) {
		memcpy(message + 1 + 8 * i, &position, sizeof position);
	}
	assert_int_equal(PQputCopyData(conn, message, sizeof message), 1);
	assert_int_equal(PQflush(conn), 0);
}

/* It asks for more WAL than fits the socket, tells that it replays, and reads
 * nothing: as a standby does that was away for long. */
static void test_catching_up(void **state)
{
	char conninfo[PATH_MAX];
	PGconn *receiver;
	PGresult *result;
	uint64_t lsn;
	int64_t job;

	(void)state;
	lsn = (uint64_t)sql_int(
		shop.db, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
	sql_exec(shop.app,
		"CREATE TABLE much AS SELECT repeat(md5(i::text), 30) AS pad"
		" FROM generate_series(1, 20000) AS i");
	(void)snprintf(conninfo, sizeof conninfo,
		"%s application_name=late1 replication=true",
		cluster_conninfo(shop.cluster, "postgres", "postgres"));
	receiver = PQconnectdb(conninfo);
	assert_int_equal(PQstatus(receiver), CONNECTION_OK);
	result = PQexec(receiver,
		sql_text(shop.db,
			"SELECT format('START_REPLICATION PHYSICAL %%s',"
			" '0/0'::pg_lsn + %llu)",
			(unsigned long long)lsn));
	assert_int_equal(PQresultStatus(result), PGRES_COPY_BOTH);
	PQclear(result);
	tell_position(receiver, lsn);
	wait_shown("late1", "state = 'catchup' AND replay_lsn IS NOT NULL");

	(void)lag_daemon(
		"expected_standbys: [standby1, late1]", LAG_DAEMON LAG_PACE);
	job = lag_submit("late");
	lag_wait_held(job, LAG_UNKNOWN("late1", "its state is catchup"));
	lag_assert_still(job, 0);
	wait_shown("late1", "state = 'catchup'");
	PQfinish(receiver);
	lag_wait_held(job, LAG_UNKNOWN("late1", "not connected"));
}

/* ---- a server that does not tell */

/* All columns of the view are NULL then, but for the name. */
static void test_privilege_is_lost(void **state)
{
	int64_t job;

	(void)state;
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	job = lag_submit_at_gate("blind");
	sql_exec(shop.db, "REVOKE pg_monitor FROM backfilld");
	lag_wait_signal("standby1", "value IS NULL");
	gate_open();
	lag_wait_held(job, LAG_UNKNOWN("standby1", ".*"));
	lag_assert_still(job, 3);
	sql_exec(shop.db, "GRANT pg_monitor TO backfilld");
	lag_finish("blind", job);
}

#define TEST(test) cmocka_unit_test_teardown(test, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_receiver_by_application_name),
		TEST(test_receiver_by_slot),
		TEST(test_backup_beside_the_standby),
		TEST(test_backup_alone_is_no_standby),
		TEST(test_catching_up),
		TEST(test_privilege_is_lost),
	};

	return cmocka_run_group_tests(tests, lag_start, lag_stop);
}
