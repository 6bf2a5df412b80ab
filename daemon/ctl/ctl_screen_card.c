/* All that is to be said of one job. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl_format.h"
#include "ctl/ctl_screen.h"

enum {
	GAP = 3,
	BAR_ROOM = 54, /* what stands beside a bar */
	LEAST_BAR = 12,
	MOST_BAR = 60
};

static int is_over(const struct screen_job *j)
{
	return j->percent < 100 && j->rows_read > j->rows_total_estimate;
}

/* The estimate is a guess: once it is passed there is no percentage. */
char *ctl_screen_percent(char *buffer, const struct screen_job *j)
{
	return ctl_format_percent(
		buffer, is_over(j) ? (double)NAN : j->percent);
}

/* ---- how far it is */

static size_t bar_cells(const struct block *b)
{
	size_t cells = b->width > BAR_ROOM ? b->width - BAR_ROOM : 0;

	return cells < LEAST_BAR   ? LEAST_BAR
		: cells > MOST_BAR ? MOST_BAR
				   : cells;
}

static void add_bar(struct block *b, const struct screen_job *j)
{
	char done[FORMAT_BYTES], count[FORMAT_BYTES], estimate[FORMAT_BYTES];
	struct text t;

	text_init(&t);
	block_row(b, "  ");
	text_add(&t, ctl_screen_mark(j->state));
	ctl_format_bar(&t, j->percent, bar_cells(b));
	text_addf(&t, MARK_END " %6s", ctl_screen_percent(done, j));
	block_field(b, 0, &t);
	(void)ctl_format_short(estimate, j->rows_total_estimate);
	text_add(&t, ctl_format_count(count, j->rows_read));
	if (j->percent >= 100 || isnan(j->rows_total_estimate)) {
		text_add(&t, " rows");
	} else if (is_over(j)) {
		text_addf(&t, " rows (expected ~%s)", estimate);
	} else {
		text_addf(&t, " of ~%s rows", estimate);
	}
	block_field(b, 2, &t);
	text_close(&t);
}

/* "18.4k/s" */
static void add_rate(struct text *t, double rate, const char *of)
{
	char number[FORMAT_BYTES];

	text_addf(t, "%s%s %s", ctl_format_short(number, rate),
		isnan(rate) ? "" : "/s", of);
}

/* How long batches take beside how long they should. */
static void add_batch(struct text *t, const struct screen_job *j)
{
	char p50[FORMAT_BYTES], p95[FORMAT_BYTES], most[FORMAT_BYTES];
	char rows[FORMAT_BYTES];

	text_addf(t, "batch %s", ctl_format_short(rows, j->batch_rows));
	text_add(t, isnan(j->batch_rows) ? "" : " rows");
	if (!isnan(j->batch_p50_s)) {
		text_addf(t, " p50 %s p95 %s",
			ctl_format_span(p50, j->batch_p50_s),
			ctl_format_span(p95, j->batch_p95_s));
	}
	if (!isnan(j->target_batch_s)) {
		text_addf(t, "/%s", ctl_format_span(most, j->target_batch_s));
	}
}

static void add_speed(struct block *b, const struct screen_job *j)
{
	struct text t;

	text_init(&t);
	block_row(b, "  rate ");
	add_rate(&t, j->rows_per_second, "now, ");
	add_rate(&t, j->rows_per_second_5min, "5min");
	block_field(b, GAP, &t);
	add_batch(&t, j);
	block_field(b, GAP, &t);
	text_close(&t);
}

/* "elapsed 1h02m = work 54min + held 8min + paused 0s" */
static void add_times(struct block *b, const struct screen_job *j)
{
	char all[FORMAT_BYTES], work[FORMAT_BYTES], held[FORMAT_BYTES];
	char paused[FORMAT_BYTES];
	struct text t;

	text_init(&t);
	text_addf(&t, "%s %s", ctl_screen_has_ended(j) ? "took" : "elapsed",
		ctl_format_duration(all, j->elapsed_s));
	if (!isnan(j->work_s)) {
		text_addf(&t, " = work %s + held %s + paused %s",
			ctl_format_duration(work, j->work_s),
			ctl_format_duration(held, j->held_s),
			ctl_format_duration(paused, j->paused_s));
	}
	block_field(b, GAP, &t);
	text_close(&t);
}

/* When it is done by the clock is known only of a job that moves. */
static void add_eta(
	struct block *b, const struct screen *s, const struct screen_job *j)
{
	char left[FORMAT_BYTES], at[FORMAT_BYTES];
	struct text t;

