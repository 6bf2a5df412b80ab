-- Control: pause, resume, cancel, retry, approve, stop_all, start_all.
--
-- A request is an event that acts: the functions insert into
-- backfill.events with the caller's rights, where row-level security says
-- whether current_user may, and the trigger, as the owner, changes the job.
-- A SECURITY DEFINER function that checked session_user instead would let
-- a low role's function, called by a high role, steer the high role's jobs.
-- begin_batch refuses paused, cancelled and stopped work itself: control
-- depends on no daemon and no notification.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.job_id(job text)
RETURNS bigint LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_id bigint;
BEGIN
	SELECT j.id INTO found_id FROM backfill.jobs j
	WHERE j.name = job OR j.id::text = job;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF002',
			MESSAGE = format('job "%s" does not exist', job),
			DETAIL = 'Or its run_as is a role that you may not become.';
	END IF;
	RETURN found_id;
END
$$;
COMMENT ON FUNCTION backfill.job_id(text) IS
	'Id of the job with this name or id; raises BF002 when there is none that the caller may steer.';

CREATE OR REPLACE FUNCTION backfill.events_stamp()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.check_length('reason', NEW.detail, 1000);
	NEW.at := clock_timestamp();
	NEW.actor := current_user;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION backfill.events_stamp() IS
	'Trigger: a request names its true author.';

-- Sums over ranges; NULL: the job has no pause_after_rows. Within bounds
-- whatever a job's own login counted: release() must not trip over it.
CREATE OR REPLACE FUNCTION backfill.rows_left(job bigint)
RETURNS bigint LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT greatest(-9223372036854775807, least(9223372036854775807,
		j.pause_after_rows - coalesce((SELECT sum(r.rows_done)
			FROM backfill.ranges r WHERE r.job_id = j.id), 0)))::bigint
	FROM backfill.jobs j
	WHERE j.id = job AND j.pause_after_rows IS NOT NULL
$$;
COMMENT ON FUNCTION backfill.rows_left(bigint) IS
	'How many rows the job may still change before it pauses itself; NULL: no such bound.';

-- Recorded rows become holes, which are worked off like those that others
-- held. Sweeps begin anew, and finish_range decides about them once the holes
-- are done: of a job that turns out not to exclude itself, a sweep would
-- change those rows twice. The job's row is locked by the caller, and the
-- range before its rows are looked at: a batch of its last life is over.
CREATE OR REPLACE FUNCTION backfill.requeue(job bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF (SELECT backfill.is_schema_kind(j.kind) FROM backfill.jobs j
		WHERE j.id = job)
	THEN
		-- Its recorded rows were in the way: the step looks for such anew.
		UPDATE backfill.ranges r SET finished_at = NULL,
			notes = r.notes - 'looked'
		WHERE r.job_id = job;
		UPDATE backfill.row_errors e SET resolved_at = clock_timestamp()
		WHERE e.job_id = job AND e.resolved_at IS NULL;
	ELSE
		-- The key's index may have been built anew since (REINDEX
		-- CONCURRENTLY): one of the same order is as good, and the daemon
		-- looks whether there is one.
		UPDATE backfill.ranges r SET finished_at = NULL, residue = 0,
			key_index_oid = NULL,
			begun_at = CASE WHEN r.hi IS NOT NULL THEN r.begun_at END,
			pass = 0, sweep_cursor = NULL, pass_rows = 0
		WHERE r.job_id = job;
		-- Their clock, hole_timeout, starts anew.
		UPDATE backfill.holes h SET found_at = clock_timestamp()
		WHERE h.job_id = job;
		INSERT INTO backfill.holes (job_id, number, hi)
		SELECT e.job_id, e.number, e.key FROM backfill.row_errors e
		WHERE e.job_id = job AND e.resolved_at IS NULL AND NOT EXISTS (
			SELECT FROM backfill.holes h WHERE h.job_id = e.job_id
			AND h.number = e.number AND NOT h.is_window AND h.hi = e.key)
		ORDER BY e.id;
	END IF;
	UPDATE backfill.jobs j SET state = 'queued', reason = NULL,
		error_sqlstate = NULL, error_message = NULL, error_detail = NULL,
		error_hint = NULL, finished_at = NULL, report = NULL
	WHERE j.id = job;
END
$$;
COMMENT ON FUNCTION backfill.requeue(bigint) IS
	'What retry() does to a failed job.';

CREATE OR REPLACE FUNCTION backfill.events_act()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	because text := NEW.actor || coalesce(': ' || NEW.detail, '');
	job record;
