/* test_ctl_completion.c: conf/completions/backfillctl in a real bash, with
 * the words as the shell splits them, and as readline asks for them. */
#include <unistd.h>

#include "ctl_drive.h"

#define BASH_COMPLETION "/usr/share/bash-completion/bash_completion"

/* The shell splits words at = and :, too (COMP_WORDBREAKS). */
static const char prologue[] =
	"source " BASH_COMPLETION ";\n"
	"source conf/completions/backfillctl;\n"
	"export PATH=$BUILD:$PATH\n"
	"try() {\n"
	"	COMP_WORDS=(\"$@\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
	"	COMP_LINE=$line; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9\n"
	"	_backfillctl backfillctl \"${COMP_WORDS[COMP_CWORD]}\" ''\n"
	"	printf '%s\\n' \"${COMPREPLY[@]}\"\n"
	"}\n";

static void complete(const char *line, const char *words)
{
	char script[4096], path[256];
	FILE *file;
	char command[512];

	(void)snprintf(script, sizeof script, "%sline=%s\ntry %s\n", prologue,
		line, words);
	(void)snprintf(
		path, sizeof path, "%s/complete.sh", cluster_dir(cluster));
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(script, file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(command, sizeof command,
		"exec bash --norc --noprofile %s", path);
	assert_int_equal(shell(command), 0);
	(void)unlink(path);
}

static void need_bash_completion(void)
{
	if (access(BASH_COMPLETION, R_OK) != 0) {
		print_message("the package bash-completion is not installed\n");
		skip();
	}
}

static void test_commands_and_options(void **state)
{
	(void)state;
	need_bash_completion();
	complete("'backfillctl s'", "backfillctl s");
	assert_output("schema\nsubmit\nshow\nstatus\nset\nstop-all\n"
		      "start-all\n");
	complete("'backfillctl -d shop li'", "backfillctl -d shop li");
	assert_output("list\n");
	complete("'backfillctl list --'", "backfillctl list --");
	assert_has("--host=\n--port=\n");
	assert_has("\n--all\n--json\n");
	assert_lacks("--force");
	assert_lacks("--set");
	complete("'backfillctl submit --max-r'", "backfillctl submit --max-r");
	assert_output("--max-rows-per-second=\n--max-replication-lag=\n"
		      "--max-row-errors=\n");
	complete("'backfillctl submit --ho'", "backfillctl submit --ho");
	assert_output("--host=\n--hold\n");
	complete("'backfillctl help wa'", "backfillctl help wa");
	assert_output("wait\n");
	complete("'backfillctl schema '", "backfillctl schema ''");
	assert_output("print\nversion\n");
	complete("'backfillctl stop-all '", "backfillctl stop-all ''");
	assert_output("\n");
}

static void test_values(void **state)
{
	(void)state;
	need_bash_completion();
	complete("'backfillctl submit --kind=add_c'",
		"backfillctl submit --kind = add_c");
	assert_output("add_column\nadd_check\n");
	complete("'backfillctl submit --kind='", "backfillctl submit --kind =");
	assert_has("update\ndelete\n");
	complete("'backfillctl submit --on-row-error re'",
		"backfillctl submit --on-row-error re");
	assert_output("record\n");
	complete("'backfillctl set 1 max_r'", "backfillctl set 1 max_r");
	assert_output("max_rows_per_second=\nmax_replication_lag=\n");
	complete("'backfillctl set 1 priority=5 synchronous_commit=re'",
		"backfillctl set 1 priority = 5 synchronous_commit = re");
	assert_output("remote_write\nremote_apply\n");
}

static void test_names_of_jobs(void **state)
{
	(void)state;
	need_bash_completion();
	submit("users.phone");
	submit("users.a b");
	submit("it''s $HOME");
	submit("a:b");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause, plan)"
		" VALUES (E'users.\\n', 'users', 'a = ''x''', 'the plan')");
	complete("'backfillctl -d shop show users.'",
		"backfillctl -d shop show users.");
	assert_output("users.a\\ b\nusers.phone\n");
	complete("\"backfillctl show 'users.a\"",
		"backfillctl show \"'users.a\"");
	assert_output("users.a b\n");
	complete("'backfillctl dbname=shop pause it'",
		"backfillctl dbname = shop pause it");
	assert_output("it\\'s\\ \\$HOME\n");
	complete("'backfillctl wait a:'", "backfillctl wait a :");
	assert_output("b\n");
	complete("'backfillctl wait users.phone users.a\\\\ '",
		"backfillctl wait users.phone 'users.a\\ '");
	assert_output("users.a\\ b\n");
	complete("'backfillctl plan th'", "backfillctl plan th");
	assert_output("the\\ plan\n");
	complete("'backfillctl submit --depends-on=users.p'",
		"backfillctl submit --depends-on = users.p");
	assert_output("users.phone\n");

	/* Only those that the command can do something with. */
	sql_exec(
		shop, "UPDATE backfill.jobs SET state = 'paused' WHERE id = 1");
	complete("'backfillctl resume '", "backfillctl resume ''");
	assert_output("users.phone\n");
	complete("'backfillctl pause users.'", "backfillctl pause users.");
	assert_output("users.a\\ b\n");
	complete("'backfillctl approve '", "backfillctl approve ''");
	assert_output("\n");
}

/* No server, no schema, no right: nothing, and no word. */
static void test_what_cannot_be_asked(void **state)
{
	(void)state;
	need_bash_completion();
	submit("users.phone");
	complete("'backfillctl -h /nowhere show '",
		"backfillctl -h /nowhere show ''");
	assert_output("\n");
	complete("'backfillctl -d postgres show '",
		"backfillctl -d postgres show ''");
	assert_output("\n");
	complete("'backfillctl -U low show '", "backfillctl -U low show ''");
	assert_output("\n");
	complete("'backfillctl -U mon show '", "backfillctl -U mon show ''");
	assert_output("users.phone\n");
	complete("'backfillctl frobnicate '", "backfillctl frobnicate ''");
	assert_output("\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_commands_and_options),
		TEST(test_values),
		TEST(test_names_of_jobs),
		TEST(test_what_cannot_be_asked),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
