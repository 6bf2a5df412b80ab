/* A run of the real core: its actions become requests, the replies become
 * its events; as engine/runner*.c do it. */

#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ERRORS = 24 };

static void act(struct sim *w, int seat);

/* ---- keys */

static void set_key(struct key *k, int number)
{
	char text[16];

	key_close(k);
	if (number > 0) {
		(void)snprintf(text, sizeof text, "%d", number);
		key_add(k, text);
	}
}

static int number_of(const struct key *k)
{
	return k->count == 0 ? 0 : atoi(k->values[0]);
}

/* ---- beginning and end */

static uint32_t random_word(struct sim *w)
{
	return (uint32_t)sim_random(w, INT32_MAX) * 2;
}

void sim_run_start(struct sim *w, int seat, int64_t epoch)
{
	struct sim_run *run = &w->seats[seat].run;

	memset(run, 0, sizeof *run);
	run->serial = ++w->serial;
	run->request = -1;
	run_init(&run->core, &w->choice.limits, epoch);
	act(w, seat);
}

void sim_run_drop(struct sim *w, int seat)
{
	struct sim_run *run = &w->seats[seat].run;

	if (run->serial == 0) {
		return;
	}
	run_close(&run->core);
	key_close(&run->cursor);
	key_close(&run->hi);
	key_close(&run->window_hi);
	key_close(&run->hole.lo);
	key_close(&run->hole.hi);
	run->serial = 0;
}

/* ---- events */

/* Errors follow one another without a pause only while a window is halved
 * or holes are gone through. */
static void count_errors(
	struct sim *w, struct sim_run *run, const struct run_event *ev)
{
	if (run_current(&run->core) == RUN_WAIT) {
		run->errors = 0;
	} else if (ev->error != NULL &&
		run_current(&run->core) != RUN_DRAIN_HOLE) {
		run->errors++;
	}
	if (run->errors > MAX_ERRORS) {
		sim_break(w, "%d errors without a pause", run->errors);
	}
}

/* What engine/pacer.c would say, and the lease. */
static void ask_pacer(struct sim *w, int seat, struct run_event *ev)
{
	struct sim_run *run = &w->seats[seat].run;

	run->is_held =
		(!w->is_quiet && sim_chance(w, w->choice.held_permille)) ||
		!sim_may_begin(w, seat);
	if (run->is_held) {
		ev->held_by = "held: lag";
		w->seen.held++;
	}
	if (!w->is_quiet && sim_chance(w, w->choice.held_permille)) {
		ev->pace_ms = (uint64_t)sim_random(w, 3000);
	}
	if (run->is_stopped) {
		ev->stopped_by = "it may not run";
		run->is_stopped = 0;
	}
}

static void step(struct sim *w, int seat, struct run_event *ev)
{
	struct sim_run *run = &w->seats[seat].run;
	int64_t seq = run->core.seq;

	ev->now_ms = w->server.now_ms;
	ev->random = random_word(w);
	ev->stop_asked = w->seats[seat].is_stopping;
	ask_pacer(w, seat, ev);
	count_errors(w, run, ev);
	(void)run_step(&run->core, ev);
	if (run->core.seq != seq) {
		run->errors = 0;
	}
	act(w, seat);
}

static void well(struct sim *w, int seat)
{
	struct run_event ev = { .error = NULL };

	step(w, seat, &ev);
}

static void lend_hole(struct sim_run *run, const struct sim_request *q,
	uint64_t now_ms, struct run_event *ev)
{
	const struct sim_hole *h = &q->reply.hole;

	if (h->id == 0) {
		return;
	}
	run->hole.id = h->id;
	run->hole.is_window = h->is_window;
	run->hole.age_ms = (int64_t)(now_ms - h->found_ms);
	run->hole.remaining = q->reply.hole_count;
	set_key(&run->hole.lo, h->lo);
	set_key(&run->hole.hi, h->hi);
	ev->hole = &run->hole;
}

static void set_error(struct err *e, const struct sim_request *q)
{
	(void)err_set(e, q->reply.code, "oh");
	memcpy(e->sqlstate, q->reply.sqlstate, sizeof e->sqlstate);
	if (strcmp(e->sqlstate, "BF011") == 0) {
		(void)snprintf(
			e->message, sizeof e->message, "all work is stopped");
	}
}

static void close_connection(struct sim *w, struct sim_run *run)
{
	struct sim_backend *b = &w->backends[run->backend];

	if (run->backend != 0 && b->request < 0) {
		b->is_dead = 1;
	}
	run->backend = 0;
}

void sim_run_reply(struct sim *w, int seat, struct sim_request *q)
{
	struct sim_run *run = &w->seats[seat].run;
	struct run_event ev = q->reply.ev;
	struct err e;

	run->request = -1;
	if (q->reply.code != 0) {
		sim_say(w, "daemon %d hears of %s: %s %s", q->incarnation,
			sim_op_name(q->op), err_name(q->reply.code),
			q->reply.sqlstate);
		set_error(&e, q);
		ev.error = &e;
		step(w, seat, &ev);
		return;
	}
	if (q->op == RUN_CONNECT) {
		run->backend = q->backend;
	}
	if (q->op == RUN_BARRIER) {
		memcpy(run->tokens, q->reply.tokens, sizeof run->tokens);
		run->token_count = q->reply.token_count;
	}
	if (q->op == SIM_OP_BOUND) {
		run->bound = q->reply.hi;
		sim_later(w, (uint64_t)sim_random(w, 4), SIM_EV_SEND, seat,
			run->serial);
		return;
	}
	set_key(&run->cursor, q->reply.cursor);
	set_key(&run->hi, q->reply.hi);
	set_key(&run->window_hi, q->reply.window_hi);
	ev.cursor = &run->cursor;
	ev.hi = &run->hi;
	ev.window_hi = &run->window_hi;
	lend_hole(run, q, w->server.now_ms, &ev);
	step(w, seat, &ev);
}

