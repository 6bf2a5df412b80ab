/* The oracle. It keeps books of its own, of what commits and of which rows
 * promise P1 speaks of (DESIGN, section 2), and compares them with what the
 * rules and the core made of it. */

#include "sim.h"

#include <string.h>

static int is_left(const struct sim *w, int key)
{
	const struct sim_row *row = &w->server.slots[key].row;

	return row->exists && row->matches &&
		(sim_excludes_itself(&w->server.job) || row->effects == 0);
}

/* ---- which rows are owed */

enum { BY_THE_WALK = 1, BY_THE_SWEEP = 2 };

/* Who writes when the barrier begins is spoken of by P1. */
void sim_barrier_asked(struct sim *w)
{
	for (int i = 0; i < SIM_APPS; i++) {
		w->apps[i].is_old = w->apps[i].tx.id != 0 &&
			w->apps[i].tx.writes_since_ms != 0;
	}
}

/* What is eligible and committed now. Before the job begins, the last
 * barrier counts; a sweep's adds rows up to the bound. */
void sim_barrier_ended(struct sim *w)
{
	const struct sim_range *r = &w->server.range;

	for (int key = 1; key <= w->server.keys; key++) {
		if (!r->is_begun) {
			w->books.is_owed[key] = is_left(w, key) * BY_THE_WALK;
		} else if (key <= r->hi && is_left(w, key)) {
			w->books.is_owed[key] |= BY_THE_SWEEP;
		}
	}
	w->books.has_barrier = 1;
	w->books.sweep_barriers += r->pass > 0;
}

/* Without a barrier, P1 speaks of all there is. */
static void begin_without_barrier(struct sim *w)
{
	sim_barrier_asked(w);
	sim_barrier_ended(w);
}

static void app_commits(
	struct sim *w, const struct sim_tx *t, const struct sim_app *app)
{
	const struct sim_range *r = &w->server.range;

	for (int i = 0; i < t->write_count; i++) {
		const struct sim_write *u = &t->writes[i];

		if (!u->row.exists || !u->row.matches || u->is_new) {
			w->books.is_owed[u->key] = 0;
		}
		if (app->is_old && u->row.exists && u->row.matches &&
			!u->row.is_moved && (r->pass == 0 || u->key <= r->hi)) {
			w->books.is_owed[u->key] |=
				r->pass == 0 ? BY_THE_WALK : BY_THE_SWEEP;
		}
	}
}

/* ---- commits */

static int is_counted(int op)
{
	return op == RUN_BATCH || op == RUN_BATCH_HOLE ||
		op == RUN_DRAIN_HOLE || op == RUN_SKIP_WINDOW ||
		op == RUN_SET_ASIDE || op == RUN_FINISH_RANGE;
}

static void runner_commits(
	struct sim *w, const struct sim_request *q, const struct sim_tx *t)
{
	const struct sim_range *r = &w->server.range;

	if (t->has_range && q->ask.epoch != r->epoch) {
		sim_break(w, "%s of epoch %d commits in epoch %d",
			sim_op_name(q->op), (int)q->ask.epoch, (int)r->epoch);
	}
	if (is_counted(q->op) && t->range->seq != r->seq + 1) {
		sim_break(w, "%s commits seq %d after %d", sim_op_name(q->op),
			(int)t->range->seq, (int)r->seq);
	}
	if (is_counted(q->op) &&
		(w->server.job.state == SIM_SUCCEEDED ||
			w->server.job.state == SIM_FAILED)) {
		sim_break(w, "%s commits after the job's end",
			sim_op_name(q->op));
	}
	/* Paid: should the application undo it, that is its own affair. */
	for (int i = 0; i < t->write_count; i++) {
		w->books.is_owed[t->writes[i].key] = 0;
	}
	w->books.effects += t->changed;
	w->books.pass_effects += t->changed;
	if (q->op == RUN_BEGIN && !w->books.has_barrier) {
		begin_without_barrier(w);
	}
}

void sim_before_commit(struct sim *w, const struct sim_request *q,
	const struct sim_tx *t, struct sim_app *app)
{
	if (app != NULL) {
		app_commits(w, t, app);
	} else if (sim_is_runners(q->op)) {
		runner_commits(w, q, t);
	} else if (t->changed > 0) {
		sim_break(w, "%s changes rows", sim_op_name(q->op));
	}
}

