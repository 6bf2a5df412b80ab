/* test_engine_close.c: the engine in this process, told to end after every
 * number of turns of the loop, on a real server. However it is cut short,
 * the loop runs empty, no handle and no memory is left, and what it leaves
 * in the database is a checkpoint that is true. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "base/text.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "config/config.h"
#include "daemon.h"
#include "engine/database.h"
#include "loop.h"
#include "sql.h"
#include "store/scripts.h"
#include "wait.h"

enum { ROWS = 60, DENSE_TURNS = 60, MOST_TURNS = 3000 };

static struct cluster *cluster;
static PGconn *db, *app, *holder;

/* Warnings are what these tests are about. */
static void drop_line(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static int start(void **state)
{
	(void)state;
	log_set_sink(drop_line);
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	holder = cluster_connect(cluster, "t", "app");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(holder);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* ---- an engine */

struct engine {
	uv_loop_t loop;
	struct config config;
	struct database *database;
	int ends;
	struct err failure;
};

static void on_end(void *data, const struct err *e)
{
	struct engine *engine = data;

	engine->ends++;
	if (e != NULL) {
		engine->failure = *e;
	}
}

static void engine_open(struct engine *e, const char *dsn, const char *runner)
{
	struct text yaml, errors;

	memset(e, 0, sizeof *e);
	text_init(&yaml);
	text_init(&errors);
	text_addf(&yaml,
		"databases:\n"
		"  - name: t\n"
		"    dsn: \"%s\"\n"
		"    runner: \"%s\"\n"
		"    expected_standbys: []\n"
		"daemon: {lease: 10s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 50ms}\n",
		dsn, runner);
	if (config_parse(&e->config, yaml.data, yaml.length, "test", &errors) !=
		0) {
		fail_msg("%s", errors.data);
	}
	text_close(&errors);
	text_close(&yaml);
	assert_int_equal(uv_loop_init(&e->loop), 0);
	e->database = database_start(
		&e->loop, &e->config, &e->config.databases[0], on_end, e);
	/* Never from inside the call. */
	assert_int_equal(e->ends, 0);
}

static void engine_open_here(struct engine *e)
{
	engine_open(e, cluster_conninfo(cluster, "t", "backfilld"),
		cluster_conninfo(cluster, "t", NULL));
}

static void on_too_late(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("the loop does not run empty");
}

/* Nothing but this watch is left in the end. */
static void engine_close(struct engine *e)
{
	uv_timer_t watch;

	assert_int_equal(uv_timer_init(&e->loop, &watch), 0);
	(void)uv_timer_start(&watch, on_too_late, LOOP_LIMIT_MS, 0);
	uv_unref((uv_handle_t *)&watch);
	(void)uv_run(&e->loop, UV_RUN_DEFAULT);
	assert_int_equal(e->ends, 1);
	uv_close((uv_handle_t *)&watch, NULL);
	loop_end(&e->loop);
	config_close(&e->config);
}

/* ---- the job */

static int64_t job;
static const char *table;

static void make_table(const char *name)
{
	table = name;
	sql_exec(app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		name, name, ROWS);
	job = 0;
}

static const char *state_of_job(void)
{
	return sql_text(db, "SELECT state FROM backfill.jobs WHERE id = %lld",
		(long long)job);
}

static int is_finished(void)
{
	return job == 0 || strcmp(state_of_job(), "succeeded") == 0;
}

static void submit(void)
{
	job = sql_int(app,
		"INSERT INTO backfill.jobs (target, set_clause, batch_rows,"
		" max_batch_rows) VALUES ('%s', 'n = n + 1', 7, 7)"
		" RETURNING id",
		table);
}

/* What the dead left is there for the taking at once. */
static void end_leases(void)
{
	sql_exec(db, "UPDATE backfill.daemons SET lease_until = '-infinity'");
}

static int64_t column(const char *name)
{
	return sql_int(db,
		"SELECT coalesce(max(%s), 0) FROM backfill.ranges"
		" WHERE job_id = %lld",
		name, (long long)job);
}

/* In one snapshot, for what was abandoned may commit at this moment: jobs of
 * them changed each row but for this one, which changed those that its
 * checkpoint tells. */
static void assert_checkpoint(int64_t jobs)
{
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', count(*) FILTER (WHERE n ="
			" %lld) - (SELECT coalesce(sum(rows_done), 0) FROM"
			" backfill.ranges WHERE job_id = %lld), count(*)"
			" FILTER (WHERE n NOT BETWEEN %lld AND %lld)) FROM %s",
			(long long)jobs, (long long)job, (long long)jobs - 1,
			(long long)jobs, table),
		"0 0");
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', error_sqlstate,"
				    " error_message) FROM backfill.jobs"
				    " WHERE state = 'failed'"
				    " UNION ALL SELECT 'fine' LIMIT 1"),
		"fine");
}

