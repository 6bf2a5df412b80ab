/* test_clauses.c: a clause means what it meant to the person who wrote it:
 * under that person's search_path, TimeZone and DateStyle, whatever names
 * the table, its columns or the clause share with ours, and however it is
 * written. Each job runs in batches of seven rows. */
#include <stdio.h>

#include "cmocka_all.h"
#include "shop.h"

enum { BATCH = 7 };

static void submit(const char *name, const char *target, const char *set_clause,
	const char *where_clause)
{
	job_submit(name, target, BATCH, set_clause, where_clause, NULL);
}

/* Whether the query returns true, of each row. */
static void assert_all(const char *query)
{
	if (!sql_true(shop.db, "%s", query)) {
		fail_msg("not true: %s", query);
	}
}

static void make_table(const char *table)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, note text);"
		"INSERT INTO %s (id) SELECT generate_series(1, 50)",
		table, table);
}

/* ---- each row once */

static void test_prices_are_raised_once(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE products (id bigint PRIMARY KEY, cat text,"
		" price numeric NOT NULL);"
		"INSERT INTO products SELECT g, CASE WHEN g %% 3 = 0 THEN"
		" 'books' ELSE 'toys' END, g FROM generate_series(1, 100) g");
	submit("prices", "products", "price = price * 1.1", "cat = 'books'");
	job_wait("prices", "succeeded");
	assert_all("SELECT bool_and(price = CASE WHEN cat = 'books'"
		   " THEN id * 1.1 ELSE id END) FROM products");
	assert_all("SELECT rows_done = 33 AND rows_still_matching = 33"
		   " AND rows_read = 100"
		   " FROM backfill.progress WHERE name = 'prices'");
}

/* ---- names like ours */

/* Each is a table of its own, that changes by what other tables say. */
static void test_tables_named_like_ours(void **state)
{
	static const char *const names[] = { "jobs", "ranges", "holes",
		"events", "daemons", "stop", "w", "c", "u", "h", "g", "q", "s",
		"r", "j", "__backfill_w", "__backfill_c", "__backfill_u",
		"__backfill_q", "backfill", "checkpoint", "held" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char clause[256];

		make_table(names[i]);
		(void)snprintf(clause, sizeof clause,
			"n = %s.n + 1 + (SELECT count(*) FROM %s s"
			" WHERE s.id > 50)::int",
			names[i], names[i]);
		submit(names[i], names[i], clause, "n = 0");
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		job_wait(names[i], "succeeded");
		assert_true(sql_true(shop.db,
			"SELECT bool_and(n = 1) AND count(*) = 50"
			" FROM public.%s",
			names[i]));
	}
}

/* In the tables of the test before. */
static void test_subqueries_that_read_tables_named_like_ours(void **state)
{
	(void)state;
	make_table("reader");
	sql_exec(shop.app,
		"UPDATE c SET n = id; UPDATE jobs SET n = id;"
		"UPDATE __backfill_c SET n = id; UPDATE __backfill_w SET n = "
		"id;"
		"UPDATE __backfill_u SET n = id");
	submit("reader", "reader",
		"n = (SELECT c.n FROM c WHERE c.id = reader.id)"
		" + (SELECT jobs.n FROM jobs WHERE jobs.id = reader.id)"
		" + (SELECT count(*) FROM __backfill_u)::int",
		"EXISTS (SELECT FROM __backfill_c WHERE __backfill_c.n ="
		" reader.id) AND (SELECT count(*) FROM __backfill_w) = 50"
		" AND reader.n = 0");
	job_wait("reader", "succeeded");
	assert_all("SELECT bool_and(n = 2 * id + 50) FROM reader");
}

static void test_columns_named_like_ours(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE columns (__backfill_k1 bigint,"
		" __backfill_k2 int, held text, at int, job int, epoch int,"
		" range int, seq int, read int, size int, __backfill_same"
		" boolean, __backfill_still boolean, tableoid_ int,"
		" PRIMARY KEY (__backfill_k1, __backfill_k2));"
		"INSERT INTO columns SELECT g, g, 'h', 1, 2, 3, 4, 5, 6, 7"
		" FROM generate_series(1, 50) g");
	submit("columns", "columns",
		"held = held || at || job || epoch || range || seq || read"
		" || size || __backfill_k1, at = __backfill_k2,"
		" __backfill_same = false, __backfill_still = NULL",
		"columns.held = 'h' AND __backfill_k1 = __backfill_k2");
	job_wait("columns", "succeeded");
	assert_all("SELECT bool_and(held = 'h1234567' || __backfill_k1"
		   " AND at = __backfill_k1 AND NOT __backfill_same)"
		   " FROM columns");
	assert_all("SELECT rows_done = 50 AND rows_still_matching = 0"
		   " FROM backfill.progress WHERE name = 'columns'");
}

