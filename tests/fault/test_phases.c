/* test_phases.c: the backend of a runner, or of the control connection, is
 * terminated in each phase of a job that something can hold up: attach,
 * preflight, begin, a batch, the drain of a hole, the end of the range, the
 * taking of the range anew, the end of the job. The same daemon goes on, and
 * each row is changed exactly once. test_lost.c has COMMIT, the pause between
 * batches and the random moments. */
#include <signal.h>
#include <stdio.h>

#include "cmocka_all.h"
#include "effects.h"
#include "shop.h"

enum { ROWS = 60, BATCH_ROWS = 10 };

static int64_t job;
static const char *table;
static PGconn *holder;

/* What is held up here is ended by the test, not by the daemon. */
static int start(void **state)
{
	(void)state;
	shop_start_yaml(SHOP_YAML "pace: {max_blocking_time: 1min}\n");
	shop_set_deadlock_timeout("5min");
	effects_install(shop.db);
	return 0;
}

static int stop(void **state)
{
	assert_true(daemon_alive(shop.daemon));
	return shop_stop(state);
}

static int connect_holder(void **state)
{
	(void)state;
	gate_open();
	holder = cluster_connect(shop.cluster, "shop", "postgres");
	return 0;
}

static int close_holder(void **state)
{
	(void)state;
	PQfinish(holder);
	return 0;
}

static void make_table(const char *name)
{
	table = name;
	effects_make_table(shop.app, name, ROWS);
}

static void submit(void)
{
	job = effects_submit(
		shop.app, table, table, BATCH_ROWS, "gate_pass(id)");
}

/* Somebody's backend waits for a lock in a statement that calls function.
 * Asks the catalog alone, which no lock of the tests' holds up. */
static void terminate_in(const char *application, const char *function)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_or(pg_terminate_backend(pid, 10000))"
		" FROM pg_stat_activity WHERE application_name = '%s'"
		" AND wait_event_type = 'Lock' AND query ~ '%s'",
		application, function);
}

static void terminate_runner_in(const char *function)
{
	char application[64];

	(void)snprintf(application, sizeof application, "backfilld %lld/1",
		(long long)job);
	terminate_in(application, function);
}

/* Which of its naps it is in is a matter of luck: between two of them it is
 * not seen there. */
static void terminate_at_gate(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_or(pg_terminate_backend(pid, 10000))"
		" FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
}

static void wait_for_holder(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT wait_event_type = 'Lock' FROM pg_stat_activity"
		" WHERE pid = %d",
		PQbackendPID(holder));
}

static int64_t epoch(void)
{
	return sql_int(shop.db,
		"SELECT epoch FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
}

/* The checkpoint is held against the rows before and after. */
static void finish(void)
{
	effects_check(shop.db, table, job);
	gate_open();
	job_wait(table, "succeeded");
	effects_check_done(shop.db, table, job, ROWS);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE job_id = %lld AND event IN ('started',"
				 " 'begun', 'taken_over', 'released',"
				 " 'succeeded')",
				 (long long)job),
		3);
}

/* ---- the runner */

static void test_attach(void **state)
{
	(void)state;
	gate_close(25);
	make_table("attach");
	submit();
	gate_wait(table);
	/* Behind the batch; the next who looks for the job is attach. */
	sql_async(holder, "BEGIN; LOCK TABLE backfill.jobs");
	wait_for_holder();
	terminate_at_gate();
	sql_async_wait(holder);
	for (int i = 0; i < 3; i++) {
		terminate_runner_in("backfill\\.attach");
	}
	sql_exec(holder, "ROLLBACK");
	gate_wait(table);
	assert_true(epoch() >= 5);
	finish();
}

static void test_preflight(void **state)
{
	(void)state;
	make_table("preflight");
	sql_exec(holder, "BEGIN; LOCK TABLE preflight");
	submit();
	/* Which of its statements is the first to need the table is its own
	 * business. */
	for (int i = 0; i < 3; i++) {
		terminate_runner_in(".");
	}
	sql_exec(holder, "ROLLBACK");
	finish();
}

