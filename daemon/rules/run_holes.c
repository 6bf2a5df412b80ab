/* The part of rules/run.c that works off holes: keys and windows that the
 * cursor passed while others held their rows.
 *
 * A pass goes through all holes in the order of their ids; what is still held
 * waits for the next pass, which comes after a growing pause. A delete may
 * also meet rows that others of its own table refer to: those go once
 * the others are gone, so passes follow one another as long as each makes
 * progress, and in the first that would not, a reference is an error. */

#include "run_internal.h"

#include <string.h>

static enum run_action start_pass(struct run *r)
{
	r->hole.id = r->holes_descend ? INT64_MAX : 0;
	r->held_hole = 0;
	r->held_in_pass = 0;
	r->referenced_in_pass = 0;
	r->drained_in_pass = 0;
	r->split_in_pass = 0;
	return RUN_NEXT_HOLE;
}

void run_step_back(struct run *r)
{
	r->hole.id += r->holes_descend ? 1 : -1;
}

/* Leave the hole for the next pass: what is known of its rows is no matter of
 * the next hole. */
static enum run_action pass_over(struct run *r)
{
	retry_reset(&r->trouble);
	run_forget_slow_row(r);
	memset(&r->bisect, 0, sizeof r->bisect);
	return run_move(r, RUN_NEXT_HOLE);
}

/* What refers to rows that are left may be gone, or is about to. */
static void hope_for_references(struct run *r)
{
	if (r->references == RUN_REFERENCES_FINAL) {
		r->references = RUN_REFERENCES_SPLIT;
	}
}

/* A hole became smaller, or is gone. */
static void note_progress(struct run *r)
{
	retry_reset(&r->hole_pass);
	r->drained_in_pass++;
	hope_for_references(r);
}

enum run_action run_drain_holes(struct run *r)
{
	return run_move(r, start_pass(r));
}

void run_hole_is_well(struct run *r)
{
	run_all_is_well(r);
	if (r->held_in_pass > 0) {
		memcpy(r->reason, r->held_reason, sizeof r->reason);
		r->quoted = r->held_quoted;
	}
}

/* No hole lies behind the one in hand. */
static enum run_action end_pass(struct run *r, const struct run_event *ev)
{
	run_forget_slow_row(r);
	if (r->walk_after_holes) {
		r->walk_after_holes = 0;
		return run_walk(r);
	}
	if (r->held_in_pass > 0) {
		run_hole_is_well(r);
		r->again = (int)start_pass(r);
		r->pause_ms =
			retry_pause_ms(&r->hole_pass, ev->now_ms, ev->random);
		return run_move(r, RUN_WAIT);
	}
	/* A batch over a hole leaves what is held as holes of higher ids, which
	 * a descending pass has behind it. */
	if (r->holes_descend && r->drained_in_pass + r->split_in_pass > 0) {
		return run_move(r, start_pass(r));
	}
	if (r->referenced_in_pass > 0) {
		r->references++;
		return run_move(r, start_pass(r));
	}
	return run_move(r, RUN_FINISH_RANGE);
}

static void copy_hole(struct run_hole *to, const struct run_hole *from)
{
	to->id = from->id;
	to->is_window = from->is_window;
	to->age_ms = from->age_ms;
	to->remaining = from->remaining;
	key_copy(&to->lo, &from->lo);
	key_copy(&to->hi, &from->hi);
}

enum run_action run_on_next_hole(struct run *r, const struct run_event *ev)
{
	if (ev->hole == NULL) {
		return end_pass(r, ev);
	}
	copy_hole(&r->hole, ev->hole);
	return r->hole.is_window ? run_read_hole(r)
				 : run_move(r, RUN_DRAIN_HOLE);
}

enum run_action run_on_hole_window(struct run *r, const struct run_event *ev)
{
	key_copy(&r->window_hi, ev->window_hi);
	r->window_rows = ev->window_rows;
	if (r->window_rows != 1) {
		run_forget_slow_row(r);
	}
	/* What was suspected may be gone. */
	if (ev->window_rows < r->limit &&
		r->bisect.suspects > ev->window_rows) {
		r->bisect.suspects = ev->window_rows;
	}
	/* Fewer keys than asked for: up to the end of the window, but for a
	 * row that is to stand alone. */
	if (ev->window_rows == 0 ||
		(ev->window_rows < r->limit && r->bisect.suspects == 0)) {
		key_copy(&r->hole_hi, &r->hole.hi);
	} else {
		key_copy(&r->hole_hi, ev->window_hi);
	}
	return run_move(r, RUN_BATCH_HOLE);
}

/* The same hole again, if a rest of it is left. */
enum run_action run_on_hole_batch(struct run *r, const struct run_event *ev)
{
	run_hole_is_well(r);
	r->seq++;
	r->rows_left = ev->rows_left - ev->sample.rows_changed;
	r->pace.max_rows_per_second = ev->max_rows_per_second;
	run_note_rows(r, ev->sample.rows_changed);
	note_progress(r);
	if (r->has_blocked && r->bisect.suspects == 0) {
		size_batch_done(&r->size, &ev->sample);
	}
	run_bisect_passed(&r->bisect, r->window_rows);
	run_step_back(r);
	return run_move(r, RUN_NEXT_HOLE);
}

enum run_action run_on_hole_drained(struct run *r)
{
	run_hole_is_well(r);
	r->seq++;
	if (r->rows_left > 1) {
		r->rows_left--;
	}
	run_note_rows(r, 1);
	note_progress(r);
	return run_move(r, RUN_NEXT_HOLE);
}

/* ---- held ---- */

static void tell_hole(struct run *r, const struct run_event *ev)
{
	struct text told;
	struct run_quoted key;

	text_init(&told);
	text_addf(&told, "waits for %lld rows held by others: %s (",
		(long long)r->hole.remaining,
		r->hole.is_window ? "keys up to" : "key");
	key.at = told.length;
	key_describe(&r->hole.hi, &told);
	key.length = told.length - key.at;
	text_addf(&told, ") for %lld s%s%s", (long long)(r->hole.age_ms / 1000),
		ev->blockers != NULL ? " by " : "",
		ev->blockers != NULL ? ev->blockers : "");
	run_set_reason(r, "%s", told.data);
	run_quote(r, key.at, key.length);
	text_close(&told);
}

enum run_action run_on_held_hole(struct run *r, const struct run_event *ev)
{
	struct err e;

	tell_hole(r, ev);
	/* Since we began to try, and got none: the walk and pauses after the
	 * hole was found say nothing about who holds it. */
	if (retry_is_spent(&r->hole_pass, ev->now_ms)) {
		err_set(&e, BFE_SQL,
			"rows were held by others for longer than"
			" hole_timeout (%llu s)",
			(unsigned long long)(r->limits.hole_timeout_ms / 1000));
		memcpy(e.sqlstate, "BF023", 6);
		err_set_detail(&e, "The job %s.", r->reason);
		err_set_hint(&e,
			"End the transaction that holds them, then"
			" backfill.retry(job) goes on with the rows that are"
			" left (see backfill.holes).");
		return run_fail(r, &e);
	}
	hope_for_references(r);
	r->held_in_pass++;
	memcpy(r->held_reason, r->reason, sizeof r->held_reason);
	r->held_quoted = r->quoted;
	return pass_over(r);
}

enum run_action run_on_referenced_hole(struct run *r)
{
	r->referenced_in_pass++;
	return pass_over(r);
}

enum run_action run_hole_again_later(struct run *r, const struct run_event *ev)
{
	run_step_back(r);
	return run_again_later(r, ev, RUN_NEXT_HOLE);
}
