/* test_archive.c: jobs that delete rows into an archive_table: each row is in
 * one of the two tables at every instant, whoever holds it. What the preflight
 * refuses is in test_archive_preflight.c, tables that change in mid-job in
 * test_archive_changes.c, kills in fault/test_archive_kill.c. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

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

static void submit_with(const char *name, const char *target,
	const char *archive, const char *where_clause, const char *more,
	const char *values)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (kind, name, target, archive_table,"
		" where_clause, batch_rows, max_batch_rows,"
		" statement_timeout%s) VALUES ('delete', '%s', '%s', '%s',"
		" $q$%s$q$, 10, 10, '10min'%s)",
		more, name, target, archive, where_clause, values);
}

/* Of the table of the same name into NAME_old. */
static void submit(const char *name, const char *where_clause)
{
	char archive[64];

	(void)snprintf(archive, sizeof archive, "%s_old", name);
	submit_with(name, name, archive, where_clause, "", "");
}

/* NAME with ids from 1, and NAME_old. */
static void make_tables(const char *name, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL,"
		" pad text);"
		"INSERT INTO %s SELECT g, g %% 7, repeat('x', g %% 13)"
		" FROM generate_series(1, %d) g;"
		"CREATE TABLE %s_old (LIKE %s)",
		name, name, rows, name, name);
}

/* All that was there is in one of the two, once. */
static void assert_none_lost(const char *name, int rows)
{
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), count(DISTINCT id),"
			" count(*) FILTER (WHERE n = id %% 7 AND pad ="
			" repeat('x', (id %% 13)::integer)) = count(*))"
			" FROM (SELECT id, n, pad FROM %s UNION ALL"
			" SELECT id, n, pad FROM %s_old) u",
			name, name),
		sql_text(shop.db, "SELECT concat_ws(' ', %d, %d, true)", rows,
			rows));
	assert_int_equal(
		sql_int(shop.db,
			"SELECT rows_done - (SELECT count(*) FROM %s_old)"
			" FROM backfill.progress WHERE name = '%s'",
			name, name),
		0);
}

static const char *ids(const char *table)
{
	return sql_text(shop.db,
		"SELECT coalesce(string_agg(id::text, ' ' ORDER BY id),"
		" 'none') FROM %s",
		table);
}

/* ---- alone */

static void test_some_rows(void **state)
{
	(void)state;
	make_tables("part", 200);
	submit("part", "id % 4 <> 0");
	job_wait("part", "succeeded");
	assert_none_lost("part", 200);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM part_old"
				 " WHERE id %% 4 <> 0"),
		150);
	assert_true(sql_true(shop.db,
		"SELECT detail ~ 'deleted rows go into public\\.part_old'"
		" FROM backfill.events WHERE job_id = %lld"
		" AND event = 'preflight'",
		(long long)job_id("part")));
}

/* Columns are known by their names, whatever order and company they have
 * there; the sweep archives too. */
static void test_columns(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE odd (dropped integer,"
		" id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
		" \"Odd \"\"name\" text NOT NULL, n numeric(9, 2),"
		" twice bigint GENERATED ALWAYS AS (n * 2) STORED,"
		" thrice bigint GENERATED ALWAYS AS (n * 3) STORED,"
		" half numeric, tags text[], doc jsonb, at timestamptz"
		" DEFAULT clock_timestamp());"
		"ALTER TABLE odd DROP dropped;"
		"INSERT INTO odd (\"Odd \"\"name\", n, half, tags, doc) SELECT"
		" 'name ' || g, g, g / 2.0, ARRAY['a', g::text],"
		" jsonb_build_object('g', g, 'big', repeat(md5(g::text), 200))"
		" FROM generate_series(1, 100) g;"
		"CREATE TABLE odd_before AS SELECT * FROM odd;"
		"CREATE TABLE odd_old (archived_at timestamptz NOT NULL"
		" DEFAULT now(), doc jsonb, tags text[], twice bigint,"
		" \"Odd \"\"name\" text, n numeric(9, 2),"
		" number serial, half numeric GENERATED ALWAYS AS (n / 2)"
		" STORED, id bigint GENERATED ALWAYS AS IDENTITY,"
		" at timestamptz)");
	gate_close(45);
	submit("odd", "gate_pass(id) = 0");
	gate_wait("odd");
	sql_exec(shop.app,
		"INSERT INTO odd (id, \"Odd \"\"name\", n, half)"
		" OVERRIDING SYSTEM VALUE VALUES (-5, 'late', 1, 0.5);"
		"INSERT INTO odd_before SELECT * FROM odd WHERE id = -5");
	gate_open();
	job_wait("odd", "succeeded");
	assert_string_equal(ids("odd"), "none");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM odd_old o JOIN"
				 " odd_before b USING (id) WHERE ROW(o.doc,"
				 " o.tags, o.twice, o.\"Odd \"\"name\", o.n,"
				 " o.half, o.at) IS NOT DISTINCT FROM"
				 " ROW(b.doc, b.tags, b.twice,"
				 " b.\"Odd \"\"name\", b.n, b.half, b.at)"
				 " AND o.archived_at >= b.at"),
		101);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(DISTINCT number)"
				 " FROM odd_old"),
		101);
	assert_true(sql_true(shop.db,
		"SELECT detail ~ 'public\\.odd_old generates columns whose"
		" values do not go there: half' AND detail !~ 'cast'"
		" FROM backfill.events WHERE job_id = %lld"
		" AND event = 'preflight'",
		(long long)job_id("odd")));
}

