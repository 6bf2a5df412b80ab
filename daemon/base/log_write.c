/* How a line of the log is written down. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/journal.h"
#include "base/json.h"
#include "log_internal.h"

enum { SYSLOG_ERR = 3 }; /* of LOG_ERROR; the other levels follow */

static int priority_of(const struct log_line *line)
{
	return SYSLOG_ERR + (int)line->level;
}

static void add_time(struct text *out)
{
	int64_t now_ms = clock_wall_ms();
	time_t now = (time_t)(now_ms / 1000);
	struct tm utc;
	char day[32];

	gmtime_r(&now, &utc);
	(void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
	text_addf(out, "%s.%03dZ", day, (int)(now_ms % 1000));
}

/* ---- JSON ---- */

static void add_member(struct text *out, const char *name, const char *value)
{
	if (value != NULL && value[0] != '\0') {
		text_addf(out, ",\"%s\":", name);
		json_add_string(out, value);
	}
}

static void add_json(struct text *out, const struct log_line *line)
{
	const struct log_about *about = &line->about;

	text_add(out, "{\"time\":\"");
	add_time(out);
	text_addf(out, "\",\"level\":\"%s\"", log_level_name(line->level));
	add_member(out, "message", line->text);
	add_member(out, "database", about->database);
	if (about->job != 0) {
		text_addf(out, ",\"job\":%" PRId64, about->job);
	}
	add_member(out, "job_name", about->job_name);
	add_member(out, "sqlstate", about->sqlstate);
	text_add(out, "}");
}

/* ---- the journal ---- */

static void add_number(struct text *entry, const char *field, int64_t value)
{
	char number[24];

	(void)snprintf(number, sizeof number, "%" PRId64, value);
	journal_add(entry, field, number);
}

static int send_to_journal(const struct log_line *line, const char *message)
{
	const struct log_about *about = &line->about;
	struct text entry;

	journal_begin(&entry);
	add_number(&entry, "PRIORITY", priority_of(line));
	journal_add(&entry, "MESSAGE", message);
	journal_add(&entry, "BACKFILLD_DATABASE", about->database);
	if (about->job != 0) {
		add_number(&entry, "BACKFILLD_JOB_ID", about->job);
	}
	journal_add(&entry, "BACKFILLD_JOB_NAME", about->job_name);
	journal_add(&entry, "BACKFILLD_SQLSTATE", about->sqlstate);
	return journal_send(&entry);
}

/* ---- all of them ---- */

void log_write(const struct log_line *line, const struct log_way *way)
{
	struct text out;

	text_init(&out);
	if (way->format == LOG_JSON) {
		add_json(&out, line);
	} else if (way->to_journal) {
		text_add(&out, line->text);
	} else {
		add_time(&out);
		text_addf(&out, " %s: %s", log_level_name(line->level),
			line->text);
	}
	if (!way->to_journal) {
		fprintf(stderr, "%s\n", out.data);
	} else if (way->is_direct || !send_to_journal(line, out.data)) {
		fprintf(stderr, "<%d>%s\n", priority_of(line), out.data);
	}
	text_close(&out);
}
