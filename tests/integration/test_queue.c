/* test_queue.c: which job may run, in what order, and what is said of those
 * that may not. */
#include "queue_drive.h"

#include <inttypes.h>
#include <time.h>

#define NO_SUCH "Or its run_as is a role that you may not become."

/* ---- what is refused */

static void test_bad_columns(void **state)
{
	static const struct {
		const char *columns, *values, *message, *hint;
	} bad[] = {
		{ "kind, set_clause, where_clause", "'delete', 'n = 1', 'true'",
			"a job of kind \"delete\" has no set_clause",
			"Leave it NULL, or submit a job of kind \"update\"." },
		{ "kind", "'delete'",
			"a job of kind \"delete\" needs a where_clause",
			"Write true to delete all rows." },
		{ "kind, where_clause", "'delete', ' '",
			"a job of kind \"delete\" needs a where_clause",
			"Write true to delete all rows." },
		{ "set_clause, from_clause", "'n = 1', ' '",
			"from_clause is empty",
			"Leave it NULL when no other table is read." },
		{ "set_clause, on_row_error", "'n = 1', 'skip'",
			"invalid on_row_error \"skip\"",
			"Available values: stop, record." },
		{ "set_clause, on_residue", "'n = 1', ''",
			"invalid on_residue \"\"",
			"Available values: report, fail." },
		{ "set_clause, max_row_errors", "'n = 1', -1",
			"max_row_errors -1 is outside the valid range"
			" (0 .. 1000000)",
			"" },
		{ "set_clause, max_row_errors", "'n = 1', 1000001",
			"max_row_errors 1000001 is outside the valid range"
			" (0 .. 1000000)",
			"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		FAILS(app, "22023", bad[i].message, "", bad[i].hint,
			"INSERT INTO backfill.jobs (target, %s)"
			" VALUES ('t', %s)",
			bad[i].columns, bad[i].values);
	}
	/* NULL is the default. */
	job = submit("default",
		"priority, hold, dry_run, on_row_error, max_row_errors,"
		" on_residue",
		"NULL, NULL, NULL, NULL, NULL, NULL");
	assert_string_equal(
		of_job("concat_ws(' ', priority, hold, dry_run, on_row_error,"
		       " max_row_errors, on_residue)",
			job),
		"0 f f stop 100 report");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, kind, target, where_clause)"
		" VALUES ('all', 'delete', 't', 'true')");
}

/* ---- order */

static void test_priority(void **state)
{
	(void)state;
	(void)submit("low", "priority", "-2147483648");
	(void)submit("none", "priority", "NULL");
	(void)submit("zero", "priority", "0");
	(void)submit("high", "priority", "2147483647");
	(void)submit("raised", "priority", "-1");
	sql_exec(app,
		"UPDATE backfill.jobs SET priority = 1 WHERE name = 'raised'");
	sql_exec(app,
		"UPDATE backfill.jobs SET priority = NULL WHERE name = 'zero'");
	assert_string_equal(claim(), "high");
	assert_string_equal(claim(), "raised");
	assert_string_equal(claim(), "none");
	assert_string_equal(claim(), "zero");
	assert_string_equal(claim(), "low");
	assert_string_equal(claim(), "none");
}

/* A job that waits keeps nobody else waiting. */
static void test_waiting_job_is_passed_over(void **state)
{
	(void)state;
	make_table();
	(void)submit("held", "priority, hold", "9, true");
	(void)submit("first", "priority", "5");
	job = submit("second", "priority", "4");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('elsewhere', 'later', 'n = 1')");
	assert_string_equal(claim(), "first");
	assert_string_equal(claim(), "elsewhere");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		sql_text(db,
			"SELECT format('waits: job %%s (first) runs on the same"
			" table', id) FROM backfill.jobs"
			" WHERE name = 'first'"));
}

/* What is told already is not written again, nor is a job's row waited for
 * that somebody has locked. */
