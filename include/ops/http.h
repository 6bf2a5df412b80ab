/* http.h: a small HTTP server on a libuv loop, by libmicrohttpd: reads GET
 * and HEAD, nothing else. It knows nothing of what it shows.
 *
 * It is bounded in everything: 16 connections (more wait to be accepted), 4 kB
 * of request, one request per connection, and 5 s from the connection to the
 * last byte that the client took. A listener that cannot be had is warned of
 * once and tried again every 10 s; nothing here ever ends the daemon. */
#ifndef BACKFILL_OPS_HTTP_H
#define BACKFILL_OPS_HTTP_H

#include <uv.h>

#include "base/text.h"

struct http;
struct http_request;

enum http_verdict { HTTP_ANSWERED, HTTP_WAIT };

/* Answer the request with http_answer() before returning HTTP_ANSWERED; or
 * return HTTP_WAIT to be called again after http_wake(). */
typedef enum http_verdict (*http_request_cb)(
	void *data, struct http_request *rq);

/* listen and socket as in the configuration (copied); a socket that is "" is
 * http.sock in $RUNTIME_DIRECTORY, if that is set. NULL when the library
 * refused, which is logged. */
struct http *http_start(uv_loop_t *loop, const char *listen, const char *socket,
	http_request_cb cb, void *data);

/* Other places from now on; those that stay the same are not touched, and
 * connections live on. */
void http_reload(struct http *h, const char *listen, const char *socket);

/* Connections are cut, waiting requests are dropped without a call, memory
 * is freed when the loop has closed the handles. h may be NULL. */
void http_close(struct http *h);

/* Whether anybody could come. h may be NULL. */
int http_is_listening(const struct http *h);

/* All waiting requests are handled again, at a later turn. h may be NULL. */
void http_wake(struct http *h);

/* Of a request; texts are lent until it is answered. The path begins with
 * "/"; an argument that is not there is NULL. */
const char *http_path(const struct http_request *rq);
const char *http_argument(const struct http_request *rq, const char *name);

/* Whether it has waited as long as it may: the next call must answer it. The
 * server sees to it that there is one. */
int http_is_late(const struct http_request *rq);

/* type is the media type; csp the Content-Security-Policy, NULL: nothing may
 * be loaded. Takes what is in body, which is closed. */
void http_answer(struct http_request *rq, unsigned status, const char *type,
	const char *csp, struct text *body);

#endif
