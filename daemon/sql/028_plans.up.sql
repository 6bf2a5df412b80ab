-- Plans: what their jobs are, what their objects are used by, and how they
-- are taken back.
--
-- A step is taken back by a request like those of sql/006, the event "take_back":
-- its trigger, as the owner, cancels the step if it is open, gives it another
-- name, and inserts the job that takes it back. So an admin, who may become
-- none of the roles, can take back a plan, and do nothing else in their name:
-- what is done comes from the step alone.
--
-- An undo job has the plan's prefix and undoes, the step's id. It is not taken
-- back itself. The steps are called "name (undone id)" from then on: their
-- names are free, and the same recipe begins anew.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.dependents(target regclass,
	"column" text DEFAULT NULL)
RETURNS SETOF text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c record;
	number smallint;
BEGIN
	IF "column" IS NOT NULL THEN
		c := backfill.plan_column(target, "column");
		number := c.number;
	END IF;
	RETURN QUERY
	WITH known AS (
		SELECT DISTINCT d.classid, d.objid, d.objsubid FROM pg_depend d
		WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = target
			AND d.refobjsubid = coalesce(number, d.refobjsubid)
			AND d.deptype IN ('n', 'a')),
	words AS (
		SELECT '(^|\W)' || regexp_replace(n, '(\W)', '\\\1', 'g') || '($|\W)'
			AS word
		FROM unnest(ARRAY[(SELECT k.relname FROM pg_class k
			WHERE k.oid = target), "column"]) AS n)
	SELECT CASE WHEN k.classid = 'pg_rewrite'::regclass
			THEN pg_describe_object('pg_class'::regclass, (SELECT r.ev_class
				FROM pg_rewrite r WHERE r.oid = k.objid), 0)
		WHEN k.classid = 'pg_attrdef'::regclass
		THEN 'generated ' || pg_describe_object('pg_class'::regclass,
			target, (SELECT f.adnum FROM pg_attrdef f
				WHERE f.oid = k.objid))
		-- Before version 15 it depends by itself.
		WHEN k.classid = 'pg_class'::regclass AND EXISTS (
			SELECT FROM pg_attribute a WHERE a.attrelid = k.objid
			AND a.attnum = k.objsubid AND a.attgenerated <> '')
		THEN 'generated ' || pg_describe_object(k.classid, k.objid, k.objsubid)
		ELSE pg_describe_object(k.classid, k.objid, k.objsubid) END AS told
	FROM known k
	WHERE NOT (k.classid = 'pg_attrdef'::regclass AND EXISTS (
			SELECT FROM pg_attrdef f WHERE f.oid = k.objid
			AND f.adnum = coalesce(number, f.adnum)))
		AND NOT (k.classid = 'pg_constraint'::regclass AND EXISTS (
			SELECT FROM pg_constraint f WHERE f.oid = k.objid
			AND f.contype = 'n'))
	UNION
	SELECT format('replica identity of table %s', i.indrelid::regclass)
	FROM pg_index i WHERE i.indexrelid = target AND i.indisreplident
	UNION
	-- Of a body that is text, the server knows nothing.
	SELECT format('function %s may use it', p.oid::regprocedure)
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE "column" IS NOT NULL
		AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'backfill')
		AND p.prosrc ~* ALL (SELECT w.word FROM words w)
	ORDER BY told;
END
$$;
COMMENT ON FUNCTION backfill.dependents(regclass, text) IS
	'What depends on a column, or on a table or an index: views, indexes, constraints, triggers, policies and all that PostgreSQL knows of; and functions whose text names both table and column.';

-- The owner may look into nobody's schema by name.
CREATE OR REPLACE FUNCTION backfill.table_named(name text)
RETURNS oid LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE format('%I.%I', n.nspname, c.relname) = name
$$;
COMMENT ON FUNCTION backfill.table_named(text) IS
	'OID of schema.table, whether or not the caller may use the schema.';

CREATE OR REPLACE FUNCTION backfill.dropped_dependents(j backfill.jobs)
RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_id oid := backfill.table_named(j.target);
	uses text;
