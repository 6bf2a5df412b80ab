/* test_join.c: jobs with a from_clause. A row is changed when it has a match,
 * once, however many it has, and from the match as it was when the row was
 * changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static PGconn *holder; /* app too */

static int start(void **state)
{
	int code = shop_start(state);

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

/* where_clause may be "". */
static void submit(const char *name, const char *target, const char *set_clause,
	const char *from_clause, const char *where_clause)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" from_clause, where_clause, batch_rows, max_batch_rows,"
		" statement_timeout) VALUES ('%s', '%s', $q$%s$q$, $q$%s$q$,"
		" nullif($q$%s$q$, ''), 10, 10, '10min')",
		name, target, set_clause, from_clause, where_clause);
}

/* Orders 1 to rows, of customers 1 to 10 in turn, but for every fourth, who
 * has an unknown one, and every fifth, who has none. */
static void make_orders(const char *orders, const char *customers, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, customer bigint, name"
		" text, changes integer NOT NULL DEFAULT 0);"
		"INSERT INTO %s SELECT g, CASE WHEN g %% 5 = 0 THEN NULL WHEN"
		" g %% 4 = 0 THEN 1000 + g ELSE g %% 10 END"
		" FROM generate_series(1, %d) g;"
		"CREATE TABLE %s (id bigint, name text);"
		"INSERT INTO %s SELECT g, 'customer ' || g"
		" FROM generate_series(0, 9) g",
		orders, orders, rows, customers, customers);
}

/* "rows_read rows_done" */
static void assert_counts(const char *name, const char *counts)
{
	job_wait(name, "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_read, rows_done)"
			" FROM backfill.progress WHERE name = '%s'",
			name),
		counts);
}

/* Rows that are not as one UPDATE would have them, those of ids, a list, left
 * out. */
static int64_t wrong(const char *orders, const char *customers, const char *ids)
{
	return sql_int(shop.db,
		"SELECT count(*) FROM %s o, LATERAL (SELECT max(c.name) AS"
		" name, count(*) FROM %s c WHERE c.id = o.customer) m"
		" WHERE (o.name, o.changes) IS DISTINCT FROM (m.name, m.count)"
		" AND o.id NOT IN (%s)",
		orders, customers, ids);
}

static const char *find_finding(const char *name, const char *pattern)
{
	return sql_text(shop.db,
		"SELECT coalesce((SELECT line FROM backfill.events,"
		" regexp_split_to_table(detail, '\n') line WHERE event ="
		" 'preflight' AND job_id = %lld AND line ~ '%s'), 'none')",
		(long long)job_id(name), pattern);
}

/* ---- matches */

static void test_orphans_and_nulls(void **state)
{
	(void)state;
	make_orders("orders", "customers", 200);
	submit("orphans", "orders",
		"name = customers.name, changes = changes + 1", "customers",
		"customers.id = orders.customer");
	assert_counts("orphans", "200 120");
	assert_int_equal(wrong("orders", "customers", "0"), 0);
	assert_string_equal(find_finding("orphans", "match"), "none");
}

/* NULL is as good as any other value to a condition that says so. */
static void test_nulls_that_match(void **state)
{
	(void)state;
	make_orders("null_orders", "null_customers", 100);
	sql_exec(shop.app, "INSERT INTO null_customers VALUES (NULL, 'cash')");
	submit("nulls", "null_orders", "name = c.name, changes = changes + 1",
		"null_customers AS c",
		"c.id IS NOT DISTINCT FROM null_orders.customer");
	assert_counts("nulls", "100 80");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), min(changes),"
			" max(changes), min(name), max(name)) FROM null_orders"
			" WHERE customer IS NULL"),
		"20 1 1 cash cash");
}

/* One of them is taken, as UPDATE … FROM does, and the submitter is told. */
static void test_several_matches(void **state)
{
	(void)state;
	make_orders("multi_orders", "multi_customers", 200);
	sql_exec(shop.app,
		"INSERT INTO multi_customers SELECT id, name || ' junior'"
		" FROM multi_customers WHERE id IN (2, 3);"
		"INSERT INTO multi_customers SELECT 7, 'seven ' || g"
		" FROM generate_series(1, 300) g");
	submit("several", "multi_orders",
		"name = multi_customers.name, changes = changes + 1",
		"multi_customers",
		"multi_customers.id = multi_orders.customer");
	assert_counts("several", "200 120");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM multi_orders o WHERE changes <>"
			" (EXISTS (SELECT FROM multi_customers c WHERE c.id ="
			" o.customer))::integer OR name IS NOT NULL AND NOT"
			" EXISTS (SELECT FROM multi_customers c WHERE c.id ="
			" o.customer AND c.name = o.name)"),
		0);
	assert_string_equal(find_finding("several", "several matches"),
		"a row has several matches in from_clause: one of them is"
		" taken, no matter which");
}

