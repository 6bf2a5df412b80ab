/* test_ctl.c: the command line of backfillctl and the screens that it
 * prints. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl_drive.h"

/* ---- the command line */

static void test_usage(void **state)
{
	static const char try[] = "HINT:  Try \"backfillctl --help\" for more"
				  " information.\n";
	static const struct {
		const char *arguments, *message;
	} cases[] = {
		{ "", "no command is given" },
		{ "frobnicate", "unknown command \"frobnicate\"" },
		{ "pause", "a job's id or name is missing after \"pause\"" },
		{ "list extra", "too many arguments, the first is \"extra\"" },
		{ "list --force", "--force is not an option of \"list\"" },
		{ "--nonsense list", "invalid option \"--nonsense\"" },
		{ "-x list", "invalid option \"-x\"" },
		{ "list -h", "an argument is missing for option \"-h\"" },
		{ "-d a dbname=b list",
			"two databases are named: -d and \"dbname=b\"" },
	};
	char command[256], wanted[256];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		(void)snprintf(command, sizeof command, "$BUILD/backfillctl %s",
			cases[i].arguments);
		(void)snprintf(wanted, sizeof wanted,
			"backfillctl: error: %s\n%s", cases[i].message, try);
		assert_int_equal(shell(command), 1);
		assert_output(wanted);
	}
	assert_int_equal(CTL("wait", "1", "--timeout=5"), 1);
	assert_has("backfillctl: error: invalid value for --timeout: \"5\"\n"
		   "HINT:  ");
}

static void test_help_and_version(void **state)
{
	static const char *const forms[] = { "-?", "--help", "help" };
	char command[64];

	(void)state;
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		(void)snprintf(command, sizeof command, "$BUILD/backfillctl %s",
			forms[i]);
		assert_int_equal(shell(command), 0);
		assert_has("\n  pause JOB [REASON]\n"
			   "      begin no further batch\n");
	}
	assert_int_equal(shell("$BUILD/backfillctl -V"), 0);
	assert_has("backfillctl (backfilld) ");
	assert_int_equal(shell("$BUILD/backfillctl -? > /dev/full"), 1);
	assert_has("could not write to standard output: No space left");
}

static void test_connection(void **state)
{
	(void)state;
	assert_int_equal(CTL("-h", "/nowhere", "list"), 2);
	assert_has("backfillctl: error: connection to server on socket"
		   " \"/nowhere/.s.PGSQL.5432\" failed: ");
	assert_int_equal(
		shell("$BUILD/backfillctl 'dbname=shop user=mon' list"), 0);
	assert_int_equal(
		shell("$BUILD/backfillctl postgresql:///shop?user=mon list"),
		0);
	assert_int_equal(
		shell("$BUILD/backfillctl -d 'dbname=shop user=no' list"), 2);
	assert_has("role \"no\" does not exist");
}

static void test_schema_must_be_there(void **state)
{
	(void)state;
	assert_int_equal(program_run(cluster, output, sizeof output,
				 "backfillctl", "list", NULL),
		1);
	assert_output("backfillctl: error: backfill is not installed in"
		      " database \"postgres\"\n"
		      "HINT:  A superuser, or a role with CREATEROLE that owns"
		      " the database, installs it: backfillctl install.\n");
	assert_int_equal(CTL("-U", "low", "list"), 3);
	assert_output("backfillctl: error: 42501: role \"low\" may not use"
		      " backfill\n"
		      "HINT:  GRANT backfill_submit TO low;\n");
}

/* A table of the caller's that shadows one of pg_catalog is not read. */
static void test_search_path_is_ours(void **state)
{
	(void)state;
	submit("one");
	sql_exec(shop,
		"ALTER ROLE mon SET search_path = public, pg_catalog;"
		"CREATE TABLE public.pg_namespace (nspname name)");
	assert_int_equal(CTL("-U", "mon", "list"), 0);
	sql_exec(shop,
		"DROP TABLE public.pg_namespace;"
		"ALTER ROLE mon RESET search_path");
	assert_has("one");
}

/* ---- list, show, status */

