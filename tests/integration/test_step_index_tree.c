/* test_step_index_tree.c: create_index on a partitioned table: leaf by leaf,
 * concurrently, and nothing invalid is left of an attempt that is given up. */
#include "index_drive.h"

static void make_tree(void)
{
	sql_exec(app,
		"DROP TABLE t; CREATE TABLE t (k integer NOT NULL, n integer, b"
		" text) PARTITION BY RANGE (k);"
		"CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);"
		"CREATE SCHEMA old; CREATE TABLE old.t1 (b text, k integer NOT"
		" NULL, gone integer, n integer); ALTER TABLE old.t1 DROP gone;"
		"ALTER TABLE t ATTACH PARTITION old.t1 FOR VALUES FROM (100)"
		" TO (200);"
		"CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (200) TO (300)"
		" PARTITION BY LIST (k);"
		"CREATE TABLE \"t3 b\" PARTITION OF t3 DEFAULT;"
		"CREATE TABLE t4 PARTITION OF t FOR VALUES FROM (300) TO (400)"
		" PARTITION BY LIST (k);"
		"INSERT INTO t SELECT i, i, 'b' || i FROM"
		" generate_series(0, 299) i");
}

static int tree_clean(void **state)
{
	(void)drive_clean(state);
	sql_exec(db, "DROP SCHEMA IF EXISTS old CASCADE");
	return 0;
}

static int tree_setup(void **state)
{
	(void)drive_setup(state);
	make_tree();
	return 0;
}

#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_clean)

/* Indexes beside those of which the name ends in pkey. */
static long long indexes(void)
{
	return sql_int(db,
		"SELECT count(*) FROM pg_indexes WHERE schemaname"
		" IN ('public', 'old') AND indexname LIKE 'i%%'");
}

static const char WHOLE[] = "CREATE INDEX i ON ONLY\n"
			    "CREATE INDEX CONCURRENTLY i_t1\n"
			    "ATTACH PARTITION public.i_t1\n"
			    "CREATE INDEX CONCURRENTLY i_t1\n"
			    "ATTACH PARTITION old.i_t1\n"
			    "CREATE INDEX i_t3 ON ONLY\n"
			    "ATTACH PARTITION public.i_t3\n"
			    "CREATE INDEX i_t4 ON ONLY\n"
			    "ATTACH PARTITION public.i_t4\n"
			    "CREATE INDEX CONCURRENTLY \"i_t3 b\"\n"
			    "ATTACH PARTITION public.\"i_t3 b\"\n";

static void test_whole(void **state)
{
	(void)state;
	submit("create_index", "i", "(lower(b), n) WHERE n > 5");
	assert_string_equal(drive(), WHOLE);
	assert_true(is_valid("i"));
	assert_int_equal(invalid_indexes(), 0);
	assert_int_equal(indexes(), 6);
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(relid::text || '<' ||"
			" coalesce(parentrelid::text, ''), ' ' ORDER BY"
			" relid::text) FROM pg_partition_tree('i')"),
		"\"i_t3 b\"<i_t3 i< i_t1<i i_t3<i i_t4<i old.i_t1<i");
	assert_string_equal(examine(), "nothing");
	/* A partition that comes later has its index by the server. */
	sql_exec(app,
		"CREATE TABLE t5 PARTITION OF t FOR VALUES FROM (500) TO"
		" (600)");
	assert_string_equal(examine(), "nothing");
}

static void test_steps(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	assert_string_equal(examine(), "transaction");
	assert_string_equal(
		statement(), "CREATE INDEX i ON ONLY public.t USING btree (n)");
	assert_string_equal(of_step("lock_mode"), "ShareLock");
	assert_string_equal(of_step("lock_tables"),
		sql_text(db, "SELECT format('[\"%%s\"]', 't'::regclass::oid)"));
	assert_string_equal(of_step("is_last"), "false");
	assert_string_equal(of_step("is_long"), "false");
	assert_string_equal(of_step("notes"), "{\"tree\": true}");
	assert_true(carry_out());
	assert_string_equal(examine(), "alone");
	assert_string_equal(statement(),
		"CREATE INDEX CONCURRENTLY i_t1 ON public.t1 USING btree (n)");
	assert_string_equal(of_step("lock_mode"), "ShareUpdateExclusiveLock");
	assert_string_equal(of_step("is_long"), "true");
	assert_true(carry_out());
	assert_string_equal(examine(), "transaction");
	assert_string_equal(statement(),
		"ALTER INDEX public.i ATTACH PARTITION public.i_t1");
	assert_string_equal(of_step("lock_mode"), "AccessExclusiveLock");
	assert_string_equal(of_step("lock_tables"),
		sql_text(db,
			"SELECT format('[\"%%s\"]', 'i_t1'::regclass::oid)"));
	assert_string_equal(of_step("notes"), "(null)");
}

static void test_without_partitions(void **state)
{
	(void)state;
	sql_exec(app,
		"DROP TABLE t; CREATE TABLE t (n integer) PARTITION BY"
		" RANGE (n)");
	submit("create_index", "i", "(n)");
	assert_string_equal(drive(), "CREATE INDEX i ON ONLY\n");
	assert_true(is_valid("i"));
}

