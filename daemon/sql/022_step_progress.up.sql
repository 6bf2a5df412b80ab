-- The fence and the progress of steps: what the runner connection of a job of
-- the schema kinds calls, as the owner of the tables here. Each function asks
-- who calls (session_user), as those of 007 to 009 do.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.enter_step(job bigint, range integer,
	with_epoch bigint, new_target oid, leaving boolean)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r backfill.ranges;
	j record;
	waits_for text;
BEGIN
	SELECT q.kind, q.target_oid INTO j FROM backfill.jobs q WHERE q.id = job;
	IF j.target_oid IS NULL AND backfill.may_change(session_user, new_target,
		j.kind)
	THEN
		-- Lock order: jobs, then ranges. The table was made, or became the
		-- role's, after the job was submitted.
		PERFORM FROM backfill.jobs q
		WHERE q.id = job AND q.run_as = session_user FOR NO KEY UPDATE;
		r := backfill.own_range(job, range, with_epoch);
		waits_for := backfill.take_table(job, new_target);
		IF waits_for IS NOT NULL THEN
			RETURN waits_for;
		END IF;
	ELSE
		r := backfill.own_range(job, range, with_epoch);
	END IF;
	-- A job that is given up may still clear away what it left.
	IF NOT leaving THEN
		PERFORM backfill.check_may_run(job);
	END IF;
	PERFORM backfill.apply_settings(job);
	UPDATE backfill.ranges s SET begun_at = clock_timestamp()
	WHERE s.job_id = job AND s.number = range AND s.begun_at IS NULL;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION backfill.enter_step(bigint, integer, bigint, oid, boolean)
	IS 'What each transaction of a step begins with: locks the range, applies the job''s timeouts. Not NULL: another job has the table, and this one is queued again. leaving: the job may be one that runs no more. Raises BF010, BF011.';

CREATE OR REPLACE FUNCTION backfill.end_step(job bigint, range integer,
	with_epoch bigint, told text, new_notes jsonb, is_finished boolean)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.own_range(job, range, with_epoch);
	PERFORM backfill.check_length('notes', new_notes::text, 1000000);
	UPDATE backfill.ranges s SET seq = s.seq + 1,
		step = coalesce(left(told, 1000), s.step),
		notes = s.notes || coalesce(new_notes, '{}'),
		checkpoint_at = clock_timestamp(),
		finished_at = CASE WHEN is_finished THEN clock_timestamp() END
	WHERE s.job_id = job AND s.number = range;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	SELECT session_user, job, 'step', left(told, 1000)
	WHERE told IS NOT NULL;
END
$$;
COMMENT ON FUNCTION backfill.end_step(bigint, integer, bigint, text, jsonb,
	boolean) IS
	'Keeps what a step did, told in an event, and that nothing is left to do, in the transaction that did it. Raises BF010.';

-- Counted before it begins: what a killed one leaves behind is ours.
CREATE OR REPLACE FUNCTION backfill.note_alone(job bigint, range integer,
	with_epoch bigint, told text, new_notes jsonb)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r backfill.ranges;
BEGIN
	r := backfill.own_range(job, range, with_epoch);
	PERFORM backfill.end_step(job, range, with_epoch, told,
		coalesce(new_notes, '{}') || jsonb_build_object('changed', true,
			'attempts', coalesce((r.notes->>'attempts')::bigint, 0) + 1),
		false);
END
$$;
COMMENT ON FUNCTION backfill.note_alone(bigint, integer, bigint, text, jsonb)
	IS 'Keeps that a statement is begun which is no part of a transaction. Raises BF010.';

