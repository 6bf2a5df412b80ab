/* test_security.c: what the roles of the schema may see and do, and what a
 * hostile submitter can make of it with SQL alone. What hostile jobs do while
 * a daemon runs them is test_hostile.c's.
 *
 * Of app is job "private", begun and running, of a daemon that only its row
 * knows; evil may submit jobs, monitor has pg_monitor. */
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

static struct cluster *cluster;
static PGconn *db; /* postgres */
static PGconn *app, *evil, *monitor, *ctl;
static long long private_job;
static int leaks;

static void count_leak(void *arg, const PGresult *result)
{
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	leaks += message != NULL && strncmp(message, "leak", 4) == 0;
}

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	sql_exec(db,
		"CREATE ROLE evil LOGIN; CREATE ROLE monitor LOGIN;"
		"CREATE ROLE admin LOGIN;"
		"GRANT backfill_submit TO evil; GRANT pg_monitor TO monitor;"
		"GRANT backfill_admin TO admin;"
		"CREATE SCHEMA evil AUTHORIZATION evil");
	app = cluster_connect(cluster, "t", "app");
	evil = cluster_connect(cluster, "t", "evil");
	monitor = cluster_connect(cluster, "t", "monitor");
	ctl = cluster_connect(cluster, "t", "backfilld");
	(void)PQsetNoticeReceiver(evil, count_leak, NULL);
	sql_exec(app,
		"CREATE TABLE users (id bigint PRIMARY KEY, n integer);"
		"INSERT INTO users SELECT g, 0 FROM generate_series(1, 9) g");
	sql_exec(
		evil, "CREATE TABLE evil.t (id bigint PRIMARY KEY, n integer)");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(ctl);
	PQfinish(monitor);
	PQfinish(evil);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

static void add_range(long long job)
{
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'running' WHERE id = %lld;"
		"INSERT INTO backfill.ranges (job_id, number, epoch)"
		" VALUES (%lld, 1, 1)",
		job, job);
}

static int create_job(void **state)
{
	(void)state;
	private_job = sql_int(app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('private', 'users', 'n = 1') RETURNING id");
	add_range(private_job);
	sql_exec(app, "SELECT backfill.attach(%lld, 1, 1, now())", private_job);
	assert_true(sql_true(app,
		"SELECT backfill.begin_job(%lld, 1, 1, 'users'::regclass,"
		" 'users_pkey'::regclass, '{9}', 9, NULL, NULL,"
		" 'public.users')",
		private_job));
	sql_exec(db,
		"INSERT INTO backfill.holes (job_id, number, hi)"
		" VALUES (%lld, 1, '{3}')",
		private_job);
	return 0;
}

static int drop_jobs(void **state)
{
	(void)state;
	sql_exec(evil, "ROLLBACK; RESET ALL");
	sql_exec(db,
		"DELETE FROM backfill.jobs; DELETE FROM backfill.holes;"
		"DELETE FROM backfill.events; DELETE FROM backfill.stop");
	leaks = 0;
	return 0;
}

/* ---- helpers */

static void assert_failure(const struct sql_failure *f, const char *sqlstate,
	const char *message, const char *detail, const char *hint)
{
	assert_string_equal(f->message, message);
	assert_string_equal(f->sqlstate, sqlstate);
	assert_string_equal(f->detail, detail);
	assert_string_equal(f->hint, hint);
}

/* The SQL comes last, as it may have arguments. */
#define FAILS(conn, sqlstate, message, detail, ...)                            \
	do {                                                                   \
		struct sql_failure failure;                                    \
                                                                               \
		sql_fails(conn, &failure, __VA_ARGS__);                        \
		assert_failure(&failure, sqlstate, message, detail, "");       \
	} while (0)

#define DENIED(conn, what, ...)                                                \
	FAILS(conn, "42501", "permission denied for " what, "", __VA_ARGS__)

#define POLICY(table)                                                          \
	"new row violates row-level security policy for table \"" table "\""

static long long count(PGconn *conn, const char *from)
{
	return sql_int(conn, "SELECT count(*) FROM backfill.%s", from);
}

/* ---- seeing */

static void test_each_sees_ones_own(void **state)
{
	static const char *const tables[] = { "jobs", "ranges", "holes",
		"events", "progress" };
	PGconn *admin = cluster_connect(cluster, "t", "admin");

	(void)state;
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		assert_int_equal(count(evil, tables[i]), 0);
		assert_true(count(app, tables[i]) > 0);
		assert_true(count(admin, tables[i]) > 0);
	}
	/* By name, by id, or by way of its own table. */
	assert_int_equal(count(evil, "progress WHERE name = 'private'"), 0);
	assert_int_equal(sql_int(evil,
				 "SELECT count(*) FROM backfill.jobs"
				 " WHERE id = %lld",
				 private_job),
		0);
	/* Whoever may become app sees what is app's. */
	sql_exec(db, "GRANT app TO evil");
	assert_int_equal(count(evil, "jobs"), 1);
	sql_exec(db, "REVOKE app FROM evil");
	PQfinish(admin);
}

