/* journal.h: entries with fields for systemd's journal, in its own protocol
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL), without its library: a datagram of
 * "FIELD=value" lines. */
#ifndef BACKFILL_BASE_JOURNAL_H
#define BACKFILL_BASE_JOURNAL_H

#include "base/text.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Entries go to the socket at path from now on; NULL: to none, as at the
 * start. Nothing is connected: the journal may be started again. */
void journal_open(const char *path);

/* Begin an entry, add its fields, send it. A value of any bytes is kept; one
 * that is NULL or empty makes no field. */
void journal_begin(struct text *entry);
void journal_add(struct text *entry, const char *field, const char *value);

/* Returns whether the journal has it; never waits. Closes the text. */
int journal_send(struct text *entry);

#endif