BEGIN
	SELECT coalesce((SELECT string_agg(d, E'\n')
		FROM backfill.dependents(x.id, x.column_name) AS d),
		'nothing that PostgreSQL knows of')
	INTO uses
	FROM (SELECT a.attrelid AS id, a.attname::text AS column_name
		FROM pg_attribute a
		WHERE j.kind = 'drop_column' AND a.attrelid = table_id
			AND a.attname = j.object_name AND a.attnum > 0
			AND NOT a.attisdropped
		UNION ALL
		SELECT c.oid, NULL FROM pg_index i
		JOIN pg_class c ON c.oid = i.indexrelid
		WHERE j.kind = 'drop_index' AND i.indrelid = table_id
			AND c.relname = j.object_name) x;
	RETURN uses;
END
$$;
COMMENT ON FUNCTION backfill.dropped_dependents(backfill.jobs) IS
	'What depends on the column or index that a job is to drop; NULL: it drops none, or there is none of the name.';

CREATE OR REPLACE FUNCTION backfill.is_undone(j backfill.jobs)
RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT right(j.name, length(format(' (undone %s)', j.id)))
		= format(' (undone %s)', j.id)
$$;
COMMENT ON FUNCTION backfill.is_undone(backfill.jobs) IS
	'Whether the step of a plan was taken back.';

CREATE OR REPLACE FUNCTION backfill.plan(job text)
RETURNS TABLE (step integer, id bigint, name text, kind text, target text,
	state text, reason text, hold boolean, depends_on bigint[],
	started_at timestamptz, finished_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	-- A job depends on jobs that were there before it: their ids are lower.
	RETURN QUERY
	WITH RECURSIVE graph AS (
		SELECT j.id FROM backfill.jobs j
		WHERE j.name = plan.job OR j.id::text = plan.job OR j.plan = plan.job
		UNION
		SELECT n.id FROM graph g JOIN backfill.jobs m ON m.id = g.id
		JOIN backfill.jobs n ON n.plan = m.plan OR n.id = ANY (m.depends_on)
			OR m.id = ANY (n.depends_on))
	SELECT row_number() OVER (ORDER BY j.id)::integer, j.id, j.name, j.kind,
		j.target, j.state, j.reason, j.hold, j.depends_on, j.started_at,
		j.finished_at
	FROM graph g JOIN backfill.jobs j ON j.id = g.id
	ORDER BY j.id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF002',
			MESSAGE = format('job or plan "%s" does not exist', plan.job),
			DETAIL = 'Or its run_as is a role that you may not become.';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.plan(text) IS
	'The jobs that belong together, of a plan or of a job''s id or name: those of the same plan, and all that are linked by depends_on, each after what it depends on. Raises BF002.';

CREATE OR REPLACE FUNCTION backfill.plan(job bigint)
RETURNS TABLE (step integer, id bigint, name text, kind text, target text,
	state text, reason text, hold boolean, depends_on bigint[],
	started_at timestamptz, finished_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS 'SELECT * FROM backfill.plan($1::text)';
COMMENT ON FUNCTION backfill.plan(bigint) IS 'The same by id.';

-- An update that copied a column into another one (a rename) is taken back by
-- the copy the other way once a later step has begun that ends the writing of
-- both: until then both are the same, or the new one is not filled yet.
CREATE OR REPLACE FUNCTION backfill.undo_of_copy(j backfill.jobs)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('%I = %I', d.object_name, a.object_name)
	FROM backfill.jobs a JOIN backfill.jobs d USING (plan, run_as)
	WHERE a.plan = j.plan AND a.run_as = j.run_as
		AND a.kind = 'add_column' AND NOT backfill.is_undone(a)
		AND d.kind = 'drop_column' AND d.undoes IS NULL
		AND j.set_clause = format('%I = %I', a.object_name, d.object_name)
		AND NOT EXISTS (SELECT FROM backfill.jobs e
			WHERE e.plan = j.plan AND e.run_as = j.run_as AND e.id < j.id
			AND e.set_clause = j.set_clause AND NOT backfill.is_undone(e))
		AND EXISTS (SELECT FROM backfill.jobs e
			WHERE e.plan = j.plan AND e.run_as = j.run_as AND e.id > j.id
			AND e.undoes IS NULL AND e.kind IN ('ddl', 'drop_column')
			AND e.started_at IS NOT NULL)
	LIMIT 1
$$;
COMMENT ON FUNCTION backfill.undo_of_copy(backfill.jobs) IS
	'The set_clause that gives a renamed column its values back; NULL: it has them, or this is no such update.';

CREATE OR REPLACE FUNCTION backfill.undo_of(j backfill.jobs)
RETURNS backfill.jobs LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u backfill.jobs;
	set_back text;
BEGIN
	u.target := j.target;
	IF j.kind IN ('ddl', 'drop_column', 'drop_index') AND j.undo IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'BF036',
			MESSAGE = format('job %s (%s) cannot be taken back', j.id, j.name),
			DETAIL = 'It was submitted without undo.',
			HINT = 'Take it back by hand; its plan''s open jobs can be'
				' cancelled with backfill.cancel_plan().';
	END IF;
	CASE j.kind
	WHEN 'add_column' THEN
		u.kind := 'drop_column';
		u.object_name := j.object_name;
	WHEN 'drop_column' THEN
		u.kind := 'add_column';
		u.object_name := j.object_name;
		u.definition := j.undo;
	WHEN 'create_index' THEN
		u.kind := 'drop_index';
		u.object_name := j.object_name;
	WHEN 'drop_index' THEN
		u.kind := 'create_index';
		u.object_name := j.object_name;
		u.definition := j.undo;
	WHEN 'add_check', 'add_foreign_key' THEN
		u.kind := 'ddl';
		u.definition := format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I',
			j.target, j.object_name);
	WHEN 'set_not_null' THEN
		u.kind := 'ddl';
		u.definition := format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL',
			j.target, j.object_name);
	WHEN 'ddl' THEN
		u.kind := 'ddl';
		u.definition := j.undo;
	WHEN 'delete' THEN
		IF j.archive_table IS NOT NULL THEN
			u.kind := 'delete';
			u.target := j.archive_table;
			u.archive_table := j.target;
			u.where_clause := 'true';
		END IF;
	WHEN 'update' THEN
		set_back := backfill.undo_of_copy(j);
		IF set_back IS NOT NULL THEN
			u.kind := 'update';
			u.set_clause := set_back;
			u.where_clause := j.where_clause;
		END IF;
	ELSE
		NULL;
	END CASE;
	RETURN u;
