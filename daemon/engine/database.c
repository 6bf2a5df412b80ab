/* One database. The happy path:
 *
 *   connect -> login (may this login serve?) -> register
 *     -> serving: a heartbeat every third of the lease, and every 15 s; at
 *        every notification and every poll_interval look at our work, then
 *        claim as long as a worker is free -> stop: runners give their jobs
 *        back, unregister, close
 *
 * How it fails: whenever the control connection breaks, it is closed and
 * made anew after a growing, jittered pause, for ever; the incarnation is
 * kept, so the jobs stay ours while the lease lasts. Runners go on for two
 * thirds of the lease (host_may_begin). A login that may not serve, or a
 * schema of another version, ends the database: at start the program with
 * it; later it is a connection failure like any other.
 *
 *   CONNECTING --> LOGIN --> SERVING --> STOPPING --> CLOSED
 *       ^  |         |          |            |
 *       |  v         v          v            v
 *     PAUSING <------------------      (any) -> CLOSED by abandon
 *
 * database_login.c leads from CONNECTING to SERVING, database_queue.c claims,
 * database_service.c shows how it stands. A notification is a hint; polling
 * finds everything without it. Nothing here relies on the session, which may
 * change with each transaction where the way goes through a pooler
 * (poll_only). */

#include "database_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/pacer.h"
#include "store/queue.h"

enum {
	RECONNECT_BASE_MS = 100,
	/* An idle connection is noticed to be dead, and a frozen proxy before
	 * the lease ends. */
	HEARTBEAT_MOST_MS = 15000,
	HEARTBEAT_DEADLINE_LEAST_MS = 3000
};

static const struct sm_state states[] = {
	[CONNECTING] = { "connecting",
		SM_TO(LOGIN) | SM_TO(PAUSING) | SM_TO(CLOSED) },
	[LOGIN] = { "login", SM_TO(SERVING) | SM_TO(PAUSING) | SM_TO(CLOSED) },
	[SERVING] = { "serving",
		SM_TO(PAUSING) | SM_TO(STOPPING) | SM_TO(CLOSED) },
	[PAUSING] = { "pausing", SM_TO(CONNECTING) | SM_TO(CLOSED) },
	[STOPPING] = { "stopping", SM_TO(CLOSED) },
	[CLOSED] = { "closed", 0 },
};

const char *database_name(const struct database *db)
{
	return db->host.database->name;
}

/* ---- the end ---- */

void database_maybe_free(struct database *db)
{
	if (db->state.state != CLOSED || db->timers_open > 0 ||
		db->is_pacer_open || db->running > 0 || db->conn != NULL ||
		db->looker != NULL) {
		return;
	}
	db->on_end(db->data, db->failure.code != 0 ? &db->failure : NULL);
	counters_close(&db->host.counters);
	free(db->runners);
	free(db);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct database *db = handle->data;

	db->timers_open--;
	database_maybe_free(db);
}

static void on_pacer_closed(void *data)
{
	struct database *db = data;

	db->is_pacer_open = 0;
	database_maybe_free(db);
}

static void on_last_closed(void *data)
{
	struct database *db = data;

	db->conn = NULL;
	database_maybe_free(db);
}

/* From any state: nothing is said to the server any more. */
static void finish(struct database *db)
{
	if (db->state.state == CLOSED) {
		return;
	}
	/* In PAUSING the old connection may be closing already; on_closed
	 * sees the state then. */
	if (db->conn != NULL && db->state.state != PAUSING) {
		pgc_close(db->conn, on_last_closed, db);
	}
	database_move(db, CLOSED);
	db->host.control = NULL;
	database_close_looker(db);
	uv_close((uv_handle_t *)&db->pause, on_timer_closed);
	uv_close((uv_handle_t *)&db->heartbeat, on_timer_closed);
	uv_close((uv_handle_t *)&db->poll, on_timer_closed);
	pacer_close(db->host.pacer, on_pacer_closed, db);
}

