/* test_pgc_close.c: close at every turn of the loop in every kind of
 * scenario, and connections that come and go. Whatever happens, each
 * callback comes once, "closed" is the last, no handle, no descriptor and
 * no memory stays. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster.h"
#include "loop.h"

enum { TURNS_MAX = 400, CYCLES = 1000, CLIENTS = 8 };

static struct cluster *cluster;
static int refusing_socket;
static int refusing_port;

/* A scenario starts at a new client and says when it is over. */
struct scenario {
	void (*start)(struct loop_client *client);
	int (*is_over)(const struct loop_client *client);
	const char *trace; /* when nobody closes it before its end */
};

static struct loop_reply *send_sql(
	struct loop_client *client, const char *sql, uint64_t deadline_ms)
{
	struct pgc_request *request = pgc_request_new(deadline_ms);

	pgc_add(request, sql);
	return loop_client_send(client, request);
}

static int is_notified(const struct loop_client *client)
{
	return client->notifies == 2;
}

static int is_lost(const struct loop_client *client)
{
	return client->losses == 1;
}

static int is_refused(const struct loop_client *client)
{
	return client->connect_err.code != BFE_OK && client->done == 2;
}

/* Everything in order: connect, requests, an error, notifications. */
static void send_notify(struct loop_client *client)
{
	(void)send_sql(client, "NOTIFY here", LOOP_LIMIT_MS);
}

static void send_all(struct loop_client *client)
{
	(void)send_sql(client, "LISTEN here", LOOP_LIMIT_MS);
	(void)send_sql(client, "SELECT 1/0", LOOP_LIMIT_MS);
	send_sql(client, "NOTIFY here", LOOP_LIMIT_MS)->then = send_notify;
}

static void start_usual(struct loop_client *client)
{
	client->on_connect = send_all;
	loop_client_open(client,
		cluster_conninfo(cluster, "postgres", "postgres"),
		LOOP_LIMIT_MS);
	loop_client_connect(client);
}

/* Names to look up and a host that refuses come before the good one. */
static void start_with_list(struct loop_client *client)
{
	char conninfo[512];

	(void)snprintf(conninfo, sizeof conninfo,
		"host=127.0.0.1,localhost,%s port=%d,%d,%s "
		"dbname=postgres user=postgres",
		cluster_dir(cluster), refusing_port, refusing_port,
		cluster_port(cluster));
	client->on_connect = send_all;
	loop_client_open(client, conninfo, LOOP_LIMIT_MS);
	loop_client_connect(client);
}

static void start_refused(struct loop_client *client)
{
	char conninfo[512];

	(void)snprintf(conninfo, sizeof conninfo,
		"host=127.0.0.1 port=%d dbname=postgres user=postgres",
		refusing_port);
	loop_client_open(client, conninfo, LOOP_LIMIT_MS);
	loop_client_connect(client);
	(void)send_sql(client, "SELECT 1", LOOP_LIMIT_MS);
	(void)send_sql(client, "SELECT 2", LOOP_LIMIT_MS);
}

static void send_suicide(struct loop_client *client)
{
	(void)send_sql(client, "SELECT pg_terminate_backend(pg_backend_pid())",
		LOOP_LIMIT_MS);
	(void)send_sql(client, "SELECT 2", LOOP_LIMIT_MS);
}

static void start_terminated(struct loop_client *client)
{
	client->on_connect = send_suicide;
	loop_client_open(client,
		cluster_conninfo(cluster, "postgres", "postgres"),
		LOOP_LIMIT_MS);
	loop_client_connect(client);
}

static void send_sleep(struct loop_client *client)
{
	(void)send_sql(client, "SELECT pg_sleep(3600)", 20);
	(void)send_sql(client, "SELECT 2", LOOP_LIMIT_MS);
}

static void start_timed_out(struct loop_client *client)
{
	client->on_connect = send_sleep;
	loop_client_open(client,
		cluster_conninfo(cluster, "postgres", "postgres"),
		LOOP_LIMIT_MS);
	loop_client_connect(client);
}

