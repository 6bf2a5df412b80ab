/* The first line of a card: which job it is, its state, and for how long it
 * has been in it. */
#include <string.h>

#include "ctl/ctl_format.h"
#include "ctl/ctl_screen.h"

enum {
	NARROW = 60,
	STATE_COLUMN = 46, /* of 80 */
	STATE_ROOM = 34
};

int ctl_screen_is_true(const char *value)
{
	return value != NULL && *value == 't';
}

int ctl_screen_has_ended(const struct screen_job *j)
{
	return j->state == SCREEN_SUCCEEDED || j->state == SCREEN_FAILED ||
		j->state == SCREEN_CANCELLED;
}

const char *ctl_screen_mark(enum screen_state state)
{
	static const char *const marks[SCREEN_STATES] = {
		[SCREEN_HELD] = MARK_WAIT,
		[SCREEN_RUNNING] = MARK_GOOD,
		[SCREEN_PAUSED] = MARK_REST,
		[SCREEN_FAILED] = MARK_BAD,
		[SCREEN_QUEUED] = MARK_BOLD,
		[SCREEN_SUCCEEDED] = MARK_GOOD,
		[SCREEN_CANCELLED] = MARK_BOLD,
	};

	return marks[state];
}

void ctl_screen_add_state(struct text *t, const struct screen_job *j)
{
	static const char *const names[SCREEN_STATES] = {
		[SCREEN_HELD] = "HELD",
		[SCREEN_RUNNING] = "RUNNING",
		[SCREEN_PAUSED] = "PAUSED",
		[SCREEN_FAILED] = "FAILED",
		[SCREEN_QUEUED] = "QUEUED",
		[SCREEN_SUCCEEDED] = "SUCCEEDED",
		[SCREEN_CANCELLED] = "CANCELLED",
	};
	char time[FORMAT_BYTES];
	double seconds = ctl_screen_has_ended(j) ? j->ended_s
		: j->state == SCREEN_QUEUED	 ? j->age_s
						 : j->since_s;

	text_addf(
		t, "%s%s" MARK_END, ctl_screen_mark(j->state), names[j->state]);
	if (j->state != SCREEN_RUNNING) {
		text_addf(t, " %s%s", ctl_format_duration(time, seconds),
			ctl_screen_has_ended(j) ? " ago" : "");
	}
}

/* What is worth a word beside the state. */
static const char *note(const struct screen_job *j)
{
	if (ctl_screen_is_true(j->dry_run)) {
		return "(dry run)";
	}
	if (ctl_screen_has_ended(j) || j->came_by == NULL) {
		return NULL;
	}
	return strcmp(j->came_by, "taken_over") == 0 ? "(resumed after restart)"
		: strcmp(j->came_by, "retry") == 0   ? "(retried)"
						     : "(resumed)";
}

void ctl_screen_title(struct block *b, const struct screen_job *j)
{
	size_t column = b->width >= NARROW + 20 ? STATE_COLUMN
		: b->width > NARROW		? b->width - STATE_ROOM
						: 0;
	struct text t, name, state;

	text_init(&t);
	text_init(&name);
	text_init(&state);
	text_addf(&name, MARK_BOLD "#%s ", j->id);
	ctl_format_inert(&name, j->name);
	text_add(&name, MARK_END);
	ctl_screen_add_state(&state, j);
	/* On a narrow screen the state follows the name, whole. */
	block_add_cut(&t, name.data,
		column > 0 ? column - 2
			   : b->width - block_columns(state.data) - 2);
	block_pad(&t, column > 0 ? column : block_columns(t.data) + 2);
	text_add(&t, state.data);
	block_row(b, "");
	block_field(b, 0, &t);
	if (note(j) != NULL) {
		text_add(&t, note(j));
		b->indent = 2;
		block_field(b, 2, &t);
	}
	text_close(&state);
	text_close(&name);
	text_close(&t);
}
