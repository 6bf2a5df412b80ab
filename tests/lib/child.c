#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "wait.h"

enum { RUN_SECONDS = 120 };

static gid_t group_of(uid_t uid)
{
	struct passwd *user = getpwuid(uid);

	return user != NULL ? user->pw_gid : (gid_t)uid;
}

static int become(uid_t uid, gid_t gid)
{
	if (geteuid() != 0 || uid == 0) {
		return 0;
	}
	return setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0;
}

static void set_environment(const char *const *env)
{
	for (; env != NULL && *env != NULL; env += 2) {
		(void)setenv(env[0], env[1], 1);
	}
}

/* Never returns. The death signal is cleared by setuid(2), so it comes
 * after; a parent that died before it was set is seen by getppid(2). */
static void run(const struct child *child, gid_t gid, pid_t parent)
{
	int signo = child->death_signal != 0 ? child->death_signal : SIGKILL;
	int input = open("/dev/null", O_RDONLY);

	if (child->output >= 0) {
		(void)dup2(child->output, STDOUT_FILENO);
		(void)dup2(child->output, STDERR_FILENO);
	}
	(void)dup2(input, STDIN_FILENO);
	set_environment(child->env);
	if (become(child->uid, gid) == 0 &&
		prctl(PR_SET_PDEATHSIG, signo) == 0 && getppid() == parent &&
		(child->directory == NULL || chdir(child->directory) == 0)) {
		execvp(child->argv[0], child->argv);
	}
	dprintf(STDERR_FILENO, "could not run \"%s\": %s\n", child->argv[0],
		strerror(errno));
	_exit(127);
}

pid_t child_start(const struct child *child)
{
	gid_t gid = group_of(child->uid);
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		run(child, gid, parent);
	}
	if (pid < 0) {
		fail_msg("could not fork: %s", strerror(errno));
	}
	return pid;
}

static int exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int child_wait(pid_t pid, uint64_t deadline_ms, int *code)
{
	int status = 0;
	pid_t reaped;

	while ((reaped = waitpid(pid, &status, WNOHANG)) == 0) {
		if (!wait_again(deadline_ms)) {
			return 0;
		}
	}
	if (code != NULL) {
		*code = reaped == pid ? exit_code(status) : 127;
	}
	return 1;
}

void child_kill(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
	}
}

/* A file rather than a pipe: nobody has to read while it runs. */
static void take_output(int fd, char *output, size_t size)
{
	ssize_t length = pread(fd, output, size - 1, 0);

	output[length > 0 ? length : 0] = '\0';
	close(fd);
}

int child_run(const struct child *child, char *output, size_t size)
{
	struct child captured = *child;
	int code = 0;
	pid_t pid;

	captured.output = memfd_create("output", MFD_CLOEXEC);
	assert_true(captured.output >= 0);
	pid = child_start(&captured);
	if (!child_wait(pid, wait_deadline(RUN_SECONDS), &code)) {
		child_kill(pid);
		take_output(captured.output, output, size);
		fprintf(stderr, "%s\n", output);
		fail_msg("\"%s\" does not end", child->argv[0]);
	}
	take_output(captured.output, output, size);
	return code;
}
