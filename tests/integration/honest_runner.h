/* honest_runner.h: what a runner asks of both worlds (honest_drive.h). For
 * test_sim_honest.c only. */
#ifndef BACKFILL_TESTS_HONEST_RUNNER_H
#define BACKFILL_TESTS_HONEST_RUNNER_H

#include "honest_drive.h"

enum { BOUND = 90 };

/* ---- what is asked */

static inline int64_t some_epoch(void)
{
	return fake.range.epoch - (pick(8) == 0);
}

static inline int64_t some_seq(void)
{
	return fake.range.seq + (pick(10) == 0) - (pick(10) == 0);
}

static inline int some_key(void)
{
	return 1 + pick(BOUND);
}

/* The place of a hole, or -1. */
static inline int some_hole(void)
{
	return fake.range.hole_count == 0 || pick(3) == 0
		? -1
		: pick(fake.range.hole_count);
}

/* ---- runners */

#define FENCE "%lld, 1, %" PRId64
#define FENCE_SEQ "%lld, 1, %" PRId64 ", %" PRId64

static inline void do_attach(struct runner *r)
{
	int64_t epoch = some_epoch();

	sim_begin(&fake, &r->tx, r->backend);
	compare(end_fake(&r->tx, sim_attach(&fake, &r->tx, epoch)),
		real(r->conn,
			"SELECT backfill.attach(" FENCE
			", (SELECT backend_start FROM"
			" pg_stat_get_activity(pg_backend_pid())))",
			job, epoch));
	if (fake.range.is_begun && !fake.range.has_key &&
		fake.range.runner == r->backend) {
		sim_begin(&fake, &r->tx, r->backend);
		compare(end_fake(&r->tx, sim_adopt_key(&fake, &r->tx, epoch)),
			real(r->conn,
				"SELECT backfill.adopt_key(" FENCE
				", 't_pkey'::regclass)",
				job, epoch));
	}
}

static inline void do_begin_job(struct runner *r)
{
	int64_t epoch = some_epoch();
	int bound = pick(10) > 0 ? BOUND : 0;

	sim_begin(&fake, &r->tx, r->backend);
	compare(end_fake(&r->tx, sim_begin_job(&fake, &r->tx, epoch, bound)),
		real(r->conn,
			"SELECT backfill.begin_job(" FENCE
			", 't'::regclass, 't_pkey'::regclass, %s, 90, 's',"
			" NULL, 'public.t')",
			job, epoch, bound != 0 ? "'{90}'" : "NULL"));
}

static inline void do_skip_window(struct runner *r)
{
	int64_t epoch = some_epoch();
	int64_t seq = some_seq();
	int key = some_key();

	sim_begin(&fake, &r->tx, r->backend);
	compare(end_fake(&r->tx,
			sim_skip_window(&fake, &r->tx, epoch, seq, key, 7)),
		real(r->conn,
			"SELECT backfill.skip_window(" FENCE_SEQ ", '{%d}', 7)",
			job, epoch, seq, key));
}

/* NULL, or the hole's number in the real world. */
static inline const char *hole_text(int i)
{
	static char text[24];

	if (i < 0) {
		return "NULL";
	}
	(void)snprintf(text, sizeof text, "%" PRId64,
		fake.range.holes[i].id + hole_ids);
	return text;
}

static inline void do_set_aside(struct runner *r)
{
	int64_t epoch = some_epoch();
	int64_t seq = some_seq();
	int i = some_hole();
	int64_t hole = i >= 0 ? fake.range.holes[i].id : 0;
	int is_error = pick(3) > 0;
	int key = some_key();

	if (i >= 0 && (!fake.range.holes[i].is_window || pick(3) == 0)) {
		key = fake.range.holes[i].hi;
	}
	sim_begin(&fake, &r->tx, r->backend);
	compare(end_fake(&r->tx,
			sim_set_aside(&fake, &r->tx, epoch, seq, key, 1, hole,
				is_error ? "23514" : "")),
		real(r->conn,
			"SELECT backfill.set_aside(" FENCE_SEQ
			", '{%d}', 1, %s, %s, 'bad', NULL)",
			job, epoch, seq, key, hole_text(i),
			is_error ? "'23514'" : "NULL"));
}

static inline void do_finish_range(struct runner *r)
{
	int64_t epoch = some_epoch();
	int64_t seq = some_seq();

	sim_begin(&fake, &r->tx, r->backend);
	compare(end_fake(&r->tx, sim_finish_range(&fake, &r->tx, epoch, seq)),
		real(r->conn, "SELECT backfill.finish_range(" FENCE_SEQ ")",
			job, epoch, seq));
}

