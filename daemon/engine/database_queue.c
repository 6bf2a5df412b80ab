/* A database's look at the queue: at every notification, every
 * poll_interval and whenever a runner ends. See database.c for the whole. */

#include "database_internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/queue.h"

/* Between two looks for old jobs. */
enum { PRUNE_MS = 60000 };

static void claim(struct database *db);

static void on_runner_end(void *data, struct runner *r)
{
	struct database *db = data;

	for (size_t i = 0; i < db->workers; i++) {
		if (db->runners[i] == r) {
			db->runners[i] = NULL;
		}
	}
	db->running--;
	if (db->state.state == CLOSED) {
		database_maybe_free(db);
	} else if (db->stop_asked) {
		database_maybe_stopped(db);
	} else {
		database_look(db);
	}
}

static size_t free_slot(const struct database *db)
{
	size_t i = 0;

	while (i < db->workers && db->runners[i] != NULL) {
		i++;
	}
	return i;
}

static void looked(struct database *db)
{
	db->looking = 0;
	if (db->stop_asked) {
		database_maybe_stopped(db);
	} else if (db->look_again) {
		database_look(db);
	}
}

static void log_claim(const struct database *db, const struct queue_claim *c)
{
	const struct log_about about = {
		.database = database_name(db),
		.job = c->job_id,
		.job_name = c->name,
	};

	log_about(LOG_INFO, &about, "in %s as %s, epoch %lld -> %s",
		database_name(db), c->run_as, (long long)c->epoch,
		c->taken_over ? "taken over" : "claimed");
}

static void on_claimed(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct database *db = data;
	struct queue_claim c;
	struct runner *r;

	if (!database_reply_is_well(db, "claim", e) ||
		db->state.state != SERVING ||
		queue_read_claim(request, &c) != 0) {
		looked(db);
		return;
	}
	log_claim(db, &c);
	r = runner_start(&db->host, &c, on_runner_end, db);
	db->runners[free_slot(db)] = r;
	db->running++;
	if (db->stop_asked) {
		runner_stop(r);
	}
	claim(db);
}

static void claim(struct database *db)
{
	if (db->stop_asked || db->state.state != SERVING ||
		free_slot(db) == db->workers || !host_may_begin(&db->host)) {
		looked(db);
		return;
	}
	pgc_send(db->conn,
		queue_claim(db->host.incarnation, db->host.database->workers),
		on_claimed, db);
}

static void on_orphan_released(
	void *data, struct pgc_request *request, const struct err *e)
{
	(void)request;
	(void)database_reply_is_well(data, "release", e);
}

/* A job of ours that no runner has: its run ended without a word, or the
 * reply to a claim was lost. Any daemon may have it. */
static void release_orphan(
	struct database *db, const struct pgc_request *work, int row)
{
	const struct log_about about = {
		.database = database_name(db),
		.job = queue_work_job(work, row),
	};

	log_about(LOG_WARNING, &about,
		"it is ours and nobody runs it -> release");
	pgc_send(db->conn,
		queue_release(db->host.incarnation, queue_work_job(work, row),
			queue_work_epoch(work, row),
			"released: its run had ended unheard"),
		on_orphan_released, db);
}

static struct runner *find_runner(const struct database *db, int64_t job)
{
	for (size_t i = 0; i < db->workers; i++) {
		if (db->runners[i] != NULL &&
			runner_job(db->runners[i]) == job) {
			return db->runners[i];
		}
	}
	return NULL;
}

/* Somebody may have paused, cancelled or stopped what we run, or changed what
 * a held job may do; one that is not held is told by its batches. */
static void compare_work(struct database *db, const struct pgc_request *work)
{
	for (int row = 0; row < queue_work_count(work); row++) {
		struct runner *r = find_runner(db, queue_work_job(work, row));
		const char *state = queue_work_state(work, row);

		if (r == NULL) {
			release_orphan(db, work, row);
			continue;
		}
		if (runner_epoch(r) != queue_work_epoch(work, row)) {
			continue;
		}
		runner_limit_lag(r, queue_work_max_lag_ms(work, row));
		if (strcmp(state, "running") != 0) {
			runner_wake(r, strcmp(state, "cancelled") == 0,
				queue_work_why_not(work, row));
		}
	}
}

static void on_work(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct database *db = data;

	if (!database_reply_is_well(db, "work", e)) {
		looked(db);
		return;
	}
	compare_work(db, request);
	claim(db);
}

/* ---- what is old ---- */

static void on_pruned(
	void *data, struct pgc_request *request, const struct err *e)
{
	struct database *db = data;

	if (database_reply_is_well(db, "prune", e) &&
		queue_read_pruned(request) > 0) {
		host_log(&db->host, LOG_INFO, NULL,
			"%lld jobs ended longer ago than retention -> removed",
			(long long)queue_read_pruned(request));
	}
}

void database_prune(struct database *db)
{
	uint64_t now_ms = clock_boot_ms();

	if (db->state.state != SERVING ||
		(db->pruned_ms != 0 && now_ms - db->pruned_ms < PRUNE_MS)) {
		return;
	}
	db->pruned_ms = now_ms;
	pgc_send(db->conn,
		queue_prune(
			db->host.incarnation, db->host.config->retention_ms),
		on_pruned, db);
}

/* ---- a look ---- */

void database_look(struct database *db)
{
	db->look_again = db->looking;
	if (db->looking || db->state.state != SERVING) {
		return;
	}
	db->looking = 1;
	pgc_send(db->conn, queue_my_work(db->host.incarnation), on_work, db);
}
