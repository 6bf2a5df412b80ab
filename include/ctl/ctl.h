/* ctl.h: what the commands of backfillctl share: the command line, the
 * connection, and errors as people read them. Blocking libpq: there is one
 * thing to do and somebody waits for it. */
#ifndef BACKFILL_CTL_CTL_H
#define BACKFILL_CTL_CTL_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* Exit codes, as psql's. */
enum { CTL_OK = 0, CTL_FATAL = 1, CTL_CONNECTION = 2, CTL_FAILED = 3 };

/* Options of single commands. */
enum {
	CTL_PRINT = 1,
	CTL_FORCE = 2,
	CTL_ALL = 4,
	CTL_TIMEOUT = 8,
	CTL_CONFIG = 16,
	CTL_CONTROL = 32,
	CTL_RUNNER = 64,
	CTL_STANDBY = 128,
	CTL_JSON = 256,
	CTL_FOLLOW = 512,
	CTL_SINCE = 1024,
	CTL_LIMIT = 2048,
	CTL_WAIT = 4096,
	CTL_COLUMNS = 8192, /* an option per column that a job may be given */
	CTL_WATCH = 16384,
	CTL_SHORT = 32768,
	CTL_PLUGIN = 65536
};

/* What an option that may be repeated named; the names are borrowed. */
struct ctl_names {
	char **names;
	size_t count;
};

struct ctl_column;

/* A column of a job and what the command line says of it; borrowed. */
struct ctl_given {
	const struct ctl_column *column;
	const char *value; /* NULL: the column is to be null */
};

struct ctl {
	const char *host, *port, *user; /* NULL: libpq's environment */
	const char *dsn;		/* a name, a conninfo or a URI */
	int never_prompt;
	const char *connect_timeout; /* seconds; NULL: libpq's */
	int options;		     /* CTL_PRINT | … */
	const char *timeout;
	uint64_t timeout_ms;	   /* the same; UINT64_MAX: it is not given */
	const char *watch;	   /* interval of --watch; NULL: the default */
	const char *since, *limit; /* of events */
	const char *config;	   /* of check, as the next three */
	const char *control;	   /* NULL: the default */
	struct ctl_names runners, standbys;
	struct ctl_given *given; /* of submit and explain, in their order */
	size_t given_count;
	char **arguments; /* after the command, up to NULL */
	int argument_count;
	const char *job;    /* first argument; NULL: none */
	const char *reason; /* second, or of stop-all the first */

	struct text *errors; /* take the errors, not printed; NULL: printed */

	PGconn *conn;
	int code; /* CTL_OK until something failed */
};

/* Connect, see ctl_begin_session(). Returns a CTL code. */
int ctl_connect(struct ctl *ctl);

/* Connect again what was lost; quiet. Whether it is there. */
int ctl_reconnect(struct ctl *ctl);

/* Fix what a session takes from role, database and environment:
 * search_path pg_catalog, ISO dates, a lock_timeout. Returns a CTL code. */
int ctl_begin_session(struct ctl *ctl);

/* The statement that does it. */
extern const char ctl_session_sql[];

/* Print the error of a result, ctl->code is set and returned. */
int ctl_refuse_result(struct ctl *ctl, const PGresult *result);

/* Run one statement, its parameters as text (NULL: null). On failure the
 * error is printed, ctl->code set and NULL returned. PQclear() the result. */
PGresult *ctl_query(
	struct ctl *ctl, const char *sql, int count, const char *const *values);

/* The same for who goes on when the connection is lost: that is not printed,
 * NULL is returned, and ctl->code stays. */
PGresult *ctl_query_again(
	struct ctl *ctl, const char *sql, int count, const char *const *values);

/* Sleep, or until a signal comes. */
void ctl_pause(uint64_t ms);

/* As ctl_query() for any number of statements without parameters or result;
 * context is put before an error's message, NULL: nothing. Returns a CTL code.
 */
