-- The steps of the schema kinds, carried out: each is examined, and then run.
-- All decisions are read from the catalog, so that after any crash the next
-- examination goes on from there.
--
-- These functions run with the rights of the job's login, whose own text they
-- execute.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.step_ddl(j backfill.jobs, notes jsonb,
	pieces text[])
RETURNS backfill.step LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step;
	told text := regexp_replace(btrim(pieces[1], E' \t\n\r'), '\s+', ' ', 'g');
BEGIN
	s.way := 'transaction';
	s.statements := pieces;
	s.told := CASE WHEN length(told) > 60 THEN left(told, 57) || '...'
			ELSE told END
		|| CASE WHEN cardinality(pieces) > 1
			THEN format(' (and %s more)', cardinality(pieces) - 1)
			ELSE '' END;
	s.is_last := true;
	s.is_long := false;
	s.lock_mode := 'AccessExclusiveLock';
	s.lock_tables := ARRAY[coalesce(j.target_oid, to_regclass(j.target))];
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.step_ddl(backfill.jobs, jsonb, text[]) IS
	'The only step of a job of kind ddl: all its statements, all or nothing.';

CREATE OR REPLACE FUNCTION backfill.next_step(job bigint, range integer,
	pieces text[], leaving boolean)
RETURNS backfill.step LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j backfill.jobs := backfill.my_job(job);
	notes jsonb := backfill.my_notes(job, range);
BEGIN
	IF backfill.is_undone_in_vain(job) THEN
		RETURN NULL;
	END IF;
	IF j.kind <> 'ddl' AND cardinality(pieces) > 1 THEN
		RAISE EXCEPTION USING ERRCODE = '42601',
			MESSAGE = format('definition of job %s is more than one statement',
				job),
			HINT = 'Only a job of kind "ddl" has several.';
	END IF;
	-- Of the other kinds nothing is ever half done.
	IF leaving AND j.kind NOT IN ('create_index', 'drop_index', 'reindex') THEN
		RETURN NULL;
	END IF;
	CASE j.kind
	WHEN 'add_column' THEN RETURN backfill.step_add_column(j, notes);
	WHEN 'drop_column' THEN RETURN backfill.step_drop_column(j, notes);
	WHEN 'add_check' THEN RETURN backfill.step_add_check(j, notes);
	WHEN 'add_foreign_key' THEN
		RETURN backfill.step_add_foreign_key(j, notes);
	WHEN 'validate_constraint' THEN
		RETURN backfill.step_validate_constraint(j, notes);
	WHEN 'set_not_null' THEN RETURN backfill.step_set_not_null(j, notes);
	WHEN 'create_index' THEN
		RETURN backfill.step_create_index(j, notes, leaving);
	WHEN 'drop_index' THEN
		RETURN backfill.step_drop_index(j, notes, leaving);
	WHEN 'reindex' THEN RETURN backfill.step_reindex(j, notes, leaving);
	WHEN 'ddl' THEN RETURN backfill.step_ddl(j, notes, pieces);
	END CASE;
END
$$;
COMMENT ON FUNCTION backfill.next_step(bigint, integer, text[], boolean) IS
	'What is to be done next, by the catalog; NULL: nothing. pieces: the statements of definition. leaving: only what clears away what a failed attempt left. Raises what refuses the job, and 55P03 when it has to wait.';

CREATE OR REPLACE FUNCTION backfill.examine_step(job bigint, range integer,
	with_epoch bigint, pieces text[], leaving boolean)
