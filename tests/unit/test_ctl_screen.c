/* The status screen, whole, at the widths of terminals, and what it does with
 * values and names that nobody expects. */
#include "screen_values.h"

/* ---- whole screens */

static void test_at_80(void **state)
{
	struct screen_job jobs[] = { running_job(), held_job(), paused_job(),
		queued_job(), failed_job() };
	struct screen s = screen_of(jobs, 2);

	(void)state;
	assert_drawn(&s, 80, 0,
		"backfilld 1.0 db1 pid 4711 up 3d04h"
		" | run 1 held 1 pause 0 queue 0 fail 0\n"
		"primary db1:5432/shop  standbys 2/2 seen 1s ago"
		"             2026-11-22 12:04:31Z\n"
		"\n"
		"#43 users.email_norm                          HELD 38s\n"
		"  [#############-------------]  53.8%"
		"  64,120,331 of ~119.2M rows\n"
		"  rate 18.4k/s now, 16.9k/s 5min"
		"   batch 4.2k rows p50 212ms p95 309ms/250ms\n"
		"  eta  3h10m once resumed"
		"   elapsed 1h02m = work 54min + held 8min + paused 0s\n"
		"  pace lag 0.8/5s standby1 | lag 9.4/5s standby2"
		"   pause 40ms (2min in all)\n"
		"  done 64,000,001 rows in 15,202 batches   0 failed"
		"   1 retry (40P01, 11min ago)\n"
		"  key  64120331 to 119412887   saved 2s ago"
		"   by alice prio 5\n"
		"  why  replay lag 9.4 s > 5 s on standby \"standby2\"\n"
		"  next resumes when the lag is below 2.5 s\n"
		"\n"
		"#42 orders.amount_cents                       RUNNING"
		"  (resumed after restart)\n"
		"  [#############-------------]  53.8%"
		"  64,120,331 of ~119.2M rows\n"
		"  rate 18.4k/s now, 16.9k/s 5min"
		"   batch 4.2k rows p50 212ms p95 309ms/250ms\n"
		"  eta  52min (12:57Z)"
		"   elapsed 1h02m = work 54min + held 8min + paused 0s\n"
		"  pace lag 0.8/5s standby1 | lag 9.4/5s standby2"
		"   pause 40ms (2min in all)\n"
		"  done 64,000,001 rows in 15,202 batches   0 failed"
		"   1 retry (40P01, 11min ago)\n"
		"  key  64120331 to 119412887   saved 2s ago"
		"   by alice prio 5\n");

	s = screen_of(jobs + 2, 3);
	s.signal_count = 0;
	assert_drawn(&s, 80, 0,
		"backfilld 1.0 db1 pid 4711 up 3d04h"
		" | run 0 pause 1 queue 1 (oldest 4min) fail 1\n"
		"primary db1:5432/shop  standbys -"
		"                           2026-11-22 12:04:31Z\n"
		"\n"
		"#41 audit.ip                                  PAUSED 2h00m\n"
		"  [#############-------------]  53.8%"
		"  64,120,331 of ~119.2M rows\n"
		"  rate - now, - 5min"
		"   batch 4.2k rows p50 212ms p95 309ms/250ms\n"
		"  eta  -   elapsed 1h02m"
		" = work 54min + held 8min + paused 0s\n"
		"  done 64,000,001 rows in 15,202 batches   0 failed"
		"   1 retry (40P01, 11min ago)\n"
		"  key  64120331 to 119412887   saved 2s ago"
		"   by alice prio 5\n"
		"  why  paused by bob: month-end\n"
		"  next goes on after: backfillctl resume 41\n"
		"\n"
		"#40 old.job                                   FAILED"
		" 3h00m ago\n"
		"  [#############-------------]  53.8%"
		"  64,120,331 of ~119.2M rows\n"
		"  end  3h00m ago   took 1h02m"
		" = work 54min + held 8min + paused 0s\n"
		"  done 64,000,001 rows in 15,202 batches   0 failed"
		"   1 retry (40P01, 11min ago)\n"
		"  key  64120331 to 119412887   saved 2s ago"
		"   by alice prio 5\n"
		"  fail 22012: division by zero\n"
		"       In a row.\n"
		"  hint Do not.\n"
		"\n"
		"#44 users.phone                               QUEUED 4min\n"
		"  who  by alice as app\n"
		"  why  waits for job 43 on the same table\n");
}

