-- Recipes: functions that insert the linked jobs of a plan, with the rights
-- of the caller. What they share stands here, and the recipes of columns.
--
-- A plan is the jobs with the same jobs.plan, its prefix; each depends on the
-- one before. A recipe that is called again must name the same jobs, although
-- the catalog is not what it was: half of them may be done. So what was read
-- from the catalog for the first call is taken from the jobs for the next
-- (backfill.plan_known).

SET LOCAL ROLE backfill_owner;

CREATE INDEX IF NOT EXISTS jobs_plan_idx
	ON backfill.jobs (plan) WHERE plan IS NOT NULL;

-- The search_path is an argument, whose default is read in the caller's
-- surroundings: the functions have one of their own.
CREATE OR REPLACE FUNCTION backfill.plan_table(target text, path text,
	must_exist boolean, OUT id oid, OUT name text, OUT bare text,
	OUT schema text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kind "char";
BEGIN
	PERFORM backfill.plan_check_text('target', target, true);
	PERFORM set_config('search_path', path, true);
	id := pg_catalog.to_regclass(target);
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

	SELECT c.relkind, format('%I.%I', n.nspname, c.relname), c.relname,
		n.nspname
	INTO kind, name, bare, schema
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = id;
	IF kind NOT IN ('r', 'p') THEN
		RAISE EXCEPTION USING ERRCODE = '42809',
			MESSAGE = format('"%s" is not a table', target);
	END IF;
	IF kind IS NULL AND must_exist THEN
		RAISE EXCEPTION USING ERRCODE = '42P01',
			MESSAGE = format('relation "%s" does not exist', target);
	END IF;
	IF kind IS NULL THEN
		name := target;
		bare := (parse_ident(target))[cardinality(parse_ident(target))];
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.plan_table(text, text, boolean) IS
	'The target of a plan, found under the caller''s search_path: its OID, schema.table, and both parts as in the catalog. Raises 42P01, 42809.';

CREATE OR REPLACE FUNCTION backfill.plan_column(table_id oid,
	column_name text, OUT number smallint, OUT type text,
	OUT is_not_null boolean, OUT default_text text, OUT made_by text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT a.attnum, format_type(a.atttypid, a.atttypmod)
			|| coalesce((SELECT format(' COLLATE %I.%I', n.nspname,
				c.collname) FROM pg_collation c
				JOIN pg_namespace n ON n.oid = c.collnamespace
				WHERE c.oid = a.attcollation
				AND a.attcollation <> t.typcollation), ''),
		a.attnotnull, CASE WHEN a.attgenerated = ''
			THEN pg_get_expr(d.adbin, d.adrelid) END,
		CASE WHEN a.attgenerated <> '' THEN 'a generated column'
			WHEN a.attidentity <> '' THEN 'an identity column' END
	INTO number, type, is_not_null, default_text, made_by
	FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
	LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE a.attrelid = table_id AND a.attname = column_name
		AND a.attnum > 0 AND NOT a.attisdropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '42703',
			MESSAGE = format('column "%s" of relation "%s" does not exist',
				column_name, (SELECT c.relname FROM pg_class c
					WHERE c.oid = table_id));
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.plan_column(oid, text) IS
	'A column as a definition has it: type with collation, NOT NULL, DEFAULT. Raises 42703.';

CREATE OR REPLACE FUNCTION backfill.plan_check_text(parameter text,
	value text, is_needed boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value IS NULL AND is_needed THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('%s is NULL', parameter);
	END IF;
	IF btrim(value, E' \t\n\r') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('%s is empty', parameter),
			HINT = CASE WHEN NOT is_needed
				THEN 'Leave it NULL when there is none.' ELSE '' END;
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.plan_check_text(text, text, boolean) IS
	'Raises 22023 when a parameter of a recipe is blank, or is NULL and must not be.';

CREATE OR REPLACE FUNCTION backfill.plan_object_name(stem text, suffix text)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	head text := stem;
	tail text := '_' || left(md5(stem), 8) || suffix;
BEGIN
	IF octet_length(stem || suffix) <= 63 THEN
		RETURN stem || suffix;
	END IF;
	WHILE octet_length(head || tail) > 63 LOOP
		head := left(head, -1);
	END LOOP;
	RETURN head || tail;
END
$$;
COMMENT ON FUNCTION backfill.plan_object_name(text, text) IS
	'Name of an object, at most 63 bytes; of a longer one the stem is cut, and a hash of it added.';

-- On a table of its own: a default refers to no other column, and the target
-- may be one that the caller cannot read, or is not there yet.
CREATE OR REPLACE FUNCTION backfill.plan_rewrites(type text, default_text text,
	path text)
RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	trial text := format('pg_temp.backfill_trial_%s', pg_backend_pid());
	file_before oid;
	file_after oid;
BEGIN
	BEGIN
		EXECUTE format('CREATE TEMP TABLE %s ()', trial);
		file_before := pg_relation_filenode(to_regclass(trial));
		PERFORM set_config('search_path', path, true);
		EXECUTE pg_catalog.format('ALTER TABLE %s ADD COLUMN c %s DEFAULT %s',
			trial, type, default_text);
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',
			true);
		file_after := pg_relation_filenode(to_regclass(trial));
		RAISE EXCEPTION USING ERRCODE = 'BFTRY';
	EXCEPTION WHEN SQLSTATE 'BFTRY' THEN
		RETURN file_before IS DISTINCT FROM file_after;
	END;
END
$$;
COMMENT ON FUNCTION backfill.plan_rewrites(text, text, text) IS
	'Whether a new column with this default would rewrite its table, found out by a trial that is rolled back.';

CREATE OR REPLACE FUNCTION backfill.plan_known(prefix text, word text)
RETURNS backfill.jobs LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT j FROM backfill.jobs j
	WHERE j.plan = prefix AND j.undoes IS NULL AND j.name = ANY (ARRAY(
		SELECT format('%s.%s_%s', prefix, n, word)
		FROM generate_series(1, 9) AS n))
$$;
COMMENT ON FUNCTION backfill.plan_known(text, text) IS
	'The step of a plan that was made before; NULL: there is none.';

-- What is there as yet will not be when the recipe's jobs run.
CREATE OR REPLACE FUNCTION backfill.plan_is_going(prefix text, how text,
	what text)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM backfill.jobs j
		WHERE j.plan = prefix AND j.undoes IS NOT NULL
			AND j.state IN ('queued', 'running', 'paused')
			AND j.kind = how
			AND coalesce(j.object_name, j.definition) = what)
$$;
COMMENT ON FUNCTION backfill.plan_is_going(text, text, text) IS
	'Whether an older plan of the prefix is still to be taken back by a job of this kind and object, or definition.';

CREATE OR REPLACE FUNCTION backfill.plan_differs(plan text, why text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'BF035',
		MESSAGE = format('plan "%s" exists and is another one', plan),
		DETAIL = why,
		HINT = format('Give another prefix, or take that plan back first:'
			' SELECT backfill.plan_down(%L);', plan);
END
$$;
COMMENT ON FUNCTION backfill.plan_differs(text, text) IS 'Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_compare(known backfill.jobs,
	j backfill.jobs, is_first boolean)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c text;
	has text;
	wants text;
BEGIN
	FOREACH c IN ARRAY ARRAY['plan', 'kind', 'target', 'object_name',
		'definition', 'set_clause', 'from_clause', 'where_clause',
		'archive_table', 'undo', 'undoes', 'run_as', 'depends_on']
	LOOP
		has := to_jsonb(known)->>c;
		wants := to_jsonb(j)->>c;
		-- The first one waited for what took the plan back before.
		IF has IS DISTINCT FROM wants AND NOT (is_first AND c = 'depends_on')
		THEN
			PERFORM backfill.plan_differs(j.plan, format('%s of job "%s" is'
				' %s, and not %s.', c, j.name, coalesce(has, 'NULL'),
				coalesce(wants, 'NULL')));
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION backfill.plan_compare(backfill.jobs, backfill.jobs,
	boolean) IS
	'Raises BF035 when two jobs of the same name would not do the same.';

CREATE OR REPLACE FUNCTION backfill.plan_job(j backfill.jobs, path text,
	is_first boolean, must_exist boolean, OUT id bigint, OUT is_new boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known backfill.jobs;
BEGIN
	SELECT k.* INTO known FROM backfill.jobs k WHERE k.name = j.name;
	IF known.id IS NULL AND must_exist THEN
		PERFORM backfill.plan_differs(j.plan,
			format('It has no job "%s".', j.name));
	END IF;
	is_new := known.id IS NULL;
	IF is_new THEN
		BEGIN
			-- A name in the job means what it means to the caller.
			PERFORM set_config('search_path', path, true);
			INSERT INTO backfill.jobs (name, kind, target, set_clause,
				from_clause, where_clause, archive_table, object_name,
				definition, run_as, plan, undo, hold, depends_on)
			VALUES (j.name, j.kind, j.target, j.set_clause, j.from_clause,
				j.where_clause, j.archive_table, j.object_name, j.definition,
				j.run_as, j.plan, j.undo, j.hold, j.depends_on)
			RETURNING jobs.id INTO id;
			PERFORM pg_catalog.set_config('search_path',
				'pg_catalog, pg_temp', true);
			RETURN;
		EXCEPTION WHEN unique_violation THEN
			-- Another session's call was the first, or it is a job that the
			-- caller may not see.
			is_new := false;
		END;
		SELECT k.* INTO known FROM backfill.jobs k WHERE k.name = j.name;
		IF known.id IS NULL THEN
			PERFORM backfill.plan_differs(j.plan, format('The run_as of job'
				' "%s" is a role that you may not become.', j.name));
		END IF;
	END IF;
	PERFORM backfill.plan_compare(known, j, is_first);
	id := known.id;
END
$$;
COMMENT ON FUNCTION backfill.plan_job(backfill.jobs, text, boolean, boolean)
	IS 'Inserts a step of a plan; one that exists already is only compared. Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_jobs(prefix text, target text,
	steps jsonb, run_as name, path text)
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ids bigint[] := '{}';
	step record;
	j backfill.jobs;
	made record;
	is_known boolean;
	more text;
BEGIN
	PERFORM backfill.plan_check_text('prefix', prefix, true);
	PERFORM backfill.check_length('prefix', prefix, 900);
	IF prefix ~ '^[0-9]+$' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('prefix "%s" is a number', prefix),
			DETAIL = 'Commands take a job''s id or the name of its plan.';
	END IF;

	FOR step IN SELECT s.value, s.n FROM jsonb_array_elements(steps)
		WITH ORDINALITY AS s(value, n) ORDER BY s.n
	LOOP
		j := jsonb_populate_record(NULL::backfill.jobs, step.value);
		j.name := format('%s.%s_%s', prefix, step.n, step.value->>'word');
		j.plan := prefix;
		j.target := target;
		j.hold := coalesce(j.hold, false);
		j.run_as := coalesce(run_as, current_user);
		j.depends_on := CASE WHEN step.n > 1
			THEN ARRAY[ids[step.n - 1]]
			ELSE (SELECT array_agg(u.id ORDER BY u.id) FROM backfill.jobs u
				WHERE u.plan = prefix AND u.undoes IS NOT NULL
				AND u.state IN ('queued', 'running', 'paused')) END;
		made := backfill.plan_job(j, path, step.n = 1,
			coalesce(is_known, false));
		is_known := coalesce(is_known, NOT made.is_new);
		ids := ids || made.id;
	END LOOP;

	SELECT k.name INTO more FROM backfill.jobs k
	WHERE k.plan = prefix AND k.undoes IS NULL
		AND k.depends_on = ids[cardinality(ids):]
		AND k.name LIKE '%.' || cardinality(ids) + 1 || '\_%';
	IF FOUND THEN
		PERFORM backfill.plan_differs(prefix,
			format('It has another job, "%s".', more));
	END IF;
	RETURN ids;
END
$$;
COMMENT ON FUNCTION backfill.plan_jobs(text, text, jsonb, name, text) IS
	'Inserts the steps of a plan, each depending on the one before and the first on what is still to take back an older plan of the prefix; returns their ids. Raises BF035 when a plan of the prefix has other steps.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.plan_table(text, text, boolean),
	backfill.plan_column(oid, text),
	backfill.plan_check_text(text, text, boolean),
	backfill.plan_object_name(text, text),
	backfill.plan_rewrites(text, text, text),
	backfill.plan_known(text, text),
	backfill.plan_is_going(text, text, text), backfill.plan_differs(text, text),
	backfill.plan_compare(backfill.jobs, backfill.jobs, boolean),
	backfill.plan_job(backfill.jobs, text, boolean, boolean),
	backfill.plan_jobs(text, text, jsonb, name, text)
	TO backfill_submit;

RESET ROLE;
