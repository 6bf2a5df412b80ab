#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int err_set(struct err *e, int code, const char *format, ...)
{
	va_list args;

	memset(e, 0, sizeof *e);
	e->code = code;
	va_start(args, format);
	(void)vsnprintf(e->message, sizeof e->message, format, args);
	va_end(args);
	(void)text_trim(e->message);
	return code;
}

int err_wrap(struct err *e, const char *format, ...)
{
	char joined[2 * sizeof e->message];
	va_list args;
	size_t used;

	va_start(args, format);
	(void)vsnprintf(joined, sizeof e->message, format, args);
	va_end(args);

	/* The inner message gives way: the context tells where to look. */
	used = strlen(joined);
	(void)snprintf(joined + used, sizeof joined - used, ": %s", e->message);
	memcpy(e->message, joined, sizeof e->message);
	e->message[sizeof e->message - 1] = '\0';
	(void)text_trim(e->message);
	return e->code;
}

void err_set_detail(struct err *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(e->detail, sizeof e->detail, format, args);
	va_end(args);
	(void)text_trim(e->detail);
}

void err_set_hint(struct err *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(e->hint, sizeof e->hint, format, args);
	va_end(args);
	(void)text_trim(e->hint);
}

void err_clear(struct err *e)
{
	memset(e, 0, sizeof *e);
}

const char *err_name(int code)
{
	static const char *const names[] = {
		[BFE_OK] = "ok",
		[BFE_INPUT] = "input",
		[BFE_SYSTEM] = "system",
		[BFE_CONNECT] = "connect",
		[BFE_LOST] = "lost",
		[BFE_TIMEOUT] = "timeout",
		[BFE_CLOSED] = "closed",
		[BFE_SQL] = "sql",
		[BFE_PROTOCOL] = "protocol",
	};

	if (code < 0 || (size_t)code >= sizeof names / sizeof names[0]) {
		return "unknown";
	}
	return names[code];
}
