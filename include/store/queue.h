/* queue.h: the backfill schema as the control connection sees it. Each
 * function builds the request for one function of daemon/sql/006; the
 * readers turn its result into C. Requests are the caller's, for pgc_send()
 * or pgc_discard(). */
#ifndef BACKFILL_STORE_QUEUE_H
#define BACKFILL_STORE_QUEUE_H

#include <stdint.h>

#include "base/err.h"
#include "pg/pgc.h"

/* Settings, and the facts that queue_check_login() looks at.
 * lock_timeout_ms bounds every wait of the control connection: heartbeats
 * must not queue behind one. */
struct pgc_request *queue_login(int64_t lock_timeout_ms);

/* Whether this login may be a control connection: 0, or BFE_INPUT with the
 * SQL that mends it. In the callback of queue_login. */
int queue_check_login(const struct pgc_request *r, struct err *e);

/* Registers and listens. */
struct pgc_request *queue_register(
	const char *host, int pid, const char *version, int64_t lease_ms);
/* Whether the schema is of the version that this program was built with:
 * 0, or BFE_INPUT. In the callback of queue_register. */
int queue_check_version(const struct pgc_request *r, struct err *e);
int64_t queue_read_incarnation(const struct pgc_request *r);

/* After a reconnect: renews, and listens again. */
struct pgc_request *queue_return(int64_t me);
struct pgc_request *queue_renew(int64_t me);
struct pgc_request *queue_unregister(int64_t me);

struct queue_claim {
	int64_t job_id;
	int32_t range;
	int64_t epoch;
	char run_as[64];
	char name[128]; /* cut if longer; for log lines */
	int taken_over;
};

struct pgc_request *queue_claim(int64_t me);
/* Returns 0 and fills c, or -1: nothing to do. */
int queue_read_claim(const struct pgc_request *r, struct queue_claim *c);

/* Rows (job id, epoch, state) of what this daemon owns. */
struct pgc_request *queue_my_work(int64_t me);
int queue_work_count(const struct pgc_request *r);
int64_t queue_work_job(const struct pgc_request *r, int row);
int64_t queue_work_epoch(const struct pgc_request *r, int row);
const char *queue_work_state(const struct pgc_request *r, int row);

/* The range again, which was ours at epoch; BF010: it is another's now. */
struct pgc_request *queue_retake(
	int64_t me, int64_t job_id, int32_t range, int64_t epoch);
int64_t queue_read_epoch(const struct pgc_request *r);

struct pgc_request *queue_set_reason(
	int64_t me, int64_t job_id, int64_t epoch, const char *reason);
struct pgc_request *queue_release(
	int64_t me, int64_t job_id, int64_t epoch, const char *why);
struct pgc_request *queue_finish(int64_t me, int64_t job_id, int64_t epoch);
struct pgc_request *queue_fail(
	int64_t me, int64_t job_id, int64_t epoch, const struct err *error);
struct pgc_request *queue_cancel_runner(
	int64_t me, int64_t job_id, int64_t epoch);

/* Who holds the runner up; the text is lent by the result, "" nobody. */
struct pgc_request *queue_blockers(int64_t me, int64_t job_id, int64_t epoch);
const char *queue_read_blockers(const struct pgc_request *r);

#endif
