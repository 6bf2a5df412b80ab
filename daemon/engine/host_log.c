/* host_log.c: lines of the log about a database. */
#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "engine/host.h"
#include "rules/discreet.h"

void host_log(const struct host *h, enum log_level level, const char *sqlstate,
	const char *format, ...)
{
	const struct log_about about = {
		.database = h->database->name,
		.sqlstate = sqlstate,
	};
	va_list args;

	va_start(args, format);
	log_vabout(level, &about, format, args);
	va_end(args);
}

/* The statements of the control connection are ours, and so is what they name,
 * but for the values that they were given. */
void host_add_error(struct text *out, const struct err *e)
{
	struct err own = *e;

	own.may_quote = strncmp(e->sqlstate, "22", 2) == 0;
	discreet_add_error(out, &own);
}
