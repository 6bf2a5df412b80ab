/* log_limit.h: how many lines of one kind the log takes. Lines are of one
 * kind when they differ in numbers only and are about the same job, with the
 * same SQLSTATE. Of a kind LOG_LIMIT_BURST pass at once, then one every
 * LOG_LIMIT_PERIOD_MS; of all kinds that one statement of the program writes
 * about a job, LOG_LIMIT_SITE_BURST and one every LOG_LIMIT_SITE_PERIOD_MS.
 * What is left out is counted, and the count is told: with the next line that
 * passes, or after LOG_LIMIT_TELL_MS with the last one that did not.
 *
 * Pure: time, in ms on a clock that never steps back, is an argument. */
#ifndef BACKFILL_BASE_LOG_LIMIT_H
#define BACKFILL_BASE_LOG_LIMIT_H

#include <stdint.h>

#include "base/log.h"

enum {
	LOG_LIMIT_BURST = 10,
	LOG_LIMIT_PERIOD_MS = 10000,
	LOG_LIMIT_SITE_BURST = 100,
	LOG_LIMIT_SITE_PERIOD_MS = 2000,
	LOG_LIMIT_TELL_MS = 60000,
	LOG_LIMIT_KINDS = 128, /* that are told apart at a time */
	LOG_LIMIT_SITES = 256
};

struct log_line {
	enum log_level level;
	struct log_about about;
	const char *text;

	/* Set for a line that passes: how many like it did not before, and
	 * since when. */
	unsigned left_out;
	uint64_t over_ms;
};

struct log_kind {
	uint64_t key;	  /* 0: unused */
	uint64_t full_ms; /* when all of its burst is there again */
	uint64_t used;	  /* the larger, the later */
	unsigned left_out;
	uint64_t since_ms;     /* of the first one left out */
	struct log_line *last; /* and a copy of the last; NULL: none */
};

struct log_limit {
	/* The first of each stands for all that have no place of their own. */
	struct log_kind kinds[LOG_LIMIT_KINDS];
	struct log_kind sites[LOG_LIMIT_SITES];
	uint64_t uses;
};

/* One of zeros is ready, and so is a closed one. */
void log_limit_close(struct log_limit *l);

/* Whether the line may be written, left_out and over_ms set; else it is
 * counted, and copied. site tells the statement apart that writes it. */
int log_limit_take(struct log_limit *l, const void *site, struct log_line *line,
	uint64_t now_ms);

/* A copy of the last line that was left out, of a kind whose count is due
 * (or any, with is_end), left_out and over_ms set; NULL: none is due. The
 * caller ends it with log_line_free(). */
struct log_line *log_limit_due(
	struct log_limit *l, uint64_t now_ms, int is_end);
void log_line_free(struct log_line *line);

#endif
