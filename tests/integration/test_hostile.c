/* test_hostile.c: jobs that do their worst while the daemon runs them. A job
 * has the rights of its run_as: what it spoils is its own, and the jobs of
 * others go on. Evil's jobs are evil's, app's belong to app. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

static PGconn *evil;

static int start(void **state)
{
	(void)shop_start_patient(state);
	sql_exec(shop.db,
		"CREATE ROLE evil LOGIN; GRANT backfill_submit TO evil;"
		"CREATE SCHEMA evil AUTHORIZATION evil;"
		"CREATE SCHEMA app AUTHORIZATION app");
	evil = cluster_connect(shop.cluster, "shop", "evil");
	sql_exec(shop.app,
		"GRANT SELECT ON gate TO evil;"
		"CREATE TABLE app.secret (word text);"
		"INSERT INTO app.secret VALUES ('xyzzy')");
	sql_exec(evil,
		"CREATE TABLE evil.tried (what text, outcome text);"
		"CREATE FUNCTION evil.raise() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = TG_ARGV[0],"
		" MESSAGE = 'a lie'; END $$");
	return 0;
}

static int stop(void **state)
{
	PQfinish(evil);
	return shop_stop(state);
}

static int end_jobs(void **state)
{
	(void)state;
	PQreset(evil);
	sql_exec(shop.db,
		"SELECT backfill.start_all();"
		"SELECT backfill.cancel(id) FROM backfill.jobs"
		" WHERE state IN ('queued', 'running', 'paused')");
	return 0;
}

/* A table of so many rows, n = 0. */
static void make_table(PGconn *conn, const char *table, int rows)
{
	sql_exec(conn,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		table, table, rows);
}

static void submit(PGconn *conn, const char *name, const char *target,
	const char *set_clause, const char *where_clause)
{
	sql_exec(conn,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, batch_rows, max_batch_rows) VALUES ('%s', '%s',"
		" $s$ %s $s$, nullif('%s', ''), 10, 10)",
		name, target, set_clause, where_clause);
}

/* Each row changed once. */
static void assert_done(const char *table)
{
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(DISTINCT n::text, ',') FROM %s",
			table),
		"1");
}

/* The queue still serves app. */
static void assert_app_is_served(const char *name)
{
	char table[64];

	(void)snprintf(table, sizeof table, "app.%s", name);
	make_table(shop.app, table, 50);
	submit(shop.app, name, table, "n = n + 1", "");
	job_wait(name, "succeeded");
	assert_done(table);
}

/* ---- who runs it */

static void test_runner_is_the_run_as(void **state)
{
	(void)state;
	make_table(evil, "evil.who", 30);
	sql_exec(evil,
		"CREATE TABLE evil.seen (login name, now_as name, app text,"
		" rls text, tx text);"
		"CREATE FUNCTION evil.see() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN INSERT INTO evil.seen VALUES (session_user,"
		" current_user, current_setting('application_name'),"
		" current_setting('row_security'),"
		" current_setting('transaction_isolation'));"
		" RETURN NEW; END $$;"
		"CREATE TRIGGER see BEFORE UPDATE ON evil.who FOR EACH ROW"
		" EXECUTE FUNCTION evil.see()");
	submit(evil, "who", "evil.who", "n = n + 1", "");
	job_wait("who", "succeeded");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(DISTINCT concat_ws('|', login,"
			" now_as, app = 'backfilld %lld/1', rls, tx), ' and ')"
			" FROM evil.seen",
			(long long)job_id("who")),
		"evil|evil|t|off|read committed");
}

/* One notification for the INSERT, none for the ten batches: each would take
 * a lock of the whole server at its COMMIT. */
static void test_batches_notify_nobody(void **state)
{
	PGconn *listener = cluster_connect(shop.cluster, "shop", "backfilld");
	PGnotify *n;
	int count = 0;

	(void)state;
	sql_exec(listener, "LISTEN backfill");
	make_table(evil, "evil.quiet", 100);
	submit(evil, "quiet", "evil.quiet", "n = n + 1", "");
	job_wait("quiet", "succeeded");
	assert_int_equal(sql_int(shop.db,
				 "SELECT batches FROM backfill.progress"
				 " WHERE name = 'quiet'"),
		10);
	/* What was sent before this is delivered with its answer. */
	sql_exec(listener, "SELECT 1");
	while ((n = PQnotifies(listener)) != NULL) {
		count++;
		PQfreemem(n);
	}
	assert_int_equal(count, 1);
	PQfinish(listener);
}