/* A schema ahead of pg_catalog with functions, operators and types of the
 * names that our statements use: the clauses get them, we do not. */
static void test_functions_and_operators_of_the_users_own(void **state)
{
	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA mine AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE FUNCTION mine.count(bigint) RETURNS bigint"
		" LANGUAGE sql AS 'SELECT -1::bigint';"
		"CREATE FUNCTION mine.format(text, bigint) RETURNS text"
		" LANGUAGE sql AS $$ SELECT 'mine' $$;"
		"CREATE FUNCTION mine.upper(text) RETURNS text"
		" LANGUAGE sql AS $$ SELECT 'mine ' || $1 $$;"
		"CREATE FUNCTION mine.no(bigint, bigint) RETURNS boolean"
		" LANGUAGE sql AS 'SELECT false';"
		"CREATE OPERATOR mine.= (LEFTARG = bigint, RIGHTARG = bigint,"
		" FUNCTION = mine.no);"
		"CREATE OPERATOR mine.<> (LEFTARG = bigint, RIGHTARG = bigint,"
		" FUNCTION = mine.no);"
		"CREATE OPERATOR mine.> (LEFTARG = bigint, RIGHTARG = bigint,"
		" FUNCTION = mine.no);"
		"CREATE FUNCTION mine.no(oid, oid) RETURNS boolean"
		" LANGUAGE sql AS 'SELECT false';"
		"CREATE OPERATOR mine.= (LEFTARG = oid, RIGHTARG = oid,"
		" FUNCTION = mine.no);"
		"CREATE DOMAIN mine.bigint AS text;"
		"CREATE DOMAIN mine.text AS integer;"
		"CREATE TABLE owned (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, note pg_catalog.text);"
		"INSERT INTO owned SELECT generate_series(1, 50);"
		"SET search_path = mine, pg_catalog, public");
	submit("owned", "owned",
		"n = n + 1, note = upper('x') || format('%s', id) ||"
		" (id > 0::pg_catalog.int8)",
		"NOT id <> 5::pg_catalog.int8");
	sql_exec(shop.app, "RESET search_path");
	job_wait("owned", "succeeded");
	assert_all("SELECT bool_and(n = 1 AND note = 'mine xminefalse')"
		   " FROM owned");
	assert_all("SELECT rows_read = 50 AND rows_done = 50 AND batches = 8"
		   " AND rows_still_matching = 50"
		   " FROM backfill.progress WHERE name = 'owned'");
}

/* ---- the submitter's surroundings */

static void test_surroundings_count(void **state)
{
	(void)state;
	make_table("places");
	sql_exec(shop.db,
		"CREATE SCHEMA \"my, own\" AUTHORIZATION app;"
		"ALTER TABLE places ADD day date, ADD moment timestamptz");
	sql_exec(shop.app,
		"CREATE FUNCTION \"my, own\".mark() RETURNS text LANGUAGE sql"
		" AS $$ SELECT 'here'::text $$;"
		"SET search_path = \"my, own\", public;"
		"SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Tokyo'");
	submit("places", "places",
		"note = mark(), day = '02/03/2024', moment = '2024-01-01"
		" 09:00:00', n = '02/03/2024'::date - '01/03/2024'::date",
		"places.n = 0");
	sql_exec(
		shop.app, "RESET search_path; RESET DateStyle; RESET TimeZone");
	job_wait("places", "succeeded");
	assert_all("SELECT bool_and(note = 'here' AND n = 1"
		   " AND day = date '2024-03-02' AND moment ="
		   " timestamptz '2024-01-01 00:00:00+00') FROM places");
	assert_all("SELECT search_path = '\"my, own\", public, pg_temp'"
		   " AND timezone = 'Asia/Tokyo' AND target = 'public.places'"
		   " FROM backfill.jobs WHERE name = 'places'");
}

