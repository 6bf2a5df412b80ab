/* What was found out about a job before its first batch: the findings of the
 * preflight, line by line, and the report of a dry run. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/ctl_columns.h"
#include "ctl/ctl_format.h"
#include "ctl/ctl_submit.h"

#define FINDINGS                                                               \
	"SELECT e.at::timestamptz(0) AS at, e.detail,"                         \
	" EXISTS (SELECT FROM backfill.ranges WHERE job_id = $1::bigint"       \
	"  AND begun_at IS NOT NULL) AS has_begun"                             \
	" FROM (SELECT) one LEFT JOIN LATERAL (SELECT * FROM backfill.events"  \
	"  WHERE job_id = $1::bigint AND event = 'preflight'"                  \
	"  ORDER BY id DESC LIMIT 1) e ON true"

#define FORECAST                                                               \
	"SELECT f.*, pg_size_pretty(round(f.wal_bytes)) AS wal,"               \
	" pg_size_pretty(round(f.bloat_bytes)) AS bloat,"                      \
	" round(100 * f.hot_ratio) AS hot_percent, k.index,"                   \
	" (SELECT string_agg(c, ', ' ORDER BY n)"                              \
	"  FROM jsonb_array_elements_text(k.columns)"                          \
	"  WITH ORDINALITY t(c, n)) AS columns"                                \
	" FROM backfill.jobs j"                                                \
	" CROSS JOIN jsonb_to_record(j.report -> 'forecast') f"                \
	"  (rows_to_change numeric, rows_total numeric, wal_bytes numeric,"    \
	"  bloat_bytes numeric, hot_ratio numeric, seconds numeric, how text)" \
	" CROSS JOIN jsonb_to_record(j.report -> 'key') k"                     \
	"  (index text, columns jsonb)"                                        \
	" WHERE j.id = $1::bigint AND j.report IS NOT NULL"

/* The rest of the report, a line each: of the sample a line per row and one
 * per column that changes. */
#define LINES                                                                  \
	"WITH r AS (SELECT report FROM backfill.jobs WHERE id = $1::bigint),"  \
	" sample AS (SELECT s.n, s.item FROM r, jsonb_array_elements("         \
	"  r.report -> 'sample') WITH ORDINALITY s(item, n))"                  \
	"SELECT title, line FROM ("                                            \
	"SELECT 1 AS part, n, '' AS name,"                                     \
	" 'sample of rows, before -> after' AS title,"                         \
	" format('key (%s)%s', (SELECT string_agg(k, ', ' ORDER BY o)"         \
	"  FROM jsonb_array_elements_text(item -> 'key')"                      \
	"  WITH ORDINALITY t(k, o)),"                                          \
	"  CASE WHEN item -> 'after' = 'null' THEN ', deleted' END) AS line"   \
	" FROM sample"                                                         \
	" UNION ALL "                                                          \
	"SELECT 1, n, c.name, 'sample of rows, before -> after',"              \
	" format('  %s: %s%s', c.name, coalesce(c.value, 'NULL'),"             \
	"  CASE WHEN item -> 'after' <> 'null' THEN ' -> '"                    \
	"  || coalesce(item -> 'after' ->> c.name, 'NULL') END)"               \
	" FROM sample, jsonb_each_text(item -> 'before') c(name, value)"       \
	" UNION ALL "                                                          \
	"SELECT 2, f.n, '', 'findings', f.line FROM r,"                        \
	" jsonb_array_elements_text(r.report -> 'findings')"                   \
	"  WITH ORDINALITY f(line, n)"                                         \
	" UNION ALL "                                                          \
	"SELECT 3, p.n, '', 'plan of a batch', p.line FROM r,"                 \
	" jsonb_array_elements_text(r.report -> 'plan')"                       \
	"  WITH ORDINALITY p(line, n)) l ORDER BY part, n, name"

/* findings: of the last preflight; null: not examined yet. */
#define ALL_JSON                                                               \
	"SELECT jsonb_pretty(jsonb_build_object('job', backfill.job_json(p),"  \
	" 'report', j.report, 'findings', (SELECT coalesce("                   \
	"   (SELECT to_jsonb(string_to_array(e.detail, E'\n'))"                \
	"    FROM backfill.events e WHERE e.job_id = j.id"                     \
	"    AND e.event = 'preflight' ORDER BY e.id DESC LIMIT 1),"           \
	"   (SELECT '[]'::jsonb FROM backfill.ranges r WHERE r.job_id = j.id"  \
	"    AND r.begun_at IS NOT NULL LIMIT 1)))))"                          \
	" AS json FROM backfill.progress p JOIN backfill.jobs j"               \
	" ON j.id = p.id WHERE p.id = $1::bigint"

/* Each line of a text on a line of its own. */
static void say_lines(const char *text)
{
	char *lines = mem_strdup(text), *rest = lines, *line;

	while ((line = strsep(&rest, "\n")) != NULL) {
		ctl_say("  %s", line);
	}
	free(lines);
}

static void say_forecast(const PGresult *report, const char *id)
{
	char rows[FORMAT_BYTES], total[FORMAT_BYTES], time[FORMAT_BYTES];

	ctl_say("dry run of job %s: nothing was changed", id);
	ctl_say("  key   %s (%s)", ctl_value(report, 0, "index"),
		ctl_value(report, 0, "columns"));
	ctl_say("  rows  about %s of %s would change",
		ctl_format_count(rows, ctl_number(report, 0, "rows_to_change")),
		ctl_format_count(total, ctl_number(report, 0, "rows_total")));
	ctl_say("  WAL   about %s", ctl_value(report, 0, "wal"));
	if (!ctl_is_null(report, 0, "bloat")) {
		ctl_say("  bloat about %s, which VACUUM makes free again",
			ctl_value(report, 0, "bloat"));
	}
	if (!ctl_is_null(report, 0, "hot_percent")) {
		ctl_say("  HOT   about %s%% of the updates",
			ctl_value(report, 0, "hot_percent"));
	}
	ctl_say("  time  about %s",
		ctl_format_duration(time, ctl_number(report, 0, "seconds")));
	ctl_say("%s", ctl_value(report, 0, "how"));
}

