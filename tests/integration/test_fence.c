/* test_fence.c: from the moment a range has a new owner, the old one can
 * commit nothing of it: the functions that say so, called as a runner and as
 * a daemon would. Daemons that freeze are in test_frozen.c. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 30 };

/* A lease of an hour: of these daemons only the row exists. */
#define REGISTER "SELECT backfill.register('test', 1, '0', '1h')"

static struct cluster *cluster;
static PGconn *db;  /* postgres */
static PGconn *ctl; /* backfilld, the control login */
static PGconn *app; /* the runner */

static int64_t me, job, epoch;

/* ---- a job without a daemon */

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	ctl = cluster_connect(cluster, "t", "backfilld");
	app = cluster_connect(cluster, "t", "app");
	sql_exec(ctl, "SET lock_timeout = '5s'");
	sql_exec(db, "CREATE ROLE other LOGIN; GRANT backfill_submit TO other");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(ctl);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

static void make_table(int rows)
{
	sql_exec(app,
		"DROP TABLE IF EXISTS t;"
		"CREATE TABLE t (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO t SELECT generate_series(1, %d)",
		rows);
}

static int64_t submit(const char *name, const char *set_clause)
{
	return sql_int(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('%s', 't', '%s', 20, 20)"
		" RETURNING id",
		name, set_clause);
}

static void attach(void)
{
	sql_exec(app,
		"SELECT backfill.attach(%lld, 1, %lld, (SELECT backend_start"
		" FROM pg_stat_get_activity(pg_backend_pid())))",
		(long long)job, (long long)epoch);
}

/* A table of 100 rows and a job that has begun, claimed by me and attached
 * by app. */
static int begin_job(void **state)
{
	static int number;
	char name[24];

	(void)state;
	make_table(100);
	(void)snprintf(name, sizeof name, "fence%d", ++number);
	job = submit(name, "n = n + 1");
	me = sql_int(ctl, REGISTER);
	epoch = sql_int(ctl,
		"SELECT epoch FROM backfill.claim(%lld) WHERE job_id = %lld",
		(long long)me, (long long)job);
	assert_int_equal(epoch, 1);
	attach();
	sql_exec(app,
		"SELECT backfill.begin_job(%lld, 1, 1, 't'::regclass,"
		" 't_pkey'::regclass, '{100}', 100, NULL, NULL, 'public.t')",
		(long long)job);
	return 0;
}

/* Nobody is left to claim what a test leaves behind. */
static int end_jobs(void **state)
{
	(void)state;
	PQreset(app);
	sql_exec(ctl, "SET lock_timeout = '5s'");
	sql_exec(db,
		"SELECT backfill.start_all();"
		"UPDATE backfill.jobs SET state = 'cancelled' WHERE state IN"
		" ('queued', 'running', 'paused');"
		"UPDATE backfill.daemons SET lease_until = '-infinity'");
	return 0;
}

static void begin_batch(PGconn *conn, int64_t with_epoch, int seq)
{
	sql_exec(conn, "BEGIN; SELECT backfill.begin_batch(%lld, 1, %lld, %d)",
		(long long)job, (long long)with_epoch, seq);
}

#define CHECKPOINT                                                             \
	"SELECT backfill.checkpoint(%lld, 1, %lld, %d, '{%d}', 10, 10, 10,"    \
	" 10, 0, 10, NULL, NULL)"

static void checkpoint(PGconn *conn, int seq, int up_to)
{
	sql_exec(
		conn, CHECKPOINT, (long long)job, (long long)epoch, seq, up_to);
}

static const char *expand(char *to, size_t size, const char *format)
{
	/* %J in a message is the job. */
	size_t used = 0;

	for (; *format != '\0' && used < size - 24; format++) {
		if (format[0] == '%' && format[1] == 'J') {
			used += (size_t)sprintf(
				to + used, "%lld", (long long)job);
			format++;
		} else {
			to[used++] = *format;
		}
	}
	to[used] = '\0';
	return to;
}

