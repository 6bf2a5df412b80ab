/* The pacer against a model of a primary and its standby: how far the lag
 * goes, and how much of the standby's capacity is used. The model is simple
 * on purpose (WAL as a fluid, replay at a capacity that may pause); `make
 * bench-lag` shows the same on real servers. */

#include "rules/pace.h"

#include <string.h>

#include "cmocka_all.h"

enum { STEP_MS = 10, HISTORY = 20000, MOST_DAEMONS = 3 };

struct scene {
	int64_t limit_ms;
	double capacity;    /* of the standby, bytes/s */
	double unpaced;	    /* what a batch writes, bytes/s */
	int stops_every_ms; /* the standby stops replaying … */
	int stopped_ms;	    /* … for so long */
	double application; /* WAL of others, bytes/s … */
	double rush;	    /* … and between a third and two thirds */
	int seconds;
	int daemons;
};

struct outcome {
	double peak_limits; /* the greatest lag, in limits */
	double used;	    /* of what the application leaves */
};

struct daemon {
	struct pace p;
	struct lag_standby standby;
	uint64_t next_sample_ms;
	double batch_bytes; /* of the batch in flight; 0: none … */
	double left_bytes;  /* … and of it, not written yet */
	int is_held;
};

struct world {
	const struct scene *scene;
	struct daemon daemons[MOST_DAEMONS];
	uint64_t now_ms;
	double wal, replayed, ours;
	double passed[HISTORY]; /* the WAL's position, every STEP_MS */
	double rate;
	uint64_t rate_set_ms;
	struct outcome seen;
};

static double application(const struct world *w)
{
	const struct scene *s = w->scene;
	uint64_t third_ms = (uint64_t)s->seconds * 1000 / 3;

	return w->now_ms > third_ms && w->now_ms < 2 * third_ms && s->rush > 0
		? s->rush
		: s->application;
}

static double capacity(const struct world *w)
{
	const struct scene *s = w->scene;

	return s->stops_every_ms > 0 &&
			w->now_ms % (uint64_t)s->stops_every_ms <
				(uint64_t)s->stopped_ms
		? 0
		: s->capacity;
}

static double lag_ms(const struct world *w)
{
	size_t i = (size_t)(w->now_ms / STEP_MS);

	while (i > 0 && w->passed[i] > w->replayed + 1) {
		i--;
	}
	return w->replayed + 1 >= w->wal ? 0
					 : (double)(w->now_ms - i * STEP_MS);
}

static void sample(struct world *w, struct daemon *d)
{
	uint64_t interval_ms = (uint64_t)w->scene->limit_ms / 10;
	struct lag_sample standby = {
		.connections = 1,
		.state = "streaming",
		.replay_lsn = (int64_t)w->replayed,
		.replay_lag_ms = LAG_NONE,
		.replied_at_us = (int64_t)w->now_ms,
		.kept_bytes = LAG_NONE,
	};
	struct pace_sample s = {
		.now_ms = w->now_ms,
		.lsn = (int64_t)w->wal,
		.standbys = &standby,
		.rate = w->rate,
		.rate_ms = w->now_ms - w->rate_set_ms,
		.spent_bytes = (int64_t)w->ours,
		.my_jobs = 1,
		.all_jobs = w->scene->daemons,
	};

	if (w->now_ms < d->next_sample_ms) {
		return;
	}
	d->next_sample_ms = w->now_ms + (interval_ms < 500 ? interval_ms : 500);
	pace_sample(&d->p, &s);
	w->rate = d->p.rate;
	w->rate_set_ms = w->now_ms;
}

static void work(struct world *w, struct daemon *d, struct text *reason)
{
	double most = (double)pace_batch_bytes(&d->p);

	double written = w->scene->unpaced * STEP_MS / 1000;

	if (d->batch_bytes > 0) {
		written = written < d->left_bytes ? written : d->left_bytes;
		w->wal += written;
		d->left_bytes -= written;
		if (d->left_bytes > 0) {
			return;
		}
		w->ours += d->batch_bytes;
		pace_spend(&d->p, w->now_ms, (int64_t)d->batch_bytes);
		d->batch_bytes = 0;
	}
	d->is_held = pace_is_held(&d->p, w->now_ms, w->scene->limit_ms,
			     d->is_held, reason) != 0;
	if (d->is_held || pace_wait_ms(&d->p, w->now_ms) > 0) {
		return;
	}
	/* As target_batch_time has it: 250 ms. */
	if (most > w->scene->unpaced / 4) {
		most = w->scene->unpaced / 4;
	}
	d->batch_bytes = most;
	d->left_bytes = most;
}

