/* pgc.h: one libpq connection on one libuv loop.
 *
 * A connection lives in pipeline mode. The unit of work is a request: one
 * or more statements that travel together, in one round trip, closed by
 * one Sync; the server skips the rest after the first error (PostgreSQL
 * docs, 34.5 "Pipeline Mode"). Requests wait in a queue and are sent one at
 * a time, each under its own deadline.
 *
 * The contract of every callback here: if the starting call was made,
 * exactly one callback comes; never from inside the call; the callback may
 * start other work on the connection or close it. PGresults are lent until
 * the callback returns.
 *
 * Nothing here blocks the loop: names are resolved by uv_getaddrinfo, the
 * connection attempt and each request are bounded by our own clock, since
 * libpq bounds neither on this path. An idle connection has only the TCP
 * keepalives, which a frozen proxy answers: who relies on one (LISTEN) sends
 * a request from time to time. */
#ifndef BACKFILL_PG_PGC_H
#define BACKFILL_PG_PGC_H

#include <libpq-fe.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/log.h"

struct pgc;
struct pgc_request;

/* e is NULL when the connection is ready. */
typedef void (*pgc_connect_cb)(void *data, const struct err *e);

/* The request ended; e is NULL when every statement succeeded. Results are
 * read with pgc_result(); the request is freed after the callback. */
typedef void (*pgc_request_cb)(
	void *data, struct pgc_request *request, const struct err *e);

/* A notification arrived (LISTEN). */
typedef void (*pgc_notify_cb)(
	void *data, const char *channel, const char *payload);

/* The established connection broke while no request was under way, or
 * after the callback of the one that was. Comes once; close it then. */
typedef void (*pgc_lost_cb)(void *data, const struct err *e);

typedef void (*pgc_close_cb)(void *data);

/* A notice or warning of the server: its SQLSTATE and primary message,
 * never its DETAIL. */
typedef void (*pgc_notice_cb)(
	void *data, const char *sqlstate, const char *message);

struct pgc_options {
	const char *conninfo;	      /* conninfo or URI; copied */
	const char *user;	      /* overrides that of conninfo; or NULL */
	const char *application_name; /* at most 63 bytes count */
	const char *name; /* for debug lines: "shop control"; copied */
	/* For the others; its texts outlive the connection. NULL: the name. */
	const struct log_about *about;

	/* Statements that go before those of each request, in the same round
	 * trip and transaction, such as settings of that transaction only: a
	 * pooler may give the next one another session. Up to a NULL; copied;
	 * or NULL. Their results are dropped; an error is the request's. */
	const char *const *setup;
	uint64_t connect_timeout_ms; /* name lookup included; not 0 */
	pgc_notify_cb on_notify;     /* may be NULL, as the next two */
	pgc_notice_cb on_notice;
	pgc_lost_cb on_lost;
	void *data; /* given to the callbacks above */
};

/* A closed connection object; heap, freed after pgc_close(). */
struct pgc *pgc_new(uv_loop_t *loop, const struct pgc_options *options);

/* Start connecting; once per object. On failure the object stays and can
 * only be closed. data is given to cb. */
void pgc_connect(struct pgc *c, pgc_connect_cb cb, void *data);

/* Close in any state. Pending callbacks (connect, requests) come first,
 * with BFE_CLOSED, then cb; after it c is gone. At most once. cb may be
 * NULL. */
void pgc_close(struct pgc *c, pgc_close_cb cb, void *data);

/* Ready for requests: connected, not lost, not closing. */
int pgc_is_ready(const struct pgc *c);

/* Process id of the server's backend, as it was told when we connected (a
 * pooler tells one of its own making); 0 when not connected. */
int pgc_backend_pid(const struct pgc *c);

/* Server version as PQserverVersion: 150018; 0 when not connected. */
int pgc_server_version(const struct pgc *c);

/* A request under construction; give it to pgc_send() or pgc_discard().
 * deadline_ms, not 0, counts from the moment it is written; when it
 * passes, the request ends with BFE_TIMEOUT and the connection is lost:
 * what the server did is unknown. */
struct pgc_request *pgc_request_new(uint64_t deadline_ms);

/* Append a statement. Parameters are text in the type that the server
 * infers; sql and values are copied; a NULL value is SQL NULL. */
void pgc_add(struct pgc_request *r, const char *sql);
void pgc_add_params(struct pgc_request *r, const char *sql, int count,
	const char *const values[]);

/* Append Parse and Describe of sql as the unnamed statement, without
 * running it: two results, the second described (PQnparams, PQftype). */
void pgc_add_parse(struct pgc_request *r, const char *sql);

/* Queue the request; takes it. One that is sent before the connection is
 * ready waits for it. A connection that failed, was lost or is closing still
 * takes it, and its callback comes with BFE_LOST or BFE_CLOSED. */
void pgc_send(
	struct pgc *c, struct pgc_request *r, pgc_request_cb cb, void *data);

void pgc_discard(struct pgc_request *r);

/* The reply to the request on the wire, if there is one, will not come:
 * unless it is there already, the request ends at the next turn as if its
 * deadline had passed. */
void pgc_hurry(struct pgc *c);

/* In the callback: result of the statement at index (order of pgc_add;
 * pgc_add_parse counts as one, the description). NULL when it did not run. */
const PGresult *pgc_result(const struct pgc_request *r, int index);

/* In the callback of a failed request: the statement that failed, counted
 * from 0; -1 when the failure belongs to no statement. */
int pgc_failed_at(const struct pgc_request *r);

/* In the callback: time from the write to the last reply, in
 * microseconds. */
uint64_t pgc_elapsed_us(const struct pgc_request *r);

/* Fields of a result as C values. Text is borrowed from the result; the
 * empty string stands for NULL and for a missing row or column. */
const char *pgc_text(const PGresult *result, int row, int column);
int pgc_is_null(const PGresult *result, int row, int column);
int64_t pgc_int(const PGresult *result, int row, int column);
/* "16/B374D848" as a number of bytes. */
int64_t pgc_lsn(const PGresult *result, int row, int column);
int pgc_bool(const PGresult *result, int row, int column);

/* Fill e from a failed result: SQLSTATE, message, detail, hint. */
void pgc_error_of(struct err *e, const PGresult *result);

#endif
