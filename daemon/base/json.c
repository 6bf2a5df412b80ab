#include "base/json.h"

#include <string.h>

#include "base/utf8.h"

static void add_character(
	struct text *t, const char *s, size_t bytes, uint32_t c)
{
	switch (c) {
	case '"':
		text_add(t, "\\\"");
		return;
	case '\\':
		text_add(t, "\\\\");
		return;
	case '\n':
		text_add(t, "\\n");
		return;
	case '\r':
		text_add(t, "\\r");
		return;
	case '\t':
		text_add(t, "\\t");
		return;
	default:
		break;
	}
	/* RFC 8259 demands those below U+0020; who reads line by line may take
	 * U+0085, U+2028 and U+2029 for the end of one. */
	if (utf8_is_control(c)) {
		text_addf(t, "\\u%04x", (unsigned)c);
	} else {
		text_add_bytes(t, s, bytes);
	}
}

void json_add_string(struct text *t, const char *s)
{
	size_t left = strlen(s);
	uint32_t c;

	text_add(t, "\"");
	while (left > 0) {
		size_t bytes = utf8_decode(s, left, &c);

		if (bytes == 0) {
			text_add(t, "\xef\xbf\xbd");
			bytes = 1;
		} else {
			add_character(t, s, bytes, c);
		}
		s += bytes;
		left -= bytes;
	}
	text_add(t, "\"");
}