/* Bytes that stay in libpq's buffer, since nobody reads them. */
static void send_much(struct loop_client *client)
{
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct text sql;

	text_init(&sql);
	text_addf(&sql, "SELECT length('%*s')", 3000000, "x");
	pgc_add(request, sql.data);
	pgc_add(request, "SELECT repeat('y', 3000000)");
	text_close(&sql);
	(void)loop_client_send(client, request);
}

static void start_much(struct loop_client *client)
{
	client->on_connect = send_much;
	loop_client_open(client,
		cluster_conninfo(cluster, "postgres", "postgres"),
		LOOP_LIMIT_MS);
	loop_client_connect(client);
}

static int is_done(const struct loop_client *client)
{
	return client->done == 1;
}

/* Turn the loop `turns` times or until the scenario is over, then close.
 * Returns whether it was over. */
static int close_after(const struct scenario *s, int turns)
{
	uv_loop_t loop;
	struct loop_client client = { .loop = &loop };
	int is_over = 0;
	const char *ready;

	assert_int_equal(uv_loop_init(&loop), 0);
	s->start(&client);
	for (int i = 0; i < turns && !is_over; i++) {
		(void)uv_run(&loop, UV_RUN_ONCE);
		is_over = s->is_over(&client);
	}
	if (is_over) {
		assert_string_equal(client.trace.data, s->trace);
	}
	loop_client_close(&client);
	loop_wait(&loop, &client.closes, 1);
	assert_int_equal(client.connects, 1);
	assert_int_equal(client.done, client.sent);
	/* A loss is told only of what was ready, and once. */
	ready = strstr(client.trace.data, "ready, ");
	assert_true(client.losses <= (ready != NULL));
	loop_client_end(&client);
	loop_end(&loop);
	return is_over;
}

static void close_at_every_turn(const struct scenario *s)
{
	int fds = loop_fd_count();
	int turns = 0;

	while (!close_after(s, turns)) {
		turns++;
		assert_true(turns < TURNS_MAX);
	}
	assert_true(turns > 1);
	assert_int_equal(loop_fd_count(), fds);
}

static const char usual[] = "ready, 1 ok, 2 sql, 3 ok, notify, 4 ok, notify, ";

static void test_close_usual(void **state)
{
	const struct scenario s = { start_usual, is_notified, usual };

	(void)state;
	close_at_every_turn(&s);
}

static void test_close_with_list(void **state)
{
	const struct scenario s = { start_with_list, is_notified, usual };

	(void)state;
	close_at_every_turn(&s);
}

static void test_close_refused(void **state)
{
	const struct scenario s = { start_refused, is_refused,
		"connect, 1 lost, 2 lost, " };

	(void)state;
	close_at_every_turn(&s);
}

static void test_close_terminated(void **state)
{
	const struct scenario s = { start_terminated, is_lost,
		"ready, 1 lost, 2 lost, lost, " };

	(void)state;
	close_at_every_turn(&s);
}

static void test_close_timed_out(void **state)
{
	const struct scenario s = { start_timed_out, is_lost,
		"ready, 1 timeout, 2 lost, lost, " };

	(void)state;
	close_at_every_turn(&s);
}

static void test_close_much(void **state)
{
	const struct scenario s = { start_much, is_done, "ready, 1 ok, " };

	(void)state;
	close_at_every_turn(&s);
}

static void test_close_unused(void **state)
{
	uv_loop_t loop;
	struct loop_client client = { .loop = &loop };

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	loop_client_open(&client, "", LOOP_LIMIT_MS);
	(void)send_sql(&client, "SELECT 1", LOOP_LIMIT_MS);
	loop_client_close(&client);
	(void)send_sql(&client, "SELECT 2", LOOP_LIMIT_MS);
	loop_wait(&loop, &client.closes, 1);
	assert_string_equal(client.trace.data, "1 closed, 2 closed, closed, ");
	loop_client_end(&client);
	loop_end(&loop);
}

/* Another handle's callback sends while the handles are closing. */
static void on_check(uv_check_t *check)
{
	struct loop_client *client = check->data;

	(void)send_sql(client, "SELECT 1", LOOP_LIMIT_MS);
	uv_close((uv_handle_t *)check, NULL);
}

