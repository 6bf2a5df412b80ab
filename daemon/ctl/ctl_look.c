#include "ctl/ctl_look.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Times as seconds, of which C makes words. */
static const char head_sql[] =
	"SELECT current_database() AS database,"
	" extract(epoch FROM clock_timestamp()) AS now_s,"
	" s.stopped_by, s.reason AS stop_reason,"
	" extract(epoch FROM clock_timestamp() - s.stopped_at) AS stopped_s,"
	" n.queued, n.paused, n.failed,"
	" extract(epoch FROM clock_timestamp() - n.oldest) AS oldest_queued_s"
	" FROM (SELECT sum(n.jobs) FILTER (WHERE n.state = 'queued') AS queued,"
	"  sum(n.jobs) FILTER (WHERE n.state = 'paused') AS paused,"
	"  sum(n.recent_jobs) FILTER (WHERE n.state = 'failed') AS failed,"
	"  min(n.oldest_submitted_at) FILTER (WHERE n.state = 'queued')"
	"  AS oldest FROM backfill.job_states n) n"
	" LEFT JOIN backfill.stop s ON true;";

/* Who is alive; when nobody is, who was last. */
static const char daemons_sql[] =
	"SELECT d.host, d.pid, d.version,"
	" extract(epoch FROM clock_timestamp() - d.started_at) AS up_s,"
	" extract(epoch FROM clock_timestamp() - (d.lease_until - d.lease))"
	"  AS heard_s,"
	" d.stopped_at IS NULL AND d.lease_until > clock_timestamp()"
	"  AS is_alive"
	" FROM backfill.daemons d"
	" ORDER BY is_alive DESC, d.lease_until DESC LIMIT 100;";

static const char signals_sql[] =
	"SELECT DISTINCT ON (s.target) s.target, s.value, s.limit_value,"
	" s.resume_value, extract(epoch FROM s.age) AS age_s, s.holding"
	" FROM backfill.signals s WHERE s.signal = 'replication_lag'"
	" ORDER BY s.target, s.age;";

/* came_by: how it came to run, unless that is long ago. */
static const char jobs_sql[] =
	"SELECT p.*, backfill.is_schema_kind(p.kind) AS is_schema_kind,"
	" nullif((SELECT e.event FROM jsonb_to_recordset("
	"  backfill.job_events(p.id, 20)) e(id bigint, at timestamptz,"
	"  event text) WHERE p.state = 'running' AND e.event IN"
	"  ('submitted', 'taken_over', 'released', 'resume', 'retry')"
	"  AND e.at > now() - interval '1 hour'"
	"  ORDER BY e.id DESC LIMIT 1), 'submitted') AS came_by,"
	" extract(epoch FROM p.eta) AS eta_s,"
	" extract(epoch FROM p.batch_time_p50) AS batch_p50_s,"
	" extract(epoch FROM p.batch_time_p95) AS batch_p95_s,"
	" extract(epoch FROM p.target_batch_time) AS target_batch_s,"
	" extract(epoch FROM p.pause) AS pause_s,"
	" extract(epoch FROM p.paced) AS paced_s,"
	" extract(epoch FROM p.work_time) AS work_s,"
	" extract(epoch FROM p.held_time) AS held_s,"
	" extract(epoch FROM p.paused_time) AS paused_s,"
	" extract(epoch FROM t.now_at - p.since) AS since_s,"
	" extract(epoch FROM t.now_at - p.saved_at) AS saved_s,"
	" extract(epoch FROM t.now_at - p.submitted_at) AS age_s,"
	" extract(epoch FROM t.now_at - p.retried_at) AS retried_s,"
	" extract(epoch FROM coalesce(p.finished_at, t.now_at)"
	"  - p.started_at) AS elapsed_s,"
	" extract(epoch FROM t.now_at - p.finished_at) AS ended_s"
	" FROM backfill.progress p, (SELECT clock_timestamp() AS now_at) t"
	" WHERE p.id = ANY (ARRAY(SELECT s.id FROM backfill.shown_jobs s))";

/* ---- asking */

char *look_statements(PGconn *conn, const char *job)
{
	const char *column = job != NULL && ctl_is_id(job) ? "id" : "name";
	struct text t;
	char *literal = NULL;

	if (job != NULL) {
		literal = PQescapeLiteral(conn, job, strlen(job));
		if (literal == NULL) {
			return NULL;
		}
	}
	text_init(&t);
	text_addf(&t, "%s;%s%s%s%s", ctl_session_sql, head_sql, daemons_sql,
		signals_sql, jobs_sql);
	if (literal != NULL) {
		text_addf(&t, " OR p.%s = %s ORDER BY p.%s = %s DESC, p.id",
			column, literal, column, literal);
	} else {
		text_add(&t, " ORDER BY p.id");
	}
	PQfreemem(literal);
	return text_take(&t);
}

