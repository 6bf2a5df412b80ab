/* The card of a job, with values, reasons and names that nobody expects. */
#include "screen_values.h"

/* ---- values */

static void test_unknown_is_a_dash(void **state)
{
	struct screen_job job = unknown_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.elapsed_s = 3;
	s.signal_count = 0;
	assert_drawn(&s, 80, 0,
		"backfilld 1.0 db1 pid 4711 up 3d04h"
		" | run 1 pause 0 queue 0 fail 0\n"
		"primary db1:5432/shop  standbys -"
		"                           2026-11-22 12:04:31Z\n"
		"\n"
		"#7 unknown                                    RUNNING\n"
		"  [--------------------------]      -  - rows\n"
		"  rate - now, - 5min   batch -\n"
		"  eta  -   elapsed 3s\n"
		"  done - rows in - batches   - failed\n"
		"  key  -   saved -   by -\n");
}

static void test_over_the_estimate(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.rows_read = 130e6;
	job.percent = 99.9;
	assert_drawn_has(&s, 80, 0,
		"\n  [#########################-]      -"
		"  130,000,000 rows (expected ~119.2M)\n");
	assert_drawn_lacks(&s, 80, 0, "100");
	assert_drawn_lacks(&s, 80, 0, "99.9%");
}

static void test_zero_rows_are_done(void **state)
{
	struct screen_job job = unknown_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	s.job = "7";
	job.state = SCREEN_SUCCEEDED;
	job.percent = 100;
	job.rows_read = job.rows_done = job.batches = job.row_errors = 0;
	job.elapsed_s = 0.2;
	job.ended_s = 120;
	assert_drawn_has(&s, 80, 0,
		"\n#7 unknown                                    SUCCEEDED"
		" 2min ago\n"
		"  [##########################] 100.0%  0 rows\n"
		"  end  2min ago   took 0s\n"
		"  done 0 rows in 0 batches   0 failed\n");
}

static void test_holes_errors_and_sweeps(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.holes = 1234;
	job.row_errors = 7;
	job.retries = 3;
	job.retry_sqlstate = NULL;
	job.pass = 2;
	job.late_rows = 12345;
	assert_drawn_has(&s, 80, 0,
		" batches   7 failed   3 retries (11min ago)\n"
		"       1,234 held by others and still to do\n"
		"  look sweep 2 of at most 3, 12,345 late rows changed\n");
	job.state = SCREEN_SUCCEEDED;
	s.job = "42";
	assert_drawn_has(&s, 80, 0,
		"\n  look 2 closing sweeps, 12,345 late rows changed\n");
	job.pass = 1;
	assert_drawn_has(&s, 80, 0, "\n  look 1 closing sweep, ");
}

static void test_a_schema_step(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.is_schema_kind = "t";
	job.step = "CREATE INDEX CONCURRENTLY i ON t (a)";
	job.phase = "building index: scanning table";
	assert_drawn_has(&s, 80, 0,
		"\n  [#############-------------]  53.8%"
		"  of: building index: scanning table\n"
		"  step CREATE INDEX CONCURRENTLY i ON t (a)\n"
		"  time elapsed 1h02m = work 54min + held 8min + paused 0s"
		"   by alice prio 5\n");
}

static void test_notes(void **state)
{
	static const struct {
		const char *came_by, *dry_run, *note;
	} cases[] = {
		{ "taken_over", NULL, "RUNNING  (resumed after restart)\n" },
		{ "resume", "f", "RUNNING  (resumed)\n" },
		{ "released", NULL, "RUNNING  (resumed)\n" },
		{ "retry", NULL, "RUNNING  (retried)\n" },
		{ "taken_over", "t", "RUNNING  (dry run)\n" },
		{ NULL, NULL, "RUNNING\n" },
	};
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		job.came_by = cases[i].came_by;
		job.dry_run = cases[i].dry_run;
		assert_drawn_has(&s, 80, 0, cases[i].note);
	}
}

/* ---- why and what next */

static void test_reasons(void **state)
{
	static const struct {
		const char *kind, *reason, *wanted;
	} cases[] = {
		{ "lag",
			"held: replay lag of standby \"s\" is unknown: not"
			" connected -> goes on when it is known and below 1 s",
			"\n  why  replay lag of standby \"s\" is unknown: not"
			" connected\n"
			"  next resumes when the lag is known and below 1 "
			"s\n" },
		{ "retry", "40P01: a -> b -> again in 400 ms",
			"\n  why  40P01: a -> b\n  next again in 400 ms\n" },
		{ "writers", "waits for transactions that write the table: x",
			"\n  why  waits for transactions that write the table:"
			" x\n  next goes on when these have ended\n" },
		{ "stopped", "all work is stopped by bob",
			"\n  why  all work is stopped by bob\n"
			"  next goes on after: backfillctl start-all\n" },
		{ "daemon", "its daemon is gone",
			"\n  why  its daemon is gone\n"
			"  next goes on when a daemon takes it over\n" },
		{ "other", "something", "\n  why  something\n" },
	};
	struct screen_job job = held_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		job.waits_for = cases[i].kind;
		job.reason = cases[i].reason;
		assert_drawn_has(&s, 80, 0, cases[i].wanted);
	}
	assert_drawn_lacks(&s, 80, 0, "next");
}

