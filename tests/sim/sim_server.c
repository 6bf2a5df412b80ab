/* What a runner calls: daemon/sql/007 to 009. */

#include "sim_server.h"

#include <assert.h>
#include <string.h>

const char *const SIM_WAITS = "waits";

int sim_has_where(const struct sim_job *j)
{
	return j->kind != SIM_ADD;
}

int sim_excludes_itself(const struct sim_job *j)
{
	return j->kind == SIM_SET || j->kind == SIM_DELETE;
}

/* ---- the fence */

const char *sim_lock_range(
	struct sim_server *s, struct sim_tx *t, int64_t epoch)
{
	if (s->range_lock != 0 && s->range_lock != t->id) {
		return SIM_WAITS;
	}
	if (!s->has_range) {
		return "BF010"; /* nobody has claimed it yet */
	}
	sim_own_range(s, t);
	return t->range->epoch != epoch ? "BF010" : "";
}

const char *sim_attach(struct sim_server *s, struct sim_tx *t, int64_t epoch)
{
	const char *failure = sim_lock_range(s, t, epoch);

	if (failure[0] == '\0') {
		t->range->runner = t->backend;
	}
	return failure;
}

int64_t sim_rows_left(const struct sim_job *j, const struct sim_range *r)
{
	return j->pause_after_rows - r->rows_done;
}

const char *sim_begin_job(
	struct sim_server *s, struct sim_tx *t, int64_t epoch, int bound)
{
	const char *failure;

	if (s->job_lock != 0 && s->job_lock != t->id) {
		return SIM_WAITS;
	}
	assert(!t->has_range || t->has_job); /* jobs, then ranges */
	s->job_lock = t->id;
	failure = sim_lock_range(s, t, epoch);
	if (failure[0] != '\0') {
		return failure;
	}
	if (t->range->runner != t->backend || t->range->is_begun) {
		return "BF010";
	}
	t->range->is_begun = 1;
	t->range->hi = bound;
	t->range->is_finished = bound == 0;
	t->range->has_key = 1;
	return "";
}

const char *sim_adopt_key(struct sim_server *s, struct sim_tx *t, int64_t epoch)
{
	const char *failure = sim_lock_range(s, t, epoch);

	if (failure[0] != '\0') {
		return failure;
	}
	if (t->range->runner != t->backend || t->range->has_key) {
		return "BF010";
	}
	t->range->has_key = 1;
	return "";
}

const char *sim_begin_work(
	struct sim_server *s, struct sim_tx *t, int64_t epoch, int64_t seq)
{
	const char *failure = sim_lock_range(s, t, epoch);

	if (failure[0] != '\0') {
		return failure;
	}
	if (t->range->runner != t->backend || t->range->seq != seq) {
		return "BF010";
	}
	t->epoch = epoch;
	if (s->job.state != SIM_RUNNING || s->is_stopped) {
		return "BF011";
	}
	return t->range->has_key ? "" : "BF022";
}

const char *sim_begin_batch(struct sim_server *s, struct sim_tx *t,
	int64_t epoch, int64_t seq, int64_t *rows_left)
{
	const char *failure = sim_begin_work(s, t, epoch, seq);

	if (failure[0] != '\0') {
		return failure;
	}
	*rows_left = 0;
	if (s->job.pause_after_rows > 0) {
		*rows_left = sim_rows_left(&s->job, t->range);
		if (*rows_left <= 0) {
			return "BF011";
		}
	}
	return "";
}

/* ---- holes and errors */

static struct sim_hole *find_hole(struct sim_range *r, int64_t id)
{
	for (int i = 0; i < r->hole_count; i++) {
		if (r->holes[i].id == id) {
			return &r->holes[i];
		}
	}
	return NULL;
}

static void add_hole(struct sim_server *s, struct sim_range *r, int is_window,
	int lo, int hi)
{
	assert(r->hole_count < SIM_HOLES);
	r->holes[r->hole_count++] = (struct sim_hole){ ++s->last_hole,
		is_window, lo, hi, s->now_ms };
}

static void remove_hole(struct sim_range *r, struct sim_hole *h)
{
	struct sim_hole *last = &r->holes[r->hole_count - 1];

	memmove(h, h + 1, (size_t)(last - h) * sizeof *h);
	r->hole_count--;
}

static void shrink_hole(struct sim_range *r, int64_t id, int up_to)
{
	struct sim_hole *h = find_hole(r, id);

	if (h == NULL) {
		return;
	}
	h->lo = up_to;
	if (h->hi == up_to) {
		remove_hole(r, h);
	}
}

static int has_key_hole(const struct sim_range *r, int key)
{
	for (int i = 0; i < r->hole_count; i++) {
		if (!r->holes[i].is_window && r->holes[i].hi == key) {
			return 1;
		}
	}
	return 0;
}

static struct sim_error *find_error(struct sim_range *r, int key)
{
	for (int i = 0; i < r->error_count; i++) {
		if (r->errors[i].key == key && !r->errors[i].is_resolved) {
			return &r->errors[i];
		}
	}
	return NULL;
}

int sim_errors(const struct sim_range *r)
{
	int count = 0;

	for (int i = 0; i < r->error_count; i++) {
		count += !r->errors[i].is_resolved;
	}
	return count;
}

int sim_holes_first(const struct sim_range *r)
{
	for (int i = 0; i < r->error_count; i++) {
		if (!r->errors[i].is_resolved &&
			has_key_hole(r, r->errors[i].key)) {
			return 1;
		}
	}
	return 0;
}

int sim_cursor(const struct sim_range *r)
{
	return r->pass > 0 ? r->sweep_cursor : r->cursor;
}

