/* A server is a child of ours. Beside it stands a keeper, a fork of the test
 * program that does nothing until that program dies without having stopped
 * the server (an abort, a kill): both then get a signal from the kernel, the
 * server shuts down, the keeper shows the log and removes the directory.
 *
 *	cluster_start -> running -> cluster_stop: hooks, fast stop, removal
 *	                         -> exit: the same, by at_exit()
 *	                         -> death: SIGQUIT to the server, keeper
 */
#include "cluster_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "child.h"
#include "keeper.h"
#include "logs.h"
#include "pgdata.h"
#include "wait.h"

enum { START_SECONDS = 60, STOP_SECONDS = 30 };

static struct {
	pid_t pid; /* the test program, not a fork of it */
	struct cluster *clusters;
	struct text report; /* log tails, for a program that fails */
	int faults;
} program;

static const char settings[] = "\n"
			       "listen_addresses = ''\n"
			       "port = " CLUSTER_PORT "\n"
			       "unix_socket_permissions = 0777\n"
			       "fsync = off\n"
			       "shared_buffers = 16MB\n"
			       "max_connections = 100\n"
			       "max_prepared_transactions = 10\n"
			       "min_wal_size = 16MB\n"
			       "max_wal_size = 1GB\n"
			       "log_line_prefix = '%m [%p] %a %u@%d %e '\n"
			       "log_statement = all\n"
			       "log_connections = on\n"
			       "log_disconnections = on\n"
			       "log_lock_waits = on\n";

/* ---- the server */

/* As pg_ctl does: the eighth line of postmaster.pid is the status. */
static int is_ready(const struct cluster *c)
{
	char path[sizeof c->data + 16], line[256] = "";
	FILE *file;
	int pid = 0, number = 0;

	(void)snprintf(path, sizeof path, "%s/postmaster.pid", c->data);
	file = fopen(path, "re");
	if (file == NULL) {
		return 0;
	}
	while (number < 8 && fgets(line, sizeof line, file) != NULL) {
		if (++number == 1) {
			pid = atoi(line);
		}
	}
	fclose(file);
	return pid == c->server && number == 8 &&
		strncmp(line, "ready", 5) == 0;
}

void cluster_start_server(struct cluster *c)
{
	char postgres[512];
	char *const argv[] = { postgres, "-D", c->data, "-k", c->dir, NULL };
	struct child child = {
		.argv = argv,
		.directory = c->dir,
		.uid = c->uid,
		.output = open(c->log,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644),
		/* Of the signals that end it this one is the quickest that
		 * still ends its children and frees its shared memory. */
		.death_signal = SIGQUIT,
	};
	uint64_t deadline = wait_deadline(START_SECONDS);

	assert_true(child.output >= 0);
	pgdata_program(postgres, sizeof postgres, "postgres");
	c->server = child_start(&child);
	close(child.output);
	while (!is_ready(c)) {
		if (waitpid(c->server, NULL, WNOHANG) == c->server) {
			c->server = 0;
			logs_print_tails(c->dir);
			fail_msg("the server did not start");
		}
		if (!wait_again(deadline)) {
			logs_print_tails(c->dir);
			fail_msg("the server is not ready after %d s",
				START_SECONDS);
		}
	}
}

static void stop_server(struct cluster *c, int signo)
{
	if (c->server == 0) {
		return;
	}
	(void)kill(c->server, signo);
	if (!child_wait(c->server, wait_deadline(STOP_SECONDS), NULL)) {
		(void)kill(c->server, SIGQUIT);
		if (!child_wait(c->server, wait_deadline(STOP_SECONDS), NULL)) {
			child_kill(c->server);
		}
	}
	c->server = 0;
}

/* ---- the end */

static int end_hooks(struct cluster *c)
{
	int faults = 0;

	while (c->hooks != NULL) {
		struct hook *hook = c->hooks;

		c->hooks = hook->next;
		faults += hook->on_stop(hook->arg);
		free(hook);
	}
	return faults;
}

static void free_cluster(struct cluster *c)
{
	struct cluster **link = &program.clusters;

	while (*link != c) {
		link = &(*link)->next;
	}
	*link = c->next;
	while (c->conninfos != NULL) {
		struct conninfo *info = c->conninfos;

		c->conninfos = info->next;
		free(info->text);
		free(info);
	}
	free(c);
}

/* Nothing in here may fail the test: its longjmp() would leave the rest
 * undone. Returns the number of faults. */
static int destroy(struct cluster *c)
{
	int faults = end_hooks(c);

	stop_server(c, SIGINT);
	faults += logs_count_faults(c->log);
	logs_add_tails(&program.report, c->dir);
	if (faults > 0) {
		logs_print_tails(c->dir);
	}
	program.faults += faults;
	keeper_remove(c->dir);
	if (c->keeper > 0) {
		child_kill(c->keeper);
	}
	free_cluster(c);
	return faults;
}

/* cmocka tells nobody whether a test failed, but main() returns it. */
static void at_exit(int status, void *arg)
{
	(void)arg;
	if (getpid() != program.pid) {
		return;
	}
	while (program.clusters != NULL) {
		(void)destroy(program.clusters);
	}
	if (status != 0) {
		fputs(program.report.data, stderr);
	}
	text_close(&program.report);
	if (status == 0 && program.faults > 0) {
		fprintf(stderr, "%d faults in the servers' logs\n",
			program.faults);
		(void)fflush(NULL);
		_exit(1);
	}
}

