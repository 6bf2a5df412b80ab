/* child.h: programs that a test starts. They are children of the test
 * program itself and get a signal from the kernel when it dies, so that
 * none is left however it ends. */
#ifndef BACKFILL_TESTS_CHILD_H
#define BACKFILL_TESTS_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	char *const *argv;	/* NULL-terminated; argv[0] as in execvp(3) */
	const char *const *env; /* pairs of name and value, NULL; or NULL */
	const char *directory;	/* to run in; NULL: ours */
	uid_t uid;		/* to run as; only root can name another */
	int output;		/* for standard output and error; -1: ours */
	int death_signal;	/* when the test program dies; 0: SIGKILL */
};

/* Fails the test when there can be no process. A program that cannot be
 * executed ends with 127 and a line in its output. */
pid_t child_start(const struct child *child);

/* Reap. Returns 1 and sets *code to the exit code, or to 128 + the signal
 * that ended it (code may be NULL); 0 when it still runs at the deadline. */
int child_wait(pid_t pid, uint64_t deadline_ms, int *code);

/* SIGKILL and reap. */
void child_kill(pid_t pid);

/* Start, wait and return the exit code; what it wrote goes to output, cut
 * to size - 1 bytes and terminated. The child's own output is ignored. Still
 * running after two minutes: killed, and the test fails. */
int child_run(const struct child *child, char *output, size_t size);

#endif
