/* test_table_lock.c: somebody locks the whole table in mid-job, as CREATE
 * INDEX and ADD FOREIGN KEY do. The job waits for it as it is, says for whom,
 * and blames no row of its batch. */
#include <stdio.h>

#include "cmocka_all.h"
#include "shop.h"

/* A third of the configuration's lock_timeout is longer than the job's: who is
 * in the way is looked for while the job waits, all the same. */
static int start(void **state)
{
	(void)state;
	shop_start_yaml("daemon: {poll_interval: 100ms}\n"
			"batch: {lock_timeout: 3s}\n");
	return 0;
}

static void test_share_lock(void **state)
{
	PGconn *owner = cluster_connect(shop.cluster, "shop", "app");
	char reason[200];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE locked (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO locked SELECT generate_series(1, 1000)");
	gate_close(100);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows, lock_timeout)"
		" VALUES ('locked', 'locked', 'n = n + 1 + gate_pass(id)',"
		" 50, 50, '600ms')");
	gate_wait("locked");
	sql_exec(owner, "SET application_name = 'indexer'");
	sql_async(owner, "BEGIN; LOCK TABLE locked IN SHARE MODE");
	gate_open();
	sql_async_wait(owner);

	/* The fifth pause at the earliest is as long: by then a row would have
	 * been looked for. */
	(void)snprintf(reason, sizeof reason,
		"^held up by pid %d \\(app, indexer, idle in transaction,"
		" transaction open for [0-9]+ s\\) -> again in"
		" ([89][0-9][0-9]|[1-9][0-9]{3,}) ms$",
		PQbackendPID(owner));
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '%s' AND waits_for = 'locks'"
		" FROM backfill.progress WHERE name = 'locked'",
		reason);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', holes, row_errors, rows_done ="
			" (SELECT sum(n) FROM locked)) FROM backfill.progress"
			" WHERE name = 'locked'"),
		"0 0 t");
	sql_exec(owner, "COMMIT");
	job_wait("locked", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(n), max(n), "
			"(SELECT"
			" count(*) FROM backfill.events WHERE event ="
			" 'window_hole')) FROM locked"),
		"1000 1 1 0");
	PQfinish(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_share_lock),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
