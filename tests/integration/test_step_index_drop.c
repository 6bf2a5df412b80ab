/* test_step_index_drop.c: drop_index: what requires the index, what people
 * should know before, and a drop that was interrupted. */
#include "index_drive.h"

static void test_drop(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	submit("drop_index", "i", NULL);
	assert_string_equal(examine(), "alone");
	assert_string_equal(statement(), "DROP INDEX CONCURRENTLY public.i");
	assert_string_equal(of_step("lock_mode"), "ShareUpdateExclusiveLock");
	assert_string_equal(of_step("lock_tables"),
		sql_text(db, "SELECT format('[\"%%s\"]', 't'::regclass::oid)"));
	assert_string_equal(of_step("is_long"), "true");
	assert_string_equal(of_step("is_last"), "false");
	assert_string_equal(of_step("warnings"), "(null)");
	assert_string_equal(drive(), "DROP INDEX CONCURRENTLY i\n");
	assert_string_equal(examine(), "nothing");
	assert_string_equal(job.notes, "{\"changed\": true, \"attempts\": 1}");
}

static void test_nothing_to_drop(void **state)
{
	(void)state;
	submit("drop_index", "nowhere", NULL);
	assert_string_equal(examine(), "nothing");
	submit("drop_index", "other", NULL);
	EXAMINE_FAILS("BF034",
		"relation \"public.other\" exists and is not an index of table"
		" \"public.t\"",
		"It is a table.", "Name another index in object_name.");
	sql_exec(app, "CREATE INDEX of_other ON other (n)");
	submit("drop_index", "of_other", NULL);
	EXAMINE_FAILS("BF034",
		"relation \"public.of_other\" exists and is not an index of"
		" table \"public.t\"",
		"It is an index of table \"public.other\".",
		"Name another index in object_name.");
}

static void test_constraints(void **state)
{
	(void)state;
	submit("drop_index", "t_pkey", NULL);
	EXAMINE_FAILS("2BP01",
		"cannot drop index \"public.t_pkey\" because constraint"
		" \"t_pkey\" on table \"public.t\" requires it",
		"",
		"Submit a job of kind \"ddl\": ALTER TABLE public.t DROP"
		" CONSTRAINT t_pkey;");
	sql_exec(app, "ALTER TABLE t ADD CONSTRAINT \"One n\" UNIQUE (n)");
	submit("drop_index", "One n", NULL);
	EXAMINE_FAILS("2BP01",
		"cannot drop index \"public.\"One n\"\" because constraint"
		" \"One n\" on table \"public.t\" requires it",
		"",
		"Submit a job of kind \"ddl\": ALTER TABLE public.t DROP"
		" CONSTRAINT \"One n\";");
	sql_exec(app,
		"ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING gist"
		" (n WITH =)");
	submit("drop_index", "x", NULL);
	EXAMINE_FAILS("2BP01",
		"cannot drop index \"public.x\" because constraint \"x\" on"
		" table \"public.t\" requires it",
		"",
		"Submit a job of kind \"ddl\": ALTER TABLE public.t DROP"
		" CONSTRAINT x;");
}

static void test_foreign_key(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE UNIQUE INDEX i ON t (n);"
		"ALTER TABLE other ADD CONSTRAINT fk FOREIGN KEY (n)"
		" REFERENCES t (n)");
	submit("drop_index", "i", NULL);
	EXAMINE_FAILS("2BP01",
		"cannot drop index \"public.i\" because constraint \"fk\" on"
		" table \"public.other\" requires it",
		"",
		"Submit a job of kind \"ddl\": ALTER TABLE public.other DROP"
		" CONSTRAINT fk;");
}

static void test_replica_identity(void **state)
{
	(void)state;
	sql_exec(app,
		"ALTER TABLE t ALTER n SET NOT NULL;"
		"CREATE UNIQUE INDEX i ON t (n);"
		"ALTER TABLE t REPLICA IDENTITY USING INDEX i");
	submit("drop_index", "i", NULL);
	EXAMINE_FAILS("2BP01",
		"cannot drop index \"public.i\" because it is the replica"
		" identity of table \"public.t\"",
		"Without it subscribers are sent no key of rows that are"
		" updated or deleted.",
		"Submit a job of kind \"ddl\": ALTER TABLE public.t REPLICA"
		" IDENTITY DEFAULT;");
	sql_exec(app, "ALTER TABLE t REPLICA IDENTITY DEFAULT");
	assert_string_equal(drive(), "DROP INDEX CONCURRENTLY i\n");
}

