/* test_ctl_submit.c: backfillctl submit: every column, the same job again,
 * another one of the same name, two at once. */
#include "ctl/ctl_columns.h"
#include "ctl_drive.h"

#define PHONE                                                                  \
	"submit", "--name=phone", "--target=users", "--set=a = 'x'",           \
		"--where=a IS NULL"

/* ---- the table of columns is the catalog's */

/* Those that the catalog grants to submitters. */
static void assert_names(const char *privilege, const char *names)
{
	const char *ours = sql_text(shop,
		"SELECT string_agg(n, ' ' ORDER BY n COLLATE \"C\")"
		" FROM unnest(string_to_array('%s', ',')) n",
		names);

	assert_string_equal(ours,
		sql_text(shop,
			"SELECT string_agg(attname, ' ' ORDER BY attname)"
			" FROM pg_attribute WHERE attrelid ="
			" 'backfill.jobs'::regclass AND attnum > 0 AND NOT"
			" attisdropped AND has_column_privilege("
			"'backfill_submit', attrelid, attnum, '%s')",
			privilege));
}

static void test_every_column_may_be_given(void **state)
{
	char inserted[2048] = "", changed[2048] = "";

	(void)state;
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		strcat(strcat(inserted, inserted[0] != '\0' ? "," : ""),
			c->name);
		if (c->may_change) {
			strcat(strcat(changed, changed[0] != '\0' ? "," : ""),
				c->name);
		}
	}
	assert_names("INSERT", inserted);
	assert_names("UPDATE", changed);
}

static void test_words_are_the_server_s(void **state)
{
	const struct ctl_column *kind = ctl_column_find("kind", 4);
	char words[512], hint[512] = "Available values: ", *rest = words, *one;
	struct sql_failure failure;

	(void)state;
	(void)snprintf(words, sizeof words, "%s", kind->words);
	while ((one = strsep(&rest, " ")) != NULL) {
		strcat(strcat(hint, one), rest != NULL ? ", " : ".");
	}
	sql_fails(shop, &failure, "SELECT backfill.check_kind('none')");
	assert_string_equal(failure.hint, hint);
}

static void test_submit_with_every_option(void **state)
{
	(void)state;
	submit("first, with a comma");
	assert_int_equal(
		shell("$BUILD/backfillctl -U app submit --name=phone"
		      " --target=users --set=\"a = 'x'\" --where='a IS NULL'"
		      " --from='(SELECT 1) s' --key-columns=id --run-as=app"
		      " --hold --depends-on='first, with a comma'"
		      " --depends-on=1 --dry-run=false"
		      " --run-after='2027-01-01 00:00:00+00'"
		      " --run-window='22:00-06:00 Europe/Berlin' --priority=-7"
		      " --batch-rows=10 --max-batch-rows=20"
		      " --target-batch-time=100ms --lock-timeout=200ms"
		      " --statement-timeout=9s --synchronous-commit=off"
		      " --pause-after-rows=5000 --max-rows-per-second=77"
		      " --max-replication-lag=3s --on-row-error=record"
		      " --max-row-errors=4 --on-residue=fail --plan=p"),
		0);
	assert_output("backfillctl: warning: no daemon is alive: the job waits"
		      " for one\n"
		      "job 2 (phone) is submitted: update of public.users as"
		      " app\n"
		      "it is held: backfillctl approve 2 lets it begin\n");
	assert_string_equal(
		sql_text(shop,
			"SELECT concat_ws('|', name, kind, target, set_clause,"
			" from_clause, where_clause, key_columns, run_as, hold,"
			" depends_on, dry_run, run_after = '2027-01-01"
			" 00:00:00+00', run_window, priority, batch_rows,"
			" max_batch_rows, target_batch_time, lock_timeout,"
			" statement_timeout, synchronous_commit,"
			" pause_after_rows, max_rows_per_second,"
			" max_replication_lag, on_row_error, max_row_errors,"
			" on_residue, plan) FROM backfill.jobs WHERE id = 2"),
		"phone|update|public.users|a = 'x'|(SELECT 1) s|a IS NULL|{id}"
		"|app|t|{1,1}|f|t|22:00-06:00 Europe/Berlin|-7|10|20|"
		"00:00:00.1|00:00:00.2|00:00:09|off|5000|77|00:00:03|record|4"
		"|fail|p");
}