static void test_list(void **state)
{
	(void)state;
	run_for_an_hour();
	submit("old");
	submit("ended");
	submit("one");
	sql_exec(shop,
		"UPDATE backfill.jobs SET"
		" submitted_at = now() - interval '2h 3min 10s';"
		"UPDATE backfill.jobs SET state = 'succeeded',"
		" finished_at = now() - interval '25h' WHERE id = 2;"
		"UPDATE backfill.jobs SET state = 'failed',"
		" reason = 'division by zero',"
		" finished_at = now() - interval '3h 10s'"
		" WHERE id = 3");
	assert_int_equal(CTL("-U", "mon", "list"), 0);
	assert_output(
		"ID  NAME                 KIND    STATE     DONE        ROWS"
		"  ETA/AGE    REASON\n"
		" 1  orders.amount_cents  update  running  53.8%  64,000,001"
		"  eta 49min\n"
		" 3  ended                update  failed       -           0"
		"  3h00m ago  division by zero\n"
		" 4  one                  update  queued       -           0"
		"  2h03m old\n");
	assert_int_equal(CTL("-U", "mon", "list", "--all"), 0);
	assert_has("\n 2  old ");
}

static void test_list_is_cut_on_a_terminal_only(void **state)
{
	struct winsize size = { .ws_col = 30 };
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);
	int slave, code = 0;
	ssize_t length;
	pid_t pid;

	(void)state;
	submit("a name that is longer than the terminal is wide");
	assert_true(terminal >= 0);
	assert_int_equal(grantpt(terminal), 0);
	assert_int_equal(unlockpt(terminal), 0);
	slave = open(ptsname(terminal), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
	pid = start(slave, "list", NULL);
	assert_true(child_wait(pid, wait_deadline(WAIT_SECONDS), &code));
	length = read(terminal, output, sizeof output - 1);
	close(slave);
	close(terminal);
	assert_int_equal(code, 0);
	assert_true(length > 0);
	output[length] = '\0';
	assert_output("ID  NAME\r\n 1  a name that is longer than\r\n");

	assert_int_equal(CTL("list"), 0);
	assert_has("terminal is wide  update  queued");
}

static void test_status_of_a_running_job(void **state)
{
	char before[768], after[768];
	static const char clock[] =
		"SELECT to_char((now() + interval '49min 53s') AT TIME ZONE"
		" 'UTC', 'HH24:MI')";
	static const char format[] =
		"#1 orders.amount_cents                        RUNNING\n"
		"  [#############-------------]  53.8%%  64,120,331 of ~119.2M"
		" rows\n"
		"  rate 18.4k/s now, 18.4k/s 5min   batch 4.2k rows p50 212ms"
		" p95 300ms/250ms\n"
		"  eta  49min (%sZ)   elapsed 1h02m = work 54min + held 8min"
		" + paused 0s\n"
		"  done 64,000,001 rows in 15,202 batches   0 failed   1"
		" retry (40P01, 11min ago)\n"
		"  key  64120331 to 119412887   saved 2h10m ago   by app\n";

	(void)state;
	run_for_an_hour();
	sql_exec(shop,
		"UPDATE backfill.daemons SET"
		" started_at = now() - interval '3d 4h 10min';"
		"UPDATE backfill.ranges SET recent_batch_ms ="
		" '{100,212,310}';"
		"UPDATE backfill.jobs SET target_batch_time = '250ms',"
		" waited = '{\"lag\": 485000}', retries = 1,"
		" retry_sqlstate = '40P01',"
		" retried_at = now() - interval '11min 1s'");
	(void)snprintf(before, sizeof before, format, sql_text(shop, clock));
	assert_int_equal(CTL("-U", "mon", "status"), 0);
	(void)snprintf(after, sizeof after, format, sql_text(shop, clock));
	assert_has(strstr(output, before) != NULL ? before : after);
	assert_has("backfilld 1 db1 pid 4711 up 3d04h | run 1 pause 0 queue 0"
		   " fail 0\nprimary [local]:");
	assert_has("/shop  standbys -  ");
}

static void test_status_says_why(void **state)
{
	(void)state;
	submit("one");
	submit("two");
	sql_exec(shop,
		"UPDATE backfill.jobs SET"
		" submitted_at = now() - interval '4min 5s'");
	assert_int_equal(CTL("-U", "mon", "status"), 0);
	assert_has("\nwarning: 2 jobs wait and no daemon is alive\n\n"
		   "#1 one                                        QUEUED 4min\n"
		   "  who  by app\n");
	claim();
	assert_int_equal(CTL("status"), 0);
	assert_lacks("warning");
	assert_has("\n  [--------------------------]      -  0 rows\n"
		   "  rate - now, - 5min   batch -\n"
		   "  eta  -   elapsed ");
	assert_has("\n  key  -   saved -   by app\n");

	sql_exec(shop, "UPDATE backfill.daemons SET lease_until = now()");
	assert_int_equal(CTL("stop-all", "incident 7"), 0);
	assert_int_equal(CTL("-U", "mon", "status"), 0);
	assert_has("\nwarning: 2 jobs wait and no daemon is alive; last seen"
		   " on db1, pid 4711,");
	assert_has("\nwarning: all work is stopped by postgres for ");
	assert_has("s: incident 7\n\n#1 one");
	assert_has("\n  why  all work is stopped by postgres: incident 7\n"
		   "  next goes on after: backfillctl start-all\n");
}

