/* runner_log.c: lines of the log about a job. What they tell of errors and
 * reasons is what rules/discreet.h leaves of them. */
#include <stdarg.h>

#include "base/log.h"
#include "rules/discreet.h"
#include "runner_internal.h"

struct log_about runner_about(const struct runner *r)
{
	const struct log_about about = {
		.database = r->host->database->name,
		.job = r->claim.job_id,
		.job_name = r->claim.name,
	};

	return about;
}

void runner_log(const struct runner *r, enum log_level level,
	const char *sqlstate, const char *format, ...)
{
	struct log_about about = runner_about(r);
	va_list args;

	about.sqlstate = sqlstate;
	va_start(args, format);
	log_vabout(level, &about, format, args);
	va_end(args);
}

void runner_log_error(const struct runner *r, enum log_level level,
	const struct err *e, const char *decision)
{
	struct text fact;

	text_init(&fact);
	discreet_add_error(&fact, e);
	runner_log(r, level, e->sqlstate, "%s -> %s", fact.data, decision);
	text_close(&fact);
}

void runner_log_reason(const struct runner *r, const char *decision)
{
	struct text fact;

	text_init(&fact);
	discreet_add_reason(&fact, &r->run);
	runner_log(r, LOG_INFO, r->last_sqlstate, "%s%s", fact.data, decision);
	text_close(&fact);
}

void runner_log_step(const struct runner *r, const char *decision)
{
	struct text told;

	text_init(&told);
	discreet_add_sql(&told, r->run.schema.told);
	if (told.length > 0) {
		runner_log(r, LOG_INFO, NULL, "%s -> %s", told.data, decision);
	}
	text_close(&told);
}