static void assert_failure(const struct sql_failure *f, const char *sqlstate,
	const char *message, const char *detail, const char *hint)
{
	char wanted[512];

	assert_string_equal(f->message, expand(wanted, sizeof wanted, message));
	assert_string_equal(f->sqlstate, sqlstate);
	assert_string_equal(f->detail, expand(wanted, sizeof wanted, detail));
	assert_string_equal(f->hint, hint);
}

/* Each function that a runner calls, with the arguments of the job. */
static const char *const calls[] = {
	"backfill.attach(%lld, 1, %lld, now())",
	"backfill.begin_job(%lld, 1, %lld, 1, 2, '{5}', 5, '', '', '')",
	"backfill.store_report(%lld, 1, %lld, '{}')",
	"backfill.adopt_key(%lld, 1, %lld, 1)",
	"backfill.begin_batch(%lld, 1, %lld, 0)",
	"backfill.skip_window(%lld, 1, %lld, 0, '{10}', 10)",
	"backfill.list_holes(%lld, 1, %lld, 0)",
	"backfill.set_aside(%lld, 1, %lld, 0, '{1}', 1, NULL, '', '', '')",
	"backfill.finish_range(%lld, 1, %lld, 0)",
};

static void call_fails(
	PGconn *conn, size_t i, int64_t with_epoch, struct sql_failure *failure)
{
	char call[256];

	(void)snprintf(call, sizeof call, "SELECT %s", calls[i]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	sql_fails(conn, failure, call, (long long)job, (long long)with_epoch);
#pragma GCC diagnostic pop
}

static void test_stale_epoch(void **state)
{
	const char *before;
	struct sql_failure f;

	(void)state;
	assert_int_equal(sql_int(ctl,
				 "SELECT backfill.take_range(%lld, %lld,"
				 " 1)",
				 (long long)me, (long long)job),
		2);
	PQreset(app); /* the take ended it */
	before = sql_text(db,
		"SELECT string_agg(r::text, ';') FROM"
		" backfill.ranges r");
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		call_fails(app, i, 1, &f);
		assert_failure(&f, "BF010",
			"range 1 of job %J has another owner",
			"Its epoch is 2, not 1.", "");
	}
	/* Those that change rows are told by the same UPDATE that counts. */
	sql_fails(app, &f, CHECKPOINT, (long long)job, 1LL, 0, 10);
	assert_failure(
		&f, "BF010", "range 1 of job %J has another owner", "", "");
	sql_fails(app, &f,
		"SELECT backfill.close_hole(%lld, 1, 1, 0, 1, 1, 1, 1, 0, 1)",
		(long long)job);
	assert_failure(
		&f, "BF010", "range 1 of job %J has another owner", "", "");
	assert_string_equal(before,
		sql_text(db,
			"SELECT string_agg(r::text, ';') FROM"
			" backfill.ranges r"));
}

static void test_other_role(void **state)
{
	PGconn *other = cluster_connect(cluster, "t", "other");
	struct sql_failure f;

	(void)state;
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		call_fails(other, i, epoch, &f);
		assert_failure(&f, "42501", "job %J does not run as \"other\"",
			"", "");
	}
	/* Nor does it see the job. */
	sql_fails(other, &f, "SELECT backfill.pause(%lld)", (long long)job);
	assert_failure(&f, "BF002", "job \"%J\" does not exist",
		"Or its run_as is a role that you may not become.", "");
	assert_int_equal(
		sql_int(other, "SELECT count(*) FROM backfill.ranges"), 0);
	PQfinish(other);
}

