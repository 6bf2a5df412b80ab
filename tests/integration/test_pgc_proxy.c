/* test_pgc_proxy.c: one connection through a network that goes wrong at
 * every byte of either side, from the first to the last: what was asked is
 * answered once, in bounded time, and the loop turns meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster.h"
#include "loop.h"
#include "proxy.h"

enum { BYTES_MOST = 2000, SHORT_MS = 150 };

static struct cluster *cluster;
static struct proxy *proxy;
static uv_loop_t loop;
static struct loop_client client;
static struct loop_ticker ticker;
static int fds;

/* The first loop of a program opens what stays. */
static int start_cluster(void **state)
{
	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	loop_end(&loop);
	cluster = cluster_start();
	return 0;
}

static int stop_cluster(void **state)
{
	(void)state;
	cluster_stop(cluster);
	return 0;
}

static int start(void **state)
{
	(void)state;
	fds = loop_fd_count();
	proxy = proxy_start(cluster_dir(cluster), cluster_port(cluster));
	assert_int_equal(uv_loop_init(&loop), 0);
	client.loop = &loop;
	loop_ticker_start(&loop, &ticker);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	loop_ticker_end(&ticker);
	loop_end(&loop);
	proxy_stop(proxy);
	assert_int_equal(loop_fd_count(), fds);
	return 0;
}

/* A connection, a request of three statements, a notification. */
static void talk(uint64_t timeout_ms)
{
	struct pgc_request *request = pgc_request_new(timeout_ms);
	char conninfo[128];

	(void)snprintf(conninfo, sizeof conninfo,
		"host=127.0.0.1 port=%d dbname=postgres user=postgres",
		proxy_port(proxy));
	loop_client_open(&client, conninfo, timeout_ms);
	loop_client_connect(&client);
	pgc_add(request, "LISTEN here");
	pgc_add(request, "SELECT repeat('x', 100) FROM generate_series(1, 3)");
	pgc_add(request, "NOTIFY here, 'hello'");
	(void)loop_client_send(&client, request);
	loop_wait(&loop, &client.done, 1);
}

/* What was not answered is told as lost or timed out, once. */
static void assert_trace(int is_timeout)
{
	static const char *const traces[] = {
		"connect, 1 lost, ",
		"ready, 1 lost, lost, ",
		"timeout, 1 lost, ",
		"ready, 1 timeout, lost, ",
	};
	int i = is_timeout * 2;

	if (strcmp(client.trace.data, traces[i]) != 0 &&
		strcmp(client.trace.data, traces[i + 1]) != 0) {
		fail_msg("%s", client.trace.data);
	}
}

/* The fault in place of byte 1, 1 + step, … until all bytes went by. Where the
 * time was over before the fault came, it comes again, and later. */
static void at_every_byte(
	enum proxy_fault fault, enum proxy_side side, int step)
{
	int is_silent = fault != PROXY_RESET && fault != PROXY_CLOSE;
	uint64_t timeout_ms = is_silent ? SHORT_MS : LOOP_LIMIT_MS;
	int at = 1, is_over = 0, met = 0;

	while (!is_over) {
		struct proxy_rule rule = {
			.fault = fault,
			.side = side,
			.at_byte = at,
		};
		int before = proxy_count(proxy);
		int is_met, is_answered;

		assert_true(at < BYTES_MOST);
		assert_true(timeout_ms <= LOOP_LIMIT_MS);
		proxy_arm(proxy, &rule);
		talk(timeout_ms);
		is_met = proxy_count(proxy) > before;
		is_answered = strstr(client.trace.data, "1 ok") != NULL;
		is_over = client.notifies > 0 || (is_answered && !is_met);
		if (is_met && !is_answered && !is_over) {
			assert_trace(is_silent);
			met++;
		}
		loop_client_end(&client);
		if (is_met || is_answered) {
			at += step;
		} else {
			proxy_act(proxy, PROXY_RESET);
			timeout_ms *= 2;
		}
	}
	assert_true(met > 4);
}

static void test_reset(void **state)
{
	(void)state;
	at_every_byte(PROXY_RESET, PROXY_CLIENT, 1);
	at_every_byte(PROXY_RESET, PROXY_SERVER, 1);
}

static void test_close(void **state)
{
	(void)state;
	at_every_byte(PROXY_CLOSE, PROXY_CLIENT, 1);
	at_every_byte(PROXY_CLOSE, PROXY_SERVER, 1);
}

static void test_silence(void **state)
{
	(void)state;
	at_every_byte(PROXY_STALL, PROXY_CLIENT, 17);
	at_every_byte(PROXY_STALL, PROXY_SERVER, 17);
	at_every_byte(PROXY_FREEZE, PROXY_SERVER, 37);
	at_every_byte(PROXY_LOSE_SERVER, PROXY_SERVER, 37);
}

/* Nothing is lost by it. */
static void test_pieces_and_delays(void **state)
{
	static const struct proxy_rule rules[] = {
		{ .fault = PROXY_SPLIT },
		{ .fault = PROXY_DELAY, .delay_ms = 30 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		int before = proxy_count(proxy);

		proxy_arm(proxy, &rules[i]);
		talk(LOOP_LIMIT_MS);
		loop_wait(&loop, &client.notifies, 1);
		assert_string_equal(client.trace.data, "ready, 1 ok, notify, ");
		assert_string_equal(client.payload, "hello");
		assert_int_equal(strlen(client.replies->results[1]), 303);
		assert_int_equal(proxy_count(proxy), before + 1);
		loop_client_end(&client);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reset),
		TEST(test_close),
		TEST(test_silence),
		TEST(test_pieces_and_delays),
	};

	return cmocka_run_group_tests_name(
		"pgc_proxy", tests, start_cluster, stop_cluster);
}
