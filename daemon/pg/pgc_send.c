/* pgc_send.c: requests on an established connection.
 *
 * The happy path: pgc_send() puts a request into the queue; the next turn
 * writes its statements and one Sync into libpq's buffer, starts its
 * deadline and flushes. Replies are read as they come; the result of Sync
 * ends the request, its callback runs, the next one is written.
 *
 *     IDLE --write_next()--> BUSY --PGRES_PIPELINE_SYNC--> IDLE
 *                              |
 *        broken, FATAL, deadline, nonsense: pgc_fail() -> DEAD
 *
 * (the transition table is that of the connection, in pgc_conn.c)
 *
 * Ways it fails: a statement's error ends up in the request, the server
 * skips the others, and Sync ends it as usual: BFE_SQL, the connection is
 * fine. A FATAL error is followed by the end of the session: BFE_LOST with
 * the server's SQLSTATE, at once. The deadline: BFE_TIMEOUT; since nothing
 * tells what the server did, the connection is given up. COPY and replies
 * that nobody asked for: BFE_PROTOCOL, likewise.
 *
 * How it closes: pgc_close() takes it from BUSY to CLOSING; every loop here
 * looks at the state again after each callback.
 *
 * What libpq asks for (PostgreSQL docs, 34.4): always watch for readable,
 * for writable while PQflush() answers 1; when readable, PQconsumeInput(),
 * then PQflush() again. Both may read and both may find the connection
 * broken, so results are drained and PQstatus() is looked at after them,
 * whatever they answered. */
#include <assert.h>
#include <dlfcn.h>
#include <string.h>

#include "pgc_internal.h"

void pgc_send(
	struct pgc *c, struct pgc_request *r, pgc_request_cb cb, void *data)
{
	r->cb = cb;
	r->data = data;
	r->next = NULL;
	*c->queue_end = r;
	c->queue_end = &r->next;
	pgc_later(c);
}

static struct pgc_request *take_queued(struct pgc *c)
{
	struct pgc_request *r = c->queue;

	c->queue = r->next;
	if (c->queue == NULL) {
		c->queue_end = &c->queue;
	}
	return r;
}

void pgc_fail_requests(struct pgc *c, const struct err *e, int code)
{
	int state = c->sm.state;
	struct pgc_request **end = c->queue_end;
	struct pgc_request *r = c->current;
	int is_last = c->queue == NULL;

	if (r != NULL) {
		c->current = NULL;
		r->err = *e;
		pgc_request_finish(r);
	}
	while (!is_last && c->sm.state == state) {
		r = take_queued(c);
		is_last = end == &r->next;
		r->err = *e;
		r->err.code = code;
		pgc_request_finish(r);
	}
}

/* Reading. */

/* TLS: libpq reads one record and waits for the socket, which has nothing
 * more to say while OpenSSL holds the rest of a record. Asking SSL_pending()
 * is the only way to know. It is looked up in the library that libpq
 * brought, so that libssl is no dependency of ours, and never another one
 * than libpq's; a libpq without OpenSSL answers NULL. */
static int has_pending_tls(PGconn *conn)
{
	static int (*ssl_pending)(const void *ssl);
	void *ssl = PQsslStruct(conn, "OpenSSL");

	if (ssl == NULL) {
		return 0;
	}
	if (ssl_pending == NULL) {
		void *symbol = dlsym(RTLD_DEFAULT, "SSL_pending");

		/* C has no cast from void * to a function. */
		memcpy(&ssl_pending, &symbol, sizeof ssl_pending);
	}
	return ssl_pending != NULL && ssl_pending(ssl) > 0;
}

static int read_input(struct pgc *c)
{
	do {
		if (!PQconsumeInput(c->conn)) {
			return 0;
		}
	} while (has_pending_tls(c->conn));
	return 1;
}

/* The statement whose reply is read, or NULL: setup's or Sync's. */
static struct pgc_statement *statement_at(const struct pgc_request *r)
{
	return r->at >= 0 && r->at < r->count ? &r->statements[r->at] : NULL;
}

