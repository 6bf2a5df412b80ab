/* pgc_conn.c: the life of a connection: connect, own the socket's poll
 * handle, notice the end, close.
 *
 * The happy path: pgc_connect() notes the wish; the next turn of the loop
 * takes the conninfo apart, looks host names up (pgc_resolve.c), starts
 * libpq's attempt and follows PQconnectPoll() until it is ready; a host that
 * hangs is left out of the next attempt (pgc_hosts.c). The connection then
 * enters pipeline mode for good and pgc_send.c works the queue.
 *
 * Ways it fails: a bad conninfo, no address, every host refuses, the
 * connect deadline (over name lookup and all hosts together): the connect
 * callback gets the error. Established, it is lost when libpq says so, when
 * the server says FATAL, when a request's deadline passes, when the server
 * answers what nobody asked for: the request on the wire gets the error,
 * the queue gets BFE_LOST, then on_lost comes. All of them end in DEAD, by
 * way of pgc_fail(); there is no reconnect here.
 *
 * How it closes: pgc_close() only marks it, for it may be called from a
 * notice, in the middle of libpq. The next turn finishes libpq, gives every
 * pending callback BFE_CLOSED and closes the handles; the last one's close
 * callback ends it. A name lookup under way is left behind.
 *
 *     NEW -> STARTING -> RESOLVING -> CONNECTING -> IDLE <-> BUSY
 *                 |          |            |           |        |
 *                 +----------+------> DEAD <----------+--------+
 *
 *     any of them --pgc_close()--> CLOSING -> freed
 *
 * The rule of the poll handle: libuv aborts the process when it is to watch
 * a socket that was closed under it, and libpq closes sockets in
 * PQconnectPoll(), PQfinish() and wherever it finds the connection broken.
 * So the handle is dropped before the first two, and right after any call
 * that left CONNECTION_BAD, before the loop gets to run; after
 * PQconnectPoll() there is always a new one, since the next host's socket
 * often has the same number. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pgc_internal.h"

static const struct sm_state states[] = {
	[PGC_NEW] = { "new", SM_TO(PGC_STARTING) | SM_TO(PGC_CLOSING) },
	[PGC_STARTING] = { "starting",
		SM_TO(PGC_RESOLVING) | SM_TO(PGC_DEAD) | SM_TO(PGC_CLOSING) },
	[PGC_RESOLVING] = { "resolving",
		SM_TO(PGC_CONNECTING) | SM_TO(PGC_DEAD) | SM_TO(PGC_CLOSING) },
	[PGC_CONNECTING] = { "connecting",
		SM_TO(PGC_IDLE) | SM_TO(PGC_DEAD) | SM_TO(PGC_CLOSING) },
	[PGC_IDLE] = { "idle",
		SM_TO(PGC_BUSY) | SM_TO(PGC_DEAD) | SM_TO(PGC_CLOSING) },
	[PGC_BUSY] = { "busy",
		SM_TO(PGC_IDLE) | SM_TO(PGC_DEAD) | SM_TO(PGC_CLOSING) },
	[PGC_DEAD] = { "dead", SM_TO(PGC_CLOSING) },
	[PGC_CLOSING] = { "closing", 0 },
};

static void on_later(uv_idle_t *handle);
static void on_deadline(uv_timer_t *handle);
static void on_handle_closed(uv_handle_t *handle);

static void copy_setup(struct pgc *c, const char *const *setup)
{
	while (setup != NULL && setup[c->setup_count] != NULL) {
		c->setup_count++;
	}
	c->setup = mem_new((size_t)c->setup_count + 1, sizeof *c->setup);
	for (int i = 0; i < c->setup_count; i++) {
		c->setup[i] = mem_strdup(setup[i]);
	}
}

struct pgc *pgc_new(uv_loop_t *loop, const struct pgc_options *options)
{
	struct pgc *c = mem_new(1, sizeof *c);

	assert(options->connect_timeout_ms > 0);
	c->loop = loop;
	c->name = mem_strdup(options->name);
	if (options->about != NULL) {
		c->about = *options->about;
	} else {
		c->about.database = c->name;
	}
	c->conninfo = mem_strdup(options->conninfo);
	c->user = mem_strdup(options->user);
	c->application_name = mem_strdup(options->application_name);
	c->connect_timeout_ms = options->connect_timeout_ms;
	copy_setup(c, options->setup);
	c->on_notify = options->on_notify;
	c->on_notice = options->on_notice;
	c->on_lost = options->on_lost;
	c->data = options->data;
	c->queue_end = &c->queue;
	text_init(&c->left_out);
	sm_init(&c->sm, c->name, states, PGC_NEW);

	(void)uv_idle_init(loop, &c->later);
	(void)uv_timer_init(loop, &c->deadline);
	c->later.data = c;
	c->deadline.data = c;
	c->open_handles = 2;
	return c;
}

static int is_established(const struct pgc *c)
{
	return c->sm.state == PGC_IDLE || c->sm.state == PGC_BUSY;
}

int pgc_is_ready(const struct pgc *c)
{
	return is_established(c);
}

int pgc_backend_pid(const struct pgc *c)
{
	return is_established(c) ? PQbackendPID(c->conn) : 0;
}

int pgc_server_version(const struct pgc *c)
{
	return is_established(c) ? PQserverVersion(c->conn) : 0;
}

void pgc_later(struct pgc *c)
{
	/* At the end of closing the last callback looks by itself. */
	if (!uv_is_closing((uv_handle_t *)&c->later)) {
		(void)uv_idle_start(&c->later, on_later);
	}
}

