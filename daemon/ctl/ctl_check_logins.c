/* The two kinds of logins. A role has a right when it has it without SET
 * ROLE, which the daemon never does: membership that is not inherited is
 * none. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/ctl_check.h"

enum { INHERIT_PER_GRANT = 160000 };

/* Of each name, what both kinds need. A login has a limit of connections of
 * its own, -1: none. */
#define LOGIN                                                                  \
	"r.oid IS NOT NULL AS there, quote_ident(l.name) AS ident,"            \
	" r.rolsuper, r.rolcanlogin, r.rolconnlimit, l.name,"                  \
	" has_database_privilege(r.oid, d.oid, 'CONNECT') AS may_connect,"     \
	" quote_ident(d.datname) AS database"

#define CONTROL                                                                \
	"SELECT " LOGIN ", m.missing, m.unused FROM (SELECT $1::name) l(name)" \
	" LEFT JOIN pg_roles r ON r.rolname = l.name"                          \
	" JOIN pg_database d ON d.datname = current_database(),"               \
	" LATERAL (SELECT"                                                     \
	"  string_agg(g.name, ', ' ORDER BY g.n)"                              \
	"   FILTER (WHERE NOT g.is_member) AS missing,"                        \
	"  string_agg(g.name, ', ' ORDER BY g.n)"                              \
	"   FILTER (WHERE g.is_member AND NOT g.has) AS unused"                \
	"  FROM (SELECT w.name, w.n, coalesce("                                \
	"    pg_has_role(r.oid, o.oid, 'MEMBER'), false) AS is_member,"        \
	"    coalesce(pg_has_role(r.oid, o.oid, 'USAGE'), false) AS has"       \
	"   FROM unnest(ARRAY['backfill_daemon', 'pg_monitor',"                \
	"    'pg_signal_backend']) WITH ORDINALITY AS w(name, n)"              \
	"   LEFT JOIN pg_roles o ON o.rolname = w.name) g) m"

/* As backfill.jobs_check_run_as() decides. Who is only a member of
 * backfill_submit may still submit what runs as another role. */
#define RUNNERS                                                                \
	"SELECT " LOGIN ", l.is_named,"                                        \
	" pg_has_role(r.oid, s.oid, 'MEMBER') AS is_member,"                   \
	" pg_has_role(r.oid, s.oid, 'USAGE') AS may_use,"                      \
	" concat_ws(', ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END,"          \
	"  CASE WHEN r.rolreplication THEN 'REPLICATION' END,"                 \
	"  (SELECT string_agg(o.rolname, ', ' ORDER BY o.rolname)"             \
	"   FROM pg_roles o WHERE o.rolname IN ('backfill_daemon',"            \
	"    'backfill_owner', 'pg_execute_server_program',"                   \
	"    'pg_read_server_files', 'pg_write_server_files')"                 \
	"   AND NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'MEMBER')))"      \
	"  AS beyond"                                                          \
	" FROM (SELECT u.name::name, true"                                     \
	"   FROM unnest($1::text[]) AS u(name)"                                \
	"  UNION ALL SELECT m.rolname, false FROM pg_roles m, pg_roles g"      \
	"   WHERE $1::text[] = '{}' AND g.rolname = 'backfill_submit'"         \
	"   AND m.rolcanlogin AND NOT m.rolsuper AND m.rolname <> $2"          \
	"   AND pg_has_role(m.oid, g.oid, 'MEMBER')) l(name, is_named)"        \
	" LEFT JOIN pg_roles r ON r.rolname = l.name"                          \
	" JOIN pg_database d ON d.datname = current_database()"                \
	" LEFT JOIN pg_roles s ON s.rolname = 'backfill_submit'"               \
	" ORDER BY l.name LIMIT 100"

/* Who came by the other connection, in the same database of ours? */
#define IS_HERE                                                                \
	"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1::integer"  \
	" AND usename = $2 AND datname = current_database()) AS is_here"

/* A line about a login whose mending is SQL with its name. */
static void tell_failure(struct check *c, const char *kind, const char *name,
	const char *fact, const char *mend_format, ...)
	__attribute__((format(printf, 5, 6)));

