-- What the control connection calls about a job that its daemon runs.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.why_not(job bigint)
RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.check_may_run(job);
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'BF011' THEN
	RETURN SQLERRM;
END
$$;
COMMENT ON FUNCTION backfill.why_not(bigint) IS
	'Why the job may not run, as check_may_run() says it; NULL: it may.';

-- A run that does not begin batches just now is not told by begin_batch.
CREATE OR REPLACE FUNCTION backfill.my_work(me bigint)
RETURNS TABLE (job_id bigint, epoch bigint, state text, why_not text,
	max_replication_lag_ms bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT r.job_id, r.epoch, CASE
		WHEN j.state = 'running' AND w.why IS NOT NULL
		THEN 'stopped' ELSE j.state END, w.why,
		ceil(extract(epoch FROM j.max_replication_lag) * 1000)::bigint
	FROM backfill.ranges r JOIN backfill.jobs j ON j.id = r.job_id,
		LATERAL (SELECT backfill.why_not(j.id) AS why OFFSET 0) w
	WHERE r.owner = me
$$;
COMMENT ON FUNCTION backfill.my_work(bigint) IS
	'What the ranges of this daemon should be doing: the state of the job, or stopped, and why it may not run, and the lag that it may have, which may have been changed while it is held.';

-- The job's row, locked, if it is still ours to speak of.
CREATE OR REPLACE FUNCTION backfill.lock_job(me bigint, job bigint,
	with_epoch bigint)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	current_state text;
BEGIN
	SELECT j.state INTO current_state FROM backfill.jobs j
	WHERE j.id = job FOR NO KEY UPDATE;
	PERFORM FROM backfill.ranges r
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('job %s has another owner', job);
	END IF;
	RETURN current_state;
END
$$;
COMMENT ON FUNCTION backfill.lock_job(bigint, bigint, bigint) IS
	'Locks the job''s row and returns its state. Raises BF010 when a range has another owner or epoch.';

-- A side remark: it does not wait long behind a person's open UPDATE.
CREATE OR REPLACE FUNCTION backfill.set_reason(me bigint, job bigint,
	with_epoch bigint, why text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
BEGIN
	IF backfill.lock_job(me, job, with_epoch) = 'running' THEN
		UPDATE backfill.jobs SET reason = why WHERE id = job;
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.set_reason(bigint, bigint, bigint, text) IS
	'Says why a running job is not moving; NULL: it moves. Raises BF010, and 55P03 when the job''s row is locked for longer than 100 ms.';

CREATE OR REPLACE FUNCTION backfill.release(me bigint, job bigint,
	with_epoch bigint, why text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	done bigint;
BEGIN
	IF backfill.lock_job(me, job, with_epoch) <> 'running' THEN
		NULL;
	ELSIF backfill.rows_left(job) <= 0 THEN
		SELECT sum(r.rows_done) INTO done FROM backfill.ranges r
		WHERE r.job_id = job;
		UPDATE backfill.jobs j SET state = 'paused', reason = format('paused'
			' after %s rows (pause_after_rows); look, then resume', done)
		WHERE j.id = job
		RETURNING j.reason INTO why;
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'paused', why);
	ELSE
		-- What a job's own trigger raises may look like BF011. Given back for
		-- it, it would be claimed again at once, before all others, for ever.
		IF why <> 'the daemon stops' AND (SELECT count(*) >= 10
			FROM backfill.events e
			WHERE e.job_id = job AND e.event = 'released' AND e.detail = why
				AND e.at > clock_timestamp() - '1min'::interval)
		THEN
			PERFORM backfill.fail_job(me, job, with_epoch, 'BF024', why,
				'It was given back for this reason 10 times within a minute.',
				NULL);
			RETURN;
		END IF;
		UPDATE backfill.jobs SET state = 'queued', reason = why
		WHERE id = job;
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'released', why);
		-- A hint: any daemon may have it now.
		PERFORM pg_notify('backfill', '');
	END IF;
	UPDATE backfill.ranges r SET owner = NULL, epoch = r.epoch + 1,
		runner_pid = NULL, runner_backend_start = NULL
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch;
END
$$;
COMMENT ON FUNCTION backfill.release(bigint, bigint, bigint, text) IS
	'Gives the job back: a running one is queued again, for any daemon, or paused when it has changed pause_after_rows, or fails with BF024 when it was given back for the same reason ten times within a minute. Raises BF010.';

CREATE OR REPLACE FUNCTION backfill.finish_job(me bigint, job bigint,
	with_epoch bigint)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j record;
	done bigint;
	late bigint;
	changed boolean;
	bad bigint;
BEGIN
	IF backfill.lock_job(me, job, with_epoch) <> 'running' THEN
		RAISE EXCEPTION USING ERRCODE = 'BF011',
			MESSAGE = format('job %s is not running', job);
	END IF;
	IF EXISTS (SELECT FROM backfill.ranges r
			WHERE r.job_id = job AND r.finished_at IS NULL)
		OR EXISTS (SELECT FROM backfill.holes h WHERE h.job_id = job)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF012',
			MESSAGE = format('job %s still has work', job);
	END IF;
	SELECT q.on_residue, q.dry_run, q.kind INTO j FROM backfill.jobs q
	WHERE q.id = job;
	SELECT sum(r.rows_done), sum(r.residue), bool_or(r.notes->'changed' = 'true')
	INTO done, late, changed
	FROM backfill.ranges r WHERE r.job_id = job;
	SELECT count(*) INTO bad FROM backfill.row_errors e
	WHERE e.job_id = job AND e.resolved_at IS NULL;

	IF bad > 0 THEN
		PERFORM backfill.fail_job(me, job, with_epoch, 'BF027',
			format('%s rows of job %s could not be changed', bad, job),
			format('%s rows were changed; these are in'
				' backfill.row_errors.', done),
			format('Mend what is wrong with them, then call'
				' backfill.retry(%s).', job));
		RETURN 'failed';
	ELSIF late > 0 AND j.on_residue = 'fail' THEN
		PERFORM backfill.fail_job(me, job, with_epoch, 'BF029',
			format('rows of job %s were still written while it ran', job),
			format('The last of three sweeps found and changed %s rows.',
				late),
			format('Have the application write the new form, then call'
				' backfill.retry(%s).', job));
		RETURN 'failed';
	END IF;
	UPDATE backfill.jobs SET state = 'succeeded', reason = NULL,
		finished_at = clock_timestamp()
	WHERE id = job;
	UPDATE backfill.ranges r SET owner = NULL, runner_pid = NULL,
		runner_backend_start = NULL
	WHERE r.job_id = job;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (session_user, job, 'succeeded', CASE
		WHEN j.dry_run THEN 'dry run: nothing was changed'
		WHEN changed THEN 'the schema was changed'
		WHEN backfill.is_schema_kind(j.kind)
		THEN 'there was nothing to do: it is so already'
		ELSE format('%s rows changed', done) END);
	RETURN 'succeeded';
END
$$;
COMMENT ON FUNCTION backfill.finish_job(bigint, bigint, bigint) IS
	'Ends a job whose ranges are finished and have no holes, and returns its state: failed when rows are recorded as errors (BF027) or on_residue says so (BF029). Raises BF010, BF011, BF012.';

CREATE OR REPLACE FUNCTION backfill.fail_job(me bigint, job bigint,
	with_epoch bigint, sqlstate text, message text, detail text, hint text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF backfill.lock_job(me, job, with_epoch) = 'running' THEN
		UPDATE backfill.jobs SET state = 'failed', reason = message,
			error_sqlstate = sqlstate, error_message = message,
			error_detail = nullif(detail, ''),
			error_hint = nullif(hint, ''),
			finished_at = clock_timestamp()
		WHERE id = job;
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'failed', sqlstate || ': ' || message);
	END IF;
	UPDATE backfill.ranges r SET owner = NULL, runner_pid = NULL,
		runner_backend_start = NULL
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch;
END
$$;
COMMENT ON FUNCTION backfill.fail_job(bigint, bigint, bigint, text, text,
	text, text) IS
	'Ends a running job with an error in PostgreSQL''s parts. Raises BF010.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.why_not(bigint), backfill.my_work(bigint),
	backfill.lock_job(bigint, bigint, bigint),
	backfill.set_reason(bigint, bigint, bigint, text),
	backfill.release(bigint, bigint, bigint, text),
	backfill.finish_job(bigint, bigint, bigint),
	backfill.fail_job(bigint, bigint, bigint, text, text, text, text)
	TO backfill_daemon;

RESET ROLE;
