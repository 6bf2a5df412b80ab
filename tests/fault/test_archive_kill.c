/* test_archive_kill.c: kill -9 of the daemon at random moments of a job that
 * moves rows into an archive, while others hold some of them. At every instant
 * each row is in one of the two tables, and the checkpoint counts those that
 * went; each transaction deleted, archived and counted the same rows.
 *
 * BACKFILL_SEED chooses other moments, BACKFILL_KILLS another number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "effects.h"
#include "sql.h"

enum { WAIT_SECONDS = 30, ROWS = 6000, HOLDERS = 3 };

static const char yaml[] = "daemon: {lease: 1s, poll_interval: 100ms}\n"
			   "batch: {lock_timeout: 100ms}\n";

static struct cluster *cluster;
static PGconn *db, *app, *observer, *holders[HOLDERS];

static int number_from(const char *variable, int otherwise)
{
	const char *value = getenv(variable);

	return value != NULL && *value != '\0' ? atoi(value) : otherwise;
}

/* moves: what each transaction did to the rows, by triggers of the tables. */
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
	for (int i = 0; i < HOLDERS; i++) {
		holders[i] = cluster_connect(cluster, "t", "app");
	}
	sql_exec(db, "ALTER SYSTEM SET deadlock_timeout = '10s'");
	sql_exec(db, "SELECT pg_reload_conf()");
	effects_install(db);
	sql_exec(db,
		"CREATE TABLE moves (what text, id bigint, xid xid8);"
		"CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.moves VALUES (TG_OP,"
		"   CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END,"
		"   pg_catalog.pg_current_xact_id());"
		"  RETURN NULL; END $$");
	sql_exec(app,
		"CREATE TABLE speed (ms double precision);"
		"INSERT INTO speed VALUES (0.2);"
		"CREATE FUNCTION drag() RETURNS boolean LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  PERFORM pg_catalog.pg_sleep(ms / 1000) FROM public.speed"
		"   WHERE ms > 0;"
		"  RETURN true; END $$;"
		"CREATE TABLE live (id bigint PRIMARY KEY, pad text);"
		"INSERT INTO live SELECT g, md5(g::text)"
		" FROM generate_series(1, %d) g;"
		"CREATE TABLE dead (at timestamptz DEFAULT now(), pad text,"
		" id bigint);"
		"CREATE TRIGGER note AFTER DELETE ON live FOR EACH ROW"
		" EXECUTE FUNCTION note_move();"
		"CREATE TRIGGER note AFTER INSERT ON dead FOR EACH ROW"
		" EXECUTE FUNCTION note_move()",
		ROWS);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	for (int i = 0; i < HOLDERS; i++) {
		PQfinish(holders[i]);
	}
	PQfinish(observer);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

static int64_t job;

/* All in one snapshot: rows, different rows, right ones, those that went
 * beyond what is counted. */
