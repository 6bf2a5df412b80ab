#include "rules/setlist.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmocka_all.h"

#define TEN "abcdefghij"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The columns, joined by "|". */
static const struct {
	const char *clause;
	const char *columns;
} good[] = {
	{ "a = 1", "a" },
	{ "a=1,b=2", "a|b" },
	{ "  a\t=\n1 , b = 2  \n", "a|b" },
	{ "FooBar = 1, \"FooBar\" = 2", "foobar|FooBar" },
	{ "\"a\"\"b\" = 1, \"c,d = e\" = 2", "a\"b|c,d = e" },
	{ "_x1$ = 1, \xc3\xa9t\xc3\xa9 = 2", "_x1$|\xc3\xa9t\xc3\xa9" },
	{ "(a, \"B\") = (1, 2), c = 3", "a|B|c" },
	{ "( a ,b )=ROW( 1,2 ) ,c=3", "a|b|c" },
	{ "(a, b) = (SELECT x, y FROM t WHERE t.i = 1), c = 2", "a|b|c" },
	{ "(a[1], b.c) = (1, 2)", "a|b" },
	{ "a[1] = 2, b = 3", "a|b" },
	{ "a[1][f(2, x[3])] = 2, b = 3", "a|b" },
	{ "a[1:2] = '{1,2}', b = 3", "a|b" },
	{ "a.b = 1, c . d . e = 2, f[1].\"G\" = 3", "a|c|f" },
	{ "a['],b=1'] = 2", "a" },
	{ "a = -- b = 1,\n 2, c = 3", "a|c" },
	{ "a = 1, -- c = 2\r b = 3 -- the end", "a|b" },
	{ "/* x = 1, /* y = 2, */ z = 3, */ a /**/ = /*,*/ 1, b = 2", "a|b" },
	{ "/***/a = 1 /* , b = 2 */", "a" },
	{ "a = $$x, y = 1$$, b = $q$ $$, z = 1 $ $q $q$, c = 3", "a|b|c" },
	{ "a = $1, b = $2", "a|b" },
	{ "a = x$y, b = z$$, c = 1", "a|b|c" },
	{ "a = E'it\\'s, b = 1', c = e'\\\\', d = 1", "a|c|d" },
	{ "a = E'x'\n'\\', b = 1', c = 2", "a|c" },
	{ "a = 'it''s, b = 1', c = '\\', d = 2", "a|c|d" },
	{ "a = U&'x, y = 1', b = B'1', c = N'x,y'", "a|b|c" },
	{ "a = \"x,y\", b = U&\"z,\", c = 1", "a|b|c" },
	{ "a = f(b, c = d), e = g", "a|e" },
	{ "a = CASE WHEN b = 1 THEN (c, d) = (1, 2) ELSE e = 3 END, f = 1",
		"a|f" },
	{ "a = b = c, d = (e >= 1), f = g <> 2", "a|d|f" },
	{ "a = (SELECT max(b) FROM t WHERE c IN (1, 2) AND d = ARRAY[3, 4]),"
	  " e = ARRAY[[1,2],[3,4]]",
		"a|e" },
	{ "a = a || ',', b = 1 - -1, c = 4 / 2", "a|b|c" },
	{ "a = DEFAULT, b = NULL", "a|b" },
	/* 63 bytes of a name count, and no half of a character. */
	{ TEN TEN TEN TEN TEN TEN "abc = 1, b = 2",
		TEN TEN TEN TEN TEN TEN "abc|b" },
	{ TEN TEN TEN TEN TEN TEN "ABCD = 1, b = 2",
		TEN TEN TEN TEN TEN TEN "abc|b" },
	{ "\"" TEN TEN TEN TEN TEN TEN "AB\"\"C\" = 1",
		TEN TEN TEN TEN TEN TEN "AB\"" },
	{ "\"" TEN TEN TEN TEN TEN TEN "\xe2\x82\xac\xe2\x82\xac\" = 1",
		TEN TEN TEN TEN TEN TEN "\xe2\x82\xac" },
	{ TEN TEN TEN TEN TEN TEN "ab\xe2\x82\xac = 1",
		TEN TEN TEN TEN TEN TEN "ab" },
};

static char *columns_of(const char *clause, int *rc)
{
	struct setlist s;
	struct text t;

	*rc = setlist_parse(&s, clause);
	text_init(&t);
	for (size_t i = 0; i < s.count; i++) {
		text_addf(&t, "%s%s", i > 0 ? "|" : "", s.columns[i]);
	}
	setlist_close(&s);
	assert_int_equal(s.count, 0);
	assert_null(s.columns);
	return text_take(&t);
}

static void test_columns(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		int rc;
		char *columns = columns_of(good[i].clause, &rc);

		if (rc != 0 || strcmp(columns, good[i].columns) != 0) {
			fail_msg("%s: %d, %s", good[i].clause, rc, columns);
		}
		free(columns);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = { "", " ", "-- a = 1", "a", "a b = 1",
		"a = 1,", "a = 1, b", "a = 1,, b = 2", ", a = 1", "= 1", "1",
		"1a = 1", "$1 = 1", "'a' = 1", "\"\" = 1", "(a, b) 1",
		"(a, b = 1", "(a b) = 1", "() = 1", "(a,) = 1", "(a = 1)",
		"a = 1)", "a = 1) , b = 2", "a[1 = 2", "a. = 1 b", "a.",
		"* = 1", "U&\"a\" = 1", "u&\"\\0061\" = 1",
		"a = 1, U&\"d!0061t\" UESCAPE '!' = 2", "/* a = 1", "a /* = 1",
		"\"a = 1" };

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		int rc;

		free(columns_of(bad[i], &rc));
		if (rc != -1) {
			fail_msg("%s was accepted", bad[i]);
		}
	}
}

/* Every beginning and every end of the samples, each in memory of its own
 * size: the sanitizer sees a read beyond. */
static void test_reads_no_further(void **state)
{
	static const char *const more[] = { "a.", "a[", "a = $a$ $a",
		"a = E'\\", "a = /", "a = -", "a = $", "\"a\"", "(a.b[",
		"a = /*/*" };

	(void)state;
	for (size_t i = 0; i < COUNT(good) + COUNT(more); i++) {
		const char *clause = i < COUNT(good) ? good[i].clause
						     : more[i - COUNT(good)];
		size_t length = strlen(clause);

		for (size_t n = 0; n <= length; n++) {
			char *beginning = strndup(clause, n);
			char *end = strdup(clause + n);
			int rc;

			assert_non_null(beginning);
			assert_non_null(end);
			free(columns_of(beginning, &rc));
			free(columns_of(end, &rc));
			free(beginning);
			free(end);
		}
	}
}

/* The same without a sanitizer: what lies behind the end has no say. */
static void test_what_lies_behind_has_no_say(void **state)
{
	static const char behind[] = "a.\0= 1, b = 2";
	int rc;

	(void)state;
	free(columns_of(behind, &rc));
	assert_int_equal(rc, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reads_no_further),
		cmocka_unit_test(test_what_lies_behind_has_no_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
