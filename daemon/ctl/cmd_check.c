/* backfillctl check: what works, and what mends the rest. By the connection
 * of the command line, or database by database of a configuration, by the
 * connections that the daemon will use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "ctl/ctl_check.h"

static const char CONTROL[] = "control login";

/* With a runner conninfo each runner login must also be able to connect. */
static int check_database(struct check *c, const char *runner)
{
	int is_primary = 0, is_usable = 0;

	if (ctl_check_server(c, &is_primary) != CTL_OK || !is_primary ||
		ctl_check_transactions(c) != CTL_OK ||
		ctl_check_schema(c, &is_usable) != CTL_OK ||
		ctl_check_control(c) != CTL_OK ||
		ctl_check_runners(c, runner) != CTL_OK) {
		return c->ctl->code;
	}
	return ctl_check_standbys(c);
}

static int finish(const struct check *c)
{
	if (c->is_json) {
		puts(ctl_check_is_first(c) ? "[]" : "]");
	} else {
		printf("%d ok, %d warning%s, %d to mend\n", c->counts[CHECK_OK],
			c->counts[CHECK_WARNING],
			c->counts[CHECK_WARNING] == 1 ? "" : "s",
			c->counts[CHECK_FAILURE]);
	}
	if (c->ctl->code != CTL_OK) {
		return c->ctl->code;
	}
	return c->counts[CHECK_FAILURE] > 0 ? CTL_FAILED : CTL_OK;
}

/* ---- by the command line's connection, with the daemon's defaults */

static int check_connection(struct ctl *ctl)
{
	struct check c = {
		.ctl = ctl,
		.control = ctl->control != NULL ? ctl->control : "backfilld",
		.runners = ctl->runners,
		.standbys = ctl->standbys,
		.workers = 2,
		.lock_timeout_ms = 500,
		.is_json = (ctl->options & CTL_JSON) != 0,
	};

	(void)check_database(&c, NULL);
	return finish(&c);
}

/* ---- by a configuration */

static void check_configured(struct check *c, const struct config_database *db)
{
	if (!c->is_json) {
		ctl_say("database \"%s\":", db->name);
	}
	c->database = db->name;
	c->standbys.names = db->expected_standbys;
	c->standbys.count = db->expected_standbys_count;
	c->workers = db->workers;
	c->ctl->conn = ctl_check_connect(c, CONTROL, db->dsn, NULL);
	if (c->ctl->conn == NULL) {
		return;
	}
	c->control = PQuser(c->ctl->conn);
	ctl_check_tell(
		c, CHECK_OK, NULL, "%s \"%s\": connects", CONTROL, c->control);
	if (ctl_begin_session(c->ctl) == CTL_OK) {
		(void)check_database(
			c, *db->runner != '\0' ? db->runner : db->dsn);
	}
	PQfinish(c->ctl->conn);
	c->ctl->conn = NULL;
}

static int check_config(struct ctl *ctl)
{
	struct check c = {
		.ctl = ctl,
		.runners = ctl->runners,
		.is_json = (ctl->options & CTL_JSON) != 0,
	};
	struct config config;
	struct text errors;

	text_init(&errors);
	if (config_load(&config, ctl->config, &errors) != 0) {
		fputs(errors.data, stderr);
		text_close(&errors);
		return CTL_FATAL;
	}
	text_close(&errors);
	c.lock_timeout_ms = config.lock_timeout_ms;
	for (size_t i = 0; i < config.databases_count && ctl->code == CTL_OK;
		i++) {
		check_configured(&c, &config.databases[i]);
	}
	config_close(&config);
	return finish(&c);
}

/* They would be taken for what is checked. */
static int refuse_both(struct ctl *ctl)
{
	return ctl_error(ctl, CTL_FATAL,
		"The file says how to connect, and what to expect.", NULL,
		"--config does not go with -h, -p, -U, -d, --control or"
		" --standby");
}

int cmd_check(struct ctl *ctl)
{
	if (ctl->config != NULL &&
		(ctl->host != NULL || ctl->port != NULL || ctl->user != NULL ||
			ctl->dsn != NULL || ctl->control != NULL ||
			ctl->standbys.count > 0)) {
		return refuse_both(ctl);
	}
	return ctl->config != NULL ? check_config(ctl) : check_connection(ctl);
}