static void test_reasons_are_written_once(void **state)
{
	static const char rows[] =
		"SELECT string_agg(ctid::text || xmin || xmax, ' ' ORDER BY id)"
		" FROM backfill.jobs";
	const char *before;

	(void)state;
	job = submit("locked", "hold", "true");
	(void)submit("told", "hold", "true");
	sql_exec(db,
		"BEGIN; SELECT FROM backfill.jobs WHERE name = 'locked'"
		" FOR UPDATE");
	assert_string_equal(claim(), "none");
	sql_exec(db, "ROLLBACK");
	assert_string_equal(of_job("reason", job), "(null)");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		"waits for approve(): it was submitted with hold");
	before = sql_text(db, rows);
	assert_string_equal(claim(), "none");
	assert_string_equal(sql_text(db, rows), before);
}

static int64_t told(void)
{
	return sql_int(db, "SELECT count(reason) FROM backfill.jobs");
}

/* 2500 that wait for themselves, 2500 that wait for 50 of those each, and one
 * that may run. */
static void submit_5001(void)
{
	sql_exec(db,
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as,"
		" hold, run_after, run_window) SELECT 'waits ' || g, 't',"
		" 'n = 1', 'app', g %% 3 = 0, CASE g %% 3 WHEN 1 THEN"
		" '2100-01-01'::timestamptz + g * '1s'::interval END,"
		" CASE g %% 3 WHEN 2 THEN"
		" to_char(now() + '2h'::interval, 'HH24:MI-') ||"
		" to_char(now() + '3h'::interval, 'HH24:MI') END"
		" FROM generate_series(1, 2500) g");
	sql_exec(db,
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as,"
		" depends_on) SELECT 'needs ' || g, 't', 'n = 1', 'app',"
		" (SELECT array_agg(a.first + (g + x) %% 2500)"
		" FROM generate_series(1, 50) x) FROM (SELECT min(id) AS first"
		" FROM backfill.jobs) a, generate_series(1, 2500) g;"
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as,"
		" priority) VALUES ('ready', 't', 'n = 1', 'app', -1)");
}

/* The shortest of the looks so far that a session found no job by. */
static void take_look(PGconn *conn, int64_t *least_us)
{
	struct timespec begun, ended;
	int64_t us;

	(void)clock_gettime(CLOCK_MONOTONIC, &begun);
	assert_int_equal(
		sql_int(conn, "SELECT count(*) FROM backfill.claim(%lld)", me),
		0);
	(void)clock_gettime(CLOCK_MONOTONIC, &ended);
	us = (int64_t)(ended.tv_sec - begun.tv_sec) * 1000000 +
		(ended.tv_nsec - begun.tv_nsec) / 1000;
	*least_us = us < *least_us ? us : *least_us;
}

/* A look at them is short even with plans that were made when the table was
 * empty, as a daemon's are, which lives long: else no heartbeat gets through
 * meanwhile. It takes as long as with plans that are made now. Only some are
 * told, of those that nobody has locked. */
static void test_many_waiting_jobs(void **state)
{
	int64_t old_us = INT64_MAX, new_us = INT64_MAX;
	PGconn *fresh;

	(void)state;
	sql_exec(db, "VACUUM backfill.jobs");
	sql_exec(db, "VACUUM backfill.ranges");
	for (int i = 0; i < 10; i++) {
		assert_string_equal(claim(), "none");
	}
	submit_5001();
	sql_exec(db,
		"BEGIN; SELECT FROM backfill.jobs ORDER BY id LIMIT 4300"
		" FOR UPDATE");
	assert_string_equal(claim(), "ready");
	assert_int_equal(told(), 200);
	for (int i = 2; i <= 5; i++) {
		assert_string_equal(claim(), "none");
		assert_int_equal(told(), i < 4 ? i * 200 : 700);
	}
	sql_exec(db, "ROLLBACK");
	assert_string_equal(claim(), "none");
	assert_int_equal(told(), 900);
	fresh = cluster_connect(cluster, "t", "backfilld");
	for (int i = 0; i < 5; i++) {
		take_look(ctl, &old_us);
		take_look(fresh, &new_us);
	}
	PQfinish(fresh);
	printf("a look at 5000 waiting jobs: %" PRId64 " us, with new plans"
	       " %" PRId64 " us\n",
		old_us, new_us);
	assert_true(old_us < 4 * new_us);
}

/* ---- depends_on */

