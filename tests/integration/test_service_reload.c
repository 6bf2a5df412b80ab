/* test_service_reload.c: SIGHUP while jobs run: what takes effect and when,
 * what needs a restart, and that a bad file changes nothing. */
#include <signal.h>

#include "service_manager.h"
#include "shop.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db, *app;
static struct manager manager;
static struct daemon *daemon_;

/* Ticks of a tenth of a second; the queue is not polled while a test runs. */
#define DAEMON "daemon: {lease: 1s, poll_interval: 10min}\n"

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	gate_make(app);
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

static int start_daemon(void **state)
{
	(void)state;
	manager_open(&manager, cluster);
	daemon_ = manager_start(&manager, cluster,
		DAEMON "batch: {batch_rows: 10, max_batch_rows: 10}\n",
		"200000");
	manager_wait(&manager, "READY=1\n");
	return 0;
}

static int stop_daemon(void **state)
{
	(void)state;
	assert_int_equal(daemon_stop(daemon_), 0);
	daemon_free(daemon_);
	manager_close(&manager);
	return 0;
}

/* SIGHUP, after which the manager hears that it was done. */
static void reload(const char *yaml)
{
	daemon_rewrite(daemon_, yaml);
	assert_int_equal(kill(daemon_pid(daemon_), SIGHUP), 0);
	manager_wait(&manager, "RELOADING=1\nMONOTONIC_USEC=");
	manager_wait(&manager, "READY=1\n");
}

static void submit(const char *name, const char *set_clause)
{
	sql_exec(app, "UPDATE gate SET last = 15");
	sql_exec(app,
		"CREATE TABLE %s (id int PRIMARY KEY, n int DEFAULT 0,"
		" setting text);"
		"INSERT INTO %s SELECT generate_series(1, 60);"
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('%s', '%s', $x$ %s $x$)",
		name, name, name, name, set_clause);
}

/* The second batch is in flight: rows 1 to 10 are done. */
static void wait_at_gate(const char *name)
{
	sql_wait(db, 60,
		"SELECT EXISTS (SELECT FROM backfill.ranges r"
		" JOIN backfill.jobs j ON j.id = r.job_id"
		" JOIN pg_stat_activity a ON a.pid = r.runner_pid"
		" WHERE j.name = '%s' AND a.wait_event = 'PgSleep')",
		name);
}

static void wait_for_success(const char *name)
{
	sql_wait(db, 60,
		"SELECT state = 'succeeded' FROM backfill.jobs"
		" WHERE name = '%s'",
		name);
}

static int64_t batches(const char *name)
{
	return sql_int(db,
		"SELECT r.batches FROM backfill.ranges r"
		" JOIN backfill.jobs j ON j.id = r.job_id"
		" WHERE j.name = '%s'",
		name);
}

/* ---- what takes effect ---- */

/* Two batches of 10 and, in those that are cut anew, 40 rows by twos. */
static void test_size_of_the_next_batch(void **state)
{
	(void)state;
	submit("sized", "n = n + 1 + gate_pass(id)");
	wait_at_gate("sized");
	reload(DAEMON "batch: {batch_rows: 2, max_batch_rows: 2}\n");
	daemon_wait_log(daemon_,
		"notice: reload: batch.batch_rows changed from 10 to 2 -> in"
		" effect with the next batch\n",
		60);
	daemon_wait_log(daemon_,
		"notice: reload: batch.max_batch_rows changed from 10 to 2 ->"
		" in effect with the next batch\n",
		60);
	daemon_wait_log(
		daemon_, "notice: reload: 2 changed, 0 need a restart\n", 60);
	sql_exec(app, "UPDATE gate SET last = 60");
	wait_for_success("sized");
	assert_int_equal(batches("sized"), 2 + 20);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM sized WHERE n = 1"), 60);
}

