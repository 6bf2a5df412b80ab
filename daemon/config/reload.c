#include "config/reload.h"

#include <stdio.h>
#include <string.h>

#include "config/option.h"

struct reload {
	reload_cb cb;
	void *data;
};

/* A secret's values are not told; of what needs a restart they do not
 * matter yet. */
static void tell(struct reload *r, const struct option_def *o,
	const char *section, const void *from, const void *to)
{
	struct reload_change change = { .effect = option_reload_name(o) };
	struct text old_value, new_value;
	char what[160];

	(void)snprintf(what, sizeof what, "%s.%s", section, o->name);
	change.what = what;
	text_init(&old_value);
	text_init(&new_value);
	if (!o->secret && change.effect != NULL) {
		option_add_value(o, from, &old_value);
		option_add_value(o, to, &new_value);
		change.from = old_value.data;
		change.to = new_value.data;
	}
	r->cb(r->data, &change);
	text_close(&new_value);
	text_close(&old_value);
}

/* owner is what a person calls the section: that of a database is its
 * name. */
static void take_section(struct reload *r, const char *section,
	const char *owner, void *base, void *fresh)
{
	for (const struct option_def *o = option_table; o->name != NULL; o++) {
		if (strcmp(o->section, section) != 0 ||
			option_is_equal(o, base, fresh)) {
			continue;
		}
		tell(r, o, owner, base, fresh);
		if (o->reload != RELOAD_NEVER) {
			option_swap(o, base, fresh);
		}
	}
}

static struct config_database *find_database(
	const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->databases_count; i++) {
		if (strcmp(c->databases[i].name, name) == 0) {
			return &c->databases[i];
		}
	}
	return NULL;
}

/* Databases that only one of the two has: they come and go with a start. */
static void tell_missing(
	struct reload *r, const struct config *in, const struct config *from)
{
	for (size_t i = 0; i < from->databases_count; i++) {
		struct reload_change change = {
			.what = from->databases[i].name,
		};

		if (find_database(in, change.what) == NULL) {
			r->cb(r->data, &change);
		}
	}
}

void reload_take(
	struct config *c, struct config *fresh, reload_cb cb, void *data)
{
	struct reload r = { cb, data };

	for (const struct option_section *s = option_sections; s->name != NULL;
		s++) {
		if (strcmp(s->name, "databases") != 0) {
			take_section(&r, s->name, s->name, c, fresh);
		}
	}
	for (size_t i = 0; i < c->databases_count; i++) {
		struct config_database *db = &c->databases[i];
		struct config_database *now = find_database(fresh, db->name);

		if (now != NULL) {
			take_section(&r, "databases", db->name, db, now);
		}
	}
	tell_missing(&r, fresh, c);
	tell_missing(&r, c, fresh);
	config_close(fresh);
}
