/* test_dry_run_error.c: an error on the copy is told as the table's own. */
#include <string.h>

#include "cmocka_all.h"
#include "store/dry_run.h"

static struct err e;

static void mend(char *relation, const char *sqlstate, const char *message,
	const char *hint)
{
	char prefix[] = "__backfill_";
	const struct keyset k = { .relation = relation, .prefix = prefix };

	err_set(&e, BFE_SQL, "%s", message);
	memcpy(e.sqlstate, sqlstate, sizeof e.sqlstate);
	err_set_detail(&e, "Failing row contains (1, secret).");
	err_set_hint(&e, "%s", hint);
	dry_run_mend_error(&k, &e);
	assert_string_equal(e.detail, "");
}

static void test_names_the_table(void **state)
{
	char plain[] = "orders";
	char quoted[] = "\"My \"\"Orders\"\"\"";

	(void)state;
	mend(plain, "23514", "row for \"__backfill_copy\" of __backfill_copy",
		"Look at __backfill_copy.");
	assert_string_equal(e.message, "row for \"orders\" of orders");
	assert_string_equal(e.hint, "Look at orders.");
	assert_string_equal(e.sqlstate, "23514");

	mend(quoted, "23514", "relation \"__backfill_copy\"", "");
	assert_string_equal(e.message, "relation \"My \"Orders\"\"");
	assert_string_equal(e.hint,
		"Nothing was changed: it was a dry run on a copy of the"
		" table's first rows.");
}

/* A message that becomes longer than there is room ends with a character. */
static void test_long_names_are_cut(void **state)
{
	char relation[64];
	char message[512] = "x";

	(void)state;
	memset(relation, 0, sizeof relation);
	for (size_t i = 0; i + 2 < sizeof relation; i += 2) {
		memcpy(relation + i, "\xc3\xa4", 2);
	}
	for (int i = 0; i < 20; i++) {
		strcat(message, ".__backfill_copy");
	}
	mend(relation, "23514", message, "");
	assert_int_equal(strlen(e.message), sizeof e.message - 2);
	assert_string_equal(e.message + sizeof e.message - 4, "\xc3\xa4");
}

/* Read-only by our own wish is no standby that is to be waited for. */
static void test_what_writes_is_refused(void **state)
{
	char relation[] = "orders";

	(void)state;
	mend(relation, "25006",
		"cannot execute nextval() in a read-only transaction", "");
	assert_string_equal(e.sqlstate, "0A000");
	assert_string_equal(e.message,
		"the clauses of a dry run may write nothing: cannot execute"
		" nextval() in a read-only transaction");
	assert_string_equal(e.hint,
		"A job with pause_after_rows tries them on so many rows.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_the_table),
		cmocka_unit_test(test_long_names_are_cut),
		cmocka_unit_test(test_what_writes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
