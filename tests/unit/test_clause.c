#include "rules/clause.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmocka_all.h"

#define TEN "abcdefghij"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The calls, as "schema.name", joined by "|": a keyword with "!", an escaped
 * name with "?" behind it. Row locks end the line with "#". */
static const struct {
	const char *clause;
	const char *calls;
} samples[] = {
	{ "", "" },
	{ "a = 1", "" },
	{ "now() > a", "now" },
	{ "NOW ( ) > a", "now" },
	{ "\"Now\"() > a", "Now" },
	{ "\"n\"\"w\"(1)", "n\"w" },
	{ "f(g(1), h (2))", "f|g|h" },
	{ "a + f\n(\n1)-g(2)", "f|g" },
	{ "x=f(1)AND y<g(2)", "f|g" },
	{ "a->>f('k')@>g(1)::text", "f|g" },
	{ "f-- (\n(1)", "f" },
	{ "f /* /* g( */ */ (1)", "f" },
	{ "/* f(1) */ a -- g(1)\n AND h(1)", "h" },
	{ "/* /* */ f(1) */ a", "" },
	{ "a /* f( */", "" },
	{ "a -- f(", "" },
	/* Quotes. */
	{ "'f(1)' = a", "" },
	{ "'it''s f(1)' = g(1)", "g" },
	{ "'a\\' = f(1) AND b = '", "f" },
	{ "E'a\\' = f(1) AND b = ' = g(1)", "g" },
	{ "e'\\\\' = f(1)", "f" },
	{ "E'a'\n'b\\' f(1)' = g(1)", "g" },
	{ "name'f(1)' = a", "" },
	{ "U&'f(1)' = g(1)", "g" },
	{ "B'1' = x'f' AND n'f(' = g(1)", "g" },
	{ "\"f(1)\" = a", "" },
	{ "$$f(1)$$ = g(1)", "g" },
	{ "$q$ $$ f(1) $$ $Q$ $q$ = g(1)", "g" },
	{ "a$q$ = f(1) AND b$q$", "f" },
	{ "$1 = f(1)", "f" },
	/* Qualified names. */
	{ "pg_catalog.now()", "pg_catalog.now" },
	{ "\"My\" . \"F\" (1)", "My.F" },
	{ "My /* a */ . -- b\n f (1)", "my.f" },
	{ "db.s.f(1)", "s.f" },
	{ "t.a = t.f(1) AND t.* IS NOT NULL", "t.f" },
	{ "(a).b = f(1)", "f" },
	/* Names that the catalog would not know as written. */
	{ "U&\"\\006eow\"()", "\\006eow?" },
	{ "u&\"a\"(1) + U&\"b\" ", "a?" },
	{ "s.U&\"d!0061t\" UESCAPE '!' (1)", "s.d!0061t?" },
	{ "U&\"s\" . f(1)", "s.f?" },
	{ "U & \"f\"(1)", "f" },
	{ TEN TEN TEN TEN TEN TEN "ABCD(1)", TEN TEN TEN TEN TEN TEN "abc" },
	{ "\xc3\x84"
	  "b(1)",
		"\xc3\x84"
		"b" },
	/* Keywords that are calls. */
	{ "a < current_date", "current_date!" },
	{ "Current_Timestamp(3) > localtime", "current_timestamp!|localtime!" },
	{ "current_time, LOCALTIMESTAMP", "current_time!|localtimestamp!" },
	{ "t.current_date = a", "" },
	{ "\"current_date\" = a", "" },
	{ "\"current_date\"(1) = a", "current_date" },
	{ "current_dates = a", "" },
	/* Words that are no calls are for the catalog to tell. */
	{ "a IN (1) AND (b)", "in|and" },
	{ "t AS v(id), LATERAL f(1) g", "v|f" },
	/* Row locks. */
	{ "(SELECT 1 FROM t FOR UPDATE) = 1", "#" },
	{ "x FOR\tNo /* */ Key -- \nUpdate", "#" },
	{ "x for share", "#" },
	{ "x for key share of t", "#" },
	{ "substring(a FROM 1 FOR 2)", "substring" },
	{ "substring(a FOR key)", "substring" },
	{ "substring(a FOR updates)", "substring" },
	{ "t.for update", "" },
	{ "'FOR UPDATE' || \"for\" update", "" },
};

