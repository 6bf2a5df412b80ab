/* test_schema.c: the embedded scripts and what they make: documented, closed
 * to PUBLIC, owned by one role, and gone without a trace. What backfillctl
 * makes of them is test_ctl_install.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "child.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "pgdata.h"
#include "sql.h"
#include "store/scripts.h"

enum { DUMP_BYTES = 1 << 20 };

static struct cluster *cluster;
static PGconn *server; /* as postgres, database postgres */
static PGconn *db;     /* as postgres, database t, installed */

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	server = cluster_connect(cluster, "postgres", "postgres");
	db = cluster_connect(cluster, "t", "postgres");
	sql_exec(server, "CREATE ROLE dba LOGIN CREATEROLE");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(db);
	PQfinish(server);
	cluster_stop(cluster);
	return 0;
}

static int create_other(void **state)
{
	(void)state;
	sql_exec(server, "CREATE DATABASE other OWNER dba");
	return 0;
}

static int drop_other(void **state)
{
	(void)state;
	sql_exec(server, "DROP DATABASE other WITH (FORCE)");
	return 0;
}

/* ---- helpers */

static void ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

static PGconn *connect_other(const char *user)
{
	PGconn *conn = cluster_connect(cluster, "other", user);

	(void)PQsetNoticeReceiver(conn, ignore_notice, NULL);
	return conn;
}

/* The scripts are longer than what sql_exec() takes. */
static void run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK &&
		PQresultStatus(result) != PGRES_TUPLES_OK) {
		fprintf(stderr, "%s", PQresultErrorMessage(result));
		fail_msg("a script failed");
	}
	PQclear(result);
}

static void run_up(PGconn *conn)
{
	run(conn, "BEGIN");
	for (size_t i = 0; i < scripts_count; i++) {
		run(conn, scripts[i].up);
	}
	run(conn, "COMMIT");
}

static void run_down(PGconn *conn)
{
	run(conn, "BEGIN");
	for (size_t i = scripts_count; i > 0; i--) {
		run(conn, scripts[i - 1].down);
	}
	run(conn, "COMMIT");
}

/* What pg_dump says of the database; the caller frees it. Newer ones frame
 * it with a random \restrict key. */
static char *dump(void)
{
	static char output[DUMP_BYTES];
	char program[256], command[512];
	const char *const env[] = { "PGHOST", cluster_dir(cluster), "PGPORT",
		cluster_port(cluster), "PGUSER", "postgres", NULL };
	char *const argv[] = { "/bin/sh", "-c", command, NULL };
	struct child child = { .argv = argv, .env = env, .output = -1 };

	pgdata_program(program, sizeof program, "pg_dump");
	(void)snprintf(command, sizeof command,
		"%s -s -d other | grep -v restrict", program);
	assert_int_equal(child_run(&child, output, sizeof output), 0);
	assert_true(strlen(output) + 1 < sizeof output);
	return mem_strdup(output);
}

static void assert_dump_is(const char *wanted)
{
	char *found = dump();

	if (strcmp(found, wanted) != 0) {
		fprintf(stderr, "---- wanted\n%s---- found\n%s", wanted, found);
		fail_msg("the catalogs differ");
	}
	free(found);
}

/* The query lists what should not be. */
#define ASSERT_NONE(column, from)                                              \
	assert_string_equal(sql_text(db,                                       \
				    "SELECT string_agg(" column ", ', ')"      \
				    " FROM " from),                            \
		"(null)")

#define OURS "'backfill'::regnamespace"

/* ---- what is there */

static void test_everything_has_a_comment(void **state)
{
	(void)state;
	ASSERT_NONE("c.relname",
		"pg_class c WHERE c.relnamespace = " OURS
		" AND c.relkind IN ('r', 'v', 'm', 'p', 'f')"
		" AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''");
	ASSERT_NONE("a.attrelid::regclass || '.' || a.attname",
		"pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
		" WHERE c.relnamespace = " OURS
		" AND c.relkind IN ('r', 'v', 'm', 'p', 'f')"
		" AND a.attnum > 0 AND NOT a.attisdropped"
		" AND coalesce(col_description(c.oid, a.attnum), '') = ''");
	ASSERT_NONE("p.oid::regprocedure::text",
		"pg_proc p WHERE p.pronamespace = " OURS
		" AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''");
	ASSERT_NONE("t.typname",
		"pg_type t WHERE t.typnamespace = " OURS
		" AND t.typtype IN ('d', 'e', 'r')"
		" AND coalesce(obj_description(t.oid, 'pg_type'), '') = ''");
	assert_true(sql_true(
		db, "SELECT obj_description(" OURS ", 'pg_namespace') <> ''"));
	/* The queries look at something. */
	assert_true(sql_int(db,
			    "SELECT count(*) FROM pg_proc"
			    " WHERE pronamespace = " OURS) > 30);
}

