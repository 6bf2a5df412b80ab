/* test_retry.c: rows that cannot be changed, closing sweeps, how a job ends
 * and is tried again, and what becomes of it at last. */
#include "queue_drive.h"

#define NO_SUCH "Or its run_as is a role that you may not become."

/* hole, sqlstate and message as SQL. */
static void set_aside(
	int key, const char *hole, const char *sqlstate, const char *message)
{
	sql_exec(app,
		"SELECT backfill.set_aside(%lld, 1, %lld, %lld, '{%d}', 1, %s,"
		" %s, %s, 'n_check')",
		job, epoch_of_job(), seq_of_job(), key, hole, sqlstate,
		message);
}

static const char *holes(void)
{
	return sql_text(db,
		"SELECT string_agg(concat_ws(' ', is_window, lo, hi), ', '"
		" ORDER BY hi) FROM backfill.holes WHERE job_id = %lld",
		job);
}

static const char *row_errors(void)
{
	return sql_text(db,
		"SELECT string_agg(concat_ws(' ', key, sqlstate, left(message,"
		" 20), constraint_name, attempts, resolved_at IS NOT NULL),"
		" ', ' ORDER BY key) FROM backfill.row_errors"
		" WHERE job_id = %lld",
		job);
}

static void close_hole(int key)
{
	sql_exec(app,
		"SELECT backfill.close_hole(%lld, 1, %lld, %lld, (SELECT id"
		" FROM backfill.holes WHERE job_id = %lld AND hi = '{%d}'),"
		" 1, 1, 1, 0, 0)",
		job, epoch_of_job(), seq_of_job(), job, key);
}

static void assert_error(const char *sqlstate, const char *message,
	const char *detail, const char *hint)
{
	assert_string_equal(of_job("error_message", job), message);
	assert_string_equal(of_job("error_sqlstate", job), sqlstate);
	assert_string_equal(of_job("error_detail", job), detail);
	assert_string_equal(of_job("error_hint", job), hint);
	assert_string_equal(of_job("state || ': ' || reason", job),
		sql_text(db, "SELECT 'failed: ' || $$%s$$", message));
}

/* ---- set_aside */

static void test_set_aside(void **state)
{
	(void)state;
	make_table();
	job = submit(
		"aside", "where_clause, on_row_error", "'n = 0', 'record'");
	begin();
	set_aside(3, "NULL", "'23514'", "repeat('x', 2000)");
	set_aside(4, "NULL", "NULL", "NULL");
	assert_string_equal(
		of_range("cursor, sweep_cursor, rows_read, seq"), "{4} 2 2");
	assert_string_equal(
		row_errors(), "{3} 23514 xxxxxxxxxxxxxxxxxxxx n_check 1 f");
	assert_int_equal(sql_int(db,
				 "SELECT max(length(message)) FROM"
				 " backfill.row_errors"),
		1000);
	assert_string_equal(holes(), "f {4}");

	/* Of a hole of its own: recorded, or a hole still. */
	set_aside(4, "(SELECT id FROM backfill.holes WHERE hi = '{4}')", "NULL",
		"NULL");
	assert_string_equal(holes(), "f {4}");
	set_aside(4, "(SELECT id FROM backfill.holes WHERE hi = '{4}')",
		"'23505'", "'twice'");
	assert_string_equal(holes(), "(null)");

	/* Of a window: it goes on behind the key, and ends at its end. */
	sql_exec(app,
		"SELECT backfill.skip_window(%lld, 1, %lld, %lld, '{9}', 5)",
		job, epoch_of_job(), seq_of_job());
	set_aside(7, "(SELECT id FROM backfill.holes WHERE is_window)",
		"'23514'", "'bad'");
	assert_string_equal(holes(), "t {7} {9}");
	set_aside(9, "(SELECT id FROM backfill.holes WHERE is_window)", "NULL",
		"NULL");
	assert_string_equal(holes(), "f {9}");

	/* Known, it counts once more. */
	set_aside(10, "NULL", "'23514'", "'bad'");
	set_aside(10, "NULL", "'23502'", "'null'");
	assert_string_equal(row_errors(),
		"{10} 23502 null n_check 2 f, {3} 23514 xxxxxxxxxxxxxxxxxxxx"
		" n_check 1 f, {4} 23505 twice n_check 1 f,"
		" {7} 23514 bad n_check 1 f");
	assert_string_equal(
		sql_text(app, "SELECT row_errors FROM backfill.progress"), "4");
}

