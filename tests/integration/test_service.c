/* test_service.c: what the daemon tells its service manager, and when. The
 * manager is this program; a real systemd is in tests/fault. */
#include <signal.h>

#include "service_manager.h"
#include "shop.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db, *app;
static struct manager manager;

static const char QUICK[] = "daemon: {lease: 1s, poll_interval: 500ms}\n";

static void connect_both(void)
{
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
}

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	connect_both();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

static int open_manager(void **state)
{
	(void)state;
	manager_open(&manager, cluster);
	return 0;
}

static int close_manager(void **state)
{
	(void)state;
	manager_close(&manager);
	return 0;
}

/* ---- ready ---- */

static void test_ready_when_it_serves(void **state)
{
	int64_t before = sql_int(db, "SELECT count(*) FROM backfill.daemons");
	struct daemon *d = manager_start(&manager, cluster, QUICK, NULL);

	(void)state;
	manager_wait(&manager, "STATUS=t: connecting\n");
	manager_wait(&manager, "STATUS=t: no job\n");
	manager_wait(&manager, "READY=1\n");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.daemons"),
		before + 1);
	assert_int_equal(daemon_stop(d), 0);
	manager_wait(&manager, "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\n");
	/* There was no watchdog to tell. */
	assert_false(manager_has_heard(&manager, "WATCHDOG"));
	daemon_free(d);
}