/* ---- the contract */

/* Nothing of the environment may change what a connection does. */
static void clear_environment(void)
{
	extern char **environ;
	size_t i = 0;

	while (environ[i] != NULL) {
		char name[64];
		size_t length = strcspn(environ[i], "=");

		if (strncmp(environ[i], "PG", 2) == 0 &&
			strncmp(environ[i], "PG_", 3) != 0 &&
			length < sizeof name) {
			memcpy(name, environ[i], length);
			name[length] = '\0';
			(void)unsetenv(name);
		} else {
			i++;
		}
	}
}

static void prepare_program(void)
{
	if (program.pid != 0) {
		return;
	}
	program.pid = getpid();
	text_init(&program.report);
	clear_environment();
	assert_int_equal(on_exit(at_exit, NULL), 0);
}

/* A socket's path has room for 107 bytes, which a long TMPDIR exceeds. */
static void make_directory(struct cluster *c)
{
	const char *base = getenv("TMPDIR");
	size_t limit = sizeof c->dir - sizeof "/.s.PGSQL." CLUSTER_PORT;

	if (base == NULL || *base == '\0' ||
		strlen(base) + strlen("/backfill-XXXXXX") > limit) {
		base = "/tmp";
	}
	(void)snprintf(c->dir, sizeof c->dir, "%s/backfill-XXXXXX", base);
	assert_non_null(mkdtemp(c->dir));
	assert_return_code(chmod(c->dir, 0755), errno);
	if (geteuid() == 0) {
		assert_return_code(chown(c->dir, c->uid, (gid_t)-1), errno);
	}
	(void)snprintf(c->data, sizeof c->data, "%s/data", c->dir);
	(void)snprintf(c->log, sizeof c->log, "%s/server.log", c->dir);
}

static void configure(const struct cluster *c)
{
	char path[sizeof c->data + 32];
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/postgresql.conf", c->data);
	file = fopen(path, "ae");
	assert_non_null(file);
	assert_true(fputs(settings, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

struct cluster *cluster_new(void)
{
	struct cluster *c;

	prepare_program();
	c = mem_new(1, sizeof *c);
	c->next = program.clusters;
	program.clusters = c;
	c->uid = pgdata_uid();
	make_directory(c);
	c->keeper = keeper_start(c->dir);
	return c;
}

struct cluster *cluster_start(void)
{
	struct cluster *c = cluster_new();

	pgdata_create(c->data);
	configure(c);
	cluster_start_server(c);
	return c;
}

void cluster_stop(struct cluster *c)
{
	if (c != NULL && destroy(c) > 0) {
		fail_msg("a log tells of faults, see above");
	}
}

void cluster_restart(struct cluster *c)
{
	stop_server(c, SIGINT);
	cluster_start_server(c);
}

void cluster_crash(struct cluster *c)
{
	stop_server(c, SIGQUIT);
	cluster_start_server(c);
}

void cluster_halt(struct cluster *c)
{
	stop_server(c, SIGQUIT);
}

const char *cluster_conninfo(
	struct cluster *c, const char *dbname, const char *user)
{
	struct conninfo *info;
	struct text text;

	text_init(&text);
	text_addf(&text, "host=%s port=%s dbname=%s", c->dir, CLUSTER_PORT,
		dbname);
	if (user != NULL) {
		text_addf(&text, " user=%s", user);
	}
	for (info = c->conninfos; info != NULL; info = info->next) {
		if (strcmp(info->text, text.data) == 0) {
			text_close(&text);
			return info->text;
		}
	}
	info = mem_new(1, sizeof *info);
	info->text = text_take(&text);
	info->next = c->conninfos;
	c->conninfos = info;
	return info->text;
}

PGconn *cluster_connect(struct cluster *c, const char *dbname, const char *user)
{
	PGconn *conn = PQconnectdb(cluster_conninfo(c, dbname, user));

	if (PQstatus(conn) != CONNECTION_OK) {
		char message[512];

		(void)snprintf(
			message, sizeof message, "%s", PQerrorMessage(conn));
		PQfinish(conn);
		fail_msg("%s", message);
	}
	return conn;
}

const char *cluster_dir(const struct cluster *c)
{
	return c->dir;
}

const char *cluster_port(const struct cluster *c)
{
	(void)c;
	return CLUSTER_PORT;
}

uid_t cluster_run_as(const struct cluster *c)
{
	return c->uid;
}

void cluster_add_hook(struct cluster *c, int (*on_stop)(void *arg), void *arg)
{
	struct hook *hook = mem_new(1, sizeof *hook);

	*hook = (struct hook){ c->hooks, on_stop, arg };
	c->hooks = hook;
}

void cluster_remove_hook(struct cluster *c, void *arg)
{
	struct hook **link = &c->hooks;

	while (*link != NULL) {
		struct hook *hook = *link;

		if (hook->arg == arg) {
			*link = hook->next;
			free(hook);
			return;
		}
		link = &hook->next;
	}
}
