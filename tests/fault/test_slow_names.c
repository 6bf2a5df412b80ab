/* test_slow_names.c: every lookup of a database's host name takes 5 s. Its
 * job is done all the same, and the daemon's other database, whose heartbeats
 * come from the same loop, does not notice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "pgdata.h"
#include "proxy.h"
#include "sql.h"

/* A lookup that held up the loop would make a gap of 5 s or more. */
enum { WAIT_SECONDS = 90, ROWS = 1000, GAP_MS = 4500 };

static struct cluster *cluster;
static struct proxy *proxy; /* the way over TCP */
static PGconn *slow, *quick;

static PGconn *make_database(const char *name)
{
	PGconn *conn;

	backfill_install(cluster, name);
	conn = cluster_connect(cluster, name, "postgres");
	sql_exec(conn,
		"CREATE TABLE t (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO t SELECT generate_series(1, %d);"
		"ALTER TABLE t OWNER TO app;"
		"CREATE TABLE beats (at timestamptz);"
		"CREATE FUNCTION beat() RETURNS trigger LANGUAGE plpgsql"
		" SECURITY DEFINER AS $$ BEGIN"
		"  INSERT INTO public.beats"
		"  VALUES (pg_catalog.clock_timestamp());"
		"  RETURN NULL; END $$;"
		"CREATE TRIGGER beat AFTER INSERT OR UPDATE ON backfill.daemons"
		" FOR EACH ROW EXECUTE FUNCTION beat()",
		ROWS);
	sql_exec(conn, "SET ROLE app");
	sql_exec(conn,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('job', 't', 'n = n + 1')");
	sql_exec(conn, "RESET ROLE");
	return conn;
}

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	slow = make_database("slow");
	quick = make_database("quick");
	proxy = proxy_start(cluster_dir(cluster), cluster_port(cluster));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	proxy_stop(proxy);
	PQfinish(slow);
	PQfinish(quick);
	cluster_stop(cluster);
	return 0;
}

/* As the daemon's user can read it. */
static void copy_library(char *path, size_t size)
{
	char command[1024];

	(void)snprintf(path, size, "%s/slow_names.so", cluster_dir(cluster));
	(void)snprintf(command, sizeof command,
		"cp '%s/tests/preload/slow_names.so' '%s'", pgdata_build_dir(),
		path);
	assert_int_equal(system(command), 0);
	assert_int_equal(chmod(path, 0755), 0);
}

static struct daemon *start_daemon(void)
{
	char library[512];
	struct daemon *d;
	struct text yaml;

	text_init(&yaml);
	text_addf(&yaml,
		"databases:\n"
		"  - {name: quick, dsn: \"%s\", expected_standbys: []}\n",
		cluster_conninfo(cluster, "quick", "backfilld"));
	text_addf(&yaml,
		"  - name: slow\n"
		"    dsn: \"host=db.slow.test port=%d dbname=slow"
		" user=backfilld\"\n"
		"    expected_standbys: []\n"
		"daemon: {lease: 3s, poll_interval: 200ms}\n",
		proxy_port(proxy));
	copy_library(library, sizeof library);
	assert_int_equal(setenv("LD_PRELOAD", library, 1), 0);
	/* The sanitizer would rather be the first. */
	assert_int_equal(
		setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1), 0);
	d = daemon_start_yaml(cluster, yaml.data);
	assert_int_equal(unsetenv("LD_PRELOAD"), 0);
	assert_int_equal(unsetenv("ASAN_OPTIONS"), 0);
	text_close(&yaml);
	return d;
}

static void assert_done(PGconn *conn)
{
	sql_wait(conn, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs");
	assert_string_equal(sql_text(conn,
				    "SELECT concat_ws(' ', state,"
				    " error_message) FROM backfill.jobs"),
		"succeeded");
	assert_int_equal(
		sql_int(conn, "SELECT count(*) FROM t WHERE n = 1"), ROWS);
}

static void test_slow_names(void **state)
{
	struct daemon *d = start_daemon();
	int64_t gap_ms;

	(void)state;
	assert_done(quick);
	assert_done(slow); /* after two lookups */
	gap_ms = sql_int(quick,
		"SELECT max(extract(epoch FROM at - before) * 1000)::bigint"
		" FROM (SELECT at, lag(at) OVER (ORDER BY at) AS before"
		"  FROM (SELECT at FROM beats"
		"   UNION ALL SELECT clock_timestamp()) b) g");
	if (gap_ms > GAP_MS) {
		fail_msg("no heartbeat for %lld ms", (long long)gap_ms);
	}
	/* They did take their time. */
	assert_true(sql_true(slow,
		"SELECT finished_at - submitted_at > '10s'"
		" FROM backfill.jobs"));
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_names),
	};

	return cmocka_run_group_tests_name("slow_names", tests, start, stop);
}
