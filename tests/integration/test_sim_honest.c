/* test_sim_honest.c: the server that the simulator makes up (tests/sim) and
 * the real one, side by side: the same random calls to both, and the same
 * SQLSTATE and the same rows after each. HONEST_SEED=N replays one seed. */
#include "honest_runner.h"
#include "wait.h"

enum { SEEDS = 12, STEPS = 120 };

/* ---- daemons */

static void set_lock_timeout(int ms)
{
	sql_exec(ctl, "SET lock_timeout = %d", ms);
}

/* The old owner's transaction is told to end, and on a busy machine takes
 * longer to do so than a claim waits: the job is passed over until then. */
static const char *claim_for_real(int d, int is_due)
{
	uint64_t deadline = wait_deadline(60);
	const char *failure;

	do {
		failure = real(ctl, "SELECT epoch FROM backfill.claim(%lld)",
			incarnations[d]);
	} while (is_due && failure[0] == '\0' && answer[0] == '\0' &&
		sql_true(db,
			"SELECT reason = 'waits: a transaction holds its"
			" checkpoint' FROM backfill.jobs WHERE id = %lld",
			job) &&
		wait_again(deadline));
	return failure;
}

static void do_claim(void)
{
	struct sim_tx t = { 0 };
	int d = pick(DAEMONS);
	int64_t epoch;
	const char *failure;
	char wanted[32];

	fake.daemons[d + 1].lease_until = 0;
	if (pick(6) > 0) {
		fake.daemons[d + 1].lease_until = UINT64_MAX;
	}
	sql_exec(db,
		"UPDATE backfill.daemons SET lease_until = CASE WHEN %d = 0"
		" THEN '-infinity'::timestamptz ELSE 'infinity' END"
		" WHERE incarnation = %lld",
		fake.daemons[d + 1].lease_until != 0, incarnations[d]);
	sim_begin(&fake, &t, 0);
	failure = sim_claim(&fake, &t, d + 1, &epoch);
	failure = end_fake(&t, failure);
	/* It passes over what is locked. */
	if (strcmp(failure, "55P03") == 0) {
		epoch = 0;
	}
	set_lock_timeout(epoch == 0 ? 40 : 5000);
	wanted[0] = '\0';
	if (epoch != 0) {
		(void)snprintf(wanted, sizeof wanted, "%" PRId64, epoch);
	}
	failure = claim_for_real(d, epoch != 0);
	assert_string_equal(answer, wanted);
	compare("", failure);
	sim_tx_free(&t);
}

static void do_retake(void)
{
	struct sim_tx t = { 0 };
	int d = pick(DAEMONS);
	int64_t with = some_epoch();
	int64_t epoch;
	char failure[8];

	sim_begin(&fake, &t, 0);
	(void)snprintf(failure, sizeof failure, "%s",
		end_fake(&t, sim_retake(&fake, &t, d + 1, with, &epoch)));
	set_lock_timeout(strcmp(failure, "55P03") == 0 ? 40 : 5000);
	compare(failure,
		real(ctl,
			"SELECT backfill.retake_range(%lld, %lld, 1,"
			" %" PRId64 ")",
			incarnations[d], job, with));
	sim_tx_free(&t);
}

static void do_end_of_run(void)
{
	static const char *const whys[] = { "the daemon stops", "x" };
	struct sim_tx t = { 0 };
	int d = pick(DAEMONS);
	int64_t epoch = some_epoch();
	const char *why = whys[pick(2)];
	const char *failure;

	set_lock_timeout(40);
	sim_begin(&fake, &t, 0);
	switch (pick(5)) {
	case 0:
		failure = sim_fail_job(&fake, &t, d + 1, epoch, "22012");
		compare(end_fake(&t, failure),
			real(ctl,
				"SELECT backfill.fail_job(%lld, %lld,"
				" %" PRId64 ", '22012', 'oh', '', '')",
				incarnations[d], job, epoch));
		break;
	case 1:
	case 2:
		failure = sim_release(&fake, &t, d + 1, epoch, why);
		compare(end_fake(&t, failure),
			real(ctl,
				"SELECT backfill.release(%lld, %lld, %" PRId64
				", '%s')",
				incarnations[d], job, epoch, why));
		break;
	default:
		failure = sim_finish_job(&fake, &t, d + 1, epoch);
		compare(end_fake(&t, failure),
			real(ctl,
				"SELECT backfill.finish_job(%lld, %lld,"
				" %" PRId64 ")",
				incarnations[d], job, epoch));
		break;
	}
	sim_tx_free(&t);
}

