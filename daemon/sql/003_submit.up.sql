-- Submission: what a row of backfill.jobs must be, who may insert it and
-- who may see it.

SET LOCAL ROLE backfill_owner;

-- SQLSTATEs of our own, class BF, in one place:
--   BF002 no such job         BF003 not possible in this state
--   BF010 stale epoch         BF011 paused, cancelled or stopped
--   BF012 counts of a batch do not add up
--   BF013 too many held rows  BF014 row locked and still not updated
--   BF020 no usable key       BF021 SET of a key column
--   BF022 table or key redefined in mid-job
--   BF023 rows held beyond hole_timeout
--   BF024 given back for the same reason ten times within a minute

-- Whether current_user may see and steer what run_as may do. A role that
-- was dropped is nobody's.
CREATE OR REPLACE FUNCTION backfill.may_steer(run_as name)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_has_role('backfill_admin', 'MEMBER')
		OR coalesce((SELECT pg_has_role(r.oid, 'MEMBER')
			FROM pg_roles r WHERE r.rolname = run_as), false)
$$;
COMMENT ON FUNCTION backfill.may_steer(name) IS
	'Whether the caller may see and steer jobs of this run_as: a member of it, or of backfill_admin.';

CREATE OR REPLACE FUNCTION backfill.may_see(run_as name)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT backfill.may_steer(run_as)
		OR pg_has_role('pg_monitor', 'MEMBER')
$$;
COMMENT ON FUNCTION backfill.may_see(name) IS
	'Whether the caller may see jobs of this run_as in the views: who may steer them, and pg_monitor.';

-- The submitter's surroundings. This function alone runs under the
-- submitter's search_path, so it calls functions by full name and uses no
-- operator: one of the submitter's own could stand in for it.
CREATE OR REPLACE FUNCTION backfill.jobs_capture()
RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	NEW.search_path := pg_catalog.array_out(
		pg_catalog.current_schemas(false));
	NEW.timezone := pg_catalog.current_setting('TimeZone');
	NEW.datestyle := pg_catalog.current_setting('DateStyle');
	-- Of blanks it would say "invalid name syntax"; jobs_check says more.
	IF pg_catalog.int4gt(pg_catalog.length(pg_catalog.btrim(NEW.target)), 0)
	THEN
		NEW.target_oid := pg_catalog.to_regclass(NEW.target);
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION backfill.jobs_capture() IS
	'Trigger: keeps the submitter''s search_path, TimeZone and DateStyle, and resolves the target under them.';

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

