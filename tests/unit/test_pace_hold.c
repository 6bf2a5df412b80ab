/* What is held back, for which standby and until when: limits of jobs,
 * optional standbys, what is forgotten, and what is told anew. */

#include "pace_drive.h"

/* What a job's own limit allows, it does until the half of that one. */
static void test_own_limit_until_its_half(void **state)
{
	(void)state;
	sample();
	sample_lag(300);
	assert_true(pace_is_held(&p, next.now_ms, 500, 1, &reason) != 0);
	assert_string_equal(reason.data,
		"held: replay lag 0.30 s is within its limit of 0.5 s on"
		" standby \"standby1\" -> goes on below 0.25 s");
	samples[0].replay_lsn = next.lsn;
	sample_lag(249);
	assert_int_equal(pace_is_held(&p, next.now_ms, 500, 1, &reason), 0);
	sample_lag(20000);
	assert_int_equal(pace_is_held(&p, next.now_ms, 60000, 1, &reason), 0);
}

/* Two digits where they count. */
static void test_digits(void **state)
{
	(void)state;
	sample();
	sample_lag(999);
	(void)pace_is_held(&p, next.now_ms, 500, 0, &reason);
	assert_string_equal(reason.data,
		"held: replay lag 1.00 s > 0.5 s on standby \"standby1\" ->"
		" goes on below 0.25 s");
	sample_lag(1000);
	(void)pace_is_held(&p, next.now_ms, 500, 0, &reason);
	assert_string_equal(reason.data,
		"held: replay lag 1.0 s > 0.5 s on standby \"standby1\" ->"
		" goes on below 0.25 s");
}

/* A reason never claims what is not so. */
static void test_at_the_limit(void **state)
{
	(void)state;
	sample();
	sample_lag(5000);
	expect_held(1,
		"held: replay lag 5.0 s is within its limit of 5 s on standby"
		" \"standby1\" -> goes on below 2.5 s");
}

/* At least so much is not enough to know that it is no more. */
static void test_at_least_below_the_limit(void **state)
{
	(void)state;
	samples[0].replay_lsn = 500;
	for (int i = 0; i < 11; i++) {
		sample();
		expect_held(0,
			"held: replay lag of standby \"standby1\" is unknown:"
			" not measured yet -> goes on when it is known and"
			" below 2.5 s");
	}
}

/* ---- who is left out */

static void test_expected_standby_is_never_left_out(void **state)
{
	(void)state;
	sample();
	samples[0].connections = 0;
	for (int i = 0; i < 1000; i++) {
		sample();
	}
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: not"
		" connected -> goes on when it is known and below 2.5 s");
}

/* From when it was first asked for. */
static void test_optional_standby_that_never_comes(void **state)
{
	(void)state;
	samples[1].connections = 0;
	for (int i = 0; i < 120; i++) {
		sample();
		expect_held(0,
			"held: replay lag of standby \"reporting\" is unknown:"
			" not connected -> goes on when it is known and below"
			" 2.5 s");
	}
	sample();
	expect_free(1);

	/* After an idle hour, or another connection, the same again. */
	next.now_ms += 3600000;
	pace_init(&p, standbys, 2);
	p.limit_ms = LIMIT_MS;
	p.optional_timeout_ms = 60000;
	sample();
	assert_true(pace_is_held(&p, next.now_ms, LIMIT_MS, 0, &reason) != 0);
	next.now_ms += 3600000;
	pace_forget(&p);
	sample();
	assert_true(pace_is_held(&p, next.now_ms, LIMIT_MS, 0, &reason) != 0);
}

/* Unknown for whatever cause. */
static void test_optional_standby_that_catches_up(void **state)
{
	(void)state;
	sample();
	samples[1].state = "catchup";
	for (int i = 0; i < 119; i++) {
		sample();
	}
	expect_held(0,
		"held: replay lag of standby \"reporting\" is unknown: its"
		" state is catchup -> goes on when it is known and below 2.5"
		" s");
	sample();
	expect_free(0);
}

/* What is known counts, however short the time. */
static void test_optional_standby_that_lags(void **state)
{
	(void)state;
	p.optional_timeout_ms = 1;
	sample();
	next.lsn += 100;
	samples[0].replay_lsn = next.lsn;
	samples[1].replay_lag_ms = 9000;
	sample();
	next.now_ms += 1500;
	assert_true(pace_is_held(&p, next.now_ms, LIMIT_MS, 0, &reason) != 0);
}

/* Behind by more than the limit since the first look: for how long is unknown,
 * and that it is too long is not. */
static void test_far_behind_is_not_left_out(void **state)
{
	(void)state;
	p.optional_timeout_ms = 1000;
	sample();
	samples[1].replay_lsn = 500;
	pace_forget(&p);
	for (int i = 0; i < 30; i++) {
		sample();
	}
	assert_int_equal(standbys[1].cause, LAG_NOT_MEASURED);
	expect_held(1,
		"held: replay lag 14.5 s > 5 s on standby \"reporting\" ->"
		" goes on below 2.5 s");
}