static void assert_whole(void)
{
	const char *counts;
	char wanted[64];

	sql_exec(observer, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ");
	counts = sql_text(observer,
		"SELECT concat_ws(' ', count(*), count(DISTINCT id),"
		" count(*) FILTER (WHERE pad = md5(id::text)),"
		" count(*) FILTER (WHERE is_dead) - (SELECT"
		"  coalesce(sum(rows_done), 0) FROM backfill.ranges"
		"  WHERE job_id = %lld)) FROM (SELECT id, pad, false AS is_dead"
		"  FROM live UNION ALL SELECT id, pad, true FROM dead) u",
		(long long)job);
	sql_exec(observer, "COMMIT");
	(void)snprintf(wanted, sizeof wanted, "%d %d %d 0", ROWS, ROWS, ROWS);
	assert_string_equal(counts, wanted);
}

static int64_t column(const char *name)
{
	return sql_int(db,
		"SELECT coalesce(max(%s), 0) FROM backfill.ranges"
		" WHERE job_id = %lld",
		name, (long long)job);
}

/* Each of them holds other rows, here and there, some by the hundred, and
 * lets go of what it held before. */
static void hold_others(void)
{
	for (int i = 0; i < HOLDERS; i++) {
		int from = 1 + rand() % ROWS;

		sql_exec(holders[i],
			"ROLLBACK; BEGIN; SELECT FROM live WHERE id %% 97 = %d"
			" OR id BETWEEN %d AND %d FOR UPDATE SKIP LOCKED",
			rand() % 97, from, from + rand() % 200);
	}
}

static void let_go(void)
{
	for (int i = 0; i < HOLDERS; i++) {
		sql_exec(holders[i], "ROLLBACK");
	}
}

/* The new daemon has taken the job; then, mostly, it works for a while. */
static void wait_for_a_moment(int64_t old_epoch)
{
	int64_t seq;

	sql_wait(db, WAIT_SECONDS,
		"SELECT epoch > %lld FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)old_epoch, (long long)job);
	if (rand() % 4 != 0) {
		seq = column("seq") + 1 + rand() % 6;
		sql_wait(db, WAIT_SECONDS,
			"SELECT seq >= %lld FROM backfill.ranges"
			" WHERE job_id = %lld",
			(long long)seq, (long long)job);
		assert_whole();
	}
	/* For randomness, and not until something is so. */
	(void)usleep((useconds_t)(rand() % 40000));
}

static void assert_each_transaction_was_whole(void)
{
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM"
				 " (SELECT xid, count(*) AS n, sum(id) AS ids"
				 "  FROM moves WHERE what = 'DELETE'"
				 "  GROUP BY xid) d FULL JOIN"
				 " (SELECT xid, count(*) AS n, sum(id) AS ids"
				 "  FROM moves WHERE what = 'INSERT'"
				 "  GROUP BY xid) i USING (xid) FULL JOIN"
				 " (SELECT xid, sum(done - old_done) AS n"
				 "  FROM audit WHERE job = %lld GROUP BY xid"
				 "  HAVING sum(done - old_done) > 0) c"
				 " USING (xid) WHERE (d.n = i.n AND i.n = c.n"
				 " AND d.ids = i.ids) IS NOT TRUE",
				 (long long)job),
		0);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM (SELECT FROM moves"
				 " GROUP BY what, id HAVING count(*) > 1) m"),
		0);
}

static void test_kills(void **state)
{
	int kills = number_from("BACKFILL_KILLS", 20);
	struct daemon *d;

	(void)state;
	hold_others();
	job = sql_int(app,
		"INSERT INTO backfill.jobs (kind, name, target, archive_table,"
		" where_clause, batch_rows, max_batch_rows) VALUES ('delete',"
		" 'live', 'live', 'dead', 'drag()', 40, 40) RETURNING id");
	d = daemon_start(cluster, "t", yaml);
	for (int i = 0; i < kills; i++) {
		wait_for_a_moment(i == 0 ? 0 : column("epoch"));
		daemon_kill(d);
		assert_whole();
		hold_others();
		daemon_restart(d);
	}
	printf("%lld of %d rows at the last of %d kills\n",
		(long long)column("rows_done"), ROWS, kills);
	assert_true(column("rows_done") < ROWS);
	let_go();
	sql_exec(app, "UPDATE speed SET ms = 0");
	while (!sql_true(db,
		"SELECT state IN ('succeeded', 'failed') FROM"
		" backfill.jobs WHERE id = %lld",
		(long long)job)) {
		assert_whole();
	}
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', state,"
				    " error_message) FROM backfill.jobs"
				    " WHERE id = %lld",
				    (long long)job),
		"succeeded");
	assert_whole();
	assert_int_equal(sql_int(db, "SELECT count(*) FROM live"), 0);
	assert_each_transaction_was_whole();
	assert_true(sql_true(db,
		"SELECT count(*) >= %d FROM backfill.events WHERE job_id = %lld"
		" AND event = 'taken_over'",
		kills, (long long)job));
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kills),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
