/* test_sim.c: the core of a job's run against a server, an application and
 * an operator that are simulated (sim.h), seed by seed.
 *
 *   SIM_SEEDS=N    so many seeds, default 2000
 *   SIM_SEED=N     this one alone
 *   SIM_VERBOSE=1  print the trace */

#include "sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_all.h"

enum { USUAL_SEEDS = 2000, FIRST_SEED = 1, HASHED_SEEDS = 50 };

static uint64_t seed_now;

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value != NULL ? strtoull(value, NULL, 10) : otherwise;
}

/* An assertion of the core's ends the program: say where. */
static void on_abort(int number)
{
	char line[80];
	int length = snprintf(line, sizeof line,
		"replay: SIM_SEED=%" PRIu64 " SIM_VERBOSE=1 test_sim\n",
		seed_now);

	(void)number;
	if (write(2, line, (size_t)length) != length) {
		_exit(134);
	}
}

static int walk(struct sim *w, uint64_t seed, int is_verbose)
{
	seed_now = seed;
	if (sim_walk(w, seed, is_verbose) == 0) {
		return 0;
	}
	fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, w->broken);
	fprintf(stderr, "replay: SIM_SEED=%" PRIu64 " SIM_VERBOSE=1 %s\n", seed,
		"test_sim");
	return 1;
}

static double seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_every_seed_keeps_the_promises(void **state)
{
	struct sim *w = sim_new();
	uint64_t one = number_from("SIM_SEED", 0);
	uint64_t first = one != 0 ? one : FIRST_SEED;
	uint64_t count = one != 0 ? 1 : number_from("SIM_SEEDS", USUAL_SEEDS);
	int64_t ended[SIM_CANCELLED + 1] = { 0 };
	int64_t steps = 0;
	double began = seconds();
	int broken = 0;

	(void)state;
	for (uint64_t seed = first; seed < first + count; seed++) {
		broken += walk(w, seed, getenv("SIM_VERBOSE") != NULL);
		ended[w->server.job.state]++;
		steps += w->steps;
	}
	printf("%" PRIu64 " seeds, %.0f per second, %" PRId64 " steps;"
	       " %d succeeded, %d failed, %d cancelled; %d batches, %d holes,"
	       " %d windows, %d set aside, %d sweeps, %d takes, %d lost,"
	       " %d freezes, %d holds, %d retries, %d cancelled for others\n",
		count, (double)count / (seconds() - began + 1e-9), steps,
		(int)ended[SIM_SUCCEEDED], (int)ended[SIM_FAILED],
		(int)ended[SIM_CANCELLED], (int)w->seen.batches,
		(int)w->seen.holes, (int)w->seen.windows, (int)w->seen.aside,
		(int)w->seen.sweeps, (int)w->seen.takes, (int)w->seen.lost,
		(int)w->seen.frozen, (int)w->seen.held, (int)w->seen.retries,
		(int)w->seen.blocked);
	sim_free(w);
	assert_int_equal(broken, 0);
}

static void test_a_seed_is_one_trace(void **state)
{
	struct sim *a = sim_new();
	struct sim *b = sim_new();
	uint64_t last = 0;

	(void)state;
	for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + HASHED_SEEDS;
		seed++) {
		(void)walk(a, seed, 0);
		/* What b did before must not matter. */
		(void)walk(b, FIRST_SEED + HASHED_SEEDS - seed, 0);
		(void)walk(b, seed, 0);
		assert_int_equal(a->hash, b->hash);
		assert_int_equal(a->steps, b->steps);
		assert_true(a->hash != last);
		last = a->hash;
	}
	sim_free(a);
	sim_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_seed_is_one_trace),
		cmocka_unit_test(test_every_seed_keeps_the_promises),
	};

	(void)signal(SIGABRT, on_abort);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
