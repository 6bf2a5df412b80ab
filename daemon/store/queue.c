#include "store/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/scripts.h"

/* Beyond any lock_timeout of ours: what takes longer is a dead peer. */
enum { DEADLINE_MS = 15000 };

/* Room for any 64-bit number. */
struct number {
	char text[24];
};

static const char *number(struct number *n, int64_t value)
{
	(void)snprintf(n->text, sizeof n->text, "%" PRId64, value);
	return n->text;
}

static struct pgc_request *one(
	const char *sql, int count, const char *const values[])
{
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);

	pgc_add_params(r, sql, count, values);
	return r;
}

/* A function of (incarnation, job id, third, text). */
static struct pgc_request *about_job(const char *sql, int64_t me,
	int64_t job_id, int64_t third, const char *text)
{
	struct number a, b, c;
	const char *const values[] = { number(&a, me), number(&b, job_id),
		number(&c, third), text };

	return one(sql, text != NULL ? 4 : 3, values);
}

/* ---- login ---- */

/* Without BEGIN, a request is one transaction up to its Sync, and an error
 * ends it. SET of these two parameters is for the transaction under way,
 * before its first query (PostgreSQL docs, 20.11 "transaction_isolation");
 * SET TRANSACTION would be the same with a warning in the server's log. */
void queue_setup_init(struct queue_setup *s, int64_t lock_timeout_ms)
{
	(void)snprintf(s->limits, sizeof s->limits,
		"SELECT pg_catalog.set_config('search_path',"
		" 'pg_catalog, pg_temp', true),"
		" pg_catalog.set_config('lock_timeout', '%" PRId64 "', true),"
		" pg_catalog.set_config('statement_timeout', '10s', true),"
		" pg_catalog.set_config('synchronous_commit', 'local', true)",
		lock_timeout_ms);
	s->statements[0] = "SET transaction_isolation = 'read committed'";
	s->statements[1] = "SET transaction_read_only = off";
	s->statements[2] = s->limits;
	s->statements[3] = NULL;
}

struct pgc_request *queue_login(void)
{
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);

	/* By name in pg_roles: a cluster without the schema has no role of
	 * ours, and pg_has_role() would raise. */
	pgc_add(r,
		"SELECT current_user, pg_catalog.current_database(),"
		" (SELECT rolsuper FROM pg_catalog.pg_roles"
		"  WHERE rolname = current_user),"
		" pg_catalog.to_regnamespace('backfill') IS NOT NULL,"
		" pg_catalog.string_agg(w.n, ', ' ORDER BY w.o)"
		"  FILTER (WHERE NOT w.is_member),"
		" pg_catalog.quote_ident(current_user),"
		" pg_catalog.string_agg(w.n, ', ' ORDER BY w.o)"
		"  FILTER (WHERE w.is_member AND NOT w.has),"
		" pg_catalog.current_setting('server_version_num')::integer"
		"  >= 160000, pg_catalog.pg_backend_pid()"
		" FROM (SELECT u.n, u.o,"
		"   coalesce(pg_catalog.pg_has_role(g.oid, 'MEMBER'), false)"
		"    AS is_member,"
		"   coalesce(pg_catalog.pg_has_role(g.oid, 'USAGE'), false)"
		"    AS has"
		"  FROM pg_catalog.unnest(ARRAY['backfill_daemon',"
		"   'pg_monitor', 'pg_signal_backend']) WITH ORDINALITY"
		"   AS u(n, o)"
		"  LEFT JOIN pg_catalog.pg_roles g ON g.rolname = u.n) w");
	return r;
}

/* From 16 on inheriting is a property of the grant, not of the member. */
static int check_inherited(const PGresult *facts, struct err *e)
{
	const char *user = pgc_text(facts, 0, 0);
	const char *ident = pgc_text(facts, 0, 5);
	const char *unused = pgc_text(facts, 0, 6);

	if (unused[0] == '\0') {
		return 0;
	}
	err_set(e, BFE_INPUT, "the control login \"%s\" does not inherit %s",
		user, unused);
	err_set_detail(e,
		"It is a member, but would have to SET ROLE, which the daemon"
		" does not.");
	if (pgc_bool(facts, 0, 7)) {
		err_set_hint(
			e, "GRANT %s TO %s WITH INHERIT TRUE;", unused, ident);
	} else {
		err_set_hint(e, "ALTER ROLE %s INHERIT;", ident);
	}
	return e->code;
}

