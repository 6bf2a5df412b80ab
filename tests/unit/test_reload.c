#include "config/reload.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "config/option.h"

static void parse(struct config *c, const char *yaml)
{
	struct text errors;
	int count;

	text_init(&errors);
	count = config_parse(c, yaml, strlen(yaml), "f", &errors);
	assert_string_equal(errors.data, "");
	assert_int_equal(count, 0);
	text_close(&errors);
}

static void write_down(void *data, const struct reload_change *change)
{
	text_addf(data, "%s", change->what);
	if (change->from != NULL) {
		text_addf(data, " %s -> %s", change->from, change->to);
	}
	text_addf(data, ": %s\n",
		change->effect != NULL ? change->effect : "restart");
}

/* What is told when the file was one text and is the other; *c is what is in
 * use then. */
static void reload(struct config *c, const char *before, const char *after,
	const char *told)
{
	struct config fresh, zero;
	struct text trace;

	memset(&zero, 0, sizeof zero);
	text_init(&trace);
	parse(c, before);
	parse(&fresh, after);
	reload_take(c, &fresh, write_down, &trace);
	assert_string_equal(trace.data, told);
	assert_memory_equal(&fresh, &zero, sizeof fresh);
	text_close(&trace);
}

#define SHOP                                                                   \
	"databases:\n"                                                         \
	"  - {name: shop, dsn: dbname=shop, expected_standbys: []}\n"

static void test_the_same_changes_nothing(void **state)
{
	struct config c;

	(void)state;
	reload(&c, SHOP, SHOP "daemon: {log_level: info}\nbatch:\n", "");
	config_close(&c);
}

static void test_reloadable_options_are_taken(void **state)
{
	struct config c;

	(void)state;
	reload(&c, SHOP "batch: {synchronous_commit: on}\n",
		SHOP "daemon:\n"
		     "  log_level: debug\n"
		     "  log_format: json\n"
		     "  poll_interval: 1.5s\n"
		     "  retention: 7d\n"
		     "batch:\n"
		     "  batch_rows: 7\n"
		     "  max_batch_rows: 8\n"
		     "  target_batch_time: 1s\n"
		     "  max_batch_wal: 2MB\n"
		     "  lock_timeout: 1s\n"
		     "  statement_timeout: 1min\n"
		     "  idle_in_transaction_session_timeout: 1s\n"
		     "  client_connection_check_interval: 0\n"
		     "  synchronous_commit: off\n"
		     "  barrier_timeout: 2h\n"
		     "  hole_timeout: 3h\n"
		     "http: {details: true}\n",
		"daemon.log_level info -> debug: at once\n"
		"daemon.log_format text -> json: at once\n"
		"daemon.poll_interval 5s -> 1500ms: at once\n"
		"daemon.retention 90d -> 7d: at once\n"
		"batch.batch_rows 1000 -> 7: with the next batch\n"
		"batch.max_batch_rows 20000 -> 8: with the next batch\n"
		"batch.target_batch_time 250ms -> 1s: with the next batch\n"
		"batch.max_batch_wal 16MB -> 2MB: with the next batch\n"
		"batch.lock_timeout 500ms -> 1s: with the next connection of"
		" a job\n"
		"batch.statement_timeout 30s -> 1min: with the next connection"
		" of a job\n"
		"batch.idle_in_transaction_session_timeout 2s -> 1s: with the"
		" next connection of a job\n"
		"batch.client_connection_check_interval 2s -> 0: with the next"
		" connection of a job\n"
		"batch.synchronous_commit on -> off: with the next connection"
		" of a job\n"
		"batch.barrier_timeout 1h -> 2h: at once\n"
		"batch.hole_timeout 1h -> 3h: at once\n"
		"http.details false -> true: at once\n");
	assert_true(c.http_details);
	assert_string_equal(c.log_level, "debug");
	assert_string_equal(c.log_format, "json");
	assert_int_equal(c.poll_interval_ms, 1500);
	assert_int_equal(c.batch_rows, 7);
	assert_int_equal(c.hole_timeout_ms, 10800000);
	assert_string_equal(c.synchronous_commit, "off");
	config_close(&c);
}

/* Values that need a restart are not told: some are secrets. */
static void test_others_need_a_restart(void **state)
{
	struct config c;

	(void)state;
	reload(&c, SHOP,
		"databases:\n"
		"  - name: shop\n"
		"    dsn: password=secret\n"
		"    runner: password=secret\n"
		"    workers: 3\n"
		"    expected_standbys: []\n"
		"daemon: {lease: 20s, log_level: error}\n",
		"daemon.log_level info -> error: at once\n"
		"daemon.lease: restart\n"
		"shop.dsn: restart\n"
		"shop.runner: restart\n"
		"shop.workers: restart\n");
	assert_int_equal(c.lease_ms, 10000);
	assert_string_equal(c.log_level, "error");
	assert_string_equal(c.databases[0].dsn, "dbname=shop");
	assert_string_equal(c.databases[0].runner, "");
	assert_int_equal(c.databases[0].workers, 2);
	config_close(&c);
}

/* They are known by their names, not by their places. */
static void test_databases_come_and_go(void **state)
{
	struct config c;

	(void)state;
	reload(&c,
		"databases:\n"
		"  - {name: a, dsn: dbname=a, expected_standbys: []}\n"
		"  - {name: b, dsn: dbname=b, expected_standbys: []}\n",
		"databases:\n"
		"  - {name: c, dsn: dbname=c, expected_standbys: []}\n"
		"  - {name: b, dsn: dbname=b, expected_standbys: []}\n",
		"a: restart\n"
		"c: restart\n");
	assert_int_equal(c.databases_count, 2);
	assert_string_equal(c.databases[0].name, "a");
	config_close(&c);
}

/* The sample tells of each option whether it is reloaded. */
static void test_the_sample_tells_it(void **state)
{
	struct text sample;

	(void)state;
	text_init(&sample);
	config_describe(&sample);
	assert_non_null(strstr(sample.data,
		"  # Default info; error, warning, notice, info, debug."
		" Reloaded: at once.\n"));
	assert_non_null(strstr(sample.data,
		"  # Default 10s; 1s to 10min.\n"
		"  #lease: 10s\n"));
	text_close(&sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_same_changes_nothing),
		cmocka_unit_test(test_reloadable_options_are_taken),
		cmocka_unit_test(test_others_need_a_restart),
		cmocka_unit_test(test_databases_come_and_go),
		cmocka_unit_test(test_the_sample_tells_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