/* No backend of ours is left: they end when their sockets are closed. */
static void wait_backends(void)
{
	sql_wait(db, 10,
		"SELECT count(*) = 0 FROM pg_stat_activity"
		" WHERE application_name ~ '^backfilld'");
}

/* ---- ending after so many turns */

/* Returns how many were made: fewer when the job was done. */
static int turn(struct engine *e, int turns, int until_done)
{
	for (int i = 0; i < turns; i++) {
		(void)uv_run(&e->loop, UV_RUN_ONCE);
		if (until_done && i % 20 == 19 && is_finished()) {
			return i;
		}
	}
	return turns;
}

typedef void (*end_fn)(struct database *db);

static void sweep(const char *name, end_fn end)
{
	int64_t jobs = 0;
	int fresh, done = 0, runs = 0;
	int fds = 0;
	struct engine e;

	make_table(name);
	for (int turns = 0; !done;
		turns += turns < DENSE_TURNS ? 1 : turns / 4) {
		fresh = is_finished();
		if (fresh) {
			submit();
			jobs++;
		}
		engine_open_here(&e);
		(void)turn(&e, turns, turns > DENSE_TURNS);
		end(e.database);
		engine_close(&e);
		runs++;
		assert_int_equal(e.failure.code, BFE_OK);
		assert_checkpoint(jobs);
		if (end == database_stop) {
			/* It gave back what it had. */
			assert_string_not_equal(state_of_job(), "running");
			assert_int_equal(column("owner"), 0);
		}
		wait_backends();
		end_leases();
		/* A descriptor more each time would be a leak. */
		if (turns == DENSE_TURNS / 2) {
			fds = loop_fd_count();
		}
		assert_true(fds == 0 || loop_fd_count() <= fds);
		done = fresh && is_finished() && turns >= DENSE_TURNS;
		assert_true(turns < MOST_TURNS);
	}
	/* One more, to its end. */
	submit();
	jobs++;
	engine_open_here(&e);
	(void)turn(&e, MOST_TURNS, 1);
	database_stop(e.database);
	engine_close(&e);
	assert_string_equal(state_of_job(), "succeeded");
	assert_int_equal(column("rows_done"), ROWS);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM %s WHERE n = %lld",
				 table, (long long)jobs),
		ROWS);
	printf("%s: %d runs, %lld jobs\n", name, runs, (long long)jobs);
}

static void test_stop_after_each_turn(void **state)
{
	(void)state;
	sweep("stopped", database_stop);
}

static void test_abandon_after_each_turn(void **state)
{
	(void)state;
	sweep("abandoned", database_abandon);
}

static void stop_then_abandon(struct database *database)
{
	database_stop(database);
	database_stop(database);
	database_abandon(database);
}

static void test_abandon_while_stopping(void **state)
{
	(void)state;
	sweep("stop_abandon", stop_then_abandon);
}

/* In pauses and lock waits, with rows that another holds. */
static void test_close_with_held_rows(void **state)
{
	(void)state;
	for (int i = 0; i < 24; i++) {
		struct engine e;
		char name[32];

		(void)snprintf(name, sizeof name, "held%d", i);
		make_table(name);
		sql_exec(holder,
			"BEGIN; SELECT FROM %s WHERE id IN (3, 4) FOR UPDATE",
			name);
		submit();
		engine_open_here(&e);
		while (column("rows_done") < ROWS - 2) {
			(void)turn(&e, 1, 0);
		}
		(void)turn(&e, i, 0);
		if (i % 2 == 0) {
			database_stop(e.database);
		} else {
			database_abandon(e.database);
		}
		engine_close(&e);
		assert_checkpoint(1);
		assert_int_equal(column("rows_done"), ROWS - 2);
		sql_exec(holder, "ROLLBACK");
		end_leases();

		engine_open_here(&e);
		(void)turn(&e, MOST_TURNS, 1);
		database_stop(e.database);
		engine_close(&e);
		assert_string_equal(state_of_job(), "succeeded");
		assert_checkpoint(1);
		assert_int_equal(column("rows_done"), ROWS);
	}
}

