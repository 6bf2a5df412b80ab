-- The steps of validate_constraint and set_not_null: neither reads the table
-- while others are kept from it. Constraints are validated under a lock that
-- readers and writers do not mind.

SET LOCAL ROLE backfill_owner;

-- ---- validate_constraint

-- Not format_type(): its "character" has one character.
CREATE OR REPLACE FUNCTION backfill.type_name(type_oid oid)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('%I.%I', n.nspname, t.typname)
	FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
	WHERE t.oid = type_oid
$$;
COMMENT ON FUNCTION backfill.type_name(oid) IS
	'Name of a type, in full, for a cast that does not change the length.';

-- Compares with the operators that the key has, as the server does when it
-- validates: their types and the referenced column's collation, not what an
-- = between the two columns would be taken for.
CREATE OR REPLACE FUNCTION backfill.foreign_key_orphans(constraint_oid oid)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('SELECT %s FROM %s AS f WHERE %s AND NOT EXISTS (SELECT'
		' FROM %s AS p WHERE %s)', backfill.row_key(c.conrelid, 'f'),
		CASE f.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || f.oid::regclass,
		CASE c.confmatchtype WHEN 'f'
			-- A key that is NULL in part matches nothing.
			THEN format('NOT (%s)', string_agg(format('f.%I IS NULL',
				a.attname), ' AND ' ORDER BY k.n))
			ELSE string_agg(format('f.%I IS NOT NULL', a.attname), ' AND '
				ORDER BY k.n) END,
		CASE p.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || p.oid::regclass,
		string_agg(format('p.%I::%s%s OPERATOR(%I.%s) f.%I::%s', b.attname,
			backfill.type_name(o.oprleft), CASE WHEN n.oid IS NULL THEN ''
				ELSE format(' COLLATE %I.%I', n.nspname, y.collname) END,
			s.nspname, o.oprname, a.attname, backfill.type_name(o.oprright)),
			' AND ' ORDER BY k.n))
	FROM pg_constraint c
	JOIN pg_class f ON f.oid = c.conrelid
	JOIN pg_class p ON p.oid = c.confrelid
	CROSS JOIN unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY
		AS k(own, referenced, operator, n)
	JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = k.own
	JOIN pg_attribute b ON b.attrelid = p.oid AND b.attnum = k.referenced
	JOIN pg_operator o ON o.oid = k.operator
	JOIN pg_namespace s ON s.oid = o.oprnamespace
	LEFT JOIN pg_collation y ON y.oid = b.attcollation
	LEFT JOIN pg_namespace n ON n.oid = y.collnamespace
	WHERE c.oid = constraint_oid
	GROUP BY c.oid, c.conrelid, c.confmatchtype, f.oid, f.relkind, p.oid,
		p.relkind
$$;
COMMENT ON FUNCTION backfill.foreign_key_orphans(oid) IS
	'Query for the keys of the rows that reference no row.';

CREATE OR REPLACE FUNCTION backfill.step_validate_constraint(j backfill.jobs,
	notes jsonb)
RETURNS backfill.step LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid CONSTANT oid := backfill.step_own_table(j);
	c pg_constraint;
