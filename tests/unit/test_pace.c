/* May a batch begin, and when: reasons in full, and the pause that follows
 * from a rate. */

#include "pace_drive.h"

static void test_nothing_is_known_at_first(void **state)
{
	(void)state;
	expect_held(0,
		"held: replay lag is unknown: not measured yet -> goes on when"
		" it is known and below 2.5 s");
	sample();
	expect_free(0);
	expect_free(1);
}

static void test_limit_and_hysteresis(void **state)
{
	(void)state;
	sample();
	sample_lag(5000);
	expect_free(0);
	sample_lag(5001);
	expect_held(0,
		"held: replay lag 5.0 s > 5 s on standby \"standby1\" -> goes"
		" on below 2.5 s");
	sample_lag(7100);
	expect_held(1,
		"held: replay lag 7.1 s > 5 s on standby \"standby1\" -> goes"
		" on below 2.5 s");
	sample_lag(2500);
	expect_held(1,
		"held: replay lag 2.5 s is within its limit of 5 s on standby"
		" \"standby1\" -> goes on below 2.5 s");
	expect_free(0);
	sample_lag(2499);
	expect_free(1);
}

/* A job's own limit. */
static void test_own_limit(void **state)
{
	(void)state;
	sample();
	sample_lag(600);
	expect_free(0);
	assert_true(pace_is_held(&p, next.now_ms, 500, 0, &reason) != 0);
	assert_string_equal(reason.data,
		"held: replay lag 0.60 s > 0.5 s on standby \"standby1\" ->"
		" goes on below 0.25 s");
	sample_lag(20000);
	assert_int_equal(pace_is_held(&p, next.now_ms, 60000, 0, &reason), 0);
}

static void test_unknown_holds(void **state)
{
	(void)state;
	sample();
	samples[0].connections = 0;
	sample();
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: not"
		" connected -> goes on when it is known and below 2.5 s");
	samples[0].connections = 1;
	samples[0].replay_lsn = LAG_NONE;
	sample();
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: it tells"
		" no replay position -> goes on when it is known and below 2.5"
		" s");
	samples[0].replay_lsn = 1000;
	samples[0].state = "catchup";
	sample();
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: its state"
		" is catchup -> goes on when it is known and below 2.5 s");
	samples[0].state = "streaming";
	sample();
	expect_free(1);
}

static void test_old_sample_holds(void **state)
{
	(void)state;
	sample();
	next.now_ms += 2000;
	expect_free(0);
	next.now_ms += 300;
	expect_held(0,
		"held: replay lag is unknown: no sample for 2.3 s -> goes on"
		" when it is known and below 2.5 s");
	next.now_ms -= 2000;
	expect_free(0);
	pace_forget(&p);
	expect_held(0,
		"held: replay lag is unknown: no sample for 0.3 s -> goes on"
		" when it is known and below 2.5 s");
}

/* What was 0 may be as much as the sample's age by now: no more than a small
 * limit, where an answer can come in that time. */
static void test_age_counts_by_the_limit(void **state)
{
	static const struct {
		int64_t limit_ms;
		uint64_t age_ms;
	} table[] = { { 100, 500 }, { 800, 800 }, { 3600000, 2000 } };

	(void)state;
	sample();
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_int_equal(pace_is_held(&p, next.now_ms + table[i].age_ms,
					 table[i].limit_ms, 0, &reason),
			0);
		assert_int_not_equal(
			pace_is_held(&p, next.now_ms + table[i].age_ms + 1,
				table[i].limit_ms, 0, &reason),
			0);
	}
}

/* Behind by more than the limit at the first look, for how long is unknown:
 * after the limit's time that much is known. */
static void test_at_least_is_enough(void **state)
{
	(void)state;
	samples[0].replay_lsn = 500;
	sample();
	expect_held(0,
		"held: replay lag of standby \"standby1\" is unknown: not"
		" measured yet -> goes on when it is known and below 2.5 s");
	for (int i = 0; i < 12; i++) {
		sample();
	}
	expect_held(0,
		"held: replay lag 6.0 s > 5 s on standby \"standby1\" -> goes"
		" on below 2.5 s");
}

