/* pgc_params.c: what is said to the server at connect. The conninfo is
 * taken apart here so that host names can be looked up off the loop
 * (pgc_resolve.c) and so that every connection has defaults that find dead
 * peers. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pgc_internal.h"

/* Without these a vanished peer is noticed after two hours. They are not
 * enough against a frozen proxy, whose kernel answers: that is what the
 * deadlines of requests are for. */
static const struct {
	const char *keyword;
	const char *value;
} defaults[] = {
	{ "keepalives_idle", "10" },
	{ "keepalives_interval", "5" },
	{ "keepalives_count", "3" },
	{ "tcp_user_timeout", "20000" },
	{ "client_encoding", "UTF8" },
};

static const char *find(const struct pgc_params *p, const char *keyword)
{
	for (size_t i = 0; i < p->count; i++) {
		if (strcmp(p->keywords[i], keyword) == 0) {
			return p->values[i];
		}
	}
	return NULL;
}

void pgc_params_set(
	struct pgc_params *p, const char *keyword, const char *value)
{
	size_t size = (p->count + 2) * sizeof(char *);

	for (size_t i = 0; i < p->count; i++) {
		if (strcmp(p->keywords[i], keyword) == 0) {
			free(p->values[i]);
			p->values[i] = mem_strdup(value);
			return;
		}
	}
	p->keywords = mem_resize(p->keywords, size);
	p->values = mem_resize(p->values, size);
	p->keywords[p->count] = mem_strdup(keyword);
	p->values[p->count] = mem_strdup(value);
	p->count++;
	p->keywords[p->count] = NULL;
	p->values[p->count] = NULL;
}

/* libpq's own complaint quotes the string where it stopped understanding
 * it, which may be a piece of a password: it is not passed on. */
static int add_conninfo(
	struct pgc_params *p, const char *conninfo, struct err *e)
{
	char *complaint = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &complaint);

	PQfreemem(complaint);
	if (options == NULL) {
		(void)err_set(
			e, BFE_INPUT, "connection string could not be parsed");
		err_set_hint(e,
			"Check its keywords and its quoting. It is not shown "
			"here because it may hold a password.");
		return BFE_INPUT;
	}
	for (PQconninfoOption *o = options; o->keyword != NULL; o++) {
		if (o->val != NULL && o->val[0] != '\0') {
			pgc_params_set(p, o->keyword, o->val);
		}
	}
	PQconninfoFree(options);
	return 0;
}

int pgc_params_init(struct pgc_params *p, const struct pgc *c, struct err *e)
{
	int rc;

	memset(p, 0, sizeof *p);
	for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
		pgc_params_set(p, defaults[i].keyword, defaults[i].value);
	}
	if (c->application_name != NULL) {
		pgc_params_set(p, "application_name", c->application_name);
	}
	rc = add_conninfo(p, c->conninfo, e);
	if (rc != 0) {
		pgc_params_close(p);
		return rc;
	}
	if (c->user != NULL) {
		pgc_params_set(p, "user", c->user);
	}
	return 0;
}

void pgc_params_close(struct pgc_params *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->keywords[i]);
		free(p->values[i]);
	}
	free(p->keywords);
	free(p->values);
	memset(p, 0, sizeof *p);
}

/* libpq knows what comes from the environment and from a service file, but
 * tells it only of a connection. This one is refused for a value that there
 * is not, before libpq looks up a name or opens a socket (PostgreSQL docs,
 * 34.1 "target_session_attrs"). */
static PGconn *refused_connection(const struct pgc_params *p)
{
	size_t size = (p->count + 2) * sizeof(char *);
	const char **keywords = mem_new(1, size);
	const char **values = mem_new(1, size);
	PGconn *conn;

	/* Of a keyword that is given twice the last one counts. */
	for (size_t i = 0; i < p->count; i++) {
		keywords[i] = p->keywords[i];
		values[i] = p->values[i];
	}
	keywords[p->count] = "target_session_attrs";
	values[p->count] = "none at all";
	conn = PQconnectStartParams(keywords, values, 0);
	free(keywords);
	free(values);
	return conn;
}

void pgc_params_settle(struct pgc_params *p, const char *const keywords[])
{
	PGconn *conn = refused_connection(p);
	PQconninfoOption *options = PQconninfo(conn);

	for (size_t i = 0; keywords[i] != NULL; i++) {
		for (PQconninfoOption *o = options;
			o != NULL && o->keyword != NULL; o++) {
			if (strcmp(o->keyword, keywords[i]) == 0 &&
				o->val != NULL) {
				pgc_params_set(p, o->keyword, o->val);
			}
		}
	}
	PQconninfoFree(options);
	PQfinish(conn);
}

const char *pgc_params_get(const struct pgc_params *p, const char *keyword)
{
	const char *value = find(p, keyword);

	return value != NULL ? value : "";
}
