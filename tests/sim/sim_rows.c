/* The statements of a batch on the table: rules/keyset.h. */

#include "sim_server.h"

int sim_bound(const struct sim_server *s)
{
	int key = s->keys;

	while (key > 0 && !s->slots[key].row.exists) {
		key--;
	}
	return key;
}

int sim_window(const struct sim_server *s, int lo, int hi, int64_t limit,
	int64_t *rows)
{
	int last = 0;

	*rows = 0;
	for (int key = lo + 1; key <= hi && *rows < limit; key++) {
		if (s->slots[key].row.exists) {
			last = key;
			(*rows)++;
		}
	}
	return last;
}

static struct sim_row changed_row(const struct sim_job *j, struct sim_row row)
{
	row.effects++;
	if (j->kind == SIM_DELETE) {
		row.exists = 0;
	} else if (j->kind == SIM_SET) {
		row.matches = 0;
	}
	return row;
}

/* The references of what is left to what was deleted, as the constraint
 * finds them at the end of the statement. */
static const char *check_references(
	const struct sim_server *s, const struct sim_tx *t)
{
	for (int key = 1; key <= s->keys; key++) {
		struct sim_row row = s->slots[key].row;

		if (row.refers_to == 0 || !row.exists ||
			!sim_see(s, t, key).exists ||
			sim_see(s, t, row.refers_to).exists ||
			!s->slots[row.refers_to].row.exists) {
			continue;
		}
		return s->slots[key].lock != 0 && s->slots[key].lock != t->id
			? "55P03"
			: "23503";
	}
	return "";
}

static void hold(struct sim_counts *c, int key)
{
	if (c->held_count <= SIM_HELD) {
		c->held[c->held_count++] = key;
	}
}

const char *sim_change(struct sim_server *s, struct sim_tx *t, int lo, int hi,
	struct sim_counts *c)
{
	*c = (struct sim_counts){ 0 };
	for (int key = lo + 1; key <= hi; key++) {
		struct sim_row row = s->slots[key].row;

		if (!row.exists || !row.matches) {
			continue;
		}
		c->eligible++;
		if (!sim_lock_row(s, t, key)) {
			hold(c, key);
			continue;
		}
		c->locked++;
		if (row.contended_until > s->now_ms) {
			return "55P03";
		}
		if (row.bad == SIM_CHECKED_ROW) {
			return "23514";
		}
		if (row.bad == SIM_STUBBORN_ROW) {
			hold(c, key);
			continue;
		}
		c->updated++;
		row = changed_row(&s->job, row);
		c->still += row.exists && row.matches && sim_has_where(&s->job);
		sim_write(s, t, key, &row, 0);
		t->changed++;
	}
	if (c->updated > s->max_changes) {
		return "57014";
	}
	return s->job.kind == SIM_DELETE ? check_references(s, t) : "";
}
