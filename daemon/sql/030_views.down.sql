DROP VIEW IF EXISTS backfill.signals;
DROP VIEW IF EXISTS backfill.locks;
DROP VIEW IF EXISTS backfill.progress;