static void test_depends_on(void **state)
{
	static const char *const states[] = { "queued", "running", "paused",
		"failed", "cancelled" };
	long long first = submit("first", "hold", "true");
	long long second = submit("second", "hold", "true");
	char ids[64];

	(void)state;
	(void)snprintf(
		ids, sizeof ids, "'{%lld,%lld,%lld}'", second, first, second);
	job = submit("third", "depends_on", ids);
	for (int i = 0; i < 5; i++) {
		sql_exec(db,
			"UPDATE backfill.jobs SET state = '%s'"
			" WHERE id = %lld",
			states[i], first);
		/* As of a live daemon. */
		sql_exec(db,
			"INSERT INTO backfill.ranges (job_id, number, owner)"
			" VALUES (%lld, 1, %lld) ON CONFLICT DO NOTHING",
			first, me);
		assert_string_equal(claim(), "none");
		assert_string_equal(of_job("reason", job),
			sql_text(db, "SELECT 'waits: job %lld (first) is %s'",
				first, states[i]));
	}
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'succeeded' WHERE id = %lld",
		first);
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		ABOUT("waits: job %lld (second) is queued", second));
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'succeeded' WHERE id = %lld",
		second);
	assert_string_equal(claim(), "third");
	assert_string_equal(of_job("reason", job), "(null)");
}

/* It changes nothing that could be relied on. */
static void test_depends_on_a_dry_run(void **state)
{
	long long first = submit("first", "hold, dry_run", "true, true");
	char id[32];

	(void)state;
	(void)snprintf(id, sizeof id, "'{%lld}'", first);
	job = submit("second", "depends_on", id);
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		ABOUT("waits: job %lld (first) is queued", first));
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'succeeded' WHERE id = %lld",
		first);
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		ABOUT("waits: job %lld (first) was a dry run", first));
	sql_exec(db, "DELETE FROM backfill.jobs WHERE id = %lld", first);
	assert_string_equal(claim(), "none");
	assert_string_equal(
		of_job("reason", job), ABOUT("waits: job %lld is gone", first));
}

static void test_bad_depends_on(void **state)
{
	PGconn *other = cluster_connect(cluster, "t", "other");

	(void)state;
	job = submit("mine", "", "");
	FAILS(app, "BF002", "job \"9999999\" does not exist", NO_SUCH,
		"Submit the jobs of depends_on first.",
		"INSERT INTO backfill.jobs (target, set_clause, depends_on)"
		" VALUES ('t', 'n = 1', '{%lld,9999999}')",
		job);
	FAILS(other, "BF002", ABOUT("job \"%lld\" does not exist", job),
		NO_SUCH, "Submit the jobs of depends_on first.",
		"INSERT INTO backfill.jobs (target, set_clause, depends_on)"
		" VALUES ('t', 'n = 1', '{%lld}')",
		job);
	FAILS(app, "22023", "depends_on must hold at most 100 ids of jobs",
		"It has 2 elements, of which 1 are NULL.", "",
		"INSERT INTO backfill.jobs (target, set_clause, depends_on)"
		" VALUES ('t', 'n = 1', '{%lld,NULL}')",
		job);
	FAILS(app, "22023", "depends_on must hold at most 100 ids of jobs",
		"It has 101 elements, of which 0 are NULL.", "",
		"INSERT INTO backfill.jobs (target, set_clause, depends_on)"
		" VALUES ('t', 'n = 1', array_fill(%lld, '{101}'))",
		job);
	/* One statement may submit a chain. */
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" depends_on) VALUES ('a', 't', 'n = 1', NULL),"
		" ('b', 't', 'n = 1', ARRAY[%lld]), ('c', 't', 'n = 1', '{}')",
		job);
	PQfinish(other);
}

/* ---- hold */

