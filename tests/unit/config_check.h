/* config_check.h: what is told about a configuration that is wrong. For the
 * tests of config/config.h only. */
#ifndef BACKFILL_TESTS_CONFIG_CHECK_H
#define BACKFILL_TESTS_CONFIG_CHECK_H

#include "config/config.h"

#include <string.h>

#include "cmocka_all.h"

/* A database that is right, in four lines. */
#define SHOP                                                                   \
	"databases:\n"                                                         \
	"  - name: shop\n"                                                     \
	"    dsn: host=h password=secret\n"                                    \
	"    expected_standbys: []\n"

#define TIME_HINT                                                              \
	"    hint: A time is a number with one of the units \"us\", \"ms\", "  \
	"\"s\", \"min\", \"h\" and \"d\", such as \"500ms\".\n"
#define MISSING_STANDBYS                                                       \
	"    detail: The standbys whose replay lag holds the jobs back. "      \
	"By application_name or name of the slot. There is no default: [] "    \
	"says that there are none, on purpose, and no job waits for one.\n"

static inline void check_bytes(
	const char *yaml, size_t length, int count, const char *expected)
{
	struct config c, zero;
	struct text errors;
	int found;

	memset(&zero, 0, sizeof zero);
	text_init(&errors);
	found = config_parse(&c, yaml, length, "f", &errors);
	assert_string_equal(errors.data, expected);
	assert_int_equal(found, count);
	assert_memory_equal(&c, &zero, sizeof c);
	assert_null(strstr(errors.data, "secret"));
	text_close(&errors);
}

static inline void check(const char *yaml, int count, const char *expected)
{
	check_bytes(yaml, strlen(yaml), count, expected);
}

#endif
