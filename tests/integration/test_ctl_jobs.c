/* test_ctl_jobs.c: what backfillctl tells of jobs that wait, that failed in
 * some rows, that sweep, that ran dry; retry and approve. */
#include "ctl_drive.h"

/* Submit a job with more columns: ", COLUMN…" and ", VALUE…". */
static void submit_with(const char *columns, const char *values)
{
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause%s) VALUES ('one', 'users', 'a = ''x''',"
		" 'a IS NULL'%s)",
		columns, values);
}

static void end_job(const char *state)
{
	sql_exec(shop,
		"UPDATE backfill.ranges SET finished_at = now();"
		"UPDATE backfill.jobs SET state = '%s', reason = NULL,"
		" started_at = now(), finished_at = now()",
		state);
}

/* As a job with on_row_error = record ends. Row 30 was mended meanwhile. */
static void fail_in_rows(void)
{
	submit_with(", on_row_error", ", 'record'");
	claim();
	sql_exec(shop,
		"UPDATE backfill.ranges SET hi = '{90}', cursor = '{90}',"
		" rows_read = 90, rows_done = 87, batches = 4,"
		" begun_at = now();"
		"INSERT INTO backfill.row_errors (job_id, number, key,"
		" sqlstate, message, constraint_name, attempts, failed_at,"
		" resolved_at) VALUES"
		" (1, 1, '{30}', '22012', 'division by zero', NULL, 1,"
		" '2026-01-01 00:00:30+00', '2026-01-02 00:00:00+00'),"
		" (1, 1, '{7}', '23514', E'it\\033[1m\\nbreaks a rule',"
		" 'users_a_check', 2, '2026-01-01 00:00:07+00', NULL),"
		" (1, 1, '{8,\"b c\"}', '22012', 'division by zero', NULL, 1,"
		" '2026-01-01 00:00:08+00', NULL)");
	end_job("failed");
	sql_exec(shop,
		"UPDATE backfill.jobs SET error_sqlstate = 'BF027',"
		" error_message = '2 rows failed'");
}

/* ---- errors */

static void test_errors(void **state)
{
	(void)state;
	fail_in_rows();
	sql_exec(shop, "ALTER ROLE app SET timezone = 'UTC'");
	assert_int_equal(CTL("-U", "app", "errors", "one"), 0);
	assert_output("KEY     SQLSTATE  ATTEMPTS  FAILED AT              "
		      " RESOLVED AT             CONSTRAINT     MESSAGE\n"
		      "7       23514            2  2026-01-01 00:00:07+00  -"
		      "                       users_a_check  it?[1m breaks a"
		      " rule\n"
		      "8, b c  22012            1  2026-01-01 00:00:08+00  -"
		      "                       -              division by zero\n"
		      "30      22012            1  2026-01-01 00:00:30+00"
		      "  2026-01-02 00:00:00+00  -              division by"
		      " zero\n");
	sql_exec(shop, "ALTER ROLE app RESET timezone");

	sql_exec(shop, "TRUNCATE backfill.row_errors");
	assert_int_equal(CTL("errors", "1"), 0);
	assert_output("job 1 has no row errors\n");
}

static void test_errors_are_cut(void **state)
{
	(void)state;
	submit("one");
	sql_exec(shop,
		"INSERT INTO backfill.row_errors (job_id, number, key,"
		" sqlstate, message) SELECT 1, 1, ARRAY[n::text], '22012',"
		" 'division by zero' FROM generate_series(1, 1002) n");
	assert_int_equal(CTL("errors", "1"), 0);
	assert_has("\n1000  ");
	assert_lacks("\n1001  ");
	assert_has("\nand 2 more: SELECT * FROM backfill.row_errors WHERE"
		   " job_id = 1\n");
}

static void test_errors_and_explain_need_the_right(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(CTL("-U", "steward", "errors", "one"), 3);
	assert_has("BF002: job \"one\" does not exist");
	assert_int_equal(CTL("-U", "steward", "explain", "one"), 3);
	assert_has("BF002: job \"one\" does not exist");
	assert_int_equal(CTL("-U", "mon", "errors", "one"), 3);
	assert_has("backfillctl: error: 42501: permission denied for table"
		   " row_errors\n"
		   "HINT:  What belongs to a job takes membership in its"
		   " run_as");
	assert_int_equal(CTL("-U", "mon", "explain", "one"), 3);
	assert_has("42501: permission denied for table ");
}

/* ---- show and status */

