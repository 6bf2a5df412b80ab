/* lag.h: what the tests of pacing by replication lag stand on: the shop
 * (shop.h) with the oracle of effects.h and a standby, "standby1", of its
 * cluster; daemons that expect it; jobs of LAG_ROWS rows in batches of
 * LAG_BATCH. What a job is held for is read from its reason, whether a batch
 * begins from its range. All functions fail the running test when they
 * cannot do what they say. */
#ifndef BACKFILL_TESTS_LAG_H
#define BACKFILL_TESTS_LAG_H

#include <stdint.h>

#include "shop.h"

enum { LAG_ROWS = 100, LAG_BATCH = 10, LAG_GATE = 20 };

/* What a held job's reason must be, as a regular expression of PostgreSQL's,
 * where the limit is 2 s: the lag of a standby is above it; or is unknown,
 * why comes as a regular expression too. */
#define LAG_ABOVE(standby)                                                     \
	"^held: replay lag [0-9]+(\\.[0-9])? s > 2 s on standby \"" standby    \
	"\" -> goes on below 1 s$"
#define LAG_UNKNOWN(standby, why)                                              \
	"^held: replay lag of standby \"" standby "\" is unknown: " why        \
	" -> goes on when it is known and below 1 s$"

/* Sections of the configuration: daemon: and pace:. */
#define LAG_DAEMON "daemon: {lease: 5s, poll_interval: 500ms}\n"
#define LAG_PACE "pace: {max_replication_lag: 2s}\n"
#define LAG_EXPECTED "expected_standbys: [standby1]"

extern struct cluster *lag_standby;

/* Group setup and teardown of cmocka. No daemon runs. */
int lag_start(void **state);
int lag_stop(void **state);

/* Teardown of a test: the daemons end in good order, whatever they hold, its
 * jobs are cancelled, the standby runs and replays as at first. */
int lag_clean(void **state);

/* One more daemon of the shop; returns when it serves. standbys is a line of
 * the database's, such as LAG_EXPECTED, sections the rest of the file. Frees
 * itself at lag_clean(); at most 4 of them. */
struct daemon *lag_daemon(const char *standbys, const char *sections);

/* Restart the primary, with new connections of shop's to it. */
void lag_restart_primary(void);

/* Replay is paused, and the server says that the lag is above 3 s. */
void lag_let_lag(void);

/* Freeze the standby's process that receives WAL, and continue it. */
void lag_freeze_receiver(void);
void lag_thaw_receiver(void);

/* A table and a job, both of this name; returns the job's id. Its batches
 * pass the gate. */
int64_t lag_submit(const char *name);

/* The same, with the gate closed: returns when two batches are committed and
 * the third one stands at the gate. */
int64_t lag_submit_at_gate(const char *name);

/* Wait until a condition on backfill.signals, such as "value IS NULL", holds
 * for this standby, in the row of the daemon that registered last. */
void lag_wait_signal(const char *standby, const char *condition);

/* Wait until the job is running, and its reason matches. */
void lag_wait_held(int64_t job, const char *pattern);

/* No batch of the job begins while the lag of standby1 is sampled three times
 * more; batches is how many it has. */
void lag_assert_still(int64_t job, int batches);

/* Open the gate and wait for the end: every row changed exactly once. */
void lag_finish(const char *name, int64_t job);

#endif
