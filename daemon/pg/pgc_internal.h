/* pgc_internal.h: the private side of pgc.h, shared by daemon/pg only. */
#ifndef BACKFILL_PG_PGC_INTERNAL_H
#define BACKFILL_PG_PGC_INTERNAL_H

#include <stddef.h>

#include "base/sm.h"
#include "base/text.h"
#include "pg/pgc.h"

enum {
	PGC_NEW,
	PGC_STARTING,
	PGC_RESOLVING,
	PGC_CONNECTING,
	PGC_IDLE,
	PGC_BUSY,
	PGC_DEAD,
	PGC_CLOSING
};

/* Connection parameters as PQconnectStartParams() wants them: two arrays
 * ended by NULL. Later settings of a keyword replace earlier ones. */
struct pgc_params {
	char **keywords;
	char **values;
	size_t count;
};

struct pgc_resolve;

struct pgc {
	struct sm sm;
	uv_loop_t *loop; /* borrowed */
	char *name;
	struct log_about about;
	char *conninfo;
	char *user;
	char *application_name;
	uint64_t connect_timeout_ms;
	char **setup; /* before the statements of each request */
	int setup_count;

	struct pgc_params params;    /* while connecting */
	struct pgc_resolve *resolve; /* while resolving */
	PGconn *conn;		     /* from CONNECTING to DEAD */

	uint64_t connect_end_ms; /* of the loop's clock */
	size_t host_count;	 /* of the list in params; 0: libpq's own */
	uint64_t host_ms;	 /* what the host being tried is given */
	char host_tried[512];	 /* which one that is */
	struct text left_out;	 /* what hosts that are not tried did */

	/* Always a fresh heap handle for the socket of the moment: libuv
	 * frees a handle only in its close callback, and libpq may put
	 * another socket under the same number meanwhile. */
	uv_poll_t *poll;
	int poll_events; /* what poll is started for; 0 when stopped */

	uv_idle_t later; /* takes every starting call to the next turn */
	uv_timer_t deadline;
	unsigned open_handles; /* later, deadline, polls being closed too */

	struct pgc_request *current; /* on the wire */
	struct pgc_request *queue;   /* first to be sent */
	struct pgc_request **queue_end;
	uint64_t sent_count; /* requests ever written */

	struct err fatal; /* code set: the server said that it ends us */
	struct err fate;  /* why it is DEAD */

	pgc_connect_cb connect_cb; /* NULL once called */
	void *connect_data;
	pgc_close_cb close_cb;
	void *close_data;
	pgc_notify_cb on_notify;
	pgc_notice_cb on_notice;
	pgc_lost_cb on_lost;
	void *data;
};

struct pgc_statement {
	char *sql;
	char **values; /* NULL without parameters */
	int value_count;
	int is_parse;
	PGresult *result;
};

struct pgc_request {
	struct pgc_request *next; /* in the queue */
	struct pgc_statement *statements;
	int count;
	uint64_t deadline_ms;
	pgc_request_cb cb;
	void *data;

	int at;		  /* statement whose reply is read; < 0: of setup */
	int is_described; /* of a parse at `at`: the Parse is answered */
	int nulls;	  /* ends of replies in a row: two are nonsense */
	struct err err;	  /* the first error */
	int failed_at;
	uint64_t written_ns;
	uint64_t replied_ns;
};

/* pgc_params.c */

/* Fill p with our defaults, then what the conninfo says, then the user.
 * Returns 0, or BFE_INPUT without a word of the conninfo in e. */
int pgc_params_init(struct pgc_params *p, const struct pgc *c, struct err *e);
void pgc_params_close(struct pgc_params *p);
void pgc_params_set(
	struct pgc_params *p, const char *keyword, const char *value);

/* Set these keywords, up to a NULL, to what libpq would use: the environment
 * and the service file included. */
void pgc_params_settle(struct pgc_params *p, const char *const keywords[]);

/* "" when it is not set; lent until it is set anew. */
const char *pgc_params_get(const struct pgc_params *p, const char *keyword);

/* pgc_resolve.c */

/* Look up the host names of c->params off the loop and put addresses in
 * their place. Ends in pgc_on_resolved(), maybe before it returns. */
void pgc_resolve_start(struct pgc *c);

/* Forget the lookups; pgc_on_resolved() does not come any more. */
void pgc_resolve_cancel(struct pgc *c);

/* "a", "b" of the hosts being looked up; for the message of a timeout. */
void pgc_resolve_names(const struct pgc *c, char *buffer, size_t size);

/* pgc_hosts.c */

/* Item number index of a comma list; "" behind its end; heap. A list of one
 * is for every index when is_shared. */
char *pgc_list_item(const char *list, size_t index, int is_shared);
size_t pgc_list_count(const char *list);

/* After each step of libpq's attempt: a host that it has just begun with is
 * given its share of the time. */
void pgc_hosts_time(struct pgc *c);

/* The share is over. Returns 1 when another host is left for a new attempt,
 * 0 when this was the last one; either way left_out tells what it did. */
int pgc_hosts_leave_out(struct pgc *c);

/* What the time for connecting passed with. */
void pgc_hosts_timed_out(const struct pgc *c, struct err *e);

/* pgc_conn.c */

void pgc_on_resolved(struct pgc *c, const struct err *e);

/* Watch the socket of the moment for UV_READABLE and UV_WRITABLE. */
void pgc_watch(struct pgc *c, int events);

/* Stop watching: before libpq may close the socket, or when it did. */
void pgc_drop_poll(struct pgc *c);

void pgc_start_deadline(struct pgc *c, uint64_t timeout_ms);

/* Give the connection up, whatever it is doing: close the socket, tell
 * everyone who waits. Calls users back: only from the loop's turn. */
void pgc_fail(struct pgc *c, const struct err *e);

/* Run pgc_pump() or what else the state needs in the next turn. */
void pgc_later(struct pgc *c);

/* pgc_send.c */

/* Move data and requests as far as they go without waiting. */
void pgc_pump(struct pgc *c, int is_readable);

/* The deadline of the request on the wire passed. */
void pgc_on_request_deadline(struct pgc *c);

/* Tell the request on the wire, then those of the queue at this moment,
 * that they ended: the first with e, the others with code and the message
 * of e. Stops when a callback moves the connection out of its state. */
void pgc_fail_requests(struct pgc *c, const struct err *e, int code);

/* pgc_request.c */

/* Code and the words of libpq on one line. */
int pgc_libpq_error(struct err *e, int code, const char *message);

/* Hand the request to its owner's callback, then free it. */
void pgc_request_finish(struct pgc_request *r);

/* Write c's setup, its statements and a Sync to libpq's buffer; 1, or 0 as
 * libpq. */
int pgc_request_write(struct pgc_request *r, const struct pgc *c);

#endif
