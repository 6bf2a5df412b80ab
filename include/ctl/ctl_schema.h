/* ctl_schema.h: the installed schema as the installer sees it, and the SQL
 * around the numbered scripts. */
#ifndef BACKFILL_CTL_CTL_SCHEMA_H
#define BACKFILL_CTL_CTL_SCHEMA_H

#include "base/text.h"
#include "ctl/ctl.h"
#include "store/scripts.h"

/* Begin the one transaction in which the schema changes: nobody else does
 * so meanwhile. Refuses who may not install, and a schema that is newer than
 * this program. *version is 0 when there is none. Returns a CTL code. */
int ctl_schema_begin(struct ctl *ctl, int *version);

/* Give back what begin took, and commit. Returns a CTL code. */
int ctl_schema_commit(struct ctl *ctl);

/* Add the SQL that runs one script and records its version. */
void ctl_schema_add_up(struct text *sql, const struct script *script);

/* Add the SQL after the last: the installer is no longer the owner. */
void ctl_schema_add_end(struct text *sql);

/* Print the SQL of the whole installation: what psql can run, as one
 * transaction, without this program. */
void ctl_schema_print(void);

/* The version that this program brings. */
int ctl_schema_newest(void);

/* Print what the DBA still has to do, as SQL whose comments hold the lines
 * for pg_hba.conf. Returns a CTL code. */
int ctl_remains_print(struct ctl *ctl);

#endif
