/* The report of a dry run: see store/dry_run.h for the whole. It quotes
 * rows, which is what was asked for: backfill.jobs.report is seen by those
 * who may see the job, whose rights are those of its run_as. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dry_run_internal.h"

/* $1 facts, $2 plan, $3 findings, $4 sample, $5 to $7 rows copied, changed
 * and still matching, $8 bytes of the copy, $9 its growth, $10 time of the
 * statement in microseconds, $11 a plan of all rows, $12 whether the copy is
 * the whole table, $13 whether rows are deleted, $14 to $16 the fence.
 *
 * The forecast, measured against PostgreSQL 15 where a table of 50000 rows
 * was walked in batches of 1000:
 *   rows      the share of the sample that changed, times the table's rows;
 *   WAL       for each changed row its new version (as the copy grew, when
 *             enough rows changed to tell), 130 bytes of headers and row
 *             lock, 80 bytes for each index entry; 110 bytes for a deleted
 *             row; and each page of table and indexes once as a full image,
 *             as if there were one checkpoint;
 *   bloat     the old version of each changed row with its index entries,
 *             unless the update is HOT, which the next one clears away; of
 *             a delete the row;
 *   seconds   the time of the statement for each row read: what a batch
 *             does beyond it, to lock rows and to write indexes and WAL, is
 *             about what the sample costs. */
static const char STORE_SQL[] =
	"WITH f AS (\n"
	"	SELECT $5::numeric AS sampled, $6::numeric AS changed,\n"
	"	$8::numeric AS bytes, $9::numeric AS growth,\n"
	"	$10::numeric / 1000000 AS elapsed, $13::boolean AS is_delete,\n"
	"	(x->>'table_pages')::numeric AS table_pages,\n"
	"	coalesce((x->>'index_pages')::numeric, 0) AS index_pages,\n"
	"	(x->>'indexes')::numeric AS indexes,\n"
	"	1 - (x->>'hot')::numeric AS cold,\n"
	"	CASE WHEN $12::boolean THEN $5::numeric\n"
	"	ELSE greatest($5::numeric, ($11::json -> 0 -> 'Plan'\n"
	"	->> 'Plan Rows')::numeric) END AS total\n"
	"	FROM (SELECT $1::jsonb) y (x)),\n"
	"g AS (\n"
	"	SELECT f.*,\n"
	"	CASE WHEN is_delete THEN 0 ELSE indexes * cold END AS "
	"entries,\n"
	"	CASE WHEN sampled = 0 THEN 0\n"
	"	ELSE round(total * changed / sampled) END AS rows,\n"
	"	CASE WHEN sampled = 0 THEN 0 ELSE bytes / sampled END AS "
	"old_bytes,\n"
	"	CASE WHEN is_delete OR sampled = 0 THEN 0\n"
	"	WHEN changed >= 50 THEN growth / changed\n"
	"	ELSE bytes / sampled END AS new_bytes\n"
	"	FROM f),\n"
	"h AS (\n"
	"	SELECT g.*,\n"
	"	CASE WHEN is_delete THEN 110 ELSE round(new_bytes) + 130 END\n"
	"	AS row_bytes,\n"
	"	least(rows, table_pages) * least(8192,\n"
	"	total * old_bytes / greatest(1, table_pages) + 32)\n"
	"	+ least(rows * entries, index_pages) * 8192 AS page_bytes,\n"
	"	CASE WHEN sampled = 0 THEN 0\n"
	"	ELSE total / sampled * elapsed END AS "
	"seconds\n"
	"	FROM g),\n"
	"lines AS (\n"
	"	SELECT s.part, coalesce(jsonb_agg(left(u.line, 500) ORDER BY "
	"u.n)\n"
	"	FILTER (WHERE u.line <> ''), '[]') AS lines\n"
	"	FROM (VALUES ('plan', $2::text), ('findings', $3::text || "
	"CASE\n"
	"	WHEN $7::bigint > 0 THEN format(E'\\n%s of %s changed rows "
	"still match'\n"
	"	' where_clause: rows that are written late cannot be told from "
	"rows'\n"
	"	' that the job changed', $7, $6) ELSE '' END)) AS s (part, "
	"text)\n"
	"	LEFT JOIN LATERAL (SELECT *\n"
	"	FROM unnest(string_to_array(s.text, E'\\n'))\n"
	"	WITH ORDINALITY AS t (line, n) LIMIT 100) u ON true\n"
	"	GROUP BY s.part),\n"
	"r AS (\n"
	"	SELECT jsonb_build_object('key', $1::jsonb -> 'key',\n"
	"	'plan', (SELECT l.lines FROM lines l WHERE l.part = 'plan'),\n"
	"	'findings', (SELECT l.lines FROM lines l WHERE l.part = "
	"'findings'),\n"
	"	'rows_sampled', sampled, 'rows_eligible', changed,\n"
	"	'sample', coalesce($4::jsonb, '[]'),\n"
	"	'forecast', jsonb_build_object('rows_total', total,\n"
	"	'rows_to_change', rows,\n"
	"	'wal_bytes', round(rows * (row_bytes + entries * 80) + "
	"page_bytes),\n"
	"	'bloat_bytes', round(rows * CASE WHEN is_delete THEN 1 ELSE "
	"cold END\n"
	"	* (old_bytes + index_pages * 8192 / greatest(1, total))),\n"
	"	'hot_ratio', CASE WHEN NOT is_delete THEN round(1 - cold, 2) "
	"END,\n"
	"	'seconds', round(seconds, 1),\n"
	"	'how', format('Estimated from the first %s rows by key, of "
	"which'\n"
	"	' %s would change, and %s rows in the table (%s); WAL: %s "
	"bytes and'\n"
	"	' %s index entries for each of them, and each page once; time: "
	"the'\n"
	"	' %s ms of the statement on a copy of those rows, scaled, "
	"without'\n"
	"	' pauses, waits for locks, triggers and foreign keys.',\n"
	"	sampled, changed, total, CASE WHEN $12::boolean THEN "
	"'counted'\n"
	"	ELSE 'the planner''s estimate' END, row_bytes, round(entries, "
	"1),\n"
	"	round(elapsed * 1000, 1)))) AS report\n"
	"	FROM h)\n"
	"SELECT backfill.store_report($14::bigint, $15::integer, $16::bigint,\n"
	"	CASE WHEN octet_length(r.report::text) <= 1000000 THEN "
	"r.report\n"
	"	ELSE r.report || '{\"sample\": []}' END)\n"
	"FROM r";

