/* test_preflight_from.c: jobs that read other tables: what a from_clause may
 * be, and which rows change by it. Batches of seven rows. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

/* SQL texts as they stand; NULL: none. */
struct job {
	const char *name, *kind, *target;
	const char *set_clause, *from_clause, *where_clause;
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *quote(const char *text)
{
	return text == NULL
		? "NULL"
		: sql_text(shop.db, "SELECT quote_literal($quoted$%s$quoted$)",
			  text);
}

static void submit(const struct job *job)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, set_clause,"
		" from_clause, where_clause, batch_rows, max_batch_rows)"
		" VALUES (%s, %s, %s, %s, %s, %s, 7, 7)",
		quote(job->name), quote(job->kind), quote(job->target),
		quote(job->set_clause), quote(job->from_clause),
		quote(job->where_clause));
}

static void assert_all(const char *query)
{
	if (!sql_true(shop.db, "%s", query)) {
		fail_msg("not true: %s", query);
	}
}

/* Whether the event has the finding. */
static int has_finding(const char *name, const char *finding)
{
	return sql_true(shop.db,
		"SELECT %s = ANY (string_to_array(e.detail, chr(10)))"
		" FROM backfill.events e JOIN backfill.jobs j ON j.id ="
		" e.job_id WHERE j.name = '%s' AND e.event = 'preflight'",
		quote(finding), name);
}

#define SEVERAL                                                                \
	"a row has several matches in from_clause: one of them is taken, no"   \
	" matter which"

/* ---- what a clause may be */

#define FROM_HINT                                                              \
	"The clause must be what follows FROM in an UPDATE: table AS alias,"   \
	" …, and no WHERE."
#define SET_HINT                                                               \
	"The clause must be what follows SET in an UPDATE: column ="           \
	" expression, …"
#define WHERE_HINT                                                             \
	"The clause must be one boolean expression with balanced"              \
	" parentheses."

struct bad_clause {
	const char *name, *from_clause, *where_clause;
	const char *sqlstate, *message, *hint;
};

