/* What the server itself must be, whatever is installed in it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_check.h"
#include "ctl/ctl_format.h"

/* The control connection, and the one of who looks on over HTTP. */
enum { CONTROL_CONNECTIONS = 2, OLD_SECONDS = 3600 };

/* backend_type of others is hidden from most roles; numbackends is not. */
#define LOOK                                                                   \
	"SELECT current_setting('server_version') AS version,"                 \
	" pg_is_in_recovery() AS in_recovery,"                                 \
	" pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,"              \
	" format('GRANT pg_monitor TO %I; -- or check as a role that has it'," \
	"  current_user) AS see_hint,"                                         \
	" extract(epoch FROM current_setting('deadlock_timeout')::interval)"   \
	"  * 1000 AS deadlock_ms,"                                             \
	" current_setting('deadlock_timeout') AS deadlock_timeout,"            \
	" current_setting('max_connections')::integer"                         \
	"  - current_setting('superuser_reserved_connections')::integer"       \
	"  AS usable,"                                                         \
	" (SELECT sum(numbackends) FROM pg_stat_database) AS used"

#define PREPARED                                                               \
	"SELECT gid, owner, quote_literal(gid) AS literal,"                    \
	" extract(epoch FROM clock_timestamp() - prepared) AS age_s"           \
	" FROM pg_prepared_xacts WHERE database = current_database()"          \
	" AND prepared < clock_timestamp() - interval '1 hour'"                \
	" ORDER BY prepared LIMIT 10"

/* What keeps VACUUM from removing the rows that jobs leave behind. */
#define OLDEST_SNAPSHOT                                                        \
	"SELECT * FROM (SELECT 'pid ' || a.pid || ', role \"'"                 \
	"  || coalesce(a.usename, '') || '\"' AS who,"                         \
	"  age(a.backend_xmin) AS xids,"                                       \
	"  extract(epoch FROM clock_timestamp() - a.xact_start) AS age_s,"     \
	"  CASE WHEN a.backend_type = 'client backend'"                        \
	"   THEN format('SELECT pg_terminate_backend(%s);', a.pid) END AS "    \
	"mend"                                                                 \
	" FROM pg_stat_activity a"                                             \
	" WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()"      \
	" UNION ALL SELECT 'slot \"' || s.slot_name || '\"', age(x), NULL,"    \
	"  CASE WHEN NOT s.active THEN format("                                \
	"   'SELECT pg_drop_replication_slot(%L); -- if nobody needs it',"     \
	"   s.slot_name) END"                                                  \
	" FROM pg_replication_slots s,"                                        \
	"  unnest(ARRAY[s.xmin, s.catalog_xmin]) AS x WHERE x IS NOT NULL) o"  \
	" ORDER BY xids DESC, age_s DESC NULLS LAST LIMIT 1"

/* A slot or a standby tells no time. */
#define OLD_XIDS 10000000.0

enum check_level ctl_check_server_version(int version, const char **why)
{
	*why = NULL;
	if (version < 130000) {
		*why = "13 or later is needed";
		return CHECK_FAILURE;
	}
	if (version < 150004) {
		*why = "15.4 or later is recommended";
		return CHECK_WARNING;
	}
	if (version < 150018) {
		*why = "before 15.18 the lag of a standby may be NULL while"
		       " it has one";
		return CHECK_WARNING;
	}
	return CHECK_OK;
}

enum check_level ctl_check_libpq_version(int version, const char **why)
{
	*why = NULL;
	if (version < 150014) {
		*why = "before 15.14 a connection over TLS may break with"
		       " \"bad length\"";
		return CHECK_WARNING;
	}
	return CHECK_OK;
}

static void tell_versions(struct check *c, const PGresult *look)
{
	int libpq = PQlibVersion();
	enum check_level level;
	const char *why;

	level = ctl_check_server_version(PQserverVersion(c->ctl->conn), &why);
	ctl_check_tell(c, level, why != NULL ? "Upgrade the server." : NULL,
		"server: PostgreSQL %s%s%s", ctl_value(look, 0, "version"),
		why != NULL ? ": " : "", why != NULL ? why : "");
	level = ctl_check_libpq_version(libpq, &why);
	ctl_check_tell(c, level, why != NULL ? "Upgrade libpq." : NULL,
		"libpq: %d.%d%s%s", libpq / 10000, libpq % 10000,
		why != NULL ? ": " : "", why != NULL ? why : "");
}

