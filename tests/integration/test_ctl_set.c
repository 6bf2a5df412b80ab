/* test_ctl_set.c: backfillctl set. */
#include "ctl_drive.h"

static void test_set(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(
		CTL("-U", "app", "set", "one", "max_rows_per_second=500",
			"lock-timeout=1s", "priority=5"),
		0);
	assert_output("COLUMN               WAS                IS\n"
		      "max_rows_per_second  -                  500\n"
		      "lock_timeout         (configuration's)  00:00:01\n"
		      "priority             0                  5\n"
		      "max_rows_per_second takes effect when the job runs\n"
		      "lock_timeout takes effect when the job runs\n"
		      "priority takes effect when a daemon next looks for"
		      " work\n");
	claim();
	assert_int_equal(CTL("set", "1", "max_rows_per_second=",
				 "lock_timeout=default", "priority="),
		0);
	assert_has("\nmax_rows_per_second  500       -\n"
		   "lock_timeout         00:00:01  (configuration's)\n"
		   "priority             5         0\n"
		   "max_rows_per_second takes effect within a second, with the"
		   " next batch or step\n");
	assert_string_equal(
		sql_text(shop,
			"SELECT concat_ws('|', max_rows_per_second,"
			" lock_timeout, priority) FROM backfill.jobs"),
		"0");
}

static void test_set_json(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(CTL("-U", "app", "set", "one", "batch_rows=7",
				 "run_window=22:00-06:00", "--json"),
		0);
	assert_output("[{\"column\":\"batch_rows\",\"was\":null,\"is\":7},\n"
		      " {\"column\":\"run_window\",\"was\":null,"
		      "\"is\":\"22:00-06:00\"}]\n");
}

#define CHANGEABLE                                                             \
	"DETAIL:  These may be set: run_window, priority, batch_rows,"         \
	" max_batch_rows, target_batch_time, lock_timeout,"                    \
	" statement_timeout, synchronous_commit, pause_after_rows,"            \
	" max_rows_per_second, max_replication_lag.\n"

static void test_what_cannot_be_set(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(CTL("set", "one", "set_clause=a = 'z'"), 1);
	assert_output("backfillctl: error: column \"set_clause\" cannot be"
		      " changed: it is fixed when the job is"
		      " submitted\n" CHANGEABLE
		      "HINT:  Cancel the job and submit another one.\n");
	assert_int_equal(CTL("set", "one", "max_rows=5"), 1);
	assert_output("backfillctl: error: unknown column"
		      " \"max_rows\"\n" CHANGEABLE
		      "HINT:  Perhaps you mean \"max_rows_per_second\".\n");
	assert_int_equal(CTL("set", "one", "state=queued"), 1);
	assert_has("unknown column \"state\"\n");
	assert_int_equal(CTL("set", "one", "batch_rows"), 1);
	assert_has("\"batch_rows\" is not of the form COLUMN=VALUE\nHINT:  ");
	assert_int_equal(CTL("set", "one"), 1);
	assert_has("an argument is missing after \"one\"\n");
	assert_int_equal(CTL("set", "one", "batch_rows=1", "batch-rows=2"), 1);
	assert_has("column \"batch_rows\" is set twice\n");
	assert_int_equal(CTL("set", "one", "batch_rows=0"), 3);
	assert_has("22023: batch_rows 0 is outside the valid range (1 .."
		   " 1000000)\n");
	assert_true(
		sql_true(shop, "SELECT batch_rows IS NULL FROM backfill.jobs"));
}

static void test_whose_job_it_is(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(CTL("-U", "steward", "set", "one", "batch_rows=1"), 3);
	assert_has("BF002: job \"one\" does not exist\n");
	assert_int_equal(CTL("-U", "mon", "set", "one", "batch_rows=1"), 3);
	assert_has("42501: permission denied for table jobs\n");
	sql_exec(shop, "GRANT pg_monitor TO steward");
	assert_int_equal(CTL("-U", "steward", "set", "one", "batch_rows=1"), 3);
	sql_exec(shop, "REVOKE pg_monitor FROM steward");
	assert_output("backfillctl: error: 42501: job 1 is not yours to"
		      " change\n"
		      "DETAIL:  Its run_as is a role that you may not"
		      " become.\n");
	sql_exec(shop,
		"UPDATE backfill.jobs SET state = 'succeeded',"
		" finished_at = now()");
	assert_int_equal(CTL("-U", "app", "set", "one", "batch_rows=1"), 3);
	assert_output("backfillctl: error: BF003: cannot set anything of job 1:"
		      " it is succeeded\n"
		      "HINT:  Submit a new job to change the table again.\n");
	sql_exec(shop, "UPDATE backfill.jobs SET state = 'failed'");
	assert_int_equal(CTL("-U", "app", "set", "one", "batch_rows=1"), 0);
	assert_has("\nbatch_rows takes effect when the job is tried again\n");
	/* It may be set, if not by everybody. */
	sql_exec(shop, "GRANT pg_monitor TO steward");
	assert_int_equal(CTL("-U", "steward", "set", "one", "batch_rows=1"), 3);
	sql_exec(shop, "REVOKE pg_monitor FROM steward");
	assert_has("42501: job 1 is not yours to change\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_set),
		TEST(test_set_json),
		TEST(test_what_cannot_be_set),
		TEST(test_whose_job_it_is),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
