#include "base/html.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

static const char REPLACEMENT[] = "\xef\xbf\xbd";

static const char *entity_of(uint32_t c)
{
	switch (c) {
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '&':
		return "&amp;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

static int is_shown(uint32_t c)
{
	return c == '\t' || c == '\n' || !utf8_is_control(c);
}

void html_add_text(struct text *t, const char *s)
{
	size_t left = strlen(s);
	const char *entity;
	size_t used;
	uint32_t c;

	for (; left > 0; s += used, left -= used) {
		used = utf8_decode(s, left, &c);
		if (used == 0 || !is_shown(c)) {
			text_add(t, REPLACEMENT);
			used = used == 0 ? 1 : used;
			continue;
		}
		entity = entity_of(c);
		if (entity != NULL) {
			text_add(t, entity);
		} else {
			text_add_bytes(t, s, used);
		}
	}
}
