/* The nested comparison of keys means what a row comparison means. */

#include "keyset_describe.h"

#include <stdlib.h>

#define REGION "(t.region COLLATE pg_catalog.\"C\")"

/* Enough of SQL to evaluate "t.a > '1'::int AND (… OR (…))" over a row of
 * three numbers a, b, c. AND binds more tightly than OR. */
struct reader {
	const char *at;
	const int *row;
};

static int read_or(struct reader *r);

static int accept(struct reader *r, const char *token)
{
	while (*r->at == ' ' || *r->at == '\n' || *r->at == '\t') {
		r->at++;
	}
	if (strncmp(r->at, token, strlen(token)) != 0) {
		return 0;
	}
	r->at += strlen(token);
	return 1;
}

static int read_comparison(struct reader *r)
{
	int value, wide, is_greater, number;
	char *end;

	if (accept(r, "(")) {
		value = read_or(r);
		assert_true(accept(r, ")"));
		return value;
	}
	assert_true(accept(r, "t."));
	assert_in_range(*r->at, 'a', 'c');
	value = r->row[*r->at++ - 'a'];
	is_greater = accept(r, ">");
	assert_true(is_greater || accept(r, "<"));
	wide = accept(r, "=");
	assert_true(accept(r, "'"));
	number = (int)strtol(r->at, &end, 10);
	r->at = end;
	assert_true(accept(r, "'::int"));
	if (value == number) {
		return wide;
	}
	return is_greater ? value > number : value < number;
}

static int read_and(struct reader *r)
{
	int value = read_comparison(r);

	while (accept(r, "AND")) {
		value &= read_comparison(r);
	}
	return value;
}

static int read_or(struct reader *r)
{
	int value = read_and(r);

	while (accept(r, "OR")) {
		value |= read_and(r);
	}
	return value;
}

static int compare(const int *a, const int *b, int count)
{
	for (int i = 0; i < count; i++) {
		if (a[i] != b[i]) {
			return a[i] < b[i] ? -1 : 1;
		}
	}
	return 0;
}

/* Three columns, three values each: number counts in base three. */
static void set_row(int *row, int number)
{
	for (int i = 2; i >= 0; i--) {
		row[i] = number % 3;
		number /= 3;
	}
}

static void check_bounds(
	const struct keyset *k, const int *lo_row, const int *hi_row)
{
	char number[8] = { 0 };
	struct key lo, hi;
	struct text sql;
	char *guard, *end;

	key_init(&lo);
	key_init(&hi);
	for (int i = 0; i < k->count; i++) {
		number[0] = (char)('0' + lo_row[i]);
		key_add(&lo, number);
		number[0] = (char)('0' + hi_row[i]);
		key_add(&hi, number);
	}
	text_init(&sql);
	keyset_window_sql(k, &sql, &lo, &hi, 10);
	guard = strstr(sql.data, "pg_catalog.oid\n\t\tAND ");
	assert_non_null(guard);
	guard += strlen("pg_catalog.oid\n\t\tAND ");
	end = strstr(guard, "\n\tORDER BY");
	assert_non_null(end);
	*end = '\0';

	for (int i = 0; i < 27; i++) {
		int row[3];
		struct reader r = { guard, row };
		int is_inside;

		set_row(row, i);
		is_inside = read_or(&r);
		assert_int_equal(*r.at, '\0');
		if (is_inside !=
			(compare(row, lo_row, k->count) > 0 &&
				compare(row, hi_row, k->count) <= 0)) {
			fail_msg("%d %d %d: %s", row[0], row[1], row[2], guard);
		}
	}
	key_close(&lo);
	key_close(&hi);
	text_close(&sql);
}

static void test_nested_comparison(void **state)
{
	static const char *const names[] = { "a", "b", "c" };

	(void)state;
	for (int count = 1; count <= 3; count++) {
		struct keyset k;

		describe(&k, "x = 1", NULL);
		for (int i = 0; i < count; i++) {
			add_key_column(&k, names[i], "int", "");
		}
		for (int lo = 0; lo < 27; lo++) {
			for (int hi = 0; hi < 27; hi++) {
				int lo_row[3], hi_row[3];

				set_row(lo_row, lo);
				set_row(hi_row, hi);
				check_bounds(&k, lo_row, hi_row);
			}
		}
		keyset_close(&k);
	}
}

static void test_nested_comparison_as_text(void **state)
{
	struct key lo, hi;
	struct keyset k;
	struct text sql;

	(void)state;
	text_init(&sql);
	describe_composite(&k);
	k.row_comparison = 0;
	set_key(&lo, "{eu,5}");
	set_key(&hi, "{us,90}");
	keyset_window_sql(&k, &sql, &lo, &hi, 10);
	assert_non_null(strstr(sql.data,
		"\n\t\tAND " REGION " >= 'eu'::text AND (" REGION
		" > 'eu'::text OR (t.\"Id\" > '5'::bigint))"
		"\n\t\tAND " REGION " <= 'us'::text AND (" REGION
		" < 'us'::text OR (t.\"Id\" <= '90'::bigint))\n"));
	key_close(&lo);
	key_close(&hi);
	keyset_close(&k);
	text_close(&sql);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nested_comparison),
		cmocka_unit_test(test_nested_comparison_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
