/* test_barrier.c: transactions that write the table and are open when a job
 * begins. Whatever they are, sessions, prepared ones, writers through a
 * parent, the job waits for their end and says for whom; what they wrote is
 * changed then, exactly once. Nobody else holds it up. */
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

enum { WAIT_SECONDS = 30, AGE = 64 };

static struct cluster *cluster;
static PGconn *db;     /* postgres */
static PGconn *app;    /* submits */
static PGconn *writer; /* app too */
static PGconn *second; /* and this one */
static struct daemon *daemon_t;

static void name_sessions(void)
{
	sql_exec(writer, "SET application_name = 'the writer'");
	sql_exec(second, "SET application_name = 'another'");
}

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	writer = cluster_connect(cluster, "t", "app");
	second = cluster_connect(cluster, "t", "app");
	name_sessions();
	daemon_t = daemon_start(cluster, "t",
		"daemon: {lease: 2s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 200ms}\n");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	assert_int_equal(daemon_stop(daemon_t), 0);
	daemon_free(daemon_t);
	PQfinish(second);
	PQfinish(writer);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

static void reconnect(void)
{
	PQreset(db);
	PQreset(app);
	PQreset(writer);
	PQreset(second);
	name_sessions();
}

/* What a failed test left must not hold up the others. */
static int let_go(void **state)
{
	(void)state;
	reconnect();
	sql_exec(db,
		"SELECT backfill.cancel(id) FROM backfill.jobs"
		" WHERE state IN ('queued', 'running', 'paused')");
	return 0;
}

/* ---- a table and its job of the same name */

static void make_table(const char *name, int rows)
{
	sql_exec(app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		name, name, rows);
}

static void submit(const char *name, const char *where_clause)
{
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, batch_rows, max_batch_rows) VALUES"
		" ('%s', '%s', 'n = n + 1', nullif('%s', ''), 30, 30)",
		name, name, where_clause);
}

/* who is a pattern. */
static void wait_at_barrier(const char *name, const char *who)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT reason ~ '^waits for transactions that write the"
		" table: %s$' AND waits_for = 'writers' FROM"
		" backfill.progress WHERE name = '%s' AND state = 'running'",
		who, name);
}

static const char *idle_session(const char *who, PGconn *conn, const char *age)
{
	static char pattern[256];

	(void)snprintf(pattern, sizeof pattern,
		"pid %d \\(app, %s, idle in transaction, transaction open for"
		" %s s\\)",
		PQbackendPID(conn), who, age);
	return pattern;
}

static void wait_for_writer(const char *name)
{
	wait_at_barrier(name, idle_session("the writer", writer, "[0-9]+"));
}

/* It has not begun: no bound is read, no row is changed. */
static void assert_untouched(const char *name)
{
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', r.begun_at, r.hi, r.cursor,"
			" r.rows_done, (SELECT count(*) FROM %s WHERE n <> 0),"
			" (SELECT count(*) FROM backfill.events e WHERE"
			" e.job_id = j.id AND event = 'begun'))"
			" FROM backfill.jobs j JOIN backfill.ranges r"
			" ON r.job_id = j.id WHERE j.name = '%s'",
			name, name),
		"0 0 0");
}

static void wait_end(const char *name, const char *state)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed', 'cancelled')"
		" FROM backfill.jobs WHERE name = '%s'",
		name);
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', state, reason)"
				    " FROM backfill.jobs WHERE name = '%s'",
				    name),
		state);
}

/* Succeeded: each of so many rows has n = 1, the counter says the same. */
static void assert_each_once(const char *name, int rows)
{
	wait_end(name, "succeeded");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(format('%%s: %%s', n, count), ', ')"
			" FROM (SELECT n, count(*) FROM %s GROUP BY n) c",
			name),
		sql_text(db, "SELECT '1: %d'", rows));
	assert_int_equal(sql_int(db,
				 "SELECT rows_done FROM backfill.progress"
				 " WHERE name = '%s'",
				 name),
		rows);
}

