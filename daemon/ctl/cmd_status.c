/* The status screen: a head line, what needs attention, and a card per
 * active job. It reads what pg_monitor may read and nothing else. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/ctl_format.h"
#include "ctl/ctl_table.h"

enum { STATE_COLUMN = 46 };

#define HEAD                                                                   \
	"SELECT j.*, d.alive, s.stopped_by, s.reason AS stop_reason,"          \
	" extract(epoch FROM clock_timestamp() - s.stopped_at) AS stopped_s"   \
	" FROM (SELECT"                                                        \
	"  count(*) FILTER (WHERE state = 'running') AS running,"              \
	"  count(*) FILTER (WHERE state = 'queued') AS queued,"                \
	"  count(*) FILTER (WHERE state = 'paused') AS paused,"                \
	"  count(*) FILTER (WHERE state = 'succeeded') AS succeeded,"          \
	"  count(*) FILTER (WHERE state = 'failed') AS failed,"                \
	"  count(*) FILTER (WHERE state = 'cancelled') AS cancelled"           \
	"  FROM backfill.progress) j"                                          \
	" CROSS JOIN (SELECT count(*) AS alive FROM backfill.daemons"          \
	"  WHERE stopped_at IS NULL AND lease_until > clock_timestamp()) d"    \
	" LEFT JOIN backfill.stop s ON true"

#define CARDS                                                                  \
	"SELECT p.*, extract(epoch FROM clock_timestamp()) AS now_s,"          \
	" extract(epoch FROM p.eta) AS eta_s,"                                 \
	" extract(epoch FROM clock_timestamp() - p.saved_at) AS saved_s,"      \
	" extract(epoch FROM clock_timestamp() - p.submitted_at) AS age_s,"    \
	" extract(epoch FROM coalesce(p.finished_at, clock_timestamp())"       \
	"  - p.started_at) AS elapsed_s,"                                      \
	" extract(epoch FROM clock_timestamp() - p.finished_at) AS ended_s,"   \
	" round(1000 * extract(epoch FROM p.batch_time)) AS batch_ms,"         \
	" round(1000 * extract(epoch FROM p.pause)) AS pause_ms,"              \
	" extract(epoch FROM p.paced) AS paced_s,"                             \
	" backfill.is_schema_kind(p.kind) AS is_schema_kind,"                  \
	" (SELECT string_agg(format('%s %s/%ss', s.target,"                    \
	"   coalesce(round(s.value::numeric, 1)::text, '-'), s.limit_value),"  \
	"   ', ' ORDER BY s.target)"                                           \
	"  FROM (SELECT DISTINCT ON (n.target) n.* FROM backfill.signals n"    \
	"   WHERE n.signal = 'replication_lag'"                                \
	"   ORDER BY n.target, n.age) s) AS lags"                              \
	" FROM backfill.progress p"                                            \
	" WHERE p.id = $1::bigint OR ($1 IS NULL"                              \
	"  AND p.state IN ('queued', 'running', 'paused')) ORDER BY p.id"

/* ---- the head */

static void print_warnings(const PGresult *head)
{
	int waiting = atoi(ctl_value(head, 0, "queued")) +
		atoi(ctl_value(head, 0, "running"));
	char since[FORMAT_BYTES];

	if (waiting > 0 && atoi(ctl_value(head, 0, "alive")) == 0) {
		ctl_say("warning: %d %s and no daemon is alive", waiting,
			waiting == 1 ? "job waits" : "jobs wait");
	}
	if (!ctl_is_null(head, 0, "stopped_by")) {
		ctl_say("warning: all work is stopped by %s for %s%s%s",
			ctl_value(head, 0, "stopped_by"),
			ctl_format_duration(
				since, ctl_number(head, 0, "stopped_s")),
			ctl_is_null(head, 0, "stop_reason") ? "" : ": ",
			ctl_value(head, 0, "stop_reason"));
	}
}

static int print_head(struct ctl *ctl)
{
	PGresult *head = ctl_query(ctl, HEAD, 0, NULL);

	if (head == NULL) {
		return ctl->code;
	}
	ctl_say("%s  running %s  queued %s  paused %s  succeeded %s  failed %s"
		"  cancelled %s  daemons %s",
		PQdb(ctl->conn), ctl_value(head, 0, "running"),
		ctl_value(head, 0, "queued"), ctl_value(head, 0, "paused"),
		ctl_value(head, 0, "succeeded"), ctl_value(head, 0, "failed"),
		ctl_value(head, 0, "cancelled"), ctl_value(head, 0, "alive"));
	print_warnings(head);
	PQclear(head);
	return CTL_OK;
}

/* ---- a card */

