DROP VIEW IF EXISTS backfill.signals;
DROP VIEW IF EXISTS backfill.locks;
DROP VIEW IF EXISTS backfill.shown_jobs;
DROP VIEW IF EXISTS backfill.job_states;
DROP VIEW IF EXISTS backfill.progress;