static void test_show_of_row_errors(void **state)
{
	(void)state;
	fail_in_rows();
	assert_int_equal(CTL("show", "one"), 0);
	assert_has("\nrow_errors            2\n");
	assert_has("\non_row_error    record\nmax_row_errors  100\n");
	assert_has("\n\nRow errors (the first 10)\n"
		   "KEY     SQLSTATE  ATTEMPTS  MESSAGE\n"
		   "7       23514            2  it?[1m breaks a rule\n"
		   "8, b c  22012            1  division by zero\n"
		   "\nError\nerror_sqlstate  BF027\n");
	assert_lacks("\n30 ");
	assert_int_equal(CTL("status", "one"), 0);
	assert_has("\n  done 87 rows in 4 batches   2 failed\n");
}

static void test_show_of_what_a_job_waits_for(void **state)
{
	(void)state;
	submit("first");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, kind, target, from_clause,"
		" where_clause, depends_on, hold, run_after, run_window,"
		" priority, pause_after_rows, max_row_errors, on_residue)"
		" VALUES ('one', 'delete', 'users', 'other',"
		" 'users.id = other.id', '{1}', true,"
		" '2027-01-01 00:00:00+00', '22:00-06:00 Europe/Berlin', 7,"
		" 5000, 3, 'fail')");
	assert_int_equal(CTL("show", "one"), 0);
	assert_has("\nkind                  delete\n");
	assert_has("\npriority              7\n");
	assert_has("\nhold                  t\n");
	assert_has("\ndepends_on            {1}\n");
	assert_has("\nrun_after             2027-01-01 ");
	assert_has("\nrun_window            22:00-06:00 Europe/Berlin\n");
	assert_has("\ndry_run               f\n");
	assert_has("\npass                  0\n");
	assert_has("\nlate_rows             0\n");
	assert_has("\nrow_errors            0\n");
	assert_has("\n\nJob\nset_clause      -\nfrom_clause     other\n"
		   "where_clause    users.id = other.id\n");
	assert_has("\nmax_row_errors  3\non_residue      fail\n");
	assert_has("\npause_after_rows     5000\n");
	assert_lacks("\nreport ");

	assert_int_equal(CTL("show", "first"), 0);
	assert_has("\nrun_window           -\npriority             0\n");
	assert_has("\npause_after_rows     -\n"
		   "max_rows_per_second  -\n"
		   "max_replication_lag  (configuration's)\n");
	assert_has("\nlock_timeout         (configuration's)\n");
}

static void test_status_of_a_sweep(void **state)
{
	(void)state;
	run_for_an_hour();
	sql_exec(
		shop, "UPDATE backfill.ranges SET pass = 2, late_rows = 12345");
	assert_int_equal(CTL("status"), 0);
	assert_has(" in 15,202 batches   0 failed\n"
		   "  look sweep 2 of at most 3, 12,345 late rows changed\n"
		   "  key  ");
	end_job("succeeded");
	assert_int_equal(CTL("status", "1"), 0);
	assert_has("\n  look 2 closing sweeps, 12,345 late rows changed\n");
}

/* ---- retry and approve */

static void test_retry(void **state)
{
	(void)state;
	fail_in_rows();
	assert_int_equal(CTL("-U", "steward", "retry", "one"), 3);
	assert_has("BF002: job \"one\" does not exist");
	assert_int_equal(CTL("-U", "app", "retry", "one"), 0);
	assert_output("job 1 is queued\n");
	assert_string_equal(
		sql_text(shop,
			"SELECT string_agg(hi::text, ' ' ORDER BY id)"
			" FROM backfill.holes"),
		"{7} {8,\"b c\"}");
	assert_int_equal(CTL("retry", "1"), 3);
	assert_output("backfillctl: error: BF003: cannot retry job 1: it is"
		      " queued\n"
		      "HINT:  Only a failed job can be tried again.\n");
	assert_int_equal(CTL("retry"), 1);
	assert_has("a job's id or name is missing after \"retry\"\n");
}

static void test_approve(void **state)
{
	(void)state;
	submit_with(", hold", ", true");
	assert_int_equal(CTL("-U", "steward", "approve", "one"), 3);
	assert_has("BF002: job \"one\" does not exist");
	assert_int_equal(CTL("-U", "app", "approve", "one"), 0);
	assert_output("job 1 is queued\n");
	assert_true(sql_true(shop, "SELECT NOT hold FROM backfill.jobs"));
	end_job("succeeded");
	sql_exec(shop, "UPDATE backfill.jobs SET hold = true");
	assert_int_equal(CTL("approve", "1"), 3);
	assert_has("BF003: cannot approve job 1: it is succeeded\n");
}

/* ---- explain */

static void test_explain_before_it_is_examined(void **state)
{
	(void)state;
	submit_with(", hold", ", true");
	assert_int_equal(CTL("-U", "app", "explain", "one"), 0);
	assert_output("job 1 is queued and was not examined yet\n");
	sql_exec(shop,
		"UPDATE backfill.jobs SET reason = 'waits for approve(): it"
		" was submitted with hold'");
	assert_int_equal(CTL("explain", "1"), 0);
	assert_output("job 1 is queued and was not examined yet: waits for"
		      " approve(): it was submitted with hold\n");
	end_job("failed");
	sql_exec(shop,
		"UPDATE backfill.jobs SET error_sqlstate = 'BF020',"
		" error_message = 'no key', error_hint = 'Make one.'");
	assert_int_equal(CTL("explain", "1"), 0);
	assert_output("job 1 failed before its first batch:\n"
		      "  BF020: no key\n"
		      "  hint: Make one.\n");
}

