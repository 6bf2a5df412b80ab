/* test_job.c: jobs that go well: what they change, what they count, which
 * job runs when, and what a daemon that is told to end leaves behind. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"
#include "wait.h"

static void assert_succeeded(const char *name, int read, int done)
{
	job_wait(name, "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', state, rows_read, rows_done,"
			" percent, holes, coalesce(reason, 'no reason'),"
			" coalesce(eta::text, 'no eta'))"
			" FROM backfill.progress WHERE name = '%s'",
			name),
		sql_text(shop.db,
			"SELECT 'succeeded %d %d 100.0 0 no reason no eta'",
			read, done));
	assert_true(sql_true(shop.db,
		"SELECT finished_at >= started_at AND started_at >="
		" submitted_at AND error_sqlstate IS NULL"
		" FROM backfill.jobs WHERE name = '%s'",
		name));
}

/* Rows that are not as often changed as they should be. */
static void assert_each_once(const char *table, int rows)
{
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM %s", table), rows);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM %s WHERE n <> 1", table),
		0);
}

static void make_table(const char *table, int rows)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO %s (id) SELECT generate_series(1, %d)",
		table, table, rows);
}

/* ---- one job */

/* Nobody waits ten minutes for the daemon to look: the notification of the
 * INSERT brings it. */
static void test_changes_what_one_update_would(void **state)
{
	static const char checksum[] =
		"SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM %s t";
	char wanted[64];

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE orders (id bigint PRIMARY KEY, cents bigint,"
		" price numeric, note text);"
		"INSERT INTO orders SELECT g, NULL, g / 7.0, 'order ' || g"
		" FROM generate_series(-2500, 2500) g;"
		"CREATE TABLE wanted AS SELECT * FROM orders;"
		"UPDATE wanted SET cents = price * 100, note = upper(note)"
		" WHERE id %% 3 <> 0;"
		"ANALYZE orders");
	(void)strcpy(wanted, sql_text(shop.db, checksum, "wanted"));

	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause) VALUES ('one', 'orders',"
		" 'cents = price * 100, note = upper(note)', 'id %% 3 <> 0')");
	assert_succeeded("one", 5001, 3334);
	assert_string_equal(sql_text(shop.db, checksum, "orders"), wanted);
	assert_string_equal(job_events("one"),
		"submitted,started,preflight,begun,not_self_excluding,"
		"succeeded");
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws('|', actor, detail)"
				    " FROM backfill.events WHERE job_id = %lld"
				    " AND event = 'begun'",
				    (long long)job_id("one")),
		"app|about 5001 rows up to key (2500)");
	assert_int_equal(sql_int(shop.db,
				 "SELECT rows_still_matching FROM"
				 " backfill.progress WHERE name = 'one'"),
		3334);
}

static void test_self_excluding_job_matches_nothing_after(void **state)
{
	(void)state;
	make_table("phones", 300);
	job_submit("phones", "phones", 50, "n = 1", "n = 0", NULL);
	assert_succeeded("phones", 300, 300);
	assert_each_once("phones", 300);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_still_matching, batches,"
			" batch_rows, key, last_key) FROM backfill.progress"
			" WHERE name = 'phones'"),
		"0 12 50 300 300");
}

static void test_empty_table(void **state)
{
	(void)state;
	make_table("nobody", 0);
	job_submit("nobody", "nobody", 10, "n = n + 1", NULL, NULL);
	assert_succeeded("nobody", 0, 0);
	assert_string_equal(job_events("nobody"),
		"submitted,started,preflight,begun,succeeded");
}

static void test_where_matches_nothing(void **state)
{
	(void)state;
	make_table("none_match", 95);
	job_submit("none_match", "none_match", 10, "n = n + 1", "n = 5", NULL);
	assert_succeeded("none_match", 95, 0);
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM none_match"
				 " WHERE n <> 0"),
		0);
}

/* Keys far apart, and few rows that match: a window counts rows read. */
static void test_sparse_table(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE sparse (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO sparse SELECT g::bigint * g * g * 1000003"
		" FROM generate_series(-500, 500) g;"
		"DELETE FROM sparse WHERE id BETWEEN 1 AND 999999999999");
	job_submit("sparse", "sparse", 7, "n = n + 1", "id % 64 = 0", NULL);
	assert_succeeded("sparse",
		(int)sql_int(shop.db, "SELECT count(*) FROM sparse"),
		(int)sql_int(shop.db,
			"SELECT count(*) FROM sparse WHERE id %% 64 = 0"));
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM sparse WHERE n <>"
				 " (id %% 64 = 0)::integer"),
		0);
}

/* ---- several jobs */

static void test_one_table_one_job_at_a_time(void **state)
{
	char wanted[128];

	(void)state;
	make_table("turns", 40);
	gate_close(15);
	job_submit("turns 1", "turns", 10, "n = n + 1 + gate_pass(id)", NULL,
		NULL);
	gate_wait("turns 1");
	job_submit("turns 2", "turns", 10, "n = n * 10", NULL, NULL);

	(void)snprintf(wanted, sizeof wanted,
		"waits: job %lld (turns 1) runs on the same table",
		(long long)job_id("turns 1"));
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason IS NOT NULL FROM backfill.jobs"
		" WHERE name = 'turns 2'");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT state || ' ' || reason FROM backfill.progress"
			" WHERE name = 'turns 2'"),
		sql_text(shop.db, "SELECT 'queued %s'", wanted));

	gate_open();
	assert_succeeded("turns 1", 40, 40);
	assert_succeeded("turns 2", 40, 40);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM turns WHERE n <> 10"),
		0);
	assert_true(sql_true(shop.db,
		"SELECT b.started_at >= a.finished_at FROM backfill.jobs a,"
		" backfill.jobs b"
		" WHERE a.name = 'turns 1' AND b.name = 'turns 2'"));
}