/* Nobody could start it otherwise before its server. */
static void test_ready_while_the_server_is_down(void **state)
{
	struct daemon *d;

	(void)state;
	PQfinish(app);
	PQfinish(db);
	cluster_halt(cluster);
	d = manager_start(&manager, cluster, QUICK, NULL);
	manager_wait(&manager, "STATUS=t: connecting: ");
	manager_wait(&manager, "READY=1\n");
	assert_true(manager_has_heard(&manager, "No such file or directory"));
	cluster_crash(cluster);
	connect_both();
	manager_wait(&manager, "STATUS=t: no job\n");
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

/* Ready only when each was tried, and one that does not answer is tried for
 * ten seconds. */
static void test_ready_waits_for_each_database(void **state)
{
	struct text yaml;
	struct daemon *d;
	int fd;

	(void)state;
	text_init(&yaml);
	text_addf(&yaml,
		"databases:\n"
		"  - name: t\n"
		"    dsn: \"%s\"\n"
		"    expected_standbys: []\n",
		cluster_conninfo(cluster, "t", "backfilld"));
	add_silent_server(&yaml, cluster, &fd);
	d = manager_start(&manager, cluster, yaml.data, NULL);
	text_close(&yaml);
	manager_wait(&manager, "STATUS=t: no job; silent: connecting\n");
	assert_false(manager_has_heard(&manager, "READY"));
	manager_wait(&manager, "STATUS=t: no job; silent: connecting: ");
	manager_wait(&manager, "READY=1\n");
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	close(fd);
}

/* What may not serve never was ready. */
static void test_no_ready_when_refused(void **state)
{
	struct daemon *d;

	(void)state;
	sql_exec(db, "REVOKE pg_monitor FROM backfilld");
	d = manager_start(&manager, cluster, QUICK, NULL);
	manager_wait(&manager, "STOPPING=1\n");
	assert_int_equal(daemon_stop(d), 1);
	assert_false(manager_has_heard(&manager, "READY"));
	sql_exec(db, "GRANT pg_monitor TO backfilld");
	daemon_free(d);
}

/* ---- ticks, of a tenth of a second ---- */

static void test_watchdog_is_told(void **state)
{
	struct daemon *d = manager_start(&manager, cluster, QUICK, "200000");

	(void)state;
	manager_wait(&manager, "READY=1\n");
	for (int i = 0; i < 5; i++) {
		manager_wait(&manager, "WATCHDOG=1\n");
	}
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

static void make_table(const char *name, const char *set_clause)
{
	sql_exec(app,
		"CREATE TABLE %s (id int PRIMARY KEY, n int DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, 30);"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows)"
		" VALUES ('%s', '%s', '%s', 10, 10)",
		name, name, name, name, set_clause);
}

static void wait_for_sleep(void)
{
	sql_wait(db, 30,
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE usename = 'app' AND wait_event = 'PgSleep')");
}

/* A job that runs, one that waits for somebody, both, none. */
static void test_status_counts_jobs(void **state)
{
	struct daemon *d = manager_start(&manager, cluster, QUICK, "200000");

	(void)state;
	sql_exec(db,
		"CREATE TABLE held (id int PRIMARY KEY, n int DEFAULT 0);"
		"ALTER TABLE held OWNER TO app;"
		"INSERT INTO held VALUES (1)");
	manager_wait(&manager, "STATUS=t: no job\n");
	sql_exec(db, "BEGIN; UPDATE held SET n = 5");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('held', 'held', 'n = n + 1')");
	manager_wait(&manager, "STATUS=t: 0 running, 1 held, 0 rows/s\n");
	make_table("runs", "n = n + 1 + length(pg_sleep(0.1)::text)");
	manager_wait(&manager, "STATUS=t: 1 running, 1 held, ");
	sql_exec(db, "COMMIT");
	manager_wait(&manager, "STATUS=t: 1 running, ");
	manager_wait(&manager, "STATUS=t: no job\n");
	assert_true(sql_true(db,
		"SELECT bool_and(state = 'succeeded') FROM backfill.jobs"
		" WHERE name IN ('held', 'runs')"));
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

/* Rows of batches and of holes, between two ticks. */
static void test_status_has_the_rate(void **state)
{
	struct daemon *d = manager_start(&manager, cluster, QUICK, "200000");
	double rate = 0;

	(void)state;
	manager_wait(&manager, "STATUS=t: no job\n");
	make_table("rated", "n = n + 1 + length(pg_sleep(0.05)::text)");
	manager_wait(&manager, "STATUS=t: no job\n");
	for (const char *at = manager.heard.data;
		(at = strstr(at, "running, ")) != NULL; at++) {
		double found = 0;

		(void)sscanf(at, "running, %lf rows/s", &found);
		rate = found > rate ? found : rate;
	}
	assert_true(rate > 0);
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

static void test_server_that_goes_is_told(void **state)
{
	struct daemon *d = manager_start(&manager, cluster, QUICK, "200000");

	(void)state;
	manager_wait(&manager, "READY=1\n");
	PQfinish(app);
	PQfinish(db);
	cluster_halt(cluster);
	manager_wait(&manager, "STATUS=t: connecting: ");
	/* It is the server that is down: the daemon is well. */
	for (int i = 0; i < 5; i++) {
		manager_wait(&manager, "WATCHDOG=1\n");
	}
	cluster_crash(cluster);
	connect_both();
	manager_wait(&manager, "STATUS=t: no job\n");
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

/* Without the second signal of daemon_stop(). */
static void wait_for_end(struct daemon *d)
{
	uint64_t deadline = wait_deadline(60);

	while (daemon_alive(d)) {
		if (!wait_again(deadline)) {
			fail_msg("the daemon has not ended");
		}
	}
}

/* More time, tick by tick, as long as the batch in flight takes. */
static void test_stop_asks_for_time(void **state)
{
	struct daemon *d = manager_start(&manager, cluster, QUICK, "200000");

	(void)state;
	gate_make(app);
	sql_exec(app, "UPDATE gate SET last = 0");
	make_table("stopped", "n = n + 1 + gate_pass(id)");
	wait_for_sleep();
	assert_int_equal(kill(daemon_pid(d), SIGTERM), 0);
	for (int i = 0; i < 3; i++) {
		manager_wait(
			&manager, "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\n");
		manager_wait(&manager, "WATCHDOG=1\n");
	}
	assert_true(
		manager_has_heard(&manager, "STATUS=stopping; t: 1 running, "));
	assert_true(daemon_alive(d));
	sql_exec(app, "UPDATE gate SET last = 30");
	wait_for_end(d);
	assert_int_equal(daemon_stop(d), 0);
	assert_string_equal(sql_text(db,
				    "SELECT state FROM backfill.jobs"
				    " WHERE name = 'stopped'"),
		"queued");
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM stopped WHERE n = 1"), 10);
	daemon_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_ready_when_it_serves, open_manager, close_manager),
		cmocka_unit_test_setup_teardown(
			test_ready_while_the_server_is_down, open_manager,
			close_manager),
		cmocka_unit_test_setup_teardown(
			test_ready_waits_for_each_database, open_manager,
			close_manager),
		cmocka_unit_test_setup_teardown(test_no_ready_when_refused,
			open_manager, close_manager),
		cmocka_unit_test_setup_teardown(
			test_watchdog_is_told, open_manager, close_manager),
		cmocka_unit_test_setup_teardown(
			test_status_counts_jobs, open_manager, close_manager),
		cmocka_unit_test_setup_teardown(
			test_status_has_the_rate, open_manager, close_manager),
		cmocka_unit_test_setup_teardown(test_server_that_goes_is_told,
			open_manager, close_manager),
		cmocka_unit_test_setup_teardown(
			test_stop_asks_for_time, open_manager, close_manager),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
