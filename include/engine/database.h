/* database.h: everything that the daemon does in one database: the control
 * connection with its lease, and a runner per claimed job. */
#ifndef BACKFILL_ENGINE_DATABASE_H
#define BACKFILL_ENGINE_DATABASE_H

#include <uv.h>

#include "base/err.h"
#include "config/config.h"

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

#endif
