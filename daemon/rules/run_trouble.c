/* The part of rules/run.c that deals with errors: who is met by what is
 * told there. */

#include "run_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char UNTOLD[] =
	"the job failed with an error that could not be recorded";

/* ---- leaving ---- */

/* Close the connection, then do the last thing. */
enum run_action run_leave(struct run *r, enum run_action last)
{
	r->again = (int)last;
	return run_move(r, RUN_DISCONNECT);
}

enum run_action run_fail(struct run *r, const struct err *e)
{
	r->error = *e;
	if (r->error.sqlstate[0] == '\0') {
		memcpy(r->error.sqlstate,
			e->code == BFE_PROTOCOL ? "XX000" : "08006", 6);
	}
	return run_leave(r, RUN_FAIL);
}

enum run_action run_release(struct run *r, const char *why)
{
	run_set_reason(r, "%s", why);
	return run_leave(r, RUN_RELEASE);
}

/* ---- trouble ---- */

int run_is_control(enum run_action a)
{
	return a == RUN_TAKE || a == RUN_FINISH_JOB || a == RUN_FAIL ||
		a == RUN_RELEASE;
}

void run_set_reason(struct run *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(r->reason, sizeof r->reason, format, args);
	va_end(args);
	(void)text_trim(r->reason);
	run_quote(r, 0, 0);
}

void run_quote(struct run *r, size_t at, size_t length)
{
	r->quoted.at = at;
	r->quoted.length = length;
}

static void tell_trouble(struct run *r, const struct run_event *ev)
{
	const struct err *e = ev->error;

	if (run_is_blocking(r, ev)) {
		run_set_reason(r, "%s -> cancelled, again in %llu ms",
			ev->waiting, (unsigned long long)r->pause_ms);
	} else if (ev->blockers != NULL) {
		run_set_reason(r, "held up by %s -> again in %llu ms",
			ev->blockers, (unsigned long long)r->pause_ms);
	} else {
		run_set_reason(r, "%.5s%s%s -> again in %llu ms", e->sqlstate,
			e->sqlstate[0] != '\0' ? ": " : "", e->message,
			(unsigned long long)r->pause_ms);
		if (e->may_quote) {
			run_quote(r, strlen(e->sqlstate) + strlen(": "),
				strlen(e->message));
		}
	}
}

/* The server's own detail may quote the row. */
static struct err without_row(const struct run_event *ev)
{
	struct err e = *ev->error;

	if (ev->of_job && sqlstate_classify(&e) == SQLSTATE_ROW) {
		e.detail[0] = '\0';
	}
	return e;
}

/* Do again after a growing pause, until the budget is spent. The control
 * connection's own trouble has no budget: while it is down, nothing can be
 * recorded, and once it is back, the epoch says whose the range is. */
enum run_action run_again_later(
	struct run *r, const struct run_event *ev, enum run_action again)
{
	struct err spent;

	if (!run_is_control(run_current(r)) &&
		retry_is_spent(&r->trouble, ev->now_ms)) {
		spent = without_row(ev);
		if (spent.detail[0] == '\0') {
			err_set_detail(&spent, "It was tried again for %llu s.",
				(unsigned long long)(r->trouble.budget_ms /
					1000));
		}
		return run_fail(r, &spent);
	}
	r->pause_ms = retry_pause_ms(&r->trouble, ev->now_ms, ev->random);
	r->again = (int)again;
	tell_trouble(r, ev);
	return run_move(r, RUN_WAIT);
}

/* The runner connection is gone. What the server did is unknown: only a
 * raised epoch, which waits for the old transaction, makes the checkpoint
 * the truth. */
static enum run_action reconnect(struct run *r, const struct run_event *ev)
{
	if (retry_is_spent(&r->trouble, ev->now_ms)) {
		return run_fail(r, ev->error);
	}
	r->pause_ms = retry_pause_ms(&r->trouble, ev->now_ms, ev->random);
	tell_trouble(r, ev);
	return run_leave(r, RUN_TAKE);
}

/* A smaller window: the hi in hand is too far ahead. */
static enum run_action shrink(struct run *r, const struct run_event *ev)
{
	if (run_current(r) == RUN_BATCH && size_halve(&r->size)) {
		return run_read_window(r);
	}
	if (run_current(r) == RUN_DRY_RUN) {
		(void)size_halve(&r->size);
	} else if (ev->of_job && r->window_rows == 1) {
		run_note_slow_row(r);
	}
	/* More may be in it than was read. */
	if (run_current(r) == RUN_BATCH_HOLE && r->window_rows < 1) {
		return run_hole_again_later(r, ev);
	}
	return run_again_later(r, ev, run_current(r));
}

/* The server will not have it, now or later. What the job failed with may
 * be the cause: the SQLSTATE alone is told then. Beyond that the daemon,
 * which finds a job of its own that nobody runs, releases it. */
