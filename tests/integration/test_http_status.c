/* test_http_status.c: /status.json and the page: what they show, of which
 * age, and when the database cannot be asked. */
#include <errno.h>
#include <stdlib.h>

#include "http_drive.h"

/* What a path into the answer leads to, as the server's own JSON has it. */
static const char *at(const char *path)
{
	char *quoted =
		PQescapeLiteral(shop.db, reply.body.data, reply.body.length);
	const char *value;
	char *sql;

	assert_non_null(quoted);
	assert_true(asprintf(&sql, "SELECT (%s::jsonb #>> '{%s}')", quoted,
			    path) > 0);
	value = sql_text(shop.db, "%s", sql);
	free(sql);
	PQfreemem(quoted);
	return value;
}

static void assert_at(const char *path, const char *value)
{
	const char *found = at(path);

	if (strcmp(found, value) != 0) {
		fail_msg("%s: \"%s\", not \"%s\" in:\n%s", path, found, value,
			reply.body.data);
	}
}

static void test_whole(void **state)
{
	char pid[16];

	(void)state;
	http_submit_at_gate("whole");
	http_wait(port, "/status.json", 200, "\"name\": \"whole\"", &reply);
	(void)snprintf(pid, sizeof pid, "%d", (int)daemon_pid(shop.daemon));
	assert_at("backfilld,pid", pid);
	assert_at("backfilld,version", BACKFILLD_VERSION);
	assert_at("databases,0,name", "t");
	assert_at("databases,0,trouble", "(null)");
	assert_at("databases,0,status,database", "shop");
	assert_at("databases,0,status,jobs,0,name", "whole");
	assert_at("databases,0,status,jobs,0,rows_done", "40");
	gate_open();
	job_wait("whole", "succeeded");
	http_wait(port, "/status.json?database=t", 200,
		"\"state\": \"succeeded\"", &reply);
	assert_at("databases,0,name", "t");
}

static void test_job(void **state)
{
	char path[128];

	(void)state;
	http_submit_at_gate("one");
	(void)snprintf(path, sizeof path, "/status.json?database=t&job=%lld",
		(long long)job_id("one"));
	/* The first point of the history comes within ten seconds. */
	http_wait(port, path, 200, "\"history\":[[", &reply);
	assert_at("job,job,name", "one");
	assert_at("job_trouble", "(null)");
	assert_true(strtoll(at("history,0,0"), NULL, 10) > 1600000000);
	assert_at("history,0,3", "(null)");
	assert_int_equal(
		http_get(port, "/status.json?database=t&job=one", &reply), 200);
	assert_at("job,job,name", "one");
	assert_true(strtoll(at("history,0,0"), NULL, 10) > 1600000000);
	gate_open();
	job_wait("one", "succeeded");
}

static void test_job_that_is_none(void **state)
{
	(void)state;
	assert_int_equal(
		http_get(port, "/status.json?database=t&job=%22x", &reply),
		200);
	assert_at("job", "(null)");
	assert_at("job_trouble", "job \"\"x\" does not exist");
	assert_at("history", "[]");
}

/* ---- what only http.details shows ---- */

static void set_details(const char *value)
{
	struct text yaml;

	text_init(&yaml);
	text_addf(&yaml, "%s  details: %s\n", http_yaml(http_place(port), ""),
		value);
	daemon_rewrite(shop.daemon, yaml.data);
	text_close(&yaml);
	assert_return_code(kill(daemon_pid(shop.daemon), SIGHUP), errno);
}

/* With nothing of them, the JSON has its shape. */
static void assert_no_details(void)
{
	static const char *const nulls[] = { "job,clauses", "job,holes",
		"job,row_errors", "job,ranges", "job,events,0,detail",
		"databases,0,status,events,0,detail" };

	assert_has_not(reply.body.data, "marker");
	assert_at("backfilld,details", "false");
	for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
		assert_at(nulls[i], "(null)");
	}
	assert_at("job,events,0,event", "late_rows");
	assert_at("databases,0,status,events,0,event", "late_rows");
	assert_at("job,job,name", "quiet");
	assert_at("job,settings,priority", "0");
	assert_has(reply.body.data, "\"waited_seconds\": {");
	assert_has(reply.body.data, "\"ranges\": null");
}

