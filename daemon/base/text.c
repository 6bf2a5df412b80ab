#include "base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_SIZE = 128 };

/* Make room for length more bytes and the terminating zero. */
static void reserve(struct text *t, size_t length)
{
	size_t needed = t->length + length + 1;

	if (needed <= t->size) {
		return;
	}
	while (t->size < needed) {
		t->size *= 2;
	}
	t->data = mem_resize(t->data, t->size);
}

void text_init(struct text *t)
{
	t->size = FIRST_SIZE;
	t->data = mem_new(t->size, 1);
	t->length = 0;
}

void text_close(struct text *t)
{
	free(t->data);
	memset(t, 0, sizeof *t);
}

void text_reset(struct text *t)
{
	t->length = 0;
	t->data[0] = '\0';
}

void text_add(struct text *t, const char *s)
{
	text_add_bytes(t, s, strlen(s));
}

void text_add_bytes(struct text *t, const char *s, size_t length)
{
	reserve(t, length);
	memcpy(t->data + t->length, s, length);
	t->length += length;
	t->data[t->length] = '\0';
}

void text_addf(struct text *t, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	assert(length >= 0);

	reserve(t, (size_t)length);
	va_start(args, format);
	(void)vsnprintf(t->data + t->length, (size_t)length + 1, format, args);
	va_end(args);
	t->length += (size_t)length;
}

char *text_trim(char *s)
{
	size_t end = strlen(s);
	size_t start = end;
	size_t length = 1;
	unsigned char lead;

	while (start > 0 && end - start < 3 &&
		((unsigned char)s[start - 1] & 0xC0) == 0x80) {
		start--;
	}
	if (start == 0) {
		return s;
	}
	lead = (unsigned char)s[--start];
	if (lead >= 0xF0) {
		length = 4;
	} else if (lead >= 0xE0) {
		length = 3;
	} else if (lead >= 0xC0) {
		length = 2;
	}
	if (end - start < length) {
		s[start] = '\0';
	}
	return s;
}

char *text_take(struct text *t)
{
	char *data = t->data;

	memset(t, 0, sizeof *t);
	return data;
}
