/* test_deferred.c: constraints that the table checks at COMMIT. A batch has
 * to find their violations itself, while it can still tell which row it is:
 * the rows before it stay changed, it is named, and nothing is half done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static const char HINT[] =
	"Mend the row, then backfill.retry(job) goes on from there. A job with"
	" on_row_error = 'record' sets such rows aside and goes on.";

/* ---- three tables, whose row 25 and row 33 the job cannot change */

struct kind {
	const char *name;
	const char *ddl; /* %1$s: the table, as below */
	const char *set_clause;
	const char *sqlstate;
	const char *message;
	const char *constraint; /* NULL: it has no name */
	const char *mend;
};

static const struct kind kinds[] = {
	{
		.name = "uniq",
		.ddl = "ALTER TABLE %1$s ADD CONSTRAINT %1$s_code UNIQUE (code)"
		       " DEFERRABLE INITIALLY DEFERRED",
		.set_clause = "changes = changes + 1, code = CASE WHEN id IN"
			      " (25, 33) THEN 0 ELSE code + 1000 END",
		.sqlstate = "23505",
		.message = "duplicate key value violates unique constraint"
			   " \"%1$s_code\"",
		.constraint = "%1$s_code",
		.mend = "DELETE FROM %1$s WHERE id = 0",
	},
	{
		.name = "refs",
		.ddl = "CREATE TABLE %1$s_codes (code bigint PRIMARY KEY);"
		       "INSERT INTO %1$s_codes SELECT generate_series(0, 100);"
		       "INSERT INTO %1$s_codes SELECT 1000 + g FROM"
		       " generate_series(1, 100) g WHERE g NOT IN (25, 33);"
		       "ALTER TABLE %1$s ADD CONSTRAINT %1$s_code FOREIGN KEY"
		       " (code) REFERENCES %1$s_codes DEFERRABLE INITIALLY"
		       " DEFERRED",
		.set_clause = "changes = changes + 1, code = code + 1000",
		.sqlstate = "23503",
		.message = "insert or update on table \"%1$s\" violates foreign"
			   " key constraint \"%1$s_code\"",
		.constraint = "%1$s_code",
		.mend = "INSERT INTO %1$s_codes VALUES (1025), (1033)",
	},
	{
		.name = "trig",
		.ddl = "CREATE TABLE %1$s_veto (id bigint);"
		       "INSERT INTO %1$s_veto VALUES (25), (33);"
		       "CREATE FUNCTION %1$s_check() RETURNS trigger LANGUAGE"
		       " plpgsql AS $$ BEGIN"
		       " IF EXISTS (SELECT FROM public.%1$s_veto v WHERE"
		       " v.id = NEW.id) THEN RAISE 'this row has a veto'; END"
		       " IF; RETURN NULL; END $$;"
		       "CREATE CONSTRAINT TRIGGER %1$s_check AFTER UPDATE ON"
		       " %1$s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
		       " EXECUTE FUNCTION %1$s_check()",
		.set_clause = "changes = changes + 1, code = code + 1000",
		.sqlstate = "P0001",
		.message = "this row has a veto",
		.constraint = NULL,
		.mend = "DELETE FROM %1$s_veto",
	},
};

enum { KINDS = sizeof kinds / sizeof kinds[0], ROWS = 40 };

/* format's %1$s are the table. Lives in a ring of 8. */
static const char *of(const char *format, const char *table)
{
	static char ring[8][2048];
	static int next;
	char *text = ring[next++ % 8];
	size_t length = 0;

	for (const char *from = format; *from != '\0';) {
		assert_true(length + 64 < sizeof ring[0]);
		if (strncmp(from, "%1$s", 4) == 0) {
			length += (size_t)snprintf(
				text + length, 64, "%s", table);
			from += 4;
		} else {
			text[length++] = *from++;
		}
	}
	text[length] = '\0';
	return text;
}

/* Rows 0 to ROWS; 0 is none of the job's. */
static void make_table(const struct kind *kind, const char *table)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, code bigint NOT NULL,"
		" changes integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT g, g FROM generate_series(0, %d) g",
		table, table, ROWS);
	sql_exec(shop.app, "%s", of(kind->ddl, table));
}

static void submit(
	const struct kind *kind, const char *table, const char *on_row_error)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, on_row_error, batch_rows, max_batch_rows)"
		" VALUES ('%s', '%s', $q$ %s $q$, 'id > 0 AND changes = 0',"
		" '%s', 10, 10)",
		table, table, kind->set_clause, on_row_error);
}

