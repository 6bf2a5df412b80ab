#include "ops/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_all.h"

/* ---- a manager: the socket that a daemon is given ---- */

struct manager {
	int fd;
	char name[sizeof((struct sockaddr_un *)0)->sun_path];
};

static char scratch[] = "/tmp/test_notify.XXXXXX";

/* With '@' it is an abstract one. */
static void manager_open(struct manager *m, char first)
{
	const struct timeval patience = { .tv_sec = 10 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length;

	(void)snprintf(m->name, sizeof m->name, "%c%s/notify", first,
		scratch + (first == '/' ? 1 : 0));
	memcpy(address.sun_path, m->name, strlen(m->name));
	length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		strlen(m->name));
	if (first == '@') {
		address.sun_path[0] = '\0';
	}
	m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(m->fd >= 0);
	assert_int_equal(setsockopt(m->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
				 sizeof patience),
		0);
	assert_return_code(
		bind(m->fd, (struct sockaddr *)&address, length), errno);
	setenv("NOTIFY_SOCKET", m->name, 1);
}

static void manager_close(struct manager *m)
{
	close(m->fd);
	if (m->name[0] == '/') {
		(void)unlink(m->name);
	}
}

static void expect(const struct manager *m, const char *lines)
{
	char buffer[1024];
	ssize_t length = recv(m->fd, buffer, sizeof buffer - 1, 0);

	assert_return_code(length, errno);
	buffer[length] = '\0';
	assert_string_equal(buffer, lines);
}

static int setup(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return 0;
}

/* ---- tests ---- */

static void test_without_a_manager(void **state)
{
	struct notify n;
	struct err e;

	(void)state;
	setenv("WATCHDOG_USEC", "30000000", 1);
	assert_int_equal(notify_open(&n, &e), 0);
	assert_int_equal(n.fd, -1);
	assert_int_equal(n.watchdog_ms, 0);
	assert_true(notify_send(&n, "READY=1"));
	notify_close(&n);
}

static void tell(char first)
{
	struct manager m;
	struct notify n;
	struct err e;

	manager_open(&m, first);
	assert_int_equal(notify_open(&n, &e), 0);
	assert_true(notify_send(&n, "READY=1\nSTATUS=shop: no job"));
	expect(&m, "READY=1\nSTATUS=shop: no job");
	assert_true(notify_send(&n, "STOPPING=1"));
	expect(&m, "STOPPING=1");
	notify_close(&n);
	manager_close(&m);
}

static void test_socket_with_a_path(void **state)
{
	(void)state;
	tell('/');
}

static void test_abstract_socket(void **state)
{
	(void)state;
	tell('@');
}

/* systemd.service(5), Type=notify-reload: the time must be that of
 * CLOCK_MONOTONIC, when the reload began. */
static void test_reloading_has_the_time(void **state)
{
	struct manager m;
	struct notify n;
	struct timespec before, after;
	char buffer[256];
	uint64_t usec;
	ssize_t length;
	struct err e;

	(void)state;
	manager_open(&m, '/');
	assert_int_equal(notify_open(&n, &e), 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &before);
	notify_reloading(&n);
	(void)clock_gettime(CLOCK_MONOTONIC, &after);
	length = recv(m.fd, buffer, sizeof buffer - 1, 0);
	assert_return_code(length, errno);
	buffer[length] = '\0';
	assert_int_equal(
		sscanf(buffer, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &usec),
		1);
	assert_in_range(usec,
		(uint64_t)before.tv_sec * 1000000 +
			(uint64_t)before.tv_nsec / 1000,
		(uint64_t)after.tv_sec * 1000000 +
			(uint64_t)after.tv_nsec / 1000);
	notify_close(&n);
	manager_close(&m);
}

static void test_manager_that_is_gone(void **state)
{
	struct manager m;
	struct notify n;
	struct err e;

	(void)state;
	manager_open(&m, '/');
	assert_int_equal(notify_open(&n, &e), 0);
	manager_close(&m);
	assert_false(notify_send(&n, "READY=1"));
	notify_close(&n);
}

/* One that does not read must not stop us. */
static void test_manager_that_does_not_listen(void **state)
{
	struct manager m;
	struct notify n;
	struct err e;
	int sent = 0;

	(void)state;
	manager_open(&m, '/');
	assert_int_equal(notify_open(&n, &e), 0);
	while (sent < 100000 && notify_send(&n, "WATCHDOG=1")) {
		sent++;
	}
	assert_in_range(sent, 1, 99999);
	expect(&m, "WATCHDOG=1");
	assert_true(notify_send(&n, "READY=1"));
	notify_close(&n);
	manager_close(&m);
}

static void test_addresses_that_are_none(void **state)
{
	static const char too_long[] =
		"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const char *const names[] = { "", "/", "@", "notify",
		"vsock:2:1234", too_long };
	struct notify n;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		assert_int_equal(notify_open(&n, &e), BFE_INPUT);
		assert_string_equal(e.message,
			"NOTIFY_SOCKET is no address that a socket can have");
		assert_true(notify_send(&n, "READY=1"));
		notify_close(&n);
	}
}

static void expect_watchdog(const char *usec, const char *pid, uint64_t ms)
{
	struct manager m;
	struct notify n;
	struct err e;

	setenv("WATCHDOG_USEC", usec, 1);
	if (pid != NULL) {
		setenv("WATCHDOG_PID", pid, 1);
	}
	manager_open(&m, '@');
	assert_int_equal(notify_open(&n, &e), 0);
	assert_int_equal(n.watchdog_ms, ms);
	notify_close(&n);
	manager_close(&m);
	unsetenv("WATCHDOG_PID");
}

static void test_watchdog(void **state)
{
	char pid[32];

	(void)state;
	(void)snprintf(pid, sizeof pid, "%d", (int)getpid());
	expect_watchdog("30000000", NULL, 30000);
	expect_watchdog("30000000", pid, 30000);
	expect_watchdog("30000000", "1", 0); /* meant for another process */
	expect_watchdog("30000000", "", 0);
	expect_watchdog("0", pid, 0);
	expect_watchdog("", pid, 0);
	expect_watchdog("30s", pid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_without_a_manager, setup),
		cmocka_unit_test_setup(test_socket_with_a_path, setup),
		cmocka_unit_test_setup(test_abstract_socket, setup),
		cmocka_unit_test_setup(test_reloading_has_the_time, setup),
		cmocka_unit_test_setup(test_manager_that_is_gone, setup),
		cmocka_unit_test_setup(
			test_manager_that_does_not_listen, setup),
		cmocka_unit_test_setup(test_addresses_that_are_none, setup),
		cmocka_unit_test_setup(test_watchdog, setup),
	};
	int failures;

	if (mkdtemp(scratch) == NULL) {
		perror(scratch);
		return 1;
	}
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(scratch);
	return failures;
}
