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

DROP VIEW IF EXISTS backfill.metrics;
DROP FUNCTION IF EXISTS backfill.job_status(text);
DROP FUNCTION IF EXISTS backfill.status();
DROP FUNCTION IF EXISTS backfill.job_events(bigint, integer);
DROP FUNCTION IF EXISTS backfill.job_json(backfill.progress);
DROP FUNCTION IF EXISTS backfill.seconds(jsonb, text[]);
