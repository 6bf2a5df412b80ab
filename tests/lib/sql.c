#include "sql.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wait.h"

enum { SQL_BYTES = 16384, STATEMENT_SECONDS = 120, TEXTS = 16 };

/* Where the test is and what it asks, for messages. */
struct call {
	const char *file;
	int line;
	char sql[SQL_BYTES];
};

/* cmocka cuts a message at 1 kB, so the long parts go past it. */
static void give_up(
	const struct call *call, const char *what, const char *message)
{
	fprintf(stderr, "%s%s%s\nSQL: %s\n", what,
		message[0] != '\0' ? ": " : "", message, call->sql);
	_fail(call->file, call->line);
	abort();
}

static void format_call(struct call *call, const char *file, int line,
	const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void format_call(struct call *call, const char *file, int line,
	const char *format, va_list args)
{
	int length;

	call->file = file;
	call->line = line;
	length = vsnprintf(call->sql, sizeof call->sql, format, args);
	if (length < 0 || length >= (int)sizeof call->sql) {
		give_up(call, "the SQL is too long", "");
	}
}

#define FORMAT_CALL(call)                                                      \
	do {                                                                   \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		format_call(call, file, line, format, args);                   \
		va_end(args);                                                  \
	} while (0)

/* ---- sending and collecting */

static void send_call(PGconn *conn, const struct call *call)
{
	if (!PQsendQuery(conn, call->sql)) {
		give_up(call, "could not send", PQerrorMessage(conn));
	}
}

static void await_answer(
	PGconn *conn, const struct call *call, uint64_t deadline)
{
	while (PQisBusy(conn)) {
		struct pollfd pfd = { PQsocket(conn), POLLIN, 0 };
		int ready = poll(&pfd, 1, wait_left_ms(deadline));

		if (ready == 0) {
			give_up(call, "the statement does not end", "");
		}
		if (ready > 0 && !PQconsumeInput(conn)) {
			return; /* PQgetResult() tells why */
		}
	}
}

static int is_error(const PGresult *result)
{
	return PQresultStatus(result) != PGRES_COMMAND_OK &&
		PQresultStatus(result) != PGRES_TUPLES_OK &&
		PQresultStatus(result) != PGRES_EMPTY_QUERY;
}

/* The last result, or the first that is an error. Never NULL. */
static PGresult *collect(PGconn *conn, const struct call *call)
{
	uint64_t deadline = wait_deadline(STATEMENT_SECONDS);
	PGresult *kept = NULL, *result;

	for (;;) {
		await_answer(conn, call, deadline);
		result = PQgetResult(conn);
		if (result == NULL) {
			break;
		}
		if (kept != NULL && is_error(kept)) {
			PQclear(result);
			continue;
		}
		PQclear(kept);
		kept = result;
	}
	if (kept == NULL) {
		give_up(call, "no answer", PQerrorMessage(conn));
	}
	return kept;
}

/* ---- looking at results */

static void expect_success(const struct call *call, PGresult *result)
{
	char message[2048];

	if (is_error(result)) {
		(void)snprintf(message, sizeof message, "%s",
			PQresultErrorMessage(result));
		PQclear(result);
		give_up(call, "the statement failed", message);
	}
}

static void copy_field(char *to, size_t size, const PGresult *result, int code)
{
	const char *value = PQresultErrorField(result, code);

	(void)snprintf(to, size, "%s", value != NULL ? value : "");
}

/* Frees result. A lost connection has no SQLSTATE, and a message. */
static void expect_failure(
	const struct call *call, PGresult *result, struct sql_failure *failure)
{
	if (!is_error(result)) {
		PQclear(result);
		give_up(call, "the statement succeeded; an error was expected",
			"");
	}
	if (failure != NULL) {
		copy_field(failure->sqlstate, sizeof failure->sqlstate, result,
			PG_DIAG_SQLSTATE);
		copy_field(failure->message, sizeof failure->message, result,
			PG_DIAG_MESSAGE_PRIMARY);
		copy_field(failure->detail, sizeof failure->detail, result,
			PG_DIAG_MESSAGE_DETAIL);
		copy_field(failure->hint, sizeof failure->hint, result,
			PG_DIAG_MESSAGE_HINT);
	}
	if (failure != NULL && failure->message[0] == '\0') {
		(void)snprintf(failure->message, sizeof failure->message, "%s",
			PQresultErrorMessage(result));
	}
	PQclear(result);
}

/* The one value of an answer, in the ring; NULL for NULL, and for no row
 * where min_rows is 0. */
static const char *ask(PGconn *conn, const struct call *call, int min_rows)
{
	static char *ring[TEXTS];
	static size_t next;
	char **slot = &ring[next++ % TEXTS];
	PGresult *result;

	send_call(conn, call);
	result = collect(conn, call);
	expect_success(call, result);
	if (PQntuples(result) < min_rows || PQntuples(result) > 1 ||
		PQnfields(result) != 1) {
		char shape[64];

		(void)snprintf(shape, sizeof shape, "%d rows of %d columns",
			PQntuples(result), PQnfields(result));
		PQclear(result);
		give_up(call, "one value was expected", shape);
	}
	free(*slot);
	*slot = PQntuples(result) == 0 || PQgetisnull(result, 0, 0)
		? NULL
		: strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return *slot;
}

static int is_true(const struct call *call, const char *value)
{
	if (value == NULL || strcmp(value, "f") == 0) {
		return 0;
	}
	if (strcmp(value, "t") != 0) {
		give_up(call, "a boolean was expected", value);
	}
	return 1;
}

/* ---- the contract */

void sql_exec_at(
	const char *file, int line, PGconn *conn, const char *format, ...)
{
	struct call call;
	PGresult *result;

	FORMAT_CALL(&call);
	send_call(conn, &call);
	result = collect(conn, &call);
	expect_success(&call, result);
	PQclear(result);
}

int64_t sql_int_at(
	const char *file, int line, PGconn *conn, const char *format, ...)
{
	struct call call;
	const char *value;
	char *end = NULL;
	int64_t number;

	FORMAT_CALL(&call);
	value = ask(conn, &call, 1);
	errno = 0;
	number = value != NULL ? strtoll(value, &end, 10) : 0;
	if (value == NULL || end == value || *end != '\0' || errno != 0) {
		give_up(&call, "an integer was expected",
			value != NULL ? value : "NULL");
	}
	return number;
}

const char *sql_text_at(
	const char *file, int line, PGconn *conn, const char *format, ...)
{
	struct call call;
	const char *value;

	FORMAT_CALL(&call);
	value = ask(conn, &call, 1);
	return value != NULL ? value : "(null)";
}

int sql_true_at(
	const char *file, int line, PGconn *conn, const char *format, ...)
{
	struct call call;

	FORMAT_CALL(&call);
	return is_true(&call, ask(conn, &call, 1));
}

void sql_fails_at(const char *file, int line, PGconn *conn,
	struct sql_failure *failure, const char *format, ...)
{
	struct call call;

	FORMAT_CALL(&call);
	send_call(conn, &call);
	expect_failure(&call, collect(conn, &call), failure);
}

void sql_async_at(
	const char *file, int line, PGconn *conn, const char *format, ...)
{
	struct call call;

	FORMAT_CALL(&call);
	send_call(conn, &call);
	if (PQflush(conn) != 0) {
		give_up(&call, "could not send", PQerrorMessage(conn));
	}
}

void sql_async_wait_at(const char *file, int line, PGconn *conn)
{
	struct call call = { file, line, "what sql_async() sent" };
	PGresult *result = collect(conn, &call);

	expect_success(&call, result);
	PQclear(result);
}

void sql_async_fails_at(
	const char *file, int line, PGconn *conn, struct sql_failure *failure)
{
	struct call call = { file, line, "what sql_async() sent" };

	expect_failure(&call, collect(conn, &call), failure);
}

static void print_rows(const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++) {
		for (int i = 0; i < PQnfields(result); i++) {
			fprintf(stderr, "%s%s=%s", i > 0 ? "  " : "",
				PQfname(result, i),
				PQgetisnull(result, row, i)
					? "NULL"
					: PQgetvalue(result, row, i));
		}
		fputc('\n', stderr);
	}
}

static void print_jobs(PGconn *conn)
{
	static const char sql[] =
		"SELECT id, name, state, reason, error_sqlstate, "
		"error_message, error_detail, error_hint "
		"FROM backfill.jobs ORDER BY id";
	PGresult *result = PQexec(conn, sql);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		fprintf(stderr, "backfill.jobs has %d rows\n",
			PQntuples(result));
		print_rows(result);
	} else if (sqlstate == NULL ||
		(strcmp(sqlstate, "42P01") != 0 &&
			strcmp(sqlstate, "3F000") != 0)) {
		fputs(PQresultErrorMessage(result), stderr);
	}
	PQclear(result);
}

void sql_wait_at(const char *file, int line, PGconn *conn, int deadline_s,
	const char *format, ...)
{
	uint64_t deadline = wait_deadline(deadline_s);
	struct call call;

	FORMAT_CALL(&call);
	while (!is_true(&call, ask(conn, &call, 0))) {
		if (!wait_again(deadline)) {
			print_jobs(conn);
			give_up(&call, "not true within the deadline", "");
		}
	}
}
