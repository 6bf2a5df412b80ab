/* pacer.h: looks at the standbys of one database for as long as jobs run
 * there, and tells them whether and when a batch may begin (rules/pace.h).
 *
 * It asks on the control connection. While that is down, or does not answer,
 * nothing is known of the standbys, and so nobody begins a batch. Where no
 * standby is configured it never asks, and everybody may. */
#ifndef BACKFILL_ENGINE_PACER_H
#define BACKFILL_ENGINE_PACER_H

#include "base/text.h"
#include "engine/host.h"
#include "rules/lag.h"

struct pacer;

/* One job that runs. The pacer links it; all but the first three fields are
 * the pacer's. */
struct pacer_client {
	int64_t limit_ms; /* max_replication_lag of its own; 0: none */
	/* It was held and is no more. */
	void (*on_change)(void *data);
	void *data;
	struct pacer_client *next;
	int is_held;
};

/* Borrows host. */
struct pacer *pacer_new(struct host *host);

/* No callback of a client comes any more; cb when the memory is free. */
void pacer_close(struct pacer *p, void (*cb)(void *data), void *data);

/* The control connection was lost: what was known is no more. */
void pacer_forget(struct pacer *p);

void pacer_join(struct pacer *p, struct pacer_client *c);
void pacer_leave(struct pacer *p, struct pacer_client *c);

struct pacer_answer {
	unsigned held; /* 0: no; else the same while the causes are */
	uint64_t wait_ms;
	char paced_by[160];    /* what the rate is, and why */
	int64_t max_wal_bytes; /* of a batch; 0: no bound */
};

/* May a batch begin? Why not is put into reason. */
struct pacer_answer pacer_ask(
	struct pacer *p, struct pacer_client *c, struct text *reason);

/* Each standby, lent, and the lowest limit of the jobs that run; none when no
 * job runs. is_known: how far it is behind, or that it is above the limit. */
typedef void (*pacer_standby_cb)(void *data, const struct lag_standby *s,
	int is_known, int64_t limit_ms);
void pacer_each_standby(const struct pacer *p, pacer_standby_cb cb, void *data);

/* A batch has ended that wrote so much. */
void pacer_spend(struct pacer *p, int64_t wal_bytes);

#endif
