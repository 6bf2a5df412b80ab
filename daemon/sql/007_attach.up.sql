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

CREATE OR REPLACE FUNCTION backfill.own_range(job bigint, range integer,
	with_epoch bigint)
RETURNS backfill.ranges LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r backfill.ranges;
BEGIN
	r := backfill.lock_range(job, range, with_epoch);
	IF r.runner_pid IS DISTINCT FROM pg_backend_pid() THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job),
			DETAIL = format('Its runner is backend %s, not %s.',
				coalesce(r.runner_pid::text, 'none'), pg_backend_pid());
	END IF;
	RETURN r;
END
$$;
COMMENT ON FUNCTION backfill.own_range(bigint, integer, bigint) IS
	'As lock_range(), and raises BF010 too when the caller is not the backend that attached.';

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
	target_batch_time_ms bigint, kind text, from_clause text,
	dry_run boolean, record_errors boolean, pass integer,
	key_signature text, holes_first boolean, rows_left bigint,
	max_rows_per_second bigint, max_replication_lag_ms bigint,
	is_schema_kind boolean, definition text, archive_table text,
	archive_oid oid, lock_timeout_ms bigint)
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
		runner_backend_start = my_backend_start,
		attached_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range;
	RETURN QUERY SELECT j.target, j.set_clause, j.where_clause,
		j.key_columns, j.search_path, j.timezone, j.datestyle,
		r.begun_at IS NOT NULL, r.target_oid, r.key_index_oid, r.hi,
		CASE WHEN r.pass > 0 THEN r.sweep_cursor ELSE r.cursor END,
		r.seq, r.finished_at IS NOT NULL, r.batch_rows,
		ceil(extract(epoch FROM j.statement_timeout) * 1000)::bigint,
		j.batch_rows, j.max_batch_rows,
		ceil(extract(epoch FROM j.target_batch_time) * 1000)::bigint,
		j.kind, j.from_clause, j.dry_run, j.on_row_error = 'record',
		r.pass, r.key_signature,
		-- What a retry made of recorded rows.
		EXISTS (SELECT FROM backfill.holes h JOIN backfill.row_errors e
			ON e.job_id = h.job_id AND e.number = h.number
			AND hash_array(e.key) = hash_array(h.hi) AND e.key = h.hi
			WHERE h.job_id = job AND h.number = range AND NOT h.is_window
			AND e.resolved_at IS NULL),
		backfill.rows_left(job), j.max_rows_per_second,
		ceil(extract(epoch FROM j.max_replication_lag) * 1000)::bigint,
		backfill.is_schema_kind(j.kind), j.definition, j.archive_table,
		r.archive_oid,
		ceil(extract(epoch FROM j.lock_timeout) * 1000)::bigint
	FROM backfill.jobs j WHERE j.id = job;
END
$$;
COMMENT ON FUNCTION backfill.attach(bigint, integer, bigint, timestamptz) IS
	'Records the caller''s backend as the runner of the range, so that a later owner can terminate it, and returns the job and its checkpoint. Commit it before the first batch.';

-- The job's row is locked by the caller.
CREATE OR REPLACE FUNCTION backfill.take_table(job bigint, target_oid oid)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	waits_for text;
BEGIN
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
	END IF;
	RETURN waits_for;
END
$$;
COMMENT ON FUNCTION backfill.take_table(bigint, oid) IS
	'Makes the table the running job''s alone and returns NULL; or queues the job again, and returns who has the table. Raises 23505 when another takes it at this moment.';