void sim_run_timer(struct sim *w, int seat)
{
	enum run_action now = run_current(&w->seats[seat].run.core);

	if (now == RUN_WAIT || now == RUN_PACE || now == RUN_DISCONNECT) {
		well(w, seat);
	}
}

/* A pause ends now; a cancelled job's statement is cancelled. */
void sim_run_wake(struct sim *w, int seat, int is_stopped, int is_cancelled)
{
	struct sim_run *run = &w->seats[seat].run;

	if (run->serial == 0) {
		return;
	}
	run->is_stopped = is_stopped;
	if (run_current(&run->core) == RUN_WAIT ||
		run_current(&run->core) == RUN_PACE) {
		/* Its timer, when it comes, finds another action or ends
		 * another pause early, as a wake may. */
		sim_later(w, 0, SIM_EV_TIMER, seat, run->serial);
	}
	if (is_cancelled && run->request >= 0) {
		w->requests[run->request].is_cancelled =
			sim_is_runners(w->requests[run->request].op);
	}
}

/* ---- actions */

static void act(struct sim *w, int seat)
{
	struct sim_run *run = &w->seats[seat].run;
	enum run_action action = run_current(&run->core);

	sim_say(w, "daemon %d: %s%s%s", w->seats[seat].incarnation,
		sm_name(&run->core.action),
		run->core.reason[0] != '\0' ? ": " : "", run->core.reason);
	if (run_begins_batch(action) && run->is_held) {
		sim_break(w, "a batch begins while the job is held");
	}
	switch (action) {
	case RUN_PACE:
		if (run->core.pause_ms == 0 ||
			(run->is_held && run->core.reason[0] == '\0')) {
			sim_break(w, "it is paced without a reason or a clock");
		}
		sim_later(
			w, run->core.pause_ms, SIM_EV_TIMER, seat, run->serial);
		return;
	case RUN_WAIT:
		if (run->core.reason[0] == '\0' || run->core.pause_ms == 0) {
			sim_break(w, "it waits without a reason or a clock");
		}
		sim_later(
			w, run->core.pause_ms, SIM_EV_TIMER, seat, run->serial);
		return;
	case RUN_DISCONNECT:
		close_connection(w, run);
		sim_later(w, (uint64_t)sim_random(w, 5), SIM_EV_TIMER, seat,
			run->serial);
		return;
	case RUN_END:
		sim_run_drop(w, seat);
		sim_daemon_run_ended(w, seat);
		return;
	case RUN_BEGIN:
		run->bound = -1;
		break;
	case RUN_TAKE:
		w->seen.takes++;
		break;
	default:
		break;
	}
	sim_later(
		w, (uint64_t)sim_random(w, 3), SIM_EV_SEND, seat, run->serial);
}

static void ask_window(
	struct sim_request *q, const struct key *lo, const struct key *hi)
{
	q->ask.lo = number_of(lo);
	q->ask.range_hi = number_of(hi);
}

/* What the shell reads of the run to carry out the action. */
static void ask(struct sim_request *q, const struct run *r)
{
	q->ask.epoch = r->epoch;
	q->ask.seq = r->seq;
	q->ask.rows = r->window_rows;
	q->ask.size = r->size.rows;
	q->ask.limit = r->limit;
	q->ask.is_barrier_new = r->is_barrier_new;
	switch (q->op) {
	case RUN_READ_WINDOW:
	case RUN_BATCH:
	case RUN_SKIP_WINDOW:
		ask_window(q, &r->cursor, &r->hi);
		q->ask.hi = number_of(&r->window_hi);
		if (q->op == RUN_BATCH) {
			q->ask.limit = r->next_limit;
		}
		return;
	case RUN_NEXT_HOLE:
		q->ask.hole = r->hole.id;
		q->ask.descending = r->holes_descend;
		return;
	case RUN_READ_HOLE:
	case RUN_BATCH_HOLE:
		ask_window(q, &r->hole.lo, &r->hole.hi);
		q->ask.hi = number_of(&r->hole_hi);
		q->ask.hole = r->hole.id;
		return;
	case RUN_DRAIN_HOLE:
		q->ask.hi = number_of(&r->hole.hi);
		q->ask.hole = r->hole.id;
		return;
	case RUN_SET_ASIDE:
		q->ask.hi = number_of(&r->aside.key);
		q->ask.hole = r->aside.hole;
		memcpy(q->ask.sqlstate, r->aside.error.sqlstate, 6);
		return;
	case RUN_FAIL:
		memcpy(q->ask.sqlstate, r->error.sqlstate, 6);
		return;
	case RUN_RELEASE:
		(void)snprintf(
			q->ask.why, sizeof q->ask.why, "%.63s", r->reason);
		return;
	default:
		return;
	}
}

void sim_run_send(struct sim *w, int seat)
{
	struct sim_run *run = &w->seats[seat].run;
	int op = (int)run_current(&run->core);
	struct sim_request *q;

	if (op == RUN_BEGIN && run->bound < 0) {
		op = SIM_OP_BOUND;
	}
	q = sim_request_new(w, op, seat);
	q->run = run->serial;
	q->backend = sim_is_runners(op) ? run->backend : 0;
	ask(q, &run->core);
	if (op == RUN_BEGIN) {
		q->ask.range_hi = run->bound;
	}
	run->request = (int)(q - w->requests);
	sim_request_send(w, q);
}
