/* Random walks of a run against a fake server that keeps count of what was
 * changed, loses answers and holds rows. */

#include "run_drive.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { MAX_KEYS = 700, MAX_HOLES = 1500, MAX_STEPS = 4000 };

enum job_state { RUNNING, QUEUED, SUCCEEDED, FAILED };

struct server {
	int keys;		   /* 1 to keys */
	int changed[MAX_KEYS + 1]; /* how often */
	int free_at[MAX_KEYS + 1]; /* the step from which it is not held */
	enum job_state job;
	int begun, finished;
	int64_t epoch, seq;
	int cursor;
	struct {
		int is_window, lo, hi; /* hi 0: closed */
	} holes[MAX_HOLES];	       /* id: its place + 1 */
	int hole_count;
	int step;
};

static uint32_t next_random(uint64_t *random)
{
	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*random >> 33);
}

static int number_of(const struct key *k)
{
	return k->count == 0 ? 0 : atoi(k->values[0]);
}

static void set_number(struct key *k, int number)
{
	char text[16];

	key_close(k);
	if (number > 0) {
		(void)snprintf(text, sizeof text, "%d", number);
		key_add(k, text);
	}
}

static void change(struct server *s, int key)
{
	s->changed[key]++;
	assert_int_equal(s->changed[key], 1);
}

static void add_hole(struct server *s, int is_window, int lo, int hi)
{
	assert_true(s->hole_count < MAX_HOLES);
	s->holes[s->hole_count].is_window = is_window;
	s->holes[s->hole_count].lo = lo;
	s->holes[s->hole_count++].hi = hi;
}

static int has_holes(const struct server *s)
{
	for (int i = 0; i < s->hole_count; i++) {
		if (s->holes[i].hi != 0) {
			return 1;
		}
	}
	return 0;
}

/* What lies ahead of after. */
static void read_window(struct drive *d, int after, int up_to, int64_t limit)
{
	int64_t rows = up_to - after;

	if (rows > limit) {
		rows = limit;
	}
	d->ev.window_rows = rows;
	set_number(&d->window_hi, rows > 0 ? after + (int)rows : 0);
}

/* Change what is free in (lo, hi], or say BF013. */
static const char *change_window(struct server *s, int lo, int hi)
{
	int held = 0;

	for (int key = lo + 1; key <= hi; key++) {
		held += s->free_at[key] > s->step;
	}
	if (held > 100) {
		return "BF013";
	}
	for (int key = lo + 1; key <= hi; key++) {
		if (s->free_at[key] > s->step) {
			add_hole(s, 0, 0, key);
		} else {
			change(s, key);
		}
	}
	return "";
}

static const char *batch(struct server *s, struct drive *d)
{
	int lo = number_of(&d->r.cursor);
	int hi = number_of(&d->r.window_hi);
	const char *sqlstate;

	assert_int_equal(lo, s->cursor);
	assert_true(hi > lo && hi <= s->keys);
	sqlstate = change_window(s, lo, hi);
	if (sqlstate[0] == '\0') {
		s->cursor = hi;
		s->seq++;
		d->ev.sample = (struct size_sample){ hi - lo, hi - lo,
			(hi - lo) * 250, 0 };
		read_window(d, hi, s->keys, d->r.size.rows);
	}
	return sqlstate;
}

static const char *skip_window(struct server *s, struct drive *d)
{
	add_hole(s, 1, s->cursor, number_of(&d->r.window_hi));
	s->cursor = number_of(&d->r.window_hi);
	s->seq++;
	return "";
}

static const char *next_hole(struct server *s, struct drive *d)
{
	for (int i = (int)d->r.hole.id; i < s->hole_count; i++) {
		if (s->holes[i].hi != 0) {
			d->hole.id = i + 1;
			d->hole.is_window = s->holes[i].is_window;
			d->hole.age_ms = 1;
			set_number(&d->hole.lo, s->holes[i].lo);
			set_number(&d->hole.hi, s->holes[i].hi);
			d->ev.hole = &d->hole;
			return "";
		}
	}
	return "";
}

static const char *batch_hole(struct server *s, struct drive *d)
{
	int i = (int)d->r.hole.id - 1;
	int hi = number_of(&d->r.hole_hi);
	const char *sqlstate;

	assert_true(s->holes[i].is_window);
	assert_int_equal(number_of(&d->r.hole.lo), s->holes[i].lo);
	assert_true(hi > s->holes[i].lo && hi <= s->holes[i].hi);
	sqlstate = change_window(s, s->holes[i].lo, hi);
	if (sqlstate[0] == '\0') {
		s->seq++;
		s->holes[i].lo = hi;
		if (hi == s->holes[i].hi) {
			s->holes[i].hi = 0;
		}
	}
	return sqlstate;
}