static void test_hold(void **state)
{
	PGconn *other = cluster_connect(cluster, "t", "other");

	(void)state;
	job = submit("held", "hold", "true");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		"waits for approve(): it was submitted with hold");
	FAILS(other, "BF002", "job \"held\" does not exist", NO_SUCH, "",
		"SELECT backfill.approve('held')");
	FAILS(other, "42501",
		"new row violates row-level security policy for table"
		" \"events\"",
		"", "",
		"INSERT INTO backfill.events (job_id, event)"
		" VALUES (%lld, 'approve')",
		job);

	/* Approved while it is paused, it stays paused. */
	sql_exec(app, "SELECT backfill.pause('held')");
	sql_exec(app, "SELECT backfill.approve(%lld)", job);
	assert_string_equal(of_job("hold || state", job), "falsepaused");
	sql_exec(app, "SELECT backfill.resume('held')");
	assert_string_equal(claim(), "held");
	notice[0] = '\0';
	sql_exec(app, "SELECT backfill.approve('held')");
	assert_string_equal(notice, ABOUT("job %lld is not held", job));

	job = submit("over", "hold", "true");
	sql_exec(app, "SELECT backfill.cancel('over')");
	FAILS(app, "BF003",
		ABOUT("cannot approve job %lld: it is cancelled", job), "",
		"Submit a new job to change the table again.",
		"SELECT backfill.approve('over')");
	PQfinish(other);
}

static void test_approve_lets_it_run(void **state)
{
	(void)state;
	job = submit("held", "hold", "true");
	assert_string_equal(claim(), "none");
	sql_exec(app, "SELECT backfill.approve('held')");
	assert_string_equal(of_job("reason", job), "(null)");
	assert_string_equal(claim(), "held");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(event || ' by ' || actor, ', '"
			" ORDER BY id) FROM backfill.events WHERE job_id ="
			" %lld",
			job),
		"submitted by app, approve by app, started by backfilld");
}

/* ---- run_after */

static void test_run_after(void **state)
{
	(void)state;
	sql_exec(app, "SET TimeZone = 'America/New_York'");
	job = submit("tomorrow", "run_after", "'2100-01-01 00:00'");
	sql_exec(app, "RESET TimeZone");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		"waits until 2100-01-01 00:00:00-05 (run_after)");
	/* Whatever the daemon's own settings. */
	sql_exec(ctl, "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		"waits until 2100-01-01 00:00:00-05 (run_after)");
	assert_string_equal(sql_text(ctl,
				    "SELECT current_setting('TimeZone')"
				    " || current_setting('DateStyle')"),
		"Asia/TokyoGerman, DMY");
	sql_exec(ctl, "RESET TimeZone; RESET DateStyle");
	sql_exec(db, "UPDATE backfill.jobs SET run_after = now()");
	assert_string_equal(claim(), "tomorrow");
}

/* ---- pause_after_rows */

static const char *rows_left(void)
{
	return sql_text(app,
		"SELECT rows_left FROM backfill.begin_batch(%lld, 1, %lld,"
		" %lld)",
		job, epoch_of_job(), seq_of_job());
}

static void test_canary(void **state)
{
	(void)state;
	make_table();
	FAILS(app, "22023",
		"pause_after_rows 0 is outside the valid range"
		" (1 .. 9223372036854775807)",
		"", "",
		"INSERT INTO backfill.jobs (target, set_clause,"
		" pause_after_rows) VALUES ('t', 'n = 1', 0)");
	job = submit("canary", "pause_after_rows", "10");
	begin();
	assert_string_equal(rows_left(), "10");
	batch(5, 5, 0);
	assert_string_equal(rows_left(), "5");

	/* Given back before: as any job; resumed before: it still pauses. */
	release("the daemon stops");
	assert_string_equal(of_job("state || ' ' || reason", job),
		"queued the daemon stops");
	sql_exec(app, "SELECT backfill.pause('canary')");
	sql_exec(app, "SELECT backfill.resume('canary')");
	assert_string_equal(of_job("pause_after_rows", job), "10");

	assert_string_equal(claim(), "canary");
	attach();
	batch(10, 5, 0);
	FAILS(app, "BF011", ABOUT("job %lld has changed 10 rows", job),
		"Its pause_after_rows is 10.", "",
		"SELECT backfill.begin_batch(%lld, 1, %lld, %lld)", job,
		epoch_of_job(), seq_of_job());
	release("whatever");
	assert_string_equal(of_job("state", job), "paused");
	assert_string_equal(of_job("reason", job),
		"paused after 10 rows (pause_after_rows); look, then resume");
	assert_string_equal(of_range("owner IS NULL"), "t");
	sql_exec(app, "SELECT backfill.resume('canary')");
	assert_string_equal(of_job("pause_after_rows", job), "(null)");
	assert_string_equal(claim(), "canary");
	attach();
	assert_string_equal(rows_left(), "(null)");
}

