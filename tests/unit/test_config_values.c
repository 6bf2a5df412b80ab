/* What can be wrong with the values of a configuration, each message in
 * full. */
#include "config_check.h"

#define NO_DATABASE                                                            \
	" no database is configured\n"                                         \
	"    detail: Section \"databases\" must have at least one item.\n"

static void test_values_and_units(void **state)
{
	(void)state;
	check(SHOP "    workers: two\n", 1,
		"f:5:14: invalid value for option \"workers\" of database "
		"\"shop\": \"two\"\n"
		"    detail: Valid range: 1 to 64.\n"
		"    hint: A count is a whole number without a unit, such as "
		"\"1000\".\n");
	check(SHOP "daemon: {lease: 5, poll_interval: 5 parsecs}\n", 2,
		"f:5:17: invalid value for option \"daemon.lease\": \"5\"\n"
		"    detail: Valid range: 1s to 10min.\n" TIME_HINT
		"f:5:35: invalid value for option \"daemon.poll_interval\": "
		"\"5 parsecs\"\n"
		"    detail: Valid range: 100ms to 10min.\n" TIME_HINT);
	check(SHOP "batch:\n  max_batch_wal: 16mb\n", 1,
		"f:6:18: invalid value for option \"batch.max_batch_wal\": "
		"\"16mb\"\n"
		"    detail: Valid range: 1MB to 1GB.\n"
		"    hint: A size is a number with one of the units \"B\", "
		"\"kB\", \"MB\", \"GB\" and \"TB\", such as \"16MB\".\n");
	check(SHOP "batch: {hole_timeout: 99999999999999999999d}\n", 1,
		"f:5:23: invalid value for option \"batch.hole_timeout\": "
		"\"99999999999999999999d\"\n"
		"    detail: Valid range: 1s to 7d.\n"
		"    hint: The number is too large.\n");
	check(SHOP "batch: {synchronous_commit: maybe}\n", 1,
		"f:5:29: invalid value for option "
		"\"batch.synchronous_commit\": \"maybe\"\n"
		"    detail: Available values: off, local, remote_write, on, "
		"remote_apply.\n");
	/* A long value is cut, never inside a character. */
	check(SHOP "daemon: {log_level: \"012345678901234567890123456789\\n"
		   "12345678\xc3\xa9 and more\"}\n",
		1,
		"f:5:21: invalid value for option \"daemon.log_level\": "
		"\"012345678901234567890123456789 12345678...\"\n"
		"    detail: Available values: error, warning, notice, info, "
		"debug.\n");
}

static void test_ranges(void **state)
{
	(void)state;
	check(SHOP "    workers: 0\n", 1,
		"f:5:14: \"0\" is outside the valid range for option "
		"\"workers\" of database \"shop\"\n"
		"    detail: Valid range: 1 to 64.\n");
	check(SHOP "    workers: 65\n", 1,
		"f:5:14: \"65\" is outside the valid range for option "
		"\"workers\" of database \"shop\"\n"
		"    detail: Valid range: 1 to 64.\n");
	check(SHOP "daemon: {lease: 999ms, poll_interval: 601s}\n", 2,
		"f:5:17: \"999ms\" is outside the valid range for option "
		"\"daemon.lease\"\n"
		"    detail: Valid range: 1s to 10min.\n"
		"f:5:39: \"601s\" is outside the valid range for option "
		"\"daemon.poll_interval\"\n"
		"    detail: Valid range: 100ms to 10min.\n");
	check(SHOP "daemon: {retention: 23h}\nbatch: {barrier_timeout: 8d}\n",
		2,
		"f:5:21: \"23h\" is outside the valid range for option "
		"\"daemon.retention\"\n"
		"    detail: Valid range: 1d to 3650d.\n"
		"f:6:26: \"8d\" is outside the valid range for option "
		"\"batch.barrier_timeout\"\n"
		"    detail: Valid range: 1s to 7d.\n");
	check(SHOP "daemon: {retention: 3651d}\n"
		   "batch: {barrier_timeout: 999ms}\n",
		2,
		"f:5:21: \"3651d\" is outside the valid range for option "
		"\"daemon.retention\"\n"
		"    detail: Valid range: 1d to 3650d.\n"
		"f:6:26: \"999ms\" is outside the valid range for option "
		"\"batch.barrier_timeout\"\n"
		"    detail: Valid range: 1s to 7d.\n");
	check(SHOP "batch: {client_connection_check_interval: 50ms}\n", 1,
		"f:5:43: \"50ms\" is outside the valid range for option "
		"\"batch.client_connection_check_interval\"\n"
		"    detail: Valid range: 100ms to 1min, or 0: never.\n");
	/* It rounds to 0, which was not meant. */
	check(SHOP "batch: {client_connection_check_interval: 1us}\n", 1,
		"f:5:43: \"1us\" is outside the valid range for option "
		"\"batch.client_connection_check_interval\"\n"
		"    detail: Valid range: 100ms to 1min, or 0: never.\n");
	check(SHOP "batch: {lock_timeout: 0}\n", 1,
		"f:5:23: \"0\" is outside the valid range for option "
		"\"batch.lock_timeout\"\n"
		"    detail: Valid range: 10ms to 10s.\n");
}

