/* What install leaves to the DBA: the daemon's login, the submitters' roles
 * and the lines of pg_hba.conf. What is SQL can be piped into psql; the rest
 * are comments, a line each, so that no name can end one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_schema.h"

enum { OWNERS_SHOWN = 5 };

/* A name as pg_hba.conf and pg_ident.conf have it. */
#define HBA_NAME(expression)                                                   \
	" CASE WHEN " expression " ~ '^[a-z_][a-z0-9_]*$' AND " expression     \
	" NOT IN ('all', 'samerole', 'sameuser', 'samegroup', 'replication')"  \
	" THEN " expression " ELSE '\"' || replace(" expression                \
	", '\"', '\"\"') || '\"' END"

/* The best candidate for the control login: one that has most of what it
 * needs, else a role called backfilld, whatever it has. */
#define FIND_LOGIN                                                             \
	"SELECT r.rolcanlogin, quote_ident(r.rolname) AS ident," HBA_NAME(     \
		"r.rolname") " AS name,"                                       \
			     " has_database_privilege(r.oid, "                 \
			     "current_database(), 'CONNECT')"                  \
			     "  AS may_connect, m.missing"                     \
			     " FROM pg_roles r,"                               \
			     " LATERAL (SELECT string_agg(g, ', ' ORDER BY "   \
			     "n) AS missing,"                                  \
			     "   count(*) AS count, bool_or(n = 1) AS is_none" \
			     "  FROM (VALUES (1, 'backfill_daemon'), (2, "     \
			     "'pg_monitor'),"                                  \
			     "   (3, 'pg_signal_backend')) v(n, g)"            \
			     "  WHERE NOT pg_has_role(r.oid, g, 'USAGE')) m"   \
			     " WHERE NOT r.rolsuper AND (r.rolname = "         \
			     "'backfilld'"                                     \
			     "  OR (r.rolcanlogin AND m.is_none IS NOT TRUE))" \
			     " ORDER BY r.rolcanlogin DESC, m.is_none NULLS "  \
			     "FIRST, m.count,"                                 \
			     "  r.rolname = 'backfilld' DESC, r.rolname "      \
			     "LIMIT 1"

/* The owners of the biggest tables come first. */
#define FIND_OWNERS                                                            \
	"SELECT quote_ident(o.rolname) AS ident, count(*) OVER () AS count"    \
	" FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner"               \
	" WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'"           \
	" AND o.rolcanlogin AND NOT o.rolsuper"                                \
	" AND NOT pg_has_role(o.oid, 'backfill_submit', 'USAGE')"              \
	" GROUP BY o.rolname ORDER BY sum(c.relpages) DESC, o.rolname"         \
	" LIMIT 5"

/* The logins that the runner connects as: run_as of a job must be a member
 * of backfill_submit; owners that are not yet are expected to become it. */
#define FIND_RUN_AS                                                            \
	"SELECT" HBA_NAME("r.rolname") " FROM pg_roles r WHERE r.rolcanlogin " \
				       "AND NOT r.rolsuper"                    \
				       " AND NOT pg_has_role(r.oid, "          \
				       "'backfill_daemon', 'MEMBER')"          \
				       " AND (pg_has_role(r.oid, "             \
				       "'backfill_submit', 'USAGE')"           \
				       "  OR r.oid IN (SELECT c.relowner "     \
				       "FROM pg_class c"                       \
				       "   WHERE c.relkind IN ('r', 'p') AND " \
				       "c.relpersistence <> 't'))"             \
				       " ORDER BY r.rolname LIMIT 10"

#define DATABASE_NAME                                                          \
	"SELECT" HBA_NAME("d") " AS name, quote_ident(d) AS ident"             \
			       " FROM current_database() d"

static void print_login(const PGresult *login, const char *database)
{
	const char *ident = ctl_value(login, 0, "ident");

	if (PQntuples(login) == 0) {
		ctl_say("CREATE ROLE backfilld LOGIN; GRANT backfill_daemon,"
			" pg_monitor, pg_signal_backend TO backfilld;");
	}
	if (*ctl_value(login, 0, "rolcanlogin") == 'f') {
		ctl_say("ALTER ROLE %s LOGIN;", ident);
	}
	if (!ctl_is_null(login, 0, "missing")) {
		ctl_say("GRANT %s TO %s;", ctl_value(login, 0, "missing"),
			ident);
	}
	if (*ctl_value(login, 0, "may_connect") == 'f') {
		ctl_say("GRANT CONNECT ON DATABASE %s TO %s;", database, ident);
	}
}

static int print_owners(struct ctl *ctl)
{
	PGresult *result = ctl_query(ctl, FIND_OWNERS, 0, NULL);
	int more;

	if (result == NULL) {
		return ctl->code;
	}
	if (PQntuples(result) > 0) {
		ctl_say("-- Owners of tables who submit jobs, or whom jobs run"
			" as:");
	}
	for (int i = 0; i < PQntuples(result); i++) {
		ctl_say("-- GRANT backfill_submit TO %s;",
			ctl_value(result, i, "ident"));
	}
	more = atoi(ctl_value(result, 0, "count")) - OWNERS_SHOWN;
	if (more > 0) {
		ctl_say("-- and %d more", more);
	}
	PQclear(result);
	return CTL_OK;
}

static int print_hba(struct ctl *ctl, const char *database, const char *login)
{
	PGresult *result = ctl_query(ctl, FIND_RUN_AS, 0, NULL);

	if (result == NULL) {
		return ctl->code;
	}
	ctl_say("-- pg_hba.conf, above its other lines, when the daemon runs on"
		" the server's host as user backfilld:");
	ctl_say("--   local  %s  %s  peer map=backfilld", database, login);
	for (int i = 0; i < PQntuples(result); i++) {
		ctl_say("--   local  %s  %s  peer map=backfilld", database,
			PQgetvalue(result, i, 0));
	}
	ctl_say("--   and a line for every other role that jobs run as");
	ctl_say("-- pg_ident.conf:");
	ctl_say("--   backfilld  backfilld  %s", login);
	for (int i = 0; i < PQntuples(result); i++) {
		ctl_say("--   backfilld  backfilld  %s",
			PQgetvalue(result, i, 0));
	}
	ctl_say("-- Then reload the server, start the daemon and, as user"
		" backfilld:");
	ctl_say("--   backfillctl check -c /etc/backfilld/backfilld.yaml");
	PQclear(result);
	return CTL_OK;
}

int ctl_remains_print(struct ctl *ctl)
{
	PGresult *database = ctl_query(ctl, DATABASE_NAME, 0, NULL);
	PGresult *login = NULL;

	if (database != NULL) {
		login = ctl_query(ctl, FIND_LOGIN, 0, NULL);
	}
	if (login != NULL) {
		print_login(login, ctl_value(database, 0, "ident"));
		if (print_owners(ctl) == CTL_OK) {
			(void)print_hba(ctl, ctl_value(database, 0, "name"),
				PQntuples(login) > 0
					? ctl_value(login, 0, "name")
					: "backfilld");
		}
	}
	PQclear(login);
	PQclear(database);
	return ctl->code;
}
