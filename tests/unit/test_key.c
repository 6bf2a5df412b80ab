#include "rules/key.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As PostgreSQL 15 prints them: array_out quotes what has to be quoted and
 * nothing else. */
static void test_reads_what_the_server_prints(void **state)
{
	static const struct {
		const char *literal;
		int count;
		const char *values[6];
	} cases[] = {
		{ "{5}", 1, { "5" } },
		{ "{-5,2.50}", 2, { "-5", "2.50" } },
		{ "{5,\"a b\",\"NULL\",\"\"}", 4, { "5", "a b", "NULL", "" } },
		{ "{\"null\",NULLS,\"Null\"}", 3, { "null", "NULLS", "Null" } },
		{ "{\"a\\\"b\",\"c\\\\d\",\"e,f\",\"{g}\"}", 4,
			{ "a\"b", "c\\d", "e,f", "{g}" } },
		{ "{it's,\"\\\\\",\"\\\"\"}", 3, { "it's", "\\", "\"" } },
		{ "{\" \",\"\t\",\"a\nb\"}", 3, { " ", "\t", "a\nb" } },
		{ "{\"2024-02-29 10:11:12.5+00\",\"\\\\x00ff\"}", 2,
			{ "2024-02-29 10:11:12.5+00", "\\x00ff" } },
		{ "{Zo\xc3\xab,\xe2\x82\xac}", 2,
			{ "Zo\xc3\xab", "\xe2\x82\xac" } },
		{ "{(a),[1,2}", 3, { "(a)", "[1", "2" } },
		{ "", 0, { NULL } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct key k;

		key_init(&k);
		assert_int_equal(key_parse(&k, cases[i].literal), 0);
		assert_int_equal(k.count, cases[i].count);
		for (int j = 0; j < k.count; j++) {
			assert_string_equal(k.values[j], cases[i].values[j]);
		}
		key_close(&k);
		assert_int_equal(k.count, 0);
	}
}

static void test_refuses_what_is_no_key(void **state)
{
	static const char *const cases[] = { "5", " {5}", "{", "{}", "{5",
		"{5,", "{5,}", "{,5}", "{5}}", "{5} ", "{5}{6}", "{{5}}",
		"{5,{6}}", "[0:0]={5}", "{NULL}", "{null}", "{5,Null}", "{\"5}",
		"{\"5\\}", "{\"5\\", "{5\\", "{\"5\"6}", "{5\"6\"}", "{\"5\" }",
		"{\"", "}" };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct key k;

		key_init(&k);
		key_add(&k, "old");
		if (key_parse(&k, cases[i]) != -1) {
			fail_msg("%s was accepted", cases[i]);
		}
		assert_int_equal(k.count, 0);
		key_close(&k);
	}
}

static void test_as_many_columns_as_an_index_has(void **state)
{
	struct text t;
	struct key k;

	(void)state;
	text_init(&t);
	text_add(&t, "{0");
	for (int i = 1; i < KEY_MAX_COLUMNS; i++) {
		text_addf(&t, ",%d", i);
	}
	text_add(&t, "}");
	key_init(&k);
	assert_int_equal(key_parse(&k, t.data), 0);
	assert_int_equal(k.count, 32);
	assert_string_equal(k.values[31], "31");

	t.data[t.length - 1] = ',';
	text_add(&t, "32}");
	assert_int_equal(key_parse(&k, t.data), -1);
	assert_int_equal(k.count, 0);
	text_close(&t);
}

static void test_format(void **state)
{
	struct key k;
	char *literal;

	(void)state;
	key_init(&k);
	key_add(&k, "5");
	key_add(&k, "a\"b\\c");
	key_add(&k, "");
	key_add(&k, "NULL");
	literal = key_format(&k);
	assert_string_equal(literal, "{\"5\",\"a\\\"b\\\\c\",\"\",\"NULL\"}");
	free(literal);
	key_close(&k);
}

static void test_describe(void **state)
{
	struct text t;
	struct key k;

	(void)state;
	text_init(&t);
	key_init(&k);
	key_describe(&k, &t);
	assert_string_equal(t.data, "");
	key_add(&k, "5");
	key_add(&k, "a \"b\"");
	key_describe(&k, &t);
	assert_string_equal(t.data, "5, a \"b\"");
	key_close(&k);
	text_close(&t);
}

static void test_copy_and_equals(void **state)
{
	struct key a, b;

	(void)state;
	key_init(&a);
	key_init(&b);
	assert_true(key_equals(&a, &b));
	key_add(&a, "1");
	key_add(&a, "x");
	assert_false(key_equals(&a, &b));
	key_add(&b, "1");
	assert_false(key_equals(&a, &b));
	key_add(&b, "X");
	assert_false(key_equals(&a, &b));

	key_copy(&b, &a);
	assert_true(key_equals(&a, &b));
	assert_ptr_not_equal(a.values[0], b.values[0]);
	key_copy(&b, &b);
	assert_true(key_equals(&a, &b));
	key_close(&a);
	assert_string_equal(b.values[1], "x");
	key_copy(&b, &a);
	assert_int_equal(b.count, 0);
}

static uint32_t next_random(uint64_t *random)
{
	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*random >> 33);
}

static void test_format_and_parse_agree(void **state)
{
	static const char alphabet[] = "\"\\,{} \tNUL'\xc3\xab"
				       "0aZ\n()[]=";
	uint64_t random = 7;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct key k, again;
		char *literal;

		key_init(&k);
		key_init(&again);
		for (uint32_t n = 1 + next_random(&random) % 5; n > 0; n--) {
			char value[12];
			size_t length = next_random(&random) % sizeof value;

			for (size_t j = 0; j < length; j++) {
				value[j] = alphabet[next_random(&random) %
					(sizeof alphabet - 1)];
			}
			value[length] = '\0';
			key_add(&k, value);
		}
		literal = key_format(&k);
		assert_int_equal(key_parse(&again, literal), 0);
		assert_true(key_equals(&k, &again));
		free(literal);
		key_close(&k);
		key_close(&again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_what_the_server_prints),
		cmocka_unit_test(test_refuses_what_is_no_key),
		cmocka_unit_test(test_as_many_columns_as_an_index_has),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_copy_and_equals),
		cmocka_unit_test(test_format_and_parse_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