static void test_becoming_somebody_fails(void **state)
{
	(void)state;
	make_table(evil, "evil.become", 5);
	submit(evil, "become app", "evil.become",
		"n = length(set_config('role', 'app', true))", "");
	job_fails("become app", "42501",
		"permission denied to set role \"app\"", NULL, NULL);
	submit(evil, "become root", "evil.become",
		"n = length(set_config('session_authorization', 'postgres',"
		" false))",
		"");
	job_fails("become root", "42501",
		"permission denied to set session authorization \"postgres\"",
		NULL, NULL);
	/* The login itself is all that "none" leads to. */
	submit(evil, "become none", "evil.become",
		"n = (length(set_config('role', 'none', false))"
		" + length(xmlserialize(content query_to_xml('SELECT * FROM"
		" app.secret', true, true, '') AS text)))::integer",
		"");
	job_fails("become none", "42501", "permission denied for schema app",
		NULL, NULL);
	assert_app_is_served("after_become");
}

static void test_policy_is_an_error(void **state)
{
	(void)state;
	make_table(shop.app, "public.guarded", 5);
	sql_exec(shop.app,
		"ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY;"
		"CREATE POLICY odd ON public.guarded USING (id %% 2 = 1);"
		"GRANT SELECT, UPDATE ON public.guarded TO evil");
	submit(evil, "policy", "public.guarded", "n = n + 1", "");
	job_fails("policy", "42501",
		"query would be affected by row-level security policy for"
		" table \"guarded\"",
		"Policies would hide rows from the job without a word.",
		"Let the job run as the table's owner, unless row-level"
		" security is forced on it, or as a role with BYPASSRLS.");
	/* Its owner is not subject to it. */
	submit(shop.app, "policy of owner", "public.guarded", "n = n + 1", "");
	job_wait("policy of owner", "succeeded");
	assert_done("public.guarded");
}

/* ---- what a trigger can try */

static void try_in_trigger(const char *what, const char *sql)
{
	sql_exec(evil, "INSERT INTO evil.attempts VALUES ('%s', $s$%s$s$)",
		what, sql);
}

static const char *outcome(const char *what)
{
	return sql_text(shop.db,
		"SELECT string_agg(DISTINCT outcome, ' and ')"
		" FROM evil.tried WHERE what = '%s'",
		what);
}

