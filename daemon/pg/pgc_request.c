/* pgc_request.c: what travels together, and how its results are read. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pgc_internal.h"
#include "rules/discreet.h"

/* The protocol counts parameters in 16 bits. */
enum { PARAMS_MAX = 65535 };

struct pgc_request *pgc_request_new(uint64_t deadline_ms)
{
	struct pgc_request *r = mem_new(1, sizeof *r);

	assert(deadline_ms > 0);
	r->deadline_ms = deadline_ms;
	r->failed_at = -1;
	return r;
}

static struct pgc_statement *append(struct pgc_request *r, const char *sql)
{
	struct pgc_statement *s;

	r->statements = mem_resize(
		r->statements, ((size_t)r->count + 1) * sizeof *r->statements);
	s = &r->statements[r->count++];
	memset(s, 0, sizeof *s);
	s->sql = mem_strdup(sql);
	return s;
}

void pgc_add(struct pgc_request *r, const char *sql)
{
	(void)append(r, sql);
}

void pgc_add_params(struct pgc_request *r, const char *sql, int count,
	const char *const values[])
{
	struct pgc_statement *s = append(r, sql);

	assert(count >= 0 && count <= PARAMS_MAX);
	if (count == 0) {
		return;
	}
	s->value_count = count;
	s->values = mem_new((size_t)count, sizeof *s->values);
	for (int i = 0; i < count; i++) {
		s->values[i] = mem_strdup(values[i]);
	}
}

void pgc_add_parse(struct pgc_request *r, const char *sql)
{
	append(r, sql)->is_parse = 1;
}

void pgc_discard(struct pgc_request *r)
{
	if (r == NULL) {
		return;
	}
	for (int i = 0; i < r->count; i++) {
		struct pgc_statement *s = &r->statements[i];

		for (int k = 0; k < s->value_count; k++) {
			free(s->values[k]);
		}
		free(s->values);
		free(s->sql);
		PQclear(s->result);
	}
	free(r->statements);
	free(r);
}

void pgc_request_finish(struct pgc_request *r)
{
	r->cb(r->data, r, r->err.code == BFE_OK ? NULL : &r->err);
	pgc_discard(r);
}

static int write_statement(const struct pgc_statement *s, PGconn *conn)
{
	if (s->is_parse) {
		return PQsendPrepare(conn, "", s->sql, 0, NULL) &&
			PQsendDescribePrepared(conn, "");
	}
	return PQsendQueryParams(conn, s->sql, s->value_count, NULL,
		(const char *const *)s->values, NULL, NULL, 0);
}

int pgc_request_write(struct pgc_request *r, const struct pgc *c)
{
	r->at = -c->setup_count;
	for (int i = 0; i < c->setup_count; i++) {
		if (!PQsendQueryParams(c->conn, c->setup[i], 0, NULL, NULL,
			    NULL, NULL, 0)) {
			return 0;
		}
	}
	for (int i = 0; i < r->count; i++) {
		if (!write_statement(&r->statements[i], c->conn)) {
			return 0;
		}
	}
	return PQpipelineSync(c->conn);
}

const PGresult *pgc_result(const struct pgc_request *r, int index)
{
	assert(index >= 0);
	return index < r->count ? r->statements[index].result : NULL;
}

int pgc_failed_at(const struct pgc_request *r)
{
	return r->failed_at;
}

uint64_t pgc_elapsed_us(const struct pgc_request *r)
{
	if (r->replied_ns < r->written_ns) {
		return 0;
	}
	return (r->replied_ns - r->written_ns) / 1000;
}

static int has_field(const PGresult *result, int row, int column)
{
	return result != NULL && row >= 0 && row < PQntuples(result) &&
		column >= 0 && column < PQnfields(result);
}

const char *pgc_text(const PGresult *result, int row, int column)
{
	return has_field(result, row, column) ? PQgetvalue(result, row, column)
					      : "";
}

int pgc_is_null(const PGresult *result, int row, int column)
{
	return !has_field(result, row, column) ||
		PQgetisnull(result, row, column);
}

int64_t pgc_int(const PGresult *result, int row, int column)
{
	return strtoll(pgc_text(result, row, column), NULL, 10);
}

int64_t pgc_lsn(const PGresult *result, int row, int column)
{
	unsigned high = 0;
	unsigned low = 0;

	(void)sscanf(pgc_text(result, row, column), "%X/%X", &high, &low);
	return (int64_t)((uint64_t)high << 32 | low);
}

int pgc_bool(const PGresult *result, int row, int column)
{
	return pgc_text(result, row, column)[0] == 't';
}

int pgc_libpq_error(struct err *e, int code, const char *message)
{
	size_t used = 0;

	(void)err_set(e, code, "%s", "");
	for (; *message != '\0' && used < sizeof e->message - 2; message++) {
		if (*message == '\t') {
			continue;
		}
		if (*message == '\n' && message[1] != '\0') {
			e->message[used++] = ';';
		}
		e->message[used++] = *message != '\n' ? *message : ' ';
	}
	while (used > 0 && e->message[used - 1] == ' ') {
		used--;
	}
	e->message[used] = '\0';
	return code;
}

static void copy_field(char *to, size_t size, const PGresult *result, int field)
{
	const char *value = PQresultErrorField(result, field);
	size_t length = value != NULL ? strlen(value) : 0;

	if (length >= size) {
		length = size - 1;
		/* Not in the middle of a UTF-8 character. */
		while (length > 0 && (value[length] & 0xc0) == 0x80) {
			length--;
		}
	}
	if (length > 0) {
		memcpy(to, value, length);
	}
	to[length] = '\0';
}

/* RAISE says whatever it likes, under any SQLSTATE; but our own functions
 * name no value. Each procedural language has its errors in files that begin
 * so, and its functions in the first line of the context. */
static int is_raised(const PGresult *result)
{
	const char *file = PQresultErrorField(result, PG_DIAG_SOURCE_FILE);
	const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
	const char *ours =
		context != NULL ? strstr(context, " backfill.") : NULL;

	return file != NULL && strncmp(file, "pl", 2) == 0 &&
		(ours == NULL ||
			memchr(context, '\n', (size_t)(ours - context)) !=
				NULL);
}

void pgc_error_of(struct err *e, const PGresult *result)
{
	/* libpq's own errors have no fields, only the whole message. */
	(void)pgc_libpq_error(e, BFE_SQL, PQresultErrorMessage(result));
	copy_field(e->sqlstate, sizeof e->sqlstate, result, PG_DIAG_SQLSTATE);
	if (PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) != NULL) {
		copy_field(e->message, sizeof e->message, result,
			PG_DIAG_MESSAGE_PRIMARY);
	}
	copy_field(e->detail, sizeof e->detail, result, PG_DIAG_MESSAGE_DETAIL);
	copy_field(e->hint, sizeof e->hint, result, PG_DIAG_MESSAGE_HINT);
	copy_field(e->constraint, sizeof e->constraint, result,
		PG_DIAG_CONSTRAINT_NAME);
	e->may_quote = e->sqlstate[0] != '\0' &&
		(discreet_is_message_quoting(e->sqlstate) || is_raised(result));
}
