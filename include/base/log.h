/* log.h: one line per decision on standard error, worded
 * "fact -> decision". Never a conninfo, a row value or a server's DETAIL:
 * it prints failing rows; see also rules/discreet.h. A line is one line,
 * whatever names hold: what acts on a terminal is replaced.
 *
 * Lines of a kind that come too often are left out and counted
 * (base/log_limit.h), but for those of log_fatal() and of LOG_DEBUG. */
#ifndef BACKFILL_BASE_LOG_H
#define BACKFILL_BASE_LOG_H

#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* What a line is about; borrowed. The text of the line begins with it:
 * "job 42 (name): ", or "database: ". */
struct log_about {
	const char *database; /* as configured; NULL: none */
	int64_t job;	      /* 0: none */
	const char *job_name;
	const char *sqlstate; /* "" or NULL: none */
};

/* Lines less urgent than level are dropped. The default is LOG_INFO. Under
 * systemd (JOURNAL_STREAM names our standard error) lines carry the "<N>"
 * priority prefix of sd-daemon(3) and no time; else an ISO time. */
void log_init(enum log_level level);

/* Under systemd, lines go to the journal's own socket at path from now on,
 * with fields (PRIORITY, MESSAGE, BACKFILLD_JOB_ID, …), and to standard error
 * only where that fails. NULL: to standard error all of them, the default. */
void log_open_journal(const char *path);

/* How lines are written from now on; the default is LOG_TEXT. LOG_JSON: an
 * object per line, {"time":…,"level":…,"message":…}, and "database", "job",
 * "job_name", "sqlstate" where they are known; in the journal it is the
 * message. */
void log_set_format(enum log_format format);

/* What every line is given to; NULL restores standard error. For tests:
 * the sink sees the line without time, prefix and newline. */
void log_set_sink(void (*sink)(enum log_level level, const char *line));

/* "error", "warning", … to a level; -1 when unknown. */
int log_level_by_name(const char *name);
const char *log_level_name(enum log_level level);

/* "text" or "json" to a format; -1 when unknown. */
int log_format_by_name(const char *name);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, about a job or a database. */
void log_about(enum log_level level, const struct log_about *about,
	const char *format, ...) __attribute__((format(printf, 3, 4)));
void log_vabout(enum log_level level, const struct log_about *about,
	const char *format, va_list args) __attribute__((format(printf, 3, 0)));

/* Tell of lines that were left out and whose time has come; call it every few
 * seconds. log_end() tells of all. */
void log_tick(void);
void log_end(void);

/* Why the program ends. A person at a terminal sees it as psql shows errors:
 * "backfilld: error: MESSAGE", DETAIL and HINT on lines of their own; the
 * journal, JSON and a sink get one line of level LOG_ERROR. */
void log_fatal(const struct err *e);

#endif
