/* What a daemon calls, and people: daemon/sql/006 and 010 to 013. */

#include "sim_server.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The job's row for writing. Lock order: jobs, then ranges. */
static const char *lock_job_row(struct sim_server *s, struct sim_tx *t)
{
	if (s->job_lock != 0 && s->job_lock != t->id) {
		return SIM_WAITS;
	}
	if (!t->has_job) {
		assert(!t->has_range);
		s->job_lock = t->id;
		t->job = s->job;
		t->has_job = 1;
	}
	return "";
}

int sim_register(struct sim_server *s, uint64_t lease_ms)
{
	int me = ++s->daemon_count;

	assert(me <= SIM_DAEMONS);
	s->daemons[me].lease_ms = lease_ms;
	s->daemons[me].lease_until = s->now_ms + lease_ms;
	return me;
}

static int has_lease(const struct sim_server *s, int incarnation)
{
	return incarnation != 0 &&
		s->daemons[incarnation].lease_until > s->now_ms;
}

static int is_claimable(const struct sim_server *s, const struct sim_job *j)
{
	return j->state == SIM_QUEUED ||
		(j->state == SIM_RUNNING && !has_lease(s, s->range.owner));
}

/* ---- the fence, raised */

/* End the old owner's backend, then wait for its transaction. */
static const char *take(struct sim_server *s, struct sim_tx *t)
{
	const char *failure;

	if (!t->has_range && s->range.runner != 0) {
		s->terminate(s->data, s->range.runner);
	}
	failure = sim_lock_range(s, t, s->range.epoch);
	if (failure[0] != '\0') {
		return failure;
	}
	t->range->epoch++;
	t->range->runner = 0;
	return "";
}

const char *sim_claim(
	struct sim_server *s, struct sim_tx *t, int me, int64_t *epoch)
{
	const char *failure;

	*epoch = 0;
	if (!t->has_job &&
		(s->is_stopped || !has_lease(s, me) ||
			!is_claimable(s, &s->job) ||
			(s->job_lock != 0 && s->job_lock != t->id))) {
		return "";
	}
	(void)lock_job_row(s, t);
	s->has_range = 1;
	failure = take(s, t);
	if (failure[0] != '\0') {
		return failure;
	}
	t->job.state = SIM_RUNNING;
	t->range->owner = me;
	*epoch = t->range->epoch;
	return "";
}

const char *sim_retake(struct sim_server *s, struct sim_tx *t, int me,
	int64_t with_epoch, int64_t *epoch)
{
	const char *failure;

	if (s->range.owner != me || s->range.epoch < with_epoch ||
		s->range.epoch > with_epoch + 1) {
		return "BF010";
	}
	*epoch = s->range.epoch;
	if (*epoch > with_epoch) {
		return "";
	}
	failure = take(s, t);
	if (failure[0] == '\0') {
		*epoch = t->range->epoch;
	}
	return failure;
}

/* ---- a job that the daemon runs */

static const char *lock_job(
	struct sim_server *s, struct sim_tx *t, int me, int64_t epoch)
{
	const char *failure = lock_job_row(s, t);

	if (failure[0] != '\0') {
		return failure;
	}
	return s->range.owner == me && s->range.epoch == epoch ? "" : "BF010";
}

static void let_go(struct sim_range *r)
{
	r->owner = 0;
	r->runner = 0;
}

static void fail(struct sim_job *j, const char *sqlstate)
{
	j->state = SIM_FAILED;
	memcpy(j->sqlstate, sqlstate, 6);
}

/* ten times within a minute */
static int is_given_back_too_often(const struct sim_server *s, const char *why)
{
	int count = 0;

	for (int i = 0; i < SIM_RELEASES && i < s->release_count; i++) {
		count += s->releases[i].at + 60000 > s->now_ms &&
			strcmp(s->releases[i].why, why) == 0;
	}
	return strcmp(why, "the daemon stops") != 0 && count >= SIM_RELEASES;
}

static void note_release(struct sim_server *s, const char *why)
{
	int i = s->release_count++ % SIM_RELEASES;

	s->releases[i].at = s->now_ms;
	(void)snprintf(
		s->releases[i].why, sizeof s->releases[i].why, "%s", why);
}

const char *sim_release(struct sim_server *s, struct sim_tx *t, int me,
	int64_t epoch, const char *why)
{
	const char *failure = lock_job(s, t, me, epoch);

	if (failure[0] == '\0') {
		failure = sim_lock_range(s, t, epoch);
	}
	if (failure[0] != '\0') {
		return failure;
	}
	let_go(t->range);
	if (t->job.state == SIM_RUNNING) {
		if (t->job.pause_after_rows > 0 &&
			sim_rows_left(&t->job, t->range) <= 0) {
			t->job.state = SIM_PAUSED;
		} else if (is_given_back_too_often(s, why)) {
			fail(&t->job, "BF024");
			return "";
		} else {
			t->job.state = SIM_QUEUED;
			note_release(s, why);
		}
	}
	t->range->epoch++;
	return "";
}

const char *sim_finish_job(
	struct sim_server *s, struct sim_tx *t, int me, int64_t epoch)
{
	const char *failure = lock_job(s, t, me, epoch);

