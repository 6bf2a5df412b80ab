/* runner_internal.h: the private parts of a runner, shared by runner*.c. */
#ifndef BACKFILL_ENGINE_RUNNER_INTERNAL_H
#define BACKFILL_ENGINE_RUNNER_INTERNAL_H

#include "base/log.h"
#include "engine/pacer.h"
#include "engine/runner.h"
#include "rules/keyset.h"
#include "rules/run.h"
#include "rules/setlist.h"
#include "store/catalog.h"
#include "store/work.h"

struct runner {
	struct host *host;
	struct queue_claim claim;
	runner_end_cb on_end;
	void *data;

	struct run run; /* the decisions */
	struct pacer_client pacer;
	struct text held_by;	   /* what the pacer said last */
	unsigned held_causes;	   /* 0: it did not hold */
	unsigned held_causes_told; /* in the log */
	uint64_t held_told_ms;	   /* when the text was renewed */
	char paced_by[160];
	char *stopped_by; /* why the job may run no more; NULL: it may */
	struct pgc *conn; /* the runner connection, or NULL */

	/* The session's, by the configuration as it was at the connect. */
	int64_t statement_timeout_ms;

	/* Read after each connect. */
	struct work_job job;
	struct keyset keyset;
	struct setlist columns;
	struct preflight preflight;

	struct text pieces; /* the statements of a ddl job, a text[] */
	char *lock_mode;    /* of the step in hand; NULL: none */
	char *lock_tables;

	/* Results that the event lends to the core. */
	struct key window_hi;
	struct run_hole hole;
	struct key bound;
	char *barrier_tokens; /* of those who wrote when it began */
	int64_t rows_estimate;
	struct err failure;    /* kept while a rollback is under way */
	char last_sqlstate[6]; /* of what the core was told last, or "" */
	int failure_of_job;    /* it came from the statement with its clauses */
	int64_t failure_elapsed_us;

	uv_timer_t timer;   /* pauses, and events that come later */
	uv_timer_t watch;   /* who holds up the request in flight, or waits? */
	unsigned watched;   /* requests up to now */
	int asking;	    /* an answer about one of them is outstanding */
	unsigned asked_of;  /* the one */
	char blockers[512]; /* "" nobody known */
	int waits_for_table;
	char waiting[256]; /* for whose sake it is being cancelled; "" nobody */
	char told[1024];   /* the reason that the queue shows */
	int telling;	   /* and it is being told */

	uv_timer_t line; /* does the request in flight get an answer? */
	int silences;	 /* times in a row that it looked as if not */

	int stop_asked;
	int abandoned;
	int ended;
	int control_pending; /* callbacks of the control connection */
	int timers_open;
};

/* runner.c */

/* The action under way ended. */
void runner_done(struct runner *r, struct run_event *ev);
void runner_failed(struct runner *r, const struct err *e);

/* Free when nothing can call back any more. */
void runner_maybe_free(struct runner *r);

/* runner_session.c: actions on the runner connection that lead to batches. */
void runner_connect(struct runner *r);
void runner_attach(struct runner *r);
void runner_begin(struct runner *r);
void runner_disconnect(struct runner *r);

/* Send on the runner connection; a failure is rolled back, then told. */
void runner_send(
	struct runner *r, struct pgc_request *request, pgc_request_cb cb);
/* First line of each callback: whether it was told already. */
int runner_request_failed(struct runner *r, const struct err *e);

struct fence runner_fence(const struct runner *r);

/* A saved key, which the job's own login may have written, is none or has
 * the columns of the table's; 0, or BF022. */
int runner_check_key(
	const struct runner *r, const struct key *key, struct err *e);

/* runner_preflight.c: may the job run, and how? */
void runner_preflight(struct runner *r);

/* runner_dry_run.c: the report of a job that shall change nothing. */
void runner_dry_run(struct runner *r);

/* runner_batch.c: windows, batches, holes. */
void runner_act_on_rows(struct runner *r, enum run_action action);

/* runner_step.c: the steps of a job of the schema kinds. */
void runner_act_on_schema(struct runner *r, enum run_action action);
/* For actions on the control connection: the runner waits for the reply. */
void runner_send_action(
	struct runner *r, struct pgc_request *request, pgc_request_cb cb);

/* runner_log.c: what lines of the log are about; borrowed from r. */
struct log_about runner_about(const struct runner *r);
/* Lines about the job; sqlstate: of the error that it is
 * about, or NULL. */
void runner_log(const struct runner *r, enum log_level level,
	const char *sqlstate, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* "23505: duplicate key … -> decision" */
void runner_log_error(const struct runner *r, enum log_level level,
	const struct err *e, const char *decision);
/* The run's reason, which may have its decision in it; or " -> decision". */
void runner_log_reason(const struct runner *r, const char *decision);
/* What the step in hand does. */
void runner_log_step(const struct runner *r, const char *decision);

/* runner_line.c: requests to which no reply will come. */
void runner_line_start(struct runner *r);
void runner_line_stop(struct runner *r);

/* For side remarks on the control connection: nobody waits, and nothing is
 * lost with them. The callback begins with runner_is_over(). */
void runner_send_aside(
	struct runner *r, struct pgc_request *request, pgc_request_cb cb);
/* Whether there is nothing more to do. */
int runner_is_over(struct runner *r);

/* runner_control.c: actions on the control connection. */
void runner_act_on_control(struct runner *r, enum run_action action);
void runner_barrier(struct runner *r);
void runner_tell_reason(struct runner *r);
void runner_watch_start(struct runner *r);
void runner_watch_stop(struct runner *r);
void runner_cancel(struct runner *r);

#endif
