/* ctl_asker.h: looks at a database again and again without ever waiting for
 * it: a server that restarts, or hangs, costs the looks and nothing else. */
#ifndef BACKFILL_CTL_CTL_ASKER_H
#define BACKFILL_CTL_CTL_ASKER_H

#include <poll.h>
#include <stdint.h>

#include "ctl/ctl_look.h"

enum asker_state { ASKER_OFFLINE, ASKER_CONNECTING, ASKER_IDLE, ASKER_ASKING };

struct asker {
	struct ctl *ctl; /* its conn is replaced when it was lost */
	enum asker_state state;
	PQconninfoOption *parameters; /* of the first connection */
	PostgresPollingStatusType wants;
	uint64_t interval_ms;
	uint64_t due_ms;  /* of the next step, or when it is given up */
	struct look next; /* coming */
	struct look last; /* that was had */
	int has_look;
	uint64_t lost_ms; /* since when there is none; 0: there is */
	double lost_at;	  /* the same as a time of day */
	char *trouble;	  /* why; NULL: none */
};

/* ctl is connected, and stays the caller's. Looks begin at once, interval_ms
 * apart; due_ms may be set for one at another time. */
void asker_init(struct asker *a, struct ctl *ctl, uint64_t interval_ms);
void asker_close(struct asker *a);

/* Go on as far as it goes without waiting. ready: what poll() told of its
 * descriptor. Returns 1 when there is a new look in last, or new trouble. */
int asker_step(struct asker *a, uint64_t now_ms, int ready);

/* What to wait for: a descriptor, -1 for none, and how long at most. */
int asker_wait(const struct asker *a, uint64_t now_ms, struct pollfd *fd);

#endif
