/* What the word that is being typed may become: for the shell, which calls
 *
 *   backfillctl complete -- INDEX backfillctl WORD...
 *
 * A candidate per line, whole. The words come without their quotes. Names of
 * jobs and plans are asked of the server that the words before it name; when
 * it does not answer there are none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_columns.h"
#include "ctl/ctl_commands.h"

#define SET_TIMEOUT "SET statement_timeout = '1s'"

/* $1: what it begins with, $2: states, or NULL. A name that has no place on a
 * line is left out. */
#define JOBS                                                                   \
	"SELECT p.name FROM backfill.progress p"                               \
	" WHERE starts_with(p.name, $1) AND p.name !~ '[[:cntrl:]]'"           \
	" AND ($2::text IS NULL"                                               \
	"  OR p.state = ANY (string_to_array($2, ' '))"                        \
	"  OR $2 = 'held' AND p.hold AND p.finished_at IS NULL)"               \
	" ORDER BY p.id DESC LIMIT 200"

#define PLANS                                                                  \
	"SELECT p.plan FROM backfill.progress p"                               \
	" WHERE starts_with(p.plan, $1) AND p.plan !~ '[[:cntrl:]]'"           \
	" AND $2::text IS NULL GROUP BY p.plan ORDER BY max(p.id) DESC"        \
	" LIMIT 200"

/* The words before the one that is completed. */
struct line {
	const struct ctl_command *command; /* NULL: none yet */
	int is_unknown;			   /* there is no such command */
	int arguments;			   /* after it */
	const struct ctl_option *option;   /* whose value is completed */
	const struct ctl_column *column;   /* the same */
};

/* ---- reading the words ---- */

static int needs_value(const struct ctl_option *o)
{
	return o->argument != NULL && o->kind != OPTION_OPTIONAL;
}

static const struct ctl_option *option_of(const char *word)
{
	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		size_t length = strlen(o->name);

		if (strncmp(word, "--", 2) == 0
				? strncmp(word + 2, o->name, length) == 0 &&
					strchr("=", word[2 + length]) != NULL
				: word[1] == o->letter && o->letter != 0) {
			return o;
		}
	}
	return NULL;
}

static const struct ctl_column *column_of(const char *option)
{
	size_t length = strcspn(option, "=");

	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		if (strlen(c->option) == length &&
			memcmp(c->option, option, length) == 0) {
			return c;
		}
	}
	return NULL;
}

/* The value within the word; NULL: it is the next word. */
static const char *value_in(const char *word)
{
	if (strncmp(word, "--", 2) == 0) {
		const char *equals = strchr(word, '=');

		return equals != NULL ? equals + 1 : NULL;
	}
	return word[2] != '\0' ? word + 2 : NULL;
}

/* Returns how many words it takes: 1, or 2. */
static int read_option(
	struct ctl *ctl, struct line *line, const char *word, const char *next)
{
	const struct ctl_option *o = option_of(word);
	const char *value = value_in(word);

	if (o == NULL) {
		line->column = strncmp(word, "--", 2) == 0 && value == NULL
			? column_of(word + 2)
			: NULL;
		if (line->column != NULL && line->column->kind == COLUMN_FLAG) {
			line->column = NULL;
		}
		return line->column != NULL ? 2 : 1;
	}
	if (!needs_value(o)) {
		return 1;
	}
	line->option = value == NULL ? o : NULL;
	if (o->flag == 0 && o->kind == OPTION_TEXT) {
		*(const char **)((char *)ctl + o->offset) =
			value != NULL ? value : next;
	}
	return value == NULL ? 2 : 1;
}

static void read_word(struct ctl *ctl, struct line *line, const char *word)
{
	if (line->command != NULL) {
		line->arguments++;
	} else if (strchr(word, '=') != NULL || strstr(word, "://") != NULL) {
		ctl->dsn = word;
	} else {
		line->command = ctl_command_find(word);
		line->is_unknown = line->command == NULL;
	}
}

static void read_words(
	struct ctl *ctl, struct line *line, char **words, int count)
{
	for (int i = 0; i < count;) {
		line->option = NULL;
		line->column = NULL;
		if (words[i][0] == '-' && words[i][1] != '\0') {
			i += read_option(ctl, line, words[i],
				i + 1 < count ? words[i + 1] : NULL);
			if (i <= count) {
				continue;
			}
			return;
		}
		read_word(ctl, line, words[i]);
		i++;
	}
	line->option = NULL;
	line->column = NULL;
}

/* ---- candidates ---- */

static void offer(const char *before, const char *candidate, const char *after,
	const char *word)
{
	char whole[256];

	(void)snprintf(whole, sizeof whole, "%s%s%s", before, candidate, after);
	if (strncmp(whole, word, strlen(word)) == 0) {
		puts(whole);
	}
}

