/* A runner carries out what the pure core (rules/run.h) decides, one action
 * at a time:
 *
 *      run_step() ──action──> send_x ──reply──> on_x_done ──event──┐
 *          ^                                                       │
 *          └───────────────────────────────────────────────────────┘
 *
 * The happy path and the ways it fails stand in rules/run.c. This file has
 * the loop, the pauses and the end; runner_session.c connects and prepares,
 * runner_batch.c works on rows, runner_step.c on the schema,
 * runner_control.c speaks to the queue,
 * runner_line.c notices that the server will not answer any more.
 *
 * It ends in two steps: RUN_END closes the timers; the memory is freed when
 * they are closed, the connection is closed and no reply of the control
 * connection is outstanding. An abandoned runner hears nothing any more. */

#include "runner_internal.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rules/sqlstate.h"

enum {
	TELL_HELD_MS = 5000,
	/* Longest hold for errors that are tried again (promise P7). */
	TROUBLE_TIMEOUT_MS = 60 * 60 * 1000
};

/* As what the pacer says, and none of it. */
static const unsigned HELD_BY_LEASE = UINT_MAX;

static void act(struct runner *r, enum run_action action);

int host_may_begin(const struct host *h)
{
	return (int64_t)(clock_boot_ms() - h->renewed_ms) <
		h->config->lease_ms * 2 / 3;
}

int64_t runner_job(const struct runner *r)
{
	return r->claim.job_id;
}

int64_t runner_epoch(const struct runner *r)
{
	return r->run.epoch;
}

int runner_is_held(const struct runner *r)
{
	return r->run.reason[0] != '\0';
}

/* ---- the end ---- */

void runner_maybe_free(struct runner *r)
{
	if (!r->ended || r->timers_open > 0 || r->control_pending > 0 ||
		r->conn != NULL) {
		return;
	}
	r->on_end(r->data, r);
	run_close(&r->run);
	work_job_close(&r->job);
	keyset_close(&r->keyset);
	preflight_close(&r->preflight);
	free(r->barrier_tokens);
	free(r->stopped_by);
	free(r->lock_mode);
	free(r->lock_tables);
	text_close(&r->pieces);
	text_close(&r->held_by);
	setlist_close(&r->columns);
	key_close(&r->window_hi);
	key_close(&r->hole.lo);
	key_close(&r->hole.hi);
	key_close(&r->bound);
	free(r);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct runner *r = handle->data;

	r->timers_open--;
	runner_maybe_free(r);
}

static void end(struct runner *r)
{
	if (r->ended) {
		return;
	}
	r->ended = 1;
	pacer_leave(r->host->pacer, &r->pacer);
	uv_close((uv_handle_t *)&r->timer, on_timer_closed);
	uv_close((uv_handle_t *)&r->watch, on_timer_closed);
	uv_close((uv_handle_t *)&r->line, on_timer_closed);
}

/* ---- events ---- */

static uint32_t random_number(void)
{
	uint32_t value = 0;

	/* Without randomness the pauses only lose their jitter. */
	(void)uv_random(NULL, NULL, &value, sizeof value, 0, NULL);
	return value;
}

static struct run_limits limits_of(const struct config *c)
{
	struct run_limits limits = {
		.size = {
			.first_rows = c->batch_rows,
			.max_rows = c->max_batch_rows,
			.target_us = c->target_batch_time_ms * 1000,
			.max_wal_bytes = c->max_batch_wal_bytes,
		},
		.barrier_timeout_ms = (uint64_t)c->barrier_timeout_ms,
		.hole_timeout_ms = (uint64_t)c->hole_timeout_ms,
		.trouble_timeout_ms = TROUBLE_TIMEOUT_MS,
		.max_blocking_us = c->max_blocking_time_ms * 1000,
	};

	return limits;
}

/* A lease that was not renewed holds like a standby that lags: whoever waits
 * for it is told, can be stopped, and has the pacer asked again after it. */
