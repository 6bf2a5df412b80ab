/* ctl_output.h: a run of backfillctl on database shop, and what it printed.
 * For the test_ctl*.c only. */
#ifndef BACKFILL_TESTS_CTL_OUTPUT_H
#define BACKFILL_TESTS_CTL_OUTPUT_H

#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"

enum { OUTPUT_BYTES = 1 << 20 };

static struct cluster *cluster;
static char output[OUTPUT_BYTES];

#define CTL(...)                                                               \
	program_run(cluster, output, sizeof output, "backfillctl", "-d",       \
		"shop", __VA_ARGS__, NULL)

static inline void assert_output(const char *wanted)
{
	if (strcmp(output, wanted) != 0) {
		fprintf(stderr, "---- wanted\n%s---- found\n%s", wanted,
			output);
		fail_msg("the output differs");
	}
}

static inline void assert_has(const char *part)
{
	if (strstr(output, part) == NULL) {
		fprintf(stderr, "---- wanted\n%s\n---- in\n%s", part, output);
		fail_msg("the output lacks a part");
	}
}

static inline void assert_lacks(const char *part)
{
	if (strstr(output, part) != NULL) {
		fprintf(stderr, "---- not wanted\n%s\n---- in\n%s", part,
			output);
		fail_msg("the output has a part");
	}
}

#endif