static int say_report(struct ctl *ctl, const PGresult *report, const char *id)
{
	const char *const values[] = { id };
	PGresult *lines = ctl_query(ctl, LINES, 1, values);
	const char *title = "";

	if (lines == NULL) {
		return ctl->code;
	}
	say_forecast(report, id);
	for (int i = 0; i < PQntuples(lines); i++) {
		if (strcmp(title, ctl_value(lines, i, "title")) != 0) {
			title = ctl_value(lines, i, "title");
			ctl_say("%s:", title);
		}
		ctl_say("  %s", ctl_value(lines, i, "line"));
	}
	PQclear(lines);
	return CTL_OK;
}

static void say_part(const char *label, const char *part)
{
	if (*part != '\0') {
		ctl_say("  %s%s", label, part);
	}
}

/* There are neither findings nor a report, which has its own. */
static void say_state(const PGresult *job, int has_begun)
{
	const char *id = ctl_value(job, 0, "id");

	if (has_begun) {
		ctl_say("nothing was found before the first batch of job %s",
			id);
	} else if (ctl_is_null(job, 0, "error_sqlstate")) {
		ctl_say("job %s is %s and was not examined yet%s%s", id,
			ctl_value(job, 0, "state"),
			ctl_is_null(job, 0, "reason") ? "" : ": ",
			ctl_value(job, 0, "reason"));
	} else {
		ctl_say("job %s failed before its first batch:", id);
		ctl_say("  %s: %s", ctl_value(job, 0, "error_sqlstate"),
			ctl_value(job, 0, "error_message"));
		say_part("detail: ", ctl_value(job, 0, "error_detail"));
		say_part("hint: ", ctl_value(job, 0, "error_hint"));
	}
}

static int explain(struct ctl *ctl, const PGresult *job)
{
	const char *id = ctl_value(job, 0, "id");
	const char *const values[] = { id };
	PGresult *findings, *report = NULL;

	if ((ctl->options & CTL_JSON) != 0) {
		return ctl_print_json_value(ctl, ALL_JSON, 1, values);
	}
	findings = ctl_query(ctl, FINDINGS, 1, values);

	if (findings != NULL) {
		report = ctl_query(ctl, FORECAST, 1, values);
	}
	if (report != NULL && PQntuples(report) > 0) {
		(void)say_report(ctl, report, id);
	} else if (report != NULL && !ctl_is_null(findings, 0, "detail")) {
		ctl_say("found before the first batch of job %s, at %s:", id,
			ctl_value(findings, 0, "at"));
		say_lines(ctl_value(findings, 0, "detail"));
	} else if (report != NULL) {
		say_state(job, ctl_is_true(findings, 0, "has_begun"));
	}
	PQclear(report);
	PQclear(findings);
	return ctl->code;
}

static int explain_job(struct ctl *ctl, const char *name)
{
	PGresult *job = ctl_find_job(ctl, name);

	if (job != NULL) {
		(void)explain(ctl, job);
	}
	PQclear(job);
	return ctl->code;
}

/* ---- a dry run of what the command line says ---- */

static void give(struct ctl *ctl, const char *column, const char *value)
{
	ctl->given = mem_resize(
		ctl->given, (ctl->given_count + 1) * sizeof ctl->given[0]);
	ctl->given[ctl->given_count++] = (struct ctl_given){
		.column = ctl_column_find(column, strlen(column)),
		.value = value,
	};
}

static int need_daemon(struct ctl *ctl)
{
	int has_daemon = ctl_has_daemon(ctl);

	if (has_daemon == 0) {
		return ctl_error(ctl, CTL_FATAL,
			"A dry run is made by a daemon, as a job is.",
			"Start backfilld; backfillctl check tells what it"
			" needs.",
			"no daemon serves database \"%s\"", PQdb(ctl->conn));
	}
	return ctl->code;
}

/* What is not waited for any more shall not be made later. */
static void give_up(struct ctl *ctl, const char *id)
{
	const char *const values[] = { id };

	PQclear(ctl_query(ctl,
		"SELECT backfill.cancel($1::text, 'nobody waits for it')", 1,
		values));
}

/* Somebody waits: it goes before the jobs that nobody does. */
static int explain_clauses(struct ctl *ctl)
{
	struct ctl_submitted s;

	if (need_daemon(ctl) != CTL_OK) {
		return ctl->code;
	}
	give(ctl, "dry_run", "true");
	give(ctl, "priority", "1000000");
	if (ctl_submit(ctl, &s) == CTL_OK) {
		if (ctl_wait_job(ctl, s.id, 1) == CTL_OK) {
			(void)explain_job(ctl, s.id);
		} else if (ctl->code == CTL_FATAL) {
			give_up(ctl, s.id);
		}
	}
	ctl_submitted_close(&s);
	return ctl->code;
}

int cmd_explain(struct ctl *ctl)
{
	int has_clauses = ctl->given_count > 0;

	if ((ctl->job == NULL) != has_clauses) {
		return ctl_error(ctl, CTL_FATAL, NULL,
			"Name a job, or what one would do: --target=TABLE"
			" --set=CLAUSE --where=EXPRESSION.",
			has_clauses ? "a job and clauses are both given"
				    : "a job's id or name is missing after"
				      " \"explain\"");
	}
	return has_clauses ? explain_clauses(ctl) : explain_job(ctl, ctl->job);
}
