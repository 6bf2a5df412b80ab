#include "rules/units.h"

#include <stdio.h>

#include "cmocka_all.h"

static const char time_hint[] =
	"A time is a number with one of the units \"us\", \"ms\", \"s\", "
	"\"min\", \"h\" and \"d\", such as \"500ms\".";
static const char bytes_hint[] =
	"A size is a number with one of the units \"B\", \"kB\", \"MB\", "
	"\"GB\" and \"TB\", such as \"16MB\".";
static const char count_hint[] =
	"A count is a whole number without a unit, such as \"1000\".";
static const char large_hint[] = "The number is too large.";

typedef int parse_cb(const char *text, int64_t *value, const char **hint);

struct good {
	const char *text;
	int64_t value;
};

struct bad {
	const char *text;
	const char *hint;
};

static void check_good(parse_cb *parse, const struct good *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *hint;
		int64_t value = -1;
		int rc = parse(cases[i].text, &value, &hint);

		if (rc != 0 || value != cases[i].value) {
			fail_msg("\"%s\": %d, %lld", cases[i].text, rc,
				(long long)value);
		}
	}
}

static void check_bad(parse_cb *parse, const struct bad *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *hint = NULL;
		int64_t value;

		if (parse(cases[i].text, &value, &hint) != -1) {
			fail_msg("\"%s\" was accepted", cases[i].text);
		}
		assert_non_null(hint);
		assert_string_equal(hint, cases[i].hint);
	}
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_times(void **state)
{
	static const struct good cases[] = {
		{ "0", 0 },
		{ "0.0", 0 },
		{ "0s", 0 },
		{ "1ms", 1 },
		{ "250ms", 250 },
		{ "250 ms", 250 },
		{ "5s", 5000 },
		{ "1.5s", 1500 },
		{ "0.5min", 30000 },
		{ "1min", 60000 },
		{ "90min", 5400000 },
		{ "1h", 3600000 },
		{ "7d", 604800000 },
		{ "007ms", 7 },
		/* Rounded to the nearest. */
		{ "499us", 0 },
		{ "500us", 1 },
		{ "1499us", 1 },
		{ "0.4ms", 0 },
		{ "0.5ms", 1 },
		{ "2.4ms", 2 },
		{ "2.6ms", 3 },
		{ "1.0006s", 1001 },
		{ "106751991d", INT64_C(106751991) * 86400000 },
	};

	(void)state;
	check_good(units_parse_time_ms, cases, COUNT(cases));
}

static void test_wrong_times(void **state)
{
	static const struct bad cases[] = {
		{ "", time_hint },
		{ "5", time_hint },
		{ "0.1", time_hint },
		{ "s", time_hint },
		{ "5S", time_hint },
		{ "5sec", time_hint },
		{ "5m", time_hint },
		{ "5MS", time_hint },
		{ "5s ", time_hint },
		{ " 5s", time_hint },
		{ "5s5", time_hint },
		{ "5kB", time_hint },
		{ "-5s", time_hint },
		{ "+5s", time_hint },
		{ "5.s", time_hint },
		{ ".5s", time_hint },
		{ "1,5s", time_hint },
		{ "1.5.5s", time_hint },
		{ "0x5s", time_hint },
		{ "1e3s", time_hint },
		{ "inf", time_hint },
		{ "nan", time_hint },
		{ "106751992d", large_hint },
		{ "9223372036854775807s", large_hint },
		{ "9223372036854775808us", large_hint },
		{ "99999999999999999999999us", large_hint },
	};

	(void)state;
	check_bad(units_parse_time_ms, cases, COUNT(cases));
}

static void test_sizes(void **state)
{
	static const struct good cases[] = {
		{ "0", 0 },
		{ "512B", 512 },
		{ "1kB", 1024 },
		{ "64MB", 67108864 },
		{ "64 MB", 67108864 },
		{ "1GB", 1073741824 },
		{ "1.5GB", 1610612736 },
		{ "2TB", INT64_C(2199023255552) },
		{ "1.4B", 1 },
		{ "1.5B", 2 },
		{ "8388607TB", INT64_C(8388607) << 40 },
	};

	(void)state;
	check_good(units_parse_bytes, cases, COUNT(cases));
}

