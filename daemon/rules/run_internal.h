/* run_internal.h: what run.c and run_trouble.c share. */
#ifndef BACKFILL_RULES_RUN_INTERNAL_H
#define BACKFILL_RULES_RUN_INTERNAL_H

#include "rules/run.h"

/* Every change of action goes through here. */
enum run_action run_move(struct run *r, enum run_action next);

/* Close the connection, then do the last thing. */
enum run_action run_leave(struct run *r, enum run_action last);
enum run_action run_fail(struct run *r, const struct err *e);
enum run_action run_release(struct run *r, const char *why);

/* Whether the control connection carries the action out. */
int run_is_control(enum run_action a);

/* The action under way ended with ev->error. */
enum run_action run_on_error(struct run *r, const struct run_event *ev);

#endif