static void test_other_types(void **state)
{
	(void)state;
	make_tables("typed", 30);
	sql_exec(shop.app,
		"ALTER TABLE typed_old ALTER n TYPE bigint,"
		" ALTER pad TYPE varchar(40)");
	submit("typed", "id > 10");
	job_wait("typed", "succeeded");
	assert_none_lost("typed", 30);
	assert_true(sql_true(shop.db,
		"SELECT strpos(detail, 'values are cast on their way into"
		" public.typed_old: n is integer and bigint there, pad is text"
		" and character varying(40) there') > 0"
		" FROM backfill.events WHERE job_id = %lld"
		" AND event = 'preflight'",
		(long long)job_id("typed")));
}

static void test_partitioned(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE months (id bigint PRIMARY KEY, n integer NOT"
		" NULL, pad text);"
		"INSERT INTO months SELECT g, g %% 7, repeat('x', g %% 13)"
		" FROM generate_series(1, 100) g;"
		"CREATE TABLE months_old (pad text, id bigint, n integer)"
		" PARTITION BY RANGE (id);"
		"CREATE TABLE months_1 PARTITION OF months_old"
		" FOR VALUES FROM (0) TO (50);"
		"CREATE TABLE months_2 (n integer, junk text, pad text,"
		" id bigint);"
		"ALTER TABLE months_2 DROP junk;"
		"ALTER TABLE months_old ATTACH PARTITION months_2"
		" FOR VALUES FROM (50) TO (101)");
	submit("months", "true");
	job_wait("months", "succeeded");
	assert_none_lost("months", 100);
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM months_2"), 51);
}

static void test_there_and_back(void **state)
{
	const char *sum = "SELECT md5(string_agg(t::text, ',' ORDER BY id))"
			  " FROM moved t";
	char before[64];

	(void)state;
	make_tables("moved", 100);
	sql_exec(shop.app, "ALTER TABLE moved_old ADD PRIMARY KEY (id)");
	(void)snprintf(
		before, sizeof before, "%s", sql_text(shop.db, "%s", sum));
	submit("moved", "n < 4");
	job_wait("moved", "succeeded");
	assert_none_lost("moved", 100);
	assert_string_not_equal(sql_text(shop.db, "%s", sum), before);
	submit_with("back", "moved_old", "moved", "true", "", "");
	job_wait("back", "succeeded");
	assert_string_equal(ids("moved_old"), "none");
	assert_string_equal(sql_text(shop.db, "%s", sum), before);
}

/* ---- rows that others hold */

/* Single rows become holes, more than 100 a window. At each commit the two
 * tables together are what there was. */
static void test_held_rows(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE FUNCTION whole() RETURNS trigger LANGUAGE plpgsql AS"
		" $$ BEGIN IF (SELECT count(*) FROM held) + (SELECT count(*)"
		" FROM held_old) <> 1000 THEN RAISE 'torn'; END IF;"
		" RETURN NULL; END $$");
	make_tables("held", 1000);
	sql_exec(shop.app,
		"CREATE CONSTRAINT TRIGGER whole AFTER INSERT ON held_old"
		" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
		" EXECUTE FUNCTION whole()");
	sql_exec(holder,
		"BEGIN; SELECT FROM held WHERE id IN (1, 77, 1000)"
		" OR id BETWEEN 301 AND 450 FOR UPDATE");
	submit_with("held", "held", "held_old", "true", ", target_batch_time",
		", '1min'");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 847 AND reason ~ '^waits for'"
		" FROM backfill.progress WHERE name = 'held'");
	assert_none_lost("held", 1000);
	/* One is inserted anew, one goes, and one comes above the bound. */
	sql_exec(holder,
		"DELETE FROM held WHERE id = 77;"
		"DELETE FROM held WHERE id = 1000;"
		"INSERT INTO held VALUES (2000, 2000 %% 7,"
		" repeat('x', 2000 %% 13)), (77, 0, repeat('x', 12))");
	sql_exec(holder, "COMMIT");
	job_wait("held", "succeeded");
	assert_string_equal(ids("held"), "2000");
	assert_none_lost("held", 1000);
}

static void test_held_window(void **state)
{
	(void)state;
	make_tables("windows", 600);
	sql_exec(holder,
		"BEGIN; SELECT FROM windows WHERE id BETWEEN 150 AND 450"
		" FOR UPDATE");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (kind, name, target, archive_table,"
		" where_clause, batch_rows, max_batch_rows) VALUES ('delete',"
		" 'windows', 'windows', 'windows_old', 'true', 300, 300)");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM backfill.events WHERE job_id ="
		" %lld AND event = 'window_hole')",
		(long long)job_id("windows"));
	sql_exec(holder, "COMMIT");
	job_wait("windows", "succeeded");
	assert_string_equal(ids("windows"), "none");
	assert_none_lost("windows", 600);
}

