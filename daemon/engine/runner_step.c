/* The steps of a job of the schema kinds: for each action a pair send_x,
 * on_x_done. What is decided stands in rules/run_schema.c, what is done in
 * daemon/sql/015 to 023. See runner.c for the whole.
 *
 * A statement that runs alone, outside any transaction, is two requests: that
 * it begins is committed first, so that whatever comes of it is known to be
 * ours. The session has the statement's timeouts from then on, up to the next
 * examination. */

#include "runner_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "rules/statement.h"

enum { DEADLINE_MARGIN_MS = 15000 };

/* An index may take days. That the server is there is looked after by
 * runner_line.c. */
static const uint64_t LONG_DEADLINE_MS = 30ull * 24 * 60 * 60 * 1000;

static struct work_step step_of(struct runner *r)
{
	const struct work_step step = {
		.fence = runner_fence(r),
		.job = &r->job,
		.pieces = r->pieces.data,
		.leaving = r->run.schema.is_leaving,
		.deadline_ms = r->run.schema.is_long
			? LONG_DEADLINE_MS
			: (uint64_t)(2 *
					  (r->statement_timeout_ms +
						  r->job.statement_timeout_ms) +
				  DEADLINE_MARGIN_MS),
	};

	return step;
}

static void well(struct runner *r)
{
	struct run_event ev = { .error = NULL };

	runner_done(r, &ev);
}

/* First line of the callbacks, but for the examination's. */
static int step_failed(struct runner *r, const struct pgc_request *request,
	const struct err *e)
{
	r->failure_of_job = e != NULL && work_step_failed_in_job(request);
	return runner_request_failed(r, e);
}

/* ---- examine ---- */

static char *copy(const char *text)
{
	return text[0] != '\0' ? mem_strdup(text) : NULL;
}

static void on_examined(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };
	struct work_examined found;
	struct err failure;

	r->failure_of_job = e != NULL && work_examine_failed_in_job(request);
	if (runner_request_failed(r, e)) {
		return;
	}
	if (work_read_examined(request, &found, &failure) != 0) {
		runner_failed(r, &failure);
		return;
	}
	free(r->lock_mode);
	free(r->lock_tables);
	r->lock_mode = copy(found.lock_mode);
	r->lock_tables = copy(found.lock_tables);
	ev.way = found.way;
	ev.told = found.told;
	ev.is_long = found.is_long;
	ev.takes_lock = r->lock_mode != NULL && r->lock_tables != NULL &&
		strcmp(r->lock_tables, "{}") != 0;
	runner_done(r, &ev);
}

static void send_examine(struct runner *r)
{
	const struct config *c = r->host->config;
	const struct work_settings settings = {
		.lock_timeout_ms = c->lock_timeout_ms,
		.statement_timeout_ms = c->statement_timeout_ms,
	};
	struct work_step step;

	text_reset(&r->pieces);
	(void)statement_split(&r->pieces, r->job.definition);
	step = step_of(r);
	runner_send(r, work_examine(&step, &settings), on_examined);
}

/* ---- the guard ---- */

static void on_guarded(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = e };

	if (runner_is_over(r)) {
		return;
	}
	if (e == NULL) {
		ev.waits_for = queue_read_lock_holders(request);
	}
	runner_done(r, &ev);
}

/* Who has held the table for less than a wait may take is worth waiting for. */
static void send_guard(struct runner *r)
{
	runner_send_action(r,
		queue_lock_holders(r->host->incarnation, r->claim.job_id,
			r->run.epoch, r->lock_tables, r->lock_mode,
			r->host->config->lock_timeout_ms),
		on_guarded);
}

/* ---- the step ---- */

static void on_step_done(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct run_event ev = { .error = NULL };

	if (step_failed(r, request, e)) {
		return;
	}
	ev.finished = work_read_step_done(request);
	runner_log_step(r, "done");
	runner_done(r, &ev);
}

static void on_looked(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	struct err failure;

	if (step_failed(r, request, e)) {
		return;
	}
	if (work_read_look(request, &failure) != 0) {
		runner_failed(r, &failure);
		return;
	}
	well(r);
}

static void on_alone_done(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	(void)request;
	r->failure_of_job = e != NULL;
	if (runner_request_failed(r, e)) {
		return;
	}
	runner_log_step(r, "done");
	well(r);
}

static void on_alone_begun(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;
	const char *statement;

	if (step_failed(r, request, e)) {
		return;
	}
	statement = work_read_alone(request);
	if (statement == NULL || r->stop_asked) {
		/* It is not to be done any more; or the daemon stops, whose
		 * cancel came between the two requests and met neither. */
		well(r);
		return;
	}
	runner_log_step(r, "begin");
	runner_send(r, work_alone(statement, LONG_DEADLINE_MS), on_alone_done);
	runner_watch_start(r);
}

static void send_step(struct runner *r)
{
	struct work_step step = step_of(r);

	switch (r->run.schema.way) {
	case RUN_WAY_NONE:
	case RUN_WAY_TRANSACTION:
		runner_send(r, work_do_step(&step), on_step_done);
		break;
	case RUN_WAY_LOOK:
		runner_send(r, work_look(&step), on_looked);
		break;
	case RUN_WAY_ALONE:
		runner_send(r, work_begin_alone(&step), on_alone_begun);
		break;
	}
	runner_watch_start(r);
}

void runner_act_on_schema(struct runner *r, enum run_action action)
{
	switch ((int)action) {
	case RUN_EXAMINE:
		send_examine(r);
		return;
	case RUN_GUARD:
		send_guard(r);
		return;
	case RUN_STEP:
		send_step(r);
		return;
	default:
		assert(0);
	}
}
