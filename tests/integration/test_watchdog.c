/* test_watchdog.c: a daemon of which one timer never comes, as if the code
 * had forgotten it, goes on in all else and tells the watchdog no more.
 *
 * This program is linked with the daemon's code and has a uv_timer_start()
 * of its own, which forgets the timer that repeats after DEAD_MS. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <uv.h>

#include "ops/service.h"
#include "service_manager.h"
#include "sql.h"

/* The interval of the poll; no other timer has it. */
enum { DEAD_MS = 777, LIMIT_SECONDS = 90 };

static int is_poll_dead;

int uv_timer_start(uv_timer_t *handle, uv_timer_cb cb, uint64_t timeout_ms,
	uint64_t repeat_ms)
{
	int (*start)(uv_timer_t *, uv_timer_cb, uint64_t, uint64_t);
	void *symbol = dlsym(RTLD_NEXT, "uv_timer_start");

	memcpy(&start, &symbol, sizeof start);
	if (is_poll_dead && repeat_ms == DEAD_MS) {
		return 0;
	}
	return start(handle, cb, timeout_ms, repeat_ms);
}

static struct cluster *cluster;
static struct manager manager;
static char path[2048], log_path[2060];

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	cluster_stop(cluster);
	return 0;
}

static void write_config(void)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fprintf(file,
		"databases:\n"
		"  - name: t\n"
		"    dsn: \"%s\"\n"
		"    expected_standbys: []\n"
		"daemon: {lease: 1s, poll_interval: %dms}\n",
		cluster_conninfo(cluster, "t", "backfilld"), DEAD_MS);
	assert_int_equal(fclose(file), 0);
}

/* The daemon, as a child of ours. */
static pid_t run_service(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(fd, STDOUT_FILENO);
		(void)dup2(fd, STDERR_FILENO);
		setenv("NOTIFY_SOCKET", manager.address.sun_path, 1);
		setenv("WATCHDOG_USEC", "400000", 1);
		_exit(service_run(path, 1));
	}
	assert_true(pid > 0);
	return pid;
}

static int log_has(const char *text)
{
	char content[65536];
	size_t length;
	FILE *file = fopen(log_path, "re");

	if (file == NULL) {
		return 0;
	}
	length = fread(content, 1, sizeof content - 1, file);
	content[length] = '\0';
	fclose(file);
	return strstr(content, text) != NULL;
}

static size_t count_watchdogs(void)
{
	size_t count = 0;

	manager_listen(&manager);
	for (const char *at = manager.heard.data;
		(at = strstr(at, "WATCHDOG=1\n")) != NULL; at++) {
		count++;
	}
	return count;
}

/* It takes some ticks. */
static void run_job(void)
{
	PGconn *app = cluster_connect(cluster, "t", "app");

	sql_exec(app,
		"CREATE TABLE slow (id int PRIMARY KEY, n int);"
		"INSERT INTO slow SELECT generate_series(1, 10);"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows)"
		" VALUES ('slow', 'slow',"
		" 'n = length(pg_sleep(0.2)::text)', 1, 1)");
	PQfinish(app);
}

static void test_silence_when_a_timer_is_lost(void **state)
{
	uint64_t deadline = wait_deadline(LIMIT_SECONDS);
	size_t count;
	pid_t pid;
	int status;

	(void)state;
	(void)snprintf(
		path, sizeof path, "%s/watchdog.yaml", cluster_dir(cluster));
	(void)snprintf(log_path, sizeof log_path, "%s.log", path);
	write_config();
	manager_open(&manager, cluster);
	is_poll_dead = 1;
	pid = run_service();
	manager_wait(&manager, "READY=1\n");
	manager_wait(&manager, "WATCHDOG=1\n");
	while (!log_has(" error: t: nothing moves any more -> no word to the"
			" watchdog\n")) {
		if (!wait_again(deadline)) {
			fail_msg("nobody saw that nothing moves");
		}
	}
	count = count_watchdogs();
	/* It is up: it finds a job by its notification and, tick by tick,
	 * tells how it runs; so are a reload and the end. */
	run_job();
	manager_wait(&manager, "STATUS=t: 1 running, ");
	manager_wait(&manager, "STATUS=t: no job\n");
	assert_int_equal(kill(pid, SIGHUP), 0);
	manager_wait(&manager, "RELOADING=1\n");
	assert_int_equal(kill(pid, SIGTERM), 0);
	manager_wait(&manager, "STOPPING=1\n");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count_watchdogs(), count);
	manager_close(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silence_when_a_timer_is_lost),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