static int64_t events(const char *name, const char *event)
{
	return sql_int(db,
		"SELECT count(*) FROM backfill.events e JOIN backfill.jobs j"
		" ON j.id = e.job_id WHERE j.name = '%s' AND event = '%s'",
		name, event);
}

/* ---- a session */

/* Between the keys, and above them all: by the commit both are among the
 * rows that the job promises to change. */
static void test_open_insert(void **state)
{
	(void)state;
	make_table("inserted", 100);
	sql_exec(app, "DELETE FROM inserted WHERE id = 50");
	sql_exec(
		writer, "BEGIN; INSERT INTO inserted (id) VALUES (50), (1000)");
	submit("inserted", "");
	wait_for_writer("inserted");
	/* The seconds count up, and still it waits. */
	wait_at_barrier(
		"inserted", idle_session("the writer", writer, "[1-9][0-9]*"));
	assert_untouched("inserted");
	sql_exec(writer, "COMMIT");
	assert_each_once("inserted", 101);
	assert_string_equal(
		sql_text(db,
			"SELECT hi::text FROM backfill.ranges WHERE job_id ="
			" (SELECT id FROM backfill.jobs WHERE name ="
			" 'inserted')"),
		"{1000}");
}

static void test_open_insert_rolled_back(void **state)
{
	(void)state;
	make_table("undone", 100);
	sql_exec(app, "DELETE FROM undone WHERE id = 50");
	sql_exec(writer, "BEGIN; INSERT INTO undone (id) VALUES (50), (1000)");
	submit("undone", "");
	wait_for_writer("undone");
	assert_untouched("undone");
	sql_exec(writer, "ROLLBACK");
	assert_each_once("undone", 99);
}

/* All that write are waited for, not only the first. */
static void test_two_writers(void **state)
{
	char who[512], one[256];

	(void)state;
	make_table("pair", 100);
	sql_exec(app, "DELETE FROM pair WHERE id IN (10, 20)");
	sql_exec(writer, "BEGIN; INSERT INTO pair (id) VALUES (10)");
	sql_exec(second, "BEGIN; INSERT INTO pair (id) VALUES (20)");
	submit("pair", "");
	(void)snprintf(one, sizeof one, "%s",
		idle_session("another", second, "[0-9]+"));
	(void)snprintf(who, sizeof who, "%.200s; %.200s",
		idle_session("the writer", writer, "[0-9]+"), one);
	wait_at_barrier("pair", who);
	sql_exec(writer, "COMMIT");
	wait_at_barrier("pair", one);
	assert_untouched("pair");
	sql_exec(second, "COMMIT");
	assert_each_once("pair", 100);
}

/* "…; …" of those from first on, up to five. */
static void name_many(char *who, size_t size, PGconn **many, int first, int end)
{
	size_t length = 0;

	for (int i = first; i < end && i < first + 5; i++) {
		length += (size_t)snprintf(who + length, size - length, "%s%s",
			i > first ? "; " : "",
			idle_session("one of many", many[i], "[0-9]+"));
	}
}

/* Five are named; the others are waited for as well. */
static void test_many_writers(void **state)
{
	enum { MANY = 7 };
	PGconn *many[MANY];
	char who[MANY * 256];

	(void)state;
	make_table("many", 100);
	sql_exec(app, "DELETE FROM many WHERE id <= %d", MANY);
	for (int i = 0; i < MANY; i++) {
		many[i] = cluster_connect(cluster, "t", "app");
		sql_exec(many[i],
			"SET application_name = 'one of many'; BEGIN; INSERT"
			" INTO many (id) VALUES (%d)",
			i + 1);
	}
	submit("many", "");
	name_many(who, sizeof who, many, 0, MANY);
	(void)strcat(who, "; and 2 more");
	wait_at_barrier("many", who);
	for (int i = 0; i < 5; i++) {
		sql_exec(many[i], "COMMIT");
	}
	name_many(who, sizeof who, many, 5, MANY);
	wait_at_barrier("many", who);
	assert_untouched("many");
	for (int i = 5; i < MANY; i++) {
		sql_exec(many[i], "COMMIT");
	}
	for (int i = 0; i < MANY; i++) {
		PQfinish(many[i]);
	}
	assert_each_once("many", 100);
}

