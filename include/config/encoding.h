/* encoding.h: is a text fit for the YAML reader? */
#ifndef BACKFILL_CONFIG_ENCODING_H
#define BACKFILL_CONFIG_ENCODING_H

#include <stddef.h>

#include "config/problem.h"

/* NULL when text is UTF-8 without control characters (tab and line ends are
 * none); else a constant message, and the place of the first that is wrong
 * in *at. libyaml refuses the same, but names no line. */
const char *encoding_check(const char *text, size_t length, struct place *at);

#endif
