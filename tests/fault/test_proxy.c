/* test_proxy.c: a daemon whose network goes wrong (proxy.h), once in each
 * step of what it says to a server, on the control connection and on the
 * jobs' own. Each step has a database of its own with a job in it, and all of
 * them meet the fault at the same time: every job ends with every row changed
 * once, and a database that nothing happens to never misses a heartbeat,
 * which comes from the same loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "effects.h"
#include "proxy.h"
#include "sql.h"
#include "wait.h"

/* A connection that held up the loop would do so for the ten seconds that an
 * attempt may take, or for ever. */
enum { WAIT_SECONDS = 90, ROWS = 600, BATCH_ROWS = 50, GAP_MS = 9000 };

enum line { CONTROL, RUNNER };

/* Where the fault comes; the database is named after it. */
static const struct step {
	const char *name;
	enum line line;
	enum proxy_side side;
	int at_byte;
	const char *words, *after;
	int needs_reconnect; /* it has connected when the round begins */
	int is_idle;	     /* nothing is under way */
} steps[] = {
	{ "runner_connect", .line = RUNNER },
	{ "runner_startup", .line = RUNNER, .at_byte = 20 },
	{ "runner_auth", .line = RUNNER, .side = PROXY_SERVER, .at_byte = 2 },
	{ "runner_attach", .line = RUNNER, .words = "backfill.attach(" },
	{ "runner_begin", .line = RUNNER, .words = "backfill.begin_job(" },
	{ "runner_request", .line = RUNNER, .words = "backfill.checkpoint(" },
	{ "runner_changed", .line = RUNNER, .words = "SET CONSTRAINTS" },
	{ "runner_commit", .line = RUNNER, .words = "COMMIT\1",
		.after = "backfill.checkpoint(" },
	{ "runner_reply", .line = RUNNER, .side = PROXY_SERVER,
		.words = "COMMIT\1", .after = "backfill.checkpoint(" },
	{ "control_connect", .needs_reconnect = 1 },
	{ "control_startup", .at_byte = 20, .needs_reconnect = 1 },
	{ "control_auth", .side = PROXY_SERVER, .at_byte = 2,
		.needs_reconnect = 1 },
	{ "control_login", .words = "pg_backend_pid()", .needs_reconnect = 1 },
	{ "control_back", .words = "backfill.come_back(",
		.needs_reconnect = 1 },
	{ "control_renew", .words = "backfill.renew(" },
	{ "control_claim", .words = "backfill.claim(" },
	{ "control_claimed", .side = PROXY_SERVER, .words = "taken_over",
		.after = "backfill.claim(" },
	{ "control_finish", .words = "backfill.finish_job(" },
	{ "control_finished", .side = PROXY_SERVER, .words = "finish_job",
		.after = "backfill.finish_job(" },
	{ "control_idle", .is_idle = 1 },
};
enum { STEPS = sizeof steps / sizeof steps[0], LINES = 2 };

static struct place {
	PGconn *db;
	struct proxy *proxies[LINES];
	int met; /* faults up to now */
	int64_t job;
} places[STEPS];

static struct cluster *cluster;
static PGconn *quiet; /* the database without a fault */
static struct daemon *d;

/* A daemon with a long lease and a long poll_interval, whose idle control
 * connection froze at the start. */
static struct place patient;
static struct daemon *patient_daemon;

/* ---- the world */

static void create_databases(void)
{
	PGconn *conn;

	backfill_install(cluster, "quiet");
	conn = cluster_connect(cluster, "quiet", "postgres");
	effects_install(conn);
	PQfinish(conn);
	conn = cluster_connect(cluster, "postgres", "postgres");
	for (size_t i = 0; i < STEPS; i++) {
		sql_exec(conn, "CREATE DATABASE %s TEMPLATE quiet",
			steps[i].name);
		places[i].db =
			cluster_connect(cluster, steps[i].name, "postgres");
	}
	sql_exec(conn, "CREATE DATABASE patient TEMPLATE quiet");
	PQfinish(conn);
	quiet = cluster_connect(cluster, "quiet", "postgres");
	sql_exec(quiet,
		"CREATE TABLE beats (at timestamptz);"
		"CREATE FUNCTION beat() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.beats"
		"  VALUES (pg_catalog.clock_timestamp());"
		"  RETURN NULL; END $$;"
		"CREATE TRIGGER beat AFTER UPDATE ON backfill.daemons"
		" FOR EACH ROW EXECUTE FUNCTION beat()");
}