static void test_too_many_row_errors(void **state)
{
	(void)state;
	make_table();
	job = submit("errors", "max_row_errors", "1");
	begin();
	set_aside(3, "NULL", "'23514'", "'bad'");
	set_aside(3, "NULL", "'23514'", "'bad'");
	FAILS(app, "BF026",
		ABOUT("more than 1 rows of job %lld could not be changed", job),
		"The last one: 23505: new",
		ABOUT("See backfill.row_errors; mend what is wrong with the"
		      " rows, then call backfill.retry(%lld).",
			job),
		"SELECT backfill.set_aside(%lld, 1, %lld, %lld, '{4}', 1, NULL,"
		" '23505', 'new', NULL)",
		job, epoch_of_job(), seq_of_job());
	assert_string_equal(of_range("cursor, seq"), "{3} 2");
	assert_string_equal(row_errors(), "{3} 23514 bad n_check 2 f");
}

/* ---- closing sweeps */

static void test_sweeps(void **state)
{
	(void)state;
	make_table();
	job = submit("swept", "where_clause, on_residue", "'n = 0', 'fail'");
	begin();
	batch(100, 90, 0);
	assert_string_equal(finish_range(), "f 1");
	assert_string_equal(
		of_range("cursor, coalesce(sweep_cursor, '{none}'), rows_read"),
		"{100} {none} 10");
	batch(50, 3, 0);
	assert_string_equal(
		of_range("cursor, sweep_cursor, rows_read, rows_done,"
			 " pass_rows, late_rows"),
		"{100} {50} 10 93 3 3");
	assert_string_equal(sql_text(app,
				    "SELECT concat_ws(' ', cursor, pass) FROM"
				    " backfill.attach(%lld, 1, %lld, now())",
				    job, epoch_of_job()),
		"{50} 1");
	assert_string_equal(finish_range(), "f 2");
	batch(100, 2, 0);
	assert_string_equal(finish_range(), "f 3");
	batch(100, 1, 0);
	assert_string_equal(finish_range(), "t 3");
	assert_string_equal(of_range("pass_rows, late_rows, residue"), "1 6 1");
	assert_string_equal(finish_job(), "failed");
	assert_error("BF029",
		ABOUT("rows of job %lld were still written while it ran", job),
		"The last of three sweeps found and changed 1 rows.",
		ABOUT("Have the application write the new form, then call"
		      " backfill.retry(%lld).",
			job));
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(detail, '; ' ORDER BY id) FROM"
			" backfill.events WHERE event IN ('sweep',"
			" 'late_rows')"),
		"pass 1 of 3: the walk changed 90 rows;"
		" pass 2 of 3: the sweep before changed 3 rows;"
		" pass 3 of 3: the sweep before changed 2 rows;"
		" the last sweep still found and changed 1 rows: does the"
		" application write the new form?");
	/* Tried again, it sweeps anew. */
	sql_exec(app, "SELECT backfill.retry('swept')");
	assert_string_equal(
		of_range("pass, pass_rows, late_rows, residue, sweep_cursor,"
			 " finished_at"),
		"0 0 6 0");
}

