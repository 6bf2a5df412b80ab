DROP FUNCTION IF EXISTS backfill.step_drop_column(backfill.jobs, jsonb);
DROP FUNCTION IF EXISTS backfill.column_uses(oid, smallint);
DROP FUNCTION IF EXISTS backfill.step_add_column(backfill.jobs, jsonb);
DROP FUNCTION IF EXISTS backfill.column_trial(backfill.jobs, oid);
DROP FUNCTION IF EXISTS backfill.column_is_alone(text, text, text, text);
DROP FUNCTION IF EXISTS backfill.constraint_refusals();
DROP FUNCTION IF EXISTS backfill.column_form(oid, text);
DROP FUNCTION IF EXISTS backfill.column_step(oid, text, text);