/* ---- who does not hold it up */

/* Readers of every kind, ANALYZE, and a VACUUM that a reader's pin keeps
 * from its end. */
static void test_who_writes_no_rows(void **state)
{
	PGconn *vacuum = cluster_connect(cluster, "t", "app");
	PGconn *reader = cluster_connect(cluster, "t", "app");

	(void)state;
	make_table("readers", 100);
	sql_exec(reader,
		"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
		"LOCK readers IN ROW SHARE MODE;"
		"DECLARE pin CURSOR FOR SELECT * FROM readers; FETCH pin");
	sql_async(vacuum, "VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) readers");
	sql_wait(db, WAIT_SECONDS,
		"SELECT wait_event = 'BufferPin' FROM pg_stat_activity"
		" WHERE pid = %d",
		PQbackendPID(vacuum));
	submit("readers", "");
	assert_each_once("readers", 100);
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(mode, ' ' ORDER BY mode) FROM"
			" pg_locks WHERE relation = 'readers'::regclass"),
		"AccessShareLock RowShareLock ShareUpdateExclusiveLock");
	sql_exec(reader, "ROLLBACK");
	sql_async_wait(vacuum);
	PQfinish(vacuum);
	PQfinish(reader);

	make_table("analyzed", 100);
	sql_exec(writer, "BEGIN; ANALYZE analyzed");
	submit("analyzed", "");
	assert_each_once("analyzed", 100);
	sql_exec(writer, "COMMIT");
}

/* It began to write while the job waited for another one: its rows are not
 * promised, and the job does not wait for what comes after. */
static void test_writer_after_the_barrier(void **state)
{
	(void)state;
	make_table("later", 100);
	sql_exec(writer, "BEGIN; INSERT INTO later (id) VALUES (101)");
	submit("later", "");
	wait_for_writer("later");
	sql_exec(second, "BEGIN; INSERT INTO later (id) VALUES (0), (1000)");
	wait_at_barrier(
		"later", idle_session("the writer", writer, "[1-9][0-9]*"));
	sql_exec(writer, "COMMIT");
	assert_each_once("later", 101);
	sql_exec(second, "COMMIT");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(id::text, ',' ORDER BY id)"
			" FROM later WHERE n = 0"),
		"0,1000");
}

/* A new transaction of the same session is not the one that was waited
 * for. */
static void test_session_goes_on(void **state)
{
	(void)state;
	make_table("goes_on", 100);
	sql_exec(writer, "BEGIN; INSERT INTO goes_on (id) VALUES (0)");
	submit("goes_on", "");
	wait_for_writer("goes_on");
	sql_exec(writer, "COMMIT; BEGIN; INSERT INTO goes_on (id) VALUES (-1)");
	assert_each_once("goes_on", 101);
	sql_exec(writer, "ROLLBACK");
}

/* Tables of other databases have OIDs of their own, which may be the same:
 * those of a copy are. */
