-- The recipe that renames a column while applications of both versions run.

SET LOCAL ROLE backfill_owner;

-- The old version of the application writes the old column, the new version
-- the new one, an ORM both. Who wrote which is seen by what changed.
--
--   INSERT  the column that is not NULL; the new one if neither is. (The
--           new one has no default as long as there is a trigger: its NULL
--           says that the statement did not name it, whereas the old one's
--           value may be its default.)
--   UPDATE  the column that changed; the new one if both did. If none did,
--           the row is filled if the backfill has not come to it yet.
--
-- What changed is seen by the bytes: = is not known for every type (json),
-- and calls equal what is not the same (1.0 and 1.00; of citext, a and A).
-- The backfill's own update changes the new column to the old one's value,
-- and so gives the old one the value that it has. The trigger's name comes
-- late in the alphabet, and the trigger so after those that change a value.
CREATE OR REPLACE FUNCTION backfill.plan_sync_sql(table_name text,
	schema_name text, bare text, old_name text, new_name text,
	OUT creates text, OUT drops text)
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	function_name text := format('%I.%I', schema_name,
		backfill.plan_object_name(concat_ws('_', bare, old_name, new_name),
			'_backfill_sync'));
	trigger_name text := backfill.plan_object_name('zz_' || old_name || '_'
		|| new_name, '_backfill_sync');
	body text := format($body$
DECLARE
	takes_new boolean := NEW.%2$I IS NOT NULL;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		IF record_image_ne(ROW(NEW.%2$I), ROW(OLD.%2$I)) THEN
			takes_new := true;
		ELSIF record_image_ne(ROW(NEW.%1$I), ROW(OLD.%1$I)) THEN
			takes_new := false;
		ELSIF takes_new THEN
			RETURN NEW;
		END IF;
	END IF;
	IF takes_new THEN
		NEW.%1$I := NEW.%2$I;
	ELSE
		NEW.%2$I := NEW.%1$I;
	END IF;
	RETURN NEW;
END
$body$, old_name, new_name);
BEGIN
	drops := format(E'DROP TRIGGER IF EXISTS %I ON %s;'
		'\nDROP FUNCTION IF EXISTS %s();', trigger_name, table_name,
		function_name);
	creates := format(E'CREATE OR REPLACE FUNCTION %s()'
		'\nRETURNS trigger LANGUAGE plpgsql'
		'\nSET search_path = pg_catalog, pg_temp'
		'\nAS %s;'
		'\nDROP TRIGGER IF EXISTS %I ON %s;'
		'\nCREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %s'
		'\n\tFOR EACH ROW EXECUTE FUNCTION %s();',
		function_name, CASE WHEN position('$sync$' IN body) > 0
			THEN quote_literal(body) ELSE '$sync$' || body || '$sync$' END,
		trigger_name, table_name, trigger_name, table_name, function_name);
END
$function$;
COMMENT ON FUNCTION backfill.plan_sync_sql(text, text, text, text, text) IS
	'What makes and what drops the trigger that keeps two columns the same.';