static void start_daemon(void)
{
	struct text yaml;

	text_init(&yaml);
	text_addf(&yaml,
		"databases:\n"
		"  - {name: quiet, dsn: \"%s\", expected_standbys: []}\n",
		cluster_conninfo(cluster, "quiet", "backfilld"));
	for (size_t i = 0; i < STEPS; i++) {
		text_addf(&yaml,
			"  - name: %s\n"
			"    dsn: \"host=127.0.0.1 port=%d dbname=%s"
			" user=backfilld\"\n"
			"    runner: \"host=127.0.0.1 port=%d dbname=%s\"\n"
			"    expected_standbys: []\n",
			steps[i].name, proxy_port(places[i].proxies[CONTROL]),
			steps[i].name, proxy_port(places[i].proxies[RUNNER]),
			steps[i].name);
	}
	text_add(&yaml, "daemon: {lease: 3s, poll_interval: 500ms}\n");
	d = daemon_start_yaml(cluster, yaml.data);
	text_close(&yaml);
}

static void wait_served(PGconn *conn)
{
	sql_wait(conn, WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM backfill.daemons"
		" WHERE lease_until > clock_timestamp())");
}

static void wait_all_served(void)
{
	for (size_t i = 0; i < STEPS; i++) {
		wait_served(places[i].db);
	}
}

static void submit(struct place *at, const char *table)
{
	effects_make_table(at->db, table, ROWS);
	sql_exec(at->db, "ALTER TABLE %s OWNER TO app; SET ROLE app", table);
	at->job = effects_submit(at->db, table, table, BATCH_ROWS, NULL);
	sql_exec(at->db, "RESET ROLE");
}

static void wait_done(const struct place *at, const char *table)
{
	sql_wait(at->db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)at->job);
	effects_check_done(at->db, table, at->job, ROWS);
}

static void start_patient(void)
{
	char *yaml;
	struct text text;

	patient.db = cluster_connect(cluster, "patient", "postgres");
	patient.proxies[CONTROL] =
		proxy_start(cluster_dir(cluster), cluster_port(cluster));
	text_init(&text);
	text_addf(&text,
		"databases:\n"
		"  - name: patient\n"
		"    dsn: \"host=127.0.0.1 port=%d dbname=patient"
		" user=backfilld\"\n"
		"    runner: \"%s\"\n"
		"    expected_standbys: []\n"
		"daemon: {lease: 10min, poll_interval: 10min}\n",
		proxy_port(patient.proxies[CONTROL]),
		cluster_conninfo(cluster, "patient", NULL));
	yaml = text_take(&text);
	patient_daemon = daemon_start_yaml(cluster, yaml);
	free(yaml);
	daemon_wait_log(patient_daemon, "-> serving", WAIT_SECONDS);
	proxy_act(patient.proxies[CONTROL], PROXY_FREEZE);
	submit(&patient, "patient");
}

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	create_databases();
	for (size_t i = 0; i < STEPS; i++) {
		for (int line = 0; line < LINES; line++) {
			places[i].proxies[line] = proxy_start(
				cluster_dir(cluster), cluster_port(cluster));
		}
	}
	start_patient();
	start_daemon();
	wait_all_served();
	sql_wait(quiet, WAIT_SECONDS, "SELECT EXISTS (SELECT FROM beats)");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	daemon_free(d);
	daemon_free(patient_daemon);
	proxy_stop(patient.proxies[CONTROL]);
	PQfinish(patient.db);
	for (size_t i = 0; i < STEPS; i++) {
		proxy_stop(places[i].proxies[CONTROL]);
		proxy_stop(places[i].proxies[RUNNER]);
		PQfinish(places[i].db);
	}
	PQfinish(quiet);
	cluster_stop(cluster);
	return 0;
}

/* ---- a round */

static void arm(size_t i, enum proxy_fault fault)
{
	const struct step *s = &steps[i];
	struct proxy *p = places[i].proxies[s->line];
	const struct proxy_rule rule = {
		.fault = fault,
		.side = s->side,
		.words = s->words,
		.after = s->after,
		.at_byte = s->at_byte,
	};

	if (s->is_idle) {
		proxy_act(p, fault);
		return;
	}
	proxy_arm(p, &rule);
	if (s->needs_reconnect) {
		proxy_act(p, PROXY_RESET);
	}
}

