/* ctl_commands.h: the one table of commands and the one of options. What is
 * parsed, printed as help, completed by the shell and compared with the
 * manual follows from them, and from ctl_columns.h. */
#ifndef BACKFILL_CTL_CTL_COMMANDS_H
#define BACKFILL_CTL_CTL_COMMANDS_H

#include <stddef.h>

#include "ctl/ctl.h"

/* What a command needs before it runs. */
enum ctl_need { NEED_NOTHING, NEED_CONNECTION, NEED_SCHEMA };

/* What its first argument is. */
enum ctl_first { FIRST_OTHER, FIRST_JOB, FIRST_PLAN, FIRST_COMMAND };

struct ctl_command {
	const char *name;
	const char *arguments; /* as help prints them; "": none */
	const char *help;      /* lower case, lines of up to 72 columns */
	const char *example;   /* what follows "backfillctl " */
	int (*run)(struct ctl *ctl);
	int options; /* that it takes, CTL_… */
	enum ctl_need need;
	int least, most; /* arguments */
	enum ctl_first first;
	const char *words;  /* that it may be; NULL: others */
	const char *states; /* of the jobs to complete; NULL: all */
};

enum ctl_option_kind {
	OPTION_FLAG,	 /* sets its flag */
	OPTION_INT,	 /* sets an int of struct ctl */
	OPTION_TEXT,	 /* sets a const char * of struct ctl */
	OPTION_OPTIONAL, /* the same, and NULL without a value */
	OPTION_NAMES,	 /* adds to a struct ctl_names of struct ctl */
	OPTION_HELP,
	OPTION_VERSION
};

struct ctl_option {
	const char *name;
	char letter;	      /* 0: none */
	const char *argument; /* what help calls its value; NULL: has none */
	const char *help;
	int flag; /* CTL_…; 0: an option of every command */
	enum ctl_option_kind kind;
	size_t offset; /* in struct ctl */
};

/* After the last comes one whose name is NULL. Commands without a help are
 * not for people. */
extern const struct ctl_command ctl_commands[];
extern const struct ctl_option ctl_options[];

const struct ctl_command *ctl_command_find(const char *name);

/* Read the command line into ctl. Returns the command, or NULL: refused, and
 * told, or done already; the exit code is ctl->code. */
const struct ctl_command *ctl_parse(struct ctl *ctl, int argc, char **argv);

/* Free what the parser made. */
void ctl_parse_close(struct ctl *ctl);

/* Print the summary of all, or the help of one command. */
void ctl_help_all(void);
void ctl_help_command(const struct ctl_command *command);

/* Refuse a command that is not known, with the nearest one. Returns
 * CTL_FATAL. */
int ctl_refuse_command(struct ctl *ctl, const char *name);

#endif
