/* test_runbook.c: "When you are paged". The server is put into the state of
 * each case; the SQL of the runbook, word for word and by the roles that it
 * names, shows that state and mends it. README.md and backfilld(8) have the
 * same SQL, and all of it is run here. */
#include "lag.h"
#include "runbook_text.h"
#include "wait.h"

static struct runbook readme, manual;

static PGconn *watcher; /* in pg_monitor */
static PGconn *ops;	/* and in pg_signal_backend */
static PGconn *chief;	/* in backfill_admin */
static PGconn *front;	/* the application, as app */

static const char NO_STANDBY[] = "expected_standbys: []";

static int start(void **state)
{
	(void)lag_start(state);
	runbook_read(&readme, "README.md", "## When you are paged", "## ",
		"### ", "```sql", "```");
	runbook_read(&manual, "conf/man/backfilld.8", ".Sh WHEN YOU ARE PAGED",
		".Sh ", ".Ss ", ".Bd ", ".Ed");
	sql_exec(shop.db,
		"CREATE ROLE watcher LOGIN IN ROLE pg_monitor;"
		"CREATE ROLE ops LOGIN IN ROLE pg_monitor, pg_signal_backend;"
		"CREATE ROLE chief LOGIN IN ROLE backfill_admin,"
		" backfill_submit, pg_monitor");
	watcher = cluster_connect(shop.cluster, "shop", "watcher");
	ops = cluster_connect(shop.cluster, "shop", "ops");
	chief = cluster_connect(shop.cluster, "shop", "chief");
	return 0;
}

static int stop(void **state)
{
	PQfinish(chief);
	PQfinish(ops);
	PQfinish(watcher);
	runbook_close(&manual);
	runbook_close(&readme);
	return lag_stop(state);
}

/* The application's table, which the job of each test is about. Its dead rows
 * are there for as long as somebody looks for them. */
static int make_users(void **state)
{
	(void)state;
	front = cluster_connect(shop.cluster, "shop", "app");
	sql_exec(shop.app,
		"CREATE TABLE users (id bigint PRIMARY KEY, phone text)"
		" WITH (autovacuum_enabled = off);"
		"INSERT INTO users SELECT generate_series(1, %d)",
		LAG_ROWS);
	return 0;
}

static int drop_users(void **state)
{
	int code = lag_clean(state);

	PQfinish(front);
	sql_exec(shop.db,
		"SET client_min_messages = warning;"
		"TRUNCATE backfill.jobs CASCADE; DROP TABLE users");
	return code;
}

/* ---- the runbook */

/* By a role that it names. Returns the last result, which the caller clears.
 */
static PGresult *run(PGconn *conn, const char *heading, int number)
{
	const char *sql = runbook_sql(&readme, heading, number);
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK &&
		PQresultStatus(result) != PGRES_COMMAND_OK) {
		fail_msg("%s%s", PQerrorMessage(conn), sql);
	}
	return result;
}

static void act(PGconn *conn, const char *heading, int number)
{
	PQclear(run(conn, heading, number));
}

/* The same of what is shown: whether a row matches a boolean expression over
 * its columns. */
static int shows(
	PGconn *conn, const char *heading, int number, const char *condition)
{
	const char *sql = runbook_sql(&readme, heading, number);

	return sql_true(conn, "SELECT bool_or(%s) FROM (%.*s) shown", condition,
		(int)strlen(sql) - 2, sql);
}

static void wait_shows(
	PGconn *conn, const char *heading, int number, const char *condition)
{
	uint64_t deadline = wait_deadline(SHOP_WAIT_SECONDS);

	while (!shows(conn, heading, number, condition)) {
		if (!wait_again(deadline)) {
			fail_msg("%s: not shown: %s", heading, condition);
		}
	}
}

/* What both texts say the screen has, it has. */
static void screen_has(const char *words)
{
	static char output[65536];
	char conninfo[256];

	assert_non_null(strstr(readme.prose.data, words));
	assert_non_null(strstr(manual.prose.data, words));
	(void)snprintf(conninfo, sizeof conninfo, "%s",
		cluster_conninfo(shop.cluster, "shop", "watcher"));
	assert_int_equal(program_run(NULL, output, sizeof output, "backfillctl",
				 conninfo, "status", NULL),
		0);
	if (strstr(output, words) == NULL) {
		fail_msg("the screen lacks \"%s\":\n%s", words, output);
	}
}

/* ---- the job */

