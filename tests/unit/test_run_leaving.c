/* How a job of the schema kinds leaves from where it is held, as golden
 * traces. */

#include "run_drive.h"

/* A build has failed; the drop of what it left is held for a standby. */
static void held_with_a_leftover(struct drive *d)
{
	start(d, &usual);
	ok(d);
	d->ev.is_schema_kind = 1;
	d->ev.begun = 1;
	step(d, "attached");
	d->ev.way = RUN_WAY_ALONE;
	d->ev.told = "DROP";
	d->ev.is_long = 1;
	d->ev.takes_lock = 1;
	step(d, "DROP");
	d->ev.held_by = "lag";
	ok(d);
	assert_int_equal(run_current(&d->r), RUN_PACE);
	text_reset(&d->trace);
}

/* Nobody would clear away later what is left by a job that is cancelled. */
static void test_cancelled_while_held(void **state)
{
	struct drive d;

	(void)state;
	held_with_a_leftover(&d);
	d.ev.held_by = "lag";
	d.ev.stopped_by = "job 1 is cancelled";
	ok(&d);
	assert_true(d.r.schema.is_leaving);
	d.ev.way = RUN_WAY_ALONE;
	d.ev.told = "DROP";
	d.ev.is_long = 1;
	d.ev.takes_lock = 1;
	step(&d, "DROP");
	d.ev.held_by = "lag";
	ok(&d);
	d.ev.held_by = "lag";
	ok(&d);
	d.ev.way = RUN_WAY_NONE;
	step(&d, "nothing");
	ok(&d);
	expect(&d,
		"ok -> examine\n"
		"DROP -> guard\n"
		"ok -> step\n"
		"ok -> examine\n"
		"nothing -> disconnect\n"
		"ok -> release: job 1 is cancelled\n");
	end(&d);
}

/* The next daemon goes on with it. */
static void test_daemon_stops_while_held(void **state)
{
	struct drive d;

	(void)state;
	held_with_a_leftover(&d);
	d.ev.held_by = "lag";
	d.ev.stop_asked = 1;
	ok(&d);
	ok(&d);
	expect(&d, "ok -> disconnect\nok -> release: the daemon stops\n");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancelled_while_held),
		cmocka_unit_test(test_daemon_stops_while_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
