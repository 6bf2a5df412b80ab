/* test_alive.c: database_is_alive(), which the watchdog follows, with the
 * engine in this process and timers that never come. */
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

/* Nothing is late before LATE_MS. */
enum { LATE_MS = 20000, LIMIT_MS = 90000, LEASE_MS = 3000, POLL_MS = 700 };

static struct cluster *cluster;

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
	return 0;
}

static int stop(void **state)
{
	(void)state;
	cluster_stop(cluster);
	return 0;
}

/* ---- engines, each on a loop of its own ---- */

enum { ALL_WELL = -1, PAUSE = 0, HEARTBEAT = LEASE_MS / 3, POLL = POLL_MS };

struct engine {
	int broken; /* by what the timer repeats after that never comes */
	const char *conninfo;
	uint64_t began_ms; /* before any timer of it was started */
	uv_loop_t loop;
	struct config config;
	struct database *database;
	int is_told; /* how it stands, for the first time */
	int ended;
};

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

static void on_end(void *data, const struct err *e)
{
	struct engine *engine = data;

	(void)e;
	engine->ended = 1;
}

static void on_change(void *data)
{
	struct engine *e = data;

	e->is_told = 1;
}

static void engine_open(struct engine *e)
{
	struct text yaml, errors;

	e->began_ms = now_ms();
	text_init(&yaml);
	text_init(&errors);
	text_addf(&yaml,
		"databases: [{name: t, dsn: \"%s\", expected_standbys: []}]\n"
		"daemon: {lease: %dms, poll_interval: %dms}\n",
		e->conninfo, LEASE_MS, POLL_MS);
	if (config_parse(&e->config, yaml.data, yaml.length, "test", &errors) !=
		0) {
		fail_msg("%s", errors.data);
	}
	text_close(&errors);
	text_close(&yaml);
	assert_int_equal(uv_loop_init(&e->loop), 0);
	e->database = database_start(
		&e->loop, &e->config, &e->config.databases[0], on_end, e);
	database_watch(e->database, on_change, e);
	loop_wait(&e->loop, &e->is_told, 1);
}

static void engine_close(struct engine *e)
{
	database_abandon(e->database);
	loop_end(&e->loop);
	assert_int_equal(e->ended, 1);
	config_close(&e->config);
}

static void kill_timer(uv_handle_t *handle, void *data)
{
	const struct engine *e = data;

	if (handle->type == UV_TIMER &&
		uv_timer_get_repeat((uv_timer_t *)handle) ==
			(uint64_t)e->broken) {
		(void)uv_timer_stop((uv_timer_t *)handle);
	}
}

static void turn(struct engine *e)
{
	if (e->broken != ALL_WELL) {
		uv_walk(&e->loop, kill_timer, e);
	}
	(void)uv_run(&e->loop, UV_RUN_NOWAIT);
}

/* ---- the test ---- */

/* Those that lost a timer die, each not before it is late. The others live:
 * one that serves, and one whose server is down, for a restart would not
 * mend that. */
static void test_lost_timers_are_seen(void **state)
{
	static const char nowhere[] =
		"host=/nonexistent dbname=t user=backfilld";
	const char *here = cluster_conninfo(cluster, "t", "backfilld");
	struct engine engines[] = {
		{ .broken = HEARTBEAT, .conninfo = here },
		{ .broken = POLL, .conninfo = here },
		{ .broken = PAUSE, .conninfo = nowhere },
		{ .broken = ALL_WELL, .conninfo = here },
		{ .broken = ALL_WELL, .conninfo = nowhere },
	};
	enum { COUNT = sizeof engines / sizeof engines[0] };
	int is_dead[COUNT] = { 0 };
	uint64_t began_ms;
	int dead = 0;

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		engine_open(&engines[i]);
	}
	began_ms = now_ms();
	while (dead < 3) {
		for (int i = 0; i < COUNT; i++) {
			turn(&engines[i]);
			if (is_dead[i] ||
				database_is_alive(engines[i].database)) {
				continue;
			}
			assert_int_not_equal(engines[i].broken, ALL_WELL);
			assert_true(now_ms() - engines[i].began_ms > LATE_MS);
			is_dead[i] = 1;
			dead++;
		}
		assert_true(now_ms() - began_ms < LIMIT_MS);
		uv_sleep(10);
	}
	for (int i = 0; i < COUNT; i++) {
		engine_close(&engines[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost_timers_are_seen),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
