/* test_examples_kill.c: examples whose daemon is killed, or whose plan is
 * called off, in the middle of a step. */
#include "examples_drive.h"

/* Whoever comes back looks for what was left, and soon. */
static const char QUICK_YAML[] =
	"daemon: {lease: 1s, poll_interval: 100ms}\nbatch: {}\n";

static const char BUILD_SQL[] =
	"SELECT pid FROM pg_stat_activity WHERE wait_event = 'virtualxid'"
	" AND application_name ~ '^backfilld \\d+/'";

enum { MOST_KILLS = 12 };

static PGconn *holder;

/* Until a build waits for the holder's snapshot; returns its backend. */
static int64_t wait_build(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS, "SELECT EXISTS (%s)", BUILD_SQL);
	return sql_int(shop.db, "%s", BUILD_SQL);
}

static void hold_builds(void)
{
	sql_exec(holder,
		"BEGIN ISOLATION LEVEL REPEATABLE READ;"
		"SELECT count(*) FROM gate");
}

static const struct example *example(const char *name)
{
	for (size_t i = 0; i < EXAMPLES; i++) {
		if (strcmp(examples[i].name, name) == 0) {
			return &examples[i];
		}
	}
	fail_msg("no example %s", name);
	return NULL;
}

/* What a plan has come to, when nothing went wrong, and the catalog. */
static char *end_of(const struct example *e)
{
	make_shop();
	go_up(e);
	return dump_shop();
}

static void test_killed_in_a_build(void **state)
{
	const struct example *e = example("09_add_foreign_key");
	char *expected = end_of(e), *now;
	int64_t build;

	(void)state;
	make_shop();
	hold_builds();
	run_up(e->name, "");
	build = wait_build();
	daemon_kill(shop.daemon);
	shop_restart_daemon();
	/* The backend goes on without its daemon, up to the takeover. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE pid = %lld)",
		(long long)build);
	sql_exec(holder, "ROLLBACK");
	wait_up(e->name);
	now = dump_shop();
	assert_string_equal(now, expected);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM pg_index"
				 " WHERE NOT indisvalid"),
		0);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM shop.items i"
				 " JOIN shop.products p ON p.id = i.product_id"
				 " AND p.sku = i.sku"),
		12000);
	free(now);
	free(expected);
}

static void test_cancelled_in_a_build(void **state)
{
	const struct example *e = example("09_add_foreign_key");
	char *before;

	(void)state;
	make_shop();
	before = dump_shop();
	hold_builds();
	run_up(e->name, "");
	(void)wait_build();
	sql_exec(shop.app, "SELECT backfill.cancel_plan('%s')", e->name);
	sql_exec(holder, "ROLLBACK");
	assert_down(e, before);
	free(before);
}

/* Again and again, wherever it is. */
static void test_killed_at_each_event(void **state)
{
	const struct example *e = example("03_add_column_fill");
	char *expected = end_of(e), *now;
	int kills = 0;

	(void)state;
	make_shop();
	run_up(e->name, "");
	for (; kills < MOST_KILLS; kills++) {
		int64_t seen =
			sql_int(shop.db, "SELECT max(id) FROM backfill.events");

		sql_wait(shop.db, SHOP_WAIT_SECONDS,
			"SELECT max(id) > %lld + 1 OR (SELECT bool_and(state ="
			" 'succeeded') FROM backfill.jobs) FROM"
			" backfill.events",
			(long long)seen);
		daemon_kill(shop.daemon);
		shop_restart_daemon();
	}
	wait_up(e->name);
	now = dump_shop();
	assert_string_equal(now, expected);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM shop.customers"
				 " WHERE tier = CASE WHEN id <= 100"
				 " THEN 'founder' ELSE 'basic' END"),
		3000);
	free(now);
	free(expected);
}

static int let_go(void **state)
{
	(void)state;
	PQreset(holder);
	if (!daemon_alive(shop.daemon)) {
		shop_restart_daemon();
	}
	return 0;
}

static int start(void **state)
{
	int code = examples_start(state);

	holder = cluster_connect(shop.cluster, "shop", "app");
	daemon_rewrite(shop.daemon, QUICK_YAML);
	daemon_kill(shop.daemon);
	shop_restart_daemon();
	return code;
}

static int stop(void **state)
{
	PQfinish(holder);
	return shop_stop(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_killed_in_a_build, let_go),
		cmocka_unit_test_teardown(test_cancelled_in_a_build, let_go),
		cmocka_unit_test_teardown(test_killed_at_each_event, let_go),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
