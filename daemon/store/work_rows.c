/* Windows, batches and holes: the part of store/work.h that works on rows. */

#include "work_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add_begin_batch(
	struct pgc_request *r, const struct fence *f, int may_wait, int is_slow)
{
	struct text sql;

	text_init(&sql);
	text_add(&sql,
		"SELECT batch_rows, max_batch_rows, target_batch_time_ms,"
		" wal_lsn, rows_left, wait_cap_ms, max_rows_per_second,"
		" max_replication_lag_ms FROM ");
	work_add_call(&sql, "begin_batch", f);
	text_addf(&sql, ", %" PRId64 ", %s, %s)", f->seq,
		may_wait ? "true" : "false", is_slow ? "true" : "false");
	work_add_text(r, &sql);
}

/* ---- windows and batches ---- */

struct pgc_request *work_window(const struct keyset *k, const struct key *lo,
	const struct key *hi, int64_t limit, uint64_t deadline_ms)
{
	struct pgc_request *r = pgc_request_new(deadline_ms);
	struct text sql;

	text_init(&sql);
	keyset_window_sql(k, &sql, lo, hi, limit);
	work_add_text(r, &sql);
	return r;
}

static void read_window(
	const PGresult *row, struct key *storage, struct run_event *ev)
{
	key_close(storage);
	ev->window_rows = PQntuples(row) > 0 ? pgc_int(row, 0, 0) : 0;
	for (int i = 1; i < PQnfields(row) && PQntuples(row) > 0; i++) {
		key_add(storage, pgc_text(row, 0, i));
	}
	ev->window_hi = storage;
}

void work_read_window(
	const struct pgc_request *r, struct key *storage, struct run_event *ev)
{
	read_window(pgc_result(r, 0), storage, ev);
}

enum { BATCH_BEGIN = 1, BATCH_CHANGE = 2, BATCH_WINDOW = 4, BATCH_COMMIT = 5 };

