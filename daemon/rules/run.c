/* The happy path:
 *
 *   CONNECT -> ATTACH -> PREFLIGHT -> BARRIER -> BEGIN -> READ_WINDOW
 *     -> BATCH -> BATCH -> … (each reads the window after it)
 *     -> NEXT_HOLE -> FINISH_RANGE
 *     -> BARRIER -> READ_WINDOW -> … (the closing sweep, if there is one)
 *     -> DISCONNECT -> FINISH_JOB -> END
 *
 * A resumed job has begun: from PREFLIGHT it goes to READ_WINDOW, or first to
 * the holes when rows that had failed are to be tried again. A dry run goes
 * from PREFLIGHT to DRY_RUN and ends. A job that changes the schema goes from
 * ATTACH its own way (run_schema.c).
 *
 * How it fails (rules/sqlstate.h says which error is which):
 *   another owner            -> DISCONNECT -> END, touching nothing
 *   paused, cancelled, stop  -> DISCONNECT -> RELEASE -> END
 *   a standby too far behind, a rate used up
 *                            -> PACE, then the batch that waited (run_pace.c)
 *   rows held by others      -> holes, worked off after the range (run_holes.c)
 *   a row that cannot be changed, or that keeps its batch waiting
 *                            -> half the window, and half of that, until it
 *                               stands alone: SET_ASIDE (run_bisect.c)
 *   a lock, a lack           -> WAIT with a reason, then the same again
 *   too much at once         -> the same with half the rows
 *   an application waits for the batch for too long
 *                            -> cancelled, and the same (run_blocking.c)
 *   connection lost          -> DISCONNECT -> TAKE -> CONNECT -> ATTACH …:
 *                               the outcome of a batch in flight is read
 *                               from the checkpoint, never inferred
 *   anything else            -> DISCONNECT -> FAIL -> END
 * What is tried again is tried for trouble_timeout at most; a hole for
 * hole_timeout, the barrier for barrier_timeout. */

#include "rules/run.h"

#include <assert.h>
#include <string.h>

#include "run_internal.h"

enum {
	TROUBLE_BASE_MS = 50,
	TROUBLE_CAP_MS = 10000,
	HOLE_BASE_MS = 100,
	HOLE_CAP_MS = 5000,
	BARRIER_BASE_MS = 20,
	BARRIER_CAP_MS = 1000,
	NO_LIMIT_MS = INT32_MAX
};

#define AFTER_ANY (SM_TO(RUN_DISCONNECT) | SM_TO(RUN_WAIT) | SM_TO(RUN_PACE))

