/* test_delete.c: jobs that delete rows: all that match and nothing else,
 * whatever refers to them, and whoever inserts and deletes beside them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"
#include "wait.h"

static PGconn *holder; /* app too */

static int start(void **state)
{
	int code = shop_start_patient(state);

	holder = cluster_connect(shop.cluster, "shop", "app");
	return code;
}

static int stop(void **state)
{
	PQfinish(holder);
	return shop_stop(state);
}

static int let_go(void **state)
{
	(void)state;
	PQreset(shop.app);
	PQreset(holder);
	gate_open();
	sql_exec(shop.db,
		"SELECT backfill.cancel(id) FROM backfill.jobs"
		" WHERE state IN ('queued', 'running', 'paused')");
	return 0;
}

static void submit_with(const char *name, const char *from_clause,
	const char *where_clause, const char *on_row_error)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (kind, name, target, from_clause,"
		" where_clause, on_row_error, batch_rows, max_batch_rows,"
		" statement_timeout) VALUES ('delete', '%s', '%s',"
		" nullif($q$%s$q$, ''), $q$%s$q$, '%s', 10, 10, '10min')",
		name, name, from_clause, where_clause, on_row_error);
}

/* From the table of the same name. */
static void submit(const char *name, const char *where_clause)
{
	submit_with(name, "", where_clause, "stop");
}

static void make_table(const char *name, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, kept boolean NOT NULL"
		" DEFAULT false);"
		"INSERT INTO %s SELECT g, g %% 4 = 0"
		" FROM generate_series(1, %d) g",
		name, name, rows);
}

static const char *ids(const char *table)
{
	return sql_text(shop.db,
		"SELECT coalesce(string_agg(id::text, ' ' ORDER BY id),"
		" 'none') FROM %s",
		table);
}

/* "rows_read rows_done late_rows" */
static void assert_counts(const char *name, const char *counts)
{
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_read, rows_done,"
			" late_rows) FROM backfill.progress WHERE name = '%s'",
			name),
		counts);
}

/* ---- alone */

static void test_some_rows(void **state)
{
	(void)state;
	make_table("part", 200);
	submit("part", "NOT kept");
	job_wait("part", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), bool_and(kept))"
			" FROM part"),
		"50 t");
	assert_counts("part", "200 150 0");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT detail FROM backfill.events WHERE job_id ="
			" %lld AND event = 'succeeded'",
			(long long)job_id("part")),
		"150 rows changed");
}

/* The sweep finds what came behind the cursor; what is above the bound is
 * the application's. */
static void test_all_rows(void **state)
{
	(void)state;
	make_table("all_rows", 100);
	gate_close(45);
	submit("all_rows", "gate_pass(id) = 0");
	gate_wait("all_rows");
	sql_exec(shop.app, "INSERT INTO all_rows VALUES (0), (5), (101), (-7)");
	gate_open();
	job_wait("all_rows", "succeeded");
	assert_string_equal(ids("all_rows"), "101");
	assert_counts("all_rows", "100 103 3");
}

static void test_nothing_to_delete(void **state)
{
	(void)state;
	make_table("nothing", 100);
	submit("nothing", "id < 0");
	job_wait("nothing", "succeeded");
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM nothing"), 100);
	assert_counts("nothing", "100 0 0");

	sql_exec(shop.app, "CREATE TABLE empty (id bigint PRIMARY KEY)");
	submit("empty", "true");
	job_wait("empty", "succeeded");
	assert_counts("empty", "0 0 0");
}

/* Rows come of age while the job runs: a retention does not fail by it. */
static void test_retention(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE logs (id bigint PRIMARY KEY, at timestamptz NOT"
		" NULL);"
		"INSERT INTO logs SELECT g, now() - CASE WHEN g > 70 THEN"
		" interval '1min' ELSE interval '2d' END"
		" FROM generate_series(1, 100) g;"
		"INSERT INTO logs VALUES (0, clock_timestamp() -"
		" interval '1d' + interval '1s')");
	gate_close(75);
	submit("logs",
		"CASE gate_pass(id) WHEN 0 THEN at < now() - interval '1 day' "
		"END");
	gate_wait("logs");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM logs WHERE id = 0 AND at >="
		" now() - interval '1 day')");
	gate_open();
	job_wait("logs", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(id)) FROM logs"),
		"30 71");
}

