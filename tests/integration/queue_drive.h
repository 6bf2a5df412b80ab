/* queue_drive.h: the functions of the schema, called as a daemon and a
 * runner would: for the tests that need no daemon. Each test has tables and
 * jobs of its own and leaves none behind. */
#ifndef BACKFILL_TESTS_QUEUE_DRIVE_H
#define BACKFILL_TESTS_QUEUE_DRIVE_H

#include <stdio.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db;  /* postgres */
static PGconn *ctl; /* backfilld, the control login */
static PGconn *app; /* who submits, and the runner */

static long long me, job;
static char notice[256];

static inline void keep_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)snprintf(notice, sizeof notice, "%s",
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

static inline void queue_connect(void)
{
	db = cluster_connect(cluster, "t", "postgres");
	ctl = cluster_connect(cluster, "t", "backfilld");
	app = cluster_connect(cluster, "t", "app");
	(void)PQsetNoticeReceiver(app, keep_notice, NULL);
	(void)PQsetNoticeReceiver(db, keep_notice, NULL);
	(void)PQsetNoticeReceiver(ctl, keep_notice, NULL);
}

static inline void queue_disconnect(void)
{
	PQfinish(app);
	PQfinish(ctl);
	PQfinish(db);
}

/* Group setup and teardown. A lease of an hour: of the daemon only the row
 * exists. */
static inline int queue_start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	queue_connect();
	sql_exec(db, "CREATE ROLE other LOGIN; GRANT backfill_submit TO other");
	me = sql_int(ctl, "SELECT backfill.register('test', 1, '0', '1h')");
	return 0;
}

static inline int queue_stop(void **state)
{
	(void)state;
	queue_disconnect();
	cluster_stop(cluster);
	return 0;
}

/* Teardown of each test. */
static inline int queue_clean(void **state)
{
	(void)state;
	sql_exec(app,
		"ROLLBACK; SET lock_timeout = '10s'; DROP TABLE IF EXISTS t;"
		"RESET lock_timeout");
	sql_exec(ctl, "ROLLBACK");
	sql_exec(db,
		"ROLLBACK; DELETE FROM backfill.jobs; DELETE FROM "
		"backfill.holes;"
		"DELETE FROM backfill.row_errors; DELETE FROM backfill.events");
	return 0;
}

#define FAILS(conn, state_, message_, detail_, hint_, ...)                     \
	do {                                                                   \
		struct sql_failure failure_;                                   \
		sql_fails(conn, &failure_, __VA_ARGS__);                       \
		assert_string_equal(failure_.message, message_);               \
		assert_string_equal(failure_.sqlstate, state_);                \
		assert_string_equal(failure_.detail, detail_);                 \
		assert_string_equal(failure_.hint, hint_);                     \
	} while (0)

/* A text with a number in it: ABOUT("job %lld is …", job). */
#define ABOUT(text, number) sql_text(db, "SELECT $$" text "$$", number)

/* Columns and values beside name, target and set_clause. Of table t, which
 * may exist. */
static inline long long submit(
	const char *name, const char *columns, const char *values)
{
	return sql_int(app,
		"INSERT INTO backfill.jobs (name, target, set_clause%s%s)"
		" VALUES ('%s', 't', 'n = 1'%s%s) RETURNING id",
		columns[0] != '\0' ? ", " : "", columns, name,
		values[0] != '\0' ? ", " : "", values);
}

static inline const char *of_job(const char *expression, long long id)
{
	return sql_text(db, "SELECT %s FROM backfill.jobs WHERE id = %lld",
		expression, id);
}

static inline const char *of_range(const char *expression)
{
	return sql_text(db,
		"SELECT concat_ws(' ', %s) FROM backfill.ranges"
		" WHERE job_id = %lld",
		expression, job);
}

/* The name of the job that is claimed, or "none". */
static inline const char *claim(void)
{
	return sql_text(ctl,
		"SELECT coalesce((SELECT name FROM backfill.claim(%lld)),"
		" 'none')",
		me);
}

static inline void make_table(void)
{
	sql_exec(app,
		"CREATE TABLE t (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO t SELECT generate_series(1, 100)");
}

static inline long long epoch_of_job(void)
{
	return sql_int(db,
		"SELECT epoch FROM backfill.ranges WHERE job_id = %lld", job);
}

static inline long long seq_of_job(void)
{
	return sql_int(
		db, "SELECT seq FROM backfill.ranges WHERE job_id = %lld", job);
}

static inline void attach(void)
{
	sql_exec(app,
		"SELECT backfill.attach(%lld, 1, %lld, (SELECT backend_start"
		" FROM pg_stat_get_activity(pg_backend_pid())))",
		job, epoch_of_job());
}

/* The one queued job is claimed, attached and begun, up to key 100. */
static inline void begin(void)
{
	assert_string_equal(claim(), of_job("name", job));
	attach();
	assert_true(sql_true(app,
		"SELECT backfill.begin_job(%lld, 1, %lld, 't'::regclass,"
		" 't_pkey'::regclass, '{100}', 100, 'signature', NULL,"
		" 'public.t')",
		job, epoch_of_job()));
}

/* A batch up to a key, of which so many rows were changed and match still. */
static inline void batch(int up_to, int changed, int matching)
{
	sql_exec(app,
		"BEGIN; SELECT backfill.begin_batch(%lld, 1, %lld, %lld);"
		"SELECT backfill.checkpoint(%lld, 1, %lld, %lld, '{%d}', 10,"
		" 10, %d, %d, 0, %d, NULL, NULL); COMMIT",
		job, epoch_of_job(), seq_of_job(), job, epoch_of_job(),
		seq_of_job(), up_to, changed, changed, matching);
}

/* What finish_range returns: "f 1". */
static inline const char *finish_range(void)
{
	return sql_text(app,
		"SELECT concat_ws(' ', finished, pass)"
		" FROM backfill.finish_range(%lld, 1, %lld, %lld)",
		job, epoch_of_job(), seq_of_job());
}

static inline const char *finish_job(void)
{
	return sql_text(ctl, "SELECT backfill.finish_job(%lld, %lld, %lld)", me,
		job, epoch_of_job());
}

static inline void release(const char *why)
{
	sql_exec(ctl, "SELECT backfill.release(%lld, %lld, %lld, '%s')", me,
		job, epoch_of_job(), why);
}

#endif