static void test_at_40(void **state)
{
	struct screen_job job = held_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	assert_drawn(&s, 40, 0,
		"backfilld 1.0 db1 up 3d04h\n"
		"run 0 held 1 pause 0 queue 0 fail 0\n"
		"primary db1:5432/shop\n"
		"standbys 2/2 seen 1s ago\n"
		"2026-11-22 12:04:31Z\n"
		"\n"
		"#43 users.email_norm  HELD 38s\n"
		"  [######------]  53.8%\n"
		"  64,120,331 of ~119.2M rows\n"
		"  rate 18.4k/s now, 16.9k/s 5min\n"
		"       batch 4.2k rows p50 212ms p95\n"
		"       309ms/250ms\n"
		"  eta  3h10m once resumed\n"
		"       elapsed 1h02m = work 54min + held\n"
		"       8min + paused 0s\n"
		"  pace lag 0.8/5s standby1 |\n"
		"       lag 9.4/5s standby2\n"
		"       pause 40ms (2min in all)\n"
		"  done 64,000,001 rows in 15,202 batches\n"
		"       0 failed\n"
		"       1 retry (40P01, 11min ago)\n"
		"  key  64120331 to 119412887\n"
		"       saved 2s ago   by alice prio 5\n"
		"  why  replay lag 9.4 s > 5 s on standby\n"
		"       \"standby2\"\n"
		"  next resumes when the lag is below 2.5\n"
		"       s\n");
}

/* A wider screen has longer bars, and from two times 80 on two columns. */
static void test_at_120_and_200(void **state)
{
	struct screen_job jobs[] = { running_job(), held_job() };
	struct screen s = screen_of(jobs, 2);

	(void)state;
	assert_drawn_has(&s, 120, 0,
		"\n  [################################-----------------------"
		"-----]  53.8%  64,120,331 of ~119.2M rows\n");
	assert_drawn_has(&s, 163, 0,
		"\n#42 orders.amount_cents                       RUNNING");
	assert_drawn_has(&s, 164, 0,
		"\n#43 users.email_norm                          HELD 38s"
		"                              #42 orders.amount_cents");
	assert_drawn_has(&s, 200, 0,
		"\n  [#######################---------------------]  53.8%"
		"  64,120,331 of ~119.2M rows"
		"                   "
		"  [#######################---------------------]  53.8%"
		"  64,120,331 of ~119.2M rows\n");
	/* A single card stays as wide as one can read. */
	s.job_count = 1;
	assert_drawn_has(&s, 200, 0,
		"\n  [################################-----------------------"
		"-----]  53.8%  64,120,331 of ~119.2M rows\n");
}

/* ---- what does not fit */

