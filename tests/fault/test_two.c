/* test_two.c: several daemons on one queue. One freezes, dies, stops; another
 * takes over, not before the lease has ended by the server's clock or the job
 * was given back; whoever wakes does no harm and is told so; each row is
 * changed exactly once. effects.h is the oracle. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "effects.h"
#include "shop.h"
#include "wait.h"

enum { ROWS = 60, BATCH_ROWS = 10, MOST_DAEMONS = 3 };

/* Takeovers are counted: a machine that stalls must not end the lease of a
 * daemon that is well. */
static const char QUICK[] = "daemon: {lease: 3s, poll_interval: 100ms}\n"
			    "batch: {lock_timeout: 100ms}\n";

/* Nobody dies. */
static const char HEALTHY[] = "daemon: {lease: 10min, poll_interval: 100ms}\n"
			      "batch: {lock_timeout: 100ms}\n";

/* Waiting for a lease or a poll would take longer than any test. */
static const char PATIENT[] = "daemon: {lease: 10min, poll_interval: 10min}\n"
			      "batch: {}\n";

static struct daemon *daemons[MOST_DAEMONS];

/* The gate, but not the daemon. */
static int start(void **state)
{
	(void)shop_start(state);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	effects_install(shop.db);
	shop_set_deadlock_timeout("5min");
	return 0;
}

/* What a test that failed left behind is not the next one's. */
static int clean_up(void **state)
{
	(void)state;
	for (int i = 0; i < MOST_DAEMONS; i++) {
		daemon_free(daemons[i]);
		daemons[i] = NULL;
	}
	sql_exec(shop.db,
		"SELECT backfill.cancel(id, 'the test has ended')"
		" FROM backfill.jobs WHERE state IN ('queued', 'running')");
	return 0;
}

/* ---- the job and its owner */

static int64_t job;
static const char *table;

static void make_job(const char *name)
{
	table = name;
	effects_make_table(shop.app, name, ROWS);
	job = effects_submit(shop.app, name, name, BATCH_ROWS, "gate_pass(id)");
}

static void check(void)
{
	effects_check(shop.db, table, job);
}

static void finish(void)
{
	gate_open();
	job_wait(table, "succeeded");
	effects_check_done(shop.db, table, job, ROWS);
}

static int64_t column(const char *name)
{
	return sql_int(shop.db,
		"SELECT %s FROM backfill.ranges WHERE job_id = %lld", name,
		(long long)job);
}

static int is_owner(const struct daemon *d)
{
	return sql_true(shop.db,
		"SELECT EXISTS (SELECT FROM backfill.ranges r"
		" JOIN backfill.daemons d ON d.incarnation = r.owner"
		" WHERE r.job_id = %lld AND d.pid = %d)",
		(long long)job, (int)daemon_pid(d));
}

static void wait_other_owner(int64_t than)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT owner <> %lld FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)than, (long long)job);
}

static int64_t count_events(const char *event)
{
	return sql_int(shop.db,
		"SELECT count(*) FROM backfill.events"
		" WHERE job_id = %lld AND event = '%s'",
		(long long)job, event);
}

/* Until the batch that was let through the gate is committed. */
static void wait_cursor(int id)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT cursor = '{%d}' FROM backfill.ranges"
		" WHERE job_id = %lld",
		id, (long long)job);
}

/* Two daemons; [0] is the one whose batch stands at the gate. */
static void start_two(const char *yaml)
{
	struct daemon *d;

	for (int i = 0; i < 2; i++) {
		daemons[i] = daemon_start(shop.cluster, "shop", yaml);
		daemon_wait_log(daemons[i], "-> serving", SHOP_WAIT_SECONDS);
	}
	gate_wait(table);
	wait_cursor(2 * BATCH_ROWS);
	if (!is_owner(daemons[0])) {
		d = daemons[0];
		daemons[0] = daemons[1];
		daemons[1] = d;
	}
	assert_true(is_owner(daemons[0]));
}

/* Some were killed before. */
static void stop_all(void)
{
	for (int i = 0; i < MOST_DAEMONS && daemons[i] != NULL; i++) {
		int code = daemon_stop(daemons[i]);

		assert_true(code == 0 || code == 128 + SIGKILL);
	}
}

/* All that the new owner did it did after the old one's lease, which nobody
 * renews. */
static void assert_taken_after_lease(int64_t loser)
{
	assert_int_equal(count_events("taken_over"), 1);
	assert_true(sql_true(shop.db,
		"SELECT min(a.at) >= min(d.lease_until) AND"
		" min(e.at) >= min(d.lease_until)"
		" FROM backfill.daemons d JOIN audit a"
		"  ON a.job = %lld AND a.owner <> d.incarnation"
		" JOIN backfill.events e"
		"  ON e.job_id = a.job AND e.event = 'taken_over'"
		" WHERE d.incarnation = %lld",
		(long long)job, (long long)loser));
}

