/* The sample is a configuration as it stands: what is required is given,
 * what has a default is commented out with it. Text begins with "# ", an
 * option with "#", as in postgresql.conf. */
#include "config/config.h"

#include <string.h>

#include "config/option.h"

enum { LINE_WIDTH = 78 };

static const char preamble[] =
	"# The configuration of backfilld, in YAML. An option that is "
	"commented "
	"out has\n"
	"# its default. Times have a unit: us, ms, s, min, h, d; sizes: B, kB, "
	"MB, GB, TB.\n"
	"# Anchors, aliases and tags are not allowed.\n"
	"#\n"
	"# The file is read at start, and again at SIGHUP (systemctl reload): "
	"where an\n"
	"# option tells when, a new value of it takes effect then; the others "
	"need a\n"
	"# restart. A file with an error changes nothing.\n"
	"#\n"
	"# \"backfilld --check-config\" tells everything that is wrong with "
	"this file;\n"
	"# \"backfilld --describe-config\" prints its original.\n";

/* A comment, broken into lines at spaces. */
static void add_comment(struct text *out, size_t indent, const char *words)
{
	size_t width = LINE_WIDTH - indent - 2;

	while (*words != '\0') {
		size_t length = strlen(words);

		if (length > width) {
			length = width;
			while (words[length] != ' ') {
				length--;
			}
		}
		text_addf(out, "%*s# %.*s\n", (int)indent, "", (int)length,
			words);
		words += length;
		words += strspn(words, " ");
	}
}

static void add_facts(
	struct text *out, size_t indent, const struct option_def *o)
{
	struct text facts;

	text_init(&facts);
	if (o->default_text != NULL) {
		text_addf(&facts, "Default %s", option_shown_default(o));
	} else {
		text_add(&facts, "Required");
	}
	if (o->type != OPTION_STRING && o->type != OPTION_STRING_LIST) {
		text_add(&facts, "; ");
		option_add_range(o, &facts);
	}
	text_add(&facts, ".");
	if (o->reload != RELOAD_NEVER) {
		text_addf(&facts, " Reloaded: %s.", option_reload_name(o));
	}
	add_comment(out, indent, facts.data);
	text_close(&facts);
}

/* Items of a list begin with a dash, at their first option. */
static void add_option(
	struct text *out, const struct option_def *o, int is_item, int is_first)
{
	size_t indent = is_item ? 4 : 2;

	if (!is_first) {
		text_add(out, "\n");
	}
	add_comment(out, indent, o->help);
	add_facts(out, indent, o);
	if (is_item && is_first) {
		text_addf(out, "  - ");
	} else {
		text_addf(out, "%*s", (int)indent, "");
	}
	if (o->default_text != NULL) {
		text_addf(out, "#%s: %s\n", o->name, option_shown_default(o));
	} else {
		text_addf(out, "%s: %s\n", o->name, o->sample_text);
	}
}

void config_describe(struct text *out)
{
	const struct option_section *s;
	const struct option_def *o;

	text_add(out, preamble);
	for (s = option_sections; s->name != NULL; s++) {
		int is_item = strcmp(s->name, "databases") == 0;
		int is_first = 1;

		text_add(out, "\n");
		add_comment(out, 0, s->help);
		text_addf(out, "%s:\n", s->name);
		for (o = option_table; o->name != NULL; o++) {
			if (strcmp(o->section, s->name) == 0) {
				add_option(out, o, is_item, is_first);
				is_first = 0;
			}
		}
	}
}
