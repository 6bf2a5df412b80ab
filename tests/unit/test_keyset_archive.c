/* The statements of a delete that keeps its rows in an archive. */

#include "keyset_describe.h"

#include <stdlib.h>

static const struct fence fence = {
	.job_id = 3,
	.range = 1,
	.epoch = 7,
	.seq = 41,
};

static void describe_archived(struct keyset *k)
{
	static const char *const columns[] = { "id", "\"A b\"" };

	describe_delete(k, NULL, "b");
	k->archive = mem_strdup("public.t_old");
	k->archive_oid = 4000000001;
	k->attributes = 9;
	k->archive_count = 2;
	k->archive_columns = mem_new(2, sizeof *k->archive_columns);
	for (int i = 0; i < 2; i++) {
		k->archive_columns[i] = mem_strdup(columns[i]);
	}
}

/* The statement with an archive is the one without and more: pairs of a piece
 * and of what follows it. */
static void expect_more(const char *with, const char *without,
	const char *const more[], int count)
{
	struct text built;
	const char *rest = without;

	text_init(&built);
	for (int i = 0; i < count; i++) {
		const char *before = strstr(rest, more[2 * i + 1]);

		assert_non_null(before);
		text_add_bytes(&built, rest, (size_t)(before - rest));
		text_add(&built, more[2 * i]);
		rest = before;
	}
	text_add(&built, rest);
	assert_string_equal(with, built.data);
	text_close(&built);
}

static const char DELETED[] = ",\n\t\tt.id AS __backfill_a1,"
			      "\n\t\tt.\"A b\" AS __backfill_a2";
static const char ARCHIVED[] = ",\n__backfill_a AS (\n"
			       "\tINSERT INTO public.t_old (id, \"A b\")\n"
			       "\tOVERRIDING SYSTEM VALUE\n"
			       "\tSELECT __backfill_a1, __backfill_a2\n"
			       "\tFROM __backfill_u\n"
			       "\tRETURNING 1 AS __backfill_one)";
static const char COUNTED[] = ",\n\t\t(SELECT pg_catalog.count(*)"
			      " FROM __backfill_a) AS __backfill_a";
static const char TOLD[] = ",\n\t__backfill_n.__backfill_a, 9";

static void test_statements(void **state)
{
	static const char *const more[] = { DELETED, ")\nSELECT ", ARCHIVED,
		"\nSELECT ", TOLD, ")\nFROM (SELECT ARRAY", COUNTED,
		"\n\tOFFSET 0" };
	struct text with, without;
	struct keyset k, plain;
	struct key lo, hi;
	const struct keyset_window window = {
		.lo = &lo, .hi = &hi, .rows_read = 20, .size = 30
	};
	const struct keyset_window hole = { .lo = &lo, .hi = &hi, .hole = 5 };

	(void)state;
	text_init(&with);
	text_init(&without);
	set_key(&lo, "{10}");
	set_key(&hi, "{20}");
	describe_archived(&k);
	describe_delete(&plain, NULL, "b");
	keyset_batch_sql(&k, &with, &fence, &window);
	keyset_batch_sql(&plain, &without, &fence, &window);
	expect_more(with.data, without.data, more, 4);
	text_reset(&with);
	text_reset(&without);
	keyset_batch_sql(&k, &with, &fence, &hole);
	keyset_batch_sql(&plain, &without, &fence, &hole);
	expect_more(with.data, without.data, more, 4);
	text_reset(&with);
	text_reset(&without);
	keyset_hole_sql(&k, &with, &fence, &hi, 5);
	keyset_hole_sql(&plain, &without, &fence, &hi, 5);
	expect_more(with.data, without.data, more, 4);
	keyset_close(&k);
	assert_null(k.archive);
	keyset_close(&plain);
	key_close(&lo);
	key_close(&hi);
	text_close(&with);
	text_close(&without);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
