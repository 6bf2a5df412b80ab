/* test_archive_changes.c: an archive or a table that changes while rows go
 * from one to the other ends the job with the reason, and every row is where
 * it can be found; retry() goes on from there. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static PGconn *changer; /* app too */

static int start(void **state)
{
	(void)state;
	/* The changer waits behind a batch for as long as the test holds it. */
	shop_start_yaml(SHOP_YAML "pace: {max_blocking_time: 1min}\n");
	changer = cluster_connect(shop.cluster, "shop", "app");
	return 0;
}

static int stop(void **state)
{
	PQfinish(changer);
	return shop_stop(state);
}

/* NAME with 100 rows, NAME_old, and a job whose fifth batch of ten stands at
 * the gate. */
static void begin(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, 100);"
		"CREATE TABLE %s_old (LIKE %s)",
		name, name, name, name);
	gate_close(45);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (kind, name, target, archive_table,"
		" where_clause, batch_rows, max_batch_rows, statement_timeout,"
		" lock_timeout)"
		" VALUES ('delete', '%s', '%s', '%s_old', 'gate_pass(id) = 0',"
		" 10, 10, '10min', '10s')",
		name, name, name);
	gate_wait(name);
}

static void pause_it(const char *name)
{
	sql_exec(shop.app, "SELECT backfill.pause('%s')", name);
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT r.runner_pid IS NULL OR NOT EXISTS (SELECT FROM"
		" pg_stat_activity a WHERE a.pid = r.runner_pid)"
		" FROM backfill.ranges r WHERE job_id = %lld",
		(long long)job_id(name));
}

/* Change what a table is, between the fence of a batch and its statement:
 * the lock is had when the batch before has committed. */
static void change_within_a_batch(
	const char *name, const char *table, const char *sql)
{
	sql_async(changer, "BEGIN; LOCK TABLE %s", table);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT wait_event_type = 'Lock' FROM pg_stat_activity"
		" WHERE pid = %d",
		PQbackendPID(changer));
	gate_open();
	sql_async_wait(changer);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT a.wait_event_type = 'Lock' FROM pg_stat_activity a"
		" JOIN backfill.ranges r ON r.runner_pid = a.pid"
		" WHERE r.job_id = %lld",
		(long long)job_id(name));
	sql_exec(changer, "%s; COMMIT", sql);
}

/* The same before the fence: the next batch is not due for long, once the one
 * in between has learnt of the rate. */
static void change_before_a_batch(const char *name, const char *sql)
{
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET max_rows_per_second = 1"
		" WHERE name = '%s'",
		name);
	gate_open_to(55);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 50 FROM backfill.progress"
		" WHERE name = '%s'",
		name);
	gate_wait(name);
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 60 FROM backfill.progress"
		" WHERE name = '%s'",
		name);
	sql_exec(changer, "%s", sql);
	sql_exec(shop.app,
		"UPDATE backfill.jobs SET max_rows_per_second = NULL"
		" WHERE name = '%s'",
		name);
}

static void archive_is_another(const char *name, const char *detail)
{
	long long id = (long long)job_id(name);
	char message[256], hint[256];

	(void)snprintf(message, sizeof message,
		"archive table public.%s_old is not the one that job %lld began"
		" with",
		name, id);
	(void)snprintf(hint, sizeof hint,
		"The rows that were deleted are in that table;"
		" backfill.retry(%lld) goes on with the one that bears the name"
		" by then.",
		id);
	job_fails(name, "BF022", message, detail, hint);
}

/* Rows of both tables are all, and none is in both. */
static void assert_all_in(const char *name, const char *archives)
{
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), count(DISTINCT id),"
			" count(*) FILTER (WHERE kept) > 0) FROM"
			" (SELECT id, true AS kept FROM %s UNION ALL"
			" SELECT id, false FROM (%s) a) u",
			name, archives),
		"100 100 t");
}

