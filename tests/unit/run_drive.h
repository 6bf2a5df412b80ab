/* run_drive.h: drives a run (rules/run.h) on virtual time: feeds it events
 * and writes down "event -> action". For the tests of the run only. */
#ifndef BACKFILL_TESTS_RUN_DRIVE_H
#define BACKFILL_TESTS_RUN_DRIVE_H

#include "rules/run.h"

#include <string.h>

#include "base/text.h"
#include "cmocka_all.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct run_limits usual = {
	.size = {
		.first_rows = 1000,
		.max_rows = 20000,
		.target_us = 250000,
		.max_wal_bytes = 16 << 20,
	},
	.barrier_timeout_ms = 1800000,
	.hole_timeout_ms = 3600000,
	.trouble_timeout_ms = 600000,
	.max_blocking_us = 1000000,
};

/* ---- the driver: feeds events, writes down what was decided ---- */

struct drive {
	struct run r;
	struct text trace;
	struct run_event ev; /* the next one: what a test did not set is 0 */
	struct err error;
	struct key none, cursor, hi, window_hi;
	struct run_hole hole;
	uint64_t now_ms;
	int steps;
};

/* More than any test takes: a run that goes round in circles fails. */
enum { MAX_STEPS = 5000, MAX_STEPS_TO_THE_END = 20 };

static inline void clear_event(struct drive *d)
{
	memset(&d->ev, 0, sizeof d->ev);
	key_close(&d->cursor);
	key_close(&d->hi);
	key_close(&d->window_hi);
	key_close(&d->hole.lo);
	key_close(&d->hole.hi);
	d->ev.cursor = &d->cursor;
	d->ev.hi = &d->hi;
	d->ev.window_hi = &d->window_hi;
}

static inline void start(struct drive *d, const struct run_limits *limits)
{
	memset(d, 0, sizeof *d);
	text_init(&d->trace);
	run_init(&d->r, limits, 7);
	d->now_ms = 1000000;
	clear_event(d);
}

static inline void end(struct drive *d)
{
	run_close(&d->r);
	clear_event(d);
	text_close(&d->trace);
}

static inline void set_key(struct key *k, const char *literal)
{
	assert_int_equal(key_parse(k, literal), 0);
}

/* What the shell would look at to carry out the action. */
static inline void describe_action(struct drive *d)
{
	const struct run *r = &d->r;
	struct text *t = &d->trace;

	text_add(t, sm_name(&r->action));
	switch (run_current(r)) {
	case RUN_CONNECT:
	case RUN_ATTACH:
		text_addf(t, " epoch %d", (int)r->epoch);
		break;
	case RUN_READ_WINDOW:
		text_add(t, " (");
		key_describe(&r->cursor, t);
		text_addf(t, "..] limit %d", (int)r->limit);
		break;
	case RUN_BATCH:
	case RUN_SKIP_WINDOW:
		text_add(t, " (");
		key_describe(&r->cursor, t);
		text_add(t, "..");
		key_describe(&r->window_hi, t);
		text_addf(t, "] seq %d", (int)r->seq);
		/* Told where it is not the usual. */
		if (run_current(r) == RUN_BATCH &&
			r->next_limit != r->size.rows) {
			text_addf(t, " next %d", (int)r->next_limit);
		}
		if (run_current(r) == RUN_BATCH && r->is_slow) {
			text_add(t, " slow");
		}
		break;
	case RUN_BARRIER:
		text_addf(t, " %s", r->is_barrier_new ? "new" : "known");
		if (r->pass > 0) {
			text_addf(t, " pass %d", r->pass);
		}
		break;
	case RUN_SET_ASIDE:
		text_add(t, " (");
		key_describe(&r->aside.key, t);
		text_addf(t, ") of hole %d seq %d: %s", (int)r->aside.hole,
			(int)r->seq,
			r->aside.error.code == 0 ? "later"
						 : r->aside.error.sqlstate);
		break;
	case RUN_NEXT_HOLE:
		if (r->hole.id == INT64_MAX) {
			text_add(t, " from the last");
		} else {
			text_addf(t, " %s %d",
				r->holes_descend ? "before" : "after",
				(int)r->hole.id);
		}
		break;
	case RUN_READ_HOLE:
		text_addf(t, " %d (", (int)r->hole.id);
		key_describe(&r->hole.lo, t);
		text_add(t, "..");
		key_describe(&r->hole.hi, t);
		text_add(t, "]");
		if (r->limit != RUN_HOLE_ROWS) {
			text_addf(t, " limit %d", (int)r->limit);
		}
		break;
	case RUN_BATCH_HOLE:
		text_addf(t, " %d (", (int)r->hole.id);
		key_describe(&r->hole.lo, t);
		text_add(t, "..");
		key_describe(&r->hole_hi, t);
		text_addf(t, "] seq %d%s", (int)r->seq,
			r->is_slow ? " slow" : "");
		break;
	case RUN_DRAIN_HOLE:
		text_addf(t, " %d (", (int)r->hole.id);
		key_describe(&r->hole.hi, t);
		text_addf(t, ") seq %d%s", (int)r->seq,
			r->is_slow ? " slow" : "");
		break;
	case RUN_FINISH_RANGE:
		text_addf(t, " seq %d", (int)r->seq);
		break;
	case RUN_PACE:
	case RUN_WAIT:
		text_addf(t, " %d ms: %s", (int)r->pause_ms, r->reason);
		break;
	case RUN_FAIL:
		text_addf(t, " %s: %s", r->error.sqlstate, r->error.message);
		break;
	case RUN_RELEASE:
		text_addf(t, ": %s", r->reason);
		break;
	default:
		break;
	}
}

