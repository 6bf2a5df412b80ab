/* The part of rules/run.c that deals with errors: who is met by what is
 * told there. */

#include "run_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rules/sqlstate.h"

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
	(void)snprintf(r->reason, sizeof r->reason, "%s", why);
	return run_leave(r, RUN_RELEASE);
}

/* ---- trouble ---- */

int run_is_control(enum run_action a)
{
	return a == RUN_TAKE || a == RUN_FINISH_JOB || a == RUN_FAIL ||
		a == RUN_RELEASE;
}

static void set_reason(struct run *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void set_reason(struct run *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(r->reason, sizeof r->reason, format, args);
	va_end(args);
	(void)text_trim(r->reason);
}

static void tell_trouble(struct run *r, const struct run_event *ev)
{
	const struct err *e = ev->error;

	if (ev->blockers != NULL) {
		set_reason(r, "held up by %s -> again in %llu ms", ev->blockers,
			(unsigned long long)r->pause_ms);
	} else {
		set_reason(r, "%.5s%s%s -> again in %llu ms", e->sqlstate,
			e->sqlstate[0] != '\0' ? ": " : "", e->message,
			(unsigned long long)r->pause_ms);
	}
}

/* Do again after a growing pause, until the budget is spent. The control
 * connection's own trouble has no budget: while it is down, nothing can be
 * recorded, and once it is back, the epoch says whose the range is. */
static enum run_action again_later(
	struct run *r, const struct run_event *ev, enum run_action again)
{
	struct err spent;

	if (!run_is_control(run_current(r)) &&
		retry_is_spent(&r->trouble, ev->now_ms)) {
		spent = *ev->error;
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
		return run_move(r, RUN_READ_WINDOW);
	}
	return again_later(r, ev, run_current(r));
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
		return again_later(r, ev, RUN_FAIL);
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
	if (class == SQLSTATE_STOP) {
		return on_control_refusal(r, ev);
	}
	if (class == SQLSTATE_RECONNECT) {
		/* An outage of the control connection spends no budget. */
		r->trouble.first_failure_ms = ev->now_ms;
	}
	return again_later(r, ev, now);
}

static void tell_hole(struct run *r, const struct run_event *ev)
{
	struct text key;

	text_init(&key);
	key_describe(&r->hole.hi, &key);
	set_reason(r,
		"waits for %lld rows held by others: key (%s) for %lld s%s%s",
		(long long)r->hole.remaining, key.data,
		(long long)(r->hole.age_ms / 1000),
		ev->blockers != NULL ? " by " : "",
		ev->blockers != NULL ? ev->blockers : "");
	text_close(&key);
}

/* The row of a hole could not be locked in time: the next hole. */
static enum run_action on_held_hole(struct run *r, const struct run_event *ev)
{
	struct err e;

	tell_hole(r, ev);
	retry_reset(&r->trouble); /* hole_timeout is the clock of these */
	if (r->hole.age_ms > (int64_t)r->limits.hole_timeout_ms) {
		err_set(&e, BFE_SQL,
			"rows were held by others for longer than"
			" hole_timeout (%llu s)",
			(unsigned long long)(r->limits.hole_timeout_ms / 1000));
		memcpy(e.sqlstate, "BF023", 6);
		err_set_detail(&e, "The job %s.", r->reason);
		err_set_hint(&e,
			"End the transaction that holds them, then submit a"
			" job for the rows that are left (see"
			" backfill.holes).");
		return run_fail(r, &e);
	}
	r->held_in_pass++;
	return run_move(r, RUN_NEXT_HOLE);
}

/* Part of the hole in hand could not be tried at all: the same hole again,
 * read afresh. */
static enum run_action hole_again_later(
	struct run *r, const struct run_event *ev)
{
	r->hole.id--;
	return again_later(r, ev, RUN_NEXT_HOLE);
}

static int is_hole_batch(enum run_action a)
{
	return a == RUN_DRAIN_HOLE || a == RUN_BATCH_HOLE;
}

enum run_action run_on_error(struct run *r, const struct run_event *ev)
{
	enum run_action now = run_current(r);
	enum sqlstate_class class = sqlstate_classify(ev->error);

	if (run_is_control(now)) {
		return on_control_error(r, ev, class);
	}
	if (ev->of_job &&
		(class == SQLSTATE_FORGET || class == SQLSTATE_STOPPED)) {
		class = SQLSTATE_STOP;
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
	case SQLSTATE_HELD:
		if (now == RUN_BATCH) {
			return run_move(r, RUN_SKIP_WINDOW);
		}
		/* Rows came into the part since it was read. */
		return is_hole_batch(now) ? hole_again_later(r, ev)
					  : again_later(r, ev, now);
	case SQLSTATE_RETRY:
		return now == RUN_DRAIN_HOLE ? on_held_hole(r, ev)
					     : again_later(r, ev, now);
	case SQLSTATE_SHRINK:
		return now == RUN_DRAIN_HOLE ? on_held_hole(r, ev)
					     : shrink(r, ev);
	case SQLSTATE_WAIT:
		return is_hole_batch(now) ? hole_again_later(r, ev)
					  : again_later(r, ev, now);
	case SQLSTATE_RECONNECT:
		return reconnect(r, ev);
	case SQLSTATE_STOP:
		break;
	}
	return run_fail(r, ev->error);
}
