/* test_log_life.c: the log as a person reads it. A job's life, in which each
 * decision stands once, and a storm, of which the log stays small and loses
 * nothing that is said once. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmocka_all.h"
#include "shop.h"
#include "wait.h"

/* ---- reading ---- */

/* The lines about a job, with '#' for every number, without their times. */
static void add_masked(struct text *out, const char *line)
{
	const char *at = strchr(line, ' ');

	assert_non_null(at);
	for (at++; *at != '\0'; at++) {
		int is_digit = isdigit((unsigned char)*at) ||
			(*at == '.' && isdigit((unsigned char)at[-1]) &&
				isdigit((unsigned char)at[1]));

		if (!is_digit) {
			text_add_bytes(out, at, 1);
		} else if (out->length == 0 ||
			out->data[out->length - 1] != '#') {
			text_add(out, "#");
		}
	}
	text_add(out, "\n");
}

static void read_life(struct text *out, const char *name)
{
	char *log = strdup(daemon_log(shop.daemon));
	char *rest = log;
	char about[80];
	char *line;

	text_init(out);
	(void)snprintf(about, sizeof about, " (%s): ", name);
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, about) != NULL) {
			add_masked(out, line);
		}
	}
	free(log);
}

/* How many lines with these words were written or counted. */
static int count_told(const char *words)
{
	char *log = strdup(daemon_log(shop.daemon));
	char *rest = log;
	char *line;
	int told = 0;

	while ((line = strsep(&rest, "\n")) != NULL) {
		const char *paren = strrchr(line, '(');
		int left_out;

		if (strstr(line, words) == NULL) {
			continue;
		}
		if (paren != NULL &&
			sscanf(paren, "(%d like this were", &left_out) == 1) {
			told += 1 + left_out;
		} else if (paren != NULL &&
			sscanf(paren, "(the last of %d like", &left_out) == 1) {
			told += left_out;
		} else {
			told++;
		}
	}
	free(log);
	return told;
}

static int count_lines(const char *words)
{
	return daemon_count_log(shop.daemon, words);
}

/* ---- a life ---- */

static void control(const char *function, const char *name)
{
	sql_exec(shop.app, "SELECT backfill.%s('%s')", function, name);
}

/* The runner has gone; who looks now sees what the control did. */
static void wait_owned(const char *name, int is_owned)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT (r.owner IS NOT NULL) = (%d = 1)"
		" FROM backfill.ranges r WHERE r.job_id = %lld",
		is_owned, (long long)job_id(name));
}

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer,"
		" CONSTRAINT %s_low CHECK (n < 90));"
		"INSERT INTO %s SELECT i, 0 FROM generate_series(1, 60) i;"
		"UPDATE %s SET n = 89 WHERE id = 45",
		name, name, name, name);
}

static void submit(const char *name)
{
	make_table(name);
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause, hold,"
		" batch_rows, max_batch_rows)"
		" VALUES ('%s', '%s', 'n = n + 1 + gate_pass(id)', true, 10,"
		" 10)",
		name, name);
}

static const char LIFE[] =
	"info: job # (life): in t as app, epoch # -> claimed\n"
	"info: job # (life): about # rows of public.life to read -> begin\n"
	"info: job # (life): job # is paused -> release\n"
	"info: job # (life): in t as app, epoch # -> claimed\n"
	"info: job # (life): in t as app, epoch # -> taken over\n"
	"warning: job # (life): #: new row for relation \"life\" violates check"
	" constraint \"life_low\" -> failed\n"
	"info: job # (life): in t as app, epoch # -> claimed\n"
	"info: job # (life): no key and no hole is left, # rows changed in #"
	" batches and # s -> succeeded\n";

static void test_a_life(void **state)
{
	struct text life;
	int64_t owner;

	(void)state;
	submit("life");
	gate_close(15);
	control("approve", "life");
	gate_wait("life");
	control("pause", "life");
	gate_open_to(20);
	wait_owned("life", 0);
	gate_close(35);
	control("resume", "life");
	gate_wait("life");
	/* Read now: one that starts late may take it over at once. */
	owner = sql_int(shop.db,
		"SELECT owner FROM backfill.ranges WHERE job_id = %lld",
		(long long)job_id("life"));
	daemon_kill(shop.daemon);
	gate_open();
	shop_restart_daemon();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT lease_until < clock_timestamp()"
		" FROM backfill.daemons WHERE incarnation = %lld",
		(long long)owner);
	sql_exec(shop.db, "NOTIFY backfill");
	job_wait("life", "failed");
	sql_exec(shop.app, "UPDATE life SET n = 5 WHERE id = 45");
	control("retry", "life");
	job_wait("life", "succeeded");
	daemon_wait_log(shop.daemon, "-> succeeded", SHOP_WAIT_SECONDS);
	read_life(&life, "life");
	assert_string_equal(life.data, LIFE);
	text_close(&life);
}

static const char SHORT_LIFE[] =
	"info: job # (short): in t as app, epoch # -> claimed\n"
	"info: job # (short): about # rows of public.short to read -> begin\n"
	"info: job # (short): job # is cancelled -> release\n";