static void submit(void)
{
	job_submit("users.phone", "users", LAG_BATCH,
		"phone = left('', gate_pass(id))", "phone IS NULL", NULL);
}

/* Two batches are committed, the third one stands at the gate. */
static void submit_at_gate(void)
{
	gate_close(LAG_GATE);
	submit();
	gate_wait("users.phone");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT batches = 2 FROM backfill.progress");
}

static void wait_reason(const char *pattern)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '%s' FROM backfill.progress"
		" WHERE name = 'users.phone'",
		pattern);
}

static int64_t changed(void)
{
	return sql_int(shop.db, "SELECT count(*) FROM users WHERE phone = ''");
}

static void finish(int64_t rows)
{
	gate_open();
	job_wait("users.phone", "succeeded");
	assert_int_equal(changed(), rows);
}

static void wait_for_front(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT cardinality(pg_blocking_pids(%d)) > 0",
		PQbackendPID(front));
}

/* ---- the texts */

static void test_both_have_the_same_sql(void **state)
{
	(void)state;
	assert_true(readme.count >= 14);
	assert_int_equal(readme.count, manual.count);
	for (int i = 0; i < readme.count; i++) {
		assert_string_equal(
			readme.blocks[i].heading, manual.blocks[i].heading);
		assert_string_equal(readme.blocks[i].sql, manual.blocks[i].sql);
	}
}

/* The last test. */
static void test_all_of_it_was_run(void **state)
{
	(void)state;
	for (int i = 0; i < readme.count; i++) {
		if (!readme.blocks[i].was_run) {
			fail_msg("nobody ran: %s", readme.blocks[i].sql);
		}
	}
}

/* ---- replication lag */

static const char LAG[] = "Replication lag is high";

static void test_lag(void **state)
{
	(void)state;
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	submit_at_gate();
	lag_let_lag();
	gate_open();
	wait_reason("^held: ");
	screen_has("HELD");
	screen_has(" s on standby \"standby1\"");
	wait_shows(watcher, LAG, 1,
		"application_name = 'standby1' AND target = 'standby1'"
		" AND value > limit_value AND holding AND replay_lag > '2s'");
	act(shop.app, LAG, 2);
	cluster_resume_replay(lag_standby);
	finish(LAG_ROWS);
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws(' ', max_replication_lag,"
				    " max_rows_per_second) FROM backfill.jobs"),
		"00:00:01 1000");
}

/* What the job says for itself is in effect with its next batch. */
static void test_lag_of_the_job(void **state)
{
	(void)state;
	(void)lag_daemon(LAG_EXPECTED, LAG_DAEMON LAG_PACE);
	submit_at_gate();
	act(shop.app, LAG, 2);
	lag_let_lag();
	gate_open();
	wait_reason("^held: .* > 1 s on .* -> goes on below 0.5 s$");
	cluster_resume_replay(lag_standby);
	finish(LAG_ROWS);
}

static void test_lag_of_one_that_is_not_expected(void **state)
{
	(void)state;
	(void)lag_daemon(NO_STANDBY, LAG_DAEMON);
	submit_at_gate();
	lag_let_lag();
	assert_true(shows(watcher, LAG, 1,
		"application_name = 'standby1' AND limit_value IS NULL"));
	finish(LAG_ROWS);
}

/* ---- an application that waits */

static const char BLOCKED[] = "The application is blocked";

static void test_blocked(void **state)
{
	(void)state;
	/* Long enough for who looks. */
	(void)lag_daemon(
		NO_STANDBY, LAG_DAEMON "pace: {max_blocking_time: 1min}\n");
	sql_exec(front, "SET application_name = 'front'");
	submit_at_gate();
	sql_async(front, "UPDATE users SET phone = 'mine' WHERE id = 25");
	wait_for_front();
	assert_true(shows(watcher, BLOCKED, 1,
		"job_name = 'users.phone' AND direction = 'blocks'"
		" AND waiting_application = 'front' AND relation ="
		" 'public.users' AND blocking_application LIKE 'backfilld "
		"%'"));

	act(shop.app, BLOCKED, 2);
	act(shop.app, BLOCKED, 3);
	sql_async_wait(front);
	assert_int_equal(changed(), LAG_GATE);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE event = 'batch_cancelled'"),
		0);
	job_wait("users.phone", "paused");
	sql_exec(shop.app, "SELECT backfill.resume('users.phone')");
	finish(LAG_ROWS - 1);
}

