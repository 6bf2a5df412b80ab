/* dry_run_internal.h: what the dry_run*.c share. */
#ifndef BACKFILL_STORE_DRY_RUN_INTERNAL_H
#define BACKFILL_STORE_DRY_RUN_INTERNAL_H

#include "store/dry_run.h"
#include "work_internal.h"

/* A setting of the transaction. */
void dry_run_add_setting(
	struct pgc_request *r, const char *name, const char *value);

/* Of the first row; NULL when it is NULL. The caller free()s it. */
char *dry_run_copy_text(const PGresult *row, int column);

#endif
