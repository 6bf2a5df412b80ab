/* What the service manager is told, by one timer and at every change:
 *
 *   start -> READY=1 as soon as each database serves, or could not be reached
 *     at the first try: a daemon must start while its database is down, and
 *     jobs of the others must not wait for it; STATUS= tells which is which
 *   tick -> STATUS= if it is another one; WATCHDOG=1 if every database is
 *     alive (engine/database.h); the timer itself shows that the loop turns
 *   SIGHUP -> RELOADING=1, then READY=1
 *   stop -> STOPPING=1, then EXTEND_TIMEOUT_USEC= with each tick while the
 *     last batches run; service.c has the patience that ends them
 *
 * A manager that sees no WATCHDOG=1 kills the daemon and starts another; the
 * jobs go on from their checkpoints. */

#include "service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	TICK_MS = 5000,
	/* A missed tick or two must not end a stop. */
	EXTEND_US = 3 * TICK_MS * 1000
};

/* ---- status ---- */

static void count_rows(struct service *s)
{
	uint64_t now_ms = uv_now(&s->loop);
	uint64_t passed_ms = now_ms - s->counted_ms;
	struct database_status db;

	if (passed_ms == 0) {
		return;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (s->databases[i] == NULL) {
			continue;
		}
		database_status(s->databases[i], &db);
		s->rows_per_second[i] =
			(double)(db.rows_changed - s->counted_rows[i]) * 1000 /
			(double)passed_ms;
		s->counted_rows[i] = db.rows_changed;
	}
	s->counted_ms = now_ms;
}

static void tell_status(struct service *s)
{
	struct text status;

	text_init(&status);
	text_add(&status, "STATUS=");
	service_add_status(s, &status);
	if (strcmp(status.data, s->status.data) != 0 &&
		notify_send(&s->notify, status.data)) {
		text_reset(&s->status);
		text_add(&s->status, status.data);
	}
	text_close(&status);
}

/* ---- ready ---- */

static int is_every_database_tried(const struct service *s)
{
	struct database_status db;

	for (size_t i = 0; i < s->count; i++) {
		if (s->databases[i] == NULL) {
			return 0;
		}
		database_status(s->databases[i], &db);
		if (!db.was_tried) {
			return 0;
		}
	}
	return 1;
}

static void on_change(void *data)
{
	struct service *s = data;

	tell_status(s);
	if (!s->is_ready && !s->stopping && is_every_database_tried(s)) {
		s->is_ready = notify_send(&s->notify, "READY=1");
	}
}

/* ---- ticks ---- */

static int is_every_database_alive(struct service *s)
{
	struct database_status db;
	struct log_about about = { .job = 0 };

	for (size_t i = 0; i < s->count; i++) {
		if (s->databases[i] == NULL ||
			database_is_alive(s->databases[i])) {
			continue;
		}
		if (!s->is_dead) {
			database_status(s->databases[i], &db);
			about.database = db.name;
			log_about(LOG_ERROR, &about,
				"nothing moves any more -> no word to the"
				" watchdog");
		}
		s->is_dead = 1;
		return 0;
	}
	s->is_dead = 0;
	return 1;
}

static void on_tick(uv_timer_t *timer)
{
	struct service *s = timer->data;

	log_tick();
	count_rows(s);
	on_change(s);
	if (is_every_database_alive(s) && s->notify.watchdog_ms > 0) {
		(void)notify_send(&s->notify, "WATCHDOG=1");
	}
	if (s->stopping) {
		service_notify_stopping(s);
	}
}

/* ---- the contract ---- */

int service_notify_open(struct service *s, struct err *e)
{
	if (notify_open(&s->notify, e) != 0) {
		return e->code;
	}
	text_init(&s->status);
	(void)uv_timer_init(&s->loop, &s->tick);
	s->tick.data = s;
	return 0;
}

void service_notify_start(struct service *s)
{
	uint64_t half_ms = s->notify.watchdog_ms / 2;
	uint64_t tick_ms = half_ms > 0 && half_ms < TICK_MS ? half_ms : TICK_MS;

	s->counted_ms = uv_now(&s->loop);
	s->counted_rows = mem_new(s->count, sizeof s->counted_rows[0]);
	s->rows_per_second = mem_new(s->count, sizeof s->rows_per_second[0]);
	for (size_t i = 0; i < s->count; i++) {
		database_watch(s->databases[i], on_change, s);
	}
	(void)uv_timer_start(&s->tick, on_tick, tick_ms, tick_ms);
	tell_status(s);
}

void service_notify_stopping(struct service *s)
{
	struct text lines;

	text_init(&lines);
	text_addf(&lines, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", EXTEND_US);
	(void)notify_send(&s->notify, lines.data);
	text_close(&lines);
	tell_status(s);
}

void service_notify_reloading(struct service *s)
{
	if (s->is_ready) {
		notify_reloading(&s->notify);
	}
}

void service_notify_reloaded(struct service *s)
{
	tell_status(s);
	if (s->is_ready) {
		s->is_ready = notify_send(&s->notify, "READY=1");
	}
}

void service_notify_end(struct service *s)
{
	uv_close((uv_handle_t *)&s->tick, NULL);
}

void service_notify_close(struct service *s)
{
	notify_close(&s->notify);
	text_close(&s->status);
	free(s->counted_rows);
	free(s->rows_per_second);
}
