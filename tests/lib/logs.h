/* logs.h: what a cluster's logs have to say to the person whose test
 * failed. */
#ifndef BACKFILL_TESTS_LOGS_H
#define BACKFILL_TESTS_LOGS_H

#include "base/text.h"

/* The last 8 kB of each *.log in the directory, between lines that name the
 * file. */
void logs_add_tails(struct text *out, const char *dir);

/* The same to standard error. */
void logs_print_tails(const char *dir);

/* Print and count the lines of a server's log that no test may cause: a
 * PANIC, a failed assertion. */
int logs_count_faults(const char *path);

#endif
