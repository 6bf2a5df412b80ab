#include "ctl/ctl_commands.h"

int cmd_help(struct ctl *ctl)
{
	const struct ctl_command *command;

	if (ctl->argument_count == 0) {
		ctl_help_all();
		return CTL_OK;
	}
	command = ctl_command_find(ctl->arguments[0]);
	if (command == NULL || command->help == NULL) {
		return ctl_refuse_command(ctl, ctl->arguments[0]);
	}
	ctl_help_command(command);
	return CTL_OK;
}
