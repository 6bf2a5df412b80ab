/* test_preflight_plan.c: the order of the key that a job began with, and by
 * what a batch reads its table. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static void assert_all(const char *query)
{
	if (!sql_true(shop.db, "%s", query)) {
		fail_msg("not true: %s", query);
	}
}

/* But for the line that the statistics, which come when they come, make. */
static const char *findings(const char *name)
{
	return sql_text(shop.db,
		"SELECT string_agg(regexp_replace(e.detail, E'\\nof [0-9]+"
		" updates of [^\\n]* were HOT \\\\([^\\n]*\\\\)', '', 'g'),"
		" chr(10) ORDER BY e.id)"
		" FROM backfill.events e"
		" JOIN backfill.jobs j ON j.id = e.job_id"
		" WHERE j.name = '%s' AND e.event = 'preflight'",
		name);
}

/* ---- the order of the key */

static const char *signature(const char *name)
{
	return sql_text(shop.db,
		"SELECT r.key_signature FROM backfill.ranges r"
		" JOIN backfill.jobs j ON j.id = r.job_id"
		" WHERE j.name = '%s'",
		name);
}

static void test_signatures(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE signed (id bigint PRIMARY KEY, n int,"
		" a text NOT NULL COLLATE \"C\", \"B c\" text NOT NULL);"
		"INSERT INTO signed SELECT g, 0, g, g"
		" FROM generate_series(1, 10) g;"
		"CREATE UNIQUE INDEX ON signed (a DESC NULLS LAST, \"B c\""
		" text_pattern_ops DESC)");
	job_submit("signed", "signed", 7, "n = 1", NULL, NULL);
	job_wait("signed", "succeeded");
	assert_string_equal(signature("signed"), "id pg_catalog.int8_ops");
	job_submit("signed 2", "signed", 7, "n = 2", NULL, "{a,\"B c\"}");
	job_wait("signed 2", "succeeded");
	assert_string_equal(signature("signed 2"),
		"a pg_catalog.text_ops COLLATE pg_catalog.\"C\" DESC, \"B c\""
		" pg_catalog.text_pattern_ops COLLATE pg_catalog.\"default\""
		" (C) DESC NULLS FIRST");
}

/* Its version is the library's. */
static void test_signature_of_a_versioned_collation(void **state)
{
	(void)state;
	if (!sql_true(shop.db,
		    "SELECT EXISTS (SELECT FROM pg_collation"
		    " WHERE collname = 'en-x-icu')")) {
		print_message("skip: the server has no ICU\n");
		skip();
	}
	sql_exec(shop.app,
		"CREATE TABLE versioned (k text COLLATE \"en-x-icu\" PRIMARY"
		" KEY, n int);"
		"INSERT INTO versioned SELECT g FROM generate_series(1, 9) g");
	job_submit("versioned", "versioned", 7, "n = 1", NULL, NULL);
	job_wait("versioned", "succeeded");
	assert_string_equal(signature("versioned"),
		sql_text(shop.db,
			"SELECT 'k pg_catalog.text_ops COLLATE"
			" pg_catalog.\"en-x-icu\" ' ||"
			" pg_collation_actual_version('\"en-x-icu\"'"
			"::regcollation)"));
}

static void test_another_order(void **state)
{
	char message[128];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE turned (id text COLLATE \"C\" PRIMARY KEY,"
		" n int NOT NULL DEFAULT 0);"
		"INSERT INTO turned SELECT lpad(g::text, 3, '0')"
		" FROM generate_series(1, 50) g");
	gate_close(20);
	job_submit("turned", "turned", 5, "n = n + 1 + gate_pass(id::int)",
		NULL, NULL);
	gate_wait("turned");
	sql_exec(shop.app, "SELECT backfill.pause('turned', 'look')");
	gate_open();
	job_wait("turned", "paused");
	sql_exec(shop.db,
		"UPDATE backfill.ranges SET key_signature = key_signature ||"
		" ' 2.31' WHERE job_id = %lld",
		(long long)job_id("turned"));
	sql_exec(shop.app, "SELECT backfill.resume('turned')");
	(void)snprintf(message, sizeof message,
		"the key of table public.turned has not the order that job %lld"
		" began with",
		(long long)job_id("turned"));
	job_fails("turned", "BF022", message,
		"It was: id pg_catalog.text_ops COLLATE pg_catalog.\"C\" 2.31;"
		" it is: id pg_catalog.text_ops COLLATE pg_catalog.\"C\".",
		"REINDEX the index of the key, then submit the job anew: in"
		" another order, rows may have come to stand behind the place"
		" that it reached.");
	/* Nothing more was done; and it goes on when the order is back. */
	assert_all("SELECT sum(n) BETWEEN 20 AND 25 FROM turned");
	sql_exec(shop.db,
		"UPDATE backfill.ranges SET key_signature = replace("
		"key_signature, ' 2.31', '') WHERE job_id = %lld",
		(long long)job_id("turned"));
	sql_exec(shop.app, "SELECT backfill.retry('turned')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'succeeded' FROM backfill.jobs"
		" WHERE name = 'turned'");
	assert_all("SELECT bool_and(n = 1) FROM turned");
}

/* ---- the plan */

/* More than 1000 pages; the first 1000 keys are a third of the rows. */
static const char WIDE_SQL[] =
	"CREATE TABLE wide (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0,"
	" todo int, pad text);"
	"ALTER TABLE wide ALTER pad SET STORAGE PLAIN;"
	"INSERT INTO wide SELECT g, 0, CASE WHEN g % 500 = 0 THEN 1 END,"
	" repeat('x', 3500) FROM generate_series(1, 3000) g;"
	"ANALYZE wide";

