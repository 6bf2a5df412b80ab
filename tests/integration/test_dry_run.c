/* test_dry_run.c: a dry run tells what a job would do, and leaves of the
 * table each byte as it was: rows, files, even the time of their last
 * change. */
#include "dry_run_look.h"

static void make_products(void)
{
	sql_exec(shop.app,
		"CREATE TABLE products (id bigint PRIMARY KEY, cat text"
		" NOT NULL, price numeric(10,2) NOT NULL, long text);"
		"CREATE INDEX products_cat ON products (cat);"
		"ALTER TABLE products ALTER long SET STORAGE EXTERNAL;"
		"INSERT INTO products SELECT g, CASE WHEN g %% 2 = 0 THEN"
		" 'books' ELSE 'toys' END, g, repeat('long ', 1000)"
		" FROM generate_series(1, 3000) g");
	settle("products");
}

static void test_report_of_an_update(void **state)
{
	char before[4096];
	struct sql_failure failure;
	int64_t id;

	(void)state;
	make_products();
	look("products", before, sizeof before);
	run(&(struct dry){ .name = "raise",
		.target = "products",
		.set = "price = price * 1.1",
		.where = "cat = 'books'",
		.rows = 100 });
	assert_untouched("products", before);
	assert_report("raise", "key",
		"{\"index\": \"public.products_pkey\", \"columns\": [\"id\"]}");
	assert_report("raise", "rows_sampled", "100");
	assert_report("raise", "rows_eligible", "50");
	assert_sample("raise",
		"[\"2\"] {\"price\": 2.00} -> {\"price\": 2.20}\n"
		"[\"4\"] {\"price\": 4.00} -> {\"price\": 4.40}\n"
		"[\"6\"] {\"price\": 6.00} -> {\"price\": 6.60}\n"
		"[\"8\"] {\"price\": 8.00} -> {\"price\": 8.80}\n"
		"[\"10\"] {\"price\": 10.00} -> {\"price\": 11.00}");
	assert_true(has_line("raise", "plan", "%%Update on products%%"));
	assert_true(has_line("raise", "plan", "%%products_pkey%%"));
	assert_true(has_line("raise", "plan", "%%'100'::bigint%%"));
	assert_false(has_line("raise", "plan", "%%copy%%"));
	assert_true(has_line("raise", "findings",
		"50 of 50 changed rows still match where_clause: rows that are"
		" written late cannot be told from rows that the job changed"));

	assert_report("raise", "forecast,rows_total", "3000");
	assert_report("raise", "forecast,rows_to_change", "1500");
	/* A version, two index entries: 1500 times some hundred bytes. */
	assert_true(sql_true(shop.db,
		"SELECT (report #>> '{forecast,wal_bytes}')::bigint"
		" BETWEEN 1500 * 400 AND 1500 * 1500"
		" AND (report #>> '{forecast,seconds}')::numeric >= 0"
		" AND (report #>> '{forecast,bloat_bytes}')::bigint"
		" BETWEEN 1500 * 100 AND 1500 * 1000"
		" AND (report #>> '{forecast,hot_ratio}')::numeric = 0"
		" AND report #>> '{forecast,how}' ~ '^Estimated from the first"
		" 100 rows by key, of which 50 would change, and 3000 rows in"
		" the table \\(the planner''s estimate\\); WAL: [0-9]+ bytes "
		"and"
		" 2.0 index entries for each of them, and each page once; time:"
		" the [0-9]+\\.[0-9] ms of the statement on a copy of those"
		" rows, scaled, without pauses, waits for locks, triggers and"
		" foreign keys\\.$' FROM backfill.jobs WHERE name = 'raise'"));

	/* How it ends. */
	id = job_id("raise");
	assert_texts(sql_text(shop.db,
			     "SELECT detail FROM backfill.events WHERE job_id"
			     " = %lld AND event = 'succeeded'",
			     (long long)id),
		"dry run: nothing was changed", "event");
	assert_texts(sql_text(shop.db,
			     "SELECT concat_ws(' ', rows_done, rows_read,"
			     " batches) FROM backfill.progress WHERE id = %lld",
			     (long long)id),
		"0 0 0", "progress");
	sql_fails(shop.app, &failure,
		"SELECT backfill.ensure_succeeded('raise')");
	assert_string_equal(failure.sqlstate, "BF001");
	assert_string_equal(
		failure.detail, "It was a dry run, which changes nothing.");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE application_name = 'backfilld %lld/0')"
		" AND NOT EXISTS (SELECT FROM pg_class"
		" WHERE relpersistence = 't')",
		(long long)id);

	/* And the job itself, after it, is another. */
	job_submit("raise it", "products", 1000, "price = price * 1.1",
		"cat = 'books'", NULL);
	job_wait("raise it", "succeeded");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM products WHERE price"
				 " <> id AND cat = 'books'"),
		1500);
}

