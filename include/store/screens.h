/* screens.h: what is asked for those who look on: /status.json, /metrics and
 * the page. Each has a statement_timeout of its own, timeout_ms, and runs on
 * a connection of its own (engine/database.h): a slow answer delays neither
 * the heartbeat nor a job. */
#ifndef BACKFILL_STORE_SCREENS_H
#define BACKFILL_STORE_SCREENS_H

#include "pg/pgc.h"

/* backfill.status(); backfill.job_status() of a job's name or id. Without
 * details, null stands for clauses, holes, row_errors, ranges and the detail
 * of each event. */
struct pgc_request *screens_status(uint64_t timeout_ms, int details);
struct pgc_request *screens_job(
	uint64_t timeout_ms, const char *job, int details);
/* In the callback of both: the JSON, lent; NULL: no such job. */
const char *screens_read_json(const struct pgc_request *r);

/* backfill.metrics: rows of name, labels as Prometheus writes them between
 * the braces, value. */
struct pgc_request *screens_metrics(uint64_t timeout_ms);
/* The jobs of shown_jobs, at most 200: a row each, of the
 * texts of screens_table_titles. */
struct pgc_request *screens_table(uint64_t timeout_ms);
extern const char *const screens_table_titles[]; /* up to a NULL */
/* Those that are open, at most 100: id, rows per second, time of the last batch
 * in ms, worst lag of a standby in s, waits_for, name; NULL where it is
 * unknown. */
struct pgc_request *screens_history(uint64_t timeout_ms);
/* In the callback of these: the rows, lent. */
const PGresult *screens_read_rows(const struct pgc_request *r);

#endif
