/* shop.h: what the tests of jobs stand on: one cluster and one daemon per
 * program, and words for what each of them does with a job. Each test makes
 * tables and jobs of its own; the name of a job says whose it is. */
#ifndef BACKFILL_TESTS_SHOP_H
#define BACKFILL_TESTS_SHOP_H

#include <stdint.h>

#include "cluster.h"
#include "daemon.h"
#include "sql.h"

enum { SHOP_WAIT_SECONDS = 60 };

/* The daemon polls every ten minutes, which no test waits for: what happens
 * here happens because a notification came or a job ended. */
#define SHOP_YAML "daemon: {lease: 5s, poll_interval: 10min}\nbatch: {}\n"

struct shop {
	struct cluster *cluster;
	PGconn *db;  /* database shop as postgres */
	PGconn *app; /* and as app, who submits the jobs */
	struct daemon *daemon;
};

extern struct shop shop;

/* Group setup and teardown of cmocka. */
int shop_start(void **state);
int shop_stop(void **state);

/* The setup for who counts batches that may wait for locks: on a machine that
 * is slow, too, they end before deadlock_timeout. */
int shop_start_patient(void **state);

/* The setup with other sections of the daemon's configuration. */
void shop_start_yaml(const char *yaml);

/* Start the daemon again that was stopped or killed; returns when it serves
 * the database. */
void shop_restart_daemon(void);

/* The server's, as pg_settings shows it; returns when it is in effect. A
 * batch that may wait for locks, as on a table with a trigger, ends
 * after 45 % of it, and comes back as two: whoever holds one at the gate wants
 * it longer. */
void shop_set_deadlock_timeout(const char *time);

/* An UPDATE in batches of rows exactly, submitted by app. The clauses are
 * SQL text as they stand; where_clause and key_columns (an array literal)
 * may be NULL. Statements may take minutes: a test that holds a batch must
 * not meet the timeout. */
void job_submit(const char *name, const char *target, int rows,
	const char *set_clause, const char *where_clause,
	const char *key_columns);

int64_t job_id(const char *name);

/* How a line of the log about it begins: "job 42 (name): ". */
const char *job_in_log(int64_t id);

/* Wait for a state; another final state fails at once. */
void job_wait(const char *name, const char *state);

/* The same for a failure, whose every part must be as told; NULL: none. */
void job_fails(const char *name, const char *sqlstate, const char *message,
	const char *detail, const char *hint);

/* events of the job in order, such as "submitted,started,begun". */
const char *job_events(const char *name);

/* The gate: gate_pass(id) in a clause returns 0, but for an id above that of
 * the gate not before it is opened so far. The batch that meets such a row
 * is in flight for as long as the test likes. */
void gate_close(int after_id);
void gate_open(void);
void gate_open_to(int id);

/* Wait until a batch of the job stands at the gate; returns once the range's
 * checkpoint is that of the batch before. */
void gate_wait(const char *name);

/* The gate alone, open, for a program without a shop. Its jobs run as the
 * user of conn; it is opened and closed by UPDATE gate SET last. */
void gate_make(PGconn *conn);

#endif