static void test_delete(void **state)
{
	char before[4096];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE logs (id bigint PRIMARY KEY, line text);"
		"INSERT INTO logs SELECT g, repeat('x', 300) FROM"
		" generate_series(1, 20) g; UPDATE logs SET line = NULL"
		" WHERE id = 20");
	settle("logs");
	look("logs", before, sizeof before);
	run(&(struct dry){
		.name = "purge", .target = "logs", .where = "id > 18" });
	assert_untouched("logs", before);
	assert_report("purge", "rows_sampled", "20");
	assert_report("purge", "rows_eligible", "2");
	assert_report("purge", "findings",
		"[\"public.logs is walked by its key (id), index logs_pkey\"]");
	/* Long values are cut. */
	assert_sample("purge",
		sql_text(shop.db,
			"SELECT format('[\"19\"] {\"id\": 19, \"line\": "
			"\"%%s\"}"
			" -> null', repeat('x', 200)) || E'\\n"
			"[\"20\"] {\"id\": 20, \"line\": null} -> null'"));
	assert_true(has_line("purge", "plan", "%%Delete on logs%%"));
	/* The sample is the whole table. */
	assert_report("purge", "forecast,rows_total", "20");
	assert_report("purge", "forecast,rows_to_change", "2");
}

static void test_from_clause(void **state)
{
	char before[4096];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE shops (id int PRIMARY KEY, city text);"
		"INSERT INTO shops VALUES (1, 'Berlin'), (2, 'Wien');"
		"CREATE TABLE sales (id bigint PRIMARY KEY, shop int,"
		" city text, next bigint);"
		"INSERT INTO sales SELECT g, g %% 3, NULL FROM"
		" generate_series(1, 30) g");
	settle("sales");
	look("sales", before, sizeof before);
	/* The real table joins the copy: as another row's neighbour. */
	run(&(struct dry){ .name = "cities",
		.target = "sales",
		.set = "city = s.city, next = n.id",
		.from = "shops s, sales n -- both",
		.where = "s.id = sales.shop AND n.id = sales.id + 20" });
	assert_untouched("sales", before);
	assert_report("cities", "rows_sampled", "30");
	assert_report("cities", "rows_eligible", "7");
	assert_true(sql_true(shop.db,
		"SELECT report #> '{sample,0}' = '{\"key\": [\"1\"], "
		"\"before\":"
		" {\"city\": null, \"next\": null}, \"after\": {\"city\":"
		" \"Berlin\", \"next\": 21}}' FROM backfill.jobs"
		" WHERE name = 'cities'"));

	run(&(struct dry){ .name = "cities away",
		.target = "sales",
		.from = "shops s",
		.where = "s.id = sales.shop AND s.city = 'Wien'" });
	assert_untouched("sales", before);
	assert_report("cities away", "rows_eligible", "10");
	assert_report("cities away", "sample,0,key", "[\"2\"]");
}

/* ---- kinds of tables */

static void test_odd_tables(void **state)
{
	char before[4096];

	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA \"Odd\" AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE DOMAIN \"Odd\".positive AS integer CHECK (value > 0);"
		"CREATE TYPE \"Odd\".mood AS ENUM ('sad', 'ok');"
		"CREATE TABLE \"Odd\".\"Or\"\"ders\" (gone int,"
		" \"The Kind\" \"Odd\".mood, \"Nr\" bigint GENERATED ALWAYS AS"
		" IDENTITY, \"Unit Price\" \"Odd\".positive NOT NULL,"
		" twice integer GENERATED ALWAYS AS (\"Unit Price\" * 2)"
		" STORED, tags text[], doc json, flag boolean,"
		" PRIMARY KEY (\"The Kind\", \"Nr\"));"
		"ALTER TABLE \"Odd\".\"Or\"\"ders\" DROP COLUMN gone;"
		"INSERT INTO \"Odd\".\"Or\"\"ders\" (\"The Kind\","
		" \"Unit Price\", tags, doc) SELECT CASE WHEN g > 5 THEN 'sad'"
		" ELSE 'ok' END::\"Odd\".mood, g, ARRAY['a'], '{\"a\": 1}'"
		" FROM generate_series(1, 10) g");
	settle("\"Odd\".\"Or\"\"ders\"");
	look("\"Odd\".\"Or\"\"ders\"", before, sizeof before);
	run(&(struct dry){ .name = "odd",
		.target = "\"Odd\".\"Or\"\"ders\"",
		.set = "\"Unit Price\" = \"Or\"\"ders\".\"Unit Price\" + 1,"
		       " doc = '{\"a\": 2}', tags[2] = 'b', flag = true",
		.where = "\"Or\"\"ders\".\"The Kind\" = 'ok'",
		.rows = 6 });
	assert_untouched("\"Odd\".\"Or\"\"ders\"", before);
	assert_report("odd", "key",
		"{\"index\": \"\\\"Odd\\\".\\\"Or\\\"\\\"ders_pkey\\\"\","
		" \"columns\": [\"The Kind\", \"Nr\"]}");
	assert_report("odd", "rows_sampled", "6");
	assert_sample("odd",
		"[\"ok\", \"1\"] {\"doc\": \"{\\\"a\\\": 1}\", \"flag\": null,"
		" \"tags\": \"{a}\", \"twice\": 2, \"Unit Price\": 1} ->"
		" {\"doc\": \"{\\\"a\\\": 2}\", \"flag\": true,"
		" \"tags\": \"{a,b}\", \"twice\": 4, \"Unit Price\": 2}");
}

