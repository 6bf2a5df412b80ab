/* What steers a job: the functions of the schema, called with the rights of
 * the person who asks. */
#include "ctl/ctl.h"

#define PAUSE "SELECT backfill.pause($1::text, $2::text)"
#define RESUME "SELECT backfill.resume($1::text)"
#define CANCEL "SELECT backfill.cancel($1::text, $2::text)"
#define RETRY "SELECT backfill.retry($1::text)"
#define APPROVE "SELECT backfill.approve($1::text)"
#define STOP_ALL "SELECT backfill.stop_all($1::text)"
#define START_ALL "SELECT backfill.start_all()"

static int steer(struct ctl *ctl, const char *sql, int count)
{
	const char *const values[] = { ctl->job, ctl->reason };
	PGresult *result = ctl_query(ctl, sql, count, values);
	PGresult *job;

	if (result == NULL) {
		return ctl->code;
	}
	PQclear(result);
	job = ctl_find_job(ctl, ctl->job);
	if (job != NULL) {
		ctl_say("job %s is %s", ctl_value(job, 0, "id"),
			ctl_value(job, 0, "state"));
	}
	PQclear(job);
	return ctl->code;
}

int cmd_pause(struct ctl *ctl)
{
	return steer(ctl, PAUSE, 2);
}

int cmd_resume(struct ctl *ctl)
{
	return steer(ctl, RESUME, 1);
}

int cmd_cancel(struct ctl *ctl)
{
	return steer(ctl, CANCEL, 2);
}

int cmd_retry(struct ctl *ctl)
{
	return steer(ctl, RETRY, 1);
}

int cmd_approve(struct ctl *ctl)
{
	return steer(ctl, APPROVE, 1);
}

int cmd_stop_all(struct ctl *ctl)
{
	const char *const values[] = { ctl->reason };
	PGresult *result = ctl_query(ctl, STOP_ALL, 1, values);

	if (result != NULL) {
		ctl_say("all work is stopped in database \"%s\"",
			PQdb(ctl->conn));
	}
	PQclear(result);
	return ctl->code;
}

int cmd_start_all(struct ctl *ctl)
{
	PGresult *result = ctl_query(ctl, START_ALL, 0, NULL);

	if (result != NULL) {
		ctl_say("work goes on in database \"%s\"", PQdb(ctl->conn));
	}
	PQclear(result);
	return ctl->code;
}
