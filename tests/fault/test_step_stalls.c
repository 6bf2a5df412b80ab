/* test_step_stalls.c: an application at work on a table with a long-running
 * reader in the way, while the schema is changed: what the naive statement
 * does to it, and that ours keeps no client waiting for longer than
 * lock_timeout, and lets none fail. */
#include <stdio.h>

#include "cmocka_all.h"
#include "shop.h"
#include "wait.h"

enum { LOCK_TIMEOUT_MS = 300, SCHEDULING_MS = 1500, ROWS = 1000 };

static PGconn *reader, *client, *naive;

/* The client fails when it waits for a lock for longer than a step may keep
 * it; how long it works does not matter. */
static int start(void **state)
{
	(void)shop_start(state);
	reader = cluster_connect(shop.cluster, "shop", "app");
	client = cluster_connect(shop.cluster, "shop", "app");
	sql_exec(client, "SET lock_timeout = %d",
		LOCK_TIMEOUT_MS + SCHEDULING_MS);
	naive = cluster_connect(shop.cluster, "shop", "app");
	return 0;
}

static int stop(void **state)
{
	PQfinish(naive);
	PQfinish(client);
	PQfinish(reader);
	return shop_stop(state);
}

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO %s SELECT g, g FROM generate_series(1, %d) g",
		name, name, ROWS);
}

/* A transaction of the application. */
static void work(const char *table, int i)
{
	sql_exec(client,
		"BEGIN; SELECT n FROM %s WHERE id = %d;"
		"UPDATE %s SET n = n + 1 WHERE id = %d; COMMIT",
		table, 1 + i % ROWS, table, 1 + i * 7 % ROWS);
}

static void submit(const char *name, const char *definition)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, definition,"
		" lock_timeout) VALUES ('%s', 'ddl', '%s', '%s',"
		" '%d milliseconds')",
		name, name, definition, LOCK_TIMEOUT_MS);
}

/* The trap: everybody waits behind the one who waits for the reader. */
static void test_naive_statement_stops_the_application(void **state)
{
	struct sql_failure f;

	(void)state;
	make_table("stopped");
	sql_exec(reader, "BEGIN; SELECT count(*) FROM stopped");
	sql_async(naive, "ALTER TABLE stopped ADD COLUMN a text");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted"
		" AND relation = 'stopped'::regclass)");
	sql_fails(client, &f, "SELECT n FROM stopped WHERE id = 1");
	assert_string_equal(f.sqlstate, "55P03");
	sql_exec(reader, "COMMIT");
	sql_async_wait(naive);
}

/* The reader is there before the step, and for long. */
static void test_long_reader(void **state)
{
	int tried = 0;

	(void)state;
	make_table("long_reader");
	sql_exec(reader, "BEGIN; SELECT count(*) FROM long_reader");
	submit("long_reader", "ALTER TABLE long_reader ADD COLUMN a text");
	for (int i = 0; i < 3000 && tried < 1000; i++) {
		work("long_reader", i);
		tried += sql_true(shop.db,
			"SELECT reason LIKE 'waits for a lock: %%' FROM"
			" backfill.jobs WHERE name = 'long_reader'");
	}
	assert_true(tried > 0);
	sql_exec(reader, "COMMIT");
	job_wait("long_reader", "succeeded");
	work("long_reader", 1);
}

/* Readers that come and go, one of them always there: none is old enough for
 * the guard, and the step has its turn between them. */
static void test_short_readers(void **state)
{
	PGconn *readers[] = { reader, naive };

	(void)state;
	make_table("short_readers");
	sql_exec(readers[0], "BEGIN; SELECT count(*) FROM short_readers");
	submit("short_readers",
		"ALTER TABLE short_readers ADD COLUMN a text;"
		" ALTER TABLE short_readers ADD COLUMN b text");
	for (int i = 0; i < 500; i++) {
		work("short_readers", i);
		if (i % 10 == 9) {
			sql_exec(readers[(i / 10 + 1) % 2],
				"BEGIN; SELECT count(*) FROM short_readers");
			sql_exec(readers[i / 10 % 2], "COMMIT");
		}
		if (sql_true(shop.db,
			    "SELECT state = 'succeeded' FROM backfill.jobs"
			    " WHERE name = 'short_readers'")) {
			break;
		}
	}
	sql_exec(reader, "ROLLBACK");
	sql_exec(naive, "ROLLBACK");
	job_wait("short_readers", "succeeded");
}

/* Behind the guard's back: the reader comes when the step has its turn. What
 * is in flight gives up after lock_timeout, and comes back. */
static void test_reader_after_the_guard(void **state)
{
	uint64_t deadline;
	int met = 0; /* steps in flight, with a lock in everybody's way */

	(void)state;
	make_table("late_reader");
	make_table("late_reader_too");
	/* The guard looks at the target, which nobody holds. */
	sql_exec(reader, "BEGIN; SELECT count(*) FROM late_reader_too");
	submit("late_reader",
		"ALTER TABLE late_reader ADD COLUMN a text;"
		" ALTER TABLE late_reader_too ADD COLUMN a text");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason LIKE '%%-> again in %%' FROM backfill.jobs"
		" WHERE name = 'late_reader'");
	deadline = wait_deadline(SHOP_WAIT_SECONDS);
	for (int i = 0; met < 3; i++) {
		met += sql_true(shop.db,
			"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted"
			" AND relation = 'late_reader_too'::regclass)");
		work(i % 2 == 0 ? "late_reader" : "late_reader_too", i);
		if (!wait_again(deadline)) {
			fail_msg("the step does not come back");
		}
	}
	sql_exec(reader, "COMMIT");
	job_wait("late_reader", "succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_naive_statement_stops_the_application),
		cmocka_unit_test(test_long_reader),
		cmocka_unit_test(test_short_readers),
		cmocka_unit_test(test_reader_after_the_guard),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