/* The same role on another connection, which did not attach. */
static void test_other_backend(void **state)
{
	PGconn *second = cluster_connect(cluster, "t", "app");
	struct sql_failure f;
	char detail[128];

	(void)state;
	(void)snprintf(detail, sizeof detail,
		"Its runner is backend %d, not %d.", PQbackendPID(app),
		PQbackendPID(second));
	sql_fails(second, &f, "SELECT backfill.begin_batch(%lld, 1, 1, 0)",
		(long long)job);
	assert_failure(
		&f, "BF010", "range 1 of job %J has another owner", detail, "");
	sql_fails(second, &f, CHECKPOINT, (long long)job, 1LL, 0, 10);
	assert_failure(
		&f, "BF010", "range 1 of job %J has another owner", "", "");
	/* Nor may it fix another bound. */
	sql_fails(second, &f,
		"SELECT backfill.begin_job(%lld, 1, 1, 't'::regclass,"
		" 't_pkey'::regclass, '{5}', 5, NULL, NULL, 'public.t')",
		(long long)job);
	assert_failure(
		&f, "BF010", "range 1 of job %J has another owner", detail, "");
	PQfinish(second);
}

static void test_replayed_batch(void **state)
{
	struct sql_failure f;

	(void)state;
	begin_batch(app, epoch, 0);
	checkpoint(app, 0, 10);
	sql_exec(app, "COMMIT");
	sql_fails(app, &f, "SELECT backfill.begin_batch(%lld, 1, 1, 0)",
		(long long)job);
	assert_failure(&f, "BF010", "range 1 of job %J has another owner",
		"Its sequence number is 1, not 0.", "");
	sql_fails(app, &f, CHECKPOINT, (long long)job, 1LL, 0, 20);
	assert_failure(
		&f, "BF010", "range 1 of job %J has another owner", "", "");
	/* One batch may not save twice either. */
	begin_batch(app, epoch, 1);
	checkpoint(app, 1, 20);
	sql_fails(app, &f, CHECKPOINT, (long long)job, 1LL, 1, 30);
	assert_string_equal(f.sqlstate, "BF010");
	sql_exec(app, "ROLLBACK");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', cursor, seq, rows_done)"
			" FROM backfill.ranges WHERE job_id = %lld",
			(long long)job),
		"{10} 1 10");
}

/* begin_batch looks for itself: no daemon and no notification has to tell
 * the runner. */
static void test_refuses_what_may_not_run(void **state)
{
	struct sql_failure f;

	(void)state;
	sql_exec(app, "SELECT backfill.pause(%lld, 'look first')",
		(long long)job);
	sql_fails(app, &f, "SELECT backfill.begin_batch(%lld, 1, 1, 0)",
		(long long)job);
	assert_failure(&f, "BF011", "job %J is paused",
		"paused by app: look first", "");
	sql_fails(app, &f,
		"SELECT backfill.skip_window(%lld, 1, 1, 0, '{9}', 9)",
		(long long)job);
	assert_failure(&f, "BF011", "job %J is paused",
		"paused by app: look first", "");

	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'running' WHERE id ="
		" %lld",
		(long long)job);
	sql_exec(db, "SELECT backfill.stop_all('disk is full')");
	sql_fails(app, &f, "SELECT backfill.begin_batch(%lld, 1, 1, 0)",
		(long long)job);
	assert_failure(&f, "BF011",
		"all work is stopped by postgres: disk is full", "",
		"backfill.start_all() lets it go on.");
	sql_exec(db, "SELECT backfill.start_all()");
	begin_batch(app, epoch, 0);
	sql_exec(app, "ROLLBACK");

	sql_exec(app, "SELECT backfill.cancel(%lld)", (long long)job);
	sql_fails(app, &f, "SELECT backfill.finish_range(%lld, 1, 1, 0)",
		(long long)job);
	assert_failure(
		&f, "BF011", "job %J is cancelled", "cancelled by app", "");
}

/* ---- taking */

static void start_uncommitted_batch(void)
{
	begin_batch(app, epoch, 0);
	sql_exec(app, "UPDATE t SET n = n + 1 WHERE id <= 10");
	checkpoint(app, 0, 10);
}

static void test_take_ends_batch_in_flight(void **state)
{
	struct sql_failure f;

	(void)state;
	start_uncommitted_batch();
	assert_int_equal(sql_int(ctl,
				 "SELECT backfill.take_range(%lld, %lld,"
				 " 1)",
				 (long long)me, (long long)job),
		2);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM t WHERE n <> 0"), 0);
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', coalesce(cursor::text, 'none'),"
			" seq, rows_done, epoch, owner = %lld,"
			" runner_pid IS NULL) FROM backfill.ranges"
			" WHERE job_id = %lld",
			(long long)me, (long long)job),
		"none 0 0 2 t t");
	sql_fails(app, &f, "COMMIT");
	assert_string_equal(f.sqlstate, "57P01");
}

