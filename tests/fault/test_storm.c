/* test_storm.c: jobs beside eight writers that are at the very rows that the
 * job is at: they lock, change, replace, insert, delete and re-key them, and
 * commit or roll back. No writer sees an error, and no change of theirs is
 * lost.
 *
 * A job that is not idempotent changes each row once that is there from its
 * begin to its end under one key, and none twice. A self-excluding one leaves
 * no row behind, whatever becomes of the keys.
 *
 * What becomes of a row is told by triggers, in tables that no code under
 * test reads; it is known there by a number that nobody changes.
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

enum {
	WRITERS = 8,
	ROWS = 4000,
	SPACING = 4, /* of the first keys; those between are for new ones */
	KEYS = ROWS * SPACING,
	BATCH_ROWS = 60,
	SECONDS = 90
};

struct writer {
	PGconn *conn;
	int in_transaction;
	int raises_other; /* of the rows that it changes, by 1 */
	int changed;	  /* rows of its transaction */
	int patience;	  /* turns until it ends its transaction */
};

struct storm {
	const char *set;      /* what a change does besides */
	const char *replaced; /* of n and phone, the values of a new row that
				 takes an old one's place */
	const char *inserted; /* and of one that takes nobody's place */
	int keys_stay;	      /* no row is inserted, deleted or re-keyed */
	int ends_early;	      /* half-way through the walk */
	struct writer writers[WRITERS];
	char is_used[KEYS + 1];
	long long changed;
};

static struct cluster *cluster;
static PGconn *db, *app;
static struct daemon *daemon_t;

static int start(void **state)
{
	const char *seed = getenv("BACKFILL_SEED");

	(void)state;
	seed = seed != NULL && *seed != '\0' ? seed : "20240229";
	printf("BACKFILL_SEED=%s\n", seed);
	srand((unsigned)atoi(seed));
	cluster = cluster_start();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	cluster_stop(cluster);
	return 0;
}

/* ---- a database, a table and a daemon for each test */

static void make_table(void)
{
	sql_exec(app,
		"CREATE TABLE storm (id bigint PRIMARY KEY, uid bigserial,"
		" rekeyed boolean NOT NULL DEFAULT false, other integer NOT"
		" NULL DEFAULT 0, n integer NOT NULL DEFAULT 0, phone text);"
		"INSERT INTO storm (id) SELECT g * %d"
		" FROM generate_series(1, %d) g;"
		/* What went out of the table and came into it. */
		"CREATE TABLE gone (uid bigint, rekeyed boolean,"
		" other integer);"
		"CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$"
		" BEGIN IF TG_OP = 'DELETE' THEN"
		"  INSERT INTO gone VALUES (OLD.uid, OLD.rekeyed, OLD.other);"
		" ELSE"
		"  INSERT INTO gone VALUES (NEW.uid, NEW.rekeyed, -NEW.other);"
		" END IF; RETURN NULL; END $$;"
		"CREATE TRIGGER gone AFTER INSERT OR DELETE ON storm"
		" FOR EACH ROW EXECUTE FUNCTION gone();"
		/* What the job did. */
		"CREATE TABLE effects (uid bigint, on_null boolean);"
		"CREATE FUNCTION effect() RETURNS trigger LANGUAGE plpgsql AS"
		" $$ BEGIN INSERT INTO effects VALUES (NEW.uid, OLD.phone IS"
		" NULL); RETURN NULL; END $$;"
		"CREATE TRIGGER effect AFTER UPDATE ON storm FOR EACH ROW"
		" WHEN (NEW.n > OLD.n) EXECUTE FUNCTION effect();"
		"CREATE TABLE before_the_job (uid bigint)",
		SPACING, ROWS);
}

static void begin(const char *dbname)
{
	backfill_install(cluster, dbname);
	db = cluster_connect(cluster, dbname, "postgres");
	app = cluster_connect(cluster, dbname, "app");
	make_table();
	daemon_t = daemon_start(cluster, dbname,
		"daemon: {lease: 2s, poll_interval: 100ms}\n"
		"batch: {lock_timeout: 200ms}\n");
}

static void end(void)
{
	assert_int_equal(daemon_stop(daemon_t), 0);
	daemon_free(daemon_t);
	PQfinish(app);
	PQfinish(db);
}

static void submit(const char *set_clause, const char *where_clause)
{
	sql_exec(app,
		"INSERT INTO before_the_job SELECT uid FROM storm;"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, batch_rows, max_batch_rows) VALUES"
		" ('storm', 'storm', $$%s$$, nullif($$%s$$, ''), %d, %d)",
		set_clause, where_clause, BATCH_ROWS, BATCH_ROWS);
}

