/* test_ctl_events.c: backfillctl events: what is shown, and that whoever
 * follows them gets each once, in whatever order transactions commit. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl_drive.h"

/* Events that nobody acts upon. */
static void write_event(PGconn *conn, const char *event)
{
	sql_exec(conn,
		"INSERT INTO backfill.events (actor, job_id, event, detail)"
		" VALUES ('tester', 1, '%s', E'one\\ntwo')",
		event);
}

static void test_events(void **state)
{
	(void)state;
	submit("one");
	submit("two");
	write_event(shop, "begun");
	sql_exec(shop,
		"UPDATE backfill.events SET at = '2026-01-01 00:00:00+00'"
		" WHERE event = 'begun';"
		"ALTER ROLE app SET timezone = 'UTC'");
	assert_int_equal(CTL("-U", "app", "events", "--limit=1"), 0);
	assert_output("AT                      ACTOR   ID  NAME  EVENT"
		      "  DETAIL\n"
		      "2026-01-01 00:00:00+00  tester   1  one   begun  one"
		      " ...\n");
	assert_int_equal(CTL("-U", "app", "events", "two"), 0);
	assert_has("  app     2  two   submitted  run_as app\n");
	assert_lacks("begun");
	assert_int_equal(CTL("-U", "app", "events", "--since=1 hour"), 0);
	assert_lacks("begun");
	assert_has("one   submitted");
	assert_int_equal(CTL("-U", "app", "events", "--since=2025-12-31"), 0);
	assert_has("begun");
	assert_int_equal(CTL("-U", "app", "events", "--since=2025-12-31",
				 "--limit=1", "--json"),
		0);
	assert_output("[{\"id\":3,\"at\":\"2026-01-01T00:00:00+00:00\","
		      "\"actor\":\"tester\",\"job_id\":1,\"job_name\":\"one\","
		      "\"event\":\"begun\",\"detail\":\"one\\ntwo\"}]\n");
	sql_exec(shop, "ALTER ROLE app RESET ALL");
	assert_int_equal(CTL("events", "--limit=few"), 1);
	assert_has("invalid value for --limit: \"few\"\nHINT:  ");
	assert_int_equal(CTL("events", "--since=soon"), 3);
	assert_has("22007: ");
	assert_int_equal(CTL("events", "nobody"), 3);
	assert_has("BF002: job \"nobody\" does not exist\n");
	assert_int_equal(CTL("-U", "mon", "events"), 3);
	assert_has("42501: permission denied for table ");
}

/* ---- following ---- */

struct tail {
	char path[128];
	int fd;
	pid_t pid;
};

static void tail_start(struct tail *t, const char *job)
{
	(void)snprintf(t->path, sizeof t->path, "%s/tail.XXXXXX",
		cluster_dir(cluster));
	t->fd = mkstemp(t->path);
	assert_true(t->fd >= 0);
	{
		char program[512];
		const char *const env[] = { "PGHOST", cluster_dir(cluster),
			"PGPORT", cluster_port(cluster), "PGUSER", "postgres",
			"PGDATABASE", "shop", NULL };
		char *const argv[] = { program, (char *)"events",
			(char *)"--follow", (char *)"--json", (char *)job,
			NULL };
		struct child child = {
			.argv = argv, .env = env, .output = t->fd
		};

		(void)snprintf(program, sizeof program, "%s/backfillctl",
			pgdata_build_dir());
		t->pid = child_start(&child);
	}
}

static int count_told(struct tail *t, const char *text)
{
	ssize_t length = pread(t->fd, output, sizeof output - 1, 0);
	const char *s = output;
	int count = 0;

	assert_true(length >= 0);
	output[length] = '\0';
	while ((s = strstr(s, text)) != NULL) {
		s += strlen(text);
		count++;
	}
	return count;
}

static void tail_wait(struct tail *t, const char *text)
{
	uint64_t deadline = wait_deadline(WAIT_SECONDS);

	while (count_told(t, text) == 0) {
		if (!wait_again(deadline)) {
			fail_msg("not told: %s\nin:\n%s", text, output);
		}
	}
}

static void tail_stop(struct tail *t)
{
	child_kill(t->pid);
	close(t->fd);
	(void)unlink(t->path);
}

/* The smaller id commits last, in a subtransaction; and one more that began
 * before anybody looked. */
static void test_follow_out_of_order(void **state)
{
	PGconn *old = cluster_connect(cluster, "shop", "postgres");
	PGconn *slow = cluster_connect(cluster, "shop", "postgres");
	struct tail tail;

	(void)state;
	submit("one");
	sql_exec(old, "BEGIN");
	write_event(old, "oldest");
	write_event(shop, "first");
	tail_start(&tail, NULL);
	tail_wait(&tail, "\"first\"");

	sql_exec(slow, "BEGIN; SELECT txid_current(); SAVEPOINT s");
	write_event(slow, "slow");
	write_event(shop, "second");
	tail_wait(&tail, "\"second\"");
	write_event(shop, "third");
	tail_wait(&tail, "\"third\"");
	assert_int_equal(count_told(&tail, "\"slow\""), 0);
	sql_exec(slow, "COMMIT");
	tail_wait(&tail, "\"slow\"");
	sql_exec(old, "COMMIT");
	tail_wait(&tail, "\"oldest\"");
	write_event(shop, "last");
	tail_wait(&tail, "\"last\"");
	assert_int_equal(count_told(&tail, "\"event\":"), 7);
	tail_stop(&tail);
	PQfinish(slow);
	PQfinish(old);
}

/* Of one job; and what committed while the connection was gone. */
static void test_follow_survives_a_restart(void **state)
{
	struct tail tail;

	(void)state;
	submit("one");
	submit("two");
	tail_start(&tail, "one");
	tail_wait(&tail, "submitted");
	/* It has begun to follow. */
	sql_wait(shop, WAIT_SECONDS,
		"SELECT count(*) > 0 FROM pg_stat_activity"
		" WHERE application_name = 'backfillctl' AND state = 'idle'"
		" AND query ~ 'snapshot_xmin'");
	sql_exec(shop,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		" WHERE application_name = 'backfillctl'");
	write_event(shop, "meanwhile");
	sql_exec(shop,
		"INSERT INTO backfill.events (actor, job_id, event)"
		" VALUES ('tester', 2, 'another')");
	tail_wait(&tail, "\"meanwhile\"");
	assert_int_equal(count_told(&tail, "\"event\":"), 2);
	assert_int_equal(count_told(&tail, "another"), 0);
	assert_int_equal(count_told(&tail,
				 "backfillctl: warning: the connection to the"
				 " server is lost: trying again\n"),
		1);
	assert_int_equal(count_told(&tail,
				 "backfillctl: warning: connected again: no"
				 " event is left out\n"),
		1);
	tail_stop(&tail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_events),
		TEST(test_follow_out_of_order),
		TEST(test_follow_survives_a_restart),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
