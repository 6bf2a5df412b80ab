/* test_locks.c: rows that others hold while the cursor passes. However they
 * let go of them, each row is changed exactly once, and meanwhile the job
 * says who holds it up. Many holders at once are in test_storm.c. */
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "shop.h"
#include "sql.h"

enum { WAIT_SECONDS = 30 };

static struct cluster *cluster;
static PGconn *db;     /* postgres */
static PGconn *app;    /* submits */
static PGconn *holder; /* app too: it has the rows */
static struct daemon *daemon_t;

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	holder = cluster_connect(cluster, "t", "app");
	sql_exec(holder, "SET application_name = 'the holder'");
	gate_make(app);
	daemon_t = daemon_start(cluster, "t",
		"daemon: {lease: 10s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 200ms}\n");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	assert_int_equal(daemon_stop(daemon_t), 0);
	daemon_free(daemon_t);
	PQfinish(holder);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* What a failed test left must not hold up the others. */
static int let_go(void **state)
{
	(void)state;
	PQreset(app);
	PQreset(holder);
	sql_exec(holder, "SET application_name = 'the holder'");
	sql_exec(db,
		"SELECT backfill.cancel(id) FROM backfill.jobs"
		" WHERE state IN ('queued', 'running')");
	return 0;
}

/* ---- a table and its job of the same name */

static void make_table(const char *name, int rows)
{
	sql_exec(app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, other integer NOT NULL DEFAULT 0,"
		" wanted boolean NOT NULL DEFAULT true);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		name, name, rows);
}

static void submit(const char *name, int rows, const char *set_clause,
	const char *where_clause)
{
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, batch_rows, max_batch_rows)"
		" VALUES ('%s', '%s', '%s', nullif('%s', ''), %d, %d)",
		name, name, set_clause, where_clause, rows, rows);
}

/* Locked only, as yet: for one that has written, the job would not begin. */
static void hold(const char *table, const char *rows)
{
	sql_exec(holder, "BEGIN; SELECT FROM %s WHERE %s FOR UPDATE", table,
		rows);
}

static void wait_holes(const char *name, int holes)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT holes = %d AND key = last_key FROM backfill.progress"
		" WHERE name = '%s'",
		holes, name);
}

static void wait_end(const char *name, const char *state)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed', 'cancelled')"
		" FROM backfill.jobs WHERE name = '%s'",
		name);
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', state, CASE WHEN state <>"
			" 'failed' THEN reason END) FROM backfill.jobs"
			" WHERE name = '%s'",
			name),
		state);
}

/* Succeeded: each of so many rows has n = 1, the counters say the same, and
 * nothing is left behind. */
static void assert_each_once(const char *name, int rows)
{
	wait_end(name, "succeeded");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(format('%%s: %%s', n, count), ', ')"
			" FROM (SELECT n, count(*) FROM %s GROUP BY n) c",
			name),
		sql_text(db, "SELECT '1: %d'", rows));
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', rows_done, holes)"
				    " FROM backfill.progress WHERE name = '%s'",
				    name),
		sql_text(db, "SELECT '%d 0'", rows));
}

static int64_t window_holes(const char *name)
{
	return sql_int(db,
		"SELECT count(*) FROM backfill.events WHERE event ="
		" 'window_hole' AND detail = 'rows of a window are held, or"
		" keep it waiting: it is left for later' AND job_id = (SELECT "
		"id FROM"
		" backfill.jobs WHERE name = '%s')",
		name);
}

/* ---- a few rows, and how their holder lets go */

static void test_rolled_back(void **state)
{
	(void)state;
	make_table("rolled_back", 200);
	hold("rolled_back", "id IN (1, 50, 51, 133, 200)");
	submit("rolled_back", 50, "n = n + 1", "");
	wait_holes("rolled_back", 5);
	sql_exec(holder,
		"UPDATE rolled_back SET n = n + 100"
		" WHERE id IN (1, 50, 51, 133, 200)");
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM rolled_back WHERE n = 1"),
		195);
	sql_exec(holder, "ROLLBACK");
	assert_each_once("rolled_back", 200);
	assert_int_equal(window_holes("rolled_back"), 0);
}

static void test_committed_change(void **state)
{
	(void)state;
	make_table("committed", 100);
	hold("committed", "id IN (10, 20)");
	submit("committed", 30, "n = n + 1", "");
	wait_holes("committed", 2);
	sql_exec(holder,
		"UPDATE committed SET other = 7 WHERE id = 10;"
		"UPDATE committed SET n = 100 WHERE id = 20;"
		"COMMIT");
	wait_end("committed", "succeeded");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(format('%%s %%s %%s', id, n,"
			" other), ', ' ORDER BY id) FROM committed"
			" WHERE n <> 1 OR other <> 0"),
		"10 1 7, 20 101 0");
}

