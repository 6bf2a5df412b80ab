DROP FUNCTION IF EXISTS backfill.step_add_foreign_key(backfill.jobs, jsonb);
DROP FUNCTION IF EXISTS backfill.foreign_key_trial(backfill.jobs, oid);
DROP FUNCTION IF EXISTS backfill.step_add_check(backfill.jobs, jsonb);
DROP FUNCTION IF EXISTS backfill.check_trial(backfill.jobs, oid);
DROP FUNCTION IF EXISTS backfill.constraint_look_step(backfill.jobs, oid, text, "char");
DROP FUNCTION IF EXISTS backfill.check_violators(oid, text, boolean);
DROP FUNCTION IF EXISTS backfill.row_key(oid, text);
DROP FUNCTION IF EXISTS backfill.constraint_is_there(backfill.jobs, oid, text, text);
DROP FUNCTION IF EXISTS backfill.constraint_form(oid, text);
