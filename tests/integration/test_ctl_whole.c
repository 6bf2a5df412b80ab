/* test_ctl_whole.c: backfillctl with a daemon: what it tells of jobs as the
 * daemon leaves them, from the dry run to the last row. */
#include "ctl_output.h"
#include "shop.h"

static int start(void **state)
{
	int code = shop_start(state);

	cluster = shop.cluster;
	sql_exec(shop.db, "ALTER ROLE app SET timezone = 'UTC'");
	return code;
}

/* A hundred rows of which some will not do. */
static void make_table(const char *table)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer,"
		" CONSTRAINT %s_n_check CHECK (n <> 33));"
		"INSERT INTO %s SELECT g, g FROM generate_series(1, 100) g"
		" WHERE g <> 33; ANALYZE %s",
		table, table, table, table);
}

/* ---- a dry run, then the job */

static void test_dry_run(void **state)
{
	(void)state;
	make_table("dry");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, dry_run) VALUES ('dry', 'dry',"
		" 'n = n + 1000', 'n < 1000 AND id %% 2 = 0', true)");
	assert_int_equal(CTL("-U", "app", "wait", "dry"), 0);
	assert_has("succeeded as a dry run: nothing is changed\n");
	assert_int_equal(CTL("-U", "app", "explain", "dry"), 0);
	assert_has("\n  key   public.dry_pkey (id)\n"
		   "  rows  about 50 of 99 would change\n"
		   "  WAL   about ");
	assert_has("\nsample of rows, before -> after:\n"
		   "  key (2)\n    n: 2 -> 1002\n"
		   "  key (4)\n    n: 4 -> 1004\n");
	assert_has("\nfindings:\n  public.dry is walked by its key (id),"
		   " index dry_pkey\n");
	assert_has("\nplan of a batch:\n");
	assert_lacks("\n  WAL   about \n");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM dry WHERE n > 1000"), 0);
}

static void test_dry_run_of_a_delete(void **state)
{
	(void)state;
	make_table("dry_delete");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, where_clause,"
		" dry_run) VALUES ('dry delete', 'delete', 'dry_delete',"
		" 'n > 98', true)");
	assert_int_equal(CTL("-U", "app", "wait", "dry delete"), 0);
	assert_int_equal(CTL("-U", "app", "explain", "dry delete"), 0);
	assert_has("\nsample of rows, before -> after:\n"
		   "  key (99), deleted\n    id: 99\n    n: 99\n"
		   "  key (100), deleted\n    id: 100\n    n: 100\n"
		   "findings:\n");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM dry_delete"), 99);
}

/* Without a job: a dry run is submitted, waited for and told. */
static void test_explain_clauses(void **state)
{
	(void)state;
	make_table("tried");
	assert_int_equal(CTL("-U", "app", "explain", "--target=tried",
				 "--set=n = n + 1000", "--where=n < 1000"),
		0);
	assert_has("dry run of job ");
	assert_lacks("succeeded");
	assert_has("\n  rows  about 99 of 99 would change\n  WAL   about ");
	assert_has(", which VACUUM makes free again\n");
	assert_has("\n  HOT   about 0% of the updates\n");
	assert_has("\n    n: 1 -> 1001\n");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM tried WHERE n > 1000"),
		0);
	assert_int_equal(CTL("-U", "app", "explain", "--target=tried",
				 "--set=no = 1", "--json"),
		3);
	assert_has("42703: job ");

	/* What nobody waits for any more is not made later. */
	assert_int_equal(
		CTL("-U", "app", "explain", "--name=not now", "--target=tried",
			"--set=n = 1", "--hold", "--timeout=0"),
		1);
	assert_true(sql_true(shop.db,
		"SELECT state = 'cancelled' FROM backfill.jobs"
		" WHERE name = 'not now'"));
}

/* At once, and not when a timeout is over. */
static void test_explain_needs_a_daemon(void **state)
{
	(void)state;
	make_table("alone");
	assert_int_equal(daemon_stop(shop.daemon), 0);
	assert_int_equal(
		CTL("-U", "app", "explain", "--target=alone", "--set=n = 1"),
		1);
	shop_restart_daemon();
	assert_output("backfillctl: error: no daemon serves database \"shop\"\n"
		      "DETAIL:  A dry run is made by a daemon, as a job is.\n"
		      "HINT:  Start backfilld; backfillctl check tells what it"
		      " needs.\n");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE target ~ 'alone'"),
		0);
}