	if (failure[0] != '\0') {
		return failure;
	}
	if (t->job.state != SIM_RUNNING) {
		return "BF011";
	}
	if (!s->range.is_finished || s->range.hole_count > 0) {
		return "BF012";
	}
	failure = sim_lock_range(s, t, epoch);
	if (failure[0] != '\0') {
		return failure;
	}
	if (sim_errors(t->range) > 0) {
		fail(&t->job, "BF027");
	} else if (t->range->residue > 0 && t->job.fails_on_residue) {
		fail(&t->job, "BF029");
	} else {
		t->job.state = SIM_SUCCEEDED;
	}
	let_go(t->range);
	return "";
}

const char *sim_fail_job(struct sim_server *s, struct sim_tx *t, int me,
	int64_t epoch, const char *sqlstate)
{
	const char *failure = lock_job(s, t, me, epoch);

	if (failure[0] == '\0') {
		failure = sim_lock_range(s, t, epoch);
	}
	if (failure[0] != '\0') {
		return failure;
	}
	if (t->job.state == SIM_RUNNING) {
		fail(&t->job, sqlstate);
	}
	let_go(t->range);
	return "";
}

/* ---- the barrier */

static int is_among(const int *ids, int count, int id)
{
	for (int i = 0; i < count; i++) {
		if (ids[i] == id) {
			return 1;
		}
	}
	return 0;
}

const char *sim_barrier(struct sim_server *s, struct sim_tx *t, int me,
	int64_t epoch, const int *known, int known_count, int *ids, int size,
	int *count)
{
	int found;

	(void)t;
	*count = 0;
	if (s->range.owner != me || s->range.epoch != epoch) {
		return "BF010";
	}
	if (s->job.state != SIM_RUNNING || s->is_stopped) {
		return "BF011";
	}
	found = s->writers(s->data, s->range.runner, ids, size);
	for (int i = 0; i < found; i++) {
		if (known == NULL || is_among(known, known_count, ids[i])) {
			ids[(*count)++] = ids[i];
		}
	}
	return "";
}

/* ---- people */

const char *sim_pause(struct sim_server *s, struct sim_tx *t)
{
	const char *failure = lock_job_row(s, t);

	if (failure[0] != '\0' || t->job.state == SIM_PAUSED) {
		return failure;
	}
	if (t->job.state != SIM_QUEUED && t->job.state != SIM_RUNNING) {
		return "BF003";
	}
	t->job.state = SIM_PAUSED;
	return "";
}

const char *sim_resume(struct sim_server *s, struct sim_tx *t)
{
	const char *failure = lock_job_row(s, t);

	if (failure[0] != '\0' || t->job.state == SIM_QUEUED ||
		t->job.state == SIM_RUNNING) {
		return failure;
	}
	if (t->job.state != SIM_PAUSED) {
		return "BF003";
	}
	t->job.state = SIM_QUEUED;
	if (sim_rows_left(&t->job, &s->range) <= 0) {
		t->job.pause_after_rows = 0;
	}
	return "";
}

const char *sim_cancel(struct sim_server *s, struct sim_tx *t)
{
	const char *failure = lock_job_row(s, t);

	if (failure[0] != '\0' || t->job.state == SIM_CANCELLED) {
		return failure;
	}
	if (t->job.state == SIM_SUCCEEDED || t->job.state == SIM_FAILED) {
		return "BF003";
	}
	t->job.state = SIM_CANCELLED;
	return "";
}

static int is_hole(const struct sim_range *r, int key)
{
	for (int i = 0; i < r->hole_count; i++) {
		if (!r->holes[i].is_window && r->holes[i].hi == key) {
			return 1;
		}
	}
	return 0;
}

static void reopen_range(struct sim_server *s, struct sim_range *r)
{
	r->is_finished = 0;
	r->residue = 0;
	r->has_key = 0;
	r->is_begun = r->hi != 0 && r->is_begun;
	r->pass = 0; /* finish_range() decides anew about sweeps */
	r->sweep_cursor = 0;
	r->pass_rows = 0;
	for (int i = 0; i < r->hole_count; i++) {
		r->holes[i].found_ms = s->now_ms;
	}
	for (int i = 0; i < r->error_count; i++) {
		int key = r->errors[i].key;

		if (!r->errors[i].is_resolved && !is_hole(r, key)) {
			assert(r->hole_count < SIM_HOLES);
			r->holes[r->hole_count++] =
				(struct sim_hole){ ++s->last_hole, 0, 0, key,
					s->now_ms };
		}
	}
}

const char *sim_retry(struct sim_server *s, struct sim_tx *t)
{
	const char *failure = lock_job_row(s, t);

	if (failure[0] != '\0') {
		return failure;
	}
	if (t->job.state != SIM_FAILED) {
		return "BF003";
	}
	if (s->has_range) {
		failure = sim_lock_range(s, t, s->range.epoch);
		if (failure[0] != '\0') {
			return failure;
		}
		reopen_range(s, t->range);
	}
	t->job.state = SIM_QUEUED;
	t->job.sqlstate[0] = '\0';
	return "";
}
