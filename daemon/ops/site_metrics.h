/* site_metrics.h: the private parts of /metrics, shared by site_metrics*.c. */
#ifndef BACKFILL_OPS_SITE_METRICS_H
#define BACKFILL_OPS_SITE_METRICS_H

#include "site.h"

/* Older than that, what a database said is not shown. */
enum { METRICS_STALE_MS = 60000 };

/* name="value", with what the format wants escaped. */
void metrics_add_label(struct text *out, const char *name, const char *value);

/* Whether the last answer has it. */
int metrics_job_is_open(const struct site_database *db, int64_t job_id);

/* Each adds the lines of one metric, or none. */
#define METRICS_ADD(name)                                                      \
	void name(struct text *out, const struct site_metric *m,               \
		struct site *site)

/* site_metrics_own.c */
METRICS_ADD(own_add_build);
METRICS_ADD(own_add_database_up);
METRICS_ADD(own_add_reconnects);
METRICS_ADD(own_add_errors);
METRICS_ADD(own_add_reload);
METRICS_ADD(own_add_reload_time);
METRICS_ADD(own_add_loop_lag);
METRICS_ADD(own_add_batch_times);
METRICS_ADD(own_add_utilization);
METRICS_ADD(own_add_lag);
METRICS_ADD(own_add_lag_bytes);
METRICS_ADD(own_add_lag_known);

/* site_metrics_process.c: as client libraries of Prometheus call them. */
METRICS_ADD(process_add_cpu);
METRICS_ADD(process_add_resident);
METRICS_ADD(process_add_virtual);
METRICS_ADD(process_add_fds);
METRICS_ADD(process_add_max_fds);
METRICS_ADD(process_add_start);

#endif