/* clang-format off */
static const struct sm_state actions[] = {
	[RUN_CONNECT] = { "connect", AFTER_ANY | SM_TO(RUN_ATTACH) },
	[RUN_ATTACH] = { "attach", AFTER_ANY | SM_TO(RUN_PREFLIGHT) |
		SM_TO(RUN_EXAMINE) },
	[RUN_PREFLIGHT] = { "preflight", AFTER_ANY | SM_TO(RUN_BARRIER) |
		SM_TO(RUN_DRY_RUN) | SM_TO(RUN_NEXT_HOLE) |
		SM_TO(RUN_READ_WINDOW) },
	[RUN_BARRIER] = { "barrier", AFTER_ANY | SM_TO(RUN_BEGIN) |
		SM_TO(RUN_READ_WINDOW) },
	[RUN_BEGIN] = { "begin", AFTER_ANY | SM_TO(RUN_READ_WINDOW) },
	[RUN_READ_WINDOW] = { "read window", AFTER_ANY | SM_TO(RUN_BATCH) |
		SM_TO(RUN_NEXT_HOLE) },
	[RUN_BATCH] = { "batch", AFTER_ANY | SM_TO(RUN_BATCH) |
		SM_TO(RUN_READ_WINDOW) | SM_TO(RUN_SKIP_WINDOW) |
		SM_TO(RUN_SET_ASIDE) | SM_TO(RUN_NEXT_HOLE) },
	[RUN_SKIP_WINDOW] = { "skip window", AFTER_ANY |
		SM_TO(RUN_READ_WINDOW) },
	[RUN_NEXT_HOLE] = { "next hole", AFTER_ANY | SM_TO(RUN_READ_HOLE) |
		SM_TO(RUN_DRAIN_HOLE) | SM_TO(RUN_NEXT_HOLE) |
		SM_TO(RUN_READ_WINDOW) | SM_TO(RUN_BARRIER) |
		SM_TO(RUN_FINISH_RANGE) },
	[RUN_READ_HOLE] = { "read hole", AFTER_ANY | SM_TO(RUN_BATCH_HOLE) },
	[RUN_BATCH_HOLE] = { "batch hole", AFTER_ANY | SM_TO(RUN_NEXT_HOLE) |
		SM_TO(RUN_READ_HOLE) | SM_TO(RUN_SET_ASIDE) },
	[RUN_DRAIN_HOLE] = { "drain hole", AFTER_ANY | SM_TO(RUN_NEXT_HOLE) |
		SM_TO(RUN_SET_ASIDE) },
	[RUN_SET_ASIDE] = { "set aside", AFTER_ANY | SM_TO(RUN_READ_WINDOW) |
		SM_TO(RUN_NEXT_HOLE) },
	[RUN_FINISH_RANGE] = { "finish range", AFTER_ANY |
		SM_TO(RUN_BARRIER) },
	[RUN_DRY_RUN] = { "dry run", AFTER_ANY },
	[RUN_EXAMINE] = { "examine", AFTER_ANY | SM_TO(RUN_EXAMINE) |
		SM_TO(RUN_GUARD) | SM_TO(RUN_STEP) },
	[RUN_GUARD] = { "guard", AFTER_ANY | SM_TO(RUN_EXAMINE) |
		SM_TO(RUN_STEP) },
	[RUN_STEP] = { "step", AFTER_ANY | SM_TO(RUN_EXAMINE) },
	[RUN_PACE] = { "pace", SM_TO(RUN_DISCONNECT) | SM_TO(RUN_PACE) |
		SM_TO(RUN_BATCH) | SM_TO(RUN_SKIP_WINDOW) |
		SM_TO(RUN_BATCH_HOLE) | SM_TO(RUN_DRAIN_HOLE) |
		SM_TO(RUN_SET_ASIDE) | SM_TO(RUN_EXAMINE) |
		SM_TO(RUN_STEP) },
	[RUN_WAIT] = { "wait", SM_TO(RUN_DISCONNECT) | SM_TO(RUN_CONNECT) |
		SM_TO(RUN_PACE) |
		SM_TO(RUN_ATTACH) | SM_TO(RUN_PREFLIGHT) |
		SM_TO(RUN_BARRIER) | SM_TO(RUN_BEGIN) |
		SM_TO(RUN_READ_WINDOW) | SM_TO(RUN_BATCH) |
		SM_TO(RUN_SKIP_WINDOW) | SM_TO(RUN_NEXT_HOLE) |
		SM_TO(RUN_READ_HOLE) | SM_TO(RUN_BATCH_HOLE) |
		SM_TO(RUN_SET_ASIDE) | SM_TO(RUN_FINISH_RANGE) |
		SM_TO(RUN_DRY_RUN) | SM_TO(RUN_TAKE) |
		SM_TO(RUN_EXAMINE) | SM_TO(RUN_GUARD) | SM_TO(RUN_STEP) |
		SM_TO(RUN_FINISH_JOB) | SM_TO(RUN_FAIL) | SM_TO(RUN_RELEASE) },
	[RUN_DISCONNECT] = { "disconnect", SM_TO(RUN_WAIT) |
		SM_TO(RUN_FINISH_JOB) | SM_TO(RUN_FAIL) |
		SM_TO(RUN_RELEASE) | SM_TO(RUN_END) },
	[RUN_TAKE] = { "take", SM_TO(RUN_WAIT) | SM_TO(RUN_CONNECT) |
		SM_TO(RUN_END) },
	[RUN_FINISH_JOB] = { "finish job", SM_TO(RUN_WAIT) | SM_TO(RUN_END) |
		SM_TO(RUN_RELEASE) | SM_TO(RUN_FAIL) },
	[RUN_FAIL] = { "fail", SM_TO(RUN_WAIT) | SM_TO(RUN_END) },
	[RUN_RELEASE] = { "release", SM_TO(RUN_WAIT) | SM_TO(RUN_END) },
	[RUN_END] = { "end", 0 },
};
/* clang-format on */