-- When the trigger is gone, nobody writes the old column any more: it must
-- not be NOT NULL. Its default goes on with the new one, and with it the
-- sequence that it draws from.
CREATE OR REPLACE FUNCTION backfill.plan_cut_sql(table_id oid,
	table_name text, old_name text, new_name text, OUT cuts text,
	OUT mends text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c record := backfill.plan_column(table_id, old_name);
BEGIN
	SELECT string_agg(format('ALTER SEQUENCE %s OWNED BY %s.%I;', s.name,
			table_name, new_name), E'\n' ORDER BY s.name),
		string_agg(format('ALTER SEQUENCE %s OWNED BY %s.%I;', s.name,
			table_name, old_name), E'\n' ORDER BY s.name)
	INTO cuts, mends
	FROM (SELECT d.objid::regclass::text AS name FROM pg_depend d
		JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
		WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'a'
		AND d.refclassid = 'pg_class'::regclass
		AND d.refobjid = table_id AND d.refobjsubid = c.number) s;
	IF c.default_text IS NOT NULL THEN
		cuts := concat_ws(E'\n', format('ALTER TABLE %s ALTER COLUMN %I'
			' SET DEFAULT %s, ALTER COLUMN %I DROP DEFAULT;', table_name,
			new_name, c.default_text, old_name), cuts);
		mends := concat_ws(E'\n', format('ALTER TABLE %s ALTER COLUMN %I'
			' SET DEFAULT %s, ALTER COLUMN %I DROP DEFAULT;', table_name,
			old_name, c.default_text, new_name), mends);
	END IF;
	IF c.is_not_null THEN
		cuts := concat_ws(E'\n', format('ALTER TABLE %s ALTER COLUMN %I'
			' DROP NOT NULL;', table_name, old_name), cuts);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.plan_cut_sql(oid, text, text, text) IS
	'What moves the default of a column to the one that takes its place, and what moves it back; NULL: nothing.';

CREATE OR REPLACE FUNCTION backfill.plan_check_rename(table_id oid,
	bare text, old_name text, new_name text, number smallint, made_by text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	uses text;
BEGIN
	IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = table_id
		AND a.attname = new_name AND NOT a.attisdropped)
	THEN
		RAISE EXCEPTION USING ERRCODE = '42701',
			MESSAGE = format('column "%s" of relation "%s" already exists',
				new_name, bare);
	END IF;
	IF made_by IS NOT NULL OR EXISTS (SELECT FROM pg_index i
		WHERE i.indrelid = table_id AND i.indisprimary
		AND number = ANY (i.indkey))
	THEN
		RAISE EXCEPTION USING ERRCODE = '0A000',
			MESSAGE = format('cannot rename column "%s" of relation "%s" in'
				' steps', old_name, bare),
			DETAIL = format('It is %s.', coalesce(made_by,
				'in the primary key'));
	END IF;
	SELECT string_agg(d, E'\n') INTO uses
	FROM backfill.dependents(table_id, old_name) AS d
	WHERE d NOT LIKE 'sequence %';
	IF uses IS NOT NULL THEN
		RAISE NOTICE USING MESSAGE = format('what uses column "%s" must be'
			' made anew for column "%s"', old_name, new_name),
			DETAIL = uses,
			HINT = 'Do so before the last steps are approved.';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.plan_check_rename(oid, text, text, text,
	smallint, text) IS
	'Raises 42701 and 0A000 when a column cannot be renamed in steps, and tells what uses it.';

CREATE OR REPLACE FUNCTION backfill.plan_rename_column(target text,
	old text, new text, sync boolean DEFAULT true,
	prefix text DEFAULT NULL, run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
	known backfill.jobs;
	c record;
	type text;
	is_not_null boolean;
	has_equality boolean;
	trig record;
	cut record;
	cuts text;
	mends text;
	step_fill jsonb;
BEGIN
	PERFORM backfill.plan_check_text('old', old, true);
	PERFORM backfill.plan_check_text('new', new, true);
	sync := coalesce(sync, true);
	prefix := coalesce(prefix, format('rename_column %s.%I', t.name, old));
	trig := backfill.plan_sync_sql(t.name, t.schema, t.bare, old, new);
	known := backfill.plan_known(prefix, 'add');
	IF known.id IS NULL THEN
		c := backfill.plan_column(t.id, old);
		PERFORM backfill.plan_check_rename(t.id, t.bare, old, new, c.number,
			c.made_by);
		type := c.type;
		is_not_null := c.is_not_null;
		has_equality := backfill.plan_has_equality(type);
		cut := backfill.plan_cut_sql(t.id, t.name, old, new);
		cuts := concat_ws(E'\n', CASE WHEN sync THEN trig.drops END,
			cut.cuts);
		mends := concat_ws(E'\n', CASE WHEN sync THEN trig.creates END,
			cut.mends);
	ELSE
		-- Another role's text, maybe: it is compared, and never run here.
		type := known.definition;
		has_equality := starts_with((backfill.plan_known(prefix,
			'fill')).where_clause, 'pg_catalog.record_image_ne(') IS NOT TRUE;
		is_not_null := (backfill.plan_known(prefix, 'not_null')).id
			IS NOT NULL;
		known := backfill.plan_known(prefix, 'cut');
		cuts := coalesce(known.definition, '');
		mends := known.undo;
	END IF;

	step_fill := jsonb_build_object('word', 'fill', 'kind', 'update',
		'set_clause', format('%I = %I', new, old), 'where_clause',
		format(CASE WHEN has_equality
			THEN '%I IS DISTINCT FROM %I'
			ELSE 'pg_catalog.record_image_ne(ROW(%I), ROW(%I))' END, new, old));
	RETURN backfill.plan_jobs(prefix, t.name,
		jsonb_build_array(jsonb_build_object('word', 'add',
			'kind', 'add_column', 'object_name', new, 'definition', type))
		|| CASE WHEN sync THEN jsonb_build_array(jsonb_build_object(
			'word', 'sync', 'kind', 'ddl', 'definition', trig.creates,
			'undo', trig.drops)) ELSE '[]'::jsonb END
		|| jsonb_build_array(step_fill)
		|| CASE WHEN is_not_null
			THEN backfill.plan_steps_not_null(t.bare, new, step_fill)
			ELSE '[]'::jsonb END
		|| CASE WHEN cuts <> '' THEN jsonb_build_array(jsonb_build_object(
			'word', 'cut', 'kind', 'ddl', 'definition', cuts,
			'undo', mends, 'hold', true)) ELSE '[]'::jsonb END
		-- The default is the cut's to give back.
		|| jsonb_build_array(jsonb_build_object('word', 'drop',
			'kind', 'drop_column', 'object_name', old, 'undo', type,
			'hold', cuts = '')),
		run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_rename_column(text, text, text, boolean,
	text, name, text) IS
	'Renames a column while applications of both versions run: a new column, which a trigger keeps the same as the old one; the rows in small batches; once it is approved, an end to the trigger and to the old column. sync false: without a trigger. Returns the ids of the jobs. Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_has_equality(type text)
RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- As the job's statement will be read, but for the operators of the
	-- submitter's own. It is not to be carried out: the CHECK of a domain is
	-- the code of whoever made it.
	EXECUTE format('SELECT NULL::%s IS DISTINCT FROM NULL::%1$s WHERE false',
		regexp_replace(type, ' COLLATE .*$', ''));
	RETURN true;
EXCEPTION WHEN undefined_function THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION backfill.plan_has_equality(text) IS
	'Whether values of a type can be compared for equality.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.plan_sync_sql(text, text, text, text, text),
	backfill.plan_cut_sql(oid, text, text, text),
	backfill.plan_check_rename(oid, text, text, text, smallint, text),
	backfill.plan_has_equality(text),
	backfill.plan_rename_column(text, text, text, boolean, text, name, text)
	TO backfill_submit;

RESET ROLE;
