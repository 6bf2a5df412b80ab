#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "child.h"
#include "pgdata.h"
#include "sql.h"
#include "wait.h"

enum { STOP_SECONDS = 30, ARGUMENTS = 32, OUTPUT_BYTES = 16384 };

struct daemon {
	struct cluster *cluster;
	char program[PATH_MAX];
	char config[PATH_MAX];
	char *databases; /* of the file; NULL: it is the test's own */
	char log[PATH_MAX];
	off_t started_at; /* offset in the log */
	struct text text; /* what daemon_log() returned */
	pid_t pid;	  /* 0: none */
	int code;	  /* of the last one that ended */
	int crashes;
};

/* ---- the log */

static void read_log(struct daemon *d, off_t from)
{
	char part[4096];
	FILE *file = fopen(d->log, "re");
	size_t length;

	text_reset(&d->text);
	if (file == NULL) {
		return;
	}
	(void)fseeko(file, from, SEEK_SET);
	while ((length = fread(part, 1, sizeof part, file)) > 0) {
		text_add_bytes(&d->text, part, length);
	}
	fclose(file);
}

const char *daemon_log(struct daemon *d)
{
	read_log(d, 0);
	return d->text.data;
}

int daemon_count_log(struct daemon *d, const char *text)
{
	const char *at = daemon_log(d);
	int count = 0;

	while ((at = strstr(at, text)) != NULL) {
		at += strlen(text);
		count++;
	}
	return count;
}

static void print_log(struct daemon *d)
{
	fprintf(stderr, "---- %s\n%s----\n", d->log, daemon_log(d));
}

/* valgrind says "definitely lost: 0 bytes" too. */
static int has_lost_memory(const char *log)
{
	static const char words[] = "definitely lost: ";

	while ((log = strstr(log, words)) != NULL) {
		log += strlen(words);
		if (*log >= '1' && *log <= '9') {
			return 1;
		}
	}
	return 0;
}

static int count_faults(struct daemon *d)
{
	static const char *const words[] = {
		"Assertion",
		"ERROR: AddressSanitizer",
		"runtime error:",
		"LeakSanitizer",
	};
	const char *log = daemon_log(d);
	int faults = d->crashes + has_lost_memory(log);

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		faults += strstr(log, words[i]) != NULL;
	}
	if (faults > 0) {
		print_log(d);
	}
	return faults;
}

static void check_log(struct daemon *d)
{
	if (count_faults(d) > 0) {
		fail_msg("the daemon's log tells of faults, see above");
	}
}

/* ---- files */

static void write_file(const char *path, const char *text, uid_t uid)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	if (geteuid() == 0) {
		assert_return_code(chown(path, uid, (gid_t)-1), errno);
	}
}

/* Tests run side by side: only one that has a port of its own for it wants
 * HTTP. */
static void write_config(const char *path, const char *yaml, uid_t uid)
{
	struct text text;

	text_init(&text);
	text_add(&text, yaml);
	if (strstr(yaml, "http:") == NULL) {
		text_add(&text, "\nhttp: {listen: \"off\"}\n");
	}
	write_file(path, text.data, uid);
	text_close(&text);
}

/* The server's user need not be able to reach our build directory, which may
 * be in a home, so that as root the daemon gets a copy of the program. */
static void find_program(struct daemon *d, const char *name)
{
	char built[PATH_MAX], output[OUTPUT_BYTES];
	char *const argv[] = { "cp", "-p", "--no-preserve=ownership", built,
		d->program, NULL };
	struct child child = { .argv = argv, .uid = geteuid() };

	if (realpath(pgdata_build_dir(), built) == NULL) {
		fail_msg("no build directory \"%s\"", pgdata_build_dir());
	}
	(void)snprintf(built + strlen(built), sizeof built - strlen(built),
		"/%s", name);
	if (geteuid() != 0) {
		(void)snprintf(d->program, sizeof d->program, "%s", built);
		return;
	}
	(void)snprintf(d->program, sizeof d->program, "%s/%s",
		cluster_dir(d->cluster), name);
	if (access(d->program, F_OK) != 0 &&
		child_run(&child, output, sizeof output) != 0) {
		fail_msg("%s", output);
	}
	assert_return_code(chmod(d->program, 0755), errno);
}

