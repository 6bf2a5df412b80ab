/* log_internal.h: the private parts of the log, shared by log*.c. */
#ifndef BACKFILL_BASE_LOG_INTERNAL_H
#define BACKFILL_BASE_LOG_INTERNAL_H

#include "base/log_limit.h"

struct log_way {
	enum log_format format;
	int to_journal; /* standard error is journald's */
	int is_direct;	/* and nothing goes by its own socket */
};

/* log_write.c: the line to standard error or to the journal. */
void log_write(const struct log_line *line, const struct log_way *way);

#endif
