/* test_standbys.c: what the server tells of standbys, and what is made of it:
 * backfill.standbys() against connections that say of themselves what a
 * standby would, and the requests of store/standbys.c against the functions. */
#include <endian.h>
#include <limits.h>
#include <string.h>

#include "loop.h"
#include "queue_drive.h"
#include "store/standbys.h"

enum { RECEIVERS = 2, WAIT_SECONDS = 60 };

/* Of PostgreSQL's time, which begins in 2000. */
#define AT_US INT64_C(800000000000000)
#define EPOCH_US INT64_C(946684800000000)

static PGconn *receivers[RECEIVERS];

static int clean(void **state)
{
	for (int i = 0; i < RECEIVERS; i++) {
		PQfinish(receivers[i]);
		receivers[i] = NULL;
	}
	sql_wait(db, WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_replication)");
	sql_exec(db,
		"SELECT pg_drop_replication_slot(slot_name)"
		" FROM pg_replication_slots");
	sql_exec(db,
		"UPDATE backfill.daemons SET jobs = 0; UPDATE backfill.budget"
		" SET wal_rate = NULL, version = 0, wal_spent = 0;"
		"DELETE FROM backfill.samples");
	return queue_clean(state);
}

/* ---- connections that look like standbys */

static long long position(void)
{
	return sql_int(db, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
}

/* slot: "SLOT name", or "". */
static void receive(
	int i, const char *application_name, const char *slot, long long lsn)
{
	char conninfo[PATH_MAX];
	PGresult *result;

	(void)snprintf(conninfo, sizeof conninfo,
		"%s application_name=%s replication=true",
		cluster_conninfo(cluster, "postgres", "postgres"),
		application_name);
	receivers[i] = PQconnectdb(conninfo);
	assert_int_equal(PQstatus(receivers[i]), CONNECTION_OK);
	result = PQexec(receivers[i],
		sql_text(db,
			"SELECT format('START_REPLICATION %s PHYSICAL %%s',"
			" '0/0'::pg_lsn + %lld)",
			slot, lsn));
	assert_int_equal(PQresultStatus(result), PGRES_COPY_BOTH);
	PQclear(result);
}

/* "Standby status update" (PostgreSQL docs, 55.4). */
static void tell_position(int i, long long lsn, int64_t at_us)
{
	char message[34] = { 'r' };
	uint64_t place = htobe64((uint64_t)lsn);
	uint64_t at = htobe64((uint64_t)at_us);

	for (size_t k = 0; k < 3; k++) {
		memcpy(message + 1 + 8 * k, &place, sizeof place);
	}
	memcpy(message + 25, &at, sizeof at);
	assert_int_equal(
		PQputCopyData(receivers[i], message, sizeof message), 1);
	assert_int_equal(PQflush(receivers[i]), 0);
}

static void wait_count(const char *condition, int count)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT count(*) = %d FROM pg_stat_replication WHERE %s", count,
		condition);
}

static const char *standby(const char *columns)
{
	return sql_text(ctl,
		"SELECT concat_ws(' ', %s) FROM backfill.standbys('{twin}')",
		columns);
}

/* Of two connections of one name that which is behind counts, and the reply
 * that is older. */
static void test_worst_of_two_counts(void **state)
{
	long long lsn = position();

	(void)state;
	receive(0, "twin", "", lsn);
	receive(1, "twin", "", lsn);
	wait_count("state = 'streaming'", 2);
	tell_position(0, lsn, AT_US);
	wait_count("replay_lsn IS NOT NULL", 1);
	assert_string_equal(
		standby("connections, state, replay_lsn"), "2 streaming");
	tell_position(1, lsn - 1000, AT_US + 5);
	wait_count("replay_lsn IS NOT NULL", 2);
	assert_string_equal(
		standby("replay_lsn - '0/0'::pg_lsn, replied_at_us"),
		sql_text(db, "SELECT concat_ws(' ', %lld, %lld)", lsn - 1000,
			(long long)(AT_US + EPOCH_US)));
	tell_position(1, lsn, AT_US - 5);
	wait_count("replay_lsn = '0/0'::pg_lsn + "
		   "(SELECT max(replay_lsn - '0/0'::pg_lsn)"
		   " FROM pg_stat_replication)",
		2);
	assert_string_equal(standby("replied_at_us"),
		sql_text(db, "SELECT %lld", (long long)(AT_US - 5 + EPOCH_US)));
}

