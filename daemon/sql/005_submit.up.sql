-- Submission: what a row of backfill.jobs must be, and who may insert it.

SET LOCAL ROLE backfill_owner;

-- The submitter's surroundings. This function alone runs under the
-- submitter's search_path, so it calls functions and operators by full name:
-- one of the submitter's own could stand in for them.
CREATE OR REPLACE FUNCTION backfill.jobs_capture()
RETURNS trigger LANGUAGE plpgsql
AS $$
DECLARE
	archive_oid pg_catalog.oid;
	archive pg_catalog.text;
	unknown pg_catalog.text;
BEGIN
	NEW.search_path := pg_catalog.array_out(
		pg_catalog.current_schemas(false));
	NEW.timezone := pg_catalog.current_setting('TimeZone');
	NEW.datestyle := pg_catalog.current_setting('DateStyle');
	-- Of blanks it would say "invalid name syntax"; jobs_check says more. The
	-- owner, who may look into nobody's schema, says which table it is.
	IF pg_catalog.int4gt(pg_catalog.length(pg_catalog.btrim(NEW.target)), 0)
		AND pg_catalog.namene(current_user, 'backfill_owner')
	THEN
		NEW.target_oid := pg_catalog.to_regclass(NEW.target);
		unknown := CASE WHEN NEW.target_oid IS NULL THEN NEW.target END;
	END IF;
	IF pg_catalog.int4gt(pg_catalog.length(
		pg_catalog.btrim(NEW.archive_table)), 0)
		AND pg_catalog.namene(current_user, 'backfill_owner')
	THEN
		archive_oid := pg_catalog.to_regclass(NEW.archive_table);
		unknown := COALESCE(unknown, CASE WHEN archive_oid IS NULL
			THEN NEW.archive_table END);
		SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
		INTO archive
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
			ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
		WHERE c.oid OPERATOR(pg_catalog.=) archive_oid
			AND c.relpersistence OPERATOR(pg_catalog.<>) 't';
		NEW.archive_table := COALESCE(archive, NEW.archive_table);
	END IF;
	-- Since version 16 to_regclass() says NULL of what is no name, too.
	IF unknown IS NOT NULL THEN
		BEGIN
			PERFORM pg_catalog.regclass(unknown);
		EXCEPTION WHEN undefined_table OR invalid_schema_name THEN
			NULL;
		END;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION backfill.jobs_capture() IS
	'Trigger: keeps the submitter''s search_path, TimeZone and DateStyle, and resolves the target and the archive table under them.';

CREATE OR REPLACE FUNCTION backfill.check_interval(
	column_name text, value interval, lowest interval, highest interval)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value < lowest OR value > highest THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('%s %s is outside the valid range (%s .. %s)',
				column_name, value, lowest, highest);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_interval(text, interval, interval, interval)
	IS 'Raises 22023 when value is outside [lowest, highest]; NULL passes.';

-- The daemon holds each text several times: one of a gigabyte would be the
-- end of it, and of everybody's jobs.
CREATE OR REPLACE FUNCTION backfill.check_length(
	column_name text, value text, longest integer)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF octet_length(value) > longest THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('%s is longer than %s bytes', column_name,
				longest),
			DETAIL = format('It has %s.', octet_length(value));
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_length(text, text, integer) IS
	'Raises 22023 when value has more than so many bytes; NULL passes.';

CREATE OR REPLACE FUNCTION backfill.check_number(
	column_name text, value bigint, lowest bigint, highest bigint)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value NOT BETWEEN lowest AND highest THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('%s %s is outside the valid range (%s .. %s)',
				column_name, value, lowest, highest);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_number(text, bigint, bigint, bigint) IS
	'Raises 22023 when value is outside [lowest, highest]; NULL passes.';

CREATE OR REPLACE FUNCTION backfill.check_word(
	column_name text, value text, words text[])
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value <> ALL (words) THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('invalid %s "%s"', column_name, value),
			HINT = format('Available values: %s.',
				array_to_string(words, ', '));
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.check_word(text, text, text[]) IS
	'Raises 22023 when value is none of the words; NULL passes.';

