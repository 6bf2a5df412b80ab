#include "ops/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A path, or the name of an abstract socket after '@' (unix(7)): its first
 * byte is a zero, and it ends with the length. */
static int set_address(struct notify *n, const char *name, struct err *e)
{
	size_t length = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || length < 2 ||
		length >= sizeof n->address.sun_path) {
		return err_set(e, BFE_INPUT,
			"NOTIFY_SOCKET is no address that a socket can have");
	}
	memset(&n->address, 0, sizeof n->address);
	n->address.sun_family = AF_UNIX;
	memcpy(n->address.sun_path, name, length);
	n->length =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (name[0] == '@') {
		n->address.sun_path[0] = '\0';
	} else {
		n->length++;
	}
	return 0;
}

/* Not 0 when the variable is a number. */
static uint64_t read_number(const char *name)
{
	const char *text = getenv(name);
	uint64_t value = 0;
	char rest;

	if (text == NULL || sscanf(text, "%" SCNu64 "%c", &value, &rest) != 1) {
		return 0;
	}
	return value;
}

/* WATCHDOG_PID tells whom it is meant for, since children inherit it. */
static uint64_t read_watchdog_ms(void)
{
	if (getenv("WATCHDOG_PID") != NULL &&
		read_number("WATCHDOG_PID") != (uint64_t)getpid()) {
		return 0;
	}
	return read_number("WATCHDOG_USEC") / 1000;
}

int notify_open(struct notify *n, struct err *e)
{
	const char *name = getenv("NOTIFY_SOCKET");

	memset(n, 0, sizeof *n);
	n->fd = -1;
	if (name == NULL) {
		return 0;
	}
	if (set_address(n, name, e) != 0) {
		return e->code;
	}
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->fd < 0) {
		return err_set(e, BFE_SYSTEM,
			"could not make a socket for NOTIFY_SOCKET: %s",
			strerror(errno));
	}
	n->watchdog_ms = read_watchdog_ms();
	return 0;
}

void notify_close(struct notify *n)
{
	if (n->fd >= 0) {
		(void)close(n->fd);
		n->fd = -1;
	}
}

int notify_send(const struct notify *n, const char *lines)
{
	return n->fd < 0 ||
		sendto(n->fd, lines, strlen(lines), MSG_NOSIGNAL,
			(const struct sockaddr *)&n->address, n->length) >= 0;
}

void notify_reloading(const struct notify *n)
{
	struct timespec now;
	char lines[80];

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(lines, sizeof lines,
		"RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		(uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	(void)notify_send(n, lines);
}
