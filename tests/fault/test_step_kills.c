/* test_step_kills.c: the daemon, or the backend that carries out a step, is
 * killed at each boundary of each recipe: where a job is claimed, where a step
 * commits or begins, where a job ends. Whatever was cut off, the plan
 * converges to the catalog and the rows of an undisturbed run, and no invalid
 * index, trigger, function or constraint is left over.
 *
 * A boundary is an event of the plan's jobs: it is written in the transaction
 * of what it tells, and the one that is armed stands still before its commit.
 * Each is met once, the daemon and the backend in turn; 20 times where
 * $BACKFILL_SOAK is set (make soak). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static const char SETUP_SQL[] =
	"CREATE TABLE armed (at bigint NOT NULL); INSERT INTO armed VALUES (0);"
	"CREATE SEQUENCE boundary;"
	"CREATE FUNCTION stand() RETURNS trigger LANGUAGE plpgsql"
	" SECURITY DEFINER AS $$"
	" DECLARE mine bigint := nextval('public.boundary'); BEGIN"
	"  WHILE mine = (SELECT at FROM public.armed) LOOP"
	"   PERFORM pg_sleep(0.005);"
	"  END LOOP;"
	"  RETURN NULL; END $$;"
	"CREATE TRIGGER stand AFTER INSERT ON backfill.events FOR EACH ROW"
	" WHEN (NEW.event IN ('started', 'taken_over', 'step', 'begun',"
	"  'sweep', 'succeeded')) EXECUTE FUNCTION stand();"
	"CREATE SCHEMA k AUTHORIZATION app";

/* What each round begins with, as app. */
static const char TABLES_SQL[] =
	"SET client_min_messages = warning;"
	"DROP TABLE IF EXISTS k.t, k.parents, k.p, k.archive CASCADE;"
	"CREATE TABLE k.parents (id integer PRIMARY KEY, name text UNIQUE);"
	"INSERT INTO k.parents SELECT g, 'p' || g FROM generate_series(1, 5) g;"
	"CREATE TABLE k.t (id integer PRIMARY KEY, n integer, price integer,"
	" old text NOT NULL DEFAULT 'd', parent_name text);"
	"CREATE INDEX t_n_idx ON k.t (n);"
	"INSERT INTO k.t SELECT g, nullif(g % 3, 0), g - 3, 'o' || g,"
	" 'p' || (1 + g % 5) FROM generate_series(1, 30) g;"
	"CREATE TABLE k.p (id integer, at integer, PRIMARY KEY (id, at))"
	" PARTITION BY RANGE (at);"
	"CREATE TABLE k.p1 PARTITION OF k.p FOR VALUES FROM (0) TO (10);"
	"CREATE TABLE k.p2 PARTITION OF k.p FOR VALUES FROM (10) TO (20);"
	"INSERT INTO k.p SELECT g, g FROM generate_series(0, 19) g";

static const struct recipe {
	const char *name;
	const char *call; /* $ stands for the prefix */
} recipes[] = {
	{ "add_column",
		"plan_add_column('k.t', 'phone', 'text', fill => $$'x' ||"
		" id$$, not_null => true, prefix => '$')" },
	{ "volatile_default",
		"plan_add_column('k.t', 'token', 'uuid',"
		" 'gen_random_uuid()', prefix => '$')" },
	{ "drop_column", "plan_drop_column('k.t', 'price', '$')" },
	{ "rename_column",
		"plan_rename_column('k.t', 'old', 'new', true, '$')" },
	{ "set_not_null", "plan_set_not_null('k.t', 'n', '0', '$')" },
	{ "add_check",
		"plan_add_check('k.t', 'price_check', 'price > 0', 'price ="
		" 1', '$')" },
	{ "add_foreign_key",
		"plan_add_foreign_key('k.t', 'parent_id', 'k.parents (id)',"
		" 'parents.id', 'k.parents', 'parents.name = t.parent_name',"
		" '$')" },
	{ "create_index",
		"plan_create_index('k.t', 't_old_key', 'UNIQUE (old)', '$')" },
	{ "create_index_partitioned",
		"plan_create_index('k.p', 'p_at_idx', '(at)', '$')" },
	{ "drop_index", "plan_drop_index('k.t', 't_n_idx', '$')" },
	{ "reindex", "plan_reindex('k.t', 't_n_idx', '$')" },
	{ "delete", "plan_delete('k.t', 'price < 10', 'k.archive', '$')" },
	{ "ddl",
		"plan_ddl('k.t', 'ALTER TABLE k.t ADD COLUMN a integer; ALTER"
		" TABLE k.t ADD COLUMN b integer', 'ALTER TABLE k.t DROP"
		" COLUMN b; ALTER TABLE k.t DROP COLUMN a', '$')" },
};
enum { RECIPES = sizeof recipes / sizeof recipes[0] };

