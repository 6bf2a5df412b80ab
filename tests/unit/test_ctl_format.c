/* What the screens of backfillctl print for numbers, times and names. */
#include "ctl/ctl_format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"

static char buffer[FORMAT_BYTES];

static const char *bar(double percent)
{
	static char bar[64];
	struct text t;

	text_init(&t);
	ctl_format_bar(&t, percent, 25);
	(void)snprintf(bar, sizeof bar, "%s", t.data);
	text_close(&t);
	return bar;
}

static void test_unknown_is_a_dash(void **state)
{
	double unknown = (double)NAN;

	(void)state;
	assert_string_equal(ctl_format_count(buffer, unknown), "-");
	assert_string_equal(ctl_format_short(buffer, unknown), "-");
	assert_string_equal(ctl_format_duration(buffer, unknown), "-");
	assert_string_equal(ctl_format_clock(buffer, unknown, 0), "-");
	assert_string_equal(ctl_format_percent(buffer, unknown), "-");
	assert_string_equal(ctl_format_span(buffer, unknown), "-");
	assert_string_equal(ctl_format_time(buffer, unknown), "-");
	assert_string_equal(bar(unknown), "[-------------------------]");
}

static void test_count(void **state)
{
	(void)state;
	assert_string_equal(ctl_format_count(buffer, 0), "0");
	assert_string_equal(ctl_format_count(buffer, 999), "999");
	assert_string_equal(ctl_format_count(buffer, 1000), "1,000");
	assert_string_equal(ctl_format_count(buffer, 64120331), "64,120,331");
	assert_string_equal(ctl_format_count(buffer, -1234), "-1,234");
	assert_string_equal(ctl_format_count(buffer, -123), "-123");
	assert_string_equal(ctl_format_count(buffer, 9223372036854775807.0),
		"9,223,372,036,854,775,808");
	assert_true(strlen(ctl_format_count(buffer, 1e300)) < FORMAT_BYTES);
}

static void test_short(void **state)
{
	(void)state;
	assert_string_equal(ctl_format_short(buffer, 0), "0");
	assert_string_equal(ctl_format_short(buffer, 3.25), "3.2");
	assert_string_equal(ctl_format_short(buffer, 870), "870");
	assert_string_equal(ctl_format_short(buffer, 999.4), "999");
	assert_string_equal(ctl_format_short(buffer, 999.6), "1.0k");
	assert_string_equal(ctl_format_short(buffer, 18400), "18.4k");
	assert_string_equal(ctl_format_short(buffer, 999940), "999.9k");
	assert_string_equal(ctl_format_short(buffer, 999960), "1.0M");
	assert_string_equal(ctl_format_short(buffer, 119.2e6), "119.2M");
	assert_string_equal(ctl_format_short(buffer, 5e9), "5.0G");
	assert_true(strlen(ctl_format_short(buffer, 1e300)) < FORMAT_BYTES);
}

static void test_duration(void **state)
{
	(void)state;
	assert_string_equal(ctl_format_duration(buffer, -5), "0s");
	assert_string_equal(ctl_format_duration(buffer, 0.9), "0s");
	assert_string_equal(ctl_format_duration(buffer, 59.9), "59s");
	assert_string_equal(ctl_format_duration(buffer, 60), "1min");
	assert_string_equal(ctl_format_duration(buffer, 52 * 60 + 30), "52min");
	assert_string_equal(ctl_format_duration(buffer, 3599), "59min");
	assert_string_equal(ctl_format_duration(buffer, 3720), "1h02m");
	assert_string_equal(ctl_format_duration(buffer, 86399), "23h59m");
	assert_string_equal(
		ctl_format_duration(buffer, 3 * 86400 + 4 * 3600), "3d04h");
	assert_true(
		strlen(ctl_format_duration(buffer, HUGE_VAL)) < FORMAT_BYTES);
}

static void test_span(void **state)
{
	(void)state;
	assert_string_equal(ctl_format_span(buffer, -1), "0ms");
	assert_string_equal(ctl_format_span(buffer, 0), "0ms");
	assert_string_equal(ctl_format_span(buffer, 0.2124), "212ms");
	assert_string_equal(ctl_format_span(buffer, 0.9994), "999ms");
	assert_string_equal(ctl_format_span(buffer, 0.9996), "1.0s");
	assert_string_equal(ctl_format_span(buffer, 9.94), "9.9s");
	assert_string_equal(ctl_format_span(buffer, 9.96), "10s");
	assert_string_equal(ctl_format_span(buffer, 61), "1min");
}

