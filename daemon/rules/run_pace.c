/* The part of rules/run.c that keeps batches waiting for the pacer: before
 * each action that writes the table or its checkpoint it is asked whether,
 * and when, one may begin.
 *
 * While a job is held or paused, the pacer is asked again each second and
 * whenever it has changed its mind: what it said of a pause may have been said
 * at the worst moment. The shell says if the job may run no more. Time for
 * which it is held counts for no timeout of what is tried again. */

#include "run_internal.h"

#include <stdio.h>
#include <string.h>

enum {
	LOOK_AGAIN_MS = 1000,
	/* A longer pause is told: who looks shall not think it hangs. */
	LONG_PAUSE_MS = 2000,
	TELL_PAUSE_MS = 5000
};

int run_begins_batch(enum run_action a)
{
	return a == RUN_BATCH || a == RUN_SKIP_WINDOW || a == RUN_BATCH_HOLE ||
		a == RUN_DRAIN_HOLE || a == RUN_SET_ASIDE;
}

void run_note_pace(struct run *r, const struct run_event *ev)
{
	r->pace.now_ms = ev->now_ms;
	r->pace.held_by = ev->held_by;
	r->pace.paced_by = ev->paced_by;
	r->pace.allowed_ms = ev->now_ms + ev->pace_ms;
	r->pace.max_wal_bytes = ev->max_batch_wal_bytes;
}

/* From the end of the batch on: its own time comes on top, so that the rate
 * is never above the bound. */
void run_note_rows(struct run *r, int64_t rows_changed)
{
	int64_t most = r->pace.max_rows_per_second;

	r->pace.rows_allowed_ms = most > 0
		? r->pace.now_ms + (uint64_t)(rows_changed * 1000 / most)
		: 0;
}

/* A second's worth: a small rate is no reason for a long pause. */
int64_t run_pace_limit(const struct run *r, int64_t usual)
{
	int64_t most = r->pace.max_rows_per_second;

	return most > 0 && most < usual ? most : usual;
}

static uint64_t pause_ms(const struct run_pace *p)
{
	uint64_t until_ms = p->allowed_ms > p->rows_allowed_ms
		? p->allowed_ms
		: p->rows_allowed_ms;

	return until_ms > p->now_ms ? until_ms - p->now_ms : 0;
}

static void hold(struct run *r)
{
	struct run_pace *p = &r->pace;

	if (p->since_ms == 0) {
		p->since_ms = p->now_ms;
		memcpy(p->reason, r->reason, sizeof p->reason);
		p->quoted = r->quoted;
	}
	run_set_reason(r, "%s", p->held_by);
	r->pause_ms = LOOK_AGAIN_MS;
}

static void end_hold(struct run *r)
{
	uint64_t held_ms = r->pace.now_ms - r->pace.since_ms;

	if (r->pace.since_ms == 0) {
		return;
	}
	r->pace.since_ms = 0;
	retry_skip_ms(&r->trouble, held_ms);
	retry_skip_ms(&r->hole_pass, held_ms);
	memcpy(r->reason, r->pace.reason, sizeof r->reason);
	r->quoted = r->pace.quoted;
}

static void pause(struct run *r, uint64_t ms)
{
	int is_of_rows = r->pace.rows_allowed_ms > r->pace.allowed_ms;
	int is_told = run_current(r) == RUN_PACE &&
		r->pace.now_ms - r->pace.told_ms < TELL_PAUSE_MS;

	r->pause_ms = ms < LOOK_AGAIN_MS ? ms : LOOK_AGAIN_MS;
	if (ms < LONG_PAUSE_MS || is_told) {
		return;
	}
	r->pace.told_ms = r->pace.now_ms;
	if (is_of_rows) {
		run_set_reason(r,
			"paced: the next batch in %llu s (max_rows_per_second"
			" %lld)",
			(unsigned long long)(ms / 1000),
			(long long)r->pace.max_rows_per_second);
	} else {
		run_set_reason(r, "paced: the next batch in %llu s (%s)",
			(unsigned long long)(ms / 1000), r->pace.paced_by);
	}
}

/* A short one is over before a standby could fall behind, and what clears away
 * does not wait for anything. */
static int is_long_step(const struct run *r, enum run_action next)
{
	return next == RUN_STEP && r->schema.is_long && !r->schema.is_leaving;
}

enum run_action run_paced(struct run *r, enum run_action next)
{
	uint64_t ms = pause_ms(&r->pace);

	if (!run_begins_batch(next) && !is_long_step(r, next)) {
		return next;
	}
	r->pace.next = next;
	if (r->pace.held_by != NULL) {
		hold(r);
		return RUN_PACE;
	}
	end_hold(r);
	if (ms > 0) {
		pause(r, ms);
		return RUN_PACE;
	}
	return next;
}

enum run_action run_on_paced(struct run *r)
{
	return run_move(r, r->pace.next);
}