-- What may change while the job runs.
CREATE OR REPLACE FUNCTION backfill.jobs_check_settings()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.priority := coalesce(NEW.priority, 0);
	NEW.run_window := btrim(NEW.run_window);
	PERFORM backfill.check_window(NEW.run_window, NEW.timezone);
	PERFORM backfill.check_number('pause_after_rows', NEW.pause_after_rows,
		1, 9223372036854775807);
	PERFORM backfill.check_number('max_rows_per_second',
		NEW.max_rows_per_second, 1, 1000000000);
	PERFORM backfill.check_interval('max_replication_lag',
		NEW.max_replication_lag, '100ms', '1h');
	PERFORM backfill.check_number('batch_rows', NEW.batch_rows, 1, 1000000);
	PERFORM backfill.check_number('max_batch_rows', NEW.max_batch_rows,
		1, 1000000);
	IF NEW.batch_rows > NEW.max_batch_rows THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('batch_rows %s is greater than max_batch_rows %s',
				NEW.batch_rows, NEW.max_batch_rows);
	END IF;
	PERFORM backfill.check_interval('target_batch_time',
		NEW.target_batch_time, '10ms', '1min');
	PERFORM backfill.check_interval('lock_timeout',
		NEW.lock_timeout, '10ms', '10s');
	-- An index may take a day, and makes nobody wait.
	PERFORM backfill.check_interval('statement_timeout',
		NEW.statement_timeout, '100ms',
		CASE WHEN backfill.is_schema_kind(NEW.kind) THEN '7 days'::interval
			ELSE '1h' END);
	PERFORM backfill.check_word('synchronous_commit', NEW.synchronous_commit,
		ARRAY['off', 'local', 'remote_write', 'on', 'remote_apply']);
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION backfill.jobs_check_settings() IS
	'Trigger: refuses settings that are out of range (22023).';

-- run_as is decided here, with the rights of the caller: current_user, so
-- that a SECURITY DEFINER function of a low role that a high one calls
-- submits as the low one.
CREATE OR REPLACE FUNCTION backfill.jobs_check_run_as(run_as name,
	target_oid oid)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	role pg_roles;
	table_owner name;
	may boolean;
BEGIN
	SELECT * INTO role FROM pg_roles r WHERE r.rolname = run_as;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '42704',
			MESSAGE = format('role "%s" does not exist', run_as);
	END IF;

	IF role.rolsuper THEN
		SELECT pg_get_userbyid(c.relowner) INTO table_owner
		FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
		WHERE c.oid = target_oid AND NOT o.rolsuper;
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('a job cannot run as superuser "%s"', run_as),
			DETAIL = 'A job has the rights of its run_as, and nothing'
				' bounds those of a superuser.',
			HINT = CASE WHEN table_owner IS NULL
				THEN 'Name another role in run_as.'
				ELSE format('Name another role in run_as, such as the'
					' table''s owner "%s".', table_owner) END;
	END IF;

	-- From 16 on a member may lack the right to become the role. What takes
	-- a step back is inserted by the owner, and runs as the step did.
	may := current_user = 'backfill_owner' OR pg_has_role(current_user,
		role.oid,
		CASE WHEN current_setting('server_version_num')::integer >= 160000
			THEN 'SET' ELSE 'MEMBER' END);
	IF NOT may THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('role "%s" may not submit a job that runs as'
				' "%s"', current_user, run_as),
			HINT = format('Name a role that "%s" is a member of.',
				current_user);
	END IF;

	IF NOT role.rolcanlogin THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('role "%s" is not permitted to log in', run_as),
			DETAIL = 'A job''s batches run on a connection that logs in as'
				' its run_as.',
			HINT = 'Name a role with LOGIN.';
	END IF;

	IF role.rolreplication
		OR pg_has_role(role.oid, 'backfill_daemon', 'MEMBER')
		OR pg_has_role(role.oid, 'backfill_owner', 'MEMBER')
		OR pg_has_role(role.oid, 'pg_execute_server_program', 'MEMBER')
		OR pg_has_role(role.oid, 'pg_write_server_files', 'MEMBER')
		OR pg_has_role(role.oid, 'pg_read_server_files', 'MEMBER')
	THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('a job cannot run as "%s"', run_as),
			DETAIL = 'The role has rights beyond tables: REPLICATION, or'
				' membership in backfill_daemon, backfill_owner,'
				' pg_execute_server_program, pg_read_server_files or'
				' pg_write_server_files.',
			HINT = 'Name another role in run_as.';
	END IF;

	IF NOT pg_has_role(role.oid, 'backfill_submit', 'USAGE') THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('role "%s" may not use backfill', run_as),
			HINT = format('GRANT backfill_submit TO %I;', run_as);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.jobs_check_run_as(name, oid) IS
	'Raises 42501 or 42704 unless the caller may submit a job with this run_as.';

