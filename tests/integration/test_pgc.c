/* test_pgc.c: requests on an established connection: results, errors,
 * notices, notifications, deadlines, loss. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cluster.h"
#include "loop.h"

static struct cluster *cluster;

struct fixture {
	uv_loop_t loop;
	struct loop_client client;
	PGconn *other; /* another, blocking session */
	int fds;
};

static void run_other(struct fixture *f, const char *sql)
{
	PGresult *result = PQexec(f->other, sql);
	ExecStatusType status = PQresultStatus(result);

	assert_true(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
	PQclear(result);
}

static int start(void **state)
{
	struct fixture *f = mem_new(1, sizeof *f);

	f->fds = loop_fd_count();
	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->other = cluster_connect(cluster, "postgres", "postgres");
	run_other(f, "SET client_min_messages = error");
	f->client.loop = &f->loop;
	loop_client_start(
		&f->client, cluster_conninfo(cluster, "postgres", "postgres"));
	*state = f;
	return 0;
}

static int stop(void **state)
{
	struct fixture *f = *state;

	loop_client_end(&f->client);
	loop_end(&f->loop);
	PQfinish(f->other);
	assert_int_equal(loop_fd_count(), f->fds);
	free(f);
	return 0;
}

/* Until the other session sees the client's backend so; our own loop does
 * not turn meanwhile. */
static void wait_for_backend(struct fixture *f, const char *condition)
{
	uint64_t end_ns = uv_hrtime() + LOOP_LIMIT_MS * UINT64_C(1000000);
	char sql[256];
	int is_so = 0;

	(void)snprintf(sql, sizeof sql,
		"SELECT 1 FROM pg_catalog.pg_stat_activity "
		"WHERE pid = %d AND %s",
		pgc_backend_pid(f->client.pgc), condition);
	while (!is_so && uv_hrtime() < end_ns) {
		PGresult *result = PQexec(f->other, sql);

		is_so = PQntuples(result);
		PQclear(result);
	}
	assert_int_equal(is_so, 1);
}

static void terminate(struct fixture *f)
{
	char sql[64];

	(void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)",
		pgc_backend_pid(f->client.pgc));
	run_other(f, sql);
}

static void test_values(void **state)
{
	struct fixture *f = *state;
	const char *const values[] = { "42", NULL, "it's; \\ \"é\"", "f" };
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;

	pgc_add_params(request,
		"SELECT $1::bigint + 1, $2::text, $3::text, $4::bool, ''", 4,
		values);
	pgc_add(request, "");
	pgc_add(request, "SELECT 1 WHERE false");
	pgc_add(request, "SELECT g FROM pg_catalog.generate_series(1, 3) g");
	reply = loop_client_wait(loop_client_send(&f->client, request));
	assert_int_equal(reply->err.code, BFE_OK);
	assert_int_equal(reply->failed_at, -1);
	assert_string_equal(reply->results[0], "43|\\N|it's; \\ \"é\"|f|\n");
	assert_string_equal(reply->results[1], "");
	assert_string_equal(reply->results[2], "");
	assert_string_equal(reply->results[3], "1\n2\n3\n");
	assert_null(reply->results[4]);
	assert_true(reply->elapsed_us > 0);
}

static void on_fields(
	void *data, struct pgc_request *request, const struct err *e)
{
	const PGresult *result = pgc_result(request, 0);

	assert_null(e);
	assert_true(pgc_int(result, 0, 0) == INT64_C(-9007199254740993));
	assert_int_equal(pgc_bool(result, 0, 1), 1);
	assert_int_equal(pgc_bool(result, 0, 2), 0);
	assert_int_equal(pgc_is_null(result, 0, 0), 0);
	assert_int_equal(pgc_is_null(result, 0, 3), 1);
	assert_string_equal(pgc_text(result, 0, 3), "");
	/* Beyond the edge. */
	assert_string_equal(pgc_text(result, 1, 0), "");
	assert_string_equal(pgc_text(result, 0, 4), "");
	assert_string_equal(pgc_text(NULL, 0, 0), "");
	assert_int_equal(pgc_is_null(result, 0, -1), 1);
	assert_int_equal(pgc_int(result, 0, 3), 0);
	assert_null(pgc_result(request, 1));
	*(int *)data = 1;
}

static void test_fields(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	int is_done = 0;

	pgc_add(request, "SELECT -9007199254740993, true, false, NULL::int");
	pgc_send(f->client.pgc, request, on_fields, &is_done);
	assert_int_equal(is_done, 0);
	loop_wait(&f->loop, &is_done, 1);
}