struct number {
	char text[24];
};

static const char *number(struct number *n, int64_t value)
{
	(void)snprintf(n->text, sizeof n->text, "%" PRId64, value);
	return n->text;
}

/* Whether no row lies behind the copy. */
static int is_whole_table(const struct dry_run *d)
{
	return d->window_rows < d->max_rows && d->rows >= d->window_rows;
}

/* All findings. The copy is no place to archive from, and the real archive
 * may not be written. */
static char *join(
	const char *findings, const char *more, const struct keyset *k)
{
	struct text t;

	text_init(&t);
	text_addf(&t, "%s\n%s", findings, more != NULL ? more : "");
	if (k->archive != NULL) {
		text_addf(&t,
			"\nthe dry run put no row into %s: what its"
			" constraints and triggers say to them was not tried,"
			" and the forecast is without them",
			k->archive);
	}
	return text_take(&t);
}

struct pgc_request *dry_run_store(const struct dry_run *d,
	const struct keyset *k, const struct fence *fence, const char *findings)
{
	struct pgc_request *r = work_begin(d->deadline_ms);
	char *all = join(findings, d->unchecked, k);
	struct number n[9];
	const char *const values[] = { d->facts, d->plan, all, d->sample,
		number(&n[0], d->rows), number(&n[1], d->changed),
		number(&n[2], d->matching), number(&n[3], d->bytes),
		number(&n[4], d->size_after - d->size_before),
		number(&n[5], (int64_t)d->elapsed_us), d->estimate,
		is_whole_table(d) ? "t" : "f", k->is_delete ? "t" : "f",
		number(&n[6], fence->job_id), number(&n[7], fence->range),
		number(&n[8], fence->epoch) };

	dry_run_add_setting(r, "search_path", "pg_catalog, pg_temp");
	pgc_add_params(r, STORE_SQL, sizeof values / sizeof values[0], values);
	free(all);
	pgc_add(r, "COMMIT");
	return r;
}
