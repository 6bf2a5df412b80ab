/* test_step_builds.c: an index build that is cut off in its middle, where an
 * old snapshot of somebody keeps it waiting: by the death of the daemon or of
 * the backend, by cancel(), by a stop, by its own timeout. No invalid index is
 * left over, whatever comes of the job. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static PGconn *old; /* keeps a snapshot */

static int start(void **state)
{
	(void)shop_start(state);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	daemon_free(shop.daemon);
	shop.daemon = daemon_start(shop.cluster, "shop",
		"daemon: {lease: 1s, poll_interval: 200ms}\nbatch: {}\n");
	daemon_wait_log(shop.daemon, "-> serving", SHOP_WAIT_SECONDS);
	return 0;
}

static int take_snapshot(void **state)
{
	(void)state;
	old = cluster_connect(shop.cluster, "shop", "app");
	sql_exec(old,
		"SET application_name = 'old reader';"
		"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
	return 0;
}

static int let_go(void **state)
{
	(void)state;
	PQfinish(old);
	return 0;
}

static void submit(const char *name, const char *more_names, const char *more)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO %s SELECT g, g FROM generate_series(1, 100) g;"
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" definition%s) VALUES ('%s', 'create_index', '%s',"
		" '%s_n_idx', '(n)'%s)",
		name, name, more_names, name, name, name, more);
}

static int is_valid(const char *name)
{
	return sql_true(shop.db,
		"SELECT indisvalid FROM pg_index"
		" WHERE indexrelid = to_regclass('%s_n_idx')",
		name);
}

static int is_there(const char *name)
{
	return sql_true(
		shop.db, "SELECT to_regclass('%s_n_idx') IS NOT NULL", name);
}

/* The build has made its index, and waits for the old snapshot. */
static void wait_in_build(const char *name)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_progress_create_index p"
		" JOIN pg_locks l ON l.pid = p.pid AND NOT l.granted"
		" WHERE p.index_relid = to_regclass('%s_n_idx'))",
		name);
	assert_false(is_valid(name));
}

static void finish(const char *name)
{
	sql_exec(old, "COMMIT");
	job_wait(name, "succeeded");
	assert_true(is_valid(name));
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM pg_index"
				 " WHERE NOT indisvalid"),
		0);
}

static void wait_gone(const char *name)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE application_name = 'backfilld %lld/1')",
		(long long)job_id(name));
	assert_false(is_there(name));
}

static void test_tells_who_it_waits_for(void **state)
{
	char output[8192];

	(void)state;
	submit("tells", "", "");
	wait_in_build("tells");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ ('^held up by pid %d \\(app, old reader, idle"
		" in transaction, transaction open for [0-9]+ s\\)$')"
		" FROM backfill.progress WHERE name = 'tells'",
		PQbackendPID(old));
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws('|', state, step, phase)"
				    " FROM backfill.progress"
				    " WHERE name = 'tells'"),
		"running|CREATE INDEX CONCURRENTLY tells_n_idx|waiting for old"
		" snapshots");
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws('|', job_name, direction,"
				    " waiting_user, blocking_pid = %d, "
				    "blocking_application,"
				    " locktype, wait_time > '0'::interval)"
				    " FROM backfill.locks",
				    PQbackendPID(old)),
		"tells|waits|app|t|old reader|virtualxid|t");
	assert_int_equal(
		program_run(shop.cluster, output, sizeof output, "backfillctl",
			"-d", "shop", "status", "tells", NULL),
		0);
	assert_non_null(strstr(output, "waiting for old snapshots"));
	assert_non_null(
		strstr(output, "CREATE INDEX CONCURRENTLY tells_n_idx"));
	assert_non_null(strstr(output, "why  held up by pid "));
	finish("tells");
}

