#include <stdio.h>
#include <stdlib.h>

#include "ctl/ctl_schema.h"

/* Jobs before ranges, as everywhere. */
#define LOCK_TABLES                                                            \
	"LOCK TABLE backfill.jobs, backfill.ranges, backfill.holes,"           \
	" backfill.events, backfill.daemons IN ACCESS EXCLUSIVE MODE"

#define RUNNING                                                                \
	"SELECT count(*) AS running,"                                          \
	" string_agg(format('#%s %s', id, name), E'\\n' ORDER BY id) AS names" \
	" FROM backfill.jobs WHERE state = 'running'"

#define ROLES_LEFT                                                             \
	"SELECT string_agg(rolname, ', ' ORDER BY rolname) AS roles"           \
	" FROM pg_roles WHERE rolname IN ('backfill_owner',"                   \
	" 'backfill_daemon', 'backfill_submit', 'backfill_admin')"

static int refuse_running(struct ctl *ctl)
{
	PGresult *result = ctl_query(ctl, RUNNING, 0, NULL);
	int running;

	if (result == NULL) {
		return ctl->code;
	}
	running = atoi(ctl_value(result, 0, "running"));
	if (running > 0) {
		(void)ctl_error(ctl, CTL_FAILED, ctl_value(result, 0, "names"),
			"Pause or cancel them, or uninstall with --force:"
			" what was changed stays changed.",
			"%d %s running in database \"%s\"", running,
			running == 1 ? "job is" : "jobs are", PQdb(ctl->conn));
	}
	PQclear(result);
	return ctl->code;
}

/* Asked twice: a refusal must not have made the batches wait for our lock,
 * and no job may begin after the answer. */
static int stop_traffic(struct ctl *ctl)
{
	int is_forced = (ctl->options & CTL_FORCE) != 0;

	if (ctl_run(ctl, "SET LOCAL ROLE backfill_owner", NULL) != CTL_OK ||
		(!is_forced && refuse_running(ctl) != CTL_OK) ||
		ctl_run(ctl, LOCK_TABLES, NULL) != CTL_OK ||
		(!is_forced && refuse_running(ctl) != CTL_OK)) {
		return ctl->code;
	}
	return ctl_run(ctl, "RESET ROLE", NULL);
}

static int run_scripts(struct ctl *ctl, int version)
{
	for (size_t i = scripts_count; i > 0; i--) {
		if (scripts[i - 1].version <= version &&
			ctl_run(ctl, scripts[i - 1].down, NULL) != CTL_OK) {
			return ctl->code;
		}
	}
	return CTL_OK;
}

static void say_what_is_left(struct ctl *ctl)
{
	PGresult *result = ctl_query(ctl, ROLES_LEFT, 0, NULL);

	if (result != NULL && !ctl_is_null(result, 0, "roles")) {
		ctl_say("roles that are still used elsewhere stay: %s",
			ctl_value(result, 0, "roles"));
	}
	PQclear(result);
}

int cmd_uninstall(struct ctl *ctl)
{
	int version = 0;

	if (ctl_schema_begin(ctl, &version) != CTL_OK) {
		return ctl->code;
	}
	if (version == 0) {
		return ctl_error(ctl, CTL_FATAL, NULL, NULL,
			"backfill is not installed in database \"%s\"",
			PQdb(ctl->conn));
	}
	if (stop_traffic(ctl) != CTL_OK ||
		run_scripts(ctl, version) != CTL_OK ||
		ctl_schema_commit(ctl) != CTL_OK) {
		return ctl->code;
	}
	ctl_say("backfill is removed from database \"%s\"", PQdb(ctl->conn));
	say_what_is_left(ctl);
	return ctl->code;
}
