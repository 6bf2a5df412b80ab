#include "ctl/ctl_commands.h"

#include <string.h>

#define OPEN "queued running paused"

const struct ctl_command ctl_commands[] = {
	{ "help", "[COMMAND]", "this summary, or the help of one command",
		"help submit", cmd_help, 0, NEED_NOTHING, 0, 1, FIRST_COMMAND,
		NULL, NULL },
	{ "install", "[--print]",
		"install or upgrade the schema; --print writes its SQL",
		"-d shop install | psql -d shop", cmd_install, CTL_PRINT,
		NEED_CONNECTION, 0, 0, FIRST_OTHER, NULL, NULL },
	{ "uninstall", "[--force]",
		"remove the schema, running jobs notwithstanding with --force",
		"-d shop uninstall", cmd_uninstall, CTL_FORCE, NEED_CONNECTION,
		0, 0, FIRST_OTHER, NULL, NULL },
	{ "schema", "print|version",
		"the SQL of the schema; or the versions of this program's and"
		" of\n      the installed one",
		"schema print > backfill.sql", cmd_schema, 0, NEED_NOTHING, 1,
		1, FIRST_OTHER, "print version", NULL },
	{ "check",
		"[-c FILE] [--runner=ROLE]... [--control=ROLE]"
		" [--standby=NAME]...",
		"what works, and the SQL that mends the rest; of the databases"
		" of a\n      configuration also whether the daemon can"
		" connect",
		"check -c /etc/backfilld/backfilld.yaml", cmd_check,
		CTL_CONFIG | CTL_CONTROL | CTL_RUNNER | CTL_STANDBY | CTL_JSON,
		NEED_CONNECTION, 0, 0, FIRST_OTHER, NULL, NULL },
	{ "submit", "--target=TABLE [--COLUMN=VALUE]...",
		"submit a job; when a job of the name is there, it must be the"
		" same",
		"-d shop submit --name=users.phone --target=users \\\n"
		"      --set=\"phone = ''\" --where=\"phone IS NULL\"",
		cmd_submit, CTL_COLUMNS | CTL_WAIT | CTL_TIMEOUT | CTL_JSON,
		NEED_SCHEMA, 0, 0, FIRST_OTHER, NULL, NULL },
	{ "list", "[--all]",
		"jobs that are open or ended in the last 24 hours, or all",
		"-d shop list --json", cmd_list, CTL_ALL | CTL_JSON,
		NEED_SCHEMA, 0, 0, FIRST_OTHER, NULL, NULL },
	{ "show", "JOB", "everything about a job", "-d shop show users.phone",
		cmd_show, CTL_JSON, NEED_SCHEMA, 1, 1, FIRST_JOB, NULL, NULL },
	{ "status", "[--watch[=TIME] | --short | --json | --check] [JOB]",
		"progress of the open jobs, or of one; --watch draws it again"
		" every 2s;\n      --check is a monitoring plugin",
		"-d shop status --watch", cmd_status,
		CTL_WATCH | CTL_SHORT | CTL_JSON | CTL_PLUGIN, NEED_CONNECTION,
		0, 1, FIRST_JOB, NULL, NULL },
	{ "explain", "JOB | --target=TABLE [--COLUMN=VALUE]...",
		"what was found before its first batch; the report of a dry"
		" run.\n      Without a JOB: submit a dry run, wait, and print"
		" its report, for\n      which a daemon must be alive",
		"-d shop explain --target=users --set=\"phone = ''\" \\\n"
		"      --where=\"phone IS NULL\"",
		cmd_explain, CTL_COLUMNS | CTL_TIMEOUT | CTL_JSON, NEED_SCHEMA,
		0, 1, FIRST_JOB, NULL, NULL },
	{ "events", "[JOB] [--follow] [--since=TIME] [--limit=N]",
		"who did what and when, the newest last; new ones with"
		" --follow",
		"-d shop events --follow --since='1 hour'", cmd_events,
		CTL_FOLLOW | CTL_SINCE | CTL_LIMIT | CTL_JSON, NEED_SCHEMA, 0,
		1, FIRST_JOB, NULL, NULL },
	{ "errors", "JOB", "the rows that could not be changed, and why",
		"-d shop errors users.phone", cmd_errors, CTL_JSON, NEED_SCHEMA,
		1, 1, FIRST_JOB, NULL, NULL },
	{ "set", "JOB COLUMN=VALUE...",
		"change how an open job runs; nothing, or default, after the ="
		" makes\n      it the configuration's again",
		"-d shop set users.phone max_rows_per_second=500 \\\n"
		"      run_window=22:00-06:00",
		cmd_set, CTL_JSON, NEED_SCHEMA, 2, 1000, FIRST_JOB, NULL,
		OPEN " failed" },
	{ "approve", "JOB", "let a job begin that was submitted with hold",
		"-d shop approve users.phone", cmd_approve, 0, NEED_SCHEMA, 1,
		1, FIRST_JOB, NULL, "held" },
	{ "pause", "JOB [REASON]", "begin no further batch",
		"-d shop pause users.phone 'month end'", cmd_pause, 0,
		NEED_SCHEMA, 1, 2, FIRST_JOB, NULL, "queued running" },
	{ "resume", "JOB", "go on from the checkpoint",
		"-d shop resume users.phone", cmd_resume, 0, NEED_SCHEMA, 1, 1,
		FIRST_JOB, NULL, "paused" },
	{ "cancel", "JOB [REASON]", "end the job; what was changed stays",
		"-d shop cancel users.phone", cmd_cancel, 0, NEED_SCHEMA, 1, 2,
		FIRST_JOB, NULL, OPEN },
	{ "retry", "JOB", "go on with a failed job, the rows that failed first",
		"-d shop retry users.phone", cmd_retry, 0, NEED_SCHEMA, 1, 1,
		FIRST_JOB, NULL, "failed" },
	{ "wait", "JOB... [--timeout=TIME]",
		"wait until the jobs end; TIME such as 30s or 5min",
		"-d shop wait users.phone --timeout=1h", cmd_wait, CTL_TIMEOUT,
		NEED_SCHEMA, 1, 1000, FIRST_JOB, NULL, NULL },
	{ "plan", "JOB|PLAN", "the jobs that belong together, in their order",
		"-d shop plan customers_phone", cmd_plan, CTL_JSON, NEED_SCHEMA,
		1, 1, FIRST_PLAN, NULL, NULL },
	{ "plan-down", "PLAN",
		"take a plan back: cancel what is open, undo what was done",
		"-d shop plan-down customers_phone", cmd_plan_down, CTL_JSON,
		NEED_SCHEMA, 1, 1, FIRST_PLAN, NULL, NULL },
	{ "cancel-plan", "PLAN [REASON]",
		"cancel the open jobs of a plan; what was done stays",
		"-d shop cancel-plan customers_phone", cmd_cancel_plan,
		CTL_JSON, NEED_SCHEMA, 1, 2, FIRST_PLAN, NULL, NULL },
	{ "stop-all", "[REASON]", "begin no batch of any job",
		"-d shop stop-all 'incident 4711'", cmd_stop_all, 0,
		NEED_SCHEMA, 0, 1, FIRST_OTHER, NULL, NULL },
	{ "start-all", "", "end stop-all", "-d shop start-all", cmd_start_all,
		0, NEED_SCHEMA, 0, 0, FIRST_OTHER, NULL, NULL },
	/* For the shell: what the word may become. */
	{ "complete", "", NULL, NULL, cmd_complete, 0, NEED_NOTHING, 0, 1000,
		FIRST_OTHER, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL, 0, NEED_NOTHING, 0, 0, FIRST_OTHER,
		NULL, NULL },
};

