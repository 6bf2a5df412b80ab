-- What a runner connection calls: it logs in as the job's run_as and
-- reaches the schema through these functions only. Each checks session_user
-- (the login; current_user is the owner here), the epoch, and that the
-- caller is the backend that attached: a hostile job can spoil its own
-- progress and nothing else.

SET LOCAL ROLE backfill_owner;

-- The range row, locked: the fence. Waits for a batch of an older owner.
CREATE OR REPLACE FUNCTION backfill.lock_range(job bigint, range integer,
	with_epoch bigint)
RETURNS backfill.ranges LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r backfill.ranges;
BEGIN
	IF NOT EXISTS (SELECT FROM backfill.jobs j
		WHERE j.id = job AND j.run_as = session_user)
	THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('job %s does not run as "%s"', job, session_user);
	END IF;
	SELECT * INTO r FROM backfill.ranges s
	WHERE s.job_id = job AND s.number = range FOR NO KEY UPDATE;
	IF NOT FOUND OR r.epoch IS DISTINCT FROM with_epoch THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job),
			DETAIL = format('Its epoch is %s, not %s.', r.epoch, with_epoch);
	END IF;
	RETURN r;
END
$$;
COMMENT ON FUNCTION backfill.lock_range(bigint, integer, bigint) IS
	'Locks the range row for the transaction. Raises BF010 when the epoch is not the range''s, 42501 when session_user is not the job''s run_as.';

-- The caller tells when its backend began, since only it may see that: we
-- are the owner here, to whom backend_start of others is NULL. A caller that
-- lies makes its own backend hard to terminate and no other one's.
CREATE OR REPLACE FUNCTION backfill.attach(job bigint, range integer,
	with_epoch bigint, my_backend_start timestamptz)
RETURNS TABLE (target text, set_clause text, where_clause text,
	key_columns text[], search_path text, timezone text, datestyle text,
	begun boolean, target_oid oid, key_index_oid oid, hi text[],
	cursor text[], seq bigint, finished boolean, last_batch_rows integer,
	statement_timeout_ms bigint, batch_rows integer, max_batch_rows integer,
	target_batch_time_ms bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r backfill.ranges;
BEGIN
	r := backfill.lock_range(job, range, with_epoch);
	-- It was none when the job was submitted.
	IF (SELECT u.rolsuper FROM pg_roles u WHERE u.rolname = session_user) THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('a job cannot run as superuser "%s"',
				session_user),
			DETAIL = 'A job has the rights of its run_as, and nothing'
				' bounds those of a superuser.';
	END IF;
	UPDATE backfill.ranges s SET runner_pid = pg_backend_pid(),
		runner_backend_start = my_backend_start
	WHERE s.job_id = job AND s.number = range;
	RETURN QUERY SELECT j.target, j.set_clause, j.where_clause,
		j.key_columns, j.search_path, j.timezone, j.datestyle,
		r.begun_at IS NOT NULL, r.target_oid, r.key_index_oid, r.hi,
		r.cursor, r.seq, r.finished_at IS NOT NULL, r.batch_rows,
		ceil(extract(epoch FROM j.statement_timeout) * 1000)::bigint,
		j.batch_rows, j.max_batch_rows,
		ceil(extract(epoch FROM j.target_batch_time) * 1000)::bigint
	FROM backfill.jobs j WHERE j.id = job;
END
$$;
COMMENT ON FUNCTION backfill.attach(bigint, integer, bigint, timestamptz) IS
	'Records the caller''s backend as the runner of the range, so that a later owner can terminate it, and returns the job and its checkpoint. Commit it before the first batch.';

CREATE OR REPLACE FUNCTION backfill.begin_job(job bigint, range integer,
	with_epoch bigint, target_oid oid, key_index_oid oid, bound text[],
	rows_estimate bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	r backfill.ranges;
	waits_for text;
BEGIN
	-- Lock order: jobs, then ranges.
	PERFORM FROM backfill.jobs j
	WHERE j.id = job AND j.run_as = session_user FOR NO KEY UPDATE;
	r := backfill.lock_range(job, range, with_epoch);
	IF r.runner_pid IS DISTINCT FROM pg_backend_pid()
		OR r.begun_at IS NOT NULL
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job);
	END IF;
	PERFORM backfill.check_length('key', bound::text, 1000000);
	-- The table is the job's alone from now on: not anybody's table.
	IF has_any_column_privilege(session_user, target_oid, 'UPDATE')
		IS NOT TRUE
	THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('permission denied for table %s',
				target_oid::regclass);
	END IF;

	-- As claim() says it of a table that was known at INSERT.
	SELECT format('waits: job %s (%s) runs on the same table', o.id, o.name)
	INTO waits_for FROM backfill.jobs o
	WHERE o.state = 'running' AND o.target_oid = target_oid AND o.id <> job;
	UPDATE backfill.jobs j SET target_oid = c.oid,
		target = format('%I.%I', n.nspname, c.relname),
		state = CASE WHEN waits_for IS NULL THEN j.state ELSE 'queued' END,
		reason = coalesce(waits_for, j.reason)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE j.id = job AND j.state = 'running' AND c.oid = target_oid;
	IF waits_for IS NOT NULL THEN
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'released', waits_for);
		RETURN false;
	END IF;
	UPDATE backfill.ranges s SET target_oid = target_oid,
		key_index_oid = key_index_oid, hi = bound,
		rows_total_estimate = rows_estimate,
		begun_at = clock_timestamp(),
		finished_at = CASE WHEN bound IS NULL THEN clock_timestamp() END
	WHERE s.job_id = job AND s.number = range;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (session_user, job, 'begun',
		format('about %s rows up to key (%s)', rows_estimate,
			coalesce(array_to_string(bound, ', '), 'none')));
	RETURN true;
