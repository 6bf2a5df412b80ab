/* Does the server know of the request in flight? Its deadline lies behind all
 * that the server may need, which is minutes; a proxy that froze, or a link
 * that is gone in one direction, would hold the job up for as long, and the
 * application too where half of a batch had arrived: its rows are locked, and
 * no timeout of the server runs while it waits for the rest of it.
 *
 * So the control connection looks now and then what the runner's backend
 * does. One that waits for a message, several times in a row, or is gone, has
 * sent its reply long ago or will never have one to send: the request is
 * given up as if its deadline had passed, and the range is taken again, which
 * ends the backend. See runner.c for the whole. */

#include "runner_internal.h"

#include "base/log.h"

enum { LINE_MS = 2000, SILENCES = 3 };

static void on_looked(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct runner *r = data;

	/* The reply may be about a request that has ended. */
	if (runner_is_over(r) || r->abandoned ||
		!uv_is_active((uv_handle_t *)&r->line)) {
		return;
	}
	if (e != NULL || !queue_read_awaits_client(request)) {
		r->silences = 0;
		return;
	}
	if (++r->silences < SILENCES) {
		return;
	}
	runner_log(r, LOG_WARNING, NULL,
		"the server awaits a request, and we a reply -> the connection"
		" is given up");
	runner_line_stop(r);
	pgc_hurry(r->conn);
}

static void on_line(uv_timer_t *timer)
{
	struct runner *r = timer->data;

	runner_send_aside(r,
		queue_awaits_client(
			r->host->incarnation, r->claim.job_id, r->run.epoch),
		on_looked);
}

void runner_line_start(struct runner *r)
{
	r->silences = 0;
	(void)uv_timer_start(&r->line, on_line, LINE_MS, LINE_MS);
}

void runner_line_stop(struct runner *r)
{
	(void)uv_timer_stop(&r->line);
}
