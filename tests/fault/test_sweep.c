/* test_sweep.c: rows that others write behind the cursor while a job walks.
 * A self-excluding job looks for them before it ends, however often it is
 * interrupted; a job whose changed rows still match must not, or it would
 * change them twice. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static PGconn *holder; /* app too */

/* A killed daemon's work is taken over within seconds. */
static int start(void **state)
{
	int code = shop_start(state);

	assert_int_equal(daemon_stop(shop.daemon), 0);
	daemon_free(shop.daemon);
	shop.daemon = daemon_start(shop.cluster, "shop",
		"daemon: {lease: 2s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 200ms}\n");
	daemon_wait_log(shop.daemon, "-> serving", SHOP_WAIT_SECONDS);
	holder = cluster_connect(shop.cluster, "shop", "app");
	sql_exec(shop.db,
		"CREATE TABLE audit (id bigserial, job bigint, pass integer,"
		" cursor bigint);"
		"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.audit (job, pass, cursor) VALUES"
		"  (NEW.job_id, NEW.pass, CASE NEW.pass WHEN 0 THEN"
		"  NEW.cursor[1] ELSE NEW.sweep_cursor[1] END::bigint);"
		"  RETURN NULL; END $$;"
		"CREATE TRIGGER audit AFTER UPDATE ON backfill.ranges"
		" FOR EACH ROW EXECUTE FUNCTION audit()");
	return code;
}

static int stop(void **state)
{
	PQfinish(holder);
	return shop_stop(state);
}

static int let_go(void **state)
{
	(void)state;
	PQreset(shop.app);
	PQreset(holder);
	gate_open();
	sql_exec(shop.db,
		"SELECT backfill.cancel(id) FROM backfill.jobs"
		" WHERE state IN ('queued', 'running', 'paused')");
	return 0;
}

/* ---- a table, and the job of the same name that fills in its phones */

/* ids 2, 4, … 2 * rows; changes counts those by the job. */
static void make_table(const char *name, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, phone text,"
		" changes integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT 2 * generate_series(1, %d)",
		name, name, rows);
}

static const char set_phone[] =
	"phone = ''none'', changes = changes + 1 + gate_pass(id)";

static void submit(
	const char *name, const char *where_clause, const char *on_residue)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, on_residue, batch_rows, max_batch_rows,"
		" statement_timeout) VALUES ('%s', '%s', '%s', $q$ %s $q$,"
		" '%s', 10, 10, '10min')",
		name, name, set_phone, where_clause, on_residue);
}

/* The walk stands at the gate: past id 80, of 200. */
static void walk_half_way(const char *name)
{
	make_table(name, 100);
	gate_close(85);
	submit(name, "phone IS NULL", "report");
	gate_wait(name);
}

/* "pass rows_read rows_done late_rows" */
static void assert_counts(const char *name, const char *counts)
{
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', pass, rows_read, rows_done,"
			" late_rows) FROM backfill.progress WHERE name = '%s'",
			name),
		counts);
}

/* "id changes" of rows that are not as all others should be. */
static const char *exceptions(const char *name)
{
	return sql_text(shop.db,
		"SELECT coalesce(string_agg(format('%%s %%s', id, changes),"
		" ', ' ORDER BY id), 'none') FROM %s"
		" WHERE changes <> 1 OR phone IS NULL",
		name);
}

/* A cursor never goes back within a pass, whoever moves it. */
static void assert_no_step_back(const char *name)
{
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM (SELECT pass, cursor, lag(cursor)"
			" OVER (PARTITION BY pass ORDER BY id) AS before"
			" FROM audit WHERE job = %lld) a WHERE pass > 0 AND"
			" before IS NOT NULL AND (cursor IS NULL OR cursor <"
			" before)",
			(long long)job_id(name)),
		0);
}

/* What happened once it had begun, whoever ran it. */
static const char *story(const char *name)
{
	return sql_text(shop.db,
		"SELECT string_agg(event, ',' ORDER BY id) FROM backfill.events"
		" e WHERE job_id = %lld AND event NOT IN ('started',"
		" 'taken_over') AND id > (SELECT id FROM backfill.events b"
		" WHERE b.job_id = e.job_id AND event = 'begun')",
		(long long)job_id(name));
}