static void test_the_most_interesting_come_first(void **state)
{
	struct screen_job jobs[40] = { queued_job(), failed_job(), paused_job(),
		running_job(), held_job() };
	struct screen s = screen_of(jobs, 5);

	(void)state;
	assert_drawn(&s, 80, 20,
		"backfilld 1.0 db1 up 3d04h"
		" | run 1 held 1 pause 1 queue 1 (oldest 4min) fail 1\n"
		"primary db1:5432/shop  standbys 2/2 seen 1s ago"
		"             2026-11-22 12:04:31Z\n"
		"\n"
		"#43 users.email_norm                          HELD 38s\n"
		"  [#############-------------]  53.8%"
		"  64,120,331 of ~119.2M rows\n"
		"  rate 18.4k/s now, 16.9k/s 5min"
		"   batch 4.2k rows p50 212ms p95 309ms/250ms\n"
		"  eta  3h10m once resumed"
		"   elapsed 1h02m = work 54min + held 8min + paused 0s\n"
		"  pace lag 0.8/5s standby1 | lag 9.4/5s standby2"
		"   pause 40ms (2min in all)\n"
		"  done 64,000,001 rows in 15,202 batches   0 failed"
		"   1 retry (40P01, 11min ago)\n"
		"  key  64120331 to 119412887   saved 2s ago"
		"   by alice prio 5\n"
		"  why  replay lag 9.4 s > 5 s on standby \"standby2\"\n"
		"  next resumes when the lag is below 2.5 s\n"
		"\n"
		"#42 orders.amount_cents  RUNNING           53.8%  eta 52min\n"
		"#41 audit.ip             PAUSED 2h00m      53.8%"
		"  paused by bob: month-end\n"
		"#40 old.job              FAILED 3h00m ago  53.8%"
		"  division by zero\n"
		"#44 users.phone          QUEUED 4min           -"
		"  waits for job 43 on the same..\n");

	for (size_t i = 5; i < 40; i++) {
		jobs[i] = queued_job();
	}
	s.job_count = 40;
	assert_drawn_has(&s, 80, 24, "\nand 29 more\n");
	assert_drawn_has(&s, 80, 24,
		"\n#43 users.email_norm                "
		"          HELD 38s\n");
	/* No job is lost, and none is counted that is shown. */
	for (size_t height = 1; height < 70; height++) {
		char *found = drawn(&s, 80, height), *more;
		size_t shown = 0;

		for (char *c = found; *c != '\0'; c++) {
			shown += *c == '#' && (c == found || c[-1] == '\n');
		}
		more = strstr(found, "\nand ");
		if (height >= 5) {
			assert_int_equal(shown +
					(more != NULL ? strtoul(more + 5, NULL,
								10)
						      : 0),
				40);
		}
		free(found);
	}
}

/* Anybody may queue thousands: a draw must not take longer for each. */
static void test_thousands_of_jobs(void **state)
{
	enum { JOBS = 20000 };
	struct screen_job *jobs = test_calloc(JOBS, sizeof *jobs);
	struct screen s = screen_of(jobs, JOBS);

	(void)state;
	for (size_t i = 0; i < JOBS; i++) {
		jobs[i] = queued_job();
	}
	assert_drawn_has(&s, 80, 24, "\nand 19989 more\n");
	assert_drawn_has(&s, 200, 60, " more\n");
	test_free(jobs);
}

/* What the server did not tell of is counted. */
static void test_jobs_left_out(void **state)
{
	struct screen_job jobs[] = { running_job(), queued_job() };
	struct screen s = screen_of(jobs, 2);

	(void)state;
	s.left_out[SCREEN_QUEUED] = 700;
	s.left_out[SCREEN_PAUSED] = 3;
	s.oldest_queued_s = 7200;
	assert_drawn_has(&s, 80, 0, " pause 3 queue 701 (oldest 2h00m) ");
	assert_drawn_has(&s, 80, 0, "\n\nand 703 more\n");
	assert_drawn_has(&s, 80, 14, "\nand 703 more\n");
	s.job = "42";
	assert_drawn_lacks(&s, 80, 0, "more");
}

static void test_one_job(void **state)
{
	struct screen_job jobs[] = { running_job(), failed_job() };
	struct screen s = screen_of(jobs, 2);

	(void)state;
	jobs[1].state = SCREEN_SUCCEEDED;
	assert_drawn_lacks(&s, 80, 0, "#40");
	s.job = "40";
	assert_drawn_has(&s, 80, 0, "\n#40 old.job");
	assert_drawn_has(&s, 80, 0, " run 1 ");
	assert_drawn_lacks(&s, 80, 0, "#42");
	s.job = NULL;
	s.job_count = 0;
	assert_drawn_has(&s, 80, 0, "\n\nno job is open\n");
}

