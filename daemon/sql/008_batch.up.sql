-- What a runner connection calls in each batch: the fence, and the
-- checkpoint in the transaction of the rows.

SET LOCAL ROLE backfill_owner;

-- For the control connection too, which waits at a barrier.
CREATE OR REPLACE FUNCTION backfill.check_may_run(job bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j record;
	s backfill.stop;
	opens timestamptz;
BEGIN
	SELECT q.state, q.reason, q.run_window, q.timezone INTO j
	FROM backfill.jobs q WHERE q.id = job;
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
	opens := backfill.window_opens(j.run_window, j.timezone,
		clock_timestamp());
	IF opens IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'BF011',
			MESSAGE = format('job %s is outside its run_window %s', job,
				backfill.tell_window(j.run_window, j.timezone, opens));
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_may_run(bigint) IS
	'Raises BF011 when the job is not running, all work is stopped, or it is not the hour of its run_window.';

-- For this transaction: a change of the job's row counts at once.
CREATE OR REPLACE FUNCTION backfill.apply_settings(job bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j record;
BEGIN
	SELECT q.lock_timeout, q.statement_timeout, q.synchronous_commit INTO j
	FROM backfill.jobs q WHERE q.id = job;
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
END
$$;
COMMENT ON FUNCTION backfill.apply_settings(bigint) IS
	'Sets the job''s own timeouts and synchronous_commit for the transaction.';

-- The rows must not go into a table that has taken the archive's name.
CREATE OR REPLACE FUNCTION backfill.check_archive(job bigint, range integer)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a record;
BEGIN
	SELECT j.archive_table AS name, r.archive_oid AS oid INTO a
	FROM backfill.jobs j JOIN backfill.ranges r ON r.job_id = j.id
	WHERE j.id = job AND r.number = range;
	IF a.name IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = a.oid
			AND format('%I.%I', n.nspname, c.relname) = a.name)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF022',
			MESSAGE = format('archive table %s is not the one that job %s'
				' began with', a.name, job),
			DETAIL = format('It was dropped or renamed; its OID was %s.',
				a.oid),
			HINT = format('The rows that were deleted are in that table;'
				' backfill.retry(%s) goes on with the one that bears the'
				' name by then.', job);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_archive(bigint, integer) IS
	'Raises BF022 when the job has an archive table, and it is not the one of the range any more.';

-- The fence and all that may keep work from beginning, but for the canary,
-- which does not keep a range from being finished.
CREATE OR REPLACE FUNCTION backfill.begin_work(job bigint, range integer,
	with_epoch bigint, with_seq bigint)
RETURNS backfill.ranges LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r backfill.ranges;
	j record;
BEGIN
	r := backfill.own_range(job, range, with_epoch);
	IF r.seq <> with_seq THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job),
			DETAIL = format('Its sequence number is %s, not %s.', r.seq,
				with_seq);
	END IF;

	-- Read after the lock was had: what was committed while we waited counts.
	PERFORM backfill.check_may_run(job);
	SELECT q.target INTO j FROM backfill.jobs q WHERE q.id = job;

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
	PERFORM backfill.check_archive(job, range);

	PERFORM backfill.apply_settings(job);
	RETURN r;
END
$$;
COMMENT ON FUNCTION backfill.begin_work(bigint, integer, bigint, bigint) IS
	'What the functions that work on a range begin with: locks it, raises BF010, BF011, BF022, and applies the job''s timeouts to the transaction.';

-- A statement that may wait for a lock of others while it holds row locks
-- ends before the deadlock detector of whoever waits for it wakes up.
CREATE OR REPLACE FUNCTION backfill.cap_statement()
RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	cap_ms bigint := 450 * extract(epoch FROM
		current_setting('deadlock_timeout')::interval);
	timeout_ms bigint := 1000 * extract(epoch FROM
		current_setting('statement_timeout')::interval);
BEGIN
	-- 0 means none.
	cap_ms := greatest(1, least(cap_ms, nullif(timeout_ms, 0)));
	PERFORM set_config('statement_timeout', cap_ms::text, true);
	RETURN cap_ms;
END
$$;
COMMENT ON FUNCTION backfill.cap_statement() IS
	'Bounds the transaction''s statements by 45 % of deadlock_timeout; returns the bound in milliseconds.';

CREATE OR REPLACE FUNCTION backfill.begin_batch(job bigint, range integer,
	with_epoch bigint, with_seq bigint, may_wait boolean DEFAULT false,
	is_slow boolean DEFAULT false)
