/* test_status_sql.c: what the screens show, as SQL has it: status(),
 * job_status() and the view metrics. */
#include "status_drive.h"

/* Keys of a megabyte in a few jobs would be too much for every screen. */
static void test_long_keys_are_cut(void **state)
{
	(void)state;
	run_for_an_hour();
	sql_exec(shop,
		"UPDATE backfill.ranges SET cursor = ARRAY[repeat('k', "
		"500000)],"
		" hi = ARRAY[repeat('k', 500000)]");
	ASSERT_TRUE(shop,
		"SELECT length(key) = 1000 AND length(last_key) = 1000"
		" FROM backfill.progress");
}

static void test_status_of_all(void **state)
{
	(void)state;
	run_for_an_hour();
	submit("waits");
	ASSERT_TRUE(shop,
		"SELECT s->>'database' = 'shop'"
		" AND s->'counts'->>'running' = '1'"
		" AND s->'counts'->>'queued' = '1'"
		" AND (s->'counts'->>'queued_oldest_seconds')::float >= 0"
		" AND s->'stop' = 'null' AND s->'daemons'->0->>'pid' = '4711'"
		" AND s->'daemons'->0->>'jobs' = '1'"
		" AND jsonb_array_length(s->'jobs') = 2"
		" AND s->'jobs'->0->>'name' = 'orders.amount_cents'"
		" AND (s->'jobs'->0->>'eta_seconds')::float = 2993"
		" AND s->'jobs'->0->>'batch_time_seconds' IS NULL"
		" AND (s->'jobs'->0->>'elapsed_seconds')::float > 3700"
		" AND s->'jobs'->0 ? 'is_schema_kind'"
		" AND NOT s->'jobs'->0 ? 'eta'"
		" AND s->'events'->0->>'event' = 'submitted'"
		" FROM backfill.status() s");
	/* Held jobs are not counted as running. */
	set_reason("'held: replay lag 9 s > 5 s'");
	ASSERT_TRUE(shop,
		"SELECT s->'counts'->>'running' = '0'"
		" AND s->'counts'->>'held' = '1'"
		" AND (s->'jobs'->0->>'eta_seconds')::float = 2993"
		" FROM backfill.status() s");
}

/* Anybody who may submit may queue thousands. */
static void test_many_jobs(void **state)
{
	(void)state;
	run_for_an_hour();
	sql_exec(shop,
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as)"
		" SELECT 'many' || n, 'users', 'a = 1', 'app'"
		" FROM generate_series(1, 1200) n");
	ASSERT_TRUE(shop,
		"SELECT jsonb_array_length(s->'jobs') = 500"
		" AND s->'jobs'->0->>'name' = 'orders.amount_cents'"
		" AND s->>'open_jobs_left_out' = '701'"
		" AND s->'counts'->>'queued' = '1200'"
		" FROM backfill.status() s");
	ASSERT_TRUE(shop,
		"SELECT count(DISTINCT labels->>'job_id') = 500"
		" FROM backfill.metrics WHERE name ="
		" 'backfilld_job_batches_total'");
	/* JIT would take seconds, at each scrape. */
	sql_exec(shop,
		"DO $$ DECLARE plan json; BEGIN"
		" EXECUTE 'EXPLAIN (FORMAT JSON) SELECT * FROM"
		" backfill.metrics' INTO plan;"
		" ASSERT plan::text NOT LIKE '%%JIT%%', plan; END $$");
	assert_int_equal(CTL("status", "--short"), 0);
	assert_has("\nand 701 more\n");
	/* The oldest is among those that are left out. */
	sql_exec(shop,
		"UPDATE backfill.jobs SET submitted_at = submitted_at"
		" - interval '2 h' WHERE name = 'many1200'");
	ASSERT_TRUE(shop,
		"SELECT (s->'counts'->>'queued_oldest_seconds')::float > 7000"
		" FROM backfill.status() s");
	assert_int_equal(CTL("status"), 0);
	assert_has(" queue 1200 (oldest 2h00m) ");
	assert_has("\n\nand 701 more\n");
	assert_int_equal(CTL("status", "--check"), 1);
	assert_has(" - the oldest of all is queued for 2h00m, and 701 are not"
		   " looked at | ");
	assert_has(" queued=1200 ");
	/* The one that is asked for is left out, and is not counted twice. */
	assert_int_equal(CTL("status", "many1200"), 0);
	assert_has(" queue 1200 (oldest 2h00m) ");
	/* Jobs that failed are more than can be shown. */
	sql_exec(shop,
		"UPDATE backfill.jobs SET state = 'failed', finished_at ="
		" now() WHERE name LIKE 'many%%'");
	assert_int_equal(CTL("status", "--check"), 2);
	assert_has(", 701 more failed");
	assert_has(" failed=1200 ");
	ASSERT_TRUE(shop,
		"SELECT s->'counts'->>'failed_24h' = '1200'"
		" FROM backfill.status() s");
}