static void test_sweep_that_finds_nothing(void **state)
{
	(void)state;
	make_table();
	job = submit("clean", "where_clause, on_residue", "'n = 0', 'fail'");
	begin();
	batch(100, 90, 0);
	assert_string_equal(finish_range(), "f 1");
	batch(100, 0, 0);
	assert_string_equal(finish_range(), "t 1");
	assert_string_equal(finish_job(), "succeeded");
}

/* Where changed rows match still, a second look would change them again. */
static void test_no_sweep(void **state)
{
	(void)state;
	make_table();
	job = submit("again", "where_clause", "'n >= 0'");
	begin();
	batch(100, 90, 80);
	assert_string_equal(finish_range(), "t 0");
	assert_string_equal(finish_job(), "succeeded");
	assert_string_equal(sql_text(db,
				    "SELECT detail FROM backfill.events"
				    " WHERE event = 'not_self_excluding'"),
		"80 of 90 changed rows still match where_clause, so that rows"
		" written meanwhile were not looked for; if it was meant to"
		" leave out rows that are done, look at set_clause");
	job = submit("all", "", "");
	begin();
	batch(100, 90, 90);
	assert_string_equal(finish_range(), "t 0");
	assert_string_equal(finish_job(), "succeeded");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE event IN ('sweep', 'late_rows',"
				 " 'not_self_excluding')"),
		1);
}

/* ---- retry */

static void test_retry(void **state)
{
	(void)state;
	make_table();
	job = submit(
		"tried", "where_clause, on_row_error", "'n = 0', 'record'");
	FAILS(app, "BF003", ABOUT("cannot retry job %lld: it is queued", job),
		"", "Only a failed job can be tried again.",
		"SELECT backfill.retry('tried')");
	begin();
	set_aside(3, "NULL", "'23514'", "'bad'");
	set_aside(4, "NULL", "'23514'", "'bad'");
	batch(100, 98, 0);
	/* What would fail again is not swept before it is mended. */
	assert_string_equal(finish_range(), "t 0");
	assert_string_equal(finish_job(), "failed");
	assert_error("BF027",
		ABOUT("2 rows of job %lld could not be changed", job),
		"98 rows were changed; these are in backfill.row_errors.",
		ABOUT("Mend what is wrong with them, then call"
		      " backfill.retry(%lld).",
			job));
	/* As if the job had failed before with a hole of one of them. */
	sql_exec(db,
		"INSERT INTO backfill.holes (job_id, number, hi, found_at)"
		" VALUES (%lld, 1, '{3}', '2020-01-01')",
		job);
	sql_exec(app, "SELECT backfill.retry(%lld)", job);
	assert_string_equal(
		of_job("concat_ws(' ', state, reason, error_sqlstate,"
		       " error_message, error_detail, error_hint,"
		       " finished_at)",
			job),
		"queued");
	assert_string_equal(holes(), "f {3}, f {4}");
	assert_true(sql_true(db,
		"SELECT min(found_at) > now() - '1h'::interval FROM"
		" backfill.holes"));
	assert_string_equal(
		of_range("finished_at, pass, rows_done, cursor"), "0 98 {100}");

	assert_string_equal(claim(), "tried");
	assert_true(sql_true(app,
		"SELECT record_errors AND holes_first FROM"
		" backfill.attach(%lld, 1, %lld, now())",
		job, epoch_of_job()));
	sql_exec(app,
		"SELECT backfill.adopt_key(%lld, 1, %lld,"
		" 't_pkey'::regclass)",
		job, epoch_of_job());
	close_hole(3);
	assert_string_equal(row_errors(),
		"{3} 23514 bad n_check 1 t, {4} 23514 bad n_check 1 f");
	set_aside(4, "(SELECT id FROM backfill.holes)", "'23514'", "'still'");
	assert_string_equal(finish_range(), "t 0");
	assert_string_equal(finish_job(), "failed");
	sql_exec(app, "SELECT backfill.retry('tried')");
	assert_string_equal(claim(), "tried");
	attach();
	sql_exec(app,
		"SELECT backfill.adopt_key(%lld, 1, %lld,"
		" 't_pkey'::regclass)",
		job, epoch_of_job());
	close_hole(4);
	assert_string_equal(finish_range(), "f 1");
	assert_string_equal(finish_range(), "t 1");
	assert_string_equal(finish_job(), "succeeded");
	FAILS(app, "BF003",
		ABOUT("cannot retry job %lld: it is succeeded", job), "",
		"Submit a new job to change the table again.",
		"SELECT backfill.retry('tried')");
	assert_string_equal(row_errors(),
		"{3} 23514 bad n_check 1 t, {4} 23514 still n_check 2 t");
}