struct pgc_request *work_batch(
	const struct keyset *k, const struct work_batch *b)
{
	struct pgc_request *r = work_begin(b->deadline_ms);
	struct text sql;

	add_begin_batch(r, &b->fence, b->may_wait, b->is_slow);

	text_init(&sql);
	keyset_batch_sql(k, &sql, &b->fence, &b->window);
	work_add_text(r, &sql);

	/* What was deferred must fail here, where the batch can be undone and
	 * the error be told; and right after the change, since it may wait
	 * for locks: both together must end before deadlock_timeout. */
	pgc_add(r, "SET CONSTRAINTS ALL IMMEDIATE");

	text_init(&sql);
	keyset_window_sql(k, &sql, b->window.hi, b->range_hi, b->next_limit);
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

/* PostgreSQL docs, 34.3: the tag of a COMMIT that rolled back is
 * "ROLLBACK". */
static int check_commit(const struct pgc_request *r, int index, struct err *e)
{
	/* libpq takes the result without const and does not change it. */
	const char *tag =
		PQcmdStatus((PGresult *)(uintptr_t)pgc_result(r, index));

	if (tag == NULL || strcmp(tag, "COMMIT") != 0) {
		return err_set(e, BFE_PROTOCOL,
			"COMMIT of a batch was answered with \"%s\"",
			tag != NULL ? tag : "");
	}
	return 0;
}

int work_read_batch(const struct pgc_request *r, struct key *storage,
	struct run_event *ev, int64_t *max_replication_lag_ms, struct err *e)
{
	const PGresult *limits = pgc_result(r, BATCH_BEGIN);
	const PGresult *counts = pgc_result(r, BATCH_CHANGE);

	if (check_commit(r, BATCH_COMMIT, e) != 0) {
		return e->code;
	}
	ev->batch_rows = pgc_int(limits, 0, 0);
	ev->max_batch_rows = pgc_int(limits, 0, 1);
	ev->target_us = pgc_int(limits, 0, 2) * 1000;
	ev->rows_left = pgc_int(limits, 0, 4);
	ev->wait_cap_us = pgc_int(limits, 0, 5) * 1000;
	ev->max_rows_per_second = pgc_int(limits, 0, 6);
	*max_replication_lag_ms = pgc_int(limits, 0, 7);
	ev->sample.rows_changed = pgc_int(counts, 0, 2);
	ev->sample.elapsed_us = (int64_t)pgc_elapsed_us(r);
	ev->sample.wal_bytes = pgc_lsn(counts, 0, 3) - pgc_lsn(limits, 0, 3);
	read_window(pgc_result(r, BATCH_WINDOW), storage, ev);
	return 0;
}

int work_failed_in_job(const struct pgc_request *r)
{
	return pgc_failed_at(r) > BATCH_BEGIN;
}

struct pgc_request *work_skip_window(const struct fence *fence,
	const struct key *up_to, int64_t rows_read, uint64_t deadline_ms)
{
	struct pgc_request *r = work_begin(deadline_ms);
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT ");
	work_add_call(&sql, "skip_window", fence);
	text_addf(&sql, ", %" PRId64 ", ", fence->seq);
	work_add_key(&sql, up_to);
	text_addf(&sql, ", %" PRId64 ")", rows_read);
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

/* ---- holes ---- */

struct pgc_request *work_next_hole(
	const struct fence *fence, int64_t after, int descending)
{
	struct pgc_request *r = pgc_request_new(SHORT_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT id, is_window, lo, hi, age_ms, remaining FROM ");
	work_add_call(&sql, "list_holes", fence);
	text_addf(&sql, ", %" PRId64 ", %s)", after,
		descending ? "true" : "false");
	work_add_text(r, &sql);
	return r;
}

int work_read_hole(const struct pgc_request *r, struct run_hole *hole,
	struct run_event *ev, struct err *e)
{
	const PGresult *row = pgc_result(r, 0);

	ev->hole = NULL;
	if (PQntuples(row) == 0) {
		return 0;
	}
	hole->id = pgc_int(row, 0, 0);
	hole->is_window = pgc_bool(row, 0, 1);
	hole->age_ms = pgc_int(row, 0, 4);
	hole->remaining = pgc_int(row, 0, 5);
	if (key_parse(&hole->lo, pgc_text(row, 0, 2)) != 0 ||
		key_parse(&hole->hi, pgc_text(row, 0, 3)) != 0) {
		return err_set(e, BFE_PROTOCOL,
			"unexpected result of backfill.list_holes");
	}
	ev->hole = hole;
	return 0;
}

enum { DRAIN_COMMIT = 6 };

struct pgc_request *work_drain_hole(const struct keyset *k,
	const struct fence *fence, int may_wait, int is_slow,
	const struct run_hole *hole, uint64_t deadline_ms)
{
	struct pgc_request *r = work_begin(deadline_ms);
	struct text sql;

	add_begin_batch(r, fence, may_wait, is_slow);

	/* The only lock that waits, and the first of the table. Twice: whoever
	 * held the row may have deleted it and inserted the key again, which
	 * the first statement's snapshot does not see. */
	text_init(&sql);
	keyset_lock_sql(k, &sql, &hole->hi);
	pgc_add(r, sql.data);
	work_add_text(r, &sql);

	text_init(&sql);
	keyset_hole_sql(k, &sql, fence, &hole->hi, hole->id);
	work_add_text(r, &sql);
	pgc_add(r, "SET CONSTRAINTS ALL IMMEDIATE");
	pgc_add(r, "COMMIT");
	return r;
}

int work_read_drained(const struct pgc_request *r, struct err *e)
{
	return check_commit(r, DRAIN_COMMIT, e);
}

struct pgc_request *work_set_aside(
	const struct fence *fence, const struct run_aside *aside)
{
	struct pgc_request *r = work_begin(SHORT_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT ");
	work_add_call(&sql, "set_aside", fence);
	text_addf(&sql, ", %" PRId64 ", ", fence->seq);
	work_add_key(&sql, &aside->key);
	if (aside->hole != 0) {
		text_addf(&sql, ", 0, %" PRId64, aside->hole);
	} else {
		text_add(&sql, ", 1, NULL");
	}
	text_add(&sql, ", ");
	work_add_value(&sql, aside->error.sqlstate);
	text_add(&sql, ", ");
	work_add_value(&sql, aside->error.message);
	text_add(&sql, ", ");
	work_add_value(&sql, aside->error.constraint);
	text_add(&sql, ")");
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

/* ---- the end of the range ---- */

struct pgc_request *work_finish_range(const struct fence *fence)
{
	struct pgc_request *r = work_begin(SHORT_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT finished, pass FROM ");
	work_add_call(&sql, "finish_range", fence);
	text_addf(&sql, ", %" PRId64 ")", fence->seq);
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

void work_read_range_finished(const struct pgc_request *r, struct run_event *ev)
{
	enum { FINISHED = 1 };
	const PGresult *result = pgc_result(r, FINISHED);

	ev->finished = pgc_bool(result, 0, 0);
	ev->pass = (int)pgc_int(result, 0, 1);
}

struct pgc_request *work_rollback(void)
{
	struct pgc_request *r = pgc_request_new(SHORT_DEADLINE_MS);

	pgc_add(r, "ROLLBACK");
	return r;
}
