/* The part of rules/run.c that says how many rows a window may have: what the
 * job or the configuration allows, what a search for a bad row needs, the
 * canary, the pacer, and whom a batch has blocked. */

#include "run_internal.h"

struct size_limits run_job_limits(
	const struct run *r, const struct run_event *ev)
{
	struct size_limits limits = r->limits.size;

	if (ev->max_batch_rows > 0) {
		limits.max_rows = ev->max_batch_rows;
	}
	if (ev->batch_rows > 0) {
		limits.first_rows = ev->batch_rows;
	}
	if (limits.first_rows > limits.max_rows) {
		limits.first_rows = limits.max_rows;
	}
	if (ev->target_us > 0) {
		limits.target_us = ev->target_us;
	}
	if (r->pace.max_wal_bytes > 0 &&
		limits.max_wal_bytes > r->pace.max_wal_bytes) {
		limits.max_wal_bytes = r->pace.max_wal_bytes;
	}
	run_spare_others(r, &limits);
	/* Half of what would cancel it: the time of batches scatters. */
	if (ev->wait_cap_us > 0 && limits.target_us > ev->wait_cap_us / 2) {
		limits.target_us = ev->wait_cap_us / 2;
	}
	return limits;
}

static int64_t up_to_canary(const struct run *r, int64_t limit, int64_t left)
{
	if (r->rows_left > 0 && limit > left) {
		limit = left;
	}
	return limit > 0 ? run_pace_limit(r, limit) : 1;
}

int64_t run_window_limit(const struct run *r, int64_t rows_left)
{
	return up_to_canary(
		r, run_bisect_limit(&r->bisect, r->size.rows), rows_left);
}

enum run_action run_read_hole(struct run *r)
{
	/* Rows that refer to each other may have to go together. */
	int64_t usual = r->holes_descend && r->held_hole != r->hole.id
		? r->size.limits.max_rows
		: RUN_HOLE_ROWS;

	if (r->has_blocked && !r->holes_descend && usual > r->size.rows) {
		usual = r->size.rows;
	}
	r->limit = up_to_canary(
		r, run_bisect_limit(&r->bisect, usual), r->rows_left);
	return run_move(r, RUN_READ_HOLE);
}

enum run_action run_read_window(struct run *r)
{
	r->limit = run_window_limit(r, r->rows_left);
	return run_move(r, RUN_READ_WINDOW);
}
