/* The third round trip of a preflight (store/catalog.h): a clause is one
 * expression, or the job does not run. Each piece is parsed alone first:
 * "id = 1) OR (id = 2" is well-formed within parentheses and not within
 * ARRAY[], "id = 1; DROP …" in neither, and what is well-formed in both
 * cannot reach beyond the place where we put it. The from_clause comes
 * first, since the others are parsed beside it. */

#include "catalog_internal.h"

#include <string.h>

enum { FIRST_CHECK = 1, BOOL_OID = 16 /* pg_type.dat */ };

enum check {
	CHECK_FROM,
	CHECK_SET,
	CHECK_WHERE, /* the next ones are of it, too */
	CHECK_ARRAY,
	CHECK_FILTER,
	CHECK_BATCH, /* all together */
	CHECKS
};

static int is_wanted(const struct keyset *k, enum check check)
{
	switch (check) {
	case CHECK_FROM:
		return k->from_clause != NULL;
	case CHECK_SET:
		return !k->is_delete;
	case CHECK_WHERE:
	case CHECK_ARRAY:
	case CHECK_FILTER:
		return k->where_clause != NULL;
	default:
		return 1;
	}
}

/* Where the check stands in the request. */
static int index_of(const struct keyset *k, enum check check)
{
	int index = FIRST_CHECK;

	for (enum check c = CHECK_FROM; c < check; c++) {
		index += is_wanted(k, c);
	}
	return index;
}

/* CHECK_BATCH and CHECKS: of no one clause. */
static const char *name_of(enum check check)
{
	static const char *const names[CHECKS] = { "from_clause", "set_clause",
		"where_clause", "where_clause", "where_clause", NULL };

	return check < CHECKS ? names[check] : NULL;
}

static enum check check_at(const struct keyset *k, int index)
{
	for (enum check c = CHECK_FROM; c < CHECKS; c++) {
		if (is_wanted(k, c) && index_of(k, c) == index) {
			return c;
		}
	}
	return CHECKS;
}

static void add_sql(struct text *sql, const struct keyset *k, enum check check)
{
	text_reset(sql);
	switch (check) {
	case CHECK_FROM:
		keyset_from_check_sql(k, sql);
		return;
	case CHECK_SET:
		keyset_set_check_sql(k, sql);
		return;
	case CHECK_WHERE:
		keyset_where_check_sql(k, sql, KEYSET_IN_PARENTHESES);
		return;
	case CHECK_ARRAY:
		keyset_where_check_sql(k, sql, KEYSET_IN_ARRAY);
		return;
	default:
		keyset_where_check_sql(k, sql, KEYSET_IN_WHERE);
		return;
	}
}

struct pgc_request *catalog_check(const struct work_job *j,
	const struct keyset *k, const struct fence *fence)
{
	struct pgc_request *r = pgc_request_new(CATALOG_DEADLINE_MS);
	struct key none;
	const struct keyset_window window = { .lo = &none, .hi = &none };
	struct text sql;

	key_init(&none);
	text_init(&sql);
	work_add_surroundings(r, j);
	for (enum check c = CHECK_FROM; c < CHECK_BATCH; c++) {
		if (is_wanted(k, c)) {
			add_sql(&sql, k, c);
			pgc_add_parse(r, sql.data);
		}
	}
	text_reset(&sql);
	text_add(&sql, "EXPLAIN ");
	keyset_batch_sql(k, &sql, fence, &window);
	pgc_add(r, sql.data);
	text_close(&sql);
	return r;
}

/* ---- the server's own error, with the piece that it is about ---- */

static void hint_at_syntax(enum check check, struct err *e)
{
	if (check == CHECK_FROM) {
		err_set_hint(e,
			"The clause must be what follows FROM in an UPDATE:"
			" table AS alias, …, and no WHERE.");
	} else if (check == CHECK_SET) {
		err_set_hint(e,
			"The clause must be what follows SET in an"
			" UPDATE: column = expression, …");
	} else {
		err_set_hint(e,
			"The clause must be one boolean expression"
			" with balanced parentheses.");
	}
}

