-- What a runner connection calls, for rows that could not be changed at once
-- and at the end of a range.

SET LOCAL ROLE backfill_owner;

-- The range is locked by begin_work.
CREATE OR REPLACE FUNCTION backfill.move_cursor(job bigint, range integer,
	up_to text[], read bigint)
RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE backfill.ranges s SET seq = s.seq + 1,
		cursor = CASE WHEN s.pass > 0 THEN s.cursor ELSE up_to END,
		sweep_cursor = CASE WHEN s.pass > 0 THEN up_to END,
		rows_read = s.rows_read + CASE WHEN s.pass > 0 THEN 0
			ELSE read END,
		checkpoint_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range
$$;
COMMENT ON FUNCTION backfill.move_cursor(bigint, integer, text[], bigint) IS
	'Moves the cursor of the walk, or of the sweep under way, without a change of rows.';

CREATE OR REPLACE FUNCTION backfill.skip_window(job bigint, range integer,
	with_epoch bigint, with_seq bigint, up_to text[], read bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r backfill.ranges;
BEGIN
	PERFORM backfill.check_not_negative(job, read);
	PERFORM backfill.check_length('key', up_to::text, 1000000);
	r := backfill.begin_work(job, range, with_epoch, with_seq);
	INSERT INTO backfill.holes (job_id, number, is_window, lo, hi)
	VALUES (job, range, true, CASE WHEN r.pass > 0 THEN r.sweep_cursor
		ELSE r.cursor END, up_to);
	PERFORM backfill.move_cursor(job, range, up_to, read);
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (session_user, job, 'window_hole',
		'rows of a window are held, or keep it waiting: it is left for later');
END
$$;
COMMENT ON FUNCTION backfill.skip_window(bigint, integer, bigint, bigint,
	text[], bigint) IS
	'Moves the cursor over a window of which others hold more than 100 rows, or which they keep waiting, and keeps the whole, untouched window as a hole.';

CREATE OR REPLACE FUNCTION backfill.list_holes(job bigint, range integer,
	with_epoch bigint, after bigint, descending boolean DEFAULT false)
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
	WHERE h.job_id = job AND h.number = range
		AND CASE WHEN descending THEN h.id < after ELSE h.id > after END
	ORDER BY CASE WHEN descending THEN -h.id ELSE h.id END LIMIT 1;
END
$$;
COMMENT ON FUNCTION backfill.list_holes(bigint, integer, bigint, bigint,
	boolean) IS
	'The first hole of the range whose id is above after, or, descending, the last one below it, with its age and how many there are.';

CREATE OR REPLACE FUNCTION backfill.close_hole(job bigint, range integer,
	with_epoch bigint, with_seq bigint, hole bigint, eligible bigint,
	locked bigint, updated bigint, rekeyed bigint, still_matching bigint,
	archived bigint DEFAULT NULL, attributes integer DEFAULT NULL)
RETURNS pg_lsn LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	closed text[];
BEGIN
	PERFORM backfill.check_not_negative(job, eligible, locked, updated,
		rekeyed, still_matching);
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
	PERFORM backfill.check_archived(job, range, updated, archived, attributes);
	UPDATE backfill.ranges s SET seq = s.seq + 1,
		rows_done = s.rows_done + updated,
		pass_rows = s.pass_rows + CASE WHEN s.pass > 0 THEN updated
			ELSE 0 END,
		late_rows = s.late_rows + CASE WHEN s.pass > 0 THEN updated
			ELSE 0 END,
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
	WHERE h.job_id = job AND h.number = range AND h.id = hole
	RETURNING h.hi INTO closed;
	-- Changed, or gone, or not eligible any more: it needs no mending.
	UPDATE backfill.row_errors e SET resolved_at = clock_timestamp()
	WHERE e.job_id = job AND e.number = range
		AND hash_array(e.key) = hash_array(closed) AND e.key = closed
		AND e.resolved_at IS NULL;
	RETURN pg_current_wal_insert_lsn();
END
$$;
COMMENT ON FUNCTION backfill.close_hole(bigint, integer, bigint, bigint,
	bigint, bigint, bigint, bigint, bigint, bigint, bigint, integer) IS
	'Called by the statement that changes the one row of a hole, which the transaction has locked: counts, removes the hole and resolves the row''s recorded error. Raises BF014 when the row was not updated all the same, what check_archived raises, 55P03 when it is a new one that could not be locked.';

-- Upserts by hand: a key may be too long for a unique index, and the range
-- is locked.
CREATE OR REPLACE FUNCTION backfill.record_row_error(job bigint,
	range integer, row_key text[], state text, text_of_it text,
	violated text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	longest integer;
	recorded bigint;
BEGIN
	UPDATE backfill.row_errors e SET sqlstate = left(state, 5),
		message = left(text_of_it, 1000),
		constraint_name = left(violated, 1000),
		failed_at = clock_timestamp(), attempts = e.attempts + 1
	WHERE e.job_id = job AND e.number = range
		AND hash_array(e.key) = hash_array(row_key) AND e.key = row_key
		AND e.resolved_at IS NULL;
	IF FOUND THEN
		RETURN;
	END IF;
	INSERT INTO backfill.row_errors (job_id, number, key, sqlstate, message,
		constraint_name)
	VALUES (job, range, row_key, left(state, 5),
		left(coalesce(text_of_it, ''), 1000), left(violated, 1000));

	SELECT j.max_row_errors INTO longest FROM backfill.jobs j
	WHERE j.id = job;
	SELECT count(*) INTO recorded FROM backfill.row_errors e
	WHERE e.job_id = job AND e.resolved_at IS NULL;
	IF recorded > longest THEN
		RAISE EXCEPTION USING ERRCODE = 'BF026',
			MESSAGE = format('more than %s rows of job %s could not be changed',
				longest, job),
			DETAIL = format('The last one: %s: %s', left(state, 5),
				left(text_of_it, 1000)),
			HINT = format('See backfill.row_errors; mend what is wrong with'
				' the rows, then call backfill.retry(%s).', job);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.record_row_error(bigint, integer, text[], text,
	text, text) IS
	'Keeps a row that cannot be changed; one that is known counts one attempt more. Raises BF026 when there are more than max_row_errors.';

CREATE OR REPLACE FUNCTION backfill.set_aside(job bigint, range integer,
	with_epoch bigint, with_seq bigint, key text[], read bigint,
	hole bigint, sqlstate text, message text, constraint_name text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	is_single boolean;
BEGIN
	PERFORM backfill.check_not_negative(job, read);
	PERFORM backfill.check_length('key', key::text, 1000000);
	PERFORM backfill.begin_work(job, range, with_epoch, with_seq);
	SELECT NOT h.is_window INTO is_single FROM backfill.holes h
	WHERE h.job_id = job AND h.number = range AND h.id = hole;
	IF hole IS NULL THEN
		PERFORM backfill.move_cursor(job, range, key, read);
	ELSE
		UPDATE backfill.ranges s SET seq = s.seq + 1,
			checkpoint_at = clock_timestamp()
		WHERE s.job_id = job AND s.number = range;
	END IF;
	IF is_single AND sqlstate IS NOT NULL THEN
		DELETE FROM backfill.holes h
		WHERE h.job_id = job AND h.number = range AND h.id = hole;
	ELSIF NOT is_single THEN
		PERFORM backfill.shrink_hole(job, range, hole, key);
	END IF;

	IF sqlstate IS NOT NULL THEN
		PERFORM backfill.record_row_error(job, range, key, sqlstate, message,
			constraint_name);
	ELSE
		INSERT INTO backfill.holes (job_id, number, hi)
		SELECT job, range, key WHERE NOT EXISTS (
			SELECT FROM backfill.holes h WHERE h.job_id = job
			AND h.number = range AND NOT h.is_window AND h.hi = key);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.set_aside(bigint, integer, bigint, bigint,
	text[], bigint, bigint, text, text, text) IS
	'Passes over one key whose row cannot be changed now: with an SQLSTATE it is recorded in backfill.row_errors, without one it becomes a hole. hole: where the key was met, NULL for the walk or sweep. Raises BF010, BF011, BF022, BF026.';

-- Whether the range is looked through once more, by the counts of its own:
-- where changed rows still match, or come to match by time alone, a sweep
-- would change them again.
CREATE OR REPLACE FUNCTION backfill.finish_range(job bigint, range integer,
	with_epoch bigint, with_seq bigint)
RETURNS TABLE (finished boolean, pass integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r backfill.ranges;
	has_where boolean;
	sweeps boolean;
BEGIN
	r := backfill.begin_work(job, range, with_epoch, with_seq);
	IF EXISTS (SELECT FROM backfill.holes h
		WHERE h.job_id = job AND h.number = range)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF012',
			MESSAGE = format('range %s of job %s still has holes', range, job);
	END IF;
	SELECT j.where_clause IS NOT NULL INTO has_where
	FROM backfill.jobs j WHERE j.id = job;
	-- With rows recorded as errors the job fails: they would only fail again,
	-- and what is left to sweep is swept when retry() has mended them.
	sweeps := has_where AND r.rows_still_matching = 0 AND r.hi IS NOT NULL
		AND NOT EXISTS (SELECT FROM backfill.row_errors e
			WHERE e.job_id = job AND e.number = range
			AND e.resolved_at IS NULL);

	IF sweeps AND r.moves_by IS NOT NULL THEN
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'not_swept', format('%s, by which rows'
			' come to match again: there was no closing sweep, rows written'
			' meanwhile were not looked for', r.moves_by));
		sweeps := false;
	END IF;
	IF sweeps AND (r.pass = 0 OR r.pass_rows > 0 AND r.pass < 3) THEN
		UPDATE backfill.ranges s SET cursor = s.hi, seq = s.seq + 1,
			pass = r.pass + 1, sweep_cursor = NULL, pass_rows = 0
		WHERE s.job_id = job AND s.number = range;
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'sweep', format('pass %s of 3: the %s'
			' changed %s rows', r.pass + 1, CASE WHEN r.pass = 0
			THEN 'walk' ELSE 'sweep before' END, CASE WHEN r.pass = 0
			THEN r.rows_done ELSE r.pass_rows END));
		RETURN QUERY SELECT false, r.pass + 1;
		RETURN;
	END IF;

	UPDATE backfill.ranges s SET cursor = s.hi, seq = s.seq + 1,
		residue = CASE WHEN sweeps AND r.pass = 3 THEN r.pass_rows ELSE 0 END,
		finished_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range;
	IF has_where AND r.rows_still_matching > 0 THEN
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'not_self_excluding', format('%s of %s'
			' changed rows still match where_clause, so that rows written'
			' meanwhile were not looked for; if it was meant to leave out'
			' rows that are done, look at set_clause',
			r.rows_still_matching, r.rows_done));
	END IF;
	IF sweeps AND r.pass = 3 AND r.pass_rows > 0 THEN
		INSERT INTO backfill.events (actor, job_id, event, detail)
		VALUES (session_user, job, 'late_rows', format('the last sweep still'
			' found and changed %s rows: does the application write the new'
			' form?', r.pass_rows));
	END IF;
	RETURN QUERY SELECT true, r.pass;
END
$$;
COMMENT ON FUNCTION backfill.finish_range(bigint, integer, bigint, bigint) IS
	'No key is left before the bound and no hole: begins the next closing sweep, or ends the range. Raises BF010, BF011, BF012, BF022.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.skip_window(bigint, integer, bigint, bigint, text[], bigint),
	backfill.list_holes(bigint, integer, bigint, bigint, boolean),
	backfill.close_hole(bigint, integer, bigint, bigint, bigint, bigint,
		bigint, bigint, bigint, bigint, bigint, integer),
	backfill.set_aside(bigint, integer, bigint, bigint, text[], bigint,
		bigint, text, text, text),
	backfill.finish_range(bigint, integer, bigint, bigint)
	TO backfill_submit;

RESET ROLE;