/* Every row of the target matches every one of from_clause. */
static void test_no_condition(void **state)
{
	(void)state;
	make_orders("all_orders", "one_customer", 100);
	sql_exec(shop.app, "DELETE FROM one_customer WHERE id <> 3");
	submit("no condition", "all_orders",
		"name = c.name, changes = changes + 1", "one_customer c", "");
	assert_counts("no condition", "100 100");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM all_orders WHERE changes = 1"
			" AND name = 'customer 3'"),
		100);

	/* And none when there is nothing to match. */
	sql_exec(shop.app, "TRUNCATE one_customer");
	submit("no rows", "all_orders", "changes = changes + 1",
		"one_customer c", "");
	assert_counts("no rows", "100 0");
}

/* ---- forms of from_clause */

static void test_self_join(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE tree (id bigint PRIMARY KEY, parent bigint, name"
		" text NOT NULL, path text, changes integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO tree SELECT g, CASE WHEN g > 3 THEN"
		" (g * 7) %% 97 END, 'n' || g FROM generate_series(1, 100) g");
	submit("self", "tree",
		"path = parent.name || '/' || tree.name,"
		" changes = tree.changes + 1",
		"tree AS parent", "parent.id = tree.parent");
	assert_counts("self", "100 96");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM tree t LEFT JOIN tree p ON"
			" p.id = t.parent WHERE t.changes <>"
			" (p.id IS NOT NULL)::integer OR t.path IS DISTINCT"
			" FROM p.name || '/' || t.name"),
		0);
}

/* Tables named as our own CTEs, columns as our own, a join, a subquery that
 * looks sideways, a function, VALUES. */
static void test_forms(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE u (id bigint PRIMARY KEY, n bigint, changes"
		" integer NOT NULL DEFAULT 0);"
		"INSERT INTO u (id) SELECT generate_series(1, 95);"
		"CREATE TABLE w (id bigint, k1 bigint);"
		"INSERT INTO w SELECT g, g * 10 FROM generate_series(1, 80) g;"
		"CREATE TABLE c (id bigint, held bigint);"
		"INSERT INTO c VALUES (1, 7), (2, 8)");
	submit("join", "u",
		"n = w.k1 + c.held + (SELECT count(*) FROM c),"
		" changes = changes + 1",
		"w JOIN c ON c.id = 1 + w.id % 2 -- the odd ones",
		"w.id = u.id -- by id");
	assert_counts("join", "95 80");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM u WHERE n = id * 10 + 7 + id %%"
			" 2 + 2 AND changes = 1"),
		80);

	submit("sideways", "u", "n = s.total, changes = changes + 1",
		"c, LATERAL (SELECT sum(w.k1) AS total FROM w WHERE"
		" w.id <= c.held) s",
		"c.id = 2 AND u.id > 90");
	assert_counts("sideways", "95 5");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM u WHERE id > 90 AND n = 360 AND"
			" changes = 1"),
		5);

	submit("values", "u", "n = v.n, changes = u.changes + 1",
		"(VALUES (1, -1), (50, -50)) AS v (id, n)", "v.id = u.id");
	assert_counts("values", "95 2");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(format('%%s %%s %%s', id, n,"
			" changes), ', ' ORDER BY id) FROM u WHERE n < 0"),
		"1 -1 2, 50 -50 2");

	submit("function", "u", "n = g, changes = u.changes + 1",
		"generate_series(10, 20) AS g", "g = u.id");
	assert_counts("function", "95 11");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM u WHERE n = id AND changes = 2"),
		11);
}

static void test_composite_key(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE lines (shop text, day date, number integer, price"
		" bigint, changes integer NOT NULL DEFAULT 0,"
		" PRIMARY KEY (shop, day, number));"
		"INSERT INTO lines SELECT 'shop ' || g %% 3, date '2024-01-01'"
		" + g %% 5, g / 15 FROM generate_series(0, 299) g;"
		"CREATE TABLE prices (shop text, day date, number integer,"
		" price bigint);"
		"INSERT INTO prices SELECT shop, day, number, number * 100"
		" FROM lines WHERE number %% 3 <> 1;"
		/* The same, a day and a shop apart. */
		"INSERT INTO prices SELECT shop, day + 10, number, -1"
		" FROM lines;"
		"INSERT INTO prices SELECT shop || ' x', day, number, -1"
		" FROM lines");
	submit("composite", "lines", "price = p.price, changes = changes + 1",
		"prices p",
		"(p.shop, p.day, p.number) ="
		" (lines.shop, lines.day, lines.number)");
	assert_counts("composite", "300 195");
	assert_int_equal(
		sql_int(shop.db,
			"SELECT count(*) FROM lines l, LATERAL (SELECT"
			" max(p.price) AS price, count(*) FROM prices p WHERE"
			" (p.shop, p.day, p.number) = (l.shop, l.day,"
			" l.number)) m WHERE (l.price, l.changes) IS DISTINCT"
			" FROM (m.price, m.count)"),
		0);
}

