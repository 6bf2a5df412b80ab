/* counters.h: what a daemon counts in one database since its start, for
 * /metrics. Nothing here decides anything. */
#ifndef BACKFILL_ENGINE_COUNTERS_H
#define BACKFILL_ENGINE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	COUNTERS_BOUNDS = 11,  /* of the buckets; one more is for the rest */
	COUNTERS_CLASSES = 48, /* of SQLSTATEs: more than PostgreSQL has */
	COUNTERS_JOBS = 256    /* the last that had a batch */
};

/* Upper bounds of the buckets, in seconds, ascending. */
extern const double counters_bounds[COUNTERS_BOUNDS];

/* How long the batches of a job took, whichever run of it had them. */
struct batch_times {
	int64_t job_id;
	uint64_t buckets[COUNTERS_BOUNDS + 1]; /* each by itself */
	uint64_t count;
	double sum_seconds;
	uint64_t used; /* the larger the later */
};

struct counters {
	uint64_t reconnects; /* of the control connection, after a loss */
	struct {
		char sqlstate_class[3]; /* its first two characters */
		uint64_t count;
	} errors[COUNTERS_CLASSES];
	size_t errors_count;
	struct batch_times *jobs;
	size_t jobs_count;
	uint64_t used;
};

/* Starts as all zeros. */
void counters_close(struct counters *c);

/* An error that a job met. One without an SQLSTATE, a lost connection or a
 * passed deadline, counts as of class 08. */
void counters_error(struct counters *c, const struct err *e);

/* A batch of the job committed. The job unheard of for longest makes room. */
void counters_batch(struct counters *c, int64_t job_id, uint64_t elapsed_us);

#endif
