/* A superuser may do all. A role with CREATEROLE that owns the database may
 * install too, but what it makes belongs to backfill_owner: so it is a
 * member of that role while the transaction runs, and no longer. */
#include "ctl/ctl_schema.h"

#include <stdio.h>
#include <stdlib.h>

/* "backfill" in ASCII. */
#define LOCK "SELECT pg_advisory_xact_lock(7089056601388706924)"

#define LOOK                                                                   \
	"SELECT r.rolsuper OR (r.rolcreaterole"                                \
	"  AND pg_has_role(d.datdba, 'MEMBER')) AS may_install,"               \
	" EXISTS (SELECT FROM pg_namespace n"                                  \
	"  JOIN pg_class c ON c.relnamespace = n.oid"                          \
	"  WHERE n.nspname = 'backfill' AND c.relname = 'schema_version'"      \
	"  AND pg_get_userbyid(n.nspowner) = 'backfill_owner')"                \
	"  AS is_installed,"                                                   \
	" format('ALTER ROLE %I CREATEROLE; ALTER DATABASE %I OWNER TO %I;',"  \
	"  r.rolname, d.datname, r.rolname) AS mend,"                          \
	" format('role \"%s\" may not install backfill in database \"%s\"',"   \
	"  r.rolname, d.datname) AS message"                                   \
	" FROM pg_roles r, pg_database d"                                      \
	" WHERE r.rolname = current_user AND d.datname = current_database()"

#define READ_VERSION                                                           \
	"SELECT coalesce(max(version), 0) AS version"                          \
	" FROM backfill.schema_version"

/* These stand in what `install --print` writes, too. */
static const char become_owner[] =
	"DO $$\n"
	"BEGIN\n"
	"\tIF pg_catalog.to_regrole('backfill_owner') IS NOT NULL\n"
	"\t\tAND NOT (SELECT rolsuper FROM pg_catalog.pg_roles\n"
	"\t\t\tWHERE rolname = current_user)\n"
	"\tTHEN\n"
	"\t\tEXECUTE pg_catalog.format('GRANT backfill_owner TO %I',\n"
	"\t\t\tcurrent_user);\n"
	"\tEND IF;\n"
	"END\n"
	"$$;\n";

/* Since 16 who made the role stays a member in name, by no grant of its own. */
static const char leave_owner[] =
	"DO $$\n"
	"BEGIN\n"
	"\tIF EXISTS (SELECT FROM pg_catalog.pg_auth_members m\n"
	"\t\tJOIN pg_catalog.pg_roles o ON o.oid = m.roleid\n"
	"\t\tJOIN pg_catalog.pg_roles r ON r.oid = m.member\n"
	"\t\tWHERE o.rolname = 'backfill_owner'\n"
	"\t\tAND r.rolname = current_user AND NOT r.rolsuper\n"
	"\t\tAND (pg_catalog.to_jsonb(m)->'set_option') IS DISTINCT FROM\n"
	"\t\t\t'false')\n"
	"\tTHEN\n"
	"\t\tEXECUTE pg_catalog.format('REVOKE backfill_owner FROM %I',\n"
	"\t\t\tcurrent_user);\n"
	"\tEND IF;\n"
	"END\n"
	"$$;\n";

int ctl_schema_newest(void)
{
	return scripts[scripts_count - 1].version;
}

void ctl_schema_add_up(struct text *sql, const struct script *script)
{
	text_add(sql, script->up);
	/* The last script of a version gives the membership back. */
	text_add(sql, become_owner);
	text_addf(sql,
		"SET LOCAL ROLE backfill_owner;\n"
		"INSERT INTO backfill.schema_version (version, script)\n"
		"VALUES (%d, '%s') ON CONFLICT (version) DO NOTHING;\n"
		"RESET ROLE;\n",
		script->version, script->name);
}

void ctl_schema_add_end(struct text *sql)
{
	text_add(sql, leave_owner);
}

void ctl_schema_print(void)
{
	struct text sql;

	text_init(&sql);
	text_add(&sql, "BEGIN;\nSET LOCAL client_min_messages = warning;\n");
	for (size_t i = 0; i < scripts_count; i++) {
		ctl_schema_add_up(&sql, &scripts[i]);
	}
	ctl_schema_add_end(&sql);
	text_add(&sql, "COMMIT;\n");
	fputs(sql.data, stdout);
	text_close(&sql);
}

/* Only the owner's members may read it when nobody granted us anything. */
static int read_version(struct ctl *ctl, int *version)
{
	PGresult *result;

	if (ctl_run(ctl, become_owner, NULL) != CTL_OK ||
		ctl_run(ctl, "SET LOCAL ROLE backfill_owner", NULL) != CTL_OK) {
		return ctl->code;
	}
	result = ctl_query(ctl, READ_VERSION, 0, NULL);
	if (result == NULL) {
		return ctl->code;
	}
	*version = atoi(ctl_value(result, 0, "version"));
	PQclear(result);
	return ctl_run(ctl, "RESET ROLE", NULL);
}

/* Whether a schema of ours is there; refuse who may not change it. */
static int look(struct ctl *ctl, int *is_installed)
{
	PGresult *result = ctl_query(ctl, LOOK, 0, NULL);

	if (result == NULL) {
		return ctl->code;
	}
	*is_installed = ctl_is_true(result, 0, "is_installed");
	if (!ctl_is_true(result, 0, "may_install")) {
		(void)ctl_error(ctl, CTL_FATAL,
			"This takes a superuser, or a role with CREATEROLE"
			" that owns the database.",
			ctl_value(result, 0, "mend"), "%s",
			ctl_value(result, 0, "message"));
	}
	PQclear(result);
	return ctl->code;
}

int ctl_schema_begin(struct ctl *ctl, int *version)
{
	int is_installed = 0;

	*version = 0;
	if (ctl_run(ctl, "BEGIN", NULL) != CTL_OK ||
		ctl_run(ctl, LOCK, NULL) != CTL_OK ||
		look(ctl, &is_installed) != CTL_OK || !is_installed ||
		read_version(ctl, version) != CTL_OK) {
		return ctl->code;
	}
	if (*version > ctl_schema_newest()) {
		return ctl_error(ctl, CTL_FATAL, NULL,
			"Use a newer backfillctl.",
			"schema version %d of database \"%s\" is newer than"
			" this program's, %d",
			*version, PQdb(ctl->conn), ctl_schema_newest());
	}
	return CTL_OK;
}

int ctl_schema_commit(struct ctl *ctl)
{
	if (ctl_run(ctl, leave_owner, NULL) != CTL_OK) {
		return ctl->code;
	}
	return ctl_run(ctl, "COMMIT", NULL);
}
