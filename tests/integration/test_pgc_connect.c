/* test_pgc_connect.c: connecting: parameters, host lists, name lookup,
 * refusals, silence, and that the loop turns meanwhile.
 *
 * Names that end in ".invalid" are answered by this program's own
 * getaddrinfo(), which stands before the C library's. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "cluster.h"
#include "loop.h"

typedef int lookup_fn(const char *, const char *, const struct addrinfo *,
	struct addrinfo **);

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int is_held; /* slow.invalid does not return while this holds */
} slow = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };

static int look_up_two(
	lookup_fn *real, const struct addrinfo *hints, struct addrinfo **result)
{
	int rc = real("127.0.0.1", NULL, hints, result);

	return rc != 0 ? rc
		       : real("127.0.0.2", NULL, hints, &(*result)->ai_next);
}

int getaddrinfo(const char *restrict node, const char *restrict service,
	const struct addrinfo *restrict hints,
	struct addrinfo **restrict result)
{
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
	lookup_fn *real;

	memcpy(&real, &symbol, sizeof real);
	if (node == NULL || strstr(node, ".invalid") == NULL) {
		return real(node, service, hints, result);
	}
	if (strcmp(node, "two.invalid") == 0) {
		return look_up_two(real, hints, result);
	}
	if (strcmp(node, "one.invalid") == 0) {
		return real("127.0.0.1", NULL, hints, result);
	}
	if (strcmp(node, "slow.invalid") == 0) {
		(void)pthread_mutex_lock(&slow.mutex);
		while (slow.is_held) {
			(void)pthread_cond_wait(&slow.changed, &slow.mutex);
		}
		(void)pthread_mutex_unlock(&slow.mutex);
	}
	return EAI_NONAME;
}

static void hold_slow(int is_held)
{
	(void)pthread_mutex_lock(&slow.mutex);
	slow.is_held = is_held;
	(void)pthread_cond_broadcast(&slow.changed);
	(void)pthread_mutex_unlock(&slow.mutex);
}

static struct cluster *cluster;
static char last_warning[512];

static void keep_warning(enum log_level level, const char *line)
{
	if (level == LOG_WARNING) {
		(void)snprintf(last_warning, sizeof last_warning, "%s", line);
	}
}

struct fixture {
	uv_loop_t loop;
	struct loop_client client;
	uv_timer_t tick;
	int ticks;  /* since the last connect */
	int socket; /* bound to 127.0.0.1, not listening: refuses */
	int port;
	char conninfo[512];
	int fds;
};

static void on_tick(uv_timer_t *timer)
{
	struct fixture *f = timer->data;

	f->ticks++;
}

/* Of some 300 ticks in 300 ms; a loop that something blocks has none. */
static void assert_loop_turned(const struct fixture *f)
{
	assert_true(f->ticks > 10);
}

static int start(void **state)
{
	struct fixture *f = mem_new(1, sizeof *f);
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;

	f->fds = loop_fd_count();
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	f->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(f->socket >= 0);
	assert_int_equal(
		bind(f->socket, (struct sockaddr *)&address, sizeof address),
		0);
	assert_int_equal(
		getsockname(f->socket, (struct sockaddr *)&address, &length),
		0);
	f->port = ntohs(address.sin_port);

	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(uv_timer_init(&f->loop, &f->tick), 0);
	f->tick.data = f;
	assert_int_equal(uv_timer_start(&f->tick, on_tick, 1, 1), 0);
	f->client.loop = &f->loop;
	last_warning[0] = '\0';
	*state = f;
	return 0;
}

static int stop(void **state)
{
	struct fixture *f = *state;

	loop_client_end(&f->client);
	uv_close((uv_handle_t *)&f->tick, NULL);
	loop_end(&f->loop);
	assert_int_equal(close(f->socket), 0);
	assert_int_equal(loop_fd_count(), f->fds);
	free(f);
	return 0;
}

static void add_list(struct fixture *f, struct text *out, const char *list)
{
	for (; *list != '\0'; list++) {
		switch (*list) {
		case 'D':
			text_add(out, cluster_dir(cluster));
			break;
		case 'P':
			text_add(out, cluster_port(cluster));
			break;
		case 'R':
			text_addf(out, "%d", f->port);
			break;
		default:
			text_add_bytes(out, list, 1);
		}
	}
}

/* In hosts and ports, D stands for the cluster's directory, P for its port
 * and R for the port that refuses. */
