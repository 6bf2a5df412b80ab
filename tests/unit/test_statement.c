#include "rules/statement.h"

#include "cmocka_all.h"

static const struct {
	const char *sql;
	const char *array;
} samples[] = {
	{ NULL, "{}" },
	{ "", "{}" },
	{ " ; ;\n-- nothing;\n;/* ; */", "{}" },
	{ "SELECT 1", "{\"SELECT 1\"}" },
	{ "SELECT 1;", "{\"SELECT 1\"}" },
	{ "SELECT 1; SELECT 2 ;", "{\"SELECT 1\",\" SELECT 2 \"}" },
	{ "SELECT ';'; SELECT \";\"",
		"{\"SELECT ';'\",\" SELECT \\\";\\\"\"}" },
	{ "SELECT E'\\';'; x", "{\"SELECT E'\\\\';'\",\" x\"}" },
	{ "SELECT 'a\\'; x", "{\"SELECT 'a\\\\'\",\" x\"}" },
	{ "DO $$ BEGIN; END $$; x", "{\"DO $$ BEGIN; END $$\",\" x\"}" },
	{ "DO $a$ ; $$ ; $a$; x", "{\"DO $a$ ; $$ ; $a$\",\" x\"}" },
	{ "a -- ;\n; b", "{\"a -- ;\n\",\" b\"}" },
	{ "a /* /* ; */ ; */; b", "{\"a /* /* ; */ ; */\",\" b\"}" },
	/* A rule may do several things. */
	{ "CREATE RULE r AS ON INSERT TO t DO (a; b); c",
		"{\"CREATE RULE r AS ON INSERT TO t DO (a; b)\",\" c\"}" },
	{ "a ) ; b", "{\"a ) \",\" b\"}" },
	/* A body of SQL itself. */
	{ "CREATE FUNCTION f() BEGIN ATOMIC a; b; END; c",
		"{\"CREATE FUNCTION f() BEGIN ATOMIC a; b; END\",\" c\"}" },
	{ "create or replace procedure p()\nbegin atomic\n"
	  "select case when x then 1 end; end; c",
		"{\"create or replace procedure p()\nbegin atomic\n"
		"select case when x then 1 end; end\",\" c\"}" },
	{ "CREATE FUNCTION f() BEGIN ATOMIC SELECT (CASE x END); END; c",
		"{\"CREATE FUNCTION f() BEGIN ATOMIC SELECT (CASE x END); "
		"END\",\" c\"}" },
	/* Names are no keywords. */
	{ "CREATE TABLE \"begin\" (a); c",
		"{\"CREATE TABLE \\\"begin\\\" (a)\",\" c\"}" },
	{ "BEGIN; COMMIT; END", "{\"BEGIN\",\" COMMIT\",\" END\"}" },
	{ "CREATE FUNCTION f() AS 'x; y'; CREATE TABLE t (a)",
		"{\"CREATE FUNCTION f() AS 'x; y'\",\" CREATE TABLE t (a)\"}" },
	/* The server says what is wrong with these. */
	{ "a '; b", "{\"a '; b\"}" },
	{ "a $$; b", "{\"a $$; b\"}" },
	{ "a ( ; b", "{\"a ( ; b\"}" },
};

static void test_cuts_where_a_statement_ends(void **state)
{
	struct text array;

	(void)state;
	for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
		text_init(&array);
		(void)statement_split(&array, samples[i].sql);
		assert_string_equal(array.data, samples[i].array);
		text_close(&array);
	}
}

static void test_counts(void **state)
{
	struct text array;

	(void)state;
	text_init(&array);
	assert_int_equal(statement_split(&array, " a; b ; ; c"), 3);
	assert_int_equal(statement_split(&array, ";"), 0);
	/* It adds. */
	assert_string_equal(array.data, "{\" a\",\" b \",\" c\"}{}");
	text_close(&array);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts_where_a_statement_ends),
		cmocka_unit_test(test_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
