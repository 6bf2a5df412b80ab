/* test_freezes.c: daemons that freeze again and again, for half a lease to
 * three leases, while they share several jobs. Whoever has lost a job to
 * another meanwhile, and wakes in the middle of anything: each row is changed
 * exactly once, at every instant the checkpoint counts the rows that are
 * changed, and all jobs succeed.
 *
 * BACKFILL_SEED chooses other moments, BACKFILL_SOAK=1 many more of them,
 * BACKFILL_FREEZES another number. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "effects.h"
#include "sql.h"
#include "wait.h"

enum {
	WAIT_SECONDS = 60,
	LEASE_MS = 1000,
	JOBS = 3, /* fewer than workers: one is free to take over */
	MOST_DAEMONS = 3,
	/* More than any job can do in the time, two leases on average and more
	 * where the looks at the jobs take theirs. */
	ROWS_PER_FREEZE = 4000
};

static const char YAML[] = "daemon: {lease: 1s, poll_interval: 100ms}\n"
			   "batch: {lock_timeout: 100ms}\n";

static struct cluster *cluster;
static PGconn *db, *app;

static int number_from(const char *variable, int otherwise)
{
	const char *value = getenv(variable);

	return value != NULL && *value != '\0' ? atoi(value) : otherwise;
}

static int start(void **state)
{
	int seed = number_from("BACKFILL_SEED", 20240229);

	(void)state;
	printf("BACKFILL_SEED=%d\n", seed);
	srand((unsigned)seed);
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	app = cluster_connect(cluster, "t", "app");
	effects_install(db);
	sql_exec(app,
		"CREATE TABLE speed (ms double precision);"
		"INSERT INTO speed VALUES (2);"
		"CREATE FUNCTION drag() RETURNS integer LANGUAGE plpgsql"
		" VOLATILE AS $$ BEGIN"
		"  PERFORM pg_catalog.pg_sleep(ms / 1000) FROM public.speed"
		"   WHERE ms > 0;"
		"  RETURN 0; END $$");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

/* ---- the jobs */

static struct {
	char table[32];
	int64_t id;
} jobs[JOBS];

static int rows;

static void submit_jobs(const char *prefix)
{
	sql_exec(app, "UPDATE speed SET ms = 2");
	for (int i = 0; i < JOBS; i++) {
		(void)snprintf(jobs[i].table, sizeof jobs[i].table, "%s_%d",
			prefix, i);
		effects_make_table(app, jobs[i].table, rows);
		jobs[i].id = effects_submit(app, jobs[i].table, jobs[i].table,
			10 + 10 * i, "drag()");
	}
}

static void check_one(void)
{
	int i = rand() % JOBS;

	effects_check(db, jobs[i].table, jobs[i].id);
}

static void finish_fast(void)
{
	assert_true(sql_true(db,
		"SELECT bool_and(state IN ('queued', 'running'))"
		" FROM backfill.jobs WHERE id >= %lld",
		(long long)jobs[0].id));
	sql_exec(app, "UPDATE speed SET ms = 0");
	sql_exec(app,
		"UPDATE backfill.jobs SET batch_rows = 2000, max_batch_rows ="
		" 2000 WHERE id >= %lld",
		(long long)jobs[0].id);
	sql_wait(db, WAIT_SECONDS,
		"SELECT bool_and(state IN ('succeeded', 'failed'))"
		" FROM backfill.jobs");
	for (int i = 0; i < JOBS; i++) {
		effects_check_done(db, jobs[i].table, jobs[i].id, rows);
	}
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.holes"), 0);
}

/* ---- freezing */

/* One that has a job now, if any has. */
static int choose(struct daemon *const daemons[], int count)
{
	int64_t job = jobs[rand() % JOBS].id;
	int chosen = rand() % count;
	pid_t pid = (pid_t)sql_int(db,
		"SELECT coalesce(max(d.pid), 0) FROM backfill.daemons d"
		" JOIN backfill.ranges r ON r.owner = d.incarnation"
		" WHERE r.job_id = %lld",
		(long long)job);

	for (int i = 0; i < count; i++) {
		if (daemon_pid(daemons[i]) == pid) {
			chosen = i;
		}
	}
	return chosen;
}

/* For so long, with looks at the jobs meanwhile. */
static void pass(int ms)
{
	uint64_t end = wait_now_ms() + (uint64_t)ms;

	do {
		if (rand() % 4 == 0) {
			check_one();
		}
	} while (wait_again(end));
}

static void freeze_one(struct daemon *const daemons[], int count)
{
	int first = choose(daemons, count);
	int second = rand() % 3 == 0 ? choose(daemons, count) : first;
	int ms = LEASE_MS / 2 + rand() % (LEASE_MS * 5 / 2);
	int early_ms = rand() % ms;

	assert_int_equal(kill(daemon_pid(daemons[first]), SIGSTOP), 0);
	assert_int_equal(kill(daemon_pid(daemons[second]), SIGSTOP), 0);
	pass(early_ms);
	if (second != first) {
		assert_int_equal(kill(daemon_pid(daemons[second]), SIGCONT), 0);
	}
	pass(ms - early_ms);
	assert_int_equal(kill(daemon_pid(daemons[first]), SIGCONT), 0);
	pass(rand() % LEASE_MS);
}

static void freeze_repeatedly(const char *prefix, int daemon_count)
{
	int soak = number_from("BACKFILL_SOAK", 0);
	int freezes = number_from("BACKFILL_FREEZES", soak ? 50 : 12) / 2;
	PGconn *holder = cluster_connect(cluster, "t", "app");
	struct daemon *daemons[MOST_DAEMONS];

	rows = ROWS_PER_FREEZE * freezes;
	submit_jobs(prefix);
	/* Holes are carried from owner to owner too. */
	sql_exec(holder, "BEGIN; SELECT FROM %s WHERE id %% 50 = 7 FOR UPDATE",
		jobs[0].table);
	for (int i = 0; i < daemon_count; i++) {
		daemons[i] = daemon_start(cluster, "t", YAML);
		daemon_wait_log(daemons[i], "-> serving", WAIT_SECONDS);
	}
	for (int i = 0; i < freezes; i++) {
		freeze_one(daemons, daemon_count);
	}
	sql_exec(holder, "ROLLBACK");
	PQfinish(holder);
	finish_fast();
	for (int i = 0; i < daemon_count; i++) {
		assert_int_equal(daemon_stop(daemons[i]), 0);
		daemon_free(daemons[i]);
	}
	printf("%d freezes of %d daemons, jobs taken over %lld times\n",
		freezes, daemon_count,
		(long long)sql_int(db,
			"SELECT count(*) FROM backfill.events WHERE event ="
			" 'taken_over' AND job_id >= %lld",
			(long long)jobs[0].id));
	assert_true(sql_true(db,
		"SELECT EXISTS (SELECT FROM backfill.events WHERE event ="
		" 'taken_over' AND job_id >= %lld)",
		(long long)jobs[0].id));
}

static void test_two_daemons(void **state)
{
	(void)state;
	freeze_repeatedly("two", 2);
}

static void test_three_daemons(void **state)
{
	(void)state;
	freeze_repeatedly("three", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_daemons),
		cmocka_unit_test(test_three_daemons),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
