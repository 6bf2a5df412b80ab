#include "pgdata.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"

enum { OUTPUT_BYTES = 4096 };

uid_t pgdata_uid(void)
{
	struct passwd *user;

	if (geteuid() != 0) {
		return geteuid();
	}
	user = getpwnam("postgres");
	if (user == NULL) {
		fail_msg("as root a user \"postgres\" is needed");
	}
	return user->pw_uid;
}

const char *pgdata_build_dir(void)
{
	const char *directory = getenv("BACKFILL_BUILD_DIR");

	return directory != NULL && *directory != '\0' ? directory
						       : "build/release";
}

static void run_or_fail(char *const argv[], uid_t uid, const char *directory,
	char *output, size_t size)
{
	struct child child = {
		.argv = argv,
		.directory = directory,
		.uid = uid,
		.output = -1,
	};
	int code = child_run(&child, output, size);

	if (code != 0) {
		fprintf(stderr, "%s\n", output);
		fail_msg("\"%s\" ended with %d", argv[0], code);
	}
}

void pgdata_program(char *path, size_t size, const char *name)
{
	static char bindir[512];
	const char *given = getenv("PG_BINDIR");

	if (bindir[0] == '\0' && given != NULL && *given != '\0') {
		(void)snprintf(bindir, sizeof bindir, "%s", given);
	} else if (bindir[0] == '\0') {
		char *const argv[] = { "pg_config", "--bindir", NULL };

		run_or_fail(argv, geteuid(), NULL, bindir, sizeof bindir);
		bindir[strcspn(bindir, "\n")] = '\0';
	}
	assert_true(snprintf(path, size, "%s/%s", bindir, name) < (int)size);
}

/* Small WAL segments make a copy half as large; fsync waits for nobody
 * here. The locale is one that every machine has. */
static void initdb(const char *path)
{
	char program[PATH_MAX], parent[PATH_MAX], output[OUTPUT_BYTES];
	char *const argv[] = { program, "-D", (char *)path, "-U", "postgres",
		"-A", "trust", "-E", "UTF8", "--locale=C", "--wal-segsize=1",
		"--no-sync", NULL };

	pgdata_program(program, sizeof program, "initdb");
	(void)snprintf(parent, sizeof parent, "%s", path);
	*strrchr(parent, '/') = '\0';
	run_or_fail(argv, pgdata_uid(), parent, output, sizeof output);
}

static void copy(const char *from, const char *to)
{
	char output[OUTPUT_BYTES];
	char *const argv[] = { "cp", "-a", "--reflink=auto", (char *)from,
		(char *)to, NULL };

	run_or_fail(argv, geteuid(), NULL, output, sizeof output);
}

static int server_major(void)
{
	char program[PATH_MAX], output[OUTPUT_BYTES];
	char *const argv[] = { program, "-V", NULL };
	int major = 0;

	pgdata_program(program, sizeof program, "postgres");
	run_or_fail(argv, pgdata_uid(), "/", output, sizeof output);
	if (sscanf(output, "postgres (PostgreSQL) %d", &major) != 1) {
		fail_msg("\"%s\" -V says %s", program, output);
	}
	return major;
}

/* Only a whole template gets the name, so a killed program leaves none. */
static void make_template(const char *path, const char *template)
{
	char partial[PATH_MAX];

	initdb(path);
	assert_true(snprintf(partial, sizeof partial, "%s.partial", template) <
		(int)sizeof partial);
	(void)pgdata_remove(partial);
	copy(path, partial);
	assert_return_code(rename(partial, template), errno);
}

void pgdata_create(const char *path)
{
	char template[PATH_MAX], lock[PATH_MAX];
	int fd;

	(void)snprintf(template, sizeof template, "%s/pg-template-%d-%u",
		pgdata_build_dir(), server_major(), (unsigned)pgdata_uid());
	assert_true(snprintf(lock, sizeof lock, "%s.lock", template) <
		(int)sizeof lock);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0) {
		initdb(path);
		return;
	}
	assert_return_code(flock(fd, LOCK_EX), errno);
	if (access(template, F_OK) != 0) {
		make_template(path, template);
		close(fd);
		return;
	}
	close(fd);
	copy(template, path);
}

static int remove_one(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

int pgdata_remove(const char *directory)
{
	(void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return access(directory, F_OK) != 0;
}