/* ---- rows that the archive does not take */

static void make_swallower(const char *table, int id)
{
	sql_exec(shop.app,
		"CREATE FUNCTION %s_swallow() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN RETURN CASE WHEN NEW.id = %d THEN NULL ELSE NEW"
		" END; END $$;"
		"CREATE TRIGGER swallow BEFORE INSERT ON %s FOR EACH ROW"
		" EXECUTE FUNCTION %s_swallow()",
		table, id, table, table);
}

static void fails_by_trigger(const char *name, int id)
{
	char message[128], detail[64];

	(void)snprintf(message, sizeof message,
		"a batch of job %lld deleted 1 rows and archived 0",
		(long long)job_id(name));
	(void)snprintf(
		detail, sizeof detail, "It is the row with key (%d).", id);
	job_fails(name, "BF037", message, detail,
		"Does one of the archive's BEFORE triggers return NULL:"
		" swallow?");
}

static void test_trigger_returns_null(void **state)
{
	(void)state;
	make_tables("eaten", 100);
	make_swallower("eaten_old", 42);
	submit("eaten", "true");
	fails_by_trigger("eaten", 42);
	assert_none_lost("eaten", 100);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM eaten WHERE id = 42"),
		1);

	sql_exec(shop.app,
		"DROP TRIGGER swallow ON eaten_old;"
		"SELECT backfill.retry('eaten')");
	job_wait("eaten", "succeeded");
	assert_string_equal(ids("eaten"), "none");
	assert_none_lost("eaten", 100);
}

static void test_trigger_returns_null_for_a_held_row(void **state)
{
	(void)state;
	make_tables("bitten", 100);
	make_swallower("bitten_old", 42);
	sql_exec(holder, "BEGIN; SELECT FROM bitten WHERE id = 42 FOR UPDATE");
	submit("bitten", "true");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 99 FROM backfill.progress"
		" WHERE name = 'bitten'");
	sql_exec(holder, "COMMIT");
	fails_by_trigger("bitten", 42);
	assert_string_equal(ids("bitten"), "42");
	assert_none_lost("bitten", 100);
}

static void test_refused_rows_are_recorded(void **state)
{
	char message[128], hint[128];
	long long id;

	(void)state;
	make_tables("noted", 100);
	make_swallower("noted_old", 42);
	sql_exec(shop.app,
		"ALTER TABLE noted_old ADD PRIMARY KEY (id),"
		" ADD CONSTRAINT small CHECK (id <> 7);"
		"INSERT INTO noted_old VALUES (13, 0, '')");
	submit_with("noted", "noted", "noted_old", "true", ", on_row_error",
		", 'record'");
	id = (long long)job_id("noted");
	(void)snprintf(message, sizeof message,
		"3 rows of job %lld could not be changed", id);
	(void)snprintf(hint, sizeof hint,
		"Mend what is wrong with them, then call backfill.retry(%lld).",
		id);
	job_fails("noted", "BF027", message,
		"97 rows were changed; these are in backfill.row_errors.",
		hint);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(concat_ws(' ', key[1], sqlstate,"
			" constraint_name), ', ' ORDER BY key[1]::int)"
			" FROM backfill.row_errors WHERE job_id = %lld",
			id),
		"7 23514 small, 13 23505 noted_old_pkey, 42 BF037");
	assert_string_equal(ids("noted"), "7 13 42");

	sql_exec(shop.app,
		"DROP TRIGGER swallow ON noted_old;"
		"ALTER TABLE noted_old DROP CONSTRAINT small;"
		"DELETE FROM noted_old WHERE id = 13;"
		"SELECT backfill.retry('noted')");
	job_wait("noted", "succeeded");
	assert_string_equal(ids("noted"), "none");
	assert_none_lost("noted", 100);
}

/* ---- a dry run */

static void test_dry_run(void **state)
{
	(void)state;
	make_tables("tried", 100);
	make_swallower("tried_old", 42);
	submit_with(
		"tried", "tried", "tried_old", "true", ", dry_run", ", true");
	job_wait("tried", "succeeded");
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM tried"), 100);
	assert_string_equal(ids("tried_old"), "none");
	assert_true(sql_true(shop.db,
		"SELECT report->'findings' ? 'the dry run put no row into"
		" public.tried_old: what its constraints and triggers say to"
		" them was not tried, and the forecast is without them'"
		" AND report->'findings' ? 'triggers of public.tried_old fire"
		" for them: swallow' AND (report->>'rows_eligible')::int = 10"
		" FROM backfill.jobs WHERE name = 'tried'"));
}

#define TEST(name) cmocka_unit_test_teardown(name, let_go)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_some_rows),
		TEST(test_columns),
		TEST(test_other_types),
		TEST(test_partitioned),
		TEST(test_there_and_back),
		TEST(test_held_rows),
		TEST(test_held_window),
		TEST(test_trigger_returns_null),
		TEST(test_trigger_returns_null_for_a_held_row),
		TEST(test_refused_rows_are_recorded),
		TEST(test_dry_run),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
