#include "loop.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

/* It makes the loop return: UV_RUN_ONCE waits for the next event even when
 * what we wait for came from a timer just before. */
static void on_beat(uv_timer_t *timer)
{
	(void)timer;
}

static void on_beat_closed(uv_handle_t *timer)
{
	timer->data = NULL;
}

void loop_wait(uv_loop_t *loop, const int *value, int wanted)
{
	uint64_t end_ns = uv_hrtime() + LOOP_LIMIT_MS * UINT64_C(1000000);
	uv_timer_t beat;

	if (*value >= wanted) {
		return; /* maybe called by a callback: no turn in a turn */
	}
	assert_int_equal(uv_timer_init(loop, &beat), 0);
	beat.data = &beat;
	assert_int_equal(uv_timer_start(&beat, on_beat, 5, 5), 0);
	while (*value < wanted && uv_hrtime() < end_ns) {
		(void)uv_run(loop, UV_RUN_ONCE);
	}
	uv_close((uv_handle_t *)&beat, on_beat_closed);
	while (beat.data != NULL) {
		(void)uv_run(loop, UV_RUN_NOWAIT);
	}
	if (*value < wanted) {
		fail_msg("waited %d ms for %d, have %d", LOOP_LIMIT_MS, wanted,
			*value);
	}
}

void loop_end(uv_loop_t *loop)
{
	assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(loop), 0);
}

static void on_tick(uv_timer_t *timer)
{
	struct loop_ticker *ticker = timer->data;
	uint64_t now_ns = uv_hrtime();
	uint64_t gap_ms = (now_ns - ticker->last_ns) / 1000000;

	if (gap_ms > ticker->gap_ms) {
		ticker->gap_ms = gap_ms;
	}
	ticker->last_ns = now_ns;
}

void loop_ticker_start(uv_loop_t *loop, struct loop_ticker *ticker)
{
	assert_int_equal(uv_timer_init(loop, &ticker->timer), 0);
	ticker->timer.data = ticker;
	ticker->last_ns = uv_hrtime();
	ticker->gap_ms = 0;
	assert_int_equal(uv_timer_start(&ticker->timer, on_tick, 1, 5), 0);
}

void loop_ticker_end(struct loop_ticker *ticker)
{
	on_tick(&ticker->timer);
	uv_close((uv_handle_t *)&ticker->timer, NULL);
	if (ticker->gap_ms > LOOP_GAP_MS) {
		fail_msg("the loop's timer did not fire for %llu ms",
			(unsigned long long)ticker->gap_ms);
	}
}

int loop_fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL) {
		count++;
	}
	assert_int_equal(closedir(dir), 0);
	return count;
}

/* The recording callbacks. */

static void record(struct loop_client *client, const char *what)
{
	assert_int_equal(client->is_calling, 0);
	assert_int_equal(client->closes, 0);
	text_addf(&client->trace, "%s, ", what);
}

static void on_connect(void *data, const struct err *e)
{
	struct loop_client *client = data;

	record(client, e == NULL ? "ready" : err_name(e->code));
	client->connects++;
	if (e != NULL) {
		assert_int_equal(pgc_is_ready(client->pgc), 0);
		client->connect_err = *e;
	}
	if (client->on_connect != NULL) {
		client->on_connect(client);
	}
}

static void on_lost(void *data, const struct err *e)
{
	struct loop_client *client = data;

	assert_non_null(e);
	assert_int_equal(pgc_is_ready(client->pgc), 0);
	record(client, "lost");
	client->losses++;
	client->lost_err = *e;
	if (client->on_lost != NULL) {
		client->on_lost(client);
	}
}

static void on_notify(void *data, const char *channel, const char *payload)
{
	struct loop_client *client = data;

	record(client, "notify");
	client->notifies++;
	(void)snprintf(client->channel, sizeof client->channel, "%s", channel);
	(void)snprintf(client->payload, sizeof client->payload, "%s", payload);
}

static void on_notice(void *data, const char *sqlstate, const char *message)
{
	struct loop_client *client = data;

	record(client, "notice");
	client->notices++;
	(void)snprintf(
		client->sqlstate, sizeof client->sqlstate, "%s", sqlstate);
	(void)snprintf(client->message, sizeof client->message, "%s", message);
	if (client->on_notice != NULL) {
		client->on_notice(client);
	}
}

