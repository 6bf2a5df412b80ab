DROP FUNCTION IF EXISTS backfill.step_table(backfill.jobs);
DROP TYPE IF EXISTS backfill.step;
