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

-- A failover may have lost the registration, and another daemon have got the
-- number since.
CREATE OR REPLACE FUNCTION backfill.come_back(me bigint, my_host text,
	my_pid integer)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM backfill.daemons d
		WHERE d.incarnation = me AND d.host = my_host AND d.pid = my_pid)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('daemon %s is not registered', me);
	END IF;
	PERFORM backfill.renew(me);
END
$$;
COMMENT ON FUNCTION backfill.come_back(bigint, text, integer) IS
	'A daemon that lost its connection goes on with its life. Raises BF010 when the incarnation is not registered, or is another daemon''s.';

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

-- A failed job may be tried again, so it counts.
CREATE OR REPLACE FUNCTION backfill.needed_jobs()
RETURNS bigint[] LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ARRAY(SELECT DISTINCT unnest(d.depends_on) FROM backfill.jobs d
		WHERE d.state IN ('queued', 'running', 'paused', 'failed'))
$$;
COMMENT ON FUNCTION backfill.needed_jobs() IS
	'Ids of the jobs on which a job depends that may still run.';

-- The daemon may not delete: what goes is decided here. With the rows locked
-- it is looked again who needs them: a job that depends on one may have been
-- submitted meanwhile (jobs_check_depends_on). What hangs on a job may be a
-- million rows: they go first, some at a time. Who may run a job may also
-- hold its range locked, for as long as it likes: such a job is passed over,
-- and takes no other one's place.
CREATE OR REPLACE FUNCTION backfill.prune(me bigint, older_than interval)
RETURNS integer LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before timestamptz := clock_timestamp()
		- greatest(older_than, '1 day'::interval);
	needed bigint[] := backfill.needed_jobs();
	old_ids bigint[] := '{}';
	old_id bigint;
	locked integer;
	removed integer;
BEGIN
	FOR old_id IN SELECT j.id FROM backfill.jobs j
		WHERE j.state IN ('succeeded', 'failed', 'cancelled')
			AND j.finished_at < before AND j.id <> ALL (needed)
		ORDER BY j.finished_at FOR UPDATE SKIP LOCKED
	LOOP
		PERFORM FROM backfill.ranges r WHERE r.job_id = old_id
		FOR UPDATE SKIP LOCKED;
		GET DIAGNOSTICS locked = ROW_COUNT;
		IF locked = (SELECT count(*) FROM backfill.ranges r
			WHERE r.job_id = old_id)
		THEN
			old_ids := old_ids || old_id;
		END IF;
		EXIT WHEN cardinality(old_ids) = 10;
	END LOOP;
	needed := backfill.needed_jobs();
	old_ids := ARRAY(SELECT u.id FROM unnest(old_ids) AS u(id)
		WHERE u.id <> ALL (needed));

	DELETE FROM backfill.row_errors WHERE id IN (
		SELECT e.id FROM backfill.row_errors e
		WHERE e.job_id = ANY (old_ids) LIMIT 10000);
	DELETE FROM backfill.holes h WHERE (h.job_id, h.number, h.id) IN (
		SELECT o.job_id, o.number, o.id FROM backfill.holes o
		WHERE o.job_id = ANY (old_ids) LIMIT 10000);
	DELETE FROM backfill.events WHERE id IN (
		SELECT e.id FROM backfill.events e
		WHERE e.job_id = ANY (old_ids) LIMIT 10000);
	DELETE FROM backfill.jobs j WHERE j.id = ANY (old_ids)
		AND NOT EXISTS (SELECT FROM backfill.row_errors e
			WHERE e.job_id = j.id)
		AND NOT EXISTS (SELECT FROM backfill.holes h WHERE h.job_id = j.id)
		AND NOT EXISTS (SELECT FROM backfill.events e WHERE e.job_id = j.id);
	GET DIAGNOSTICS removed = ROW_COUNT;

	DELETE FROM backfill.events WHERE id IN (
		SELECT e.id FROM backfill.events e
		WHERE e.job_id IS NULL AND e.at < before ORDER BY e.id LIMIT 10000);
	DELETE FROM backfill.daemons d
	WHERE d.lease_until < before AND d.incarnation <> me AND NOT EXISTS (
		SELECT FROM backfill.ranges r WHERE r.owner = d.incarnation);
	DELETE FROM backfill.samples s WHERE NOT EXISTS (
		SELECT FROM backfill.daemons d WHERE d.incarnation = s.incarnation);
	RETURN removed;
END
$$;
COMMENT ON FUNCTION backfill.prune(bigint, interval) IS
	'Removes at most 10 finished jobs that are older than the interval, and than a day, with all that belongs to them, and old rows of daemons and events; returns how many jobs. A job on which another may still wait stays.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.register(text, integer, text, interval),
	backfill.renew(bigint), backfill.come_back(bigint, text, integer),
	backfill.unregister(bigint),
	backfill.take_range(bigint, bigint, integer),
	backfill.retake_range(bigint, bigint, integer, bigint),
	backfill.prune(bigint, interval)
	TO backfill_daemon;

RESET ROLE;