static void count_seen(struct sim *w, int op)
{
	switch (op) {
	case RUN_BATCH:
		w->seen.batches++;
		return;
	case RUN_BATCH_HOLE:
	case RUN_DRAIN_HOLE:
		w->seen.holes++;
		return;
	case RUN_SKIP_WINDOW:
		w->seen.windows++;
		return;
	case RUN_SET_ASIDE:
		w->seen.aside++;
		return;
	default:
		return;
	}
}

/* ---- the end */

static int may_fail_with(const struct sim *w, const char *sqlstate)
{
	static const struct {
		const char *sqlstate;
		int recorded; /* -1: either way */
		int reason;
	} table[] = {
		{ "22012", 0, SIM_FAIL_ROW },
		{ "23514", 0, SIM_FAIL_ROW },
		{ "BF014", 0, SIM_FAIL_ROW },
		{ "23503", 0, SIM_FAIL_REFERENCE },
		{ "BF026", 1,
			SIM_FAIL_ROW | SIM_FAIL_REFERENCE | SIM_FAIL_TIMEOUT },
		{ "BF027", 1,
			SIM_FAIL_ROW | SIM_FAIL_REFERENCE | SIM_FAIL_TIMEOUT },
		{ "BF023", -1, SIM_FAIL_HELD },
		{ "BF025", -1, SIM_FAIL_HELD },
		{ "BF029", -1, SIM_FAIL_RESIDUE },
		{ "BF031", -1, SIM_FAIL_TROUBLE },
		{ "08006", -1, SIM_FAIL_TROUBLE },
		{ "53", -1, SIM_FAIL_TROUBLE },
		{ "57014", 0, SIM_FAIL_TIMEOUT },
		{ "57", -1, SIM_FAIL_TROUBLE },
		{ "55P03", -1, SIM_FAIL_TROUBLE },
		{ "40", -1, SIM_FAIL_TROUBLE },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		if (strncmp(sqlstate, table[i].sqlstate,
			    strlen(table[i].sqlstate)) == 0 &&
			(w->choice.may_fail & table[i].reason) != 0 &&
			(table[i].recorded < 0 ||
				table[i].recorded ==
					w->server.job.records_errors)) {
			return 1;
		}
	}
	return 0;
}

static void check_success(struct sim *w)
{
	const struct sim_range *r = &w->server.range;

	for (int key = 1; key <= w->server.keys; key++) {
		if (w->books.is_owed[key] && is_left(w, key)) {
			sim_break(w, "succeeded, and key %d is left", key);
		}
	}
	if (r->hole_count > 0 || sim_errors(r) > 0) {
		sim_break(w, "succeeded with %d holes and %d errors",
			r->hole_count, sim_errors(r));
	}
	if (sim_excludes_itself(&w->server.job) && r->hi != 0 &&
		w->books.sweep_barriers == 0) {
		sim_break(w, "succeeded without a closing sweep");
	}
	if (sim_excludes_itself(&w->server.job) && r->pass < 3 && r->hi != 0 &&
		w->books.pass_effects > 0) {
		sim_break(w, "succeeded, and the last sweep found rows");
	}
	if (r->pass == 3 && w->books.pass_effects > 0 &&
		w->server.job.fails_on_residue) {
		sim_break(w, "succeeded with a residue");
	}
}

/* A retry works off what was recorded. */
static void check_recorded(struct sim *w)
{
	const struct sim_range *r = &w->server.range;

	for (int i = 0; i < r->error_count; i++) {
		const struct sim_error *e = &r->errors[i];

		if (!e->is_resolved && e->attempts <= w->books.tried[e->key]) {
			sim_break(w, "key %d was not tried again", e->key);
		}
	}
}

