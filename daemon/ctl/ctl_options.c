/* The command line. getopt_long() takes options before, between and after
 * the other words; which it knows, and what each does, is in ctl_commands.h
 * and ctl_columns.h. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "ctl/ctl_columns.h"
#include "ctl/ctl_commands.h"
#include "ctl/ctl_nearest.h"
#include "rules/units.h"

/* What getopt_long() returns: an option's or a column's number from here. */
enum { OPTION_VALUE = 256, COLUMN_VALUE_FROM = 1024, MOST_OPTIONS = 96 };

static const char try_help[] =
	"Try \"backfillctl --help\" for more information.";

static int refuse_usage(struct ctl *ctl, const char *what, const char *which)
{
	return ctl_error(ctl, CTL_FATAL, NULL, try_help, "%s%s%s%s", what,
		which != NULL ? " \"" : "", which != NULL ? which : "",
		which != NULL ? "\"" : "");
}

/* ---- names that are nearly right ---- */

static int refuse_name(struct ctl *ctl, const char *what, const char *wanted,
	const char *dashes, const char *nearest)
{
	char hint[128];

	if (nearest == NULL) {
		return refuse_usage(ctl, what, wanted);
	}
	(void)snprintf(hint, sizeof hint, "Perhaps you mean \"%s%s\".", dashes,
		nearest);
	return ctl_error(ctl, CTL_FATAL, NULL, hint, "%s \"%s\"", what, wanted);
}

int ctl_refuse_command(struct ctl *ctl, const char *name)
{
	struct ctl_nearest n;

	ctl_nearest_init(&n, name, strlen(name));
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		if (c->help != NULL) {
			ctl_nearest_try(&n, c->name);
		}
	}
	return refuse_name(ctl, "unknown command", name, "", n.name);
}

static int refuse_long_option(struct ctl *ctl, const char *word)
{
	struct ctl_nearest n;

	ctl_nearest_init(&n, word + 2, strcspn(word + 2, "="));
	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		ctl_nearest_try(&n, o->name);
	}
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		ctl_nearest_try(&n, c->option);
	}
	return refuse_name(ctl, "invalid option", word, "--", n.name);
}

/* ---- options ---- */

static int argument_of(const struct ctl_option *o)
{
	if (o->argument == NULL) {
		return no_argument;
	}
	return o->kind == OPTION_OPTIONAL ? optional_argument
					  : required_argument;
}

/* What getopt_long() is to know, after a colon: a missing argument is told
 * from an option that is not known. */
static void describe(struct option *options, char *letters)
{
	size_t count = 0;

	*letters++ = ':';
	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		options[count++] = (struct option){
			.name = o->name,
			.has_arg = argument_of(o),
			.val = OPTION_VALUE + (int)(o - ctl_options),
		};
		if (o->letter != 0) {
			*letters++ = o->letter;
		}
		if (o->letter != 0 && o->argument != NULL) {
			*letters++ = ':';
		}
	}
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		options[count++] = (struct option){
			.name = c->option,
			.has_arg = c->kind == COLUMN_FLAG ? optional_argument
							  : required_argument,
			.val = COLUMN_VALUE_FROM + (int)(c - ctl_columns),
		};
	}
	*letters = '\0';
	options[count] = (struct option){ 0 };
}

static const struct ctl_option *find_option(int value)
{
	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		if (value == o->letter ||
			value == OPTION_VALUE + (int)(o - ctl_options)) {
			return o;
		}
	}
	return NULL;
}

static void add_name(struct ctl_names *names, char *name)
{
	names->names = mem_resize(
		names->names, (names->count + 1) * sizeof names->names[0]);
	names->names[names->count++] = name;
}

static void give(struct ctl *ctl, const struct ctl_column *column)
{
	ctl->options |= CTL_COLUMNS;
	ctl->given = mem_resize(
		ctl->given, (ctl->given_count + 1) * sizeof ctl->given[0]);
	ctl->given[ctl->given_count++] = (struct ctl_given){
		.column = column,
		.value = optarg != NULL ? optarg : "true",
	};
}

static void take_option(struct ctl *ctl, const struct ctl_option *o)
{
	void *member = (char *)ctl + o->offset;

	ctl->options |= o->flag;
	switch (o->kind) {
	case OPTION_INT:
		*(int *)member = 1;
		break;
	case OPTION_TEXT:
	case OPTION_OPTIONAL:
		*(const char **)member = optarg;
		break;
	case OPTION_NAMES:
		add_name(member, optarg);
		break;
	default:
		break;
	}
}

/* getopt answers '?' to -? and to what it does not know. */
static int refuse_option(struct ctl *ctl, char **argv, int result)
{
	char letter[] = { '-', (char)optopt, '\0' };
	const char *option = argv[optind - 1];

	if (optopt > 0 && optopt < OPTION_VALUE) {
		option = letter;
	}
	if (result == ':') {
		return refuse_usage(
			ctl, "an argument is missing for option", option);
	}
	if (strncmp(option, "--", 2) == 0) {
		return refuse_long_option(ctl, option);
	}
	return refuse_usage(ctl, "invalid option", option);
}

/* Whether to go on; *kind: of the last option that ends the program. */
static int parse_options(
	struct ctl *ctl, int argc, char **argv, enum ctl_option_kind *kind)
{
	struct option options[MOST_OPTIONS];
	char letters[64];
	int value;