static void test_details(void **state)
{
	char path[128];

	(void)state;
	gate_close(40);
	job_submit("quiet", "goods", 20, "n = n + 1 + gate_pass(id)",
		"'marker in a clause' <> ''", NULL);
	gate_wait("quiet");
	sql_exec(shop.db,
		"INSERT INTO backfill.events (job_id, actor, event, detail)"
		" SELECT j.id, 'app', 'late_rows', 'marker in an event'"
		" FROM backfill.jobs j WHERE j.name = 'quiet';"
		"INSERT INTO backfill.row_errors (job_id, number, key, "
		"sqlstate,"
		"  message)"
		" SELECT j.id, 1, '{1}', '22012', 'marker in a row error'"
		" FROM backfill.jobs j WHERE j.name = 'quiet'");
	(void)snprintf(path, sizeof path, "/status.json?database=t&job=quiet");
	http_wait(
		port, "/status.json", 200, "\"event\": \"late_rows\"", &reply);
	http_wait(port, path, 200, "\"clauses\": null", &reply);
	assert_no_details();
	set_details("true");
	http_wait(port, path, 200, "\"details\":true", &reply);
	/* At once: no answer from before is shown. */
	assert_at("job,clauses,where_clause", "'marker in a clause' <> ''");
	assert_at("job,events,0,detail", "marker in an event");
	assert_at("job,row_errors,0,message", "marker in a row error");
	assert_at("job,holes", "[]");
	assert_at("job,ranges,0,number", "1");
	assert_at("databases,0,status,events,0,detail", "marker in an event");
	set_details("false");
	http_wait(port, path, 200, "\"details\":false", &reply);
	assert_no_details();
	sql_exec(shop.db,
		"DELETE FROM backfill.row_errors WHERE message LIKE "
		"'marker%%'");
	gate_open();
	job_wait("quiet", "succeeded");
}

/* An answer with details is not shown once they are off, although the
 * database cannot be asked for another one. */
static void test_details_off_while_stuck(void **state)
{
	(void)state;
	set_details("true");
	http_wait(port, "/status.json", 200, "\"details\":true", &reply);
	http_wait(port, "/status.json", 200, "marker in an event", &reply);
	sql_exec(shop.db, "BEGIN; LOCK TABLE backfill.stop");
	set_details("false");
	http_wait(port, "/status.json", 200, "\"details\":false", &reply);
	assert_has_not(reply.body.data, "marker");
	assert_at("databases,0,status", "(null)");
	assert_at("databases,0,age_seconds", "(null)");
	sql_exec(shop.db, "ROLLBACK");
	http_wait(port, "/status.json", 200, "\"status\":{", &reply);
	assert_has_not(reply.body.data, "marker");
}

/* How often the server was asked, by its own log. */
static int lines_with(const char *words)
{
	char path[PATH_MAX];
	char line[4096];
	int count = 0;
	FILE *log;

	(void)snprintf(
		path, sizeof path, "%s/server.log", cluster_dir(shop.cluster));
	log = fopen(path, "re");
	assert_non_null(log);
	while (fgets(line, sizeof line, log) != NULL) {
		count += strstr(line, words) != NULL;
	}
	fclose(log);
	return count;
}

static int looks(void)
{
	return lines_with(" FROM backfill.status() AS s(whole)\n");
}

/* An answer that is not taken leaves the last one, and the JSON whole. */
static void test_answer_too_large(void **state)
{
	(void)state;
	http_submit_at_gate("large");
	http_wait(port, "/status.json", 200, "\"name\": \"large\"", &reply);
	sql_exec(shop.db,
		"UPDATE backfill.jobs SET error_hint = repeat('x', 5000000)"
		" WHERE name = 'large'");
	http_wait(port, "/status.json", 200, "more than 4194304 bytes", &reply);
	assert_at("databases,0,status,database", "shop");
	sql_exec(shop.db,
		"UPDATE backfill.jobs SET error_hint = NULL"
		" WHERE name = 'large'");
	http_wait(port, "/status.json", 200, "\"trouble\":null", &reply);
	gate_open();
	job_wait("large", "succeeded");
}

/* Who comes while the question is on its way, or a second after, asks none of
 * his own. */
