/* sql.h: a test's own SQL over a blocking connection. The text is a printf
 * format (a percent sign of SQL is written twice) of up to 16 kB. A failure
 * names the caller's file and line, the server's message and the SQL. A
 * statement that does not end within two minutes is a failure too. */
#ifndef BACKFILL_TESTS_SQL_H
#define BACKFILL_TESTS_SQL_H

#include <libpq-fe.h>
#include <stdint.h>

struct sql_failure {
	char sqlstate[6];
	char message[1024];
	char detail[1024];
	char hint[1024];
};

/* One statement or several; the results are dropped. */
#define sql_exec(conn, ...) sql_exec_at(__FILE__, __LINE__, conn, __VA_ARGS__)

/* One row of one column: an integer; a text; a boolean, of which NULL counts
 * as false. The text is "(null)" for NULL and lives in a ring of 16: the
 * seventeenth call from now overwrites it. */
#define sql_int(conn, ...) sql_int_at(__FILE__, __LINE__, conn, __VA_ARGS__)
#define sql_text(conn, ...) sql_text_at(__FILE__, __LINE__, conn, __VA_ARGS__)
#define sql_true(conn, ...) sql_true_at(__FILE__, __LINE__, conn, __VA_ARGS__)

/* Expect an error and tell which; failure may be NULL. */
#define sql_fails(conn, failure, ...)                                          \
	sql_fails_at(__FILE__, __LINE__, conn, failure, __VA_ARGS__)

/* Send now, and collect later: success, or an error as in sql_fails(). In
 * between the connection takes nothing else. */
#define sql_async(conn, ...) sql_async_at(__FILE__, __LINE__, conn, __VA_ARGS__)
#define sql_async_wait(conn) sql_async_wait_at(__FILE__, __LINE__, conn)
#define sql_async_fails(conn, failure)                                         \
	sql_async_fails_at(__FILE__, __LINE__, conn, failure)

/* Ask a boolean query every 10 ms until it is true; no row, like NULL, means
 * not yet. At the deadline the test fails, and the jobs of backfill.jobs are
 * printed if there is such a table. An error of the query fails at once. */
#define sql_wait(conn, deadline_s, ...)                                        \
	sql_wait_at(__FILE__, __LINE__, conn, deadline_s, __VA_ARGS__)

void sql_exec_at(const char *file, int line, PGconn *conn, const char *format,
	...) __attribute__((format(printf, 4, 5)));
int64_t sql_int_at(const char *file, int line, PGconn *conn, const char *format,
	...) __attribute__((format(printf, 4, 5)));
const char *sql_text_at(const char *file, int line, PGconn *conn,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
int sql_true_at(const char *file, int line, PGconn *conn, const char *format,
	...) __attribute__((format(printf, 4, 5)));
void sql_fails_at(const char *file, int line, PGconn *conn,
	struct sql_failure *failure, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void sql_async_at(const char *file, int line, PGconn *conn, const char *format,
	...) __attribute__((format(printf, 4, 5)));
void sql_async_wait_at(const char *file, int line, PGconn *conn);
void sql_async_fails_at(
	const char *file, int line, PGconn *conn, struct sql_failure *failure);
void sql_wait_at(const char *file, int line, PGconn *conn, int deadline_s,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