void database_fail(struct database *db, const struct err *e)
{
	db->failure = *e;
	finish(db);
}

/* ---- losing the connection ---- */

static void warn(const struct database *db, const char *what,
	const struct err *e, const char *decision)
{
	struct text fact;

	text_init(&fact);
	host_add_error(&fact, e);
	host_log(&db->host, LOG_WARNING, e->sqlstate, "%s: %s -> %s", what,
		fact.data, decision);
	text_close(&fact);
}

static void on_pause_over(uv_timer_t *timer)
{
	struct database *db = timer->data;

	database_move(db, CONNECTING);
	database_connect(db);
}

static void on_closed(void *data)
{
	struct database *db = data;
	uint32_t random = 0;
	uint64_t pause_ms;

	db->conn = NULL;
	if (db->state.state == CLOSED) {
		database_maybe_free(db);
		return;
	}
	(void)uv_random(NULL, NULL, &random, sizeof random, 0, NULL);
	pause_ms = retry_pause_ms(&db->retry, clock_boot_ms(), random);
	(void)uv_timer_start(&db->pause, on_pause_over, pause_ms, 0);
}

/* Any trouble with the control connection ends here. */
void database_reconnect(struct database *db, const struct err *e)
{
	if (db->state.state == PAUSING || db->state.state == CLOSED) {
		return;
	}
	if (db->state.state == STOPPING) {
		warn(db, sm_name(&db->state), e, "end without signing off");
		finish(db);
		return;
	}
	warn(db, sm_name(&db->state), e, "connect again");
	db->host.counters.reconnects += db->state.state == SERVING;
	database_move(db, PAUSING);
	db->host.control = NULL;
	pacer_forget(db->host.pacer);
	db->looking = 0;
	(void)uv_timer_stop(&db->heartbeat);
	(void)uv_timer_stop(&db->poll);
	pgc_close(db->conn, on_closed, db);
	database_changed(db, e);
}

/* A reply of the control connection. Errors of the server are told and
 * leave the connection; others end it. Returns whether to go on. */
int database_reply_is_well(
	struct database *db, const char *what, const struct err *e)
{
	if (db->state.state != SERVING && db->state.state != STOPPING) {
		return 0;
	}
	db->pulse.answer_ms = uv_now(db->host.loop);
	if (e == NULL) {
		return 1;
	}
	if (e->code != BFE_SQL) {
		database_reconnect(db, e);
	} else {
		warn(db, what, e, "again later");
	}
	return 0;
}

/* Our row was removed: begin a new life. */
void database_lose_incarnation(struct database *db, const struct err *e)
{
	db->host.incarnation = 0;
	database_reconnect(db, e);
}

/* ---- heartbeat ---- */

/* From when it was sent: the server's lease began later. */
static void renewed(struct database *db)
{
	db->host.renewed_ms = db->heartbeat_sent_ms;
	for (size_t i = 0; i < db->workers; i++) {
		if (db->runners[i] != NULL) {
			runner_renewed(db->runners[i]);
		}
	}
}

static void on_renewed(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct database *db = data;

	(void)request;
	if (e != NULL && strcmp(e->sqlstate, "BF010") == 0) {
		database_lose_incarnation(db, e);
		return;
	}
	if (database_reply_is_well(db, "heartbeat", e)) {
		renewed(db);
	}
}

static uint64_t heartbeat_ms(const struct database *db)
{
	uint64_t third_ms = (uint64_t)db->host.config->lease_ms / 3;

	return third_ms < HEARTBEAT_MOST_MS ? third_ms : HEARTBEAT_MOST_MS;
}

static void on_heartbeat(uv_timer_t *timer)
{
	struct database *db = timer->data;
	uint64_t deadline_ms = heartbeat_ms(db);

	if (deadline_ms < HEARTBEAT_DEADLINE_LEAST_MS) {
		deadline_ms = HEARTBEAT_DEADLINE_LEAST_MS;
	}
	db->heartbeat_sent_ms = clock_boot_ms();
	db->pulse.heartbeat_ms = uv_now(timer->loop);
	pgc_send(db->conn, queue_renew(db->host.incarnation, deadline_ms),
		on_renewed, db);
}