static void test_deleted_and_inserted_again(void **state)
{
	(void)state;
	make_table("again", 100);
	hold("again", "id IN (10, 20, 30)");
	submit("again", 30, "n = n + 1", "");
	wait_holes("again", 3);
	sql_exec(holder,
		"DELETE FROM again WHERE id IN (10, 20, 30);"
		"INSERT INTO again (id) VALUES (10), (30);"
		"COMMIT");
	assert_each_once("again", 99);
}

/* By the change of its holder the row is none of the job's any more. */
static void test_no_longer_matches(void **state)
{
	(void)state;
	make_table("matches", 100);
	hold("matches", "id IN (10, 11)");
	submit("matches", 30, "n = n + 1", "wanted");
	wait_holes("matches", 2);
	sql_exec(holder,
		"UPDATE matches SET wanted = false WHERE id = 10;"
		"UPDATE matches SET other = 1 WHERE id = 11;"
		"COMMIT");
	wait_end("matches", "succeeded");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(format('%%s %%s', id, n), ', ')"
			" FROM matches WHERE n <> 1"),
		"10 0");
	assert_int_equal(sql_int(db,
				 "SELECT rows_done FROM backfill.progress"
				 " WHERE name = 'matches'"),
		99);
}

/* ---- who holds it up */

static void wait_reason(const char *name, const char *pattern)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT reason ~ '%s' FROM backfill.jobs WHERE name = '%s'"
		" AND state = 'running'",
		pattern, name);
}

static void test_reason_names_the_holder(void **state)
{
	/* The seconds count up. */
	static const char *const seconds[] = { "[0-9]+", "[1-9][0-9]*" };
	char pattern[256];

	(void)state;
	make_table("named", 100);
	sql_exec(holder,
		"BEGIN; SELECT FROM named WHERE id IN (42, 43) FOR UPDATE");
	submit("named", 30, "n = n + 1", "");
	wait_holes("named", 2);
	for (int i = 0; i < 2; i++) {
		(void)snprintf(pattern, sizeof pattern,
			"^waits for 2 rows held by others: key \\(4[23]\\) for"
			" %s s by pid %d \\(app, the holder, idle in"
			" transaction, transaction open for %s s\\)$",
			seconds[i], PQbackendPID(holder), seconds[i]);
		wait_reason("named", pattern);
	}
	sql_exec(holder, "ROLLBACK");
	assert_each_once("named", 100);
}

static void test_prepared_transaction(void **state)
{
	(void)state;
	make_table("prepared", 100);
	hold("prepared", "id = 42");
	submit("prepared", 30, "n = n + 1", "");
	wait_holes("prepared", 1);
	sql_exec(holder,
		"DELETE FROM prepared WHERE id = 42;"
		" PREPARE TRANSACTION 'forgotten one'");
	wait_reason("prepared",
		"^waits for 1 rows held by others: key \\(42\\) for [0-9]+ s by"
		" a prepared transaction \\(forgotten one\\)$");
	assert_int_equal(sql_int(db,
				 "SELECT holes FROM backfill.progress"
				 " WHERE name = 'prepared'"),
		1);
	sql_exec(holder, "ROLLBACK PREPARED 'forgotten one'");
	assert_each_once("prepared", 100);
}

