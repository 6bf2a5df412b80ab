#include <stdio.h>

#include "ctl/ctl_schema.h"

static int run_script(struct ctl *ctl, const struct script *script)
{
	char context[128];
	struct text sql;

	(void)snprintf(context, sizeof context, "script %03d_%s",
		script->version, script->name);
	text_init(&sql);
	ctl_schema_add_up(&sql, script);
	(void)ctl_run(ctl, sql.data, context);
	text_close(&sql);
	return ctl->code;
}

static int run_scripts(struct ctl *ctl, int version)
{
	for (size_t i = 0; i < scripts_count; i++) {
		if (scripts[i].version > version &&
			run_script(ctl, &scripts[i]) != CTL_OK) {
			return ctl->code;
		}
	}
	return ctl_schema_commit(ctl);
}

int cmd_install(struct ctl *ctl)
{
	int version = 0;

	if ((ctl->options & CTL_PRINT) != 0) {
		ctl_schema_print();
		return CTL_OK;
	}
	if (ctl_schema_begin(ctl, &version) != CTL_OK) {
		return ctl->code;
	}
	if (version == ctl_schema_newest()) {
		if (ctl_run(ctl, "ROLLBACK", NULL) != CTL_OK) {
			return ctl->code;
		}
		ctl_say("-- backfill is up to date in database \"%s\""
			" (schema version %d)",
			PQdb(ctl->conn), version);
	} else {
		if (run_scripts(ctl, version) != CTL_OK) {
			return ctl->code;
		}
		ctl_say("-- backfill is installed in database \"%s\""
			" (schema version %d)",
			PQdb(ctl->conn), ctl_schema_newest());
	}
	return ctl_remains_print(ctl);
}
