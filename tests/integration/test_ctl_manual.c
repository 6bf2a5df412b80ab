/* test_ctl_manual.c: the manual pages name what there is: every command,
 * every column of backfill.jobs and of the views, every function, event and
 * SQLSTATE. Options, exit codes and the configuration are compared without a
 * server, in tests/static/test_manuals.sh. */
#include <stdlib.h>

#include "base/text.h"
#include "ctl/ctl_commands.h"
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

/* The part of a page from a heading, such as ".Sh TABLES", to the next one
 * of its kind or above; the whole page when it is NULL. */
static void read_section(
	struct text *section, const char *path, const char *heading)
{
	struct text page;
	char line[128];
	const char *begin, *end, *part;

	if (heading == NULL) {
		read_page(section, path);
		return;
	}
	read_page(&page, path);
	(void)snprintf(line, sizeof line, "\n%s\n", heading);
	begin = strstr(page.data, line);
	if (begin == NULL) {
		fail_msg("%s has no %s", path, heading);
		return;
	}
	begin += strlen(line) - 1;
	end = strstr(begin, "\n.Sh ");
	part = strstr(begin, "\n.Ss ");
	if (end == NULL) {
		end = begin + strlen(begin);
	}
	if (strncmp(heading, ".Ss ", 4) == 0 && part != NULL && part < end) {
		end = part;
	}
	text_init(section);
	text_add_bytes(section, begin, (size_t)(end - begin));
	text_add(section, "\n");
	text_close(&page);
}

