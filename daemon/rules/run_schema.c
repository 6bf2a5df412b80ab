/* The part of rules/run.c about jobs of the schema kinds, which change no rows:
 *
 *   ATTACH -> EXAMINE -> GUARD -> STEP -> EXAMINE -> … -> STEP (nothing left)
 *     -> DISCONNECT -> FINISH_JOB -> END
 *
 * Each examination reads the catalog: there is nothing to remember, and
 * whatever killed a step, the next examination goes on from what is there.
 *
 * The guard looks who has held the table for long. A step that waited behind
 * them would have every application wait behind itself: it does not even try,
 * names them in its reason and comes back. Who came to hold it meanwhile costs
 * the step its lock_timeout at most.
 *
 * How it fails:
 *   a lock not had, a deadlock, an application kept waiting
 *                          -> WAIT, growing, with jitter -> EXAMINE
 *   rows in the way, a refusal, a timeout of the statement
 *                          -> leave, and FAIL
 *   cancelled, stopped     -> leave, and RELEASE
 * To leave, what a statement alone may have left is cleared away first, by
 * steps of its own (EXAMINE with is_leaving). That is tried a few times only:
 * what then remains is found by backfill.retry() or plan_down(). */

#include "run_internal.h"

#include <stdio.h>
#include <string.h>

enum {
	/* The catalog says that a step which went well is still to be done. */
	MOST_REPEATS = 3,
	MOST_ATTEMPTS_TO_LEAVE = 3
};

int run_is_schema(enum run_action a)
{
	return a == RUN_EXAMINE || a == RUN_GUARD || a == RUN_STEP;
}

int run_is_at_long_step(const struct run *r)
{
	return run_current(r) == RUN_STEP &&
		(r->schema.is_long || r->schema.way == RUN_WAY_ALONE);
}

enum run_action run_examine(struct run *r)
{
	return run_move(r, RUN_EXAMINE);
}

/* ---- leaving */

static enum run_action leave_now(struct run *r)
{
	if (r->schema.last == RUN_RELEASE) {
		return run_release(r, r->schema.why);
	}
	return run_leave(r, r->schema.last);
}

static enum run_action clear_away(struct run *r, enum run_action last)
{
	struct run_schema *s = &r->schema;

	s->last = last;
	if (!s->has_begun || s->is_leaving) {
		return leave_now(r);
	}
	s->is_leaving = 1;
	s->attempts_to_leave = 0;
	retry_reset(&r->trouble);
	return run_examine(r);
}

static enum run_action fail(struct run *r, const struct err *e)
{
	r->error = *e;
	return clear_away(r, RUN_FAIL);
}

enum run_action run_give_back(struct run *r, const char *why)
{
	(void)snprintf(r->schema.why, sizeof r->schema.why, "%s", why);
	return clear_away(r, RUN_RELEASE);
}

/* ---- the happy path */

static enum run_action tell_no_progress(struct run *r)
{
	struct err e;

	err_set(&e, BFE_SQL, "a step went well, and is still to be done: %s",
		r->schema.told);
	memcpy(e.sqlstate, "BF012", 6);
	err_set_hint(&e, "Does an event trigger take back what it does?");
	return fail(r, &e);
}

static int is_same_again(struct run *r)
{
	struct run_schema *s = &r->schema;

	s->repeats = strcmp(s->told, s->before) == 0 ? s->repeats + 1 : 0;
	return s->repeats >= MOST_REPEATS;
}

enum run_action run_on_examined(struct run *r, const struct run_event *ev)
{
	struct run_schema *s = &r->schema;

	s->way = ev->way;
	s->is_long = ev->is_long;
	(void)snprintf(s->told, sizeof s->told, "%s",
		ev->told != NULL ? ev->told : "");
	if (s->way == RUN_WAY_NONE && s->is_leaving) {
		return leave_now(r);
	}
	if (s->way == RUN_WAY_NONE) {
		return run_move(r, RUN_STEP);
	}
	if (is_same_again(r)) {
		return tell_no_progress(r);
	}
	s->has_begun = s->has_begun || s->way == RUN_WAY_ALONE;
	return run_move(r, ev->takes_lock ? RUN_GUARD : RUN_STEP);
}

static enum run_action wait_for_holders(
	struct run *r, const struct run_event *ev)
{
	struct err e;

	if (retry_is_spent(&r->trouble, ev->now_ms)) {
		err_set(&e, BFE_SQL,
			"the lock for %s could not be had within %llu s",
			r->schema.told,
			(unsigned long long)(r->trouble.budget_ms / 1000));
		memcpy(e.sqlstate, "55P03", 6);
		err_set_detail(&e, "It waited for others: %s.", ev->waits_for);
		err_set_hint(&e, "End them, then backfill.retry(job) goes on.");
		return fail(r, &e);
	}
	run_set_reason(r, "waits for a lock: %s", ev->waits_for);
	r->pause_ms = retry_pause_ms(&r->trouble, ev->now_ms, ev->random);
	r->again = RUN_EXAMINE;
	return run_move(r, RUN_WAIT);
}

