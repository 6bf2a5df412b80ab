/* The rows that a job could not change: backfill.row_errors. */
#include <stdlib.h>

#include "ctl/ctl.h"

/* What is not mended comes first. */
#define ERRORS                                                                 \
	"SELECT array_to_string(key, ', ') AS \"KEY\","                        \
	" sqlstate AS \"SQLSTATE\", attempts AS \"ATTEMPTS\","                 \
	" failed_at::timestamptz(0) AS \"FAILED AT\","                         \
	" coalesce(resolved_at::timestamptz(0)::text, '-') AS \"RESOLVED "     \
	"AT\","                                                                \
	" coalesce(constraint_name, '-') AS \"CONSTRAINT\","                   \
	" message AS \"MESSAGE\""                                              \
	" FROM backfill.row_errors WHERE job_id = $1::bigint"                  \
	" ORDER BY resolved_at IS NOT NULL, number, id LIMIT 1000"

#define COUNT                                                                  \
	"SELECT count(*) AS count FROM backfill.row_errors"                    \
	" WHERE job_id = $1::bigint"

#define ERRORS_JSON                                                            \
	"SELECT key, sqlstate, message, constraint_name, attempts, failed_at," \
	" resolved_at FROM backfill.row_errors WHERE job_id = $1::bigint"      \
	" ORDER BY resolved_at IS NOT NULL, number, id"

enum { SHOWN = 1000 };

static int print_errors(struct ctl *ctl, const char *id)
{
	const char *const values[] = { id };
	PGresult *found;
	long count;

	if ((ctl->options & CTL_JSON) != 0) {
		return ctl_print_json(ctl, ERRORS_JSON, 1, values);
	}
	found = ctl_query(ctl, COUNT, 1, values);
	if (found == NULL) {
		return ctl->code;
	}
	count = atol(ctl_value(found, 0, "count"));
	PQclear(found);
	if (count == 0) {
		ctl_say("job %s has no row errors", id);
	} else if (ctl_print_rows(ctl, NULL, ERRORS, "llrllll", id) == CTL_OK &&
		count > SHOWN) {
		ctl_say("and %ld more: SELECT * FROM backfill.row_errors WHERE"
			" job_id = %s",
			count - SHOWN, id);
	}
	return ctl->code;
}

int cmd_errors(struct ctl *ctl)
{
	PGresult *job = ctl_find_job(ctl, ctl->job);

	if (job != NULL) {
		(void)print_errors(ctl, ctl_value(job, 0, "id"));
	}
	PQclear(job);
	return ctl->code;
}
