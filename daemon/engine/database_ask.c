/* Questions of who only looks on, such as a page: they have a connection of
 * their own, so that neither heartbeat nor sample of the lag waits behind a
 * slow one. It is made with the first question and stays; whatever goes wrong
 * with it closes it, and the next question makes another. See database.c for
 * the whole. */

#include "database_internal.h"

#include <stdio.h>

#include "store/queue.h"

/* A look waits for nobody's lock. */
enum { LOOK_LOCK_TIMEOUT_MS = 100 };

static void on_closed(void *data)
{
	struct database *db = data;

	db->looker = NULL;
	db->is_looker_closing = 0;
	database_maybe_free(db);
}

void database_close_looker(struct database *db)
{
	if (db->looker != NULL && !db->is_looker_closing) {
		db->is_looker_closing = 1;
		pgc_close(db->looker, on_closed, db);
	}
}

static void on_connected(void *data, const struct err *e)
{
	if (e != NULL) {
		database_close_looker(data);
	}
}

static void on_lost(void *data, const struct err *e)
{
	(void)e;
	database_close_looker(data);
}

static void connect_looker(struct database *db)
{
	char name[160];
	struct queue_setup setup;
	const struct log_about about = { .database = database_name(db) };
	struct pgc_options options = {
		.conninfo = db->host.database->dsn,
		.application_name = "backfilld looks",
		.name = name,
		.about = &about,
		.setup = setup.statements,
		.connect_timeout_ms = DATABASE_CONNECT_MS,
		.on_lost = on_lost,
		.data = db,
	};

	(void)snprintf(name, sizeof name, "%s looks", database_name(db));
	queue_setup_init(&setup, LOOK_LOCK_TIMEOUT_MS);
	db->looker = pgc_new(db->host.loop, &options);
	pgc_connect(db->looker, on_connected, db);
}

int database_ask(struct database *db, struct pgc_request *request,
	pgc_request_cb cb, void *data)
{
	if (db->state.state != SERVING || db->is_looker_closing) {
		pgc_discard(request);
		return -1;
	}
	if (db->looker == NULL) {
		connect_looker(db);
	}
	pgc_send(db->looker, request, cb, data);
	return 0;
}
