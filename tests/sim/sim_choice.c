/* What a seed chooses: the table, the job, the limits, and how much goes
 * wrong. Many small worlds find more than few large ones: tables are small,
 * times short, and each kind of trouble is absent from many seeds. */

#include "sim.h"

#include <assert.h>

static uint64_t between(struct sim *w, int least, int most)
{
	return (uint64_t)(least + sim_random(w, most - least + 1));
}

static void choose_job(struct sim *w)
{
	struct sim_job *j = &w->server.job;

	j->kind = (enum sim_kind)sim_random(w, 4);
	j->state = SIM_QUEUED;
	j->records_errors = sim_chance(w, 500);
	j->max_row_errors = sim_chance(w, 300) ? sim_random(w, 4) : 100;
	j->fails_on_residue = sim_chance(w, 200);
	if (sim_chance(w, 150)) {
		j->pause_after_rows = 1 + sim_random(w, 30);
	}
}

static int choose_rows(struct sim *w)
{
	int size = sim_random(w, 100);

	if (size < 3) {
		return 0;
	}
	if (size < 70) {
		return 1 + sim_random(w, 40);
	}
	return size < 95 ? 40 + sim_random(w, 80) : 300 + sim_random(w, 180);
}

static void choose_bad_row(struct sim *w, struct sim_row *row, int bad)
{
	if (!sim_chance(w, bad)) {
		return;
	}
	row->bad = sim_chance(w, 700) ? SIM_CHECKED_ROW : SIM_STUBBORN_ROW;
	w->choice.may_fail |= SIM_FAIL_ROW;
}

/* A row refers to one at random, which may be itself. */
static void choose_reference(struct sim *w, int key)
{
	int other = 1 + sim_random(w, w->server.keys);

	if (w->choice.has_references && sim_chance(w, 100) &&
		w->server.slots[other].row.exists) {
		w->server.slots[key].row.refers_to = other;
		w->choice.may_fail |= SIM_FAIL_REFERENCE;
	}
}

static void choose_table(struct sim *w)
{
	struct sim_server *s = &w->server;
	int rows = choose_rows(w);
	int density = 400 + sim_random(w, 601);
	int matching = sim_has_where(&s->job) ? 200 + sim_random(w, 801) : 1000;
	int bad = sim_chance(w, 350) ? 5 + sim_random(w, 60) : 0;
	int contended = sim_chance(w, 250) ? 5 + sim_random(w, 100) : 0;

	if (sim_has_where(&s->job) && sim_chance(w, 150)) {
		matching = sim_random(w, 60);
	}
	s->keys = rows + 1 + sim_random(w, 15);
	assert(s->keys <= SIM_KEYS);
	for (int key = 1; key <= rows; key++) {
		struct sim_row *row = &s->slots[key].row;

		if (!sim_chance(w, density)) {
			continue;
		}
		row->exists = 1;
		row->matches = sim_chance(w, matching);
		choose_bad_row(w, row, bad);
		choose_reference(w, key);
		if (sim_chance(w, contended)) {
			row->contended_until = s->now_ms + between(w, 0, 8000);
		}
	}
	s->max_changes = sim_chance(w, 150) ? 1 + sim_random(w, 12) : INT32_MAX;
}

static void choose_limits(struct sim *w)
{
	struct sim_choice *c = &w->choice;

	c->limits.size.max_rows = 1 + sim_random(w, 40);
	c->limits.size.first_rows =
		1 + sim_random(w, (int)c->limits.size.max_rows);
	c->limits.size.target_us = (int64_t)between(w, 5000, 250000);
	if (w->server.keys > 2 * SIM_HELD) {
		/* Windows of which more rows may be held than singly. */
		c->limits.size.max_rows = SIM_HELD + sim_random(w, 200);
		c->limits.size.first_rows = c->limits.size.max_rows;
	}
	c->limits.size.max_wal_bytes = 16 << 20;
	c->limits.barrier_timeout_ms = 3600000;
	c->limits.hole_timeout_ms = 3600000;
	c->limits.trouble_timeout_ms = 3600000;
	c->limits.max_blocking_us = (int64_t)between(w, 10000, 1000000);
	if (c->has_long_holders) {
		c->limits.barrier_timeout_ms = between(w, 2000, 20000);
		c->limits.hole_timeout_ms = between(w, 2000, 20000);
		c->may_fail |= SIM_FAIL_HELD;
	}
	if (sim_chance(w, 50)) {
		c->limits.trouble_timeout_ms = between(w, 500, 5000);
		c->may_fail |= SIM_FAIL_TROUBLE;
	}
}

static void choose_troubles(struct sim *w)
{
	static const int faults[] = { 0, 0, 10, 30, 80, 150, 250 };
	static const int held[] = { 0, 0, 50, 300, 800 };
	static const int impatience[] = { 0, 0, 0, 30, 300 };
	struct sim_choice *c = &w->choice;

	c->seats = 1 + sim_random(w, SIM_SEATS);
	c->impatience_permille = impatience[sim_random(w, 5)];
	c->fault_permille = faults[sim_random(w, 7)];
	c->app_pause_ms = sim_chance(w, 200) ? 0 : 5 + sim_random(w, 300);
	c->app_writes_late = sim_chance(w, 500);
	c->has_long_holders = sim_chance(w, 150);
	c->has_references =
		w->server.job.kind == SIM_DELETE && sim_chance(w, 300);
	c->troubles = sim_chance(w, 600) ? sim_random(w, 8) : 0;
	c->operations = sim_chance(w, 400) ? sim_random(w, 6) : 0;
	c->retries = sim_random(w, 4);
	c->held_permille = held[sim_random(w, 5)];
	c->mends_rows = sim_chance(w, 500);
	c->lease_ms = between(w, 300, 2000);
	c->poll_ms = between(w, 50, 500);
	c->lock_timeout_ms = between(w, 20, 500);
	c->control_lock_timeout_ms = between(w, 50, 800);
	c->quiet_ms = between(w, 500, 15000);
	if (c->fault_permille > 0) {
		c->may_fail |= SIM_FAIL_TIMEOUT;
	}
	if (sim_chance(w, 150)) {
		c->has_phantoms = 1;
		c->may_fail |= SIM_FAIL_ROW;
	}
	if (w->server.job.fails_on_residue) {
		c->may_fail |= SIM_FAIL_RESIDUE;
	}
}

void sim_choose(struct sim *w)
{
	w->choice = (struct sim_choice){ 0 };
	choose_job(w);
	choose_troubles(w);
	choose_table(w);
	choose_limits(w);
	for (int i = 0; i < w->choice.seats; i++) {
		sim_later(w, between(w, 0, 300), SIM_EV_BIRTH, i, 0);
	}
	for (int i = 0; i < w->choice.troubles; i++) {
		sim_later(w, between(w, 20, 4000), SIM_EV_TROUBLE, 0, 0);
	}
	for (int i = 0; i < w->choice.operations; i++) {
		sim_later(w, between(w, 20, 4000), SIM_EV_OPERATOR, 0, 0);
	}
	if (w->choice.app_pause_ms > 0) {
		for (int i = sim_random(w, 4); i > 0; i--) {
			sim_app_begin(w);
		}
		sim_later(w, 1, SIM_EV_APP_BEGIN, 0, 0);
	}
	sim_later(w, w->choice.quiet_ms, SIM_EV_QUIET, 0, 0);
	sim_say(w,
		"seed %llu: kind %d, %d keys, %d daemons, faults %d permille",
		(unsigned long long)w->seed, (int)w->server.job.kind,
		w->server.keys, w->choice.seats, w->choice.fault_permille);
}
