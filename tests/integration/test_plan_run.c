/* test_plan_run.c: a plan that a daemon carries out, takes back, and carries
 * out again. */
#include "cmocka_all.h"
#include "shop.h"

static const char *fillfactor(void)
{
	return sql_text(shop.db,
		"SELECT reloptions FROM pg_class"
		" WHERE oid = 'public.planned'::regclass");
}

static void submit(void)
{
	sql_exec(shop.app,
		"SELECT backfill.plan_ddl('planned',"
		" 'ALTER TABLE planned SET (fillfactor = 90)',"
		" 'ALTER TABLE planned RESET (fillfactor)', 'p')");
}

static void test_there_and_back(void **state)
{
	int64_t undone;

	(void)state;
	sql_exec(shop.app, "CREATE TABLE planned (id int PRIMARY KEY)");
	submit();
	job_wait("p.1_ddl", "succeeded");
	assert_string_equal(fillfactor(), "{fillfactor=90}");
	undone = job_id("p.1_ddl");
	sql_exec(shop.app, "SELECT backfill.plan_down('p')");
	/* It begins anew when all is taken back. */
	submit();
	job_wait("p.1_ddl", "succeeded");
	assert_string_equal(fillfactor(), "{fillfactor=90}");
	assert_string_equal(sql_text(shop.db,
				    "SELECT string_agg(regexp_replace(name,"
				    " '(undone |undo)%lld', '\\1N') || ' '"
				    " || state, ', ' ORDER BY started_at)"
				    " FROM backfill.jobs WHERE plan = 'p'",
				    (long long)undone),
		"p.1_ddl (undone N) succeeded, p.1_ddl.undoN succeeded,"
		" p.1_ddl succeeded");

	sql_exec(shop.app, "SELECT backfill.plan_down('p')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state = 'succeeded') FROM backfill.jobs"
		" WHERE plan = 'p'");
	assert_string_equal(fillfactor(), "(null)");
}

static void take_back(const char *plan)
{
	sql_exec(shop.app, "SELECT backfill.plan_down('%s')", plan);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state IN ('succeeded', 'failed'))"
		" FROM backfill.jobs WHERE plan = '%s'",
		plan);
}

/* What was so before the plan stays so. */
static void test_not_null_before(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE before (id int PRIMARY KEY, n int NOT NULL);"
		"INSERT INTO before VALUES (1, 1);"
		"SELECT backfill.plan_set_not_null('before', 'n',"
		" prefix => 'before')");
	job_wait("before.3_not_null", "succeeded");
	take_back("before");
	assert_true(sql_true(shop.db,
		"SELECT attnotnull FROM pg_attribute WHERE attname = 'n'"
		" AND attrelid = 'public.before'::regclass"));
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM pg_constraint WHERE"
				 " conrelid = 'public.before'::regclass AND"
				 " contype = 'c'"),
		0);
}

/* A column of the same name, with the values of somebody else. */
static void test_column_made_anew(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE anew (id int PRIMARY KEY);"
		"INSERT INTO anew VALUES (1);"
		"SELECT backfill.plan_add_column('anew', 'c', 'int',"
		" prefix => 'anew')");
	job_wait("anew.1_add", "succeeded");
	sql_exec(shop.app,
		"ALTER TABLE anew DROP c; ALTER TABLE anew ADD c int;"
		"UPDATE anew SET c = 7");
	take_back("anew");
	assert_true(sql_true(shop.db,
		"SELECT concat_ws('|', error_sqlstate, error_message,"
		" error_detail, error_hint) = 'BF036|column \"c\" of table"
		" public.anew is not the one that job ' || undoes || ' "
		"added|It,"
		" or the table, was made anew since.|Drop it by hand if it is"
		" not needed; then retry the job.' FROM backfill.jobs"
		" WHERE plan = 'anew' AND undoes IS NOT NULL"));
	assert_int_equal(sql_int(shop.app, "SELECT c FROM anew"), 7);
	sql_exec(shop.app,
		"ALTER TABLE anew DROP c; SELECT backfill.retry(id)"
		" FROM backfill.jobs WHERE plan = 'anew' AND undoes IS NOT "
		"NULL");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state = 'succeeded') FROM backfill.jobs"
		" WHERE plan = 'anew'");
	/* Its own one goes. */
	sql_exec(shop.app,
		"SELECT backfill.plan_add_column('anew', 'd', 'int',"
		" prefix => 'own')");
	job_wait("own.1_add", "succeeded");
	take_back("own");
	assert_false(sql_true(shop.db,
		"SELECT EXISTS (SELECT FROM pg_attribute WHERE attname = 'd'"
		" AND attrelid = 'public.anew'::regclass)"));
}

/* Rows that somebody else has moved into the archive. */
static void test_archive_with_rows(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE full_one (id int PRIMARY KEY);"
		"INSERT INTO full_one VALUES (1);"
		"SELECT backfill.plan_delete('full_one', 'id < 0', 'kept',"
		" 'kept'); SELECT backfill.pause('kept.2_delete')");
	job_wait("kept.1_archive", "succeeded");
	sql_exec(shop.app, "INSERT INTO kept VALUES (7)");
	sql_exec(shop.app, "SELECT backfill.plan_down('kept')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'failed' FROM backfill.jobs"
		" WHERE plan = 'kept' AND undoes IS NOT NULL");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws('|', error_sqlstate, error_message,"
			" error_detail, error_hint) FROM backfill.jobs"
			" WHERE plan = 'kept' AND undoes IS NOT NULL"),
		"55000|archive table public.kept has rows|They would be gone"
		" with it.|Move them, then retry the job.");
	assert_int_equal(sql_int(shop.app, "SELECT id FROM kept"), 7);
	sql_exec(shop.app,
		"DELETE FROM kept; SELECT backfill.retry(id)"
		" FROM backfill.jobs WHERE plan = 'kept'"
		" AND undoes IS NOT NULL");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT to_regclass('public.kept') IS NULL");
}

/* What its failed build left is gone: an index of the name is not its own. */
static void test_index_made_by_hand(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE hand (id int PRIMARY KEY, n int);"
		"INSERT INTO hand VALUES (1, 0);"
		"SELECT backfill.plan_create_index('hand', 'hand_idx',"
		" '((1 / n))', 'hand')");
	job_wait("hand.1_index", "failed");
	assert_true(sql_true(
		shop.db, "SELECT to_regclass('public.hand_idx') IS NULL"));
	sql_exec(shop.app, "CREATE INDEX hand_idx ON hand (n)");
	sql_exec(shop.app, "SELECT backfill.plan_down('hand')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'succeeded' FROM backfill.jobs"
		" WHERE plan = 'hand' AND undoes IS NOT NULL");
	assert_true(sql_true(
		shop.db, "SELECT to_regclass('public.hand_idx') IS NOT NULL"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_not_null_before),
		cmocka_unit_test(test_column_made_anew),
		cmocka_unit_test(test_archive_with_rows),
		cmocka_unit_test(test_index_made_by_hand),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
