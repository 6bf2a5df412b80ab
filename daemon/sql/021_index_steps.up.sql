-- The steps of create_index, drop_index and reindex: what is left to be done,
-- as the catalog says. See sql/020 for how they understand it.

SET LOCAL ROLE backfill_owner;

-- ---- create_index

-- Of an index of a partitioned table that was given up. Those of partitions
-- that are attached go with the empty one that they hang on, which is only
-- dropped when the job made it.
CREATE OR REPLACE FUNCTION backfill.index_tree_leave(j backfill.jobs,
	notes jsonb, table_oid oid, form text, has_tablespace boolean)
RETURNS backfill.step LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_ours CONSTANT boolean := coalesce((notes->>'tree')::boolean, false);
	part record;
	root oid;
BEGIN
	FOR part IN
		SELECT i.indexrelid AS index_oid, i.indisvalid, x.relkind
		FROM pg_partition_tree(table_oid) t
		JOIN pg_class c ON c.oid = t.relid
		JOIN pg_index i ON i.indrelid = t.relid
		JOIN pg_class x ON x.oid = i.indexrelid
		WHERE t.level > 0 AND NOT x.relispartition
			AND x.relname = backfill.index_part_name(j.object_name, c.relname)
			AND backfill.index_form(x.oid, has_tablespace) = form
		ORDER BY t.level DESC, t.relid
	LOOP
		IF part.relkind = 'i' AND NOT part.indisvalid
			AND NOT backfill.index_is_left(part.index_oid)
		THEN
			RETURN backfill.step_create_index(j, notes, true);
		END IF;
		IF is_ours OR part.relkind = 'i' AND NOT part.indisvalid THEN
			RETURN backfill.index_drop_step(part.index_oid);
		END IF;
	END LOOP;
	root := backfill.index_find(table_oid, j.object_name, true);
	IF is_ours AND EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = root
		AND NOT i.indisvalid) AND backfill.index_form(root, has_tablespace)
		= form
	THEN
		RETURN backfill.index_drop_step(root);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION backfill.index_tree_leave(backfill.jobs, jsonb, oid, text, boolean)
	IS 'The step that removes what an unfinished index of a partitioned table has left; NULL: nothing.';

-- CREATE INDEX CONCURRENTLY does not take a partitioned table. An empty,
-- invalid index of it comes first; then, level by level, each partition gets
-- its index concurrently, which is attached. With the last one the server
-- makes the first one valid.
CREATE OR REPLACE FUNCTION backfill.index_tree_step(j backfill.jobs,
	notes jsonb, leaving boolean, table_oid oid, form text,
	has_tablespace boolean, duplicates text)
RETURNS backfill.step LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	root CONSTANT oid := backfill.index_find(table_oid, j.object_name,
		leaving);
	part record;
	above oid;
	own record;
	index_name text;
	s backfill.step;
