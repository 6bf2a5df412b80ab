/* test_ctl_check_standby.c: backfillctl check and standbys: there, gone,
 * frozen, not replaying, never seen; and who may not see. What is not known
 * is never told as fine. */
#include <signal.h>

#include "child.h"
#include "ctl_check_lines.h"
#include "pgdata.h"

enum { WAIT_SECONDS = 60 };

static PGconn *shop; /* as postgres */

static int start_cluster(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	shop = cluster_connect(cluster, "shop", "postgres");
	return 0;
}

static int stop_cluster(void **state)
{
	(void)state;
	PQfinish(shop);
	cluster_stop(cluster);
	return 0;
}

/* One that has told where it is. */
static struct cluster *start_standby(void)
{
	struct cluster *standby = cluster_start_standby(cluster, "standby1");

	sql_wait(shop, WAIT_SECONDS,
		"SELECT replay_lsn IS NOT NULL AND reply_time IS NOT NULL"
		" FROM pg_stat_replication");
	return standby;
}

/* Its slot goes with it. */
static void stop_standby(struct cluster *standby)
{
	cluster_stop(standby);
	sql_wait(shop, WAIT_SECONDS,
		"SELECT NOT active FROM pg_replication_slots");
	sql_exec(shop, "SELECT pg_drop_replication_slot('standby1')");
}

static const char STREAMING[] =
	"ok    standby \"standby1\": streaming, * bytes behind, replay_lag *,"
	" last reply *s ago, slot \"standby1\"";
static const char DROP[] = "Start it. If it will not come back:"
			   " SELECT pg_drop_replication_slot('standby1');";

static void test_standby_there_and_stopped(void **state)
{
	struct cluster *standby = start_standby();

	(void)state;
	assert_int_equal(
		CTL("-U", "backfilld", "check", "--standby=standby1"), 0);
	tells(STREAMING);
	tells_not("*standbys: none*");
	/* Not expected, it is told all the same. */
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells(STREAMING);

	cluster_stop(standby);
	sql_wait(shop, WAIT_SECONDS,
		"SELECT NOT active FROM pg_replication_slots");
	assert_int_equal(
		CTL("-U", "backfilld", "check", "--standby=standby1"), 3);
	tells_with("FAIL  standby \"standby1\": not connected; its slot keeps"
		   " *B of WAL, wal_status reserved",
		DROP);
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells_with("warn  standby \"standby1\": not connected; its slot keeps"
		   " *B of WAL, wal_status reserved",
		DROP);
	sql_exec(shop, "SELECT pg_drop_replication_slot('standby1')");
}

/* By its application_name, with a slot of another name, and by that. */
static void test_by_either_name(void **state)
{
	struct cluster *standby = start_standby();
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");

	(void)state;
	sql_exec(conn,
		"ALTER SYSTEM SET primary_conninfo ="
		" '%s application_name=other'",
		cluster_conninfo(cluster, "postgres", "postgres"));
	sql_exec(conn, "SELECT pg_reload_conf()");
	sql_wait(shop, WAIT_SECONDS,
		"SELECT state = 'streaming' AND reply_time IS NOT NULL"
		" AND replay_lsn IS NOT NULL"
		" FROM pg_stat_replication WHERE application_name = 'other'");
	assert_int_equal(CTL("-U", "backfilld", "check", "--standby=other",
				 "--standby=standby1"),
		0);
	tells("ok    standby \"other\": streaming, *, slot \"standby1\"");
	tells("ok    standby \"standby1\": streaming, *, slot \"standby1\"");

	/* A slot that it does not use says nothing about it. */
	sql_exec(shop, "SELECT pg_create_physical_replication_slot('other')");
	assert_int_equal(CTL("-U", "backfilld", "check", "--standby=other"), 0);
	tells("ok    standby \"other\": streaming, *, slot \"standby1\"");
	tells_not("*not connected*");
	sql_exec(shop, "SELECT pg_drop_replication_slot('other')");
	PQfinish(conn);
	stop_standby(standby);
}

static void test_one_that_was_never_seen(void **state)
{
	(void)state;
	assert_int_equal(CTL("check", "--standby=it's, \"odd\""), 3);
	tells_with("FAIL  standby \"it's, \"odd\"\": expected, but neither a"
		   " connection nor a slot of that name is there",
		"Start it, with this application_name in its primary_conninfo"
		" or this primary_slot_name.");
	tells_not("ok    standbys: *");
}

