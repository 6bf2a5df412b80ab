/* Daemons: lives, heartbeats, looks at the queue, and what befalls them;
 * as engine/database.c and database_queue.c do it, for one job. */

#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t beat_ms(const struct sim *w)
{
	return w->choice.lease_ms / 3;
}

int sim_may_begin(const struct sim *w, int seat)
{
	return w->server.now_ms - w->seats[seat].renewed_ms <
		w->choice.lease_ms * 2 / 3;
}

void sim_daemon_birth(struct sim *w, int seat)
{
	struct sim_seat *d = &w->seats[seat];

	if (d->incarnation != 0 || w->server.daemon_count == SIM_DAEMONS) {
		return;
	}
	*d = (struct sim_seat){ 0 };
	d->incarnation = sim_register(&w->server, w->choice.lease_ms);
	d->renewed_ms = w->server.now_ms;
	sim_say(w, "daemon %d is born", d->incarnation);
	sim_later(w, beat_ms(w), SIM_EV_BEAT, seat, d->incarnation);
	sim_later(w, 1, SIM_EV_LOOK, seat, d->incarnation);
}

void sim_daemon_beat(struct sim *w, int seat)
{
	struct sim_seat *d = &w->seats[seat];

	d->beat_sent_ms = w->server.now_ms;
	sim_request_send(w, sim_request_new(w, SIM_OP_RENEW, seat));
	sim_later(w, beat_ms(w), SIM_EV_BEAT, seat, d->incarnation);
}

/* ---- the queue */

static void look_now(struct sim *w, int seat)
{
	struct sim_seat *d = &w->seats[seat];

	if (d->is_looking) {
		d->look_again = 1;
		return;
	}
	d->is_looking = 1;
	d->look_again = 0;
	sim_request_send(w, sim_request_new(w, SIM_OP_WORK, seat));
}

void sim_daemon_look(struct sim *w, int seat)
{
	look_now(w, seat);
	sim_later(w, w->choice.poll_ms, SIM_EV_LOOK, seat,
		w->seats[seat].incarnation);
}

static void looked(struct sim *w, int seat)
{
	w->seats[seat].is_looking = 0;
	if (w->seats[seat].look_again) {
		look_now(w, seat);
	}
}

/* A job of ours that no run has. */
static void release_orphan(struct sim *w, int seat, int64_t epoch)
{
	struct sim_request *q = sim_request_new(w, SIM_OP_ORPHAN, seat);

	q->ask.epoch = epoch;
	(void)snprintf(q->ask.why, sizeof q->ask.why, "unheard");
	sim_request_send(w, q);
}

static void claim(struct sim *w, int seat)
{
	const struct sim_seat *d = &w->seats[seat];

	if (d->is_stopping || d->run.serial != 0 || !sim_may_begin(w, seat)) {
		looked(w, seat);
		return;
	}
	sim_request_send(w, sim_request_new(w, SIM_OP_CLAIM, seat));
}

static void on_work(struct sim *w, const struct sim_request *q)
{
	const struct sim_seat *d = &w->seats[q->seat];

	if (q->reply.is_owner && d->run.serial == 0) {
		release_orphan(w, q->seat, q->reply.epoch);
	} else if (q->reply.is_owner && q->reply.state != SIM_RUNNING &&
		d->run.core.epoch == q->reply.epoch) {
		sim_run_wake(w, q->seat, 1, q->reply.state == SIM_CANCELLED);
	}
	claim(w, q->seat);
}

static void on_claimed(struct sim *w, const struct sim_request *q)
{
	if (q->reply.epoch != 0 && w->seats[q->seat].run.serial == 0) {
		sim_run_start(w, q->seat, q->reply.epoch);
	}
	looked(w, q->seat);
}

static void on_own_reply(struct sim *w, const struct sim_request *q)
{
	int is_well = q->reply.code == 0;

	switch (q->op) {
	case SIM_OP_RENEW:
		if (is_well) {
			w->seats[q->seat].renewed_ms =
				w->seats[q->seat].beat_sent_ms;
		}
		return;
	case SIM_OP_WORK:
		if (is_well) {
			on_work(w, q);
		} else {
			looked(w, q->seat);
		}
		return;
	case SIM_OP_CLAIM:
		if (is_well) {
			on_claimed(w, q);
		} else {
			looked(w, q->seat);
		}
		return;
	default:
		return;
	}
}

void sim_daemon_reply(struct sim *w, struct sim_request *q)
{
	struct sim_seat *d = &w->seats[q->seat];
	struct sim_request copy = *q;

	/* Its place may be another's during what follows. */
	sim_request_answered(q);
	if (d->incarnation != copy.incarnation) {
		return;
	}
	if (copy.run == 0) {
		on_own_reply(w, &copy);
	} else if (copy.run == d->run.serial) {
		sim_run_reply(w, copy.seat, &copy);
	}
}

static void leave(struct sim *w, int seat, const char *how)
{
	struct sim_seat *d = &w->seats[seat];

	sim_say(w, "daemon %d %s", d->incarnation, how);
	sim_run_drop(w, seat);
	for (int i = 0; i < SIM_REQUESTS; i++) {
		struct sim_request *q = &w->requests[i];

		if (q->in_use && q->seat == seat && !q->is_answered) {
			sim_request_orphan(w, q);
		}
	}
	d->incarnation = 0;
	sim_later(w, 1 + (uint64_t)sim_random(w, 1500), SIM_EV_BIRTH, seat, 0);
}

void sim_daemon_run_ended(struct sim *w, int seat)
{
	struct sim_seat *d = &w->seats[seat];

	if (d->is_stopping) {
		w->server.daemons[d->incarnation].lease_until =
			w->server.now_ms;
		leave(w, seat, "has stopped");
		return;
	}
	look_now(w, seat);
}

/* ---- trouble */

static void freeze(struct sim *w, int seat)
{
	struct sim_seat *d = &w->seats[seat];
	int ms = (int)w->choice.lease_ms * 3;

	d->frozen_until = w->server.now_ms + 20 + (uint64_t)sim_random(w, ms);
	w->seen.frozen++;
	sim_say(w, "daemon %d freezes until %" PRIu64, d->incarnation,
		d->frozen_until);
}

static void stop(struct sim *w, int seat)
{
	struct sim_seat *d = &w->seats[seat];

	sim_say(w, "daemon %d is to stop", d->incarnation);
	d->is_stopping = 1;
	if (d->run.serial == 0) {
		sim_daemon_run_ended(w, seat);
	} else {
		sim_run_wake(w, seat, 0, 0);
	}
}

void sim_trouble(struct sim *w)
{
	int seat = sim_random(w, w->choice.seats);

	if (w->is_quiet || w->seats[seat].incarnation == 0) {
		return;
	}
	switch (sim_random(w, 8)) {
	case 0:
	case 1:
		leave(w, seat, "is killed");
		return;
	case 2:
		sim_crash_server(w);
		return;
	case 3:
		if (w->seats[seat].frozen_until <= w->server.now_ms) {
			stop(w, seat);
		}
		return;
	default:
		freeze(w, seat);
		return;
	}
}

void sim_thaw_all(struct sim *w)
{
	for (int i = 0; i < SIM_SEATS; i++) {
		w->seats[i].frozen_until = 0;
	}
}