BEGIN
	IF root IS NOT NULL AND NOT leaving THEN
		PERFORM backfill.index_check_form(root, form, has_tablespace);
	END IF;
	IF EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = root
		AND i.indisvalid)
	THEN
		RETURN NULL;
	END IF;
	IF leaving THEN
		RETURN backfill.index_tree_leave(j, notes, table_oid, form,
			has_tablespace);
	END IF;
	SELECT t.relid INTO part FROM pg_partition_tree(table_oid) t
	JOIN pg_class c ON c.oid = t.relid WHERE c.relkind = 'f'
	ORDER BY t.relid LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '0A000',
			MESSAGE = format('cannot create index "%s" on partitioned table'
				' "%s" step by step', j.object_name, table_oid::regclass),
			DETAIL = format('Partition "%s" is a foreign table.', part.relid),
			HINT = 'Submit a job for each of the other partitions.';
	END IF;
	s := backfill.index_look_step(j, notes, table_oid, duplicates);
	IF s.way IS NOT NULL THEN
		RETURN s;
	END IF;
	IF root IS NULL THEN
		s := backfill.index_create_step(j.object_name, table_oid, form, true);
		s.notes := '{"tree": true}';
		RETURN s;
	END IF;

	FOR part IN
		SELECT t.relid::oid AS oid, t.parentrelid::oid AS above, c.relname,
			c.relkind = 'p' AS is_partitioned
		FROM pg_partition_tree(table_oid) t
		JOIN pg_class c ON c.oid = t.relid
		WHERE t.level > 0 ORDER BY t.level, t.relid
	LOOP
		SELECT i.indexrelid INTO above FROM pg_partition_tree(root) t
		JOIN pg_index i ON i.indexrelid = t.relid
		WHERE i.indrelid = part.above;
		SELECT i.indexrelid AS oid, i.indisvalid INTO own
		FROM pg_partition_tree(root) t
		JOIN pg_index i ON i.indexrelid = t.relid
		WHERE i.indrelid = part.oid;
		IF own.indisvalid OR own.oid IS NOT NULL AND part.is_partitioned THEN
			CONTINUE;
		END IF;
		IF own.oid IS NOT NULL THEN
			RAISE EXCEPTION USING ERRCODE = '55000',
				MESSAGE = format('index "%s" is invalid and attached to index'
					' "%s"', own.oid::regclass, above::regclass),
				HINT = format('DROP INDEX %s; drops both. Then retry the'
					' job.', root::regclass);
		END IF;

		index_name := backfill.index_part_name(j.object_name, part.relname);
		SELECT i.indexrelid AS oid INTO own
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = part.oid AND NOT c.relispartition
			AND (i.indisvalid OR part.is_partitioned)
			AND backfill.index_form(c.oid, has_tablespace) = form
		ORDER BY c.relname <> index_name, c.oid LIMIT 1;
		IF FOUND THEN
			-- The index alone is locked to everybody: for those who read
			-- the partition that is as much as the partition.
			RETURN backfill.make_step('transaction',
				format('ALTER INDEX %s ATTACH PARTITION %s', above::regclass,
					own.oid::regclass),
				format('ATTACH PARTITION %s', own.oid::regclass),
				'AccessExclusiveLock', ARRAY[own.oid]);
		END IF;
		own.oid := backfill.index_find(part.oid, index_name, false);
		IF own.oid IS NULL THEN
			RETURN backfill.index_create_step(index_name, part.oid, form,
				part.is_partitioned);
		END IF;
		PERFORM backfill.index_check_form(own.oid, form, has_tablespace);
		IF backfill.index_is_left(own.oid) THEN
			RETURN backfill.index_drop_step(own.oid);
		END IF;
		RETURN backfill.step_create_index(j, notes, leaving);
	END LOOP;
	RAISE EXCEPTION USING ERRCODE = '55000',
		MESSAGE = format('index "%s" is invalid although each partition has'
			' its index', root::regclass),
		HINT = format('DROP INDEX %s; drops them all. Then retry the job.',
			root::regclass);
END
$$;
COMMENT ON FUNCTION backfill.index_tree_step(backfill.jobs, jsonb, boolean, oid, text, boolean, text)
	IS 'The next step of a job of kind create_index on a partitioned table; NULL: nothing is left.';

CREATE OR REPLACE FUNCTION backfill.step_create_index(j backfill.jobs,
	notes jsonb, leaving boolean)
RETURNS backfill.step LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid oid;
	index_oid oid;
	is_partitioned boolean;
	trial record;
	s backfill.step;
BEGIN
	IF leaving AND coalesce((notes->>'attempts')::integer, 0) = 0
		AND NOT notes ? 'tree'
	THEN
		RETURN NULL;
	END IF;
	SELECT c.oid, c.relkind = 'p' INTO table_oid, is_partitioned
	FROM pg_class c WHERE c.oid = CASE WHEN leaving THEN j.target_oid
		ELSE backfill.step_table(j) END;
	index_oid := backfill.index_find(table_oid, j.object_name, leaving);
	-- Also when a column is gone, and its indexes with it: the trial would
	-- miss it.
	IF leaving AND NOT EXISTS (SELECT FROM pg_index i
		WHERE NOT i.indisvalid AND (i.indexrelid = index_oid
			OR is_partitioned AND i.indrelid IN
				(SELECT t.relid FROM pg_partition_tree(table_oid) t)))
	THEN
		RETURN NULL;
	END IF;
	SELECT * INTO trial FROM backfill.index_trial(j, table_oid);
	IF is_partitioned THEN
		RETURN backfill.index_tree_step(j, notes, leaving, table_oid,
			trial.form, trial.has_tablespace, trial.duplicates);
	END IF;

	IF index_oid IS NOT NULL THEN
		IF leaving AND backfill.index_form(index_oid, trial.has_tablespace)
			<> trial.form
		THEN
			RETURN NULL;
		END IF;
		PERFORM backfill.index_check_form(index_oid, trial.form,
			trial.has_tablespace);
		IF EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = index_oid
			AND i.indisvalid)
		THEN
			RETURN NULL;
		END IF;
		IF backfill.index_is_left(index_oid) THEN
			RETURN backfill.index_drop_step(index_oid);
		END IF;
		RETURN backfill.step_create_index(j, notes, leaving);
	END IF;

	s := backfill.index_look_step(j, notes, table_oid, trial.duplicates);
	IF s.way IS NOT NULL THEN
		RETURN s;
	END IF;
	s := backfill.index_create_step(j.object_name, table_oid, trial.form,
		false);
	-- A leftover of another name is nobody's for us to drop.
	SELECT string_agg(format('index "%s" has the same definition',
			c.oid::regclass)
		|| CASE WHEN i.indisvalid THEN '' ELSE ', and is invalid' END, '; '
		ORDER BY c.relname)
	INTO s.warnings
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	WHERE i.indrelid = table_oid
		AND backfill.index_form(c.oid, trial.has_tablespace) = trial.form;
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.step_create_index(backfill.jobs, jsonb, boolean) IS
	'The next step of a job of kind create_index; NULL: nothing is left. Raises BF034, 55P03.';

