/* As psql does it: what follows CREATE FUNCTION or PROCEDURE may have a body
 * between BEGIN and END, in which CASE needs an END, too (psqlscan.l). */

#include "rules/statement.h"

#include <string.h>
#include <strings.h>

#include "rules/key.h"
#include "rules/lexer.h"

struct cut {
	int words;	/* of the statement, up to now */
	int is_create;	/* it begins with CREATE [OR REPLACE] */
	int is_routine; /* … FUNCTION or PROCEDURE */
	int parentheses;
	int begins; /* that have no END yet */
};

static int is_word(const char *c, size_t length, const char *word)
{
	return length == strlen(word) && strncasecmp(c, word, length) == 0;
}

static void note_word(struct cut *s, const char *c, size_t length)
{
	s->words++;
	if (s->words == 1) {
		s->is_create = is_word(c, length, "create");
	} else if (s->is_create && s->words <= 4 &&
		(is_word(c, length, "function") ||
			is_word(c, length, "procedure"))) {
		s->is_routine = 1;
	}
	if (!s->is_routine || s->parentheses > 0) {
		return;
	}
	if (is_word(c, length, "begin") ||
		(s->begins > 0 && is_word(c, length, "case"))) {
		s->begins++;
	} else if (s->begins > 0 && is_word(c, length, "end")) {
		s->begins--;
	}
}

/* The end of the statement that begins there: its ";" or the text's end. */
static const char *find_end(const char *c, int *is_blank)
{
	struct cut s = { 0 };

	*is_blank = 1;
	for (;;) {
		const char *token = lexer_skip_blank(c);

		if (*token == '\0' ||
			(*token == ';' && s.parentheses <= 0 &&
				s.begins == 0)) {
			return token;
		}
		*is_blank = 0;
		c = lexer_skip_token(token);
		if (lexer_is_name_start((unsigned char)*token)) {
			note_word(&s, token, (size_t)(c - token));
		} else if (*token == '(') {
			s.parentheses++;
		} else if (*token == ')') {
			s.parentheses--;
		}
	}
}

static void add_element(struct text *array, const char *c, const char *end)
{
	struct text statement;

	text_init(&statement);
	text_add_bytes(&statement, c, (size_t)(end - c));
	text_add(array, array->length > 1 ? "," : "");
	key_add_element(array, statement.data);
	text_close(&statement);
}

int statement_split(struct text *array, const char *sql)
{
	const char *c = sql != NULL ? sql : "";
	int count = 0;
	struct text elements;

	text_init(&elements);
	text_add(&elements, "{");
	while (*c != '\0') {
		int is_blank;
		const char *end = find_end(c, &is_blank);

		if (!is_blank) {
			add_element(&elements, c, end);
			count++;
		}
		c = *end == ';' ? end + 1 : end;
	}
	text_add(&elements, "}");
	text_add(array, elements.data);
	text_close(&elements);
	return count;
}
