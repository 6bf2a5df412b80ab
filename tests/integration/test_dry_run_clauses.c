/* test_dry_run_clauses.c: what clauses and constraints do in a dry run, and
 * what they may not do. */
#include "dry_run_look.h"

static const char NOT_CHANGED[] =
	"Nothing was changed: it was a dry run on a copy of the table's first"
	" rows.";

/* ---- clauses */

/* Whoever names the table, in whatever way, finds the real one, of which the
 * copy has the first rows. */
static void test_clauses_find_the_real_table(void **state)
{
	char before[4096];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE items (id bigint PRIMARY KEY, n bigint,"
		" first text, last text);"
		"INSERT INTO items SELECT g, 0, 'f' || g, 'l' || g"
		" FROM generate_series(1, 50) g;"
		"CREATE FUNCTION full_name(items) RETURNS text LANGUAGE sql"
		" AS $$ SELECT $1.first || ' ' || $1.last $$;"
		"CREATE FUNCTION count_items() RETURNS bigint LANGUAGE sql"
		" SET search_path = public"
		" AS $$ SELECT count(*) FROM items $$;"
		"CREATE FUNCTION count_copies() RETURNS bigint LANGUAGE sql"
		" AS $$ SELECT count(*) FROM public.items $$");
	settle("items");
	look("items", before, sizeof before);
	run(&(struct dry){ .name = "items",
		.target = "items",
		.set = "n = (SELECT count(*) FROM items) + count_items()"
		       " + count_copies() + (SELECT max(i.id) FROM"
		       " public.items i WHERE i.id > items.id),"
		       " first = full_name(items), last = items.full_name"
		       " || to_jsonb(items)",
		.where = "(SELECT count(*) FROM items WHERE id > 10) = 40",
		.rows = 10 });
	assert_untouched("items", before);
	assert_report("items", "rows_sampled", "10");
	assert_report("items", "rows_eligible", "10");
	assert_report("items", "sample,0,after",
		"{\"n\": 200, \"last\": \"f1 l1{\\\"n\\\": 0, \\\"id\\\": 1,"
		" \\\"last\\\": \\\"l1\\\", \\\"first\\\": \\\"f1\\\"}\","
		" \"first\": \"f1 l1\"}");
}

/* Nor do names like ours reach the copy. */
static void test_names_like_ours(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE __backfill_copy (__backfill_v1 bigint PRIMARY"
		" KEY, __backfill_key int, s int, u text, name text);"
		"INSERT INTO __backfill_copy SELECT g FROM"
		" generate_series(1, 30) g");
	run(&(struct dry){ .name = "like ours",
		.target = "__backfill_copy",
		.set = "s = (SELECT count(*) FROM __backfill_copy)::int,"
		       " u = __backfill_copy.__backfill_v1, name = 'name'",
		.rows = 10 });
	assert_report("like ours", "rows_eligible", "10");
	assert_report("like ours", "sample,0",
		"{\"key\": [\"1\"], \"after\": {\"s\": 30, \"u\": \"1\","
		" \"name\": \"name\"}, \"before\": {\"s\": null, \"u\": null,"
		" \"name\": null}}");
}

/* Each kind of write that a function of a clause could do. */
static void test_clauses_write_nothing(void **state)
{
	char before[4096];
	static const char HINT[] =
		"A job with pause_after_rows tries them on so many rows.";

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE quiet (id bigint PRIMARY KEY, n bigint);"
		"INSERT INTO quiet SELECT generate_series(1, 10);"
		"CREATE SEQUENCE numbers;"
		"CREATE FUNCTION spoil(bigint) RETURNS int LANGUAGE plpgsql AS"
		" $$ BEGIN SET transaction_read_only = off;"
		" UPDATE quiet SET n = 1 WHERE id = $1; RETURN 1; END $$;"
		"CREATE FUNCTION soil(bigint) RETURNS int LANGUAGE plpgsql AS"
		" $$ BEGIN UPDATE quiet SET n = 1 WHERE id = $1; RETURN 1;"
		" EXCEPTION WHEN read_only_sql_transaction THEN"
		" RETURN 2; END $$");
	settle("quiet");
	look("quiet", before, sizeof before);
	submit(&(struct dry){ .name = "nextval",
		.target = "quiet",
		.set = "n = nextval('numbers')" });
	job_fails("nextval", "0A000",
		"the clauses of a dry run may write nothing: cannot execute"
		" nextval() in a read-only transaction",
		NULL, HINT);
	assert_false(sql_true(shop.db, "SELECT is_called FROM numbers"));
	submit(&(struct dry){
		.name = "spoil", .target = "quiet", .set = "n = spoil(id)" });
	job_fails("spoil", "25001",
		"transaction read-write mode must be set before any query",
		NULL, NOT_CHANGED);
	run(&(struct dry){
		.name = "soil", .target = "quiet", .set = "n = soil(id)" });
	assert_report("soil", "sample,0,after", "{\"n\": 2}");
	assert_untouched("quiet", before);
}

