/* ctl_check_lines.h: the lines of a `backfillctl check`, told apart by
 * patterns of the shell, where * stands for numbers and versions. For the
 * test_ctl_check*.c only. */
#ifndef BACKFILL_TESTS_CTL_CHECK_LINES_H
#define BACKFILL_TESTS_CTL_CHECK_LINES_H

#include <fnmatch.h>

#include "ctl_output.h"
#include "sql.h"

enum { LINE_BYTES = 1024 };

/* The line that matches, and the next one; whether there is one. */
static inline int find_line(const char *pattern, char *line, char *next)
{
	const char *s = output;

	while (*s != '\0') {
		size_t length = strcspn(s, "\n");

		(void)snprintf(line, LINE_BYTES, "%.*s", (int)length, s);
		s += length + (s[length] != '\0');
		if (fnmatch(pattern, line, 0) == 0) {
			(void)snprintf(next, LINE_BYTES, "%.*s",
				(int)strcspn(s, "\n"), s);
			return 1;
		}
	}
	return 0;
}

static inline void tells(const char *pattern)
{
	char line[LINE_BYTES], next[LINE_BYTES];

	if (!find_line(pattern, line, next)) {
		fail_msg("no line is like: %s\nin:\n%s", pattern, output);
	}
}

static inline void tells_not(const char *pattern)
{
	char line[LINE_BYTES], next[LINE_BYTES];

	if (find_line(pattern, line, next)) {
		fail_msg("a line is like: %s\nin:\n%s", pattern, output);
	}
}

/* A line, with this line under it. */
static inline void tells_with(const char *pattern, const char *mend)
{
	char line[LINE_BYTES], next[LINE_BYTES];

	tells(pattern);
	(void)find_line(pattern, line, next);
	if (strncmp(next, "      ", 6) != 0 ||
		fnmatch(mend, next + 6, 0) != 0) {
		fail_msg("under: %s\nis not: %s\nbut: %s", pattern, mend, next);
	}
}

/* The same, and run as it stands it ends the matter. */
static inline void mends(PGconn *conn, const char *pattern, const char *mend)
{
	char line[LINE_BYTES], next[LINE_BYTES];

	tells_with(pattern, mend);
	(void)find_line(pattern, line, next);
	sql_exec(conn, "%s", next + 6);
}

#endif
