/* test_clocks_sql.c: the kind of what a job waits for, and the clocks that
 * count it, whoever comes and goes meanwhile. */
#include "status_drive.h"

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
		TEST(test_retries_are_counted),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
