/* backfillctl: the person's tool. It shows views and calls functions of the
 * schema: whatever it does, psql can do. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/ctl.h"

struct command {
	const char *name;
	const char *arguments;
	const char *help;
	int (*run)(struct ctl *ctl);
	int options;	  /* that it takes */
	int needs_schema; /* and not only a connection */
	int least, most;  /* arguments */
	int has_job;	  /* the first of them is a job */
};

static const struct command commands[] = {
	{ "install", "[--print]",
		"install or upgrade the schema; --print writes its SQL",
		cmd_install, CTL_PRINT, 0, 0, 0, 0 },
	{ "uninstall", "[--force]",
		"remove the schema, running jobs notwithstanding with --force",
		cmd_uninstall, CTL_FORCE, 0, 0, 0, 0 },
	{ "check",
		"[-c FILE] [--runner=ROLE]... [--control=ROLE]"
		" [--standby=NAME]...",
		"what works, and the SQL that mends the rest; of the databases"
		" of a\n      configuration also whether the daemon can"
		" connect",
		cmd_check, CTL_CONFIG | CTL_CONTROL | CTL_RUNNER | CTL_STANDBY,
		0, 0, 0, 0 },
	{ "list", "[--all]",
		"jobs that are open or ended in the last 24 hours, or all",
		cmd_list, CTL_ALL, 1, 0, 0, 0 },
	{ "show", "JOB", "everything about a job", cmd_show, 0, 1, 1, 1, 1 },
	{ "status", "[--watch[=TIME] | --short | --json | --check] [JOB]",
		"progress of the open jobs, or of one; --watch draws it again"
		" every 2s;\n      --check is a monitoring plugin",
		cmd_status, CTL_WATCH | CTL_SHORT | CTL_JSON | CTL_PLUGIN, 0, 0,
		1, 1 },
	{ "explain", "JOB",
		"what was found before its first batch; the report of a dry"
		" run",
		cmd_explain, 0, 1, 1, 1, 1 },
	{ "errors", "JOB", "the rows that could not be changed, and why",
		cmd_errors, 0, 1, 1, 1, 1 },
	{ "approve", "JOB", "let a job begin that was submitted with hold",
		cmd_approve, 0, 1, 1, 1, 1 },
	{ "pause", "JOB [REASON]", "begin no further batch", cmd_pause, 0, 1, 1,
		2, 1 },
	{ "resume", "JOB", "go on from the checkpoint", cmd_resume, 0, 1, 1, 1,
		1 },
	{ "cancel", "JOB [REASON]", "end the job; what was changed stays",
		cmd_cancel, 0, 1, 1, 2, 1 },
	{ "retry", "JOB", "go on with a failed job, the rows that failed first",
		cmd_retry, 0, 1, 1, 1, 1 },
	{ "wait", "JOB [--timeout=TIME]",
		"wait until the job ends; TIME such as 30s or 5min", cmd_wait,
		CTL_TIMEOUT, 1, 1, 1, 1 },
	{ "plan", "JOB|PLAN", "the jobs that belong together, in their order",
		cmd_plan, 0, 1, 1, 1, 1 },
	{ "plan-down", "PLAN",
		"take a plan back: cancel what is open, undo what was done",
		cmd_plan_down, 0, 1, 1, 1, 1 },
	{ "cancel-plan", "PLAN [REASON]",
		"cancel the open jobs of a plan; what was done stays",
		cmd_cancel_plan, 0, 1, 1, 2, 1 },
	{ "stop-all", "[REASON]", "begin no batch of any job", cmd_stop_all, 0,
		1, 0, 1, 0 },
	{ "start-all", "", "end stop-all", cmd_start_all, 0, 1, 0, 0, 0 },
	{ NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0 },
};

enum {
	OPTION_PRINT = 256,
	OPTION_FORCE,
	OPTION_ALL,
	OPTION_TIMEOUT,
	OPTION_CONTROL,
	OPTION_RUNNER,
	OPTION_STANDBY,
	OPTION_WATCH,
	OPTION_SHORT,
	OPTION_JSON,
	OPTION_CHECK
};