/* clang-format off */
static const struct bad_clause bad_clauses[] = {
	{ "where", "other o WHERE true", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "where open", "other o WHERE (true", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "where comment", "other o WHERE true --", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "or", "other o WHERE true OR", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "union", "other o UNION SELECT FROM other", NULL, "42601",
		"from_clause: syntax error at or near \"UNION\"", FROM_HINT },
	{ "where union", "other o WHERE true UNION SELECT FROM other", NULL,
		"42601", "from_clause: syntax error at or near \"UNION\"",
		FROM_HINT },
	{ "group", "other o GROUP BY o.id", NULL, "42601",
		"from_clause: syntax error at or near \"GROUP\"", FROM_HINT },
	{ "order", "other o ORDER BY o.id", NULL, "42601",
		"from_clause: syntax error at or near \"ORDER\"", FROM_HINT },
	{ "limit", "other o LIMIT 1", NULL, "42601",
		"from_clause: syntax error at or near \"LIMIT\"", FROM_HINT },
	{ "lock", "other o FOR UPDATE", NULL, "42601",
		"from_clause: syntax error at or near \"FOR\"", FROM_HINT },
	{ "returning", "other o RETURNING 1", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "semicolon", "other o; DELETE FROM other", NULL, "42601",
		"from_clause: cannot insert multiple commands into a prepared"
		" statement", FROM_HINT },
	{ "close", "other o)", NULL, "42601",
		"from_clause: syntax error at or near \")\"", FROM_HINT },
	{ "close open", "other o) AS x, (other p", NULL, "42601",
		"from_clause: syntax error at or near \")\"", FROM_HINT },
	{ "exists", "other o WHERE true)) OR EXISTS (SELECT FROM (other p",
		NULL, "42601", "from_clause: syntax error at or near \")\"",
		FROM_HINT },
	{ "open", "(other o", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "comma", "other o,", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "comment", "other o /*", NULL, "42601",
		"from_clause: unterminated /* comment at or near \"/*\nWHERE"
		" victim.tableoid OPERATOR(pg_catalog.=) '%s'::pg_catalog.oid\"",
		FROM_HINT },
	{ "join", "other o JOIN other p", NULL, "42601",
		"from_clause: syntax error at or near \"WHERE\"", FROM_HINT },
	{ "set", "other o SET n = 1", NULL, "42601",
		"from_clause: syntax error at or near \"SET\"", FROM_HINT },
	{ "parameter", "other o JOIN other p ON o.id = $1", NULL, "42P02",
		"from_clause: there is no parameter $1",
		"Write the value itself." },
	{ "aggregate", "other o JOIN other p ON count(*) > 0", NULL, "42803",
		"from_clause: aggregate functions are not allowed in JOIN"
		" conditions", NULL },
	{ "change", "(WITH d AS (DELETE FROM other RETURNING id) SELECT id"
		" FROM d) o", NULL, "0A000",
		"from_clause: WITH clause containing a data-modifying"
		" statement must be at the top level", NULL },
	{ "missing", "nosuch o", NULL, "42P01",
		"from_clause: relation \"nosuch\" does not exist", NULL },
	{ "itself", "victim", NULL, "42712",
		"from_clause: table name \"victim\" specified more than once",
		NULL },
	/* Of another schema and of the same name: which is meant? */
	{ "twin", "near.victim", NULL, "42P09",
		"from_clause: table reference \"victim\" is ambiguous", NULL },
	{ "lateral", "LATERAL (SELECT victim.n) l", NULL, "42P10",
		"from_clause: invalid reference to FROM-clause entry for table"
		" \"victim\"",
		"There is an entry for table \"victim\", but it cannot be"
		" referenced from this part of the query." },
	{ "no right", "not_mine m", NULL, "42501",
		"permission denied for table not_mine",
		"The job runs as its run_as, which needs SELECT and UPDATE on"
		" public.victim and the rights that its clauses use." },
	{ "policy", "shielded s", NULL, "42501",
		"from_clause: query would be affected by row-level security"
		" policy for table \"shielded\"",
		"The job runs as its run_as, which may use what the clause"
		" names only without policies of row-level security: as the"
		" owner, or with BYPASSRLS." },
	/* In the other clauses, with a from_clause that is right. */
	{ "where ambiguous", "other o", "id = o.n", "42702",
		"where_clause: column reference \"id\" is ambiguous", NULL },
	{ "where smuggled", "other o", "o.id = 1) OR (true", "42601",
		"where_clause: syntax error at or near \")\"", WHERE_HINT },
	{ "where exists", "other o", "true)) OR EXISTS (SELECT WHERE (true",
		"42601", "where_clause: syntax error at or near \")\"",
		WHERE_HINT },
	{ "where aggregate", "other o", "count(*) > 0", "42803",
		"where_clause: aggregate functions are not allowed in WHERE",
		NULL },
	/* A column of ours, but for an aggregate of the outer query. */
	{ "where outer aggregate", "other o", "max(victim.n) > 0", "42803",
		"where_clause: aggregate functions are not allowed in WHERE",
		NULL },
	{ "where number", "other o", "o.n", "42804",
		"where_clause must be of type boolean",
		"Write a condition, such as $$ phone IS NULL $$." },
};
/* clang-format on */

static void make_tables(void)
{
	sql_exec(shop.db, "CREATE SCHEMA near AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TABLE victim (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, flag boolean);"
		"INSERT INTO victim SELECT generate_series(1, 50);"
		"CREATE TABLE other (id bigint, n int);"
		"INSERT INTO other SELECT g, g FROM generate_series(1, 50) g;"
		"CREATE TABLE near.victim (id bigint, n int);"
		"CREATE TABLE n (id bigint)");
	sql_exec(shop.db,
		"CREATE TABLE not_mine (id bigint PRIMARY KEY, n int);"
		"CREATE TABLE shielded (id bigint PRIMARY KEY, n int);"
		"GRANT ALL ON shielded TO app;"
		"ALTER TABLE shielded ENABLE ROW LEVEL SECURITY");
}

