/* The schema, its roles, and who serves it. */
#include <stdio.h>
#include <stdlib.h>

#include "ctl/ctl_check.h"
#include "ctl/ctl_format.h"
#include "ctl/ctl_schema.h"

/* By name in the catalogs: what one may not use is not there for
 * to_regclass(). */
#define LOOK                                                                   \
	"SELECT EXISTS (SELECT FROM pg_class c"                                \
	"  JOIN pg_namespace n ON n.oid = c.relnamespace"                      \
	"  WHERE n.nspname = 'backfill' AND c.relname = 'schema_version'"      \
	"  AND pg_get_userbyid(n.nspowner) = 'backfill_owner') AS there,"      \
	" coalesce((SELECT has_schema_privilege(n.oid, 'USAGE')"               \
	"  FROM pg_namespace n WHERE n.nspname = 'backfill'), false)"          \
	"  AS may_use,"                                                        \
	" 'backfillctl -d ' || quote_ident(current_database())"                \
	"  || ' install' AS install,"                                          \
	" (SELECT string_agg(w.name, ', ' ORDER BY w.n)"                       \
	"  FROM unnest(ARRAY['backfill_owner', 'backfill_daemon',"             \
	"   'backfill_submit', 'backfill_admin']) WITH ORDINALITY"             \
	"   AS w(name, n)"                                                     \
	"  WHERE to_regrole(w.name) IS NULL) AS missing,"                      \
	" (SELECT rolcanlogin OR rolsuper FROM pg_roles"                       \
	"  WHERE rolname = 'backfill_owner') AS owner_is_login"

#define READ_VERSION                                                           \
	"SELECT coalesce(max(version), 0) AS version"                          \
	" FROM backfill.schema_version"

#define DAEMONS                                                                \
	"SELECT host, pid, version,"                                           \
	" extract(epoch FROM clock_timestamp() - started_at) AS age_s"         \
	" FROM backfill.daemons WHERE stopped_at IS NULL"                      \
	" AND lease_until > clock_timestamp() ORDER BY incarnation"

#define STOPPED                                                                \
	"SELECT stopped_by, coalesce(': ' || reason, '') AS reason,"           \
	" extract(epoch FROM clock_timestamp() - stopped_at) AS age_s"         \
	" FROM backfill.stop"

static int tell_version(struct check *c, const char *install)
{
	PGresult *row = ctl_query(c->ctl, READ_VERSION, 0, NULL);
	int version;

	if (row == NULL) {
		return c->ctl->code;
	}
	version = atoi(ctl_value(row, 0, "version"));
	PQclear(row);
	if (version == ctl_schema_newest()) {
		ctl_check_tell(
			c, CHECK_OK, NULL, "schema: version %d", version);
	} else {
		ctl_check_tell(c, CHECK_FAILURE,
			version < ctl_schema_newest()
				? install
				: "Use the backfillctl and the backfilld of"
				  " the newer release.",
			"schema: version %d, this program needs %d", version,
			ctl_schema_newest());
	}
	return CTL_OK;
}

static void tell_roles(struct check *c, const PGresult *look)
{
	if (!ctl_is_null(look, 0, "missing")) {
		ctl_check_tell(c, CHECK_FAILURE,
			"backfillctl uninstall, then install: their rights are"
			" gone with them.",
			"roles: %s missing", ctl_value(look, 0, "missing"));
	} else if (ctl_is_true(look, 0, "owner_is_login")) {
		ctl_check_tell(c, CHECK_FAILURE,
			"ALTER ROLE backfill_owner NOLOGIN NOSUPERUSER;",
			"roles: backfill_owner may log in or is a superuser");
	} else {
		ctl_check_tell(c, CHECK_OK, NULL,
			"roles: backfill_owner, backfill_daemon,"
			" backfill_submit, backfill_admin");
	}
}

static int tell_daemons(struct check *c)
{
	PGresult *rows = ctl_query(c->ctl, DAEMONS, 0, NULL);
	char age[FORMAT_BYTES];

	if (rows == NULL) {
		return c->ctl->code;
	}
	if (PQntuples(rows) == 0) {
		ctl_check_tell(c, CHECK_WARNING, "systemctl start backfilld",
			"daemon: none serves this database");
	}
	for (int i = 0; i < PQntuples(rows); i++) {
		ctl_check_tell(c, CHECK_OK, NULL,
			"daemon: %s, pid %s, version %s, for %s",
			ctl_value(rows, i, "host"), ctl_value(rows, i, "pid"),
			ctl_value(rows, i, "version"),
			ctl_format_duration(age, ctl_number(rows, i, "age_s")));
	}
	PQclear(rows);
	return CTL_OK;
}

static int tell_stop(struct check *c)
{
	PGresult *row = ctl_query(c->ctl, STOPPED, 0, NULL);
	char age[FORMAT_BYTES];

	if (row == NULL) {
		return c->ctl->code;
	}
	if (PQntuples(row) == 0) {
		ctl_check_tell(c, CHECK_OK, NULL, "stop_all: not in force");
	} else {
		ctl_check_tell(c, CHECK_WARNING, "SELECT backfill.start_all();",
			"stop_all: in force for %s, by %s%s",
			ctl_format_duration(age, ctl_number(row, 0, "age_s")),
			ctl_value(row, 0, "stopped_by"),
			ctl_value(row, 0, "reason"));
	}
	PQclear(row);
	return CTL_OK;
}

int ctl_check_schema(struct check *c, int *is_usable)
{
	PGresult *look = ctl_query(c->ctl, LOOK, 0, NULL);

	*is_usable = 0;
	if (look == NULL) {
		return c->ctl->code;
	}
	if (!ctl_is_true(look, 0, "there")) {
		ctl_check_tell(c, CHECK_FAILURE, ctl_value(look, 0, "install"),
			"schema: not installed");
	} else if (!ctl_is_true(look, 0, "may_use")) {
		ctl_check_tell_unknown(c, "schema");
	} else {
		*is_usable = 1;
		if (tell_version(c, ctl_value(look, 0, "install")) == CTL_OK) {
			tell_roles(c, look);
		}
		if (c->ctl->code == CTL_OK && tell_daemons(c) == CTL_OK) {
			(void)tell_stop(c);
		}
	}
	PQclear(look);
	return c->ctl->code;
}