/* A cheap function in WHERE is called before a dear one, unless the view is
 * a security barrier. */
static void test_functions_of_a_reader_see_no_hidden_row(void **state)
{
	static const char *const queries[] = {
		"SELECT count(*) FROM backfill.progress"
		" WHERE evil.leak(name) AND evil.leak(run_as)",
		"SELECT count(*) FROM backfill.jobs WHERE evil.leak(name)",
		"SELECT count(*) FROM backfill.ranges"
		" WHERE evil.leak(hi::text)",
		"SELECT count(*) FROM backfill.events WHERE evil.leak(detail)",
	};

	(void)state;
	sql_exec(evil,
		"CREATE FUNCTION evil.leak(value text) RETURNS boolean"
		" LANGUAGE plpgsql IMMUTABLE COST 0.0001 AS $$ BEGIN"
		" RAISE NOTICE 'leak: %%', value; RETURN true; END $$");
	for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
		assert_int_equal(sql_int(evil, "%s", queries[i]), 0);
		assert_int_equal(leaks, 0);
	}
	/* It does see what is evil's. */
	sql_exec(evil,
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('evil.t', 'n = 1')");
	assert_int_equal(sql_int(evil, "%s", queries[0]), 1);
	assert_true(leaks > 0);
}

/* ---- steering */

static void test_jobs_of_others_cannot_be_steered(void **state)
{
	static const char *const requests[] = { "pause", "resume", "cancel" };
	char message[128];

	(void)state;
	for (int i = 0; i < 3; i++) {
		FAILS(evil, "BF002", "job \"private\" does not exist",
			"Or its run_as is a role that you may not become.",
			"SELECT backfill.%s('private')", requests[i]);
		(void)snprintf(message, sizeof message,
			"job \"%lld\" does not exist", private_job);
		FAILS(evil, "BF002", message,
			"Or its run_as is a role that you may not become.",
			"SELECT backfill.%s(%lld)", requests[i], private_job);
		FAILS(evil, "42501", POLICY("events"), "",
			"INSERT INTO backfill.events (job_id, event)"
			" VALUES (%lld, '%s')",
			private_job, requests[i]);
	}
	assert_string_equal(
		sql_text(evil,
			"WITH u AS (UPDATE backfill.jobs SET batch_rows = 1"
			" RETURNING id) SELECT count(*) FROM u"),
		"0");
	FAILS(evil, "42501",
		"new row violates row-level security policy (USING expression)"
		" for table \"jobs\"",
		"",
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('private', 'x', 'n = 1')"
		" ON CONFLICT (name) DO UPDATE SET batch_rows = 1");
	assert_string_equal(
		sql_text(evil,
			"WITH l AS (SELECT FROM backfill.jobs FOR UPDATE)"
			" SELECT count(*) FROM l"),
		"0");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', state, batch_rows, (SELECT"
			" string_agg(event, ',' ORDER BY id)"
			" FROM backfill.events)) FROM backfill.jobs"),
		"running submitted,begun");
}

