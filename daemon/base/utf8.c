#include "base/utf8.h"

size_t utf8_decode(const char *text, size_t length, uint32_t *value)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *byte = (const unsigned char *)text;
	size_t bytes;

	if (byte[0] < 0x80) {
		*value = byte[0];
		return 1;
	}
	if (byte[0] >= 0xc0 && byte[0] < 0xe0) {
		bytes = 2;
		*value = byte[0] & 0x1fu;
	} else if (byte[0] >= 0xe0 && byte[0] < 0xf0) {
		bytes = 3;
		*value = byte[0] & 0x0fu;
	} else if (byte[0] >= 0xf0 && byte[0] < 0xf8) {
		bytes = 4;
		*value = byte[0] & 0x07u;
	} else {
		return 0;
	}
	if (bytes > length) {
		return 0;
	}
	for (size_t i = 1; i < bytes; i++) {
		if ((byte[i] & 0xc0) != 0x80) {
			return 0;
		}
		*value = *value << 6 | (byte[i] & 0x3fu);
	}
	if (*value < smallest[bytes] || *value > 0x10ffff ||
		(*value >= 0xd800 && *value <= 0xdfff)) {
		return 0;
	}
	return bytes;
}

int utf8_is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) ||
		(c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
		c == 0x200e || c == 0x200f || c == 0x61c || c == 0xfeff;
}
