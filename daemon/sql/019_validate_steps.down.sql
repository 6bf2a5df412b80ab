DROP FUNCTION IF EXISTS backfill.step_set_not_null(backfill.jobs, jsonb);
DROP FUNCTION IF EXISTS backfill.column_is_not_null(oid, text);
DROP FUNCTION IF EXISTS backfill.not_null_expression(oid, text);
DROP FUNCTION IF EXISTS backfill.step_validate_constraint(backfill.jobs, jsonb);
DROP FUNCTION IF EXISTS backfill.foreign_key_orphans(oid);
DROP FUNCTION IF EXISTS backfill.type_name(oid);
