/* work_internal.h: what work.c and work_rows.c build their requests with. */
#ifndef BACKFILL_STORE_WORK_INTERNAL_H
#define BACKFILL_STORE_WORK_INTERNAL_H

#include "store/work.h"

/* For statements that touch our own few rows. */
enum { SHORT_DEADLINE_MS = 15000 };

/* A request that begins a transaction; the caller adds its COMMIT. */
struct pgc_request *work_begin(uint64_t deadline_ms);

/* Give the statement to the request; sql is closed. */
void work_add_text(struct pgc_request *r, struct text *sql);

/* "backfill.function(job, range, epoch": the rest is the caller's. */
void work_add_call(
	struct text *sql, const char *function, const struct fence *f);

/* A literal; NULL for none and for an empty text. */
void work_add_value(struct text *sql, const char *value);

/* A key as a text[] literal; no key: NULL. */
void work_add_key(struct text *sql, const struct key *key);

#endif
