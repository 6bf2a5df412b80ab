/* work.h: the backfill schema as a runner connection sees it: the functions
 * of daemon/sql/007 to 009, in requests for one round trip each. */
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
	int is_delete;
	char *set_clause;   /* NULL: a delete */
	char *from_clause;  /* NULL: none */
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
	int64_t lock_timeout_ms; /* 0: the configuration's, as below */
	int64_t statement_timeout_ms;
	int64_t batch_rows;
	int64_t max_batch_rows;
	int64_t target_us;
	int64_t rows_left;	     /* up to pause_after_rows; 0: not set */
	int64_t max_rows_per_second; /* 0: no bound */
	int64_t max_replication_lag_ms;
	int is_dry_run;
	int records_errors;
	int holes_first;
	int pass;
	int is_schema_kind;
	char *definition;     /* of a schema kind that has one; else NULL */
	char *key_signature;  /* as the job began; NULL: it has not */
	char *archive_table;  /* NULL: deleted rows are gone */
	uint32_t archive_oid; /* as the job began; 0: it has not */
};

void work_job_close(struct work_job *j);

/* Which backend answers. A runner keeps settings in its session, so it must
 * be the one that the connection was told, for good: 0, or BFE_CONNECT when
 * a pooler stands between. In the callback of work_identify. */
struct pgc_request *work_identify(void);
int work_check_backend(
	const struct pgc_request *r, int backend_pid, struct err *e);

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
/* After a retry: the index of the key, whose order is as it was, and the
 * archive. */
struct pgc_request *work_adopt_key(
	const struct fence *fence, const struct keyset *k);

/* Returns 0, or BF022 when the name is another table's by now. */
int work_read_bound(const struct pgc_request *r, const struct keyset *k,
	struct key *bound, int64_t *rows_estimate, struct err *e);
struct work_begin {
	const struct key *bound;
	int64_t rows_estimate;
	const char *key_signature;
	const char *findings; /* of the preflight; NULL: none */
	const char *moves_by; /* the same: why not to sweep; NULL: may be */
};
struct pgc_request *work_begin_job(const struct fence *fence,
	const struct keyset *k, const struct work_begin *begin);

/* Fails with BF011 when the job has to wait for another on its table. */
int work_read_begun(const struct pgc_request *r, struct err *e);

/* deadline_ms: beyond every timeout of the server. */
struct pgc_request *work_window(const struct keyset *k, const struct key *lo,
	const struct key *hi, int64_t limit, uint64_t deadline_ms);

/* A batch. */
struct work_batch {
	struct fence fence;
	int may_wait; /* for locks of others: end before they deadlock */
	int is_slow;  /* then rather hardly wait at all */
	struct keyset_window window;
	const struct key *range_hi;
	int64_t next_limit; /* rows of the window after it, up to range_hi */
	uint64_t deadline_ms;
};
/* As one pipeline, with the window after it. */
struct pgc_request *work_batch(
	const struct keyset *k, const struct work_batch *b);

struct pgc_request *work_skip_window(const struct fence *fence,
	const struct key *up_to, int64_t rows_read, uint64_t deadline_ms);
/* The hole whose id comes after that one, or, descending, before it. */
struct pgc_request *work_next_hole(
	const struct fence *fence, int64_t after, int descending);
struct pgc_request *work_drain_hole(const struct keyset *k,
	const struct fence *fence, int may_wait, int is_slow,
	const struct run_hole *hole, uint64_t deadline_ms);
/* Whether a batch or the draining of a hole failed after the fence, in a
 * statement that runs the job's own code. */
int work_failed_in_job(const struct pgc_request *r);

/* One key that cannot be changed now. */
struct pgc_request *work_set_aside(
	const struct fence *fence, const struct run_aside *aside);

struct pgc_request *work_finish_range(const struct fence *fence);
void work_read_range_finished(
	const struct pgc_request *r, struct run_event *ev);

/* A step of a job of the schema kinds. */
struct work_step {
	struct fence fence;
	const struct work_job *job;
	const char *pieces; /* the definition's statements, a text[] */
	int leaving;	    /* only what clears away */
	uint64_t deadline_ms;
};

/* What is to be done next; s: timeouts to which the session goes back. */
struct pgc_request *work_examine(
	const struct work_step *step, const struct work_settings *s);

/* What an examination found. told and the two after it are lent by the
 * result. */
struct work_examined {
	enum run_way way;
	const char *told;
	int is_long;
	const char *lock_mode; /* "": none */
	const char *lock_tables;
};

/* Returns 0, or BF011 when another job has the table. */
int work_read_examined(
	const struct pgc_request *r, struct work_examined *x, struct err *e);

/* The step, when it fits into a transaction or nothing is left; whether that
 * is so. */
struct pgc_request *work_do_step(const struct work_step *step);
int work_read_step_done(const struct pgc_request *r);

/* Look for rows in the way: 0, or what the job fails with. */
struct pgc_request *work_look(const struct work_step *step);
int work_read_look(const struct pgc_request *r, struct err *e);

/* Keep that a statement is begun, and have the session's timeouts be those
 * of the statement, which is read then: NULL when there is none any more.
 * Lent by the result. */
struct pgc_request *work_begin_alone(const struct work_step *step);
const char *work_read_alone(const struct pgc_request *r);
struct pgc_request *work_alone(const char *statement, uint64_t deadline_ms);

/* Whether what failed is the statement that runs the job's own code: of
 * work_alone() it always is. What work_examine() sends has a place of its
 * own for it. */
int work_step_failed_in_job(const struct pgc_request *r);
int work_examine_failed_in_job(const struct pgc_request *r);

/* After an error within a transaction. */
struct pgc_request *work_rollback(void);

/* Readers fill the event's fields; keys are put into storage, which the
 * event borrows. */
void work_read_window(
	const struct pgc_request *r, struct key *storage, struct run_event *ev);
/* COMMIT of a failed transaction answers ROLLBACK, without an error:
 * returns BFE_PROTOCOL then. */
int work_read_batch(const struct pgc_request *r, struct key *storage,
	struct run_event *ev, int64_t *max_replication_lag_ms, struct err *e);
int work_read_drained(const struct pgc_request *r, struct err *e);
/* hole is filled when there is one; else ev->hole stays NULL. */
int work_read_hole(const struct pgc_request *r, struct run_hole *hole,
	struct run_event *ev, struct err *e);

#endif
