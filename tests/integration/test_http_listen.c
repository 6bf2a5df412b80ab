/* test_http_listen.c: where is listened, what changes with a reload, and that
 * a place that cannot be had holds up nothing. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "http_drive.h"

static const char HEALTH[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void reload(const char *listen, const char *socket)
{
	daemon_rewrite(shop.daemon, http_yaml(listen, socket));
	assert_return_code(kill(daemon_pid(shop.daemon), SIGHUP), errno);
}

static int start(void **state)
{
	(void)state;
	return http_shop_start(state);
}

/* Each test finds the daemon at port, without a socket. */
static int back(void **state)
{
	(void)state;
	reload(http_place(port), "off");
	http_wait(port, "/healthz", 200, NULL, &reply);
	return 0;
}

static int listen_myself(int at)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)at),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	assert_return_code(bind(fd, (struct sockaddr *)&a, sizeof a), errno);
	assert_return_code(listen(fd, 1), errno);
	return fd;
}

static void wait_until_refused(int at)
{
	uint64_t deadline = wait_deadline(30);
	int fd;

	while ((fd = http_try(at)) >= 0) {
		close(fd);
		if (!wait_again(deadline)) {
			fail_msg("port %d is still listened at", at);
		}
	}
}

/* ---- TCP ---- */

static void test_reload_moves_it(void **state)
{
	int other = http_free_port();

	(void)state;
	reload(http_place(other), "off");
	http_wait(other, "/healthz", 200, NULL, &reply);
	wait_until_refused(port);
	reload("off", "off");
	wait_until_refused(other);
}

/* A connection from before the reload gets its answer. */
static void test_reload_keeps_connections(void **state)
{
	int fd = http_open(port);

	(void)state;
	http_say(fd, "GET /healthz HTTP/1.1\r\n");
	reload("off", "off");
	wait_until_refused(port);
	http_say(fd, "Host: localhost\r\n\r\n");
	http_read(fd, &reply);
	assert_int_equal(reply.status, 200);
}

static void test_bad_place_changes_nothing(void **state)
{
	(void)state;
	reload("nowhere", "off");
	daemon_wait_log(shop.daemon,
		"invalid value for option \"http.listen\": \"nowhere\"", 30);
	http_wait(port, "/metrics", 200,
		"backfilld_config_last_reload_successful 0", &reply);
	reload(http_place(port), "off");
	http_wait(port, "/metrics", 200,
		"backfilld_config_last_reload_successful 1", &reply);
}

static void test_name_of_a_host(void **state)
{
	int other = http_free_port();
	char place[64];
	int fd;

	(void)state;
	/* The resolver looks it up: it is no address, nor "localhost". */
	(void)snprintf(place, sizeof place, "LocalHost:%d", other);
	reload(place, "off");
	fd = http_open(other);
	http_say(fd, HEALTH);
	http_read(fd, &reply);
	assert_int_equal(reply.status, 200);
}

static void test_name_that_is_none(void **state)
{
	(void)state;
	reload("no-such-host.invalid:7432", "off");
	daemon_wait_log(shop.daemon,
		"could not listen on no-such-host.invalid:7432: ", 60);
}

/* Somebody else has the port: the daemon says so once, works, and takes it
 * as soon as it may. */
static void test_port_is_taken(void **state)
{
	static const char words[] = "Address already in use -> again every"
				    " 10 s, jobs go on";
	int taken = http_free_port();
	int fd = listen_myself(taken);
	const char *found;

	(void)state;
	reload(http_place(taken), "off");
	daemon_wait_log(shop.daemon, words, 30);
	job_submit("taken", "goods", 20, "n = n + 1", NULL, NULL);
	job_wait("taken", "succeeded");
	close(fd);
	http_wait(taken, "/healthz", 200, NULL, &reply);
	found = strstr(daemon_log(shop.daemon), words);
	assert_null(strstr(found + 1, words));
}

