/* How the rate is learnt from what a standby replays, step by step; where it
 * leads to, test_pace_model.c shows. */

#include "pace_drive.h"

#include <math.h>

static void expect_rate(double rate)
{
	if (fabs(p.rate - rate) > rate / 1000) {
		fail_msg("the rate is %.0f, not %.0f", p.rate, rate);
	}
}

/* Half a second in which so much was replayed, and so much written. */
static void replay(int64_t replayed, int64_t written, int64_t lag_ms)
{
	next.lsn += written;
	samples[0].replay_lsn += replayed;
	samples[1].replay_lsn = next.lsn;
	samples[0].replay_lag_ms = lag_ms;
	sample();
}

/* A standby so far behind that it is, whatever it replays; and the rate of
 * whoever has learnt something before. */
static void start_behind(double rate)
{
	next.lsn = INT64_C(1) << 40;
	samples[0].replay_lsn = next.lsn;
	replay(0, 0, 0);
	next.lsn += INT64_C(1) << 39;
	replay(0, 0, 2000);
	assert_int_equal(standbys[0].cause, LAG_KNOWN);
	p.is_learning = 0;
	p.others = 0;
	p.rate = rate;
}

/* What others write is known: they write nothing. */
static void replay_ours(int64_t replayed, int64_t lag_ms)
{
	p.others = 0;
	next.spent_bytes += 1000;
	replay(replayed, 1000, lag_ms);
}

static void spend_ahead(void)
{
	pace_spend(&p, next.now_ms, 100 << 20);
	assert_true(pace_wait_ms(&p, next.now_ms) > 0);
}

/* ---- at first */

static void test_before_the_first_sample(void **state)
{
	(void)state;
	assert_int_equal((int)pace_allowed(&p), 1500000);
}

/* There is nothing to compare it with. */
static void test_first_sample_teaches_nothing(void **state)
{
	(void)state;
	next.lsn = 5000;
	samples[0].replay_lag_ms = 2000;
	sample();
	expect_rate(1e6);
	pace_forget(&p);
	sample();
	expect_rate(1e6);

	/* All that was ever written is not what others write just now. */
	(void)end(state);
	(void)start(state);
	next.lsn = INT64_C(1) << 40;
	samples[0].replay_lsn = next.lsn;
	samples[1].replay_lsn = next.lsn;
	sample();
	assert_true(p.others == 0);
}

/* The last doubling was too much, and no more than that. */
static void test_end_of_learning(void **state)
{
	(void)state;
	start_behind(4e6);
	p.is_learning = 1;
	replay_ours(500000, 2000);
	expect_rate(2e6);

	(void)end(state);
	(void)start(state);
	start_behind(4e6);
	p.is_learning = 1;
	replay_ours(1500000, 2000);
	expect_rate(3e6);

	(void)end(state);
	(void)start(state);
	start_behind(4e6);
	p.is_learning = 1;
	replay_ours(9000000, 2000);
	expect_rate(4e6);
}

/* ---- from what is replayed */

static void test_part_of_the_way(void **state)
{
	(void)state;
	start_behind(4e6);
	replay_ours(1000000, 2000);
	expect_rate(4e6 - (1 - exp(-0.5 / 4)) * 2e6);
}

/* Others have gone most of the way meanwhile. */
static void test_part_of_the_way_of_several(void **state)
{
	(void)state;
	start_behind(4e6);
	p.others = 0;
	samples[0].replay_lsn += 1000000;
	samples[1].replay_lsn = next.lsn;
	next.now_ms += 500;
	next.rate = 4e6;
	next.rate_ms = 100;
	pace_sample(&p, &next);
	expect_rate(4e6 - (1 - exp(-0.1 / 4)) * 2e6);
}

/* Of a little lag nobody can tell what made it. */
static void test_little_lag_lowers_nothing(void **state)
{
	(void)state;
	start_behind(4e6);
	p.lag = 0.1;
	replay_ours(1000000, 500);
	expect_rate(4e6);
	replay_ours(4000000, 500);
	expect_rate(4e6 + (1 - exp(-0.5 / 4)) * 4e6);
}

/* Never quite nothing: it finds back. */
static void test_standby_that_replays_nothing(void **state)
{
	(void)state;
	start_behind(4e6);
	for (int i = 0; i < 200; i++) {
		replay_ours(0, 2000);
	}
	assert_true(p.rate == 64e3);
	/* A batch is worth its round trip. */
	assert_int_equal(pace_batch_bytes(&p), PACE_LEAST_BATCH_BYTES);
}

