/* sm.h: state machines that check themselves. A machine is a table: per
 * state a name and the set of states that may follow. */
#ifndef BACKFILL_BASE_SM_H
#define BACKFILL_BASE_SM_H

#include <stdint.h>

#define SM_TO(state) (UINT32_C(1) << (state))

struct sm_state {
	const char *name;
	uint32_t next; /* SM_TO(a) | SM_TO(b); 0 for a final state */
};

struct sm {
	const struct sm_state *table; /* borrowed; indexed by state */
	const char *name;	      /* borrowed; for traces */
	int state;
};

void sm_init(struct sm *m, const char *name, const struct sm_state *table,
	int state);

/* Move to state; asserts that the table allows it. */
void sm_move(struct sm *m, int state);

/* Whether the table allows the move from the current state. */
int sm_can(const struct sm *m, int state);

const char *sm_name(const struct sm *m);

#endif
