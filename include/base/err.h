/* err.h: the error value: a code for the program, and the message, detail
 * and hint that people read, worded as PostgreSQL words its own
 * (PostgreSQL docs, 57.3 "Error Message Style Guide"). */
#ifndef BACKFILL_BASE_ERR_H
#define BACKFILL_BASE_ERR_H

enum {
	BFE_OK = 0,
	BFE_INPUT,   /* bad option, file or argument */
	BFE_SYSTEM,  /* the operating system refused */
	BFE_CONNECT, /* no connection could be made */
	BFE_LOST,    /* an established connection broke: outcome unknown */
	BFE_TIMEOUT, /* our own deadline passed: outcome unknown */
	BFE_CLOSED,  /* the request was given up because we close */
	BFE_SQL,     /* the server reported an error: see sqlstate */
	BFE_PROTOCOL /* the server answered what we did not ask for */
};

struct err {
	int code;
	char sqlstate[6]; /* "" unless the server or our SQL gave one */
	char message[512];
	char detail[512];
	char hint[512];
	char constraint[64]; /* the server's name of it; "" none */
	int may_quote;	     /* the message may hold a value of a row or a
			      * piece of a clause: not for the log */
};

/* Set code and message, clear the rest. Returns code. */
int err_set(struct err *e, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "context: " before the message. Returns e->code. */
int err_wrap(struct err *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void err_set_detail(struct err *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void err_set_hint(struct err *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void err_clear(struct err *e);

/* A stable lower-case word for a code, for logs: "lost", "timeout". */
const char *err_name(int code);

#endif
