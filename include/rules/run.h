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
	RUN_BEGIN,	  /* the bound, backfill.begin_job */
	RUN_READ_WINDOW,  /* the next hi, outside a batch */
	RUN_BATCH,	  /* one batch; reads the hi after it */
	RUN_SKIP_WINDOW,  /* the whole window becomes a hole */
	RUN_NEXT_HOLE,	  /* the hole after hole.id */
	RUN_READ_HOLE,	  /* the next hi within a window hole */
	RUN_BATCH_HOLE,	  /* a batch over part of a window hole */
	RUN_DRAIN_HOLE,	  /* lock one key, waiting, and change its row */
	RUN_FINISH_RANGE, /* backfill.finish_range */
	RUN_WAIT,	  /* pause_ms; may be woken early */
	RUN_DISCONNECT,	  /* close the runner connection */
	RUN_TAKE,	  /* control: backfill.retake_range */
	RUN_FINISH_JOB,	  /* control: backfill.finish_job */
	RUN_FAIL,	  /* control: backfill.fail_job with error */
	RUN_RELEASE,	  /* control: backfill.release with why */
	RUN_END		  /* nothing more: free the run */
};

/* Rows read of a window hole at once: no more than may be held singly, so
 * that the batch over them cannot be refused. */
enum { RUN_HOLE_ROWS = 100 };

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
	/* The error is that of the statement which runs the job's own code:
	 * a trigger may raise BF010 and mean nothing by it. */
	int of_job;

	/* RUN_ATTACH; RUN_BEGIN: hi, finished */
	int begun;
	int finished;
	int64_t seq;
	int64_t last_batch_rows;
	const struct key *cursor;
	const struct key *hi;

	/* RUN_READ_WINDOW, RUN_READ_HOLE, RUN_BATCH: the window ahead */
	const struct key *window_hi; /* no key: none ahead */
	int64_t window_rows;

	/* RUN_BATCH: what it did */
	struct size_sample sample;

	/* RUN_ATTACH, RUN_BATCH: the job's own limits if it has any */
	int64_t batch_rows; /* 0: the configuration's, as the next two */
	int64_t max_batch_rows;
	int64_t target_us;

	/* RUN_NEXT_HOLE */
	const struct run_hole *hole;

	/* RUN_TAKE */
	int64_t epoch;
};

struct run_limits {
	struct size_limits size;
	uint64_t hole_timeout_ms;
	uint64_t trouble_timeout_ms; /* for errors that are tried again */
};

struct run {
	/* What the shell reads to carry out the action. */
	struct sm action;
	int64_t epoch;
	int64_t seq;
	struct key cursor; /* lower end of the window; no key: the start */
	struct key hi;	   /* of the range */
	struct key window_hi;
	int64_t window_rows;
	struct size size;
	struct run_hole hole;
	struct key hole_hi; /* RUN_BATCH_HOLE: up to here */
	uint64_t pause_ms;
	struct err error;  /* RUN_FAIL */
	char reason[1024]; /* why it does not move; "": it moves */

	/* private */
	struct run_limits limits;
	struct retry trouble;
	struct retry hole_pass;
	int again; /* action to repeat after RUN_WAIT or a reconnect */
	int64_t held_in_pass;
};

/* Start with a fresh claim; the first action is RUN_CONNECT. */
void run_init(struct run *r, const struct run_limits *limits, int64_t epoch);
void run_close(struct run *r);

/* The action under way ended: decide the next one, which is returned. An
 * error of RUN_WAIT or RUN_DISCONNECT counts as its end. */
enum run_action run_step(struct run *r, const struct run_event *ev);

enum run_action run_current(const struct run *r);

#endif
