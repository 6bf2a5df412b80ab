/* database_internal.h: the private parts of a database, shared by
 * database*.c. */
#ifndef BACKFILL_ENGINE_DATABASE_INTERNAL_H
#define BACKFILL_ENGINE_DATABASE_INTERNAL_H

#include "base/sm.h"
#include "engine/database.h"
#include "engine/host.h"
#include "engine/runner.h"
#include "rules/retry.h"

enum database_state { CONNECTING, LOGIN, SERVING, PAUSING, STOPPING, CLOSED };

/* Longest times of a state, for database_is_alive(). */
enum { DATABASE_CONNECT_MS = 10000, DATABASE_PAUSE_MS = 10000 };

/* When the machinery last moved, on the loop's clock. */
struct pulse {
	uint64_t state_ms;     /* another state was entered */
	uint64_t heartbeat_ms; /* the timer of the heartbeat came */
	uint64_t poll_ms;      /* the timer of the queue came */
	uint64_t answer_ms;    /* the server answered either */
};

struct database {
	struct host host; /* lent to the runners */
	struct sm state;
	database_end_cb on_end;
	void *data;

	struct pgc *conn;   /* host.control points to it while it serves */
	struct pgc *looker; /* of who looks on; NULL: nobody does */
	int is_looker_closing;
	struct retry retry;
	uv_timer_t pause;
	uv_timer_t heartbeat;
	uv_timer_t poll;
	int timers_open;
	int is_pacer_open;
	uint64_t heartbeat_sent_ms;
	uint64_t pruned_ms; /* when old jobs were last looked for; 0: never */

	struct runner **runners; /* workers slots; NULL: free */
	size_t workers;
	size_t running;

	int looking;	/* a look at the queue is under way */
	int look_again; /* and something happened meanwhile */
	int stop_asked;
	int served; /* was registered once */
	int unregistering;
	struct pulse pulse;
	int was_tried;	    /* served or failed once, for the watcher */
	struct err trouble; /* why it does not serve; code 0: it does */
	database_watch_cb on_change;
	void *on_change_data;
	struct err failure; /* why it ended; code 0: it was asked to */
};

/* database.c */

/* How the configuration calls it; for log lines. */
const char *database_name(const struct database *db);

/* First line of a reply's callback: whether to go on. Errors of the server
 * are told and leave the connection; others end it. */
int database_reply_is_well(
	struct database *db, const char *what, const struct err *e);

/* Sign off when it was asked to stop and nothing is under way any more. */
void database_maybe_stopped(struct database *db);

/* Free when nothing can call back any more. */
void database_maybe_free(struct database *db);

/* Any trouble with the control connection ends here: it is made anew. */
void database_reconnect(struct database *db, const struct err *e);

/* The database cannot be served: the end. */
void database_fail(struct database *db, const struct err *e);

/* Our row was removed, or is another daemon's: begin a new life. */
void database_lose_incarnation(struct database *db, const struct err *e);

/* Registered: heartbeats, polls, and the first look. */
void database_serve(struct database *db);

void database_on_notify(void *data, const char *channel, const char *payload);

/* database_login.c */
void database_connect(struct database *db);

/* database_service.c */

/* The one place where the state changes. */
void database_move(struct database *db, enum database_state state);

/* It serves (e is NULL), or does not for the reason e: tell the watcher. */
void database_changed(struct database *db, const struct err *e);

/* database_ask.c */

/* No question is asked any more; those under way end with an error. */
void database_close_looker(struct database *db);

/* database_queue.c */

/* See what became of our work, then claim as long as a worker is free. One
 * look at a time; asked for again meanwhile, another one follows. */
void database_look(struct database *db);

/* Remove jobs that ended longer ago than the retention; once a minute. */
void database_prune(struct database *db);

#endif
