#include "base/sm.h"

#include <assert.h>

#include "base/log.h"

void sm_init(
	struct sm *m, const char *name, const struct sm_state *table, int state)
{
	m->table = table;
	m->name = name;
	m->state = state;
}

void sm_move(struct sm *m, int state)
{
	log_debug("%s: %s -> %s", m->name, m->table[m->state].name,
		m->table[state].name);
	assert(sm_can(m, state));
	m->state = state;
}

int sm_can(const struct sm *m, int state)
{
	return (m->table[m->state].next & SM_TO(state)) != 0;
}

const char *sm_name(const struct sm *m)
{
	return m->table[m->state].name;
}