static void test_wrong_sizes(void **state)
{
	static const struct bad cases[] = {
		{ "", bytes_hint },
		{ "16", bytes_hint },
		{ "16mb", bytes_hint },
		{ "16KB", bytes_hint },
		{ "16K", bytes_hint },
		{ "16MiB", bytes_hint },
		{ "16s", bytes_hint },
		{ "-1MB", bytes_hint },
		{ "8388608TB", large_hint },
	};

	(void)state;
	check_bad(units_parse_bytes, cases, COUNT(cases));
}

static void test_counts(void **state)
{
	static const struct good cases[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "1000", 1000 },
		{ "9223372036854775807", INT64_MAX },
	};
	static const struct bad wrong[] = {
		{ "", count_hint },
		{ "-1", count_hint },
		{ "1.5", count_hint },
		{ "1.0", count_hint },
		{ "1s", count_hint },
		{ "1 ", count_hint },
		{ "1_000", count_hint },
		{ "1e3", count_hint },
		{ "many", count_hint },
		{ "9223372036854775808", large_hint },
	};

	(void)state;
	check_good(units_parse_count, cases, COUNT(cases));
	check_bad(units_parse_count, wrong, COUNT(wrong));
}

static void test_format_times(void **state)
{
	char buffer[32];

	(void)state;
	assert_string_equal(units_format_time_ms(buffer, 32, 0), "0");
	assert_string_equal(units_format_time_ms(buffer, 32, 250), "250ms");
	assert_string_equal(units_format_time_ms(buffer, 32, 5000), "5s");
	assert_string_equal(units_format_time_ms(buffer, 32, 1500), "1500ms");
	assert_string_equal(units_format_time_ms(buffer, 32, 60000), "1min");
	assert_string_equal(units_format_time_ms(buffer, 32, 5400000), "90min");
	assert_string_equal(units_format_time_ms(buffer, 32, 3600000), "1h");
	assert_string_equal(units_format_time_ms(buffer, 32, 604800000), "7d");
	assert_string_equal(units_format_time_ms(buffer, 32, INT64_MAX),
		"9223372036854775807ms");
}

static void test_format_sizes(void **state)
{
	char buffer[32];

	(void)state;
	assert_string_equal(units_format_bytes(buffer, 32, 0), "0");
	assert_string_equal(units_format_bytes(buffer, 32, 1), "1B");
	assert_string_equal(units_format_bytes(buffer, 32, 1536), "1536B");
	assert_string_equal(units_format_bytes(buffer, 32, 67108864), "64MB");
	assert_string_equal(
		units_format_bytes(buffer, 32, INT64_C(1) << 40), "1TB");
}

static void test_format_short(void **state)
{
	char buffer[32];

	(void)state;
	assert_string_equal(units_format_short(buffer, 32, 0), "0");
	assert_string_equal(units_format_short(buffer, 32, 0.25), "0.2");
	assert_string_equal(units_format_short(buffer, 32, 870), "870");
	assert_string_equal(units_format_short(buffer, 32, 999.6), "1.0k");
	assert_string_equal(units_format_short(buffer, 32, 18400), "18.4k");
	assert_string_equal(units_format_short(buffer, 32, 999960), "1.0M");
	assert_string_equal(units_format_short(buffer, 32, 1e21), "1000.0E");
}

/* What is printed can be read again, and is the same. */
static void test_format_and_parse_agree(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char buffer[32];
		const char *hint;
		int64_t value, again;

		random = random * UINT64_C(6364136223846793005) + 1;
		value = (int64_t)(random >> (24 + i % 40));
		units_format_time_ms(buffer, sizeof buffer, value);
		assert_int_equal(units_parse_time_ms(buffer, &again, &hint), 0);
		assert_true(again == value);
		units_format_bytes(buffer, sizeof buffer, value);
		assert_int_equal(units_parse_bytes(buffer, &again, &hint), 0);
		assert_true(again == value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_wrong_times),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_wrong_sizes),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_format_times),
		cmocka_unit_test(test_format_sizes),
		cmocka_unit_test(test_format_short),
		cmocka_unit_test(test_format_and_parse_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
