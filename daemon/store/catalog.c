#include "store/catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { DEADLINE_MS = 15000 };

static const char CATALOG_PATH_SQL[] =
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',"
	" false)";

/* $1: OID. One row. */
static const char RELATION_SQL[] =
	"SELECT c.relkind, c.relpersistence,\n"
	"	format('%I.%I', n.nspname, c.relname), "
	"quote_ident(c.relname),\n"
	"	n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast',\n"
	"		'backfill'),\n"
	"	EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid),\n"
	"	current_user\n"
	"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n"
	"WHERE c.oid = $1::oid";

/* $1: OID, $2: wanted columns or NULL. A row per column of the best usable
 * index: a null key would be passed over, a deferrable one may hold a key
 * twice, a partial one is not the whole table, mixed directions allow no
 * row comparison; nor does ORDER BY … USING find the order of a class whose
 * "less" is something else in the type's default class. Literals get the
 * operator class's type, which is what its operators compare, or where that
 * is polymorphic (enum, array) the column's, below its domains, and so does
 * the column then, which is no enum to these operators as a domain; -1 as
 * type modifier, since without one "character" would mean one character. An
 * operator with several strategies makes the planner take the wrong one for
 * a row comparison (XX000 "RowCompare index qualification contains wrong
 * operator"). */
static const char KEY_SQL[] =
	"WITH usable AS (\n"
	"	SELECT i.* FROM pg_index i\n"
	"	JOIN pg_class x ON x.oid = i.indexrelid\n"
	"	JOIN pg_am m ON m.oid = x.relam\n"
	"	CROSS JOIN LATERAL (\n"
	"		SELECT array_agg(a.attname::text ORDER BY n) AS "
	"names,\n"
	"			bool_and(a.attnotnull) AS not_null,\n"
	"			count(DISTINCT i.indoption[n] & 1) AS "
	"directions\n"
	"		FROM generate_series(0, i.indnkeyatts - 1) n\n"
	"		JOIN pg_attribute a ON a.attrelid = i.indrelid\n"
	"			AND a.attnum = i.indkey[n]) k\n"
	"	WHERE i.indrelid = $1::oid AND m.amname = 'btree'\n"
	"		AND i.indisunique AND i.indimmediate AND i.indisvalid\n"
	"		AND i.indisready AND i.indislive AND i.indpred IS "
	"NULL\n"
	"		AND i.indexprs IS NULL AND k.not_null\n"
	"		AND k.directions = 1\n"
	"		AND NOT EXISTS (SELECT FROM pg_opclass c\n"
	"			JOIN pg_amop s ON s.amopfamily = c.opcfamily\n"
	"			JOIN pg_amop t ON t.amopopr = s.amopopr\n"
	"				AND t.amopmethod = s.amopmethod\n"
	"			WHERE c.oid = ANY (i.indclass) AND NOT "
	"c.opcdefault\n"
	"				AND s.amopstrategy = 1\n"
	"				AND t.amopstrategy <> 1)\n"
	"		AND ($2::text[] IS NULL OR k.names = $2::text[])\n"
	"	ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid\n"
	"	LIMIT 1)\n"
	"SELECT u.indexrelid, a.attname,\n"
	"	quote_ident(a.attname) || CASE WHEN o.typtype = 'p'\n"
	"		AND y.oid <> a.atttypid\n"
	"		THEN '::' || format_type(y.oid, -1) ELSE '' END,\n"
	"	format_type(y.oid, -1),\n"
	"	CASE WHEN l.oid IS NOT NULL AND l.oid <> a.attcollation\n"
	"		THEN format(' COLLATE %I.%I', ln.nspname, l.collname)\n"
	"		ELSE '' END,\n"
	"	p.lt, p.le, p.eq, p.ge, p.gt,\n"
	"	CASE WHEN (u.indoption[n] & 1) = (u.indoption[n] >> 1 & 1)\n"
	"		THEN 'NULLS LAST' ELSE 'NULLS FIRST' END,\n"
	"	p.is_ambiguous\n"
	"FROM usable u\n"
	"CROSS JOIN generate_series(0, u.indnkeyatts - 1) n\n"
	"JOIN pg_attribute a ON a.attrelid = u.indrelid\n"
	"	AND a.attnum = u.indkey[n]\n"
	"JOIN pg_opclass c ON c.oid = u.indclass[n]\n"
	"JOIN pg_type o ON o.oid = c.opcintype\n"
	"CROSS JOIN LATERAL (\n"
	"	WITH RECURSIVE base AS (\n"
	"		SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t\n"
	"		WHERE t.oid = CASE WHEN o.typtype = 'p'\n"
	"			THEN a.atttypid ELSE o.oid END\n"
	"		UNION ALL SELECT t.oid, t.typtype, t.typbasetype\n"
	"		FROM base b JOIN pg_type t ON t.oid = b.typbasetype\n"
	"		WHERE b.typtype = 'd')\n"
	"	SELECT b.oid FROM base b WHERE b.typtype <> 'd') y\n"
	"LEFT JOIN pg_collation l ON l.oid = u.indcollation[n]\n"
	"LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace\n"
	"CROSS JOIN LATERAL (\n"
	"	SELECT max(q.name) FILTER (WHERE q.strategy = 1) AS lt,\n"
	"		max(q.name) FILTER (WHERE q.strategy = 2) AS le,\n"
	"		max(q.name) FILTER (WHERE q.strategy = 3) AS eq,\n"
	"		max(q.name) FILTER (WHERE q.strategy = 4) AS ge,\n"
	"		max(q.name) FILTER (WHERE q.strategy = 5) AS gt,\n"
	"		bool_or(q.is_ambiguous) AS is_ambiguous\n"
	"	FROM (SELECT s.amopstrategy AS strategy,\n"
	"			format('OPERATOR(%I.%s)', r.nspname, "
	"t.oprname) AS name,\n"
	"			EXISTS (SELECT FROM pg_amop z\n"
	"				WHERE z.amopopr = s.amopopr\n"
	"				AND z.amopmethod = s.amopmethod\n"
	"				AND z.amopstrategy <> s.amopstrategy)\n"
	"				AS is_ambiguous\n"
	"		FROM pg_amop s JOIN pg_operator t ON t.oid = "
	"s.amopopr\n"
	"		JOIN pg_namespace r ON r.oid = t.oprnamespace\n"
	"		WHERE s.amopfamily = c.opcfamily\n"
	"			AND s.amoplefttype = c.opcintype\n"
	"			AND s.amoprighttype = c.opcintype) q) p\n"
	"ORDER BY n";

