/* test_http_hostile.c: clients that are slow, silent, many or mad. Whatever
 * they do, they are cut off, others are answered, the loop turns, and the job
 * that runs meanwhile changes each row once. */
#include "../integration/http_drive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { ROWS = 400, LIMIT = 16, CLIENT_S = 5 };

/* Whether the server has closed it. */
static int is_cut(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&p, 1, 0) > 0 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

static void wait_until_cut(int fd)
{
	uint64_t deadline = wait_deadline(30);

	while (!is_cut(fd)) {
		if (!wait_again(deadline)) {
			fail_msg("it is still connected");
		}
	}
	close(fd);
}

/* A job of which each batch takes a while, so that it runs all the time. */
static int start_job(void **state)
{
	(void)state;
	sql_exec(shop.app, "UPDATE goods SET n = 0");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows, max_rows_per_second)"
		" VALUES ('mad', 'goods', 'n = n + 1', 4, 4, 40)");
	job_wait("mad", "running");
	return 0;
}

/* Nobody took the daemon for dead, and no turn of the loop waited for a client
 * until that was cut off. */
static int end_job(void **state)
{
	double lag = -1;
	const char *line;

	(void)state;
	http_wait(
		port, "/metrics", 200, "\nbackfilld_loop_lag_seconds ", &reply);
	line = strstr(reply.body.data, "\nbackfilld_loop_lag_seconds ");
	assert_int_equal(
		sscanf(line, "\nbackfilld_loop_lag_seconds %lf", &lag), 1);
	if (lag >= CLIENT_S) {
		fail_msg("a turn of the loop took %.3f s", lag);
	}
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET max_rows_per_second = NULL"
		" WHERE name = 'mad'");
	job_wait("mad", "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM goods WHERE n = 1"),
		ROWS);
	assert_has_not(daemon_log(shop.daemon), "connect again");
	assert_has_not(daemon_log(shop.daemon), "taken over");
	sql_exec(shop.db, "DELETE FROM backfill.jobs WHERE name = 'mad'");
	return 0;
}

static void assert_served(void)
{
	assert_int_equal(http_get(port, "/healthz", &reply), 200);
}

/* ---- slow ---- */

static void test_silent(void **state)
{
	int fds[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		fds[i] = http_open(port);
	}
	assert_served();
	for (int i = 0; i < 4; i++) {
		wait_until_cut(fds[i]);
	}
}

