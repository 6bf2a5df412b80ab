DROP TRIGGER IF EXISTS jobs_6_waited ON backfill.jobs;
DROP FUNCTION IF EXISTS backfill.jobs_waited();
DROP FUNCTION IF EXISTS backfill.end_stop();
DROP FUNCTION IF EXISTS backfill.gone_at(bigint);
DROP FUNCTION IF EXISTS backfill.clocks(jsonb, text, timestamptz, timestamptz,
	timestamptz, timestamptz);
DROP FUNCTION IF EXISTS backfill.add_waited(jsonb, text, timestamptz,
	timestamptz);
DROP FUNCTION IF EXISTS backfill.waits_for(text, text);
