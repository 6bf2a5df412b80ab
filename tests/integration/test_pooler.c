/* test_pooler.c: the control connection through a real PgBouncer that pools
 * transactions, each of which meets another session (pooler.h); the jobs'
 * own connections go to the server itself. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "effects.h"
#include "pooler.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 60, ROWS = 6000, BATCH_ROWS = 50 };

static struct cluster *cluster;
static struct pooler *pooler;
static PGconn *db, *app;
static const char *table; /* and name of the job */
static int64_t job;

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	effects_install(db);
	/* Sessions whose own settings would not do. */
	sql_exec(db,
		"ALTER ROLE backfilld SET default_transaction_read_only = on;"
		"ALTER ROLE backfilld SET default_transaction_isolation ="
		" 'serializable';"
		"ALTER ROLE backfilld SET statement_timeout = '1h';"
		"ALTER ROLE backfilld SET lock_timeout = '1h';"
		"ALTER ROLE backfilld SET synchronous_commit = 'on'");
	sql_exec(app,
		"CREATE TABLE speed (id bigint);"
		"INSERT INTO speed VALUES (0);"
		"CREATE FUNCTION drag() RETURNS integer LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  IF (SELECT id = 0 FROM public.speed) THEN"
		"   PERFORM pg_catalog.pg_sleep(0.001);"
		"  ELSIF (SELECT id = 1 FROM public.speed) THEN"
		"   PERFORM pg_catalog.pg_sleep(600);"
		"  END IF;"
		"  RETURN 0; END $$");
	if (pooler_exists()) {
		pooler = pooler_start(cluster, "transaction");
	}
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

/* Each batch takes its time, until finish(). */
static void make_job(const char *name)
{
	table = name;
	sql_exec(app, "UPDATE speed SET id = 0");
	effects_make_table(db, name, ROWS);
	sql_exec(db, "ALTER TABLE %s OWNER TO app", name);
	job = effects_submit(app, name, name, BATCH_ROWS, "drag()");
}

static char *yaml_of(const char *dsn, const char *runner, const char *others)
{
	struct text yaml;

	text_init(&yaml);
	text_addf(&yaml,
		"databases:\n"
		"  - name: t\n"
		"    dsn: \"%s\"\n"
		"    runner: \"%s\"\n"
		"    expected_standbys: []\n"
		"%s"
		"daemon: {lease: 2s, poll_interval: 200ms}\n",
		dsn, runner, others);
	return text_take(&yaml);
}

static struct daemon *start_daemon(void)
{
	char *yaml = yaml_of(pooler_conninfo(pooler, "t", "backfilld"),
		cluster_conninfo(cluster, "t", NULL), "    poll_only: true\n");
	struct daemon *d = daemon_start_yaml(cluster, yaml);

	free(yaml);
	daemon_wait_log(d, "-> serving", WAIT_SECONDS);
	return d;
}

static void end_daemon(struct daemon *d, int code)
{
	assert_int_equal(daemon_stop(d), code);
	daemon_free(d);
}

static void wait_batches(int more)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT seq >= %lld FROM backfill.ranges WHERE job_id = %lld",
		(long long)sql_int(db,
			"SELECT coalesce(max(seq), 0) FROM backfill.ranges"
			" WHERE job_id = %lld",
			(long long)job) +
			more,
		(long long)job);
}

static void finish(void)
{
	sql_exec(app, "UPDATE speed SET id = 2");
	sql_wait(db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
	effects_check_done(db, table, job, ROWS);
}

static void wait_released(void)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT owner IS NULL FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job);
}

static void need_pooler(void)
{
	if (pooler == NULL) {
		print_message("skip: pgbouncer is not installed\n");
		skip();
	}
}

static int server_log_has(const char *words)
{
	char path[512], line[4096];
	int found = 0;
	FILE *file;

	(void)snprintf(
		path, sizeof path, "%s/server.log", cluster_dir(cluster));
	file = fopen(path, "re");
	assert_non_null(file);
	while (!found && fgets(line, sizeof line, file) != NULL) {
		found = strstr(line, words) != NULL;
	}
	assert_int_equal(fclose(file), 0);
	return found;
}

/* ---- tests */

/* Submitted while the daemon runs, paused, resumed, cancelled in the middle
 * of a statement: all of it is found by polling. */
static void test_a_job_runs(void **state)
{
	struct daemon *d;

	(void)state;
	need_pooler();
	d = start_daemon();
	make_job("pooled");
	wait_batches(3);
	sql_exec(app, "SELECT backfill.pause('pooled')");
	wait_released();
	effects_check(db, table, job);
	sql_exec(app, "SELECT backfill.resume('pooled')");
	wait_batches(3);
	finish();

	make_job("cancelled");
	wait_batches(3);
	sql_exec(app, "UPDATE speed SET id = 1");
	sql_wait(db, WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE wait_event = 'PgSleep' AND"
		"  clock_timestamp() - query_start > '100ms')");
	sql_exec(app, "SELECT backfill.cancel('cancelled')");
	wait_released();
	effects_check(db, table, job);
	end_daemon(d, 0);
	assert_false(server_log_has("LISTEN backfill"));
	assert_false(server_log_has("WARNING"));
}

/* What the functions of the queue see, and what they leave behind in the
 * sessions, which belong to others too. */