static void test_killed_daemon(void **state)
{
	(void)state;
	submit("killed", "", "");
	wait_in_build("killed");
	daemon_kill(shop.daemon);
	shop_restart_daemon();
	/* The range is taken over: the old build ends, and is mended. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT (notes->>'attempts')::integer > 1 FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job_id("killed"));
	finish("killed");
}

static void test_terminated_backend(void **state)
{
	(void)state;
	submit("terminated", "", "");
	wait_in_build("terminated");
	sql_exec(shop.db,
		"SELECT pg_terminate_backend(pid)"
		" FROM pg_stat_progress_create_index");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT (notes->>'attempts')::integer > 1 FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job_id("terminated"));
	finish("terminated");
}

static void test_cancelled_job(void **state)
{
	(void)state;
	submit("cancelled", "", "");
	wait_in_build("cancelled");
	sql_exec(shop.app, "SELECT backfill.cancel('cancelled')");
	wait_gone("cancelled");
	job_wait("cancelled", "cancelled");
}

static void test_own_timeout(void **state)
{
	(void)state;
	submit("timeout", ", statement_timeout", ", '3s'");
	job_wait("timeout", "failed");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws('|', error_sqlstate, error_message,"
			" error_hint) FROM backfill.jobs WHERE name = "
			"'timeout'"),
		"57014|canceling statement due to statement timeout|Raise the"
		" job's statement_timeout, then backfill.retry(job) goes on.");
	assert_true(sql_true(shop.db,
		"SELECT error_detail ~ ('^CREATE INDEX CONCURRENTLY"
		" timeout_n_idx was held up by pid %d ') FROM backfill.jobs"
		" WHERE name = 'timeout'",
		PQbackendPID(old)));
	assert_false(is_there("timeout"));
	sql_exec(old, "COMMIT");
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET statement_timeout = '1min'"
		" WHERE name = 'timeout'");
	sql_exec(shop.app, "SELECT backfill.retry('timeout')");
	job_wait("timeout", "succeeded");
	assert_true(is_valid("timeout"));
}

/* What the role has for its sessions would end each attempt of the build. */
static void test_timeout_of_the_role(void **state)
{
	(void)state;
	if (PQserverVersion(shop.db) < 170000) {
		print_message("skip: no transaction_timeout before 17\n");
		skip();
	}
	sql_exec(shop.db, "ALTER ROLE app SET transaction_timeout = '500ms'");
	assert_int_equal(daemon_stop(shop.daemon), 0);
	shop_restart_daemon();
	submit("role_timeout", "", "");
	wait_in_build("role_timeout");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_progress_create_index p"
		" JOIN pg_stat_activity a ON a.pid = p.pid"
		" WHERE clock_timestamp() - a.xact_start > '1 s')");
	finish("role_timeout");
	sql_exec(shop.db, "ALTER ROLE app RESET transaction_timeout");
}

/* The daemon does not wait for the build to end; the next one goes on. */
static void test_stop(void **state)
{
	(void)state;
	submit("stopped", "", "");
	wait_in_build("stopped");
	assert_int_equal(daemon_stop(shop.daemon), 0);
	assert_string_equal(sql_text(shop.db,
				    "SELECT state || ': ' || reason FROM"
				    " backfill.jobs WHERE name = 'stopped'"),
		"queued: the daemon stops");
	shop_restart_daemon();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT (notes->>'attempts')::integer > 1 FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job_id("stopped"));
	finish("stopped");
}

/* It cannot be halted: it ends, and the job is paused with nothing to do. */
static void test_pause(void **state)
{
	(void)state;
	submit("paused", "", "");
	wait_in_build("paused");
	sql_exec(shop.app, "SELECT backfill.pause('paused')");
	sql_exec(old, "COMMIT");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE application_name = 'backfilld %lld/1')",
		(long long)job_id("paused"));
	assert_true(is_valid("paused"));
	job_wait("paused", "paused");
	sql_exec(shop.app, "SELECT backfill.resume('paused')");
	job_wait("paused", "succeeded");
}

/* While a standby is missing, what would read a table does not begin; what is
 * over at once does. */
