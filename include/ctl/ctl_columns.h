/* ctl_columns.h: the columns of backfill.jobs that a submitter may insert.
 * Each is an option of `submit`; those that may be changed later are what
 * `set` takes. A test compares them with the catalog. */
#ifndef BACKFILL_CTL_CTL_COLUMNS_H
#define BACKFILL_CTL_CTL_COLUMNS_H

#include <stddef.h>

enum ctl_column_kind {
	COLUMN_VALUE,
	COLUMN_FLAG, /* boolean: its option needs no value */
	COLUMN_JOB,  /* the id of a job, which may also be named */
	COLUMN_JOBS, /* the same, several */
	COLUMN_NAMES /* a list of names */
};

struct ctl_column {
	const char *name;     /* in backfill.jobs */
	const char *option;   /* without its dashes */
	const char *argument; /* what help calls its value */
	const char *help;
	const char *words; /* all values that it can have; NULL: others */
	enum ctl_column_kind kind;
	int may_change;	     /* while the job is open */
	const char *applies; /* when a change of an open job does; NULL: as
			      * most do */
};

/* In the order of help; after the last comes one whose name is NULL. */
extern const struct ctl_column ctl_columns[];

/* By the column's name, in which dashes may stand for underscores; length
 * bytes of it. NULL: there is none. */
const struct ctl_column *ctl_column_find(const char *name, size_t length);

/* What NULL means in one that may change: mostly the configuration. */
const char *ctl_column_when_null(const char *name);

#endif