	text_init(&t);
	block_row(b, "  eta  ");
	text_add(&t, ctl_format_duration(left, j->eta_s));
	if (!isnan(j->eta_s)) {
		if (j->state == SCREEN_RUNNING) {
			text_addf(&t, " (%s)",
				ctl_format_clock(
					at, s->now + j->eta_s, s->now));
		} else {
			text_add(&t, " once resumed");
		}
	}
	block_field(b, GAP, &t);
	add_times(b, j);
	text_close(&t);
}

static void add_end(struct block *b, const struct screen_job *j)
{
	char ended[FORMAT_BYTES];
	struct text t;

	text_init(&t);
	block_row(b, "  end  ");
	text_addf(&t, "%s ago", ctl_format_duration(ended, j->ended_s));
	block_field(b, GAP, &t);
	add_times(b, j);
	text_close(&t);
}

/* ---- what it goes by */

static void add_lag(struct text *t, const struct screen_signal *g)
{
	char value[FORMAT_BYTES];
	int is_known = !isnan(g->value);

	(void)snprintf(value, sizeof value, "%.1f", g->value);
	text_addf(t, "%slag %s/%gs ", g->is_holding ? MARK_WAIT : "",
		is_known ? value : "-", g->limit);
	ctl_format_inert(t, g->target);
	text_add(t, g->is_holding ? MARK_END : "");
}

static void add_pace(
	struct block *b, const struct screen *s, const struct screen_job *j)
{
	char pause[FORMAT_BYTES], paced[FORMAT_BYTES];
	struct text t;

	if (s->signal_count == 0 && isnan(j->pause_s)) {
		return;
	}
	text_init(&t);
	block_row(b, "  pace ");
	for (size_t i = 0; i < s->signal_count; i++) {
		add_lag(&t, &s->signals[i]);
		text_add(&t, i + 1 < s->signal_count ? " |" : "");
		block_field(b, 1, &t);
	}
	if (!isnan(j->pause_s)) {
		text_addf(&t, "pause %s (%s in all)",
			ctl_format_span(pause, j->pause_s),
			ctl_format_duration(paced, j->paced_s));
		block_field(b, GAP, &t);
	}
	text_close(&t);
}

static void add_who(struct block *b, const struct screen_job *j)
{
	int is_other = j->submitted_by != NULL && j->run_as != NULL &&
		strcmp(j->submitted_by, j->run_as) != 0;
	struct text t;

	text_init(&t);
	text_add(&t, "by ");
	ctl_format_inert(&t, j->submitted_by != NULL ? j->submitted_by : "-");
	if (is_other) {
		text_add(&t, " as ");
		ctl_format_inert(&t, j->run_as);
	}
	if (j->priority != NULL && strcmp(j->priority, "0") != 0) {
		text_addf(&t, " prio %s", j->priority);
	}
	block_field(b, GAP, &t);
	text_close(&t);
}

/* What is lost when it dies now: nothing before this key. */
static void add_key(struct block *b, const struct screen_job *j)
{
	char saved[FORMAT_BYTES];
	struct text t;

	text_init(&t);
	block_row(b, "  key  ");
	ctl_format_inert(&t, j->key != NULL ? j->key : "-");
	if (j->last_key != NULL) {
		text_add(&t, " to ");
		ctl_format_inert(&t, j->last_key);
	}
	block_field(b, GAP, &t);
	text_addf(&t, "saved %s%s", ctl_format_duration(saved, j->saved_s),
		isnan(j->saved_s) ? "" : " ago");
	block_field(b, GAP, &t);
	add_who(b, j);
	text_close(&t);
}

/* ---- what came of it */

static void add_retries(struct block *b, const struct screen_job *j)
{
	char count[FORMAT_BYTES], ago[FORMAT_BYTES];
	struct text t;

	if (!(j->retries > 0)) {
		return;
	}
	text_init(&t);
	text_addf(&t, "%s %s", ctl_format_count(count, j->retries),
		j->retries > 1 ? "retries" : "retry");
	text_addf(&t, " (%s%s%s ago)",
		j->retry_sqlstate != NULL ? j->retry_sqlstate : "",
		j->retry_sqlstate != NULL ? ", " : "",
		ctl_format_duration(ago, j->retried_s));
	block_field(b, GAP, &t);
	text_close(&t);
}

