/* database.h: everything that the daemon does in one database: the control
 * connection with its lease, and a runner per claimed job. */
#ifndef BACKFILL_ENGINE_DATABASE_H
#define BACKFILL_ENGINE_DATABASE_H

#include <uv.h>

#include "base/err.h"
#include "config/config.h"
#include "engine/counters.h"
#include "engine/pacer.h"
#include "pg/pgc.h"

struct database;

/* e is NULL after database_stop() or database_abandon(); else the database
 * cannot be served by this login or this release, and e says what mends it.
 * The database is gone then. Called once. */
typedef void (*database_end_cb)(void *data, const struct err *e);

/* Connect and serve, reconnecting for ever. Borrows both configurations. */
struct database *database_start(uv_loop_t *loop, const struct config *config,
	const struct config_database *which, database_end_cb on_end,
	void *data);

/* Finish the batches in flight, give the jobs back, sign off, end. */
void database_stop(struct database *db);

/* End at once, without a word to the server: the leases will run out. */
void database_abandon(struct database *db);

/* What a person wants to know of it. Texts are lent, for a turn of the
 * loop. */
struct database_status {
	const char *name;
	int was_tried;	       /* it served, or failed to, once */
	const char *trouble;   /* why it does not serve; NULL: it serves */
	size_t running;	       /* jobs; those that are held not counted */
	size_t held;	       /* jobs that wait, with a reason */
	uint64_t rows_changed; /* by this daemon since its start */
};

void database_status(const struct database *db, struct database_status *s);

/* cb is called, never from inside a call, when the database begins to serve
 * or could not do so, and whenever it ceases to. */
typedef void (*database_watch_cb)(void *data);
void database_watch(struct database *db, database_watch_cb cb, void *data);

/* Whether its machinery moves: heartbeats and looks at the queue go out and
 * are answered, or a connection is being made or waited for, each within the
 * time that it may take. A database that can never move again is not alive,
 * one whose server is down is. */
int database_is_alive(const struct database *db);

/* What it has counted since its start; lent. */
const struct counters *database_counters(const struct database *db);

/* The standbys that hold jobs back, while jobs run (engine/pacer.h). */
void database_each_standby(
	const struct database *db, pacer_standby_cb cb, void *data);

/* Send a request on a connection of its own, to look at something. Takes it.
 * Returns 0, and cb is called once, from a later turn and before the database
 * ends; or -1 when it does not serve: then cb is not called. */
int database_ask(struct database *db, struct pgc_request *request,
	pgc_request_cb cb, void *data);

/* The configuration that it borrows has changed in place. */
void database_reload(struct database *db);

#endif
