/* run_internal.h: what run.c and run_*.c share. */
#ifndef BACKFILL_RULES_RUN_INTERNAL_H
#define BACKFILL_RULES_RUN_INTERNAL_H

#include "rules/run.h"
#include "rules/sqlstate.h"

/* run.c */

/* Every change of action goes through here. */
enum run_action run_move(struct run *r, enum run_action next);
/* Something worked: no trouble, no reason. */
void run_all_is_well(struct run *r);
/* Go on with the walk or the sweep. */
enum run_action run_walk(struct run *r);

/* run_window.c */

/* Of batches: the job's own, else the configuration's. */
struct size_limits run_job_limits(
	const struct run *r, const struct run_event *ev);
/* Rows that the next window may have, where so many are left to the canary. */
int64_t run_window_limit(const struct run *r, int64_t rows_left);
enum run_action run_read_window(struct run *r);
enum run_action run_read_hole(struct run *r);

/* run_pace.c */

/* First thing of each event: what the pacer says now. */
void run_note_pace(struct run *r, const struct run_event *ev);
/* A batch or more ended that changed so many rows. */
void run_note_rows(struct run *r, int64_t rows_changed);
/* The next action, or RUN_PACE in its place. */
enum run_action run_paced(struct run *r, enum run_action next);
enum run_action run_on_paced(struct run *r);
/* Rows of the next window by max_rows_per_second, at most usual. */
int64_t run_pace_limit(const struct run *r, int64_t usual);

/* run_trouble.c */

/* Close the connection, then do the last thing. */
enum run_action run_leave(struct run *r, enum run_action last);
enum run_action run_fail(struct run *r, const struct err *e);
enum run_action run_release(struct run *r, const char *why);

/* Whether the control connection carries the action out, with no runner
 * connection open. */
int run_is_control(enum run_action a);

void run_set_reason(struct run *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* So many bytes of the reason are not for the log. */
void run_quote(struct run *r, size_t at, size_t length);

/* Do it again after a growing pause, until the budget is spent. */
enum run_action run_again_later(
	struct run *r, const struct run_event *ev, enum run_action again);

/* Somebody still writes the table. */
enum run_action run_wait_at_barrier(struct run *r, const struct run_event *ev);
/* Nobody does. */
void run_leave_barrier(struct run *r, const struct run_event *ev);

/* The action under way ended with ev->error. */
enum run_action run_on_error(struct run *r, const struct run_event *ev);

/* run_schema.c */

enum run_action run_examine(struct run *r);
enum run_action run_on_examined(struct run *r, const struct run_event *ev);
enum run_action run_on_guard(struct run *r, const struct run_event *ev);
enum run_action run_on_step_done(struct run *r, const struct run_event *ev);
/* One of the three failed. */
enum run_action run_on_schema_error(
	struct run *r, const struct run_event *ev, enum sqlstate_class class);
int run_is_schema(enum run_action a);
/* Release it, but first clear away what a step of the schema kinds left. */
enum run_action run_give_back(struct run *r, const char *why);

/* run_holes.c */

/* Something worked, but a hole that this pass met before may still hold us
 * up: its reason stays. */
void run_hole_is_well(struct run *r);
enum run_action run_drain_holes(struct run *r);
enum run_action run_on_next_hole(struct run *r, const struct run_event *ev);
enum run_action run_on_hole_window(struct run *r, const struct run_event *ev);
enum run_action run_on_hole_batch(struct run *r, const struct run_event *ev);
enum run_action run_on_hole_drained(struct run *r);
/* Ask for the hole in hand once more: what is left of it. */
void run_step_back(struct run *r);
/* The key of a hole could not be locked in time: the next one. */
enum run_action run_on_held_hole(struct run *r, const struct run_event *ev);
/* Part of a hole could not be tried at all: the same hole again. */
enum run_action run_hole_again_later(struct run *r, const struct run_event *ev);
/* The row of a delete is referred to by one of a later key. */
enum run_action run_on_referenced_hole(struct run *r);

/* run_blocking.c */

/* Whether the batch was cancelled for the sake of who waited for it. */
int run_is_blocking(const struct run *r, const struct run_event *ev);
enum run_action run_on_blocking(struct run *r, const struct run_event *ev);
/* The same limits, or what spares others once a batch has blocked them. */
void run_spare_others(const struct run *r, struct size_limits *limits);

/* run_bisect.c */

/* Rows to try at once: half of the suspects, else usual. */
int64_t run_bisect_limit(const struct run_bisect *b, int64_t usual);
/* So many rows went well. */
void run_bisect_passed(struct run_bisect *b, int64_t rows);
/* Whether an error of this class in a batch is one row's: then halve on. */
int run_is_of_a_row(const struct run *r, const struct run_event *ev,
	enum sqlstate_class class);
enum run_action run_halve(struct run *r, const struct run_event *ev);
/* One row alone takes longer than a statement may: again, and with the whole
 * of statement_timeout where locks had cut it short. */
void run_note_slow_row(struct run *r);
void run_forget_slow_row(struct run *r);
int run_is_too_slow(const struct run *r);
/* The row of a delete is referred to by another of the table, which a later
 * window may delete. */
int run_is_own_reference(const struct run *r, const struct run_event *ev);
enum run_action run_on_set_aside(struct run *r);
/* The row with this key failed: record it, or fail the job with its name. */
enum run_action run_on_row_error(struct run *r, const struct run_event *ev,
	const struct key *key, int64_t hole);

#endif
