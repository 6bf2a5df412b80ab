#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ctl/ctl_columns.h"
#include "ctl/ctl_commands.h"

enum { WIDTH = 30 };

/* "  -d, --dbname=DSN      its help" */
static void print_option(char letter, const char *name, const char *argument,
	int is_optional, const char *help)
{
	struct text t;

	text_init(&t);
	if (letter != 0) {
		text_addf(&t, "  -%c, --%s", letter, name);
	} else {
		text_addf(&t, "      --%s", name);
	}
	if (argument != NULL) {
		text_addf(&t, is_optional ? "[=%s]" : "=%s", argument);
	}
	if (t.length + 2 > WIDTH) {
		text_add(&t, "\n");
		printf("%s%*s%s\n", t.data, WIDTH, "", help);
	} else {
		printf("%-*s%s\n", WIDTH, t.data, help);
	}
	text_close(&t);
}

static void print_options(const struct ctl_command *command)
{
	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		int is_own =
			command != NULL && (command->options & o->flag) != 0;
		int is_common = command == NULL && o->flag == 0;

		if (is_own || is_common) {
			print_option(o->letter, o->name, o->argument,
				o->kind == OPTION_OPTIONAL, o->help);
		}
	}
}

static void print_columns(void)
{
	puts("\nColumns of the job:");
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		print_option(0, c->option, c->argument, 0, c->help);
	}
	puts("\nNames in the clauses mean what they mean in psql: the job keeps"
	     " this session's\nsearch_path, TimeZone and DateStyle.");
}

static void print_changeable(void)
{
	puts("\nColumns:");
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		if (c->may_change) {
			printf("  %-*s  %s\n", WIDTH - 8, c->name, c->help);
		}
	}
}

void ctl_help_all(void)
{
	puts("backfillctl steers backfilld, which changes big PostgreSQL"
	     " tables in small\nbatches.\n\n"
	     "Usage:\n"
	     "  backfillctl [OPTION]... [DSN] COMMAND [ARGUMENT]...\n\n"
	     "Commands (JOB is a job's id or name):");
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		if (c->help != NULL) {
			printf("  %s%s%s\n      %s\n", c->name,
				*c->arguments != '\0' ? " " : "", c->arguments,
				c->help);
		}
	}
	puts("\nOptions of every command; \"backfillctl help COMMAND\" tells a"
	     " command's own:");
	print_options(NULL);
	puts("\nExit codes: 0 fine, 1 usage or own error, 2 connection, 3 SQL"
	     " error or job\nfailed.");
}

void ctl_help_command(const struct ctl_command *command)
{
	int is_long = strlen(command->name) + strlen(command->arguments) > 52;
	const char *gap = is_long ? "\n      " : " ";

	printf("Usage:\n  backfillctl [OPTION]... %s%s%s\n\n      %s\n",
		command->name, *command->arguments != '\0' ? gap : "",
		command->arguments, command->help);
	if ((command->options & ~CTL_COLUMNS) != 0) {
		puts("\nOptions:");
		print_options(command);
	}
	if ((command->options & CTL_COLUMNS) != 0) {
		print_columns();
	}
	if (command->run == cmd_set) {
		print_changeable();
	}
	printf("\nExample:\n  backfillctl %s\n", command->example);
}