static const char *drain_hole(struct server *s, struct drive *d)
{
	int i = (int)d->r.hole.id - 1;
	int key = number_of(&d->r.hole.hi);

	assert_false(s->holes[i].is_window);
	assert_int_equal(key, s->holes[i].hi);
	if (s->free_at[key] > s->step) {
		return "55P03";
	}
	change(s, key);
	s->seq++;
	s->holes[i].hi = 0;
	return "";
}

static const char *finish_range(struct server *s)
{
	if (has_holes(s)) {
		return "BF012";
	}
	assert_int_equal(s->cursor, s->keys);
	s->finished = 1;
	s->seq++;
	return "";
}

static const char *end_job(struct server *s, enum job_state ends)
{
	s->job = ends;
	if (ends == SUCCEEDED) {
		assert_true(s->finished);
		for (int key = 1; key <= s->keys; key++) {
			assert_int_equal(s->changed[key], 1);
		}
	}
	return "";
}

/* Carry out the action; the SQLSTATE with which it ends. */
static const char *serve(struct server *s, struct drive *d)
{
	enum run_action action = run_current(&d->r);

	if (action == RUN_RELEASE && d->r.epoch != s->epoch) {
		return "BF010"; /* the answer to a RUN_TAKE was lost */
	}
	if (action != RUN_CONNECT && action != RUN_TAKE && action != RUN_WAIT &&
		action != RUN_DISCONNECT) {
		assert_int_equal(d->r.epoch, s->epoch);
	}
	switch (action) {
	case RUN_BATCH:
	case RUN_SKIP_WINDOW:
	case RUN_BATCH_HOLE:
	case RUN_DRAIN_HOLE:
	case RUN_FINISH_RANGE:
		assert_int_equal(d->r.seq, s->seq);
		break;
	default:
		break;
	}
	switch (action) {
	case RUN_ATTACH:
		d->ev.begun = s->begun;
		d->ev.finished = s->finished;
		d->ev.seq = s->seq;
		set_number(&d->cursor, s->cursor);
		set_number(&d->hi, s->begun ? s->keys : 0);
		return "";
	case RUN_BEGIN:
		assert_false(s->begun);
		s->begun = 1;
		d->ev.finished = s->finished = s->keys == 0;
		set_number(&d->hi, s->keys);
		return "";
	case RUN_READ_WINDOW:
		read_window(d, number_of(&d->r.cursor), number_of(&d->r.hi),
			d->r.size.rows);
		return "";
	case RUN_BATCH:
		return batch(s, d);
	case RUN_SKIP_WINDOW:
		return skip_window(s, d);
	case RUN_NEXT_HOLE:
		return next_hole(s, d);
	case RUN_READ_HOLE:
		read_window(d, number_of(&d->r.hole.lo),
			number_of(&d->r.hole.hi), RUN_HOLE_ROWS);
		return "";
	case RUN_BATCH_HOLE:
		return batch_hole(s, d);
	case RUN_DRAIN_HOLE:
		return drain_hole(s, d);
	case RUN_FINISH_RANGE:
		return finish_range(s);
	case RUN_TAKE:
		d->ev.epoch = ++s->epoch;
		return "";
	case RUN_FINISH_JOB:
		return end_job(s, SUCCEEDED);
	case RUN_FAIL:
		return end_job(s, FAILED);
	case RUN_RELEASE:
		s->epoch++;
		return end_job(s, QUEUED);
	default:
		return "";
	}
}

/* How often errors come, in 1/1000: those after which the job goes on, and
 * those that end the run. */
struct faults {
	uint32_t passing;
	uint32_t final;
	int until; /* step */
};

static void set_error(struct drive *d, int code, const char *sqlstate)
{
	err_set(&d->error, code, "oh");
	memcpy(d->error.sqlstate, sqlstate, strlen(sqlstate) + 1);
	d->ev.error = &d->error;
}

/* Serve the action, or fail before it, or lose the answer. */
static void serve_with_faults(struct server *s, struct drive *d,
	const struct faults *faults, uint64_t *random)
{
	static const char *const passing[] = { "55P03", "40001", "57014",
		"53200", "53300", "57P03", "BF013" };
	static const char *const final[] = { "22012", "BF011", "BF010" };
	enum run_action action = run_current(&d->r);
	uint32_t chance = next_random(random) % 1000;
	const char *sqlstate;

	if (s->step > faults->until || action == RUN_WAIT ||
		action == RUN_DISCONNECT) {
		chance = 1000;
	}
	if (chance < faults->passing / 2) {
		set_error(d, BFE_SQL, passing[next_random(random) % 7]);
	} else if (chance < faults->passing) {
		/* Once the job has ended, asking again is answered BF010. */
		if (next_random(random) % 2 == 0 && action != RUN_FINISH_JOB &&
			action != RUN_FAIL && action != RUN_RELEASE) {
			(void)serve(s, d);
			clear_event(d);
		}
		set_error(d, BFE_LOST, "");
	} else if (chance < faults->passing + faults->final) {
		set_error(d, BFE_SQL, final[next_random(random) % 3]);
	} else {
		sqlstate = serve(s, d);
		if (sqlstate[0] != '\0') {
			set_error(d, BFE_SQL, sqlstate);
		}
	}
}