/* A pooler makes up the process id that it tells a client. Whether it pools
 * transactions cannot be seen; LISTEN would then stay behind in a session
 * of others, and bring us nothing. */
static int check_is_direct(
	const PGresult *facts, int backend_pid, struct err *e)
{
	if (pgc_int(facts, 0, 8) == backend_pid) {
		return 0;
	}
	err_set(e, BFE_INPUT,
		"the control login \"%s\" goes through a connection pooler",
		pgc_text(facts, 0, 0));
	err_set_detail(e,
		"Process %s answers, but the connection is to process %d:"
		" LISTEN would not work if transactions are pooled.",
		pgc_text(facts, 0, 8), backend_pid);
	err_set_hint(
		e, "Connect to the server itself, or set \"poll_only: true\".");
	return e->code;
}

int queue_check_login(const struct pgc_request *r, int backend_pid,
	int poll_only, struct err *e)
{
	const PGresult *facts = pgc_result(r, 0);
	const char *user = pgc_text(facts, 0, 0);
	const char *missing = pgc_text(facts, 0, 4);

	if (pgc_bool(facts, 0, 2)) {
		err_set(e, BFE_INPUT, "the control login \"%s\" is a superuser",
			user);
		err_set_detail(e,
			"Whoever takes over the daemon would own the server.");
		err_set_hint(e,
			"Use a login of its own: CREATE ROLE backfilld LOGIN;"
			" GRANT backfill_daemon, pg_monitor, pg_signal_backend"
			" TO backfilld;");
		return e->code;
	}
	if (!pgc_bool(facts, 0, 3)) {
		err_set(e, BFE_INPUT,
			"database \"%s\" has no schema \"backfill\"",
			pgc_text(facts, 0, 1));
		err_set_hint(e, "Run: backfillctl install -d %s",
			pgc_text(facts, 0, 1));
		return e->code;
	}
	if (missing[0] != '\0') {
		err_set(e, BFE_INPUT,
			"the control login \"%s\" lacks membership in %s", user,
			missing);
		err_set_detail(e,
			"It needs all three: backfill_daemon for the queue,"
			" pg_monitor to see other backends, pg_signal_backend"
			" to end a dead owner's.");
		err_set_hint(
			e, "GRANT %s TO %s;", missing, pgc_text(facts, 0, 5));
		return e->code;
	}
	if (check_inherited(facts, e) != 0) {
		return e->code;
	}
	return poll_only ? 0 : check_is_direct(facts, backend_pid, e);
}

static void add_listen(struct pgc_request *r, int poll_only)
{
	if (!poll_only) {
		pgc_add(r, "LISTEN backfill");
	}
}

struct pgc_request *queue_register(const char *host, int pid,
	const char *version, int64_t lease_ms, int poll_only)
{
	struct number p, l;
	const char *const values[] = { host, number(&p, pid), version,
		number(&l, lease_ms) };
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);
	struct number needed;
	const char *const versions[] = { number(
		&needed, scripts[scripts_count - 1].version) };

	/* An older schema lacks what we call, a newer one may mean other
	 * things by it. */
	pgc_add_params(r,
		"SELECT coalesce(max(version), 0), max(version) = $1::integer"
		" FROM backfill.schema_version",
		1, versions);
	pgc_add_params(r,
		"SELECT backfill.register($1, $2::integer, $3,"
		" make_interval(secs => $4::double precision / 1000))",
		4, values);
	add_listen(r, poll_only);
	return r;
}

int queue_check_version(const struct pgc_request *r, struct err *e)
{
	const PGresult *version = pgc_result(r, 0);

	if (pgc_bool(version, 0, 1)) {
		return 0;
	}
	err_set(e, BFE_INPUT,
		"schema \"backfill\" has version %s, this program needs %d",
		pgc_text(version, 0, 0), scripts[scripts_count - 1].version);
	err_set_hint(e,
		"Install the same release on both sides, and run:"
		" backfillctl install");
	return e->code;
}

int64_t queue_read_incarnation(const struct pgc_request *r)
{
	return pgc_int(pgc_result(r, 1), 0, 0);
}