/* A batch that gives up first is no deadlock's victim, nor makes one. */
static void tell_timeouts(struct check *c, const PGresult *look)
{
	int is_longer =
		ctl_number(look, 0, "deadlock_ms") > (double)c->lock_timeout_ms;

	ctl_check_tell(c, is_longer ? CHECK_OK : CHECK_WARNING,
		is_longer ? NULL
			  : "ALTER SYSTEM SET deadlock_timeout = '1s';"
			    " SELECT pg_reload_conf();",
		"deadlock_timeout: %s, %s lock_timeout %lld ms of batches",
		ctl_value(look, 0, "deadlock_timeout"),
		is_longer ? "longer than" : "not longer than",
		(long long)c->lock_timeout_ms);
}

static void tell_connections(struct check *c, const PGresult *look)
{
	double usable = ctl_number(look, 0, "usable");
	double used = ctl_number(look, 0, "used");
	double needed = (double)(c->workers + CONTROL_CONNECTIONS);
	int is_enough = usable - used >= needed;

	ctl_check_tell(c, is_enough ? CHECK_OK : CHECK_FAILURE,
		is_enough ? NULL
			  : "Raise max_connections (ALTER SYSTEM, restart), or"
			    " end connections.",
		"connections: %.0f of %.0f used, a daemon needs %.0f", used,
		usable, needed);
}

int ctl_check_server(struct check *c, int *is_primary)
{
	PGresult *look = ctl_query(c->ctl, LOOK, 0, NULL);

	*is_primary = 0;
	if (look == NULL) {
		return c->ctl->code;
	}
	c->sees_all = ctl_is_true(look, 0, "sees_all");
	(void)snprintf(c->see_hint, sizeof c->see_hint, "%s",
		ctl_value(look, 0, "see_hint"));
	tell_versions(c, look);
	*is_primary = *ctl_value(look, 0, "in_recovery") == 'f';
	if (*is_primary) {
		tell_timeouts(c, look);
		tell_connections(c, look);
	} else {
		ctl_check_tell(c, CHECK_FAILURE,
			"Name the primary, or several hosts with"
			" target_session_attrs=read-write.",
			"server: it is a standby: jobs run on the primary");
	}
	PQclear(look);
	return CTL_OK;
}

/* ---- what holds jobs up, or makes them leave more behind */

static int tell_prepared(struct check *c)
{
	PGresult *rows = ctl_query(c->ctl, PREPARED, 0, NULL);
	char age[FORMAT_BYTES];

	if (rows == NULL) {
		return c->ctl->code;
	}
	if (PQntuples(rows) == 0) {
		ctl_check_tell(c, CHECK_OK, NULL,
			"prepared transactions: none older than 1h");
	}
	for (int i = 0; i < PQntuples(rows); i++) {
		const char *literal = ctl_value(rows, i, "literal");
		struct text mend;

		text_init(&mend);
		text_addf(&mend, "COMMIT PREPARED %s; -- or ROLLBACK PREPARED",
			literal);
		ctl_check_tell(c, CHECK_WARNING, mend.data,
			"prepared transaction: %s of \"%s\" is %s old: a job"
			" on a table that it wrote waits for it",
			literal, ctl_value(rows, i, "owner"),
			ctl_format_duration(age, ctl_number(rows, i, "age_s")));
		text_close(&mend);
	}
	PQclear(rows);
	return CTL_OK;
}

static int tell_oldest_snapshot(struct check *c)
{
	char count[FORMAT_BYTES], age[FORMAT_BYTES];
	PGresult *row;
	double age_s, xids;
	int is_old;

	if (!c->sees_all) {
		ctl_check_tell_unknown(c, "oldest snapshot");
		return CTL_OK;
	}
	row = ctl_query(c->ctl, OLDEST_SNAPSHOT, 0, NULL);
	if (row == NULL) {
		return c->ctl->code;
	}
	if (PQntuples(row) == 0) {
		ctl_check_tell(c, CHECK_OK, NULL, "oldest snapshot: none");
		PQclear(row);
		return CTL_OK;
	}
	age_s = ctl_number(row, 0, "age_s");
	xids = ctl_number(row, 0, "xids");
	is_old = age_s > OLD_SECONDS || xids > OLD_XIDS;
	ctl_check_tell(c, is_old ? CHECK_WARNING : CHECK_OK,
		is_old && !ctl_is_null(row, 0, "mend")
			? ctl_value(row, 0, "mend")
			: NULL,
		"oldest snapshot: %s transactions and %s old (%s)%s",
		ctl_format_count(count, xids), ctl_format_duration(age, age_s),
		ctl_value(row, 0, "who"),
		is_old ? ": VACUUM cannot remove what jobs leave behind" : "");
	PQclear(row);
	return CTL_OK;
}

int ctl_check_transactions(struct check *c)
{
	if (tell_prepared(c) != CTL_OK) {
		return c->ctl->code;
	}
	return tell_oldest_snapshot(c);
}