#define MEMBER(name) offsetof(struct ctl, name)

const struct ctl_option ctl_options[] = {
	{ "host", 'h', "HOST", "server's host or socket directory", 0,
		OPTION_TEXT, MEMBER(host) },
	{ "port", 'p', "PORT", "server's port", 0, OPTION_TEXT, MEMBER(port) },
	{ "username", 'U', "NAME", "user to connect as", 0, OPTION_TEXT,
		MEMBER(user) },
	{ "dbname", 'd', "DSN", "database's name, conninfo string or URI", 0,
		OPTION_TEXT, MEMBER(dsn) },
	{ "no-password", 'w', NULL, "never ask for a password", 0, OPTION_INT,
		MEMBER(never_prompt) },
	{ "version", 'V', NULL, "print the version, then exit", 0,
		OPTION_VERSION, 0 },
	{ "help", '?', NULL, "print this help, or a command's, then exit", 0,
		OPTION_HELP, 0 },

	{ "print", 0, NULL, "write the SQL and do not connect", CTL_PRINT,
		OPTION_FLAG, 0 },
	{ "force", 0, NULL, "although jobs are running", CTL_FORCE, OPTION_FLAG,
		0 },
	{ "all", 0, NULL, "those that ended long ago, too", CTL_ALL,
		OPTION_FLAG, 0 },
	{ "config", 'c', "FILE", "configuration of the daemon", CTL_CONFIG,
		OPTION_TEXT, MEMBER(config) },
	{ "control", 0, "ROLE", "the control login, by default backfilld",
		CTL_CONTROL, OPTION_TEXT, MEMBER(control) },
	{ "runner", 0, "ROLE", "a login that jobs run as; may be repeated",
		CTL_RUNNER, OPTION_NAMES, MEMBER(runners) },
	{ "standby", 0, "NAME", "a standby to expect; may be repeated",
		CTL_STANDBY, OPTION_NAMES, MEMBER(standbys) },
	{ "follow", 0, NULL, "go on with new ones as they are committed",
		CTL_FOLLOW, OPTION_FLAG, 0 },
	{ "since", 0, "TIME",
		"not older than TIME: 2026-11-24 18:00 or '2 hours'", CTL_SINCE,
		OPTION_TEXT, MEMBER(since) },
	{ "limit", 0, "N", "the last N; by default 50, with --since all",
		CTL_LIMIT, OPTION_TEXT, MEMBER(limit) },
	{ "wait", 0, NULL, "wait until the job ends; its exit code, as wait",
		CTL_WAIT, OPTION_FLAG, 0 },
	{ "timeout", 0, "TIME", "wait no longer: 30s, 5min", CTL_TIMEOUT,
		OPTION_TEXT, MEMBER(timeout) },
	{ "watch", 0, "TIME", "draw it again every TIME, by default 2s",
		CTL_WATCH, OPTION_OPTIONAL, MEMBER(watch) },
	{ "short", 0, NULL, "a line per job", CTL_SHORT, OPTION_FLAG, 0 },
	{ "check", 0, NULL, "as a monitoring plugin, with its exit codes",
		CTL_PLUGIN, OPTION_FLAG, 0 },
	{ "json", 0, NULL, "print JSON", CTL_JSON, OPTION_FLAG, 0 },
	{ NULL, 0, NULL, NULL, 0, OPTION_FLAG, 0 },
};

const struct ctl_command *ctl_command_find(const char *name)
{
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		if (strcmp(c->name, name) == 0) {
			return c;
		}
	}
	return NULL;
}