enum run_action run_on_guard(struct run *r, const struct run_event *ev)
{
	if (ev->waits_for == NULL) {
		return run_move(r, RUN_STEP);
	}
	if (r->schema.is_leaving &&
		++r->schema.attempts_to_leave >= MOST_ATTEMPTS_TO_LEAVE) {
		return leave_now(r);
	}
	/* Not done: it may well be the same the next time. */
	r->schema.repeats = 0;
	return wait_for_holders(r, ev);
}

/* What only clears away for another try is no end of the trouble. */
static void note_success(struct run *r)
{
	struct run_schema *s = &r->schema;

	if (s->failed[0] == '\0' || strcmp(s->failed, s->told) == 0) {
		s->failed[0] = '\0';
		run_all_is_well(r);
	} else {
		r->reason[0] = '\0';
	}
}

enum run_action run_on_step_done(struct run *r, const struct run_event *ev)
{
	note_success(r);
	if (ev->finished) {
		return run_leave(r, RUN_FINISH_JOB);
	}
	memcpy(r->schema.before, r->schema.told, sizeof r->schema.before);
	return run_examine(r);
}

/* ---- errors */

static enum run_action examine_again(struct run *r, const struct run_event *ev)
{
	struct err e = *ev->error;

	if (run_current(r) == RUN_STEP) {
		memcpy(r->schema.failed, r->schema.told,
			sizeof r->schema.failed);
	}
	if (!retry_is_spent(&r->trouble, ev->now_ms)) {
		return run_again_later(r, ev, RUN_EXAMINE);
	}
	if (ev->blockers != NULL) {
		err_set_detail(&e, "%s was held up by %s.", r->schema.told,
			ev->blockers);
	}
	return fail(r, &e);
}

/* A timeout is the job's own business, but for one that others caused. */
static enum run_action on_timeout(struct run *r, const struct run_event *ev)
{
	struct err e = *ev->error;

	if (ev->stopped_by != NULL) {
		return run_give_back(r, ev->stopped_by);
	}
	if (ev->waiting != NULL || strcmp(e.sqlstate, "57014") != 0) {
		return examine_again(r, ev);
	}
	if (ev->blockers != NULL) {
		err_set_detail(&e, "%s was held up by %s.", r->schema.told,
			ev->blockers);
	} else {
		err_set_detail(&e, "It was at: %s.", r->schema.told);
	}
	err_set_hint(&e,
		"Raise the job's statement_timeout, then backfill.retry(job)"
		" goes on.");
	return fail(r, &e);
}

/* Whatever goes wrong now, the job has its end already. */
static enum run_action on_error_in_leaving(
	struct run *r, const struct run_event *ev, enum sqlstate_class class)
{
	int is_short = class == SQLSTATE_RETRY || class == SQLSTATE_SHRINK ||
		class == SQLSTATE_WAIT;

	if (is_short &&
		++r->schema.attempts_to_leave < MOST_ATTEMPTS_TO_LEAVE) {
		return run_again_later(r, ev, RUN_EXAMINE);
	}
	return leave_now(r);
}

/* The control connection asks, the runner connection stands by. */
static enum run_action on_guard_error(
	struct run *r, const struct run_event *ev, enum sqlstate_class class)
{
	if (class == SQLSTATE_STOP || class == SQLSTATE_ROW) {
		return fail(r, ev->error);
	}
	if (class == SQLSTATE_RECONNECT) {
		/* An outage of the control connection spends no budget. */
		r->trouble.first_failure_ms = ev->now_ms;
	}
	return run_again_later(r, ev, RUN_GUARD);
}

enum run_action run_on_schema_error(
	struct run *r, const struct run_event *ev, enum sqlstate_class class)
{
	if (class == SQLSTATE_FORGET) {
		return run_leave(r, RUN_END);
	}
	if (ev->stop_asked) {
		return run_release(r, "the daemon stops");
	}
	if (r->schema.is_leaving) {
		return on_error_in_leaving(r, ev, class);
	}
	if (class == SQLSTATE_STOPPED) {
		return run_give_back(r, ev->error->message);
	}
	if (run_current(r) == RUN_GUARD) {
		return on_guard_error(r, ev, class);
	}
	r->schema.repeats = 0;
	switch (class) {
	case SQLSTATE_SHRINK:
		return on_timeout(r, ev);
	case SQLSTATE_RETRY:
	case SQLSTATE_WAIT:
	case SQLSTATE_HELD:
		return examine_again(r, ev);
	default:
		return fail(r, ev->error);
	}
}
