/* The statements over a key, as golden texts. */

#include "keyset_describe.h"

#include <stdlib.h>

static const struct fence fence = {
	.job_id = 3,
	.range = 1,
	.epoch = 7,
	.seq = 41,
};

/* What surrounds the keys in the batch over a single column's window. */
#define W_OF_ID(guard, where)                                                  \
	"WITH __backfill_w AS MATERIALIZED (\n"                                \
	"\tSELECT t.id AS __backfill_k1, t.ctid AS __backfill_at\n"            \
	"\tFROM ONLY public.t\n"                                               \
	"\tWHERE " guard where "\n\tORDER BY t.id USING < NULLS LAST),\n"
#define C_OF_ID(guard, where)                                                  \
	"__backfill_c AS MATERIALIZED (\n"                                     \
	"\tSELECT t.id AS __backfill_k1, t.ctid AS __backfill_at\n"            \
	"\tFROM ONLY public.t\n"                                               \
	"\tWHERE EXISTS (SELECT FROM __backfill_w)\n"                          \
	"\t\tAND " guard where "\n\tORDER BY t.id USING < NULLS LAST\n"        \
	"\tFOR NO KEY UPDATE OF t SKIP LOCKED),\n"
#define U_OF_ID(guard, still)                                                  \
	"__backfill_u AS (\n"                                                  \
	"\tUPDATE ONLY public.t SET\n"                                         \
	"a = 1 -- one\n"                                                       \
	"\tFROM __backfill_c\n"                                                \
	"\tWHERE " guard "\n\t\tAND t.id = __backfill_c.__backfill_k1\n"       \
	"\tRETURNING __backfill_c.__backfill_k1,\n"                            \
	"\t\t(t.id = __backfill_c.__backfill_k1) AS __backfill_same,\n"        \
	"\t\t(\n" still "\n) IS TRUE AS __backfill_still)\n"
#define RESULT                                                                 \
	"SELECT pg_catalog.cardinality(__backfill_n.__backfill_w),"            \
	" pg_catalog.cardinality(__backfill_n.__backfill_c),"                  \
	" __backfill_n.__backfill_u[1],\n"
#define COUNTS                                                                 \
	"\tpg_catalog.cardinality(__backfill_n.__backfill_c),"                 \
	" __backfill_n.__backfill_u[1], __backfill_n.__backfill_u[2],"         \
	" __backfill_n.__backfill_u[3]"
#define FOUND                                                                  \
	"\nFROM (SELECT"                                                       \
	" ARRAY(SELECT __backfill_at FROM __backfill_w) AS __backfill_w,\n"    \
	"\t\tARRAY(SELECT __backfill_at FROM __backfill_c)"                    \
	" AS __backfill_c,\n"                                                  \
	"\t\t(SELECT ARRAY[pg_catalog.count(*),\n"                             \
	"\t\t\tpg_catalog.count(*) FILTER (WHERE NOT __backfill_same),\n"      \
	"\t\t\tpg_catalog.count(*) FILTER (WHERE __backfill_still)]"           \
	" FROM __backfill_u) AS __backfill_u\n"                                \
	"\tOFFSET 0) AS __backfill_n"
#define HELD(texts)                                                            \
	"\tCASE WHEN pg_catalog.cardinality(__backfill_n.__backfill_c)"        \
	" OPERATOR(pg_catalog.<>) __backfill_n.__backfill_u[1]\n"              \
	"\t\tOR __backfill_n.__backfill_w OPERATOR(pg_catalog.<>)"             \
	" __backfill_n.__backfill_c THEN (\n"                                  \
	"\tSELECT pg_catalog.array_agg(h.held ORDER BY h.at)\n"                \
	"\tFROM (SELECT g.held, pg_catalog.max(g.at) AS at\n"                  \
	"\t\tFROM (SELECT ARRAY[" texts "] AS held,\n"                         \
	"\t\t\t\tpg_catalog.row_number() OVER () AS at\n"                      \
	"\t\t\tFROM __backfill_w\n"                                            \
	"\t\t\tUNION ALL SELECT ARRAY[" texts "], NULL"                        \
	" FROM __backfill_u) g\n"                                              \
	"\t\tGROUP BY g.held"                                                  \
	" HAVING pg_catalog.count(*) OPERATOR(pg_catalog.=) 1\n"               \
	"\t\t\tAND pg_catalog.max(g.at) IS NOT NULL\n"                         \
	"\t\tORDER BY 2 LIMIT 101) h) END"