static void add_title(struct text *t, const PGresult *jobs, int row)
{
	size_t columns;

	text_addf(t, "#%s ", ctl_value(jobs, row, "id"));
	ctl_format_inert(t, ctl_value(jobs, row, "name"));
	columns = ctl_table_columns(t->data);
	do {
		text_add(t, " ");
	} while (++columns < STATE_COLUMN);
	for (const char *c = ctl_value(jobs, row, "state"); *c != '\0'; c++) {
		char upper = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);

		text_add_bytes(t, &upper, 1);
	}
	text_add(t, "\n");
}

/* The estimate is a guess: once it is passed there is no percentage. */
static void add_bar(struct text *t, const PGresult *jobs, int row)
{
	double percent = ctl_number(jobs, row, "percent");
	double rows = ctl_number(jobs, row, "rows_read");
	double total = ctl_number(jobs, row, "rows_total_estimate");
	int is_over = percent < 100 && rows > total;
	char bar[FORMAT_BYTES], done[FORMAT_BYTES], count[FORMAT_BYTES];
	char estimate[FORMAT_BYTES];

	text_addf(t, "  %s %6s  %s", ctl_format_bar(bar, percent),
		ctl_format_percent(done, is_over ? (double)NAN : percent),
		ctl_format_count(count, rows));
	(void)ctl_format_short(estimate, total);
	if (percent >= 100 || isnan(total)) {
		text_add(t, " rows\n");
	} else if (is_over) {
		text_addf(t, " rows (expected ~%s)\n", estimate);
	} else {
		text_addf(t, " of ~%s rows\n", estimate);
	}
}

static void add_speed(struct text *t, const PGresult *jobs, int row)
{
	double now = ctl_number(jobs, row, "now_s");
	double eta = ctl_number(jobs, row, "eta_s");
	char rate[FORMAT_BYTES], left[FORMAT_BYTES], at[FORMAT_BYTES];
	char elapsed[FORMAT_BYTES];
	const char *batch = ctl_value(jobs, row, "batch_rows");

	(void)ctl_format_short(rate, ctl_number(jobs, row, "rows_per_second"));
	text_addf(t, "  rate %s%s  batch %s%s  eta %s", rate,
		*rate == '-' ? "" : "/s", *batch == '\0' ? "-" : batch,
		*batch == '\0' ? "" : " rows", ctl_format_duration(left, eta));
	if (!isnan(eta)) {
		text_addf(t, " (%s)", ctl_format_clock(at, now + eta, now));
	}
	text_addf(t, "  elapsed %s\n",
		ctl_format_duration(
			elapsed, ctl_number(jobs, row, "elapsed_s")));
}

/* How long batches take and how long it is quiet between them; what the
 * standbys are behind, and may be. */
static void add_pace(struct text *t, const PGresult *jobs, int row)
{
	char paced[FORMAT_BYTES];
	const char *pause = ctl_value(jobs, row, "pause_ms");

	if (ctl_is_null(jobs, row, "batch_ms")) {
		return;
	}
	text_addf(t, "  pace batch %sms  pause %s%s",
		ctl_value(jobs, row, "batch_ms"), *pause == '\0' ? "-" : pause,
		*pause == '\0' ? "" : "ms");
	text_addf(t, " (%s in all)",
		ctl_format_duration(paced, ctl_number(jobs, row, "paced_s")));
	if (!ctl_is_null(jobs, row, "lags")) {
		text_add(t, "  lag ");
		ctl_format_inert(t, ctl_value(jobs, row, "lags"));
	}
	text_add(t, "\n");
}

/* A job that ended has no rate and no time left. */
static void add_end(struct text *t, const PGresult *jobs, int row)
{
	char took[FORMAT_BYTES], ended[FORMAT_BYTES];

	text_addf(t, "  took %s  ended %s ago\n",
		ctl_format_duration(took, ctl_number(jobs, row, "elapsed_s")),
		ctl_format_duration(ended, ctl_number(jobs, row, "ended_s")));
}

static void add_done(struct text *t, const PGresult *jobs, int row)
{
	char rows[FORMAT_BYTES], batches[FORMAT_BYTES], holes[FORMAT_BYTES];
	char errors[FORMAT_BYTES];

	text_addf(t, "  done %s rows changed in %s batches",
		ctl_format_count(rows, ctl_number(jobs, row, "rows_done")),
		ctl_format_count(batches, ctl_number(jobs, row, "batches")));
	if (ctl_number(jobs, row, "holes") > 0) {
		text_addf(t, ", %s held by others and still to do",
			ctl_format_count(
				holes, ctl_number(jobs, row, "holes")));
	}
	if (ctl_number(jobs, row, "row_errors") > 0) {
		text_addf(t, ", %s failed",
			ctl_format_count(
				errors, ctl_number(jobs, row, "row_errors")));
	}
	text_add(t, "\n");
}

