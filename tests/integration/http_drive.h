/* http_drive.h: the shop with a daemon that shows itself at a port of its
 * own, for the tests of HTTP. */
#ifndef BACKFILL_TESTS_HTTP_DRIVE_H
#define BACKFILL_TESTS_HTTP_DRIVE_H

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "http.h"
#include "shop.h"
#include "wait.h"

static int port __attribute__((unused));
static struct http_reply reply __attribute__((unused));

static inline const char *http_yaml(const char *listen, const char *socket)
{
	static char yaml[1024];

	(void)snprintf(yaml, sizeof yaml,
		"daemon: {lease: 5s, poll_interval: 1s}\n"
		"http:\n"
		"  listen: \"%s\"\n"
		"  socket: \"%s\"\n",
		listen, socket);
	return yaml;
}

static inline const char *http_place(int at)
{
	static char place[2][64];
	static int number;

	number = !number;
	(void)snprintf(place[number], sizeof place[0], "127.0.0.1:%d", at);
	return place[number];
}

static inline int http_shop_start(void **state)
{
	(void)state;
	port = http_free_port();
	shop_start_yaml(http_yaml(http_place(port), ""));
	sql_exec(shop.app,
		"CREATE TABLE goods (id int PRIMARY KEY, n int DEFAULT 0);"
		"INSERT INTO goods SELECT generate_series(1, 400)");
	return 0;
}

static inline int http_shop_stop(void **state)
{
	http_reply_close(&reply);
	return shop_stop(state);
}

/* A job on goods whose third batch of 20 waits at the gate. */
static inline void http_submit_at_gate(const char *name)
{
	gate_close(40);
	job_submit(name, "goods", 20, "n = n + 1 + gate_pass(id)", NULL, NULL);
	gate_wait(name);
}

/* From now on status() takes a minute, up to http_quick_looks(). */
static inline void http_slow_looks(void)
{
	sql_exec(shop.db,
		"CREATE FUNCTION slow(bigint, integer) RETURNS jsonb LANGUAGE"
		" sql AS 'SELECT to_jsonb(pg_sleep(60)::text)';"
		"ALTER FUNCTION backfill.job_events(bigint, integer) RENAME TO"
		" quick_events;"
		"ALTER FUNCTION slow(bigint, integer) SET SCHEMA backfill;"
		"ALTER FUNCTION backfill.slow(bigint, integer) RENAME TO"
		" job_events");
}

static inline void http_quick_looks(void)
{
	sql_exec(shop.db,
		"DROP FUNCTION backfill.job_events(bigint, integer);"
		"ALTER FUNCTION backfill.quick_events(bigint, integer)"
		" RENAME TO job_events");
}

static inline void assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) {
		fail_msg("no \"%s\" in:\n%s", part, text);
	}
}

static inline void assert_has_not(const char *text, const char *part)
{
	if (strstr(text, part) != NULL) {
		fail_msg("\"%s\" in:\n%s", part, text);
	}
}

#endif
