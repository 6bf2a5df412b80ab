/* Every error, and a stop, at every action of a run. */

#include "run_drive.h"

#include "rules/sqlstate.h"

/* Bring a run to the action, by a way that exists. */
static void go_to(struct drive *d, enum run_action action)
{
	switch (action) {
	case RUN_CONNECT:
	case RUN_ATTACH:
	case RUN_PREFLIGHT:
	case RUN_BARRIER:
	case RUN_BEGIN:
	case RUN_READ_WINDOW:
		start(d, &usual);
		while (run_current(&d->r) != action) {
			if (run_current(&d->r) == RUN_BEGIN) {
				begun(d, "{5000}");
			} else {
				ok(d);
			}
		}
		break;
	case RUN_BATCH:
		start_batches(d);
		break;
	case RUN_SKIP_WINDOW:
		start_batches(d);
		fails(d, "BF013");
		break;
	case RUN_NEXT_HOLE:
		start_holes(d);
		break;
	case RUN_READ_HOLE:
	case RUN_BATCH_HOLE:
		start_holes(d);
		window_hole(d, 5, "{10}", "{300}");
		if (action == RUN_BATCH_HOLE) {
			window(d, 100, "{120}");
		}
		break;
	case RUN_DRAIN_HOLE:
		start_holes(d);
		hole(d, 5, "{17}", 1000);
		break;
	case RUN_SET_ASIDE:
		start_job(d);
		d->ev.records_errors = 1;
		attach(d, 1, "{1}");
		job_fails(d, "23514");
		break;
	case RUN_FINISH_RANGE:
		start_holes(d);
		ok(d);
		break;
	case RUN_DRY_RUN:
		start_job(d);
		d->ev.is_dry_run = 1;
		attached(d, 0, "", "");
		ok(d);
		break;
	case RUN_EXAMINE:
	case RUN_GUARD:
	case RUN_STEP:
		start(d, &usual);
		ok(d);
		d->ev.is_schema_kind = 1;
		ok(d);
		while (run_current(&d->r) != action) {
			d->ev.way = RUN_WAY_TRANSACTION;
			d->ev.takes_lock = 1;
			ok(d);
		}
		break;
	case RUN_PACE:
		start_batches(d);
		d->ev.held_by = "held";
		window(d, 1000, "{2000}");
		break;
	case RUN_WAIT:
		start_batches(d);
		fails(d, "55P03");
		break;
	case RUN_DISCONNECT:
	case RUN_TAKE:
		start_batches(d);
		breaks(d, BFE_LOST);
		while (run_current(&d->r) != action) {
			ok(d);
		}
		break;
	case RUN_FINISH_JOB:
		finish(d);
		break;
	case RUN_FAIL:
		start_batches(d);
		fails(d, "22012");
		ok(d);
		break;
	case RUN_RELEASE:
	case RUN_END:
		start_batches(d);
		fails(d, "BF011");
		ok(d);
		break;
	}
	assert_int_equal(run_current(&d->r), action);
	text_reset(&d->trace);
}

/* What comes next, one letter per class in the order of the enum: stop
 * forget stopped held retry shrink wait reconnect row. D disconnect, W wait,
 * E end, S skip window, r read window, h read hole, n next hole, F fail, R
 * release, and B batch: go on. */
struct expected {
	enum run_action action;
	const char *next;
	const char *last; /* after the disconnect: F, R, E, or T take */
};

