#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "config/option.h"

/* Parse what must be right. */
static void parse(struct config *c, const char *yaml)
{
	struct text errors;
	int count;

	text_init(&errors);
	count = config_parse(c, yaml, strlen(yaml), "test.yaml", &errors);
	assert_string_equal(errors.data, "");
	assert_int_equal(count, 0);
	text_close(&errors);
}

static const char smallest[] = "databases:\n"
			       "  - name: shop\n"
			       "    dsn: dbname=shop\n"
			       "    expected_standbys: []\n";

static void test_smallest_has_the_defaults(void **state)
{
	struct config c;

	(void)state;
	parse(&c, smallest);
	assert_int_equal(c.databases_count, 1);
	assert_string_equal(c.databases[0].name, "shop");
	assert_string_equal(c.databases[0].dsn, "dbname=shop");
	assert_string_equal(c.databases[0].runner, "");
	assert_int_equal(c.databases[0].workers, 2);
	assert_int_equal(c.databases[0].expected_standbys_count, 0);
	assert_string_equal(c.log_level, "info");
	assert_string_equal(c.log_format, "text");
	assert_int_equal(c.lease_ms, 10000);
	assert_int_equal(c.poll_interval_ms, 5000);
	assert_int_equal(c.retention_ms, INT64_C(7776000000));
	assert_int_equal(c.batch_rows, 1000);
	assert_int_equal(c.max_batch_rows, 20000);
	assert_int_equal(c.target_batch_time_ms, 250);
	assert_int_equal(c.max_batch_wal_bytes, 16777216);
	assert_int_equal(c.lock_timeout_ms, 500);
	assert_int_equal(c.statement_timeout_ms, 30000);
	assert_int_equal(c.idle_in_transaction_session_timeout_ms, 2000);
	assert_int_equal(c.client_connection_check_interval_ms, 2000);
	assert_string_equal(c.synchronous_commit, "local");
	assert_int_equal(c.barrier_timeout_ms, 3600000);
	assert_int_equal(c.hole_timeout_ms, 3600000);
	assert_int_equal(c.max_blocking_time_ms, 1000);
	assert_false(c.http_details);
	config_close(&c);
}

static void test_every_option_is_read(void **state)
{
	struct config c;

	(void)state;
	parse(&c,
		"databases:\n"
		"  - name: shop-1_a\n"
		"    dsn: \"host=a dbname=shop\"\n"
		"    runner: 'host=b dbname=shop'\n"
		"    poll_only: true\n"
		"    workers: 7\n"
		"    expected_standbys: [standby1, a b]\n"
		"    optional_standbys: [reporting]\n"
		"  - {name: b, dsn: postgresql://h/b, workers: 64,\n"
		"     expected_standbys: []}\n"
		"daemon:\n"
		"  log_level: debug\n"
		"  log_format: json\n"
		"  lease: 9min\n"
		"  poll_interval: 100ms\n"
		"  retention: 3650d\n"
		"pace:\n"
		"  max_replication_lag: 1500ms\n"
		"  optional_standby_timeout: 1d\n"
		"  max_blocking_time: 300ms\n"
		"batch:\n"
		"  batch_rows: 11\n"
		"  max_batch_rows: 12\n"
		"  target_batch_time: 1.5s\n"
		"  max_batch_wal: 64MB\n"
		"  lock_timeout: 20 ms\n"
		"  statement_timeout: 1h\n"
		"  idle_in_transaction_session_timeout: 3s\n"
		"  client_connection_check_interval: \"0\"\n"
		"  synchronous_commit: off\n"
		"  barrier_timeout: 90min\n"
		"  hole_timeout: 7d\n"
		"http:\n"
		"  details: true\n");
	assert_int_equal(c.databases_count, 2);
	assert_true(c.http_details);
	assert_string_equal(c.databases[0].name, "shop-1_a");
	assert_string_equal(c.databases[0].dsn, "host=a dbname=shop");
	assert_string_equal(c.databases[0].runner, "host=b dbname=shop");
	assert_true(c.databases[0].poll_only);
	assert_int_equal(c.databases[0].workers, 7);
	assert_int_equal(c.databases[0].expected_standbys_count, 2);
	assert_string_equal(c.databases[0].expected_standbys[1], "a b");
	assert_int_equal(c.databases[0].optional_standbys_count, 1);
	assert_string_equal(c.databases[0].optional_standbys[0], "reporting");
	assert_int_equal(c.max_replication_lag_ms, 1500);
	assert_int_equal(c.optional_standby_timeout_ms, 86400000);
	assert_int_equal(c.databases[1].optional_standbys_count, 0);
	assert_string_equal(c.databases[1].name, "b");
	assert_string_equal(c.databases[1].dsn, "postgresql://h/b");
	assert_string_equal(c.databases[1].runner, "");
	assert_false(c.databases[1].poll_only);
	assert_int_equal(c.databases[1].workers, 64);
	assert_string_equal(c.log_level, "debug");
	assert_string_equal(c.log_format, "json");
	assert_int_equal(c.lease_ms, 540000);
	assert_int_equal(c.poll_interval_ms, 100);
	assert_int_equal(c.retention_ms, INT64_C(315360000000));
	assert_int_equal(c.batch_rows, 11);
	assert_int_equal(c.max_batch_rows, 12);
	assert_int_equal(c.target_batch_time_ms, 1500);
	assert_int_equal(c.max_batch_wal_bytes, 67108864);
	assert_int_equal(c.lock_timeout_ms, 20);
	assert_int_equal(c.statement_timeout_ms, 3600000);
	assert_int_equal(c.idle_in_transaction_session_timeout_ms, 3000);
	assert_int_equal(c.client_connection_check_interval_ms, 0);
	assert_string_equal(c.synchronous_commit, "off");
	assert_int_equal(c.barrier_timeout_ms, 5400000);
	assert_int_equal(c.hole_timeout_ms, 604800000);
	assert_int_equal(c.max_blocking_time_ms, 300);
	config_close(&c);
}

