/* Which rules a request calls, and what it answers. */

#include "sim.h"

#include <string.h>

/* What a changed row costs, in microseconds. */
enum { US_PER_ROW = 900 };

int sim_is_runners(int op)
{
	switch (op) {
	case RUN_CONNECT:
	case RUN_ATTACH:
	case RUN_PREFLIGHT:
	case RUN_BEGIN:
	case RUN_READ_WINDOW:
	case RUN_BATCH:
	case RUN_SKIP_WINDOW:
	case RUN_NEXT_HOLE:
	case RUN_READ_HOLE:
	case RUN_BATCH_HOLE:
	case RUN_DRAIN_HOLE:
	case RUN_SET_ASIDE:
	case RUN_FINISH_RANGE:
	case SIM_OP_BOUND:
		return 1;
	default:
		return 0;
	}
}

int sim_is_read_only(int op)
{
	switch (op) {
	case RUN_CONNECT:
	case RUN_BARRIER:
	case RUN_READ_WINDOW:
	case RUN_NEXT_HOLE:
	case RUN_READ_HOLE:
	case SIM_OP_BOUND:
	case SIM_OP_WORK:
	case SIM_OP_RENEW:
		return 1;
	default:
		return 0;
	}
}

static const char *attach(struct sim *w, struct sim_request *q)
{
	const char *failure = sim_attach(&w->server, &q->tx, q->ask.epoch);
	const struct sim_job *j = &w->server.job;
	const struct sim_range *r = q->tx.range;

	if (failure[0] != '\0') {
		return failure;
	}
	q->reply.ev.begun = r->is_begun;
	q->reply.ev.finished = r->is_finished;
	q->reply.ev.seq = r->seq;
	q->reply.ev.last_batch_rows = r->batch_rows;
	q->reply.ev.is_delete = j->kind == SIM_DELETE;
	q->reply.ev.records_errors = j->records_errors;
	q->reply.ev.holes_first = sim_holes_first(r);
	q->reply.ev.pass = r->pass;
	q->reply.ev.rows_left =
		j->pause_after_rows > 0 ? sim_rows_left(j, r) : 0;
	q->reply.cursor = sim_cursor(r);
	q->reply.hi = r->hi;
	return "";
}

static const char *begin(struct sim *w, struct sim_request *q)
{
	const char *failure = sim_begin_job(
		&w->server, &q->tx, q->ask.epoch, q->ask.range_hi);

	q->reply.hi = q->ask.range_hi;
	q->reply.ev.finished = q->ask.range_hi == 0;
	return failure;
}

static const char *pass_fence(struct sim *w, struct sim_request *q)
{
	const char *failure;

	if (q->is_past_fence) {
		return "";
	}
	failure = sim_begin_batch(&w->server, &q->tx, q->ask.epoch, q->ask.seq,
		&q->reply.ev.rows_left);
	q->is_past_fence = failure[0] == '\0';
	return failure;
}

static const char *batch(struct sim *w, struct sim_request *q)
{
	struct sim_server *s = &w->server;
	struct sim_counts c;
	struct sim_checkpoint p = {
		.epoch = q->ask.epoch,
		.seq = q->ask.seq,
		.up_to = q->ask.hi,
		.read = q->op == RUN_BATCH ? q->ask.rows : 0,
		.size = q->ask.size,
		.hole = q->op == RUN_BATCH_HOLE ? q->ask.hole : 0,
	};
	const char *failure = pass_fence(w, q);

	if (failure[0] == '\0') {
		failure = sim_change(s, &q->tx, q->ask.lo, q->ask.hi, &c);
	}
	if (failure[0] != '\0') {
		return failure;
	}
	p.locked = c.locked;
	p.updated = c.updated;
	p.still = c.still;
	p.held = c.held;
	p.held_count = c.held_count;
	failure = sim_checkpoint(s, &q->tx, &p);
	if (failure[0] != '\0') {
		return failure;
	}
	q->reply.ev.sample = (struct size_sample){ q->ask.rows, c.updated,
		1000 + c.updated * US_PER_ROW, c.updated * 200 };
	q->reply.window_hi = sim_window(s, q->ask.hi, q->ask.range_hi,
		q->ask.limit, &q->reply.ev.window_rows);
	return "";
}

/* Its only lock that waits, and the first of the table. */
static const char *drain(struct sim *w, struct sim_request *q)
{
	struct sim_server *s = &w->server;
	struct sim_counts c;
	const char *failure = pass_fence(w, q);

	if (failure[0] != '\0') {
		return failure;
	}
	if (s->slots[q->ask.hi].row.exists &&
		!sim_lock_row(s, &q->tx, q->ask.hi)) {
		return SIM_WAITS;
	}
	failure = sim_change(s, &q->tx, q->ask.hi - 1, q->ask.hi, &c);
	if (failure[0] != '\0') {
		return failure;
	}
	return sim_close_hole(
		s, &q->tx, q->ask.epoch, q->ask.seq, q->ask.hole, &c);
}

