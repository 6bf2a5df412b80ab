/* Windows, batches and holes on the runner connection: for each action a
 * pair send_x, on_x_done. See runner.c for the whole. */

#include "runner_internal.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"

enum {
	/* Statements of a batch that may each take statement_timeout. */
	STATEMENTS = 3,
	DEADLINE_MARGIN_MS = 15000
};

/* Our own clock over a batch: later than every timeout of the server, for
 * a server or a proxy that answers no more. */
static uint64_t deadline_ms(const struct runner *r)
{
	int64_t timeout_ms = r->statement_timeout_ms;

	if (r->job.statement_timeout_ms > timeout_ms) {
		timeout_ms = r->job.statement_timeout_ms;
	}
	return (uint64_t)(STATEMENTS * timeout_ms + DEADLINE_MARGIN_MS);
}

static void well(struct runner *r)
{
	struct run_event ev = { .error = NULL };

	runner_done(r, &ev);
}

/* ---- windows ---- */

static void on_window_read(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };

	if (runner_request_failed(r, e)) {
		return;
	}
	work_read_window(request, &r->window_hi, &ev);
	runner_done(r, &ev);
}

static void send_read_window(struct runner *r)
{
	runner_send(r,
		work_window(&r->keyset, &r->run.cursor, &r->run.hi,
			r->run.limit, deadline_ms(r)),
		on_window_read);
}

/* ---- batches ---- */

/* First line of the callback of what changes rows: whether it failed, which
 * is told by then. Only the preflight knows the names of the triggers. */
static int change_failed(struct runner *r, const struct pgc_request *request,
	const struct err *e)
{
	const char *triggers = r->preflight.before_triggers;
	const char *of = "table's";
	const char *does = NULL;
	struct err named;

	r->failure_of_job = work_failed_in_job(request);
	r->failure_elapsed_us = (int64_t)pgc_elapsed_us(request);
	if (e != NULL && strcmp(e->sqlstate, "BF014") == 0) {
		does = "return NULL";
	} else if (e != NULL && strcmp(e->sqlstate, "BF021") == 0) {
		does = "assign a key column";
	} else if (e != NULL && strcmp(e->sqlstate, "BF037") == 0) {
		does = "return NULL";
		of = "archive's";
		triggers = r->preflight.archive_triggers;
	}
	if (does == NULL || triggers == NULL) {
		return runner_request_failed(r, e);
	}
	named = *e;
	err_set_hint(&named, "Does one of the %s BEFORE triggers %s: %s?", of,
		does, triggers);
	return runner_request_failed(r, &named);
}

static void on_batch_done(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };
	struct err failure;

	if (change_failed(r, request, e)) {
		return;
	}
	if (work_read_batch(request, &r->window_hi, &ev, &r->pacer.limit_ms,
		    &failure) != 0) {
		runner_failed(r, &failure);
		return;
	}
	pacer_spend(r->host->pacer, ev.sample.wal_bytes);
	ev.sample.rows_read = r->run.window_rows;
	r->host->rows_changed += (uint64_t)ev.sample.rows_changed;
	counters_batch(&r->host->counters, r->claim.job_id,
		(uint64_t)ev.sample.elapsed_us);
	runner_log(r, LOG_DEBUG, NULL,
		"batch %lld: %lld of %lld rows in %lld us",
		(long long)r->run.seq, (long long)ev.sample.rows_changed,
		(long long)ev.sample.rows_read,
		(long long)ev.sample.elapsed_us);
	runner_done(r, &ev);
}

static void send_batch(struct runner *r)
{
	const struct work_batch batch = {
		.fence = runner_fence(r),
		.may_wait = r->preflight.may_wait,
		.is_slow = r->run.is_slow,
		.window = {
			.lo = &r->run.cursor,
			.hi = &r->run.window_hi,
			.rows_read = r->run.window_rows,
			.size = r->run.size.rows,
		},
		.range_hi = &r->run.hi,
		.next_limit = r->run.next_limit,
		.deadline_ms = deadline_ms(r),
	};

	runner_send(r, work_batch(&r->keyset, &batch), on_batch_done);
	runner_watch_start(r);
}

static void on_window_skipped(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	(void)request;
	if (runner_request_failed(r, e)) {
		return;
	}
	runner_log(r, LOG_INFO, NULL,
		"rows of a window are held, or keep it waiting -> the window"
		" is left for later");
	well(r);
}

