#include "rules/discreet.h"

#include <string.h>

#include "rules/run.h"
#include "rules/sqlstate.h"

static const char *const plain[] = { "08", "0A", "23", "25", "28", "3D", "40",
	"42501", "53", "55", "57", "58", "BF" };

int discreet_is_message_quoting(const char *sqlstate)
{
	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
		if (strncmp(sqlstate, plain[i], strlen(plain[i])) == 0) {
			return 0;
		}
	}
	return 1;
}

/* "the table's": not the beginning of a literal. */
static int is_apostrophe(const char *text, const char *at)
{
	return at > text && at[-1] >= 'a' && at[-1] <= 'z' && at[1] == 's' &&
		(at[2] == ' ' || at[2] == '\0');
}

/* What ends elsewhere than at the next quote, and what may hold one. */
static int is_beyond_reading(const char *at, int is_literal)
{
	if (is_literal) {
		return *at == '\\';
	}
	return *at == '$' || strncmp(at, "--", 2) == 0 ||
		strncmp(at, "/*", 2) == 0 ||
		(*at == '"' && strchr(at + 1, '"') == NULL);
}

/* A literal whose end was cut off is one, too. */
void discreet_add_sql(struct text *out, const char *sql)
{
	int is_literal = 0;

	for (const char *at = sql; *at != '\0'; at++) {
		size_t length = 1;

		if (is_beyond_reading(at, is_literal)) {
			text_add(out, *at == '$' ? "$" : "");
			text_add(out, is_literal ? "" : "...");
			return;
		}
		if (*at == '\'' && (is_literal || !is_apostrophe(sql, at))) {
			is_literal = !is_literal;
			text_add(out, is_literal ? "'..." : "'");
		} else if (!is_literal) {
			if (*at == '"') {
				length += strcspn(at + 1, "\"") + 1;
			}
			text_add_bytes(out, at, length);
			at += length - 1;
		}
	}
}

static const char *condition_of(const char *sqlstate)
{
	const struct sqlstate_rule *rule;
	size_t i = 0;

	while ((rule = sqlstate_rule(i)) != NULL &&
		strncmp(sqlstate, rule->prefix, strlen(rule->prefix)) != 0) {
		i++;
	}
	return rule != NULL && rule->prefix[0] != '\0' ? rule->condition : NULL;
}

void discreet_add_error(struct text *out, const struct err *e)
{
	const char *condition = condition_of(e->sqlstate);

	text_add(out, e->sqlstate);
	if (e->sqlstate[0] == '\0' || !e->may_quote) {
		text_add(out, e->sqlstate[0] != '\0' ? ": " : "");
		discreet_add_sql(out, e->message);
	} else if (condition != NULL) {
		text_addf(out, " (%s)", condition);
	}
}

void discreet_add_reason(struct text *out, const struct run *r)
{
	const char *reason = r->reason;
	size_t length = strlen(reason);
	size_t at = r->quoted.at;
	size_t end = r->quoted.at + r->quoted.length;

	if (r->quoted.length == 0 || at >= length) {
		text_add(out, reason);
		return;
	}
	text_add_bytes(out, reason, at);
	text_add(out, "...");
	text_add(out, reason + (end < length ? end : length));
}