static const struct option options[] = {
	{ "host", required_argument, NULL, 'h' },
	{ "port", required_argument, NULL, 'p' },
	{ "username", required_argument, NULL, 'U' },
	{ "dbname", required_argument, NULL, 'd' },
	{ "no-password", no_argument, NULL, 'w' },
	{ "help", no_argument, NULL, '?' },
	{ "version", no_argument, NULL, 'V' },
	{ "print", no_argument, NULL, OPTION_PRINT },
	{ "force", no_argument, NULL, OPTION_FORCE },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "config", required_argument, NULL, 'c' },
	{ "control", required_argument, NULL, OPTION_CONTROL },
	{ "runner", required_argument, NULL, OPTION_RUNNER },
	{ "standby", required_argument, NULL, OPTION_STANDBY },
	{ "watch", optional_argument, NULL, OPTION_WATCH },
	{ "short", no_argument, NULL, OPTION_SHORT },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "check", no_argument, NULL, OPTION_CHECK },
	{ NULL, 0, NULL, 0 },
};

static int print_help(void)
{
	puts("backfillctl steers backfilld, which changes big PostgreSQL"
	     " tables in small\nbatches.\n\n"
	     "Usage:\n"
	     "  backfillctl [OPTION]... [DSN] COMMAND [ARGUMENT]...\n\n"
	     "Commands (JOB is a job's id or name):");
	for (const struct command *c = commands; c->name != NULL; c++) {
		printf("  %s%s%s\n      %s\n", c->name,
			*c->arguments != '\0' ? " " : "", c->arguments,
			c->help);
	}
	puts("\nConnection options:\n"
	     "  -h, --host=HOST       server's host or socket directory\n"
	     "  -p, --port=PORT       server's port\n"
	     "  -U, --username=NAME   user to connect as\n"
	     "  -d, --dbname=DSN      database's name, conninfo string or"
	     " URI\n"
	     "  -w, --no-password     never ask for a password\n\n"
	     "Other options:\n"
	     "  -V, --version         print the version, then exit\n"
	     "  -?, --help            print this help, then exit\n\n"
	     "Exit codes: 0 fine, 1 usage or own error, 2 connection, 3 SQL"
	     " error or job\nfailed.");
	return CTL_OK;
}

static int refuse_usage(struct ctl *ctl, const char *what, const char *which)
{
	return ctl_error(ctl, CTL_FATAL, NULL,
		"Try \"backfillctl --help\" for more information.", "%s%s%s%s",
		what, which != NULL ? " \"" : "", which != NULL ? which : "",
		which != NULL ? "\"" : "");
}

/* As libpq tells a conninfo from a name (PostgreSQL docs, 34.1.1). */
static int is_dsn(const char *argument)
{
	return strchr(argument, '=') != NULL ||
		strncmp(argument, "postgres://", 11) == 0 ||
		strncmp(argument, "postgresql://", 13) == 0;
}

static const struct command *find_command(const char *name)
{
	for (const struct command *c = commands; c->name != NULL; c++) {
		if (strcmp(c->name, name) == 0) {
			return c;
		}
	}
	return NULL;
}

/* getopt answers '?' to -? and to what it does not know. */
static int refuse_option(struct ctl *ctl, char **argv, int result)
{
	char letter[] = { '-', (char)optopt, '\0' };
	const char *option = argv[optind - 1];

	if (optopt > 0 && optopt < 256) {
		option = letter;
	}
	return refuse_usage(ctl,
		result == ':' ? "an argument is missing for option"
			      : "invalid option",
		option);
}

static void add_name(struct ctl_names *names, char *name)
{
	names->names = mem_resize(
		names->names, (names->count + 1) * sizeof names->names[0]);
	names->names[names->count++] = name;
}

static int take_option(struct ctl *ctl, int option)
{
	switch (option) {
	case 'h':
		ctl->host = optarg;
		return 1;
	case 'p':
		ctl->port = optarg;
		return 1;
	case 'U':
		ctl->user = optarg;
		return 1;
	case 'd':
		ctl->dsn = optarg;
		return 1;
	case 'w':
		ctl->never_prompt = 1;
		return 1;
	case OPTION_PRINT:
		ctl->options |= CTL_PRINT;
		return 1;
	case OPTION_FORCE:
		ctl->options |= CTL_FORCE;
		return 1;
	case OPTION_ALL:
		ctl->options |= CTL_ALL;
		return 1;
	case OPTION_TIMEOUT:
		ctl->options |= CTL_TIMEOUT;
		ctl->timeout = optarg;
		return 1;
	case 'c':
		ctl->options |= CTL_CONFIG;
		ctl->config = optarg;
		return 1;
	case OPTION_CONTROL:
		ctl->options |= CTL_CONTROL;
		ctl->control = optarg;
		return 1;
	case OPTION_RUNNER:
		ctl->options |= CTL_RUNNER;
		add_name(&ctl->runners, optarg);
		return 1;
	case OPTION_STANDBY:
		ctl->options |= CTL_STANDBY;
		add_name(&ctl->standbys, optarg);
		return 1;
	case OPTION_WATCH:
		ctl->options |= CTL_WATCH;
		ctl->watch = optarg;
		return 1;
	case OPTION_SHORT:
		ctl->options |= CTL_SHORT;
		return 1;
	case OPTION_JSON:
		ctl->options |= CTL_JSON;
		return 1;
	case OPTION_CHECK:
		ctl->options |= CTL_PLUGIN;
		return 1;
	default:
		return 0;
	}
}