static void test_missing_options(void **state)
{
	(void)state;
	check("daemon: {}\n", 1, "f:1:1:" NO_DATABASE);
	check("databases:\n", 1, "f:1:11:" NO_DATABASE);
	check("databases: []\n", 1, "f:1:12:" NO_DATABASE);
	check("databases:\n  - workers: 1\n", 3,
		"f:2:5: missing option \"name\" of database 1\n"
		"    detail: The name of the database in messages: 1 to 63 "
		"characters of a-z, 0-9, \"_\" and \"-\"; each name once.\n"
		"f:2:5: missing option \"dsn\" of database 1\n"
		"    detail: The control login, as a connection string or URI "
		"of libpq.\n"
		"f:2:5: missing option \"expected_standbys\" of database "
		"1\n" MISSING_STANDBYS);
	check("databases:\n- name: shop\n  dsn: \"\"\n"
	      "  expected_standbys:\n",
		1,
		"f:2:3: missing option \"expected_standbys\" of database "
		"\"shop\"\n" MISSING_STANDBYS);
}

static void test_expected_standbys(void **state)
{
	(void)state;
	check("databases:\n- name: shop\n  dsn: \"\"\n"
	      "  expected_standbys: [a, b, a]\n"
	      "  optional_standbys: [b, \"\"]\n",
		3,
		"f:4:22: standby \"a\" of database \"shop\" is listed twice\n"
		"f:5:22: standby \"b\" of database \"shop\" is listed twice\n"
		"f:5:22: option \"optional_standbys\" of database \"shop\":"
		" invalid name of a standby\n"
		"    detail: An application_name, or the name of a slot, has 1"
		" to 63 bytes.\n");
}

static void test_poll_only(void **state)
{
	(void)state;
	check(SHOP "    poll_only: true\n", 1,
		"f:5:16: option \"poll_only\" of database \"shop\" needs "
		"option \"runner\"\n"
		"    detail: The control login may go through a connection "
		"pooler then, the jobs' own logins must not.\n"
		"    hint: Give the connection string of the server itself as "
		"\"runner\".\n");
	check(SHOP "    runner: host=h\n    poll_only: yes\n", 1,
		"f:6:16: invalid value for option \"poll_only\" of database "
		"\"shop\": \"yes\"\n"
		"    detail: Available values: true, false.\n");
	check(SHOP "    poll_only: [true]\n", 1,
		"f:5:16: option \"poll_only\" of database \"shop\" must be "
		"true or false, not a sequence\n"
		"    detail: Available values: true, false.\n");
}

static void test_database_names(void **state)
{
	static const char invalid[] =
		"f:1:20: invalid name of a database\n"
		"    detail: A name has 1 to 63 characters of a-z, 0-9, "
		"\"_\" and \"-\".\n";

	(void)state;
	check("databases: [{name: Shop, dsn: a, expected_standbys: []}]", 1,
		invalid);
	check("databases: [{name: \"\", dsn: a, expected_standbys: []}]", 1,
		invalid);
	check("databases: [{name: host=secret, dsn: a, "
	      "expected_standbys: []}]",
		1, invalid);
	check("databases: [{name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	      "aaaaaaaaaaaaaaaaaaaa, dsn: a, expected_standbys: []}]",
		1, invalid);
	check(SHOP "  - name: a\n    dsn: \"\"\n    expected_standbys: []\n"
		   "  - name: shop\n    dsn: \"\"\n    expected_standbys: []\n",
		1,
		"f:8:11: duplicate database \"shop\"\n"
		"    detail: It was first given in line 2.\n");
}

static void test_options_that_depend_on_each_other(void **state)
{
	(void)state;
	check(SHOP "batch:\n  batch_rows: 20001\n", 1,
		"f:6:15: option \"batch.batch_rows\" must not be greater than "
		"\"batch.max_batch_rows\"\n"
		"    detail: \"batch_rows\" is 20001, \"max_batch_rows\" is "
		"20000 by default.\n");
	check(SHOP "batch:\n  max_batch_rows: 999\n", 1,
		"f:6:19: option \"batch.batch_rows\" must not be greater than "
		"\"batch.max_batch_rows\"\n"
		"    detail: \"batch_rows\" is 1000 by default, "
		"\"max_batch_rows\" is 999.\n");
	check(SHOP "batch:\n  statement_timeout: 2s\n  lock_timeout: 2s\n", 1,
		"f:7:17: option \"batch.lock_timeout\" must be less than "
		"\"batch.statement_timeout\"\n"
		"    detail: \"lock_timeout\" is 2s, \"statement_timeout\" is "
		"2s.\n");
	/* What is wrong by itself is not compared. */
	check(SHOP "batch: {batch_rows: few, max_batch_rows: 5}\n", 1,
		"f:5:21: invalid value for option \"batch.batch_rows\": "
		"\"few\"\n"
		"    detail: Valid range: 1 to 1000000.\n"
		"    hint: A count is a whole number without a unit, such as "
		"\"1000\".\n");
	check(SHOP "batch: {batch_rows: 30000, max_batch_rows: few}\n", 1,
		"f:5:44: invalid value for option \"batch.max_batch_rows\": "
		"\"few\"\n"
		"    detail: Valid range: 1 to 1000000.\n"
		"    hint: A count is a whole number without a unit, such as "
		"\"1000\".\n");
}

static void test_places_to_listen(void **state)
{
	(void)state;
	check(SHOP "http: {listen: \"localhost\", socket: http.sock}\n", 2,
		"f:5:16: invalid value for option \"http.listen\": "
		"\"localhost\"\n"
		"    detail: It is written HOST:PORT, with an IPv6 address in "
		"brackets, or off.\n"
		"f:5:37: invalid value for option \"http.socket\": "
		"\"http.sock\"\n"
		"    detail: It is a path that begins with \"/\", or off.\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_and_units),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_missing_options),
		cmocka_unit_test(test_expected_standbys),
		cmocka_unit_test(test_poll_only),
		cmocka_unit_test(test_database_names),
		cmocka_unit_test(test_options_that_depend_on_each_other),
		cmocka_unit_test(test_places_to_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