/* Of several matches one is enough. */
static void test_from_clause(void **state)
{
	(void)state;
	make_table("joined", 100);
	sql_exec(shop.app,
		"CREATE TABLE doomed (id bigint, reason text);"
		"INSERT INTO doomed SELECT g %% 60 * 2, 'r' || g"
		" FROM generate_series(1, 120) g;"
		"INSERT INTO doomed VALUES (NULL, 'nobody'), (5000, 'gone')");
	submit_with("joined", "doomed AS d",
		"d.id = joined.id AND NOT joined.kept", "stop");
	job_wait("joined", "succeeded");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM generate_series(1, 100) g WHERE"
			" EXISTS (SELECT FROM joined j WHERE j.id = g) ="
			" (g %% 2 = 0 AND g %% 4 <> 0)"),
		0);
	assert_counts("joined", "100 25 0");
}

/* Each deleted row and its key, once. */
static void test_row_triggers(void **state)
{
	(void)state;
	make_table("audited", 100);
	sql_exec(shop.app,
		"CREATE TABLE obituaries (id bigint);"
		"CREATE FUNCTION bury() RETURNS trigger LANGUAGE plpgsql AS $$"
		" BEGIN INSERT INTO public.obituaries VALUES (OLD.id);"
		" RETURN OLD; END $$;"
		"CREATE TRIGGER bury BEFORE DELETE ON audited FOR EACH ROW"
		" EXECUTE FUNCTION bury()");
	submit("audited", "NOT kept");
	job_wait("audited", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), count(DISTINCT id),"
			" count(*) FILTER (WHERE id %% 4 = 0))"
			" FROM obituaries"),
		"75 75 0");
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM audited"), 25);
}

/* ---- a child's insert in flight */

/* The parents 1 to 100, and a transaction that inserts a child of 42. */
static void make_family(const char *name, const char *action)
{
	make_table(name, 100);
	sql_exec(shop.app,
		"CREATE TABLE %s_child (id bigint PRIMARY KEY, parent bigint"
		" CONSTRAINT %s_parent REFERENCES %s %s);"
		"CREATE INDEX ON %s_child (parent)",
		name, name, name, action, name);
	sql_exec(holder, "BEGIN; INSERT INTO %s_child VALUES (1, 42)", name);
}

/* The others are deleted, each batch at the first go, and nobody waits. */
static void wait_for_parent(const char *name)
{
	char pattern[256];

	(void)snprintf(pattern, sizeof pattern,
		"^waits for 1 rows held by others: key \\(42\\) for [0-9]+ s by"
		" pid %d \\(app, idle in transaction, transaction open for"
		" [0-9]+ s\\)$",
		PQbackendPID(holder));
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ '%s' FROM backfill.jobs WHERE name = '%s'",
		pattern, name);
	assert_string_equal(ids(name), "42");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', batches, holes, rows_done)"
			" FROM backfill.progress WHERE name = '%s'",
			name),
		"10 1 99");
}

/* Since 18 RESTRICT has an error of its own. */
static void fails_by_its_child(const char *name, int is_restrict)
{
	char message[256], detail[128];
	int is_own = is_restrict && PQserverVersion(shop.db) >= 180000;

	(void)snprintf(message, sizeof message,
		"update or delete on table \"%s\" violates%s foreign key"
		" constraint \"%s_parent\" on table \"%s_child\"",
		name, is_own ? " RESTRICT setting of" : "", name, name);
	(void)snprintf(detail, sizeof detail,
		"It is the row with key (42), constraint \"%s_parent\".", name);
	job_fails(name, is_own ? "23001" : "23503", message, detail,
		"Mend the row, then backfill.retry(job) goes on from there. A"
		" job with on_row_error = 'record' sets such rows aside and"
		" goes on.");
}

static void test_child_of_restrict(void **state)
{
	(void)state;
	make_family("strict", "ON DELETE RESTRICT");
	submit("strict", "true");
	wait_for_parent("strict");
	sql_exec(holder, "COMMIT");
	fails_by_its_child("strict", 1);
	assert_string_equal(ids("strict"), "42");
	assert_string_equal(ids("strict_child"), "1");

	sql_exec(shop.app,
		"DELETE FROM strict_child; SELECT backfill.retry('strict')");
	job_wait("strict", "succeeded");
	assert_string_equal(ids("strict"), "none");
	assert_counts("strict", "100 100 0");
}

