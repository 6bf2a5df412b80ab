/* test_window.c: the daily hours of a job, by the wall clock of a zone that
 * is put forward and back. */
#include "queue_drive.h"

#include <string.h>

#define HINT                                                                   \
	"Write two times of day, such as 22:00-06:00 or 22:00-06:00"           \
	" Europe/Berlin."

static void test_bad_windows(void **state)
{
	static const struct {
		const char *window, *detail, *hint;
	} bad[] = {
		{ "", "", HINT },
		{ "at night", "", HINT },
		{ "22:00", "", HINT },
		{ "22:00-", "", HINT },
		{ "22-06", "", HINT },
		{ "22:00-25:00", "", HINT },
		{ "22:00-06:60", "", HINT },
		{ "24:00-06:00", "", HINT },
		{ "22:00-06:00Europe/Berlin", "", HINT },
		{ "22:00-06:00, 12:00-13:00", "", HINT },
		{ "22:00-22:00", "It ends when it begins.", HINT },
		{ "22:00-06:00 Moon", "Time zone \"Moon\" is not known.",
			"See pg_timezone_names." },
		/* No zone, but half the year of one. */
		{ "22:00-06:00 CEST", "Time zone \"CEST\" is not known.",
			"See pg_timezone_names." },
	};
	char message[64];

	(void)state;
	job = submit("tuned", "run_window", "'22:00-06:00'");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		(void)snprintf(message, sizeof message,
			"invalid run_window \"%s\"", bad[i].window);
		FAILS(app, "22023", message, bad[i].detail, bad[i].hint,
			"INSERT INTO backfill.jobs (target, set_clause,"
			" run_window) VALUES ('t', 'n = 1', '%s')",
			bad[i].window);
		FAILS(app, "22023", message, bad[i].detail, bad[i].hint,
			"UPDATE backfill.jobs SET run_window = '%s'",
			bad[i].window);
	}
	FAILS(app, "22023", "run_window is longer than 100 bytes",
		"It has 101.", "",
		"UPDATE backfill.jobs SET run_window = repeat('x', 101)");
	assert_string_equal(of_job("run_window", job), "22:00-06:00");
	sql_exec(app,
		"UPDATE backfill.jobs SET run_window ="
		" ' 0:00 - 24:00  Pacific/Apia '");
	assert_string_equal(
		of_job("run_window", job), "0:00 - 24:00  Pacific/Apia");
	sql_exec(app, "UPDATE backfill.jobs SET run_window = NULL");
	assert_string_equal(of_job("run_window", job), "(null)");
}

/* In Berlin: on 2026-03-29 at 02:00 (01:00 UTC) it is 03:00, on 2026-10-25
 * at 03:00 (01:00 UTC) it is 02:00 again. */