/* ---- a batch's end */

static void move_cursor(struct sim_range *r, int up_to, int64_t read)
{
	if (r->pass > 0) {
		r->sweep_cursor = up_to;
	} else {
		r->cursor = up_to;
		r->rows_read += read;
	}
}

static void count_changes(struct sim_range *r, int64_t updated, int64_t still)
{
	r->rows_done += updated;
	r->rows_still_matching += still;
	if (r->pass > 0) {
		r->pass_rows += updated;
		r->late_rows += updated;
	}
}

static int is_fenced_off(const struct sim_tx *t, int64_t seq)
{
	return t->range->seq != seq || t->range->runner != t->backend;
}

const char *sim_checkpoint(
	struct sim_server *s, struct sim_tx *t, const struct sim_checkpoint *c)
{
	const char *failure;

	if (c->updated > c->locked) {
		return "BF012";
	}
	if (c->held_count > SIM_HELD) {
		return "BF013";
	}
	failure = sim_lock_range(s, t, c->epoch);
	if (failure[0] != '\0') {
		return failure;
	}
	if (is_fenced_off(t, c->seq)) {
		return "BF010";
	}
	if (c->hole == 0) {
		move_cursor(t->range, c->up_to, c->read);
	} else {
		t->range->rows_read += t->range->pass == 0 ? c->read : 0;
		shrink_hole(t->range, c->hole, c->up_to);
	}
	t->range->seq++;
	t->range->batches++;
	t->range->batch_rows = c->size;
	count_changes(t->range, c->updated, c->still);
	for (int i = 0; i < c->held_count; i++) {
		add_hole(s, t->range, 0, 0, c->held[i]);
	}
	return "";
}

const char *sim_close_hole(struct sim_server *s, struct sim_tx *t,
	int64_t epoch, int64_t seq, int64_t hole, const struct sim_counts *c)
{
	const char *failure;
	struct sim_hole *h;
	struct sim_error *e;

	if (c->updated > c->locked) {
		return "BF012";
	}
	if (c->locked < c->eligible) {
		return "55P03";
	}
	if (c->updated < c->eligible) {
		return "BF014";
	}
	failure = sim_lock_range(s, t, epoch);
	if (failure[0] != '\0') {
		return failure;
	}
	if (is_fenced_off(t, seq)) {
		return "BF010";
	}
	t->range->seq++;
	count_changes(t->range, c->updated, c->still);
	h = find_hole(t->range, hole);
	if (h != NULL) {
		e = find_error(t->range, h->hi);
		if (e != NULL) {
			e->is_resolved = 1;
		}
		remove_hole(t->range, h);
	}
	return "";
}

const char *sim_skip_window(struct sim_server *s, struct sim_tx *t,
	int64_t epoch, int64_t seq, int up_to, int64_t read)
{
	const char *failure = sim_begin_work(s, t, epoch, seq);

	if (failure[0] != '\0') {
		return failure;
	}
	add_hole(s, t->range, 1, sim_cursor(t->range), up_to);
	move_cursor(t->range, up_to, read);
	t->range->seq++;
	return "";
}

static const char *record_error(
	struct sim_server *s, struct sim_tx *t, int key, const char *sqlstate)
{
	struct sim_error *e = find_error(t->range, key);

	if (e != NULL) {
		e->attempts++;
		memcpy(e->sqlstate, sqlstate, 6);
		return "";
	}
	assert(t->range->error_count < SIM_ERRORS);
	e = &t->range->errors[t->range->error_count++];
	*e = (struct sim_error){ .key = key, .attempts = 1 };
	memcpy(e->sqlstate, sqlstate, 6);
	return sim_errors(t->range) > s->job.max_row_errors ? "BF026" : "";
}

const char *sim_set_aside(struct sim_server *s, struct sim_tx *t, int64_t epoch,
	int64_t seq, int key, int64_t read, int64_t hole, const char *sqlstate)
{
	const char *failure = sim_begin_work(s, t, epoch, seq);
	struct sim_hole *h;

	if (failure[0] != '\0') {
		return failure;
	}
	h = hole != 0 ? find_hole(t->range, hole) : NULL;
	t->range->seq++;
	if (hole == 0) {
		move_cursor(t->range, key, read);
	} else if (h != NULL && h->is_window) {
		shrink_hole(t->range, hole, key);
	} else if (h != NULL && sqlstate[0] != '\0') {
		remove_hole(t->range, h);
	}
	if (sqlstate[0] != '\0') {
		return record_error(s, t, key, sqlstate);
	}
	if (!has_key_hole(t->range, key)) {
		add_hole(s, t->range, 0, 0, key);
	}
	return "";
}

const char *sim_finish_range(
	struct sim_server *s, struct sim_tx *t, int64_t epoch, int64_t seq)
{
	const char *failure = sim_begin_work(s, t, epoch, seq);
	struct sim_range *r = t->range;
	int sweeps;

	if (failure[0] != '\0') {
		return failure;
	}
	if (r->hole_count > 0) {
		return "BF012";
	}
	sweeps = sim_has_where(&s->job) && r->rows_still_matching == 0 &&
		r->hi != 0 && sim_errors(r) == 0;
	r->cursor = r->hi;
	r->seq++;
	if (sweeps && (r->pass == 0 || (r->pass_rows > 0 && r->pass < 3))) {
		r->pass++;
		r->sweep_cursor = 0;
		r->pass_rows = 0;
		return "";
	}
	r->residue = sweeps && r->pass == 3 ? r->pass_rows : 0;
	r->is_finished = 1;
	return "";
}
