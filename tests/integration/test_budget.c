/* test_budget.c: what several daemons of one database share: how many jobs
 * run, and the rate of WAL that the standbys allow; and what the server is
 * asked about standbys. As daemons would, in SQL. */
#include "queue_drive.h"

static long long other; /* another daemon */

static int start(void **state)
{
	int rc = queue_start(state);

	other = sql_int(ctl, "SELECT backfill.register('there', 2, '0', '1h')");
	return rc;
}

static int clean(void **state)
{
	sql_exec(db,
		"ROLLBACK; UPDATE backfill.daemons SET jobs = 0, lease_until ="
		" clock_timestamp() + '1h'; UPDATE backfill.budget SET"
		" wal_rate = NULL, version = 0, wal_spent = 0;"
		"DELETE FROM backfill.samples");
	return queue_clean(state);
}

/* ---- jobs */

static const char *claim_as(long long daemon, int workers)
{
	return sql_text(ctl,
		"SELECT coalesce((SELECT name FROM backfill.claim(%lld, %d)),"
		" 'none')",
		daemon, workers);
}

static void submit_three(void)
{
	static const char *const names[] = { "a", "b", "c" };

	for (size_t i = 0; i < 3; i++) {
		sql_exec(app,
			"INSERT INTO backfill.jobs (name, target, set_clause)"
			" VALUES ('%s', 'nosuch_%s', 'n = 1')",
			names[i], names[i]);
	}
}

static void test_workers_are_counted_over_all(void **state)
{
	(void)state;
	submit_three();
	assert_string_equal(claim_as(me, 2), "a");
	assert_string_equal(claim_as(other, 2), "b");
	assert_string_equal(claim_as(other, 2), "none");
	assert_string_equal(claim_as(me, 2), "none");
	assert_string_equal(
		sql_text(db,
			"SELECT state || ' ' || reason FROM backfill.jobs"
			" WHERE name = 'c'"),
		"queued waits: 2 jobs run already (workers: 2)");
	/* Who has more of them may. */
	assert_string_equal(claim_as(me, 3), "c");
}

/* Each of those that wait is told its own reason. */
static void test_reasons_of_all_that_wait(void **state)
{
	(void)state;
	submit_three();
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" hold) VALUES ('held', 'nosuch', 'n = 1', true)");
	assert_string_equal(claim_as(me, 1), "a");
	sql_exec(db,
		"UPDATE backfill.jobs SET reason = NULL"
		" WHERE state = 'queued'");
	assert_string_equal(claim_as(me, 1), "none");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(name || ' ' || reason, '; '"
			" ORDER BY id) FROM backfill.jobs"
			" WHERE state = 'queued'"),
		"b waits: 1 jobs run already (workers: 1); "
		"c waits: 1 jobs run already (workers: 1); "
		"held waits for approve(): it was submitted with hold");
}

/* What a dead daemon left counts for nothing, and is taken over. */
static void test_orphans_are_not_counted(void **state)
{
	(void)state;
	submit_three();
	assert_string_equal(claim_as(other, 1), "a");
	assert_string_equal(claim_as(me, 1), "none");
	sql_exec(db,
		"UPDATE backfill.daemons SET lease_until = clock_timestamp()"
		" WHERE incarnation = %lld",
		other);
	assert_string_equal(claim_as(me, 1), "a");
	assert_string_equal(claim_as(me, 1), "none");
}

/* Two at the same moment: neither sees what the other has not committed. */
static void test_claims_one_at_a_time(void **state)
{
	PGconn *second = cluster_connect(cluster, "t", "backfilld");

	(void)state;
	submit_three();
	sql_exec(ctl, "BEGIN");
	assert_string_equal(claim_as(me, 1), "a");
	sql_async(second,
		"CREATE TEMP TABLE got AS SELECT name FROM"
		" backfill.claim(%lld, 1)",
		other);
	sql_wait(db, 60,
		"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND"
		" locktype = 'relation' AND pid = %d)",
		PQbackendPID(second));
	sql_exec(ctl, "COMMIT");
	sql_async_wait(second);
	assert_int_equal(sql_int(second, "SELECT count(*) FROM got"), 0);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE state = 'running'"),
		1);
	PQfinish(second);
}

/* No other login has a lock that claims wait for; the rate can be told while
 * one of them waits. */