static const char *conninfo(
	struct fixture *f, const char *hosts, const char *ports)
{
	struct text out;

	text_init(&out);
	text_addf(&out, "dbname=postgres user=postgres host=");
	add_list(f, &out, hosts);
	text_add(&out, " port=");
	add_list(f, &out, ports);
	(void)snprintf(f->conninfo, sizeof f->conninfo, "%s", out.data);
	text_close(&out);
	return f->conninfo;
}

static void connect_for(
	struct fixture *f, const char *string, uint64_t timeout_ms)
{
	loop_client_open(&f->client, string, timeout_ms);
	f->ticks = 0;
	loop_client_connect(&f->client);
	assert_int_equal(f->client.connects, 0);
	loop_wait(&f->loop, &f->client.connects, 1);
}

static void assert_connected(struct fixture *f)
{
	struct loop_reply *reply;

	assert_string_equal(f->client.connect_err.message, "");
	reply = loop_client_run(&f->client, "SELECT 'here'");
	assert_string_equal(reply->results[0], "here\n");
}

static void test_parameters(void **state)
{
	struct fixture *f = *state;
	struct loop_reply *reply;

	connect_for(f, cluster_conninfo(cluster, "postgres", "postgres"),
		LOOP_LIMIT_MS);
	assert_true(pgc_server_version(f->client.pgc) >= 110000);
	reply = loop_client_run(&f->client,
		"SELECT current_setting('application_name'), "
		"current_setting('client_encoding'), pg_backend_pid() > 0");
	assert_string_equal(reply->results[0], "backfilld test|UTF8|t\n");
}

static void test_uri_and_overrides(void **state)
{
	struct fixture *f = *state;
	char uri[512];

	(void)snprintf(uri, sizeof uri,
		"postgresql:///postgres?host=%s&port=%s&user=postgres&"
		"application_name=mine",
		cluster_dir(cluster), cluster_port(cluster));
	connect_for(f, uri, LOOP_LIMIT_MS);
	assert_string_equal(
		loop_client_run(&f->client,
			"SELECT current_setting('application_name')")
			->results[0],
		"mine\n");
}

static void test_environment(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(setenv("PGHOST", cluster_dir(cluster), 1), 0);
	assert_int_equal(setenv("PGPORT", cluster_port(cluster), 1), 0);
	connect_for(f, "dbname=postgres user=postgres", LOOP_LIMIT_MS);
	assert_int_equal(unsetenv("PGHOST"), 0);
	assert_int_equal(unsetenv("PGPORT"), 0);
	assert_connected(f);
}

static void test_bad_conninfo(void **state)
{
	struct fixture *f = *state;

	connect_for(f, "password=open sesame", LOOP_LIMIT_MS);
	assert_int_equal(f->client.connect_err.code, BFE_INPUT);
	assert_string_equal(f->client.connect_err.message,
		"connection string could not be parsed");
	assert_null(strstr(f->client.connect_err.hint, "sesame"));
}

static void test_server_refuses(void **state)
{
	struct fixture *f = *state;
	char expected[512];

	connect_for(f, cluster_conninfo(cluster, "nowhere", "postgres"),
		LOOP_LIMIT_MS);
	(void)snprintf(expected, sizeof expected,
		"connection to server on socket \"%s/.s.PGSQL.%s\" failed: "
		"FATAL:  database \"nowhere\" does not exist",
		cluster_dir(cluster), cluster_port(cluster));
	assert_int_equal(f->client.connect_err.code, BFE_CONNECT);
	assert_string_equal(f->client.connect_err.message, expected);
	assert_string_equal(f->client.trace.data, "connect, ");

	/* It can only be closed; requests are told so. */
	assert_int_equal(
		loop_client_run(&f->client, "SELECT 1")->err.code, BFE_LOST);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	char expected[512];

	connect_for(f, conninfo(f, "127.0.0.1", "R"), LOOP_LIMIT_MS);
	(void)snprintf(expected, sizeof expected,
		"connection to server at \"127.0.0.1\", port %d failed: "
		"Connection refused; Is the server running on that host and "
		"accepting TCP/IP connections?",
		f->port);
	assert_int_equal(f->client.connect_err.code, BFE_CONNECT);
	assert_string_equal(f->client.connect_err.message, expected);
}