static void test_writer_of_a_copy(void **state)
{
	PGconn *original, *copy;
	struct daemon *d;

	(void)state;
	backfill_install(cluster, "original");
	original = cluster_connect(cluster, "original", "app");
	sql_exec(original,
		"CREATE TABLE twins (id int PRIMARY KEY, n int DEFAULT 0);"
		"INSERT INTO twins SELECT generate_series(1, 100)");
	PQfinish(original);
	sql_exec(db, "CREATE DATABASE copy TEMPLATE original");
	original = cluster_connect(cluster, "original", "app");
	copy = cluster_connect(cluster, "copy", "app");
	assert_int_equal(sql_int(copy, "SELECT 'twins'::regclass::oid::bigint"),
		sql_int(original, "SELECT 'twins'::regclass::oid::bigint"));
	d = daemon_start(cluster, "original", NULL);

	sql_exec(copy, "BEGIN; INSERT INTO twins VALUES (1000)");
	sql_exec(original,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('twins', 'twins', 'n = n + 1')");
	sql_wait(original, WAIT_SECONDS,
		"SELECT state = 'succeeded' FROM backfill.jobs");
	assert_int_equal(sql_int(original, "SELECT sum(n) FROM twins"), 100);

	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	PQfinish(copy);
	PQfinish(original);
}

/* ---- partitions */

/* An INSERT locks the parent that it names and the leaf that it hits: later
 * it may hit ours. */
static void test_writer_through_a_parent(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE family (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0) PARTITION BY RANGE (id);"
		"CREATE TABLE family_low PARTITION OF family FOR VALUES FROM"
		" (0) TO (1000) PARTITION BY RANGE (id);"
		"CREATE TABLE family_high PARTITION OF family FOR VALUES FROM"
		" (1000) TO (2000);"
		"CREATE TABLE leaf PARTITION OF family_low FOR VALUES FROM"
		" (0) TO (500);"
		"INSERT INTO family SELECT generate_series(1, 100)");
	sql_exec(writer, "BEGIN; INSERT INTO family (id) VALUES (1500)");
	assert_false(sql_true(db,
		"SELECT EXISTS (SELECT FROM pg_locks WHERE relation IN"
		" ('leaf'::regclass, 'family_low'::regclass))"));
	submit("leaf", "");
	wait_for_writer("leaf");
	sql_exec(writer, "INSERT INTO family (id) VALUES (0), (400)");
	wait_at_barrier(
		"leaf", idle_session("the writer", writer, "[1-9][0-9]*"));
	assert_untouched("leaf");
	sql_exec(writer, "COMMIT");
	assert_each_once("leaf", 102);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM family_high WHERE n = 0"), 1);
}

/* Each mode in which rows may be written, whether or not any was. On the
 * parent, as the job itself would wait for such a lock on its own table. */
static void test_locks_of_writers(void **state)
{
	static const char *const modes[] = { "ROW EXCLUSIVE",
		"SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE" };
	char name[32];

	(void)state;
	sql_exec(app,
		"CREATE TABLE modes (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0) PARTITION BY RANGE (id)");
	for (int i = 0; i < 4; i++) {
		(void)snprintf(name, sizeof name, "mode_%d", i);
		sql_exec(app,
			"CREATE TABLE %s PARTITION OF modes FOR VALUES FROM"
			" (%d) TO (%d); INSERT INTO %s SELECT"
			" generate_series(%d, %d)",
			name, i * 100, i * 100 + 100, name, i * 100 + 1,
			i * 100 + 40);
		sql_exec(writer, "BEGIN; LOCK ONLY modes IN %s MODE", modes[i]);
		submit(name, "");
		wait_for_writer(name);
		sql_exec(writer, "INSERT INTO modes (id) VALUES (%d); COMMIT",
			i * 100);
		assert_each_once(name, 41);
	}
	sql_exec(app,
		"CREATE TABLE mode_4 PARTITION OF modes FOR VALUES FROM"
		" (400) TO (500); INSERT INTO mode_4 SELECT"
		" generate_series(401, 440)");
	sql_exec(writer,
		"BEGIN; LOCK ONLY modes IN SHARE UPDATE EXCLUSIVE MODE;"
		" LOCK ONLY modes IN SHARE MODE");
	submit("mode_4", "");
	assert_each_once("mode_4", 40);
	sql_exec(writer, "COMMIT");
}

