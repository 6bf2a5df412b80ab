/* How an open job runs is changed: an UPDATE of backfill.jobs. Which columns
 * may be changed, the table of columns knows; the right to it is the
 * server's matter. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/ctl_columns.h"
#include "ctl/ctl_nearest.h"
#include "ctl/ctl_table.h"

enum { MOST_COLUMNS = 48 };

struct change {
	const struct ctl_column *column;
	const char *value; /* NULL: the configuration's */
};

struct changes {
	struct change items[MOST_COLUMNS];
	int count;
};

/* ---- COLUMN=VALUE ---- */

static char *list_changeable(void)
{
	struct text t;

	text_init(&t);
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		if (c->may_change) {
			text_addf(&t, "%s%s",
				t.length > 0 ? ", " : "These may be set: ",
				c->name);
		}
	}
	text_add(&t, ".");
	return text_take(&t);
}

static const char *nearest(const char *name, size_t length)
{
	struct ctl_nearest n;

	ctl_nearest_init(&n, name, length);
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		if (c->may_change) {
			ctl_nearest_try(&n, c->name);
		}
	}
	return n.name;
}

static int refuse_column(struct ctl *ctl, const char *word, size_t length)
{
	const struct ctl_column *column = ctl_column_find(word, length);
	const char *near = nearest(word, length);
	char *all = list_changeable();
	struct text hint;

	text_init(&hint);
	if (column == NULL && near != NULL) {
		text_addf(&hint, "Perhaps you mean \"%s\".", near);
	}
	if (column != NULL) {
		(void)ctl_error(ctl, CTL_FATAL, all,
			"Cancel the job and submit another one.",
			"column \"%s\" cannot be changed: it is fixed when the"
			" job is submitted",
			column->name);
	} else {
		(void)ctl_error(ctl, CTL_FATAL, all, hint.data,
			"unknown column \"%.*s\"", (int)length, word);
	}
	text_close(&hint);
	free(all);
	return ctl->code;
}

static int parse(struct ctl *ctl, const char *word, struct changes *changes)
{
	size_t length = strcspn(word, "=");
	const struct ctl_column *column = ctl_column_find(word, length);
	const char *value = word + length + 1;
	struct change *change = changes->items;

	if (word[length] == '\0') {
		return ctl_error(ctl, CTL_FATAL, NULL,
			"Write max_rows_per_second=500, for example.",
			"\"%s\" is not of the form COLUMN=VALUE", word);
	}
	if (column == NULL || !column->may_change) {
		return refuse_column(ctl, word, length);
	}
	for (; change < changes->items + changes->count; change++) {
		if (change->column == column) {
			return ctl_error(ctl, CTL_FATAL, NULL, NULL,
				"column \"%s\" is set twice", column->name);
		}
	}
	change->column = column;
	change->value =
		*value == '\0' || strcmp(value, "default") == 0 ? NULL : value;
	changes->count++;
	return CTL_OK;
}

/* ---- the change ---- */

/* Old and new values, as texts and for JSON. */
static PGresult *update(
	struct ctl *ctl, const char *id, const struct changes *changes)
{
	const char *values[MOST_COLUMNS + 1] = { id };
	PGresult *result;
	struct text sql, old;

	text_init(&sql);
	text_init(&old);
	text_add(&sql,
		"WITH old AS (SELECT * FROM backfill.jobs"
		" WHERE id = $1::bigint FOR NO KEY UPDATE)"
		" UPDATE backfill.jobs j SET ");
	for (int i = 0; i < changes->count; i++) {
		const char *name = changes->items[i].column->name;

		values[i + 1] = changes->items[i].value;
		text_addf(&sql, "%s%s = $%d", i > 0 ? ", " : "", name, i + 2);
		text_addf(
			&old, "%s old.%s, j.%s", i > 0 ? "," : "", name, name);
	}
	text_addf(&sql,
		" FROM old WHERE j.id = old.id AND old.state"
		" NOT IN ('succeeded', 'cancelled') RETURNING %s",
		old.data);
	result = ctl_query(ctl, sql.data, changes->count + 1, values);
	text_close(&old);
	text_close(&sql);
	return result;
}

static const char *shown(
	const PGresult *row, int field, const struct ctl_column *column)
{
	return PQgetisnull(row, 0, field) ? ctl_column_when_null(column->name)
					  : PQgetvalue(row, 0, field);
}

