#include "catalog_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char CATALOG_PATH_SQL[] =
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',"
	" false)";

/* $1: OID. One row. */
static const char RELATION_SQL[] =
	"SELECT c.relkind, row_security_active(c.oid),\n"
	"	format('%I.%I', n.nspname, c.relname), "
	"quote_ident(c.relname),\n"
	"	n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast',\n"
	"		'backfill'),\n"
	"	EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid),\n"
	"	c.relname, s.pages,\n"
	"	c.reltuples < 0\n"
	"		OR c.reltuples = 0 AND c.relpages = 0 AND s.pages > "
	"0,\n"
	"	coalesce((SELECT o.option_value\n"
	"		FROM pg_options_to_table(c.reloptions) o\n"
	"		WHERE o.option_name = 'fillfactor'), '100'),\n"
	"	pg_stat_get_tuples_updated(c.oid),\n"
	"	pg_stat_get_tuples_hot_updated(c.oid)\n"
	"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n"
	"CROSS JOIN LATERAL (SELECT pg_relation_size(c.oid)\n"
	"	/ current_setting('block_size')::bigint AS pages) s\n"
	"WHERE c.oid = $1::oid";

enum {
	RELATION_KIND,
	RELATION_HAS_POLICIES,
	RELATION_TABLE,
	RELATION_QUOTED,
	RELATION_IS_SYSTEM,
	RELATION_HAS_CHILDREN,
	RELATION_NAME,
	RELATION_PAGES,
	RELATION_NEVER_ANALYZED,
	RELATION_FILLFACTOR,
	RELATION_UPDATED,
	RELATION_UPDATED_HOT
};

/* Of fewer updates a share says little. */
enum { TELLING_UPDATES = 1000 };

/* ---- 1 ---- */

enum { RESOLVE_OID = 1, RESOLVE_ARCHIVE = 2 };

struct pgc_request *catalog_resolve(const struct work_job *j)
{
	struct pgc_request *r = pgc_request_new(CATALOG_DEADLINE_MS);
	static const char sql[] =
		"SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
	const char *const target[] = { j->target };
	const char *const archive[] = { j->archive_table };

	work_add_surroundings(r, j);
	pgc_add_params(r, sql, 1, target);
	pgc_add_params(r, sql, 1, archive);
	return r;
}

int catalog_read_resolve(const struct pgc_request *r, const struct work_job *j,
	struct keyset *k, struct err *e)
{
	const PGresult *target = pgc_result(r, RESOLVE_OID);
	const PGresult *archive = pgc_result(r, RESOLVE_ARCHIVE);

	if (pgc_is_null(target, 0, 0)) {
		err_set(e, BFE_SQL, "relation \"%s\" does not exist",
			j->target);
		err_set_hint(e,
			"Create the table, then submit the job anew; its"
			" search_path is %s.",
			j->search_path);
		return catalog_set_sqlstate(e, "42P01");
	}
	if (j->archive_table != NULL && pgc_is_null(archive, 0, 0)) {
		err_set(e, BFE_SQL, "archive table \"%s\" does not exist",
			j->archive_table);
		err_set_hint(e,
			"Create it with the columns of %s, then call"
			" backfill.retry(job); its search_path is %s.",
			j->target, j->search_path);
		return catalog_set_sqlstate(e, "42P01");
	}
	k->table_oid = (uint32_t)pgc_int(target, 0, 0);
	k->archive_oid = (uint32_t)pgc_int(archive, 0, 0);
	return 0;
}

/* ---- 2 ---- */

enum {
	DESCRIBE_CALLS = 0,
	DESCRIBE_RELATION = 2,
	DESCRIBE_KEY = 3,
	DESCRIBE_FACTS = 4,
	DESCRIBE_ARCHIVE = DESCRIBE_FACTS + CATALOG_FACTS
};

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

struct pgc_request *catalog_describe(const struct work_job *j,
	const struct keyset *k, const struct setlist *columns)
{
	struct pgc_request *r = pgc_request_new(CATALOG_DEADLINE_MS);
	char *names = format_names(columns);
	char oid_text[16];
	const char *key_values[] = { oid_text, j->key_columns };
	const struct catalog_values values = {
		.oid = oid_text,
		.is_delete = j->is_delete ? "t" : "f",
		.columns = names,
	};

	(void)snprintf(oid_text, sizeof oid_text, "%" PRIu32, k->table_oid);
	catalog_add_calls(r, j);
	pgc_add(r, CATALOG_PATH_SQL);
	pgc_add_params(r, RELATION_SQL, 1, key_values);
	catalog_add_key(r, key_values);
	catalog_add_facts(r, &values);
	if (k->archive_oid != 0) {
		catalog_add_archive(r, k);
	}
	free(names);
	return r;
}

