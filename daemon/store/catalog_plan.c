/* The round trips of a preflight (store/catalog.h) that look at a first
 * window of rows: how many matches they have, and how a batch reads them. */

#include "catalog_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* Until the end of the request, which is one transaction. */
static const char LOCAL_TIMEOUT_SQL[] =
	"SELECT pg_catalog.set_config('statement_timeout', '2000', true)";
static const char LOCAL_PATH_SQL[] =
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',"
	" true)";

/* For the session. Without sorting, a batch finds its order in the key's
 * index only. */
static const char KEEP_TO_KEY_SQL[] =
	"SELECT pg_catalog.set_config('enable_seqscan', 'off', false),"
	" pg_catalog.set_config('enable_sort', 'off', false)";

/* $1: a plan, $2: the table's OID, $3: the key index's. A row per scan of
 * the target, which only our own scans compare by tableoid: those of the
 * clauses are the submitter's affair. A bitmap scan has its conditions
 * below it. */
static const char SCANS_SQL[] =
	"SELECT n ->> 'Node Type' || ' on '\n"
	"		|| quote_ident(n ->> 'Relation Name'),\n"
	"	i.has_condition, i.is_key, i.names\n"
	"FROM jsonb_path_query($1::jsonb,\n"
	"	'strict $.** ? (exists (@.Filter))') n\n"
	"CROSS JOIN LATERAL (\n"
	"	SELECT count(b ->> 'Index Cond') > 0 AS has_condition,\n"
	"		bool_or(b ->> 'Index Name' = x.relname) AS is_key,\n"
	"		string_agg(DISTINCT quote_ident(\n"
	"			b ->> 'Index Name'), ', ') AS names\n"
	"	FROM jsonb_path_query(n, 'strict $.** ?\n"
	"		(exists (@.\"Index Name\"))') b\n"
	"	JOIN pg_class x ON x.oid = $3::oid) i\n"
	"WHERE strpos(n ->> 'Filter',\n"
	"	format('tableoid = %L::oid', $2::text)) > 0";

/* ---- several matches ---- */

struct pgc_request *catalog_sample(
	const struct keyset *k, const struct key *lo, const struct key *hi)
{
	struct pgc_request *r = pgc_request_new(CATALOG_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	keyset_matches_sql(k, &sql, lo, hi);
	pgc_add(r, LOCAL_TIMEOUT_SQL);
	pgc_add(r, sql.data);
	text_close(&sql);
	return r;
}

void catalog_read_sample(const struct pgc_request *r, const struct err *error,
	struct preflight *p)
{
	enum { SAMPLE = 1 };

	if (error != NULL) {
		preflight_tell(p,
			"whether a row has several matches in from_clause could"
			" not be looked at: %s",
			error->message);
	} else if (pgc_bool(pgc_result(r, SAMPLE), 0, 0)) {
		preflight_tell(p,
			"a row has several matches in from_clause: one of them"
			" is taken, no matter which");
	}
}

/* ---- the plan ---- */

struct pgc_request *catalog_plan(const struct keyset *k,
	const struct fence *fence, const struct keyset_window *window,
	int seqscan_off)
{
	struct pgc_request *r = pgc_request_new(CATALOG_DEADLINE_MS);
	struct text sql;

	if (seqscan_off) {
		pgc_add(r, KEEP_TO_KEY_SQL);
	}
	text_init(&sql);
	text_add(&sql, "EXPLAIN (COSTS off, FORMAT JSON) ");
	keyset_batch_sql(k, &sql, fence, window);
	pgc_add(r, sql.data);
	text_close(&sql);
	return r;
}

struct pgc_request *catalog_scans(const struct pgc_request *planned,
	const struct keyset *k, int seqscan_off)
{
	int plan = seqscan_off ? 1 : 0;
	struct pgc_request *r = pgc_request_new(CATALOG_DEADLINE_MS);
	char table[16];
	char index[16];
	const char *const values[] = {
		pgc_text(pgc_result(planned, plan), 0, 0), table, index
	};

	(void)snprintf(table, sizeof table, "%" PRIu32, k->table_oid);
	(void)snprintf(index, sizeof index, "%" PRIu32, k->index_oid);
	pgc_add(r, LOCAL_PATH_SQL);
	pgc_add_params(r, SCANS_SQL, 3, values);
	return r;
}

enum { SCANS = 1 };
enum { SCAN_LINE, SCAN_HAS_CONDITION, SCAN_IS_KEY, SCAN_INDEXES };

int catalog_read_scans(const struct pgc_request *r, const struct keyset *k,
	struct preflight *p, struct err *e)
{
	const PGresult *scans = pgc_result(r, SCANS);

	for (int i = 0; i < PQntuples(scans); i++) {
		if (pgc_bool(scans, i, SCAN_HAS_CONDITION)) {
			continue;
		}
		err_set(e, BFE_SQL,
			"a batch would not read table %s by its key", k->table);
		err_set_detail(e,
			"The plan has a %s without a condition on an"
			" index.",
			pgc_text(scans, i, SCAN_LINE));
		err_set_hint(e,
			"ANALYZE %s; if that does not help, REINDEX the index"
			" of the key.",
			k->table);
		return catalog_set_sqlstate(e, "BF028");
	}
	if (p->seqscan_off) {
		preflight_tell(p,
			"the planner would have read the whole of %s in each"
			" batch: enable_seqscan and enable_sort are off for the"
			" job",
			k->table);
	}
	for (int i = 0; i < PQntuples(scans); i++) {
		if (!pgc_bool(scans, i, SCAN_IS_KEY)) {
			preflight_tell(p,
				"a batch reads %s by %s, not by the index of"
				" its key",
				k->table, pgc_text(scans, i, SCAN_INDEXES));
			break;
		}
	}
	return 0;
}
