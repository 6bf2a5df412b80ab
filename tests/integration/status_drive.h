/* status_drive.h: a job's reason and its clocks, as the tests of what the
 * screens show drive them without a daemon. */
#ifndef BACKFILL_TESTS_STATUS_DRIVE_H
#define BACKFILL_TESTS_STATUS_DRIVE_H

#include "ctl_drive.h"

#define ASSERT_TRUE(db, ...) assert_true(sql_true(db, __VA_ARGS__))

static inline void set_reason(const char *reason)
{
	sql_exec(shop, "SELECT backfill.set_reason(1, 1, 1, %s)", reason);
}

/* Makes what is so now look as if it had been so for longer. */
static inline void age(const char *interval)
{
	sql_exec(shop,
		"UPDATE backfill.jobs SET since = since - interval '%s',"
		" started_at = started_at - interval '%s'",
		interval, interval);
}

#endif