RETURNS TABLE (way text, told text, is_long boolean, lock_mode text,
	lock_tables oid[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step := backfill.next_step(job, range, pieces, leaving);
	j backfill.jobs := backfill.my_job(job);
	notes jsonb := backfill.my_notes(job, range);
BEGIN
	-- An index that gets the name from now on is somebody else's.
	IF leaving AND s.way IS NULL AND j.kind = 'create_index'
		AND notes ? 'attempts' AND NOT notes ? 'tree'
		AND NOT EXISTS (SELECT FROM pg_index i
			JOIN pg_class c ON c.oid = i.indexrelid
			WHERE i.indrelid = j.target_oid AND c.relname = j.object_name)
	THEN
		PERFORM backfill.end_step(job, range, with_epoch, NULL,
			'{"changed": false}', false);
	END IF;
	IF s.warnings IS NOT NULL THEN
		PERFORM backfill.warn_step(job, range, with_epoch, s.warnings);
	END IF;
	RETURN QUERY SELECT s.way, s.told, coalesce(s.is_long, false),
		s.lock_mode, array_remove(s.lock_tables, NULL);
END
$$;
COMMENT ON FUNCTION backfill.examine_step(bigint, integer, bigint, text[],
	boolean) IS
	'As next_step(), for the daemon: way is NULL when nothing is left to do. What people should know becomes an event.';

-- A job of kind ddl may mean to rewrite a table; of a large one we know
-- better.
CREATE OR REPLACE FUNCTION backfill.files_of(tables oid[], kind text)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(jsonb_object_agg(c.oid, pg_relation_filenode(c.oid)),
		'{}')
	FROM pg_class c WHERE c.oid = ANY (tables)
		AND (kind <> 'ddl' OR c.relpages > 1000)
$$;
COMMENT ON FUNCTION backfill.files_of(oid[], text) IS
	'The files, by OID, of the tables that a step may not rewrite: of ddl those of more than 1000 pages.';

-- The locks of all statements are waited for together no longer than for one,
-- and, where one is held while another is waited for, no longer than until
-- the deadlock detector of those who wait behind us wakes up.
CREATE OR REPLACE FUNCTION backfill.run_statements(j backfill.jobs,
	s backfill.step)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	budget_ms double precision := nullif(1000 * extract(epoch FROM
		current_setting('lock_timeout')::interval), 0);
	detector_ms double precision := 450 * extract(epoch FROM
		current_setting('deadlock_timeout')::interval);
	began timestamptz := clock_timestamp();
	files jsonb := backfill.files_of(s.lock_tables, j.kind);
	left_ms double precision;
	statement text;
BEGIN
	IF cardinality(s.statements) > 1 THEN
		budget_ms := least(budget_ms, detector_ms);
	END IF;
	FOREACH statement IN ARRAY s.statements LOOP
		left_ms := budget_ms
			- 1000 * extract(epoch FROM clock_timestamp() - began);
		IF left_ms <= 0 THEN
			RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
				MESSAGE = format('the statements together took longer than'
					' lock_timeout (%s ms)', budget_ms);
		END IF;
		PERFORM set_config('lock_timeout',
			coalesce(ceil(left_ms), 0)::text, true);
		PERFORM set_config('search_path', j.search_path, true);
		EXECUTE statement;
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',
			true);
	END LOOP;
	-- One that was dropped was not rewritten.
	IF EXISTS (SELECT FROM jsonb_each_text(files) f
		JOIN pg_class c ON c.oid = f.key::oid
		WHERE pg_relation_filenode(c.oid) <> f.value::oid)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'BF032',
			MESSAGE = format('%s rewrites table %s', s.told, j.target),
			DETAIL = 'Nobody could have read or written it meanwhile; the step'
				' was undone.',
			HINT = 'Add a column without it, fill it by a job, then change'
				' the default: see backfill.plan_add_column().';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.run_statements(backfill.jobs, backfill.step) IS
	'Runs the statements of a step under the submitter''s search_path. Raises 55P03 when they wait for locks longer than lock_timeout together, BF032 when they rewrite a table.';

CREATE OR REPLACE FUNCTION backfill.do_step(job bigint, range integer,
	with_epoch bigint, pieces text[], leaving boolean)
RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step := backfill.next_step(job, range, pieces, leaving);
	j backfill.jobs := backfill.my_job(job);
BEGIN
	IF s.way IS NULL THEN
		PERFORM backfill.end_step(job, range, with_epoch, NULL, NULL,
			NOT leaving);
		RETURN NOT leaving;
	ELSIF s.way <> 'transaction' THEN
		RETURN false;
	END IF;
	PERFORM backfill.run_statements(j, s);
	IF j.kind = 'add_column' THEN
		-- By its number it is known from one of the same name.
		SELECT jsonb_build_object('column', jsonb_build_array(
			a.attrelid::bigint, a.attnum)) INTO s.notes
		FROM pg_attribute a WHERE a.attrelid = backfill.step_table(j)
			AND a.attname = j.object_name AND NOT a.attisdropped;
	END IF;
	s.is_last := s.is_last AND NOT leaving;
	PERFORM backfill.end_step(job, range, with_epoch, s.told,
		coalesce(s.notes, '{}') || '{"changed": true}', s.is_last);
	RETURN s.is_last;
END
$$;
COMMENT ON FUNCTION backfill.do_step(bigint, integer, bigint, text[], boolean)
	IS 'Examines again, and runs a step that fits into the transaction; true: nothing is left to do, and the range is finished. Call it after enter_step().';

CREATE OR REPLACE FUNCTION backfill.begin_alone(job bigint, range integer,
	with_epoch bigint, pieces text[], leaving boolean)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step := backfill.next_step(job, range, pieces, leaving);
	j backfill.jobs := backfill.my_job(job);
BEGIN
	IF s.way IS DISTINCT FROM 'alone' THEN
		RETURN NULL;
	END IF;
	PERFORM backfill.note_alone(job, range, with_epoch, s.told, s.notes);
	-- For the session: this transaction ends before the statement begins. A
	-- lock_timeout would end a build while it waits for old snapshots, and
	-- leave an invalid index; who waits behind it are no readers or writers.
	-- Nobody waits for what is only cleared away for longer than a minute.
	-- So may a validation, for as long as an autovacuum takes to yield.
	PERFORM set_config('lock_timeout', CASE WHEN j.kind LIKE '%index'
		THEN '0' ELSE ceil(1000 * extract(epoch FROM greatest(
			current_setting('lock_timeout')::interval, 2 * current_setting(
			'deadlock_timeout')::interval)))::text END, false),
		set_config('statement_timeout', CASE WHEN leaving THEN '60000'
			ELSE ceil(coalesce(1000 * extract(epoch
				FROM j.statement_timeout), 0))::text END, false);
	RETURN s.statements[1];
END
$$;
COMMENT ON FUNCTION backfill.begin_alone(bigint, integer, bigint, text[],
	boolean) IS
	'Examines again, and keeps that a statement is begun which is to run outside any transaction: the caller sends it when this is committed. NULL: there is none any more.';

CREATE OR REPLACE FUNCTION backfill.look(job bigint, range integer,
	with_epoch bigint, pieces text[])
RETURNS TABLE (rows_found bigint, error_sqlstate text, error_message text,
	error_detail text, error_hint text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step := backfill.next_step(job, range, pieces, false);
	j backfill.jobs := backfill.my_job(job);
	query text;
	keys jsonb;
BEGIN
	rows_found := 0;
	IF s.way IS DISTINCT FROM 'look' THEN
		RETURN NEXT;
		RETURN;
	END IF;
	query := format('SELECT coalesce(pg_catalog.jsonb_agg('
		'pg_catalog.to_jsonb(r.key)), ''[]'') FROM (SELECT q.* FROM (%s)'
		' AS q LIMIT 101) AS r(key)', s.statements[1]);
	PERFORM set_config('search_path', j.search_path, true);
	EXECUTE query INTO keys;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

	rows_found := jsonb_array_length(keys);
	error_sqlstate := 'BF033';
	error_message := format(s.violation_message, CASE WHEN rows_found > 100
		THEN 'more than 100' ELSE rows_found::text END);
	error_detail := format('Keys: %s%s.', (SELECT string_agg(format('(%s)',
			(SELECT string_agg(coalesce(e, 'NULL'), ', ' ORDER BY n)
			FROM jsonb_array_elements_text(k.value)
				WITH ORDINALITY AS u(e, n))), ', ' ORDER BY k.at)
		FROM jsonb_array_elements(keys) WITH ORDINALITY AS k(value, at)
		WHERE k.at <= 5), CASE WHEN rows_found > 100
			THEN ', ...; the first 100 are in backfill.row_errors'
			WHEN rows_found > 5 THEN ', ...; all are in backfill.row_errors'
			ELSE '' END);
	error_hint := s.violation_hint;
	PERFORM backfill.note_look(job, range, with_epoch, keys,
		s.violation_sqlstate, error_message, j.object_name);
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION backfill.look(bigint, integer, bigint, text[]) IS
	'Looks for rows that are in the way of a constraint or unique index, and records them; with any found, returns what the job is to fail with.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.step_ddl(backfill.jobs, jsonb, text[]),
	backfill.next_step(bigint, integer, text[], boolean),
	backfill.examine_step(bigint, integer, bigint, text[], boolean),
	backfill.files_of(oid[], text),
	backfill.run_statements(backfill.jobs, backfill.step),
	backfill.do_step(bigint, integer, bigint, text[], boolean),
	backfill.begin_alone(bigint, integer, bigint, text[], boolean),
	backfill.look(bigint, integer, bigint, text[])
	TO backfill_submit;

RESET ROLE;