BEGIN
	SELECT * INTO c FROM pg_constraint q
	WHERE q.conrelid = table_oid AND q.conname = j.object_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '42704',
			MESSAGE = format('constraint "%s" of table "%s" does not exist',
				j.object_name, table_oid::regclass);
	END IF;
	-- "n", NOT NULL: since version 18.
	IF c.contype NOT IN ('c', 'f', 'n') THEN
		RAISE EXCEPTION USING ERRCODE = '42809',
			MESSAGE = format('constraint "%s" of table "%s" is not a foreign'
				' key or check constraint', j.object_name,
				table_oid::regclass);
	END IF;
	IF c.convalidated THEN
		RETURN NULL;
	END IF;
	-- Of a key with PERIOD it finds those that overlap nothing: the server
	-- finds the rest.
	IF notes->'looked' IS DISTINCT FROM 'true' THEN
		RETURN backfill.constraint_look_step(j, table_oid, CASE c.contype
			WHEN 'f' THEN backfill.foreign_key_orphans(c.oid)
			ELSE backfill.check_violators(table_oid, CASE c.contype
				WHEN 'n' THEN backfill.not_null_expression(table_oid,
					(SELECT a.attname FROM pg_attribute a
					WHERE a.attrelid = table_oid AND a.attnum = c.conkey[1]))
				ELSE (backfill.constraint_form(c.oid,
					j.search_path)).expression END, c.connoinherit) END,
			c.contype);
	END IF;
	RETURN backfill.make_step('alone',
		format('ALTER TABLE %s VALIDATE CONSTRAINT %I', table_oid::regclass,
			j.object_name),
		format('VALIDATE CONSTRAINT %I', j.object_name),
		'ShareUpdateExclusiveLock', backfill.table_tree(table_oid));
END
$$;
COMMENT ON FUNCTION backfill.step_validate_constraint(backfill.jobs, jsonb) IS
	'The next step of a job of kind validate_constraint; NULL: nothing is left. Raises 42704, 42809.';

-- ---- set_not_null

-- The server takes nothing else for a proof. Of a composite type IS NOT NULL
-- says more than that, and IS DISTINCT FROM NULL just that.
CREATE OR REPLACE FUNCTION backfill.not_null_expression(table_oid oid,
	column_name text)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE base(id) AS (
		SELECT a.atttypid FROM pg_attribute a
		WHERE a.attrelid = table_oid AND a.attname = column_name
		UNION
		SELECT t.typbasetype FROM base JOIN pg_type t ON t.oid = base.id
		WHERE t.typtype = 'd'
	)
	SELECT format('(%I %s)', column_name, CASE WHEN EXISTS (SELECT FROM base
		JOIN pg_type t ON t.oid = base.id WHERE t.typtype = 'c')
		THEN 'IS DISTINCT FROM NULL' ELSE 'IS NOT NULL' END)
$$;
COMMENT ON FUNCTION backfill.not_null_expression(oid, text) IS
	'What a CHECK says, in the normal form, that proves that no row of the column is NULL.';

CREATE OR REPLACE FUNCTION backfill.column_is_not_null(table_oid oid,
	column_name text)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	-- Since version 18 a NOT NULL may be NOT VALID.
	SELECT a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint c
		WHERE c.conrelid = table_oid AND c.contype = 'n'
			AND c.conkey = ARRAY[a.attnum] AND NOT c.convalidated)
	FROM pg_attribute a
	WHERE a.attrelid = table_oid AND a.attname = column_name
		AND a.attnum > 0 AND NOT a.attisdropped
$$;
COMMENT ON FUNCTION backfill.column_is_not_null(oid, text) IS
	'Whether the column is NOT NULL, and all rows are known to be so; NULL: no such column.';

-- In one ALTER TABLE the server would drop the constraint first, and read the
-- table for want of a proof: so these are two statements, of one transaction.
CREATE OR REPLACE FUNCTION backfill.step_set_not_null(j backfill.jobs,
	notes jsonb)
RETURNS backfill.step LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid CONSTANT oid := backfill.step_own_table(j);
	proof CONSTANT text := backfill.not_null_expression(table_oid,
		j.object_name);
	tree CONSTANT oid[] := backfill.table_tree(table_oid);
	is_not_null CONSTANT boolean := backfill.column_is_not_null(table_oid,
		j.object_name);
	named record;
	not_valid record;
	unproven oid;
	drops text;
	s backfill.step;
