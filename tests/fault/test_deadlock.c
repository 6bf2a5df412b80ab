/* test_deadlock.c: an application that takes its locks in another order than
 * the job. Whoever has to give way, it is the job: it waits for locks for a
 * shorter time than the server's deadlock detector, counted from the batch's
 * first row lock, whatever its lock_timeout. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cmocka_all.h"
#include "shop.h"

enum { CHILDREN = 3000, PARENTS = 20, BATCH = 100, TRANSACTIONS = 60 };

/* A row of the batch that comes next or is in flight. */
static int64_t near_the_cursor(const char *name)
{
	return sql_int(shop.db,
		"SELECT least(%d, coalesce(r.cursor[1]::bigint, 0) + 1 + %d)"
		" FROM backfill.ranges r WHERE r.job_id = %lld",
		CHILDREN, rand() % BATCH, (long long)job_id(name));
}

static void begin(const char *name, const char *set_clause)
{
	unsigned seed = (unsigned)time(NULL);

	print_message("seed %u\n", seed);
	srand(seed);
	sql_exec(shop.app,
		"CREATE FUNCTION %s_slow(v bigint) RETURNS bigint"
		" LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.002);"
		" RETURN v; END $$;"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows, lock_timeout)"
		" VALUES ('%s', '%s', '%s, n = n + 1', %d, %d, '10s')",
		name, name, name, set_clause, BATCH, BATCH);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT r.begun_at IS NOT NULL FROM backfill.ranges r"
		" WHERE r.job_id = %lld",
		(long long)job_id(name));
}

static void assert_done_once(const char *name)
{
	job_wait(name, "succeeded");
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws(' ', count(*), min(n), "
				    "max(n)) FROM %s",
				    name),
		sql_text(shop.db, "SELECT '%d 1 1'", CHILDREN));
}

/* The job's row locks first and the foreign key's lock on the parent last;
 * the application the other way round. Each of its statements must succeed:
 * sql_exec() fails the test at the first 40P01. */
static void test_foreign_key(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE parent (id bigint PRIMARY KEY);"
		"INSERT INTO parent SELECT generate_series(1, %d);"
		"CREATE TABLE fk (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0, note integer DEFAULT 0,"
		" parent bigint NOT NULL REFERENCES parent);"
		"INSERT INTO fk (id, parent) SELECT g, g %% %d + 1"
		" FROM generate_series(1, %d) g",
		PARENTS, PARENTS, CHILDREN);
	begin("fk", "parent = fk_slow(parent % 20 + 1)");
	for (int i = 0; i < TRANSACTIONS; i++) {
		sql_exec(shop.app,
			"BEGIN; SELECT FROM parent WHERE id = %d FOR UPDATE;"
			"UPDATE fk SET note = note + 1 WHERE id = %lld; COMMIT",
			rand() % PARENTS + 1, (long long)near_the_cursor("fk"));
	}
	assert_int_equal(
		sql_int(shop.db, "SELECT sum(note) FROM fk"), TRANSACTIONS);
	assert_done_once("fk");
}

/* An open insert of a value that the job is about to write. */
static void test_unique_column(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE uq (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0, note integer DEFAULT 0,"
		" code bigint UNIQUE);"
		"INSERT INTO uq (id, code) SELECT g, g"
		" FROM generate_series(1, %d) g",
		CHILDREN);
	begin("uq", "code = uq_slow(code + 100000)");
	for (int i = 0; i < TRANSACTIONS; i++) {
		long long id = (long long)near_the_cursor("uq");

		/* It is taken back: else the job's value would be a duplicate.
		 */
		sql_exec(shop.app,
			"BEGIN; INSERT INTO uq (id, n, code)"
			" VALUES (%lld, 1, %lld) ON CONFLICT DO NOTHING;"
			"UPDATE uq SET note = note + 1 WHERE id = %lld;"
			"ROLLBACK",
			1000000 + id, 100000 + id, id);
	}
	assert_done_once("uq");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign_key),
		cmocka_unit_test(test_unique_column),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
