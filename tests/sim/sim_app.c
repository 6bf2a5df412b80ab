/* The application, which locks and writes rows in transactions of its own,
 * and the operator, who pauses, resumes, cancels and tries again. */

#include "sim.h"

#include <string.h>

/* ---- transactions of the application */

static uint64_t choose_duration(struct sim *w)
{
	uint64_t longest = w->choice.limits.hole_timeout_ms;

	if (w->choice.has_long_holders && sim_chance(w, 60)) {
		return longest + (uint64_t)sim_random(w, (int)longest);
	}
	return 2 + (uint64_t)sim_random(w, sim_chance(w, 120) ? 3000 : 250);
}

void sim_app_begin(struct sim *w)
{
	struct sim_app *a = w->apps;

	if (w->is_quiet) {
		return;
	}
	sim_later(w, 1 + (uint64_t)sim_random(w, 2 * w->choice.app_pause_ms),
		SIM_EV_APP_BEGIN, 0, 0);
	while (a < w->apps + SIM_APPS && a->tx.id != 0) {
		a++;
	}
	if (a == w->apps + SIM_APPS) {
		return;
	}
	sim_begin(&w->server, &a->tx, 0);
	a->serial = ++w->serial;
	a->writes = sim_chance(w, 650);
	a->rolls_back = sim_chance(w, 200);
	a->is_old = 0;
	a->ends_ms = w->server.now_ms + choose_duration(w);
	sim_later(w, (uint64_t)sim_random(w, 10), SIM_EV_APP,
		(int)(a - w->apps), a->serial);
}

/* The constraint would not have it, or the row is a bad one. */
static int may_write(const struct sim *w, int key)
{
	const struct sim_server *s = &w->server;

	for (int other = 1; w->choice.has_references && other <= s->keys;
		other++) {
		if (s->slots[other].row.exists &&
			s->slots[other].row.refers_to == key) {
			return 0;
		}
	}
	return s->slots[key].row.bad == SIM_GOOD_ROW;
}

static void insert(struct sim *w, struct sim_app *a, int key)
{
	struct sim_row row = { .exists = 1, .matches = 1 };

	if (sim_has_where(&w->server.job)) {
		row.matches = w->choice.app_writes_late && sim_chance(w, 700);
	}
	sim_write(&w->server, &a->tx, key, &row, 1);
	sim_say(w, "application: inserts %d%s", key,
		row.matches ? "" : ", not eligible");
}

static void delete (struct sim *w, struct sim_app *a, int key)
{
	struct sim_row row = { 0 };

	sim_write(&w->server, &a->tx, key, &row, 1);
	sim_say(w, "application: deletes %d", key);
}

static void move(struct sim *w, struct sim_app *a, int key)
{
	struct sim_row row = sim_see(&w->server, &a->tx, key);
	int to = 1 + sim_random(w, w->server.keys);

	if (sim_see(&w->server, &a->tx, to).exists ||
		w->server.slots[to].row.exists ||
		!sim_lock_row(&w->server, &a->tx, to)) {
		return;
	}
	delete (w, a, key);
	row.is_moved = 1;
	sim_write(&w->server, &a->tx, to, &row, 1);
	sim_say(w, "application: moves %d to %d", key, to);
}

static void update(struct sim *w, struct sim_app *a, int key)
{
	struct sim_row row = sim_see(&w->server, &a->tx, key);

	if (sim_has_where(&w->server.job) && sim_chance(w, 500)) {
		row.matches = w->choice.app_writes_late && sim_chance(w, 700);
	}
	sim_write(&w->server, &a->tx, key, &row, 0);
	sim_say(w, "application: updates %d, %seligible", key,
		row.matches ? "" : "not ");
}

static void write_row(struct sim *w, struct sim_app *a, int key)
{
	int what = sim_random(w, 10);

	if (!sim_see(&w->server, &a->tx, key).exists) {
		insert(w, a, key);
	} else if (what == 0) {
		delete (w, a, key);
	} else if (what == 1) {
		move(w, a, key);
	} else {
		update(w, a, key);
	}
}

static void lock_many(struct sim *w, struct sim_app *a)
{
	int from = 1 + sim_random(w, w->server.keys);
	int count = sim_random(w, w->server.keys);

	for (int key = from; key <= w->server.keys && key < from + count;
		key++) {
		if (w->server.slots[key].row.exists) {
			(void)sim_lock_row(&w->server, &a->tx, key);
		}
	}
	sim_say(w, "application: locks %d rows from %d", count, from);
}

static void touch(struct sim *w, struct sim_app *a)
{
	int key = 1 + sim_random(w, w->server.keys);

	if (sim_chance(w, w->server.keys > 2 * SIM_HELD ? 250 : 50)) {
		lock_many(w, a);
		return;
	}
	/* It would wait; we have others. */
	if ((!a->writes && !w->server.slots[key].row.exists) ||
		!sim_lock_row(&w->server, &a->tx, key)) {
		return;
	}
	if (a->writes && may_write(w, key)) {
		write_row(w, a, key);
	} else {
		sim_say(w, "application: locks %d", key);
	}
}

