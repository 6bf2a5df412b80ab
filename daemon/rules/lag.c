#include "rules/lag.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the history ---- */

/* What widens a gap least, measured by how long ago it is: so the error stays
 * in proportion to the lag. The first and the last stay. */
static size_t find_least_needed(const struct lag_history *h, uint64_t now_ms)
{
	double least = HUGE_VAL;
	size_t found = 1;

	for (size_t i = 1; i + 1 < h->count; i++) {
		double gap_ms = (double)(h->entries[i + 1].at_ms -
			h->entries[i - 1].at_ms);
		double age_ms = (double)(now_ms - h->entries[i].at_ms) + 1;

		if (gap_ms / age_ms < least) {
			least = gap_ms / age_ms;
			found = i;
		}
	}
	return found;
}

static void make_room(struct lag_history *h, uint64_t now_ms)
{
	size_t i = find_least_needed(h, now_ms);

	h->entries[i + 1].is_after_gap |= h->entries[i].is_after_gap;
	h->count--;
	memmove(&h->entries[i], &h->entries[i + 1],
		(h->count - i) * sizeof h->entries[0]);
}

void lag_history_add(struct lag_history *h, int64_t lsn, uint64_t now_ms)
{
	int is_after_gap = now_ms - h->looked_ms > LAG_MAX_GAP_MS;

	h->looked_ms = now_ms;
	if (h->count > 0 && lsn < h->entries[h->count - 1].lsn) {
		h->count = 0;
	}
	/* Where nothing is written there is nothing to note: when a position
	 * is passed is what counts. */
	if (h->count > 0 && lsn == h->entries[h->count - 1].lsn) {
		return;
	}
	if (h->count == LAG_HISTORY) {
		make_room(h, now_ms);
	}
	h->entries[h->count].lsn = lsn;
	h->entries[h->count].at_ms = now_ms;
	h->entries[h->count].is_after_gap = is_after_gap;
	h->count++;
}

int64_t lag_history_ms(const struct lag_history *h, int64_t lsn,
	uint64_t now_ms, int *at_least)
{
	size_t i = h->count;

	while (i > 0 && h->entries[i - 1].lsn > lsn) {
		i--;
	}
	*at_least = i == 0;
	if (i == h->count) {
		return 0;
	}
	*at_least |= h->entries[i].is_after_gap;
	return (int64_t)(now_ms - h->entries[i].at_ms);
}

/* ---- a standby ---- */

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Whether replay_lag, which is of the last reply, reaches back to after the
 * standby connected. */
static int does_server_know(
	const struct lag_standby *s, const struct lag_sample *sample)
{
	return sample->replay_lag_ms != LAG_NONE && s->has_replied &&
		sample->replay_lag_ms + (int64_t)s->silent_ms + LAG_MAX_GAP_MS <
		sample->connected_ms;
}

static enum lag_cause measure(struct lag_standby *s,
	const struct lag_history *h, const struct lag_sample *sample,
	int64_t lsn, uint64_t now_ms)
{
	int at_least = 0;
	int64_t ours_ms =
		lag_history_ms(h, sample->replay_lsn, now_ms, &at_least);

	if (sample->replay_lsn >= lsn) {
		s->lag_ms = 0;
		return LAG_KNOWN;
	}
	s->lag_ms = larger(ours_ms, sample->replay_lag_ms);
	return at_least && !does_server_know(s, sample) ? LAG_NOT_MEASURED
							: LAG_KNOWN;
}

static enum lag_cause look_at(struct lag_standby *s,
	const struct lag_history *h, const struct lag_sample *sample,
	int64_t lsn, uint64_t now_ms)
{
	s->lag_ms = 0;
	if (sample->connections == 0) {
		return LAG_NOT_CONNECTED;
	}
	if (sample->state == NULL || sample->replay_lsn == LAG_NONE) {
		return LAG_NO_POSITION;
	}
	if (strcmp(sample->state, "streaming") != 0) {
		return LAG_NOT_STREAMING;
	}
	if (s->silent_ms > LAG_SILENT_MS) {
		return LAG_SILENT;
	}
	return measure(s, h, sample, lsn, now_ms);
}

void lag_standby_update(struct lag_standby *s, const struct lag_history *h,
	const struct lag_sample *sample, int64_t lsn, uint64_t now_ms)
{
	if (s->cause == LAG_NOT_SAMPLED) {
		s->known_at_ms = now_ms;
	}
	if (sample->replied_at_us != s->replied_at_us ||
		s->reply_seen_ms == 0) {
		s->has_replied = s->reply_seen_ms != 0;
		s->replied_at_us = sample->replied_at_us;
		s->reply_seen_ms = now_ms;
	}
	s->silent_ms = now_ms - s->reply_seen_ms;
	(void)snprintf(s->state, sizeof s->state, "%s",
		sample->state != NULL ? sample->state : "");
	s->replay_lsn = sample->replay_lsn;
	s->kept_bytes = sample->kept_bytes;
	s->behind_bytes =
		sample->connections > 0 && sample->replay_lsn != LAG_NONE
		? larger(0, lsn - sample->replay_lsn)
		: LAG_NONE;
	s->cause = look_at(s, h, sample, lsn, now_ms);
	if (s->cause == LAG_KNOWN) {
		s->known_at_ms = now_ms;
	}
}

void lag_describe_cause(const struct lag_standby *s, char *buffer, size_t size)
{
	switch (s->cause) {
	case LAG_KNOWN:
		(void)snprintf(buffer, size, "known");
		return;
	case LAG_NOT_SAMPLED:
	case LAG_NOT_MEASURED:
		(void)snprintf(buffer, size, "not measured yet");
		return;
	case LAG_NOT_CONNECTED:
		(void)snprintf(buffer, size, "not connected");
		return;
	case LAG_NO_POSITION:
		(void)snprintf(buffer, size, "it tells no replay position");
		return;
	case LAG_NOT_STREAMING:
		(void)snprintf(buffer, size, "its state is %s", s->state);
		return;
	case LAG_SILENT:
		(void)snprintf(buffer, size, "no reply for %" PRIu64 " s",
			s->silent_ms / 1000);
		return;
	}
}

void lag_describe(const struct lag_standby *s, char *buffer, size_t size)
{
	char cause[64];

	if (s->behind_bytes != LAG_NONE) {
		(void)snprintf(buffer, size, "%s, %" PRId64 " bytes behind",
			s->state, s->behind_bytes);
		return;
	}
	lag_describe_cause(s, cause, sizeof cause);
	if (s->kept_bytes != LAG_NONE) {
		(void)snprintf(buffer, size,
			"%s; its slot keeps %" PRId64 " bytes", cause,
			s->kept_bytes);
		return;
	}
	(void)snprintf(buffer, size, "%s", cause);
}
