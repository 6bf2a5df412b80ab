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

/* Its daemon was heard of last so long ago. */
static void lose_daemon(const char *interval)
{
	sql_exec(shop,
		"UPDATE backfill.daemons SET lease_until = clock_timestamp()"
		" - interval '%s'",
		interval);
}

static void take_over(void)
{
	sql_exec(shop,
		"DO $$ DECLARE me bigint; BEGIN"
		" me := backfill.register('db2', 4712, 'x', '30 s');"
		" PERFORM FROM backfill.claim(me); END $$");
}

/* The clock of a daemon that is gone, until another has the job. */
static void test_wait_for_a_daemon(void **state)
{
	static const char kept[] =
		"SELECT waits_for IS NOT DISTINCT FROM %s"
		" AND held_time BETWEEN '40s' AND '49s'"
		" AND work_time BETWEEN '10s' AND '20s'"
		" AND (waited->>'daemon')::int BETWEEN 40000 AND 49000"
		" FROM backfill.progress";

	(void)state;
	submit("gone");
	claim();
	lose_daemon("40 s");
	age("50 s");
	ASSERT_TRUE(shop, kept, "'daemon'");
	take_over();
	ASSERT_TRUE(shop, kept, "NULL");
	/* A person's pause ends that wait, too. */
	lose_daemon("70 s");
	age("100 s");
	sql_exec(app, "SELECT backfill.pause(1)");
	ASSERT_TRUE(shop,
		"SELECT held_time BETWEEN '110s' AND '119s'"
		" AND work_time BETWEEN '40s' AND '49s'"
		" FROM backfill.progress");
}

/* A daemon that was away and came back had its job all the time. */
static void test_daemon_that_comes_back(void **state)
{
	(void)state;
	submit("away");
	claim();
	set_reason("'held: replay lag 9 s > 5 s'");
	age("50 s");
	lose_daemon("40 s");
	ASSERT_TRUE(shop, "SELECT waits_for = 'daemon' FROM backfill.progress");
	sql_exec(shop, "SELECT backfill.renew(1)");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'lag' AND NOT waited ? 'daemon'"
		" AND (waited->>'lag')::int BETWEEN 50000 AND 59000"
		" FROM backfill.progress");
}

/* What it waited for itself before is neither lost nor work. */
static void test_waits_before_those_of_the_whole(void **state)
{
	static const char kept[] =
		"SELECT waits_for = '%s' AND held_time BETWEEN '50s' AND '59s'"
		" AND work_time < '5s'"
		" AND (waited->>'lag')::int BETWEEN %s"
		" FROM backfill.progress";

	(void)state;
	submit("held");
	claim();
	set_reason("'held: replay lag 9 s > 5 s'");
	age("50 s");
	ASSERT_TRUE(shop, kept, "lag", "50000 AND 59000");
	lose_daemon("20 s");
	ASSERT_TRUE(shop, kept, "daemon", "30000 AND 39000");
	sql_exec(shop, "SELECT backfill.stop_all('incident')");
	ASSERT_TRUE(shop, kept, "stopped", "30000 AND 39000");
}

/* A daemon died, and somebody stops all work: each has its own time. */
static void test_stop_after_a_daemon_is_gone(void **state)
{
	static const char kept[] =
		"SELECT work_time BETWEEN '10s' AND '19s'"
		" AND held_time BETWEEN '70s' AND '79s'"
		" AND (waited->>'daemon')::int BETWEEN 50000 AND 59000"
		" AND (waited->>'stopped')::int BETWEEN 20000 AND 29000"
		" FROM backfill.progress";

	(void)state;
	submit("both");
	claim();
	age("80 s");
	lose_daemon("70 s");
	sql_exec(shop, "SELECT backfill.stop_all('incident')");
	sql_exec(shop,
		"UPDATE backfill.stop SET stopped_at = stopped_at - interval"
		" '20 s'");
	ASSERT_TRUE(shop, kept);
	sql_exec(shop, "SELECT backfill.start_all()");
	ASSERT_TRUE(shop, kept);
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'daemon' AND now() - since < '10s'"
		" FROM backfill.progress");
}