static void test_nothing_is_for_public(void **state)
{
	(void)state;
	ASSERT_NONE("p.oid::regprocedure::text",
		"pg_proc p, LATERAL aclexplode(coalesce(p.proacl,"
		" acldefault('f', p.proowner))) a"
		" WHERE p.pronamespace = " OURS " AND a.grantee = 0");
	ASSERT_NONE("c.relname",
		"pg_class c, LATERAL aclexplode(coalesce(c.relacl,"
		" acldefault('r', c.relowner))) a"
		" WHERE c.relnamespace = " OURS
		" AND c.relkind IN ('r', 'v', 'S') AND a.grantee = 0");
	ASSERT_NONE("a.attname",
		"pg_attribute a JOIN pg_class c ON c.oid = a.attrelid,"
		" LATERAL aclexplode(a.attacl) x"
		" WHERE c.relnamespace = " OURS " AND x.grantee = 0");
	ASSERT_NONE("a.privilege_type",
		"pg_namespace n, LATERAL aclexplode(n.nspacl) a"
		" WHERE n.oid = " OURS
		" AND (a.grantee = 0 OR a.privilege_type = 'CREATE'"
		"  AND a.grantee <> 'backfill_owner'::regrole)");
}

/* jobs_capture is there to see the submitter's search_path. */
static void test_functions_have_a_search_path_of_their_own(void **state)
{
	(void)state;
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(p.proname, ', ') FROM pg_proc p"
			" WHERE p.pronamespace = " OURS " AND NOT coalesce("
			"'search_path=pg_catalog, pg_temp'"
			" = ANY (p.proconfig), false)"),
		"jobs_capture");
	assert_false(sql_true(db,
		"SELECT prosecdef FROM pg_proc WHERE oid ="
		" 'backfill.jobs_capture'::regproc"));
}

static void test_one_owner_without_other_rights(void **state)
{
	(void)state;
	ASSERT_NONE("o.what",
		"(SELECT c.relname::text AS what, c.relowner AS owner"
		"  FROM pg_class c WHERE c.relnamespace = " OURS
		" UNION ALL SELECT p.proname::text, p.proowner FROM pg_proc p"
		"  WHERE p.pronamespace = " OURS
		" UNION ALL SELECT nspname::text, nspowner FROM pg_namespace"
		"  WHERE oid = " OURS ") o"
		" WHERE o.owner <> 'backfill_owner'::regrole");
	ASSERT_NONE("rolname",
		"pg_roles WHERE rolname ~ '^backfill_' AND (rolcanlogin"
		" OR rolsuper OR rolcreaterole OR rolcreatedb"
		" OR rolreplication OR rolbypassrls)");
	/* The owner is a member of nothing, and nobody is its member. */
	ASSERT_NONE("m.member::regrole || ' in ' || m.roleid::regrole",
		"pg_auth_members m WHERE 'backfill_owner'::regrole"
		" IN (m.roleid, m.member)");
	ASSERT_NONE("m.member::regrole || ' in ' || m.roleid::regrole",
		"pg_auth_members m WHERE m.member::regrole::text"
		" ~ '^backfill_' AND (m.member, m.roleid) <>"
		" ('backfill_admin'::regrole, 'backfill_submit'::regrole)");
	/* Each table whose rows belong to somebody keeps them apart. */
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(relname, ', ' ORDER BY relname)"
			" FROM pg_class WHERE relnamespace = " OURS
			" AND relkind = 'r' AND NOT relrowsecurity"),
		"budget, daemons, samples, schema_version, stop");
	/* Views run as the owner: a reader's own function must not see the
	 * rows that the view is about to leave out. */
	ASSERT_NONE("relname",
		"pg_class WHERE relnamespace = " OURS
		" AND relkind = 'v' AND NOT coalesce("
		"'security_barrier=true' = ANY (reloptions), false)");
}

/* A notification takes a lock of the whole server at COMMIT, and a trigger
 * on ranges or holes would run in each batch. release() ends them. */
