/* What a monitoring system is told: the worst that is to be said, first. */
#include <math.h>
#include <stdio.h>

#include "ctl/ctl_format.h"
#include "ctl/ctl_screen.h"

enum { OK, WARNING, CRITICAL };
enum { MOST_HELD_S = 900, MOST_QUIET_S = 900, MOST_QUEUED_S = 3600 };

struct verdict {
	int code;
	struct text critical, warning; /* each begins with ", " */
};

static struct text *complain(struct verdict *v, int code)
{
	struct text *t = code == CRITICAL ? &v->critical : &v->warning;

	v->code = code > v->code ? code : v->code;
	text_add(t, ", ");
	return t;
}

static void add_name(struct text *t, const struct screen_job *j)
{
	struct text name;

	/* What is after "|" would be taken for performance data. */
	text_init(&name);
	ctl_format_inert(&name, j->name);
	for (char *c = name.data; *c != '\0'; c++) {
		*c = *c == '|' ? '/' : *c;
	}
	text_addf(t, "#%s %s", j->id, name.data);
	text_close(&name);
}

static void judge_job(struct verdict *v, const struct screen_job *j)
{
	double quiet_s = isnan(j->saved_s) ? j->elapsed_s : j->saved_s;
	int is_batches = !ctl_screen_is_true(j->is_schema_kind);
	char time[FORMAT_BYTES];
	struct text *t;

	if (j->state == SCREEN_FAILED) {
		t = complain(v, CRITICAL);
		add_name(t, j);
		text_addf(t, " failed %s ago",
			ctl_format_duration(time, j->ended_s));
	} else if (j->state == SCREEN_RUNNING && is_batches &&
		quiet_s > MOST_QUIET_S && j->since_s > MOST_QUIET_S) {
		t = complain(v, CRITICAL);
		add_name(t, j);
		text_addf(t, " made no progress for %s",
			ctl_format_duration(time, quiet_s));
	} else if (j->state == SCREEN_HELD && j->since_s > MOST_HELD_S) {
		t = complain(v, WARNING);
		add_name(t, j);
		text_addf(t, " is held for %s",
			ctl_format_duration(time, j->since_s));
	} else if (j->state == SCREEN_QUEUED && j->age_s > MOST_QUEUED_S) {
		t = complain(v, WARNING);
		add_name(t, j);
		text_addf(t, " is queued for %s",
			ctl_format_duration(time, j->age_s));
	}
	if (j->row_errors > 0 && j->state != SCREEN_FAILED) {
		t = complain(v, WARNING);
		add_name(t, j);
		text_addf(t, " has rows that failed: %.0f", j->row_errors);
	}
}

/* Of those nothing is known but how many, and the oldest. */
static void judge_left_out(struct verdict *v, const struct screen *s)
{
	char time[FORMAT_BYTES];

	if (s->left_out[SCREEN_FAILED] > 0) {
		text_addf(complain(v, CRITICAL), "%zu more failed",
			s->left_out[SCREEN_FAILED]);
	}
	if (s->left_out[SCREEN_QUEUED] > 0 &&
		s->oldest_queued_s > MOST_QUEUED_S) {
		text_addf(complain(v, WARNING),
			"the oldest of all is queued for %s, and %zu are not"
			" looked at",
			ctl_format_duration(time, s->oldest_queued_s),
			s->left_out[SCREEN_QUEUED]);
	}
}

static void judge(struct verdict *v, const struct screen *s)
{
	size_t waiting = ctl_screen_count(s, SCREEN_QUEUED) +
		ctl_screen_count(s, SCREEN_RUNNING) +
		ctl_screen_count(s, SCREEN_HELD);

	if (waiting > 0 && ctl_screen_alive(s) == 0) {
		text_addf(complain(v, CRITICAL),
			"no daemon is alive and %zu %s", waiting,
			waiting == 1 ? "job waits" : "jobs wait");
	}
	if (s->stopped_by != NULL) {
		text_add(complain(v, WARNING), "all work is stopped");
	}
	for (size_t i = 0; i < s->job_count; i++) {
		if (ctl_screen_has(s, &s->jobs[i])) {
			judge_job(v, &s->jobs[i]);
		}
	}
	if (s->job == NULL) {
		judge_left_out(v, s);
	}
}

/* Unknown is U (Monitoring Plugins Development Guidelines, 2.6). */
static void add_measure(
	struct text *t, const char *label, double value, const char *unit)
{
	if (isnan(value)) {
		text_addf(t, " %s=U", label);
	} else {
		text_addf(t, " %s=%.6g%s", label, value, unit);
	}
}

static void add_measures(struct text *t, const struct screen *s)
{
	double rate = 0, failed_rows = 0, lag = 0;
	double oldest = fmax(0, s->oldest_queued_s);

	for (size_t i = 0; i < s->job_count; i++) {
		const struct screen_job *j = &s->jobs[i];

		rate += isnan(j->rows_per_second) ? 0 : j->rows_per_second;
		failed_rows += isnan(j->row_errors) ? 0 : j->row_errors;
		oldest = j->state == SCREEN_QUEUED ? fmax(oldest, j->age_s)
						   : oldest;
	}
	/* One that is unknown makes the worst one unknown. */
	for (size_t i = 0; i < s->signal_count; i++) {
		lag = s->signals[i].value > lag || isnan(s->signals[i].value)
			? s->signals[i].value
			: lag;
	}
	text_addf(t, " queued=%zu paused=%zu failed=%zu",
		ctl_screen_count(s, SCREEN_QUEUED),
		ctl_screen_count(s, SCREEN_PAUSED),
		ctl_screen_count(s, SCREEN_FAILED));
	text_addf(t, " daemons=%zu", ctl_screen_alive(s));
	add_measure(t, "queue_oldest", oldest, "s");
	add_measure(t, "rows_per_second", rate, "");
	add_measure(t, "failed_rows", failed_rows, "");
	add_measure(t, "lag", s->signal_count > 0 ? lag : (double)NAN, "s");
}

int ctl_verdict(struct text *t, const struct screen *s)
{
	static const char *const words[] = { "OK", "WARNING", "CRITICAL" };
	struct verdict v = { .code = OK };
	size_t running = ctl_screen_count(s, SCREEN_RUNNING);
	size_t held = ctl_screen_count(s, SCREEN_HELD);

	text_init(&v.critical);
	text_init(&v.warning);
	judge(&v, s);
	text_addf(t, "BACKFILLD %s - ", words[v.code]);
	if (v.code == OK) {
		text_addf(t, "%zu running, %zu held", running, held);
	} else if (v.critical.length > 0) {
		text_addf(t, "%s%s", v.critical.data + 2, v.warning.data);
	} else {
		text_add(t, v.warning.data + 2);
	}
	text_addf(t, " | running=%zu held=%zu", running, held);
	add_measures(t, s);
	text_close(&v.warning);
	text_close(&v.critical);
	return v.code;
}
