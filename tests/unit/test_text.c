#include "base/text.h"

#include <stdio.h>

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

static void test_begins_empty(void **state)
{
	struct text t;

	(void)state;
	text_init(&t);
	assert_string_equal(t.data, "");
	assert_int_equal(t.length, 0);
	text_close(&t);
	text_close(&t);
}

static void test_adds(void **state)
{
	struct text t;

	(void)state;
	text_init(&t);
	text_add(&t, "one");
	text_add_bytes(&t, ", twofold", 5);
	text_addf(&t, ", %s %d", "three", 3);
	assert_string_equal(t.data, "one, two, three 3");
	assert_int_equal(t.length, strlen(t.data));
	text_close(&t);
}

/* Each length once, so that no boundary of the buffer is left out. */
static void test_grows(void **state)
{
	struct text added, formatted;

	(void)state;
	text_init(&added);
	text_init(&formatted);
	for (size_t i = 0; i < 3000; i++) {
		char c = (char)('a' + i % 26);

		text_add_bytes(&added, &c, 1);
		text_addf(&formatted, "%c", c);
		assert_int_equal(added.length, i + 1);
		assert_int_equal(added.data[i + 1], '\0');
		assert_true(added.size > added.length);
	}
	assert_string_equal(added.data, formatted.data);
	text_addf(&formatted, "%s%s", added.data, added.data);
	assert_int_equal(formatted.length, 9000);
	assert_memory_equal(formatted.data + 6000, added.data, 3001);
	text_close(&added);
	text_close(&formatted);
}

static void test_keeps_zero_bytes(void **state)
{
	struct text t;

	(void)state;
	text_init(&t);
	text_add_bytes(&t, "a\0b", 3);
	text_add(&t, "c");
	assert_int_equal(t.length, 4);
	assert_memory_equal(t.data, "a\0bc", 5);
	text_close(&t);
}

static void test_reset(void **state)
{
	struct text t;

	(void)state;
	text_init(&t);
	text_add(&t, "gone");
	text_reset(&t);
	assert_string_equal(t.data, "");
	text_add(&t, "new");
	assert_string_equal(t.data, "new");
	text_close(&t);
}

static void test_take(void **state)
{
	struct text t;
	char *taken;

	(void)state;
	text_init(&t);
	text_add(&t, "mine");
	taken = text_take(&t);
	assert_string_equal(taken, "mine");
	assert_null(t.data);
	text_close(&t);
	free(taken);
}

static void trims_to(const char *given, const char *expected)
{
	char buffer[32];

	(void)snprintf(buffer, sizeof buffer, "%s", given);
	assert_string_equal(text_trim(buffer), expected);
}

/* A character of two, three or four bytes, cut after each of them. */
static void test_trim_cuts_incomplete_characters(void **state)
{
	(void)state;
	trims_to("", "");
	trims_to("a", "a");
	trims_to("a\xc3\xa9", "a\xc3\xa9");
	trims_to("a\xc3", "a");
	trims_to("a\xe2\x82\xac", "a\xe2\x82\xac");
	trims_to("a\xe2\x82", "a");
	trims_to("a\xe2", "a");
	trims_to("a\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80");
	trims_to("a\xf0\x9f\x98", "a");
	trims_to("a\xf0", "a");
	trims_to("\xf0", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begins_empty),
		cmocka_unit_test(test_adds),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_keeps_zero_bytes),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_trim_cuts_incomplete_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