/* Of several preflights the last: a job is examined whenever it is begun. */
static void test_explain_findings(void **state)
{
	(void)state;
	submit("one");
	claim();
	sql_exec(shop, "UPDATE backfill.ranges SET begun_at = now()");
	assert_int_equal(CTL("explain", "one"), 0);
	assert_output("nothing was found before the first batch of job 1\n");
	sql_exec(shop,
		"INSERT INTO backfill.events (at, actor, job_id, event,"
		" detail) VALUES"
		" (now(), 'backfilld', 1, 'preflight', 'old'),"
		" ('2026-01-01 00:00:01.6+00', 'backfilld', 1, 'preflight',"
		" E'key: users_pkey\\ntrigger \\033[1mt fires'),"
		" (now(), 'backfilld', 1, 'begun', 'new')");
	sql_exec(shop, "ALTER ROLE app SET timezone = 'UTC'");
	assert_int_equal(CTL("-U", "app", "explain", "one"), 0);
	sql_exec(shop, "ALTER ROLE app RESET timezone");
	assert_output("found before the first batch of job 1, at 2026-01-01"
		      " 00:00:02+00:\n"
		      "  key: users_pkey\n"
		      "  trigger ?[1mt fires\n");
	assert_int_equal(CTL("show", "one"), 0);
	assert_has("  backfilld  preflight  key: users_pkey ...\n");
}

/* The shape is that of store/dry_run_report.c. */
static void test_explain_a_dry_run(void **state)
{
	(void)state;
	submit_with(", dry_run", ", true");
	claim();
	sql_exec(shop,
		"UPDATE backfill.jobs SET report = $$ {"
		"\"key\": {\"index\": \"public.users_pkey\","
		" \"columns\": [\"id\", \"b\"]},"
		"\"plan\": [\"Update on users\", \"  ->  Index Scan\"],"
		"\"findings\": [\"trigger \\u001b[1mt fires\", \"second\"],"
		"\"rows_sampled\": 1000, \"rows_eligible\": 500,"
		"\"forecast\": {\"rows_total\": 119200000,"
		" \"rows_to_change\": 59600000, \"wal_bytes\": 1073741824,"
		" \"seconds\": 3720.5, \"how\": \"Estimated.\"},"
		"\"sample\": [{\"key\": [\"2\", \"x\"],"
		" \"before\": {\"a\": null, \"c\": \"y\"},"
		" \"after\": {\"a\": \"x\\ny\", \"c\": null}},"
		" {\"key\": [\"1\", \"x\"], \"before\": {\"n\": 7},"
		" \"after\": null}]} $$");
	end_job("succeeded");
	assert_int_equal(CTL("-U", "app", "explain", "one"), 0);
	assert_output("dry run of job 1: nothing was changed\n"
		      "  key   public.users_pkey (id, b)\n"
		      "  rows  about 59,600,000 of 119,200,000 would change\n"
		      "  WAL   about 1024 MB\n"
		      "  time  about 1h02m\n"
		      "Estimated.\n"
		      "sample of rows, before -> after:\n"
		      "  key (2, x)\n"
		      "    a: NULL -> x y\n"
		      "    c: y -> NULL\n"
		      "  key (1, x), deleted\n"
		      "    n: 7\n"
		      "findings:\n"
		      "  trigger ?[1mt fires\n"
		      "  second\n"
		      "plan of a batch:\n"
		      "  Update on users\n"
		      "    ->  Index Scan\n");
	assert_int_equal(CTL("show", "one"), 0);
	assert_has("\ndry_run               t\n");
	assert_lacks("Estimated");
}

static void test_wait_for_a_dry_run(void **state)
{
	(void)state;
	submit_with(", dry_run", ", true");
	end_job("succeeded");
	assert_int_equal(CTL("wait", "one"), 0);
	assert_output("job 1 succeeded as a dry run: nothing is changed\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_errors),
		TEST(test_errors_are_cut),
		TEST(test_errors_and_explain_need_the_right),
		TEST(test_show_of_row_errors),
		TEST(test_show_of_what_a_job_waits_for),
		TEST(test_status_of_a_sweep),
		TEST(test_retry),
		TEST(test_approve),
		TEST(test_explain_before_it_is_examined),
		TEST(test_explain_findings),
		TEST(test_explain_a_dry_run),
		TEST(test_wait_for_a_dry_run),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