static void test_submit_a_step(void **state)
{
	(void)state;
	assert_int_equal(CTL("-U", "app", "submit", "--kind=add_column",
				 "--target=users", "--object-name=b",
				 "--definition=text"),
		0);
	assert_has("job 1 (add_column public.users 1) is submitted: add_column"
		   " of public.users as app\n");
	assert_int_equal(CTL("-U", "app", "submit", "--kind=ddl",
				 "--target=users", "--definition=SELECT 1",
				 "--undo=SELECT 2", "--undoes=1"),
		0);
	assert_string_equal(sql_text(shop,
				    "SELECT concat_ws('|', definition, undo,"
				    " undoes) FROM backfill.jobs WHERE id = 2"),
		"SELECT 1|SELECT 2|1");
	assert_int_equal(
		CTL("-U", "app", "submit", "--kind=delete", "--target=users",
			"--where=true", "--archive-table=users_old"),
		0);
	assert_string_equal(
		sql_text(shop,
			"SELECT archive_table FROM backfill.jobs WHERE id = 3"),
		"users_old");
}

/* No job stays of a command line that is wrong. */
static void test_a_wrong_timeout(void **state)
{
	(void)state;
	assert_int_equal(
		CTL("-U", "app", "submit", "--target=users", "--set=a = 'x'",
			"--where=a IS NULL", "--timeout=5x"),
		1);
	assert_has("error: invalid value for --timeout: \"5x\"\n");
	assert_int_equal(
		CTL("-U", "app", "explain", "--target=users", "--set=a = 'x'",
			"--where=a IS NULL", "--timeout=5x"),
		1);
	assert_has("error: invalid value for --timeout: \"5x\"\n");
	assert_true(sql_true(shop, "SELECT count(*) = 0 FROM backfill.jobs"));
}

/* The clauses mean what they mean to the submitter, not to backfillctl. */
static void test_the_submitter_s_own_session(void **state)
{
	(void)state;
	sql_exec(shop,
		"CREATE SCHEMA IF NOT EXISTS other AUTHORIZATION app;"
		"ALTER ROLE app SET search_path = other, public;"
		"ALTER ROLE app SET datestyle = 'German';"
		"ALTER ROLE app SET timezone = 'Asia/Tokyo'");
	assert_int_equal(
		CTL("-U", "app", PHONE, "--run-after=01.02.2027 00:00"), 0);
	sql_exec(shop, "ALTER ROLE app RESET ALL");
	assert_string_equal(
		sql_text(shop,
			"SELECT concat_ws('|', target, search_path, timezone,"
			" datestyle, run_after AT TIME ZONE 'UTC')"
			" FROM backfill.jobs"),
		"public.users|other, public, pg_temp|Asia/Tokyo|German, DMY|"
		"2027-01-31 15:00:00");
}

/* ---- again */