/* The table holds it up until the job's row does. */
static void test_begin(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "postgres");

	(void)state;
	make_table("begin");
	sql_exec(other, "BEGIN; LOCK TABLE \"begin\"");
	submit();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_or(wait_event_type = 'Lock')"
		" FROM pg_stat_activity WHERE application_name ="
		" 'backfilld %lld/1'",
		(long long)job);
	sql_exec(holder,
		"BEGIN; SELECT FROM backfill.jobs WHERE id = %lld FOR UPDATE",
		(long long)job);
	sql_exec(other, "ROLLBACK");
	PQfinish(other);
	for (int i = 0; i < 3; i++) {
		terminate_runner_in("backfill\\.begin_job");
	}
	sql_exec(holder, "ROLLBACK");
	finish();
}

/* The same batch three times. */
static void test_batch(void **state)
{
	int64_t old;

	(void)state;
	gate_close(25);
	make_table("batch");
	submit();
	for (int i = 0; i < 3; i++) {
		gate_wait(table);
		old = epoch();
		terminate_at_gate();
		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT epoch > %lld FROM backfill.ranges"
			" WHERE job_id = %lld",
			(long long)old, (long long)job);
		effects_check(shop.db, table, job);
	}
	finish();
}

static void test_drain(void **state)
{
	(void)state;
	make_table("drain");
	sql_exec(holder,
		"BEGIN; SELECT FROM drain WHERE id IN (5, 6, 35) FOR UPDATE");
	submit();
	for (int i = 0; i < 3; i++) {
		terminate_runner_in("drain");
		effects_check(shop.db, table, job);
	}
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM backfill.holes"), 3);
	sql_exec(holder, "ROLLBACK");
	finish();
}

/* After the last batch the runner asks for holes. */
static void stand_at_end_of_range(void)
{
	gate_close(ROWS - 1);
	submit();
	gate_wait(table);
	sql_exec(holder, "BEGIN; LOCK TABLE backfill.holes");
	gate_open();
}

static void test_end_of_range(void **state)
{
	(void)state;
	make_table("ending");
	stand_at_end_of_range();
	terminate_runner_in("backfill\\.list_holes");
	sql_exec(holder, "ROLLBACK");
	finish();
}

/* ---- the control connection */

/* The runner has lost its connection; what takes the range anew is lost with
 * the control connection. */
static void test_take(void **state)
{
	int64_t old;

	(void)state;
	make_table("take");
	stand_at_end_of_range();
	old = epoch();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_or(query ~ 'backfill\\.list_holes')"
		" FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
	sql_async(holder,
		"SELECT FROM backfill.ranges WHERE job_id = %lld FOR UPDATE",
		(long long)job);
	wait_for_holder();
	terminate_runner_in("backfill\\.list_holes");
	sql_async_wait(holder);
	for (int i = 0; i < 3; i++) {
		terminate_in("backfilld", "backfill\\.retake_range");
	}
	sql_exec(holder, "ROLLBACK");
	finish();
	assert_int_equal(epoch(), old + 1);
}

static void test_end_of_job(void **state)
{
	(void)state;
	gate_close(ROWS - 1);
	make_table("finishing");
	submit();
	gate_wait(table);
	sql_exec(holder,
		"BEGIN; SELECT FROM backfill.jobs WHERE id = %lld FOR UPDATE",
		(long long)job);
	gate_open();
	for (int i = 0; i < 3; i++) {
		terminate_in("backfilld", "backfill\\.finish_job");
	}
	sql_exec(holder, "ROLLBACK");
	finish();
}

#define PHASE(test)                                                            \
	cmocka_unit_test_setup_teardown(test, connect_holder, close_holder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PHASE(test_attach),
		PHASE(test_preflight),
		PHASE(test_begin),
		PHASE(test_batch),
		PHASE(test_drain),
		PHASE(test_end_of_range),
		PHASE(test_take),
		PHASE(test_end_of_job),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