static void test_a_short_life(void **state)
{
	struct text life;

	(void)state;
	submit("short");
	gate_close(15);
	control("approve", "short");
	gate_wait("short");
	control("cancel", "short");
	wait_owned("short", 0);
	gate_open();
	read_life(&life, "short");
	assert_string_equal(life.data, SHORT_LIFE);
	text_close(&life);
}

/* ---- a decision that cannot be recorded at once ---- */

#define FAILING                                                                \
	"usename = 'backfilld' AND wait_event_type = 'Lock'"                   \
	" AND query LIKE '%backfill.fail_job(%'"

static void test_a_decision_is_told_once(void **state)
{
	PGconn *holder = cluster_connect(shop.cluster, "shop", "postgres");
	const char *first;

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE late (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO late VALUES (20, 0)");
	gate_close(15);
	job_submit(
		"late", "late", 10, "n = 1 / (n + gate_pass(id))", NULL, NULL);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE usename = 'app' AND wait_event = 'PgSleep')");
	sql_exec(holder,
		"BEGIN; SELECT FROM backfill.jobs WHERE name = 'late'"
		" FOR UPDATE");
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s)",
		FAILING);
	first = sql_text(shop.db,
		"SELECT coalesce(max(query_start), clock_timestamp())"
		" FROM pg_stat_activity WHERE %s",
		FAILING);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s"
		" AND query_start > '%s')",
		FAILING, first);
	PQfinish(holder);
	job_wait("late", "failed");
	assert_int_equal(
		count_lines("(late): 22012 (data_exception) -> failed"), 1);
}

/* ---- a storm ---- */

enum { STORM = 60 };

/* A heartbeat follows the look at the queue sooner or later. */
static const char CONTROL[] = "usename = 'backfilld' AND state = 'idle'"
			      " AND query ~ 'backfill.(claim|renew)[(]'";

static int64_t flapped; /* the backend that was ended last */

/* The control connection serves, and is another one; returns its backend. One
 * look tells both: at the next one it may be busy. */
static int64_t wait_serving(void)
{
	uint64_t deadline = wait_deadline(SHOP_WAIT_SECONDS);
	int64_t backend;

	while ((backend = sql_int(shop.db,
			"SELECT coalesce(max(pid), 0) FROM pg_stat_activity"
			" WHERE %s AND pid <> %lld",
			CONTROL, (long long)flapped)) == 0) {
		if (!wait_again(deadline)) {
			fail_msg("no control connection serves");
		}
	}
	return backend;
}

static void flap(void)
{
	flapped = wait_serving();
	assert_true(sql_true(shop.db, "SELECT pg_terminate_backend(%lld)",
		(long long)flapped));
}

/* What is said once in the midst of it. */
static void fail_a_job(void)
{
	sql_exec(shop.app,
		"CREATE TABLE unique_one (id int PRIMARY KEY, n int);"
		"INSERT INTO unique_one VALUES (1, 1);"
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('unique_one', 'unique_one', 'n = 1 / (n - 1)')");
	job_wait("unique_one", "failed");
}

static void test_a_storm(void **state)
{
	static const char words[] = "-> connect again";
	int before = count_lines(words);

	(void)state;
	for (int i = 0; i < STORM; i++) {
		flap();
		if (i == STORM / 2) {
			fail_a_job();
		}
	}
	(void)wait_serving();
	assert_int_equal(daemon_stop(shop.daemon), 0);
	/* Ten, one every ten seconds, and the one that tells of the rest. */
	assert_in_range(count_lines(words) - before, 11, STORM / 2);
	assert_int_equal(count_told(words) - before, STORM);
	assert_int_equal(count_lines("(unique_one): 22012 (data_exception) ->"
				     " failed"),
		1);
	shop_restart_daemon();
}

/* Each batch fails for as long as people like. */
static void test_a_job_that_cannot_go_on(void **state)
{
	struct text life;

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE stuck (id int PRIMARY KEY, n int);"
		"INSERT INTO stuck VALUES (1, 1);"
		"CREATE SEQUENCE tries;"
		"CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$"
		" BEGIN PERFORM nextval('public.tries'); RAISE EXCEPTION"
		" 'not now' USING ERRCODE = '40001'; END $$;"
		"CREATE TRIGGER no BEFORE UPDATE ON stuck FOR EACH ROW"
		" EXECUTE FUNCTION no();"
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('stuck', 'stuck', 'n = 2')");
	sql_wait(
		shop.db, SHOP_WAIT_SECONDS, "SELECT last_value > 8 FROM tries");
	control("cancel", "stuck");
	wait_owned("stuck", 0);
	read_life(&life, "stuck");
	if (strstr(life.data, "(stuck): #: ... -> again in # ms\n") == NULL) {
		fail_msg("it is not told: %s", life.data);
	}
	text_close(&life);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_life),
		cmocka_unit_test(test_a_short_life),
		cmocka_unit_test(test_a_decision_is_told_once),
		cmocka_unit_test(test_a_storm),
		cmocka_unit_test(test_a_job_that_cannot_go_on),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