static void test_host_lists(void **state)
{
	struct fixture *f = *state;
	static const char *const lists[][2] = {
		{ "127.0.0.1,D", "R,P" },
		{ "D,127.0.0.1", "P,R" },
		{ "127.0.0.1,127.0.0.2,D", "R,R,P" },
		{ "/nowhere,D", "P" },
		{ "missing.invalid,D", "P" },
		{ "D,missing.invalid", "P" },
		{ "two.invalid,one.invalid,D", "R,R,P" },
	};

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		connect_for(f, conninfo(f, lists[i][0], lists[i][1]),
			LOOP_LIMIT_MS);
		assert_connected(f);
		if (i + 1 < sizeof lists / sizeof lists[0]) {
			loop_client_end(&f->client);
		}
	}
	assert_string_equal(last_warning,
		"test: could not translate host name \"missing.invalid\" to "
		"address: unknown node or service -> host is left out");
}

/* The server that is not the one we want closes nothing by itself: libpq
 * does, and goes on with the next host on the same socket number. */
static void test_host_list_by_role(void **state)
{
	struct fixture *f = *state;
	char string[600];

	(void)snprintf(string, sizeof string,
		"%s target_session_attrs=read-only",
		conninfo(f, "D,127.0.0.1,D", "P,R,P"));
	connect_for(f, string, LOOP_LIMIT_MS);
	assert_int_equal(f->client.connect_err.code, BFE_CONNECT);
	assert_non_null(strstr(
		f->client.connect_err.message, "session is not read-only"));
	assert_non_null(
		strstr(f->client.connect_err.message, "Connection refused"));
}

static void test_every_address_is_tried(void **state)
{
	struct fixture *f = *state;
	const char *message = f->client.connect_err.message;

	connect_for(f, conninfo(f, "two.invalid", "R"), LOOP_LIMIT_MS);
	assert_non_null(strstr(message, "at \"127.0.0.1\", port"));
	assert_non_null(strstr(message, "at \"127.0.0.2\", port"));
}

static void test_name_not_found(void **state)
{
	struct fixture *f = *state;

	connect_for(f, conninfo(f, "missing.invalid", "P"), LOOP_LIMIT_MS);
	assert_int_equal(f->client.connect_err.code, BFE_CONNECT);
	assert_string_equal(f->client.connect_err.message,
		"could not translate host name \"missing.invalid\" to "
		"address: unknown node or service");
}

/* The list's lengths are libpq's to complain about. */
static void test_unaligned_list(void **state)
{
	struct fixture *f = *state;

	connect_for(
		f, conninfo(f, "missing.invalid,D", "1,2,3"), LOOP_LIMIT_MS);
	assert_int_equal(f->client.connect_err.code, BFE_CONNECT);
	assert_string_equal(f->client.connect_err.message,
		"could not match 3 port numbers to 2 hosts");
}

/* The lookup goes on while we are told, close, and are gone. */
static void test_slow_name(void **state)
{
	struct fixture *f = *state;

	hold_slow(1);
	connect_for(f, conninfo(f, "slow.invalid,D", "P"), 300);
	assert_int_equal(f->client.connect_err.code, BFE_TIMEOUT);
	assert_string_equal(f->client.connect_err.message,
		"no address of host \"slow.invalid\" was found within "
		"300 ms");
	assert_loop_turned(f);
	loop_client_close(&f->client);
	loop_wait(&f->loop, &f->client.closes, 1);
	hold_slow(0);
}

static void write_service(const struct fixture *f, const char *host)
{
	char path[512];
	FILE *file;

	(void)snprintf(
		path, sizeof path, "%s/service.conf", cluster_dir(cluster));
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fprintf(file, "[here]\nhost=%s\nport=%d\nuser=postgres\n",
			    host, f->port) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(setenv("PGSERVICEFILE", path, 1), 0);
}

/* The names of a service file are looked up off the loop, too. */
static void test_service(void **state)
{
	struct fixture *f = *state;

	write_service(f, "slow.invalid");
	hold_slow(1);
	connect_for(f, "service=here dbname=postgres", 300);
	assert_string_equal(f->client.connect_err.message,
		"no address of host \"slow.invalid\" was found within "
		"300 ms");
	assert_loop_turned(f);
	loop_client_end(&f->client);
	hold_slow(0);

	write_service(f, "two.invalid");
	connect_for(f, "service=here dbname=postgres", LOOP_LIMIT_MS);
	assert_non_null(strstr(
		f->client.connect_err.message, "at \"127.0.0.2\", port"));
	loop_client_end(&f->client);

	connect_for(f, "service=there dbname=postgres", LOOP_LIMIT_MS);
	assert_string_equal(f->client.connect_err.message,
		"definition of service \"there\" not found");
	assert_int_equal(unsetenv("PGSERVICEFILE"), 0);
}

