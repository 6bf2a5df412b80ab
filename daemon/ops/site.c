/* The life of what is shown: begins with the service, ends when its last
 * database has ended, so that a stop can be watched. */
#include "site.h"

#include <stdlib.h>

#include "base/mem.h"
#include "service_internal.h"

enum { HISTORY_MS = 10000, LONGEST_MS = 30000 };

static void on_tick(uv_timer_t *timer)
{
	struct site *site = timer->data;

	if (!http_is_listening(site->http)) {
		return;
	}
	for (size_t i = 0; i < site->count; i++) {
		history_tick(&site->databases[i]);
	}
}

/* ---- how long a turn of the loop takes ---- */

static void on_turn_begin(uv_check_t *check)
{
	struct site *site = check->data;

	site->turn_began_ns = uv_hrtime();
}

static void on_turn_end(uv_prepare_t *prepare)
{
	struct site *site = prepare->data;
	uint64_t now_ms = uv_now(prepare->loop);
	uint64_t took_ns = uv_hrtime() - site->turn_began_ns;

	if (now_ms - site->longest_since_ms >= LONGEST_MS) {
		site->longest_ns[1] = site->longest_ns[0];
		site->longest_ns[0] = 0;
		site->longest_since_ms = now_ms;
	}
	if (took_ns > site->longest_ns[0]) {
		site->longest_ns[0] = took_ns;
	}
}

static void watch_turns(struct site *site, uv_loop_t *loop)
{
	site->turn_began_ns = uv_hrtime();
	site->longest_since_ms = uv_now(loop);
	(void)uv_prepare_init(loop, &site->turn_end);
	(void)uv_check_init(loop, &site->turn_begin);
	site->turn_end.data = site;
	site->turn_begin.data = site;
	(void)uv_prepare_start(&site->turn_end, on_turn_end);
	(void)uv_check_start(&site->turn_begin, on_turn_begin);
}

/* ---- the contract ---- */

struct site *site_start(struct service *s)
{
	struct site *site = mem_new(1, sizeof *site);

	site->service = s;
	site->count = s->count;
	site->databases = mem_new(s->count, sizeof site->databases[0]);
	for (size_t i = 0; i < s->count; i++) {
		site_database_init(&site->databases[i], site, i);
	}
	watch_turns(site, &s->loop);
	(void)uv_timer_init(&s->loop, &site->tick);
	site->tick.data = site;
	(void)uv_timer_start(&site->tick, on_tick, HISTORY_MS, HISTORY_MS);
	site->http = http_start(&s->loop, s->config.http_listen,
		s->config.http_socket, site_request, site);
	return site;
}

void site_reload(struct site *site)
{
	const struct config *c = &site->service->config;

	http_reload(site->http, c->http_listen, c->http_socket);
}

uint64_t site_now_ms(const struct site *site)
{
	return uv_now(&site->service->loop);
}

void site_close(struct site *site)
{
	http_close(site->http);
	site->http = NULL;
	uv_close((uv_handle_t *)&site->tick, NULL);
	uv_close((uv_handle_t *)&site->turn_end, NULL);
	uv_close((uv_handle_t *)&site->turn_begin, NULL);
}

void site_free(struct site *site)
{
	for (size_t i = 0; i < site->count; i++) {
		site_database_close(&site->databases[i]);
	}
	free(site->databases);
	free(site);
}