static void on_closed(void *data)
{
	struct loop_client *client = data;

	record(client, "closed");
	client->closes++;
	client->pgc = NULL;
	if (client->on_closed != NULL) {
		client->on_closed(client);
	}
}

static char *format_result(const PGresult *result)
{
	struct text out;

	if (result == NULL) {
		return NULL;
	}
	text_init(&out);
	for (int row = 0; row < PQntuples(result); row++) {
		for (int column = 0; column < PQnfields(result); column++) {
			text_addf(&out, "%s%s", column > 0 ? "|" : "",
				pgc_is_null(result, row, column)
					? "\\N"
					: pgc_text(result, row, column));
		}
		text_add(&out, "\n");
	}
	return text_take(&out);
}

static void on_request_done(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct loop_reply *reply = data;
	struct loop_client *client = reply->client;
	char what[64];

	(void)snprintf(what, sizeof what, "%d %s", reply->number,
		e == NULL ? "ok" : err_name(e->code));
	record(client, what);
	assert_int_equal(reply->is_done, 0);
	client->done++;
	reply->is_done = 1;
	if (e != NULL) {
		reply->err = *e;
	}
	reply->failed_at = pgc_failed_at(request);
	reply->elapsed_us = pgc_elapsed_us(request);
	for (int i = 0; i < LOOP_RESULTS; i++) {
		reply->results[i] = format_result(pgc_result(request, i));
	}
	if (reply->then != NULL) {
		reply->then(client);
	}
}

/* Starting calls. */

void loop_client_open(struct loop_client *client, const char *conninfo,
	uint64_t connect_timeout_ms)
{
	struct pgc_options options = {
		.conninfo = conninfo,
		.application_name = "backfilld test",
		.setup = client->setup,
		.name = "test",
		.connect_timeout_ms = connect_timeout_ms,
		.on_notify = on_notify,
		.on_notice = on_notice,
		.on_lost = on_lost,
		.data = client,
	};
	struct loop_client fresh = {
		.loop = client->loop,
		.on_connect = client->on_connect,
		.on_lost = client->on_lost,
		.on_notice = client->on_notice,
		.on_closed = client->on_closed,
		.data = client->data,
		.setup = client->setup,
	};

	*client = fresh;
	text_init(&client->trace);
	client->pgc = pgc_new(client->loop, &options);
}

void loop_client_connect(struct loop_client *client)
{
	client->is_calling++;
	pgc_connect(client->pgc, on_connect, client);
	client->is_calling--;
}

void loop_client_close(struct loop_client *client)
{
	client->is_calling++;
	pgc_close(client->pgc, on_closed, client);
	client->is_calling--;
}

void loop_client_start(struct loop_client *client, const char *conninfo)
{
	loop_client_open(client, conninfo, LOOP_LIMIT_MS);
	loop_client_connect(client);
	loop_wait(client->loop, &client->connects, 1);
	assert_string_equal(client->connect_err.message, "");
	assert_int_equal(pgc_is_ready(client->pgc), 1);
}

static void free_reply(struct loop_reply *reply)
{
	for (int i = 0; i < LOOP_RESULTS; i++) {
		free(reply->results[i]);
	}
	free(reply);
}

void loop_client_end(struct loop_client *client)
{
	if (client->pgc != NULL) {
		loop_client_close(client);
	}
	loop_wait(client->loop, &client->closes, 1);
	assert_int_equal(client->done, client->sent);
	while (client->replies != NULL) {
		struct loop_reply *reply = client->replies;

		client->replies = reply->next;
		assert_int_equal(reply->is_done, 1);
		free_reply(reply);
	}
	text_close(&client->trace);
}

struct loop_reply *loop_client_send(
	struct loop_client *client, struct pgc_request *request)
{
	struct loop_reply *reply = mem_new(1, sizeof *reply);

	reply->client = client;
	reply->number = ++client->sent;
	reply->next = client->replies;
	client->replies = reply;
	client->is_calling++;
	pgc_send(client->pgc, request, on_request_done, reply);
	client->is_calling--;
	return reply;
}

struct loop_reply *loop_client_wait(struct loop_reply *reply)
{
	loop_wait(reply->client->loop, &reply->is_done, 1);
	return reply;
}

struct loop_reply *loop_client_run(struct loop_client *client, const char *sql)
{
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);

	pgc_add(request, sql);
	return loop_client_wait(loop_client_send(client, request));
}