static void on_five_seconds(uv_timer_t *timer)
{
	hold_slow(0);
	uv_close((uv_handle_t *)timer, NULL);
}

/* For as long as a name server usually is given. */
static void test_very_slow_name(void **state)
{
	struct fixture *f = *state;
	static struct loop_ticker ticker;
	static uv_timer_t timer;

	hold_slow(1);
	assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
	assert_int_equal(uv_timer_start(&timer, on_five_seconds, 5000, 0), 0);
	loop_ticker_start(&f->loop, &ticker);
	connect_for(f, conninfo(f, "slow.invalid,D", "P"), LOOP_LIMIT_MS);
	assert_connected(f);
	loop_ticker_end(&ticker);
}

/* It accepts (its kernel does) and never answers. */
static void test_silent_server(void **state)
{
	struct fixture *f = *state;
	char expected[256];

	assert_int_equal(listen(f->socket, 8), 0);
	connect_for(f, conninfo(f, "127.0.0.1", "R"), 300);
	(void)snprintf(expected, sizeof expected,
		"server at \"127.0.0.1\", port %d did not complete the "
		"connection within 300 ms",
		f->port);
	assert_int_equal(f->client.connect_err.code, BFE_TIMEOUT);
	assert_string_equal(f->client.connect_err.message, expected);
	assert_string_equal(f->client.trace.data, "timeout, ");
	assert_loop_turned(f);
}

/* With a full backlog not even the kernel answers. */
static void test_full_backlog(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fillers[8];

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)f->port);
	assert_int_equal(listen(f->socket, 0), 0);
	for (size_t i = 0; i < 8; i++) {
		fillers[i] = socket(
			AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&address,
			sizeof address);
	}
	connect_for(f, conninfo(f, "127.0.0.1", "R"), 300);
	assert_int_equal(f->client.connect_err.code, BFE_TIMEOUT);
	assert_loop_turned(f);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(close(fillers[i]), 0);
	}
}

static void test_requests_wait_for_the_connection(void **state)
{
	struct fixture *f = *state;
	struct pgc_request *request = pgc_request_new(LOOP_LIMIT_MS);

	loop_client_open(
		&f->client, conninfo(f, "127.0.0.1,D", "R,P"), LOOP_LIMIT_MS);
	pgc_add(request, "SELECT 1");
	(void)loop_client_send(&f->client, request);
	loop_client_connect(&f->client);
	loop_wait(&f->loop, &f->client.done, 1);
	assert_string_equal(f->client.trace.data, "ready, 1 ok, ");
	loop_client_end(&f->client);

	request = pgc_request_new(LOOP_LIMIT_MS);
	loop_client_open(
		&f->client, conninfo(f, "127.0.0.1", "R"), LOOP_LIMIT_MS);
	loop_client_connect(&f->client);
	pgc_add(request, "SELECT 1");
	(void)loop_client_send(&f->client, request);
	loop_wait(&f->loop, &f->client.done, 1);
	assert_string_equal(f->client.trace.data, "connect, 1 lost, ");
}

static int start_cluster(void **state)
{
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	loop_end(&loop);
	log_set_sink(keep_warning);
	cluster = cluster_start();
	return cluster == NULL;
}

static int stop_cluster(void **state)
{
	(void)state;
	cluster_stop(cluster);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_parameters),
		TEST(test_uri_and_overrides),
		TEST(test_environment),
		TEST(test_bad_conninfo),
		TEST(test_server_refuses),
		TEST(test_refused),
		TEST(test_host_lists),
		TEST(test_host_list_by_role),
		TEST(test_every_address_is_tried),
		TEST(test_name_not_found),
		TEST(test_unaligned_list),
		TEST(test_slow_name),
		TEST(test_service),
		TEST(test_very_slow_name),
		TEST(test_silent_server),
		TEST(test_full_backlog),
		TEST(test_requests_wait_for_the_connection),
	};

	return cmocka_run_group_tests_name(
		"pgc_connect", tests, start_cluster, stop_cluster);
}
