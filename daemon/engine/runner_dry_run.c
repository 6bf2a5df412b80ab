/* A dry run: the report of a job that shall change nothing. What is done in
 * each round trip stands in store/dry_run.h:
 *
 *   look -> explain -> copy -> change -> undo -> store
 *
 * What fails is told like the error of a batch, and with the transaction the
 * copy is gone; the copy's session ends with the action after this one. */

#include "runner_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/dry_run.h"

enum {
	MAX_ROWS = 1000,
	/* Statements of a round trip that may each take statement_timeout:
	 * filling the copy, looking at it, adding its constraints. */
	STATEMENTS = 3,
	DEADLINE_MARGIN_MS = 15000
};

/* Lives from the action's start to its end. */
struct flow {
	struct runner *r;
	struct dry_run d;
};

static void flow_free(struct flow *f)
{
	dry_run_close(&f->d);
	free(f);
}

static void flow_send(
	struct flow *f, struct pgc_request *request, pgc_request_cb cb)
{
	pgc_send(f->r->conn, request, cb, f);
}

/* First line of each callback. */
static int has_failed(struct flow *f, const struct err *e)
{
	if (!runner_request_failed(f->r, e)) {
		return 0;
	}
	flow_free(f);
	return 1;
}

/* ---- store ---- */

static void on_stored(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct flow *f = data;
	struct runner *r = f->r;
	struct run_event ev = { .error = NULL };

	(void)request;
	if (has_failed(f, e)) {
		return;
	}
	runner_log(r, LOG_INFO, NULL,
		"dry run: %lld of %lld rows of %s would change -> report",
		(long long)f->d.changed, (long long)f->d.rows, r->keyset.table);
	flow_free(f);
	runner_done(r, &ev);
}

static void on_undone(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct flow *f = data;
	struct runner *r = f->r;
	struct fence fence = runner_fence(r);

	if (has_failed(f, e)) {
		return;
	}
	dry_run_read_undo(request, &f->d);
	flow_send(f,
		dry_run_store(
			&f->d, &r->keyset, &fence, r->preflight.findings.data),
		on_stored);
}

/* ---- the copy ---- */

/* From here on, it is the job's own code that fails. */
static int has_failed_in_job(struct flow *f, const struct err *e)
{
	struct runner *r = f->r;
	struct err mended;

	r->failure_of_job = e != NULL;
	if (e == NULL || e->code != BFE_SQL) {
		return has_failed(f, e);
	}
	mended = *e;
	dry_run_mend_error(&r->keyset, &mended);
	return has_failed(f, &mended);
}

static void on_changed(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct flow *f = data;

	if (has_failed_in_job(f, e)) {
		return;
	}
	dry_run_read_change(request, &f->d);
	flow_send(f, dry_run_undo(&f->d, &f->r->keyset), on_undone);
}

static void on_copied(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct flow *f = data;

	if (has_failed_in_job(f, e)) {
		return;
	}
	dry_run_read_copy(request, &f->d);
	flow_send(f, dry_run_change(&f->d, &f->r->keyset), on_changed);
}

/* ---- what is to be known before ---- */

static void on_explained(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct flow *f = data;

	if (has_failed(f, e)) {
		return;
	}
	dry_run_read_explain(request, &f->d);
	flow_send(f, dry_run_copy(&f->d, &f->r->keyset), on_copied);
}

static void on_looked(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct flow *f = data;
	struct runner *r = f->r;
	struct fence fence = runner_fence(r);
	struct err failure;

	if (has_failed(f, e)) {
		return;
	}
	if (dry_run_read_look(request, &f->d, &r->keyset, &failure) != 0) {
		(void)has_failed(f, &failure);
		return;
	}
	flow_send(f, dry_run_explain(&f->d, &r->keyset, &fence), on_explained);
}

void runner_dry_run(struct runner *r)
{
	const struct config *c = r->host->config;
	struct flow *f = mem_new(1, sizeof *f);
	int64_t timeout_ms = c->statement_timeout_ms;
	char timeout[24];

	f->r = r;
	if (r->job.statement_timeout_ms > 0) {
		(void)snprintf(timeout, sizeof timeout, "%lld",
			(long long)r->job.statement_timeout_ms);
		f->d.statement_timeout = mem_strdup(timeout);
	}
	if (r->job.statement_timeout_ms > timeout_ms) {
		timeout_ms = r->job.statement_timeout_ms;
	}
	f->d.deadline_ms =
		(uint64_t)(STATEMENTS * timeout_ms + DEADLINE_MARGIN_MS);
	f->d.max_rows =
		r->run.size.rows < MAX_ROWS ? r->run.size.rows : MAX_ROWS;
	f->d.max_bytes = c->max_batch_wal_bytes;
	flow_send(f, dry_run_look(&f->d, &r->keyset, &r->columns), on_looked);
}
