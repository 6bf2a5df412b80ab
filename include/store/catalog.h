/* catalog.h: what the catalog says about a job's target, and whether its
 * clauses mean what they seem to mean. The preflight of a job, in these
 * round trips on the runner connection:
 *   1. catalog_resolve: the OIDs of the target and the archive under the
 *      submitter's search_path;
 *   2. catalog_describe: what the clauses call; the relation, its key, the
 *      columns that change, and what hangs on them: rules, triggers, foreign
 *      keys, indexes. These are read with search_path = pg_catalog, so that
 *      names come qualified; then whether the archive takes the rows;
 *   3. catalog_check: the clauses, parsed apart and together. EXPLAIN of
 *      the batch checks privileges too and runs nothing;
 *   4. a first window of keys (work_window), and over it
 *      catalog_sample: whether rows have several matches in from_clause;
 *      catalog_plan and catalog_scans: whether a batch reads the table by
 *      its key; if not, once more with the planner's other ways barred.
 * Each reader returns 0, or fills e in PostgreSQL's style. */
#ifndef BACKFILL_STORE_CATALOG_H
#define BACKFILL_STORE_CATALOG_H

#include <stdint.h>

#include "base/err.h"
#include "pg/pgc.h"
#include "rules/keyset.h"
#include "rules/setlist.h"
#include "store/work.h"

/* What a preflight found; owned by the runner. */
struct preflight {
	struct text findings;	/* a line each, for people */
	int may_wait;		/* a batch may wait for locks of others */
	int seqscan_off;	/* the planner must be kept from a full scan */
	int refers_to_itself;	/* a delete may meet rows that others need */
	char *key_signature;	/* of the key: what makes its order */
	char *before_triggers;	/* BEFORE ROW: "a, b"; NULL: none */
	char *archive_triggers; /* the same of the archive */
	char *moves_by;		/* "where_clause calls now()": an update is not
				 * to be swept; NULL: nothing of the kind */
	int64_t pages;		/* of the table */
	int fillfactor;
};

void preflight_init(struct preflight *p);
void preflight_close(struct preflight *p);

/* Add a finding, up to 2000 bytes of one line. */
void preflight_tell(struct preflight *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

struct pgc_request *catalog_resolve(const struct work_job *j);
/* Fills table_oid and archive_oid of k; 42P01 when one is not there. */
int catalog_read_resolve(const struct pgc_request *r, const struct work_job *j,
	struct keyset *k, struct err *e);

/* columns may be empty: a delete, or a clause that could not be read. */
struct pgc_request *catalog_describe(const struct work_job *j,
	const struct keyset *k, const struct setlist *columns);
/* Fills k, clauses and prefix too, and p. */
int catalog_read_describe(const struct pgc_request *r, const struct work_job *j,
	const struct setlist *columns, struct keyset *k, struct preflight *p,
	struct err *e);

struct pgc_request *catalog_check(const struct work_job *j,
	const struct keyset *k, const struct fence *fence);
/* error: the request's own, or NULL. */
int catalog_read_check(const struct pgc_request *r, const struct keyset *k,
	const struct err *error, struct err *e);

/* Over the rows in (lo, hi], for two seconds at most. Its failure is a
 * finding, too: error is the request's own, or NULL. */
struct pgc_request *catalog_sample(
	const struct keyset *k, const struct key *lo, const struct key *hi);
void catalog_read_sample(const struct pgc_request *r, const struct err *error,
	struct preflight *p);

/* seqscan_off: bar other ways to the rows than the key's index, for as long
 * as the session lasts. */
struct pgc_request *catalog_plan(const struct keyset *k,
	const struct fence *fence, const struct keyset_window *window,
	int seqscan_off);
/* The scans of the target in that plan; seqscan_off as then. */
struct pgc_request *catalog_scans(const struct pgc_request *planned,
	const struct keyset *k, int seqscan_off);
/* BF028 when one of them has no condition on an index. */
int catalog_read_scans(const struct pgc_request *r, const struct keyset *k,
	struct preflight *p, struct err *e);

#endif
