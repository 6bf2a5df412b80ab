-- What the control connection calls, with its own rights: it is a member of
-- backfill_daemon, pg_monitor (sees backend_start of others) and
-- pg_signal_backend (may terminate them). All times are the server's.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.register(host text, pid integer,
	version text, lease interval)
RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_incarnation bigint;
BEGIN
	INSERT INTO backfill.daemons (host, pid, version, lease, lease_until)
	VALUES (host, pid, version, lease, clock_timestamp() + lease)
	RETURNING incarnation INTO new_incarnation;
	RETURN new_incarnation;
END
$$;
COMMENT ON FUNCTION backfill.register(text, integer, text, interval) IS
	'A daemon begins a life: its incarnation, with a lease that backfill.renew prolongs.';

CREATE OR REPLACE FUNCTION backfill.renew(me bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE backfill.daemons d SET lease_until = clock_timestamp() + d.lease
	WHERE d.incarnation = me AND d.stopped_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('daemon %s is not registered', me);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.renew(bigint) IS
	'The heartbeat, a third of the lease apart. Raises BF010 when the daemon is not registered.';

CREATE OR REPLACE FUNCTION backfill.unregister(me bigint)
RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE backfill.daemons SET stopped_at = clock_timestamp(),
		lease_until = clock_timestamp()
	WHERE incarnation = me
$$;
COMMENT ON FUNCTION backfill.unregister(bigint) IS
	'A daemon ends in good order, after it released its work.';

-- Terminate the recorded backend of a range, then raise the epoch: that
-- UPDATE waits for the old transaction if it still runs, so that what we
-- read next is the truth (PostgreSQL's outcome of a lost COMMIT is known
-- only this way). The caller's lock_timeout bounds the wait.
CREATE OR REPLACE FUNCTION backfill.take_range(me bigint, job bigint,
	range integer)
RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_epoch bigint;
BEGIN
	PERFORM pg_terminate_backend(a.pid)
	FROM backfill.ranges r JOIN pg_stat_activity a
		ON a.pid = r.runner_pid AND a.backend_start = r.runner_backend_start
	WHERE r.job_id = job AND r.number = range;

	UPDATE backfill.ranges r SET epoch = r.epoch + 1, owner = me,
		runner_pid = NULL, runner_backend_start = NULL
	WHERE r.job_id = job AND r.number = range
	RETURNING r.epoch INTO new_epoch;
	RETURN new_epoch;
END
$$;
COMMENT ON FUNCTION backfill.take_range(bigint, bigint, integer) IS
	'Makes the daemon the owner of the range: terminates the backend of the old one and raises the epoch, which is returned. Raises 55P03 when the old transaction does not end within lock_timeout.';

-- For a daemon whose runner lost its connection. Meanwhile the range may
-- have become another's, whose lease counts. Epoch + 1 is our own take, of
-- which the reply was lost: only the owner raises it and stays the owner.
CREATE OR REPLACE FUNCTION backfill.retake_range(me bigint, job bigint,
	range integer, with_epoch bigint)
RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	current_epoch bigint;
BEGIN
	SELECT r.epoch INTO current_epoch FROM backfill.ranges r
	WHERE r.job_id = job AND r.number = range AND r.owner = me
		AND r.epoch IN (with_epoch, with_epoch + 1);
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('job %s has another owner', job);
	END IF;
	IF current_epoch > with_epoch THEN
		RETURN current_epoch;
	END IF;

	PERFORM pg_terminate_backend(a.pid)
	FROM backfill.ranges r JOIN pg_stat_activity a
		ON a.pid = r.runner_pid AND a.backend_start = r.runner_backend_start
	WHERE r.job_id = job AND r.number = range AND r.owner = me
		AND r.epoch = with_epoch;
	UPDATE backfill.ranges r SET epoch = r.epoch + 1,
		runner_pid = NULL, runner_backend_start = NULL
	WHERE r.job_id = job AND r.number = range AND r.owner = me
		AND r.epoch = with_epoch
	RETURNING r.epoch INTO current_epoch;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('job %s has another owner', job);
	END IF;
	RETURN current_epoch;
END
$$;
COMMENT ON FUNCTION backfill.retake_range(bigint, bigint, integer, bigint) IS
	'As take_range(), for the owner that the range has at this epoch: raises BF010 when it has another.';

CREATE OR REPLACE FUNCTION backfill.claim(me bigint)
RETURNS TABLE (job_id bigint, range integer, epoch bigint, run_as name,
	name text, taken_over boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	j record;
	last_id bigint := 0;
	has_waited boolean := false;
	new_epoch bigint;
BEGIN
	IF EXISTS (SELECT FROM backfill.stop)
		OR NOT EXISTS (SELECT FROM backfill.daemons d
			WHERE d.incarnation = me AND d.lease_until > clock_timestamp())
	THEN
		RETURN;
	END IF;

	-- Queued, or running under a daemon whose lease has ended. Locked, it is
	-- looked at again: another daemon may have claimed it after the snapshot
	-- of the first statement, which does not see that one's range.
	LOOP
		SELECT q.id, q.name, q.run_as, q.state AS old_state INTO j
		FROM backfill.jobs q
		WHERE q.id > last_id AND ((q.state = 'queued' AND NOT EXISTS (
				SELECT FROM backfill.jobs o
				WHERE o.state = 'running' AND o.target_oid = q.target_oid))
			OR (q.state = 'running' AND NOT EXISTS (
				SELECT FROM backfill.ranges r
				JOIN backfill.daemons d ON d.incarnation = r.owner
				WHERE r.job_id = q.id
				AND d.lease_until > clock_timestamp())))
		ORDER BY q.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
		EXIT WHEN NOT FOUND;
		last_id := j.id;

		-- What one job's login does must not hold up the jobs of others: a
		-- claim waits once, and then passes over whose range is locked.
		IF has_waited THEN
			PERFORM FROM backfill.ranges r WHERE r.job_id = j.id
			FOR NO KEY UPDATE SKIP LOCKED;
			CONTINUE WHEN NOT FOUND AND EXISTS (
				SELECT FROM backfill.ranges r WHERE r.job_id = j.id);
		END IF;
		BEGIN
			UPDATE backfill.jobs u SET state = 'running', reason = NULL,
				started_at = coalesce(u.started_at, clock_timestamp())
			WHERE u.id = j.id AND (u.state = 'queued' OR NOT EXISTS (
				SELECT FROM backfill.ranges r
				JOIN backfill.daemons d ON d.incarnation = r.owner
				WHERE r.job_id = u.id
				AND d.lease_until > clock_timestamp()));
			CONTINUE WHEN NOT FOUND;
			INSERT INTO backfill.ranges (job_id, number) VALUES (j.id, 1)
			ON CONFLICT DO NOTHING;
			new_epoch := backfill.take_range(me, j.id, 1);
			EXIT;
		EXCEPTION
			WHEN unique_violation THEN
				-- Another daemon began a job on the same table at the
				-- same moment.
				NULL;
			WHEN lock_not_available THEN
				has_waited := true;
				UPDATE backfill.jobs q
				SET reason = 'waits: a transaction holds its checkpoint'
				WHERE q.id = j.id AND q.reason IS DISTINCT FROM
					'waits: a transaction holds its checkpoint';
		END;
	END LOOP;

	IF j.id IS NULL THEN
		-- A job that somebody has locked can be told later.
		UPDATE backfill.jobs u SET reason = w.reason
		FROM (SELECT q.id, format(
				'waits: job %s (%s) runs on the same table', o.id, o.name)
				AS reason
			FROM backfill.jobs q JOIN backfill.jobs o
				ON o.state = 'running' AND o.target_oid = q.target_oid
			WHERE q.state = 'queued'
			FOR NO KEY UPDATE OF q SKIP LOCKED) w
		WHERE u.id = w.id AND u.reason IS DISTINCT FROM w.reason;
		RETURN;
	END IF;

	INSERT INTO backfill.events (actor, job_id, event, detail)
	SELECT session_user, j.id,
		CASE WHEN j.old_state = 'running' THEN 'taken_over'
			ELSE 'started' END,
		format('by daemon %s (%s, pid %s), epoch %s', me, d.host, d.pid,
			new_epoch)
	FROM backfill.daemons d WHERE d.incarnation = me;

	RETURN QUERY SELECT j.id, 1, new_epoch, j.run_as, j.name,
		j.old_state = 'running';
END
$$;
COMMENT ON FUNCTION backfill.claim(bigint) IS
	'Claims the first job that may run, or whose daemon''s lease has ended, for this incarnation; no row: none. A job whose old owner''s transaction does not end within lock_timeout is passed over.';

CREATE OR REPLACE FUNCTION backfill.my_work(me bigint)
RETURNS TABLE (job_id bigint, epoch bigint, state text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT r.job_id, r.epoch, CASE
		WHEN j.state = 'running' AND EXISTS (SELECT FROM backfill.stop)
		THEN 'stopped' ELSE j.state END
	FROM backfill.ranges r JOIN backfill.jobs j ON j.id = r.job_id
	WHERE r.owner = me
$$;
COMMENT ON FUNCTION backfill.my_work(bigint) IS
	'What the ranges of this daemon should be doing.';

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
BEGIN
	IF backfill.lock_job(me, job, with_epoch) = 'running' THEN
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
	END IF;
	UPDATE backfill.ranges r SET owner = NULL, epoch = r.epoch + 1,
		runner_pid = NULL, runner_backend_start = NULL
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch;
END
$$;
COMMENT ON FUNCTION backfill.release(bigint, bigint, bigint, text) IS
	'Gives the job back: a running one is queued again, for any daemon, or fails with BF024 when it was given back for the same reason ten times within a minute. Raises BF010.';

CREATE OR REPLACE FUNCTION backfill.finish_job(me bigint, job bigint,
	with_epoch bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	done bigint;
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
	SELECT sum(r.rows_done) INTO done FROM backfill.ranges r
	WHERE r.job_id = job;
	UPDATE backfill.jobs SET state = 'succeeded', reason = NULL,
		finished_at = clock_timestamp()
	WHERE id = job;
	UPDATE backfill.ranges r SET owner = NULL, runner_pid = NULL,
		runner_backend_start = NULL
	WHERE r.job_id = job;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (session_user, job, 'succeeded', format('%s rows changed', done));
END
$$;
COMMENT ON FUNCTION backfill.finish_job(bigint, bigint, bigint) IS
	'Ends a job whose ranges are finished and have no holes. Raises BF010, BF011, BF012.';

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

-- backend_start guards against a pid that is another backend's by now.
CREATE OR REPLACE FUNCTION backfill.cancel_runner(me bigint, job bigint,
	with_epoch bigint)
RETURNS boolean LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(bool_or(pg_cancel_backend(a.pid)), false)
	FROM backfill.ranges r JOIN pg_stat_activity a
		ON a.pid = r.runner_pid AND a.backend_start = r.runner_backend_start
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch
		AND a.state = 'active'
$$;
COMMENT ON FUNCTION backfill.cancel_runner(bigint, bigint, bigint) IS
	'Cancels the statement that the job''s runner is executing; false: none.';

CREATE OR REPLACE FUNCTION backfill.blockers(me bigint, job bigint,
	with_epoch bigint)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(CASE WHEN b.pid = 0 THEN
			'a prepared transaction' || coalesce((
				SELECT format(' (%s)', string_agg(p.gid, ', '))
				FROM pg_prepared_xacts p
				WHERE p.database = current_database()), '')
		ELSE format('pid %s (%s%s%s, transaction open for %s s)', b.pid,
			coalesce(a.usename, 'unknown role'),
			coalesce(', ' || nullif(a.application_name, ''), ''),
			coalesce(', ' || a.state, ''),
			coalesce(floor(extract(epoch FROM clock_timestamp()
				- a.xact_start))::text, '?'))
		END, '; ')
	FROM backfill.ranges r,
		LATERAL unnest(pg_blocking_pids(r.runner_pid)) AS b(pid)
		LEFT JOIN pg_stat_activity a ON a.pid = b.pid
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch
$$;
COMMENT ON FUNCTION backfill.blockers(bigint, bigint, bigint) IS
	'Who makes the job''s runner wait for a lock, with role, state and age of the transaction; NULL: nobody.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.register(text, integer, text, interval),
	backfill.renew(bigint), backfill.unregister(bigint),
	backfill.take_range(bigint, bigint, integer),
	backfill.retake_range(bigint, bigint, integer, bigint),
	backfill.claim(bigint),
	backfill.my_work(bigint), backfill.lock_job(bigint, bigint, bigint),
	backfill.set_reason(bigint, bigint, bigint, text),
	backfill.release(bigint, bigint, bigint, text),
	backfill.finish_job(bigint, bigint, bigint),
	backfill.fail_job(bigint, bigint, bigint, text, text, text, text),
	backfill.cancel_runner(bigint, bigint, bigint),
	backfill.blockers(bigint, bigint, bigint)
	TO backfill_daemon;

RESET ROLE;
