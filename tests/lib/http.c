#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "wait.h"

enum { WAIT_SECONDS = 30 };

/* ---- connections ---- */

static struct sockaddr_in address_of(int port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	return a;
}

int http_free_port(void)
{
	struct sockaddr_in a = address_of(0);
	socklen_t length = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_return_code(bind(fd, (struct sockaddr *)&a, sizeof a), errno);
	assert_return_code(
		getsockname(fd, (struct sockaddr *)&a, &length), errno);
	close(fd);
	return ntohs(a.sin_port);
}

int http_try(int port)
{
	struct sockaddr_in a = address_of(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int http_open(int port)
{
	uint64_t deadline = wait_deadline(WAIT_SECONDS);
	int fd;

	while ((fd = http_try(port)) < 0) {
		if (!wait_again(deadline)) {
			fail_msg("nobody listens at port %d", port);
		}
	}
	return fd;
}

int http_open_path(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint64_t deadline = wait_deadline(WAIT_SECONDS);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_true(strlen(path) < sizeof a.sun_path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	while (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		if (!wait_again(deadline)) {
			fail_msg("nobody listens at %s", path);
		}
	}
	return fd;
}

/* ---- bytes ---- */

size_t http_send(int fd, const char *bytes, size_t length)
{
	size_t done = 0;
	ssize_t rc;

	while (done < length) {
		rc = send(fd, bytes + done, length - done, MSG_NOSIGNAL);
		if (rc <= 0) {
			break;
		}
		done += (size_t)rc;
	}
	return done;
}

void http_say(int fd, const char *request)
{
	(void)http_send(fd, request, strlen(request));
}

static void read_all(int fd, struct text *t)
{
	uint64_t deadline = wait_deadline(WAIT_SECONDS);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char part[8192];
	ssize_t rc;

	for (;;) {
		if (poll(&poll_fd, 1, wait_left_ms(deadline)) <= 0) {
			fail_msg("neither an answer nor an end after %d s",
				WAIT_SECONDS);
		}
		rc = recv(fd, part, sizeof part, 0);
		if (rc <= 0) {
			return;
		}
		text_add_bytes(t, part, (size_t)rc);
	}
}

void http_read(int fd, struct http_reply *reply)
{
	struct text all;
	char *body;

	http_reply_close(reply);
	text_init(&all);
	text_init(&reply->head);
	text_init(&reply->body);
	read_all(fd, &all);
	close(fd);
	reply->status = 0;
	body = strstr(all.data, "\r\n\r\n");
	if (body != NULL &&
		sscanf(all.data, "HTTP/%*d.%*d %d", &reply->status) == 1) {
		text_add_bytes(
			&reply->head, all.data, (size_t)(body + 2 - all.data));
		text_add_bytes(&reply->body, body + 4,
			all.length - (size_t)(body + 4 - all.data));
	}
	text_close(&all);
}

int http_get(int port, const char *path, struct http_reply *reply)
{
	char request[2048];
	int fd = http_open(port);

	(void)snprintf(request, sizeof request,
		"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	http_say(fd, request);
	http_read(fd, reply);
	return reply->status;
}

void http_wait(int port, const char *path, int status, const char *has,
	struct http_reply *reply)
{
	uint64_t deadline = wait_deadline(WAIT_SECONDS);

	while (http_get(port, path, reply) != status ||
		(has != NULL && strstr(reply->body.data, has) == NULL)) {
		if (!wait_again(deadline)) {
			fail_msg("%s: not %d with \"%s\", but %d:\n%s", path,
				status, has != NULL ? has : "", reply->status,
				reply->body.data);
		}
	}
}

void http_reply_close(struct http_reply *reply)
{
	if (reply->head.data != NULL) {
		text_close(&reply->head);
		text_close(&reply->body);
	}
	memset(reply, 0, sizeof *reply);
}
