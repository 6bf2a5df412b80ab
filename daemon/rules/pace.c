#include "rules/pace.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Tuned on the model in tests/unit/test_pace_model.c. */
static const double FIRST_RATE = 4e6;  /* bytes/s */
static const double LEAST_RATE = 64e3; /* never quite nothing */
static const double MOST_RATE = 1e10;
static const double IS_BEHIND = 0.05;	 /* of the limit: replays all it can */
static const double SAYS_LITTLE = 0.2;	 /* less lag lowers no rate */
static const double LEARN_SECONDS = 4;	 /* time constant */
static const double GROWTH = 0.2;	 /* per second */
static const double LEAST_FACTOR = 0.05; /* near the limit */
static const double MOST_FACTOR = 1.5;
static const double BATCH_SHARE = 0.1; /* of what limit_ms allows */
static const double LEAST_SECONDS = 0.01, MOST_SECONDS = 2;
/* A rate of yesterday is a guess. */
enum { STALE_RATE_MS = 60000 };

void pace_init(struct pace *p, struct lag_standby *standbys, size_t count)
{
	memset(p, 0, sizeof *p);
	p->standbys = standbys;
	p->count = count;
	p->rate = FIRST_RATE;
	p->share = 1;
	p->is_learning = 1;
	pace_forget(p);
}

void pace_forget(struct pace *p)
{
	p->has_sample = 0;
	p->history.count = 0;
	p->lag = 0;
	p->others = 0;
	for (size_t i = 0; i < p->count; i++) {
		p->standbys[i].cause = LAG_NOT_SAMPLED;
		p->standbys[i].reply_seen_ms = 0;
	}
}

/* ---- hold ---- */

/* Behind by at least so much is enough to know. */
int pace_knows(const struct lag_standby *s, int64_t limit_ms)
{
	return s->cause == LAG_KNOWN ||
		(s->cause == LAG_NOT_MEASURED && s->lag_ms > limit_ms);
}

/* One of which too much is known to be behind stays. */
static int is_left_out(const struct pace *p, const struct lag_standby *s,
	uint64_t now_ms, int64_t limit_ms)
{
	return s->is_optional && !pace_knows(s, limit_ms) &&
		s->cause != LAG_NOT_SAMPLED &&
		(int64_t)(now_ms - s->known_at_ms) >= p->optional_timeout_ms;
}

int pace_holds(const struct pace *p, const struct lag_standby *s,
	uint64_t now_ms, int64_t limit_ms, int was_held)
{
	if (is_left_out(p, s, now_ms, limit_ms)) {
		return 0;
	}
	return !pace_knows(s, limit_ms) || s->lag_ms > limit_ms ||
		(was_held && s->lag_ms >= limit_ms / 2);
}

static double seconds(int64_t ms)
{
	return (double)ms / 1000;
}

static void add_cause(
	struct text *reason, const struct lag_standby *s, int64_t limit_ms)
{
	char cause[64];

	if (!pace_knows(s, limit_ms)) {
		lag_describe_cause(s, cause, sizeof cause);
		text_addf(reason, "replay lag of standby \"%s\" is unknown: %s",
			s->name, cause);
		return;
	}
	text_addf(reason, "replay lag %.*f s %s %g s on standby \"%s\"",
		s->lag_ms < 1000 ? 2 : 1, seconds(s->lag_ms),
		s->lag_ms > limit_ms ? ">" : "is within its limit of",
		seconds(limit_ms), s->name);
}

/* The lag may have grown by the age of the sample: that is not to be more than
 * the limit, but for what a slow answer takes. */
static int is_stale(const struct pace *p, uint64_t now_ms, int64_t limit_ms)
{
	int64_t most_ms =
		limit_ms < PACE_MAX_AGE_MS ? limit_ms : PACE_MAX_AGE_MS;

	if (most_ms < PACE_MIN_AGE_MS) {
		most_ms = PACE_MIN_AGE_MS;
	}
	return !p->has_sample || (int64_t)(now_ms - p->sampled_ms) > most_ms;
}