/* Each row of the query is the beginning of a line of the section, once. */
static void assert_section_has(
	const char *path, const char *heading, const char *sql)
{
	PGresult *rows = PQexec(shop, sql);
	struct text section;

	assert_int_equal(PQresultStatus(rows), PGRES_TUPLES_OK);
	read_section(&section, path, heading);
	assert_true(PQntuples(rows) > 0);
	for (int i = 0; i < PQntuples(rows); i++) {
		char line[512];

		(void)snprintf(
			line, sizeof line, "\n%s", PQgetvalue(rows, i, 0));
		if (count_of(section.data, line) != 1) {
			fail_msg("%s, %s has this %d times: %s", path,
				heading != NULL ? heading : "all",
				count_of(section.data, line), line + 1);
		}
	}
	text_close(&section);
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
		strncmp(line, "Options", 7) != 0) {
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

static void test_every_option(void **state)
{
	struct text page;

	(void)state;
	read_page(&page, PAGE_CTL);
	for (const struct ctl_option *o = ctl_options; o->name != NULL; o++) {
		char flag[64];

		(void)snprintf(flag, sizeof flag, "Fl -%s", o->name);
		if (count_of(page.data, flag) == 0) {
			fail_msg("%s lacks --%s", PAGE_CTL, o->name);
		}
	}
	text_close(&page);
}

/* With its type, and what a submitter may do with it. */
static void test_every_column_of_jobs(void **state)
{
	(void)state;
	assert_section_has(PAGE_SQL, ".Ss Columns",
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

/* Each column of a view, with its type and in the words of its comment. Where
 * those begin with what could be a macro of mdoc, \& stands before them. */
static void assert_view(const char *heading, const char *view)
{
	char sql[1024], count[256];
	struct text section;

	(void)snprintf(sql, sizeof sql,
		"SELECT format(E'.It %%s Ta %%s Ta %%s%%s\n', attname,"
		" replace(format_type(atttypid, atttypmod),"
		" 'timestamp with time zone', 'timestamptz'),"
		" CASE WHEN told ~ '^[A-Z][a-z] ' THEN '\\&' END, told)"
		" FROM pg_attribute,"
		" col_description(attrelid, attnum) AS told"
		" WHERE attrelid = 'backfill.%s'::regclass AND attnum > 0",
		view);
	assert_section_has(PAGE_SQL, heading, sql);
	(void)snprintf(count, sizeof count,
		"SELECT relnatts FROM pg_class"
		" WHERE oid = 'backfill.%s'::regclass",
		view);
	read_section(&section, PAGE_SQL, heading);
	assert_int_equal(
		count_of(section.data, "\n.It "), sql_int(shop, "%s", count));
	text_close(&section);
}

static void test_every_column_of_the_views(void **state)
{
	(void)state;
	assert_view(".Ss Progress", "progress");
	assert_view(".Ss Signals", "signals");
	assert_view(".Ss Locks", "locks");
	assert_view(".Ss Metrics", "metrics");
}

static int has_word(const char *text, const char *word)
{
	static const char letters[] = "_abcdefghijklmnopqrstuvwxyz";
	size_t length = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
		if (at[-1] == ' ' &&
			(at[length] == '\0' ||
				strchr(letters, at[length]) == NULL)) {
			return 1;
		}
	}
	return 0;
}

/* Each key of the objects that the screens are made from. */
static void test_every_key_of_status(void **state)
{
	struct text section;
	PGresult *rows;

	(void)state;
	submit("first");
	sql_exec(shop,
		"SELECT backfill.register('db1', 4711, '1', '10min');"
		"SELECT backfill.stop_all('why')");
	rows = PQexec(shop,
		"SELECT k FROM (SELECT backfill.status() AS s,"
		" backfill.job_status('first') AS j) o,"
		" LATERAL (SELECT jsonb_object_keys(s)"
		"  UNION SELECT jsonb_object_keys(s->'counts')"
		"  UNION SELECT jsonb_object_keys(s->'stop')"
		"  UNION SELECT jsonb_object_keys(s->'daemons'->0)"
		"  UNION SELECT jsonb_object_keys(s->'events'->0)"
		"  UNION SELECT jsonb_object_keys(j)"
		"  UNION SELECT jsonb_object_keys(s->'jobs'->0)) v(k)"
		" WHERE k NOT IN (SELECT attname FROM pg_attribute"
		"  WHERE attrelid = 'backfill.progress'::regclass)"
		" AND k NOT IN (SELECT attname || '_seconds'"
		"  FROM pg_attribute"
		"  WHERE attrelid = 'backfill.progress'::regclass"
		"  AND atttypid = 'interval'::regtype)"
		" AND NOT k = ANY"
		"  ('{running,queued,paused,succeeded,failed,cancelled}')");
	assert_int_equal(PQresultStatus(rows), PGRES_TUPLES_OK);
	assert_true(PQntuples(rows) > 30);
	read_section(&section, PAGE_SQL, ".Sh STATUS");
	for (int i = 0; i < PQntuples(rows); i++) {
		if (!has_word(section.data, PQgetvalue(rows, i, 0))) {
			fail_msg("STATUS lacks %s", PQgetvalue(rows, i, 0));
		}
	}
	text_close(&section);
	PQclear(rows);
}

#define FUNCTIONS                                                              \
	" FROM pg_proc WHERE pronamespace = 'backfill'::regnamespace"          \
	" AND proname IN ('pause', 'resume', 'cancel', 'retry', 'approve',"    \
	" 'ensure_succeeded', 'stop_all', 'start_all', 'window_opens',"        \
	" 'status', 'job_status',"                                             \
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
	assert_section_has(PAGE_SQL, NULL,
		"SELECT DISTINCT '.It Fn ' || proname ||"
		" CASE WHEN pronargs = 0 THEN E'\\n' ELSE ' \"' END" FUNCTIONS);
	assert_section_has(PAGE_SQL, ".Sh TABLES AND VIEWS",
		"SELECT format(E'.It Li %s\\n', relname)"
		" FROM pg_class"
		" WHERE relnamespace = 'backfill'::regnamespace"
		" AND relkind IN ('r', 'v')");
}

/* Whatever a text of ours or an example calls is no secret. */
static void test_every_function_that_is_named(void **state)
{
	struct text page;
	char *name, *rest = output;
	int found = 0;

	(void)state;
	assert_int_equal(shell("grep -ohE 'backfill\\.[a-z_]+\\(' README.md"
			       " conf/examples/* conf/man/* |"
			       " grep -oE '[a-z_]+\\(' | tr -d '(' | sort -u"),
		0);
	read_page(&page, PAGE_SQL);
	while ((name = strsep(&rest, "\n")) != NULL) {
		char item[80], alone[80];

		if (name[0] == '\0') {
			continue;
		}
		(void)snprintf(item, sizeof item, "\n.It Fn %s ", name);
		(void)snprintf(alone, sizeof alone, "\n.It Fn %s\n", name);
		if (count_of(page.data, item) + count_of(page.data, alone) !=
			1) {
			fail_msg("%s lacks %s", PAGE_SQL, name);
		}
		found++;
	}
	assert_true(found > 15);
	text_close(&page);
}

static void test_every_event(void **state)
{
	(void)state;
	assert_section_has(PAGE_SQL, ".Ss Events",
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
		TEST(test_every_option),
		TEST(test_every_column_of_jobs),
		TEST(test_every_column_of_the_views),
		TEST(test_every_key_of_status),
		TEST(test_every_function_and_relation),
		TEST(test_every_function_that_is_named),
		TEST(test_every_event),
		TEST(test_every_sqlstate),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