static const char *event_details(const char *name, const char *event)
{
	return sql_text(shop.db,
		"SELECT string_agg(detail, '|' ORDER BY id) FROM"
		" backfill.events WHERE job_id = %lld AND event = '%s'",
		(long long)job_id(name), event);
}

/* ---- what is found */

/* Inserted, made eligible again, and moved from ahead of the cursor: all
 * behind it. Above the bound is the application's. */
static void test_rows_behind_the_cursor(void **state)
{
	(void)state;
	walk_half_way("people");
	sql_exec(shop.app,
		"INSERT INTO people (id) VALUES (1), (33);"
		"UPDATE people SET phone = NULL, changes = 0 WHERE id = 10;"
		"UPDATE people SET id = 77 WHERE id = 190;"
		"INSERT INTO people (id) VALUES (201)");
	gate_open();
	job_wait("people", "succeeded");
	assert_string_equal(exceptions("people"), "201 0");
	assert_counts("people", "2 99 103 4");
	assert_string_equal(story("people"), "sweep,sweep,succeeded");
	assert_string_equal(event_details("people", "sweep"),
		"pass 1 of 3: the walk changed 99 rows|"
		"pass 2 of 3: the sweep before changed 4 rows");
	assert_no_step_back("people");
}

/* One sweep that finds nothing, whatever the walk did. */
static void test_nothing_behind_the_cursor(void **state)
{
	(void)state;
	make_table("quiet", 100);
	submit("quiet", "phone IS NULL", "fail");
	job_wait("quiet", "succeeded");
	assert_string_equal(exceptions("quiet"), "none");
	assert_counts("quiet", "1 100 100 0");
	assert_string_equal(story("quiet"), "sweep,succeeded");
}

/* No row matched while the walk passed. The gate stands in the condition, as
 * no row is set. */
static void test_walk_that_changed_nothing(void **state)
{
	(void)state;
	make_table("idle", 100);
	sql_exec(shop.app, "UPDATE idle SET phone = 'x', changes = 1");
	gate_close(85);
	submit("idle", "CASE gate_pass(id) WHEN 0 THEN phone IS NULL END",
		"report");
	gate_wait("idle");
	sql_exec(shop.app, "INSERT INTO idle (id) VALUES (5)");
	gate_open();
	job_wait("idle", "succeeded");
	assert_string_equal(exceptions("idle"), "none");
	assert_counts("idle", "2 100 1 1");
}

/* A condition that time makes true, of changed rows too: there is no sweep,
 * and the row that came of age behind the cursor is left. */
static void test_rows_that_come_of_age(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE ages (id bigint PRIMARY KEY, at timestamptz"
		" NOT NULL, changes integer NOT NULL DEFAULT 0);"
		"INSERT INTO ages SELECT g, now() - CASE WHEN g %% 2 = 0 THEN"
		" interval '2h' ELSE interval '1min' END"
		" FROM generate_series(1, 100) g;"
		"INSERT INTO ages VALUES (0, now())");
	gate_close(55);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, batch_rows, max_batch_rows, statement_timeout)"
		" VALUES ('ages', 'ages', 'at = now(), changes = changes + 1"
		" + gate_pass(id)', $q$ at < now() - interval '1h' $q$, 10, 10,"
		" '10min')");
	gate_wait("ages");
	sql_exec(shop.app,
		"UPDATE ages SET at = clock_timestamp() - interval '1h' +"
		" interval '1s' WHERE id = 0");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT at < now() - interval '1h' OR changes > 0 FROM ages"
		" WHERE id = 0");
	gate_open();
	job_wait("ages", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(format('%%s: %%s', changes, count),"
			" ', ' ORDER BY changes) FROM (SELECT changes, count(*)"
			" FROM ages GROUP BY 1) c"),
		"0: 51, 1: 50");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM ages WHERE (id %% 2 = 0 AND id >"
			" 0) <> (changes = 1)"),
		0);
	assert_string_equal(story("ages"), "not_swept,succeeded");
}

