#include "config/utf8.h"

#include <stdint.h>

/* Decode the character at text, of which there are length bytes. Returns
 * how many it takes, or 0 when it is not one (RFC 3629: the shortest form,
 * no surrogates, at most U+10FFFF). */
static size_t decode(const unsigned char *text, size_t length, uint32_t *value)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t bytes;

	if (text[0] < 0x80) {
		*value = text[0];
		return 1;
	}
	if (text[0] >= 0xc0 && text[0] < 0xe0) {
		bytes = 2;
		*value = text[0] & 0x1fu;
	} else if (text[0] >= 0xe0 && text[0] < 0xf0) {
		bytes = 3;
		*value = text[0] & 0x0fu;
	} else if (text[0] >= 0xf0 && text[0] < 0xf8) {
		bytes = 4;
		*value = text[0] & 0x07u;
	} else {
		return 0;
	}
	if (bytes > length) {
		return 0;
	}
	for (size_t i = 1; i < bytes; i++) {
		if ((text[i] & 0xc0) != 0x80) {
			return 0;
		}
		*value = *value << 6 | (text[i] & 0x3fu);
	}
	if (*value < smallest[bytes] || *value > 0x10ffff ||
		(*value >= 0xd800 && *value <= 0xdfff)) {
		return 0;
	}
	return bytes;
}

/* YAML 1.1, 5.1 "Character Set". */
static int is_printable(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7f) ||
		c == 0x85 || (c >= 0xa0 && c != 0xfffe && c != 0xffff);
}

const char *utf8_check(const char *text, size_t length, struct place *at)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t used;
	uint32_t c;

	at->line = 1;
	at->column = 1;
	for (size_t i = 0; i < length; i += used) {
		used = decode(bytes + i, length - i, &c);
		if (used == 0) {
			return "invalid UTF-8";
		}
		if (c == 0) {
			return "zero byte";
		}
		if (!is_printable(c)) {
			return "control character";
		}
		if (c == '\n') {
			at->line++;
			at->column = 1;
		} else if (c != 0xfeff || i > 0) {
			at->column++;
		}
	}
	return NULL;
}