static void test_empty_table(void **state)
{
	(void)state;
	sql_exec(shop.app, "CREATE TABLE nothing (id bigint PRIMARY KEY)");
	sql_exec(shop.app, "ALTER TABLE nothing ADD n int");
	run(&(struct dry){
		.name = "nothing", .target = "nothing", .set = "n = 1" });
	assert_texts(sql_text(shop.db,
			     "SELECT concat_ws(' ', report -> 'rows_sampled',"
			     " report -> 'rows_eligible', report -> 'sample',"
			     " report #> '{forecast,rows_total}',"
			     " report #> '{forecast,rows_to_change}',"
			     " report #> '{forecast,wal_bytes}',"
			     " report #> '{forecast,seconds}')"
			     " FROM backfill.jobs WHERE name = 'nothing'"),
		"0 0 [] 0 0 0 0.0", "report");
}

/* Values stay where they are if they are many: a batch would not read them. */
static void test_large_rows(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE large (id bigint PRIMARY KEY, n int, doc text);"
		"ALTER TABLE large ALTER doc SET STORAGE EXTERNAL;"
		"INSERT INTO large SELECT g, 0, repeat('x', 4000000)"
		" FROM generate_series(1, 20) g");
	run(&(struct dry){
		.name = "large", .target = "large", .set = "n = 1" });
	/* Rows before the last one have less than max_batch_wal, 16 MB. */
	assert_report("large", "rows_sampled", "5");
	assert_report("large", "sample,4,after", "{\"n\": 1}");
}

/* The copy is found by the index: of the rest nothing is read. The backend
 * that made the table may tell of its scan, of no rows, at any time. */
static void test_reads_a_window_only(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE wide (id bigint PRIMARY KEY, n int, pad text)"
		" WITH (autovacuum_enabled = off);"
		"INSERT INTO wide SELECT g, 0, repeat('x', 200)"
		" FROM generate_series(1, 20000) g ORDER BY random()");
	settle("wide");
	run(&(struct dry){ .name = "wide",
		.target = "wide",
		.set = "n = 1",
		.rows = 500 });
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT pg_stat_get_numscans('wide_pkey'::regclass) > 0");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT pg_stat_get_tuples_returned('wide'::regclass)"),
		0);
	assert_true(sql_true(shop.db,
		"SELECT pg_stat_get_tuples_returned('wide_pkey'::regclass)"
		" < 5000"));
	assert_report("wide", "rows_sampled", "500");
	assert_report("wide", "forecast,rows_total", "20000");
}

/* A report is no larger than a megabyte, whatever the rows are. */
static void test_long_report(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"DO $do$ BEGIN EXECUTE (SELECT format('CREATE TABLE long"
		" (id bigint PRIMARY KEY, %%s)', string_agg('c' || g || ' "
		"text',"
		" ', ')) FROM generate_series(1, 300) g);"
		" EXECUTE (SELECT format('INSERT INTO long SELECT g, %%s FROM"
		" generate_series(1, 5) g', string_agg("
		"'repeat(U&''\\+01F600'', 1000)', ', '))"
		" FROM generate_series(1, 300)); END $do$");
	run(&(struct dry){ .name = "long", .target = "long", .where = "true" });
	assert_report("long", "rows_eligible", "5");
	assert_report("long", "sample", "[]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report_of_an_update),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_from_clause),
		cmocka_unit_test(test_odd_tables),
		cmocka_unit_test(test_empty_table),
		cmocka_unit_test(test_large_rows),
		cmocka_unit_test(test_reads_a_window_only),
		cmocka_unit_test(test_long_report),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