static void test_settings_are_of_the_transaction(void **state)
{
	static const char settings[] =
		"concat_ws(' ', current_setting('transaction_isolation'),"
		" current_setting('transaction_read_only'),"
		" current_setting('lock_timeout'),"
		" current_setting('statement_timeout'),"
		" current_setting('synchronous_commit'))";
	struct daemon *d;
	PGconn *other;

	(void)state;
	need_pooler();
	sql_exec(db,
		"CREATE TABLE seen (settings text PRIMARY KEY, times integer);"
		"CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.seen VALUES (%s, 1)"
		"  ON CONFLICT (settings) DO UPDATE SET times = seen.times + 1;"
		"  RETURN NULL; END $$;"
		"CREATE TRIGGER see AFTER INSERT OR UPDATE ON backfill.daemons"
		" FOR EACH ROW EXECUTE FUNCTION see()",
		settings);
	d = start_daemon();
	sql_wait(db, WAIT_SECONDS, "SELECT sum(times) > 10 FROM seen");
	assert_string_equal(
		sql_text(db, "SELECT string_agg(settings, ', ') FROM seen"),
		"read committed off 500ms 10s local");

	/* Each of the three sessions answers in turn. */
	other = PQconnectdb(pooler_conninfo(pooler, "t", "backfilld"));
	for (int i = 0; i < 9; i++) {
		assert_string_equal(sql_text(other, "SELECT %s", settings),
			"serializable on 1h 1h on");
		assert_int_equal(sql_int(other,
					 "SELECT count(*) FROM"
					 " pg_listening_channels()"),
			0);
	}
	PQfinish(other);
	sql_exec(db, "DROP TRIGGER see ON backfill.daemons");

	/* And the bound on waits holds. */
	sql_exec(db, "BEGIN; SELECT FROM backfill.daemons FOR UPDATE");
	daemon_wait_log(d,
		"t: heartbeat: 55P03: canceling statement due to lock timeout"
		" -> again later",
		WAIT_SECONDS);
	sql_exec(db, "COMMIT");
	end_daemon(d, 0);
}

static void test_the_pooler_restarts(void **state)
{
	struct daemon *d;

	(void)state;
	need_pooler();
	d = start_daemon();
	make_job("restarted");
	for (int i = 0; i < 3; i++) {
		wait_batches(2);
		pooler_kill(pooler);
		daemon_wait_log(d, "-> connect again", WAIT_SECONDS);
		pooler_restart(pooler);
		wait_batches(10);
		effects_check(db, table, job);
	}
	finish();
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE job_id = %lld AND event = 'started'",
				 (long long)job),
		1);
	end_daemon(d, 0);
}

static void test_a_takeover(void **state)
{
	struct daemon *daemons[2];
	int mine;

	(void)state;
	need_pooler();
	daemons[0] = start_daemon();
	daemons[1] = start_daemon();
	make_job("taken_over");
	wait_batches(3);
	mine = daemon_pid(daemons[0]) !=
		sql_int(db,
			"SELECT d.pid FROM backfill.daemons d JOIN"
			" backfill.ranges r ON r.owner = d.incarnation"
			" WHERE r.job_id = %lld",
			(long long)job);
	daemon_kill(daemons[mine]);
	sql_wait(db, WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM backfill.events WHERE job_id ="
		" %lld AND event = 'taken_over')",
		(long long)job);
	wait_batches(3);
	finish();
	end_daemon(daemons[mine], 128 + SIGKILL);
	end_daemon(daemons[!mine], 0);
}

/* Without poll_only it would listen in a session of others. */
static void test_a_pooled_login_is_refused(void **state)
{
	static const char *const words[] = {
		"database \"t\": the control login \"backfilld\" goes through a"
		" connection pooler\n",
		" answers, but the connection is to process ",
		": LISTEN would not work if transactions are pooled.\n",
		"HINT:  Connect to the server itself, or set"
		" \"poll_only: true\".\n",
	};
	char *yaml;
	struct daemon *d;

	(void)state;
	need_pooler();
	yaml = yaml_of(pooler_conninfo(pooler, "t", "backfilld"),
		cluster_conninfo(cluster, "t", NULL), "");
	d = daemon_start_yaml(cluster, yaml);
	free(yaml);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		daemon_wait_log(d, words[i], WAIT_SECONDS);
	}
	sql_wait(db, WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM backfill.daemons"
		" WHERE lease_until > clock_timestamp())");
	end_daemon(d, 1);
}

/* The job waits, with the reason, and leaves nothing in the sessions. */
static void test_a_pooled_runner_waits(void **state)
{
	char *yaml, *dsn;
	struct daemon *d;
	PGconn *other;

	(void)state;
	need_pooler();
	dsn = strdup(pooler_conninfo(pooler, "t", "backfilld"));
	yaml = yaml_of(dsn, pooler_conninfo(pooler, "t", "app"),
		"    poll_only: true\n");
	d = daemon_start_yaml(cluster, yaml);
	free(yaml);
	free(dsn);
	make_job("runner");
	sql_wait(db, WAIT_SECONDS,
		"SELECT reason LIKE '%%could not connect as \"app\": the"
		" connection goes through a pooler%%' FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
	other = PQconnectdb(pooler_conninfo(pooler, "t", "app"));
	for (int i = 0; i < 9; i++) {
		assert_string_equal(
			sql_text(other,
				"SELECT concat_ws(' ',"
				" current_setting('row_security'),"
				" current_setting('plan_cache_mode'))"),
			"on auto");
	}
	PQfinish(other);
	end_daemon(d, 0);

	/* With the right connection it goes on. */
	d = start_daemon();
	finish();
	end_daemon(d, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_job_runs),
		cmocka_unit_test(test_settings_are_of_the_transaction),
		cmocka_unit_test(test_the_pooler_restarts),
		cmocka_unit_test(test_a_takeover),
		cmocka_unit_test(test_a_pooled_login_is_refused),
		cmocka_unit_test(test_a_pooled_runner_waits),
	};

	return cmocka_run_group_tests_name("pooler", tests, start, stop);
}
