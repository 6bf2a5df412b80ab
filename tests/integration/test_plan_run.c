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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
