/* test_step_constraints_valid.c: validate_constraint while others write, and
 * when it is stopped. */
#include "constraint_drive.h"

/* is_slow() waits at the gate, but only within VALIDATE: nothing else holds
 * that lock on the table. */
static int start(void **state)
{
	(void)shop_start(state);
	sql_exec(shop.app,
		"CREATE FUNCTION is_slow(id bigint) RETURNS boolean"
		" LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
		" IF EXISTS (SELECT FROM pg_catalog.pg_locks"
		" WHERE pid = pg_catalog.pg_backend_pid()"
		" AND locktype = 'relation'"
		" AND mode = 'ShareUpdateExclusiveLock') THEN"
		" RETURN public.gate_pass(id) = 0; END IF;"
		" RETURN true; END $$");
	return 0;
}

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO %s SELECT i, i FROM generate_series(1, 100) i;"
		"ALTER TABLE %s ADD CONSTRAINT c CHECK (is_slow(id))"
		" NOT VALID",
		name, name, name);
}

static void test_others_write_meanwhile(void **state)
{
	(void)state;
	make_table("busy");
	gate_close(50);
	submit("busy", "validate_constraint", "busy", "c", NULL);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_locks"
		" WHERE relation = 'busy'::regclass AND granted"
		" AND mode = 'ShareUpdateExclusiveLock')");
	sql_exec(shop.app,
		"UPDATE busy SET n = -1 WHERE id > 50;"
		"INSERT INTO busy VALUES (1000, 1);"
		"DELETE FROM busy WHERE id = 99");
	assert_string_equal(
		constraint("busy", "c"), "CHECK (is_slow(id)) NOT VALID");
	gate_open();
	job_wait("busy", "succeeded");
	assert_string_equal(constraint("busy", "c"), "CHECK (is_slow(id))");
}

static void test_timeout_says_so_and_retry_goes_on(void **state)
{
	(void)state;
	make_table("late");
	gate_close(50);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" statement_timeout) VALUES ('late', 'validate_constraint',"
		" 'late', 'c', '500ms')");
	job_fails("late", "57014",
		"canceling statement due to statement timeout",
		"It was at: VALIDATE CONSTRAINT c.",
		"Raise the job's statement_timeout, then backfill.retry(job)"
		" goes on.");
	assert_string_equal(
		constraint("late", "c"), "CHECK (is_slow(id)) NOT VALID");
	gate_open();
	retry("late");
	assert_string_equal(constraint("late", "c"), "CHECK (is_slow(id))");
}

/* Its look reads the table too, and finds what violates it. */
static void test_violators(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE bad (a integer, b integer, n integer,"
		" PRIMARY KEY (b, a)); INSERT INTO bad VALUES (1, 2, -1);"
		"ALTER TABLE bad ADD CONSTRAINT c CHECK (n > 0) NOT VALID");
	submit("bad", "validate_constraint", "bad", "c", NULL);
	job_fails("bad", "BF033",
		"check constraint \"c\" of table \"public.bad\" is violated by"
		" 1 rows",
		"Keys: (2, 1).", MEND_CHECK);
	assert_string_equal(in_the_way("bad"), "{2,1} 23514");
	assert_string_equal(steps("bad"), "");
	sql_exec(shop.app, "UPDATE bad SET n = 1");
	retry("bad");
	assert_string_equal(constraint("bad", "c"), "CHECK ((n > 0))");
}

static void test_no_such_constraint(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE plain (id bigint CONSTRAINT k PRIMARY KEY);"
		"CREATE TABLE elsewhere (id bigint CONSTRAINT c CHECK"
		" (id > 0))");
	submit("plain 1", "validate_constraint", "plain", "c", NULL);
	job_fails("plain 1", "42704",
		"constraint \"c\" of table \"public.plain\" does not exist",
		NULL, NULL);
	submit("plain 2", "validate_constraint", "plain", "k", NULL);
	job_fails("plain 2", "42809",
		"constraint \"k\" of table \"public.plain\" is not a foreign"
		" key or check constraint",
		NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_others_write_meanwhile),
		cmocka_unit_test(test_timeout_says_so_and_retry_goes_on),
		cmocka_unit_test(test_violators),
		cmocka_unit_test(test_no_such_constraint),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
