/* The preflight of a job: may it run, and how? The round trips are those of
 * store/catalog.h, each a pair send_x, on_x; what refuses the job ends it.
 *
 *	resolve -> describe -> check -> window -> sample -> plan <-> scans
 *
 * Without a row to look at it ends after the window; the sample is for jobs
 * with a from_clause, the plan for tables that are not small. The job may
 * have begun: then it must still be the same table and the same order. See
 * runner.c for the whole. */

#include "runner_internal.h"

#include <string.h>

#include "store/catalog.h"

enum {
	WINDOW_ROWS = 1000,
	SMALL_TABLE_PAGES = 1000,
	DEADLINE_MARGIN_MS = 15000
};

static void well(struct runner *r)
{
	struct run_event ev = {
		.refers_to_itself = r->preflight.refers_to_itself,
	};

	runner_done(r, &ev);
}

/* ---- plan ---- */

static void send_plan(struct runner *r);

static void on_scans(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct err failure;

	if (runner_request_failed(r, e)) {
		return;
	}
	if (catalog_read_scans(request, &r->keyset, &r->preflight, &failure) ==
		0) {
		well(r);
	} else if (!r->preflight.seqscan_off) {
		r->preflight.seqscan_off = 1;
		send_plan(r);
	} else {
		(void)runner_request_failed(r, &failure);
	}
}

static void on_planned(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	if (!runner_request_failed(r, e)) {
		runner_send(r,
			catalog_scans(
				request, &r->keyset, r->preflight.seqscan_off),
			on_scans);
	}
}

static void send_plan(struct runner *r)
{
	struct fence fence = runner_fence(r);
	const struct keyset_window window = {
		.lo = &r->job.cursor,
		.hi = &r->window_hi,
		.rows_read = WINDOW_ROWS,
		.size = WINDOW_ROWS,
	};

	if (r->preflight.pages < SMALL_TABLE_PAGES) {
		well(r);
		return;
	}
	runner_send(r,
		catalog_plan(
			&r->keyset, &fence, &window, r->preflight.seqscan_off),
		on_planned);
}

/* ---- window and sample ---- */

static void on_sampled(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	/* An error of the server only ends the sample. */
	if (r->abandoned ||
		(e != NULL && e->code != BFE_SQL &&
			runner_request_failed(r, e))) {
		return;
	}
	catalog_read_sample(request, e, &r->preflight);
	send_plan(r);
}

static void on_window(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };

	if (runner_request_failed(r, e)) {
		return;
	}
	work_read_window(request, &r->window_hi, &ev);
	if (r->window_hi.count == 0) {
		well(r);
	} else if (r->keyset.from_clause != NULL) {
		runner_send(r,
			catalog_sample(
				&r->keyset, &r->job.cursor, &r->window_hi),
			on_sampled);
	} else {
		send_plan(r);
	}
}

/* The first rows that are still ahead. */
static void send_window(struct runner *r)
{
	int64_t timeout_ms = r->statement_timeout_ms;

	runner_send(r,
		work_window(&r->keyset, &r->job.cursor, &r->job.hi, WINDOW_ROWS,
			(uint64_t)(timeout_ms + DEADLINE_MARGIN_MS)),
		on_window);
}

/* ---- the key after a retry ---- */

/* The index that the job began with may be gone by then. */
static int needs_key(const struct runner *r)
{
	return r->job.begun && r->job.key_index_oid == 0;
}

static void on_key_adopted(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	(void)request;
	if (!runner_request_failed(r, e)) {
		send_window(r);
	}
}

/* ---- check ---- */

static void on_checked(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct fence fence = runner_fence(r);
	struct err failure;

	if (r->abandoned) {
		return;
	}
	if (catalog_read_check(request, &r->keyset, e, &failure) != 0) {
		(void)runner_request_failed(r, &failure);
		return;
	}
	if (r->columns.count == 0 && !r->job.is_delete) {
		err_set(&failure, BFE_SQL,
			"set_clause is of a form that cannot be checked");
		memcpy(failure.sqlstate, "0A000", 6);
		err_set_hint(&failure,
			"Write: column = expression, …, without"
			" Unicode escapes in names.");
		(void)runner_request_failed(r, &failure);
		return;
	}
	if (r->job.finished) {
		well(r);
	} else if (needs_key(r)) {
		runner_send(
			r, work_adopt_key(&fence, &r->keyset), on_key_adopted);
	} else {
		send_window(r);
	}
}

