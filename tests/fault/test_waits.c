/* test_waits.c: batches that wait for others in the middle of their
 * statement, and rows that take their time with nobody in the way. Neither
 * keeps the job from what it can do meanwhile. */
#include <stdio.h>

#include "cmocka_all.h"
#include "shop.h"

/* All rows refer to one parent, which somebody holds: the walk goes on to the
 * end, window by window, and says for whom it waits then. */
static void test_one_lock_for_all_rows(void **state)
{
	PGconn *holder = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE heads (id bigint PRIMARY KEY);"
		"INSERT INTO heads VALUES (1), (2);"
		"CREATE TABLE hands (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0,"
		" head bigint NOT NULL REFERENCES heads);"
		"INSERT INTO hands (id, head) SELECT g, 2"
		" FROM generate_series(1, 3000) g");
	sql_exec(holder, "BEGIN; SELECT FROM heads WHERE id = 1 FOR UPDATE");
	job_submit("hands", "hands", 1000, "head = 1, n = n + 1", NULL, NULL);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT key = last_key AND reason ~ '^waits for 3 rows held by"
		" others: keys up to \\(3000\\) for [0-9]+ s by pid %d '"
		" FROM backfill.progress WHERE name = 'hands'",
		PQbackendPID(holder));
	assert_int_equal(sql_int(shop.db, "SELECT sum(n) FROM hands"), 0);
	sql_exec(holder, "COMMIT");
	job_wait("hands", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(n), max(n),"
			" min(head)) FROM hands"),
		"3000 1 1 1");
	PQfinish(holder);
}

/* A trigger makes one row slower than what a batch that may wait for locks is
 * given. Nobody holds it up, so it gets its time. */
static void test_slow_row(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE slow (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO slow SELECT generate_series(1, 50);"
		"CREATE FUNCTION slow_trigger() RETURNS trigger"
		" LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 33 THEN"
		" PERFORM pg_sleep(0.8); END IF; RETURN NEW; END $$;"
		"CREATE TRIGGER slow BEFORE UPDATE ON slow FOR EACH ROW"
		" EXECUTE FUNCTION slow_trigger()");
	job_submit("slow", "slow", 50, "n = n + 1", NULL, NULL);
	job_wait("slow", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(n), max(n))"
			" FROM slow"),
		"50 1 1");
}

/* The same of a row that was held when the cursor passed. */
static void test_slow_hole(void **state)
{
	PGconn *holder = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	sql_exec(shop.app,
		"ALTER TABLE slow DISABLE TRIGGER slow;"
		"UPDATE slow SET n = 0; ALTER TABLE slow ENABLE TRIGGER slow");
	sql_exec(holder, "BEGIN; SELECT FROM slow WHERE id = 33 FOR UPDATE");
	job_submit("slow hole", "slow", 50, "n = n + 1", NULL, NULL);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT holes = 1 AND rows_done = 49 FROM backfill.progress"
		" WHERE name = 'slow hole'");
	sql_exec(holder, "COMMIT");
	job_wait("slow hole", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(n), max(n))"
			" FROM slow"),
		"50 1 1");
	PQfinish(holder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_lock_for_all_rows),
		cmocka_unit_test(test_slow_row),
		cmocka_unit_test(test_slow_hole),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