/* Before each request, in its transaction, and not counted. */
static void test_setup(void **state)
{
	static const char *const setup[] = { "SET transaction_read_only = on",
		"SELECT set_config('lock_timeout', '77', true), 1 / mine"
		" FROM marks",
		NULL };
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;

	run_other(f,
		"DROP TABLE IF EXISTS marks; "
		"CREATE TABLE marks AS SELECT 1 AS mine");
	loop_client_end(&f->client);
	f->client.setup = setup;
	loop_client_start(
		&f->client, cluster_conninfo(cluster, "postgres", "postgres"));

	pgc_add(request, "SHOW lock_timeout");
	pgc_add_parse(request, "SELECT $1::int");
	pgc_add(request, "UPDATE marks SET mine = 2");
	reply = loop_client_wait(loop_client_send(&f->client, request));
	assert_string_equal(reply->results[0], "77ms\n");
	assert_non_null(reply->results[1]);
	assert_string_equal(reply->err.sqlstate, "25006");
	assert_int_equal(reply->failed_at, 2);

	run_other(f, "UPDATE marks SET mine = 0");
	reply = loop_client_run(&f->client, "SELECT 1");
	assert_string_equal(reply->err.message, "division by zero");
	assert_int_equal(reply->failed_at, -1);
	assert_null(reply->results[0]);

	run_other(f, "UPDATE marks SET mine = 1");
	reply = loop_client_run(&f->client, "SHOW transaction_read_only");
	assert_string_equal(reply->results[0], "on\n");
	assert_string_equal(
		f->client.trace.data, "ready, 1 sql, 2 sql, 3 ok, ");
	run_other(f, "DROP TABLE marks");
}

/* The connection's owner knows better than the deadline. */
static void test_hurry(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;

	pgc_hurry(f->client.pgc);
	assert_string_equal(
		loop_client_run(&f->client, "SELECT 1")->results[0], "1\n");
	pgc_add(request, "SELECT pg_sleep(3600)");
	reply = loop_client_send(&f->client, request);
	assert_int_equal(uv_run(&f->loop, UV_RUN_ONCE), 1);
	pgc_hurry(f->client.pgc);
	assert_int_equal(reply->is_done, 0);
	(void)loop_client_wait(reply);
	assert_int_equal(reply->err.code, BFE_TIMEOUT);
	assert_string_equal(
		f->client.trace.data, "ready, 1 ok, 2 timeout, lost, ");
}

static void test_error_in_pipeline(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;

	run_other(f,
		"DROP TABLE IF EXISTS marks; "
		"CREATE TABLE marks (n int PRIMARY KEY)");
	pgc_add(request, "BEGIN");
	pgc_add(request, "INSERT INTO marks VALUES (1) RETURNING n");
	pgc_add(request, "INSERT INTO marks VALUES (1)");
	pgc_add(request, "SELECT nonsense");
	pgc_add(request, "ROLLBACK");
	pgc_add(request, "INSERT INTO marks VALUES (2)");
	reply = loop_client_wait(loop_client_send(&f->client, request));
	assert_int_equal(reply->err.code, BFE_SQL);
	assert_int_equal(reply->failed_at, 2);
	assert_string_equal(reply->err.sqlstate, "23505");
	assert_string_equal(reply->err.message,
		"duplicate key value violates unique constraint "
		"\"marks_pkey\"");
	assert_string_equal(reply->err.detail, "Key (n)=(1) already exists.");
	assert_string_equal(reply->err.hint, "");
	assert_string_equal(reply->results[1], "1\n");
	assert_non_null(reply->results[2]);
	assert_null(reply->results[3]);
	assert_null(reply->results[5]);

	/* Still in the failed transaction, which is the caller's to end. */
	reply = loop_client_run(&f->client, "SELECT 1");
	assert_string_equal(reply->err.sqlstate, "25P02");
	reply = loop_client_run(&f->client, "ROLLBACK");
	assert_int_equal(reply->err.code, BFE_OK);
	reply = loop_client_run(&f->client, "SELECT count(*) FROM marks");
	assert_string_equal(reply->results[0], "0\n");
	assert_int_equal(f->client.losses, 0);
}

/* The implicit transaction of a request commits at Sync: an error there
 * belongs to no statement. */
