#include "ctl/ctl_lines.h"

#include <string.h>

#include "ctl/ctl_format.h"

enum {
	OFTEN_MS = 1000,
	SELDOM_MS = 5000,
	RARELY_MS = 30000,
	OFTEN_UNTIL_MS = 60000,
	SELDOM_UNTIL_MS = 180000
};

void lines_init(struct lines *l, uint64_t now_ms, int has_every)
{
	memset(l, 0, sizeof *l);
	text_init(&l->said);
	l->began_ms = now_ms;
	l->due_ms = now_ms;
	l->has_every = has_every;
}

void lines_close(struct lines *l)
{
	text_close(&l->said);
}

static uint64_t pace_ms(const struct lines *l, uint64_t now_ms)
{
	uint64_t elapsed_ms = now_ms - l->began_ms;

	return l->has_every		       ? 0
		: elapsed_ms < OFTEN_UNTIL_MS  ? OFTEN_MS
		: elapsed_ms < SELDOM_UNTIL_MS ? SELDOM_MS
					       : RARELY_MS;
}

/* "\n42 1 lag\n": none is part of another. */
static void add_said(struct text *t, const struct screen_job *j)
{
	text_addf(t, "\n%s %d %s\n", j->id, (int)j->state,
		j->waits_for != NULL ? j->waits_for : "-");
}

static int is_changed(const struct lines *l, const struct screen_job *j)
{
	struct text t;
	int is_said;

	text_init(&t);
	add_said(&t, j);
	is_said = strstr(l->said.data, t.data) != NULL;
	text_close(&t);
	return !is_said;
}

static int is_open(const struct screen_job *j)
{
	return j->state == SCREEN_HELD || j->state == SCREEN_RUNNING ||
		j->state == SCREEN_PAUSED || j->state == SCREEN_QUEUED;
}

/* One that ended is told of when it does, and not again. */
static int is_told(const struct lines *l, const struct screen *s,
	const struct screen_job *j, int is_due)
{
	if (!is_changed(l, j)) {
		return is_due && ctl_screen_has(s, j) && is_open(j);
	}
	return ctl_screen_has(s, j) || (l->has_first && s->job == NULL);
}

static void add_line(
	struct text *t, const struct screen *s, const struct screen_job *j)
{
	char at[FORMAT_BYTES];

	text_addf(t, "%s ", ctl_format_time(at, s->now));
	ctl_screen_short(t, j);
	text_add(t, "\n");
}

void lines_add(struct lines *l, struct text *t, const struct screen *s,
	uint64_t now_ms)
{
	int is_due = now_ms >= l->due_ms || l->has_trouble;
	char at[FORMAT_BYTES];
	size_t before = t->length;

	for (size_t i = 0; i < s->job_count; i++) {
		if (is_told(l, s, &s->jobs[i], is_due)) {
			add_line(t, s, &s->jobs[i]);
		}
	}
	if (is_due && ctl_screen_left_out(s) > 0) {
		text_addf(t, "%s and %zu more\n", ctl_format_time(at, s->now),
			ctl_screen_left_out(s));
	}
	if (is_due && t->length == before) {
		text_addf(
			t, "%s no job is open\n", ctl_format_time(at, s->now));
	}
	text_reset(&l->said);
	for (size_t i = 0; i < s->job_count; i++) {
		add_said(&l->said, &s->jobs[i]);
	}
	if (is_due) {
		l->due_ms = now_ms + pace_ms(l, now_ms);
	}
	l->has_first = 1;
	l->has_trouble = 0;
}

void lines_add_trouble(
	struct lines *l, struct text *t, double at, const char *trouble)
{
	char time[FORMAT_BYTES];

	if (l->has_trouble) {
		return;
	}
	l->has_trouble = 1;
	text_addf(t, "%s no answer: ", ctl_format_time(time, at));
	ctl_format_inert(t, trouble);
	text_add(t, "\n");
}

int lines_is_over(const struct screen *s)
{
	if (s->job == NULL) {
		return 0;
	}
	for (size_t i = 0; i < s->job_count; i++) {
		if (strcmp(s->jobs[i].id, s->job) == 0) {
			return s->jobs[i].state == SCREEN_SUCCEEDED ||
				s->jobs[i].state == SCREEN_FAILED ||
				s->jobs[i].state == SCREEN_CANCELLED;
		}
	}
	return 1;
}
