/* test_examples_traffic.c: all examples at once, while applications of the old
 * and of the new version read and write the tables: none gets an error, and
 * none waits for long. */
#include "examples_drive.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "wait.h"

enum {
	CLIENTS = 4, /* of each version */
	/* For a lock; none of ours is waited for, or has others wait, longer
	 * than 0.5 s, and the rest is for a machine that is busy. */
	LONGEST_WAIT_MS = 4000,
	SOME_STATEMENTS = 200
};

#define OF(many) "1 + floor(random() * " many ")::int"

static const char *const old_version[] = {
	"INSERT INTO shop.customers (email, name, country, fax)"
	" VALUES (gen_random_uuid() || '@example.org', 'T', 'DE', '030 1')",
	"UPDATE shop.customers SET fax = '030 2' WHERE id = " OF("3000"),
	"SELECT id, email, name, country, fax FROM shop.customers"
	" WHERE id = " OF("3000"),
	"WITH o AS (INSERT INTO shop.orders (customer_id, total_cents, note,"
	" address) SELECT " OF(
		"3000") ", 100, a, a FROM (SELECT 'old ' ||"
			" random()) AS r(a) RETURNING id) INSERT INTO "
			"shop.items (order_id,"
			" line, sku, quantity) SELECT id, 1, 'S-1', 1 FROM o",
	"UPDATE shop.orders o SET address = a, note = a FROM (SELECT 'old ' ||"
	" random(), " OF("6000") ") AS r(a, i) WHERE o.id = r.i",
	"SELECT o.id, o.note, o.address, i.quantity, p.name FROM shop.orders o"
	" JOIN shop.items i ON i.order_id = o.id JOIN shop.products p"
	" USING (sku) WHERE o.id = " OF("6000"),
	"UPDATE shop.items SET quantity = quantity + 1 WHERE order_id = " OF(
		"6000"),
	"INSERT INTO shop.carts (customer_id) VALUES (1)",
	"UPDATE shop.carts SET contents = '{\"n\": 1}' WHERE id = " OF("6000"),
	"INSERT INTO shop.events (kind, customer_id) VALUES ('view', 1)",
	"SELECT count(*) FROM shop.events WHERE customer_id = " OF("6000"),
	"BEGIN; SELECT id, note FROM shop.orders WHERE id = 1 FOR UPDATE;"
	" UPDATE shop.products SET stock = stock + 1 WHERE id = 1; COMMIT",
};

static const char *const new_version[] = {
	"INSERT INTO shop.customers (email, name, country, phone, newsletter)"
	" VALUES (gen_random_uuid() || '@example.org', 'T', 'DE', '1', true)",
	"UPDATE shop.customers SET phone = '2', tier = 'gold'"
	" WHERE id = 101 + floor(random() * 2000)::int",
	"SELECT id, email, phone, newsletter, tier FROM shop.customers"
	" WHERE id = " OF("3000"),
	"WITH o AS (INSERT INTO shop.orders (customer_id, total_cents, note,"
	" shipping_address) SELECT " OF(
		"3000") ", 100, a, a FROM (SELECT"
			" 'new ' || random()) AS r(a) RETURNING id) INSERT "
			"INTO shop.items"
			" (order_id, line, sku, product_id, quantity) SELECT "
			"id, 1, 'S-1', 1,"
			" 1 FROM o",
	"UPDATE shop.orders o SET shipping_address = a, note = a FROM (SELECT"
	" 'new ' || random(), " OF("6000") ") AS r(a, i) WHERE o.id = r.i",
	"SELECT o.id, o.note, o.shipping_address, o.created_token, p.name FROM"
	" shop.orders o JOIN shop.items i ON i.order_id = o.id JOIN"
	" shop.products p ON p.id = i.product_id WHERE o.id = " OF("6000"),
	"UPDATE shop.items SET quantity = quantity + 1 WHERE order_id = " OF(
		"6000"),
	"INSERT INTO shop.carts (customer_id) VALUES (1)",
	"INSERT INTO shop.events (kind, customer_id) VALUES ('view', 1)",
	"BEGIN; SELECT id, note FROM shop.orders WHERE id = 1 FOR UPDATE;"
	" UPDATE shop.products SET stock = stock + 1 WHERE id = 1; COMMIT",
};

/* Of what both versions have: an application while it is all taken back. */
static const char *const both_versions[] = {
	"INSERT INTO shop.customers (email, name, country)"
	" VALUES (gen_random_uuid() || '@example.org', 'T', 'DE')",
	"UPDATE shop.customers SET name = 'U' WHERE id = " OF("3000"),
	"SELECT id, email, name, country FROM shop.customers WHERE id = " OF(
		"3000"),
	"UPDATE shop.orders SET note = 'n' WHERE id = " OF("6000"),
	"UPDATE shop.items SET quantity = quantity + 1 WHERE order_id = " OF(
		"6000"),
	"INSERT INTO shop.carts (customer_id) VALUES (1)",
	"INSERT INTO shop.events (kind, customer_id) VALUES ('view', 1)",
	"BEGIN; SELECT id, note FROM shop.orders WHERE id = 1 FOR UPDATE;"
	" UPDATE shop.products SET stock = stock + 1 WHERE id = 1; COMMIT",
};

/* A session of its own in a thread of its own, which keeps what it saw. */
struct client {
	pthread_t thread;
	PGconn *conn;
	const char *const *statements;
	size_t count;
	atomic_int done; /* statements */
	atomic_int stop;
	int64_t longest_ms;
	char error[1024]; /* the first one */
};