/* The settings of a session are those of its beginning. */
static void test_settings_of_the_next_connection(void **state)
{
	(void)state;
	submit("session",
		"n = n + 1 + gate_pass(id),"
		" setting = current_setting('lock_timeout')");
	wait_at_gate("session");
	reload(DAEMON "batch: {batch_rows: 10, max_batch_rows: 10,"
		      " lock_timeout: 321ms}\n");
	daemon_wait_log(daemon_,
		"reload: batch.lock_timeout changed from 500ms to 321ms -> in"
		" effect with the next connection of a job\n",
		60);
	sql_exec(app, "UPDATE gate SET last = 25");
	sql_wait(db, 60, "SELECT n = 1 FROM session WHERE id = 20");
	wait_at_gate("session");
	sql_exec(db,
		"SELECT pg_terminate_backend(r.runner_pid, 30000)"
		" FROM backfill.ranges r JOIN backfill.jobs j"
		" ON j.id = r.job_id WHERE j.name = 'session'");
	sql_exec(app, "UPDATE gate SET last = 60");
	wait_for_success("session");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws(' ', setting, min, max),"
			" ', ' ORDER BY min)"
			" FROM (SELECT setting, min(id), max(id) FROM session"
			" GROUP BY setting) s"),
		"500ms 1 20, 321ms 21 60");
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM session WHERE n = 1"), 60);
}

/* Nobody notifies when the time of a job comes: only polling finds it. */
static void test_poll_interval(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE polled (id int PRIMARY KEY, n int);"
		"INSERT INTO polled VALUES (1);"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" run_after) VALUES ('polled', 'polled', 'n = 1',"
		" clock_timestamp() + interval '1 s')");
	reload("daemon: {lease: 1s, poll_interval: 100ms}\n"
	       "batch: {batch_rows: 10, max_batch_rows: 10}\n");
	wait_for_success("polled");
}

/* Every line from the reload on is an object; PostgreSQL reads it. */
static void test_log(void **state)
{
	const char *at;
	int lines = 0;

	(void)state;
	reload("daemon: {lease: 1s, poll_interval: 10min, log_level: debug,"
	       " log_format: json}\n"
	       "batch: {batch_rows: 10, max_batch_rows: 10}\n");
	submit("logged", "n = 1");
	wait_for_success("logged");
	daemon_wait_log(daemon_, "\"level\":\"debug\"", 60);
	at = strchr(daemon_log(daemon_), '{');
	while (at != NULL && *at != '\0') {
		char *line = strndup(at, strcspn(at, "\n"));
		char *quoted = PQescapeLiteral(db, line, strlen(line));

		assert_string_equal(
			sql_text(db,
				"SELECT concat_ws(',', j->>'level' IN ('debug',"
				" 'info', 'notice'), (j->>'time')::timestamptz"
				" <= clock_timestamp() + interval '1 s',"
				" length(j->>'message') > 0)"
				" FROM (SELECT %s::jsonb AS j) s",
				quoted),
			"t,t,t");
		PQfreemem(quoted);
		free(line);
		lines++;
		at = strchr(at, '\n') + 1;
	}
	assert_true(lines > 5);
}

/* ---- what does not ---- */

static void test_what_needs_a_restart_is_named(void **state)
{
	(void)state;
	reload("daemon: {lease: 2s, poll_interval: 10min}\n"
	       "batch: {batch_rows: 10, max_batch_rows: 10}\n");
	daemon_wait_log(daemon_,
		"warning: reload: daemon.lease changed -> needs a restart\n",
		60);
	daemon_wait_log(
		daemon_, "notice: reload: 0 changed, 1 needs a restart\n", 60);
	assert_int_equal(
		sql_int(db,
			"SELECT extract(epoch FROM lease)::int"
			" FROM backfill.daemons ORDER BY incarnation DESC"
			" LIMIT 1"),
		1);
}

