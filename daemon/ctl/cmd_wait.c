/* Wait until jobs end. Polled: it needs no LISTEN, which a transaction
 * pooler in between would not deliver. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/ctl_format.h"

enum { POLL_MS = 200 };

/* What was said last on standard error. */
struct said {
	char *line;
};

/* Why it does not move, when that is new. */
static void tell_reason(struct said *said, const PGresult *job)
{
	struct text t;

	text_init(&t);
	if (!ctl_is_null(job, 0, "reason")) {
		text_addf(&t, "job %s is %s: ", ctl_value(job, 0, "id"),
			ctl_value(job, 0, "state"));
		ctl_format_inert(&t, ctl_value(job, 0, "reason"));
	}
	if (t.length > 0 &&
		(said->line == NULL || strcmp(said->line, t.data) != 0)) {
		fprintf(stderr, "%s\n", t.data);
	}
	free(said->line);
	said->line = text_take(&t);
}

static int tell_failure(struct ctl *ctl, const PGresult *job)
{
	if (strcmp(ctl_value(job, 0, "state"), "cancelled") == 0) {
		return ctl_error(ctl, CTL_FAILED, ctl_value(job, 0, "reason"),
			NULL, "job %s was cancelled", ctl_value(job, 0, "id"));
	}
	return ctl_error(ctl, CTL_FAILED, ctl_value(job, 0, "error_detail"),
		ctl_value(job, 0, "error_hint"), "%s: job %s failed: %s",
		ctl_value(job, 0, "error_sqlstate"), ctl_value(job, 0, "id"),
		ctl_value(job, 0, "error_message"));
}

static int is_dry_run(const PGresult *job)
{
	return ctl_is_true(job, 0, "dry_run");
}

static void tell_success(const PGresult *job)
{
	ctl_say("job %s succeeded%s", ctl_value(job, 0, "id"),
		is_dry_run(job) ? " as a dry run: nothing is changed" : "");
}

/* Until the job ends, fails to be seen, or the time is over. */
static int poll_job(
	struct ctl *ctl, const char *id, uint64_t began_ms, int is_quiet)
{
	uint64_t elapsed_ms, limit_ms = ctl->timeout_ms;
	struct said said = { NULL };
	PGresult *job;

	while ((job = ctl_find_job(ctl, id)) != NULL) {
		const char *state = ctl_value(job, 0, "state");

		if (!ctl_is_null(job, 0, "finished_at")) {
			if (strcmp(state, "succeeded") != 0) {
				(void)tell_failure(ctl, job);
			} else if (!is_quiet) {
				tell_success(job);
			}
			break;
		}
		tell_reason(&said, job);
		elapsed_ms = clock_boot_ms() - began_ms;
		if (elapsed_ms >= limit_ms) {
			(void)ctl_error(ctl, CTL_FATAL,
				ctl_value(job, 0, "reason"), NULL,
				"job %s is still %s after %s", id, state,
				ctl->timeout);
			break;
		}
		PQclear(job);
		ctl_pause(limit_ms - elapsed_ms < POLL_MS
				? limit_ms - elapsed_ms
				: POLL_MS);
	}
	PQclear(job);
	free(said.line);
	return ctl->code;
}

int ctl_wait_job(struct ctl *ctl, const char *id, int is_quiet)
{
	return poll_job(ctl, id, clock_boot_ms(), is_quiet);
}

/* The ids, all of them before the first wait: a name that is wrong is told at
 * once. */
static int find_ids(struct ctl *ctl, char **ids)
{
	for (int i = 0; i < ctl->argument_count; i++) {
		PGresult *job = ctl_find_job(ctl, ctl->arguments[i]);

		if (job == NULL) {
			return ctl->code;
		}
		ids[i] = mem_strdup(ctl_value(job, 0, "id"));
		PQclear(job);
	}
	return CTL_OK;
}

/* A job that failed does not keep the others from being waited for. */
int cmd_wait(struct ctl *ctl)
{
	uint64_t began_ms = clock_boot_ms();
	int count = ctl->argument_count;
	char **ids;

	ids = mem_new((size_t)count, sizeof *ids);
	if (find_ids(ctl, ids) == CTL_OK) {
		for (int i = 0; i < count &&
			(ctl->code == CTL_OK || ctl->code == CTL_FAILED);
			i++) {
			(void)poll_job(ctl, ids[i], began_ms, 0);
		}
	}
	for (int i = 0; i < count; i++) {
		free(ids[i]);
	}
	free(ids);
	return ctl->code;
}
