/* What a runner does by way of the control connection: take, finish, fail
 * and release the job, say why it does not move, cancel its own statement,
 * find out who holds it up and who waits for it. See runner.c for the whole.
 *
 * While the control connection is down, each action fails at the next turn
 * of the loop, and the core waits and tries again. */

#include "runner_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "rules/units.h"

enum { WATCH_LEAST_MS = 30, WATCH_MOST_MS = 1000 };

/* ---- sending ---- */

static void on_no_control(uv_timer_t *timer)
{
	struct err e;

	err_set(&e, BFE_CONNECT, "the control connection is down");
	runner_failed(timer->data, &e);
}

void runner_send_action(
	struct runner *r, struct pgc_request *request, pgc_request_cb cb)
{
	if (r->host->control == NULL) {
		pgc_discard(request);
		(void)uv_timer_start(&r->timer, on_no_control, 0, 0);
		return;
	}
	r->control_pending++;
	pgc_send(r->host->control, request, cb, r);
}

void runner_send_aside(
	struct runner *r, struct pgc_request *request, pgc_request_cb cb)
{
	if (r->host->control == NULL) {
		pgc_discard(request);
		return;
	}
	r->control_pending++;
	pgc_send(r->host->control, request, cb, r);
}

/* First line of each callback. */
int runner_is_over(struct runner *r)
{
	r->control_pending--;
	if (r->ended) {
		runner_maybe_free(r);
		return 1;
	}
	return 0;
}

/* ---- actions ---- */

static void log_finished(
	const struct runner *r, const struct pgc_request *request)
{
	struct queue_finished f;
	struct err e;

	queue_read_finished(request, &f, &e);
	if (e.code != 0) {
		runner_log_error(r, LOG_WARNING, &e, "failed");
	} else if (r->job.is_schema_kind || r->job.is_dry_run) {
		runner_log(r, LOG_INFO, NULL, "nothing is left to do -> %s",
			f.state);
	} else {
		runner_log(r, LOG_INFO, NULL,
			"no key and no hole is left, %" PRId64
			" rows changed in %" PRId64 " batches and %.1f s -> %s",
			f.rows, f.batches, (double)f.ms / 1000, f.state);
	}
}

static void on_action_done(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = e };

	if (runner_is_over(r)) {
		return;
	}
	if (e == NULL && run_current(&r->run) == RUN_TAKE) {
		ev.epoch = queue_read_epoch(request);
	}
	if (e == NULL && run_current(&r->run) == RUN_FINISH_JOB) {
		log_finished(r, request);
	}
	runner_done(r, &ev);
}

static void log_action(const struct runner *r, enum run_action action)
{
	switch ((int)action) {
	case RUN_TAKE:
		runner_log_reason(r, " -> take the range again");
		return;
	case RUN_FAIL:
		runner_log_error(r, LOG_WARNING, &r->run.error, "failed");
		return;
	case RUN_RELEASE:
		runner_log_reason(r, " -> release");
		return;
	default:
		return;
	}
}

void runner_act_on_control(struct runner *r, enum run_action action)
{
	int64_t me = r->host->incarnation;
	int64_t job = r->claim.job_id;
	int64_t epoch = r->run.epoch;
	struct pgc_request *request = NULL;

	if (r->decided != action) {
		log_action(r, action);
		r->decided = action;
	}
	switch ((int)action) {
	case RUN_TAKE:
		request = queue_retake(me, job, r->claim.range, epoch);
		break;
	case RUN_FINISH_JOB:
		request = queue_finish(me, job, epoch);
		break;
	case RUN_FAIL:
		request = queue_fail(me, job, epoch, &r->run.error);
		break;
	case RUN_RELEASE:
		request = queue_release(me, job, epoch, r->run.reason);
		break;
	default:
		assert(0);
		return;
	}
	runner_send_action(r, request, on_action_done);
}

/* ---- the barrier ---- */

static void on_barrier(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = e };
	struct queue_barrier b;

	if (runner_is_over(r)) {
		return;
	}
	if (e == NULL) {
		b = queue_read_barrier(request);
		free(r->barrier_tokens);
		r->barrier_tokens = mem_strdup(b.tokens);
		ev.waits_for = b.waits_for;
	}
	runner_done(r, &ev);
}

void runner_barrier(struct runner *r)
{
	if (r->run.is_barrier_new) {
		free(r->barrier_tokens);
		r->barrier_tokens = NULL;
	}
	runner_send_action(r,
		queue_barrier(r->host->incarnation, r->claim.job_id,
			r->run.epoch, r->keyset.table_oid, r->barrier_tokens),
		on_barrier);
}

/* ---- why it does not move ---- */

static void on_told(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	(void)request;
	r->telling = 0;
	if (!runner_is_over(r) && e != NULL) {
		/* Not what any reason says: the next one is told anew. */
		(void)snprintf(r->told, sizeof r->told, "\n");
	}
}

/* Returns whether it is known now. */
static int tell(struct runner *r, const char *reason)
{
	/* One at a time: somebody's open UPDATE of the job's row holds each of
	 * them up, and the heartbeat waits behind them. */
	if (strcmp(reason, r->told) == 0) {
		return 1;
	}
	if (r->telling || r->host->control == NULL) {
		return 0;
	}
	r->telling = 1;
	(void)snprintf(r->told, sizeof r->told, "%s", reason);
	runner_send_aside(r,
		queue_set_reason(r->host->incarnation, r->claim.job_id,
			r->run.epoch, reason),
		on_told);
	return 1;
}

