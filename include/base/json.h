/* json.h: texts as JSON strings (RFC 8259). */
#ifndef BACKFILL_BASE_JSON_H
#define BACKFILL_BASE_JSON_H

#include "base/text.h"

/* Add s in quotes. Whatever s holds, the result is a JSON string on one
 * line: a byte that is not UTF-8 becomes U+FFFD. */
void json_add_string(struct text *t, const char *s);

#endif