void look_init(struct look *l)
{
	memset(l, 0, sizeof *l);
}

void look_close(struct look *l)
{
	for (size_t i = 0; i < l->count; i++) {
		PQclear(l->results[i]);
	}
	free(l->error);
	free(l->daemons);
	free(l->signals);
	free(l->jobs);
	free(l->host);
	free(l->port);
	free(l->job);
	memset(l, 0, sizeof *l);
}

void look_take(struct look *l, PGresult *result)
{
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && l->error == NULL) {
		l->error = mem_strdup(message != NULL
				? message
				: PQresultErrorMessage(result));
	}
	if (l->count == LOOK_RESULTS ||
		PQresultStatus(result) != PGRES_TUPLES_OK) {
		PQclear(result);
		return;
	}
	l->results[l->count++] = result;
}

/* ---- reading */

static const char *text_of(const PGresult *r, int row, const char *column)
{
	return ctl_is_null(r, row, column) ? NULL : ctl_value(r, row, column);
}

static void read_head(struct look *l, const PGresult *r, PGconn *conn)
{
	struct screen *s = &l->screen;

	l->host = mem_strdup(PQhost(conn) != NULL ? PQhost(conn) : "");
	l->port = mem_strdup(PQport(conn) != NULL ? PQport(conn) : "-");
	s->now = ctl_number(r, 0, "now_s");
	s->database = ctl_value(r, 0, "database");
	s->host = l->host;
	s->port = l->port;
	s->stopped_by = text_of(r, 0, "stopped_by");
	s->stop_reason = text_of(r, 0, "stop_reason");
	s->stopped_s = ctl_number(r, 0, "stopped_s");
	s->oldest_queued_s = ctl_number(r, 0, "oldest_queued_s");
}

static void read_daemons(struct look *l, const PGresult *r)
{
	size_t count = (size_t)PQntuples(r);

	l->daemons = mem_new(count + 1, sizeof *l->daemons);
	for (int i = 0; i < PQntuples(r); i++) {
		struct screen_daemon *d = &l->daemons[i];

		d->host = ctl_value(r, i, "host");
		d->pid = ctl_value(r, i, "pid");
		d->version = ctl_value(r, i, "version");
		d->up_s = ctl_number(r, i, "up_s");
		d->heard_s = ctl_number(r, i, "heard_s");
		d->is_alive = ctl_is_true(r, i, "is_alive");
	}
	l->screen.daemons = l->daemons;
	l->screen.daemon_count = count;
}

static void read_signals(struct look *l, const PGresult *r)
{
	size_t count = (size_t)PQntuples(r);

	l->signals = mem_new(count + 1, sizeof *l->signals);
	for (int i = 0; i < PQntuples(r); i++) {
		struct screen_signal *g = &l->signals[i];

		g->target = ctl_value(r, i, "target");
		g->value = ctl_number(r, i, "value");
		g->limit = ctl_number(r, i, "limit_value");
		g->resume = ctl_number(r, i, "resume_value");
		g->age_s = ctl_number(r, i, "age_s");
		g->is_holding = ctl_is_true(r, i, "holding");
	}
	l->screen.signals = l->signals;
	l->screen.signal_count = count;
}

/* A job that is paced moves, if slowly. */
static enum screen_state state_of(const char *state, const char *waits_for)
{
	static const struct {
		const char *name;
		enum screen_state state;
	} states[] = {
		{ "queued", SCREEN_QUEUED },
		{ "paused", SCREEN_PAUSED },
		{ "succeeded", SCREEN_SUCCEEDED },
		{ "failed", SCREEN_FAILED },
		{ "cancelled", SCREEN_CANCELLED },
	};

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		if (strcmp(state, states[i].name) == 0) {
			return states[i].state;
		}
	}
	return waits_for == NULL || strcmp(waits_for, "paced") == 0
		? SCREEN_RUNNING
		: SCREEN_HELD;
}

#define MEMBER(name)                                                           \
	{                                                                      \
#name, offsetof(struct screen_job, name)                       \
	}

struct member {
	const char *column;
	size_t offset;
};