BEGIN
	IF is_not_null IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = '42703',
			MESSAGE = format('column "%s" of table "%s" does not exist',
				j.object_name, table_oid::regclass);
	END IF;
	SELECT c.conname, c.coninhcount = 0 AS is_ours,
		coalesce(pg_get_expr(c.conbin, c.conrelid) = proof, false) AS is_proof,
		pg_get_constraintdef(c.oid) AS form
	INTO named FROM pg_constraint c
	WHERE c.conrelid = table_oid AND c.conname = j.definition;

	-- SET NOT NULL would validate it, and take no proof for that.
	SELECT t.id, c.conname INTO not_valid
	FROM unnest(tree) WITH ORDINALITY AS t(id, n)
	JOIN pg_attribute a ON a.attrelid = t.id AND a.attname = j.object_name
	JOIN pg_constraint c ON c.conrelid = t.id AND c.contype = 'n'
		AND c.conkey = ARRAY[a.attnum] AND NOT c.convalidated
	ORDER BY t.n LIMIT 1;
	IF FOUND THEN
		j.target_oid := not_valid.id;
		j.object_name := not_valid.conname;
		RETURN backfill.step_validate_constraint(j, notes);
	END IF;

	IF NOT is_not_null THEN
		IF NOT named.is_proof THEN
			RAISE EXCEPTION USING ERRCODE = 'BF034',
				MESSAGE = format('constraint "%s" of table "%s" is not a CHECK'
					' that proves that "%s" is not NULL', named.conname,
					table_oid::regclass, j.object_name),
				DETAIL = format('It is: %s. Asked for: CHECK (%s).',
					named.form, proof),
				HINT = 'definition names the CHECK that is dropped; leave it'
					' NULL to drop none.';
		END IF;
		SELECT t.id INTO unproven FROM unnest(tree) WITH ORDINALITY AS t(id, n)
		JOIN pg_class r ON r.oid = t.id AND r.relkind = 'r'
		-- The server reads no partition that is NOT NULL already.
		WHERE NOT backfill.column_is_not_null(t.id, j.object_name)
			AND NOT EXISTS (SELECT FROM pg_constraint c
			WHERE c.conrelid = t.id AND c.contype = 'c' AND c.convalidated
				AND pg_get_expr(c.conbin, c.conrelid) = proof)
		ORDER BY t.n LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'BF032',
				MESSAGE = format('no valid CHECK proves that column "%s" of'
					' table "%s" is not NULL', j.object_name,
					unproven::regclass),
				DETAIL = 'SET NOT NULL would read the whole table under'
					' AccessExclusiveLock.',
				HINT = format('SELECT backfill.plan_set_not_null(%L, %L);'
					' makes and validates one first.',
					table_oid::regclass::text, j.object_name);
		END IF;
	END IF;
	IF named.is_proof AND named.is_ours THEN
		drops := format('ALTER TABLE %s DROP CONSTRAINT %I',
			table_oid::regclass, named.conname);
	END IF;
	IF is_not_null AND drops IS NULL THEN
		RETURN NULL;
	END IF;
	s := backfill.make_step('transaction',
		format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL',
			table_oid::regclass, j.object_name),
		format('SET NOT NULL of %I', j.object_name), 'AccessExclusiveLock',
		tree);
	s.is_last := true;
	IF is_not_null THEN
		s.statements := ARRAY[drops];
		s.told := format('DROP CONSTRAINT %I', named.conname);
		-- That it is NOT NULL is not to be taken back.
		s.notes := '{"was_so": true}';
	ELSIF drops IS NOT NULL THEN
		s.statements := s.statements || drops;
	END IF;
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.step_set_not_null(backfill.jobs, jsonb) IS
	'The next step of a job of kind set_not_null, which also drops the CHECK that definition names, and validates a NOT NULL that is NOT VALID; NULL: nothing is left. Raises 42703, BF032, BF034.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.type_name(oid),
	backfill.foreign_key_orphans(oid),
	backfill.step_validate_constraint(backfill.jobs, jsonb),
	backfill.not_null_expression(oid, text),
	backfill.column_is_not_null(oid, text),
	backfill.step_set_not_null(backfill.jobs, jsonb)
	TO backfill_submit;

RESET ROLE;
