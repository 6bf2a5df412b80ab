/* The part of catalog_describe() that looks at what hangs on the table. */

#include "catalog_internal.h"

#include <string.h>

#include "base/mem.h"

/* $1: OID, $2: whether the job deletes, $3: columns that SET names; none for
 * a delete. The columns that change: those, and the generated ones that
 * depend on them (by: on which). Up to version 14 the column itself has the
 * dependency, later its pg_attrdef. */
#define WITH_CHANGED                                                           \
	"WITH RECURSIVE changed AS (\n"                                        \
	"	SELECT a.attnum, a.attname, NULL::name AS by\n"                      \
	"	FROM pg_attribute a\n"                                               \
	"	WHERE a.attrelid = $1::oid AND a.attnum > 0\n"                       \
	"	AND NOT $2::boolean AND a.attname = ANY ($3::text[])\n"              \
	"	UNION ALL SELECT g.attnum, g.attname, a.attname\n"                   \
	"	FROM pg_depend d\n"                                                  \
	"	JOIN pg_attribute a ON a.attrelid = d.refobjid\n"                    \
	"	AND a.attnum = d.refobjsubid\n"                                      \
	"	JOIN pg_attribute g ON g.attrelid = d.refobjid\n"                    \
	"	AND g.attgenerated <> '' AND g.attnum <> a.attnum\n"                 \
	"	LEFT JOIN pg_attrdef f ON f.adrelid = g.attrelid\n"                  \
	"	AND f.adnum = g.attnum\n"                                            \
	"	WHERE d.refclassid = 'pg_class'::regclass\n"                         \
	"	AND d.refobjid = $1::oid\n"                                          \
	"	AND (d.classid, d.objid, d.objsubid) IN (\n"                         \
	"	('pg_class'::regclass, g.attrelid, g.attnum),\n"                     \
	"	('pg_attrdef'::regclass, f.oid, 0))\n"                               \
	"	AND NOT $2::boolean AND a.attname = ANY ($3::text[]))"

static const char RULES_SQL[] =
	"SELECT r.rulename, quote_ident(r.rulename) FROM pg_rewrite r\n"
	"WHERE r.ev_class = $1::oid AND r.ev_enabled IN ('O', 'A')\n"
	"	AND r.ev_type = CASE WHEN $2::boolean THEN '4' ELSE '2' END\n"
	"ORDER BY r.rulename LIMIT 1";

static const char GENERATED_SQL[] = WITH_CHANGED
	"\nSELECT c.attname, c.by FROM changed c WHERE c.by IS NOT NULL";

/* Row locks of an UPDATE exclude FOR KEY SHARE when it changes a column of
 * a unique index that a foreign key could refer to: ours must, too. A change
 * of what any unique index or exclusion constraint holds waits for whoever
 * inserts the same. */
static const char INDEXES_SQL[] = WITH_CHANGED
	"\nSELECT quote_ident(x.relname),\n"
	"	i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL\n"
	"		AND bool_or(c.attnum = ANY (k.key)),\n"
	"	(i.indisunique OR i.indisexclusion) AND bool_or(\n"
	"		c.attnum = ANY (k.key)\n"
	"		OR c.attnum <> ALL (i.indkey)),\n"
	"	m.amname <> 'brin' OR\n"
	"	current_setting('server_version_num')::int < 160000\n"
	"FROM pg_index i\n"
	"JOIN pg_class x ON x.oid = i.indexrelid\n"
	"JOIN pg_am m ON m.oid = x.relam\n"
	"CROSS JOIN LATERAL (\n"
	"	SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS key) k\n"
	"JOIN changed c ON c.attnum = ANY (i.indkey)\n"
	"	OR EXISTS (SELECT FROM pg_depend d\n"
	"		WHERE d.classid = 'pg_class'::regclass\n"
	"			AND d.objid = i.indexrelid\n"
	"			AND d.refclassid = 'pg_class'::regclass\n"
	"			AND d.refobjid = i.indrelid\n"
	"			AND d.refobjsubid = c.attnum)\n"
	"WHERE i.indrelid = $1::oid\n"
	"GROUP BY x.relname, i.indisunique, i.indisexclusion,\n"
	"	i.indpred IS NULL, i.indexprs IS NULL, m.amname\n"
	"ORDER BY x.relname";

