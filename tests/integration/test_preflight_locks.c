/* test_preflight_locks.c: from the catalog it is known which batches may wait
 * for locks of others, and which row lock makes them pass over a row. */
#include <stdio.h>

#include "cmocka_all.h"
#include "shop.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_all(const char *query)
{
	if (!sql_true(shop.db, "%s", query)) {
		fail_msg("not true: %s", query);
	}
}

/* The batch itself tells: its statements end before deadlock_timeout. */
static void test_may_wait(void **state)
{
	static const struct {
		const char *column; /* of table waits, that SET names */
		int may_wait;
	} cases[] = {
		{ "plain", 0 },
		{ "indexed", 0 },
		{ "included", 0 },
		{ "refers", 1 },
		{ "uniq", 1 },
		{ "partly", 1 },
		{ "lowered", 1 },
		{ "excluded", 1 },
		{ "generates", 1 },
		{ "watched", 1 },
	};

	(void)state;
	sql_exec(shop.app,
		"CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN RETURN NULL; END $$;"
		"CREATE TABLE referred (id int PRIMARY KEY);"
		"INSERT INTO referred VALUES (0);"
		"CREATE TABLE waits (id int PRIMARY KEY, waited text, plain "
		"int,"
		" indexed int, included int, refers int REFERENCES referred,"
		" uniq int UNIQUE, partly int, lowered int, excluded int"
		" UNIQUE DEFERRABLE, generates int, generated int GENERATED"
		" ALWAYS AS (generates + id) STORED UNIQUE, watched int,"
		" EXCLUDE (excluded WITH =));"
		"CREATE INDEX ON waits (indexed);"
		"CREATE UNIQUE INDEX ON waits (id) INCLUDE (included);"
		"CREATE UNIQUE INDEX ON waits (id) WHERE partly > 0;"
		"CREATE UNIQUE INDEX ON waits (id, (lowered + 1));"
		"CREATE TRIGGER watch AFTER UPDATE OF watched ON waits"
		" EXECUTE FUNCTION nothing();"
		"INSERT INTO waits (id) SELECT generate_series(1, 10)");
	for (size_t i = 0; i < COUNT(cases); i++) {
		char name[32];

		sql_exec(shop.app,
			"INSERT INTO backfill.jobs (name, target, set_clause,"
			" statement_timeout) VALUES ('waits %s', 'waits', '%s ="
			" NULL, waited = current_setting(''statement_timeout'')"
			"', '10min')",
			cases[i].column, cases[i].column);
		(void)snprintf(name, sizeof name, "waits %s", cases[i].column);
		job_wait(name, "succeeded");
		if (!sql_true(shop.db,
			    "SELECT bool_and((waited <> '10min') = %s)"
			    " FROM waits",
			    cases[i].may_wait ? "true" : "false")) {
			fail_msg("SET of %s: %s", cases[i].column,
				sql_text(shop.db,
					"SELECT min(waited) FROM waits"));
		}
	}
}

/* As far as the names tell: what is not PostgreSQL's own and may do anything
 * may take locks, too. */
