/* The lines of a check. */
#include "ctl/ctl_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "ctl/ctl_format.h"
#include "rules/key.h"

static const char *const labels[] = { "ok  ", "warn", "FAIL" };

void ctl_check_tell(struct check *c, enum check_level level, const char *mend,
	const char *format, ...)
{
	char *fact = NULL;
	struct text t;
	va_list args;

	va_start(args, format);
	if (vasprintf(&fact, format, args) < 0) {
		abort();
	}
	va_end(args);

	text_init(&t);
	text_addf(&t, "%s  ", labels[level]);
	ctl_format_inert(&t, fact);
	if (mend != NULL) {
		text_add(&t, "\n      ");
		ctl_format_inert(&t, mend);
	}
	puts(t.data);
	text_close(&t);
	free(fact);
	c->counts[level]++;
}

void ctl_check_tell_unknown(struct check *c, const char *fact)
{
	ctl_check_tell(c, CHECK_WARNING, c->see_hint,
		"%s: unknown: needs pg_monitor", fact);
}

char *ctl_check_array(const struct ctl_names *names)
{
	struct text t;

	text_init(&t);
	text_add(&t, "{");
	for (size_t i = 0; i < names->count; i++) {
		text_add(&t, i > 0 ? "," : "");
		key_add_element(&t, names->names[i]);
	}
	text_add(&t, "}");
	return text_take(&t);
}
