/* runbook_text.h: the SQL of "When you are paged", as README.md and
 * backfilld(8) have it, by heading and number. For test_runbook.c only. */
#ifndef BACKFILL_TESTS_RUNBOOK_TEXT_H
#define BACKFILL_TESTS_RUNBOOK_TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmocka_all.h"

enum { BLOCKS = 32 };

struct block {
	char heading[80]; /* "" before the first one */
	char *sql;
	int was_run;
};

struct runbook {
	struct block blocks[BLOCKS];
	int count;
	struct text prose; /* all of the section, with line ends as spaces */
};

static inline void replace_all(char *s, const char *from, char to)
{
	char *found;

	while ((found = strstr(s, from)) != NULL) {
		*found = to;
		memmove(found + 1, found + strlen(from),
			strlen(found + strlen(from)) + 1);
	}
}

/* What mdoc needs for a quote and a minus that can be copied. */
static inline void unescape(char *line)
{
	replace_all(line, "\\(aq", '\'');
	replace_all(line, "\\(dq", '"');
	replace_all(line, "\\-", '-');
}

static inline int begins(const char *line, const char *with)
{
	return strncmp(line, with, strlen(with)) == 0;
}

static inline void add_prose(struct runbook *b, const char *line)
{
	text_addf(&b->prose, "%.*s ", (int)strcspn(line, "\n"), line);
}

/* The section from the line begin to a line that begins with end. Headings
 * begin with the mark, SQL stands between the lines open and close. */
static inline void runbook_read(struct runbook *b, const char *path,
	const char *begin, const char *end, const char *mark, const char *open,
	const char *close)
{
	FILE *file = fopen(path, "r");
	struct text sql;
	char line[1024];
	char heading[80] = "";
	int is_within = 0, is_sql = 0;

	assert_non_null(file);
	memset(b, 0, sizeof *b);
	text_init(&b->prose);
	while (fgets(line, sizeof line, file) != NULL) {
		unescape(line);
		if (!is_within) {
			is_within = begins(line, begin);
		} else if (is_sql && begins(line, close)) {
			assert_true(b->count < BLOCKS);
			memcpy(b->blocks[b->count].heading, heading,
				sizeof heading);
			b->blocks[b->count++].sql = text_take(&sql);
			is_sql = 0;
		} else if (is_sql) {
			text_add(&sql, line);
		} else if (begins(line, open)) {
			text_init(&sql);
			is_sql = 1;
		} else if (begins(line, end)) {
			break;
		} else if (begins(line, mark)) {
			line[strcspn(line, "\n")] = '\0';
			(void)snprintf(heading, sizeof heading, "%s",
				line + strlen(mark));
		} else {
			add_prose(b, line);
		}
	}
	assert_false(is_sql);
	(void)fclose(file);
}

static inline void runbook_close(struct runbook *b)
{
	for (int i = 0; i < b->count; i++) {
		free(b->blocks[i].sql);
	}
	text_close(&b->prose);
}

/* The number-th block under a heading, counted from 1. */
static inline const char *runbook_sql(
	struct runbook *b, const char *heading, int number)
{
	for (int i = 0; i < b->count; i++) {
		struct block *k = &b->blocks[i];

		if (strcmp(k->heading, heading) == 0 && --number == 0) {
			k->was_run = 1;
			return k->sql;
		}
	}
	fail_msg("no such SQL under \"%s\"", heading);
	return NULL;
}

#endif
