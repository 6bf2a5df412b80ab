-- Remove the schema, and the roles unless another database uses them.

DO $$
DECLARE
	role_name text;
BEGIN
	IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles
		WHERE rolname = current_user)
		AND pg_catalog.to_regrole('backfill_owner') IS NOT NULL
	THEN
		EXECUTE pg_catalog.format('GRANT backfill_owner TO %I', current_user);
	END IF;

	-- CASCADE would take a user's view with it: whoever built upon the
	-- schema is named by the error instead.
	DROP TABLE IF EXISTS backfill.schema_version;
	DROP SCHEMA IF EXISTS backfill;

	FOREACH role_name IN ARRAY ARRAY['backfill_admin', 'backfill_submit',
		'backfill_daemon', 'backfill_owner']
	LOOP
		BEGIN
			EXECUTE pg_catalog.format('DROP ROLE IF EXISTS %I', role_name);
		EXCEPTION WHEN dependent_objects_still_exist THEN
			RAISE NOTICE 'role "%" is kept: other objects depend on it',
				role_name;
		END;
	END LOOP;

	-- Kept or not, nobody stays a member of the owner.
	IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles
		WHERE rolname = current_user)
		AND pg_catalog.to_regrole('backfill_owner') IS NOT NULL
	THEN
		EXECUTE pg_catalog.format('REVOKE backfill_owner FROM %I',
			current_user);
	END IF;
END
$$;
