/* test_writers.c: whom the barrier waits for: backfill.barrier, called as a
 * daemon would. */
#include "queue_drive.h"

#include <string.h>

static PGconn *writer; /* app too */

static int start(void **state)
{
	(void)state;
	make_table();
	sql_exec(app,
		"CREATE TABLE IF NOT EXISTS parts (id integer, part text)"
		" PARTITION BY LIST (part);"
		"CREATE TABLE IF NOT EXISTS part PARTITION OF parts"
		" FOR VALUES IN ('a') PARTITION BY LIST (id);"
		"CREATE TABLE IF NOT EXISTS leaf PARTITION OF part"
		" FOR VALUES IN (1);"
		"CREATE TABLE IF NOT EXISTS beside PARTITION OF parts"
		" FOR VALUES IN ('b')");
	writer = cluster_connect(cluster, "t", "app");
	job = submit("barred", "", "");
	assert_string_equal(claim(), "barred");
	return 0;
}

static int end(void **state)
{
	PQfinish(writer);
	/* What a test that failed left would hold its table for ever. */
	if (sql_true(db, "SELECT EXISTS (SELECT FROM pg_prepared_xacts)")) {
		sql_exec(db, "ROLLBACK PREPARED 'two.phase'");
	}
	return queue_clean(state);
}

static char tokens[512]; /* as barrier() returned them */

/* Who is waited for; "(null)": nobody. known is SQL. */
static const char *barrier(const char *table, const char *known)
{
	const char *all = sql_text(ctl,
		"SELECT tokens::text || ' ' || coalesce(waits_for, '(null)')"
		" FROM backfill.barrier(%lld, %lld, %lld, '%s'::regclass, %s)",
		me, job, epoch_of_job(), table, known);
	const char *name = strchr(all, ' ');

	assert_non_null(name);
	(void)snprintf(tokens, sizeof tokens, "'%.*s'", (int)(name - all), all);
	return name + 1;
}

static void assert_clear(const char *table, const char *known)
{
	assert_string_equal(barrier(table, known), "(null)");
	assert_string_equal(tokens, "'{}'");
}

/* Ages are not asserted. */
static void assert_waits(
	const char *table, const char *known, const char *pattern)
{
	const char *told = barrier(table, known);

	if (!sql_true(db, "SELECT $q$%s$q$ ~ $q$^%s$q$", told, pattern)) {
		fail_msg("\"%s\" is not like \"%s\"", told, pattern);
	}
	assert_string_not_equal(tokens, "'{}'");
}

static const char *is_writer(void)
{
	static char pattern[160];

	(void)snprintf(pattern, sizeof pattern,
		"pid %d \\(app, idle in transaction, transaction open for \\d+"
		" s\\)$",
		PQbackendPID(writer));
	return pattern;
}

static void lock(const char *table, const char *mode)
{
	sql_exec(writer, "BEGIN; LOCK TABLE ONLY %s IN %s MODE", table, mode);
}

/* ---- */

static void test_modes(void **state)
{
	static const struct {
		const char *mode;
		int waits;
	} modes[] = { { "ACCESS SHARE", 0 }, { "ROW SHARE", 0 },
		{ "ROW EXCLUSIVE", 1 }, { "SHARE UPDATE EXCLUSIVE", 0 },
		{ "SHARE", 0 }, { "SHARE ROW EXCLUSIVE", 1 },
		{ "EXCLUSIVE", 1 }, { "ACCESS EXCLUSIVE", 1 } };

	(void)state;
	assert_clear("t", "NULL");
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		lock("t", modes[i].mode);
		if (modes[i].waits) {
			assert_waits("t", "NULL", is_writer());
			assert_clear("beside", "NULL");
		} else {
			assert_clear("t", "NULL");
		}
		sql_exec(writer, "ROLLBACK");
	}
}

/* A lock that is asked for and not granted writes nothing yet. */
static void test_waiting_lock(void **state)
{
	(void)state;
	sql_exec(app, "BEGIN; LOCK TABLE t IN SHARE MODE");
	sql_async(writer, "UPDATE t SET n = 1 WHERE id = 1");
	sql_wait(db, 60, "SELECT pg_blocking_pids(%d) <> '{}'",
		PQbackendPID(writer));
	assert_clear("t", "NULL");
	sql_exec(app, "COMMIT");
	sql_async_wait(writer);
}

