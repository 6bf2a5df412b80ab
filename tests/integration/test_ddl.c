/* test_ddl.c: jobs of kind ddl: their statements are carried out together or
 * not at all, as the submitter meant them, and nobody waits for them for
 * longer than lock_timeout. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static PGconn *other; /* app too */

static int start(void **state)
{
	(void)shop_start_patient(state);
	other = cluster_connect(shop.cluster, "shop", "app");
	sql_exec(other, "SET application_name = 'the holder'");
	return 0;
}

static int stop(void **state)
{
	PQfinish(other);
	return shop_stop(state);
}

static int let_go(void **state)
{
	(void)state;
	PQreset(other);
	sql_exec(other, "SET application_name = 'the holder'");
	return 0;
}

static void submit(const char *name, const char *definition, const char *more)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, definition%s)"
		" SELECT '%s', 'ddl', '%s', $sql$%s$sql$%s",
		more[0] != '\0' ? ", lock_timeout, statement_timeout" : "",
		name, name, definition, more);
}

static void make_table(const char *name)
{
	sql_exec(shop.app, "CREATE TABLE %s (id bigint PRIMARY KEY, n integer)",
		name);
}

static int has_column(const char *table, const char *column)
{
	return sql_true(shop.db,
		"SELECT EXISTS (SELECT FROM pg_attribute"
		" WHERE attrelid = '%s'::regclass AND attname = '%s')",
		table, column);
}

static void wait_reason(const char *name, const char *part)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT position('%s' IN reason) > 0 FROM backfill.jobs"
		" WHERE name = '%s'",
		part, name);
}

/* ---- together */

static void test_statements_commit_together(void **state)
{
	(void)state;
	make_table("together");
	submit("together",
		"ALTER TABLE together ADD COLUMN a text DEFAULT 'x;y';\n"
		"-- a comment; of no account\n"
		"ALTER TABLE together ADD COLUMN b integer;",
		"");
	job_wait("together", "succeeded");
	assert_true(has_column("together", "a"));
	assert_true(has_column("together", "b"));
	assert_string_equal(
		job_events("together"), "submitted,started,step,succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(e.detail, '|' ORDER BY e.id)"
			" FROM backfill.events e JOIN backfill.jobs j"
			" ON j.id = e.job_id WHERE j.name = 'together'"
			" AND e.event IN ('step', 'succeeded')"),
		"ALTER TABLE together ADD COLUMN a text DEFAULT 'x;y' (and 1"
		" more)|the schema was changed");
	assert_int_equal(sql_int(shop.db,
				 "SELECT xmin::text::bigint FROM pg_attribute"
				 " WHERE attrelid = 'together'::regclass"
				 " AND attname = 'a'"),
		sql_int(shop.db,
			"SELECT xmin::text::bigint FROM pg_attribute"
			" WHERE attrelid = 'together'::regclass"
			" AND attname = 'b'"));
}

static void test_error_undoes_all(void **state)
{
	(void)state;
	make_table("undone");
	submit("undone",
		"ALTER TABLE undone ADD COLUMN a text;"
		" ALTER TABLE undone ADD COLUMN n text",
		"");
	job_fails("undone", "42701",
		"column \"n\" of relation \"undone\" already exists", NULL,
		NULL);
	assert_false(has_column("undone", "a"));
	sql_exec(shop.app,
		"ALTER TABLE undone DROP COLUMN n;"
		"SELECT backfill.retry('undone')");
	job_wait("undone", "succeeded");
	assert_true(has_column("undone", "a"));
}

static void test_means_what_it_meant(void **state)
{
	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA mine AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TABLE mine.meant (id bigint PRIMARY KEY);"
		"CREATE TABLE public.meant (id bigint PRIMARY KEY);"
		"SET search_path = mine, public");
	submit("meant", "ALTER TABLE meant ADD COLUMN a text", "");
	sql_exec(shop.app, "RESET search_path");
	job_wait("meant", "succeeded");
	assert_true(has_column("mine.meant", "a"));
	assert_false(has_column("public.meant", "a"));
}

/* What cannot be part of a transaction says so itself. */
static void test_no_transaction_of_its_own(void **state)
{
	(void)state;
	make_table("own");
	submit("own", "COMMIT", "");
	job_fails("own", "0A000",
		"EXECUTE of transaction commands is not implemented", NULL,
		NULL);
	make_table("own2");
	submit("own2", "CREATE INDEX CONCURRENTLY ON own2 (n)", "");
	job_fails("own2", "25001",
		"CREATE INDEX CONCURRENTLY cannot run inside a transaction"
		" block",
		NULL, NULL);
}

/* A table that an earlier job of the plan makes is none as yet. */
static void test_target_that_is_made_later(void **state)
{
	(void)state;
	submit("later", "CREATE TABLE later (id bigint PRIMARY KEY)", "");
	job_wait("later", "succeeded");
	assert_true(has_column("later", "id"));
}

