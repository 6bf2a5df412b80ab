-- Who may see and do what with the tables. The functions of the later
-- scripts are granted where they are made.

SET LOCAL ROLE backfill_owner;

-- SQLSTATEs of our own, class BF, in one place:
--   BF001 not succeeded       BF002 no such job
--   BF003 not possible in this state
--   BF010 stale epoch
--   BF011 paused, cancelled, stopped, outside run_window, canary reached
--   BF012 counts of a batch do not add up
--   BF013 too many held rows  BF014 row locked and still not updated
--   BF020 no usable key       BF021 SET of a key column
--   BF022 table or key redefined in mid-job
--   BF023 rows held beyond hole_timeout
--   BF024 given back for the same reason ten times within a minute
--   BF025 writers beyond barrier_timeout
--   BF026 more rows failed than max_row_errors
--   BF027 rows failed, and are recorded
--   BF028 no index condition on the key in the plan
--   BF029 rows were still written, and on_residue = fail
--   BF030 a cascade has no index on the child's side
--   BF031 a row alone blocks others beyond max_blocking_time
--   BF032 the step would rewrite the table, or read it under a lock
--   BF033 rows are in the way of a constraint or unique index
--   BF034 an object of the name exists and is another one
--   BF035 a plan of the name exists and is another one
--   BF036 the step cannot be taken back
--   BF037 a row was deleted and not archived

-- Whether current_user may see and steer what run_as may do. A role that
-- was dropped is nobody's.
CREATE OR REPLACE FUNCTION backfill.may_steer(run_as name)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_has_role('backfill_admin', 'MEMBER')
		OR coalesce((SELECT pg_has_role(r.oid, 'MEMBER')
			FROM pg_roles r WHERE r.rolname = run_as), false)
$$;
COMMENT ON FUNCTION backfill.may_steer(name) IS
	'Whether the caller may see and steer jobs of this run_as: a member of it, or of backfill_admin.';

-- Asked of each row of a view: the cheaper question comes first.
CREATE OR REPLACE FUNCTION backfill.may_see(run_as name)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_has_role('pg_monitor', 'MEMBER')
		OR backfill.may_steer(run_as)
$$;
COMMENT ON FUNCTION backfill.may_see(name) IS
	'Whether the caller may see jobs of this run_as in the views: who may steer them, and pg_monitor.';

-- Column by column: what only the system writes is not granted.
GRANT SELECT,
	INSERT (name, kind, target, set_clause, from_clause, where_clause,
		key_columns, run_as, depends_on, hold, run_after, run_window,
		priority, batch_rows, max_batch_rows, target_batch_time,
		lock_timeout, statement_timeout, synchronous_commit,
		pause_after_rows, max_rows_per_second, max_replication_lag,
		on_row_error, max_row_errors, on_residue,
		dry_run, archive_table, object_name, definition, plan, undo,
		undoes),
	UPDATE (run_window, priority, batch_rows, max_batch_rows,
		target_batch_time, lock_timeout, statement_timeout,
		synchronous_commit, pause_after_rows, max_rows_per_second,
		max_replication_lag)
	ON backfill.jobs TO backfill_submit;
GRANT SELECT ON backfill.ranges, backfill.holes, backfill.row_errors,
	backfill.events TO backfill_submit;
GRANT SELECT ON backfill.stop TO backfill_submit, backfill_daemon, pg_monitor;
-- Whether any daemon is alive is for everybody who waits for one.
GRANT SELECT ON backfill.daemons TO backfill_submit, pg_monitor;
GRANT SELECT, UPDATE, INSERT ON backfill.jobs, backfill.ranges,
	backfill.daemons TO backfill_daemon;
GRANT SELECT, UPDATE ON backfill.budget TO backfill_daemon;
GRANT SELECT, INSERT, UPDATE, DELETE ON backfill.samples TO backfill_daemon;
GRANT SELECT ON backfill.budget TO pg_monitor;
GRANT SELECT, INSERT ON backfill.events TO backfill_daemon;
GRANT SELECT ON backfill.holes, backfill.row_errors TO backfill_daemon;

ALTER TABLE backfill.jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfill.ranges ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfill.holes ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfill.row_errors ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfill.events ENABLE ROW LEVEL SECURITY;

-- CREATE POLICY has no OR REPLACE.
DROP POLICY IF EXISTS jobs_daemon ON backfill.jobs;
DROP POLICY IF EXISTS jobs_insert ON backfill.jobs;
DROP POLICY IF EXISTS jobs_see ON backfill.jobs;
DROP POLICY IF EXISTS jobs_tune ON backfill.jobs;
DROP POLICY IF EXISTS ranges_daemon ON backfill.ranges;
DROP POLICY IF EXISTS ranges_see ON backfill.ranges;
DROP POLICY IF EXISTS holes_daemon ON backfill.holes;
DROP POLICY IF EXISTS holes_see ON backfill.holes;
DROP POLICY IF EXISTS row_errors_daemon ON backfill.row_errors;
DROP POLICY IF EXISTS row_errors_see ON backfill.row_errors;
DROP POLICY IF EXISTS events_daemon ON backfill.events;
DROP POLICY IF EXISTS events_see ON backfill.events;

CREATE POLICY jobs_daemon ON backfill.jobs TO backfill_daemon
	USING (true) WITH CHECK (true);
-- The trigger jobs_check decides.
CREATE POLICY jobs_insert ON backfill.jobs FOR INSERT TO backfill_submit
	WITH CHECK (true);
CREATE POLICY jobs_see ON backfill.jobs FOR SELECT TO backfill_submit
	USING (backfill.may_steer(run_as));
CREATE POLICY jobs_tune ON backfill.jobs FOR UPDATE TO backfill_submit
	USING (backfill.may_steer(run_as));
CREATE POLICY ranges_daemon ON backfill.ranges TO backfill_daemon
	USING (true) WITH CHECK (true);
CREATE POLICY ranges_see ON backfill.ranges FOR SELECT TO backfill_submit
	USING (EXISTS (SELECT FROM backfill.jobs j WHERE j.id = job_id));
CREATE POLICY holes_daemon ON backfill.holes TO backfill_daemon
	USING (true) WITH CHECK (true);
CREATE POLICY holes_see ON backfill.holes FOR SELECT TO backfill_submit
	USING (EXISTS (SELECT FROM backfill.jobs j WHERE j.id = job_id));
CREATE POLICY row_errors_daemon ON backfill.row_errors TO backfill_daemon
	USING (true) WITH CHECK (true);
CREATE POLICY row_errors_see ON backfill.row_errors FOR SELECT
	TO backfill_submit
	USING (EXISTS (SELECT FROM backfill.jobs j WHERE j.id = job_id));
CREATE POLICY events_daemon ON backfill.events TO backfill_daemon
	USING (true) WITH CHECK (true);
CREATE POLICY events_see ON backfill.events FOR SELECT TO backfill_submit
	USING (job_id IS NULL
		OR EXISTS (SELECT FROM backfill.jobs j WHERE j.id = job_id));

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.may_steer(name), backfill.may_see(name)
	TO backfill_submit, backfill_daemon, pg_monitor;

RESET ROLE;
