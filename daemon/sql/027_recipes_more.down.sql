DROP FUNCTION IF EXISTS backfill.plan_delete(text, text, text, text, name,
	text);
DROP FUNCTION IF EXISTS backfill.drop_archive(text);
DROP FUNCTION IF EXISTS backfill.plan_archive(oid, text, text, text,
	boolean, text);
DROP FUNCTION IF EXISTS backfill.plan_ddl(text, text, text, text, name, text);
DROP FUNCTION IF EXISTS backfill.plan_reindex(text, text, text, name, text);
DROP FUNCTION IF EXISTS backfill.plan_drop_index(text, text, text, name, text);
DROP FUNCTION IF EXISTS backfill.plan_index(oid, text, text);
DROP FUNCTION IF EXISTS backfill.plan_create_index(text, text, text, text,
	name, text);
DROP FUNCTION IF EXISTS backfill.plan_add_foreign_key(text, text, text, text,
	text, text, text, name, text);
DROP FUNCTION IF EXISTS backfill.plan_reference(text, text);
DROP FUNCTION IF EXISTS backfill.plan_add_check(text, text, text, text, text,
	name, text);