static void assert_refused(const struct bad_clause *bad, const char *name)
{
	char message[256];

	/* One message quotes the OID. */
	if (strstr(bad->message, "%s") != NULL) {
		(void)snprintf(message, sizeof message, "%s",
			sql_text(shop.db,
				"SELECT format(%s, 'victim'::regclass::oid)",
				quote(bad->message)));
	} else {
		(void)snprintf(message, sizeof message, "%s", bad->message);
	}
	job_fails(name, bad->sqlstate, message, NULL, bad->hint);
}

static void test_refused_clauses(void **state)
{
	static const char *const set_clauses[][2] = {
		{ "set from", "n = o.n FROM other" },
		{ "set where", "n = o.n FROM other WHERE true" },
	};

	(void)state;
	make_tables();
	for (size_t i = 0; i < COUNT(bad_clauses); i++) {
		const struct bad_clause *bad = &bad_clauses[i];

		submit(&(struct job){ bad->name, "update", "victim", "n = 1",
			bad->from_clause, bad->where_clause });
	}
	for (size_t i = 0; i < COUNT(set_clauses); i++) {
		submit(&(struct job){ set_clauses[i][0], "update", "victim",
			set_clauses[i][1], "other o", NULL });
	}
	/* FROM becomes part of an expression, and n is a column. */
	submit(&(struct job){ "set distinct", "update", "victim",
		"flag = 1 IS DISTINCT", "n", NULL });
	for (size_t i = 0; i < COUNT(bad_clauses); i++) {
		assert_refused(&bad_clauses[i], bad_clauses[i].name);
	}
	job_fails("set from", "42601",
		"set_clause: syntax error at or near \"FROM\"", NULL, SET_HINT);
	job_fails("set where", "42601",
		"set_clause: syntax error at or near \"FROM\"", NULL, SET_HINT);
	job_fails("set distinct", "42601",
		"set_clause: syntax error at or near \"WHERE\"", NULL,
		SET_HINT);
	assert_all("SELECT count(*) = 50 AND sum(n) = 0 AND count(flag) = 0"
		   " FROM victim");
	assert_all("SELECT count(*) = 50 FROM other");
}

/* A delete reads its from_clause in the same way. */
static void test_refused_clauses_of_a_delete(void **state)
{
	char name[64];

	(void)state;
	for (size_t i = 0; i < COUNT(bad_clauses); i++) {
		const struct bad_clause *bad = &bad_clauses[i];

		if (strcmp(bad->name, "no right") == 0) {
			continue; /* its hint is another one */
		}
		(void)snprintf(name, sizeof name, "delete %s", bad->name);
		submit(&(struct job){ name, "delete", "victim", NULL,
			bad->from_clause,
			bad->where_clause != NULL ? bad->where_clause
						  : "true" });
	}
	for (size_t i = 0; i < COUNT(bad_clauses); i++) {
		const struct bad_clause *bad = &bad_clauses[i];

		if (strcmp(bad->name, "no right") != 0) {
			(void)snprintf(
				name, sizeof name, "delete %s", bad->name);
			assert_refused(bad, name);
		}
	}
	assert_all("SELECT count(*) = 50 FROM victim");
	assert_all("SELECT count(*) = 50 FROM other");
}

/* ---- which rows change */

/* Customers 1 to 20, of which each even one is there twice; orders of the
 * customers 1 to 30. */
static const char ORDERS_SQL[] =
	"CREATE TABLE customer (id int, name text, extra int);"
	"INSERT INTO customer SELECT g, 'c' || g, 1"
	" FROM generate_series(1, 20) g;"
	"INSERT INTO customer SELECT g, 'd' || g, 2"
	" FROM generate_series(2, 20, 2) g;"
	"CREATE TABLE orders (id bigint PRIMARY KEY, customer int, name text,"
	" n int NOT NULL DEFAULT 0);"
	"INSERT INTO orders SELECT g, (g - 1) % 30 + 1"
	" FROM generate_series(1, 90) g";