static struct client old_clients[CLIENTS], new_clients[CLIENTS];

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void run_statement(struct client *c, const char *statement)
{
	int64_t began = now_ms(), took;
	PGresult *result = PQexec(c->conn, statement);
	ExecStatusType status = PQresultStatus(result);

	took = now_ms() - began;
	if (took > c->longest_ms) {
		c->longest_ms = took;
	}
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
		c->error[0] == '\0') {
		(void)snprintf(c->error, sizeof c->error, "%s: %s", statement,
			PQerrorMessage(c->conn));
	}
	PQclear(result);
	atomic_fetch_add(&c->done, 1);
}

static void *work(void *arg)
{
	struct client *c = arg;

	for (size_t i = 0; !atomic_load(&c->stop); i++) {
		run_statement(c, c->statements[i % c->count]);
	}
	return NULL;
}

static void start_clients(
	struct client *clients, const char *const *statements, size_t count)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		struct client *c = &clients[i];

		memset(c, 0, sizeof *c);
		c->statements = statements;
		c->count = count;
		c->conn = cluster_connect(shop.cluster, "shop", "app");
		sql_exec(c->conn, "SET lock_timeout = %d", LONGEST_WAIT_MS);
		assert_int_equal(pthread_create(&c->thread, NULL, work, c), 0);
	}
}

static void stop_clients(struct client *clients)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		atomic_store(&clients[i].stop, 1);
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		if (clients[i].conn != NULL) {
			(void)pthread_join(clients[i].thread, NULL);
			PQfinish(clients[i].conn);
			clients[i].conn = NULL;
		}
	}
}

static void assert_undisturbed(const struct client *clients)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		const struct client *c = &clients[i];

		assert_string_equal(c->error, "");
		print_message("%d statements, the longest took %lld ms\n",
			atomic_load(&c->done), (long long)c->longest_ms);
	}
}

/* Each of them comes round to all of its statements again. */
static void let_work(struct client *clients)
{
	uint64_t deadline = wait_deadline(SHOP_WAIT_SECONDS);

	for (size_t i = 0; i < CLIENTS; i++) {
		int before = atomic_load(&clients[i].done);

		while (atomic_load(&clients[i].done) - before <
			SOME_STATEMENTS) {
			if (!wait_again(deadline)) {
				fail_msg("a client stands still");
			}
		}
	}
}

static void assert_rows(void)
{
	/* Whichever version wrote it, the new column has it. */
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM shop.orders WHERE"
				 " shipping_address IS DISTINCT FROM CASE WHEN"
				 " note ~ '^(old|new) ' THEN note ELSE id ||"
				 " ' Main Street' END"),
		0);
	assert_true(sql_true(shop.db,
		"SELECT count(*) FILTER (WHERE note LIKE 'old %%') > 0 AND"
		" count(*) FILTER (WHERE note LIKE 'new %%') > 0 AND"
		" count(DISTINCT created_token) = count(*) AND"
		" min(total_cents) = 0 FROM shop.orders"));
	assert_true(sql_true(shop.db,
		"SELECT count(*) FILTER (WHERE tier = 'founder') = 100 AND"
		" count(*) = count(tier) AND count(*) = count(country) AND"
		" count(*) > 3000 FROM shop.customers"));
	/* Of rows that the new version wrote, and of all older ones. */
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM shop.items i WHERE"
				 " order_id <= 6000 AND product_id IS DISTINCT"
				 " FROM (SELECT id FROM shop.products p"
				 " WHERE p.sku = i.sku)"),
		0);
	assert_true(sql_true(shop.db,
		"SELECT count(*) = count(DISTINCT id) AND count(*) = max(id)"
		" FROM (SELECT id FROM shop.carts UNION ALL"
		" SELECT id FROM shop.carts_archive) c"));
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM pg_index"
				 " WHERE NOT indisvalid"),
		0);
}

static void test_nobody_is_disturbed(void **state)
{
	(void)state;
	make_shop();
	start_clients(old_clients, old_version,
		sizeof old_version / sizeof old_version[0]);
	let_work(old_clients);
	for (size_t i = 0; i < EXAMPLES; i++) {
		run_up(examples[i].name, "");
	}
	for (size_t i = 0; i < EXAMPLES; i++) {
		if (examples[i].held != NULL) {
			wait_held(&examples[i]);
		} else {
			wait_up(examples[i].name);
		}
	}
	/* A deployment: for a while both versions run. */
	start_clients(new_clients, new_version,
		sizeof new_version / sizeof new_version[0]);
	let_work(new_clients);
	let_work(old_clients);
	stop_clients(old_clients);
	assert_undisturbed(old_clients);

	for (size_t i = 0; i < EXAMPLES; i++) {
		if (examples[i].held != NULL) {
			approve(&examples[i]);
			wait_up(examples[i].name);
		}
	}
	let_work(new_clients);
	stop_clients(new_clients);
	assert_undisturbed(new_clients);
	assert_rows();

	start_clients(new_clients, both_versions,
		sizeof both_versions / sizeof both_versions[0]);
	let_work(new_clients);
	for (size_t i = EXAMPLES; i-- > 0;) {
		run_down(examples[i].name);
	}
	for (size_t i = EXAMPLES; i-- > 0;) {
		wait_down(examples[i].name);
	}
	let_work(new_clients);
	stop_clients(new_clients);
	assert_undisturbed(new_clients);
}

static int end_clients(void **state)
{
	(void)state;
	stop_clients(old_clients);
	stop_clients(new_clients);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
			test_nobody_is_disturbed, end_clients),
	};

	return cmocka_run_group_tests(tests, examples_start, shop_stop);
}