/* ---- a batch: it stays open, so that the others meet its lock */

static inline void end_batch(struct runner *r, const char *of_fake)
{
	if (of_fake[0] != '\0' || pick(3) == 0) {
		sim_rollback(&fake, &r->tx);
		(void)real(r->conn, "ROLLBACK");
	} else {
		sim_commit(&fake, &r->tx);
		assert_string_equal(real(r->conn, "COMMIT"), "");
	}
	compare("", "");
}

static inline void do_begin_batch(struct runner *r)
{
	int64_t epoch = some_epoch();
	int64_t seq = some_seq();
	int64_t rows_left;
	const char *failure;

	sim_begin(&fake, &r->tx, r->backend);
	failure = sim_begin_batch(&fake, &r->tx, epoch, seq, &rows_left);
	failure = failure == SIM_WAITS ? "55P03" : failure;
	assert_string_equal(real(r->conn, "BEGIN"), "");
	compare(failure,
		real(r->conn,
			"SELECT coalesce(rows_left, 0) FROM"
			" backfill.begin_batch(" FENCE_SEQ ")",
			job, epoch, seq));
	if (failure[0] != '\0') {
		end_batch(r, failure);
	} else {
		assert_int_equal(atoll(answer), rows_left);
	}
}

static inline void do_checkpoint(struct runner *r)
{
	int i = some_hole();
	int held[SIM_HELD + 1];
	struct text keys;
	struct sim_checkpoint c = {
		.epoch = some_epoch(),
		.seq = some_seq(),
		.up_to = some_key(),
		.read = pick(20),
		.size = 1 + pick(20),
		.updated = pick(4),
		.still = pick(10) == 0,
		.held = held,
		.held_count = pick(12) == 0 ? SIM_HELD + 1 : pick(3),
		.hole = 0,
	};
	const char *failure;

	c.locked = c.updated + pick(3) - (pick(10) == 0);
	if (i >= 0 && fake.range.holes[i].is_window) {
		c.hole = fake.range.holes[i].id;
		c.read = 0;
		c.up_to = pick(2) ? fake.range.holes[i].hi : c.up_to;
	} else {
		i = -1;
	}
	text_init(&keys);
	for (int n = 0; n < c.held_count; n++) {
		held[n] = some_key();
		text_addf(&keys, "%s{%d}", n > 0 ? "," : "'{", held[n]);
	}
	text_add(&keys, c.held_count > 0 ? "}'" : "NULL");
	failure = sim_checkpoint(&fake, &r->tx, &c);
	{
		PGresult *result;
		struct text sql;
		const char *state;

		/* Longer than a step's text may be. */
		text_init(&sql);
		text_addf(&sql,
			"SELECT backfill.checkpoint(" FENCE_SEQ
			", '{%d}', %" PRId64 ", %" PRId64 ", %" PRId64
			", %" PRId64 ", 0, %" PRId64 ", %s, %s)",
			job, c.epoch, c.seq, c.up_to, c.read, c.size, c.locked,
			c.updated, c.still, keys.data, hole_text(i));
		(void)snprintf(step_text, sizeof step_text, "%.255s", sql.data);
		result = PQexec(r->conn, sql.data);
		state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
		compare(failure, state != NULL ? state : "");
		PQclear(result);
		text_close(&sql);
	}
	text_close(&keys);
	end_batch(r, failure);
}

static inline void do_close_hole(struct runner *r)
{
	int64_t epoch = some_epoch();
	int64_t seq = some_seq();
	int i = some_hole();
	struct sim_counts c = { 0 };
	const char *failure;

	if (i < 0 || fake.range.holes[i].is_window) {
		do_checkpoint(r);
		return;
	}
	c.eligible = pick(2);
	c.locked = pick(8) > 0 ? c.eligible : pick(2);
	c.updated = pick(8) > 0 ? c.eligible : pick(2);
	failure = sim_close_hole(
		&fake, &r->tx, epoch, seq, fake.range.holes[i].id, &c);
	compare(failure,
		real(r->conn,
			"SELECT backfill.close_hole(" FENCE_SEQ ", %s, %" PRId64
			", %" PRId64 ", %" PRId64 ", 0, 0)",
			job, epoch, seq, hole_text(i), c.eligible, c.locked,
			c.updated));
	end_batch(r, failure);
}

#endif
