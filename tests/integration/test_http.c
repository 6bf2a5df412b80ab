/* test_http.c: who is answered, with what, and who is refused. */
#include "http_drive.h"

static int ask(const char *request)
{
	int fd = http_open(port);

	http_say(fd, request);
	http_read(fd, &reply);
	return reply.status;
}

static int ask_as(const char *host)
{
	char request[512];

	(void)snprintf(request, sizeof request,
		"GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", host);
	return ask(request);
}

static void test_health(void **state)
{
	(void)state;
	assert_int_equal(http_get(port, "/healthz", &reply), 200);
	assert_string_equal(reply.body.data, "ok\n");
	assert_int_equal(http_get(port, "/readyz", &reply), 200);
	assert_string_equal(reply.body.data, "ok\n");
}

static void test_headers(void **state)
{
	static const char *const lines[] = {
		"\r\nX-Content-Type-Options: nosniff\r\n",
		"\r\nX-Frame-Options: DENY\r\n",
		"\r\nReferrer-Policy: no-referrer\r\n",
		"\r\nCross-Origin-Resource-Policy: same-origin\r\n",
		"\r\nCross-Origin-Opener-Policy: same-origin\r\n",
		"\r\nCache-Control: no-store\r\n",
		"\r\nConnection: close\r\n",
		("\r\nContent-Security-Policy: default-src 'none';"
		 " frame-ancestors 'none'\r\n"),
	};
	static const char *const paths[] = { "/healthz", "/status.json",
		"/metrics", "/none" };

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		(void)http_get(port, paths[i], &reply);
		for (size_t j = 0; j < sizeof lines / sizeof lines[0]; j++) {
			assert_has(reply.head.data, lines[j]);
		}
	}
}

static void test_types(void **state)
{
	(void)state;
	(void)http_get(port, "/status.json", &reply);
	assert_has(reply.head.data, "\r\nContent-Type: application/json\r\n");
	(void)http_get(port, "/metrics", &reply);
	assert_has(reply.head.data,
		"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"
		"\r\n");
	(void)http_get(port, "/", &reply);
	assert_has(reply.head.data,
		"\r\nContent-Type: text/html; charset=utf-8\r\n");
}

static void test_other_paths(void **state)
{
	(void)state;
	assert_int_equal(http_get(port, "/none", &reply), 404);
	assert_int_equal(http_get(port, "/healthz/", &reply), 404);
	assert_int_equal(http_get(port, "/../etc/passwd", &reply), 404);
	assert_int_equal(http_get(port, "//", &reply), 404);
	assert_int_equal(
		http_get(port, "/status.json?database=none", &reply), 404);
	assert_int_equal(http_get(port, "/status.json?job=1", &reply), 404);
}

static void test_methods(void **state)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE",
		"OPTIONS", "TRACE", "PATCH", "get", "CONNECT", "X" };
	char request[256];

	(void)state;
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		(void)snprintf(request, sizeof request,
			"%s /healthz HTTP/1.1\r\nHost: localhost\r\n"
			"Content-Length: 0\r\n\r\n",
			methods[i]);
		assert_int_equal(ask(request), 405);
		assert_has(reply.head.data, "\r\nAllow: GET, HEAD\r\n");
	}
}

static void test_head(void **state)
{
	(void)state;
	assert_int_equal(
		ask("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
	assert_has(reply.head.data, "\r\nContent-Length: 3\r\n");
	assert_int_equal(reply.body.length, 0);
	assert_int_equal(
		ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
	assert_int_equal(reply.body.length, 0);
}

/* A page of somebody whose name points to us is refused. */
static void test_hosts(void **state)
{
	static const char *const ours[] = { "localhost", "LOCALHOST:1",
		"localhost.", "127.0.0.1", "127.0.0.1:7432", "192.0.2.1",
		"[::1]", "[::1]:80", "[2001:db8::1]" };
	static const char *const others[] = { "example.com",
		"localhost.example.com", "127.0.0.1.example.com", "", ":80",
		"[::1", "[::1]x", "::1x", "127.0.0.1@example.com",
		"localhost:80x" };

	(void)state;
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
		assert_int_equal(ask_as(ours[i]), 200);
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		assert_int_equal(ask_as(others[i]), 421);
	}
}

static void test_number_of_hosts(void **state)
{
	(void)state;
	assert_int_equal(ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
			     "Host: localhost\r\n\r\n"),
		400);
	assert_int_equal(ask("GET /healthz HTTP/1.1\r\n\r\n"), 400);
	assert_int_equal(ask("GET /healthz HTTP/1.0\r\n\r\n"), 200);
}

static void test_size_of_a_request(void **state)
{
	char request[8192];

	(void)state;
	(void)snprintf(request, sizeof request,
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
		"%03800d\r\n\r\n",
		0);
	assert_int_equal(ask(request), 200);
	(void)snprintf(request, sizeof request,
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
		"%04200d\r\n\r\n",
		0);
	assert_int_equal(ask(request), 431);
}

static void test_body_is_refused(void **state)
{
	(void)state;
	assert_int_equal(ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
			     "Content-Length: 5\r\n\r\nhello"),
		413);
	assert_int_equal(ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		413);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_other_paths),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_number_of_hosts),
		cmocka_unit_test(test_size_of_a_request),
		cmocka_unit_test(test_body_is_refused),
	};

	return cmocka_run_group_tests(tests, http_shop_start, http_shop_stop);
}