static void test_every_cause_is_told(void **state)
{
	unsigned both, one;

	(void)state;
	sample();
	samples[1].connections = 0;
	next.lsn += 100;
	samples[0].replay_lag_ms = 7000;
	sample();
	both = pace_is_held(&p, next.now_ms, LIMIT_MS, 0, &reason);
	assert_string_equal(reason.data,
		"held: replay lag 7.0 s > 5 s on standby \"standby1\"; replay"
		" lag of standby \"reporting\" is unknown: not connected ->"
		" goes on when it is known and below 2.5 s");
	samples[0].replay_lag_ms = 8000;
	sample();
	assert_int_equal(
		pace_is_held(&p, next.now_ms, LIMIT_MS, 1, &reason), both);
	samples[0].replay_lsn = next.lsn;
	sample();
	one = pace_is_held(&p, next.now_ms, LIMIT_MS, 1, &reason);
	assert_true(one != 0 && one != both);
}

static void test_optional_standby_is_left_out(void **state)
{
	(void)state;
	sample();
	samples[1].connections = 0;
	for (int i = 0; i < 119; i++) {
		sample();
		expect_held(1,
			"held: replay lag of standby \"reporting\" is unknown:"
			" not connected -> goes on when it is known and below"
			" 2.5 s");
	}
	sample();
	expect_free(1);
	/* Back again, it counts. */
	samples[1].connections = 1;
	samples[1].replay_lag_ms = 9000;
	next.lsn += 100;
	samples[0].replay_lsn = next.lsn;
	sample();
	expect_held(0,
		"held: replay lag 9.0 s > 5 s on standby \"reporting\" -> goes"
		" on below 2.5 s");
}

static void test_no_standby(void **state)
{
	(void)state;
	pace_init(&p, standbys, 0);
	expect_free(0);
	pace_spend(&p, 1000, 1 << 30);
	assert_int_equal(pace_wait_ms(&p, 1000), 0);
	assert_true(pace_allowed(&p) == 0);
	assert_int_equal(pace_batch_bytes(&p), INT64_MAX);
}

/* ---- the pause */

static void test_pause_follows_from_the_rate(void **state)
{
	uint64_t now_ms;
	char text[160];

	(void)state;
	next.rate = 2e6;
	sample();
	p.rate = 2e6;
	now_ms = next.now_ms;
	/* Caught up: one and a half of it. */
	assert_int_equal((int)pace_allowed(&p), 3000000);
	assert_int_equal(pace_wait_ms(&p, now_ms), 0);
	pace_spend(&p, now_ms, 6000000);
	assert_int_equal(pace_wait_ms(&p, now_ms), 2001);
	assert_int_equal(pace_wait_ms(&p, now_ms + 500), 1501);
	pace_spend(&p, now_ms + 500, 3000000);
	assert_int_equal(pace_wait_ms(&p, now_ms + 500), 2501);
	/* What was not used is not saved up. */
	assert_int_equal(pace_wait_ms(&p, now_ms + 60000), 0);
	pace_spend(&p, now_ms + 60000, 3000000);
	assert_int_equal(pace_wait_ms(&p, now_ms + 60000), 1001);
	/* A tenth of the limit. */
	assert_int_equal(pace_batch_bytes(&p), 1500000);
	sample_lag(2500);
	p.rate = 2e6;
	pace_describe(&p, text, sizeof text);
	assert_string_equal(text,
		"the standbys allow 2000 kB/s of WAL: replay lag 2.5 s, limit"
		" 5 s");
}

