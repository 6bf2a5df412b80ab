/* text.h: a growable text buffer, always terminated by a zero byte. */
#ifndef BACKFILL_BASE_TEXT_H
#define BACKFILL_BASE_TEXT_H

#include <stddef.h>

struct text {
	char *data; /* never NULL between init and close */
	size_t length;
	size_t size; /* allocated bytes */
};

void text_init(struct text *t);
void text_close(struct text *t);

/* Back to the empty string; keeps the memory. */
void text_reset(struct text *t);

void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const char *s, size_t length);
void text_addf(struct text *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Cut off a UTF-8 character that the end of a full buffer left incomplete:
 * the server refuses the text otherwise (22021). Returns s. */
char *text_trim(char *s);

/* Give the string to the caller, who free()s it; t is closed. */
char *text_take(struct text *t);

#endif
