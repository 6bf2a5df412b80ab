/* test_ctl_uninstall.c: backfillctl uninstall. */
#include "ctl_shop.h"

static const char *add_running_job(void)
{
	sql_exec(shop,
		"GRANT backfill_submit TO app;"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" run_as) VALUES ('one', 'users', 'id = id', 'app');"
		"UPDATE backfill.jobs SET state = 'running'");
	return sql_text(shop, "SELECT id FROM backfill.jobs");
}

static void test_uninstall_leaves_nothing(void **state)
{
	char *before = dump();

	(void)state;
	assert_int_equal(CTL("install"), 0);
	assert_int_equal(CTL("uninstall"), 0);
	assert_output("backfill is removed from database \"shop\"\n");
	assert_dump_is(before);
	assert_int_equal(CTL("uninstall"), 1);
	free(before);
}

/* Since 16 it may be one in name, of what it made. */
static void assert_dba_is_no_member(void)
{
	assert_false(sql_true(shop,
		"SELECT pg_has_role('dba', 'backfill_owner', '%s')",
		PQserverVersion(shop) >= 160000 ? "SET" : "MEMBER"));
}

static void test_owner_of_the_database_may_do_both(void **state)
{
	char *before;

	(void)state;
	own_by_dba();
	before = dump();
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	assert_installed();
	assert_dba_is_no_member();
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	assert_has("-- backfill is up to date in");
	assert_dba_is_no_member();
	assert_int_equal(CTL("-U", "dba", "uninstall"), 0);
	assert_dump_is(before);
	free(before);
}

static void test_uninstall_spares_running_jobs(void **state)
{
	char wanted[256];
	char *before;

	(void)state;
	assert_int_equal(CTL("install"), 0);
	(void)snprintf(wanted, sizeof wanted,
		"backfillctl: error: 1 job is running in database \"shop\"\n"
		"DETAIL:  #%s one\n"
		"HINT:  Pause or cancel them, or uninstall with --force: what"
		" was changed stays changed.\n",
		add_running_job());
	before = dump();
	assert_int_equal(CTL("uninstall"), 3);
	assert_output(wanted);
	assert_dump_is(before);
	assert_int_equal(CTL("uninstall", "--force"), 0);
	assert_false(sql_true(shop,
		"SELECT EXISTS (SELECT FROM pg_namespace"
		" WHERE nspname = 'backfill')"));
	free(before);
}

static void test_uninstall_names_a_dependent_view(void **state)
{
	char *before;

	(void)state;
	assert_int_equal(CTL("install"), 0);
	sql_exec(shop, "CREATE VIEW mine AS SELECT * FROM backfill.progress");
	before = dump();
	assert_int_equal(CTL("uninstall"), 3);
	assert_output("backfillctl: error: 2BP01: cannot drop view"
		      " backfill.progress because other objects depend on it\n"
		      "DETAIL:  view public.mine depends on view"
		      " backfill.progress\n"
		      "HINT:  Drop what depends on the schema first.\n");
	assert_dump_is(before);
	free(before);
}

static void test_roles_of_another_database_stay(void **state)
{
	(void)state;
	own_by_dba();
	sql_exec(server, "CREATE DATABASE other OWNER dba");
	assert_int_equal(CTL("-U", "dba", "install"), 0);
	assert_int_equal(
		program_run(cluster, output, sizeof output, "backfillctl", "-d",
			"other", "-U", "dba", "install", NULL),
		0);
	assert_int_equal(CTL("-U", "dba", "uninstall"), 0);
	assert_output("backfill is removed from database \"shop\"\n"
		      "roles that are still used elsewhere stay:"
		      " backfill_admin, backfill_daemon, backfill_owner,"
		      " backfill_submit\n");
	assert_dba_is_no_member();
	assert_int_equal(
		program_run(cluster, output, sizeof output, "backfillctl", "-d",
			"other", "-U", "dba", "uninstall", NULL),
		0);
	assert_output("backfill is removed from database \"other\"\n");
	assert_int_equal(sql_int(server,
				 "SELECT count(*) FROM pg_roles"
				 " WHERE rolname ~ '^backfill'"),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_uninstall_leaves_nothing),
		TEST(test_owner_of_the_database_may_do_both),
		TEST(test_uninstall_spares_running_jobs),
		TEST(test_uninstall_names_a_dependent_view),
		TEST(test_roles_of_another_database_stay),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
