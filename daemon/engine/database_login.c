/* From the connection to the first heartbeat: connect, login, register; and
 * who may not serve. See database.c for the whole. */

#include "database_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "rules/sqlstate.h"
#include "store/queue.h"

enum { LOCK_TIMEOUT_LEAST_MS = 100, LOCK_TIMEOUT_MOST_MS = 2000 };

/* At start nobody is helped by trying again; later the mistake may be a
 * moment of somebody's maintenance. */
static void refuse(struct database *db, struct err *e)
{
	err_wrap(e, "database \"%s\"", database_name(db));
	if (db->served) {
		database_reconnect(db, e);
	} else {
		database_fail(db, e);
	}
}

/* Another try may go well: somebody held a lock, or there was no memory. */
static int is_of_the_moment(const struct err *e)
{
	switch (sqlstate_classify(e)) {
	case SQLSTATE_RETRY:
	case SQLSTATE_SHRINK:
	case SQLSTATE_WAIT:
	case SQLSTATE_RECONNECT:
		return 1;
	default:
		return 0;
	}
}

static void on_registered(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct database *db = data;
	struct err failure;

	if (db->state.state != LOGIN) {
		return;
	}
	if (e != NULL) {
		failure = *e;
		if (strcmp(e->sqlstate, "BF010") == 0) {
			database_lose_incarnation(db, e);
		} else if (e->code == BFE_SQL && !is_of_the_moment(e)) {
			refuse(db, &failure);
		} else {
			database_reconnect(db, e);
		}
		return;
	}
	if (db->host.incarnation == 0) {
		if (queue_check_version(request, &failure) != 0) {
			refuse(db, &failure);
			return;
		}
		db->host.incarnation = queue_read_incarnation(request);
	}
	host_log(&db->host, LOG_INFO, NULL,
		"connected as daemon %lld, %zu workers -> serving",
		(long long)db->host.incarnation, db->workers);
	database_serve(db);
}

static void on_login(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct database *db = data;
	struct err failure;
	int poll_only = db->host.database->poll_only;
	char host[256];

	if (db->state.state != LOGIN) {
		return;
	}
	if (e != NULL) {
		database_reconnect(db, e);
		return;
	}
	if (queue_check_login(request, pgc_backend_pid(db->conn), poll_only,
		    &failure) != 0) {
		refuse(db, &failure);
		return;
	}
	if (gethostname(host, sizeof host) != 0) {
		(void)snprintf(host, sizeof host, "unknown");
	}
	host[sizeof host - 1] = '\0';
	db->heartbeat_sent_ms = clock_boot_ms();
	pgc_send(db->conn,
		db->host.incarnation != 0
			? queue_return(db->host.incarnation, host,
				  (int)getpid(), poll_only)
			: queue_register(host, (int)getpid(), BACKFILLD_VERSION,
				  db->host.config->lease_ms, poll_only),
		on_registered, db);
}

static int64_t control_lock_timeout_ms(const struct config *c)
{
	int64_t ms = c->lease_ms / 4;

	if (ms < LOCK_TIMEOUT_LEAST_MS) {
		return LOCK_TIMEOUT_LEAST_MS;
	}
	return ms > LOCK_TIMEOUT_MOST_MS ? LOCK_TIMEOUT_MOST_MS : ms;
}

static void on_connected(void *data, const struct err *e)
{
	struct database *db = data;

	if (db->state.state != CONNECTING) {
		return;
	}
	if (e != NULL) {
		database_reconnect(db, e);
		return;
	}
	database_move(db, LOGIN);
	pgc_send(db->conn, queue_login(), on_login, db);
}

static void on_lost(void *data, const struct err *e)
{
	database_reconnect(data, e);
}

static void on_notice(void *data, const char *sqlstate, const char *message)
{
	struct database *db = data;

	host_log(
		&db->host, LOG_DEBUG, NULL, "notice %s: %s", sqlstate, message);
}

void database_connect(struct database *db)
{
	char name[160];
	struct queue_setup setup;
	const struct log_about about = { .database = database_name(db) };
	struct pgc_options options = {
		.conninfo = db->host.database->dsn,
		.application_name = "backfilld",
		.name = name,
		.about = &about,
		.setup = setup.statements,
		.connect_timeout_ms = DATABASE_CONNECT_MS,
		.on_notify = database_on_notify,
		.on_notice = on_notice,
		.on_lost = on_lost,
		.data = db,
	};

	(void)snprintf(name, sizeof name, "%s control", database_name(db));
	queue_setup_init(&setup, control_lock_timeout_ms(db->host.config));
	db->conn = pgc_new(db->host.loop, &options);
	pgc_connect(db->conn, on_connected, db);
}
