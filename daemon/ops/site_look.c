/* Questions to the databases. A look is asked by the first who wants to know
 * and shared by all who come while it is on its way, or within a second
 * after. When the answer comes, or will not, whoever waits is handled again
 * (http_wake) and finds it here.
 *
 * How it fails: where the database does not serve, the last answer stays with
 * its age, and look_trouble() tells why. A database that does not answer lets
 * nobody wait longer than HTTP does; its answer is kept when it comes. */

#include "site.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "service_internal.h"
#include "store/screens.h"

enum {
	FRESH_MS = 1000,
	/* What a look may keep. */
	MOST_BYTES = 4 * 1024 * 1024
};

/* ---- a look ---- */

void look_init(struct look *look, struct site_database *db,
	struct pgc_request *(*ask)(const struct look *look),
	int (*take)(struct look *look, const struct pgc_request *request))
{
	memset(look, 0, sizeof *look);
	look->db = db;
	look->ask = ask;
	look->take = take;
	text_init(&look->answer);
}

void look_close(struct look *look)
{
	text_close(&look->answer);
	free(look->job);
	for (size_t i = 0; i < look->samples_count; i++) {
		free(look->samples[i].labels);
		free(look->samples[i].value);
	}
	free(look->samples);
}

static uint64_t now_ms(const struct look *look)
{
	return uv_now(&look->db->site->service->loop);
}

int look_may_detail(const struct look *look)
{
	return look->db->site->service->config.http_details;
}

int look_is_shown(const struct look *look)
{
	return look->answered_ms != 0 &&
		(!look->has_details || look_may_detail(look));
}

static void ask_next(struct site_database *db);

static void on_answer(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct look *look = data;

	look->is_asking = 0;
	look->db->asked = NULL;
	look->tried_ms = now_ms(look);
	look->trouble[0] = '\0';
	if (e != NULL) {
		(void)snprintf(
			look->trouble, sizeof look->trouble, "%s", e->message);
		text_trim(look->trouble);
	} else if (look->take(look, request) == 0) {
		look->answered_ms = look->tried_ms;
		look->has_details = look->asked_details;
	}
	ask_next(look->db);
	http_wake(look->db->site->http);
}

static void ask_now(struct look *look)
{
	struct database *db = site_database(look->db);

	look->asked_details = look_may_detail(look);
	look->is_asking = db != NULL &&
		database_ask(db, look->ask(look), on_answer, look) == 0;
	if (look->is_asking) {
		look->db->asked = look;
	}
}

/* Of one database, one after the other: who looks on loads it with one
 * question at a time. */
static void ask_next(struct site_database *db)
{
	struct look *const looks[] = { &db->status, &db->metrics, &db->table,
		&db->history };

	for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
		if (db->asked == NULL && looks[i]->is_asking) {
			ask_now(looks[i]);
		}
	}
	for (size_t i = 0; i < SITE_JOB_LOOKS; i++) {
		if (db->asked == NULL && db->jobs[i].is_asking) {
			ask_now(&db->jobs[i]);
		}
	}
}

int look_ask(struct look *look)
{
	if (!look->is_asking && look->db->asked == NULL) {
		ask_now(look);
	} else {
		look->is_asking = 1;
	}
	return look->is_asking;
}

int look_refresh(struct look *look)
{
	if (!look->is_asking && look->tried_ms != 0 &&
		look->asked_details == look_may_detail(look) &&
		now_ms(look) - look->tried_ms < FRESH_MS) {
		return 0;
	}
	return look_ask(look);
}

const char *look_trouble(const struct look *look)
{
	struct database *db = site_database(look->db);
	struct database_status status;

	if (db == NULL) {
		return "ended";
	}
	database_status(db, &status);
	if (status.trouble != NULL) {
		return status.trouble;
	}
	if (look->trouble[0] != '\0') {
		return look->trouble;
	}
	return look->is_asking ? "the database has not answered yet" : NULL;
}

int look_take_json(struct look *look, const struct pgc_request *request)
{
	const char *json = screens_read_json(request);

	if (json == NULL) {
		(void)snprintf(look->trouble, sizeof look->trouble,
			"there is nothing to see");
		return -1;
	}
	if (strlen(json) > MOST_BYTES) {
		(void)snprintf(look->trouble, sizeof look->trouble,
			"the answer has more than %d bytes", MOST_BYTES);
		return -1;
	}
	text_reset(&look->answer);
	text_add(&look->answer, json);
	return 0;
}

/* ---- the looks of a database ---- */

static struct pgc_request *ask_status(const struct look *look)
{
	return screens_status(SITE_LOOK_MS, look->asked_details);
}

static struct pgc_request *ask_metrics(const struct look *look)
{
	(void)look;
	return screens_metrics(SITE_LOOK_MS);
}

static struct pgc_request *ask_table(const struct look *look)
{
	(void)look;
	return screens_table(SITE_LOOK_MS);
}

static struct pgc_request *ask_job(const struct look *look)
{
	return screens_job(SITE_LOOK_MS, look->job, look->asked_details);
}

struct look *look_of_job(struct site_database *db, const char *job)
{
	struct look *oldest = NULL;

	for (size_t i = 0; i < SITE_JOB_LOOKS; i++) {
		struct look *look = &db->jobs[i];

		if (look->job != NULL && strcmp(look->job, job) == 0) {
			return look;
		}
		if (!look->is_asking &&
			(oldest == NULL || look->tried_ms < oldest->tried_ms)) {
			oldest = look;
		}
	}
	if (oldest != NULL) {
		look_close(oldest);
		look_init(oldest, db, ask_job, look_take_json);
		oldest->job = mem_strdup(job);
	}
	return oldest;
}

struct database *site_database(const struct site_database *db)
{
	return db->site->service->databases[db->number];
}

const char *site_database_name(const struct site_database *db)
{
	return db->site->service->config.databases[db->number].name;
}

void site_database_init(
	struct site_database *db, struct site *site, size_t number)
{
	db->site = site;
	db->number = number;
	look_init(&db->status, db, ask_status, look_take_json);
	look_init(&db->metrics, db, ask_metrics, metrics_take);
	look_init(&db->table, db, ask_table, page_take_table);
	for (size_t i = 0; i < SITE_JOB_LOOKS; i++) {
		look_init(&db->jobs[i], db, ask_job, look_take_json);
	}
	history_init(db);
}

void site_database_close(struct site_database *db)
{
	look_close(&db->status);
	look_close(&db->metrics);
	look_close(&db->table);
	for (size_t i = 0; i < SITE_JOB_LOOKS; i++) {
		look_close(&db->jobs[i]);
	}
	history_close(db);
}