/* Whatever is counted, the job can be given back. */
static void test_canary_beyond_all_bounds(void **state)
{
	static const char *const ends[][2] = {
		{ "-9223372036854775808", "9223372036854775807" },
		{ "9223372036854775807", "-9223372036854775806" },
	};

	(void)state;
	make_table();
	job = submit("canary", "pause_after_rows", "1");
	for (int i = 0; i < 2; i++) {
		if (i == 0) {
			begin();
		} else {
			assert_string_equal(claim(), "canary");
		}
		sql_exec(db, "UPDATE backfill.ranges SET rows_done = %s",
			ends[i][0]);
		assert_string_equal(
			sql_text(db, "SELECT backfill.rows_left(%lld)", job),
			ends[i][1]);
		release("the daemon stops");
		assert_string_equal(
			of_job("state", job), i == 0 ? "queued" : "paused");
	}
}

/* When nothing is left to be changed there is nothing to look at first. */
static void test_canary_of_the_last_row(void **state)
{
	(void)state;
	make_table();
	job = submit("last", "pause_after_rows", "10");
	begin();
	batch(100, 10, 0);
	assert_string_equal(finish_range(), "t 0");
	assert_string_equal(finish_job(), "succeeded");
}

/* ---- a batch that may wait for locks */

static void test_wait_cap(void **state)
{
	static const char cap[] =
		"SELECT wait_cap_ms || ' ' || current_setting("
		"'statement_timeout') FROM backfill.begin_batch(%lld, 1, %lld,"
		" %lld, true)";

	(void)state;
	make_table();
	job = submit("waits", "", "");
	begin();
	sql_exec(app, "SET statement_timeout = '30s'; BEGIN");
	assert_string_equal(
		sql_text(app, cap, job, epoch_of_job(), seq_of_job()),
		"450 450ms");
	sql_exec(app, "COMMIT");
	assert_string_equal(
		sql_text(app, "SELECT current_setting('statement_timeout')"),
		"30s");
	sql_exec(db, "ALTER SYSTEM SET deadlock_timeout = '2min'");
	sql_exec(db, "SELECT pg_reload_conf()");
	sql_wait(
		app, 60, "SELECT current_setting('deadlock_timeout') = '2min'");
	sql_exec(app, "BEGIN");
	assert_string_equal(
		sql_text(app, cap, job, epoch_of_job(), seq_of_job()),
		"30000 30s");
	sql_exec(app, "COMMIT; SET statement_timeout = 0; BEGIN");
	assert_string_equal(
		sql_text(app, cap, job, epoch_of_job(), seq_of_job()),
		"54000 54s");
	sql_exec(app, "COMMIT");
	sql_exec(db, "ALTER SYSTEM RESET deadlock_timeout");
	sql_exec(db, "SELECT pg_reload_conf()");
	/* Who cannot wait is not bounded so. */
	assert_string_equal(
		sql_text(app,
			"SELECT wait_cap_ms FROM backfill.begin_batch(%lld, 1,"
			" %lld, %lld)",
			job, epoch_of_job(), seq_of_job()),
		"(null)");
}

#define TEST(name) cmocka_unit_test_teardown(name, queue_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bad_columns),
		TEST(test_priority),
		TEST(test_waiting_job_is_passed_over),
		TEST(test_reasons_are_written_once),
		TEST(test_many_waiting_jobs),
		TEST(test_depends_on),
		TEST(test_depends_on_a_dry_run),
		TEST(test_bad_depends_on),
		TEST(test_hold),
		TEST(test_approve_lets_it_run),
		TEST(test_run_after),
		TEST(test_canary),
		TEST(test_canary_beyond_all_bounds),
		TEST(test_canary_of_the_last_row),
		TEST(test_wait_cap),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
