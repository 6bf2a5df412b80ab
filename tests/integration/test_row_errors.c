/* test_row_errors.c: rows that cannot be changed. Each is found, recorded by
 * its key and never by its values; the others are changed; and retry works
 * the recorded ones off once they are mended. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

#define SECRET "do not tell"

static void make_table(const char *table, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0,"
		" note text NOT NULL DEFAULT '" SECRET "',"
		" CONSTRAINT %s_low CHECK (n <= 1));"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		table, table, table, rows);
}

static void submit_recording(const char *name, const char *set_clause,
	const char *where_clause, int max_row_errors)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, on_row_error, max_row_errors)"
		" VALUES ('%s', '%s', '%s', nullif('%s', ''), 'record', %d)",
		name, name, set_clause, where_clause, max_row_errors);
}

static const char *recorded(const char *name)
{
	return sql_text(shop.db,
		"SELECT string_agg(concat_ws(' ', key::text, sqlstate,"
		" constraint_name, attempts, resolved_at IS NOT NULL), ', '"
		" ORDER BY key[1]::bigint) FROM backfill.row_errors"
		" WHERE job_id = %lld",
		(long long)job_id(name));
}

/* All that the schema holds of the job, but for its clauses. */
static void assert_secret_is_kept(const char *name)
{
	assert_int_equal(
		sql_int(shop.db,
			"SELECT (SELECT count(*) FROM backfill.row_errors e"
			" WHERE e::text LIKE '%%" SECRET "%%')"
			" + (SELECT count(*) FROM backfill.events e"
			" WHERE e::text LIKE '%%" SECRET "%%')"
			" + (SELECT count(*) FROM backfill.jobs j"
			" WHERE j.name = '%s' AND j::text LIKE '%%" SECRET
			"%%')",
			name),
		0);
	assert_null(strstr(daemon_log(shop.daemon), SECRET));
}

/* Of 100,000 rows seven would break the constraint: next to each other, at
 * both ends, and anywhere. */
static void test_seven_of_a_hundred_thousand(void **state)
{
	static const char seven[] = "1, 2, 40000, 40001, 77777, 99999, 100000";
	char message[160];
	char detail[160];
	char hint[160];

	(void)state;
	make_table("many", 100000);
	sql_exec(shop.app, "UPDATE many SET n = 1 WHERE id IN (%s)", seven);
	submit_recording("many", "n = n + 1", "", 100);
	(void)snprintf(message, sizeof message,
		"7 rows of job %lld could not be changed",
		(long long)job_id("many"));
	(void)snprintf(detail, sizeof detail,
		"99993 rows were changed; these are in backfill.row_errors.");
	(void)snprintf(hint, sizeof hint,
		"Mend what is wrong with them, then call backfill.retry(%lld).",
		(long long)job_id("many"));
	job_fails("many", "BF027", message, detail, hint);

	assert_string_equal(recorded("many"),
		"{1} 23514 many_low 1 f, {2} 23514 many_low 1 f,"
		" {40000} 23514 many_low 1 f, {40001} 23514 many_low 1 f,"
		" {77777} 23514 many_low 1 f, {99999} 23514 many_low 1 f,"
		" {100000} 23514 many_low 1 f");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT DISTINCT message FROM backfill.row_errors"),
		"new row for relation \"many\" violates check constraint"
		" \"many_low\"");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM many WHERE n <> 1"), 0);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_done, rows_read, holes,"
			" row_errors) FROM backfill.progress"
			" WHERE name = 'many'"),
		"99993 100000 0 7");
	assert_secret_is_kept("many");

	/* Mended, but for one; that one is told again and counted. */
	sql_exec(shop.app,
		"UPDATE many SET n = 0 WHERE id IN (%s) AND id <> 40001",
		seven);
	sql_exec(shop.app, "SELECT backfill.retry('many')");
	job_wait("many", "failed");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(concat_ws(' ', key::text, attempts),"
			" ', ') FROM backfill.row_errors"
			" WHERE resolved_at IS NULL"),
		"{40001} 2");
	assert_int_equal(sql_int(shop.db, "SELECT sum(n) FROM many"), 100000);

	sql_exec(shop.app, "UPDATE many SET n = 0 WHERE id = 40001");
	sql_exec(shop.app, "SELECT backfill.retry('many')");
	job_wait("many", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(n), max(n),"
			" (SELECT rows_done FROM backfill.progress"
			"  WHERE name = 'many'),"
			" (SELECT count(*) FROM backfill.row_errors"
			"  WHERE resolved_at IS NULL)) FROM many"),
		"100000 1 1 100000 0");
}