static void send_skip_window(struct runner *r)
{
	struct fence fence = runner_fence(r);

	runner_send(r,
		work_skip_window(&fence, &r->run.window_hi, r->run.window_rows,
			deadline_ms(r)),
		on_window_skipped);
}

/* ---- holes ---- */

static void on_hole_listed(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };
	struct err failure;

	if (runner_request_failed(r, e)) {
		return;
	}
	if (work_read_hole(request, &r->hole, &ev, &failure) != 0 ||
		(ev.hole != NULL &&
			(runner_check_key(r, &r->hole.lo, &failure) != 0 ||
				runner_check_key(r, &r->hole.hi, &failure) !=
					0))) {
		runner_failed(r, &failure);
		return;
	}
	runner_done(r, &ev);
}

static void send_next_hole(struct runner *r)
{
	struct fence fence = runner_fence(r);

	runner_send(r,
		work_next_hole(&fence, r->run.hole.id, r->run.holes_descend),
		on_hole_listed);
}

static void send_read_hole(struct runner *r)
{
	runner_send(r,
		work_window(&r->keyset, &r->run.hole.lo, &r->run.hole.hi,
			r->run.limit, deadline_ms(r)),
		on_window_read);
}

static void send_batch_hole(struct runner *r)
{
	const struct work_batch batch = {
		.fence = runner_fence(r),
		.may_wait = r->preflight.may_wait,
		.is_slow = r->run.is_slow,
		.window = {
			.lo = &r->run.hole.lo,
			.hi = &r->run.hole_hi,
			.size = r->run.size.rows,
			.hole = r->run.hole.id,
		},
		.range_hi = &r->run.hole.hi,
		.next_limit = 1,
		.deadline_ms = deadline_ms(r),
	};

	runner_send(r, work_batch(&r->keyset, &batch), on_batch_done);
	runner_watch_start(r);
}

static void on_hole_drained(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct err failure;

	if (change_failed(r, request, e)) {
		return;
	}
	if (work_read_drained(request, &failure) != 0) {
		runner_failed(r, &failure);
		return;
	}
	r->host->rows_changed++;
	counters_batch(
		&r->host->counters, r->claim.job_id, pgc_elapsed_us(request));
	well(r);
}

static void send_drain_hole(struct runner *r)
{
	struct fence fence = runner_fence(r);

	runner_send(r,
		work_drain_hole(&r->keyset, &fence, r->preflight.may_wait,
			r->run.is_slow, &r->run.hole, deadline_ms(r)),
		on_hole_drained);
	runner_watch_start(r);
}

static void on_set_aside(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	const struct err *why = &r->run.aside.error;

	(void)request;
	if (runner_request_failed(r, e)) {
		return;
	}
	if (why->code != 0) {
		runner_log_error(r, LOG_WARNING, why,
			"the row is recorded in backfill.row_errors");
	}
	well(r);
}

static void send_set_aside(struct runner *r)
{
	struct fence fence = runner_fence(r);

	runner_send(r, work_set_aside(&fence, &r->run.aside), on_set_aside);
}

/* ---- the end of the range ---- */

static void on_range_finished(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };

	if (runner_request_failed(r, e)) {
		return;
	}
	work_read_range_finished(request, &ev);
	if (!ev.finished) {
		runner_log(r, LOG_INFO, NULL,
			"no hole is left -> closing sweep %d", ev.pass);
	}
	runner_done(r, &ev);
}

static void send_finish_range(struct runner *r)
{
	struct fence fence = runner_fence(r);

	runner_send(r, work_finish_range(&fence), on_range_finished);
}

void runner_act_on_rows(struct runner *r, enum run_action action)
{
	switch ((int)action) {
	case RUN_READ_WINDOW:
		send_read_window(r);
		return;
	case RUN_BATCH:
		send_batch(r);
		return;
	case RUN_SKIP_WINDOW:
		send_skip_window(r);
		return;
	case RUN_NEXT_HOLE:
		send_next_hole(r);
		return;
	case RUN_READ_HOLE:
		send_read_hole(r);
		return;
	case RUN_BATCH_HOLE:
		send_batch_hole(r);
		return;
	case RUN_DRAIN_HOLE:
		send_drain_hole(r);
		return;
	case RUN_SET_ASIDE:
		send_set_aside(r);
		return;
	case RUN_FINISH_RANGE:
		send_finish_range(r);
		return;
	default:
		assert(0);
	}
}
