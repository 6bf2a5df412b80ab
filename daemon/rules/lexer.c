#include "rules/lexer.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

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

const char *lexer_skip_blank(const char *c)
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

int lexer_is_name_start(unsigned char c)
{
	return isalpha(c) || c == '_' || c >= 0x80;
}

int lexer_is_name_part(unsigned char c)
{
	return lexer_is_name_start(c) || isdigit(c) || c == '$';
}

/* A quoted run; the quote stands for itself when doubled, and after a
 * backslash when escapes count (E'…'). */
static const char *skip_quoted(const char *c, int escapes)
{
	char quote = *c++;

	while (*c != '\0') {
		if ((escapes && *c == '\\' && c[1] != '\0') ||
			(*c == quote && c[1] == quote)) {
			c += 2;
		} else if (*c == quote) {
			return c + 1;
		} else {
			c++;
		}
	}
	return c;
}

/* E'…', which goes on in the next quotes. */
static const char *skip_escaped(const char *c)
{
	const char *next = c;

	do {
		c = skip_quoted(next, 1);
		next = lexer_skip_blank(c);
	} while (*next == '\'');
	return c;
}

/* $tag$ … $tag$, or a lone "$". */
static const char *skip_dollar(const char *c)
{
	size_t tag = 1;
	const char *end;

	while (lexer_is_name_part((unsigned char)c[tag]) && c[tag] != '$') {
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

const char *lexer_skip_token(const char *c)
{
	if (*c == '"') {
		return skip_quoted(c, 0);
	}
	if (*c == '\'') {
		return skip_quoted(c, 0);
	}
	if ((*c == 'e' || *c == 'E') && c[1] == '\'') {
		return skip_escaped(c + 1);
	}
	if (*c == '$') {
		return skip_dollar(c);
	}
	if (lexer_is_name_start((unsigned char)*c)) {
		while (lexer_is_name_part((unsigned char)*c)) {
			c++;
		}
		return c;
	}
	return *c == '\0' ? c : c + 1;
}

int lexer_add_name(struct text *name, const char **c)
{
	const char *at = *c;

	if (*at == '"') {
		for (at++; *at != '\0' && (*at != '"' || at[1] == '"'); at++) {
			at += *at == '"';
			text_add_bytes(name, at, 1);
		}
		at += *at == '"';
	} else if (lexer_is_name_start((unsigned char)*at)) {
		for (; lexer_is_name_part((unsigned char)*at); at++) {
			char lower = (char)tolower((unsigned char)*at);

			text_add_bytes(name, &lower, 1);
		}
	}
	*c = at;
	return name->length > 0;
}

void lexer_cut_name(char cut[LEXER_NAME_SIZE], const char *name)
{
	(void)snprintf(cut, LEXER_NAME_SIZE, "%s", name);
	(void)text_trim(cut);
}