/* A leaf's own index is taken, whatever it is called; one that is not alike,
 * or hangs on another, is not. */
static void test_own_indexes(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX j ON t (n)");
	sql_exec(app,
		"CREATE INDEX mine ON t1 (n); CREATE INDEX not_alike ON"
		" \"t3 b\" (n DESC); CREATE INDEX mine_too ON old.t1 (n);"
		"CREATE INDEX i_t1 ON old.t1 (n)");
	submit("create_index", "i", "(n)");
	assert_string_equal(drive(),
		"CREATE INDEX i ON ONLY\n"
		"ATTACH PARTITION public.mine\n"
		"ATTACH PARTITION old.i_t1\n"
		"CREATE INDEX i_t3 ON ONLY\n"
		"ATTACH PARTITION public.i_t3\n"
		"CREATE INDEX i_t4 ON ONLY\n"
		"ATTACH PARTITION public.i_t4\n"
		"CREATE INDEX CONCURRENTLY \"i_t3 b\"\n"
		"ATTACH PARTITION public.\"i_t3 b\"\n");
	assert_true(is_valid("i"));
}

static void test_name_is_taken(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i_t1 ON t1 (b)");
	submit("create_index", "i", "(n)");
	assert_string_equal(examine(), "transaction");
	assert_true(carry_out());
	EXAMINE_FAILS("BF034",
		"index \"public.i_t1\" exists and is defined differently",
		"It is: USING btree (b). Asked for: USING btree (n).",
		"Name another index in object_name, or submit a job of kind"
		" \"drop_index\" first.");
	assert_string_equal(leave(), "DROP INDEX i\n");
	sql_exec(app, "DROP INDEX i_t1; CREATE TABLE i_t1 (n integer)");
	assert_string_equal(examine(), "transaction");
	assert_true(carry_out());
	EXAMINE_FAILS("BF034",
		"relation \"public.i_t1\" exists and is not an index of table"
		" \"public.t1\"",
		"It is a table.", "Name another index in object_name.");
	sql_exec(app, "DROP TABLE i_t1");
}

static void test_long_names(void **state)
{
	static const char name[] = "An index with a name of sixty-three bytes "
				   "at most, or just so.";

	(void)state;
	submit("create_index", name, "(n)");
	assert_string_equal(examine(), "transaction");
	assert_true(carry_out());
	assert_string_equal(examine(), "alone");
	assert_string_equal(of_step("told"),
		sql_text(db,
			"SELECT format('CREATE INDEX CONCURRENTLY %%I',"
			" left('%s', 54) || '_' || left(md5('%s_t1'), 8))",
			name, name));
	(void)drive();
	assert_int_equal(invalid_indexes(), 0);
}

/* ---- unique */

static void test_unique(void **state)
{
	(void)state;
	submit("create_index", "i", "UNIQUE (n)");
	EXAMINE_FAILS("0A000",
		"unique constraint on partitioned table must include all"
		" partitioning columns",
		"UNIQUE constraint on table \"t\" lacks column \"k\" which is"
		" part of the partition key.",
		"");
	submit("create_index", "i", "UNIQUE (k)");
	sql_exec(app, "INSERT INTO t VALUES (150, 1)");
	assert_string_equal(drive(), "look for duplicates for i\n");
	assert_int_equal(indexes(), 0);
	sql_exec(app, "DELETE FROM t WHERE b IS NULL");
	assert_non_null(strstr(drive(),
		"look for duplicates for i\n"
		"CREATE UNIQUE INDEX i ON ONLY\n"
		"CREATE UNIQUE INDEX CONCURRENTLY i_t1\n"));
	assert_true(is_valid("i"));
	assert_true(sql_true(db,
		"SELECT bool_and(indisunique) FROM pg_index"
		" JOIN pg_partition_tree('i') ON relid ="
		" indexrelid"));
}

/* ---- what cannot be */

static void test_foreign_table(void **state)
{
	(void)state;
	sql_exec(db,
		"CREATE EXTENSION file_fdw; CREATE SERVER s FOREIGN DATA"
		" WRAPPER file_fdw; CREATE FOREIGN TABLE f (k integer NOT NULL,"
		" n integer, b text) SERVER s OPTIONS (filename '/nowhere');"
		"ALTER TABLE t ATTACH PARTITION f FOR VALUES FROM (900) TO"
		" (1000)");
	submit("create_index", "i", "(n)");
	EXAMINE_FAILS("0A000",
		"cannot create index \"i\" on partitioned table \"public.t\""
		" step by step",
		"Partition \"public.f\" is a foreign table.",
		"Submit a job for each of the other partitions.");
	sql_exec(db, "DROP EXTENSION file_fdw CASCADE");
}

