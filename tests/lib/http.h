/* http.h: a test's own client of the daemon's HTTP, byte for byte: it sends
 * what the test says and reads what comes, so that what is wrong can be sent.
 * All functions fail the running test when they cannot do what they say. */
#ifndef BACKFILL_TESTS_HTTP_H
#define BACKFILL_TESTS_HTTP_H

#include <stddef.h>

#include "base/text.h"

/* A port of 127.0.0.1 that nobody listens at. */
int http_free_port(void);

/* Connected to it, as soon as somebody listens; to a Unix socket; or -1 when
 * nobody listens there now. */
int http_open(int port);
int http_open_path(const char *path);
int http_try(int port);

/* All of it; a server that closes or does not read is no failure. Returns the
 * number of bytes that it took. */
size_t http_send(int fd, const char *bytes, size_t length);
void http_say(int fd, const char *request);

/* An answer: what stands before the empty line, and after it. */
struct http_reply {
	int status; /* 0: there was no answer */
	struct text head;
	struct text body;
};

/* Read to the end of the stream and close fd. */
void http_read(int fd, struct http_reply *reply);

/* GET of a path with "Host: localhost". Returns the status. */
int http_get(int port, const char *path, struct http_reply *reply);

/* Ask every 10 ms until the status is this one and the body has this in it
 * (NULL: anything). */
void http_wait(int port, const char *path, int status, const char *has,
	struct http_reply *reply);

/* Frees the texts, of which there may be none; all zeros are. */
void http_reply_close(struct http_reply *reply);

#endif