static void test_error_at_sync(void **state)
{
	struct fixture *f = *state;
	struct loop_reply *reply;

	run_other(f,
		"DROP TABLE IF EXISTS late; "
		"CREATE TABLE late (n int UNIQUE "
		"DEFERRABLE INITIALLY DEFERRED)");
	reply = loop_client_run(&f->client, "INSERT INTO late VALUES (1), (1)");
	assert_int_equal(reply->err.code, BFE_SQL);
	assert_string_equal(reply->err.sqlstate, "23505");
	assert_int_equal(reply->failed_at, -1);
	reply = loop_client_run(&f->client, "SELECT count(*) FROM late");
	assert_int_equal(reply->err.code, BFE_OK);
	assert_string_equal(reply->results[0], "0\n");
}

static void on_described(
	void *data, struct pgc_request *request, const struct err *e)
{
	const PGresult *result = pgc_result(request, 1);

	assert_null(e);
	assert_int_equal(PQnparams(result), 1);
	assert_int_equal(PQparamtype(result, 0), 20); /* int8 */
	assert_int_equal(PQnfields(result), 2);
	assert_int_equal(PQftype(result, 1), 25); /* text */
	assert_string_equal(pgc_text(pgc_result(request, 0), 0, 0), "before");
	assert_string_equal(pgc_text(pgc_result(request, 2), 0, 0), "after");
	*(int *)data = 1;
}

static void test_parse(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;
	int is_done = 0;

	pgc_add(request, "SELECT 'before'");
	pgc_add_parse(request, "SELECT $1 + 1::bigint, 'x'::text");
	pgc_add(request, "SELECT 'after'");
	pgc_send(f->client.pgc, request, on_described, &is_done);
	loop_wait(&f->loop, &is_done, 1);

	request = pgc_request_new(LOOP_LIMIT_MS);
	pgc_add(request, "SELECT 1");
	pgc_add_parse(request, "SELECT 1; SELECT 2");
	pgc_add(request, "SELECT 3");
	reply = loop_client_wait(loop_client_send(&f->client, request));
	assert_int_equal(reply->err.code, BFE_SQL);
	assert_int_equal(reply->failed_at, 1);
	assert_string_equal(reply->err.sqlstate, "42601");
	assert_string_equal(reply->err.message,
		"cannot insert multiple commands into a prepared statement");
	assert_null(reply->results[2]);
	assert_int_equal(
		loop_client_run(&f->client, "SELECT 1")->err.code, BFE_OK);
}

static void test_notice(void **state)
{
	struct fixture *f = *state;
	struct loop_reply *reply = loop_client_run(&f->client,
		"DO $$ BEGIN RAISE WARNING 'mind the %', 'gap' "
		"USING ERRCODE = 'BF999', DETAIL = 'secret'; END $$");

	assert_int_equal(reply->err.code, BFE_OK);
	assert_int_equal(f->client.notices, 1);
	assert_string_equal(f->client.sqlstate, "BF999");
	assert_string_equal(f->client.message, "mind the gap");
	assert_string_equal(f->client.trace.data, "ready, notice, 1 ok, ");
}

static void test_notify(void **state)
{
	struct fixture *f = *state;

	(void)loop_client_run(&f->client, "LISTEN jobs");
	run_other(f, "SELECT pg_notify('jobs', 'from outside')");
	loop_wait(&f->loop, &f->client.notifies, 1);
	assert_string_equal(f->client.channel, "jobs");
	assert_string_equal(f->client.payload, "from outside");
	(void)loop_client_run(&f->client, "NOTIFY jobs");
	loop_wait(&f->loop, &f->client.notifies, 2);
	assert_string_equal(f->client.payload, "");
}

static void test_deadline(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(100);
	struct loop_reply *reply, *queued;

	pgc_add(request, "SELECT 1");
	pgc_add(request, "SELECT pg_sleep(3600)");
	reply = loop_client_send(&f->client, request);
	request = pgc_request_new(LOOP_LIMIT_MS);
	pgc_add(request, "SELECT 2");
	queued = loop_client_send(&f->client, request);
	loop_wait(&f->loop, &f->client.losses, 1);
	assert_string_equal(
		f->client.trace.data, "ready, 1 timeout, 2 lost, lost, ");
	assert_string_equal(reply->err.message,
		"no reply to the request of 2 statements within 100 ms");
	assert_string_equal(reply->err.sqlstate, "");
	assert_string_equal(queued->err.message, reply->err.message);
	assert_int_equal(f->client.lost_err.code, BFE_TIMEOUT);
	assert_int_equal(pgc_backend_pid(f->client.pgc), 0);

	/* It still takes requests, and says at a later turn what it is. */
	reply = loop_client_run(&f->client, "SELECT 3");
	assert_int_equal(reply->err.code, BFE_LOST);
	assert_int_equal(f->client.losses, 1);
}

