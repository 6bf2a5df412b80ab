/* test_plans.c: what a plan's jobs are, and how it is cancelled and taken
 * back, and by whom. */
#include "recipe_drive.h"

/* As if a daemon had carried out the steps up to this one. */
static void carry_out_up_to(const char *plan, int step)
{
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'succeeded',"
		" started_at = now(), finished_at = now() WHERE plan = '%s'"
		" AND substring(right(name, -length(plan) - 1)"
		" FROM '^\\d+')::int <= %d",
		plan, step);
}

/* A line per undo job: what it is, and what it undoes and depends on, both
 * as the other's place in the plan. */
static void assert_undo(const char *plan, const char *jobs)
{
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws('|', regexp_replace("
			"right(u.name, -length(u.plan) - 1), '\\d+$', ''),"
			" u.kind, u.target, u.object_name, u.definition,"
			" 'SET ' || u.set_clause, 'WHERE ' || u.where_clause,"
			" 'INTO ' || u.archive_table, CASE WHEN u.hold THEN"
			" 'held' END, 'undoes ' || substring(right(d.name,"
			" -length(d.plan) - 1) FROM '\\d+'), 'after ' || ("
			"SELECT substring(right(a.name, -length(a.plan) - 1)"
			" FROM '\\d+') FROM backfill.jobs a"
			" WHERE ARRAY[a.id] = u.depends_on)),"
			" E'\\n' ORDER BY u.id) FROM backfill.jobs u"
			" JOIN backfill.jobs d ON d.id = u.undoes"
			" WHERE u.plan = '%s'",
			plan),
		jobs);
}

static void test_graph(void **state)
{
	static const char told[] =
		"1|1|p.1_fill||2|2|p.2_check|1|3|3|p.3_sweep|2|"
		"4|4|p.4_validate|3|5|5|p.5_not_null|4|6|6|mine|5";
	static const char query[] =
		"SELECT string_agg(concat_ws('|', step, id, name,"
		" coalesce(depends_on[1]::text, '')), '|' ORDER BY step)"
		" FROM backfill.plan(%s) WHERE state = 'queued'"
		" AND NOT hold AND started_at IS NULL";

	(void)state;
	submit("plan_set_not_null('users', 'n', '0', 'p')");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" depends_on) VALUES ('mine', 'orders', 'owner = 1', '{5}')");
	sql_exec(app, "SELECT backfill.plan_drop_column('users', 'n')");
	assert_string_equal(sql_text(app, query, "'p'"), told);
	assert_string_equal(sql_text(app, query, "3"), told);
	assert_string_equal(sql_text(app, query, "'3'"), told);
	assert_string_equal(sql_text(app, query, "'mine'"), told);
	assert_string_equal(
		sql_text(app,
			"SELECT concat_ws('|', step, id, kind, target, hold)"
			" FROM backfill.plan(7)"),
		"1|7|drop_column|shop.users|t");
	FAILS(app, "BF002", "job or plan \"x\" does not exist",
		"Or its run_as is a role that you may not become.", "",
		"SELECT backfill.plan('x')");
}

