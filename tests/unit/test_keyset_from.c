/* The statements of jobs that read other tables and of those that delete, as
 * golden texts; what they share with the others is in test_keyset.c. */

#include "keyset_describe.h"

#include <stdlib.h>

static const struct fence fence = {
	.job_id = 3,
	.range = 1,
	.epoch = 7,
	.seq = 41,
};

#define OID "t.tableoid OPERATOR(pg_catalog.=) '4000000000'::pg_catalog.oid"
#define GUARD OID "\n\t\tAND t.id > '5'::bigint\n\t\tAND t.id <= '90'::bigint"
#define ONE OID "\n\t\tAND t.id = '90'::bigint"
#define ORDER "\n\tORDER BY t.id USING < NULLS LAST"
#define EXISTS(where)                                                          \
	"EXISTS (SELECT FROM\nother o -- and no more\n\tWHERE (\n" where "\n)" \
	")"

/* What stands before u; eligible is how the rows are told apart. */
#define W_AND_C(guard, eligible, lock)                                         \
	"WITH __backfill_w AS MATERIALIZED (\n"                                \
	"\tSELECT t.id AS __backfill_k1, t.ctid AS __backfill_at\n"            \
	"\tFROM ONLY public.t\n"                                               \
	"\tWHERE " guard eligible ORDER "),\n"                                 \
	"__backfill_c AS MATERIALIZED (\n"                                     \
	"\tSELECT t.id AS __backfill_k1, t.ctid AS __backfill_at\n"            \
	"\tFROM ONLY public.t\n"                                               \
	"\tWHERE EXISTS (SELECT FROM __backfill_w)\n"                          \
	"\t\tAND " guard eligible ORDER "\n\tFOR " lock                        \
	" OF t SKIP LOCKED),\n"                                                \
	"__backfill_u AS (\n"

#define UPDATE_JOINED(guard, filter, where)                                    \
	"\tUPDATE ONLY public.t SET\n"                                         \
	"a = o.a -- one\n"                                                     \
	"\tFROM __backfill_c,\n"                                               \
	"other o -- and no more\n"                                             \
	"\tWHERE " guard "\n\t\tAND t.id = __backfill_c.__backfill_k1" filter  \
	"\n\tRETURNING __backfill_c.__backfill_k1,\n"                          \
	"\t\t(t.id = __backfill_c.__backfill_k1) AS __backfill_same,\n"        \
	"\t\t" EXISTS(where) " AS __backfill_still)\n"

#define DELETE_LOCKED(guard)                                                   \
	"\tDELETE FROM ONLY public.t\n"                                        \
	"\tUSING __backfill_c\n"                                               \
	"\tWHERE " guard "\n\t\tAND t.id = __backfill_c.__backfill_k1"         \
	"\n\tRETURNING __backfill_c.__backfill_k1,\n"                          \
	"\t\ttrue AS __backfill_same, false AS __backfill_still)\n"

/* The statement up to the counts, which are as in test_keyset.c. */
static void expect_ctes(struct text *sql, const char *expected)
{
	char *end = strstr(sql->data,
		"SELECT pg_catalog.cardinality("
		"__backfill_n.__backfill_w),");

	assert_non_null(end);
	*end = '\0';
	expect(sql, expected);
}

static void write_batch(const struct keyset *k, struct text *sql)
{
	struct keyset_window window = { .rows_read = 1000, .size = 1200 };
	struct key lo, hi;

	set_key(&lo, "{5}");
	set_key(&hi, "{90}");
	window.lo = &lo;
	window.hi = &hi;
	keyset_batch_sql(k, sql, &fence, &window);
	assert_non_null(strstr(sql->data, "backfill.checkpoint(3, 1, 7, 41,"));
	key_close(&lo);
	key_close(&hi);
}

static void test_update_from(void **state)
{
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	describe_join(&k, "o.id = t.o -- be");
	write_batch(&k, &sql);
	expect_ctes(&sql,
		W_AND_C(GUARD, "\n\t\tAND " EXISTS("o.id = t.o -- be"),
			"NO KEY UPDATE")
			UPDATE_JOINED(GUARD, "\n\t\tAND (\no.id = t.o -- be\n)",
				"o.id = t.o -- be"));
	keyset_close(&k);

	/* Any row of the other table will do. */
	describe_join(&k, NULL);
	write_batch(&k, &sql);
	expect_ctes(&sql,
		W_AND_C(GUARD, "\n\t\tAND " EXISTS("true"), "NO KEY UPDATE")
			UPDATE_JOINED(GUARD, "", "true"));
	keyset_close(&k);
	text_close(&sql);
}