static void test_writer_of_a_sibling(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE house (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0) PARTITION BY RANGE (id);"
		"CREATE TABLE room_1 PARTITION OF house FOR VALUES FROM"
		" (0) TO (1000);"
		"CREATE TABLE room_2 PARTITION OF house FOR VALUES FROM"
		" (1000) TO (2000);"
		"INSERT INTO house SELECT generate_series(1, 100)");
	sql_exec(writer, "BEGIN; INSERT INTO room_2 (id) VALUES (1500)");
	submit("room_1", "");
	assert_each_once("room_1", 100);
	sql_exec(writer, "ROLLBACK");
}

/* ---- prepared transactions */

static void wait_for_prepared(const char *name, const char *gid)
{
	char who[128];

	(void)snprintf(who, sizeof who,
		"prepared transaction \"%s\" \\(app, prepared [0-9]+ s ago\\)",
		gid);
	wait_at_barrier(name, who);
}

/* It has no pid, and after a restart another number; an orphan of it would
 * be passed by whoever asks pg_stat_activity. */
static void test_prepared_across_a_restart(void **state)
{
	char age[AGE];

	(void)state;
	make_table("survivor", 100);
	sql_exec(writer,
		"BEGIN; INSERT INTO survivor (id) VALUES (0), (1000);"
		"PREPARE TRANSACTION 'left over'");
	submit("survivor", "");
	wait_for_prepared("survivor", "left over");
	assert_untouched("survivor");
	cluster_restart(cluster);
	reconnect();
	(void)snprintf(age, sizeof age, "%s",
		sql_text(db,
			"SELECT extract(epoch FROM clock_timestamp() -"
			" prepared) FROM pg_prepared_xacts"));
	/* Told by the daemon after the restart, so it was looked for then. */
	sql_wait(db, WAIT_SECONDS,
		"SELECT (regexp_match(reason, 'prepared transaction \"left"
		" over\" \\(app, prepared ([0-9]+) s ago\\)$'))[1]::integer >"
		" %s FROM backfill.jobs WHERE name = 'survivor' AND state ="
		" 'running'",
		age);
	assert_untouched("survivor");
	sql_exec(db, "COMMIT PREPARED 'left over'");
	assert_each_once("survivor", 102);
}

/* The session is free again, and busy elsewhere; its pid tells nothing. */
static void test_prepared_while_waited_for(void **state)
{
	(void)state;
	make_table("handed_over", 100);
	sql_exec(writer, "BEGIN; INSERT INTO handed_over (id) VALUES (0)");
	submit("handed_over", "");
	wait_for_writer("handed_over");
	sql_exec(writer, "PREPARE TRANSACTION 'second phase'");
	wait_for_prepared("handed_over", "second phase");
	assert_untouched("handed_over");
	sql_exec(writer, "BEGIN; SELECT FROM handed_over; COMMIT");
	wait_for_prepared("handed_over", "second phase");
	assert_untouched("handed_over");
	sql_exec(writer, "COMMIT PREPARED 'second phase'");
	assert_each_once("handed_over", 101);

	make_table("handed_back", 100);
	sql_exec(writer, "BEGIN; INSERT INTO handed_back (id) VALUES (0)");
	submit("handed_back", "");
	wait_for_writer("handed_back");
	sql_exec(writer, "PREPARE TRANSACTION 'in vain'");
	wait_for_prepared("handed_back", "in vain");
	sql_exec(writer, "ROLLBACK PREPARED 'in vain'");
	assert_each_once("handed_back", 100);
}

/* ---- its end without the writer's */