/* ---- describe ---- */

/* What the job began with must be what is there now. */
static int check_identity(const struct runner *r, struct err *e)
{
	const char *signature = r->preflight.key_signature;

	if (!r->job.begun || r->job.finished) {
		return 0;
	}
	if (r->keyset.table_oid != r->job.target_oid ||
		(!needs_key(r) &&
			r->keyset.index_oid != r->job.key_index_oid)) {
		err_set(e, BFE_SQL,
			"table %s or its key is not the one that job %lld began"
			" with",
			r->job.target, (long long)r->claim.job_id);
		err_set_detail(e,
			"Its OID was %u and is %u, its key index's OID was %u"
			" and is %u.",
			r->job.target_oid, r->keyset.table_oid,
			r->job.key_index_oid, r->keyset.index_oid);
	} else if (r->job.key_signature != NULL &&
		strcmp(r->job.key_signature, signature) != 0) {
		err_set(e, BFE_SQL,
			"the key of table %s has not the order that job %lld"
			" began with",
			r->job.target, (long long)r->claim.job_id);
		err_set_detail(e, "It was: %s; it is: %s.",
			r->job.key_signature, signature);
		err_set_hint(e,
			"REINDEX the index of the key, then submit the job"
			" anew: in another order, rows may have come to stand"
			" behind the place that it reached.");
	} else if (!needs_key(r) &&
		r->keyset.archive_oid != r->job.archive_oid) {
		err_set(e, BFE_SQL,
			"archive table %s is not the one that job %lld began"
			" with",
			r->job.archive_table, (long long)r->claim.job_id);
		err_set_detail(e,
			"It was dropped or renamed; its OID was %u and is"
			" %u.",
			r->job.archive_oid, r->keyset.archive_oid);
		err_set_hint(e,
			"The rows that were deleted are in that table;"
			" backfill.retry(%lld) goes on with the one that bears"
			" the name by then.",
			(long long)r->claim.job_id);
	} else {
		return 0;
	}
	memcpy(e->sqlstate, "BF022", 6);
	return e->code;
}

int runner_check_key(
	const struct runner *r, const struct key *key, struct err *e)
{
	if (key->count == 0 || key->count == r->keyset.count) {
		return 0;
	}
	err_set(e, BFE_SQL, "a saved key of job %lld does not fit its table",
		(long long)r->claim.job_id);
	memcpy(e->sqlstate, "BF022", 6);
	err_set_detail(e, "It has %d columns, the table's key has %d.",
		key->count, r->keyset.count);
	return e->code;
}

static void on_described(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct fence fence = runner_fence(r);
	struct err failure;

	if (runner_request_failed(r, e)) {
		return;
	}
	if (catalog_read_describe(request, &r->job, &r->columns, &r->keyset,
		    &r->preflight, &failure) != 0 ||
		check_identity(r, &failure) != 0 ||
		runner_check_key(r, &r->job.cursor, &failure) != 0 ||
		runner_check_key(r, &r->job.hi, &failure) != 0) {
		(void)runner_request_failed(r, &failure);
		return;
	}
	runner_send(r, catalog_check(&r->job, &r->keyset, &fence), on_checked);
}

/* ---- resolve ---- */

static void on_resolved(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct err failure;

	if (runner_request_failed(r, e)) {
		return;
	}
	if (catalog_read_resolve(request, &r->job, &r->keyset, &failure) != 0) {
		(void)runner_request_failed(r, &failure);
		return;
	}
	if (!r->job.is_delete &&
		setlist_parse(&r->columns, r->job.set_clause) != 0) {
		setlist_close(&r->columns);
	}
	runner_send(r, catalog_describe(&r->job, &r->keyset, &r->columns),
		on_described);
}

/* After each connect: what an earlier session found is gone. */
void runner_preflight(struct runner *r)
{
	keyset_close(&r->keyset);
	setlist_close(&r->columns);
	preflight_close(&r->preflight);
	preflight_init(&r->preflight);
	runner_send(r, catalog_resolve(&r->job), on_resolved);
}