static void hint_at_rights(
	enum check check, const struct keyset *k, struct err *e)
{
	if (check < CHECK_BATCH) {
		err_set_hint(e,
			"The job runs as its run_as, which may use what the"
			" clause names only without policies of row-level"
			" security: as the owner, or with BYPASSRLS.");
	} else if (k->is_delete) {
		err_set_hint(e,
			"The job runs as its run_as, which needs SELECT,"
			" DELETE and, to lock rows, UPDATE on %s%s%s and the"
			" rights that its clauses use.",
			k->table, k->archive != NULL ? ", INSERT on " : "",
			k->archive != NULL ? k->archive : "");
	} else {
		err_set_hint(e,
			"The job runs as its run_as, which needs SELECT and"
			" UPDATE on %s and the rights that its clauses use.",
			k->table);
	}
}

static int explain_error(const struct pgc_request *r, const struct keyset *k,
	const struct err *error, struct err *e)
{
	enum check check = check_at(k, pgc_failed_at(r));
	int is_syntax = strcmp(error->sqlstate, "42601") == 0;

	/* Where the batch is no statement though each piece is, the SET clause
	 * reaches beyond its place: a FROM of its own. */
	if (is_syntax && check == CHECK_BATCH && !k->is_delete) {
		check = CHECK_SET;
	}
	*e = *error;
	if (name_of(check) != NULL) {
		err_wrap(e, "%s", name_of(check));
	} else if (k->archive != NULL &&
		strcmp(error->sqlstate, "42804") == 0) {
		err_wrap(e, "archive_table");
	}
	if (e->hint[0] != '\0') {
		return e->code;
	}
	if (is_syntax) {
		hint_at_syntax(check, e);
	} else if (strcmp(error->sqlstate, "42501") == 0) {
		hint_at_rights(check, k, e);
	}
	return e->code;
}

/* ---- what parses and still is not right ---- */

/* The description of a statement, if it was described. */
static const PGresult *description(
	const struct pgc_request *r, const struct keyset *k, enum check check)
{
	int index = index_of(k, check);

	return is_wanted(k, check) && pgc_failed_at(r) != index
		? pgc_result(r, index)
		: NULL;
}

static int check_parameters(
	const struct pgc_request *r, const struct keyset *k, struct err *e)
{
	for (enum check c = CHECK_FROM; c <= CHECK_WHERE; c++) {
		const PGresult *described = description(r, k, c);

		if (described == NULL || PQnparams(described) == 0) {
			continue;
		}
		err_set(e, BFE_SQL, "%s: there is no parameter $1", name_of(c));
		err_set_hint(e, "Write the value itself.");
		return catalog_set_sqlstate(e, "42P02");
	}
	return 0;
}

/* Where it is well-formed in both forms, its type is its own. */
static int check_type(
	const struct pgc_request *r, const struct keyset *k, struct err *e)
{
	const PGresult *where = description(r, k, CHECK_WHERE);

	if (where == NULL || PQnfields(where) != 1 ||
		PQftype(where, 0) == BOOL_OID ||
		pgc_failed_at(r) == index_of(k, CHECK_ARRAY)) {
		return 0;
	}
	err_set(e, BFE_SQL, "where_clause must be of type boolean");
	err_set_hint(e, "Write a condition, such as $$ phone IS NULL $$.");
	return catalog_set_sqlstate(e, "42804");
}

int catalog_read_check(const struct pgc_request *r, const struct keyset *k,
	const struct err *error, struct err *e)
{
	if (error != NULL && error->code != BFE_SQL) {
		*e = *error;
		return e->code;
	}
	/* What was described before the error tells more than the error. */
	if (check_parameters(r, k, e) != 0 || check_type(r, k, e) != 0) {
		return e->code;
	}
	return error != NULL ? explain_error(r, k, error, e) : 0;
}
