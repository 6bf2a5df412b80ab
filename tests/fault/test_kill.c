/* test_kill.c: kill -9 of the daemon at random moments of a job that is not
 * idempotent. Whatever it was doing, each row is changed exactly once, and at
 * every instant the checkpoint counts the rows that are changed.
 *
 * BACKFILL_SEED chooses other moments, BACKFILL_KILLS another number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 30, ROWS = 30000, HOLE_ROWS = 1500 };

static const char yaml[] = "daemon: {lease: 1s, poll_interval: 100ms}\n"
			   "batch: {lock_timeout: 100ms}\n";

static struct cluster *cluster;
static PGconn *db, *app, *observer;

static int number_from(const char *variable, int otherwise)
{
	const char *value = getenv(variable);

	return value != NULL && *value != '\0' ? atoi(value) : otherwise;
}

static int start(void **state)
{
	int seed = number_from("BACKFILL_SEED", 20240229);

	(void)state;
	printf("BACKFILL_SEED=%d\n", seed);
	srand((unsigned)seed);
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	observer = cluster_connect(cluster, "t", "postgres");
	sql_exec(app,
		"CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN NEW.touches := OLD.touches + 1; RETURN NEW;"
		" END $$;"
		"CREATE TABLE speed (ms double precision);"
		"INSERT INTO speed VALUES (0.2);"
		"CREATE FUNCTION drag() RETURNS integer LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  PERFORM pg_catalog.pg_sleep(ms / 1000) FROM public.speed"
		"   WHERE ms > 0;"
		"  RETURN 0; END $$");
	/* Each change of a range is told, with the epoch that it was made
	 * under. */
	sql_exec(db,
		"CREATE TABLE audit (id bigserial, job bigint, epoch bigint,"
		" seq bigint, rows_done bigint);"
		"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.audit (job, epoch, seq, rows_done)"
		"  VALUES (NEW.job_id, NEW.epoch, NEW.seq, NEW.rows_done);"
		"  RETURN NULL; END $$;"
		"CREATE TRIGGER audit AFTER UPDATE ON backfill.ranges"
		" FOR EACH ROW EXECUTE FUNCTION audit()");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(observer);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* ---- the job */

static int64_t job;
static const char *table;

static void make_job(const char *name, int rows, int batch_rows)
{
	table = name;
	sql_exec(app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, touches integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d);"
		"CREATE TRIGGER touch BEFORE UPDATE ON %s FOR EACH ROW"
		" EXECUTE FUNCTION touch()",
		name, name, rows, name);
	job = sql_int(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('%s', '%s',"
		" 'n = n + 1 + drag()', %d, %d) RETURNING id",
		name, name, batch_rows, batch_rows);
}

/* All in one snapshot. */
static void assert_checkpoint(void)
{
	const char *counts;
	long long done, touched, wrong;

	sql_exec(observer, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ");
	counts = sql_text(observer,
		"SELECT concat_ws(' ', (SELECT coalesce(sum(rows_done), 0)"
		" FROM backfill.ranges WHERE job_id = %lld),"
		" count(*) FILTER (WHERE touches = 1), count(*) FILTER"
		" (WHERE touches > 1 OR n <> touches)) FROM %s",
		(long long)job, table);
	sql_exec(observer, "COMMIT");
	assert_int_equal(
		sscanf(counts, "%lld %lld %lld", &done, &touched, &wrong), 3);
	assert_int_equal(done, touched);
	assert_int_equal(wrong, 0);
}

static int64_t column(const char *name)
{
	return sql_int(db,
		"SELECT coalesce(max(%s), 0) FROM backfill.ranges"
		" WHERE job_id = %lld",
		name, (long long)job);
}

static void assert_done_once(int rows)
{
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', state,"
				    " error_message) FROM backfill.jobs"
				    " WHERE id = %lld",
				    (long long)job),
		"succeeded");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM %s WHERE n = 1 AND"
				 " touches = 1",
				 table),
		rows);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM %s", table), rows);
	assert_int_equal(column("rows_done"), rows);
	assert_int_equal(column("rows_read"), rows);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.holes"), 0);
}

/* Epochs only grow, a sequence number is given once, counts never fall. */
static void assert_orderly_audit(int takeovers)
{
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM (SELECT *,"
				 " lag(epoch) OVER w AS old_epoch,"
				 " lag(seq) OVER w AS old_seq,"
				 " lag(rows_done) OVER w AS old_done"
				 " FROM audit WHERE job = %lld"
				 " WINDOW w AS (ORDER BY id)) a"
				 " WHERE epoch < old_epoch OR seq < old_seq OR"
				 " seq > old_seq + 1 OR rows_done < old_done"
				 " OR (rows_done > old_done AND seq ="
				 " old_seq)",
				 (long long)job),
		0);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.events WHERE"
				 " job_id = %lld AND event = 'taken_over'",
				 (long long)job),
		takeovers);
	assert_int_equal(column("epoch"), takeovers + 1);
}

