/* sqlstate.h: what to do about an error, by its SQLSTATE (PostgreSQL docs,
 * appendix A; class BF is our own, see daemon/sql). Pure. The tables are
 * printed in backfilld(8), section ERRORS. */
#ifndef BACKFILL_RULES_SQLSTATE_H
#define BACKFILL_RULES_SQLSTATE_H

#include <stddef.h>

#include "base/err.h"

enum sqlstate_class {
	SQLSTATE_STOP,	    /* the job fails: nothing mends itself */
	SQLSTATE_FORGET,    /* BF010: another daemon owns the range */
	SQLSTATE_STOPPED,   /* BF011: paused, cancelled, stopped, … */
	SQLSTATE_HELD,	    /* BF013: too many rows of the window are held */
	SQLSTATE_RETRY,	    /* a lock or a serialization: again, soon */
	SQLSTATE_SHRINK,    /* too much at once: a smaller batch */
	SQLSTATE_WAIT,	    /* the server lacks something: again, later */
	SQLSTATE_RECONNECT, /* the connection is gone, the outcome unknown */
	SQLSTATE_ROW,	    /* it lies with some row: find that row */
};

/* One row of the table. */
struct sqlstate_rule {
	const char *prefix; /* five characters, a class's two, or "" */
	enum sqlstate_class class;
	const char *condition; /* PostgreSQL's name; of ours, a few words */
};

/* What is done about a class of errors, for people. */
struct sqlstate_plan {
	const char *name;   /* one word: "retry" */
	const char *budget; /* how long or how often, "-": not at all */
	const char *action;
};

enum sqlstate_class sqlstate_classify(const struct err *e);

/* Row i of the table, NULL after the last. The first one whose prefix
 * matches decides; the last one matches all. */
const struct sqlstate_rule *sqlstate_rule(size_t i);

const struct sqlstate_plan *sqlstate_plan(enum sqlstate_class class);

#endif
