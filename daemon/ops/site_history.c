/* Two hours of each open job, a point every 10 s, in the memory of this
 * daemon: whichever daemon runs the job. Bounded: 720 points of 32 bytes for
 * at most SITE_HISTORIES jobs of a database; that of which nothing was heard
 * for longest makes room. What is older than two hours is not shown. */
#include "site.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/screens.h"

enum { SPAN_S = 7200 };

/* Of backfill.progress.waits_for. */
static const char *const words[] = { "lag", "lease", "locks", "writers",
	"paced", "retry", "blocking", "queue", "daemon", "stopped", "paused",
	"other" };

enum { WORDS = sizeof words / sizeof words[0] };

static int8_t word_of(const PGresult *rows, int row, int column)
{
	int8_t i = 0;

	if (pgc_is_null(rows, row, column)) {
		return -1;
	}
	while (i < WORDS - 1 &&
		strcmp(words[i], pgc_text(rows, row, column)) != 0) {
		i++;
	}
	return i;
}

static float number_of(const PGresult *rows, int row, int column)
{
	return pgc_is_null(rows, row, column)
		? NAN
		: strtof(pgc_text(rows, row, column), NULL);
}

/* ---- keeping ---- */

static int64_t last_s(const struct history *h)
{
	size_t last = (h->first + h->count - 1) % SITE_HISTORY_POINTS;

	return h->count > 0 ? h->points[last].at_s : 0;
}

static struct history *history_of(struct site_database *db, int64_t job_id)
{
	struct history *oldest = NULL;

	for (size_t i = 0; i < db->histories_count; i++) {
		struct history *h = &db->histories[i];

		if (h->job_id == job_id) {
			return h;
		}
		if (oldest == NULL || last_s(h) < last_s(oldest)) {
			oldest = h;
		}
	}
	if (db->histories_count < SITE_HISTORIES) {
		oldest = &db->histories[db->histories_count++];
		oldest->points =
			mem_new(SITE_HISTORY_POINTS, sizeof oldest->points[0]);
	}
	free(oldest->name);
	oldest->name = NULL;
	oldest->job_id = job_id;
	oldest->count = 0;
	oldest->first = 0;
	return oldest;
}

static void add_point(struct history *h, const struct history_point *point)
{
	h->points[(h->first + h->count) % SITE_HISTORY_POINTS] = *point;
	if (h->count < SITE_HISTORY_POINTS) {
		h->count++;
	} else {
		h->first = (h->first + 1) % SITE_HISTORY_POINTS;
	}
}

static int take(struct look *look, const struct pgc_request *request)
{
	const PGresult *rows = screens_read_rows(request);

	for (int row = 0; row < PQntuples(rows); row++) {
		struct history *h = history_of(look->db, pgc_int(rows, row, 0));
		const struct history_point point = {
			.at_s = clock_wall_ms() / 1000,
			.rows_per_second = number_of(rows, row, 1),
			.batch_ms = number_of(rows, row, 2),
			.lag_s = number_of(rows, row, 3),
			.waits_for = word_of(rows, row, 4),
		};

		if (h->name == NULL) {
			h->name = mem_strdup(pgc_text(rows, row, 5));
		}
		add_point(h, &point);
	}
	return 0;
}

static struct pgc_request *ask(const struct look *look)
{
	(void)look;
	return screens_history(SITE_LOOK_MS);
}

void history_init(struct site_database *db)
{
	look_init(&db->history, db, ask, take);
	db->histories = mem_new(SITE_HISTORIES, sizeof db->histories[0]);
}

void history_close(struct site_database *db)
{
	for (size_t i = 0; i < db->histories_count; i++) {
		free(db->histories[i].points);
		free(db->histories[i].name);
	}
	free(db->histories);
	look_close(&db->history);
}

void history_tick(struct site_database *db)
{
	(void)look_ask(&db->history);
}

/* ---- showing ---- */

/* JSON has no NaN. */
static void add_number(struct text *out, float value)
{
	if (isfinite(value)) {
		text_addf(out, ",%.6g", (double)value);
	} else {
		text_add(out, ",null");
	}
}

static void add_points(struct text *out, const struct history *h)
{
	int64_t from_s = clock_wall_ms() / 1000 - SPAN_S;
	const char *comma = "";

	for (size_t i = 0; i < h->count; i++) {
		const struct history_point *p =
			&h->points[(h->first + i) % SITE_HISTORY_POINTS];

		if (p->at_s < from_s) {
			continue;
		}
		text_addf(out, "%s[%lld", comma, (long long)p->at_s);
		add_number(out, p->rows_per_second);
		add_number(out, p->batch_ms);
		add_number(out, p->lag_s);
		if (p->waits_for >= 0) {
			text_addf(out, ",\"%s\"]", words[p->waits_for]);
		} else {
			text_add(out, ",null]");
		}
		comma = ",";
	}
}

void history_add_json(
	struct text *out, const struct site_database *db, const char *job)
{
	char id[24];

	text_add(out, "[");
	for (size_t i = 0; i < db->histories_count; i++) {
		const struct history *h = &db->histories[i];

		(void)snprintf(id, sizeof id, "%lld", (long long)h->job_id);
		if (strcmp(job, id) == 0 || strcmp(job, h->name) == 0) {
			add_points(out, h);
			break;
		}
	}
	text_add(out, "]");
}