RETURNS TABLE (batch_rows integer, max_batch_rows integer,
	target_batch_time_ms bigint, wal_lsn pg_lsn, rows_left bigint,
	wait_cap_ms bigint, max_rows_per_second bigint,
	max_replication_lag_ms bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	j record;
	room bigint;
	cap_ms bigint;
BEGIN
	PERFORM backfill.begin_work(job, range, with_epoch, with_seq);
	room := backfill.rows_left(job);
	SELECT q.batch_rows, q.max_batch_rows, q.target_batch_time,
		q.pause_after_rows, q.max_rows_per_second, q.max_replication_lag
	INTO j
	FROM backfill.jobs q WHERE q.id = job;
	IF room <= 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'BF011',
			MESSAGE = format('job %s has changed %s rows', job,
				j.pause_after_rows - room),
			DETAIL = format('Its pause_after_rows is %s.',
				j.pause_after_rows);
	END IF;
	-- A row that takes long though nobody holds it up is given its time; if
	-- it meets a lock after all, the application has long been waiting.
	IF may_wait AND is_slow THEN
		PERFORM set_config('lock_timeout', '10ms', true);
	ELSIF may_wait THEN
		cap_ms := backfill.cap_statement();
	END IF;
	RETURN QUERY SELECT j.batch_rows, j.max_batch_rows,
		ceil(extract(epoch FROM j.target_batch_time) * 1000)::bigint,
		pg_current_wal_insert_lsn(), room, cap_ms, j.max_rows_per_second,
		ceil(extract(epoch FROM j.max_replication_lag) * 1000)::bigint;
END
$$;
COMMENT ON FUNCTION backfill.begin_batch(bigint, integer, bigint, bigint,
	boolean, boolean) IS
	'First statement of each batch: locks the range and raises when the batch may not run: BF010 another owner, BF011 paused, cancelled, stopped, outside run_window or at pause_after_rows, BF022 table, index or archive redefined. Applies the job''s timeouts to the transaction, and a shorter one when it may wait for locks, or where is_slow, of one row that takes its time, a shorter lock_timeout; returns its sizes, the WAL position, the rows left, that bound, and the job''s limits of rate and lag.';

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

CREATE OR REPLACE FUNCTION backfill.check_not_negative(job bigint,
	VARIADIC counts bigint[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lowest bigint := (SELECT min(c.n) FROM unnest(counts) AS c(n));
BEGIN
	IF lowest < 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'BF012',
			MESSAGE = format('a batch of job %s counted %s rows', job,
				lowest);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_not_negative(bigint, bigint[]) IS
	'Raises BF012 when a count of a batch is negative.';

-- Called within the statement, which keeps both tables as they are. Its
-- columns are those that the daemon knew: one that was added since would be
-- deleted and not archived.
CREATE OR REPLACE FUNCTION backfill.check_archived(job bigint, range integer,
	deleted bigint, archived bigint, attributes integer)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
BEGIN
	SELECT j.target AS name, c.relnatts INTO t
	FROM backfill.jobs j JOIN backfill.ranges r ON r.job_id = j.id
	LEFT JOIN pg_class c ON c.oid = r.target_oid
	WHERE j.id = job AND r.number = range AND j.archive_table IS NOT NULL;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	PERFORM backfill.check_archive(job, range);
	IF t.relnatts IS DISTINCT FROM attributes THEN
		RAISE EXCEPTION USING ERRCODE = 'BF022',
			MESSAGE = format('columns were added to table %s while job %s'
				' archived its rows', t.name, job),
			HINT = format('backfill.retry(%s) goes on when the archive has'
				' them, too.', job);
	END IF;
	IF archived IS DISTINCT FROM deleted THEN
		RAISE EXCEPTION USING ERRCODE = 'BF037',
			MESSAGE = format('a batch of job %s deleted %s rows and archived'
				' %s', job, deleted, coalesce(archived, 0)),
			HINT = 'Does a BEFORE trigger of the archive table return NULL?';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_archived(bigint, integer, bigint, bigint,
	integer) IS
	'Raises BF037 when the job has an archive table and not every deleted row is in it, BF022 when it is another table by now or the target got columns.';

CREATE OR REPLACE FUNCTION backfill.shrink_hole(job bigint, range integer,
	hole bigint, up_to text[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE backfill.holes h SET lo = up_to
	WHERE h.job_id = job AND h.number = range AND h.id = hole
		AND h.hi <> up_to;
	DELETE FROM backfill.holes h
	WHERE h.job_id = job AND h.number = range AND h.id = hole
		AND h.hi = up_to;
END
$$;
COMMENT ON FUNCTION backfill.shrink_hole(bigint, integer, bigint, text[]) IS
	'Moves the lower end of a window hole, or removes it at its upper one.';

-- Exponentially weighted by time; a pause of more than 5 minutes begins anew.
-- Of a young range over what there is of it: a first batch, without a pause
-- before it, says little.
CREATE OR REPLACE FUNCTION backfill.rate(old double precision, read bigint,
	begun_at timestamptz, checkpoint_at timestamptz, now_at timestamptz,
	over_s double precision)
RETURNS double precision LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN checkpoint_at IS NULL OR old IS NULL
			OR now_at - checkpoint_at > '5min'
		THEN read / greatest(0.001, extract(epoch FROM now_at
			- coalesce(CASE WHEN now_at - checkpoint_at < '5min'
				THEN checkpoint_at END, transaction_timestamp()))
			::double precision)
		ELSE old + (read / t.seconds - old)
			* (1 - exp(-t.seconds / least(over_s, t.age)))
		END
	FROM (SELECT greatest(0.001, extract(epoch FROM now_at - checkpoint_at))
			::double precision AS seconds,
		greatest(1, extract(epoch FROM now_at - begun_at))
			::double precision AS age) t
$$;
COMMENT ON FUNCTION backfill.rate(double precision, bigint, timestamptz,
	timestamptz, timestamptz, double precision) IS
	'Rows per second, weighted over so many seconds, after a batch has read rows.';

-- held: the keys in the window that were eligible and not updated, an array
-- of arrays; NULL: none.
CREATE OR REPLACE FUNCTION backfill.checkpoint(job bigint, range integer,
	with_epoch bigint, with_seq bigint, up_to text[], read bigint,
	size integer, locked bigint, updated bigint, rekeyed bigint,
	still_matching bigint, held text[], in_hole bigint,
	archived bigint DEFAULT NULL, attributes integer DEFAULT NULL)
RETURNS pg_lsn LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	now_at timestamptz := clock_timestamp();
	since timestamptz := transaction_timestamp();
BEGIN
	PERFORM backfill.check_not_negative(job, read, size, locked, updated,
		rekeyed, still_matching);
	PERFORM backfill.check_counts(job, locked, updated, rekeyed);
	PERFORM backfill.check_archived(job, range, updated, archived, attributes);
	-- A gigabyte of key would be read by the daemon and by every monitor.
	PERFORM backfill.check_length('key', up_to::text, 1000000);
	PERFORM backfill.check_length('held', held::text, 10000000);
	IF array_length(held, 1) > 100 THEN
		RAISE EXCEPTION USING ERRCODE = 'BF013',
			MESSAGE = format('more than 100 rows of the window are held by'
				' others');
	END IF;

	UPDATE backfill.ranges s SET
		cursor = CASE WHEN in_hole IS NULL AND s.pass = 0 THEN up_to
			ELSE s.cursor END,
		sweep_cursor = CASE WHEN in_hole IS NULL AND s.pass > 0 THEN up_to
			ELSE s.sweep_cursor END,
		seq = s.seq + 1,
		rows_read = s.rows_read + CASE WHEN s.pass = 0 THEN read ELSE 0 END,
		pass_rows = s.pass_rows + CASE WHEN s.pass > 0 THEN updated
			ELSE 0 END,
		late_rows = s.late_rows + CASE WHEN s.pass > 0 THEN updated
			ELSE 0 END,
		rows_done = s.rows_done + updated,
		rows_still_matching = s.rows_still_matching + still_matching,
		batches = s.batches + 1,
		batch_rows = size,
		batch_ms = 1000 * extract(epoch FROM now_at - since),
		recent_batch_ms = (s.recent_batch_ms
			|| (1000 * extract(epoch FROM now_at - since))::integer)
			[greatest(1, cardinality(s.recent_batch_ms) - 30):],
		pause_ms = 1000 * extract(epoch FROM since
			- greatest(s.checkpoint_at, s.attached_at)),
		paced_ms = s.paced_ms + coalesce(1000 * extract(epoch FROM since
			- greatest(s.checkpoint_at, s.attached_at)), 0),
		rows_per_second = CASE WHEN in_hole IS NOT NULL
			THEN s.rows_per_second ELSE backfill.rate(s.rows_per_second,
				read, s.begun_at, s.checkpoint_at, now_at, 30) END,
		rows_per_second_5min = CASE WHEN in_hole IS NOT NULL
			THEN s.rows_per_second_5min
			ELSE backfill.rate(s.rows_per_second_5min, read, s.begun_at,
				s.checkpoint_at, now_at, 300) END,
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
		PERFORM backfill.shrink_hole(job, range, in_hole, up_to);
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
	text[], bigint, integer, bigint, bigint, bigint, bigint, text[], bigint,
	bigint, integer) IS
	'Called by the statement that changes the rows: moves the cursor (or, when in_hole names a window hole, its lower end, and removes it at its upper one), counts, and keeps the held keys as holes. archived, attributes: see check_archived. Raises BF010, BF012, BF013, BF021, BF022, BF037, and with it undoes the batch.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.check_may_run(bigint) TO backfill_daemon;
GRANT EXECUTE ON FUNCTION
	backfill.begin_batch(bigint, integer, bigint, bigint, boolean, boolean),
	backfill.checkpoint(bigint, integer, bigint, bigint, text[], bigint,
		integer, bigint, bigint, bigint, bigint, text[], bigint, bigint,
		integer)
	TO backfill_submit;

RESET ROLE;
