/* runner.h: carries one claimed job through, as rules/run.h decides. */
#ifndef BACKFILL_ENGINE_RUNNER_H
#define BACKFILL_ENGINE_RUNNER_H

#include "engine/host.h"
#include "store/queue.h"

struct runner;

/* The runner is gone, whatever became of its job. Called once. */
typedef void (*runner_end_cb)(void *data, struct runner *r);

/* Start on a fresh claim. Borrows host, which must outlive it. */
struct runner *runner_start(struct host *host, const struct queue_claim *claim,
	runner_end_cb on_end, void *data);

/* Finish the batch in flight, give the job back, end. */
void runner_stop(struct runner *r);

/* Let go at once: the lease will end, or another run of us take it up. The
 * control connection must be closed for the runner to end. */
void runner_abandon(struct runner *r);

/* The job's state in the queue changed, or all work is stopped: find out now,
 * not after a pause; why_not tells. cancelled: the statement in flight is
 * cancelled too. */
void runner_wake(struct runner *r, int cancelled, const char *why_not);

/* max_replication_lag of the job's own, which may have changed; 0: none. */
void runner_limit_lag(struct runner *r, int64_t limit_ms);

/* The daemon's lease was renewed: who was held for it asks again. */
void runner_renewed(struct runner *r);

int64_t runner_job(const struct runner *r);
int64_t runner_epoch(const struct runner *r);

/* Whether it waits for something that its reason names. */
int runner_is_held(const struct runner *r);

#endif