#define WALKED "public.wide is walked by its key (id), index wide_pkey"
#define HOT                                                                    \
	"HOT updates are possible, but fillfactor is 100: free space is found" \
	" on other pages only; ALTER TABLE public.wide SET (fillfactor = 90)"  \
	" counts for pages written from then on"
#define BARRED                                                                 \
	"the planner would have read the whole of public.wide in each batch:"  \
	" enable_seqscan and enable_sort are off for the job"

static void wide(
	const char *name, const char *set_clause, const char *where_clause)
{
	job_submit(name, "wide", 1000, set_clause, where_clause, NULL);
}

static void test_small_window(void **state)
{
	(void)state;
	sql_exec(shop.app, "%s", WIDE_SQL);
	sql_exec(shop.db, "ALTER ROLE app SET random_page_cost = 0.01");
	wide("cheap", "n = n + 1", NULL);
	job_wait("cheap", "succeeded");
	sql_exec(shop.db, "ALTER ROLE app RESET random_page_cost");
	assert_string_equal(findings("cheap"), WALKED "\n" HOT);
	assert_all("SELECT bool_and(n = 1) FROM wide");
}

/* A full scan looks cheaper than any index. */
static void test_full_scan_is_barred(void **state)
{
	(void)state;
	sql_exec(shop.db, "ALTER ROLE app SET random_page_cost = 1000");
	wide("dear",
		"n = n + 1, todo = CASE current_setting("
		"'enable_seqscan') WHEN 'off' THEN todo END",
		NULL);
	job_wait("dear", "succeeded");
	sql_exec(shop.db, "ALTER ROLE app RESET random_page_cost");
	assert_string_equal(findings("dear"), WALKED "\n" HOT "\n" BARRED);
	assert_all("SELECT bool_and(n = 2) AND count(todo) = 6 FROM wide");
}

/* The rows that are left seem to be few, and each batch would look at them
 * all. */
static void test_scan_of_a_partial_index_is_barred(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE INDEX wide_todo ON wide (left(pad, 5)) WHERE todo = 1");
	wide("partial", "n = n + 1", "todo = 1");
	job_wait("partial", "succeeded");
	assert_string_equal(findings("partial"), WALKED "\n" HOT "\n" BARRED);
	assert_all("SELECT sum(n) = 2 * 3000 + 6 FROM wide");
	sql_exec(shop.app, "DROP INDEX wide_todo");
}

/* By an index all the same, though not by the key's. */
static void test_another_index(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE INDEX wide_todo ON wide (todo) WHERE todo IS NOT NULL");
	wide("other index", "n = n + 1", "todo = 1");
	job_wait("other index", "succeeded");
	assert_string_equal(findings("other index"),
		WALKED
		"\n" HOT "\n"
		"a batch reads public.wide by wide_todo, not by the index of"
		" its key");
	assert_all("SELECT sum(n) = 2 * 3000 + 12 FROM wide");
	sql_exec(shop.app, "DROP INDEX wide_todo");
}

static void test_no_index_condition(void **state)
{
	(void)state;
	sql_exec(shop.db,
		"ALTER ROLE app SET random_page_cost = 1e9;"
		"ALTER ROLE app SET enable_indexscan = off;"
		"ALTER ROLE app SET enable_bitmapscan = off");
	wide("no index", "n = 0", NULL);
	job_fails("no index", "BF028",
		"a batch would not read table public.wide by its key",
		"The plan has a Seq Scan on wide without a condition on an"
		" index.",
		"ANALYZE public.wide; if that does not help, REINDEX the index"
		" of the key.");
	assert_all("SELECT sum(n) = 2 * 3000 + 12 FROM wide");
	/* Where there is little to read, it is no matter. */
	sql_exec(shop.app,
		"CREATE TABLE small (id bigint PRIMARY KEY, n int);"
		"INSERT INTO small SELECT generate_series(1, 100)");
	job_submit("small", "small", 10, "n = 1", NULL, NULL);
	job_wait("small", "succeeded");
	sql_exec(shop.db,
		"ALTER ROLE app RESET random_page_cost;"
		"ALTER ROLE app RESET enable_indexscan;"
		"ALTER ROLE app RESET enable_bitmapscan");
	assert_all("SELECT bool_and(n = 1) FROM small");
	sql_exec(shop.app, "SELECT backfill.retry('no index')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'succeeded' FROM backfill.jobs"
		" WHERE name = 'no index'");
	assert_all("SELECT bool_and(n = 0) FROM wide");
}

/* Scans of the submitter's own are not ours to judge. */
static void test_scan_in_a_clause(void **state)
{
	(void)state;
	sql_exec(shop.app, "UPDATE wide SET n = 0; ANALYZE wide");
	wide("own scan", "n = 1",
		"n < (SELECT count(*) FROM wide WHERE pad <> '')");
	job_wait("own scan", "succeeded");
	assert_null(strstr(findings("own scan"), "a batch reads"));
	assert_all("SELECT bool_and(n = 1) FROM wide");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_signature_of_a_versioned_collation),
		cmocka_unit_test(test_another_order),
		cmocka_unit_test(test_small_window),
		cmocka_unit_test(test_full_scan_is_barred),
		cmocka_unit_test(test_scan_of_a_partial_index_is_barred),
		cmocka_unit_test(test_another_index),
		cmocka_unit_test(test_no_index_condition),
		cmocka_unit_test(test_scan_in_a_clause),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
