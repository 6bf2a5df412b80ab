/* test_metrics.c: /metrics as Prometheus reads it, over the life of a job:
 * held, tried again, paused, taken over by another daemon. */
#include <errno.h>
#include <stdlib.h>

#include "../../daemon/ops/site.h"
#include "http_drive.h"
#include "lag.h"

enum { SERIES = 1024 };

static struct daemon *first, *second;
static int ports[2];

/* What each series was last, by port and name with labels. */
static struct series {
	int port;
	char *name;
	double value;
	unsigned look; /* at which it was there last */
} seen[SERIES];
static size_t seen_count;
static unsigned looks;

static struct daemon *daemon_at(int number)
{
	char yaml[512];

	ports[number] = http_free_port();
	(void)snprintf(yaml, sizeof yaml,
		LAG_PACE "http: {listen: \"127.0.0.1:%d\"}\n"
			 "daemon: {lease: 3s, poll_interval: 500ms}\n",
		ports[number]);
	return lag_daemon(LAG_EXPECTED, yaml);
}

/* ---- counters ---- */

/* "name{labels} value": where the value begins. */
static char *split(char *line)
{
	char *space = strrchr(line, ' ');

	assert_non_null(space);
	*space = '\0';
	return space + 1;
}

/* By the table: the type of what is called so, but for a suffix. */
static int is_counter(const char *name)
{
	for (size_t i = 0; site_metrics[i].name != NULL; i++) {
		const struct site_metric *m = &site_metrics[i];
		size_t length = strlen(m->name);

		if (strncmp(name, m->name, length) == 0 &&
			strchr("{ _", name[length]) != NULL) {
			return strcmp(m->type, "gauge") != 0;
		}
	}
	return 0;
}

static void note(int at, const char *name, double value)
{
	size_t i = 0;

	while (i < seen_count &&
		(seen[i].port != at || strcmp(seen[i].name, name) != 0)) {
		i++;
	}
	assert_true(i < SERIES);
	if (i == seen_count) {
		seen[i].port = at;
		seen[i].name = strdup(name);
		seen_count++;
	} else if (value < seen[i].value) {
		fail_msg("%s went from %g to %g", name, seen[i].value, value);
	}
	seen[i].value = value;
	seen[i].look = looks;
}

/* The label job_id of a series, with its length; NULL: it is of no job. */
static const char *job_of(const char *name, int *length)
{
	const char *label = strstr(name, "job_id=\"");

	if (label != NULL) {
		*length = (int)strcspn(label + 8, "\"") + 9;
	}
	return label;
}

static int is_open(int at, const char *job, int length)
{
	for (size_t i = 0; i < seen_count; i++) {
		const char *other;
		int n = 0;

		if (seen[i].port != at || seen[i].look != looks ||
			strncmp(seen[i].name, "backfilld_job_rows_total{",
				25) != 0) {
			continue;
		}
		other = job_of(seen[i].name, &n);
		if (n == length && strncmp(other, job, (size_t)n) == 0) {
			return 1;
		}
	}
	return 0;
}

/* A counter of a job goes with the job, and not before. */
static void assert_none_is_gone(int at)
{
	for (size_t i = 0; i < seen_count; i++) {
		const char *job;
		int length = 0;

		if (seen[i].port != at || seen[i].look == looks) {
			continue;
		}
		job = job_of(seen[i].name, &length);
		if (job != NULL && is_open(at, job, length)) {
			fail_msg("%s is gone", seen[i].name);
		}
	}
}

/* Look at both, as often as it happens to be. */
static void look(void)
{
	for (int number = 0; number < 2; number++) {
		char *rest, *line;

		if (ports[number] == 0) {
			continue;
		}
		assert_int_equal(
			http_get(ports[number], "/metrics", &reply), 200);
		looks++;
		rest = reply.body.data;
		while ((line = strsep(&rest, "\n")) != NULL) {
			if (line[0] != '#' && line[0] != '\0' &&
				is_counter(line)) {
				double value = strtod(split(line), NULL);

				note(ports[number], line, value);
			}
		}
		assert_none_is_gone(ports[number]);
	}
}

static void look_until(const char *sql)
{
	uint64_t deadline = wait_deadline(60);

	do {
		look();
		if (!wait_again(deadline)) {
			fail_msg("not so: %s", sql);
		}
	} while (!sql_true(shop.db, "%s", sql));
	look();
}

static double last_of(int at, const char *begin)
{
	double sum = -1;

	for (size_t i = 0; i < seen_count; i++) {
		if (seen[i].port == at &&
			strncmp(seen[i].name, begin, strlen(begin)) == 0) {
			sum = (sum < 0 ? 0 : sum) + seen[i].value;
		}
	}
	return sum;
}

