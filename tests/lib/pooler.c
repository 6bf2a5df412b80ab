#include "pooler.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "child.h"
#include "wait.h"

enum { START_SECONDS = 30, PATH_BYTES = 256 };

#define POOLER_PROGRAM "/usr/sbin/pgbouncer"

struct pooler {
	struct cluster *cluster;
	int port; /* of the socket's name */
	char config[PATH_BYTES];
	char log[PATH_BYTES];
	char conninfo[PATH_BYTES + 64];
	pid_t pid; /* 0: none */
};

int pooler_exists(void)
{
	return access(POOLER_PROGRAM, X_OK) == 0;
}

static void write_file(
	const struct pooler *p, const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	if (geteuid() == 0) {
		assert_return_code(
			chown(path, cluster_run_as(p->cluster), (gid_t)-1),
			errno);
	}
}

static void configure(struct pooler *p, const char *mode)
{
	const char *dir = cluster_dir(p->cluster);
	char users[PATH_BYTES], text[1024];

	(void)snprintf(users, sizeof users, "%s/pooler-%d.users", dir, p->port);
	write_file(p, users,
		"\"backfilld\" \"\"\n\"app\" \"\"\n"
		"\"postgres\" \"\"\n");
	(void)snprintf(text, sizeof text,
		"[databases]\n* = host=%s port=%s\n"
		"[pgbouncer]\nlisten_port = %d\nunix_socket_dir = %s\n"
		"auth_type = trust\nauth_file = %s\npool_mode = %s\n"
		"default_pool_size = 3\nmin_pool_size = 3\n"
		"server_round_robin = 1\nmax_client_conn = 100\n"
		"server_login_retry = 1\n",
		dir, cluster_port(p->cluster), p->port, dir, users, mode);
	write_file(p, p->config, text);
}

static int takes_connections(struct pooler *p)
{
	PGconn *conn = PQconnectdb(pooler_conninfo(p, "postgres", "postgres"));
	int is_ready = PQstatus(conn) == CONNECTION_OK;

	PQfinish(conn);
	return is_ready;
}

static void spawn(struct pooler *p)
{
	char program[] = POOLER_PROGRAM;
	char *const argv[] = { program, p->config, NULL };
	struct child child = {
		.argv = argv,
		.directory = cluster_dir(p->cluster),
		.uid = cluster_run_as(p->cluster),
		.output = open(p->log,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644),
	};
	uint64_t deadline = wait_deadline(START_SECONDS);

	assert_true(child.output >= 0);
	p->pid = child_start(&child);
	close(child.output);
	while (!takes_connections(p)) {
		if (child_wait(p->pid, 0, NULL)) {
			p->pid = 0;
			fail_msg("PgBouncer did not start, see %s", p->log);
		}
		if (!wait_again(deadline)) {
			fail_msg("PgBouncer takes no connections, see %s",
				p->log);
		}
	}
}

void pooler_kill(struct pooler *p)
{
	if (p->pid != 0) {
		child_kill(p->pid);
		p->pid = 0;
	}
}

void pooler_restart(struct pooler *p)
{
	assert_int_equal(p->pid, 0);
	spawn(p);
}

static int on_cluster_stop(void *arg)
{
	pooler_kill(arg);
	free(arg);
	return 0;
}

struct pooler *pooler_start(struct cluster *c, const char *mode)
{
	static int number;
	struct pooler *p = mem_new(1, sizeof *p);

	p->cluster = c;
	p->port = 6432 + number++;
	(void)snprintf(p->config, sizeof p->config, "%s/pooler-%d.ini",
		cluster_dir(c), p->port);
	(void)snprintf(p->log, sizeof p->log, "%s/pooler-%d.log",
		cluster_dir(c), p->port);
	cluster_add_hook(c, on_cluster_stop, p);
	configure(p, mode);
	spawn(p);
	return p;
}

void pooler_stop(struct pooler *p)
{
	cluster_remove_hook(p->cluster, p);
	(void)on_cluster_stop(p);
}

const char *pooler_conninfo(
	struct pooler *p, const char *dbname, const char *user)
{
	(void)snprintf(p->conninfo, sizeof p->conninfo,
		"host=%s port=%d dbname=%s user=%s", cluster_dir(p->cluster),
		p->port, dbname, user);
	return p->conninfo;
}