static void check(size_t i, const char *table)
{
	struct place *at = &places[i];
	struct proxy *p = at->proxies[steps[i].line];
	uint64_t deadline;

	wait_done(at, table);
	at->met += !steps[i].is_idle;
	/* What does not belong to the job, a heartbeat, may come after it. */
	deadline = wait_deadline(WAIT_SECONDS);
	while (proxy_count(p) < at->met && wait_again(deadline)) {
		continue;
	}
	if (proxy_count(p) != at->met) {
		fail_msg("%s: the fault was met %d times, not %d",
			steps[i].name, proxy_count(p), at->met);
	}
	/* What is held up is of the past. */
	proxy_act(at->proxies[CONTROL], PROXY_RESET);
	proxy_act(at->proxies[RUNNER], PROXY_RESET);
}

/* Of the daemon that hears nothing of it. */
static void check_heartbeats(void)
{
	int64_t gap_ms = sql_int(quiet,
		"SELECT max(extract(epoch FROM at - before) * 1000)::bigint"
		" FROM (SELECT at, lag(at) OVER (ORDER BY at) AS before"
		"  FROM (SELECT at FROM beats"
		"   UNION ALL SELECT clock_timestamp()) b) g");

	if (gap_ms > GAP_MS) {
		fail_msg("no heartbeat for %lld ms", (long long)gap_ms);
	}
}

static void round_of(enum proxy_fault fault, const char *table)
{
	wait_all_served();
	for (size_t i = 0; i < STEPS; i++) {
		arm(i, fault);
	}
	for (size_t i = 0; i < STEPS; i++) {
		submit(&places[i], table);
	}
	for (size_t i = 0; i < STEPS; i++) {
		check(i, table);
	}
	check_heartbeats();
	assert_true(daemon_alive(d));
}

static void test_reset(void **state)
{
	(void)state;
	round_of(PROXY_RESET, "reset");
}

static void test_close(void **state)
{
	(void)state;
	round_of(PROXY_CLOSE, "closed");
}

/* One direction. */
static void test_stall(void **state)
{
	(void)state;
	round_of(PROXY_STALL, "stalled");
}

/* A frozen proxy, whose kernel goes on to answer. */
static void test_freeze(void **state)
{
	(void)state;
	round_of(PROXY_FREEZE, "frozen");
}

static void test_half_open(void **state)
{
	(void)state;
	round_of(PROXY_LOSE_SERVER, "server_gone");
	round_of(PROXY_LOSE_CLIENT, "client_gone");
}

/* Slow, and in pieces: nothing is lost, nothing is done again. */
static void test_slow_lines(void **state)
{
	static const struct proxy_rule slow = {
		.fault = PROXY_DELAY, .delay_ms = 40, .times = 1000000
	};
	static const struct proxy_rule pieces = { .fault = PROXY_SPLIT,
		.times = 1000000 };

	(void)state;
	wait_all_served();
	for (size_t i = 0; i < 4; i++) {
		for (int line = 0; line < LINES; line++) {
			struct proxy *p = places[i].proxies[line];

			proxy_arm(p, i < 2 ? &slow : &pieces);
			proxy_act(p, PROXY_RESET);
		}
		submit(&places[i], "slow");
	}
	for (size_t i = 0; i < 4; i++) {
		wait_done(&places[i], "slow");
		assert_int_equal(sql_int(places[i].db,
					 "SELECT epoch FROM backfill.ranges"
					 " WHERE job_id = %lld",
					 (long long)places[i].job),
			1);
	}
	check_heartbeats();
	assert_int_equal(daemon_stop(d), 0);
}

/* Nothing was ever asked on that connection but for the heartbeats; what they
 * found out brought another one, and with it a look at the queue. */
static void test_idle_connection_is_pinged(void **state)
{
	(void)state;
	wait_done(&patient, "patient");
	daemon_wait_log(patient_daemon,
		"patient: serving: no reply to the statement within 15000 ms"
		" -> connect again",
		WAIT_SECONDS);
	assert_int_equal(daemon_stop(patient_daemon), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_stall),
		cmocka_unit_test(test_freeze),
		cmocka_unit_test(test_half_open),
		cmocka_unit_test(test_slow_lines),
		cmocka_unit_test(test_idle_connection_is_pinged),
	};

	return cmocka_run_group_tests_name("proxy", tests, start, stop);
}
