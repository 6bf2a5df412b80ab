/* The life of a request within the server:
 *
 *   ARRIVING -> EXECUTING (waits for a lock, looks again) -> COMMITTING
 *
 * The server goes on whatever becomes of the client: a request whose client
 * is gone commits all the same, or hangs in its transaction until the server
 * notices. What was terminated rolls back, unless it was committing. */

#include "sim.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

/* ---- hooks of the rules */

static struct sim_request *request_of(struct sim *w, int backend)
{
	int i = w->backends[backend].request;

	return i >= 0 ? &w->requests[i] : NULL;
}

static void terminate(void *data, int backend)
{
	struct sim *w = data;
	struct sim_request *q = request_of(w, backend);

	if (w->backends[backend].is_dead) {
		return;
	}
	w->backends[backend].is_terminated = 1;
	if (q == NULL) {
		w->backends[backend].is_dead = 1;
	} else {
		sim_later(w, (uint64_t)sim_random(w, 30), SIM_EV_SERVER,
			(int)(q - w->requests), q->serial);
	}
}

static int add_writer(
	const struct sim_tx *t, int but_backend, int *ids, int count, int size)
{
	if (t->id != 0 && t->writes_since_ms != 0 &&
		t->backend != but_backend && count < size) {
		ids[count++] = t->id;
	}
	return count;
}

static int writers(void *data, int but_backend, int *ids, int size)
{
	const struct sim *w = data;
	int count = 0;

	for (int i = 0; i < SIM_APPS; i++) {
		count = add_writer(&w->apps[i].tx, -1, ids, count, size);
	}
	for (int i = 0; i < SIM_REQUESTS; i++) {
		if (w->requests[i].in_use) {
			count = add_writer(&w->requests[i].tx, but_backend, ids,
				count, size);
		}
	}
	return count;
}

void sim_hook_server(struct sim *w)
{
	w->server.terminate = terminate;
	w->server.writers = writers;
	w->server.data = w;
}

/* ---- sending */

struct sim_request *sim_request_new(struct sim *w, int op, int seat)
{
	struct sim_request *q = w->requests;
	struct sim_tx tx;

	while (q < w->requests + SIM_REQUESTS && q->in_use) {
		q++;
	}
	assert(q < w->requests + SIM_REQUESTS);
	tx = q->tx;
	assert(tx.id == 0);
	memset(q, 0, sizeof *q);
	q->tx = tx;
	q->in_use = 1;
	q->op = op;
	q->seat = seat;
	q->incarnation = w->seats[seat].incarnation;
	q->serial = ++w->serial;
	return q;
}

static int index_of(const struct sim *w, const struct sim_request *q)
{
	return (int)(q - w->requests);
}

static void maybe_free(struct sim_request *q)
{
	if (q->is_served && q->is_answered) {
		assert(q->tx.id == 0);
		q->in_use = 0;
	}
}

void sim_request_answered(struct sim_request *q)
{
	q->is_answered = 1;
	maybe_free(q);
}

static void answer(
	struct sim *w, struct sim_request *q, int code, const char *sqlstate)
{
	q->reply.code = code;
	(void)snprintf(
		q->reply.sqlstate, sizeof q->reply.sqlstate, "%s", sqlstate);
	sim_later(w, (uint64_t)sim_random(w, 8), SIM_EV_REPLY, index_of(w, q),
		q->serial);
}

/* The client hears of it at some time, whatever the server does. */
static void lose(struct sim *w, struct sim_request *q)
{
	static const int codes[] = { BFE_LOST, BFE_LOST, BFE_TIMEOUT };
	int most = sim_chance(w, 300) ? 3000 : 60;

	w->seen.lost++;
	q->reply.code =
		q->op == RUN_CONNECT ? BFE_CONNECT : codes[sim_random(w, 3)];
	sim_later(w, (uint64_t)sim_random(w, most), SIM_EV_REPLY,
		index_of(w, q), q->serial);
}

static enum sim_fate choose_fate(struct sim *w, const struct sim_request *q)
{
	if (w->is_quiet || !sim_chance(w, w->choice.fault_permille)) {
		return SIM_FATE_WELL;
	}
	if (!sim_is_runners(q->op) || q->op == RUN_CONNECT) {
		return sim_chance(w, 500) ? SIM_FATE_NEVER_ARRIVES
					  : SIM_FATE_REPLY_LOST;
	}
	return (enum sim_fate)(1 + sim_random(w, 5));
}

