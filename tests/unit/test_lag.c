/* How far a standby is behind: the table of what the server tells and what
 * is true. */

#include "rules/lag.h"

#include <string.h>

#include "cmocka_all.h"

static struct lag_history h;
static struct lag_standby s;

static int reset(void **state)
{
	(void)state;
	memset(&h, 0, sizeof h);
	memset(&s, 0, sizeof s);
	s.name = "standby1";
	return 0;
}

/* A sample in which nothing is wrong. */
static struct lag_sample fine(int64_t replay_lsn)
{
	return (struct lag_sample){
		.connections = 1,
		.state = "streaming",
		.replay_lsn = replay_lsn,
		.replay_lag_ms = LAG_NONE,
		.connected_ms = 3600000,
		.replied_at_us = 1,
		.kept_bytes = LAG_NONE,
	};
}

static void look(struct lag_sample sample, int64_t lsn, uint64_t now_ms)
{
	lag_history_add(&h, lsn, now_ms);
	lag_standby_update(&s, &h, &sample, lsn, now_ms);
}

static void expect(enum lag_cause cause, int64_t lag_ms)
{
	assert_int_equal(s.cause, cause);
	assert_int_equal(s.lag_ms, lag_ms);
}

static void expect_cause(const char *words)
{
	char text[64];

	lag_describe_cause(&s, text, sizeof text);
	assert_string_equal(text, words);
}

/* replay_lag is NULL, and there is nothing to replay. */
static void test_caught_up_and_idle(void **state)
{
	(void)state;
	look(fine(1000), 1000, 5000);
	expect(LAG_KNOWN, 0);
	look(fine(1000), 1000, 15000);
	expect(LAG_KNOWN, 0);
}

static void test_replay_paused(void **state)
{
	(void)state;
	look(fine(1000), 1000, 5000);
	for (int i = 1; i <= 20; i++) {
		struct lag_sample sample = fine(1000);

		sample.replied_at_us = i;
		sample.replay_lag_ms = i < 3 ? LAG_NONE : i * 500 - 100;
		look(sample, 1000 + i * 100, 5000 + (uint64_t)i * 500);
		/* The WAL passed 1000 at the first of these samples. */
		expect(LAG_KNOWN, i < 3 ? (i - 1) * 500 : i * 500 - 100);
	}
	assert_int_equal(s.behind_bytes, 2000);
}

/* replay_lag is NULL while bytes grow, and the state is still streaming. */
static void test_receiver_frozen(void **state)
{
	(void)state;
	look(fine(1000), 1000, 1000);
	look(fine(1000), 1500, 1500);
	look(fine(1000), 2000, 2000);
	expect(LAG_KNOWN, 500);
	look(fine(1000), 9000, 9000);
	expect(LAG_KNOWN, 7500);
	look(fine(1000), 9500, 21500);
	expect(LAG_SILENT, 0);
	expect_cause("no reply for 20 s");
}

static void test_no_reply_though_caught_up(void **state)
{
	(void)state;
	look(fine(1000), 1000, 1000);
	look(fine(1000), 1000, 21000);
	expect(LAG_KNOWN, 0);
	look(fine(1000), 1000, 21001);
	expect(LAG_SILENT, 0);
}

/* Without pg_monitor a row comes, with NULL in each column that counts. */
static void test_hidden(void **state)
{
	struct lag_sample sample = fine(LAG_NONE);

	(void)state;
	sample.state = NULL;
	look(sample, 1000, 1000);
	expect(LAG_NO_POSITION, 0);
	expect_cause("it tells no replay position");
}

/* pg_receivewal and its like: streaming, and nothing is ever replayed. */
static void test_receives_without_replay(void **state)
{
	struct lag_sample sample = fine(LAG_NONE);

	(void)state;
	sample.replay_lag_ms = 23280000;
	look(sample, 1000, 1000);
	expect(LAG_NO_POSITION, 0);
}

static void test_not_connected(void **state)
{
	struct lag_sample sample = {
		.replay_lsn = LAG_NONE,
		.replay_lag_ms = LAG_NONE,
		.replied_at_us = LAG_NONE,
		.kept_bytes = 4096,
	};
	char text[128];

	(void)state;
	look(fine(1000), 1000, 1000);
	look(sample, 1000, 2000);
	expect(LAG_NOT_CONNECTED, 0);
	expect_cause("not connected");
	assert_int_equal(s.known_at_ms, 1000);
	assert_int_equal(s.behind_bytes, LAG_NONE);
	lag_describe(&s, text, sizeof text);
	assert_string_equal(text, "not connected; its slot keeps 4096 bytes");
}

