#include "rules/key.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

void key_init(struct key *k)
{
	memset(k, 0, sizeof *k);
}

void key_close(struct key *k)
{
	for (int i = 0; i < k->count; i++) {
		free(k->values[i]);
	}
	memset(k, 0, sizeof *k);
}

void key_add(struct key *k, const char *value)
{
	assert(k->count < KEY_MAX_COLUMNS);
	k->values[k->count++] = mem_strdup(value);
}

void key_copy(struct key *to, const struct key *from)
{
	if (to == from) {
		return;
	}
	key_close(to);
	for (int i = 0; i < from->count; i++) {
		key_add(to, from->values[i]);
	}
}

int key_equals(const struct key *a, const struct key *b)
{
	if (a->count != b->count) {
		return 0;
	}
	for (int i = 0; i < a->count; i++) {
		if (strcmp(a->values[i], b->values[i]) != 0) {
			return 0;
		}
	}
	return 1;
}

/* One element at *at, up to its "," or "}"; -1 when there is none. */
static int parse_element(const char **at, struct text *element)
{
	const char *c = *at;
	int quoted = *c == '"';

	text_reset(element);
	c += quoted;
	while (*c != '\0' && (quoted ? *c != '"' : *c != ',' && *c != '}')) {
		if (*c == '\\') {
			c++;
		}
		if (*c == '\0' || (!quoted && (*c == '{' || *c == '"'))) {
			return -1;
		}
		text_add_bytes(element, c++, 1);
	}
	if (quoted) {
		if (*c != '"') {
			return -1;
		}
		c++;
	} else if (element->length == 0 ||
		strcasecmp(element->data, "NULL") == 0) {
		return -1; /* a key column is never null */
	}
	*at = c;
	return *c == ',' || *c == '}' ? 0 : -1;
}

static int parse_elements(struct key *k, const char *c, struct text *element)
{
	for (;;) {
		if (k->count == KEY_MAX_COLUMNS ||
			parse_element(&c, element) != 0) {
			return -1;
		}
		key_add(k, element->data);
		if (*c++ == '}') {
			return *c == '\0' ? 0 : -1;
		}
	}
}

int key_parse(struct key *k, const char *literal)
{
	struct text element;
	int rc;

	key_close(k);
	if (literal[0] == '\0') {
		return 0;
	}
	if (literal[0] != '{') {
		return -1;
	}
	text_init(&element);
	rc = parse_elements(k, literal + 1, &element);
	text_close(&element);
	if (rc != 0) {
		key_close(k);
	}
	return rc;
}

void key_add_element(struct text *out, const char *value)
{
	text_add(out, "\"");
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\') {
			text_add(out, "\\");
		}
		text_add_bytes(out, c, 1);
	}
	text_add(out, "\"");
}

char *key_format(const struct key *k)
{
	struct text t;

	text_init(&t);
	text_add(&t, "{");
	for (int i = 0; i < k->count; i++) {
		text_add(&t, i > 0 ? "," : "");
		key_add_element(&t, k->values[i]);
	}
	text_add(&t, "}");
	return text_take(&t);
}

void key_describe(const struct key *k, struct text *out)
{
	for (int i = 0; i < k->count; i++) {
		text_addf(out, "%s%s", i > 0 ? ", " : "", k->values[i]);
	}
}
