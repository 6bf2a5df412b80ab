/* run.h: the decisions of one job's run. Pure: an event goes in, the one
 * next action comes out; time and randomness are part of the event. The
 * shell (engine/runner.h) carries out the action and comes back with the
 * event that tells how it ended: one action is under way at any time.
 *
 * Nothing that could be lost is decided by memory: after every connection
 * the checkpoint is read again, and each batch names the epoch and sequence
 * number that it was built on. */
#ifndef BACKFILL_RULES_RUN_H
#define BACKFILL_RULES_RUN_H

#include <stdint.h>

#include "base/err.h"
#include "base/sm.h"
#include "rules/key.h"
#include "rules/retry.h"
#include "rules/size.h"

enum run_action {
	RUN_CONNECT,	  /* a runner connection, as run_as */
	RUN_ATTACH,	  /* settings, backfill.attach: the checkpoint */
	RUN_PREFLIGHT,	  /* catalog, key, clauses */
	RUN_BARRIER,	  /* control: who still writes? backfill.barrier */
	RUN_BEGIN,	  /* the bound, backfill.begin_job */
	RUN_READ_WINDOW,  /* the next hi, outside a batch */
	RUN_BATCH,	  /* one batch; reads the hi after it */
	RUN_SKIP_WINDOW,  /* the whole window becomes a hole */
	RUN_NEXT_HOLE,	  /* the hole after hole.id */
	RUN_READ_HOLE,	  /* the next hi within a window hole */
	RUN_BATCH_HOLE,	  /* a batch over part of a window hole */
	RUN_DRAIN_HOLE,	  /* lock one key, waiting, and change its row */
	RUN_SET_ASIDE,	  /* one key becomes a hole or a row error */
	RUN_FINISH_RANGE, /* backfill.finish_range */
	RUN_DRY_RUN,	  /* the report on a first batch */
	RUN_EXAMINE,	  /* schema kinds: what is to be done next? */
	RUN_GUARD, /* control: who holds the table? backfill.lock_holders */
	RUN_STEP,  /* do it, as way says */
	RUN_PACE,  /* pause_ms, then look again whether a batch may begin */
	RUN_WAIT,  /* pause_ms; may be woken early */
	RUN_DISCONNECT, /* close the runner connection */
	RUN_TAKE,	/* control: backfill.retake_range */
	RUN_FINISH_JOB, /* control: backfill.finish_job */
	RUN_FAIL,	/* control: backfill.fail_job with error */
	RUN_RELEASE,	/* control: backfill.release with why */
	RUN_END		/* nothing more: free the run */
};

/* Rows read of a window hole at once: no more than may be held singly, so
 * that the batch over them cannot be refused. */
enum { RUN_HOLE_ROWS = 100 };

/* How a step of the schema kinds is carried out. */
enum run_way {
	RUN_WAY_NONE,	     /* nothing is left to do: say so */
	RUN_WAY_TRANSACTION, /* with the job's progress */
	RUN_WAY_ALONE,	     /* one statement outside any transaction */
	RUN_WAY_LOOK	     /* for rows that are in the way */
};

struct run_hole {
	int64_t id; /* 0: none */
	int is_window;
	struct key lo;
	struct key hi; /* the key, or the window's end */
	int64_t age_ms;
	int64_t remaining;
};

/* How the last action ended. Fields beyond error count only where named;
 * keys are lent. */
struct run_event {
	const struct err *error; /* NULL: well */
	uint64_t now_ms;
	uint32_t random;
	int stop_asked;	      /* the daemon wants to end: release soon */
	const char *blockers; /* who held us up meanwhile; NULL: nobody */
	int waits_for_table;  /* by a lock of the whole table */
	/* "pid 7 (joe) has waited 1.2 s for the batch (…)": for whose sake it
	 * was cancelled, with sample.elapsed_us; NULL: for nobody's */
	const char *waiting;
	/* The error is that of the statement which runs the job's own code:
	 * a trigger may raise BF010 and mean nothing by it. */
	int of_job;