/* A job whose run is slow enough to be seen takes what it is told. */
static void test_submit_and_set(void **state)
{
	(void)state;
	make_table("told");
	assert_int_equal(
		CTL("-U", "app", "submit", "--name=told", "--target=told",
			"--set=n = n + 1000", "--where=n < 1000",
			"--batch-rows=1", "--max-batch-rows=1",
			"--max-rows-per-second=1"),
		0);
	assert_lacks("warning");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done > 0 FROM backfill.progress"
		" WHERE name = 'told'");
	assert_int_equal(CTL("-U", "app", "set", "told", "max_rows_per_second=",
				 "max_batch_rows=50", "batch_rows=50"),
		0);
	assert_int_equal(CTL("-U", "app", "submit", "--name=told",
				 "--target=told", "--set=n = n + 1000",
				 "--where=n < 1000", "--wait", "--timeout=60s"),
		0);
	assert_has("is there already, and is ");
	assert_has(" succeeded\n");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM told WHERE n > 1000"),
		99);
}

static void test_explain(void **state)
{
	(void)state;
	make_table("plain");
	sql_exec(shop.app,
		"CREATE INDEX plain_n_idx ON plain (n);"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause) VALUES ('plain', 'plain', 'n = 1000 + n',"
		" 'n < 1000')");
	assert_int_equal(CTL("-U", "app", "wait", "plain"), 0);
	assert_int_equal(CTL("-U", "app", "explain", "plain"), 0);
	assert_has("found before the first batch of job ");
	assert_has("\n  public.plain is walked by its key (id), index"
		   " plain_pkey\n"
		   "  no HOT updates: SET changes what these indexes hold:"
		   " plain_n_idx\n");
}

/* ---- rows that fail */

static void test_errors_and_retry(void **state)
{
	(void)state;
	make_table("bad");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, on_row_error) VALUES ('bad', 'bad',"
		" 'n = 1000 + n / (n - 7) * 0 + CASE n WHEN 50 THEN -967"
		" ELSE n END', 'n < 1000', 'record')");
	assert_int_equal(CTL("-U", "app", "wait", "bad"), 3);
	assert_has("backfillctl: error: BF027: job ");
	assert_has("\nDETAIL:  97 rows were changed; these are in"
		   " backfill.row_errors.\n");
	assert_int_equal(CTL("-U", "app", "errors", "bad"), 0);
	assert_has("\n7    22012  ");
	assert_has("  -            division by zero\n");
	assert_has("\n50   23514  ");
	assert_has("  bad_n_check  new row for relation \"bad\" violates"
		   " check constraint \"bad_n_check\"\n");

	sql_exec(shop.app, "UPDATE bad SET n = n + 100 WHERE id IN (7, 50)");
	assert_int_equal(CTL("-U", "app", "retry", "bad"), 0);
	assert_int_equal(CTL("-U", "app", "wait", "bad"), 0);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.row_errors"
				 " WHERE resolved_at IS NULL"),
		0);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM bad WHERE n > 1000"),
		99);
	assert_int_equal(CTL("-U", "app", "status", "bad"), 0);
	assert_has(" batches   0 failed\n");
}

/* ---- hold */

static void test_approve(void **state)
{
	(void)state;
	make_table("held");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, hold) VALUES ('held', 'held', 'n = 0',"
		" 'n <> 0', true)");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason IS NOT NULL FROM backfill.jobs"
		" WHERE name = 'held'");
	assert_int_equal(CTL("-U", "app", "explain", "held"), 0);
	assert_has(" is queued and was not examined yet: waits for"
		   " approve(): it was submitted with hold\n");
	assert_int_equal(CTL("-U", "app", "approve", "held"), 0);
	assert_int_equal(CTL("-U", "app", "wait", "held"), 0);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM held WHERE n <> 0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dry_run),
		cmocka_unit_test(test_dry_run_of_a_delete),
		cmocka_unit_test(test_explain_clauses),
		cmocka_unit_test(test_explain_needs_a_daemon),
		cmocka_unit_test(test_submit_and_set),
		cmocka_unit_test(test_explain),
		cmocka_unit_test(test_errors_and_retry),
		cmocka_unit_test(test_approve),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