/* The poll handle. */

static void on_poll(uv_poll_t *handle, int status, int events);

static void on_poll_closed(uv_handle_t *handle)
{
	struct pgc *c = handle->data;

	free(handle);
	on_handle_closed((uv_handle_t *)&c->later);
}

void pgc_drop_poll(struct pgc *c)
{
	if (c->poll == NULL) {
		return;
	}
	(void)uv_poll_stop(c->poll);
	uv_close((uv_handle_t *)c->poll, on_poll_closed);
	c->poll = NULL;
	c->poll_events = 0;
}

static int open_poll(struct pgc *c)
{
	uv_poll_t *poll = mem_new(1, sizeof *poll);
	int rc = uv_poll_init(c->loop, poll, PQsocket(c->conn));

	if (rc != 0) {
		free(poll);
		return rc;
	}
	poll->data = c;
	c->poll = poll;
	c->open_handles++;
	return 0;
}

void pgc_watch(struct pgc *c, int events)
{
	struct err e;
	int rc = c->poll == NULL ? open_poll(c) : 0;

	if (rc == 0 && c->poll_events != events) {
		rc = uv_poll_start(c->poll, events, on_poll);
	}
	if (rc != 0) {
		(void)err_set(&e, is_established(c) ? BFE_LOST : BFE_CONNECT,
			"could not watch the socket of the connection: %s",
			uv_strerror(rc));
		pgc_fail(c, &e);
		return;
	}
	c->poll_events = events;
}

/* Connecting, in the order of events. */

void pgc_start_deadline(struct pgc *c, uint64_t timeout_ms)
{
	/* The loop's idea of now is as old as this turn. */
	uv_update_time(c->loop);
	(void)uv_timer_start(&c->deadline, on_deadline, timeout_ms, 0);
}

void pgc_connect(struct pgc *c, pgc_connect_cb cb, void *data)
{
	sm_move(&c->sm, PGC_STARTING);
	c->connect_cb = cb;
	c->connect_data = data;
	pgc_start_deadline(c, c->connect_timeout_ms);
	c->connect_end_ms = uv_now(c->loop) + c->connect_timeout_ms;
	pgc_later(c);
}

static void start_resolving(struct pgc *c)
{
	struct err e;

	if (pgc_params_init(&c->params, c, &e) != 0) {
		pgc_fail(c, &e);
		return;
	}
	sm_move(&c->sm, PGC_RESOLVING);
	pgc_resolve_start(c);
}

static void fail_connect(struct pgc *c)
{
	struct err e;

	text_add(&c->left_out, PQerrorMessage(c->conn));
	(void)pgc_libpq_error(&e, BFE_CONNECT, c->left_out.data);
	pgc_fail(c, &e);
}

/* libpq calls this in the middle of its work: nothing is closed here. */
static void on_notice(void *data, const PGresult *result)
{
	struct pgc *c = data;
	const char *severity =
		PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	struct err e;

	pgc_error_of(&e, result);
	/* An error that no request asked for: the server's last words. */
	if (severity != NULL &&
		(strcmp(severity, "FATAL") == 0 ||
			strcmp(severity, "PANIC") == 0)) {
		c->fatal = e;
		return;
	}
	if (c->on_notice != NULL && c->sm.state != PGC_CLOSING) {
		c->on_notice(c->data, e.sqlstate, e.message);
	}
}

static void start_attempt(struct pgc *c)
{
	c->conn = PQconnectStartParams((const char *const *)c->params.keywords,
		(const char *const *)c->params.values, 0);
	/* Without memory conn is NULL: libpq's functions take it as BAD. */
	(void)PQsetNoticeReceiver(c->conn, on_notice, c);
	if (PQstatus(c->conn) == CONNECTION_BAD) {
		fail_connect(c);
		return;
	}
	/* PostgreSQL docs, 34.1: begin as if PQconnectPoll() had answered
	 * PGRES_POLLING_WRITING. */
	c->host_tried[0] = '\0';
	pgc_hosts_time(c);
	pgc_watch(c, UV_WRITABLE);
}

void pgc_on_resolved(struct pgc *c, const struct err *e)
{
	if (e != NULL) {
		pgc_fail(c, e);
		return;
	}
	sm_move(&c->sm, PGC_CONNECTING);
	start_attempt(c);
}

