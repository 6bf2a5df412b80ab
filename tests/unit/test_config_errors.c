/* What can be wrong with a configuration as a text and with the names in it,
 * each message in full. The values: test_config_values.c. */
#include "config_check.h"

#define TOP_NAMES                                                              \
	"    detail: Allowed here: \"databases\", \"daemon\", "                \
	"\"pace\", \"batch\", \"http\".\n"
#define DATABASE_NAMES                                                         \
	"    detail: Allowed here: \"name\", \"dsn\", \"runner\", "            \
	"\"poll_only\", \"workers\", \"expected_standbys\", "                  \
	"\"optional_standbys\".\n"
#define REFUSED_HINT                                                           \
	"    hint: Write the value itself, in quotes if it begins with "       \
	"\"*\", \"&\" or \"!\".\n"
#define EMPTY                                                                  \
	"f:1:1: configuration is empty\n"                                      \
	"    hint: \"backfilld --describe-config\" prints a sample of it.\n"

static void test_empty(void **state)
{
	(void)state;
	check("", 1, EMPTY);
	check("# nothing\n", 1, EMPTY);
	check("---\n...\n", 1, EMPTY);
	check("~", 1, EMPTY);
}

static void test_bytes_that_are_no_text(void **state)
{
	static const char zero[] = "a: b\0c\n";

	(void)state;
	check("# caf\xc3\xa9\n a: \xff\n", 1, "f:2:5: invalid UTF-8\n");
	check("# caf\xc3\xa9 \xe9\n", 1, "f:1:8: invalid UTF-8\n");
	check("a: \xc3", 1, "f:1:4: invalid UTF-8\n");
	check("a: \xc0\xaf", 1, "f:1:4: invalid UTF-8\n");
	check("a: \xed\xa0\x80", 1, "f:1:4: invalid UTF-8\n");
	check("a: \xf4\x90\x80\x80", 1, "f:1:4: invalid UTF-8\n");
	check("a: \x1b[1m", 1, "f:1:4: control character\n");
	check("a: \xc2\x9b", 1, "f:1:4: control character\n");
	check("\xff\xfe"
	      "a",
		1, "f:1:1: invalid UTF-8\n");
	check_bytes(zero, sizeof zero - 1, 1, "f:1:5: zero byte\n");
	check(SHOP "daemon: {log_level: \"info\\0x\"}\n", 1,
		"f:5:21: value contains a zero byte\n");
}

/* A syntax error is the only one: what follows it means nothing. */
static void test_syntax(void **state)
{
	(void)state;
	check("wrong: 1\nbatch: [1\n", 1,
		"f:3:1: YAML syntax error: did not find expected ',' or ']'\n"
		"    detail: It was found while parsing a flow sequence that "
		"begins in line 2.\n");
	check("a: b\n c: d\n", 1,
		"f:2:3: YAML syntax error: mapping values are not allowed in "
		"this context\n");
	check(SHOP "a: &b 1\na: *\n", 1,
		"f:6:5: YAML syntax error: did not find expected alphabetic "
		"or numeric character\n"
		"    detail: It was found while scanning an alias that begins "
		"in line 6.\n");
}

static void test_yaml_that_is_refused(void **state)
{
	(void)state;
	check(SHOP "daemon:\n  lease: &a 5s\n  poll_interval: *a\n", 2,
		"f:6:10: YAML anchors are not allowed\n" REFUSED_HINT
		"f:7:18: YAML aliases are not allowed\n" REFUSED_HINT);
	check(SHOP "daemon: &d {lease: [1, {a: b}]}\nbatch: *d\n", 2,
		"f:5:9: YAML anchors are not allowed\n" REFUSED_HINT
		"f:6:8: YAML aliases are not allowed\n" REFUSED_HINT);
	check(SHOP "daemon:\n  lease: !!str 5s\nbatch: !x {}\n", 2,
		"f:6:10: YAML tags are not allowed\n" REFUSED_HINT
		"f:7:8: YAML tags are not allowed\n" REFUSED_HINT);
	check("databases:\n- name: a\n  dsn: *secret\n"
	      "  expected_standbys: []\n",
		1, "f:3:8: YAML aliases are not allowed\n" REFUSED_HINT);
	check(SHOP "---\na: b\n", 1, "f:5:1: only one document is allowed\n");
	check(SHOP "daemon: {lease: [[[[[[[[[[x]]]]]]]]]]}\n", 2,
		"f:5:17: option \"daemon.lease\" must be a time, not a "
		"sequence\n"
		"    detail: Valid range: 1s to 10min.\n"
		"f:5:23: nested too deeply\n");
}