static void test_ancestors(void **state)
{
	(void)state;
	lock("parts", "ROW EXCLUSIVE");
	assert_waits("leaf", "NULL", is_writer());
	assert_waits("part", "NULL", is_writer());
	assert_waits("beside", "NULL", is_writer());
	sql_exec(writer, "COMMIT");
	lock("part", "ROW EXCLUSIVE");
	assert_waits("leaf", "NULL", is_writer());
	assert_clear("beside", "NULL");
	sql_exec(writer, "COMMIT");
	lock("beside", "ROW EXCLUSIVE");
	assert_clear("leaf", "NULL");
	sql_exec(writer, "COMMIT");
}

/* While it is under way the table has no parent any more for who looks at
 * the catalogs' functions; who wrote through it may still be at work. */
static void test_concurrent_detach(void **state)
{
	PGconn *detacher = cluster_connect(cluster, "t", "app");

	(void)state;
	lock("parts", "ROW EXCLUSIVE");
	assert_waits("leaf", "NULL", is_writer());
	sql_async(detacher,
		"ALTER TABLE parts DETACH PARTITION part"
		" CONCURRENTLY");
	sql_wait(db, 60,
		"SELECT inhdetachpending FROM pg_inherits"
		" WHERE inhrelid = 'part'::regclass");
	assert_waits("leaf", tokens, is_writer());
	assert_waits("leaf", "NULL", is_writer());
	sql_exec(writer, "COMMIT");
	sql_async_wait(detacher);
	assert_clear("leaf", tokens);
	lock("parts", "ROW EXCLUSIVE");
	assert_clear("leaf", "NULL");
	sql_exec(writer, "COMMIT");
	sql_exec(detacher,
		"ALTER TABLE parts ATTACH PARTITION part FOR VALUES IN ('a')");
	PQfinish(detacher);
}

/* Who begins to write after the first look sees the table as it will be. */
static void test_later_writers_do_not_count(void **state)
{
	PGconn *second = cluster_connect(cluster, "t", "app");
	char first[sizeof tokens];

	(void)state;
	lock("t", "ROW EXCLUSIVE");
	assert_waits("t", "NULL", is_writer());
	memcpy(first, tokens, sizeof first);
	sql_exec(second, "BEGIN; UPDATE t SET n = 1 WHERE id = 2");
	assert_waits("t", first, is_writer());
	/* Its transaction id, which it gets by and by, is known from then. */
	sql_exec(writer, "UPDATE t SET n = 1 WHERE id = 1");
	assert_waits("t", first, is_writer());
	assert_true(strlen(tokens) > strlen(first));
	sql_exec(writer, "COMMIT");
	assert_clear("t", tokens);
	/* The next transaction of the session is another. */
	lock("t", "ROW EXCLUSIVE");
	assert_clear("t", first);
	sql_exec(second, "ROLLBACK");
	PQfinish(second);
}

/* The job's own runner does not wait for itself; another backend that has
 * its pid by now is waited for. */
static void test_own_runner(void **state)
{
	char pattern[128];

	(void)state;
	attach();
	sql_exec(app, "BEGIN; UPDATE t SET n = 1 WHERE id = 1");
	assert_clear("t", "NULL");
	sql_exec(db,
		"UPDATE backfill.ranges SET runner_backend_start ="
		" runner_backend_start - '1s'::interval");
	(void)snprintf(pattern, sizeof pattern, "pid %d \\(app, idle",
		PQbackendPID(app));
	assert_waits("t", "NULL", pattern);
	sql_exec(app, "COMMIT");
}