/* ---- the daemon's life ---- */

struct pgc_request *queue_renew(int64_t me, uint64_t deadline_ms)
{
	struct number n;
	const char *const values[] = { number(&n, me) };
	struct pgc_request *r = pgc_request_new(deadline_ms);

	pgc_add_params(r, "SELECT backfill.renew($1::bigint)", 1, values);
	return r;
}

struct pgc_request *queue_return(
	int64_t me, const char *host, int pid, int poll_only)
{
	struct number n, p;
	const char *const values[] = { number(&n, me), host, number(&p, pid) };
	struct pgc_request *r = one("SELECT backfill.come_back($1::bigint, $2,"
				    " $3::integer)",
		3, values);

	add_listen(r, poll_only);
	return r;
}

struct pgc_request *queue_unregister(int64_t me)
{
	struct number n;
	const char *const values[] = { number(&n, me) };

	return one("SELECT backfill.unregister($1::bigint)", 1, values);
}

/* ---- the queue ---- */

struct pgc_request *queue_claim(int64_t me, int64_t workers)
{
	struct number a, b;
	const char *const values[] = { number(&a, me), number(&b, workers) };

	return one("SELECT job_id, range, epoch, run_as, name, taken_over"
		   " FROM backfill.claim($1::bigint, $2::integer)",
		2, values);
}

int queue_read_claim(const struct pgc_request *r, struct queue_claim *c)
{
	const PGresult *result = pgc_result(r, 0);

	if (PQntuples(result) == 0) {
		return -1;
	}
	c->job_id = pgc_int(result, 0, 0);
	c->range = (int32_t)pgc_int(result, 0, 1);
	c->epoch = pgc_int(result, 0, 2);
	(void)snprintf(
		c->run_as, sizeof c->run_as, "%s", pgc_text(result, 0, 3));
	(void)snprintf(c->name, sizeof c->name, "%s", pgc_text(result, 0, 4));
	c->taken_over = pgc_bool(result, 0, 5);
	return 0;
}

struct pgc_request *queue_my_work(int64_t me)
{
	struct number n;
	const char *const values[] = { number(&n, me) };

	return one("SELECT job_id, epoch, state, why_not"
		   " FROM backfill.my_work($1::bigint)",
		1, values);
}

int queue_work_count(const struct pgc_request *r)
{
	return PQntuples(pgc_result(r, 0));
}

int64_t queue_work_job(const struct pgc_request *r, int row)
{
	return pgc_int(pgc_result(r, 0), row, 0);
}

int64_t queue_work_epoch(const struct pgc_request *r, int row)
{
	return pgc_int(pgc_result(r, 0), row, 1);
}

const char *queue_work_state(const struct pgc_request *r, int row)
{
	return pgc_text(pgc_result(r, 0), row, 2);
}

const char *queue_work_why_not(const struct pgc_request *r, int row)
{
	return pgc_text(pgc_result(r, 0), row, 3);
}

struct pgc_request *queue_retake(
	int64_t me, int64_t job_id, int32_t range, int64_t epoch)
{
	struct number n;

	return about_job("SELECT backfill.retake_range($1::bigint, $2::bigint,"
			 " $3::integer, $4::bigint)",
		me, job_id, range, number(&n, epoch));
}

int64_t queue_read_epoch(const struct pgc_request *r)
{
	return pgc_int(pgc_result(r, 0), 0, 0);
}

struct pgc_request *queue_set_reason(
	int64_t me, int64_t job_id, int64_t epoch, const char *reason)
{
	return about_job("SELECT backfill.set_reason($1::bigint, $2::bigint,"
			 " $3::bigint, nullif($4, ''))",
		me, job_id, epoch, reason);
}

struct pgc_request *queue_release(
	int64_t me, int64_t job_id, int64_t epoch, const char *why)
{
	return about_job("SELECT backfill.release($1::bigint, $2::bigint,"
			 " $3::bigint, $4)",
		me, job_id, epoch, why);
}

struct pgc_request *queue_finish(int64_t me, int64_t job_id, int64_t epoch)
{
	return about_job("SELECT backfill.finish_job($1::bigint, $2::bigint,"
			 " $3::bigint)",
		me, job_id, epoch, NULL);
}