static int failed_at(const struct pgc_request *r)
{
	return statement_at(r) != NULL ? r->at : -1;
}

static int is_fatal(const PGresult *result)
{
	const char *severity =
		PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity != NULL && strcmp(severity, "ERROR") != 0;
}

/* A statement's error is the request's; the server skips the rest. Returns
 * 0, or the code with which the connection is to be given up, e set. */
static int take_error(struct pgc *c, const PGresult *result, struct err *e)
{
	struct pgc_request *r = c->current;

	pgc_error_of(&r->err, result);
	r->failed_at = failed_at(r);
	*e = r->err;
	if (e->sqlstate[0] == '\0') {
		/* Of libpq, not the server: a socket that was closed, or what
		 * libpq does not understand. */
		return e->code = PQstatus(c->conn) == CONNECTION_BAD
			? BFE_LOST
			: BFE_PROTOCOL;
	}
	return is_fatal(result) ? (e->code = BFE_LOST) : 0;
}

static int take_result(struct pgc *c, const PGresult *result, struct err *e)
{
	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
	case PGRES_PIPELINE_ABORTED:
		return 0;
	case PGRES_FATAL_ERROR:
		return take_error(c, result, e);
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		return err_set(e, BFE_PROTOCOL, "COPY is not supported here");
	default:
		return err_set(e, BFE_PROTOCOL,
			"unexpected result status %s from the server",
			PQresStatus(PQresultStatus(result)));
	}
}

/* Keep what its owner will read; of a parse that is the description. */
static void keep_result(struct pgc_request *r, PGresult *result)
{
	struct pgc_statement *s = statement_at(r);

	if (s == NULL || PQresultStatus(result) == PGRES_PIPELINE_ABORTED ||
		(s->is_parse && !r->is_described &&
			PQresultStatus(result) == PGRES_COMMAND_OK)) {
		PQclear(result);
		return;
	}
	PQclear(s->result);
	s->result = result;
}

/* NULL ends the replies to one command. */
static int end_reply(struct pgc_request *r, struct err *e)
{
	const struct pgc_statement *s = statement_at(r);

	if (r->nulls++ > 0) {
		return err_set(e, BFE_PROTOCOL,
			"the server's replies ended before the request");
	}
	if (r->at >= r->count) {
		return 0; /* an error at Sync: a deferred constraint's */
	}
	if (s != NULL && s->is_parse && !r->is_described) {
		r->is_described = 1;
		return 0;
	}
	r->is_described = 0;
	r->at++;
	return 0;
}

/* libpq closed the socket: its number may be another's from here on. To be
 * called before any callback that may open one. */
static void let_go_if_closed(struct pgc *c)
{
	if (PQstatus(c->conn) == CONNECTION_BAD) {
		pgc_drop_poll(c);
	}
}

static void finish_current(struct pgc *c)
{
	struct pgc_request *r = c->current;

	let_go_if_closed(c);
	r->replied_ns = uv_hrtime();
	(void)uv_timer_stop(&c->deadline);
	sm_move(&c->sm, PGC_IDLE);
	c->current = NULL;
	pgc_request_finish(r);
}

/* Read the results that are there. Returns 0, or the code with which the
 * connection is to be given up, e set. */
static int drain(struct pgc *c, struct err *e)
{
	while (c->sm.state == PGC_BUSY && !PQisBusy(c->conn)) {
		struct pgc_request *r = c->current;
		PGresult *result = PQgetResult(c->conn);
		int rc;

		if (c->sm.state != PGC_BUSY) {
			PQclear(result); /* closed by a notice callback */
			break;
		}
		if (result == NULL) {
			rc = end_reply(r, e);
		} else if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
			PQclear(result);
			finish_current(c);
			continue;
		} else {
			r->nulls = 0;
			rc = take_result(c, result, e);
			keep_result(r, result);
		}
		if (rc != 0) {
			r->failed_at = failed_at(r);
			return rc;
		}
	}
	return 0;
}

