#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/journal.h"
#include "base/text.h"
#include "base/utf8.h"
#include "log_internal.h"

enum { LINE_MAX_BYTES = 2048 };

static const char *const levels[] = {
	[LOG_ERROR] = "error",
	[LOG_WARNING] = "warning",
	[LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static const char *const formats[] = {
	[LOG_TEXT] = "text",
	[LOG_JSON] = "json",
};

static struct {
	enum log_level level;
	struct log_way way;
	void (*sink)(enum log_level level, const char *line);
	struct log_limit limit;
} logger = { .level = LOG_INFO };

/* ---- settings ---- */

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
	logger.way.to_journal = is_journal();
}

void log_open_journal(const char *path)
{
	journal_open(path);
}

void log_set_format(enum log_format format)
{
	logger.way.format = format;
}

void log_set_sink(void (*sink)(enum log_level level, const char *line))
{
	logger.sink = sink;
}

static int find(const char *const names[], size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

int log_level_by_name(const char *name)
{
	return find(levels, sizeof levels / sizeof levels[0], name);
}

const char *log_level_name(enum log_level level)
{
	return levels[level];
}

int log_format_by_name(const char *name)
{
	return find(formats, sizeof formats / sizeof formats[0], name);
}

/* ---- the text of a line ---- */

/* A message of several lines (PostgreSQL's may be) stays one log line, and a
 * name cannot speak to the terminal on which the log is read. */
static void add_clean(struct text *out, const char *raw)
{
	size_t left = strlen(raw);
	uint32_t c;

	while (left > 0) {
		size_t bytes = utf8_decode(raw, left, &c);

		if (bytes == 0) {
			text_add(out, "\xef\xbf\xbd");
			bytes = 1;
		} else if (c == '\n' || c == '\r' || c == '\t') {
			text_add(out, " ");
		} else if (utf8_is_control(c)) {
			text_add(out, "?");
		} else {
			text_add_bytes(out, raw, bytes);
		}
		raw += bytes;
		left -= bytes;
	}
}

static void add_about(struct text *out, const struct log_about *about)
{
	if (about->job != 0) {
		text_addf(out, "job %" PRId64, about->job);
		if (about->job_name != NULL) {
			text_add(out, " (");
			add_clean(out, about->job_name);
			text_add(out, ")");
		}
		text_add(out, ": ");
	} else if (about->database != NULL) {
		add_clean(out, about->database);
		text_add(out, ": ");
	}
}

__attribute__((format(printf, 3, 0))) static void add_text(struct text *out,
	const struct log_about *about, const char *format, va_list args)
{
	char raw[LINE_MAX_BYTES];

	if (vsnprintf(raw, sizeof raw, format, args) >= (int)sizeof raw) {
		(void)text_trim(raw);
	}
	add_about(out, about);
	add_clean(out, raw);
}

/* ---- lines ---- */

static void write_line(const struct log_line *line, const struct log_way *way)
{
	if (logger.sink != NULL) {
		logger.sink(line->level, line->text);
	} else {
		log_write(line, way);
	}
}

static unsigned long long seconds(uint64_t ms)
{
	return (unsigned long long)((ms + 999) / 1000);
}

static void write_passed(struct log_line *line, struct text *text)
{
	if (line->left_out > 0) {
		text_addf(text, " (%u like this were left out in %llu s)",
			line->left_out, seconds(line->over_ms));
		line->text = text->data;
	}
	write_line(line, &logger.way);
}

void log_vabout(enum log_level level, const struct log_about *about,
	const char *format, va_list args)
{
	struct log_line line = { .level = level, .about = *about };
	struct text text;

	if (level > logger.level) {
		return;
	}
	text_init(&text);
	add_text(&text, about, format, args);
	line.text = text.data;
	/* Who asks for each step of the program shall have each of them. */
	if (level == LOG_DEBUG ||
		log_limit_take(&logger.limit, format, &line, clock_boot_ms())) {
		write_passed(&line, &text);
	}
	text_close(&text);
}

void log_about(enum log_level level, const struct log_about *about,
	const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_vabout(level, about, format, args);
	va_end(args);
}

#define DEFINE_LEVEL(function, level)                                          \
	void function(const char *format, ...)                                 \
	{                                                                      \
		const struct log_about nothing = { .job = 0 };                 \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		log_vabout(level, &nothing, format, args);                     \
		va_end(args);                                                  \
	}

DEFINE_LEVEL(log_error, LOG_ERROR)
DEFINE_LEVEL(log_warning, LOG_WARNING)
DEFINE_LEVEL(log_notice, LOG_NOTICE)
DEFINE_LEVEL(log_info, LOG_INFO)
DEFINE_LEVEL(log_debug, LOG_DEBUG)

/* ---- what was left out ---- */

static void tell_left_out(int is_end)
{
	struct log_line *line;
	struct text text;

	while ((line = log_limit_due(&logger.limit, clock_boot_ms(), is_end)) !=
		NULL) {
		struct log_line told = *line;

		text_init(&text);
		text_addf(&text,
			"%s (the last of %u like this that were left out in"
			" %llu s)",
			line->text, line->left_out, seconds(line->over_ms));
		told.text = text.data;
		write_line(&told, &logger.way);
		text_close(&text);
		log_line_free(line);
	}
}

void log_tick(void)
{
	tell_left_out(0);
}

void log_end(void)
{
	tell_left_out(1);
	log_limit_close(&logger.limit);
}

/* ---- the end of the program ---- */

static void print_clean(const char *before, const char *text)
{
	struct text clean;

	if (text[0] == '\0') {
		return;
	}
	text_init(&clean);
	add_clean(&clean, text);
	fprintf(stderr, "%s%s\n", before, clean.data);
	text_close(&clean);
}

/* The journal finds the unit of a datagram by the process that sent it, which
 * may be gone by then; that of standard error it knows. */
static void write_fatal(const struct err *e)
{
	struct log_line line = { .level = LOG_ERROR };
	struct log_way way = logger.way;
	struct text text;

	text_init(&text);
	add_clean(&text, e->message);
	text_add(&text, e->detail[0] != '\0' ? "; detail: " : "");
	add_clean(&text, e->detail);
	text_add(&text, e->hint[0] != '\0' ? "; hint: " : "");
	add_clean(&text, e->hint);
	line.text = text.data;
	line.about.sqlstate = e->sqlstate;
	way.is_direct = 1;
	write_line(&line, &way);
	text_close(&text);
}

void log_fatal(const struct err *e)
{
	if (logger.sink != NULL || logger.way.to_journal ||
		logger.way.format != LOG_TEXT) {
		write_fatal(e);
		return;
	}
	print_clean("backfilld: error: ", e->message);
	print_clean("DETAIL:  ", e->detail);
	print_clean("HINT:  ", e->hint);
}