static void test_send_while_closing(void **state)
{
	uv_loop_t loop;
	uv_check_t check;
	struct loop_client client = { .loop = &loop };

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	loop_client_open(&client, "", LOOP_LIMIT_MS);
	assert_int_equal(uv_check_init(&loop, &check), 0);
	check.data = &client;
	assert_int_equal(uv_check_start(&check, on_check), 0);
	loop_client_close(&client);
	loop_wait(&loop, &client.closes, 1);
	assert_string_equal(client.trace.data, "1 closed, closed, ");
	loop_client_end(&client);
	loop_end(&loop);
}

/* Connections that a ninth one terminates, in turn while idle, in the
 * middle of a request and with a host that refuses before theirs; each
 * begins anew until CYCLES are over. */
struct churn {
	uv_loop_t loop;
	struct loop_client killer;
	struct loop_client clients[CLIENTS];
	int started;
	int ended;
};

static void kill_backend(struct loop_client *client)
{
	struct churn *churn = client->data;
	char sql[64];

	assert_int_equal(client->connect_err.code, BFE_OK);
	if (churn->started % 3 == 1) {
		(void)send_sql(client, "SELECT pg_sleep(3600)", LOOP_LIMIT_MS);
	}
	(void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)",
		pgc_backend_pid(client->pgc));
	(void)send_sql(&churn->killer, sql, LOOP_LIMIT_MS);
}

static void start_cycle(struct churn *churn, struct loop_client *client)
{
	if (churn->started == CYCLES) {
		return;
	}
	if (churn->started++ % 3 == 2) {
		start_with_list(client);
	} else {
		start_usual(client);
	}
	client->on_connect = kill_backend;
}

static void end_cycle(struct loop_client *client)
{
	struct churn *churn = client->data;

	assert_int_equal(client->losses, 1);
	loop_client_end(client);
	churn->ended++;
	start_cycle(churn, client);
}

static void test_churn(void **state)
{
	struct churn churn = { .started = 0 };
	int fds = loop_fd_count();

	(void)state;
	assert_int_equal(uv_loop_init(&churn.loop), 0);
	churn.killer.loop = &churn.loop;
	loop_client_start(&churn.killer,
		cluster_conninfo(cluster, "postgres", "postgres"));
	for (int i = 0; i < CLIENTS; i++) {
		churn.clients[i].loop = &churn.loop;
		churn.clients[i].data = &churn;
		churn.clients[i].on_lost = loop_client_close;
		churn.clients[i].on_closed = end_cycle;
		start_cycle(&churn, &churn.clients[i]);
	}
	for (int wanted = CLIENTS; wanted <= CYCLES; wanted += CLIENTS) {
		loop_wait(&churn.loop, &churn.ended, wanted);
	}
	/* The last one may be lost before the reply that it was terminated. */
	loop_wait(&churn.loop, &churn.killer.done, CYCLES);
	assert_int_equal(churn.killer.losses, 0);
	loop_client_end(&churn.killer);
	loop_end(&churn.loop);
	assert_int_equal(loop_fd_count(), fds);
}

static int start_cluster(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	loop_end(&loop);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	refusing_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(refusing_socket, (struct sockaddr *)&address,
				 sizeof address),
		0);
	assert_int_equal(getsockname(refusing_socket,
				 (struct sockaddr *)&address, &length),
		0);
	refusing_port = ntohs(address.sin_port);
	cluster = cluster_start();
	return cluster == NULL;
}

static int stop_cluster(void **state)
{
	(void)state;
	cluster_stop(cluster);
	return close(refusing_socket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_usual),
		cmocka_unit_test(test_close_with_list),
		cmocka_unit_test(test_close_refused),
		cmocka_unit_test(test_close_terminated),
		cmocka_unit_test(test_close_timed_out),
		cmocka_unit_test(test_close_much),
		cmocka_unit_test(test_close_unused),
		cmocka_unit_test(test_send_while_closing),
		cmocka_unit_test(test_churn),
	};

	return cmocka_run_group_tests_name(
		"pgc_close", tests, start_cluster, stop_cluster);
}
