/* A run of a job of the schema kinds, as golden traces. */

#include "run_drive.h"

/* ---- the ends of its actions ---- */

static void start_schema_job(struct drive *d)
{
	start(d, &usual);
	ok(d);
	d->ev.is_schema_kind = 1;
	step(d, "attached");
}

static void examined(struct drive *d, enum run_way way, const char *told)
{
	d->ev.way = way;
	d->ev.told = told;
	d->ev.takes_lock = 1;
	step(d, told);
}

static void long_step(struct drive *d, const char *told)
{
	d->ev.is_long = 1;
	examined(d, RUN_WAY_ALONE, told);
}

static void nothing_left(struct drive *d)
{
	d->ev.way = RUN_WAY_NONE;
	step(d, "nothing");
}

static void lock_held(struct drive *d)
{
	d->ev.waits_for = "pid 5 (joe) holds AccessShareLock on shop.users";
	step(d, "held");
}

static void at_step(struct drive *d, enum run_way way)
{
	start_schema_job(d);
	d->ev.is_long = way == RUN_WAY_ALONE;
	examined(d, way, "it");
	ok(d);
	text_reset(&d->trace);
}

/* ---- the happy path ---- */

static void test_step_by_step(void **state)
{
	struct drive d;

	(void)state;
	start_schema_job(&d);
	d.ev.way = RUN_WAY_LOOK;
	d.ev.told = "look";
	step(&d, "look");
	ok(&d);
	long_step(&d, "CREATE");
	ok(&d);
	ok(&d);
	examined(&d, RUN_WAY_TRANSACTION, "ATTACH");
	ok(&d);
	ok(&d);
	nothing_left(&d);
	finished(&d);
	ok(&d);
	ok(&d);
	expect(&d,
		"ok -> attach epoch 7\n"
		"attached -> examine\n"
		/* Without a lock, there is nothing to guard. */
		"look -> step\n"
		"ok -> examine\n"
		"CREATE -> guard\n"
		"ok -> step\n"
		"ok -> examine\n"
		"ATTACH -> guard\n"
		"ok -> step\n"
		"ok -> examine\n"
		"nothing -> step\n"
		"finished -> disconnect\n"
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);
}

/* The daemon stops in the moment in which the last step went well. */
static void test_last_step_counts(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_TRANSACTION);
	d.ev.stop_asked = 1;
	finished(&d);
	ok(&d);
	expect(&d, "finished -> disconnect\nok -> finish job\n");
	end(&d);
}

static void test_guard_waits_and_examines_anew(void **state)
{
	struct drive d;

	(void)state;
	start_schema_job(&d);
	examined(&d, RUN_WAY_TRANSACTION, "it");
	text_reset(&d.trace);
	lock_held(&d);
	ok(&d);
	examined(&d, RUN_WAY_TRANSACTION, "it");
	lock_held(&d);
	ok(&d);
	examined(&d, RUN_WAY_TRANSACTION, "it");
	ok(&d);
	expect(&d,
		"held -> wait 50 ms: waits for a lock: pid 5 (joe) holds"
		" AccessShareLock on shop.users\n"
		"ok -> examine\n"
		"it -> guard\n"
		"held -> wait 100 ms: waits for a lock: pid 5 (joe) holds"
		" AccessShareLock on shop.users\n"
		"ok -> examine\n"
		"it -> guard\n"
		"ok -> step\n");
	end(&d);
}

static void test_guard_has_an_end(void **state)
{
	struct drive d;

	(void)state;
	start_schema_job(&d);
	while (run_current(&d.r) != RUN_DISCONNECT) {
		examined(&d, RUN_WAY_TRANSACTION, "it");
		text_reset(&d.trace);
		lock_held(&d);
		if (run_current(&d.r) == RUN_WAIT) {
			ok(&d);
		}
	}
	ok(&d);
	expect(&d,
		"held -> disconnect\n"
		"ok -> fail 55P03: the lock for it could not be had within"
		" 600 s\n");
	assert_string_equal(d.r.error.detail,
		"It waited for others: pid 5 (joe) holds AccessShareLock on"
		" shop.users.");
	assert_string_equal(
		d.r.error.hint, "End them, then backfill.retry(job) goes on.");
	end(&d);
}

/* Only what reads a whole table is held for the sake of standbys. */
static void test_pacer_holds_long_steps_only(void **state)
{
	struct drive d;

	(void)state;
	start_schema_job(&d);
	d.ev.held_by = "lag";
	examined(&d, RUN_WAY_TRANSACTION, "it");
	d.ev.held_by = "lag";
	ok(&d);
	assert_int_equal(run_current(&d.r), RUN_STEP);
	d.ev.held_by = "lag";
	ok(&d);
	long_step(&d, "CREATE");
	text_reset(&d.trace);
	d.ev.held_by = "lag";
	ok(&d);
	ok(&d);
	assert_true(run_is_at_long_step(&d.r));
	expect(&d, "ok -> pace 1000 ms: lag\nok -> step\n");
	end(&d);
}

