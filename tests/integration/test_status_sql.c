/* test_status_sql.c: what the screens show, as SQL has it: the kind of what
 * a job waits for and the clocks that count it, status(), job_status() and
 * the view metrics. */
#include "ctl_drive.h"

#define ASSERT_TRUE(db, ...) assert_true(sql_true(db, __VA_ARGS__))

static void set_reason(const char *reason)
{
	sql_exec(shop, "SELECT backfill.set_reason(1, 1, 1, %s)", reason);
}

/* Makes what is so now look as if it had been so for longer. */
static void age(const char *interval)
{
	sql_exec(shop,
		"UPDATE backfill.jobs SET since = since - interval '%s',"
		" started_at = started_at - interval '%s'",
		interval, interval);
}

/* As rules/ and engine/ word them. */
static void test_kinds_of_reasons(void **state)
{
	static const struct {
		const char *reason, *kind;
	} cases[] = {
		{ "held: replay lag 9.4 s > 5 s on standby \"a\" -> goes on"
		  " below 2.5 s",
			"lag" },
		{ "held: replay lag is unknown: not measured yet", "lag" },
		{ "held: the daemon's lease was not renewed for 7.0 s",
			"lease" },
		{ "paced: the next batch in 7 s (max_rows_per_second 10)",
			"paced" },
		{ "waits for transactions that write the table: pid 7",
			"writers" },
		{ "waits for a lock: pid 7 (app)", "locks" },
		{ "held up by pid 7 -> again in 200 ms", "locks" },
		{ "waits for 2 rows held by others: key 7 (n) for 3 s",
			"locks" },
		{ "pid 7 waits for 1.2 s -> cancelled, again in 7 ms",
			"blocking" },
		{ "pid 7 waits for 1.2 s -> cancelled, again with 10 rows",
			"blocking" },
		{ "40001: could not serialize -> again in 200 ms", "retry" },
		{ "server closed the connection -> again in 200 ms", "retry" },
		{ "anything else", "other" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *const values[] = { cases[i].reason };
		PGresult *r = PQexecParams(shop,
			"SELECT backfill.waits_for('running', $1),"
			" backfill.waits_for('failed', $1) IS NULL",
			1, NULL, values, NULL, NULL, 0);

		assert_string_equal(PQgetvalue(r, 0, 0), cases[i].kind);
		assert_string_equal(PQgetvalue(r, 0, 1), "t");
		PQclear(r);
	}
	ASSERT_TRUE(shop, "SELECT backfill.waits_for('running', NULL) IS NULL");
	ASSERT_TRUE(shop, "SELECT backfill.waits_for('queued', 'x') = 'queue'");
	ASSERT_TRUE(
		shop, "SELECT backfill.waits_for('paused', 'x') = 'paused'");
}

static void test_clocks_add_up(void **state)
{
	(void)state;
	submit("clocks");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'queue' AND waited = '{}'"
		" AND work_time IS NULL FROM backfill.progress");
	claim();
	ASSERT_TRUE(shop,
		"SELECT waits_for IS NULL AND waited = '{}'"
		" FROM backfill.progress");
	age("60 s");
	set_reason("'held: replay lag 9 s > 5 s'");
	age("30 s");
	/* Other numbers are not another hold. */
	set_reason("'held: replay lag 8 s > 5 s'");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'lag' AND clock_timestamp() - since >= "
		"'30s'"
		" AND held_time BETWEEN '30s' AND '50s'"
		" AND work_time BETWEEN '60s' AND '80s'"
		" AND (waited->>'lag')::int BETWEEN 30000 AND 50000"
		" FROM backfill.progress");
	set_reason("NULL");
	ASSERT_TRUE(shop,
		"SELECT waits_for IS NULL AND held_time BETWEEN '30s' AND '50s'"
		" FROM backfill.progress");
	sql_exec(app, "SELECT backfill.pause(1, 'month end')");
	age("100 s");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'paused' AND paused_time BETWEEN '100s'"
		" AND '120s' AND held_time BETWEEN '30s' AND '50s'"
		" FROM backfill.progress");
	sql_exec(app, "SELECT backfill.cancel(1)");
	ASSERT_TRUE(shop,
		"SELECT waits_for IS NULL AND paused_time BETWEEN '100s' AND"
		" '120s' AND abs(extract(epoch FROM finished_at - started_at -"
		" work_time - held_time - paused_time)) < 0.01"
		" FROM backfill.progress");
}

/* The clock of a daemon that is gone, and of stop_all(). */
static void test_waits_of_the_whole(void **state)
{
	(void)state;
	submit("gone");
	claim();
	sql_exec(shop,
		"UPDATE backfill.daemons SET lease_until = clock_timestamp()"
		" - interval '40 s'");
	age("50 s");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'daemon' AND held_time BETWEEN '40s' AND"
		" '49s' FROM backfill.progress");
	sql_exec(shop, "SELECT backfill.stop_all('incident')");
	ASSERT_TRUE(
		shop, "SELECT waits_for = 'stopped' FROM backfill.progress");
}

/* What it waited for itself before is neither lost nor work. */
static void test_waits_before_those_of_the_whole(void **state)
{
	static const char kept[] =
		"SELECT waits_for = '%s' AND held_time BETWEEN '50s' AND '70s'"
		" AND work_time < '5s'"
		" AND (waited->>'lag')::int BETWEEN %s"
		" FROM backfill.progress";

	(void)state;
	submit("held");
	claim();
	set_reason("'held: replay lag 9 s > 5 s'");
	age("50 s");
	ASSERT_TRUE(shop, kept, "lag", "50000 AND 70000");
	sql_exec(shop, "SELECT backfill.stop_all('incident')");
	ASSERT_TRUE(shop, kept, "stopped", "50000 AND 70000");
	sql_exec(shop, "SELECT backfill.start_all()");
	sql_exec(shop,
		"UPDATE backfill.daemons SET lease_until = clock_timestamp()"
		" - interval '20 s'");
	ASSERT_TRUE(shop, kept, "daemon", "30000 AND 50000");
}

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

static void test_retries_are_counted(void **state)
{
	(void)state;
	submit("retries");
	claim();
	set_reason("'40001: could not serialize -> again in 200 ms'");
	set_reason("'40001: could not serialize -> again in 400 ms'");
	set_reason("NULL");
	set_reason("'held: replay lag 9 s > 5 s'");
	ASSERT_TRUE(shop,
		"SELECT retries = 2 AND retry_sqlstate = '40001'"
		" AND retried_at IS NOT NULL FROM backfill.progress");
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
	/* Of open jobs only. */
	sql_exec(app, "SELECT backfill.cancel(1)");
	ASSERT_TRUE(shop,
		"SELECT count(*) = 0 FROM backfill.metrics"
		" WHERE name LIKE 'backfilld_job\\_%%'");
}

#define TEST(name) cmocka_unit_test_setup(name, empty_queue)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kinds_of_reasons),
		TEST(test_clocks_add_up),
		TEST(test_waits_of_the_whole),
		TEST(test_waits_before_those_of_the_whole),
		TEST(test_long_keys_are_cut),
		TEST(test_retries_are_counted),
		TEST(test_status_of_all),
		TEST(test_many_jobs),
		TEST(test_status_of_one),
		TEST(test_metrics),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
