/* notify.h: what the daemon tells the service manager, in the protocol of
 * sd_notify(3): lines of NAME=VALUE in a datagram to $NOTIFY_SOCKET. Where
 * there is no manager, nothing is told. Nothing here blocks. */
#ifndef BACKFILL_OPS_NOTIFY_H
#define BACKFILL_OPS_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"

struct notify {
	int fd; /* -1: nobody to tell */
	struct sockaddr_un address;
	socklen_t length;
	uint64_t watchdog_ms; /* WATCHDOG=1 is due so often; 0: never */
};

/* Read $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID. Returns 0, or an
 * error when there is a manager that cannot be told: n tells nothing then. */
int notify_open(struct notify *n, struct err *e);
void notify_close(struct notify *n);

/* Send lines, without a line end at the last. Returns whether the manager
 * has them; where there is none, they are as good as told. */
int notify_send(const struct notify *n, const char *lines);

/* RELOADING=1, with the time that it must be told with. */
void notify_reloading(const struct notify *n);

#endif
