/* http_internal.h: the private parts of the HTTP server, shared by http.c,
 * http_listen.c, http_answer.c and http_guard.c. */
#ifndef BACKFILL_OPS_HTTP_INTERNAL_H
#define BACKFILL_OPS_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <stdint.h>

#include "config/address.h"
#include "ops/http.h"

enum {
	HTTP_CONNECTIONS = 16,
	HTTP_REQUEST_BYTES = 4096,
	HTTP_DEADLINE_MS = 5000,
	/* What a request may wait for its answer. */
	HTTP_WAIT_MS = 2500,
	HTTP_RETRY_MS = 10000
};

enum http_place { HTTP_TCP, HTTP_UNIX, HTTP_PLACES };

/* A socket that is listened at. */
struct http_listener {
	struct http *http;
	uv_poll_t poll;
	int fd;
};

/* Where to listen, and whether we do. */
struct http_post {
	char *where;		      /* as configured; "off" and "": nowhere */
	char *path;		      /* of a Unix socket that we made */
	struct http_listener *socket; /* NULL: not listening */
	char told[256];		      /* the last warning; "": none */
};

/* A client, from accept() to close(). */
struct http_connection {
	struct http *http;
	int fd;
	int is_cut;
	uint64_t since_ms;
	struct http_connection *next; /* accepted later */
};

struct http_request {
	struct http *http;
	struct MHD_Connection *connection;
	const char *path;
	uint64_t since_ms;
	int is_answered;
	enum MHD_Result result;	   /* of queueing the answer */
	struct http_request *next; /* among those that wait */
	int is_waiting;
};

struct http {
	uv_loop_t *loop;
	http_request_cb cb;
	void *data;
	struct MHD_Daemon *mhd;

	uv_poll_t poll;	  /* of the library's epoll descriptor */
	uv_timer_t again; /* the library has more to do */
	uv_timer_t clock; /* the next deadline of a connection or request */
	uv_timer_t retry; /* of listeners, and of accept() */
	int handles_open;

	struct http_post posts[HTTP_PLACES];
	uv_getaddrinfo_t lookup; /* of the host to listen at */
	char looked_up[ADDRESS_HOST_BYTES];
	int is_looking_up;

	struct http_connection *first, *last;
	int connections;
	int is_accepting;
	int is_starved; /* accept() failed: until the retry */
	struct http_request *waiting;
	int is_closing;
};

/* http.c */

/* A handle was opened, or is closed: the last one frees h. */
void http_opened(struct http *h, void *handle);
void http_closed(struct http *h);

/* A client: the library gets the descriptor. */
void http_take(
	struct http *h, int fd, const struct sockaddr *from, socklen_t length);

/* http_listen.c */
void http_listen_start(struct http *h, const char *listen, const char *socket);
void http_listen_stop(struct http *h);
void http_listen_change(struct http *h, const char *listen, const char *socket);
/* There is room for another client, or none. */
void http_listen_room(struct http *h);

/* http_guard.c: may it be answered at all? */

/* 0, or the status of the refusal and a line about it in why. */
unsigned http_guard(struct MHD_Connection *c, const char *method,
	const char *version, const char *listen, const char **why);

/* Whether a browser that sends this Host speaks to us and not, misled by
 * the DNS, to somebody else: an address, localhost, or host, the configured
 * one ("": none). */
int http_host_is_ours(const char *value, const char *host);

/* http_answer.c */
enum MHD_Result http_refuse(
	struct MHD_Connection *c, unsigned status, const char *why);

#endif
