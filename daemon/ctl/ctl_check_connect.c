/* Connections as the configuration says, and what may be missing in
 * pg_hba.conf, pg_ident.conf or a password file when there is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ctl/ctl_check.h"

/* What comes before dbname is a default, what comes after it wins
 * (PostgreSQL docs, 34.1, PQconnectdbParams). */
static PGconn *open_connection(const char *conninfo, const char *user)
{
	const char *const keywords[] = { "connect_timeout", "dbname",
		"application_name", "client_encoding", "user", NULL };
	const char *const values[] = { "10", conninfo, "backfillctl", "UTF8",
		user, NULL };

	return PQconnectdbParams(keywords, values, 1);
}

/* libpq quotes the piece that it does not understand, which may be one of a
 * password. */
static int can_be_parsed(const char *conninfo)
{
	char *complaint = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &complaint);

	PQfreemem(complaint);
	PQconninfoFree(options);
	return options != NULL;
}

static int has(const char *message, const char *part)
{
	return strstr(message, part) != NULL;
}

/* Where the server may be told to let the login in. The connection knows
 * what it tried, even when it failed. */
static void add_mend(struct text *mend, const PGconn *conn)
{
	const char *message = PQerrorMessage(conn);
	const char *host = PQhost(conn);
	int is_local = host == NULL || *host == '\0' || *host == '/';

	if (has(message, "pg_hba.conf")) {
		text_addf(mend, "pg_hba.conf:  %s  %s  %s  %s",
			is_local ? "local" : "hostssl", PQdb(conn),
			PQuser(conn),
			is_local ? "peer map=backfilld"
				 : "ADDRESS  scram-sha-256");
	} else if (has(message, "Peer authentication failed")) {
		text_addf(mend,
			"pg_ident.conf:  backfilld  OS-USER  %s  (OS-USER is"
			" who runs backfilld, and should run this check)",
			PQuser(conn));
	} else if (has(message, "password")) {
		text_addf(mend, "password file:  %s:%s:%s:%s:PASSWORD",
			is_local ? "localhost" : host, PQport(conn), PQdb(conn),
			PQuser(conn));
	}
}

static void tell_refused(struct check *c, const char *what, const PGconn *conn)
{
	const char *message = PQerrorMessage(conn);
	size_t length = strlen(message);
	struct text mend;

	while (length > 0 && message[length - 1] == '\n') {
		length--;
	}
	text_init(&mend);
	add_mend(&mend, conn);
	ctl_check_tell(c, CHECK_FAILURE, mend.length > 0 ? mend.data : NULL,
		"%s \"%s\": cannot connect: %.*s", what, PQuser(conn),
		(int)length, message);
	text_close(&mend);
}

PGconn *ctl_check_connect(struct check *c, const char *what,
	const char *conninfo, const char *user)
{
	PGconn *conn;

	if (!can_be_parsed(conninfo)) {
		ctl_check_tell(c, CHECK_FAILURE,
			"Check its keywords and its quoting. It is not shown"
			" here because it may hold a password.",
			"%s: its connection string could not be parsed", what);
		return NULL;
	}
	conn = open_connection(conninfo, user);
	if (PQstatus(conn) != CONNECTION_OK) {
		tell_refused(c, what, conn);
		PQfinish(conn);
		return NULL;
	}
	return conn;
}
