/* pgc_hosts.c: a host list in which a host hangs.
 *
 * libpq walks the list by itself, and goes on when a host refuses or is not
 * what target_session_attrs asks for. One that says nothing would keep it
 * for as long as the kernel tries (libpq's connect_timeout is not looked at
 * on the asynchronous path), and the good one behind it would never have its
 * turn. So each host is given its share of the time that is left. When that
 * is over, the host is left out and a new attempt is made with the others,
 * from the first on: what they answered before may count again, as with
 * prefer-standby.
 *
 * A list that pgc_resolve.c did not take apart is left to libpq, which refuses
 * it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pgc_internal.h"

char *pgc_list_item(const char *list, size_t index, int is_shared)
{
	const char *end = strchrnul(list, ',');
	struct text item;

	if (is_shared && *end == '\0') {
		index = 0;
	}
	for (; index > 0 && *end != '\0'; index--) {
		list = end + 1;
		end = strchrnul(list, ',');
	}
	text_init(&item);
	if (index == 0) {
		text_add_bytes(&item, list, (size_t)(end - list));
	}
	return text_take(&item);
}

size_t pgc_list_count(const char *list)
{
	size_t count = 1;

	for (; *list != '\0'; list++) {
		count += *list == ',';
	}
	return count;
}

static const char *text_of(const char *value)
{
	return value != NULL ? value : "";
}

void pgc_hosts_time(struct pgc *c)
{
	uint64_t now_ms = uv_now(c->loop);
	char host[sizeof c->host_tried];

	(void)snprintf(host, sizeof host, "%s,%s,%s", text_of(PQhost(c->conn)),
		text_of(PQhostaddr(c->conn)), text_of(PQport(c->conn)));
	if (strcmp(host, c->host_tried) == 0) {
		return;
	}
	(void)snprintf(c->host_tried, sizeof c->host_tried, "%s", host);
	c->host_ms = c->connect_timeout_ms;
	/* A single host has all of it, for which the timer runs already. */
	if (c->host_count > 1 || c->left_out.length > 0) {
		c->host_ms = now_ms < c->connect_end_ms
			? (c->connect_end_ms - now_ms) / c->host_count
			: 0;
		pgc_start_deadline(c, c->host_ms);
	}
}

/* A host as libpq tells it, which fills in what the list leaves open. */
static int is_tried(const struct pgc *c, size_t index, const char *host,
	const char *hostaddr, const char *port)
{
	char *items[] = { pgc_list_item(host, index, 0),
		pgc_list_item(hostaddr, index, 0),
		pgc_list_item(port, index, 1) };
	const char *actual[] = { PQhost(c->conn), PQhostaddr(c->conn),
		PQport(c->conn) };
	int is_same = 1;

	for (size_t i = 0; i < 3; i++) {
		is_same = is_same &&
			(items[i][0] == '\0' ||
				strcmp(items[i], text_of(actual[i])) == 0);
		free(items[i]);
	}
	return is_same;
}

static void remove_item(struct pgc *c, const char *keyword, size_t index)
{
	const char *list = pgc_params_get(&c->params, keyword);
	const char *comma = "";
	struct text left;

	text_init(&left);
	for (size_t i = 0; i < c->host_count; i++) {
		char *item = pgc_list_item(list, i, 0);

		if (i != index) {
			text_addf(&left, "%s%s", comma, item);
			comma = ",";
		}
		free(item);
	}
	pgc_params_set(&c->params, keyword, left.data);
	text_close(&left);
}

static int remove_tried(struct pgc *c)
{
	const char *host = pgc_params_get(&c->params, "host");
	const char *hostaddr = pgc_params_get(&c->params, "hostaddr");
	const char *port = pgc_params_get(&c->params, "port");
	size_t index = 0;

	while (index < c->host_count &&
		!is_tried(c, index, host, hostaddr, port)) {
		index++;
	}
	if (index == c->host_count) {
		return 0;
	}
	remove_item(c, "host", index);
	remove_item(c, "hostaddr", index);
	remove_item(c, "port", index);
	c->host_count--;
	return 1;
}

int pgc_hosts_leave_out(struct pgc *c)
{
	char what[sizeof c->host_tried];

	(void)snprintf(what, sizeof what,
		"server at \"%s\", port %s did not complete the connection "
		"within %llu ms",
		text_of(PQhost(c->conn)), text_of(PQport(c->conn)),
		(unsigned long long)c->host_ms);
	text_addf(&c->left_out, "%s\n", what);
	if (c->host_count <= 1 || !remove_tried(c)) {
		return 0;
	}
	log_about(LOG_WARNING, &c->about, "%s -> host is left out", what);
	return 1;
}

void pgc_hosts_timed_out(const struct pgc *c, struct err *e)
{
	unsigned long long ms = c->connect_timeout_ms;
	char names[128];

	if (c->sm.state == PGC_STARTING) {
		(void)err_set(e, BFE_TIMEOUT,
			"connection attempt did not begin within %llu ms", ms);
	} else if (c->sm.state == PGC_RESOLVING) {
		pgc_resolve_names(c, names, sizeof names);
		(void)err_set(e, BFE_TIMEOUT,
			"no address of host %s was found within %llu ms", names,
			ms);
	} else {
		(void)pgc_libpq_error(e, BFE_TIMEOUT, c->left_out.data);
	}
}