CREATE OR REPLACE FUNCTION backfill.begin_job(job bigint, range integer,
	with_epoch bigint, target_oid oid, key_index_oid oid, bound text[],
	rows_estimate bigint, key_signature text, findings text,
	table_name text, moves_by text DEFAULT NULL,
	archive_oid oid DEFAULT NULL, archive_name text DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	r backfill.ranges;
BEGIN
	-- Lock order: jobs, then ranges.
	PERFORM FROM backfill.jobs j
	WHERE j.id = job AND j.run_as = session_user FOR NO KEY UPDATE;
	r := backfill.own_range(job, range, with_epoch);
	IF r.begun_at IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job);
	END IF;
	PERFORM backfill.check_length('key', bound::text, 1000000);
	PERFORM backfill.check_length('key_signature', key_signature, 100000);
	-- The table is the job's alone from now on: not anybody's table.
	IF backfill.may_change(session_user, target_oid, (SELECT j.kind
		FROM backfill.jobs j WHERE j.id = job)) IS NOT TRUE
	THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('permission denied for table %s',
				target_oid::regclass);
	END IF;

	-- What the clauses were examined on, and what the bound was read of: the
	-- name may have been given to another table since.
	IF NOT EXISTS (SELECT FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = target_oid
			AND format('%I.%I', n.nspname, c.relname) = table_name)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF022',
			MESSAGE = format('table %s is not the one that was examined',
				table_name),
			DETAIL = format('It was dropped or renamed; its OID was %s.',
				target_oid),
			HINT = format('backfill.retry(%s) examines it anew.', job);
	END IF;

	IF EXISTS (SELECT FROM backfill.jobs j
			WHERE j.id = job AND j.archive_table IS NOT NULL)
		AND NOT EXISTS (SELECT FROM pg_class c
			JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.oid = archive_oid
			AND format('%I.%I', n.nspname, c.relname) = archive_name)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF022',
			MESSAGE = format('archive table %s is not the one that was'
				' examined', archive_name),
			DETAIL = format('It was dropped or renamed; its OID was %s.',
				archive_oid),
			HINT = format('backfill.retry(%s) examines it anew.', job);
	END IF;

	UPDATE backfill.jobs j SET archive_table = archive_name
	WHERE j.id = job AND j.archive_table IS NOT NULL;
	IF backfill.take_table(job, target_oid) IS NOT NULL THEN
		RETURN false;
	END IF;
	UPDATE backfill.ranges s SET target_oid = target_oid,
		key_index_oid = key_index_oid, archive_oid = archive_oid,
		hi = bound,
		key_signature = key_signature, moves_by = left(moves_by, 1000),
		rows_total_estimate = rows_estimate,
		begun_at = clock_timestamp(),
		finished_at = CASE WHEN bound IS NULL THEN clock_timestamp() END
	WHERE s.job_id = job AND s.number = range;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	SELECT session_user, job, 'preflight', left(findings, 10000)
	WHERE findings IS NOT NULL;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (session_user, job, 'begun',
		format('about %s rows up to key (%s)', rows_estimate,
			coalesce(array_to_string(bound, ', '), 'none')));
	RETURN true;
END
$$;
COMMENT ON FUNCTION backfill.begin_job(bigint, integer, bigint, oid, oid,
	text[], bigint, text, text, text, text, oid, text) IS
	'Fixes the table and the archive, which must still bear their names, the key''s index and the upper bound of the range, once. moves_by: see ranges. A NULL bound means that the table is empty: the range is finished. False: another job runs on the table, and this one is queued again.';

CREATE OR REPLACE FUNCTION backfill.adopt_key(job bigint, range integer,
	with_epoch bigint, new_index_oid oid, new_archive_oid oid DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.lock_range(job, range, with_epoch);
	UPDATE backfill.ranges s SET key_index_oid = new_index_oid,
		archive_oid = new_archive_oid
	WHERE s.job_id = job AND s.number = range
		AND s.runner_pid = pg_backend_pid() AND s.key_index_oid IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('range %s of job %s has another owner', range, job);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.adopt_key(bigint, integer, bigint, oid, oid) IS
	'After a retry: fixes the key''s index anew, whose order the caller has found to be that of the one before, and the archive. Raises BF010.';

CREATE OR REPLACE FUNCTION backfill.store_report(job bigint, range integer,
	with_epoch bigint, report jsonb)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	is_dry_run boolean;
BEGIN
	-- Lock order: jobs, then ranges.
	SELECT j.dry_run INTO is_dry_run FROM backfill.jobs j
	WHERE j.id = job AND j.run_as = session_user FOR NO KEY UPDATE;
	PERFORM backfill.own_range(job, range, with_epoch);
	IF NOT is_dry_run THEN
		RAISE EXCEPTION USING ERRCODE = 'BF003',
			MESSAGE = format('job %s is not a dry run', job);
	END IF;
	PERFORM backfill.check_length('report', report::text, 1000000);
	PERFORM backfill.check_may_run(job);
	UPDATE backfill.jobs j SET report = report WHERE j.id = job;
	UPDATE backfill.ranges s SET finished_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range;
END
$$;
COMMENT ON FUNCTION backfill.store_report(bigint, integer, bigint, jsonb) IS
	'Keeps the report of a dry run, which is finished with it. Raises BF003, BF010, BF011.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.attach(bigint, integer, bigint, timestamptz),
	backfill.begin_job(bigint, integer, bigint, oid, oid, text[], bigint,
		text, text, text, text, oid, text),
	backfill.adopt_key(bigint, integer, bigint, oid, oid),
	backfill.store_report(bigint, integer, bigint, jsonb)
	TO backfill_submit;

RESET ROLE;
