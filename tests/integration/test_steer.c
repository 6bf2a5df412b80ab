/* test_steer.c: the functions that steer jobs, and the notifications that
 * tell the daemons. None runs here; what they make of it is
 * test_job_control.c's. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"
#include "wait.h"

enum { WAIT_SECONDS = 30 };

static struct cluster *cluster;
static PGconn *db;    /* postgres */
static PGconn *app;   /* may submit; owns schema shop */
static PGconn *admin; /* member of backfill_admin */
static char notice[1024];

static void on_notice(void *arg, const PGresult *result)
{
	const char *severity =
		PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	(void)snprintf(notice, sizeof notice, "%s: %s",
		severity != NULL ? severity : "",
		message != NULL ? message : "");
}

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "t");
	db = cluster_connect(cluster, "t", "postgres");
	sql_exec(db,
		"CREATE ROLE admin LOGIN; GRANT backfill_admin TO admin;"
		"CREATE SCHEMA shop AUTHORIZATION app");
	app = cluster_connect(cluster, "t", "app");
	admin = cluster_connect(cluster, "t", "admin");
	sql_exec(app,
		"CREATE TABLE shop.users (id bigint PRIMARY KEY, n integer)");
	(void)PQsetNoticeReceiver(app, on_notice, NULL);
	(void)PQsetNoticeReceiver(admin, on_notice, NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	PQfinish(admin);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	sql_exec(app, "ROLLBACK; RESET ALL; SET client_min_messages = notice");
	sql_exec(db,
		"RESET ALL; DELETE FROM backfill.jobs;"
		"DELETE FROM backfill.events; DELETE FROM backfill.stop");
	notice[0] = '\0';
	return 0;
}

/* ---- helpers */

static void assert_failure(const struct sql_failure *f, const char *sqlstate,
	const char *message, const char *detail, const char *hint)
{
	assert_string_equal(f->message, message);
	assert_string_equal(f->sqlstate, sqlstate);
	assert_string_equal(f->detail, detail);
	assert_string_equal(f->hint, hint);
}

/* The SQL comes last, as it may have arguments. */
#define FAILS(conn, sqlstate, message, detail, hint, ...)                      \
	do {                                                                   \
		struct sql_failure failure;                                    \
                                                                               \
		sql_fails(conn, &failure, __VA_ARGS__);                        \
		assert_failure(&failure, sqlstate, message, detail, hint);     \
	} while (0)

#define SUBMIT                                                                 \
	"INSERT INTO backfill.jobs (name, target, set_clause) VALUES"          \
	" ('%s', 'shop.users', 'n = 1') RETURNING id"

static long long submit(const char *name)
{
	return sql_int(app, SUBMIT, name);
}

static const char *of_job(const char *column, long long id)
{
	return sql_text(
		db, "SELECT %s FROM backfill.jobs WHERE id = %lld", column, id);
}

/* A message with the job's number in it; lives until the next call. */
static const char *about(const char *format, long long id)
	__attribute__((format(printf, 1, 0)));

static const char *about(const char *format, long long id)
{
	static char text[256];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(text, sizeof text, format, id);
#pragma GCC diagnostic pop
	return text;
}

/* ---- steering */

static void test_pause_resume_cancel(void **state)
{
	long long id = submit("steered");

	(void)state;
	sql_exec(app, "SELECT backfill.pause(%lld, 'lunch')", id);
	assert_string_equal(of_job("state || ': ' || reason", id),
		"paused: paused by app: lunch");
	sql_exec(app, "SELECT backfill.resume('steered')");
	assert_string_equal(
		of_job("state || ': ' || coalesce(reason, 'none')", id),
		"queued: none");
	sql_exec(app, "SELECT backfill.pause('steered', '  ')");
	assert_string_equal(
		of_job("state || ': ' || reason", id), "paused: paused by app");
	sql_exec(app, "SELECT backfill.resume(%lld)", id);
	/* A number in quotes is an id too. */
	sql_exec(app, "SELECT backfill.pause('%lld')", id);
	assert_string_equal(of_job("state", id), "paused");
	sql_exec(admin, "SELECT backfill.cancel('steered', 'enough')");
	assert_string_equal(of_job("state || ': ' || reason", id),
		"cancelled: cancelled by admin: enough");
	assert_string_equal(of_job("finished_at IS NOT NULL", id), "t");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws('/', actor, event,"
			" detail), ' ' ORDER BY id) FROM backfill.events"
			" WHERE job_id = %lld",
			id),
		"app/submitted/run_as app app/pause/lunch app/resume app/pause"
		" app/resume app/pause admin/cancel/enough");

	id = submit("running");
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'running'"
		" WHERE name = 'running'");
	sql_exec(app, "SELECT backfill.pause('running')");
	assert_string_equal(of_job("state", id), "paused");
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'running'"
		" WHERE name = 'running'");
	sql_exec(app, "SELECT backfill.cancel(%lld)", id);
	assert_string_equal(of_job("state || ': ' || reason", id),
		"cancelled: cancelled by app");
}