static void test_child_of_no_action(void **state)
{
	(void)state;
	make_family("plain", "");
	submit("plain", "true");
	wait_for_parent("plain");
	sql_exec(holder, "COMMIT");
	fails_by_its_child("plain", 0);
	assert_string_equal(ids("plain"), "42");
}

/* Checked at COMMIT, where a batch could not tell the row any more. */
static void test_child_of_a_deferred_key(void **state)
{
	(void)state;
	make_family("later", "DEFERRABLE INITIALLY DEFERRED");
	/* Or the parent would not be locked, and the child be the one to
	 * fail. */
	sql_exec(holder, "SET CONSTRAINTS ALL IMMEDIATE");
	submit("later", "true");
	wait_for_parent("later");
	sql_exec(holder, "COMMIT");
	fails_by_its_child("later", 0);
	assert_string_equal(ids("later"), "42");
}

static void test_child_recorded(void **state)
{
	char message[128], hint[128];
	long long id;

	(void)state;
	make_family("noted", "");
	submit_with("noted", "", "true", "record");
	wait_for_parent("noted");
	sql_exec(holder, "COMMIT");
	id = (long long)job_id("noted");
	(void)snprintf(message, sizeof message,
		"1 rows of job %lld could not be changed", id);
	(void)snprintf(hint, sizeof hint,
		"Mend what is wrong with them, then call backfill.retry(%lld).",
		id);
	job_fails("noted", "BF027", message,
		"99 rows were changed; these are in backfill.row_errors.",
		hint);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(concat_ws(' ', key, sqlstate,"
			" constraint_name), '|') FROM backfill.row_errors"
			" WHERE job_id = %lld AND resolved_at IS NULL",
			id),
		"{42} 23503 noted_parent");

	sql_exec(shop.app,
		"DELETE FROM noted_child; SELECT backfill.retry('noted')");
	job_wait("noted", "succeeded");
	assert_string_equal(ids("noted"), "none");
}

static void test_child_rolled_back(void **state)
{
	(void)state;
	make_family("undone", "");
	submit("undone", "true");
	wait_for_parent("undone");
	sql_exec(holder, "ROLLBACK");
	job_wait("undone", "succeeded");
	assert_string_equal(ids("undone"), "none");
	assert_counts("undone", "100 100 0");
}

static void test_child_of_cascade(void **state)
{
	(void)state;
	make_family("cascade", "ON DELETE CASCADE");
	submit("cascade", "true");
	wait_for_parent("cascade");
	sql_exec(holder, "COMMIT");
	job_wait("cascade", "succeeded");
	assert_string_equal(ids("cascade"), "none");
	assert_string_equal(ids("cascade_child"), "none");
	assert_counts("cascade", "100 100 0");
}

static void test_child_of_set_null(void **state)
{
	(void)state;
	make_family("nullify", "ON DELETE SET NULL");
	submit("nullify", "NOT kept");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT holes = 1 AND key = last_key FROM backfill.progress"
		" WHERE name = 'nullify'");
	sql_exec(holder, "COMMIT");
	job_wait("nullify", "succeeded");
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM nullify"), 25);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(concat_ws(' ', id, coalesce("
			"parent::text, 'null')), '|') FROM nullify_child"),
		"1 null");
}

/* Children that were there before: each parent's goes with it. */
static void test_cascade(void **state)
{
	(void)state;
	make_table("heads", 100);
	sql_exec(shop.app,
		"CREATE TABLE limbs (id bigint PRIMARY KEY, head bigint"
		" REFERENCES heads ON DELETE CASCADE);"
		"CREATE INDEX ON limbs (head);"
		"INSERT INTO limbs SELECT g, 1 + g %% 100"
		" FROM generate_series(1, 1000) g");
	submit("heads", "NOT kept");
	job_wait("heads", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', (SELECT count(*) FROM heads),"
			" count(*), count(*) FILTER (WHERE head %% 4 <> 0))"
			" FROM limbs"),
		"25 250 0");
	assert_counts("heads", "100 75 0");
}

/* The parent is free, and its child is not: the batch waits for it, not for
 * long, and the job goes on without its window, whose turn comes again. */