/* By itself, which is what the manual's screen shows. */
static void test_blocked_for_long_enough(void **state)
{
	(void)state;
	(void)lag_daemon(
		NO_STANDBY, LAG_DAEMON "pace: {max_blocking_time: 300ms}\n");
	submit_at_gate();
	sql_async(front, "UPDATE users SET phone = 'mine' WHERE id = 25");
	sql_async_wait(front);
	wait_reason("^pid [0-9]+ \\(app\\) has waited [0-9]+\\.[0-9] s for the"
		    " batch \\(max_blocking_time 300ms\\) -> cancelled, again"
		    " with [0-9]+ rows$");
	assert_non_null(strstr(manual.prose.data,
		"has waited 1.1 s for the batch (max_blocking_time 1s) ->"
		" cancelled, again with 500 rows"));
	finish(LAG_ROWS - 1);
}

/* ---- a job that does not move */

static const char STUCK[] = "A job is stuck";

static void end_holder(const char *waits_for, const char *screen)
{
	char condition[200];

	(void)snprintf(condition, sizeof condition,
		"name = 'users.phone' AND state = 'running' AND waits_for ="
		" '%s' AND waiting > '0' AND strpos(reason, '%s') > 0",
		waits_for, screen);
	wait_shows(watcher, STUCK, 1, condition);
	act(ops, STUCK, 2);
	finish(LAG_ROWS);
	assert_int_equal(PQstatus(front), CONNECTION_OK);
	PQclear(PQexec(front, "SELECT"));
	assert_int_equal(PQstatus(front), CONNECTION_BAD);
}

static void test_stuck_behind_a_writer(void **state)
{
	(void)state;
	(void)lag_daemon(NO_STANDBY, LAG_DAEMON);
	sql_exec(front, "BEGIN; UPDATE users SET phone = 'mine' WHERE id = 1");
	submit();
	wait_reason("^waits for transactions that write the table: pid ");
	screen_has("waits for transactions that write the table");
	end_holder("writers", "idle in transaction");
}

static void test_stuck_behind_a_row(void **state)
{
	(void)state;
	(void)lag_daemon(NO_STANDBY, LAG_DAEMON);
	sql_exec(front, "BEGIN; SELECT FROM users WHERE id = 50 FOR UPDATE");
	submit();
	wait_reason("^waits for .*held by others.* pid ");
	end_holder("locks", "held by others");
}

/* One that is at work is left alone. */
static void test_stuck_behind_one_at_work(void **state)
{
	PGresult *ended;

	(void)state;
	(void)lag_daemon(NO_STANDBY, LAG_DAEMON);
	gate_close(0);
	sql_async(front,
		"UPDATE users SET phone = 'mine' || gate_pass(2)"
		" WHERE id = 1");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) > 0 FROM pg_locks WHERE pid = %d"
		" AND relation = 'users'::regclass AND mode ="
		" 'RowExclusiveLock'",
		PQbackendPID(front));
	submit();
	wait_reason("^waits for transactions that write the table: pid ");
	ended = run(ops, STUCK, 2);
	assert_int_equal(PQntuples(ended), 0);
	PQclear(ended);
	gate_open();
	sql_async_wait(front);
	finish(LAG_ROWS - 1);
}

/* ---- a daemon that died */

static const char GONE[] = "The daemon is gone";

