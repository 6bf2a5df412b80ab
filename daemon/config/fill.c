/* Every option begins with its default; what the file says replaces it;
 * what is wrong is added to the problems and the rest is read on, so that
 * one run tells everything. */
#include "config/fill.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "config/option.h"
#include "config/order.h"

enum {
	LABEL_MAX_BYTES = 160,
	STANDBY_MAX_BYTES = 63 /* NAMEDATALEN - 1 */
};

struct loader {
	struct config *config;
	struct problems *problems;
};

/* What is filled at the moment: the configuration or one database of it. */
struct target {
	const char *section;
	void *base;
	const char *owner; /* "" or: of database "shop" */
};

static void label(char *buffer, const struct target *t, const char *name)
{
	if (t->owner[0] != '\0') {
		(void)snprintf(buffer, LABEL_MAX_BYTES, "option \"%s\" of %s",
			name, t->owner);
	} else {
		(void)snprintf(buffer, LABEL_MAX_BYTES, "option \"%s%s%s\"",
			t->section, t->section[0] != '\0' ? "." : "", name);
	}
}

static void set_defaults(const struct target *t)
{
	const struct option_def *o;
	struct err e;

	for (o = option_table; o->name != NULL; o++) {
		if (strcmp(o->section, t->section) == 0 &&
			o->default_text != NULL &&
			o->type != OPTION_STRING_LIST) {
			int rc = option_store(
				o, o->default_text, t->base, o->name, &e);

			assert(rc == 0);
			(void)rc;
		}
	}
}

/* Say of n what it should have been. */
static void complain_kind(struct loader *l, const struct node *n,
	const char *what, const char *should_be)
{
	if (n->kind != NODE_BAD) {
		err_set(problems_add(l->problems, n->at), BFE_INPUT,
			"%s must be %s, not %s", what, should_be,
			node_kind_name(n->kind));
	}
}

/* ---- names that nobody knows */

static void list_names(const char *section, struct text *out)
{
	const struct option_section *s = option_sections;
	const struct option_def *o = option_table;
	const char *comma = "";

	for (; section[0] == '\0' && s->name != NULL; s++) {
		text_addf(out, "%s\"%s\"", comma, s->name);
		comma = ", ";
	}
	for (; o->name != NULL; o++) {
		if (strcmp(o->section, section) == 0) {
			text_addf(out, "%s\"%s\"", comma, o->name);
			comma = ", ";
		}
	}
}

static void hint_name(struct err *e, const char *section, const char *name)
{
	const struct option_section *s =
		section[0] == '\0' ? option_guess_section(name) : NULL;
	const struct option_def *o =
		s == NULL ? option_guess(section, name) : NULL;

	if (s != NULL) {
		err_set_hint(e, "Perhaps you meant \"%s\".", s->name);
	} else if (o != NULL && strcmp(o->section, section) == 0) {
		err_set_hint(e, "Perhaps you meant \"%s\".", o->name);
	} else if (o != NULL) {
		err_set_hint(e, "\"%s\" belongs into section \"%s\".", o->name,
			o->section);
	}
}

static void complain_unknown(
	struct loader *l, const struct target *t, const struct node *n)
{
	struct err *e = problems_add(l->problems, n->key_at);
	char what[LABEL_MAX_BYTES];
	struct text names;

	if (node_is_word(n->key)) {
		label(what, t, n->key);
		err_set(e, BFE_INPUT, "unrecognized %s", what);
		hint_name(e, t->section, n->key);
	} else {
		err_set(e, BFE_INPUT, "key is not the name of an option");
	}
	text_init(&names);
	list_names(t->section, &names);
	err_set_detail(e, "Allowed here: %s.", names.data);
	text_close(&names);
}

/* ---- values */

static void complain_type(struct loader *l, const struct node *n,
	const char *what, const struct option_def *o)
{
	struct err *e;

	if (n->kind != NODE_BAD) {
		e = problems_add(l->problems, n->at);
		err_set(e, BFE_INPUT, "%s must be %s, not %s", what,
			option_type_name(o), node_kind_name(n->kind));
		option_explain(o, e);
	}
}

static void read_list(struct loader *l, const struct target *t,
	const struct option_def *o, const struct node *n, const char *what)
{
	char item[LABEL_MAX_BYTES + 16];

	(void)snprintf(item, sizeof item, "an item of %s", what);
	for (n = n->first; n != NULL; n = n->next) {
		if (n->kind == NODE_SCALAR) {
			option_append(o, n->text, t->base);
		} else {
			complain_kind(l, n, item, "a string");
		}
	}
}