static int is_final(void)
{
	return sql_true(db,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs");
}

/* The key that the job is at. */
static int job_key(void)
{
	return (int)sql_int(db,
		"SELECT coalesce(max(CASE WHEN pass > 0 THEN sweep_cursor[1]"
		" ELSE cursor[1] END::integer), 1) FROM backfill.ranges");
}

/* ---- what a writer does, in one statement */

typedef void (*change_cb)(struct storm *s, char *sql, size_t size, int key);

/* Locked in order and changed only if locked, so that writers do not deadlock
 * among themselves. */
static void change_some(struct storm *s, char *sql, size_t size, int key)
{
	(void)snprintf(sql, size,
		"WITH l AS MATERIALIZED (SELECT id FROM storm WHERE id BETWEEN"
		" %d AND %d AND uid %% 3 = %d ORDER BY id FOR UPDATE)"
		" UPDATE storm s SET other = other + 1%s FROM l"
		" WHERE s.id = l.id",
		key, key + rand() % (20 * SPACING), rand() % 3, s->set);
}

/* Another row with the same key, and all else of the old one's. */
static void replace_one(struct storm *s, char *sql, size_t size, int key)
{
	(void)snprintf(sql, size,
		"WITH d AS (DELETE FROM storm WHERE id = (SELECT min(id) FROM"
		" storm WHERE id >= %d) RETURNING *) INSERT INTO storm"
		" SELECT id, uid, rekeyed, other, %s FROM d",
		key, s->replaced);
}

/* One that nobody had before, so that no writer waits for another. 0: there
 * is none near. */
static int new_key(struct storm *s, int near)
{
	for (int i = 0; i < 10; i++) {
		int key = near - 300 + rand() % 600;

		if (key > 0 && key < KEYS && key % SPACING != 0 &&
			!s->is_used[key]) {
			s->is_used[key] = 1;
			return key;
		}
	}
	return 0;
}

/* Over the cursor, in both directions. */
static void rekey_one(struct storm *s, char *sql, size_t size, int key)
{
	int to = new_key(s, key);

	(void)snprintf(sql, size,
		"UPDATE storm SET id = %d, rekeyed = true, other = other + 1%s"
		" WHERE id = (SELECT min(id) FROM storm WHERE id >= %d)"
		" AND %d <> 0",
		to, s->set, key, to);
}

static void insert_one(struct storm *s, char *sql, size_t size, int key)
{
	(void)snprintf(sql, size,
		"INSERT INTO storm (id, n, phone) SELECT id, %s FROM"
		" (SELECT nullif(%d, 0) AS id) k WHERE id IS NOT NULL",
		s->inserted, new_key(s, key));
}

static void delete_one(struct storm *s, char *sql, size_t size, int key)
{
	(void)s;
	(void)snprintf(sql, size,
		"DELETE FROM storm WHERE id = (SELECT min(id) FROM storm"
		" WHERE id >= %d)",
		key);
}

/* ---- the storm */

static const struct {
	change_cb write;
	int raises_other;
} changes[] = {
	{ change_some, 1 },
	{ change_some, 1 },
	{ replace_one, 0 },
	{ rekey_one, 1 },
	{ insert_one, 0 },
	{ delete_one, 0 },
};

static void begin_change(struct storm *s, struct writer *w, int around)
{
	int key = around - 60 * SPACING + rand() % (260 * SPACING);
	int which = rand() % (s->keys_stay ? 3 : 6);
	char sql[1024] = "BEGIN; ";
	size_t length = strlen(sql);

	changes[which].write(s, sql + length, sizeof sql - length, key);
	w->raises_other = changes[which].raises_other;
	w->changed = 0;
	w->patience = rand() % 4 == 0 ? rand() % 40 : 0;
	w->in_transaction = 1;
	assert_true(PQsendQuery(w->conn, sql));
}

static void end_change(struct storm *s, struct writer *w)
{
	int commits = rand() % 2;

	w->in_transaction = 0;
	if (commits && w->raises_other) {
		s->changed += w->changed;
	}
	assert_true(PQsendQuery(w->conn, commits ? "COMMIT" : "ROLLBACK"));
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

static void turn(struct storm *s, struct writer *w, int around, int is_over)
{
	if (!is_idle(w)) {
		return;
	}
	if (!w->in_transaction) {
		if (!is_over) {
			begin_change(s, w, around);
		}
	} else if (is_over || w->patience-- <= 0) {
		end_change(s, w);
	}
}

static int is_busy(const struct writer *w)
{
	return w->in_transaction ||
		PQtransactionStatus(w->conn) != PQTRANS_IDLE;
}

static int is_over(const struct storm *s)
{
	return is_final() || (s->ends_early && job_key() > KEYS / 2);
}

/* The job is submitted when the writers are at it. */
static void run(
	struct storm *s, const char *set_clause, const char *where_clause)
{
	uint64_t deadline = wait_deadline(SECONDS);
	int turns = 0, busy = 1, over = 0;

	for (int i = 0; i < WRITERS; i++) {
		s->writers[i].conn = cluster_connect(cluster, PQdb(app), "app");
	}
	while (busy > 0 || !over) {
		int around = job_key();

		if (turns++ == 100) {
			submit(set_clause, where_clause);
		}
		over |= turns > 100 && is_over(s);
		busy = 0;
		for (int i = 0; i < WRITERS; i++) {
			turn(s, &s->writers[i], around, over);
			busy += is_busy(&s->writers[i]);
		}
		assert_int_not_equal(wait_left_ms(deadline), 0);
	}
	for (int i = 0; i < WRITERS; i++) {
		PQfinish(s->writers[i].conn);
	}
	sql_wait(db, SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs");
}

/* ---- what must be so at the end of each */

static void assert_well(const struct storm *s)
{
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', state,"
				    " error_message, error_detail)"
				    " FROM backfill.jobs"),
		"succeeded");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.holes"), 0);
	/* The job undid nobody's work. */
	assert_int_equal(sql_int(db,
				 "SELECT (SELECT sum(other) FROM storm) +"
				 " (SELECT coalesce(sum(other), 0) FROM gone)"),
		s->changed);
	/* In no test is it asked to change a phone that is there. */
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM effects WHERE NOT on_null"),
		0);
	/* It has counted what it did. */
	assert_int_equal(sql_int(db, "SELECT rows_done FROM backfill.progress"),
		sql_int(db, "SELECT count(*) FROM effects"));
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM storm s WHERE n <>"
				 " (SELECT count(*) FROM effects e"
				 " WHERE e.uid = s.uid)"),
		0);
	printf("%lld changes by the writers, %s\n", s->changed,
		sql_text(db,
			"SELECT format('%%s re-keyed, %%s in, %%s out; by the"
			" job %%s, %%s of them late',"
			" (SELECT count(*) FROM storm WHERE rekeyed),"
			" (SELECT count(*) FROM storm WHERE uid > %d),"
			" (SELECT count(*) FROM before_the_job WHERE uid NOT"
			" IN (SELECT uid FROM storm)), rows_done, late_rows)"
			" FROM backfill.progress",
			ROWS));
}