/* ---- constraints */

static void test_rows_that_would_fail(void **state)
{
	char before[4096];

	(void)state;
	sql_exec(shop.app,
		"CREATE DOMAIN small AS int CHECK (value < 100);"
		"CREATE TABLE \"Strict\" (id bigint PRIMARY KEY, n int NOT NULL"
		" CONSTRAINT \"not many\" CHECK (n < 1000), s small, m int,"
		" t int GENERATED ALWAYS AS (100 / n) STORED);"
		"INSERT INTO \"Strict\" SELECT g, 1 FROM"
		" generate_series(1, 10) g;"
		/* Not valid yet: what is to be mended violates it. */
		"ALTER TABLE \"Strict\" ADD CONSTRAINT \"has m\""
		" CHECK (m IS NOT NULL) NOT VALID");
	settle("\"Strict\"");
	look("\"Strict\"", before, sizeof before);
	submit(&(struct dry){ .name = "check",
		.target = "\"Strict\"",
		.set = "m = 1, n = id * 200" });
	job_fails("check", "23514",
		"new row for relation \"Strict\" violates check constraint"
		" \"not many\"",
		NULL, NOT_CHANGED);
	submit(&(struct dry){
		.name = "not valid", .target = "\"Strict\"", .set = "n = 2" });
	job_fails("not valid", "23514",
		"new row for relation \"Strict\" violates check constraint"
		" \"has m\"",
		NULL, NOT_CHANGED);
	submit(&(struct dry){ .name = "not null",
		.target = "\"Strict\"",
		.set = "m = 1, n = NULLIF(id, 3)" });
	job_fails("not null", "23502",
		"null value in column \"n\" of relation \"Strict\" violates"
		" not-null constraint",
		NULL, NOT_CHANGED);
	submit(&(struct dry){ .name = "domain",
		.target = "\"Strict\"",
		.set = "m = 1, s = id * 50" });
	job_fails("domain", "23514",
		"value for domain small violates check constraint"
		" \"small_check\"",
		NULL, NOT_CHANGED);
	submit(&(struct dry){ .name = "division",
		.target = "\"Strict\"",
		.set = "m = 1, n = id - 5" });
	job_fails("division", "22012", "division by zero", NULL, NOT_CHANGED);
	run(&(struct dry){
		.name = "mend", .target = "\"Strict\"", .set = "m = 1" });
	assert_report("mend", "rows_eligible", "10");
	assert_untouched("\"Strict\"", before);
	assert_texts(job_events("check"), "submitted,started,failed", "events");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.jobs WHERE"
				 " name = 'check' AND report IS NULL"),
		1);
}

/* What the copy has not, as documented. */
static void test_what_does_not_act(void **state)
{
	char before[4096];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE loose (id bigint PRIMARY KEY, code int UNIQUE,"
		" parent bigint REFERENCES loose);"
		"INSERT INTO loose SELECT generate_series(1, 10);"
		"CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS"
		" $$ BEGIN RAISE EXCEPTION 'never'; END $$;"
		"CREATE TRIGGER never BEFORE UPDATE ON loose FOR EACH ROW"
		" EXECUTE FUNCTION never();"
		"CREATE FUNCTION is_fine(loose) RETURNS boolean LANGUAGE sql"
		" IMMUTABLE AS 'SELECT $1.code IS DISTINCT FROM 7';"
		"ALTER TABLE loose ADD CONSTRAINT fine CHECK (is_fine(loose))");
	settle("loose");
	look("loose", before, sizeof before);
	run(&(struct dry){ .name = "loose",
		.target = "loose",
		.set = "code = 7, parent = 99" });
	assert_untouched("loose", before);
	assert_report("loose", "rows_eligible", "10");
	assert_true(has_line("loose", "findings",
		"constraint fine refers to the whole row: the dry run did not"
		" check it"));
	assert_true(has_line("loose", "findings", "%%never%%"));
}

