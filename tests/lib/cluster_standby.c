/* A standby is a cluster like any other, which pg_basebackup filled. It has a
 * replication slot of its name on the primary, so that it finds the WAL that
 * it lacks however long it was away. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "cluster_internal.h"
#include "pgdata.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 60, OUTPUT_BYTES = 4096 };

/* A standby of this name that is gone has left its slot behind; the primary
 * may not have noticed yet that it is gone. */
static void drop_old_slot(PGconn *conn, const char *name)
{
	sql_wait(conn, WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_replication_slots"
		" WHERE slot_name = '%s' AND active) AND NOT EXISTS"
		" (SELECT FROM pg_stat_replication"
		" WHERE application_name = '%s')",
		name, name);
	sql_exec(conn,
		"SELECT pg_drop_replication_slot(slot_name)"
		" FROM pg_replication_slots WHERE slot_name = '%s'",
		name);
}

/* -R writes the settings of a standby, with the connection string of this
 * very command but for its dbname. */
static void copy_primary(
	struct cluster *c, struct cluster *primary, const char *name)
{
	char program[PATH_MAX], from[PATH_MAX], output[OUTPUT_BYTES];
	char *const argv[] = { program, "-d", from, "-D", c->data, "-R", "-C",
		"-S", (char *)name, "-X", "stream", "-c", "fast", "--no-sync",
		NULL };
	struct child child = {
		.argv = argv,
		.directory = c->dir,
		.uid = c->uid,
	};
	int code;

	pgdata_program(program, sizeof program, "pg_basebackup");
	(void)snprintf(from, sizeof from, "%s application_name=%s",
		cluster_conninfo(primary, "postgres", "postgres"), name);
	code = child_run(&child, output, sizeof output);
	if (code != 0) {
		fprintf(stderr, "%s\n", output);
		fail_msg("pg_basebackup ended with %d", code);
	}
}

struct cluster *cluster_start_standby(struct cluster *primary, const char *name)
{
	PGconn *conn = cluster_connect(primary, "postgres", "postgres");
	struct cluster *c = cluster_new();

	drop_old_slot(conn, name);
	copy_primary(c, primary, name);
	cluster_start_server(c);
	sql_wait(conn, WAIT_SECONDS,
		"SELECT state = 'streaming' FROM pg_stat_replication"
		" WHERE application_name = '%s'",
		name);
	PQfinish(conn);
	return c;
}

void cluster_promote(struct cluster *standby)
{
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");

	if (!sql_true(conn, "SELECT pg_promote(true, %d)", WAIT_SECONDS)) {
		PQfinish(conn);
		fail_msg("the standby was not promoted within %d s",
			WAIT_SECONDS);
	}
	PQfinish(conn);
}

void cluster_catch_up(struct cluster *standby, struct cluster *primary)
{
	PGconn *from = cluster_connect(primary, "postgres", "postgres");
	PGconn *to = cluster_connect(standby, "postgres", "postgres");

	sql_wait(to, WAIT_SECONDS, "SELECT pg_last_wal_replay_lsn() >= '%s'",
		sql_text(from, "SELECT pg_current_wal_flush_lsn()"));
	PQfinish(to);
	PQfinish(from);
}

/* Without a walreceiver that is only stopped: what the primary has sent it
 * would still arrive, after the primary's death too. */
void cluster_cut_off(struct cluster *standby)
{
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");

	sql_exec(conn, "ALTER SYSTEM SET primary_conninfo = ''");
	sql_exec(conn, "SELECT pg_reload_conf()");
	sql_wait(conn, WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE backend_type = 'walreceiver')");
	PQfinish(conn);
}

void cluster_pause_replay(struct cluster *standby)
{
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");

	sql_exec(conn, "SELECT pg_wal_replay_pause()");
	sql_wait(conn, WAIT_SECONDS,
		"SELECT pg_get_wal_replay_pause_state() = 'paused'");
	PQfinish(conn);
}

void cluster_resume_replay(struct cluster *standby)
{
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");

	sql_exec(conn, "SELECT pg_wal_replay_resume()");
	sql_wait(conn, WAIT_SECONDS,
		"SELECT pg_get_wal_replay_pause_state() = 'not paused'");
	PQfinish(conn);
}

void cluster_delay_replay(struct cluster *standby, const char *delay)
{
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");

	sql_exec(conn, "ALTER SYSTEM SET recovery_min_apply_delay = '%s'",
		delay);
	sql_exec(conn, "SELECT pg_reload_conf()");
	PQfinish(conn);
}

/* They do so once the checkpointer has read the configuration, which may be
 * long after every session has: a commit that waits is what tells. */
void cluster_await_sync(struct cluster *c)
{
	static const char probe[] =
		"SELECT pg_logical_emit_message(true, 'probe', '')";
	PGconn *looker = cluster_connect(c, "postgres", "postgres");
	PGconn *writer = cluster_connect(c, "postgres", "postgres");
	uint64_t deadline = wait_deadline(WAIT_SECONDS);

	sql_exec(writer,
		"SET synchronous_commit = on; SET client_min_messages = error");
	sql_async(writer, probe);
	while (!sql_true(looker,
		"SELECT wait_event = 'SyncRep' FROM pg_stat_activity"
		" WHERE pid = %d",
		PQbackendPID(writer))) {
		if (!wait_again(deadline)) {
			fail_msg("no commit waits for a standby");
		}
		(void)PQconsumeInput(writer);
		if (!PQisBusy(writer)) {
			sql_async_wait(writer);
			sql_async(writer, probe);
		}
	}
	sql_exec(looker, "SELECT pg_cancel_backend(%d)", PQbackendPID(writer));
	sql_async_wait(writer);
	PQfinish(writer);
	PQfinish(looker);
}

pid_t cluster_walreceiver(struct cluster *standby)
{
	static const char receiver[] = "FROM pg_stat_activity"
				       " WHERE backend_type = 'walreceiver'";
	PGconn *conn = cluster_connect(standby, "postgres", "postgres");
	pid_t pid;

	sql_wait(conn, WAIT_SECONDS, "SELECT EXISTS (SELECT %s)", receiver);
	pid = (pid_t)sql_int(conn, "SELECT pid %s", receiver);
	PQfinish(conn);
	return pid;
}