void run_init(struct run *r, const struct run_limits *limits, int64_t epoch)
{
	memset(r, 0, sizeof *r);
	r->limits = *limits;
	r->epoch = epoch;
	sm_init(&r->action, "run", actions, RUN_CONNECT);
	size_init(&r->size, &limits->size, 0);
	retry_init(&r->trouble, TROUBLE_BASE_MS, TROUBLE_CAP_MS,
		limits->trouble_timeout_ms);
	retry_init(&r->hole_pass, HOLE_BASE_MS, HOLE_CAP_MS,
		limits->hole_timeout_ms);
	retry_init(
		&r->barrier_poll, BARRIER_BASE_MS, BARRIER_CAP_MS, NO_LIMIT_MS);
}

void run_set_limits(struct run *r, const struct run_limits *limits)
{
	r->limits = *limits;
	r->hole_pass.budget_ms = limits->hole_timeout_ms;
}

void run_close(struct run *r)
{
	key_close(&r->cursor);
	key_close(&r->hi);
	key_close(&r->window_hi);
	key_close(&r->hole.lo);
	key_close(&r->hole.hi);
	key_close(&r->hole_hi);
	key_close(&r->aside.key);
}

enum run_action run_current(const struct run *r)
{
	return (enum run_action)r->action.state;
}

enum run_action run_move(struct run *r, enum run_action next)
{
	next = run_paced(r, next);
	sm_move(&r->action, (int)next);
	return next;
}

/* ---- the walk ---- */

void run_all_is_well(struct run *r)
{
	retry_reset(&r->trouble);
	run_forget_slow_row(r);
	r->reason[0] = '\0';
}

/* The batch reads the window after it, as if it had gone well. */
static enum run_action send_batch(struct run *r)
{
	struct run_bisect now = r->bisect;

	run_bisect_passed(&r->bisect, r->window_rows);
	r->next_limit = run_window_limit(r, r->rows_left - r->window_rows);
	r->bisect = now;
	return run_move(r, RUN_BATCH);
}

static enum run_action start_barrier(struct run *r)
{
	retry_reset(&r->barrier_poll);
	r->is_barrier_new = 1;
	r->barrier_since_ms = 0;
	return run_move(r, RUN_BARRIER);
}

static void load_checkpoint(struct run *r, const struct run_event *ev)
{
	struct size_limits limits = run_job_limits(r, ev);

	r->seq = ev->seq;
	r->schema.has_begun = ev->is_schema_kind && ev->begun;
	r->pass = ev->pass;
	r->is_delete = ev->is_delete;
	r->is_dry_run = ev->is_dry_run;
	r->records_errors = ev->records_errors;
	r->walk_after_holes = ev->holes_first;
	r->rows_left = ev->rows_left;
	r->pace.max_rows_per_second = ev->max_rows_per_second;
	r->references = RUN_REFERENCES_LATER;
	run_forget_slow_row(r);
	memset(&r->bisect, 0, sizeof r->bisect);
	key_copy(&r->cursor, ev->cursor);
	key_copy(&r->hi, ev->hi);
	size_init(&r->size, &limits, ev->last_batch_rows);
}

