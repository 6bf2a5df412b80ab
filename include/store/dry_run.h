/* dry_run.h: what a job would do to its first rows, found out without
 * touching them. The rows of the first window are copied into a temporary
 * table, in a transaction that ends with ROLLBACK; the job's statement runs
 * on the copy, which bears the target's name as its alias, so that clauses
 * mean in it what they mean in a batch. From the moment the copy is made the
 * transaction is READ ONLY, which spares temporary tables alone: whatever
 * functions the clauses call, nothing but the copy can be written.
 *
 * The copy has the target's types, defaults, generated columns, NOT NULL and
 * CHECK constraints; they act. It has no index, trigger, rule or foreign
 * key: those of the target do not.
 *
 * Round trips on the runner connection, in this order; each reader fills the
 * struct for the next:
 *   look, explain, copy, change, undo, store. */
#ifndef BACKFILL_STORE_DRY_RUN_H
#define BACKFILL_STORE_DRY_RUN_H

#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "pg/pgc.h"
#include "rules/keyset.h"
#include "rules/setlist.h"
#include "store/catalog.h"

struct dry_run_column {
	char *name;  /* quoted */
	char *plain; /* as in pg_attribute */
	int is_made; /* generated: takes no value */
	int is_json; /* a number or boolean: the same in JSON */
};

/* Zeroed before the first use; texts are owned, NULL: none. */
struct dry_run {
	/* Set by the caller. */
	int64_t max_rows; /* of the copy */
	int64_t max_bytes;
	char *statement_timeout; /* the job's own; NULL: the session's */
	uint64_t deadline_ms;

	/* look */
	struct dry_run_column *columns;
	int count;
	int may_cast;
	char *checks; /* actions of ALTER TABLE */
	char *drop_not_null;
	char *unchecked; /* findings */
	char *seqscan;	 /* enable_seqscan as it is */
	char *facts;	 /* JSON, for the forecast */
	char *estimate;	 /* the same: a plan of all rows */
	int64_t window_rows;
	struct key hi; /* of the window; no key: the table is empty */

	/* explain, a line each */
	char *plan;

	/* copy */
	int64_t rows;
	int64_t bytes;
	int64_t size_before; /* of the copy with its TOAST */

	/* change */
	int64_t changed;
	int64_t matching; /* changed, and still of the where_clause */
	char *sample;	  /* JSON */
	uint64_t elapsed_us;

	/* undo */
	int64_t size_after;
};

void dry_run_close(struct dry_run *d);

struct pgc_request *dry_run_look(const struct dry_run *d,
	const struct keyset *k, const struct setlist *columns);
/* 0, or 42501 with the GRANT that is missing. */
int dry_run_read_look(const struct pgc_request *r, struct dry_run *d,
	const struct keyset *k, struct err *e);

struct pgc_request *dry_run_explain(const struct dry_run *d,
	const struct keyset *k, const struct fence *fence);
void dry_run_read_explain(const struct pgc_request *r, struct dry_run *d);

/* Begins the transaction. */
struct pgc_request *dry_run_copy(
	const struct dry_run *d, const struct keyset *k);
void dry_run_read_copy(const struct pgc_request *r, struct dry_run *d);

struct pgc_request *dry_run_change(
	const struct dry_run *d, const struct keyset *k);
void dry_run_read_change(const struct pgc_request *r, struct dry_run *d);

/* An error of the change as the job would have met it: it names the table,
 * not the copy, and quotes no row. */
void dry_run_mend_error(const struct keyset *k, struct err *e);

struct pgc_request *dry_run_undo(
	const struct dry_run *d, const struct keyset *k);
void dry_run_read_undo(const struct pgc_request *r, struct dry_run *d);

/* The report, committed. findings: a line each. */
struct pgc_request *dry_run_store(const struct dry_run *d,
	const struct keyset *k, const struct fence *fence,
	const char *findings);

#endif
