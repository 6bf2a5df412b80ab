/* host.h: what a runner is given by the database that it works for. */
#ifndef BACKFILL_ENGINE_HOST_H
#define BACKFILL_ENGINE_HOST_H

#include <uv.h>

#include "base/log.h"
#include "base/text.h"
#include "config/config.h"
#include "engine/counters.h"
#include "pg/pgc.h"

struct pacer;

struct host {
	uv_loop_t *loop;
	const struct config *config;		/* borrowed */
	const struct config_database *database; /* borrowed */
	struct pgc *control; /* NULL while it is not connected */
	struct pacer *pacer;
	int64_t incarnation;
	uint64_t renewed_ms;   /* when the last good heartbeat was sent */
	uint64_t rows_changed; /* by all runners since the start */
	struct counters counters;
};

/* Whether our lease is young enough to begin a batch: two thirds of it by
 * our own clock, which also counts the time that the host slept. The fence
 * holds without this; it spares the server a batch that must fail. */
int host_may_begin(const struct host *h);

/* host_log.c: a line of the log about the database; sqlstate: of the error that
 * it is about, or NULL. */
void host_log(const struct host *h, enum log_level level, const char *sqlstate,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* What may be told of an error of the control connection. */
void host_add_error(struct text *out, const struct err *e);

#endif
