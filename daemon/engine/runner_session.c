/* From a claim to the first batch: connect as run_as, attach, begin; the
 * preflight between them is runner_preflight.c. See runner.c for the whole. */

#include "runner_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { CONNECT_TIMEOUT_MS = 10000 };

struct fence runner_fence(const struct runner *r)
{
	struct fence f = {
		.job_id = r->claim.job_id,
		.range = r->claim.range,
		.epoch = r->run.epoch,
		.seq = r->run.seq,
	};

	return f;
}

/* ---- sending ---- */

static void on_rolled_back(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct err failure = r->failure;

	(void)request;
	/* No rollback, no connection worth keeping. */
	runner_failed(r, e == NULL ? &failure : e);
}

/* After an error the server is still in the failed transaction. */
int runner_request_failed(struct runner *r, const struct err *e)
{
	if (r->abandoned) {
		return 1;
	}
	if (e == NULL) {
		return 0;
	}
	if (e->code == BFE_SQL && pgc_is_ready(r->conn)) {
		r->failure = *e;
		pgc_send(r->conn, work_rollback(), on_rolled_back, r);
	} else {
		runner_failed(r, e);
	}
	return 1;
}

void runner_send(
	struct runner *r, struct pgc_request *request, pgc_request_cb cb)
{
	pgc_send(r->conn, request, cb, r);
	runner_line_start(r);
}

static void well(struct runner *r)
{
	struct run_event ev = { .error = NULL };

	runner_done(r, &ev);
}

/* ---- connect ---- */

static void connect_failed(struct runner *r, const struct err *e)
{
	struct err failure = *e;

	err_wrap(&failure, "could not connect as \"%s\"", r->claim.run_as);
	if (failure.sqlstate[0] == '\0') {
		memcpy(failure.sqlstate, "08001", 6);
	}
	runner_failed(r, &failure);
}

static void on_identified(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct err failure;

	if (runner_request_failed(r, e)) {
		return;
	}
	if (work_check_backend(request, pgc_backend_pid(r->conn), &failure) !=
		0) {
		connect_failed(r, &failure);
		return;
	}
	well(r);
}

static void on_connected(void *data, const struct err *e)
{
	struct runner *r = data;

	if (r->abandoned) {
		return;
	}
	if (e != NULL) {
		connect_failed(r, e);
		return;
	}
	runner_send(r, work_identify(), on_identified);
}

static void on_notice(void *data, const char *sqlstate, const char *message)
{
	struct runner *r = data;

	/* A function of the job's may tell any value. */
	(void)message;
	runner_log(r, LOG_DEBUG, NULL, "notice %s", sqlstate);
}

void runner_connect(struct runner *r)
{
	const struct config_database *db = r->host->database;
	char application_name[64];
	char name[160];
	const struct log_about about = runner_about(r);
	struct pgc_options options = {
		.conninfo = db->runner[0] != '\0' ? db->runner : db->dsn,
		.user = r->claim.run_as,
		.application_name = application_name,
		.name = name,
		.about = &about,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.on_notice = on_notice,
		.data = r,
	};

	(void)snprintf(application_name, sizeof application_name,
		"backfilld %lld/%d", (long long)r->claim.job_id,
		r->claim.range);
	(void)snprintf(name, sizeof name, "%s job %lld", db->name,
		(long long)r->claim.job_id);
	r->conn = pgc_new(r->host->loop, &options);
	pgc_connect(r->conn, on_connected, r);
}

static void on_disconnected(void *data)
{
	struct runner *r = data;

	r->conn = NULL;
	if (r->abandoned) {
		runner_maybe_free(r);
		return;
	}
	well(r);
}

static void on_nothing_to_close(uv_timer_t *timer)
{
	on_disconnected(timer->data);
}

void runner_disconnect(struct runner *r)
{
	if (r->conn != NULL) {
		pgc_close(r->conn, on_disconnected, r);
	} else {
		(void)uv_timer_start(&r->timer, on_nothing_to_close, 0, 0);
	}
}

/* ---- attach ---- */

static void on_attached(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };
	struct err failure;

	if (runner_request_failed(r, e)) {
		return;
	}
	if (work_read_attach(request, &r->job, &failure) != 0) {
		runner_failed(r, &failure);
		return;
	}
	ev.begun = r->job.begun;
	ev.finished = r->job.finished;
	ev.seq = r->job.seq;
	ev.last_batch_rows = r->job.last_batch_rows;
	ev.batch_rows = r->job.batch_rows;
	ev.max_batch_rows = r->job.max_batch_rows;
	ev.target_us = r->job.target_us;
	ev.rows_left = r->job.rows_left;
	ev.max_rows_per_second = r->job.max_rows_per_second;
	r->pacer.limit_ms = r->job.max_replication_lag_ms;
	ev.is_delete = r->job.is_delete;
	ev.is_schema_kind = r->job.is_schema_kind;
	ev.is_dry_run = r->job.is_dry_run;
	ev.records_errors = r->job.records_errors;
	ev.holes_first = r->job.holes_first;
	ev.pass = r->job.pass;
	ev.cursor = &r->job.cursor;
	ev.hi = &r->job.hi;
	runner_done(r, &ev);
}

void runner_attach(struct runner *r)
{
	const struct config *c = r->host->config;
	const struct work_settings settings = {
		.lock_timeout_ms = c->lock_timeout_ms,
		.statement_timeout_ms = c->statement_timeout_ms,
		.idle_in_transaction_session_timeout_ms =
			c->idle_in_transaction_session_timeout_ms,
		.client_connection_check_interval_ms =
			c->client_connection_check_interval_ms,
		.synchronous_commit = c->synchronous_commit,
	};
	struct fence fence = runner_fence(r);

	r->statement_timeout_ms = c->statement_timeout_ms;
	runner_send(r,
		work_attach(&fence, &settings, pgc_server_version(r->conn)),
		on_attached);
}

/* ---- begin ---- */

static void on_begun(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };
	struct err failure;

	if (runner_request_failed(r, e)) {
		return;
	}
	if (work_read_begun(request, &failure) != 0) {
		runner_failed(r, &failure);
		return;
	}
	runner_log(r, LOG_INFO, NULL, "about %lld rows of %s to read -> begin",
		(long long)r->rows_estimate, r->keyset.table);
	ev.hi = &r->bound;
	ev.finished = r->bound.count == 0;
	runner_done(r, &ev);
}

static void on_bound(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct fence fence = runner_fence(r);
	struct err failure;
	struct work_begin begin = {
		.bound = &r->bound,
		.key_signature = r->preflight.key_signature,
		.findings = r->preflight.findings.length > 0
			? r->preflight.findings.data
			: NULL,
		.moves_by = r->preflight.moves_by,
	};

	if (runner_request_failed(r, e)) {
		return;
	}
	if (work_read_bound(request, &r->keyset, &r->bound, &r->rows_estimate,
		    &failure) != 0) {
		runner_failed(r, &failure);
		return;
	}
	begin.rows_estimate = r->rows_estimate;
	runner_send(r, work_begin_job(&fence, &r->keyset, &begin), on_begun);
}

void runner_begin(struct runner *r)
{
	runner_send(r, work_bound(&r->keyset), on_bound);
}