static void test_attached_and_invalid(void **state)
{
	(void)state;
	submit("create_index", "i", "(n)");
	assert_string_equal(examine(), "transaction");
	assert_true(carry_out());
	fail_build("CREATE INDEX CONCURRENTLY i_t1 ON t1 (n)");
	sql_exec(app, "ALTER INDEX i ATTACH PARTITION i_t1");
	EXAMINE_FAILS("55000",
		"index \"public.i_t1\" is invalid and attached to index"
		" \"public.i\"",
		"", "DROP INDEX public.i; drops both. Then retry the job.");
	assert_string_equal(leave(), "DROP INDEX i\n");
	assert_int_equal(indexes(), 0);
}

/* ---- what is left */

static void test_failed_leaf(void **state)
{
	(void)state;
	submit("create_index", "i", "(lower(b), n) WHERE n > 5");
	assert_string_equal(examine(), "transaction");
	assert_true(carry_out());
	fail_build("CREATE INDEX CONCURRENTLY i_t1 ON old.t1 (lower(b), n)"
		   " WHERE n > 5");
	assert_string_equal(drive(),
		"CREATE INDEX CONCURRENTLY i_t1\n"
		"ATTACH PARTITION public.i_t1\n"
		"DROP INDEX CONCURRENTLY i_t1\n"
		"CREATE INDEX CONCURRENTLY i_t1\n"
		"ATTACH PARTITION old.i_t1\n"
		"CREATE INDEX i_t3 ON ONLY\n"
		"ATTACH PARTITION public.i_t3\n"
		"CREATE INDEX i_t4 ON ONLY\n"
		"ATTACH PARTITION public.i_t4\n"
		"CREATE INDEX CONCURRENTLY \"i_t3 b\"\n"
		"ATTACH PARTITION public.\"i_t3 b\"\n");
	assert_true(is_valid("i"));
	assert_int_equal(invalid_indexes(), 0);
}

static void test_leaf_by_another(void **state)
{
	char message[256];

	(void)state;
	submit("create_index", "i", "(n)");
	assert_string_equal(examine(), "transaction");
	assert_true(carry_out());
	build_and_wait("CREATE INDEX CONCURRENTLY i_t1 ON t1 (n)");
	(void)snprintf(message, sizeof message,
		"index \"public.i_t1\" may be being built: pid %d holds"
		" ShareUpdateExclusiveLock on table \"public.t1\"",
		PQbackendPID(builder));
	EXAMINE_FAILS("55P03", message, "", "");
	let_snapshot_go();
	sql_async_wait(builder);
	assert_string_equal(examine(), "transaction");
	assert_string_equal(of_step("told"), "ATTACH PARTITION public.i_t1");
}

/* After each number of steps: nothing stays, but what was there before. */
static void test_leave(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX of_theirs ON t1 (lower(b))");
	for (int steps = 0; steps < 11; steps++) {
		submit("create_index", "i", "(n)");
		for (int i = 0; i < steps; i++) {
			(void)examine();
			assert_true(carry_out());
		}
		if (steps == 5) {
			fail_build("CREATE INDEX CONCURRENTLY \"i_t3 b\" ON"
				   " \"t3 b\" (n)");
		}
		(void)leave();
		assert_int_equal(invalid_indexes(), 0);
		assert_int_equal(indexes(), 0);
	}
	submit("create_index", "i", "(n)");
	(void)drive();
	assert_string_equal(leave(), "");
	assert_int_equal(indexes(), 6);
	sql_exec(app, "ALTER TABLE t DROP n");
	assert_string_equal(leave(), "");
}

/* The empty index of somebody else, who builds by hand, is theirs. */
static void test_leave_theirs(void **state)
{
	(void)state;
	sql_exec(app, "CREATE INDEX i ON ONLY t (n)");
	submit("create_index", "i", "(n)");
	assert_string_equal(leave(), "");
	assert_string_equal(examine(), "alone");
	begin_step();
	fail_build("CREATE INDEX CONCURRENTLY i_t1 ON t1 (n)");
	assert_string_equal(leave(), "DROP INDEX CONCURRENTLY i_t1\n");
	assert_int_equal(indexes(), 1);
	fail_build("CREATE INDEX CONCURRENTLY i_t1 ON t1 (n)");
	sql_exec(app, "DROP INDEX i");
	assert_string_equal(leave(), "DROP INDEX CONCURRENTLY i_t1\n");
	assert_int_equal(indexes(), 0);
	assert_non_null(
		strstr(drive(), "ATTACH PARTITION public.\"i_t3 b\"\n"));
	assert_true(is_valid("i"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(test_whole),
		TREE_TEST(test_steps),
		TREE_TEST(test_without_partitions),
		TREE_TEST(test_own_indexes),
		TREE_TEST(test_name_is_taken),
		TREE_TEST(test_long_names),
		TREE_TEST(test_unique),
		TREE_TEST(test_foreign_table),
		TREE_TEST(test_attached_and_invalid),
		TREE_TEST(test_failed_leaf),
		TREE_TEST(test_leaf_by_another),
		TREE_TEST(test_leave),
		TREE_TEST(test_leave_theirs),
	};

	return cmocka_run_group_tests(tests, drive_start, drive_stop);
}
