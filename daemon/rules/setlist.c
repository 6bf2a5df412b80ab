#include "rules/setlist.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "rules/lexer.h"

/* Past an expression: to the comma or closing parenthesis that ends it, or
 * to the end of the clause. */
static const char *skip_expression(const char *c)
{
	int depth = 0;

	for (c = lexer_skip_blank(c); *c != '\0'; c = lexer_skip_blank(c)) {
		if (depth == 0 && (*c == ',' || *c == ')')) {
			return c;
		}
		if (*c == '(' || *c == '[') {
			depth++;
		} else if (*c == ')' || *c == ']') {
			depth--;
		}
		c = lexer_skip_token(c);
	}
	return c;
}

/* A column's name as the catalog has it; NULL when there is none. */
static const char *read_name(struct setlist *s, const char *c)
{
	struct text name;
	char column[LEXER_NAME_SIZE];

	text_init(&name);
	if (!lexer_add_name(&name, &c)) {
		text_close(&name);
		return NULL;
	}
	lexer_cut_name(column, name.data);
	text_close(&name);
	s->columns =
		mem_resize(s->columns, (s->count + 1) * sizeof s->columns[0]);
	s->columns[s->count++] = mem_strdup(column);
	return c;
}

/* "column", or "column[1].field" which assigns a part of it. */
static const char *read_target(struct setlist *s, const char *c)
{
	c = read_name(s, lexer_skip_blank(c));
	while (c != NULL) {
		c = lexer_skip_blank(c);
		if (*c == '[') {
			int depth = 0;

			do {
				depth += *c == '[';
				depth -= *c == ']';
				c = lexer_skip_blank(lexer_skip_token(c));
			} while (depth > 0 && *c != '\0');
		} else if (*c == '.') {
			c = lexer_skip_token(lexer_skip_blank(c + 1));
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
		c = lexer_skip_blank(c + 1);
	}
	return *c == '=' ? skip_expression(c + 1) : NULL;
}

int setlist_parse(struct setlist *s, const char *set_clause)
{
	const char *c = lexer_skip_blank(set_clause);

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
		c = lexer_skip_blank(c + 1);
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