static enum run_action on_attached(struct run *r, const struct run_event *ev)
{
	load_checkpoint(r, ev);
	if (ev->finished) {
		return run_leave(r, RUN_FINISH_JOB);
	}
	return run_move(r, ev->is_schema_kind ? RUN_EXAMINE : RUN_PREFLIGHT);
}

/* From the cursor on. A sweep that has a cursor had its barrier. */
enum run_action run_walk(struct run *r)
{
	if (r->pass > 0 && r->cursor.count == 0) {
		return start_barrier(r);
	}
	return run_read_window(r);
}

/* A job that has begun has a bound. */
static enum run_action on_preflight_done(
	struct run *r, const struct run_event *ev)
{
	if (r->is_dry_run) {
		return run_move(r, RUN_DRY_RUN);
	}
	r->refers_to_itself = ev->refers_to_itself;
	r->holes_descend = r->is_delete && r->refers_to_itself;
	if (r->hi.count == 0) {
		return start_barrier(r);
	}
	return r->walk_after_holes ? run_drain_holes(r) : run_walk(r);
}

static enum run_action on_barrier(struct run *r, const struct run_event *ev)
{
	if (ev->waits_for != NULL) {
		return run_wait_at_barrier(r, ev);
	}
	run_leave_barrier(r, ev);
	return r->hi.count == 0 ? run_move(r, RUN_BEGIN) : run_read_window(r);
}

static enum run_action on_begun(struct run *r, const struct run_event *ev)
{
	key_copy(&r->hi, ev->hi);
	if (ev->finished) {
		return run_leave(r, RUN_FINISH_JOB);
	}
	return run_read_window(r);
}

static int is_too_large(const struct run *r)
{
	return (double)run_window_limit(r, r->rows_left) <
		0.75 * (double)r->window_rows ||
		(r->rows_left > 0 && r->window_rows > r->rows_left);
}

/* The window ahead is known: take it, unless it became too large since it
 * was read. */
static enum run_action on_window(struct run *r, const struct run_event *ev)
{
	key_copy(&r->window_hi, ev->window_hi);
	r->window_rows = ev->window_rows;
	if (r->window_hi.count == 0) {
		r->bisect.suspects = 0;
		return run_drain_holes(r);
	}
	if (run_current(r) != RUN_READ_WINDOW && is_too_large(r)) {
		return run_read_window(r);
	}
	return send_batch(r);
}

static enum run_action on_batch_done(struct run *r, const struct run_event *ev)
{
	struct size_limits limits = run_job_limits(r, ev);

	run_all_is_well(r);
	r->seq++;
	r->rows_left = ev->rows_left - ev->sample.rows_changed;
	r->pace.max_rows_per_second = ev->max_rows_per_second;
	run_note_rows(r, ev->sample.rows_changed);
	key_copy(&r->cursor, &r->window_hi);
	size_set_limits(&r->size, &limits);
	if (r->bisect.suspects > 0) {
		/* Small by our own wish: nothing to learn from. */
		run_bisect_passed(&r->bisect, r->window_rows);
	} else {
		size_batch_done(&r->size, &ev->sample);
	}
	return on_window(r, ev);
}

static enum run_action on_skipped(struct run *r)
{
	run_all_is_well(r);
	r->seq++;
	run_bisect_passed(&r->bisect, r->window_rows);
	key_copy(&r->cursor, &r->window_hi);
	return run_read_window(r);
}

static enum run_action on_range_finished(
	struct run *r, const struct run_event *ev)
{
	if (ev->finished) {
		return run_leave(r, RUN_FINISH_JOB);
	}
	r->seq++;
	r->pass = ev->pass;
	r->references = RUN_REFERENCES_LATER;
	key_close(&r->cursor);
	return start_barrier(r);
}

/* ---- */

static enum run_action on_waited(struct run *r, const struct run_event *ev)
{
	enum run_action again = (enum run_action)r->again;

