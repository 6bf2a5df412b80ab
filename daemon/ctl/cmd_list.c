#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/ctl_format.h"
#include "ctl/ctl_table.h"

#define LIST                                                                   \
	"SELECT p.*, extract(epoch FROM p.eta) AS eta_s,"                      \
	" extract(epoch FROM clock_timestamp()"                                \
	"  - coalesce(p.finished_at, p.submitted_at)) AS age_s"                \
	" FROM backfill.progress p"                                            \
	" WHERE $1::boolean OR p.finished_at IS NULL"                          \
	" OR p.finished_at > clock_timestamp() - interval '24 hours'"          \
	" ORDER BY p.id"

#define LIST_JSON                                                              \
	"SELECT coalesce(jsonb_pretty(jsonb_agg(backfill.job_json(p)"          \
	" ORDER BY p.id)), '[]') AS json FROM backfill.progress p"             \
	" WHERE $1::boolean OR p.finished_at IS NULL"                          \
	" OR p.finished_at > clock_timestamp() - interval '24 hours'"

/* Time left for who runs, else how long it has been so. */
static void add_time(struct ctl_table *table, const PGresult *jobs, int row)
{
	char buffer[FORMAT_BYTES], cell[FORMAT_BYTES + 8];
	double eta = ctl_number(jobs, row, "eta_s");
	double age = ctl_number(jobs, row, "age_s");

	if (strcmp(ctl_value(jobs, row, "state"), "running") == 0) {
		(void)snprintf(cell, sizeof cell, "eta %s",
			ctl_format_duration(buffer, eta));
	} else if (!ctl_is_null(jobs, row, "finished_at")) {
		(void)snprintf(cell, sizeof cell, "%s ago",
			ctl_format_duration(buffer, age));
	} else {
		(void)snprintf(cell, sizeof cell, "%s old",
			ctl_format_duration(buffer, age));
	}
	ctl_table_add(table, cell);
}

int cmd_list(struct ctl *ctl)
{
	static const char *const headers[] = { "ID", "NAME", "KIND", "STATE",
		"DONE", "ROWS", "ETA/AGE", "REASON" };
	const char *const values[] = {
		(ctl->options & CTL_ALL) != 0 ? "true" : "false"
	};
	PGresult *jobs;
	char buffer[FORMAT_BYTES];
	struct ctl_table table;

	if ((ctl->options & CTL_JSON) != 0) {
		return ctl_print_json_value(ctl, LIST_JSON, 1, values);
	}
	jobs = ctl_query(ctl, LIST, 1, values);
	if (jobs == NULL) {
		return ctl->code;
	}
	ctl_table_init(&table, headers, "rlllrrll");
	for (int i = 0; i < PQntuples(jobs); i++) {
		ctl_table_add(&table, ctl_value(jobs, i, "id"));
		ctl_table_add(&table, ctl_value(jobs, i, "name"));
		ctl_table_add(&table, ctl_value(jobs, i, "kind"));
		ctl_table_add(&table, ctl_value(jobs, i, "state"));
		ctl_table_add(&table,
			ctl_format_percent(
				buffer, ctl_number(jobs, i, "percent")));
		ctl_table_add(&table,
			ctl_format_count(
				buffer, ctl_number(jobs, i, "rows_done")));
		add_time(&table, jobs, i);
		ctl_table_add(&table, ctl_value(jobs, i, "reason"));
	}
	ctl_table_print(&table, stdout, ctl_table_width(stdout));
	ctl_table_close(&table);
	PQclear(jobs);
	return CTL_OK;
}
