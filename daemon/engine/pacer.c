/* The happy path: the first job joins -> ask at once, then every interval
 * while one is there -> the answer goes into rules/pace.c -> who was held and
 * is no more is told -> once a second, and when it begins or ends to hold,
 * what was measured is written for backfill.signals.
 *
 * How it fails: no control connection, no answer, an error: the last sample
 * grows old, and rules/pace.c holds for that. The next interval asks again.
 *
 * How it closes: nobody is called any more; the memory goes when the timer is
 * closed and no reply is outstanding. */

#include "engine/pacer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rules/key.h"
#include "rules/pace.h"
#include "store/standbys.h"

enum {
	LEAST_INTERVAL_MS = 100,
	MOST_INTERVAL_MS = 500,
	SAMPLES_PER_LIMIT = 10,
	TELL_MS = 1000
};

struct pacer {
	struct host *host;
	struct pace pace;
	struct lag_standby *standbys;
	struct lag_sample *samples;
	char *names; /* a text[] literal */
	struct pacer_client *clients;
	int clients_count;

	uv_timer_t timer;
	int is_asking;
	int replies_pending;
	uint64_t asked_ms;
	int64_t spent_bytes; /* not told yet */
	int64_t telling_bytes;
	int telling_jobs;
	int told_jobs; /* as the other daemons know it */
	int64_t version;
	uint64_t told_ms;
	int was_holding;
	char failed[6]; /* SQLSTATE of the last answer; "": it was well */

	int is_closing, is_timer_open;
	void (*close_cb)(void *data);
	void *close_data;
};

/* ---- beginning and end ---- */

static void add_standbys(struct pacer *p, struct text *names, char *const *list,
	size_t count, int is_optional)
{
	for (size_t i = 0; i < count; i++) {
		struct lag_standby *s = &p->standbys[p->pace.count++];

		s->name = list[i];
		s->is_optional = is_optional;
		text_add(names, names->length > 1 ? "," : "");
		key_add_element(names, list[i]);
	}
}

struct pacer *pacer_new(struct host *host)
{
	const struct config_database *db = host->database;
	size_t count =
		db->expected_standbys_count + db->optional_standbys_count;
	struct pacer *p = mem_new(1, sizeof *p);
	struct text names;

	p->host = host;
	p->version = -1;
	p->standbys = mem_new(count + 1, sizeof *p->standbys);
	p->samples = mem_new(count + 1, sizeof *p->samples);
	text_init(&names);
	text_add(&names, "{");
	add_standbys(p, &names, db->expected_standbys,
		db->expected_standbys_count, 0);
	add_standbys(p, &names, db->optional_standbys,
		db->optional_standbys_count, 1);
	text_add(&names, "}");
	p->names = text_take(&names);
	pace_init(&p->pace, p->standbys, count);
	(void)uv_timer_init(host->loop, &p->timer);
	p->timer.data = p;
	p->is_timer_open = 1;
	return p;
}

static void maybe_free(struct pacer *p)
{
	if (!p->is_closing || p->is_timer_open || p->replies_pending > 0) {
		return;
	}
	p->close_cb(p->close_data);
	free(p->standbys);
	free(p->samples);
	free(p->names);
	free(p);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct pacer *p = handle->data;

	p->is_timer_open = 0;
	maybe_free(p);
}