static void test_trigger_cannot_reach_others(void **state)
{
	char wanted[128];
	long long id;

	(void)state;
	make_table(shop.app, "app.victim", 100);
	sql_exec(shop.db, "SELECT backfill.stop_all('for a moment')");
	submit(shop.app, "victim", "app.victim", "n = n + 1", "");
	id = job_id("victim");
	make_table(evil, "evil.reach", 20);
	sql_exec(evil,
		"CREATE TABLE evil.attempts (what text, sql text);"
		"CREATE FUNCTION evil.try() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ DECLARE a record; BEGIN"
		" FOR a IN SELECT * FROM evil.attempts LOOP"
		"  BEGIN"
		"   EXECUTE a.sql;"
		"   INSERT INTO evil.tried VALUES (a.what, 'done');"
		"  EXCEPTION WHEN OTHERS THEN"
		"   INSERT INTO evil.tried"
		"   VALUES (a.what, SQLSTATE || ' ' || SQLERRM);"
		"  END;"
		" END LOOP; RETURN NEW; END $$;"
		"CREATE TRIGGER try BEFORE UPDATE ON evil.reach FOR EACH ROW"
		" EXECUTE FUNCTION evil.try()");
	for (int i = 0; i < 2; i++) {
		char sql[256];

		(void)snprintf(sql, sizeof sql,
			i == 0 ? "SELECT backfill.begin_batch(%lld, 1, 1, 0)"
			       : "SELECT backfill.cancel(%lld)",
			id);
		try_in_trigger(i == 0 ? "batch" : "cancel", sql);
	}
	/* Without, the policies of our own tables are errors too. */
	sql_exec(evil, "ALTER FUNCTION evil.try() SET row_security = on");
	try_in_trigger("read", "SELECT * FROM app.secret");
	try_in_trigger("ranges", "UPDATE backfill.ranges SET cursor = hi");
	try_in_trigger("jobs", "UPDATE backfill.jobs SET state = NULL");
	try_in_trigger("holes", "DELETE FROM backfill.holes");
	try_in_trigger(
		"fail", "SELECT backfill.fail_job(1, 1, 1, '', '', '', '')");
	try_in_trigger("commit", "COMMIT");
	try_in_trigger("program", "COPY evil.tried FROM PROGRAM 'id'");
	try_in_trigger("kill",
		"SELECT 1 / (count(*) FILTER (WHERE pg_terminate_backend(pid)))"
		" FROM pg_stat_activity WHERE usename = 'backfilld'");
	/* Not refused, and of no use. */
	try_in_trigger("shadow",
		"CREATE TEMP TABLE IF NOT EXISTS jobs (id int);"
		"CREATE TEMP TABLE IF NOT EXISTS ranges (id int);"
		"CREATE TEMP TABLE IF NOT EXISTS pg_class (oid int)");
	try_in_trigger("notify", "NOTIFY backfill, 'x'; LISTEN backfill");
	try_in_trigger("advisory", "SELECT pg_advisory_lock(1)");
	try_in_trigger("settings",
		"SELECT set_config('statement_timeout', '0', false),"
		" set_config('search_path', 'evil', false),"
		" set_config('DateStyle', 'German', false)");
	submit(evil, "reach", "evil.reach", "n = n + 1", "");
	sql_exec(shop.db, "SELECT backfill.start_all()");
	job_wait("reach", "succeeded");
	assert_done("evil.reach");
	job_wait("victim", "succeeded");
	assert_done("app.victim");
	assert_string_equal(job_events("victim"),
		"submitted,started,preflight,begun,succeeded");

	(void)snprintf(wanted, sizeof wanted,
		"42501 job %lld does not run as \"evil\"", id);
	assert_string_equal(outcome("batch"), wanted);
	(void)snprintf(
		wanted, sizeof wanted, "BF002 job \"%lld\" does not exist", id);
	assert_string_equal(outcome("cancel"), wanted);
	assert_string_equal(
		outcome("read"), "42501 permission denied for schema app");
	assert_string_equal(
		outcome("ranges"), "42501 permission denied for table ranges");
	assert_string_equal(
		outcome("jobs"), "42501 permission denied for table jobs");
	assert_string_equal(
		outcome("holes"), "42501 permission denied for table holes");
	assert_string_equal(outcome("fail"),
		"42501 permission denied for function fail_job");
	assert_non_null(strstr(outcome("commit"), "0A000 "));
	assert_non_null(strstr(outcome("program"), "42501 "));
	assert_non_null(strstr(outcome("kill"), "42501 "));
	assert_string_equal(outcome("shadow"), "done");
	assert_string_equal(outcome("notify"), "done");
	assert_string_equal(outcome("advisory"), "done");
	assert_string_equal(outcome("settings"), "done");
}

/* Its own progress a job can spoil: it ends, and nobody else's does. */
static void test_job_that_ends_its_own_range(void **state)
{
	(void)state;
	make_table(evil, "evil.own", 30);
	sql_exec(evil,
		"CREATE FUNCTION evil.finish() RETURNS trigger"
		" LANGUAGE plpgsql SET row_security = on AS $$ BEGIN"
		" PERFORM backfill.finish_range(r.job_id, 1, r.epoch, r.seq)"
		"  FROM backfill.ranges r JOIN backfill.jobs j"
		"  ON j.id = r.job_id WHERE j.name = 'own';"
		" RETURN NEW; END $$;"
		"CREATE TRIGGER f BEFORE UPDATE ON evil.own FOR EACH ROW"
		" WHEN (NEW.id = 15) EXECUTE FUNCTION evil.finish()");
	submit(evil, "own", "evil.own", "n = n + 1", "");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state IN ('failed', 'succeeded') FROM backfill.jobs"
		" WHERE name = 'own'");
	/* The batch in which it did so is undone. */
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM evil.own WHERE n = 1"),
		10);
	assert_string_equal(sql_text(shop.db,
				    "SELECT state || ' ' || error_sqlstate"
				    " FROM backfill.jobs WHERE name = 'own'"),
		"failed BF010");
	assert_app_is_served("after_own");
}

static void test_lies_in_our_sqlstates(void **state)
{
	static const char *const codes[] = { "BF010", "BF011", "BF012",
		"BF021" };

	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		char table[32], name[32];

		(void)snprintf(table, sizeof table, "evil.lie_%s", codes[i]);
		(void)snprintf(name, sizeof name, "lie %s", codes[i]);
		make_table(evil, table, 5);
		sql_exec(evil,
			"CREATE TRIGGER lie BEFORE UPDATE ON %s FOR EACH ROW"
			" EXECUTE FUNCTION evil.raise('%s')",
			table, codes[i]);
		submit(evil, name, table, "n = n + 1", "");
		job_fails(name, codes[i], "a lie", NULL,
			strcmp(codes[i], "BF021") == 0
				? "Does one of the table's BEFORE triggers"
				  " assign a key column: lie?"
				: NULL);
	}
	assert_app_is_served("after_lies");
}

