/* Everything about one job: backfill.progress, what backfill.jobs has
 * beside it, holes, row errors, the error and the events. A column that is
 * added to either shows without a change here. */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/ctl_columns.h"
#include "ctl/ctl_table.h"

#define MAY_SEE "SELECT has_table_privilege('backfill.jobs', 'SELECT') AS may"

#define JOB "SELECT * FROM backfill.jobs WHERE id = $1::bigint"

#define STATUS "SELECT jsonb_pretty(backfill.job_status($1)) AS json"

/* What may be changed while the job runs. */
#define SETTINGS                                                               \
	"SELECT attname FROM pg_attribute"                                     \
	" WHERE attrelid = 'backfill.jobs'::regclass AND attnum > 0"           \
	" AND NOT attisdropped AND has_column_privilege('backfill_submit',"    \
	"  attrelid, attnum, 'UPDATE')"

#define HOLES                                                                  \
	"SELECT CASE WHEN is_window THEN '(' || coalesce(array_to_string(lo,"  \
	"  ', '), '-') || ' .. ' || array_to_string(hi, ', ') || ']'"          \
	" ELSE array_to_string(hi, ', ') END AS \"KEY\","                      \
	" found_at::timestamptz(0) AS \"FOUND AT\""                            \
	" FROM backfill.holes WHERE job_id = $1::bigint"                       \
	" ORDER BY number, id LIMIT 10"

#define ROW_ERRORS                                                             \
	"SELECT array_to_string(key, ', ') AS \"KEY\","                        \
	" sqlstate AS \"SQLSTATE\", attempts AS \"ATTEMPTS\","                 \
	" message AS \"MESSAGE\""                                              \
	" FROM backfill.row_errors"                                            \
	" WHERE job_id = $1::bigint AND resolved_at IS NULL"                   \
	" ORDER BY number, id LIMIT 10"

/* Findings of a preflight have many lines: explain shows them. */
#define EVENTS                                                                 \
	"SELECT at::timestamptz(0) AS \"AT\", actor AS \"ACTOR\","             \
	" event AS \"EVENT\","                                                 \
	" regexp_replace(detail, E'\\n.*', ' ...') AS \"DETAIL\""              \
	" FROM (SELECT * FROM backfill.events WHERE job_id = $1::bigint"       \
	"  ORDER BY id DESC LIMIT 20) last ORDER BY id"

static int is_error(const char *column)
{
	return strncmp(column, "error_", strlen("error_")) == 0;
}

static int is_setting(const PGresult *settings, const char *column)
{
	for (int i = 0; i < PQntuples(settings); i++) {
		if (strcmp(PQgetvalue(settings, i, 0), column) == 0) {
			return 1;
		}
	}
	return 0;
}

/* The report is explain's. */
static int is_clause(const PGresult *progress, const char *column)
{
	return PQfnumber(progress, column) < 0 && strcmp(column, "report") != 0;
}

static void add_field(struct ctl_table *table, const PGresult *row, int column,
	const char *when_null)
{
	ctl_table_add(table, PQfname(row, column));
	ctl_table_add(table,
		PQgetisnull(row, 0, column) ? when_null
					    : PQgetvalue(row, 0, column));
}

static void print_progress(const PGresult *progress)
{
	struct ctl_table table;

	ctl_table_init(&table, NULL, "ll");
	for (int i = 0; i < PQnfields(progress); i++) {
		if (!is_error(PQfname(progress, i))) {
			add_field(&table, progress, i, "-");
		}
	}
	ctl_table_print(&table, stdout, 0);
	ctl_table_close(&table);
}

static void print_error(const PGresult *progress)
{
	struct ctl_table table;

	if (ctl_is_null(progress, 0, "error_sqlstate")) {
		return;
	}
	puts("\nError");
	ctl_table_init(&table, NULL, "ll");
	for (int i = 0; i < PQnfields(progress); i++) {
		if (is_error(PQfname(progress, i))) {
			add_field(&table, progress, i, "-");
		}
	}
	ctl_table_print(&table, stdout, 0);
	ctl_table_close(&table);
}

static void print_job(
	const PGresult *job, const PGresult *progress, const PGresult *settings)
{
	struct ctl_table clauses, values;

	ctl_table_init(&clauses, NULL, "ll");
	ctl_table_init(&values, NULL, "ll");
	for (int i = 0; i < PQnfields(job); i++) {
		const char *column = PQfname(job, i);

		/* The batch_rows of progress is the last batch's. */
		if (is_setting(settings, column)) {
			add_field(
				&values, job, i, ctl_column_when_null(column));
		} else if (is_clause(progress, column)) {
			add_field(&clauses, job, i, "-");
		}
	}
	puts("\nJob");
	ctl_table_print(&clauses, stdout, 0);
	puts("\nSettings");
	ctl_table_print(&values, stdout, 0);
	ctl_table_close(&values);
	ctl_table_close(&clauses);
}

static int show_rest(struct ctl *ctl, const PGresult *progress)
{
	const char *id = ctl_value(progress, 0, "id");
	const char *const values[] = { id };
	PGresult *job = ctl_query(ctl, JOB, 1, values);
	PGresult *settings = NULL;

	if (job != NULL) {
		settings = ctl_query(ctl, SETTINGS, 0, NULL);
	}
	if (settings != NULL && PQntuples(job) > 0) {
		print_job(job, progress, settings);
		if (ctl_print_rows(ctl, "Holes (the first 10)", HOLES, "ll",
			    id) == CTL_OK &&
			ctl_print_rows(ctl, "Row errors (the first 10)",
				ROW_ERRORS, "llrl", id) == CTL_OK) {
			print_error(progress);
			(void)ctl_print_rows(ctl, "Events (the last 20)",
				EVENTS, "llll", id);
		}
	}
	PQclear(settings);
	PQclear(job);
	return ctl->code;
}

static int show(struct ctl *ctl)
{
	PGresult *progress = ctl_find_job(ctl, ctl->job);
	PGresult *may = NULL;

	if (progress != NULL) {
		may = ctl_query(ctl, MAY_SEE, 0, NULL);
	}
	if (may != NULL) {
		print_progress(progress);
		if (ctl_is_true(may, 0, "may")) {
			(void)show_rest(ctl, progress);
		} else {
			/* Clauses and keys may hold what pg_monitor alone
			 * must not read. */
			print_error(progress);
			puts("\nClauses, settings and events are shown to who"
			     " may steer the job.");
		}
	}
	PQclear(may);
	PQclear(progress);
	return ctl->code;
}

int cmd_show(struct ctl *ctl)
{
	const char *const values[] = { ctl->job };

	return (ctl->options & CTL_JSON) != 0
		? ctl_print_json_value(ctl, STATUS, 1, values)
		: show(ctl);
}
