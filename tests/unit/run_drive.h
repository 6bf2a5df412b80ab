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
	.hole_timeout_ms = 3600000,
	.trouble_timeout_ms = 600000,
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
};

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
		text_addf(t, "..] limit %d", (int)r->size.rows);
		break;
	case RUN_BATCH:
	case RUN_SKIP_WINDOW:
		text_add(t, " (");
		key_describe(&r->cursor, t);
		text_add(t, "..");
		key_describe(&r->window_hi, t);
		text_addf(t, "] seq %d", (int)r->seq);
		break;
	case RUN_NEXT_HOLE:
		text_addf(t, " after %d", (int)r->hole.id);
		break;
	case RUN_READ_HOLE:
		text_addf(t, " %d (", (int)r->hole.id);
		key_describe(&r->hole.lo, t);
		text_add(t, "..");
		key_describe(&r->hole.hi, t);
		text_add(t, "]");
		break;
	case RUN_BATCH_HOLE:
		text_addf(t, " %d (", (int)r->hole.id);
		key_describe(&r->hole.lo, t);
		text_add(t, "..");
		key_describe(&r->hole_hi, t);
		text_addf(t, "] seq %d", (int)r->seq);
		break;
	case RUN_DRAIN_HOLE:
		text_addf(t, " %d (", (int)r->hole.id);
		key_describe(&r->hole.hi, t);
		text_addf(t, ") seq %d", (int)r->seq);
		break;
	case RUN_FINISH_RANGE:
		text_addf(t, " seq %d", (int)r->seq);
		break;
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
	if (run_current(&d->r) == RUN_WAIT) {
		d->now_ms += d->r.pause_ms;
	}
	d->ev.now_ms = d->now_ms;
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

/* As far as the first batch: seq 0, the key is one number, up to 5000. */
static inline void start_batches(struct drive *d)
{
	start(d, &usual);
	ok(d);
	attached(d, 0, "", "");
	ok(d);
	begun(d, "{5000}");
	window(d, 1000, "{1000}");
	text_reset(&d->trace);
}

/* As far as the question for the first hole: seq 1. */
static inline void start_holes(struct drive *d)
{
	start_batches(d);
	window(d, 0, "");
	text_reset(&d->trace);
}

/* From DISCONNECT. */
static inline void expect_end(struct drive *d, const char *trace)
{
	while (run_current(&d->r) != RUN_END) {
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
