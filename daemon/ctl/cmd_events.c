/* Who did what and when: backfill.events. New ones are followed by asking
 * again and again, which needs no LISTEN: a transaction pooler would not
 * deliver it. What was told already is the matter of ctl_events.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/ctl_events.h"
#include "ctl/ctl_table.h"
#include "rules/units.h"

enum { POLL_MS = 500, RECONNECT_MS = 1000 };

/* A time, or how long ago. */
#define SINCE                                                                  \
	"SELECT CASE WHEN $1 ~ '^ *([0-9.]+ *(us|ms|s|secs?|seconds?|min"      \
	"|mins|minutes?|h|hours?|d|days?|w|weeks?|months?) *)+$'"              \
	" THEN clock_timestamp() - $1::interval"                               \
	" ELSE $1::timestamptz END AS since"

#define FIELDS                                                                 \
	"e.id, e.at, e.actor, e.job_id, (SELECT j.name FROM backfill.jobs j"   \
	" WHERE j.id = e.job_id) AS job_name, e.event, e.detail"

/* What is shown of an event, and all of it. */
#define SHOWN                                                                  \
	"e.at::timestamptz(0) AS shown_at, e.actor, e.job_id, e.job_name,"     \
	" e.event, regexp_replace(e.detail, E'\\n.*', ' ...') AS line,"        \
	" row_to_json(e) AS json"

/* $1: a job's id, $2: since, $3: how many; NULL: all. */
#define LAST                                                                   \
	"SELECT * FROM (SELECT " FIELDS " FROM backfill.events e"              \
	" WHERE ($1::bigint IS NULL OR e.job_id = $1::bigint)"                 \
	" AND ($2::timestamptz IS NULL OR e.at >= $2::timestamptz)"            \
	" ORDER BY e.id DESC LIMIT $3::bigint) e ORDER BY e.id"

#define LAST_SHOWN "SELECT e.id, " SHOWN " FROM (" LAST ") e"

/* $1: a job's id, $2: floor of the transactions (NULL: the snapshot's), $3:
 * the lowest id. A row's transaction with its epoch is the last of its number
 * below the snapshot's xmax. The snapshot comes with each row, and alone when
 * there is none. */
#define NEW                                                                    \
	"SELECT s.xmin AS snapshot_xmin, s.xmax AS snapshot_xmax, n.*"         \
	" FROM (SELECT pg_snapshot_xmin(c)::text::bigint AS xmin,"             \
	"  pg_snapshot_xmax(c)::text::bigint AS xmax"                          \
	"  FROM pg_current_snapshot() c) s"                                    \
	" LEFT JOIN LATERAL (SELECT f.id, f.xid, x.*"                          \
	"  FROM (SELECT e.*, s.xmax - mod(s.xmax - e.xmin::text::bigint"       \
	"    + 4294967296, 4294967296) AS xid"                                 \
	"   FROM backfill.events e WHERE e.id > $3::bigint"                    \
	"   AND ($1::bigint IS NULL OR e.job_id = $1::bigint)) f,"             \
	"  LATERAL (SELECT " SHOWN " FROM (SELECT " FIELDS                     \
	"   FROM (SELECT f.*) e) e) x"                                         \
	"  WHERE f.xid >= coalesce($2::bigint, s.xmin)) n ON true"             \
	" ORDER BY n.id"

static const char *const headers[] = { "AT", "ACTOR", "ID", "NAME", "EVENT",
	"DETAIL" };

struct tail {
	struct ctl *ctl;
	const char *job; /* id; NULL: of all jobs */
	struct ctl_table table;
	struct ctl_seen seen;
};

/* ---- printing ---- */

static int64_t number(const PGresult *rows, int i, const char *column)
{
	return strtoll(ctl_value(rows, i, column), NULL, 10);
}

static void add_cell(
	struct tail *t, const PGresult *rows, int i, const char *column)
{
	ctl_table_add(&t->table,
		ctl_is_null(rows, i, column) ? "-"
					     : ctl_value(rows, i, column));
}

static void add_event(struct tail *t, const PGresult *rows, int i)
{
	if ((t->ctl->options & CTL_JSON) != 0) {
		ctl_say_json(ctl_value(rows, i, "json"));
		return;
	}
	add_cell(t, rows, i, "shown_at");
	add_cell(t, rows, i, "actor");
	add_cell(t, rows, i, "job_id");
	add_cell(t, rows, i, "job_name");
	add_cell(t, rows, i, "event");
	ctl_table_add(&t->table, ctl_value(rows, i, "line"));
}

static void print_events(struct tail *t)
{
	if ((t->ctl->options & CTL_JSON) == 0) {
		ctl_table_print(&t->table, stdout, ctl_table_width(stdout));
		ctl_table_go_on(&t->table);
	}
	(void)fflush(stdout);
}