/* Feed the event; the trace gets a line "event -> action". */
static inline void step(struct drive *d, const char *what)
{
	if (run_current(&d->r) == RUN_WAIT || run_current(&d->r) == RUN_PACE) {
		d->now_ms += d->r.pause_ms;
	}
	d->ev.now_ms = d->now_ms;
	assert_true(++d->steps < MAX_STEPS);
	(void)run_step(&d->r, &d->ev);
	text_addf(&d->trace, "%s -> ", what);
	describe_action(d);
	text_add(&d->trace, "\n");
	clear_event(d);
}

static inline void ok(struct drive *d)
{
	step(d, "ok");
}

static inline void attached(
	struct drive *d, int64_t seq, const char *cursor, const char *hi)
{
	d->ev.seq = seq;
	d->ev.begun = hi[0] != '\0';
	set_key(&d->cursor, cursor);
	set_key(&d->hi, hi);
	step(d, "ok");
}

static inline void begun(struct drive *d, const char *hi)
{
	d->ev.finished = hi[0] == '\0';
	set_key(&d->hi, hi);
	step(d, "ok");
}

/* The end of READ_WINDOW, READ_HOLE or BATCH: rows up to hi lie ahead. */
static inline void window(struct drive *d, int64_t rows, const char *hi)
{
	d->ev.window_rows = rows;
	d->ev.sample = (struct size_sample){
		.rows_read = d->r.size.rows,
		.rows_changed = d->r.size.rows,
		.elapsed_us = 250000 / 1000 * d->r.size.rows,
	};
	set_key(&d->window_hi, hi);
	step(d, "ok");
}

/* The end of a batch: it changed some rows of its window; left is what
 * pause_after_rows had left before. */
static inline void batch_done(struct drive *d, int64_t changed, int64_t left,
	int64_t rows, const char *hi)
{
	d->ev.window_rows = rows;
	d->ev.rows_left = left;
	d->ev.sample = (struct size_sample){
		.rows_read = d->r.window_rows,
		.rows_changed = changed,
		.elapsed_us = 250000 / 1000 * d->r.window_rows,
	};
	set_key(&d->window_hi, hi);
	step(d, "ok");
}

/* The end of BARRIER: somebody still writes. */
static inline void waits(struct drive *d, const char *who)
{
	d->ev.waits_for = who;
	step(d, "waits");
}

/* The ends of FINISH_RANGE. */
static inline void finished(struct drive *d)
{
	d->ev.finished = 1;
	step(d, "finished");
}

static inline void next_pass(struct drive *d, int pass)
{
	d->ev.pass = pass;
	step(d, "ok");
}

static inline void hole(
	struct drive *d, int64_t id, const char *key, int64_t age_ms)
{
	d->hole.id = id;
	d->hole.is_window = 0;
	d->hole.age_ms = age_ms;
	d->hole.remaining = 2;
	set_key(&d->hole.hi, key);
	d->ev.hole = &d->hole;
	step(d, "ok");
}

