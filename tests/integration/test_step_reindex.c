/* test_step_reindex.c: reindex: done when the index of the name is another
 * one, and what an attempt that failed leaves. */
#include "index_drive.h"

static void note_oid(char *oid, size_t size)
{
	(void)snprintf(
		oid, size, "%s", sql_text(db, "SELECT 'i'::regclass::oid"));
}

static void test_reindex(void **state)
{
	char oid[16];

	(void)state;
	sql_exec(app, "CREATE UNIQUE INDEX i ON t (n)");
	note_oid(oid, sizeof oid);
	submit("reindex", "i", NULL);
	assert_string_equal(examine(), "alone");
	assert_string_equal(statement(), "REINDEX INDEX CONCURRENTLY public.i");
	assert_string_equal(of_step("is_long"), "true");
	assert_string_equal(of_step("is_last"), "false");
	assert_string_equal(of_step("lock_mode"), "ShareUpdateExclusiveLock");
	assert_string_equal(of_step("lock_tables"),
		sql_text(db, "SELECT format('[\"%%s\"]', 't'::regclass::oid)"));
	assert_string_equal(of_step("notes"),
		sql_text(db, "SELECT '{\"oid\": %s}'::jsonb", oid));
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY i\n");
	assert_string_not_equal(sql_text(db, "SELECT 'i'::regclass::oid"), oid);
	assert_true(is_valid("i"));
	assert_string_equal(examine(), "nothing");
	/* Another job does it anew. */
	submit("reindex", "i", NULL);
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY i\n");
}

static void test_of_constraint(void **state)
{
	(void)state;
	submit("reindex", "t_pkey", NULL);
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY t_pkey\n");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM pg_constraint WHERE"
				 " conindid = 't_pkey'::regclass"),
		1);
}

static void test_refused(void **state)
{
	(void)state;
	submit("reindex", "nowhere", NULL);
	EXAMINE_FAILS("42704",
		"index \"nowhere\" of table \"public.t\" does not exist", "",
		"");
	submit("reindex", "other", NULL);
	EXAMINE_FAILS("BF034",
		"relation \"public.other\" exists and is not an index of table"
		" \"public.t\"",
		"It is a table.", "Name another index in object_name.");
	sql_exec(app,
		"ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING gist"
		" (n WITH =)");
	submit("reindex", "x", NULL);
	EXAMINE_FAILS("0A000", "cannot reindex index \"public.x\" concurrently",
		"It belongs to an exclusion constraint.",
		"REINDEX INDEX public.x; lets nobody write the table, nor use"
		" the index, until it is done.");
	sql_exec(app,
		"DROP TABLE t; CREATE TABLE t (n integer) PARTITION BY"
		" RANGE (n); CREATE INDEX i ON t (n)");
	submit("reindex", "i", NULL);
	EXAMINE_FAILS("0A000", "cannot reindex partitioned index \"public.i\"",
		"",
		"Submit a job for each index that SELECT relid FROM"
		" pg_partition_tree('public.i') WHERE isleaf tells.");
}

/* The index of a partition stays where it hangs. */
static void test_partition(void **state)
{
	(void)state;
	sql_exec(app,
		"ALTER TABLE t RENAME TO t_1; DROP TABLE t_1; CREATE TABLE p"
		" (n integer) PARTITION BY RANGE (n); CREATE TABLE t PARTITION"
		" OF p FOR VALUES FROM (0) TO (10); CREATE INDEX i ON p (n)");
	submit("reindex", "t_n_idx", NULL);
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY t_n_idx\n");
	assert_true(sql_true(db,
		"SELECT inhparent = 'i'::regclass FROM pg_inherits"
		" WHERE inhrelid = 't_n_idx'::regclass"));
	sql_exec(app, "DROP TABLE p");
}

/* ---- what is left */

/* The attempt fails while it waits for the reader; the runner's index may
 * have been replaced by then, or not. */
static void fail_attempt(void)
{
	struct sql_failure failure;

	assert_string_equal(examine(), "alone");
	begin_step();
	hold_snapshot();
	sql_exec(app, "SET lock_timeout = '50ms'");
	sql_fails(app, &failure, "%s", statement());
	assert_string_equal(failure.sqlstate, "55P03");
	sql_exec(app, "RESET lock_timeout");
	let_snapshot_go();
}

static void test_failed_before_the_swap(void **state)
{
	char oid[16];

	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	note_oid(oid, sizeof oid);
	submit("reindex", "i", NULL);
	fail_attempt();
	assert_false(is_valid("i_ccnew"));
	fail_build("REINDEX INDEX CONCURRENTLY i");
	assert_false(is_valid("i_ccnew1"));
	assert_string_equal(sql_text(db, "SELECT 'i'::regclass::oid"), oid);
	assert_string_equal(examine(), "alone");
	assert_string_equal(
		statement(), "DROP INDEX CONCURRENTLY public.i_ccnew");
	assert_string_equal(drive(),
		"DROP INDEX CONCURRENTLY i_ccnew\n"
		"DROP INDEX CONCURRENTLY i_ccnew1\n"
		"REINDEX INDEX CONCURRENTLY i\n");
	assert_int_equal(invalid_indexes(), 0);
	assert_true(is_valid("i"));
}

