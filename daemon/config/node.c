/* The tree is built from libyaml's events, by recursion: one function per
 * kind of event that opens something. A syntax error ends everything; what
 * is merely refused becomes a NODE_BAD, and reading goes on behind it. */
#include "config/node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "config/encoding.h"

/* The options are three deep; more is refused before it can cost stack. */
enum { MAX_DEPTH = 8 };

struct reader {
	yaml_parser_t parser;
	struct problems *problems;
};

static struct node *read_node(
	struct reader *r, const yaml_event_t *event, int depth);

static struct place place_of(yaml_mark_t mark)
{
	return (struct place){ mark.line + 1, mark.column + 1 };
}

static struct node *new_node(enum node_kind kind, struct place at)
{
	struct node *n = mem_new(1, sizeof *n);

	n->kind = kind;
	n->at = at;
	return n;
}

void node_free(struct node *n)
{
	struct node *child, *next;

	if (n == NULL) {
		return;
	}
	for (child = n->first; child != NULL; child = next) {
		next = child->next;
		node_free(child);
	}
	free(n->text);
	free(n->key);
	free(n);
}

const char *node_kind_name(enum node_kind kind)
{
	static const char *const names[] = {
		[NODE_BAD] = "invalid",
		[NODE_NULL] = "empty",
		[NODE_SCALAR] = "a scalar",
		[NODE_MAPPING] = "a mapping",
		[NODE_SEQUENCE] = "a sequence",
	};

	return names[kind];
}

int node_is_word(const char *text)
{
	size_t length = strspn(text,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789_-.");

	return length > 0 && length <= 63 && text[length] == '\0';
}

struct node *node_find(const struct node *mapping, const char *key)
{
	struct node *n;

	if (mapping->kind != NODE_MAPPING) {
		return NULL;
	}
	n = mapping->first;
	while (n != NULL && strcmp(n->key, key) != 0) {
		n = n->next;
	}
	return n;
}

static void append(struct node *parent, struct node *child)
{
	if (parent->last != NULL) {
		parent->last->next = child;
	} else {
		parent->first = child;
	}
	parent->last = child;
}

/* libyaml speaks of context and problem; of the problem alone is sure to be
 * where the reader has to look. */
static void report_syntax(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	struct err *e;

	problems_reset(r->problems);
	e = problems_add(r->problems, place_of(p->problem_mark));
	err_set(e, BFE_INPUT, "YAML syntax error: %s",
		p->problem != NULL ? p->problem : "out of memory");
	if (p->context != NULL) {
		err_set_detail(e, "It was found %s that begins in line %zu.",
			p->context, p->context_mark.line + 1);
	}
}

static int next_event(struct reader *r, yaml_event_t *event)
{
	if (!yaml_parser_parse(&r->parser, event)) {
		report_syntax(r);
		return -1;
	}
	return 0;
}

/* Pass over the rest of what an event has opened. */
static int skip_rest(struct reader *r)
{
	yaml_event_t event;
	int open = 1;

	while (open > 0) {
		if (next_event(r, &event) != 0) {
			return -1;
		}
		switch (event.type) {
		case YAML_MAPPING_START_EVENT:
		case YAML_SEQUENCE_START_EVENT:
			open++;
			break;
		case YAML_MAPPING_END_EVENT:
		case YAML_SEQUENCE_END_EVENT:
			open--;
			break;
		default:
			break;
		}
		yaml_event_delete(&event);
	}
	return 0;
}

/* The name of an alias or anchor is not printed: "dsn: *secret" may be a
 * password that lacks its quotes. */
static void refuse(struct reader *r, struct node *n, const char *what)
{
	struct err *e = problems_add(r->problems, n->at);

	err_set(e, BFE_INPUT, "%s are not allowed", what);
	err_set_hint(e,
		"Write the value itself, in quotes if it begins with "
		"\"*\", \"&\" or \"!\".");
	n->kind = NODE_BAD;
}

static int is_null(const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;

	return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		(text[0] == '\0' || strcmp(text, "~") == 0 ||
			strcmp(text, "null") == 0 ||
			strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0);
}

static struct node *read_scalar(struct reader *r, const yaml_event_t *event)
{
	struct node *n = new_node(NODE_SCALAR, place_of(event->start_mark));
	const char *text = (const char *)event->data.scalar.value;

	if (is_null(event)) {
		n->kind = NODE_NULL;
		return n;
	}
	n->text = mem_strdup(text);
	if (strlen(text) != event->data.scalar.length) {
		err_set(problems_add(r->problems, n->at), BFE_INPUT,
			"value contains a zero byte");
		n->kind = NODE_BAD;
	}
	return n;
}

static struct node *read_sequence(
	struct reader *r, const yaml_event_t *start, int depth)
{
	struct node *n = new_node(NODE_SEQUENCE, place_of(start->start_mark));
	yaml_event_t event;

	while (next_event(r, &event) == 0) {
		struct node *item;

		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			return n;
		}
		item = read_node(r, &event, depth + 1);
		yaml_event_delete(&event);
		if (item == NULL) {
			break;
		}
		append(n, item);
	}
	node_free(n);
	return NULL;
}

/* Hang value under the text of key, unless the key is of no use. Frees or
 * takes both. */
static void add_pair(struct reader *r, struct node *mapping, struct node *key,
	struct node *value)
{
	const struct node *first;
	struct err *e;