BEGIN
	PERFORM pg_notify('backfill', '');

	IF NEW.event = 'stop_all' THEN
		INSERT INTO backfill.stop (stopped_by, reason)
		VALUES (NEW.actor, NEW.detail)
		ON CONFLICT (only_row) DO NOTHING;
		RETURN NULL;
	ELSIF NEW.event = 'start_all' THEN
		PERFORM backfill.end_stop();
		RETURN NULL;
	END IF;

	SELECT j.id, j.state, j.hold INTO job FROM backfill.jobs j
	WHERE j.id = NEW.job_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF002',
			MESSAGE = format('job "%s" does not exist', NEW.job_id);
	END IF;
	IF NEW.event = 'take_back' THEN
		PERFORM backfill.undo_job(job.id, NEW.actor, NEW.detail);
		RETURN NULL;
	END IF;
	IF NEW.event = 'approve' AND NOT job.hold THEN
		RAISE NOTICE 'job % is not held', job.id;
		RETURN NULL;
	END IF;

	CASE NEW.event || ' ' || job.state
	WHEN 'pause queued', 'pause running' THEN
		UPDATE backfill.jobs SET state = 'paused',
			reason = 'paused by ' || because
		WHERE id = job.id;
	WHEN 'resume paused' THEN
		-- A daemon claims it anew and goes on from the checkpoint. A
		-- canary that was not reached is still to be looked at.
		UPDATE backfill.jobs SET state = 'queued', reason = NULL,
			pause_after_rows = CASE WHEN backfill.rows_left(id) > 0
				THEN pause_after_rows END
		WHERE id = job.id;
	WHEN 'retry failed' THEN
		PERFORM backfill.requeue(job.id);
	WHEN 'approve queued' THEN
		UPDATE backfill.jobs SET hold = false, reason = NULL
		WHERE id = job.id;
	WHEN 'approve paused' THEN
		UPDATE backfill.jobs SET hold = false WHERE id = job.id;
	WHEN 'cancel queued', 'cancel running', 'cancel paused' THEN
		UPDATE backfill.jobs SET state = 'cancelled',
			reason = 'cancelled by ' || because,
			finished_at = clock_timestamp()
		WHERE id = job.id;
	WHEN 'pause paused', 'resume queued', 'resume running',
		'cancel cancelled'
	THEN
		RAISE NOTICE 'job % is % already', job.id, job.state;
	ELSE
		RAISE EXCEPTION USING ERRCODE = 'BF003',
			MESSAGE = format('cannot %s job %s: it is %s',
				NEW.event, job.id, job.state),
			HINT = CASE WHEN job.state IN ('queued', 'running', 'paused')
				THEN 'Only a failed job can be tried again.'
				WHEN job.state = 'failed'
				THEN 'backfill.retry() queues a failed job again.'
				ELSE 'Submit a new job to change the table again.' END;
	END CASE;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION backfill.events_act() IS
	'Trigger: carries out a request and wakes the daemons. Raises BF003 when the job''s state does not allow it.';

DROP TRIGGER IF EXISTS events_1_stamp ON backfill.events;
CREATE TRIGGER events_1_stamp BEFORE INSERT ON backfill.events
	FOR EACH ROW WHEN (NEW.event IN ('pause', 'resume', 'cancel', 'retry',
		'approve', 'take_back', 'stop_all', 'start_all'))
	EXECUTE FUNCTION backfill.events_stamp();
DROP TRIGGER IF EXISTS events_2_act ON backfill.events;
CREATE TRIGGER events_2_act AFTER INSERT ON backfill.events
	FOR EACH ROW WHEN (NEW.event IN ('pause', 'resume', 'cancel', 'retry',
		'approve', 'take_back', 'stop_all', 'start_all'))
	EXECUTE FUNCTION backfill.events_act();

CREATE OR REPLACE FUNCTION backfill.tell_plan_down(plan text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE NOTICE USING MESSAGE = format('what plan "%s" has done stays', plan),
		HINT = format('SELECT backfill.plan_down(%L); takes it back.', plan);
END
$$;
COMMENT ON FUNCTION backfill.tell_plan_down(text) IS
	'Tells who cancelled a step how the plan is taken back.';

CREATE OR REPLACE FUNCTION backfill.request(job text, event text,
	reason text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known_id bigint := backfill.job_id(job);
BEGIN
	INSERT INTO backfill.events (job_id, event, detail)
	VALUES (known_id, event, nullif(btrim(reason), ''));
	IF event = 'cancel' THEN
		PERFORM backfill.tell_plan_down(j.plan) FROM backfill.jobs j
		WHERE j.id = known_id AND j.plan IS NOT NULL AND j.undoes IS NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.request(text, text, text) IS
	'What pause, resume, cancel, retry and approve share.';

CREATE OR REPLACE FUNCTION backfill.pause(job bigint,
	reason text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1::text, ''pause'', $2)';
CREATE OR REPLACE FUNCTION backfill.pause(job text, reason text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1, ''pause'', $2)';
COMMENT ON FUNCTION backfill.pause(bigint, text) IS
	'No batch of the job begins after this commits; one in flight ends. Raises BF002, BF003.';
COMMENT ON FUNCTION backfill.pause(text, text) IS
	'The same by name.';

CREATE OR REPLACE FUNCTION backfill.resume(job bigint)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1::text, ''resume'', NULL)';
CREATE OR REPLACE FUNCTION backfill.resume(job text)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1, ''resume'', NULL)';
COMMENT ON FUNCTION backfill.resume(bigint) IS
	'Queues a paused job again; it goes on from its checkpoint. Raises BF002, BF003.';