/* A partition's bound is a constraint that the copy must have. */
static void test_partition(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE parts (id bigint, n int, PRIMARY KEY (id, n))"
		" PARTITION BY RANGE (n);"
		"CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0)"
		" TO (10);"
		"CREATE UNIQUE INDEX parts_1_id ON parts_1 (id);"
		"INSERT INTO parts SELECT g, 1 FROM generate_series(1, 10) g");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" key_columns, dry_run) VALUES ('part', 'parts_1', 'n = 9',"
		" '{id}', true), ('off', 'parts_1', 'n = 10', '{id}', true)");
	job_wait("part", "succeeded");
	assert_report("part", "rows_eligible", "10");
	job_fails("off", "23514",
		"new row for relation \"parts_1\" violates check constraint"
		" \"partition constraint\"",
		NULL, NOT_CHANGED);
}

/* ---- rights, locks, bounds */

static void test_missing_rights(void **state)
{
	(void)state;
	sql_exec(
		shop.app, "CREATE TABLE theirs (id bigint PRIMARY KEY, n int)");
	sql_exec(shop.db, "REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC");
	submit(&(struct dry){
		.name = "no temp", .target = "theirs", .set = "n = 1" });
	job_fails("no temp", "42501",
		"permission denied to create temporary tables in database"
		" \"shop\"",
		"A dry run changes a temporary copy of the table's first rows.",
		"GRANT TEMPORARY ON DATABASE shop TO app;");
	sql_exec(shop.db, "GRANT TEMPORARY ON DATABASE shop TO app");
	run(&(struct dry){
		.name = "temp", .target = "theirs", .set = "n = 1" });
	sql_exec(shop.db, "GRANT TEMPORARY ON DATABASE shop TO PUBLIC");
}

/* While it runs, it holds what a reader holds; and it can be cancelled. */
static void test_locks_like_a_reader(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE locked (id bigint PRIMARY KEY, n int);"
		"INSERT INTO locked SELECT generate_series(1, 10)");
	gate_close(3);
	submit(&(struct dry){ .name = "locks",
		.target = "locked",
		.set = "n = gate_pass(id)" });
	gate_wait("locks");
	assert_texts(sql_text(shop.db,
			     "SELECT string_agg(DISTINCT l.mode, ',') FROM"
			     " pg_locks l JOIN backfill.ranges r"
			     " ON r.runner_pid = l.pid JOIN backfill.jobs j"
			     " ON j.id = r.job_id WHERE j.name = 'locks'"
			     " AND l.relation IN ('locked'::regclass,"
			     " 'locked_pkey'::regclass)"),
		"AccessShareLock", "locks");
	sql_exec(shop.app, "UPDATE locked SET n = 5 WHERE id = 1");
	sql_exec(shop.app, "SELECT backfill.cancel('locks', 'enough')");
	job_wait("locks", "cancelled");
	gate_open();
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.jobs WHERE"
				 " name = 'locks' AND report IS NULL"),
		1);
	assert_int_equal(sql_int(shop.db, "SELECT sum(n) FROM locked"), 5);
}

/* What takes too long for a statement is tried with fewer rows. */
static void test_slow_statement(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE slow (id bigint PRIMARY KEY, n int);"
		"INSERT INTO slow SELECT generate_series(1, 1000);"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" statement_timeout, batch_rows, dry_run) VALUES ('slow',"
		" 'slow', 'n = length(pg_sleep(0.002)::text)', '1s', 1000,"
		" true)");
	job_wait("slow", "succeeded");
	assert_true(sql_true(shop.db,
		"SELECT report -> 'rows_sampled' = report -> 'rows_eligible'"
		" AND report -> 'rows_sampled' IN ('500', '250', '125', '62')"
		" FROM backfill.jobs WHERE name = 'slow'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clauses_find_the_real_table),
		cmocka_unit_test(test_names_like_ours),
		cmocka_unit_test(test_clauses_write_nothing),
		cmocka_unit_test(test_rows_that_would_fail),
		cmocka_unit_test(test_what_does_not_act),
		cmocka_unit_test(test_partition),
		cmocka_unit_test(test_locks_like_a_reader),
		cmocka_unit_test(test_slow_statement),
		/* The last one: it takes a right from all. */
		cmocka_unit_test(test_missing_rights),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
