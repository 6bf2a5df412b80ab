-- The last script goes first: a role that owns the database must be a
-- member of the schema's owner to drop what it owns.
DO $$
BEGIN
	IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles
		WHERE rolname = current_user)
	THEN
		EXECUTE pg_catalog.format('GRANT backfill_owner TO %I', current_user);
	END IF;
END
$$;

DROP VIEW IF EXISTS backfill.signals;
DROP VIEW IF EXISTS backfill.locks;
DROP VIEW IF EXISTS backfill.progress;
