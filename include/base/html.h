/* html.h: texts in HTML. */
#ifndef BACKFILL_BASE_HTML_H
#define BACKFILL_BASE_HTML_H

#include "base/text.h"

/* Add s as the text of an element, or as the value of an attribute in
 * quotes: whatever s holds, it is shown, and is no markup. A byte that is not
 * UTF-8, and a control character but tab and line end, become U+FFFD; so do
 * the marks that turn the direction of writing (utf8_is_control). */
void html_add_text(struct text *t, const char *s);

#endif