static void test_events_cannot_be_forged(void **state)
{
	static const char *const forged[] = { "submitted", "started", "begun",
		"succeeded", "failed", "released", "Pause" };
	long long mine = sql_int(evil,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('evils', 'evil.t', 'n = 1') RETURNING id");

	(void)state;
	for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
		FAILS(evil, "42501", POLICY("events"), "",
			"INSERT INTO backfill.events (job_id, event)"
			" VALUES (%lld, '%s')",
			mine, forged[i]);
	}
	DENIED(evil, "table events",
		"INSERT INTO backfill.events (job_id, event, actor)"
		" VALUES (%lld, 'pause', 'app')",
		mine);
	DENIED(evil, "table events",
		"INSERT INTO backfill.events (job_id, event, at)"
		" VALUES (%lld, 'pause', 'yesterday')",
		mine);
	DENIED(evil, "table events", "UPDATE backfill.events SET detail = ''");
	DENIED(evil, "table events", "DELETE FROM backfill.events");
	FAILS(evil, "42501", POLICY("events"), "",
		"INSERT INTO backfill.events (event) VALUES ('stop_all')");
	FAILS(evil, "42501", POLICY("events"), "",
		"INSERT INTO backfill.events (event) VALUES ('start_all')");
	FAILS(evil, "42501", POLICY("events"), "",
		"INSERT INTO backfill.events (job_id, event)"
		" VALUES (%lld, 'stop_all')",
		mine);
	FAILS(evil, "42501", POLICY("events"), "",
		"INSERT INTO backfill.events (event) VALUES ('pause')");

	/* What it may: a request for its own job, in its own name. */
	sql_exec(evil,
		"INSERT INTO backfill.events (job_id, event, detail)"
		" VALUES (%lld, 'pause', 'app said so')",
		mine);
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws('|', actor, event, j.state, j.reason)"
			" FROM backfill.events e JOIN backfill.jobs j"
			" ON j.id = e.job_id WHERE e.event = 'pause'"),
		"evil|pause|paused|paused by evil: app said so");
	assert_int_equal(count(db, "stop"), 0);
}

static void test_monitor_sees_and_cannot_steer(void **state)
{
	(void)state;
	assert_string_equal(
		sql_text(monitor,
			"SELECT name || ' ' || state FROM backfill.progress"),
		"private running");
	assert_true(sql_int(monitor,
			    "SELECT max(version)"
			    " FROM backfill.schema_version") > 0);
	assert_int_equal(count(monitor, "stop"), 0);
	assert_int_equal(count(monitor, "daemons"), 0);
	DENIED(monitor, "table jobs", "SELECT FROM backfill.jobs");
	DENIED(monitor, "table ranges", "SELECT FROM backfill.ranges");
	DENIED(monitor, "table events", "SELECT FROM backfill.events");
	DENIED(monitor, "function pause", "SELECT backfill.pause('private')");
	DENIED(monitor, "function resume", "SELECT backfill.resume('private')");
	DENIED(monitor, "function cancel", "SELECT backfill.cancel('private')");
	DENIED(monitor, "function stop_all", "SELECT backfill.stop_all()");
	DENIED(monitor, "table events",
		"INSERT INTO backfill.events (event) VALUES ('stop_all')");
	DENIED(monitor, "table jobs",
		"INSERT INTO backfill.jobs (target, set_clause)"
		" VALUES ('users', 'n = 1')");
}