static unsigned hold_for_lease(const struct runner *r, struct text *reason)
{
	text_reset(reason);
	text_addf(reason,
		"held: the daemon's lease was not renewed for %.1f s -> goes"
		" on when it is",
		(double)(clock_boot_ms() - r->host->renewed_ms) / 1000);
	return HELD_BY_LEASE;
}

/* The numbers of a hold change all the time: they are told anew only every few
 * seconds, its causes at once. */
static void ask_pacer(struct runner *r, struct run_event *ev)
{
	struct pacer_answer answer;
	struct text now;

	text_init(&now);
	answer = pacer_ask(r->host->pacer, &r->pacer, &now);
	if (!host_may_begin(r->host)) {
		answer.held = hold_for_lease(r, &now);
	}
	if (answer.held != r->held_causes ||
		ev->now_ms - r->held_told_ms >= TELL_HELD_MS) {
		text_reset(&r->held_by);
		text_add(&r->held_by, now.data);
		r->held_told_ms = ev->now_ms;
	}
	text_close(&now);
	r->held_causes = answer.held;
	ev->held_by = answer.held != 0 ? r->held_by.data : NULL;
	ev->pace_ms = answer.wait_ms;
	(void)snprintf(r->paced_by, sizeof r->paced_by, "%s", answer.paced_by);
	ev->paced_by = r->paced_by;
	ev->max_batch_wal_bytes = answer.max_wal_bytes;
	ev->stopped_by = r->stopped_by;
}

void runner_done(struct runner *r, struct run_event *ev)
{
	struct run_limits limits = limits_of(r->host->config);
	enum run_action next;

	if (r->abandoned) {
		return;
	}
	runner_watch_stop(r);
	runner_line_stop(r);
	ev->now_ms = clock_boot_ms();
	ev->random = random_number();
	ev->stop_asked = r->stop_asked;
	ev->blockers = r->blockers[0] != '\0' ? r->blockers : NULL;
	ev->waits_for_table = r->waits_for_table;
	ev->waiting = r->waiting[0] != '\0' ? r->waiting : NULL;
	ev->of_job = r->failure_of_job;
	r->failure_of_job = 0;
	if (ev->error != NULL) {
		counters_error(&r->host->counters, ev->error);
		ev->sample.elapsed_us = r->failure_elapsed_us;
	}
	ask_pacer(r, ev);
	/* Not what the job's own code raised: then the job fails. */
	if (ev->error != NULL && !ev->of_job &&
		sqlstate_classify(ev->error) == SQLSTATE_FORGET) {
		runner_log_error(
			r, LOG_WARNING, ev->error, "another daemon has it");
	}
	memcpy(r->last_sqlstate, ev->error != NULL ? ev->error->sqlstate : "",
		ev->error != NULL ? sizeof r->last_sqlstate : 1);
	/* The configuration may have been reloaded. */
	run_set_limits(&r->run, &limits);
	next = run_step(&r->run, ev);
	r->blockers[0] = '\0';
	r->waits_for_table = 0;
	free(r->stopped_by);
	r->stopped_by = NULL;
	r->waiting[0] = '\0';
	runner_tell_reason(r);
	act(r, next);
}

void runner_failed(struct runner *r, const struct err *e)
{
	struct run_event ev = { .error = e };

	if (!r->abandoned) {
		runner_log_error(r, LOG_DEBUG, e, sm_name(&r->run.action));
	}
	runner_done(r, &ev);
}

/* ---- pauses ---- */

static void on_pause_over(uv_timer_t *timer)
{
	struct runner *r = timer->data;
	struct run_event ev = { .error = NULL };

	runner_done(r, &ev);
}

static void wait(struct runner *r)
{
	(void)uv_timer_start(&r->timer, on_pause_over, r->run.pause_ms, 0);
}

/* ---- actions ---- */