/* A backend that does not hear that it is terminated: until its transaction
 * has ended, there is no new owner. */
static void test_take_waits_for_the_old_transaction(void **state)
{
	pid_t backend = PQbackendPID(app);
	struct sql_failure f;

	(void)state;
	start_uncommitted_batch();
	assert_int_equal(kill(backend, SIGSTOP), 0);
	sql_exec(ctl, "SET lock_timeout = '200ms'");
	sql_fails(ctl, &f, "SELECT backfill.take_range(%lld, %lld, 1)",
		(long long)me, (long long)job);
	assert_string_equal(f.sqlstate, "55P03");
	assert_int_equal(sql_int(db,
				 "SELECT epoch FROM backfill.ranges"
				 " WHERE job_id = %lld",
				 (long long)job),
		1);

	sql_exec(ctl, "SET lock_timeout = '20s'");
	sql_async(ctl, "SELECT backfill.take_range(%lld, %lld, 1)",
		(long long)me, (long long)job);
	sql_wait(db, WAIT_SECONDS, "SELECT %d = ANY (pg_blocking_pids(%d))",
		(int)backend, PQbackendPID(ctl));
	assert_int_equal(kill(backend, SIGCONT), 0);
	sql_async_wait(ctl);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM t WHERE n <> 0"), 0);
}

/* A daemon whose runner lost its connection takes its range again, unless
 * it is another's by now: that one's lease counts. */
static void test_retake_only_of_ones_own(void **state)
{
	int64_t winner = sql_int(ctl, REGISTER);
	struct sql_failure f;

	(void)state;
	assert_int_equal(sql_int(ctl,
				 "SELECT backfill.retake_range(%lld, %lld, 1,"
				 " 1)",
				 (long long)me, (long long)job),
		2);
	/* The reply was lost: the same answer, and no higher epoch. */
	assert_int_equal(sql_int(ctl,
				 "SELECT backfill.retake_range(%lld, %lld, 1,"
				 " 1)",
				 (long long)me, (long long)job),
		2);
	assert_int_equal(
		sql_int(ctl, "SELECT backfill.take_range(%lld, %lld, 1)",
			(long long)winner, (long long)job),
		3);
	PQreset(app);
	epoch = 3;
	attach();
	for (int with_epoch = 1; with_epoch <= 3; with_epoch++) {
		sql_fails(ctl, &f,
			"SELECT backfill.retake_range(%lld, %lld, 1, %d)",
			(long long)me, (long long)job, with_epoch);
		assert_failure(&f, "BF010", "job %J has another owner", "", "");
	}
	/* And the winner's runner still lives. */
	begin_batch(app, 3, 0);
	sql_exec(app, "ROLLBACK");
}

/* ---- holes */

static void close_hole(
	struct sql_failure *f, int eligible, int locked, int updated)
{
	sql_fails(app, f,
		"SELECT backfill.close_hole(%lld, 1, 1, 0, 1, %d, %d, %d, 0,"
		" 0)",
		(long long)job, eligible, locked, updated);
}

/* The row of a hole that others took in the moment between is a hole still;
 * one that was locked and is not updated is a fault. */
static void test_row_of_a_hole(void **state)
{
	struct sql_failure f;

	(void)state;
	close_hole(&f, 1, 0, 0);
	assert_failure(&f, "55P03",
		"a row of job %J was inserted anew and is held by others", "",
		"");
	close_hole(&f, 1, 1, 0);
	assert_failure(&f, "BF014",
		"a row of job %J was locked and still not updated", "",
		"Does a BEFORE trigger of the table return NULL, or a rule"
		" replace the UPDATE?");
	close_hole(&f, 1, 1, 2);
	assert_failure(&f, "BF012",
		"a batch of job %J updated 2 rows and had locked 1", "", "");
	sql_exec(db,
		"INSERT INTO backfill.holes (job_id, number, hi) VALUES"
		" (%lld, 1, '{7}')",
		(long long)job);
	sql_fails(app, &f, "SELECT backfill.finish_range(%lld, 1, 1, 0)",
		(long long)job);
	assert_failure(
		&f, "BF012", "range 1 of job %J still has holes", "", "");
}

