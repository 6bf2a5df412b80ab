/* SIGHUP: the file is read again. One with errors changes nothing; of one
 * without, what is reloadable is taken into the configuration in place, and
 * the rest is named. */

#include "service_internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/reload.h"
#include "site.h"

struct reload_count {
	size_t taken;
	size_t left;
};

static void on_change(void *data, const struct reload_change *change)
{
	struct reload_count *count = data;

	if (change->effect == NULL) {
		count->left++;
		log_warning(
			"reload: %s changed -> needs a restart", change->what);
		return;
	}
	count->taken++;
	if (change->from == NULL) {
		log_notice("reload: %s changed -> in effect %s", change->what,
			change->effect);
	} else {
		log_notice("reload: %s changed from %s to %s -> in effect %s",
			change->what, change->from, change->to, change->effect);
	}
}

/* Each line of them is a line of the log. */
static void log_errors(char *errors)
{
	char *line;

	while ((line = strsep(&errors, "\n")) != NULL) {
		if (*line != '\0') {
			log_error("%s", line);
		}
	}
}

static int read_again(struct service *s, struct config *fresh)
{
	struct text errors;
	int count;

	text_init(&errors);
	count = config_load(fresh, s->path, &errors);
	log_errors(errors.data);
	text_close(&errors);
	s->reload_errors = (size_t)count;
	return count;
}

void service_reload(struct service *s)
{
	struct reload_count count = { 0, 0 };
	struct config fresh;
	int errors;

	log_info("SIGHUP -> read %s again", s->path);
	errors = read_again(s, &fresh);
	if (errors > 0) {
		log_error("reload: %d error%s in %s -> nothing was changed",
			errors, errors == 1 ? "" : "s", s->path);
		return;
	}
	s->loaded_wall_ms = clock_wall_ms();
	reload_take(&s->config, &fresh, on_change, &count);
	service_set_log(&s->config);
	for (size_t i = 0; i < s->count; i++) {
		if (s->databases[i] != NULL) {
			database_reload(s->databases[i]);
		}
	}
	site_reload(s->site);
	log_notice("reload: %zu changed, %zu need%s a restart", count.taken,
		count.left, count.left == 1 ? "s" : "");
}