static void test_one_look_for_all(void **state)
{
	enum { CLIENTS = 12 };
	int fds[CLIENTS];
	uint64_t begun;
	int before = looks();

	(void)state;
	begun = wait_now_ms();
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = http_open(port);
		http_say(fds[i],
			"GET /status.json HTTP/1.1\r\n"
			"Host: localhost\r\n\r\n");
	}
	for (int i = 0; i < CLIENTS; i++) {
		http_read(fds[i], &reply);
		assert_int_equal(reply.status, 200);
		assert_at("databases,0,status,database", "shop");
	}
	/* One a second, and one at the beginning. */
	assert_true((uint64_t)(looks() - before) <=
		1 + (wait_now_ms() - begun) / 1000);
	do {
		http_wait(port, "/status.json", 200, NULL, &reply);
	} while (looks() == before && wait_now_ms() - begun < 30000);
	assert_true(looks() > before);
}

/* ---- the page ---- */

static void test_page(void **state)
{
	(void)state;
	http_submit_at_gate("<b>&\"''</b>");
	http_wait(
		port, "/", 200, "&lt;b&gt;&amp;&quot;&#39;&lt;/b&gt;", &reply);
	assert_has(reply.body.data, "<td>running</td>");
	assert_has_not(reply.body.data, "<b>");
	assert_has(reply.head.data, "script-src 'sha256-");
	assert_has_not(reply.head.data, "unsafe");
	gate_open();
	job_wait("<b>&\"''</b>", "succeeded");
}

/* ---- when it cannot be asked ---- */

static void test_database_down(void **state)
{
	(void)state;
	http_wait(port, "/status.json", 200, "\"status\":{", &reply);
	PQfinish(shop.db);
	PQfinish(shop.app);
	cluster_halt(shop.cluster);
	http_wait(port, "/readyz", 503, "t: ", &reply);
	assert_int_equal(http_get(port, "/healthz", &reply), 200);
	assert_int_equal(http_get(port, "/metrics", &reply), 200);
	assert_has(reply.body.data, "backfilld_database_up{database=\"t\"} 0");
	assert_int_equal(http_get(port, "/", &reply), 200);
	assert_has(reply.body.data, "s old)</p>");
	assert_int_equal(http_get(port, "/status.json", &reply), 200);
	cluster_crash(shop.cluster);
	shop.db = cluster_connect(shop.cluster, "shop", "postgres");
	shop.app = cluster_connect(shop.cluster, "shop", "app");
	assert_has(reply.body.data, "\"trouble\":\"");
	assert_at("databases,0,status,database", "shop");
	assert_true(strtod(at("databases,0,age_seconds"), NULL) > 0);
	http_wait(port, "/readyz", 200, "ok\n", &reply);
	http_wait(port, "/status.json", 200, "\"trouble\":null", &reply);
}

/* A look that takes long, or waits, is given up; and meanwhile the control
 * connection has nothing to do with it. */
static void test_slow_database(void **state)
{
	uint64_t begun;

	(void)state;
	http_wait(port, "/status.json", 200, "\"status\":{", &reply);
	http_slow_looks();
	begun = wait_now_ms();
	http_wait(port, "/status.json", 200, "\"trouble\":\"", &reply);
	assert_at("databases,0,status,database", "shop");
	/* Far from what libmicrohttpd or PostgreSQL would wait by themselves.
	 */
	assert_true(wait_now_ms() - begun < 20000);
	assert_true(lines_with("] backfilld looks backfilld@shop 57014 ") > 0);
	assert_int_equal(lines_with("] backfilld backfilld@shop 57014 "), 0);
	http_quick_looks();
	http_wait(port, "/status.json", 200, "\"trouble\":null", &reply);
	assert_has_not(daemon_log(shop.daemon), "connect again");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_job),
		cmocka_unit_test(test_job_that_is_none),
		cmocka_unit_test(test_details),
		cmocka_unit_test(test_details_off_while_stuck),
		cmocka_unit_test(test_answer_too_large),
		cmocka_unit_test(test_one_look_for_all),
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_slow_database),
		cmocka_unit_test(test_database_down),
	};

	return cmocka_run_group_tests(tests, http_shop_start, http_shop_stop);
}
