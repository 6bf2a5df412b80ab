-- The recipes of constraints, indexes, statements and deleted rows.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.plan_add_check(target text, name text,
	expression text, repair text DEFAULT NULL, prefix text DEFAULT NULL,
	run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
	mend jsonb := jsonb_build_object('word', 'fill', 'kind', 'update',
		'set_clause', repair,
		'where_clause', format('NOT (%s)', expression));
BEGIN
	PERFORM backfill.plan_check_text('name', name, true);
	PERFORM backfill.plan_check_text('expression', expression, true);
	PERFORM backfill.plan_check_text('repair', repair);
	RETURN backfill.plan_jobs(coalesce(prefix, format('add_check %s.%I',
			t.name, name)), t.name,
		CASE WHEN repair IS NULL THEN '[]'::jsonb
			ELSE jsonb_build_array(mend) END
		|| jsonb_build_array(jsonb_build_object('word', 'check',
			'kind', 'add_check', 'object_name', name,
			'definition', format('CHECK (%s)', expression)))
		|| CASE WHEN repair IS NULL THEN '[]'::jsonb
			ELSE jsonb_build_array(mend || '{"word": "sweep"}') END
		|| jsonb_build_array(jsonb_build_object('word', 'validate',
			'kind', 'validate_constraint', 'object_name', name)),
		run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_add_check(text, text, text, text, text,
	name, text) IS
	'Adds a CHECK without reading the table under a lock that keeps others out; first mends the rows that violate it, if repair (what follows SET) is given. Returns the ids of the jobs. Raises BF035.';

-- The text splits into the table, its column, and what may follow, such as
-- ON DELETE CASCADE; what the names mean the server says.
CREATE OR REPLACE FUNCTION backfill.plan_reference(reference text, path text,
	OUT type text, OUT definition text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	one CONSTANT text := '(?:"(?:[^"]|"")+"|[^\s"().,;]+)';
	parts text[] := regexp_match(reference, format(
		'^\s*(%s(?:\s*\.\s*%1$s)*)\s*(?:\(\s*(%1$s)\s*\)\s*)?(.*)$', one));
	t record;
	column_name text;
	c record;
BEGIN
	PERFORM backfill.plan_check_text('references', reference, true);
	IF parts IS NULL OR parts[3] LIKE '(%' THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('invalid references "%s"', reference),
			HINT = 'Write a table, or a table and one column, such as:'
				' users (id).';
	END IF;
	t := backfill.plan_table(parts[1], path, true);
	column_name := (parse_ident(parts[2]))[1];
	IF column_name IS NULL THEN
		SELECT a.attname INTO column_name
		FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
			AND a.attnum = i.indkey[0]
		WHERE i.indrelid = t.id AND i.indisprimary AND i.indnkeyatts = 1;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = '42830',
				MESSAGE = format('there is no primary key of one column for'
					' referenced table "%s"', t.bare),
				HINT = 'Name the column, such as: users (id).';
		END IF;
	END IF;
	c := backfill.plan_column(t.id, column_name);
	type := c.type;
	definition := btrim(format('%s (%I) %s', t.name, column_name, parts[3]));
END
$$;
COMMENT ON FUNCTION backfill.plan_reference(text, text) IS
	'What follows REFERENCES, with its names in full, and the type of the column referred to. Raises 22023, 42P01, 42703, 42830.';

CREATE OR REPLACE FUNCTION backfill.plan_add_foreign_key(target text,
	"column" text, "references" text, fill text DEFAULT NULL,
	from_clause text DEFAULT NULL, where_clause text DEFAULT NULL,
	prefix text DEFAULT NULL, run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
	r record;
	stem text := t.bare || '_' || "column";
	key_name text := backfill.plan_object_name(stem, '_fkey');
	is_known boolean;
	steps jsonb := '[]';
BEGIN
	PERFORM backfill.plan_check_text('column', "column", true);
	PERFORM backfill.plan_check_text('fill', fill);
	PERFORM backfill.plan_check_text('from_clause', from_clause);
	PERFORM backfill.plan_check_text('where_clause', where_clause);
	IF fill IS NULL AND num_nonnulls(from_clause, where_clause) > 0 THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('%s without fill', CASE WHEN from_clause IS NULL
				THEN 'where_clause' ELSE 'from_clause' END),
			DETAIL = 'It says which rows are filled, and from where.';
	END IF;
	r := backfill.plan_reference("references", search_path);
	prefix := coalesce(prefix, format('add_foreign_key %s.%I', t.name,
		"column"));
	is_known := (backfill.plan_known(prefix, 'foreign_key')).id IS NOT NULL;

	IF (CASE WHEN is_known
		THEN (backfill.plan_known(prefix, 'add')).id IS NOT NULL
		ELSE NOT EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = t.id AND a.attname = "column"
			AND a.attnum > 0 AND NOT a.attisdropped)
		OR backfill.plan_is_going(prefix, 'drop_column', "column") END)
	THEN
		steps := steps || jsonb_build_object('word', 'add',
			'kind', 'add_column', 'object_name', "column",
			'definition', r.type);
	END IF;
	IF fill IS NOT NULL THEN
		-- Another table's column may have the same name.
		steps := steps || (backfill.plan_step_fill("column", fill)
			|| jsonb_build_object('from_clause', from_clause,
				'where_clause', concat_ws(' AND ', format('(%s%I IS NULL)',
					CASE WHEN from_clause IS NOT NULL
						THEN format('%I.', t.bare) END, "column"),
					'(' || where_clause || ')')));
	END IF;
	-- Without one, each DELETE of a referenced row reads the whole table.
	IF (CASE WHEN is_known
		THEN (backfill.plan_known(prefix, 'index')).id IS NOT NULL
		ELSE NOT EXISTS (SELECT FROM pg_index i
			JOIN pg_attribute a ON a.attrelid = i.indrelid
				AND a.attnum = i.indkey[0]
			JOIN pg_class x ON x.oid = i.indexrelid
			JOIN pg_am m ON m.oid = x.relam
			WHERE i.indrelid = t.id AND a.attname = "column"
			AND i.indisvalid AND i.indpred IS NULL
			AND m.amname IN ('btree', 'hash')
			AND NOT backfill.plan_is_going(prefix, 'drop_index',
				x.relname)) END)
	THEN
		steps := steps || jsonb_build_object('word', 'index',
			'kind', 'create_index',
			'object_name', backfill.plan_object_name(stem, '_idx'),
			'definition', format('(%I)', "column"));
	END IF;
	RETURN backfill.plan_jobs(prefix, t.name, steps
		|| jsonb_build_array(jsonb_build_object('word', 'foreign_key',
			'kind', 'add_foreign_key', 'object_name', key_name,
			'definition', format('FOREIGN KEY (%I) REFERENCES %s', "column",
				r.definition)),
		jsonb_build_object('word', 'validate', 'kind', 'validate_constraint',
			'object_name', key_name)), run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_add_foreign_key(text, text, text, text,
	text, text, text, name, text) IS
	'Adds a foreign key of one column, which it makes if there is none, fills (an expression) and indexes. Returns the ids of the jobs. Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_create_index(target text, name text,
	definition text, prefix text DEFAULT NULL, run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
BEGIN
	PERFORM backfill.plan_check_text('name', name, true);
	PERFORM backfill.plan_check_text('definition', definition, true);
	RETURN backfill.plan_jobs(coalesce(prefix, format('create_index %s.%I',
			t.name, name)), t.name,
		jsonb_build_array(jsonb_build_object('word', 'index',
			'kind', 'create_index', 'object_name', name,
			'definition', definition)), run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_create_index(text, text, text, text, name,
	text) IS
	'Builds an index while the table is written. Returns the ids of the jobs. Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_index(table_id oid,
	table_name text, index_name text, OUT id oid, OUT definition text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	i record;
BEGIN
	SELECT x.oid, n.is_unique, x.relkind, pg_get_indexdef(x.oid) AS text
	INTO i
	FROM pg_class x JOIN LATERAL (SELECT p.indrelid,
		CASE WHEN p.indisunique THEN 'UNIQUE ' ELSE '' END AS is_unique
		FROM pg_index p WHERE p.indexrelid = x.oid) n
		ON n.indrelid = table_id
	WHERE x.relname = index_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '42704',
			MESSAGE = format('index "%s" of table "%s" does not exist',
				index_name, table_name);
	END IF;
	id := i.oid;
	-- CREATE UNIQUE INDEX name ON ONLY schema.table USING …
	definition := i.is_unique || substr(i.text, 1 + length(format(
		'CREATE %sINDEX %I ON %s%s ', i.is_unique, index_name, CASE
		WHEN i.relkind = 'I' THEN 'ONLY ' ELSE '' END, table_name)));
END
$$;
COMMENT ON FUNCTION backfill.plan_index(oid, text, text) IS
	'An index of the table, and its definition as create_index has it. Raises 42704.';

CREATE OR REPLACE FUNCTION backfill.plan_drop_index(target text, name text,
	prefix text DEFAULT NULL, run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
	known backfill.jobs;
	i record;
	owner_name text;
BEGIN
	PERFORM backfill.plan_check_text('name', name, true);
	prefix := coalesce(prefix, format('drop_index %s.%I', t.name, name));
	known := backfill.plan_known(prefix, 'drop');
	IF known.id IS NULL THEN
		i := backfill.plan_index(t.id, t.name, name);
		known.undo := i.definition;
		SELECT c.conname INTO owner_name FROM pg_constraint c
		WHERE c.conindid = i.id AND c.contype IN ('p', 'u', 'x');
		IF FOUND THEN
			RAISE EXCEPTION USING ERRCODE = '2BP01',
				MESSAGE = format('cannot drop index %I because constraint %I'
					' on table %s requires it', name, owner_name, t.name),
				HINT = 'backfill.plan_ddl() can drop the constraint.';
		END IF;
	END IF;
	RETURN backfill.plan_jobs(prefix, t.name,
		jsonb_build_array(jsonb_build_object('word', 'drop',
			'kind', 'drop_index', 'object_name', name, 'undo', known.undo)),
		run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_drop_index(text, text, text, name, text) IS
	'Drops an index while the table is written. Returns the ids of the jobs. Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_reindex(target text, name text,
	prefix text DEFAULT NULL, run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
BEGIN
	PERFORM backfill.plan_check_text('name', name, true);
	PERFORM backfill.plan_index(t.id, t.name, name);
	RETURN backfill.plan_jobs(coalesce(prefix, format('reindex %s.%I',
			t.name, name)), t.name,
		jsonb_build_array(jsonb_build_object('word', 'reindex',
			'kind', 'reindex', 'object_name', name)), run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_reindex(text, text, text, name, text) IS
	'Builds an index anew while the table is written. Returns the ids of the jobs. Raises BF035.';

CREATE OR REPLACE FUNCTION backfill.plan_ddl(target text, definition text,
	undo text DEFAULT NULL, prefix text DEFAULT NULL,
	run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, false);
BEGIN
	PERFORM backfill.plan_check_text('definition', definition, true);
	PERFORM backfill.plan_check_text('undo', undo);
	RETURN backfill.plan_jobs(coalesce(prefix, format('ddl %s', t.name)),
		t.name, jsonb_build_array(jsonb_build_object('word', 'ddl',
			'kind', 'ddl', 'definition', definition, 'undo', undo)),
		run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_ddl(text, text, text, text, name, text) IS
	'Carries out statements, which commit together; undo: those that take them back. Returns the ids of the jobs. Raises BF035.';

-- A table that is there already may hold other rows: plan_down() would give
-- those back, too.
CREATE OR REPLACE FUNCTION backfill.plan_archive(table_id oid,
	table_name text, archive text, path text, is_new boolean,
	prefix text, OUT name text, OUT definition text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[] := parse_ident(archive);
	id oid;
	here name;
	key text;
BEGIN
	PERFORM set_config('search_path', path, true);
	id := pg_catalog.to_regclass(archive);
	here := pg_catalog.current_schema();
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	SELECT format('%I.%I', n.nspname, c.relname) INTO name
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = id;
	IF FOUND AND NOT backfill.plan_is_going(prefix, 'ddl',
		format('SELECT backfill.drop_archive(%L)', name))
	THEN
		IF is_new THEN
			RAISE NOTICE USING
				MESSAGE = format('table %s exists already', name),
				DETAIL = 'plan_down() would move all of its rows.';
		END IF;
		RETURN;
	END IF;

	name := CASE WHEN id IS NOT NULL THEN name
		WHEN cardinality(parts) = 1 THEN format('%I.%I', here, parts[1])
		ELSE (SELECT string_agg(quote_ident(p), '.' ORDER BY n)
			FROM unnest(parts) WITH ORDINALITY AS u(p, n)) END;
	SELECT ', PRIMARY KEY (' || string_agg(quote_ident(a.attname), ', '
		ORDER BY k.n) || ')' INTO key
	FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(number, n),
		pg_attribute a
	WHERE i.indrelid = table_id AND i.indisprimary
		AND k.n <= i.indnkeyatts
		AND a.attrelid = i.indrelid AND a.attnum = k.number;
	definition := format('CREATE TABLE IF NOT EXISTS %s (LIKE %s%s)', name,
		table_name, key);
END
$$;
COMMENT ON FUNCTION backfill.plan_archive(oid, text, text, text, boolean, text) IS
	'The archive''s name in full, and what makes it; NULL: it is there.';

-- Whoever moved rows into it meanwhile has them nowhere else.
CREATE OR REPLACE FUNCTION backfill.drop_archive(archive text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	id CONSTANT regclass := to_regclass(archive);
	has_rows boolean;
BEGIN
	IF id IS NULL THEN
		RETURN;
	END IF;
	EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', id);
	EXECUTE format('SELECT EXISTS (SELECT FROM %s)', id) INTO has_rows;
	IF has_rows THEN
		RAISE EXCEPTION USING ERRCODE = '55000',
			MESSAGE = format('archive table %s has rows', id),
			DETAIL = 'They would be gone with it.',
			HINT = 'Move them, then retry the job.';
	END IF;
	EXECUTE format('DROP TABLE %s', id);
END
$$;
COMMENT ON FUNCTION backfill.drop_archive(text) IS
	'Drops a table, if there is one of the name, that has no rows. Raises 55000.';

CREATE OR REPLACE FUNCTION backfill.plan_delete(target text,
	where_clause text, archive text DEFAULT NULL, prefix text DEFAULT NULL,
	run_as name DEFAULT NULL,
	search_path text DEFAULT pg_catalog.current_setting('search_path'))
RETURNS bigint[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record := backfill.plan_table(target, search_path, true);
	made backfill.jobs;
	deleted backfill.jobs;
	a record;
	steps jsonb := '[]';
BEGIN
	PERFORM backfill.plan_check_text('where_clause', where_clause, true);
	PERFORM backfill.plan_check_text('archive', archive);
	prefix := coalesce(prefix, format('delete %s', t.name));
	deleted := backfill.plan_known(prefix, 'delete');
	IF archive IS NOT NULL THEN
		made := backfill.plan_known(prefix, 'archive');
		a := backfill.plan_archive(t.id, t.name, archive, search_path,
			deleted.id IS NULL, prefix);
		IF deleted.id IS NULL THEN
			made.definition := a.definition;
			made.undo := format('SELECT backfill.drop_archive(%L)', a.name);
		END IF;
		IF made.definition IS NOT NULL THEN
			steps := steps || jsonb_build_object('word', 'archive',
				'kind', 'ddl', 'definition', made.definition,
				'undo', made.undo);
		END IF;
		archive := a.name;
	END IF;
	RETURN backfill.plan_jobs(prefix, t.name, steps
		|| jsonb_build_array(jsonb_build_object('word', 'delete',
			'kind', 'delete', 'where_clause', where_clause,
			'archive_table', archive)), run_as, search_path);
END
$$;
COMMENT ON FUNCTION backfill.plan_delete(text, text, text, text, name, text) IS
	'Deletes rows in small batches; archive: a table that they are moved into, made like the target. Returns the ids of the jobs. Raises BF035.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.plan_add_check(text, text, text, text, text, name, text),
	backfill.plan_reference(text, text),
	backfill.plan_add_foreign_key(text, text, text, text, text, text, text,
		name, text),
	backfill.plan_create_index(text, text, text, text, name, text),
	backfill.plan_index(oid, text, text),
	backfill.plan_drop_index(text, text, text, name, text),
	backfill.plan_reindex(text, text, text, name, text),
	backfill.plan_ddl(text, text, text, text, name, text),
	backfill.plan_archive(oid, text, text, text, boolean, text),
	backfill.drop_archive(text),
	backfill.plan_delete(text, text, text, text, name, text)
	TO backfill_submit;

RESET ROLE;