void runner_tell_reason(struct runner *r)
{
	enum run_action now = run_current(&r->run);
	int is_new;

	/* Finishing, failing and releasing write the reason themselves. */
	if (now == RUN_WAIT || now == RUN_PACE || now == RUN_NEXT_HOLE ||
		now == RUN_READ_WINDOW || now == RUN_READ_HOLE ||
		r->run.reason[0] == '\0') {
		/* Of a hold only new causes. */
		is_new = strcmp(r->run.reason, r->told) != 0;
		if (!tell(r, r->run.reason)) {
			return;
		}
		if (is_new && r->run.reason[0] != '\0' &&
			(now != RUN_PACE ||
				r->held_causes != r->held_causes_told)) {
			runner_log_reason(r, "");
		}
		r->held_causes_told = now == RUN_PACE ? r->held_causes : 0;
	}
}

/* ---- who holds us up, and who waits for us ---- */

/* The reply may be about a request that has ended. */
static int is_of_the_past(const struct runner *r)
{
	return r->abandoned || r->asked_of != r->watched ||
		!uv_is_active((const uv_handle_t *)&r->watch);
}

static void on_unblocked(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	r->asking = 0;
	if (runner_is_over(r) || e != NULL || is_of_the_past(r)) {
		return;
	}
	if (!queue_read_unblocked(request)) {
		r->waiting[0] = '\0';
	}
}

/* Known before it is cancelled: the batch may end before we hear that it
 * was. */
static void unblock(struct runner *r, const struct pgc_request *watched)
{
	int64_t limit_ms = r->host->config->max_blocking_time_ms;
	int64_t waited_ms = queue_read_waited_ms(watched);
	const char *waiting = queue_read_waiting(watched);
	char limit[32];

	if (waiting[0] == '\0' || waited_ms < limit_ms) {
		return;
	}
	(void)snprintf(r->waiting, sizeof r->waiting,
		"%s has waited %.1f s for the batch (max_blocking_time %s)",
		waiting, (double)waited_ms / 1000,
		units_format_time_ms(limit, sizeof limit, limit_ms));
	r->asking = 1;
	runner_send_aside(r,
		queue_unblock(r->host->incarnation, r->claim.job_id,
			r->run.epoch, limit_ms),
		on_unblocked);
}

static void on_blockers(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	char reason[sizeof r->blockers + 32];

	r->asking = 0;
	if (runner_is_over(r) || e != NULL || is_of_the_past(r)) {
		return;
	}
	(void)snprintf(r->blockers, sizeof r->blockers, "%s",
		queue_read_blockers(request));
	r->waits_for_table = queue_read_waits_for_table(request);
	if (r->blockers[0] != '\0' && run_current(&r->run) != RUN_DRAIN_HOLE) {
		(void)snprintf(
			reason, sizeof reason, "held up by %s", r->blockers);
		if (strcmp(reason, r->told) != 0 && tell(r, reason)) {
			runner_log(r, LOG_INFO, NULL, "%s", reason);
		}
	}
	/* What reads a whole table for hours makes only those wait who change
	 * the schema themselves, and they can see why (backfill.locks). */
	if (!run_is_at_long_step(&r->run)) {
		unblock(r, request);
	}
}

static void on_watch(uv_timer_t *timer)
{
	struct runner *r = timer->data;

	/* One at a time, as above. */
	if (r->asking || r->host->control == NULL) {
		return;
	}
	r->asking = 1;
	r->asked_of = r->watched;
	runner_send_aside(r,
		queue_blockers(
			r->host->incarnation, r->claim.job_id, r->run.epoch),
		on_blockers);
}

static uint64_t within(int64_t least, int64_t ms, int64_t most)
{
	return (uint64_t)(ms < least ? least : ms > most ? most : ms);
}

void runner_watch_start(struct runner *r)
{
	const struct config *c = r->host->config;
	int64_t lock_timeout_ms = r->job.lock_timeout_ms > 0
		? r->job.lock_timeout_ms
		: c->lock_timeout_ms;
	/* Before the lock wait gives up, or there is nothing to see. */
	uint64_t first_ms = within(
		WATCH_LEAST_MS, lock_timeout_ms / 3, c->max_blocking_time_ms);
	/* Nobody waits for much longer than max_blocking_time. */
	uint64_t again_ms = within(
		WATCH_LEAST_MS, c->max_blocking_time_ms / 4, WATCH_MOST_MS);

	r->watched++;
	(void)uv_timer_start(&r->watch, on_watch, first_ms, again_ms);
}

void runner_watch_stop(struct runner *r)
{
	(void)uv_timer_stop(&r->watch);
}

/* ---- cancel ---- */

static void on_cancelled(
	void *data, struct pgc_request *request, const struct err *e)
{
	(void)request;
	(void)e;
	(void)runner_is_over(data);
}

void runner_cancel(struct runner *r)
{
	if (r->conn == NULL) {
		return;
	}
	runner_send_aside(r,
		queue_cancel_runner(
			r->host->incarnation, r->claim.job_id, r->run.epoch),
		on_cancelled);
}