/* A pause during a stop leaves the stop what it is. */
static void test_pause_during_a_stop(void **state)
{
	(void)state;
	submit("paused");
	claim();
	age("80 s");
	sql_exec(shop, "SELECT backfill.stop_all('incident')");
	sql_exec(shop,
		"UPDATE backfill.stop SET stopped_at = stopped_at - interval"
		" '20 s'");
	sql_exec(app, "SELECT backfill.pause(1)");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'paused' AND work_time BETWEEN '60s' AND"
		" '69s' AND held_time BETWEEN '20s' AND '29s'"
		" AND (waited->>'stopped')::int BETWEEN 20000 AND 29000"
		" FROM backfill.progress");
}

/* A row that somebody has locked does not keep all work stopped. */
static void test_time_of_a_stop(void **state)
{
	(void)state;
	submit("stopped");
	claim();
	set_reason("'held: replay lag 9 s > 5 s'");
	sql_exec(shop, "SELECT backfill.stop_all('incident')");
	age("50 s");
	sql_exec(shop,
		"UPDATE backfill.stop SET stopped_at = stopped_at - interval"
		" '30 s'");
	sql_exec(app, "BEGIN; UPDATE backfill.jobs SET priority = 1");
	sql_exec(shop, "SET lock_timeout = '100ms'");
	sql_exec(shop, "BEGIN; SELECT backfill.start_all()");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'lag' AND NOT waited ? 'stopped'"
		" AND (waited->>'lag')::int BETWEEN 50000 AND 59000"
		" FROM backfill.progress");
	sql_exec(shop, "ROLLBACK; RESET lock_timeout");
	sql_exec(app, "ROLLBACK");
	/* Counters tell of a stop when it is over. */
	ASSERT_TRUE(shop,
		"SELECT jsonb_object_agg(labels->>'reason', value > 0) ="
		" '{\"lag\": true, \"daemon\": false, \"stopped\": false}'"
		" FROM backfill.metrics"
		" WHERE name = 'backfilld_job_throttled_seconds_total'");
	sql_exec(shop, "SELECT backfill.start_all()");
	ASSERT_TRUE(shop,
		"SELECT waits_for = 'lag' AND now() - since < '10s'"
		" AND held_time BETWEEN '50s' AND '59s'"
		" AND (waited->>'lag')::int BETWEEN 20000 AND 29000"
		" AND (waited->>'stopped')::int BETWEEN 30000 AND 39000"
		" FROM backfill.progress");
	ASSERT_TRUE(shop,
		"SELECT value BETWEEN 30 AND 39 FROM backfill.metrics"
		" WHERE name = 'backfilld_job_throttled_seconds_total'"
		" AND labels->>'reason' = 'stopped'");
}

static void test_time_as_failed_is_no_work(void **state)
{
	(void)state;
	submit("fails");
	claim();
	sql_exec(shop,
		"SELECT backfill.fail_job(1, 1, 1, '23514', 'no', NULL, NULL)");
	age("10 h");
	sql_exec(shop,
		"UPDATE backfill.jobs SET finished_at = finished_at"
		" - interval '10 h'");
	ASSERT_TRUE(shop,
		"SELECT work_time < '10s' AND held_time = '0'"
		" FROM backfill.progress");
	sql_exec(app, "SELECT backfill.retry(1)");
	ASSERT_TRUE(shop,
		"SELECT work_time < '10s' AND held_time BETWEEN '10h' AND"
		" '10h 10s' AND (waited->>'failed')::int >= 36000000"
		" FROM backfill.progress");
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
		TEST(test_kinds_of_reasons),
		TEST(test_clocks_add_up),
		TEST(test_wait_for_a_daemon),
		TEST(test_daemon_that_comes_back),
		TEST(test_waits_before_those_of_the_whole),
		TEST(test_stop_after_a_daemon_is_gone),
		TEST(test_pause_during_a_stop),
		TEST(test_time_of_a_stop),
		TEST(test_time_as_failed_is_no_work),
		TEST(test_long_keys_are_cut),
		TEST(test_retries_are_counted),
		TEST(test_status_of_all),
		TEST(test_many_jobs),
		TEST(test_status_of_one),
		TEST(test_metrics),
		TEST(test_last_progress),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