/* A table lock of a submitter's would stop everybody's work. */
static void test_tables_cannot_be_locked(void **state)
{
	static const char *const modes[] = { "SHARE", "SHARE ROW EXCLUSIVE",
		"EXCLUSIVE", "ACCESS EXCLUSIVE" };

	(void)state;
	for (int i = 0; i < 4; i++) {
		sql_exec(evil, "BEGIN");
		DENIED(evil, "table jobs",
			"LOCK TABLE backfill.jobs IN %s MODE", modes[i]);
		sql_exec(evil, "ROLLBACK; BEGIN");
		DENIED(evil, "table events",
			"LOCK TABLE backfill.events IN %s MODE", modes[i]);
		sql_exec(evil, "ROLLBACK; BEGIN");
		DENIED(evil, "view progress",
			"LOCK TABLE backfill.progress IN %s MODE", modes[i]);
		sql_exec(evil, "ROLLBACK");
	}
	DENIED(evil, "table ranges", "SELECT FROM backfill.ranges FOR UPDATE");
}

/* ---- the daemon's and the owner's login */

static void test_system_roles_have_no_right_on_tables(void **state)
{
	static const char *const roles[] = { "backfilld", "backfill_daemon",
		"backfill_owner", "backfill_admin" };

	(void)state;
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		assert_string_equal(
			sql_text(db,
				"SELECT string_agg(c.oid::regclass::text, ', ')"
				" FROM pg_class c JOIN pg_namespace n"
				" ON n.oid = c.relnamespace"
				" WHERE n.nspname IN ('public', 'evil')"
				" AND c.relkind = 'r' AND"
				" has_any_column_privilege('%s', c.oid,"
				" 'SELECT, INSERT, UPDATE, REFERENCES')",
				roles[i]),
			"(null)");
		assert_false(sql_true(db,
			"SELECT pg_has_role('%s', 'app', 'MEMBER')", roles[i]));
	}
	DENIED(ctl, "table users", "SELECT FROM public.users");
	DENIED(ctl, "table users", "UPDATE public.users SET n = 5");
	DENIED(ctl, "table holes", "DELETE FROM backfill.holes");
	DENIED(ctl, "table events", "UPDATE backfill.events SET actor = ''");
	DENIED(ctl, "table jobs", "DELETE FROM backfill.jobs");
}

/* ---- the runner's functions */

static void test_runner_functions_know_the_login(void **state)
{
	static const char *const calls[] = {
		"attach(%lld, 1, 1, now())",
		/* clang-format off */
		"begin_job(%lld, 1, 1, 'evil.t'::regclass, 0, '{1}', 1, '', '', 'evil.t')",
		/* clang-format on */
		"store_report(%lld, 1, 1, '{}')",
		"adopt_key(%lld, 1, 1, 0)",
		"begin_batch(%lld, 1, 1, 0)",
		"skip_window(%lld, 1, 1, 0, '{5}', 5)",
		"list_holes(%lld, 1, 1, 0)",
		"set_aside(%lld, 1, 1, 0, '{3}', 1, 1, '23514', '', '')",
		"finish_range(%lld, 1, 1, 0)",
	};
	char message[128], call[256];

	(void)state;
	/* As if its backend had the pid of app's runner, which died. */
	sql_exec(db, "UPDATE backfill.ranges SET runner_pid = %d",
		PQbackendPID(evil));
	(void)snprintf(message, sizeof message,
		"job %lld does not run as \"evil\"", private_job);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(call, sizeof call, calls[i], private_job);
#pragma GCC diagnostic pop
		FAILS(evil, "42501", message, "", "SELECT backfill.%s", call);
	}
	(void)snprintf(message, sizeof message,
		"range 1 of job %lld has another owner", private_job);
	FAILS(evil, "BF010", message, "",
		"SELECT backfill.checkpoint(%lld, 1, 1, 0, '{9}', 9, 9, 9, 9,"
		" 0, 0, NULL, NULL)",
		private_job);
	FAILS(evil, "BF010", message, "",
		"SELECT backfill.close_hole(%lld, 1, 1, 0, (SELECT 1), 1, 1, 1,"
		" 0, 0)",
		private_job);
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', seq, rows_done, cursor,"
			" finished_at, (SELECT count(*) FROM backfill.holes))"
			" FROM backfill.ranges"),
		"0 0 1");
	/* SET ROLE changes current_user, and that is not asked. */
	sql_exec(db, "GRANT app TO evil");
	sql_exec(evil, "SET ROLE app");
	(void)snprintf(message, sizeof message,
		"job %lld does not run as \"evil\"", private_job);
	FAILS(evil, "42501", message, "",
		"SELECT backfill.begin_batch(%lld, 1,"
		" 1, 0)",
		private_job);
	sql_exec(evil, "RESET ROLE");
	sql_exec(db, "REVOKE app FROM evil");
}

