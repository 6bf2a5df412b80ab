/* test_ctl_manual.c: the manual pages name what there is: every command,
 * every column of backfill.jobs, every function, event and SQLSTATE. */
#include <stdlib.h>

#include "base/text.h"
#include "ctl_drive.h"
#include "store/scripts.h"

static const char PAGE_CTL[] = "conf/man/backfillctl.1";
static const char PAGE_SQL[] = "conf/man/backfill.7";

static void read_page(struct text *page, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[1024];

	text_init(page);
	if (file == NULL) {
		fail_msg("%s cannot be read", path);
	}
	while (fgets(line, sizeof line, file) != NULL) {
		text_add(page, line);
	}
	(void)fclose(file);
}

static int count_of(const char *s, const char *part)
{
	int count = 0;

	while ((s = strstr(s, part)) != NULL) {
		s += strlen(part);
		count++;
	}
	return count;
}

/* Each row of the query is the beginning of a line of the page, once. */
static void assert_page_has(const char *path, const char *sql)
{
	PGresult *rows = PQexec(shop, sql);
	struct text page;

	assert_int_equal(PQresultStatus(rows), PGRES_TUPLES_OK);
	read_page(&page, path);
	assert_true(PQntuples(rows) > 0);
	for (int i = 0; i < PQntuples(rows); i++) {
		char line[256];

		(void)snprintf(
			line, sizeof line, "\n%s", PQgetvalue(rows, i, 0));
		if (count_of(page.data, line) != 1) {
			fail_msg("%s has this %d times: %s", path,
				count_of(page.data, line), line + 1);
		}
	}
	text_close(&page);
	PQclear(rows);
}

/* From "  pause JOB [REASON]" to ".It Cm pause": a command begins a line in
 * both, and no other line of the help does with two spaces and a letter. */
static void test_every_command(void **state)
{
	struct text page;
	char *line, *rest = output;
	int commands = 0;

	(void)state;
	assert_int_equal(shell("$BUILD/backfillctl --help"), 0);
	read_page(&page, PAGE_CTL);
	while ((line = strsep(&rest, "\n")) != NULL &&
		strcmp(line, "Connection options:") != 0) {
		char item[64], alone[64];

		if (strncmp(line, "  ", 2) != 0 || line[2] == ' ' ||
			strstr(line, "backfillctl") != NULL) {
			continue;
		}
		(void)snprintf(item, sizeof item, "\n.It Cm %.*s ",
			(int)strcspn(line + 2, " "), line + 2);
		(void)snprintf(alone, sizeof alone, "\n.It Cm %.*s\n",
			(int)strcspn(line + 2, " "), line + 2);
		if (count_of(page.data, item) + count_of(page.data, alone) !=
			1) {
			fail_msg("%s lacks %s", PAGE_CTL, item + 1);
		}
		commands++;
	}
	assert_int_equal(count_of(page.data, "\n.It Cm "), commands);
	text_close(&page);
}

/* With its type, and what a submitter may do with it. */
static void test_every_column_of_jobs(void **state)
{
	(void)state;
	assert_page_has(PAGE_SQL,
		"SELECT format('.It %s Ta %s Ta %s Ta ', attname,"
		" replace(format_type(atttypid, atttypmod),"
		" 'timestamp with time zone', 'timestamptz'),"
		" CASE WHEN has_column_privilege('backfill_submit',"
		" attrelid, attnum, 'UPDATE') THEN 'update'"
		" WHEN has_column_privilege('backfill_submit',"
		" attrelid, attnum, 'INSERT') THEN 'insert'"
		" ELSE '-' END)"
		" FROM pg_attribute"
		" WHERE attrelid = 'backfill.jobs'::regclass"
		" AND attnum > 0 AND NOT attisdropped");
}

#define FUNCTIONS                                                              \
	" FROM pg_proc WHERE pronamespace = 'backfill'::regnamespace"          \
	" AND proname IN ('pause', 'resume', 'cancel', 'retry', 'approve',"    \
	" 'ensure_succeeded', 'stop_all', 'start_all', 'window_opens',"        \
	" 'plan', 'plan_down', 'cancel_plan', 'dependents',"                   \
	" 'plan_add_column', 'plan_set_not_null', 'plan_drop_column',"         \
	" 'plan_rename_column', 'plan_add_check', 'plan_add_foreign_key',"     \
	" 'plan_create_index', 'plan_drop_index', 'plan_reindex',"             \
	" 'plan_ddl', 'plan_delete')"

static void test_every_function_and_relation(void **state)
{
	struct text page;

	(void)state;
	read_page(&page, PAGE_SQL);
	assert_int_equal(count_of(page.data, "\n.It Fn "),
		sql_int(shop, "SELECT count(DISTINCT proname)" FUNCTIONS));
	text_close(&page);
	assert_page_has(PAGE_SQL,
		"SELECT DISTINCT '.It Fn ' || proname ||"
		" CASE WHEN pronargs = 0 THEN E'\\n' ELSE ' \"' END" FUNCTIONS);
	assert_page_has(PAGE_SQL,
		"SELECT format(E'.It Li %s\\n', relname)"
		" FROM pg_class"
		" WHERE relnamespace = 'backfill'::regnamespace"
		" AND relkind IN ('r', 'v')");
}

static void test_every_event(void **state)
{
	(void)state;
	assert_page_has(PAGE_SQL,
		"SELECT format('.It %s Ta ', e) FROM pg_attribute a,"
		" regexp_split_to_table(regexp_replace("
		" col_description(attrelid, attnum),"
		" '(Of the system|Requests): |\\.$', '', 'g'),"
		" '[,.] *') AS e"
		" WHERE attrelid = 'backfill.events'::regclass"
		" AND attname = 'event'");
}

static void test_every_sqlstate(void **state)
{
	struct text page;
	int found = 0;

	(void)state;
	read_page(&page, PAGE_SQL);
	for (int number = 0; number < 1000; number++) {
		char sqlstate[8], item[32];
		int is_used = 0;

		(void)snprintf(sqlstate, sizeof sqlstate, "BF%03d", number);
		(void)snprintf(item, sizeof item, "\n.It %s Ta ", sqlstate);
		for (size_t i = 0; i < scripts_count; i++) {
			is_used |= strstr(scripts[i].up, sqlstate) != NULL;
		}
		if (count_of(page.data, item) != is_used) {
			fail_msg("%s: %s is%s used", PAGE_SQL, sqlstate,
				is_used ? "" : " not");
		}
		found += is_used;
	}
	assert_true(found > 10);
	text_close(&page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_command),
		TEST(test_every_column_of_jobs),
		TEST(test_every_function_and_relation),
		TEST(test_every_event),
		TEST(test_every_sqlstate),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