END
$$;
COMMENT ON FUNCTION backfill.begin_job(bigint, integer, bigint, oid, oid,
	text[], bigint) IS
	'Fixes the table, the key''s index and the upper bound of the range, once. A NULL bound means that the table is empty: the range is finished. False: another job runs on the table, and this one is queued again.';

CREATE OR REPLACE FUNCTION backfill.begin_batch(job bigint, range integer,
	with_epoch bigint, with_seq bigint)
RETURNS TABLE (batch_rows integer, max_batch_rows integer,
	target_batch_time_ms bigint, wal_lsn pg_lsn)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r backfill.ranges;
	j backfill.jobs;
	s backfill.stop;
BEGIN
	r := backfill.lock_range(job, range, with_epoch);
	IF r.runner_pid IS DISTINCT FROM pg_backend_pid() THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job),
			DETAIL = format('Its runner is backend %s, not %s.',
				coalesce(r.runner_pid::text, 'none'), pg_backend_pid());
	END IF;
	IF r.seq <> with_seq THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job),
			DETAIL = format('Its sequence number is %s, not %s.', r.seq,
				with_seq);
	END IF;

	-- Read after the lock was had: what was committed while we waited counts.
	SELECT * INTO j FROM backfill.jobs WHERE id = job;
	IF j.state <> 'running' THEN
		RAISE EXCEPTION USING ERRCODE = 'BF011',
			MESSAGE = format('job %s is %s', job, j.state),
			DETAIL = coalesce(j.reason, '');
	END IF;
	SELECT * INTO s FROM backfill.stop;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF011',
			MESSAGE = format('all work is stopped by %s', s.stopped_by
				|| coalesce(': ' || s.reason, '')),
			HINT = 'backfill.start_all() lets it go on.';
	END IF;

	-- What is gone or redefined in mid-job is not what was asked for.
	IF NOT EXISTS (SELECT FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = r.target_oid
			AND format('%I.%I', n.nspname, c.relname) = j.target)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF022',
			MESSAGE = format('table %s is not the one that job %s began with',
				j.target, job),
			DETAIL = format('It was dropped or renamed; its OID was %s.',
				r.target_oid);
	END IF;
	IF NOT EXISTS (SELECT FROM pg_index i
		WHERE i.indexrelid = r.key_index_oid
			AND i.indrelid = r.target_oid AND i.indisvalid)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF022',
			MESSAGE = format('the key index of table %s is not the one that'
				' job %s began with', j.target, job),
			DETAIL = format('It was dropped or replaced; its OID was %s.',
				r.key_index_oid);
	END IF;

	-- For this transaction: a change of the job's row counts at once.
	IF j.lock_timeout IS NOT NULL THEN
		PERFORM set_config('lock_timeout',
			ceil(extract(epoch FROM j.lock_timeout) * 1000)::text, true);
	END IF;
	IF j.statement_timeout IS NOT NULL THEN
		PERFORM set_config('statement_timeout',
			ceil(extract(epoch FROM j.statement_timeout) * 1000)::text, true);
	END IF;
	IF j.synchronous_commit IS NOT NULL THEN
		PERFORM set_config('synchronous_commit', j.synchronous_commit, true);
	END IF;
	RETURN QUERY SELECT j.batch_rows, j.max_batch_rows,
		ceil(extract(epoch FROM j.target_batch_time) * 1000)::bigint,
		pg_current_wal_insert_lsn();