	/* Release raises the epoch too: no need to take first. */
	if (ev->stop_asked && (again == RUN_TAKE || !run_is_control(again))) {
		return run_release(r, "the daemon stops");
	}
	return run_move(r, again);
}

static enum run_action on_taken(struct run *r, const struct run_event *ev)
{
	r->epoch = ev->epoch;
	return run_move(r, RUN_CONNECT);
}

static enum run_action on_disconnected(struct run *r)
{
	if (r->again == RUN_TAKE) {
		return run_move(r, RUN_WAIT);
	}
	return run_move(r, (enum run_action)r->again);
}

/* Whether this action may be followed by more work on the range. */
static int is_work(enum run_action a)
{
	return a != RUN_WAIT && a != RUN_DISCONNECT && a != RUN_DRY_RUN &&
		!run_is_control(a);
}

static enum run_action on_well(struct run *r, const struct run_event *ev)
{
	switch (run_current(r)) {
	case RUN_CONNECT:
		return run_move(r, RUN_ATTACH);
	case RUN_ATTACH:
		return on_attached(r, ev);
	case RUN_PREFLIGHT:
		return on_preflight_done(r, ev);
	case RUN_BARRIER:
		return on_barrier(r, ev);
	case RUN_BEGIN:
		return on_begun(r, ev);
	case RUN_READ_WINDOW:
		return on_window(r, ev);
	case RUN_BATCH:
		return on_batch_done(r, ev);
	case RUN_SKIP_WINDOW:
		return on_skipped(r);
	case RUN_NEXT_HOLE:
		return run_on_next_hole(r, ev);
	case RUN_READ_HOLE:
		return run_on_hole_window(r, ev);
	case RUN_BATCH_HOLE:
		return run_on_hole_batch(r, ev);
	case RUN_DRAIN_HOLE:
		return run_on_hole_drained(r);
	case RUN_SET_ASIDE:
		return run_on_set_aside(r);
	case RUN_FINISH_RANGE:
		return on_range_finished(r, ev);
	case RUN_DRY_RUN:
		return run_leave(r, RUN_FINISH_JOB);
	case RUN_EXAMINE:
		return run_on_examined(r, ev);
	case RUN_GUARD:
		return run_on_guard(r, ev);
	case RUN_STEP:
		return run_on_step_done(r, ev);
	case RUN_PACE:
		return run_on_paced(r);
	case RUN_WAIT:
		return on_waited(r, ev);
	case RUN_DISCONNECT:
		return on_disconnected(r);
	case RUN_TAKE:
		return on_taken(r, ev);
	case RUN_FINISH_JOB:
	case RUN_FAIL:
	case RUN_RELEASE:
		return run_move(r, RUN_END);
	case RUN_END:
		break;
	}
	assert(0); /* an event after the end */
	return RUN_END;
}

static enum run_action decide(struct run *r, const struct run_event *ev)
{
	/* A wait and a disconnect always end well. */
	if (ev->error != NULL && run_current(r) != RUN_WAIT &&
		run_current(r) != RUN_PACE &&
		run_current(r) != RUN_DISCONNECT) {
		return run_on_error(r, ev);
	}
	/* What the action did is in the checkpoint: the next owner reads it.
	 * A range that is finished has nothing left to give back. */
	if (ev->stop_asked && is_work(run_current(r)) &&
		!((run_current(r) == RUN_FINISH_RANGE ||
			  run_current(r) == RUN_STEP) &&
			ev->finished)) {
		return run_release(r, "the daemon stops");
	}
	return on_well(r, ev);
}

/* Who waits for the pacer asks no server, which would say so. */
enum run_action run_step(struct run *r, const struct run_event *ev)
{
	enum run_action next;

	run_note_pace(r, ev);
	next = decide(r, ev);
	return next == RUN_PACE && ev->stopped_by != NULL
		? run_give_back(r, ev->stopped_by)
		: next;
}
