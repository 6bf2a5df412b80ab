/* pace.h: may a batch begin, and when? Pure: samples of the standbys and
 * times go in, a reason to hold or a pause comes out.
 *
 * Two things are decided here.
 *
 * Whether: no batch begins while the lag of a standby is above its limit or
 * unknown; once held, not before it is below half of it (promise P4). A batch
 * in flight is not called back, so the lag may exceed the limit by what one
 * batch and one sample add to it.
 *
 * How fast: below the limit the jobs share a rate of WAL, in bytes per
 * second. Turning work on and off at the limit would overshoot it by
 * (delay of the measurement) * (how much faster we write than the standby
 * replays); so the rate aims at half the limit:
 *
 *	allowed = rate * min(1.5, 2 * (1 - lag / limit))
 *
 * which makes the lag settle by itself where rate is what the standby can
 * replay beside the work of others. That is learnt from the standby: while it
 * is behind, what it replays per second is all that it can. While it is not,
 * nobody knows what it could, and the rate grows: doubled each second at
 * first, later by a fifth, and only while it was what made us wait.
 *
 * Several daemons of one database share the rate (backfill.budget): each
 * changes it for the time since its last change, whoever made that, so that
 * three of them turn it no faster than one. */
#ifndef BACKFILL_RULES_PACE_H
#define BACKFILL_RULES_PACE_H

#include "base/text.h"
#include "rules/lag.h"

enum {
	/* Of a sample: older ones tell nothing. No older than the limit, but
	 * for the least. */
	PACE_MAX_AGE_MS = 2000,
	PACE_MIN_AGE_MS = 500,
	PACE_LEAST_BATCH_BYTES = 64 * 1024
};

struct pace_sample {
	uint64_t now_ms; /* when it was asked for: not later than it is true */
	int64_t lsn;	 /* of the primary */
	const struct lag_sample *standbys; /* as many as in pace */

	/* What the daemons share. */
	double rate;	     /* bytes/s; 0: nobody has set one */
	uint64_t rate_ms;    /* time since the last change but one */
	int64_t spent_bytes; /* WAL of batches so far, of all daemons */
	int my_jobs;
	int all_jobs;
};

struct pace {
	struct lag_standby *standbys; /* the caller's, zeroed but for names */
	size_t count;		      /* 0: nothing is paced */
	int64_t limit_ms; /* max_replication_lag, the lowest of those at work */
	int64_t optional_timeout_ms;

	/* read-only */
	double rate; /* to be shared, from the last sample on */

	/* private */
	struct lag_history history;
	int has_sample;
	uint64_t sampled_ms;
	double share;
	double lag; /* the worst known one, in limits */
	int is_learning;
	int was_short;	  /* the rate made a batch wait since the sample */
	double debt;	  /* bytes written ahead of the rate */
	uint64_t debt_ms; /* when that was */
	int64_t last_lsn;
	int64_t last_spent;
	size_t worst; /* the standby that the next is about */
	int64_t last_replay_lsn;
	double others; /* bytes/s that others write, on average */
};

/* standbys: borrowed, with name and is_optional set and all else 0. */
void pace_init(struct pace *p, struct lag_standby *standbys, size_t count);

/* What was known is no more: the connection was lost, or nobody has asked for
 * a while. */
void pace_forget(struct pace *p);

/* Changes rate, for the caller to share. */
void pace_sample(struct pace *p, const struct pace_sample *s);

/* Whether work is held back, of a job that may have a limit of its own and may
 * have been held before: 0, or a number that stays the same while the causes
 * do, and why in reason, which is emptied first. */
unsigned pace_is_held(const struct pace *p, uint64_t now_ms, int64_t limit_ms,
	int was_held, struct text *reason);

/* Whether its lag is known, or known to be above the limit. */
int pace_knows(const struct lag_standby *s, int64_t limit_ms);

/* The same, of a sample that is not too old. */
int pace_sees(const struct pace *p, const struct lag_standby *s,
	uint64_t now_ms, int64_t limit_ms);

/* Whether this standby is among the causes. */
int pace_holds(const struct pace *p, const struct lag_standby *s,
	uint64_t now_ms, int64_t limit_ms, int was_held);

/* A batch wrote so much. */
void pace_spend(struct pace *p, uint64_t now_ms, int64_t wal_bytes);

/* Time until the rate allows the next batch; 0: now. */
uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms);

/* WAL that a batch should write at most: a tenth of what the limit's time
 * allows, so that one alone is not much of a lag; INT64_MAX: anything. */
int64_t pace_batch_bytes(const struct pace *p);

/* Bytes per second allowed to this daemon; 0: no bound. */
double pace_allowed(const struct pace *p);

/* "the standbys allow 120 kB/s of WAL: replay lag 2.4 s, limit 5 s" */
void pace_describe(const struct pace *p, char *buffer, size_t size);

#endif
