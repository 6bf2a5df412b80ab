/* fill.h: from the tree of a file to the configuration. */
#ifndef BACKFILL_CONFIG_FILL_H
#define BACKFILL_CONFIG_FILL_H

#include "config/config.h"
#include "config/node.h"
#include "config/problem.h"

/* Fill c, which is zeroed, from root, whose nodes may become NODE_BAD.
 * What is wrong is added to problems; c is then half filled and the caller
 * closes it as ever. */
void fill_config(
	struct config *c, struct node *root, struct problems *problems);

#endif