static void test_keys_that_stay(void **state)
{
	static struct storm s = {
		.set = "",
		.replaced = "n, phone",
		.keys_stay = 1,
	};

	(void)state;
	begin("stay");
	run(&s, "n = n + 1", "");
	assert_well(&s);
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(format('%%s: %%s', n, count),"
			" ', ') FROM (SELECT n, count(*) FROM storm GROUP"
			" BY n) c"),
		sql_text(db, "SELECT '1: %d'", ROWS));
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', rows_read, rows_done,"
			" late_rows) FROM backfill.progress"),
		sql_text(db, "SELECT '%d %d 0'", ROWS, ROWS));
	end();
}

/* Exactly once: what was there before the job and kept its key. At most once:
 * what came meanwhile, and what went. A row whose key changed may have been
 * met twice, or not at all. */
static void test_keys_that_change(void **state)
{
	static struct storm s = {
		.set = "",
		.replaced = "n, phone",
		.inserted = "0, NULL",
	};

	(void)state;
	begin("change");
	run(&s, "n = n + 1", "");
	assert_well(&s);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM storm WHERE NOT rekeyed"
				 " AND n <> 1 AND uid IN (SELECT uid FROM"
				 " before_the_job)"),
		0);
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM storm WHERE NOT rekeyed"
				 " AND n NOT IN (0, 1)"),
		0);
	assert_int_equal(
		sql_int(db,
			"SELECT count(*) FROM (SELECT uid FROM effects GROUP BY"
			" uid HAVING count(*) > 1) twice WHERE uid NOT IN"
			" (SELECT uid FROM storm WHERE rekeyed UNION"
			" SELECT uid FROM gone WHERE rekeyed)"),
		0);
	/* There was something to get wrong. */
	assert_true(sql_true(db,
		"SELECT count(*) FILTER (WHERE rekeyed) > 10 AND"
		" count(*) FILTER (WHERE uid > %d) > 10 AND"
		" count(*) FILTER (WHERE uid > %d AND n = 1) > 0 FROM storm",
		ROWS, ROWS));
	end();
}

/* The application writes rows that the job has to change, before and behind
 * its cursor, moves them about, and stops before the end. */
static void test_old_form(void **state)
{
	static struct storm s = {
		.set = ", phone = NULL",
		.replaced = "n, NULL",
		.inserted = "0, NULL",
		.ends_early = 1,
	};

	(void)state;
	begin("old");
	run(&s, "phone = '', n = n + 1", "phone IS NULL");
	assert_well(&s);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM storm WHERE phone IS NULL"),
		0);
	assert_true(
		sql_true(db, "SELECT late_rows > 10 FROM backfill.progress"));
	end();
}

/* It writes the new form, as it should, and goes on to the end: all that is
 * left to the job is changed, at most once. */
static void test_new_form(void **state)
{
	static struct storm s = {
		.set = ", phone = coalesce(phone, 'new')",
		.replaced = "n, coalesce(phone, 'new')",
		.inserted = "0, 'new'",
	};

	(void)state;
	begin("new");
	run(&s, "phone = '', n = n + 1", "phone IS NULL");
	assert_well(&s);
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', count(*) FILTER (WHERE phone IS"
			" NULL), count(*) FILTER (WHERE n <> (phone ="
			" '')::integer)) FROM storm"),
		"0 0");
	assert_true(sql_true(
		db, "SELECT count(*) > 10 FROM storm WHERE phone = 'new'"));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_that_stay),
		cmocka_unit_test(test_keys_that_change),
		cmocka_unit_test(test_old_form),
		cmocka_unit_test(test_new_form),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
