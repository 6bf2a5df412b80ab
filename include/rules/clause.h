/* clause.h: what a clause calls, by name: the words before "(", and those
 * that are functions without it (current_date). Neither what operators,
 * casts, views or defaults call, nor what a called function calls. Pure. */
#ifndef BACKFILL_RULES_CLAUSE_H
#define BACKFILL_RULES_CLAUSE_H

#include <stddef.h>

/* Not every word is a function's: keywords and aliases stand there, too. */
struct clause_call {
	char *schema;	/* as in pg_namespace; "": not qualified */
	char *name;	/* as in pg_proc, UTF-8 */
	int is_keyword; /* current_date and its kin */
	int is_escaped; /* U&"…": names are as written, so it is unknown */
};

struct clause {
	struct clause_call *calls; /* in order; owned */
	size_t count;
	int locks_rows; /* FOR UPDATE, FOR SHARE and their kin */
};

void clause_init(struct clause *c);
void clause_close(struct clause *c);

/* Add what the text calls; NULL: nothing. */
void clause_read(struct clause *c, const char *text);

/* Whether its value changes by time alone, or may for all we know. */
int clause_is_clock(const struct clause_call *call);

/* Whether it waits for an advisory lock, or may for all we know. */
int clause_is_lock(const struct clause_call *call);

#endif