static void assert_metric(int at, const char *line)
{
	http_wait(at, "/metrics", 200, line, &reply);
}

static void look_until_error(void)
{
	uint64_t deadline = wait_deadline(60);

	do {
		look();
		if (!wait_again(deadline)) {
			fail_msg("no error was counted");
		}
	} while (last_of(ports[0], "backfilld_errors_total") < 1);
}

/* One job through everything that may become of it. */
static void test_counters_never_decrease(void **state)
{
	int64_t job;
	char line[256];

	(void)state;
	first = daemon_at(0);
	job = lag_submit_at_gate("life");
	look();
	(void)snprintf(line, sizeof line,
		"\nbackfilld_job_rows_total{database=\"shop\",job_id=\"%lld\","
		"name=\"life\",outcome=\"changed\"} 20\n",
		(long long)job);
	assert_metric(ports[0], line);
	assert_metric(ports[0],
		"\nbackfilld_replica_lag_known{database=\"shop\","
		"replica=\"standby1\"} 1\n");
	/* Tried again: the batch at the gate loses its connection. */
	sql_exec(shop.db,
		"SELECT pg_terminate_backend(runner_pid) FROM backfill.ranges"
		" WHERE job_id = %lld",
		(long long)job);
	look_until_error();
	/* Held by a standby. */
	lag_let_lag();
	gate_open_to(40);
	look_until("SELECT waits_for = 'lag' FROM backfill.progress"
		   " WHERE name = 'life'");
	(void)snprintf(line, sizeof line,
		"\nbackfilld_job_throttled{database=\"shop\",job_id=\"%lld\","
		"name=\"life\",reason=\"lag\"} 1\n",
		(long long)job);
	assert_metric(ports[0], line);
	/* Paused, and a reload. */
	sql_exec(shop.app, "SELECT backfill.pause('life', 'a test')");
	cluster_resume_replay(lag_standby);
	assert_return_code(kill(daemon_pid(first), SIGHUP), errno);
	look_until("SELECT state = 'paused' FROM backfill.progress"
		   " WHERE name = 'life'");
	sql_exec(shop.app, "SELECT backfill.resume('life')");
	look_until("SELECT state = 'running' FROM backfill.progress"
		   " WHERE name = 'life'");
	/* Taken over. */
	gate_open_to(60);
	look_until("SELECT rows_done >= 40 FROM backfill.progress"
		   " WHERE name = 'life'");
	second = daemon_at(1);
	assert_true(last_of(ports[0],
			    "backfilld_job_batch_duration_seconds_count") >= 2);
	assert_true(last_of(ports[0], "backfilld_errors_total") >= 1);
	daemon_kill(first);
	ports[0] = 0;
	gate_open_to(80);
	look_until("SELECT rows_done >= 80 FROM backfill.progress"
		   " WHERE name = 'life'");
	assert_true(last_of(ports[1],
			    "backfilld_job_batch_duration_seconds_count") >= 1);
	lag_finish("life", job);
	/* Its series end with it. */
	for (uint64_t deadline = wait_deadline(30);;) {
		look();
		assert_int_equal(http_get(ports[1], "/metrics", &reply), 200);
		if (strstr(reply.body.data, "job_id=\"") == NULL) {
			break;
		}
		if (!wait_again(deadline)) {
			fail_msg("there are jobs in:\n%s", reply.body.data);
		}
	}
}

/* ---- the format ---- */

static void write_body(const char *path)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(reply.body.data, 1, reply.body.length, file),
		reply.body.length);
	assert_int_equal(fclose(file), 0);
}

static int run(const char *command)
{
	int status = system(command); /* NOLINT(cert-env33-c) */

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_promtool_takes_it(void **state)
{
	char path[PATH_MAX], command[PATH_MAX + 64];

	(void)state;
	if (run("command -v promtool >/dev/null") != 0) {
		print_message("skip: needs promtool\n");
		skip();
	}
	first = daemon_at(0);
	(void)lag_submit_at_gate("odd");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause, hold)"
		" VALUES (E'odd \\\\\"\\n name{}', 'odd', 'n = 1', true)");
	http_wait(ports[0], "/metrics", 200, "odd \\\\\\\"\\n name{}", &reply);
	(void)snprintf(
		path, sizeof path, "%s/metrics", cluster_dir(shop.cluster));
	write_body(path);
	(void)snprintf(
		command, sizeof command, "promtool check metrics <%s", path);
	assert_int_equal(run(command), 0);
	assert_null(strstr(reply.body.data, "job=\""));
	assert_null(strstr(reply.body.data, "instance=\""));
	gate_open();
}