static void test_two_tables_at_once(void **state)
{
	(void)state;
	make_table("left_hand", 40);
	make_table("right_hand", 40);
	gate_close(15);
	job_submit("left", "left_hand", 10, "n = n + 1 + gate_pass(id)", NULL,
		NULL);
	job_submit("right", "right_hand", 10, "n = n + 1 + gate_pass(id)", NULL,
		NULL);
	/* Both stand at the gate, so both run. */
	gate_wait("left");
	gate_wait("right");
	gate_open();
	assert_succeeded("left", 40, 40);
	assert_succeeded("right", 40, 40);
	assert_each_once("left_hand", 40);
	assert_each_once("right_hand", 40);
}

/* ---- the daemon's end */

/* A second signal would mean "at once", and daemon_stop() sends one. */
static void wait_for_the_end(void)
{
	uint64_t deadline = wait_deadline(SHOP_WAIT_SECONDS);

	while (daemon_alive(shop.daemon)) {
		if (!wait_again(deadline)) {
			fail_msg("the daemon still runs after SIGTERM");
		}
	}
}

static void test_sigterm_gives_the_job_back(void **state)
{
	(void)state;
	make_table("half", 100);
	gate_close(45);
	job_submit("half", "half", 10, "n = n + 1 + gate_pass(id)", NULL, NULL);
	gate_wait("half");
	/* It ends the batch in flight, and begins no other. */
	assert_int_equal(kill(daemon_pid(shop.daemon), SIGTERM), 0);
	daemon_wait_log(shop.daemon, "finish the batches in flight, then end",
		SHOP_WAIT_SECONDS);
	gate_open();
	wait_for_the_end();
	assert_int_equal(daemon_stop(shop.daemon), 0);

	assert_string_equal(sql_text(shop.db,
				    "SELECT state || ': ' || reason FROM"
				    " backfill.jobs WHERE name = 'half'"),
		"queued: the daemon stops");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_done, key) || ', ' ||"
			" (SELECT count(*) FROM half WHERE n = 1)"
			" FROM backfill.progress WHERE name = 'half'"),
		"50 50, 50");
	assert_true(sql_true(shop.db,
		"SELECT stopped_at IS NOT NULL FROM backfill.daemons"
		" ORDER BY incarnation DESC LIMIT 1"));

	shop_restart_daemon();
	assert_succeeded("half", 100, 100);
	assert_each_once("half", 100);
	assert_string_equal(job_events("half"),
		"submitted,started,preflight,begun,released,started,succeeded");
}

/* A claim passes over it: what is set brings the next one. */
static void test_job_that_is_being_set(void **state)
{
	(void)state;
	make_table("being_set", 30);
	make_table("other", 30);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	job_submit("being_set", "being_set", 10, "n = n + 1", NULL, NULL);
	sql_exec(shop.app,
		"BEGIN; UPDATE backfill.jobs SET max_rows_per_second = NULL"
		" WHERE name = 'being_set'");
	shop_restart_daemon();
	sql_exec(shop.db,
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as)"
		" VALUES ('other', 'public.other', 'n = n + 1', 'app')");
	assert_succeeded("other", 30, 30);
	sql_exec(shop.app, "COMMIT");
	assert_succeeded("being_set", 30, 30);
	assert_each_once("being_set", 30);
}

/* A notification is a hint: without any, polling finds the job. */
static void test_polling_finds_a_job(void **state)
{
	struct daemon *poller;

	(void)state;
	make_table("unheard", 30);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	poller = daemon_start(shop.cluster, "shop",
		"daemon: {lease: 5s, poll_interval: 200ms}\nbatch: {}\n");
	daemon_wait_log(poller, "serving", SHOP_WAIT_SECONDS);
	/* Its first look, which polls nothing, is over. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE application_name = 'backfilld' AND state = 'idle'"
		" AND query LIKE '%%backfill.claim(%%')");

	sql_exec(shop.db,
		"ALTER TABLE backfill.jobs DISABLE TRIGGER jobs_4_submitted");
	job_submit("unheard", "unheard", 10, "n = n + 1", NULL, NULL);
	sql_exec(shop.db,
		"ALTER TABLE backfill.jobs ENABLE TRIGGER jobs_4_submitted");
	assert_succeeded("unheard", 30, 30);
	assert_each_once("unheard", 30);

	assert_int_equal(daemon_stop(poller), 0);
	daemon_free(poller);
	shop_restart_daemon();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes_what_one_update_would),
		cmocka_unit_test(test_self_excluding_job_matches_nothing_after),
		cmocka_unit_test(test_empty_table),
		cmocka_unit_test(test_where_matches_nothing),
		cmocka_unit_test(test_sparse_table),
		cmocka_unit_test(test_one_table_one_job_at_a_time),
		cmocka_unit_test(test_two_tables_at_once),
		cmocka_unit_test(test_sigterm_gives_the_job_back),
		cmocka_unit_test(test_job_that_is_being_set),
		cmocka_unit_test(test_polling_finds_a_job),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
