/* scripts.h: the numbered SQL scripts of daemon/sql, embedded by
 * daemon/sql/embed when the programs are built. */
#ifndef BACKFILL_STORE_SCRIPTS_H
#define BACKFILL_STORE_SCRIPTS_H

#include <stddef.h>

struct script {
	int version; /* NNN of NNN_name.up.sql */
	const char *name;
	const char *up;	  /* the file's text */
	const char *down; /* of NNN_name.down.sql */
};

/* In order of version, which is strictly increasing; after the last comes
 * an entry whose name is NULL. */
extern const struct script scripts[];
extern const size_t scripts_count;

#endif