	/* What the pacer (rules/pace.h) says at this moment: why no batch may
	 * begin, NULL: one may; and when the next one may; how much WAL it
	 * may write, 0: no bound. */
	const char *held_by;
	uint64_t pace_ms;
	const char *paced_by; /* why then */
	int64_t max_batch_wal_bytes;
	/* Why the job may run no more; NULL: it may, as far as is known. A
	 * batch that begins finds out by itself. */
	const char *stopped_by;

	/* RUN_ATTACH; RUN_BEGIN: hi, finished; RUN_FINISH_RANGE: finished,
	 * pass */
	int begun;
	int finished;
	int64_t seq;
	int64_t last_batch_rows;
	const struct key *cursor;
	const struct key *hi;
	int is_delete;
	int is_dry_run;
	int records_errors; /* on_row_error = record */
	int holes_first;    /* recorded rows are to be tried again */
	int pass;

	/* RUN_PREFLIGHT: the table has a foreign key to itself */
	int refers_to_itself;

	/* RUN_BARRIER, RUN_GUARD: who must end first; NULL: nobody */
	const char *waits_for;

	/* RUN_ATTACH */
	int is_schema_kind;

	/* RUN_EXAMINE; RUN_STEP: finished */
	enum run_way way;
	int is_long;	  /* it reads a whole table */
	int takes_lock;	  /* the guard is to look who holds it */
	const char *told; /* what it does */

	/* RUN_READ_WINDOW, RUN_READ_HOLE, RUN_BATCH: the window ahead */
	const struct key *window_hi; /* no key: none ahead */
	int64_t window_rows;

	/* RUN_BATCH: what it did */
	struct size_sample sample;

	/* RUN_ATTACH, RUN_BATCH: the job's own limits if it has any */
	int64_t batch_rows; /* 0: the configuration's, as the next two */
	int64_t max_batch_rows;
	int64_t target_us;
	int64_t rows_left; /* up to pause_after_rows; 0: it is not set */
	int64_t max_rows_per_second; /* that are changed; 0: no bound */

	/* RUN_BATCH: a statement that may wait for locks ends after this
	 * time; 0: it cannot wait */
	int64_t wait_cap_us;

	/* RUN_NEXT_HOLE */
	const struct run_hole *hole;

	/* RUN_TAKE */
	int64_t epoch;
};

struct run_limits {
	struct size_limits size;
	uint64_t barrier_timeout_ms;
	uint64_t hole_timeout_ms;
	uint64_t trouble_timeout_ms; /* for errors that are tried again */
	int64_t max_blocking_us;     /* an application waits for a batch */
};

/* How rows of a delete are met that others of the table refer to. */
enum run_references {
	RUN_REFERENCES_LATER, /* once the others are gone, window by window */
	RUN_REFERENCES_SPLIT, /* the same, row by row */
	RUN_REFERENCES_FINAL  /* they are errors */
};

/* Why a window is being halved: a row of it cannot be changed. Each half is
 * a batch of its own, committed as any other. */
struct run_bisect {
	int64_t suspects; /* rows ahead, of which one fails; 0: of none known */
};

/* The key that RUN_SET_ASIDE is about. */
struct run_aside {
	struct key key;
	int64_t hole;	  /* the hole that it belongs to; 0: the walk */
	struct err error; /* code 0: it becomes a hole of its own */
};

/* The step of a job of the schema kinds. */
struct run_schema {
	enum run_way way;
	int is_long;
	int is_leaving; /* only clears away what a failed attempt left */
	int has_begun;	/* a statement alone may have been begun */
	char told[256];
	char before[256]; /* what the step before did */
	int repeats;	  /* that it was the same */
	char failed[256]; /* what is tried again; "": nothing */
	int attempts_to_leave;
	enum run_action last; /* of leaving */
	char why[1024];	      /* RUN_RELEASE, kept while leaving */
};

