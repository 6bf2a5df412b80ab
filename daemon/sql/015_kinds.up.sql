-- Submission: what each kind of job needs.

SET LOCAL ROLE backfill_owner;

-- The kinds that change the schema, not rows.
CREATE OR REPLACE FUNCTION backfill.is_schema_kind(kind text)
RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(kind IN ('add_column', 'drop_column', 'add_check',
		'add_foreign_key', 'validate_constraint', 'set_not_null',
		'create_index', 'drop_index', 'reindex', 'ddl'), false)
$$;
COMMENT ON FUNCTION backfill.is_schema_kind(text) IS
	'Whether jobs of this kind change the schema, step by step, and no rows.';

CREATE OR REPLACE FUNCTION backfill.check_kind(kind text)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF backfill.is_schema_kind(kind) OR kind IN ('update', 'delete') THEN
		RETURN;
	END IF;
	RAISE EXCEPTION USING ERRCODE = '22023',
		MESSAGE = format('unknown kind "%s"', kind),
		HINT = 'Available values: update, delete, add_column, drop_column,'
			' add_check, add_foreign_key, validate_constraint,'
			' set_not_null, create_index, drop_index, reindex, ddl.';
END
$$;
COMMENT ON FUNCTION backfill.check_kind(text) IS
	'Raises 22023 when there is no such kind.';

