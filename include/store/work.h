/* work.h: the backfill schema as a runner connection sees it: the functions
 * of daemon/sql/005, in requests for one round trip each. */
#ifndef BACKFILL_STORE_WORK_H
#define BACKFILL_STORE_WORK_H

#include <stdint.h>

#include "base/err.h"
#include "pg/pgc.h"
#include "rules/keyset.h"
#include "rules/run.h"

/* The session's settings in milliseconds: what a job does not set itself. */
struct work_settings {
	int64_t lock_timeout_ms;
	int64_t statement_timeout_ms;
	int64_t idle_in_transaction_session_timeout_ms;
	int64_t client_connection_check_interval_ms;
	const char *synchronous_commit;
};

/* A job as attach returns it. Texts are owned. */
struct work_job {
	char *target;
	char *set_clause;
	char *where_clause; /* NULL: all rows */
	char *key_columns;  /* text[] literal; NULL: the primary key */
	char *search_path;
	char *timezone;
	char *datestyle;
	int begun;
	int finished;
	uint32_t target_oid;
	uint32_t key_index_oid;
	struct key hi;
	struct key cursor;
	int64_t seq;
	int64_t last_batch_rows;
	int64_t statement_timeout_ms; /* 0: the configuration's, as below */
	int64_t batch_rows;
	int64_t max_batch_rows;
	int64_t target_us;
};

void work_job_close(struct work_job *j);

/* Settings, then attach, committed. server_version as of
 * pgc_server_version(). fence->seq does not count. */
struct pgc_request *work_attach(const struct fence *fence,
	const struct work_settings *s, int server_version);
/* Returns 0, or BFE_PROTOCOL. */
int work_read_attach(
	const struct pgc_request *r, struct work_job *j, struct err *e);

/* Add a statement that makes the session the submitter's: search_path,
 * TimeZone, order of day and month. */
void work_add_surroundings(struct pgc_request *r, const struct work_job *j);

/* The bound and the planner's estimate of rows; then begin_job with them. */
struct pgc_request *work_bound(const struct keyset *k);
void work_read_bound(const struct pgc_request *r, const struct keyset *k,
	struct key *bound, int64_t *rows_estimate);
struct pgc_request *work_begin_job(const struct fence *fence,
	const struct keyset *k, const struct key *bound, int64_t rows_estimate);

/* Fails with BF011 when the job has to wait for another on its table. */
int work_read_begun(const struct pgc_request *r, struct err *e);

/* deadline_ms: beyond every timeout of the server. */
struct pgc_request *work_window(const struct keyset *k, const struct key *lo,
	const struct key *hi, int64_t limit, uint64_t deadline_ms);

/* The batch as one pipeline, with the window after it: keys in
 * (window->hi, range_hi], at most next_limit. */
struct pgc_request *work_batch(const struct keyset *k,
	const struct fence *fence, const struct keyset_window *window,
	const struct key *range_hi, int64_t next_limit, uint64_t deadline_ms);

struct pgc_request *work_skip_window(const struct fence *fence,
	const struct key *up_to, int64_t rows_read, uint64_t deadline_ms);
struct pgc_request *work_next_hole(const struct fence *fence, int64_t after);
struct pgc_request *work_drain_hole(const struct keyset *k,
	const struct fence *fence, const struct run_hole *hole,
	uint64_t deadline_ms);
/* Whether a batch or the draining of a hole failed after the fence, in a
 * statement that runs the job's own code. */
int work_failed_in_job(const struct pgc_request *r);

struct pgc_request *work_finish_range(const struct fence *fence);

/* After an error within a transaction. */
struct pgc_request *work_rollback(void);

/* Readers fill the event's fields; keys are put into storage, which the
 * event borrows. */
void work_read_window(
	const struct pgc_request *r, struct key *storage, struct run_event *ev);
/* COMMIT of a failed transaction answers ROLLBACK, without an error:
 * returns BFE_PROTOCOL then. */
int work_read_batch(const struct pgc_request *r, struct key *storage,
	struct run_event *ev, struct err *e);
int work_read_drained(const struct pgc_request *r, struct err *e);
/* hole is filled when there is one; else ev->hole stays NULL. */
int work_read_hole(const struct pgc_request *r, struct run_hole *hole,
	struct run_event *ev, struct err *e);

#endif