static const struct member texts[] = {
	MEMBER(id),
	MEMBER(name),
	MEMBER(kind),
	MEMBER(target),
	MEMBER(waits_for),
	MEMBER(reason),
	MEMBER(key),
	MEMBER(last_key),
	MEMBER(submitted_by),
	MEMBER(run_as),
	MEMBER(priority),
	MEMBER(step),
	MEMBER(phase),
	MEMBER(dry_run),
	MEMBER(is_schema_kind),
	MEMBER(came_by),
	MEMBER(retry_sqlstate),
	MEMBER(error_sqlstate),
	MEMBER(error_message),
	MEMBER(error_detail),
	MEMBER(error_hint),
};

static const struct member numbers[] = {
	MEMBER(percent),
	MEMBER(rows_read),
	MEMBER(rows_total_estimate),
	MEMBER(rows_done),
	MEMBER(batches),
	MEMBER(rows_per_second),
	MEMBER(rows_per_second_5min),
	MEMBER(batch_rows),
	MEMBER(batch_p50_s),
	MEMBER(batch_p95_s),
	MEMBER(target_batch_s),
	MEMBER(pause_s),
	MEMBER(paced_s),
	MEMBER(eta_s),
	MEMBER(since_s),
	MEMBER(saved_s),
	MEMBER(age_s),
	MEMBER(elapsed_s),
	MEMBER(ended_s),
	MEMBER(work_s),
	MEMBER(held_s),
	MEMBER(paused_s),
	MEMBER(holes),
	MEMBER(row_errors),
	MEMBER(pass),
	MEMBER(late_rows),
	MEMBER(retries),
	MEMBER(retried_s),
};

static void read_job(struct screen_job *j, const PGresult *r, int row)
{
	char *base = (char *)j;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const char *value = text_of(r, row, texts[i].column);

		memcpy(base + texts[i].offset, &value, sizeof value);
	}
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		double value = ctl_number(r, row, numbers[i].column);

		memcpy(base + numbers[i].offset, &value, sizeof value);
	}
	j->state = state_of(ctl_value(r, row, "state"), j->waits_for);
}

static void read_jobs(struct look *l, const PGresult *r)
{
	size_t count = (size_t)PQntuples(r);

	l->jobs = mem_new(count + 1, sizeof *l->jobs);
	for (int i = 0; i < PQntuples(r); i++) {
		read_job(&l->jobs[i], r, i);
	}
	l->screen.jobs = l->jobs;
	l->screen.job_count = count;
}

/* Counted are all of them, and told of at most 500. */
static void read_left_out(struct screen *s, const PGresult *head)
{
	static const struct {
		const char *column;
		enum screen_state state;
	} counts[] = {
		{ "queued", SCREEN_QUEUED },
		{ "paused", SCREEN_PAUSED },
		{ "failed", SCREEN_FAILED },
	};

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		size_t told = ctl_screen_count(s, counts[i].state);
		size_t all =
			strtoul(ctl_value(head, 0, counts[i].column), NULL, 10);

		s->left_out[counts[i].state] = all > told ? all - told : 0;
	}
}

int look_finish(struct look *l, PGconn *conn, int has_job)
{
	if (l->error == NULL && l->count < LOOK_RESULTS) {
		l->error = mem_strdup("the server's answer was incomplete");
	}
	if (l->error != NULL) {
		return -1;
	}
	read_head(l, l->results[1], conn);
	read_daemons(l, l->results[2]);
	read_signals(l, l->results[3]);
	read_jobs(l, l->results[4]);
	read_left_out(&l->screen, l->results[1]);
	if (has_job) {
		/* It comes first; it may be gone. */
		l->job = mem_strdup(ctl_value(l->results[4], 0, "id"));
		l->screen.job = l->job;
	}
	return 0;
}

int look_ask(struct ctl *ctl, struct look *l)
{
	char *statements = look_statements(ctl->conn, ctl->job);
	PGresult *result;

	look_init(l);
	if (statements == NULL || PQsendQuery(ctl->conn, statements) == 0) {
		free(statements);
		return ctl_error(ctl, CTL_CONNECTION, NULL, NULL, "%s",
			PQerrorMessage(ctl->conn));
	}
	free(statements);
	while ((result = PQgetResult(ctl->conn)) != NULL) {
		if (PQresultStatus(result) != PGRES_TUPLES_OK) {
			(void)ctl_refuse_result(ctl, result);
		}
		look_take(l, result);
	}
	if (ctl->code == CTL_OK &&
		look_finish(l, ctl->conn, ctl->job != NULL) != 0) {
		(void)ctl_error(ctl, CTL_FAILED, NULL, NULL, "%s", l->error);
	}
	return ctl->code;
}