/* It is another one's position that was noted. */
static void test_another_one_is_the_worst(void **state)
{
	(void)state;
	start_behind(4e6);
	for (int i = 0; i < 2; i++) {
		next.lsn += 1000;
		samples[0].replay_lag_ms = 1500;
		samples[1].replay_lag_ms = 2000;
		samples[1].replay_lsn = next.lsn - 500;
		next.spent_bytes += 1000;
		p.others = 0;
		sample();
		samples[1].replay_lsn = next.lsn;
	}
	/* Of the second look something is learnt: it replayed 1000 bytes. */
	expect_rate(4e6 - (1 - exp(-0.5 / 4)) * (4e6 - 2000));
}

/* Nor does anybody know what they could do. */
static void test_nothing_is_known_of_all(void **state)
{
	(void)state;
	sample();
	samples[0].connections = 0;
	samples[1].connections = 0;
	for (int i = 0; i < 4; i++) {
		spend_ahead();
		sample();
	}
	expect_rate(1e6);
}

/* Another server, or a restored one. */
static void test_positions_that_go_back(void **state)
{
	(void)state;
	start_behind(4e6);
	next.lsn -= INT64_C(1) << 39;
	samples[0].replay_lsn -= INT64_C(1) << 39;
	replay(0, 0, 2000);
	expect_rate(4e6);
}

/* Two samples of one moment. */
static void test_no_time_between(void **state)
{
	(void)state;
	start_behind(4e6);
	next.rate = 4e6;
	next.lsn += 1000;
	samples[0].replay_lsn += 1000;
	samples[1].replay_lsn = next.lsn;
	pace_sample(&p, &next);
	expect_rate(4e6);
	assert_true(isfinite(p.others));
}

/* What others wrote before the connection was lost says nothing now. */
static void test_others_are_forgotten(void **state)
{
	(void)state;
	start_behind(4e6);
	for (int i = 0; i < 40; i++) {
		replay(4000000, 4000000, 2000);
	}
	assert_true(p.others > 7e6);
	pace_forget(&p);
	replay(0, 0, 2000);
	replay(0, 0, 2000);
	p.is_learning = 0;
	p.rate = 1e6;
	next.spent_bytes += 1000;
	replay(1000000, 1000, 2000);
	expect_rate(1e6 + (1 - exp(-0.5 / 4)) * 1e6);
}

/* ---- shared */

/* However long nobody changed it. */
static void test_growth_has_a_bound(void **state)
{
	(void)state;
	sample();
	spend_ahead();
	next.now_ms += 1000;
	next.rate = 1e6;
	next.rate_ms = 50000;
	samples[0].replied_at_us++;
	pace_sample(&p, &next);
	expect_rate(4e6);
}

/* Of a minute ago it is still one; of yesterday it is learnt anew. */
static void test_age_of_the_rate(void **state)
{
	(void)state;
	sample();
	p.is_learning = 0;
	next.now_ms += 500;
	next.rate = 8e6;
	next.rate_ms = 60000;
	pace_sample(&p, &next);
	expect_rate(8e6);
	next.now_ms += 500;
	next.rate_ms = 60001;
	pace_sample(&p, &next);
	expect_rate(4e6);
	for (int i = 0; i < 2; i++) {
		spend_ahead();
		sample();
	}
	expect_rate(8e6);
}

/* The last sample is taken when no job is left. */
static void test_share_of_nobody(void **state)
{
	(void)state;
	next.my_jobs = 0;
	next.all_jobs = 0;
	sample();
	assert_int_equal((int)pace_allowed(&p), 1500000);
}

/* Others' work may have moved the WAL back and forth in its measure. */
static void test_less_than_nothing_is_spent(void **state)
{
	(void)state;
	sample();
	pace_spend(&p, next.now_ms, 1500000);
	pace_spend(&p, next.now_ms, -1500000);
	assert_int_equal(pace_wait_ms(&p, next.now_ms), 1001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_before_the_first_sample),
		TEST(test_first_sample_teaches_nothing),
		TEST(test_end_of_learning),
		TEST(test_part_of_the_way),
		TEST(test_part_of_the_way_of_several),
		TEST(test_little_lag_lowers_nothing),
		TEST(test_standby_that_replays_nothing),
		TEST(test_another_one_is_the_worst),
		TEST(test_nothing_is_known_of_all),
		TEST(test_positions_that_go_back),
		TEST(test_no_time_between),
		TEST(test_others_are_forgotten),
		TEST(test_growth_has_a_bound),
		TEST(test_age_of_the_rate),
		TEST(test_share_of_nobody),
		TEST(test_less_than_nothing_is_spent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
