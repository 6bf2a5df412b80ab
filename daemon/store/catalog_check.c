/* The third round trip of a preflight (store/catalog.h): a clause is one
 * expression, or the job does not run. Each piece is parsed alone first:
 * "id = 1) OR (id = 2" is well-formed within parentheses and not within
 * ARRAY[], "id = 1; DROP …" in neither, and what is well-formed in both
 * cannot reach beyond the place where we put it. */

#include "store/catalog.h"

#include <string.h>

enum {
	DEADLINE_MS = 15000,
	CHECK_SET = 1,
	CHECK_WHERE = 2,
	CHECK_ARRAY = 3,
	BOOL_OID = 16 /* pg_type.dat */
};

static void add_parse(struct pgc_request *r, struct text *sql)
{
	pgc_add_parse(r, sql->data);
	text_reset(sql);
}

struct pgc_request *catalog_check(const struct work_job *j,
	const struct keyset *k, const struct fence *fence)
{
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);
	struct key none;
	const struct keyset_window window = { .lo = &none, .hi = &none };
	struct text sql;

	key_init(&none);
	text_init(&sql);
	work_add_surroundings(r, j);

	keyset_set_check_sql(k, &sql);
	add_parse(r, &sql);
	if (k->where_clause != NULL) {
		keyset_where_check_sql(k, &sql, 0);
		add_parse(r, &sql);
		keyset_where_check_sql(k, &sql, 1);
		add_parse(r, &sql);
	}
	text_add(&sql, "EXPLAIN ");
	keyset_batch_sql(k, &sql, fence, &window);
	pgc_add(r, sql.data);
	text_close(&sql);
	return r;
}

static int refuse(struct err *e, const char *sqlstate)
{
	memcpy(e->sqlstate, sqlstate, sizeof e->sqlstate);
	return e->code;
}

/* The server's own error, with the piece that it is about. */
static int explain_error(const struct pgc_request *r, const struct keyset *k,
	const struct err *error, struct err *e)
{
	int at = pgc_failed_at(r);
	int is_syntax = strcmp(error->sqlstate, "42601") == 0;

	/* Where the batch is no statement though each piece is, the SET clause
	 * reaches beyond its place: a FROM of its own. */
	if (is_syntax &&
		at > (k->where_clause != NULL ? CHECK_ARRAY : CHECK_SET)) {
		at = CHECK_SET;
	}
	*e = *error;
	if (at == CHECK_SET) {
		err_wrap(e, "set_clause");
	} else if (k->where_clause != NULL &&
		(at == CHECK_WHERE || at == CHECK_ARRAY)) {
		err_wrap(e, "where_clause");
	}
	if (e->hint[0] != '\0') {
		return e->code;
	}
	if (at == CHECK_SET && is_syntax) {
		err_set_hint(e,
			"The clause must be what follows SET in an"
			" UPDATE: column = expression, …");
	} else if (is_syntax) {
		err_set_hint(e,
			"The clause must be one boolean expression"
			" with balanced parentheses.");
	} else if (strcmp(error->sqlstate, "42501") == 0) {
		err_set_hint(e,
			"The job runs as its run_as, which needs SELECT and"
			" UPDATE on %s and the rights that its clauses use.",
			k->table);
	}
	return e->code;
}

static int check_parameters(
	const PGresult *described, const char *clause, struct err *e)
{
	if (PQnparams(described) == 0) {
		return 0;
	}
	err_set(e, BFE_SQL, "%s: there is no parameter $1", clause);
	err_set_hint(e, "Write the value itself.");
	return refuse(e, "42P02");
}

int catalog_read_check(const struct pgc_request *r, const struct keyset *k,
	const struct err *error, struct err *e)
{
	const PGresult *where = pgc_result(r, CHECK_WHERE);

	if (error != NULL && error->code != BFE_SQL) {
		*e = *error;
		return e->code;
	}
	/* What was described before the error tells more than the error. */
	if (pgc_result(r, CHECK_SET) != NULL && pgc_failed_at(r) != CHECK_SET &&
		check_parameters(pgc_result(r, CHECK_SET), "set_clause", e) !=
			0) {
		return e->code;
	}
	if (k->where_clause != NULL && where != NULL &&
		pgc_failed_at(r) != CHECK_WHERE) {
		if (check_parameters(where, "where_clause", e) != 0) {
			return e->code;
		}
		if (PQnfields(where) == 1 && PQftype(where, 0) != BOOL_OID &&
			pgc_failed_at(r) != CHECK_ARRAY) {
			err_set(e, BFE_SQL,
				"where_clause must be of type boolean");
			err_set_hint(e,
				"Write a condition, such as"
				" $$ phone IS NULL $$.");
			return refuse(e, "42804");
		}
	}
	return error != NULL ? explain_error(r, k, error, e) : 0;
}
