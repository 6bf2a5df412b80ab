/* queue.h: the backfill schema as the control connection sees it. Each
 * function builds the request for one function of daemon/sql/010 to 013; the
 * readers turn its result into C. Requests are the caller's, for pgc_send()
 * or pgc_discard(). */
#ifndef BACKFILL_STORE_QUEUE_H
#define BACKFILL_STORE_QUEUE_H

#include <stdint.h>

#include "base/err.h"
#include "pg/pgc.h"

/* For setup of pgc_options: the settings of each transaction of the control
 * connection, whose session may be anybody's in a pool. lock_timeout_ms
 * bounds every wait of it: heartbeats must not queue behind one. */
struct queue_setup {
	char limits[320];
	const char *statements[4];
};
void queue_setup_init(struct queue_setup *s, int64_t lock_timeout_ms);

/* The facts that queue_check_login() looks at. */
struct pgc_request *queue_login(void);

/* Whether this login may be a control connection: 0, or BFE_INPUT with the
 * SQL that mends it. backend_pid is what the connection was told; only with
 * poll_only may another backend answer. In the callback of queue_login. */
int queue_check_login(const struct pgc_request *r, int backend_pid,
	int poll_only, struct err *e);

/* Registers, and listens unless poll_only. */
struct pgc_request *queue_register(const char *host, int pid,
	const char *version, int64_t lease_ms, int poll_only);
/* Whether the schema is of the version that this program was built with:
 * 0, or BFE_INPUT. In the callback of queue_register. */
int queue_check_version(const struct pgc_request *r, struct err *e);
int64_t queue_read_incarnation(const struct pgc_request *r);

/* After a reconnect: renews unless the incarnation is another's by now, and
 * listens again, unless poll_only. */
struct pgc_request *queue_return(
	int64_t me, const char *host, int pid, int poll_only);
/* deadline_ms: when the connection is given up. */
struct pgc_request *queue_renew(int64_t me, uint64_t deadline_ms);
struct pgc_request *queue_unregister(int64_t me);

struct queue_claim {
	int64_t job_id;
	int32_t range;
	int64_t epoch;
	char run_as[64];
	char name[128]; /* cut if longer; for log lines */
	int taken_over;
};

/* Unless so many jobs run already, under all daemons of the database. */
struct pgc_request *queue_claim(int64_t me, int64_t workers);
/* Returns 0 and fills c, or -1: nothing to do. */
int queue_read_claim(const struct pgc_request *r, struct queue_claim *c);

/* Rows (job id, epoch, state, why it may not run) of what this daemon owns. */
struct pgc_request *queue_my_work(int64_t me);
int queue_work_count(const struct pgc_request *r);
int64_t queue_work_job(const struct pgc_request *r, int row);
int64_t queue_work_epoch(const struct pgc_request *r, int row);
const char *queue_work_state(const struct pgc_request *r, int row);
const char *queue_work_why_not(const struct pgc_request *r, int row);
/* max_replication_lag of its own; 0: none */
int64_t queue_work_max_lag_ms(const struct pgc_request *r, int row);

/* The range again, which was ours at epoch; BF010: it is another's now. */
struct pgc_request *queue_retake(
	int64_t me, int64_t job_id, int32_t range, int64_t epoch);
int64_t queue_read_epoch(const struct pgc_request *r);

struct pgc_request *queue_set_reason(
	int64_t me, int64_t job_id, int64_t epoch, const char *reason);
struct pgc_request *queue_release(
	int64_t me, int64_t job_id, int64_t epoch, const char *why);
struct pgc_request *queue_finish(int64_t me, int64_t job_id, int64_t epoch);
struct queue_finished {
	const char *state; /* lent: succeeded or failed */
	int64_t rows;	   /* changed, since it was submitted */
	int64_t batches;
	int64_t ms; /* since it was first begun */
};
/* Fills f; e is set to why it failed, code 0: it did not. */
void queue_read_finished(
	const struct pgc_request *r, struct queue_finished *f, struct err *e);
struct pgc_request *queue_fail(
	int64_t me, int64_t job_id, int64_t epoch, const struct err *error);
struct pgc_request *queue_cancel_runner(
	int64_t me, int64_t job_id, int64_t epoch);

/* Who writes the table: all that do so now (tokens NULL), or those that
 * are left of tokens. */
struct pgc_request *queue_barrier(int64_t me, int64_t job_id, int64_t epoch,
	uint32_t target_oid, const char *tokens);
/* Lent by the result; waits_for is NULL when nobody is left. */
struct queue_barrier {
	const char *tokens; /* for the next queue_barrier() */
	const char *waits_for;
};
struct queue_barrier queue_read_barrier(const struct pgc_request *r);

/* Who has held one of the tables (an oid[]) for longer, for which a lock of
 * this mode would wait; lent by the result, NULL: nobody. */
struct pgc_request *queue_lock_holders(int64_t me, int64_t job_id,
	int64_t epoch, const char *tables, const char *mode, int64_t older_ms);
const char *queue_read_lock_holders(const struct pgc_request *r);

/* Whether the runner's backend awaits a statement, or is gone. */
struct pgc_request *queue_awaits_client(
	int64_t me, int64_t job_id, int64_t epoch);
int queue_read_awaits_client(const struct pgc_request *r);

/* Remove what ended longer ago than that, a few jobs at a time. */
struct pgc_request *queue_prune(int64_t me, int64_t retention_ms);
int64_t queue_read_pruned(const struct pgc_request *r);

/* Who holds the runner up, and who has waited longest for it; the texts are
 * lent by the result, "" nobody. */
struct pgc_request *queue_blockers(int64_t me, int64_t job_id, int64_t epoch);
const char *queue_read_blockers(const struct pgc_request *r);
/* Whether it waits for the lock of a whole table. */
int queue_read_waits_for_table(const struct pgc_request *r);
const char *queue_read_waiting(const struct pgc_request *r);
int64_t queue_read_waited_ms(const struct pgc_request *r);

/* Cancel the runner's statement if somebody has waited for it that long;
 * whether it was. */
struct pgc_request *queue_unblock(
	int64_t me, int64_t job_id, int64_t epoch, int64_t longest_ms);
int queue_read_unblocked(const struct pgc_request *r);

#endif
