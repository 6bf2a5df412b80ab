#include "base/sm.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_all.h"

enum { OPEN, BUSY, CLOSED };

static const struct sm_state states[] = {
	[OPEN] = { "open", SM_TO(BUSY) | SM_TO(CLOSED) },
	[BUSY] = { "busy", SM_TO(OPEN) | SM_TO(BUSY) },
	[CLOSED] = { "closed", 0 },
};

static void test_moves_that_the_table_allows(void **state)
{
	struct sm m;

	(void)state;
	sm_init(&m, "door", states, OPEN);
	assert_string_equal(sm_name(&m), "open");
	sm_move(&m, BUSY);
	assert_string_equal(sm_name(&m), "busy");
	sm_move(&m, BUSY);
	sm_move(&m, OPEN);
	sm_move(&m, CLOSED);
	assert_int_equal(m.state, CLOSED);
	assert_string_equal(sm_name(&m), "closed");
}

static void test_can_tells_and_does_not_move(void **state)
{
	struct sm m;

	(void)state;
	sm_init(&m, "door", states, BUSY);
	assert_true(sm_can(&m, OPEN));
	assert_true(sm_can(&m, BUSY));
	assert_false(sm_can(&m, CLOSED));
	assert_int_equal(m.state, BUSY);
	sm_init(&m, "door", states, CLOSED);
	assert_false(sm_can(&m, OPEN));
	assert_false(sm_can(&m, CLOSED));
}

/* Move in a child process; how it ended. */
static int status_after_move(int from, int to)
{
	const struct rlimit no_core = { 0, 0 };
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct sm m;
		int null = open("/dev/null", O_WRONLY);

		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)signal(SIGABRT, SIG_DFL);
		(void)dup2(null, 2);
		sm_init(&m, "door", states, from);
		sm_move(&m, to);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void test_illegal_move_aborts(void **state)
{
	int status;

	(void)state;
	status = status_after_move(OPEN, BUSY);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

	status = status_after_move(BUSY, CLOSED);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);

	status = status_after_move(CLOSED, OPEN);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves_that_the_table_allows),
		cmocka_unit_test(test_can_tells_and_does_not_move),
		cmocka_unit_test(test_illegal_move_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
