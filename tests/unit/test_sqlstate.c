#include "rules/sqlstate.h"

#include <string.h>

#include "cmocka_all.h"

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
		/* Nothing mends itself here. */
		{ "BF001", SQLSTATE_STOP },
		{ "BF012", SQLSTATE_STOP },
		{ "BF014", SQLSTATE_STOP },
		{ "BF021", SQLSTATE_STOP },
		{ "BF022", SQLSTATE_STOP },
		{ "22012", SQLSTATE_STOP },
		{ "23505", SQLSTATE_STOP },
		{ "25P02", SQLSTATE_STOP },
		{ "40002", SQLSTATE_STOP },
		{ "42501", SQLSTATE_STOP },
		{ "42P01", SQLSTATE_STOP },
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_codes_come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