-- What the kind does to the table: NULL when there is no such table.
CREATE OR REPLACE FUNCTION backfill.may_change(role name, target oid,
	kind text)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN backfill.is_schema_kind(kind) THEN (SELECT pg_has_role(role,
			c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = target)
		WHEN kind = 'delete' THEN has_table_privilege(role, target, 'DELETE')
		ELSE has_any_column_privilege(role, target, 'UPDATE') END
$$;
COMMENT ON FUNCTION backfill.may_change(name, oid, text) IS
	'Whether the role has the privilege on the table that a job of this kind needs.';

CREATE OR REPLACE FUNCTION backfill.jobs_check_clauses(kind text,
	set_clause text, from_clause text, where_clause text)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	blanks CONSTANT text := E' \t\n\r';
BEGIN
	IF kind = 'delete' AND set_clause IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'a job of kind "delete" has no set_clause',
			HINT = 'Leave it NULL, or submit a job of kind "update".';
	END IF;
	IF kind = 'delete' AND coalesce(btrim(where_clause, blanks), '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'a job of kind "delete" needs a where_clause',
			HINT = 'Write true to delete all rows.';
	END IF;
	IF kind = 'update' AND coalesce(btrim(set_clause, blanks), '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'a job of kind "update" needs a set_clause',
			HINT = 'Write what follows SET, such as $$ phone = '''' $$.';
	END IF;
	IF btrim(from_clause, blanks) = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'from_clause is empty',
			HINT = 'Leave it NULL when no other table is read.';
	END IF;
	IF btrim(where_clause, blanks) = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'where_clause is empty',
			HINT = 'Leave it NULL to change all rows.';
	END IF;
	PERFORM backfill.check_length('set_clause', set_clause, 1000000);
	PERFORM backfill.check_length('from_clause', from_clause, 1000000);
	PERFORM backfill.check_length('where_clause', where_clause, 1000000);
END
$function$;
COMMENT ON FUNCTION backfill.jobs_check_clauses(text, text, text, text) IS
	'Raises 22023 when a clause is missing, blank, too long or not for this kind.';

CREATE OR REPLACE FUNCTION backfill.jobs_check_step(j backfill.jobs)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	blanks CONSTANT text := E' \t\n\r';
	of_rows text := CASE
		WHEN j.set_clause IS NOT NULL THEN 'set_clause'
		WHEN j.from_clause IS NOT NULL THEN 'from_clause'
		WHEN j.where_clause IS NOT NULL THEN 'where_clause'
		WHEN j.key_columns IS NOT NULL THEN 'key_columns'
		WHEN j.archive_table IS NOT NULL THEN 'archive_table'
		WHEN j.pause_after_rows IS NOT NULL THEN 'pause_after_rows' END;
	has_definition boolean := btrim(j.definition, blanks) <> '';
BEGIN
	IF of_rows IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('a job of kind "%s" has no %s', j.kind, of_rows),
			DETAIL = 'It changes the schema, and no rows.';
	END IF;
	IF j.dry_run THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('a job of kind "%s" cannot be a dry run', j.kind),
			HINT = 'Submit it with hold: what depends on it is in'
				' backfill.events, and it waits for approve().';
	END IF;
	IF j.kind <> 'ddl' AND coalesce(j.object_name, '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('a job of kind "%s" needs an object_name',
				j.kind),
			HINT = CASE
				WHEN j.kind LIKE '%column' OR j.kind = 'set_not_null'
				THEN 'Name the column.'
				WHEN j.kind LIKE '%index' THEN 'Name the index.'
				ELSE 'Name the constraint.' END;
	END IF;
	IF j.kind = 'ddl' AND j.object_name IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'a job of kind "ddl" has no object_name',
			HINT = 'Its definition names what it changes.';
	END IF;
	-- The server would cut it, and what it made would not be found again.
	PERFORM backfill.check_length('object_name', j.object_name, 63);
	PERFORM backfill.check_length('definition', j.definition, 1000000);
	PERFORM backfill.check_length('undo', j.undo, 1000000);

	IF j.kind IN ('drop_column', 'validate_constraint', 'drop_index',
		'reindex') AND j.definition IS NOT NULL
	THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('a job of kind "%s" has no definition', j.kind);
	END IF;
	IF j.kind IN ('add_column', 'add_check', 'add_foreign_key',
		'create_index', 'ddl') AND has_definition IS NOT TRUE
	THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('a job of kind "%s" needs a definition', j.kind),
			HINT = CASE j.kind
				WHEN 'add_column' THEN 'Write what follows the column''s'
					' name, such as: text DEFAULT ''''.'
				WHEN 'add_check' THEN 'Write: CHECK (expression).'
				WHEN 'add_foreign_key' THEN 'Write: FOREIGN KEY (column)'
					' REFERENCES table (column).'
				WHEN 'create_index' THEN 'Write what is indexed, such as:'
					' UNIQUE (email).'
				ELSE 'Write the statements, with ; between them.' END;
	END IF;
	IF j.undo IS NOT NULL AND j.kind NOT IN ('ddl', 'drop_column',
		'drop_index')
	THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('a job of kind "%s" has no undo', j.kind),
			HINT = 'plan_down() knows how to take it back.';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.jobs_check_step(backfill.jobs) IS
	'Raises 22023 when a job of the schema kinds lacks what its kind needs, or has what it does not use.';

CREATE OR REPLACE FUNCTION backfill.jobs_check_no_step(j backfill.jobs)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	of_steps text := CASE
		WHEN j.object_name IS NOT NULL THEN 'object_name'
		WHEN j.definition IS NOT NULL THEN 'definition'
		WHEN j.undo IS NOT NULL THEN 'undo'
		WHEN j.archive_table IS NOT NULL AND j.kind <> 'delete'
		THEN 'archive_table' END;
BEGIN
	IF of_steps IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('a job of kind "%s" has no %s', j.kind, of_steps),
			DETAIL = CASE WHEN of_steps = 'archive_table'
				THEN 'It deletes no rows.'
				ELSE 'It changes rows, and not the schema.' END;
	END IF;
	IF btrim(j.archive_table, E' \t\n\r') = '' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'archive_table is empty',
			HINT = 'Leave it NULL when the deleted rows are not kept.';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.jobs_check_no_step(backfill.jobs) IS
	'Raises 22023 when a job that changes rows has what only the schema kinds use, or an archive_table of no use.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
-- The triggers call these as the submitter, and begin_job as the daemon.
GRANT EXECUTE ON FUNCTION backfill.is_schema_kind(text),
	backfill.check_kind(text), backfill.may_change(name, oid, text),
	backfill.jobs_check_clauses(text, text, text, text),
	backfill.jobs_check_step(backfill.jobs),
	backfill.jobs_check_no_step(backfill.jobs)
	TO backfill_submit, backfill_daemon;
GRANT EXECUTE ON FUNCTION backfill.is_schema_kind(text) TO pg_monitor;

RESET ROLE;