/* Errors of our own statements. */
static const struct expected ours[] = {
	{ RUN_CONNECT, "DDDWWWWDD", "FER    TF" },
	{ RUN_ATTACH, "DDDWWWWDD", "FER    TF" },
	{ RUN_PREFLIGHT, "DDDWWWWDD", "FER    TF" },
	{ RUN_BARRIER, "DDDWWWWWD", "FER     F" },
	{ RUN_BEGIN, "DDDWWWWDD", "FER    TF" },
	{ RUN_READ_WINDOW, "DDDWWWWDD", "FER    TF" },
	{ RUN_BATCH, "DDDSWrWDD", "FER    TF" },
	{ RUN_SKIP_WINDOW, "DDDWWWWDD", "FER    TF" },
	{ RUN_NEXT_HOLE, "DDDWWWWDD", "FER    TF" },
	{ RUN_READ_HOLE, "DDDWWWWDD", "FER    TF" },
	{ RUN_BATCH_HOLE, "DDDWWWWDD", "FER    TF" },
	{ RUN_DRAIN_HOLE, "DDDWnWWDD", "FER    TF" },
	{ RUN_SET_ASIDE, "DDDWWWWDD", "FER    TF" },
	{ RUN_FINISH_RANGE, "DDDWWWWDD", "FER    TF" },
	{ RUN_DRY_RUN, "DDDWWWWDD", "FER    TF" },
	{ RUN_EXAMINE, "DDDWWDWDD", "FER  F TF" },
	{ RUN_GUARD, "DDDWWWWWD", "FER     F" },
	{ RUN_STEP, "DDDWWDWDD", "FER  F TF" },
	{ RUN_PACE, "BBBBBBBBB", "         " },
	{ RUN_WAIT, "BBBBBBBBB", "         " },
	{ RUN_DISCONNECT, "WWWWWWWWW", "         " },
	{ RUN_TAKE, "EEWWWWWWE", "         " },
	{ RUN_FINISH_JOB, "FERWWWWWF", "         " },
	{ RUN_FAIL, "WEWWWWWWW", "         " },
	{ RUN_RELEASE, "EEWWWWWWE", "         " },
};

/* Errors of the statement that runs the job's own code. */
static const struct expected of_job[] = {
	{ RUN_BATCH, "DDDSWrWDr", "FFF    T " },
	{ RUN_BATCH_HOLE, "DDDWnhWDh", "FFF    T " },
	{ RUN_DRAIN_HOLE, "DDDWnWWDD", "FFF    TF" },
	{ RUN_DRY_RUN, "DDDWWWWDD", "FFF    TF" },
	{ RUN_EXAMINE, "DDDWWDWDD", "FFF  F TF" },
	{ RUN_STEP, "DDDWWDWDD", "FFF  F TF" },
};

static const char *const of_class[] = {
	[SQLSTATE_STOP] = "0A000",
	[SQLSTATE_FORGET] = "BF010",
	[SQLSTATE_STOPPED] = "BF011",
	[SQLSTATE_HELD] = "BF013",
	[SQLSTATE_RETRY] = "55P03",
	[SQLSTATE_SHRINK] = "57014",
	[SQLSTATE_WAIT] = "53300",
	[SQLSTATE_RECONNECT] = "57P01",
	[SQLSTATE_ROW] = "22012",
};

static char letter(enum run_action a)
{
	static const char letters[] = {
		[RUN_READ_WINDOW] = 'r',
		[RUN_READ_HOLE] = 'h',
		[RUN_BATCH] = 'B',
		[RUN_SKIP_WINDOW] = 'S',
		[RUN_NEXT_HOLE] = 'n',
		[RUN_WAIT] = 'W',
		[RUN_DISCONNECT] = 'D',
		[RUN_TAKE] = 'T',
		[RUN_FAIL] = 'F',
		[RUN_RELEASE] = 'R',
		[RUN_END] = 'E',
	};

	return letters[a] != '\0' ? letters[a] : '?';
}

static void check_error(const struct expected *x, size_t class, int is_of_job)
{
	struct drive d;
	char last = ' ';

	go_to(&d, x->action);
	d.ev.of_job = is_of_job;
	fails(&d, of_class[class]);
	if (letter(run_current(&d.r)) != x->next[class]) {
		fail_msg("%s", d.trace.data);
	}
	if (run_current(&d.r) == RUN_DISCONNECT) {
		while (run_current(&d.r) == RUN_DISCONNECT ||
			run_current(&d.r) == RUN_WAIT) {
			ok(&d);
		}
		last = letter(run_current(&d.r));
	}
	if (last != x->last[class]) {
		fail_msg("%s", d.trace.data);
	}
	end(&d);
}