/* tgtype: 1 row, 2 before, 8 delete, 16 update. */
static const char TRIGGERS_SQL[] = WITH_CHANGED
	"\nSELECT quote_ident(t.tgname),\n"
	"	CASE WHEN t.tgtype & 2 <> 0 THEN 'before' ELSE 'after' END\n"
	"	|| CASE WHEN t.tgtype & 1 <> 0 THEN ' each row'\n"
	"		ELSE ' each statement' END,\n"
	"	format('%I.%I()', n.nspname, p.proname),\n"
	"	t.tgtype & 3 = 3\n"
	"FROM pg_trigger t\n"
	"JOIN pg_proc p ON p.oid = t.tgfoid\n"
	"JOIN pg_namespace n ON n.oid = p.pronamespace\n"
	"WHERE t.tgrelid = $1::oid AND NOT t.tgisinternal\n"
	"	AND t.tgenabled IN ('O', 'A')\n"
	"	AND t.tgtype & CASE WHEN $2::boolean THEN 8 ELSE 16 END <> 0\n"
	"	AND (cardinality(t.tgattr::int2[]) = 0\n"
	"		OR EXISTS (SELECT FROM changed c\n"
	"			WHERE c.attnum = ANY (t.tgattr)))\n"
	"ORDER BY t.tgname";

static const char FOREIGN_OUT_SQL[] =
	WITH_CHANGED "\nSELECT quote_ident(k.conname),\n"
		     "	format('%I.%I', n.nspname, c.relname)\n"
		     "FROM pg_constraint k\n"
		     "JOIN pg_class c ON c.oid = k.confrelid\n"
		     "JOIN pg_namespace n ON n.oid = c.relnamespace\n"
		     "WHERE k.contype = 'f' AND k.conrelid = $1::oid\n"
		     "	AND EXISTS (SELECT FROM changed a\n"
		     "		WHERE a.attnum = ANY (k.conkey))\n"
		     "	AND NOT EXISTS (SELECT FROM pg_constraint p\n"
		     "		WHERE p.oid = k.conparentid\n"
		     "			AND p.conrelid = k.conrelid)\n"
		     "ORDER BY k.conname";

/* The foreign keys that refer to what changes, for a delete those of the
 * rows that it cascades to, too. A row per table that holds rows: of a
 * partitioned child its leaves. An index helps when it begins with the
 * referring columns, in any order, and leaves out at most their nulls. */