/* Outside of a batch the same lie is told while a plan is made: the job is
 * given back for it, and at some time no more. */
static void test_lie_of_a_planned_function(void **state)
{
	(void)state;
	make_table(evil, "evil.planned", 5);
	sql_exec(evil,
		"CREATE FUNCTION evil.lie(integer) RETURNS boolean"
		" LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
		" RAISE EXCEPTION USING ERRCODE = 'BF011',"
		" MESSAGE = 'planned lie'; END $$");
	submit(evil, "planned", "evil.planned", "n = n + 1", "evil.lie(1)");
	job_fails("planned", "BF024", "planned lie",
		"It was given back for this reason 10 times within a minute.",
		NULL);
	assert_app_is_served("after_planned");
}

/* ---- what a session beside the job can do */

/* Pause a job in mid-table and take its checkpoint in hand. */
static long long seize(const char *name, const char *table)
{
	long long id;

	sql_exec(evil,
		"CREATE TABLE %s (a integer, b integer, n integer NOT NULL"
		" DEFAULT 0, PRIMARY KEY (a, b));"
		"INSERT INTO %s SELECT g, g FROM generate_series(1, 30) g",
		table, table);
	gate_close(10);
	submit(evil, name, table, "n = n + 1 + gate_pass(a)", "");
	gate_wait(name);
	id = job_id(name);
	sql_exec(evil, "SELECT backfill.pause(%lld)", id);
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT owner IS NULL FROM backfill.ranges WHERE job_id = %lld",
		id);
	sql_exec(evil,
		"SELECT backfill.attach(job_id, 1, epoch, now())"
		" FROM backfill.ranges WHERE job_id = %lld",
		id);
	return id;
}

static void assert_misfit(const char *name, long long id)
{
	char message[128];

	(void)snprintf(message, sizeof message,
		"a saved key of job %lld does not fit its table", id);
	job_fails(name, "BF022", message,
		"It has 1 columns, the table's key has 2.", NULL);
}

/* The daemon reads what was left there, and must not trip over it. */
static void test_forged_checkpoint(void **state)
{
	long long id = seize("forged", "evil.forged");

	(void)state;
	sql_exec(evil,
		"SELECT backfill.checkpoint(job_id, 1, epoch, seq, '{1}', 1, 1,"
		" 1, 1, 0, 0, NULL, NULL) FROM backfill.ranges"
		" WHERE job_id = %lld; SELECT backfill.resume(%lld)",
		id, id);
	assert_misfit("forged", id);
	assert_app_is_served("after_forged");
}

static void test_forged_hole(void **state)
{
	long long id = seize("forged hole", "evil.forged_hole");

	(void)state;
	sql_exec(evil,
		"SELECT backfill.checkpoint(job_id, 1, epoch, seq, '{20,20}',"
		" 1, 1, 1, 1, 0, 0, '{{1}}', NULL) FROM backfill.ranges"
		" WHERE job_id = %lld; SELECT backfill.resume(%lld)",
		id, id);
	assert_misfit("forged hole", id);
	assert_app_is_served("after_forged_hole");
}