END
$$;
COMMENT ON FUNCTION backfill.undo_of(backfill.jobs) IS
	'The job that takes a step back; its kind is NULL when none is needed. Raises BF036.';

-- Called by events_act, as the owner; the job's row is locked.
CREATE OR REPLACE FUNCTION backfill.undo_job(job bigint, actor name,
	as_role name)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j backfill.jobs;
	u backfill.jobs;
	after bigint;
	undo_id bigint;
BEGIN
	SELECT k.* INTO j FROM backfill.jobs k WHERE k.id = job;
	IF j.plan IS NULL OR j.undoes IS NOT NULL OR backfill.is_undone(j) THEN
		RAISE NOTICE 'job % is no step of a plan, or is taken back', job;
		RETURN;
	END IF;
	as_role := coalesce(as_role, j.run_as);
	IF as_role <> j.run_as AND NOT coalesce((SELECT pg_has_role(actor, r.oid,
		CASE WHEN current_setting('server_version_num')::integer >= 160000
			THEN 'SET' ELSE 'MEMBER' END)
		FROM pg_roles r WHERE r.rolname = as_role), false)
	THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('role "%s" may not submit a job that runs as'
				' "%s"', actor, as_role),
			HINT = format('Name a role that "%s" is a member of.', actor);
	END IF;

	-- What is committing now is waited for: it is there, or will not be.
	PERFORM FROM backfill.ranges r WHERE r.job_id = job FOR NO KEY UPDATE;
	IF j.started_at IS NOT NULL THEN
		u := backfill.undo_of(j);
	END IF;
	UPDATE backfill.jobs k SET name = format('%s (undone %s)', k.name, k.id),
		state = CASE WHEN k.state = 'succeeded' THEN k.state
			ELSE 'cancelled' END,
		reason = 'taken back by ' || actor,
		finished_at = coalesce(k.finished_at, clock_timestamp())
	WHERE k.id = job;
	IF u.kind IS NULL THEN
		RETURN;
	END IF;

	SELECT max(k.id) INTO after
	FROM backfill.jobs k JOIN backfill.jobs d ON d.id = k.undoes
	WHERE k.plan = j.plan AND d.run_as = j.run_as
		AND k.state IN ('queued', 'running', 'paused');
	INSERT INTO backfill.jobs (name, kind, target, target_oid, set_clause,
		where_clause, archive_table, object_name, definition, run_as, plan,
		undoes, depends_on)
	VALUES (format('%s.undo%s', j.name, j.id), u.kind, u.target,
		backfill.table_named(u.target), u.set_clause, u.where_clause,
		u.archive_table, u.object_name, u.definition, as_role, j.plan, j.id,
		CASE WHEN after IS NOT NULL THEN ARRAY[after] END)
	RETURNING id INTO undo_id;
	-- What its texts mean, they mean to who submitted the step.
	UPDATE backfill.jobs k SET search_path = j.search_path,
		timezone = j.timezone, datestyle = j.datestyle
	WHERE k.id = undo_id;
