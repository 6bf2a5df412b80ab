/* Standbys, seen from the primary. What is not known is told as unknown and
 * never as 0: a standby without a replay position, without a reply, or seen
 * by a role without pg_monitor, may be hours behind. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ctl/ctl_check.h"
#include "ctl/ctl_format.h"

/* Twice the default of wal_receiver_status_interval, which cannot be seen
 * from here. */
enum { STALE_SECONDS = 20 };

/* Connections and slots, joined where both are there; base backups are none.
 * An expected name is an application_name or a slot; a connection goes
 * before a slot that nobody uses. */
#define STANDBYS                                                               \
	"WITH seen AS MATERIALIZED ("                                          \
	"SELECT coalesce(r.pid::text, s.slot_name) AS id,"                     \
	" r.pid IS NOT NULL AS is_connected,"                                  \
	" r.application_name::text AS name, s.slot_name::text AS slot,"        \
	" r.state, s.wal_status,"                                              \
	" pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn) AS bytes,"       \
	" extract(epoch FROM r.replay_lag) AS lag_s,"                          \
	" extract(epoch FROM clock_timestamp() - r.reply_time) AS reply_s,"    \
	" pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) AS kept,"       \
	" format('SELECT pg_drop_replication_slot(%L);', s.slot_name) AS drop" \
	" FROM pg_stat_replication r"                                          \
	" FULL JOIN pg_replication_slots s ON s.active_pid = r.pid"            \
	" WHERE r.state IS DISTINCT FROM 'backup'"                             \
	"  AND (r.pid IS NOT NULL OR NOT s.temporary)),"                       \
	" wanted AS ("                                                         \
	"SELECT e.name AS expected, e.n, s.id,"                                \
	" rank() OVER (PARTITION BY e.name ORDER BY"                           \
	"  s.is_connected DESC NULLS LAST) AS place"                           \
	" FROM unnest($1::text[]) WITH ORDINALITY AS e(name, n)"               \
	" LEFT JOIN seen s ON e.name IN (s.name, s.slot))"                     \
	" SELECT w.expected, s.* FROM seen s"                                  \
	" FULL JOIN (SELECT * FROM wanted WHERE place = 1) w ON w.id = s.id"   \
	" WHERE w.expected IS NOT NULL OR s.is_connected"                      \
	"  OR s.slot NOT IN (SELECT expected FROM wanted)"                     \
	" ORDER BY w.n NULLS LAST, s.name, s.slot LIMIT 100"

struct standby {
	const PGresult *rows;
	int row;
	int is_expected;
	struct text name; /* standby "standby1" */
};

static const char *value(const struct standby *s, const char *column)
{
	return ctl_value(s->rows, s->row, column);
}

static double number(const struct standby *s, const char *column)
{
	return ctl_number(s->rows, s->row, column);
}

/* A connection that is not a standby's, such as pg_receivewal, is no fault,
 * unless jobs wait for it. */
static enum check_level worse_if_expected(
	const struct standby *s, enum check_level otherwise)
{
	return s->is_expected ? CHECK_FAILURE : otherwise;
}

static void tell_not_connected(struct check *c, const struct standby *s)
{
	char kept[FORMAT_BYTES];
	struct text mend;

	if (ctl_is_null(s->rows, s->row, "id")) {
		ctl_check_tell(c, CHECK_FAILURE,
			"Start it, with this application_name in its"
			" primary_conninfo or this primary_slot_name.",
			"%s: expected, but neither a connection nor a slot of"
			" that name is there",
			s->name.data);
		return;
	}
	text_init(&mend);
	text_addf(&mend, "Start it. If it will not come back: %s",
		value(s, "drop"));
	ctl_check_tell(c, worse_if_expected(s, CHECK_WARNING), mend.data,
		"%s: not connected; its slot keeps %sB of WAL%s%s",
		s->name.data, ctl_format_short(kept, number(s, "kept")),
		*value(s, "wal_status") != '\0' ? ", wal_status " : "",
		value(s, "wal_status"));
	text_close(&mend);
}

/* The numbers; "unknown" where there is none. */
static void add_lag(struct text *t, const struct standby *s)
{
	char bytes[FORMAT_BYTES], reply[FORMAT_BYTES];
	double lag_s = number(s, "lag_s");

	text_addf(t, "%s bytes behind, replay_lag ",
		ctl_format_count(bytes, number(s, "bytes")));
	if (isnan(lag_s)) {
		text_add(t, "unknown");
	} else {
		text_addf(t, "%.3f s", lag_s);
	}
	text_addf(t, ", last reply %s ago",
		ctl_format_duration(reply, number(s, "reply_s")));
	if (*value(s, "slot") != '\0') {
		text_addf(t, ", slot \"%s\"", value(s, "slot"));
	}
}

static void tell_connected(struct check *c, const struct standby *s)
{
	const char *mend = NULL;
	enum check_level level = CHECK_OK;
	struct text lag;

	if (ctl_is_null(s->rows, s->row, "state")) {
		ctl_check_tell_unknown(c, s->name.data);
		return;
	}
	if (isnan(number(s, "bytes"))) {
		ctl_check_tell(c, worse_if_expected(s, CHECK_OK), NULL,
			"%s: state %s, tells no replay position: it receives"
			" WAL and replays none",
			s->name.data, value(s, "state"));
		return;
	}
	if (isnan(number(s, "reply_s")) ||
		number(s, "reply_s") > STALE_SECONDS) {
		level = worse_if_expected(s, CHECK_WARNING);
		mend = "Is it frozen, or its wal_receiver_status_interval,"
		       " which cannot be seen from here, longer than 10s?";
	} else if (strcmp(value(s, "state"), "streaming") != 0) {
		level = CHECK_WARNING;
		mend = "It has not caught up yet.";
	}
	text_init(&lag);
	add_lag(&lag, s);
	ctl_check_tell(c, level, mend, "%s: %s, %s", s->name.data,
		value(s, "state"), lag.data);
	text_close(&lag);
}

int ctl_check_standbys(struct check *c)
{
	char *names = ctl_check_array(&c->standbys);
	const char *const values[] = { names };
	PGresult *rows = ctl_query(c->ctl, STANDBYS, 1, values);
	struct standby s = { .rows = rows };

	free(names);
	if (rows == NULL) {
		return c->ctl->code;
	}
	if (PQntuples(rows) == 0) {
		ctl_check_tell(c, CHECK_OK, NULL,
			"standbys: none is expected, none is seen");
	}
	text_init(&s.name);
	for (s.row = 0; s.row < PQntuples(rows); s.row++) {
		const char *expected = value(&s, "expected");

		s.is_expected = !ctl_is_null(rows, s.row, "expected");
		text_reset(&s.name);
		text_addf(&s.name, "standby \"%s\"",
			s.is_expected		     ? expected
				: *value(&s, "name") ? value(&s, "name")
						     : value(&s, "slot"));
		if (*value(&s, "is_connected") == 't') {
			tell_connected(c, &s);
		} else {
			tell_not_connected(c, &s);
		}
	}
	text_close(&s.name);
	PQclear(rows);
	return CTL_OK;
}
