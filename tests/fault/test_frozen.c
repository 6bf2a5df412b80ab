/* test_frozen.c: two daemons on one queue, of which one freezes, wakes, dies.
 * The other takes over when the lease has ended, not before; the woken one
 * does no harm; each row is changed exactly once. */
#include <signal.h>
#include <stdio.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 30 };

static struct cluster *cluster;
static PGconn *db, *app;
static int64_t job;

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	/* Whatever happens to a range is told, whoever did it. */
	sql_exec(db,
		"CREATE TABLE audit (id bigserial, job bigint, epoch bigint,"
		" owner bigint, seq bigint);"
		"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.audit (job, epoch, owner, seq)"
		"  VALUES (NEW.job_id, NEW.epoch, NEW.owner, NEW.seq);"
		"  RETURN NULL; END $$;"
		"CREATE TRIGGER audit AFTER UPDATE ON backfill.ranges"
		" FOR EACH ROW EXECUTE FUNCTION audit()");
	sql_exec(app,
		"CREATE TABLE speed (slow boolean);"
		"INSERT INTO speed VALUES (true);"
		"CREATE FUNCTION drag() RETURNS integer LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  IF (SELECT slow FROM public.speed) THEN"
		"   PERFORM pg_catalog.pg_sleep(0.001);"
		"  END IF;"
		"  RETURN 0; END $$");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* A job that takes its time. */
static void make_job(const char *name, int rows)
{
	sql_exec(app,
		"DROP TABLE IF EXISTS t;"
		"CREATE TABLE t (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO t SELECT generate_series(1, %d);"
		"UPDATE speed SET slow = true",
		rows);
	job = sql_int(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('%s', 't',"
		" 'n = n + 1 + drag()', 20, 20) RETURNING id",
		name);
}

/* Takeovers are counted: a machine that stalls must not end the lease of a
 * daemon that is well. */
static struct daemon *start_daemon(void)
{
	return daemon_start(cluster, "t",
		"daemon: {lease: 3s, poll_interval: 100ms}\nbatch: {}\n");
}

static void wait_batches(int more)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT seq >= %lld FROM backfill.ranges WHERE job_id = %lld",
		(long long)sql_int(db,
			"SELECT coalesce(max(seq), 0) FROM backfill.ranges"
			" WHERE job_id = %lld",
			(long long)job) +
			more,
		(long long)job);
}

static int64_t owner(void)
{
	return sql_int(db,
		"SELECT coalesce(max(owner), 0) FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job);
}

static pid_t owner_pid(void)
{
	return (pid_t)sql_int(db,
		"SELECT daemon_pid FROM backfill.progress WHERE id = %lld",
		(long long)job);
}

static void finish_fast(int rows)
{
	sql_exec(app, "UPDATE speed SET slow = false");
	sql_exec(app,
		"UPDATE backfill.jobs SET batch_rows = 1000, max_batch_rows ="
		" 1000 WHERE id = %lld",
		(long long)job);
	sql_wait(db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs"
		" WHERE id = %lld",
		(long long)job);
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', state,"
				    " error_message) FROM backfill.jobs"
				    " WHERE id = %lld",
				    (long long)job),
		"succeeded");
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM t WHERE n = 1"), rows);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM t"), rows);
	assert_int_equal(sql_int(db,
				 "SELECT rows_done FROM backfill.ranges"
				 " WHERE job_id = %lld",
				 (long long)job),
		rows);
}

/* Every change of owner: epoch + 1, and only away from one whose lease had
 * ended by the server's clock. */
static void assert_orderly_epochs(int takeovers)
{
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.events WHERE"
				 " job_id = %lld AND event = 'taken_over'",
				 (long long)job),
		takeovers);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM (SELECT owner, epoch,"
				 " lag(owner) OVER w AS old_owner,"
				 " lag(epoch) OVER w AS old_epoch FROM audit"
				 " WHERE job = %lld WINDOW w AS (ORDER BY id))"
				 " a WHERE epoch < old_epoch OR (owner <>"
				 " old_owner AND epoch <= old_epoch)",
				 (long long)job),
		0);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM (SELECT owner,"
				 " lag(owner) OVER w AS old_owner FROM audit"
				 " WHERE job = %lld WINDOW w AS (ORDER BY id))"
				 " a WHERE owner <> old_owner",
				 (long long)job),
		takeovers);
}