int pace_sees(const struct pace *p, const struct lag_standby *s,
	uint64_t now_ms, int64_t limit_ms)
{
	return !is_stale(p, now_ms, limit_ms) && pace_knows(s, limit_ms);
}

static void add_no_sample(
	struct text *reason, const struct pace *p, uint64_t now_ms)
{
	if (p->sampled_ms == 0) {
		text_add(reason, "replay lag is unknown: not measured yet");
		return;
	}
	text_addf(reason, "replay lag is unknown: no sample for %.1f s",
		seconds((int64_t)(now_ms - p->sampled_ms)));
}

unsigned pace_is_held(const struct pace *p, uint64_t now_ms, int64_t limit_ms,
	int was_held, struct text *reason)
{
	unsigned causes = 0;
	int has_unknown = is_stale(p, now_ms, limit_ms);

	text_reset(reason);
	if (p->count == 0) {
		return 0;
	}
	text_add(reason, "held: ");
	if (has_unknown) {
		causes = 1 + (unsigned)p->has_sample;
		add_no_sample(reason, p, now_ms);
	}
	for (size_t i = 0; i < p->count && !is_stale(p, now_ms, limit_ms);
		i++) {
		const struct lag_standby *s = &p->standbys[i];

		if (!pace_holds(p, s, now_ms, limit_ms, was_held)) {
			continue;
		}
		text_add(reason, causes > 0 ? "; " : "");
		causes = causes * 31 + 3 + (unsigned)i * 16 +
			(unsigned)s->cause + (s->lag_ms > limit_ms ? 8 : 0);
		has_unknown |= !pace_knows(s, limit_ms);
		add_cause(reason, s, limit_ms);
	}
	text_addf(reason, " -> goes on %sbelow %g s",
		has_unknown ? "when it is known and " : "",
		seconds(limit_ms / 2));
	return causes;
}

/* ---- the rate ---- */

static double within(double low, double value, double high)
{
	return value < low ? low : value > high ? high : value;
}

/* The standby that is furthest behind; count when none is known. */
static size_t find_worst(const struct pace *p)
{
	size_t worst = p->count;

	for (size_t i = 0; i < p->count; i++) {
		if (p->standbys[i].cause == LAG_KNOWN &&
			(worst == p->count ||
				p->standbys[i].lag_ms >
					p->standbys[worst].lag_ms)) {
			worst = i;
		}
	}
	return worst;
}

/* The part of the way to a new value that the time is worth. */
static double weight(double elapsed_s)
{
	return 1 - exp(-elapsed_s / LEARN_SECONDS);
}

/* Our own share of what is written: a batch is counted when it has ended,
 * the WAL as it comes, so only an average tells what others write. */
static void note_others(
	struct pace *p, const struct pace_sample *s, double elapsed_s)
{
	double all = (double)(s->lsn - p->last_lsn) / elapsed_s;
	double ours = (double)(s->spent_bytes - p->last_spent) / elapsed_s;

	p->others += weight(elapsed_s) * (all - ours - p->others);
}

static void learn_from_replay(struct pace *p, int64_t replayed_bytes,
	double elapsed_s, double lag, double for_s)
{
	double replayed = (double)replayed_bytes / elapsed_s;
	double ours = replayed - (p->others > 0 ? p->others : 0);

	if (p->is_learning) {
		/* The last doubling was too much. */
		p->rate = within(p->rate / 2, ours, p->rate);
		p->is_learning = 0;
		return;
	}
	if (ours < p->rate && lag < SAYS_LITTLE) {
		return;
	}
	p->rate += weight(for_s) * (ours - p->rate);
}

static void grow(struct pace *p, double for_s)
{
	p->rate *= p->is_learning ? exp2(for_s) : exp(GROWTH * for_s);
}

