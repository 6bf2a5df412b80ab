/* Plans: the jobs of a migration that belong together. */
#include "ctl/ctl.h"

#define PLAN                                                                   \
	"SELECT p.step AS \"STEP\", p.id AS \"ID\", p.name AS \"NAME\","       \
	" p.target AS \"TARGET\", CASE WHEN p.hold AND p.state = 'queued'"     \
	"  THEN 'held' ELSE p.state END AS \"STATE\","                         \
	" coalesce(p.reason, '') AS \"REASON\""                                \
	" FROM backfill.plan($1::text) p ORDER BY p.step"
#define PLAN_JSON "SELECT * FROM backfill.plan($1::text) ORDER BY step"
#define PLAN_DOWN "SELECT cardinality(backfill.plan_down($1::text))"
#define CANCEL_PLAN "SELECT backfill.cancel_plan($1::text, $2::text)"

static int print_plan(struct ctl *ctl)
{
	const char *const values[] = { ctl->job };

	if ((ctl->options & CTL_JSON) != 0) {
		return ctl_print_json(ctl, PLAN_JSON, 1, values);
	}
	return ctl_print_rows(ctl, NULL, PLAN, "rrllll", ctl->job);
}

int cmd_plan(struct ctl *ctl)
{
	return print_plan(ctl);
}

int cmd_plan_down(struct ctl *ctl)
{
	const char *const values[] = { ctl->job };
	PGresult *result = ctl_query(ctl, PLAN_DOWN, 1, values);

	if (result == NULL) {
		return ctl->code;
	}
	if ((ctl->options & CTL_JSON) == 0) {
		ctl_say("%s jobs take plan \"%s\" back",
			ctl_value(result, 0, "cardinality"), ctl->job);
	}
	PQclear(result);
	return print_plan(ctl);
}

int cmd_cancel_plan(struct ctl *ctl)
{
	const char *const values[] = { ctl->job, ctl->reason };
	PGresult *result = ctl_query(ctl, CANCEL_PLAN, 2, values);

	if (result == NULL) {
		return ctl->code;
	}
	PQclear(result);
	return print_plan(ctl);
}