static int rounds; /* of all recipes: each has a prefix of its own */

static int start(void **state)
{
	(void)shop_start(state);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	daemon_free(shop.daemon);
	sql_exec(shop.db, "%s", SETUP_SQL);
	shop.daemon = daemon_start(shop.cluster, "shop",
		"daemon: {lease: 1s, poll_interval: 200ms}\nbatch: {}\n");
	daemon_wait_log(shop.daemon, "-> serving", SHOP_WAIT_SECONDS);
	return 0;
}

/* ---- what is there */

/* Columns, constraints, indexes, triggers and functions of the schema, and
 * what is invalid or not validated. */
static char *catalog(void)
{
	return strdup(sql_text(shop.db,
		"SELECT string_agg(line, E'\\n' ORDER BY line) FROM ("
		"SELECT format('%%s.%%s %%s %%s %%s', c.relname, a.attname,"
		"  format_type(a.atttypid, a.atttypmod), a.attnotnull,"
		"  pg_get_expr(d.adbin, d.adrelid)) AS line"
		" FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
		" LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid"
		"  AND d.adnum = a.attnum"
		" WHERE c.relnamespace = 'k'::regnamespace AND a.attnum > 0"
		"  AND NOT a.attisdropped AND c.relkind IN ('r', 'p')"
		" UNION ALL SELECT format('%%s %%s %%s', conrelid::regclass,"
		"  conname, pg_get_constraintdef(oid)) FROM pg_constraint"
		"  WHERE connamespace = 'k'::regnamespace"
		" UNION ALL SELECT format('%%s %%s', "
		"pg_get_indexdef(indexrelid),"
		"  indisvalid) FROM pg_index i JOIN pg_class c"
		"  ON c.oid = i.indexrelid"
		"  WHERE c.relnamespace = 'k'::regnamespace"
		" UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t"
		"  JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT tgisinternal"
		"  AND c.relnamespace = 'k'::regnamespace"
		" UNION ALL SELECT proname FROM pg_proc"
		"  WHERE pronamespace = 'k'::regnamespace) all_of_it"));
}

/* The rows, of which nothing but a token is random. */
static char *rows(void)
{
	const char *archive = sql_true(shop.db,
				      "SELECT to_regclass('k.archive') IS NOT"
				      " NULL")
		? "(SELECT string_agg(to_jsonb(a)::text, '' ORDER BY id)"
		  " FROM k.archive a)"
		: "''";

	return strdup(sql_text(shop.db,
		"SELECT md5(string_agg((to_jsonb(t) - 'token')::text, ''"
		" ORDER BY id)) || md5(coalesce(%s, '')) ||"
		" count(*) FILTER (WHERE to_jsonb(t)->'token' = 'null')"
		" FROM k.t t",
		archive));
}

/* ---- a round */

static void submit(const struct recipe *r, const char *prefix)
{
	char call[1024];
	const char *mark = strstr(r->call, "'$'");
	size_t before = (size_t)(mark - r->call);

	assert_non_null(mark);
	(void)snprintf(call, sizeof call, "%.*s'%s'%s", (int)before, r->call,
		prefix, mark + strlen("'$'"));
	/* Together: a claim that stands holds its job's row. */
	sql_exec(shop.app,
		"SELECT backfill.%s; SELECT backfill.approve(id)"
		" FROM backfill.jobs WHERE plan = '%s' AND hold",
		call, prefix);
}

static void wait_plan(const char *prefix)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_and(state = 'succeeded')"
		" OR bool_or(state = 'failed') FROM backfill.jobs"
		" WHERE plan = '%s'",
		prefix);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT coalesce(string_agg(concat_ws(' ', name, state,"
			" error_sqlstate, error_message, error_detail), '; '"
			" ORDER BY id), '') FROM backfill.jobs"
			" WHERE plan = '%s' AND state <> 'succeeded'",
			prefix),
		"");
}