/* The owner freezes; the other waits for the end of the lease, takes the job
 * and works; the woken one leaves it alone. Again and again. */
static void test_frozen_daemon(void **state)
{
	enum { ROUNDS = 4, ROWS = 12000 };
	struct daemon *daemons[2];

	(void)state;
	make_job("frozen", ROWS);
	daemons[0] = start_daemon();
	daemons[1] = start_daemon();
	for (int round = 0; round < ROUNDS; round++) {
		int64_t loser;
		pid_t pid;
		char lease_until[64];

		wait_batches(3);
		loser = owner();
		pid = owner_pid();
		assert_int_equal(kill(pid, SIGSTOP), 0);
		sql_wait(db, WAIT_SECONDS,
			"SELECT owner <> %lld FROM backfill.ranges"
			" WHERE job_id = %lld",
			(long long)loser, (long long)job);
		(void)snprintf(lease_until, sizeof lease_until, "%s",
			sql_text(db,
				"SELECT lease_until FROM backfill.daemons"
				" WHERE incarnation = %lld",
				(long long)loser));
		assert_true(sql_true(db,
			"SELECT max(at) >= '%s' FROM backfill.events"
			" WHERE job_id = %lld AND event = 'taken_over'",
			lease_until, (long long)job));
		wait_batches(2);
		assert_int_equal(kill(pid, SIGCONT), 0);
		/* It is back when its heart beats. */
		sql_wait(db, WAIT_SECONDS,
			"SELECT lease_until > '%s' FROM backfill.daemons"
			" WHERE incarnation = %lld",
			lease_until, (long long)loser);
		wait_batches(10);
		assert_int_not_equal(owner(), loser);
	}
	finish_fast(ROWS);
	assert_orderly_epochs(ROUNDS);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(daemon_stop(daemons[i]), 0);
		daemon_free(daemons[i]);
	}
}

/* Frozen past the lease with nobody to take over: it goes on by itself. */
static void test_frozen_alone(void **state)
{
	enum { ROWS = 2000 };
	struct daemon *d;

	(void)state;
	make_job("alone", ROWS);
	d = start_daemon();
	wait_batches(3);
	assert_int_equal(kill(daemon_pid(d), SIGSTOP), 0);
	sql_wait(db, WAIT_SECONDS,
		"SELECT lease_until < clock_timestamp() FROM backfill.daemons"
		" WHERE incarnation = %lld",
		(long long)owner());
	assert_int_equal(kill(daemon_pid(d), SIGCONT), 0);
	wait_batches(5);
	finish_fast(ROWS);
	assert_orderly_epochs(0);
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

/* The same for one that will never wake. */
static void test_killed_owner_is_replaced(void **state)
{
	enum { ROWS = 3000 };
	struct daemon *daemons[2];
	int mine;

	(void)state;
	make_job("killed", ROWS);
	daemons[0] = start_daemon();
	daemons[1] = start_daemon();
	wait_batches(3);
	mine = daemon_pid(daemons[0]) == owner_pid() ? 0 : 1;
	daemon_kill(daemons[mine]);
	wait_batches(20);
	assert_int_equal(owner_pid(), daemon_pid(daemons[1 - mine]));
	finish_fast(ROWS);
	assert_orderly_epochs(1);
	assert_int_equal(daemon_stop(daemons[1 - mine]), 0);
	daemon_free(daemons[0]);
	daemon_free(daemons[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frozen_daemon),
		cmocka_unit_test(test_frozen_alone),
		cmocka_unit_test(test_killed_owner_is_replaced),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