static void test_cascade_to_a_held_child(void **state)
{
	(void)state;
	make_table("owners", 100);
	sql_exec(shop.app,
		"CREATE TABLE pets (id bigint PRIMARY KEY, owner bigint"
		" REFERENCES owners ON DELETE CASCADE);"
		"CREATE INDEX ON pets (owner);"
		"INSERT INTO pets SELECT g, g FROM generate_series(1, 100) g");
	sql_exec(holder, "BEGIN; SELECT FROM pets WHERE id = 42 FOR UPDATE");
	submit("owners", "true");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT holes = 1 AND key = last_key AND reason LIKE 'waits for"
		" 1 rows held by others: keys up to (50) for %%' FROM"
		" backfill.progress WHERE name = 'owners'");
	assert_string_equal(ids("owners"), "41 42 43 44 45 46 47 48 49 50");
	sql_exec(holder, "UPDATE pets SET owner = NULL WHERE id = 42; COMMIT");
	job_wait("owners", "succeeded");
	assert_string_equal(ids("owners"), "none");
	assert_string_equal(ids("pets"), "42");
	assert_counts("owners", "100 100 0");
}

static void test_cascade_without_an_index(void **state)
{
	(void)state;
	make_table("bare", 100);
	sql_exec(shop.app,
		"CREATE TABLE bare_child (id bigint PRIMARY KEY, parent bigint"
		" CONSTRAINT bare_parent REFERENCES bare ON DELETE CASCADE);"
		"INSERT INTO bare_child SELECT g, g"
		" FROM generate_series(1, 100) g");
	submit("bare", "true");
	job_fails("bare", "BF030",
		"foreign key bare_parent of table public.bare_child has no"
		" index on (parent)",
		"It is ON DELETE CASCADE: for each row that the job deletes"
		" the whole of public.bare_child would be read.",
		"CREATE INDEX CONCURRENTLY ON public.bare_child (parent);");
	assert_int_equal(sql_int(shop.db,
				 "SELECT (SELECT count(*) FROM bare) +"
				 " (SELECT count(*) FROM bare_child)"),
		200);

	/* As it was told. */
	sql_exec(shop.app,
		"CREATE INDEX CONCURRENTLY ON public.bare_child (parent)");
	sql_exec(shop.app, "SELECT backfill.retry('bare')");
	job_wait("bare", "succeeded");
	assert_string_equal(ids("bare"), "none");
	assert_string_equal(ids("bare_child"), "none");
}

/* ---- rows that refer to their own table */

/* parent is an expression of g, the id. */
static void make_tree(
	const char *name, const char *parent, const char *action, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, parent bigint"
		" CONSTRAINT %s_parent REFERENCES %s %s);"
		"CREATE INDEX ON %s (parent);"
		"INSERT INTO %s SELECT g, nullif(%s, 0)"
		" FROM generate_series(1, %d) g ORDER BY 1",
		name, name, name, action, name, name, parent, rows);
}

static void assert_felled(const char *name, int rows)
{
	char counts[64];

	job_wait(name, "succeeded");
	assert_string_equal(ids(name), "none");
	(void)snprintf(counts, sizeof counts, "%d %d 0", rows, rows);
	assert_counts(name, counts);
	assert_int_equal(
		sql_int(shop.db,
			"SELECT holes FROM backfill.progress WHERE name = '%s'",
			name),
		0);
}

/* Parents come before their children in the key, so nearly all are referred
 * to when their batch comes. */
static void test_tree(void **state)
{
	(void)state;
	make_tree("tree", "g / 2", "", 100);
	submit("tree", "true");
	assert_felled("tree", 100);
}

/* The other way round, and across. */
static void test_other_trees(void **state)
{
	(void)state;
	make_tree("upwards", "0", "", 100);
	sql_exec(shop.app, "UPDATE upwards SET parent = id + 1 WHERE id < 100");
	submit("upwards", "true");
	assert_felled("upwards", 100);

	make_tree("crossed", "0", "", 100);
	sql_exec(shop.app,
		"UPDATE crossed SET parent = id * 37 %% 101 WHERE id < 30");
	submit("crossed", "true");
	assert_felled("crossed", 100);
}

/* A row at a time, from its end. */
static void test_chain(void **state)
{
	(void)state;
	make_tree("chain", "g - 1", "ON DELETE RESTRICT", 25);
	submit("chain", "true");
	assert_felled("chain", 25);
}