static void test_no_notification_in_a_batch(void **state)
{
	(void)state;
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(proname, ', ' ORDER BY proname)"
			" FROM pg_proc WHERE pronamespace = " OURS
			" AND prosrc ~* 'notify'"),
		"events_act, jobs_submitted, jobs_tuned, release");
	ASSERT_NONE("tgname",
		"pg_trigger WHERE NOT tgisinternal AND tgrelid IN"
		" ('backfill.ranges'::regclass, 'backfill.holes'::regclass,"
		"  'backfill.row_errors'::regclass)");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(tgname, ', ' ORDER BY tgname)"
			" FROM pg_trigger WHERE NOT tgisinternal AND tgfoid IN"
			" ('backfill.events_act'::regproc,"
			"  'backfill.jobs_submitted'::regproc)"),
		"events_2_act, jobs_4_submitted");
	/* Of its events, only requests act. */
	assert_true(sql_true(db,
		"SELECT pg_get_triggerdef(oid) LIKE '%%WHEN%%pause%%resume%%"
		"cancel%%retry%%approve%%stop_all%%start_all%%' FROM pg_trigger"
		" WHERE tgname = 'events_2_act'"));
}

/* ---- the scripts */

static void test_scripts_may_run_twice(void **state)
{
	PGconn *conn = connect_other("postgres");
	char *before = dump();
	char *once;

	(void)state;
	run_up(conn);
	once = dump();
	assert_non_null(strstr(once, "CREATE TABLE backfill.jobs"));
	run_up(conn);
	assert_dump_is(once);
	run_down(conn);
	assert_dump_is(before);
	run_down(conn);
	assert_dump_is(before);
	run_up(conn);
	assert_dump_is(once);
	free(once);
	free(before);
	PQfinish(conn);
}

/* A job and its history survive a second run. */
static void test_scripts_keep_what_is_there(void **state)
{
	PGconn *conn = connect_other("postgres");

	(void)state;
	run_up(conn);
	sql_exec(conn,
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as)"
		" VALUES ('kept', 'nothing', 'n = 1', 'app')");
	run_up(conn);
	assert_string_equal(
		sql_text(conn,
			"SELECT j.name || ' ' || e.event FROM backfill.jobs j"
			" JOIN backfill.events e ON e.job_id = j.id"),
		"kept submitted");
	PQfinish(conn);
}

/* Since 16 a membership can be one in name, to grant it to others. */
static void assert_dba_is_no_member(void)
{
	assert_int_equal(
		sql_int(server,
			"SELECT count(*) FROM pg_auth_members m"
			" WHERE member = 'dba'::regrole"
			" AND ((to_jsonb(m)->'set_option') IS DISTINCT FROM"
			" 'false' OR (to_jsonb(m)->'inherit_option') IS"
			" DISTINCT FROM 'false')"),
		0);
}

static void test_owner_of_the_database_may_run_them(void **state)
{
	PGconn *conn = connect_other("dba");
	PGconn *root = connect_other("postgres");
	char *before = dump();
	char *by_dba;

	(void)state;
	if (PQserverVersion(server) >= 160000) {
		/* What it would have, had it made them itself. */
		sql_exec(server,
			"GRANT backfill_owner, backfill_daemon, "
			"backfill_submit,"
			" backfill_admin TO dba"
			" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE");
	}
	run_up(conn);
	assert_dba_is_no_member();
	by_dba = dump();
	run_up(conn);
	assert_dump_is(by_dba);
	assert_dba_is_no_member();
	/* The roles stay: database t uses them. */
	run_down(conn);
	assert_dba_is_no_member();
	assert_int_equal(sql_int(root,
				 "SELECT count(*) FROM pg_namespace"
				 " WHERE nspname = 'backfill'"),
		0);
	assert_dump_is(before);

	/* It makes no difference who ran them. */
	run_up(root);
	assert_dump_is(by_dba);
	free(by_dba);
	free(before);
	PQfinish(root);
	PQfinish(conn);
}

#define OTHER(name)                                                            \
	cmocka_unit_test_setup_teardown(name, create_other, drop_other)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_has_a_comment),
		cmocka_unit_test(test_nothing_is_for_public),
		cmocka_unit_test(
			test_functions_have_a_search_path_of_their_own),
		cmocka_unit_test(test_one_owner_without_other_rights),
		cmocka_unit_test(test_no_notification_in_a_batch),
		OTHER(test_scripts_may_run_twice),
		OTHER(test_scripts_keep_what_is_there),
		OTHER(test_owner_of_the_database_may_run_them),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