/* ---- the process */

/* A wrapper is a command with its arguments. Returns the copy that argv
 * points into. */
static char *split_wrapper(char **argv, size_t *count)
{
	const char *wrapper = getenv("BACKFILL_WRAPPER");
	char *words = mem_strdup(wrapper != NULL ? wrapper : "");
	char *rest = words, *word;

	while ((word = strsep(&rest, " ")) != NULL && *count < ARGUMENTS / 2) {
		if (*word != '\0') {
			argv[(*count)++] = word;
		}
	}
	return words;
}

static void spawn(struct daemon *d)
{
	char *argv[ARGUMENTS] = { NULL };
	size_t count = 0;
	char *words = split_wrapper(argv, &count);
	struct child child = {
		.argv = argv,
		.directory = cluster_dir(d->cluster),
		.uid = cluster_run_as(d->cluster),
		.output = open(d->log,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644),
	};

	assert_true(child.output >= 0);
	d->started_at = lseek(child.output, 0, SEEK_END);
	argv[count++] = d->program;
	argv[count++] = "-c";
	argv[count++] = d->config;
	d->pid = child_start(&child);
	close(child.output);
	free(words);
}

/* Signals that no test sends: the program met a bug of its own. */
static int is_crash(int code)
{
	return code == 128 + SIGSEGV || code == 128 + SIGABRT ||
		code == 128 + SIGBUS || code == 128 + SIGFPE ||
		code == 128 + SIGILL;
}

static int reap(struct daemon *d, uint64_t deadline_ms)
{
	if (d->pid != 0 && child_wait(d->pid, deadline_ms, &d->code)) {
		d->pid = 0;
		d->crashes += is_crash(d->code);
	}
	return d->pid == 0;
}

/* Returns the number of faults. */
static int destroy(struct daemon *d)
{
	int faults;

	daemon_kill(d);
	faults = count_faults(d);
	text_close(&d->text);
	free(d->databases);
	free(d);
	return faults;
}

/* The cluster stops before the daemon was freed: a test failed, or leaves it
 * to us. */
static int on_cluster_stop(void *arg)
{
	return destroy(arg);
}

/* ---- the contract */

struct daemon *daemon_start_yaml(struct cluster *c, const char *yaml)
{
	static int number;
	struct daemon *d = mem_new(1, sizeof *d);

	number++;
	d->cluster = c;
	text_init(&d->text);
	cluster_add_hook(c, on_cluster_stop, d);
	(void)snprintf(d->config, sizeof d->config, "%s/daemon-%d.yaml",
		cluster_dir(c), number);
	(void)snprintf(d->log, sizeof d->log, "%s/daemon-%d.log",
		cluster_dir(c), number);
	find_program(d, "backfilld");
	write_config(d->config, yaml, cluster_run_as(c));
	spawn(d);
	return d;
}

struct daemon *daemon_start(
	struct cluster *c, const char *dbname, const char *yaml)
{
	static const char sections[] =
		"daemon: {lease: 1s, poll_interval: 500ms}\n"
		"batch: {}\n";
	struct text text;
	struct daemon *d;
	char *databases;

	text_init(&text);
	text_addf(&text,
		"databases:\n"
		"  - name: t\n"
		"    dsn: \"%s\"\n",
		cluster_conninfo(c, dbname, "backfilld"));
	text_addf(&text,
		"    runner: \"%s\"\n"
		"    workers: 2\n"
		"    expected_standbys: []\n",
		cluster_conninfo(c, dbname, NULL));
	databases = mem_strdup(text.data);
	text_add(&text, yaml != NULL ? yaml : sections);
	d = daemon_start_yaml(c, text.data);
	d->databases = databases;
	text_close(&text);
	return d;
}

void daemon_rewrite(struct daemon *d, const char *yaml)
{
	struct text text;

	assert_non_null(d->databases);
	text_init(&text);
	text_add(&text, d->databases);
	text_add(&text, yaml);
	write_config(d->config, text.data, cluster_run_as(d->cluster));
	text_close(&text);
}

void daemon_restart(struct daemon *d)
{
	assert_false(daemon_alive(d));
	spawn(d);
}

