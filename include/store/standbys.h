/* standbys.h: what the pacer asks and tells on the control connection, by the
 * functions of daemon/sql/014. Requests are the caller's, for pgc_send() or
 * pgc_discard(). */
#ifndef BACKFILL_STORE_STANDBYS_H
#define BACKFILL_STORE_STANDBYS_H

#include "pg/pgc.h"
#include "rules/pace.h"

/* What a sample tells the other daemons. */
struct standbys_share {
	int my_jobs;
	int64_t spent_bytes; /* since the last one that was heard */
	double rate;
	int64_t version; /* of the rate that this one follows; -1: only ask */
};

/* names: a text[] literal. */
struct pgc_request *standbys_ask(
	int64_t me, const char *names, const struct standbys_share *share);

/* Fill s, but for now_ms and my_jobs, and count samples, which s borrows;
 * their texts are lent by the result. version: for the next share. Returns
 * 0, or BFE_PROTOCOL when the rows are not those that were asked for. */
int standbys_read(const struct pgc_request *r, struct lag_sample *samples,
	size_t count, struct pace_sample *s, int64_t *version, struct err *e);

/* For backfill.signals: the standbys as they are. */
struct pgc_request *standbys_tell(
	int64_t me, const struct pace *p, uint64_t now_ms, int was_held);

#endif
