/* Transactions: what they write is theirs until they commit, and what they
 * lock until they end. */

#include "sim_server.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Only as many holes and errors as there are. */
static void copy_range(struct sim_range *to, const struct sim_range *from)
{
	memcpy(to, from, offsetof(struct sim_range, holes));
	memcpy(to->holes, from->holes,
		(size_t)from->hole_count * sizeof from->holes[0]);
	memcpy(to->errors, from->errors,
		(size_t)from->error_count * sizeof from->errors[0]);
}

void sim_begin(struct sim_server *s, struct sim_tx *t, int backend)
{
	assert(t->id == 0);
	t->id = ++s->last_tx;
	t->backend = backend;
	t->began_ms = s->now_ms;
	t->writes_since_ms = 0;
	t->has_job = 0;
	t->has_range = 0;
	t->write_count = 0;
	t->epoch = 0;
	t->changed = 0;
}

static void end(struct sim_server *s, struct sim_tx *t)
{
	for (int key = 1; key <= s->keys; key++) {
		if (s->slots[key].lock == t->id) {
			s->slots[key].lock = 0;
		}
	}
	if (s->job_lock == t->id) {
		s->job_lock = 0;
	}
	if (s->range_lock == t->id) {
		s->range_lock = 0;
	}
	t->id = 0;
}

void sim_commit(struct sim_server *s, struct sim_tx *t)
{
	assert(t->id != 0);
	if (t->has_job) {
		s->job = t->job;
	}
	if (t->has_range) {
		copy_range(&s->range, t->range);
	}
	for (int i = 0; i < t->write_count; i++) {
		assert(s->slots[t->writes[i].key].lock == t->id);
		s->slots[t->writes[i].key].row = t->writes[i].row;
	}
	end(s, t);
}

void sim_rollback(struct sim_server *s, struct sim_tx *t)
{
	assert(t->id != 0);
	end(s, t);
}

void sim_tx_free(struct sim_tx *t)
{
	free(t->range);
	free(t->writes);
	memset(t, 0, sizeof *t);
}

int sim_lock_row(struct sim_server *s, struct sim_tx *t, int key)
{
	if (s->slots[key].lock != 0 && s->slots[key].lock != t->id) {
		return 0;
	}
	s->slots[key].lock = t->id;
	return 1;
}

static struct sim_write *find_write(const struct sim_tx *t, int key)
{
	for (int i = 0; i < t->write_count; i++) {
		if (t->writes[i].key == key) {
			return &t->writes[i];
		}
	}
	return NULL;
}

struct sim_row sim_see(
	const struct sim_server *s, const struct sim_tx *t, int key)
{
	const struct sim_write *w = find_write(t, key);

	return w != NULL ? w->row : s->slots[key].row;
}

void sim_write(struct sim_server *s, struct sim_tx *t, int key,
	const struct sim_row *row, int is_new)
{
	struct sim_write *w = find_write(t, key);

	assert(s->slots[key].lock == t->id);
	if (t->writes_since_ms == 0) {
		t->writes_since_ms = s->now_ms;
	}
	if (w == NULL) {
		if (t->write_count == t->write_size) {
			t->write_size = 2 * t->write_size + 16;
			t->writes = mem_resize(t->writes,
				(size_t)t->write_size * sizeof *t->writes);
		}
		w = &t->writes[t->write_count++];
		w->key = key;
		w->is_new = 0;
	}
	w->row = *row;
	w->is_new |= is_new;
}

void sim_own_range(struct sim_server *s, struct sim_tx *t)
{
	if (t->has_range) {
		return;
	}
	if (t->range == NULL) {
		t->range = mem_new(1, sizeof *t->range);
	}
	s->range_lock = t->id;
	copy_range(t->range, &s->range);
	t->has_range = 1;
}