/* ---- a control connection that does not come to be */

static void test_control_refused(void **state)
{
	char dsn[256];

	(void)state;
	(void)snprintf(dsn, sizeof dsn, "host=%s port=1 user=backfilld",
		cluster_dir(cluster));
	for (int turns = 0; turns < 16; turns++) {
		for (int i = 0; i < 2; i++) {
			struct engine e;

			engine_open(&e, dsn, "");
			(void)turn(&e, turns, 0);
			assert_int_equal(e.ends, 0);
			if (i == 0) {
				database_stop(e.database);
			} else {
				database_abandon(e.database);
			}
			engine_close(&e);
			assert_int_equal(e.failure.code, BFE_OK);
		}
	}
}

/* ---- a login that may not serve: the database ends by itself */

static void assert_refused(const char *dbname, const char *user,
	const char *message, const char *detail, const char *hint)
{
	struct engine e;

	engine_open(&e, cluster_conninfo(cluster, dbname, user), "");
	engine_close(&e);
	assert_string_equal(e.failure.message, message);
	assert_string_equal(e.failure.detail, detail);
	assert_string_equal(e.failure.hint, hint);
}

static void test_login_may_not_serve(void **state)
{
	static const char needs[] =
		"It needs all three: backfill_daemon for the queue, pg_monitor"
		" to see other backends, pg_signal_backend to end a dead"
		" owner's.";

	(void)state;
	sql_exec(db,
		"CREATE ROLE \"Low\" LOGIN;"
		"CREATE ROLE half LOGIN; GRANT backfill_daemon TO half");
	assert_refused("t", "Low",
		"database \"t\": the control login \"Low\" lacks membership in"
		" backfill_daemon, pg_monitor, pg_signal_backend",
		needs,
		"GRANT backfill_daemon, pg_monitor, pg_signal_backend TO"
		" \"Low\";");
	assert_refused("t", "half",
		"database \"t\": the control login \"half\" lacks membership in"
		" pg_monitor, pg_signal_backend",
		needs, "GRANT pg_monitor, pg_signal_backend TO half;");
	assert_refused("t", "postgres",
		"database \"t\": the control login \"postgres\" is a superuser",
		"Whoever takes over the daemon would own the server.",
		"Use a login of its own: CREATE ROLE backfilld LOGIN; GRANT"
		" backfill_daemon, pg_monitor, pg_signal_backend TO"
		" backfilld;");
	assert_refused("postgres", "backfilld",
		"database \"t\": database \"postgres\" has no schema"
		" \"backfill\"",
		"", "Run: backfillctl install -d postgres");
	sql_exec(db, "DROP ROLE \"Low\", half");
}

static void test_schema_of_another_release(void **state)
{
	char message[128];
	int needed = scripts[scripts_count - 1].version;

	(void)state;
	(void)snprintf(message, sizeof message,
		"database \"t\": schema \"backfill\" has version %d, this"
		" program needs %d",
		needed + 1, needed);
	sql_exec(db,
		"INSERT INTO backfill.schema_version (version, script)"
		" VALUES (%d, 'of tomorrow')",
		needed + 1);
	assert_refused("t", "backfilld", message, "",
		"Install the same release on both sides, and run: backfillctl"
		" install");
	sql_exec(db, "DELETE FROM backfill.schema_version WHERE version = %d",
		needed + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stop_after_each_turn),
		cmocka_unit_test(test_abandon_after_each_turn),
		cmocka_unit_test(test_abandon_while_stopping),
		cmocka_unit_test(test_close_with_held_rows),
		cmocka_unit_test(test_control_refused),
		cmocka_unit_test(test_login_may_not_serve),
		cmocka_unit_test(test_schema_of_another_release),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
