#include "rules/clause.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "rules/lexer.h"

void clause_init(struct clause *c)
{
	memset(c, 0, sizeof *c);
}

void clause_close(struct clause *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->calls[i].schema);
		free(c->calls[i].name);
	}
	free(c->calls);
	clause_init(c);
}

/* ---- words */

static int is_one_of(const char *name, const char *const names[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(name, names[i]) == 0) {
			return 1;
		}
	}
	return 0;
}

static int is_keyword(const char *name)
{
	static const char *const names[] = { "current_date", "current_time",
		"current_timestamp", "localtime", "localtimestamp" };

	return is_one_of(name, names, sizeof names / sizeof names[0]);
}

static int is_clock_function(const char *name)
{
	static const char *const names[] = { "now", "age",
		"statement_timestamp", "transaction_timestamp",
		"clock_timestamp", "timeofday" };

	return is_one_of(name, names, sizeof names / sizeof names[0]);
}

/* Past the word and what is blank behind it; c where it is another. */
static const char *skip_word(const char *c, const char *word)
{
	size_t length = strlen(word);

	if (strncasecmp(c, word, length) != 0 ||
		lexer_is_name_part((unsigned char)c[length])) {
		return c;
	}
	return lexer_skip_blank(c + length);
}

/* What follows FOR. */
static int is_row_lock(const char *c)
{
	c = skip_word(skip_word(c, "no"), "key");
	return skip_word(c, "update") != c || skip_word(c, "share") != c;
}

static int is_escaped_name(const char *c)
{
	return (*c == 'u' || *c == 'U') && c[1] == '&' && c[2] == '"';
}

static int is_name(const char *c)
{
	if ((*c == 'e' || *c == 'E') && c[1] == '\'') {
		return 0;
	}
	return *c == '"' || lexer_is_name_start((unsigned char)*c);
}

/* ---- names, of which the last two parts count */

static void add_call(struct clause *c, const struct clause_call *call)
{
	c->calls = mem_resize(c->calls, (c->count + 1) * sizeof c->calls[0]);
	c->calls[c->count].schema = mem_strdup(call->schema);
	c->calls[c->count].name = mem_strdup(call->name);
	c->calls[c->count].is_keyword = call->is_keyword;
	c->calls[c->count++].is_escaped = call->is_escaped;
}

/* Returns what follows the part. */
static const char *read_part(
	struct clause_call *call, char name[LEXER_NAME_SIZE], const char *c)
{
	int is_escaped = is_escaped_name(c);
	struct text part;

	text_init(&part);
	c += is_escaped ? strlen("U&") : 0;
	(void)lexer_add_name(&part, &c);
	lexer_cut_name(name, part.data);
	text_close(&part);
	c = lexer_skip_blank(c);
	if (is_escaped) {
		const char *character = skip_word(c, "uescape");

		call->is_escaped = 1;
		if (character != c) {
			c = lexer_skip_blank(lexer_skip_token(character));
		}
	}
	return c;
}

static const char *read_name(struct clause *c, const char *text)
{
	char schema[LEXER_NAME_SIZE] = "";
	char name[LEXER_NAME_SIZE];
	struct clause_call call = { schema, name, 0, 0 };
	int is_plain = *text != '"';
	const char *end = read_part(&call, name, text);

	while (*end == '.' && is_name(lexer_skip_blank(end + 1))) {
		is_plain = 0;
		memcpy(schema, name, sizeof schema);
		end = read_part(&call, name, lexer_skip_blank(end + 1));
	}
	call.is_keyword = is_plain && is_keyword(name);
	if (*end == '(' || call.is_keyword) {
		add_call(c, &call);
	} else if (is_plain && strcmp(name, "for") == 0) {
		c->locks_rows |= is_row_lock(end);
	}
	return end;
}

void clause_read(struct clause *c, const char *text)
{
	const char *at = lexer_skip_blank(text != NULL ? text : "");

	while (*at != '\0') {
		at = is_name(at) ? read_name(c, at) : lexer_skip_token(at);
		at = lexer_skip_blank(at);
	}
}

/* ---- what is known by name */

static int is_of_catalog(const struct clause_call *call)
{
	return call->schema[0] == '\0' ||
		strcmp(call->schema, "pg_catalog") == 0;
}

int clause_is_clock(const struct clause_call *call)
{
	return call->is_escaped ||
		(is_of_catalog(call) &&
			(call->is_keyword || is_clock_function(call->name)));
}

int clause_is_lock(const struct clause_call *call)
{
	static const char any[] = "pg_advisory_";
	static const char release[] = "pg_advisory_unlock";

	return call->is_escaped ||
		(is_of_catalog(call) &&
			strncmp(call->name, any, strlen(any)) == 0 &&
			strncmp(call->name, release, strlen(release)) != 0);
}