#define OID "t.tableoid OPERATOR(pg_catalog.=) '4000000000'::pg_catalog.oid"
#define LAST                                                                   \
	"\nFROM (SELECT pg_catalog.count(*) AS __backfill_n"                   \
	" FROM __backfill_q) AS __backfill_n,\n"                               \
	"\tLATERAL (SELECT * FROM __backfill_q\n"                              \
	"\t\tOFFSET GREATEST(0, __backfill_n.__backfill_n"                     \
	" OPERATOR(pg_catalog.-) 1)) AS __backfill_l"
#define TEXT(number) "pg_catalog.format('%s', __backfill_k" #number ")"

static void test_bound(void **state)
{
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	describe_plain(&k, "b");
	keyset_bound_sql(&k, &sql);
	expect(&sql,
		"SELECT pg_catalog.format('%s', t.id)\n"
		"FROM ONLY public.t\n"
		"WHERE " OID "\n"
		"ORDER BY t.id USING > NULLS FIRST\n"
		"LIMIT 1");
	free(k.columns[0].nulls);
	k.columns[0].nulls = mem_strdup("NULLS FIRST");
	keyset_bound_sql(&k, &sql);
	assert_non_null(strstr(sql.data, "USING > NULLS LAST\n"));
	text_reset(&sql);
	keyset_close(&k);

	describe_composite(&k);
	keyset_bound_sql(&k, &sql);
	expect(&sql,
		"SELECT pg_catalog.format('%s', t.region),"
		" pg_catalog.format('%s', t.\"Id\")\n"
		"FROM ONLY public.t\n"
		"WHERE " OID "\n"
		"ORDER BY (t.region COLLATE pg_catalog.\"C\")"
		" USING > NULLS FIRST, t.\"Id\" USING > NULLS FIRST\n"
		"LIMIT 1");
	keyset_close(&k);
	text_close(&sql);
}

static void test_window(void **state)
{
	struct key none, lo, hi;
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	key_init(&none);
	describe_plain(&k, "b");
	set_key(&lo, "{5}");
	set_key(&hi, "{90}");
	keyset_window_sql(&k, &sql, &lo, &hi, 1000);
	expect(&sql,
		"WITH __backfill_q AS MATERIALIZED (\n"
		"\tSELECT t.id AS __backfill_k1\n"
		"\tFROM ONLY public.t\n"
		"\tWHERE " OID "\n"
		"\t\tAND t.id > '5'::bigint\n"
		"\t\tAND t.id <= '90'::bigint\n"
		"\tORDER BY t.id USING < NULLS LAST\n"
		"\tLIMIT 1000)\n"
		"SELECT __backfill_n.__backfill_n, " TEXT(1) LAST);
	keyset_window_sql(&k, &sql, &none, &hi, 1);
	assert_null(strstr(sql.data, "t.id >"));
	assert_non_null(strstr(sql.data, OID "\n\t\tAND t.id <= '90'::bigint"));
	assert_non_null(strstr(sql.data, "LIMIT 1)"));
	text_reset(&sql);
	key_close(&lo);
	key_close(&hi);
	keyset_close(&k);

	describe_composite(&k);
	set_key(&lo, "{it's,5}");
	set_key(&hi, "{\"a\\\\b\",90}");
	keyset_window_sql(&k, &sql, &lo, &hi, 20);
	expect(&sql,
		"WITH __backfill_q AS MATERIALIZED (\n"
		"\tSELECT t.region AS __backfill_k1, t.\"Id\" AS"
		" __backfill_k2\n"
		"\tFROM ONLY public.t\n"
		"\tWHERE " OID "\n"
		"\t\tAND ROW((t.region COLLATE pg_catalog.\"C\"), t.\"Id\") >"
		" ROW('it''s'::text, '5'::bigint)\n"
		"\t\tAND ROW((t.region COLLATE pg_catalog.\"C\"), t.\"Id\") <="
		" ROW(E'a\\\\b'::text, '90'::bigint)\n"
		"\tORDER BY (t.region COLLATE pg_catalog.\"C\") USING <"
		" NULLS LAST, t.\"Id\" USING < NULLS LAST\n"
		"\tLIMIT 20)\n"
		"SELECT __backfill_n.__backfill_n, " TEXT(1) ", " TEXT(2) LAST);
	key_close(&lo);
	key_close(&hi);
	keyset_close(&k);
	text_close(&sql);
}

