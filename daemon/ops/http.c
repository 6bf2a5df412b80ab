/* The server. The happy path:
 *
 *   a client is accepted (http_listen.c) -> the library reads its request
 *     -> http_guard.c: may it be answered? -> cb answers, or lets it wait:
 *        suspended; http_wake() has it handled again -> answered
 *     -> the library writes the answer and closes
 *
 * The library has an epoll descriptor of its own; when that is readable, it
 * is run. It never calls us but from there.
 *
 * How it fails: a client that is slower than the deadline has its socket shut
 * down under it, in whatever state: the library meets the end of the stream
 * or an error and closes. The library's own timeout would begin anew with
 * each byte.
 *
 * How it closes: waiting requests are let go, the library closes everything,
 * and h is freed by the last handle. */

#include "http_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* Of a connection, for its request, the headers that were read from it and
 * those that are sent. What does not fit is refused by the library. */
enum { MEMORY_BYTES = 2 * HTTP_REQUEST_BYTES };

/* ---- handles ---- */

void http_opened(struct http *h, void *handle)
{
	((uv_handle_t *)handle)->data = h;
	h->handles_open++;
}

void http_closed(struct http *h)
{
	if (--h->handles_open == 0 && h->is_closing) {
		for (size_t i = 0; i < HTTP_PLACES; i++) {
			free(h->posts[i].where);
		}
		free(h);
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	http_closed(handle->data);
}

/* ---- running the library ---- */

static void run(struct http *h);

static void on_again(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG left_ms;

	(void)MHD_run(h->mhd);
	if (MHD_get_timeout(h->mhd, &left_ms) == MHD_YES) {
		(void)uv_timer_start(&h->again, on_again, left_ms, 0);
	} else {
		(void)uv_timer_stop(&h->again);
	}
	http_listen_room(h);
}

/* ---- deadlines ---- */

static void on_clock(uv_timer_t *timer);

/* The oldest connection is the first in its list, and its deadline the first
 * to come; requests are few, and wait for less. */
static void set_clock(struct http *h)
{
	uint64_t now_ms = uv_now(h->loop);
	uint64_t at_ms = UINT64_MAX;

	for (const struct http_connection *c = h->first; c != NULL;
		c = c->next) {
		if (!c->is_cut) {
			at_ms = c->since_ms + HTTP_DEADLINE_MS;
			break;
		}
	}
	for (const struct http_request *rq = h->waiting; rq != NULL;
		rq = rq->next) {
		if (rq->since_ms + HTTP_WAIT_MS < at_ms) {
			at_ms = rq->since_ms + HTTP_WAIT_MS;
		}
	}
	if (at_ms == UINT64_MAX) {
		(void)uv_timer_stop(&h->clock);
		return;
	}
	(void)uv_timer_start(
		&h->clock, on_clock, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

static void cut_the_slow(struct http *h)
{
	/* What it did not take is dropped. */
	static const struct linger forget = { .l_onoff = 1 };
	uint64_t now_ms = uv_now(h->loop);

	for (struct http_connection *c = h->first; c != NULL; c = c->next) {
		if (now_ms - c->since_ms < HTTP_DEADLINE_MS) {
			return;
		}
		if (!c->is_cut) {
			c->is_cut = 1;
			(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &forget,
				sizeof forget);
			(void)shutdown(c->fd, SHUT_RDWR);
		}
	}
}

static void on_clock(uv_timer_t *timer)
{
	struct http *h = timer->data;

	cut_the_slow(h);
	http_wake(h);
	set_clock(h);
}

/* ---- connections ---- */

static void begin_connection(
	struct http *h, struct MHD_Connection *connection, void **slot)
{
	struct http_connection *c = mem_new(1, sizeof *c);

	c->http = h;
	c->since_ms = uv_now(h->loop);
	c->fd = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_CONNECTION_FD)
			->connect_fd;
	if (h->last != NULL) {
		h->last->next = c;
	} else {
		h->first = c;
	}
	h->last = c;
	h->connections++;
	*slot = c;
}

static void end_connection(struct http *h, struct http_connection *c)
{
	struct http_connection *before = NULL;

	for (struct http_connection *i = h->first; i != c; i = i->next) {
		before = i;
	}
	if (before != NULL) {
		before->next = c->next;
	} else {
		h->first = c->next;
	}
	if (h->last == c) {
		h->last = before;
	}
	h->connections--;
	free(c);
}

static void on_connection(void *data, struct MHD_Connection *connection,
	void **slot, enum MHD_ConnectionNotificationCode what)
{
	struct http *h = data;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		begin_connection(h, connection, slot);
	} else {
		end_connection(h, *slot);
	}
	if (!h->is_closing) {
		set_clock(h);
	}
}

void http_take(
	struct http *h, int fd, const struct sockaddr *from, socklen_t length)
{
	if (MHD_add_connection(h->mhd, fd, from, length) != MHD_YES) {
		log_debug("http: a connection was refused by the library");
	}
	/* Its manual: "call MHD_run() after". */
	(void)uv_timer_start(&h->again, on_again, 0, 0);
}

/* ---- requests ---- */

static void unlink_request(struct http_request *rq)
{
	struct http_request **at = &rq->http->waiting;

	while (*at != NULL && *at != rq) {
		at = &(*at)->next;
	}
	if (*at == rq) {
		*at = rq->next;
	}
	rq->is_waiting = 0;
}

static void on_completed(void *data, struct MHD_Connection *connection,
	void **slot, enum MHD_RequestTerminationCode why)
{
	(void)data;
	(void)connection;
	(void)why;
	if (*slot != NULL) {
		unlink_request(*slot);
		free(*slot);
		*slot = NULL;
	}
}

static struct http_request *new_request(
	struct http *h, struct MHD_Connection *connection)
{
	struct http_request *rq = mem_new(1, sizeof *rq);

	rq->http = h;
	rq->connection = connection;
	rq->since_ms = uv_now(h->loop);
	return rq;
}

static enum MHD_Result handle(struct http_request *rq)
{
	struct http *h = rq->http;

	if (h->cb(h->data, rq) == HTTP_ANSWERED) {
		return rq->is_answered ? rq->result : MHD_NO;
	}
	MHD_suspend_connection(rq->connection);
	rq->is_waiting = 1;
	rq->next = h->waiting;
	h->waiting = rq;
	set_clock(h);
	return MHD_YES;
}

/* The library calls once when it has the headers, and once more when the
 * body, which is none, has ended. */
static enum MHD_Result on_access(void *data, struct MHD_Connection *connection,
	const char *url, const char *method, const char *version,
	const char *upload, size_t *upload_size, void **slot)
{
	struct http *h = data;
	struct http_request *rq = *slot;
	const char *why;
	unsigned status;

	(void)upload;
	*upload_size = 0;
	if (rq == NULL) {
		status = http_guard(connection, method, version,
			h->posts[HTTP_TCP].where, &why);
		if (status != 0) {
			return http_refuse(connection, status, why);
		}
		*slot = new_request(h, connection);
		return MHD_YES;
	}
	rq->path = url;
	return handle(rq);
}

const char *http_path(const struct http_request *rq)
{
	return rq->path;
}

const char *http_argument(const struct http_request *rq, const char *name)
{
	return MHD_lookup_connection_value(
		rq->connection, MHD_GET_ARGUMENT_KIND, name);
}

int http_is_late(const struct http_request *rq)
{
	return uv_now(rq->http->loop) - rq->since_ms >= HTTP_WAIT_MS;
}

void http_wake(struct http *h)
{
	struct http_request *rq;

	if (h == NULL || h->waiting == NULL) {
		return;
	}
	while ((rq = h->waiting) != NULL) {
		unlink_request(rq);
		MHD_resume_connection(rq->connection);
	}
	/* Its manual: "you must make sure to run MHD_run()". */
	(void)uv_timer_start(&h->again, on_again, 0, 0);
}

int http_is_listening(const struct http *h)
{
	for (size_t i = 0; h != NULL && i < HTTP_PLACES; i++) {
		if (h->posts[i].socket != NULL) {
			return 1;
		}
	}
	return 0;
}

/* ---- beginning and end ---- */

static int start_library(struct http *h)
{
	const union MHD_DaemonInfo *info;

	h->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
			MHD_ALLOW_SUSPEND_RESUME,
		0, NULL, NULL, on_access, h, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (h->mhd == NULL) {
		return -1;
	}
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	(void)uv_poll_init(h->loop, &h->poll, info->epoll_fd);
	return 0;
}

struct http *http_start(uv_loop_t *loop, const char *listen, const char *socket,
	http_request_cb cb, void *data)
{
	struct http *h = mem_new(1, sizeof *h);
	uv_timer_t *timers[] = { &h->again, &h->clock, &h->retry };

	h->loop = loop;
	h->cb = cb;
	h->data = data;
	if (start_library(h) != 0) {
		log_warning("http: the library could not be started -> nothing"
			    " is shown");
		free(h);
		return NULL;
	}
	http_opened(h, &h->poll);
	(void)uv_poll_start(&h->poll, UV_READABLE, on_readable);
	for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
		(void)uv_timer_init(loop, timers[i]);
		http_opened(h, timers[i]);
	}
	http_listen_start(h, listen, socket);
	return h;
}

void http_reload(struct http *h, const char *listen, const char *socket)
{
	if (h != NULL) {
		http_listen_change(h, listen, socket);
	}
}

void http_close(struct http *h)
{
	if (h == NULL) {
		return;
	}
	h->is_closing = 1;
	http_listen_stop(h);
	http_wake(h);
	(void)uv_timer_stop(&h->again);
	uv_close((uv_handle_t *)&h->poll, on_handle_closed);
	uv_close((uv_handle_t *)&h->again, on_handle_closed);
	uv_close((uv_handle_t *)&h->clock, on_handle_closed);
	uv_close((uv_handle_t *)&h->retry, on_handle_closed);
	MHD_stop_daemon(h->mhd);
}