static void tell_failure(struct check *c, const char *kind, const char *name,
	const char *fact, const char *mend_format, ...)
{
	char *mend = NULL;
	va_list args;

	va_start(args, mend_format);
	if (vasprintf(&mend, mend_format, args) < 0) {
		abort();
	}
	va_end(args);
	ctl_check_tell(
		c, CHECK_FAILURE, mend, "%s \"%s\": %s", kind, name, fact);
	free(mend);
}

/* Whether the role may log in to this database as often as it must; tells
 * why not. */
static int may_log_in(struct check *c, const PGresult *row, int i,
	const char *kind, int64_t connections)
{
	const char *name = ctl_value(row, i, "name");
	const char *ident = ctl_value(row, i, "ident");
	double limit = ctl_number(row, i, "rolconnlimit");
	int before = c->counts[CHECK_FAILURE];

	if (!ctl_is_true(row, i, "rolcanlogin")) {
		tell_failure(c, kind, name, "may not log in",
			"ALTER ROLE %s LOGIN;", ident);
	}
	if (!ctl_is_true(row, i, "may_connect")) {
		tell_failure(c, kind, name, "may not connect to this database",
			"GRANT CONNECT ON DATABASE %s TO %s;",
			ctl_value(row, i, "database"), ident);
	}
	if (limit >= 0 && limit < (double)connections) {
		tell_failure(c, kind, name, "its connection limit is too small",
			"ALTER ROLE %s CONNECTION LIMIT %lld;", ident,
			(long long)connections);
	}
	return c->counts[CHECK_FAILURE] == before;
}

/* Membership that is not inherited: from 16 on that is a property of the
 * grant, not of the member. */
static void tell_not_inherited(struct check *c, const char *kind,
	const char *name, const char *ident, const char *roles)
{
	char fact[256];

	(void)snprintf(fact, sizeof fact, "does not inherit %s", roles);
	if (PQserverVersion(c->ctl->conn) >= INHERIT_PER_GRANT) {
		tell_failure(c, kind, name, fact,
			"GRANT %s TO %s WITH INHERIT TRUE;", roles, ident);
	} else {
		tell_failure(
			c, kind, name, fact, "ALTER ROLE %s INHERIT;", ident);
	}
}

/* ---- the control login */

static void tell_memberships(struct check *c, const PGresult *row)
{
	static const char kind[] = "control login";
	const char *name = ctl_value(row, 0, "name");
	const char *ident = ctl_value(row, 0, "ident");
	const char *missing = ctl_value(row, 0, "missing");
	const char *unused = ctl_value(row, 0, "unused");
	char fact[256];

	if (*missing != '\0') {
		(void)snprintf(
			fact, sizeof fact, "lacks membership in %s", missing);
		tell_failure(
			c, kind, name, fact, "GRANT %s TO %s;", missing, ident);
	}
	if (*unused != '\0') {
		tell_not_inherited(c, kind, name, ident, unused);
	}
	if (*missing == '\0' && *unused == '\0') {
		ctl_check_tell(c, CHECK_OK, NULL,
			"%s \"%s\": is a member of backfill_daemon,"
			" pg_monitor, pg_signal_backend",
			kind, name);
	}
}

int ctl_check_control(struct check *c)
{
	static const char kind[] = "control login";
	const char *const values[] = { c->control };
	PGresult *row = ctl_query(c->ctl, CONTROL, 1, values);
	const char *name, *ident;

	if (row == NULL) {
		return c->ctl->code;
	}
	name = ctl_value(row, 0, "name");
	ident = ctl_value(row, 0, "ident");
	if (!ctl_is_true(row, 0, "there")) {
		tell_failure(c, kind, name, "does not exist",
			"CREATE ROLE %s LOGIN; GRANT backfill_daemon,"
			" pg_monitor, pg_signal_backend TO %s;",
			ident, ident);
	} else if (ctl_is_true(row, 0, "rolsuper")) {
		tell_failure(c, kind, name, "is a superuser",
			"ALTER ROLE %s NOSUPERUSER;", ident);
	} else {
		if (may_log_in(c, row, 0, kind, 1)) {
			ctl_check_tell(c, CHECK_OK, NULL,
				"%s \"%s\": may log in, and is no superuser",
				kind, name);
		}
		tell_memberships(c, row);
	}
	PQclear(row);
	return CTL_OK;
}

