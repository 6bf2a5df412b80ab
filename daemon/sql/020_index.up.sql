-- What create_index, drop_index and reindex share; their steps stand in a
-- script of their own. With the rights of the caller (sql/016). What is there
-- is found by table and OID, never by IF [NOT] EXISTS: CREATE INDEX
-- CONCURRENTLY IF NOT EXISTS calls an invalid index a success.

SET LOCAL ROLE backfill_owner;

-- ---- what an index is

-- What follows the table in CREATE INDEX, in the server's own words, with
-- UNIQUE before it. Names are those of search_path pg_catalog: qualified.
CREATE OR REPLACE FUNCTION backfill.index_form(index_oid oid,
	has_tablespace boolean)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.head || CASE WHEN has_tablespace
			THEN coalesce(' TABLESPACE ' || quote_ident(d.spcname), '')
			ELSE '' END
		|| coalesce(d.tail, '')
		|| CASE WHEN d.indimmediate THEN '' ELSE ' DEFERRABLE' END
	FROM (SELECT i.indimmediate, s.spcname, p.tail,
			CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
			|| left(f.form, length(f.form) - length(coalesce(p.tail, '')))
			AS head
		FROM pg_index i
		JOIN pg_class c ON c.oid = i.indexrelid
		LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace,
		LATERAL (SELECT '("([^"]|"")*"|[^" .]+)' AS name) n,
		LATERAL (SELECT regexp_replace(pg_get_indexdef(c.oid),
			format('^CREATE (UNIQUE )?INDEX %1$s ON (ONLY )?'
				'%1$s(\.%1$s)? ', n.name), '') AS form) f,
		LATERAL (SELECT ' WHERE ' || pg_get_expr(i.indpred, i.indrelid)
			AS tail) p
		WHERE i.indexrelid = index_oid) d
$$;
COMMENT ON FUNCTION backfill.index_form(oid, boolean) IS
	'Definition of an index in the normal form, without names: UNIQUE USING btree (…) …; NULL: no such index.';

CREATE OR REPLACE FUNCTION backfill.index_duplicates(index_oid oid,
	table_name text)
RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	expressions text;
	names text;
	texts text;
	i pg_index;
BEGIN
	SELECT * INTO i FROM pg_index WHERE indexrelid = index_oid;
	-- The index's collation says what is equal, not the column's.
	SELECT string_agg(format('%s%s AS k%s',
			pg_get_indexdef(index_oid, n, false),
			' COLLATE ' || quote_ident(s.nspname) || '.'
			|| quote_ident(l.collname), n),
			', ' ORDER BY n),
		string_agg(format('d.k%s', n), ', ' ORDER BY n),
		string_agg(format('d.k%s::pg_catalog.text', n), ', ' ORDER BY n)
	INTO expressions, names, texts
	FROM generate_series(1, i.indnkeyatts) n
	LEFT JOIN pg_collation l ON l.oid = i.indcollation[n - 1]
	LEFT JOIN pg_namespace s ON s.oid = l.collnamespace;
	RETURN format('SELECT ARRAY[%s] FROM (SELECT %s FROM %s%s) AS d%s'
		' GROUP BY %s HAVING pg_catalog.count(*) > 1 LIMIT 101',
		texts, expressions, table_name,
		' WHERE ' || pg_get_expr(i.indpred, i.indrelid),
		CASE WHEN (to_jsonb(i)->>'indnullsnotdistinct')::boolean THEN ''
			ELSE format(' WHERE pg_catalog.num_nulls(%s) = 0', names) END,
		names);
END
$$;
COMMENT ON FUNCTION backfill.index_duplicates(oid, text) IS
	'Query for the keys, a text[] each, that a table has more than once and a unique index like this one would refuse.';

-- A cursor takes one query, and none that is a command: the server says
-- which of the two is wrong without carrying anything out. Its words depend
-- on lc_messages, hence the other case beside it.
CREATE OR REPLACE FUNCTION backfill.index_one_command(command text,
	object_name text)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c refcursor;
	of_two text;
	of_this text;
