/* cluster.h: throw-away PostgreSQL servers, each in a directory of its own
 * with nothing but a unix socket in it. All functions fail the running test
 * when they cannot do what they say. However the test program ends, no
 * process and no directory stays; if it does not end well, the tails of the
 * logs are printed. */
#ifndef BACKFILL_TESTS_CLUSTER_H
#define BACKFILL_TESTS_CLUSTER_H

#include <libpq-fe.h>
#include <sys/types.h>

struct cluster;

/* A running primary: superuser postgres, trust, fsync off, every statement
 * logged to DIR/server.log, max_connections 100, max_prepared_transactions
 * 10. Stop it with cluster_stop(). */
struct cluster *cluster_start(void);

/* End the hooks (below), stop fast or, when that hangs, immediately, remove
 * the directory and free c, which may be NULL. Then fails the test if the
 * server's log had a PANIC or a failed assertion (TRAP) or a hook told a
 * fault; in a group teardown, where cmocka does not count it, the program's
 * exit code says so. */
void cluster_stop(struct cluster *c);

/* Stop fast (restart) or immediately, without a checkpoint (crash), and
 * start again; returns when the server takes connections. Ours are lost. */
void cluster_restart(struct cluster *c);
void cluster_crash(struct cluster *c);

/* Stop immediately and leave it so; cluster_crash() starts it again. What
 * stands on it, a daemon or a standby, goes on. */
void cluster_halt(struct cluster *c);

/* A streaming standby of the primary, a server in a directory of its own,
 * made by pg_basebackup with the primary's settings of now. name, of
 * letters, digits and underscores, is its application_name and its slot on
 * the primary. Returns when it streams and takes queries. Stop it with
 * cluster_stop(), before or after the primary; its slot stays, and a later
 * standby of the name takes its place. */
struct cluster *cluster_start_standby(
	struct cluster *primary, const char *name);

/* Make a primary of a standby; returns when it takes writes. Nothing happens
 * to the old primary: halt it first. */
void cluster_promote(struct cluster *standby);

/* Wait until the standby has replayed what the primary has committed. */
void cluster_catch_up(struct cluster *standby, struct cluster *primary);

/* No WAL comes to the standby any more. What it had received by then it
 * keeps, and replays. */
void cluster_cut_off(struct cluster *standby);

/* The standby goes on receiving WAL, and replays none of it until it is told
 * to resume. Returns when it is so. */
void cluster_pause_replay(struct cluster *standby);
void cluster_resume_replay(struct cluster *standby);

/* The standby replays each commit so long after it was made, such as "3s";
 * "0": at once. */
void cluster_delay_replay(struct cluster *standby, const char *delay);

/* After a reload that names synchronous standbys of which there is none: wait
 * until commits wait for them. */
void cluster_await_sync(struct cluster *c);

/* The process that receives the standby's WAL; waits until there is one. Who
 * stops it with SIGSTOP continues it before the standby stops. */
pid_t cluster_walreceiver(struct cluster *standby);

/* "host=DIR port=N dbname=… user=…"; without user when it is NULL. Owned by
 * the cluster, valid until cluster_stop(). */
const char *cluster_conninfo(
	struct cluster *c, const char *dbname, const char *user);

/* A blocking connection, which the caller PQfinish()es. */
PGconn *cluster_connect(
	struct cluster *c, const char *dbname, const char *user);

/* The directory: the socket's, with room for files of the test's own, as
 * writable for us as for the server. Its data directory is DIR/data. */
const char *cluster_dir(const struct cluster *c);
const char *cluster_port(const struct cluster *c);

/* The user that the server runs as, and whoever works beside it should:
 * postgres when we are root, else we. */
uid_t cluster_run_as(const struct cluster *c);

/* Have on_stop(arg) called before the server stops, last added first. It
 * frees what arg stands for, and returns the number of faults, which it has
 * printed; it must not fail the test itself. */
void cluster_add_hook(struct cluster *c, int (*on_stop)(void *arg), void *arg);
void cluster_remove_hook(struct cluster *c, void *arg);

#endif