static inline void window_hole(
	struct drive *d, int64_t id, const char *lo, const char *hi)
{
	d->hole.id = id;
	d->hole.is_window = 1;
	d->hole.age_ms = 1000;
	d->hole.remaining = 1;
	set_key(&d->hole.lo, lo);
	set_key(&d->hole.hi, hi);
	d->ev.hole = &d->hole;
	step(d, "ok");
}

static inline void fails(struct drive *d, const char *sqlstate)
{
	err_set(&d->error, BFE_SQL, "oh");
	memcpy(d->error.sqlstate, sqlstate, strlen(sqlstate) + 1);
	d->ev.error = &d->error;
	step(d, sqlstate);
}

/* With an error of the job's own statement, as the server words it. */
static inline void job_fails(struct drive *d, const char *sqlstate)
{
	err_set(&d->error, BFE_SQL, "oh");
	memcpy(d->error.sqlstate, sqlstate, strlen(sqlstate) + 1);
	err_set_detail(&d->error, "Failing row contains (secret).");
	d->ev.error = &d->error;
	d->ev.of_job = 1;
	step(d, sqlstate);
}

/* Cancelled after elapsed_ms, for the sake of one who waited for it. */
static inline void blocks(struct drive *d, int64_t elapsed_ms)
{
	d->ev.waiting = "pid 7 (joe) has waited 1.0 s for the batch"
			" (max_blocking_time 1s)";
	d->ev.sample.elapsed_us = elapsed_ms * 1000;
	job_fails(d, "57014");
}

static inline void breaks(struct drive *d, int code)
{
	err_set(&d->error, code, "gone");
	d->ev.error = &d->error;
	step(d, err_name(code));
}

static inline void taken(struct drive *d, int64_t epoch)
{
	d->ev.epoch = epoch;
	step(d, "ok");
}

static inline void expect(struct drive *d, const char *trace)
{
	assert_string_equal(d->trace.data, trace);
	text_reset(&d->trace);
}

/* As far as ATTACH: a test sets what the job is, and attach() ends it. */
static inline void start_job(struct drive *d)
{
	start(d, &usual);
	ok(d);
}

/* From ATTACH to the first batch. */
static inline void attach(struct drive *d, int64_t rows, const char *hi)
{
	attached(d, 0, "", "");
	ok(d);
	ok(d);
	begun(d, "{5000}");
	window(d, rows, hi);
	text_reset(&d->trace);
}

/* As far as the first batch: seq 0, the key is one number, up to 5000. */
static inline void start_batches(struct drive *d)
{
	start_job(d);
	attach(d, 1000, "{1000}");
}

/* As start_batches(), with on_row_error = record. */
static inline void start_recording(struct drive *d)
{
	start_job(d);
	d->ev.records_errors = 1;
	attach(d, 1000, "{1000}");
}

/* As far as the question for the first hole: seq 1. */
static inline void start_holes(struct drive *d)
{
	start_batches(d);
	window(d, 0, "");
	text_reset(&d->trace);
}

/* As far as the first batch of a job on a table that refers to itself. */
static inline void start_tree(struct drive *d, int64_t rows, int is_delete)
{
	start_job(d);
	d->ev.is_delete = is_delete;
	attached(d, 0, "", "");
	d->ev.refers_to_itself = 1;
	ok(d);
	ok(d);
	begun(d, "{5000}");
	window(d, rows, "{1000}");
	text_reset(&d->trace);
}

/* As far as the question for the last hole of such a delete: seq 1. */
static inline void start_tree_holes(struct drive *d)
{
	start_tree(d, 1000, 1);
	window(d, 0, "");
	text_reset(&d->trace);
}

/* From DISCONNECT. */
static inline void expect_end(struct drive *d, const char *trace)
{
	for (int i = 0; run_current(&d->r) != RUN_END; i++) {
		if (i == MAX_STEPS_TO_THE_END) {
			fail_msg("no end: %s", d->trace.data);
		}
		ok(d);
	}
	expect(d, trace);
}

/* As far as RUN_FINISH_JOB. */
static inline void finish(struct drive *d)
{
	start(d, &usual);
	ok(d);
	d->ev.finished = 1;
	attached(d, 41, "{9}", "{9}");
	ok(d);
	assert_int_equal(run_current(&d->r), RUN_FINISH_JOB);
	text_reset(&d->trace);
}

#endif