/* ---- one freezes */

/* What the woken one is told stands in its log. */
static void wait_told(struct daemon *d)
{
	char line[128];

	(void)snprintf(line, sizeof line,
		"job %lld has another owner -> another daemon has it",
		(long long)job);
	daemon_wait_log(d, line, SHOP_WAIT_SECONDS);
	(void)snprintf(line, sizeof line, "%sBF010: ", job_in_log(job));
	assert_non_null(strstr(daemon_log(d), line));
}

static void wait_heartbeat(int64_t incarnation)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT lease_until > clock_timestamp()"
		" FROM backfill.daemons WHERE incarnation = %lld",
		(long long)incarnation);
}

/* The batch at the gate either ends with the backend that the other daemon
 * terminates, or is committed while the frozen one cannot see it. */
static void freeze(const char *name, int is_committed)
{
	int gate = 2 * BATCH_ROWS + BATCH_ROWS / 2;
	int64_t loser;

	gate_close(gate);
	make_job(name);
	start_two(QUICK);
	loser = column("owner");
	assert_int_equal(kill(daemon_pid(daemons[0]), SIGSTOP), 0);
	if (is_committed) {
		gate += BATCH_ROWS;
		gate_open_to(gate);
		wait_cursor(3 * BATCH_ROWS);
	}
	check();
	wait_other_owner(loser);
	assert_taken_after_lease(loser);
	gate_wait(name);
	check();

	assert_int_equal(kill(daemon_pid(daemons[0]), SIGCONT), 0);
	wait_told(daemons[0]);
	wait_heartbeat(loser);
	check();
	assert_true(is_owner(daemons[1]));
	gate_open_to(gate + BATCH_ROWS);
	wait_cursor((gate / BATCH_ROWS + 1) * BATCH_ROWS);
	check();
	finish();
	assert_int_equal(count_events("taken_over"), 1);
	assert_int_equal(column("epoch"), 2);
	stop_all();
}

static void test_frozen_in_a_batch(void **state)
{
	(void)state;
	freeze("in_batch", 0);
}

static void test_frozen_between_batches(void **state)
{
	(void)state;
	freeze("between", 1);
}

/* ---- one dies */

/* Its batch goes on without it, and is committed. */
static void test_killed_in_a_batch(void **state)
{
	int64_t loser;

	(void)state;
	gate_close(25);
	make_job("killed");
	start_two(QUICK);
	loser = column("owner");
	daemon_kill(daemons[0]);
	gate_open_to(35);
	wait_cursor(30);
	check();
	wait_other_owner(loser);
	assert_taken_after_lease(loser);
	gate_wait("killed");
	assert_true(is_owner(daemons[1]));
	check();
	finish();
	stop_all();
}

/* It dies, and the server cannot end its batch: nobody may have the range
 * until that is over, whatever the clock says. */
static void test_backend_that_does_not_end(void **state)
{
	int64_t loser;
	pid_t backend;

	(void)state;
	gate_close(25);
	make_job("stuck");
	start_two(QUICK);
	loser = column("owner");
	backend = (pid_t)column("runner_pid");
	assert_int_equal(kill(backend, SIGSTOP), 0);
	daemon_kill(daemons[0]);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason = 'waits: a transaction holds its checkpoint'"
		" FROM backfill.jobs WHERE id = %lld",
		(long long)job);
	assert_int_equal(count_events("taken_over"), 0);
	assert_int_equal(column("runner_pid"), backend);
	check();
	assert_int_equal(kill(backend, SIGCONT), 0);
	wait_other_owner(loser);
	gate_wait("stuck");
	assert_true(is_owner(daemons[1]));
	check();
	finish();
	assert_int_equal(count_events("taken_over"), 1);
	stop_all();
}

/* ---- one stops */

/* The batch in flight ends, the job is given back, and the other has it at
 * once: no lease ends here, and nobody polls. */
static void test_handed_over_at_stop(void **state)
{

	(void)state;
	gate_close(25);
	make_job("handed");
	start_two(PATIENT);
	assert_int_equal(kill(daemon_pid(daemons[0]), SIGTERM), 0);
	daemon_wait_log(daemons[0], "-> finish the batches in flight, then end",
		SHOP_WAIT_SECONDS);
	gate_open_to(35);
	wait_cursor(30);
	/* Not daemon_stop() before: a second signal ends it at once. */
	daemon_wait_log(daemons[0], " info: end\n", SHOP_WAIT_SECONDS);
	gate_wait("handed");
	assert_true(is_owner(daemons[1]));
	check();
	finish();
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(event, ',' ORDER BY id)"
			" FROM backfill.events WHERE job_id = %lld AND event"
			" IN ('started', 'released', 'taken_over',"
			" 'succeeded')",
			(long long)job),
		"started,released,started,succeeded");
	assert_string_equal(sql_text(shop.db,
				    "SELECT detail FROM backfill.events WHERE"
				    " job_id = %lld AND event = 'released'",
				    (long long)job),
		"the daemon stops");
	assert_int_equal(column("batches"), ROWS / BATCH_ROWS);
	stop_all();
}