static void test_status_of_a_held_job(void **state)
{
	(void)state;
	run_for_an_hour();
	sql_exec(shop,
		"UPDATE backfill.jobs SET reason = 'held: replay lag 9.4 s >"
		" 5 s on standby \"standby2\" -> goes on below 2.5 s';"
		"UPDATE backfill.jobs SET since = now() - interval '2min 10s'");
	assert_int_equal(CTL("-U", "mon", "status"), 0);
	assert_has(" | run 0 held 1 pause 0 ");
	assert_has("  HELD 2min\n");
	assert_has("\n  eta  49min once resumed   elapsed 1h02m = work ");
	assert_has("\n  why  replay lag 9.4 s > 5 s on standby \"standby2\"\n"
		   "  next resumes when the lag is below 2.5 s\n");
	assert_int_equal(CTL("-U", "mon", "status", "--short"), 0);
	assert_output("#1 orders.amount_cents 53.8% held 2min: replay lag 9.4 s"
		      " > 5 s on standby \"standby2\", eta 49min\n");
}

/* By its last events, for who may read them. */
static void test_status_tells_how_it_came_to_run(void **state)
{
	(void)state;
	run_for_an_hour();
	assert_int_equal(CTL("-U", "app", "status"), 0);
	assert_has(" RUNNING\n");
	sql_exec(shop,
		"INSERT INTO backfill.events (actor, job_id, event)"
		" VALUES ('backfilld', 1, 'taken_over'),"
		" ('backfilld', 1, 'sweep')");
	assert_int_equal(CTL("-U", "app", "status"), 0);
	assert_has(" RUNNING  (resumed after restart)\n");
	sql_exec(shop,
		"INSERT INTO backfill.events (actor, job_id, event)"
		" VALUES ('app', 1, 'resume')");
	assert_int_equal(CTL("-U", "app", "status"), 0);
	assert_has(" RUNNING  (resumed)\n");
	assert_int_equal(CTL("-U", "mon", "status"), 0);
	assert_has(" RUNNING\n");
}

static void test_status_beyond_the_estimate(void **state)
{
	(void)state;
	run_for_an_hour();
	sql_exec(shop,
		"UPDATE backfill.ranges SET rows_read = 130000000;"
		"INSERT INTO backfill.holes (job_id, number, hi)"
		" VALUES (1, 1, '{7}')");
	assert_int_equal(CTL("status"), 0);
	assert_has("\n  [#########################-]      -  130,000,000 rows"
		   " (expected ~119.2M)\n");
	assert_has("15,202 batches   0 failed\n"
		   "       1 held by others and still to do\n");
}

static void test_status_of_what_ended(void **state)
{
	(void)state;
	submit("empty");
	claim();
	sql_exec(shop,
		"UPDATE backfill.ranges SET finished_at = now();"
		"UPDATE backfill.jobs SET state = 'succeeded',"
		" started_at = now() - interval '5min 1s',"
		" finished_at = now() - interval '2min 1s'");
	assert_int_equal(CTL("status"), 0);
	assert_lacks("#1");
	assert_has("\n\nno job is open\n");
	assert_int_equal(CTL("status", "empty"), 0);
	assert_has("\n#1 empty                                      SUCCEEDED"
		   " 2min ago\n"
		   "  [##########################] 100.0%  0 rows\n"
		   "  end  2min ago   took 3min = work 3min");
	assert_has("\n  done 0 rows in 0 batches   0 failed\n");
	sql_exec(shop,
		"UPDATE backfill.jobs SET state = 'failed',"
		" reason = 'division by zero',"
		" error_sqlstate = '22012',"
		" error_message = 'division by zero',"
		" error_detail = 'In a row.', error_hint = 'Do not.'");
	assert_int_equal(CTL("status", "1"), 0);
	assert_has("\n  fail 22012: division by zero\n       In a row.\n"
		   "  hint Do not.\n");
	assert_int_equal(CTL("status"), 0);
	assert_has("\n#1 empty ");
	assert_int_equal(CTL("status", "nobody"), 3);
	assert_output("backfillctl: error: BF002: job \"nobody\" does not"
		      " exist\n"
		      "DETAIL:  Or its run_as is a role that you may not"
		      " become.\n"
		      "HINT:  backfillctl list --all shows the jobs that you"
		      " may see.\n");
}

