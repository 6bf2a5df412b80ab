/* test_storm.c: a job that is not idempotent beside eight writers that lock,
 * change, replace and roll back the very rows that it is at. Each row is
 * changed exactly once by the job, no change of the writers is lost, and no
 * writer sees an error.
 *
 * BACKFILL_SEED chooses another storm. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"
#include "wait.h"

enum { WRITERS = 8, STORM_ROWS = 20000 };

static struct cluster *cluster;

struct writer {
	PGconn *conn;
	int in_transaction;
	int changed;  /* rows, if it commits */
	int patience; /* turns until it ends its transaction */
};

/* Rows around the cursor. Locked in order and changed only if locked, so that
 * writers do not deadlock among themselves. Every third time the row is
 * replaced by a new one. */
static void begin_change(struct writer *w, int around)
{
	int id = around - 60 + rand() % 260;
	char sql[512];

	if (rand() % 3 == 0) {
		(void)snprintf(sql, sizeof sql,
			"BEGIN; WITH d AS (DELETE FROM storm WHERE id = %d"
			" RETURNING *) INSERT INTO storm SELECT id, n,"
			" other + 1 FROM d",
			id);
	} else {
		(void)snprintf(sql, sizeof sql,
			"BEGIN; WITH l AS MATERIALIZED (SELECT id FROM storm"
			" WHERE id BETWEEN %d AND %d AND id %% 3 = %d ORDER BY"
			" id FOR UPDATE) UPDATE storm s SET other = other + 1"
			" FROM l WHERE s.id = l.id",
			id, id + rand() % 20, rand() % 3);
	}
	w->changed = 0;
	w->patience = rand() % 4 == 0 ? rand() % 40 : 0;
	w->in_transaction = 1;
	assert_true(PQsendQuery(w->conn, sql));
}

/* Returns what it committed. */
static int end_change(struct writer *w)
{
	int commits = rand() % 2;

	w->in_transaction = 0;
	assert_true(PQsendQuery(w->conn, commits ? "COMMIT" : "ROLLBACK"));
	return commits ? w->changed : 0;
}

static int is_idle(struct writer *w)
{
	PGresult *result;

	assert_true(PQconsumeInput(w->conn));
	while (!PQisBusy(w->conn)) {
		result = PQgetResult(w->conn);
		if (result == NULL) {
			return 1;
		}
		/* No error in any client. */
		assert_string_equal(PQresultErrorMessage(result), "");
		w->changed += atoi(PQcmdTuples(result));
		PQclear(result);
	}
	return 0;
}

static int turn(struct writer *w, int around, int is_over)
{
	if (!is_idle(w)) {
		return 0;
	}
	if (!w->in_transaction) {
		if (!is_over) {
			begin_change(w, around);
		}
		return 0;
	}
	if (!is_over && w->patience-- > 0) {
		return 0;
	}
	return end_change(w);
}

static void storm(PGconn *db)
{
	struct writer writers[WRITERS] = { { NULL, 0, 0, 0 } };
	uint64_t deadline = wait_deadline(90);
	int is_over = 0;
	int64_t changed = 0;

	for (int i = 0; i < WRITERS; i++) {
		writers[i].conn = cluster_connect(cluster, "t", "app");
	}
	for (int busy = 1; busy > 0 || !is_over;) {
		int around = (int)sql_int(db,
			"SELECT coalesce(max(cursor[1]::integer), 1) FROM"
			" backfill.ranges");

		busy = 0;
		is_over = around >= STORM_ROWS;
		for (int i = 0; i < WRITERS; i++) {
			changed += turn(&writers[i], around, is_over);
			busy += writers[i].in_transaction ||
				PQtransactionStatus(writers[i].conn) !=
					PQTRANS_IDLE;
		}
		assert_int_not_equal(wait_left_ms(deadline), 0);
	}
	for (int i = 0; i < WRITERS; i++) {
		PQfinish(writers[i].conn);
	}
	sql_wait(db, 60,
		"SELECT state IN ('succeeded', 'failed')"
		" FROM backfill.jobs");
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', state,"
				    " error_message) FROM backfill.jobs"),
		"succeeded");
	/* The job undid nobody's work. */
	assert_int_equal(sql_int(db, "SELECT sum(other) FROM storm"), changed);
	printf("%lld rows changed beside the job\n", (long long)changed);
}

static void test_storm(void **state)
{
	const char *seed = getenv("BACKFILL_SEED");
	PGconn *db, *app;
	struct daemon *d;

	(void)state;
	seed = seed != NULL && *seed != '\0' ? seed : "20240229";
	printf("BACKFILL_SEED=%s\n", seed);
	srand((unsigned)atoi(seed));
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	sql_exec(app,
		"CREATE TABLE storm (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, other integer NOT NULL DEFAULT 0);"
		"INSERT INTO storm SELECT generate_series(1, %d);"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows)"
		" VALUES ('storm', 'storm', 'n = n + 1', 60, 60)",
		STORM_ROWS);
	d = daemon_start(cluster, "t",
		"daemon: {lease: 2s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 200ms}\n");
	storm(db);
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(format('%%s: %%s', n, count),"
			" ', ') FROM (SELECT n, count(*) FROM storm GROUP"
			" BY n) c"),
		sql_text(db, "SELECT '1: %d'", STORM_ROWS));
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', rows_read, rows_done,"
			" holes) FROM backfill.progress"),
		sql_text(db, "SELECT '%d %d 0'", STORM_ROWS, STORM_ROWS));
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
