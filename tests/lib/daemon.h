/* daemon.h: the programs under test beside a cluster. All functions fail the
 * running test when they cannot do what they say. */
#ifndef BACKFILL_TESTS_DAEMON_H
#define BACKFILL_TESTS_DAEMON_H

#include <stddef.h>
#include <sys/types.h>

#include "cluster.h"

struct daemon;

/* Make dbname unless it exists, install the schema in it with "backfillctl
 * install", and make the logins of the tests: backfilld, the control login,
 * and app, which may submit jobs and create tables in public. May be called
 * for several databases of a cluster, and again for one. */
void backfill_install(struct cluster *c, const char *dbname);

/* Run "$BACKFILL_WRAPPER backfilld -c FILE" as the server's user. FILE names
 * the database t, which is dbname of the cluster with the control login
 * backfilld, runner logins of any name, 2 workers and no standby; yaml, its
 * other sections, is by default
 *	daemon: {lease: 1s, poll_interval: 500ms}
 *	batch: {}
 * and, in any case, HTTP is off unless there is a section http:.
 * What it writes goes to a log of its own in the cluster's directory. Free it
 * with daemon_free() before the cluster stops, or leave it to that. */
struct daemon *daemon_start(
	struct cluster *c, const char *dbname, const char *yaml);

/* The same with the complete text of FILE. */
struct daemon *daemon_start_yaml(struct cluster *c, const char *yaml);

/* Write FILE anew: the database as daemon_start() has it, and other
 * sections. The daemon is not told. */
void daemon_rewrite(struct daemon *d, const char *yaml);

/* FILE's path. */
const char *daemon_config(const struct daemon *d);

/* Start again what was killed or stopped: same FILE, same log. */
void daemon_restart(struct daemon *d);

/* SIGKILL and reap. */
void daemon_kill(struct daemon *d);

/* SIGTERM; returns the exit code, 128 + the signal if one ended it. Fails
 * when it still runs 30 s later, and when its log has a failed assertion or
 * a report of a sanitizer or of valgrind. Ended already: tells how. */
int daemon_stop(struct daemon *d);

/* The process; 0 when it was killed, stopped or seen dead. */
pid_t daemon_pid(const struct daemon *d);
int daemon_alive(struct daemon *d);

/* Kill it if it runs, look at the log as daemon_stop() does, free it. d may
 * be NULL. */
void daemon_free(struct daemon *d);

/* All that it wrote, over restarts; owned by d until the next call. */
const char *daemon_log(struct daemon *d);

/* How often it wrote text, over restarts. */
int daemon_count_log(struct daemon *d, const char *text);

/* Wait for text in what was written since the last start. Fails at the
 * deadline, and when the daemon has ended without writing it. */
void daemon_wait_log(struct daemon *d, const char *text, int deadline_s);

/* Run a program of the build directory, $BACKFILL_BUILD_DIR or build/release,
 * with arguments up to NULL. c, if any, is what PGHOST, PGPORT,
 * PGUSER=postgres and PGDATABASE=postgres tell. Returns its exit code and
 * what it wrote to both outputs, cut to size - 1 bytes. */
int program_run(struct cluster *c, char *output, size_t size,
	const char *program, ...) __attribute__((sentinel));

#endif