/* ---- trouble ---- */

static void test_lock_timeout_comes_back(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_TRANSACTION);
	d.ev.blockers = "pid 5 (joe)";
	job_fails(&d, "55P03");
	ok(&d);
	examined(&d, RUN_WAY_TRANSACTION, "it");
	ok(&d);
	job_fails(&d, "40P01");
	ok(&d);
	expect(&d,
		"55P03 -> wait 50 ms: held up by pid 5 (joe)"
		" -> again in 50 ms\n"
		"ok -> examine\n"
		"it -> guard\n"
		"ok -> step\n"
		"40P01 -> wait 100 ms: 40P01: oh -> again in 100 ms\n"
		"ok -> examine\n");
	end(&d);
}

static void test_statement_timeout_ends_it(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_TRANSACTION);
	job_fails(&d, "57014");
	ok(&d);
	ok(&d);
	expect(&d,
		"57014 -> disconnect\n"
		"ok -> fail 57014: oh\n"
		"ok -> end\n");
	assert_string_equal(d.r.error.detail, "It was at: it.");
	assert_string_equal(d.r.error.hint,
		"Raise the job's statement_timeout, then backfill.retry(job)"
		" goes on.");
	end(&d);
}

static void test_cancelled_for_others_comes_back(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_TRANSACTION);
	blocks(&d, 1000);
	ok(&d);
	expect(&d,
		"57014 -> wait 50 ms: 57014: oh -> again in 50 ms\n"
		"ok -> examine\n");
	end(&d);
}

static void test_refusal_ends_it(void **state)
{
	struct drive d;

	(void)state;
	start_schema_job(&d);
	text_reset(&d.trace);
	job_fails(&d, "BF034");
	ok(&d);
	expect(&d, "BF034 -> disconnect\nok -> fail BF034: oh\n");
	end(&d);
}

/* What the job's own code raises is no word about the range's owner. */
static void test_code_of_the_job_cannot_say_forget(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_TRANSACTION);
	job_fails(&d, "BF010");
	ok(&d);
	expect(&d, "BF010 -> disconnect\nok -> fail BF010: oh\n");
	end(&d);
	at_step(&d, RUN_WAY_TRANSACTION);
	fails(&d, "BF010");
	ok(&d);
	expect(&d, "BF010 -> disconnect\nok -> end\n");
	end(&d);
}

static void test_lost_connection_examines_anew(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	breaks(&d, BFE_LOST);
	ok(&d);
	ok(&d);
	taken(&d, 8);
	ok(&d);
	d.ev.is_schema_kind = 1;
	d.ev.begun = 1;
	step(&d, "attached");
	expect(&d,
		"lost -> disconnect\n"
		"ok -> wait 50 ms: gone -> again in 50 ms\n"
		"ok -> take\n"
		"ok -> connect epoch 8\n"
		"ok -> attach epoch 8\n"
		"attached -> examine\n");
	end(&d);
}

/* The control connection is what the guard asks: the runner's stays. */
static void test_guard_without_control(void **state)
{
	struct drive d;

	(void)state;
	start_schema_job(&d);
	examined(&d, RUN_WAY_TRANSACTION, "it");
	text_reset(&d.trace);
	breaks(&d, BFE_LOST);
	ok(&d);
	fails(&d, "BF010");
	expect(&d,
		"lost -> wait 50 ms: gone -> again in 50 ms\n"
		"ok -> guard\n"
		"BF010 -> disconnect\n");
	end(&d);
}

static void test_no_progress_is_an_error(void **state)
{
	struct drive d;

	(void)state;
	start_schema_job(&d);
	for (int i = 0; i < 3; i++) {
		examined(&d, RUN_WAY_TRANSACTION, "it");
		ok(&d);
		ok(&d);
	}
	text_reset(&d.trace);
	examined(&d, RUN_WAY_TRANSACTION, "it");
	ok(&d);
	expect(&d,
		"it -> disconnect\n"
		"ok -> fail BF012: a step went well, and is still to be done:"
		" it\n");
	end(&d);
}

/* ---- leaving ---- */

static void test_failed_build_is_cleared_away(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	job_fails(&d, "23505");
	assert_true(d.r.schema.is_leaving);
	examined(&d, RUN_WAY_ALONE, "DROP");
	ok(&d);
	ok(&d);
	nothing_left(&d);
	ok(&d);
	ok(&d);
	expect(&d,
		"23505 -> examine\n"
		"DROP -> guard\n"
		"ok -> step\n"
		"ok -> examine\n"
		"nothing -> disconnect\n"
		"ok -> fail 23505: oh\n"
		"ok -> end\n");
	end(&d);
}

