/* The first lines: who serves the database, how many jobs there are in which
 * state, where the server is and what is seen of its standbys; and what
 * needs attention at once. */
#include <math.h>
#include <string.h>

#include "ctl/ctl_format.h"
#include "ctl/ctl_screen.h"

enum { GAP = 3, DAY_S = 86400 };

size_t ctl_screen_count(const struct screen *s, enum screen_state state)
{
	size_t count = s->left_out[state];

	for (size_t i = 0; i < s->job_count; i++) {
		/* The one that is asked for may have ended long ago. */
		count += s->jobs[i].state == state &&
			!(s->jobs[i].ended_s > DAY_S);
	}
	return count;
}

size_t ctl_screen_left_out(const struct screen *s)
{
	size_t count = 0;

	for (int i = 0; i < SCREEN_STATES && s->job == NULL; i++) {
		count += s->left_out[i];
	}
	return count;
}

size_t ctl_screen_alive(const struct screen *s)
{
	size_t count = 0;

	for (size_t i = 0; i < s->daemon_count; i++) {
		count += s->daemons[i].is_alive != 0;
	}
	return count;
}

static const struct screen_daemon *first_alive(const struct screen *s)
{
	for (size_t i = 0; i < s->daemon_count; i++) {
		if (s->daemons[i].is_alive) {
			return &s->daemons[i];
		}
	}
	return NULL;
}

/* How the one that is alive is called, with less where there is no room. */
static void add_daemon(struct text *t, const struct screen *s, int is_brief)
{
	const struct screen_daemon *d = first_alive(s);
	char up[FORMAT_BYTES];

	text_add(t, MARK_BOLD "backfilld" MARK_END " ");
	if (d == NULL) {
		text_add(t, "-");
		return;
	}
	ctl_format_inert(t, d->version);
	if (ctl_screen_alive(s) > 1) {
		text_addf(t, " %zu daemons", ctl_screen_alive(s));
		return;
	}
	text_add(t, " ");
	ctl_format_inert(t, d->host);
	if (!is_brief) {
		text_addf(t, " pid %s", d->pid);
	}
	text_addf(t, " up %s", ctl_format_duration(up, d->up_s));
}

static double oldest_queued(const struct screen *s)
{
	double oldest = fmax(0, s->oldest_queued_s);

	for (size_t i = 0; i < s->job_count; i++) {
		if (s->jobs[i].state == SCREEN_QUEUED) {
			oldest = fmax(oldest, s->jobs[i].age_s);
		}
	}
	return oldest;
}

static void add_count(
	struct text *t, const char *label, size_t count, const char *mark)
{
	text_addf(t, "%s%s%s %zu%s", t->length > 0 ? " " : "",
		count > 0 ? mark : "", label, count,
		count > 0 && *mark != '\0' ? MARK_END : "");
}

static void add_counts(struct text *t, const struct screen *s)
{
	size_t held = ctl_screen_count(s, SCREEN_HELD);
	size_t queued = ctl_screen_count(s, SCREEN_QUEUED);
	char oldest[FORMAT_BYTES];

	add_count(t, "run", ctl_screen_count(s, SCREEN_RUNNING), "");
	if (held > 0) {
		add_count(t, "held", held, MARK_WAIT);
	}
	add_count(t, "pause", ctl_screen_count(s, SCREEN_PAUSED), MARK_REST);
	add_count(t, "queue", queued, "");
	if (queued > 0) {
		text_addf(t, " (oldest %s)",
			ctl_format_duration(oldest, oldest_queued(s)));
	}
	add_count(t, "fail", ctl_screen_count(s, SCREEN_FAILED), MARK_BAD);
}

/* A directory of sockets is longer than it is telling. */
static void add_server(struct text *t, const struct screen *s)
{
	int is_local = s->host == NULL || *s->host == '\0' || *s->host == '/' ||
		*s->host == '@';

	text_add(t, "primary ");
	ctl_format_inert(t, is_local ? "[local]" : s->host);
	text_add(t, ":");
	ctl_format_inert(t, s->port != NULL ? s->port : "-");
	text_add(t, "/");
	ctl_format_inert(t, s->database);
}