/* All causes, broken at words. */
static void test_a_long_reason(void **state)
{
	struct screen_job job = held_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	job.reason = "held: replay lag 9.4 s > 5 s on standby \"standby1\";"
		     " replay lag of standby \"standby2\" is unknown: it is"
		     " not connected -> goes on when it is known and below"
		     " 2.5 s";
	assert_drawn_has(&s, 80, 0,
		"\n  why  replay lag 9.4 s > 5 s on standby \"standby1\";"
		" replay lag of standby\n"
		"       \"standby2\" is unknown: it is not connected\n"
		"  next resumes when the lag is known and below 2.5 s\n");
}

/* ---- names */

static void test_long_and_wide_names(void **state)
{
	static const char cjk[] = "\xe9\xa1\xa7\xe5\xae\xa2\xe8\xa8\x98"
				  "\xe9\x8c\xb2\xe8\xa1\xa8\xe6\xa0\xbc";
	char name[400] = "";
	struct screen_job job = held_job();
	struct screen s = screen_of(&job, 1);
	size_t widths[] = { 20, 40, 80, 120, 200 };

	(void)state;
	job.name = name;
	for (int i = 0; i < 20; i++) {
		strcat(name, cjk);
	}
	for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
		assert_drawn_has(&s, widths[i], 0, "HELD 38s");
		assert_drawn_has(&s, widths[i], 12, "HELD 38s");
	}
	/* 44 columns, of which the id takes four and a character two: half of
	 * one is not shown. */
	name[20 * 3] = '\0';
	assert_drawn_lacks(&s, 80, 0, "..");
	name[20 * 3] = cjk[2 * 3];
	name[21 * 3] = '\0';
	assert_drawn_has(&s, 80, 0, "..  HELD 38s\n");
	name[0] = 'x';
	memmove(name + 1, name + 3, 20 * 3);
	name[1 + 20 * 3] = '\0';
	assert_drawn_has(&s, 80, 0, "..   HELD 38s\n");
	memset(name, 0, sizeof name);
	strcat(name, cjk);
	assert_drawn_has(&s, 80, 0,
		"\n#43 \xe9\xa1\xa7\xe5\xae\xa2\xe8\xa8\x98\xe9\x8c\xb2"
		"\xe8\xa1\xa8\xe6\xa0\xbc"
		"                              HELD 38s\n");
	memset(name, 'x', 300);
	name[300] = '\0';
	job.key = job.last_key = job.submitted_by = job.reason = name;
	for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
		assert_drawn_has(&s, widths[i], 0, "xxxxxxxx");
	}
}

static void test_hostile_names_are_inert(void **state)
{
	static const char evil[] = "\x1b[2J\n#7 \x01\x02\x0e\xc2\x9b"
				   "1m\xe2\x80\xae%s\xff|";
	struct screen_daemon daemon = { evil, "1", evil, 1, 1, 1 };
	struct screen_signal signal = { evil, 1, 5, 2, 1, 0 };
	struct screen_job job = held_job();
	struct screen s = screen_of(&job, 1);
	size_t widths[] = { 40, 80, 200 };

	(void)state;
	job.name = job.reason = job.key = job.last_key = evil;
	job.submitted_by = job.run_as = job.step = job.phase = evil;
	s.database = s.host = s.stopped_by = s.stop_reason = evil;
	s.daemons = &daemon;
	s.signals = &signal;
	s.signal_count = 1;
	for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
		for (size_t height = 0; height < 8; height += 7) {
			char *found = drawn(&s, widths[i], height);

			for (const char *c = found; *c != '\0'; c++) {
				assert_true(*c == '\n' || *c < 0 || *c >= ' ');
			}
			assert_null(strstr(found, "\n#7"));
			assert_null(strstr(found, "\xc2\x9b"));
			assert_null(strstr(found, "\xe2\x80\xae"));
			assert_null(strstr(found, "\xff"));
			free(found);
		}
	}
	assert_drawn_has(&s, 80, 0, "?[2J #7 ????1m?%s?|");
	job.error_sqlstate = job.error_message = job.error_detail = evil;
	job.error_hint = evil;
	assert_drawn_lacks(&s, 80, 0, "\x1b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown_is_a_dash),
		cmocka_unit_test(test_over_the_estimate),
		cmocka_unit_test(test_zero_rows_are_done),
		cmocka_unit_test(test_holes_errors_and_sweeps),
		cmocka_unit_test(test_a_schema_step),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_a_long_reason),
		cmocka_unit_test(test_long_and_wide_names),
		cmocka_unit_test(test_hostile_names_are_inert),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
