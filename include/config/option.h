/* option.h: the one table of options. Parsing, defaults, messages, the
 * commented sample and the documentation are made from it. */
#ifndef BACKFILL_CONFIG_OPTION_H
#define BACKFILL_CONFIG_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"

enum option_type {
	OPTION_STRING,
	OPTION_COUNT,
	OPTION_TIME,  /* kept in ms */
	OPTION_BYTES, /* kept in bytes */
	OPTION_ENUM,
	OPTION_BOOL, /* kept in an int */
	OPTION_STRING_LIST
};

/* When a new value in the file takes effect, once the daemon is told to read
 * it again. */
enum option_reload {
	RELOAD_NEVER, /* it needs a restart */
	RELOAD_AT_ONCE,
	RELOAD_AT_BATCH,  /* with the next batch of each job */
	RELOAD_AT_CONNECT /* with the next connection of each job */
};

struct option_def {
	const char *section; /* "" for the top, or "databases", "batch" */
	const char *name;
	enum option_type type;
	const char *default_text; /* NULL: required; a list: empty */
	const char *sample_text;  /* of a required one */
	int64_t min;		  /* of a count, time or size */
	int64_t max;		  /* the same */
	const char *zero; /* what 0 means where it is allowed, or NULL */
	const char *const *values; /* of an enum, NULL at the end */
	/* Of a string: what is wrong with text, a sentence; NULL: nothing. */
	const char *(*check)(const char *text);
	int secret; /* never quoted in a message */
	enum option_reload reload;
	const char *help; /* one or two sentences */

	/* Into struct config_database for section "databases", else into
	 * struct config. A list has a count beside it. */
	size_t offset;
	size_t count_offset;
};

/* The sections in the order of the sample; each one's options are together
 * in the table. An entry whose name is NULL ends each. */
extern const struct option_section {
	const char *name;
	const char *help;
} option_sections[];
extern const struct option_def option_table[];

/* NULL when there is none. */
const struct option_def *option_find(const char *section, const char *name);
const struct option_section *option_find_section(const char *name);

/* What a misspelt name in a section was meant to be, by edit distance; or
 * the same name in another section. NULL when nothing is near. */
const struct option_def *option_guess(const char *section, const char *name);
const struct option_section *option_guess_section(const char *name);

/* Parse text and store it in the structure at base (not for lists). On
 * BFE_INPUT nothing is stored; label names the option in the message, such
 * as: option "workers" of database "shop". */
int option_store(const struct option_def *o, const char *text, void *base,
	const char *label, struct err *e);

/* Add one item to a list. Copies text. */
void option_append(const struct option_def *o, const char *text, void *base);

/* Free the strings and lists at base. */
void option_free(const struct option_def *o, void *base);

/* "a time", "a list of strings", … */
const char *option_type_name(const struct option_def *o);

/* The default as the file would have it; NULL: required. */
const char *option_shown_default(const struct option_def *o);

/* What is allowed, for people: "10ms to 10s", "off, local, on". Nothing for
 * strings. */
void option_add_range(const struct option_def *o, struct text *out);

/* Say the same as the detail or hint of an error. */
void option_explain(const struct option_def *o, struct err *e);

/* "at once", "with the next batch", …; NULL for RELOAD_NEVER. */
const char *option_reload_name(const struct option_def *o);

/* Whether both structures hold the same value. */
int option_is_equal(const struct option_def *o, const void *a, const void *b);

/* Exchange the values of two structures. */
void option_swap(const struct option_def *o, void *a, void *b);

/* Add the value at base as the file would have it. Not for secrets. */
void option_add_value(
	const struct option_def *o, const void *base, struct text *out);

/* Add a number of the option's type as the file would have it. */
void option_add_number(
	const struct option_def *o, int64_t value, struct text *out);

/* The number that an option holds, for comparisons. */
int64_t option_number(const struct option_def *o, const void *base);

#endif
