/* What a monitoring system is told, in whole lines. */
#include "screen_values.h"

#define MEASURES                                                               \
	" paused=0 failed=0 daemons=1 queue_oldest=0s rows_per_second=18400"   \
	" failed_rows=0 lag=9.4s"

static void assert_verdict(const struct screen *s, int code, const char *wanted)
{
	struct text t;
	int found;

	text_init(&t);
	found = ctl_verdict(&t, s);
	assert_string_equal(t.data, wanted);
	assert_int_equal(found, code);
	text_close(&t);
}

/* The line up to the performance data. */
static void assert_says(const struct screen *s, int code, const char *wanted)
{
	struct text t;
	int found;

	text_init(&t);
	found = ctl_verdict(&t, s);
	*strchr(t.data, '|') = '\0';
	assert_string_equal(t.data, wanted);
	assert_int_equal(found, code);
	text_close(&t);
}

static void test_ok(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	assert_verdict(&s, 0,
		"BACKFILLD OK - 1 running, 0 held"
		" | running=1 held=0 queued=0" MEASURES);
	s.job_count = 0;
	s.signal_count = 0;
	assert_verdict(&s, 0,
		"BACKFILLD OK - 0 running, 0 held | running=0 held=0 queued=0"
		" paused=0 failed=0 daemons=1 queue_oldest=0s"
		" rows_per_second=0 failed_rows=0 lag=U");
}

static void test_held(void **state)
{
	struct screen_job job = held_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.since_s = 899;
	assert_says(&s, 0, "BACKFILLD OK - 0 running, 1 held ");
	job.since_s = 901;
	assert_says(&s, 1,
		"BACKFILLD WARNING - #43 users.email_norm is held for 15min ");
}

/* What is never critical: that it is held, or builds an index. */
static void test_no_progress(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.saved_s = 899;
	job.since_s = 7200;
	assert_says(&s, 0, "BACKFILLD OK - 1 running, 0 held ");
	job.saved_s = 1201;
	assert_says(&s, 2,
		"BACKFILLD CRITICAL - #42 orders.amount_cents made no"
		" progress for 20min ");
	job.since_s = 10;
	assert_says(&s, 0, "BACKFILLD OK - 1 running, 0 held ");
	job.since_s = 7200;
	job.saved_s = UNKNOWN;
	assert_says(&s, 2,
		"BACKFILLD CRITICAL - #42 orders.amount_cents made no"
		" progress for 1h02m ");
	job.is_schema_kind = "t";
	assert_says(&s, 0, "BACKFILLD OK - 1 running, 0 held ");
}

static void test_failed_and_row_errors(void **state)
{
	struct screen_job jobs[] = { running_job(), failed_job() };
	struct screen s = screen_of(jobs, 2);

	(void)state;
	assert_says(
		&s, 2, "BACKFILLD CRITICAL - #40 old.job failed 3h00m ago ");
	jobs[0].row_errors = 7;
	assert_says(&s, 2,
		"BACKFILLD CRITICAL - #40 old.job failed 3h00m ago,"
		" #42 orders.amount_cents has rows that failed: 7 ");
	s.job = "42";
	assert_says(&s, 1,
		"BACKFILLD WARNING - #42 orders.amount_cents has rows that"
		" failed: 7 ");
}

static void test_daemons(void **state)
{
	struct screen_job jobs[] = { running_job(), queued_job() };
	struct screen s = screen_of(jobs, 2);

	(void)state;
	s.daemon_count = 0;
	assert_says(&s, 2,
		"BACKFILLD CRITICAL - no daemon is alive and 2 jobs wait ");
	s.job_count = 1;
	assert_says(&s, 2,
		"BACKFILLD CRITICAL - no daemon is alive and 1 job waits ");
	jobs[0] = paused_job();
	assert_says(&s, 0, "BACKFILLD OK - 0 running, 0 held ");
}

static void test_stop_and_queue(void **state)
{
	struct screen_job job = queued_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.age_s = 3599;
	assert_says(&s, 0, "BACKFILLD OK - 0 running, 0 held ");
	job.age_s = 3601;
	assert_says(&s, 1,
		"BACKFILLD WARNING - #44 users.phone is queued for 1h00m ");
	s.stopped_by = "bob";
	assert_says(&s, 1,
		"BACKFILLD WARNING - all work is stopped, #44 users.phone is"
		" queued for 1h00m ");
}

/* The bar ends the text, and an unknown lag is none of 0. */
static void test_names_and_unknown_lag(void **state)
{
	struct screen_signal signals[] = {
		{ "a", 1, 5, 2.5, 1, 0 },
		{ "b", UNKNOWN, 5, 2.5, 1, 1 },
		{ "c", 2, 5, 2.5, 1, 0 },
	};
	struct screen_job job = failed_job();
	struct screen s = screen_of(&job, 1);
	struct text t;

	(void)state;
	job.name = "a|b\n\x1b";
	assert_says(&s, 2, "BACKFILLD CRITICAL - #40 a/b ? failed 3h00m ago ");
	s.signals = signals;
	s.signal_count = 3;
	text_init(&t);
	(void)ctl_verdict(&t, &s);
	assert_non_null(strstr(t.data, " lag=U"));
	text_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ok),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_no_progress),
		cmocka_unit_test(test_failed_and_row_errors),
		cmocka_unit_test(test_daemons),
		cmocka_unit_test(test_stop_and_queue),
		cmocka_unit_test(test_names_and_unknown_lag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