static void adjust_rate(struct pace *p, const struct pace_sample *s)
{
	double elapsed_s = seconds((int64_t)(s->now_ms - p->sampled_ms));
	double for_s = within(0, seconds((int64_t)s->rate_ms), MOST_SECONDS);
	size_t worst = find_worst(p);
	double lag;

	if (worst == p->count || p->limit_ms <= 0) {
		/* Who begins a batch now has left all of them out. What one
		 * replays until it is known again took longer than the time
		 * between two samples. */
		p->worst = p->count;
		p->lag = 0;
		return;
	}
	lag = (double)p->standbys[worst].lag_ms / (double)p->limit_ms;
	if (p->has_sample && worst == p->worst && s->lsn >= p->last_lsn &&
		elapsed_s >= LEAST_SECONDS) {
		note_others(p, s, elapsed_s);
		if (lag > IS_BEHIND || p->lag > IS_BEHIND) {
			learn_from_replay(p,
				p->standbys[worst].replay_lsn -
					p->last_replay_lsn,
				elapsed_s, lag, for_s);
		} else if (p->was_short) {
			grow(p, for_s);
		}
	}
	p->rate = within(LEAST_RATE, p->rate, MOST_RATE);
	p->lag = lag;
	p->worst = worst;
	p->last_replay_lsn = p->standbys[worst].replay_lsn;
}

static void take_shared(struct pace *p, const struct pace_sample *s)
{
	if (s->rate > 0) {
		p->rate = s->rate;
	}
	if (s->rate > 0 && s->rate_ms > STALE_RATE_MS) {
		p->rate = s->rate / 2;
		p->is_learning = 1;
	}
	p->share = s->all_jobs > s->my_jobs
		? (double)s->my_jobs / (double)s->all_jobs
		: 1;
}

void pace_sample(struct pace *p, const struct pace_sample *s)
{
	lag_history_add(&p->history, s->lsn, s->now_ms);
	for (size_t i = 0; i < p->count; i++) {
		lag_standby_update(&p->standbys[i], &p->history,
			&s->standbys[i], s->lsn, s->now_ms);
	}
	take_shared(p, s);
	adjust_rate(p, s);
	p->has_sample = 1;
	p->sampled_ms = s->now_ms;
	p->last_lsn = s->lsn;
	p->last_spent = s->spent_bytes;
	p->was_short = 0;
}

/* ---- the pause ---- */

double pace_allowed(const struct pace *p)
{
	if (p->count == 0) {
		return 0;
	}
	return p->rate * p->share *
		within(LEAST_FACTOR, 2 * (1 - p->lag), MOST_FACTOR);
}

void pace_describe(const struct pace *p, char *buffer, size_t size)
{
	(void)snprintf(buffer, size,
		"the standbys allow %.0f kB/s of WAL: replay lag %.1f s, limit"
		" %g s",
		pace_allowed(p) / 1000, p->lag * seconds(p->limit_ms),
		seconds(p->limit_ms));
}

static void pay_off(struct pace *p, uint64_t now_ms)
{
	double paid = pace_allowed(p) * seconds((int64_t)(now_ms - p->debt_ms));

	p->debt = p->debt > paid ? p->debt - paid : 0;
	p->debt_ms = now_ms;
}

void pace_spend(struct pace *p, uint64_t now_ms, int64_t wal_bytes)
{
	pay_off(p, now_ms);
	p->debt += wal_bytes > 0 ? (double)wal_bytes : 0;
}

/* Nobody is spared by a pause. */
static int are_all_left_out(const struct pace *p, uint64_t now_ms)
{
	for (size_t i = 0; i < p->count; i++) {
		if (!is_left_out(p, &p->standbys[i], now_ms, p->limit_ms)) {
			return 0;
		}
	}
	return 1;
}

uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms)
{
	if (are_all_left_out(p, now_ms)) {
		return 0;
	}
	pay_off(p, now_ms);
	if (p->debt <= 0) {
		return 0;
	}
	p->was_short = 1;
	return 1 + (uint64_t)(p->debt / pace_allowed(p) * 1000);
}

int64_t pace_batch_bytes(const struct pace *p)
{
	double most = pace_allowed(p) * seconds(p->limit_ms) * BATCH_SHARE;

	if (p->count == 0) {
		return INT64_MAX;
	}
	return most < PACE_LEAST_BATCH_BYTES ? PACE_LEAST_BATCH_BYTES
					     : (int64_t)most;
}
