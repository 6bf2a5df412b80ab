/* What a database shows to the outside: how it stands, whether it moves, and
 * what a reload changes. See database.c for the whole. */

#include "database_internal.h"

#include <string.h>

enum {
	/* A request's own deadline is 15 s. */
	LATE_MS = 20000,
	/* Two requests, one after the other. */
	LOGIN_MS = 30000
};

void database_move(struct database *db, enum database_state state)
{
	uint64_t now_ms = uv_now(db->host.loop);

	sm_move(&db->state, (int)state);
	db->pulse.state_ms = now_ms;
	if (state == SERVING) {
		db->pulse.heartbeat_ms = now_ms;
		db->pulse.poll_ms = now_ms;
		db->pulse.answer_ms = now_ms;
	}
}

void database_changed(struct database *db, const struct err *e)
{
	db->was_tried = 1;
	if (e != NULL) {
		db->trouble = *e;
	} else {
		err_clear(&db->trouble);
	}
	if (db->on_change != NULL) {
		db->on_change(db->on_change_data);
	}
}

void database_watch(struct database *db, database_watch_cb cb, void *data)
{
	db->on_change = cb;
	db->on_change_data = data;
}

void database_status(const struct database *db, struct database_status *s)
{
	memset(s, 0, sizeof *s);
	s->name = database_name(db);
	s->was_tried = db->was_tried;
	s->trouble = db->trouble.code != 0 ? db->trouble.message : NULL;
	s->rows_changed = db->host.rows_changed;
	for (size_t i = 0; i < db->workers; i++) {
		if (db->runners[i] == NULL) {
			continue;
		}
		if (runner_is_held(db->runners[i])) {
			s->held++;
		} else {
			s->running++;
		}
	}
}

static int is_late(
	const struct database *db, uint64_t since_ms, uint64_t may_take_ms)
{
	return uv_now(db->host.loop) - since_ms > may_take_ms + LATE_MS;
}

/* The pulse counts, not the handles: a timer that is set and never comes is
 * as dead as one that is not set. */
int database_is_alive(const struct database *db)
{
	const struct pulse *p = &db->pulse;
	uint64_t heartbeat_ms = (uint64_t)db->host.config->lease_ms / 3;
	uint64_t poll_ms = uv_timer_get_repeat(&db->poll);

	switch ((enum database_state)db->state.state) {
	case CONNECTING:
		return !is_late(db, p->state_ms, DATABASE_CONNECT_MS);
	case PAUSING:
		return !is_late(db, p->state_ms, DATABASE_PAUSE_MS);
	case SERVING:
		return !is_late(db, p->heartbeat_ms, heartbeat_ms) &&
			!is_late(db, p->poll_ms, poll_ms) &&
			!is_late(db, p->answer_ms, heartbeat_ms);
	case LOGIN:
	case STOPPING:
		return !is_late(db, p->state_ms, LOGIN_MS);
	case CLOSED:
		break;
	}
	/* What is left of it ends by itself, or by the patience of who stops
	 * it. */
	return 1;
}

const struct counters *database_counters(const struct database *db)
{
	return &db->host.counters;
}

void database_each_standby(
	const struct database *db, pacer_standby_cb cb, void *data)
{
	pacer_each_standby(db->host.pacer, cb, data);
}

/* Everything else is read where it is used. */
void database_reload(struct database *db)
{
	uint64_t poll_ms = (uint64_t)db->host.config->poll_interval_ms;

	if (db->state.state == SERVING &&
		uv_timer_get_repeat(&db->poll) != poll_ms) {
		uv_timer_set_repeat(&db->poll, poll_ms);
		(void)uv_timer_again(&db->poll);
	}
}
