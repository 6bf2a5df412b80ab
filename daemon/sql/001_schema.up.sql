-- The schema, the roles and the table of installed scripts.
--
-- Run by a superuser, or by a role with CREATEROLE that owns the database.
-- Each script may be run again without harm.

DO $$
DECLARE
	role_name text;
BEGIN
	FOREACH role_name IN ARRAY ARRAY['backfill_owner', 'backfill_daemon',
		'backfill_submit', 'backfill_admin']
	LOOP
		IF pg_catalog.to_regrole(role_name) IS NULL THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
		END IF;
	END LOOP;

	-- A role may give a schema only to a role that it can become. The
	-- membership ends when the last script ends.
	IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles
		WHERE rolname = current_user)
	THEN
		EXECUTE pg_catalog.format('GRANT backfill_owner TO %I', current_user);
	END IF;

	IF EXISTS (SELECT FROM pg_catalog.pg_namespace
		WHERE nspname = 'backfill'
		AND pg_catalog.pg_get_userbyid(nspowner) <> 'backfill_owner')
	THEN
		RAISE EXCEPTION USING ERRCODE = '42P06',
			MESSAGE = 'schema "backfill" already exists and is not ours',
			HINT = 'Rename it, or install into another database.';
	END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS backfill AUTHORIZATION backfill_owner;

SET LOCAL ROLE backfill_owner;

COMMENT ON SCHEMA backfill IS
	'Jobs that change big tables in small batches: see backfill.jobs.';

GRANT USAGE ON SCHEMA backfill
	TO backfill_daemon, backfill_submit, backfill_admin, pg_monitor;

-- An admin may also submit.
RESET ROLE;
GRANT backfill_submit TO backfill_admin;
SET LOCAL ROLE backfill_owner;

CREATE TABLE IF NOT EXISTS backfill.schema_version (
	version integer PRIMARY KEY,
	script text NOT NULL,
	installed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	installed_by name NOT NULL DEFAULT session_user
);
COMMENT ON TABLE backfill.schema_version IS
	'The numbered scripts that were applied; the highest is the version.';
COMMENT ON COLUMN backfill.schema_version.version IS
	'Number of the script, from 1.';
COMMENT ON COLUMN backfill.schema_version.script IS 'Name of the script.';
COMMENT ON COLUMN backfill.schema_version.installed_at IS
	'When it was applied.';
COMMENT ON COLUMN backfill.schema_version.installed_by IS
	'The login that applied it.';

GRANT SELECT ON backfill.schema_version
	TO backfill_daemon, backfill_submit, pg_monitor;

RESET ROLE;