static char *calls_of(const char *text)
{
	struct clause c;
	struct text t;

	clause_init(&c);
	clause_read(&c, text);
	text_init(&t);
	for (size_t i = 0; i < c.count; i++) {
		const struct clause_call *call = &c.calls[i];

		text_addf(&t, "%s%s%s%s%s%s", i > 0 ? "|" : "", call->schema,
			call->schema[0] != '\0' ? "." : "", call->name,
			call->is_keyword ? "!" : "",
			call->is_escaped ? "?" : "");
	}
	text_add(&t, c.locks_rows ? "#" : "");
	clause_close(&c);
	assert_int_equal(c.count, 0);
	assert_null(c.calls);
	return text_take(&t);
}

static void test_calls(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++) {
		char *calls = calls_of(samples[i].clause);

		if (strcmp(calls, samples[i].calls) != 0) {
			fail_msg("%s: %s", samples[i].clause, calls);
		}
		free(calls);
	}
}

static void test_several_clauses(void **state)
{
	struct clause c;

	(void)state;
	clause_init(&c);
	clause_read(&c, "f(1)");
	clause_read(&c, NULL);
	clause_read(&c, "x FOR UPDATE");
	clause_read(&c, "g(1)");
	assert_int_equal(c.count, 2);
	assert_string_equal(c.calls[0].name, "f");
	assert_string_equal(c.calls[1].name, "g");
	assert_true(c.locks_rows);
	clause_close(&c);
}

static void test_what_is_known_by_name(void **state)
{
	static const struct {
		const char *clause;
		int is_clock, is_lock;
	} cases[] = {
		{ "now()", 1, 0 },
		{ "age(a)", 1, 0 },
		{ "statement_timestamp()", 1, 0 },
		{ "transaction_timestamp()", 1, 0 },
		{ "clock_timestamp()", 1, 0 },
		{ "timeofday()", 1, 0 },
		{ "pg_catalog.now()", 1, 0 },
		{ "mine.now()", 0, 0 },
		{ "\"Now\"()", 0, 0 },
		{ "current_date", 1, 0 },
		{ "current_time", 1, 0 },
		{ "current_timestamp(0)", 1, 0 },
		{ "localtime", 1, 0 },
		{ "localtimestamp", 1, 0 },
		{ "mine.current_date()", 0, 0 },
		{ "date_trunc('day', a)", 0, 0 },
		{ "U&\"f\"()", 1, 1 },
		{ "pg_advisory_lock(1)", 0, 1 },
		{ "pg_advisory_xact_lock_shared(1, 2)", 0, 1 },
		{ "pg_catalog.pg_advisory_lock_shared(1)", 0, 1 },
		{ "pg_try_advisory_lock(1)", 0, 0 },
		{ "pg_advisory_unlock_all()", 0, 0 },
		{ "mine.pg_advisory_lock(1)", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct clause c;

		clause_init(&c);
		clause_read(&c, cases[i].clause);
		assert_int_equal(c.count, 1);
		if (clause_is_clock(&c.calls[0]) != cases[i].is_clock ||
			clause_is_lock(&c.calls[0]) != cases[i].is_lock) {
			fail_msg("%s", cases[i].clause);
		}
		clause_close(&c);
	}
}

/* Every beginning and every end of the samples, each in memory of its own
 * size: the sanitizer sees a read beyond. */
static void test_reads_no_further(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++) {
		const char *clause = samples[i].clause;

		for (size_t n = 0; n <= strlen(clause); n++) {
			char *beginning = strndup(clause, n);
			char *end = strdup(clause + n);

			assert_non_null(beginning);
			assert_non_null(end);
			free(calls_of(beginning));
			free(calls_of(end));
			free(beginning);
			free(end);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_several_clauses),
		cmocka_unit_test(test_what_is_known_by_name),
		cmocka_unit_test(test_reads_no_further),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