static void retry_to_the_end(const char *name, const char *archives)
{
	sql_exec(shop.app, "SELECT backfill.retry('%s')", name);
	job_wait(name, "succeeded");
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM %s", name), 0);
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws(' ', count(*),"
				    " count(DISTINCT id)) FROM (%s) a",
				    archives),
		"100 100");
}

/* ---- the archive */

static void test_renamed_within_a_batch(void **state)
{
	static const char both[] = "SELECT id FROM swapped_away UNION ALL"
				   " SELECT id FROM swapped_old";
	char detail[128];

	(void)state;
	begin("swapped");
	(void)snprintf(detail, sizeof detail,
		"It was dropped or renamed; its OID was %lld.",
		(long long)sql_int(shop.db,
			"SELECT 'swapped_old'::regclass::oid::bigint"));
	change_within_a_batch("swapped", "swapped_old",
		"ALTER TABLE swapped_old RENAME TO swapped_away;"
		"CREATE TABLE swapped_old (LIKE swapped)");
	archive_is_another("swapped", detail);
	assert_all_in("swapped", both);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM swapped_old"), 0);
	retry_to_the_end("swapped", both);
	assert_true(
		sql_true(shop.db, "SELECT count(*) >= 50 FROM swapped_away"));
}

/* While the job waits for those who write to the table. */
static void test_renamed_before_the_beginning(void **state)
{
	char detail[128], hint[128];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE early (id bigint PRIMARY KEY);"
		"INSERT INTO early SELECT generate_series(1, 99);"
		"CREATE TABLE early_old (LIKE early)");
	sql_exec(changer, "BEGIN; INSERT INTO early VALUES (100)");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (kind, name, target, archive_table,"
		" where_clause) VALUES ('delete', 'early', 'early',"
		" 'early_old', 'true')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '^waits for' FROM backfill.jobs"
		" WHERE name = 'early'");
	(void)snprintf(detail, sizeof detail,
		"It was dropped or renamed; its OID was %lld.",
		(long long)sql_int(
			shop.db, "SELECT 'early_old'::regclass::oid::bigint"));
	(void)snprintf(hint, sizeof hint,
		"backfill.retry(%lld) examines it anew.",
		(long long)job_id("early"));
	sql_exec(shop.app,
		"ALTER TABLE early_old RENAME TO early_away;"
		"CREATE TABLE early_old (LIKE early)");
	sql_exec(changer, "COMMIT");
	job_fails("early", "BF022",
		"archive table public.early_old is not the one that was"
		" examined",
		detail, hint);
	retry_to_the_end("early", "SELECT id FROM early_old");
}

/* As a session that comes back finds it. */
static void test_renamed_in_a_pause(void **state)
{
	static const char both[] = "SELECT id FROM rested_away UNION ALL"
				   " SELECT id FROM rested_old";
	char detail[128];

	(void)state;
	begin("rested");
	pause_it("rested");
	sql_exec(shop.app,
		"ALTER TABLE rested_old RENAME TO rested_away;"
		"CREATE TABLE rested_old (LIKE rested)");
	(void)snprintf(detail, sizeof detail,
		"It was dropped or renamed; its OID was %lld and is %lld.",
		(long long)sql_int(
			shop.db, "SELECT 'rested_away'::regclass::oid::bigint"),
		(long long)sql_int(
			shop.db, "SELECT 'rested_old'::regclass::oid::bigint"));
	sql_exec(shop.app, "SELECT backfill.resume('rested')");
	archive_is_another("rested", detail);
	assert_all_in("rested", both);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM rested_old"), 0);
	retry_to_the_end("rested", both);
}

static void test_dropped_before_a_batch(void **state)
{
	char detail[128];

	(void)state;
	begin("thrown");
	(void)snprintf(detail, sizeof detail,
		"It was dropped or renamed; its OID was %lld.",
		(long long)sql_int(
			shop.db, "SELECT 'thrown_old'::regclass::oid::bigint"));
	change_before_a_batch("thrown",
		"CREATE TABLE thrown_copy AS SELECT * FROM thrown_old;"
		"DROP TABLE thrown_old");
	archive_is_another("thrown", detail);
	assert_all_in("thrown", "SELECT id FROM thrown_copy");

	sql_exec(shop.app, "SELECT backfill.retry('thrown')");
	job_fails("thrown", "42P01",
		"archive table \"public.thrown_old\" does not exist", NULL,
		"Create it with the columns of public.thrown, then call"
		" backfill.retry(job); its search_path is public,"
		" pg_temp.");
	sql_exec(shop.app, "ALTER TABLE thrown_copy RENAME TO thrown_old");
	retry_to_the_end("thrown", "SELECT id FROM thrown_old");
}

