/* honest_drive.h: two worlds, the server that the simulator makes up
 * (tests/sim) and the real one: connections to both, and a look whether they
 * are alike. For test_sim_honest.c only. */
#ifndef BACKFILL_TESTS_HONEST_DRIVE_H
#define BACKFILL_TESTS_HONEST_DRIVE_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "queue_drive.h"
#include "sim_server.h"

enum { RUNNERS = 2, DAEMONS = 2 };

static struct sim_server fake;
static uint64_t random_state;
static char step_text[256]; /* the call in hand, for who reads a failure */

/* A connection of run_as, in both worlds. */
static struct runner {
	PGconn *conn;
	int backend; /* in the fake */
	struct sim_tx tx;
	int is_gone; /* terminated by a take */
} runners[RUNNERS];
static int last_backend;
static long long incarnations[DAEMONS];
static int64_t hole_ids; /* of the real holes: more than the fake's by this */

static inline int pick(int below)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (int)((z ^ (z >> 31)) % (uint64_t)below);
}

static inline uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the real one */

static char answer[64]; /* the first value of the last call */

static inline const char *real(PGconn *conn, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* "" or the SQLSTATE */
static inline const char *real(PGconn *conn, const char *format, ...)
{
	static char sqlstate[8];
	const char *state;
	va_list args;
	PGresult *r;

	va_start(args, format);
	(void)vsnprintf(step_text, sizeof step_text, format, args);
	va_end(args);
	r = PQexec(conn, step_text);
	state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	(void)snprintf(
		sqlstate, sizeof sqlstate, "%s", state != NULL ? state : "");
	(void)snprintf(answer, sizeof answer, "%s",
		PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return sqlstate;
}

/* ---- both worlds must look alike */

static inline void add_key(struct text *t, int key)
{
	if (key == 0) {
		text_add(t, " -");
	} else {
		text_addf(t, " {%d}", key);
	}
}

static inline int runner_number(int backend)
{
	for (int i = 0; i < RUNNERS; i++) {
		if (backend != 0 && runners[i].backend == backend &&
			!runners[i].is_gone) {
			return i + 1;
		}
	}
	return 0;
}

static const char *const states[] = { "queued", "running", "paused",
	"succeeded", "failed", "cancelled" };

static inline void describe_fake(struct text *t)
{
	const struct sim_range *r = &fake.range;

	text_addf(t, "%s %s %" PRId64 ";", states[fake.job.state],
		fake.job.sqlstate, fake.job.pause_after_rows);
	if (fake.has_range) {
		text_addf(t,
			" epoch %" PRId64 " seq %" PRId64
			" owner %d runner %d begun %d finished %d key %d",
			r->epoch, r->seq, r->owner, runner_number(r->runner),
			r->is_begun, r->is_finished, r->has_key);
		add_key(t, r->hi);
		add_key(t, r->cursor);
		add_key(t, r->sweep_cursor);
		text_addf(t,
			" %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
			" %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
			r->pass, r->rows_read, r->rows_done,
			r->rows_still_matching, r->pass_rows, r->late_rows,
			r->residue, r->batches, r->batch_rows);
	}
	for (int i = 0; i < r->hole_count; i++) {
		text_addf(t, "; hole %d", r->holes[i].is_window);
		add_key(t, r->holes[i].lo);
		add_key(t, r->holes[i].hi);
	}
	for (int i = 0; i < r->error_count; i++) {
		text_add(t, "; error");
		add_key(t, r->errors[i].key);
		text_addf(t, " %s %d %d", r->errors[i].sqlstate,
			r->errors[i].attempts, r->errors[i].is_resolved);
	}
}

static inline int pid_of(int i)
{
	return runners[i].conn != NULL ? PQbackendPID(runners[i].conn) : 0;
}

static inline const char *describe_real(void)
{
	return sql_text(db,
		"SELECT concat(j.state, ' ', j.error_sqlstate, ' ',"
		" coalesce(j.pause_after_rows, 0), ';',"
		" (SELECT concat(' epoch ', epoch, ' seq ', seq, ' owner ',"
		"   CASE owner WHEN %lld THEN 1 WHEN %lld THEN 2 ELSE 0 END,"
		"   ' runner ', CASE runner_pid WHEN %d THEN 1 WHEN %d THEN 2"
		"   ELSE 0 END, ' begun ', (begun_at IS NOT NULL)::int,"
		"   ' finished ', (finished_at IS NOT NULL)::int, ' key ',"
		"   (key_index_oid IS NOT NULL)::int, ' ',"
		"   coalesce(hi::text, '-'), ' ', coalesce(cursor::text, '-'),"
		"   ' ', coalesce(sweep_cursor::text, '-'), ' ', pass, ' ',"
		"   rows_read, ' ', rows_done, ' ', rows_still_matching, ' ',"
		"   pass_rows, ' ', late_rows, ' ', residue, ' ', batches, ' ',"
		"   coalesce(batch_rows, 0))"
		"  FROM backfill.ranges r WHERE r.job_id = j.id),"
		" (SELECT string_agg(concat('; hole ', is_window::int, ' ',"
		"   coalesce(lo::text, '-'), ' ', hi), '' ORDER BY id)"
		"  FROM backfill.holes h WHERE h.job_id = j.id),"
		" (SELECT string_agg(concat('; error ', key, ' ', sqlstate,"
		"   ' ', attempts, ' ', (resolved_at IS NOT NULL)::int), ''"
		"   ORDER BY id)"
		"  FROM backfill.row_errors e WHERE e.job_id = j.id))"
		" FROM backfill.jobs j WHERE j.id = %lld",
		incarnations[0], incarnations[1], pid_of(0), pid_of(1), job);
}

static inline void compare(const char *of_fake, const char *of_real)
{
	struct text t;
	const char *there = describe_real();

	text_init(&t);
	describe_fake(&t);
	if (strcmp(of_fake, of_real) != 0 || strcmp(t.data, there) != 0) {
		print_message("%s\n  fake: %s %s\n  real: %s %s\n", step_text,
			of_fake, t.data, of_real, there);
	}
	assert_string_equal(of_fake, of_real);
	assert_string_equal(t.data, there);
	text_close(&t);
}

/* ---- the fake one */

static inline void terminate(void *data, int backend)
{
	int i = runner_number(backend) - 1;

	(void)data;
	if (i < 0) {
		return;
	}
	runners[i].is_gone = 1;
	if (runners[i].tx.id != 0) {
		sim_rollback(&fake, &runners[i].tx);
	}
}

static inline int writers(void *data, int but_backend, int *ids, int size)
{
	(void)data;
	(void)but_backend;
	(void)ids;
	(void)size;
	return 0;
}

/* A rule that waits is one that ends with lock_timeout. */
static inline const char *end_fake(struct sim_tx *t, const char *failure)
{
	if (failure[0] == '\0') {
		sim_commit(&fake, t);
		return "";
	}
	sim_rollback(&fake, t);
	return failure == SIM_WAITS ? "55P03" : failure;
}

static inline void reconnect(void)
{
	for (int i = 0; i < RUNNERS; i++) {
		if (runners[i].is_gone || runners[i].conn == NULL) {
			if (runners[i].conn != NULL) {
				PQfinish(runners[i].conn);
			}
			runners[i].conn = cluster_connect(cluster, "t", "app");
			runners[i].backend = ++last_backend;
			runners[i].is_gone = 0;
			sql_exec(runners[i].conn, "SET lock_timeout = '40ms'");
		}
	}
}

#endif
