DROP FUNCTION IF EXISTS backfill.plan_rename_column(text, text, text, boolean,
	text, name, text);
DROP FUNCTION IF EXISTS backfill.plan_has_equality(text);
DROP FUNCTION IF EXISTS backfill.plan_check_rename(oid, text, text, text,
	smallint, text);
DROP FUNCTION IF EXISTS backfill.plan_cut_sql(oid, text, text, text);
DROP FUNCTION IF EXISTS backfill.plan_sync_sql(text, text, text, text, text);