END
$$;
COMMENT ON FUNCTION backfill.undo_job(bigint, name, name) IS
	'What the request "take_back" does to a step of a plan. Raises BF036, 42501.';

CREATE OR REPLACE FUNCTION backfill.plan_down(plan text,
	run_as name DEFAULT NULL)
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	j backfill.jobs;
	undone bigint[] := '{}';
	ids bigint[];
BEGIN
	IF NOT EXISTS (SELECT FROM backfill.jobs k WHERE k.plan = plan) THEN
		RAISE EXCEPTION USING ERRCODE = 'BF002',
			MESSAGE = format('plan "%s" does not exist', plan),
			DETAIL = 'Or its run_as is a role that you may not become.';
	END IF;
	FOR j IN SELECT k.* FROM backfill.jobs k
		WHERE k.plan = plan AND k.undoes IS NULL
			AND NOT backfill.is_undone(k)
		ORDER BY k.id DESC
	LOOP
		INSERT INTO backfill.events (job_id, event, detail)
		VALUES (j.id, 'take_back', run_as);
		undone := undone || j.id;
		IF j.kind = 'delete' AND j.archive_table IS NULL
			AND j.started_at IS NOT NULL
		THEN
			RAISE NOTICE USING MESSAGE = format('rows of table %s that job %s'
				' has deleted are gone', j.target, j.id),
				DETAIL = 'It had no archive.';
		ELSIF j.kind = 'drop_column' AND j.started_at IS NOT NULL THEN
			RAISE NOTICE USING MESSAGE = format('column "%s" of table %s, if'
				' job %s has dropped it, comes back without its values',
				j.object_name, j.target, j.id),
				DETAIL = 'But for those that the plan copied from it.';
		END IF;
	END LOOP;
	SELECT array_agg(k.id ORDER BY k.id) INTO ids
	FROM backfill.jobs k WHERE k.undoes = ANY (undone);
	IF undone = '{}' THEN
		-- Called again: what the last call inserted.
		WITH RECURSIVE chain AS (
			(SELECT k.id, k.depends_on FROM backfill.jobs k
			WHERE k.plan = plan AND k.undoes IS NOT NULL
			ORDER BY k.id DESC LIMIT 1)
			UNION ALL
			SELECT k.id, k.depends_on
			FROM chain c JOIN backfill.jobs k ON k.id = c.depends_on[1]
			WHERE k.undoes IS NOT NULL)
		SELECT array_agg(c.id ORDER BY c.id) INTO ids FROM chain c;
	END IF;
	RETURN coalesce(ids, '{}');
END
$$;
COMMENT ON FUNCTION backfill.plan_down(text, name) IS
	'Takes a plan back: cancels its open jobs, and inserts a job for each step that was begun, the last first; the same recipe then begins anew. run_as: of these jobs; NULL: that of each step. Returns their ids. Raises BF002, BF036.';

CREATE OR REPLACE FUNCTION backfill.cancel_plan(plan text,
	reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	IF NOT EXISTS (SELECT FROM backfill.jobs k WHERE k.plan = plan) THEN
		RAISE EXCEPTION USING ERRCODE = 'BF002',
			MESSAGE = format('plan "%s" does not exist', plan),
			DETAIL = 'Or its run_as is a role that you may not become.';
	END IF;
	INSERT INTO backfill.events (job_id, event, detail)
	SELECT k.id, 'cancel', nullif(btrim(reason), '') FROM backfill.jobs k
	WHERE k.plan = plan AND k.state IN ('queued', 'running', 'paused')
	ORDER BY k.id DESC;
	PERFORM backfill.tell_plan_down(plan);
END
$$;
COMMENT ON FUNCTION backfill.cancel_plan(text, text) IS
	'Cancels the open jobs of a plan; what was done stays. Raises BF002.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.dependents(regclass, text),
	backfill.is_undone(backfill.jobs), backfill.plan(text),
	backfill.plan(bigint), backfill.plan_down(text, name),
	backfill.cancel_plan(text, text)
	TO backfill_submit;

RESET ROLE;
