#include "rules/sqlstate.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cmocka_all.h"

static const char MANUAL[] = "conf/man/backfilld.8";

static void test_classes(void **state)
{
	static const struct {
		const char *sqlstate;
		enum sqlstate_class class;
	} cases[] = {
		{ "BF010", SQLSTATE_FORGET },
		{ "BF011", SQLSTATE_STOPPED },
		{ "BF013", SQLSTATE_HELD },
		{ "40001", SQLSTATE_RETRY },
		{ "40P01", SQLSTATE_RETRY },
		{ "55P03", SQLSTATE_RETRY },
		{ "57014", SQLSTATE_SHRINK },
		/* Of class 53, and yet not "later". */
		{ "53200", SQLSTATE_SHRINK },
		{ "53000", SQLSTATE_WAIT },
		{ "53100", SQLSTATE_WAIT },
		{ "53300", SQLSTATE_WAIT },
		{ "53400", SQLSTATE_WAIT },
		{ "57P03", SQLSTATE_WAIT },
		{ "25006", SQLSTATE_WAIT },
		{ "08000", SQLSTATE_RECONNECT },
		{ "08006", SQLSTATE_RECONNECT },
		{ "08P01", SQLSTATE_RECONNECT },
		{ "57P01", SQLSTATE_RECONNECT },
		{ "57P02", SQLSTATE_RECONNECT },
		{ "57P05", SQLSTATE_RECONNECT },
		{ "25P03", SQLSTATE_RECONNECT },
		{ "25P04", SQLSTATE_RECONNECT },
		/* It lies with a row. */
		{ "21000", SQLSTATE_ROW },
		{ "22003", SQLSTATE_ROW },
		{ "22012", SQLSTATE_ROW },
		{ "23502", SQLSTATE_ROW },
		{ "23503", SQLSTATE_ROW },
		{ "23505", SQLSTATE_ROW },
		{ "23514", SQLSTATE_ROW },
		{ "54000", SQLSTATE_ROW },
		{ "P0001", SQLSTATE_ROW },
		{ "P0002", SQLSTATE_ROW },
		{ "BF014", SQLSTATE_ROW },
		{ "BF037", SQLSTATE_ROW },
		/* Nothing mends itself here. */
		{ "BF001", SQLSTATE_STOP },
		{ "BF012", SQLSTATE_STOP },
		{ "BF021", SQLSTATE_STOP },
		{ "BF022", SQLSTATE_STOP },
		{ "0A000", SQLSTATE_STOP },
		{ "25P02", SQLSTATE_STOP },
		{ "28000", SQLSTATE_STOP },
		{ "40002", SQLSTATE_STOP },
		{ "42501", SQLSTATE_STOP },
		{ "42P01", SQLSTATE_STOP },
		{ "42601", SQLSTATE_STOP },
		{ "54001", SQLSTATE_STOP },
		{ "55006", SQLSTATE_STOP },
		{ "57P04", SQLSTATE_STOP },
		{ "XX000", SQLSTATE_STOP },
		{ "", SQLSTATE_STOP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err e = { .code = BFE_SQL };

		memcpy(e.sqlstate, cases[i].sqlstate,
			strlen(cases[i].sqlstate) + 1);
		if (sqlstate_classify(&e) != cases[i].class) {
			fail_msg("\"%s\" is of class %d", e.sqlstate,
				(int)sqlstate_classify(&e));
		}
	}
}

/* The code says that the outcome is unknown, whatever the server said
 * before. */
static void test_codes_come_first(void **state)
{
	static const int lost[] = { BFE_CONNECT, BFE_LOST, BFE_TIMEOUT,
		BFE_CLOSED };
	static const int own[] = { BFE_INPUT, BFE_SYSTEM, BFE_PROTOCOL };
	static const char *const sqlstates[] = { "", "BF010", "57014", "42501",
		"53300" };

	(void)state;
	for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
		for (size_t j = 0; j < sizeof sqlstates / sizeof sqlstates[0];
			j++) {
			struct err e = { .code = lost[i] };

			memcpy(e.sqlstate, sqlstates[j],
				strlen(sqlstates[j]) + 1);
			assert_int_equal(
				sqlstate_classify(&e), SQLSTATE_RECONNECT);
		}
	}
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
		struct err e = { .code = own[i] };

		assert_int_equal(sqlstate_classify(&e), SQLSTATE_STOP);
	}
}

/* No row hides behind one before it, and the last one matches all. */
static void test_every_rule_counts(void **state)
{
	const struct sqlstate_rule *rule;
	size_t count = 0;

	(void)state;
	while ((rule = sqlstate_rule(count)) != NULL) {
		struct err e = { .code = BFE_SQL };

		(void)snprintf(
			e.sqlstate, sizeof e.sqlstate, "%-5.5s", rule->prefix);
		assert_int_equal(sqlstate_classify(&e), rule->class);
		for (size_t i = 0; i < count; i++) {
			const char *before = sqlstate_rule(i)->prefix;

			if (strncmp(rule->prefix, before, strlen(before)) ==
				0) {
				fail_msg("\"%s\" is hidden by \"%s\"",
					rule->prefix, before);
			}
		}
		count++;
	}
	assert_true(count > 1);
	assert_string_equal(sqlstate_rule(count - 1)->prefix, "");
}

/* ---- the manual ---- */

static const char *mask(const char *prefix)
{
	return *prefix == '\0' ? "any" : strlen(prefix) == 2 ? "*" : "";
}

/* The lines of the two tables, as the manual has to have them. */
static void expect_tables(struct text *t)
{
	const struct sqlstate_rule *rule;

	for (size_t i = 0; (rule = sqlstate_rule(i)) != NULL; i++) {
		text_addf(t, ".It %s%s Ta %s Ta %s\n", rule->prefix,
			mask(rule->prefix), rule->condition,
			sqlstate_plan(rule->class)->name);
	}
	for (int class = SQLSTATE_STOP; class <= SQLSTATE_ROW; class ++) {
		const struct sqlstate_plan *plan =
			sqlstate_plan((enum sqlstate_class) class);

		text_addf(t, ".It %s Ta %s Ta %s\n", plan->name, plan->budget,
			plan->action);
	}
}

/* The lines of the section that are rows of a table. */
static void read_tables(struct text *t)
{
	FILE *file = fopen(MANUAL, "r");
	char line[512];
	int inside = 0;

	if (file == NULL) {
		fail_msg("%s cannot be read", MANUAL);
	}
	while (fgets(line, sizeof line, file) != NULL) {
		if (strncmp(line, ".S", 2) == 0) {
			inside = strcmp(line, ".Ss Errors by SQLSTATE\n") == 0;
		} else if (inside && strncmp(line, ".It ", 4) == 0) {
			text_add(t, line);
		}
	}
	(void)fclose(file);
}

static void test_manual_says_the_same(void **state)
{
	struct text expected, found;

	(void)state;
	text_init(&expected);
	text_init(&found);
	expect_tables(&expected);
	read_tables(&found);
	assert_string_equal(found.data, expected.data);
	text_close(&found);
	text_close(&expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_codes_come_first),
		cmocka_unit_test(test_every_rule_counts),
		cmocka_unit_test(test_manual_says_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