/* ---- rows */

/* Written between the batch's snapshot and its locks: what goes is what was
 * deleted, and not what the snapshot saw. */
static void test_rows_written_meanwhile(void **state)
{
	(void)state;
	begin("written");
	sql_exec(changer,
		"UPDATE written SET n = id WHERE id IN (41, 44, 50, 51, 100)");
	gate_open();
	job_wait("written", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(id || ' ' || n, ', ' ORDER BY id)"
			" FROM written_old WHERE n <> 0"),
		"41 41, 44 44, 50 50, 51 51, 100 100");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM written_old"), 100);
}

/* Large enough that the preflight looks at the plan of a batch. */
static void test_many_rows(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE large (id bigint PRIMARY KEY, pad text);"
		"INSERT INTO large SELECT g, repeat(md5(g::text), 40)"
		" FROM generate_series(1, 10000) g;"
		"CREATE TABLE large_old (LIKE large INCLUDING ALL);"
		"ANALYZE large;"
		"INSERT INTO backfill.jobs (kind, name, target, archive_table,"
		" where_clause) VALUES ('delete', 'large', 'large',"
		" 'large_old', 'id %% 5 <> 0')");
	assert_true(sql_true(
		shop.db, "SELECT pg_relation_size('large') > 1000 * 8192"));
	job_wait("large", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', (SELECT count(*) FROM large),"
			" count(*), bool_and(pad = repeat(md5(id::text), 40)))"
			" FROM large_old"),
		"2000 8000 t");
}

/* ---- columns */

/* The job does not know the new column, so a row would lose it. */
static void test_column_added_to_the_table(void **state)
{
	char message[128], hint[128];

	(void)state;
	begin("grown");
	change_before_a_batch("grown",
		"ALTER TABLE grown ADD more integer DEFAULT 5;"
		"UPDATE grown SET more = id;"
		"ALTER TABLE grown_old ADD more integer");
	(void)snprintf(message, sizeof message,
		"columns were added to table public.grown while job %lld"
		" archived its rows",
		(long long)job_id("grown"));
	(void)snprintf(hint, sizeof hint,
		"backfill.retry(%lld) goes on when the archive has them, too.",
		(long long)job_id("grown"));
	job_fails("grown", "BF022", message, NULL, hint);
	assert_all_in("grown", "SELECT id FROM grown_old");
	retry_to_the_end("grown", "SELECT id FROM grown_old");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM grown_old WHERE CASE"
				 " WHEN id > 60 THEN more = id ELSE more IS"
				 " NULL END"),
		100);
}

static void test_column_of_the_archive_dropped(void **state)
{
	(void)state;
	begin("shrunk");
	change_within_a_batch(
		"shrunk", "shrunk_old", "ALTER TABLE shrunk_old DROP n");
	job_fails("shrunk", "42703",
		"column \"n\" of relation \"shrunk_old\" does not exist", NULL,
		NULL);
	assert_all_in("shrunk", "SELECT id FROM shrunk_old");
	sql_exec(shop.app, "ALTER TABLE shrunk_old ADD n integer");
	retry_to_the_end("shrunk", "SELECT id FROM shrunk_old");
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_renamed_within_a_batch),
		TEST(test_renamed_before_the_beginning),
		TEST(test_renamed_in_a_pause),
		TEST(test_dropped_before_a_batch),
		TEST(test_rows_written_meanwhile),
		TEST(test_many_rows),
		TEST(test_column_added_to_the_table),
		TEST(test_column_of_the_archive_dropped),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