/* A byte every 10 ms is progress, and not enough of it. */
static void test_byte_by_byte(void **state)
{
	uint64_t deadline = wait_deadline(60);
	int fd = http_open(port);
	int is_first = 1;

	(void)state;
	http_say(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
	while (!is_cut(fd)) {
		(void)http_send(fd, is_first ? "X" : "x", 1);
		is_first = 0;
		if (!wait_again(deadline)) {
			fail_msg("it may go on for ever");
		}
	}
	close(fd);
	assert_served();
}

static void set_small_buffer(int fd)
{
	int size = 1;

	assert_return_code(
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

static int is_established(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof info;

	assert_return_code(
		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
	return info.tcpi_state == TCP_ESTABLISHED;
}

/* An answer larger than the buffers of the network, read a byte at a time. */
static void test_slow_reader(void **state)
{
	uint64_t deadline = wait_deadline(60);
	int fd = http_open(port);
	size_t whole, got = 0;
	char byte;

	(void)state;
	sql_exec(shop.db,
		"INSERT INTO backfill.jobs (name, target, set_clause, hold,"
		" run_as) SELECT 'large ' || i || repeat('x', 900), 'goods',"
		" 'n = 1', true, 'app' FROM generate_series(1, 100) i");
	http_wait(port, "/status.json", 200, "large 100", &reply);
	whole = reply.body.length;
	assert_true(whole > 200000);
	close(fd);
	fd = http_open(port);
	set_small_buffer(fd);
	http_say(fd, "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
	while (is_established(fd)) {
		got += recv(fd, &byte, 1, 0) == 1;
		if (!wait_again(deadline)) {
			fail_msg("it may go on for ever");
		}
	}
	/* What the network still had. */
	while (recv(fd, &byte, 1, 0) == 1) {
		got++;
	}
	assert_true(got < whole);
	close(fd);
	sql_exec(shop.db,
		"DELETE FROM backfill.jobs WHERE name LIKE"
		" 'large %%'");
}

/* ---- many ---- */

/* Those that have no place wait for one; nobody is answered by less than all
 * of an answer. */
static void test_many(void **state)
{
	enum { MANY = 4 * LIMIT };
	int fds[MANY];

	(void)state;
	for (int i = 0; i < LIMIT; i++) {
		fds[i] = http_open(port);
	}
	assert_served();
	for (int i = 0; i < LIMIT; i++) {
		wait_until_cut(fds[i]);
	}
	for (int i = 0; i < MANY; i++) {
		fds[i] = http_open(port);
		http_say(fds[i],
			"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
	}
	for (int i = 0; i < MANY; i++) {
		http_read(fds[i], &reply);
		assert_int_equal(reply.status, 200);
	}
}

/* The descriptors of the daemon, by its own count. */
static int open_fds(void)
{
	static const char words[] = "\nprocess_open_fds ";
	const char *line;
	int count = 0;

	http_wait(port, "/metrics", 200, words, &reply);
	line = strstr(reply.body.data, words);
	assert_int_equal(sscanf(line + strlen(words), "%d", &count), 1);
	return count;
}

static void test_coming_and_going(void **state)
{
	int before = open_fds();
	uint64_t deadline;

	(void)state;
	for (int i = 0; i < 60; i++) {
		int fd = http_open(port);
		const struct linger rst = { 1, 0 };

		if (i % 3 == 1) {
			http_say(fd,
				"GET /status.json HTTP/1.1\r\n"
				"Host: localhost\r\n\r\n");
		} else if (i % 3 == 2) {
			http_say(fd, "GET /status");
		}
		if (i % 2 == 0) {
			(void)setsockopt(
				fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
		}
		close(fd);
	}
	deadline = wait_deadline(60);
	while (open_fds() > before) {
		if (!wait_again(deadline)) {
			fail_msg("descriptors are left open");
		}
	}
}

/* ---- mad ---- */

static void send_garbage(unsigned seed)
{
	char bytes[2048];
	int fd = http_open(port);

	srand(seed);
	for (size_t i = 0; i < sizeof bytes; i++) {
		bytes[i] = (char)rand();
	}
	if (seed % 3 == 1) {
		memcpy(bytes, "GET /", 5);
	} else if (seed % 3 == 2) {
		static const char begin[] = "GET / HTTP/1.1\r\nHost: localhost"
					    "\r\n";

		memcpy(bytes, begin, sizeof begin - 1);
	}
	(void)http_send(fd, bytes, sizeof bytes);
	(void)http_send(fd, "\r\n\r\n", 4);
	(void)shutdown(fd, SHUT_WR);
	http_read(fd, &reply);
	assert_true(reply.status == 0 || reply.status >= 200);
}

static void test_garbage(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 200; seed++) {
		send_garbage(seed);
	}
	assert_served();
}

static void test_endless_head(void **state)
{
	static const char line[] = "X-More: of the same\r\n";
	int fd = http_open(port);

	(void)state;
	http_say(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
	for (int i = 0; i < 2000; i++) {
		(void)http_send(fd, line, sizeof line - 1);
	}
	close(fd);
	fd = http_open(port);
	http_say(fd, "GET /");
	for (int i = 0; i < 2000; i++) {
		(void)http_send(fd, line, 5);
	}
	close(fd);
	assert_served();
}

/* One request per connection: the second is not answered, let alone mixed
 * up with the first. */
static void test_pipelined(void **state)
{
	int fd = http_open(port);

	(void)state;
	http_say(fd,
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
		"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n");
	http_read(fd, &reply);
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body.data, "ok\n");
}

static void test_strange_arguments(void **state)
{
	static const char *const paths[] = { "/status.json?database=",
		"/status.json?database=t&job=%00", "/status.json?%",
		"/status.json?database=t&job=%27%3B+DROP+TABLE+goods%3B--",
		"/status.json?database=t&job=%ff%fe",
		"/status.json?&&&=&=", "/status.json?database=t&job=-1",
		"/status.json?database=t&database=u&job" };

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		(void)http_get(port, paths[i], &reply);
		assert_true(reply.status == 200 || reply.status == 400 ||
			reply.status == 404);
	}
	assert_served();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_job, end_job)
	const struct CMUnitTest tests[] = {
		TEST(test_silent),
		TEST(test_byte_by_byte),
		TEST(test_slow_reader),
		TEST(test_many),
		TEST(test_coming_and_going),
		TEST(test_garbage),
		TEST(test_endless_head),
		TEST(test_pipelined),
		TEST(test_strange_arguments),
	};
#undef TEST

	return cmocka_run_group_tests(tests, http_shop_start, http_shop_stop);
}