static void test_barrier_timeout(void **state)
{
	PGconn *h, *other;
	struct daemon *d;
	char pattern[512];

	(void)state;
	backfill_install(cluster, "b");
	h = cluster_connect(cluster, "b", "app");
	other = cluster_connect(cluster, "b", "app");
	d = daemon_start(cluster, "b",
		"daemon: {lease: 1s, poll_interval: 100ms}\n"
		"batch: {barrier_timeout: 1s}\n");
	sql_exec(h,
		"CREATE TABLE held (id int PRIMARY KEY, n int DEFAULT 0);"
		"INSERT INTO held SELECT generate_series(1, 100)");
	sql_exec(other, "BEGIN; INSERT INTO held VALUES (0)");
	sql_exec(h,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('held', 'held', 'n = n + 1')");
	sql_wait(h, WAIT_SECONDS, "SELECT state = 'failed' FROM backfill.jobs");
	assert_string_equal(
		sql_text(h,
			"SELECT concat_ws('|', error_sqlstate, reason,"
			" error_message, error_hint) FROM backfill.jobs"),
		"BF025|"
		"transactions that write the table did not end within"
		" barrier_timeout (1 s)|"
		"transactions that write the table did not end within"
		" barrier_timeout (1 s)|"
		"End them, then backfill.retry(job) goes on.");
	(void)snprintf(pattern, sizeof pattern,
		"^The job waits for transactions that write the table: pid %d"
		" \\(app, idle in transaction, transaction open for"
		" [1-9][0-9]* s\\)\\.$",
		PQbackendPID(other));
	assert_true(sql_true(
		h, "SELECT error_detail ~ '%s' FROM backfill.jobs", pattern));
	/* The writer was not disturbed, and nothing was changed. */
	sql_exec(other, "COMMIT");
	assert_string_equal(sql_text(h,
				    "SELECT concat_ws(' ', count(*), sum(n))"
				    " FROM held"),
		"101 0");

	sql_exec(h, "SELECT backfill.retry('held')");
	sql_wait(h, WAIT_SECONDS,
		"SELECT state = 'succeeded' FROM backfill.jobs");
	assert_string_equal(sql_text(h,
				    "SELECT concat_ws(' ', count(*), min(n),"
				    " max(n)) FROM held"),
		"101 1 1");
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	PQfinish(other);
	PQfinish(h);
}

static void wait_for_no_runner(const char *name)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT r.owner IS NULL AND NOT EXISTS (SELECT FROM"
		" pg_stat_activity a WHERE a.application_name ="
		" format('backfilld %%s/1', j.id)) FROM backfill.jobs j"
		" JOIN backfill.ranges r ON r.job_id = j.id"
		" WHERE j.name = '%s'",
		name);
}

static void test_pause_and_resume(void **state)
{
	(void)state;
	make_table("paused", 100);
	sql_exec(writer, "BEGIN; INSERT INTO paused (id) VALUES (0)");
	submit("paused", "");
	wait_for_writer("paused");
	sql_exec(app, "SELECT backfill.pause('paused', 'lunch')");
	wait_for_no_runner("paused");
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(': ', state, reason)"
				    " FROM backfill.jobs"
				    " WHERE name = 'paused'"),
		"paused: paused by app: lunch");
	assert_untouched("paused");
	sql_exec(app, "SELECT backfill.resume('paused')");
	wait_for_writer("paused");
	assert_untouched("paused");
	sql_exec(writer, "COMMIT");
	assert_each_once("paused", 101);
}

static void test_cancel(void **state)
{
	(void)state;
	make_table("cancelled", 100);
	sql_exec(writer, "BEGIN; INSERT INTO cancelled (id) VALUES (0)");
	submit("cancelled", "");
	wait_for_writer("cancelled");
	sql_exec(app, "SELECT backfill.cancel('cancelled', 'a mistake')");
	wait_for_no_runner("cancelled");
	sql_exec(writer, "COMMIT");
	wait_end("cancelled", "cancelled cancelled by app: a mistake");
	assert_untouched("cancelled");
}

