/* The happy path:
 *
 *   CONNECT -> ATTACH -> PREFLIGHT -> BEGIN -> READ_WINDOW
 *     -> BATCH -> BATCH -> … (each reads the window after it)
 *     -> NEXT_HOLE -> FINISH_RANGE -> DISCONNECT -> FINISH_JOB -> END
 *
 * A resumed job has begun: from PREFLIGHT it goes to READ_WINDOW.
 *
 * How it fails (rules/sqlstate.h says which error is which):
 *   another owner            -> DISCONNECT -> END, touching nothing
 *   paused, cancelled, stop  -> DISCONNECT -> RELEASE -> END
 *   rows held by others      -> holes, worked off after the range
 *   a lock, a lack           -> WAIT with a reason, then the same again
 *   too much at once         -> the same with half the rows
 *   connection lost          -> DISCONNECT -> TAKE -> CONNECT -> ATTACH …:
 *                               the outcome of a batch in flight is read
 *                               from the checkpoint, never inferred
 *   anything else            -> DISCONNECT -> FAIL -> END
 * What is tried again is tried for trouble_timeout at most; a hole for
 * hole_timeout. */

#include "rules/run.h"

#include <assert.h>
#include <string.h>

#include "run_internal.h"

enum {
	TROUBLE_BASE_MS = 50,
	TROUBLE_CAP_MS = 10000,
	HOLE_BASE_MS = 100,
	HOLE_CAP_MS = 5000,
	NO_LIMIT_MS = INT32_MAX
};

#define AFTER_ANY (SM_TO(RUN_DISCONNECT) | SM_TO(RUN_WAIT))

