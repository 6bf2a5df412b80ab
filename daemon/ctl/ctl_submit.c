/* A job is inserted, unless one of its name is there:
 *
 *   INSERT … ON CONFLICT (name) DO NOTHING -> the job is new
 *     nothing inserted -> the same again under no name, and ROLLBACK: this is
 *     how the server understands what was given -> compared with the job that
 *     is there
 *
 * Two who submit the same name at once: the second waits for the first, and
 * compares. */
#include "ctl/ctl_submit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "ctl/ctl_columns.h"
#include "rules/key.h"

enum { MOST_COLUMNS = 48 };

#define BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

/* The job keeps these, and values are read by them. */
#define OWN_SETTINGS                                                           \
	"SET LOCAL search_path TO DEFAULT; SET LOCAL datestyle TO DEFAULT;"    \
	" SET LOCAL intervalstyle TO DEFAULT"

#define JOB_ID "SELECT backfill.job_id($1)::text AS value"

/* A name with a comma in it is found as it is. */
#define JOB_IDS                                                                \
	"SELECT string_agg(backfill.job_id(btrim(n))::text, ',') AS value"     \
	" FROM unnest(CASE WHEN EXISTS (SELECT FROM backfill.jobs"             \
	"  WHERE name = $1) THEN ARRAY[$1]"                                    \
	"  ELSE string_to_array($1, ',') END) n"

#define NAMES                                                                  \
	"SELECT CASE WHEN $1 LIKE '{%' THEN $1 ELSE (ARRAY("                   \
	" SELECT btrim(n) FROM unnest(string_to_array($1, ',')) n))::text"     \
	" END AS value"

#define FIND "SELECT id, name, state FROM backfill.jobs WHERE name = $1"

/* $1: name, $2: the row as it would be, $3: the columns that were given.
 * A table is qualified if it was there at INSERT: it may have come since, or
 * be gone. What may change later is compared when it was given. approve() and
 * the canary's resume() change what was submitted, and make no other job of it.
 */
#define DIFFERENCES                                                            \
	"SELECT string_agg(format('%s is %s, not %s.', a.attname,"             \
	"   coalesce(quote_literal(o.old ->> a.attname), 'NULL'),"             \
	"   coalesce(quote_literal(n.new ->> a.attname), 'NULL')), E'\\n'"     \
	"   ORDER BY a.attnum) AS detail,"                                     \
	"  CASE WHEN bool_and(has_column_privilege('backfill_submit',"         \
	"   a.attrelid, a.attnum, 'UPDATE')) THEN format("                     \
	"   'backfillctl set %s %s changes it.', o.job,"                       \
	"   string_agg(a.attname || '=' || CASE"                               \
	"    WHEN n.new ->> a.attname ~ '[^A-Za-z0-9_.:,/+-]'"                 \
	"    THEN '''' || replace(n.new ->> a.attname, '''', '''\\''''')"      \
	"     || '''' ELSE coalesce(n.new ->> a.attname, '') END, ' '"         \
	"   ORDER BY a.attnum))"                                               \
	"  ELSE 'Submit the other job under another name.' END AS hint"        \
	" FROM (SELECT j.id AS job, to_jsonb(j) AS old"                        \
	"  FROM backfill.jobs j WHERE j.name = $1) o,"                         \
	" (SELECT to_jsonb(jsonb_populate_record(NULL::backfill.jobs,"         \
	"  $2::jsonb)) AS new) n, pg_attribute a"                              \
	" WHERE a.attrelid = 'backfill.jobs'::regclass AND a.attnum > 0"       \
	" AND NOT a.attisdropped AND a.attname <> 'name'"                      \
	" AND (has_column_privilege('backfill_submit', a.attrelid,"            \
	"   a.attnum, 'INSERT')"                                               \
	"  OR a.attname IN ('search_path', 'timezone', 'datestyle'))"          \
	" AND (a.attname = ANY ($3::text[]) OR NOT has_column_privilege("      \
	"  'backfill_submit', a.attrelid, a.attnum, 'UPDATE'))"                \
	" AND o.old -> a.attname IS DISTINCT FROM n.new -> a.attname"          \
	" AND NOT (a.attname IN ('target', 'archive_table')"                   \
	"  AND EXISTS (SELECT FROM unnest(string_to_array("                    \
	"    o.old ->> 'search_path', ', ')) s WHERE"                          \
	"   s || '.' || (o.old ->> a.attname) = n.new ->> a.attname"           \
	"   OR s || '.' || (n.new ->> a.attname) = o.old ->> a.attname))"      \
	" AND NOT EXISTS (SELECT FROM backfill.events e"                       \
	"  WHERE e.job_id = o.job AND (a.attname, e.event) IN"                 \
	"  (('hold', 'approve'), ('pause_after_rows', 'resume')))"             \
	" GROUP BY o.job"

