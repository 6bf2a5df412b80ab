/* test_moving_clauses.c: clauses whose answer is not the same when asked
 * again: by chance, by what a function looks at, by time alone. No row is
 * passed over for it, and none is changed twice. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *event_detail(const char *name, const char *event)
{
	return sql_text(shop.db,
		"SELECT string_agg(e.detail, '|' ORDER BY e.id)"
		" FROM backfill.events e JOIN backfill.jobs j"
		" ON j.id = e.job_id WHERE j.name = '%s' AND e.event = '%s'",
		name, event);
}

static int has_event(const char *name, const char *event)
{
	return strcmp(event_detail(name, event), "(null)") != 0;
}

/* ---- the batch asks twice */

/* Of the rows 1 and 2, the first is held; row 3 is eligible only when asked
 * the second time. As many rows are changed as were eligible, and not the
 * same ones. */
static void test_as_many_rows_but_others(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE fickle (id int PRIMARY KEY, n int NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO fickle SELECT generate_series(1, 3);"
		"CREATE SEQUENCE asked;"
		"CREATE FUNCTION is_wanted(id int) RETURNS boolean LANGUAGE"
		" plpgsql AS $$ BEGIN RETURN id < 3"
		" OR nextval('public.asked') > 1; END $$");
	sql_exec(other, "BEGIN; SELECT FROM fickle WHERE id = 1 FOR UPDATE");
	job_submit("fickle", "fickle", 7, "n = n + 1", "is_wanted(id)", NULL);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT holes = 1 OR state = 'succeeded'"
		" FROM backfill.progress WHERE name = 'fickle'");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', state, holes, rows_done)"
			" FROM backfill.progress WHERE name = 'fickle'"),
		"running 1 2");
	sql_exec(other, "COMMIT");
	PQfinish(other);
	job_wait("fickle", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(n::text, ',' ORDER BY id)"
			" FROM fickle"),
		"1,1,1");
}

/* ---- a sweep would ask once more */

static void make_moments(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id int PRIMARY KEY, n int NOT NULL DEFAULT"
		" 0, age int NOT NULL DEFAULT 0, at timestamptz NOT NULL);"
		"INSERT INTO %s (id, at) SELECT g, '2000-01-01'"
		" FROM generate_series(1, 20) g",
		name, name);
}

static void submit(const char *name, const char *from, const char *where)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" from_clause, where_clause) VALUES ('%s', '%s',"
		" 'n = n + 1, at = now()', nullif($q$%s$q$, ''), $q$%s$q$)",
		name, name, from, where);
}

/* Within the transaction that changed it, a row does not match; later it
 * does, without anybody's doing. */