-- ---- drop_index

CREATE OR REPLACE FUNCTION backfill.index_check_drop(index_oid oid)
RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d record;
BEGIN
	SELECT k.conname, k.conrelid::regclass AS of INTO d FROM pg_constraint k
	WHERE k.conindid = index_oid AND k.contype IN ('p', 'u', 'x', 'f')
	ORDER BY k.contype = 'f', k.conname LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '2BP01',
			MESSAGE = format('cannot drop index "%s" because constraint "%s"'
				' on table "%s" requires it', index_oid::regclass, d.conname,
				d.of),
			HINT = format('Submit a job of kind "ddl": ALTER TABLE %s DROP'
				' CONSTRAINT %I;', d.of, d.conname);
	END IF;
	SELECT h.inhparent::regclass AS of, i.indrelid::regclass AS at INTO d
	FROM pg_inherits h JOIN pg_index i ON i.indexrelid = h.inhparent
	WHERE h.inhrelid = index_oid;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '2BP01',
			MESSAGE = format('cannot drop index "%s" because index "%s"'
				' requires it', index_oid::regclass, d.of),
			HINT = format('Submit a job for the index of the partitioned'
				' table "%s".', d.at);
	END IF;
	SELECT i.indrelid::regclass AS of INTO d FROM pg_index i
	WHERE i.indexrelid = index_oid AND i.indisreplident;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '2BP01',
			MESSAGE = format('cannot drop index "%s" because it is the'
				' replica identity of table "%s"', index_oid::regclass, d.of),
			DETAIL = 'Without it subscribers are sent no key of rows that are'
				' updated or deleted.',
			HINT = format('Submit a job of kind "ddl": ALTER TABLE %s REPLICA'
				' IDENTITY DEFAULT;', d.of);
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.index_check_drop(oid) IS
	'Raises 2BP01 when something requires the index.';

CREATE OR REPLACE FUNCTION backfill.step_drop_index(j backfill.jobs,
	notes jsonb, leaving boolean)
RETURNS backfill.step LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	index_oid oid;
	i pg_index;
	s backfill.step;
BEGIN
	IF leaving AND coalesce((notes->>'attempts')::integer, 0) = 0 THEN
		RETURN NULL;
	END IF;
	index_oid := backfill.index_find(CASE WHEN leaving THEN j.target_oid
		ELSE backfill.step_table(j) END, j.object_name, leaving);
	SELECT * INTO i FROM pg_index WHERE indexrelid = index_oid;
	IF NOT FOUND OR leaving AND i.indisvalid THEN
		RETURN NULL;
	END IF;
	IF NOT leaving THEN
		PERFORM backfill.index_check_drop(index_oid);
	END IF;
	s := backfill.index_drop_step(index_oid);
	s.is_last := s.way = 'transaction';
	-- In round numbers: each new text would be an event of its own.
	SELECT nullif(concat_ws('; ',
		CASE WHEN sum(u.idx_scan) > 0 THEN format('index "%s" is in use:'
			' scans on this server since %s: at least %s%s',
			index_oid::regclass, coalesce((SELECT d.stats_reset::text
				FROM pg_stat_database d WHERE d.datname = current_database()),
				'its statistics began'),
			(10 ^ floor(log(sum(u.idx_scan))))::bigint, ', the last on '
			|| max((to_jsonb(u)->>'last_idx_scan')::timestamptz)::date) END,
		CASE WHEN i.indisunique AND i.indisvalid
			THEN format('without index "%s" nothing refuses duplicates',
				index_oid::regclass) END), '')
	INTO s.warnings
	FROM pg_stat_user_indexes u
	WHERE u.indexrelid = index_oid OR u.indexrelid IN
		(SELECT t.relid FROM pg_partition_tree(index_oid) t);
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.step_drop_index(backfill.jobs, jsonb, boolean) IS
	'The next step of a job of kind drop_index; NULL: nothing is left. Raises BF034, 2BP01.';

