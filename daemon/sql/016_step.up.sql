-- What the steps of the schema kinds share. These functions run with the
-- rights of the caller, which is the job's run_as on its runner connection:
-- they can do nothing that it cannot do itself.

SET LOCAL ROLE backfill_owner;

-- What an examination of the catalog says is to be done next: see
-- backfill.examine_step(). Made by hand: CREATE TYPE has no IF NOT EXISTS.
DO $$
BEGIN
	IF pg_catalog.to_regtype('backfill.step') IS NULL THEN
		CREATE TYPE backfill.step AS (
			way text,
			statements text[],
			told text,
			is_last boolean,
			is_long boolean,
			lock_mode text,
			lock_tables oid[],
			violation_sqlstate text,
			violation_message text,
			violation_hint text,
			warnings text,
			notes jsonb
		);
	END IF;
END
$$;
COMMENT ON TYPE backfill.step IS
	'What a job of the schema kinds does next. NULL: nothing is left to do.';
COMMENT ON COLUMN backfill.step.way IS
	'transaction: the statements commit together with the job''s progress; alone: one statement, outside any transaction; look: one query for rows that are in the way.';
COMMENT ON COLUMN backfill.step.statements IS
	'In this order. Of look: a query for their keys, a text[] per row, of which the first 101 are read.';
COMMENT ON COLUMN backfill.step.told IS
	'What people are told that it does.';
COMMENT ON COLUMN backfill.step.is_last IS
	'Whether nothing is left to do after a transaction.';
COMMENT ON COLUMN backfill.step.is_long IS
	'Whether it reads a whole table: it does not begin while jobs are held, and only a statement_timeout of the job''s own bounds it.';
COMMENT ON COLUMN backfill.step.lock_mode IS
	'The strongest lock that it takes, as in pg_locks.mode.';
COMMENT ON COLUMN backfill.step.lock_tables IS
	'On which tables.';
COMMENT ON COLUMN backfill.step.violation_sqlstate IS
	'Of look: what rows in the way are recorded with.';
COMMENT ON COLUMN backfill.step.violation_message IS
	'Of look: what the job then fails with; %s stands for how many rows.';
COMMENT ON COLUMN backfill.step.violation_hint IS
	'Of look: what may help.';
COMMENT ON COLUMN backfill.step.warnings IS
	'What people should know, for an event; NULL: nothing.';
COMMENT ON COLUMN backfill.step.notes IS
	'What is to be kept in ranges.notes from the moment when it begins; NULL: nothing.';

CREATE OR REPLACE FUNCTION backfill.step_table(j backfill.jobs)
RETURNS oid LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_oid oid := coalesce(j.target_oid, to_regclass(j.target));
	kind "char";
BEGIN
	SELECT c.relkind INTO kind FROM pg_class c WHERE c.oid = found_oid;
	IF kind IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = '42P01',
			MESSAGE = format('relation "%s" does not exist', j.target);
	END IF;
	IF kind NOT IN ('r', 'p') THEN
		RAISE EXCEPTION USING ERRCODE = '42809',
			MESSAGE = format('"%s" is not a table', j.target);
	END IF;
	RETURN found_oid;
END
$$;
COMMENT ON FUNCTION backfill.step_table(backfill.jobs) IS
	'OID of the job''s target, a table, partitioned or not. Raises 42P01, 42809.';

-- The server would say so, too, but not before it has waited for the lock.
CREATE OR REPLACE FUNCTION backfill.step_own_table(j backfill.jobs)
RETURNS oid LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	table_oid oid := backfill.step_table(j);
BEGIN
	IF NOT (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c
		WHERE c.oid = table_oid)
	THEN
		RAISE EXCEPTION USING ERRCODE = '42501',
			MESSAGE = format('must be owner of table %s',
				table_oid::regclass);
	END IF;
	RETURN table_oid;
END
$$;
COMMENT ON FUNCTION backfill.step_own_table(backfill.jobs) IS
	'OID of the job''s target, which the caller may change. Raises 42P01, 42809, 42501.';

CREATE OR REPLACE FUNCTION backfill.table_tree(table_oid oid)
RETURNS oid[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE tree(id) AS (
		SELECT table_oid
		UNION
		SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.id
	)
	SELECT array_agg(id ORDER BY id <> table_oid, id) FROM tree
$$;
COMMENT ON FUNCTION backfill.table_tree(oid) IS
	'The table, its partitions, and whatever else inherits from it.';

CREATE OR REPLACE FUNCTION backfill.make_step(way text, command text,
	told text, lock_mode text, lock_tables oid[])
RETURNS backfill.step LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s backfill.step;
BEGIN
	s.way := way;
	s.statements := ARRAY[command];
	s.told := told;
	s.is_last := false;
	s.is_long := way <> 'transaction';
	s.lock_mode := lock_mode;
	s.lock_tables := lock_tables;
	RETURN s;
END
$$;
COMMENT ON FUNCTION backfill.make_step(text, text, text, text, oid[]) IS
	'A step of one statement; one that is alone or looks is long.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.step_table(backfill.jobs),
	backfill.step_own_table(backfill.jobs), backfill.table_tree(oid),
	backfill.make_step(text, text, text, text, oid[])
	TO backfill_submit;

RESET ROLE;