/* ---- others write meanwhile */

/* What was matched before the change stays, what comes after it is seen by
 * the batches after it. */
static void test_matches_that_change(void **state)
{
	(void)state;
	make_orders("moving_orders", "moving_customers", 100);
	gate_close(55);
	submit("moving", "moving_orders",
		"name = c.name, changes = changes + 1 +"
		" gate_pass(moving_orders.id)",
		"moving_customers c", "c.id = moving_orders.customer");
	gate_wait("moving");
	sql_exec(shop.app,
		"UPDATE moving_customers SET name = 'renamed' WHERE id = 1;"
		"DELETE FROM moving_customers WHERE id = 2;"
		"INSERT INTO moving_customers SELECT 1000 + g, 'late ' || g"
		" FROM generate_series(1, 100) g");
	/* Neither waited for nor seen. */
	sql_exec(holder,
		"BEGIN; UPDATE moving_customers SET name = 'never' WHERE"
		" id = 3; DELETE FROM moving_customers WHERE id = 6");
	gate_open();
	job_wait("moving", "succeeded");
	sql_exec(holder, "ROLLBACK");
	/* The batch at the gate, of rows 51 to 60, had its snapshot. */
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(format('%%s %%s %%s %%s', id,"
			" customer, name, changes), ', ' ORDER BY id)"
			" FROM moving_orders WHERE id IN (8, 31, 42, 48, 51,"
			" 61, 62, 63, 66, 68, 88)"),
		"8 1008  0, 31 1 customer 1 1, 42 2 customer 2 1, 48 1048  0,"
		" 51 1 customer 1 1, 61 1 renamed 1, 62 2  0,"
		" 63 3 customer 3 1, 66 6 customer 6 1, 68 1068 late 68 1,"
		" 88 1088 late 88 1");
	assert_int_equal(
		sql_int(shop.db, "SELECT max(changes) FROM moving_orders"), 1);
}

/* A held row is changed later, from the match that it has then. */
static void test_held_row(void **state)
{
	(void)state;
	make_orders("held_orders", "held_customers", 100);
	sql_exec(holder,
		"BEGIN; SELECT FROM held_orders WHERE id IN (11, 13, 14, 20)"
		" FOR UPDATE");
	submit("held", "held_orders", "name = c.name, changes = changes + 1",
		"held_customers c", "c.id = held_orders.customer");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT holes = 3 AND key = last_key FROM backfill.progress"
		" WHERE name = 'held'");
	/* Row 20 has no match, and becomes none of the job's by getting one
	 * later. */
	sql_exec(holder,
		"UPDATE held_orders SET customer = 9 WHERE id = 11;"
		"UPDATE held_orders SET customer = 5000 WHERE id = 13;"
		"UPDATE held_orders SET customer = 8 WHERE id = 20; COMMIT");
	job_wait("held", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(format('%%s %%s %%s', id, name,"
			" changes), ', ' ORDER BY id) FROM held_orders"
			" WHERE id IN (11, 13, 14, 20)"),
		"11 customer 9 1, 13  0, 14 customer 4 1, 20  0");
	assert_int_equal(
		sql_int(shop.db, "SELECT sum(changes) FROM held_orders"), 59);
}

/* The join column of a row changes between the snapshot of its batch and its
 * lock: the server looks at the new row beside the old match. */
static void test_join_column_changed_at_the_lock(void **state)
{
	(void)state;
	make_orders("raced_orders", "raced_customers", 100);
	/* The gate is in the condition, and so before the lock. */
	gate_close(55);
	submit("raced", "raced_orders", "name = c.name, changes = changes + 1",
		"raced_customers c",
		"c.id = raced_orders.customer AND gate_pass(raced_orders.id)"
		" = 0");
	gate_wait("raced");
	sql_exec(shop.app,
		"UPDATE raced_orders SET customer = 9 WHERE id = 57;"
		"UPDATE raced_orders SET customer = 5000 WHERE id = 58;"
		"UPDATE raced_orders SET customer = NULL WHERE id = 59");
	gate_open();
	job_wait("raced", "succeeded");
	assert_int_equal(wrong("raced_orders", "raced_customers", "58, 59"), 0);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(format('%%s %%s %%s', id, name,"
			" changes), ', ' ORDER BY id) FROM raced_orders"
			" WHERE id IN (57, 58, 59)"),
		"57 customer 9 1, 58  0, 59  0");
}