static void test_hole_timeout(void **state)
{
	PGconn *h, *other;
	struct daemon *d;
	char pattern[256];

	(void)state;
	backfill_install(cluster, "h");
	h = cluster_connect(cluster, "h", "app");
	other = cluster_connect(cluster, "h", "app");
	d = daemon_start(cluster, "h",
		"daemon: {lease: 1s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 200ms, hole_timeout: 1s}\n");
	sql_exec(h,
		"CREATE TABLE held (id int PRIMARY KEY, n int DEFAULT 0);"
		"INSERT INTO held SELECT generate_series(1, 100)");
	sql_exec(other, "BEGIN; SELECT FROM held WHERE id = 7 FOR UPDATE");
	sql_exec(h,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('held', 'held', 'n = n + 1')");
	sql_wait(h, WAIT_SECONDS, "SELECT state = 'failed' FROM backfill.jobs");
	assert_string_equal(
		sql_text(h,
			"SELECT concat_ws('|', error_sqlstate, reason,"
			" error_message, error_hint) FROM backfill.jobs"),
		"BF023|"
		"rows were held by others for longer than hole_timeout (1 s)|"
		"rows were held by others for longer than hole_timeout (1 s)|"
		"End the transaction that holds them, then backfill.retry(job)"
		" goes on with the rows that are left (see backfill.holes).");
	(void)snprintf(pattern, sizeof pattern,
		"^The job waits for 1 rows held by others: key \\(7\\) for"
		" [1-9][0-9]* s by pid %d \\(app, idle in transaction,"
		" transaction open for [1-9][0-9]* s\\)\\.$",
		PQbackendPID(other));
	assert_true(sql_true(h,
		"SELECT error_detail ~ '%s'"
		" FROM backfill.jobs",
		pattern));
	/* The rest is done, the holder was not disturbed, the row is told. */
	sql_exec(other, "UPDATE held SET n = 5 WHERE id = 7; COMMIT");
	assert_string_equal(
		sql_text(h,
			"SELECT concat_ws(' ', sum(n), max(n),"
			" (SELECT hi FROM backfill.holes)) FROM held"),
		"104 5 {7}");
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	PQfinish(other);
	PQfinish(h);
}

/* ---- many rows */

/* The limit itself: 100 are holes of their own, 101 leave the window. */
static void test_hundred_and_one(void **state)
{
	(void)state;
	make_table("hundred", 600);
	sql_exec(holder,
		"BEGIN; SELECT FROM hundred"
		" WHERE id BETWEEN 101 AND 200 FOR UPDATE");
	submit("hundred", 300, "n = n + 1", "");
	wait_holes("hundred", 100);
	assert_int_equal(window_holes("hundred"), 0);
	sql_exec(holder, "ROLLBACK");
	assert_each_once("hundred", 600);

	make_table("hundred1", 600);
	sql_exec(holder,
		"BEGIN; SELECT FROM hundred1"
		" WHERE id BETWEEN 101 AND 201 FOR UPDATE");
	submit("hundred1", 300, "n = n + 1", "");
	/* The window is worked off in parts, and then they are single. */
	sql_wait(db, WAIT_SECONDS,
		"SELECT count(*) = 101 AND bool_and(NOT is_window)"
		" FROM backfill.holes");
	assert_int_equal(window_holes("hundred1"), 1);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM hundred1 WHERE n = 1"), 499);
	sql_exec(holder, "ROLLBACK");
	assert_each_once("hundred1", 600);
	assert_int_equal(sql_int(db,
				 "SELECT rows_read FROM backfill.progress"
				 " WHERE name = 'hundred1'"),
		600);
}

/* In some windows all, the first and the last among them, with the rows
 * deleted and inserted again in one. */
static void test_many_in_several_windows(void **state)
{
	(void)state;
	make_table("several", 1500);
	hold("several",
		"id <= 300 OR id BETWEEN 310 AND 450 OR id BETWEEN 700"
		" AND 880 OR id > 1350");
	submit("several", 300, "n = n + 1", "");
	sql_wait(db, WAIT_SECONDS,
		"SELECT count(*) = 4 FROM backfill.events WHERE event ="
		" 'window_hole' AND job_id = (SELECT id FROM backfill.jobs"
		" WHERE name = 'several')");
	sql_wait(db, WAIT_SECONDS,
		"SELECT count(*) = 0 FROM backfill.holes WHERE is_window");
	sql_exec(holder,
		"UPDATE several SET other = 1 WHERE id <= 300"
		" OR id BETWEEN 700 AND 880 OR id > 1350;"
		"WITH d AS (DELETE FROM several WHERE id BETWEEN 310 AND 450"
		" RETURNING *) INSERT INTO several SELECT * FROM d;"
		"COMMIT");
	assert_each_once("several", 1500);
	assert_int_equal(sql_int(db, "SELECT sum(other) FROM several"), 631);
}

/* ---- foreign keys, and our own tables */

static void make_family(const char *name)
{
	sql_exec(app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, code bigint UNIQUE,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT g, g FROM generate_series(1, 100) g;"
		"CREATE TABLE %s_child (parent bigint REFERENCES %s,"
		" code bigint REFERENCES %s (code))",
		name, name, name, name, name);
	sql_exec(holder, "BEGIN; INSERT INTO %s_child VALUES (10, 20)", name);
}

/* The check of a child's foreign key locks the parent FOR KEY SHARE, which
 * bears an update of any column that no foreign key may refer to. */
static void test_parent_of_an_open_insert(void **state)
{
	(void)state;
	make_family("parent");
	submit("parent", 30, "n = n + 1", "");
	assert_each_once("parent", 100);
	sql_exec(holder, "COMMIT");

	make_family("referenced");
	submit("referenced", 30, "code = code + 1000, n = n + 1", "");
	wait_holes("referenced", 2);
	sql_exec(holder, "ROLLBACK");
	assert_each_once("referenced", 100);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM referenced"
				 " WHERE code = id + 1000"),
		100);
}