static void test_repeats_are_noticed(void **state)
{
	long long id = submit("again");

	(void)state;
	sql_exec(app, "SELECT backfill.resume('again')");
	assert_string_equal(
		notice, about("NOTICE: job %lld is queued already", id));
	sql_exec(app, "SELECT backfill.pause('again', 'first')");
	sql_exec(app, "SELECT backfill.pause('again', 'second')");
	assert_string_equal(
		notice, about("NOTICE: job %lld is paused already", id));
	assert_string_equal(of_job("reason", id), "paused by app: first");
	sql_exec(app, "SELECT backfill.cancel('again')");
	sql_exec(app, "SELECT backfill.cancel('again', 'twice')");
	assert_string_equal(
		notice, about("NOTICE: job %lld is cancelled already", id));
	assert_string_equal(of_job("reason", id), "cancelled by app");
	id = submit("busy");
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'running'"
		" WHERE name = 'busy'");
	sql_exec(app, "SELECT backfill.resume('busy')");
	assert_string_equal(
		notice, about("NOTICE: job %lld is running already", id));
}

static void test_impossible_requests(void **state)
{
	static const char *const states[] = { "succeeded", "failed",
		"cancelled" };
	static const char *const requests[] = { "pause", "resume", "cancel" };
	static const char *const hints[] = {
		"Submit a new job to change the table again.",
		"backfill.retry() queues a failed job again.",
		"Submit a new job to change the table again.",
	};
	long long id = submit("over");
	char message[128];

	(void)state;
	for (int s = 0; s < 3; s++) {
		sql_exec(
			db, "UPDATE backfill.jobs SET state = '%s'", states[s]);
		for (int r = 0; r < 3; r++) {
			if (s == 2 && r == 2) {
				continue; /* cancelled already: a notice */
			}
			(void)snprintf(message, sizeof message,
				"cannot %s job %lld: it is %s", requests[r], id,
				states[s]);
			FAILS(app, "BF003", message, "", hints[s],
				"SELECT backfill.%s('over')", requests[r]);
		}
		assert_string_equal(of_job("state", id), states[s]);
	}
	/* What was refused is not history. */
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM backfill.events"), 1);
	for (int r = 0; r < 3; r++) {
		FAILS(app, "BF002", "job \"nix\" does not exist",
			"Or its run_as is a role that you may not become.", "",
			"SELECT backfill.%s('nix')", requests[r]);
		FAILS(app, "BF002", "job \"0\" does not exist",
			"Or its run_as is a role that you may not become.", "",
			"SELECT backfill.%s(0)", requests[r]);
	}
	id = submit("wordy");
	FAILS(app, "22023", "reason is longer than 1000 bytes", "It has 1001.",
		"", "SELECT backfill.pause('wordy', repeat('x', 1001))");
}

static void test_stop_all_and_start_all(void **state)
{
	(void)state;
	FAILS(app, "42501", "permission denied for function stop_all", "", "",
		"SELECT backfill.stop_all('no')");
	FAILS(app, "42501", "permission denied for function start_all", "", "",
		"SELECT backfill.start_all()");
	sql_exec(admin, "SELECT backfill.stop_all('fire')");
	sql_exec(admin, "SELECT backfill.stop_all('again')");
	assert_string_equal(sql_text(db,
				    "SELECT stopped_by || ': ' || reason"
				    " FROM backfill.stop"),
		"admin: fire");
	FAILS(app, "42501", "permission denied for function start_all", "", "",
		"SELECT backfill.start_all()");
	/* A job may be submitted all the same, and shows why it waits. */
	(void)submit("waits");
	assert_string_equal(sql_text(app,
				    "SELECT state || ': ' || reason"
				    " FROM backfill.progress"),
		"queued: all work is stopped by admin: fire");
	sql_exec(admin, "SELECT backfill.start_all()");
	sql_exec(admin, "SELECT backfill.start_all()");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.stop"), 0);
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws('/', actor, event,"
			" detail), ' ' ORDER BY id) FROM backfill.events"
			" WHERE job_id IS NULL"),
		"admin/stop_all/fire admin/stop_all/again admin/start_all"
		" admin/start_all");
}

/* ---- notifications */

static void assert_notified(PGconn *listener, const char *what)
{
	uint64_t deadline = wait_deadline(WAIT_SECONDS);
	PGnotify *n;

	while ((n = PQnotifies(listener)) == NULL) {
		struct pollfd pfd = { PQsocket(listener), POLLIN, 0 };

		if (poll(&pfd, 1, wait_left_ms(deadline)) == 0) {
			fail_msg("no notification of %s", what);
		}
		assert_int_equal(PQconsumeInput(listener), 1);
	}
	assert_string_equal(n->relname, "backfill");
	assert_string_equal(n->extra, "");
	PQfreemem(n);
}

static void test_daemons_are_notified(void **state)
{
	static const char *const requests[] = { "pause('told')",
		"resume('told')", "cancel('told')", "stop_all()",
		"start_all()" };
	PGconn *listener = cluster_connect(cluster, "t", "backfilld");

	(void)state;
	sql_exec(listener, "LISTEN backfill");
	(void)submit("told");
	assert_notified(listener, "INSERT");
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		sql_exec(admin, "SELECT backfill.%s", requests[i]);
		assert_notified(listener, requests[i]);
	}
	PQfinish(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pause_resume_cancel),
		TEST(test_repeats_are_noticed),
		TEST(test_impossible_requests),
		TEST(test_stop_all_and_start_all),
		TEST(test_daemons_are_notified),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
