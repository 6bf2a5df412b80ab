#include "store/screens.h"

#include "queue_internal.h"

/* More than this, nobody reads in a page, and the daemon keeps in memory. */
#define MOST_ROWS "200"
#define MOST_HISTORIES "100"

const char *const screens_table_titles[] = { "id", "name", "target", "state",
	"reason", "percent", "rows", "rows/s", "time left", "saved", NULL };

/* Compiling takes longer than what it speeds up here, and heeds no timeout. */
static struct pgc_request *look(uint64_t timeout_ms, const char *sql, int count,
	const char *const values[])
{
	struct pgc_request *r = pgc_request_new(QUEUE_DEADLINE_MS);
	struct queue_number n;
	const char *const timeout[] = { queue_number(&n, (int64_t)timeout_ms) };

	pgc_add_params(r,
		"SELECT pg_catalog.set_config('statement_timeout', $1, true),"
		" pg_catalog.set_config('jit', 'off', true)",
		1, timeout);
	pgc_add_params(r, sql, count, values);
	return r;
}

/* The functions answer the daemon's login, which may see more than whoever
 * looks: what those do not see must not leave the server. */
#define WITHOUT_DETAILS                                                        \
	" || pg_catalog.jsonb_build_object('events', (SELECT coalesce("        \
	"  pg_catalog.jsonb_agg(e.event || '{\"detail\": null}'::jsonb"        \
	"   ORDER BY e.number), '[]')"                                         \
	"  FROM pg_catalog.jsonb_array_elements(s.whole -> 'events')"          \
	"   WITH ORDINALITY AS e(event, number)))"

struct pgc_request *screens_status(uint64_t timeout_ms, int details)
{
	return look(timeout_ms,
		details ? "SELECT backfill.status()"
			: "SELECT s.whole" WITHOUT_DETAILS
			  " FROM backfill.status() AS s(whole)",
		0, NULL);
}

struct pgc_request *screens_job(
	uint64_t timeout_ms, const char *job, int details)
{
	return look(timeout_ms,
		details ? "SELECT backfill.job_status($1)"
			: "SELECT s.whole || '{\"clauses\": null, \"holes\": "
			  "null,"
			  " \"row_errors\": null, \"ranges\": null}'"
			  "::jsonb" WITHOUT_DETAILS
			  " FROM backfill.job_status($1) AS s(whole)",
		1, &job);
}

const char *screens_read_json(const struct pgc_request *r)
{
	const PGresult *result = screens_read_rows(r);

	return pgc_is_null(result, 0, 0) ? NULL : pgc_text(result, 0, 0);
}

struct pgc_request *screens_metrics(uint64_t timeout_ms)
{
	return look(timeout_ms,
		"SELECT m.name, (SELECT pg_catalog.string_agg("
		" pg_catalog.format('%s=\"%s\"', l.key,"
		" replace(replace(replace(l.value, E'\\\\', E'\\\\\\\\'),"
		" '\"', E'\\\\\"'), E'\\n', E'\\\\n')), ',' ORDER BY l.key)"
		" FROM pg_catalog.jsonb_each_text(m.labels) AS l), m.value"
		" FROM backfill.metrics m",
		0, NULL);
}

struct pgc_request *screens_table(uint64_t timeout_ms)
{
	return look(timeout_ms,
		"SELECT p.id, p.name, p.target, p.state, p.reason,"
		" p.percent, p.rows_done, round(p.rows_per_second), p.eta,"
		" pg_catalog.to_char(p.saved_at,"
		"  'YYYY-MM-DD HH24:MI:SS TZ')"
		" FROM backfill.progress p WHERE p.id = ANY (ARRAY("
		"  SELECT s.id FROM backfill.shown_jobs s LIMIT " MOST_ROWS "))"
		" ORDER BY p.finished_at DESC NULLS FIRST, p.id",
		0, NULL);
}

struct pgc_request *screens_history(uint64_t timeout_ms)
{
	return look(timeout_ms,
		"SELECT p.id, p.rows_per_second,"
		" 1000 * extract(epoch FROM p.batch_time),"
		/* One that is unknown is the worst. */
		" (SELECT CASE WHEN bool_and(s.value IS NOT NULL)"
		"  THEN max(s.value) END FROM backfill.signals s"
		"  WHERE s.signal = 'replication_lag'), p.waits_for, p.name"
		" FROM backfill.progress p WHERE p.id = ANY (ARRAY("
		"  SELECT s.id FROM backfill.shown_jobs s"
		"  WHERE s.state IN ('queued', 'running', 'paused')"
		"  LIMIT " MOST_HISTORIES "))",
		0, NULL);
}

const PGresult *screens_read_rows(const struct pgc_request *r)
{
	return pgc_result(r, 1);
}
