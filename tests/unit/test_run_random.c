/* A run against a server that answers anything, in any order: it asserts
 * nothing, waits for nothing without saying why, and neither turns in a
 * circle nor goes on for ever. What it does to the rows is looked after in
 * tests/sim. */

#include "run_drive.h"

#include <stdio.h>

enum {
	LIVES = 20000,
	/* From 20000 rows down to one, by reads and batches. */
	MAX_STEPS_WITHOUT_PROGRESS = 60
};

static uint32_t next_random(uint64_t *random)
{
	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*random >> 33);
}

static int one_in(uint64_t *random, uint32_t n)
{
	return next_random(random) % n == 0;
}

static void set_random_key(struct drive *d, struct key *k, uint64_t *random)
{
	char literal[24];

	(void)d;
	(void)snprintf(literal, sizeof literal, "{%d}",
		(int)(next_random(random) % 100000));
	set_key(k, literal);
}

static int runs_the_job(enum run_action a)
{
	return a == RUN_BATCH || a == RUN_BATCH_HOLE || a == RUN_DRAIN_HOLE ||
		a == RUN_DRY_RUN;
}

static void set_random_error(struct drive *d, uint64_t *random)
{
	static const char *const sqlstates[] = { "BF013", "40001", "55P03",
		"57014", "53200", "53100", "57P01", "23514", "23503", "P0001",
		"BF014", "42P01", "BF010", "BF011", "BF026" };
	/* Those that end a run are rare. */
	size_t which = next_random(random) %
		(one_in(random, 10) ? COUNT(sqlstates) : 11);

	err_set(&d->error, BFE_SQL, "oh");
	memcpy(d->error.sqlstate, sqlstates[which], 6);
	d->ev.error = &d->error;
	d->ev.of_job = runs_the_job(run_current(&d->r)) && !one_in(random, 4);
	if (one_in(random, 2)) {
		d->ev.blockers = "pid 5 (joe)";
	}
}

static void set_random_answer(struct drive *d, uint64_t *random)
{
	struct run_event *ev = &d->ev;
	struct run *r = &d->r;
	int is_hole = run_current(r) == RUN_READ_HOLE;
	int64_t asked = run_current(r) == RUN_BATCH ? r->next_limit : r->limit;

	ev->seq = next_random(random) % 100;
	ev->is_delete = one_in(random, 2);
	ev->is_dry_run = one_in(random, 20);
	ev->records_errors = !one_in(random, 3);
	ev->holes_first = one_in(random, 3);
	ev->refers_to_itself = one_in(random, 2);
	ev->pass = (int)(next_random(random) % 4);
	ev->finished = one_in(random, 20);
	ev->epoch = 8;
	ev->waits_for = one_in(random, 3) ? "pid 6 (ann)" : NULL;
	ev->rows_left = one_in(random, 2) ? 0 : next_random(random) % 3000;
	ev->wait_cap_us = one_in(random, 2) ? 0 : 450000;
	if (!one_in(random, 3)) {
		set_random_key(d, &d->hi, random);
	}
	if (!one_in(random, 3)) {
		set_random_key(d, &d->cursor, random);
	}
	if (!one_in(random, is_hole ? 8 : 30)) {
		set_random_key(d, &d->window_hi, random);
		ev->window_rows = one_in(random, 3)
			? 1 + next_random(random) % (asked + 1)
			: asked + (asked == 0);
	}
	ev->sample = (struct size_sample){
		.rows_read = r->window_rows,
		.rows_changed = r->window_rows / 2,
		.elapsed_us = 1 + next_random(random) % 1000000,
	};
	if (run_current(r) == RUN_NEXT_HOLE && !one_in(random, 3)) {
		d->hole.id = r->holes_descend ? r->hole.id - 1 : r->hole.id + 1;
		d->hole.is_window = one_in(random, 3);
		d->hole.age_ms = next_random(random) % 3000000;
		set_random_key(d, &d->hole.hi, random);
		ev->hole = &d->hole;
	}
}

/* A batch over more rows than one, as far as is known. */
static int is_many(const struct run *r)
{
	return (run_current(r) == RUN_BATCH ||
		       run_current(r) == RUN_BATCH_HOLE) &&
		r->window_rows != 1;
}

static void live(uint64_t seed)
{
	uint64_t random = seed;
	uint32_t trouble = 2 + next_random(&random) % 10;
	int still = 0;
	struct drive d;

	start(&d, &usual);
	for (int i = 0; i < 500 && run_current(&d.r) != RUN_END; i++) {
		enum run_action was = run_current(&d.r);
		int64_t seq = d.r.seq;

		set_random_answer(&d, &random);
		if (one_in(&random, trouble)) {
			set_random_error(&d, &random);
		}
		d.ev.stop_asked = one_in(&random, 300);
		d.ev.random = next_random(&random) * 2;
		step(&d, "x");
		if (run_current(&d.r) == RUN_WAIT) {
			assert_true(d.r.pause_ms > 0);
			assert_string_not_equal(d.r.reason, "");
		}
		if (was == RUN_WAIT || d.r.seq != seq) {
			still = 0;
		}
		if (++still > MAX_STEPS_WITHOUT_PROGRESS) {
			fail_msg("seed %d: %s", (int)seed, d.trace.data);
		}
		if (run_current(&d.r) == RUN_SET_ASIDE) {
			assert_true(d.r.aside.key.count > 0);
		}
		if (run_current(&d.r) == RUN_READ_WINDOW) {
			assert_true(d.r.limit > 0);
			assert_true(d.r.limit <= d.r.size.rows);
		}
		if (d.r.is_slow && is_many(&d.r)) {
			fail_msg("seed %d: %s", (int)seed, d.trace.data);
		}
		if (run_current(&d.r) == RUN_BATCH) {
			assert_true(d.r.next_limit > 0);
			assert_true(d.r.window_rows > 0);
		}
	}
	end(&d);
}

static void test_any_answer(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < LIVES; seed++) {
		live(seed);
	}
}

/* Nothing but trouble ends in time. */
static void test_nothing_but_trouble(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 2000; seed++) {
		uint64_t random = seed;
		struct drive d;
		int steps = 0;

		if (seed % 2 == 0) {
			start_tree(&d, 1000, 1);
		} else {
			start_batches(&d);
		}
		while (run_current(&d.r) != RUN_END) {
			enum run_action now = run_current(&d.r);

			assert_true(++steps < 3000);
			if (now == RUN_BATCH || now == RUN_SET_ASIDE ||
				now == RUN_NEXT_HOLE || now == RUN_BATCH_HOLE ||
				now == RUN_DRAIN_HOLE) {
				set_random_error(&d, &random);
				d.ev.of_job = runs_the_job(now);
			} else {
				set_random_answer(&d, &random);
				d.ev.finished = 0;
				d.ev.is_dry_run = 0;
			}
			d.ev.random = UINT32_MAX;
			step(&d, "x");
			text_reset(&d.trace);
		}
		end(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_answer),
		cmocka_unit_test(test_nothing_but_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
