/* test_pgc_hosts.c: a list of a host that refuses, a standby, one that says
 * nothing at all and the good one, in every order: the good one is found
 * within the time for connecting, while the loop turns. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "cluster.h"
#include "loop.h"
#include "wait.h"

enum { HOSTS = 4, ORDERS = 24, CONNECT_MS = 4000, FILLERS = 8 };

static struct cluster *primary, *standby;
static int refusing, hole; /* sockets */
static int fillers[FILLERS];
static char hosts[HOSTS][256], ports[HOSTS][16];
enum { REFUSED, STANDBY, HOLE, GOOD };

static uv_loop_t loop;
static struct loop_client client;
static struct loop_ticker ticker;
static char warnings[1024];
static uint64_t took_ms; /* the last attempt */

static void keep_warning(enum log_level level, const char *line)
{
	size_t length = strlen(warnings);

	if (level == LOG_WARNING) {
		(void)snprintf(warnings + length, sizeof warnings - length,
			"%s\n", line);
	}
}

/* A socket of the loopback, and its port. */
static int bind_socket(char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(
		bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(
		getsockname(fd, (struct sockaddr *)&address, &length), 0);
	(void)snprintf(port, 16, "%d", ntohs(address.sin_port));
	return fd;
}

/* With a full backlog not even the kernel answers. */
static void fill_backlog(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	assert_int_equal(listen(hole, 0), 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(ports[HOLE]));
	for (int i = 0; i < FILLERS; i++) {
		fillers[i] = socket(
			AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&address,
			sizeof address);
	}
}

static int start_servers(void **state)
{
	(void)state;
	log_set_sink(keep_warning);
	primary = cluster_start();
	standby = cluster_start_standby(primary, "standby");
	refusing = bind_socket(ports[REFUSED]);
	hole = bind_socket(ports[HOLE]);
	fill_backlog();
	(void)snprintf(hosts[REFUSED], sizeof hosts[0], "127.0.0.1");
	(void)snprintf(hosts[HOLE], sizeof hosts[0], "127.0.0.1");
	(void)snprintf(
		hosts[STANDBY], sizeof hosts[0], "%s", cluster_dir(standby));
	(void)snprintf(
		hosts[GOOD], sizeof hosts[0], "%s", cluster_dir(primary));
	(void)snprintf(
		ports[STANDBY], sizeof ports[0], "%s", cluster_port(standby));
	(void)snprintf(
		ports[GOOD], sizeof ports[0], "%s", cluster_port(primary));
	return 0;
}

static int stop_servers(void **state)
{
	(void)state;
	for (int i = 0; i < FILLERS; i++) {
		(void)close(fillers[i]);
	}
	(void)close(hole);
	(void)close(refusing);
	cluster_stop(standby);
	cluster_stop(primary);
	return 0;
}

static int start(void **state)
{
	(void)state;
	warnings[0] = '\0';
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
	return 0;
}

/* Connect by a list of `count` numbers of hosts, and wait for the outcome. */
static void connect_to(const int *list, int count, const char *attributes)
{
	struct text host, port;
	uint64_t started_ms;

	text_init(&host);
	text_init(&port);
	for (int i = 0; i < count; i++) {
		text_addf(&host, "%s%s", i > 0 ? "," : "", hosts[list[i]]);
		text_addf(&port, "%s%s", i > 0 ? "," : "", ports[list[i]]);
	}
	text_addf(&host,
		" port=%s dbname=postgres user=postgres "
		"target_session_attrs=%s",
		port.data, attributes);
	text_reset(&port);
	text_addf(&port, "host=%s", host.data);
	started_ms = wait_now_ms();
	loop_client_open(&client, port.data, CONNECT_MS);
	loop_client_connect(&client);
	loop_wait(&loop, &client.connects, 1);
	took_ms = wait_now_ms() - started_ms;
	text_close(&host);
	text_close(&port);
}

static void assert_on_primary(void)
{
	assert_string_equal(client.connect_err.message, "");
	assert_string_equal(
		loop_client_run(&client, "SELECT pg_is_in_recovery()")
			->results[0],
		"f\n");
}

/* The order of that number: each host once. */
static void make_order(int number, int *order)
{
	int left[HOSTS] = { REFUSED, STANDBY, HOLE, GOOD };

	for (int i = 0; i < HOSTS; i++) {
		int choice = number % (HOSTS - i);

		number /= HOSTS - i;
		order[i] = left[choice];
		for (int k = choice; k < HOSTS - 1; k++) {
			left[k] = left[k + 1];
		}
	}
}

static void test_every_order(void **state)
{
	int fds = loop_fd_count();

	(void)state;
	for (int i = 0; i < ORDERS; i++) {
		int order[HOSTS];

		make_order(i, order);
		connect_to(order, HOSTS, "read-write");
		assert_on_primary();
		assert_true(took_ms < CONNECT_MS);
		loop_client_end(&client);
	}
	assert_int_equal(loop_fd_count(), fds);
}

static int count(const char *text, const char *words)
{
	int found = 0;

	while ((text = strstr(text, words)) != NULL) {
		text += strlen(words);
		found++;
	}
	return found;
}

/* Each has its share of the time, and is told. */
static void test_what_hangs_is_told(void **state)
{
	static const int two[] = { HOLE, GOOD };
	static const int none[] = { HOLE, REFUSED, HOLE };
	static const char tail[] = " ms -> host is left out\n";
	char expected[256];
	char *end;
	long ms;

	(void)state;
	log_end(); /* the tests before wrote many like these */
	warnings[0] = '\0';
	connect_to(two, 2, "read-write");
	assert_on_primary();
	loop_client_end(&client);
	(void)snprintf(expected, sizeof expected,
		"test: server at \"127.0.0.1\", port %s did not complete the "
		"connection within ",
		ports[HOLE]);
	assert_memory_equal(warnings, expected, strlen(expected));
	/* A part of the first share may have gone by before it began. */
	ms = strtol(warnings + strlen(expected), &end, 10);
	assert_in_range(ms, CONNECT_MS / 4, CONNECT_MS / 2);
	assert_true(took_ms > CONNECT_MS * 3 / 8);
	assert_string_equal(end, tail);

	warnings[0] = '\0';
	connect_to(none, 3, "any");
	assert_int_equal(client.connect_err.code, BFE_CONNECT);
	(void)snprintf(expected, sizeof expected,
		"server at \"127.0.0.1\", port %s did not complete the "
		"connection within ",
		ports[HOLE]);
	assert_int_equal(count(warnings, expected), 2);
	assert_int_equal(count(client.connect_err.message, expected), 2);
	assert_int_equal(count(client.connect_err.message,
				 "failed: Connection refused;"),
		1);
	loop_client_end(&client);
}

/* It ends when the time for connecting is over, which they shared. */
static void test_all_hang(void **state)
{
	static const int list[] = { HOLE, HOLE };
	char expected[256];

	(void)state;
	connect_to(list, 2, "any");
	assert_int_equal(client.connect_err.code, BFE_TIMEOUT);
	assert_true(took_ms < 2 * CONNECT_MS);
	(void)snprintf(expected, sizeof expected,
		"server at \"127.0.0.1\", port %s did not complete the "
		"connection within ",
		ports[HOLE]);
	assert_int_equal(count(client.connect_err.message, expected), 2);
	loop_client_end(&client);
}

/* libpq goes through such a list twice: what it passed over the first time
 * must not be lost with the one that hangs. */
static void test_prefer_standby(void **state)
{
	static const int list[] = { GOOD, HOLE };

	(void)state;
	connect_to(list, 2, "prefer-standby");
	assert_on_primary();
	loop_client_end(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_order),
		TEST(test_what_hangs_is_told),
		TEST(test_all_hang),
		TEST(test_prefer_standby),
	};

	return cmocka_run_group_tests_name(
		"pgc_hosts", tests, start_servers, stop_servers);
}
