/* reload.h: a configuration that is in use becomes what its file says now,
 * as far as that works without a restart. */
#ifndef BACKFILL_CONFIG_RELOAD_H
#define BACKFILL_CONFIG_RELOAD_H

#include "config/config.h"

/* An option, or a database, that the file has otherwise now. The texts are
 * lent. */
struct reload_change {
	const char *what; /* "batch.batch_rows", "shop.workers", "shop" */
	const char *from; /* NULL: it is not told */
	const char *to;
	const char *effect; /* "at once", …; NULL: it needs a restart */
};

typedef void (*reload_cb)(void *data, const struct reload_change *change);

/* Give c the reloadable values of fresh, a valid configuration, and close
 * fresh. cb is called for each difference, from inside the call. Numbers and
 * strings of c change in place: who keeps a pointer to a string of c keeps
 * it no longer than a turn of the loop. */
void reload_take(
	struct config *c, struct config *fresh, reload_cb cb, void *data);

#endif
