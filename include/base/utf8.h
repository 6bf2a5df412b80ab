/* utf8.h: UTF-8, a character at a time. */
#ifndef BACKFILL_BASE_UTF8_H
#define BACKFILL_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decode the character at text, of which there are length bytes, at least
 * one. Returns how many it takes, or 0 when it is not one (RFC 3629: the
 * shortest form, no surrogates, at most U+10FFFF). */
size_t utf8_decode(const char *text, size_t length, uint32_t *value);

/* Whether the character acts on a terminal or a reader of lines instead of
 * being seen: controls, C1 too, line separators, directions of writing. */
int utf8_is_control(uint32_t c);

#endif
