#include "rules/discreet.h"

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "rules/run.h"

static void check_sql(const char *sql, const char *expected)
{
	struct text out;

	text_init(&out);
	discreet_add_sql(&out, sql);
	assert_string_equal(out.data, expected);
	text_close(&out);
}

static void test_literals_are_left_out(void **state)
{
	(void)state;
	check_sql("ALTER TABLE t ADD c int", "ALTER TABLE t ADD c int");
	check_sql(
		"SET DEFAULT 'a' || 'b' NOT", "SET DEFAULT '...' || '...' NOT");
	check_sql("SET DEFAULT 'it''s'", "SET DEFAULT '...''...'");
	check_sql("SET DEFAULT E'a b'", "SET DEFAULT E'...'");
	check_sql("CHECK (a = 'cut o", "CHECK (a = '...");
	check_sql("DO $$ a $$", "DO $...");
	check_sql("'costs $5' x", "'...' x");
	check_sql("the table's key", "the table's key");
	/* Quotes that begin no literal, and what ends elsewhere. */
	check_sql("ALTER TABLE \"o'brien\" SET DEFAULT 'secret' \"a'\"\"b\" c",
		"ALTER TABLE \"o'brien\" SET DEFAULT '...' \"a'\"\"b\" c");
	check_sql("a 5\" pipe 'secret'", "a 5...");
	check_sql("a -- don't\n'secret'", "a ...");
	check_sql("a /* don't */ 'secret'", "a ...");
	check_sql("E'\\'' || 'secret'", "E'...");
	check_sql("a - b / c", "a - b / c");
	check_sql("", "");
}

static void check_error(
	const char *sqlstate, int may_quote, const char *expected)
{
	struct err e;
	struct text out;

	(void)err_set(&e, BFE_SQL, "no: 'a'");
	(void)snprintf(e.sqlstate, sizeof e.sqlstate, "%s", sqlstate);
	err_set_detail(&e, "never");
	err_set_hint(&e, "never");
	e.may_quote = may_quote;
	text_init(&out);
	discreet_add_error(&out, &e);
	assert_string_equal(out.data, expected);
	text_close(&out);
}

static void test_errors(void **state)
{
	(void)state;
	check_error("23505", 0, "23505: no: '...'");
	check_error("", 0, "no: '...'");
	check_error("22P02", 1, "22P02 (data_exception)");
	check_error("40001", 1, "40001 (serialization_failure)");
	check_error("XX000", 1, "XX000");
}

static void test_which_messages_quote(void **state)
{
	static const char *const quoting[] = { "22P02", "22003", "P0001",
		"21000", "42601", "42703", "XX000", "54000", "2200H" };
	static const char *const plain[] = { "08006", "23505", "23514", "40001",
		"40P01", "42501", "53100", "55P03", "57014", "BF010" };

	(void)state;
	for (size_t i = 0; i < sizeof quoting / sizeof quoting[0]; i++) {
		assert_true(discreet_is_message_quoting(quoting[i]));
	}
	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
		assert_false(discreet_is_message_quoting(plain[i]));
	}
}

static void check_reason(size_t at, size_t length, const char *expected)
{
	static struct run r;
	struct text out;

	(void)snprintf(r.reason, sizeof r.reason, "key (abc) for 3 s");
	r.quoted.at = at;
	r.quoted.length = length;
	text_init(&out);
	discreet_add_reason(&out, &r);
	assert_string_equal(out.data, expected);
	text_close(&out);
}

static void test_reasons(void **state)
{
	(void)state;
	check_reason(0, 0, "key (abc) for 3 s");
	check_reason(5, 3, "key (...) for 3 s");
	/* The reason was cut off within it, or before. */
	check_reason(5, 999, "key (...");
	check_reason(99, 3, "key (abc) for 3 s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_literals_are_left_out),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_which_messages_quote),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