static const char FOREIGN_IN_SQL[] = WITH_CHANGED
	", inbound AS (\n"
	"	SELECT k.oid, k.conname, k.conrelid, k.confrelid, k.conkey,\n"
	"		k.conparentid, CASE WHEN $2::boolean\n"
	"			THEN k.confdeltype ELSE k.confupdtype END\n"
	"			AS action\n"
	"	FROM pg_constraint k\n"
	"	WHERE k.contype = 'f' AND k.confrelid = $1::oid\n"
	"		AND ($2::boolean OR EXISTS (SELECT FROM changed a\n"
	"			WHERE a.attnum = ANY (k.confkey)))\n"
	"	UNION SELECT k.oid, k.conname, k.conrelid, k.confrelid,\n"
	"		k.conkey, k.conparentid, k.confdeltype\n"
	"	FROM inbound i\n"
	"	JOIN pg_constraint k ON k.contype = 'f'\n"
	"		AND k.confrelid = i.conrelid\n"
	"	WHERE $2::boolean AND i.action = 'c'),\n"
	"leaves AS (\n"
	"	SELECT i.*, l.oid AS leaf FROM inbound i\n"
	"	JOIN pg_class c ON c.oid = i.conrelid\n"
	"	CROSS JOIN LATERAL (\n"
	"		SELECT c.oid WHERE c.relkind <> 'p'\n"
	"		UNION ALL\n"
	"		SELECT t.relid FROM pg_partition_tree(c.oid) t\n"
	"		WHERE c.relkind = 'p' AND t.isleaf) l\n"
	"	WHERE NOT EXISTS (SELECT FROM pg_constraint p\n"
	"		WHERE p.oid = i.conparentid\n"
	"			AND p.confrelid = i.confrelid)),\n"
	"indexes AS (\n"
	"	SELECT x.indrelid, k.names,\n"
	"		pg_get_expr(x.indpred, x.indrelid) AS predicate\n"
	"	FROM pg_index x\n"
	"	JOIN pg_class r ON r.oid = x.indexrelid\n"
	"	JOIN pg_am m ON m.oid = r.relam\n"
	"	CROSS JOIN LATERAL (\n"
	"		SELECT size, array_agg(a.attname ORDER BY a.attname)\n"
	"			AS names\n"
	"		FROM generate_series(1, x.indnkeyatts) size\n"
	"		JOIN generate_series(0, size - 1) g ON true\n"
	"		JOIN pg_attribute a ON a.attrelid = x.indrelid\n"
	"			AND a.attnum = x.indkey[g]\n"
	"		GROUP BY size HAVING count(*) = size) k\n"
	"	WHERE x.indrelid IN (SELECT l.leaf FROM leaves l)\n"
	"		AND x.indisvalid AND x.indisready AND x.indislive\n"
	"		AND m.amname IN ('btree', 'hash'))\n"
	"SELECT quote_ident(l.conname),\n"
	"	format('%I.%I', n.nspname, c.relname),\n"
	"	array_to_string(k.quoted, ', '), l.action,\n"
	"	l.conrelid = $1::oid AND l.confrelid = $1::oid,\n"
	"	EXISTS (SELECT FROM indexes x\n"
	"		WHERE x.indrelid = l.leaf AND x.names = k.names\n"
	"			AND (x.predicate IS NULL OR x.predicate IN (\n"
	"				SELECT format('(%s IS NOT NULL)', u)\n"
	"				FROM unnest(k.quoted) u)))\n"
	"FROM leaves l\n"
	"JOIN pg_class c ON c.oid = l.leaf\n"
	"JOIN pg_namespace n ON n.oid = c.relnamespace\n"
	"CROSS JOIN LATERAL (\n"
	"	SELECT array_agg(quote_ident(a.attname) ORDER BY u.at)\n"
	"			AS quoted,\n"
	"		array_agg(a.attname ORDER BY a.attname) AS names\n"
	"	FROM unnest(l.conkey) WITH ORDINALITY u (attnum, at)\n"
	"	JOIN pg_attribute a ON a.attrelid = l.conrelid\n"
	"		AND a.attnum = u.attnum) k\n"
	"ORDER BY l.conname, 2";

enum { RULES, GENERATED, INDEXES, TRIGGERS, FOREIGN_OUT, FOREIGN_IN };
_Static_assert(FOREIGN_IN == CATALOG_FACTS - 1, "all results");

void catalog_add_facts(
	struct pgc_request *r, const struct catalog_values *values)
{
	const char *const texts[] = { values->oid, values->is_delete,
		values->columns };

	pgc_add_params(r, RULES_SQL, 2, texts);
	pgc_add_params(r, GENERATED_SQL, 3, texts);
	pgc_add_params(r, INDEXES_SQL, 3, texts);
	pgc_add_params(r, TRIGGERS_SQL, 3, texts);
	pgc_add_params(r, FOREIGN_OUT_SQL, 3, texts);
	pgc_add_params(r, FOREIGN_IN_SQL, 3, texts);
}

/* ---- what refuses the job ---- */

int catalog_read_rules(const struct pgc_request *r, int first,
	const struct keyset *k, struct err *e)
{
	const PGresult *rules = pgc_result(r, first + RULES);

	if (PQntuples(rules) == 0) {
		return 0;
	}
	err_set(e, BFE_SQL, "table %s has a rule \"%s\" ON %s", k->table,
		pgc_text(rules, 0, 0), k->is_delete ? "DELETE" : "UPDATE");
	err_set_detail(e,
		"A rule puts other statements in the place of a batch, which"
		" could not tell what became of its rows.");
	err_set_hint(e,
		"Use a trigger instead, or disable the rule while the job runs"
		" (ALTER TABLE %s DISABLE RULE %s).",
		k->table, pgc_text(rules, 0, 1));
	return catalog_set_sqlstate(e, "0A000");
}

