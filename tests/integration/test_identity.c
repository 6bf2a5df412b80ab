/* test_identity.c: a table or a key that is not what the job began with: it
 * was dropped, swapped for another, or its index was built anew. The job
 * fails and says why; what bears the name by then is not touched. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static PGconn *owner;

static int start(void **state)
{
	(void)shop_start(state);
	owner = cluster_connect(shop.cluster, "shop", "app");
	return 0;
}

static int stop(void **state)
{
	PQfinish(owner);
	return shop_stop(state);
}

/* 20,000 rows, so that the owner meets the job, a batch of 50 of which is in
 * flight: 101 to 150. */
static void stand_in_mid_job(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, 20000)",
		name, name);
	gate_close(100);
	job_submit(name, name, 50, "n = n + 1 + gate_pass(id)", NULL, NULL);
	gate_wait(name);
}

/* The batch in flight ends, and then the owner's statement has its turn,
 * before or after some more batches. */
static void let_it_meet(const char *statement)
{
	sql_async(owner, "%s", statement);
	gate_open();
	sql_async_wait(owner);
}

static const char *failure(const char *name)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state IN ('failed', 'succeeded') FROM backfill.jobs"
		" WHERE name = '%s'",
		name);
	return sql_text(shop.db,
		"SELECT concat_ws('|', state, error_sqlstate,"
		" regexp_replace(concat_ws('|', error_message, error_detail),"
		" '\\d+', 'N', 'g')) FROM backfill.jobs WHERE name = '%s'",
		name);
}

static int64_t rows_done(const char *name)
{
	return sql_int(shop.db,
		"SELECT rows_done FROM backfill.progress WHERE name = '%s'",
		name);
}

static void test_dropped(void **state)
{
	const char *told;

	(void)state;
	stand_in_mid_job("dropped");
	let_it_meet("DROP TABLE dropped");
	told = failure("dropped");
	/* Between two batches the fence finds it, within one the server. */
	if (strcmp(told,
		    "failed|BF022|table public.dropped is not the one that job"
		    " N began with|It was dropped or renamed; its OID was"
		    " N.") != 0) {
		assert_string_equal(told,
			"failed|42P01|relation \"public.dropped\" does not"
			" exist");
	}

	/* Of the name alone a new table is not taken for the old one. */
	sql_exec(shop.app,
		"CREATE TABLE dropped (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO dropped VALUES (500, 7);"
		"SELECT backfill.retry('dropped')");
	assert_non_null(strstr(failure("dropped"),
		"failed|BF022|table public.dropped or its key is not the one"
		" that job N began with"));
	assert_int_equal(sql_int(shop.db, "SELECT n FROM dropped"), 7);
}

static void test_swapped(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE swapped_new (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO swapped_new SELECT generate_series(1, 20000)");
	stand_in_mid_job("swapped");
	let_it_meet("BEGIN; LOCK TABLE swapped, swapped_new;"
		    "ALTER TABLE swapped RENAME TO swapped_old;"
		    "ALTER TABLE swapped_new RENAME TO swapped; COMMIT");
	assert_string_equal(failure("swapped"),
		"failed|BF022|table public.swapped is not the one that job N"
		" began with|It was dropped or renamed; its OID was N.");
	assert_int_equal(sql_int(shop.db, "SELECT sum(n) FROM swapped"), 0);
	assert_int_equal(sql_int(shop.db,
				 "SELECT sum(n) FROM swapped_old"
				 " WHERE n IN (0, 1)"),
		rows_done("swapped"));
}

/* The order is the same, and so retry may go on with the new index. */
static void test_reindexed(void **state)
{
	(void)state;
	stand_in_mid_job("reindexed");
	let_it_meet("REINDEX INDEX CONCURRENTLY reindexed_pkey");
	assert_string_equal(failure("reindexed"),
		"failed|BF022|the key index of table public.reindexed is not"
		" the one that job N began with|It was dropped or replaced; its"
		" OID was N.");
	assert_int_equal(sql_int(shop.db,
				 "SELECT sum(n) FROM reindexed"
				 " WHERE n IN (0, 1)"),
		rows_done("reindexed"));
	assert_true(rows_done("reindexed") < 20000);

	sql_exec(shop.app, "SELECT backfill.retry('reindexed')");
	job_wait("reindexed", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(n), max(n))"
			" FROM reindexed"),
		"20000 1 1");
	assert_int_equal(rows_done("reindexed"), 20000);
}

/* In another order the cursor would mean other rows. */
static void test_reindexed_in_another_order(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE reordered (id bigint NOT NULL,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO reordered SELECT generate_series(1, 20000);"
		"CREATE UNIQUE INDEX reordered_up ON reordered (id)");
	gate_close(100);
	job_submit("reordered", "reordered", 50, "n = n + 1 + gate_pass(id)",
		NULL, NULL);
	gate_wait("reordered");
	let_it_meet("BEGIN; LOCK TABLE reordered; DROP INDEX reordered_up;"
		    "CREATE UNIQUE INDEX reordered_down"
		    " ON reordered (id DESC); COMMIT");
	assert_non_null(strstr(failure("reordered"), "failed|BF022|"));
	sql_exec(shop.app, "SELECT backfill.retry('reordered')");
	assert_non_null(strstr(failure("reordered"),
		"failed|BF022|the key of table public.reordered has not the"
		" order that job N began with|"));
	assert_int_equal(sql_int(shop.db,
				 "SELECT sum(n) FROM reordered"
				 " WHERE n IN (0, 1)"),
		rows_done("reordered"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_reindexed),
		cmocka_unit_test(test_reindexed_in_another_order),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