static void test_delete(void **state)
{
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	describe_delete(&k, NULL, "b -- be");
	write_batch(&k, &sql);
	expect_ctes(&sql,
		W_AND_C(GUARD, "\n\t\tAND (\nb -- be\n)", "UPDATE")
			DELETE_LOCKED(GUARD));
	keyset_close(&k);
	text_close(&sql);
}

static void test_delete_using(void **state)
{
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	describe_delete(&k, "other o -- and no more", "o.id = t.o");
	write_batch(&k, &sql);
	expect_ctes(&sql,
		W_AND_C(GUARD, "\n\t\tAND " EXISTS("o.id = t.o"), "UPDATE")
			DELETE_LOCKED(GUARD));
	keyset_close(&k);
	text_close(&sql);
}

static void test_one_key(void **state)
{
	struct keyset k;
	struct text sql;
	struct key key;

	(void)state;
	text_init(&sql);
	set_key(&key, "{90}");
	describe_join(&k, "b");
	keyset_hole_sql(&k, &sql, &fence, &key, 12);
	assert_non_null(
		strstr(sql.data, "backfill.close_hole(3, 1, 7, 41, 12,"));
	expect_ctes(&sql,
		W_AND_C(ONE, "\n\t\tAND " EXISTS("b"), "NO KEY UPDATE")
			UPDATE_JOINED(ONE, "\n\t\tAND (\nb\n)", "b"));
	keyset_close(&k);

	describe_delete(&k, NULL, "b");
	keyset_hole_sql(&k, &sql, &fence, &key, 12);
	expect_ctes(&sql,
		W_AND_C(ONE, "\n\t\tAND (\nb\n)", "UPDATE") DELETE_LOCKED(ONE));
	keyset_lock_sql(&k, &sql, &key);
	expect(&sql, "SELECT FROM ONLY public.t\nWHERE " ONE "\nFOR UPDATE");
	keyset_close(&k);
	key_close(&key);
	text_close(&sql);
}

static void test_matches(void **state)
{
	struct key lo, hi;
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	key_init(&lo);
	set_key(&hi, "{90}");
	describe_join(&k, "b -- be");
	keyset_matches_sql(&k, &sql, &lo, &hi);
	expect(&sql,
		"SELECT EXISTS (SELECT FROM ONLY public.t,\n"
		"other o -- and no more\n"
		"\tWHERE " OID "\n\t\tAND t.id <= '90'::bigint"
		"\n\t\tAND (\nb -- be\n)\n"
		"\tGROUP BY t.ctid\n"
		"\tHAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1)");
	keyset_close(&k);
	describe_join(&k, NULL);
	keyset_matches_sql(&k, &sql, &lo, &hi);
	assert_non_null(strstr(sql.data, "'90'::bigint\n\tGROUP BY t.ctid\n"));
	keyset_close(&k);
	key_close(&hi);
	text_close(&sql);
}

static void test_checks(void **state)
{
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	describe_join(&k, "b -- be");
	keyset_from_check_sql(&k, &sql);
	expect(&sql,
		"DELETE FROM ONLY public.t USING\n"
		"other o -- and no more\n"
		"WHERE " OID);
	keyset_set_check_sql(&k, &sql);
	expect(&sql,
		"UPDATE ONLY public.t SET\n"
		"a = o.a -- one\n"
		"FROM\n"
		"other o -- and no more\n"
		"WHERE false");
	keyset_where_check_sql(&k, &sql, KEYSET_IN_PARENTHESES);
	expect(&sql,
		"SELECT (\nb -- be\n) FROM ONLY public.t,\n"
		"other o -- and no more");
	keyset_where_check_sql(&k, &sql, KEYSET_IN_ARRAY);
	expect(&sql,
		"SELECT ARRAY[\nb -- be\n] FROM ONLY public.t,\n"
		"other o -- and no more");
	keyset_where_check_sql(&k, &sql, KEYSET_IN_WHERE);
	expect(&sql,
		"SELECT FROM ONLY public.t\n"
		"WHERE " OID "\n\t\tAND " EXISTS("b -- be"));
	keyset_close(&k);
	text_close(&sql);
}

static void test_prefix_occurs_in_no_clause(void **state)
{
	struct keyset k;

	(void)state;
	describe_join(&k, "b");
	free(k.from_clause);
	k.from_clause = mem_strdup("other __Backfill_w");
	keyset_choose_prefix(&k);
	assert_string_equal(k.prefix, "__backfill__");
	keyset_close(&k);
	assert_null(k.from_clause);

	describe_delete(&k, "__backfill_x, __backfill__x", "b");
	keyset_choose_prefix(&k);
	assert_string_equal(k.prefix, "__backfill___");
	keyset_close(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_update_from),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_delete_using),
		cmocka_unit_test(test_one_key),
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_prefix_occurs_in_no_clause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