/* Each has replayed the same, one of them later. */
static void test_larger_lag_of_two_counts(void **state)
{
	long long lsn = position();

	(void)state;
	receive(0, "twin", "", lsn);
	receive(1, "twin", "", lsn);
	wait_count("state = 'streaming'", 2);
	sql_exec(db, "SELECT pg_logical_emit_message(true, 'lag', '')");
	wait_count("sent_lsn = pg_current_wal_flush_lsn()", 2);
	lsn = position();
	tell_position(0, lsn, AT_US);
	wait_count("replay_lag IS NOT NULL", 1);
	sql_wait(db, WAIT_SECONDS,
		"SELECT clock_timestamp() > '%s'::timestamptz + interval"
		" '50 ms' + (SELECT max(replay_lag) FROM pg_stat_replication)",
		sql_text(db, "SELECT clock_timestamp()"));
	tell_position(1, lsn, AT_US);
	wait_count("replay_lag IS NOT NULL", 2);
	assert_true(sql_true(db,
		"SELECT min(replay_lag) < max(replay_lag) - interval '20 ms'"
		" FROM pg_stat_replication"));
	assert_true(sql_true(ctl,
		"SELECT s.replay_lag_ms = (SELECT"
		" ceil(extract(epoch FROM max(replay_lag)) * 1000)"
		" FROM pg_stat_replication) FROM backfill.standbys('{twin}')"
		" s"));
}

/* One streams, the other one is far behind and reads nothing. */
static void test_state_of_two(void **state)
{
	long long lsn = position();

	(void)state;
	sql_exec(app,
		"CREATE TABLE t AS SELECT repeat(md5(i::text), 30) AS pad"
		" FROM generate_series(1, 20000) AS i");
	receive(0, "twin", "", lsn);
	receive(1, "twin", "", position());
	wait_count("state = 'catchup'", 1);
	wait_count("state = 'streaming'", 1);
	assert_string_equal(standby("connections, state"), "2 catchup");
}

/* What a slot keeps is told while nobody reads it. */
static void test_slot_in_use(void **state)
{
	long long lsn;

	(void)state;
	sql_exec(
		db, "SELECT pg_create_physical_replication_slot('twin', true)");
	lsn = position();
	sql_exec(db, "SELECT pg_logical_emit_message(true, 'lag', '')");
	assert_string_equal(standby("connections, kept_bytes > 0"), "0 t");
	receive(0, "other", "SLOT twin", lsn);
	wait_count("state = 'streaming'", 1);
	assert_string_equal(standby("connections, kept_bytes IS NULL"), "1 t");
}

/* ---- the requests */

struct answer {
	size_t count;
	int is_done, rc;
	struct lag_sample samples[2];
	struct pace_sample s;
	int64_t version;
	char state[16];
};

static void on_answer(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct answer *a = data;
	struct err failure;

	assert_null(e);
	a->rc = standbys_read(
		request, a->samples, a->count, &a->s, &a->version, &failure);
	if (a->rc == 0 && a->samples[0].state != NULL) {
		(void)snprintf(
			a->state, sizeof a->state, "%s", a->samples[0].state);
	}
	a->is_done = 1;
}

static void ask(
	struct answer *a, const char *names, double rate, int64_t version)
{
	const struct standbys_share share = { 2, 500, rate, version };
	struct loop_client client = { 0 };
	uv_loop_t loop;

	assert_int_equal(uv_loop_init(&loop), 0);
	client.loop = &loop;
	loop_client_start(&client, cluster_conninfo(cluster, "t", "backfilld"));
	pgc_send(client.pgc, standbys_ask(me, names, &share), on_answer, a);
	loop_wait(&loop, &a->is_done, 1);
	loop_client_end(&client);
	loop_end(&loop);
}

static void test_nothing_is_told(void **state)
{
	struct answer a = { .count = 2 };

	(void)state;
	sql_exec(db, "SELECT pg_create_physical_replication_slot('b', true)");
	ask(&a, "{a,b}", 6e6, -1);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.samples[0].connections, 0);
	assert_null(a.samples[0].state);
	assert_int_equal(a.samples[0].replay_lsn, LAG_NONE);
	assert_int_equal(a.samples[0].replay_lag_ms, LAG_NONE);
	assert_int_equal(a.samples[0].replied_at_us, LAG_NONE);
	assert_int_equal(a.samples[0].kept_bytes, LAG_NONE);
	assert_true(a.samples[1].kept_bytes > 0);
	assert_true(a.s.rate == 0);
	assert_int_equal(a.version, 0);

	memset(&a, 0, sizeof a);
	a.count = 1;
	ask(&a, "{a,b}", 6e6, -1);
	assert_int_equal(a.rc, BFE_PROTOCOL);
}