static void test_target_is_the_submitters(void **state)
{
	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA near AUTHORIZATION app");
	make_table("public.twin");
	make_table("near.twin");
	sql_exec(shop.app, "SET search_path = near, public");
	submit("twin", "twin", "n = 1", NULL);
	sql_exec(shop.app, "RESET search_path");
	job_wait("twin", "succeeded");
	assert_all("SELECT sum(n) = 50 FROM near.twin");
	assert_all("SELECT sum(n) = 0 FROM public.twin");
}

static void test_citext_in_a_clause(void **state)
{
	(void)state;
	if (!sql_true(shop.db,
		    "SELECT EXISTS (SELECT FROM pg_available_extensions"
		    " WHERE name = 'citext')")) {
		print_message("skip: the extension citext is not installed\n");
		skip();
	}
	sql_exec(shop.db,
		"CREATE SCHEMA ext AUTHORIZATION app;"
		"CREATE EXTENSION citext SCHEMA ext");
	make_table("mails");
	sql_exec(shop.app,
		"ALTER TABLE mails ADD mail ext.citext;"
		"UPDATE mails SET mail = 'A' || id || '@X'");
	sql_exec(shop.app, "SET search_path = public, ext");
	submit("mails", "mails", "n = n + 1", "mail LIKE 'a%@x'");
	sql_exec(shop.app, "RESET search_path");
	job_wait("mails", "succeeded");
	assert_all("SELECT bool_and(n = 1) FROM mails");
}

/* ---- how a clause is written */