static void test_negative_counts(void **state)
{
	static const struct {
		const char *function, *counts;
	} calls[] = {
		{ "checkpoint", "'{1}', -7, 1, 1, 1, 0, 0, NULL, NULL" },
		{ "checkpoint", "'{1}', 1, -7, 1, 1, 0, 0, NULL, NULL" },
		{ "checkpoint", "'{1}', 1, 1, -7, 1, 0, 0, NULL, NULL" },
		{ "checkpoint", "'{1}', 1, 1, 1, -7, 0, 0, NULL, NULL" },
		{ "checkpoint", "'{1}', 1, 1, 1, 1, -7, 0, NULL, NULL" },
		{ "checkpoint", "'{1}', 1, 1, 1, 1, 0, -7, NULL, NULL" },
		{ "close_hole", "1, -7, 1, 1, 0, 0" },
		{ "close_hole", "1, 1, -7, 1, 0, 0" },
		{ "close_hole", "1, 1, 1, -7, 0, 0" },
		{ "close_hole", "1, 1, 1, 1, -7, 0" },
		{ "close_hole", "1, 1, 1, 1, 0, -7" },
		{ "skip_window", "'{1}', -7" },
		{ "set_aside", "'{1}', -7, NULL, NULL, NULL, NULL" },
	};
	long long id = seize("negative", "evil.negative");
	char message[64];
	struct sql_failure f;

	(void)state;
	(void)snprintf(message, sizeof message,
		"a batch of job %lld counted -7 rows", id);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		sql_fails(evil, &f, "SELECT backfill.%s(%lld, 1, 1, 0, %s)",
			calls[i].function, id, calls[i].counts);
		assert_string_equal(f.message, message);
		assert_string_equal(f.sqlstate, "BF012");
		assert_string_equal(f.detail, "");
		assert_string_equal(f.hint, "");
	}
	sql_exec(evil, "SELECT backfill.cancel(%lld)", id);
}

/* Counters are a job's own to spoil; the view of all jobs is not. */
static void test_forged_counters(void **state)
{
	static const char *const reads[] = { "1", "9000000000000000000" };
	static const char *const kept[] = { "-1000000000000000000",
		"rows_read" };
	struct sql_failure f;

	(void)state;
	for (int i = 0; i < 2; i++) {
		char name[32], table[32];
		long long id;

		(void)snprintf(name, sizeof name, "counters %d", i);
		(void)snprintf(table, sizeof table, "evil.counters_%d", i);
		id = seize(name, table);
		sql_exec(evil,
			"SELECT backfill.checkpoint(job_id, 1, epoch, seq,"
			" '{20,20}', %s, 1, 1, 1, 0, 0, NULL, NULL)"
			" FROM backfill.ranges WHERE job_id = %lld",
			reads[i], id);
		/* As while it runs slowly, where eta is shown. */
		sql_exec(shop.db,
			"BEGIN; UPDATE backfill.jobs SET state = 'running'"
			" WHERE id = %lld; UPDATE backfill.ranges SET"
			" rows_per_second = 1e-300, rows_total_estimate ="
			" 9000000000000000000, rows_read = %s"
			" WHERE job_id = %lld",
			id, kept[i], id);
		assert_string_equal(
			sql_text(shop.db,
				"SELECT percent BETWEEN 0 AND 100 AND eta >="
				" '0' FROM backfill.progress WHERE id = %lld",
				id),
			"t");
		sql_exec(shop.db, "ROLLBACK");
		sql_fails(evil, &f,
			"SELECT backfill.checkpoint(job_id, 1, epoch, seq,"
			" ARRAY[repeat('x', 1000000)], 0, 1, 1, 1, 0, 0, NULL,"
			" NULL) FROM backfill.ranges WHERE job_id = %lld",
			id);
		assert_string_equal(
			f.message, "key is longer than 1000000 bytes");
		assert_string_equal(f.sqlstate, "22023");
		assert_string_equal(f.detail, "It has 1000002.");
		assert_string_equal(f.hint, "");
		sql_exec(evil, "SELECT backfill.cancel(%lld)", id);
	}
}

static void test_held_checkpoint_holds_up_nobody_else(void **state)
{
	(void)state;
	make_table(evil, "evil.held", 30);
	gate_close(10);
	submit(evil, "held", "evil.held", "n = n + 1 + gate_pass(id)", "");
	gate_wait("held");
	sql_exec(evil, "SELECT backfill.pause('held')");
	gate_open();
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT owner IS NULL FROM backfill.ranges WHERE job_id = %lld",
		(long long)job_id("held"));
	sql_exec(evil,
		"BEGIN; SELECT backfill.attach(r.job_id, 1, r.epoch, now())"
		" FROM backfill.ranges r WHERE job_id = %lld",
		(long long)job_id("held"));
	sql_exec(shop.db, "SELECT backfill.resume('held')");
	assert_app_is_served("beside_held");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'queued' AND reason ="
		" 'waits: a transaction holds its checkpoint'"
		" FROM backfill.jobs WHERE name = 'held'");
	assert_app_is_served("still_beside_held");
	sql_exec(evil, "ROLLBACK");
	/* The next claim finds it free. */
	assert_app_is_served("after_held");
	job_wait("held", "succeeded");
	assert_done("evil.held");
}

/* The row of one's own job can be locked; what is told of the others is not
 * kept up by it. */