static void test_a_bad_file_changes_nothing(void **state)
{
	char expected[4096];

	(void)state;
	submit("bad", "n = n + 1 + gate_pass(id)");
	wait_at_gate("bad");
	reload("daemon: {log_level: debug, wrong: 1}\n"
	       "batch: {batch_rows: 0, max_batch_rows: 2}\n");
	(void)snprintf(expected, sizeof expected,
		"error: reload: 2 errors in %s -> nothing was changed\n",
		daemon_config(daemon_));
	daemon_wait_log(daemon_, expected, 60);
	(void)snprintf(expected, sizeof expected,
		"error: %s:7:28: unrecognized option \"daemon.wrong\"\n",
		daemon_config(daemon_));
	assert_non_null(strstr(daemon_log(daemon_), expected));
	assert_non_null(strstr(daemon_log(daemon_),
		" outside the valid range for option \"batch.batch_rows\""));
	(void)snprintf(expected, sizeof expected,
		"STATUS=2 errors in %s, nothing reloaded; t: ",
		daemon_config(daemon_));
	assert_true(manager_has_heard(&manager, expected));
	sql_exec(app, "UPDATE gate SET last = 60");
	wait_for_success("bad");
	assert_int_equal(batches("bad"), 6);
	assert_null(strstr(daemon_log(daemon_), "debug: "));

	/* And the next one mends it. */
	reload(DAEMON "batch: {batch_rows: 10, max_batch_rows: 10}\n");
	daemon_wait_log(
		daemon_, "notice: reload: 0 changed, 0 need a restart\n", 60);
	manager_wait(&manager, "WATCHDOG=1\n");
	assert_true(strstr(strstr(manager.heard.data, expected) + 1,
			    "STATUS=t: no job\n") != NULL);
}

static void test_a_file_that_is_gone(void **state)
{
	char expected[4096];

	(void)state;
	(void)snprintf(expected, sizeof expected,
		"error: could not read configuration file \"%s\": No such file"
		" or directory\n",
		daemon_config(daemon_));
	assert_return_code(unlink(daemon_config(daemon_)), errno);
	assert_int_equal(kill(daemon_pid(daemon_), SIGHUP), 0);
	manager_wait(&manager, "READY=1\n");
	daemon_wait_log(daemon_, expected, 60);
	(void)snprintf(expected, sizeof expected,
		"error: reload: 1 error in %s -> nothing was changed\n",
		daemon_config(daemon_));
	daemon_wait_log(daemon_, expected, 60);
	assert_true(daemon_alive(daemon_));
}

/* ---- when ---- */

static void test_not_while_it_ends(void **state)
{
	uint64_t deadline = wait_deadline(60);

	(void)state;
	submit("ending", "n = n + 1 + gate_pass(id)");
	wait_at_gate("ending");
	assert_int_equal(kill(daemon_pid(daemon_), SIGTERM), 0);
	manager_wait(&manager, "STOPPING=1\n");
	assert_int_equal(kill(daemon_pid(daemon_), SIGHUP), 0);
	daemon_wait_log(daemon_,
		"notice: SIGHUP while it ends -> nothing is reloaded\n", 60);
	sql_exec(app, "UPDATE gate SET last = 60");
	while (daemon_alive(daemon_) && wait_again(deadline)) {
	}
	assert_false(daemon_alive(daemon_));
	assert_false(manager_has_heard(&manager, "RELOADING"));
}

/* It is not ready yet, and a reload must not make it so. */
static void test_before_it_is_ready(void **state)
{
	struct text yaml;
	int fd;

	(void)stop_daemon(state);
	manager_open(&manager, cluster);
	text_init(&yaml);
	text_add(&yaml, "databases:\n");
	add_silent_server(&yaml, cluster, &fd);
	daemon_ = manager_start(&manager, cluster, yaml.data, NULL);
	text_close(&yaml);
	manager_wait(&manager, "STATUS=silent: connecting\n");
	assert_int_equal(kill(daemon_pid(daemon_), SIGHUP), 0);
	daemon_wait_log(
		daemon_, "notice: reload: 0 changed, 0 need a restart\n", 60);
	assert_false(manager_has_heard(&manager, "READY"));
	manager_wait(&manager, "READY=1\n");
	assert_false(manager_has_heard(&manager, "RELOADING"));
	close(fd);
}

#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_size_of_the_next_batch),
		TEST(test_settings_of_the_next_connection),
		TEST(test_poll_interval),
		TEST(test_log),
		TEST(test_what_needs_a_restart_is_named),
		TEST(test_a_bad_file_changes_nothing),
		TEST(test_a_file_that_is_gone),
		TEST(test_not_while_it_ends),
		TEST(test_before_it_is_ready),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
