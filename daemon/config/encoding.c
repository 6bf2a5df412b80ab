#include "config/encoding.h"

#include <stdint.h>

#include "base/utf8.h"

/* YAML 1.1, 5.1 "Character Set". */
static int is_printable(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7f) ||
		c == 0x85 || (c >= 0xa0 && c != 0xfffe && c != 0xffff);
}

const char *encoding_check(const char *text, size_t length, struct place *at)
{
	size_t used;
	uint32_t c;

	at->line = 1;
	at->column = 1;
	for (size_t i = 0; i < length; i += used) {
		used = utf8_decode(text + i, length - i, &c);
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
