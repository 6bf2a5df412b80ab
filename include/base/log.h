/* log.h: one line per decision on standard error, worded
 * "fact -> decision". Never a conninfo, a row value or a server's DETAIL:
 * it prints failing rows. */
#ifndef BACKFILL_BASE_LOG_H
#define BACKFILL_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

/* Lines less urgent than level are dropped. The default is LOG_INFO. Under
 * systemd (JOURNAL_STREAM names our standard error) lines carry the "<N>"
 * priority prefix of sd-daemon(3) and no time; else an ISO time. */
void log_init(enum log_level level);

/* What every line is given to; NULL restores standard error. For tests:
 * the sink sees the line without time, prefix and newline. */
void log_set_sink(void (*sink)(enum log_level level, const char *line));

/* "error", "warning", … to a level; -1 when unknown. */
int log_level_by_name(const char *name);
const char *log_level_name(enum log_level level);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
