/* The part of catalog_describe() that finds the key. */

#include "catalog_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

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
 * operator"). The signature is what the order depends on beside the column's
 * type; up to version 14 the default collation has no version of its own,
 * but others of its library have. */
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
	"	p.is_ambiguous,\n"
	"	quote_ident(x.relname), quote_ident(a.attname),\n"
	"	format('%I %I.%I', a.attname, cn.nspname, c.opcname)\n"
	"	|| CASE WHEN l.oid IS NULL THEN ''\n"
	"		ELSE format(' COLLATE %I.%I', ln.nspname, l.collname)\n"
	"		END\n"
	"	|| CASE WHEN l.collprovider = 'd'\n"
	"		THEN ' (' || d.datcollate || ')' ELSE '' END\n"
	"	|| coalesce(' ' || pg_collation_actual_version(l.oid),\n"
	"		CASE WHEN l.collprovider = 'd' THEN (SELECT ' ' ||\n"
	"			max(pg_collation_actual_version(v.oid))\n"
	"			FROM pg_collation v\n"
	"			WHERE v.collprovider = 'c'\n"
	"			AND v.collcollate = d.datcollate) END, '')\n"
	"	|| CASE WHEN u.indoption[n] & 1 <> 0\n"
	"		THEN ' DESC' ELSE '' END\n"
	"	|| CASE WHEN u.indoption[n] & 2 <> 0\n"
	"		THEN ' NULLS FIRST' ELSE '' END\n"
	"FROM usable u\n"
	"JOIN pg_class x ON x.oid = u.indexrelid\n"
	"JOIN pg_database d ON d.datname = current_database()\n"
	"CROSS JOIN generate_series(0, u.indnkeyatts - 1) n\n"
	"JOIN pg_attribute a ON a.attrelid = u.indrelid\n"
	"	AND a.attnum = u.indkey[n]\n"
	"JOIN pg_opclass c ON c.oid = u.indclass[n]\n"
	"JOIN pg_namespace cn ON cn.oid = c.opcnamespace\n"
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

enum {
	KEY_INDEX_OID,
	KEY_ATTRIBUTE,
	KEY_NAME,
	KEY_TYPE,
	KEY_COLLATE,
	KEY_LESS,
	KEY_LESS_EQUAL,
	KEY_EQUAL,
	KEY_GREATER_EQUAL,
	KEY_GREATER,
	KEY_NULLS,
	KEY_IS_AMBIGUOUS,
	KEY_INDEX,
	KEY_QUOTED,
	KEY_SIGNATURE
};

void catalog_add_key(struct pgc_request *r, const char *const values[])
{
	pgc_add_params(r, KEY_SQL, 2, values);
}

int catalog_is_key_column(const PGresult *key, const char *name)
{
	for (int i = 0; i < PQntuples(key); i++) {
		if (strcmp(pgc_text(key, i, KEY_ATTRIBUTE), name) == 0) {
			return 1;
		}
	}
	return 0;
}

static int refuse_key(
	const struct keyset *k, const struct work_job *j, struct err *e)
{
	const char *table = k->table;

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
	return catalog_set_sqlstate(e, "BF020");
}

static int check_set_columns(
	const PGresult *key, const struct setlist *columns, struct err *e)
{
	for (size_t i = 0; i < columns->count; i++) {
		if (!catalog_is_key_column(key, columns->columns[i])) {
			continue;
		}
		err_set(e, BFE_SQL, "set_clause assigns key column \"%s\"",
			columns->columns[i]);
		err_set_detail(e,
			"The job walks the table by this column: a row whose"
			" key changes would be met twice or not at all.");
		err_set_hint(e,
			"Name the columns of another unique index in"
			" key_columns.");
		return catalog_set_sqlstate(e, "BF021");
	}
	return 0;
}

static void read_key(const PGresult *rows, struct keyset *k)
{
	static const char IN_CATALOG[] = "OPERATOR(pg_catalog.";

	k->count = PQntuples(rows);
	k->index_oid = (uint32_t)pgc_int(rows, 0, KEY_INDEX_OID);
	k->row_comparison = 1;
	for (int i = 0; i < k->count; i++) {
		struct keyset_column *c = &k->columns[i];

		c->name = mem_strdup(pgc_text(rows, i, KEY_NAME));
		c->type = mem_strdup(pgc_text(rows, i, KEY_TYPE));
		c->collate = mem_strdup(pgc_text(rows, i, KEY_COLLATE));
		c->less = mem_strdup(pgc_text(rows, i, KEY_LESS));
		c->less_equal = mem_strdup(pgc_text(rows, i, KEY_LESS_EQUAL));
		c->equal = mem_strdup(pgc_text(rows, i, KEY_EQUAL));
		c->greater_equal =
			mem_strdup(pgc_text(rows, i, KEY_GREATER_EQUAL));
		c->greater = mem_strdup(pgc_text(rows, i, KEY_GREATER));
		c->nulls = mem_strdup(pgc_text(rows, i, KEY_NULLS));
		if (pgc_bool(rows, i, KEY_IS_AMBIGUOUS) ||
			strncmp(c->greater, IN_CATALOG, strlen(IN_CATALOG)) !=
				0 ||
			strcmp(c->greater, k->columns[0].greater) != 0 ||
			strcmp(c->less_equal, k->columns[0].less_equal) != 0) {
			k->row_comparison = 0;
		}
	}
}

static char *join(const PGresult *rows, int column, const char *between)
{
	struct text t;

	text_init(&t);
	for (int i = 0; i < PQntuples(rows); i++) {
		text_addf(&t, "%s%s", i > 0 ? between : "",
			pgc_text(rows, i, column));
	}
	return text_take(&t);
}

int catalog_read_key(const PGresult *rows, const struct work_job *j,
	const struct setlist *columns, struct keyset *k, struct preflight *p,
	struct err *e)
{
	char *names;

	if (PQntuples(rows) == 0) {
		return refuse_key(k, j, e);
	}
	if (check_set_columns(rows, columns, e) != 0) {
		return e->code;
	}
	read_key(rows, k);
	p->key_signature = join(rows, KEY_SIGNATURE, ", ");
	names = join(rows, KEY_QUOTED, ", ");
	preflight_tell(p, "%s is walked by its key (%s), index %s", k->table,
		names, pgc_text(rows, 0, KEY_INDEX));
	free(names);
	return 0;
}