	describe(options, letters);
	opterr = 0;
	while ((value = getopt_long(argc, argv, letters, options, NULL)) !=
		-1) {
		const struct ctl_option *o = find_option(value);

		if (value >= COLUMN_VALUE_FROM) {
			give(ctl, &ctl_columns[value - COLUMN_VALUE_FROM]);
		} else if (value == ':' || o == NULL ||
			(value == '?' && strcmp(argv[optind - 1], "-?") != 0)) {
			return refuse_option(ctl, argv, value) == CTL_OK;
		} else if (o->kind == OPTION_HELP ||
			o->kind == OPTION_VERSION) {
			*kind = o->kind;
		} else {
			take_option(ctl, o);
		}
	}
	return 1;
}

/* ---- the words ---- */

/* As libpq tells a conninfo from a name (PostgreSQL docs, 34.1.1). */
static int is_dsn(const char *argument)
{
	return strchr(argument, '=') != NULL ||
		strncmp(argument, "postgres://", 11) == 0 ||
		strncmp(argument, "postgresql://", 13) == 0;
}

static int refuse_foreign_option(
	struct ctl *ctl, const struct ctl_command *command)
{
	int foreign = ctl->options & ~command->options;
	char what[96];

	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		if ((foreign & o->flag) != 0) {
			(void)snprintf(what, sizeof what,
				"--%s is not an option of", o->name);
			return refuse_usage(ctl, what, command->name);
		}
	}
	if ((foreign & CTL_COLUMNS) != 0) {
		(void)snprintf(what, sizeof what, "--%s is not an option of",
			ctl->given[0].column->option);
		return refuse_usage(ctl, what, command->name);
	}
	return CTL_OK;
}

static int check_count(
	struct ctl *ctl, const struct ctl_command *command, int count)
{
	static const char *const missing[] = {
		[FIRST_OTHER] = "an argument is missing after",
		[FIRST_JOB] = "a job's id or name is missing after",
		[FIRST_PLAN] = "a plan's name is missing after",
		[FIRST_COMMAND] = "a command is missing after",
	};

	if (count > command->most) {
		return refuse_usage(ctl, "too many arguments, the first is",
			ctl->arguments[command->most]);
	}
	if (count >= command->least) {
		return CTL_OK;
	}
	return refuse_usage(ctl,
		count == 0 ? missing[command->first] : missing[FIRST_OTHER],
		count == 0 ? command->name : ctl->arguments[count - 1]);
}

/* Before anything is done: it would be late to refuse it at the wait. */
static int parse_timeout(struct ctl *ctl)
{
	const char *hint = NULL;
	int64_t value = 0;

	ctl->timeout_ms = UINT64_MAX;
	if (ctl->timeout == NULL) {
		return CTL_OK;
	}
	if (units_parse_time_ms(ctl->timeout, &value, &hint) != 0) {
		return ctl_error(ctl, CTL_FATAL, NULL, hint,
			"invalid value for --timeout: \"%s\"", ctl->timeout);
	}
	ctl->timeout_ms = (uint64_t)value;
	return CTL_OK;
}

/* [DSN] COMMAND [ARGUMENT]...; wants_help: what is wrong does not matter. */
static const struct ctl_command *parse_words(
	struct ctl *ctl, char **words, int count, int wants_help)
{
	const struct ctl_command *c;
	int has_first;

	if (count > 0 && is_dsn(words[0])) {
		if (ctl->dsn != NULL) {
			(void)refuse_usage(ctl,
				"two databases are named: -d and", words[0]);
			return NULL;
		}
		ctl->dsn = words[0];
		words++;
		count--;
	}
	if (count == 0) {
		if (wants_help) {
			ctl_help_all();
		} else {
			(void)refuse_usage(ctl, "no command is given", NULL);
		}
		return NULL;
	}
	c = ctl_command_find(words[0]);
	if (c == NULL || (wants_help && c->help == NULL)) {
		(void)ctl_refuse_command(ctl, words[0]);
		return NULL;
	}
	if (wants_help) {
		ctl_help_command(c);
		return NULL;
	}
	ctl->arguments = words + 1;
	ctl->argument_count = count - 1;
	if (check_count(ctl, c, count - 1) != CTL_OK ||
		refuse_foreign_option(ctl, c) != CTL_OK) {
		return NULL;
	}
	if (parse_timeout(ctl) != CTL_OK) {
		return NULL;
	}
	has_first = c->first == FIRST_JOB || c->first == FIRST_PLAN;
	ctl->job = has_first ? words[1] : NULL;
	ctl->reason = count > 1 + has_first ? words[1 + has_first] : NULL;
	return c;
}

const struct ctl_command *ctl_parse(struct ctl *ctl, int argc, char **argv)
{
	enum ctl_option_kind kind = OPTION_FLAG;

	if (!parse_options(ctl, argc, argv, &kind)) {
		return NULL;
	}
	if (kind == OPTION_VERSION) {
		puts("backfillctl (backfilld) " BACKFILLD_VERSION);
		return NULL;
	}
	return parse_words(
		ctl, argv + optind, argc - optind, kind == OPTION_HELP);
}

void ctl_parse_close(struct ctl *ctl)
{
	free(ctl->runners.names);
	free(ctl->standbys.names);
	free(ctl->given);
}
