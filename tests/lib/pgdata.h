/* pgdata.h: PostgreSQL's programs, and new data directories in a hurry:
 * initdb once per machine user, then copies of its result. */
#ifndef BACKFILL_TESTS_PGDATA_H
#define BACKFILL_TESTS_PGDATA_H

#include <stddef.h>
#include <sys/types.h>

/* Who servers run as: we ourselves, or as root (whom PostgreSQL refuses)
 * the user postgres. */
uid_t pgdata_uid(void);

/* The directory of the programs we build: $BACKFILL_BUILD_DIR, or
 * build/release. */
const char *pgdata_build_dir(void);

/* The path of a server program, in $PG_BINDIR or where pg_config says. */
void pgdata_program(char *path, size_t size, const char *name);

/* Make path, whose parent directory pgdata_uid() owns, a fresh data
 * directory of superuser postgres with trust authentication. Taken from a
 * template in the build directory, which is made there first when it can
 * be. */
void pgdata_create(const char *path);

/* Remove a directory with all that is in it; goes on over files that vanish
 * meanwhile. Returns whether it is gone. */
int pgdata_remove(const char *directory);

#endif
