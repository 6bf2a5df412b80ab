/* The part of rules/run.c about who waits for the job: a batch that kept an
 * application waiting for longer than max_blocking_time was cancelled, and
 * comes back smaller, once that had its turn.
 *
 * From then on batches aim at half of that time, whatever target or size was
 * asked for: what blocked once would grow back to block again. With nobody
 * waiting, a batch may take as long as it was told to.
 *
 * One row cannot be made smaller. It is tried again after growing pauses, in
 * one of which nobody may want it, and is no row that cannot be changed. */

#include "run_internal.h"

#include <string.h>

/* Others that hold us up meanwhile are the cause of all of it: then the size is
 * not the matter, and it is a wait for a lock like any other. */
int run_is_blocking(const struct run *r, const struct run_event *ev)
{
	enum run_action now = run_current(r);

	return ev->waiting != NULL && ev->blockers == NULL &&
		(now == RUN_BATCH || now == RUN_BATCH_HOLE ||
			now == RUN_DRAIN_HOLE) &&
		strcmp(ev->error->sqlstate, "57014") == 0;
}

void run_spare_others(const struct run *r, struct size_limits *limits)
{
	int is_fixed = limits->first_rows == limits->max_rows;

	if (!r->has_blocked) {
		return;
	}
	/* A fixed size has no target of its own. */
	if (is_fixed || limits->target_us > r->limits.max_blocking_us / 2) {
		limits->target_us = r->limits.max_blocking_us / 2;
	}
	if (is_fixed) {
		limits->first_rows = 1;
	}
}

static enum run_action tell_too_long(struct run *r, const struct run_event *ev)
{
	struct err e;

	err_set(&e, BFE_SQL,
		"a batch of one row blocked others for longer than"
		" max_blocking_time whenever it was tried");
	memcpy(e.sqlstate, "BF031", 6);
	err_set_detail(&e, "%s. It was tried again for %llu s.", ev->waiting,
		(unsigned long long)(r->trouble.budget_ms / 1000));
	err_set_hint(&e,
		"What makes the row slow, a trigger or an expression? Mend it,"
		" or raise max_blocking_time; then backfill.retry(job) goes"
		" on.");
	return run_fail(r, &e);
}

static void cut(struct run *r, const struct run_event *ev)
{
	struct size_limits limits = r->size.limits;

	r->has_blocked = 1;
	run_spare_others(r, &limits);
	size_set_limits(&r->size, &limits);
	size_cut(&r->size, r->window_rows, ev->sample.elapsed_us);
}

/* Who waits for the rows is only woken by the rollback: on a busy server the
 * next batch now and then had them first. */
enum { GIVE_WAY_MS = 50 };

static enum run_action give_way(struct run *r, enum run_action next)
{
	r->again = (int)next;
	r->pause_ms = GIVE_WAY_MS;
	return run_move(r, RUN_WAIT);
}

enum run_action run_on_blocking(struct run *r, const struct run_event *ev)
{
	enum run_action now = run_current(r);
	enum run_action next;

	if (now == RUN_DRAIN_HOLE || r->window_rows <= 1) {
		if (retry_is_spent(&r->trouble, ev->now_ms)) {
			return tell_too_long(r, ev);
		}
		/* More may be in a hole by now than was read. */
		return now == RUN_BATCH ? run_again_later(r, ev, now)
					: run_hole_again_later(r, ev);
	}
	cut(r, ev);
	/* Rows that refer to each other may have to go together: half of them
	 * now, but not so for good. */
	if (now == RUN_BATCH_HOLE && r->holes_descend) {
		r->bisect.suspects = r->window_rows;
	}
	next = now == RUN_BATCH ? run_read_window(r) : run_read_hole(r);
	run_set_reason(r, "%s -> cancelled, again with %lld rows", ev->waiting,
		(long long)r->limit);
	return give_way(r, next);
}