static void test_window_opens(void **state)
{
	static const struct {
		const char *window, *at, *opens;
	} cases[] = {
		{ "22:00-06:00", "01-10 20:59:59.9", "01-10 21:00:00" },
		{ "22:00-06:00", "01-10 21:00:00", "open" },
		{ "22:00-06:00", "01-10 23:00:00", "open" },
		{ "22:00-06:00", "01-11 04:59:59.9", "open" },
		{ "22:00-06:00", "01-11 05:00:00", "01-11 21:00:00" },
		{ "08:00-12:00", "01-11 06:30:00", "01-11 07:00:00" },
		{ "08:00-12:00", "01-11 07:00:00", "open" },
		{ "08:00-12:00", "01-11 11:00:00", "01-12 07:00:00" },
		{ "00:00-24:00", "01-11 11:00:00", "open" },
		{ "00:00-24:00", "01-11 23:00:00", "open" },
		{ "12:00-24:00", "01-11 22:59:59", "open" },
		{ "12:00-24:00", "01-11 23:00:00", "01-12 11:00:00" },

		/* The night of the skipped hour is an hour shorter. */
		{ "03:00-04:00", "03-28 12:00:00", "03-29 01:00:00" },
		{ "04:00-05:00", "03-28 12:00:00", "03-29 02:00:00" },
		{ "22:00-06:00", "03-29 03:59:59", "open" },
		{ "22:00-06:00", "03-29 04:00:00", "03-29 20:00:00" },
		/* Within it: not on that day. */
		{ "02:15-02:45", "03-29 00:59:59", "03-30 00:15:00" },
		{ "02:15-02:45", "03-28 01:10:00", "03-28 01:15:00" },
		/* Beginning in it: opens when it is over. */
		{ "02:30-04:00", "03-29 00:30:00", "03-29 01:00:00" },
		{ "02:30-04:00", "03-29 01:00:00", "open" },
		/* Ending in it: ends when it begins. */
		{ "01:30-02:30", "03-29 00:59:59", "open" },
		{ "01:30-02:30", "03-29 01:00:00", "03-29 23:30:00" },

		/* The night of the doubled hour is an hour longer. */
		{ "03:00-04:00", "10-24 12:00:00", "10-25 02:00:00" },
		{ "22:00-06:00", "10-25 04:59:59", "open" },
		{ "22:00-06:00", "10-25 05:00:00", "10-25 21:00:00" },
		/* Within it: twice. */
		{ "02:15-02:45", "10-24 12:00:00", "10-25 00:15:00" },
		{ "02:15-02:45", "10-25 00:20:00", "open" },
		{ "02:15-02:45", "10-25 00:45:00", "10-25 01:15:00" },
		{ "02:15-02:45", "10-25 01:20:00", "open" },
		{ "02:15-02:45", "10-25 01:45:00", "10-26 01:15:00" },
		/* Ending in it: opens again when it begins anew. */
		{ "01:00-02:30", "10-25 00:30:00", "10-25 01:00:00" },
		{ "01:00-02:30", "10-25 01:29:59", "open" },
		{ "01:00-02:30", "10-25 01:30:00", "10-26 00:00:00" },
		/* Beginning in it: shut again until it is half past anew. */
		{ "02:30-04:00", "10-25 00:30:00", "open" },
		{ "02:30-04:00", "10-25 01:00:00", "10-25 01:30:00" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *opens = sql_text(db,
			"SELECT coalesce(to_char(backfill.window_opens('%s',"
			" 'Europe/Berlin', '2026-%s+00') AT TIME ZONE 'UTC',"
			" 'MM-DD HH24:MI:SS'), 'open')",
			cases[i].window, cases[i].at);

		if (strcmp(opens, cases[i].opens) != 0) {
			fail_msg("%s at %s opens %s, not %s", cases[i].window,
				cases[i].at, cases[i].opens, opens);
		}
	}
	assert_string_equal(
		sql_text(
			db, "SELECT backfill.window_opens(NULL, 'UTC', now())"),
		"(null)");
}

/* Against the wall clock read minute by minute, over both changes and in
 * zones that change by half an hour, at midnight, or skip a day. */
static void test_window_opens_as_the_clock_says(void **state)
{
	static const struct {
		const char *zone, *from;
	} changes[] = {
		{ "Europe/Berlin", "2026-03-28 12:00+00" },
		{ "Europe/Berlin", "2026-10-24 12:00+00" },
		{ "Australia/Lord_Howe", "2026-04-04 06:00+00" },
		{ "Australia/Lord_Howe", "2026-10-03 06:00+00" },
		{ "America/Santiago", "2026-09-05 12:00+00" },
		{ "Pacific/Apia", "2011-12-29 12:00+00" },
	};
	static const char *const windows[] = { "23:30-00:30", "00:15-01:45",
		"01:50-02:10", "02:15-02:25", "02:10-01:50", "03:00-03:01" };

	(void)state;
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		for (size_t w = 0; w < sizeof windows / sizeof windows[0];
			w++) {
			assert_string_equal(
				sql_text(db,
					"WITH p AS (SELECT * FROM"
					" backfill.parse_window('%s', '%s')),"
					" minutes AS (SELECT m, (m AT TIME ZONE"
					" p.zone)::time AS t, p.* FROM p,"
					" generate_series('%s'::timestamptz,"
					" '%s'::timestamptz + '5 "
					"days'::interval,"
					" '1min') m),"
					" open AS (SELECT m, CASE WHEN starts <"
					" ends THEN t >= starts AND t < ends"
					" ELSE t >= starts OR t < ends END AS"
					" is_open FROM minutes),"
					" wanted AS (SELECT m, is_open, min(m)"
					" FILTER (WHERE is_open) OVER (ORDER BY"
					" m DESC) AS opens FROM open)"
					" SELECT min(m) FROM wanted WHERE m <"
					" '%s'::timestamptz + '2 "
					"days'::interval"
					" AND backfill.window_opens('%s', '%s',"
					" m) IS DISTINCT FROM nullif(opens, m)",
					windows[w], changes[i].zone,
					changes[i].from, changes[i].from,
					changes[i].from, windows[w],
					changes[i].zone),
				"(null)");
		}
	}
}

