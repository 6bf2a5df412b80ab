/* index_drive.h: the steps of the index kinds, examined and carried out as a
 * runner would, on plain connections. The table is t; each test has one of
 * its own. */
#ifndef BACKFILL_TESTS_INDEX_DRIVE_H
#define BACKFILL_TESTS_INDEX_DRIVE_H

#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

enum { WAIT_SECONDS = 60, MAX_STEPS = 30, STEP_BYTES = 8192 };

static struct cluster *cluster;
static PGconn *db;	/* postgres */
static PGconn *app;	/* the table's owner: submits, and is the runner */
static PGconn *builder; /* the owner, too: somebody beside the job */
static PGconn *reader;	/* and one whose snapshot holds a build up */

static struct {
	long long id;
	const char *kind;
	char notes[512];
	char step[STEP_BYTES]; /* the last examination's, as JSON */
	char trace[STEP_BYTES];
} job;

static inline void drop_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

static inline PGconn *drive_connect(const char *user)
{
	PGconn *conn = cluster_connect(cluster, "t", user);

	(void)PQsetNoticeReceiver(conn, drop_notice, NULL);
	return conn;
}

/* Group setup and teardown. */
static inline int drive_start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = drive_connect("postgres");
	app = drive_connect("app");
	builder = drive_connect("app");
	reader = drive_connect("app");
	sql_exec(db,
		"GRANT CREATE ON DATABASE t TO app; CREATE EXTENSION "
		"btree_gist");
	return 0;
}

static inline int drive_stop(void **state)
{
	(void)state;
	PQfinish(reader);
	PQfinish(builder);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* Of each test. */
static inline int drive_setup(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE TABLE t (id bigint PRIMARY KEY, n integer, b text);"
		"INSERT INTO t SELECT i, i, 'b' || i FROM"
		" generate_series(1, 100) i; CREATE TABLE other (n integer)");
	return 0;
}

static inline int drive_clean(void **state)
{
	(void)state;
	sql_exec(reader, "ROLLBACK");
	if (PQtransactionStatus(builder) == PQTRANS_ACTIVE ||
		PQstatus(builder) != CONNECTION_OK) {
		PQfinish(builder);
		builder = drive_connect("app");
	}
	sql_exec(builder, "ROLLBACK");
	sql_exec(app, "ROLLBACK; RESET ALL");
	sql_exec(db,
		"DROP TABLE IF EXISTS t, other CASCADE;"
		"DELETE FROM backfill.jobs; DELETE FROM backfill.events");
	return 0;
}

#define drive_test(f)                                                          \
	cmocka_unit_test_setup_teardown(f, drive_setup, drive_clean)

/* ---- the job */

/* definition may be NULL. */
static inline void submit(
	const char *kind, const char *object_name, const char *definition)
{
	char *name = PQescapeLiteral(app, object_name, strlen(object_name));
	char *text = definition == NULL
		? NULL
		: PQescapeLiteral(app, definition, strlen(definition));

	job.kind = kind;
	job.id = sql_int(app,
		"INSERT INTO backfill.jobs (kind, target, object_name,"
		" definition) VALUES ('%s', 't', %s, %s) RETURNING id",
		kind, name, text == NULL ? "NULL" : text);
	(void)snprintf(job.notes, sizeof job.notes, "{}");
	PQfreemem(name);
	PQfreemem(text);
}

static inline void add_note(const char *expression)
{
	(void)snprintf(job.notes, sizeof job.notes, "%s",
		sql_text(db,
			"SELECT n || (%s) FROM (SELECT $j$%s$j$::jsonb n)"
			" d",
			expression, job.notes));
}

/* A field of the step. */
static inline const char *of_step(const char *field)
{
	return sql_text(db, "SELECT $j$%s$j$::jsonb->>'%s'", job.step, field);
}

static inline const char *statement(void)
{
	return sql_text(
		db, "SELECT $j$%s$j$::jsonb->'statements'->>0", job.step);
}

#define EXAMINE_SQL                                                            \
	"SELECT to_jsonb(s) FROM backfill.jobs j, LATERAL"                     \
	" backfill.step_%s(j, '%s', %s) s WHERE j.id = %lld"

/* The way of the next step, or "nothing". */
static inline const char *examine_as(const char *leaving)
{
	const char *way;

	(void)snprintf(job.step, sizeof job.step, "%s",
		sql_text(app, EXAMINE_SQL, job.kind, job.notes, leaving,
			job.id));
	way = of_step("way");
	return strcmp(way, "(null)") == 0 ? "nothing" : way;
}

