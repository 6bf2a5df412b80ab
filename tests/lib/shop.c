#include "shop.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct shop shop;

/* Volatile, so each look at the gate has a snapshot of its own; within one
 * that is not declared so, of which a job expects neither that it waits for
 * locks nor that it makes rows match by itself. */
static const char GATE_SQL[] =
	"CREATE TABLE gate (last integer NOT NULL);"
	"INSERT INTO gate VALUES (2147483647);"
	"CREATE FUNCTION gate_look(id bigint) RETURNS integer"
	" LANGUAGE plpgsql VOLATILE AS $$"
	" BEGIN"
	"  WHILE id > (SELECT last FROM public.gate) LOOP"
	"   PERFORM pg_catalog.pg_sleep(0.005);"
	"  END LOOP;"
	"  RETURN 0;"
	" END $$;"
	"CREATE FUNCTION gate_pass(id bigint) RETURNS integer"
	" LANGUAGE plpgsql IMMUTABLE AS $$"
	" BEGIN RETURN public.gate_look(id); END $$";

void shop_start_yaml(const char *yaml)
{
	shop.cluster = cluster_start();
	backfill_install(shop.cluster, "shop");
	shop.db = cluster_connect(shop.cluster, "shop", "postgres");
	shop.app = cluster_connect(shop.cluster, "shop", "app");
	gate_make(shop.app);
	shop.daemon = daemon_start(shop.cluster, "shop", yaml);
	daemon_wait_log(shop.daemon, "-> serving", SHOP_WAIT_SECONDS);
}

int shop_start(void **state)
{
	(void)state;
	shop_start_yaml(SHOP_YAML);
	return 0;
}

void shop_set_deadlock_timeout(const char *time)
{
	sql_exec(shop.db, "ALTER SYSTEM SET deadlock_timeout = '%s'", time);
	sql_exec(shop.db, "SELECT pg_reload_conf()");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT current_setting('deadlock_timeout') = '%s'", time);
}

int shop_start_patient(void **state)
{
	int code = shop_start(state);

	shop_set_deadlock_timeout("10s");
	return code;
}

void shop_restart_daemon(void)
{
	daemon_restart(shop.daemon);
	daemon_wait_log(shop.daemon, "-> serving", SHOP_WAIT_SECONDS);
}

int shop_stop(void **state)
{
	int code = daemon_stop(shop.daemon);

	(void)state;
	daemon_free(shop.daemon);
	PQfinish(shop.app);
	PQfinish(shop.db);
	cluster_stop(shop.cluster);
	return code;
}

/* ---- jobs */

static char *quote(const char *text)
{
	char *quoted = text == NULL
		? strdup("NULL")
		: PQescapeLiteral(shop.app, text, strlen(text));

	assert_non_null(quoted);
	return quoted;
}

void job_submit(const char *name, const char *target, int rows,
	const char *set_clause, const char *where_clause,
	const char *key_columns)
{
	char *set = quote(set_clause);
	char *where = quote(where_clause);
	char *table = quote(target);
	char *keys = quote(key_columns);

	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, key_columns, batch_rows, max_batch_rows,"
		" statement_timeout)"
		" VALUES ('%s', %s, %s, %s, %s, %d, %d, '10min')",
		name, table, set, where, keys, rows, rows);
	free(set);
	free(where);
	free(table);
	free(keys);
}

int64_t job_id(const char *name)
{
	return sql_int(shop.db,
		"SELECT id FROM backfill.jobs WHERE name = '%s'", name);
}

const char *job_in_log(int64_t id)
{
	return sql_text(shop.db,
		"SELECT format('job %%s (%%s): ', id, name)"
		" FROM backfill.jobs WHERE id = %lld",
		(long long)id);
}

void job_wait(const char *name, const char *state)
{
	const char *found;

	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = '%s' OR state IN ('succeeded', 'failed',"
		" 'cancelled') FROM backfill.jobs WHERE name = '%s'",
		state, name);
	found = sql_text(shop.db,
		"SELECT concat_ws(' ', state, error_sqlstate, error_message)"
		" FROM backfill.jobs WHERE name = '%s'",
		name);
	if (strncmp(found, state, strlen(state)) != 0) {
		fail_msg("job %s: %s", name, found);
	}
}

static void check_part(const char *name, const char *column, const char *want)
{
	const char *found = sql_text(shop.db,
		"SELECT %s FROM backfill.jobs WHERE name = '%s'", column, name);

	want = want == NULL ? "(null)" : want;
	if (strcmp(found, want) != 0) {
		fail_msg("job %s: %s\nwanted: %s\nfound:  %s", name, column,
			want, found);
	}
}

void job_fails(const char *name, const char *sqlstate, const char *message,
	const char *detail, const char *hint)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state IN ('succeeded', 'failed', 'cancelled')"
		" FROM backfill.jobs WHERE name = '%s'",
		name);
	check_part(name, "state", "failed");
	check_part(name, "error_message", message);
	check_part(name, "error_sqlstate", sqlstate);
	check_part(name, "error_detail", detail);
	check_part(name, "error_hint", hint);
	check_part(name, "reason", message);
}

const char *job_events(const char *name)
{
	return sql_text(shop.db,
		"SELECT string_agg(e.event, ',' ORDER BY e.id)"
		" FROM backfill.events e JOIN backfill.jobs j"
		" ON j.id = e.job_id WHERE j.name = '%s'",
		name);
}

/* ---- the gate */

void gate_make(PGconn *conn)
{
	sql_exec(conn, GATE_SQL);
}

void gate_close(int after_id)
{
	sql_exec(shop.app, "UPDATE gate SET last = %d", after_id);
}

void gate_open_to(int id)
{
	gate_close(id);
}

void gate_open(void)
{
	gate_close(INT_MAX);
}

void gate_wait(const char *name)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT EXISTS (SELECT FROM backfill.ranges r"
		" JOIN backfill.jobs j ON j.id = r.job_id"
		" JOIN pg_stat_activity a ON a.pid = r.runner_pid"
		" WHERE j.name = '%s' AND a.state = 'active'"
		" AND a.wait_event = 'PgSleep')",
		name);
}