/* ---- nobody waits */

/* Who holds the table for long is not queued behind at all: a reader that
 * came meanwhile would wait behind us. */
static void test_guard_does_not_queue(void **state)
{
	(void)state;
	make_table("guarded");
	sql_exec(other, "BEGIN; SELECT FROM guarded; SELECT pg_sleep(0.6)");
	submit("guarded", "ALTER TABLE guarded ADD COLUMN a text", "");
	wait_reason("guarded", "waits for a lock: pid ");
	assert_true(sql_true(shop.db,
		"SELECT reason ~ ('^waits for a lock: pid %d \\(app, the"
		" holder, idle in transaction, transaction open for [0-9]+"
		" s\\) holds AccessShareLock on public.guarded$') AND"
		" waits_for = 'locks' FROM backfill.progress"
		" WHERE name = 'guarded'",
		PQbackendPID(other)));
	/* As long as it is so, nothing of ours ever waits there. */
	for (int i = 0; i < 100; i++) {
		assert_false(sql_true(shop.db,
			"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted"
			" AND relation = 'guarded'::regclass)"
			" FROM pg_sleep(0.005)"));
	}
	assert_false(has_column("guarded", "a"));
	sql_exec(other, "COMMIT");
	job_wait("guarded", "succeeded");
}

/* A prepared transaction is named by its gid. */
static void test_guard_names_a_prepared_transaction(void **state)
{
	(void)state;
	make_table("prepared");
	sql_exec(other,
		"BEGIN; INSERT INTO prepared VALUES (1);"
		"PREPARE TRANSACTION 'the gid'");
	submit("prepared", "ALTER TABLE prepared ADD COLUMN a text", "");
	wait_reason("prepared",
		"waits for a lock: prepared transaction \"the gid\" (app,"
		" prepared ");
	sql_exec(other, "COMMIT PREPARED 'the gid'");
	job_wait("prepared", "succeeded");
}

/* All the statements together wait no longer than one may: the first has its
 * lock when the second begins to wait. */
static void test_one_lock_budget(void **state)
{
	(void)state;
	make_table("budget");
	make_table("budget_too");
	/* What is left, kept by a sequence: it is not undone with the rest. */
	sql_exec(shop.app, "CREATE SEQUENCE left_ms");
	sql_exec(other, "BEGIN; SELECT FROM budget_too");
	submit("budget",
		"ALTER TABLE budget ADD COLUMN a text;"
		" SELECT pg_sleep(1); SELECT setval('left_ms', (1000 * extract("
		"epoch FROM current_setting('lock_timeout')::interval))::int);"
		" ALTER TABLE budget_too ADD COLUMN a text",
		", '2s', NULL");
	/* Not before all of it was tried: the guard looks at the target. Who
	 * has the other is told if the daemon saw it while it waited. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '^(55P03: canceling statement due to lock"
		" timeout|held up by pid %d .*) -> again in ' FROM"
		" backfill.jobs WHERE name = 'budget'",
		PQbackendPID(other));
	assert_in_range(
		sql_int(shop.db, "SELECT last_value FROM left_ms"), 2, 1000);
	assert_false(has_column("budget", "a"));
	sql_exec(other, "COMMIT");
	job_wait("budget", "succeeded");
	assert_true(has_column("budget", "a"));
	make_table("budget_slow");
	submit("budget_slow",
		"SELECT pg_sleep(0.5); ALTER TABLE budget_slow ADD a text",
		", '400ms', NULL");
	wait_reason("budget_slow",
		"55P03: the statements together took longer than lock_timeout"
		" (400 ms) -> again in ");
	sql_exec(shop.app, "SELECT backfill.cancel('budget_slow')");
	job_wait("budget_slow", "cancelled");
}

static void test_statement_timeout_says_so(void **state)
{
	(void)state;
	make_table("timeout");
	submit("timeout", "SELECT pg_sleep(30)", ", NULL, '200ms'");
	job_fails("timeout", "57014",
		"canceling statement due to statement timeout",
		"It was at: SELECT pg_sleep(30).",
		"Raise the job's statement_timeout, then backfill.retry(job)"
		" goes on.");
}

/* An application that waits for us gets its row: we are cancelled. */
static void test_unblocks_who_waits(void **state)
{
	(void)state;
	make_table("unblocked");
	gate_close(0);
	submit("unblocked",
		"ALTER TABLE unblocked ADD COLUMN a text; SELECT"
		" gate_pass(1)",
		"");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_locks"
		" WHERE relation = 'unblocked'::regclass"
		" AND mode = 'AccessExclusiveLock' AND granted)");
	assert_int_equal(sql_int(other, "SELECT count(*) FROM unblocked"), 0);
	assert_false(has_column("unblocked", "a"));
	gate_open();
	job_wait("unblocked", "succeeded");
	assert_true(has_column("unblocked", "a"));
}

