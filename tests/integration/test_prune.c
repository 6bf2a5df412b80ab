/* test_prune.c: what is removed in time, and what never is. */
#include "queue_drive.h"

/* A job that ended in this state so long ago, with all that may belong to
 * one. */
static long long ended(const char *name, const char *state, const char *age)
{
	long long id = submit(name, "", "");

	sql_exec(db,
		"UPDATE backfill.jobs SET state = '%s', finished_at ="
		" now() - interval '%s' WHERE id = %lld;"
		"INSERT INTO backfill.ranges (job_id, number) VALUES (%lld, 1);"
		"INSERT INTO backfill.holes (job_id, number, hi)"
		" VALUES (%lld, 1, '{1}');"
		"INSERT INTO backfill.row_errors (job_id, number, key,"
		" sqlstate, message) VALUES (%lld, 1, '{1}', '23514', 'm')",
		state, age, id, id, id, id);
	return id;
}

static int64_t prune(const char *older_than)
{
	return sql_int(ctl, "SELECT backfill.prune(%lld, %s)", me, older_than);
}

static const char *names(void)
{
	return sql_text(db,
		"SELECT string_agg(name, ' ' ORDER BY name) FROM"
		" backfill.jobs");
}

static void test_finished_jobs_go(void **state)
{
	(void)state;
	job = ended("kept", "succeeded", "89 days");
	(void)ended("old", "succeeded", "91 days");
	(void)ended("wrong", "failed", "91 days");
	(void)ended("stopped", "cancelled", "91 days");
	(void)ended("still", "paused", "91 days");
	(void)ended("waits", "queued", "91 days");
	(void)ended("runs", "running", "91 days");
	assert_int_equal(prune("'90 days'"), 3);
	assert_string_equal(names(), "kept runs still waits");
	assert_int_equal(prune("'90 days'"), 0);
	/* All that belonged to them, and nothing of the others. */
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws(' ', (SELECT count(*) FROM"
			" backfill.ranges), (SELECT count(*) FROM"
			" backfill.holes), (SELECT count(*) FROM"
			" backfill.row_errors), (SELECT count(*) FROM"
			" backfill.events), (SELECT count(*) FROM"
			" backfill.events e JOIN backfill.jobs j"
			" ON j.id = e.job_id))"),
		"4 4 4 4 4");
}

/* Whatever the daemon asks for. */
static void test_a_day_is_the_least(void **state)
{
	(void)state;
	(void)ended("today", "succeeded", "23 hours");
	(void)ended("yesterday", "succeeded", "25 hours");
	assert_string_equal(
		sql_text(ctl, "SELECT backfill.prune(%lld, NULL)", me),
		"(null)");
	assert_int_equal(prune("'-100 days'"), 1);
	assert_string_equal(names(), "today");
}

static void test_what_others_depend_on_stays(void **state)
{
	static const char *const states[] = { "queued", "running", "paused",
		"failed" };
	long long old = ended("old", "succeeded", "99 days");
	char ids[32];

	(void)state;
	(void)snprintf(ids, sizeof ids, "'{%lld}'", old);
	job = submit("young", "depends_on", ids);
	for (int i = 0; i < 4; i++) {
		sql_exec(db,
			"UPDATE backfill.jobs SET state = '%s', finished_at ="
			" now() WHERE id = %lld",
			states[i], job);
		assert_int_equal(prune("'90 days'"), 0);
	}
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'succeeded' WHERE id = %lld",
		job);
	assert_int_equal(prune("'90 days'"), 1);
	assert_string_equal(names(), "young");
}

/* Nor do they take the places of those that may go. */
static void test_needed_jobs_are_not_in_the_way(void **state)
{
	char name[16];

	(void)state;
	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof name, "needed%d", i);
		(void)ended(name, "succeeded", "100 days");
	}
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" depends_on) SELECT 'young', 't', 'n = 1', array_agg(id)"
		" FROM backfill.jobs");
	(void)ended("free", "succeeded", "99 days");
	assert_int_equal(prune("'90 days'"), 1);
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 11);
}

/* Submitted and not yet committed: the lock of its trigger keeps the old
 * job. */
static void test_dependant_before_its_commit(void **state)
{
	long long old = ended("old", "succeeded", "99 days");

	(void)state;
	sql_exec(app,
		"BEGIN; INSERT INTO backfill.jobs (name, target, set_clause,"
		" depends_on) VALUES ('young', 't', 'n = 1', '{%lld}')",
		old);
	assert_int_equal(prune("'90 days'"), 0);
	sql_exec(app, "COMMIT");
	assert_int_equal(prune("'90 days'"), 0);
	assert_string_equal(names(), "old young");
}

/* Committed after the first look at what is needed: the table's lock stops
 * the prune between that look and the choice of what is old. */
