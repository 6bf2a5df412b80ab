/* sim_server.h: a server that is not there: one job, its range, its table
 * and the daemons' leases, under the rules of the functions of daemon/sql,
 * as far as an outcome depends on them; tests/integration/test_sim_honest.c
 * compares the two. Pure: time is s->now_ms, keys are numbers (0: none).
 *
 * A rule returns "" or the SQLSTATE that it raises, or SIM_WAITS: it needs a
 * lock that another transaction holds, and is to be called again. What a
 * transaction writes is its own until sim_commit(). */
#ifndef BACKFILL_TESTS_SIM_SERVER_H
#define BACKFILL_TESTS_SIM_SERVER_H

#include <stdint.h>

enum {
	SIM_KEYS = 520,
	SIM_HOLES = 3 * SIM_KEYS,
	SIM_ERRORS = SIM_KEYS,
	SIM_HELD = 100, /* more held rows than this are BF013 */
	SIM_DAEMONS = 24,
	SIM_RELEASES = 10
};

extern const char *const SIM_WAITS;

/* ---- the table */

enum sim_bad_row {
	SIM_GOOD_ROW,
	SIM_CHECKED_ROW, /* its change fails with 23514 */
	SIM_STUBBORN_ROW /* a trigger returns NULL: it is not changed */
};

struct sim_row {
	int exists;
	int matches;  /* where_clause is true of it */
	int effects;  /* how often the job changed it */
	int is_moved; /* the application gave it this key */
	enum sim_bad_row bad;
	int refers_to;		  /* a key of the same table; 0: none */
	uint64_t contended_until; /* its change waits for a lock elsewhere */
};

struct sim_slot {
	struct sim_row row; /* as committed */
	int lock;	    /* the transaction that holds it; 0: none */
};

/* ---- the job */

enum sim_kind {
	SIM_ADD,       /* n = n + 1, all rows */
	SIM_ADD_WHERE, /* the same, with a where_clause that stays true */
	SIM_SET,       /* a changed row matches no more */
	SIM_DELETE
};

enum sim_state {
	SIM_QUEUED,
	SIM_RUNNING,
	SIM_PAUSED,
	SIM_SUCCEEDED,
	SIM_FAILED,
	SIM_CANCELLED
};

struct sim_job {
	enum sim_kind kind;
	enum sim_state state;
	int records_errors; /* on_row_error = record */
	int64_t max_row_errors;
	int fails_on_residue;
	int64_t pause_after_rows; /* 0: none */
	char sqlstate[6];	  /* of a failure */
};

struct sim_hole {
	int64_t id;
	int is_window;
	int lo, hi; /* hi: the key, or the window's end */
	uint64_t found_ms;
};

struct sim_error {
	int key;
	int attempts;
	int is_resolved;
	char sqlstate[6];
};

struct sim_range {
	int64_t epoch, seq;
	int owner;  /* incarnation; 0: nobody */
	int runner; /* backend; 0: none */
	int is_begun, is_finished;
	int has_key; /* key_index_oid: a retry forgets it */
	int hi, cursor, sweep_cursor;
	int pass;
	int64_t rows_read, rows_done, rows_still_matching;
	int64_t pass_rows, late_rows, residue, batches, batch_rows;
	int hole_count, error_count;
	struct sim_hole holes[SIM_HOLES]; /* by id */
	struct sim_error errors[SIM_ERRORS];
};

/* ---- transactions */

struct sim_write {
	int key;
	struct sim_row row;
	int is_new; /* another row than the one that had the key */
};

struct sim_tx {
	int id; /* 0: not begun */
	int backend;
	uint64_t began_ms;
	uint64_t writes_since_ms; /* holds RowExclusive on the table; 0: no */
	int has_job, has_range;
	struct sim_job job; /* as it will be */
	struct sim_range *range;
	struct sim_write *writes;
	int write_count, write_size;
	int64_t epoch;	 /* what begin_batch was told */
	int64_t changed; /* rows, by the job */
};

struct sim_daemon_row {
	uint64_t lease_ms;
	uint64_t lease_until;
};

struct sim_server {
	uint64_t now_ms;
	struct sim_job job;
	struct sim_range range;
	int has_range;
	int is_stopped;
	struct sim_daemon_row daemons[SIM_DAEMONS + 1]; /* by incarnation */
	int daemon_count;
	int keys; /* the table has room for these: 1 to keys */
	struct sim_slot slots[SIM_KEYS + 1];
	int64_t max_changes; /* per statement, else 57014 */
	int job_lock, range_lock;
	int last_tx;
	int64_t last_hole;
	struct {
		uint64_t at;
		char why[64];
	} releases[SIM_RELEASES];
	int release_count;

	/* pg_terminate_backend(). */
	void (*terminate)(void *data, int backend);
	/* Who holds a write lock on the table, but for a backend: their
	 * transactions into ids, their number is returned. */
	int (*writers)(void *data, int but_backend, int *ids, int size);
	void *data;
};