/* ---- the logins of jobs */

static const char RUNNER[] = "runner login";

/* With the very connection string that the daemon will use: pg_hba.conf,
 * pg_ident.conf and password files show only so. */
static int try_connection(
	struct check *c, const char *conninfo, const char *name)
{
	PGconn *conn = ctl_check_connect(c, RUNNER, conninfo, name);
	const char *values[] = { NULL, name };
	PGresult *row;
	char pid[16];

	if (conn == NULL) {
		return CTL_OK;
	}
	(void)snprintf(pid, sizeof pid, "%d", PQbackendPID(conn));
	values[0] = pid;
	row = ctl_query(c->ctl, IS_HERE, 2, values);
	if (row != NULL && ctl_is_true(row, 0, "is_here")) {
		ctl_check_tell(c, CHECK_OK, NULL,
			"%s \"%s\": connects to this database", RUNNER, name);
	} else if (row != NULL) {
		ctl_check_tell(c, CHECK_FAILURE,
			"Let \"runner\" and \"dsn\" of the configuration name"
			" the same server and database.",
			"%s \"%s\": connects to another server or database,"
			" or under another name",
			RUNNER, name);
	}
	PQclear(row);
	PQfinish(conn);
	return c->ctl->code;
}

/* Whether the role can be run_as of a job; tells why not. */
static int may_run_jobs(struct check *c, const PGresult *rows, int i)
{
	const char *name = ctl_value(rows, i, "name");
	const char *ident = ctl_value(rows, i, "ident");
	const char *beyond = ctl_value(rows, i, "beyond");
	int is_fine;

	if (!ctl_is_true(rows, i, "there")) {
		tell_failure(c, RUNNER, name, "does not exist",
			"CREATE ROLE %s LOGIN; GRANT backfill_submit TO %s;",
			ident, ident);
		return 0;
	}
	if (*beyond != '\0') {
		ctl_check_tell(c,
			ctl_is_true(rows, i, "is_named") ? CHECK_FAILURE
							 : CHECK_WARNING,
			"Run jobs as a role that has less.",
			"%s \"%s\": no job may run as it: it has %s", RUNNER,
			name, beyond);
		return 0;
	}
	is_fine = may_log_in(c, rows, i, RUNNER, c->workers);
	if (!ctl_is_true(rows, i, "is_member")) {
		tell_failure(c, RUNNER, name,
			"lacks membership in backfill_submit",
			"GRANT backfill_submit TO %s;", ident);
		return 0;
	}
	if (!ctl_is_true(rows, i, "may_use")) {
		tell_not_inherited(c, RUNNER, name, ident, "backfill_submit");
		return 0;
	}
	return is_fine;
}

int ctl_check_runners(struct check *c, const char *conninfo)
{
	char *names = ctl_check_array(&c->runners);
	const char *const values[] = { names, c->control };
	PGresult *rows = ctl_query(c->ctl, RUNNERS, 2, values);

	free(names);
	if (rows == NULL) {
		return c->ctl->code;
	}
	if (PQntuples(rows) == 0) {
		ctl_check_tell(c, CHECK_WARNING,
			"GRANT backfill_submit TO app;",
			"runner logins: no login is a member of"
			" backfill_submit");
	}
	for (int i = 0; i < PQntuples(rows) && c->ctl->code == CTL_OK; i++) {
		if (!may_run_jobs(c, rows, i)) {
			continue;
		}
		ctl_check_tell(c, CHECK_OK, NULL,
			"%s \"%s\": may log in, and run jobs", RUNNER,
			ctl_value(rows, i, "name"));
		if (conninfo != NULL) {
			(void)try_connection(
				c, conninfo, ctl_value(rows, i, "name"));
		}
	}
	PQclear(rows);
	return c->ctl->code;
}
