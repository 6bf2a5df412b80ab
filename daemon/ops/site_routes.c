/* Which path shows what. Whatever needs a database asks it and waits for the
 * answer; when that takes too long, what was known before is shown. */
#include "site.h"

#include <inttypes.h>
#include <string.h>

#include "page.h"
#include "service_internal.h"

enum { OK = 200, NOT_FOUND = 404, UNAVAILABLE = 503, JOB_MOST_BYTES = 256 };

static const char PLAIN[] = "text/plain; charset=utf-8";
static const char JSON[] = "application/json";

static enum http_verdict answer(struct http_request *rq, unsigned status,
	const char *type, struct text *body)
{
	http_answer(rq, status, type, NULL, body);
	return HTTP_ANSWERED;
}

static enum http_verdict answer_line(
	struct http_request *rq, unsigned status, const char *line)
{
	struct text body;

	text_init(&body);
	text_addf(&body, "%s\n", line);
	return answer(rq, status, PLAIN, &body);
}

/* ---- is it well? ---- */

/* That it answers shows that the loop turns. */
static enum http_verdict show_health(struct site *site, struct http_request *rq)
{
	struct text body;

	text_init(&body);
	for (size_t i = 0; i < site->count; i++) {
		struct site_database *db = &site->databases[i];

		if (site_database(db) != NULL &&
			!database_is_alive(site_database(db))) {
			text_addf(&body, "%s: nothing moves any more\n",
				site_database_name(db));
		}
	}
	if (body.length > 0) {
		return answer(rq, UNAVAILABLE, PLAIN, &body);
	}
	text_add(&body, "ok\n");
	return answer(rq, OK, PLAIN, &body);
}

static void add_line(struct text *out, const char *s)
{
	for (; *s != '\0'; s++) {
		text_add_bytes(out, *s == '\n' || *s == '\r' ? " " : s, 1);
	}
}

static enum http_verdict show_readiness(
	struct site *site, struct http_request *rq)
{
	struct database_status status;
	struct text body;

	text_init(&body);
	if (site->service->stopping) {
		text_add(&body, "stopping\n");
	}
	for (size_t i = 0; i < site->count; i++) {
		struct site_database *db = &site->databases[i];

		memset(&status, 0, sizeof status);
		status.trouble = "ended";
		if (site_database(db) != NULL) {
			database_status(site_database(db), &status);
		}
		if (status.trouble != NULL) {
			text_addf(&body, "%s: ", site_database_name(db));
			add_line(&body, status.trouble);
			text_add(&body, "\n");
		}
	}
	if (body.length > 0) {
		return answer(rq, UNAVAILABLE, PLAIN, &body);
	}
	text_add(&body, "ok\n");
	return answer(rq, OK, PLAIN, &body);
}

/* ---- how it stands ---- */

static enum http_verdict show_metrics(
	struct site *site, struct http_request *rq)
{
	struct text body;
	int waits = 0;

	for (size_t i = 0; i < site->count; i++) {
		waits |= look_refresh(&site->databases[i].metrics);
	}
	if (waits && !http_is_late(rq)) {
		return HTTP_WAIT;
	}
	text_init(&body);
	site_add_metrics(&body, site);
	return answer(
		rq, OK, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static struct site_database *find_database(struct site *site, const char *name)
{
	for (size_t i = 0; i < site->count; i++) {
		if (strcmp(site_database_name(&site->databases[i]), name) ==
			0) {
			return &site->databases[i];
		}
	}
	return NULL;
}

static enum http_verdict show_job(struct site *site, struct http_request *rq,
	struct site_database *db, const char *name)
{
	struct look *job = look_of_job(db, name);
	struct text body;
	int waits;

	if (job == NULL) {
		return answer_line(rq, UNAVAILABLE, "too many jobs at a time");
	}
	waits = look_refresh(&db->status) | look_refresh(job);
	if (waits && !http_is_late(rq)) {
		return HTTP_WAIT;
	}
	text_init(&body);
	site_add_json(&body, site, db, job);
	return answer(rq, OK, JSON, &body);
}

static enum http_verdict show_status(struct site *site, struct http_request *rq)
{
	const char *name = http_argument(rq, "database");
	const char *job = http_argument(rq, "job");
	struct site_database *only = NULL;
	struct text body;
	int waits = 0;

	if (name != NULL && (only = find_database(site, name)) == NULL) {
		return answer_line(rq, NOT_FOUND, "no such database");
	}
	if (job != NULL && (only == NULL || strlen(job) > JOB_MOST_BYTES)) {
		return answer_line(rq, NOT_FOUND, "no such job");
	}
	if (job != NULL) {
		return show_job(site, rq, only, job);
	}
	for (size_t i = 0; i < site->count; i++) {
		if (only == NULL || only == &site->databases[i]) {
			waits |= look_refresh(&site->databases[i].status);
		}
	}
	if (waits && !http_is_late(rq)) {
		return HTTP_WAIT;
	}
	text_init(&body);
	site_add_json(&body, site, only, NULL);
	return answer(rq, OK, JSON, &body);
}

static enum http_verdict show_page(struct site *site, struct http_request *rq)
{
	struct text body;
	int waits = 0;

	for (size_t i = 0; i < site->count; i++) {
		waits |= look_refresh(&site->databases[i].table);
	}
	if (waits && !http_is_late(rq)) {
		return HTTP_WAIT;
	}
	text_init(&body);
	page_add(&body, site);
	http_answer(rq, OK, "text/html; charset=utf-8", page_csp, &body);
	return HTTP_ANSWERED;
}

/* ---- the paths ---- */

enum http_verdict site_request(void *data, struct http_request *rq)
{
	static const struct {
		const char *path;
		enum http_verdict (*show)(
			struct site *site, struct http_request *rq);
	} routes[] = {
		{ "/", show_page },
		{ "/healthz", show_health },
		{ "/readyz", show_readiness },
		{ "/metrics", show_metrics },
		{ "/status.json", show_status },
	};

	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(routes[i].path, http_path(rq)) == 0) {
			return routes[i].show(data, rq);
		}
	}
	return answer_line(rq, NOT_FOUND,
		"there are /, /healthz, /readyz, /metrics and /status.json");
}
