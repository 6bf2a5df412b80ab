#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"

enum { LINE_MAX_BYTES = 2048 };

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} levels[] = {
	[LOG_ERROR] = { "error", 3 },
	[LOG_WARNING] = { "warning", 4 },
	[LOG_NOTICE] = { "notice", 5 },
	[LOG_INFO] = { "info", 6 },
	[LOG_DEBUG] = { "debug", 7 },
};

static const char *const formats[] = {
	[LOG_TEXT] = "text",
	[LOG_JSON] = "json",
};

static struct {
	enum log_level level;
	enum log_format format;
	int to_journal;
	void (*sink)(enum log_level level, const char *line);
} logger = { .level = LOG_INFO };

/* JOURNAL_STREAM is "device:inode" of the stream that journald gave us; a
 * redirected standard error is another file (systemd.exec(5)). */
static int is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL &&
		sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		fstat(2, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(enum log_level level)
{
	logger.level = level;
	logger.to_journal = is_journal();
}

void log_set_format(enum log_format format)
{
	logger.format = format;
}

void log_set_sink(void (*sink)(enum log_level level, const char *line))
{
	logger.sink = sink;
}

int log_level_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		if (strcmp(levels[i].name, name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

const char *log_level_name(enum log_level level)
{
	return levels[level].name;
}

int log_format_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
		if (strcmp(formats[i], name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

static void write_json(
	enum log_level level, const char *stamp, const char *line)
{
	struct text out;

	text_init(&out);
	text_addf(&out, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", stamp,
		levels[level].name);
	json_add_string(&out, line);
	fprintf(stderr, "%s}\n", out.data);
	text_close(&out);
}

static void write_line(enum log_level level, const char *line)
{
	int64_t now_ms = clock_wall_ms();
	time_t now = (time_t)(now_ms / 1000);
	struct tm utc;
	char day[32];
	char stamp[48];

	if (logger.sink != NULL) {
		logger.sink(level, line);
		return;
	}
	gmtime_r(&now, &utc);
	(void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
	(void)snprintf(
		stamp, sizeof stamp, "%s.%03dZ", day, (int)(now_ms % 1000));
	if (logger.to_journal) {
		fprintf(stderr, "<%d>", levels[level].priority);
	}
	if (logger.format == LOG_JSON) {
		write_json(level, stamp, line);
	} else if (logger.to_journal) {
		fprintf(stderr, "%s\n", line);
	} else {
		fprintf(stderr, "%s %s: %s\n", stamp, levels[level].name, line);
	}
}

/* A message of several lines (PostgreSQL's may be) stays one log line. */
__attribute__((format(printf, 2, 0))) static void log_at(
	enum log_level level, const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];

	if (level > logger.level) {
		return;
	}
	(void)vsnprintf(line, sizeof line, format, args);
	for (char *c = line; *c != '\0'; c++) {
		if (*c == '\n' || *c == '\r') {
			*c = ' ';
		}
	}
	write_line(level, line);
}

#define DEFINE_LEVEL(function, level)                                          \
	void function(const char *format, ...)                                 \
	{                                                                      \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		log_at(level, format, args);                                   \
		va_end(args);                                                  \
	}

DEFINE_LEVEL(log_error, LOG_ERROR)
DEFINE_LEVEL(log_warning, LOG_WARNING)
DEFINE_LEVEL(log_notice, LOG_NOTICE)
DEFINE_LEVEL(log_info, LOG_INFO)
DEFINE_LEVEL(log_debug, LOG_DEBUG)

void log_fatal(const struct err *e)
{
	int has_detail = e->detail[0] != '\0';
	int has_hint = e->hint[0] != '\0';

	if (logger.sink != NULL || logger.to_journal ||
		logger.format != LOG_TEXT) {
		log_error("%s%s%s%s%s", e->message,
			has_detail ? "; detail: " : "", e->detail,
			has_hint ? "; hint: " : "", e->hint);
		return;
	}
	fprintf(stderr, "backfilld: error: %s\n", e->message);
	if (has_detail) {
		fprintf(stderr, "DETAIL:  %s\n", e->detail);
	}
	if (has_hint) {
		fprintf(stderr, "HINT:  %s\n", e->hint);
	}
}