/* ---- a socket in the file system ---- */

static const char *socket_path(void)
{
	static char path[PATH_MAX];

	(void)snprintf(
		path, sizeof path, "%s/h.sock", cluster_dir(shop.cluster));
	return path;
}

static int ask_socket(void)
{
	int fd = http_open_path(socket_path());

	http_say(fd, HEALTH);
	http_read(fd, &reply);
	return reply.status;
}

static void wait_until_gone(const char *path)
{
	uint64_t deadline = wait_deadline(30);

	while (access(path, F_OK) == 0) {
		if (!wait_again(deadline)) {
			fail_msg("%s is still there", path);
		}
	}
}

static void test_socket(void **state)
{
	(void)state;
	reload("off", socket_path());
	assert_int_equal(ask_socket(), 200);
	reload("off", "off");
	wait_until_gone(socket_path());
}

/* What a daemon that was killed has left behind. */
static void test_socket_that_was_left(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_true(strlen(socket_path()) < sizeof a.sun_path);
	memcpy(a.sun_path, socket_path(), strlen(socket_path()) + 1);
	assert_return_code(bind(fd, (struct sockaddr *)&a, sizeof a), errno);
	assert_return_code(chmod(socket_path(), 0777), errno);
	close(fd);
	reload("off", socket_path());
	assert_int_equal(ask_socket(), 200);
}

static void test_file_is_not_removed(void **state)
{
	FILE *file = fopen(socket_path(), "we");

	(void)state;
	assert_non_null(file);
	fclose(file);
	/* Whoever may write it may connect to it, and is refused. */
	assert_return_code(chmod(socket_path(), 0666), errno);
	reload("off", socket_path());
	daemon_wait_log(shop.daemon, "h.sock: Address already in use", 30);
	assert_int_equal(access(socket_path(), F_OK), 0);
	assert_int_equal(unlink(socket_path()), 0);
}

/* ---- the end ---- */

/* Clients in every state: connected, half a request, waiting for the
 * database, and one that does not read what it gets. */
static int stop_with_clients(void)
{
	int fds[4], was_waiting;
	char byte;

	for (size_t i = 0; i < 4; i++) {
		fds[i] = http_open(port);
	}
	http_say(fds[1], "GET /healthz HT");
	http_slow_looks();
	http_say(
		fds[2], "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
	/* Up to 2 s, when the look is given up. */
	sql_wait(shop.db, 30,
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE"
		" application_name = 'backfilld looks' AND state = 'active'"
		" AND wait_event = 'PgSleep')");
	http_say(fds[3], "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
	assert_int_equal(daemon_stop(shop.daemon), 0);
	http_quick_looks();
	was_waiting = read(fds[2], &byte, 1) <= 0;
	assert_has_not(daemon_log(shop.daemon), "a handle was left open");
	for (size_t i = 0; i < 4; i++) {
		close(fds[i]);
	}
	shop_restart_daemon();
	return was_waiting;
}

/* On a slow machine the look may be given up before the daemon ends. */
static void test_stop_with_clients(void **state)
{
	int tries = 5;

	(void)state;
	while (!stop_with_clients()) {
		assert_int_not_equal(--tries, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_reload_moves_it, back),
		cmocka_unit_test_setup(test_reload_keeps_connections, back),
		cmocka_unit_test_setup(test_bad_place_changes_nothing, back),
		cmocka_unit_test_setup(test_name_of_a_host, back),
		cmocka_unit_test_setup(test_name_that_is_none, back),
		cmocka_unit_test_setup(test_port_is_taken, back),
		cmocka_unit_test_setup(test_socket, back),
		cmocka_unit_test_setup(test_socket_that_was_left, back),
		cmocka_unit_test_setup(test_file_is_not_removed, back),
		cmocka_unit_test_setup(test_stop_with_clients, back),
	};

	return cmocka_run_group_tests(tests, start, http_shop_stop);
}