void sim_request_send(struct sim *w, struct sim_request *q)
{
	q->fate = choose_fate(w, q);
	if (q->fate == SIM_FATE_NEVER_ARRIVES || q->fate == SIM_FATE_CUT ||
		q->fate == SIM_FATE_REPLY_LOST) {
		lose(w, q);
	}
	sim_say(w, "daemon %d sends %s, epoch %d seq %d (%d..%d]%s",
		q->incarnation, sim_op_name(q->op), (int)q->ask.epoch,
		(int)q->ask.seq, q->ask.lo, q->ask.hi,
		q->fate == SIM_FATE_WELL ? "" : ", which goes wrong");
	sim_later(w, (uint64_t)sim_random(w, 6), SIM_EV_SERVER, index_of(w, q),
		q->serial);
}

void sim_request_orphan(struct sim *w, struct sim_request *q)
{
	/* All of it may be on its way already. */
	if (sim_is_runners(q->op) && q->op != RUN_CONNECT &&
		sim_chance(w, 500)) {
		q->fate = SIM_FATE_CUT;
	}
	sim_request_answered(q);
}

/* ---- in the server */

static int has_client(const struct sim_request *q)
{
	return q->fate != SIM_FATE_NEVER_ARRIVES && q->fate != SIM_FATE_CUT &&
		q->fate != SIM_FATE_REPLY_LOST;
}

/* The request is over here. */
static void served(
	struct sim *w, struct sim_request *q, int code, const char *sqlstate)
{
	if (q->backend != 0) {
		w->backends[q->backend].request = -1;
		w->backends[q->backend].is_dead |=
			!has_client(q) || code == BFE_LOST;
	}
	q->is_served = 1;
	if (has_client(q) && !q->is_answered) {
		answer(w, q, code, sqlstate);
	}
	maybe_free(q);
}

static void roll_back(
	struct sim *w, struct sim_request *q, int code, const char *sqlstate)
{
	if (q->tx.id != 0) {
		sim_rollback(&w->server, &q->tx);
	}
	sim_say(w, "server: %s of daemon %d ends with %s", sim_op_name(q->op),
		q->incarnation, sqlstate[0] != '\0' ? sqlstate : "nothing");
	served(w, q, code, sqlstate);
}

static void commit(struct sim *w, struct sim_request *q)
{
	sim_before_commit(w, q, &q->tx, NULL);
	sim_commit(&w->server, &q->tx);
	sim_say(w, "server: %s of daemon %d is committed%s", sim_op_name(q->op),
		q->incarnation,
		has_client(q) && !q->is_answered ? "" : ", unheard");
	sim_after_commit(w, q);
	served(w, q, 0, "");
}

static const char *random_error(struct sim *w, int is_past_fence)
{
	static const char *const before[] = { "53300", "53200", "57P03",
		"57014", "55P03", "40001" };
	static const char *const after[] = { "40001", "40P01", "53100", "57014",
		"53200", "57P01", "22012" };
	int count = 6 + w->choice.has_phantoms;

	return is_past_fence ? after[sim_random(w, count)]
			     : before[sim_random(w, 6)];
}

static void wait_for_lock(struct sim *w, struct sim_request *q)
{
	uint64_t timeout = sim_is_runners(q->op)
		? w->choice.lock_timeout_ms
		: w->choice.control_lock_timeout_ms;

	if (q->since_ms == 0) {
		q->since_ms = w->server.now_ms;
	}
	if (w->server.now_ms - q->since_ms <= timeout) {
		sim_later(w, 1 + (uint64_t)sim_random(w, 25), SIM_EV_SERVER,
			index_of(w, q), q->serial);
	} else if (q->op == SIM_OP_CLAIM) {
		q->reply.epoch = 0; /* it passes over the job */
		roll_back(w, q, 0, "");
	} else {
		q->reply.ev.of_job = q->is_past_fence;
		q->reply.ev.blockers = sim_chance(w, 500) ? "pid 1" : NULL;
		roll_back(w, q, BFE_SQL, "55P03");
	}
}

static int blocks_others(struct sim *w, const struct sim_request *q)
{
	return !w->is_quiet &&
		(q->op == RUN_BATCH || q->op == RUN_BATCH_HOLE ||
			q->op == RUN_DRAIN_HOLE) &&
		sim_chance(w, w->choice.impatience_permille);
}