static void test_many_writers(void **state)
{
	PGconn *conns[7];

	(void)state;
	for (int i = 0; i < 7; i++) {
		conns[i] = cluster_connect(cluster, "t", "app");
		sql_exec(conns[i], "BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE");
	}
	assert_waits("t", "NULL", "(pid \\d+ \\([^;]*\\); ){5}and 2 more$");
	assert_int_equal(
		sql_int(db, "SELECT cardinality(%s::text[])", tokens), 7);
	for (int i = 0; i < 7; i++) {
		PQfinish(conns[i]);
	}
	sql_wait(db, 60,
		"SELECT NOT EXISTS (SELECT FROM pg_locks"
		" WHERE relation = 't'::regclass AND granted)");
	assert_clear("t", tokens);
}

#define PREPARED                                                               \
	"prepared transaction \"two\\.phase\" \\(app, prepared \\d+ s ago\\)$"

/* It loses its pid, and by a restart its virtual id, and is waited for. */
static void test_prepared(void **state)
{
	(void)state;
	sql_exec(writer, "BEGIN; UPDATE t SET n = 1 WHERE id = 1");
	assert_waits("t", "NULL", is_writer());
	sql_exec(writer, "PREPARE TRANSACTION 'two.phase'");
	PQfinish(writer);
	writer = NULL;
	assert_waits("t", tokens, PREPARED);

	cluster_restart(cluster);
	queue_disconnect();
	queue_connect();
	writer = cluster_connect(cluster, "t", "app");
	assert_waits("t", tokens, PREPARED);
	assert_waits("t", "NULL", PREPARED);
	assert_clear("beside", "NULL");
	sql_exec(app, "COMMIT PREPARED 'two.phase'");
	assert_clear("t", tokens);
}

/* Its transaction id was not known at the last look. */
static void test_prepared_between_two_looks(void **state)
{
	(void)state;
	lock("t", "ROW EXCLUSIVE");
	assert_waits("t", "NULL", is_writer());
	sql_exec(writer,
		"UPDATE t SET n = 1 WHERE id = 1;"
		"PREPARE TRANSACTION 'two.phase'");
	cluster_crash(cluster);
	queue_disconnect();
	queue_connect();
	PQfinish(writer);
	writer = cluster_connect(cluster, "t", "app");
	assert_waits("t", tokens, PREPARED);
	sql_exec(app, "ROLLBACK PREPARED 'two.phase'");
	assert_clear("t", tokens);
}

/* A table of the same OID of another database is another's. */
static void test_other_database(void **state)
{
	PGconn *elsewhere;
	long long oid;

	(void)state;
	sql_exec(db, "CREATE DATABASE elsewhere TEMPLATE template0");
	elsewhere = cluster_connect(cluster, "elsewhere", "postgres");
	oid = sql_int(elsewhere, "SELECT 'pg_class'::regclass::oid::bigint");
	sql_exec(elsewhere, "BEGIN; LOCK TABLE pg_class IN EXCLUSIVE MODE");
	assert_int_equal(
		sql_int(ctl,
			"SELECT cardinality(tokens) FROM backfill.barrier("
			"%lld, %lld, %lld, %lld::oid, NULL)",
			me, job, epoch_of_job(), oid),
		0);
	PQfinish(elsewhere);
	sql_exec(db, "DROP DATABASE elsewhere WITH (FORCE)");
}

static void test_whose_barrier(void **state)
{
	(void)state;
	FAILS(ctl, "BF010", ABOUT("job %lld has another owner", job), "", "",
		"SELECT backfill.barrier(%lld, %lld, 2, 't'::regclass, NULL)",
		me, job);
	FAILS(ctl, "BF010", ABOUT("job %lld has another owner", job), "", "",
		"SELECT backfill.barrier(0, %lld, 1, 't'::regclass, NULL)",
		job);
	sql_exec(app, "SELECT backfill.pause('barred', 'later')");
	FAILS(ctl, "BF011", ABOUT("job %lld is paused", job),
		"paused by app: later", "",
		"SELECT backfill.barrier(%lld, %lld, 1, 't'::regclass, NULL)",
		me, job);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_modes),
		TEST(test_waiting_lock),
		TEST(test_ancestors),
		TEST(test_concurrent_detach),
		TEST(test_later_writers_do_not_count),
		TEST(test_own_runner),
		TEST(test_many_writers),
		TEST(test_prepared),
		TEST(test_prepared_between_two_looks),
		TEST(test_other_database),
		TEST(test_whose_barrier),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