static void test_rows_that_match_again(void **state)
{
	static const struct {
		const char *name, *from, *where, *told;
	} cases[] = {
		{ "by_now", "", "at < now()", "where_clause calls now()" },
		{ "by_qualified", "", "at < \"pg_catalog\".NOW ()",
			"where_clause calls now()" },
		{ "by_keyword", "", "at < current_timestamp",
			"where_clause calls current_timestamp" },
		{ "by_stable", "", "at < Moment()",
			"where_clause calls public.moment()" },
		{ "by_schema", "", "at < \"Else\".moment()",
			"where_clause calls \"Else\".moment()" },
		{ "by_chance", "", "n = 0 AND random() < 2",
			"where_clause calls random()" },
		{ "by_escapes", "", "at < U&\"\\006eow\"()",
			"where_clause calls \\006eow()" },
		{ "by_first", "", "moment() > at AND at < now()",
			"where_clause calls public.moment()" },
		{ "by_from", "(SELECT now() AS moment) m", "at < m.moment",
			"from_clause calls now()" },
	};

	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA \"Else\" AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE FUNCTION moment() RETURNS timestamptz LANGUAGE sql"
		" STABLE AS 'SELECT now()';"
		"CREATE FUNCTION \"Else\".moment() RETURNS timestamptz"
		" LANGUAGE sql VOLATILE AS 'SELECT now()'");
	for (size_t i = 0; i < COUNT(cases); i++) {
		make_moments(cases[i].name);
		submit(cases[i].name, cases[i].from, cases[i].where);
	}
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *name = cases[i].name;
		char text[256];

		job_wait(name, "succeeded");
		if (!sql_true(shop.db,
			    "SELECT bool_and(n = 1) AND count(*) = 20"
			    " FROM %s",
			    name)) {
			fail_msg("%s: n is up to %s", name,
				sql_text(shop.db, "SELECT max(n) FROM %s",
					name));
		}
		(void)snprintf(text, sizeof text,
			"%s, by which rows come to match again: there was no"
			" closing sweep, rows written meanwhile were not"
			" looked for",
			cases[i].told);
		assert_string_equal(event_detail(name, "not_swept"), text);
		assert_false(has_event(name, "sweep"));
		(void)snprintf(text, sizeof text,
			"%s, by which rows come to match again: there will be"
			" no closing sweep, rows written meanwhile are not"
			" looked for",
			cases[i].told);
		if (strstr(event_detail(name, "preflight"), text) == NULL) {
			fail_msg("%s: %s", name,
				event_detail(name, "preflight"));
		}
	}
}

/* Names alone do not matter where they are no calls, nor functions that the
 * clause does not mean. */
static void test_what_is_swept(void **state)
{
	static const struct {
		const char *name, *where;
	} cases[] = {
		{ "swept_quotes", "n = 0 AND 'now()' <> $$ random() $$" },
		{ "swept_comment", "n = 0 /* now() */ -- random()" },
		{ "swept_column", "n = 0 AND swept_column.age IN (0)" },
		{ "swept_catalog",
			"n = 0 AND date_trunc('day', at) < at + '1s'"
			" AND current_setting('TimeZone') <> ''" },
		{ "swept_immutable", "n = 0 AND fixed(1) = 1" },
		{ "swept_hidden", "n = 0 AND abs(age) = 0" },
	};

	(void)state;
	sql_exec(shop.app,
		"CREATE FUNCTION fixed(int) RETURNS int LANGUAGE sql IMMUTABLE"
		" AS 'SELECT $1';"
		"CREATE FUNCTION \"Else\".abs(text) RETURNS text LANGUAGE sql"
		" VOLATILE AS 'SELECT $1'");
	for (size_t i = 0; i < COUNT(cases); i++) {
		make_moments(cases[i].name);
		submit(cases[i].name, "", cases[i].where);
	}
	for (size_t i = 0; i < COUNT(cases); i++) {
		job_wait(cases[i].name, "succeeded");
		if (!has_event(cases[i].name, "sweep") ||
			has_event(cases[i].name, "not_swept")) {
			fail_msg("%s: %s", cases[i].name,
				job_events(cases[i].name));
		}
	}
}

/* What a delete has done cannot match again. */
static void test_deletes_are_swept(void **state)
{
	(void)state;
	make_moments("outdated");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, where_clause)"
		" VALUES ('outdated', 'delete', 'outdated', 'at < now()')");
	job_wait("outdated", "succeeded");
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM outdated"), 0);
	assert_true(has_event("outdated", "sweep"));
	assert_false(has_event("outdated", "not_swept"));
}

/* A job that changed rows match still says that, and not both. */
static void test_rows_that_still_match(void **state)
{
	(void)state;
	make_moments("steady");
	submit("steady", "", "at <= now()");
	job_wait("steady", "succeeded");
	assert_true(has_event("steady", "not_self_excluding"));
	assert_false(has_event("steady", "not_swept"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_many_rows_but_others),
		cmocka_unit_test(test_rows_that_match_again),
		cmocka_unit_test(test_what_is_swept),
		cmocka_unit_test(test_deletes_are_swept),
		cmocka_unit_test(test_rows_that_still_match),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