/* ---- what must not be swept */

/* Its changed rows match still: a sweep would change them again. */
static void test_not_self_excluding(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE counters (id bigint PRIMARY KEY, active boolean"
		" NOT NULL DEFAULT true, n integer NOT NULL DEFAULT 0);"
		"INSERT INTO counters SELECT g, g %% 4 <> 0"
		" FROM generate_series(1, 200) g");
	gate_close(85);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, batch_rows, max_batch_rows, statement_timeout)"
		" VALUES ('counters', 'counters', 'n = n + 1 + gate_pass(id)',"
		" 'active', 10, 10, '10min')");
	gate_wait("counters");
	sql_exec(shop.app, "INSERT INTO counters (id) VALUES (0)");
	gate_open();
	job_wait("counters", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*) FILTER (WHERE active"
			" AND n = 1), count(*) FILTER (WHERE NOT active AND"
			" n = 0), count(*) FILTER (WHERE id = 0 AND n = 0),"
			" count(*)) FROM counters"),
		"150 50 1 201");
	assert_counts("counters", "0 200 150 0");
	assert_string_equal(story("counters"), "not_self_excluding,succeeded");
	assert_string_equal(event_details("counters", "not_self_excluding"),
		"150 of 150 changed rows still match where_clause, so that"
		" rows written meanwhile were not looked for; if it was meant"
		" to leave out rows that are done, look at set_clause");
}

/* One of its rows is enough, though most do not match any more. */
static void test_one_row_still_matches(void **state)
{
	(void)state;
	make_table("nearly", 100);
	sql_exec(shop.app,
		"CREATE FUNCTION keep_null() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN NEW.phone := NULL; RETURN NEW; END $$;"
		"CREATE TRIGGER keep_null BEFORE UPDATE ON nearly FOR EACH ROW"
		" WHEN (OLD.id = 50) EXECUTE FUNCTION keep_null()");
	submit("nearly", "phone IS NULL", "fail");
	job_wait("nearly", "succeeded");
	assert_string_equal(exceptions("nearly"), "50 1");
	assert_counts("nearly", "0 100 100 0");
	assert_string_equal(event_details("nearly", "not_self_excluding"),
		"1 of 100 changed rows still match where_clause, so that rows"
		" written meanwhile were not looked for; if it was meant to"
		" leave out rows that are done, look at set_clause");
}

static void test_no_where_clause(void **state)
{
	(void)state;
	make_table("plain", 100);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('plain', 'plain', '%s',"
		" 10, 10)",
		set_phone);
	job_wait("plain", "succeeded");
	assert_string_equal(exceptions("plain"), "none");
	assert_string_equal(story("plain"), "succeeded");
}

/* ---- an application that goes on writing the old form */

/* Each row that the job changes brings a new one behind its cursor. */
static void make_endless(const char *name)
{
	make_table(name, 100);
	sql_exec(shop.app,
		"CREATE FUNCTION %s_next() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN IF OLD.phone IS NULL AND OLD.id = (SELECT min(id)"
		" FROM public.%s) THEN INSERT INTO public.%s (id) VALUES"
		" (OLD.id - 1); END IF; RETURN NULL; END $$;"
		"CREATE TRIGGER next AFTER UPDATE ON %s FOR EACH ROW"
		" EXECUTE FUNCTION %s_next()",
		name, name, name, name, name);
}

static const char late_rows[] =
	"the last sweep still found and changed 1 rows: does the application"
	" write the new form?";

static void test_late_rows_are_reported(void **state)
{
	(void)state;
	make_endless("endless");
	submit("endless", "phone IS NULL", "report");
	job_wait("endless", "succeeded");
	/* Row 2 of the walk brought 1, the sweeps' rows 0, -1 and -2. */
	assert_string_equal(exceptions("endless"), "-2 0");
	assert_counts("endless", "3 100 103 3");
	assert_string_equal(story("endless"),
		"sweep,sweep,sweep,late_rows,"
		"succeeded");
	assert_string_equal(event_details("endless", "late_rows"), late_rows);
}

