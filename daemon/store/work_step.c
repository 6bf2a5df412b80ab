/* The part of store/work.h about the steps of the schema kinds: the functions
 * of daemon/sql/022 and 023. */
#include "work_internal.h"

#include <inttypes.h>
#include <string.h>

enum {
	/* Statements of the requests, from 0. */
	EXAMINE_ENTER = 3,
	EXAMINE_FOUND = 4,
	DO_STEP = 2,
	LOOK = 2,
	BEGIN_ALONE = 2
};

/* "backfill.function(job, range, epoch, pieces, leaving)" */
static void add_call(
	struct text *sql, const char *function, const struct work_step *step)
{
	work_add_call(sql, function, &step->fence);
	text_add(sql, ", ");
	keyset_add_literal(sql, step->pieces);
	text_addf(sql, "::pg_catalog.text[], %s)",
		step->leaving ? "true" : "false");
}

static void add_enter(struct pgc_request *r, const struct work_step *step)
{
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT ");
	work_add_call(&sql, "enter_step", &step->fence);
	text_add(&sql, ", pg_catalog.to_regclass(");
	keyset_add_literal(&sql, step->job->target);
	text_addf(&sql, "), %s)", step->leaving ? "true" : "false");
	work_add_text(r, &sql);
}

static struct pgc_request *one_transaction(
	const struct work_step *step, const char *select, const char *function)
{
	struct pgc_request *r = work_begin(step->deadline_ms);
	struct text sql;

	add_enter(r, step);
	text_init(&sql);
	text_add(&sql, select);
	add_call(&sql, function, step);
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

/* ---- examine */

struct pgc_request *work_examine(
	const struct work_step *step, const struct work_settings *s)
{
	struct pgc_request *r = pgc_request_new(step->deadline_ms);
	struct text sql;

	work_add_surroundings(r, step->job);
	pgc_add(r, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
	text_init(&sql);
	text_addf(&sql,
		"SELECT pg_catalog.set_config('lock_timeout', '%" PRId64
		"', false), pg_catalog.set_config('statement_timeout', "
		"'%" PRId64 "', false)",
		s->lock_timeout_ms, s->statement_timeout_ms);
	work_add_text(r, &sql);
	add_enter(r, step);
	text_init(&sql);
	text_add(&sql,
		"SELECT way, told, is_long, lock_mode, lock_tables FROM ");
	add_call(&sql, "examine_step", step);
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

static enum run_way way_of(const char *name)
{
	if (strcmp(name, "transaction") == 0) {
		return RUN_WAY_TRANSACTION;
	}
	if (strcmp(name, "alone") == 0) {
		return RUN_WAY_ALONE;
	}
	return strcmp(name, "look") == 0 ? RUN_WAY_LOOK : RUN_WAY_NONE;
}

int work_read_examined(
	const struct pgc_request *r, struct work_examined *x, struct err *e)
{
	const char *waits = pgc_text(pgc_result(r, EXAMINE_ENTER), 0, 0);
	const PGresult *found = pgc_result(r, EXAMINE_FOUND);

	if (waits[0] != '\0') {
		err_set(e, BFE_SQL, "%s", waits);
		memcpy(e->sqlstate, "BF011", 6);
		return e->code;
	}
	x->way = way_of(pgc_text(found, 0, 0));
	x->told = pgc_text(found, 0, 1);
	x->is_long = pgc_bool(found, 0, 2);
	x->lock_mode = pgc_text(found, 0, 3);
	x->lock_tables = pgc_text(found, 0, 4);
	return 0;
}

/* ---- in a transaction */

struct pgc_request *work_do_step(const struct work_step *step)
{
	return one_transaction(step, "SELECT ", "do_step");
}

int work_read_step_done(const struct pgc_request *r)
{
	return pgc_bool(pgc_result(r, DO_STEP), 0, 0);
}

/* ---- a look: no range is locked while it reads */

struct pgc_request *work_look(const struct work_step *step)
{
	struct pgc_request *r = work_begin(step->deadline_ms);
	struct text sql;

	text_init(&sql);
	text_addf(&sql,
		"SELECT pg_catalog.set_config('statement_timeout', '%" PRId64
		"', true)",
		step->job->statement_timeout_ms);
	work_add_text(r, &sql);
	text_init(&sql);
	text_add(&sql,
		"SELECT rows_found, error_sqlstate, error_message,"
		" error_detail, error_hint FROM ");
	work_add_call(&sql, "look", &step->fence);
	text_add(&sql, ", ");
	keyset_add_literal(&sql, step->pieces);
	text_add(&sql, "::pg_catalog.text[])");
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

int work_read_look(const struct pgc_request *r, struct err *e)
{
	const PGresult *row = pgc_result(r, LOOK);

	if (pgc_int(row, 0, 0) == 0) {
		return 0;
	}
	err_set(e, BFE_SQL, "%s", pgc_text(row, 0, 2));
	memcpy(e->sqlstate, "BF033", 6);
	err_set_detail(e, "%s", pgc_text(row, 0, 3));
	err_set_hint(e, "%s", pgc_text(row, 0, 4));
	return e->code;
}

/* ---- alone */

struct pgc_request *work_begin_alone(const struct work_step *step)
{
	return one_transaction(step, "SELECT ", "begin_alone");
}

const char *work_read_alone(const struct pgc_request *r)
{
	const PGresult *row = pgc_result(r, BEGIN_ALONE);

	return pgc_is_null(row, 0, 0) ? NULL : pgc_text(row, 0, 0);
}

struct pgc_request *work_alone(const char *statement, uint64_t deadline_ms)
{
	struct pgc_request *r = pgc_request_new(deadline_ms);

	pgc_add(r, statement);
	return r;
}

int work_examine_failed_in_job(const struct pgc_request *r)
{
	return pgc_failed_at(r) >= EXAMINE_FOUND;
}

int work_step_failed_in_job(const struct pgc_request *r)
{
	return pgc_failed_at(r) >= DO_STEP;
}