/* A reply that came while this process did not run is not thrown away. */
static void test_deadline_after_stop(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(200);
	struct loop_reply *reply;
	uint64_t end_ns;

	run_other(f, "SELECT pg_advisory_lock(7)");
	pgc_add(request, "SELECT pg_advisory_xact_lock(7)");
	reply = loop_client_send(&f->client, request);
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	end_ns = uv_hrtime() + UINT64_C(250000000);
	wait_for_backend(f, "wait_event_type = 'Lock'");
	run_other(f, "SELECT pg_advisory_unlock(7)");
	wait_for_backend(f, "state = 'idle'");
	while (uv_hrtime() < end_ns) {
		run_other(f, "SELECT 1");
	}
	(void)loop_client_wait(reply);
	assert_int_equal(reply->err.code, BFE_OK);
	assert_int_equal(f->client.losses, 0);
}

/* A statement that the socket does not hold and a server that does not read
 * it: neither writing nor waiting holds the loop up. */
static void test_frozen_server(void **state)
{
	struct fixture *f = *state;
	pid_t backend = pgc_backend_pid(f->client.pgc);
	struct pgc_request *request = pgc_request_new(200);
	struct loop_reply *reply;
	struct text sql;

	text_init(&sql);
	text_addf(&sql, "SELECT length('%*s')", 5000000, "x");
	pgc_add(request, sql.data);
	text_close(&sql);
	assert_int_equal(kill(backend, SIGSTOP), 0);
	reply = loop_client_send(&f->client, request);
	loop_wait(&f->loop, &f->client.losses, 1);
	assert_int_equal(kill(backend, SIGCONT), 0);
	assert_string_equal(f->client.trace.data, "ready, 1 timeout, lost, ");
	assert_string_equal(
		reply->err.message, "no reply to the statement within 200 ms");
}

static void test_terminated_in_request(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;

	pgc_add(request, "SELECT 1");
	pgc_add(request, "SELECT pg_sleep(3600)");
	pgc_add(request, "SELECT 3");
	reply = loop_client_send(&f->client, request);
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	wait_for_backend(f, "wait_event = 'PgSleep'");
	terminate(f);
	loop_wait(&f->loop, &f->client.losses, 1);
	assert_string_equal(f->client.trace.data, "ready, 1 lost, lost, ");
	assert_string_equal(reply->err.sqlstate, "57P01");
	assert_string_equal(reply->err.message,
		"terminating connection due to administrator command");
	assert_int_equal(reply->failed_at, 1);
	assert_string_equal(reply->results[0], "1\n");
	assert_null(reply->results[2]);
}

static void test_terminated_while_idle(void **state)
{
	struct fixture *f = *state;

	terminate(f);
	loop_wait(&f->loop, &f->client.losses, 1);
	assert_string_equal(f->client.trace.data, "ready, lost, ");
	assert_int_equal(f->client.lost_err.code, BFE_LOST);
	assert_string_equal(f->client.lost_err.sqlstate, "57P01");
	assert_string_equal(f->client.lost_err.message,
		"terminating connection due to administrator command");
	assert_int_equal(f->client.notices, 0);
}

static void test_idle_in_transaction(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);

	pgc_add(request, "SET idle_in_transaction_session_timeout = '50ms'");
	pgc_add(request, "BEGIN");
	(void)loop_client_send(&f->client, request);
	loop_wait(&f->loop, &f->client.losses, 1);
	assert_string_equal(f->client.trace.data, "ready, 1 ok, lost, ");
	assert_string_equal(f->client.lost_err.sqlstate, "25P03");
}

static void test_copy_refused(void **state)
{
	struct fixture *f = *state;
	struct loop_reply *reply = loop_client_run(
		&f->client, "COPY pg_catalog.pg_class TO STDOUT");

	assert_int_equal(reply->err.code, BFE_PROTOCOL);
	assert_string_equal(reply->err.message, "COPY is not supported here");
	assert_int_equal(reply->failed_at, 0);
	assert_string_equal(f->client.trace.data, "ready, 1 protocol, lost, ");
}