/* $1: OID, $2: columns. Whether one of them belongs to an index that a
 * foreign key may refer to: then the row lock must exclude FOR KEY SHARE. */
static const char UNIQUE_SQL[] =
	"SELECT EXISTS (SELECT FROM pg_index i\n"
	"	JOIN pg_attribute a ON a.attrelid = i.indrelid\n"
	"		AND a.attnum = ANY (i.indkey)\n"
	"	WHERE i.indrelid = $1::oid AND i.indisunique\n"
	"		AND i.indpred IS NULL AND a.attname = ANY "
	"($2::text[]))";

/* ---- 1 ---- */

enum { RESOLVE_OID = 1 };

struct pgc_request *catalog_resolve(const struct work_job *j)
{
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);
	const char *const values[] = { j->target };

	work_add_surroundings(r, j);
	pgc_add_params(r, "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid",
		1, values);
	return r;
}

int catalog_read_resolve(const struct pgc_request *r, const struct work_job *j,
	uint32_t *oid, struct err *e)
{
	const PGresult *row = pgc_result(r, RESOLVE_OID);

	if (!pgc_is_null(row, 0, 0)) {
		*oid = (uint32_t)pgc_int(row, 0, 0);
		return 0;
	}
	err_set(e, BFE_SQL, "relation \"%s\" does not exist", j->target);
	memcpy(e->sqlstate, "42P01", 6);
	err_set_hint(e,
		"Create the table, then submit the job anew; its"
		" search_path is %s.",
		j->search_path);
	return e->code;
}