-- What may change while the job runs.
CREATE OR REPLACE FUNCTION backfill.jobs_check_settings()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NEW.batch_rows NOT BETWEEN 1 AND 1000000 THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('batch_rows %s is outside the valid range'
				' (1 .. 1000000)', NEW.batch_rows);
	END IF;
	IF NEW.max_batch_rows NOT BETWEEN 1 AND 1000000 THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('max_batch_rows %s is outside the valid range'
				' (1 .. 1000000)', NEW.max_batch_rows);
	END IF;
	IF NEW.batch_rows > NEW.max_batch_rows THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('batch_rows %s is greater than max_batch_rows %s',
				NEW.batch_rows, NEW.max_batch_rows);
	END IF;
	PERFORM backfill.check_interval('target_batch_time',
		NEW.target_batch_time, '10ms', '1min');
	PERFORM backfill.check_interval('lock_timeout',
		NEW.lock_timeout, '10ms', '10s');
	PERFORM backfill.check_interval('statement_timeout',
		NEW.statement_timeout, '100ms', '1h');
	IF NEW.synchronous_commit NOT IN
		('off', 'local', 'remote_write', 'on', 'remote_apply')
	THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('invalid synchronous_commit "%s"',
				NEW.synchronous_commit),
			HINT = 'Available values: off, local, remote_write, on,'
				' remote_apply.';
	END IF;
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

	-- From 16 on a member may lack the right to become the role.
	may := pg_has_role(current_user, role.oid,
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

CREATE OR REPLACE FUNCTION backfill.jobs_check()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	schema_names name[];
BEGIN
	IF NEW.kind IS DISTINCT FROM 'update' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('unknown kind "%s"', NEW.kind),
			HINT = 'Available values: update.';
	END IF;
	IF coalesce(btrim(NEW.target), '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'a job needs a target',
			HINT = 'Name a table in column "target".';
	END IF;
	IF coalesce(btrim(NEW.set_clause, E' \t\n\r'), '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'a job of kind "update" needs a set_clause',
			HINT = 'Write what follows SET, such as $$ phone = '''' $$.';
	END IF;
	IF btrim(NEW.where_clause, E' \t\n\r') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'where_clause is empty',
			HINT = 'Leave it NULL to change all rows.';
	END IF;
	PERFORM backfill.check_length('name', NEW.name, 1000);
	PERFORM backfill.check_length('target', NEW.target, 1000);
	PERFORM backfill.check_length('set_clause', NEW.set_clause, 1000000);
	PERFORM backfill.check_length('where_clause', NEW.where_clause, 1000000);
	PERFORM backfill.check_length('key_columns', NEW.key_columns::text, 10000);
	IF cardinality(NEW.key_columns) = 0
		OR array_position(NEW.key_columns, NULL) IS NOT NULL
	THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'key_columns must name columns',
			HINT = 'Leave it NULL to walk the primary key.';
	END IF;

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
	SELECT format('%I.%I', n.nspname, c.relname) INTO NEW.target
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = NEW.target_oid
	UNION ALL SELECT NEW.target WHERE NEW.target_oid IS NULL;

	NEW.run_as := coalesce(NEW.run_as, current_user);
	PERFORM backfill.jobs_check_run_as(NEW.run_as, NEW.target_oid);
	-- A job that may not change the table does not keep others off it. It
	-- learns that it may not when it is run: rights may yet be granted.
	IF NOT has_any_column_privilege(NEW.run_as, NEW.target_oid, 'UPDATE') THEN
		NEW.target_oid := NULL;
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
$function$;
COMMENT ON FUNCTION backfill.jobs_check() IS
	'Trigger: refuses what cannot be a job and fills what only the system writes.';

-- Runs as the owner: a submitter cannot write this event.
CREATE OR REPLACE FUNCTION backfill.jobs_submitted()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO backfill.events (actor, job_id, event, detail)
	VALUES (NEW.submitted_by, NEW.id, 'submitted',
		format('run_as %I', NEW.run_as));
	-- A hint: polling finds the job without it.
	PERFORM pg_notify('backfill', '');
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION backfill.jobs_submitted() IS
	'Trigger: writes the event "submitted" and wakes the daemons.';

-- By name: triggers fire in alphabetical order.
DROP TRIGGER IF EXISTS jobs_1_capture ON backfill.jobs;
CREATE TRIGGER jobs_1_capture BEFORE INSERT ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_capture();
DROP TRIGGER IF EXISTS jobs_2_check ON backfill.jobs;
CREATE TRIGGER jobs_2_check BEFORE INSERT ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_check();
DROP TRIGGER IF EXISTS jobs_3_check_settings ON backfill.jobs;
CREATE TRIGGER jobs_3_check_settings
	BEFORE INSERT OR UPDATE OF batch_rows, max_batch_rows,
		target_batch_time, lock_timeout, statement_timeout,
		synchronous_commit
	ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_check_settings();
DROP TRIGGER IF EXISTS jobs_4_submitted ON backfill.jobs;
CREATE TRIGGER jobs_4_submitted AFTER INSERT ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_submitted();

-- Column by column: what only the system writes is not granted.
GRANT SELECT,
	INSERT (name, kind, target, set_clause, where_clause, key_columns,
		run_as, batch_rows, max_batch_rows, target_batch_time,
		lock_timeout, statement_timeout, synchronous_commit),
	UPDATE (batch_rows, max_batch_rows, target_batch_time, lock_timeout,
		statement_timeout, synchronous_commit)
	ON backfill.jobs TO backfill_submit;
GRANT SELECT ON backfill.ranges, backfill.holes, backfill.events
	TO backfill_submit;
GRANT SELECT ON backfill.stop TO backfill_submit, backfill_daemon, pg_monitor;
-- Whether any daemon is alive is for everybody who waits for one.
GRANT SELECT ON backfill.daemons TO backfill_submit, pg_monitor;
GRANT SELECT, UPDATE, INSERT ON backfill.jobs, backfill.ranges,
	backfill.daemons TO backfill_daemon;
GRANT SELECT, INSERT ON backfill.events TO backfill_daemon;
GRANT SELECT ON backfill.holes TO backfill_daemon;

ALTER TABLE backfill.jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfill.ranges ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfill.holes ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfill.events ENABLE ROW LEVEL SECURITY;

-- CREATE POLICY has no OR REPLACE.
DROP POLICY IF EXISTS jobs_daemon ON backfill.jobs;
DROP POLICY IF EXISTS jobs_insert ON backfill.jobs;
DROP POLICY IF EXISTS jobs_see ON backfill.jobs;
DROP POLICY IF EXISTS jobs_tune ON backfill.jobs;
DROP POLICY IF EXISTS ranges_daemon ON backfill.ranges;
DROP POLICY IF EXISTS ranges_see ON backfill.ranges;
DROP POLICY IF EXISTS holes_daemon ON backfill.holes;
DROP POLICY IF EXISTS holes_see ON backfill.holes;
DROP POLICY IF EXISTS events_daemon ON backfill.events;
DROP POLICY IF EXISTS events_see ON backfill.events;

CREATE POLICY jobs_daemon ON backfill.jobs TO backfill_daemon
	USING (true) WITH CHECK (true);
-- The trigger jobs_check decides.
CREATE POLICY jobs_insert ON backfill.jobs FOR INSERT TO backfill_submit
	WITH CHECK (true);
CREATE POLICY jobs_see ON backfill.jobs FOR SELECT TO backfill_submit
	USING (backfill.may_steer(run_as));
CREATE POLICY jobs_tune ON backfill.jobs FOR UPDATE TO backfill_submit
	USING (backfill.may_steer(run_as));
CREATE POLICY ranges_daemon ON backfill.ranges TO backfill_daemon
	USING (true) WITH CHECK (true);
CREATE POLICY ranges_see ON backfill.ranges FOR SELECT TO backfill_submit
	USING (EXISTS (SELECT FROM backfill.jobs j WHERE j.id = job_id));
CREATE POLICY holes_daemon ON backfill.holes TO backfill_daemon
	USING (true) WITH CHECK (true);
CREATE POLICY holes_see ON backfill.holes FOR SELECT TO backfill_submit
	USING (EXISTS (SELECT FROM backfill.jobs j WHERE j.id = job_id));
CREATE POLICY events_daemon ON backfill.events TO backfill_daemon
	USING (true) WITH CHECK (true);
CREATE POLICY events_see ON backfill.events FOR SELECT TO backfill_submit
	USING (job_id IS NULL
		OR EXISTS (SELECT FROM backfill.jobs j WHERE j.id = job_id));

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.may_steer(name), backfill.may_see(name)
	TO backfill_submit, backfill_daemon, pg_monitor;
GRANT EXECUTE ON FUNCTION backfill.check_interval(text, interval, interval,
	interval), backfill.check_length(text, text, integer),
	backfill.jobs_check_run_as(name, oid)
	TO backfill_submit;

RESET ROLE;