static void test_claims_wait_for_no_stranger(void **state)
{
	(void)state;
	submit_three();
	sql_exec(app,
		"BEGIN; SELECT pg_advisory_xact_lock('backfill.jobs'::regclass"
		"::oid::bigint::bit(32)::integer, 1)");
	sql_exec(ctl, "SET lock_timeout = '1s'");
	assert_string_equal(claim_as(me, 2), "a");
	sql_exec(app, "ROLLBACK");
	FAILS(app, "42501", "permission denied for table budget", "", "",
		"BEGIN; LOCK TABLE backfill.budget IN SHARE UPDATE EXCLUSIVE "
		"MODE");
	sql_exec(app, "ROLLBACK");
	sql_exec(db,
		"BEGIN; LOCK TABLE backfill.budget IN SHARE UPDATE EXCLUSIVE"
		" MODE");
	sql_exec(ctl, "SELECT backfill.share(%lld, 1, 0, NULL, -1)", me);
	sql_exec(ctl, "RESET lock_timeout");
}

/* ---- the rate */

/* rate, version, bytes spent by all, jobs of all */
static const char *share(
	long long daemon, int jobs, int spent, const char *rate, int version)
{
	return sql_text(ctl,
		"SELECT concat_ws(' ', coalesce(wal_rate::text, '-'), version,"
		" wal_spent, all_jobs) FROM backfill.share(%lld, %d, %d, %s,"
		" %d)",
		daemon, jobs, spent, rate, version);
}

static void test_rate_is_changed_by_who_saw_it(void **state)
{
	(void)state;
	assert_string_equal(share(me, 1, 0, "NULL", -1), "- 0 0 1");
	assert_string_equal(share(me, 1, 0, "1000000", 0), "1000000 1 0 1");
	/* The other has seen version 0: too late. */
	assert_string_equal(share(other, 1, 0, "5", 0), "1000000 1 0 2");
	assert_string_equal(share(other, 1, 0, "2000000", 1), "2000000 2 0 2");
	assert_string_equal(share(me, 1, 0, "3", 1), "2000000 2 0 2");
}

/* Two ask in turn. The first has no reason to change the rate, and does not
 * keep the second from it. */
static void test_rate_is_left_to_others(void **state)
{
	(void)state;
	(void)share(me, 1, 0, "1000000", 0);
	assert_string_equal(share(other, 1, 0, "NULL", -1), "1000000 1 0 2");
	assert_string_equal(share(me, 1, 0, "1000000", 1), "1000000 1 0 2");
	assert_string_equal(share(other, 1, 0, "1100000", 1), "1100000 2 0 2");
}

static void test_spending_adds_up(void **state)
{
	(void)state;
	assert_string_equal(share(me, 2, 700, "NULL", -1), "- 0 700 2");
	assert_string_equal(share(other, 3, 50, "NULL", -1), "- 0 750 5");
	/* The dead have no part in it. */
	sql_exec(db,
		"UPDATE backfill.daemons SET lease_until = clock_timestamp()"
		" WHERE incarnation = %lld",
		other);
	assert_string_equal(share(me, 2, 0, "NULL", -1), "- 0 750 2");
	assert_string_equal(share(me, 0, 0, "NULL", -1), "- 0 750 0");
	/* Who asks has a part, though its heartbeat is late. */
	sql_exec(db,
		"UPDATE backfill.daemons SET lease_until = clock_timestamp()");
	assert_string_equal(share(me, 2, 0, "NULL", -1), "- 0 750 2");
}

/* Since the change before, whoever asks in between. */
static void test_time_since_the_last_change(void **state)
{
	(void)state;
	sql_exec(db,
		"UPDATE backfill.budget SET set_at = clock_timestamp() - '7s'"
		"::interval");
	assert_true(sql_true(ctl,
		"SELECT for_ms BETWEEN 7000 AND 60000 FROM backfill.share(%lld,"
		" 1, 0, NULL, -1)",
		me));
	assert_true(sql_true(ctl,
		"SELECT for_ms BETWEEN 7000 AND 60000 FROM backfill.share(%lld,"
		" 1, 0, 5, 0)",
		me));
	assert_true(sql_true(ctl,
		"SELECT for_ms < 7000 FROM backfill.share(%lld, 1, 0, 5, 1)",
		me));
}

/* Each call writes WAL: by it a frozen standby is found out. */
static void test_asking_writes_wal(void **state)
{
	const char *before;

	(void)state;
	before = sql_text(ctl, "SELECT pg_current_wal_insert_lsn()");
	(void)share(me, 1, 0, "NULL", -1);
	assert_true(sql_true(
		ctl, "SELECT pg_current_wal_flush_lsn() > '%s'", before));
}

/* Nobody waits for long behind an open UPDATE of it. */
static void test_budget_is_locked(void **state)
{
	struct sql_failure failure;

	(void)state;
	sql_exec(db, "BEGIN; SELECT FROM backfill.budget FOR UPDATE");
	sql_exec(ctl, "SET statement_timeout = '60s'");
	sql_fails(ctl, &failure, "SELECT backfill.share(%lld, 1, 0, NULL, -1)",
		me);
	assert_string_equal(failure.sqlstate, "55P03");
	sql_exec(ctl, "RESET statement_timeout");
}

