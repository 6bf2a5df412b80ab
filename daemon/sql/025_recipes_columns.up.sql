-- The recipes of columns.

SET LOCAL ROLE backfill_owner;

-- NULL is what an application writes that does not know the column yet, so
-- the CHECK comes after the rows were filled, and what was written between
-- the two is filled before it is validated.
CREATE OR REPLACE FUNCTION backfill.plan_steps_not_null(bare text,
	column_name text, fill jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	check_name text := backfill.plan_object_name(bare || '_' || column_name,
		'_backfill_check');
BEGIN
	RETURN jsonb_build_array(jsonb_build_object('word', 'check',
			'kind', 'add_check', 'object_name', check_name,
			'definition', format('CHECK (%I IS NOT NULL)', column_name)))
		|| CASE WHEN fill IS NULL THEN '[]'::jsonb
			ELSE jsonb_build_array(fill || '{"word": "sweep"}') END
		|| jsonb_build_array(jsonb_build_object('word', 'validate',
			'kind', 'validate_constraint', 'object_name', check_name),
		jsonb_build_object('word', 'not_null', 'kind', 'set_not_null',
			'object_name', column_name, 'definition', check_name));
END
$$;
COMMENT ON FUNCTION backfill.plan_steps_not_null(text, text, jsonb) IS
	'The steps from filled rows to NOT NULL: a CHECK that is not valid, the fill once more, VALIDATE, SET NOT NULL.';

CREATE OR REPLACE FUNCTION backfill.plan_step_fill(column_name text,
	fill text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object('word', 'fill', 'kind', 'update',
		'set_clause', format('%I = %s', column_name, fill),
		'where_clause', format('%I IS NULL', column_name))
	WHERE fill IS NOT NULL
$$;
COMMENT ON FUNCTION backfill.plan_step_fill(text, text) IS
	'The step that fills a column where it is NULL; NULL when there is nothing to fill it with.';

-- A default that the rows do not have at once, because it would rewrite the
-- table or because they are to have another value, is set in a step of its
-- own: with ADD COLUMN they would have it, and never be NULL.
CREATE OR REPLACE FUNCTION backfill.plan_add_column(target text,
	"column" text, type text, "default" text DEFAULT NULL,
	fill text DEFAULT NULL, not_null boolean DEFAULT false,
	prefix text DEFAULT NULL, run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, false);
	added jsonb;
	set_later jsonb := '[]';
	step_fill jsonb;
BEGIN
	PERFORM backfill.plan_check_text('column', "column", true);
	PERFORM backfill.plan_check_text('type', type, true);
	PERFORM backfill.plan_check_text('default', "default");
	PERFORM backfill.plan_check_text('fill', fill);
	prefix := coalesce(prefix, format('add_column %s.%I', t.name, "column"));
	not_null := coalesce(not_null, false);
	IF not_null AND "default" IS NULL AND fill IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('column "%s" can be NOT NULL only with a default'
				' or a fill', "column"),
			DETAIL = 'The rows that are there would have NULL.',
			HINT = 'Fill it with a job of your own, and then call'
				' backfill.plan_set_not_null().';
	END IF;

	added := jsonb_build_object('word', 'add', 'kind', 'add_column',
		'object_name', "column", 'definition', type);
	IF "default" IS NOT NULL AND (fill IS NOT NULL OR CASE
		WHEN (backfill.plan_known(prefix, 'add')).id IS NOT NULL
		THEN (backfill.plan_known(prefix, 'default')).id IS NOT NULL
		ELSE backfill.plan_rewrites(type, "default", search_path) END)
	THEN
		set_later := jsonb_build_array(jsonb_build_object('word', 'default',
			'kind', 'ddl', 'definition', format('ALTER TABLE %s ALTER COLUMN'
				' %I SET DEFAULT %s', t.name, "column", "default"),
			'undo', format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT',
				t.name, "column")));
		fill := coalesce(fill, "default");
	ELSIF "default" IS NOT NULL THEN
		added := added || jsonb_build_object('definition', format('%s%s'
			' DEFAULT %s', type, CASE WHEN not_null THEN ' NOT NULL' ELSE ''
			END, "default"));
	END IF;

	step_fill := backfill.plan_step_fill("column", fill);
	RETURN backfill.plan_jobs(prefix, t.name,
		jsonb_build_array(added) || set_later
		|| CASE WHEN step_fill IS NULL THEN '[]'::jsonb
			ELSE jsonb_build_array(step_fill) END
		|| CASE WHEN not_null AND step_fill IS NOT NULL
			THEN backfill.plan_steps_not_null(t.bare, "column", step_fill)
			ELSE '[]'::jsonb END,
		run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_add_column(text, text, text, text, text,
	boolean, text, name, text) IS
	'Adds a column without rewriting the table: with a constant default at once; a volatile default and a fill (expressions) in small batches, and then NOT NULL. Returns the ids of the jobs. Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_set_not_null(target text,
	"column" text, fill text DEFAULT NULL, prefix text DEFAULT NULL,
	run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
	step_fill jsonb := backfill.plan_step_fill("column", fill);
BEGIN
	PERFORM backfill.plan_check_text('column', "column", true);
	PERFORM backfill.plan_check_text('fill', fill);
	PERFORM backfill.plan_column(t.id, "column");
	RETURN backfill.plan_jobs(coalesce(prefix, format('set_not_null %s.%I',
			t.name, "column")), t.name,
		CASE WHEN step_fill IS NULL THEN '[]'::jsonb
			ELSE jsonb_build_array(step_fill) END
		|| backfill.plan_steps_not_null(t.bare, "column", step_fill),
		run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_set_not_null(text, text, text, text, name,
	text) IS
	'Makes a column NOT NULL without reading the table under a lock that keeps others out; first fills it where it is NULL, if fill (an expression) is given. Returns the ids of the jobs. Raises BF035.';

-- A trial runs a default that is not volatile, with the caller's rights.
CREATE OR REPLACE FUNCTION backfill.plan_default_is_code_of_others(
	table_id oid, number smallint)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM pg_class c
		JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = number
		JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass
			AND d.objid = f.oid
		WHERE c.oid = table_id
			AND pg_get_userbyid(c.relowner) <> current_user
			AND d.refclassid IN ('pg_proc'::regclass,
				'pg_operator'::regclass, 'pg_type'::regclass))
$$;
COMMENT ON FUNCTION backfill.plan_default_is_code_of_others(oid, smallint) IS
	'Whether a default calls what is not the server''s own, on a table of another role.';

CREATE OR REPLACE FUNCTION backfill.plan_drop_column(target text,
	"column" text, prefix text DEFAULT NULL, run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
	known backfill.jobs;
	c record;
	is_strange boolean;
	undo text;
BEGIN
	PERFORM backfill.plan_check_text('column', "column", true);
	prefix := coalesce(prefix, format('drop_column %s.%I', t.name, "column"));
	known := backfill.plan_known(prefix, 'drop');
	undo := known.undo;
	IF known.id IS NULL THEN
		c := backfill.plan_column(t.id, "column");
		undo := c.type;
		is_strange := backfill.plan_default_is_code_of_others(t.id,
			c.number);
		-- To give it back, too, must not rewrite the table.
		IF c.made_by IS NOT NULL OR c.default_text IS NOT NULL
			AND (is_strange OR backfill.plan_rewrites(c.type,
				c.default_text, 'pg_catalog, pg_temp'))
		THEN
			RAISE NOTICE USING MESSAGE = format('plan_down() will give back'
				' column "%s" without what makes its values', "column"),
				DETAIL = coalesce('It is ' || c.made_by || '.',
					format(CASE WHEN is_strange
					THEN 'Its default, %s, is code of another role.'
					ELSE 'Its default, %s, would rewrite the table.' END,
					c.default_text));
		ELSIF c.default_text IS NOT NULL THEN
			undo := format('%s%s DEFAULT %s', c.type, CASE
				WHEN c.is_not_null THEN ' NOT NULL' ELSE '' END,
				c.default_text);
		END IF;
	END IF;
	RETURN backfill.plan_jobs(prefix, t.name,
		jsonb_build_array(jsonb_build_object('word', 'drop',
			'kind', 'drop_column', 'object_name', "column", 'undo', undo,
			'hold', true)), run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_drop_column(text, text, text, name, text) IS
	'Drops a column once it is approved; the event "depends" lists what uses it. plan_down() gives it back empty. Returns the ids of the jobs. Raises BF035.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.plan_steps_not_null(text, text, jsonb),
	backfill.plan_step_fill(text, text),
	backfill.plan_add_column(text, text, text, text, text, boolean, text,
		name, text),
	backfill.plan_set_not_null(text, text, text, text, name, text),
	backfill.plan_default_is_code_of_others(oid, smallint),
	backfill.plan_drop_column(text, text, text, name, text)
	TO backfill_submit;

RESET ROLE;
