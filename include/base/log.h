/* log.h: one line per decision on standard error, worded
 * "fact -> decision". Never a conninfo, a row value or a server's DETAIL:
 * it prints failing rows. */
#ifndef BACKFILL_BASE_LOG_H
#define BACKFILL_BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* Lines less urgent than level are dropped. The default is LOG_INFO. Under
 * systemd (JOURNAL_STREAM names our standard error) lines carry the "<N>"
 * priority prefix of sd-daemon(3) and no time; else an ISO time. */
void log_init(enum log_level level);

/* How lines are written from now on; the default is LOG_TEXT. LOG_JSON: an
 * object per line, {"time":…,"level":…,"message":…}; under systemd the
 * prefix stands before it, for journald takes it off. */
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

/* Why the program ends. A person at a terminal sees it as psql shows errors:
 * "backfilld: error: MESSAGE", DETAIL and HINT on lines of their own; the
 * journal, JSON and a sink get one line of level LOG_ERROR. */
void log_fatal(const struct err *e);

#endif