-- ---- reindex

-- The server appends _ccnew to the name of the index that it builds, and
-- _ccold to the one that it has replaced, with a number if need be, and cuts
-- the name to make room.
CREATE OR REPLACE FUNCTION backfill.reindex_leftover(table_oid oid,
	index_name text, index_oid oid)
RETURNS oid LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.oid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid,
		LATERAL (SELECT substring(c.relname::text
			from '^(.*)_cc(?:new|old)[0-9]*$') AS name) n
	WHERE i.indrelid = table_oid AND NOT i.indisvalid
		AND starts_with(index_name, n.name)
		AND (n.name = index_name OR octet_length(c.relname::text) >= 60)
		AND (index_oid IS NULL OR backfill.index_form(c.oid, false)
			= backfill.index_form(index_oid, false))
	ORDER BY c.relname LIMIT 1
$$;
COMMENT ON FUNCTION backfill.reindex_leftover(oid, text, oid) IS
	'OID of an invalid index that a REINDEX CONCURRENTLY of this one has left; NULL: none.';

CREATE OR REPLACE FUNCTION backfill.step_reindex(j backfill.jobs,
	notes jsonb, leaving boolean)
RETURNS backfill.step LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid oid;
	index_oid oid;
	left_oid oid;
	i record;
	s backfill.step;
BEGIN
	IF leaving AND coalesce((notes->>'attempts')::integer, 0) = 0 THEN
		RETURN NULL;
	END IF;
	table_oid := CASE WHEN leaving THEN j.target_oid
		ELSE backfill.step_table(j) END;
	index_oid := backfill.index_find(table_oid, j.object_name, leaving);
	SELECT x.indisvalid, x.indisexclusion, c.relkind INTO i
	FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
	WHERE x.indexrelid = index_oid;
	IF NOT leaving AND index_oid IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = '42704',
			MESSAGE = format('index "%s" of table "%s" does not exist',
				j.object_name, table_oid::regclass);
	END IF;
	IF NOT leaving AND i.relkind = 'I' THEN
		RAISE EXCEPTION USING ERRCODE = '0A000',
			MESSAGE = format('cannot reindex partitioned index "%s"',
				index_oid::regclass),
			HINT = format('Submit a job for each index that SELECT relid FROM'
				' pg_partition_tree(''%s'') WHERE isleaf tells.',
				index_oid::regclass);
	END IF;
	IF NOT leaving AND i.indisexclusion THEN
		RAISE EXCEPTION USING ERRCODE = '0A000',
			MESSAGE = format('cannot reindex index "%s" concurrently',
				index_oid::regclass),
			DETAIL = 'It belongs to an exclusion constraint.',
			HINT = format('REINDEX INDEX %s; lets nobody write the table, nor'
				' use the index, until it is done.', index_oid::regclass);
	END IF;

	left_oid := backfill.reindex_leftover(table_oid, j.object_name, index_oid);
	IF left_oid IS NOT NULL THEN
		IF backfill.index_is_left(left_oid) THEN
			RETURN backfill.index_drop_step(left_oid);
		END IF;
		RETURN backfill.step_reindex(j, notes, leaving);
	END IF;
	-- The rebuilt index is another one, of the same name.
	IF leaving OR i.indisvalid AND (notes->>'oid')::oid <> index_oid THEN
		RETURN NULL;
	END IF;
	-- An invalid one is made valid, unless somebody else is at it.
	PERFORM backfill.index_is_left(index_oid);
	s := backfill.make_step('alone',
		format('REINDEX INDEX CONCURRENTLY %s', index_oid::regclass),
		format('REINDEX INDEX CONCURRENTLY %I', j.object_name),
		'ShareUpdateExclusiveLock', ARRAY[table_oid]);
	s.notes := jsonb_build_object('oid', index_oid::bigint);
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.step_reindex(backfill.jobs, jsonb, boolean) IS
	'The next step of a job of kind reindex; NULL: nothing is left. Raises 42704, 55P03, BF034, and 0A000 for what cannot be reindexed concurrently.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.index_tree_leave(backfill.jobs, jsonb, oid,
		text, boolean),
	backfill.index_tree_step(backfill.jobs, jsonb, boolean, oid, text,
		boolean, text),
	backfill.step_create_index(backfill.jobs, jsonb, boolean),
	backfill.index_check_drop(oid),
	backfill.step_drop_index(backfill.jobs, jsonb, boolean),
	backfill.reindex_leftover(oid, text, oid),
	backfill.step_reindex(backfill.jobs, jsonb, boolean)
	TO backfill_submit;

RESET ROLE;
