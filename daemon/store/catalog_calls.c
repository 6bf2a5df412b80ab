/* The part of catalog_describe() that looks at what the clauses call: what
 * moves by itself, and what may wait for locks. */

#include "catalog_internal.h"

#include "base/mem.h"
#include "rules/clause.h"

/* $1: schemas, "" where a name has none, $2: names. Under the search_path
 * of the submitter, as catalog_resolve() set it, so each of our own names
 * says where it is. A row per function that may be meant and is not
 * immutable. */
static const char CALLS_SQL[] =
	"SELECT u.at, p.provolatile OPERATOR(pg_catalog.=) 'v',\n"
	"	n.nspname OPERATOR(pg_catalog.=) 'pg_catalog',\n"
	"	CASE WHEN n.nspname OPERATOR(pg_catalog.=) 'pg_catalog'\n"
	"		THEN pg_catalog.format('%I()', p.proname)\n"
	"		ELSE pg_catalog.format('%I.%I()', n.nspname,\n"
	"			p.proname) END\n"
	"FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),\n"
	"	pg_catalog.unnest($2::pg_catalog.text[]))\n"
	"	WITH ORDINALITY u (schema, name, at)\n"
	"JOIN pg_catalog.pg_proc p\n"
	"	ON p.proname OPERATOR(pg_catalog.=) u.name::pg_catalog.name\n"
	"JOIN pg_catalog.pg_namespace n\n"
	"	ON n.oid OPERATOR(pg_catalog.=) p.pronamespace\n"
	"WHERE p.provolatile OPERATOR(pg_catalog.<>) 'i'\n"
	"	AND CASE WHEN u.schema OPERATOR(pg_catalog.=) ''\n"
	"		THEN pg_catalog.pg_function_is_visible(p.oid)\n"
	"		ELSE n.nspname OPERATOR(pg_catalog.=)\n"
	"			u.schema::pg_catalog.name END\n"
	"ORDER BY u.at, p.oid";

enum { AT, IS_VOLATILE, IS_OF_CATALOG, SHOWN };

enum { WHERE, FROM, SET, CLAUSES };

/* What all clauses call, one after the other. */
struct calls {
	struct clause of;
	size_t end[CLAUSES]; /* of each clause's */
};

static void calls_read(struct calls *c, const struct work_job *j)
{
	const char *const texts[CLAUSES] = { j->where_clause, j->from_clause,
		j->set_clause };

	clause_init(&c->of);
	for (int i = 0; i < CLAUSES; i++) {
		clause_read(&c->of, texts[i]);
		c->end[i] = c->of.count;
	}
}

static const char *clause_of(const struct calls *c, size_t call)
{
	if (call < c->end[WHERE]) {
		return "where_clause";
	}
	return call < c->end[FROM] ? "from_clause" : "set_clause";
}

void catalog_add_calls(struct pgc_request *r, const struct work_job *j)
{
	struct calls c;
	struct text schemas;
	struct text names;

	calls_read(&c, j);
	text_init(&schemas);
	text_init(&names);
	text_add(&schemas, "{");
	text_add(&names, "{");
	for (size_t i = 0; i < c.of.count; i++) {
		text_add(&schemas, i > 0 ? "," : "");
		key_add_element(&schemas, c.of.calls[i].schema);
		text_add(&names, i > 0 ? "," : "");
		key_add_element(&names, c.of.calls[i].name);
	}
	text_add(&schemas, "}");
	text_add(&names, "}");
	pgc_add_params(r, CALLS_SQL, 2,
		(const char *const[]){ schemas.data, names.data });
	text_close(&schemas);
	text_close(&names);
	clause_close(&c.of);
}

/* ---- what moves */

/* A row that was changed and left may come to match again, and not because
 * somebody wrote it. Of what is not in pg_catalog nobody knows what a stable
 * function reads. */
static void tell_moving(
	const struct calls *c, const PGresult *found, struct preflight *p)
{
	size_t first = c->end[FROM];
	const char *shown = NULL;
	const char *suffix = "";
	struct text t;

	for (int i = 0; i < PQntuples(found) && shown == NULL; i++) {
		size_t at = (size_t)pgc_int(found, i, AT) - 1;

		if (at < first &&
			(pgc_bool(found, i, IS_VOLATILE) ||
				!pgc_bool(found, i, IS_OF_CATALOG))) {
			first = at;
			shown = pgc_text(found, i, SHOWN);
		}
	}
	for (size_t i = 0; i < first; i++) {
		if (clause_is_clock(&c->of.calls[i])) {
			first = i;
			shown = c->of.calls[i].name;
			suffix = c->of.calls[i].is_keyword ? "" : "()";
			break;
		}
	}
	if (shown == NULL) {
		return;
	}
	text_init(&t);
	text_addf(&t, "%s calls %s%s", clause_of(c, first), shown, suffix);
	p->moves_by = text_take(&t);
	preflight_tell(p,
		"%s, by which rows come to match again: there will be no"
		" closing sweep, rows written meanwhile are not looked for",
		p->moves_by);
}

/* ---- what waits */

#define WAITS "a batch ends before the server looks for deadlocks"

static void tell_waiting(
	const struct calls *c, const PGresult *found, struct preflight *p)
{
	if (c->of.locks_rows) {
		p->may_wait = 1;
		preflight_tell(p, "a clause locks rows: " WAITS);
	}
	for (size_t i = 0; i < c->of.count; i++) {
		if (clause_is_lock(&c->of.calls[i])) {
			p->may_wait = 1;
			preflight_tell(p, "%s calls %s(), a lock: " WAITS,
				clause_of(c, i), c->of.calls[i].name);
			break;
		}
	}
	for (int i = 0; i < PQntuples(found); i++) {
		if (pgc_bool(found, i, IS_VOLATILE) &&
			!pgc_bool(found, i, IS_OF_CATALOG)) {
			p->may_wait = 1;
			preflight_tell(p,
				"%s calls %s, which is VOLATILE and may wait"
				" for locks: " WAITS
				"; declare it STABLE or IMMUTABLE if it is",
				clause_of(c, (size_t)pgc_int(found, i, AT) - 1),
				pgc_text(found, i, SHOWN));
			break;
		}
	}
}

void catalog_read_calls(const struct pgc_request *r, int index,
	const struct work_job *j, struct preflight *p)
{
	const PGresult *found = pgc_result(r, index);
	struct calls c;

	calls_read(&c, j);
	if (!j->is_delete && j->where_clause != NULL) {
		tell_moving(&c, found, p);
	}
	tell_waiting(&c, found, p);
	clause_close(&c.of);
}