static void test_all_is_told(void **state)
{
	struct answer a = { .count = 1 };
	long long lsn = position();
	long long other;

	(void)state;
	other = sql_int(ctl, "SELECT backfill.register('there', 2, '0', '1h')");
	sql_exec(db,
		"UPDATE backfill.daemons SET jobs = 3"
		" WHERE incarnation = %lld",
		other);
	sql_exec(db,
		"UPDATE backfill.budget SET wal_rate = 5000000,"
		" version = 4, wal_spent = 1000,"
		" set_at = clock_timestamp() - '7s'::interval");
	receive(0, "twin", "", lsn);
	wait_count("state = 'streaming'", 1);
	tell_position(0, lsn, AT_US);
	wait_count("replay_lsn IS NOT NULL", 1);
	ask(&a, "{twin}", 6e6, 4);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.samples[0].connections, 1);
	assert_string_equal(a.state, "streaming");
	assert_int_equal(a.samples[0].replay_lsn, lsn);
	assert_int_equal(a.samples[0].replied_at_us, AT_US + EPOCH_US);
	assert_true(a.s.lsn >= lsn && a.s.lsn <= position());
	assert_ptr_equal(a.s.standbys, a.samples);
	assert_true(a.s.rate == 6e6);
	assert_int_equal(a.version, 5);
	assert_in_range(a.s.rate_ms, 7000, 60000);
	assert_int_equal(a.s.spent_bytes, 1500);
	assert_int_equal(a.s.all_jobs, 5);
	sql_exec(db, "DELETE FROM backfill.daemons WHERE incarnation = %lld",
		other);
}

static void on_told(
	void *data, struct pgc_request *request, const struct err *e)
{
	(void)request;
	assert_null(e);
	*(int *)data = 1;
}

static const char *tell(const struct pace *p, int was_held)
{
	struct loop_client client = { 0 };
	int is_done = 0;
	uv_loop_t loop;

	assert_int_equal(uv_loop_init(&loop), 0);
	client.loop = &loop;
	loop_client_start(&client, cluster_conninfo(cluster, "t", "backfilld"));
	pgc_send(client.pgc, standbys_tell(me, p, 5000, was_held), on_told,
		&is_done);
	loop_wait(&loop, &is_done, 1);
	loop_client_end(&client);
	loop_end(&loop);
	return sql_text(db,
		"SELECT string_agg(concat_ws(' ', target, coalesce(value::text,"
		" '-'), limit_value, resume_value, holding, detail), ', ')"
		" FROM backfill.signals");
}

static void test_what_is_shown(void **state)
{
	struct lag_standby standbys[2] = {
		{ .name = "a \"b", .is_optional = 1 }, { .name = "c" }
	};
	struct pace p;

	(void)state;
	pace_init(&p, standbys, 2);
	p.limit_ms = 5000;
	p.optional_timeout_ms = 60000;
	(void)snprintf(
		standbys[1].state, sizeof standbys[1].state, "streaming");
	standbys[0].cause = LAG_NOT_CONNECTED;
	standbys[0].behind_bytes = LAG_NONE;
	standbys[0].kept_bytes = 77;
	standbys[1].cause = LAG_KNOWN;
	standbys[1].lag_ms = 3210;
	standbys[1].behind_bytes = 1234;
	assert_string_equal(tell(&p, 0),
		"a \"b - 5 2.5 t not connected; its slot keeps 77 bytes,"
		" c 3.21 5 2.5 f streaming, 1234 bytes behind");
	p.limit_ms = 1500;
	standbys[0].cause = LAG_KNOWN;
	standbys[0].behind_bytes = 0;
	standbys[1].lag_ms = 1000;
	assert_string_equal(tell(&p, 1),
		"a \"b 0 1.5 0.75 f , 0 bytes behind,"
		" c 1 1.5 0.75 t streaming, 1234 bytes behind");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		TEST(test_worst_of_two_counts),
		TEST(test_larger_lag_of_two_counts),
		TEST(test_state_of_two),
		TEST(test_slot_in_use),
		TEST(test_nothing_is_told),
		TEST(test_all_is_told),
		TEST(test_what_is_shown),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
