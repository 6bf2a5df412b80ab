/* catalog.h: what the catalog says about a job's target, and whether its
 * clauses mean what they seem to mean. The preflight of a job, in three
 * round trips on the runner connection:
 *   1. catalog_resolve: the target's OID under the submitter's search_path;
 *   2. catalog_describe: the relation, its key, the columns that SET names,
 *      read with search_path = pg_catalog, so that names come qualified;
 *   3. catalog_check: the clauses, parsed apart and together. EXPLAIN of
 *      the batch checks privileges too and runs nothing.
 * Each reader returns 0, or fills e in PostgreSQL's style. */
#ifndef BACKFILL_STORE_CATALOG_H
#define BACKFILL_STORE_CATALOG_H

#include <stdint.h>

#include "base/err.h"
#include "pg/pgc.h"
#include "rules/keyset.h"
#include "rules/setlist.h"
#include "store/work.h"

struct pgc_request *catalog_resolve(const struct work_job *j);
int catalog_read_resolve(const struct pgc_request *r, const struct work_job *j,
	uint32_t *oid, struct err *e);

/* columns may be empty: a clause that could not be read. */
struct pgc_request *catalog_describe(
	const struct work_job *j, uint32_t oid, const struct setlist *columns);
/* Fills k, clauses and prefix too. */
int catalog_read_describe(const struct pgc_request *r, const struct work_job *j,
	const struct setlist *columns, struct keyset *k, struct err *e);

struct pgc_request *catalog_check(const struct work_job *j,
	const struct keyset *k, const struct fence *fence);
/* error: the request's own, or NULL. */
int catalog_read_check(const struct pgc_request *r, const struct keyset *k,
	const struct err *error, struct err *e);

#endif
