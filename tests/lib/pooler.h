/* pooler.h: PgBouncer before a cluster of ours: a process of the server's
 * user, on a unix socket in the cluster's directory. It has three sessions
 * per database and login and takes them in turn, so that each transaction
 * meets another one. */
#ifndef BACKFILL_TESTS_POOLER_H
#define BACKFILL_TESTS_POOLER_H

#include "cluster.h"

struct pooler;

/* Whether there is a program to run. */
int pooler_exists(void);

/* Start it; mode is PgBouncer's pool_mode: "transaction", "session". The
 * logins backfilld, app and postgres are let in unasked. Returns when it
 * takes connections. Free it with pooler_stop(), or leave it to the
 * cluster's stop. */
struct pooler *pooler_start(struct cluster *c, const char *mode);

/* SIGKILL; start again what was killed. */
void pooler_kill(struct pooler *p);
void pooler_restart(struct pooler *p);

void pooler_stop(struct pooler *p);

/* As cluster_conninfo(), through the pooler; owned by p until the next
 * call. */
const char *pooler_conninfo(
	struct pooler *p, const char *dbname, const char *user);

#endif
