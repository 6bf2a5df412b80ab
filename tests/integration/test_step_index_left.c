/* test_step_index_left.c: create_index over what failed builds leave: found
 * by what they are, mended, and never taken from who still builds. */
#include "index_drive.h"

static const char MENDED[] = "DROP INDEX CONCURRENTLY i\n"
			     "CREATE INDEX CONCURRENTLY i\n";

static int builder_pid(void)
{
	return PQbackendPID(builder);
}

/* The builder's session ends before its build does. */
static void kill_builder(void)
{
	sql_exec(db, "SELECT pg_terminate_backend(%d)", builder_pid());
	sql_wait(db, WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid ="
		" %d)",
		builder_pid());
	sql_async_fails(builder, NULL);
	PQfinish(builder);
	builder = drive_connect("app");
}

static const char *index_oid(void)
{
	return sql_text(db, "SELECT 'i'::regclass::oid");
}

static void may_be_built(const char *lock)
{
	char message[256];

	(void)snprintf(message, sizeof message,
		"index \"public.i\" may be being built: pid %d holds %s on"
		" table \"public.t\"",
		builder_pid(), lock);
	EXAMINE_FAILS("55P03", message, "", "");
}

/* A test that failed has left what the next one would wait for. */
static int left_clean(void **state)
{
	sql_exec(db, "ALTER SYSTEM RESET synchronous_standby_names");
	sql_exec(db, "SELECT pg_reload_conf()");
	if (sql_true(db, "SELECT EXISTS (SELECT FROM pg_prepared_xacts)")) {
		sql_exec(db, "ROLLBACK PREPARED 'p'");
	}
	return drive_clean(state);
}

#define LEFT_TEST(f) cmocka_unit_test_setup_teardown(f, drive_setup, left_clean)

/* ---- what is left */