static void test_every_error_at_every_action(void **state)
{
	(void)state;
	assert_int_equal(COUNT(ours), RUN_END);
	for (size_t class = 0; class < COUNT(of_class); class ++) {
		for (size_t i = 0; i < COUNT(ours); i++) {
			check_error(&ours[i], class, 0);
		}
		for (size_t i = 0; i < COUNT(of_job); i++) {
			check_error(&of_job[i], class, 1);
		}
	}
}

/* After a pause the same is done again, and it may end well. */
static void test_every_action_is_repeated(void **state)
{
	(void)state;
	for (int a = 0; a < RUN_END; a++) {
		struct drive d;

		if (a == RUN_PACE || a == RUN_WAIT || a == RUN_DISCONNECT) {
			continue;
		}
		go_to(&d, (enum run_action)a);
		fails(&d, "53300");
		assert_int_equal(run_current(&d.r), RUN_WAIT);
		assert_true(d.r.pause_ms >= 50);
		assert_string_not_equal(d.r.reason, "");
		ok(&d);
		if (a == RUN_DRAIN_HOLE || a == RUN_BATCH_HOLE) {
			assert_int_equal(run_current(&d.r), RUN_NEXT_HOLE);
			assert_int_equal(d.r.hole.id, 4);
		} else if (a == RUN_STEP) {
			/* Examined anew, and found again. */
			assert_int_equal(run_current(&d.r), RUN_EXAMINE);
			ok(&d);
		} else {
			assert_int_equal(run_current(&d.r), a);
		}
		if (a == RUN_BEGIN) {
			begun(&d, "{5000}");
		} else {
			window(&d, 100, "{2000}");
		}
		assert_true(a == RUN_BATCH ? d.r.seq == 1
					   : (int)run_current(&d.r) != a);
		end(&d);
	}
}

/* The daemon stops while the action is under way, and it ends well, or with
 * an error that would be met by another try. */
static void test_stop_at_every_action(void **state)
{
	static const char *const errors[] = { NULL, "BF013", "55P03", "57014",
		"53300", "57P01" };

	(void)state;
	for (int a = 0; a < RUN_END; a++) {
		for (size_t i = 0; i < COUNT(errors); i++) {
			struct drive d;
			int steps = 0;
			int released = 0;
			int is_last = a == RUN_FINISH_JOB || a == RUN_FAIL ||
				a == RUN_RELEASE || a == RUN_DRY_RUN;

			go_to(&d, (enum run_action)a);
			d.ev.stop_asked = 1;
			if (errors[i] != NULL) {
				fails(&d, errors[i]);
			} else if (a == RUN_BATCH || a == RUN_READ_WINDOW ||
				a == RUN_READ_HOLE) {
				window(&d, 1000, "{2000}");
			} else {
				ok(&d);
			}
			while (run_current(&d.r) != RUN_END) {
				if (run_current(&d.r) == RUN_BATCH ||
					run_current(&d.r) == RUN_BATCH_HOLE ||
					run_current(&d.r) == RUN_DRAIN_HOLE ||
					++steps > 10) {
					fail_msg("%s", d.trace.data);
				}
				released |= run_current(&d.r) == RUN_RELEASE;
				d.ev.stop_asked = 1;
				if (run_current(&d.r) == RUN_READ_WINDOW) {
					window(&d, 1000, "{2000}");
				} else {
					ok(&d);
				}
			}
			if (!released && !is_last) {
				fail_msg("%s", d.trace.data);
			}
			if (released && !is_last) {
				assert_string_equal(
					d.r.reason, "the daemon stops");
			}
			end(&d);
		}
	}
}

