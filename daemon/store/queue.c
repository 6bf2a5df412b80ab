/* The part of store/queue.h about jobs; queue_login.c is about the daemon. */
#include "queue_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *queue_number(struct queue_number *n, int64_t value)
{
	(void)snprintf(n->text, sizeof n->text, "%" PRId64, value);
	return n->text;
}

struct pgc_request *queue_one(
	const char *sql, int count, const char *const values[])
{
	struct pgc_request *r = pgc_request_new(QUEUE_DEADLINE_MS);

	pgc_add_params(r, sql, count, values);
	return r;
}

/* A function of (incarnation, job id, third, text). */
static struct pgc_request *about_job(const char *sql, int64_t me,
	int64_t job_id, int64_t third, const char *text)
{
	struct queue_number a, b, c;
	const char *const values[] = { queue_number(&a, me),
		queue_number(&b, job_id), queue_number(&c, third), text };

	return queue_one(sql, text != NULL ? 4 : 3, values);
}

/* ---- the queue ---- */

struct pgc_request *queue_claim(int64_t me, int64_t workers)
{
	struct queue_number a, b;
	const char *const values[] = { queue_number(&a, me),
		queue_number(&b, workers) };

	return queue_one("SELECT job_id, range, epoch, run_as, name, taken_over"
			 " FROM backfill.claim($1::bigint, $2::integer)",
		2, values);
}

int queue_read_claim(const struct pgc_request *r, struct queue_claim *c)
{
	const PGresult *result = pgc_result(r, 0);

	if (PQntuples(result) == 0) {
		return -1;
	}
	c->job_id = pgc_int(result, 0, 0);
	c->range = (int32_t)pgc_int(result, 0, 1);
	c->epoch = pgc_int(result, 0, 2);
	(void)snprintf(
		c->run_as, sizeof c->run_as, "%s", pgc_text(result, 0, 3));
	(void)snprintf(c->name, sizeof c->name, "%s", pgc_text(result, 0, 4));
	c->taken_over = pgc_bool(result, 0, 5);
	return 0;
}

struct pgc_request *queue_my_work(int64_t me)
{
	struct queue_number n;
	const char *const values[] = { queue_number(&n, me) };

	return queue_one("SELECT job_id, epoch, state, why_not,"
			 " max_replication_lag_ms"
			 " FROM backfill.my_work($1::bigint)",
		1, values);
}

int queue_work_count(const struct pgc_request *r)
{
	return PQntuples(pgc_result(r, 0));
}

int64_t queue_work_job(const struct pgc_request *r, int row)
{
	return pgc_int(pgc_result(r, 0), row, 0);
}

int64_t queue_work_epoch(const struct pgc_request *r, int row)
{
	return pgc_int(pgc_result(r, 0), row, 1);
}

const char *queue_work_state(const struct pgc_request *r, int row)
{
	return pgc_text(pgc_result(r, 0), row, 2);
}

const char *queue_work_why_not(const struct pgc_request *r, int row)
{
	return pgc_text(pgc_result(r, 0), row, 3);
}

int64_t queue_work_max_lag_ms(const struct pgc_request *r, int row)
{
	return pgc_int(pgc_result(r, 0), row, 4);
}

struct pgc_request *queue_retake(
	int64_t me, int64_t job_id, int32_t range, int64_t epoch)
{
	struct queue_number n;

	return about_job("SELECT backfill.retake_range($1::bigint, $2::bigint,"
			 " $3::integer, $4::bigint)",
		me, job_id, range, queue_number(&n, epoch));
}

int64_t queue_read_epoch(const struct pgc_request *r)
{
	return pgc_int(pgc_result(r, 0), 0, 0);
}

struct pgc_request *queue_set_reason(
	int64_t me, int64_t job_id, int64_t epoch, const char *reason)
{
	return about_job("SELECT backfill.set_reason($1::bigint, $2::bigint,"
			 " $3::bigint, nullif($4, ''))",
		me, job_id, epoch, reason);
}

struct pgc_request *queue_release(
	int64_t me, int64_t job_id, int64_t epoch, const char *why)
{
	return about_job("SELECT backfill.release($1::bigint, $2::bigint,"
			 " $3::bigint, $4)",
		me, job_id, epoch, why);
}

struct pgc_request *queue_finish(int64_t me, int64_t job_id, int64_t epoch)
{
	struct pgc_request *r =
		about_job("SELECT backfill.finish_job($1::bigint, $2::bigint,"
			  " $3::bigint)",
			me, job_id, epoch, NULL);
	struct queue_number job;
	const char *const values[] = { queue_number(&job, job_id) };

	pgc_add_params(r,
		"SELECT r.rows_done, r.batches, (1000 * extract(epoch FROM"
		" clock_timestamp() - r.begun_at))::bigint, j.error_sqlstate,"
		" j.error_message"
		" FROM backfill.jobs j LEFT JOIN backfill.ranges r"
		" ON r.job_id = j.id WHERE j.id = $1::bigint",
		1, values);
	return r;
}

struct pgc_request *queue_fail(
	int64_t me, int64_t job_id, int64_t epoch, const struct err *error)
{
	struct queue_number a, b, c;
	const char *const values[] = { queue_number(&a, me),
		queue_number(&b, job_id), queue_number(&c, epoch),
		error->sqlstate, error->message, error->detail, error->hint };

	return queue_one("SELECT backfill.fail_job($1::bigint, $2::bigint,"
			 " $3::bigint, $4, $5, $6, $7)",
		7, values);
}

