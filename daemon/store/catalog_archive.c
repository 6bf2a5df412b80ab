/* The part of catalog_describe() that looks at the table where deleted rows
 * go: whether it takes all of each row, for good. */

#include "catalog_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

/* $1: the archive, $2: the target. The columns of both by name. A generated
 * column of the target goes, too, where the archive has a plain one: it may
 * be looked for there. */
#define WITH_COLUMNS                                                           \
	"WITH RECURSIVE columns AS (\n"                                        \
	"	SELECT a.attnum, a.attname, a.attgenerated <> '' AS "                \
	"is_made,\n"                                                           \
	"	b.attnum AS number_there, b.attgenerated <> '' AS "                  \
	"is_made_there,\n"                                                     \
	"	format_type(a.atttypid, a.atttypmod) AS type,\n"                     \
	"	format_type(b.atttypid, b.atttypmod) AS type_there\n"                \
	"	FROM pg_attribute a LEFT JOIN pg_attribute b\n"                      \
	"	ON b.attrelid = $1::oid AND b.attname = a.attname\n"                 \
	"	AND b.attnum > 0 AND NOT b.attisdropped\n"                           \
	"	WHERE a.attrelid = $2::oid AND a.attnum > 0\n"                       \
	"	AND NOT a.attisdropped)"

static const char COLUMNS_SQL[] =
	WITH_COLUMNS "\nSELECT quote_ident(c.attname) FROM columns c\n"
		     "WHERE NOT c.is_made_there ORDER BY c.attnum";

/* One row. tree: the archive with its partitions; tgtype: 1 row, 2 before, 4
 * insert. A row of a foreign partition commits by itself, one of an unlogged
 * table is gone after a crash. */
static const char ARCHIVE_SQL[] = WITH_COLUMNS
	", up AS (\n"
	"	SELECT h.inhparent AS oid FROM pg_inherits h\n"
	"	WHERE h.inhrelid = $2::oid\n"
	"	UNION SELECT h.inhparent FROM up u\n"
	"	JOIN pg_inherits h ON h.inhrelid = u.oid),\n"
	"down AS (\n"
	"	SELECT h.inhrelid AS oid FROM pg_inherits h\n"
	"	WHERE h.inhparent = $2::oid\n"
	"	UNION SELECT h.inhrelid FROM down d\n"
	"	JOIN pg_inherits h ON h.inhparent = d.oid),\n"
	"tree AS (\n"
	"	SELECT c.oid, c.relkind, c.relpersistence,\n"
	"	format('%I.%I', n.nspname, c.relname) AS name\n"
	"	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n"
	"	WHERE c.oid = $1::oid OR c.oid IN (\n"
	"	SELECT p.relid FROM pg_partition_tree($1::oid) p)),\n"
	"triggers AS (\n"
	"	SELECT DISTINCT quote_ident(g.tgname) AS name,\n"
	"	g.tgtype & 3 = 3 AS is_before\n"
	"	FROM pg_trigger g JOIN tree t ON t.oid = g.tgrelid\n"
	"	WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')\n"
	"	AND g.tgtype & 4 <> 0),\n"
	"missing AS (\n"
	"	SELECT c.* FROM columns c\n"
	"	WHERE c.number_there IS NULL AND NOT c.is_made)\n"
	"SELECT format('%I.%I', n.nspname, c.relname), c.relname, c.relkind,\n"
	"	n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast',\n"
	"	'backfill'),\n"
	"	row_security_active(c.oid),\n"
	"	CASE WHEN c.oid = $2::oid THEN 'the table itself'\n"
	"	WHEN c.oid IN (SELECT u.oid FROM up u) AND c.relkind = 'p'\n"
	"	THEN 'the partitioned table that it belongs to'\n"
	"	WHEN c.oid IN (SELECT u.oid FROM up u) THEN 'its parent'\n"
	"	WHEN c.oid IN (SELECT d.oid FROM down d) THEN 'its child' "
	"END,\n"
	"	(SELECT min(t.name) FROM tree t WHERE t.relkind = 'f'),\n"
	"	(SELECT min(t.name) FROM tree t WHERE t.relpersistence = 'u'\n"
	"	AND s.relpersistence <> 'u'),\n"
	"	(SELECT min(r.rulename) FROM pg_rewrite r\n"
	"	WHERE r.ev_class = c.oid AND r.ev_enabled IN ('O', 'A')\n"
	"	AND r.ev_type = '3'),\n"
	"	(SELECT string_agg(quote_ident(m.attname), ', '\n"
	"	ORDER BY m.attnum) FROM missing m),\n"
	"	(SELECT string_agg(format('ADD COLUMN %I %s', m.attname,\n"
	"	m.type), ', ' ORDER BY m.attnum) FROM missing m),\n"
	"	has_table_privilege(c.oid, 'INSERT') OR NOT EXISTS (\n"
	"	SELECT FROM columns k WHERE NOT k.is_made_there AND NOT\n"
	"	has_column_privilege(c.oid, k.number_there, 'INSERT')),\n"
	"	quote_ident(current_user),\n"
	"	(SELECT string_agg(format('%I is %s and %s there', k.attname,\n"
	"	k.type, k.type_there), ', ' ORDER BY k.attnum) FROM columns k\n"
	"	WHERE NOT k.is_made_there AND k.type <> k.type_there),\n"
	"	(SELECT string_agg(quote_ident(k.attname), ', '\n"
	"	ORDER BY k.attnum) FROM columns k\n"
	"	WHERE k.is_made_there AND NOT k.is_made),\n"
	"	EXISTS (SELECT FROM triggers) OR EXISTS (\n"
	"	SELECT FROM pg_constraint k JOIN tree t ON t.oid = k.conrelid\n"
	"	WHERE k.contype = 'f') OR EXISTS (\n"
	"	SELECT FROM pg_index i JOIN tree t ON t.oid = i.indrelid\n"
	"	WHERE i.indisunique OR i.indisexclusion),\n"
	"	(SELECT string_agg(g.name, ', ' ORDER BY g.name)\n"
	"	FROM triggers g),\n"
	"	(SELECT string_agg(g.name, ', ' ORDER BY g.name)\n"
	"	FROM triggers g WHERE g.is_before),\n"
	"	s.relnatts,\n"
	"	format('%I.%I', m.nspname, s.relname)\n"
	"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,\n"
	"	pg_class s JOIN pg_namespace m ON m.oid = s.relnamespace\n"
	"WHERE c.oid = $1::oid AND s.oid = $2::oid";