CREATE OR REPLACE FUNCTION backfill.note_look(job bigint, range integer,
	with_epoch bigint, keys jsonb, state text, text_of_it text,
	constraint_name text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.own_range(job, range, with_epoch);
	PERFORM backfill.check_length('keys', keys::text, 10000000);
	UPDATE backfill.row_errors e SET resolved_at = clock_timestamp()
	WHERE e.job_id = job AND e.resolved_at IS NULL;
	INSERT INTO backfill.row_errors (job_id, number, key, sqlstate, message,
		constraint_name)
	SELECT job, range, ARRAY(SELECT jsonb_array_elements_text(k.value)),
		left(state, 5), left(text_of_it, 1000), left(constraint_name, 1000)
	FROM jsonb_array_elements(keys) WITH ORDINALITY AS k(value, at)
	ORDER BY k.at LIMIT 100;
	PERFORM backfill.end_step(job, range, with_epoch, NULL,
		CASE WHEN jsonb_array_length(keys) = 0
			THEN '{"looked": true}'::jsonb END, false);
END
$$;
COMMENT ON FUNCTION backfill.note_look(bigint, integer, bigint, jsonb, text,
	text, text) IS
	'Keeps the keys of rows in the way, at most 100, in backfill.row_errors; of none, that there are none. Raises BF010.';

-- The runner has row_security off, by which it cannot read these tables.
CREATE OR REPLACE FUNCTION backfill.my_job(job bigint)
RETURNS backfill.jobs LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j backfill.jobs;
BEGIN
	SELECT * INTO j FROM backfill.jobs q
	WHERE q.id = job AND q.run_as = session_user;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('job %s does not run as "%s"', job, session_user);
	END IF;
	RETURN j;
END
$$;
COMMENT ON FUNCTION backfill.my_job(bigint) IS
	'The job, for its own login. Raises 42501.';

CREATE OR REPLACE FUNCTION backfill.my_notes(job bigint, range integer)
RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.my_job(job);
	RETURN (SELECT r.notes FROM backfill.ranges r
		WHERE r.job_id = job AND r.number = range);
END
$$;
COMMENT ON FUNCTION backfill.my_notes(bigint, integer) IS
	'The notes of the job''s range, for its own login. Raises 42501.';

CREATE OR REPLACE FUNCTION backfill.is_undone_in_vain(job bigint)
RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j backfill.jobs := backfill.my_job(job);
	undone bigint := j.undoes;
	r backfill.ranges;
BEGIN
	IF undone IS NULL THEN
		RETURN false;
	END IF;
	SELECT * INTO r FROM backfill.ranges s WHERE s.job_id = undone;
	-- What was cancelled may be at its last step: it lets go when that ended.
	IF EXISTS (SELECT FROM backfill.daemons d
		WHERE d.incarnation = r.owner AND d.lease_until > clock_timestamp())
	THEN
		RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
			MESSAGE = format('job %s, which is to be taken back, is still'
				' being stopped', undone);
	END IF;
	IF coalesce(r.notes->'changed', 'false') <> 'true'
		OR coalesce(r.notes->'was_so', 'false') = 'true'
	THEN
		RETURN true;
	END IF;
	IF j.kind = 'drop_column' AND r.notes ? 'column' AND EXISTS (
		SELECT FROM pg_attribute a
		WHERE a.attrelid = coalesce(j.target_oid, to_regclass(j.target))
			AND a.attname = j.object_name AND NOT a.attisdropped
			AND jsonb_build_array(a.attrelid::bigint, a.attnum)
				<> r.notes->'column')
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF036',
			MESSAGE = format('column "%s" of table %s is not the one that job'
				' %s added', j.object_name, j.target, undone),
			DETAIL = 'It, or the table, was made anew since.',
			HINT = 'Drop it by hand if it is not needed; then retry the job.';
	END IF;
	RETURN false;
END
$$;
COMMENT ON FUNCTION backfill.is_undone_in_vain(bigint) IS
	'Whether the job takes back one that changed nothing, or found what it was to make. Raises 55P03 while that one is still at work, BF036 when the column that it added is another one by now.';

CREATE OR REPLACE FUNCTION backfill.warn_step(job bigint, range integer,
	with_epoch bigint, warnings text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM backfill.own_range(job, range, with_epoch);
	INSERT INTO backfill.events (actor, job_id, event, detail)
	SELECT session_user, job, 'warning', left(warnings, 10000)
	WHERE NOT EXISTS (SELECT FROM backfill.events e
		WHERE e.job_id = job AND e.event = 'warning'
			AND e.detail = left(warnings, 10000));
END
$$;
COMMENT ON FUNCTION backfill.warn_step(bigint, integer, bigint, text) IS
	'Keeps what people should know as an event, once. Raises BF010.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.enter_step(bigint, integer, bigint, oid, boolean),
	backfill.end_step(bigint, integer, bigint, text, jsonb, boolean),
	backfill.note_alone(bigint, integer, bigint, text, jsonb),
	backfill.note_look(bigint, integer, bigint, jsonb, text, text, text),
	backfill.my_job(bigint),
	backfill.my_notes(bigint, integer),
	backfill.is_undone_in_vain(bigint),
	backfill.warn_step(bigint, integer, bigint, text)
	TO backfill_submit;

RESET ROLE;