/* By the first row go all, more than the job has counted. */
static void test_tree_that_cascades(void **state)
{
	(void)state;
	make_tree("falling", "g / 2", "ON DELETE CASCADE", 100);
	submit("falling", "true");
	job_wait("falling", "succeeded");
	assert_string_equal(ids("falling"), "none");
}

/* 12 is 6's, and stays: 6, 3 and 1 must stay too, 6 is named, and it is not
 * tried for ever. */
static void test_tree_with_a_leaf_that_stays(void **state)
{
	(void)state;
	make_tree("leaf", "g / 2", "", 100);
	submit("leaf",
		"id NOT IN (12, 24, 25, 48, 49, 50, 51, 96, 97, 98, 99,"
		" 100)");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'failed' FROM backfill.jobs"
		" WHERE name = 'leaf'");
	assert_string_equal(
		ids("leaf"), "1 3 6 12 24 25 48 49 50 51 96 97 98 99 100");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', error_sqlstate, error_message)"
			" FROM backfill.jobs WHERE name = 'leaf'"),
		"23503 update or delete on table \"leaf\" violates foreign key"
		" constraint \"leaf_parent\" on table \"leaf\"");
	assert_true(sql_true(shop.db,
		"SELECT error_detail ~ '^It is the row with key \\([136]\\),"
		" constraint \"leaf_parent\"\\.$' FROM backfill.jobs"
		" WHERE name = 'leaf'"));

	/* Both hold still; with the leaf the rest can go. */
	sql_exec(shop.app,
		"UPDATE leaf SET parent = NULL WHERE id = 12;"
		"SELECT backfill.retry('leaf')");
	job_wait("leaf", "succeeded");
	assert_string_equal(
		ids("leaf"), "12 24 25 48 49 50 51 96 97 98 99 100");
}

/* The same, recorded: each of the three, and no other. */
static void test_tree_recorded(void **state)
{
	(void)state;
	make_tree("listed", "g / 2", "", 40);
	submit_with("listed", "", "id NOT IN (12, 24, 25)", "record");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT error_sqlstate = 'BF027' FROM backfill.jobs"
		" WHERE name = 'listed'");
	assert_string_equal(ids("listed"), "1 3 6 12 24 25");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(concat_ws(' ', key, sqlstate), ', '"
			" ORDER BY key[1]::integer) FROM backfill.row_errors"
			" WHERE job_id = %lld AND resolved_at IS NULL",
			(long long)job_id("listed")),
		"{1} 23503, {3} 23503, {6} 23503");
	sql_exec(shop.app,
		"UPDATE listed SET parent = NULL WHERE id = 12;"
		"SELECT backfill.retry('listed')");
	job_wait("listed", "succeeded");
	assert_string_equal(ids("listed"), "12 24 25");
}

/* ---- beside others */

enum { WRITERS = 4, STORM_ROWS = 2000, STORM_SECONDS = 60 };

static void make_storm(void)
{
	sql_exec(shop.app,
		"CREATE TABLE storm (id bigint PRIMARY KEY, kept boolean NOT"
		" NULL DEFAULT false);"
		"INSERT INTO storm SELECT 10 * g, g %% 4 = 0"
		" FROM generate_series(1, %d) g;"
		/* How often each key came and went. */
		"CREATE TABLE ledger (id bigint, change integer);"
		"CREATE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS $$"
		" BEGIN IF TG_OP = 'DELETE' THEN"
		"  INSERT INTO public.ledger VALUES (OLD.id, -1);"
		" ELSE INSERT INTO public.ledger VALUES (NEW.id, 1); END IF;"
		" RETURN NULL; END $$;"
		"INSERT INTO ledger SELECT id, 1 FROM storm;"
		"CREATE TRIGGER book AFTER INSERT OR DELETE ON storm"
		" FOR EACH ROW EXECUTE FUNCTION book()",
		STORM_ROWS);
}

