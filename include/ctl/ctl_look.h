/* ctl_look.h: one look at a database: asked in one round trip, without a
 * transaction of its own and nothing but views, read into a screen. */
#ifndef BACKFILL_CTL_CTL_LOOK_H
#define BACKFILL_CTL_CTL_LOOK_H

#include <libpq-fe.h>

#include "ctl/ctl.h"
#include "ctl/ctl_screen.h"

enum { LOOK_RESULTS = 5 };

struct look {
	PGresult *results[LOOK_RESULTS];
	size_t count; /* that have come */
	char *error;  /* of the server's, or NULL */
	struct screen screen;
	struct screen_daemon *daemons;
	struct screen_signal *signals;
	struct screen_job *jobs;
	char *host, *port; /* copies: the connection may go before the look */
	char *job;	   /* id of the job that was asked for */
};

/* The statements, which set the session anew first: a connection just made
 * needs nothing else. job is an id or name, NULL: all. NULL when libpq
 * refuses the name; the caller free()s it. */
char *look_statements(PGconn *conn, const char *job);

void look_init(struct look *l);
void look_close(struct look *l);

/* The next result; takes it. */
void look_take(struct look *l, PGresult *result);

/* All results are there: make the screen, which borrows from l.
 * Returns 0, or -1 with l->error set. */
int look_finish(struct look *l, PGconn *conn, int has_job);

/* Ask and wait for it. On failure the error is printed and the CTL code
 * returned. */
int look_ask(struct ctl *ctl, struct look *l);

#endif