/* ---- standbys, of which there is none */

static void test_standbys_that_are_not_there(void **state)
{
	(void)state;
	assert_string_equal(
		sql_text(ctl,
			"SELECT string_agg(concat_ws(' ', name, connections,"
			" state, replay_lsn, replay_lag_ms, replied_at_us,"
			" kept_bytes), ', ') FROM"
			" backfill.standbys('{b,\"a c\"}')"),
		"b 0, a c 0");
	sql_exec(db,
		"SELECT pg_create_physical_replication_slot('b', true);"
		"SELECT pg_switch_wal()");
	assert_true(sql_true(ctl,
		"SELECT connections = 0 AND kept_bytes > 0"
		" FROM backfill.standbys('{b}')"));
	sql_exec(db, "SELECT pg_drop_replication_slot('b')");
}

/* ---- signals */

static const char *signals(PGconn *conn)
{
	return sql_text(conn,
		"SELECT coalesce(string_agg(concat_ws(' ', daemon_host, signal,"
		" target, coalesce(value::text, '-'), limit_value,"
		" resume_value, holding, detail), ', '), '')"
		" FROM backfill.signals");
}

static void tell(const char *values, const char *holding)
{
	sql_exec(ctl,
		"SELECT backfill.tell_samples(%lld, 'replication_lag',"
		" '{a,b}', '%s', 5, '%s', '{well,\"not connected\"}')",
		me, values, holding);
}

static void test_signals_show_the_last_sample(void **state)
{
	(void)state;
	tell("{0.5,NULL}", "{f,t}");
	assert_string_equal(signals(app),
		"test replication_lag a 0.5 5 2.5 f well, "
		"test replication_lag b - 5 2.5 t not connected");
	tell("{7,0}", "{t,f}");
	assert_string_equal(signals(app),
		"test replication_lag a 7 5 2.5 t well, "
		"test replication_lag b 0 5 2.5 f not connected");
	/* Old ones, and those of a dead daemon, tell nothing. */
	sql_exec(db,
		"UPDATE backfill.samples SET at = at - '61s'::interval"
		" WHERE target = 'a'");
	assert_string_equal(
		signals(app), "test replication_lag b 0 5 2.5 f not connected");
	sql_exec(db,
		"UPDATE backfill.daemons SET lease_until ="
		" clock_timestamp()");
	assert_string_equal(signals(app), "");
}

/* Told anew is all of it, and when. */
static void test_another_limit_is_shown(void **state)
{
	(void)state;
	tell("{1,1}", "{f,f}");
	sql_exec(db,
		"UPDATE backfill.samples SET limit_value = 1, resume_value = 1,"
		" at = at - '30s'::interval");
	tell("{1,1}", "{f,f}");
	assert_string_equal(signals(app),
		"test replication_lag a 1 5 2.5 f well, "
		"test replication_lag b 1 5 2.5 f not connected");
	assert_true(
		sql_true(app, "SELECT max(age) < '30s' FROM backfill.signals"));
}

static void test_settings_are_checked(void **state)
{
	(void)state;
	FAILS(app, "22023",
		"max_rows_per_second 0 is outside the valid range"
		" (1 .. 1000000000)",
		"", "",
		"INSERT INTO backfill.jobs (target, set_clause,"
		" max_rows_per_second) VALUES ('t', 'n = 1', 0)");
	job = submit("lag", "max_replication_lag", "'2s'");
	FAILS(app, "22023",
		"max_replication_lag 00:00:00.05 is outside the valid range"
		" (00:00:00.1 .. 01:00:00)",
		"", "",
		"UPDATE backfill.jobs SET max_replication_lag = '50ms'"
		" WHERE id = %lld",
		job);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		TEST(test_workers_are_counted_over_all),
		TEST(test_reasons_of_all_that_wait),
		TEST(test_orphans_are_not_counted),
		TEST(test_claims_one_at_a_time),
		TEST(test_claims_wait_for_no_stranger),
		TEST(test_rate_is_changed_by_who_saw_it),
		TEST(test_rate_is_left_to_others),
		TEST(test_spending_adds_up),
		TEST(test_time_since_the_last_change),
		TEST(test_asking_writes_wal),
		TEST(test_budget_is_locked),
		TEST(test_standbys_that_are_not_there),
		TEST(test_signals_show_the_last_sample),
		TEST(test_another_limit_is_shown),
		TEST(test_settings_are_checked),
	};

	return cmocka_run_group_tests(tests, start, queue_stop);
}