/* The new index has the name, and the old one is left: it is only dropped.
 * The server waits for who uses the table after the swap. */
static void test_failed_after_the_swap(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	submit("reindex", "i", NULL);
	assert_string_equal(examine(), "alone");
	begin_step();
	build_and_wait(statement());
	/* Who comes now does not hold the build up, but the drop. */
	PQfinish(app);
	app = drive_connect("app");
	sql_exec(app, "BEGIN; SELECT count(*) FROM t");
	let_snapshot_go();
	sql_wait(db, WAIT_SECONDS,
		"SELECT to_regclass('i_ccold') IS NOT NULL"
		" AND EXISTS (SELECT FROM pg_index WHERE"
		" indexrelid = to_regclass('i_ccold') AND"
		" NOT indisvalid)");
	sql_exec(db, "SELECT pg_terminate_backend(%d)", PQbackendPID(builder));
	sql_async_fails(builder, NULL);
	sql_exec(app, "COMMIT");
	assert_true(is_valid("i"));
	sql_wait(db, WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE pid = %d)",
		PQbackendPID(builder));
	PQfinish(builder);
	builder = drive_connect("app");
	assert_string_equal(drive(), "DROP INDEX CONCURRENTLY i_ccold\n");
	assert_int_equal(invalid_indexes(), 0);
}

/* The server cuts the name of 63 bytes for its own ending, and no character
 * in two. */
static void test_long_names(void **state)
{
	static const char name[] =
		"An Index of 56 bytes before a character of two, and so o"
		"\xC3\xA9"
		"12345";

	char wanted[512];

	(void)state;
	sql_exec(app, "CREATE INDEX \"%s\" ON t (n)", name);
	submit("reindex", name, NULL);
	fail_attempt();
	assert_int_equal(invalid_indexes(), 1);
	(void)snprintf(wanted, sizeof wanted,
		"DROP INDEX CONCURRENTLY \"%.56s_ccnew\"\n"
		"REINDEX INDEX CONCURRENTLY \"%s\"\n",
		name, name);
	assert_string_equal(drive(), wanted);
	assert_int_equal(invalid_indexes(), 0);
}

/* Invalid indexes of such names that are not ours: of another table, of
 * another index, of another definition. */
static void test_not_ours(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	fail_build("CREATE INDEX CONCURRENTLY i_ccnew ON t (b)");
	fail_build("CREATE INDEX CONCURRENTLY i1_ccnew ON t (n)");
	submit("reindex", "i", NULL);
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY i\n");
	sql_exec(app, "CREATE INDEX i12 ON t (n)");
	submit("reindex", "i12", NULL);
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY i12\n");
	assert_int_equal(invalid_indexes(), 2);
}

/* REINDEX mends an index that a failed build left. */
static void test_invalid(void **state)
{
	(void)state;
	fail_build("CREATE INDEX CONCURRENTLY i ON t (n)");
	submit("reindex", "i", NULL);
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY i\n");
	assert_true(is_valid("i"));
}

static void test_by_another(void **state)
{
	char message[256];

	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	submit("reindex", "i", NULL);
	build_and_wait("REINDEX INDEX CONCURRENTLY i");
	(void)snprintf(message, sizeof message,
		"index \"public.i_ccnew\" may be being built: pid %d holds"
		" ShareUpdateExclusiveLock on table \"public.t\"",
		PQbackendPID(builder));
	EXAMINE_FAILS("55P03", message, "", "");
	let_snapshot_go();
	sql_async_wait(builder);
	assert_string_equal(drive(), "REINDEX INDEX CONCURRENTLY i\n");
	/* One that is being built needs no rebuilding. */
	sql_exec(app, "DROP INDEX i");
	build_and_wait("CREATE INDEX CONCURRENTLY i ON t (n)");
	(void)snprintf(message, sizeof message,
		"index \"public.i\" may be being built: pid %d holds"
		" ShareUpdateExclusiveLock on table \"public.t\"",
		PQbackendPID(builder));
	submit("reindex", "i", NULL);
	EXAMINE_FAILS("55P03", message, "", "");
	let_snapshot_go();
	sql_async_wait(builder);
}

static void test_leave(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	submit("reindex", "i", NULL);
	assert_string_equal(leave(), "");
	fail_attempt();
	assert_string_equal(leave(), "DROP INDEX CONCURRENTLY i_ccnew\n");
	assert_int_equal(invalid_indexes(), 0);
	fail_build("REINDEX INDEX CONCURRENTLY i");
	sql_exec(app, "DROP INDEX i");
	assert_string_equal(leave(), "DROP INDEX CONCURRENTLY i_ccnew\n");
	sql_exec(app, "DROP TABLE t");
	assert_string_equal(leave(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		drive_test(test_reindex),
		drive_test(test_of_constraint),
		drive_test(test_refused),
		drive_test(test_partition),
		drive_test(test_failed_before_the_swap),
		drive_test(test_failed_after_the_swap),
		drive_test(test_long_names),
		drive_test(test_not_ours),
		drive_test(test_invalid),
		drive_test(test_by_another),
		drive_test(test_leave),
	};

	return cmocka_run_group_tests(tests, drive_start, drive_stop);
}
