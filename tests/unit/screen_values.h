/* screen_values.h: looks at databases that are not there, for the tests of
 * the layout of the status screen. */
#ifndef BACKFILL_TESTS_SCREEN_VALUES_H
#define BACKFILL_TESTS_SCREEN_VALUES_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "ctl/ctl_screen.h"

#define UNKNOWN ((double)NAN)

static const struct screen_daemon one_daemon[] = {
	{ "db1", "4711", "1.0", 3 * 86400 + 4 * 3600, 1, 1 },
};

static const struct screen_signal two_signals[] = {
	{ "standby1", 0.8, 5, 2.5, 1.2, 0 },
	{ "standby2", 9.4, 5, 2.5, 0.9, 1 },
};

/* Nothing is known of it but its name. */
static inline struct screen_job unknown_job(void)
{
	struct screen_job j;

	memset(&j, 0, sizeof j);
	j.id = "7";
	j.name = "unknown";
	j.state = SCREEN_RUNNING;
	j.percent = j.rows_read = j.rows_total_estimate = j.rows_done = UNKNOWN;
	j.batches = j.rows_per_second = j.rows_per_second_5min = UNKNOWN;
	j.batch_rows = j.batch_p50_s = j.batch_p95_s = UNKNOWN;
	j.target_batch_s = j.pause_s = j.paced_s = j.eta_s = UNKNOWN;
	j.since_s = j.saved_s = j.age_s = j.elapsed_s = j.ended_s = UNKNOWN;
	j.work_s = j.held_s = j.paused_s = j.holes = j.row_errors = UNKNOWN;
	j.pass = j.late_rows = j.retries = j.retried_s = UNKNOWN;
	return j;
}

static inline struct screen_job running_job(void)
{
	struct screen_job j = unknown_job();

	j.id = "42";
	j.name = "orders.amount_cents";
	j.key = "64120331";
	j.last_key = "119412887";
	j.submitted_by = j.run_as = "alice";
	j.priority = "5";
	j.came_by = "taken_over";
	j.retry_sqlstate = "40P01";
	j.percent = 53.8;
	j.rows_read = 64120331;
	j.rows_total_estimate = 119.2e6;
	j.rows_done = 64000001;
	j.batches = 15202;
	j.rows_per_second = 18400;
	j.rows_per_second_5min = 16900;
	j.batch_rows = 4200;
	j.batch_p50_s = 0.212;
	j.batch_p95_s = 0.309;
	j.target_batch_s = 0.25;
	j.pause_s = 0.04;
	j.paced_s = 130;
	j.eta_s = 52 * 60 + 30;
	j.since_s = 300;
	j.saved_s = 2;
	j.age_s = 3800;
	j.elapsed_s = 3725;
	j.work_s = 3240;
	j.held_s = 485;
	j.paused_s = 0;
	j.holes = j.row_errors = j.pass = 0;
	j.retries = 1;
	j.retried_s = 660;
	return j;
}

static inline struct screen_job held_job(void)
{
	struct screen_job j = running_job();

	j.id = "43";
	j.name = "users.email_norm";
	j.state = SCREEN_HELD;
	j.waits_for = "lag";
	j.reason = "held: replay lag 9.4 s > 5 s on standby \"standby2\""
		   " -> goes on below 2.5 s";
	j.came_by = NULL;
	j.since_s = 38;
	j.eta_s = 3 * 3600 + 600;
	return j;
}

static inline struct screen_job paused_job(void)
{
	struct screen_job j = running_job();

	j.id = "41";
	j.name = "audit.ip";
	j.state = SCREEN_PAUSED;
	j.waits_for = "paused";
	j.reason = "paused by bob: month-end";
	j.came_by = NULL;
	j.since_s = 7200;
	j.rows_per_second = j.rows_per_second_5min = j.eta_s = UNKNOWN;
	j.pause_s = UNKNOWN;
	return j;
}

static inline struct screen_job queued_job(void)
{
	struct screen_job j = unknown_job();

	j.id = "44";
	j.name = "users.phone";
	j.state = SCREEN_QUEUED;
	j.waits_for = "queue";
	j.reason = "waits for job 43 on the same table";
	j.submitted_by = "alice";
	j.run_as = "app";
	j.priority = "0";
	j.age_s = 245;
	return j;
}

static inline struct screen_job failed_job(void)
{
	struct screen_job j = running_job();

	j.id = "40";
	j.name = "old.job";
	j.state = SCREEN_FAILED;
	j.reason = "division by zero";
	j.error_sqlstate = "22012";
	j.error_message = "division by zero";
	j.error_detail = "In a row.";
	j.error_hint = "Do not.";
	j.ended_s = 10800;
	return j;
}

static inline struct screen screen_of(
	const struct screen_job *jobs, size_t count)
{
	struct screen s;

	memset(&s, 0, sizeof s);
	s.now = 1795349071; /* 2026-11-22 12:04:31 UTC */
	s.database = "shop";
	s.host = "db1";
	s.port = "5432";
	s.stopped_s = UNKNOWN;
	s.daemons = one_daemon;
	s.daemon_count = 1;
	s.signals = two_signals;
	s.signal_count = 2;
	s.jobs = jobs;
	s.job_count = count;
	return s;
}

/* The caller frees it. */
static inline char *drawn(const struct screen *s, size_t width, size_t height)
{
	struct block b;
	struct text t;

	block_init(&b, width);
	text_init(&t);
	ctl_screen_draw(&b, s, height, NULL);
	for (size_t i = 0; i < b.count; i++) {
		if (block_columns(b.lines[i]) > width) {
			fail_msg("wider than %zu: %s", width, b.lines[i]);
		}
	}
	if (height > 0 && b.count > height) {
		fail_msg("%zu lines for %zu", b.count, height);
	}
	block_print(&t, &b, BLOCK_PLAIN, "\n");
	block_close(&b);
	return text_take(&t);
}

static inline void assert_drawn(
	const struct screen *s, size_t width, size_t height, const char *wanted)
{
	char *found = drawn(s, width, height);

	if (strcmp(found, wanted) != 0) {
		fprintf(stderr, "---- wanted\n%s---- found\n%s", wanted, found);
		fail_msg("the screen differs");
	}
	free(found);
}

static inline void assert_drawn_has(
	const struct screen *s, size_t width, size_t height, const char *part)
{
	char *found = drawn(s, width, height);

	if (strstr(found, part) == NULL) {
		fprintf(stderr, "---- wanted\n%s\n---- in\n%s", part, found);
		fail_msg("the screen lacks a part");
	}
	free(found);
}

static inline void assert_drawn_lacks(
	const struct screen *s, size_t width, size_t height, const char *part)
{
	char *found = drawn(s, width, height);

	if (strstr(found, part) != NULL) {
		fprintf(stderr, "---- not wanted\n%s\n---- in\n%s", part,
			found);
		fail_msg("the screen has a part");
	}
	free(found);
}

#endif