static void test_time(void **state)
{
	(void)state;
	assert_string_equal(
		ctl_format_time(buffer, 1795349071.9), "2026-11-22 12:04:31Z");
	assert_string_equal(ctl_format_time(buffer, 1e300), "-");
	assert_string_equal(ctl_format_time(buffer, -HUGE_VAL), "-");
}

static void test_clock(void **state)
{
	double now = 1795349071; /* 2026-11-22 12:04:31 UTC */

	(void)state;
	assert_string_equal(ctl_format_clock(buffer, now, now), "12:04Z");
	assert_string_equal(
		ctl_format_clock(buffer, now + 52 * 60 + 30, now), "12:57Z");
	assert_string_equal(
		ctl_format_clock(buffer, now + 86399, now), "12:04Z");
	assert_string_equal(
		ctl_format_clock(buffer, now + 86400, now), "11-23 12:04Z");
	assert_string_equal(ctl_format_clock(buffer, HUGE_VAL, now), "-");
}

static void test_percent_is_100_at_100_only(void **state)
{
	(void)state;
	assert_string_equal(ctl_format_percent(buffer, 0), "0.0%");
	assert_string_equal(ctl_format_percent(buffer, 53.8), "53.8%");
	assert_string_equal(ctl_format_percent(buffer, 99.97), "99.9%");
	assert_string_equal(ctl_format_percent(buffer, 100), "100.0%");
	assert_string_equal(ctl_format_percent(buffer, 111.5), "100.0%");
	assert_string_equal(ctl_format_percent(buffer, -1), "0.0%");
}

static void test_bar_is_full_at_100_only(void **state)
{
	(void)state;
	assert_string_equal(bar(0), "[-------------------------]");
	assert_string_equal(bar(53.8), "[#############------------]");
	assert_string_equal(bar(99.9), "[########################-]");
	assert_string_equal(bar(100), "[#########################]");
	assert_string_equal(bar(250), "[#########################]");
	assert_string_equal(bar(-3), "[-------------------------]");
}

static void assert_inert(const char *given, const char *wanted)
{
	struct text t;

	text_init(&t);
	ctl_format_inert(&t, given);
	assert_string_equal(t.data, wanted);
	text_close(&t);
}

static void test_inert(void **state)
{
	(void)state;
	assert_inert("orders.amount \"x\" 'y' \\ {}",
		"orders.amount \"x\" 'y'"
		" \\ {}");
	assert_inert("Größe 名 \xf0\x9f\x98\x80", "Größe 名 \xf0\x9f\x98\x80");
	assert_inert("a\nb\tc\r\n", "a b c  ");
	assert_inert("\x1b[31mred\x07\x7f", "?[31mred??");
	assert_inert("\xc2\x9b"
		     "31m",
		"?31m"); /* C1: CSI */
	assert_inert("a\xe2\x80\xae"
		     "b\xe2\x81\xa6"
		     "c",
		"a?b?c"); /* turns the direction */
}

static void test_inert_is_utf8(void **state)
{
	(void)state;
	assert_inert("\xff\xfe", "??");
	assert_inert("\x9b"
		     "31m",
		"?31m");			  /* the same as one byte */
	assert_inert("\xc3", "?");		  /* cut */
	assert_inert("\xe2\x80", "??");		  /* cut */
	assert_inert("\xc0\x9b", "??");		  /* overlong ESC */
	assert_inert("\xe0\x80\x9b", "???");	  /* overlong */
	assert_inert("\xed\xa0\x80", "???");	  /* surrogate */
	assert_inert("\xf4\x90\x80\x80", "????"); /* above U+10FFFF */
	assert_inert("\xf8\x88\x80\x80\x80", "?????");
}

static void test_lines_are_indented(void **state)
{
	struct text t;

	(void)state;
	text_init(&t);
	ctl_format_lines(&t, "one\nHINT:  two\x1b");
	assert_string_equal(t.data, "one\n        HINT:  two?");
	text_close(&t);
}

static void test_json_is_escaped_not_changed(void **state)
{
	struct text t;

	(void)state;
	text_init(&t);
	ctl_format_json(&t,
		"{\"a\": \"\xc2\x9b\xe2\x80\xae\x7f\xc3\xa9\xff\",\n"
		" \"b\": \"\\u001b\"}");
	assert_string_equal(t.data,
		"{\"a\": \"\\u009b\\u202e\\u007f\xc3\xa9?\",\n"
		" \"b\": \"\\u001b\"}");
	text_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_is_escaped_not_changed),
		cmocka_unit_test(test_unknown_is_a_dash),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_span),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_percent_is_100_at_100_only),
		cmocka_unit_test(test_bar_is_full_at_100_only),
		cmocka_unit_test(test_inert),
		cmocka_unit_test(test_inert_is_utf8),
		cmocka_unit_test(test_lines_are_indented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