static int check_generated_key(
	const PGresult *generated, const PGresult *key, struct err *e)
{
	for (int i = 0; i < PQntuples(generated); i++) {
		const char *column = pgc_text(generated, i, 0);

		if (!catalog_is_key_column(key, column)) {
			continue;
		}
		err_set(e, BFE_SQL,
			"set_clause assigns column \"%s\", from which key"
			" column \"%s\" is generated",
			pgc_text(generated, i, 1), column);
		err_set_detail(e,
			"The job walks the table by this key: a row whose key"
			" changes would be met twice or not at all.");
		err_set_hint(e,
			"Name the columns of another unique index in"
			" key_columns.");
		return catalog_set_sqlstate(e, "BF021");
	}
	return 0;
}

enum { IN_NAME, IN_TABLE, IN_COLUMNS, IN_ACTION, IN_IS_SELF, IN_HAS_INDEX };

static const char *name_of_action(const PGresult *in, int row)
{
	switch (pgc_text(in, row, IN_ACTION)[0]) {
	case 'c':
		return "CASCADE";
	case 'n':
		return "SET NULL";
	case 'd':
		return "SET DEFAULT";
	case 'r':
		return "RESTRICT";
	default:
		return "NO ACTION";
	}
}

static int reaches_rows(const PGresult *in, int row)
{
	return strchr("cnd", pgc_text(in, row, IN_ACTION)[0]) != NULL;
}

/* Each deleted row would cost a full scan, under row locks. */
static int check_cascades(const PGresult *in, struct err *e)
{
	for (int i = 0; i < PQntuples(in); i++) {
		const char *table = pgc_text(in, i, IN_TABLE);
		const char *columns = pgc_text(in, i, IN_COLUMNS);

		if (pgc_bool(in, i, IN_HAS_INDEX) || !reaches_rows(in, i)) {
			continue;
		}
		err_set(e, BFE_SQL,
			"foreign key %s of table %s has no index on (%s)",
			pgc_text(in, i, IN_NAME), table, columns);
		err_set_detail(e,
			"It is ON DELETE %s: for each row that the job deletes"
			" the whole of %s would be read.",
			name_of_action(in, i), table);
		err_set_hint(e, "CREATE INDEX CONCURRENTLY ON %s (%s);", table,
			columns);
		return catalog_set_sqlstate(e, "BF030");
	}
	return 0;
}

/* Rows of the table itself would go, and not into the archive. */
static int check_archived_cascade(
	const PGresult *in, const struct keyset *k, struct err *e)
{
	for (int i = 0; i < PQntuples(in); i++) {
		if (pgc_text(in, i, IN_ACTION)[0] == 'c' &&
			strcmp(pgc_text(in, i, IN_TABLE), k->table) == 0) {
			err_set(e, BFE_SQL,
				"foreign key %s deletes rows of table %s"
				" without archiving them",
				pgc_text(in, i, IN_NAME), k->table);
			err_set_detail(e, "It is ON DELETE CASCADE.");
			return catalog_set_sqlstate(e, "0A000");
		}
	}
	return 0;
}

/* ---- what people should know ---- */

static void tell_triggers(const PGresult *triggers, struct preflight *p)
{
	struct text before;

	text_init(&before);
	for (int i = 0; i < PQntuples(triggers); i++) {
		const char *name = pgc_text(triggers, i, 0);

		preflight_tell(p, "trigger %s fires %s: %s", name,
			pgc_text(triggers, i, 1), pgc_text(triggers, i, 2));
		if (pgc_bool(triggers, i, 3)) {
			text_addf(&before, "%s%s",
				before.length > 0 ? ", " : "", name);
		}
	}
	if (before.length > 0) {
		p->before_triggers = text_take(&before);
	} else {
		text_close(&before);
	}
}

static void tell_foreign_out(const PGresult *out, struct preflight *p)
{
	for (int i = 0; i < PQntuples(out); i++) {
		preflight_tell(p,
			"foreign key %s is checked for each changed row, in"
			" %s",
			pgc_text(out, i, 0), pgc_text(out, i, 1));
	}
}