static void test_if_not_exists_lies(void **state)
{
	(void)state;
	fail_build("CREATE INDEX CONCURRENTLY i ON t (n)");
	assert_false(is_valid("i"));
	sql_exec(app, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (n)");
	assert_false(is_valid("i"));

	submit("create_index", "i", "(n)");
	assert_string_equal(examine(), "alone");
	assert_string_equal(statement(), "DROP INDEX CONCURRENTLY public.i");
	assert_string_equal(of_step("lock_mode"), "ShareUpdateExclusiveLock");
	assert_string_equal(of_step("lock_tables"),
		sql_text(db, "SELECT format('[\"%%s\"]', 't'::regclass::oid)"));
	assert_string_equal(of_step("is_long"), "true");
	assert_string_equal(drive(), MENDED);
	assert_true(is_valid("i"));
}

/* Without a lock_timeout of the build's own: the daemon's attempt fails. */
static void test_own_attempt_fails(void **state)
{
	struct sql_failure failure;

	(void)state;
	submit("create_index", "i", "(n)");
	assert_string_equal(examine(), "alone");
	begin_step();
	hold_snapshot();
	sql_exec(app, "SET lock_timeout = '50ms'");
	sql_fails(app, &failure, "%s", statement());
	assert_string_equal(failure.sqlstate, "55P03");
	sql_exec(app, "RESET lock_timeout");
	let_snapshot_go();
	assert_int_equal(invalid_indexes(), 1);
	assert_string_equal(drive(), MENDED);
	assert_true(is_valid("i"));
	assert_int_equal(invalid_indexes(), 0);
}

static void test_unique_build_over_duplicates(void **state)
{
	struct sql_failure failure;

	(void)state;
	sql_exec(app, "INSERT INTO t VALUES (101, 7, 'x')");
	sql_fails(builder, &failure,
		"CREATE UNIQUE INDEX CONCURRENTLY i ON t (n)");
	assert_string_equal(failure.sqlstate, "23505");
	assert_int_equal(invalid_indexes(), 1);
	submit("create_index", "i", "UNIQUE (n)");
	assert_string_equal(drive(),
		"DROP INDEX CONCURRENTLY i\nlook for duplicates for i\n");
	assert_int_equal(invalid_indexes(), 0);
}

static void test_half_dropped(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	fail_build("DROP INDEX CONCURRENTLY i");
	submit("create_index", "i", "(n)");
	assert_string_equal(drive(), MENDED);
	assert_true(is_valid("i"));
}

/* Nobody's build: the session is gone. The same table by another name. */
static void test_killed_builder(void **state)
{
	char oid[16];

	(void)state;
	submit("create_index", "i", "(n)");
	build_and_wait("CREATE INDEX CONCURRENTLY i ON t (n)");
	(void)snprintf(oid, sizeof oid, "%s", index_oid());
	kill_builder();
	let_snapshot_go();
	assert_false(is_valid("i"));
	sql_exec(app, "ALTER TABLE t RENAME TO u; CREATE TABLE t (n integer)");
	assert_string_equal(examine(), "alone");
	assert_string_equal(statement(), "DROP INDEX CONCURRENTLY public.i");
	assert_string_equal(drive(), MENDED);
	assert_true(is_valid("i"));
	assert_string_not_equal(index_oid(), oid);
	assert_string_equal(sql_text(db,
				    "SELECT indrelid::regclass FROM pg_index"
				    " WHERE indexrelid = 'i'::regclass"),
		"u");
	sql_exec(app, "DROP TABLE u");
}

/* What was renamed is not the job's to drop: it is told. */
static void test_renamed(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	fail_build("CREATE INDEX CONCURRENTLY i ON t (n)");
	sql_exec(app, "ALTER INDEX i RENAME TO k");
	assert_string_equal(examine(), "alone");
	assert_string_equal(of_step("warnings"),
		"index \"public.k\" has the same definition, and is invalid");
	assert_string_equal(drive(), "CREATE INDEX CONCURRENTLY i\n");
	assert_true(is_valid("i"));
	assert_false(is_valid("k"));
	/* An index of another definition took the place of ours. */
	sql_exec(app, "DROP INDEX i; ALTER INDEX k RENAME TO i");
	submit("create_index", "i", "(b)");
	EXAMINE_FAILS("BF034",
		"index \"public.i\" exists and is defined differently",
		"It is invalid, and: USING btree (n). Asked for: USING btree"
		" (b).",
		"If nobody builds it: DROP INDEX CONCURRENTLY public.i;");
}

/* ---- who still builds */

static void test_built_by_another(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	build_and_wait("CREATE INDEX CONCURRENTLY i ON t (n)");
	assert_false(is_valid("i"));
	may_be_built("ShareUpdateExclusiveLock");
	add_note("'{\"attempts\": 1}'");
	sql_fails(app, NULL, EXAMINE_SQL, "create_index", job.notes, "true",
		job.id);
	let_snapshot_go();
	sql_async_wait(builder);
	assert_true(is_valid("i"));
	assert_string_equal(examine(), "nothing");
}

static void test_dropped_by_another(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	sql_exec(app, "CREATE INDEX i ON t (n)");
	hold_snapshot();
	sql_exec(reader, "SELECT count(*) FROM t");
	sql_async(builder, "DROP INDEX CONCURRENTLY i");
	sql_wait(db, WAIT_SECONDS,
		"SELECT NOT indisvalid FROM pg_index"
		" WHERE indexrelid = 'i'::regclass");
	may_be_built("ShareUpdateExclusiveLock");
	let_snapshot_go();
	sql_async_wait(builder);
	assert_string_equal(drive(), "CREATE INDEX CONCURRENTLY i\n");
}

/* REINDEX makes the invalid index valid: dropping it would wait for that,
 * and then drop what is good. CREATE INDEX, which takes the same lock, is
 * of no account for an index that is left, but a drop would wait for it. */
static void test_mended_by_another(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	fail_build("CREATE INDEX CONCURRENTLY i ON t (n)");
	sql_exec(builder, "BEGIN; CREATE INDEX k ON t (b)");
	may_be_built("ShareLock");
	sql_exec(builder, "ROLLBACK; BEGIN; REINDEX INDEX i");
	assert_false(is_valid("i"));
	may_be_built("ShareLock");
	sql_exec(builder, "COMMIT");
	assert_true(is_valid("i"));
	assert_string_equal(examine(), "nothing");
}

/* Nor does an index that is not committed yet look like one that is left. */
static void test_created_by_another(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	sql_exec(builder, "BEGIN; CREATE INDEX i ON t (n)");
	assert_string_equal(examine(), "alone");
	assert_string_equal(of_step("told"), "CREATE INDEX CONCURRENTLY i");
	sql_exec(builder, "COMMIT");
	assert_string_equal(examine(), "nothing");
}

static void test_prepared_transaction(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	fail_build("CREATE INDEX CONCURRENTLY i ON t (n)");
	sql_exec(builder,
		"BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE;"
		"PREPARE TRANSACTION 'p'");
	EXAMINE_FAILS("55P03",
		"index \"public.i\" may be being built: a prepared transaction"
		" holds ShareUpdateExclusiveLock on table \"public.t\"",
		"", "");
	sql_exec(builder, "COMMIT PREPARED 'p'");
	assert_string_equal(drive(), MENDED);
}

/* The builder has released its lock on the table and commits, which takes as
 * long as a synchronous standby does: all that time the index looks invalid,
 * and nobody seems to build it. */
static void test_last_commit(void **state)
{
	char message[128];

	(void)state;
	submit("create_index", "i", "(n)");
	build_and_wait("CREATE INDEX CONCURRENTLY i ON t (n)");
	sql_exec(db, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	sql_exec(db, "SELECT pg_reload_conf()");
	sql_exec(db, "SET synchronous_commit = local");
	sql_exec(app, "SET synchronous_commit = local");
	sql_wait(db, WAIT_SECONDS,
		"SELECT current_setting('synchronous_standby_names') ="
		" 'nobody'");
	cluster_await_sync(cluster);
	let_snapshot_go();
	sql_wait(db, WAIT_SECONDS,
		"SELECT wait_event = 'SyncRep' FROM pg_stat_activity"
		" WHERE pid = %d",
		builder_pid());
	assert_false(is_valid("i"));
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM pg_locks"
				 " WHERE relation = 't'::regclass"),
		0);
	(void)snprintf(message, sizeof message,
		"index \"public.i\" is being committed by pid %d",
		builder_pid());
	EXAMINE_FAILS("55P03", message, "", "");
	sql_exec(db, "ALTER SYSTEM RESET synchronous_standby_names");
	sql_exec(db, "SELECT pg_reload_conf()");
	sql_async_wait(builder);
	sql_exec(db, "RESET synchronous_commit");
	assert_true(is_valid("i"));
	assert_string_equal(examine(), "nothing");
}

