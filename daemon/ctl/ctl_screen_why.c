/* Why a job does not move and what has to happen, out of its reason: the
 * daemon writes "held: CAUSE; CAUSE -> WHAT IS NEXT". And a job in one
 * line. */
#include <math.h>
#include <string.h>

#include "ctl/ctl_format.h"
#include "ctl/ctl_screen.h"

enum { STATE_COLUMNS = 16 }; /* "FAILED 3h00m ago" */

static const char ARROW[] = " -> ";
static const char HELD[] = "held: ";
static const char GOES_ON[] = "goes on ";

/* The last arrow: the text of an error may have one, too. */
static const char *find_arrow(const char *reason)
{
	const char *found = NULL, *at = reason;

	while (at != NULL && (at = strstr(at, ARROW)) != NULL) {
		found = at++;
	}
	return found;
}

static int is_kind(const struct screen_job *j, const char *kind)
{
	return j->waits_for != NULL && strcmp(j->waits_for, kind) == 0;
}

static int starts_with(const char *s, const char *start)
{
	return strncmp(s, start, strlen(start)) == 0;
}

void ctl_screen_why(struct text *t, const struct screen_job *j)
{
	const char *reason = j->reason;
	const char *arrow = find_arrow(reason);
	struct text part;

	if (reason == NULL) {
		return;
	}
	reason += starts_with(reason, HELD) ? strlen(HELD) : 0;
	text_init(&part);
	if (arrow != NULL && arrow > reason) {
		text_add_bytes(&part, reason, (size_t)(arrow - reason));
	} else {
		text_add(&part, reason);
	}
	ctl_format_inert(t, part.data);
	text_close(&part);
}

/* The arrow of a lag says when: "goes on below 2.5 s". */
static void add_arrow(
	struct text *t, const struct screen_job *j, const char *what)
{
	if (is_kind(j, "lag") && starts_with(what, GOES_ON)) {
		what += strlen(GOES_ON);
		text_add(t, "resumes when the lag is ");
		if (starts_with(what, "when it is ")) {
			what += strlen("when it is ");
		}
	}
	ctl_format_inert(t, what);
}

/* What a person does to end it, or waits for. */
static const char *remedy(const struct screen_job *j)
{
	static const struct {
		const char *kind, *what;
	} remedies[] = {
		{ "stopped", "goes on after: backfillctl start-all" },
		{ "paused", "goes on after: backfillctl resume" },
		{ "daemon", "goes on when a daemon takes it over" },
		{ "lease", "goes on when its daemon has renewed its lease" },
		{ "writers", "goes on when these have ended" },
		{ "locks", "goes on when they have let go" },
	};

	for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++) {
		if (is_kind(j, remedies[i].kind)) {
			return remedies[i].what;
		}
	}
	return NULL;
}

void ctl_screen_next(struct text *t, const struct screen_job *j)
{
	const char *arrow = find_arrow(j->reason);

	if (arrow != NULL) {
		add_arrow(t, j, arrow + strlen(ARROW));
	} else if (remedy(j) != NULL) {
		text_add(t, remedy(j));
		if (is_kind(j, "paused")) {
			text_addf(t, " %s", j->id);
		}
	}
}

/* ---- a job in a line */

static void add_eta(struct text *t, const struct screen_job *j)
{
	char eta[FORMAT_BYTES];

	if (j->state <= SCREEN_PAUSED && !isnan(j->eta_s)) {
		text_addf(t, "eta %s", ctl_format_duration(eta, j->eta_s));
	}
}

/* Why, or what came of it. */
static void add_tail(struct text *t, const struct screen_job *j)
{
	if (j->error_message != NULL) {
		ctl_format_inert(t, j->error_message);
	} else {
		ctl_screen_why(t, j);
	}
}

static void add_name(struct text *t, const struct screen_job *j)
{
	text_addf(t, "#%s ", j->id);
	ctl_format_inert(t, j->name);
}

size_t ctl_screen_name_columns(const struct screen_job *j)
{
	struct text t;
	size_t columns;

	text_init(&t);
	add_name(&t, j);
	columns = block_columns(t.data);
	text_close(&t);
	return columns;
}

void ctl_screen_line(
	struct block *b, const struct screen_job *j, size_t name_columns)
{
	/* The state is to be seen, whatever the name. */
	size_t most = b->width / 2 > STATE_COLUMNS / 2
		? b->width / 2 - STATE_COLUMNS / 2
		: b->width / 2;
	size_t column = name_columns < most ? name_columns : most;
	char done[FORMAT_BYTES];
	struct text t, part;

	text_init(&t);
	text_init(&part);
	add_name(&part, j);
	block_add_cut(&t, part.data, column);
	block_pad(&t, column += 2);
	ctl_screen_add_state(&t, j);
	block_pad(&t, column + STATE_COLUMNS);
	text_addf(&t, " %6s", ctl_screen_percent(done, j));
	text_reset(&part);
	add_eta(&part, j);
	text_addf(&t, "  %s%s", part.data, part.length > 0 ? "  " : "");
	add_tail(&t, j);
	while (t.length > 0 && t.data[t.length - 1] == ' ') {
		t.data[--t.length] = '\0';
	}
	block_line(b, t.data);
	text_close(&part);
	text_close(&t);
}

void ctl_screen_short(struct text *t, const struct screen_job *j)
{
	struct text state, part;
	char done[FORMAT_BYTES], rate[FORMAT_BYTES];

	text_init(&state);
	text_init(&part);
	add_name(t, j);
	if (j->state != SCREEN_QUEUED) {
		text_addf(t, " %s", ctl_screen_percent(done, j));
	}
	text_add(t, " ");
	ctl_screen_add_state(&state, j);
	for (const char *c = state.data; *c != '\0'; c++) {
		char lower = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);

		text_add_bytes(t, &lower, lower > ' ' || lower == ' ');
	}
	if (j->state == SCREEN_RUNNING && !isnan(j->rows_per_second)) {
		text_addf(
			t, " %s/s", ctl_format_short(rate, j->rows_per_second));
	}
	add_tail(&part, j);
	if (part.length > 0) {
		text_addf(t, ": %s", part.data);
	}
	text_reset(&part);
	add_eta(&part, j);
	if (part.length > 0) {
		text_addf(t, ", %s", part.data);
	}
	text_close(&part);
	text_close(&state);
}
