DROP FUNCTION IF EXISTS backfill.plan_jobs(text, text, jsonb, name, text);
DROP FUNCTION IF EXISTS backfill.plan_job(backfill.jobs, text, boolean,
	boolean);
DROP FUNCTION IF EXISTS backfill.plan_compare(backfill.jobs, backfill.jobs,
	boolean);
DROP FUNCTION IF EXISTS backfill.plan_differs(text, text);
DROP FUNCTION IF EXISTS backfill.plan_is_going(text, text, text);
DROP FUNCTION IF EXISTS backfill.plan_known(text, text);
DROP FUNCTION IF EXISTS backfill.plan_rewrites(text, text, text);
DROP FUNCTION IF EXISTS backfill.plan_object_name(text, text);
DROP FUNCTION IF EXISTS backfill.plan_check_text(text, text, boolean);
DROP FUNCTION IF EXISTS backfill.plan_column(oid, text);
DROP FUNCTION IF EXISTS backfill.plan_table(text, text, boolean);
DROP INDEX IF EXISTS backfill.jobs_plan_idx;
