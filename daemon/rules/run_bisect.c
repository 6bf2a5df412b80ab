/* The part of rules/run.c that finds the one row that spoils a batch.
 *
 * The window is read again with half its rows, and that half is a batch like
 * any other: it commits, and the culprit is in the rest, or it fails, and is
 * halved in turn. No savepoints: a batch stays one round trip, holds its
 * locks as briefly, and standbys are spared the subtransactions. What is
 * left in the end is a window of one row, which is set aside: as a row error,
 * or as a hole of its own where rows of a delete refer to each other. */

#include "run_internal.h"

#include <string.h>

/* Timeouts of one row that are simply tried again: the server may be short of
 * time for a while. */
enum { PATIENCE_WITH_TIME = 10 };

int64_t run_bisect_limit(const struct run_bisect *b, int64_t usual)
{
	int64_t half = (b->suspects + 1) / 2;

	return b->suspects > 0 && half < usual ? half : usual;
}

void run_bisect_passed(struct run_bisect *b, int64_t rows)
{
	b->suspects = b->suspects > rows ? b->suspects - rows : 0;
}

static int is_window_batch(enum run_action a)
{
	return a == RUN_BATCH || a == RUN_BATCH_HOLE;
}

int run_is_of_a_row(const struct run *r, const struct run_event *ev,
	enum sqlstate_class class)
{
	if (!ev->of_job || !is_window_batch(run_current(r)) ||
		r->window_rows < 1) {
		return 0;
	}
	/* The size of a batch in a hole follows nothing else. One row that
	 * is too much again and again is that row's matter. */
	if (class == SQLSTATE_SHRINK) {
		return r->window_rows > 1 ? run_current(r) == RUN_BATCH_HOLE
					  : run_is_too_slow(r);
	}
	return class == SQLSTATE_ROW;
}

int run_is_too_slow(const struct run *r)
{
	return r->timeouts_of_row >= PATIENCE_WITH_TIME;
}

void run_note_slow_row(struct run *r)
{
	r->timeouts_of_row++;
	r->is_slow = 1;
}

void run_forget_slow_row(struct run *r)
{
	r->timeouts_of_row = 0;
	r->is_slow = 0;
}

int run_is_own_reference(const struct run *r, const struct run_event *ev)
{
	return ev->of_job && r->is_delete && r->refers_to_itself &&
		r->references != RUN_REFERENCES_FINAL &&
		(strcmp(ev->error->sqlstate, "23503") == 0 ||
			/* Of ON DELETE RESTRICT, since version 18. */
			strcmp(ev->error->sqlstate, "23001") == 0);
}

/* A row that another refers to: tried again once that one may be gone. */
static enum run_action set_aside_as_hole(struct run *r, int64_t hole)
{
	key_copy(&r->aside.key, &r->window_hi);
	r->aside.hole = hole;
	err_clear(&r->aside.error);
	r->split_in_pass++;
	return run_move(r, RUN_SET_ASIDE);
}

enum run_action run_halve(struct run *r, const struct run_event *ev)
{
	int64_t hole = run_current(r) == RUN_BATCH_HOLE ? r->hole.id : 0;

	if (r->window_rows > 1) {
		r->bisect.suspects = r->window_rows;
		return hole == 0 ? run_read_window(r) : run_read_hole(r);
	}
	return run_is_own_reference(r, ev)
		? set_aside_as_hole(r, hole)
		: run_on_row_error(r, ev, &r->window_hi, hole);
}

enum run_action run_on_row_error(struct run *r, const struct run_event *ev,
	const struct key *key, int64_t hole)
{
	struct err e = *ev->error;
	struct text t;

	/* The server's own detail may quote the row. */
	text_init(&t);
	key_describe(key, &t);
	err_set_detail(&e, "It is the row with key (%s)%s%s%s.", t.data,
		e.constraint[0] != '\0' ? ", constraint \"" : "", e.constraint,
		e.constraint[0] != '\0' ? "\"" : "");
	text_close(&t);
	if (!r->records_errors) {
		if (e.hint[0] == '\0') {
			err_set_hint(&e,
				"Mend the row, then backfill.retry(job) goes"
				" on from there. A job with on_row_error ="
				" 'record' sets such rows aside and goes on.");
		}
		return run_fail(r, &e);
	}
	key_copy(&r->aside.key, key);
	r->aside.hole = hole;
	r->aside.error = e;
	return run_move(r, RUN_SET_ASIDE);
}

enum run_action run_on_set_aside(struct run *r)
{
	r->seq++;
	memset(&r->bisect, 0, sizeof r->bisect);
	if (r->aside.hole == 0) {
		run_all_is_well(r);
		key_copy(&r->cursor, &r->aside.key);
		return run_read_window(r);
	}
	if (r->aside.error.code != 0) {
		retry_reset(&r->hole_pass); /* nothing of it is left to hold */
	}
	run_hole_is_well(r);
	if (r->hole.is_window) {
		run_step_back(r);
	}
	return run_move(r, RUN_NEXT_HOLE);
}
