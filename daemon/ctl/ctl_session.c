/* The connection: psql's letters and libpq's environment in, a session that
 * depends on nobody's defaults out. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/ctl.h"

/* A name that we did not qualify must not be found in a schema of somebody
 * else's; no command waits long for a lock that somebody forgot; to compile a
 * view takes seconds, and it is read in milliseconds. */
const char ctl_session_sql[] =
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog', false),"
	" pg_catalog.set_config('client_min_messages', 'warning', false),"
	" pg_catalog.set_config('lock_timeout', '10s', false),"
	" pg_catalog.set_config('jit', 'off', false),"
	" pg_catalog.set_config('datestyle', 'ISO', false),"
	" pg_catalog.set_config('intervalstyle', 'postgres', false)";

#define LOOK                                                                   \
	"SELECT has_schema_privilege('backfill', 'USAGE') AS may,"             \
	" format('role \"%s\" may not use backfill', current_user) AS "        \
	"message,"                                                             \
	" format('GRANT backfill_submit TO %I;', current_user) AS mend"        \
	" FROM pg_namespace WHERE nspname = 'backfill'"

#define FIND_JOB "SELECT * FROM backfill.progress p WHERE "

#define DEPENDENT_OBJECTS "2BP01" /* dependent_objects_still_exist */
#define NO_PRIVILEGE "42501"	  /* insufficient_privilege */
#define NO_LOCK "55P03"		  /* lock_not_available */
#define NO_JOB "BF002"

/* Digits that surely fit into bigint. */
enum { PASSWORD_BYTES = 1024, MOST_DIGITS = 18 };

/* From the terminal, as psql: standard input may be something else. A
 * terminal gives a line per read(2). */
static int ask_password(char *password, size_t size)
{
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct termios shown, hidden;
	ssize_t length;

	if (tty < 0) {
		return 0;
	}
	if (tcgetattr(tty, &shown) != 0) {
		close(tty);
		return 0;
	}
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	(void)tcsetattr(tty, TCSAFLUSH, &hidden);
	dprintf(tty, "Password: ");
	length = read(tty, password, size - 1);
	dprintf(tty, "\n");
	(void)tcsetattr(tty, TCSAFLUSH, &shown);
	close(tty);
	if (length <= 0) {
		return 0;
	}
	password[length] = '\0';
	password[strcspn(password, "\n")] = '\0';
	return 1;
}

/* What comes after dbname wins over a conninfo in dbname (PostgreSQL docs,
 * 34.1, PQconnectdbParams). */
static PGconn *open_connection(const struct ctl *ctl, const char *password)
{
	const char *const keywords[] = { "host", "port", "user", "password",
		"connect_timeout", "dbname", "application_name",
		"client_encoding", NULL };
	const char *const values[] = { ctl->host, ctl->port, ctl->user,
		password, ctl->connect_timeout, ctl->dsn, "backfillctl", "UTF8",
		NULL };

	return PQconnectdbParams(keywords, values, 1);
}

static void on_notice(void *arg, const PGresult *result)
{
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	ctl_warn("%s", message != NULL ? message : "");
}

static int refuse_connection(struct ctl *ctl)
{
	char *message = strdup(PQerrorMessage(ctl->conn));
	size_t length = message != NULL ? strlen(message) : 0;

	while (length > 0 && message[length - 1] == '\n') {
		message[--length] = '\0';
	}
	(void)ctl_error(ctl, CTL_CONNECTION, NULL, NULL, "%s",
		message != NULL ? message : "");
	free(message);
	return CTL_CONNECTION;
}

int ctl_begin_session(struct ctl *ctl)
{
	(void)PQsetNoticeReceiver(ctl->conn, on_notice, NULL);
	PQclear(ctl_query(ctl, ctl_session_sql, 0, NULL));
	return ctl->code;
}

int ctl_connect(struct ctl *ctl)
{
	char password[PASSWORD_BYTES];

	ctl->conn = open_connection(ctl, NULL);
	if (PQstatus(ctl->conn) == CONNECTION_BAD && !ctl->never_prompt &&
		PQconnectionNeedsPassword(ctl->conn) &&
		ask_password(password, sizeof password)) {
		PQfinish(ctl->conn);
		ctl->conn = open_connection(ctl, password);
		explicit_bzero(password, sizeof password);
	}
	if (PQstatus(ctl->conn) != CONNECTION_OK) {
		return refuse_connection(ctl);
	}
	return ctl_begin_session(ctl);
}

int ctl_reconnect(struct ctl *ctl)
{
	PGresult *result;
	int is_there;

	PQreset(ctl->conn);
	result = PQexec(ctl->conn, ctl_session_sql);
	is_there = PQresultStatus(result) == PGRES_TUPLES_OK;
	PQclear(result);
	return is_there;
}

/* What may help where the server has nothing to say. */
static const char *hint_of(const char *state)
{
	if (strcmp(state, NO_PRIVILEGE) == 0) {
		return "What belongs to a job takes membership in its run_as"
		       " and in backfill_submit, or in backfill_admin, which"
		       " stop-all and start-all take.";
	}
	if (strcmp(state, NO_JOB) == 0) {
		return "backfillctl list --all shows the jobs that you may"
		       " see.";
	}
	if (strcmp(state, NO_LOCK) == 0) {
		return "Somebody holds the lock: the view backfill.locks, or"
		       " pg_stat_activity, shows who. Try again.";
	}
	return NULL;
}