void daemon_kill(struct daemon *d)
{
	if (!reap(d, 0)) {
		child_kill(d->pid);
		d->code = 128 + SIGKILL;
		d->pid = 0;
	}
}

int daemon_stop(struct daemon *d)
{
	if (d->pid != 0) {
		(void)kill(d->pid, SIGTERM);
		if (!reap(d, wait_deadline(STOP_SECONDS))) {
			daemon_kill(d);
			print_log(d);
			fail_msg("the daemon still runs %d s after SIGTERM",
				STOP_SECONDS);
		}
	}
	check_log(d);
	return d->code;
}

const char *daemon_config(const struct daemon *d)
{
	return d->config;
}

pid_t daemon_pid(const struct daemon *d)
{
	return d->pid;
}

int daemon_alive(struct daemon *d)
{
	return !reap(d, 0);
}

void daemon_free(struct daemon *d)
{
	if (d == NULL) {
		return;
	}
	cluster_remove_hook(d->cluster, d);
	if (destroy(d) > 0) {
		fail_msg("the daemon's log tells of faults, see above");
	}
}

void daemon_wait_log(struct daemon *d, const char *text, int deadline_s)
{
	uint64_t deadline = wait_deadline(deadline_s);

	for (;;) {
		int alive = daemon_alive(d);

		/* Read after looking: its last words count. */
		read_log(d, d->started_at);
		if (strstr(d->text.data, text) != NULL) {
			return;
		}
		if (!alive || !wait_again(deadline)) {
			print_log(d);
			fail_msg("%s without logging \"%s\"",
				alive ? "the deadline passed"
				      : "the daemon ended",
				text);
		}
	}
}

static int run_program(struct cluster *c, char *output, size_t size,
	const char *program, va_list args)
{
	const char *env[] = { "PGHOST", NULL, "PGPORT", NULL, "PGUSER",
		"postgres", "PGDATABASE", "postgres", NULL };
	char path[PATH_MAX];
	char *argv[ARGUMENTS] = { path };
	struct child child = { .argv = argv, .uid = geteuid() };
	size_t count = 1;

	(void)snprintf(path, sizeof path, "%s/%s", pgdata_build_dir(), program);
	while ((argv[count] = va_arg(args, char *)) != NULL) {
		assert_true(++count < ARGUMENTS);
	}
	if (c != NULL) {
		env[1] = cluster_dir(c);
		env[3] = cluster_port(c);
		child.env = env;
	}
	return child_run(&child, output, size);
}

int program_run(
	struct cluster *c, char *output, size_t size, const char *program, ...)
{
	va_list args;
	int code;

	va_start(args, program);
	code = run_program(c, output, size, program, args);
	va_end(args);
	return code;
}

static void create_logins(PGconn *conn)
{
	static const char *const names[] = { "backfilld", "app" };

	sql_exec(conn, "SET client_min_messages = warning");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (!sql_true(conn, "SELECT to_regrole('%s') IS NOT NULL",
			    names[i])) {
			sql_exec(conn, "CREATE ROLE %s LOGIN", names[i]);
		}
	}
	sql_exec(conn,
		"GRANT backfill_daemon, pg_monitor, pg_signal_backend "
		"TO backfilld");
	sql_exec(conn, "GRANT backfill_submit TO app");
	sql_exec(conn, "GRANT CREATE, USAGE ON SCHEMA public TO app");
}

static void create_database(struct cluster *c, const char *dbname)
{
	PGconn *conn = cluster_connect(c, "postgres", "postgres");

	if (!sql_true(conn,
		    "SELECT EXISTS (SELECT FROM pg_catalog.pg_database "
		    "WHERE datname = '%s')",
		    dbname)) {
		sql_exec(conn, "CREATE DATABASE %s", dbname);
	}
	PQfinish(conn);
}

void backfill_install(struct cluster *c, const char *dbname)
{
	char output[OUTPUT_BYTES];
	PGconn *conn;
	int code;

	create_database(c, dbname);
	code = program_run(c, output, sizeof output, "backfillctl", "install",
		"-d", dbname, NULL);
	if (code != 0) {
		fprintf(stderr, "%s\n", output);
		fail_msg("backfillctl install ended with %d", code);
	}
	conn = cluster_connect(c, dbname, "postgres");
	create_logins(conn);
	PQfinish(conn);
}