static void replay(struct world *w)
{
	double most = w->replayed + capacity(w) * STEP_MS / 1000;

	w->replayed = most < w->wal ? most : w->wal;
}

static void step(struct world *w, struct text *reason)
{
	double limits;

	w->now_ms += STEP_MS;
	w->wal += application(w) * STEP_MS / 1000;
	for (int i = 0; i < w->scene->daemons; i++) {
		sample(w, &w->daemons[i]);
		work(w, &w->daemons[i], reason);
	}
	w->passed[w->now_ms / STEP_MS] = w->wal;
	replay(w);
	limits = lag_ms(w) / (double)w->scene->limit_ms;
	if (limits > w->seen.peak_limits) {
		w->seen.peak_limits = limits;
	}
}

static struct outcome play(const struct scene *scene)
{
	static struct world w;
	struct text reason;
	double spare = 0;

	memset(&w, 0, sizeof w);
	text_init(&reason);
	w.scene = scene;
	for (int i = 0; i < scene->daemons; i++) {
		struct daemon *d = &w.daemons[i];

		d->standby.name = "standby1";
		pace_init(&d->p, &d->standby, 1);
		d->p.limit_ms = scene->limit_ms;
	}
	while (w.now_ms < (uint64_t)scene->seconds * 1000) {
		step(&w, &reason);
		spare += capacity(&w) - application(&w);
	}
	text_close(&reason);
	w.seen.used = w.ours / (spare * STEP_MS / 1000);
	return w.seen;
}

static void expect(struct scene scene, double peak_limits, double used)
{
	struct outcome o;

	scene.seconds = 180;
	scene.daemons = scene.daemons > 0 ? scene.daemons : 1;
	o = play(&scene);
	print_message("peak %.2f limits, %.0f %% used\n", o.peak_limits,
		o.used * 100);
	assert_true(o.peak_limits <= peak_limits);
	assert_true(o.used >= used);
}

/* Three times as fast as the standby, as on any primary with one process to
 * replay what many write. Turned on and off at the limit this overshoots to
 * seven times the limit. */
static void test_slow_standby(void **state)
{
	(void)state;
	expect(
		(struct scene){
			.limit_ms = 5000, .capacity = 20e6, .unpaced = 60e6 },
		1, 0.9);
	expect(
		(struct scene){
			.limit_ms = 2000, .capacity = 20e6, .unpaced = 60e6 },
		1, 0.9);
	expect(
		(struct scene){
			.limit_ms = 5000, .capacity = 2e6, .unpaced = 60e6 },
		1, 0.9);
}

/* The application's load goes up to nine tenths of what can be replayed. */
static void test_rush_of_the_application(void **state)
{
	(void)state;
	expect((struct scene){ .limit_ms = 5000,
		       .capacity = 20e6,
		       .unpaced = 60e6,
		       .application = 2e6,
		       .rush = 18e6 },
		1.1, 0.9);
	expect((struct scene){ .limit_ms = 2000,
		       .capacity = 20e6,
		       .unpaced = 60e6,
		       .application = 2e6,
		       .rush = 18e6 },
		1.25, 0.85);
}

static void test_replay_in_bursts(void **state)
{
	(void)state;
	expect((struct scene){ .limit_ms = 5000,
		       .capacity = 40e6,
		       .unpaced = 60e6,
		       .stops_every_ms = 1000,
		       .stopped_ms = 800 },
		1, 0.8);
	expect((struct scene){ .limit_ms = 5000,
		       .capacity = 40e6,
		       .unpaced = 60e6,
		       .stops_every_ms = 4000,
		       .stopped_ms = 3200 },
		1.1, 0.6);
}

static void test_fast_standby(void **state)
{
	(void)state;
	expect(
		(struct scene){
			.limit_ms = 5000, .capacity = 600e6, .unpaced = 60e6 },
		0.1, 0.085);
}

/* Together no more than one, and no less. */
static void test_three_daemons(void **state)
{
	(void)state;
	expect((struct scene){ .limit_ms = 5000,
		       .capacity = 20e6,
		       .unpaced = 60e6,
		       .daemons = 3 },
		1, 0.9);
	expect((struct scene){ .limit_ms = 5000,
		       .capacity = 2e6,
		       .unpaced = 60e6,
		       .daemons = 3 },
		1, 0.9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_standby),
		cmocka_unit_test(test_rush_of_the_application),
		cmocka_unit_test(test_replay_in_bursts),
		cmocka_unit_test(test_fast_standby),
		cmocka_unit_test(test_three_daemons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
