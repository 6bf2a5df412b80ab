/* cluster_internal.h: what the files of cluster.h share. */
#ifndef BACKFILL_TESTS_CLUSTER_INTERNAL_H
#define BACKFILL_TESTS_CLUSTER_INTERNAL_H

#include <sys/types.h>
#include <sys/un.h>

#include "cluster.h"

#define CLUSTER_PORT "5432"

struct conninfo {
	struct conninfo *next;
	char *text;
};

struct hook {
	struct hook *next;
	int (*on_stop)(void *arg);
	void *arg;
};

struct cluster {
	struct cluster *next;
	struct conninfo *conninfos;
	struct hook *hooks;
	char dir[sizeof((struct sockaddr_un *)0)->sun_path];
	char data[256];
	char log[256];
	uid_t uid;
	pid_t server; /* 0: none */
	pid_t keeper;
};

/* A directory with a keeper, and nothing in it; known to the program's
 * end. */
struct cluster *cluster_new(void);

/* Returns when the server takes connections. */
void cluster_start_server(struct cluster *c);

#endif