static void do_people(void)
{
	static const struct {
		const char *name;
		const char *(*rule)(struct sim_server *s, struct sim_tx *t);
	} controls[] = {
		{ "pause", sim_pause },
		{ "resume", sim_resume },
		{ "resume", sim_resume },
		{ "retry", sim_retry },
		{ "retry", sim_retry },
		{ "cancel", sim_cancel },
	};
	struct sim_tx t = { 0 };
	int i = pick(12) == 0 ? 5 : pick(5);

	if (pick(8) == 0 || fake.is_stopped) {
		fake.is_stopped = !fake.is_stopped;
		compare("",
			real(db, "SELECT backfill.%s()",
				fake.is_stopped ? "stop_all" : "start_all"));
		return;
	}
	sql_exec(app, "SET lock_timeout = '40ms'");
	sim_begin(&fake, &t, 0);
	compare(end_fake(&t, controls[i].rule(&fake, &t)),
		real(app, "SELECT backfill.%s(%lld)", controls[i].name, job));
	sim_tx_free(&t);
}

/* ---- one seed */

static void do_runner(struct runner *r)
{
	if (r->tx.id != 0) {
		if (pick(2)) {
			do_checkpoint(r);
		} else {
			do_close_hole(r);
		}
		return;
	}
	switch (pick(12)) {
	case 0:
		do_attach(r);
		return;
	case 1:
		do_begin_job(r);
		return;
	case 2:
		do_skip_window(r);
		return;
	case 3:
	case 4:
		do_set_aside(r);
		return;
	case 5:
	case 6:
		do_finish_range(r);
		return;
	default:
		do_begin_batch(r);
		return;
	}
}

/* Claimed, attached and begun more often than chance would have it. */
static void do_what_comes_next(struct runner *r)
{
	if (fake.job.state == SIM_QUEUED) {
		do_claim();
	} else if (r->tx.id != 0) {
		do_runner(r);
	} else if (runner_number(fake.range.runner) == 0) {
		do_attach(r);
	} else if (!fake.range.is_begun) {
		do_begin_job(&runners[runner_number(fake.range.runner) - 1]);
	} else {
		do_runner(&runners[runner_number(fake.range.runner) - 1]);
	}
}

static void do_step(void)
{
	int what = pick(20);

	fake.now_ms = now_ms();
	if (what < 12) {
		do_what_comes_next(&runners[pick(RUNNERS)]);
	} else if (what < 15) {
		do_runner(&runners[pick(RUNNERS)]);
	} else if (what < 16) {
		do_claim();
	} else if (what < 17) {
		do_retake();
	} else if (what < 18) {
		do_end_of_run();
	} else {
		do_people();
	}
	reconnect();
}

static void submit_job(uint64_t seed)
{
	int has_where = pick(2);
	int errors = pick(4);
	int fails = pick(2);
	int canary = pick(3) == 0 ? 5 + pick(20) : 0;
	char name[40];
	char canary_text[16];

	fake.job.kind = has_where ? SIM_ADD_WHERE : SIM_ADD;
	fake.job.state = SIM_QUEUED;
	fake.job.max_row_errors = errors;
	fake.job.fails_on_residue = fails;
	fake.job.pause_after_rows = canary;
	(void)snprintf(name, sizeof name, "honest %" PRIu64, seed);
	(void)snprintf(canary_text, sizeof canary_text, "%d", canary);
	job = sql_int(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" where_clause, on_row_error, max_row_errors, on_residue,"
		" pause_after_rows) VALUES ('%s', 't', 'n = n + 1', %s,"
		" 'record', %d, '%s', %s) RETURNING id",
		name, has_where ? "'n < 9'" : "NULL", errors,
		fails ? "fail" : "report", canary > 0 ? canary_text : "NULL");
}

static void walk(uint64_t seed)
{
	random_state = seed;
	memset(&fake, 0, sizeof fake);
	fake.terminate = terminate;
	fake.writers = writers;
	make_table();
	submit_job(seed);
	for (int d = 0; d < DAEMONS; d++) {
		incarnations[d] = sql_int(ctl,
			"SELECT backfill.register('test', %d, '0', '1h')", d);
		(void)sim_register(&fake, 3600000);
	}
	reconnect();
	hole_ids = sql_int(db,
		"SELECT CASE WHEN is_called THEN last_value ELSE 0 END"
		" FROM backfill.holes_id_seq");
	for (int i = 0; i < STEPS; i++) {
		do_step();
	}
	for (int i = 0; i < RUNNERS; i++) {
		if (runners[i].tx.id != 0) {
			sim_rollback(&fake, &runners[i].tx);
			(void)real(runners[i].conn, "ROLLBACK");
		}
		runners[i].is_gone = 1;
	}
	if (fake.is_stopped) {
		sql_exec(db, "SELECT backfill.start_all()");
	}
	(void)queue_clean(NULL);
}

static void test_same_calls_same_outcome(void **state)
{
	const char *one = getenv("HONEST_SEED");
	uint64_t seed = one != NULL ? strtoull(one, NULL, 10) : 1;
	uint64_t last = one != NULL ? seed : SEEDS;

	(void)state;
	for (; seed <= last; seed++) {
		print_message("HONEST_SEED=%" PRIu64 "\n", seed);
		walk(seed);
	}
	for (int i = 0; i < RUNNERS; i++) {
		sim_tx_free(&runners[i].tx);
		PQfinish(runners[i].conn);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
			test_same_calls_same_outcome, queue_clean),
	};

	return cmocka_run_group_tests(tests, queue_start, queue_stop);
}