static void test_undo_of_each_kind(void **state)
{
	static const struct {
		const char *call, *undo;
	} cases[] = {
		{ "plan_add_column('users', 'c', 'int', prefix => 'p')",
			"1_add.undo|drop_column|shop.users|c|undoes 1" },
		{ "plan_drop_column('users', 'email', 'p')",
			"1_drop.undo|add_column|shop.users|email|character"
			" varying(20) NOT NULL DEFAULT"
			" 'none'::character varying|undoes 1" },
		{ "plan_set_not_null('users', 'n', '0', 'p')",
			"5_not_null.undo|ddl|shop.users|ALTER TABLE shop.users"
			" ALTER COLUMN n DROP NOT NULL|undoes 5\n"
			"2_check.undo|ddl|shop.users|ALTER TABLE shop.users"
			" DROP CONSTRAINT IF EXISTS users_n_backfill_check|"
			"undoes 2|after 5" },
		{ "plan_add_foreign_key('orders', 'u', 'users', prefix => 'p')",
			"3_foreign_key.undo|ddl|shop.orders|ALTER TABLE"
			" shop.orders DROP CONSTRAINT IF EXISTS orders_u_fkey|"
			"undoes 3\n"
			"2_index.undo|drop_index|shop.orders|orders_u_idx|"
			"undoes 2|after 3\n"
			"1_add.undo|drop_column|shop.orders|u|undoes 1|"
			"after 2" },
		{ "plan_drop_index('users', 'i', 'p')",
			"1_drop.undo|create_index|shop.users|i|USING btree (n)|"
			"undoes 1" },
		{ "plan_ddl('users', 'SELECT 1', 'SELECT 2', 'p')",
			"1_ddl.undo|ddl|shop.users|SELECT 2|undoes 1" },
		{ "plan_reindex('users', 'i', 'p')", "(null)" },
		{ "plan_delete('users', 'n < 0', 'gone', 'p')",
			"2_delete.undo|delete|shop.gone|WHERE true|"
			"INTO shop.users|undoes 2\n"
			"1_archive.undo|ddl|shop.users|SELECT"
			" backfill.drop_archive('shop.gone')|undoes 1|after "
			"2" },
		{ "plan_delete('users', 'n < 0', prefix => 'p')", "(null)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *ids;
		int64_t count;

		sql_exec(db, "DELETE FROM backfill.jobs");
		sql_exec(app,
			"DROP INDEX IF EXISTS i; CREATE INDEX i ON users (n)");
		submit(cases[i].call);
		carry_out_up_to("p", 9);
		ids = sql_text(app, "SELECT backfill.plan_down('p')");
		/* Each kind's name was renamed, so its place is there. */
		assert_undo("p", cases[i].undo);
		count = sql_int(db, "SELECT count(*) FROM backfill.jobs");
		assert_string_equal(
			sql_text(app, "SELECT backfill.plan_down('p')"), ids);
		assert_int_equal(
			sql_int(db, "SELECT count(*) FROM backfill.jobs"),
			count);
		assert_string_equal(
			sql_text(db,
				"SELECT coalesce(array_agg(id ORDER BY id),"
				" '{}') FROM backfill.jobs"
				" WHERE undoes IS NOT NULL AND state = 'queued'"
				" AND run_as = 'app' AND plan = 'p'"
				" AND search_path = 'shop, pg_temp'"),
			ids);
	}
	assert_non_null(strstr(
		notices, "column \"email\" of table shop.users, if job "));
	assert_non_null(strstr(notices,
		"has deleted are gone|It had no"
		" archive.|"));
}

/* Half done: what was not begun is cancelled only, and the recipe begins
 * anew behind the undo jobs. */
static void test_half_a_plan(void **state)
{
	(void)state;
	submit("plan_set_not_null('users', 'n', '0', 'p')");
	carry_out_up_to("p", 2);
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'failed' WHERE id = 2;"
		"UPDATE backfill.jobs SET hold = true WHERE id = 4");
	assert_string_equal(
		sql_text(app, "SELECT backfill.plan_down('p')"), "{6}");
	assert_undo("p",
		"2_check.undo|ddl|shop.users|ALTER TABLE shop.users DROP"
		" CONSTRAINT IF EXISTS users_n_backfill_check|undoes 2");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws('|', name, state, reason,"
			" finished_at IS NOT NULL), E'\\n' ORDER BY id)"
			" FROM backfill.jobs WHERE undoes IS NULL"),
		"p.1_fill (undone 1)|succeeded|taken back by app|t\n"
		"p.2_check (undone 2)|cancelled|taken back by app|t\n"
		"p.3_sweep (undone 3)|cancelled|taken back by app|t\n"
		"p.4_validate (undone 4)|cancelled|taken back by app|t\n"
		"p.5_not_null (undone 5)|cancelled|taken back by app|t");
	submit("plan_set_not_null('users', 'n', '0', 'p')");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws(' ', name, depends_on),"
			" ', ' ORDER BY id) FROM backfill.jobs WHERE id > 6"),
		"p.1_fill {6}, p.2_check {7}, p.3_sweep {8},"
		" p.4_validate {9}, p.5_not_null {10}");
	/* Done with, it is still the same plan. */
	sql_exec(db, "UPDATE backfill.jobs SET state = 'succeeded'");
	submit("plan_set_not_null('users', 'n', '0', 'p')");
	/* And may be taken back again, the older part left alone. */
	sql_exec(
		db, "UPDATE backfill.jobs SET started_at = now() WHERE id > 6");
	assert_string_equal(
		sql_text(app, "SELECT backfill.plan_down('p')"), "{12,13}");
	assert_string_equal(
		sql_text(app, "SELECT backfill.plan_down('p')"), "{12,13}");
}