	if (key->kind != NODE_SCALAR) {
		if (key->kind != NODE_BAD) {
			err_set(problems_add(r->problems, key->at), BFE_INPUT,
				"a key must be a word");
		}
		node_free(value);
	} else if ((first = node_find(mapping, key->text)) != NULL) {
		e = problems_add(r->problems, key->at);
		if (node_is_word(key->text)) {
			err_set(e, BFE_INPUT, "duplicate key \"%s\"",
				key->text);
		} else {
			err_set(e, BFE_INPUT, "duplicate key");
		}
		err_set_detail(e, "It was first given in line %zu.",
			first->key_at.line);
		node_free(value);
	} else {
		value->key = key->text;
		value->key_at = key->at;
		key->text = NULL;
		append(mapping, value);
	}
	node_free(key);
}

static struct node *read_mapping(
	struct reader *r, const yaml_event_t *start, int depth)
{
	struct node *n = new_node(NODE_MAPPING, place_of(start->start_mark));
	struct node *key = NULL;
	yaml_event_t event;

	while (next_event(r, &event) == 0) {
		struct node *child;

		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			return n;
		}
		child = read_node(r, &event, depth + 1);
		yaml_event_delete(&event);
		if (child == NULL) {
			break;
		}
		if (key == NULL) {
			key = child;
		} else {
			add_pair(r, n, key, child);
			key = NULL;
		}
	}
	node_free(key);
	node_free(n);
	return NULL;
}

static int has_properties(const yaml_event_t *event, const char **what)
{
	const yaml_char_t *anchor, *tag;

	switch (event->type) {
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	default:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	}
	*what = anchor != NULL ? "YAML anchors" : "YAML tags";
	return anchor != NULL || tag != NULL;
}

static struct node *read_refused(
	struct reader *r, const yaml_event_t *event, const char *what)
{
	struct node *n = new_node(NODE_BAD, place_of(event->start_mark));

	if (what != NULL) {
		refuse(r, n, what);
	} else {
		err_set(problems_add(r->problems, n->at), BFE_INPUT,
			"nested too deeply");
	}
	if (event->type != YAML_SCALAR_EVENT &&
		event->type != YAML_ALIAS_EVENT && skip_rest(r) != 0) {
		node_free(n);
		return NULL;
	}
	return n;
}

/* NULL after a syntax error. */
static struct node *read_node(
	struct reader *r, const yaml_event_t *event, int depth)
{
	const char *what;

	if (event->type == YAML_ALIAS_EVENT) {
		return read_refused(r, event, "YAML aliases");
	}
	if (has_properties(event, &what)) {
		return read_refused(r, event, what);
	}
	if (event->type == YAML_SCALAR_EVENT) {
		return read_scalar(r, event);
	}
	if (depth >= MAX_DEPTH) {
		return read_refused(r, event, NULL);
	}
	if (event->type == YAML_SEQUENCE_START_EVENT) {
		return read_sequence(r, event, depth);
	}
	assert(event->type == YAML_MAPPING_START_EVENT);
	return read_mapping(r, event, depth);
}

/* The events of a stream: its start, documents, its end. */
static struct node *read_stream(struct reader *r)
{
	struct node *root = NULL;
	yaml_event_type_t type;
	yaml_event_t event;

	do {
		if (next_event(r, &event) != 0) {
			goto free_root;
		}
		type = event.type;
		if (type == YAML_DOCUMENT_START_EVENT && root != NULL) {
			/* Its content is not ours to judge. */
			err_set(problems_add(r->problems,
					place_of(event.start_mark)),
				BFE_INPUT, "only one document is allowed");
			type = YAML_STREAM_END_EVENT;
		} else if (type == YAML_SCALAR_EVENT ||
			type == YAML_ALIAS_EVENT ||
			type == YAML_SEQUENCE_START_EVENT ||
			type == YAML_MAPPING_START_EVENT) {
			root = read_node(r, &event, 0);
			if (root == NULL) {
				type = YAML_STREAM_END_EVENT;
			}
		}
		yaml_event_delete(&event);
	} while (type != YAML_STREAM_END_EVENT);
	return root;

free_root:
	node_free(root);
	return NULL;
}

struct node *node_read(
	const char *yaml, size_t length, struct problems *problems)
{
	struct reader r = { .problems = problems };
	struct place at;
	const char *wrong;
	struct node *root;

	wrong = encoding_check(yaml, length, &at);
	if (wrong != NULL) {
		err_set(problems_add(problems, at), BFE_INPUT, "%s", wrong);
		return NULL;
	}
	if (length >= 3 && memcmp(yaml, "\xef\xbb\xbf", 3) == 0) {
		yaml += 3;
		length -= 3;
	}
	if (!yaml_parser_initialize(&r.parser)) {
		abort(); /* out of memory, as in mem.c */
	}
	/* Without it, libyaml guesses UTF-16 from the first bytes. */
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
		&r.parser, (const unsigned char *)yaml, length);
	root = read_stream(&r);
	yaml_parser_delete(&r.parser);

	if (problems->count == 0 && (root == NULL || root->kind == NODE_NULL)) {
		struct err *e = problems_add(problems, (struct place){ 1, 1 });

		err_set(e, BFE_INPUT, "configuration is empty");
		err_set_hint(e,
			"\"backfilld --describe-config\" prints a "
			"sample of it.");
	}
	return root;
}