static void test_orphans_and_several_matches(void **state)
{
	(void)state;
	sql_exec(shop.app, "%s", ORDERS_SQL);
	submit(&(struct job){ "customers", "update", "orders",
		"name = c.name, n = orders.n + 1", "customer AS c -- all",
		"c.id = orders.customer -- its own" });
	job_wait("customers", "succeeded");
	/* Once each, by whichever of its customers. */
	assert_all("SELECT bool_and(n = (customer <= 20)::int AND CASE"
		   " WHEN customer > 20 THEN name IS NULL"
		   " WHEN customer % 2 = 1 THEN name = 'c' || customer"
		   " ELSE name IN ('c' || customer, 'd' || customer) END)"
		   " FROM orders");
	assert_all("SELECT rows_read = 90 AND rows_done = 60 AND"
		   " rows_still_matching = 60 FROM backfill.progress"
		   " WHERE name = 'customers'");
	assert_true(has_finding("customers", SEVERAL));
}

static void test_one_match_each(void **state)
{
	(void)state;
	sql_exec(shop.app, "UPDATE orders SET name = NULL, n = 0");
	submit(&(struct job){ "one match", "update", "orders",
		"(name, n) = (c.name, orders.n + c.extra)", "customer c",
		"c.id = customer AND c.extra = 1 AND orders.name IS NULL" });
	job_wait("one match", "succeeded");
	assert_all("SELECT bool_and(CASE WHEN customer <= 20 THEN n = 1 AND"
		   " name = 'c' || customer ELSE n = 0 AND name IS NULL END)"
		   " FROM orders");
	/* It excludes itself, so it was swept once more. */
	assert_all("SELECT rows_done = 60 AND rows_still_matching = 0 AND"
		   " pass = 1 FROM backfill.progress WHERE name = 'one match'");
	assert_false(has_finding("one match", SEVERAL));
}

static void test_ways_to_join(void **state)
{
	static const struct {
		const char *set_clause, *from_clause, *where_clause, *wanted;
	} joins[] = {
		/* every row, whatever it is */
		{ "n = 1 + extra * 0", "customer", NULL, "n = 1" },
		{ "n = 1", "(SELECT WHERE false) x", NULL, "n = 0" },
		/* the target once more, as it was */
		{ "n = orders.n + o.id", "orders o", "o.id = orders.id - 1",
			"n = id - 1" },
		{ "n = 1", "customer c JOIN customer d ON d.id = c.id",
			"c.id = customer AND c.extra < d.extra",
			"n = (customer IN (2,4,6,8,10,12,14,16,18,20))::int" },
		{ "n = x.extra",
			"customer c LEFT JOIN LATERAL (SELECT extra"
			" FROM customer d WHERE d.id = c.id AND extra = 2)"
			" x ON true",
			"c.id = customer AND x.extra IS NOT NULL",
			"n = CASE WHEN customer <= 20 AND customer % 2 = 0"
			" THEN 2 ELSE 0 END" },
		{ "n = g", "generate_series(1, 3) AS g", "g = orders.id % 4",
			"n = id % 4" },
		{ "n = v.b",
			"(VALUES (1, 5), (2, 6)) AS v (a, b),\n(SELECT 1) AS w",
			"v.a = customer",
			"n = CASE customer WHEN 1 THEN 5 WHEN 2 THEN 6"
			" ELSE 0 END" },
		{ "n = w.id", "customer w", "w.id = customer AND w.extra = 1",
			"n = CASE WHEN customer <= 20 THEN customer"
			" ELSE 0 END" },
		{ "n = \"__backfill_c\".id", "customer \"__backfill_c\"",
			"\"__backfill_c\".id = customer AND extra = 1",
			"n = CASE WHEN customer <= 20 THEN customer"
			" ELSE 0 END" },
		/* NULL is not true */
		{ "n = 1", "customer c",
			"c.id = customer AND nullif(orders.id, 1) > 0",
			"n = (customer <= 20 AND id > 1)::int" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(joins); i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "way %zu", i);
		sql_exec(shop.app, "UPDATE orders SET n = 0");
		submit(&(struct job){ name, "update", "orders",
			joins[i].set_clause, joins[i].from_clause,
			joins[i].where_clause });
		job_wait(name, "succeeded");
		if (!sql_true(shop.db, "SELECT bool_and(%s) FROM orders",
			    joins[i].wanted)) {
			fail_msg("FROM %s: not every row: %s",
				joins[i].from_clause, joins[i].wanted);
		}
	}
}