/* Closing sweeps look for rows that were written behind the walk. */
static void add_sweep(struct text *t, const PGresult *jobs, int row)
{
	char late[FORMAT_BYTES];
	double pass = ctl_number(jobs, row, "pass");
	int has_ended = !ctl_is_null(jobs, row, "finished_at");

	if (pass > 0) {
		text_addf(t, "  %s %.0f%s, %s late rows changed\n",
			has_ended ? "sweeps" : "sweep", pass,
			has_ended ? "" : " of at most 3",
			ctl_format_count(
				late, ctl_number(jobs, row, "late_rows")));
	}
}

static void add_key(struct text *t, const PGresult *jobs, int row)
{
	char saved[FORMAT_BYTES];

	text_add(t, "  key  ");
	if (ctl_is_null(jobs, row, "key")) {
		text_add(t, "-");
	}
	ctl_format_inert(t, ctl_value(jobs, row, "key"));
	if (!ctl_is_null(jobs, row, "last_key")) {
		text_add(t, " to ");
		ctl_format_inert(t, ctl_value(jobs, row, "last_key"));
	}
	ctl_format_duration(saved, ctl_number(jobs, row, "saved_s"));
	text_addf(t, "  saved %s%s", saved, *saved == '-' ? "" : " ago");
	text_add(t, "  as ");
	ctl_format_inert(t, ctl_value(jobs, row, "run_as"));
	text_add(t, "\n");
}

/* Of a job that changes the schema: how far the build of an index is, which
 * says nothing of its other phases; and what it does. */
static void add_step(struct text *t, const PGresult *jobs, int row)
{
	char bar[FORMAT_BYTES], done[FORMAT_BYTES], elapsed[FORMAT_BYTES];
	double percent = ctl_number(jobs, row, "percent");

	text_addf(t, "  %s %6s", ctl_format_bar(bar, percent),
		ctl_format_percent(done, percent));
	if (!ctl_is_null(jobs, row, "phase")) {
		text_add(t, "  of: ");
		ctl_format_inert(t, ctl_value(jobs, row, "phase"));
	}
	text_add(t, "\n  step ");
	ctl_format_inert(t,
		ctl_is_null(jobs, row, "step") ? "-"
					       : ctl_value(jobs, row, "step"));
	text_add(t, "\n");
	if (!ctl_is_null(jobs, row, "finished_at")) {
		add_end(t, jobs, row);
		return;
	}
	text_addf(t, "  elapsed %s  as ",
		ctl_format_duration(
			elapsed, ctl_number(jobs, row, "elapsed_s")));
	ctl_format_inert(t, ctl_value(jobs, row, "run_as"));
	text_add(t, "\n");
}

static void add_part(struct text *t, const char *label, const char *part)
{
	if (*part != '\0') {
		text_add(t, label);
		ctl_format_inert(t, part);
		text_add(t, "\n");
	}
}

static void add_card(struct text *t, const PGresult *jobs, int row)
{
	char age[FORMAT_BYTES];
	int has_error = !ctl_is_null(jobs, row, "error_sqlstate");

	if (ctl_is_null(jobs, row, "started_at")) {
		text_addf(t, "  submitted %s ago\n",
			ctl_format_duration(
				age, ctl_number(jobs, row, "age_s")));
	} else if (*ctl_value(jobs, row, "is_schema_kind") == 't') {
		add_step(t, jobs, row);
	} else {
		add_bar(t, jobs, row);
		if (ctl_is_null(jobs, row, "finished_at")) {
			add_speed(t, jobs, row);
			add_pace(t, jobs, row);
		} else {
			add_end(t, jobs, row);
		}
		add_done(t, jobs, row);
		add_sweep(t, jobs, row);
		add_key(t, jobs, row);
	}
	if (has_error) {
		text_addf(t,
			"  fail %s: ", ctl_value(jobs, row, "error_sqlstate"));
		add_part(t, "", ctl_value(jobs, row, "error_message"));
		add_part(t, "       ", ctl_value(jobs, row, "error_detail"));
		add_part(t, "  hint ", ctl_value(jobs, row, "error_hint"));
	} else {
		add_part(t, "  why  ", ctl_value(jobs, row, "reason"));
	}
}

static int print_cards(struct ctl *ctl, const char *id)
{
	const char *const values[] = { id };
	PGresult *jobs = ctl_query(ctl, CARDS, 1, values);
	struct text t;

	if (jobs == NULL) {
		return ctl->code;
	}
	for (int i = 0; i < PQntuples(jobs); i++) {
		text_init(&t);
		add_title(&t, jobs, i);
		add_card(&t, jobs, i);
		printf("\n%s", t.data);
		text_close(&t);
	}
	PQclear(jobs);
	return CTL_OK;
}

int cmd_status(struct ctl *ctl)
{
	PGresult *job = NULL;

	if (ctl->job != NULL) {
		job = ctl_find_job(ctl, ctl->job);
		if (job == NULL) {
			return ctl->code;
		}
	}
	if (print_head(ctl) == CTL_OK) {
		(void)print_cards(
			ctl, job != NULL ? ctl_value(job, 0, "id") : NULL);
	}
	PQclear(job);
	return ctl->code;
}
