/* service_internal.h: the private parts of the service, shared by
 * service*.c. */
#ifndef BACKFILL_OPS_SERVICE_INTERNAL_H
#define BACKFILL_OPS_SERVICE_INTERNAL_H

#include <uv.h>

#include "base/text.h"
#include "config/config.h"
#include "engine/database.h"
#include "ops/notify.h"

enum { SERVICE_SIGNALS = 3 };

struct service {
	const char *path; /* of the configuration */
	struct config config;
	uv_loop_t loop;
	uv_signal_t signals[SERVICE_SIGNALS]; /* SIGTERM, SIGINT, SIGHUP */
	uv_timer_t patience;
	struct database **databases; /* NULL: ended */
	size_t count;
	size_t left;
	uint64_t started_ms;	 /* on the loop's clock */
	int64_t started_wall_ms; /* since the epoch */
	int64_t loaded_wall_ms;	 /* the file, without an error */
	struct site *site;	 /* what is shown over HTTP */
	int stopping;
	int exit_code;

	/* service_notify.c */
	struct notify notify;
	uv_timer_t tick;
	int is_ready;	    /* READY=1 was taken */
	struct text status; /* as it was last told */
	uint64_t counted_ms;
	uint64_t *counted_rows; /* of each database at counted_ms */
	double *rows_per_second;
	size_t reload_errors; /* of the file, when it was last read */
	int is_dead;	      /* told that a database does not move */
};

/* service.c */

/* The options of the log are in effect from here on. */
void service_set_log(const struct config *config);

/* service_notify.c: the service manager. */

/* Before the databases start. Returns 0 or an error. */
int service_notify_open(struct service *s, struct err *e);
/* The databases have started: watch them, tick. */
void service_notify_start(struct service *s);
/* It is stopping. */
void service_notify_stopping(struct service *s);
/* Around a reload. */
void service_notify_reloading(struct service *s);
void service_notify_reloaded(struct service *s);
/* The handles; then, when the loop has ended, the rest. */
void service_notify_end(struct service *s);
void service_notify_close(struct service *s);

/* service_status.c: how it stands, in a line for people: "shop: 2 running,
 * 1 held, 18.4k rows/s; log: connecting". */
void service_add_status(const struct service *s, struct text *out);

/* service_reload.c: read the file again and take what may be taken. */
void service_reload(struct service *s);

#endif