/* clang-format off */
static const struct sm_state actions[] = {
	[RUN_CONNECT] = { "connect", AFTER_ANY | SM_TO(RUN_ATTACH) },
	[RUN_ATTACH] = { "attach", AFTER_ANY | SM_TO(RUN_PREFLIGHT) },
	[RUN_PREFLIGHT] = { "preflight", AFTER_ANY | SM_TO(RUN_BEGIN) |
		SM_TO(RUN_READ_WINDOW) },
	[RUN_BEGIN] = { "begin", AFTER_ANY | SM_TO(RUN_READ_WINDOW) },
	[RUN_READ_WINDOW] = { "read window", AFTER_ANY | SM_TO(RUN_BATCH) |
		SM_TO(RUN_NEXT_HOLE) },
	[RUN_BATCH] = { "batch", AFTER_ANY | SM_TO(RUN_BATCH) |
		SM_TO(RUN_READ_WINDOW) | SM_TO(RUN_SKIP_WINDOW) |
		SM_TO(RUN_NEXT_HOLE) },
	[RUN_SKIP_WINDOW] = { "skip window", AFTER_ANY |
		SM_TO(RUN_READ_WINDOW) },
	[RUN_NEXT_HOLE] = { "next hole", AFTER_ANY | SM_TO(RUN_READ_HOLE) |
		SM_TO(RUN_DRAIN_HOLE) | SM_TO(RUN_FINISH_RANGE) },
	[RUN_READ_HOLE] = { "read hole", AFTER_ANY | SM_TO(RUN_BATCH_HOLE) },
	[RUN_BATCH_HOLE] = { "batch hole", AFTER_ANY | SM_TO(RUN_NEXT_HOLE) },
	[RUN_DRAIN_HOLE] = { "drain hole", AFTER_ANY | SM_TO(RUN_NEXT_HOLE) },
	[RUN_FINISH_RANGE] = { "finish range", AFTER_ANY },
	[RUN_WAIT] = { "wait", SM_TO(RUN_DISCONNECT) | SM_TO(RUN_CONNECT) |
		SM_TO(RUN_ATTACH) | SM_TO(RUN_PREFLIGHT) | SM_TO(RUN_BEGIN) |
		SM_TO(RUN_READ_WINDOW) | SM_TO(RUN_BATCH) |
		SM_TO(RUN_SKIP_WINDOW) | SM_TO(RUN_NEXT_HOLE) |
		SM_TO(RUN_READ_HOLE) | SM_TO(RUN_BATCH_HOLE) |
		SM_TO(RUN_FINISH_RANGE) | SM_TO(RUN_TAKE) |
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
	retry_init(&r->hole_pass, HOLE_BASE_MS, HOLE_CAP_MS, NO_LIMIT_MS);
}

void run_close(struct run *r)
{
	key_close(&r->cursor);
	key_close(&r->hi);
	key_close(&r->window_hi);
	key_close(&r->hole.lo);
	key_close(&r->hole.hi);
	key_close(&r->hole_hi);
}

enum run_action run_current(const struct run *r)
{
	return (enum run_action)r->action.state;
}

enum run_action run_move(struct run *r, enum run_action next)
{
	sm_move(&r->action, (int)next);
	return next;
}

/* ---- the walk ---- */

static void all_is_well(struct run *r)
{
	retry_reset(&r->trouble);
	r->reason[0] = '\0';
}

/* The job's own, else the configuration's. */
static struct size_limits job_limits(
	const struct run *r, const struct run_event *ev)
{
	struct size_limits limits = r->limits.size;

	if (ev->max_batch_rows > 0) {
		limits.max_rows = ev->max_batch_rows;
	}
	if (ev->batch_rows > 0) {
		limits.first_rows = ev->batch_rows;
	}
	if (limits.first_rows > limits.max_rows) {
		limits.first_rows = limits.max_rows;
	}
	if (ev->target_us > 0) {
		limits.target_us = ev->target_us;
	}
	return limits;
}

static void load_checkpoint(struct run *r, const struct run_event *ev)
{
	struct size_limits limits = job_limits(r, ev);

	r->seq = ev->seq;
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
	return run_move(r, RUN_PREFLIGHT);
}

/* A job that has begun has a bound. */
static enum run_action on_preflight_done(struct run *r)
{
	return run_move(r, r->hi.count > 0 ? RUN_READ_WINDOW : RUN_BEGIN);
}

static enum run_action on_begun(struct run *r, const struct run_event *ev)
{
	key_copy(&r->hi, ev->hi);
	if (ev->finished) {
		return run_leave(r, RUN_FINISH_JOB);
	}
	return run_move(r, RUN_READ_WINDOW);
}

static enum run_action drain_holes(struct run *r)
{
	r->hole.id = 0;
	r->held_in_pass = 0;
	return run_move(r, RUN_NEXT_HOLE);
}

/* The window ahead is known: take it, unless it became too large since it
 * was read. */
static enum run_action on_window(struct run *r, const struct run_event *ev)
{
	key_copy(&r->window_hi, ev->window_hi);
	r->window_rows = ev->window_rows;
	if (r->window_hi.count == 0) {
		return drain_holes(r);
	}
	if (run_current(r) != RUN_READ_WINDOW &&
		(double)r->size.rows < 0.75 * (double)r->window_rows) {
		return run_move(r, RUN_READ_WINDOW);
	}
	return run_move(r, RUN_BATCH);
}

static enum run_action on_batch_done(struct run *r, const struct run_event *ev)
{
	struct size_limits limits = job_limits(r, ev);

	all_is_well(r);
	r->seq++;
	key_copy(&r->cursor, &r->window_hi);
	size_set_limits(&r->size, &limits);
	size_batch_done(&r->size, &ev->sample);
	return on_window(r, ev);
}

static enum run_action on_skipped(struct run *r)
{
	all_is_well(r);
	r->seq++;
	key_copy(&r->cursor, &r->window_hi);
	return run_move(r, RUN_READ_WINDOW);
}

/* ---- holes ---- */

static void copy_hole(struct run_hole *to, const struct run_hole *from)
{
	to->id = from->id;
	to->is_window = from->is_window;
	to->age_ms = from->age_ms;
	to->remaining = from->remaining;
	key_copy(&to->lo, &from->lo);
	key_copy(&to->hi, &from->hi);
}

/* A hole that this pass met before may still hold us up: its reason stays. */
static void hole_is_well(struct run *r)
{
	retry_reset(&r->trouble);
	if (r->held_in_pass == 0) {
		r->reason[0] = '\0';
	}
}

static enum run_action on_next_hole(struct run *r, const struct run_event *ev)
{
	if (ev->hole == NULL) {
		if (r->held_in_pass == 0) {
			return run_move(r, RUN_FINISH_RANGE);
		}
		r->hole.id = 0;
		r->held_in_pass = 0;
		r->pause_ms =
			retry_pause_ms(&r->hole_pass, ev->now_ms, ev->random);
		r->again = RUN_NEXT_HOLE;
		return run_move(r, RUN_WAIT);
	}
	copy_hole(&r->hole, ev->hole);
	return run_move(r, r->hole.is_window ? RUN_READ_HOLE : RUN_DRAIN_HOLE);
}

static enum run_action on_hole_window(struct run *r, const struct run_event *ev)
{
	/* Fewer keys than asked for: up to the end of the window. */
	key_copy(&r->hole_hi,
		ev->window_rows < RUN_HOLE_ROWS ? &r->hole.hi : ev->window_hi);
	return run_move(r, RUN_BATCH_HOLE);
}

static enum run_action on_hole_batch(struct run *r)
{
	hole_is_well(r);
	r->seq++;
	/* The same hole again, if a rest of it is left. */
	r->hole.id--;
	return run_move(r, RUN_NEXT_HOLE);
}

static enum run_action on_hole_drained(struct run *r)
{
	retry_reset(&r->hole_pass);
	hole_is_well(r);
	r->seq++;
	return run_move(r, RUN_NEXT_HOLE);
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
	return a != RUN_WAIT && a != RUN_DISCONNECT && a != RUN_FINISH_RANGE &&
		!run_is_control(a);
}

enum run_action run_step(struct run *r, const struct run_event *ev)
{
	/* A wait and a disconnect always end well. */
	if (ev->error != NULL && run_current(r) != RUN_WAIT &&
		run_current(r) != RUN_DISCONNECT) {
		return run_on_error(r, ev);
	}
	/* What the action did is in the checkpoint: the next owner reads it. */
	if (ev->stop_asked && is_work(run_current(r))) {
		return run_release(r, "the daemon stops");
	}
	switch (run_current(r)) {
	case RUN_CONNECT:
		return run_move(r, RUN_ATTACH);
	case RUN_ATTACH:
		return on_attached(r, ev);
	case RUN_PREFLIGHT:
		return on_preflight_done(r);
	case RUN_BEGIN:
		return on_begun(r, ev);
	case RUN_READ_WINDOW:
		return on_window(r, ev);
	case RUN_BATCH:
		return on_batch_done(r, ev);
	case RUN_SKIP_WINDOW:
		return on_skipped(r);
	case RUN_NEXT_HOLE:
		return on_next_hole(r, ev);
	case RUN_READ_HOLE:
		return on_hole_window(r, ev);
	case RUN_BATCH_HOLE:
		return on_hole_batch(r);
	case RUN_DRAIN_HOLE:
		return on_hole_drained(r);
	case RUN_FINISH_RANGE:
		return run_leave(r, RUN_FINISH_JOB);
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