static inline const char *examine(void)
{
	return examine_as("false");
}

/* The examination raises an error of which every part is as told. */
#define EXAMINE_FAILS(state_, message_, detail_, hint_)                        \
	do {                                                                   \
		struct sql_failure failure_;                                   \
		sql_fails(app, &failure_, EXAMINE_SQL, job.kind, job.notes,    \
			"false", job.id);                                      \
		assert_string_equal(failure_.message, message_);               \
		assert_string_equal(failure_.sqlstate, state_);                \
		assert_string_equal(failure_.detail, detail_);                 \
		assert_string_equal(failure_.hint, hint_);                     \
	} while (0)

/* What the engine keeps when a step begins. */
static inline void begin_step(void)
{
	if (strcmp(of_step("notes"), "(null)") != 0) {
		add_note(sql_text(db, "SELECT quote_literal('%s') || '::jsonb'",
			of_step("notes")));
	}
	add_note("'{\"changed\": true}'");
	if (strcmp(of_step("way"), "alone") == 0) {
		add_note("jsonb_build_object('attempts',"
			 " coalesce((n->>'attempts')::integer, 0) + 1)");
	}
}

/* Carry the step out; what is told of it goes to the trace. Returns 0 when
 * rows were in the way. */
static inline int carry_out(void)
{
	char way[16];

	(void)snprintf(way, sizeof way, "%s", of_step("way"));
	(void)strncat(job.trace, of_step("told"),
		sizeof job.trace - strlen(job.trace) - 1);
	(void)strncat(
		job.trace, "\n", sizeof job.trace - strlen(job.trace) - 1);
	if (strcmp(way, "look") == 0) {
		if (sql_int(app, "SELECT count(*) FROM (%s) d", statement()) >
			0) {
			return 0;
		}
		add_note("'{\"looked\": true}'");
		return 1;
	}
	begin_step();
	if (strcmp(way, "transaction") == 0) {
		sql_exec(app, "BEGIN; %s; COMMIT", statement());
	} else {
		sql_exec(app, "%s", statement());
	}
	return 1;
}

/* Examine and carry out until nothing is left, or rows are in the way. Tells
 * what was done, a line each. */
static inline const char *drive_as(const char *leaving)
{
	job.trace[0] = '\0';
	for (int i = 0; i < MAX_STEPS; i++) {
		if (strcmp(examine_as(leaving), "nothing") == 0 ||
			!carry_out()) {
			return job.trace;
		}
	}
	fail_msg("no end of steps:\n%s", job.trace);
	return NULL;
}

static inline const char *drive(void)
{
	return drive_as("false");
}

static inline const char *leave(void)
{
	return drive_as("true");
}

/* ---- what is there */

static inline int is_valid(const char *index)
{
	return sql_true(db,
		"SELECT indisvalid FROM pg_index"
		" WHERE indexrelid = '%s'::regclass",
		index);
}

static inline long long invalid_indexes(void)
{
	return sql_int(
		db, "SELECT count(*) FROM pg_index WHERE NOT indisvalid");
}

/* ---- builds that are held up */

static inline void hold_snapshot(void)
{
	sql_exec(reader,
		"BEGIN ISOLATION LEVEL REPEATABLE READ;"
		"SELECT count(*) FROM other");
}

static inline void let_snapshot_go(void)
{
	sql_exec(reader, "ROLLBACK");
}

/* The builder runs the command, and waits for the reader's snapshot. */
static inline void build_and_wait(const char *command)
{
	hold_snapshot();
	sql_async(builder, "%s", command);
	sql_wait(db, WAIT_SECONDS,
		"SELECT wait_event = 'virtualxid' FROM pg_stat_activity"
		" WHERE pid = %d",
		PQbackendPID(builder));
}

/* A build that failed, or a drop: an invalid index is left. The one waits
 * for old snapshots, the other for whoever uses the table. */
static inline void fail_build(const char *command)
{
	struct sql_failure failure;

	hold_snapshot();
	if (strncmp(command, "DROP", 4) == 0) {
		sql_exec(reader, "SELECT count(*) FROM t");
	}
	sql_exec(builder, "SET lock_timeout = '50ms'");
	sql_fails(builder, &failure, "%s", command);
	assert_string_equal(failure.sqlstate, "55P03");
	sql_exec(builder, "RESET lock_timeout");
	let_snapshot_go();
}

#endif
