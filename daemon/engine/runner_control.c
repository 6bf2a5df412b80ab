/* What a runner does by way of the control connection: take, finish, fail
 * and release the job, say why it does not move, cancel its own statement,
 * find out who holds it up. See runner.c for the whole.
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

enum { WATCH_LEAST_MS = 30, WATCH_AGAIN_MS = 1000 };

/* ---- sending ---- */

static void on_no_control(uv_timer_t *timer)
{
	struct err e;

	err_set(&e, BFE_CONNECT, "the control connection is down");
	runner_failed(timer->data, &e);
}

/* For actions: the runner waits for the reply. */
static void send_action(
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
		log_info("job %lld (%s): no key and no hole is left -> %s",
			(long long)r->claim.job_id, r->claim.name,
			queue_read_finished(request));
	}
	runner_done(r, &ev);
}

static void log_action(const struct runner *r, enum run_action action)
{
	const struct err *e = &r->run.error;
	long long id = (long long)r->claim.job_id;

	switch ((int)action) {
	case RUN_TAKE:
		log_info("job %lld (%s): %s -> take the range again", id,
			r->claim.name, r->run.reason);
		return;
	case RUN_FAIL:
		log_warning("job %lld (%s): %s: %s -> failed", id,
			r->claim.name, e->sqlstate, e->message);
		return;
	case RUN_RELEASE:
		log_info("job %lld (%s): %s -> release", id, r->claim.name,
			r->run.reason);
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

	log_action(r, action);
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
	send_action(r, request, on_action_done);
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
	send_action(r,
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

static void tell(struct runner *r, const char *reason)
{
	/* One at a time: somebody's open UPDATE of the job's row holds each of
	 * them up, and the heartbeat waits behind them. */
	if (strcmp(reason, r->told) == 0 || r->telling ||
		r->host->control == NULL) {
		return;
	}
	r->telling = 1;
	(void)snprintf(r->told, sizeof r->told, "%s", reason);
	if (reason[0] != '\0') {
		log_info("job %" PRId64 ": %s", r->claim.job_id, reason);
	}
	runner_send_aside(r,
		queue_set_reason(r->host->incarnation, r->claim.job_id,
			r->run.epoch, reason),
		on_told);
}

void runner_tell_reason(struct runner *r)
{
	enum run_action now = run_current(&r->run);

	/* Finishing, failing and releasing write the reason themselves. */
	if (now == RUN_WAIT || now == RUN_NEXT_HOLE ||
		r->run.reason[0] == '\0') {
		tell(r, r->run.reason);
	}
}

/* ---- who holds us up ---- */

static void on_watch(uv_timer_t *timer);

static void on_blockers(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	char reason[sizeof r->blockers + 32];

	if (runner_is_over(r) || e != NULL || r->abandoned) {
		return;
	}
	/* The reply may be about a request that has ended. */
	if (!uv_is_active((uv_handle_t *)&r->watch)) {
		return;
	}
	(void)snprintf(r->blockers, sizeof r->blockers, "%s",
		queue_read_blockers(request));
	r->waits_for_table = queue_read_waits_for_table(request);
	if (r->blockers[0] != '\0' && run_current(&r->run) != RUN_DRAIN_HOLE) {
		(void)snprintf(
			reason, sizeof reason, "held up by %s", r->blockers);
		tell(r, reason);
	}
}

static void on_watch(uv_timer_t *timer)
{
	struct runner *r = timer->data;

	runner_send_aside(r,
		queue_blockers(
			r->host->incarnation, r->claim.job_id, r->run.epoch),
		on_blockers);
}

void runner_watch_start(struct runner *r)
{
	/* Before the lock wait gives up, or there is nothing to see. */
	uint64_t first_ms = (uint64_t)r->host->config->lock_timeout_ms / 3;

	if (first_ms < WATCH_LEAST_MS) {
		first_ms = WATCH_LEAST_MS;
	}
	(void)uv_timer_start(&r->watch, on_watch, first_ms, WATCH_AGAIN_MS);
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