/* A person who leaves a change of the job's row open makes no batch wait:
 * the whole range is worked off, and its hole. */
static void test_locked_job_row(void **state)
{
	(void)state;
	make_table("person", 5000);
	sql_exec(holder, "BEGIN; SELECT FROM person WHERE id = 1 FOR UPDATE");
	sql_exec(app, "UPDATE gate SET last = 20");
	submit("person", 10, "n = n + 1 + gate_pass(id)", "");
	sql_wait(db, WAIT_SECONDS,
		"SELECT batches = 2 FROM backfill.progress"
		" WHERE name = 'person'");
	sql_exec(app,
		"BEGIN; UPDATE backfill.jobs SET lock_timeout = '1s'"
		" WHERE name = 'person'");
	assert_true(sql_true(db,
		"SELECT key <> last_key FROM backfill.progress"
		" WHERE name = 'person'"));
	sql_exec(db, "UPDATE gate SET last = 5000");
	wait_holes("person", 1);
	sql_exec(holder, "ROLLBACK");
	sql_wait(db, WAIT_SECONDS,
		"SELECT r.finished_at IS NOT NULL FROM backfill.ranges r JOIN"
		" backfill.jobs j ON j.id = r.job_id WHERE name = 'person'");
	assert_string_equal(sql_text(db,
				    "SELECT state FROM backfill.jobs"
				    " WHERE name = 'person'"),
		"running");
	sql_exec(app, "COMMIT");
	assert_each_once("person", 5000);
}

/* Meanwhile the reason cannot be told, and the heartbeat must not wait
 * behind the telling: for longer than a lease the range keeps its owner. */
static void test_locked_job_row_and_the_lease(void **state)
{
	int64_t epoch;

	(void)state;
	make_table("remark", 100);
	sql_exec(holder, "BEGIN; SELECT FROM remark WHERE id <= 60 FOR UPDATE");
	submit("remark", 10, "n = n + 1", "");
	wait_holes("remark", 60);
	epoch = sql_int(db,
		"SELECT epoch FROM backfill.ranges r JOIN"
		" backfill.jobs j ON j.id = r.job_id"
		" WHERE name = 'remark'");
	sql_exec(app,
		"BEGIN; UPDATE backfill.jobs SET lock_timeout = '200ms'"
		" WHERE name = 'remark'");
	/* What was left of the lease at each heartbeat. */
	sql_exec(db,
		"CREATE TABLE slack AS SELECT clock_timestamp() AS at,"
		" interval '1h' AS slack;"
		"CREATE FUNCTION note_slack() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN INSERT INTO public.slack VALUES"
		" (clock_timestamp(), OLD.lease_until - clock_timestamp());"
		" RETURN NEW; END $$;"
		"CREATE TRIGGER note_slack BEFORE UPDATE ON backfill.daemons"
		" FOR EACH ROW EXECUTE FUNCTION note_slack()");
	sql_wait(db, WAIT_SECONDS,
		"SELECT count(*) > 4 AND max(at) > min(at) + '10s' FROM slack");
	sql_exec(db, "DROP TRIGGER note_slack ON backfill.daemons");
	assert_true(sql_true(db, "SELECT min(slack) > '1s' FROM slack"));
	sql_exec(app, "COMMIT");
	sql_exec(holder, "ROLLBACK");
	assert_each_once("remark", 100);
	assert_int_equal(sql_int(db,
				 "SELECT epoch FROM backfill.ranges r"
				 " JOIN backfill.jobs j ON j.id = r.job_id"
				 " WHERE name = 'remark'"),
		epoch);
}

#define TEST(function) cmocka_unit_test_teardown(function, let_go)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rolled_back),
		TEST(test_committed_change),
		TEST(test_deleted_and_inserted_again),
		TEST(test_no_longer_matches),
		TEST(test_reason_names_the_holder),
		TEST(test_prepared_transaction),
		TEST(test_hole_timeout),
		TEST(test_hundred_and_one),
		TEST(test_many_in_several_windows),
		TEST(test_parent_of_an_open_insert),
		TEST(test_locked_job_row),
		TEST(test_locked_job_row_and_the_lease),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
