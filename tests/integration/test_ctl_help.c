/* test_ctl_help.c: the help of each command, and what hints tell. */
#include <stdlib.h>

#include "ctl/ctl_columns.h"
#include "ctl/ctl_commands.h"
#include "ctl_drive.h"

static void assert_fits(const char *command)
{
	const char *s = output;

	while (*s != '\0') {
		size_t length = strcspn(s, "\n");

		if (length > 80) {
			fail_msg("the help of %s has a line of %zu: %.*s",
				command, length, (int)length, s);
		}
		s += length + (s[length] != '\0');
	}
}

static void test_help_of_every_command(void **state)
{
	char command[128], option[64];
	int commands = 0;

	(void)state;
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		if (c->help == NULL) {
			continue;
		}
		(void)snprintf(command, sizeof command,
			"$BUILD/backfillctl help %s", c->name);
		assert_int_equal(shell(command), 0);
		assert_fits(c->name);
		assert_has(c->help);
		assert_has("\nExample:\n  backfillctl ");
		for (const struct ctl_option *o = ctl_options; o->name != NULL;
			o++) {
			(void)snprintf(option, sizeof option, "--%s", o->name);
			if ((o->flag & c->options) != 0) {
				assert_has(option);
			}
		}
		commands++;
	}
	assert_true(commands > 20);
	assert_int_equal(shell("$BUILD/backfillctl --help"), 0);
	assert_fits("all");
}

static void test_three_ways_to_ask(void **state)
{
	char *first;

	(void)state;
	assert_int_equal(shell("$BUILD/backfillctl help submit"), 0);
	first = strdup(output);
	assert_non_null(first);
	assert_int_equal(shell("$BUILD/backfillctl submit --help"), 0);
	assert_output(first);
	assert_int_equal(shell("$BUILD/backfillctl -? submit"), 0);
	assert_output(first);
	free(first);
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		char option[64];

		(void)snprintf(
			option, sizeof option, "\n      --%s", c->option);
		assert_has(option);
	}
}

static void test_hints(void **state)
{
	static const struct {
		const char *arguments, *wanted;
	} cases[] = {
		{ "submti",
			"unknown command \"submti\"\n"
			"HINT:  Perhaps you mean \"submit\".\n" },
		{ "help lits",
			"unknown command \"lits\"\n"
			"HINT:  Perhaps you mean \"list\".\n" },
		{ "complete --help",
			"unknown command \"complete\"\n"
			"HINT:  Try " },
		{ "list --jsno",
			"invalid option \"--jsno\"\n"
			"HINT:  Perhaps you mean \"--json\".\n" },
		{ "list --set=1", "--set is not an option of \"list\"\n" },
		{ "list --all=1", "invalid option \"--all=1\"\n" },
		{ "submit --target",
			"an argument is missing for option"
			" \"--target\"\n" },
		{ "plan", "a plan's name is missing after \"plan\"\n" },
		{ "schema", "an argument is missing after \"schema\"\n" },
		{ "schema diff",
			"invalid argument \"diff\" of \"schema\"\n"
			"HINT:  Available words: print, version.\n" },
		{ "explain",
			"a job's id or name is missing after"
			" \"explain\"\nHINT:  Name a job, or" },
		{ "explain 1 --set=1", "a job and clauses are both given\n" },
	};
	char command[128];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		(void)snprintf(command, sizeof command, "$BUILD/backfillctl %s",
			cases[i].arguments);
		assert_int_equal(shell(command), 1);
		assert_has(cases[i].wanted);
		assert_has("HINT:  ");
	}
}

static void test_schema(void **state)
{
	char wanted[256];

	(void)state;
	assert_int_equal(shell("a=$($BUILD/backfillctl schema print | cksum) &&"
			       " b=$($BUILD/backfillctl install --print |"
			       " cksum) && echo \"$a $b\" | awk '{print ($1 =="
			       " $3), ($2 > 100000)}'"),
		0);
	assert_output("1 1\n");
	(void)snprintf(wanted, sizeof wanted,
		"database \"shop\" has schema version %s, since ",
		sql_text(shop,
			"SELECT max(version) FROM backfill.schema_version"));
	assert_int_equal(CTL("-U", "mon", "schema", "version"), 0);
	assert_has(wanted);
	assert_has("\nthis program brings schema version ");
	assert_lacks("upgrades");
	sql_exec(shop,
		"DELETE FROM backfill.schema_version WHERE version ="
		" (SELECT max(version) FROM backfill.schema_version)");
	assert_int_equal(CTL("schema", "version"), 0);
	assert_has(": backfillctl install upgrades it\n");
	assert_int_equal(shell("PGDATABASE=postgres $BUILD/backfillctl schema"
			       " version"),
		1);
	assert_has("backfill is not installed in database \"postgres\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_help_of_every_command),
		TEST(test_three_ways_to_ask),
		TEST(test_hints),
		TEST(test_schema),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