/* "how often: which rows", over all but row 0. */
static const char *changes(const char *table)
{
	return sql_text(shop.db,
		"SELECT string_agg(format('%%s: %%s', changes, ids), '; ' ORDER"
		" BY changes) FROM (SELECT changes, string_agg(CASE WHEN first"
		" = last THEN first::text ELSE format('%%s-%%s', first, last)"
		" END, ',' ORDER BY first) AS ids FROM (SELECT changes,"
		" min(id) AS first, max(id) AS last FROM (SELECT *,"
		" id - row_number() OVER (PARTITION BY changes ORDER BY id) AS"
		" island FROM %s WHERE id > 0) t GROUP BY changes, island) i"
		" GROUP BY changes) c",
		table);
}

/* A row's code says the same as its count. */
static void assert_not_half_done(const char *table)
{
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM %s WHERE id > 0 AND code <>"
			" id + 1000 * changes AND code <> 0",
			table),
		0);
	assert_int_equal(sql_int(shop.db,
				 "SELECT rows_done FROM backfill.progress"
				 " WHERE name = '%s'",
				 table),
		sql_int(shop.db, "SELECT sum(changes) FROM %s", table));
}

/* Statements that the server's log blames for an error, which stand at the end
 * of a line there. */
static int64_t blamed(const char *statement)
{
	return sql_int(shop.db,
		"SELECT count(*) FROM regexp_matches(pg_read_file("
		"'%s/server.log'), 'STATEMENT:  %s' || chr(10), 'g')",
		cluster_dir(shop.cluster), statement);
}

/* The constraints were looked at where the batch wants it, in its bounds of
 * time, and not at the last moment. */
static void assert_found_before_commit(void)
{
	assert_true(blamed("SET CONSTRAINTS ALL IMMEDIATE") > 0);
	assert_int_equal(blamed("COMMIT"), 0);
}

/* ---- stop */

static void check_stop(const struct kind *kind)
{
	char table[64], detail[256];

	(void)snprintf(table, sizeof table, "%s_stop", kind->name);
	make_table(kind, table);
	submit(kind, table, "stop");
	(void)snprintf(detail, sizeof detail,
		"It is the row with key (25)%s%s%s.",
		kind->constraint != NULL ? ", constraint \"" : "",
		kind->constraint != NULL ? of(kind->constraint, table) : "",
		kind->constraint != NULL ? "\"" : "");
	job_fails(
		table, kind->sqlstate, of(kind->message, table), detail, HINT);
	assert_string_equal(changes(table), "0: 25-40; 1: 1-24");
	assert_not_half_done(table);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM backfill.row_errors"),
		0);

	/* All 16 rows that are left, from there. */
	sql_exec(shop.app, "%s", of(kind->mend, table));
	if (strcmp(kind->name, "uniq") == 0) {
		/* Still twice the same. */
		sql_exec(shop.app, "DELETE FROM %s WHERE id = 33", table);
		sql_exec(shop.app, "SELECT backfill.retry('%s')", table);
		job_wait(table, "succeeded");
		assert_string_equal(changes(table), "1: 1-32,34-40");
	} else {
		sql_exec(shop.app, "SELECT backfill.retry('%s')", table);
		job_wait(table, "succeeded");
		assert_string_equal(changes(table), "1: 1-40");
	}
	assert_not_half_done(table);
}

static void test_stop(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		check_stop(&kinds[i]);
	}
	assert_found_before_commit();
}

/* ---- record */

static void assert_recorded(const struct kind *kind, const char *table)
{
	char wanted[1024];
	const char *constraint =
		kind->constraint != NULL ? of(kind->constraint, table) : "none";
	const char *message = of(kind->message, table);

	(void)snprintf(wanted, sizeof wanted,
		"{25} %s %s %s open|{33} %s %s %s open", kind->sqlstate,
		message, constraint, kind->sqlstate, message, constraint);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(concat_ws(' ', key, sqlstate,"
			" message, coalesce(constraint_name, 'none'),"
			" coalesce(resolved_at::text, 'open')), '|' ORDER BY"
			" id) FROM backfill.row_errors WHERE job_id = %lld",
			(long long)job_id(table)),
		wanted);
}

static void check_record(const struct kind *kind)
{
	char table[64], message[128], hint[128];
	long long id;

	(void)snprintf(table, sizeof table, "%s_record", kind->name);
	make_table(kind, table);
	submit(kind, table, "record");
	id = (long long)job_id(table);
	(void)snprintf(message, sizeof message,
		"2 rows of job %lld could not be changed", id);
	(void)snprintf(hint, sizeof hint,
		"Mend what is wrong with them, then call backfill.retry(%lld).",
		id);
	job_fails(table, "BF027", message,
		"38 rows were changed; these are in backfill.row_errors.",
		hint);
	assert_string_equal(changes(table), "0: 25,33; 1: 1-24,26-32,34-40");
	assert_not_half_done(table);
	assert_recorded(kind, table);
}