static void test_late_rows_fail(void **state)
{
	char message[128], hint[128];
	long long id;

	(void)state;
	make_endless("gated");
	submit("gated", "phone IS NULL", "fail");
	id = (long long)job_id("gated");
	(void)snprintf(message, sizeof message,
		"rows of job %lld were still written while it ran", id);
	(void)snprintf(hint, sizeof hint,
		"Have the application write the new form, then call"
		" backfill.retry(%lld).",
		id);
	job_fails("gated", "BF029", message,
		"The last of three sweeps found and changed 1 rows.", hint);
	assert_string_equal(exceptions("gated"), "-2 0");
	assert_string_equal(event_details("gated", "late_rows"), late_rows);

	/* The application was mended: another try sweeps anew, and walks no
	 * more. */
	sql_exec(shop.app, "DROP TRIGGER next ON gated");
	sql_exec(shop.app, "SELECT backfill.retry('gated')");
	job_wait("gated", "succeeded");
	assert_string_equal(exceptions("gated"), "none");
	assert_counts("gated", "2 100 104 4");
}

/* ---- a sweep that is interrupted */

/* Fifty rows come between those of the walk, by a transaction that the sweep
 * waits for; then the sweep stands at the gate, past id 60 or so. */
static void sweep_half_way(const char *name)
{
	walk_half_way(name);
	sql_exec(holder,
		"BEGIN; INSERT INTO %s SELECT 2 * g - 1 FROM"
		" generate_series(1, 50) g",
		name);
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT pass = 1 AND reason LIKE 'waits for transactions that"
		" write the table: %%' FROM backfill.progress"
		" WHERE name = '%s'",
		name);
	gate_close(60);
	sql_exec(holder, "COMMIT");
	gate_wait(name);
	assert_true(sql_true(shop.db,
		"SELECT pass = 1 AND late_rows = 30 AND late_rows"
		" = (SELECT count(*) FROM %s WHERE id %% 2 = 1 AND changes = 1)"
		" FROM backfill.progress WHERE name = '%s'",
		name, name));
}

static void assert_swept(const char *name)
{
	job_wait(name, "succeeded");
	assert_string_equal(exceptions(name), "none");
	assert_counts(name, "2 100 150 50");
	assert_no_step_back(name);
	/* 15 windows, each looked at once. */
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(DISTINCT cursor) FROM audit"
				 " WHERE job = %lld AND pass = 1",
				 (long long)job_id(name)),
		15);
}

static void test_killed_in_a_sweep(void **state)
{
	(void)state;
	sweep_half_way("killed");
	daemon_kill(shop.daemon);
	shop_restart_daemon();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM backfill.events WHERE job_id = %lld"
		" AND event = 'taken_over')",
		(long long)job_id("killed"));
	gate_open();
	assert_swept("killed");
}

static void test_paused_in_a_sweep(void **state)
{
	(void)state;
	sweep_half_way("paused");
	sql_exec(shop.app, "SELECT backfill.pause('paused')");
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT owner IS NULL FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job_id("paused"));
	assert_true(sql_true(shop.db,
		"SELECT state = 'paused' AND pass = 1 AND late_rows < 50"
		" FROM backfill.progress WHERE name = 'paused'"));
	sql_exec(shop.app, "SELECT backfill.resume('paused')");
	assert_swept("paused");
}

static void test_lost_connection_in_a_sweep(void **state)
{
	(void)state;
	sweep_half_way("lost");
	sql_exec(shop.db,
		"SELECT pg_terminate_backend(runner_pid) FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job_id("lost"));
	gate_open();
	assert_swept("lost");
}

/* A row that is held while the sweep passes waits as any other. */
static void test_hole_in_a_sweep(void **state)
{
	char pattern[256];

	(void)state;
	walk_half_way("pierced");
	sql_exec(shop.app, "INSERT INTO pierced (id) VALUES (5), (7)");
	sql_exec(holder, "BEGIN; SELECT FROM pierced WHERE id = 5 FOR UPDATE");
	gate_open();
	(void)snprintf(pattern, sizeof pattern,
		"^waits for 1 rows held by others: key \\(5\\) for [0-9]+ s by"
		" pid %d \\(app, idle in transaction, transaction open for"
		" [0-9]+ s\\)$",
		PQbackendPID(holder));
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT pass = 1 AND holes = 1 AND late_rows = 1 AND reason ~"
		" '%s' FROM backfill.progress WHERE name = 'pierced'",
		pattern);
	assert_string_equal(exceptions("pierced"), "5 0");
	sql_exec(holder, "COMMIT");
	job_wait("pierced", "succeeded");
	assert_string_equal(exceptions("pierced"), "none");
	assert_counts("pierced", "2 100 102 2");
}