/* A value that is not right makes its node a NODE_BAD. */
static void read_value(struct loader *l, const struct target *t,
	const struct option_def *o, struct node *n)
{
	char what[LABEL_MAX_BYTES];
	struct err e;

	label(what, t, o->name);
	if (o->type == OPTION_STRING_LIST && n->kind == NODE_SEQUENCE) {
		read_list(l, t, o, n, what);
	} else if (n->kind != NODE_SCALAR || o->type == OPTION_STRING_LIST) {
		complain_type(l, n, what, o);
		n->kind = NODE_BAD;
	} else if (option_store(o, n->text, t->base, what, &e) != 0) {
		*problems_add(l->problems, n->at) = e;
		n->kind = NODE_BAD;
	}
}

/* Read the options of one section from a mapping. */
static void read_options(
	struct loader *l, const struct target *t, struct node *mapping)
{
	const struct option_def *o;
	char what[LABEL_MAX_BYTES];

	for (struct node *n = mapping->first; n != NULL; n = n->next) {
		o = option_find(t->section, n->key);
		if (o == NULL) {
			complain_unknown(l, t, n);
		} else if (n->kind != NODE_NULL) {
			read_value(l, t, o, n);
		}
	}
	for (o = option_table; o->name != NULL; o++) {
		const struct node *n = node_find(mapping, o->name);

		if (strcmp(o->section, t->section) == 0 &&
			o->default_text == NULL &&
			(n == NULL || n->kind == NODE_NULL)) {
			struct err *e = problems_add(l->problems, mapping->at);

			label(what, t, o->name);
			err_set(e, BFE_INPUT, "missing %s", what);
			err_set_detail(e, "%s", o->help);
		}
	}
}

/* ---- databases */

static int is_database_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return length >= 1 && length <= 63 && name[length] == '\0';
}

static void check_name(
	struct loader *l, const struct node *list, struct node *mapping)
{
	struct node *name = node_find(mapping, "name");
	struct err *e;

	if (name == NULL || name->kind != NODE_SCALAR) {
		return;
	}
	if (!is_database_name(name->text)) {
		e = problems_add(l->problems, name->at);
		err_set(e, BFE_INPUT, "invalid name of a database");
		err_set_detail(e,
			"A name has 1 to 63 characters of a-z, 0-9, "
			"\"_\" and \"-\".");
		name->kind = NODE_BAD;
		return;
	}
	for (const struct node *n = list->first; n != mapping; n = n->next) {
		const struct node *other = node_find(n, "name");

		if (other != NULL && other->kind == NODE_SCALAR &&
			strcmp(other->text, name->text) == 0) {
			e = problems_add(l->problems, name->at);
			err_set(e, BFE_INPUT, "duplicate database \"%s\"",
				name->text);
			err_set_detail(e, "It was first given in line %zu.",
				other->at.line);
			return;
		}
	}
}

static int is_listed(char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0) {
			return 1;
		}
	}
	return 0;
}

/* A name that cannot be one would hold all jobs for ever; one that stands
 * twice leaves open whether it may be away. */
static void check_standby(struct loader *l, const struct node *list,
	char *const *names, size_t i, const struct config_database *db,
	const char *owner)
{
	int is_twice = is_listed(names, i, names[i]) ||
		(names == db->optional_standbys &&
			is_listed(db->expected_standbys,
				db->expected_standbys_count, names[i]));
	size_t length = strlen(names[i]);
	struct err *e;

	if (is_twice) {
		e = problems_add(l->problems, list->at);
		err_set(e, BFE_INPUT, "standby \"%s\" of %s is listed twice",
			names[i], owner);
	} else if (length == 0 || length > STANDBY_MAX_BYTES) {
		e = problems_add(l->problems, list->at);
		err_set(e, BFE_INPUT,
			"option \"%s\" of %s: invalid name of a standby",
			list->key, owner);
		err_set_detail(e,
			"An application_name, or the name of a slot, has 1 to"
			" %d bytes.",
			STANDBY_MAX_BYTES);
	}
}