static void act(struct runner *r, enum run_action action)
{
	switch (action) {
	case RUN_CONNECT:
		runner_connect(r);
		return;
	case RUN_ATTACH:
		runner_attach(r);
		return;
	case RUN_PREFLIGHT:
		runner_preflight(r);
		return;
	case RUN_BEGIN:
		runner_begin(r);
		return;
	case RUN_READ_WINDOW:
	case RUN_BATCH:
	case RUN_SKIP_WINDOW:
	case RUN_NEXT_HOLE:
	case RUN_READ_HOLE:
	case RUN_BATCH_HOLE:
	case RUN_DRAIN_HOLE:
	case RUN_SET_ASIDE:
	case RUN_FINISH_RANGE:
		runner_act_on_rows(r, action);
		return;
	case RUN_DRY_RUN:
		runner_dry_run(r);
		return;
	case RUN_EXAMINE:
	case RUN_GUARD:
	case RUN_STEP:
		runner_act_on_schema(r, action);
		return;
	case RUN_BARRIER:
		runner_barrier(r);
		return;
	case RUN_PACE:
	case RUN_WAIT:
		wait(r);
		return;
	case RUN_DISCONNECT:
		runner_disconnect(r);
		return;
	case RUN_TAKE:
	case RUN_FINISH_JOB:
	case RUN_FAIL:
	case RUN_RELEASE:
		runner_act_on_control(r, action);
		return;
	case RUN_END:
		end(r);
		return;
	}
}

/* ---- from outside ---- */

/* A pause ends now; anything else under way ends by itself. */
static void end_pause(struct runner *r)
{
	enum run_action now = run_current(&r->run);

	if ((now == RUN_WAIT || now == RUN_PACE) && !r->ended) {
		(void)uv_timer_start(&r->timer, on_pause_over, 0, 0);
	}
}

static void on_pace_changed(void *data)
{
	struct runner *r = data;

	if (run_current(&r->run) == RUN_PACE) {
		end_pause(r);
	}
}

struct runner *runner_start(struct host *host, const struct queue_claim *claim,
	runner_end_cb on_end, void *data)
{
	struct runner *r = mem_new(1, sizeof *r);
	struct run_limits limits = limits_of(host->config);

	r->host = host;
	r->claim = *claim;
	r->on_end = on_end;
	r->data = data;
	preflight_init(&r->preflight);
	text_init(&r->held_by);
	text_init(&r->pieces);
	r->pacer.on_change = on_pace_changed;
	r->pacer.data = r;
	pacer_join(host->pacer, &r->pacer);
	run_init(&r->run, &limits, claim->epoch);
	(void)uv_timer_init(host->loop, &r->timer);
	(void)uv_timer_init(host->loop, &r->watch);
	r->timer.data = r;
	(void)uv_timer_init(host->loop, &r->line);
	r->watch.data = r;
	r->line.data = r;
	r->timers_open = 3;
	act(r, run_current(&r->run));
	return r;
}

void runner_stop(struct runner *r)
{
	r->stop_asked = 1;
	end_pause(r);
	/* Nobody waits for hours; the next daemon begins it anew. */
	if (!r->ended && run_is_at_long_step(&r->run)) {
		runner_cancel(r);
	}
}

void runner_wake(struct runner *r, int cancelled, const char *why_not)
{
	if (r->abandoned || r->ended) {
		return;
	}
	free(r->stopped_by);
	r->stopped_by = mem_strdup(why_not);
	end_pause(r);
	if (cancelled) {
		runner_cancel(r);
	}
}

void runner_renewed(struct runner *r)
{
	if (!r->abandoned && !r->ended && r->held_causes == HELD_BY_LEASE) {
		on_pace_changed(r);
	}
}

void runner_limit_lag(struct runner *r, int64_t limit_ms)
{
	if (r->abandoned || r->ended || r->pacer.limit_ms == limit_ms) {
		return;
	}
	r->pacer.limit_ms = limit_ms;
	on_pace_changed(r);
}

static void on_abandoned_closed(void *data)
{
	struct runner *r = data;

	r->conn = NULL;
	runner_maybe_free(r);
}

void runner_abandon(struct runner *r)
{
	if (r->abandoned) {
		return;
	}
	r->abandoned = 1;
	/* In RUN_DISCONNECT the connection is closing already. */
	if (r->conn != NULL && run_current(&r->run) != RUN_DISCONNECT) {
		pgc_close(r->conn, on_abandoned_closed, r);
	}
	end(r);
	runner_maybe_free(r);
}