static void test_sigterm_and_kill(void **state)
{
	(void)state;
	make_table("daemons", 100);
	sql_exec(writer, "BEGIN; INSERT INTO daemons (id) VALUES (0)");
	submit("daemons", "");
	wait_for_writer("daemons");
	assert_int_equal(daemon_stop(daemon_t), 0);
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(': ', state, reason)"
				    " FROM backfill.jobs"
				    " WHERE name = 'daemons'"),
		"queued: the daemon stops");

	daemon_restart(daemon_t);
	wait_for_writer("daemons");
	assert_untouched("daemons");
	daemon_kill(daemon_t);
	daemon_restart(daemon_t);
	sql_wait(db, WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM backfill.events e JOIN"
		" backfill.jobs j ON j.id = e.job_id WHERE j.name = 'daemons'"
		" AND event = 'taken_over')");
	wait_for_writer("daemons");
	assert_untouched("daemons");
	sql_exec(writer, "COMMIT");
	assert_each_once("daemons", 101);
}

/* ---- the barrier before a sweep */

/* While the job waits for a hole, a transaction begins to write behind the
 * cursor. The sweep that follows would not see its row. */
static void test_before_a_sweep(void **state)
{
	(void)state;
	make_table("swept", 100);
	sql_exec(second, "BEGIN; SELECT FROM swept WHERE id = 50 FOR UPDATE");
	submit("swept", "n = 0");
	sql_wait(db, WAIT_SECONDS,
		"SELECT holes = 1 AND key = last_key FROM backfill.progress"
		" WHERE name = 'swept'");
	sql_exec(writer, "BEGIN; INSERT INTO swept (id) VALUES (0)");
	assert_int_equal(events("swept", "sweep"), 0);
	sql_exec(second, "COMMIT");
	wait_for_writer("swept");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', pass, rows_done, late_rows)"
			" FROM backfill.progress WHERE name = 'swept'"),
		"1 100 0");
	/* It began after: not waited for. */
	sql_exec(second, "BEGIN; INSERT INTO swept (id) VALUES (-1)");
	sql_exec(writer, "COMMIT");
	sql_wait(db, WAIT_SECONDS,
		"SELECT late_rows = 1 AND pass = 2 FROM backfill.progress"
		" WHERE name = 'swept'");
	/* But by the second sweep, as its barrier is a new one. */
	wait_at_barrier("swept", idle_session("another", second, "[0-9]+"));
	sql_exec(second, "COMMIT");
	assert_each_once("swept", 102);
	assert_int_equal(events("swept", "sweep"), 3);
}

/* No sweep, so nobody is waited for at the end. */
static void test_no_barrier_at_the_end(void **state)
{
	(void)state;
	make_table("unswept", 100);
	sql_exec(second, "BEGIN; SELECT FROM unswept WHERE id = 50 FOR UPDATE");
	submit("unswept", "n >= 0");
	sql_wait(db, WAIT_SECONDS,
		"SELECT holes = 1 AND key = last_key FROM backfill.progress"
		" WHERE name = 'unswept'");
	sql_exec(writer, "BEGIN; INSERT INTO unswept (id) VALUES (0)");
	sql_exec(second, "COMMIT");
	assert_each_once("unswept", 100);
	sql_exec(writer, "ROLLBACK");
	assert_int_equal(events("unswept", "sweep"), 0);
}

#define TEST(function) cmocka_unit_test_teardown(function, let_go)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open_insert),
		TEST(test_open_insert_rolled_back),
		TEST(test_two_writers),
		TEST(test_many_writers),
		TEST(test_who_writes_no_rows),
		TEST(test_writer_after_the_barrier),
		TEST(test_session_goes_on),
		TEST(test_writer_of_a_copy),
		TEST(test_writer_through_a_parent),
		TEST(test_locks_of_writers),
		TEST(test_writer_of_a_sibling),
		TEST(test_prepared_across_a_restart),
		TEST(test_prepared_while_waited_for),
		TEST(test_barrier_timeout),
		TEST(test_pause_and_resume),
		TEST(test_cancel),
		TEST(test_sigterm_and_kill),
		TEST(test_before_a_sweep),
		TEST(test_no_barrier_at_the_end),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