static void test_control_functions_are_the_daemons(void **state)
{
	static const char *const calls[][2] = {
		{ "register", "'h', 1, 'v', '1h'" },
		{ "renew", "1" },
		{ "unregister", "1" },
		{ "take_range", "1, 1, 1" },
		{ "retake_range", "1, 1, 1, 1" },
		{ "claim", "1" },
		{ "my_work", "1" },
		{ "lock_job", "1, 1, 1" },
		{ "set_reason", "1, 1, 1, ''" },
		{ "release", "1, 1, 1, ''" },
		{ "finish_job", "1, 1, 1" },
		{ "fail_job", "1, 1, 1, '', '', '', ''" },
		{ "cancel_runner", "1, 1, 1" },
		{ "blockers", "1, 1, 1" },
		{ "waits_for_table", "1, 1, 1" },
		{ "barrier", "1, 1, 1, 1, '{}'" },
		{ "writers", "1, '{}', 1" },
		{ "waits_for_window", "'', ''" },
		{ "look_at_jobs", "" },
		{ "prune", "1, '100 days'" },
		{ "needed_jobs", "" },
		{ "requeue", "1" },
		{ "rows_left", "1" },
		{ "lock_range", "1, 1, 1" },
		{ "begin_work", "1, 1, 1, 1" },
		{ "check_may_run", "1" },
		{ "move_cursor", "1, 1, '{}', 1" },
		{ "shrink_hole", "1, 1, 1, '{}'" },
		{ "record_row_error", "1, 1, '{}', '', '', ''" },
		{ "check_counts", "1, 1, 1, 1" },
		{ "check_archive", "1, 1" },
		{ "check_archived", "1, 1, 1, 1, 1" },
		{ "check_not_negative", "1, 1" },
	};
	char message[128];

	(void)state;
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		(void)snprintf(message, sizeof message,
			"permission denied for function %s", calls[i][0]);
		FAILS(evil, "42501", message, "", "SELECT backfill.%s(%s)",
			calls[i][0], calls[i][1]);
	}
	/* Nothing was left out that was added since. */
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(proname, ' ' ORDER BY proname)"
			" FROM pg_proc WHERE pronamespace ="
			" 'backfill'::regnamespace AND prorettype <>"
			" 'trigger'::regtype AND has_function_privilege("
			"'evil', oid, 'EXECUTE')"
			/* They do what their caller could do itself. */
			" AND (prosecdef OR proname !~ "
			"'^(plan|step|index|reindex)(_|$)')"),
		"add_waited adopt_key approve approve attach begin_alone "
		"begin_batch"
		" begin_job cancel cancel cancel_plan check_interval"
		" check_kind check_length check_number check_trial"
		" check_violators check_window check_word checkpoint clocks"
		" close_hole column_form column_is_alone column_is_not_null"
		" column_step column_trial column_uses constraint_form"
		" constraint_is_there constraint_look_step"
		" constraint_refusals dependents do_step drop_archive"
		" end_step ensure_succeeded enter_step examine_step files_of"
		" finish_range foreign_key_orphans foreign_key_trial"
		" format_at is_schema_kind is_undone is_undone_in_vain"
		" job_events job_id job_json job_status"
		" jobs_check_clauses jobs_check_depends_on jobs_check_no_step"
		" jobs_check_run_as jobs_check_step list_holes look make_step"
		" may_change may_see may_steer my_job my_notes next_step"
		" not_null_expression note_alone note_look parse_window pause"
		" pause request resume resume retry retry row_key"
		" run_statements seconds set_aside skip_window status"
		" store_report table_tree tell_plan_down tell_window type_name"
		" waits_for warn_step"
		" window_opens");
}