static const char *next_hole(struct sim *w, struct sim_request *q)
{
	const char *failure = sim_lock_range(&w->server, &q->tx, q->ask.epoch);
	const struct sim_range *r = q->tx.range;

	q->reply.hole.id = 0;
	if (failure[0] != '\0') {
		return failure;
	}
	for (int n = 0; n < r->hole_count; n++) {
		/* The last one that fits is the nearest. */
		int i = q->ask.descending ? n : r->hole_count - 1 - n;

		if (q->ask.descending ? r->holes[i].id < q->ask.hole
				      : r->holes[i].id > q->ask.hole) {
			q->reply.hole = r->holes[i];
		}
	}
	q->reply.hole_count = r->hole_count;
	return "";
}

static const char *finish_range(struct sim *w, struct sim_request *q)
{
	const char *failure =
		sim_finish_range(&w->server, &q->tx, q->ask.epoch, q->ask.seq);

	if (failure[0] == '\0') {
		q->reply.ev.finished = q->tx.range->is_finished;
		q->reply.ev.pass = q->tx.range->pass;
	}
	return failure;
}

/* The oracle is told of a barrier that the daemon hears of. */
static const char *barrier(struct sim *w, struct sim_request *q)
{
	const struct sim_run *run = &w->seats[q->seat].run;
	const char *failure;

	/* The run waits for the reply, and for nothing else. */
	if (w->seats[q->seat].incarnation != q->incarnation ||
		run->serial != q->run) {
		return "";
	}
	failure = sim_barrier(&w->server, &q->tx, q->incarnation, q->ask.epoch,
		q->ask.is_barrier_new ? NULL : run->tokens, run->token_count,
		q->reply.tokens, SIM_TOKENS, &q->reply.token_count);
	if (failure[0] != '\0') {
		return failure;
	}
	if (q->reply.token_count > 0) {
		q->reply.ev.waits_for = "somebody";
	}
	if (q->fate == SIM_FATE_WELL && q->ask.is_barrier_new) {
		sim_barrier_asked(w);
	}
	if (q->fate == SIM_FATE_WELL && q->reply.token_count == 0) {
		sim_barrier_ended(w);
	}
	return "";
}

static const char *runners(struct sim *w, struct sim_request *q)
{
	struct sim_server *s = &w->server;

	switch (q->op) {
	case RUN_ATTACH:
		return attach(w, q);
	case RUN_PREFLIGHT:
		q->reply.ev.refers_to_itself = w->choice.has_references;
		return s->range.is_begun && !s->range.has_key
			? sim_adopt_key(s, &q->tx, q->ask.epoch)
			: "";
	case SIM_OP_BOUND:
		q->reply.hi = sim_bound(s);
		return "";
	case RUN_BEGIN:
		return begin(w, q);
	case RUN_READ_WINDOW:
	case RUN_READ_HOLE:
		q->reply.window_hi = sim_window(s, q->ask.lo, q->ask.range_hi,
			q->ask.limit, &q->reply.ev.window_rows);
		return "";
	case RUN_BATCH:
	case RUN_BATCH_HOLE:
		return batch(w, q);
	case RUN_SKIP_WINDOW:
		return sim_skip_window(s, &q->tx, q->ask.epoch, q->ask.seq,
			q->ask.hi, q->ask.rows);
	case RUN_NEXT_HOLE:
		return next_hole(w, q);
	case RUN_DRAIN_HOLE:
		return drain(w, q);
	case RUN_SET_ASIDE:
		return sim_set_aside(s, &q->tx, q->ask.epoch, q->ask.seq,
			q->ask.hi, q->ask.hole == 0, q->ask.hole,
			q->ask.sqlstate);
	case RUN_FINISH_RANGE:
		return finish_range(w, q);
	default:
		return "";
	}
}

const char *sim_execute(struct sim *w, struct sim_request *q)
{
	struct sim_server *s = &w->server;
	int me = q->incarnation;

	switch (q->op) {
	case RUN_BARRIER:
		return barrier(w, q);
	case RUN_TAKE:
		return sim_retake(
			s, &q->tx, me, q->ask.epoch, &q->reply.ev.epoch);
	case RUN_FINISH_JOB:
		return sim_finish_job(s, &q->tx, me, q->ask.epoch);
	case RUN_FAIL:
		return sim_fail_job(
			s, &q->tx, me, q->ask.epoch, q->ask.sqlstate);
	case RUN_RELEASE:
	case SIM_OP_ORPHAN:
		return sim_release(s, &q->tx, me, q->ask.epoch, q->ask.why);
	case SIM_OP_CLAIM:
		return sim_claim(s, &q->tx, me, &q->reply.epoch);
	case SIM_OP_RENEW:
		s->daemons[me].lease_until =
			s->now_ms + s->daemons[me].lease_ms;
		return "";
	case SIM_OP_WORK:
		q->reply.is_owner = s->range.owner == me;
		q->reply.epoch = s->range.epoch;
		q->reply.state = s->job.state == SIM_RUNNING && s->is_stopped
			? SIM_PAUSED
			: s->job.state;
		return "";
	default:
		return runners(w, q);
	}
}
