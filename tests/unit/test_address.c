/* test_address.c: where to listen, and by which names we may be called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/ops/http_internal.h"
#include "config/address.h"

static void assert_address(const char *text, const char *host, int port)
{
	struct address a;

	if (address_parse(text, &a) != 0) {
		fail_msg("refused: %s", text);
	}
	assert_string_equal(a.host, host);
	assert_int_equal(a.port, port);
}

static void test_addresses(void **state)
{
	(void)state;
	assert_address("127.0.0.1:7432", "127.0.0.1", 7432);
	assert_address("localhost:1", "localhost", 1);
	assert_address("db-1.example.com:65535", "db-1.example.com", 65535);
	assert_address("[::1]:7432", "::1", 7432);
	assert_address("[::ffff:192.0.2.1]:80", "::ffff:192.0.2.1", 80);
	assert_address("off", "", 0);
}

static void test_no_addresses(void **state)
{
	static const char *const texts[] = { "", ":", "7432", "localhost",
		"localhost:", ":7432", "localhost:0", "localhost:65536",
		"localhost:7432x", "localhost:-1", "localhost: 7432",
		"::1:7432", "[::1]", "[]:7432", "[localhost]:7432",
		"http://localhost:7432", "local host:7432", "OFF" };
	char longest[400];
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (address_parse(texts[i], &a) == 0) {
			fail_msg("taken: %s", texts[i]);
		}
		assert_non_null(address_check_listen(texts[i]));
	}
	memset(longest, 'x', sizeof longest);
	memcpy(longest + sizeof longest - 4, ":80", 4);
	assert_int_equal(address_parse(longest, &a), -1);
}

static void test_sockets(void **state)
{
	char path[200];

	(void)state;
	assert_null(address_check_socket(""));
	assert_null(address_check_socket("off"));
	assert_null(address_check_socket("/run/backfilld/http.sock"));
	assert_string_equal(address_check_socket("http.sock"),
		"It is a path that begins with \"/\", or off.");
	memset(path, 'x', sizeof path);
	path[0] = '/';
	path[107] = '\0';
	assert_null(address_check_socket(path));
	path[107] = 'x';
	path[108] = '\0';
	assert_string_equal(address_check_socket(path),
		"The path of a socket has at most 107 bytes.");
}

static void test_host_that_is_configured(void **state)
{
	(void)state;
	assert_true(http_host_is_ours("db1.example.com", "db1.example.com"));
	assert_true(http_host_is_ours("DB1.example.com:80", "db1.example.com"));
	assert_true(http_host_is_ours("db1.example.com.", "db1.example.com"));
	assert_false(http_host_is_ours("db1.example.com", ""));
	assert_false(http_host_is_ours("xdb1.example.com", "db1.example.com"));
	assert_false(http_host_is_ours("db1.example.comx", "db1.example.com"));
	assert_false(http_host_is_ours("", ""));
	assert_true(http_host_is_ours("[::1]", ""));
	assert_false(http_host_is_ours("[::1", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_no_addresses),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_host_that_is_configured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
