/* ctl_screen.h: what one look at a database tells, and how it is laid out.
 * Pure: values and a width in, text out. Texts are as they came, from other
 * people: the layout makes them inert. A number that is NAN and a text that
 * is NULL are unknown; times are seconds. */
#ifndef BACKFILL_CTL_CTL_SCREEN_H
#define BACKFILL_CTL_CTL_SCREEN_H

#include <stddef.h>

#include "ctl/ctl_block.h"

enum screen_state {
	SCREEN_HELD, /* the most interesting first */
	SCREEN_RUNNING,
	SCREEN_PAUSED,
	SCREEN_FAILED,
	SCREEN_QUEUED,
	SCREEN_SUCCEEDED,
	SCREEN_CANCELLED,
	SCREEN_STATES
};

/* As the columns of backfill.progress; the _s and _ms are until now. */
struct screen_job {
	enum screen_state state;
	const char *id, *name, *kind, *target, *waits_for, *reason;
	const char *key, *last_key, *submitted_by, *run_as, *priority;
	const char *step, *phase, *dry_run, *is_schema_kind, *came_by;
	const char *retry_sqlstate;
	const char *error_sqlstate, *error_message, *error_detail, *error_hint;
	double percent, rows_read, rows_total_estimate, rows_done, batches;
	double rows_per_second, rows_per_second_5min, batch_rows;
	double batch_p50_s, batch_p95_s, target_batch_s, pause_s, paced_s;
	double eta_s, since_s, saved_s, age_s, elapsed_s, ended_s;
	double work_s, held_s, paused_s;
	double holes, row_errors, pass, late_rows, retries, retried_s;
};

struct screen_daemon {
	const char *host, *pid, *version;
	double up_s, heard_s; /* since it began, and was last heard of */
	int is_alive;
};

/* A lag: of each standby, the newest sample of any daemon. */
struct screen_signal {
	const char *target;
	double value, limit, resume, age_s;
	int is_holding;
};

/* Jobs that are open or ended in the last 24 hours, as shown_jobs has them; of
 * those that are asked for there are cards, the others are counted. */
struct screen {
	double now; /* since the epoch */
	const char *database, *host, *port;
	const char *stopped_by, *stop_reason; /* NULL: nothing is stopped */
	double stopped_s;
	const struct screen_daemon *daemons;
	size_t daemon_count;
	const struct screen_signal *signals;
	size_t signal_count;
	const struct screen_job *jobs;
	size_t job_count;
	size_t left_out[SCREEN_STATES]; /* not among the jobs */
	double oldest_queued_s;		/* of all; 0 or NAN: by the jobs */
	const char *job; /* id of the one that is asked for; NULL: all */
};

/* The whole screen in a block of its width. It has at most height lines, 0:
 * as many as it takes: then the jobs that are least interesting become lines,
 * and the last of them "and 12 more". notice, unless NULL, is shown under the
 * head. */
void ctl_screen_draw(struct block *out, const struct screen *s, size_t height,
	const char *notice);

/* Whether the job belongs to the screen, or is only counted. */
int ctl_screen_has(const struct screen *s, const struct screen_job *j);

/* Of how many jobs that state is, with those that are left out. */
size_t ctl_screen_count(const struct screen *s, enum screen_state state);

/* How many are left out and belong to the screen. */
size_t ctl_screen_left_out(const struct screen *s);

/* How many daemons are alive. */
size_t ctl_screen_alive(const struct screen *s);

/* A boolean of the server, as its text; NULL is false. */
int ctl_screen_is_true(const char *value);

int ctl_screen_has_ended(const struct screen_job *j);

/* The accent of a state, to be ended by MARK_END. */
const char *ctl_screen_mark(enum screen_state state);

/* "HELD 38s": the state and for how long, marked with its accent. */
void ctl_screen_add_state(struct text *t, const struct screen_job *j);

/* "53.8%", or "-" once the estimate is passed. */
char *ctl_screen_percent(char *buffer, const struct screen_job *j);

/* Head and warnings; the first line of a card; a whole card; a line of a job
 * that has no card, its name in so many columns, as ctl_screen_name_columns()
 * tells, or fewer. */
void ctl_screen_head(struct block *b, const struct screen *s);
void ctl_screen_title(struct block *b, const struct screen_job *j);
void ctl_screen_card(
	struct block *b, const struct screen *s, const struct screen_job *j);
void ctl_screen_line(
	struct block *b, const struct screen_job *j, size_t name_columns);
size_t ctl_screen_name_columns(const struct screen_job *j);

/* One job in a sentence, for a chat, without an end of line:
 * "#42 orders.amount_cents 53.8% held 38s: replay lag …, eta 3h10m". */
void ctl_screen_short(struct text *t, const struct screen_job *j);

/* The reason without the words that the state says already; what is after
 * its arrow is left to ctl_screen_next(). Both inert. */
void ctl_screen_why(struct text *t, const struct screen_job *j);

/* What has to happen before it goes on; nothing when it is not known. */
void ctl_screen_next(struct text *t, const struct screen_job *j);

/* The verdict of a monitoring plugin: one line into t, with performance data
 * (Monitoring Plugins Development Guidelines, 2). Returns 0 ok, 1 warning or
 * 2 critical. */
int ctl_verdict(struct text *t, const struct screen *s);

#endif