static void tell_foreign_in(
	const PGresult *in, const struct keyset *k, struct preflight *p)
{
	for (int i = 0; i < PQntuples(in); i++) {
		const char *name = pgc_text(in, i, IN_NAME);
		const char *table = pgc_text(in, i, IN_TABLE);

		preflight_tell(p,
			"foreign key %s of %s refers to what the job %s: ON %s"
			" %s%s",
			name, table, k->is_delete ? "deletes" : "changes",
			k->is_delete ? "DELETE" : "UPDATE",
			name_of_action(in, i),
			k->archive_oid != 0 &&
					pgc_text(in, i, IN_ACTION)[0] == 'c'
				? "; what it deletes is not archived"
				: "");
		if (!pgc_bool(in, i, IN_HAS_INDEX)) {
			preflight_tell(p,
				"foreign key %s of %s has no index on (%s):"
				" the whole table is read for each row; CREATE"
				" INDEX CONCURRENTLY ON %s (%s) before",
				name, table, pgc_text(in, i, IN_COLUMNS), table,
				pgc_text(in, i, IN_COLUMNS));
		}
		if (k->is_delete && pgc_bool(in, i, IN_IS_SELF)) {
			p->refers_to_itself |= !reaches_rows(in, i);
			preflight_tell(p,
				"foreign key %s refers to the table itself: %s",
				name,
				reaches_rows(in, i)
					? "a batch also reaches rows beyond"
					  " its window"
					: "a row cannot be deleted before"
					  " those that refer to it");
		}
	}
}

static void tell_indexes(
	const PGresult *indexes, const struct keyset *k, struct preflight *p)
{
	struct text names;

	text_init(&names);
	for (int i = 0; i < PQntuples(indexes); i++) {
		if (pgc_bool(indexes, i, 3)) {
			text_addf(&names, "%s%s", names.length > 0 ? ", " : "",
				pgc_text(indexes, i, 0));
		}
	}
	if (names.length > 0) {
		preflight_tell(p,
			"no HOT updates: SET changes what these indexes hold:"
			" %s",
			names.data);
	} else if (!k->is_delete && p->fillfactor == 100) {
		preflight_tell(p,
			"HOT updates are possible, but fillfactor is 100: free"
			" space is found on other pages only; ALTER TABLE %s"
			" SET (fillfactor = 90) counts for pages written from"
			" then on",
			k->table);
	}
	text_close(&names);
	if (k->lock_for_update && !k->is_delete) {
		preflight_tell(p,
			"SET names a column of a unique index: foreign key"
			" checks of others wait for the batch that has their"
			" row");
	}
}

/* Beyond the rows that it skips when they are locked. Triggers may do
 * anything; so may what the clauses call, which catalog_read_calls() adds.
 * lock_timeout would end such a wait too late: by then the server has looked
 * for a deadlock, and may have chosen the other as its victim. */
static int may_wait(const struct pgc_request *r, int first, int sets_unique)
{
	return sets_unique || PQntuples(pgc_result(r, first + TRIGGERS)) > 0 ||
		PQntuples(pgc_result(r, first + FOREIGN_OUT)) > 0 ||
		PQntuples(pgc_result(r, first + FOREIGN_IN)) > 0;
}

int catalog_read_facts(const struct pgc_request *r, int first,
	const PGresult *key, struct keyset *k, struct preflight *p,
	struct err *e)
{
	const PGresult *indexes = pgc_result(r, first + INDEXES);
	const PGresult *in = pgc_result(r, first + FOREIGN_IN);
	int sets_unique = 0;

	if (check_generated_key(pgc_result(r, first + GENERATED), key, e) !=
		0) {
		return e->code;
	}
	if (k->is_delete && check_cascades(in, e) != 0) {
		return e->code;
	}
	if (k->archive_oid != 0 && check_archived_cascade(in, k, e) != 0) {
		return e->code;
	}
	k->lock_for_update = k->is_delete;
	for (int i = 0; i < PQntuples(indexes); i++) {
		k->lock_for_update |= pgc_bool(indexes, i, 1);
		sets_unique |= pgc_bool(indexes, i, 2);
	}
	p->may_wait = may_wait(r, first, sets_unique);
	tell_triggers(pgc_result(r, first + TRIGGERS), p);
	tell_foreign_out(pgc_result(r, first + FOREIGN_OUT), p);
	tell_foreign_in(in, k, p);
	tell_indexes(indexes, k, p);
	return 0;
}