END
$$;
COMMENT ON FUNCTION backfill.begin_batch(bigint, integer, bigint, bigint) IS
	'First statement of each batch: locks the range and raises when the batch may not run: BF010 another owner, BF011 paused, cancelled or stopped, BF022 table or index redefined. Applies the job''s timeouts to the transaction; returns its sizes and the WAL position.';

-- What checkpoint and close_hole share.
CREATE OR REPLACE FUNCTION backfill.check_counts(job bigint, locked bigint,
	updated bigint, rekeyed bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF rekeyed > 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'BF021',
			MESSAGE = format('a batch of job %s changed the key of %s rows',
				job, rekeyed),
			DETAIL = 'A row whose key changes would be met twice or not at all.',
			HINT = 'Does a BEFORE trigger of the table assign a key column?';
	END IF;
	IF updated > locked THEN
		RAISE EXCEPTION USING ERRCODE = 'BF012',
			MESSAGE = format('a batch of job %s updated %s rows and had locked'
				' %s', job, updated, locked);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_counts(bigint, bigint, bigint, bigint) IS
	'Raises BF012 or BF021 when the counts of a batch cannot be right.';

-- held: the keys in the window that were eligible and not updated, an array
-- of arrays; NULL: none.
CREATE OR REPLACE FUNCTION backfill.checkpoint(job bigint, range integer,
	with_epoch bigint, with_seq bigint, up_to text[], read bigint,
	size integer, locked bigint, updated bigint, rekeyed bigint,
	still_matching bigint, held text[], in_hole bigint)
RETURNS pg_lsn LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	now_at timestamptz := clock_timestamp();
BEGIN
	PERFORM backfill.check_counts(job, locked, updated, rekeyed);
	-- A gigabyte of key would be read by the daemon and by every monitor.
	PERFORM backfill.check_length('key', up_to::text, 1000000);
	PERFORM backfill.check_length('held', held::text, 10000000);
	IF array_length(held, 1) > 100 THEN
		RAISE EXCEPTION USING ERRCODE = 'BF013',
			MESSAGE = format('more than 100 rows of the window are held by'
				' others');
	END IF;

	UPDATE backfill.ranges s SET
		cursor = CASE WHEN in_hole IS NULL THEN up_to ELSE s.cursor END,
		seq = s.seq + 1,
		rows_read = s.rows_read + read,
		rows_done = s.rows_done + updated,
		rows_still_matching = s.rows_still_matching + still_matching,
		batches = s.batches + 1,
		batch_rows = size,
		-- Exponentially weighted by time, over 30 seconds; a pause of more
		-- than 5 minutes begins anew.
		rows_per_second = CASE
			WHEN in_hole IS NOT NULL THEN s.rows_per_second
			WHEN s.checkpoint_at IS NULL OR s.rows_per_second IS NULL
				OR now_at - s.checkpoint_at > '5min'
			THEN read / greatest(0.001, extract(epoch FROM now_at
				- coalesce(CASE WHEN now_at - s.checkpoint_at < '5min'
					THEN s.checkpoint_at END, transaction_timestamp())))
			ELSE s.rows_per_second + (read / greatest(0.001,
					extract(epoch FROM now_at - s.checkpoint_at))
					- s.rows_per_second)
				* (1 - exp(-extract(epoch FROM now_at - s.checkpoint_at)
					::double precision / 30))
			END,
		checkpoint_at = now_at
	WHERE s.job_id = job AND s.number = range AND s.epoch = with_epoch
		AND s.seq = with_seq AND s.runner_pid = pg_backend_pid()
		AND EXISTS (SELECT FROM backfill.jobs j
			WHERE j.id = job AND j.run_as = session_user);
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job);
	END IF;

	IF in_hole IS NOT NULL THEN
		UPDATE backfill.holes h SET lo = up_to
		WHERE h.job_id = job AND h.number = range AND h.id = in_hole
			AND h.hi <> up_to;
		DELETE FROM backfill.holes h
		WHERE h.job_id = job AND h.number = range AND h.id = in_hole
			AND h.hi = up_to;
	END IF;
	IF held IS NOT NULL THEN
		INSERT INTO backfill.holes (job_id, number, hi)
		SELECT job, range, ARRAY(SELECT unnest(held[i:i]))
		FROM generate_series(1, array_length(held, 1)) i ORDER BY i;
	END IF;
	RETURN pg_current_wal_insert_lsn();