static void test_null_is_no_value(void **state)
{
	struct config c;

	(void)state;
	parse(&c,
		"databases:\n"
		"  - name: shop\n"
		"    dsn: \"\"\n"
		"    runner: ~\n"
		"    workers: null\n"
		"    expected_standbys: []\n"
		"daemon:\n"
		"batch:\n"
		"  batch_rows:\n"
		"  lock_timeout: NULL\n");
	assert_string_equal(c.databases[0].dsn, "");
	assert_string_equal(c.databases[0].runner, "");
	assert_int_equal(c.databases[0].workers, 2);
	assert_int_equal(c.batch_rows, 1000);
	assert_int_equal(c.lock_timeout_ms, 500);
	assert_string_equal(c.log_level, "info");
	config_close(&c);
}

/* A byte order mark and line ends of other systems are no errors. */
static void test_foreign_editors(void **state)
{
	struct config c;

	(void)state;
	parse(&c,
		"\xef\xbb\xbf# caf\xc3\xa9 \xf0\x9f\x90\x98\r\n"
		"databases:\r\n"
		"- name: shop\r\n"
		"  dsn: \"password=\xc3\xa9\"\r\n"
		"  expected_standbys: []\r\n");
	assert_string_equal(c.databases[0].dsn, "password=\xc3\xa9");
	config_close(&c);
}

static void test_closed_config_is_empty(void **state)
{
	struct config c, zero;

	(void)state;
	memset(&zero, 0, sizeof zero);
	parse(&c, smallest);
	config_close(&c);
	assert_memory_equal(&c, &zero, sizeof c);
	config_close(&c);
}

/* The limits of each option are themselves allowed. */
static void test_limits_are_allowed(void **state)
{
	const struct option_def *o;

	(void)state;
	for (o = option_table; o->name != NULL; o++) {
		struct text range, yaml;
		struct config c;
		char *to;

		if (o->type != OPTION_COUNT && o->type != OPTION_TIME &&
			o->type != OPTION_BYTES) {
			continue;
		}
		/* These depend on each other: see the tests of errors. */
		if (strcmp(o->name, "batch_rows") == 0 ||
			strcmp(o->name, "max_batch_rows") == 0 ||
			strcmp(o->name, "statement_timeout") == 0 ||
			strcmp(o->section, "databases") == 0) {
			continue;
		}
		text_init(&range);
		option_add_range(o, &range);
		to = strstr(range.data, " to ");
		assert_non_null(to);
		*to = '\0';
		to += strlen(" to ");
		to[strcspn(to, ",")] = '\0';

		text_init(&yaml);
		text_addf(&yaml, "%s%s: {%s: %s}\n", smallest, o->section,
			o->name, range.data);
		parse(&c, yaml.data);
		assert_int_equal(option_number(o, &c), o->min);
		config_close(&c);
		text_reset(&yaml);
		text_addf(&yaml, "%s%s: {%s: %s}\n", smallest, o->section,
			o->name, to);
		parse(&c, yaml.data);
		assert_int_equal(option_number(o, &c), o->max);
		config_close(&c);
		text_close(&yaml);
		text_close(&range);
	}
}

/* ---- the sample */

static void check_defaults(const struct config *c)
{
	struct config expected;

	parse(&expected, smallest);
	assert_int_equal(c->databases_count, 1);
	assert_string_equal(c->databases[0].name, "shop");
	assert_string_equal(c->databases[0].dsn,
		"host=/run/postgresql dbname=shop user=backfilld");
	assert_string_equal(c->log_level, expected.log_level);
	assert_string_equal(c->synchronous_commit, expected.synchronous_commit);
	assert_string_equal(c->http_listen, expected.http_listen);
	assert_string_equal(c->http_socket, expected.http_socket);
	assert_int_equal(c->http_details, expected.http_details);
	for (const struct option_def *o = option_table; o->name != NULL; o++) {
		if (strcmp(o->section, "databases") != 0 &&
			o->type != OPTION_ENUM && o->type != OPTION_BOOL &&
			o->type != OPTION_STRING) {
			assert_int_equal(option_number(o, c),
				option_number(o, &expected));
		}
	}
	config_close(&expected);
}