COMMENT ON FUNCTION backfill.resume(text) IS 'The same by name.';

CREATE OR REPLACE FUNCTION backfill.cancel(job bigint,
	reason text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1::text, ''cancel'', $2)';
CREATE OR REPLACE FUNCTION backfill.cancel(job text,
	reason text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1, ''cancel'', $2)';
COMMENT ON FUNCTION backfill.cancel(bigint, text) IS
	'Ends the job for good: the batch in flight is cancelled, what was committed stays. Raises BF002, BF003.';
COMMENT ON FUNCTION backfill.cancel(text, text) IS 'The same by name.';

CREATE OR REPLACE FUNCTION backfill.retry(job bigint)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1::text, ''retry'', NULL)';
CREATE OR REPLACE FUNCTION backfill.retry(job text)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1, ''retry'', NULL)';
COMMENT ON FUNCTION backfill.retry(bigint) IS
	'Queues a failed job again: it goes on from its checkpoint, recorded rows first. Raises BF002, BF003.';
COMMENT ON FUNCTION backfill.retry(text) IS 'The same by name.';

CREATE OR REPLACE FUNCTION backfill.approve(job bigint)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1::text, ''approve'', NULL)';
CREATE OR REPLACE FUNCTION backfill.approve(job text)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT backfill.request($1, ''approve'', NULL)';
COMMENT ON FUNCTION backfill.approve(bigint) IS
	'Lets a job run that was submitted with hold. Raises BF002, BF003.';
COMMENT ON FUNCTION backfill.approve(text) IS 'The same by name.';

-- With the caller's rights: a job of a role that the caller may not become
-- is nobody's word that a migration may go on.
CREATE OR REPLACE FUNCTION backfill.ensure_succeeded(name text)
RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known_id bigint := backfill.job_id(name);
	job record;
BEGIN
	SELECT j.id, j.name, j.state, j.reason, j.dry_run INTO job
	FROM backfill.jobs j WHERE j.id = known_id;
	IF job.state = 'succeeded' AND NOT job.dry_run THEN
		RETURN;
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'BF001',
		MESSAGE = format('job %s (%s) has not succeeded', job.id, job.name),
		DETAIL = CASE WHEN job.state = 'succeeded'
			THEN 'It was a dry run, which changes nothing.'
			ELSE format('It is %s%s.', job.state,
				coalesce(': ' || job.reason, '')) END;
END
$$;
COMMENT ON FUNCTION backfill.ensure_succeeded(text) IS
	'The gate for a later migration: returns when the job of this name or id has succeeded, for more than a dry run. Raises BF001, and BF002 when there is none that the caller may steer.';

CREATE OR REPLACE FUNCTION backfill.stop_all(reason text DEFAULT NULL)
RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO backfill.events (event, detail)
	VALUES ('stop_all', nullif(btrim(reason), ''))
$$;
COMMENT ON FUNCTION backfill.stop_all(text) IS
	'From the commit on no batch begins in this database, whatever daemon asks, until start_all(). For members of backfill_admin.';

CREATE OR REPLACE FUNCTION backfill.start_all()
RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO backfill.events (event) VALUES ('start_all')
$$;
COMMENT ON FUNCTION backfill.start_all() IS
	'Ends stop_all(). For members of backfill_admin. Commit at once: until then nobody else can steer the jobs that were started.';

GRANT INSERT (job_id, event, detail) ON backfill.events TO backfill_submit;

DROP POLICY IF EXISTS events_request ON backfill.events;
CREATE POLICY events_request ON backfill.events FOR INSERT
	TO backfill_submit
	WITH CHECK (
		(job_id IS NULL AND event IN ('stop_all', 'start_all')
			AND pg_catalog.pg_has_role('backfill_admin', 'MEMBER'))
		OR (event IN ('pause', 'resume', 'cancel', 'retry', 'approve',
			'take_back')
			AND EXISTS (
			SELECT FROM backfill.jobs j WHERE j.id = job_id
			AND backfill.may_steer(j.run_as))));

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.job_id(text),
	backfill.request(text, text, text), backfill.tell_plan_down(text),
	backfill.pause(bigint, text), backfill.pause(text, text),
	backfill.resume(bigint), backfill.resume(text),
	backfill.cancel(bigint, text), backfill.cancel(text, text),
	backfill.retry(bigint), backfill.retry(text),
	backfill.approve(bigint), backfill.approve(text),
	backfill.ensure_succeeded(text)
	TO backfill_submit;
GRANT EXECUTE ON FUNCTION backfill.rows_left(bigint) TO backfill_daemon;
GRANT EXECUTE ON FUNCTION backfill.stop_all(text), backfill.start_all()
	TO backfill_admin;

RESET ROLE;