/* ---- the queue ---- */

static void on_poll(uv_timer_t *timer)
{
	struct database *db = timer->data;

	db->pulse.poll_ms = uv_now(timer->loop);
	database_look(db);
	database_prune(db);
}

void database_on_notify(void *data, const char *channel, const char *payload)
{
	(void)channel;
	(void)payload;
	database_look(data);
}

/* ---- serving ---- */

void database_serve(struct database *db)
{
	const struct config *c = db->host.config;
	uint64_t beat_ms = heartbeat_ms(db);
	uint64_t poll_ms = (uint64_t)c->poll_interval_ms;

	database_move(db, SERVING);
	db->served = 1;
	db->host.control = db->conn;
	renewed(db);
	retry_reset(&db->retry);
	(void)uv_timer_start(&db->heartbeat, on_heartbeat, beat_ms, beat_ms);
	(void)uv_timer_start(&db->poll, on_poll, poll_ms, poll_ms);
	database_changed(db, NULL);
	if (db->stop_asked) {
		database_maybe_stopped(db);
	} else {
		database_look(db);
	}
}

/* ---- from outside ---- */

struct database *database_start(uv_loop_t *loop, const struct config *config,
	const struct config_database *which, database_end_cb on_end, void *data)
{
	struct database *db = mem_new(1, sizeof *db);
	uv_timer_t *timers[] = { &db->pause, &db->heartbeat, &db->poll };

	db->host.loop = loop;
	db->host.config = config;
	db->host.database = which;
	db->on_end = on_end;
	db->data = data;
	db->workers = (size_t)which->workers;
	db->runners = mem_new(db->workers, sizeof db->runners[0]);
	sm_init(&db->state, which->name, states, CONNECTING);
	retry_init(
		&db->retry, RECONNECT_BASE_MS, DATABASE_PAUSE_MS, UINT64_MAX);
	for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
		(void)uv_timer_init(loop, timers[i]);
		timers[i]->data = db;
		db->timers_open++;
	}
	db->host.pacer = pacer_new(&db->host);
	db->is_pacer_open = 1;
	db->pulse.state_ms = uv_now(loop);
	err_set(&db->trouble, BFE_CONNECT, "connecting");
	database_connect(db);
	return db;
}

static void on_unregistered(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct database *db = data;

	(void)request;
	if (e != NULL) {
		warn(db, "signing off", e, "left to the lease");
	}
	finish(db);
}

/* All runners have ended: sign off, unless there is nobody to tell. */
void database_maybe_stopped(struct database *db)
{
	if (db->running > 0 || db->state.state == CLOSED || db->unregistering) {
		return;
	}
	if (db->state.state != SERVING) {
		finish(db);
		return;
	}
	/* A claim may be on its way: what it brings is given back first. */
	if (db->looking) {
		return;
	}
	database_move(db, STOPPING);
	db->unregistering = 1;
	(void)uv_timer_stop(&db->heartbeat);
	(void)uv_timer_stop(&db->poll);
	pgc_send(db->conn, queue_unregister(db->host.incarnation),
		on_unregistered, db);
}

void database_stop(struct database *db)
{
	if (db->stop_asked) {
		return;
	}
	db->stop_asked = 1;
	for (size_t i = 0; i < db->workers; i++) {
		if (db->runners[i] != NULL) {
			runner_stop(db->runners[i]);
		}
	}
	database_maybe_stopped(db);
}

void database_abandon(struct database *db)
{
	for (size_t i = 0; i < db->workers; i++) {
		if (db->runners[i] != NULL) {
			runner_abandon(db->runners[i]);
		}
	}
	finish(db);
}
