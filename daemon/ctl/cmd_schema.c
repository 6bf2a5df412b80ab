/* The scripts of the schema as one text, and what is installed. */
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_schema.h"

#define INSTALLED                                                              \
	"SELECT coalesce(max(version), 0) AS version,"                         \
	" max(installed_at)::timestamptz(0) AS at"                             \
	" FROM backfill.schema_version"

static int print_version(struct ctl *ctl)
{
	PGresult *result;
	int version;

	if (ctl_connect(ctl) != CTL_OK || ctl_need_schema(ctl) != CTL_OK) {
		return ctl->code;
	}
	result = ctl_query(ctl, INSTALLED, 0, NULL);
	if (result == NULL) {
		return ctl->code;
	}
	version = atoi(ctl_value(result, 0, "version"));
	ctl_say("database \"%s\" has schema version %d, since %s",
		PQdb(ctl->conn), version, ctl_value(result, 0, "at"));
	PQclear(result);
	ctl_say("this program brings schema version %d%s", ctl_schema_newest(),
		version < ctl_schema_newest()
			? ": backfillctl install upgrades it"
			: "");
	return ctl->code;
}

int cmd_schema(struct ctl *ctl)
{
	const char *what = ctl->arguments[0];

	if (strcmp(what, "print") == 0) {
		ctl_schema_print();
		return CTL_OK;
	}
	if (strcmp(what, "version") == 0) {
		return print_version(ctl);
	}
	return ctl_error(ctl, CTL_FATAL, NULL,
		"Available words: print, version.",
		"invalid argument \"%s\" of \"schema\"", what);
}
