DROP FUNCTION IF EXISTS backfill.plan_drop_column(text, text, text, name,
	text);
DROP FUNCTION IF EXISTS backfill.plan_default_is_code_of_others(oid,
	smallint);
DROP FUNCTION IF EXISTS backfill.plan_set_not_null(text, text, text, text,
	name, text);
DROP FUNCTION IF EXISTS backfill.plan_add_column(text, text, text, text, text,
	boolean, text, name, text);
DROP FUNCTION IF EXISTS backfill.plan_step_fill(text, text);
DROP FUNCTION IF EXISTS backfill.plan_steps_not_null(text, text, jsonb);