static void test_keys(void **state)
{
	(void)state;
	check(SHOP "daemon:\n  lease: 5s\n  lease: 6s\n", 1,
		"f:7:3: duplicate key \"lease\"\n"
		"    detail: It was first given in line 6.\n");
	check(SHOP "batch:\nbatch: {}\n", 1,
		"f:6:1: duplicate key \"batch\"\n"
		"    detail: It was first given in line 5.\n");
	check(SHOP "? {a: b}\n: c\n? [d]\n: e\n~: f\n", 3,
		"f:5:3: a key must be a word\n"
		"f:7:3: a key must be a word\n"
		"f:9:1: a key must be a word\n");
	check(SHOP "password=secret: 1\npassword=secret: 2\n", 2,
		"f:5:1: key is not the name of an option\n" TOP_NAMES
		"f:6:1: duplicate key\n"
		"    detail: It was first given in line 5.\n");
}

static void test_unknown_options(void **state)
{
	(void)state;
	check(SHOP "    wrokers: 3\n    lock_timeout: 5s\n    colour: 1\n", 3,
		"f:5:5: unrecognized option \"wrokers\" of database "
		"\"shop\"\n" DATABASE_NAMES
		"    hint: Perhaps you meant \"workers\".\n"
		"f:6:5: unrecognized option \"lock_timeout\" of database "
		"\"shop\"\n" DATABASE_NAMES
		"    hint: \"lock_timeout\" belongs into section \"batch\".\n"
		"f:7:5: unrecognized option \"colour\" of database "
		"\"shop\"\n" DATABASE_NAMES);
	check(SHOP "bathc: {}\nlease: 5s\ncolour: {}\n", 3,
		"f:5:1: unrecognized option \"bathc\"\n" TOP_NAMES
		"    hint: Perhaps you meant \"batch\".\n"
		"f:6:1: unrecognized option \"lease\"\n" TOP_NAMES
		"    hint: \"lease\" belongs into section \"daemon\".\n"
		"f:7:1: unrecognized option \"colour\"\n" TOP_NAMES);
	check(SHOP "daemon: {loglevel: info}\n", 1,
		"f:5:10: unrecognized option \"daemon.loglevel\"\n"
		"    detail: Allowed here: \"log_level\", \"log_format\", "
		"\"lease\", "
		"\"poll_interval\", \"retention\".\n"
		"    hint: Perhaps you meant \"log_level\".\n");
}