static void arm(int64_t boundary)
{
	sql_exec(shop.db,
		"UPDATE armed SET at = %lld; SELECT setval('boundary', 1,"
		" false)",
		(long long)boundary);
}

/* Stands there, or the plan is over without it. */
static int meets(const char *prefix)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT (SELECT bool_and(state = 'succeeded')"
		"  OR bool_or(state = 'failed') FROM backfill.jobs"
		"  WHERE plan = '%s')"
		" OR EXISTS (SELECT FROM pg_stat_activity"
		"  WHERE wait_event = 'PgSleep' AND pid <> pg_backend_pid())",
		prefix);
	return !sql_true(shop.db,
		"SELECT bool_and(state = 'succeeded')"
		" OR bool_or(state = 'failed') FROM backfill.jobs"
		" WHERE plan = '%s'",
		prefix);
}

static void kill_daemon(void)
{
	daemon_kill(shop.daemon);
	arm(0);
	shop_restart_daemon();
}

static void kill_backend(void)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT bool_or(pg_terminate_backend(pid))"
		" FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
	arm(0);
}

/* The daemon or the backend dies at the boundary; returns whether there is
 * one. */
static int disturb(const char *prefix, int is_daemon)
{
	int met = meets(prefix);

	if (met && is_daemon) {
		kill_daemon();
	} else if (met) {
		kill_backend();
	}
	wait_plan(prefix);
	return met;
}

/* Up, and down again if so it is wanted, where the disturbance then is. */
static int disturbed(const struct recipe *r, int boundary, int is_daemon,
	int is_down, const char *want_catalog, const char *want_rows)
{
	char prefix[32];
	int met;
	char *found;

	(void)snprintf(prefix, sizeof prefix, "round%d", ++rounds);
	sql_exec(shop.app, "%s", TABLES_SQL);
	arm(is_down ? 0 : boundary);
	submit(r, prefix);
	if (is_down) {
		wait_plan(prefix);
		arm(boundary);
		sql_exec(shop.app, "SELECT backfill.plan_down('%s')", prefix);
	}
	met = disturb(prefix, is_daemon);
	found = catalog();
	assert_string_equal(found, want_catalog);
	free(found);
	found = rows();
	assert_string_equal(found, want_rows);
	free(found);
	arm(0);
	return met;
}

static int soak(void)
{
	return getenv("BACKFILL_SOAK") != NULL ? 20 : 1;
}

static void kill_at_each_boundary(const struct recipe *r, int is_down)
{
	char *want_catalog, *want_rows;
	char name[64];
	int boundary = 1;

	sql_exec(shop.app, "%s", TABLES_SQL);
	arm(0);
	(void)snprintf(
		name, sizeof name, "%s%s", r->name, is_down ? "_down" : "");
	submit(r, name);
	wait_plan(name);
	if (is_down) {
		sql_exec(shop.app, "SELECT backfill.plan_down('%s')", name);
		wait_plan(name);
	}
	want_catalog = catalog();
	want_rows = rows();
	while (disturbed(
		r, boundary, boundary % 2, is_down, want_catalog, want_rows)) {
		for (int i = 1; i < soak(); i++) {
			(void)disturbed(r, boundary, (boundary + i) % 2,
				is_down, want_catalog, want_rows);
		}
		boundary++;
	}
	/* A claim, a step and an end at least; a reindex needs no way back. */
	if (boundary < 4 && (!is_down || strcmp(r->name, "reindex") != 0)) {
		fail_msg("%s has only %d boundaries", name, boundary - 1);
	}
	free(want_catalog);
	free(want_rows);
}

static void test_recipe(void **state)
{
	kill_at_each_boundary(*state, 0);
}

/* What comes back is what was there, but for values that were dropped. */
static void test_back_again(void **state)
{
	kill_at_each_boundary(*state, 1);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[2 * RECIPES];
	char names[RECIPES][64];

	for (size_t i = 0; i < RECIPES; i++) {
		tests[i] = (struct CMUnitTest){
			.name = recipes[i].name,
			.test_func = test_recipe,
			.initial_state = (void *)&recipes[i],
		};
		(void)snprintf(names[i], sizeof names[i], "%s_and_back",
			recipes[i].name);
		tests[RECIPES + i] = tests[i];
		tests[RECIPES + i].name = names[i];
		tests[RECIPES + i].test_func = test_back_again;
	}
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, start, shop_stop);
}