static void test_sample_is_accepted(void **state)
{
	struct text sample;
	struct config c;

	(void)state;
	text_init(&sample);
	config_describe(&sample);
	parse(&c, sample.data);
	check_defaults(&c);
	config_close(&c);
	text_close(&sample);
}

/* "#option: value" is an option, "# text" is text. */
static void test_sample_is_accepted_without_comments(void **state)
{
	struct text sample;
	struct config c;
	size_t uncommented = 0, expected = 0;

	(void)state;
	text_init(&sample);
	config_describe(&sample);
	for (char *hash = sample.data; *hash != '\0'; hash++) {
		if (*hash == '#' && hash[1] >= 'a' && hash[1] <= 'z') {
			memmove(hash, hash + 1, strlen(hash));
			uncommented++;
		}
	}
	for (const struct option_def *o = option_table; o->name != NULL; o++) {
		expected += o->default_text != NULL;
	}
	assert_int_equal(uncommented, expected);
	parse(&c, sample.data);
	check_defaults(&c);
	config_close(&c);
	text_close(&sample);
}

static void test_sample_names_every_option(void **state)
{
	struct text sample, line;

	(void)state;
	text_init(&sample);
	text_init(&line);
	config_describe(&sample);
	for (const struct option_def *o = option_table; o->name != NULL; o++) {
		text_reset(&line);
		text_addf(&line, "%s%s: ", o->default_text != NULL ? "#" : "",
			o->name);
		assert_non_null(strstr(sample.data, line.data));
		text_reset(&line);
		if (o->type != OPTION_STRING && o->type != OPTION_STRING_LIST) {
			text_addf(&line, "Default %s; ", o->default_text);
			option_add_range(o, &line);
		}
		assert_non_null(strstr(sample.data, line.data));
	}
	text_close(&line);
	text_close(&sample);
}

static void test_conf_file_is_the_sample(void **state)
{
	FILE *file = fopen("conf/backfilld.yaml", "r");
	static char content[65536];
	struct text sample;
	size_t length;

	(void)state;
	assert_non_null(file);
	length = fread(content, 1, sizeof content - 1, file);
	content[length] = '\0';
	fclose(file);
	text_init(&sample);
	config_describe(&sample);
	assert_string_equal(content, sample.data);
	text_close(&sample);
}

/* ---- files */

static void test_load_reads_a_file(void **state)
{
	char path[] = "/tmp/test_config.XXXXXX";
	int fd = mkstemp(path);
	struct text errors;
	struct config c;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(
		write(fd, smallest, strlen(smallest)), strlen(smallest));
	close(fd);
	text_init(&errors);
	assert_int_equal(config_load(&c, path, &errors), 0);
	assert_string_equal(errors.data, "");
	assert_string_equal(c.databases[0].name, "shop");
	config_close(&c);
	text_close(&errors);
	unlink(path);
}

static void check_unreadable(const char *path, const char *expected)
{
	struct config c, zero;
	struct text errors;

	memset(&zero, 0, sizeof zero);
	text_init(&errors);
	assert_int_equal(config_load(&c, path, &errors), 1);
	assert_string_equal(errors.data, expected);
	assert_memory_equal(&c, &zero, sizeof c);
	text_close(&errors);
}

static void test_load_tells_why_it_could_not(void **state)
{
	(void)state;
	check_unreadable("/nonexistent.yaml",
		"could not read configuration file \"/nonexistent.yaml\": "
		"No such file or directory\n");
	check_unreadable("/",
		"could not read configuration file \"/\": "
		"Is a directory\n");
	check_unreadable("/dev/zero",
		"could not read configuration file \"/dev/zero\": "
		"File too large\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smallest_has_the_defaults),
		cmocka_unit_test(test_every_option_is_read),
		cmocka_unit_test(test_null_is_no_value),
		cmocka_unit_test(test_foreign_editors),
		cmocka_unit_test(test_closed_config_is_empty),
		cmocka_unit_test(test_limits_are_allowed),
		cmocka_unit_test(test_sample_is_accepted),
		cmocka_unit_test(test_sample_is_accepted_without_comments),
		cmocka_unit_test(test_sample_names_every_option),
		cmocka_unit_test(test_conf_file_is_the_sample),
		cmocka_unit_test(test_load_reads_a_file),
		cmocka_unit_test(test_load_tells_why_it_could_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
