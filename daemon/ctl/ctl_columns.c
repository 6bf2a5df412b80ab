#include "ctl/ctl_columns.h"

#include <string.h>

const struct ctl_column ctl_columns[] = {
	{ "name", "name", "NAME", "unique; by default made from kind and id",
		NULL, COLUMN_VALUE, 0, NULL },
	{ "kind", "kind", "KIND", "what is done, by default update",
		"update delete add_column drop_column add_check"
		" add_foreign_key validate_constraint set_not_null"
		" create_index drop_index reindex ddl",
		COLUMN_VALUE, 0, NULL },
	{ "target", "target", "TABLE", "the table", NULL, COLUMN_VALUE, 0,
		NULL },
	{ "set_clause", "set", "CLAUSE",
		"what follows SET in UPDATE target SET ...", NULL, COLUMN_VALUE,
		0, NULL },
	{ "from_clause", "from", "CLAUSE",
		"what follows FROM, or USING in a DELETE", NULL, COLUMN_VALUE,
		0, NULL },
	{ "where_clause", "where", "EXPRESSION",
		"which rows; without it an update changes all", NULL,
		COLUMN_VALUE, 0, NULL },
	{ "key_columns", "key-columns", "COLUMN,...",
		"columns of the unique index that is walked", NULL,
		COLUMN_NAMES, 0, NULL },
	{ "archive_table", "archive-table", "TABLE",
		"of a delete: where the rows go", NULL, COLUMN_VALUE, 0, NULL },
	{ "object_name", "object-name", "NAME",
		"of a schema kind: the column, constraint or index", NULL,
		COLUMN_VALUE, 0, NULL },
	{ "definition", "definition", "SQL", "of a schema kind: what is made",
		NULL, COLUMN_VALUE, 0, NULL },
	{ "undo", "undo", "SQL", "how plan-down takes the step back", NULL,
		COLUMN_VALUE, 0, NULL },
	{ "undoes", "undoes", "JOB", "the job that this one takes back", NULL,
		COLUMN_JOB, 0, NULL },
	{ "plan", "plan", "NAME", "the plan that it is a step of", NULL,
		COLUMN_VALUE, 0, NULL },
	{ "run_as", "run-as", "ROLE", "the login whose rights the job has",
		NULL, COLUMN_VALUE, 0, NULL },
	{ "depends_on", "depends-on", "JOB,...",
		"jobs that must have succeeded before", NULL, COLUMN_JOBS, 0,
		NULL },
	{ "hold", "hold", NULL, "wait for backfillctl approve", "true false",
		COLUMN_FLAG, 0, NULL },
	{ "dry_run", "dry-run", NULL,
		"change nothing: make the report of explain", "true false",
		COLUMN_FLAG, 0, NULL },
	{ "run_after", "run-after", "TIME", "do not run before", NULL,
		COLUMN_VALUE, 0, NULL },
	{ "run_window", "run-window", "HOURS",
		"hours of the day, as 22:00-06:00 Europe/Berlin", NULL,
		COLUMN_VALUE, 1, NULL },
	{ "priority", "priority", "N", "higher is claimed first", NULL,
		COLUMN_VALUE, 1, "when a daemon next looks for work" },
	{ "batch_rows", "batch-rows", "N", "first number of rows per batch",
		NULL, COLUMN_VALUE, 1, NULL },
	{ "max_batch_rows", "max-batch-rows", "N",
		"largest number of rows per batch", NULL, COLUMN_VALUE, 1,
		NULL },
	{ "target_batch_time", "target-batch-time", "TIME",
		"time that a batch should take", NULL, COLUMN_VALUE, 1, NULL },
	{ "lock_timeout", "lock-timeout", "TIME", "longest wait for one lock",
		NULL, COLUMN_VALUE, 1, NULL },
	{ "statement_timeout", "statement-timeout", "TIME",
		"longest time for one statement", NULL, COLUMN_VALUE, 1, NULL },
	{ "synchronous_commit", "synchronous-commit", "WORD", "of the batches",
		"off local remote_write on remote_apply", COLUMN_VALUE, 1,
		NULL },
	{ "pause_after_rows", "pause-after-rows", "N",
		"the canary: pause itself after so many rows", NULL,
		COLUMN_VALUE, 1, NULL },
	{ "max_rows_per_second", "max-rows-per-second", "N",
		"most rows changed per second", NULL, COLUMN_VALUE, 1, NULL },
	{ "max_replication_lag", "max-replication-lag", "TIME",
		"no batch while a standby is further behind", NULL,
		COLUMN_VALUE, 1, NULL },
	{ "on_row_error", "on-row-error", "WORD",
		"what a row that fails does, by default stop", "stop record",
		COLUMN_VALUE, 0, NULL },
	{ "max_row_errors", "max-row-errors", "N",
		"how many rows may be recorded", NULL, COLUMN_VALUE, 0, NULL },
	{ "on_residue", "on-residue", "WORD",
		"what rows written late do, by default report", "report fail",
		COLUMN_VALUE, 0, NULL },
	{ NULL, NULL, NULL, NULL, NULL, COLUMN_VALUE, 0, NULL },
};

static int is_name(const char *column, const char *name, size_t length)
{
	if (strlen(column) != length) {
		return 0;
	}
	for (size_t i = 0; i < length; i++) {
		if (column[i] != (name[i] == '-' ? '_' : name[i])) {
			return 0;
		}
	}
	return 1;
}

const struct ctl_column *ctl_column_find(const char *name, size_t length)
{
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		if (is_name(c->name, name, length)) {
			return c;
		}
	}
	return NULL;
}

const char *ctl_column_when_null(const char *name)
{
	return strcmp(name, "run_window") == 0 ||
			strcmp(name, "pause_after_rows") == 0 ||
			strcmp(name, "max_rows_per_second") == 0
		? "-"
		: "(configuration's)";
}
