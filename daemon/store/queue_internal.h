/* queue_internal.h: what queue*.c share. */
#ifndef BACKFILL_STORE_QUEUE_INTERNAL_H
#define BACKFILL_STORE_QUEUE_INTERNAL_H

#include "store/queue.h"

/* Beyond any lock_timeout of ours: what takes longer is a dead peer. */
enum { QUEUE_DEADLINE_MS = 15000 };

/* Room for any 64-bit number. */
struct queue_number {
	char text[24];
};

const char *queue_number(struct queue_number *n, int64_t value);

/* A request of one statement. */
struct pgc_request *queue_one(
	const char *sql, int count, const char *const values[]);

#endif