static void end(struct sim *w, struct sim_app *a)
{
	sim_say(w, "application: %s a transaction",
		a->rolls_back ? "rolls back" : "commits");
	if (a->rolls_back) {
		sim_rollback(&w->server, &a->tx);
	} else {
		sim_before_commit(w, NULL, &a->tx, a);
		sim_commit(&w->server, &a->tx);
	}
	a->serial = 0;
}

void sim_app_go_on(struct sim *w, int i)
{
	struct sim_app *a = &w->apps[i];
	uint64_t left;

	if (w->server.now_ms >= a->ends_ms) {
		end(w, a);
		return;
	}
	for (int n = 1 + sim_random(w, 3); n > 0; n--) {
		touch(w, a);
	}
	left = a->ends_ms - w->server.now_ms;
	sim_later(w,
		sim_chance(w, 500) ? left
				   : 1 + (uint64_t)sim_random(w, (int)left),
		SIM_EV_APP, i, a->serial);
}

void sim_app_abort_all(struct sim *w)
{
	for (int i = 0; i < SIM_APPS; i++) {
		if (w->apps[i].tx.id != 0) {
			sim_rollback(&w->server, &w->apps[i].tx);
			w->apps[i].serial = 0;
		}
	}
}

/* ---- the operator */

typedef const char *(*control_cb)(struct sim_server *s, struct sim_tx *t);

/* Returns 0 when a lock is in the way. */
static int control(struct sim *w, control_cb rule, const char *name)
{
	struct sim_request *q = sim_request_new(w, SIM_OP_WORK, 0);
	const char *failure;

	sim_begin(&w->server, &q->tx, 0);
	failure = rule(&w->server, &q->tx);
	if (failure[0] == '\0') {
		sim_commit(&w->server, &q->tx);
		sim_say(w, "operator: %s", name);
	} else {
		sim_rollback(&w->server, &q->tx);
	}
	q->is_served = 1;
	sim_request_answered(q);
	return failure != SIM_WAITS;
}

static void set_stop(struct sim *w, int is_stopped)
{
	sim_say(w, "operator: %s", is_stopped ? "stop_all" : "start_all");
	w->server.is_stopped = is_stopped;
}

static void mend_rows(struct sim *w)
{
	for (int key = 1; key <= w->server.keys; key++) {
		w->server.slots[key].row.bad = SIM_GOOD_ROW;
		w->server.slots[key].row.refers_to = 0;
	}
	w->choice.has_references = 0;
	sim_say(w, "operator: mends all rows");
}

static void retry(struct sim *w)
{
	if (w->choice.retries == 0 || w->server.job.state != SIM_FAILED) {
		return;
	}
	if (w->choice.mends_rows && w->server.range_lock == 0) {
		mend_rows(w);
	}
	if (control(w, sim_retry, "retry")) {
		sim_retried(w);
		w->choice.retries--;
		w->seen.retries++;
	}
}

void sim_operate(struct sim *w, int what)
{
	int is_done = 1;

	if (w->is_quiet) {
		return;
	}
	switch (what != 0 ? what : 1 + sim_random(w, 12)) {
	case 1:
	case 2:
	case 3:
	case 4:
		is_done = control(w, sim_pause, "pause");
		sim_later(w, (uint64_t)sim_random(w, 1000), SIM_EV_OPERATOR, 5,
			0);
		break;
	case 5:
	case 6:
		is_done = control(w, sim_resume, "resume");
		break;
	case 7:
		is_done =
			!sim_chance(w, 300) || control(w, sim_cancel, "cancel");
		break;
	case 8:
	case 9:
		set_stop(w, 1);
		sim_later(w, (uint64_t)sim_random(w, 1000), SIM_EV_OPERATOR, 10,
			0);
		break;
	case 10:
		set_stop(w, 0);
		break;
	default:
		retry(w);
		break;
	}
	if (!is_done) {
		sim_later(w, 20, SIM_EV_OPERATOR, what, 0);
	}
}

static int is_busy(const struct sim *w)
{
	for (int i = 0; i < SIM_SEATS; i++) {
		if (w->seats[i].run.serial != 0) {
			return 1;
		}
	}
	for (int i = 0; i < SIM_REQUESTS; i++) {
		const struct sim_request *q = &w->requests[i];

		if (q->in_use && !q->is_served && sim_is_runners(q->op)) {
			return 1;
		}
	}
	return 0;
}

void sim_attend(struct sim *w)
{
	switch (w->server.job.state) {
	case SIM_PAUSED:
		(void)control(w, sim_resume, "resume");
		break;
	case SIM_FAILED:
		if (w->choice.retries > 0) {
			retry(w);
			break;
		}
		w->is_over = !is_busy(w);
		break;
	case SIM_SUCCEEDED:
	case SIM_CANCELLED:
		w->is_over = !is_busy(w);
		break;
	default:
		break;
	}
	if (w->server.is_stopped) {
		set_stop(w, 0);
	}
}