int sim_has_where(const struct sim_job *j);
/* Whether a changed row leaves the job's sight. */
int sim_excludes_itself(const struct sim_job *j);

/* ---- sim_tx.c */

void sim_begin(struct sim_server *s, struct sim_tx *t, int backend);
void sim_commit(struct sim_server *s, struct sim_tx *t);
void sim_rollback(struct sim_server *s, struct sim_tx *t);
void sim_tx_free(struct sim_tx *t);

/* The range's row is locked, and read: t->range is what it will be. */
void sim_own_range(struct sim_server *s, struct sim_tx *t);

/* Take the row's lock, or return 0. */
int sim_lock_row(struct sim_server *s, struct sim_tx *t, int key);
/* The row as this transaction sees it. */
struct sim_row sim_see(
	const struct sim_server *s, const struct sim_tx *t, int key);
void sim_write(struct sim_server *s, struct sim_tx *t, int key,
	const struct sim_row *row, int is_new);

/* ---- sim_rows.c: statements on the table */

struct sim_counts {
	int64_t eligible, locked, updated, still;
	int held[SIM_HELD + 1];
	int held_count;
};

int sim_bound(const struct sim_server *s);
/* The last of at most limit keys in (lo, hi]; rows gets their number. */
int sim_window(const struct sim_server *s, int lo, int hi, int64_t limit,
	int64_t *rows);
/* Change what is eligible and free in (lo, hi]. */
const char *sim_change(struct sim_server *s, struct sim_tx *t, int lo, int hi,
	struct sim_counts *c);

/* ---- sim_server.c: what a runner calls */

const char *sim_lock_range(
	struct sim_server *s, struct sim_tx *t, int64_t epoch);
const char *sim_attach(struct sim_server *s, struct sim_tx *t, int64_t epoch);
const char *sim_begin_job(
	struct sim_server *s, struct sim_tx *t, int64_t epoch, int bound);
/* After a retry: BF010 unless the range has none. */
const char *sim_adopt_key(
	struct sim_server *s, struct sim_tx *t, int64_t epoch);
/* As begin_work(), of which begin_batch() is the one that heeds a canary. */
const char *sim_begin_work(
	struct sim_server *s, struct sim_tx *t, int64_t epoch, int64_t seq);
const char *sim_begin_batch(struct sim_server *s, struct sim_tx *t,
	int64_t epoch, int64_t seq, int64_t *rows_left);

struct sim_checkpoint {
	int64_t epoch, seq;
	int up_to;
	int64_t read, size;
	int64_t locked, updated, still;
	const int *held;
	int held_count;
	int64_t hole; /* 0: none */
};
const char *sim_checkpoint(
	struct sim_server *s, struct sim_tx *t, const struct sim_checkpoint *c);
const char *sim_close_hole(struct sim_server *s, struct sim_tx *t,
	int64_t epoch, int64_t seq, int64_t hole, const struct sim_counts *c);
const char *sim_skip_window(struct sim_server *s, struct sim_tx *t,
	int64_t epoch, int64_t seq, int up_to, int64_t read);
/* sqlstate "": the key becomes a hole. */
const char *sim_set_aside(struct sim_server *s, struct sim_tx *t, int64_t epoch,
	int64_t seq, int key, int64_t read, int64_t hole, const char *sqlstate);
const char *sim_finish_range(
	struct sim_server *s, struct sim_tx *t, int64_t epoch, int64_t seq);

/* Unresolved ones. */
int sim_errors(const struct sim_range *r);
/* Of the walk or the sweep. */
int sim_cursor(const struct sim_range *r);
int sim_holes_first(const struct sim_range *r);
int64_t sim_rows_left(const struct sim_job *j, const struct sim_range *r);

/* ---- sim_control.c: what a daemon calls, and people. Each is a transaction
 * of its own, which the caller begins, and commits when it returns "". */

int sim_register(struct sim_server *s, uint64_t lease_ms);
/* epoch 0: nothing to do. */
const char *sim_claim(
	struct sim_server *s, struct sim_tx *t, int me, int64_t *epoch);
const char *sim_retake(struct sim_server *s, struct sim_tx *t, int me,
	int64_t with_epoch, int64_t *epoch);
const char *sim_release(struct sim_server *s, struct sim_tx *t, int me,
	int64_t epoch, const char *why);
const char *sim_finish_job(
	struct sim_server *s, struct sim_tx *t, int me, int64_t epoch);
const char *sim_fail_job(struct sim_server *s, struct sim_tx *t, int me,
	int64_t epoch, const char *sqlstate);
/* known NULL: all who write now; else those of the known that are left. The
 * rest goes into ids. */
const char *sim_barrier(struct sim_server *s, struct sim_tx *t, int me,
	int64_t epoch, const int *known, int known_count, int *ids, int size,
	int *count);

const char *sim_pause(struct sim_server *s, struct sim_tx *t);
const char *sim_resume(struct sim_server *s, struct sim_tx *t);
const char *sim_cancel(struct sim_server *s, struct sim_tx *t);
const char *sim_retry(struct sim_server *s, struct sim_tx *t);

#endif