static int is_counted(enum run_action a)
{
	return a == RUN_BATCH || a == RUN_SKIP_WINDOW || a == RUN_BATCH_HOLE ||
		a == RUN_DRAIN_HOLE;
}

/* One life of a run, to RUN_END. */
static void walk_once(struct server *s, const struct run_limits *limits,
	const struct faults *faults, uint64_t *random)
{
	struct drive d;
	int errors = 0; /* since the last pause or progress */

	start(&d, limits);
	d.r.epoch = ++s->epoch;
	s->job = RUNNING;
	while (run_current(&d.r) != RUN_END) {
		enum run_action was = run_current(&d.r);
		int64_t seq = d.r.seq;
		int cursor = number_of(&d.r.cursor);
		int is_well;

		assert_true(++s->step < MAX_STEPS);
		serve_with_faults(s, &d, faults, random);
		d.ev.stop_asked =
			faults->final > 0 && next_random(random) % 200 == 0;
		d.ev.random = next_random(random) * 2;
		is_well = d.ev.error == NULL;
		if (was == RUN_WAIT) {
			assert_true(d.r.pause_ms > 0);
			assert_string_not_equal(d.r.reason, "");
			errors = 0;
		}
		if (!is_well && was != RUN_DRAIN_HOLE) {
			errors++;
			assert_true(errors <= 12);
		}
		step(&d, is_well ? "ok" : "error");

		if (d.r.seq != seq && was != RUN_ATTACH) {
			assert_true(is_well && is_counted(was));
			assert_int_equal(d.r.seq, seq + 1);
			errors = 0;
		}
		if (number_of(&d.r.cursor) != cursor && was != RUN_ATTACH) {
			assert_true(is_well &&
				(was == RUN_BATCH || was == RUN_SKIP_WINDOW));
		}
		if (was != RUN_ATTACH || is_well) {
			assert_true(number_of(&d.r.cursor) >= cursor);
		}
	}
	end(&d);
}

/* A job, claimed again until it ends. */
static void walk(uint64_t seed, uint32_t final, int ended[])
{
	static const int sizes[] = { 0, 1, 30, 300, MAX_KEYS };
	struct server *s = mem_new(1, sizeof *s);
	uint64_t random = seed;
	struct run_limits limits = usual;
	const struct faults faults = { 20 + next_random(&random) % 200, final,
		20 + (int)(next_random(&random) % 180) };
	uint32_t held = next_random(&random) % 4 == 0
		? next_random(&random) % 100
		: next_random(&random) % 3;

	s->keys = sizes[next_random(&random) % COUNT(sizes)];
	for (int key = 1; key <= s->keys; key++) {
		if (next_random(&random) % 100 < held) {
			s->free_at[key] = (int)(next_random(&random) % 300);
		}
	}
	limits.size.first_rows = 1 + next_random(&random) % 300;
	limits.size.max_rows = 300;
	limits.trouble_timeout_ms = final > 0 ? 600000 : UINT64_C(1) << 40;
	do {
		walk_once(s, &limits, &faults, &random);
	} while (s->job == RUNNING || s->job == QUEUED);
	ended[s->job]++;
	free(s);
}

/* Errors that pass: however they fall, the job succeeds in the end, each key
 * changed once. */
static void test_walks_through_passing_trouble(void **state)
{
	enum { WALKS = 10000 };
	int ended[4] = { 0 };

	(void)state;
	for (uint64_t seed = 0; seed < WALKS; seed++) {
		walk(seed, 0, ended);
	}
	assert_int_equal(ended[SUCCEEDED], WALKS);
}

/* With errors that end a run, and stops: each run comes to its end, a job
 * that was given back is taken up again, and a success is a true one. */
static void test_walks_with_final_errors(void **state)
{
	enum { WALKS = 10000 };
	int ended[4] = { 0 };

	(void)state;
	for (uint64_t seed = 0; seed < WALKS; seed++) {
		walk(seed + 1000000, 5, ended);
	}
	assert_int_equal(ended[SUCCEEDED] + ended[FAILED], WALKS);
	assert_true(ended[SUCCEEDED] > WALKS / 2);
	assert_true(ended[FAILED] > WALKS / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walks_through_passing_trouble),
		cmocka_unit_test(test_walks_with_final_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