/* Print the error of a result. It has no SQLSTATE when the connection went:
 * libpq then puts its own words after the server's. */
static int refuse_result(
	struct ctl *ctl, const PGresult *result, const char *context)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (state == NULL || message == NULL) {
		return refuse_connection(ctl);
	}
	/* The server's hint, CASCADE, would drop what is not ours. */
	if (strcmp(state, DEPENDENT_OBJECTS) == 0) {
		hint = "Drop what depends on the schema first.";
	}
	if (hint == NULL) {
		hint = hint_of(state);
	}
	return ctl_error(ctl, CTL_FAILED,
		PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL), hint,
		"%s: %s%s%s", state, context != NULL ? context : "",
		context != NULL ? ": " : "", message);
}

int ctl_refuse_result(struct ctl *ctl, const PGresult *result)
{
	return refuse_result(ctl, result, NULL);
}

static int is_fine(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

PGresult *ctl_query(
	struct ctl *ctl, const char *sql, int count, const char *const *values)
{
	PGresult *result = PQexecParams(
		ctl->conn, sql, count, NULL, values, NULL, NULL, 0);

	if (!is_fine(result)) {
		(void)refuse_result(ctl, result, NULL);
		PQclear(result);
		return NULL;
	}
	return result;
}

PGresult *ctl_query_again(
	struct ctl *ctl, const char *sql, int count, const char *const *values)
{
	PGresult *result = PQexecParams(
		ctl->conn, sql, count, NULL, values, NULL, NULL, 0);

	if (is_fine(result)) {
		return result;
	}
	if (PQstatus(ctl->conn) == CONNECTION_OK) {
		(void)refuse_result(ctl, result, NULL);
	}
	PQclear(result);
	return NULL;
}

void ctl_pause(uint64_t ms)
{
	struct timespec time = {
		.tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000,
	};

	(void)nanosleep(&time, NULL);
}

int ctl_run(struct ctl *ctl, const char *sql, const char *context)
{
	PGresult *result = PQexec(ctl->conn, sql);

	if (!is_fine(result)) {
		(void)refuse_result(ctl, result, context);
	} else if (strcmp(sql, "COMMIT") == 0 &&
		strcmp(PQcmdStatus(result), "COMMIT") != 0) {
		(void)ctl_error(ctl, CTL_FAILED, NULL, NULL,
			"the transaction was rolled back");
	}
	PQclear(result);
	return ctl->code;
}

const char *ctl_value(const PGresult *result, int row, const char *column)
{
	int number = PQfnumber(result, column);

	if (number < 0 || row >= PQntuples(result)) {
		return "";
	}
	return PQgetvalue(result, row, number);
}

int ctl_is_null(const PGresult *result, int row, const char *column)
{
	int number = PQfnumber(result, column);

	return number < 0 || row >= PQntuples(result) ||
		PQgetisnull(result, row, number);
}

int ctl_is_true(const PGresult *result, int row, const char *column)
{
	return *ctl_value(result, row, column) == 't';
}

double ctl_number(const PGresult *result, int row, const char *column)
{
	if (ctl_is_null(result, row, column)) {
		return (double)NAN;
	}
	return strtod(ctl_value(result, row, column), NULL);
}

int ctl_need_schema(struct ctl *ctl)
{
	PGresult *result = ctl_query(ctl, LOOK, 0, NULL);

	if (result != NULL && PQntuples(result) == 0) {
		(void)ctl_error(ctl, CTL_FATAL, NULL,
			"A superuser, or a role with CREATEROLE that owns the"
			" database, installs it: backfillctl install.",
			"backfill is not installed in database \"%s\"",
			PQdb(ctl->conn));
	} else if (result != NULL && !ctl_is_true(result, 0, "may")) {
		(void)ctl_error(ctl, CTL_FAILED, NULL,
			ctl_value(result, 0, "mend"), "42501: %s",
			ctl_value(result, 0, "message"));
	}
	PQclear(result);
	return ctl->code;
}

int ctl_is_id(const char *job)
{
	size_t digits = strspn(job, "0123456789");

	return digits > 0 && digits <= MOST_DIGITS && job[digits] == '\0';
}

PGresult *ctl_find_job(struct ctl *ctl, const char *job)
{
	const char *const values[] = { job };
	PGresult *result = ctl_query(ctl,
		ctl_is_id(job) ? FIND_JOB "p.id = $1::bigint"
			       : FIND_JOB "p.name = $1",
		1, values);

	if (result != NULL && PQntuples(result) == 0) {
		(void)ctl_error(ctl, CTL_FAILED,
			"Or its run_as is a role that you may not become.",
			hint_of(NO_JOB), "BF002: job \"%s\" does not exist",
			job);
		PQclear(result);
		return NULL;
	}
	return result;
}

int ctl_need_job(struct ctl *ctl)
{
	if (ctl->job != NULL) {
		PQclear(ctl_find_job(ctl, ctl->job));
	}
	return ctl->code;
}
