DROP FUNCTION IF EXISTS backfill.jobs_check_no_step(backfill.jobs);
DROP FUNCTION IF EXISTS backfill.jobs_check_step(backfill.jobs);
DROP FUNCTION IF EXISTS backfill.jobs_check_clauses(text, text, text, text);
DROP FUNCTION IF EXISTS backfill.may_change(name, oid, text);
DROP FUNCTION IF EXISTS backfill.check_kind(text);
DROP FUNCTION IF EXISTS backfill.is_schema_kind(text);