void pacer_close(struct pacer *p, void (*cb)(void *data), void *data)
{
	p->is_closing = 1;
	p->close_cb = cb;
	p->close_data = data;
	uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

void pacer_forget(struct pacer *p)
{
	pace_forget(&p->pace);
	p->version = -1;
}

/* ---- limits ---- */

static int64_t limit_of(const struct pacer *p, const struct pacer_client *c)
{
	return c->limit_ms > 0 ? c->limit_ms
			       : p->host->config->max_replication_lag_ms;
}

/* The configuration may have been read again. Who is held writes nothing: its
 * limit is no matter of the others. */
static void take_limits(struct pacer *p)
{
	const struct config *config = p->host->config;
	int64_t lowest = INT64_MAX;

	for (struct pacer_client *c = p->clients; c != NULL; c = c->next) {
		if (!c->is_held && limit_of(p, c) < lowest) {
			lowest = limit_of(p, c);
		}
	}
	p->pace.limit_ms =
		lowest < INT64_MAX ? lowest : config->max_replication_lag_ms;
	p->pace.optional_timeout_ms = config->optional_standby_timeout_ms;
}

static uint64_t interval_ms(const struct pacer *p)
{
	int64_t ms = p->pace.limit_ms / SAMPLES_PER_LIMIT;

	if (ms < LEAST_INTERVAL_MS) {
		return LEAST_INTERVAL_MS;
	}
	return ms > MOST_INTERVAL_MS ? MOST_INTERVAL_MS : (uint64_t)ms;
}

/* ---- telling ---- */

static void log_error_of(const struct pacer *p, enum log_level level,
	const struct err *e, const char *what, const char *decision)
{
	struct text fact;

	text_init(&fact);
	host_add_error(&fact, e);
	host_log(p->host, level, e->sqlstate, "%s: %s -> %s", what, fact.data,
		decision);
	text_close(&fact);
}

static void on_told(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct pacer *p = data;

	(void)request;
	p->replies_pending--;
	if (e != NULL) {
		log_error_of(p, LOG_DEBUG, e, "signals", "untold");
	}
	maybe_free(p);
}

static void tell(struct pacer *p)
{
	uint64_t now_ms = clock_boot_ms();
	struct text reason;
	int is_holding;

	text_init(&reason);
	is_holding = pace_is_held(&p->pace, now_ms, p->pace.limit_ms,
			     p->was_holding, &reason) != 0;
	text_close(&reason);
	if (p->host->control == NULL ||
		(is_holding == p->was_holding &&
			now_ms - p->told_ms < TELL_MS)) {
		return;
	}
	p->replies_pending++;
	pgc_send(p->host->control,
		standbys_tell(
			p->host->incarnation, &p->pace, now_ms, p->was_holding),
		on_told, p);
	p->told_ms = now_ms;
	p->was_holding = is_holding;
}

/* ---- asking ---- */

/* What a callback does may end its client. */
static void tell_clients(struct pacer *p)
{
	struct pacer_client *next;
	struct text reason;

	text_init(&reason);
	for (struct pacer_client *c = p->clients; c != NULL; c = next) {
		next = c->next;
		if (c->is_held &&
			!pace_is_held(&p->pace, clock_boot_ms(), limit_of(p, c),
				1, &reason)) {
			c->on_change(c->data);
		}
	}
	text_close(&reason);
}

static void take_failure(struct pacer *p, const struct err *e)
{
	if (strcmp(p->failed, e->sqlstate) != 0) {
		log_error_of(p, LOG_WARNING, e,
			"the standbys could not be looked at", "again");
		memcpy(p->failed, e->sqlstate, sizeof p->failed);
	}
}

static void on_answer(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct pacer *p = data;
	struct pace_sample s = { .now_ms = p->asked_ms };
	struct err failure;

	p->replies_pending--;
	p->is_asking = 0;
	if (p->is_closing) {
		maybe_free(p);
		return;
	}
	if (e == NULL &&
		standbys_read(request, p->samples, p->pace.count, &s,
			&p->version, &failure) != 0) {
		e = &failure;
	}
	if (e != NULL) {
		take_failure(p, e);
		return;
	}
	p->failed[0] = '\0';
	p->spent_bytes -= p->telling_bytes;
	p->told_jobs = p->telling_jobs;
	s.my_jobs = p->clients_count;
	take_limits(p);
	pace_sample(&p->pace, &s);
	tell(p);
	tell_clients(p);
}

static void ask(struct pacer *p)
{
	const struct standbys_share share = {
		.my_jobs = p->clients_count,
		.spent_bytes = p->spent_bytes,
		.rate = p->pace.rate,
		.version = p->version,
	};

	if (p->is_asking || p->host->control == NULL) {
		return;
	}
	p->is_asking = 1;
	p->replies_pending++;
	p->asked_ms = clock_boot_ms();
	p->telling_bytes = p->spent_bytes;
	p->telling_jobs = p->clients_count;
	pgc_send(p->host->control,
		standbys_ask(p->host->incarnation, p->names, &share), on_answer,
		p);
}

static void on_interval(uv_timer_t *timer)
{
	struct pacer *p = timer->data;

	/* The last one tells that nobody is left to share with; were it lost,
	 * the others would leave us our part for ever. */
	if (p->clients == NULL && p->told_jobs == 0) {
		(void)uv_timer_stop(timer);
		return;
	}
	ask(p);
	uv_timer_set_repeat(timer, interval_ms(p));
}

/* ---- clients ---- */

void pacer_join(struct pacer *p, struct pacer_client *c)
{
	c->next = p->clients;
	c->is_held = 0;
	if (p->clients == NULL) {
		/* Of another hour. */
		pace_init(&p->pace, p->standbys, p->pace.count);
		p->version = -1;
	}
	p->clients = c;
	p->clients_count++;
	take_limits(p);
	if (p->pace.count > 0 && !uv_is_active((uv_handle_t *)&p->timer)) {
		(void)uv_timer_start(&p->timer, on_interval, 0, interval_ms(p));
	}
}

void pacer_leave(struct pacer *p, struct pacer_client *c)
{
	struct pacer_client **at = &p->clients;

	while (*at != c) {
		assert(*at != NULL);
		at = &(*at)->next;
	}
	*at = c->next;
	p->clients_count--;
}

struct pacer_answer pacer_ask(
	struct pacer *p, struct pacer_client *c, struct text *reason)
{
	uint64_t now_ms = clock_boot_ms();
	struct pacer_answer answer = { 0 };

	if (p->pace.count == 0) {
		return answer;
	}
	answer.held = pace_is_held(
		&p->pace, now_ms, limit_of(p, c), c->is_held, reason);
	c->is_held = answer.held != 0;
	answer.wait_ms = pace_wait_ms(&p->pace, now_ms);
	pace_describe(&p->pace, answer.paced_by, sizeof answer.paced_by);
	answer.max_wal_bytes = pace_batch_bytes(&p->pace);
	return answer;
}

void pacer_each_standby(const struct pacer *p, pacer_standby_cb cb, void *data)
{
	uint64_t now_ms = clock_boot_ms();

	if (p->clients == NULL) {
		return;
	}
	for (size_t i = 0; i < p->pace.count; i++) {
		const struct lag_standby *s = &p->standbys[i];

		cb(data, s, pace_sees(&p->pace, s, now_ms, p->pace.limit_ms),
			p->pace.limit_ms);
	}
}

void pacer_spend(struct pacer *p, int64_t wal_bytes)
{
	if (p->pace.count == 0) {
		return;
	}
	pace_spend(&p->pace, clock_boot_ms(), wal_bytes);
	p->spent_bytes += wal_bytes > 0 ? wal_bytes : 0;
}