/* ---- a job that its changes exclude */

static void test_sweep(void **state)
{
	(void)state;
	make_orders("swept_orders", "swept_customers", 100);
	gate_close(55);
	submit("swept", "swept_orders",
		"name = c.name, changes = changes + 1 +"
		" gate_pass(swept_orders.id)",
		"swept_customers c",
		"c.id = swept_orders.customer AND swept_orders.name IS NULL");
	gate_wait("swept");
	sql_exec(shop.app,
		"INSERT INTO swept_orders (id, customer) VALUES (0, 4),"
		" (-1, 4000), (-2, NULL);"
		/* An orphan behind the cursor gets its customer. */
		"INSERT INTO swept_customers VALUES (1008, 'found')");
	gate_open();
	job_wait("swept", "succeeded");
	assert_int_equal(wrong("swept_orders", "swept_customers", "0"), 0);
	assert_string_equal(
		sql_text(shop.db, "SELECT name FROM swept_orders WHERE id = 0"),
		"customer 4");
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws(' ', pass, rows_read,"
				    " rows_done, late_rows)"
				    " FROM backfill.progress"
				    " WHERE name = 'swept'"),
		"2 100 62 2");
}

/* The changed row still has a match, and the others of several would change
 * it again. */
static void test_no_sweep(void **state)
{
	(void)state;
	make_orders("once_orders", "once_customers", 100);
	sql_exec(shop.app,
		"INSERT INTO once_customers SELECT * FROM once_customers");
	submit("once", "once_orders", "changes = changes + 1",
		"once_customers c", "c.id = once_orders.customer");
	assert_counts("once", "100 60");
	assert_int_equal(
		sql_int(shop.db, "SELECT max(changes) FROM once_orders"), 1);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(event, ',' ORDER BY id)"
			" FROM backfill.events WHERE job_id = %lld AND event"
			" IN ('sweep', 'not_self_excluding')",
			(long long)job_id("once")),
		"not_self_excluding");
}

/* ---- what is refused */

/* By the name of each kind of job, as they use the clause differently. */
static void assert_refused(const char *from_clause)
{
	static int number;
	static const char *const kinds[] = { "update", "delete" };

	number++;
	sql_exec(shop.app,
		"CREATE TABLE refused_%d (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO refused_%d VALUES (1, 0)",
		number, number);
	for (int i = 0; i < 2; i++) {
		sql_exec(shop.app,
			"INSERT INTO backfill.jobs (name, kind, target,"
			" set_clause, from_clause, where_clause) VALUES"
			" ('refused %s %d', '%s', 'refused_%d', %s,"
			" $q$%s$q$, 'true')",
			kinds[i], number, kinds[i], number,
			i == 0 ? "'n = 1'" : "NULL", from_clause);
		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT state IN ('succeeded', 'failed')"
			" FROM backfill.jobs WHERE name = 'refused %s %d'",
			kinds[i], number);
		assert_string_equal(
			sql_text(shop.db,
				"SELECT concat_ws(' ', state,"
				" left(error_sqlstate, 2)) FROM backfill.jobs"
				" WHERE name = 'refused %s %d'",
				kinds[i], number),
			"failed 42");
	}
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(concat_ws(' ', id, n), ', ')"
			" FROM refused_%d",
			number),
		"1 0");
}

/* One clause, and nothing else. */
static void test_not_a_clause(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE bait (id bigint); INSERT INTO bait VALUES (1)");
	assert_refused("bait WHERE true) SELECT (1");
	assert_refused("bait; DROP TABLE bait");
	assert_refused("bait UNION SELECT FROM bait");
	assert_refused("bait WHERE true UNION SELECT FROM bait");
	assert_refused("bait WHERE false OR true --");
	assert_refused("bait ORDER BY 1");
	assert_refused("no_such_table");
	assert_refused("bait /*");
	assert_refused("bait)");
	assert_int_equal(sql_int(shop.db, "SELECT count(*) FROM bait"), 1);
}

#define TEST(function) cmocka_unit_test_teardown(function, let_go)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_orphans_and_nulls),
		TEST(test_nulls_that_match),
		TEST(test_several_matches),
		TEST(test_no_condition),
		TEST(test_self_join),
		TEST(test_forms),
		TEST(test_composite_key),
		TEST(test_matches_that_change),
		TEST(test_held_row),
		TEST(test_join_column_changed_at_the_lock),
		TEST(test_sweep),
		TEST(test_no_sweep),
		TEST(test_not_a_clause),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
