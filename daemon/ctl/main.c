/* backfillctl: the person's tool. It shows views and calls functions of the
 * schema: whatever it does, psql can do. */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl_commands.h"

/* The configuration says how to connect; --print does without; a plugin tells
 * in its own way that it could not. */
static int run_command(struct ctl *ctl, const struct ctl_command *command)
{
	if (command->need != NEED_NOTHING &&
		(ctl->options & (CTL_PRINT | CTL_CONFIG | CTL_PLUGIN)) == 0 &&
		ctl_connect(ctl) != CTL_OK) {
		return ctl->code;
	}
	if (command->need == NEED_SCHEMA && ctl_need_schema(ctl) != CTL_OK) {
		return ctl->code;
	}
	return command->run(ctl);
}

int main(int argc, char **argv)
{
	struct ctl ctl;
	const struct ctl_command *command;
	int code;

	memset(&ctl, 0, sizeof ctl);
	command = ctl_parse(&ctl, argc, argv);
	code = command != NULL ? run_command(&ctl, command) : ctl.code;
	PQfinish(ctl.conn);
	ctl_parse_close(&ctl);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		return ctl_error(&ctl, CTL_FATAL, NULL, NULL,
			"could not write to standard output: %m");
	}
	return code;
}
