/* ctl_submit.h: a job is inserted as the command line says. */
#ifndef BACKFILL_CTL_CTL_SUBMIT_H
#define BACKFILL_CTL_CTL_SUBMIT_H

#include "ctl/ctl.h"

/* What became of it; the texts are owned. */
struct ctl_submitted {
	char *id;
	char *name;
	char *state;
	int was_there; /* the same job of the name, submitted before */
};

/* Insert what ctl->given names, with the session's own search_path, TimeZone
 * and DateStyle, which the job keeps. A job of the name that is there must be
 * the same. Returns a CTL code; close s in either case. */
int ctl_submit(struct ctl *ctl, struct ctl_submitted *s);
void ctl_submitted_close(struct ctl_submitted *s);

/* Whether a daemon is alive; -1: failed, and told. */
int ctl_has_daemon(struct ctl *ctl);

#endif