static void test_wrong_types(void **state)
{
	(void)state;
	check("- a\n", 1,
		"f:1:1: the configuration must be a mapping, not a sequence\n");
	check("secret\n", 1,
		"f:1:1: the configuration must be a mapping, not a scalar\n");
	check(SHOP "daemon: []\nbatch: 3\n", 2,
		"f:5:9: section \"daemon\" must be a mapping, not a "
		"sequence\n"
		"f:6:8: section \"batch\" must be a mapping, not a scalar\n");
	check("databases: {}\n", 1,
		"f:1:12: section \"databases\" must be a list of mappings, "
		"not a mapping\n");
	check("databases: [host=secret, ~, []]\n", 3,
		"f:1:13: database 1 must be a mapping, not a scalar\n"
		"f:1:26: database 2 must be a mapping, not empty\n"
		"f:1:29: database 3 must be a mapping, not a sequence\n");
	check("databases:\n- name: shop\n  dsn: {host: secret}\n"
	      "  runner: []\n  workers: {}\n  expected_standbys: none\n",
		4,
		"f:3:8: option \"dsn\" of database \"shop\" must be a "
		"string, not a mapping\n"
		"f:4:11: option \"runner\" of database \"shop\" must be a "
		"string, not a sequence\n"
		"f:5:12: option \"workers\" of database \"shop\" must be a "
		"whole number, not a mapping\n"
		"    detail: Valid range: 1 to 64.\n"
		"f:6:22: option \"expected_standbys\" of database \"shop\" "
		"must be a list of strings, not a scalar\n"
		"    hint: A list is written \"[a, b]\", an empty one "
		"\"[]\".\n");
	check("databases:\n- name: shop\n  dsn: \"\"\n"
	      "  expected_standbys: [[], ~]\n",
		2,
		"f:4:23: an item of option \"expected_standbys\" of database "
		"\"shop\" must be a string, not a sequence\n"
		"f:4:27: an item of option \"expected_standbys\" of database "
		"\"shop\" must be a string, not empty\n");
	check(SHOP "daemon: {log_level: []}\nbatch: {max_batch_wal: {}}\n", 2,
		"f:5:21: option \"daemon.log_level\" must be a word, not a "
		"sequence\n"
		"    detail: Available values: error, warning, notice, info, "
		"debug.\n"
		"f:6:24: option \"batch.max_batch_wal\" must be a size, not a "
		"mapping\n"
		"    detail: Valid range: 1MB to 1GB.\n");
}

/* As an operator makes them: all in one file, told in one run. */
static void test_ten_errors_at_once(void **state)
{
	(void)state;
	check("databases:\n"
	      "  - name: shop\n"
	      "    dsn: host=h password=secret\n"
	      "    wrokers: 3\n"
	      "    workers: 65\n"
	      "    expected_standbys: [standby1, standby1]\n"
	      "  - name: shop\n"
	      "    dsn: {}\n"
	      "daemon:\n"
	      "  lease: 5\n"
	      "  log_level: verbose\n"
	      "batch:\n"
	      "  batch_rows: 30000\n"
	      "  hole_timeout: *secret\n"
	      "batch: {}\n",
		11,
		"f:4:5: unrecognized option \"wrokers\" of database "
		"\"shop\"\n" DATABASE_NAMES
		"    hint: Perhaps you meant \"workers\".\n"
		"f:5:14: \"65\" is outside the valid range for option "
		"\"workers\" of database \"shop\"\n"
		"    detail: Valid range: 1 to 64.\n"
		"f:6:24: standby \"standby1\" of database \"shop\" is listed "
		"twice\n"
		"f:7:5: missing option \"expected_standbys\" of database "
		"\"shop\"\n" MISSING_STANDBYS
		"f:7:11: duplicate database \"shop\"\n"
		"    detail: It was first given in line 2.\n"
		"f:8:10: option \"dsn\" of database \"shop\" must be a "
		"string, not a mapping\n"
		"f:10:10: invalid value for option \"daemon.lease\": \"5\"\n"
		"    detail: Valid range: 1s to 10min.\n" TIME_HINT
		"f:11:14: invalid value for option \"daemon.log_level\": "
		"\"verbose\"\n"
		"    detail: Available values: error, warning, notice, info, "
		"debug.\n"
		"f:13:15: option \"batch.batch_rows\" must not be greater "
		"than \"batch.max_batch_rows\"\n"
		"    detail: \"batch_rows\" is 30000, \"max_batch_rows\" is "
		"20000 by default.\n"
		"f:14:17: YAML aliases are not allowed\n" REFUSED_HINT
		"f:15:1: duplicate key \"batch\"\n"
		"    detail: It was first given in line 12.\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_yaml_that_is_refused),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_unknown_options),
		cmocka_unit_test(test_wrong_types),
		cmocka_unit_test(test_ten_errors_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