/* ---- 2 ---- */

enum { DESCRIBE_RELATION = 1, DESCRIBE_KEY = 2, DESCRIBE_UNIQUE = 3 };

static char *format_names(const struct setlist *columns)
{
	struct text t;

	text_init(&t);
	text_add(&t, "{");
	for (size_t i = 0; i < columns->count; i++) {
		text_add(&t, i > 0 ? "," : "");
		key_add_element(&t, columns->columns[i]);
	}
	text_add(&t, "}");
	return text_take(&t);
}

struct pgc_request *catalog_describe(
	const struct work_job *j, uint32_t oid, const struct setlist *columns)
{
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);
	char *names = format_names(columns);
	char oid_text[16];
	const char *key_values[] = { oid_text, j->key_columns };
	const char *unique_values[] = { oid_text, names };

	(void)snprintf(oid_text, sizeof oid_text, "%" PRIu32, oid);
	pgc_add(r, CATALOG_PATH_SQL);
	pgc_add_params(r, RELATION_SQL, 1, key_values);
	pgc_add_params(r, KEY_SQL, 2, key_values);
	pgc_add_params(r, UNIQUE_SQL, 2, unique_values);
	free(names);
	return r;
}

static int set_sqlstate(struct err *e, const char *sqlstate)
{
	(void)snprintf(e->sqlstate, sizeof e->sqlstate, "%s", sqlstate);
	return e->code;
}

static int refuse_kind(const PGresult *row, struct err *e)
{
	static const struct {
		char relkind;
		const char *name;
		const char *hint;
	} kinds[] = {
		{ 'v', "a view", "Name the table behind it." },
		{ 'm', "a materialized view", "Name the table behind it." },
		{ 'f', "a foreign table", "Run the job where the table is." },
		{ 'S', "a sequence", "Name a table." },
		{ 'i', "an index", "Name the table that it belongs to." },
		{ 'I', "a partitioned index",
			"Name the table that it belongs to." },
		{ 'c', "a composite type", "Name a table." },
		{ 't', "a TOAST table", "Name the table that it belongs to." },
	};
	const char *table = pgc_text(row, 0, 2);

	err_set(e, BFE_SQL, "%s is not a table", table);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (kinds[i].relkind == pgc_text(row, 0, 0)[0]) {
			err_set_detail(e, "It is %s.", kinds[i].name);
			err_set_hint(e, "%s", kinds[i].hint);
		}
	}
	return set_sqlstate(e, "42809");
}

static int check_relation(const PGresult *row, struct err *e)
{
	const char *table = pgc_text(row, 0, 2);
	char relkind = pgc_text(row, 0, 0)[0];

	if (PQntuples(row) == 0) {
		err_set(e, BFE_SQL, "the table was dropped meanwhile");
		return set_sqlstate(e, "42P01");
	}
	if (relkind == 'p') {
		err_set(e, BFE_SQL, "%s is a partitioned table", table);
		err_set_hint(e, "Submit a job for each of its partitions.");
		return set_sqlstate(e, "0A000");
	}
	if (relkind != 'r') {
		return refuse_kind(row, e);
	}
	if (pgc_bool(row, 0, 4)) {
		err_set(e, BFE_SQL, "%s is a system table", table);
		err_set_hint(e, "Name a table of your own.");
		return set_sqlstate(e, "42809");
	}
	if (pgc_bool(row, 0, 5)) {
		err_set(e, BFE_SQL, "%s has inheritance children", table);
		err_set_detail(e,
			"A key may stand in the parent and in a child, so one"
			" walk cannot serve both.");
		err_set_hint(e,
			"Submit a job for each child; the parent's own"
			" rows need an UPDATE ONLY.");
		return set_sqlstate(e, "0A000");
	}
	return 0;
}

