/* The lines of a check. */
#include "ctl/ctl_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/text.h"
#include "ctl/ctl_format.h"
#include "rules/key.h"

static const char *const labels[] = { "ok  ", "warn", "FAIL" };

static void add_line(struct text *t, enum check_level level, const char *fact,
	const char *mend)
{
	text_addf(t, "%s  ", labels[level]);
	ctl_format_inert(t, fact);
	if (mend != NULL) {
		text_add(t, "\n      ");
		ctl_format_inert(t, mend);
	}
}

static void add_value(struct text *t, const char *key, const char *value)
{
	text_addf(t, ", \"%s\": ", key);
	if (value == NULL) {
		text_add(t, "null");
	} else {
		json_add_string(t, value);
	}
}

int ctl_check_is_first(const struct check *c)
{
	return c->counts[CHECK_OK] + c->counts[CHECK_WARNING] +
		c->counts[CHECK_FAILURE] ==
		0;
}

static void add_object(struct text *t, const struct check *c,
	enum check_level level, const char *fact, const char *mend)
{
	static const char *const words[] = { "ok", "warning", "failure" };
	struct text object;

	text_init(&object);
	text_addf(&object, "%c{\"level\": \"%s\"",
		ctl_check_is_first(c) ? '[' : ',', words[level]);
	add_value(&object, "database",
		c->database != NULL ? c->database : PQdb(c->ctl->conn));
	add_value(&object, "fact", fact);
	add_value(&object, "mend", mend);
	text_add(&object, "}");
	ctl_format_json(t, object.data);
	text_close(&object);
}

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
	if (c->is_json) {
		add_object(&t, c, level, fact, mend);
	} else {
		add_line(&t, level, fact, mend);
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