static int print_last(struct tail *t, const char *const *values)
{
	PGresult *rows = ctl_query(t->ctl, LAST_SHOWN, 3, values);

	for (int i = 0; i < PQntuples(rows); i++) {
		add_event(t, rows, i);
		t->seen.largest = number(rows, i, "id");
	}
	if (rows != NULL) {
		print_events(t);
	}
	PQclear(rows);
	return t->ctl->code;
}

/* ---- following ---- */

/* What is visible; is_first: it was told already. NULL of ctl_query_again():
 * lost, or failed. */
static int look(struct tail *t, int is_first)
{
	char floor[24], lowest[24];
	const char *const values[] = { t->job, is_first ? NULL : floor,
		lowest };
	PGresult *rows;

	(void)snprintf(floor, sizeof floor, "%" PRId64, t->seen.floor);
	(void)snprintf(lowest, sizeof lowest, "%" PRId64, t->seen.lowest);
	rows = ctl_query_again(t->ctl, NEW, 3, values);
	if (rows == NULL) {
		return 0;
	}
	for (int i = 0; i < PQntuples(rows); i++) {
		if (!ctl_is_null(rows, i, "id") &&
			ctl_seen_add(&t->seen, number(rows, i, "id"),
				number(rows, i, "xid")) &&
			!is_first) {
			add_event(t, rows, i);
		}
	}
	ctl_seen_end_look(&t->seen, number(rows, 0, "snapshot_xmin"),
		number(rows, 0, "snapshot_xmax"), clock_boot_ms());
	PQclear(rows);
	print_events(t);
	return 1;
}

static void reconnect(struct tail *t)
{
	ctl_warn("the connection to the server is lost: trying again");
	do {
		ctl_pause(RECONNECT_MS);
	} while (!ctl_reconnect(t->ctl));
	ctl_warn("connected again: no event is left out");
}

/* Until it fails, or is interrupted. */
static int follow(struct tail *t)
{
	while (t->ctl->code == CTL_OK) {
		ctl_pause(POLL_MS);
		if (!look(t, 0) && t->ctl->code == CTL_OK) {
			reconnect(t);
		}
	}
	return t->ctl->code;
}

/* What is told at first, and what is new after it, by one snapshot. */
static int begin(struct tail *t, const char *const *values)
{
	struct ctl *ctl = t->ctl;

	if (ctl_run(ctl, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		    NULL) != CTL_OK ||
		print_last(t, values) != CTL_OK) {
		return ctl->code;
	}
	if (!look(t, 1)) {
		return ctl->code != CTL_OK
			? ctl->code
			: ctl_error(ctl, CTL_CONNECTION, NULL, NULL,
				  "the connection to the server is lost");
	}
	return ctl_run(ctl, "COMMIT", NULL);
}

/* ---- the command ---- */

static int parse_limit(struct ctl *ctl)
{
	const char *hint = NULL;
	int64_t value;

	if (ctl->limit != NULL &&
		units_parse_count(ctl->limit, &value, &hint) != 0) {
		return ctl_error(ctl, CTL_FATAL, NULL, hint,
			"invalid value for --limit: \"%s\"", ctl->limit);
	}
	if (ctl->limit == NULL && ctl->since == NULL) {
		ctl->limit = "50";
	}
	return CTL_OK;
}

/* *since is owned; NULL: not given. */
static int parse_since(struct ctl *ctl, char **since)
{
	const char *const values[] = { ctl->since };
	PGresult *result;

	if (ctl->since == NULL) {
		return CTL_OK;
	}
	result = ctl_query(ctl, SINCE, 1, values);
	if (result != NULL) {
		*since = mem_strdup(ctl_value(result, 0, "since"));
	}
	PQclear(result);
	return ctl->code;
}

static int run(struct ctl *ctl, const char *job)
{
	struct tail t = { .ctl = ctl, .job = job };
	char *since = NULL;

	if (parse_limit(ctl) != CTL_OK || parse_since(ctl, &since) != CTL_OK) {
		return ctl->code;
	}
	const char *const values[] = { job, since, ctl->limit };

	if ((ctl->options & (CTL_JSON | CTL_FOLLOW)) == CTL_JSON) {
		(void)ctl_print_json(ctl, LAST, 3, values);
		free(since);
		return ctl->code;
	}
	ctl_table_init(&t.table, headers, "llrlll");
	ctl_seen_init(&t.seen);
	if ((ctl->options & CTL_FOLLOW) == 0) {
		(void)print_last(&t, values);
	} else if (begin(&t, values) == CTL_OK) {
		(void)follow(&t);
	}
	ctl_seen_close(&t.seen);
	ctl_table_close(&t.table);
	free(since);
	return ctl->code;
}

int cmd_events(struct ctl *ctl)
{
	PGresult *job;

	if (ctl->job == NULL) {
		return run(ctl, NULL);
	}
	job = ctl_find_job(ctl, ctl->job);
	if (job != NULL) {
		(void)run(ctl, ctl_value(job, 0, "id"));
	}
	PQclear(job);
	return ctl->code;
}