#define GUARD                                                                  \
	OID "\n"                                                               \
	    "\t\tAND t.id > '5'::bigint\n"                                     \
	    "\t\tAND t.id <= '90'::bigint"
#define B "\n\t\tAND (\nb -- be\n)"

static void test_batch(void **state)
{
	struct keyset_window window = { .rows_read = 1000, .size = 1200 };
	struct key lo, hi;
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	set_key(&lo, "{5}");
	set_key(&hi, "{90}");
	window.lo = &lo;
	window.hi = &hi;
	describe_plain(&k, "b -- be");
	keyset_batch_sql(&k, &sql, &fence, &window);
	expect(&sql,
		W_OF_ID(GUARD, B) C_OF_ID(GUARD, B) U_OF_ID(GUARD, "b -- be")
			RESULT
		"\tbackfill.checkpoint(3, 1, 7, 41,\n"
		"\t'{\"90\"}'::pg_catalog.text[], 1000, 1200,\n" COUNTS
		",\n" HELD(TEXT(1)) ", NULL)" FOUND);
	keyset_close(&k);

	/* All rows, part of window hole 12. */
	describe_plain(&k, NULL);
	window.rows_read = 0;
	window.hole = 12;
	keyset_batch_sql(&k, &sql, &fence, &window);
	expect(&sql,
		W_OF_ID(GUARD, "") C_OF_ID(GUARD, "") U_OF_ID(GUARD, "true")
			RESULT
		"\tbackfill.checkpoint(3, 1, 7, 41,\n"
		"\t'{\"90\"}'::pg_catalog.text[], 0, 1200,\n" COUNTS
		",\n" HELD(TEXT(1)) ", 12)" FOUND);
	keyset_close(&k);
	key_close(&lo);
	key_close(&hi);
	text_close(&sql);
}

#define REGION "(t.region COLLATE pg_catalog.\"C\")"
#define KEYS                                                                   \
	"\tSELECT t.region AS __backfill_k1, t.\"Id\" AS __backfill_k2,"       \
	" t.ctid AS __backfill_at\n"
#define ORDER                                                                  \
	"\n\tORDER BY " REGION " USING < NULLS LAST,"                          \
	" t.\"Id\" USING < NULLS LAST"
#define ROWS                                                                   \
	OID "\n"                                                               \
	    "\t\tAND ROW(" REGION ", t.\"Id\") > ROW('eu'::text,"              \
	    " '5'::bigint)\n"                                                  \
	    "\t\tAND ROW(" REGION ", t.\"Id\") <= ROW('it''s'::text,"          \
	    " '90'::bigint)"

static void test_batch_of_composite_key(void **state)
{
	struct keyset_window window = { .rows_read = 1000, .size = 1200 };
	struct key lo, hi;
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	set_key(&lo, "{eu,5}");
	set_key(&hi, "{it's,90}");
	window.lo = &lo;
	window.hi = &hi;
	describe_composite(&k);
	keyset_batch_sql(&k, &sql, &fence, &window);
	expect(&sql,
		"WITH __backfill_w AS MATERIALIZED (\n" KEYS
		"\tFROM ONLY public.t\n"
		"\tWHERE " ROWS "\n\t\tAND (\nb\n)" ORDER "),\n"
		"__backfill_c AS MATERIALIZED (\n" KEYS "\tFROM ONLY public.t\n"
		"\tWHERE EXISTS (SELECT FROM __backfill_w)\n"
		"\t\tAND " ROWS "\n\t\tAND (\nb\n)" ORDER
		"\n\tFOR UPDATE OF t SKIP LOCKED),\n"
		"__backfill_u AS (\n"
		"\tUPDATE ONLY public.t SET\n"
		"a = 1\n"
		"\tFROM __backfill_c\n"
		"\tWHERE " ROWS "\n"
		"\t\tAND " REGION " = __backfill_c.__backfill_k1\n"
		"\t\tAND t.\"Id\" = __backfill_c.__backfill_k2\n"
		"\tRETURNING __backfill_c.__backfill_k1,"
		" __backfill_c.__backfill_k2,\n"
		"\t\t(" REGION " = __backfill_c.__backfill_k1"
		" AND t.\"Id\" = __backfill_c.__backfill_k2)"
		" AS __backfill_same,\n"
		"\t\t(\nb\n) IS TRUE AS __backfill_still)\n" RESULT
		"\tbackfill.checkpoint(3, 1, 7, 41,\n"
		"\t'{\"it''s\",\"90\"}'::pg_catalog.text[], 1000,"
		" 1200,\n" COUNTS
		",\n" HELD(TEXT(1) ", " TEXT(2)) ", NULL)" FOUND);
	key_close(&lo);
	key_close(&hi);
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
	describe_plain(&k, "b -- be");
	keyset_lock_sql(&k, &sql, &key);
	expect(&sql,
		"SELECT FROM ONLY public.t\n"
		"WHERE " OID "\n"
		"\t\tAND t.id = '90'::bigint\n"
		"FOR NO KEY UPDATE");
#define ONE OID "\n\t\tAND t.id = '90'::bigint"
	keyset_hole_sql(&k, &sql, &fence, &key, 12);
	expect(&sql,
		W_OF_ID(ONE, B) C_OF_ID(ONE, B) U_OF_ID(ONE, "b -- be") RESULT
		"\tbackfill.close_hole(3, 1, 7, 41, 12,\n"
		"\tpg_catalog.cardinality(__backfill_n.__backfill_w),\n" COUNTS
		")" FOUND);
	key_close(&key);
	keyset_close(&k);

	describe_composite(&k);
	set_key(&key, "{it's,90}");
	keyset_lock_sql(&k, &sql, &key);
	expect(&sql,
		"SELECT FROM ONLY public.t\n"
		"WHERE " OID "\n"
		"\t\tAND " REGION " = 'it''s'::text\n"
		"\t\tAND t.\"Id\" = '90'::bigint\n"
		"FOR UPDATE");
	key_close(&key);
	keyset_close(&k);
	text_close(&sql);
}