BEGIN
	BEGIN
		OPEN c FOR EXECUTE 'VALUES (1); VALUES (1)';
	EXCEPTION WHEN invalid_cursor_definition THEN
		of_two := SQLERRM;
	END;
	BEGIN
		OPEN c FOR EXECUTE command;
	EXCEPTION WHEN invalid_cursor_definition THEN
		of_this := SQLERRM;
	END;
	IF of_this IS DISTINCT FROM of_two THEN
		RETURN;
	END IF;
	RAISE EXCEPTION USING ERRCODE = '42601',
		MESSAGE = format('the definition of index "%s" is more than one'
			' statement', object_name),
		HINT = 'Submit a job for each index.';
END
$$;
COMMENT ON FUNCTION backfill.index_one_command(text, text) IS
	'Raises 42601 when a CREATE INDEX with what a user wrote in it is more than one statement.';

-- What the definition means: an index is made as it says on an empty copy,
-- of the same name because a definition may say users.email, and partitioned
-- alike because the server then demands the partition key in a unique one.
-- Nothing of it stays.
CREATE OR REPLACE FUNCTION backfill.index_trial(j backfill.jobs,
	table_oid oid, OUT form text, OUT has_tablespace boolean,
	OUT duplicates text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- The one word that stands before the index's name.
	front CONSTANT text :=
		'^(\s|--[^\n]*\n|/\*([^*]|\*+[^*/])*\*+/)*UNIQUE\y';
	is_unique CONSTANT boolean := j.definition ~* front;
	command text;
	kind "char";
	table_name name;
	index_oid oid;
BEGIN
	SELECT c.relname, c.relkind INTO table_name, kind
	FROM pg_class c WHERE c.oid = table_oid;
	command := format('CREATE %sINDEX %I ON pg_temp.%I %s',
		CASE WHEN is_unique THEN 'UNIQUE ' ELSE '' END, j.object_name,
		table_name, CASE WHEN is_unique
			THEN regexp_replace(j.definition, front, '', 'i')
			ELSE j.definition END);
	PERFORM backfill.index_one_command(command, j.object_name);
	-- No tablespace, then, but one that the definition names.
	PERFORM set_config('temp_tablespaces', '', true);
	EXECUTE format('CREATE TEMP TABLE %I (LIKE %s)%s', table_name,
		table_oid::regclass, CASE WHEN kind = 'p'
			THEN ' PARTITION BY ' || pg_get_partkeydef(table_oid) END);
	PERFORM set_config('search_path', j.search_path, true);
	EXECUTE command;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	SELECT c.oid, c.reltablespace <> 0 INTO index_oid, has_tablespace
	FROM pg_class c
	WHERE c.relname = j.object_name AND c.relnamespace = pg_my_temp_schema();
	form := backfill.index_form(index_oid, true);
	IF is_unique THEN
		duplicates := backfill.index_duplicates(index_oid,
			CASE WHEN kind = 'p' THEN '' ELSE 'ONLY ' END
			|| table_oid::regclass);
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'BF000';
EXCEPTION WHEN SQLSTATE 'BF000' THEN
	NULL;
END
$$;
COMMENT ON FUNCTION backfill.index_trial(backfill.jobs, oid) IS
	'The job''s definition in the normal form, whether it names a tablespace, and if it is unique the query for duplicates. Raises what CREATE INDEX would.';

-- ---- what is there

CREATE OR REPLACE FUNCTION backfill.index_find(table_oid oid,
	object_name text, leaving boolean)
RETURNS oid LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_oid oid;
	owner_oid oid;
	what text;
BEGIN
	SELECT c.oid, i.indrelid, CASE c.relkind WHEN 'r' THEN 'a table'
		WHEN 'p' THEN 'a partitioned table' WHEN 'S' THEN 'a sequence'
		WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view'
		WHEN 'f' THEN 'a foreign table' WHEN 'c' THEN 'a composite type'
		ELSE format('an index of table "%s"', i.indrelid::regclass) END
	INTO found_oid, owner_oid, what
	FROM pg_class c
	JOIN pg_class t ON t.relnamespace = c.relnamespace
	LEFT JOIN pg_index i ON i.indexrelid = c.oid
	WHERE t.oid = table_oid AND c.relname = object_name;
	IF found_oid IS NULL OR owner_oid = table_oid THEN
		RETURN found_oid;
	END IF;
	IF leaving THEN
		RETURN NULL;
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'BF034',
		MESSAGE = format('relation "%s" exists and is not an index of table'
			' "%s"', found_oid::regclass, table_oid::regclass),
		DETAIL = format('It is %s.', what),
		HINT = 'Name another index in object_name.';
END
$$;
COMMENT ON FUNCTION backfill.index_find(oid, text, boolean) IS
	'OID of the table''s index of this name; NULL: none. Raises BF034, unless leaving, when another relation has the name.';

CREATE OR REPLACE FUNCTION backfill.index_check_form(index_oid oid,
	form text, has_tablespace boolean)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_form text := backfill.index_form(index_oid, has_tablespace);
	is_valid boolean;
BEGIN
	IF found_form = form THEN
		RETURN;
	END IF;
	SELECT i.indisvalid INTO is_valid
	FROM pg_index i WHERE i.indexrelid = index_oid;
	RAISE EXCEPTION USING ERRCODE = 'BF034',
		MESSAGE = format('index "%s" exists and is defined differently',
			index_oid::regclass),
		DETAIL = format('It is%s: %s. Asked for: %s.',
			CASE WHEN is_valid THEN '' ELSE ' invalid, and' END,
			found_form, form),
		HINT = CASE WHEN is_valid
			THEN 'Name another index in object_name, or submit a job of kind'
				' "drop_index" first.'
			ELSE format('If nobody builds it: DROP INDEX CONCURRENTLY %s;',
				index_oid::regclass) END;
END
$$;
COMMENT ON FUNCTION backfill.index_check_form(oid, text, boolean) IS
	'Raises BF034 unless the index has this normal form; its tablespace counts when the form names one.';

-- Whoever builds, rebuilds or drops an index concurrently holds a session's
-- ShareUpdateExclusiveLock on the table from before the index is visible as
-- invalid until just before the last commit. REINDEX without CONCURRENTLY
-- (ShareLock) makes an invalid index valid as well; CREATE INDEX without it
-- shows nothing until it commits. So a lock that ours would have to wait for
-- is reason enough to wait, whatever it is held for.
--
-- Between the lock's release and the end of the last commit, which waits for
-- synchronous standbys, only the row's xmax tells of the builder. Each look
-- has a snapshot of its own: VOLATILE, and READ COMMITTED.
CREATE OR REPLACE FUNCTION backfill.index_is_left(index_oid oid)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid oid;
	ending xid;
	holder record;
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION USING ERRCODE = '25001',
			MESSAGE = 'an index can be examined in isolation level READ'
				' COMMITTED only';
	END IF;
	SELECT i.indrelid INTO table_oid
	FROM pg_index i WHERE i.indexrelid = index_oid AND NOT i.indisvalid;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	SELECT l.pid, l.mode INTO holder
	FROM pg_locks l JOIN pg_database d ON d.oid = l.database
	WHERE d.datname = current_database() AND l.locktype = 'relation'
		AND l.relation = table_oid AND l.granted
		AND l.pid IS DISTINCT FROM pg_backend_pid()
		AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock',
			'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
	ORDER BY l.pid LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '55P03',
			MESSAGE = format('index "%s" may be being built: %s holds %s on'
				' table "%s"', index_oid::regclass,
				coalesce('pid ' || holder.pid, 'a prepared transaction'),
				holder.mode, table_oid::regclass);
	END IF;
	SELECT i.xmax INTO ending
	FROM pg_index i WHERE i.indexrelid = index_oid AND NOT i.indisvalid;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	SELECT l.pid INTO holder FROM pg_locks l
	WHERE l.locktype = 'transactionid' AND l.transactionid = ending
		AND l.mode = 'ExclusiveLock' AND l.granted;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '55P03',
			MESSAGE = format('index "%s" is being committed by pid %s',
				index_oid::regclass, holder.pid);
	END IF;
	RETURN EXISTS (SELECT FROM pg_index i
		WHERE i.indexrelid = index_oid AND NOT i.indisvalid);
END
$$;
COMMENT ON FUNCTION backfill.index_is_left(oid) IS
	'Whether the index is invalid and will stay so: nobody builds it. Raises 55P03 while somebody may.';

-- ---- steps that more than one kind has

-- Also of one that is half dropped already: that is finished, never undone.
CREATE OR REPLACE FUNCTION backfill.index_drop_step(index_oid oid)
RETURNS backfill.step LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	i record;
BEGIN
	SELECT c.relname, c.relkind, x.indrelid INTO i
	FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
	WHERE x.indexrelid = index_oid;
	IF i.relkind = 'I' THEN
		-- The server drops it from the whole tree at once, or not at all.
		RETURN backfill.make_step('transaction',
			format('DROP INDEX %s', index_oid::regclass),
			format('DROP INDEX %I', i.relname), 'AccessExclusiveLock',
			ARRAY(SELECT t.relid::oid FROM pg_partition_tree(i.indrelid) t));
	END IF;
	-- It reads nothing, and waits for others as long as a build does.
	RETURN backfill.make_step('alone',
		format('DROP INDEX CONCURRENTLY %s', index_oid::regclass),
		format('DROP INDEX CONCURRENTLY %I', i.relname),
		'ShareUpdateExclusiveLock', ARRAY[i.indrelid]);
END
$$;
COMMENT ON FUNCTION backfill.index_drop_step(oid) IS
	'The step that drops the index: concurrently, but for one of a partitioned table.';

-- The definition goes to the table in the server's own words, so it means
-- under any search_path what it meant to the trial.
CREATE OR REPLACE FUNCTION backfill.index_create_step(index_name text,
	table_oid oid, form text, is_partitioned boolean)
RETURNS backfill.step LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN is_partitioned
		THEN backfill.make_step('transaction',
			format('CREATE %sINDEX %I ON ONLY %s', d.is_unique, index_name,
				d.rest),
			format('CREATE %sINDEX %I ON ONLY', d.is_unique, index_name),
			'ShareLock', ARRAY[table_oid])
		ELSE backfill.make_step('alone',
			format('CREATE %sINDEX CONCURRENTLY %I ON %s', d.is_unique,
				index_name, d.rest),
			format('CREATE %sINDEX CONCURRENTLY %I', d.is_unique, index_name),
			'ShareUpdateExclusiveLock', ARRAY[table_oid]) END
	FROM (SELECT CASE WHEN form LIKE 'UNIQUE %' THEN 'UNIQUE ' ELSE '' END
		AS is_unique,
		table_oid::regclass || ' ' || regexp_replace(form, '^UNIQUE ', '')
		AS rest) d
$$;
COMMENT ON FUNCTION backfill.index_create_step(text, oid, text, boolean) IS
	'The step that makes an index of this normal form: concurrently, or of a partitioned table the empty one that those of its partitions are attached to.';

CREATE OR REPLACE FUNCTION backfill.index_look_step(j backfill.jobs,
	notes jsonb, table_oid oid, duplicates text)
RETURNS backfill.step LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step;
BEGIN
	IF duplicates IS NULL OR coalesce((notes->>'looked')::boolean, false) THEN
		RETURN NULL;
	END IF;
	s := backfill.make_step('look', duplicates,
		format('look for duplicates for %I', j.object_name),
		'AccessShareLock', ARRAY[table_oid]);
	s.violation_sqlstate := '23505';
	-- A format, so what is named must not be one.
	s.violation_message := format('index "%s" cannot be unique: %%s keys of'
		' table "%s" have duplicates', replace(j.object_name, '%', '%%'),
		replace(table_oid::regclass::text, '%', '%%'));
	s.violation_hint := 'The keys are in backfill.row_errors. Remove the'
		' duplicates, then retry the job.';
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.index_look_step(backfill.jobs, jsonb, oid, text)
	IS 'The step that looks for duplicates before a unique index is built; NULL: it has looked, or the index is not unique.';

CREATE OR REPLACE FUNCTION backfill.index_part_name(index_name text,
	partition_name text)
RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN octet_length(d.name) <= 63 THEN d.name
		ELSE (SELECT left(d.name, max(n)) FROM generate_series(1, 54) n
			WHERE octet_length(left(d.name, n)) <= 54)
			|| '_' || left(md5(d.name), 8) END
	FROM (SELECT index_name || '_' || partition_name AS name) d
$$;
COMMENT ON FUNCTION backfill.index_part_name(text, text) IS
	'Name of the index of a partition that is built for a partitioned index.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.index_form(oid, boolean),
	backfill.index_duplicates(oid, text),
	backfill.index_one_command(text, text),
	backfill.index_trial(backfill.jobs, oid),
	backfill.index_find(oid, text, boolean),
	backfill.index_check_form(oid, text, boolean),
	backfill.index_is_left(oid),
	backfill.index_drop_step(oid),
	backfill.index_create_step(text, oid, text, boolean),
	backfill.index_look_step(backfill.jobs, jsonb, oid, text),
	backfill.index_part_name(text, text)
	TO backfill_submit;

RESET ROLE;
