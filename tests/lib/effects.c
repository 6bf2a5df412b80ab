#include "effects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "sql.h"

static const char TRIGGERS_SQL[] =
	"CREATE TABLE effects (target name, id bigint, xid xid8);"
	"CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql"
	" SECURITY DEFINER AS $$ BEGIN"
	"  INSERT INTO public.effects"
	"  VALUES (TG_TABLE_NAME, NEW.id, pg_catalog.pg_current_xact_id());"
	"  RETURN NULL; END $$;"
	"CREATE TABLE audit (number bigserial, job bigint,"
	" at timestamptz, xid xid8, old_owner bigint, owner bigint,"
	" old_epoch bigint, epoch bigint, old_seq bigint, seq bigint,"
	" old_done bigint, done bigint, old_lease timestamptz);"
	"CREATE FUNCTION note_range() RETURNS trigger LANGUAGE plpgsql"
	" SECURITY DEFINER AS $$ BEGIN"
	"  INSERT INTO public.audit (job, at, xid, old_owner, owner,"
	"   old_epoch, epoch, old_seq, seq, old_done, done, old_lease)"
	"  VALUES (NEW.job_id, pg_catalog.clock_timestamp(),"
	"   pg_catalog.pg_current_xact_id(), OLD.owner, NEW.owner,"
	"   OLD.epoch, NEW.epoch, OLD.seq, NEW.seq, OLD.rows_done,"
	"   NEW.rows_done, (SELECT d.lease_until FROM backfill.daemons d"
	"    WHERE d.incarnation = OLD.owner));"
	"  RETURN NULL; END $$;"
	"CREATE TRIGGER note AFTER UPDATE ON backfill.ranges"
	" FOR EACH ROW EXECUTE FUNCTION note_range()";

void effects_install(PGconn *conn)
{
	sql_exec(conn, "%s", TRIGGERS_SQL);
}

void effects_make_table(PGconn *conn, const char *table, int rows)
{
	sql_exec(conn,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0, pad text);"
		"INSERT INTO %s SELECT generate_series(1, %d);"
		"CREATE TRIGGER note AFTER UPDATE ON %s"
		" FOR EACH ROW EXECUTE FUNCTION note_effect()",
		table, table, rows, table);
}

int64_t effects_submit(PGconn *conn, const char *name, const char *table,
	int batch_rows, const char *with)
{
	return sql_int(conn,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" batch_rows, max_batch_rows, statement_timeout)"
		" VALUES ('%s', '%s', 'n = n + 1%s%s', %d, %d, '10min')"
		" RETURNING id",
		name, table, with != NULL ? " + " : "",
		with != NULL ? with : "", batch_rows, batch_rows);
}

/* One statement, so one snapshot. */
void effects_check(PGconn *conn, const char *table, int64_t job)
{
	const char *found = sql_text(conn,
		"SELECT concat_ws(', ', CASE WHEN c.wrong > 0 THEN"
		"  format('%%s rows changed twice', c.wrong) END,"
		" CASE WHEN c.done <> r.done THEN format('%%s rows changed,"
		"  %%s in the checkpoint', c.done, r.done) END,"
		" CASE WHEN c.done <> e.effects OR e.effects <> e.ids THEN"
		"  format('%%s rows changed, %%s changes of %%s rows noted',"
		"   c.done, e.effects, e.ids) END,"
		" CASE WHEN c.beyond > 0 THEN"
		"  format('%%s rows changed beyond the cursor', c.beyond) END,"
		" CASE WHEN c.left_out > 0 THEN"
		"  format('%%s rows left out', c.left_out) END)"
		" FROM (SELECT count(*) FILTER (WHERE n NOT IN (0, 1)) AS"
		"   wrong, count(*) FILTER (WHERE n = 1) AS done,"
		"   count(*) FILTER (WHERE n > 0 AND t.id > p.cursor) AS "
		"beyond,"
		"   count(*) FILTER (WHERE n = 0 AND t.id <= p.cursor AND NOT"
		"    EXISTS (SELECT FROM backfill.holes h WHERE h.job_id ="
		"     %lld AND t.id <= h.hi[1]::bigint AND t.id >="
		"     CASE WHEN h.is_window THEN coalesce(h.lo[1]::bigint, 0)"
		"      + 1 ELSE h.hi[1]::bigint END)) AS left_out"
		"  FROM %s t, (SELECT coalesce(max(cursor[1]::bigint), 0)"
		"   AS cursor FROM backfill.ranges WHERE job_id = %lld) p) c,"
		" (SELECT coalesce(sum(rows_done), 0) AS done"
		"  FROM backfill.ranges WHERE job_id = %lld) r,"
		" (SELECT count(*) AS effects, count(DISTINCT id) AS ids"
		"  FROM effects WHERE target = '%s') e",
		(long long)job, table, (long long)job, (long long)job, table);

	if (found[0] != '\0') {
		fail_msg("table %s: %s", table, found);
	}
}

static void check_zero(PGconn *conn, const char *what, const char *sql,
	const char *table, int64_t job)
{
	int64_t found = sql_int(conn,
		"WITH e AS (SELECT xid, count(*) AS rows FROM effects"
		"  WHERE target = '%s' GROUP BY xid),"
		" a AS (SELECT * FROM audit WHERE job = %lld) %s",
		table, (long long)job, sql);

	if (found != 0) {
		fail_msg("table %s: %s: %lld", table, what, (long long)found);
	}
}

void effects_check_done(PGconn *conn, const char *table, int64_t job, int rows)
{
	assert_string_equal(sql_text(conn,
				    "SELECT concat_ws(' ', state, reason,"
				    " error_message) FROM backfill.jobs"
				    " WHERE id = %lld",
				    (long long)job),
		"succeeded");
	effects_check(conn, table, job);
	assert_int_equal(
		sql_int(conn, "SELECT count(*) FROM %s WHERE n = 1", table),
		rows);
	assert_int_equal(sql_int(conn, "SELECT count(*) FROM %s", table), rows);
	assert_int_equal(sql_int(conn,
				 "SELECT sum(rows_read) FROM backfill.ranges"
				 " WHERE job_id = %lld",
				 (long long)job),
		rows);
	check_zero(conn, "transactions that counted other rows than changed",
		"SELECT count(*) FROM e FULL JOIN (SELECT xid,"
		" sum(done - old_done) AS rows FROM a GROUP BY xid"
		" HAVING sum(done - old_done) > 0) c"
		" USING (xid) WHERE e.rows IS DISTINCT FROM c.rows",
		table, job);
	check_zero(conn, "changes of the range out of order",
		"SELECT count(*) FROM a WHERE epoch < old_epoch OR seq"
		" NOT IN (old_seq, old_seq + 1) OR done < old_done"
		" OR (done > old_done AND seq = old_seq)",
		table, job);
	check_zero(conn, "changes of the range at odds with one another",
		"SELECT count(*) FROM (SELECT *, lag(epoch) OVER w AS e0,"
		" lag(seq) OVER w AS s0, lag(done) OVER w AS d0 FROM a"
		" WINDOW w AS (ORDER BY number)) o WHERE old_epoch <> e0 OR"
		" old_seq <> s0 OR old_done <> d0",
		table, job);
	check_zero(conn, "new owners without a new epoch",
		"SELECT count(*) FROM a WHERE owner <> old_owner"
		" AND epoch = old_epoch",
		table, job);
}
