/* ctl_events.h: which events were told already, when new ones are followed.
 *
 * Ids are taken before a transaction commits, and become visible in any
 * order: the largest id that was seen says nothing of the smaller ones. But
 * what becomes visible between two looks was written by a transaction that
 * was running at the first one or began after it: its number, or that of its
 * subtransaction, is not below the first snapshot's xmin (PostgreSQL docs,
 * 9.27.11). Of rows from this floor on, the ids that were told are kept.
 *
 * Rows are found by their id, and there is no index on their transaction. So
 * there is a lowest id, too: one that was visible a while ago, when no
 * transaction is running any more that was running then. Pure. */
#ifndef BACKFILL_CTL_CTL_EVENTS_H
#define BACKFILL_CTL_CTL_EVENTS_H

#include <stddef.h>
#include <stdint.h>

struct ctl_seen_event {
	int64_t id;
	int64_t xid; /* of the row, with its epoch */
};

struct ctl_seen {
	int64_t floor;	/* rows of transactions below it are known */
	int64_t lowest; /* rows up to this id are known */
	struct ctl_seen_event *events;
	size_t count;

	int64_t largest; /* id */
	int64_t next_lowest, next_xmax;
	uint64_t next_since_ms;
};

void ctl_seen_init(struct ctl_seen *s);
void ctl_seen_close(struct ctl_seen *s);

/* A row that is visible: 1 when it is new. */
int ctl_seen_add(struct ctl_seen *s, int64_t id, int64_t xid);

/* After all rows of a look: its snapshot, and the time on any clock. */
void ctl_seen_end_look(
	struct ctl_seen *s, int64_t xmin, int64_t xmax, uint64_t now_ms);

#endif
