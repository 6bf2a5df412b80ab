#include "store/standbys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "rules/key.h"

/* Heartbeats wait behind it, and an answer that comes later tells nothing. */
enum { DEADLINE_MS = 5000 };
enum { LSN = 0, STANDBYS = 1, SHARE = 2 };

struct pgc_request *standbys_ask(
	int64_t me, const char *names, const struct standbys_share *share)
{
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);
	const char *const standbys[] = { names };
	struct text sql;

	/* First: what is written meanwhile is not yet to be replayed. */
	pgc_add(r, "SELECT pg_catalog.pg_current_wal_lsn()");
	pgc_add_params(r,
		"SELECT connections, state, replay_lsn, replay_lag_ms,"
		" connected_ms, replied_at_us, kept_bytes"
		" FROM backfill.standbys($1)",
		1, standbys);
	text_init(&sql);
	text_addf(&sql,
		"SELECT wal_rate, version, for_ms, wal_spent, all_jobs"
		" FROM backfill.share(%" PRId64 ", %d, %" PRId64
		", %.0f, %" PRId64 ")",
		me, share->my_jobs, share->spent_bytes, share->rate,
		share->version);
	pgc_add(r, sql.data);
	text_close(&sql);
	return r;
}

static int64_t or_none(const PGresult *result, int row, int column)
{
	return pgc_is_null(result, row, column) ? LAG_NONE
						: pgc_int(result, row, column);
}

static void read_standby(
	const PGresult *result, int row, struct lag_sample *sample)
{
	sample->connections = (int)pgc_int(result, row, 0);
	sample->state =
		pgc_is_null(result, row, 1) ? NULL : pgc_text(result, row, 1);
	sample->replay_lsn = pgc_is_null(result, row, 2)
		? LAG_NONE
		: pgc_lsn(result, row, 2);
	sample->replay_lag_ms = or_none(result, row, 3);
	sample->connected_ms = or_none(result, row, 4);
	sample->replied_at_us = or_none(result, row, 5);
	sample->kept_bytes = or_none(result, row, 6);
}

int standbys_read(const struct pgc_request *r, struct lag_sample *samples,
	size_t count, struct pace_sample *s, int64_t *version, struct err *e)
{
	const PGresult *standbys = pgc_result(r, STANDBYS);
	const PGresult *share = pgc_result(r, SHARE);

	if ((size_t)PQntuples(standbys) != count || PQntuples(share) != 1) {
		return err_set(e, BFE_PROTOCOL,
			"unexpected result of backfill.standbys");
	}
	for (size_t i = 0; i < count; i++) {
		read_standby(standbys, (int)i, &samples[i]);
	}
	s->lsn = pgc_lsn(pgc_result(r, LSN), 0, 0);
	s->standbys = samples;
	s->rate = strtod(pgc_text(share, 0, 0), NULL);
	*version = pgc_int(share, 0, 1);
	s->rate_ms = (uint64_t)pgc_int(share, 0, 2);
	s->spent_bytes = pgc_int(share, 0, 3);
	s->all_jobs = (int)pgc_int(share, 0, 4);
	return 0;
}

/* ---- for people ---- */

struct columns {
	struct text targets, values, holding, details;
};

static void add_standby(struct columns *c, const struct lag_standby *s,
	int64_t limit_ms, int is_holding)
{
	const char *comma = c->targets.length > 1 ? "," : "";
	char detail[128];

	text_add(&c->targets, comma);
	key_add_element(&c->targets, s->name);
	if (pace_knows(s, limit_ms)) {
		text_addf(
			&c->values, "%s%.3f", comma, (double)s->lag_ms / 1000);
	} else {
		text_addf(&c->values, "%sNULL", comma);
	}
	text_addf(&c->holding, "%s%s", comma, is_holding ? "t" : "f");
	lag_describe(s, detail, sizeof detail);
	text_add(&c->details, comma);
	key_add_element(&c->details, detail);
}

struct pgc_request *standbys_tell(
	int64_t me, const struct pace *p, uint64_t now_ms, int was_held)
{
	struct pgc_request *r = pgc_request_new(DEADLINE_MS);
	struct columns c;
	struct text *all[] = { &c.targets, &c.values, &c.holding, &c.details };
	char number[24], limit[32];

	for (size_t i = 0; i < 4; i++) {
		text_init(all[i]);
		text_add(all[i], "{");
	}
	for (size_t i = 0; i < p->count; i++) {
		const struct lag_standby *s = &p->standbys[i];

		add_standby(&c, s, p->limit_ms,
			pace_holds(p, s, now_ms, p->limit_ms, was_held));
	}
	for (size_t i = 0; i < 4; i++) {
		text_add(all[i], "}");
	}
	(void)snprintf(number, sizeof number, "%" PRId64, me);
	(void)snprintf(limit, sizeof limit, "%.3f", (double)p->limit_ms / 1000);
	pgc_add_params(r,
		"SELECT backfill.tell_samples($1, 'replication_lag', $2, $3,"
		" $4, $5, $6)",
		6,
		(const char *const[]){ number, c.targets.data, c.values.data,
			limit, c.holding.data, c.details.data });
	for (size_t i = 0; i < 4; i++) {
		text_close(all[i]);
	}
	return r;
}
