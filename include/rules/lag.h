/* lag.h: how far a standby's replay is behind, in time. Pure.
 *
 * pg_stat_replication.replay_lag alone does not tell: it is NULL when nothing
 * was replayed lately, whether there was nothing to replay or nothing came
 * (PostgreSQL docs, 28.2.4: "the lag times … are not predictions"). So we
 * measure for ourselves: we note where the primary's WAL was and when, and
 * how long ago it passed the position that the standby has replayed is its
 * lag. The larger of the two counts. The server's alone is not always enough:
 * until a standby that connected anew has replayed something written since,
 * replay_lag is the time since then, however old what it replays. Where
 * neither tells, the lag is unknown, which is never taken for 0. */
#ifndef BACKFILL_RULES_LAG_H
#define BACKFILL_RULES_LAG_H

#include <stddef.h>
#include <stdint.h>

enum {
	LAG_HISTORY = 256, /* positions that are kept */
	/* Between two looks; where more passes, nobody knows when the WAL was
	 * written. */
	LAG_MAX_GAP_MS = 2000,
	/* Twice the default of wal_receiver_status_interval: a standby that
	 * has said nothing for so long may have received nothing either. */
	LAG_SILENT_MS = 20000
};

#define LAG_NONE INT64_C(-1) /* of a position or a time: NULL */

/* Where the primary's WAL was, oldest first. What is old is kept more
 * coarsely. Starts as all zeros. */
struct lag_history {
	struct {
		int64_t lsn;
		uint64_t at_ms;
		int is_after_gap;
	} entries[LAG_HISTORY];
	size_t count;
	uint64_t looked_ms;
};

/* A position before the last one means another server: begins anew. */
void lag_history_add(struct lag_history *h, int64_t lsn, uint64_t now_ms);

/* How long ago the WAL passed the position, to within the time between two
 * entries, never more; 0: it has not. *at_least: it was before the first
 * entry, or while nobody looked, and may be longer ago. */
int64_t lag_history_ms(const struct lag_history *h, int64_t lsn,
	uint64_t now_ms, int *at_least);

/* What the primary tells of one standby. */
struct lag_sample {
	int connections;
	const char *state;     /* as in pg_stat_replication; NULL: hidden */
	int64_t replay_lsn;    /* or LAG_NONE, as the next two */
	int64_t replay_lag_ms; /* rounded up */
	int64_t connected_ms;  /* for how long; of several the least */
	/* The standby's clock, which may be wrong: what counts is whether it
	 * changes. */
	int64_t replied_at_us;
	int64_t kept_bytes; /* by its slot, while it is not connected */
};

enum lag_cause {
	LAG_KNOWN,
	LAG_NOT_SAMPLED,
	LAG_NOT_CONNECTED,
	LAG_NO_POSITION, /* it replays nothing, or we may not see it */
	LAG_NOT_STREAMING,
	LAG_SILENT,
	LAG_NOT_MEASURED /* behind, and the history does not tell how long */
};

struct lag_standby {
	const char *name; /* borrowed */
	int is_optional;
	enum lag_cause cause;
	int64_t lag_ms;	      /* of LAG_KNOWN and LAG_NOT_MEASURED: at least */
	int64_t behind_bytes; /* or LAG_NONE */
	int64_t kept_bytes;
	char state[16];
	int64_t replay_lsn;
	uint64_t silent_ms;   /* since the last reply */
	uint64_t known_at_ms; /* when it was last known, or first asked for */
	/* private */
	int64_t replied_at_us;
	uint64_t reply_seen_ms;
	int has_replied; /* while we looked */
};

/* A sample of now, whose WAL position is in h already. */
void lag_standby_update(struct lag_standby *s, const struct lag_history *h,
	const struct lag_sample *sample, int64_t lsn, uint64_t now_ms);

/* Why it is unknown, for a reason: "not connected", "no reply for 21 s". */
void lag_describe_cause(const struct lag_standby *s, char *buffer, size_t size);

/* "streaming, 1234567 bytes behind", for people. */
void lag_describe(const struct lag_standby *s, char *buffer, size_t size);

#endif
