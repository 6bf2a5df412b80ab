/* pace_drive.h: a pacer with two standbys, "standby1" and "reporting", of
 * which the second is optional, on virtual time. For the tests of the pacer
 * only. */
#ifndef BACKFILL_TESTS_PACE_DRIVE_H
#define BACKFILL_TESTS_PACE_DRIVE_H

#include "rules/pace.h"

#include <string.h>

#include "cmocka_all.h"

enum { LIMIT_MS = 5000 };

static struct pace p;
static struct lag_standby standbys[2];
static struct lag_sample samples[2];
static struct pace_sample next;
static struct text reason;

static inline int start(void **state)
{
	(void)state;
	memset(standbys, 0, sizeof standbys);
	standbys[0].name = "standby1";
	standbys[1].name = "reporting";
	standbys[1].is_optional = 1;
	pace_init(&p, standbys, 2);
	p.limit_ms = LIMIT_MS;
	p.optional_timeout_ms = 60000;
	for (int i = 0; i < 2; i++) {
		samples[i] = (struct lag_sample){
			.connections = 1,
			.state = "streaming",
			.replay_lsn = 1000,
			.replay_lag_ms = LAG_NONE,
			.connected_ms = 3600000,
			.kept_bytes = LAG_NONE,
		};
	}
	next = (struct pace_sample){
		.now_ms = 100000,
		.lsn = 1000,
		.standbys = samples,
		.my_jobs = 1,
		.all_jobs = 1,
	};
	text_init(&reason);
	return 0;
}

static inline int end(void **state)
{
	(void)state;
	text_close(&reason);
	return 0;
}

/* Half a second later; both standbys have replied. */
static inline void sample(void)
{
	next.now_ms += 500;
	next.rate_ms = 500;
	next.rate = p.rate;
	samples[0].replied_at_us++;
	samples[1].replied_at_us++;
	pace_sample(&p, &next);
}

/* Lag as the server tells it. */
static inline void sample_lag(int64_t ms)
{
	next.lsn += 100;
	samples[1].replay_lsn = next.lsn;
	samples[0].replay_lag_ms = ms;
	sample();
}

static inline void expect_held(int was_held, const char *why)
{
	assert_true(pace_is_held(
			    &p, next.now_ms, LIMIT_MS, was_held, &reason) != 0);
	assert_string_equal(reason.data, why);
}

static inline void expect_free(int was_held)
{
	assert_int_equal(
		pace_is_held(&p, next.now_ms, LIMIT_MS, was_held, &reason), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

#endif