int ctl_run(struct ctl *ctl, const char *sql, const char *context);

/* One value of the first row; "" for null or no row. */
const char *ctl_value(const PGresult *result, int row, const char *column);
int ctl_is_null(const PGresult *result, int row, const char *column);

/* A boolean; null is false. */
int ctl_is_true(const PGresult *result, int row, const char *column);

/* A number; NAN for null. */
double ctl_number(const PGresult *result, int row, const char *column);

/* Refuse when the schema is not there. Returns a CTL code. */
int ctl_need_schema(struct ctl *ctl);

/* Whether it is an id: a name has a letter. Each is a question to an index. */
int ctl_is_id(const char *job);

/* The row of backfill.progress for an id or name; not found is printed as
 * BF002. NULL: failed, ctl->code is set. */
PGresult *ctl_find_job(struct ctl *ctl, const char *job);

/* Refuse a ctl->job that is not there, unless it is NULL. Returns a CTL
 * code. */
int ctl_need_job(struct ctl *ctl);

/* Print the rows of a statement as a JSON array of objects, a key per column,
 * in their order. Returns a CTL code. */
int ctl_print_json(
	struct ctl *ctl, const char *sql, int count, const char *const *values);

/* Print the column "json" of a statement's row. Returns a CTL code. */
int ctl_print_json_value(
	struct ctl *ctl, const char *sql, int count, const char *const *values);

/* Print a JSON text, harmless to a terminal, and a line end. */
void ctl_say_json(const char *json);

/* Wait until the job ends, and tell how, or until ctl->timeout is over; why it
 * does not move is told on standard error. Returns a CTL code: CTL_FAILED also
 * when the job failed or was cancelled. is_quiet: of success nothing. */
int ctl_wait_job(struct ctl *ctl, const char *id, int is_quiet);

/* Print a result as a table, after an empty line and a title unless that is
 * NULL; nothing when it has no rows. The parameter of the statement is a
 * job's id; align has "l" or "r" per column. Returns a CTL code. */
int ctl_print_rows(struct ctl *ctl, const char *title, const char *sql,
	const char *align, const char *id);

/* Print to standard error, in psql's style and harmless to a terminal:
 * "backfillctl: error: MESSAGE", "DETAIL:  …", "HINT:  …". Empty parts and
 * NULL are left out. With ctl->errors the message is added there instead.
 * Returns code. */
int ctl_error(struct ctl *ctl, int code, const char *detail, const char *hint,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

/* To standard error, the same: "backfillctl: warning: MESSAGE". */
void ctl_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One line to standard output, harmless to a terminal. */
void ctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The commands, each in its cmd_*.c; a CTL code. */
int cmd_help(struct ctl *ctl);
int cmd_complete(struct ctl *ctl);
int cmd_install(struct ctl *ctl);
int cmd_uninstall(struct ctl *ctl);
int cmd_check(struct ctl *ctl);
int cmd_schema(struct ctl *ctl);
int cmd_submit(struct ctl *ctl);
int cmd_set(struct ctl *ctl);
int cmd_events(struct ctl *ctl);
int cmd_list(struct ctl *ctl);
int cmd_show(struct ctl *ctl);
int cmd_status(struct ctl *ctl);
int cmd_status_watch(struct ctl *ctl); /* status --watch */
int cmd_explain(struct ctl *ctl);
int cmd_errors(struct ctl *ctl);
int cmd_pause(struct ctl *ctl);
int cmd_resume(struct ctl *ctl);
int cmd_cancel(struct ctl *ctl);
int cmd_retry(struct ctl *ctl);
int cmd_approve(struct ctl *ctl);
int cmd_stop_all(struct ctl *ctl);
int cmd_start_all(struct ctl *ctl);
int cmd_wait(struct ctl *ctl);
int cmd_plan(struct ctl *ctl);
int cmd_plan_down(struct ctl *ctl);
int cmd_cancel_plan(struct ctl *ctl);

#endif
