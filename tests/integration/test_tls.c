/* test_tls.c: TLS with certificates that are checked, for the control
 * connection and the jobs' own; and records larger than libpq reads at once,
 * which proxies send. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "loop.h"
#include "sql.h"
#include "tls.h"

enum { WAIT_SECONDS = 60, ROWS = 1000, REQUESTS = 300, REPLY_MS = 5000 };

static struct cluster *cluster;
static const char *address;
static PGconn *db, *app;

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	/* libpq looks for a client certificate there, and ours may be a home
	 * that the daemon's user must not read. */
	assert_int_equal(setenv("HOME", cluster_dir(cluster), 1), 0);
	address = tls_start(cluster);
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* The control connection and the runner's go to these names, and trust those
 * files. */
static struct daemon *start_daemon(
	const char *const hosts[2], const char *const cas[2])
{
	struct daemon *d;
	struct text yaml;

	text_init(&yaml);
	text_add(&yaml, "databases:\n  - name: t\n");
	for (int i = 0; i < 2; i++) {
		text_addf(&yaml,
			"    %s: \"host=%s hostaddr=%s port=%s dbname=t"
			" sslmode=verify-full sslrootcert=%s/%s%s\"\n",
			i == 0 ? "dsn" : "runner", hosts[i], address,
			cluster_port(cluster), cluster_dir(cluster), cas[i],
			i == 0 ? " user=backfilld" : "");
	}
	text_add(&yaml,
		"    expected_standbys: []\n"
		"daemon: {poll_interval: 200ms}\n");
	d = daemon_start_yaml(cluster, yaml.data);
	text_close(&yaml);
	return d;
}

static void end_daemon(struct daemon *d)
{
	assert_int_equal(daemon_stop(d), 0);
	daemon_free(d);
}

static void submit(const char *name)
{
	sql_exec(app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, seen text);"
		"INSERT INTO %s SELECT generate_series(1, %d)",
		name, name, ROWS);
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('%s', '%s', $$ seen = (SELECT concat_ws(' ', s.ssl,"
		"  inet_server_addr(), current_setting('tcp_keepalives_idle'),"
		"  current_setting('tcp_keepalives_interval'),"
		"  current_setting('tcp_keepalives_count'))"
		" FROM pg_stat_get_activity(pg_backend_pid()) s) $$)",
		name, name);
}

static void test_verify_full(void **state)
{
	static const char *const hosts[] = { TLS_HOST, TLS_HOST };
	static const char *const cas[] = { "ca.pem", "ca.pem" };
	struct daemon *d = start_daemon(hosts, cas);
	char expected[128];

	(void)state;
	daemon_wait_log(d, "-> serving", WAIT_SECONDS);
	assert_true(sql_true(db,
		"SELECT bool_and(s.ssl) FROM pg_stat_activity a"
		" JOIN pg_stat_ssl s USING (pid)"
		" WHERE a.usename = 'backfilld'"));
	submit("verified");
	sql_wait(db, WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed') FROM backfill.jobs"
		" WHERE name = 'verified'");
	(void)snprintf(
		expected, sizeof expected, "%d t %s 10 5 3", ROWS, address);
	assert_string_equal(sql_text(db,
				    "SELECT concat_ws(' ', count(*), seen)"
				    " FROM verified GROUP BY seen"),
		expected);
	end_daemon(d);
}

static void test_wrong_name(void **state)
{
	static const char *const hosts[] = { "other.test", TLS_HOST };
	static const char *const cas[] = { "ca.pem", "ca.pem" };
	struct daemon *d = start_daemon(hosts, cas);

	(void)state;
	daemon_wait_log(d,
		"server certificate for \"" TLS_HOST "\" does not match host"
		" name \"other.test\" -> connect again",
		WAIT_SECONDS);
	assert_null(strstr(daemon_log(d), "-> serving"));
	end_daemon(d);
}

static void test_wrong_ca(void **state)
{
	static const char *const hosts[] = { TLS_HOST, TLS_HOST };
	static const char *const cas[] = { "other.pem", "ca.pem" };
	struct daemon *d = start_daemon(hosts, cas);

	(void)state;
	daemon_wait_log(d,
		"SSL error: certificate verify failed -> connect again",
		WAIT_SECONDS);
	assert_null(strstr(daemon_log(d), "-> serving"));
	end_daemon(d);
}

/* The job waits, and says why. */
static void test_wrong_name_of_the_runner(void **state)
{
	static const char *const wrong[] = { TLS_HOST, "other.test" };
	static const char *const right[] = { TLS_HOST, TLS_HOST };
	static const char *const cas[] = { "ca.pem", "ca.pem" };
	struct daemon *d = start_daemon(wrong, cas);

	(void)state;
	submit("runner");
	sql_wait(db, WAIT_SECONDS,
		"SELECT reason LIKE '%%could not connect as \"app\":"
		" connection to server at \"%s\", port %s failed:"
		" server certificate for \"" TLS_HOST "\" does not match host"
		" name \"other.test\"%%' FROM backfill.jobs"
		" WHERE name = 'runner'",
		address, cluster_port(cluster));
	end_daemon(d);

	d = start_daemon(right, cas);
	sql_wait(db, WAIT_SECONDS,
		"SELECT state = 'succeeded' FROM backfill.jobs"
		" WHERE name = 'runner'");
	end_daemon(d);
}

/* libpq reads one record and then waits for the socket, which has nothing
 * more to say while OpenSSL holds the rest of it. */
static void test_large_records(void **state)
{
	struct tls_proxy *proxy = tls_proxy_start(cluster);
	uv_loop_t loop;
	struct loop_client client = { .loop = &loop };
	char conninfo[512];

	(void)state;
	(void)snprintf(conninfo, sizeof conninfo,
		"host=" TLS_HOST " hostaddr=127.0.0.1 port=%d dbname=t"
		" user=app sslmode=verify-full sslrootcert=%s/ca.pem",
		tls_proxy_port(proxy), cluster_dir(cluster));
	assert_int_equal(uv_loop_init(&loop), 0);
	loop_client_start(&client, conninfo);
	for (int i = 0; i < REQUESTS; i++) {
		struct pgc_request *request = pgc_request_new(REPLY_MS);
		struct loop_reply *reply;
		char sql[128];

		(void)snprintf(sql, sizeof sql,
			"SELECT repeat('x', %d) FROM generate_series(1, %d)",
			900 + i, 10 + i % 70);
		pgc_add(request, sql);
		pgc_add(request, "SELECT 'last'");
		reply = loop_client_wait(loop_client_send(&client, request));
		/* At the deadline the socket is looked at once more. */
		if (reply->err.code != BFE_OK ||
			reply->elapsed_us >= REPLY_MS * UINT64_C(1000)) {
			fail_msg("request %d hung: %s", i, reply->err.message);
		}
		assert_string_equal(reply->results[1], "last\n");
		assert_int_equal(strlen(reply->results[0]),
			(size_t)(901 + i) * (size_t)(10 + i % 70));
	}
	loop_client_end(&client);
	loop_end(&loop);
	tls_proxy_stop(proxy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verify_full),
		cmocka_unit_test(test_wrong_name),
		cmocka_unit_test(test_wrong_ca),
		cmocka_unit_test(test_wrong_name_of_the_runner),
		cmocka_unit_test(test_large_records),
	};

	return cmocka_run_group_tests_name("tls", tests, start, stop);
}
