/* The states:
 *
 *	IDLE -due-> ASKING -all results-> IDLE
 *	ASKING -lost, too late-> OFFLINE -due-> CONNECTING -made-> IDLE
 *	CONNECTING -refused, too late-> OFFLINE
 *
 * An error of the server's, such as a schema that is just upgraded, is
 * trouble, too, but the connection is kept. */
#include "ctl/ctl_asker.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { CONNECT_MS = 10000, ANSWER_MS = 15000, AGAIN_MS = 1000 };

void asker_init(struct asker *a, struct ctl *ctl, uint64_t interval_ms)
{
	memset(a, 0, sizeof *a);
	a->ctl = ctl;
	a->interval_ms = interval_ms;
	a->state = ASKER_IDLE;
	a->parameters = PQconninfo(ctl->conn);
	(void)PQsetnonblocking(ctl->conn, 1);
}

void asker_close(struct asker *a)
{
	look_close(&a->next);
	look_close(&a->last);
	PQconninfoFree(a->parameters);
	free(a->trouble);
	memset(a, 0, sizeof *a);
}

/* ---- trouble */

/* libpq's messages may have many lines. */
static char *first_line(const char *message)
{
	char *line = mem_strdup(message);

	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void have_trouble(struct asker *a, uint64_t now_ms, const char *message)
{
	char *line = first_line(message);

	free(a->trouble);
	a->trouble = line;
	if (a->lost_ms == 0) {
		a->lost_ms = now_ms;
		a->lost_at = (double)time(NULL);
	}
}

static int lose(struct asker *a, uint64_t now_ms, const char *message)
{
	have_trouble(a, now_ms, message);
	look_close(&a->next);
	a->state = ASKER_OFFLINE;
	a->due_ms = now_ms + AGAIN_MS;
	return 1;
}

/* ---- connecting */

/* As the first time, password and all. */
static PGconn *connect_again(const PQconninfoOption *parameters)
{
	const char *keywords[64], *values[64];
	size_t count = 0;

	for (; parameters->keyword != NULL && count < 63; parameters++) {
		if (parameters->val != NULL && *parameters->val != '\0') {
			keywords[count] = parameters->keyword;
			values[count++] = parameters->val;
		}
	}
	keywords[count] = NULL;
	values[count] = NULL;
	return PQconnectStartParams(keywords, values, 0);
}

static int begin_connecting(struct asker *a, uint64_t now_ms)
{
	PQfinish(a->ctl->conn);
	a->ctl->conn = connect_again(a->parameters);
	if (PQstatus(a->ctl->conn) == CONNECTION_BAD) {
		return lose(a, now_ms, PQerrorMessage(a->ctl->conn));
	}
	a->state = ASKER_CONNECTING;
	a->wants = PGRES_POLLING_WRITING;
	a->due_ms = now_ms + CONNECT_MS;
	return 0;
}

static int go_on_connecting(struct asker *a, uint64_t now_ms)
{
	a->wants = PQconnectPoll(a->ctl->conn);
	if (a->wants == PGRES_POLLING_FAILED) {
		return lose(a, now_ms, PQerrorMessage(a->ctl->conn));
	}
	if (a->wants == PGRES_POLLING_OK) {
		(void)PQsetnonblocking(a->ctl->conn, 1);
		a->state = ASKER_IDLE;
		a->due_ms = now_ms;
	}
	return 0;
}

/* ---- asking */

static int begin_asking(struct asker *a, uint64_t now_ms)
{
	char *statements = look_statements(a->ctl->conn, a->ctl->job);
	int is_sent = statements != NULL &&
		PQsendQuery(a->ctl->conn, statements) == 1;

	free(statements);
	if (!is_sent) {
		return lose(a, now_ms, PQerrorMessage(a->ctl->conn));
	}
	look_init(&a->next);
	a->state = ASKER_ASKING;
	a->due_ms = now_ms + ANSWER_MS;
	return 0;
}

static int finish_asking(struct asker *a, uint64_t now_ms)
{
	a->state = ASKER_IDLE;
	a->due_ms = now_ms + a->interval_ms;
	if (PQstatus(a->ctl->conn) == CONNECTION_BAD) {
		return lose(a, now_ms,
			a->next.error != NULL ? a->next.error
					      : PQerrorMessage(a->ctl->conn));
	}
	if (look_finish(&a->next, a->ctl->conn, a->ctl->job != NULL) != 0) {
		have_trouble(a, now_ms, a->next.error);
		look_close(&a->next);
		return 1;
	}
	look_close(&a->last);
	a->last = a->next;
	look_init(&a->next);
	a->has_look = 1;
	a->lost_ms = 0;
	free(a->trouble);
	a->trouble = NULL;
	return 1;
}

static int go_on_asking(struct asker *a, uint64_t now_ms)
{
	PGresult *result;

	if (PQflush(a->ctl->conn) < 0 || PQconsumeInput(a->ctl->conn) == 0) {
		return lose(a, now_ms, PQerrorMessage(a->ctl->conn));
	}
	while (!PQisBusy(a->ctl->conn)) {
		result = PQgetResult(a->ctl->conn);
		if (result == NULL) {
			return finish_asking(a, now_ms);
		}
		look_take(&a->next, result);
	}
	return 0;
}

/* ---- the loop's side */

int asker_step(struct asker *a, uint64_t now_ms, int ready)
{
	int is_due = now_ms >= a->due_ms;

	switch (a->state) {
	case ASKER_OFFLINE:
		return is_due ? begin_connecting(a, now_ms) : 0;
	case ASKER_CONNECTING:
		if (ready) {
			return go_on_connecting(a, now_ms);
		}
		return is_due ? lose(a, now_ms, "the server does not answer")
			      : 0;
	case ASKER_IDLE:
		return is_due ? begin_asking(a, now_ms) : 0;
	case ASKER_ASKING:
		if (ready) {
			return go_on_asking(a, now_ms);
		}
		return is_due ? lose(a, now_ms, "the server does not answer")
			      : 0;
	}
	return 0;
}

int asker_wait(const struct asker *a, uint64_t now_ms, struct pollfd *fd)
{
	fd->fd = -1;
	fd->events = 0;
	fd->revents = 0;
	if (a->state == ASKER_CONNECTING || a->state == ASKER_ASKING) {
		fd->fd = PQsocket(a->ctl->conn);
		fd->events = a->state == ASKER_CONNECTING &&
				a->wants == PGRES_POLLING_WRITING
			? POLLOUT
			: POLLIN;
	}
	return a->due_ms > now_ms ? (int)(a->due_ms - now_ms) : 0;
}