static void test_allowed_falls_with_the_lag(void **state)
{
	static const struct {
		int64_t lag_ms;
		int percent;
	} steps[] = { { 0, 150 }, { 1250, 150 }, { 2500, 100 }, { 3750, 50 },
		{ 4500, 20 }, { 5000, 5 }, { 50000, 5 } };

	(void)state;
	sample();
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		sample_lag(steps[i].lag_ms);
		p.rate = 1e6;
		assert_true(pace_allowed(&p) > steps[i].percent * 1e4 - 1);
		assert_true(pace_allowed(&p) < steps[i].percent * 1e4 + 1);
	}
}

static void test_share_of_several_daemons(void **state)
{
	(void)state;
	next.my_jobs = 1;
	next.all_jobs = 4;
	sample();
	p.rate = 4e6;
	assert_int_equal((int)pace_allowed(&p), 1500000);
	next.my_jobs = 3;
	sample();
	p.rate = 4e6;
	assert_int_equal((int)pace_allowed(&p), 4500000);
}

/* Grows only where it was what made us wait; doubled at first. */
static void test_growth(void **state)
{
	double before;

	(void)state;
	sample();
	before = p.rate;
	sample();
	assert_true(p.rate == before);
	for (int i = 0; i < 2; i++) {
		pace_spend(&p, next.now_ms, 100 << 20);
		assert_true(pace_wait_ms(&p, next.now_ms) > 0);
		sample();
	}
	assert_true(p.rate > 1.99 * before && p.rate < 2.01 * before);
	/* What the standby can do is known once it was behind. */
	next.lsn += 1000000;
	samples[0].replay_lag_ms = 1000;
	sample();
	samples[0].replay_lsn = next.lsn;
	samples[1].replay_lsn = next.lsn;
	sample();
	sample();
	before = p.rate;
	for (int i = 0; i < 2; i++) {
		pace_spend(&p, next.now_ms, 100 << 20);
		(void)pace_wait_ms(&p, next.now_ms);
		sample();
	}
	assert_true(p.rate > 1.2 * before && p.rate < 1.25 * before);
}

/* What it has replayed while nothing was known of it is not what it replays in
 * the time of one sample. */
static void test_standby_that_comes_back(void **state)
{
	double before;

	(void)state;
	sample();
	sample_lag(1000);
	sample_lag(1000);
	before = p.rate;
	samples[0].connections = 0;
	for (int i = 0; i < 60; i++) {
		samples[1].connections = 0;
		next.lsn += 100 << 20;
		sample();
	}
	samples[0].connections = 1;
	samples[1].connections = 1;
	samples[0].replay_lsn = next.lsn;
	sample_lag(1000);
	assert_true(p.rate <= before);
}

/* Another daemon has changed it meanwhile: the rest of the time is ours. */
static void test_shared_rate_is_taken(void **state)
{
	(void)state;
	sample();
	next.now_ms += 500;
	next.rate = 7e6;
	next.rate_ms = 100;
	pace_spend(&p, next.now_ms, 100 << 20);
	(void)pace_wait_ms(&p, next.now_ms);
	pace_sample(&p, &next);
	assert_true(p.rate > 7e6 * 1.07 && p.rate < 7e6 * 1.08);
	/* One of yesterday is a guess. */
	next.now_ms += 500;
	next.rate = 8e6;
	next.rate_ms = 86400000;
	pace_sample(&p, &next);
	assert_true(p.rate == 4e6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_is_known_at_first),
		TEST(test_limit_and_hysteresis),
		TEST(test_own_limit),
		TEST(test_unknown_holds),
		TEST(test_old_sample_holds),
		TEST(test_age_counts_by_the_limit),
		TEST(test_at_least_is_enough),
		TEST(test_every_cause_is_told),
		TEST(test_optional_standby_is_left_out),
		TEST(test_no_standby),
		TEST(test_pause_follows_from_the_rate),
		TEST(test_allowed_falls_with_the_lag),
		TEST(test_share_of_several_daemons),
		TEST(test_growth),
		TEST(test_standby_that_comes_back),
		TEST(test_shared_rate_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