static void add_done(struct block *b, const struct screen_job *j)
{
	char rows[FORMAT_BYTES], batches[FORMAT_BYTES], n[FORMAT_BYTES];
	struct text t;

	text_init(&t);
	block_row(b, "  done ");
	text_addf(&t, "%s rows in %s %s", ctl_format_count(rows, j->rows_done),
		ctl_format_count(batches, j->batches),
		j->batches > 0 && j->batches < 2 ? "batch" : "batches");
	block_field(b, GAP, &t);
	if (j->row_errors > 0) {
		text_addf(&t, MARK_BAD "%s failed" MARK_END,
			ctl_format_count(n, j->row_errors));
	} else if (isnan(j->row_errors)) {
		text_add(&t, "- failed");
	} else {
		text_add(&t, "0 failed");
	}
	block_field(b, GAP, &t);
	add_retries(b, j);
	if (j->holes > 0) {
		text_addf(&t, "%s held by others and still to do",
			ctl_format_count(n, j->holes));
		block_field(b, GAP, &t);
	}
	text_close(&t);
}

/* Closing sweeps look for rows that were written behind the walk. */
static void add_sweep(struct block *b, const struct screen_job *j)
{
	char late[FORMAT_BYTES];
	struct text t;

	if (!(j->pass > 0)) {
		return;
	}
	text_init(&t);
	block_row(b, "  look ");
	text_addf(&t,
		ctl_screen_has_ended(j) ? "%.0f closing %s"
					: "sweep %.0f of %s",
		j->pass,
		!ctl_screen_has_ended(j) ? "at most 3"
			: j->pass > 1	 ? "sweeps"
					 : "sweep");
	text_addf(&t, ", %s late rows changed",
		ctl_format_count(late, j->late_rows));
	block_field(b, GAP, &t);
	text_close(&t);
}

/* Of a job that changes the schema: how far the build of an index is, which
 * says nothing of its other phases; and what it does. */
static void add_step(struct block *b, const struct screen_job *j)
{
	char done[FORMAT_BYTES];
	struct text t;

	text_init(&t);
	block_row(b, "  ");
	text_add(&t, ctl_screen_mark(j->state));
	ctl_format_bar(&t, j->percent, bar_cells(b));
	text_addf(&t, MARK_END " %6s", ctl_format_percent(done, j->percent));
	if (j->phase != NULL) {
		text_add(&t, "  of: ");
		ctl_format_inert(&t, j->phase);
	}
	block_field(b, 0, &t);
	block_row(b, "  step ");
	ctl_format_inert(&t, j->step != NULL ? j->step : "-");
	block_field(b, GAP, &t);
	block_row(b, "  time ");
	add_times(b, j);
	add_who(b, j);
	text_close(&t);
}

/* ---- why it does not move */

static void add_part(struct block *b, const char *label, const char *part)
{
	struct text t;

	if (part == NULL || *part == '\0') {
		return;
	}
	text_init(&t);
	block_row(b, label);
	ctl_format_inert(&t, part);
	block_field(b, GAP, &t);
	text_close(&t);
}

static void add_failure(struct block *b, const struct screen_job *j)
{
	struct text t;

	text_init(&t);
	block_row(b, "  fail ");
	ctl_format_inert(&t, j->error_sqlstate);
	text_add(&t, ": ");
	ctl_format_inert(&t, j->error_message != NULL ? j->error_message : "-");
	block_field(b, GAP, &t);
	add_part(b, "       ", j->error_detail);
	add_part(b, "  hint ", j->error_hint);
	text_close(&t);
}

static void add_why(struct block *b, const struct screen_job *j)
{
	struct text t;

	if (j->error_sqlstate != NULL) {
		add_failure(b, j);
		return;
	}
	text_init(&t);
	ctl_screen_why(&t, j);
	if (t.length > 0) {
		block_row(b, "  why  ");
		block_field(b, GAP, &t);
	}
	ctl_screen_next(&t, j);
	if (t.length > 0) {
		block_row(b, "  next ");
		block_field(b, GAP, &t);
	}
	text_close(&t);
}

/* It ended before it came to any row. */
static int is_untouched(const struct screen_job *j)
{
	return !(j->rows_read > 0) && !(j->batches > 0) && isnan(j->percent);
}

void ctl_screen_card(
	struct block *b, const struct screen *s, const struct screen_job *j)
{
	ctl_screen_title(b, j);
	if (ctl_screen_has_ended(j) && j->state != SCREEN_SUCCEEDED &&
		is_untouched(j)) {
		add_end(b, j);
		add_who(b, j);
	} else if (isnan(j->elapsed_s)) {
		block_row(b, "  who  ");
		add_who(b, j);
	} else if (ctl_screen_is_true(j->is_schema_kind)) {
		add_step(b, j);
	} else {
		add_bar(b, j);
		if (ctl_screen_has_ended(j)) {
			add_end(b, j);
		} else {
			add_speed(b, j);
			add_eta(b, s, j);
			add_pace(b, s, j);
		}
		add_done(b, j);
		add_sweep(b, j);
		add_key(b, j);
	}
	add_why(b, j);
	block_end(b);
}