/* ---- a job with a window */

/* A window that opens in two hours, and the reason that it makes; the
 * moment is read once, in whole minutes. */
static const char *shut_window(void)
{
	return sql_text(db,
		"SELECT to_char(now() AT TIME ZONE 'Asia/Kolkata' +"
		" '2h'::interval, 'HH24:MI-') || to_char(now() AT TIME ZONE"
		" 'Asia/Kolkata' + '3h'::interval, 'HH24:MI')");
}

static const char *tell(const char *window, const char *prefix)
{
	return sql_text(db,
		"SELECT '%s%s Asia/Kolkata, which opens at ' || to_char("
		"backfill.window_opens('%s', 'Asia/Kolkata', now())"
		" AT TIME ZONE 'Asia/Kolkata', 'YYYY-MM-DD HH24:MI:SS') ||"
		" '+05:30'",
		prefix, window, window);
}

static void test_job_waits_for_its_window(void **state)
{
	char window[32], value[64];

	(void)state;
	make_table();
	(void)snprintf(window, sizeof window, "%s", shut_window());
	(void)snprintf(value, sizeof value, "'%s'", window);
	sql_exec(app, "SET TimeZone = 'Asia/Kolkata'");
	job = submit("nightly", "run_window", value);
	sql_exec(app, "RESET TimeZone");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		tell(window, "waits for its run_window "));

	sql_exec(app, "UPDATE backfill.jobs SET run_window = '00:00-24:00'");
	begin();
	batch(10, 10, 0);
	sql_exec(app, "UPDATE backfill.jobs SET run_window = '%s'", window);
	FAILS(app, "BF011",
		tell(window, ABOUT("job %lld is outside its run_window ", job)),
		"", "", "SELECT backfill.begin_batch(%lld, 1, %lld, %lld)", job,
		epoch_of_job(), seq_of_job());
	FAILS(app, "BF011",
		tell(window, ABOUT("job %lld is outside its run_window ", job)),
		"", "", "SELECT backfill.finish_range(%lld, 1, %lld, %lld)",
		job, epoch_of_job(), seq_of_job());
	FAILS(ctl, "BF011",
		tell(window, ABOUT("job %lld is outside its run_window ", job)),
		"", "",
		"SELECT backfill.barrier(%lld, %lld, %lld, 't'::regclass,"
		" NULL)",
		me, job, epoch_of_job());
	release("its window is shut");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		tell(window, "waits for its run_window "));
}

/* One job's zone that the server knows no more holds up that job only. */
static void test_unknown_zone_holds_up_nobody_else(void **state)
{
	(void)state;
	job = submit("gone", "run_window", "'22:00-06:00'");
	sql_exec(db, "UPDATE backfill.jobs SET timezone = 'Atlantis'");
	(void)submit("other", "", "");
	assert_string_equal(claim(), "other");
	assert_string_equal(claim(), "none");
	assert_string_equal(of_job("reason", job),
		"waits for its run_window 22:00-06:00: time zone \"Atlantis\""
		" not recognized");
}

/* A dead daemon's job is taken whatever the hour: its backend must end. */
static void test_takeover_at_any_hour(void **state)
{
	long long dead =
		sql_int(ctl, "SELECT backfill.register('dead', 1, '0', '1h')");

	(void)state;
	make_table();
	job = submit("orphan", "", "");
	assert_string_equal(
		sql_text(ctl, "SELECT name FROM backfill.claim(%lld)", dead),
		"orphan");
	attach();
	sql_exec(app, "UPDATE backfill.jobs SET run_window = '%s'",
		shut_window());
	assert_string_equal(claim(), "none");
	sql_exec(db,
		"UPDATE backfill.daemons SET lease_until = now() WHERE"
		" incarnation = %lld",
		dead);
	assert_string_equal(claim(), "orphan");
	sql_wait(db, 60,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE pid = %d)",
		PQbackendPID(app));
	PQreset(app);
}

#define TEST(name) cmocka_unit_test_teardown(name, queue_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bad_windows),
		TEST(test_window_opens),
		TEST(test_window_opens_as_the_clock_says),
		TEST(test_job_waits_for_its_window),
		TEST(test_unknown_zone_holds_up_nobody_else),
		TEST(test_takeover_at_any_hour),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