END
$$;
COMMENT ON FUNCTION backfill.checkpoint(bigint, integer, bigint, bigint,
	text[], bigint, integer, bigint, bigint, bigint, bigint, text[], bigint) IS
	'Called by the statement that changes the rows: moves the cursor (or, when in_hole names a window hole, its lower end, and removes it at its upper one), counts, and keeps the held keys as holes. Raises BF010, BF012, BF013, BF021, and with it undoes the batch.';

CREATE OR REPLACE FUNCTION backfill.skip_window(job bigint, range integer,
	with_epoch bigint, with_seq bigint, up_to text[], read bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r backfill.ranges;
BEGIN
	PERFORM backfill.check_length('key', up_to::text, 1000000);
	PERFORM backfill.begin_batch(job, range, with_epoch, with_seq);
	SELECT * INTO r FROM backfill.ranges s
	WHERE s.job_id = job AND s.number = range;
	INSERT INTO backfill.holes (job_id, number, is_window, lo, hi)
	VALUES (job, range, true, r.cursor, up_to);
	UPDATE backfill.ranges s SET cursor = up_to, seq = s.seq + 1,
		rows_read = s.rows_read + read, checkpoint_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (session_user, job, 'window_hole',
		'more than 100 rows of a window are held: it is left for later');
END
$$;
COMMENT ON FUNCTION backfill.skip_window(bigint, integer, bigint, bigint,
	text[], bigint) IS
	'Moves the cursor over a window of which more than 100 rows are held, and keeps the whole, untouched window as a hole.';

CREATE OR REPLACE FUNCTION backfill.list_holes(job bigint, range integer,
	with_epoch bigint, after bigint)
RETURNS TABLE (id bigint, is_window boolean, lo text[], hi text[],
	age_ms bigint, remaining bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM backfill.lock_range(job, range, with_epoch);
	RETURN QUERY SELECT h.id, h.is_window, h.lo, h.hi,
		(extract(epoch FROM clock_timestamp() - h.found_at) * 1000)::bigint,
		(SELECT count(*) FROM backfill.holes a
			WHERE a.job_id = job AND a.number = range)
	FROM backfill.holes h
	WHERE h.job_id = job AND h.number = range AND h.id > after
	ORDER BY h.id LIMIT 1;
END
$$;
COMMENT ON FUNCTION backfill.list_holes(bigint, integer, bigint, bigint) IS
	'The first hole of the range whose id is above after, with its age and how many there are.';

CREATE OR REPLACE FUNCTION backfill.close_hole(job bigint, range integer,
	with_epoch bigint, with_seq bigint, hole bigint, eligible bigint,
	locked bigint, updated bigint, rekeyed bigint, still_matching bigint)
RETURNS pg_lsn LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.check_counts(job, locked, updated, rekeyed);
	-- Deleted and inserted again, and locked by others meanwhile.
	IF locked < eligible THEN
		RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
			MESSAGE = format('a row of job %s was inserted anew and is held by'
				' others', job);
	END IF;
	IF updated < eligible THEN
		RAISE EXCEPTION USING ERRCODE = 'BF014',
			MESSAGE = format('a row of job %s was locked and still not updated',
				job),
			HINT = 'Does a BEFORE trigger of the table return NULL, or a rule'
				' replace the UPDATE?';
	END IF;
	UPDATE backfill.ranges s SET seq = s.seq + 1,
		rows_done = s.rows_done + updated,
		rows_still_matching = s.rows_still_matching + still_matching,
		checkpoint_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range AND s.epoch = with_epoch
		AND s.seq = with_seq AND s.runner_pid = pg_backend_pid()
		AND EXISTS (SELECT FROM backfill.jobs j
			WHERE j.id = job AND j.run_as = session_user);
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job);
	END IF;
	DELETE FROM backfill.holes h
	WHERE h.job_id = job AND h.number = range AND h.id = hole;
	RETURN pg_current_wal_insert_lsn();
END
$$;
COMMENT ON FUNCTION backfill.close_hole(bigint, integer, bigint, bigint,
	bigint, bigint, bigint, bigint, bigint, bigint) IS
	'Called by the statement that changes the one row of a hole, which the transaction has locked: counts and removes the hole. Raises BF014 when the row was not updated all the same, 55P03 when it is a new one that could not be locked.';

CREATE OR REPLACE FUNCTION backfill.finish_range(job bigint, range integer,
	with_epoch bigint, with_seq bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.begin_batch(job, range, with_epoch, with_seq);
	IF EXISTS (SELECT FROM backfill.holes h
		WHERE h.job_id = job AND h.number = range)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF012',
			MESSAGE = format('range %s of job %s still has holes', range, job);
	END IF;
	UPDATE backfill.ranges s SET cursor = s.hi, seq = s.seq + 1,
		finished_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range;
END
$$;
COMMENT ON FUNCTION backfill.finish_range(bigint, integer, bigint, bigint) IS
	'No key is left before the bound and no hole: ends the range. Raises BF010, BF011, BF012.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.attach(bigint, integer, bigint, timestamptz),
	backfill.begin_job(bigint, integer, bigint, oid, oid, text[], bigint),
	backfill.begin_batch(bigint, integer, bigint, bigint),
	backfill.checkpoint(bigint, integer, bigint, bigint, text[], bigint,
		integer, bigint, bigint, bigint, bigint, text[], bigint),
	backfill.skip_window(bigint, integer, bigint, bigint, text[], bigint),
	backfill.list_holes(bigint, integer, bigint, bigint),
	backfill.close_hole(bigint, integer, bigint, bigint, bigint, bigint,
		bigint, bigint, bigint, bigint),
	backfill.finish_range(bigint, integer, bigint, bigint)
	TO backfill_submit;

RESET ROLE;