/* A release raises the epoch too: nothing is taken first. */
static void test_stop_before_a_reconnect(void **state)
{
	struct drive d;

	(void)state;
	go_to(&d, RUN_DISCONNECT);
	ok(&d);
	for (int i = 0; i < 3; i++) {
		d.ev.stop_asked = 1;
		ok(&d);
	}
	expect(&d,
		"ok -> wait 50 ms: gone -> again in 50 ms\n"
		"ok -> disconnect\n"
		"ok -> release: the daemon stops\n"
		"ok -> end\n");
	end(&d);
}

/* What was done before the range ended is not thrown away. */
static void test_stop_does_not_undo_the_end(void **state)
{
	struct drive d;

	(void)state;
	go_to(&d, RUN_FINISH_RANGE);
	d.ev.stop_asked = 1;
	finished(&d);
	for (int i = 0; i < 2; i++) {
		d.ev.stop_asked = 1;
		ok(&d);
	}
	expect(&d,
		"finished -> disconnect\n"
		"ok -> finish job\n"
		"ok -> end\n");
	end(&d);
}

/* An error that cannot be recorded is told by its SQLSTATE alone; what
 * cannot be told at all ends the run, and the daemon releases the job. */
static void test_unrecordable_failure_ends(void **state)
{
	struct drive d;

	(void)state;
	go_to(&d, RUN_FAIL);
	assert_string_equal(d.r.error.message, "oh");
	fails(&d, "22021");
	assert_string_equal(d.r.error.message,
		"the job failed with an error that could not be recorded");
	assert_string_equal(d.r.error.sqlstate, "22012");
	ok(&d);
	fails(&d, "22021");
	assert_int_equal(run_current(&d.r), RUN_END);
	end(&d);
}

/* A trigger of the job's table may raise our SQLSTATEs: that is an error
 * of the job, not a word of the fence. */
static void test_job_cannot_speak_for_the_fence(void **state)
{
	static const char *const codes[] = { "BF010", "BF011" };

	(void)state;
	for (size_t i = 0; i < COUNT(codes); i++) {
		struct drive d;

		go_to(&d, RUN_BATCH);
		d.ev.of_job = 1;
		fails(&d, codes[i]);
		ok(&d);
		assert_int_equal(run_current(&d.r), RUN_FAIL);
		assert_string_equal(d.r.error.sqlstate, codes[i]);
		end(&d);
	}
}

/* The server's detail may quote the row: it is stored nowhere. */
static void test_no_row_is_quoted(void **state)
{
	struct drive d;

	(void)state;
	go_to(&d, RUN_DRY_RUN);
	job_fails(&d, "23514");
	ok(&d);
	assert_int_equal(run_current(&d.r), RUN_FAIL);
	assert_string_equal(d.r.error.sqlstate, "23514");
	assert_string_equal(d.r.error.detail, "");
	end(&d);

	/* Rows of a hole that was read as empty. */
	start_holes(&d);
	while (run_current(&d.r) != RUN_DISCONNECT) {
		window_hole(&d, 5, "{10}", "{300}");
		window(&d, 0, "");
		job_fails(&d, "23514");
		d.now_ms += usual.trouble_timeout_ms;
		if (run_current(&d.r) == RUN_WAIT) {
			ok(&d);
		}
	}
	assert_string_equal(d.r.error.sqlstate, "23514");
	assert_string_equal(d.r.error.detail, "It was tried again for 600 s.");
	end(&d);

	/* What our own functions say is told. */
	go_to(&d, RUN_BATCH);
	job_fails(&d, "BF021");
	assert_string_equal(d.r.error.detail, "Failing row contains (secret).");
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error_at_every_action),
		cmocka_unit_test(test_every_action_is_repeated),
		cmocka_unit_test(test_stop_at_every_action),
		cmocka_unit_test(test_stop_before_a_reconnect),
		cmocka_unit_test(test_stop_does_not_undo_the_end),
		cmocka_unit_test(test_unrecordable_failure_ends),
		cmocka_unit_test(test_job_cannot_speak_for_the_fence),
		cmocka_unit_test(test_no_row_is_quoted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