#define ALIVE                                                                  \
	"SELECT EXISTS (SELECT FROM backfill.daemons"                          \
	" WHERE lease_until > clock_timestamp() AND stopped_at IS NULL)"       \
	" AS is_alive"

/* The columns of the row, each once, in the order of the table. */
struct row {
	const struct ctl_column *columns[MOST_COLUMNS];
	char *values[MOST_COLUMNS];
	int count;
};

int ctl_has_daemon(struct ctl *ctl)
{
	PGresult *result = ctl_query(ctl, ALIVE, 0, NULL);
	int is_alive = -1;

	if (result != NULL) {
		is_alive = ctl_is_true(result, 0, "is_alive");
	}
	PQclear(result);
	return is_alive;
}

/* ---- what was given ---- */

static void row_close(struct row *row)
{
	for (int i = 0; i < row->count; i++) {
		free(row->values[i]);
	}
}

/* One value of one row; NULL: failed. */
static char *ask(struct ctl *ctl, const char *sql, const char *value)
{
	const char *const values[] = { value };
	PGresult *result = ctl_query(ctl, sql, 1, values);
	char *answer = NULL;

	if (result != NULL) {
		answer = mem_strdup(ctl_value(result, 0, "value"));
	}
	PQclear(result);
	return answer;
}

/* Ids of all that were given, of each option a list. */
static char *ask_jobs(struct ctl *ctl, const struct ctl_column *column)
{
	struct text t;

	text_init(&t);
	for (size_t i = 0; i < ctl->given_count; i++) {
		char *ids;

		if (ctl->given[i].column != column) {
			continue;
		}
		ids = ask(ctl, JOB_IDS, ctl->given[i].value);
		if (ids == NULL) {
			text_close(&t);
			return NULL;
		}
		text_addf(&t, "%s%s", t.length > 0 ? "," : "{", ids);
		free(ids);
	}
	text_add(&t, t.length > 0 ? "}" : "{}");
	return text_take(&t);
}

static char *value_of(struct ctl *ctl, const struct ctl_given *given)
{
	switch (given->column->kind) {
	case COLUMN_JOB:
		return ask(ctl, JOB_ID, given->value);
	case COLUMN_JOBS:
		return ask_jobs(ctl, given->column);
	case COLUMN_NAMES:
		return ask(ctl, NAMES, given->value);
	default:
		return mem_strdup(given->value);
	}
}

/* Of an option that was given twice the last counts. */
static const struct ctl_given *last_given(
	const struct ctl *ctl, const struct ctl_column *column)
{
	for (size_t i = ctl->given_count; i > 0; i--) {
		if (ctl->given[i - 1].column == column) {
			return &ctl->given[i - 1];
		}
	}
	return NULL;
}

static int fill_row(struct ctl *ctl, struct row *row)
{
	row->count = 0;
	for (const struct ctl_column *c = ctl_columns; c->name != NULL; c++) {
		const struct ctl_given *given = last_given(ctl, c);
		char *value;

		if (given == NULL) {
			continue;
		}
		value = value_of(ctl, given);
		if (value == NULL) {
			return ctl->code;
		}
		row->columns[row->count] = c;
		row->values[row->count++] = value;
	}
	return CTL_OK;
}

static const char *name_of(const struct row *row)
{
	for (int i = 0; i < row->count; i++) {
		if (strcmp(row->columns[i]->name, "name") == 0) {
			return row->values[i];
		}
	}
	return NULL;
}

/* ---- into the queue ---- */

/* This runs under the user's search_path: all in it is qualified. A trial has
 * no name of its own, and tells what the row has become. */
static PGresult *insert(struct ctl *ctl, const struct row *row, int is_trial)
{
	const char *values[MOST_COLUMNS];
	int count = 0;
	PGresult *result;
	struct text sql, numbers;

	text_init(&sql);
	text_init(&numbers);
	text_add(&sql, "INSERT INTO backfill.jobs (");
	for (int i = 0; i < row->count; i++) {
		const char *name = row->columns[i]->name;
		const char *comma = count > 0 ? ", " : "";

		if (!is_trial || strcmp(name, "name") != 0) {
			values[count++] = row->values[i];
			text_addf(&sql, "%s%s", comma, name);
			text_addf(&numbers, "%s$%d", comma, count);
		}
	}
	text_addf(&sql, ") VALUES (%s) %s", numbers.data,
		is_trial ? "RETURNING pg_catalog.to_jsonb(jobs.*) AS row"
			 : "ON CONFLICT (name) DO NOTHING"
			   " RETURNING id, name, state");
	result = ctl_query(ctl, sql.data, count, values);
	text_close(&numbers);
	text_close(&sql);
	return result;
}