static void test_without_pg_monitor_it_is_unknown(void **state)
{
	struct cluster *standby = start_standby();

	(void)state;
	assert_int_equal(CTL("-U", "app", "check", "--standby=standby1"), 0);
	tells_with("warn  standby \"standby1\": unknown: needs pg_monitor",
		"GRANT pg_monitor TO app; -- or check as a role that has it");
	tells_not("*streaming*");
	/* Nor is it told as 0 when it is the control login that is blind. */
	sql_exec(shop, "REVOKE pg_monitor FROM backfilld");
	assert_int_equal(
		CTL("-U", "backfilld", "check", "--standby=standby1"), 3);
	tells("warn  standby \"standby1\": unknown: needs pg_monitor");
	mends(shop,
		"FAIL  control login \"backfilld\": lacks membership in"
		" pg_monitor",
		"GRANT pg_monitor TO backfilld;");
	assert_int_equal(
		CTL("-U", "backfilld", "check", "--standby=standby1"), 0);
	tells(STREAMING);
	stop_standby(standby);
}

/* A standby that is frozen stays "streaming", and behind by what it was. */
static void test_a_frozen_receiver(void **state)
{
	struct cluster *standby = start_standby();
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");
	pid_t receiver = (pid_t)sql_int(conn,
		"SELECT pid FROM pg_stat_activity"
		" WHERE backend_type = 'walreceiver'");

	(void)state;
	assert_int_equal(kill(receiver, SIGSTOP), 0);
	sql_wait(shop, WAIT_SECONDS,
		"SELECT clock_timestamp() - reply_time > '21s'"
		" FROM pg_stat_replication");
	assert_int_equal(
		CTL("-U", "backfilld", "check", "--standby=standby1"), 3);
	tells_with("FAIL  standby \"standby1\": streaming, * bytes behind,"
		   " replay_lag *, last reply 2*s ago, slot \"standby1\"",
		"Is it frozen, or its wal_receiver_status_interval, which"
		" cannot be seen from here, longer than 10s?");
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells("warn  standby \"standby1\": streaming, *");
	assert_int_equal(kill(receiver, SIGCONT), 0);
	PQfinish(conn);
	stop_standby(standby);
}

/* pg_receivewal is connected, streams, and replays nothing for ever. */
static void test_a_receiver_that_never_replays(void **state)
{
	char program[512], conninfo[1024];
	char *const argv[] = { program, "-D", (char *)cluster_dir(cluster),
		"-d", conninfo, "--no-loop", NULL };
	struct child child = {
		.argv = argv, .uid = cluster_run_as(cluster), .output = -1
	};
	pid_t pid;

	(void)state;
	pgdata_program(program, sizeof program, "pg_receivewal");
	(void)snprintf(conninfo, sizeof conninfo, "%s application_name=archive",
		cluster_conninfo(cluster, "postgres", "postgres"));
	pid = child_start(&child);
	sql_wait(shop, WAIT_SECONDS,
		"SELECT state = 'streaming' FROM pg_stat_replication");
	assert_int_equal(
		CTL("-U", "backfilld", "check", "--standby=archive"), 3);
	tells("FAIL  standby \"archive\": state streaming, tells no replay"
	      " position: it receives WAL and replays none");
	assert_int_equal(CTL("-U", "backfilld", "check"), 0);
	tells("ok    standby \"archive\": state streaming, tells no replay"
	      " position: it receives WAL and replays none");
	child_kill(pid);
}

/* Jobs run on the primary, of which a standby tells nothing. */
static void test_connected_to_a_standby(void **state)
{
	struct cluster *standby = start_standby();
	int code;

	(void)state;
	cluster_catch_up(standby, cluster);
	code = program_run(standby, output, sizeof output, "backfillctl", "-d",
		"shop", "check", NULL);
	assert_int_equal(code, 3);
	tells_with("FAIL  server: it is a standby: jobs run on the primary",
		"Name the primary, or several hosts with"
		" target_session_attrs=read-write.");
	tells("2 ok, 0 warnings, 1 to mend");
	stop_standby(standby);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standby_there_and_stopped),
		cmocka_unit_test(test_by_either_name),
		cmocka_unit_test(test_one_that_was_never_seen),
		cmocka_unit_test(test_without_pg_monitor_it_is_unknown),
		cmocka_unit_test(test_a_frozen_receiver),
		cmocka_unit_test(test_a_receiver_that_never_replays),
		cmocka_unit_test(test_connected_to_a_standby),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