/* What the way back will drop is made again, though it is still there. */
static void test_up_again_during_down(void **state)
{
	static const char *const calls[] = {
		"plan_add_foreign_key('orders', 'u', 'users', prefix => 'p')",
		"plan_delete('users', 'n < 0', 'gone', 'p')",
	};
	char before[2048];

	(void)state;
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		sql_exec(db, "DELETE FROM backfill.jobs");
		submit(calls[i]);
		carry_out_up_to("p", 9);
		(void)snprintf(before, sizeof before, "%s",
			sql_text(db,
				"SELECT string_agg(name || definition, ',')"
				" FROM backfill.jobs"));
		sql_exec(app,
			"ALTER TABLE orders ADD IF NOT EXISTS u bigint;"
			"CREATE INDEX IF NOT EXISTS orders_u_idx"
			" ON orders (u);"
			"CREATE TABLE IF NOT EXISTS gone (LIKE users)");
		sql_exec(app, "SELECT backfill.plan_down('p')");
		submit(calls[i]);
		assert_string_equal(
			sql_text(db,
				"SELECT string_agg(name || definition, ',')"
				" FROM backfill.jobs WHERE undoes IS NULL"
				" AND name NOT LIKE '%%(undone%%'"),
			before);
	}
}

/* What was copied comes back once the old column is not written any more. */
static void test_rename(void **state)
{
	static const char end[] =
		"2_sync.undo|ddl|undoes 2\n1_add.undo|drop_column|undoes 1";
	static const struct {
		int done;
		const char *undo;
	} cases[] = {
		{ 2, end },
		{ 3, end },
		{ 4,
			"4_cut.undo|ddl|undoes 4\n"
			"3_fill.undo|update|email = mail|mail IS DISTINCT FROM"
			" email|undoes 3\n2_sync.undo|ddl|undoes 2\n"
			"1_add.undo|drop_column|undoes 1" },
		{ 5,
			"5_drop.undo|add_column|character varying(20)|undoes "
			"5\n"
			"4_cut.undo|ddl|undoes 4\n"
			"3_fill.undo|update|email = mail|mail IS DISTINCT FROM"
			" email|undoes 3\n2_sync.undo|ddl|undoes 2\n"
			"1_add.undo|drop_column|undoes 1" },
	};

	(void)state;
	sql_exec(app, "ALTER TABLE users ALTER email DROP NOT NULL");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		sql_exec(db, "DELETE FROM backfill.jobs");
		submit("plan_rename_column('users', 'email', 'mail',"
		       " prefix => 'p')");
		carry_out_up_to("p", cases[i].done);
		sql_exec(app, "SELECT backfill.plan_down('p')");
		assert_string_equal(
			sql_text(db,
				"SELECT string_agg(concat_ws('|',"
				" regexp_replace(substr(u.name, 3), '\\d+$',"
				" ''), u.kind, CASE WHEN u.kind <> 'ddl' THEN"
				" u.definition END, u.set_clause,"
				" u.where_clause, 'undoes ' || substr(d.name,"
				" 3, 1)), E'\\n' ORDER BY u.id)"
				" FROM backfill.jobs u JOIN backfill.jobs d"
				" ON d.id = u.undoes"),
			cases[i].undo);
	}
}

static void test_what_cannot_be_taken_back(void **state)
{
	(void)state;
	sql_exec(app,
		"SELECT backfill.plan_ddl('users', 'SELECT 1', prefix => 'p')");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, kind, target, object_name,"
		" plan, depends_on) VALUES ('later', 'reindex', 'users',"
		" 'users_pkey', 'p', '{1}')");
	carry_out_up_to("p", 1);
	FAILS(app, "BF036", "job 1 (p.1_ddl) cannot be taken back",
		"It was submitted without undo.",
		"Take it back by hand; its plan's open jobs can be cancelled"
		" with backfill.cancel_plan().",
		"SELECT backfill.plan_down('p')");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(name || ' ' || state, ', '"
			" ORDER BY id) FROM backfill.jobs"),
		"p.1_ddl succeeded, later queued");
	/* Not begun, there is nothing to take back. */
	sql_exec(db, "UPDATE backfill.jobs SET started_at = NULL");
	assert_string_equal(
		sql_text(app, "SELECT backfill.plan_down('p')"), "{}");
	FAILS(app, "BF002", "plan \"x\" does not exist",
		"Or its run_as is a role that you may not become.", "",
		"SELECT backfill.plan_down('x')");
}

