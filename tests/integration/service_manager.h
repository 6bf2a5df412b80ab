/* service_manager.h: what a service manager hears from a daemon, by way of
 * the socket that it gives to it (sd_notify(3)). For test_service*.c. */
#ifndef BACKFILL_TESTS_SERVICE_MANAGER_H
#define BACKFILL_TESTS_SERVICE_MANAGER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "wait.h"

struct manager {
	int fd;
	struct sockaddr_un address;
	struct text heard; /* all of it, a blank line after each message */
	size_t seen;	   /* of it, by manager_wait() */
};

static inline void manager_open(struct manager *m, struct cluster *c)
{
	memset(m, 0, sizeof *m);
	text_init(&m->heard);
	m->address.sun_family = AF_UNIX;
	(void)snprintf(m->address.sun_path, sizeof m->address.sun_path,
		"%s/notify", cluster_dir(c));
	m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(m->fd >= 0);
	assert_return_code(
		bind(m->fd, (struct sockaddr *)&m->address, sizeof m->address),
		errno);
	/* The daemon may be another user. */
	assert_return_code(chmod(m->address.sun_path, 0666), errno);
}

static inline void manager_close(struct manager *m)
{
	close(m->fd);
	(void)unlink(m->address.sun_path);
	text_close(&m->heard);
}

/* Start a daemon of this manager's; watchdog_us is text or NULL. The server
 * would speak to it too, so its environment must stay clean. */
static inline struct daemon *manager_start(struct manager *m, struct cluster *c,
	const char *yaml, const char *watchdog_us)
{
	struct daemon *d;

	setenv("NOTIFY_SOCKET", m->address.sun_path, 1);
	if (watchdog_us != NULL) {
		setenv("WATCHDOG_USEC", watchdog_us, 1);
	}
	d = strncmp(yaml, "databases:", 10) == 0 ? daemon_start_yaml(c, yaml)
						 : daemon_start(c, "t", yaml);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	return d;
}

static inline void manager_listen(struct manager *m)
{
	char buffer[8192];
	ssize_t length;

	while ((length = recv(m->fd, buffer, sizeof buffer, 0)) > 0) {
		text_add_bytes(&m->heard, buffer, (size_t)length);
		text_add(&m->heard, "\n\n");
	}
}

/* Wait for a message with this text in it, after the one that the last call
 * waited for. */
static inline void manager_wait(struct manager *m, const char *text)
{
	uint64_t deadline = wait_deadline(60);
	const char *found;

	for (;;) {
		manager_listen(m);
		found = strstr(m->heard.data + m->seen, text);
		if (found != NULL) {
			break;
		}
		if (!wait_again(deadline)) {
			fail_msg("the manager has not heard: %s\nbut:\n%s",
				text, m->heard.data);
		}
	}
	found = strstr(found, "\n\n");
	assert_non_null(found);
	m->seen = (size_t)(found - m->heard.data) + 2;
}

/* A server that takes connections and says nothing: a daemon tries it for ten
 * seconds. Returns a line of databases for it, and *fd to close. */
static inline void add_silent_server(
	struct text *yaml, struct cluster *c, int *fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof address.sun_path,
		"%s/.s.PGSQL.1", cluster_dir(c));
	(void)unlink(address.sun_path);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(
		bind(*fd, (struct sockaddr *)&address, sizeof address), errno);
	assert_return_code(chmod(address.sun_path, 0666), errno);
	assert_return_code(listen(*fd, 5), errno);
	text_addf(yaml,
		"  - name: silent\n"
		"    dsn: \"host=%s port=1 dbname=t user=backfilld\"\n"
		"    expected_standbys: []\n",
		cluster_dir(c));
}

/* Whether it has ever heard this. */
static inline int manager_has_heard(struct manager *m, const char *text)
{
	manager_listen(m);
	return strstr(m->heard.data, text) != NULL;
}

#endif
