#include "sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A job's life takes a few thousand events, and once nothing goes wrong any
 * more it ends within these (promise P7). */
enum { MAX_STEPS = 400000, MAX_QUIET_MS = 24 * 60 * 60 * 1000 };

struct sim *sim_new(void)
{
	return mem_new(1, sizeof(struct sim));
}

void sim_free(struct sim *w)
{
	for (int i = 0; i < SIM_REQUESTS; i++) {
		sim_tx_free(&w->requests[i].tx);
	}
	for (int i = 0; i < SIM_APPS; i++) {
		sim_tx_free(&w->apps[i].tx);
	}
	free(w->heap);
	free(w);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int sim_random(struct sim *w, int below)
{
	return below <= 0 ? 0
			  : (int)(next_random(&w->random) % (uint64_t)below);
}

int sim_chance(struct sim *w, int permille)
{
	return sim_random(w, 1000) < permille;
}

void sim_say(struct sim *w, const char *format, ...)
{
	va_list args;

	if (!w->is_verbose) {
		return;
	}
	printf("%8" PRIu64 "  ", w->server.now_ms);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void sim_break(struct sim *w, const char *format, ...)
{
	va_list args;
	char text[400];

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	sim_say(w, "BROKEN: %s", text);
	if (w->broken[0] == '\0') {
		(void)snprintf(w->broken, sizeof w->broken,
			"at %" PRIu64 " ms: %s", w->server.now_ms, text);
	}
}

const char *sim_op_name(int op)
{
	static const char *const names[] = {
		[RUN_CONNECT] = "connect",
		[RUN_ATTACH] = "attach",
		[RUN_PREFLIGHT] = "preflight",
		[RUN_BARRIER] = "barrier",
		[RUN_BEGIN] = "begin",
		[RUN_READ_WINDOW] = "read window",
		[RUN_BATCH] = "batch",
		[RUN_SKIP_WINDOW] = "skip window",
		[RUN_NEXT_HOLE] = "next hole",
		[RUN_READ_HOLE] = "read hole",
		[RUN_BATCH_HOLE] = "batch hole",
		[RUN_DRAIN_HOLE] = "drain hole",
		[RUN_SET_ASIDE] = "set aside",
		[RUN_FINISH_RANGE] = "finish range",
		[RUN_TAKE] = "take",
		[RUN_FINISH_JOB] = "finish job",
		[RUN_FAIL] = "fail",
		[RUN_RELEASE] = "release",
		[SIM_OP_BOUND] = "bound",
		[SIM_OP_WORK] = "my work",
		[SIM_OP_CLAIM] = "claim",
		[SIM_OP_ORPHAN] = "release of an orphan",
		[SIM_OP_RENEW] = "renew",
	};

	return names[op];
}

/* ---- the queue of events: a heap by time, then by age */

static int is_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(struct sim *w, struct sim_event e)
{
	int i = w->heap_count++;

	if (i == w->heap_size) {
		w->heap_size = 2 * w->heap_size + 64;
		w->heap = mem_resize(
			w->heap, (size_t)w->heap_size * sizeof *w->heap);
	}
	while (i > 0 && is_before(&e, &w->heap[(i - 1) / 2])) {
		w->heap[i] = w->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap[i] = e;
}

static struct sim_event pop(struct sim *w)
{
	struct sim_event first = w->heap[0];
	struct sim_event last = w->heap[--w->heap_count];
	int i = 0;

	for (;;) {
		int child = 2 * i + 1;

		if (child + 1 < w->heap_count &&
			is_before(&w->heap[child + 1], &w->heap[child])) {
			child++;
		}
		if (child >= w->heap_count ||
			!is_before(&w->heap[child], &last)) {
			break;
		}
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return first;
}

void sim_later(struct sim *w, uint64_t in_ms, enum sim_event_kind kind, int who,
	int64_t serial)
{
	struct sim_event e = { w->server.now_ms + in_ms, ++w->order, kind, who,
		serial };

	push(w, e);
}

/* ---- one event */

/* The daemon that it is for is frozen: it will find the event there when
 * it thaws. */
static int is_put_off(struct sim *w, struct sim_event *e)
{
	int seat = -1;

	switch (e->kind) {
	case SIM_EV_SEND:
	case SIM_EV_TIMER:
	case SIM_EV_BEAT:
	case SIM_EV_LOOK:
		seat = e->who;
		break;
	case SIM_EV_REPLY:
		seat = w->requests[e->who].seat;
		break;
	default:
		break;
	}
	if (seat < 0 || w->seats[seat].frozen_until <= e->at) {
		return 0;
	}
	e->at = w->seats[seat].frozen_until;
	e->order = ++w->order;
	push(w, *e);
	return 1;
}

static void happen_to_daemon(struct sim *w, const struct sim_event *e)
{
	const struct sim_seat *d = &w->seats[e->who];
	int64_t serial = e->kind == SIM_EV_BEAT || e->kind == SIM_EV_LOOK
		? d->incarnation
		: d->run.serial;

	if (d->incarnation == 0 || serial == 0 || serial != e->serial) {
		return;
	}
	switch (e->kind) {
	case SIM_EV_SEND:
		sim_run_send(w, e->who);
		return;
	case SIM_EV_TIMER:
		sim_run_timer(w, e->who);
		return;
	case SIM_EV_BEAT:
		sim_daemon_beat(w, e->who);
		return;
	default:
		sim_daemon_look(w, e->who);
		return;
	}
}

static void go_quiet(struct sim *w)
{
	if (!w->is_quiet) {
		w->is_quiet = 1;
		w->server.max_changes = INT32_MAX;
		sim_say(w, "from now on nothing goes wrong");
		sim_thaw_all(w);
	}
	sim_attend(w);
	sim_later(w, 1000, SIM_EV_QUIET, 0, 0);
}

static void happen(struct sim *w, const struct sim_event *e)
{
	struct sim_request *q = &w->requests[e->who];

	switch (e->kind) {
	case SIM_EV_SERVER:
		if (q->serial == e->serial && q->in_use && !q->is_served) {
			sim_request_go_on(w, q);
		}
		return;
	case SIM_EV_REPLY:
		if (q->serial == e->serial && q->in_use && !q->is_answered) {
			sim_daemon_reply(w, q);
		}
		return;
	case SIM_EV_BIRTH:
		sim_daemon_birth(w, e->who);
		return;
	case SIM_EV_TROUBLE:
		sim_trouble(w);
		return;
	case SIM_EV_OPERATOR:
		sim_operate(w, e->who);
		return;
	case SIM_EV_APP_BEGIN:
		sim_app_begin(w);
		return;
	case SIM_EV_APP:
		if (w->apps[e->who].serial == e->serial) {
			sim_app_go_on(w, e->who);
		}
		return;
	case SIM_EV_QUIET:
		go_quiet(w);
		return;
	default:
		happen_to_daemon(w, e);
		return;
	}
}

/* ---- one life */

static void hash(struct sim *w, int64_t value)
{
	/* FNV-1a, a number at a time */
	w->hash = (w->hash ^ (uint64_t)value) * UINT64_C(1099511628211);
}

static void hash_step(struct sim *w, const struct sim_event *e)
{
	const struct sim_range *r = &w->server.range;

	hash(w, (int64_t)e->at);
	hash(w, (int)e->kind * 1000 + e->who);
	hash(w, r->epoch * 1000000 + r->seq);
	hash(w, sim_cursor(r) * 1000 + r->hole_count);
	hash(w, r->rows_done * 10 + (int)w->server.job.state);
}

static void reset(struct sim *w, uint64_t seed, int is_verbose)
{
	w->seed = seed;
	w->random = seed;
	w->hash = UINT64_C(14695981039346656037);
	w->is_verbose = is_verbose;
	w->is_quiet = 0;
	w->is_over = 0;
	w->broken[0] = '\0';
	w->heap_count = 0;
	w->order = 0;
	w->serial = 0;
	w->steps = 0;
	w->backend_count = 0;
	memset(&w->server, 0, sizeof w->server);
	memset(&w->books, 0, sizeof w->books);
	memset(w->seats, 0, sizeof w->seats);
	for (int i = 0; i < SIM_REQUESTS; i++) {
		w->requests[i].in_use = 0;
		w->requests[i].tx.id = 0;
	}
	for (int i = 0; i < SIM_APPS; i++) {
		w->apps[i].serial = 0;
		w->apps[i].tx.id = 0;
	}
	w->server.now_ms = 1000000;
	sim_hook_server(w);
}

int sim_walk(struct sim *w, uint64_t seed, int is_verbose)
{
	uint64_t quiet_since = 0;

	reset(w, seed, is_verbose);
	sim_choose(w);
	while (!w->is_over && w->broken[0] == '\0' && w->heap_count > 0) {
		struct sim_event e = pop(w);

		if (is_put_off(w, &e)) {
			continue;
		}
		w->server.now_ms = e.at;
		happen(w, &e);
		hash_step(w, &e);
		sim_check(w);
		w->steps++;
		if (w->is_quiet && quiet_since == 0) {
			quiet_since = e.at;
		}
		if (w->steps > MAX_STEPS ||
			(quiet_since != 0 &&
				e.at - quiet_since > MAX_QUIET_MS)) {
			sim_break(w, "the job does not end");
		}
	}
	if (w->broken[0] == '\0') {
		sim_check_end(w);
	}
	for (int i = 0; i < SIM_SEATS; i++) {
		sim_run_drop(w, i);
	}
	return w->broken[0] == '\0' ? 0 : -1;
}