static void test_checks(void **state)
{
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	describe_plain(&k, "b -- be");
	keyset_where_check_sql(&k, &sql, KEYSET_IN_PARENTHESES);
	expect(&sql, "SELECT (\nb -- be\n) FROM ONLY public.t");
	keyset_where_check_sql(&k, &sql, KEYSET_IN_ARRAY);
	expect(&sql, "SELECT ARRAY[\nb -- be\n] FROM ONLY public.t");
	keyset_where_check_sql(&k, &sql, KEYSET_IN_WHERE);
	expect(&sql, "SELECT FROM ONLY public.t\nWHERE " OID B);
	keyset_set_check_sql(&k, &sql);
	expect(&sql, "UPDATE ONLY public.t SET\na = 1 -- one\nWHERE false");
	keyset_close(&k);
	text_close(&sql);
}

static void test_literals(void **state)
{
	static const char *const cases[][2] = {
		{ "", "''" },
		{ "5", "'5'" },
		{ "it's", "'it''s'" },
		{ "'", "''''" },
		{ "a\\b", "E'a\\\\b'" },
		{ "\\'; DROP TABLE t; --", "E'\\\\''; DROP TABLE t; --'" },
		{ "'||pg_sleep(9)||'", "'''||pg_sleep(9)||'''" },
		{ "\\", "E'\\\\'" },
		{ "\xe2\x82\xac \"$$\n", "'\xe2\x82\xac \"$$\n'" },
	};
	struct text sql;

	(void)state;
	text_init(&sql);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		keyset_add_literal(&sql, cases[i][0]);
		expect(&sql, cases[i][1]);
	}
	text_close(&sql);
}

static const char *prefix_of(struct keyset *k, const char *relation,
	const char *set, const char *where)
{
	describe(k, set, where);
	free(k->relation);
	k->relation = mem_strdup(relation);
	keyset_choose_prefix(k);
	return k->prefix;
}

static void test_prefix_occurs_nowhere(void **state)
{
	static const char *const cases[][4] = {
		{ "t", "a = 1", NULL, "__backfill_" },
		{ "t", "__backfill_w = 1", NULL, "__backfill__" },
		{ "t", "a = 1", "\"__BackFill_W\" > 0", "__backfill__" },
		{ "__backfill_c", "a = 1", "b", "__backfill__" },
		{ "t", "a = 1", "__backfill__x = __backfill____y",
			"__backfill_____" },
		{ "__backfill_w", "__backfill__w = 1", "__backfill___w",
			"__backfill____" },
		{ "t", "a = __backfillw", "b = backfill_", "__backfill_" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct keyset k;

		assert_string_equal(
			prefix_of(&k, cases[i][0], cases[i][1], cases[i][2]),
			cases[i][3]);
		keyset_close(&k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_batch_of_composite_key),
		cmocka_unit_test(test_one_key),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_literals),
		cmocka_unit_test(test_prefix_occurs_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