/* ---- many jobs */

enum { WORKERS = 2, JOBS = 40 };

static void wait_succeeded(const char *names)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state = 'succeeded') FROM backfill.jobs"
		" WHERE name ~ '^%s_'",
		names);
}

static void submit_many(int64_t jobs[JOBS])
{
	char name[32];

	for (int i = 0; i < JOBS; i++) {
		(void)snprintf(name, sizeof name, "many_%d", i);
		effects_make_table(shop.app, name, ROWS);
		jobs[i] = effects_submit(
			shop.app, name, name, BATCH_ROWS, "gate_pass(id)");
	}
}

/* Behind the gate all daemons together have as many as one may, and the
 * others say so. */
static void assert_shared_out(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) = %d AND count(DISTINCT r.job_id) = %d"
		" FROM backfill.ranges r"
		" JOIN pg_stat_activity a ON a.pid = r.runner_pid"
		" WHERE a.wait_event = 'PgSleep'",
		WORKERS, WORKERS);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) = %d FROM backfill.jobs WHERE state ="
		" 'queued' AND reason = 'waits: %d jobs run already (workers:"
		" %d)'",
		JOBS - WORKERS, WORKERS, WORKERS);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE state = 'running'"),
		WORKERS);
}

/* At no moment did more of them run than one daemon may have. */
static void assert_never_more(void)
{
	assert_int_equal(
		sql_int(shop.db,
			"SELECT max(n) FROM (SELECT sum(change) OVER ("
			"ORDER BY at, change) AS n FROM (SELECT started_at, 1"
			" FROM backfill.jobs WHERE name ~ '^many_' UNION ALL"
			" SELECT finished_at, -1 FROM backfill.jobs"
			" WHERE name ~ '^many_') c(at, change)) s"),
		WORKERS);
}

static void test_queue_is_shared(void **state)
{
	int64_t jobs[JOBS];
	char name[32];

	(void)state;
	gate_close(5);
	for (int i = 0; i < MOST_DAEMONS; i++) {
		daemons[i] = daemon_start(shop.cluster, "shop", HEALTHY);
	}
	submit_many(jobs);
	assert_shared_out();
	gate_open();
	wait_succeeded("many");
	assert_never_more();
	for (int i = 0; i < JOBS; i++) {
		(void)snprintf(name, sizeof name, "many_%d", i);
		effects_check_done(shop.db, name, jobs[i], ROWS);
	}
	/* Each was one daemon's from first to last. */
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.ranges r"
				 " WHERE job_id >= %lld AND (epoch <> 1 OR"
				 " 1 <> (SELECT count(*) FROM backfill.events e"
				 " WHERE e.job_id = r.job_id AND e.event IN"
				 " ('started', 'taken_over', 'released')))",
				 (long long)jobs[0]),
		0);
	stop_all();
}

/* All of them want the same table: one after the other. */
static void test_table_is_not_shared(void **state)
{
	enum { SAME = 6 };

	(void)state;
	gate_close(5);
	effects_make_table(shop.app, "same", ROWS);
	for (int i = 0; i < 2; i++) {
		daemons[i] = daemon_start(shop.cluster, "shop", HEALTHY);
		daemon_wait_log(daemons[i], "-> serving", SHOP_WAIT_SECONDS);
	}
	for (int i = 0; i < SAME; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "same_%d", i);
		(void)effects_submit(
			shop.app, name, "same", BATCH_ROWS, "gate_pass(id)");
	}
	gate_wait("same_0");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE state = 'running'"),
		1);
	gate_open();
	wait_succeeded("same");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM same WHERE n = %d",
			SAME),
		ROWS);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.jobs a"
				 " JOIN backfill.jobs b ON b.target = a.target"
				 " AND a.id < b.id AND tstzrange(a.started_at,"
				 " a.finished_at) && tstzrange(b.started_at,"
				 " b.finished_at) WHERE a.name ~ '^same_'"),
		0);
	stop_all();
}

#define TEST(test) cmocka_unit_test_teardown(test, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_frozen_in_a_batch),
		TEST(test_frozen_between_batches),
		TEST(test_killed_in_a_batch),
		TEST(test_backend_that_does_not_end),
		TEST(test_handed_over_at_stop),
		TEST(test_queue_is_shared),
		TEST(test_table_is_not_shared),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
