/* pgc_resolve.c: host names to addresses, off the loop.
 *
 * libpq looks a name up inside PQconnectStart() and PQconnectPoll(), and
 * blocks there (PostgreSQL docs, 34.1: "no … name lookups" holds only when
 * hostaddr is given). So every name of the host list is looked up by
 * libuv's threads at the same time and put into hostaddr; host stays, since
 * verify-full and the password file go by it. A name with several addresses
 * becomes several entries, host list order first.
 *
 * Ways it fails: a name that is not found is left out when another is
 * found, with a line in the log; when none is left the connection fails
 * with the resolver's words.
 *
 * How it closes: a running getaddrinfo() cannot be stopped and may take as
 * long as the name server likes. pgc_resolve_cancel() therefore only cuts
 * the tie to the connection; the lookups end by themselves, and the last
 * one frees this object.
 *
 *     start -> LOOKING --last lookup--> DONE (pgc_on_resolved)
 *                 \---cancel---> ORPHAN --last lookup--> freed
 */
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "pgc_internal.h"

enum { LOOKING, DONE, ORPHAN };

static const struct sm_state states[] = {
	[LOOKING] = { "looking", SM_TO(DONE) | SM_TO(ORPHAN) },
	[DONE] = { "done", 0 },
	[ORPHAN] = { "orphan", 0 },
};

/* One entry of the host list. */
struct entry {
	char *host;
	char *hostaddr; /* as configured; "" when there is none */
	char *port;
	uv_getaddrinfo_t lookup;
	int is_lookup; /* hostaddr comes from lookup */
	int status;
	struct addrinfo *found;
	struct pgc_resolve *owner;
};

struct pgc_resolve {
	struct sm sm;
	struct pgc *c; /* NULL for an orphan */
	struct entry *entries;
	size_t count;
	size_t pending;
};

/* A socket's directory, an abstract socket or nothing (libpq's default)
 * is no name. */
static int is_name(const struct entry *entry)
{
	return entry->hostaddr[0] == '\0' && entry->host[0] != '\0' &&
		entry->host[0] != '/' && entry->host[0] != '@';
}

static struct pgc_resolve *new_resolve(
	struct pgc *c, const char *host, const char *hostaddr, const char *port)
{
	struct pgc_resolve *all = mem_new(1, sizeof *all);

	sm_init(&all->sm, "resolve", states, LOOKING);
	all->c = c;
	all->count = pgc_list_count(hostaddr[0] != '\0' ? hostaddr : host);
	all->entries = mem_new(all->count, sizeof *all->entries);
	for (size_t i = 0; i < all->count; i++) {
		struct entry *entry = &all->entries[i];

		entry->owner = all;
		entry->host = pgc_list_item(host, i, 0);
		entry->hostaddr = pgc_list_item(hostaddr, i, 0);
		entry->port = pgc_list_item(port, i, 1);
		entry->is_lookup = is_name(entry);
	}
	return all;
}

static void free_resolve(struct pgc_resolve *all)
{
	for (size_t i = 0; i < all->count; i++) {
		free(all->entries[i].host);
		free(all->entries[i].hostaddr);
		free(all->entries[i].port);
		uv_freeaddrinfo(all->entries[i].found);
	}
	free(all->entries);
	free(all);
}

struct lists {
	struct text host, hostaddr, port;
	size_t count;
};

static void add_item(
	struct lists *out, const struct entry *entry, const char *hostaddr)
{
	const char *comma = out->count++ > 0 ? "," : "";

	text_addf(&out->host, "%s%s", comma, entry->host);
	text_addf(&out->hostaddr, "%s%s", comma, hostaddr);
	text_addf(&out->port, "%s%s", comma, entry->port);
}

/* getnameinfo() only formats here; it keeps the zone of fe80::1%eth0. */
static void add_found(struct lists *out, const struct entry *entry)
{
	char address[NI_MAXHOST];

	for (const struct addrinfo *a = entry->found; a != NULL;
		a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address,
			    sizeof address, NULL, 0, NI_NUMERICHOST) == 0) {
			add_item(out, entry, address);
		}
	}
}

static void describe_failure(struct err *e, const struct entry *entry)
{
	(void)err_set(e, BFE_CONNECT,
		"could not translate host name \"%s\" to address: %s",
		entry->host, uv_strerror(entry->status));
}