static void tell_notifications(struct pgc *c)
{
	PGnotify *n;

	while (pgc_is_ready(c) && (n = PQnotifies(c->conn)) != NULL) {
		let_go_if_closed(c);
		if (c->on_notify != NULL && pgc_is_ready(c)) {
			c->on_notify(c->data, n->relname, n->extra);
		}
		PQfreemem(n);
	}
}

/* Writing. */

static int write_next(struct pgc *c)
{
	struct pgc_request *r = take_queued(c);

	sm_move(&c->sm, PGC_BUSY);
	c->current = r;
	c->sent_count++;
	r->written_ns = uv_hrtime();
	pgc_start_deadline(c, r->deadline_ms);
	return pgc_request_write(r, c);
}

static void fail_broken(struct pgc *c)
{
	struct err e;

	if (c->fatal.code != BFE_OK) {
		e = c->fatal;
		e.code = BFE_LOST;
	} else {
		(void)pgc_libpq_error(&e, BFE_LOST, PQerrorMessage(c->conn));
	}
	pgc_fail(c, &e);
}

static int is_broken(const struct pgc *c)
{
	return PQstatus(c->conn) == CONNECTION_BAD || c->fatal.code != BFE_OK;
}

/* One round: write a waiting request, flush, read the results that came.
 * Returns 1 while PQflush() wants the socket writable, 0 when it does not,
 * -1 when the connection is over (or closing). */
static int move_once(struct pgc *c, int is_intact)
{
	struct err e;
	int wants_write = 0;

	if (is_intact && c->sm.state == PGC_IDLE && c->queue != NULL) {
		is_intact = write_next(c);
	}
	if (is_intact) {
		wants_write = PQflush(c->conn);
		is_intact = wants_write >= 0;
	}
	let_go_if_closed(c);
	/* Before the verdict: the last reply may have come with the end. */
	if (drain(c, &e) != 0) {
		pgc_fail(c, &e);
		return -1;
	}
	if (pgc_is_ready(c)) {
		tell_notifications(c);
	}
	if (!pgc_is_ready(c)) {
		return -1;
	}
	if (!is_intact || is_broken(c)) {
		fail_broken(c);
		return -1;
	}
	return wants_write;
}

void pgc_pump(struct pgc *c, int is_readable)
{
	int is_intact = is_readable ? read_input(c) : 1;
	int wants_write;

	do {
		wants_write = move_once(c, is_intact);
	} while (wants_write >= 0 && c->sm.state == PGC_IDLE &&
		c->queue != NULL);
	if (wants_write >= 0) {
		pgc_watch(c, UV_READABLE | (wants_write ? UV_WRITABLE : 0));
	}
}

void pgc_hurry(struct pgc *c)
{
	if (c->sm.state == PGC_BUSY) {
		c->current->deadline_ms =
			(uv_hrtime() - c->current->written_ns) / 1000000;
		pgc_start_deadline(c, 0);
	}
}

/* The timer runs before the socket is looked at: after a long stop of this
 * process the reply may well be there, and a known outcome is worth one
 * more look. */
void pgc_on_request_deadline(struct pgc *c)
{
	uint64_t seen = c->sent_count;
	unsigned long long ms;
	struct pgc_request *r;
	struct err e;

	pgc_pump(c, 1);
	if (c->sm.state != PGC_BUSY || c->sent_count != seen) {
		return;
	}
	/* The server may hold replies back until Sync, so nothing tells which
	 * of several statements it was about. */
	r = c->current;
	ms = (unsigned long long)r->deadline_ms;
	if (r->count == 1) {
		(void)err_set(&e, BFE_TIMEOUT,
			"no reply to the statement within %llu ms", ms);
	} else {
		(void)err_set(&e, BFE_TIMEOUT,
			"no reply to the request of %d statements within "
			"%llu ms",
			r->count, ms);
	}
	pgc_fail(c, &e);
}