static void test_locked_job_holds_up_nobody_else(void **state)
{
	(void)state;
	make_table(evil, "evil.locked", 5);
	sql_exec(shop.db, "SELECT backfill.stop_all()");
	submit(evil, "locked", "evil.locked", "n = n + 1", "");
	sql_exec(evil,
		"BEGIN; SELECT FROM backfill.jobs WHERE name = 'locked'"
		" FOR UPDATE");
	sql_exec(shop.db, "SELECT backfill.start_all()");
	assert_app_is_served("beside_locked");
	assert_string_equal(sql_text(shop.db,
				    "SELECT state FROM backfill.jobs"
				    " WHERE name = 'locked'"),
		"queued");
	sql_exec(evil, "COMMIT; NOTIFY backfill");
	job_wait("locked", "succeeded");
	assert_done("evil.locked");
}

/* Its table was unknown at INSERT, so that claim() could not keep it off. */
static void test_table_that_came_later_is_waited_for(void **state)
{
	(void)state;
	sql_exec(shop.db, "SELECT backfill.stop_all()");
	submit(evil, "came 1", "evil.came", "n = n + 1", "");
	submit(evil, "came 2", "evil.came", "n = n + 1", "");
	make_table(evil, "evil.came", 30);
	/* No batch is in flight for long: the other one waits for its end
	 * before it may see that the table is taken. */
	sql_exec(evil,
		"UPDATE backfill.jobs SET max_rows_per_second = 1,"
		" batch_rows = 1, max_batch_rows = 1 WHERE name ~ '^came'");
	sql_exec(shop.db, "SELECT backfill.start_all()");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT count(*) = 1 FROM backfill.jobs WHERE state ="
		" 'queued' AND reason = format('waits: job %%s (%%s) runs on"
		" the same table', (SELECT id FROM backfill.jobs WHERE state ="
		" 'running'), (SELECT name FROM backfill.jobs WHERE state ="
		" 'running'))");
	assert_app_is_served("beside_came");
	sql_exec(evil,
		"UPDATE backfill.jobs SET max_rows_per_second = NULL"
		" WHERE name ~ '^came'");
	job_wait("came 1", "succeeded");
	job_wait("came 2", "succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM evil.came WHERE n = 2"),
		30);
	/* It waited quietly. */
	assert_true(
		sql_int(shop.db,
			"SELECT count(*) FROM backfill.events e"
			" JOIN backfill.jobs j ON j.id = e.job_id"
			" WHERE j.name ~ '^came' AND event = 'started'") <= 4);
}

/* ---- keys that are equal and not the same */

static void test_key_rewritten_by_a_trigger(void **state)
{
	PGconn *holder = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE app.rewritten (k numeric PRIMARY KEY,"
		" n integer NOT NULL DEFAULT 0);"
		"INSERT INTO app.rewritten SELECT generate_series(1, 50);"
		"CREATE FUNCTION app.rewrite() RETURNS trigger"
		" LANGUAGE plpgsql AS $$ BEGIN NEW.k = NEW.k + 0.00;"
		" RETURN NEW; END $$;"
		"CREATE TRIGGER r BEFORE UPDATE ON app.rewritten FOR EACH ROW"
		" EXECUTE FUNCTION app.rewrite()");
	sql_exec(holder,
		"BEGIN; SELECT FROM app.rewritten WHERE k = 25 FOR UPDATE");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('rewritten', 'app.rewritten', 'n = n + 1')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT holes > 0 FROM backfill.progress"
		" WHERE name = 'rewritten'");
	sql_exec(holder, "COMMIT");
	job_wait("rewritten", "succeeded");
	assert_done("app.rewritten");
	PQfinish(holder);
}

#define TEST(name) cmocka_unit_test_teardown(name, end_jobs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_runner_is_the_run_as),
		TEST(test_batches_notify_nobody),
		TEST(test_becoming_somebody_fails),
		TEST(test_policy_is_an_error),
		TEST(test_trigger_cannot_reach_others),
		TEST(test_job_that_ends_its_own_range),
		TEST(test_lies_in_our_sqlstates),
		TEST(test_lie_of_a_planned_function),
		TEST(test_forged_checkpoint),
		TEST(test_forged_hole),
		TEST(test_negative_counts),
		TEST(test_forged_counters),
		TEST(test_held_checkpoint_holds_up_nobody_else),
		TEST(test_locked_job_holds_up_nobody_else),
		TEST(test_table_that_came_later_is_waited_for),
		TEST(test_key_rewritten_by_a_trigger),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