/* Put what was found into the parameters; e is set when nothing was. */
static void collect(const struct pgc_resolve *all, struct err *e)
{
	struct pgc *c = all->c;
	struct lists out = { .count = 0 };

	text_init(&out.host);
	text_init(&out.hostaddr);
	text_init(&out.port);
	for (size_t i = 0; i < all->count; i++) {
		const struct entry *entry = &all->entries[i];

		if (!entry->is_lookup) {
			add_item(&out, entry, entry->hostaddr);
		} else if (entry->status == 0) {
			add_found(&out, entry);
		} else if (e->code == BFE_OK) {
			describe_failure(e, entry);
		}
	}
	if (out.count > 0) {
		if (e->code != BFE_OK) {
			log_about(LOG_WARNING, &c->about,
				"%s -> host is left out", e->message);
		}
		err_clear(e);
		pgc_params_set(&c->params, "host", out.host.data);
		pgc_params_set(&c->params, "hostaddr", out.hostaddr.data);
		pgc_params_set(&c->params, "port", out.port.data);
		c->host_count = out.count;
	}
	text_close(&out.host);
	text_close(&out.hostaddr);
	text_close(&out.port);
}

static void finish(struct pgc_resolve *all)
{
	struct pgc *c = all->c;
	struct err e;

	if (all->sm.state == ORPHAN) {
		free_resolve(all);
		return;
	}
	sm_move(&all->sm, DONE);
	err_clear(&e);
	collect(all, &e);
	c->resolve = NULL;
	free_resolve(all);
	pgc_on_resolved(c, e.code != BFE_OK ? &e : NULL);
}

static void on_lookup_done(
	uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
	struct entry *entry = lookup->data;
	struct pgc_resolve *all = entry->owner;

	entry->status = status;
	entry->found = found;
	if (--all->pending == 0) {
		finish(all);
	}
}

static void look_up(struct pgc_resolve *all, uv_loop_t *loop)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

	all->pending = 1; /* ours, so that none ends it before all began */
	for (size_t i = 0; i < all->count; i++) {
		struct entry *entry = &all->entries[i];

		if (!entry->is_lookup) {
			continue;
		}
		entry->lookup.data = entry;
		entry->status = uv_getaddrinfo(loop, &entry->lookup,
			on_lookup_done, entry->host, NULL, &hints);
		all->pending += entry->status == 0;
	}
	if (--all->pending == 0) {
		finish(all);
	}
}

/* Lists of different lengths are libpq's to complain about; it does before
 * it looks any name up. */
static int is_aligned(const char *host, const char *hostaddr, const char *port)
{
	size_t count = pgc_list_count(hostaddr[0] != '\0' ? hostaddr : host);

	return (host[0] == '\0' || pgc_list_count(host) == count) &&
		(pgc_list_count(port) == 1 || pgc_list_count(port) == count);
}

void pgc_resolve_start(struct pgc *c)
{
	static const char *const keywords[] = { "host", "hostaddr", "port",
		NULL };
	const char *host, *hostaddr, *port;

	pgc_params_settle(&c->params, keywords);
	host = pgc_params_get(&c->params, "host");
	hostaddr = pgc_params_get(&c->params, "hostaddr");
	port = pgc_params_get(&c->params, "port");
	if (is_aligned(host, hostaddr, port)) {
		c->resolve = new_resolve(c, host, hostaddr, port);
		look_up(c->resolve, c->loop);
	} else {
		pgc_on_resolved(c, NULL);
	}
}

void pgc_resolve_cancel(struct pgc *c)
{
	struct pgc_resolve *all = c->resolve;

	if (all == NULL) {
		return;
	}
	sm_move(&all->sm, ORPHAN);
	all->c = NULL;
	c->resolve = NULL;
	for (size_t i = 0; i < all->count; i++) {
		/* Stops one that waits for a thread; its callback comes. */
		if (all->entries[i].is_lookup) {
			(void)uv_cancel((uv_req_t *)&all->entries[i].lookup);
		}
	}
}

void pgc_resolve_names(const struct pgc *c, char *buffer, size_t size)
{
	const struct pgc_resolve *all = c->resolve;
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; all != NULL && i < all->count; i++) {
		const char *comma = used > 0 ? ", " : "";

		if (!all->entries[i].is_lookup || used >= size) {
			continue;
		}
		used += (size_t)snprintf(buffer + used, size - used, "%s\"%s\"",
			comma, all->entries[i].host);
	}
}