/* Of each that is looked at, whether its lag is known. */
static void add_standbys(struct text *t, const struct screen *s)
{
	size_t seen = 0;
	double age = 0;
	char ago[FORMAT_BYTES];

	if (s->signal_count == 0) {
		text_add(t, "standbys -");
		return;
	}
	for (size_t i = 0; i < s->signal_count; i++) {
		seen += isnan(s->signals[i].value) ? 0 : 1;
		age = fmax(age, s->signals[i].age_s);
	}
	text_addf(t, "standbys %s%zu/%zu%s seen %s ago",
		seen < s->signal_count ? MARK_WAIT : "", seen, s->signal_count,
		seen < s->signal_count ? MARK_END : "",
		ctl_format_duration(ago, age));
}

static void add_clock(struct block *b, const struct screen *s)
{
	char at[FORMAT_BYTES];
	size_t columns = strlen(ctl_format_time(at, s->now)), gap = GAP;
	struct text t;

	/* At the right, when there is room. */
	if (b->column + GAP + columns <= b->width) {
		gap = b->width - b->column - columns;
	}
	text_init(&t);
	text_add(&t, at);
	block_field(b, gap, &t);
	text_close(&t);
}

/* ---- what needs attention */

static void add_warning(struct block *b, struct text *t)
{
	block_row(b, MARK_BAD "warning:" MARK_END " ");
	block_field(b, 1, t);
}

static void warn_of_daemons(struct block *b, const struct screen *s)
{
	size_t waiting = ctl_screen_count(s, SCREEN_QUEUED) +
		ctl_screen_count(s, SCREEN_RUNNING) +
		ctl_screen_count(s, SCREEN_HELD);
	char heard[FORMAT_BYTES];
	struct text t;

	if (waiting == 0 || ctl_screen_alive(s) > 0) {
		return;
	}
	text_init(&t);
	text_addf(&t, "%zu %s and no daemon is alive", waiting,
		waiting == 1 ? "job waits" : "jobs wait");
	if (s->daemon_count > 0) {
		text_add(&t, "; last seen on ");
		ctl_format_inert(&t, s->daemons[0].host);
		text_addf(&t, ", pid %s, %s ago", s->daemons[0].pid,
			ctl_format_duration(heard, s->daemons[0].heard_s));
	}
	add_warning(b, &t);
	text_close(&t);
}

static void warn_of_stop(struct block *b, const struct screen *s)
{
	char since[FORMAT_BYTES];
	struct text t;

	if (s->stopped_by == NULL) {
		return;
	}
	text_init(&t);
	text_add(&t, "all work is stopped by ");
	ctl_format_inert(&t, s->stopped_by);
	text_addf(&t, " for %s", ctl_format_duration(since, s->stopped_s));
	if (s->stop_reason != NULL) {
		text_add(&t, ": ");
		ctl_format_inert(&t, s->stop_reason);
	}
	add_warning(b, &t);
	text_close(&t);
}

/* One line, or two. */
static void add_first(struct block *b, const struct screen *s)
{
	struct text t, counts;

	text_init(&t);
	text_init(&counts);
	add_counts(&counts, s);
	add_daemon(&t, s, 0);
	if (block_columns(t.data) + block_columns(counts.data) + 3 > b->width) {
		text_reset(&t);
		add_daemon(&t, s, 1);
	}
	block_row(b, "");
	if (block_columns(t.data) + block_columns(counts.data) + 3 <=
		b->width) {
		text_addf(&t, " | %s", counts.data);
		block_field(b, 0, &t);
	} else {
		block_field(b, 0, &t);
		block_row(b, "");
		block_field(b, 0, &counts);
	}
	text_close(&counts);
	text_close(&t);
}

void ctl_screen_head(struct block *b, const struct screen *s)
{
	struct text t;

	add_first(b, s);
	text_init(&t);
	block_row(b, "");
	add_server(&t, s);
	block_field(b, 0, &t);
	add_standbys(&t, s);
	block_field(b, 2, &t);
	add_clock(b, s);
	warn_of_daemons(b, s);
	warn_of_stop(b, s);
	block_end(b);
	text_close(&t);
}