-- With the rights of the caller, who depends on no job that it cannot see.
-- The lock keeps prune() from removing one at this moment.
CREATE OR REPLACE FUNCTION backfill.jobs_check_depends_on(ids bigint[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing bigint;
BEGIN
	IF array_position(ids, NULL) IS NOT NULL
		OR cardinality(ids) > 100
	THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'depends_on must hold at most 100 ids of jobs',
			DETAIL = format('It has %s elements, of which %s are NULL.',
				cardinality(ids), cardinality(ids)
				- cardinality(array_remove(ids, NULL)));
	END IF;
	PERFORM FROM backfill.jobs j WHERE j.id = ANY (ids)
	FOR KEY SHARE;
	SELECT d.id INTO missing FROM unnest(ids) AS d(id)
	WHERE NOT EXISTS (SELECT FROM backfill.jobs j WHERE j.id = d.id)
	ORDER BY d.id LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF002',
			MESSAGE = format('job "%s" does not exist', missing),
			DETAIL = 'Or its run_as is a role that you may not become.',
			HINT = 'Submit the jobs of depends_on first.';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.jobs_check_depends_on(bigint[]) IS
	'Raises 22023, and BF002 when the caller can see no job with one of the ids.';

CREATE OR REPLACE FUNCTION backfill.jobs_check()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	schema_names name[];
BEGIN
	PERFORM backfill.check_kind(NEW.kind);
	IF coalesce(btrim(NEW.target), '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'a job needs a target',
			HINT = 'Name a table in column "target".';
	END IF;
	IF backfill.is_schema_kind(NEW.kind) THEN
		PERFORM backfill.jobs_check_step(NEW);
	ELSE
		PERFORM backfill.jobs_check_clauses(NEW.kind, NEW.set_clause,
			NEW.from_clause, NEW.where_clause);
		PERFORM backfill.jobs_check_no_step(NEW);
	END IF;
	PERFORM backfill.check_length('name', NEW.name, 1000);
	PERFORM backfill.check_length('target', NEW.target, 1000);
	PERFORM backfill.check_length('archive_table', NEW.archive_table, 1000);
	PERFORM backfill.check_length('plan', NEW.plan, 1000);
	PERFORM backfill.check_length('key_columns', NEW.key_columns::text, 10000);
	IF cardinality(NEW.key_columns) = 0
		OR array_position(NEW.key_columns, NULL) IS NOT NULL
	THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'key_columns must name columns',
			HINT = 'Leave it NULL to walk the primary key.';
	END IF;

	NEW.hold := coalesce(NEW.hold, false);
	NEW.dry_run := coalesce(NEW.dry_run, false);
	NEW.on_row_error := coalesce(NEW.on_row_error, 'stop');
	NEW.max_row_errors := coalesce(NEW.max_row_errors, 100);
	NEW.on_residue := coalesce(NEW.on_residue, 'report');
	PERFORM backfill.check_word('on_row_error', NEW.on_row_error,
		ARRAY['stop', 'record']);
	PERFORM backfill.check_number('max_row_errors', NEW.max_row_errors,
		0, 1000000);
	PERFORM backfill.check_word('on_residue', NEW.on_residue,
		ARRAY['report', 'fail']);

	-- Temporary schemas are the submitter's session's, not the runner's.
	schema_names := NEW.search_path::name[];
	SELECT coalesce(string_agg(quote_ident(s), ', ' ORDER BY n) || ', ', '')
		|| 'pg_temp'
	INTO NEW.search_path
	FROM unnest(schema_names) WITH ORDINALITY AS u(s, n)
	WHERE s NOT LIKE 'pg\_temp%' AND s NOT LIKE 'pg\_toast\_temp%';

	IF EXISTS (SELECT FROM pg_class c
		WHERE c.oid = NEW.target_oid AND c.relpersistence = 't')
	THEN
		RAISE EXCEPTION USING ERRCODE = '42809',
			MESSAGE = format('"%s" is a temporary table', NEW.target),
			DETAIL = 'The daemon''s session cannot see it.';
	END IF;
	-- Any other that exists is qualified by now.
	IF EXISTS (SELECT FROM pg_class c WHERE c.relpersistence = 't'
		AND c.oid = CASE WHEN current_user <> 'backfill_owner'
			THEN to_regclass(NEW.archive_table) END)
	THEN
		RAISE EXCEPTION USING ERRCODE = '42809',
			MESSAGE = format('"%s" is a temporary table',
				NEW.archive_table),
			DETAIL = 'The daemon''s session cannot see it.';
	END IF;
	SELECT format('%I.%I', n.nspname, c.relname) INTO NEW.target
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = NEW.target_oid
	UNION ALL SELECT NEW.target WHERE NEW.target_oid IS NULL;

	NEW.run_as := coalesce(NEW.run_as, current_user);
	PERFORM backfill.jobs_check_run_as(NEW.run_as, NEW.target_oid);
	-- A job that may not change the table does not keep others off it. It
	-- learns that it may not when it is run: rights may yet be granted.
	IF NOT backfill.may_change(NEW.run_as, NEW.target_oid, NEW.kind) THEN
		NEW.target_oid := NULL;
	END IF;
	IF NEW.depends_on IS NOT NULL THEN
		PERFORM backfill.jobs_check_depends_on(NEW.depends_on);
	END IF;
	IF NEW.undoes IS NOT NULL THEN
		PERFORM backfill.jobs_check_depends_on(ARRAY[NEW.undoes]);
	END IF;

	IF btrim(NEW.name) = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'name is empty',
			HINT = 'Leave it NULL for a default.';
	END IF;
	-- A command takes an id or a name: a name of digits would be both.
	IF NEW.name ~ '^[0-9]+$' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('name "%s" is a number', NEW.name),
			DETAIL = 'Commands take a job''s id or its name.';
	END IF;
	NEW.name := coalesce(NEW.name,
		format('%s %s %s', NEW.kind, NEW.target, NEW.id));

	NEW.state := 'queued';
	NEW.submitted_by := session_user;
	NEW.submitted_at := clock_timestamp();
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION backfill.jobs_check() IS
	'Trigger: refuses what cannot be a job and fills what only the system writes.';

-- Runs as the owner: a submitter cannot write these events.
CREATE OR REPLACE FUNCTION backfill.jobs_submitted()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (NEW.submitted_by, NEW.id, 'submitted',
		format('run_as %I', NEW.run_as));
	IF NEW.kind IN ('drop_column', 'drop_index') THEN
		-- For who is to approve it.
		INSERT INTO backfill.events (actor, job_id, event, detail)
		SELECT NEW.submitted_by, NEW.id, 'depends', left(d, 10000)
		FROM backfill.dropped_dependents(NEW) AS d WHERE d IS NOT NULL;
	END IF;
	-- A hint: polling finds the job without it.
	PERFORM pg_notify('backfill', '');
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION backfill.jobs_submitted() IS
	'Trigger: writes the events "submitted" and "depends" and wakes the daemons.';

CREATE OR REPLACE FUNCTION backfill.jobs_tuned()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM pg_notify('backfill', '');
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION backfill.jobs_tuned() IS
	'Trigger: wakes the daemons when a queued job may have become ready or was locked, or a held one may go on.';

-- By name: triggers fire in alphabetical order.
DROP TRIGGER IF EXISTS jobs_1_capture ON backfill.jobs;
CREATE TRIGGER jobs_1_capture BEFORE INSERT ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_capture();
DROP TRIGGER IF EXISTS jobs_2_check ON backfill.jobs;
CREATE TRIGGER jobs_2_check BEFORE INSERT ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_check();
DROP TRIGGER IF EXISTS jobs_3_check_settings ON backfill.jobs;
CREATE TRIGGER jobs_3_check_settings
	BEFORE INSERT OR UPDATE OF run_window, priority, batch_rows,
		max_batch_rows, target_batch_time, lock_timeout,
		statement_timeout, synchronous_commit, pause_after_rows,
		max_rows_per_second, max_replication_lag
	ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_check_settings();
DROP TRIGGER IF EXISTS jobs_4_submitted ON backfill.jobs;
CREATE TRIGGER jobs_4_submitted AFTER INSERT ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_submitted();
-- Of whatever may be set: a claim passes over a job that somebody has locked.
DROP TRIGGER IF EXISTS jobs_5_tuned ON backfill.jobs;
CREATE TRIGGER jobs_5_tuned
	AFTER UPDATE OF run_window, priority, batch_rows,
		max_batch_rows, target_batch_time, lock_timeout,
		statement_timeout, synchronous_commit, pause_after_rows,
		max_rows_per_second, max_replication_lag
	ON backfill.jobs
	FOR EACH STATEMENT EXECUTE FUNCTION backfill.jobs_tuned();

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
-- The triggers call these as the submitter.
GRANT EXECUTE ON FUNCTION
	backfill.check_interval(text, interval, interval, interval),
	backfill.check_length(text, text, integer),
	backfill.check_number(text, bigint, bigint, bigint),
	backfill.check_word(text, text, text[]),
	backfill.jobs_check_run_as(name, oid),
	backfill.jobs_check_depends_on(bigint[])
	TO backfill_submit;

RESET ROLE;