static void test_warnings(void **state)
{
	char wanted[512];

	(void)state;
	sql_exec(app, "CREATE UNIQUE INDEX i ON t (n)");
	submit("drop_index", "i", NULL);
	assert_string_equal(examine(), "alone");
	assert_string_equal(of_step("warnings"),
		"without index \"public.i\" nothing refuses duplicates");
	sql_exec(app, "SET enable_seqscan = off");
	for (int i = 0; i < 12; i++) {
		sql_exec(app, "SELECT b FROM t WHERE n = 7");
	}
	sql_exec(app, "RESET enable_seqscan");
	if (PQserverVersion(db) >= 150000) {
		sql_exec(app, "SELECT pg_stat_force_next_flush()");
	}
	/* Before, a session tells at the end of a statement of its own, and not
	 * at once: it is the one that asks. */
	sql_wait(app, WAIT_SECONDS,
		"SELECT idx_scan = 12 FROM pg_stat_user_indexes"
		" WHERE indexrelid = 'i'::regclass");
	assert_string_equal(examine(), "alone");
	(void)snprintf(wanted, sizeof wanted, "%s",
		sql_text(db,
			"SELECT format('index \"public.i\" is in use: scans on"
			" this server since %%s: at least 10%%s; without index"
			" \"public.i\" nothing refuses duplicates',"
			" coalesce(stats_reset::text, 'its statistics began'),"
			" ', the last on ' || (to_jsonb(s)->>'last_idx_scan')"
			"::timestamptz::date)"
			" FROM pg_stat_database, pg_stat_user_indexes s"
			" WHERE datname = 't' AND indexrelid = 'i'::regclass"));
	assert_string_equal(of_step("warnings"), wanted);
}

/* lock_timeout hits a drop when the index is invalid already. */
static void test_half_dropped(void **state)
{
	struct sql_failure failure;

	(void)state;
	sql_exec(app, "CREATE UNIQUE INDEX i ON t (n)");
	submit("drop_index", "i", NULL);
	assert_string_equal(examine(), "alone");
	begin_step();
	hold_snapshot();
	sql_exec(reader, "SELECT count(*) FROM t");
	sql_exec(app, "SET lock_timeout = '50ms'");
	sql_fails(app, &failure, "%s", statement());
	assert_string_equal(failure.sqlstate, "55P03");
	sql_exec(app, "RESET lock_timeout");
	let_snapshot_go();
	assert_false(is_valid("i"));
	assert_string_equal(examine(), "alone");
	assert_string_equal(of_step("warnings"), "(null)");
	/* Who leaves finishes it, too: it cannot be undone. */
	assert_string_equal(leave(), "DROP INDEX CONCURRENTLY i\n");
	assert_string_equal(examine(), "nothing");
}

static void test_leave(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i ON t (n)");
	submit("drop_index", "i", NULL);
	assert_string_equal(leave(), "");
	add_note("'{\"attempts\": 1}'");
	assert_string_equal(leave(), "");
	assert_true(is_valid("i"));
	sql_exec(app, "DROP TABLE t");
	assert_string_equal(leave(), "");
}

static void test_partitioned(void **state)
{
	(void)state;
	sql_exec(app,
		"DROP TABLE t; CREATE TABLE t (n integer) PARTITION BY RANGE"
		" (n); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO"
		" (10); CREATE INDEX i ON t (n)");
	submit("drop_index", "i", NULL);
	assert_string_equal(examine(), "transaction");
	assert_string_equal(statement(), "DROP INDEX public.i");
	assert_string_equal(of_step("told"), "DROP INDEX i");
	assert_string_equal(of_step("is_last"), "true");
	assert_string_equal(of_step("is_long"), "false");
	assert_string_equal(of_step("lock_mode"), "AccessExclusiveLock");
	assert_string_equal(of_step("lock_tables"),
		sql_text(db,
			"SELECT format('[\"%%s\", \"%%s\"]',"
			" 't'::regclass::oid, 't1'::regclass::oid)"));
	job.id = sql_int(app,
		"INSERT INTO backfill.jobs (kind, target, object_name)"
		" VALUES ('drop_index', 't1', 't1_n_idx') RETURNING id");
	EXAMINE_FAILS("2BP01",
		"cannot drop index \"public.t1_n_idx\" because index"
		" \"public.i\" requires it",
		"",
		"Submit a job for the index of the partitioned table"
		" \"public.t\".");
	submit("drop_index", "i", NULL);
	assert_string_equal(drive(), "DROP INDEX i\n");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM pg_class"
				 " WHERE relname IN ('i', 't1_n_idx')"),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		drive_test(test_drop),
		drive_test(test_nothing_to_drop),
		drive_test(test_constraints),
		drive_test(test_foreign_key),
		drive_test(test_replica_identity),
		drive_test(test_warnings),
		drive_test(test_half_dropped),
		drive_test(test_leave),
		drive_test(test_partitioned),
	};

	return cmocka_run_group_tests(tests, drive_start, drive_stop);
}
