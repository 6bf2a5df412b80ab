/* effects.h: an oracle of a test's own for jobs that add 1 to n, which no
 * code under test writes or reads. Triggers note each row that is changed
 * and each change of a range, with their transactions; what the daemon says
 * of a job is held against that. */
#ifndef BACKFILL_TESTS_EFFECTS_H
#define BACKFILL_TESTS_EFFECTS_H

#include <libpq-fe.h>
#include <stdint.h>

/* In a database with the schema, as its superuser:
 *	effects (target, id, xid)
 *	audit (number, job, at, xid, and of the range before and after the
 *	change: old_owner, owner, old_epoch, epoch, old_seq, seq, old_done,
 *	done; old_lease, the old owner's lease_until at that moment)
 */
void effects_install(PGconn *conn);

/* A table (id bigint PRIMARY KEY, n integer, pad text) with ids from 1 and n
 * 0, whose changes are noted. */
void effects_make_table(PGconn *conn, const char *table, int rows);

/* Submit "n = n + 1 + WITH" in batches of batch_rows exactly; with may be
 * NULL. Returns the job's id. */
int64_t effects_submit(PGconn *conn, const char *name, const char *table,
	int batch_rows, const char *with);

/* At this instant: no row twice, as many rows changed as the checkpoint
 * counts, none of them beyond the cursor, and none left out before it but
 * for those that the holes name. */
void effects_check(PGconn *conn, const char *table, int64_t job);

/* The same when the job succeeded and has changed every row; and that each
 * transaction changed as many rows as it counted, epochs and sequence
 * numbers only grew, and there was a new epoch for each new owner. */
void effects_check_done(PGconn *conn, const char *table, int64_t job, int rows);

#endif