/* A row behind the cursor that cannot be changed, of a job that stops at it
 * and of one that records it: a sweep goes on where it is mended. */
static void check_row_error(const char *name, const char *on_row_error)
{
	make_table(name, 100);
	sql_exec(shop.app,
		"ALTER TABLE %s ADD CONSTRAINT bad CHECK (id <> 7 OR phone IS"
		" NULL)",
		name);
	gate_close(85);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, on_row_error, batch_rows, max_batch_rows,"
		" statement_timeout) VALUES ('%s', '%s', '%s',"
		" 'phone IS NULL', '%s', 10, 10, '10min')",
		name, name, set_phone, on_row_error);
	gate_wait(name);
	sql_exec(shop.app, "INSERT INTO %s (id) VALUES (5), (7), (9)", name);
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'failed' FROM backfill.jobs WHERE name = '%s'",
		name);
}

static void test_row_error_stops_a_sweep(void **state)
{
	(void)state;
	check_row_error("stopped", "stop");
	assert_string_equal(exceptions("stopped"), "7 0, 9 0");
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws('|', error_sqlstate,"
				    " error_message, error_detail)"
				    " FROM backfill.jobs"
				    " WHERE name = 'stopped'"),
		"23514|new row for relation \"stopped\" violates check"
		" constraint \"bad\"|It is the row with key (7), constraint"
		" \"bad\".");
	sql_exec(shop.app, "ALTER TABLE stopped DROP CONSTRAINT bad");
	sql_exec(shop.app, "SELECT backfill.retry('stopped')");
	job_wait("stopped", "succeeded");
	assert_string_equal(exceptions("stopped"), "none");
	assert_counts("stopped", "2 100 103 3");
}

/* What was written behind the cursor before the row was mended is looked for
 * by the sweeps of the second try. */
static void test_row_error_recorded_by_a_sweep(void **state)
{
	(void)state;
	check_row_error("recorded", "record");
	assert_string_equal(exceptions("recorded"), "7 0");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', j.error_sqlstate, e.key,"
			" e.sqlstate, e.constraint_name) FROM backfill.jobs j"
			" JOIN backfill.row_errors e ON e.job_id = j.id"
			" WHERE name = 'recorded'"),
		"BF027 {7} 23514 bad");
	/* And it is mended in a way that leaves the job nothing to change. */
	sql_exec(shop.app,
		"INSERT INTO recorded (id) VALUES (3);"
		"DELETE FROM recorded WHERE id = 7");
	sql_exec(shop.app, "SELECT backfill.retry('recorded')");
	job_wait("recorded", "succeeded");
	assert_string_equal(exceptions("recorded"), "none");
}

#define TEST(function) cmocka_unit_test_teardown(function, let_go)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rows_behind_the_cursor),
		TEST(test_nothing_behind_the_cursor),
		TEST(test_walk_that_changed_nothing),
		TEST(test_rows_that_come_of_age),
		TEST(test_not_self_excluding),
		TEST(test_one_row_still_matches),
		TEST(test_no_where_clause),
		TEST(test_late_rows_are_reported),
		TEST(test_late_rows_fail),
		TEST(test_killed_in_a_sweep),
		TEST(test_paused_in_a_sweep),
		TEST(test_lost_connection_in_a_sweep),
		TEST(test_hole_in_a_sweep),
		TEST(test_row_error_stops_a_sweep),
		TEST(test_row_error_recorded_by_a_sweep),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
