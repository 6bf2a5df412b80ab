/* test_ctl_control.c: pause, resume, cancel, stop-all, start-all and wait. */
#include <unistd.h>

#include "ctl_drive.h"

static int finish(pid_t pid, int fd)
{
	int code = 0;
	ssize_t length;

	assert_true(child_wait(pid, wait_deadline(WAIT_SECONDS), &code));
	length = pread(fd, output, sizeof output - 1, 0);
	output[length > 0 ? length : 0] = '\0';
	close(fd);
	return code;
}

static FILE *wait_file; /* of the test that runs */

static int output_file(void)
{
	wait_file = tmpfile();
	assert_non_null(wait_file);
	return dup(fileno(wait_file));
}

/* Until the session is there and has looked at the job. */
static void await_session(void)
{
	sql_wait(shop, WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE application_name = 'backfillctl'"
		" AND query ~ 'backfill.progress')");
}

/* ---- pause, resume, cancel, stop-all, start-all */

static void test_steering(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(CTL("-U", "app", "pause", "one", "month end"), 0);
	assert_output("job 1 is paused\n");
	assert_string_equal(sql_text(shop,
				    "SELECT state || ': ' || reason"
				    " FROM backfill.jobs"),
		"paused: paused by app: month end");
	assert_int_equal(CTL("-U", "app", "pause", "1"), 0);
	assert_output("job 1 is paused\n");
	assert_int_equal(CTL("-U", "app", "resume", "1"), 0);
	assert_output("job 1 is queued\n");
	assert_int_equal(CTL("-U", "app", "cancel", "one", "wrong"), 0);
	assert_output("job 1 is cancelled\n");
	assert_string_equal(sql_text(shop,
				    "SELECT state || ': ' || reason"
				    " FROM backfill.jobs"),
		"cancelled: cancelled by app: wrong");
	assert_int_equal(CTL("-U", "app", "resume", "one"), 3);
	assert_output("backfillctl: error: BF003: cannot resume job 1: it is"
		      " cancelled\n"
		      "HINT:  Submit a new job to change the table again.\n");
}

static void test_steering_needs_the_right(void **state)
{
	static const char *const commands[] = { "pause", "resume", "cancel" };

	(void)state;
	submit("one");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		assert_int_equal(CTL("-U", "steward", commands[i], "one"), 3);
		assert_output("backfillctl: error: BF002: job \"one\" does not"
			      " exist\n"
			      "DETAIL:  Or its run_as is a role that you may"
			      " not become.\n"
			      "HINT:  backfillctl list --all shows the jobs"
			      " that you may see.\n");
	}
	assert_int_equal(CTL("-U", "steward", "wait", "one"), 3);
	assert_has("BF002: job \"one\" does not exist");
	assert_string_equal(
		sql_text(shop, "SELECT state FROM backfill.jobs"), "queued");
}

static void test_stop_and_start_all(void **state)
{
	(void)state;
	assert_int_equal(CTL("-U", "app", "stop-all"), 3);
	assert_has("42501: permission denied for function stop_all\n"
		   "HINT:  What belongs to a job takes membership in its"
		   " run_as and in backfill_submit, or in backfill_admin,"
		   " which stop-all and start-all take.\n");
	assert_int_equal(CTL("stop-all", "incident"), 0);
	assert_output("all work is stopped in database \"shop\"\n");
	assert_string_equal(
		sql_text(shop, "SELECT reason FROM backfill.stop"), "incident");
	assert_int_equal(CTL("start-all"), 0);
	assert_output("work goes on in database \"shop\"\n");
	assert_int_equal(
		sql_int(shop, "SELECT count(*) FROM backfill.stop"), 0);
}

/* ---- wait */

static void test_wait_until_it_succeeds(void **state)
{
	int fd = output_file();
	pid_t pid;

	(void)state;
	submit("one");
	pid = start(fd, "wait", "one");
	await_session();
	assert_true(child_wait(pid, wait_now_ms(), NULL) == 0);
	sql_exec(shop,
		"UPDATE backfill.jobs SET state = 'succeeded',"
		" finished_at = now()");
	assert_int_equal(finish(pid, fd), 0);
	assert_output("job 1 succeeded\n");
	fclose(wait_file);
}

static void test_wait_for_a_failure(void **state)
{
	(void)state;
	submit("one");
	sql_exec(shop,
		"UPDATE backfill.jobs SET state = 'failed',"
		" finished_at = now(), error_sqlstate = '22012',"
		" error_message = 'division by zero',"
		" error_detail = 'In a row.', error_hint = 'Do not.'");
	assert_int_equal(CTL("wait", "one"), 3);
	assert_output("backfillctl: error: 22012: job 1 failed: division by"
		      " zero\nDETAIL:  In a row.\nHINT:  Do not.\n");
	submit("two");
	assert_int_equal(CTL("cancel", "two", "wrong"), 0);
	assert_int_equal(CTL("wait", "two"), 3);
	assert_output("backfillctl: error: job 2 was cancelled\n"
		      "DETAIL:  cancelled by postgres: wrong\n");
}

/* Four looks at the job: the reason is told once, on standard error. */
static void test_wait_tells_a_reason_once(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(CTL("pause", "one", "month end"), 0);
	assert_int_equal(CTL("wait", "one", "--timeout=700ms"), 1);
	assert_output("job 1 is paused: paused by postgres: month end\n"
		      "backfillctl: error: job 1 is still paused after 700ms\n"
		      "DETAIL:  paused by postgres: month end\n");
	assert_int_equal(shell("$BUILD/backfillctl wait one --timeout=0"
			       " 2>/dev/null"),
		1);
	assert_output("");
}

static void test_wait_loses_the_server(void **state)
{
	int fd = output_file();
	pid_t pid;

	(void)state;
	submit("one");
	pid = start(fd, "wait", "one");
	await_session();
	sql_exec(shop,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		" WHERE application_name = 'backfillctl'");
	assert_int_equal(finish(pid, fd), 2);
	assert_has("backfillctl: error: ");
	fclose(wait_file);
}

/* In the midst of a statement. */
static void test_pause_loses_the_server(void **state)
{
	PGconn *other = cluster_connect(cluster, "shop", "postgres");
	int fd = output_file();
	pid_t pid;

	(void)state;
	submit("one");
	sql_exec(other, "BEGIN; SELECT FROM backfill.jobs FOR UPDATE");
	pid = start(fd, "pause", "one");
	sql_wait(shop, WAIT_SECONDS,
		"SELECT count(pg_terminate_backend(pid)) = 1"
		" FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
		" AND application_name = 'backfillctl'");
	PQfinish(other);
	assert_int_equal(finish(pid, fd), 2);
	assert_has("backfillctl: error: ");
	assert_string_equal(
		sql_text(shop, "SELECT state FROM backfill.jobs"), "queued");
	fclose(wait_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_steering),
		TEST(test_steering_needs_the_right),
		TEST(test_stop_and_start_all),
		TEST(test_wait_until_it_succeeds),
		TEST(test_wait_for_a_failure),
		TEST(test_wait_tells_a_reason_once),
		TEST(test_wait_loses_the_server),
		TEST(test_pause_loses_the_server),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