static void test_held_for_standbys(void **state)
{
	struct daemon *d;
	char yaml[1024];

	(void)state;
	assert_int_equal(daemon_stop(shop.daemon), 0);
	(void)snprintf(yaml, sizeof yaml,
		"databases:\n"
		"  - {name: t, dsn: \"%s\", expected_standbys: [nobody]}\n",
		cluster_conninfo(shop.cluster, "shop", "backfilld"));
	d = daemon_start_yaml(shop.cluster, yaml);
	daemon_wait_log(d, "-> serving", SHOP_WAIT_SECONDS);
	submit("held", "", "");
	sql_exec(shop.app,
		"CREATE TABLE short (id bigint PRIMARY KEY);"
		"INSERT INTO backfill.jobs (name, kind, target, definition)"
		" VALUES ('short', 'ddl', 'short',"
		"  'ALTER TABLE short ADD COLUMN n integer')");
	job_wait("short", "succeeded");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '^held: .*nobody' FROM backfill.jobs"
		" WHERE name = 'held'");
	assert_false(is_there("held"));
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	shop_restart_daemon();
	finish("held");
}

/* An autovacuum that would take minutes, and yields to who waits a second. */
static void start_autovacuum(const char *name)
{
	sql_exec(shop.db, "ALTER SYSTEM SET autovacuum_naptime = 1");
	sql_exec(shop.db, "SELECT pg_reload_conf()");
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer) WITH"
		" (autovacuum_vacuum_cost_delay = 100,"
		" autovacuum_vacuum_cost_limit = 1,"
		" autovacuum_vacuum_threshold = 1,"
		" autovacuum_vacuum_insert_threshold = -1,"
		" autovacuum_enabled = false);"
		"INSERT INTO %s SELECT g, g FROM generate_series(1, 400000) g;"
		"UPDATE %s SET n = n + 1 WHERE id %% 2 = 0;"
		"ALTER TABLE %s RESET (autovacuum_enabled)",
		name, name, name, name);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum v"
		" JOIN pg_stat_activity a USING (pid)"
		" WHERE v.relid = '%s'::regclass AND a.xact_start <"
		" clock_timestamp() - '1 second'::interval)",
		name);
}

static void assert_yielded(const char *name)
{
	job_wait(name, "succeeded");
	assert_false(sql_true(shop.db,
		"SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum v"
		" JOIN pg_stat_activity a USING (pid) JOIN backfill.jobs j"
		" ON a.xact_start < j.started_at"
		" WHERE v.relid = '%s'::regclass AND j.name = '%s')",
		name, name));
}

static void test_autovacuum_yields_to_a_build(void **state)
{
	(void)state;
	sql_exec(old, "COMMIT");
	start_autovacuum("vacuumed");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" definition) VALUES ('vacuumed', 'create_index', 'vacuumed',"
		" 'vacuumed_n_idx', '(n)')");
	assert_yielded("vacuumed");
}

static void test_autovacuum_yields_to_patience(void **state)
{
	(void)state;
	sql_exec(old, "COMMIT");
	start_autovacuum("patient");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, definition)"
		" VALUES ('patient', 'ddl', 'patient',"
		" 'ALTER TABLE patient ADD COLUMN a text')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '^waits for a lock: pid [0-9]+ .* holds"
		" ShareUpdateExclusiveLock on public.patient$'"
		" FROM backfill.jobs WHERE name = 'patient'");
	/* Older than that patience: it is not queued behind for its youth. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE backend_type = 'autovacuum worker'"
		" AND xact_start < clock_timestamp() - '4 seconds'::interval)");
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET lock_timeout = '3 seconds'"
		" WHERE name = 'patient'");
	assert_yielded("patient");
}

int main(void)
{
#define BUILD_TEST(test)                                                       \
	cmocka_unit_test_setup_teardown(test, take_snapshot, let_go)
	const struct CMUnitTest tests[] = {
		BUILD_TEST(test_tells_who_it_waits_for),
		BUILD_TEST(test_killed_daemon),
		BUILD_TEST(test_terminated_backend),
		BUILD_TEST(test_cancelled_job),
		BUILD_TEST(test_own_timeout),
		BUILD_TEST(test_timeout_of_the_role),
		BUILD_TEST(test_stop),
		BUILD_TEST(test_pause),
		BUILD_TEST(test_held_for_standbys),
		BUILD_TEST(test_autovacuum_yields_to_a_build),
		BUILD_TEST(test_autovacuum_yields_to_patience),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