/* What failed before it began begins. */
static void test_retry_before_the_beginning(void **state)
{
	PGconn *other = cluster_connect(cluster, "t", "other");

	(void)state;
	make_table();
	job = submit("early", "", "");
	assert_string_equal(claim(), "early");
	sql_exec(ctl,
		"SELECT backfill.fail_job(%lld, %lld, 1, '42P01', 'm', 'd',"
		" 'h')",
		me, job);
	FAILS(other, "BF002", "job \"early\" does not exist", NO_SUCH, "",
		"SELECT backfill.retry('early')");
	sql_exec(app, "SELECT backfill.retry('early')");
	begin();
	assert_string_equal(of_range("epoch, begun_at IS NOT NULL"), "2 t");
	PQfinish(other);
}

/* ---- the gate */

static void test_ensure_succeeded(void **state)
{
	PGconn *other = cluster_connect(cluster, "t", "other");

	(void)state;
	make_table();
	FAILS(app, "BF002", "job \"gate\" does not exist", NO_SUCH, "",
		"SELECT backfill.ensure_succeeded('gate')");
	job = submit("gate", "hold", "true");
	FAILS(app, "BF001", ABOUT("job %lld (gate) has not succeeded", job),
		"It is queued.", "",
		"SELECT backfill.ensure_succeeded('gate')");
	assert_string_equal(claim(), "none");
	FAILS(app, "BF001", ABOUT("job %lld (gate) has not succeeded", job),
		"It is queued: waits for approve(): it was submitted with"
		" hold.",
		"", "SELECT backfill.ensure_succeeded('%lld')", job);
	sql_exec(app, "SELECT backfill.approve('gate')");
	begin();
	batch(100, 1, 0);
	(void)finish_range();
	assert_string_equal(finish_job(), "succeeded");
	sql_exec(app, "SELECT backfill.ensure_succeeded('gate')");
	/* Another's word counts for nothing. */
	FAILS(other, "BF002", "job \"gate\" does not exist", NO_SUCH, "",
		"SELECT backfill.ensure_succeeded('gate')");

	job = submit("dry", "dry_run", "true");
	assert_string_equal(claim(), "dry");
	attach();
	sql_exec(app, "SELECT backfill.store_report(%lld, 1, 1, '{\"a\": 1}')",
		job);
	assert_string_equal(finish_job(), "succeeded");
	assert_string_equal(
		of_job("state || report", job), "succeeded{\"a\": 1}");
	assert_string_equal(
		sql_text(db,
			"SELECT detail FROM backfill.events WHERE job_id ="
			" %lld AND event = 'succeeded'",
			job),
		"dry run: nothing was changed");
	FAILS(app, "BF001", ABOUT("job %lld (dry) has not succeeded", job),
		"It was a dry run, which changes nothing.", "",
		"SELECT backfill.ensure_succeeded('dry')");
	PQfinish(other);
}

#define TEST(name) cmocka_unit_test_teardown(name, queue_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_set_aside),
		TEST(test_too_many_row_errors),
		TEST(test_sweeps),
		TEST(test_sweep_that_finds_nothing),
		TEST(test_no_sweep),
		TEST(test_retry),
		TEST(test_retry_before_the_beginning),
		TEST(test_ensure_succeeded),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