static void test_status_of_one(void **state)
{
	PGconn *mon = cluster_connect(cluster, "shop", "mon");
	struct sql_failure failure;

	(void)state;
	submit("one");
	sql_exec(app, "UPDATE backfill.jobs SET priority = 7");
	ASSERT_TRUE(app,
		"SELECT s->'job'->>'name' = 'one'"
		" AND s->'settings'->>'priority' = '7'"
		" AND s->'settings' ? 'lock_timeout'"
		" AND s->'clauses' ? 'set_clause' AND NOT s->'clauses' ? 'name'"
		" AND s->'events'->0->>'event' = 'submitted'"
		" FROM backfill.job_status('one') s");
	/* Clauses may hold what pg_monitor must not read. */
	ASSERT_TRUE(mon,
		"SELECT s->'job'->>'name' = 'one' AND s->'clauses' = 'null'"
		" AND s->'settings' = 'null' AND s->'events' = '[]'"
		" FROM backfill.job_status('1') s");
	ASSERT_TRUE(mon,
		"SELECT s->'jobs'->0->>'name' = 'one' AND s->'events' = '[]'"
		" FROM backfill.status() s");
	sql_fails(mon, &failure, "SELECT backfill.job_status('two')");
	assert_string_equal(failure.sqlstate, "BF002");
	PQfinish(mon);
}

static void test_metrics(void **state)
{
	(void)state;
	run_for_an_hour();
	set_reason("'held: replay lag 9 s > 5 s'");
	age("30 s");
	ASSERT_TRUE(shop,
		"SELECT value = 1 FROM backfill.metrics"
		" WHERE name = 'backfilld_jobs' AND labels->>'state' ="
		" 'running'");
	ASSERT_TRUE(shop,
		"SELECT value = 64000001 AND type = 'counter'"
		" FROM backfill.metrics WHERE name = 'backfilld_job_rows_total'"
		" AND labels = '{\"job_id\": \"1\", \"outcome\": \"changed\","
		" \"name\": \"orders.amount_cents\"}'");
	ASSERT_TRUE(shop,
		"SELECT value BETWEEN 30 AND 60 FROM backfill.metrics"
		" WHERE name = 'backfilld_job_throttled_seconds_total'"
		" AND labels->>'reason' = 'lag'");
	ASSERT_TRUE(shop,
		"SELECT count(*) = 0 FROM backfill.metrics"
		" WHERE labels ?| '{job,instance}'");
	/* A lag that one daemon does not know is not that of another. */
	sql_exec(shop,
		"INSERT INTO backfill.samples (incarnation, signal, target, at,"
		" value, limit_value, holding) VALUES"
		" (1, 'replication_lag', 's', clock_timestamp(), 1, 5, false),"
		" (backfill.register('db2', 4712, 'x', '30 s'),"
		" 'replication_lag', 's', clock_timestamp(), NULL, 5, true)");
	ASSERT_TRUE(shop,
		"SELECT count(*) = 2 AND count(value) = 0 FROM backfill.metrics"
		" WHERE labels->>'replica' = 's' OR labels->>'target' = 's'");
	/* Of open jobs only. */
	sql_exec(app, "SELECT backfill.cancel(1)");
	ASSERT_TRUE(shop,
		"SELECT count(*) = 0 FROM backfill.metrics"
		" WHERE name LIKE 'backfilld_job\\_%%'");
}

/* A job that never commits its first batch is stalled, too. */
static void test_last_progress(void **state)
{
	static const char last[] =
		"SELECT count(*) = %d AND (count(*) = 0 OR"
		" max(value) = (SELECT extract(epoch FROM coalesce(saved_at,"
		" started_at)) FROM backfill.progress WHERE id = 1))"
		" FROM backfill.metrics WHERE name ="
		" 'backfilld_job_last_progress_timestamp_seconds'";

	(void)state;
	submit("young");
	ASSERT_TRUE(shop, last, 0);
	claim();
	ASSERT_TRUE(shop, last, 1);
	sql_exec(app, "SELECT backfill.cancel(1)");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" definition) VALUES ('step', 'add_column', 'users', 'b',"
		" 'text')");
	sql_exec(shop, "SELECT backfill.claim(1)");
	ASSERT_TRUE(shop,
		"SELECT state = 'running' FROM backfill.jobs WHERE id = 2");
	ASSERT_TRUE(shop, last, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, empty_queue)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_long_keys_are_cut),
		TEST(test_status_of_all),
		TEST(test_many_jobs),
		TEST(test_status_of_one),
		TEST(test_metrics),
		TEST(test_last_progress),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