static void offer_words(const char *before, const char *words, const char *word)
{
	char copy[512], *rest = copy, *one;

	(void)snprintf(copy, sizeof copy, "%s", words);
	while ((one = strsep(&rest, " ")) != NULL) {
		offer(before, one, "", word);
	}
}

/* Before them stands what is typed already, such as --depends-on=. */
static void offer_names(struct ctl *ctl, const char *sql, const char *before,
	const char *word, const char *states)
{
	const char *const values[] = { word + strlen(before), states };
	PGresult *names = NULL;

	ctl->never_prompt = 1;
	ctl->connect_timeout = "1";
	if (ctl_connect(ctl) == CTL_OK &&
		ctl_run(ctl, SET_TIMEOUT, NULL) == CTL_OK) {
		names = ctl_query(ctl, sql, 2, values);
	}
	for (int i = 0; i < PQntuples(names); i++) {
		printf("%s%s\n", before, PQgetvalue(names, i, 0));
	}
	PQclear(names);
}

static void offer_value(struct ctl *ctl, const struct ctl_column *column,
	const char *before, const char *word)
{
	if (column->words != NULL) {
		offer_words(before, column->words, word);
	} else if (column->kind == COLUMN_JOB || column->kind == COLUMN_JOBS) {
		offer_names(ctl, JOBS, before, word, NULL);
	} else if (strcmp(column->name, "plan") == 0) {
		offer_names(ctl, PLANS, before, word, NULL);
	}
}

static void offer_options(const struct line *line, const char *word)
{
	int options = line->command != NULL ? line->command->options : 0;

	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		if (o->flag == 0 || (o->flag & options) != 0) {
			offer("--", o->name, needs_value(o) ? "=" : "", word);
		}
	}
	for (const struct ctl_column *c = ctl_columns;
		c->name != NULL && (options & CTL_COLUMNS) != 0; c++) {
		offer("--", c->option, c->kind != COLUMN_FLAG ? "=" : "", word);
	}
}

/* --OPTION=…, or COLUMN=… of set. */
static void offer_assigned(
	struct ctl *ctl, const struct ctl_column *column, const char *word)
{
	char before[128];

	if (column != NULL) {
		(void)snprintf(before, sizeof before, "%.*s",
			(int)strcspn(word, "=") + 1, word);
		offer_value(ctl, column, before, word);
	}
}

static void offer_commands(const char *word)
{
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		if (c->help != NULL) {
			offer("", c->name, "", word);
		}
	}
}

static void offer_columns(struct ctl *ctl, const char *word)
{
	if (strchr(word, '=') != NULL) {
		offer_assigned(
			ctl, ctl_column_find(word, strcspn(word, "=")), word);
		return;
	}
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		if (c->may_change) {
			offer("", c->name, "=", word);
		}
	}
}

static void offer_argument(
	struct ctl *ctl, const struct line *line, const char *word)
{
	const struct ctl_command *c = line->command;
	int is_first = line->arguments == 0 || c->run == cmd_wait;

	if (c->run == cmd_set && line->arguments > 0) {
		offer_columns(ctl, word);
	} else if (!is_first || c->most == 0) {
		return;
	} else if (c->words != NULL) {
		offer_words("", c->words, word);
	} else if (c->first == FIRST_COMMAND) {
		offer_commands(word);
	} else if (c->first == FIRST_PLAN) {
		offer_names(ctl, PLANS, "", word, NULL);
	} else if (c->first == FIRST_JOB) {
		offer_names(ctl, JOBS, "", word, c->states);
	}
}

static void complete(struct ctl *ctl, const struct line *line, const char *word)
{
	if (line->column != NULL) {
		offer_value(ctl, line->column, "", word);
	} else if (line->option != NULL || line->is_unknown) {
		return;
	} else if (strncmp(word, "--", 2) == 0 && strchr(word, '=') != NULL) {
		offer_assigned(ctl, column_of(word + 2), word);
	} else if (word[0] == '-') {
		offer_options(line, word);
	} else if (line->command == NULL) {
		offer_commands(word);
	} else {
		offer_argument(ctl, line, word);
	}
}

int cmd_complete(struct ctl *ctl)
{
	struct line line = { .command = NULL };
	int count = ctl->argument_count - 2; /* after the program's name */
	int index;

	if (count < 0) {
		return CTL_FATAL;
	}
	index = atoi(ctl->arguments[0]);
	if (index < 1 || index > count + 1) {
		return CTL_FATAL;
	}
	read_words(ctl, &line, ctl->arguments + 2, index - 1);
	complete(ctl, &line, index > count ? "" : ctl->arguments[1 + index]);
	return CTL_OK;
}