/* Every row is bad: the limit ends it, and nothing was changed. */
static void test_too_many(void **state)
{
	(void)state;
	make_table("toomany", 3000);
	submit_recording("toomany", "n = 5", "", 3);
	job_wait("toomany", "failed");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws('|', error_sqlstate,"
			" replace(error_message, id::text, 'N'), error_detail,"
			" replace(error_hint, id::text, 'N'))"
			" FROM backfill.jobs WHERE name = 'toomany'"),
		"BF026|more than 3 rows of job N could not be changed|"
		"The last one: 23514: new row for relation \"toomany\" violates"
		" check constraint \"toomany_low\"|"
		"See backfill.row_errors; mend what is wrong with the rows,"
		" then call backfill.retry(N).");
	assert_string_equal(recorded("toomany"),
		"{1} 23514 toomany_low 1 f, {2} 23514 toomany_low 1 f,"
		" {3} 23514 toomany_low 1 f");

	/* The constraint was the mistake. */
	sql_exec(shop.app, "ALTER TABLE toomany DROP CONSTRAINT toomany_low");
	sql_exec(shop.app, "SELECT backfill.retry('toomany')");
	job_wait("toomany", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), sum(n), (SELECT"
			" rows_done FROM backfill.progress WHERE name ="
			" 'toomany')) FROM toomany"),
		"3000 15000 3000");
}

/* The default: the first one ends the job, by name; after mending, retry
 * goes on from there. */
static void test_stop_and_retry(void **state)
{
	(void)state;
	make_table("stops", 5000);
	sql_exec(shop.app, "UPDATE stops SET n = 1 WHERE id = 2345");
	job_submit("stops", "stops", 700, "n = n + 1", NULL, NULL);
	job_fails("stops", "23514",
		"new row for relation \"stops\" violates check constraint"
		" \"stops_low\"",
		"It is the row with key (2345), constraint \"stops_low\".",
		"Mend the row, then backfill.retry(job) goes on from there. A"
		" job with on_row_error = 'record' sets such rows aside and"
		" goes on.");
	assert_secret_is_kept("stops");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*) FILTER (WHERE n = 1 AND"
			" id < 2345), count(*) FILTER (WHERE n <> 0 AND"
			" id > 2345)) FROM stops"),
		"2344 0");
	sql_exec(shop.app, "UPDATE stops SET n = 0 WHERE id = 2345");
	sql_exec(shop.app, "SELECT backfill.retry('stops')");
	job_wait("stops", "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM stops WHERE n <> 1"), 0);
	assert_int_equal(sql_int(shop.db,
				 "SELECT rows_done FROM backfill.progress"
				 " WHERE name = 'stops'"),
		5000);
}

/* What a row says: an error of its own expression, of a trigger, of a
 * subquery; and a BEFORE trigger that returns NULL. */
static void test_kinds_of_errors(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE kinds (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO kinds SELECT generate_series(1, 500);"
		"CREATE FUNCTION kinds_trigger() RETURNS trigger"
		" LANGUAGE plpgsql AS $$ BEGIN"
		" IF NEW.id = 100 THEN RAISE EXCEPTION 'no %%', NEW.id; END IF;"
		" IF NEW.id = 200 THEN RETURN NULL; END IF;"
		" RETURN NEW; END $$;"
		"CREATE TRIGGER kinds_t BEFORE UPDATE ON kinds FOR EACH ROW"
		" EXECUTE FUNCTION kinds_trigger()");
	submit_recording("kinds",
		"n = 1 / (id - 300) + (SELECT 1 FROM generate_series(1,"
		" CASE WHEN id = 400 THEN 2 ELSE 1 END))",
		"", 10);
	job_wait("kinds", "failed");
	assert_string_equal(recorded("kinds"),
		"{100} P0001 1 f, {200} BF014 1 f, {300} 22012 1 f,"
		" {400} 21000 1 f");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(id::text, ' ' ORDER BY id)"
			" FROM kinds WHERE n IS NULL"),
		"100 200 300 400");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seven_of_a_hundred_thousand),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_stop_and_retry),
		cmocka_unit_test(test_kinds_of_errors),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