static enum run_action on_control_refusal(
	struct run *r, const struct run_event *ev)
{
	char sqlstate[sizeof r->error.sqlstate];

	switch ((int)run_current(r)) {
	case RUN_FINISH_JOB:
		r->error = *ev->error;
		return run_move(r, RUN_FAIL);
	case RUN_FAIL:
		if (strcmp(r->error.message, UNTOLD) == 0) {
			return run_move(r, RUN_END);
		}
		memcpy(sqlstate, r->error.sqlstate, sizeof sqlstate);
		err_set(&r->error, BFE_SQL, "%s", UNTOLD);
		memcpy(r->error.sqlstate, sqlstate, sizeof sqlstate);
		return run_again_later(r, ev, RUN_FAIL);
	default:
		return run_move(r, RUN_END);
	}
}

static enum run_action on_control_error(
	struct run *r, const struct run_event *ev, enum sqlstate_class class)
{
	enum run_action now = run_current(r);

	if (class == SQLSTATE_FORGET) {
		return run_move(r, RUN_END);
	}
	if (class == SQLSTATE_STOPPED && now == RUN_FINISH_JOB) {
		return run_move(r, RUN_RELEASE);
	}
	if (class == SQLSTATE_STOP || class == SQLSTATE_ROW) {
		return on_control_refusal(r, ev);
	}
	if (class == SQLSTATE_RECONNECT) {
		/* An outage of the control connection spends no budget. */
		r->trouble.first_failure_ms = ev->now_ms;
	}
	return run_again_later(r, ev, now);
}

/* ---- the barrier ---- */

enum run_action run_wait_at_barrier(struct run *r, const struct run_event *ev)
{
	uint64_t timeout_s = r->limits.barrier_timeout_ms / 1000;
	struct err e;

	if (r->barrier_since_ms == 0) {
		r->barrier_since_ms = ev->now_ms;
		r->trouble_before_barrier = r->trouble;
	}
	retry_reset(&r->trouble); /* barrier_timeout is the clock now */
	r->is_barrier_new = 0;
	run_set_reason(r, "waits for transactions that write the table: %s",
		ev->waits_for);
	if (ev->now_ms - r->barrier_since_ms > r->limits.barrier_timeout_ms) {
		err_set(&e, BFE_SQL,
			"transactions that write the table did not end within"
			" barrier_timeout (%llu s)",
			(unsigned long long)timeout_s);
		memcpy(e.sqlstate, "BF025", 6);
		err_set_detail(&e, "The job %s.", r->reason);
		err_set_hint(&e, "End them, then backfill.retry(job) goes on.");
		return run_fail(r, &e);
	}
	r->pause_ms = retry_pause_ms(&r->barrier_poll, ev->now_ms, ev->random);
	r->again = RUN_BARRIER;
	return run_move(r, RUN_WAIT);
}

/* Trouble that comes back behind each barrier lasts, however long they took:
 * else it would be tried again for ever. */
void run_leave_barrier(struct run *r, const struct run_event *ev)
{
	if (r->barrier_since_ms != 0) {
		r->trouble = r->trouble_before_barrier;
		r->trouble.first_failure_ms += ev->now_ms - r->barrier_since_ms;
	}
	r->reason[0] = '\0';
}

/* The control connection asks, the runner connection stands by. Whatever
 * went wrong, who writes must be found out anew: a server that was started
 * again gives its transactions other names. */
static enum run_action on_barrier_error(
	struct run *r, const struct run_event *ev, enum sqlstate_class class)
{
	run_leave_barrier(r, ev);
	r->is_barrier_new = 1;
	r->barrier_since_ms = 0; /* their clock starts anew with them */
	switch (class) {
	case SQLSTATE_FORGET:
		return run_leave(r, RUN_END);
	case SQLSTATE_STOPPED:
		return run_release(r, ev->error->message);
	case SQLSTATE_STOP:
	case SQLSTATE_ROW:
		return run_fail(r, ev->error);
	case SQLSTATE_RECONNECT:
		r->trouble.first_failure_ms = ev->now_ms;
		break;
	default:
		break;
	}
	return run_again_later(r, ev, RUN_BARRIER);
}

/* ---- rows ---- */

/* Waits for a lock that are simply waited for again. Where nobody was seen in
 * the way, the look may have come too late, and it is the table that somebody
 * has locked: that is given more. */
enum { PATIENCE = 3, PATIENCE_UNSEEN = 6 };

static int is_hole_batch(enum run_action a)
{
	return a == RUN_DRAIN_HOLE || a == RUN_BATCH_HOLE;
}

