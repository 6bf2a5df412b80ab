/* What is watched in lines: which looks are told of, and of which jobs. */
#include "ctl/ctl_lines.h"
#include "screen_values.h"

#define AT "2026-11-22 12:04:31Z "
#define RUNNING AT "#42 orders.amount_cents 53.8% running 18.4k/s, eta 52min\n"

static void assert_told(struct lines *l, const struct screen *s,
	uint64_t now_ms, const char *wanted)
{
	struct text t;

	text_init(&t);
	lines_add(l, &t, s, now_ms);
	assert_string_equal(t.data, wanted);
	text_close(&t);
}

/* As gh-ost: every second for a minute, then five, then thirty. */
static void test_less_and_less(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);
	unsigned told[4] = { 0, 0, 0, 0 };
	struct lines l;
	struct text t;

	(void)state;
	text_init(&t);
	lines_init(&l, 1000000, 0);
	for (uint64_t second = 0; second < 480; second++) {
		text_reset(&t);
		lines_add(&l, &t, &s, 1000000 + second * 1000);
		told[second < 60	       ? 0
				: second < 180 ? 1
				: second < 300 ? 2
					       : 3] += t.length > 0;
	}
	assert_int_equal(told[0], 60);
	assert_int_equal(told[1], 24);
	assert_int_equal(told[2], 4);
	assert_int_equal(told[3], 6);
	lines_close(&l);
	text_close(&t);
}

static void test_every_look(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);
	struct lines l;

	(void)state;
	lines_init(&l, 0, 1);
	for (uint64_t ms = 0; ms < 400000; ms += 100000) {
		assert_told(&l, &s, ms, RUNNING);
		assert_told(&l, &s, ms + 1, RUNNING);
	}
	lines_close(&l);
}

/* At once, and of that job alone; another number in a reason is none. */
static void test_a_change_is_told(void **state)
{
	struct screen_job jobs[] = { running_job(), held_job() };
	struct screen s = screen_of(jobs, 2);
	struct lines l;
	struct text t;

	(void)state;
	lines_init(&l, 0, 0);
	text_init(&t);
	lines_add(&l, &t, &s, 0);
	assert_non_null(strstr(t.data, "#42"));
	assert_non_null(strstr(t.data, "#43"));
	jobs[1].reason = "held: replay lag 9.9 s";
	assert_told(&l, &s, 100, "");
	jobs[1].waits_for = "locks";
	jobs[1].reason = "waits for a lock: x";
	jobs[1].eta_s = UNKNOWN;
	assert_told(&l, &s, 200,
		AT "#43 users.email_norm 53.8% held 38s: waits for a lock:"
		   " x\n");
	assert_told(&l, &s, 300, "");
	jobs[1].state = SCREEN_SUCCEEDED;
	jobs[1].waits_for = jobs[1].reason = NULL;
	jobs[1].ended_s = 0;
	assert_told(&l, &s, 400,
		AT "#43 users.email_norm 53.8% succeeded 0s ago\n");
	assert_told(&l, &s, 2000, RUNNING);
	lines_close(&l);
	text_close(&t);
}

/* What had ended before is no news. */
static void test_what_ended_before(void **state)
{
	struct screen_job job = failed_job();
	struct screen s = screen_of(&job, 1);
	struct lines l;

	(void)state;
	lines_init(&l, 0, 0);
	job.state = SCREEN_SUCCEEDED;
	assert_told(&l, &s, 0, AT "no job is open\n");
	assert_told(&l, &s, 100, "");
	assert_false(lines_is_over(&s));
	s.job = "40";
	assert_true(lines_is_over(&s));
	job.state = SCREEN_PAUSED;
	assert_false(lines_is_over(&s));
	s.job = "";
	assert_true(lines_is_over(&s));
	lines_close(&l);
}

static void test_trouble_is_told_once(void **state)
{
	struct screen_job job = running_job();
	struct screen s = screen_of(&job, 1);
	struct lines l;
	struct text t;

	(void)state;
	lines_init(&l, 0, 0);
	text_init(&t);
	assert_told(&l, &s, 0, RUNNING);
	lines_add_trouble(&l, &t, s.now, "gone\x1b");
	assert_string_equal(t.data, AT "no answer: gone?\n");
	lines_add_trouble(&l, &t, s.now, "gone");
	assert_string_equal(t.data, AT "no answer: gone?\n");
	assert_told(&l, &s, 100, RUNNING);
	assert_told(&l, &s, 200, "");
	lines_close(&l);
	text_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_less_and_less),
		cmocka_unit_test(test_every_look),
		cmocka_unit_test(test_a_change_is_told),
		cmocka_unit_test(test_what_ended_before),
		cmocka_unit_test(test_trouble_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
