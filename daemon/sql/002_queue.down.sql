DROP TABLE IF EXISTS backfill.stop;
DROP TABLE IF EXISTS backfill.daemons;
DROP TABLE IF EXISTS backfill.events;
DROP TABLE IF EXISTS backfill.row_errors;
DROP TABLE IF EXISTS backfill.holes;
DROP TABLE IF EXISTS backfill.ranges;
DROP TABLE IF EXISTS backfill.jobs;