/* It is cancelled for the sake of an application that waits for it. */
static void cancel_for_others(struct sim *w, struct sim_request *q)
{
	q->reply.ev.of_job = 1;
	q->reply.ev.waiting = "pid 2 has waited";
	q->reply.ev.sample.elapsed_us =
		w->choice.limits.max_blocking_us + 1000 * sim_random(w, 1000);
	w->seen.blocked++;
	roll_back(w, q, BFE_SQL, "57014");
}

static void executed(struct sim *w, struct sim_request *q)
{
	const char *sqlstate;

	if (q->fate == SIM_FATE_ERROR_AFTER) {
		sqlstate = random_error(w, q->is_past_fence);
		q->reply.ev.of_job = q->is_past_fence;
		roll_back(w, q, BFE_SQL, sqlstate);
	} else if (blocks_others(w, q)) {
		cancel_for_others(w, q);
	} else if (sim_is_read_only(q->op)) {
		sim_rollback(&w->server, &q->tx);
		served(w, q, 0, "");
	} else if (!sim_is_runners(q->op)) {
		commit(w, q);
	} else if (q->fate == SIM_FATE_CUT) {
		q->stage = SIM_HANGING;
		sim_later(w, (uint64_t)sim_random(w, 2000), SIM_EV_SERVER,
			index_of(w, q), q->serial);
	} else {
		q->stage = SIM_COMMITTING;
		sim_later(w,
			(uint64_t)sim_random(w, sim_chance(w, 50) ? 900 : 40),
			SIM_EV_SERVER, index_of(w, q), q->serial);
	}
}

static void execute(struct sim *w, struct sim_request *q)
{
	const char *failure = sim_execute(w, q);

	if (failure == SIM_WAITS) {
		wait_for_lock(w, q);
	} else if (failure[0] != '\0') {
		q->reply.ev.of_job = q->is_past_fence;
		roll_back(w, q, BFE_SQL, failure);
	} else {
		executed(w, q);
	}
}

static void arrive(struct sim *w, struct sim_request *q)
{
	struct sim_backend *b = &w->backends[q->backend];

	if (q->fate == SIM_FATE_NEVER_ARRIVES) {
		b->is_dead = 1;
		served(w, q, 0, "");
		return;
	}
	if (sim_is_runners(q->op) && q->op != RUN_CONNECT && b->is_dead) {
		served(w, q, BFE_LOST, "");
		return;
	}
	if (q->op == RUN_CONNECT) {
		q->backend = ++w->backend_count;
		assert(q->backend < SIM_BACKENDS);
		b = &w->backends[q->backend];
		memset(b, 0, sizeof *b);
	}
	if (q->backend != 0) {
		b->request = index_of(w, q);
	}
	if (q->fate == SIM_FATE_ERROR_BEFORE) {
		roll_back(w, q, BFE_SQL, random_error(w, 0));
		return;
	}
	sim_begin(&w->server, &q->tx, q->backend);
	q->stage = SIM_EXECUTING;
	execute(w, q);
}

void sim_request_go_on(struct sim *w, struct sim_request *q)
{
	int is_terminated = w->backends[q->backend].is_terminated;

	if (is_terminated && q->stage != SIM_ARRIVING &&
		(q->stage != SIM_COMMITTING || sim_chance(w, 600))) {
		roll_back(w, q, BFE_SQL, "57P01");
		w->backends[q->backend].is_dead = 1;
		return;
	}
	if (q->is_cancelled && q->stage == SIM_EXECUTING) {
		q->reply.ev.of_job = q->is_past_fence;
		roll_back(w, q, BFE_SQL, "57014");
		return;
	}
	switch (q->stage) {
	case SIM_ARRIVING:
		arrive(w, q);
		return;
	case SIM_EXECUTING:
		execute(w, q);
		return;
	case SIM_COMMITTING:
		commit(w, q);
		return;
	case SIM_HANGING:
		roll_back(w, q, BFE_LOST, "");
		return;
	}
}

/* Everything that was not committed is gone, and so are all connections. */
void sim_crash_server(struct sim *w)
{
	sim_say(w, "the server crashes");
	for (int i = 1; i <= w->backend_count; i++) {
		w->backends[i].is_dead = 1;
	}
	for (int i = 0; i < SIM_REQUESTS; i++) {
		struct sim_request *q = &w->requests[i];

		if (q->in_use && !q->is_served && q->stage != SIM_ARRIVING) {
			roll_back(w, q, BFE_LOST, "");
		}
	}
	sim_app_abort_all(w);
	assert(w->server.job_lock == 0 && w->server.range_lock == 0);
}