static void test_cancel(void **state)
{
	static const char told[] =
		"what plan \"p\" has done stays|"
		"SELECT backfill.plan_down('p'); takes it back.|";

	(void)state;
	submit("plan_set_not_null('users', 'n', '0', 'p')");
	carry_out_up_to("p", 1);
	sql_exec(app, "SELECT backfill.cancel(5, 'not yet')");
	assert_string_equal(notices, told);
	notices[0] = '\0';
	sql_exec(app, "SELECT backfill.cancel_plan('p', 'no more')");
	assert_string_equal(notices, told);
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws('|', id, state, reason),"
			" E'\\n' ORDER BY id) FROM backfill.jobs"),
		"1|succeeded\n2|cancelled|cancelled by app: no more\n"
		"3|cancelled|cancelled by app: no more\n"
		"4|cancelled|cancelled by app: no more\n"
		"5|cancelled|cancelled by app: not yet");
	FAILS(app, "BF002", "plan \"x\" does not exist",
		"Or its run_as is a role that you may not become.", "",
		"SELECT backfill.cancel_plan('x')");
	/* A job of no plan is cancelled in silence. */
	notices[0] = '\0';
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause) VALUES"
		" ('mine', 'users', 'n = 1'); SELECT backfill.cancel('mine')");
	assert_string_equal(notices, "");
}

static void test_rights(void **state)
{
	PGconn *admin = cluster_connect(cluster, "t", "admin");
	PGconn *stranger = cluster_connect(cluster, "t", "stranger");

	(void)state;
	submit("plan_add_column('users', 'c', 'int', fill => '1',"
	       " prefix => 'p')");
	carry_out_up_to("p", 1);
	FAILS(stranger, "BF002", "plan \"p\" does not exist",
		"Or its run_as is a role that you may not become.", "",
		"SELECT backfill.plan_down('p')");
	FAILS(stranger, "42501",
		"new row violates row-level security policy for table"
		" \"events\"",
		"", "",
		"INSERT INTO backfill.events (job_id, event)"
		" VALUES (1, 'take_back')");
	FAILS(stranger, "42501", "permission denied for function undo_job", "",
		"", "SELECT backfill.undo_job(1, 'app', NULL)");
	/* An admin takes it back in the name of whom it ran as, and of no
	 * other. */
	FAILS(admin, "42501",
		"role \"admin\" may not submit a job that runs as \"worker\"",
		"", "Name a role that \"admin\" is a member of.",
		"SELECT backfill.plan_down('p', 'worker')");
	assert_string_equal(
		sql_text(admin, "SELECT backfill.plan_down('p')"), "{3}");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws('|', kind, run_as, submitted_by,"
			" target_oid = 'shop.users'::regclass, (SELECT"
			" string_agg(concat_ws(' ', actor, event), ','"
			" ORDER BY e.id) FROM backfill.events e"
			" WHERE e.job_id IN (1, 2) AND event = 'take_back'))"
			" FROM backfill.jobs WHERE id = 3"),
		"drop_column|app|admin|t|admin take_back,admin take_back");
	/* Another role that the caller may become. */
	submit("plan_add_column('users', 'd', 'int', prefix => 'q')");
	carry_out_up_to("q", 1);
	sql_exec(app, "SELECT backfill.plan_down('q', 'worker')");
	assert_string_equal(sql_text(db,
				    "SELECT run_as FROM backfill.jobs"
				    " WHERE plan = 'q' AND undoes IS NOT NULL"),
		"worker");
	PQfinish(stranger);
	PQfinish(admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_graph),
		TEST(test_undo_of_each_kind),
		TEST(test_half_a_plan),
		TEST(test_up_again_during_down),
		TEST(test_rename),
		TEST(test_what_cannot_be_taken_back),
		TEST(test_cancel),
		TEST(test_rights),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