/* Each writer has keys of its own to insert, and all delete the same. */
static void send_write(PGconn *conn, int number, int around)
{
	int id = around - around % 10 + 10 * (rand() % 120 - 60);
	const char *end = rand() % 3 == 0 ? "ROLLBACK" : "COMMIT";
	char sql[512];

	switch (rand() % 3) {
	case 0:
		(void)snprintf(sql, sizeof sql,
			"BEGIN; DELETE FROM storm WHERE id = %d;"
			" SELECT pg_sleep(%f); %s",
			id, rand() % 20 / 1000.0, end);
		break;
	case 1:
		/* The same row anew. */
		(void)snprintf(sql, sizeof sql,
			"BEGIN; WITH d AS (DELETE FROM storm WHERE id = %d"
			" RETURNING *) INSERT INTO storm SELECT * FROM d;"
			" SELECT pg_sleep(%f); %s",
			id, rand() % 20 / 1000.0, end);
		break;
	default:
		(void)snprintf(sql, sizeof sql,
			"BEGIN; INSERT INTO storm VALUES (%d, %s) ON CONFLICT"
			" DO NOTHING; SELECT pg_sleep(%f); %s",
			id > 0 ? id + number : 10 + number,
			rand() % 4 == 0 ? "true" : "false",
			rand() % 20 / 1000.0, end);
		break;
	}
	assert_true(PQsendQuery(conn, sql));
}

static int is_idle(PGconn *conn)
{
	PGresult *result;

	assert_true(PQconsumeInput(conn));
	while (!PQisBusy(conn)) {
		result = PQgetResult(conn);
		if (result == NULL) {
			return 1;
		}
		assert_string_equal(PQresultErrorMessage(result), "");
		PQclear(result);
	}
	return 0;
}

/* They stop when the walk is over, so that the sweeps can find all. */
static void storm(void)
{
	PGconn *writers[WRITERS];
	uint64_t deadline = wait_deadline(STORM_SECONDS);
	int busy = 1;

	for (int i = 0; i < WRITERS; i++) {
		writers[i] = cluster_connect(shop.cluster, "shop", "app");
	}
	for (int is_over = 0; busy > 0 || !is_over;) {
		int around = (int)sql_int(shop.db,
			"SELECT coalesce(max(cursor[1]::integer), 1) FROM"
			" backfill.ranges WHERE job_id = %lld",
			(long long)job_id("storm"));

		is_over = around >= 9 * STORM_ROWS;
		busy = 0;
		for (int i = 0; i < WRITERS; i++) {
			if (!is_idle(writers[i])) {
				busy++;
			} else if (!is_over) {
				send_write(writers[i], i + 1, around);
			}
		}
		assert_true(wait_again(deadline));
	}
	for (int i = 0; i < WRITERS; i++) {
		PQfinish(writers[i]);
	}
}

static void test_storm(void **state)
{
	const char *seed = getenv("BACKFILL_SEED");

	(void)state;
	seed = seed != NULL && *seed != '\0' ? seed : "20240229";
	printf("BACKFILL_SEED=%s\n", seed);
	srand((unsigned)atoi(seed));
	make_storm();
	submit("storm", "NOT kept");
	storm();
	job_wait("storm", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*) > 0, bool_and(kept))"
			" FROM storm"),
		"t t");
	/* None went twice, and none that is still there. */
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM (SELECT id, sum(change) AS left"
			" FROM ledger GROUP BY id) l FULL JOIN storm s USING"
			" (id) WHERE l.left IS DISTINCT FROM"
			" (s.kept IS NOT NULL)::integer"),
		0);
	/* The application's part of it was noticed. */
	assert_true(sql_true(shop.db,
		"SELECT rows_read <> rows_done AND late_rows > 0"
		" FROM backfill.progress WHERE name = 'storm'"));
}

#define TEST(function) cmocka_unit_test_teardown(function, let_go)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_some_rows),
		TEST(test_all_rows),
		TEST(test_nothing_to_delete),
		TEST(test_retention),
		TEST(test_from_clause),
		TEST(test_row_triggers),
		TEST(test_child_of_restrict),
		TEST(test_child_of_no_action),
		TEST(test_child_of_a_deferred_key),
		TEST(test_child_recorded),
		TEST(test_child_rolled_back),
		TEST(test_child_of_cascade),
		TEST(test_child_of_set_null),
		TEST(test_cascade),
		TEST(test_cascade_to_a_held_child),
		TEST(test_cascade_without_an_index),
		TEST(test_tree),
		TEST(test_other_trees),
		TEST(test_chain),
		TEST(test_tree_that_cascades),
		TEST(test_tree_with_a_leaf_that_stays),
		TEST(test_tree_recorded),
		TEST(test_storm),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
