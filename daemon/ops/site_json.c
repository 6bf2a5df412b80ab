/* /status.json. What is known of a database is the server's own JSON; around
 * it stands what only the daemon knows. */
#include "site.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "service_internal.h"

static void add_text(struct text *out, const char *name, const char *value)
{
	text_addf(out, "\"%s\":", name);
	if (value != NULL) {
		json_add_string(out, value);
	} else {
		text_add(out, "null");
	}
}

static void add_daemon(struct text *out, const struct service *s)
{
	char host[256];

	if (gethostname(host, sizeof host) != 0) {
		host[0] = '\0';
	}
	host[sizeof host - 1] = '\0';
	text_add(out, "\"backfilld\":{");
	add_text(out, "version", BACKFILLD_VERSION);
	text_add(out, ",");
	add_text(out, "host", host);
	text_addf(out,
		",\"pid\":%d,\"uptime_seconds\":%.1f,\"at\":%.3f,"
		"\"details\":%s}",
		(int)getpid(),
		(double)(uv_now(&s->loop) - s->started_ms) / 1000,
		(double)clock_wall_ms() / 1000,
		s->config.http_details ? "true" : "false");
}

static void add_answer(
	struct text *out, const char *name, const struct look *look)
{
	text_addf(out, ",\"%s\":%s", name,
		look_is_shown(look) ? look->answer.data : "null");
}

static void add_database(struct text *out, const struct site_database *db)
{
	const struct service *s = db->site->service;
	const struct look *look = &db->status;

	text_add(out, "{");
	add_text(out, "name", site_database_name(db));
	text_add(out, ",");
	add_text(out, "trouble", look_trouble(look));
	text_add(out, ",\"age_seconds\":");
	if (look_is_shown(look)) {
		text_addf(out, "%.3f",
			(double)(uv_now(&s->loop) - look->answered_ms) / 1000);
	} else {
		text_add(out, "null");
	}
	text_addf(out, ",\"rows_per_second\":%.1f",
		s->rows_per_second[db->number]);
	add_answer(out, "status", look);
	text_add(out, "}");
}

void site_add_json(struct text *out, struct site *site,
	struct site_database *only, struct look *job)
{
	const char *comma = "";

	text_add(out, "{");
	add_daemon(out, site->service);
	text_add(out, ",\"databases\":[");
	for (size_t i = 0; i < site->count; i++) {
		if (only == NULL || only == &site->databases[i]) {
			text_add(out, comma);
			add_database(out, &site->databases[i]);
			comma = ",";
		}
	}
	text_add(out, "]");
	if (job != NULL) {
		add_answer(out, "job", job);
		text_add(out, ",");
		add_text(out, "job_trouble", look_trouble(job));
		text_add(out, ",\"history\":");
		history_add_json(out, only, job->job);
	}
	text_add(out, "}\n");
}