static void on_connected(struct pgc *c)
{
	pgc_connect_cb cb = c->connect_cb;

	if (PQsetnonblocking(c->conn, 1) != 0 ||
		!PQenterPipelineMode(c->conn)) {
		fail_connect(c);
		return;
	}
	(void)uv_timer_stop(&c->deadline);
	pgc_params_close(&c->params);
	sm_move(&c->sm, PGC_IDLE);
	pgc_watch(c, UV_READABLE);
	pgc_later(c);
	if (c->sm.state == PGC_IDLE) {
		c->connect_cb = NULL;
		cb(c->connect_data, NULL);
	}
}

static void advance_connect(struct pgc *c)
{
	PostgresPollingStatusType next;

	pgc_drop_poll(c);
	next = PQconnectPoll(c->conn);
	if (c->sm.state != PGC_CONNECTING) {
		return; /* closed by a notice callback */
	}
	pgc_hosts_time(c);
	switch (next) {
	case PGRES_POLLING_READING:
		pgc_watch(c, UV_READABLE);
		break;
	case PGRES_POLLING_WRITING:
		pgc_watch(c, UV_WRITABLE);
		break;
	case PGRES_POLLING_OK:
		on_connected(c);
		break;
	default:
		fail_connect(c);
		break;
	}
}

/* The loop's events. */

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct pgc *c = handle->data;

	if (status < 0) {
		/* libuv stopped the handle. What is wrong, libpq will find
		 * out and say better. */
		c->poll_events = 0;
		events |= UV_READABLE;
	}
	if (c->sm.state == PGC_CONNECTING) {
		advance_connect(c);
	} else if (is_established(c)) {
		pgc_pump(c, (events & UV_READABLE) != 0);
	}
}

static void fail_timed_out(struct pgc *c)
{
	struct err e;

	pgc_hosts_timed_out(c, &e);
	pgc_fail(c, &e);
}

static void on_deadline(uv_timer_t *handle)
{
	struct pgc *c = handle->data;

	if (c->sm.state == PGC_BUSY) {
		pgc_on_request_deadline(c);
	} else if (c->sm.state == PGC_CONNECTING && pgc_hosts_leave_out(c)) {
		pgc_drop_poll(c);
		PQfinish(c->conn);
		start_attempt(c);
	} else if (c->sm.state != PGC_CLOSING) {
		fail_timed_out(c);
	}
}

/* The end. */

/* After this neither libpq nor the loop knows the socket. */
static void leave_server(struct pgc *c)
{
	(void)uv_timer_stop(&c->deadline);
	pgc_resolve_cancel(c);
	pgc_params_close(&c->params);
	pgc_drop_poll(c);
	PQfinish(c->conn);
	c->conn = NULL;
}

void pgc_fail(struct pgc *c, const struct err *e)
{
	pgc_connect_cb connect_cb = c->connect_cb;
	int was_told_ready = is_established(c) && connect_cb == NULL;

	c->fate = *e;
	leave_server(c);
	sm_move(&c->sm, PGC_DEAD);
	if (connect_cb != NULL) {
		c->connect_cb = NULL;
		connect_cb(c->connect_data, &c->fate);
	}
	pgc_fail_requests(c, &c->fate, BFE_LOST);
	if (was_told_ready && c->sm.state == PGC_DEAD && c->on_lost != NULL) {
		c->on_lost(c->data, &c->fate);
	}
}

void pgc_close(struct pgc *c, pgc_close_cb cb, void *data)
{
	sm_move(&c->sm, PGC_CLOSING);
	c->close_cb = cb;
	c->close_data = data;
	pgc_later(c);
}

static void fail_closed(struct pgc *c)
{
	pgc_connect_cb connect_cb = c->connect_cb;
	struct err e;

	(void)err_set(&e, BFE_CLOSED, "connection is being closed");
	if (connect_cb != NULL) {
		c->connect_cb = NULL;
		connect_cb(c->connect_data, &e);
	}
	pgc_fail_requests(c, &e, BFE_CLOSED);
}

static void close_handles(struct pgc *c)
{
	leave_server(c);
	fail_closed(c);
	uv_close((uv_handle_t *)&c->later, on_handle_closed);
	uv_close((uv_handle_t *)&c->deadline, on_handle_closed);
}

static void on_later(uv_idle_t *handle)
{
	struct pgc *c = handle->data;

	(void)uv_idle_stop(handle);
	switch (c->sm.state) {
	case PGC_STARTING:
		start_resolving(c);
		break;
	case PGC_IDLE:
	case PGC_BUSY:
		pgc_pump(c, 0);
		break;
	case PGC_DEAD:
		pgc_fail_requests(c, &c->fate, BFE_LOST);
		break;
	case PGC_CLOSING:
		close_handles(c);
		break;
	default:
		break; /* requests wait for the connection */
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct pgc *c = handle->data;

	if (--c->open_handles > 0) {
		return;
	}
	/* Sent by others while the handles were closing. */
	while (c->queue != NULL) {
		fail_closed(c);
	}
	if (c->close_cb != NULL) {
		c->close_cb(c->close_data);
	}
	free(c->name);
	free(c->conninfo);
	free(c->user);
	free(c->application_name);
	text_close(&c->left_out);
	for (int i = 0; i < c->setup_count; i++) {
		free(c->setup[i]);
	}
	free(c->setup);
	free(c);
}