static void test_dependant_between_two_looks(void **state)
{
	long long old = ended("old", "succeeded", "99 days");

	(void)state;
	sql_exec(db,
		"BEGIN; LOCK TABLE backfill.jobs IN EXCLUSIVE MODE;"
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as,"
		" depends_on) VALUES ('young', 't', 'n = 1', 'app',"
		" '{%lld}')",
		old);
	sql_async(ctl, "SELECT backfill.prune(%lld, '90 days')", me);
	sql_wait(db, 60, "SELECT pg_blocking_pids(%d) <> '{}'",
		PQbackendPID(ctl));
	sql_exec(db, "COMMIT");
	sql_async_wait(ctl);
	assert_string_equal(names(), "old young");
}

static void test_ten_at_a_time(void **state)
{
	char name[16];

	(void)state;
	for (int i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof name, "old%d", i);
		(void)ended(name, "succeeded", "99 days");
	}
	job = sql_int(db, "SELECT id FROM backfill.jobs WHERE name = 'old3'");
	sql_exec(app,
		"BEGIN; UPDATE backfill.jobs SET priority = 1"
		" WHERE name = 'old3'");
	/* A job that somebody has locked is for another time. */
	assert_int_equal(prune("'90 days'"), 10);
	assert_int_equal(prune("'90 days'"), 1);
	sql_exec(app, "ROLLBACK");
	assert_string_equal(names(), "old3");
	assert_int_equal(prune("'90 days'"), 1);
}

/* So is a job of which its own login holds the checkpoint, and it takes no
 * other one's place. */
static void test_held_checkpoints_are_passed_over(void **state)
{
	char name[16];

	(void)state;
	for (int i = 0; i < 11; i++) {
		(void)snprintf(name, sizeof name, "held%d", i);
		(void)ended(name, "succeeded", "100 days");
	}
	sql_exec(app,
		"BEGIN; SELECT backfill.list_holes(job_id, number, epoch, 0)"
		" FROM backfill.ranges");
	(void)sql_int(db,
		"INSERT INTO backfill.jobs (name, target, set_clause, run_as)"
		" VALUES ('never begun', 't', 'n = 1', 'app') RETURNING id");
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'cancelled', finished_at ="
		" now() - '99 days'::interval WHERE name = 'never begun'");
	sql_exec(ctl, "SET lock_timeout = '1s'");
	assert_int_equal(prune("'90 days'"), 1);
	sql_exec(ctl, "RESET lock_timeout");
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 11);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM backfill.row_errors"), 11);
	sql_exec(app, "COMMIT");
	assert_int_equal(prune("'90 days'"), 10);
	assert_int_equal(prune("'90 days'"), 1);
}

/* What hangs on one job may be more than one call should remove. */
static void test_many_rows_of_one_job(void **state)
{
	(void)state;
	job = ended("big", "failed", "99 days");
	sql_exec(db,
		"INSERT INTO backfill.row_errors (job_id, number, key,"
		" sqlstate, message) SELECT %lld, 1, ARRAY[g::text], '23514',"
		" 'm' FROM generate_series(2, 15000) g",
		job);
	assert_int_equal(prune("'90 days'"), 0);
	assert_string_equal(
		sql_text(db, "SELECT count(*) FROM backfill.row_errors"),
		"5000");
	assert_string_equal(names(), "big");
	assert_int_equal(prune("'90 days'"), 1);
	assert_int_equal(
		sql_int(db, "SELECT count(*) FROM backfill.row_errors"), 0);
}

static void test_old_daemons_and_events_go(void **state)
{
	long long owner =
		sql_int(ctl, "SELECT backfill.register('owner', 1, '0', '1h')");

	(void)state;
	job = submit("owned", "", "");
	sql_exec(db,
		"INSERT INTO backfill.ranges (job_id, number, owner)"
		" VALUES (%lld, 1, %lld)",
		job, owner);
	sql_exec(ctl, "SELECT backfill.register('gone', 1, '0', '1h')");
	sql_exec(ctl, "SELECT backfill.register('here', 1, '0', '1h')");
	sql_exec(db,
		"UPDATE backfill.daemons SET lease_until = now() -"
		" interval '91 days' WHERE host IN ('owner', 'gone', 'test');"
		"SELECT backfill.stop_all('a'); SELECT backfill.start_all();"
		"UPDATE backfill.events SET at = now() - interval '91 days'"
		" WHERE event = 'stop_all'");
	assert_int_equal(prune("'90 days'"), 0);
	/* Not that of the caller either. */
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(host, ' ' ORDER BY host) FROM"
			" backfill.daemons"),
		"here owner test");
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(event, ' ' ORDER BY id) FROM"
			" backfill.events"),
		"submitted start_all");
}

#define TEST(name) cmocka_unit_test_teardown(name, queue_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_finished_jobs_go),
		TEST(test_a_day_is_the_least),
		TEST(test_what_others_depend_on_stays),
		TEST(test_needed_jobs_are_not_in_the_way),
		TEST(test_dependant_before_its_commit),
		TEST(test_dependant_between_two_looks),
		TEST(test_ten_at_a_time),
		TEST(test_held_checkpoints_are_passed_over),
		TEST(test_many_rows_of_one_job),
		TEST(test_old_daemons_and_events_go),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
