/* The options as mdoc(7), for backfilld.yaml(5): a list per section. Each
 * sentence begins a line, as mdoc would have it. No help of ours needs an
 * escape; mandoc's lint would tell. */
#include "config/config.h"

#include <string.h>

#include "config/option.h"

enum { LINE_WIDTH = 78 };

/* Bytes of the next line: up to the end of the sentence, or to the last
 * space that leaves it short enough. */
static size_t line_length(const char *words)
{
	size_t end = strcspn(words, ".");

	while (words[end] != '\0' && words[end + 1] != ' ' &&
		words[end + 1] != '\0') {
		end += 1 + strcspn(words + end + 1, ".");
	}
	if (words[end] == '.') {
		end++;
	}
	if (end > LINE_WIDTH) {
		end = LINE_WIDTH;
		while (end > 0 && words[end] != ' ') {
			end--;
		}
	}
	return end > 0 ? end : strlen(words);
}

static void add_sentences(struct text *out, const char *words)
{
	while (*words != '\0') {
		size_t length = line_length(words);

		text_add_bytes(out, words, length);
		text_add(out, "\n");
		words += length;
		words += strspn(words, " ");
	}
}

/* A time, 1s to 10min; default 10s; reload: at once. */
static void add_facts(struct text *out, const struct option_def *o)
{
	const char *type = option_type_name(o);
	const char *reload = option_reload_name(o);
	struct text facts, range;

	text_init(&facts);
	text_init(&range);
	if (o->type != OPTION_BOOL) {
		option_add_range(o, &range);
	}
	text_addf(&facts, "%c%s", type[0] - 'a' + 'A', type + 1);
	if (range.length > 0) {
		text_addf(&facts, "%s %s", o->type == OPTION_ENUM ? ":" : ",",
			range.data);
	}
	if (o->default_text != NULL) {
		text_addf(&facts, "; default %s", option_shown_default(o));
	} else {
		text_add(&facts, "; required");
	}
	text_addf(&facts, "; reload: %s.",
		reload != NULL ? reload : "no, it takes a restart");
	add_sentences(out, facts.data);
	text_close(&range);
	text_close(&facts);
}

static void add_section(struct text *out, const struct option_section *s)
{
	const struct option_def *o;

	text_addf(out, ".Ss The section %s\n", s->name);
	add_sentences(out, s->help);
	text_add(out, ".Bl -tag -width Ds\n");
	for (o = option_table; o->name != NULL; o++) {
		if (strcmp(o->section, s->name) == 0) {
			text_addf(out, ".It Cm %s\n", o->name);
			add_sentences(out, o->help);
			add_facts(out, o);
		}
	}
	text_add(out, ".El\n");
}

void config_describe_mdoc(struct text *out)
{
	const struct option_section *s;

	for (s = option_sections; s->name != NULL; s++) {
		add_section(out, s);
	}
}
