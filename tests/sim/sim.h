/* sim.h: the simulator: daemons with the real core (rules/run.h), an
 * application, an operator and the faults of all of them, around the server
 * of sim_server.h. One seed is one trace: virtual time, one queue of events,
 * one source of randomness. After each event the invariants are checked by
 * an oracle that keeps books of its own (sim_check.c). */
#ifndef BACKFILL_TESTS_SIM_H
#define BACKFILL_TESTS_SIM_H

#include <stdint.h>

#include "rules/run.h"
#include "sim_server.h"

enum {
	SIM_SEATS = 3,	    /* daemons at a time */
	SIM_APPS = 12,	    /* transactions of the application at a time */
	SIM_REQUESTS = 128, /* in flight */
	SIM_BACKENDS = 20000,
	SIM_TOKENS = SIM_APPS + SIM_REQUESTS
};

/* ---- events */

enum sim_event_kind {
	SIM_EV_SEND,	 /* a run's request leaves the daemon */
	SIM_EV_SERVER,	 /* a request goes on in the server */
	SIM_EV_REPLY,	 /* its reply, or the news of its loss */
	SIM_EV_TIMER,	 /* a run's pause is over, its connection closed */
	SIM_EV_BEAT,	 /* heartbeat */
	SIM_EV_LOOK,	 /* look at the queue */
	SIM_EV_BIRTH,	 /* a daemon starts */
	SIM_EV_TROUBLE,	 /* freeze, kill or stop a daemon, crash the server */
	SIM_EV_OPERATOR, /* pause, resume, cancel, … */
	SIM_EV_APP_BEGIN,
	SIM_EV_APP,  /* a transaction of the application goes on */
	SIM_EV_QUIET /* from now on nothing goes wrong any more */
};

struct sim_event {
	uint64_t at, order;
	enum sim_event_kind kind;
	int who;	/* seat, request or transaction */
	int64_t serial; /* of what it was meant for */
};

/* ---- what the seed chose */

enum sim_may_fail {
	SIM_FAIL_ROW = 1,	/* 23514, BF014, BF026, BF027 */
	SIM_FAIL_HELD = 2,	/* BF023, BF025 */
	SIM_FAIL_REFERENCE = 4, /* 23503 */
	SIM_FAIL_RESIDUE = 8,	/* BF029 */
	SIM_FAIL_TROUBLE = 16,	/* what is tried again, for too long */
	SIM_FAIL_TIMEOUT = 32	/* 57014 of one row, again and again */
};

struct sim_choice {
	int seats;
	int fault_permille;	 /* of requests */
	int impatience_permille; /* of batches, who wait for them */
	int app_pause_ms;	 /* 0: no application */
	int app_writes_late;
	int has_long_holders;
	int has_references;
	int has_phantoms; /* a row fails once, and then no more */
	int troubles, operations, retries;
	int held_permille; /* of the moments in which the pacer is asked */
	int mends_rows;
	uint64_t lease_ms, poll_ms, lock_timeout_ms, control_lock_timeout_ms;
	uint64_t quiet_ms;
	struct run_limits limits;
	int may_fail;
};

/* ---- requests */

enum { /* after those of enum run_action */
	SIM_OP_BOUND = 40,
	SIM_OP_WORK,
	SIM_OP_CLAIM,
	SIM_OP_ORPHAN,
	SIM_OP_RENEW
};

enum sim_fate {
	SIM_FATE_WELL,
	SIM_FATE_NEVER_ARRIVES,
	SIM_FATE_CUT,	       /* all but its COMMIT arrives */
	SIM_FATE_REPLY_LOST,   /* all of it arrives, no reply */
	SIM_FATE_ERROR_BEFORE, /* at its first statement */
	SIM_FATE_ERROR_AFTER   /* before its COMMIT */
};

enum sim_stage {
	SIM_ARRIVING,
	SIM_EXECUTING, /* or waiting for a lock */
	SIM_COMMITTING,
	SIM_HANGING /* idle in transaction: its COMMIT never comes */
};

struct sim_request {
	int op; /* 0 is RUN_CONNECT */
	int in_use, is_served, is_answered;
	int64_t serial;
	int seat, incarnation;
	int64_t run; /* serial of the run; 0: the daemon's own */
	int backend;
	enum sim_fate fate;
	enum sim_stage stage;
	uint64_t since_ms; /* that it waits for a lock */
	int is_past_fence, is_cancelled;
	struct sim_tx tx;
	/* what was asked */
	struct {
		int64_t epoch, seq;
		int lo, hi, range_hi;
		int64_t rows, limit, size, hole;
		char sqlstate[6];
		char why[64];
		int is_barrier_new;
		int descending;
	} ask;
	/* and answered */
	struct {
		int code;
		char sqlstate[6];
		struct run_event ev;
		int cursor, hi, window_hi;
		struct sim_hole hole;
		int hole_count;
		int64_t epoch;
		enum sim_state state;
		int is_owner;
		int tokens[SIM_TOKENS];
		int token_count;
	} reply;
};

/* ---- daemons */