/* The row that others held is changed by the customer that it has then. */
static void test_held_row(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	sql_exec(shop.app, "UPDATE orders SET name = NULL, n = 0");
	sql_exec(other, "BEGIN; SELECT FROM orders WHERE id = 5 FOR UPDATE");
	submit(&(struct job){ "held", "update", "orders",
		"name = c.name, n = orders.n + 1", "customer c",
		"c.id = orders.customer AND c.extra = 1" });
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 59 AND holes = 1"
		" FROM backfill.progress WHERE name = 'held'");
	sql_exec(other, "UPDATE orders SET customer = 3 WHERE id = 5; COMMIT");
	PQfinish(other);
	job_wait("held", "succeeded");
	assert_all("SELECT name = 'c3' AND n = 1 FROM orders WHERE id = 5");
	assert_all("SELECT sum(n) = 60 FROM orders");
	sql_exec(shop.app, "UPDATE orders SET customer = 5 WHERE id = 5");
}

static void test_delete_using(void **state)
{
	(void)state;
	submit(&(struct job){ "orphans", "delete", "orders", NULL, NULL,
		"NOT EXISTS (SELECT FROM customer c WHERE c.id ="
		" orders.customer)" });
	job_wait("orphans", "succeeded");
	assert_all("SELECT count(*) = 60 AND max(customer) = 20 FROM orders");

	/* All but the first of each customer: several matches, one delete. */
	submit(&(struct job){ "doubles", "delete", "orders", NULL, "orders o",
		"o.customer = orders.customer AND o.id < orders.id" });
	job_wait("doubles", "succeeded");
	assert_all("SELECT count(*) = 20 AND count(DISTINCT customer) = 20 AND"
		   " max(id) = 20 FROM orders");
	assert_all("SELECT rows_done = 40 FROM backfill.progress"
		   " WHERE name = 'doubles'");
	assert_true(has_finding("doubles", SEVERAL));

	submit(&(struct job){ "using", "delete", "orders", NULL,
		"customer c /* twice */", "c.id = customer AND c.extra = 2" });
	job_wait("using", "succeeded");
	assert_all("SELECT count(*) = 10 AND bool_and(customer % 2 = 1)"
		   " FROM orders");
}

/* Whatever goes wrong with the sample, it is not the job's fault. */
static void test_failing_sample(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE FUNCTION picky() RETURNS boolean LANGUAGE plpgsql AS"
		" $$ BEGIN IF current_query() ~ 'BY orders[.]ctid'"
		" THEN RAISE 'not here'; END IF; RETURN true; END $$;"
		"UPDATE orders SET n = 0");
	submit(&(struct job){ "picky", "update", "orders", "n = 1",
		"customer c", "c.id = customer AND picky()" });
	job_wait("picky", "succeeded");
	assert_all("SELECT bool_and(n = 1) FROM orders");
	assert_true(has_finding("picky",
		"whether a row has several matches in from_clause could not be"
		" looked at: not here"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_clauses),
		cmocka_unit_test(test_refused_clauses_of_a_delete),
		cmocka_unit_test(test_orphans_and_several_matches),
		cmocka_unit_test(test_one_match_each),
		cmocka_unit_test(test_ways_to_join),
		cmocka_unit_test(test_held_row),
		cmocka_unit_test(test_delete_using),
		cmocka_unit_test(test_failing_sample),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