static void test_catching_up(void **state)
{
	struct lag_sample sample = fine(1000);

	(void)state;
	sample.state = "catchup";
	look(sample, 900000, 1000);
	expect(LAG_NOT_STREAMING, 0);
	expect_cause("its state is catchup");
}

/* Behind at the first look: for how long, only the server may know. */
static void test_first_look(void **state)
{
	struct lag_sample sample = fine(1000);

	(void)state;
	look(sample, 2000, 1000);
	expect(LAG_NOT_MEASURED, 0);
	expect_cause("not measured yet");
	for (uint64_t t = 2000; t < 9000; t += 1000) {
		look(sample, 2000, t);
	}
	look(sample, 2500, 9000);
	expect(LAG_NOT_MEASURED, 8000);
	sample.replay_lag_ms = 12000;
	look(sample, 3000, 9500);
	expect(LAG_NOT_MEASURED, 12000);
	/* It may have been told long ago. */
	sample.replied_at_us++;
	look(sample, 3000, 9600);
	expect(LAG_KNOWN, 12000);
	sample = fine(2100);
	look(sample, 3000, 10000);
	expect(LAG_KNOWN, 1000);
}

/* It connected a second ago, and what it replays is hours old. */
static void test_server_knows_no_more_than_the_connection(void **state)
{
	struct lag_sample sample = fine(1000);

	(void)state;
	for (int i = 0; i < 10; i++) {
		sample.replied_at_us++;
		sample.replay_lag_ms = 1000 + i * 500;
		sample.connected_ms = 1200 + i * 500;
		look(sample, 900000, 7200000 + (uint64_t)i * 500);
		expect(LAG_NOT_MEASURED, 1000 + i * 500);
	}
	sample = fine(900000);
	look(sample, 900100, 7205000);
	expect(LAG_KNOWN, 0);
}

/* The daemon was stopped for a minute, in which the server wrote on: all that
 * came meanwhile may be that old. What came before is still known. */
static void test_nobody_looked(void **state)
{
	struct lag_sample sample = fine(1100);

	(void)state;
	look(fine(1000), 1000, 1000);
	look(fine(1000), 1000, 1500);
	sample.replied_at_us = 2;
	look(sample, 9000, 61500);
	expect(LAG_NOT_MEASURED, 0);
	look(sample, 9100, 62000);
	expect(LAG_NOT_MEASURED, 500);
	look(fine(9000), 9200, 62500);
	expect(LAG_KNOWN, 500);
}

/* What is left out of the history takes no gap with it. */
static void test_gap_is_not_forgotten(void **state)
{
	int at_least = 0;

	(void)state;
	lag_history_add(&h, 1000, 0);
	lag_history_add(&h, 9000, 60000);
	for (uint64_t i = 1; i < 10 * LAG_HISTORY; i++) {
		lag_history_add(&h, 9000 + (int64_t)i, 60000 + i * 500);
	}
	(void)lag_history_ms(&h, 5000, 60000 + 5000 * LAG_HISTORY, &at_least);
	assert_int_equal(at_least, 1);

	/* Nor with what stands right before it, which is left out or not. */
	for (uint64_t before = 100; before < 104; before++) {
		memset(&h, 0, sizeof h);
		for (uint64_t i = 1; i <= before; i++) {
			lag_history_add(&h, (int64_t)i, i * 500);
		}
		for (uint64_t i = 0; i < 20 * LAG_HISTORY; i++) {
			lag_history_add(&h, 9000 + (int64_t)i, 60000 + i * 500);
		}
		(void)lag_history_ms(
			&h, 5000, 60000 + 10000 * LAG_HISTORY, &at_least);
		assert_int_equal(at_least, 1);
	}
}

/* The larger of the two: the server's may have stuck (before 15.18). */
static void test_larger_counts(void **state)
{
	struct lag_sample sample = fine(1000);

	(void)state;
	look(sample, 1000, 1000);
	sample.replay_lag_ms = 3;
	look(sample, 1500, 2000);
	look(sample, 1900, 8000);
	expect(LAG_KNOWN, 6000);
}

/* Two connections of one name, told as one: that is no reason to doubt. */
static void test_connected_twice(void **state)
{
	struct lag_sample sample = fine(1000);

	(void)state;
	sample.connections = 2;
	look(sample, 1000, 1000);
	expect(LAG_KNOWN, 0);
}

/* The position is asked for first: by the time of the rest it may be behind
 * the standby, and whatever lag the server tells is over. */