/* Part of a reason that is a key, or words that may quote a value: not for the
 * log. length 0: none. */
struct run_quoted {
	size_t at;
	size_t length;
};

/* What keeps the next batch waiting. */
struct run_pace {
	uint64_t now_ms;     /* of the event, as the next four */
	const char *held_by; /* lent by it, as the next */
	const char *paced_by;
	uint64_t allowed_ms;	  /* when the pacer allows a batch */
	uint64_t rows_allowed_ms; /* when max_rows_per_second does */
	int64_t max_wal_bytes;
	int64_t max_rows_per_second;
	enum run_action next; /* what RUN_PACE keeps waiting */
	uint64_t since_ms;    /* that it is held; 0: it is not */
	uint64_t told_ms;     /* when the reason of a pause was last renewed */
	char reason[1024];    /* before it was held */
	struct run_quoted quoted;
};

struct run {
	/* What the shell reads to carry out the action. */
	struct sm action;
	int64_t epoch;
	int64_t seq;
	int pass;	   /* 0: the walk; else the closing sweep */
	struct key cursor; /* lower end of the window; no key: the start */
	struct key hi;	   /* of the range */
	struct key window_hi;
	int64_t window_rows;
	int64_t limit;	    /* RUN_READ_WINDOW, RUN_READ_HOLE: rows to read */
	int64_t next_limit; /* RUN_BATCH: rows of the window after it */
	struct size size;
	struct run_hole hole;
	struct key hole_hi; /* RUN_BATCH_HOLE: up to here */
	struct run_aside aside;
	struct run_schema schema;
	int holes_descend;  /* RUN_NEXT_HOLE: the one before hole.id, not after
			     */
	int is_slow;	    /* a row alone that is given more time */
	int is_barrier_new; /* RUN_BARRIER: all that write now; else the rest */
	uint64_t pause_ms;
	struct err error;  /* RUN_FAIL */
	char reason[1024]; /* why it does not move; "": it moves */
	struct run_quoted quoted;

	/* private */
	struct run_limits limits;
	struct retry trouble;
	struct retry hole_pass;
	struct retry barrier_poll;
	struct run_bisect bisect;
	int timeouts_of_row; /* of a window of one row, one after the other */
	int has_blocked;     /* batches follow max_blocking_us since then */
	int is_delete;
	int refers_to_itself;
	int is_dry_run;
	int records_errors;
	int walk_after_holes; /* recorded rows come first */
	int64_t rows_left;
	uint64_t barrier_since_ms;	     /* 0: it has not waited */
	struct retry trouble_before_barrier; /* goes on after it */
	int again; /* action to repeat after RUN_WAIT or a reconnect */
	struct run_pace pace;
	int64_t held_in_pass;
	char held_reason[1024]; /* of the last one held */
	struct run_quoted held_quoted;
	int64_t referenced_in_pass; /* deletes that a later key refers to */
	int64_t drained_in_pass;
	int64_t held_hole; /* more rows of it held than a batch may leave */
	int64_t split_in_pass;
	enum run_references references;
};

/* Whether the action writes the table or its checkpoint: what is gated. */
int run_begins_batch(enum run_action a);

/* Whether the run is at a step that may take hours, and keeps no reader or
 * writer of the table waiting. */
int run_is_at_long_step(const struct run *r);

/* Start with a fresh claim; the first action is RUN_CONNECT. */
void run_init(struct run *r, const struct run_limits *limits, int64_t epoch);
void run_close(struct run *r);

/* Other limits from the next decision on, all but trouble_timeout_ms; the
 * size of batches follows with the next batch. */
void run_set_limits(struct run *r, const struct run_limits *limits);

/* The action under way ended: decide the next one, which is returned. An
 * error of RUN_PACE, RUN_WAIT or RUN_DISCONNECT counts as its end. */
enum run_action run_step(struct run *r, const struct run_event *ev);

enum run_action run_current(const struct run *r);

#endif
