#include "config/option.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rules/units.h"

enum {
	NAME_MAX_BYTES = 63,  /* longer names are no misspellings */
	QUOTE_MAX_BYTES = 40, /* of a wrong value in a message */
	MAX_DISTANCE = 3
};

const struct option_def *option_find(const char *section, const char *name)
{
	const struct option_def *o = option_table;

	for (; o->name != NULL; o++) {
		if (strcmp(o->section, section) == 0 &&
			strcmp(o->name, name) == 0) {
			return o;
		}
	}
	return NULL;
}

const struct option_section *option_find_section(const char *name)
{
	const struct option_section *s = option_sections;

	for (; s->name != NULL; s++) {
		if (strcmp(s->name, name) == 0) {
			return s;
		}
	}
	return NULL;
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's: one row of the matrix is kept. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_BYTES + 1];
	size_t a_length = strlen(a), b_length = strlen(b);

	if (a_length > NAME_MAX_BYTES || b_length > NAME_MAX_BYTES) {
		return SIZE_MAX;
	}
	for (size_t j = 0; j <= b_length; j++) {
		row[j] = j;
	}
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t above = row[j];

			row[j] = min3(row[j] + 1, row[j - 1] + 1,
				diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[b_length];
}

/* More than half of the letters wrong is another word. */
static int is_nearer(const char *name, const char *candidate, size_t *best)
{
	size_t steps = distance(name, candidate);

	if (steps >= *best || steps * 2 > strlen(candidate)) {
		return 0;
	}
	*best = steps;
	return 1;
}

const struct option_def *option_guess(const char *section, const char *name)
{
	const struct option_def *o, *guess = NULL;
	size_t best = MAX_DISTANCE + 1;

	for (o = option_table; o->name != NULL; o++) {
		if (strcmp(o->section, section) == 0 &&
			is_nearer(name, o->name, &best)) {
			guess = o;
		}
	}
	for (o = option_table; guess == NULL && o->name != NULL; o++) {
		if (strcmp(o->name, name) == 0) {
			guess = o;
		}
	}
	return guess;
}

const struct option_section *option_guess_section(const char *name)
{
	const struct option_section *s, *guess = NULL;
	size_t best = MAX_DISTANCE + 1;

	for (s = option_sections; s->name != NULL; s++) {
		if (is_nearer(name, s->name, &best)) {
			guess = s;
		}
	}
	return guess;
}

const char *option_type_name(const struct option_def *o)
{
	static const char *const names[] = {
		[OPTION_STRING] = "a string",
		[OPTION_COUNT] = "a whole number",
		[OPTION_TIME] = "a time",
		[OPTION_BYTES] = "a size",
		[OPTION_ENUM] = "a word",
		[OPTION_BOOL] = "true or false",
		[OPTION_STRING_LIST] = "a list of strings",
	};

	return names[o->type];
}

const char *option_shown_default(const struct option_def *o)
{
	if (o->default_text == NULL) {
		return NULL;
	}
	if (o->type == OPTION_STRING_LIST) {
		return "[]";
	}
	return o->default_text[0] == '\0' ? "\"\"" : o->default_text;
}

void option_add_range(const struct option_def *o, struct text *out)
{
	switch (o->type) {
	case OPTION_COUNT:
	case OPTION_TIME:
	case OPTION_BYTES:
		option_add_number(o, o->min, out);
		text_add(out, " to ");
		option_add_number(o, o->max, out);
		if (o->zero != NULL) {
			text_addf(out, ", or 0: %s", o->zero);
		}
		break;
	case OPTION_ENUM:
		for (size_t i = 0; o->values[i] != NULL; i++) {
			text_addf(out, "%s%s", i > 0 ? ", " : "", o->values[i]);
		}
		break;
	case OPTION_BOOL:
		text_add(out, "true, false");
		break;
	case OPTION_STRING:
	case OPTION_STRING_LIST:
		break;
	}
}

void option_explain(const struct option_def *o, struct err *e)
{
	struct text range;

	text_init(&range);
	option_add_range(o, &range);
	if (o->type == OPTION_STRING_LIST) {
		err_set_hint(e,
			"A list is written \"[a, b]\", an empty one "
			"\"[]\".");
	} else if (range.length > 0) {
		err_set_detail(e, "%s: %s.",
			o->type == OPTION_ENUM || o->type == OPTION_BOOL
				? "Available values"
				: "Valid range",
			range.data);
	}
	text_close(&range);
}

/* A wrong value in quotes, cut between two characters when it is long and
 * without line ends. */
static void quote(const char *text, char *buffer, size_t size)
{
	size_t length = strlen(text);
	const char *dots = "";

	if (length > QUOTE_MAX_BYTES) {
		length = QUOTE_MAX_BYTES;
		while (length > 0 &&
			((unsigned char)text[length] & 0xc0) == 0x80) {
			length--;
		}
		dots = "...";
	}
	(void)snprintf(buffer, size, "\"%.*s%s\"", (int)length, text, dots);
	for (char *c = buffer; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20) {
			*c = ' ';
		}
	}
}

