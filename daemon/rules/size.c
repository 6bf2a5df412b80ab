#include "rules/size.h"

#include <stdlib.h>
#include <string.h>

static const double GROWTH = 0.2;
static const double SPARSE_FLOOR = 0.1; /* of the growth, where none changed */
static const double FAR_OVER = 2.0;	/* times the target */

static int is_fixed(const struct size *s)
{
	return s->limits.first_rows == s->limits.max_rows;
}

static void set_rows(struct size *s, double rows)
{
	if (rows > (double)s->limits.max_rows) {
		rows = (double)s->limits.max_rows;
	}
	s->rows = rows < 1 ? 1 : (int64_t)rows;
}

void size_init(
	struct size *s, const struct size_limits *limits, int64_t resume_rows)
{
	memset(s, 0, sizeof *s);
	s->limits = *limits;
	set_rows(s,
		(double)(resume_rows > 0 && !is_fixed(s) ? resume_rows
							 : limits->first_rows));
}

void size_set_limits(struct size *s, const struct size_limits *limits)
{
	int is_new = s->limits.first_rows != limits->first_rows ||
		s->limits.max_rows != limits->max_rows;

	s->limits = *limits;
	set_rows(s,
		(double)(is_new && is_fixed(s) ? limits->max_rows : s->rows));
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double p90_us_per_row(const struct size *s)
{
	double sorted[SIZE_SAMPLES];

	memcpy(sorted, s->us_per_row, sizeof sorted);
	qsort(sorted, (size_t)s->samples, sizeof sorted[0], compare_double);
	return sorted[(s->samples * 9 - 1) / 10];
}

static void add_sample(struct size *s, double us_per_row)
{
	s->us_per_row[s->next] = us_per_row;
	s->next = (s->next + 1) % SIZE_SAMPLES;
	if (s->samples < SIZE_SAMPLES) {
		s->samples++;
	}
}

static double min(double a, double b)
{
	return a < b ? a : b;
}

void size_batch_done(struct size *s, const struct size_sample *sample)
{
	double read = (double)sample->rows_read;
	double over = (double)sample->elapsed_us / (double)s->limits.target_us;
	double dense, most, wanted;

	if (is_fixed(s)) {
		/* Back from what the server refused, as carefully. */
		set_rows(s, (double)s->rows * (1 + GROWTH) + 1);
		return;
	}
	if (sample->rows_read <= 0 || sample->elapsed_us <= 0) {
		return;
	}
	dense = (double)sample->rows_changed / read;
	if (dense < SPARSE_FLOOR) {
		dense = SPARSE_FLOOR;
	}
	/* A last, short window proves nothing about the size asked for. */
	most = (double)s->rows;
	if (read >= 0.8 * most) {
		most = most * (1 + GROWTH * min(dense, 1)) + 1;
	}

	add_sample(s, (double)sample->elapsed_us / read);
	wanted = (double)s->limits.target_us / p90_us_per_row(s);
	if (over > FAR_OVER) {
		wanted = min(wanted, read / over);
	}
	if (sample->wal_bytes > s->limits.max_wal_bytes) {
		wanted = min(wanted,
			read * (double)s->limits.max_wal_bytes /
				(double)sample->wal_bytes);
	}
	set_rows(s, min(wanted, most));
}

int size_halve(struct size *s)
{
	if (s->rows <= 1) {
		return 0;
	}
	/* A fixed size is the operator's wish; the server's limit is law. */
	s->rows /= 2;
	s->samples = 0;
	s->next = 0;
	return 1;
}

void size_cut(struct size *s, int64_t rows_read, int64_t elapsed_us)
{
	double rows = (double)rows_read;
	double wanted = min((double)s->rows, rows / 2);

	/* Those before said that it would not take so long. */
	s->samples = 0;
	s->next = 0;
	if (elapsed_us > 0) {
		add_sample(s, (double)elapsed_us / rows);
		wanted = min(wanted,
			(double)s->limits.target_us / p90_us_per_row(s));
	}
	set_rows(s, wanted);
}