/* ---- claims */

/* Daemons that are woken together claim together. Unclaimable jobs before
 * the others widen the moment between looking and locking. */
static void test_each_job_is_claimed_once(void **state)
{
	enum { DAEMONS = 6, JOBS = 60 };
	PGconn *conns[DAEMONS];
	int64_t ids[DAEMONS];

	(void)state;
	for (int i = 0; i < DAEMONS; i++) {
		conns[i] = cluster_connect(cluster, "t", "backfilld");
		ids[i] = sql_int(conns[i], REGISTER);
	}
	sql_exec(db,
		"ALTER TABLE backfill.jobs DISABLE TRIGGER USER;"
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as,"
		" search_path, timezone, datestyle, submitted_by,"
		" submitted_at, state)"
		" SELECT 'claim' || g, 't', 'n = 1', 'app', '', '', '', 'app',"
		" now(), CASE WHEN g <= 2000 THEN 'running' ELSE 'queued' END"
		" FROM generate_series(1, 2000 + %d) g;"
		"ALTER TABLE backfill.jobs ENABLE TRIGGER USER;"
		"INSERT INTO backfill.ranges (job_id, number, owner)"
		" SELECT id, 1, %lld FROM backfill.jobs WHERE state = 'running'"
		" AND name LIKE 'claim%%';"
		"ANALYZE backfill.jobs, backfill.ranges",
		JOBS, (long long)ids[0]);
	for (int round = 0; round < JOBS / DAEMONS + 2; round++) {
		for (int i = 0; i < DAEMONS; i++) {
			sql_async(conns[i], "SELECT backfill.claim(%lld)",
				(long long)ids[i]);
		}
		for (int i = 0; i < DAEMONS; i++) {
			sql_async_wait(conns[i]);
		}
	}
	/* A daemon may come away empty-handed and try again later. */
	while (sql_int(db,
		       "SELECT count(*) FROM backfill.jobs WHERE state ="
		       " 'queued'") > 0) {
		sql_exec(ctl, "SELECT backfill.claim(%lld)", (long long)ids[0]);
	}
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(format('%%s: epoch %%s', j.name,"
			" r.epoch), ', ') FROM backfill.jobs j JOIN"
			" backfill.ranges r ON r.job_id = j.id WHERE"
			" j.name ~ '^claim' AND r.epoch <> (substr(j.name, 6)"
			"::integer > 2000)::integer"),
		"(null)");
	sql_exec(db, "DELETE FROM backfill.jobs WHERE name ~ '^claim'");
	for (int i = 0; i < DAEMONS; i++) {
		PQfinish(conns[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_stale_epoch, begin_job, end_jobs),
		cmocka_unit_test_setup_teardown(
			test_other_role, begin_job, end_jobs),
		cmocka_unit_test_setup_teardown(
			test_other_backend, begin_job, end_jobs),
		cmocka_unit_test_setup_teardown(
			test_replayed_batch, begin_job, end_jobs),
		cmocka_unit_test_setup_teardown(
			test_refuses_what_may_not_run, begin_job, end_jobs),
		cmocka_unit_test_setup_teardown(
			test_take_ends_batch_in_flight, begin_job, end_jobs),
		cmocka_unit_test_setup_teardown(
			test_take_waits_for_the_old_transaction, begin_job,
			end_jobs),
		cmocka_unit_test_setup_teardown(
			test_retake_only_of_ones_own, begin_job, end_jobs),
		cmocka_unit_test_setup_teardown(
			test_row_of_a_hole, begin_job, end_jobs),
		cmocka_unit_test_teardown(
			test_each_job_is_claimed_once, end_jobs),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