static int refuse(const struct option_def *o, const char *text,
	const char *label, int is_outside, struct err *e)
{
	char quoted[QUOTE_MAX_BYTES + 8];

	quote(text, quoted, sizeof quoted);
	if (is_outside) {
		err_set(e, BFE_INPUT, "%s is outside the valid range for %s",
			quoted, label);
	} else {
		err_set(e, BFE_INPUT, "invalid value for %s: %s", label,
			quoted);
	}
	option_explain(o, e);
	return e->code;
}

static int parse_number(const struct option_def *o, const char *text,
	int64_t *value, const char **hint)
{
	switch (o->type) {
	case OPTION_TIME:
		return units_parse_time_ms(text, value, hint);
	case OPTION_BYTES:
		return units_parse_bytes(text, value, hint);
	default:
		return units_parse_count(text, value, hint);
	}
}

static int store_number(const struct option_def *o, const char *text,
	void *base, const char *label, struct err *e)
{
	const char *hint;
	int64_t value;

	if (parse_number(o, text, &value, &hint) != 0) {
		refuse(o, text, label, 0, e);
		err_set_hint(e, "%s", hint);
		return e->code;
	}
	/* Zero is what is written so: "0.1ms" was not meant to be it. */
	if ((value < o->min || value > o->max) &&
		!(o->zero != NULL && strpbrk(text, "123456789") == NULL)) {
		return refuse(o, text, label, 1, e);
	}
	*(int64_t *)((char *)base + o->offset) = value;
	return 0;
}

/* Only as YAML 1.2 writes them: "no" and "off" are words there. */
static int store_bool(const struct option_def *o, const char *text, void *base,
	const char *label, struct err *e)
{
	int value = strcmp(text, "true") == 0;

	if (!value && strcmp(text, "false") != 0) {
		return refuse(o, text, label, 0, e);
	}
	*(int *)((char *)base + o->offset) = value;
	return 0;
}

static void store_string(
	const struct option_def *o, const char *text, void *base)
{
	char **field = (char **)((char *)base + o->offset);

	free(*field);
	*field = mem_strdup(text);
}

static int check_string(const struct option_def *o, const char *text,
	const char *label, struct err *e)
{
	const char *wrong = o->check != NULL ? o->check(text) : NULL;

	if (wrong != NULL) {
		refuse(o, text, label, 0, e);
		err_set_detail(e, "%s", wrong);
		return e->code;
	}
	return 0;
}

int option_store(const struct option_def *o, const char *text, void *base,
	const char *label, struct err *e)
{
	assert(o->type != OPTION_STRING_LIST);
	if (o->type == OPTION_ENUM) {
		size_t i = 0;

		while (o->values[i] != NULL &&
			strcmp(o->values[i], text) != 0) {
			i++;
		}
		if (o->values[i] == NULL) {
			return refuse(o, text, label, 0, e);
		}
	} else if (o->type == OPTION_BOOL) {
		return store_bool(o, text, base, label, e);
	} else if (o->type != OPTION_STRING) {
		return store_number(o, text, base, label, e);
	} else if (check_string(o, text, label, e) != 0) {
		return e->code;
	}
	store_string(o, text, base);
	return 0;
}

void option_append(const struct option_def *o, const char *text, void *base)
{
	char ***items = (char ***)((char *)base + o->offset);
	size_t *count = (size_t *)((char *)base + o->count_offset);

	assert(o->type == OPTION_STRING_LIST);
	*items = mem_resize(*items, (*count + 1) * sizeof **items);
	(*items)[*count] = mem_strdup(text);
	(*count)++;
}

void option_free(const struct option_def *o, void *base)
{
	if (o->type == OPTION_STRING || o->type == OPTION_ENUM) {
		free(*(char **)((char *)base + o->offset));
	} else if (o->type == OPTION_STRING_LIST) {
		char **items = *(char ***)((char *)base + o->offset);
		size_t count = *(size_t *)((char *)base + o->count_offset);

		for (size_t i = 0; i < count; i++) {
			free(items[i]);
		}
		free(items);
	}
}

int64_t option_number(const struct option_def *o, const void *base)
{
	assert(o->type == OPTION_COUNT || o->type == OPTION_TIME ||
		o->type == OPTION_BYTES);
	return *(const int64_t *)((const char *)base + o->offset);
}
