#include "lag.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/text.h"
#include "effects.h"

enum { DAEMONS = 4, SAMPLES = 3 };

struct cluster *lag_standby;

static struct daemon *daemons[DAEMONS];
static int started;  /* of them */
static pid_t frozen; /* 0: none */
static PGconn *observer;

int lag_start(void **state)
{
	(void)shop_start(state);
	assert_int_equal(daemon_stop(shop.daemon), 0);
	effects_install(shop.db);
	shop_set_deadlock_timeout("20min");
	observer = cluster_connect(shop.cluster, "shop", "postgres");
	lag_standby = cluster_start_standby(shop.cluster, "standby1");
	return 0;
}

int lag_stop(void **state)
{
	PQfinish(observer);
	cluster_stop(lag_standby);
	return shop_stop(state);
}

/* ---- after a test */

static void mend_standby(void)
{
	if (frozen != 0) {
		lag_thaw_receiver();
	}
	if (PQping(cluster_conninfo(lag_standby, "postgres", "postgres")) !=
		PQPING_OK) {
		cluster_crash(lag_standby);
	}
	cluster_delay_replay(lag_standby, "0");
	cluster_resume_replay(lag_standby);
}

/* Nobody waits for jobs that are held: a daemon that cannot end then, when
 * the standby still lags, is a fault. */
int lag_clean(void **state)
{
	int code = 0;

	(void)state;
	gate_open();
	while (started > 0) {
		struct daemon *d = daemons[--started];
		int ended = daemon_stop(d);

		code += ended != 0 && ended != 128 + SIGKILL;
		daemon_free(d);
	}
	mend_standby();
	sql_exec(shop.db,
		"SELECT backfill.start_all();"
		"SELECT backfill.cancel(id, 'the test has ended')"
		" FROM backfill.jobs WHERE state IN ('queued', 'running',"
		" 'paused')");
	return code;
}

/* ---- daemons */

struct daemon *lag_daemon(const char *standbys, const char *sections)
{
	struct daemon *d;
	struct text yaml;

	assert_true(started < DAEMONS);
	text_init(&yaml);
	text_addf(&yaml,
		"databases:\n"
		"  - name: shop\n"
		"    dsn: \"%s\"\n",
		cluster_conninfo(shop.cluster, "shop", "backfilld"));
	text_addf(&yaml,
		"    runner: \"%s\"\n"
		"    workers: 2\n"
		"    %s\n%s",
		cluster_conninfo(shop.cluster, "shop", NULL), standbys,
		sections);
	d = daemon_start_yaml(shop.cluster, yaml.data);
	daemons[started++] = d;
	text_close(&yaml);
	daemon_wait_log(d, "-> serving", SHOP_WAIT_SECONDS);
	return d;
}

/* ---- the servers */

void lag_restart_primary(void)
{
	PGconn *const conns[] = { shop.db, shop.app, observer };

	cluster_restart(shop.cluster);
	for (size_t i = 0; i < sizeof conns / sizeof conns[0]; i++) {
		PQreset(conns[i]);
		assert_int_equal(PQstatus(conns[i]), CONNECTION_OK);
	}
}

/* There is no lag without anything to replay. */
void lag_let_lag(void)
{
	cluster_pause_replay(lag_standby);
	sql_exec(shop.db, "SELECT pg_logical_emit_message(true, 'lag', '')");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT replay_lag > '3s' FROM pg_stat_replication"
		" WHERE application_name = 'standby1'");
}

void lag_freeze_receiver(void)
{
	frozen = cluster_walreceiver(lag_standby);
	assert_int_equal(kill(frozen, SIGSTOP), 0);
}

void lag_thaw_receiver(void)
{
	assert_int_equal(kill(frozen, SIGCONT), 0);
	frozen = 0;
}

/* ---- jobs */

int64_t lag_submit(const char *name)
{
	effects_make_table(shop.app, name, LAG_ROWS);
	return effects_submit(shop.app, name, name, LAG_BATCH, "gate_pass(id)");
}

int64_t lag_submit_at_gate(const char *name)
{
	int64_t job;

	gate_close(LAG_GATE);
	job = lag_submit(name);
	gate_wait(name);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT seq = 2 FROM backfill.ranges WHERE job_id = %lld",
		(long long)job);
	return job;
}

/* ---- looking */

void lag_wait_signal(const char *standby, const char *condition)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT %s FROM backfill.signals"
		" WHERE signal = 'replication_lag' AND target = '%s'"
		" ORDER BY daemon DESC LIMIT 1",
		condition, standby);
}

void lag_wait_held(int64_t job, const char *pattern)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT state = 'running' AND reason ~ '%s'"
		" AND backfill.waits_for(state, reason) IN ('lag', 'lease')"
		" FROM backfill.jobs WHERE id = %lld",
		pattern, (long long)job);
}

/* A look at the signals is a sample when it is newer than the last one's by
 * more than two clock_timestamp() of one look differ. */
static void wait_sample(void)
{
	static const char newest[] =
		"SELECT coalesce(max(clock_timestamp() - age), '-infinity')"
		" FROM backfill.signals WHERE target = 'standby1'";

	sql_wait(observer, SHOP_WAIT_SECONDS,
		"SELECT (%s) > '%s'::timestamptz + interval '20 ms'", newest,
		sql_text(observer, "%s", newest));
}

void lag_assert_still(int64_t job, int batches)
{
	for (int i = 0; i < SAMPLES; i++) {
		wait_sample();
		assert_int_equal(sql_int(observer,
					 "SELECT seq FROM backfill.ranges"
					 " WHERE job_id = %lld",
					 (long long)job),
			batches);
	}
}

void lag_finish(const char *name, int64_t job)
{
	gate_open();
	job_wait(name, "succeeded");
	effects_check_done(shop.db, name, job, LAG_ROWS);
}