/* ---- warnings */

static void test_warnings(void **state)
{
	struct screen_daemon dead = { "db1", "4711", "1.0", 900, 300, 0 };
	struct screen_job jobs[] = { running_job(), queued_job() };
	struct screen s = screen_of(jobs, 2);

	(void)state;
	assert_drawn_lacks(&s, 80, 0, "warning");
	s.daemons = &dead;
	assert_drawn_has(&s, 80, 0,
		"backfilld - | run 1 pause 0 queue 1 (oldest 4min) fail 0\n");
	assert_drawn_has(&s, 80, 0,
		"\nwarning: 2 jobs wait and no daemon is alive; last seen on"
		" db1, pid 4711, 5min\n         ago\n");
	s.daemon_count = 0;
	assert_drawn_has(
		&s, 80, 0, "\nwarning: 2 jobs wait and no daemon is alive\n");
	s.stopped_by = "bob";
	s.stopped_s = 90;
	assert_drawn_has(
		&s, 80, 0, "\nwarning: all work is stopped by bob for 1min\n");
	s.stop_reason = "incident 7";
	assert_drawn_has(&s, 80, 0,
		"\nwarning: all work is stopped by bob for 1min: incident"
		" 7\n");
}

static void test_daemons_and_standbys(void **state)
{
	struct screen_daemon daemons[] = {
		{ "db1", "1", "1.0", 9, 1, 1 },
		{ "db2", "2", "1.0", 8, 1, 1 },
		{ "db3", "3", "1.0", 8, 900, 0 },
	};
	struct screen_signal signals[] = {
		{ "standby1", UNKNOWN, 5, 2.5, 1, 1 },
		{ "standby2", 1, 5, 2.5, 65, 0 },
	};
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);

	(void)state;
	s.daemons = daemons;
	s.daemon_count = 3;
	s.signals = signals;
	s.host = "/var/run/postgresql";
	assert_drawn_has(&s, 80, 0, "backfilld 1.0 2 daemons | run 1 ");
	assert_drawn_has(&s, 80, 0,
		"\nprimary [local]:5432/shop  standbys 1/2 seen 1min ago ");
	assert_drawn_has(
		&s, 80, 0, "\n  pace lag -/5s standby1 | lag 1.0/5s standby2");
}

/* ---- a line for a chat */

static void assert_short(const struct screen_job *job, const char *wanted)
{
	struct text t;

	text_init(&t);
	ctl_screen_short(&t, job);
	assert_string_equal(t.data, wanted);
	text_close(&t);
}

static void test_short(void **state)
{
	struct screen_job job = held_job();

	(void)state;
	assert_short(&job,
		"#43 users.email_norm 53.8% held 38s: replay lag 9.4 s > 5 s"
		" on standby \"standby2\", eta 3h10m");
	job = running_job();
	assert_short(&job,
		"#42 orders.amount_cents 53.8% running 18.4k/s, eta 52min");
	job = paused_job();
	assert_short(&job,
		"#41 audit.ip 53.8% paused 2h00m: paused by bob: month-end");
	job = queued_job();
	assert_short(&job,
		"#44 users.phone queued 4min: waits for job 43 on the same"
		" table");
	job = failed_job();
	assert_short(
		&job, "#40 old.job 53.8% failed 3h00m ago: division by zero");
	job = unknown_job();
	assert_short(&job, "#7 unknown - running");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_80),
		cmocka_unit_test(test_at_40),
		cmocka_unit_test(test_at_120_and_200),
		cmocka_unit_test(test_the_most_interesting_come_first),
		cmocka_unit_test(test_thousands_of_jobs),
		cmocka_unit_test(test_jobs_left_out),
		cmocka_unit_test(test_one_job),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_daemons_and_standbys),
		cmocka_unit_test(test_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