static void test_ways_to_write_a_clause(void **state)
{
	static const struct {
		const char *name, *set_clause, *where_clause, *wanted;
	} clauses[] = {
		{ "w_comment", "n = 1 -- for now", "id > 10 -- the new ones",
			"n = (id > 10)::int" },
		{ "w_blocks", "/* a */ n /* /* b */ = */ = 1 /* c */",
			"/* d */ id /* e; ) */ > 10", "n = (id > 10)::int" },
		{ "w_lines", "\n\n\tn\n=\r\n1\n", "\n id\n > 10\n",
			"n = (id > 10)::int" },
		{ "w_dollar", "note = $x$a'b;) -- $$ /*$x$, n = 1",
			"$$)$$ = ')' AND id > 10",
			"id <= 10 OR note = 'a''b;) -- $$ /*'" },
		{ "w_escape", "note = E'a\\'b\\n\\\\', n = 1", "'(' <> E'\\''",
			"n = 1 AND note = E'a''b\\n' || chr(92)" },
		{ "w_unicode", "note = U&'d\\0061t' || 'ä'", NULL,
			"note = 'datä'" },
		{ "w_percent", "n = id % 7, note = '%s %d %'", "id % 2 = 0",
			"n = CASE WHEN id % 2 = 0 THEN id % 7 ELSE 0 END AND"
			" (id % 2 = 1 OR note = '%s %d %')" },
		{ "w_multi", "(n, note) = (id + 1, 'x' || id)", NULL,
			"n = id + 1 AND note = 'x' || id" },
		{ "w_row", "(n, note) = ROW (1, DEFAULT)", NULL,
			"n = 1 AND note IS NULL" },
		{ "w_query",
			"(n, note) = (SELECT id + m.id, 'q' FROM"
			" w_query m WHERE m.id = w_query.id)",
			NULL, "n = 2 * id AND note = 'q'" },
		{ "w_qualified", "n = w_qualified.n + w_qualified.id",
			"w_qualified.id > 10 OR w_qualified.note = 'x'",
			"n = CASE WHEN id > 10 THEN id ELSE 0 END" },
		{ "w_or", "n = 1", "id = 3 OR id = 30",
			"n = (id IN (3, 30))::int" },
		{ "w_null", "n = 1", "CASE WHEN id > 10 THEN true END",
			"n = (id > 10)::int" },
		{ "w_case", "N = 1, \"note\" = NULL", "ID > 10 AND True",
			"n = (id > 10)::int" },
		{ "w_now", "note = now()::text, n = 1",
			"now() > '2000-01-01' AND clock_timestamp() >="
			" statement_timestamp()",
			"n = 1 AND note <> ''" },
		{ "w_volatile", "n = 1 + floor(random())::int",
			"random() < 2 AND id > floor(random())", "n = 1" },
		{ "w_parameter_like", "note = '$1', n = 1", "'$2' <> '$1'",
			"n = 1 AND note = '$1'" },
		{ "w_backslash", "note = 'a\\', n = 1",
			"note IS NULL OR"
			" note <> '\\'",
			"n = 1 AND note = 'a' || chr(92)" },
		{ "w_semicolon", "note = ';', n = 1", "';' <> ','",
			"n = 1 AND note = ';'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof clauses / sizeof clauses[0]; i++) {
		make_table(clauses[i].name);
		submit(clauses[i].name, clauses[i].name, clauses[i].set_clause,
			clauses[i].where_clause);
	}
	for (size_t i = 0; i < sizeof clauses / sizeof clauses[0]; i++) {
		job_wait(clauses[i].name, "succeeded");
		if (!sql_true(shop.db, "SELECT bool_and(%s) FROM %s",
			    clauses[i].wanted, clauses[i].name)) {
			fail_msg("%s: not every row: %s", clauses[i].name,
				clauses[i].wanted);
		}
	}
}

/* A column of a unique index, walked by another: the row lock must be one
 * that a foreign key's check waits for. */
static void test_set_of_a_unique_column(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	make_table("coded");
	sql_exec(shop.app,
		"ALTER TABLE coded ADD code bigint UNIQUE;"
		"UPDATE coded SET code = id;"
		"CREATE TABLE refers (code bigint REFERENCES coded (code)"
		" ON UPDATE CASCADE)");
	sql_exec(other, "BEGIN; INSERT INTO refers VALUES (20)");
	submit("coded", "coded", "code = code + 1000, n = n + 1", NULL);
	/* The row is passed over, and worked off when it is free. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 49 AND holes = 1"
		" FROM backfill.progress WHERE name = 'coded'");
	sql_exec(other, "COMMIT");
	PQfinish(other);
	job_wait("coded", "succeeded");
	assert_all("SELECT bool_and(code = id + 1000 AND n = 1) FROM coded");
	assert_all("SELECT array_agg(code) = '{1020}' FROM refers");
}

/* ---- rights within a clause */

/* A policy is an error that names the table, never a silent filter. */
static void test_row_level_security(void **state)
{
	(void)state;
	sql_exec(shop.db,
		"CREATE TABLE shielded (id bigint PRIMARY KEY, n int);"
		"INSERT INTO shielded SELECT g, 0 FROM generate_series(1, 9) g;"
		"ALTER TABLE shielded ENABLE ROW LEVEL SECURITY;"
		"CREATE POLICY even ON shielded USING (id %% 2 = 0);"
		"GRANT SELECT, UPDATE ON shielded TO app");
	submit("shielded", "shielded", "n = 1", NULL);
	job_fails("shielded", "42501",
		"query would be affected by row-level security policy for table"
		" \"shielded\"",
		"Policies would hide rows from the job without a word.",
		"Let the job run as the table's owner, unless row-level"
		" security is forced on it, or as a role with BYPASSRLS.");
	assert_all("SELECT sum(n) = 0 FROM shielded");
	/* Also where only a clause reads it. */
	make_table("peeks");
	submit("peeks", "peeks", "n = 1", "id IN (SELECT id FROM shielded)");
	job_fails("peeks", "42501",
		"where_clause: query would be affected by row-level security"
		" policy for table \"shielded\"",
		NULL,
		"The job runs as its run_as, which may use what the clause"
		" names only without policies of row-level security: as the"
		" owner, or with BYPASSRLS.");
	assert_all("SELECT sum(n) = 0 FROM peeks");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prices_are_raised_once),
		cmocka_unit_test(test_tables_named_like_ours),
		cmocka_unit_test(
			test_subqueries_that_read_tables_named_like_ours),
		cmocka_unit_test(test_columns_named_like_ours),
		cmocka_unit_test(test_functions_and_operators_of_the_users_own),
		cmocka_unit_test(test_surroundings_count),
		cmocka_unit_test(test_target_is_the_submitters),
		cmocka_unit_test(test_citext_in_a_clause),
		cmocka_unit_test(test_ways_to_write_a_clause),
		cmocka_unit_test(test_set_of_a_unique_column),
		cmocka_unit_test(test_row_level_security),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
