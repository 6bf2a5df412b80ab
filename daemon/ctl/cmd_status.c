/* The status screen, once: for a person, a chat, a program or a monitoring
 * system. It reads what pg_monitor may read and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/ctl_look.h"
#include "ctl/ctl_screen.h"
#include "ctl/ctl_terminal.h"

enum { PLUGIN_UNKNOWN = 3 };

#define STATUS "SELECT jsonb_pretty(backfill.status()) AS status"
#define JOB_STATUS                                                             \
	"SELECT jsonb_pretty(backfill.job_status($1::text)) AS status"

/* ---- the forms */

static void print_screen(const struct screen *s)
{
	size_t width, height;
	struct block b;
	struct text t;

	terminal_size(&width, &height);
	block_init(&b, width);
	text_init(&t);
	ctl_screen_draw(&b, s, 0, NULL);
	block_print(&t, &b, terminal_look(), "\n");
	fputs(t.data, stdout);
	text_close(&t);
	block_close(&b);
}

static void print_short(const struct screen *s)
{
	size_t count = 0;
	struct text t;

	text_init(&t);
	for (size_t i = 0; i < s->job_count; i++) {
		if (ctl_screen_has(s, &s->jobs[i])) {
			ctl_screen_short(&t, &s->jobs[i]);
			text_add(&t, "\n");
			count++;
		}
	}
	if (ctl_screen_left_out(s) > 0) {
		text_addf(&t, "and %zu more\n", ctl_screen_left_out(s));
	}
	fputs(count > 0 ? t.data : "no job is open\n", stdout);
	text_close(&t);
}

static int print_json(struct ctl *ctl)
{
	const char *const values[] = { ctl->job };
	PGresult *result =
		ctl_query(ctl, ctl->job != NULL ? JOB_STATUS : STATUS,
			ctl->job != NULL, values);

	if (result != NULL) {
		ctl_say_json(ctl_value(result, 0, "status"));
	}
	PQclear(result);
	return ctl->code;
}

/* ---- a monitoring plugin */

/* What hinders it is its answer, on standard output like any other. */
static int check(struct ctl *ctl)
{
	struct text line, errors;
	struct look l;
	int code = PLUGIN_UNKNOWN;

	look_init(&l);
	text_init(&line);
	text_init(&errors);
	ctl->errors = &errors;
	ctl->never_prompt = 1;
	if (ctl_connect(ctl) == CTL_OK && ctl_need_schema(ctl) == CTL_OK &&
		ctl_need_job(ctl) == CTL_OK && look_ask(ctl, &l) == CTL_OK) {
		code = ctl_verdict(&line, &l.screen);
	} else {
		for (char *c = errors.data; *c != '\0'; c++) {
			*c = *c == '|' ? '/' : *c;
		}
		text_addf(&line, "BACKFILLD UNKNOWN - %s", errors.data);
	}
	puts(line.data);
	ctl->errors = NULL;
	look_close(&l);
	text_close(&errors);
	text_close(&line);
	return code;
}

/* ---- the command */

static int refuse_forms(struct ctl *ctl)
{
	static const int forms[] = { CTL_WATCH, CTL_SHORT, CTL_JSON,
		CTL_PLUGIN };
	int count = 0;

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		count += (ctl->options & forms[i]) != 0;
	}
	if (count < 2) {
		return CTL_OK;
	}
	return ctl_error(ctl, CTL_FATAL, NULL,
		"Try \"backfillctl --help\" for more information.",
		"only one of --watch, --short, --json and --check can be"
		" given");
}

int cmd_status(struct ctl *ctl)
{
	struct look l;

	if (refuse_forms(ctl) != CTL_OK) {
		return ctl->code;
	}
	if ((ctl->options & CTL_PLUGIN) != 0) {
		return check(ctl);
	}
	if (ctl_need_schema(ctl) != CTL_OK) {
		return ctl->code;
	}
	if ((ctl->options & CTL_JSON) != 0) {
		return print_json(ctl);
	}
	if (ctl_need_job(ctl) != CTL_OK) {
		return ctl->code;
	}
	if ((ctl->options & CTL_WATCH) != 0) {
		return cmd_status_watch(ctl);
	}
	if (look_ask(ctl, &l) == CTL_OK) {
		if ((ctl->options & CTL_SHORT) != 0) {
			print_short(&l.screen);
		} else {
			print_screen(&l.screen);
		}
	}
	look_close(&l);
	return ctl->code;
}