static void check_state(struct sim *w)
{
	enum sim_state was = w->books.state;
	enum sim_state now = w->server.job.state;

	w->books.state = now;
	if (was == now) {
		return;
	}
	sim_say(w, "the job's state is %d", (int)now);
	if (was == SIM_SUCCEEDED || was == SIM_CANCELLED ||
		(was == SIM_FAILED && now != SIM_QUEUED)) {
		sim_break(w, "the job's state goes from %d to %d", (int)was,
			(int)now);
	}
	if (now == SIM_SUCCEEDED) {
		check_success(w);
	}
	if (now == SIM_FAILED && strcmp(w->server.job.sqlstate, "BF027") == 0) {
		check_recorded(w);
	}
	if (now == SIM_FAILED && !may_fail_with(w, w->server.job.sqlstate)) {
		sim_break(w, "the job fails with %s", w->server.job.sqlstate);
	}
	if (now == SIM_SUCCEEDED || now == SIM_CANCELLED) {
		sim_later(w, 300, SIM_EV_QUIET, 0, 0);
	}
}

/* ---- after each step */

static int is_accounted_for(const struct sim_range *r, int key)
{
	for (int i = 0; i < r->hole_count; i++) {
		const struct sim_hole *h = &r->holes[i];

		if (h->hi == key ||
			(h->is_window && h->lo < key && key < h->hi)) {
			return 1;
		}
	}
	for (int i = 0; i < r->error_count; i++) {
		if (r->errors[i].key == key && !r->errors[i].is_resolved) {
			return 1;
		}
	}
	return 0;
}

static void check_rows(struct sim *w)
{
	const struct sim_range *r = &w->server.range;
	int cursor = sim_cursor(r);

	for (int key = 1; key <= w->server.keys; key++) {
		const struct sim_row *row = &w->server.slots[key].row;

		if (row->effects > 1 && !row->is_moved &&
			!sim_excludes_itself(&w->server.job)) {
			sim_break(w, "key %d was changed twice", key);
		}
		if (!w->books.is_owed[key] || !r->is_begun ||
			!is_left(w, key)) {
			continue;
		}
		if ((key <= cursor || key > r->hi) &&
			!is_accounted_for(r, key)) {
			sim_break(w, "key %d is lost: cursor %d, bound %d", key,
				cursor, r->hi);
		}
	}
}

/* A sweep begins anew, with a barrier of its own. */
void sim_retried(struct sim *w)
{
	for (int key = 1; key <= w->server.keys; key++) {
		w->books.is_owed[key] &= BY_THE_WALK;
	}
	for (int i = 0; i < SIM_APPS; i++) {
		w->apps[i].is_old = 0;
	}
	memset(w->books.tried, 0, sizeof w->books.tried);
	for (int i = 0; i < w->server.range.error_count; i++) {
		const struct sim_error *e = &w->server.range.errors[i];

		if (!e->is_resolved) {
			w->books.tried[e->key] = e->attempts;
		}
	}
	w->books.pass = w->server.range.pass;
	w->books.pass_effects = 0;
}

void sim_after_commit(struct sim *w, const struct sim_request *q)
{
	const struct sim_range *r = &w->server.range;
	struct sim_books *b = &w->books;

	count_seen(w, q->op);
	if (r->pass != b->pass ||
		(q->op == RUN_FINISH_RANGE && r->pass > 0 && !r->is_finished)) {
		w->seen.sweeps += r->pass > 0;
		b->pass = r->pass;
		b->pass_effects = 0;
	}
	if (r->epoch < b->epoch || r->seq < b->seq) {
		sim_break(w, "epoch or sequence number goes back");
	}
	if (q->op == SIM_OP_CLAIM && q->reply.epoch != 0 &&
		r->epoch <= b->epoch) {
		sim_break(w, "a new owner has the epoch of the old one");
	}
	if (r->cursor < b->cursor) {
		sim_break(w, "the cursor goes back from %d to %d", b->cursor,
			r->cursor);
	}
	b->epoch = r->epoch;
	b->seq = r->seq;
	b->cursor = r->cursor;
	if (r->rows_done != b->effects) {
		sim_break(w, "%d rows were changed, rows_done is %d",
			(int)b->effects, (int)r->rows_done);
	}
	if (r->pass > 0 && r->pass_rows != b->pass_effects) {
		sim_break(w,
			"%d rows were changed in pass %d, pass_rows is"
			" %d",
			(int)b->pass_effects, r->pass, (int)r->pass_rows);
	}
}

/* Locks, and the books. */
void sim_check(struct sim *w)
{
	check_state(w);
	check_rows(w);
}

void sim_check_end(struct sim *w)
{
	if (!w->is_over) {
		sim_break(w, "nothing happens any more");
	}
}