/* Unknown is not 0, and said so. */
static void test_standby_that_is_gone(void **state)
{
	(void)state;
	first = daemon_at(0);
	(void)lag_submit_at_gate("gone");
	lag_freeze_receiver();
	assert_metric(ports[0],
		"\nbackfilld_replica_lag_known{database=\"shop\","
		"replica=\"standby1\"} 0\n");
	assert_has(reply.body.data,
		"\nbackfilld_replica_lag_seconds{database=\"shop\","
		"replica=\"standby1\"} NaN\n");
	lag_thaw_receiver();
	gate_open();
}

/* ---- names ---- */

static int is_metric(const char *name)
{
	size_t i = 0;

	while (site_metrics[i].name != NULL &&
		strcmp(site_metrics[i].name, name) != 0) {
		i++;
	}
	return site_metrics[i].name != NULL;
}

static void read_file(const char *path, struct text *t)
{
	FILE *file = fopen(path, "re");
	char part[4096];
	size_t length;

	if (file == NULL) {
		fail_msg("no %s: run this in the checkout", path);
	}
	text_init(t);
	while ((length = fread(part, 1, sizeof part, file)) > 0) {
		text_add_bytes(t, part, length);
	}
	fclose(file);
}

/* The view, the table and what each is: the same, but for what only the
 * daemon knows. */
static void test_view_is_in_the_table(void **state)
{
	PGresult *rows = PQexec(shop.db,
		"SELECT DISTINCT m[1] FROM regexp_matches("
		"pg_get_viewdef('backfill.metrics'::regclass),"
		" '''(backfilld_[a-z_]+)''', 'g') m");

	(void)state;
	assert_true(PQntuples(rows) > 10);
	for (int i = 0; i < PQntuples(rows); i++) {
		if (!is_metric(PQgetvalue(rows, i, 0))) {
			fail_msg("%s is not in the table",
				PQgetvalue(rows, i, 0));
		}
	}
	PQclear(rows);
	for (size_t i = 0; site_metrics[i].name != NULL; i++) {
		if (site_metrics[i].add == NULL) {
			assert_true(sql_true(shop.db,
				"SELECT pg_get_viewdef('backfill.metrics'"
				"::regclass) LIKE '%%''%s''%%'",
				site_metrics[i].name));
		}
	}
}

/* Each name in a text is that of a metric, but for what a histogram adds. */
static int check_names(const struct text *t, const char *prefix)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	const char *at = t->data;
	char name[128];
	int count = 0;

	while ((at = strstr(at, prefix)) != NULL) {
		size_t length = strspn(at, letters);
		char *bucket;

		(void)snprintf(name, sizeof name, "%.*s", (int)length, at);
		at += length;
		bucket = strstr(name, "_bucket");
		if (bucket != NULL) {
			*bucket = '\0';
		}
		if (!is_metric(name)) {
			fail_msg("%s is not a metric", name);
		}
		count++;
	}
	return count;
}

static void test_kit_names_metrics(void **state)
{
	static const char *const files[] = { "conf/grafana/backfilld.json",
		"conf/prometheus/alerts.yml",
		"conf/prometheus/alerts_test.yml" };

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		struct text t;

		read_file(files[i], &t);
		assert_true(check_names(&t, "backfilld_") > 5);
		(void)check_names(&t, "process_");
		text_close(&t);
	}
}

/* backfilld(8) has them all, with their types, and no others. */
static void test_manual(void **state)
{
	struct text t;
	char item[160];
	int items = 0, metrics = 0;

	(void)state;
	read_file("conf/man/backfilld.8", &t);
	for (; site_metrics[metrics].name != NULL; metrics++) {
		(void)snprintf(item, sizeof item, "\n.It Va %s No (%s)\n",
			site_metrics[metrics].name, site_metrics[metrics].type);
		assert_has(t.data, item);
	}
	for (const char *at = t.data; (at = strstr(at, "\n.It Va ")) != NULL;
		at++) {
		items += strncmp(at + 8, "backfilld_", 10) == 0 ||
			strncmp(at + 8, "process_", 8) == 0;
	}
	assert_int_equal(items, metrics);
	text_close(&t);
}

static int clean(void **state)
{
	for (size_t i = 0; i < seen_count; i++) {
		free(seen[i].name);
	}
	seen_count = 0;
	ports[0] = ports[1] = 0;
	http_reply_close(&reply);
	return lag_clean(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_view_is_in_the_table),
		cmocka_unit_test(test_kit_names_metrics),
		cmocka_unit_test(test_manual),
		cmocka_unit_test_teardown(test_promtool_takes_it, clean),
		cmocka_unit_test_teardown(test_standby_that_is_gone, clean),
		cmocka_unit_test_teardown(test_counters_never_decrease, clean),
	};

	return cmocka_run_group_tests(tests, lag_start, lag_stop);
}