static void test_cancelled_build_is_cleared_away(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	d.ev.stopped_by = "job 1 is cancelled";
	job_fails(&d, "57014");
	nothing_left(&d);
	ok(&d);
	expect(&d,
		"57014 -> examine\n"
		"nothing -> disconnect\n"
		"ok -> release: job 1 is cancelled\n");
	end(&d);
}

/* Paused while it was built: that was not halted, and nothing is left. */
static void test_paused_after_a_build(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	ok(&d);
	fails(&d, "BF011");
	nothing_left(&d);
	ok(&d);
	expect(&d,
		"ok -> examine\n"
		"BF011 -> examine\n"
		"nothing -> disconnect\n"
		"ok -> release: oh\n");
	end(&d);
}

/* The drop of what the build left goes well each time, and the build never:
 * that has an end. */
static void test_build_that_never_ends_well(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	while (!d.r.schema.is_leaving) {
		text_reset(&d.trace);
		job_fails(&d, "40P01");
		if (d.r.schema.is_leaving) {
			break;
		}
		ok(&d);
		examined(&d, RUN_WAY_ALONE, "DROP");
		ok(&d);
		ok(&d);
		long_step(&d, "it");
		ok(&d);
	}
	expect(&d, "40P01 -> examine\n");
	end(&d);
}

/* Its own timeout, whoever held it up meanwhile. */
static void test_timeout_of_a_build(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	d.ev.blockers = "pid 5 (joe)";
	job_fails(&d, "57014");
	assert_true(d.r.schema.is_leaving);
	assert_string_equal(d.r.error.detail, "it was held up by pid 5 (joe).");
	end(&d);
}

/* A few times; then the job has its end all the same. */
static void test_leaving_has_an_end(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	job_fails(&d, "23505");
	for (int i = 0; i < 2; i++) {
		examined(&d, RUN_WAY_ALONE, "DROP");
		lock_held(&d);
		ok(&d);
	}
	examined(&d, RUN_WAY_ALONE, "DROP");
	text_reset(&d.trace);
	lock_held(&d);
	ok(&d);
	expect(&d, "held -> disconnect\nok -> fail 23505: oh\n");
	end(&d);
	at_step(&d, RUN_WAY_ALONE);
	job_fails(&d, "23505");
	text_reset(&d.trace);
	job_fails(&d, "42501");
	ok(&d);
	expect(&d, "42501 -> disconnect\nok -> fail 23505: oh\n");
	end(&d);
}

/* A lock that is not had while it clears away is waited for a few times. */
static void test_leaving_tries_again(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	job_fails(&d, "23505");
	examined(&d, RUN_WAY_ALONE, "DROP");
	ok(&d);
	text_reset(&d.trace);
	job_fails(&d, "40P01");
	ok(&d);
	nothing_left(&d);
	ok(&d);
	expect(&d,
		"40P01 -> wait 50 ms: 40P01: oh -> again in 50 ms\n"
		"ok -> examine\n"
		"nothing -> disconnect\n"
		"ok -> fail 23505: oh\n");
	end(&d);
}

/* The next daemon goes on: nothing is cleared away that it would mend. */
static void test_stop_leaves_at_once(void **state)
{
	struct drive d;

	(void)state;
	at_step(&d, RUN_WAY_ALONE);
	d.ev.stop_asked = 1;
	job_fails(&d, "57014");
	ok(&d);
	expect(&d,
		"57014 -> disconnect\n"
		"ok -> release: the daemon stops\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_step_by_step),
		cmocka_unit_test(test_last_step_counts),
		cmocka_unit_test(test_guard_waits_and_examines_anew),
		cmocka_unit_test(test_guard_has_an_end),
		cmocka_unit_test(test_pacer_holds_long_steps_only),
		cmocka_unit_test(test_lock_timeout_comes_back),
		cmocka_unit_test(test_statement_timeout_ends_it),
		cmocka_unit_test(test_cancelled_for_others_comes_back),
		cmocka_unit_test(test_refusal_ends_it),
		cmocka_unit_test(test_code_of_the_job_cannot_say_forget),
		cmocka_unit_test(test_lost_connection_examines_anew),
		cmocka_unit_test(test_guard_without_control),
		cmocka_unit_test(test_no_progress_is_an_error),
		cmocka_unit_test(test_failed_build_is_cleared_away),
		cmocka_unit_test(test_cancelled_build_is_cleared_away),
		cmocka_unit_test(test_paused_after_a_build),
		cmocka_unit_test(test_build_that_never_ends_well),
		cmocka_unit_test(test_timeout_of_a_build),
		cmocka_unit_test(test_leaving_has_an_end),
		cmocka_unit_test(test_leaving_tries_again),
		cmocka_unit_test(test_stop_leaves_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