static void test_record(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		check_record(&kinds[i]);
	}
}

/* Mended rows are changed, once, and the others not again. */
static void check_retry(const struct kind *kind)
{
	char table[64];

	(void)snprintf(table, sizeof table, "%s_record", kind->name);
	sql_exec(shop.app, "%s", of(kind->mend, table));
	if (strcmp(kind->name, "uniq") == 0) {
		sql_exec(shop.app,
			"UPDATE %s SET changes = 1, code = 1033"
			" WHERE id = 33",
			table);
	}
	sql_exec(shop.app, "SELECT backfill.retry('%s')", table);
	job_wait(table, "succeeded");
	assert_string_equal(changes(table), "1: 1-40");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.row_errors"
				 " WHERE job_id = %lld AND resolved_at IS NULL",
				 (long long)job_id(table)),
		0);
}

static void test_retry(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		check_retry(&kinds[i]);
	}
}

/* ---- what deferring is for */

/* Violated within the statement, and kept at its end: what an immediate
 * constraint would refuse. */
static void test_kept_at_the_end_of_a_batch(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE swaps (id bigint PRIMARY KEY, code bigint NOT"
		" NULL UNIQUE DEFERRABLE INITIALLY DEFERRED, changes integer"
		" NOT NULL DEFAULT 0);"
		"INSERT INTO swaps SELECT g, g FROM generate_series(1, 40) g;"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('swaps', 'swaps',"
		" 'changes = changes + 1, code = code + CASE WHEN id %% 2 = 1"
		" THEN 1 ELSE -1 END', 10, 10)");
	job_wait("swaps", "succeeded");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM swaps WHERE changes = 1 AND"
			" code = CASE id %% 2 WHEN 1 THEN id + 1 ELSE id - 1"
			" END"),
		40);
	assert_int_equal(sql_int(shop.db,
				 "SELECT batches FROM backfill.progress"
				 " WHERE name = 'swaps'"),
		4);
}

/* The whole of a batch is checked, not row by row: an effect of one row on
 * another's check. */
static void test_sum_of_a_batch(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE sums (id bigint PRIMARY KEY, amount bigint NOT"
		" NULL DEFAULT 0);"
		"INSERT INTO sums SELECT generate_series(1, 40);"
		"CREATE FUNCTION sums_check() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN IF (SELECT sum(amount) FROM public.sums) <> 0"
		" THEN RAISE 'the sum is not zero'; END IF; RETURN NULL; END"
		" $$;"
		"CREATE CONSTRAINT TRIGGER sums_check AFTER UPDATE ON sums"
		" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION"
		" sums_check();"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows) VALUES ('sums', 'sums',"
		" 'amount = amount + CASE id %% 2 WHEN 1 THEN 5 ELSE -5 END',"
		" 10, 10)");
	job_wait("sums", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), sum(abs(amount)),"
			" sum(amount)) FROM sums"),
		"40 200 0");
}

/* ---- rows that are changed one by one */

/* The row was held while its batch passed: its violation is found all the
 * same. */
static void test_held_row(void **state)
{
	PGconn *holder = cluster_connect(shop.cluster, "shop", "app");
	char table[64];

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		(void)snprintf(table, sizeof table, "%s_held", kinds[i].name);
		make_table(&kinds[i], table);
		sql_exec(holder,
			"BEGIN; SELECT FROM %s WHERE id IN (25, 33)"
			" FOR UPDATE",
			table);
		submit(&kinds[i], table, "record");
		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT holes = 2 AND key = last_key FROM"
			" backfill.progress WHERE name = '%s'",
			table);
		sql_exec(holder, "ROLLBACK");
		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT error_sqlstate = 'BF027' FROM backfill.jobs"
			" WHERE name = '%s'",
			table);
		assert_string_equal(
			changes(table), "0: 25,33; 1: 1-24,26-32,34-40");
		assert_not_half_done(table);
		assert_recorded(&kinds[i], table);
	}
	assert_found_before_commit();
	PQfinish(holder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_kept_at_the_end_of_a_batch),
		cmocka_unit_test(test_sum_of_a_batch),
		cmocka_unit_test(test_held_row),
	};

	return cmocka_run_group_tests(tests, shop_start_patient, shop_stop);
}
