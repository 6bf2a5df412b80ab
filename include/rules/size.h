/* size.h: how many rows the next batch reads. Pure arithmetic.
 *
 * The size follows the target time by the 90th percentile of the time per
 * row read of recent batches: a mean would let every tenth batch hold its
 * locks too long. It grows by at most 20 % a step, less where few of the
 * rows read were changed (a sparse stretch says little about the cost of a
 * dense one: gitlab-org/gitlab!85152), and shrinks at once. */
#ifndef BACKFILL_RULES_SIZE_H
#define BACKFILL_RULES_SIZE_H

#include <stdint.h>

enum { SIZE_SAMPLES = 10 };

struct size_limits {
	int64_t first_rows; /* equal to max_rows: the size is fixed */
	int64_t max_rows;
	int64_t target_us;
	int64_t max_wal_bytes;
};

struct size {
	struct size_limits limits;
	int64_t rows; /* the answer: 1 to max_rows */
	/* private: the last batches' microseconds per row */
	double us_per_row[SIZE_SAMPLES];
	int samples;
	int next;
};

struct size_sample {
	int64_t rows_read;
	int64_t rows_changed;
	int64_t elapsed_us;
	int64_t wal_bytes; /* written by everybody meanwhile: an upper bound */
};

/* resume_rows: the size a previous owner had found; 0: none. */
void size_init(
	struct size *s, const struct size_limits *limits, int64_t resume_rows);

/* New limits from the job's row; keeps what was learnt. */
void size_set_limits(struct size *s, const struct size_limits *limits);

/* A batch ended well. */
void size_batch_done(struct size *s, const struct size_sample *sample);

/* A batch was too large for the server (timeout, memory). Returns 0 when
 * the size is 1 already. */
int size_halve(struct size *s);

/* A batch of more rows than one was cancelled after elapsed_us, whatever it
 * had done by then: at most half as many, and no more than that time allows.
 * It counts as a sample that tells the least that a row takes. */
void size_cut(struct size *s, int64_t rows_read, int64_t elapsed_us);

#endif