static void check_standbys(struct loader *l, const struct config_database *db,
	const struct node *mapping, const char *owner)
{
	const struct node *n = node_find(mapping, "expected_standbys");

	for (size_t i = 0; i < db->expected_standbys_count; i++) {
		check_standby(l, n, db->expected_standbys, i, db, owner);
	}
	n = node_find(mapping, "optional_standbys");
	for (size_t i = 0; i < db->optional_standbys_count; i++) {
		check_standby(l, n, db->optional_standbys, i, db, owner);
	}
}

/* A runner keeps settings in its session, which a pooler would hand on. */
static void check_runner(struct loader *l, const struct config_database *db,
	const struct node *mapping, const char *owner)
{
	struct err *e;

	if (!db->poll_only || db->runner[0] != '\0') {
		return;
	}
	e = problems_add(l->problems, node_find(mapping, "poll_only")->at);
	err_set(e, BFE_INPUT,
		"option \"poll_only\" of %s needs option \"runner\"", owner);
	err_set_detail(e,
		"The control login may go through a connection pooler then, "
		"the jobs' own logins must not.");
	err_set_hint(e,
		"Give the connection string of the server itself as "
		"\"runner\".");
}

static struct config_database *add_database(struct config *c)
{
	struct config_database *added;

	c->databases = mem_resize(
		c->databases, (c->databases_count + 1) * sizeof *c->databases);
	added = &c->databases[c->databases_count];
	memset(added, 0, sizeof *added);
	c->databases_count++;
	return added;
}

static void read_database(struct loader *l, const struct node *list,
	struct node *mapping, size_t number)
{
	struct config_database *db = add_database(l->config);
	struct target t = { "databases", db, NULL };
	const struct node *name;
	char owner[96];

	check_name(l, list, mapping);
	name = node_find(mapping, "name");
	if (name != NULL && name->kind == NODE_SCALAR) {
		(void)snprintf(
			owner, sizeof owner, "database \"%s\"", name->text);
	} else {
		(void)snprintf(owner, sizeof owner, "database %zu", number);
	}
	t.owner = owner;
	set_defaults(&t);
	read_options(l, &t, mapping);
	check_standbys(l, db, mapping, owner);
	check_runner(l, db, mapping, owner);
}

static void read_databases(
	struct loader *l, const struct node *root, struct node *list)
{
	char what[32];
	size_t number = 0;

	if (list == NULL || list->kind == NODE_NULL ||
		(list->kind == NODE_SEQUENCE && list->first == NULL)) {
		struct err *e = problems_add(
			l->problems, list != NULL ? list->at : root->at);

		err_set(e, BFE_INPUT, "no database is configured");
		err_set_detail(e,
			"Section \"databases\" must have at least "
			"one item.");
		return;
	}
	if (list->kind != NODE_SEQUENCE) {
		complain_kind(
			l, list, "section \"databases\"", "a list of mappings");
		return;
	}
	for (struct node *n = list->first; n != NULL; n = n->next) {
		number++;
		if (n->kind != NODE_MAPPING) {
			(void)snprintf(
				what, sizeof what, "database %zu", number);
			complain_kind(l, n, what, "a mapping");
			continue;
		}
		read_database(l, list, n, number);
	}
}

/* ---- the whole */

static void read_section(struct loader *l, struct node *n)
{
	struct target t = { n->key, l->config, "" };
	char what[LABEL_MAX_BYTES];

	if (n->kind == NODE_MAPPING) {
		read_options(l, &t, n);
	} else if (n->kind != NODE_NULL) {
		(void)snprintf(what, sizeof what, "section \"%s\"", n->key);
		complain_kind(l, n, what, "a mapping");
	}
}

void fill_config(struct config *c, struct node *root, struct problems *problems)
{
	struct loader loader = { c, problems }, *l = &loader;
	const struct option_section *s;
	struct target top = { "", c, "" };

	if (root->kind != NODE_MAPPING) {
		complain_kind(l, root, "the configuration", "a mapping");
		return;
	}
	for (s = option_sections; s->name != NULL; s++) {
		struct target t = { s->name, c, "" };

		if (strcmp(s->name, "databases") != 0) {
			set_defaults(&t);
		}
	}
	for (struct node *n = root->first; n != NULL; n = n->next) {
		if (option_find_section(n->key) == NULL) {
			complain_unknown(l, &top, n);
		} else if (strcmp(n->key, "databases") != 0) {
			read_section(l, n);
		}
	}
	read_databases(l, root, node_find(root, "databases"));
	order_check(c, root, problems);
}