enum {
	ARCHIVE_TABLE,
	ARCHIVE_NAME,
	ARCHIVE_KIND,
	ARCHIVE_IS_SYSTEM,
	ARCHIVE_HAS_POLICIES,
	ARCHIVE_RELATION,
	ARCHIVE_FOREIGN,
	ARCHIVE_UNLOGGED,
	ARCHIVE_RULE,
	ARCHIVE_MISSING,
	ARCHIVE_ADD,
	ARCHIVE_MAY_INSERT,
	ARCHIVE_ROLE,
	ARCHIVE_OTHER_TYPES,
	ARCHIVE_MADE_THERE,
	ARCHIVE_MAY_WAIT,
	ARCHIVE_TRIGGERS,
	ARCHIVE_BEFORE,
	ARCHIVE_ATTRIBUTES,
	ARCHIVE_OF
};

enum { ROW, COLUMNS };

void catalog_add_archive(struct pgc_request *r, const struct keyset *k)
{
	char archive[16], table[16];
	const char *const values[] = { archive, table };

	(void)snprintf(archive, sizeof archive, "%" PRIu32, k->archive_oid);
	(void)snprintf(table, sizeof table, "%" PRIu32, k->table_oid);
	pgc_add_params(r, ARCHIVE_SQL, 2, values);
	pgc_add_params(r, COLUMNS_SQL, 2, values);
}

/* ---- what refuses the job ---- */

static int check_kind(const PGresult *row, struct err *e)
{
	const char *archive = pgc_text(row, 0, ARCHIVE_TABLE);
	char relkind = pgc_text(row, 0, ARCHIVE_KIND)[0];

	if (relkind != 'r' && relkind != 'p') {
		err_set(e, BFE_SQL, "archive_table: %s is not a table",
			archive);
		err_set_hint(e, "Name a table of this database.");
		return catalog_set_sqlstate(e, "42809");
	}
	if (pgc_bool(row, 0, ARCHIVE_IS_SYSTEM)) {
		err_set(e, BFE_SQL, "archive_table: %s is a system table",
			archive);
		err_set_hint(e, "Name a table of your own.");
		return catalog_set_sqlstate(e, "42809");
	}
	if (!pgc_is_null(row, 0, ARCHIVE_RELATION)) {
		err_set(e, BFE_SQL, "table %s cannot be the archive of %s",
			archive, pgc_text(row, 0, ARCHIVE_OF));
		err_set_detail(
			e, "It is %s.", pgc_text(row, 0, ARCHIVE_RELATION));
		err_set_hint(e, "Name a table that stands alone.");
		return catalog_set_sqlstate(e, "42P17");
	}
	return 0;
}

/* Whether a row that is there is as safe as it was. */
static int check_durability(const PGresult *row, struct err *e)
{
	if (!pgc_is_null(row, 0, ARCHIVE_FOREIGN)) {
		err_set(e, BFE_SQL,
			"archive table %s has a foreign table as partition",
			pgc_text(row, 0, ARCHIVE_TABLE));
		err_set_detail(e,
			"What goes into %s does not commit together with the"
			" delete.",
			pgc_text(row, 0, ARCHIVE_FOREIGN));
		err_set_hint(e, "Name a table of this database.");
		return catalog_set_sqlstate(e, "0A000");
	}
	if (!pgc_is_null(row, 0, ARCHIVE_UNLOGGED)) {
		err_set(e, BFE_SQL, "archive table %s is unlogged",
			pgc_text(row, 0, ARCHIVE_UNLOGGED));
		err_set_detail(e,
			"A crash of the server would empty it, when the rows"
			" are deleted.");
		err_set_hint(e, "ALTER TABLE %s SET LOGGED;",
			pgc_text(row, 0, ARCHIVE_UNLOGGED));
		return catalog_set_sqlstate(e, "0A000");
	}
	if (!pgc_is_null(row, 0, ARCHIVE_RULE)) {
		err_set(e, BFE_SQL,
			"archive table %s has a rule \"%s\" ON INSERT",
			pgc_text(row, 0, ARCHIVE_TABLE),
			pgc_text(row, 0, ARCHIVE_RULE));
		err_set_detail(e,
			"A rule puts other statements in the place of a batch,"
			" which could not tell what became of its rows.");
		err_set_hint(e, "Use a trigger instead.");
		return catalog_set_sqlstate(e, "0A000");
	}
	return 0;
}