/* ---- killing */

/* A moment, for randomness and not until something is so. */
static void pass_up_to(int most_ms)
{
	(void)usleep((useconds_t)(rand() % (most_ms * 1000)));
}

/* The new daemon has taken the job; then, mostly, it works for a while. The
 * others die between taking it and their first batch. */
static void wait_for_a_moment(int64_t old_epoch, int most_batches)
{
	int64_t seq;

	sql_wait(db, WAIT_SECONDS,
		"SELECT epoch > %lld FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)old_epoch, (long long)job);
	if (rand() % 4 == 0) {
		pass_up_to(30);
		return;
	}
	seq = column("seq") + 1 + rand() % most_batches;
	sql_wait(db, WAIT_SECONDS,
		"SELECT seq >= %lld FROM backfill.ranges WHERE job_id = %lld",
		(long long)seq, (long long)job);
	assert_checkpoint();
	pass_up_to(60);
}

static void kill_repeatedly(struct daemon *d, int kills, int most_batches)
{
	for (int i = 0; i < kills; i++) {
		int64_t epoch = i == 0 ? 0 : column("epoch");

		wait_for_a_moment(epoch, most_batches);
		daemon_kill(d);
		assert_checkpoint();
		assert_string_equal(
			sql_text(db,
				"SELECT state FROM backfill.jobs WHERE id ="
				" %lld",
				(long long)job),
			"running");
		daemon_restart(d);
		assert_checkpoint();
	}
	sql_wait(db, WAIT_SECONDS,
		"SELECT epoch = %d FROM backfill.ranges WHERE job_id = %lld",
		kills + 1, (long long)job);
}

static void finish_fast(void)
{
	sql_exec(app, "UPDATE speed SET ms = 0");
	sql_exec(app,
		"UPDATE backfill.jobs SET batch_rows = 2000, max_batch_rows ="
		" 2000 WHERE id = %lld",
		(long long)job);
	while (!sql_true(db,
		"SELECT state IN ('succeeded', 'failed') FROM"
		" backfill.jobs WHERE id = %lld",
		(long long)job)) {
		assert_checkpoint();
	}
}

static void test_kill_during_batches(void **state)
{
	int kills = number_from("BACKFILL_KILLS", 30);
	struct daemon *d;

	(void)state;
	make_job("walked", ROWS, 40);
	d = daemon_start(cluster, "t", yaml);
	kill_repeatedly(d, kills, 6);
	printf("%lld of %d rows at the last of %d kills\n",
		(long long)column("rows_done"), ROWS, kills);
	assert_true(column("rows_done") < ROWS);
	finish_fast();
	assert_done_once(ROWS);
	assert_orderly_audit(kills);
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

/* Rows that another held when the cursor passed, one by one and by the
 * window, and then not any more: the kills meet the holes being worked
 * off. */
static void test_kill_during_holes(void **state)
{
	int kills = number_from("BACKFILL_KILLS", 30) / 4;
	PGconn *holder = cluster_connect(cluster, "t", "app");
	struct daemon *d;

	(void)state;
	sql_exec(app, "UPDATE speed SET ms = 2");
	make_job("held", HOLE_ROWS, 300);
	sql_exec(holder,
		"BEGIN; SELECT FROM held WHERE id %% 10 = 0 OR"
		" id BETWEEN 301 AND 900 FOR UPDATE");
	d = daemon_start(cluster, "t", yaml);
	sql_wait(db, WAIT_SECONDS,
		"SELECT cursor = hi FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
	assert_checkpoint();
	sql_exec(holder, "ROLLBACK");
	kill_repeatedly(d, kills, 8);
	printf("%lld of %d rows at the last of %d kills\n",
		(long long)column("rows_done"), HOLE_ROWS, kills);
	assert_true(column("rows_done") < HOLE_ROWS);
	finish_fast();
	assert_done_once(HOLE_ROWS);
	assert_orderly_audit(kills);
	/* Of 300 rows each, or of fewer where a slow machine halved one. */
	assert_true(sql_true(db,
		"SELECT count(*) >= 2 FROM backfill.events WHERE"
		" job_id = %lld AND event = 'window_hole'",
		(long long)job));
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	PQfinish(holder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_during_batches),
		cmocka_unit_test(test_kill_during_holes),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