/* ---- leaving */

static void test_leave(void **state)
{
	(void)state;
	fail_build("CREATE INDEX CONCURRENTLY i ON t (n)");
	submit("create_index", "i", "(n)");
	/* Another's, as long as the job has not begun to mend it. */
	assert_string_equal(leave(), "");
	add_note("'{\"attempts\": 1}'");
	assert_string_equal(leave(), "DROP INDEX CONCURRENTLY i\n");
	assert_int_equal(invalid_indexes(), 0);
	assert_string_equal(leave(), "");
	sql_exec(app, "CREATE INDEX i ON t (n)");
	assert_string_equal(leave(), "");
	assert_true(is_valid("i"));
	/* Nothing to leave, and nothing to ask either. */
	sql_exec(app, "ALTER TABLE t DROP COLUMN n");
	assert_string_equal(leave(), "");
	sql_exec(app, "DROP TABLE t");
	assert_string_equal(leave(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LEFT_TEST(test_if_not_exists_lies),
		LEFT_TEST(test_own_attempt_fails),
		LEFT_TEST(test_unique_build_over_duplicates),
		LEFT_TEST(test_half_dropped),
		LEFT_TEST(test_killed_builder),
		LEFT_TEST(test_renamed),
		LEFT_TEST(test_built_by_another),
		LEFT_TEST(test_dropped_by_another),
		LEFT_TEST(test_mended_by_another),
		LEFT_TEST(test_created_by_another),
		LEFT_TEST(test_prepared_transaction),
		LEFT_TEST(test_last_commit),
		LEFT_TEST(test_leave),
	};

	return cmocka_run_group_tests(tests, drive_start, drive_stop);
}
