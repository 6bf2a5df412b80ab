#include "keeper.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "logs.h"
#include "pgdata.h"
#include "wait.h"

enum { END_SECONDS = 30 };

void keeper_remove(const char *dir)
{
	uint64_t deadline = wait_deadline(END_SECONDS);

	while (!pgdata_remove(dir) && wait_again(deadline)) {
	}
}

static void wait_for_server_end(const char *dir)
{
	char path[PATH_MAX];
	uint64_t deadline = wait_deadline(END_SECONDS);

	(void)snprintf(path, sizeof path, "%s/data/postmaster.pid", dir);
	while (access(path, F_OK) == 0 && wait_again(deadline)) {
	}
}

/* A session of its own, so that what ends the test's process group spares
 * it; no file of the test's but the standard ones, so that a connection that
 * the test closes is closed. */
static void keep(const char *dir, pid_t parent)
{
	sigset_t all, death;
	int signo;

	(void)setsid();
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)close_range(3, ~0U, 0);
	sigemptyset(&death);
	sigaddset(&death, SIGUSR1);
	(void)prctl(PR_SET_PDEATHSIG, SIGUSR1);
	while (getppid() == parent) {
		(void)sigwait(&death, &signo);
	}
	wait_for_server_end(dir);
	logs_print_tails(dir);
	keeper_remove(dir);
	_exit(0);
}

pid_t keeper_start(const char *dir)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		keep(dir, parent);
	}
	return pid;
}