/* It lags, goes, and is left out: nothing is left of its lag. */
static void test_rate_recovers_without_it(void **state)
{
	(void)state;
	pace_init(&p, &standbys[1], 1);
	p.limit_ms = LIMIT_MS;
	p.optional_timeout_ms = 1000;
	next.standbys = &samples[1];
	sample();
	next.lsn += 100;
	samples[1].replay_lag_ms = 9000;
	sample();
	assert_true(pace_allowed(&p) < 400000);
	samples[1].connections = 0;
	for (int i = 0; i < 4; i++) {
		sample();
	}
	expect_free(1);
	assert_true(pace_allowed(&p) > 1e6);
	/* Nobody is spared by a pause. */
	pace_spend(&p, next.now_ms, 100 << 20);
	assert_int_equal(pace_wait_ms(&p, next.now_ms), 0);
	samples[1].connections = 1;
	samples[1].replay_lsn = next.lsn;
	sample();
	assert_true(pace_wait_ms(&p, next.now_ms) > 0);
}

/* Left out, it slows nobody down: not by what is known of it at least, and
 * not by what was known before the connection was lost. */
static void test_left_out_of_the_rate(void **state)
{
	(void)state;
	p.optional_timeout_ms = 1000;
	samples[1].replay_lsn = 500;
	for (int i = 0; i < 8; i++) {
		sample();
	}
	expect_free(0);
	assert_int_equal(standbys[1].lag_ms, 3500);
	assert_int_equal((int)pace_allowed(&p), 6000000);

	pace_init(&p, &standbys[1], 1);
	p.limit_ms = LIMIT_MS;
	p.optional_timeout_ms = 1000;
	next.standbys = &samples[1];
	samples[1].replay_lag_ms = 9000;
	sample();
	sample();
	assert_true(pace_allowed(&p) < 400000);
	pace_forget(&p);
	samples[1].connections = 0;
	for (int i = 0; i < 3; i++) {
		sample();
	}
	expect_free(0);
	assert_int_equal((int)pace_allowed(&p), 6000000);
}

/* ---- what is forgotten */

/* It was of another server, perhaps. */
static void test_history_is_forgotten(void **state)
{
	(void)state;
	sample();
	next.lsn += 100;
	sample();
	expect_free(0);
	pace_forget(&p);
	sample();
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: not"
		" measured yet; replay lag of standby \"reporting\" is"
		" unknown: not measured yet -> goes on when it is known and"
		" below 2.5 s");
}

/* For how long it said nothing, nobody knows who was not there. */
static void test_silence_is_forgotten(void **state)
{
	(void)state;
	sample();
	next.now_ms += 60000;
	pace_forget(&p);
	/* The same reply as before. */
	pace_sample(&p, &next);
	expect_free(0);
	next.now_ms += 20001;
	pace_sample(&p, &next);
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: no reply"
		" for 20 s; replay lag of standby \"reporting\" is unknown: no"
		" reply for 20 s -> goes on when it is known and below 2.5 s");
}

/* ---- what is told anew */

static unsigned causes(void)
{
	return pace_is_held(&p, next.now_ms, LIMIT_MS, 1, &reason);
}

/* Each is another number than all the others. */
static void test_every_change_of_causes(void **state)
{
	unsigned seen[8];
	size_t count = 0;

	(void)state;
	seen[count++] = causes();
	sample();
	next.now_ms += 2001;
	seen[count++] = causes();
	samples[0].connections = 0;
	sample();
	seen[count++] = causes();
	samples[0].connections = 1;
	samples[0].state = "catchup";
	sample();
	seen[count++] = causes();
	samples[0].state = "streaming";
	samples[0].replay_lsn = 1000;
	samples[0].replay_lag_ms = 7000;
	next.lsn = 1100;
	samples[1].replay_lsn = 1100;
	sample();
	seen[count++] = causes();
	samples[0].replay_lag_ms = 4000;
	sample();
	seen[count++] = causes();
	samples[0].replay_lsn = 1100;
	samples[1].replay_lsn = 1000;
	samples[1].replay_lag_ms = 4000;
	sample();
	seen[count++] = causes();
	samples[1].replay_lag_ms = 7000;
	sample();
	seen[count++] = causes();
	assert_int_equal(count, sizeof seen / sizeof seen[0]);
	for (size_t i = 0; i < count; i++) {
		assert_true(seen[i] != 0);
		for (size_t k = 0; k < i; k++) {
			assert_true(seen[i] != seen[k]);
		}
	}
}

static void test_unknown_before_known(void **state)
{
	(void)state;
	sample();
	samples[0].connections = 0;
	next.lsn += 100;
	samples[1].replay_lag_ms = 9000;
	sample();
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: not"
		" connected; replay lag 9.0 s > 5 s on standby \"reporting\" ->"
		" goes on when it is known and below 2.5 s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_own_limit_until_its_half),
		TEST(test_digits),
		TEST(test_at_the_limit),
		TEST(test_at_least_below_the_limit),
		TEST(test_expected_standby_is_never_left_out),
		TEST(test_optional_standby_that_never_comes),
		TEST(test_optional_standby_that_catches_up),
		TEST(test_optional_standby_that_lags),
		TEST(test_far_behind_is_not_left_out),
		TEST(test_rate_recovers_without_it),
		TEST(test_left_out_of_the_rate),
		TEST(test_history_is_forgotten),
		TEST(test_silence_is_forgotten),
		TEST(test_every_change_of_causes),
		TEST(test_unknown_before_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