static void test_ahead_of_the_position(void **state)
{
	struct lag_sample sample = fine(1200);
	char text[128];

	(void)state;
	sample.replay_lag_ms = 700;
	look(sample, 1000, 1000);
	expect(LAG_KNOWN, 0);
	assert_int_equal(s.behind_bytes, 0);
	lag_describe(&s, text, sizeof text);
	assert_string_equal(text, "streaming, 0 bytes behind");
}

/* One column alone may be hidden, and there are more states than two. */
static void test_half_of_it_is_told(void **state)
{
	struct lag_sample sample = fine(1000);
	char text[128];

	(void)state;
	sample.state = NULL;
	look(sample, 1000, 1000);
	expect(LAG_NO_POSITION, 0);
	sample = fine(LAG_NONE);
	look(sample, 1000, 1500);
	expect(LAG_NO_POSITION, 0);
	lag_describe(&s, text, sizeof text);
	assert_string_equal(text, "it tells no replay position");
	sample = fine(1000);
	sample.state = "stopping";
	look(sample, 1000, 2000);
	expect(LAG_NOT_STREAMING, 0);
	expect_cause("its state is stopping");
}

/* It is a sign of life, whatever its clock says. */
static void test_clock_of_the_standby_goes_back(void **state)
{
	struct lag_sample sample = fine(1000);

	(void)state;
	for (int i = 0; i < 5; i++) {
		sample.replied_at_us = 1000 - i;
		look(sample, 1000, 1000 + (uint64_t)i * 15000);
		expect(LAG_KNOWN, 0);
	}
}

/* While nothing is written nothing is noted, and nothing forgotten. */
static void test_idle_for_long(void **state)
{
	int at_least = 1;

	(void)state;
	lag_history_add(&h, 10, 1000);
	for (uint64_t t = 2000; t < 2000 + 500 * 10 * LAG_HISTORY; t += 500) {
		lag_history_add(&h, 20, t);
	}
	assert_int_equal(lag_history_ms(&h, 10, 2002000, &at_least), 2000000);
	assert_int_equal(at_least, 0);
}

/* Another server, after a failover: what was noted of the old one is void. */
static void test_wal_position_goes_back(void **state)
{
	(void)state;
	look(fine(2000), 2000, 500);
	look(fine(5000), 5000, 1000);
	look(fine(3000), 4000, 2000);
	expect(LAG_NOT_MEASURED, 0);
}

/* A day of lag needs no more memory, and stays within a tenth. */
static void test_long_history(void **state)
{
	int at_least = 1;
	int64_t lsn = 0;

	(void)state;
	for (uint64_t t = 0; t <= 86400000; t += 500) {
		lag_history_add(&h, lsn += 10, t);
	}
	assert_true(h.count <= LAG_HISTORY);
	for (int64_t ago_ms = 500; ago_ms < 86400000; ago_ms *= 2) {
		int64_t ms = lag_history_ms(
			&h, lsn - ago_ms / 50, 86400000, &at_least);

		assert_int_equal(at_least, 0);
		assert_true(ms <= ago_ms);
		assert_true(ms >= ago_ms * 9 / 10 - 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_caught_up_and_idle, reset),
		cmocka_unit_test_setup(test_replay_paused, reset),
		cmocka_unit_test_setup(test_receiver_frozen, reset),
		cmocka_unit_test_setup(test_no_reply_though_caught_up, reset),
		cmocka_unit_test_setup(test_hidden, reset),
		cmocka_unit_test_setup(test_receives_without_replay, reset),
		cmocka_unit_test_setup(test_not_connected, reset),
		cmocka_unit_test_setup(test_catching_up, reset),
		cmocka_unit_test_setup(test_first_look, reset),
		cmocka_unit_test_setup(
			test_server_knows_no_more_than_the_connection, reset),
		cmocka_unit_test_setup(test_nobody_looked, reset),
		cmocka_unit_test_setup(test_gap_is_not_forgotten, reset),
		cmocka_unit_test_setup(test_larger_counts, reset),
		cmocka_unit_test_setup(test_connected_twice, reset),
		cmocka_unit_test_setup(test_ahead_of_the_position, reset),
		cmocka_unit_test_setup(test_half_of_it_is_told, reset),
		cmocka_unit_test_setup(
			test_clock_of_the_standby_goes_back, reset),
		cmocka_unit_test_setup(test_idle_for_long, reset),
		cmocka_unit_test_setup(test_wal_position_goes_back, reset),
		cmocka_unit_test_setup(test_long_history, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
