/* The whole screen: the head, then as many cards as fit, beside each other
 * where it is wide, and a line for each of the other jobs. The cards go to
 * those that somebody who was woken up wants to see. */
#include "ctl/ctl_screen.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
	LEAST_CARD = 80,
	MOST_CARD = 120, /* a longer line is hard to follow */
	BETWEEN = 4,
	MOST_SIDE_BY_SIDE = 3
};

/* ---- which jobs, in which order */

int ctl_screen_has(const struct screen *s, const struct screen_job *j)
{
	if (s->job != NULL) {
		return strcmp(s->job, j->id) == 0;
	}
	return j->state <= SCREEN_QUEUED;
}

static int compare_jobs(const void *a, const void *b)
{
	const struct screen_job *const *x = a, *const *y = b;

	if ((*x)->state != (*y)->state) {
		return (*x)->state < (*y)->state ? -1 : 1;
	}
	/* The newest failure, the oldest of the rest. */
	if ((*x)->state == SCREEN_FAILED && (*x)->ended_s < (*y)->ended_s) {
		return -1;
	}
	return *x < *y ? -1 : *x > *y;
}

/* Those that are shown; the caller frees them. */
static const struct screen_job **choose(const struct screen *s, size_t *count)
{
	const struct screen_job **chosen =
		mem_new(s->job_count + 1, sizeof *chosen);

	*count = 0;
	for (size_t i = 0; i < s->job_count; i++) {
		if (ctl_screen_has(s, &s->jobs[i])) {
			chosen[(*count)++] = &s->jobs[i];
		}
	}
	qsort(chosen, *count, sizeof *chosen, compare_jobs);
	return chosen;
}

/* ---- cards side by side */

struct columns {
	struct block blocks[MOST_SIDE_BY_SIDE];
	size_t count;
};

static void init_columns(struct columns *c, size_t width, size_t cards)
{
	size_t each;

	c->count = (width + BETWEEN) / (LEAST_CARD + BETWEEN);
	c->count = c->count > MOST_SIDE_BY_SIDE ? MOST_SIDE_BY_SIDE : c->count;
	c->count = c->count > cards ? cards : c->count;
	c->count = c->count < 1 ? 1 : c->count;
	each = (width - (c->count - 1) * BETWEEN) / c->count;
	for (size_t i = 0; i < c->count; i++) {
		block_init(&c->blocks[i], each > MOST_CARD ? MOST_CARD : each);
	}
}

static void close_columns(struct columns *c)
{
	for (size_t i = 0; i < c->count; i++) {
		block_close(&c->blocks[i]);
	}
}

static size_t tallest(const struct columns *c)
{
	size_t most = 0;

	for (size_t i = 0; i < c->count; i++) {
		most = c->blocks[i].count > most ? c->blocks[i].count : most;
	}
	return most;
}

/* The next card goes where there is most room, the first left. */
static void place(struct columns *c, const struct screen *s,
	const struct screen_job *const *jobs, size_t cards)
{
	for (size_t i = 0; i < cards; i++) {
		struct block *b = &c->blocks[0];

		for (size_t n = 1; n < c->count; n++) {
			b = c->blocks[n].count < b->count ? &c->blocks[n] : b;
		}
		if (b->count > 0) {
			block_line(b, "");
		}
		ctl_screen_card(b, s, jobs[i]);
	}
}

static void add_columns(struct block *out, const struct columns *c)
{
	struct text t;

	text_init(&t);
	for (size_t row = 0; row < tallest(c); row++) {
		size_t from = 0;

		text_reset(&t);
		for (size_t i = 0; i < c->count; i++) {
			if (row < c->blocks[i].count &&
				*c->blocks[i].lines[row] != '\0') {
				block_pad(&t, from);
				text_add(&t, c->blocks[i].lines[row]);
			}
			from += c->blocks[i].width + BETWEEN;
		}
		block_line(out, t.data);
	}
	text_close(&t);
}

/* ---- what fits */