/* ---- what is refused */

static void test_rewrite_of_a_large_table_is_undone(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE large (id bigint PRIMARY KEY, n integer, t text);"
		"INSERT INTO large SELECT g, g, repeat('x', 1000)"
		" FROM generate_series(1, 8000) g; ANALYZE large");
	submit("large", "ALTER TABLE large ALTER COLUMN n TYPE bigint", "");
	job_fails("large", "BF032",
		"ALTER TABLE large ALTER COLUMN n TYPE bigint rewrites table"
		" public.large",
		"Nobody could have read or written it meanwhile; the step was"
		" undone.",
		"Add a column without it, fill it by a job, then change the"
		" default: see backfill.plan_add_column().");
	/* To drop it is no rewrite, nor is to make known how large it is. */
	sql_exec(shop.app,
		"CREATE TABLE unknown (LIKE large); ALTER TABLE unknown SET"
		" (autovacuum_enabled = off); INSERT INTO unknown SELECT *"
		" FROM large");
	submit("unknown", "ANALYZE unknown", "");
	job_wait("unknown", "succeeded");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, definition)"
		" VALUES ('drop', 'ddl', 'large', 'DROP TABLE large')");
	job_wait("drop", "succeeded");
	make_table("small");
	submit("small", "ALTER TABLE small ALTER COLUMN n TYPE bigint", "");
	job_wait("small", "succeeded");
}

static void test_stranger_may_not(void **state)
{
	(void)state;
	sql_exec(shop.db, "CREATE TABLE theirs (id bigint PRIMARY KEY)");
	submit("theirs", "ALTER TABLE theirs ADD COLUMN a text", "");
	job_fails(
		"theirs", "42501", "must be owner of table theirs", NULL, NULL);
}

/* ---- control */

static void test_pause_and_resume(void **state)
{
	(void)state;
	make_table("paused");
	sql_exec(other, "BEGIN; SELECT FROM paused; SELECT pg_sleep(0.6)");
	submit("paused", "ALTER TABLE paused ADD COLUMN a text", "");
	wait_reason("paused", "waits for a lock");
	sql_exec(shop.app, "SELECT backfill.pause('paused')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE application_name = 'backfilld %lld/1')",
		(long long)job_id("paused"));
	sql_exec(other, "COMMIT");
	assert_false(has_column("paused", "a"));
	sql_exec(shop.app, "SELECT backfill.resume('paused')");
	job_wait("paused", "succeeded");
}

/* All is stopped while it waits: that is no failure of its own. */
static void test_stop_all_and_start_all(void **state)
{
	(void)state;
	make_table("halted");
	sql_exec(other, "BEGIN; SELECT FROM halted; SELECT pg_sleep(0.6)");
	submit("halted", "ALTER TABLE halted ADD COLUMN a text", "");
	wait_reason("halted", "waits for a lock");
	sql_exec(shop.db, "SELECT backfill.stop_all('enough')");
	job_wait("halted", "queued");
	sql_exec(other, "COMMIT");
	assert_false(has_column("halted", "a"));
	sql_exec(shop.db, "SELECT backfill.start_all()");
	job_wait("halted", "succeeded");
}

/* One job at a time has a table, whatever it does. */
static void test_one_job_per_table(void **state)
{
	(void)state;
	make_table("busy");
	sql_exec(other, "BEGIN; SELECT FROM busy; SELECT pg_sleep(0.6)");
	submit("busy", "ALTER TABLE busy ADD COLUMN a text", "");
	wait_reason("busy", "waits for a lock");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('busy too', 'busy', 'n = 1')");
	wait_reason("busy too", "(busy) runs on the same table");
	sql_exec(other, "COMMIT");
	job_wait("busy too", "succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statements_commit_together),
		cmocka_unit_test(test_error_undoes_all),
		cmocka_unit_test(test_means_what_it_meant),
		cmocka_unit_test(test_no_transaction_of_its_own),
		cmocka_unit_test(test_target_that_is_made_later),
		cmocka_unit_test_teardown(test_guard_does_not_queue, let_go),
		cmocka_unit_test_teardown(
			test_guard_names_a_prepared_transaction, let_go),
		cmocka_unit_test_teardown(test_one_lock_budget, let_go),
		cmocka_unit_test(test_statement_timeout_says_so),
		cmocka_unit_test_teardown(test_unblocks_who_waits, let_go),
		cmocka_unit_test(test_rewrite_of_a_large_table_is_undone),
		cmocka_unit_test(test_stranger_may_not),
		cmocka_unit_test_teardown(test_pause_and_resume, let_go),
		cmocka_unit_test_teardown(test_stop_all_and_start_all, let_go),
		cmocka_unit_test_teardown(test_one_job_per_table, let_go),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
