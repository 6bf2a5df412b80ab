/* The part of store/queue.h about the connection and the daemon's life: what
 * each request begins with, who may log in, registration, heartbeat. */
#include "queue_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "store/scripts.h"

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
	struct pgc_request *r = pgc_request_new(QUEUE_DEADLINE_MS);

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
	struct queue_number p, l;
	const char *const values[] = { host, queue_number(&p, pid), version,
		queue_number(&l, lease_ms) };
	struct pgc_request *r = pgc_request_new(QUEUE_DEADLINE_MS);
	struct queue_number needed;
	const char *const versions[] = { queue_number(
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
	struct queue_number n;
	const char *const values[] = { queue_number(&n, me) };
	struct pgc_request *r = pgc_request_new(deadline_ms);

	pgc_add_params(r, "SELECT backfill.renew($1::bigint)", 1, values);
	return r;
}

struct pgc_request *queue_return(
	int64_t me, const char *host, int pid, int poll_only)
{
	struct queue_number n, p;
	const char *const values[] = { queue_number(&n, me), host,
		queue_number(&p, pid) };
	struct pgc_request *r =
		queue_one("SELECT backfill.come_back($1::bigint, $2,"
			  " $3::integer)",
			3, values);

	add_listen(r, poll_only);
	return r;
}

struct pgc_request *queue_unregister(int64_t me)
{
	struct queue_number n;
	const char *const values[] = { queue_number(&n, me) };

	return queue_one("SELECT backfill.unregister($1::bigint)", 1, values);
}