static void test_clauses_may_wait(void **state)
{
	static const struct {
		const char *set, *from, *where;
		int may_wait;
	} cases[] = {
		{ "n = fixed(n)", "", "fixed(n) IS NULL", 0 },
		{ "n = steady(n)", "", "steady(n) IS NULL", 0 },
		{ "n = careless(n)", "", "true", 1 },
		{ "n = 1", "", "careless(n) IS NULL", 1 },
		{ "n = 1", "careless(1) c", "true", 1 },
		{ "n = apart.careless(n)", "", "true", 1 },
		{ "n = hidden(n)", "", "true", 0 },
		{ "n = nextval('numbers') + random()", "",
			"clock_timestamp() > '2000-01-01'"
			" AND gen_random_uuid() IS NOT NULL",
			0 },
		{ "note = 'careless(1) FOR UPDATE'", "", "true", 0 },
		{ "n = CASE WHEN pg_advisory_xact_lock(7) IS NULL THEN 1 END",
			"", "true", 1 },
		{ "n = CASE WHEN pg_try_advisory_xact_lock(7) THEN 1 END", "",
			"true", 0 },
		{ "n = (SELECT k FROM kept FOR UPDATE)", "", "true", 1 },
		{ "n = 1", "", "EXISTS (SELECT FROM kept FOR KEY SHARE)", 1 },
		{ "n = 1", "(SELECT k FROM kept FOR SHARE) k", "true", 1 },
	};

	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA apart AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE FUNCTION fixed(int) RETURNS int LANGUAGE plpgsql"
		" IMMUTABLE AS 'BEGIN RETURN $1; END';"
		"CREATE FUNCTION steady(int) RETURNS int LANGUAGE plpgsql"
		" STABLE AS 'BEGIN RETURN $1; END';"
		"CREATE FUNCTION careless(int) RETURNS int LANGUAGE plpgsql"
		" AS 'BEGIN RETURN $1; END';"
		"CREATE FUNCTION apart.careless(int) RETURNS int LANGUAGE"
		" plpgsql AS 'BEGIN RETURN $1; END';"
		"CREATE FUNCTION hidden(int) RETURNS int LANGUAGE plpgsql"
		" IMMUTABLE AS 'BEGIN RETURN $1; END';"
		"CREATE FUNCTION apart.hidden(int) RETURNS int LANGUAGE"
		" plpgsql AS 'BEGIN RETURN $1; END';"
		"CREATE SEQUENCE numbers; CREATE TABLE kept (k int);"
		"INSERT INTO kept VALUES (1);"
		"CREATE TABLE calls (id int PRIMARY KEY, n int, note text,"
		" waited text)");
	for (size_t i = 0; i < COUNT(cases); i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "calls %zu", i);
		sql_exec(shop.app,
			"DELETE FROM calls;"
			"INSERT INTO calls SELECT generate_series(1, 10);"
			"INSERT INTO backfill.jobs (name, target, set_clause,"
			" from_clause, where_clause, statement_timeout) VALUES"
			" ('%s', 'calls', $q$%s, waited ="
			" current_setting('statement_timeout')$q$,"
			" nullif($q$%s$q$, ''), $q$%s$q$, '10min')",
			name, cases[i].set, cases[i].from, cases[i].where);
		job_wait(name, "succeeded");
		if (!sql_true(shop.db,
			    "SELECT bool_and((waited <> '10min') = %s)"
			    " FROM calls",
			    cases[i].may_wait ? "true" : "false")) {
			fail_msg("SET %s WHERE %s: %s", cases[i].set,
				cases[i].where,
				sql_text(shop.db,
					"SELECT min(waited) FROM calls"));
		}
	}
	assert_true(sql_true(shop.db,
		"SELECT e.detail LIKE '%%set_clause calls public.careless(),"
		" which is VOLATILE and may wait for locks: a batch ends"
		" before the server looks for deadlocks; declare it STABLE or"
		" IMMUTABLE if it is' FROM backfill.events e"
		" JOIN backfill.jobs j ON j.id = e.job_id"
		" WHERE j.name = 'calls 2' AND e.event = 'preflight'"));
}

/* A delete waits for the rows that refer to its own. */
static void test_delete_may_wait(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE noted (job text, timeout text);"
		"CREATE FUNCTION note_down(job text) RETURNS boolean LANGUAGE"
		" sql AS $$ INSERT INTO public.noted VALUES (job,"
		" current_setting('statement_timeout')) RETURNING true $$;"
		/* Not declared as what it is, or each job might wait. */
		"CREATE FUNCTION note(job text, id bigint) RETURNS boolean"
		" LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
		" RETURN public.note_down(job); END $$;"
		"CREATE TABLE alone (id bigint PRIMARY KEY);"
		"INSERT INTO alone SELECT generate_series(1, 10);"
		"CREATE TABLE pointed (id bigint PRIMARY KEY);"
		"INSERT INTO pointed SELECT generate_series(1, 10);"
		"CREATE TABLE points (id bigint REFERENCES pointed);"
		"INSERT INTO backfill.jobs (name, kind, target, where_clause,"
		" statement_timeout) VALUES ('alone', 'delete', 'alone',"
		" 'note(''alone'', id)', '10min'), ('pointed', 'delete', "
		"'pointed',"
		" 'note(''pointed'', id)', '10min')");
	job_wait("alone", "succeeded");
	job_wait("pointed", "succeeded");
	assert_all("SELECT count(*) >= 10 AND bool_and(timeout = '10min')"
		   " FROM noted WHERE job = 'alone'");
	assert_all("SELECT count(*) >= 10 AND bool_and(timeout <> '10min')"
		   " FROM noted WHERE job = 'pointed'");
	assert_all("SELECT (SELECT count(*) FROM alone)"
		   " + (SELECT count(*) FROM pointed) = 0");
}

/* Another row refers to it, or may do so soon. */
static void test_delete_of_a_referenced_row(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE head (id bigint PRIMARY KEY);"
		"INSERT INTO head SELECT generate_series(1, 10);"
		"CREATE TABLE line (id bigint REFERENCES head);"
		"CREATE INDEX ON line (id)");
	sql_exec(other, "BEGIN; INSERT INTO line VALUES (5)");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, where_clause)"
		" VALUES ('head', 'delete', 'head', 'true')");
	/* Passed over, not waited for: a batch that waits is cancelled and
	 * cut into smaller ones. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 9 AND holes = 1 FROM backfill.progress"
		" WHERE name = 'head'");
	assert_all("SELECT batches = 1 FROM backfill.progress"
		   " WHERE name = 'head'");
	sql_exec(other, "ROLLBACK");
	PQfinish(other);
	job_wait("head", "succeeded");
	assert_all("SELECT count(*) = 0 FROM head");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_may_wait),
		cmocka_unit_test(test_clauses_may_wait),
		cmocka_unit_test(test_delete_may_wait),
		cmocka_unit_test(test_delete_of_a_referenced_row),
	};

	return cmocka_run_group_tests(tests, shop_start_patient, shop_stop);
}