static void print_changes(const PGresult *row, const struct changes *changes)
{
	static const char *const headers[] = { "COLUMN", "WAS", "IS" };
	struct ctl_table table;

	ctl_table_init(&table, headers, "lll");
	for (int i = 0; i < changes->count; i++) {
		const struct ctl_column *column = changes->items[i].column;

		ctl_table_add(&table, column->name);
		ctl_table_add(&table, shown(row, 2 * i, column));
		ctl_table_add(&table, shown(row, 2 * i + 1, column));
	}
	ctl_table_print(&table, stdout, ctl_table_width(stdout));
	ctl_table_close(&table);
}

static void say_when(const PGresult *job, const struct changes *changes)
{
	const char *when = "within a second, with the next batch or step";
	const char *state = ctl_value(job, 0, "state");

	if (strcmp(state, "failed") == 0) {
		when = "when the job is tried again";
	} else if (strcmp(state, "running") != 0) {
		when = "when the job runs";
	}
	for (int i = 0; i < changes->count; i++) {
		const struct ctl_column *column = changes->items[i].column;

		ctl_say("%s takes effect %s", column->name,
			column->applies != NULL ? column->applies : when);
	}
}

/* A key per column: [{"column", "was", "is"}, …]. */
static int print_json(
	struct ctl *ctl, const PGresult *row, const struct changes *changes)
{
	const char *values[3 * MOST_COLUMNS];
	struct text sql;
	int count = 0;

	text_init(&sql);
	for (int i = 0; i < changes->count; i++) {
		values[count++] = changes->items[i].column->name;
		for (int n = 2 * i; n < 2 * i + 2; n++) {
			values[count++] = PQgetisnull(row, 0, n)
				? NULL
				: PQgetvalue(row, 0, n);
		}
		text_addf(&sql,
			"%sSELECT $%d::text AS column, (to_jsonb("
			"jsonb_populate_record(NULL::backfill.jobs,"
			" jsonb_build_object($%d::text, $%d::text))) -> $%d)"
			" AS was, (to_jsonb(jsonb_populate_record("
			"NULL::backfill.jobs, jsonb_build_object($%d::text,"
			" $%d::text))) -> $%d) AS is",
			i > 0 ? " UNION ALL " : "", count - 2, count - 2,
			count - 1, count - 2, count - 2, count, count - 2);
	}
	(void)ctl_print_json(ctl, sql.data, count, values);
	text_close(&sql);
	return ctl->code;
}

/* Who may see a job in the views may not steer it by that. */
static int refuse_job(struct ctl *ctl, const PGresult *job)
{
	const char *state = ctl_value(job, 0, "state");

	if (strcmp(state, "succeeded") != 0 &&
		strcmp(state, "cancelled") != 0) {
		return ctl_error(ctl, CTL_FAILED,
			"Its run_as is a role that you may not become.", NULL,
			"42501: job %s is not yours to change",
			ctl_value(job, 0, "id"));
	}
	return ctl_error(ctl, CTL_FAILED, NULL,
		"Submit a new job to change the table again.",
		"BF003: cannot set anything of job %s: it is %s",
		ctl_value(job, 0, "id"), state);
}

static int set(
	struct ctl *ctl, const PGresult *job, const struct changes *changes)
{
	PGresult *row = update(ctl, ctl_value(job, 0, "id"), changes);

	if (row != NULL && PQntuples(row) == 0) {
		(void)refuse_job(ctl, job);
	} else if (row != NULL && (ctl->options & CTL_JSON) != 0) {
		(void)print_json(ctl, row, changes);
	} else if (row != NULL) {
		print_changes(row, changes);
		say_when(job, changes);
	}
	PQclear(row);
	return ctl->code;
}

int cmd_set(struct ctl *ctl)
{
	struct changes changes = { .count = 0 };
	PGresult *job;

	for (int i = 1; i < ctl->argument_count; i++) {
		if (parse(ctl, ctl->arguments[i], &changes) != CTL_OK) {
			return ctl->code;
		}
	}
	job = ctl_find_job(ctl, ctl->job);
	if (job != NULL) {
		(void)set(ctl, job, &changes);
	}
	PQclear(job);
	return ctl->code;
}
