DROP TRIGGER IF EXISTS jobs_6_waited ON backfill.jobs;
DROP FUNCTION IF EXISTS backfill.jobs_waited();
DROP FUNCTION IF EXISTS backfill.waits_for(text, text);
