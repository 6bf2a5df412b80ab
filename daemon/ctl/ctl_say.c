/* What people read on standard output and standard error. Names and clauses
 * come from other people: nothing reaches the terminal unfiltered. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/ctl_format.h"

static char *print_to_heap(const char *format, va_list args)
	__attribute__((format(printf, 1, 0)));

static char *print_to_heap(const char *format, va_list args)
{
	char *message = NULL;

	if (vasprintf(&message, format, args) < 0) {
		abort();
	}
	return message;
}

static void add_part(struct text *t, const char *label, const char *part)
{
	if (part == NULL || *part == '\0') {
		return;
	}
	text_add(t, label);
	ctl_format_lines(t, part);
	text_add(t, "\n");
}

int ctl_error(struct ctl *ctl, int code, const char *detail, const char *hint,
	const char *format, ...)
{
	struct text t;
	va_list args;
	char *message;

	va_start(args, format);
	message = print_to_heap(format, args);
	va_end(args);

	ctl->code = code;
	if (ctl->errors != NULL) {
		ctl_format_inert(ctl->errors, message);
		free(message);
		return code;
	}
	text_init(&t);
	add_part(&t, "backfillctl: error: ", message);
	add_part(&t, "DETAIL:  ", detail);
	add_part(&t, "HINT:  ", hint);
	(void)fflush(stdout);
	fputs(t.data, stderr);
	text_close(&t);
	free(message);
	return code;
}

void ctl_warn(const char *format, ...)
{
	struct text t;
	va_list args;
	char *message;

	va_start(args, format);
	message = print_to_heap(format, args);
	va_end(args);

	text_init(&t);
	add_part(&t, "backfillctl: warning: ", message);
	(void)fflush(stdout);
	fputs(t.data, stderr);
	text_close(&t);
	free(message);
}

void ctl_say_json(const char *json)
{
	struct text t;

	text_init(&t);
	ctl_format_json(&t, json);
	puts(t.data);
	text_close(&t);
}

void ctl_say(const char *format, ...)
{
	struct text t;
	va_list args;
	char *message;

	va_start(args, format);
	message = print_to_heap(format, args);
	va_end(args);

	text_init(&t);
	ctl_format_inert(&t, message);
	puts(t.data);
	text_close(&t);
	free(message);
}
