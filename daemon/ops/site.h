/* site.h: what the daemon shows over HTTP; the private parts, shared by
 * site*.c. */
#ifndef BACKFILL_OPS_SITE_H
#define BACKFILL_OPS_SITE_H

#include "base/text.h"
#include "engine/database.h"
#include "ops/http.h"

struct service;

enum { SITE_JOB_LOOKS = 8, SITE_HISTORY_POINTS = 720, SITE_HISTORIES = 100 };

/* The longest that the server may take for a look. */
enum { SITE_LOOK_MS = 2000 };

/* What a database was asked, and what it said last: one question that all
 * who want to know share. */
struct look {
	struct site_database *db;
	struct pgc_request *(*ask)(const struct look *look);
	/* Keep the answer. Returns 0, or -1: it is none. */
	int (*take)(struct look *look, const struct pgc_request *request);
	char *job; /* of a question about a job */

	struct text answer;
	struct site_sample *samples; /* of the metrics */
	size_t samples_count;
	uint64_t answered_ms; /* 0: never */
	uint64_t tried_ms;    /* when the last answer or failure came */
	int is_asking;	      /* under way, or next */
	int asked_details;    /* http.details when it was asked last */
	int has_details;      /* and of the answer */
	char trouble[512];    /* why the last try failed; "": it did not */
};

/* One value of backfill.metrics. */
struct site_sample {
	size_t metric;	/* in site_metrics */
	int64_t job_id; /* that of the labels; 0: none */
	char *labels;	/* without braces */
	char *value;
};

/* How a job went, a point every 10 s. NAN: unknown. */
struct history_point {
	int64_t at_s; /* since the epoch */
	float rows_per_second;
	float batch_ms;
	float lag_s;
	int8_t waits_for; /* in a list of words; -1: for nothing */
};

struct history {
	int64_t job_id;
	char *name;
	struct history_point *points; /* a ring */
	size_t first;
	size_t count;
};

struct site_database {
	struct site *site;
	size_t number; /* of the service's databases */
	struct look status;
	struct look metrics;
	struct look table;
	struct look jobs[SITE_JOB_LOOKS];
	struct look history;
	struct look *asked; /* under way; NULL: none */
	struct history *histories;
	size_t histories_count;
};

struct site {
	struct service *service;
	struct http *http;
	struct site_database *databases;
	size_t count;
	uv_timer_t tick; /* of the histories */

	/* How long a turn of the loop takes: what everybody may have to wait.
	 * The longest of this half minute and of the one before. */
	uv_prepare_t turn_end;
	uv_check_t turn_begin;
	uint64_t turn_began_ns;
	uint64_t longest_ns[2];
	uint64_t longest_since_ms;
};

/* site.c: the life of it. */

/* The databases have been started. */
struct site *site_start(struct service *s);
/* The configuration has changed in place. */
void site_reload(struct site *site);
/* When no database is left. The site is freed with site_free(), when the
 * loop has ended. */
void site_close(struct site *site);
void site_free(struct site *site);

/* The loop's clock. */
uint64_t site_now_ms(const struct site *site);

/* site_look.c */
void look_init(struct look *look, struct site_database *db,
	struct pgc_request *(*ask)(const struct look *look),
	int (*take)(struct look *look, const struct pgc_request *request));
void look_close(struct look *look);
/* Ask, unless the answer is younger than a second. Returns whether one is on
 * its way. */
int look_refresh(struct look *look);
/* The same as look_refresh() whatever the age. */
int look_ask(struct look *look);
/* Whether http.details are on. */
int look_may_detail(const struct look *look);

/* Whether there is an answer that may be shown: one with details is not, once
 * http.details are off. */
int look_is_shown(const struct look *look);

/* Why the database does not serve, or did not answer; NULL: nothing. */
const char *look_trouble(const struct look *look);
/* The question about a job; a free one, or that which was asked longest ago
 * and is not under way. NULL: there is none. */
struct look *look_of_job(struct site_database *db, const char *job);
/* Takes for screens_read_json(). */
int look_take_json(struct look *look, const struct pgc_request *request);

/* The database itself; NULL: it has ended. */
struct database *site_database(const struct site_database *db);
const char *site_database_name(const struct site_database *db);
void site_database_init(
	struct site_database *db, struct site *site, size_t number);
void site_database_close(struct site_database *db);

/* site_routes.c */
enum http_verdict site_request(void *data, struct http_request *rq);

/* site_json.c: /status.json of all databases, or of one; job: NULL or one of
 * its. */
void site_add_json(struct text *out, struct site *site,
	struct site_database *only, struct look *job);

/* site_history.c */
void history_init(struct site_database *db);
void history_close(struct site_database *db);
void history_tick(struct site_database *db);
/* A JSON array of points of the job, by id or name, oldest first. */
void history_add_json(
	struct text *out, const struct site_database *db, const char *job);

/* site_page.c */
int page_take_table(struct look *look, const struct pgc_request *request);
void page_add(struct text *out, struct site *site);

/* site_metrics.c: the one table of the metrics, up to a NULL name. */
struct site_metric {
	const char *name;
	const char *type;
	const char *help;
	/* Adds the lines of what the daemon itself knows; NULL: of
	 * backfill.metrics. */
	void (*add)(struct text *out, const struct site_metric *m,
		struct site *site);
};
extern const struct site_metric site_metrics[];
void site_add_metrics(struct text *out, struct site *site);
int metrics_take(struct look *look, const struct pgc_request *request);

#endif