/* A table under a job is out of reach for other jobs: not one to which the
 * job's role has no right. */
static void test_table_of_others_cannot_be_reserved(void **state)
{
	long long mine = sql_int(evil,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('evils', 'public.users', 'n = 6') RETURNING id");

	(void)state;
	assert_string_equal(sql_text(db,
				    "SELECT target_oid FROM backfill.jobs"
				    " WHERE name = 'evils'"),
		"(null)");
	add_range(mine);
	sql_exec(evil, "SELECT backfill.attach(%lld, 1, 1, now())", mine);
	DENIED(evil, "table public.users",
		"SELECT backfill.begin_job(%lld, 1, 1, 'users'::regclass, 0,"
		" '{1}', 1, NULL, NULL, 'public.users')",
		mine);
	assert_string_equal(sql_text(db,
				    "SELECT target_oid FROM backfill.jobs"
				    " WHERE name = 'evils'"),
		"(null)");
}

static void test_superuser_since_submission(void **state)
{
	(void)state;
	sql_exec(db, "ALTER ROLE app SUPERUSER");
	FAILS(app, "42501", "a job cannot run as superuser \"app\"",
		"A job has the rights of its run_as, and nothing bounds those"
		" of a superuser.",
		"SELECT backfill.attach(%lld, 1, 1, now())", private_job);
	sql_exec(db, "ALTER ROLE app NOSUPERUSER");
}

/* ---- hostile surroundings of an INSERT */

/* What evil puts before pg_catalog: each says yes to everything. */
static const char HOSTILE_SQL[] =
	"CREATE TABLE evil.called (what text);"
	"CREATE FUNCTION evil.yes() RETURNS boolean LANGUAGE sql AS"
	" $$ INSERT INTO evil.called VALUES ('called'); SELECT true $$;"
	"CREATE FUNCTION evil.equal(name, name) RETURNS boolean LANGUAGE sql"
	" AS 'SELECT evil.yes()';"
	"CREATE FUNCTION evil.equal(oid, oid) RETURNS boolean LANGUAGE sql"
	" AS 'SELECT evil.yes()';"
	"CREATE FUNCTION evil.equal(text, text) RETURNS boolean LANGUAGE sql"
	" AS 'SELECT evil.yes()';"
	"CREATE OPERATOR evil.= (FUNCTION = evil.equal, LEFTARG = name,"
	" RIGHTARG = name);"
	"CREATE OPERATOR evil.= (FUNCTION = evil.equal, LEFTARG = oid,"
	" RIGHTARG = oid);"
	"CREATE OPERATOR evil.= (FUNCTION = evil.equal, LEFTARG = text,"
	" RIGHTARG = text);"
	"CREATE FUNCTION evil.pg_has_role(name, oid, text) RETURNS boolean"
	" LANGUAGE sql AS 'SELECT evil.yes()';"
	"CREATE FUNCTION evil.pg_has_role(name, text) RETURNS boolean"
	" LANGUAGE sql AS 'SELECT evil.yes()';"
	"CREATE FUNCTION evil.current_setting(text) RETURNS text"
	" LANGUAGE sql AS $$ SELECT evil.yes()::text $$;"
	"CREATE FUNCTION evil.differ(\"char\", \"char\") RETURNS boolean"
	" LANGUAGE sql AS 'SELECT evil.yes()';"
	"CREATE OPERATOR evil.<> (FUNCTION = evil.differ, LEFTARG ="
	" \"char\", RIGHTARG = \"char\");"
	"CREATE FUNCTION evil.format(text, name, name) RETURNS text"
	" LANGUAGE sql AS $$ SELECT evil.yes()::text $$;"
	"CREATE FUNCTION evil.btrim(text) RETURNS text"
	" LANGUAGE sql AS $$ SELECT evil.yes()::text $$;"
	"CREATE FUNCTION evil.length(text) RETURNS integer"
	" LANGUAGE sql AS $$ SELECT evil.yes()::integer $$;"
	"CREATE FUNCTION evil.array_out(anyarray) RETURNS text"
	" LANGUAGE sql AS $$ SELECT evil.yes()::text $$;"
	"CREATE FUNCTION evil.to_regclass(text) RETURNS regclass"
	" LANGUAGE sql AS $$ SELECT evil.yes()::text::regclass $$;"
	"CREATE TYPE evil.text AS (t integer); CREATE TYPE evil.name AS"
	" (t integer); CREATE TYPE evil.oid AS (t integer);"
	"CREATE VIEW evil.pg_roles AS SELECT * FROM pg_catalog.pg_roles;"
	"SET search_path = evil, pg_catalog, pg_temp;"
	"CREATE TEMP VIEW pg_roles AS SELECT r.oid, r.rolname, true AS"
	" rolcanlogin, false AS rolsuper FROM pg_catalog.pg_roles r;"
	"CREATE TEMP TABLE jobs (id bigint); CREATE TEMP TABLE pg_class (a "
	"int)";

static void test_hostile_search_path_at_submission(void **state)
{
	struct sql_failure f;
	long long mine;

	(void)state;
	sql_exec(evil, "%s", HOSTILE_SQL);
	sql_fails(evil, &f,
		"INSERT INTO backfill.jobs (target, set_clause, run_as)"
		" VALUES ('public.users', 'n = 6', 'app')");
	assert_failure(&f, "42501",
		"role \"evil\" may not submit a job that runs as \"app\"", "",
		"Name a role that \"evil\" is a member of.");
	mine = sql_int(evil,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('evils', 't', 'n = 6') RETURNING id");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws('|', target, run_as, search_path,"
			" timezone = current_setting('TimeZone'), datestyle)"
			" FROM backfill.jobs WHERE id = %lld",
			mine),
		"evil.t|evil|evil, pg_catalog, pg_temp|t|ISO, MDY");
	sql_exec(evil, "SELECT backfill.pause(%lld)", mine);
	sql_exec(evil, "UPDATE backfill.jobs SET batch_rows = 7");
	assert_string_equal(
		sql_text(evil,
			"SELECT pg_catalog.count(*)::pg_catalog.text || ' ' ||"
			" pg_catalog.min(state) FROM backfill.progress"),
		"1 paused");
	assert_string_equal(
		sql_text(evil,
			"INSERT INTO backfill.jobs (kind, target, where_clause,"
			" archive_table) VALUES ('delete', 'public.users',"
			" 'true', 't') RETURNING archive_table"),
		"evil.t");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM evil.called"), 0);
	/* And when a superuser steers under that path. */
	sql_exec(db,
		"SET search_path = evil, pg_catalog;"
		"SELECT backfill.resume('evils');"
		"SELECT backfill.cancel('evils');"
		"RESET search_path");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM evil.called"), 0);
	assert_string_equal(
		sql_text(db, "SELECT state FROM backfill.jobs WHERE id = %lld",
			mine),
		"cancelled");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, create_job, drop_jobs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_sees_ones_own),
		TEST(test_functions_of_a_reader_see_no_hidden_row),
		TEST(test_jobs_of_others_cannot_be_steered),
		TEST(test_events_cannot_be_forged),
		TEST(test_monitor_sees_and_cannot_steer),
		TEST(test_tables_cannot_be_locked),
		TEST(test_system_roles_have_no_right_on_tables),
		TEST(test_runner_functions_know_the_login),
		TEST(test_control_functions_are_the_daemons),
		TEST(test_table_of_others_cannot_be_reserved),
		TEST(test_superuser_since_submission),
		TEST(test_hostile_search_path_at_submission),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
