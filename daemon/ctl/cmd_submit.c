/* A row of backfill.jobs by options, one per column. */
#include "ctl/ctl_columns.h"
#include "ctl/ctl_submit.h"

#define STATUS "SELECT jsonb_pretty(backfill.job_status($1)) AS json"

#define TELL                                                                   \
	"SELECT format('job %s (%s) is submitted: %s of %s as %s', id, name,"  \
	" CASE WHEN dry_run THEN 'dry run, ' ELSE '' END || kind, target,"     \
	" run_as) AS line, hold FROM backfill.jobs WHERE id = $1::bigint"

static int say_new(struct ctl *ctl, const struct ctl_submitted *s)
{
	const char *const values[] = { s->id };
	PGresult *job = ctl_query(ctl, TELL, 1, values);

	if (job != NULL) {
		ctl_say("%s", ctl_value(job, 0, "line"));
		if (ctl_is_true(job, 0, "hold")) {
			ctl_say("it is held: backfillctl approve %s lets it"
				" begin",
				s->id);
		}
	}
	PQclear(job);
	return ctl->code;
}

static int tell(struct ctl *ctl, const struct ctl_submitted *s)
{
	int has_daemon;

	if ((ctl->options & CTL_JSON) != 0) {
		return CTL_OK;
	}
	if (s->was_there) {
		ctl_say("job %s (%s) is there already, and is %s", s->id,
			s->name, s->state);
		return CTL_OK;
	}
	has_daemon = ctl_has_daemon(ctl);
	if (has_daemon == 0) {
		ctl_warn("no daemon is alive: the job waits for one");
	}
	return has_daemon >= 0 ? say_new(ctl, s) : ctl->code;
}

/* Of JSON there is one text, when all is over. */
static int submit(struct ctl *ctl, const struct ctl_submitted *s)
{
	const char *const values[] = { s->id };
	int is_json = (ctl->options & CTL_JSON) != 0, code;

	if (tell(ctl, s) != CTL_OK) {
		return ctl->code;
	}
	if ((ctl->options & (CTL_WAIT | CTL_TIMEOUT)) != 0 &&
		ctl_wait_job(ctl, s->id, is_json) == CTL_CONNECTION) {
		return ctl->code;
	}
	code = ctl->code;
	if (is_json) {
		(void)ctl_print_json_value(ctl, STATUS, 1, values);
	}
	return ctl->code != CTL_OK ? ctl->code : code;
}

int cmd_submit(struct ctl *ctl)
{
	struct ctl_submitted s;

	if (ctl->given_count == 0) {
		return ctl_error(ctl, CTL_FATAL, NULL,
			"\"backfillctl help submit\" tells its options.",
			"a job needs a target");
	}
	if (ctl_submit(ctl, &s) == CTL_OK) {
		(void)submit(ctl, &s);
	}
	ctl_submitted_close(&s);
	return ctl->code;
}