static void test_the_same_again(void **state)
{
	(void)state;
	assert_int_equal(
		CTL("-U", "app", PHONE, "--hold", "--max-rows-per-second=9"),
		0);
	assert_int_equal(
		CTL("-U", "app", PHONE, "--hold", "--max-rows-per-second=9"),
		0);
	assert_output("job 1 (phone) is there already, and is queued\n");
	assert_int_equal(
		CTL("-U", "app", PHONE, "--hold", "--target=public.users"), 0);
	/* approve() makes no other job of it. */
	assert_int_equal(CTL("-U", "app", "approve", "phone"), 0);
	assert_int_equal(CTL("-U", "app", PHONE, "--hold"), 0);
	sql_exec(shop, "UPDATE backfill.jobs SET state = 'succeeded'");
	assert_int_equal(CTL("-U", "app", PHONE, "--hold", "--kind=update"), 0);
	assert_output("job 1 (phone) is there already, and is succeeded\n");
	assert_int_equal(
		sql_int(shop, "SELECT count(*) FROM backfill.jobs"), 1);
	assert_int_equal(sql_int(shop,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE event = 'submitted'"),
		1);
}

static void test_another_of_the_name(void **state)
{
	(void)state;
	assert_int_equal(CTL("-U", "app", PHONE, "--priority=3"), 0);
	assert_int_equal(
		CTL("-U", "app", "submit", "--name=phone", "--target=users",
			"--set=a = 'y'", "--hold", "--depends-on=phone"),
		3);
	assert_output("backfillctl: error: 23505: job 1 (phone) is there"
		      " already, and is another one\n"
		      "DETAIL:  set_clause is 'a = ''x''', not 'a = ''y'''.\n"
		      "        where_clause is 'a IS NULL', not NULL.\n"
		      "        depends_on is NULL, not '[1]'.\n"
		      "        hold is 'false', not 'true'.\n"
		      "HINT:  Submit the other job under another name.\n");
	/* A setting that is not given may have been set since. */
	assert_int_equal(CTL("-U", "app", PHONE), 0);
	assert_int_equal(
		CTL("-U", "app", PHONE, "--priority=4", "--lock-timeout=200ms"),
		3);
	assert_output("backfillctl: error: 23505: job 1 (phone) is there"
		      " already, and is another one\n"
		      "DETAIL:  priority is '3', not '4'.\n"
		      "        lock_timeout is NULL, not '00:00:00.2'.\n"
		      "HINT:  backfillctl set 1 priority=4"
		      " lock_timeout=00:00:00.2 changes it.\n");
	/* For a shell. */
	assert_int_equal(
		CTL("-U", "app", PHONE, "--run-window=22:00-06:00 UTC"), 3);
	assert_output("backfillctl: error: 23505: job 1 (phone) is there"
		      " already, and is another one\n"
		      "DETAIL:  run_window is NULL, not '22:00-06:00 UTC'.\n"
		      "HINT:  backfillctl set 1 run_window='22:00-06:00 UTC'"
		      " changes it.\n");
	assert_int_equal(CTL("-U", "steward", PHONE), 3);
	assert_output("backfillctl: error: 23505: a job of the name \"phone\""
		      " is there already\n"
		      "DETAIL:  Its run_as is a role that you may not become.\n"
		      "HINT:  Choose another name.\n");
	assert_int_equal(
		sql_int(shop, "SELECT count(*) FROM backfill.jobs"), 1);
}

/* A table that was not there at INSERT is not qualified, and one that is gone
 * is not the second time. */
static void test_table_comes_and_goes(void **state)
{
	(void)state;
	assert_int_equal(
		CTL("-U", "app", "submit", "--name=late", "--target=later",
			"--set=a = 'x'", "--where=a IS NULL", "--hold"),
		0);
	sql_exec(shop, "CREATE TABLE later (id int PRIMARY KEY, a text)");
	assert_int_equal(
		CTL("-U", "app", "submit", "--name=late", "--target=later",
			"--set=a = 'x'", "--where=a IS NULL", "--hold"),
		0);
	assert_int_equal(
		CTL("-U", "app", "submit", "--name=gone", "--target=later",
			"--set=a = 'x'", "--where=a IS NULL", "--hold"),
		0);
	sql_exec(shop, "DROP TABLE later");
	assert_int_equal(
		CTL("-U", "app", "submit", "--name=gone", "--target=later",
			"--set=a = 'x'", "--where=a IS NULL", "--hold"),
		0);
	assert_int_equal(CTL("-U", "app", "submit", "--name=gone",
				 "--target=other.later", "--set=a = 'x'",
				 "--where=a IS NULL", "--hold"),
		3);
	assert_int_equal(
		sql_int(shop, "SELECT count(*) FROM backfill.jobs"), 2);
}

/* The second waits for the first, and then sees it, or takes its place. */
static void two_at_once(const char *set, int commits)
{
	PGconn *first = cluster_connect(cluster, "shop", "app");
	char *const argv[] = { (char *)"/bin/sh", (char *)"-c", output, NULL };
	const char *const env[] = { "PGHOST", cluster_dir(cluster), "PGPORT",
		cluster_port(cluster), "PGUSER", "app", "PGDATABASE", "shop",
		NULL };
	struct child child = { .argv = argv, .env = env, .output = -1 };
	pid_t pid;
	int code = -1;

	sql_exec(first,
		"BEGIN; INSERT INTO backfill.jobs (name, target,"
		" set_clause, where_clause) VALUES ('phone', 'users',"
		" 'a = ''x''', 'a IS NULL')");
	(void)snprintf(output, sizeof output,
		"exec %s/backfillctl submit --name=phone --target=users"
		" --set=\"%s\" --where='a IS NULL'",
		pgdata_build_dir(), set);
	pid = child_start(&child);
	sql_wait(shop, WAIT_SECONDS,
		"SELECT count(*) > 0 FROM pg_stat_activity"
		" WHERE application_name = 'backfillctl'"
		" AND wait_event_type = 'Lock'");
	sql_exec(first, commits ? "COMMIT" : "ROLLBACK");
	PQfinish(first);
	assert_true(child_wait(pid, wait_deadline(WAIT_SECONDS), &code));
	assert_int_equal(code, commits && strchr(set, 'y') != NULL ? 3 : 0);
}

static void test_two_at_once(void **state)
{
	(void)state;
	two_at_once("a = 'x'", 1);
	assert_int_equal(sql_int(shop,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE set_clause ~ 'x'"),
		1);
	(void)empty_queue(NULL);
	two_at_once("a = 'y'", 1);
	assert_int_equal(sql_int(shop,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE set_clause ~ 'x'"),
		1);
	(void)empty_queue(NULL);
	two_at_once("a = 'y'", 0);
	assert_int_equal(sql_int(shop,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE set_clause ~ 'y'"),
		1);
}

/* ---- what is refused */

static void test_what_is_refused(void **state)
{
	(void)state;
	assert_int_equal(CTL("submit"), 1);
	assert_output("backfillctl: error: a job needs a target\n"
		      "HINT:  \"backfillctl help submit\" tells its"
		      " options.\n");
	assert_int_equal(CTL("-U", "app", "submit", "--target=users"), 3);
	assert_output("backfillctl: error: 22023: a job of kind \"update\""
		      " needs a set_clause\n"
		      "HINT:  Write what follows SET, such as $$ phone = ''"
		      " $$.\n");
	assert_int_equal(
		CTL("-U", "app", PHONE, "--depends-on=no such job"), 3);
	assert_has("BF002: job \"no such job\" does not exist\n");
	assert_int_equal(CTL("-U", "app", PHONE, "--batch-rows=many"), 3);
	assert_has("22P02: invalid input syntax for type integer: \"many\"\n");
	assert_int_equal(CTL("-U", "mon", PHONE), 3);
	assert_has("42501: permission denied for table jobs\nHINT:  ");
	assert_int_equal(CTL(PHONE, "--bathc-rows=5"), 1);
	assert_output("backfillctl: error: invalid option"
		      " \"--bathc-rows=5\"\n"
		      "HINT:  Perhaps you mean \"--batch-rows\".\n");
	assert_int_equal(
		sql_int(shop, "SELECT count(*) FROM backfill.jobs"), 0);
}

/* ---- JSON, and waiting */

static void test_json_and_wait(void **state)
{
	(void)state;
	assert_int_equal(CTL("-U", "app", PHONE, "--json"), 0);
	assert_int_equal(PQstatus(shop), CONNECTION_OK);
	{
		const char *const values[] = { output };
		PGresult *result = PQexecParams(shop,
			"SELECT $1::jsonb #>> '{job,name}', $1::jsonb #>>"
			" '{job,id}'",
			1, NULL, values, NULL, NULL, 0);

		assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
		assert_string_equal(PQgetvalue(result, 0, 0), "phone");
		assert_string_equal(PQgetvalue(result, 0, 1), "1");
		PQclear(result);
	}
	sql_exec(shop,
		"UPDATE backfill.jobs SET state = 'failed', reason = 'bad',"
		" finished_at = now(), error_sqlstate = '22012',"
		" error_message = 'division by zero'");
	assert_int_equal(CTL("-U", "app", PHONE, "--wait"), 3);
	assert_output("job 1 (phone) is there already, and is failed\n"
		      "backfillctl: error: 22012: job 1 failed: division by"
		      " zero\n");
	sql_exec(shop, "UPDATE backfill.jobs SET state = 'succeeded'");
	assert_int_equal(CTL("-U", "app", PHONE, "--wait"), 0);
	assert_has("\njob 1 succeeded\n");
}

/* One that failed does not keep the others from being waited for. */
static void test_wait_for_several(void **state)
{
	(void)state;
	submit("one");
	submit("two");
	sql_exec(shop,
		"UPDATE backfill.jobs SET finished_at = now(), state = CASE id"
		" WHEN 1 THEN 'cancelled' ELSE 'succeeded' END");
	assert_int_equal(CTL("wait", "one", "two"), 3);
	assert_has("job 1 was cancelled\n");
	assert_has("job 2 succeeded\n");
	assert_int_equal(CTL("wait", "two", "three"), 3);
	assert_lacks("succeeded");
	submit("four");
	assert_int_equal(CTL("wait", "two", "four", "--timeout=0"), 1);
	assert_has("job 2 succeeded\n");
	assert_has("job 3 is still queued after 0\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_column_may_be_given),
		TEST(test_words_are_the_server_s),
		TEST(test_submit_with_every_option),
		TEST(test_submit_a_step),
		TEST(test_a_wrong_timeout),
		TEST(test_the_submitter_s_own_session),
		TEST(test_the_same_again),
		TEST(test_another_of_the_name),
		TEST(test_table_comes_and_goes),
		TEST(test_two_at_once),
		TEST(test_what_is_refused),
		TEST(test_json_and_wait),
		TEST(test_wait_for_several),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