static int check_columns(const PGresult *row, struct err *e)
{
	if (pgc_is_null(row, 0, ARCHIVE_MISSING)) {
		return 0;
	}
	err_set(e, BFE_SQL, "archive table %s lacks columns of table %s",
		pgc_text(row, 0, ARCHIVE_TABLE), pgc_text(row, 0, ARCHIVE_OF));
	err_set_detail(e, "It has no %s.", pgc_text(row, 0, ARCHIVE_MISSING));
	err_set_hint(e, "ALTER TABLE %s %s;", pgc_text(row, 0, ARCHIVE_TABLE),
		pgc_text(row, 0, ARCHIVE_ADD));
	return catalog_set_sqlstate(e, "42703");
}

static int check_rights(const PGresult *row, struct err *e)
{
	if (!pgc_bool(row, 0, ARCHIVE_MAY_INSERT)) {
		err_set(e, BFE_SQL, "permission denied for archive table %s",
			pgc_text(row, 0, ARCHIVE_TABLE));
		err_set_hint(e, "GRANT INSERT ON %s TO %s;",
			pgc_text(row, 0, ARCHIVE_TABLE),
			pgc_text(row, 0, ARCHIVE_ROLE));
		return catalog_set_sqlstate(e, "42501");
	}
	if (pgc_bool(row, 0, ARCHIVE_HAS_POLICIES)) {
		err_set(e, BFE_SQL,
			"query would be affected by row-level security policy"
			" for archive table \"%s\"",
			pgc_text(row, 0, ARCHIVE_NAME));
		err_set_hint(e,
			"Let the job run as the table's owner, unless row-level"
			" security is forced on it, or as a role with"
			" BYPASSRLS.");
		return catalog_set_sqlstate(e, "42501");
	}
	return 0;
}

/* ---- what people should know ---- */

static void tell(const PGresult *row, struct preflight *p)
{
	const char *archive = pgc_text(row, 0, ARCHIVE_TABLE);

	preflight_tell(p, "deleted rows go into %s", archive);
	if (!pgc_is_null(row, 0, ARCHIVE_TRIGGERS)) {
		preflight_tell(p, "triggers of %s fire for them: %s", archive,
			pgc_text(row, 0, ARCHIVE_TRIGGERS));
	}
	if (!pgc_is_null(row, 0, ARCHIVE_OTHER_TYPES)) {
		preflight_tell(p, "values are cast on their way into %s: %s",
			archive, pgc_text(row, 0, ARCHIVE_OTHER_TYPES));
	}
	if (!pgc_is_null(row, 0, ARCHIVE_MADE_THERE)) {
		preflight_tell(p,
			"%s generates columns whose values do not go there: %s",
			archive, pgc_text(row, 0, ARCHIVE_MADE_THERE));
	}
}

int catalog_read_archive(const struct pgc_request *r, int first,
	struct keyset *k, struct preflight *p, struct err *e)
{
	const PGresult *row = pgc_result(r, first + ROW);
	const PGresult *columns = pgc_result(r, first + COLUMNS);

	if (PQntuples(row) == 0) {
		err_set(e, BFE_SQL, "the archive table was dropped meanwhile");
		return catalog_set_sqlstate(e, "42P01");
	}
	if (check_kind(row, e) != 0 || check_durability(row, e) != 0 ||
		check_columns(row, e) != 0 || check_rights(row, e) != 0) {
		return e->code;
	}
	k->archive = mem_strdup(pgc_text(row, 0, ARCHIVE_TABLE));
	k->attributes = (int)pgc_int(row, 0, ARCHIVE_ATTRIBUTES);
	k->archive_count = PQntuples(columns);
	k->archive_columns =
		mem_new((size_t)k->archive_count, sizeof *k->archive_columns);
	for (int i = 0; i < k->archive_count; i++) {
		k->archive_columns[i] = mem_strdup(pgc_text(columns, i, 0));
	}
	/* Whoever inserts the same, or locks what the row refers to. */
	p->may_wait |= pgc_bool(row, 0, ARCHIVE_MAY_WAIT);
	if (!pgc_is_null(row, 0, ARCHIVE_BEFORE)) {
		p->archive_triggers =
			mem_strdup(pgc_text(row, 0, ARCHIVE_BEFORE));
	}
	tell(row, p);
	return 0;
}