struct sim_run {
	struct run core;
	int64_t serial; /* 0: none */
	int backend;	/* of its connection; 0: none */
	int request;	/* under way; -1: none */
	int is_held;	/* what the pacer said last */
	int is_stopped; /* the job may run no more */
	int errors;	/* since the last pause or progress */
	int bound;	/* read by SIM_OP_BOUND */
	struct key cursor, hi, window_hi;
	struct run_hole hole;
	int tokens[SIM_TOKENS];
	int token_count;
};

struct sim_seat {
	int incarnation; /* 0: dead */
	uint64_t frozen_until;
	uint64_t renewed_ms, beat_sent_ms;
	int is_stopping, is_looking, look_again;
	struct sim_run run;
};

struct sim_backend {
	int is_dead, is_terminated;
	int request; /* that it carries out; -1: none */
};

struct sim_app {
	struct sim_tx tx;
	int64_t serial;
	uint64_t ends_ms;
	int writes, rolls_back;
	int is_old; /* wrote when the barrier began: P1 speaks of it */
};

/* ---- all of it */

struct sim_books {
	int64_t effects; /* rows changed by committed batches */
	int64_t epoch, seq;
	int cursor;
	int tried[SIM_KEYS + 1]; /* attempts at a bad row by the last retry */
	enum sim_state state;
	int is_owed[SIM_KEYS + 1]; /* to be changed by P1 */
	int has_barrier;	   /* one ended */
	int sweep_barriers;
	int pass;
	int64_t pass_effects; /* rows changed in the pass under way */
};

struct sim {
	uint64_t seed, random, hash;
	int is_verbose, is_quiet, is_over;
	char broken[512]; /* the invariant that broke; "": none */
	struct sim_choice choice;
	struct sim_server server;
	struct sim_books books;
	struct sim_event *heap;
	int heap_count, heap_size;
	uint64_t order;
	int64_t serial;
	int64_t steps;
	struct sim_request requests[SIM_REQUESTS];
	struct sim_backend backends[SIM_BACKENDS];
	int backend_count;
	struct sim_seat seats[SIM_SEATS];
	struct sim_app apps[SIM_APPS];
	struct {
		int64_t batches, holes, windows, takes, aside, sweeps, retries;
		int64_t lost, frozen, held, blocked;
	} seen;
};

/* sim.c */

struct sim *sim_new(void);
void sim_free(struct sim *w);
/* The life of one job. Returns 0, or -1: w->broken says what broke. */
int sim_walk(struct sim *w, uint64_t seed, int is_verbose);

/* 0 to below - 1 */
int sim_random(struct sim *w, int below);
int sim_chance(struct sim *w, int permille);
void sim_later(struct sim *w, uint64_t in_ms, enum sim_event_kind kind, int who,
	int64_t serial);
void sim_say(struct sim *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void sim_break(struct sim *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
const char *sim_op_name(int op);

/* sim_choice.c: what the seed chooses */

void sim_choose(struct sim *w);

/* sim_app.c: the application and the operator */

void sim_app_begin(struct sim *w);
void sim_app_go_on(struct sim *w, int i);
void sim_app_abort_all(struct sim *w);
/* what 0: something at random */
void sim_operate(struct sim *w, int what);
/* Nothing goes wrong any more: people see to it that the job ends. */
void sim_attend(struct sim *w);

/* sim_request.c: requests within the server */

void sim_hook_server(struct sim *w);
struct sim_request *sim_request_new(struct sim *w, int op, int seat);
void sim_request_send(struct sim *w, struct sim_request *q);
void sim_request_go_on(struct sim *w, struct sim_request *q);
/* The client has heard its end. */
void sim_request_answered(struct sim_request *q);
/* Nobody hears the reply any more. */
void sim_request_orphan(struct sim *w, struct sim_request *q);
void sim_crash_server(struct sim *w);

/* sim_execute.c: which rules a request calls; "", SQLSTATE or SIM_WAITS */
const char *sim_execute(struct sim *w, struct sim_request *q);
/* Whether it is committed by itself, or read only. */
int sim_is_runners(int op);
int sim_is_read_only(int op);

/* sim_daemon.c */

void sim_daemon_birth(struct sim *w, int seat);
void sim_daemon_beat(struct sim *w, int seat);
void sim_daemon_look(struct sim *w, int seat);
void sim_daemon_reply(struct sim *w, struct sim_request *q);
void sim_daemon_run_ended(struct sim *w, int seat);
void sim_trouble(struct sim *w);
void sim_thaw_all(struct sim *w);
int sim_may_begin(const struct sim *w, int seat);

/* sim_run.c */

void sim_run_start(struct sim *w, int seat, int64_t epoch);
void sim_run_drop(struct sim *w, int seat); /* its daemon died */
void sim_run_send(struct sim *w, int seat);
void sim_run_timer(struct sim *w, int seat);
void sim_run_reply(struct sim *w, int seat, struct sim_request *q);
void sim_run_wake(struct sim *w, int seat, int is_stopped, int is_cancelled);

/* sim_check.c */

void sim_before_commit(struct sim *w, const struct sim_request *q,
	const struct sim_tx *t, struct sim_app *app);
void sim_after_commit(struct sim *w, const struct sim_request *q);
/* The barrier begins, by the first look at who writes; and ends. */
void sim_barrier_asked(struct sim *w);
void sim_barrier_ended(struct sim *w);
void sim_retried(struct sim *w);
void sim_check(struct sim *w);
void sim_check_end(struct sim *w);

#endif