static int refuse_key(
	const PGresult *row, const struct work_job *j, struct err *e)
{
	const char *table = pgc_text(row, 0, 2);

	if (j->key_columns != NULL) {
		err_set(e, BFE_SQL, "table %s has no usable key on columns %s",
			table, j->key_columns);
	} else {
		err_set(e, BFE_SQL, "table %s has no usable key", table);
	}
	err_set_detail(e,
		"A key is a unique btree index that is valid, immediate,"
		" neither partial nor on expressions, of columns that are NOT"
		" NULL and all ascending or all descending.");
	err_set_hint(e,
		"Add a primary key, or a unique index on NOT NULL"
		" columns (CREATE UNIQUE INDEX CONCURRENTLY).");
	return set_sqlstate(e, "BF020");
}

static void read_key(const PGresult *rows, struct keyset *k)
{
	static const char IN_CATALOG[] = "OPERATOR(pg_catalog.";

	k->count = PQntuples(rows);
	k->index_oid = (uint32_t)pgc_int(rows, 0, 0);
	k->row_comparison = 1;
	for (int i = 0; i < k->count; i++) {
		struct keyset_column *c = &k->columns[i];

		c->name = mem_strdup(pgc_text(rows, i, 2));
		c->type = mem_strdup(pgc_text(rows, i, 3));
		c->collate = mem_strdup(pgc_text(rows, i, 4));
		c->less = mem_strdup(pgc_text(rows, i, 5));
		c->less_equal = mem_strdup(pgc_text(rows, i, 6));
		c->equal = mem_strdup(pgc_text(rows, i, 7));
		c->greater_equal = mem_strdup(pgc_text(rows, i, 8));
		c->greater = mem_strdup(pgc_text(rows, i, 9));
		c->nulls = mem_strdup(pgc_text(rows, i, 10));
		if (pgc_bool(rows, i, 11) ||
			strncmp(c->greater, IN_CATALOG, strlen(IN_CATALOG)) !=
				0 ||
			strcmp(c->greater, k->columns[0].greater) != 0 ||
			strcmp(c->less_equal, k->columns[0].less_equal) != 0) {
			k->row_comparison = 0;
		}
	}
}

static int check_set_columns(
	const PGresult *key_rows, const struct setlist *columns, struct err *e)
{
	for (int i = 0; i < PQntuples(key_rows); i++) {
		for (size_t n = 0; n < columns->count; n++) {
			if (strcmp(pgc_text(key_rows, i, 1),
				    columns->columns[n]) != 0) {
				continue;
			}
			err_set(e, BFE_SQL,
				"set_clause assigns key column \"%s\"",
				columns->columns[n]);
			err_set_detail(e,
				"The job walks the table by this column: a row"
				" whose key changes would be met twice or not"
				" at all.");
			err_set_hint(e,
				"Name the columns of another unique"
				" index in key_columns.");
			return set_sqlstate(e, "BF021");
		}
	}
	return 0;
}

int catalog_read_describe(const struct pgc_request *r, const struct work_job *j,
	const struct setlist *columns, struct keyset *k, struct err *e)
{
	const PGresult *relation = pgc_result(r, DESCRIBE_RELATION);
	const PGresult *key = pgc_result(r, DESCRIBE_KEY);

	if (check_relation(relation, e) != 0) {
		return e->code;
	}
	if (PQntuples(key) == 0) {
		return refuse_key(relation, j, e);
	}
	if (check_set_columns(key, columns, e) != 0) {
		return e->code;
	}
	k->table = mem_strdup(pgc_text(relation, 0, 2));
	k->relation = mem_strdup(pgc_text(relation, 0, 3));
	k->set_clause = mem_strdup(j->set_clause);
	k->where_clause = mem_strdup(j->where_clause);
	k->lock_for_update = pgc_bool(pgc_result(r, DESCRIBE_UNIQUE), 0, 0);
	read_key(key, k);
	keyset_choose_prefix(k);
	return 0;
}
