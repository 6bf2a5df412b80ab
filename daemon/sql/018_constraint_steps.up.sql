-- The steps of add_check and add_foreign_key: what is left to be done, as the
-- catalog says. Constraints are added NOT VALID, which reads no row; those of
-- validate_constraint and set_not_null (sql/019) do the rest.
--
-- With the rights of the caller (sql/016).

SET LOCAL ROLE backfill_owner;

-- ---- what is there

-- Under the search_path that the text will be executed with: a name that
-- needs no schema there means the same again.
CREATE OR REPLACE FUNCTION backfill.constraint_form(constraint_oid oid,
	path text, OUT form text, OUT expression text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c pg_constraint;
BEGIN
	SELECT * INTO c FROM pg_constraint q WHERE q.oid = constraint_oid;
	PERFORM set_config('search_path', path, true);
	form := pg_catalog.pg_get_constraintdef(constraint_oid);
	expression := pg_catalog.pg_get_expr(c.conbin, c.conrelid);
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	form := regexp_replace(form, ' NOT VALID$', '');
END
$$;
COMMENT ON FUNCTION backfill.constraint_form(oid, text) IS
	'Definition of a constraint in the normal form, without NOT VALID, and the expression of a CHECK.';

CREATE OR REPLACE FUNCTION backfill.constraint_is_there(j backfill.jobs,
	table_oid oid, form text, path text)
RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_form text;
BEGIN
	SELECT f.form INTO found_form
	FROM pg_constraint c, backfill.constraint_form(c.oid, path) f
	WHERE c.conrelid = table_oid AND c.conname = j.object_name;
	IF found_form IS DISTINCT FROM form AND found_form IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'BF034',
			MESSAGE = format('constraint "%s" of table "%s" exists and is'
				' defined differently', j.object_name, table_oid::regclass),
			DETAIL = format('It is: %s. Asked for: %s.', found_form, form),
			HINT = 'Name another constraint in object_name, or drop this one'
				' first.';
	END IF;
	RETURN found_form IS NOT NULL;
END
$$;
COMMENT ON FUNCTION backfill.constraint_is_there(backfill.jobs, oid, text,
	text) IS
	'Whether the table has the job''s constraint, valid or not. Raises BF034 when it has another one of the name.';

-- ---- rows in the way

CREATE OR REPLACE FUNCTION backfill.row_key(table_oid oid, qualifier text)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('ARRAY[%s]', coalesce(string_agg(format(
			'%s.%I::pg_catalog.text', qualifier, a.attname), ', '
			ORDER BY k.n), format('%1$s.tableoid::pg_catalog.regclass'
			'::pg_catalog.text, %1$s.ctid::pg_catalog.text', qualifier)))
	FROM pg_index i
	CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(number, n)
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
	WHERE i.indrelid = table_oid AND i.indisprimary AND k.n <= i.indnkeyatts
$$;
COMMENT ON FUNCTION backfill.row_key(oid, text) IS
	'Expression of type text[] that says which row it is: its primary key, or where it lies.';

-- Only false violates a CHECK: NULL does not.
CREATE OR REPLACE FUNCTION backfill.check_violators(table_oid oid,
	expression text, is_not_inherited boolean)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('SELECT %s FROM %s%s WHERE NOT (%s)',
		backfill.row_key(c.oid, quote_ident(c.relname)),
		CASE WHEN is_not_inherited THEN 'ONLY ' ELSE '' END,
		c.oid::regclass, expression)
	FROM pg_class c WHERE c.oid = table_oid
$$;
COMMENT ON FUNCTION backfill.check_violators(oid, text, boolean) IS
	'Query for the keys of the rows that violate a CHECK.';

CREATE OR REPLACE FUNCTION backfill.constraint_look_step(j backfill.jobs,
	table_oid oid, query text, contype "char")
RETURNS backfill.step LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step := backfill.make_step('look', query,
		format('look for rows in the way of %I', j.object_name), NULL, NULL);
BEGIN
	s.violation_sqlstate := CASE contype WHEN 'c' THEN '23514'
		WHEN 'n' THEN '23502' ELSE '23503' END;
	-- It becomes a format of its own.
	s.violation_message := replace(format(CASE contype
		WHEN 'c' THEN 'check constraint "%s" of table "%s" is violated by '
		WHEN 'n' THEN 'not-null constraint "%s" of table "%s" is violated by '
		ELSE 'foreign key "%s" of table "%s" has ' END, j.object_name,
		table_oid::regclass), '%', '%%')
		|| CASE contype WHEN 'f' THEN '%s orphans' ELSE '%s rows' END;
	s.violation_hint := CASE contype WHEN 'f'
		THEN 'Delete or change them, or insert the rows that they reference;'
			' then retry the job.'
		WHEN 'n'
		THEN 'Change the rows, then retry the job;'
			' backfill.plan_set_not_null() with fill does both.'
		ELSE 'Change the rows, then retry the job; backfill.plan_add_check()'
			' with repair does both.' END;
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.constraint_look_step(backfill.jobs, oid, text,
	"char") IS
	'The step that looks for rows in the way of a constraint.';

-- ---- add_check

-- On a table of its own, whose columns are the target's. In CREATE TABLE a
-- comma in the definition can only begin another column or constraint, which
-- is counted. It has the target's name because a definition may say users.id.
CREATE OR REPLACE FUNCTION backfill.check_trial(j backfill.jobs,
	table_oid oid, OUT form text, OUT expression text,
	OUT is_not_inherited boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	command text;
	trial_oid oid;
	c pg_constraint;
	is_one boolean;
BEGIN
	SELECT format(E'CREATE TEMP TABLE %I (LIKE %s, CONSTRAINT %I %s\n)',
		t.relname, t.oid::regclass, j.object_name, j.definition)
	INTO command FROM pg_class t WHERE t.oid = table_oid;
	PERFORM set_config('search_path', j.search_path, true);
	EXECUTE command;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	SELECT x.oid INTO trial_oid FROM pg_class t JOIN pg_class x
		ON x.relname = t.relname AND x.relnamespace = pg_my_temp_schema()
	WHERE t.oid = table_oid;
	SELECT * INTO c FROM pg_constraint q
	WHERE q.conrelid = trial_oid AND q.conname = j.object_name;
	SELECT f.form, f.expression INTO form, expression
	FROM backfill.constraint_form(c.oid, j.search_path) f;
	is_not_inherited := c.connoinherit;
	is_one := c.contype = 'c'
		AND (SELECT count(*) FROM pg_constraint q
			WHERE q.conrelid = trial_oid AND q.contype <> 'n') = 1
		AND (SELECT count(*) FILTER (WHERE a.attrelid = trial_oid)
			= count(*) FILTER (WHERE a.attrelid = table_oid)
			FROM pg_attribute a
			WHERE a.attrelid IN (trial_oid, table_oid) AND a.attnum > 0
				AND NOT a.attisdropped);
	IF is_one IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = '42601',
			MESSAGE = format('the definition of constraint "%s" is not one'
				' CHECK', j.object_name),
			HINT = 'Write: CHECK (expression).';
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'BF000';
EXCEPTION WHEN SQLSTATE 'BF000' THEN
	NULL;
END
$$;
COMMENT ON FUNCTION backfill.check_trial(backfill.jobs, oid) IS
	'The job''s CHECK in the normal form. Raises what ALTER TABLE would, and 42601.';

-- From the moment when there is a CHECK, NOT VALID or not, an application
-- cannot update a row that violates it, whatever it changes. So there must be
-- none before.
CREATE OR REPLACE FUNCTION backfill.step_add_check(j backfill.jobs,
	notes jsonb)
RETURNS backfill.step LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid CONSTANT oid := backfill.step_own_table(j);
	wanted record := backfill.check_trial(j, table_oid);
	s backfill.step;
BEGIN
	IF backfill.constraint_is_there(j, table_oid, wanted.form, j.search_path)
	THEN
		RETURN NULL;
	END IF;
	IF notes->'looked' IS DISTINCT FROM 'true' THEN
		RETURN backfill.constraint_look_step(j, table_oid,
			backfill.check_violators(table_oid, wanted.expression,
			wanted.is_not_inherited), 'c');
	END IF;
	s := backfill.make_step('transaction',
		format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID',
			table_oid::regclass, j.object_name, wanted.form),
		format('ADD CONSTRAINT %I CHECK NOT VALID', j.object_name),
		'AccessExclusiveLock', backfill.table_tree(table_oid));
	s.is_last := true;
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.step_add_check(backfill.jobs, jsonb) IS
	'The next step of a job of kind add_check; NULL: nothing is left. Raises BF034, and what ALTER TABLE would.';

-- ---- add_foreign_key

-- A foreign key of a temporary table can reference only another one. So the
-- text is taken apart where the name stands, and a copy of that table with its
-- indexes is put there; what is not of this shape is refused.
CREATE OR REPLACE FUNCTION backfill.foreign_key_trial(j backfill.jobs,
	table_oid oid, OUT form text, OUT referenced oid, OUT own_columns name[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	blank CONSTANT text :=
		'(?:\s|--[^\n]*\n|/\*(?:[^*]|\*+[^*/])*\*+/)*';
	one CONSTANT text := '(?:"(?:[^"]|"")+"|[^\s"().,;:/*-]+)';
	parts text[] := regexp_match(j.definition, format('^%1$sFOREIGN%1$sKEY'
		'%1$s(\(%1$s%2$s%1$s(?:,%1$s%2$s%1$s)*\))%1$sREFERENCES%1$s'
		'(%2$s(?:\s*\.\s*%2$s)*)(.*)$', blank, one), 'i');
	copy name;
	trial CONSTANT name := 'backfill_trial_' || md5(j.object_name);
	command text;
	c pg_constraint;
	counted bigint;
	head text;
BEGIN
	IF parts IS NOT NULL THEN
		PERFORM set_config('search_path', j.search_path, true);
		referenced := pg_catalog.to_regclass(parts[2]);
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',
			true);
		IF referenced IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = '42P01',
				MESSAGE = format('relation "%s" does not exist', parts[2]);
		END IF;
		SELECT t.relname INTO copy FROM pg_class t WHERE t.oid = referenced;
		EXECUTE format('CREATE TEMP TABLE %I (LIKE %s INCLUDING INDEXES)',
			copy, referenced::regclass);
		command := format(E'CREATE TEMP TABLE %I (LIKE %s, CONSTRAINT %I'
			' FOREIGN KEY %s REFERENCES pg_temp.%I %s\n)', trial,
			table_oid::regclass, j.object_name, parts[1], copy, parts[3]);
		PERFORM set_config('search_path', j.search_path, true);
		EXECUTE command;
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',
			true);
		SELECT q.* INTO c
		FROM pg_constraint q JOIN pg_class x ON x.oid = q.conrelid
		WHERE x.relname = trial AND x.relnamespace = pg_my_temp_schema()
			AND q.conname = j.object_name AND q.contype = 'f';
		SELECT (SELECT count(*) FROM pg_constraint q
				WHERE q.conrelid = c.conrelid AND q.contype <> 'n')
			+ count(*) FILTER (WHERE a.attrelid = c.conrelid)
			- count(*) FILTER (WHERE a.attrelid = table_oid) INTO counted
		FROM pg_attribute a WHERE a.attrelid IN (c.conrelid, table_oid)
			AND a.attnum > 0 AND NOT a.attisdropped;
	END IF;
	IF counted IS DISTINCT FROM 1 THEN
		RAISE EXCEPTION USING ERRCODE = '42601',
			MESSAGE = format('the definition of constraint "%s" is not one'
				' FOREIGN KEY', j.object_name),
			HINT = 'Write: FOREIGN KEY (column) REFERENCES table (column).';
	END IF;
	SELECT array_agg(a.attname ORDER BY k.n),
		format('FOREIGN KEY (%s) REFERENCES ',
			string_agg(quote_ident(a.attname), ', ' ORDER BY k.n))
	INTO own_columns, head
	FROM unnest(c.conkey) WITH ORDINALITY AS k(number, n)
	JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number;
	form := head || referenced::regclass || substr((backfill.constraint_form(
		c.oid, 'pg_catalog, pg_temp')).form,
		length(head) + length(quote_ident(copy)) + 1);
	RAISE EXCEPTION USING ERRCODE = 'BF000';
EXCEPTION WHEN SQLSTATE 'BF000' THEN
	NULL;
END
$$;
COMMENT ON FUNCTION backfill.foreign_key_trial(backfill.jobs, oid) IS
	'The job''s foreign key in the normal form. Raises what ALTER TABLE would, and 42601.';

CREATE OR REPLACE FUNCTION backfill.step_add_foreign_key(j backfill.jobs,
	notes jsonb)
RETURNS backfill.step LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid CONSTANT oid := backfill.step_own_table(j);
	wanted record := backfill.foreign_key_trial(j, table_oid);
	s backfill.step;
BEGIN
	IF backfill.constraint_is_there(j, table_oid, wanted.form,
		'pg_catalog, pg_temp')
	THEN
		RETURN NULL;
	END IF;
	IF current_setting('server_version_num')::integer < 180000
		AND EXISTS (SELECT FROM pg_class t
			WHERE t.oid = table_oid AND t.relkind = 'p')
	THEN
		RAISE EXCEPTION USING ERRCODE = '0A000',
			MESSAGE = format('cannot add foreign key "%s" NOT VALID to'
				' partitioned table "%s"', j.object_name, table_oid::regclass),
			DETAIL = 'PostgreSQL can from version 18 on.',
			HINT = 'Submit jobs that add and validate it for each partition;'
				' then ALTER TABLE ... ADD, in a job of kind "ddl", takes'
				' those and does not read the table.';
	END IF;
	s := backfill.make_step('transaction',
		format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID',
			table_oid::regclass, j.object_name, wanted.form),
		format('ADD CONSTRAINT %I FOREIGN KEY NOT VALID', j.object_name),
		'ShareRowExclusiveLock', backfill.table_tree(table_oid)
			|| backfill.table_tree(wanted.referenced));
	s.is_last := true;
	IF NOT EXISTS (SELECT FROM pg_index i
		JOIN pg_class x ON x.oid = i.indexrelid
		JOIN pg_am m ON m.oid = x.relam
		WHERE i.indrelid = table_oid AND i.indisvalid AND i.indpred IS NULL
			AND m.amname IN ('btree', 'hash')
			AND wanted.own_columns @> ARRAY(SELECT a.attname
				FROM unnest(i.indkey::smallint[]) WITH ORDINALITY
					AS k(number, n)
				LEFT JOIN pg_attribute a ON a.attrelid = table_oid
					AND a.attnum = k.number
				WHERE k.n <= least(i.indnkeyatts,
					cardinality(wanted.own_columns)))
			AND i.indnkeyatts >= cardinality(wanted.own_columns))
	THEN
		s.warnings := format('no index of table %s leads with (%s): whoever'
			' deletes a row of table %s reads all of it', table_oid::regclass,
			(SELECT string_agg(quote_ident(u), ', ')
				FROM unnest(wanted.own_columns) u),
			wanted.referenced::regclass);
	END IF;
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.step_add_foreign_key(backfill.jobs, jsonb) IS
	'The next step of a job of kind add_foreign_key; NULL: nothing is left. Raises BF034, 0A000, and what ALTER TABLE would.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.constraint_form(oid, text),
	backfill.constraint_is_there(backfill.jobs, oid, text, text),
	backfill.row_key(oid, text),
	backfill.check_violators(oid, text, boolean),
	backfill.constraint_look_step(backfill.jobs, oid, text, "char"),
	backfill.check_trial(backfill.jobs, oid),
	backfill.step_add_check(backfill.jobs, jsonb),
	backfill.foreign_key_trial(backfill.jobs, oid),
	backfill.step_add_foreign_key(backfill.jobs, jsonb)
	TO backfill_submit;

RESET ROLE;
