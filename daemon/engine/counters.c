#include "engine/counters.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char CONNECTION_CLASS[] = "08";

const double counters_bounds[COUNTERS_BOUNDS] = { 0.01, 0.025, 0.05, 0.1, 0.25,
	0.5, 1, 2.5, 5, 10, 30 };

void counters_close(struct counters *c)
{
	free(c->jobs);
	memset(c, 0, sizeof *c);
}

void counters_error(struct counters *c, const struct err *e)
{
	const char *sqlstate =
		e->sqlstate[0] != '\0' ? e->sqlstate : CONNECTION_CLASS;
	size_t i = 0;

	while (i < c->errors_count &&
		memcmp(c->errors[i].sqlstate_class, sqlstate, 2) != 0) {
		i++;
	}
	if (i == COUNTERS_CLASSES) {
		return;
	}
	if (i == c->errors_count) {
		memcpy(c->errors[i].sqlstate_class, sqlstate, 2);
		c->errors_count++;
	}
	c->errors[i].count++;
}

static struct batch_times *times_of(struct counters *c, int64_t job_id)
{
	struct batch_times *oldest = NULL;

	for (size_t i = 0; i < c->jobs_count; i++) {
		struct batch_times *t = &c->jobs[i];

		if (t->job_id == job_id) {
			return t;
		}
		if (oldest == NULL || t->used < oldest->used) {
			oldest = t;
		}
	}
	if (c->jobs_count < COUNTERS_JOBS) {
		c->jobs = mem_resize(
			c->jobs, (c->jobs_count + 1) * sizeof *c->jobs);
		oldest = &c->jobs[c->jobs_count++];
	}
	memset(oldest, 0, sizeof *oldest);
	oldest->job_id = job_id;
	return oldest;
}

void counters_batch(struct counters *c, int64_t job_id, uint64_t elapsed_us)
{
	struct batch_times *t = times_of(c, job_id);
	double seconds = (double)elapsed_us / 1e6;
	size_t i = 0;

	while (i < COUNTERS_BOUNDS && seconds > counters_bounds[i]) {
		i++;
	}
	t->buckets[i]++;
	t->count++;
	t->sum_seconds += seconds;
	t->used = ++c->used;
}