static enum run_action on_error_in_drain(
	struct run *r, const struct run_event *ev, enum sqlstate_class class)
{
	if (class == SQLSTATE_RETRY) {
		return run_on_held_hole(r, ev);
	}
	if (class == SQLSTATE_SHRINK && !ev->of_job) {
		return run_hole_again_later(r, ev);
	}
	if (class == SQLSTATE_SHRINK && !run_is_too_slow(r)) {
		run_note_slow_row(r);
		return run_hole_again_later(r, ev);
	}
	if (run_is_own_reference(r, ev)) {
		return run_on_referenced_hole(r);
	}
	return run_on_row_error(r, ev, &r->hole.hi, r->hole.id);
}

/* What the error is to this action. */
static enum sqlstate_class classify(
	const struct run *r, const struct run_event *ev)
{
	enum sqlstate_class class = sqlstate_classify(ev->error);

	/* A trigger may raise our codes and mean nothing by it. */
	if (ev->of_job &&
		(class == SQLSTATE_FORGET || class == SQLSTATE_STOPPED)) {
		return SQLSTATE_STOP;
	}
	/* A timeout while others held us up: not the size is the matter. */
	if (class == SQLSTATE_SHRINK && ev->blockers != NULL && ev->of_job &&
		!run_is_schema(run_current(r))) {
		return SQLSTATE_RETRY;
	}
	if (class == SQLSTATE_ROW &&
		(!ev->of_job || run_current(r) == RUN_DRY_RUN)) {
		return SQLSTATE_STOP;
	}
	return class;
}

/* Whether the whole window is left for later: others hold many of its rows,
 * or keep it waiting, or rows of a later window refer to it. A lock of the
 * whole table is not the window's matter. */
static int is_for_later(const struct run *r, const struct run_event *ev,
	enum sqlstate_class class)
{
	int is_unseen = ev->blockers == NULL &&
		strcmp(ev->error->sqlstate, "55P03") == 0;

	if (class == SQLSTATE_RETRY) {
		return ev->of_job && !ev->waits_for_table &&
			r->trouble.failures >=
			(unsigned)(is_unseen ? PATIENCE_UNSEEN : PATIENCE);
	}
	return class == SQLSTATE_HELD || run_is_own_reference(r, ev);
}

static enum run_action on_row_work_error(
	struct run *r, const struct run_event *ev, enum sqlstate_class class)
{
	enum run_action now = run_current(r);

	if (now == RUN_DRAIN_HOLE && class != SQLSTATE_HELD &&
		class != SQLSTATE_WAIT) {
		return on_error_in_drain(r, ev, class);
	}
	if (now == RUN_BATCH && is_for_later(r, ev, class)) {
		return run_move(r, RUN_SKIP_WINDOW);
	}
	if (now == RUN_BATCH_HOLE && class == SQLSTATE_RETRY && ev->of_job) {
		return run_on_held_hole(r, ev);
	}
	if (now == RUN_BATCH_HOLE && run_is_own_reference(r, ev) &&
		r->references == RUN_REFERENCES_LATER) {
		return run_on_referenced_hole(r);
	}
	if (run_is_of_a_row(r, ev, class)) {
		return run_halve(r, ev);
	}
	if (class == SQLSTATE_SHRINK) {
		return shrink(r, ev);
	}
	/* What was read of the hole may have changed since, or was too much at
	 * once. */
	if (is_hole_batch(now) && class == SQLSTATE_HELD) {
		r->held_hole = r->hole.id;
	}
	if (is_hole_batch(now) && class != SQLSTATE_RETRY) {
		return run_hole_again_later(r, ev);
	}
	return run_again_later(r, ev, now);
}

enum run_action run_on_error(struct run *r, const struct run_event *ev)
{
	enum run_action now = run_current(r);
	enum sqlstate_class class = classify(r, ev);
	struct err e;

	if (run_is_control(now)) {
		return on_control_error(r, ev, class);
	}
	if (now == RUN_BARRIER) {
		return on_barrier_error(r, ev, class);
	}
	if (now == RUN_GUARD ||
		(run_is_schema(now) && class != SQLSTATE_RECONNECT)) {
		return run_on_schema_error(r, ev, class);
	}
	if (run_is_blocking(r, ev)) {
		return run_on_blocking(r, ev);
	}
	/* The target was unknown when the job was claimed, and another job
	 * runs on it: jobs_running_target_key. */
	if (now == RUN_BEGIN && strcmp(ev->error->sqlstate, "23505") == 0) {
		return run_release(r, "waits: another job runs on the table");
	}
	switch (class) {
	case SQLSTATE_FORGET:
		return run_leave(r, RUN_END);
	case SQLSTATE_STOPPED:
		return run_release(r, ev->error->message);
	case SQLSTATE_RECONNECT:
		return reconnect(r, ev);
	case SQLSTATE_STOP:
		e = without_row(ev);
		return run_fail(r, &e);
	default:
		return on_row_work_error(r, ev, class);
	}
}
