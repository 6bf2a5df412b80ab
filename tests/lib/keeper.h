/* keeper.h: what stays to tidy up when a test program dies without doing it
 * (an abort, a kill). */
#ifndef BACKFILL_TESTS_KEEPER_H
#define BACKFILL_TESTS_KEEPER_H

#include <sys/types.h>

/* Fork a process that waits for our death, then for the end of the server in
 * DIR/data, which has got a signal of its own; prints the tails of the logs
 * in DIR and removes it. Not needed any more: child_kill() it. */
pid_t keeper_start(const char *dir);

/* Remove a server's directory; insists, as the children of a killed server
 * may write for a moment longer. */
void keeper_remove(const char *dir);

#endif
