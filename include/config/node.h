/* node.h: a YAML text as a tree of nodes that know their places. Of YAML it
 * takes what a configuration needs: one document of mappings, sequences and
 * scalars. Anchors, aliases and tags are refused: a few lines of them can
 * stand for more memory than there is. */
#ifndef BACKFILL_CONFIG_NODE_H
#define BACKFILL_CONFIG_NODE_H

#include "config/problem.h"

enum node_kind {
	NODE_BAD, /* a problem was reported here: say no more of it */
	NODE_NULL,
	NODE_SCALAR,
	NODE_MAPPING,
	NODE_SEQUENCE
};

struct node {
	enum node_kind kind;
	struct place at;
	char *text; /* of a scalar: UTF-8 without a zero byte */
	char *key;  /* NULL unless it is a value in a mapping */
	struct place key_at;
	struct node *first; /* of a mapping's values or a sequence's items */
	struct node *last;
	struct node *next;
};

/* Read the text and add what is wrong to problems. Returns the root, for
 * node_free(), or NULL when there is nothing to go on with: after an error
 * of syntax or coding, which is then the only problem, or when the text is
 * empty. */
struct node *node_read(
	const char *yaml, size_t length, struct problems *problems);

void node_free(struct node *n);

/* The value of a key; NULL when there is none or n is no mapping. */
struct node *node_find(const struct node *mapping, const char *key);

/* "a mapping", "a sequence", … */
const char *node_kind_name(enum node_kind kind);

/* Whether text looks like an option's name: only such keys are quoted in
 * messages, for anything else may be a connection string gone astray. */
int node_is_word(const char *text);

#endif
