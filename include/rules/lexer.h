/* lexer.h: the tokens of a clause, as far as names have to be found in it:
 * PostgreSQL docs, 4.1 "Lexical Structure". The server has parsed or will
 * parse the clause; what is no SQL is passed over somehow. Pure. */
#ifndef BACKFILL_RULES_LEXER_H
#define BACKFILL_RULES_LEXER_H

#include "base/text.h"

enum { LEXER_NAME_SIZE = 64 }; /* PostgreSQL's NAMEDATALEN */

/* Past white space and comments. */
const char *lexer_skip_blank(const char *c);

/* Past one token that begins there: a name, a quoted run, or one byte. */
const char *lexer_skip_token(const char *c);

int lexer_is_name_start(unsigned char c);
int lexer_is_name_part(unsigned char c);

/* Add the name that begins there, quoted or not, as the catalog has it but
 * for its length, and move past it. Returns 0 when there is none. */
int lexer_add_name(struct text *name, const char **c);

/* A name is cut where the server cuts it. */
void lexer_cut_name(char cut[LEXER_NAME_SIZE], const char *name);

#endif