static void test_large(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT length('");
	for (int i = 0; i < 20000; i++) {
		text_add(&sql, "0123456789");
	}
	text_add(&sql, "')");
	pgc_add(request, sql.data);
	pgc_add(request, "SELECT repeat('x', 1000000)");
	pgc_add(request,
		"SELECT g, repeat('y', 100) "
		"FROM pg_catalog.generate_series(1, 10000) g");
	text_close(&sql);
	reply = loop_client_wait(loop_client_send(&f->client, request));
	assert_string_equal(reply->results[0], "200000\n");
	assert_int_equal(strlen(reply->results[1]), 1000001);
	assert_int_equal(strlen(reply->results[2]), 10000 * 102 + 38894);
}

static void test_queue_keeps_order(void **state)
{
	struct fixture *f = *state;
	struct text expected;

	text_init(&expected);
	text_add(&expected, "ready, ");
	for (int i = 1; i <= 100; i++) {
		struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);

		pgc_add(request, i % 10 == 0 ? "SELECT 1/0" : "SELECT 1");
		(void)loop_client_send(&f->client, request);
		text_addf(&expected, "%d %s, ", i, i % 10 == 0 ? "sql" : "ok");
	}
	loop_wait(&f->loop, &f->client.done, 100);
	assert_string_equal(f->client.trace.data, expected.data);
	text_close(&expected);
}

static void send_another(struct loop_client *client)
{
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);
	struct loop_reply *reply;

	pgc_add(request, "SELECT 1");
	reply = loop_client_send(client, request);
	reply->then = client->sent < 5 ? send_another : loop_client_close;
}

static void test_callback_sends_and_closes(void **state)
{
	struct fixture *f = *state;

	send_another(&f->client);
	loop_wait(&f->loop, &f->client.closes, 1);
	assert_string_equal(f->client.trace.data,
		"ready, 1 ok, 2 ok, 3 ok, 4 ok, 5 ok, closed, ");
}

/* on_notice comes from the middle of libpq's work. */
static void test_notice_closes(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);

	f->client.on_notice = loop_client_close;
	pgc_add(request, "DO $$ BEGIN RAISE WARNING 'x'; END $$");
	(void)loop_client_send(&f->client, request);
	loop_wait(&f->loop, &f->client.closes, 1);
	assert_string_equal(
		f->client.trace.data, "ready, notice, 1 closed, closed, ");
}

/* Who closes at the first bad news hears no more of it. */
static void test_lost_request_closes(void **state)
{
	struct fixture *f = *state;
	struct loop_reply *reply;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);

	pgc_add(request, "SELECT pg_terminate_backend(pg_backend_pid())");
	reply = loop_client_send(&f->client, request);
	reply->then = loop_client_close;
	request = pgc_request_new(LOOP_LIMIT_MS);
	pgc_add(request, "SELECT 2");
	(void)loop_client_send(&f->client, request);
	loop_wait(&f->loop, &f->client.closes, 1);
	assert_string_equal(
		f->client.trace.data, "ready, 1 lost, 2 closed, closed, ");
}

static void test_lost_closes(void **state)
{
	struct fixture *f = *state;

	f->client.on_lost = loop_client_close;
	terminate(f);
	loop_wait(&f->loop, &f->client.closes, 1);
	assert_string_equal(f->client.trace.data, "ready, lost, closed, ");
}

static void test_server_stopped(void **state)
{
	struct cluster *own = cluster_start();
	struct loop_client client = { 0 };
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	client.loop = &loop;
	loop_client_start(
		&client, cluster_conninfo(own, "postgres", "postgres"));
	cluster_stop(own);
	loop_wait(&loop, &client.losses, 1);
	assert_string_equal(client.trace.data, "ready, lost, ");
	assert_int_equal(client.lost_err.code, BFE_LOST);
	loop_client_end(&client);
	loop_end(&loop);
}

/* libuv keeps some descriptors from its first loop on. */
static int start_cluster(void **state)
{
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	loop_end(&loop);
	cluster = cluster_start();
	return cluster == NULL;
}

static int stop_cluster(void **state)
{
	(void)state;
	cluster_stop(cluster);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values),
		TEST(test_fields),
		TEST(test_setup),
		TEST(test_hurry),
		TEST(test_error_in_pipeline),
		TEST(test_error_at_sync),
		TEST(test_parse),
		TEST(test_notice),
		TEST(test_notify),
		TEST(test_deadline),
		TEST(test_deadline_after_stop),
		TEST(test_frozen_server),
		TEST(test_terminated_in_request),
		TEST(test_terminated_while_idle),
		TEST(test_idle_in_transaction),
		TEST(test_copy_refused),
		TEST(test_large),
		TEST(test_queue_keeps_order),
		TEST(test_callback_sends_and_closes),
		TEST(test_notice_closes),
		TEST(test_lost_request_closes),
		TEST(test_lost_closes),
		cmocka_unit_test(test_server_stopped),
	};

	return cmocka_run_group_tests_name(
		"pgc", tests, start_cluster, stop_cluster);
}