static void keep(struct ctl_submitted *s, const PGresult *job)
{
	s->id = mem_strdup(ctl_value(job, 0, "id"));
	s->name = mem_strdup(ctl_value(job, 0, "name"));
	s->state = mem_strdup(ctl_value(job, 0, "state"));
}

void ctl_submitted_close(struct ctl_submitted *s)
{
	free(s->id);
	free(s->name);
	free(s->state);
	memset(s, 0, sizeof *s);
}

/* Fills s when the job is new, else *trial. */
static int try_insert(struct ctl *ctl, const struct row *row,
	struct ctl_submitted *s, char **trial)
{
	PGresult *job, *same = NULL;

	if (ctl_run(ctl, BEGIN, NULL) != CTL_OK ||
		ctl_run(ctl, OWN_SETTINGS, NULL) != CTL_OK) {
		return ctl->code;
	}
	job = insert(ctl, row, 0);
	if (job != NULL && PQntuples(job) > 0) {
		keep(s, job);
		(void)ctl_run(ctl, "COMMIT", NULL);
	} else if (job != NULL) {
		same = insert(ctl, row, 1);
	}
	if (same != NULL) {
		*trial = mem_strdup(ctl_value(same, 0, "row"));
		(void)ctl_run(ctl, "ROLLBACK", NULL);
	}
	PQclear(same);
	PQclear(job);
	return ctl->code;
}

/* ---- what is there ---- */

static char *names_given(const struct row *row)
{
	struct text t;

	text_init(&t);
	text_add(&t, "{");
	for (int i = 0; i < row->count; i++) {
		text_add(&t, i > 0 ? "," : "");
		key_add_element(&t, row->columns[i]->name);
	}
	text_add(&t, "}");
	return text_take(&t);
}

static int compare(struct ctl *ctl, const struct row *row, const char *trial,
	const struct ctl_submitted *s)
{
	char *given = names_given(row);
	const char *const values[] = { s->name, trial, given };
	PGresult *found = ctl_query(ctl, DIFFERENCES, 3, values);

	if (found != NULL && PQntuples(found) > 0) {
		(void)ctl_error(ctl, CTL_FAILED, ctl_value(found, 0, "detail"),
			ctl_value(found, 0, "hint"),
			"23505: job %s (%s) is there already, and is another"
			" one",
			s->id, s->name);
	}
	PQclear(found);
	free(given);
	return ctl->code;
}

/* Sets was_there when the job can be seen, and is the same. */
static int look(struct ctl *ctl, const struct row *row, const char *trial,
	struct ctl_submitted *s)
{
	const char *const values[] = { name_of(row) };
	PGresult *job = ctl_query(ctl, FIND, 1, values);

	if (job != NULL && PQntuples(job) > 0) {
		keep(s, job);
		s->was_there = 1;
		(void)compare(ctl, row, trial, s);
	}
	PQclear(job);
	return ctl->code;
}

/* A job that was removed just now is not there when it is looked for; one
 * that is not seen twice is somebody else's. */
static int submit_row(
	struct ctl *ctl, const struct row *row, struct ctl_submitted *s)
{
	const char *name = name_of(row);
	char *trial = NULL;

	for (int attempt = 0; attempt < 2; attempt++) {
		free(trial);
		trial = NULL;
		if (try_insert(ctl, row, s, &trial) != CTL_OK ||
			s->id != NULL || look(ctl, row, trial, s) != CTL_OK ||
			s->was_there) {
			free(trial);
			return ctl->code;
		}
	}
	free(trial);
	return ctl_error(ctl, CTL_FAILED,
		"Its run_as is a role that you may not become.",
		"Choose another name.",
		"23505: a job of the name \"%s\" is there already",
		name != NULL ? name : "that it has by default");
}

int ctl_submit(struct ctl *ctl, struct ctl_submitted *s)
{
	struct row row;

	memset(s, 0, sizeof *s);
	if (fill_row(ctl, &row) == CTL_OK) {
		(void)submit_row(ctl, &row, s);
	}
	row_close(&row);
	return ctl->code;
}