static void test_show(void **state)
{
	(void)state;
	run_for_an_hour();
	sql_exec(app, "UPDATE backfill.jobs SET max_batch_rows = 5000");
	sql_exec(shop,
		"INSERT INTO backfill.holes (job_id, number, hi)"
		" SELECT 1, 1, ARRAY[n::text]"
		" FROM generate_series(101, 111) n;"
		"INSERT INTO backfill.events (actor, job_id, event)"
		" SELECT 'app', 1, 'event' || n"
		" FROM generate_series(1, 20) n");
	assert_int_equal(CTL("-U", "app", "show", "orders.amount_cents"), 0);
	assert_has("id                    1\nname                  "
		   "orders.amount_cents\n");
	assert_has("\nrows_done             64000001\n");
	assert_has("\nholes                 11\n");
	assert_has("\n\nJob\nset_clause      a = 'x'\n"
		   "from_clause     -\n"
		   "where_clause    a IS NULL\n");
	assert_has("\n\nSettings\n"
		   "run_window           -\n"
		   "priority             0\n"
		   "batch_rows           (configuration's)\n"
		   "max_batch_rows       5000\n");
	assert_has("\nHoles (the first 10)\nKEY  FOUND AT\n101  ");
	assert_has("\n110  ");
	assert_lacks("\n111  ");
	assert_has("\nEvents (the last 20)\nAT ");
	assert_lacks("submitted  run_as");
	assert_has("app    event20\n");
	assert_lacks("\nError\n");

	sql_exec(shop,
		"UPDATE backfill.jobs SET state = 'failed',"
		" error_sqlstate = '22012',"
		" error_message = 'division by zero'");
	assert_int_equal(CTL("show", "1"), 0);
	assert_has("\nError\nerror_sqlstate  22012\n"
		   "error_message   division by zero\n");
}

static void test_show_to_a_monitor(void **state)
{
	(void)state;
	submit("one");
	assert_int_equal(CTL("-U", "mon", "show", "one"), 0);
	assert_has("\nstate                 queued\n");
	assert_has("\nClauses, settings and events are shown to who may steer"
		   " the job.\n");
	assert_lacks("a IS NULL");
	assert_int_equal(CTL("-U", "steward", "show", "one"), 3);
	assert_has("BF002: job \"one\" does not exist");
}

static void test_hostile_names_are_inert(void **state)
{
	static const char *const commands[] = { "list", "status", "show 1",
		"status --short", "status --check", "uninstall", "pause 1",
		"status 1", "wait 1 --timeout=0" };
	char command[64];

	(void)state;
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES (E'\\033[2J\\n#7 \"x\" ''y'' \\u009b1m\\u202e%%s',"
		" 'users', E'a = ''\\033]0;t\\007''')");
	claim();
	sql_exec(shop, "SELECT backfill.stop_all(E'\\033[1m\\n#7 ')");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		(void)snprintf(command, sizeof command,
			"$BUILD/backfillctl %s 2>&1", commands[i]);
		(void)shell(command);
		assert_lacks("\x1b");
		assert_lacks("\x07");
		assert_lacks("\xc2\x9b");
		assert_lacks("\xe2\x80\xae");
		assert_lacks("\n#7");
	}
	assert_int_equal(CTL("list"), 0);
	assert_has(" 1  ?[2J #7 \"x\" 'y' ?1m?%s  update  paused");
	assert_int_equal(CTL("show", "1"), 0);
	assert_has("\nset_clause      a = '?]0;t?'\n");
	assert_int_equal(CTL("pause", "no\nHINT:  such\x1b[1m"), 3);
	assert_has("job \"no\n        HINT:  such?[1m\" does not exist");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_usage),
		TEST(test_help_and_version),
		TEST(test_connection),
		TEST(test_schema_must_be_there),
		TEST(test_search_path_is_ours),
		TEST(test_list),
		TEST(test_list_is_cut_on_a_terminal_only),
		TEST(test_status_of_a_running_job),
		TEST(test_status_says_why),
		TEST(test_status_of_a_held_job),
		TEST(test_status_tells_how_it_came_to_run),
		TEST(test_status_beyond_the_estimate),
		TEST(test_status_of_what_ended),
		TEST(test_show),
		TEST(test_show_to_a_monitor),
		TEST(test_hostile_names_are_inert),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