/* Lines for the jobs without a card: a third of the room is theirs. */
static size_t lines_wanted(size_t rest, size_t room)
{
	size_t most = room / 3 > 1 ? room / 3 : 1;

	return rest > most ? most : rest;
}

/* No card has less than a line, and there is one between two. */
static size_t most_cards(size_t width, size_t room, size_t count)
{
	struct columns c;
	size_t most;

	init_columns(&c, width, count);
	most = c.count * (room / 2 + 1);
	close_columns(&c);
	return most < count ? most : count;
}

/* As many cards as leave room for the lines of the others. */
static size_t fit_cards(const struct screen *s,
	const struct screen_job *const *jobs, size_t count, size_t width,
	size_t room)
{
	size_t cards = most_cards(width, room, count);
	size_t left_out = ctl_screen_left_out(s);

	for (; cards > 0; cards--) {
		size_t rest = lines_wanted(count - cards + left_out, room);
		struct columns c;
		size_t height;

		init_columns(&c, width, cards);
		place(&c, s, jobs, cards);
		height = tallest(&c) + (rest > 0 ? 1 + rest : 0);
		close_columns(&c);
		if (height <= room) {
			break;
		}
	}
	return cards;
}

/* left_out: of how many others nothing is known. */
static void add_lines(struct block *out, const struct screen_job *const *jobs,
	size_t count, size_t left_out, size_t room)
{
	size_t shown = count + (left_out > 0) <= room ? count
		: room > 0			      ? room - 1
						      : 0;
	size_t names = 0;
	struct text t;

	for (size_t i = 0; i < shown; i++) {
		size_t columns = ctl_screen_name_columns(jobs[i]);

		names = columns > names ? columns : names;
	}
	for (size_t i = 0; i < shown; i++) {
		ctl_screen_line(out, jobs[i], names);
	}
	if (shown < count + left_out && room > 0) {
		text_init(&t);
		text_addf(&t, "and %zu more", count + left_out - shown);
		block_line(out, t.data);
		text_close(&t);
	}
}

static void add_jobs(struct block *out, const struct screen *s, size_t height)
{
	size_t count, cards, head = out->count, room;
	size_t left_out = ctl_screen_left_out(s);
	const struct screen_job **jobs = choose(s, &count);
	struct columns c;

	if (count == 0) {
		block_line(out, "");
		block_line(out, "no job is open");
		free(jobs);
		return;
	}
	cards = count;
	if (height > 0) {
		/* An empty line comes before them. */
		cards = fit_cards(s, jobs, count, out->width,
			height > head + 1 ? height - head - 1 : 0);
	}
	init_columns(&c, out->width, cards);
	place(&c, s, jobs, cards);
	if (cards > 0) {
		block_line(out, "");
		add_columns(out, &c);
	}
	if (cards < count || left_out > 0) {
		block_line(out, "");
		room = height > out->count ? height - out->count : 0;
		add_lines(out, jobs + cards, count - cards, left_out,
			height > 0 ? room : SIZE_MAX);
	}
	close_columns(&c);
	free(jobs);
}

static void cut_height(struct block *out, size_t height)
{
	while (height > 0 && out->count > height) {
		free(out->lines[--out->count]);
	}
}

/* Not dimmed with what it is about. */
static void add_notice(struct block *out, const char *notice)
{
	struct block b;
	struct text t;

	block_init(&b, out->width);
	text_init(&t);
	text_add(&t, notice);
	block_row(&b, "");
	block_field(&b, 0, &t);
	block_end(&b);
	for (size_t i = 0; i < b.count; i++) {
		text_reset(&t);
		text_addf(&t, MARK_LIVE "%s", b.lines[i]);
		block_line(out, t.data);
	}
	text_close(&t);
	block_close(&b);
}

void ctl_screen_draw(struct block *out, const struct screen *s, size_t height,
	const char *notice)
{
	ctl_screen_head(out, s);
	if (notice != NULL) {
		add_notice(out, notice);
	}
	add_jobs(out, s, height);
	cut_height(out, height);
}