void queue_read_finished(
	const struct pgc_request *r, struct queue_finished *f, struct err *e)
{
	const PGresult *job = pgc_result(r, 1);

	f->state = pgc_text(pgc_result(r, 0), 0, 0);
	f->rows = pgc_int(job, 0, 0);
	f->batches = pgc_int(job, 0, 1);
	f->ms = pgc_int(job, 0, 2);
	err_clear(e);
	if (strcmp(f->state, "failed") == 0) {
		(void)err_set(e, BFE_SQL, "%s", pgc_text(job, 0, 4));
		(void)snprintf(e->sqlstate, sizeof e->sqlstate, "%s",
			pgc_text(job, 0, 3));
	}
}

struct pgc_request *queue_barrier(int64_t me, int64_t job_id, int64_t epoch,
	uint32_t target_oid, const char *tokens)
{
	struct queue_number a, b, c, d;
	const char *const values[] = { queue_number(&a, me),
		queue_number(&b, job_id), queue_number(&c, epoch),
		queue_number(&d, target_oid), tokens };

	return queue_one(
		"SELECT tokens, waits_for FROM backfill.barrier($1::bigint,"
		" $2::bigint, $3::bigint, $4::oid, $5::text[])",
		5, values);
}

struct queue_barrier queue_read_barrier(const struct pgc_request *r)
{
	const PGresult *row = pgc_result(r, 0);
	struct queue_barrier b = {
		.tokens = pgc_text(row, 0, 0),
		.waits_for =
			pgc_is_null(row, 0, 1) ? NULL : pgc_text(row, 0, 1),
	};

	return b;
}

struct pgc_request *queue_lock_holders(int64_t me, int64_t job_id,
	int64_t epoch, const char *tables, const char *mode, int64_t older_ms)
{
	struct queue_number a, b, c, d;
	const char *const values[] = { queue_number(&a, me),
		queue_number(&b, job_id), queue_number(&c, epoch), tables, mode,
		queue_number(&d, older_ms) };

	return queue_one("SELECT backfill.lock_holders($1::bigint, $2::bigint,"
			 " $3::bigint, $4::oid[], $5, $6::bigint)",
		6, values);
}

const char *queue_read_lock_holders(const struct pgc_request *r)
{
	const PGresult *row = pgc_result(r, 0);

	return pgc_is_null(row, 0, 0) ? NULL : pgc_text(row, 0, 0);
}

struct pgc_request *queue_awaits_client(
	int64_t me, int64_t job_id, int64_t epoch)
{
	return about_job("SELECT backfill.awaits_client($1::bigint,"
			 " $2::bigint, $3::bigint)",
		me, job_id, epoch, NULL);
}

int queue_read_awaits_client(const struct pgc_request *r)
{
	return pgc_bool(pgc_result(r, 0), 0, 0);
}

struct pgc_request *queue_prune(int64_t me, int64_t retention_ms)
{
	struct queue_number a, b;
	const char *const values[] = { queue_number(&a, me),
		queue_number(&b, retention_ms) };

	return queue_one("SELECT backfill.prune($1::bigint,"
			 " make_interval(secs => $2::double precision / 1000))",
		2, values);
}

int64_t queue_read_pruned(const struct pgc_request *r)
{
	return pgc_int(pgc_result(r, 0), 0, 0);
}

struct pgc_request *queue_cancel_runner(
	int64_t me, int64_t job_id, int64_t epoch)
{
	return about_job("SELECT backfill.cancel_runner($1::bigint,"
			 " $2::bigint, $3::bigint)",
		me, job_id, epoch, NULL);
}

struct pgc_request *queue_blockers(int64_t me, int64_t job_id, int64_t epoch)
{
	struct queue_number a, b, c;
	const char *const values[] = { queue_number(&a, me),
		queue_number(&b, job_id), queue_number(&c, epoch) };

	return queue_one(
		"SELECT backfill.blockers($1::bigint, $2::bigint,"
		" $3::bigint), backfill.waits_for_table($1::bigint,"
		" $2::bigint, $3::bigint), b.waiting, b.waited_ms"
		" FROM (SELECT) AS always LEFT JOIN"
		" backfill.blocked_by($1::bigint, $2::bigint, $3::bigint) b"
		" ON true",
		3, values);
}

const char *queue_read_blockers(const struct pgc_request *r)
{
	return pgc_text(pgc_result(r, 0), 0, 0);
}

int queue_read_waits_for_table(const struct pgc_request *r)
{
	return pgc_bool(pgc_result(r, 0), 0, 1);
}

const char *queue_read_waiting(const struct pgc_request *r)
{
	return pgc_text(pgc_result(r, 0), 0, 2);
}

int64_t queue_read_waited_ms(const struct pgc_request *r)
{
	return pgc_int(pgc_result(r, 0), 0, 3);
}

struct pgc_request *queue_unblock(
	int64_t me, int64_t job_id, int64_t epoch, int64_t longest_ms)
{
	struct queue_number n;

	return about_job("SELECT backfill.unblock($1::bigint, $2::bigint,"
			 " $3::bigint, $4::bigint)",
		me, job_id, epoch, queue_number(&n, longest_ms));
}

int queue_read_unblocked(const struct pgc_request *r)
{
	return pgc_bool(pgc_result(r, 0), 0, 0);
}