int catalog_set_sqlstate(struct err *e, const char *sqlstate)
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
	const char *table = pgc_text(row, 0, RELATION_TABLE);

	err_set(e, BFE_SQL, "%s is not a table", table);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (kinds[i].relkind == pgc_text(row, 0, RELATION_KIND)[0]) {
			err_set_detail(e, "It is %s.", kinds[i].name);
			err_set_hint(e, "%s", kinds[i].hint);
		}
	}
	return catalog_set_sqlstate(e, "42809");
}

static int check_relation(const PGresult *row, int is_delete, struct err *e)
{
	const char *table = pgc_text(row, 0, RELATION_TABLE);
	char relkind = pgc_text(row, 0, RELATION_KIND)[0];

	if (PQntuples(row) == 0) {
		err_set(e, BFE_SQL, "the table was dropped meanwhile");
		return catalog_set_sqlstate(e, "42P01");
	}
	if (relkind == 'p') {
		err_set(e, BFE_SQL, "%s is a partitioned table", table);
		err_set_hint(e, "Submit a job for each of its partitions.");
		return catalog_set_sqlstate(e, "0A000");
	}
	if (relkind != 'r') {
		return refuse_kind(row, e);
	}
	if (pgc_bool(row, 0, RELATION_IS_SYSTEM)) {
		err_set(e, BFE_SQL, "%s is a system table", table);
		err_set_hint(e, "Name a table of your own.");
		return catalog_set_sqlstate(e, "42809");
	}
	if (pgc_bool(row, 0, RELATION_HAS_CHILDREN)) {
		err_set(e, BFE_SQL, "%s has inheritance children", table);
		err_set_detail(e,
			"A key may stand in the parent and in a child, so one"
			" walk cannot serve both.");
		err_set_hint(e,
			"Submit a job for each child; the parent's own"
			" rows need %s ONLY.",
			is_delete ? "a DELETE" : "an UPDATE");
		return catalog_set_sqlstate(e, "0A000");
	}
	if (pgc_bool(row, 0, RELATION_HAS_POLICIES)) {
		err_set(e, BFE_SQL,
			"query would be affected by row-level security policy"
			" for table \"%s\"",
			pgc_text(row, 0, RELATION_NAME));
		err_set_detail(e,
			"Policies would hide rows from the job without a"
			" word.");
		err_set_hint(e,
			"Let the job run as the table's owner, unless row-level"
			" security is forced on it, or as a role with"
			" BYPASSRLS.");
		return catalog_set_sqlstate(e, "42501");
	}
	return 0;
}

/* What the applications' updates found is what the job's may find. */
static void tell_hot_updates(
	const PGresult *relation, const struct keyset *k, struct preflight *p)
{
	int64_t updated = pgc_int(relation, 0, RELATION_UPDATED);
	int64_t hot = pgc_int(relation, 0, RELATION_UPDATED_HOT);

	if (!k->is_delete && updated >= TELLING_UPDATES) {
		preflight_tell(p,
			"of %" PRId64 " updates of %s so far %d%% were HOT"
			" (pg_stat_user_tables)",
			updated, k->table,
			(int)(100.0 * (double)hot / (double)updated));
	}
}

int catalog_read_describe(const struct pgc_request *r, const struct work_job *j,
	const struct setlist *columns, struct keyset *k, struct preflight *p,
	struct err *e)
{
	const PGresult *relation = pgc_result(r, DESCRIBE_RELATION);
	const PGresult *key = pgc_result(r, DESCRIBE_KEY);

	if (check_relation(relation, j->is_delete, e) != 0) {
		return e->code;
	}
	k->table = mem_strdup(pgc_text(relation, 0, RELATION_TABLE));
	k->relation = mem_strdup(pgc_text(relation, 0, RELATION_QUOTED));
	k->is_delete = j->is_delete;
	k->set_clause = mem_strdup(j->set_clause);
	k->from_clause = mem_strdup(j->from_clause);
	k->where_clause = mem_strdup(j->where_clause);
	if (catalog_read_rules(r, DESCRIBE_FACTS, k, e) != 0 ||
		catalog_read_key(key, j, columns, k, p, e) != 0) {
		return e->code;
	}
	keyset_choose_prefix(k);
	p->pages = pgc_int(relation, 0, RELATION_PAGES);
	p->fillfactor = (int)pgc_int(relation, 0, RELATION_FILLFACTOR);
	if (pgc_bool(relation, 0, RELATION_NEVER_ANALYZED)) {
		preflight_tell(p,
			"%s was never analyzed: the planner does not know how"
			" many rows it has; ANALYZE %s",
			k->table, k->table);
	}
	if (catalog_read_facts(r, DESCRIBE_FACTS, key, k, p, e) != 0) {
		return e->code;
	}
	tell_hot_updates(relation, k, p);
	catalog_read_calls(r, DESCRIBE_CALLS, j, p);
	return k->archive_oid != 0
		? catalog_read_archive(r, DESCRIBE_ARCHIVE, k, p, e)
		: 0;
}