/* Options of single commands, and how another one refuses them. */
static const struct {
	int option;
	const char *message;
} own[] = {
	{ CTL_PRINT, "--print is not an option of" },
	{ CTL_FORCE, "--force is not an option of" },
	{ CTL_ALL, "--all is not an option of" },
	{ CTL_TIMEOUT, "--timeout is not an option of" },
	{ CTL_CONFIG, "--config is not an option of" },
	{ CTL_CONTROL, "--control is not an option of" },
	{ CTL_RUNNER, "--runner is not an option of" },
	{ CTL_STANDBY, "--standby is not an option of" },
	{ CTL_WATCH, "--watch is not an option of" },
	{ CTL_SHORT, "--short is not an option of" },
	{ CTL_JSON, "--json is not an option of" },
	{ CTL_PLUGIN, "--check is not an option of" },
};

static int is_help(const char *argument)
{
	return strcmp(argument, "-?") == 0 || strcmp(argument, "--help") == 0;
}

/* The options; -1 to go on, else the exit code. */
static int parse_options(struct ctl *ctl, int argc, char **argv)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(
			argc, argv, ":h:p:U:d:c:wV?", options, NULL)) != -1) {
		if (take_option(ctl, option)) {
			continue;
		}
		if (option == 'V') {
			puts("backfillctl (backfilld) " BACKFILLD_VERSION);
			return CTL_OK;
		}
		if (option == '?' && is_help(argv[optind - 1])) {
			return print_help();
		}
		return refuse_option(ctl, argv, option);
	}
	return -1;
}

/* What is left: [DSN] COMMAND [ARGUMENT]... Returns NULL when refused. */
static const struct command *parse_command(
	struct ctl *ctl, char **words, int count)
{
	const struct command *c;

	if (count > 0 && is_dsn(words[0])) {
		if (ctl->dsn != NULL) {
			(void)refuse_usage(ctl,
				"two databases are named: -d"
				" and",
				words[0]);
			return NULL;
		}
		ctl->dsn = words[0];
		words++;
		count--;
	}
	if (count == 0) {
		(void)refuse_usage(ctl, "no command is given", NULL);
		return NULL;
	}
	c = find_command(words[0]);
	if (c == NULL) {
		(void)refuse_usage(ctl, "unknown command", words[0]);
		return NULL;
	}
	if (count - 1 < c->least) {
		(void)refuse_usage(
			ctl, "a job's id or name is missing after", c->name);
		return NULL;
	}
	if (count - 1 > c->most) {
		(void)refuse_usage(ctl, "too many arguments, the first is",
			words[c->most + 1]);
		return NULL;
	}
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
		if ((ctl->options & ~c->options & own[i].option) != 0) {
			(void)refuse_usage(ctl, own[i].message, c->name);
			return NULL;
		}
	}
	ctl->job = c->has_job && count > 1 ? words[1] : NULL;
	ctl->reason = count > 1 + c->has_job ? words[1 + c->has_job] : NULL;
	return c;
}

static int run_command(struct ctl *ctl, const struct command *command)
{
	if ((ctl->options & (CTL_PRINT | CTL_CONFIG | CTL_PLUGIN)) == 0 &&
		ctl_connect(ctl) != CTL_OK) {
		return ctl->code;
	}
	if (command->needs_schema && ctl_need_schema(ctl) != CTL_OK) {
		return ctl->code;
	}
	return command->run(ctl);
}

int main(int argc, char **argv)
{
	struct ctl ctl;
	const struct command *command;
	int code;

	memset(&ctl, 0, sizeof ctl);
	code = parse_options(&ctl, argc, argv);
	if (code < 0) {
		command = parse_command(&ctl, argv + optind, argc - optind);
		code = command != NULL ? run_command(&ctl, command) : ctl.code;
	}
	PQfinish(ctl.conn);
	free(ctl.runners.names);
	free(ctl.standbys.names);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		return ctl_error(&ctl, CTL_FATAL, NULL, NULL,
			"could not write to standard output: %m");
	}
	return code;
}