struct pgc_request *queue_fail(
	int64_t me, int64_t job_id, int64_t epoch, const struct err *error)
{
	struct number a, b, c;
	const char *const values[] = { number(&a, me), number(&b, job_id),
		number(&c, epoch), error->sqlstate, error->message,
		error->detail, error->hint };

	return one("SELECT backfill.fail_job($1::bigint, $2::bigint,"
		   " $3::bigint, $4, $5, $6, $7)",
		7, values);
}

const char *queue_read_finished(const struct pgc_request *r)
{
	return pgc_text(pgc_result(r, 0), 0, 0);
}

struct pgc_request *queue_barrier(int64_t me, int64_t job_id, int64_t epoch,
	uint32_t target_oid, const char *tokens)
{
	struct number a, b, c, d;
	const char *const values[] = { number(&a, me), number(&b, job_id),
		number(&c, epoch), number(&d, target_oid), tokens };

	return one("SELECT tokens, waits_for FROM backfill.barrier($1::bigint,"
		   " $2::bigint, $3::bigint, $4::oid, $5::text[])",
		5, values);
}

struct queue_barrier queue_read_barrier(const struct pgc_request *r)
{
	const PGresult *row = pgc_result(r, 0);
	struct queue_barrier b = {
		.tokens = pgc_text(row, 0, 0),
		.waits_for =
			pgc_is_null(row, 0, 1) ? NULL : pgc_text(row, 0, 1),
	};

	return b;
}

struct pgc_request *queue_awaits_client(
	int64_t me, int64_t job_id, int64_t epoch)
{
	return about_job("SELECT backfill.awaits_client($1::bigint,"
			 " $2::bigint, $3::bigint)",
		me, job_id, epoch, NULL);
}

int queue_read_awaits_client(const struct pgc_request *r)
{
	return pgc_bool(pgc_result(r, 0), 0, 0);
}

struct pgc_request *queue_prune(int64_t me, int64_t retention_ms)
{
	struct number a, b;
	const char *const values[] = { number(&a, me),
		number(&b, retention_ms) };

	return one("SELECT backfill.prune($1::bigint,"
		   " make_interval(secs => $2::double precision / 1000))",
		2, values);
}

int64_t queue_read_pruned(const struct pgc_request *r)
{
	return pgc_int(pgc_result(r, 0), 0, 0);
}

struct pgc_request *queue_cancel_runner(
	int64_t me, int64_t job_id, int64_t epoch)
{
	return about_job("SELECT backfill.cancel_runner($1::bigint,"
			 " $2::bigint, $3::bigint)",
		me, job_id, epoch, NULL);
}

struct pgc_request *queue_blockers(int64_t me, int64_t job_id, int64_t epoch)
{
	struct number a, b, c;
	const char *const values[] = { number(&a, me), number(&b, job_id),
		number(&c, epoch) };

	return one("SELECT backfill.blockers($1::bigint, $2::bigint,"
		   " $3::bigint), backfill.waits_for_table($1::bigint,"
		   " $2::bigint, $3::bigint), b.waiting, b.waited_ms"
		   " FROM (SELECT) AS always LEFT JOIN"
		   " backfill.blocked_by($1::bigint, $2::bigint, $3::bigint) b"
		   " ON true",
		3, values);
}

const char *queue_read_blockers(const struct pgc_request *r)
{
	return pgc_text(pgc_result(r, 0), 0, 0);
}

int queue_read_waits_for_table(const struct pgc_request *r)
{
	return pgc_bool(pgc_result(r, 0), 0, 1);
}

const char *queue_read_waiting(const struct pgc_request *r)
{
	return pgc_text(pgc_result(r, 0), 0, 2);
}

int64_t queue_read_waited_ms(const struct pgc_request *r)
{
	return pgc_int(pgc_result(r, 0), 0, 3);
}

struct pgc_request *queue_unblock(
	int64_t me, int64_t job_id, int64_t epoch, int64_t longest_ms)
{
	struct number n;

	return about_job("SELECT backfill.unblock($1::bigint, $2::bigint,"
			 " $3::bigint, $4::bigint)",
		me, job_id, epoch, number(&n, longest_ms));
}

int queue_read_unblocked(const struct pgc_request *r)
{
	return pgc_bool(pgc_result(r, 0), 0, 0);
}