/* Its batch has the rows for as long as nobody ends it. */
static void test_gone(void **state)
{
	struct daemon *d = lag_daemon(NO_STANDBY,
		"daemon: {lease: 3s, poll_interval: 500ms}\n"
		"batch: {client_connection_check_interval: 0}\n");
	int backend;

	(void)state;
	submit_at_gate();
	wait_shows(watcher, GONE, 1, "is_alive AND jobs = '{users.phone}'");
	backend = (int)sql_int(
		shop.db, "SELECT runner_pid FROM backfill.progress");
	daemon_kill(d);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT waits_for = 'daemon' FROM backfill.progress");
	assert_true(shows(
		watcher, GONE, 1, "jobs = '{users.phone}' AND NOT is_alive"));
	assert_false(shows(watcher, GONE, 1, "is_alive"));
	screen_has("was last heard of");

	sql_async(front, "UPDATE users SET phone = 'mine' WHERE id = 25");
	wait_for_front();
	assert_true(shows(ops, GONE, 2, "pid IS NOT NULL"));
	sql_async_wait(front);
	/* It is told to end: the row is free before the process has. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE pid = %d)",
		backend);
	daemon_restart(d);
	finish(LAG_ROWS - 1);
}

/* ---- a disk that fills */

static const char DISK[] = "The disk fills";

static void let_archive_fail(void)
{
	sql_exec(shop.db, "ALTER SYSTEM SET archive_mode = 'on'");
	sql_exec(shop.db, "ALTER SYSTEM SET archive_command = 'false'");
	lag_restart_primary();
	sql_exec(shop.db, "SELECT pg_switch_wal()");
	PQreset(front);
	PQreset(watcher);
	PQreset(chief);
	PQreset(ops);
}

static void mend_archive(void)
{
	sql_exec(shop.db, "ALTER SYSTEM SET archive_command = 'true'");
	sql_exec(shop.db, "SELECT pg_reload_conf()");
}

static void test_disk(void **state)
{
	(void)state;
	let_archive_fail();
	sql_exec(shop.db,
		"SELECT pg_create_physical_replication_slot('standby9', true)");
	sql_exec(front, "UPDATE users SET phone = NULL");
	(void)lag_daemon(NO_STANDBY, LAG_DAEMON);
	submit_at_gate();
	wait_shows(watcher, DISK, 1,
		"what = 'WAL' AND bytes > 1000000 AND detail ~ '^[0-9]+ "
		"files$'");
	wait_shows(watcher, DISK, 1,
		"what = 'slot standby9' AND bytes > 0"
		" AND detail = 'nobody uses it'");
	wait_shows(watcher, DISK, 1,
		"what = 'slot standby1' AND detail = 'in use'");
	wait_shows(watcher, DISK, 1,
		"what = 'archive' AND detail ~ '^[1-9][0-9]* failed, last'");
	wait_shows(watcher, DISK, 1,
		"what = 'table public.users' AND bytes > 0"
		" AND detail ~ '^[1-9][0-9]* dead rows of [1-9]'");

	act(chief, "", 1);
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT waits_for = 'stopped' AND rows_done <= %d"
		" FROM backfill.progress",
		LAG_GATE + LAG_BATCH);
	act(shop.db, DISK, 2);
	assert_string_equal(sql_text(shop.db,
				    "SELECT string_agg(slot_name, ' ')"
				    " FROM pg_replication_slots"),
		"standby1");
	mend_archive();
	wait_shows(watcher, DISK, 1, "what = 'WAL'");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT last_archived_time > last_failed_time"
		" FROM pg_stat_archiver");
	assert_false(shows(watcher, DISK, 1, "what = 'archive'"));
	assert_int_equal(
		sql_int(shop.db, "SELECT rows_done FROM backfill.progress"),
		changed());
	assert_true(changed() <= LAG_GATE + LAG_BATCH);
	act(chief, DISK, 3);
	finish(LAG_ROWS);
}

/* ---- wrong values */

static const char WRONG[] = "Wrong values are being written";

static void test_wrong_values(void **state)
{
	(void)state;
	(void)lag_daemon(NO_STANDBY, LAG_DAEMON);
	submit_at_gate();
	assert_true(shows(shop.app, WRONG, 1,
		"name = 'users.phone' AND state = 'running'"
		" AND submitted_by = 'app' AND set_clause LIKE 'phone = %'"
		" AND rows_done = 20 AND up_to_key = '20'"));
	assert_true(sql_true(shop.app,
		"SELECT runner_pid IS NOT NULL FROM backfill.progress"));
	act(shop.app, WRONG, 2);
	job_wait("users.phone", "cancelled");
	sql_wait(shop.app, SHOP_WAIT_SECONDS,
		"SELECT runner_pid IS NULL FROM backfill.progress");
	act(shop.app, WRONG, 3);
	job_wait("users.phone.mended", "succeeded");
	assert_int_equal(changed(), 0);
	assert_int_equal(sql_int(shop.db,
				 "SELECT rows_done FROM backfill.progress"
				 " WHERE name = 'users.phone.mended'"),
		LAG_GATE);
	assert_true(shows(shop.app, WRONG, 1,
		"name = 'users.phone' AND state = 'cancelled'"
		" AND rows_done = 20"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_users, drop_users)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_have_the_same_sql),
		TEST(test_lag),
		TEST(test_lag_of_the_job),
		TEST(test_lag_of_one_that_is_not_expected),
		TEST(test_blocked),
		TEST(test_blocked_for_long_enough),
		TEST(test_stuck_behind_a_writer),
		TEST(test_stuck_behind_a_row),
		TEST(test_stuck_behind_one_at_work),
		TEST(test_gone),
		TEST(test_disk),
		TEST(test_wrong_values),
		cmocka_unit_test(test_all_of_it_was_run),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
