/* sqlstate.h: what to do about an error, by its SQLSTATE (PostgreSQL docs,
 * appendix A; class BF is our own, see daemon/sql). Pure. */
#ifndef BACKFILL_RULES_SQLSTATE_H
#define BACKFILL_RULES_SQLSTATE_H

#include "base/err.h"

enum sqlstate_class {
	SQLSTATE_STOP,	    /* the job fails: nothing mends itself */
	SQLSTATE_FORGET,    /* BF010: another daemon owns the range */
	SQLSTATE_STOPPED,   /* BF011: paused, cancelled or stopped */
	SQLSTATE_HELD,	    /* BF013: too many rows of the window are held */
	SQLSTATE_RETRY,	    /* a lock or a serialization: again, soon */
	SQLSTATE_SHRINK,    /* too much at once: a smaller batch */
	SQLSTATE_WAIT,	    /* the server lacks something: again, later */
	SQLSTATE_RECONNECT, /* the connection is gone, the outcome unknown */
};

enum sqlstate_class sqlstate_classify(const struct err *e);

#endif
