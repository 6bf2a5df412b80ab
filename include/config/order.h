/* order.h: the checks between two options, such as that a lock_timeout is
 * less than a statement_timeout. */
#ifndef BACKFILL_CONFIG_ORDER_H
#define BACKFILL_CONFIG_ORDER_H

#include "config/config.h"
#include "config/node.h"
#include "config/problem.h"

/* Add what is wrong to problems, at the value that the file gives. Only
 * options that are right each by itself are compared. */
void order_check(const struct config *c, const struct node *root,
	struct problems *problems);

#endif
