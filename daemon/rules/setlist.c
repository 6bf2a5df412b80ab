#include "rules/setlist.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

static const char *skip_block_comment(const char *c)
{
	int depth = 0;

	do {
		if (c[0] == '/' && c[1] == '*') {
			depth++;
			c += 2;
		} else if (c[0] == '*' && c[1] == '/') {
			depth--;
			c += 2;
		} else {
			c++;
		}
	} while (depth > 0 && *c != '\0');
	return c;
}

/* Past white space and comments. */
static const char *skip_blank(const char *c)
{
	for (;;) {
		if (isspace((unsigned char)*c)) {
			c++;
		} else if (c[0] == '-' && c[1] == '-') {
			c += strcspn(c, "\r\n");
		} else if (c[0] == '/' && c[1] == '*') {
			c = skip_block_comment(c);
		} else {
			return c;
		}
	}
}

static int is_name_start(unsigned char c)
{
	return isalpha(c) || c == '_' || c >= 0x80;
}

static int is_name_part(unsigned char c)
{
	return is_name_start(c) || isdigit(c) || c == '$';
}

/* A quoted run; the quote stands for itself when doubled, and after a
 * backslash when escapes count (E'…'). */
static const char *skip_quoted(const char *c, int escapes)
{
	char quote = *c++;

	while (*c != '\0') {
		if (escapes && *c == '\\' && c[1] != '\0') {
			c += 2;
		} else if (*c == quote && c[1] == quote) {
			c += 2;
		} else if (*c == quote) {
			return c + 1;
		} else {
			c++;
		}
	}
	return c;
}

/* $tag$ … $tag$, or a lone "$". */
static const char *skip_dollar(const char *c)
{
	size_t tag = 1;
	const char *end;

	while (is_name_part((unsigned char)c[tag]) && c[tag] != '$') {
		tag++;
	}
	if (c[tag] != '$' || isdigit((unsigned char)c[1])) {
		return c + 1;
	}
	tag++;
	for (end = c + tag; *end != '\0'; end++) {
		if (strncmp(end, c, tag) == 0) {
			return end + tag;
		}
	}
	return end;
}

/* Past one token of an expression. */
static const char *skip_token(const char *c)
{
	if (*c == '"') {
		return skip_quoted(c, 0);
	}
	if (*c == '\'') {
		return skip_quoted(c, 0);
	}
	if ((*c == 'e' || *c == 'E') && c[1] == '\'') {
		return skip_quoted(c + 1, 1);
	}
	if (*c == '$') {
		return skip_dollar(c);
	}
	if (is_name_start((unsigned char)*c)) {
		while (is_name_part((unsigned char)*c)) {
			c++;
		}
		return c;
	}
	return *c == '\0' ? c : c + 1;
}

/* Past an expression: to the comma or closing parenthesis that ends it, or
 * to the end of the clause. */
static const char *skip_expression(const char *c)
{
	int depth = 0;

	for (c = skip_blank(c); *c != '\0'; c = skip_blank(c)) {
		if (depth == 0 && (*c == ',' || *c == ')')) {
			return c;
		}
		if (*c == '(' || *c == '[') {
			depth++;
		} else if (*c == ')' || *c == ']') {
			depth--;
		}
		c = skip_token(c);
	}
	return c;
}

static void add_column(struct setlist *s, const char *name)
{
	s->columns =
		mem_resize(s->columns, (s->count + 1) * sizeof s->columns[0]);
	s->columns[s->count++] = mem_strdup(name);
}

/* A column's name as the catalog has it; NULL when there is none. */
static const char *read_name(struct setlist *s, const char *c)
{
	struct text name;
	int found;

	text_init(&name);
	if (*c == '"') {
		for (c++; *c != '\0' && (*c != '"' || c[1] == '"'); c++) {
			c += *c == '"';
			text_add_bytes(&name, c, 1);
		}
		c += *c == '"';
	} else if (is_name_start((unsigned char)*c)) {
		for (; is_name_part((unsigned char)*c); c++) {
			char lower = (char)tolower((unsigned char)*c);

			text_add_bytes(&name, &lower, 1);
		}
	}
	found = name.length > 0;
	if (found) {
		add_column(s, name.data);
	}
	text_close(&name);
	return found ? c : NULL;
}

/* "column", or "column[1].field" which assigns a part of it. */
static const char *read_target(struct setlist *s, const char *c)
{
	c = read_name(s, skip_blank(c));
	while (c != NULL) {
		c = skip_blank(c);
		if (*c == '[') {
			int depth = 0;

			do {
				depth += *c == '[';
				depth -= *c == ']';
				c = skip_blank(skip_token(c));
			} while (depth > 0 && *c != '\0');
		} else if (*c == '.') {
			c = skip_token(skip_blank(c + 1));
		} else {
			return c;
		}
	}
	return NULL;
}

static const char *read_assignment(struct setlist *s, const char *c)
{
	int is_list = *c == '(';

	do {
		c = read_target(s, is_list ? c + 1 : c);
	} while (c != NULL && is_list && *c == ',');
	if (c == NULL) {
		return NULL;
	}
	if (is_list) {
		if (*c != ')') {
			return NULL;
		}
		c = skip_blank(c + 1);
	}
	return *c == '=' ? skip_expression(c + 1) : NULL;
}

int setlist_parse(struct setlist *s, const char *set_clause)
{
	const char *c = skip_blank(set_clause);

	memset(s, 0, sizeof *s);
	for (;;) {
		c = read_assignment(s, c);
		if (c == NULL || s->count > SETLIST_MAX_COLUMNS) {
			return -1;
		}
		if (*c == '\0') {
			return 0;
		}
		if (*c != ',') {
			return -1;
		}
		c = skip_blank(c + 1);
	}
}

void setlist_close(struct setlist *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->columns[i]);
	}
	free(s->columns);
	memset(s, 0, sizeof *s);
}
